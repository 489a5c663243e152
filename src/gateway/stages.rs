//! Everything a running gateway is made of, opened in the order in which one needs the other.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::mpsc;

use super::control::stores::Stores;
use super::holder::Holder;
use super::officer::Officer;
use super::recheck::Recheck;
use super::reload::{Feeds, Handover};
use super::rescan::{Rescan, Versions};
use super::retro::Retro;
use super::{StartError, dns_options, internet};
use crate::deliver::{self, Deliver};
use crate::env::disk::{Disk, Real};
use crate::env::tls::client::Connector;
use crate::env::{Clock, Dice, Dns, pool};
use crate::envelope;
use crate::guard::{self, Guard};
use crate::inspect::checks::net::engines::{self, run::Engines};
use crate::inspect::{self, run::Pool};
use crate::intake;
use crate::pipeline::run::bypass::Bypass;
use crate::pipeline::run::exists::Census;
use crate::pipeline::run::turns::Turns;
use crate::pipeline::{self, Examiner, Pipeline};
use crate::policy::{Live, Policy};
use crate::quarantine::{self, Shelf};
use crate::report::metrics::{Metrics, Registry};
use crate::report::record::retro::Condemned;
use crate::report::record::run::Log;
use crate::report::record::run::sightings::Sightings;
use crate::report::run::Readiness;
use crate::spool::{self, Spool};

/// Signatures that may wait for a thread.
const SIGNATURES_WAITING: usize = 1024;

/// What was opened.
pub(super) struct Stages {
    pub registry: Registry,
    pub metrics: Metrics,
    pub clock: Clock,
    pub dice: Dice,
    pub disk: Arc<dyn Disk>,
    /// The data folder.
    pub data: PathBuf,
    pub dns: Dns,
    pub guard: Guard,
    pub spool: Spool,
    pub spool_metrics: spool::metrics::Metrics,
    pub shelf: Shelf,
    pub bypass: Bypass,
    pub record: Log,
    pub sightings: Sightings,
    /// The other end of them.
    pub sighted: Option<mpsc::Receiver<Condemned>>,
    pub inspectors: Pool,
    pub engines: Engines,
    pub deliver: Arc<Deliver>,
    pub feeds: Feeds,
    pub live: Arc<Live>,
    /// Octets free in the data folder.
    pub free_disk: Arc<AtomicU64>,
}

impl Stages {
    /// Opens the stores, starts the inspectors, puts `policy` in force.
    pub async fn open(policy: Policy) -> Result<Self, StartError> {
        let policy = Arc::new(policy);
        let (registry, clock, dice) = (Registry::new(), Clock::system(), Dice::system());
        let metrics = part("metrics", Metrics::new(&registry))?;
        let disk: Arc<dyn Disk> = Arc::new(Real);
        let data = policy.data_dir.clone();
        let dns = part("dns", Dns::new(&dns_options(&policy)))?;
        let guard_metrics = part("metrics", guard::metrics::Metrics::new(&registry))?;
        let rules = &policy.compiled.guard;
        let guard = Guard::open(Some(dns.clone()), clock.clone(), &dice, guard_metrics, &data, rules).await;
        guard.tend(&policy.events, policy.hostname.as_str());
        let spool_metrics = part("metrics", spool::metrics::Metrics::new(&registry))?;
        let spool = open_spool(&disk, &data, &clock, spool_metrics.clone())?;
        let shelf = open_shelf(&disk, &data, &policy, &clock, &registry).await?;
        let bypass = Bypass::open(Arc::clone(&disk), &data);
        let record = Log::open(&data.join("receipts"), clock.now()).map_err(|e| StartError::Part(e.to_string()))?;
        let (sightings, sighted) = Sightings::new();
        let inspectors = start_inspectors(&policy, &registry).await?;
        let engines = open_engines(&policy, &clock, &registry)?;
        let feeds = Feeds::new(&policy);
        let deliver = Deliver::new(deliver::Parts {
            spool: spool.clone(),
            dns: dns.clone(),
            clock: clock.clone(),
            dice: dice.clone(),
            metrics: part("metrics", deliver::Metrics::new(&registry))?,
            connector: part("tls", Connector::new(None))?,
            internet: internet::open(&policy, &disk, &dns, &clock, &registry)?,
            undeliverable: Arc::new(Holder {
                shelf: shelf.clone(),
                clock: clock.clone(),
                policy: feeds.policy.subscribe(),
            }),
        });
        let handover = Handover { inspectors: inspectors.clone(), engines: engines.clone(), feeds: feeds.clone() };
        let live = Arc::new(Live::new(policy, metrics.clone()).through(handover));
        let free_disk = Arc::new(AtomicU64::new(u64::MAX));
        Ok(Self {
            registry,
            metrics,
            clock,
            dice,
            disk,
            data,
            dns,
            guard,
            spool,
            spool_metrics,
            shelf,
            bypass,
            record,
            sightings,
            sighted: Some(sighted),
            inspectors,
            engines,
            deliver,
            feeds,
            live,
            free_disk,
        })
    }

    /// The pipeline, as sessions see it.
    pub fn desk(&self) -> Result<Arc<Pipeline>, StartError> {
        let memory = self.live.current().limits.memory;
        Ok(Arc::new(Pipeline::new(pipeline::Parts {
            policy: self.feeds.policy.subscribe(),
            examiner: Examiner { turns: Some(Turns::default()), ..self.examiner() },
            bypass: self.bypass.clone(),
            guard: self.guard.clone(),
            census: Census::new(
                Arc::clone(&self.deliver),
                self.clock.clone(),
                self.dice.clone(),
                part("metrics", envelope::metrics::Metrics::new(&self.registry))?,
            ),
            deliver: Arc::clone(&self.deliver),
            spool: self.spool.clone(),
            shelf: self.shelf.clone(),
            record: self.record.clone(),
            sightings: self.sightings.clone(),
            store: intake::run::Store::new(self.data.join("tmp"), memory),
            signers: part("threads", pool::Pool::start(cores(), SIGNATURES_WAITING))?,
            metrics: self.metrics.clone(),
            clock: self.clock.clone(),
            free_disk: Arc::clone(&self.free_disk),
        })))
    }

    /// Whoever looks at mail.
    pub fn examiner(&self) -> Examiner {
        Examiner {
            dns: Some(self.dns.clone()),
            inspectors: self.inspectors.clone(),
            metrics: self.metrics.clone(),
            clock: self.clock.clone(),
            turns: None,
            engines: self.engines.clone(),
        }
    }

    /// Whoever works with held mail.
    pub fn officer(&self) -> Officer {
        let stores = Stores { spool: self.spool.clone(), shelf: self.shelf.clone(), clock: self.clock.clone() };
        Officer::new(stores, self.recheck(), self.record.clone())
    }

    /// Whoever looks at held mail without being asked.
    pub fn rescan(&self, retro: Retro) -> Rescan {
        Rescan {
            retro,
            officer: self.officer(),
            engines: self.engines.clone(),
            deliver: Arc::clone(&self.deliver),
            live: Arc::clone(&self.live),
            versions: Versions::open(Arc::clone(&self.disk), &self.data),
        }
    }

    /// Whoever looks at held mail again.
    pub fn recheck(&self) -> Recheck {
        Recheck { examiner: self.examiner(), live: Arc::clone(&self.live), clock: self.clock.clone() }
    }

    /// Whether mail can be taken; the sentence says why not.
    pub fn readiness(&self) -> Readiness {
        let (spool, free, policy) = (self.spool.clone(), Arc::clone(&self.free_disk), self.feeds.policy.subscribe());
        Arc::new(move || {
            if !spool.is_healthy() {
                return Err("the spool's disk failed".to_owned());
            }
            let wanted = policy.borrow().limits.disk_free;
            if free.load(Ordering::Relaxed) < wanted.as_u64() {
                return Err(format!(
                    "less than {wanted} is free where mail is kept, or too few files can be made there"
                ));
            }
            Ok(())
        })
    }
}

pub(super) fn part<T, E: std::fmt::Display>(what: &str, result: Result<T, E>) -> Result<T, StartError> {
    result.map_err(|error| StartError::part(what, error))
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(2, usize::from)
}

fn open_spool(
    disk: &Arc<dyn Disk>,
    data: &Path,
    clock: &Clock,
    metrics: spool::metrics::Metrics,
) -> Result<Spool, StartError> {
    let folder = data.join("spool");
    let opened = Spool::open(Arc::clone(disk), &folder, spool::settings::Spool::default(), clock.clone(), metrics);
    let (spool, recovery) =
        opened.map_err(|e| StartError::Part(format!("the spool in {} cannot be used: {e}", folder.display())))?;
    tracing::info!(messages = spool.count(), ?recovery, "spool opened");
    Ok(spool)
}

async fn open_shelf(
    disk: &Arc<dyn Disk>,
    data: &Path,
    policy: &Policy,
    clock: &Clock,
    registry: &Registry,
) -> Result<Shelf, StartError> {
    let metrics = part("metrics", quarantine::metrics::Metrics::new(registry))?;
    let folder = data.join("quarantine");
    let opened = Shelf::open(Arc::clone(disk), &folder, policy.quarantine.clone(), clock.clone(), metrics).await;
    opened.map_err(|e| StartError::Part(format!("the quarantine in {} cannot be used: {e}", folder.display())))
}

fn open_engines(policy: &Policy, clock: &Clock, registry: &Registry) -> Result<Engines, StartError> {
    let engines = Engines::new(part("metrics", engines::metrics::Metrics::new(registry))?, clock.clone());
    let adopted = engines.adopt(&policy.engine, &policy.engines).map_err(|wrong| wrong.en);
    part("engine", adopted).map(|()| engines)
}

async fn start_inspectors(policy: &Policy, registry: &Registry) -> Result<Pool, StartError> {
    let metrics = part("metrics", inspect::metrics::Metrics::new(registry))?;
    let exe = part("the program's own file", std::env::current_exe())?;
    let pool = Pool::start(Arc::clone(&policy.compiled.inspect), &policy.inspect, metrics, exe).await;
    let limit = policy.limits.inspector_memory;
    part(&format!("the inspectors cannot be started with limits.inspector_memory = {limit}"), pool)
}
