//! Sealed at rest, found again with the right keys, held once, within the quota; and files of the first format.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use sha2::{Digest as _, Sha256};

use super::super::run::ShelfError;
use super::super::settings::{Quarantine, WhenFull};
use super::super::{Filter, HeldKey, Kind, Order, Shelf, file, metrics::Metrics};
use super::{House, NOW, held, order, parcel, subjects};
use crate::env::disk::Real;
use crate::mail::{ByteSize, Parcel, Span};

fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|octet| format!("{octet:02x}")).collect()
}

/// Every octet of every file below a folder.
fn everything(folder: &Path) -> Vec<u8> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        if entry.path().is_dir() {
            all.extend(everything(&entry.path()));
        } else {
            all.extend(std::fs::read(entry.path()).unwrap());
        }
    }
    all
}

async fn open(house: &House, settings: Quarantine) -> Result<Shelf, ShelfError> {
    let metrics = Metrics::new(&prometheus::Registry::new()).unwrap();
    Shelf::open(Arc::new(Real), &house.dir, settings, house.clock.clone(), metrics).await
}

#[tokio::test]
async fn r38_nothing_that_names_a_person_or_a_subject_stands_on_the_disk_in_clear() {
    let mut house = House::new("sealed");
    let shelf = house.open().await;
    let body = Bytes::from("Nội dung rất mật\r\n".repeat(150_000));
    let sent = Parcel { body: body.clone(), ..parcel(4, "Tuyệt mật về nhân sự") };
    let raw: Bytes = [b"Received: from far\r\nSubject: x4\r\n\r\n".as_slice(), &body].concat().into();
    let key = shelf.hold_original(&sent, held(&sent, Kind::Policy), &raw).await.unwrap().key();
    assert_eq!(subjects(&shelf, Filter { subject: Some("nhân sự".into()), ..Filter::default() }).await.len(), 1);
    shelf.settle().await;
    let disk = everything(&house.dir);
    assert!(disk.len() > body.len());
    for secret in ["Nội dung", "mật", "can.bo4", "ke.gian", "Subject", "Kẻ Gian", "192.0.2.7"] {
        assert!(memchr::memmem::find(&disk, secret.as_bytes()).is_none(), "{secret} stands on the disk");
    }
    let (entry, kept) = shelf.show(key).await.unwrap();
    let back = [&kept.original[..], &kept.parcel.body].concat();
    assert_eq!((hex(&back), entry.held.sha256), (hex(&raw), hex(&raw)), "octet for octet as it came");
    let mode = std::os::unix::fs::PermissionsExt::mode(
        &std::fs::metadata(house.dir.with_extension("key")).unwrap().permissions(),
    );
    assert_eq!(mode & 0o777, 0o600, "the key is its owner's alone");
}

#[tokio::test]
async fn a_missing_key_is_an_error_and_mail_sealed_with_it_is_not_lost() {
    let mut house = House::new("nokey");
    let shelf = house.open().await;
    let sent = parcel(1, "x");
    let key = shelf.hold(&sent, held(&sent, Kind::Spam)).await.unwrap().key();
    drop(shelf);
    let (mine, aside) = (house.dir.with_extension("key"), house.dir.with_extension("aside"));
    std::fs::rename(&mine, &aside).unwrap();
    let error = open(&house, Quarantine::default()).await.unwrap_err().to_string();
    assert!(error.contains("put") && error.contains("quarantine"), "{error}");
    assert!(!mine.exists(), "no other key is made in its place");
    let named = Quarantine { key: "/nowhere/quarantine.key".into(), ..Quarantine::default() };
    let error = open(&house, named).await.unwrap_err().to_string();
    assert!(error.contains("/nowhere/quarantine.key") && error.contains("missing"), "{error}");
    // Another key: what is sealed cannot be opened, and says with which key it could.
    std::fs::write(&mine, "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff\n").unwrap();
    let shelf = open(&house, Quarantine::default()).await.unwrap();
    assert!(matches!(shelf.show(key).await, Err(ShelfError::NoKey { .. })));
    drop(shelf);
    // Put back behind the new one it opens again.
    let both = std::fs::read_to_string(&mine).unwrap() + &std::fs::read_to_string(&aside).unwrap();
    std::fs::write(&mine, both).unwrap();
    std::fs::remove_file(&aside).unwrap();
    let shelf = open(&house, Quarantine::default()).await.unwrap();
    assert_eq!(shelf.show(key).await.unwrap().1.parcel.body, sent.body);
    assert_eq!(shelf.list(&Filter::default()).await.unwrap().entries.len(), 1);
}

#[tokio::test]
async fn after_a_change_of_keys_everything_is_sealed_with_the_new_one() {
    let mut house = House::new("rotate");
    let shelf = house.open().await;
    let mut keys = Vec::new();
    for number in 0..3 {
        let sent = parcel(number, "x");
        keys.push((shelf.hold(&sent, held(&sent, Kind::Spam)).await.unwrap().key(), sent));
    }
    shelf.release(keys[0].0, &order("lan", "x")).await.unwrap().done().await.unwrap();
    assert_eq!(shelf.rotate().await.unwrap(), 3);
    assert_eq!(shelf.key_names().1.len(), 2);
    drop(shelf);
    // The old one is thrown away.
    let file = house.dir.with_extension("key");
    let text = std::fs::read_to_string(&file).unwrap();
    let new = text.lines().find(|line| !line.starts_with('#')).unwrap().to_owned();
    std::fs::write(&file, new).unwrap();
    let shelf = open(&house, Quarantine::default()).await.unwrap();
    for (key, sent) in &keys {
        assert_eq!(shelf.show(*key).await.unwrap().1.parcel.body, sent.body);
    }
    assert!(shelf.show(keys[0].0).await.unwrap().0.released.is_some(), "what was done is remembered");
    assert_eq!(shelf.list(&Filter::default()).await.unwrap().entries.len(), 2);
}

#[tokio::test]
async fn an_identical_mass_mailing_is_held_once_and_released_one_by_one() {
    let mut house = House::new("mass");
    let shelf = house.open().await;
    let body = Bytes::from(vec![b'x'; 100_000]);
    let mut keys = Vec::new();
    for number in 0..40 {
        let sent = Parcel { body: body.clone(), ..parcel(number, &format!("thư {number}")) };
        keys.push(shelf.hold(&sent, held(&sent, Kind::Spam)).await.unwrap().key());
    }
    shelf.settle().await;
    let disk = house.gauge("luytre_quarantine_disk_bytes");
    assert!(disk < 2.0 * 100_000.0 + 40.0 * 4000.0, "one body for each of the two agencies: {disk}");
    assert_eq!(house.gauge("luytre_quarantine_messages") as i64, 40);
    let (entry, kept) = shelf.show(keys[7]).await.unwrap();
    assert_eq!((entry.held.meta.subject.as_str(), kept.parcel.body.len()), ("thư 7", 100_000));
    assert!(kept.parcel.head.starts_with(b"DKIM-Signature: v=1\r\nSubject: x7"), "its own header section");
    // By the id in its own receipt it is found too.
    let own = HeldKey { id: parcel(7, "").meta.id, copy: 0, member: 0 };
    assert_eq!(shelf.show(own).await.unwrap().0.key, keys[7]);

    shelf.release(keys[7], &order("lan", "x")).await.unwrap().done().await.unwrap();
    shelf.remove(keys[9], "lan", "x").await.unwrap();
    assert!(shelf.show(keys[11]).await.unwrap().0.released.is_none());
    assert_eq!(shelf.list(&Filter::default()).await.unwrap().entries.len(), 38);
    drop(shelf);
    let shelf = house.open().await;
    assert_eq!(shelf.list(&Filter::default()).await.unwrap().entries.len(), 38, "the files tell the same");
    // Page by page, each once, the newest first.
    let (mut filter, mut seen) = (Filter { limit: 7, released: true, ..Filter::default() }, Vec::new());
    loop {
        let page = shelf.list(&filter).await.unwrap();
        seen.extend(page.entries.into_iter().map(|entry| entry.held.meta.subject));
        filter.after = page.next;
        if filter.after.is_none() {
            break;
        }
    }
    let wanted: Vec<String> = (0..40).rev().filter(|n| *n != 9).map(|n| format!("thư {n}")).collect();
    assert_eq!(seen, wanted);
    for key in keys.iter().filter(|key| **key != keys[9]) {
        shelf.remove(*key, "lan", "x").await.unwrap();
    }
    let left = everything(&house.dir.join(keys[0].folder()));
    assert!(left.is_empty(), "with the last copy the body goes: {} octets", left.len());
}

#[tokio::test]
async fn a_full_quarantine_puts_mail_off_or_lets_the_oldest_spam_go() {
    let house = House::new("full");
    let quota = Quarantine { quota: ByteSize::kib(100), ..Quarantine::default() };
    let shelf = open(&house, quota.clone()).await.unwrap();
    shelf.settle().await;
    let large = |number: u128| Parcel { body: Bytes::from(vec![number as u8; 30 << 10]), ..parcel(number, "x") };
    let hold = async |number: u128, kind| {
        let sent = large(number);
        shelf.hold(&sent, held(&sent, kind)).await.map(|shelved| shelved.key())
    };
    let first = hold(1, Kind::Spam).await.unwrap();
    let second = hold(2, Kind::Malware).await.unwrap();
    let third = hold(3, Kind::Spam).await.unwrap();
    let full = hold(4, Kind::Spam).await.unwrap_err();
    assert_eq!((full.reply().code(), full.reply().enhanced()), (452, "4.3.1"), "its sender keeps it");
    shelf.configure(&Quarantine { when_full: WhenFull::Oldest, ..quota });
    hold(4, Kind::Spam).await.unwrap();
    assert!(matches!(shelf.show(first).await, Err(ShelfError::Unknown(_))), "the oldest spam made room");
    assert!(shelf.show(second).await.is_ok() && shelf.show(third).await.is_ok());
    // Once no spam is left, nothing else is thrown away for it.
    hold(5, Kind::Malware).await.unwrap();
    hold(6, Kind::Malware).await.unwrap();
    assert!(matches!(hold(7, Kind::Malware).await, Err(ShelfError::Full(_))));
}

#[tokio::test]
async fn one_agency_cannot_fill_the_room_of_the_others() {
    let house = House::new("share");
    let share = Quarantine { quota: ByteSize::kib(200), agency_quota: ByteSize::kib(80), ..Quarantine::default() };
    let shelf = open(&house, share.clone()).await.unwrap();
    shelf.settle().await;
    // Odd numbers are mail of so-yte, even ones of so-tttt.
    let hold = async |shelf: &Shelf, number: u128, kind| {
        let sent = Parcel { body: Bytes::from(vec![number as u8; 30 << 10]), ..parcel(number, "x") };
        shelf.hold(&sent, held(&sent, kind)).await.map(|shelved| shelved.key())
    };
    let first = hold(&shelf, 1, Kind::Spam).await.unwrap();
    hold(&shelf, 3, Kind::Malware).await.unwrap();
    let Err(ShelfError::AgencyFull(agency, quota)) = hold(&shelf, 5, Kind::Malware).await else { panic!("it fitted") };
    assert_eq!((agency.as_str(), quota), ("so-yte", 80 << 10));
    let other = hold(&shelf, 2, Kind::Spam).await.unwrap();
    hold(&shelf, 4, Kind::Malware).await.unwrap();
    drop(shelf);
    // After a start the index tells who has what.
    let shelf = open(&house, Quarantine { when_full: WhenFull::Oldest, ..share }).await.unwrap();
    shelf.settle().await;
    hold(&shelf, 5, Kind::Malware).await.unwrap();
    assert!(matches!(shelf.show(first).await, Err(ShelfError::Unknown(_))), "its own oldest spam made room");
    assert!(shelf.show(other).await.is_ok(), "and nobody else's");
    assert_eq!(hold(&shelf, 7, Kind::Malware).await.unwrap_err().reply().code(), 452);
}

#[tokio::test]
async fn a_message_is_read_to_its_end_and_each_piece_of_it_once() {
    let mut house = House::new("read");
    let shelf = house.open().await;
    let body: Bytes =
        (0..(5_u32 << 20) / 2).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect::<Vec<_>>().into();
    let sent = Parcel { body: body.clone(), ..parcel(4, "x") };
    let raw: Bytes = [b"Received: from far\r\nSubject: x4\r\n\r\n".as_slice(), &body].concat().into();
    let key = shelf.hold_original(&sent, held(&sent, Kind::Policy), &raw).await.unwrap().key();
    let (mut back, mut times) = (Vec::new(), 0);
    loop {
        let some = shelf.read(key, back.len() as u64).await.unwrap();
        if some.is_empty() {
            break;
        }
        (times, back) = (times + 1, [back, some.to_vec()].concat());
    }
    assert!(back == raw && times == 4, "the header section and three pieces: {times}");
    assert_eq!(shelf.read(key, 100 + (1 << 20)).await.unwrap()[..9], raw[100 + (1 << 20)..][..9], "from anywhere");
    assert!(shelf.read(key, u64::MAX).await.unwrap().is_empty());
    let (entry, head) = shelf.describe(key).await.unwrap();
    assert_eq!((entry.held.size_bytes, head), (sent.size_bytes(), sent.head));
}

#[tokio::test]
async fn what_was_held_before_there_was_a_key_is_read_released_and_sealed_at_the_next_change() {
    let mut house = House::new("old");
    let sent = parcel(5, "cũ");
    let text = serde_json::to_vec(&held(&sent, Kind::Spam)).unwrap();
    let front = file::Front::new(&text, &sent.head, &sent.body).encode();
    let key = HeldKey { id: sent.meta.id, copy: 0, member: 0 };
    let folder = house.dir.join(key.folder());
    std::fs::create_dir_all(&folder).unwrap();
    let octets = [front.as_slice(), &text, &sent.head, &sent.body].concat();
    std::fs::write(folder.join(key.file_name()), octets).unwrap();

    let shelf = house.open().await;
    assert_eq!(subjects(&shelf, Filter::default()).await, ["cũ"]);
    let release = shelf.release(key, &Order { ..order("lan", "x") }).await.unwrap();
    assert!(release.parcel.head.ends_with(&sent.head) && release.parcel.body == sent.body);
    release.done().await.unwrap();
    assert_eq!(shelf.rotate().await.unwrap(), 1);
    let disk = everything(&folder);
    assert!(memchr::memmem::find(&disk, b"Subject").is_none(), "sealed now");
    let (entry, kept) = shelf.show(key).await.unwrap();
    assert_eq!((entry.released.unwrap().by.as_str(), kept.parcel.body), ("lan", sent.body));
    assert_eq!(shelf.expire(NOW + Span::days(31)).await.unwrap(), [key]);
}
