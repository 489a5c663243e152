//! The thread that owns the log: takes what waits, writes and syncs it at once, answers all, tidies up in between.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use super::{Shared, UNREADABLE, Waiting, lock};
use crate::env::disk::Room;
use crate::mail::Span;
use crate::spool::log::Log;
use crate::spool::segment::Part;

/// How long an answered but unsynced change may wait for a sync of its own.
const SYNC_SOON: Duration = Duration::from_millis(100);

/// A segment that took fewer batches held large mail. Writing it full of zeros first costs about what the syncs of so many
/// batches save.
const MANY_BATCHES: u64 = 128;

/// The thread that owns the log.
pub(super) struct Committer {
    pub(super) log: Log,
    pub(super) shared: Arc<Shared>,
    /// The segment for which spares were last looked after.
    pub(super) provided_for: u64,
    /// Batches written since then.
    pub(super) batches: u64,
    /// Of the damages that the log has counted, so many are in the metrics.
    pub(super) damages_told: u64,
}

/// What the committer finds when it looks up.
enum Work {
    Batch(Vec<Waiting>, Vec<(u64, String)>),
    Idle,
    Close,
}

impl Committer {
    pub(super) fn run(mut self) {
        let mut patience = Some(Duration::ZERO);
        loop {
            match self.wait(patience) {
                Work::Batch(batch, damaged) => {
                    self.serve(batch);
                    damaged.into_iter().for_each(|(key, what)| self.look_again(key, &what));
                    // One step of housekeeping between batches, so that a spool that is never idle is tidied too.
                    let more = self.log.tidy();
                    patience = if more { Some(Duration::ZERO) } else { self.log.is_dirty().then_some(SYNC_SOON) };
                }
                Work::Idle => {
                    if self.log.is_dirty() {
                        self.log.commit(Vec::new());
                        self.log.sync();
                    }
                    let more = self.log.tidy();
                    patience = if more { Some(Duration::ZERO) } else { self.log.is_dirty().then_some(SYNC_SOON) };
                }
                Work::Close => break,
            }
            self.provide();
            self.shared.metrics.damaged(self.log.damages.saturating_sub(self.damages_told));
            self.damages_told = self.log.damages;
            let broken = self.log.is_broken();
            self.shared.broken.store(broken, Ordering::Relaxed);
            self.shared.metrics.health(!broken);
            self.shared.show();
        }
        self.log.commit(Vec::new());
        self.log.sync();
        let mut inbox = lock(&self.shared.inbox);
        drop(lock(&self.shared.lock).take());
        inbox.ended = true;
        for closed in inbox.closed.drain(..) {
            let _ = closed.send(());
        }
    }

    /// Somebody could not read a message. Neither can we: it leaves the queue, its bytes are set aside.
    fn look_again(&mut self, key: u64, what: &str) {
        let found = self.log.index().get(key);
        let Some(entry) = found else { return };
        let later = match self.log.load(key, &entry, Part::Whole) {
            Ok(_) => Span::seconds(1),
            Err(_) if self.log.give_up(key, &entry, what) => return,
            Err(_) => UNREADABLE,
        };
        self.log.index().put_back(key, self.shared.clock.now() + later);
    }

    /// Lets a thread make spare segments when they run low; tried once a segment, so a full disk is not hammered.
    fn provide(&mut self) {
        let behind = self.provided_for != self.log.next_sequence && self.shared.nursery.hungry();
        if !behind || self.shared.making.swap(true, Ordering::AcqRel) {
            return;
        }
        let segments = self.log.next_sequence.saturating_sub(self.provided_for);
        let few = std::mem::take(&mut self.batches) < MANY_BATCHES.saturating_mul(segments);
        let how = if few { Room::Reserved } else { Room::Written };
        self.provided_for = self.log.next_sequence;
        let shared = Arc::clone(&self.shared);
        let started = std::thread::Builder::new().name("spool-spare".to_owned()).spawn(move || {
            while shared.nursery.hungry() {
                let made = shared.nursery.make(shared.nursery.size, how);
                let kept = made
                    .and_then(|spare| shared.nursery.keep(spare).or_else(|surplus| shared.nursery.discard(surplus.id)));
                if let Err(error) = kept {
                    tracing::warn!(%error, "no spare segment could be made for the spool");
                    break;
                }
            }
            shared.making.store(false, Ordering::Release);
        });
        if started.is_err() {
            self.shared.making.store(false, Ordering::Release);
        }
    }

    /// All that waits, up to the size of a batch; else idleness after `patience`.
    fn wait(&self, patience: Option<Duration>) -> Work {
        let mut inbox = lock(&self.shared.inbox);
        while inbox.waiting.is_empty() && inbox.damaged.is_empty() {
            if inbox.closing {
                return Work::Close;
            }
            inbox.asleep = true;
            inbox = match patience {
                None => self.shared.filled.wait(inbox).unwrap_or_else(PoisonError::into_inner),
                Some(patience) => {
                    let waited = self.shared.filled.wait_timeout(inbox, patience);
                    let (inbox, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
                    if timeout.timed_out() && inbox.waiting.is_empty() && inbox.damaged.is_empty() && !inbox.closing {
                        return Work::Idle;
                    }
                    inbox
                }
            };
        }
        inbox.asleep = false;
        let (mut bytes, most) = (0_u64, self.shared.settings.batch.as_u64());
        let count = inbox.waiting.iter().take_while(|waiting| {
            let fits = bytes <= most;
            bytes = bytes.saturating_add(waiting.item.span());
            fits
        });
        let count = count.count();
        let batch = if count == inbox.waiting.len() {
            std::mem::take(&mut inbox.waiting)
        } else {
            inbox.waiting.drain(..count).collect()
        };
        Work::Batch(batch, std::mem::take(&mut inbox.damaged))
    }

    fn serve(&mut self, batch: Vec<Waiting>) {
        let (items, answers): (Vec<_>, Vec<_>) = batch.into_iter().map(|w| (w.item, w.answer)).unzip();
        if items.is_empty() {
            return;
        }
        self.batches = self.batches.saturating_add(1);
        let (count, began) = (items.len(), Instant::now());
        let results = self.log.commit(items);
        self.shared.metrics.committed(count, began.elapsed().as_secs_f64());
        self.shared.metrics.failed(results.iter().filter(|result| result.is_err()).count());
        for (answer, result) in answers.into_iter().zip(results) {
            // A caller that went away is told nothing; its mail is kept all the same.
            let _ = answer.send(result);
        }
    }
}
