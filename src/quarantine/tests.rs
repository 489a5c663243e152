//! The quarantine's promises, on a real folder and with the power cut at every operation.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use super::metrics::Metrics;
use super::run::ShelfError;
use super::store::Store;
use super::*;
use crate::env::clock::Hand;
use crate::env::disk::{Disk, Real, Simulated, Trouble};
use crate::env::{Clock, Dice};
use crate::mail::{Destination, MailId, MailParams, Parcel, Recipient, ReversePath, Span};

const NOW: Timestamp = Timestamp::from_seconds(1_795_302_082);

fn parcel(number: u128, subject: &str) -> Parcel {
    let agency: crate::mail::AgencyId = if number.is_multiple_of(2) { "so-tttt" } else { "so-yte" }.parse().unwrap();
    let recipient = Recipient {
        mailbox: format!("can.bo{number}@tinh.gov.vn").parse().unwrap(),
        destination: Destination::Agency(agency.clone()),
        original: None,
        notify: crate::mail::transaction::Notify::default(),
    };
    let meta = ParcelMeta {
        id: MailId::new(NOW + Span::seconds(number as u64), number),
        received_at: NOW,
        sender: ReversePath::Mailbox("ke.gian@xau.vn".parse().unwrap()),
        recipients: vec![recipient],
        destination: Destination::Agency(agency),
        params: MailParams::default(),
        sender_authenticated: false,
        subject: subject.to_owned(),
    };
    let head = format!("DKIM-Signature: v=1\r\nSubject: x{number}\r\n\r\n");
    Parcel { meta, head: head.into(), body: Bytes::from(vec![number as u8; 700]) }
}

fn held(parcel: &Parcel, kind: Kind) -> Held {
    Held {
        meta: parcel.meta.clone(),
        kind,
        because: vec!["malware.eicar".into()],
        score: 12.5,
        held_at: parcel.meta.id.time(),
        expires_at: Timestamp::EPOCH,
        size_bytes: 0,
        from: "\"Kẻ Gian\" <ke.gian@xau.vn>".into(),
        client_ip: "192.0.2.7".into(),
    }
}

struct House {
    dir: PathBuf,
    clock: Clock,
    hand: Hand,
    registry: prometheus::Registry,
}

impl House {
    fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("luytre-shelf-{name}-{}", std::process::id()));
        let (clock, hand) = Clock::by_hand(NOW);
        Self { dir, clock, hand, registry: prometheus::Registry::new() }
    }
    async fn open(&mut self) -> Shelf {
        self.registry = prometheus::Registry::new();
        let metrics = Metrics::new(&self.registry).unwrap();
        let settings = settings::Quarantine::default();
        Shelf::open(Arc::new(Real), &self.dir, settings, self.clock.clone(), metrics).await.unwrap()
    }
    /// The value of a gauge, all labels together.
    fn gauge(&self, name: &str) -> f64 {
        let families = self.registry.gather();
        let family = families.iter().find(|family| family.name() == name).unwrap();
        family.get_metric().iter().map(|metric| metric.get_gauge().get_value()).sum()
    }
}

impl Drop for House {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

async fn subjects(shelf: &Shelf, filter: Filter) -> Vec<String> {
    shelf.list(&filter).await.unwrap().into_iter().map(|entry| entry.held.meta.subject).collect()
}

#[tokio::test]
async fn held_mail_is_listed_by_every_filter() {
    let mut house = House::new("list");
    let shelf = house.open().await;
    shelf.settle().await;
    for (number, subject, kind) in
        [(1, "Hoá đơn ĐIỆN TỬ", Kind::Malware), (2, "Trúng thưởng", Kind::Spam), (3, "Họp", Kind::Spam)]
    {
        let parcel = parcel(number, subject);
        shelf.hold(&parcel, held(&parcel, kind)).await.unwrap();
    }
    let all = Filter::default;
    assert_eq!(subjects(&shelf, all()).await, ["Họp", "Trúng thưởng", "Hoá đơn ĐIỆN TỬ"], "the newest first");
    assert_eq!(subjects(&shelf, Filter { kind: Some(Kind::Spam), ..all() }).await, ["Họp", "Trúng thưởng"]);
    assert_eq!(subjects(&shelf, Filter { subject: Some("điện tử".into()), ..all() }).await, ["Hoá đơn ĐIỆN TỬ"]);
    assert_eq!(subjects(&shelf, Filter { agency: Some("so-tttt".parse().unwrap()), ..all() }).await, ["Trúng thưởng"]);
    assert_eq!(subjects(&shelf, Filter { recipient: Some("CAN.BO3@".into()), ..all() }).await, ["Họp"]);
    assert_eq!(subjects(&shelf, Filter { sender: Some("kẻ gian".into()), limit: 1, ..all() }).await, ["Họp"]);
    assert_eq!(subjects(&shelf, Filter { since: Some(NOW + Span::seconds(3)), ..all() }).await, ["Họp"]);
    assert_eq!(subjects(&shelf, Filter { subject: Some("%".into()), ..all() }).await, [""; 0], "no wildcards");
    assert_eq!(house.gauge("luytre_quarantine_messages") as i64, 3);
    assert!(house.gauge("luytre_quarantine_bytes") > 2100.0);
    // The files alone tell the same.
    let walked = Shelf::look(Arc::new(Real), &house.dir, &all()).unwrap();
    assert_eq!(walked, shelf.list(&all()).await.unwrap());
}

#[tokio::test]
async fn k08_a_release_hands_back_every_byte_and_happens_once() {
    let mut house = House::new("release");
    let shelf = house.open().await;
    let sent = parcel(4, "Công văn");
    let key = shelf.hold(&sent, held(&sent, Kind::Policy)).await.unwrap().key();
    house.hand.advance(Span::days(20));
    let first = shelf.release(key, "lan", "asked by phone").await.unwrap();
    assert!(matches!(shelf.release(key, "minh", "too").await, Err(ShelfError::Busy)));
    let head = String::from_utf8(first.parcel.head.to_vec()).unwrap();
    let (trace, original) = head.split_once("\r\n").unwrap();
    assert!(trace.starts_with("X-Luytre-Released: 2026-") && trace.contains(&key.to_string()), "{trace}");
    assert_eq!((original.as_bytes(), &first.parcel.body), (&sent.head[..], &sent.body));
    assert_eq!(first.parcel.meta.received_at, house.clock.now(), "its five days of delivery begin now");
    drop(first);
    assert!(shelf.show(key).await.unwrap().0.released.is_none(), "given up: nothing has happened");

    shelf.release(key, "lan", "asked by phone").await.unwrap().done().await.unwrap();
    let Err(ShelfError::Released(by)) = shelf.release(key, "minh", "too").await else { panic!("released twice") };
    assert_eq!((by.by.as_str(), by.reason.as_str()), ("lan", "asked by phone"));
    assert_eq!(subjects(&shelf, Filter::default()).await, [""; 0]);
    assert_eq!(subjects(&shelf, Filter { released: true, ..Filter::default() }).await, ["Công văn"]);
    let (_, kept) = shelf.show(key).await.unwrap();
    assert_eq!((kept.head, kept.body), (sent.head, sent.body), "the original stays until it expires");
}

#[tokio::test]
async fn r38_mail_goes_after_thirty_days() {
    let mut house = House::new("expire");
    let shelf = house.open().await;
    shelf.settle().await;
    for number in 0..5 {
        let parcel = parcel(number, "x");
        shelf.hold(&parcel, held(&parcel, Kind::Spam)).await.unwrap();
    }
    assert_eq!(shelf.expire(NOW + Span::days(29)).await.unwrap(), 0);
    assert_eq!(shelf.expire(NOW + Span::days(30) + Span::seconds(2)).await.unwrap(), 3);
    assert_eq!(shelf.list(&Filter::default()).await.unwrap().len(), 2);
    shelf.settle().await;
    assert_eq!(house.gauge("luytre_quarantine_messages") as i64, 2);
}

#[tokio::test]
async fn r20_a_lost_damaged_or_lying_index_is_made_again() {
    let mut house = House::new("index");
    let shelf = house.open().await;
    let mut keys = Vec::new();
    for number in 0..6 {
        let parcel = parcel(number, &format!("thư {number}"));
        keys.push(shelf.hold(&parcel, held(&parcel, Kind::Spam)).await.unwrap().key());
    }
    let before = shelf.list(&Filter::default()).await.unwrap();
    drop(shelf);
    for spoil in [None, Some(vec![0x5a; 9000])] {
        for name in ["index.db", "index.db-wal", "index.db-shm"] {
            let _ = std::fs::remove_file(house.dir.join(name));
        }
        if let Some(rubbish) = spoil {
            std::fs::write(house.dir.join("index.db"), rubbish).unwrap();
        }
        let shelf = house.open().await;
        assert_eq!(shelf.list(&Filter::default()).await.unwrap(), before);
        drop(shelf);
    }
    // Behind the index's back one file goes and one is released.
    let store = Store::open(Arc::new(Real), &house.dir).unwrap();
    store.remove(keys[0]).unwrap();
    store.mark(keys[1], &Release { by: "lan".into(), reason: "x".into(), at: NOW }).unwrap();
    let shelf = house.open().await;
    // The files answer until the index agrees with them; both answers are right.
    assert_eq!(shelf.list(&Filter::default()).await.unwrap(), before[..4]);
    shelf.settle().await;
    assert_eq!(shelf.list(&Filter::default()).await.unwrap(), before[..4]);
    assert_eq!(house.gauge("luytre_quarantine_index_up") as i64, 1);
    assert_eq!(house.gauge("luytre_quarantine_messages") as i64, 5);
}

#[tokio::test]
async fn mail_is_held_while_there_is_no_index_at_all() {
    // The simulated disk has no place for a database.
    let disk: Arc<dyn Disk> = Arc::new(Simulated::new(1));
    let (clock, _) = Clock::by_hand(NOW);
    let metrics = Metrics::new(&prometheus::Registry::new()).unwrap();
    let dir = Path::new("/nowhere/quarantine");
    let shelf = Shelf::open(disk, dir, settings::Quarantine::default(), clock, metrics).await.unwrap();
    let sent = parcel(1, "x");
    let key = shelf.hold(&sent, held(&sent, Kind::Spam)).await.unwrap().key();
    let again = shelf.hold(&sent, held(&sent, Kind::Spam)).await.unwrap().key();
    assert_eq!((key.copy, again.copy), (0, 1), "each destination's copy is held by itself");
    assert_eq!(shelf.list(&Filter::default()).await.unwrap().len(), 2);
    shelf.remove(key).await.unwrap();
    assert!(matches!(shelf.remove(key).await, Err(ShelfError::Unknown(_))));
    assert_eq!(shelf.expire(NOW + Span::days(31)).await.unwrap(), 1);
}

#[test]
fn r02_power_cut_at_every_operation_of_holding_and_releasing() {
    let mut cuts = 0;
    for seed in 0..40 {
        let (disk, dir, dice) = (Simulated::new(seed), Path::new("/d/quarantine"), Dice::seeded(seed));
        let store = Store::open(Arc::new(disk.clone()), dir).unwrap();
        disk.record_cuts();
        let (mut kept, mut released): (Vec<(HeldKey, Parcel)>, Vec<HeldKey>) = (Vec::new(), Vec::new());
        let check = |kept: &[(HeldKey, Parcel)], released: &[HeldKey]| {
            let all = disk.take_cuts();
            for cut in &all {
                let store = Store::open(Arc::new(cut.after_power_cut(&dice)), dir).unwrap();
                for (key, sent) in kept {
                    let (entry, found) = store.parcel(*key).unwrap();
                    assert_eq!((&found.head, &found.body), (&sent.head, &sent.body), "seed {seed}");
                    assert!(entry.released.is_some() || !released.contains(key), "seed {seed}: a release is forgotten");
                }
                // Whatever else has its name is whole: half a message never has one.
                for folder in store.folders().unwrap() {
                    store.sweep(&folder).unwrap();
                    store.keys(&folder).unwrap().into_iter().for_each(|key| drop(store.parcel(key).unwrap()));
                }
            }
            all.len()
        };
        for number in 0..6 {
            let sent = parcel(number, "x");
            if dice.below(5) == 0 {
                disk.fail(disk.operations() + 1 + dice.below(5), Trouble::Broken);
            }
            let stored = store.write(&sent, &held(&sent, Kind::Spam));
            cuts += check(&kept, &released);
            kept.extend(stored.map(|stored| (stored.entry.key, sent)));
            if let Some((key, _)) = kept.last().filter(|_| dice.below(2) == 0) {
                let marked = store.mark(*key, &Release { by: "lan".into(), reason: "y".repeat(700), at: NOW });
                cuts += check(&kept, &released);
                released.extend(marked.map(|stored| stored.entry.key));
            }
        }
    }
    println!("{cuts} power cuts over 40 seeds: nothing lost");
    assert!(cuts > 1000, "{cuts}");
}

#[tokio::test]
async fn r05_a_damaged_file_is_told_from_a_missing_one() {
    let mut house = House::new("damage");
    let shelf = house.open().await;
    let sent = parcel(1, "x");
    let key = shelf.hold(&sent, held(&sent, Kind::Spam)).await.unwrap().key();
    let path = house.dir.join(key.folder()).join(key.file_name());
    let mut bytes = std::fs::read(&path).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    assert!(matches!(shelf.show(key).await, Err(ShelfError::Damaged(_))));
    assert!(matches!(shelf.release(key, "lan", "x").await, Err(ShelfError::Damaged(_))));
    let none = HeldKey { copy: 9, ..key };
    assert!(matches!(shelf.show(none).await, Err(ShelfError::Unknown(_))));
}
