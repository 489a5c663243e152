//! The jail without a cage: sealed memory and records between two ends.

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;

use super::memory;
use super::wire::{Inner, Outer};

#[test]
fn sealed_memory_cannot_be_written_again() {
    let fd = memory::seal(b"constant").unwrap();
    assert!(nix::unistd::write(fd.as_fd(), b"x").is_err());
    assert_eq!(memory::read(fd, 100).unwrap(), b"constant");
}

#[test]
fn memory_without_seals_or_past_the_limit_is_refused() {
    assert!(memory::read(memory::seal(b"constant").unwrap(), 7).is_err());
    let flags = nix::sys::memfd::MFdFlags::MFD_ALLOW_SEALING;
    let open = nix::sys::memfd::memfd_create(c"open", flags).unwrap();
    assert!(memory::read(open, 7).is_err());
}

#[tokio::test]
async fn records_of_any_length_cross_with_their_memory() {
    let (a, b) = UnixStream::pair().unwrap();
    let outer = Outer::new(a).unwrap();
    assert!(outer.is_quiet());
    let child = std::thread::spawn(move || {
        let mut inner = Inner::new(b);
        while let Some((record, memory)) = inner.receive().unwrap() {
            let mut answer = read_all(memory);
            answer.extend(record);
            inner.send(&answer).unwrap();
        }
    });
    for length in [0, 1, 4096, 65_532, 65_533, 1 << 20] {
        let fd = memory::seal(b"mem").unwrap();
        outer.send(&vec![7; length], &[&fd]).await.unwrap();
        let answer = outer.receive().await.unwrap();
        assert_eq!((answer.len(), answer.get(..3)), (length + 3, Some(&b"mem"[..])));
    }
    drop(outer);
    child.join().unwrap();
}

fn read_all(memory: Vec<OwnedFd>) -> Vec<u8> {
    memory.into_iter().flat_map(|fd| memory::read(fd, 1 << 20).unwrap()).collect()
}

#[test]
fn a_slate_takes_what_fits_and_becomes_a_constant() {
    use std::io::Write as _;
    let ours = memory::slate(8).unwrap();
    let mut theirs = std::fs::File::from(ours.try_clone().unwrap());
    theirs.write_all(b"written").unwrap();
    assert!(theirs.write_all(b"xy").is_err(), "it does not grow");
    assert!(theirs.set_len(9).is_err() && theirs.set_len(0).is_err());
    let bytes = memory::take(ours).unwrap();
    assert_eq!(&bytes[..], b"written\0");
    assert!(theirs.write_all(b"y").is_err(), "nobody changes it any more");
}

#[test]
fn a_slate_that_is_still_mapped_for_writing_is_refused() {
    let ours = memory::slate(4096).unwrap();
    let theirs = ours.try_clone().unwrap();
    let map = super::map::writable(&theirs);
    assert!(memory::take(ours).is_err());
    drop(map);
}

#[tokio::test]
async fn two_memories_cross_in_their_order() {
    let (a, b) = UnixStream::pair().unwrap();
    let outer = Outer::new(a).unwrap();
    let child = std::thread::spawn(move || Inner::new(b).receive().unwrap().map(|(_, memory)| read_all(memory)));
    let (first, second) = (memory::seal(b"first ").unwrap(), memory::seal(b"second").unwrap());
    outer.send(b"x", &[&first, &second]).await.unwrap();
    assert_eq!(child.join().unwrap().unwrap(), b"first second");
}

#[tokio::test]
async fn a_record_longer_than_allowed_is_nonsense() {
    use std::io::Write as _;
    let (a, mut b) = UnixStream::pair().unwrap();
    let outer = Outer::new(a).unwrap();
    b.write_all(&u32::MAX.to_le_bytes()).unwrap();
    assert!(outer.receive().await.is_err());
}
