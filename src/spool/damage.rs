//! Records that cannot be read: their bytes go to `damaged/` as they are, the rest of the spool goes on.

use std::io::IoSlice;
use std::path::{Path, PathBuf};

use super::log::Log;
use super::segment::{Place, Segment};
use crate::env::disk::{Disk, Open};

/// A stretch of a segment that should have held a record and does not.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Damage {
    /// Number of the segment file.
    pub segment: u32,
    /// Octets from its beginning.
    pub at: u64,
    pub bytes: u64,
    /// The message, when its number could still be read.
    pub key: Option<u64>,
}

/// The most that one piece of damage takes in `damaged/`, octets.
const MOST: u64 = 256 << 20;

/// Copies a stretch of a segment to `folder/NONCE-OFFSET.bin`; once: a file that is there already stays.
pub fn set_aside(disk: &dyn Disk, folder: &Path, segment: &Segment, at: u64, bytes: u64) -> std::io::Result<PathBuf> {
    let path = folder.join(format!("{:016x}-{at:08x}.bin", segment.nonce));
    let file = match disk.open(&path, Open::CreateNew) {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => return Ok(path),
        file => file?,
    };
    let mut chunk = vec![0_u8; 1 << 20];
    let (mut done, bytes) = (0, bytes.min(MOST));
    while done < bytes {
        let want = usize::try_from(bytes - done).unwrap_or(usize::MAX).min(chunk.len());
        let n = segment.file.read_at(at.saturating_add(done), chunk.get_mut(..want).unwrap_or(&mut []))?;
        if n == 0 {
            break;
        }
        file.write_at(done, &mut [IoSlice::new(chunk.get(..n).unwrap_or(&[]))])?;
        done += n as u64;
    }
    file.sync_data()?;
    disk.sync_folder(folder)?;
    Ok(path)
}

impl Log {
    /// Reports a damaged record found while running, and keeps its bytes.
    pub(super) fn set_aside(&mut self, segment: &Segment, place: Place, what: &str) {
        self.damages += 1;
        match set_aside(self.disk.as_ref(), &self.damaged, segment, place.at(), place.span()) {
            Ok(path) => tracing::error!(what, kept = %path.display(), "a message in the spool is damaged"),
            Err(error) => tracing::error!(what, %error, "a message in the spool is damaged and could not be set aside"),
        }
    }
}
