//! Length-framed records over a stream socket, with descriptors beside them. One question, one answer: neither side
//! sends a second record before the first is answered, so a reader never sees the start of the next one.

use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;

use nix::cmsg_space;
use nix::errno::Errno;
use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, UnixAddr, recv, recvmsg, sendmsg};
use tokio::io::Interest;

use super::handle;

/// The longest record: facts of 2,000 parts take well under 1 MiB; a policy travels as memory, not as a record.
pub const RECORD_MAX: usize = 16 << 20;
const PREFIX: usize = 4;
const CHUNK: usize = 64 << 10;
/// What a question takes: most are one read of this.
const FIRST: usize = 4 << 10;
/// Memory files beside one record: what is to be read, and what may be written.
pub const MEMORIES: usize = 2;

/// `payload` behind its length.
fn framed(payload: &[u8]) -> io::Result<Vec<u8>> {
    let length = u32::try_from(payload.len()).ok().filter(|_| payload.len() <= RECORD_MAX);
    let length = length.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "the record is too long"))?;
    let mut frame = Vec::with_capacity(PREFIX + payload.len());
    frame.extend_from_slice(&length.to_le_bytes());
    frame.extend_from_slice(payload);
    Ok(frame)
}

/// The payload when `frame` is complete, `None` while more is to come.
fn complete(frame: &[u8]) -> io::Result<Option<usize>> {
    let Some(prefix) = frame.first_chunk::<PREFIX>() else { return Ok(None) };
    let length = usize::try_from(u32::from_le_bytes(*prefix)).unwrap_or(usize::MAX);
    if length > RECORD_MAX || frame.len() > PREFIX.saturating_add(length) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "not a record"));
    }
    Ok((frame.len() == PREFIX + length).then_some(length))
}

fn send_some(socket: RawFd, bytes: &[u8], memory: &[BorrowedFd<'_>]) -> io::Result<usize> {
    let raw: Vec<RawFd> = memory.iter().map(AsRawFd::as_raw_fd).collect();
    let rights = [ControlMessage::ScmRights(&raw)];
    let control: &[ControlMessage<'_>] = if raw.is_empty() { &[] } else { &rights };
    let flags = MsgFlags::MSG_NOSIGNAL;
    sendmsg::<UnixAddr>(socket, &[IoSlice::new(bytes)], control, flags, None).map_err(io::Error::from)
}

/// The child's end: blocking.
#[derive(Debug)]
pub struct Inner(UnixStream);

impl Inner {
    #[must_use]
    pub const fn new(stream: UnixStream) -> Self {
        Self(stream)
    }

    /// The next record and the memory handed over with it, in order; `None` when the other side is gone.
    pub fn receive(&mut self) -> io::Result<Option<(Vec<u8>, Vec<OwnedFd>)>> {
        let mut frame = vec![0; FIRST];
        let mut control = cmsg_space!([RawFd; MEMORIES]);
        let (got, memory) = {
            let mut parts = [IoSliceMut::new(&mut frame)];
            let flags = MsgFlags::MSG_CMSG_CLOEXEC;
            let message = recvmsg::<UnixAddr>(self.0.as_raw_fd(), &mut parts, Some(&mut control), flags)?;
            let mut memory = Vec::new();
            for item in message.cmsgs()? {
                if let ControlMessageOwned::ScmRights(raw) = item {
                    memory = handle::own_received(raw);
                }
            }
            (message.bytes, memory)
        };
        frame.truncate(got);
        if got == 0 {
            return Ok(None);
        }
        while complete(&frame)?.is_none() {
            let start = frame.len();
            frame.resize(start + CHUNK, 0);
            let more = self.0.read(frame.get_mut(start..).unwrap_or_default())?;
            frame.truncate(start + more);
            if more == 0 {
                return Ok(None);
            }
        }
        Ok(Some((frame.split_off(PREFIX), memory)))
    }

    pub fn send(&mut self, payload: &[u8]) -> io::Result<()> {
        self.0.write_all(&framed(payload)?)
    }
}

/// The main process's end: asynchronous.
#[derive(Debug)]
pub struct Outer(tokio::net::UnixStream);

impl Outer {
    /// Must be called inside a tokio runtime.
    pub fn new(stream: UnixStream) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        tokio::net::UnixStream::from_std(stream).map(Self)
    }

    /// Whether the other side still has its end open and has said nothing unasked.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        // Asked of the kernel itself: the runtime would answer from what it has heard so far.
        let flags = MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT;
        matches!(recv(self.0.as_raw_fd(), &mut [0], flags), Err(Errno::EAGAIN))
    }

    /// Sends a record with memory beside it, at most [`MEMORIES`]. An error means that the other side did not get it whole.
    pub async fn send(&self, payload: &[u8], memory: &[&OwnedFd]) -> io::Result<()> {
        let frame = framed(payload)?;
        let memory: Vec<BorrowedFd<'_>> = memory.iter().take(MEMORIES).map(AsFd::as_fd).collect();
        let mut sent = 0;
        while let Some(rest) = frame.get(sent..).filter(|r| !r.is_empty()) {
            // The descriptor travels with the first octets.
            let first: &[BorrowedFd<'_>] = if sent == 0 { &memory } else { &[] };
            sent += self.0.async_io(Interest::WRITABLE, || send_some(self.0.as_raw_fd(), rest, first)).await?;
        }
        Ok(())
    }

    /// The answer; an error when the other side is gone or talks nonsense.
    pub async fn receive(&self) -> io::Result<Vec<u8>> {
        let mut frame = Vec::with_capacity(8 << 10);
        loop {
            if complete(&frame)?.is_some() {
                return Ok(frame.split_off(PREFIX));
            }
            if frame.capacity() == frame.len() {
                frame.reserve(CHUNK);
            }
            self.0.readable().await?;
            match self.0.try_read_buf(&mut frame) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }
}
