//! The cage tried from inside, and messages handed into it.

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
            let mut answer = memory.map_or_else(Vec::new, |fd: OwnedFd| memory::read(fd, 1 << 20).unwrap());
            answer.extend(record);
            inner.send(&answer).unwrap();
        }
    });
    for length in [0, 1, 4096, 65_532, 65_533, 1 << 20] {
        let fd = memory::seal(b"mem").unwrap();
        outer.send(&vec![7; length], Some(&fd)).await.unwrap();
        let answer = outer.receive().await.unwrap();
        assert_eq!((answer.len(), answer.get(..3)), (length + 3, Some(&b"mem"[..])));
    }
    drop(outer);
    child.join().unwrap();
}

#[tokio::test]
async fn a_record_longer_than_allowed_is_nonsense() {
    use std::io::Write as _;
    let (a, mut b) = UnixStream::pair().unwrap();
    let outer = Outer::new(a).unwrap();
    b.write_all(&u32::MAX.to_le_bytes()).unwrap();
    assert!(outer.receive().await.is_err());
}
