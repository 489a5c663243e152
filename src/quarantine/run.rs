//! Store, list, release, expire. The only maker of Shelved.
//!
//! The files are the truth; a task of its own keeps the SQL index over them. When the index is lost, late or
//! wrong, mail goes on being held, lists are read from the files, and the index is made again.

mod index;
mod indexer;

use std::collections::HashSet;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwapOption;
use tokio::sync::{mpsc, oneshot};

use super::file::{Entry, HeldKey, Release};
use super::metrics::Metrics;
use super::shelf::{self, Filter};
use super::store::{Store, Stored};
use super::{Held, settings};
use crate::env::Clock;
use crate::env::disk::{Disk, is_full};
use crate::mail::{MailId, Parcel, Reply};

use index::Index;
use indexer::Indexer;

/// Changes that may wait for the index; beyond that it is brought up to date from the files.
const MOST_WAITING: usize = 10_000;
/// Rows in one transaction.
const BATCH: usize = 500;
/// Why the quarantine could not keep or find a message.
#[derive(Debug, thiserror::Error)]
pub enum ShelfError {
    #[error("the disk failed: {0}")]
    Disk(#[from] std::io::Error),
    #[error("there is no message {0} in the quarantine")]
    Unknown(String),
    #[error("the stored message is damaged: {0}")]
    Damaged(String),
    #[error("the message was already released by {} at {}", .0.by, .0.at)]
    Released(Release),
    #[error("the message is being released by somebody else")]
    Busy,
}

impl ShelfError {
    /// For the sender, who still has the message (RFC 3463 §3.4).
    #[must_use]
    pub fn reply(&self) -> Reply {
        match self {
            Self::Disk(error) if is_full(error) => {
                Reply::new(452, "4.3.1", "Not enough disk space here now, please try again later")
            }
            _ => Reply::new(451, "4.3.0", "Temporary trouble here, please try again later"),
        }
    }
}

/// Proof that a message is held and synced.
#[derive(Debug)]
pub struct Shelved {
    key: HeldKey,
}

impl Shelved {
    #[must_use]
    pub const fn id(&self) -> MailId {
        self.key.id
    }
    /// What `luytre quarantine` calls it.
    #[must_use]
    pub const fn key(&self) -> HeldKey {
        self.key
    }
}

/// The store of held mail. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Shelf(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    store: Store,
    index: ArcSwapOption<Index>,
    changes: mpsc::Sender<Change>,
    settings: settings::Quarantine,
    clock: Clock,
    releasing: Mutex<HashSet<HeldKey>>,
}

/// What the index is told.
#[derive(Debug)]
enum Change {
    Put(Box<Stored>),
    Gone(HeldKey),
    /// Answered when all before it is in the index.
    Settle(oneshot::Sender<()>),
}

/// A release under way. Dropped without [`Self::done`], nothing has happened.
#[derive(Debug)]
pub struct Releasing {
    shelf: Shelf,
    key: HeldKey,
    event: Release,
    /// To be delivered: the bytes as held, with one trace field before them.
    pub parcel: Parcel,
}

impl Shelf {
    /// Opens the quarantine in `dir` (made when it is missing); its index is brought up to date in the background. Needs
    /// a tokio runtime.
    pub async fn open(
        disk: Arc<dyn Disk>,
        dir: &Path,
        settings: settings::Quarantine,
        clock: Clock,
        metrics: Metrics,
    ) -> Result<Self, ShelfError> {
        let (changes, waiting) = mpsc::channel(MOST_WAITING);
        let at = dir.to_owned();
        let store = blocking(move || {
            let store = Store::open(disk, &at)?;
            for folder in store.folders()? {
                store.sweep(&folder)?;
            }
            Ok(store)
        })
        .await?;
        let releasing = Mutex::default();
        let inner = Arc::new(Inner { store, index: ArcSwapOption::empty(), changes, settings, clock, releasing });
        let indexer =
            Indexer { inner: Arc::downgrade(&inner), waiting, path: dir.join("index.db"), metrics, retry_at: None };
        tokio::spawn(indexer.run());
        Ok(Self(inner))
    }

    /// Returns when bytes and description are synced. `size_bytes` is filled in, and `expires_at` where it does not lie
    /// behind `held_at`.
    pub async fn hold(&self, parcel: &Parcel, mut held: Held) -> Result<Shelved, ShelfError> {
        held.size_bytes = parcel.size_bytes();
        if held.expires_at <= held.held_at {
            held.expires_at = held.held_at + self.0.settings.keep;
        }
        let (store, parcel) = (self.0.store.clone(), parcel.clone());
        let stored = blocking(move || store.write(&parcel, &held)).await?;
        let key = stored.entry.key;
        self.tell(Change::Put(Box::new(stored)));
        Ok(Shelved { key })
    }

    /// Held messages that fit, the newest first.
    pub async fn list(&self, filter: &Filter) -> Result<Vec<Entry>, ShelfError> {
        if let Some(index) = self.settled_index().await {
            match index.list(filter).await {
                Ok(entries) => return Ok(entries),
                Err(error) => tracing::warn!(%error, "the quarantine's index does not answer; reading the files"),
            }
        }
        let (store, filter) = (self.0.store.clone(), filter.clone());
        blocking(move || walk(&store, &filter)).await
    }

    /// One message: what is known of it, and its bytes.
    pub async fn show(&self, key: HeldKey) -> Result<(Entry, Parcel), ShelfError> {
        let store = self.0.store.clone();
        blocking(move || store.parcel(key)).await
    }

    /// Begins a release: take `parcel` to the spool, then call [`Releasing::done`]. Two officers cannot release the
    /// same message, not even at the same moment.
    pub async fn release(&self, key: HeldKey, who: &str, reason: &str) -> Result<Releasing, ShelfError> {
        if !self.releasing().insert(key) {
            return Err(ShelfError::Busy);
        }
        let now = self.0.clock.now();
        let event = Release { by: who.to_owned(), reason: reason.to_owned(), at: now };
        let release = match self.show(key).await {
            Ok((entry, parcel)) => shelf::may_release(&entry).map_err(ShelfError::Released).map(|()| parcel),
            Err(error) => Err(error),
        };
        match release {
            Ok(parcel) => {
                let parcel = shelf::released_parcel(parcel, &key.to_string(), now);
                Ok(Releasing { shelf: self.clone(), key, event, parcel })
            }
            Err(error) => {
                self.releasing().remove(&key);
                Err(error)
            }
        }
    }

    /// Deletes a message for good.
    pub async fn remove(&self, key: HeldKey) -> Result<(), ShelfError> {
        let store = self.0.store.clone();
        blocking(move || store.remove(key)).await?;
        self.tell(Change::Gone(key));
        Ok(())
    }

    /// Deletes what has been held long enough; returns how many.
    pub async fn expire(&self, now: crate::mail::Timestamp) -> Result<usize, ShelfError> {
        let mut count = 0;
        loop {
            let keys = self.expired(now).await?;
            let mut gone = 0;
            for key in keys {
                match self.remove(key).await {
                    Ok(()) => gone += 1,
                    // The index was behind: the row goes, the file is gone already.
                    Err(ShelfError::Unknown(_)) => self.tell(Change::Gone(key)),
                    Err(error) => return Err(error),
                }
            }
            count += gone;
            if gone == 0 {
                return Ok(count);
            }
        }
    }

    /// All messages that fit, of a quarantine whose gateway is down; nothing is changed.
    pub fn look(disk: Arc<dyn Disk>, dir: &Path, filter: &Filter) -> Result<Vec<Entry>, ShelfError> {
        walk(&Store::look(disk, dir), filter)
    }

    /// As `show`, of a quarantine whose gateway is down.
    pub fn look_at(disk: Arc<dyn Disk>, dir: &Path, key: HeldKey) -> Result<(Entry, Parcel), ShelfError> {
        Store::look(disk, dir).parcel(key)
    }

    async fn expired(&self, now: crate::mail::Timestamp) -> Result<Vec<HeldKey>, ShelfError> {
        if let Some(index) = self.settled_index().await
            && let Ok(keys) = index.expired(now, BATCH).await
        {
            return Ok(keys);
        }
        let store = self.0.store.clone();
        blocking(move || {
            let mut keys = Vec::new();
            for folder in store.folders()? {
                for key in store.keys(&folder)? {
                    if store.entry(key).is_ok_and(|stored| stored.entry.held.expires_at <= now) {
                        keys.push(key);
                    }
                }
            }
            Ok(keys)
        })
        .await
    }

    fn releasing(&self) -> std::sync::MutexGuard<'_, HashSet<HeldKey>> {
        self.0.releasing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells the index, if it keeps up; otherwise it will find out by itself.
    fn tell(&self, change: Change) {
        if self.0.changes.try_send(change).is_err() {
            self.0.index.store(None);
        }
    }

    /// The index with everything in it that was told so far.
    async fn settled_index(&self) -> Option<Arc<Index>> {
        self.0.index.load_full()?;
        self.settle().await;
        self.0.index.load_full()
    }

    /// Waits until the index knows, or has given up on, all that happened before.
    pub(super) async fn settle(&self) {
        let (send, settled) = oneshot::channel();
        if self.0.changes.send(Change::Settle(send)).await.is_ok() {
            // An error says that the task has ended: then there is no index.
            let _ = settled.await;
        }
    }
}

impl Releasing {
    /// The parcel is safe elsewhere: the release is recorded, with who and why, and synced.
    pub async fn done(self) -> Result<(), ShelfError> {
        let (store, key, event) = (self.shelf.0.store.clone(), self.key, self.event.clone());
        let stored = blocking(move || store.mark(key, &event)).await?;
        self.shelf.tell(Change::Put(Box::new(stored)));
        Ok(())
    }
}

impl Drop for Releasing {
    fn drop(&mut self) {
        self.shelf.releasing().remove(&self.key);
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ShelfError> + Send + 'static,
) -> Result<T, ShelfError> {
    tokio::task::spawn_blocking(work).await.map_err(|error| ShelfError::Disk(std::io::Error::other(error)))?
}

/// A list read from the files. Ids begin with their time, so the newest come first without reading all.
fn walk(store: &Store, filter: &Filter) -> Result<Vec<Entry>, ShelfError> {
    let mut keys = Vec::new();
    for folder in store.folders()? {
        keys.extend(store.keys(&folder)?);
    }
    keys.sort_unstable_by(|a, b| b.cmp(a));
    let mut entries = Vec::new();
    for key in keys {
        match store.entry(key) {
            Ok(stored) if filter.fits(&stored.entry) => entries.push(stored.entry),
            Ok(_) | Err(ShelfError::Unknown(_)) => {}
            Err(error) => tracing::error!(%key, %error, "a held message cannot be read"),
        }
        if entries.len() >= filter.limit() {
            break;
        }
    }
    Ok(entries)
}
