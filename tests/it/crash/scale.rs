//! A long queue: how long a start takes with it, and what it costs in memory. 20,000 messages; with `LUYTRE_CAMPAIGN` set a
//! million. Figures are printed, not judged: they are the machine's. What an entry of the index costs is judged beside
//! the index itself.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use luytre::mail::{Span, Timestamp};
use luytre::spool::Spool;
use luytre::spool::settings::Spool as Shape;
use luytre::spool::sieve::Sieve;

use super::{parcel, shaped};

const DIR: &str = "LUYTRE_SCALE_DIR";
const CALLERS: usize = 200;

async fn fill(dir: &Path, count: u64) {
    let (spool, next) = (shaped(dir, Shape::default()), Arc::new(AtomicU64::new(0)));
    let mut callers = tokio::task::JoinSet::new();
    for _ in 0..CALLERS {
        let (spool, next) = (spool.clone(), Arc::clone(&next));
        callers.spawn(async move {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= count {
                    return;
                }
                // Due in a scattered order, as after days of retries.
                let due = Timestamp::from_seconds(1 << 40) + Span::seconds(number.wrapping_mul(7919) % 100_000);
                spool.accept(&parcel(number), due).await.unwrap();
            }
        });
    }
    callers.join_all().await;
    spool.close().await;
}

/// Memory of this process that is not backed by files, octets.
fn memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|l| l.strip_prefix("RssAnon:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}

/// Makes the kernel forget what it has of these files, so that the start reads the disk.
fn forget(dir: &Path) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            let file = std::fs::File::open(path).unwrap();
            file.sync_all().unwrap();
            let advice = nix::fcntl::PosixFadviseAdvice::POSIX_FADV_DONTNEED;
            nix::fcntl::posix_fadvise(&file, 0, 0, advice).unwrap();
        }
    }
}

/// What looking through the whole queue takes, and what mail that comes meanwhile waits for.
async fn look_through(spool: &Spool) {
    let nobody = Sieve { agency: Some("so-yte".parse().unwrap()), ..Sieve::default() };
    for (what, sieve) in [("by agency, from the index", nobody), ("every description", Sieve::default())] {
        let (reader, began) = (spool.clone(), Instant::now());
        let looking = tokio::task::spawn_blocking(move || {
            let (mut after, mut seen) = (None, 0);
            loop {
                let page = reader.page(after, 100, &sieve);
                seen += page.jobs.len();
                after = page.next;
                if after.is_none() {
                    return (seen, began.elapsed());
                }
            }
        });
        let (mut longest, mut number) = (Duration::ZERO, 1 << 40);
        while !looking.is_finished() {
            let began = Instant::now();
            spool.accept(&parcel(number), Timestamp::from_seconds(1 << 41)).await.unwrap();
            (longest, number) = (longest.max(began.elapsed()), number + 1);
        }
        let (seen, took) = looking.await.unwrap();
        let (took, more, longest) = (took.as_secs_f64(), number - (1 << 40), longest.as_secs_f64() * 1e3);
        println!(
            "looked through {what}: {seen} read in {took:.2} s; {more} taken meanwhile, the slowest in {longest:.1} ms"
        );
    }
}

#[test]
fn a_long_queue_is_there_again_soon() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    if let Some(dir) = std::env::var_os(DIR) {
        let (before, began) = (memory(), Instant::now());
        let spool = shaped(Path::new(&dir), Shape::default());
        let (took, more) = (began.elapsed().as_secs_f64(), memory().saturating_sub(before));
        println!("\nopened {} messages in {took:.2} s, {:.1} MiB of memory", spool.count(), more as f64 / 1048576.0);
        let began = Instant::now();
        runtime.block_on(async {
            for number in 0..1000 {
                spool.accept(&parcel(number), Timestamp::from_seconds(1 << 41)).await.unwrap();
            }
        });
        println!("and took 1000 more, one after the other, in {:.2} s", began.elapsed().as_secs_f64());
        runtime.block_on(look_through(&spool));
        return runtime.block_on(spool.close());
    }
    let count: u64 = if std::env::var_os("LUYTRE_CAMPAIGN").is_some() { 1_000_000 } else { 20_000 };
    let dir = std::env::temp_dir().join(format!("luytre-scale-{}", std::process::id()));
    let began = Instant::now();
    runtime.block_on(fill(&dir, count));
    println!("{count} messages taken by {CALLERS} callers in {:.1} s", began.elapsed().as_secs_f64());
    for state in ["from the disk", "from the page cache"] {
        if state == "from the disk" {
            forget(&dir);
        }
        let out = Command::new(std::env::current_exe().unwrap())
            .args(["crash::scale::a_long_queue_is_there_again_soon", "--exact", "--nocapture"])
            .env(DIR, &dir)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&out.stdout).into_owned();
        let lines: Vec<&str> =
            said.lines().filter(|l| l.contains("opened ") || l.contains("1000 more") || l.contains("looked")).collect();
        println!("{state}: {}", lines.join("; "));
        assert!(out.status.success() && lines.len() == 4, "{said}{}", String::from_utf8_lossy(&out.stderr));
    }
    let spool = shaped(&dir, Shape::default());
    assert!(spool.count() as u64 >= count + 2000);
    runtime.block_on(spool.close());
    std::fs::remove_dir_all(&dir).unwrap();
}
