//! One inspector process as the main process sees it: its link, its watcher, its age.

use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::timeout;

use super::Shared;
use crate::env::jail::wire::Outer;
use crate::env::jail::{Child, JailError, Launcher, memory};
use crate::inspect::inspector::Answer;
use crate::inspect::policy::Policy;

/// Time from the start of the process to "ready": reading native code, one warm-up scan.
const START_LIMIT: Duration = Duration::from_secs(60);
/// An inspector is replaced after this much work, long before its own limit of CPU time; it also bounds leaks.
const AGE_LIMIT: Duration = Duration::from_secs(1800);
/// Pauses between starts that fail.
const PAUSES: [Duration; 4] =
    [Duration::from_millis(50), Duration::from_millis(500), Duration::from_secs(2), Duration::from_secs(10)];

/// A policy in sealed memory, ready for any number of inspectors.
#[derive(Debug)]
pub(super) struct Pinned {
    pub policy: Arc<Policy>,
    pub generation: u64,
    memory: OwnedFd,
}

impl Pinned {
    pub fn new(policy: Arc<Policy>, generation: u64) -> std::io::Result<Self> {
        let memory = memory::seal(policy.bytes())?;
        Ok(Self { policy, generation, memory })
    }
}

/// An inspector that runs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Live {
    pub number: u64,
    pub generation: u64,
    pub kept: bool,
    pub process: u32,
}

/// An inspector that is nobody else's at the moment. Dropped, its process is killed.
#[derive(Debug)]
pub(super) struct Worker {
    pub number: u64,
    pub link: Outer,
    pub pinned: Arc<Pinned>,
    /// For small mail only.
    pub kept: bool,
    spent: Duration,
    /// Holds the process; let go, the watcher kills it.
    leash: oneshot::Sender<&'static str>,
}

impl Worker {
    /// Ends the process, and says why for the counter.
    pub fn give_up(self, reason: &'static str) {
        // The watcher may be gone already: then the process is too.
        let _ = self.leash.send(reason);
    }
    pub fn served(&mut self, spent: Duration) {
        self.spent += spent;
    }
    pub fn is_aged(&self) -> bool {
        self.spent > AGE_LIMIT
    }
}

/// Starts a process, hands it a policy in sealed memory and waits until its cage is closed.
pub(super) async fn open(launcher: &Launcher, policy: &OwnedFd) -> Result<Child, JailError> {
    let child = launcher.start().await?;
    child.link.send(&[], &[policy]).await?;
    let answer = timeout(START_LIMIT, child.link.receive()).await.map_err(|_| JailError::Ended)??;
    match postcard::from_bytes(&answer) {
        Ok(Answer::Ready { landlock }) => {
            if !landlock {
                tracing::warn!("this kernel has no landlock; inspectors rely on seccomp alone");
            }
            Ok(child)
        }
        Ok(Answer::Refused(why)) => Err(JailError::Start(std::io::Error::other(why))),
        _ => Err(JailError::Nonsense),
    }
}

/// Starts an inspector with `pinned` and waits until it is ready.
pub(super) async fn start_worker(shared: &Arc<Shared>, pinned: &Arc<Pinned>) -> Result<Worker, JailError> {
    let child = open(&shared.launcher, &pinned.memory).await?;
    let process = child.process.id().ok_or(JailError::Ended)?;
    let (leash, held) = oneshot::channel();
    let worker = {
        let mut state = shared.lock();
        let number = state.next();
        let kept = shared.keeps_lane && !state.live.iter().any(|l| l.kept && l.generation == pinned.generation);
        state.live.push(Live { number, generation: pinned.generation, kept, process });
        Worker { number, link: child.link, pinned: Arc::clone(pinned), kept, spent: Duration::ZERO, leash }
    };
    shared.metrics.processes.with_label_values(&["ready"]).inc();
    tokio::spawn(watch(Arc::clone(shared), worker.number, child.process, held));
    Ok(worker)
}

/// Waits for the end of a process, or ends it when its worker is dropped; then sees to a replacement.
async fn watch(
    shared: Arc<Shared>,
    number: u64,
    mut process: tokio::process::Child,
    held: oneshot::Receiver<&'static str>,
) {
    let reason = tokio::select! {
        biased;
        dropped = held => {
            // Killing what is dead already is no error worth telling.
            let _ = process.start_kill();
            let _ = process.wait().await;
            dropped.ok()
        }
        _ = process.wait() => Some("crash"),
    };
    shared.metrics.processes.with_label_values(&["ready"]).dec();
    if let Some(reason) = reason {
        shared.metrics.restarts.with_label_values(&[reason]).inc();
        tracing::info!(reason, "an inspector is replaced");
    }
    let dead = {
        let mut state = shared.lock();
        state.live.retain(|l| l.number != number);
        let at = state.idle.iter().position(|w| w.number == number);
        at.map(|at| state.idle.remove(at))
    };
    drop(dead);
    shared.changed.notify_waiters();
    refill(shared).await;
}

/// Starts inspectors until there are as many as there should be; failures are counted and tried again.
/// Boxed because a start spawns a watcher, which may start again.
fn refill(shared: Arc<Shared>) -> Pin<Box<dyn Future<Output = ()> + Send>> {
    Box::pin(refill_now(shared))
}

async fn refill_now(shared: Arc<Shared>) {
    let mut failures = 0_usize;
    loop {
        let pinned = {
            let mut state = shared.lock();
            if state.stopping || state.live.len() + state.starting >= shared.size {
                return;
            }
            state.starting += 1;
            Arc::clone(&state.pinned)
        };
        let started = start_worker(&shared, &pinned).await;
        shared.lock().starting -= 1;
        match started {
            Ok(worker) => {
                failures = 0;
                shared.release(worker);
            }
            Err(error) => {
                shared.metrics.restarts.with_label_values(&["start"]).inc();
                tracing::error!(%error, "an inspector could not be started");
                let pause = PAUSES.get(failures).or(PAUSES.last()).copied().unwrap_or_default();
                failures += 1;
                tokio::time::sleep(pause).await;
            }
        }
    }
}
