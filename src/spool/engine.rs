//! What a keeper of mail must do, and nothing else: the narrow place where another engine than this node's own log
//! (one that keeps each message on several nodes) can be put in (decision 0070).
//!
//! Whoever uses the queue holds a [`Spool`](super::Spool), a handle on some engine, and can tell engines apart by nothing
//! but this contract. The log's files, segments and syncs stand behind it.

use std::fmt::Debug;
use std::pin::Pin;

use super::sieve::Sieve;
use super::{Attempt, Hand, Job, JobKey, SpoolError};
use crate::mail::{Parcel, Timestamp};

/// An answer that takes a while. Boxed, so that engines can stand behind one pointer; that costs 10 to 30 ns where a
/// commit takes as many microseconds.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Some of the queue.
#[derive(Clone, Debug, Default)]
pub struct Page {
    pub jobs: Vec<Job>,
    /// Behind which to go on, whether there are jobs here or not; `None` at the end of the queue.
    pub next: Option<JobKey>,
}

/// A keeper of mail.
///
/// Promises that every engine keeps:
/// 1. `Ok` from `keep`, `hold` and `remove` is said only when a loss of power, of the process or of any one node that
///    the engine is made for cannot undo it. `Err` means that the caller still owns the message; it is not delivered
///    behind the caller's back.
/// 2. `record` may be undone by a loss of power, or by the death of the process while the disk fails: the attempt is then
///    made once more. It never makes a recipient disappear that was not served.
/// 3. A job is in one pair of hands: `claim_due` gives it to nobody else until `record`, `put_back` or a restart.
/// 4. Keys grow with time; none is given again while anything of its job is left.
pub trait Engine: Send + Sync + Debug {
    /// Keeps a parcel that is first due at `due`. With [`Hand::Doubt`] its delivery is under way elsewhere already.
    fn keep<'a>(&'a self, parcel: &'a Parcel, due: Timestamp, hand: Hand) -> Answer<'a, Result<JobKey, SpoolError>>;

    /// Takes up to `limit` due jobs: the agencies in turns, of each the longest due first.
    fn claim_due(&self, now: Timestamp, limit: usize) -> Vec<Job>;

    /// The earliest moment at which a job in nobody's hands is due.
    fn next_due(&self) -> Option<Timestamp>;

    /// The latest such moment.
    fn last_due(&self) -> Option<Timestamp>;

    /// Resolves when something new may be due. For one waiter; one event is remembered while nobody waits.
    fn changed(&self) -> Answer<'_, ()>;

    /// The message of a job.
    fn read(&self, key: JobKey) -> Answer<'_, Result<Parcel, SpoolError>>;

    /// Writes down what an attempt did; a job with nothing pending leaves.
    fn record(&self, key: JobKey, attempt: Attempt) -> Answer<'_, Result<(), SpoolError>>;

    /// Gives a job back as it was, due at `due`.
    fn put_back(&self, key: JobKey, due: Timestamp);

    /// Makes jobs (`None`: all) due at `now` that are not held and in nobody's hands, or in those of `hand`. How many.
    fn make_due(&self, keys: Option<&[JobKey]>, now: Timestamp, hand: Hand) -> usize;

    /// Sets or clears the operator's hold.
    fn hold(&self, key: JobKey, held: bool) -> Answer<'_, Result<(), SpoolError>>;

    /// Takes a job out without delivering it.
    fn remove(&self, key: JobKey) -> Answer<'_, Result<(), SpoolError>>;

    fn job(&self, key: JobKey) -> Option<Job>;

    /// Up to `limit` jobs by age, those behind `after` that pass the sieve, in time that does not grow with the queue.
    fn page(&self, after: Option<JobKey>, limit: usize, sieve: &Sieve) -> Page;

    /// How many jobs there are.
    fn count(&self) -> usize;

    /// Whether mail can be taken; `false` is for good.
    fn is_healthy(&self) -> bool;

    /// Makes everything safe and stops; what is asked later is answered with [`SpoolError::Closed`].
    fn close(&self) -> Answer<'_, ()>;
}
