//! Records that cannot be read: their bytes go to `damaged/` as they are, the rest of the spool goes on.

use std::io::IoSlice;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::JobKey;
use super::frame::{Kind, State};
use super::index::Entry;
use super::item::Item;
use super::log::Log;
use super::segment::{Segment, behind_block};
use crate::env::disk::{Disk, DiskFile, Open, is_bad_spot};

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

/// Copies a stretch of a segment to `folder/NONCE-OFFSET.bin`, zeros for what cannot be read; once: a file that is there
/// already is whole and stays.
pub fn set_aside(disk: &dyn Disk, folder: &Path, segment: &Segment, at: u64, bytes: u64) -> std::io::Result<PathBuf> {
    let path = folder.join(format!("{:016x}-{at:08x}.bin", segment.nonce));
    if disk.open(&path, Open::Read).is_ok() {
        return Ok(path);
    }
    let unfinished = path.with_extension("part");
    match disk.remove(&unfinished) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let file = disk.open(&unfinished, Open::CreateNew)?;
    copy(segment, at, bytes.min(MOST), file.as_ref())?;
    file.sync_data()?;
    disk.rename(&unfinished, &path)?;
    disk.sync_folder(folder)?;
    Ok(path)
}

fn copy(segment: &Segment, at: u64, bytes: u64, to: &dyn DiskFile) -> std::io::Result<()> {
    let mut chunk = vec![0_u8; 1 << 20];
    let mut done = 0;
    while done < bytes {
        let place = at.saturating_add(done);
        let want = usize::try_from(bytes - done).unwrap_or(usize::MAX).min(chunk.len());
        let n = match segment.file.read_at(place, chunk.get_mut(..want).unwrap_or(&mut [])) {
            Ok(0) => break,
            Ok(n) => n,
            Err(error) if is_bad_spot(&error) => {
                let skip = usize::try_from(behind_block(place) - place).unwrap_or(usize::MAX).min(want);
                chunk.get_mut(..skip).unwrap_or(&mut []).fill(0);
                skip
            }
            Err(error) => return Err(error),
        };
        to.write_at(done, &mut [IoSlice::new(chunk.get(..n).unwrap_or(&[]))])?;
        done += n as u64;
    }
    Ok(())
}

/// A name in `folder` for a whole segment file that nobody can read; earlier ones stay.
pub fn name_for(disk: &dyn Disk, folder: &Path, id: u32) -> PathBuf {
    let name = |n: u32| folder.join(format!("segment-{id:08x}-{n}.bin"));
    (1..).map(name).find(|path| disk.open(path, Open::Read).is_err()).unwrap_or_else(|| name(0))
}

impl Log {
    /// A message whose record is damaged leaves the queue once its bytes are set aside. `false`: they are not, because the
    /// disk does not let us; the message stays.
    pub(super) fn give_up(&mut self, key: u64, entry: &Entry, what: &str) -> bool {
        let found = self.index().segments.get(&entry.place.segment).map(|used| Arc::clone(&used.segment));
        if let Some(segment) = found {
            let place = entry.place;
            match set_aside(self.disk.as_ref(), &self.damaged, &segment, place.at(), place.span()) {
                Ok(path) => {
                    tracing::error!(key, what, kept = %path.display(), "a message in the spool is damaged; its bytes are set aside");
                }
                Err(error) => {
                    tracing::error!(key, what, %error, "a message in the spool cannot be read, and cannot be set aside");
                    return false;
                }
            }
        }
        self.damages += 1;
        let item = Item::change(Kind::Removed, JobKey(key), State::default(), false);
        let _ = self.commit(vec![item]);
        true
    }
}
