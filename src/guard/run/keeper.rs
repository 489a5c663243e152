//! The file of bans and rates below the data folder. Written off the mail path and replaced as a whole; one that cannot
//! be read, or was damaged, costs the memory of the past and nothing else.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::guard::metrics::Metrics;
use crate::guard::record::{LONGEST, Record};
use crate::mail::{Span, Timestamp};

/// At most so often, while there is something new.
const EVERY: Span = Span::seconds(5);

/// Knows where the file is, and whether it is old.
#[derive(Debug)]
pub struct Keeper {
    path: PathBuf,
    metrics: Metrics,
    is_old: AtomicBool,
    written_at: Mutex<Timestamp>,
    /// Held while one is written: two must not share the temporary file.
    writing: Mutex<()>,
}

impl Keeper {
    /// With what was kept; nothing when there was nothing, or nothing that can be believed.
    pub fn open(folder: &Path, metrics: Metrics, now: Timestamp) -> (Self, Option<Record>) {
        let path = folder.join("guard.state");
        let record = match read(&path) {
            Ok(text) => {
                let record = Record::read(&text);
                if record.is_none() {
                    put_aside(&path);
                }
                record
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                tracing::error!(%error, path = %path.display(), "bans and rates of before cannot be read");
                put_aside(&path);
                None
            }
        };
        metrics.is_kept(true);
        let (is_old, written_at, writing) = (AtomicBool::new(false), Mutex::new(now), Mutex::new(()));
        (Self { path, metrics, is_old, written_at, writing }, record)
    }

    /// Something changed that is worth keeping.
    pub fn changed(&self) {
        self.is_old.store(true, Ordering::Relaxed);
    }

    /// Whether the file should be written now; whoever asks has to do it.
    pub fn is_due(&self, now: Timestamp) -> bool {
        let Ok(mut written_at) = self.written_at.lock() else { return false };
        // A clock that was set back must not stop it.
        let due = now.since(*written_at) >= EVERY || now < *written_at;
        if due && self.is_old.swap(false, Ordering::Relaxed) {
            *written_at = now;
            return true;
        }
        false
    }

    /// Blocks until it is on disk, or was not.
    pub fn write(&self, record: &Record) {
        let Ok(_one) = self.writing.lock() else { return };
        let written = replace(&self.path, record.write().as_bytes());
        self.metrics.is_kept(written.is_ok());
        if let Err(error) = written {
            tracing::error!(%error, path = %self.path.display(), "bans and rates could not be written");
            self.changed();
        }
    }
}

fn read(path: &Path) -> io::Result<String> {
    // Whatever lies there, a pipe too: opening must not hang.
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOFOLLOW).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is no file"));
    }
    let mut text = String::new();
    let count = file.take(LONGEST.saturating_add(1)).read_to_string(&mut text)?;
    if count as u64 > LONGEST {
        return Err(io::Error::other("it is larger than it can be"));
    }
    Ok(text)
}

fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = path.with_extension("new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o640).open(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&temporary, path)?;
    let folder = path.parent().unwrap_or_else(|| Path::new("."));
    File::open(folder)?.sync_all()
}

fn put_aside(path: &Path) {
    tracing::error!(path = %path.display(), "the record of bans and rates is of no use; it begins anew");
    if let Err(error) = std::fs::rename(path, path.with_extension("damaged")) {
        tracing::error!(%error, "it cannot be put aside");
    }
}
