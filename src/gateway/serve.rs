//! The running gateway: every stage started in order, signals, the way down.

use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use super::answers::Answers;
use super::control::serve::Control;
use super::control::stores::Stores;
use super::reload::{self, Feeds};
use super::{StartError, dns_options};
use crate::deliver::{self, Deliver, Undeliverable};
use crate::env::disk::{Disk, Real};
use crate::env::tls::client::Connector;
use crate::env::{Clock, Dice, Dns, pool};
use crate::inspect::{self, run::Pool};
use crate::intake;
use crate::listen::Role;
use crate::mail::Span;
use crate::pipeline::{self, Examiner, Pipeline};
use crate::policy::{Live, Policy};
use crate::quarantine::{self, Shelf};
use crate::report::metrics::{Metrics, Registry};
use crate::report::record::run::Log;
use crate::session::run::{Front, Post};
use crate::session::settings::Limits;
use crate::spool::{self, Spool};

/// How long sessions with a message in progress may go on after the doors closed.
const FAREWELL: Span = Span::seconds(20);
/// Signatures that may wait for a thread.
const SIGNATURES_WAITING: usize = 1024;

/// Serves until SIGTERM or SIGINT; SIGHUP reloads.
pub(super) async fn serve(policy: Policy, posts: Vec<Post>, http: TcpListener) -> Result<(), StartError> {
    let registry = Registry::new();
    let clock = Clock::system();
    let dice = Dice::system();
    let metrics = Metrics::new(&registry).map_err(|e| StartError::part("metrics", e))?;
    let live = Arc::new(Live::new(policy, metrics.clone()));
    let policy = live.current();
    let data = policy.data_dir.clone();
    let disk: Arc<dyn Disk> = Arc::new(Real);

    let dns = Dns::new(&dns_options(&policy)).map_err(|e| StartError::part("dns", e))?;
    let kept = part("metrics", spool::metrics::Metrics::new(&registry))?;
    let spool = open_spool(&disk, &data, &clock, kept.clone())?;
    let shelf = open_shelf(&disk, &data, &policy, &clock, &registry).await?;
    let record = Log::open(&data.join("receipts"), clock.now()).map_err(|e| StartError::Part(e.to_string()))?;
    let inspectors = start_inspectors(&policy, &registry).await?;
    let deliver = Deliver::new(deliver::Parts {
        spool: spool.clone(),
        dns: dns.clone(),
        clock: clock.clone(),
        dice: dice.clone(),
        metrics: part("metrics", deliver::Metrics::new(&registry))?,
        connector: part("tls", Connector::new(None))?,
        undeliverable: Arc::new(Holder { shelf: shelf.clone(), clock: clock.clone(), keep: policy.quarantine.keep }),
    });
    let free_disk = Arc::new(AtomicU64::new(u64::MAX));
    let feeds = Feeds::new(&policy);
    let desk = Arc::new(Pipeline::new(pipeline::Parts {
        policy: feeds.policy.subscribe(),
        examiner: Examiner {
            dns: Some(dns),
            inspectors: inspectors.clone(),
            metrics: metrics.clone(),
            clock: clock.clone(),
        },
        deliver: Arc::clone(&deliver),
        spool: spool.clone(),
        shelf: shelf.clone(),
        record: record.clone(),
        store: intake::run::Store::new(data.join("tmp"), policy.limits.memory),
        signers: part("threads", pool::Pool::start(cores(), SIGNATURES_WAITING))?,
        metrics: metrics.clone(),
        clock: clock.clone(),
        free_disk: Arc::clone(&free_disk),
    }));
    let room = Room { disk: Arc::clone(&disk), data: data.clone(), free: Arc::clone(&free_disk), metrics: kept };
    room.look(&policy.limits);

    let (stop, stopping) = watch::channel(false);
    let mut tasks = JoinSet::new();
    let queue = {
        let (deliver, routes) = (Arc::clone(&deliver), feeds.deliver.subscribe());
        let stopping = stopping.clone();
        async move { deliver.run_queue(routes, stopping).await }
    };
    let queue = tokio::spawn(queue);
    tasks.spawn(room.watch(feeds.policy.subscribe()));
    tasks.spawn(expire(shelf.clone(), clock.clone()));
    tasks.spawn({
        let live = Arc::clone(&live);
        async move { live.follow().await }
    });
    tasks.spawn(reload::apply(live.subscribe(), inspectors.clone(), feeds.clone(), metrics.clone()));

    for (kind, address) in roles(&policy, &posts) {
        tracing::info!(kind, address = %address, "listening");
    }
    let http = part("http", http.set_nonblocking(true).and_then(|()| tokio::net::TcpListener::from_std(http)))?;
    tracing::info!(kind = "http", address = %part("http", http.local_addr())?, "listening");
    let session_metrics = part("metrics", crate::session::metrics::Metrics::new(&registry))?;
    let front =
        part("listen", Front::start(posts, feeds.house.subscribe(), desk, clock.clone(), dice, session_metrics))?;
    let ready = readiness(spool.clone(), Arc::clone(&free_disk), feeds.policy.subscribe());
    let mut ended = stopping.clone();
    let pages = crate::report::run::router(registry, ready);
    let pages = tokio::spawn(crate::report::run::serve(http, pages, async move {
        let _ = ended.wait_for(|stop| *stop).await;
    }));
    let control = Control::bind(&data).map_err(|e| StartError::Data(data.clone(), e))?;
    let stores = Stores { spool: spool.clone(), shelf, clock };
    let answers = Answers { stores, deliver: Arc::clone(&deliver), live: Arc::clone(&live), record: record.clone() };
    let control = tokio::spawn(control.serve(Arc::new(answers)));

    tracing::info!(generation = policy.generation, hash = %policy.hash, "ready");
    // Without systemd there is nobody to tell.
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
    until_told_to_stop(&live).await?;

    control.abort();
    Running { front, stop, queue, deliver, inspectors, tasks, pages, spool, record }.wind_down().await;
    Ok(())
}

/// What must come to rest, in the order of the path of a message.
struct Running {
    front: Front,
    stop: watch::Sender<bool>,
    queue: JoinHandle<()>,
    deliver: Arc<Deliver>,
    inspectors: Pool,
    tasks: JoinSet<()>,
    pages: JoinHandle<std::io::Result<()>>,
    spool: Spool,
    record: Log,
}

impl Running {
    /// The way down: no new connections, messages in progress to their end, then stage after stage.
    async fn wind_down(mut self) {
        let _ = sd_notify::notify(&[sd_notify::NotifyState::Stopping]);
        tracing::info!("stopping: no new connections");
        let drained = self.front.drain(FAREWELL).await;
        if drained.cut > 0 {
            tracing::warn!(
                sessions = drained.cut,
                "sessions were cut at the deadline; their senders still have their mail"
            );
        }
        let _ = self.stop.send(true);
        let _ = self.queue.await;
        self.deliver.drain().await;
        self.inspectors.drain().await;
        self.tasks.shutdown().await;
        let _ = tokio::time::timeout(Duration::from_secs(2), self.pages).await;
        self.spool.close().await;
        let record = self.record;
        let flushed = tokio::task::spawn_blocking(move || record.flush());
        // A disk that hangs must not keep the process: receipts never stop anything.
        let _ = tokio::time::timeout(Duration::from_secs(5), flushed).await;
        tracing::info!("stopped");
    }
}

fn part<T, E: std::fmt::Display>(what: &str, result: Result<T, E>) -> Result<T, StartError> {
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

async fn start_inspectors(policy: &Policy, registry: &Registry) -> Result<Pool, StartError> {
    let metrics = part("metrics", inspect::metrics::Metrics::new(registry))?;
    let exe = part("the program's own file", std::env::current_exe())?;
    let pool = Pool::start(Arc::clone(&policy.compiled.inspect), &policy.inspect, metrics, exe).await;
    part("the inspectors cannot be started", pool)
}

/// The words by which a listener is known, and where it really listens.
fn roles(policy: &Policy, posts: &[Post]) -> Vec<(&'static str, std::net::SocketAddr)> {
    let kind = |post: &Post| match policy.listeners.iter().find(|l| l.address == post.address).map(|l| l.role) {
        Some(Role::Relay) => "relay",
        _ => "mx",
    };
    posts.iter().filter_map(|post| Some((kind(post), post.socket.local_addr().ok()?))).collect()
}

/// Whether there is room for mail; looked at once a second.
struct Room {
    disk: Arc<dyn Disk>,
    data: std::path::PathBuf,
    free: Arc<AtomicU64>,
    metrics: spool::metrics::Metrics,
}

impl Room {
    /// A disk on which too few files can still be made counts as full, however many octets are free.
    fn look(&self, limits: &Limits) {
        let found = self.disk.free_bytes(&self.data).and_then(|bytes| Ok((bytes, self.disk.free_files(&self.data)?)));
        let (bytes, files) = match found {
            Ok(found) => found,
            Err(error) => {
                tracing::error!(%error, "the free space of the data folder is not known");
                return;
            }
        };
        let (room, wanted) = (if files < limits.disk_free_files { 0 } else { bytes }, limits.disk_free.as_u64());
        let before = self.free.swap(room, Ordering::Relaxed);
        self.metrics.room(room, wanted);
        if before >= wanted && room < wanted {
            tracing::error!(bytes, files, "no room where mail is kept: new mail gets 452, delivery goes on");
        } else if before < wanted && room >= wanted {
            tracing::info!(bytes, files, "there is room again where mail is kept");
        }
    }

    async fn watch(self, policy: watch::Receiver<Arc<Policy>>) {
        let mut second = tokio::time::interval(Duration::from_secs(1));
        loop {
            second.tick().await;
            let limits = policy.borrow().limits.clone();
            self.look(&limits);
        }
    }
}

async fn expire(shelf: Shelf, clock: Clock) {
    let mut hour = tokio::time::interval(Duration::from_secs(3600));
    loop {
        hour.tick().await;
        match shelf.expire(clock.now()).await {
            Ok(0) => {}
            Ok(count) => tracing::info!(count, "held mail whose time was over was removed"),
            Err(error) => tracing::error!(%error, "held mail could not be expired"),
        }
    }
}

fn readiness(
    spool: Spool,
    free: Arc<AtomicU64>,
    policy: watch::Receiver<Arc<Policy>>,
) -> crate::report::run::Readiness {
    Arc::new(move || {
        if !spool.is_healthy() {
            return Err("the spool's disk failed".to_owned());
        }
        let wanted = policy.borrow().limits.disk_free;
        if free.load(Ordering::Relaxed) < wanted.as_u64() {
            return Err(format!("less than {wanted} is free where mail is kept, or too few files can be made there"));
        }
        Ok(())
    })
}

async fn until_told_to_stop(live: &Live) -> Result<(), StartError> {
    let handler = |kind| part("signals", signal(kind));
    let (mut term, mut int, mut hup) =
        (handler(SignalKind::terminate())?, handler(SignalKind::interrupt())?, handler(SignalKind::hangup())?);
    loop {
        tokio::select! {
            _ = term.recv() => return Ok(()),
            _ = int.recv() => return Ok(()),
            _ = hup.recv() => {
                // What is wrong with it was logged; the old policy stays.
                let _ = live.reload().await;
            }
        }
    }
}

/// Puts mail that can neither be delivered nor be returned on the quarantine's shelf.
struct Holder {
    shelf: Shelf,
    clock: Clock,
    keep: Span,
}

impl Undeliverable for Holder {
    fn hold<'a>(
        &'a self,
        parcel: &'a crate::mail::Parcel,
        because: &'a str,
    ) -> deliver::Pending<'a, Result<(), String>> {
        Box::pin(async move {
            let now = self.clock.now();
            let held = quarantine::Held {
                meta: parcel.meta.clone(),
                kind: quarantine::Kind::Undeliverable,
                because: vec![because.to_owned()],
                score: 0.0,
                held_at: now,
                expires_at: now + self.keep,
                size_bytes: parcel.size_bytes(),
                from: parcel.meta.sender.to_string(),
                client_ip: String::new(),
            };
            self.shelf.hold(parcel, held).await.map(drop).map_err(|e| e.to_string())
        })
    }
}
