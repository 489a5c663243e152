//! The spool's promises: through its front door on a real disk, and with the power cut at every operation.

mod campaign;
mod damage;
mod engine;
mod memory;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use super::metrics::Metrics;
use super::*;
use crate::env::disk::{Disk, Real, Simulated, Trouble};
use crate::env::{Clock, clock::Hand};
use crate::mail::{ByteSize, Destination, MailId, MailParams, Parcel, Recipient, ReversePath};

/// A parcel with `recipients` recipients and a body that tells its number.
pub fn parcel(number: u64, recipients: usize, body_len: usize) -> Parcel {
    let agency: crate::mail::AgencyId = "so-tttt".parse().unwrap();
    let recipient = |n: usize| Recipient {
        mailbox: format!("r{n}@tinh.gov.vn").parse().unwrap(),
        destination: Destination::Agency(agency.clone()),
        original: None,
        notify: crate::mail::transaction::Notify::default(),
    };
    let meta = ParcelMeta {
        id: MailId::from_u128(u128::from(number)),
        received_at: Timestamp::from_seconds(1000),
        sender: ReversePath::Mailbox("a@b.vn".parse().unwrap()),
        recipients: (0..recipients).map(recipient).collect(),
        destination: Destination::Agency(agency.clone()),
        params: MailParams::default(),
        sender_authenticated: true,
        subject: format!("Thư số {number}"),
    };
    let body: Vec<u8> = (0..body_len as u64).map(|n| (n.wrapping_mul(31).wrapping_add(number) % 251) as u8).collect();
    Parcel { meta, head: Bytes::from(format!("Subject: {number}\r\n\r\n")), body: Bytes::from(body) }
}

fn small() -> settings::Spool {
    settings::Spool { segment: ByteSize::kib(16), spare: 0, ..settings::Spool::default() }
}

struct House {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    clock: Clock,
    hand: Hand,
}

impl House {
    fn simulated() -> (Self, Simulated) {
        let disk = Simulated::new(7);
        let (clock, hand) = Clock::by_hand(Timestamp::from_seconds(1000));
        (Self { disk: Arc::new(disk.clone()), dir: PathBuf::from("/data/spool"), clock, hand }, disk)
    }

    fn open(&self) -> (Spool, Recovery) {
        let metrics = Metrics::new(&prometheus::Registry::new()).unwrap();
        Spool::open(Arc::clone(&self.disk), &self.dir, small(), self.clock.clone(), metrics).unwrap()
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }
}

fn fates(all: &[(usize, Fate)], next: Timestamp) -> Attempt {
    Attempt { at: Timestamp::EPOCH, fates: all.to_vec(), next_attempt: next, warned: false }
}

#[tokio::test]
async fn a_message_waits_is_delivered_and_leaves() {
    let (house, _) = House::simulated();
    let (spool, found) = house.open();
    assert_eq!(found, Recovery::default());
    let sent = parcel(1, 2, 3000);
    spool.accept(&sent, house.now()).await.unwrap();
    let jobs = spool.claim_due(house.now(), 10);
    assert_eq!(jobs.len(), 1);
    let job = &jobs[0];
    assert_eq!((&job.meta, job.size_bytes, job.pending.len(), job.tries), (&sent.meta, sent.size_bytes(), 2, 0));
    assert!(spool.claim_due(house.now(), 10).is_empty(), "nobody gets it twice");
    let read = spool.read(job.key).await.unwrap();
    assert_eq!((read.head, read.body, read.meta), (sent.head, sent.body, sent.meta));

    let later = house.now() + crate::mail::Span::minutes(1);
    spool.record(job.key, fates(&[(0, Fate::Done), (1, Fate::Later("busy".into()))], later)).await.unwrap();
    let job = spool.job(job.key).unwrap();
    assert_eq!((job.tries, job.next_attempt, job.pending.len()), (1, later, 1));
    assert_eq!((job.pending[0].recipient, job.pending[0].last.as_str()), (1, "busy"));
    assert_eq!(spool.next_due(), Some(later));
    assert!(spool.claim_due(house.now(), 10).is_empty());
    house.hand.set(later);
    assert_eq!(spool.claim_due(later, 10).len(), 1);
    spool.record(job.key, fates(&[(1, Fate::Failed("no such user".into()))], later)).await.unwrap();
    assert_eq!((spool.count(), spool.jobs().len()), (0, 0));
    assert!(matches!(spool.read(job.key).await, Err(SpoolError::Unknown(_))));
}

#[tokio::test]
async fn everything_is_there_after_a_restart() {
    let (house, _) = House::simulated();
    let (spool, _) = house.open();
    for n in 0..100 {
        spool.accept(&parcel(n, 1, 500), house.now()).await.unwrap();
    }
    let keys: Vec<JobKey> = spool.jobs().iter().map(|job| job.key).collect();
    let later = house.now() + crate::mail::Span::hours(1);
    for key in &keys[..50] {
        spool.record(*key, fates(&[(0, Fate::Done)], later)).await.unwrap();
    }
    spool.record(keys[60], fates(&[(0, Fate::Later("451 4.3.2".into()))], later)).await.unwrap();
    spool.hold(keys[61], true).await.unwrap();
    spool.remove(keys[62]).await.unwrap();
    let before = spool.jobs();
    assert_eq!(before.len(), 49);
    spool.close().await;
    assert!(matches!(spool.accept(&parcel(1, 1, 1), house.now()).await, Err(SpoolError::Closed)));
    assert_eq!(Spool::look(&house.disk, &house.dir).unwrap(), before, "readable with the gateway down");
    let (spool, found) = house.open();
    assert_eq!((found.messages, found.damages), (49, 0));
    assert_eq!(spool.jobs(), before);
    assert!(before.iter().any(|job| job.held) && before.iter().any(|job| job.tries == 1));
    let new = spool.accept(&parcel(7, 1, 10), house.now()).await.unwrap();
    assert_eq!(new.id(), MailId::from_u128(7));
    assert!(spool.jobs().iter().all(|job| !keys[..50].contains(&job.key)), "keys are not given twice");
}

#[tokio::test]
async fn the_log_stays_in_proportion_and_long_deferred_mail_moves_ahead() {
    let (house, disk) = House::simulated();
    let (spool, _) = house.open();
    let old = parcel(0, 1, 700);
    spool.accept(&old, house.now() + crate::mail::Span::days(1)).await.unwrap();
    for n in 1..600 {
        spool.accept(&parcel(n, 1, 1000), house.now()).await.unwrap();
        for job in spool.claim_due(house.now(), 10) {
            spool.record(job.key, fates(&[(0, Fate::Done)], house.now())).await.unwrap();
        }
    }
    spool.close().await;
    let files = disk.list(&house.dir).unwrap();
    assert!(files.len() <= 8, "600 KiB went through 16 KiB segments: {files:?}");
    let (spool, found) = house.open();
    assert_eq!((found.messages, found.damages), (1, 0));
    let read = spool.read(spool.jobs()[0].key).await.unwrap();
    assert_eq!((read.meta, read.body), (old.meta, old.body));
}

#[tokio::test]
async fn a_message_larger_than_a_segment_is_kept_too() {
    let (house, _) = House::simulated();
    let (spool, _) = house.open();
    let large = parcel(1, 1, 100_000);
    spool.accept(&parcel(0, 1, 10), house.now()).await.unwrap();
    spool.accept(&large, house.now()).await.unwrap();
    spool.close().await;
    let (spool, _) = house.open();
    let key = spool.jobs()[1].key;
    assert_eq!(spool.read(key).await.unwrap().body, large.body);
}

#[tokio::test]
async fn r03_a_full_disk_refuses_mail_and_lets_deliveries_go_on() {
    let (house, disk) = House::simulated();
    let (spool, _) = house.open();
    disk.set_capacity(80 << 10);
    let mut taken = 0;
    let error = loop {
        match spool.accept(&parcel(taken, 1, 3000), house.now()).await {
            Ok(_) => taken += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(error, SpoolError::Full), "{error}");
    assert!(taken > 10, "{taken}");
    for job in spool.claim_due(house.now(), 1000) {
        spool.read(job.key).await.unwrap();
        spool.record(job.key, fates(&[(0, Fate::Done)], house.now())).await.unwrap();
    }
    assert_eq!(spool.count(), 0);
    // Freed without a restart; housekeeping runs between batches.
    let mut tries = 0;
    while spool.accept(&parcel(99, 1, 3000), house.now()).await.is_err() {
        tries += 1;
        assert!(tries < 100, "the spool never recovers");
    }
}

#[tokio::test]
async fn r04_a_failed_sync_answers_the_caller_and_the_next_segment_goes_on() {
    let (house, disk) = House::simulated();
    let (spool, _) = house.open();
    for n in 0..5 {
        spool.accept(&parcel(n, 1, 100), house.now()).await.unwrap();
    }
    // The next accept writes, then syncs.
    disk.fail(disk.operations() + 2, Trouble::Broken);
    assert!(matches!(spool.accept(&parcel(5, 1, 100), house.now()).await, Err(SpoolError::Disk(_))));
    for n in 6..9 {
        spool.accept(&parcel(n, 1, 100), house.now()).await.unwrap();
    }
    assert!(spool.is_healthy());
    let ids = |spool: &Spool| spool.jobs().iter().map(|job| job.meta.id.as_u128()).collect::<Vec<_>>();
    assert_eq!(ids(&spool), [0, 1, 2, 3, 4, 6, 7, 8]);
    spool.close().await;
    let (spool, found) = house.open();
    assert_eq!(found.damages, 0);
    assert_eq!(ids(&spool), [0, 1, 2, 3, 4, 6, 7, 8], "what got 451 is not delivered behind the sender's back");
}

#[tokio::test]
async fn r04_a_disk_that_keeps_failing_stops_the_spool() {
    let (house, disk) = House::simulated();
    let (spool, _) = house.open();
    spool.accept(&parcel(0, 1, 100), house.now()).await.unwrap();
    for n in 1..2000 {
        disk.fail(disk.operations() + n, Trouble::Broken);
    }
    for n in 0..50 {
        assert!(spool.accept(&parcel(n, 1, 100), house.now()).await.is_err());
    }
    assert_eq!(spool.count(), 1, "what was taken before is still there");
}

#[tokio::test]
async fn many_callers_share_syncs_on_a_real_disk() {
    let dir = std::env::temp_dir().join(format!("luytre-spool-{}", std::process::id()));
    let (clock, _hand) = Clock::by_hand(Timestamp::from_seconds(1000));
    let house = House { disk: Arc::new(Real), dir: dir.clone(), clock, hand: _hand };
    let (spool, _) = house.open();
    let tasks: Vec<_> = (0..64_u64)
        .map(|n| {
            let (spool, now) = (spool.clone(), house.now());
            tokio::spawn(async move { spool.accept(&parcel(n, 1, 2000), now).await.map(|s| s.id()) })
        })
        .collect();
    for task in tasks {
        task.await.unwrap().unwrap();
    }
    assert_eq!(spool.jobs().len(), 64);
    let second = Metrics::new(&prometheus::Registry::new()).unwrap();
    let error = Spool::open(Arc::new(Real), &dir, small(), house.clock.clone(), second).unwrap_err();
    assert!(error.to_string().contains("in use"), "{error}");
    spool.close().await;
    let (spool, found) = house.open();
    assert_eq!((found.messages, spool.retry(None, house.now())), (64, 64));
    spool.close().await;
    std::fs::remove_dir_all(Path::new(&dir)).unwrap();
}

#[tokio::test]
async fn a_page_of_one_agency_is_found_again_after_a_restart() {
    let (house, _) = House::simulated();
    let other: crate::mail::AgencyId = "so-yte".parse().unwrap();
    let (spool, _) = house.open();
    for n in 0..40 {
        let mut parcel = parcel(n, 1, 300);
        if n == 31 {
            parcel.meta.destination = Destination::Agency(other.clone());
        }
        spool.accept(&parcel, house.now() + crate::mail::Span::days(1)).await.unwrap();
    }
    let sieve = sieve::Sieve { agency: Some(other), ..sieve::Sieve::default() };
    let ids = |spool: &Spool| {
        let page = spool.page(None, 100, &sieve);
        (page.jobs.iter().map(|job| job.meta.id.as_u128()).collect::<Vec<_>>(), page.next)
    };
    assert_eq!(ids(&spool), (vec![31], None));
    spool.close().await;
    drop(spool);
    let (spool, _) = house.open();
    assert_eq!(ids(&spool), (vec![31], None));
}

#[tokio::test]
async fn r03_on_a_disk_that_others_have_filled_the_spool_goes_round_in_its_own_room() {
    let (house, disk) = House::simulated();
    let (spool, _) = house.open();
    let deliver = async |n: u64| {
        spool.accept(&parcel(n, 1, 1000), house.now()).await?;
        for job in spool.claim_due(house.now(), 10) {
            spool.record(job.key, fates(&[(0, Fate::Done)], house.now())).await?;
        }
        Ok::<(), SpoolError>(())
    };
    deliver(0).await.unwrap();
    disk.set_capacity(0);
    for n in 1..200 {
        deliver(n).await.unwrap();
    }
    // What is not delivered is not written over: then it is full.
    let mut kept = 0;
    let refused = loop {
        match spool.accept(&parcel(1000 + kept, 1, 1000), house.now() + crate::mail::Span::days(1)).await {
            Ok(_) => kept += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(refused, SpoolError::Full) && kept > 3, "{refused} after {kept}");
    assert_eq!(spool.count() as u64, kept);
    spool.close().await;
    drop(spool);
    let (spool, found) = house.open();
    assert_eq!((spool.count() as u64, found.damages), (kept, 0));
}
