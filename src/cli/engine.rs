//! The whole inspection for files, with the same inspectors, rules and verdict as mail on its way: on all cores, in
//! the order of the files.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use indicatif::{ProgressBar, ProgressState, ProgressStyle};
use tokio::sync::{Semaphore, mpsc};

use crate::env::{Clock, Dns};
use crate::gateway::dns_options;
use crate::inspect::checks::net::engines::{self, run::Engines};
use crate::inspect::{self, run::Pool};
use crate::pipeline::Examiner;
use crate::policy::Policy;
use crate::report::metrics::{Metrics, Registry};

/// No message file is larger than this.
const LARGEST: u64 = 256 << 20;

/// Inspectors that run, and what they are asked through.
pub(super) struct Engine {
    pub examiner: Examiner,
}

impl Engine {
    /// Starts inspectors with the policy's rules. Without `network` nothing is asked of it.
    pub async fn start(policy: Arc<Policy>, network: bool) -> Result<Self, Box<dyn std::error::Error>> {
        let registry = Registry::new();
        let counters = inspect::metrics::Metrics::new(&registry)?;
        let compiled = Arc::clone(&policy.compiled.inspect);
        let inspectors = Pool::start(compiled, &policy.inspect, counters, std::env::current_exe()?).await?;
        let dns = if network { Some(Dns::new(&dns_options(&policy))?) } else { None };
        let metrics = Metrics::new(&registry)?;
        let clock = Clock::system();
        let engines = Engines::new(engines::metrics::Metrics::new(&registry)?, clock.clone());
        if network {
            engines.adopt(&policy.engine, &policy.engines).map_err(|wrong| wrong.en)?;
            engines.tend().await;
        }
        Ok(Self { examiner: Examiner { dns, inspectors, metrics, clock, engines, turns: None } })
    }
}

/// Judges every file, some at a time, and shows the results in the order of the files, whatever finished first.
pub(super) async fn each<T, J, F>(files: Vec<PathBuf>, judge: J, mut show: impl FnMut(PathBuf, Result<T, String>))
where
    T: Send + 'static,
    J: Fn(PathBuf) -> F,
    F: Future<Output = Result<T, String>> + Send + 'static,
{
    let cores = std::thread::available_parallelism().map_or(2, usize::from);
    let places = Arc::new(Semaphore::new(cores.saturating_mul(2)));
    let (send, mut receive) = mpsc::channel(64);
    let work = async {
        for (number, file) in files.into_iter().enumerate() {
            let Ok(place) = Arc::clone(&places).acquire_owned().await else { break };
            let (send, judged) = (send.clone(), judge(file.clone()));
            tokio::spawn(async move {
                let result = judged.await;
                let _ = send.send((number, file, result)).await;
                drop(place);
            });
        }
        drop(send);
    };
    let print = async {
        let (mut next, mut early) = (0_usize, BTreeMap::new());
        while let Some((number, file, result)) = receive.recv().await {
            early.insert(number, (file, result));
            while let Some((file, result)) = early.remove(&next) {
                next = next.saturating_add(1);
                show(file, result);
            }
        }
    };
    tokio::join!(work, print);
}

/// A message file as it would have come over the wire.
pub(super) async fn read(file: &Path) -> Result<Bytes, String> {
    let size = tokio::fs::metadata(file).await.map_err(|e| e.to_string())?.len();
    if size > LARGEST {
        return Err(format!("{size} octets; a message has at most {LARGEST}"));
    }
    Ok(wire(tokio::fs::read(file).await.map_err(|e| e.to_string())?))
}

/// Mail on the wire has CRLF; a file that has none at all was saved by a program that writes LF. What begins like no
/// text (an archive, a program) is no such mail: its octets stay.
fn wire(raw: Vec<u8>) -> Bytes {
    let is_text = !raw.iter().take(1024).any(|byte| *byte == 0);
    if !is_text || memchr::memmem::find(&raw, b"\r\n").is_some() {
        return raw.into();
    }
    let lines = memchr::memchr_iter(b'\n', &raw).count();
    let mut out = Vec::with_capacity(raw.len().saturating_add(lines));
    for byte in raw {
        if byte == b'\n' {
            out.push(b'\r');
        }
        out.push(byte);
    }
    out.into()
}

/// A bar on a terminal; nothing where it would be in the way of what is printed.
pub(super) fn progress(count: usize, as_json: bool) -> ProgressBar {
    if count < 2 || !std::io::stderr().is_terminal() || (as_json && std::io::stdout().is_terminal()) {
        return ProgressBar::hidden();
    }
    let rate = |state: &ProgressState, out: &mut dyn std::fmt::Write| {
        // A terminal that takes no more is not our trouble.
        let _ = write!(out, "{:.0}/s", state.per_sec());
    };
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len}  {rate}  {eta}")
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .with_key("rate", rate);
    ProgressBar::new(count as u64).with_style(style)
}
