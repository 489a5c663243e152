//! Files, behind a trait: create, write, sync, rename, list, remove. Whoever keeps mail goes through here, so that
//! the same code runs on the real disk ([`Real`]) and on one that loses power at any operation ([`Simulated`]).
//!
//! What the callers may rely on, and no more: bytes are safe once `sync_data` of their file has returned `Ok`; a name
//! is safe once `sync_folder` of its folder has; unsynced writes survive a power cut in any order, in part or not at
//! all; after a failed `sync_data` nothing written since the last good one may be trusted, whatever later calls say.

use std::fmt::Debug;
use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::Arc;

mod real;
mod simulated;
#[cfg(test)]
mod tests;

pub use real::Real;
pub use simulated::{Simulated, Trouble};

/// How to open a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Open {
    Read,
    ReadWrite,
    /// Made anew; an error when the name exists. Owner and group only.
    CreateNew,
}

/// A place for files. All calls block; use them from a thread that may.
pub trait Disk: Send + Sync + Debug {
    /// Makes the folder and those above it, synced; fine when it exists.
    fn create_folder(&self, folder: &Path) -> io::Result<()>;
    fn open(&self, path: &Path, how: Open) -> io::Result<Arc<dyn DiskFile>>;
    /// Names in the folder, sorted.
    fn list(&self, folder: &Path) -> io::Result<Vec<String>>;
    /// Atomic; durable after `sync_folder` of the folder of `to`.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    fn remove(&self, path: &Path) -> io::Result<()>;
    fn sync_folder(&self, folder: &Path) -> io::Result<()>;
    /// Octets that an unprivileged writer may still use where `path` lies.
    fn free_bytes(&self, path: &Path) -> io::Result<u64>;
    /// Files that can still be made where `path` lies; `u64::MAX` where the file system has no such limit.
    fn free_files(&self, path: &Path) -> io::Result<u64>;
    /// Takes the lock file for this process, or fails with `WouldBlock` when another one has it.
    fn lock(&self, path: &Path) -> io::Result<Lock>;
}

/// An open file. Positions are explicit, so readers and the writer share it.
pub trait DiskFile: Send + Sync + Debug {
    /// Reads at most `into.len()` octets; 0 at the end.
    fn read_at(&self, at: u64, into: &mut [u8]) -> io::Result<usize>;
    /// Writes all parts one behind the other, beginning at `at`.
    fn write_at(&self, at: u64, parts: &mut [IoSlice<'_>]) -> io::Result<()>;
    /// Returns when everything written so far is on stable storage.
    fn sync_data(&self) -> io::Result<()>;
    /// Makes the file `len` octets of zeros for which the disk has room.
    fn preallocate(&self, len: u64, how: Room) -> io::Result<()>;
    fn size(&self) -> io::Result<u64>;
}

/// How the octets of a new file come to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Room {
    /// Zeros are written, so that later syncs carry data and no metadata: for a file that is filled by many syncs.
    Written,
    /// Set aside; reads as zeros. Nothing is written twice: for a file that few syncs fill.
    Reserved,
}

/// A held lock file; given back on drop, and by the kernel when the process dies.
#[derive(Debug)]
pub struct Lock {
    _file: Option<std::fs::File>,
}

/// Fills `into` from `at`; `UnexpectedEof` when the file ends before.
pub fn read_exact_at(file: &dyn DiskFile, mut at: u64, mut into: &mut [u8]) -> io::Result<()> {
    while !into.is_empty() {
        match file.read_at(at, into)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            n => {
                at = at.saturating_add(n as u64);
                into = into.get_mut(n..).ok_or(io::ErrorKind::InvalidData)?;
            }
        }
    }
    Ok(())
}

/// Puts a whole file in the place of another: whoever reads sees the old one or the new one, after a crash too.
pub fn replace(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let fresh = path.with_extension("new");
    // Left by a crash, perhaps.
    let _ = disk.remove(&fresh);
    let file = disk.open(&fresh, Open::CreateNew)?;
    file.write_at(0, &mut [IoSlice::new(bytes)])?;
    file.sync_data()?;
    disk.rename(&fresh, path)?;
    disk.sync_folder(path.parent().unwrap_or(Path::new("/")))
}

/// Whether an error says that a place of the medium cannot be read or written (EIO), others perhaps can.
#[must_use]
pub fn is_bad_spot(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::EIO)
}

/// Whether an error says that there is no room (ENOSPC, EDQUOT).
#[must_use]
pub fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}
