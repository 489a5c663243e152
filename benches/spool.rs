//! The spool on the real disk: accepting with many callers, draining, and a start with a long queue.
//! `cargo bench --bench spool -- [FOLDER]`; figures depend on the disk that the folder is on, so only ratios count.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use luytre::env::Clock;
use luytre::env::disk::{Disk, Real};
use luytre::mail::transaction::Notify;
use luytre::mail::{Destination, MailId, MailParams, Parcel, ParcelMeta, Recipient, ReversePath, Timestamp};
use luytre::spool::{Attempt, Fate, Spool, metrics::Metrics, settings};

const DUE: Timestamp = Timestamp::from_seconds(1000);

fn parcel(number: u64, body: &bytes::Bytes) -> Parcel {
    let destination = Destination::Agency("so-tttt".parse().expect("an id"));
    let recipient = Recipient {
        mailbox: "nguyen.van.an@tttt.tinh.gov.vn".parse().expect("an address"),
        destination: destination.clone(),
        original: None,
        notify: Notify::default(),
    };
    let meta = ParcelMeta {
        id: MailId::from_u128(u128::from(number)),
        received_at: Clock::system().now(),
        sender: ReversePath::Mailbox("sender@example.com".parse().expect("an address")),
        recipients: vec![recipient],
        destination,
        params: MailParams::default(),
        sender_authenticated: true,
        subject: "Công văn số 42".to_owned(),
    };
    Parcel { meta, head: bytes::Bytes::from_static(b"Subject: x\r\n\r\n"), body: body.clone() }
}

fn open(dir: &Path) -> Spool {
    let metrics = Metrics::new(&prometheus::Registry::new()).expect("metrics");
    let disk: Arc<dyn Disk> = Arc::new(Real);
    Spool::open(disk, dir, settings::Spool::default(), Clock::system(), metrics).expect("the spool opens").0
}

/// CPU time of this process so far, all threads.
fn cpu() -> Duration {
    let usage = nix::sys::resource::getrusage(nix::sys::resource::UsageWho::RUSAGE_SELF).expect("usage");
    let span = |time: nix::sys::time::TimeVal| {
        Duration::from_micros(u64::try_from(time.tv_sec() * 1_000_000 + time.tv_usec()).unwrap_or(0))
    };
    span(usage.user_time()) + span(usage.system_time())
}

/// Runs `work` and prints its rate and its CPU time a message.
async fn measured(what: &str, count: u64, work: impl Future<Output = ()>) {
    let (began, used) = (Instant::now(), cpu());
    work.await;
    let (took, used) = (began.elapsed().as_secs_f64(), (cpu() - used).as_secs_f64());
    println!(
        "{what}: {count} in {took:.2} s = {:.0}/s, {:.1} µs CPU each",
        count as f64 / took,
        used * 1e6 / count as f64
    );
}

async fn accept(spool: &Spool, callers: u64, count: u64, size: usize) {
    let (next, body) = (Arc::new(AtomicU64::new(0)), bytes::Bytes::from(vec![b'x'; size]));
    let tasks: Vec<_> = (0..callers)
        .map(|_| {
            let (spool, next, body) = (spool.clone(), Arc::clone(&next), body.clone());
            tokio::spawn(async move {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= count {
                        return;
                    }
                    spool.accept(&parcel(number, &body), DUE).await.expect("accepted");
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.expect("no panic");
    }
}

async fn drain(spool: &Spool) {
    let now = Clock::system().now();
    loop {
        let jobs = spool.claim_due(now, 100);
        if jobs.is_empty() {
            return;
        }
        let tasks: Vec<_> = jobs
            .into_iter()
            .map(|job| {
                let spool = spool.clone();
                tokio::spawn(async move {
                    spool.read(job.key).await.expect("readable");
                    let attempt = Attempt { at: now, fates: vec![(0, Fate::Done)], next_attempt: now, warned: false };
                    spool.record(job.key, attempt).await.expect("recorded");
                })
            })
            .collect();
        for task in tasks {
            task.await.expect("no panic");
        }
    }
}

fn main() {
    let mut args = std::env::args().skip(1);
    // Whoever runs all targets for their tests does not mean this.
    if !std::env::args().any(|arg| arg == "--bench") {
        return;
    }
    let dir = args.find(|arg| !arg.starts_with('-')).map_or_else(std::env::temp_dir, Into::into);
    let dir = dir.join(format!("luytre-bench-{}", std::process::id()));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let spool = open(&dir);
        for (callers, count) in [(1, 2000), (10, 20_000), (100, 100_000), (100, 100_000)] {
            measured(&format!("accept 4 KiB, {callers} callers"), count, accept(&spool, callers, count, 4096)).await;
            measured("  claim, read, record done", count, drain(&spool)).await;
        }
        measured("accept 200 B, 200 callers", 1_000_000, accept(&spool, 200, 1_000_000, 200)).await;
        spool.close().await;
        let began = Instant::now();
        let spool = open(&dir);
        println!("start with {} queued: {:.2} s", spool.count(), began.elapsed().as_secs_f64());
        measured("accept 4 KiB, 100 callers, a million queued", 50_000, accept(&spool, 100, 50_000, 4096)).await;
        spool.close().await;
    });
    std::fs::remove_dir_all(&dir).expect("the folder goes");
}
