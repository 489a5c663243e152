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
/// A policy is kept alive without mail for so long since the last; then it lives out its time.
const WANTED: Span = Span::days(30);
/// Policies made younger in one go; the next go follows in seconds.
const AT_ONCE: usize = 8;
/// Policies of a short life are left to the mail that needs them.
const YOUNG: Span = Span::hours(1);

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
    kept: Mutex<HashMap<Domain, Held>>,
    /// Ids that could not be fetched, and until when they are left alone.
    failed: Mutex<HashMap<Domain, (String, Timestamp)>>,
    /// One fetch a domain at a time.
    flights: Mutex<HashMap<Domain, Arc<tokio::sync::Mutex<()>>>>,
    /// One refresh at a time.
    refreshing: tokio::sync::Mutex<()>,
}

/// A policy, and when mail last asked for it; a start counts as asking.
#[derive(Debug)]
struct Held {
    policy: Arc<Kept>,
    used: Timestamp,
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
                Some(policy) if kept.len() < MOST => {
                    kept.insert(policy.domain.clone(), Held { policy: Arc::new(policy), used: now });
                }
                // Over, or damaged: it is fetched again when it is needed.
                _ => drop(disk.remove(&path)),
            }
        }
        metrics.policies(kept.len());
        let (kept, folder) = (Mutex::new(kept), folder.to_owned());
        let (failed, flights) = (Mutex::default(), Mutex::default());
        let refreshing = tokio::sync::Mutex::default();
        Ok(Self { disk, folder, dns, clock, guard, metrics, kept, failed, flights, refreshing })
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

    /// Makes policies younger before they end, without mail that waits for it (RFC 8461 §3.3): who can block the web
    /// server for the last hours of a policy's life gains nothing. A few at a time; call it often.
    pub async fn refresh(&self, port: u16) {
        let Ok(_alone) = self.refreshing.try_lock() else { return };
        let now = self.clock.now();
        let due: Vec<Arc<Kept>> = {
            let (kept, failed) = (lock(&self.kept), lock(&self.failed));
            let wanted = |held: &&Held| {
                let policy = &held.policy;
                let old = policy.is_alive(now) && policy.is_old(now) && policy.fetched_at + YOUNG <= now;
                old && now < held.used + WANTED && failed.get(&policy.domain).is_none_or(|(_, until)| *until <= now)
            };
            kept.values().filter(wanted).take(AT_ONCE).map(|held| Arc::clone(&held.policy)).collect()
        };
        for policy in due {
            let texts = self.dns.txt(&format!("_mta-sts.{}", policy.domain)).await;
            match texts.ok().and_then(|texts| record_id(&texts)) {
                Some(id) => drop(self.renew(Ask { domain: &policy.domain, port }, &id).await),
                // Without its record it lives out its life (§5.1).
                None => self.leave_alone(&policy.domain, &policy.id, now),
            }
        }
    }

    fn rule(kept: Option<Arc<Kept>>, failed: Option<(Reason, String)>) -> Ruling {
        Ruling { policy: kept.filter(|kept| kept.policy.mode != Mode::None), failed }
    }

    fn kept(&self, domain: &Domain, now: Timestamp) -> Option<Arc<Kept>> {
        lock(&self.kept).get_mut(domain).filter(|held| held.policy.is_alive(now)).map(|held| {
            held.used = now;
            Arc::clone(&held.policy)
        })
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
            let is_news =
                |held: &Held| held.policy.id == id && held.policy.is_alive(began) && !held.policy.is_old(began);
            let brought = lock(&self.kept).get(ask.domain).is_some_and(is_news);
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
                self.leave_alone(ask.domain, id, now);
                Err((reason, why))
            }
        }
    }

    /// Does not ask for this again at once.
    fn leave_alone(&self, domain: &Domain, id: &str, now: Timestamp) {
        let mut failed = lock(&self.failed);
        if failed.len() >= MOST_FAILURES {
            failed.retain(|_, (_, until)| now < *until);
        }
        if failed.len() < MOST_FAILURES {
            failed.insert(domain.clone(), (id.to_owned(), now + AGAIN));
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
                kept.retain(|_, held| held.policy.is_alive(now));
            }
            if kept.len() >= MOST && !kept.contains_key(&policy.domain) {
                tracing::warn!(domain = %policy.domain, "too many MTA-STS policies are kept, one is not");
                return;
            }
            let used = kept.get(&policy.domain).map_or(now, |held| held.used);
            kept.insert(policy.domain.clone(), Held { policy: Arc::new(policy), used });
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
