//! Sealed memory as octets, without a copy: the one unsafe step of reading what another process wrote.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use bytes::Bytes;
use nix::fcntl::{FcntlArg, SealFlag, fcntl};

/// The whole memory file. Refused while anybody could still write or shorten it.
pub(super) fn sealed(fd: &OwnedFd) -> io::Result<Bytes> {
    let seals = SealFlag::from_bits_truncate(fcntl(fd.as_fd(), FcntlArg::F_GET_SEALS)?);
    if !seals.contains(SealFlag::F_SEAL_WRITE | SealFlag::F_SEAL_SHRINK) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the memory is not sealed"));
    }
    // SAFETY: a mapped file must not change or shrink underneath. The seals just read promise that for ever: the
    // kernel refuses writes and truncation by anybody, and refused the write seal while a writable mapping stood.
    let map = unsafe { memmap2::Mmap::map(fd.as_raw_fd())? };
    Ok(Bytes::from_owner(map))
}

/// Memory that its holder writes through a mapping.
#[cfg(test)]
pub(super) fn writable(fd: &OwnedFd) -> memmap2::MmapMut {
    // SAFETY: only this test has the file, and nobody shortens it: it carries the seal against that.
    unsafe { memmap2::MmapMut::map_mut(fd.as_raw_fd()).unwrap() }
}
