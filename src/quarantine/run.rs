//! Store, list, release, expire. The only maker of Shelved.
//!
//! The files are the truth; a task of its own keeps the SQL index over them. When the index is lost, late or
//! wrong, mail goes on being held, lists are read from the files, and the index is made again.

mod index;
mod indexer;
pub mod keys;
mod purge;
mod recent;
mod release;
mod room;

use std::collections::{BTreeSet, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::{ArcSwap, ArcSwapOption};
use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use tokio::sync::{mpsc, oneshot};

use super::file::{Deed, Entry, HeldKey};
use super::metrics::Metrics;
use super::shelf::{Filter, Page};
use super::store::{Keep, Store, Stored, Swept};
use super::{Held, settings};
use crate::env::Clock;
use crate::env::disk::{Disk, is_full};
use crate::env::vault::{Keys, MasterKey, VaultError};
use crate::mail::{AgencyId, MailId, Parcel, Reply};

use index::Index;
use indexer::Indexer;
use keys::{KeyError, Source};
use recent::{Recent, WINDOW};
pub use release::Releasing;
use room::{Place, Room};

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
    #[error(
        "{message} is sealed with the key {key}, which is not in the key file: put that line back behind the others"
    )]
    NoKey { message: String, key: String },
    #[error(transparent)]
    Keys(#[from] KeyError),
    #[error(transparent)]
    Vault(#[from] VaultError),
    #[error("the quarantine is full: {0} octets, as [quarantine] quota says")]
    Full(u64),
    #[error("the share of {0} in the quarantine is used up: {1} octets, as [quarantine] agency_quota says")]
    AgencyFull(AgencyId, u64),
    #[error("the message was already released by {} at {}", .0.by, .0.at)]
    Released(Deed),
    #[error("the message is held beside others of the same mailing: its id is {0}")]
    Elsewhere(HeldKey),
    #[error("the message is being released by somebody else")]
    Busy,
}

impl ShelfError {
    /// For the sender, who still has the message (RFC 3463 §3.4).
    #[must_use]
    pub fn reply(&self) -> Reply {
        match self {
            Self::Full(_) | Self::AgencyFull(..) => {
                Reply::new(452, "4.3.1", "Not enough disk space here now, please try again later")
            }
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
    source: Source,
    index: ArcSwapOption<Index>,
    changes: mpsc::Sender<Change>,
    settings: ArcSwap<settings::Quarantine>,
    clock: Clock,
    metrics: Metrics,
    releasing: Mutex<HashSet<HeldKey>>,
    recent: Recent,
    room: Room,
}

/// What the index is told.
#[derive(Debug)]
enum Change {
    Put(Box<Stored>),
    Gone(HeldKey),
    /// Answered when all before it is in the index.
    Settle(oneshot::Sender<()>),
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
        let (at, source) = (dir.to_owned(), Source::find(&settings.key, dir));
        let named = source.clone();
        let (store, swept) = blocking(move || open_store(disk, &at, &named)).await?;
        let (index, settings) = (ArcSwapOption::empty(), ArcSwap::from_pointee(settings));
        let inner = Arc::new(Inner {
            store,
            source,
            index,
            changes,
            settings,
            clock,
            metrics: metrics.clone(),
            releasing: Mutex::default(),
            recent: Recent::default(),
            room: Room::new(swept.bytes),
        });
        let shelf = Self(inner);
        shelf.measure();
        let (weak, path) = (Arc::downgrade(&shelf.0), dir.join("index.db"));
        let indexer = Indexer { inner: weak, waiting, path, metrics, retry_at: None };
        tokio::spawn(indexer.run());
        Ok(shelf)
    }

    /// The settings of a new policy; the key stays that of the start.
    pub fn configure(&self, settings: &settings::Quarantine) {
        if **self.0.settings.load() != *settings {
            self.0.settings.store(Arc::new(settings.clone()));
            self.measure();
        }
    }

    /// Returns when octets and description are synced. `size_bytes` is filled in, and `expires_at` where it does not lie
    /// behind `held_at`.
    pub async fn hold(&self, parcel: &Parcel, held: Held) -> Result<Shelved, ShelfError> {
        self.keep(parcel, held, Bytes::new()).await
    }

    /// As [`Self::hold`], with the message as it came: its header section is kept beside the one to be sent.
    pub async fn hold_original(&self, parcel: &Parcel, mut held: Held, raw: &Bytes) -> Result<Shelved, ShelfError> {
        let (body, raw) = (parcel.body.clone(), raw.clone());
        let told = tokio::task::spawn_blocking(move || {
            let digest: String = Sha256::digest(&raw).iter().map(|octet| format!("{octet:02x}")).collect();
            // Mail that leaves an agency is changed before it is signed; then what came is not what is held.
            let head = raw.len().checked_sub(body.len()).filter(|at| raw.get(*at..) == Some(&body[..]));
            (digest, head.map(|at| raw.slice(..at)))
        });
        let (digest, head) = told.await.map_err(|error| ShelfError::Disk(std::io::Error::other(error)))?;
        if head.is_some() {
            held.sha256 = digest;
        }
        self.keep(parcel, held, head.unwrap_or_default()).await
    }

    async fn keep(&self, parcel: &Parcel, mut held: Held, original: Bytes) -> Result<Shelved, ShelfError> {
        let settings = self.0.settings.load_full();
        held.size_bytes = parcel.size_bytes();
        if held.expires_at <= held.held_at {
            held.expires_at = held.held_at + settings.keep;
        }
        let place = self.make_room(parcel.meta.destination.agency(), parcel.size_bytes(), &settings).await?;
        let (inner, keep) = (Arc::clone(&self.0), Keep { parcel: parcel.clone(), held, original });
        let stored = blocking(move || inner.put(&keep, place)).await?;
        let key = stored.entry.key;
        self.measure();
        self.tell(Change::Put(Box::new(stored)));
        Ok(Shelved { key })
    }

    /// A page of held messages that fit, the newest first.
    pub async fn list(&self, filter: &Filter) -> Result<Page, ShelfError> {
        if let Some(index) = self.settled_index().await {
            match index.list(filter).await {
                Ok(page) => return Ok(page),
                Err(error) => tracing::warn!(%error, "the quarantine's index does not answer; reading the files"),
            }
        }
        let (store, filter) = (self.0.store.clone(), filter.clone());
        blocking(move || walk(&store, &filter)).await
    }

    /// One message: what is known of it, and its bytes.
    pub async fn show(&self, key: HeldKey) -> Result<(Entry, Keep), ShelfError> {
        self.find(key, Store::parcel).await
    }

    /// What is known of a message, and its header section as it was to be sent. The body stays sealed.
    pub async fn describe(&self, key: HeldKey) -> Result<(Entry, Bytes), ShelfError> {
        self.find(key, Store::describe).await
    }

    /// Octets of the message as it came (as it was to be sent, where that is all that is known) from `offset` on: some of
    /// them, none at the end. Each octet of the file is opened once when they are asked for in order.
    pub async fn read(&self, key: HeldKey, offset: u64) -> Result<Bytes, ShelfError> {
        self.find(key, move |store, key| store.read(key, offset)).await
    }

    /// Asks the store for a message. One that shares another's file is found by its own id too.
    async fn find<T: Send + 'static>(
        &self,
        key: HeldKey,
        get: impl Fn(&Store, HeldKey) -> Result<T, ShelfError> + Clone + Send + 'static,
    ) -> Result<T, ShelfError> {
        let (store, first) = (self.0.store.clone(), get.clone());
        match blocking(move || first(&store, key)).await {
            Err(ShelfError::Unknown(text)) if key.member == 0 => {
                let filter = Filter { id: Some(key.id), released: true, limit: 100, ..Filter::default() };
                let page = self.list(&filter).await?;
                let mut found = page.entries.into_iter().filter(|entry| entry.held.meta.id == key.id);
                let Some(other) = found.nth(usize::try_from(key.copy).unwrap_or(usize::MAX)) else {
                    return Err(ShelfError::Unknown(text));
                };
                let store = self.0.store.clone();
                blocking(move || get(&store, other.key)).await
            }
            found => found,
        }
    }

    /// Deletes a message for good.
    pub async fn remove(&self, key: HeldKey, by: &str, reason: &str) -> Result<(), ShelfError> {
        let deed = Deed { by: by.to_owned(), reason: reason.to_owned(), at: self.0.clock.now(), ..Deed::default() };
        let inner = Arc::clone(&self.0);
        blocking(move || {
            let bytes = inner.store.file_bytes(key).unwrap_or(0);
            let agency = inner.store.entry(key).ok().map(|stored| stored.entry.held.meta.destination.agency().clone());
            inner.store.remove(key, &deed)?;
            let left = inner.store.file_bytes(key).unwrap_or(0);
            inner.room.less(agency.as_ref(), bytes.saturating_sub(left));
            Ok(())
        })
        .await?;
        self.measure();
        self.tell(Change::Gone(key));
        Ok(())
    }

    /// All messages that fit, of a quarantine whose gateway is down; nothing is changed.
    pub fn look(disk: Arc<dyn Disk>, dir: &Path, key: &Path, filter: &Filter) -> Result<Page, ShelfError> {
        walk(&look_store(disk, dir, key)?, filter)
    }

    /// As `show`, of a quarantine whose gateway is down.
    pub fn look_at(disk: Arc<dyn Disk>, dir: &Path, key: &Path, held: HeldKey) -> Result<(Entry, Keep), ShelfError> {
        look_store(disk, dir, key)?.parcel(held)
    }

    /// Another master key: it seals from now on, and what is held is sealed anew. Returns how many files.
    pub async fn rotate(&self) -> Result<usize, ShelfError> {
        let inner = Arc::clone(&self.0);
        let count = blocking(move || {
            let keys = inner.store.keys_in_use().rotated(MasterKey::generate()?);
            inner.source.write(inner.store.disk.as_ref(), &keys)?;
            inner.store.use_keys(keys);
            let mut count = 0_usize;
            for folder in inner.store.folders()? {
                for key in inner.store.keys(&folder)? {
                    match inner.store.renew(key) {
                        Ok(done) => count = count.saturating_add(usize::from(done)),
                        Err(error) => tracing::error!(%key, %error, "a held message could not be sealed anew"),
                    }
                }
            }
            Ok(count)
        })
        .await?;
        // The index is sealed too.
        self.0.index.store(None);
        Ok(count)
    }

    /// The file that the master keys stand in, and their names; the first one seals.
    #[must_use]
    pub fn key_names(&self) -> (PathBuf, Vec<String>) {
        let ids = self.0.store.keys_in_use().ids();
        (self.0.source.path().to_owned(), ids.iter().map(ToString::to_string).collect())
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

impl Inner {
    /// Keeps a message: where its body is held already, beside that one; else in a file of its own.
    fn put(&self, keep: &Keep, room: Place) -> Result<Stored, ShelfError> {
        let now = keep.held.held_at;
        let digest: [u8; 32] = Sha256::digest(&keep.parcel.body).into();
        let slot = self.recent.slot((keep.held.meta.destination.agency().clone(), digest), now);
        let mut place = slot.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((file, _)) = place.filter(|(_, since)| *since + WINDOW > now) {
            let before = self.store.file_bytes(file).unwrap_or(0);
            match self.store.add(file, keep) {
                Ok(Some(stored)) => {
                    room.used(stored.file_bytes.saturating_sub(before));
                    return Ok(stored);
                }
                Ok(None) => {}
                // After a failed write or sync nothing more is trusted to that file.
                Err(error) => {
                    *place = None;
                    return Err(error);
                }
            }
        }
        let stored = self.store.write(keep)?;
        *place = Some((stored.entry.key, now));
        room.used(stored.file_bytes);
        Ok(stored)
    }
}

/// The store with its keys, swept.
fn open_store(disk: Arc<dyn Disk>, dir: &Path, source: &Source) -> Result<(Store, Swept), ShelfError> {
    // Any key will do to look at headers.
    let store = Store::open(Arc::clone(&disk), dir, Keys::of(MasterKey::generate()?))?;
    let mut all = Swept::default();
    for folder in store.folders()? {
        let swept = store.sweep(&folder)?;
        all.bytes = all.bytes.saturating_add(swept.bytes);
        all.masters.extend(swept.masters);
        all.plain = all.plain.saturating_add(swept.plain);
    }
    let needed: Vec<_> = all.masters.iter().copied().collect();
    let keys = source.open(disk.as_ref(), &needed)?;
    let here: BTreeSet<_> = keys.ids().into_iter().collect();
    for missing in all.masters.difference(&here) {
        tracing::error!(key = %missing, "held mail is sealed with a key that is not in the key file: it cannot be opened");
    }
    store.use_keys(keys);
    Ok((store, all))
}

fn look_store(disk: Arc<dyn Disk>, dir: &Path, key: &Path) -> Result<Store, ShelfError> {
    let keys = match Source::find(key, dir).load(disk.as_ref())? {
        Some(keys) => keys,
        // What is in clear can be seen without one; of the rest each is told.
        None => Keys::of(MasterKey::generate()?),
    };
    Ok(Store::look(disk, dir, keys))
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ShelfError> + Send + 'static,
) -> Result<T, ShelfError> {
    tokio::task::spawn_blocking(work).await.map_err(|error| ShelfError::Disk(std::io::Error::other(error)))?
}

/// A list read from the files.
fn walk(store: &Store, filter: &Filter) -> Result<Page, ShelfError> {
    let mut keys = Vec::new();
    for folder in store.folders()? {
        keys.extend(store.keys(&folder)?);
    }
    let read = |key: HeldKey| match store.entries(key) {
        Ok(stored) => stored.into_iter().map(|stored| stored.entry).collect(),
        Err(ShelfError::Unknown(_)) => Vec::new(),
        Err(error) => {
            tracing::error!(%key, %error, "a held message cannot be read");
            Vec::new()
        }
    };
    Ok(filter.page(keys.into_iter().flat_map(read)))
}
