//! The simulated disk is only worth something when it is as unkind as it says.

use std::io::IoSlice;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::*;
use crate::env::Dice;

fn file(disk: &dyn Disk, path: &Path) -> Arc<dyn DiskFile> {
    disk.open(path, Open::CreateNew).unwrap()
}

fn write(file: &dyn DiskFile, at: u64, bytes: &[u8]) -> io::Result<()> {
    file.write_at(at, &mut [IoSlice::new(bytes)])
}

fn content(disk: &dyn Disk, path: &Path) -> Option<Vec<u8>> {
    let file = disk.open(path, Open::Read).ok()?;
    let mut bytes = vec![0; usize::try_from(file.size().unwrap()).unwrap()];
    read_exact_at(file.as_ref(), 0, &mut bytes).unwrap();
    Some(bytes)
}

/// A disk with `/d/f` holding "old", all of it synced.
fn settled() -> (Simulated, PathBuf, Arc<dyn DiskFile>) {
    let (disk, path) = (Simulated::new(1), PathBuf::from("/d/f"));
    disk.create_folder(Path::new("/d")).unwrap();
    disk.sync_folder(Path::new("/")).unwrap();
    let handle = file(&disk, &path);
    write(handle.as_ref(), 0, &[b'o'; 2048]).unwrap();
    handle.sync_data().unwrap();
    disk.sync_folder(Path::new("/d")).unwrap();
    (disk, path, handle)
}

#[test]
fn what_was_synced_survives_every_cut() {
    let (disk, path, _) = settled();
    for seed in 0..50 {
        let found = disk.after_power_cut(&Dice::seeded(seed));
        assert_eq!(content(&found, &path).unwrap(), [b'o'; 2048]);
    }
}

#[test]
fn unsynced_writes_are_lost_torn_or_kept() {
    let (disk, path, handle) = settled();
    write(handle.as_ref(), 0, &[b'n'; 2048]).unwrap();
    let (mut old, mut new, mut torn) = (0, 0, 0);
    for seed in 0..200 {
        let bytes = content(&disk.after_power_cut(&Dice::seeded(seed)), &path).unwrap();
        match bytes.iter().filter(|b| **b == b'n').count() {
            0 => old += 1,
            2048 => new += 1,
            _ => torn += 1,
        }
    }
    assert!(old > 10 && new > 10 && torn > 10, "{old} {new} {torn}");
}

#[test]
fn a_name_without_a_synced_folder_may_go() {
    let (disk, ..) = settled();
    let path = PathBuf::from("/d/g");
    file(&disk, &path).sync_data().unwrap();
    let lost = (0..100).filter(|seed| content(&disk.after_power_cut(&Dice::seeded(*seed)), &path).is_none()).count();
    assert!((10..90).contains(&lost), "{lost}");
}

#[test]
fn after_a_failed_sync_a_later_good_one_saves_nothing_of_it() {
    let (disk, path, handle) = settled();
    write(handle.as_ref(), 0, &[b'n'; 2048]).unwrap();
    disk.fail(disk.operations() + 1, Trouble::Broken);
    assert!(handle.sync_data().is_err());
    assert!(handle.sync_data().is_ok());
    assert_eq!(content(&disk, &path).unwrap(), [b'n'; 2048], "the cache still shows it");
    let found = content(&disk.after_power_cut(&Dice::seeded(3)), &path).unwrap();
    assert!(found.contains(&b'o'), "the disk does not have it");
}

#[test]
fn a_full_disk_says_so_and_keeps_what_it_has() {
    let (disk, path, handle) = settled();
    disk.set_capacity(2048);
    let error = write(handle.as_ref(), 2048, &[1; 64]).unwrap_err();
    assert!(is_full(&error));
    assert!(is_full(&file(&disk, Path::new("/d/h")).preallocate(4096, Room::Written).unwrap_err()));
    assert_eq!(content(&disk, &path).unwrap().get(..2048).unwrap(), [b'o'; 2048]);
}

#[test]
fn a_bad_spot_cannot_be_read_until_it_is_written() {
    let (disk, path, handle) = settled();
    disk.spoil(&path, 1024, 512);
    let mut bytes = [0; 2048];
    assert_eq!(handle.read_at(0, &mut bytes).unwrap(), 1024);
    assert!(is_bad_spot(&handle.read_at(1100, &mut bytes).unwrap_err()));
    assert_eq!(handle.read_at(1536, &mut bytes).unwrap(), 512);
    write(handle.as_ref(), 1024, &[b'n'; 512]).unwrap();
    assert_eq!(handle.read_at(0, &mut bytes).unwrap(), 2048);
}

#[test]
fn every_operation_is_a_moment_to_lose_power() {
    let (disk, path, handle) = settled();
    disk.record_cuts();
    write(handle.as_ref(), 0, b"12").unwrap();
    handle.sync_data().unwrap();
    disk.rename(&path, Path::new("/d/z")).unwrap();
    assert_eq!(disk.take_cuts().len(), 3);
    assert!(disk.take_cuts().is_empty());
}

#[test]
fn the_real_disk_does_what_the_simulated_one_does() {
    let folder = std::env::temp_dir().join(format!("luytre-disk-{}", std::process::id()));
    let disk = Real;
    disk.create_folder(&folder).unwrap();
    let path = folder.join("a");
    let handle = file(&disk, &path);
    handle.preallocate(10_000, Room::Reserved).unwrap();
    assert_eq!(handle.size().unwrap(), 10_000);
    // More parts than one system call takes.
    let words: Vec<[u8; 2]> = (0..3000_u16).map(u16::to_be_bytes).collect();
    let mut parts: Vec<IoSlice<'_>> = words.iter().map(|w| IoSlice::new(w)).collect();
    handle.write_at(100, &mut parts).unwrap();
    handle.sync_data().unwrap();
    disk.sync_folder(&folder).unwrap();
    let bytes = content(&disk, &path).unwrap();
    assert_eq!(bytes.get(100..6100).unwrap(), words.concat());
    assert!(disk.open(&path, Open::CreateNew).is_err());
    let lock = disk.lock(&folder.join("lock")).unwrap();
    assert_eq!(disk.lock(&folder.join("lock")).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    drop(lock);
    assert_eq!(disk.list(&folder).unwrap(), ["a", "lock"]);
    assert!(disk.free_bytes(&folder).unwrap() > 0 && disk.free_files(&folder).unwrap() > 0);
    std::fs::remove_dir_all(&folder).unwrap();
}
