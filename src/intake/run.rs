//! DATA and BDAT into one piece of memory, within the budget for all messages together.
//!
//! A message lives on the heap up to 4 MiB, then in an unlinked temporary file that is mapped when it is complete:
//! nothing is left behind whatever dies (THREATS S-32). The budget is a number of permits that travel inside the
//! message's `Bytes` and come back when the last copy is dropped. A new message waits for its first permit (its
//! socket is not read meanwhile); one that has begun and finds the budget empty moves to a file, so messages
//! never wait for each other in a circle. One network never holds more than its share of it.

mod map;

use std::fs::File;
use std::io::{self, Write};
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::spawn_blocking;

use super::share::{Portion, Shares};
use crate::listen::admit::network_of;
use crate::listen::stress::percent;
use crate::mail::ByteSize;
use crate::session::desk::{self, BasinError};

/// Past this many octets a message goes to a file, which costs two more copies of it. Most mail with attachments is smaller.
const HEAP_MAX: usize = 4 << 20;
/// One permit of the budget, in octets.
const UNIT: usize = 4096;
/// Octets gathered before they are written to the file.
const BATCH: usize = 256 << 10;

/// Where messages are gathered: one folder, one budget. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Store {
    folder: Arc<PathBuf>,
    budget: Arc<Semaphore>,
    permits: usize,
    shares: Shares,
}

impl Store {
    /// `folder` must exist; temporary files in it have no name. `memory` bounds all messages on the heap together.
    #[must_use]
    pub fn new(folder: PathBuf, memory: ByteSize) -> Self {
        let permits = (memory.as_usize() / UNIT).clamp(HEAP_MAX / UNIT, Semaphore::MAX_PERMITS);
        Self { folder: Arc::new(folder), budget: Arc::new(Semaphore::new(permits)), permits, shares: Shares::default() }
    }

    #[must_use]
    pub fn basin(&self) -> Basin {
        Basin { store: self.clone(), heap: Vec::new(), permit: None, portion: None, file: None }
    }

    /// One whose memory counts for its client's network.
    #[must_use]
    pub fn basin_for(&self, client: IpAddr) -> Basin {
        Basin { portion: Some(self.shares.portion(network_of(client))), ..self.basin() }
    }

    /// How much of the budget is taken.
    #[must_use]
    pub fn used_percent(&self) -> u32 {
        percent(self.permits.saturating_sub(self.budget.available_permits()), self.permits)
    }

    /// Octets of the budget that are free.
    #[must_use]
    pub fn free_bytes(&self) -> usize {
        self.budget.available_permits().saturating_mul(UNIT)
    }
}

/// One message on its way in.
#[derive(Debug)]
pub struct Basin {
    store: Store,
    /// The whole message while there is no file; after that, what is not written yet.
    heap: Vec<u8>,
    permit: Option<OwnedSemaphorePermit>,
    portion: Option<Portion>,
    file: Option<File>,
}

impl desk::Basin for Basin {
    async fn reserve(&mut self, bytes: usize) -> Result<(), BasinError> {
        let wanted = self.heap.len().saturating_add(bytes);
        if self.file.is_none() {
            if wanted <= HEAP_MAX && self.hold(wanted).await? {
                return Ok(());
            }
            let folder = Arc::clone(&self.store.folder);
            self.file = Some(blocking(move || map::unlinked(&folder)).await?);
        }
        if self.heap.len() >= BATCH || self.heap.capacity() > BATCH.saturating_mul(2) {
            self.write_out().await?;
            // What is gathered from here on is at most a batch and a read, and is not counted.
            self.permit = None;
            self.portion = None;
        }
        Ok(())
    }

    fn pour(&mut self, bytes: &[u8]) {
        self.heap.extend_from_slice(bytes);
    }

    async fn finish(mut self) -> Result<Bytes, BasinError> {
        if self.file.is_none() {
            let heap = std::mem::take(&mut self.heap);
            return Ok(Bytes::from_owner(Held { heap, _permit: self.permit.take(), _portion: self.portion.take() }));
        }
        self.write_out().await?;
        let Some(file) = self.file.take() else { return Ok(Bytes::new()) };
        Ok(blocking(move || map::whole(&file)).await?)
    }
}

impl Basin {
    /// Holds permits for `bytes` in all; `false` when the budget does not give them to a message that has begun.
    async fn hold(&mut self, bytes: usize) -> Result<bool, BasinError> {
        let held = self.permit.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let missing = bytes.div_ceil(UNIT).saturating_sub(held);
        let Ok(missing) = u32::try_from(missing) else { return Ok(false) };
        if missing == 0 {
            return Ok(true);
        }
        // Its network holds its part already: a file, at once. Nobody waits for what this peer does not give back.
        if self.portion.as_mut().is_some_and(|portion| !portion.grow(missing as usize, self.store.permits)) {
            return Ok(false);
        }
        let budget = Arc::clone(&self.store.budget);
        let Some(permit) = &mut self.permit else {
            self.permit = Some(budget.acquire_many_owned(missing).await.map_err(|_| BasinError::Closed)?);
            return Ok(true);
        };
        match budget.try_acquire_many_owned(missing) {
            Ok(more) => permit.merge(more),
            Err(_) => return Ok(false),
        }
        Ok(true)
    }

    async fn write_out(&mut self) -> Result<(), BasinError> {
        let (Some(mut file), batch) = (self.file.take(), std::mem::take(&mut self.heap)) else { return Ok(()) };
        let (file, mut batch) = blocking(move || file.write_all(&batch).map(|()| (file, batch))).await?;
        self.file = Some(file);
        batch.clear();
        if batch.capacity() <= BATCH.saturating_mul(2) {
            self.heap = batch;
        }
        Ok(())
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    spawn_blocking(work).await.map_err(io::Error::other)?
}

/// A message on the heap with its share of the budget.
struct Held {
    heap: Vec<u8>,
    _permit: Option<OwnedSemaphorePermit>,
    _portion: Option<Portion>,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.heap
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use desk::Basin as _;

    fn store(memory: ByteSize) -> Store {
        Store::new(std::env::temp_dir(), memory)
    }

    async fn gather(store: &Store, chunk: &[u8], times: usize) -> Bytes {
        let mut basin = store.basin();
        for _ in 0..times {
            basin.reserve(chunk.len()).await.unwrap();
            basin.pour(chunk);
        }
        basin.finish().await.unwrap()
    }

    #[tokio::test]
    async fn small_and_large_messages_come_out_as_they_went_in() {
        let store = store(ByteSize::mib(64));
        let chunk: Vec<u8> = (0..65_536_u32).map(|i| (i % 251) as u8).collect();
        for times in [0, 1, 15, 16, 17, 100] {
            let bytes = gather(&store, &chunk, times).await;
            assert!(bytes == chunk.repeat(times), "{times} chunks");
        }
        assert_eq!(store.free_bytes(), 64 << 20, "every permit is back");
    }

    #[tokio::test]
    async fn the_budget_travels_inside_the_message() {
        let store = store(ByteSize::mib(4));
        let bytes = gather(&store, &[b'x'; 10_000], 1).await;
        let copy = bytes.slice(5..);
        drop(bytes);
        assert_eq!(store.free_bytes(), (4 << 20) - 3 * UNIT);
        drop(copy);
        assert_eq!(store.free_bytes(), 4 << 20);
    }

    #[tokio::test]
    async fn a_new_message_waits_and_a_started_one_moves_to_a_file() {
        let store = store(ByteSize::mib(1));
        let mut first = store.basin();
        first.reserve(HEAP_MAX - UNIT).await.unwrap();
        let mut started = store.basin();
        started.reserve(UNIT).await.unwrap();
        started.pour(&[b'a'; UNIT]);
        started.reserve(UNIT).await.unwrap();
        started.pour(&[b'b'; UNIT]);
        assert!(started.file.is_some(), "it went on without memory");
        let mut waiting = store.basin();
        {
            let mut reservation = std::pin::pin!(waiting.reserve(UNIT));
            assert!(futures_now(reservation.as_mut()).is_none(), "nothing is left for a new one");
            drop(first);
            reservation.await.unwrap();
        }
        assert_eq!(started.finish().await.unwrap().len(), 2 * UNIT);
    }

    #[tokio::test]
    async fn threats_s_31_one_network_cannot_hold_the_memory_of_all() {
        let store = store(ByteSize::mib(64));
        let client = |text: &str| text.parse().unwrap();
        let mut kept = Vec::new();
        for last in 0..20 {
            let mut basin = store.basin_for(client(&format!("192.0.2.{last}")));
            basin.reserve(2 << 20).await.unwrap();
            basin.pour(&vec![b'x'; 2 << 20]);
            kept.push(basin.finish().await.unwrap());
        }
        assert_eq!(store.free_bytes(), 48 << 20, "the rest went to files");
        let mut other = store.basin_for(client("198.51.100.1"));
        other.reserve(4 << 20).await.unwrap();
        assert!(other.file.is_none());
        drop((kept, other));
        assert_eq!(store.free_bytes(), 64 << 20);
    }

    /// Polls once.
    fn futures_now<F: Future>(future: std::pin::Pin<&mut F>) -> Option<F::Output> {
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        match future.poll(&mut cx) {
            std::task::Poll::Ready(output) => Some(output),
            std::task::Poll::Pending => None,
        }
    }
}
