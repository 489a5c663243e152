//! Sees changes of the policy's files and asks for a reload. No change is missed: a new watch stands before the old
//! one goes, and what was written between the reading and the watch is seen by its file's time. Symbolic links are
//! followed step by step and watched each: who renews certificates swaps one of them (certbot the file's, others a
//! folder's).

use std::ffi::OsStr;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use notify::event::{AccessKind, AccessMode};
use notify::{EventKind, RecursiveMode, Watcher as _};
use tokio::sync::mpsc;

use super::Live;
use crate::env::Clock;
use crate::mail::Timestamp;

/// Quiet time after a change: editors and copies write in several steps.
const SETTLE: Duration = Duration::from_millis(300);
/// Symbolic links on the way to one file; the kernel gives up there too (path_resolution(7)).
const LINKS: usize = 40;
/// A file that never comes to rest is read all the same.
const SETTLE_AT_MOST: Duration = Duration::from_secs(3);

/// What the last reading of the configuration looked at.
#[derive(Clone)]
pub(super) struct Watched {
    pub paths: Vec<PathBuf>,
    /// When that reading began.
    pub since: Timestamp,
}

impl Live {
    /// Watches every file of the policy from the moment this returns; [`Follower::run`] then reloads at each change.
    pub async fn watch(self: &Arc<Self>) -> notify::Result<Follower> {
        // One waiting note is enough: it says "look again".
        let (note, notes) = mpsc::channel::<()>(1);
        let watched = self.watched.lock().await.clone();
        let watcher = watcher(&watched.paths, note.clone())?;
        if watched.has_changed() {
            let _ = note.try_send(());
        }
        Ok(Follower { live: Arc::clone(self), note, notes, watcher })
    }

    /// As [`Live::watch`] and [`Follower::run`]. Where the system cannot watch files it says so and ends: SIGHUP
    /// still works.
    pub async fn follow(self: Arc<Self>) {
        match self.watch().await {
            Ok(follower) => follower.run().await,
            Err(error) => cannot_watch(&error),
        }
    }
}

fn cannot_watch(error: &notify::Error) {
    tracing::warn!(%error, "files cannot be watched; send SIGHUP after a change");
}

impl Watched {
    /// Whether something was written since it was read. The kernel's own clock for files is a tick coarse: what was
    /// written in the tick before counts too, and then the hash tells that nothing is new.
    fn has_changed(&self) -> bool {
        const TICK_MS: i64 = 20;
        let (since, now) = (self.since.millis().saturating_sub(TICK_MS), Clock::system().now().millis());
        ways(&self.paths).iter().filter_map(|path| std::fs::symlink_metadata(path).ok()).any(|data| {
            // The inode's time, not the content's: a file renamed into place may be old. A time to come is of a clock
            // that was set back, and no reason to read for ever.
            let changed = data.ctime().saturating_mul(1000).saturating_add(data.ctime_nsec() / 1_000_000);
            (since..=now).contains(&changed)
        })
    }
}

/// Sees changes of the policy's files.
pub struct Follower {
    live: Arc<Live>,
    note: mpsc::Sender<()>,
    notes: mpsc::Receiver<()>,
    watcher: notify::RecommendedWatcher,
}

impl Follower {
    /// Reloads whenever a file of the policy changes; runs until it is dropped.
    pub async fn run(mut self) {
        while self.notes.recv().await.is_some() {
            settle(&mut self.notes).await;
            let before = self.live.current().generation;
            if let Ok(policy) = self.live.reload().await
                && policy.generation == before
            {
                tracing::debug!("files were touched, nothing changed");
            }
            // Other files may be the policy's now. The old watch goes when the new one stands.
            let watched = self.live.watched.lock().await.clone();
            match watcher(&watched.paths, self.note.clone()) {
                Ok(watcher) => self.watcher = watcher,
                Err(error) => return cannot_watch(&error),
            }
            if watched.has_changed() {
                let _ = self.note.try_send(());
            }
        }
    }
}

/// Waits until nothing has changed for a moment.
async fn settle(notes: &mut mpsc::Receiver<()>) {
    let quiet = async { while matches!(tokio::time::timeout(SETTLE, notes.recv()).await, Ok(Some(()))) {} };
    // At the limit the file is read as it is; a later change makes another note.
    if tokio::time::timeout(SETTLE_AT_MOST, quiet).await.is_err() {
        tracing::debug!("the configuration is still being written");
    }
}

/// Watches the folders of all files: editors replace files, and a watch on the file itself would stay with the old one.
fn watcher(watched: &[PathBuf], note: mpsc::Sender<()>) -> notify::Result<notify::RecommendedWatcher> {
    let ours = ways(watched);
    let mut folders: Vec<PathBuf> = Vec::new();
    for path in &ours {
        let folder = if path.is_dir() { Some(path.as_path()) } else { path.parent() };
        if let Some(folder) = folder.map(|f| if f == Path::new("") { Path::new(".") } else { f })
            && folder.is_dir()
            && !folders.iter().any(|f| f == folder)
        {
            folders.push(folder.to_owned());
        }
    }
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        let relevant = match event {
            // Reading is no change; our own reloads read.
            Ok(event) => {
                !matches!(event.kind, EventKind::Access(kind) if kind != AccessKind::Close(AccessMode::Write))
                    && event.paths.iter().any(|path| concerns(&ours, path))
            }
            // Lost events: look again.
            Err(_) => true,
        };
        if relevant {
            // Full means that a note is waiting already.
            let _ = note.try_send(());
        }
    })?;
    for folder in folders {
        watcher.watch(&folder, RecursiveMode::NonRecursive)?;
    }
    Ok(watcher)
}

/// The paths, the symbolic links on the way to their files, and the files themselves; each once.
fn ways(paths: &[PathBuf]) -> Vec<PathBuf> {
    let mut ways: Vec<PathBuf> = Vec::new();
    for path in paths {
        let (mut at, mut rest, mut links) = (PathBuf::new(), path.clone(), 0);
        let mut passed = vec![path.clone()];
        while let Some(step) = rest.components().next() {
            let mut behind = rest.components();
            behind.next();
            let behind = behind.as_path().to_owned();
            let next = match step {
                Component::ParentDir => at.parent().unwrap_or(&at).to_owned(),
                step => at.join(step),
            };
            match std::fs::read_link(&next) {
                Ok(target) if links < LINKS => {
                    links += 1;
                    passed.push(next);
                    // An absolute target takes the place of what was before.
                    rest = at.join(target).join(behind);
                    at = PathBuf::new();
                }
                _ => (at, rest) = (next, behind),
            }
        }
        passed.push(at);
        ways.extend(passed);
    }
    ways.sort();
    ways.dedup();
    ways
}

/// Whether a changed path is one of ours: a file that was read, a file in a folder that was listed, or that folder.
fn concerns(ours: &[PathBuf], path: &Path) -> bool {
    let same = |a: &Path, b: &Path| {
        a == b || (a.file_name() == b.file_name() && a.canonicalize().ok() == b.canonicalize().ok())
    };
    ours.iter().any(|own| same(own, path) || path.parent().is_some_and(|parent| parent == own))
        || path.file_name() == Some(OsStr::new("agencies"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn every_link_on_the_way_to_a_file_is_watched() {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path().canonicalize().unwrap();
        std::fs::create_dir_all(at.join("archive/one")).unwrap();
        std::fs::create_dir_all(at.join("live")).unwrap();
        std::fs::write(at.join("archive/one/cert1.pem"), "x").unwrap();
        symlink("one", at.join("archive/now")).unwrap();
        symlink("../archive/now/cert1.pem", at.join("live/cert.pem")).unwrap();
        let found = ways(&[at.join("live/cert.pem")]);
        for path in ["live/cert.pem", "archive/now", "archive/one/cert1.pem"] {
            assert!(found.contains(&at.join(path)), "{path}: {found:?}");
        }
        symlink("round", at.join("round")).unwrap();
        assert!(!ways(&[at.join("round")]).is_empty(), "a circle ends");
        assert!(ways(&[at.join("missing/file")]).contains(&at.join("missing/file")));
    }
}
