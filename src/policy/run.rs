//! Load, watch, swap. A bad file changes nothing: the old policy stays, the log says why and a metric counts it.
//! Everybody holds a `watch::Receiver<Arc<Policy>>`; a transaction clones the `Arc` once and keeps it.

mod follow;

use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, PoisonError};

use tokio::sync::{Mutex, watch};

pub use follow::Follower;
use follow::Watched;

use super::Policy;
use super::build::{Built, build};
use super::files::Disk;
use crate::env::Clock;
use crate::mail::problem::Severity;
use crate::mail::{Problem, Timestamp};
use crate::report::metrics::{Metrics, Reload};

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

/// What a new policy must pass before it is in force.
pub trait Gate: Send + Sync + 'static {
    /// Everybody uses `policy` when this returns, or nobody does and the sentence says why not.
    fn take<'a>(&'a self, policy: &'a Arc<Policy>) -> Pin<Box<dyn Future<Output = Result<(), String>> + Send + 'a>>;
}

/// The last change that was not taken.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Refused {
    /// RFC 3339, UTC.
    pub at: String,
    /// Of its files, where they could be read to a policy at all.
    pub hash: Option<String>,
    /// One sentence each.
    pub why: Vec<String>,
}

/// The policy in force, and how it is replaced.
pub struct Live {
    config: PathBuf,
    sender: watch::Sender<Arc<Policy>>,
    gate: Option<Box<dyn Gate>>,
    metrics: Metrics,
    /// One reload at a time; holds what to watch, also after a refused one.
    watched: Mutex<Watched>,
    refused: std::sync::Mutex<Option<Refused>>,
}

impl std::fmt::Debug for Live {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Live").field("config", &self.config).finish_non_exhaustive()
    }
}

impl Live {
    /// Puts a loaded policy in force.
    #[must_use]
    pub fn new(policy: impl Into<Arc<Policy>>, metrics: Metrics) -> Self {
        let policy: Arc<Policy> = policy.into();
        let watched = Watched { paths: policy.watched.clone(), since: policy.read_at };
        Self {
            config: policy.file.clone(),
            sender: watch::Sender::new(policy),
            gate: None,
            metrics,
            watched: Mutex::new(watched),
            refused: std::sync::Mutex::default(),
        }
    }

    /// Later policies are in force only when `gate` took them.
    #[must_use]
    pub fn through(self, gate: impl Gate) -> Self {
        Self { gate: Some(Box::new(gate)), ..self }
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

    /// The last change, when it was not taken: what is in the files is not what is in force.
    #[must_use]
    pub fn refused(&self) -> Option<Refused> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Loads again: the new snapshot, or the old one where every file is as it was, or every problem.
    pub async fn reload(&self) -> Result<Arc<Policy>, Vec<Problem>> {
        let mut watched = self.watched.lock().await;
        let current = self.current();
        let config = self.config.clone();
        let built = match tokio::task::spawn_blocking(move || examine(&config)).await {
            Ok(built) => built,
            Err(error) => return Err(self.refuse(&current, None, vec![Problem::new(&self.config, error.to_string())])),
        };
        *watched = Watched { paths: built.watched, since: built.read_at };
        let Some(mut policy) = built.policy else { return Err(self.refuse(&current, None, built.problems)) };
        if policy.hash == current.hash {
            self.metrics.reload(Reload::Unchanged);
            self.remember(None);
            return Ok(current);
        }
        policy.settings.generation = current.generation.saturating_add(1);
        let policy = Arc::new(policy);
        if let Some(gate) = &self.gate
            && let Err(why) = gate.take(&policy).await
        {
            let problem = Problem::new(&self.config, why);
            return Err(self.refuse(&current, Some(policy.hash.clone()), vec![problem]));
        }
        for setting in needs_restart(&current, &policy) {
            tracing::warn!(setting, "this change takes effect at the next start");
        }
        for warning in &policy.warnings {
            tracing::warn!("{warning}");
        }
        self.sender.send_replace(Arc::clone(&policy));
        self.metrics.reload(Reload::Loaded);
        self.remember(None);
        tracing::info!(generation = policy.generation, hash = %policy.hash, "reloaded");
        Ok(policy)
    }

    /// Counts, tells and remembers that a change was not taken.
    fn refuse(&self, current: &Policy, hash: Option<String>, problems: Vec<Problem>) -> Vec<Problem> {
        self.metrics.reload(Reload::Refused);
        tracing::error!(generation = current.generation, "the new configuration cannot be used; the old policy stays");
        let errors = problems.iter().filter(|p| p.severity == Severity::Error);
        let why: Vec<String> = errors.map(ToString::to_string).collect();
        why.iter().for_each(|sentence| tracing::error!("{sentence}"));
        self.remember(Some(Refused { at: Clock::system().now().rfc3339(), hash, why }));
        problems
    }

    fn remember(&self, refused: Option<Refused>) {
        *self.refused.lock().unwrap_or_else(PoisonError::into_inner) = refused;
    }
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
    note(old.http.address != new.http.address, "http.address");
    let sts = |p: &Policy| p.http.mta_sts.as_ref().map(|sts| sts.address);
    note(sts(old) != sts(new), "http.mta_sts.address");
    note(old.dns != new.dns, "dns");
    note(old.log != new.log, "log");
    note(old.inspect.workers != new.inspect.workers, "inspect.workers");
    note(old.limits.inspector_memory != new.limits.inspector_memory, "limits.inspector_memory");
    changed
}
