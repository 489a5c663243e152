//! kill -9 under load, on the real disk: what was acknowledged is there afterwards, what was delivered does not come
//! back. Power cuts at every operation are tested beside the spool itself, on a simulated disk.
//!
//! `LUYTRE_KILL_ROUNDS` sets another number of kills than 5 (`make campaign`: 200), `LUYTRE_SEED` another history.

mod full_disk;
mod scale;

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use luytre::env::disk::{Disk, Real};
use luytre::env::{Clock, Dice};
use luytre::mail::transaction::Notify;
use luytre::mail::{ByteSize, Destination, MailId, MailParams, Parcel, ParcelMeta, Recipient, ReversePath, Timestamp};
use luytre::spool::{Attempt, Fate, Spool, metrics::Metrics, settings};

const DIR: &str = "LUYTRE_CRASH_DIR";
const FIRST: &str = "LUYTRE_CRASH_FIRST";
const DUE: Timestamp = Timestamp::from_seconds(1000);

fn parcel(number: u64) -> Parcel {
    let destination = Destination::Agency("so-tttt".parse().unwrap());
    let recipient = Recipient {
        mailbox: "a@tinh.gov.vn".parse().unwrap(),
        destination: destination.clone(),
        original: None,
        notify: Notify::default(),
    };
    let meta = ParcelMeta {
        id: MailId::from_u128(u128::from(number)),
        received_at: DUE,
        sender: ReversePath::Null,
        recipients: vec![recipient],
        destination,
        params: MailParams::default(),
        sender_authenticated: false,
        subject: String::new(),
    };
    let size = number % 7 * 1500;
    let body: Vec<u8> = (0..size).map(|n| (n.wrapping_mul(number) % 251) as u8).collect();
    Parcel { meta, head: "Subject: x\r\n\r\n".into(), body: body.into() }
}

fn open(dir: &Path) -> Spool {
    shaped(dir, settings::Spool { segment: ByteSize::mib(1), ..settings::Spool::default() })
}

fn shaped(dir: &Path, shape: settings::Spool) -> Spool {
    let metrics = Metrics::new(&prometheus::Registry::new()).unwrap();
    let disk: Arc<dyn Disk> = Arc::new(Real);
    let (spool, found) = Spool::open(disk, dir, shape, Clock::system(), metrics).unwrap();
    assert_eq!(found.damages, 0, "{found:?}");
    spool
}

/// The process that will be killed: takes mail, delivers some of it, and says so line by line.
async fn victim(dir: &Path, first: u64) {
    let (spool, next) = (open(dir), Arc::new(AtomicU64::new(first)));
    let say = |word: &str, id: MailId| {
        let mut out = std::io::stdout().lock();
        let _ = writeln!(out, "\n{word} {}", id.as_u128()).and_then(|()| out.flush());
    };
    for _ in 0..8 {
        let (spool, next) = (spool.clone(), Arc::clone(&next));
        tokio::spawn(async move {
            loop {
                let parcel = parcel(next.fetch_add(1, Ordering::Relaxed));
                say("kept", spool.accept(&parcel, DUE).await.unwrap().id());
            }
        });
    }
    loop {
        for job in spool.claim_due(DUE, 5) {
            // Every fourth is deferred for ever, so that there is always something to lose.
            let fate = if job.key.0 % 4 == 0 { Fate::Later("451".to_owned()) } else { Fate::Done };
            let done = fate == Fate::Done;
            let next_attempt = Timestamp::from_seconds(1 << 40);
            let attempt = Attempt { at: DUE, fates: vec![(0, fate)], next_attempt, warned: false };
            if done {
                // The kill may come between the record and the word "done": from here on it may be gone.
                say("going", job.meta.id);
            }
            spool.record(job.key, attempt).await.unwrap();
            if done {
                say("done", job.meta.id);
            }
        }
        spool.changed().await;
    }
}

/// What a victim said before it died: ids it had acknowledged, was handing on, had handed on.
#[derive(Default)]
struct Said {
    kept: BTreeSet<u64>,
    going: BTreeSet<u64>,
    done: BTreeSet<u64>,
}

/// Starts the victim, kills it after some lines, and returns what it had said by then.
fn one_life(dir: &Path, first: u64, lines: u64) -> Said {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["crash::r01_kill_nine_under_load_loses_nothing", "--exact", "--nocapture"])
        .envs([(DIR, dir.to_str().unwrap()), (FIRST, &first.to_string())])
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let (mut said, mut count, mut line) = (Said::default(), 0, String::new());
    while out.read_line(&mut line).unwrap() > 0 && line.ends_with('\n') {
        if let Some((word, number)) = line.trim().split_once(' ')
            && let Ok(number) = number.parse()
        {
            count += 1;
            match word {
                "kept" => drop(said.kept.insert(number)),
                "going" => drop(said.going.insert(number)),
                "done" => drop(said.done.insert(number)),
                _ => {}
            }
        }
        if count == lines {
            child.kill().unwrap();
        }
        line.clear();
    }
    child.wait().unwrap();
    assert!(count >= lines, "the victim died by itself after {count} lines");
    said
}

#[test]
fn r01_kill_nine_under_load_loses_nothing() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    if let (Some(dir), Ok(first)) = (std::env::var_os(DIR), std::env::var(FIRST)) {
        return runtime.block_on(victim(Path::new(&dir), first.parse().unwrap()));
    }
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let (rounds, seed) = (number("LUYTRE_KILL_ROUNDS").unwrap_or(5), number("LUYTRE_SEED").unwrap_or(1));
    let (dice, dir) = (Dice::seeded(seed), std::env::temp_dir().join(format!("luytre-crash-{}", std::process::id())));
    let (mut all, mut checked) = (Said::default(), 0);
    for round in 0..rounds {
        let said = one_life(&dir, (round + 1) * 1_000_000, 50 + dice.below(800));
        all.kept.extend(said.kept);
        all.going.extend(said.going);
        all.done.extend(said.done);
        let spool = open(&dir);
        let there: BTreeSet<u64> = spool.jobs().iter().map(|job| job.meta.id.as_u128() as u64).collect();
        let lost: Vec<_> = all.kept.difference(&all.going).filter(|number| !there.contains(number)).collect();
        assert!(lost.is_empty(), "seed {seed}, round {round}: acknowledged and lost: {lost:?}");
        let back: Vec<_> = all.done.intersection(&there).collect();
        assert!(back.is_empty(), "seed {seed}, round {round}: delivered and back: {back:?}");
        runtime.block_on(async {
            for job in spool.jobs() {
                let (found, sent) = (spool.read(job.key).await.unwrap(), parcel(job.meta.id.as_u128() as u64));
                assert!(found.head == sent.head && found.body == sent.body, "seed {seed}: {} is altered", job.meta.id);
            }
            // Some stay for the next kill; all of them would make each check longer than the one before.
            for job in spool.jobs_after(None, usize::MAX).iter().skip(300) {
                spool.remove(job.key).await.unwrap();
                all.kept.remove(&(job.meta.id.as_u128() as u64));
                checked += 1;
            }
            spool.close().await;
        });
    }
    println!(
        "seed {seed}: {rounds} kills, {} acknowledged, {} delivered, none lost, none twice",
        all.kept.len() + checked,
        all.done.len()
    );
    std::fs::remove_dir_all(&dir).unwrap();
}
