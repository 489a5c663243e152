//! Load, watch, swap. A bad file changes nothing: the old policy stays, the log says why and a metric counts it.
//! Everybody holds a `watch::Receiver<Arc<Policy>>`; a transaction clones the `Arc` once and keeps it.

use std::ffi::OsStr;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use notify::event::{AccessKind, AccessMode};
use notify::{EventKind, RecursiveMode, Watcher as _};
use tokio::sync::{Mutex, mpsc, watch};

use super::Policy;
use super::build::{Built, build};
use super::files::Disk;
use crate::env::Clock;
use crate::mail::problem::Severity;
use crate::mail::{Problem, Timestamp};
use crate::report::metrics::{Metrics, Reload};

/// Quiet time after a change: editors and copies write in several steps.
const SETTLE: Duration = Duration::from_millis(300);
/// A file that never comes to rest is read all the same.
const SETTLE_AT_MOST: Duration = Duration::from_secs(3);
/// No file of a policy is larger; what is, was named by mistake.
const LARGEST: u64 = 64 << 20;

/// Reads and checks a configuration. The error holds every problem, warnings among them.
pub fn load(config: &Path) -> Result<Policy, Vec<Problem>> {
    let Built { policy, problems, .. } = examine(config);
    policy.ok_or(problems)
}

/// As [`load`], with all there is to say.
#[must_use]
pub fn examine(config: &Path) -> Built {
    build(config, &SystemDisk)
}

/// The machine's own files.
struct SystemDisk;

impl Disk for SystemDisk {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let data = std::fs::metadata(path)?;
        // A pipe or a device would block or never end.
        if !data.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
        }
        if data.len() > LARGEST {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, "larger than 64 MiB"));
        }
        std::fs::read(path)
    }
    fn list(&self, folder: &Path) -> io::Result<Vec<PathBuf>> {
        let mut files = Vec::new();
        for entry in std::fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_file() {
                files.push(path);
            }
        }
        files.sort();
        Ok(files)
    }
    fn is_folder(&self, path: &Path) -> bool {
        path.is_dir()
    }
    fn has(&self, path: &Path) -> bool {
        path.exists()
    }
    fn is_open_to_all(&self, path: &Path) -> bool {
        std::fs::metadata(path).is_ok_and(|m| m.permissions().mode() & 0o004 != 0)
    }
    fn absolute(&self, path: &Path) -> PathBuf {
        std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
    }
    fn now(&self) -> Timestamp {
        Clock::system().now()
    }
    fn hostname(&self) -> Option<String> {
        nix::unistd::gethostname().ok()?.into_string().ok()
    }
}

/// The policy in force, and how it is replaced.
#[derive(Debug)]
pub struct Live {
    config: PathBuf,
    sender: watch::Sender<Arc<Policy>>,
    metrics: Metrics,
    /// One reload at a time; holds what to watch, also after a refused one.
    watched: Mutex<Vec<PathBuf>>,
}

impl Live {
    /// Puts a loaded policy in force.
    #[must_use]
    pub fn new(policy: Policy, metrics: Metrics) -> Self {
        let watched = Mutex::new(policy.watched.clone());
        Self { config: policy.file.clone(), sender: watch::Sender::new(Arc::new(policy)), metrics, watched }
    }

    /// The snapshot of this moment.
    #[must_use]
    pub fn current(&self) -> Arc<Policy> {
        Arc::clone(&self.sender.borrow())
    }

    /// Sees every later snapshot.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<Arc<Policy>> {
        self.sender.subscribe()
    }

    /// Loads again: the new snapshot, or the old one where every file is as it was, or every problem.
    pub async fn reload(&self) -> Result<Arc<Policy>, Vec<Problem>> {
        let mut watched = self.watched.lock().await;
        let config = self.config.clone();
        let built = match tokio::task::spawn_blocking(move || examine(&config)).await {
            Ok(built) => built,
            Err(error) => {
                self.metrics.reload(Reload::Refused);
                tracing::error!(%error, "loading the configuration failed inside; the old policy stays");
                return Err(vec![Problem::new(&self.config, error.to_string())]);
            }
        };
        watched.clone_from(&built.watched);
        drop(watched);
        let current = self.current();
        let Some(mut policy) = built.policy else {
            self.metrics.reload(Reload::Refused);
            tracing::error!(generation = current.generation, "the new configuration has errors; the old policy stays");
            for problem in built.problems.iter().filter(|p| p.severity == Severity::Error) {
                tracing::error!("{problem}");
            }
            return Err(built.problems);
        };
        if policy.hash == current.hash {
            self.metrics.reload(Reload::Unchanged);
            return Ok(current);
        }
        policy.settings.generation = current.generation.saturating_add(1);
        for setting in needs_restart(&current, &policy) {
            tracing::warn!(setting, "this change takes effect at the next start");
        }
        for warning in &policy.warnings {
            tracing::warn!("{warning}");
        }
        let policy = Arc::new(policy);
        self.sender.send_replace(Arc::clone(&policy));
        self.metrics.reload(Reload::Loaded);
        tracing::info!(generation = policy.generation, hash = %policy.hash, "a new policy is in force");
        Ok(policy)
    }

    /// Reloads whenever a file of the policy changes; runs until it is dropped. Where the system cannot watch files
    /// it says so and ends: SIGHUP still works.
    pub async fn follow(&self) {
        // One waiting note is enough: it says "look again".
        let (note, mut notes) = mpsc::channel::<()>(1);
        loop {
            let watched = self.watched.lock().await.clone();
            let _watcher = match watcher(&watched, note.clone()) {
                Ok(watcher) => watcher,
                Err(error) => {
                    tracing::warn!(%error, "files cannot be watched; send SIGHUP after a change");
                    return;
                }
            };
            // What changed between the reading and the watch is seen by its hash.
            let before = self.current().generation;
            if notes.recv().await.is_none() {
                return;
            }
            settle(&mut notes).await;
            if let Ok(policy) = self.reload().await
                && policy.generation == before
            {
                tracing::debug!("files were touched, nothing changed");
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
    let mut folders: Vec<PathBuf> = Vec::new();
    for path in watched {
        let folder = if path.is_dir() { Some(path.as_path()) } else { path.parent() };
        if let Some(folder) = folder.map(|f| if f == Path::new("") { Path::new(".") } else { f })
            && folder.is_dir()
            && !folders.iter().any(|f| f == folder)
        {
            folders.push(folder.to_owned());
        }
    }
    let ours: Vec<PathBuf> = watched.to_vec();
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

/// Whether a changed path is one of ours: a file that was read, a file in a folder that was listed, or that folder.
fn concerns(ours: &[PathBuf], path: &Path) -> bool {
    let same = |a: &Path, b: &Path| {
        a == b || (a.file_name() == b.file_name() && a.canonicalize().ok() == b.canonicalize().ok())
    };
    ours.iter().any(|own| same(own, path) || path.parent().is_some_and(|parent| parent == own))
        || path.file_name() == Some(OsStr::new("agencies"))
}

/// Settings that are used once, at the start.
fn needs_restart(old: &Policy, new: &Policy) -> Vec<&'static str> {
    let mut changed = Vec::new();
    let mut note = |differs: bool, setting| {
        if differs {
            changed.push(setting);
        }
    };
    let addresses = |p: &Policy| p.listeners.iter().map(|l| (l.address, l.role)).collect::<Vec<_>>();
    note(addresses(old) != addresses(new), "listener");
    note(old.data_dir != new.data_dir, "data_dir");
    note((&old.user, &old.group) != (&new.user, &new.group), "user, group");
    note(old.http != new.http, "http");
    note(old.dns != new.dns, "dns");
    note(old.log != new.log, "log");
    note(old.inspect.workers != new.inspect.workers, "inspect.workers");
    note(old.limits.inspector_memory != new.limits.inspector_memory, "limits.inspector_memory");
    changed
}
