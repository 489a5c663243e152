//! MTA-STS policies: found by TXT, fetched by HTTPS, kept in `mta-sts/` so that they survive a restart (RFC 8461 §3.3,
//! §5.1). A kept policy stays in force for its whole life, whatever DNS and HTTPS say later but a newer policy: who can
//! block both cannot switch it off.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sha2::{Digest, Sha256};
use tokio::time::Instant;

use super::ledger::{read_whole, write_whole};
use crate::deliver::route::usable;
use crate::deliver::tlspolicy::Metrics;
use crate::deliver::tlspolicy::sts::{Kept, Mode, Policy, record_id};
use crate::deliver::tlspolicy::tally::Reason;
use crate::env::disk::Disk;
use crate::env::https;
use crate::env::tls::guard::Guard;
use crate::env::{Clock, Dns};
use crate::mail::{Domain, Span, Timestamp};

/// RFC 8461 §3.3 allows a minute; mail waits behind it.
const PATIENCE: Duration = Duration::from_secs(20);
/// RFC 8461 §3.2: a policy body has at most 64 kilobytes.
const LARGEST: usize = 64 << 10;
/// RFC 8461 §3.3: after a failure the same id is asked for again at most this often.
const AGAIN: Span = Span::minutes(5);
/// Policies kept; more than a country's mail meets.
const MOST: usize = 20_000;
/// Failures remembered, so that they are not repeated at once.
const MOST_FAILURES: usize = 4096;

/// What is looked for.
#[derive(Clone, Copy, Debug)]
pub(in crate::deliver::run) struct Ask<'a> {
    pub domain: &'a Domain,
    /// 443, but in tests.
    pub port: u16,
}

/// What applies to a domain.
#[derive(Debug)]
pub(in crate::deliver::run) struct Ruling {
    /// In force now: `enforce` or `testing`.
    pub policy: Option<Arc<Kept>>,
    /// A fetch that failed just now, for reports.
    pub failed: Option<(Reason, String)>,
}

#[derive(Debug)]
pub(in crate::deliver::run) struct Sts {
    disk: Arc<dyn Disk>,
    folder: PathBuf,
    dns: Dns,
    clock: Clock,
    guard: Guard,
    metrics: Metrics,
    kept: Mutex<HashMap<Domain, Arc<Kept>>>,
    /// Ids that could not be fetched, and until when they are left alone.
    failed: Mutex<HashMap<Domain, (String, Timestamp)>>,
    /// One fetch a domain at a time.
    flights: Mutex<HashMap<Domain, Arc<tokio::sync::Mutex<()>>>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Sts {
    pub fn open(
        disk: Arc<dyn Disk>,
        folder: &Path,
        dns: Dns,
        clock: Clock,
        guard: Guard,
        metrics: Metrics,
    ) -> Result<Self, String> {
        let wrong = |e: io::Error| format!("{}: {e}", folder.display());
        disk.create_folder(folder).map_err(wrong)?;
        let (now, mut kept) = (clock.now(), HashMap::new());
        for name in disk.list(folder).map_err(wrong)?.iter().filter(|name| name.ends_with(".json")) {
            let path = folder.join(name);
            let read = read_whole(disk.as_ref(), &path, 4 * LARGEST as u64);
            let policy = read.ok().flatten().and_then(|content| serde_json::from_slice::<Kept>(&content).ok());
            match policy.filter(|policy| policy.is_alive(now)) {
                Some(policy) if kept.len() < MOST => drop(kept.insert(policy.domain.clone(), Arc::new(policy))),
                // Over, or damaged: it is fetched again when it is needed.
                _ => drop(disk.remove(&path)),
            }
        }
        metrics.policies(kept.len());
        let (kept, folder) = (Mutex::new(kept), folder.to_owned());
        let (failed, flights) = (Mutex::default(), Mutex::default());
        Ok(Self { disk, folder, dns, clock, guard, metrics, kept, failed, flights })
    }

    /// The policy in force for a domain, fetched when it is new or has changed.
    pub async fn ruling(self: &Arc<Self>, ask: Ask<'_>) -> Ruling {
        let now = self.clock.now();
        let kept = self.kept(ask.domain, now);
        let texts = self.dns.txt(&format!("_mta-sts.{}", ask.domain)).await;
        let Some(id) = texts.ok().and_then(|texts| record_id(&texts)) else {
            // RFC 8461 §5.1: a kept policy holds on, also without its record.
            return Self::rule(kept, None);
        };
        if let Some(policy) = kept.as_ref().filter(|policy| policy.id == id) {
            if policy.is_old(now) && !self.failed_lately(ask.domain, &id, now) {
                let (this, domain, port) = (Arc::clone(self), ask.domain.clone(), ask.port);
                tokio::spawn(async move { drop(this.renew(Ask { domain: &domain, port }, &id).await) });
            }
            return Self::rule(kept, None);
        }
        if self.failed_lately(ask.domain, &id, now) {
            return Self::rule(kept, None);
        }
        let failed = self.renew(ask, &id).await.err();
        Self::rule(self.kept(ask.domain, now), failed)
    }

    fn rule(kept: Option<Arc<Kept>>, failed: Option<(Reason, String)>) -> Ruling {
        Ruling { policy: kept.filter(|kept| kept.policy.mode != Mode::None), failed }
    }

    fn kept(&self, domain: &Domain, now: Timestamp) -> Option<Arc<Kept>> {
        lock(&self.kept).get(domain).filter(|policy| policy.is_alive(now)).map(Arc::clone)
    }

    fn failed_lately(&self, domain: &Domain, id: &str, now: Timestamp) -> bool {
        lock(&self.failed).get(domain).is_some_and(|(failed, until)| failed == id && now < *until)
    }

    /// Fetches and keeps. One at a time for a domain; who waited finds what the other one brought.
    async fn renew(&self, ask: Ask<'_>, id: &str) -> Result<(), (Reason, String)> {
        let flight = Arc::clone(lock(&self.flights).entry(ask.domain.clone()).or_default());
        let began = self.clock.now();
        let outcome = {
            let _alone = flight.lock().await;
            let brought = self.kept(ask.domain, began).is_some_and(|p| p.id == id && !p.is_old(began));
            if brought || self.failed_lately(ask.domain, id, began) {
                Ok(())
            } else {
                self.fetch_and_keep(ask, id).await
            }
        };
        drop(flight);
        lock(&self.flights).retain(|_, flight| Arc::strong_count(flight) > 1);
        outcome
    }

    async fn fetch_and_keep(&self, ask: Ask<'_>, id: &str) -> Result<(), (Reason, String)> {
        let now = self.clock.now();
        match self.fetch(ask).await {
            Ok(policy) => {
                self.metrics.fetched("fetched");
                lock(&self.failed).remove(ask.domain);
                self.keep(Kept { domain: ask.domain.clone(), id: id.to_owned(), fetched_at: now, policy }).await;
                Ok(())
            }
            Err((reason, why)) => {
                self.metrics.fetched(if reason == Reason::StsPolicyInvalid { "invalid" } else { "failed" });
                tracing::warn!(domain = %ask.domain, %why, "an MTA-STS policy could not be had");
                let mut failed = lock(&self.failed);
                if failed.len() >= MOST_FAILURES {
                    failed.retain(|_, (_, until)| now < *until);
                }
                if failed.len() < MOST_FAILURES {
                    failed.insert(ask.domain.clone(), (id.to_owned(), now + AGAIN));
                }
                Err((reason, why))
            }
        }
    }

    async fn fetch(&self, ask: Ask<'_>) -> Result<Policy, (Reason, String)> {
        let unreachable = |why: String| (Reason::StsPolicyFetchError, why);
        let host = format!("mta-sts.{}", ask.domain);
        let found = self.dns.addresses(&host).await.map_err(|e| unreachable(e.to_string()))?;
        // A stranger's zone must not send us to our own doors.
        let found = usable(found, if ask.port == 443 { 25 } else { 0 });
        let addresses: Vec<SocketAddr> = found.into_iter().map(|ip| SocketAddr::new(ip, ask.port)).collect();
        let page = https::Ask {
            host: &host,
            addresses: &addresses,
            port: ask.port,
            path: "/.well-known/mta-sts.txt",
            limit_bytes: LARGEST,
            deadline: Instant::now() + PATIENCE,
        };
        let page = https::get(&self.guard, page).await.map_err(|e| match e {
            https::HttpsError::Tls(fault) => (Reason::StsWebpkiInvalid, fault.to_string()),
            other => unreachable(other.to_string()),
        })?;
        // RFC 8461 §3.2: so that no page that a guest may upload is taken for a policy.
        if page.media_type != "text/plain" {
            return Err((Reason::StsPolicyInvalid, format!("its media type is \"{}\"", page.media_type)));
        }
        Policy::read(&page.body).map_err(|why| (Reason::StsPolicyInvalid, why.to_owned()))
    }

    /// In memory first: a disk that fails costs the policy at the next restart, not now.
    async fn keep(&self, policy: Kept) {
        let name = format!("{}.json", hex(&Sha256::digest(policy.domain.as_str().as_bytes())));
        let content = serde_json::to_vec(&policy).unwrap_or_default();
        {
            let mut kept = lock(&self.kept);
            let now = self.clock.now();
            if kept.len() >= MOST {
                kept.retain(|_, policy| policy.is_alive(now));
            }
            if kept.len() >= MOST && !kept.contains_key(&policy.domain) {
                tracing::warn!(domain = %policy.domain, "too many MTA-STS policies are kept, one is not");
                return;
            }
            kept.insert(policy.domain.clone(), Arc::new(policy));
            self.metrics.policies(kept.len());
        }
        let (disk, folder) = (Arc::clone(&self.disk), self.folder.clone());
        let written = tokio::task::spawn_blocking(move || write_whole(disk.as_ref(), &folder, &name, &content));
        match written.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(%error, "an MTA-STS policy could not be written"),
            Err(error) => tracing::error!(%error, "writing an MTA-STS policy ended"),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(64), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    })
}
