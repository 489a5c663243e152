//! The quarantine's promises, on a real folder.

mod keeping;
mod power;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use super::metrics::Metrics;
use super::run::ShelfError;
use super::store::Store;
use super::*;
use crate::env::Clock;
use crate::env::clock::Hand;
use crate::env::disk::{Disk, Real, Simulated};
use crate::env::vault::Keys;
use crate::mail::{Destination, MailId, MailParams, Parcel, Recipient, ReversePath, Span};

const NOW: Timestamp = Timestamp::from_seconds(1_795_302_082);

pub(super) fn parcel(number: u128, subject: &str) -> Parcel {
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

pub(super) fn held(parcel: &Parcel, kind: Kind) -> Held {
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
        helo: String::new(),
        auth: crate::inspect::AuthFacts::default(),
        codes: vec!["malware.eicar".into(), "spf.fail".into()],
        sha256: String::new(),
    }
}

fn order(by: &str, reason: &str) -> Order {
    Order { by: by.into(), reason: reason.into(), hostname: "mx1.tinh.gov.vn".into(), ..Order::default() }
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
    /// As [`Self::gauge`], for counters.
    fn gauge_of(&self, name: &str) -> f64 {
        let families = self.registry.gather();
        let family = families.iter().find(|family| family.name() == name).unwrap();
        family.get_metric().iter().map(|metric| metric.get_counter().get_value()).sum()
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
        let _ = std::fs::remove_file(self.dir.with_extension("key"));
    }
}

async fn subjects(shelf: &Shelf, filter: Filter) -> Vec<String> {
    shelf.list(&filter).await.unwrap().entries.into_iter().map(|entry| entry.held.meta.subject).collect()
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
    assert_eq!(subjects(&shelf, Filter { until: Some(NOW + Span::seconds(2)), ..all() }).await, ["Hoá đơn ĐIỆN TỬ"]);
    assert_eq!(subjects(&shelf, Filter { finding: Some("malware".into()), ..all() }).await.len(), 3);
    assert_eq!(subjects(&shelf, Filter { finding: Some("malware.ei".into()), ..all() }).await, [""; 0]);
    assert_eq!(subjects(&shelf, Filter { id: Some(parcel(2, "").meta.id), ..all() }).await, ["Trúng thưởng"]);
    assert_eq!(subjects(&shelf, Filter { subject: Some("%".into()), ..all() }).await, [""; 0], "no wildcards");
    assert_eq!(house.gauge("luytre_quarantine_messages") as i64, 3);
    assert!(house.gauge("luytre_quarantine_bytes") > 2100.0);
    // The files alone tell the same.
    let walked = Shelf::look(Arc::new(Real), &house.dir, Path::new(""), &all()).unwrap();
    assert_eq!(walked, shelf.list(&all()).await.unwrap());
}

#[tokio::test]
async fn k08_a_release_hands_back_every_byte_and_happens_once() {
    let mut house = House::new("release");
    let shelf = house.open().await;
    let sent = parcel(4, "Công văn");
    let key = shelf.hold(&sent, held(&sent, Kind::Policy)).await.unwrap().key();
    house.hand.advance(Span::days(20));
    let first = shelf.release(key, &order("lan", "asked by phone")).await.unwrap();
    assert!(matches!(shelf.release(key, &order("minh", "too")).await, Err(ShelfError::Busy)));
    let head = String::from_utf8(first.parcel.head.to_vec()).unwrap();
    let (trace, original) = head.split_at(head.len() - sent.head.len());
    assert!(trace.starts_with("X-Luytre-Released: 2026-") && trace.contains(&key.to_string()), "{trace}");
    // RFC 5322 §3.6.6
    for field in [
        "\r\nResent-Date: ",
        "\r\nResent-From: <postmaster@mx1.tinh.gov.vn>\r\n",
        "\r\nResent-To: can.bo4@tinh.gov.vn\r\n",
        "\r\nResent-Message-ID: <",
    ] {
        assert!(trace.contains(field), "{field} in {trace}");
    }
    assert_eq!((original.as_bytes(), &first.parcel.body), (&sent.head[..], &sent.body));
    assert_eq!(first.parcel.meta.received_at, house.clock.now(), "its five days of delivery begin now");
    drop(first);
    assert!(shelf.show(key).await.unwrap().0.released.is_none(), "given up: nothing has happened");

    // A copy for somebody else releases nothing.
    let officer = Recipient { mailbox: "attt@tinh.gov.vn".parse().unwrap(), ..sent.meta.recipients[0].clone() };
    let copy = shelf.release(key, &Order { to: vec![officer.clone()], ..order("lan", "to look at") }).await.unwrap();
    assert_eq!(copy.parcel.meta.recipients, [officer]);
    copy.done().await.unwrap();
    assert!(shelf.show(key).await.unwrap().0.released.is_none());

    shelf.release(key, &order("lan", "asked by phone")).await.unwrap().done().await.unwrap();
    let Err(ShelfError::Released(by)) = shelf.release(key, &order("minh", "too")).await else {
        panic!("released twice")
    };
    assert_eq!((by.by.as_str(), by.reason.as_str()), ("lan", "asked by phone"));
    assert_eq!(subjects(&shelf, Filter::default()).await, [""; 0]);
    assert_eq!(subjects(&shelf, Filter { released: true, ..Filter::default() }).await, ["Công văn"]);
    let (entry, kept) = shelf.show(key).await.unwrap();
    let kept = kept.parcel;
    assert_eq!((kept.head, kept.body), (sent.head, sent.body), "the original stays until it expires");
    let whats: Vec<What> = entry.deeds.iter().map(|deed| deed.what).collect();
    assert_eq!(whats, [What::Forwarded, What::Released], "all that was done is kept with it");
    assert_eq!(house.gauge_of("luytre_quarantine_releases_total"), 2.0);
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
    assert_eq!(shelf.expire(NOW + Span::days(29)).await.unwrap(), []);
    assert_eq!(shelf.expire(NOW + Span::days(30) + Span::seconds(2)).await.unwrap().len(), 3);
    assert_eq!(shelf.list(&Filter::default()).await.unwrap().entries.len(), 2);
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
    let before = shelf.list(&Filter::default()).await.unwrap().entries;
    drop(shelf);
    for spoil in [None, Some(vec![0x5a; 9000])] {
        for name in ["index.db", "index.db-wal", "index.db-shm"] {
            let _ = std::fs::remove_file(house.dir.join(name));
        }
        if let Some(rubbish) = spoil {
            std::fs::write(house.dir.join("index.db"), rubbish).unwrap();
        }
        let shelf = house.open().await;
        assert_eq!(shelf.list(&Filter::default()).await.unwrap().entries, before);
        drop(shelf);
    }
    // Behind the index's back one file goes and one is released.
    let mine = std::fs::read_to_string(house.dir.with_extension("key")).unwrap();
    let store = Store::open(Arc::new(Real), &house.dir, Keys::parse(&mine).unwrap()).unwrap();
    store.remove(keys[0], &Deed::default()).unwrap();
    store.mark(keys[1], &Deed { by: "lan".into(), ..Deed::default() }).unwrap();
    let shelf = house.open().await;
    // The files answer until the index agrees with them; both answers are right.
    assert_eq!(shelf.list(&Filter::default()).await.unwrap().entries, before[..4]);
    shelf.settle().await;
    assert_eq!(shelf.list(&Filter::default()).await.unwrap().entries, before[..4]);
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
    assert_eq!((key.member, again.member), (0, 1), "the same octets are held once");
    assert_eq!(shelf.list(&Filter::default()).await.unwrap().entries.len(), 2);
    shelf.remove(key, "lan", "x").await.unwrap();
    assert!(matches!(shelf.remove(key, "lan", "x").await, Err(ShelfError::Unknown(_))));
    assert_eq!(shelf.expire(NOW + Span::days(31)).await.unwrap(), [again]);
}

#[tokio::test]
async fn r05_a_damaged_file_is_told_from_a_missing_one() {
    let mut house = House::new("damage");
    let shelf = house.open().await;
    let sent = parcel(1, "x");
    let key = shelf.hold(&sent, held(&sent, Kind::Spam)).await.unwrap().key();
    let path = house.dir.join(key.folder()).join(key.file_name());
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[sealed::HEADER + 100] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    assert!(matches!(shelf.show(key).await, Err(ShelfError::Damaged(_))));
    assert!(matches!(shelf.release(key, &order("lan", "x")).await, Err(ShelfError::Damaged(_))));
    let none = HeldKey { copy: 9, ..key };
    assert!(matches!(shelf.show(none).await, Err(ShelfError::Unknown(_))));
    shelf.remove(key, "lan", "what cannot be read can be taken away").await.unwrap();
    assert!(!path.exists());
}
