//! The pool of inspectors: starts them, hands messages over, kills at the deadline, tries once more, replaces.
//!
//! Invariants: a message is looked at by one process at a time, which holds one whole policy; an inspector that was
//! not heard to its end never gets another message; what no inspector could look at is a finding, not silence.

mod breaker;
mod compile;
mod trial;
mod workers;

use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout, timeout_at};

use super::inspector::{Answer, Task};
use super::lanes::{self, Lane, Load};
use super::metrics::Metrics;
use super::policy::Policy;
use super::{ContentFacts, Finding, Released, settings};
use crate::env::jail::{JailError, Launcher, memory};
use crate::mail::{Reply, Span};
pub use breaker::Breaker;
use trial::Suspect;
use workers::{Pinned, Worker, start_worker};

/// An idle inspector that died unseen costs no try; after this many in a row something else is wrong.
const STALE_LINKS: usize = 4;

/// Why a message was not looked at now.
#[derive(Debug, thiserror::Error)]
pub enum InspectError {
    #[error("too much mail waits for the inspectors")]
    Busy,
    #[error("the gateway is stopping")]
    Stopping,
    #[error("the inspectors cannot be reached: {0}")]
    Jail(#[from] JailError),
}

impl InspectError {
    /// Our own trouble is temporary (DESIGN §7).
    #[must_use]
    pub fn reply(&self) -> Reply {
        Reply::new(451, "4.3.2", "Busy, please try again later / He thong dang ban, xin thu lai sau")
    }
}

/// What came of a message.
#[derive(Clone, Debug)]
pub struct Examined {
    pub facts: ContentFacts,
    /// The policy it was looked at with; the numbers in `facts.atoms` are of its rules.
    pub policy: Arc<Policy>,
    /// The octets that the task wanted.
    pub released: Released,
}

/// Inspector processes. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Pool(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    pub launcher: Launcher,
    pub metrics: Metrics,
    deadline: Span,
    /// How many inspectors there should be.
    pub size: usize,
    /// One of them is kept for small mail.
    pub keeps_lane: bool,
    state: Mutex<State>,
    pub changed: tokio::sync::Notify,
    busy: AtomicUsize,
    /// Whoever looks into messages that took long.
    suspects: OnceLock<mpsc::Sender<Suspect>>,
}

#[derive(Debug)]
struct State {
    pub pinned: Arc<Pinned>,
    pub idle: Vec<Worker>,
    waiting: Vec<Waiter>,
    load: Load,
    /// Started and not yet gone: (number, generation, kept for small mail, process id).
    pub live: Vec<workers::Live>,
    /// Being started and not yet ready.
    pub starting: usize,
    pub next_number: u64,
    pub stopping: bool,
}

#[derive(Debug)]
struct Waiter {
    number: u64,
    lane: Lane,
    size_bytes: usize,
    /// The second try: takes only a process with a higher number, started after the first one failed.
    after: Option<u64>,
    hand: oneshot::Sender<Worker>,
}

impl Pool {
    /// Starts the inspectors and waits until all are ready. `exe` is this program (`/proc/self/exe`).
    /// Must be called inside a tokio runtime.
    pub async fn start(
        policy: Arc<Policy>,
        settings: &settings::Inspect,
        metrics: Metrics,
        exe: PathBuf,
    ) -> Result<Self, InspectError> {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let size = if settings.workers == 0 { cores.max(2) } else { settings.workers };
        let memory = policy.limits().memory.as_u64().to_string();
        let args = ["inspector", "--memory", &memory].map(OsString::from).to_vec();
        let pinned = Arc::new(Pinned::new(policy, 1).map_err(JailError::Link)?);
        let shared = Arc::new(Shared {
            launcher: Launcher::new(exe, args)?,
            metrics,
            deadline: settings.deadline,
            size,
            keeps_lane: size >= 2,
            state: Mutex::new(State {
                pinned: Arc::clone(&pinned),
                idle: Vec::new(),
                waiting: Vec::new(),
                load: Load::default(),
                live: Vec::new(),
                starting: 0,
                next_number: 0,
                stopping: false,
            }),
            changed: tokio::sync::Notify::new(),
            busy: AtomicUsize::new(0),
            suspects: OnceLock::new(),
        });
        for _ in 0..size {
            let worker = start_worker(&shared, &pinned).await?;
            shared.release(worker);
        }
        shared.metrics.parked(pinned.policy.parked());
        Ok(Self(shared))
    }

    /// Everything known of the content of `raw`, within the configured deadline, second try included.
    pub async fn examine(&self, raw: &Bytes, mut task: Task) -> Result<Examined, InspectError> {
        let total = self.0.deadline.as_std().min(Duration::from_millis(task.budget_ms));
        let deadline = Instant::now() + total;
        let bytes = memory::seal(raw).map_err(JailError::Link)?;
        let (mut reasons, mut after, mut stale) = (Vec::new(), None, 0);
        while reasons.len() < 2 {
            let is_last = !reasons.is_empty();
            let mut worker = match self.0.acquire(raw.len(), after, deadline).await {
                Ok(worker) => worker,
                Err(_) if is_last => break,
                Err(error) => return Err(error),
            };
            let left = lanes::try_limit(deadline.saturating_duration_since(Instant::now()), is_last);
            task.budget_ms = u64::try_from(left.as_millis()).unwrap_or(u64::MAX);
            let question = postcard::to_stdvec(&task).map_err(|_| JailError::Nonsense)?;
            let slate = task.wants.any().then(|| memory::slate(worker.pinned.policy.limits().outgoing()));
            let slate = slate.transpose().map_err(JailError::Link)?;
            let busy = Busy::new(&self.0);
            let handed: Vec<&OwnedFd> = std::iter::once(&bytes).chain(&slate).collect();
            if let Err(error) = worker.link.send(&question, &handed).await {
                worker.give_up("crash");
                stale += 1;
                if stale > STALE_LINKS {
                    return Err(JailError::Link(error).into());
                }
                continue;
            }
            let began = Instant::now();
            let answer = timeout(left, worker.link.receive()).await;
            drop(busy);
            match read_answer(answer).and_then(|(facts, yara)| Ok((release(facts, slate)?, yara))) {
                Ok(((facts, released), yara)) => {
                    let spent = began.elapsed();
                    self.0.metrics.work.observe(spent.as_secs_f64());
                    let policy = Arc::clone(&worker.pinned.policy);
                    if yara > policy.limits().rule_time.as_std() {
                        self.0.suspect(raw, &task, &worker.pinned);
                    }
                    worker.served(spent);
                    self.0.lock().load.measured(spent);
                    self.0.release(worker);
                    return Ok(Examined { facts, policy, released });
                }
                Err((reason, why)) => {
                    tracing::warn!(reason, why, size_bytes = raw.len(), "an inspector failed on a message");
                    if reason == "deadline" {
                        self.0.suspect(raw, &task, &worker.pinned);
                    }
                    worker.give_up(reason);
                    reasons.push(why);
                    after = Some(self.0.lock().next_number);
                }
            }
        }
        let finding = Finding::unknown("inspect.failed", reasons.join("; then "));
        let facts = ContentFacts { findings: vec![finding], ..ContentFacts::default() };
        Ok(Examined { facts, policy: self.policy(), released: Released::default() })
    }

    /// The policy that new messages are looked at with.
    #[must_use]
    pub fn policy(&self) -> Arc<Policy> {
        Arc::clone(&self.0.lock().pinned.policy)
    }

    /// Process ids of the inspectors that are ready or at work.
    #[must_use]
    pub fn processes(&self) -> Vec<u32> {
        self.0.lock().live.iter().map(|l| l.process).collect()
    }

    /// Messages that took longer than a rule may, for one who looks into them; `None` when somebody does already.
    fn suspects(&self) -> Option<mpsc::Receiver<Suspect>> {
        // One waits while another is looked into; more of the same would tell nothing more.
        let (sender, inbox) = mpsc::channel(1);
        self.0.suspects.set(sender).is_ok().then_some(inbox)
    }

    /// Changes to `policy`: one new inspector proves that it can be used, then the others follow one by one, each
    /// ready before an old one retires. On an error, which can only be the first one's, everything stays as it was.
    pub async fn reload(&self, policy: Arc<Policy>) -> Result<(), InspectError> {
        let generation = self.0.lock().pinned.generation + 1;
        let pinned = Arc::new(Pinned::new(policy, generation).map_err(JailError::Link)?);
        let first = start_worker(&self.0, &pinned).await?;
        self.0.lock().pinned = Arc::clone(&pinned);
        self.0.metrics.parked(pinned.policy.parked());
        self.0.release(first);
        self.0.retire_one(generation);
        while self.0.lock().live.iter().any(|l| l.generation < generation) {
            let enough = self.0.lock().live.iter().filter(|l| l.generation == generation).count() >= self.0.size;
            if !enough {
                match start_worker(&self.0, &pinned).await {
                    Ok(worker) => self.0.release(worker),
                    // The change is made: an old one goes all the same, and its place is filled as after a crash.
                    Err(error) => tracing::error!(%error, "an inspector could not be started"),
                }
            }
            if !self.0.retire_one(generation) {
                // The old ones are all at work; each retires when it is done.
                break;
            }
        }
        Ok(())
    }

    /// Takes no more messages and returns when the inspectors are gone; those at work finish first.
    pub async fn drain(&self) {
        let (idle, waiting) = {
            let mut state = self.0.lock();
            state.stopping = true;
            (std::mem::take(&mut state.idle), std::mem::take(&mut state.waiting))
        };
        drop((idle, waiting));
        loop {
            let changed = self.0.changed.notified();
            if self.0.lock().live.is_empty() {
                return;
            }
            // Woken by whoever goes; the time limit only covers a wake-up that came between the two lines above.
            let _ = timeout(Duration::from_millis(50), changed).await;
        }
    }
}

/// Facts and the CPU time of the YARA rules, or a reason for the counter and a sentence for the receipt.
fn read_answer(
    answer: Result<std::io::Result<Vec<u8>>, tokio::time::error::Elapsed>,
) -> Result<(ContentFacts, Duration), (&'static str, String)> {
    match answer {
        Err(_) => Err(("deadline", "the inspector did not answer in time".to_owned())),
        Ok(Err(error)) if error.kind() == std::io::ErrorKind::InvalidData => Err(("nonsense", error.to_string())),
        Ok(Err(_)) => Err(("crash", "the inspector died".to_owned())),
        Ok(Ok(record)) => match postcard::from_bytes(&record) {
            Ok(Answer::Facts { facts, yara_ms }) => Ok((*facts, Duration::from_millis(yara_ms))),
            Ok(Answer::Panicked(why)) => Err(("panic", format!("a parser gave up: {why}"))),
            _ => Err(("nonsense", "the inspector sent something that is no answer".to_owned())),
        },
    }
}

/// The facts with the octets they speak of, sealed before anybody looks at them.
fn release(facts: ContentFacts, slate: Option<OwnedFd>) -> Result<(ContentFacts, Released), (&'static str, String)> {
    let Some(slate) = slate.filter(|_| !facts.outgoing.is_empty()) else { return Ok((facts, Released::default())) };
    let bytes = memory::take(slate).map_err(|e| ("nonsense", format!("the inspector's memory: {e}")))?;
    let released = Released::new(facts.outgoing.clone(), bytes);
    let released = released.ok_or_else(|| ("nonsense", "the inspector hands out what it has not".to_owned()))?;
    Ok((facts, released))
}

/// Counts an inspector at work.
struct Busy<'p>(&'p Shared);

impl<'p> Busy<'p> {
    fn new(shared: &'p Shared) -> Self {
        shared.busy.fetch_add(1, Ordering::Relaxed);
        shared.metrics.processes.with_label_values(&["busy"]).inc();
        Self(shared)
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.busy.fetch_sub(1, Ordering::Relaxed);
        self.0.metrics.processes.with_label_values(&["busy"]).dec();
    }
}

impl Shared {
    pub fn lock(&self) -> MutexGuard<'_, State> {
        // State is changed in single steps that cannot be half done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands a message on to be looked into, unless another one waits for that.
    fn suspect(&self, raw: &Bytes, task: &Task, pinned: &Pinned) {
        let watched = self.suspects.get().filter(|_| !pinned.policy.limits().rule_time.is_zero());
        if let Some(place) = watched.and_then(|suspects| suspects.try_reserve().ok()) {
            let (policy, generation) = (Arc::clone(&pinned.policy), pinned.generation);
            place.send(Suspect { raw: raw.clone(), task: task.clone(), policy, generation });
        }
    }

    async fn acquire(&self, size_bytes: usize, after: Option<u64>, deadline: Instant) -> Result<Worker, InspectError> {
        let (lane, began) = (Lane::of(size_bytes), Instant::now());
        let (number, inbox) = {
            let mut state = self.lock();
            if state.stopping {
                return Err(InspectError::Stopping);
            }
            let (worker, dead) = state.take_idle(lane, after);
            if let Some(worker) = worker {
                drop(state);
                dead.into_iter().for_each(|worker| worker.give_up("crash"));
                self.metrics.wait.observe(0.0);
                return Ok(worker);
            }
            let left = deadline.saturating_duration_since(began);
            if after.is_none() && !state.load.admits(size_bytes, self.size, left) {
                return Err(InspectError::Busy);
            }
            let number = state.next();
            let (hand, inbox) = oneshot::channel();
            state.load.enter(size_bytes);
            state.waiting.push(Waiter { number, lane, size_bytes, after, hand });
            drop(state);
            dead.into_iter().for_each(|worker| worker.give_up("crash"));
            (number, inbox)
        };
        // Leaves the queue also when the session that waits goes away.
        let place = Place { shared: self, number };
        let outcome = timeout_at(deadline, inbox).await;
        drop(place);
        self.metrics.wait.observe(began.elapsed().as_secs_f64());
        match outcome {
            Ok(Ok(worker)) => Ok(worker),
            Ok(Err(_)) => Err(InspectError::Stopping),
            Err(_) => Err(InspectError::Busy),
        }
    }

    /// Gives a worker to the first message that waits for its like, or to the idle ones; an outdated one goes.
    pub fn release(&self, worker: Worker) {
        let mut state = self.lock();
        if state.stopping || worker.pinned.generation < state.pinned.generation {
            drop(state);
            drop(worker);
            return;
        }
        if worker.is_aged() {
            drop(state);
            worker.give_up("aged");
            return;
        }
        let mut worker = worker;
        while let Some(at) = state.first_waiting(&worker) {
            let waiter = state.waiting.remove(at);
            state.load.leave(waiter.size_bytes);
            match waiter.hand.send(worker) {
                Ok(()) => return,
                Err(back) => worker = back,
            }
        }
        state.idle.push(worker);
    }

    /// Ends one idle inspector of an older generation; false when none is idle.
    fn retire_one(&self, generation: u64) -> bool {
        let mut state = self.lock();
        let at = state.idle.iter().position(|w| w.pinned.generation < generation);
        let old = at.map(|at| {
            let old = state.idle.remove(at);
            // At once, so that nobody counts it any more.
            state.live.retain(|l| l.number != old.number);
            old
        });
        drop(state);
        old.is_some()
    }
}

impl State {
    pub fn next(&mut self) -> u64 {
        self.next_number += 1;
        self.next_number
    }

    /// An idle worker for the lane; and those that turned out to be dead.
    fn take_idle(&mut self, lane: Lane, after: Option<u64>) -> (Option<Worker>, Vec<Worker>) {
        let mut dead = Vec::new();
        loop {
            let fits = |w: &Worker| lane.fits(w.kept) && after.is_none_or(|number| w.number > number);
            // Small mail takes the inspector kept for it first, so that the others stay free.
            let kept = self.idle.iter().rposition(|w| fits(w) && w.kept);
            let Some(at) = kept.or_else(|| self.idle.iter().rposition(fits)) else { return (None, dead) };
            let worker = self.idle.swap_remove(at);
            if worker.link.is_quiet() {
                return (Some(worker), dead);
            }
            dead.push(worker);
        }
    }

    /// Second tries first, then in order of arrival.
    fn first_waiting(&self, worker: &Worker) -> Option<usize> {
        let fits = |w: &Waiter| w.lane.fits(worker.kept) && w.after.is_none_or(|number| worker.number > number);
        let again = self.waiting.iter().position(|w| w.after.is_some() && fits(w));
        again.or_else(|| self.waiting.iter().position(fits))
    }
}

/// A place in the queue.
struct Place<'p> {
    shared: &'p Shared,
    number: u64,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        if let Some(at) = state.waiting.iter().position(|w| w.number == self.number) {
            let waiter = state.waiting.remove(at);
            state.load.leave(waiter.size_bytes);
        }
    }
}
