//! The folder of held messages: written whole, sealed and synced before anybody is told, read with every seal looked
//! at. All of it blocks; `run` calls it where that is allowed.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use bytes::Bytes;

use super::Held;
use super::file::{Deed, Entry, HeldKey, What};
use super::open::{OpenFile, Sort};
use super::run::ShelfError;
use super::sealed::{self, Front, Member, PIECE, Record, WRAP_AT};
use crate::env::disk::{Disk, DiskFile, Open};
use crate::env::vault::{DataKey, KeyId, Keys, WRAP};
use crate::mail::Parcel;

/// So many copies of one message may be held: one a destination, so never more than it has recipients.
const MOST_COPIES: u32 = 10_000;
/// Copies of one mailing in one file, and the octets of their descriptions.
const MOST_MEMBERS: usize = 5000;
const MOST_TAIL: u64 = 8 << 20;
/// Writers of one file wait for each other; so many groups of files.
const LANES: usize = 64;

/// The files. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Store {
    pub(super) disk: Arc<dyn Disk>,
    dir: PathBuf,
    keys: Arc<ArcSwap<Keys>>,
    lanes: Arc<[Mutex<()>; LANES]>,
}

/// An entry and the length of its file, by which a changed file is noticed.
#[derive(Clone, PartialEq, Debug)]
pub struct Stored {
    pub entry: Entry,
    pub file_bytes: u64,
}

/// What is to be kept: the copy to be sent on, and the header section as it came.
#[derive(Clone, Debug)]
pub struct Keep {
    pub parcel: Parcel,
    pub held: Held,
    pub original: Bytes,
}

impl Keep {
    fn member(&self, number: u32) -> Record {
        Record::Member(Box::new(Member {
            number,
            held: self.held.clone(),
            head: self.parcel.head.to_vec(),
            original: self.original.to_vec(),
        }))
    }
}

impl Store {
    /// The store in `dir`, which is made when it is missing.
    pub fn open(disk: Arc<dyn Disk>, dir: &Path, keys: Keys) -> Result<Self, ShelfError> {
        disk.create_folder(dir)?;
        Ok(Self::look(disk, dir, keys))
    }

    /// The store in `dir` as it is, to look at only.
    #[must_use]
    pub fn look(disk: Arc<dyn Disk>, dir: &Path, keys: Keys) -> Self {
        let lanes = Arc::new(std::array::from_fn(|_| Mutex::new(())));
        Self { disk, dir: dir.to_owned(), keys: Arc::new(ArcSwap::from_pointee(keys)), lanes }
    }

    /// The master keys in use.
    #[must_use]
    pub fn keys_in_use(&self) -> Arc<Keys> {
        self.keys.load_full()
    }

    /// From now on these seal and open.
    pub fn use_keys(&self, keys: Keys) {
        self.keys.store(Arc::new(keys));
    }

    fn path(&self, key: HeldKey) -> PathBuf {
        self.dir.join(key.folder()).join(key.file_name())
    }

    /// Whoever changes a file, or removes it, holds its lane.
    fn lane(&self, key: HeldKey) -> MutexGuard<'_, ()> {
        let mut hash = DefaultHasher::new();
        key.first().hash(&mut hash);
        let n = usize::try_from(hash.finish() % LANES as u64).unwrap_or(0);
        let lane = self.lanes.get(n).or(self.lanes.first()).expect("there are lanes");
        lane.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The file, opened far enough to know what is in it.
    fn file(&self, key: HeldKey, how: Open) -> Result<OpenFile, ShelfError> {
        let file = self.disk.open(&self.path(key), how).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => ShelfError::Unknown(key.to_string()),
            _ => ShelfError::Disk(error),
        })?;
        OpenFile::read(file, key.first(), &self.keys.load())
    }

    /// Keeps a message in a file of its own. When this returns `Ok`, bytes, description and name are synced.
    pub fn write(&self, keep: &Keep) -> Result<Stored, ShelfError> {
        let (key, temporary, file) = self.new_file(keep.parcel.meta.id)?;
        let body = keep.parcel.body.chunks(PIECE as usize).map(|piece| Ok(piece.to_vec()));
        let (records, body_len) = ([keep.member(0)], keep.parcel.body.len() as u64);
        let filled = self.fill(key, &temporary, file.as_ref(), body_len, body, &records);
        // The sender keeps the message; a copy that did get its name is one too many, not one too few.
        let file_bytes = filled.inspect_err(|_| drop(self.disk.remove(&self.path(key))))?;
        Ok(Stored { entry: Entry::new(key, keep.held.clone(), Vec::new()), file_bytes })
    }

    /// Writes a whole file under its temporary name, syncs it and gives it its own.
    fn fill(
        &self,
        key: HeldKey,
        temporary: &Path,
        file: &dyn DiskFile,
        body_len: u64,
        body: impl Iterator<Item = Result<Vec<u8>, ShelfError>>,
        records: &[Record],
    ) -> Result<u64, ShelfError> {
        let path = self.path(key);
        let write = || -> Result<u64, ShelfError> {
            let data = DataKey::generate()?;
            let (master, wrapped) = self.keys.load().wrap(&data)?;
            let front = Front { master, wrapped, body_len };
            file.write_at(0, &mut [IoSlice::new(&front.encode())])?;
            for (n, piece) in (0_u64..).zip(body) {
                let sealed = data.seal(&sealed::place_of_piece(&front, n), &piece?)?;
                file.write_at(front.piece(n).0, &mut [IoSlice::new(&sealed)])?;
            }
            let mut at = front.records_at();
            for record in records {
                let bytes = sealed::encode(record, &data, at)?;
                file.write_at(at, &mut [IoSlice::new(&bytes)])?;
                at = at.saturating_add(bytes.len() as u64);
            }
            file.sync_data()?;
            self.disk.rename(temporary, &path)?;
            self.disk.sync_folder(path.parent().unwrap_or(&self.dir))?;
            Ok(at)
        };
        write().inspect_err(|_| drop(self.disk.remove(temporary)))
    }

    /// A file under a temporary name, and the key that is free for it.
    fn new_file(&self, id: crate::mail::MailId) -> Result<(HeldKey, PathBuf, Arc<dyn DiskFile>), ShelfError> {
        for copy in 0..MOST_COPIES {
            let key = HeldKey { id, copy, member: 0 };
            let path = self.path(key);
            if copy == 0 {
                self.disk.create_folder(path.parent().unwrap_or(&self.dir))?;
            }
            if self.disk.open(&path, Open::Read).is_ok() {
                continue;
            }
            let temporary = path.with_extension("new");
            match self.disk.open(&temporary, Open::CreateNew) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                file => return Ok((key, temporary, file?)),
            }
        }
        Err(ShelfError::Damaged(format!("{id} has too many copies")))
    }

    /// Keeps a message whose body is held already, in the file of `with`. `None`: that file is gone, full, of the first
    /// format, or holds another body; the message needs one of its own.
    pub fn add(&self, with: HeldKey, keep: &Keep) -> Result<Option<Stored>, ShelfError> {
        let _lane = self.lane(with);
        let file = match self.file(with, Open::ReadWrite) {
            Ok(file) => file,
            Err(ShelfError::Disk(error)) => return Err(error.into()),
            Err(_) => return Ok(None),
        };
        let Sort::Sealed { front, data, tail } = &file.sort else { return Ok(None) };
        let full = file.members().len() >= MOST_MEMBERS || tail.len > MOST_TAIL || tail.damaged > 0;
        if full || front.body_len != keep.parcel.body.len() as u64 {
            return Ok(None);
        }
        let member = file.next_number();
        let end = file.append(&keep.member(member), data)?;
        let mut entry = Entry::new(HeldKey { member, ..with }, keep.held.clone(), Vec::new());
        entry.copies = u32::try_from(file.members().len()).unwrap_or(u32::MAX).saturating_add(1);
        Ok(Some(Stored { entry, file_bytes: end }))
    }

    /// Every copy in a file that was not removed.
    pub fn entries(&self, key: HeldKey) -> Result<Vec<Stored>, ShelfError> {
        let file = self.file(key, Open::Read)?;
        if file.damaged() > 0 {
            tracing::error!(%key, records = file.damaged(), "records of a held message are damaged");
        }
        let file_bytes = file.size()?;
        Ok(file.entries().into_iter().map(|entry| Stored { entry, file_bytes }).collect())
    }

    /// One copy.
    pub fn entry(&self, key: HeldKey) -> Result<Stored, ShelfError> {
        let found = self.entries(key)?.into_iter().find(|stored| stored.entry.key == key);
        found.ok_or_else(|| ShelfError::Unknown(key.to_string()))
    }

    /// How long the file of a message is.
    pub fn file_bytes(&self, key: HeldKey) -> Result<u64, ShelfError> {
        let file = self.disk.open(&self.path(key), Open::Read)?;
        Ok(file.size()?)
    }

    /// One copy with its bytes, checked: as it was to be sent, and the header section as it came.
    pub fn parcel(&self, key: HeldKey) -> Result<(Entry, Keep), ShelfError> {
        let file = self.file(key, Open::Read)?;
        let (entry, head, original) = file.copy(key).ok_or_else(|| ShelfError::Unknown(key.to_string()))?;
        let parcel = Parcel { meta: entry.held.meta.clone(), head, body: file.body()? };
        Ok((entry.clone(), Keep { parcel, held: entry.held, original }))
    }

    /// One copy without its body: what is known of it, and the header section as it was to be sent.
    pub fn describe(&self, key: HeldKey) -> Result<(Entry, Bytes), ShelfError> {
        let found = self.file(key, Open::Read)?.copy(key);
        found.map(|(entry, head, _)| (entry, head)).ok_or_else(|| ShelfError::Unknown(key.to_string()))
    }

    /// Octets of one copy as it came (as it was to be sent, where that is all that is known) from `offset` on: to the end
    /// of the header section, or of a piece of the body, of which no other is opened. None at the end.
    pub fn read(&self, key: HeldKey, offset: u64) -> Result<Bytes, ShelfError> {
        let file = self.file(key, Open::Read)?;
        let (_, sent, original) = file.copy(key).ok_or_else(|| ShelfError::Unknown(key.to_string()))?;
        let head = if original.is_empty() { sent } else { original };
        let Some(offset) = offset.checked_sub(head.len() as u64) else {
            let from = usize::try_from(offset).unwrap_or(usize::MAX);
            let to = from.saturating_add(PIECE as usize).min(head.len());
            return Ok(head.slice(from.min(to)..to));
        };
        if offset >= file.body_len() {
            return Ok(Bytes::new());
        }
        if offset == 0 && matches!(file.sort, Sort::Plain { .. }) {
            // Its pieces have no seals of their own.
            file.body()?;
        }
        let piece = Bytes::from(file.piece(offset / PIECE)?);
        let from = usize::try_from(offset % PIECE).unwrap_or(usize::MAX);
        Ok(piece.slice(from.min(piece.len())..))
    }

    /// Appends what was done with a copy, synced.
    pub fn mark(&self, key: HeldKey, deed: &Deed) -> Result<Stored, ShelfError> {
        let _lane = self.lane(key);
        let file = self.file(key, Open::ReadWrite)?;
        if file.copy(key).is_none() {
            return Err(ShelfError::Unknown(key.to_string()));
        }
        file.append_deed(&Deed { member: key.member, ..deed.clone() })?;
        drop(file);
        self.entry(key)
    }

    /// Takes one copy away for good. With the last one the key is destroyed, then the file.
    pub fn remove(&self, key: HeldKey, deed: &Deed) -> Result<(), ShelfError> {
        let _lane = self.lane(key);
        match self.file(key, Open::ReadWrite) {
            Ok(file) => {
                let entries = file.entries();
                if entries.iter().all(|entry| entry.key != key) {
                    return Err(ShelfError::Unknown(key.to_string()));
                }
                if entries.len() > 1 {
                    return file.append_deed(&Deed { member: key.member, what: What::Removed, ..deed.clone() });
                }
            }
            // What cannot be read can still be taken away.
            Err(ShelfError::Damaged(_) | ShelfError::NoKey { .. }) => {}
            Err(error) => return Err(error),
        }
        self.destroy(key)
    }

    /// The key first, so that what the medium keeps of the file is of no use to anybody.
    fn destroy(&self, key: HeldKey) -> Result<(), ShelfError> {
        let path = self.path(key);
        if let Ok(file) = self.disk.open(&path, Open::ReadWrite)
            && matches!(OpenFile::front(file.as_ref()), Ok(Some(_)))
        {
            file.write_at(WRAP_AT as u64, &mut [IoSlice::new(&[0; WRAP])])?;
            file.sync_data()?;
        }
        self.disk.remove(&path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => ShelfError::Unknown(key.to_string()),
            _ => ShelfError::Disk(error),
        })?;
        Ok(self.disk.sync_folder(path.parent().unwrap_or(&self.dir))?)
    }

    /// Seals a file anew if that was not done with the master key in use; whether it was necessary.
    pub fn renew(&self, key: HeldKey) -> Result<bool, ShelfError> {
        let _lane = self.lane(key);
        let file = self.file(key, Open::Read)?;
        if file.master() == Some(self.keys.load().current()) {
            return Ok(false);
        }
        let temporary = self.path(key).with_extension("new");
        let fresh = self.disk.open(&temporary, Open::CreateNew)?;
        let pieces = (0..file.pieces()).map(|n| file.piece(n));
        self.fill(key, &temporary, fresh.as_ref(), file.body_len(), pieces, &file.records()?)?;
        Ok(true)
    }

    /// The folders that hold messages.
    pub fn folders(&self) -> Result<Vec<String>, ShelfError> {
        let names = match self.disk.list(&self.dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            names => names?,
        };
        Ok(names.into_iter().filter(|name| name.len() == 2).collect())
    }

    /// The files in one of the folders.
    pub fn keys(&self, folder: &str) -> Result<Vec<HeldKey>, ShelfError> {
        Ok(self.disk.list(&self.dir.join(folder))?.iter().filter_map(|name| HeldKey::of_file(name)).collect())
    }

    /// Removes what a crash left: half written files, of which nobody was told, and those whose key is destroyed. Tells
    /// what stands there.
    pub fn sweep(&self, folder: &str) -> Result<Swept, ShelfError> {
        let (folder, mut swept) = (self.dir.join(folder), Swept::default());
        for name in self.disk.list(&folder)? {
            let path = folder.join(&name);
            if name.ends_with(".new") {
                self.disk.remove(&path)?;
                continue;
            }
            let (Some(_), Ok(file)) = (HeldKey::of_file(&name), self.disk.open(&path, Open::Read)) else { continue };
            if OpenFile::is_shredded(file.as_ref()) {
                self.disk.remove(&path)?;
                continue;
            }
            swept.bytes = swept.bytes.saturating_add(file.size().unwrap_or(0));
            match OpenFile::front(file.as_ref()) {
                Ok(Some(front)) => _ = swept.masters.insert(front.master),
                Ok(None) => swept.plain = swept.plain.saturating_add(1),
                Err(_) => {}
            }
        }
        Ok(swept)
    }
}

/// What stands in the folders.
#[derive(Debug, Default)]
pub struct Swept {
    pub bytes: u64,
    /// Master keys that are needed.
    pub masters: BTreeSet<KeyId>,
    /// Files of the first format.
    pub plain: usize,
}
