//! Builds the stages, connects them, starts, drains.
//!
//! Order at the start: read everything, bind every port, open the data folder, and only then change user and begin;
//! whatever is wrong is said in one sentence before anything was half done. Order at the end: close the doors, let
//! messages in progress finish, park deliveries, sync. Every start is a recovery, so a crash is nothing special.

mod answers;
pub mod control;
mod descriptors;
mod emergency;
mod holder;
mod internet;
mod logging;
mod officer;
pub mod privileges;
mod recheck;
mod reload;
mod rescan;
pub mod retro;
mod serve;
pub mod sockets;
mod stages;
mod upkeep;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::env::dns;
use crate::mail::problem::Severity;
use crate::policy::{self, Policy};
use crate::session::run::Post;
use privileges::Identity;
use serve::Pages;
use sockets::Inherited;

/// Folders below `data_dir`.
pub const FOLDERS: [&str; 5] = ["spool", "quarantine", "receipts", "tmp", crate::inspect::parked::FOLDER];

/// Why the gateway could not start: one sentence each.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Listen(#[from] crate::listen::run::BindError),
    #[error("the data folder {0} cannot be used: {1}")]
    Data(PathBuf, std::io::Error),
    #[error(transparent)]
    Privileges(#[from] privileges::PrivilegeError),
    #[error("{0}")]
    Part(String),
}

impl StartError {
    pub(crate) fn part(what: &str, error: impl std::fmt::Display) -> Self {
        Self::Part(format!("{what}: {error}"))
    }
}

/// `luytre serve`: runs until it is told to stop.
#[must_use]
pub fn run(config: &Path) -> ExitCode {
    let built = policy::run::examine(config);
    let Some(policy) = built.policy else {
        for problem in built.problems.iter().filter(|p| p.severity == Severity::Error) {
            eprintln!("{problem}");
        }
        return ExitCode::FAILURE;
    };
    logging::start(policy.log);
    for warning in &policy.warnings {
        tracing::warn!("{warning}");
    }
    match begin(policy) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error}");
            eprintln!("luytre serve: {error}");
            ExitCode::FAILURE
        }
    }
}

fn begin(policy: Policy) -> Result<(), StartError> {
    let mut inherited = Inherited::take();
    let mut posts = Vec::new();
    for listener in &policy.listeners {
        posts.push(Post { address: listener.address, socket: inherited.listen(listener.address)? });
    }
    let http = inherited.listen(policy.http.address)?;
    let sts = policy.http.mta_sts.as_ref().map(|sts| inherited.listen(sts.address)).transpose()?;
    for address in inherited.unused() {
        tracing::warn!(%address, "systemd passed a socket that no listener in the configuration has");
    }
    let identity = if policy.user.is_empty() { None } else { Some(Identity::find(&policy.user, &policy.group)?) };
    descriptors::raise(policy.limits.connections);
    prepare(&policy.data_dir, identity.as_ref())?;
    if let Some(identity) = &identity {
        identity.assume()?;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("luytre")
        .build()
        .map_err(|e| StartError::part("cannot start threads", e))?;
    let result = runtime.block_on(serve::serve(policy, posts, Pages { http, sts }));
    // Blocking work that hangs (a dead disk) must not keep the process from ending.
    runtime.shutdown_timeout(std::time::Duration::from_secs(5));
    result
}

/// Makes the data folder and those below it; only the gateway's user may look in.
fn prepare(data_dir: &Path, identity: Option<&Identity>) -> Result<(), StartError> {
    use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
    let error = |e| StartError::Data(data_dir.to_owned(), e);
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true).mode(0o750);
    builder.create(data_dir).map_err(error)?;
    for folder in FOLDERS {
        builder.create(data_dir.join(folder)).map_err(error)?;
    }
    if let Some(identity) = identity {
        let mut all = vec![data_dir.to_owned()];
        all.extend(FOLDERS.iter().map(|folder| data_dir.join(folder)));
        for folder in &all {
            identity.own(folder).map_err(error)?;
        }
    }
    let permissions = std::fs::Permissions::from_mode(0o750);
    if std::fs::metadata(data_dir).map_err(error)?.permissions().mode() & 0o007 != 0 {
        std::fs::set_permissions(data_dir, permissions).map_err(error)?;
    }
    // What cannot be written is said now, not at the first message.
    let probe = data_dir.join("tmp/.probe");
    std::fs::write(&probe, b"").and_then(|()| std::fs::remove_file(&probe)).map_err(error)
}

/// What the resolver is told by `[dns]`.
#[must_use]
pub fn dns_options(policy: &Policy) -> dns::Options {
    dns::Options { servers: policy.dns.servers.clone(), timeout: policy.dns.timeout, ..dns::Options::default() }
}
