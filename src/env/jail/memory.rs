//! Sealed memory files: bytes that nobody can change or shorten any more, handed over as a descriptor. What goes in
//! is sealed before it is sent ([`seal`]); what comes out is written on a [`slate`] that can neither grow nor shrink,
//! and sealed by its owner before anybody reads it ([`take`]).

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, OwnedFd};

use bytes::Bytes;
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};

/// The seals that make a memory file a constant.
const SEALED: SealFlag =
    SealFlag::F_SEAL_WRITE.union(SealFlag::F_SEAL_SHRINK).union(SealFlag::F_SEAL_GROW).union(SealFlag::F_SEAL_SEAL);

/// A memory file that holds `bytes` and can never hold anything else.
pub fn seal(bytes: &[u8]) -> io::Result<OwnedFd> {
    let fd = memfd_create(c"luytre", MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING)?;
    let mut file = File::from(fd);
    file.write_all(bytes)?;
    fcntl(file.as_fd(), FcntlArg::F_ADD_SEALS(SEALED))?;
    Ok(file.into())
}

/// Empty memory of `capacity` octets, to be written by another process and then [`take`]n. Nobody can make it longer,
/// and what is not written costs nothing.
pub fn slate(capacity: u64) -> io::Result<OwnedFd> {
    let fd = memfd_create(c"luytre", MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING)?;
    let length = i64::try_from(capacity).map_err(|_| io::ErrorKind::InvalidInput)?;
    nix::unistd::ftruncate(fd.as_fd(), length)?;
    fcntl(fd.as_fd(), FcntlArg::F_ADD_SEALS(SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW))?;
    Ok(fd)
}

/// What another process wrote on a [`slate`], as a constant: sealed now, whatever that process still holds. An error
/// where it keeps the memory mapped for writing.
pub fn take(slate: OwnedFd) -> io::Result<Bytes> {
    fcntl(slate.as_fd(), FcntlArg::F_ADD_SEALS(SEALED))?;
    super::map::sealed(&slate)
}

/// Reads a sealed memory file of at most `limit` octets. Refuses one that its sender could still change.
pub fn read(fd: OwnedFd, limit: u64) -> io::Result<Vec<u8>> {
    let seals = SealFlag::from_bits_truncate(fcntl(fd.as_fd(), FcntlArg::F_GET_SEALS)?);
    if !seals.contains(SEALED) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the memory is not sealed"));
    }
    let mut file = File::from(fd);
    let length = file.seek(SeekFrom::End(0))?;
    if length > limit {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "more memory than allowed"));
    }
    file.seek(SeekFrom::Start(0))?;
    let length = usize::try_from(length).map_err(|_| io::ErrorKind::InvalidData)?;
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(length).map_err(|_| io::ErrorKind::OutOfMemory)?;
    bytes.resize(length, 0);
    file.read_exact(&mut bytes)?;
    Ok(bytes)
}
