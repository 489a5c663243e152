//! Rotten bits, bad spots of the medium, files of another version: each costs what it hit and nothing else.

use std::io::IoSlice;

use super::*;
use crate::env::disk::{Open, read_exact_at};

/// A spool with `count` messages of 1,000 octets; every record takes 1,600 of its segment, ten a segment.
async fn filled(count: u64) -> (House, Simulated) {
    let (house, disk) = House::simulated();
    let (spool, _) = house.open();
    for n in 0..count {
        spool.accept(&parcel(n, 1, 1000), house.now()).await.unwrap();
    }
    spool.close().await;
    (house, disk)
}

fn numbers(spool: &Spool) -> Vec<u128> {
    spool.jobs().iter().map(|job| job.meta.id.as_u128()).collect()
}

fn aside(disk: &Simulated, house: &House) -> Vec<String> {
    disk.list(&house.dir.join("damaged")).unwrap()
}

/// What the disk has of a file; bad spots are an error.
fn bytes(disk: &Simulated, path: &Path) -> Vec<u8> {
    let file = disk.open(path, Open::Read).unwrap();
    let mut bytes = vec![0; usize::try_from(file.size().unwrap()).unwrap()];
    read_exact_at(file.as_ref(), 0, &mut bytes).unwrap();
    bytes
}

#[tokio::test]
async fn r05_a_damaged_record_costs_that_record_and_is_set_aside() {
    let (house, disk) = House::simulated();
    let (spool, _) = house.open();
    for n in 0..12 {
        spool.accept(&parcel(n, 1, 1000), house.now()).await.unwrap();
    }
    spool.close().await;
    let path = segment::path(&house.dir, 1);
    // One bit in the description of the third.
    disk.rot(&path, 1024 + 2 * 1568 + 100);
    let (spool, found) = house.open();
    assert_eq!((found.damages, found.messages), (1, 11), "{found:?}");
    assert_eq!(spool.jobs().len(), 11);
    assert_eq!(disk.list(&house.dir.join("damaged")).unwrap().len(), 1);
    spool.accept(&parcel(50, 1, 10), house.now()).await.unwrap();
    spool.close().await;
    let (_, again) = house.open();
    assert_eq!((again.messages, disk.list(&house.dir.join("damaged")).unwrap().len()), (12, 1));
}

#[tokio::test]
async fn r05_damage_found_while_running_leaves_the_rest_alone() {
    let (house, disk) = filled(3).await;
    let (spool, _) = house.open();
    disk.rot(&segment::path(&house.dir, 1), 1024 + 1000);
    let jobs = spool.claim_due(house.now(), 10);
    assert!(matches!(spool.read(jobs[0].key).await, Err(SpoolError::Damaged(_))));
    spool.accept(&parcel(9, 1, 10), house.now()).await.unwrap();
    spool.close().await;
    assert_eq!(spool.count(), 3);
    assert_eq!(disk.list(&house.dir.join("damaged")).unwrap().len(), 1);
    assert!(spool.read(jobs[1].key).await.is_ok());
}

#[tokio::test]
async fn r05_what_is_set_aside_is_the_record_as_it_was_found() {
    let (house, disk) = filled(12).await;
    let (path, at) = (segment::path(&house.dir, 1), 1024 + 2 * 1568);
    disk.rot(&path, at + 100);
    let segment = bytes(&disk, &path);
    // A crash in the middle of setting it aside: the unfinished copy does not count.
    let (_, found) = house.open();
    let name = aside(&disk, &house).pop().unwrap();
    let kept = house.dir.join("damaged").join(&name);
    let (from, len) = (usize::try_from(found.damaged[0].at).unwrap(), usize::try_from(found.damaged[0].bytes).unwrap());
    assert_eq!(bytes(&disk, &kept), segment[from..from + len]);
    disk.rename(&kept, &kept.with_extension("part")).unwrap();
    let (_, again) = house.open();
    assert_eq!(again.damages, 1);
    assert_eq!((aside(&disk, &house), bytes(&disk, &kept)), (vec![name], segment[from..from + len].to_vec()));
}

#[tokio::test]
async fn r05_a_rotten_body_is_found_when_it_is_read_at_the_latest() {
    let (house, disk) = filled(12).await;
    // In a segment that was left synced: a start does not read its bodies.
    disk.rot(&segment::path(&house.dir, 1), 1024 + 2 * 1568 + 1300);
    let (spool, found) = house.open();
    assert_eq!((found.damages, found.messages), (0, 12), "{found:?}");
    for job in spool.claim_due(house.now(), 20) {
        let read = spool.read(job.key).await;
        assert_eq!(read.is_err(), job.meta.id.as_u128() == 2);
    }
    spool.accept(&parcel(50, 1, 10), house.now()).await.unwrap();
    spool.close().await;
    assert_eq!((spool.count(), aside(&disk, &house).len()), (12, 1));
    // In the last one, which a power cut may have torn, every body is read at the start.
    let (house, disk) = filled(5).await;
    disk.rot(&segment::path(&house.dir, 1), 1024 + 2 * 1568 + 1300);
    let (_, found) = house.open();
    assert_eq!((found.damages, found.messages), (1, 4), "{found:?}");
}

#[tokio::test]
async fn r05_a_bad_spot_costs_the_record_it_lies_in() {
    let (house, disk) = filled(12).await;
    // The kernel fails a whole block, so whatever shares it goes too.
    disk.spoil(&segment::path(&house.dir, 1), 8192, 512);
    let (spool, found) = house.open();
    assert!((8..12).contains(&found.messages) && found.damages >= 1, "{found:?}");
    let mut readable = 0;
    for job in spool.claim_due(house.now(), 20) {
        readable += usize::from(spool.read(job.key).await.is_ok());
    }
    assert!(readable >= 8, "{readable}");
    spool.accept(&parcel(50, 1, 10), house.now()).await.unwrap();
    spool.close().await;
    assert_eq!(spool.count(), readable + 1, "what cannot be read is out of the queue");
    assert!(!aside(&disk, &house).is_empty());
}

#[tokio::test]
async fn r05_a_bad_spot_found_while_running_leaves_the_rest_alone() {
    let (house, disk) = filled(3).await;
    let (spool, _) = house.open();
    disk.spoil(&segment::path(&house.dir, 1), 1024 + 1200, 16);
    let jobs = spool.claim_due(house.now(), 10);
    assert!(matches!(spool.read(jobs[0].key).await, Err(SpoolError::Damaged(_))));
    assert!(spool.read(jobs[1].key).await.is_ok());
    spool.accept(&parcel(9, 1, 10), house.now()).await.unwrap();
    spool.close().await;
    assert_eq!(numbers(&spool), [1, 2, 9]);
    assert_eq!(aside(&disk, &house).len(), 1);
}

#[tokio::test]
async fn r05_a_message_that_cannot_be_set_aside_stays() {
    let (house, disk) = filled(3).await;
    let (spool, _) = house.open();
    disk.spoil(&segment::path(&house.dir, 1), 1024 + 1200, 16);
    // The disk as a whole is in trouble: no file can be made on it. That is no reason to give mail up.
    let jobs = spool.claim_due(house.now(), 10);
    for n in 1..30 {
        disk.fail(disk.operations() + n, Trouble::Broken);
    }
    assert!(spool.read(jobs[0].key).await.is_err());
    spool.close().await;
    disk.clear_trouble();
    assert_eq!(numbers(&spool), [0, 1, 2]);
    assert!(aside(&disk, &house).is_empty());
}

#[tokio::test]
async fn r05_a_segment_without_its_header_is_told_by_the_one_behind_it() {
    for bad_spot in [false, true] {
        let (house, disk) = filled(25).await;
        let path = segment::path(&house.dir, 2);
        if bad_spot {
            disk.spoil(&path, 0, 1024);
        } else {
            let file = disk.open(&path, Open::ReadWrite).unwrap();
            file.write_at(0, &mut [IoSlice::new(&[0xff; 1024])]).unwrap();
        }
        let (spool, found) = house.open();
        assert_eq!((found.messages, found.damages), (25, 1), "{found:?}");
        assert_eq!(numbers(&spool), (0..25).collect::<Vec<u128>>());
        spool.close().await;
    }
}

#[tokio::test]
async fn r05_a_last_segment_without_its_header_is_set_aside_whole() {
    let (house, disk) = filled(25).await;
    let last = disk.list(&house.dir).unwrap().into_iter().filter_map(|name| segment::id_of(&name)).max().unwrap();
    let path = segment::path(&house.dir, last);
    disk.open(&path, Open::ReadWrite).unwrap().write_at(0, &mut [IoSlice::new(&[0xff; 1024])]).unwrap();
    let content = bytes(&disk, &path);
    let (spool, found) = house.open();
    assert_eq!(found.damages, 1);
    assert!((10..25).contains(&found.messages), "{found:?}");
    let names = aside(&disk, &house);
    assert_eq!(names, [format!("segment-{last:08x}-1.bin")]);
    assert_eq!(bytes(&disk, &house.dir.join("damaged").join(&names[0])), content);
    spool.accept(&parcel(99, 1, 10), house.now()).await.unwrap();
}

#[tokio::test]
async fn r04_a_disk_that_cannot_be_read_at_all_stops_the_start() {
    let (house, disk) = filled(100).await;
    for name in disk.list(&house.dir).unwrap() {
        disk.spoil(&house.dir.join(name), 0, 1 << 20);
    }
    let metrics = Metrics::new(&prometheus::Registry::new()).unwrap();
    let opened = Spool::open(Arc::clone(&house.disk), &house.dir, small(), house.clock.clone(), metrics);
    assert!(matches!(opened, Err(SpoolError::Disk(_))), "mail is not given up because a cable fell out");
    assert!(aside(&disk, &house).is_empty());
}

#[tokio::test]
async fn r19_a_spool_of_a_newer_version_is_left_alone_and_said_so() {
    let (house, disk) = filled(25).await;
    // The last segment is the newer version's; one before it is damaged, and must not be touched either.
    let last = disk.list(&house.dir).unwrap().into_iter().filter_map(|name| segment::id_of(&name)).max().unwrap();
    let first = disk.open(&segment::path(&house.dir, 1), Open::ReadWrite).unwrap();
    first.write_at(0, &mut [IoSlice::new(&[0xff; 1024])]).unwrap();
    let file = disk.open(&segment::path(&house.dir, last), Open::ReadWrite).unwrap();
    let mut header = [0; 512];
    read_exact_at(file.as_ref(), 0, &mut header).unwrap();
    header[8] = frame::VERSION + 1;
    let crc = crc32fast::hash(&header[..508]);
    header[508..].copy_from_slice(&crc.to_le_bytes());
    file.write_at(0, &mut [IoSlice::new(&header)]).unwrap();
    let before = disk.operations();
    let metrics = Metrics::new(&prometheus::Registry::new()).unwrap();
    let error = Spool::open(Arc::clone(&house.disk), &house.dir, small(), house.clock.clone(), metrics).unwrap_err();
    let said = error.to_string();
    assert!(said.contains("newer version (format 2, this one knows 1)") && said.contains(".log"), "{said}");
    assert_eq!(disk.operations(), before, "nothing was changed");
    assert!(Spool::look(&house.disk, &house.dir).is_err(), "nor does `luytre queue list` guess");
}
