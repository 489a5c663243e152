//! Where segments are born: empty files of full size, made ahead so that taking mail never waits for the file system
//! to find room. A file counts only when its size, its zeros and its name are synced.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::fault::{Fault, Faults};
use super::segment;
use crate::env::disk::{Disk, DiskFile, Open, Room};

/// An empty segment file.
#[derive(Debug)]
pub struct Spare {
    pub id: u32,
    pub size: u64,
    pub file: Arc<dyn DiskFile>,
}

/// Makes and keeps spare segments; shared by the committer and the thread that works ahead.
#[derive(Debug)]
pub struct Nursery {
    disk: Arc<dyn Disk>,
    folder: PathBuf,
    /// Ordinary size of a segment, octets.
    pub size: u64,
    wanted: usize,
    next_id: AtomicU32,
    spares: Mutex<Vec<Spare>>,
    faults: Faults,
}

impl Nursery {
    #[must_use]
    pub fn new(disk: Arc<dyn Disk>, folder: &Path, size: u64, wanted: usize, next_id: u32, faults: Faults) -> Self {
        let next_id = AtomicU32::new(next_id);
        Self { disk, folder: folder.to_owned(), size, wanted, next_id, spares: Mutex::default(), faults }
    }

    fn spares(&self) -> MutexGuard<'_, Vec<Spare>> {
        self.spares.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[must_use]
    pub fn count(&self) -> usize {
        self.spares().len()
    }

    /// Whether fewer spares are there than wanted.
    #[must_use]
    pub fn hungry(&self) -> bool {
        self.count() < self.wanted
    }

    /// A spare of ordinary size, leaving at least `leave` behind.
    #[must_use]
    pub fn take(&self, leave: usize) -> Option<Spare> {
        let mut spares = self.spares();
        if spares.len() > leave { spares.pop() } else { None }
    }

    /// Takes an empty segment into stock; `Err` gives it back when there are enough or its size is odd.
    pub fn keep(&self, spare: Spare) -> Result<(), Spare> {
        let mut spares = self.spares();
        if spares.len() >= self.wanted.max(1) || spare.size != self.size {
            return Err(spare);
        }
        spares.push(spare);
        Ok(())
    }

    /// Makes a new empty segment file of `size` octets. Nothing is left behind when that fails.
    pub fn make(&self, size: u64, how: Room) -> std::io::Result<Spare> {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let path = segment::path(&self.folder, id);
        let made = self.disk.open(&path, Open::CreateNew).and_then(|file| {
            file.preallocate(size, how)?;
            file.sync_data()?;
            if !self.faults.has(Fault::FolderNotSynced) {
                self.disk.sync_folder(&self.folder)?;
            }
            Ok(Spare { id, size, file })
        });
        if made.is_err() {
            // Best effort: a blank file of the wrong size is cleared away at the next start.
            let _ = self.disk.remove(&path);
        }
        made
    }

    /// Deletes an empty segment file for good.
    pub fn discard(&self, id: u32) -> std::io::Result<()> {
        match self.disk.remove(&segment::path(&self.folder, id)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        self.disk.sync_folder(&self.folder)
    }
}
