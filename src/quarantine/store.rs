//! The folder of held messages: written whole and synced before anybody is told, read with every checksum looked at.
//! All of it blocks; `run` calls it where that is allowed.

use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use super::Held;
use super::file::{self, Entry, Front, HEADER, HeldKey, Release};
use super::run::ShelfError;
use crate::env::disk::{Disk, DiskFile, Open, read_exact_at};
use crate::mail::Parcel;

/// So many copies of one message may be held: one a destination, so never more than it has recipients.
const MOST_COPIES: u32 = 10_000;

/// The files.
#[derive(Clone, Debug)]
pub struct Store {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
}

/// An entry and the length of its file, by which a changed file is noticed.
#[derive(Clone, PartialEq, Debug)]
pub struct Stored {
    pub entry: Entry,
    pub file_bytes: u64,
}

impl Store {
    /// The store in `dir`, which is made when it is missing.
    pub fn open(disk: Arc<dyn Disk>, dir: &Path) -> Result<Self, ShelfError> {
        disk.create_folder(dir)?;
        Ok(Self { disk, dir: dir.to_owned() })
    }

    /// The store in `dir` as it is, to look at only.
    #[must_use]
    pub fn look(disk: Arc<dyn Disk>, dir: &Path) -> Self {
        Self { disk, dir: dir.to_owned() }
    }

    fn path(&self, key: HeldKey) -> PathBuf {
        self.dir.join(key.folder()).join(key.file_name())
    }

    fn file(&self, key: HeldKey, how: Open) -> Result<Arc<dyn DiskFile>, ShelfError> {
        self.disk.open(&self.path(key), how).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => ShelfError::Unknown(key.to_string()),
            _ => ShelfError::Disk(error),
        })
    }

    /// Keeps a message. When this returns `Ok`, bytes, description and name are synced.
    pub fn write(&self, parcel: &Parcel, held: &Held) -> Result<Stored, ShelfError> {
        let text = serde_json::to_vec(held).map_err(|error| ShelfError::Damaged(error.to_string()))?;
        if parcel.head.len() > u32::MAX as usize || text.len() > u32::MAX as usize {
            return Err(io::Error::from(io::ErrorKind::FileTooLarge).into());
        }
        let front = Front::new(&text, &parcel.head, &parcel.body).encode();
        let (key, temporary, file) = self.new_file(parcel)?;
        let path = self.path(key);
        let folder = path.parent().unwrap_or(&self.dir);
        let parts = [front.as_slice(), text.as_slice(), &parcel.head, &parcel.body];
        let file_bytes = parts.iter().map(|part| part.len() as u64).sum();
        let kept = file
            .write_at(0, &mut parts.map(IoSlice::new))
            .and_then(|()| file.sync_data())
            .and_then(|()| self.disk.rename(&temporary, &path))
            .and_then(|()| self.disk.sync_folder(folder));
        if let Err(error) = kept {
            // The sender keeps the message; a copy that did get its name is one too many, not one too few.
            let _ = self.disk.remove(&temporary);
            let _ = self.disk.remove(&path);
            return Err(error.into());
        }
        Ok(Stored { entry: Entry { key, held: held.clone(), released: None }, file_bytes })
    }

    /// A file under a temporary name, and the key that is free for it.
    fn new_file(&self, parcel: &Parcel) -> Result<(HeldKey, PathBuf, Arc<dyn DiskFile>), ShelfError> {
        for copy in 0..MOST_COPIES {
            let key = HeldKey { id: parcel.meta.id, copy };
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
        Err(ShelfError::Damaged(format!("{} has too many copies", parcel.meta.id)))
    }

    /// Description and events.
    pub fn entry(&self, key: HeldKey) -> Result<Stored, ShelfError> {
        let file = self.file(key, Open::Read)?;
        let (front, held) = description(file.as_ref(), key)?;
        let (events, _) = events(file.as_ref(), &front)?;
        Ok(Stored { entry: Entry { key, held, released: events.into_iter().next_back() }, file_bytes: file.size()? })
    }

    /// How long the file of a message is.
    pub fn file_bytes(&self, key: HeldKey) -> Result<u64, ShelfError> {
        Ok(self.file(key, Open::Read)?.size()?)
    }

    /// The message itself, checked.
    pub fn parcel(&self, key: HeldKey) -> Result<(Entry, Parcel), ShelfError> {
        let damaged = |what: &str| ShelfError::Damaged(format!("{key}: {what}"));
        let file = self.file(key, Open::Read)?;
        let (front, held) = description(file.as_ref(), key)?;
        let (events, _) = events(file.as_ref(), &front)?;
        // Checked against the file before room is made for what it claims.
        if front.events_at() > file.size()? {
            return Err(damaged("the file is cut short"));
        }
        let mut bytes = vec![0; usize::try_from(front.bytes_len()).unwrap_or(usize::MAX)];
        read_exact_at(file.as_ref(), front.bytes_at(), &mut bytes)?;
        if crc32fast::hash(&bytes) != front.bytes_crc {
            return Err(damaged("the checksum of the message is wrong"));
        }
        let mut head = Bytes::from(bytes);
        let body = head.split_off(front.head_len as usize);
        let entry = Entry { key, held, released: events.into_iter().next_back() };
        Ok((entry.clone(), Parcel { meta: entry.held.meta, head, body }))
    }

    /// Appends an event, synced.
    pub fn mark(&self, key: HeldKey, event: &Release) -> Result<Stored, ShelfError> {
        let file = self.file(key, Open::ReadWrite)?;
        let (front, _) = description(file.as_ref(), key)?;
        let (_, end) = events(file.as_ref(), &front)?;
        file.write_at(end, &mut [IoSlice::new(&file::encode_event(event))])?;
        file.sync_data()?;
        self.entry(key)
    }

    /// Deletes a message for good.
    pub fn remove(&self, key: HeldKey) -> Result<(), ShelfError> {
        let path = self.path(key);
        self.disk.remove(&path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => ShelfError::Unknown(key.to_string()),
            _ => ShelfError::Disk(error),
        })?;
        Ok(self.disk.sync_folder(path.parent().unwrap_or(&self.dir))?)
    }

    /// The folders that hold messages.
    pub fn folders(&self) -> Result<Vec<String>, ShelfError> {
        let names = match self.disk.list(&self.dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            names => names?,
        };
        Ok(names.into_iter().filter(|name| name.len() == 2).collect())
    }

    /// The messages in one of the folders.
    pub fn keys(&self, folder: &str) -> Result<Vec<HeldKey>, ShelfError> {
        Ok(self.disk.list(&self.dir.join(folder))?.iter().filter_map(|name| HeldKey::of_file(name)).collect())
    }

    /// Removes what a crash left half written; nobody was answered for it.
    pub fn sweep(&self, folder: &str) -> Result<(), ShelfError> {
        let folder = self.dir.join(folder);
        for name in self.disk.list(&folder)?.iter().filter(|name| name.ends_with(".new")) {
            self.disk.remove(&folder.join(name))?;
        }
        Ok(())
    }
}

fn description(file: &dyn DiskFile, key: HeldKey) -> Result<(Front, Held), ShelfError> {
    let damaged = |what: &str| ShelfError::Damaged(format!("{key}: {what}"));
    let mut header = [0_u8; HEADER];
    let n = file.read_at(0, &mut header)?;
    let front = Front::decode(header.get(..n).unwrap_or(&[])).map_err(|what| damaged(&what))?;
    let mut text = vec![0; front.text_len as usize];
    read_exact_at(file, HEADER as u64, &mut text).map_err(|_| damaged("the file is cut short"))?;
    if crc32fast::hash(&text) != front.text_crc {
        return Err(damaged("the checksum of its description is wrong"));
    }
    let held = serde_json::from_slice(&text).map_err(|error| damaged(&error.to_string()))?;
    Ok((front, held))
}

/// The events of a file and where the next one goes.
fn events(file: &dyn DiskFile, front: &Front) -> Result<(Vec<Release>, u64), ShelfError> {
    // A few releases with their reasons; what is longer is no event of ours.
    let mut bytes = vec![0; 64 << 10];
    let n = file.read_at(front.events_at(), &mut bytes)?;
    let (events, len) = file::decode_events(bytes.get(..n).unwrap_or(&[]));
    Ok((events, front.events_at().saturating_add(len as u64)))
}
