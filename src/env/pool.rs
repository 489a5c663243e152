//! Threads for trusted CPU work (hashing, signing): bounded queue, deadline per job.
//!
//! A job is a closure over owned data. It waits in a queue of fixed length; when the queue is full the caller gets an
//! answer at once and turns it into 451. A job whose deadline has passed before a thread took it is not run at all;
//! one that is running cannot be stopped (which is why only trusted code runs here), the caller just stops waiting.
//! A panic in a job costs that job, not the thread.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use tokio::sync::oneshot;

use crate::mail::Span;

/// Why there is no result. All of these are our own trouble: 4xx (DESIGN §7).
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PoolError {
    #[error("the queue for CPU work is full")]
    Full,
    #[error("the job was not done before its deadline")]
    Late,
    #[error("the job panicked")]
    Panicked,
    #[error("the threads for CPU work have ended")]
    Closed,
}

type Job = Box<dyn FnOnce() + Send>;

/// Handle on the threads; cheap to clone. They end when the last handle is gone and the queue is empty.
#[derive(Clone, Debug)]
pub struct Pool {
    queue: SyncSender<Job>,
}

impl Pool {
    /// Starts `threads` threads (at least one) over a queue of `waiting` jobs (at least one).
    ///
    /// # Errors
    /// When the system gives no threads.
    pub fn start(threads: usize, waiting: usize) -> std::io::Result<Self> {
        let (queue, jobs) = sync_channel::<Job>(waiting.max(1));
        let jobs = Arc::new(Mutex::new(jobs));
        for number in 0..threads.max(1) {
            let jobs = Arc::clone(&jobs);
            std::thread::Builder::new().name(format!("cpu-{number}")).spawn(move || work(&jobs))?;
        }
        Ok(Self { queue })
    }

    /// Runs `job` on one of the threads and waits for its result, at most `within`.
    ///
    /// # Errors
    /// See [`PoolError`].
    pub async fn run<T, F>(&self, within: Span, job: F) -> Result<T, PoolError>
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        let (answer, result) = oneshot::channel();
        let deadline = Instant::now() + within.as_std();
        let boxed: Job = Box::new(move || {
            // Nobody waits any more: the work would be for nothing.
            if answer.is_closed() || Instant::now() > deadline {
                drop(answer.send(Err(PoolError::Late)));
                return;
            }
            let outcome = catch_unwind(AssertUnwindSafe(job)).map_err(|_| PoolError::Panicked);
            drop(answer.send(outcome));
        });
        self.queue.try_send(boxed).map_err(|error| match error {
            TrySendError::Full(_) => PoolError::Full,
            TrySendError::Disconnected(_) => PoolError::Closed,
        })?;
        match tokio::time::timeout(within.as_std(), result).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) => Err(PoolError::Closed),
            Err(_) => Err(PoolError::Late),
        }
    }
}

fn work(jobs: &Mutex<Receiver<Job>>) {
    loop {
        // The lock is held while waiting: one thread waits on the channel, the others on the lock.
        let job = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
        match job {
            Ok(job) => job(),
            Err(_) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    const LONG: Span = Span::minutes(5);

    #[tokio::test]
    async fn jobs_give_their_results_and_panics_cost_one_job() {
        let pool = Pool::start(2, 8).unwrap();
        assert_eq!(pool.run(LONG, || 6 * 7).await, Ok(42));
        let panicked: Result<(), _> = pool.run(LONG, || panic!("on purpose")).await;
        assert_eq!(panicked, Err(PoolError::Panicked));
        assert_eq!(pool.run(LONG, || "still here").await, Ok("still here"));
    }

    #[tokio::test]
    async fn a_full_queue_answers_at_once() {
        let pool = Pool::start(1, 1).unwrap();
        let (release, gate) = channel::<()>();
        let (started, running) = channel::<()>();
        let busy = tokio::spawn({
            let pool = pool.clone();
            async move {
                pool.run(LONG, move || {
                    started.send(()).unwrap();
                    gate.recv().unwrap();
                })
                .await
            }
        });
        tokio::task::spawn_blocking(move || running.recv().unwrap()).await.unwrap();
        // One job runs; of the two that follow one waits, the other is turned away whichever comes first.
        let mut two = tokio::task::JoinSet::new();
        for _ in 0..2 {
            let pool = pool.clone();
            two.spawn(async move { pool.run(LONG, || ()).await });
        }
        assert_eq!(two.join_next().await.unwrap().unwrap(), Err(PoolError::Full));
        release.send(()).unwrap();
        assert_eq!(two.join_next().await.unwrap().unwrap(), Ok(()));
        assert_eq!(busy.await.unwrap(), Ok(()));
    }

    #[tokio::test]
    async fn a_job_past_its_deadline_is_not_run() {
        let pool = Pool::start(1, 4).unwrap();
        let (release, gate) = channel::<()>();
        let stuck = pool.run(Span::millis(1), move || gate.recv().is_ok()).await;
        assert_eq!(stuck, Err(PoolError::Late));
        let waiting = pool.run(Span::ZERO, || unreachable!("its time is over")).await;
        assert_eq!(waiting, Err(PoolError::Late));
        // Where the thread came to the first job too late, nobody listens any more; it is free either way.
        let _ = release.send(());
        assert_eq!(pool.run(LONG, || 1).await, Ok(1));
    }
}
