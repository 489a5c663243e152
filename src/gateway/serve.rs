//! The running gateway: every stage opened in order, the doors, signals, the way down.

use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use super::answers::Answers;
use super::control::serve::Control;
use super::emergency::Emergency;
use super::retro::Retro;
use super::stages::{Stages, part};
use super::{StartError, upkeep};
use crate::deliver::Deliver;
use crate::guard::Guard;
use crate::inspect::run::Pool;
use crate::listen::Role;
use crate::mail::Span;
use crate::policy::{Live, Policy};
use crate::report::record::run::Log;
use crate::session::run::{Front, Post};
use crate::spool::Spool;

/// How long sessions with a message in progress may go on after the doors closed.
const FAREWELL: Span = Span::seconds(20);

/// The bound sockets that speak HTTP.
pub(super) struct Pages {
    pub http: TcpListener,
    /// Of MTA-STS policies.
    pub sts: Option<TcpListener>,
}

/// Serves until SIGTERM or SIGINT; SIGHUP reloads.
pub(super) async fn serve(policy: Policy, posts: Vec<Post>, pages: Pages) -> Result<(), StartError> {
    let mut stages = Stages::open(policy).await?;
    let (stop, stopping) = watch::channel(false);
    let mut tasks = upkeep::start(&stages);
    let retro = Retro::of(&stages);
    if let Some(sighted) = stages.sighted.take() {
        tasks.spawn(retro.clone().watch(sighted));
    }
    tasks.spawn(stages.rescan(retro.clone()).run());
    let queue = {
        let (deliver, routes) = (Arc::clone(&stages.deliver), stages.feeds.deliver.subscribe());
        let stopping = stopping.clone();
        tokio::spawn(async move { deliver.run_queue(routes, stopping).await })
    };
    let policy = stages.live.current();
    for (kind, address) in roles(&policy, &posts) {
        tracing::info!(kind, address = %address, "listening");
    }
    if let Some(socket) = pages.sts {
        tasks.spawn(policies(&stages, socket)?);
    }
    let pages = monitoring(&stages, pages.http, stopping)?;
    let front = front(&stages, posts)?;
    let control = control(&stages, retro)?;
    tracing::info!(generation = policy.generation, hash = %policy.hash, "ready");
    // Without systemd there is nobody to tell.
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
    until_told_to_stop(&stages.live).await?;

    control.abort();
    let Stages { deliver, inspectors, spool, record, guard, .. } = stages;
    Running { guard, front, stop, queue, deliver, inspectors, tasks, pages, spool, record }.wind_down().await;
    Ok(())
}

/// `/metrics`, `/healthz`, `/readyz`.
fn monitoring(
    stages: &Stages,
    http: TcpListener,
    mut stopping: watch::Receiver<bool>,
) -> Result<JoinHandle<std::io::Result<()>>, StartError> {
    let http = part("http", http.set_nonblocking(true).and_then(|()| tokio::net::TcpListener::from_std(http)))?;
    tracing::info!(kind = "http", address = %part("http", http.local_addr())?, "listening");
    let pages = crate::report::run::router(stages.registry.clone(), stages.readiness());
    Ok(tokio::spawn(crate::report::run::serve(http, pages, async move {
        let _ = stopping.wait_for(|stop| *stop).await;
    })))
}

/// The agencies' MTA-STS policies.
fn policies(stages: &Stages, socket: TcpListener) -> Result<impl Future<Output = ()> + use<>, StartError> {
    let socket = part("http", socket.set_nonblocking(true).and_then(|()| tokio::net::TcpListener::from_std(socket)))?;
    tracing::info!(kind = "mta-sts", address = %part("http", socket.local_addr())?, "listening");
    let policy = stages.feeds.policy.subscribe();
    let now = Arc::new(move || policy.borrow().compiled.sts.clone());
    Ok(crate::report::run::sts::serve(socket, now, stages.metrics.clone()))
}

/// The SMTP listeners, with the pipeline behind them.
fn front(stages: &Stages, posts: Vec<Post>) -> Result<Front, StartError> {
    let metrics = part("metrics", crate::session::metrics::Metrics::new(&stages.registry))?;
    let (house, clock, dice) = (stages.feeds.house.subscribe(), stages.clock.clone(), stages.dice.clone());
    part("listen", Front::start(posts, house, stages.desk()?, clock, dice, metrics))
}

/// The socket for operators' commands.
fn control(stages: &Stages, retro: Retro) -> Result<JoinHandle<()>, StartError> {
    let control = Control::bind(&stages.data).map_err(|e| StartError::Data(stages.data.clone(), e))?;
    let answers = Answers {
        officer: stages.officer(),
        emergency: Emergency {
            bypass: stages.bypass.clone(),
            clock: stages.clock.clone(),
            record: stages.record.clone(),
        },
        metrics: stages.metrics.clone(),
        deliver: Arc::clone(&stages.deliver),
        live: Arc::clone(&stages.live),
        record: stages.record.clone(),
        engines: stages.engines.clone(),
        retro,
    };
    Ok(tokio::spawn(control.serve(Arc::new(answers))))
}

/// What must come to rest, in the order of the path of a message.
struct Running {
    guard: Guard,
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
        // What is not written in this time costs a second wait or a line, no mail.
        let _ = tokio::time::timeout(Duration::from_secs(2), self.guard.close()).await;
        let record = self.record;
        let flushed = tokio::task::spawn_blocking(move || record.flush());
        // A disk that hangs must not keep the process: receipts never stop anything.
        let _ = tokio::time::timeout(Duration::from_secs(5), flushed).await;
        tracing::info!("stopped");
    }
}

/// The words by which a listener is known, and where it really listens.
fn roles(policy: &Policy, posts: &[Post]) -> Vec<(&'static str, std::net::SocketAddr)> {
    let kind = |post: &Post| match policy.listeners.iter().find(|l| l.address == post.address).map(|l| l.role) {
        Some(Role::Relay) => "relay",
        _ => "mx",
    };
    posts.iter().filter_map(|post| Some((kind(post), post.socket.local_addr().ok()?))).collect()
}

async fn until_told_to_stop(live: &Arc<Live>) -> Result<(), StartError> {
    let handler = |kind| part("signals", signal(kind));
    let (mut term, mut int, mut hup) =
        (handler(SignalKind::terminate())?, handler(SignalKind::interrupt())?, handler(SignalKind::hangup())?);
    loop {
        tokio::select! {
            _ = term.recv() => return Ok(()),
            _ = int.recv() => return Ok(()),
            _ = hup.recv() => {
                let live = Arc::clone(live);
                // Apart: new inspectors take seconds to be ready, and a signal to stop must not wait for them. What
                // is wrong with the files was logged; the old policy stays.
                tokio::spawn(async move { live.reload().await.map(drop).map_err(drop) });
            }
        }
    }
}
