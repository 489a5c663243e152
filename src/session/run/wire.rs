//! A client's connection as bytes in and replies out, in clear or over TLS.
//!
//! Replies gather and leave in one write when we are about to wait. An idle connection keeps next to nothing:
//! the input buffer grows for a message and shrinks behind it.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::env::tls::handshake::{Cause, HandshakeError};
use crate::env::tls::server::{Acceptor, Negotiated, TlsStream};
use crate::mail::Reply;

/// Read size while commands are expected.
const COMMAND_READ: usize = 2 << 10;
/// First read of a message: most are no larger.
const DATA_READ: usize = 16 << 10;
/// Read size once a message has shown to be large.
const DATA_READ_MAX: usize = 128 << 10;
/// How much a client we hang up on may still send, and for how long, so that it can read our last reply.
const LINGER_BYTES: usize = 1 << 20;
const LINGER: Duration = Duration::from_secs(2);

enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream>),
    /// Only while a handshake runs.
    Gone,
}

/// One connection.
pub struct Wire {
    stream: Stream,
    input: Vec<u8>,
    /// `input[start..]` is not consumed.
    start: usize,
    out: Vec<u8>,
}

impl Wire {
    /// `early`: bytes that were read already.
    pub fn new(tcp: TcpStream, early: Vec<u8>) -> Self {
        Self { stream: Stream::Plain(tcp), input: early, start: 0, out: Vec::new() }
    }

    /// What has arrived and is not consumed.
    pub fn pending(&self) -> &[u8] {
        self.input.get(self.start..).unwrap_or_default()
    }

    pub fn consume(&mut self, count: usize) {
        self.start = self.start.saturating_add(count).min(self.input.len());
        if self.start == self.input.len() {
            self.input.clear();
            self.start = 0;
        }
    }

    /// Gives back memory before a long wait.
    pub fn rest(&mut self) {
        if self.pending().is_empty() && self.input.capacity() > 0 {
            self.input = Vec::new();
            self.start = 0;
        }
        if self.out.is_empty() && self.out.capacity() > 512 {
            self.out = Vec::new();
        }
    }

    /// Waits until something can be read, without a buffer for it. TLS needs one, and gets a small one in `read`.
    async fn readable(&self) -> io::Result<()> {
        match &self.stream {
            Stream::Plain(tcp) => tcp.readable().await,
            Stream::Tls(_) | Stream::Gone => Ok(()),
        }
    }

    /// Reads more for a command; 0 at the end of the stream.
    pub async fn read_command(&mut self) -> io::Result<usize> {
        if self.pending().is_empty() {
            self.rest();
            self.readable().await?;
        }
        self.read(COMMAND_READ).await
    }

    /// Reads more of a message of which `so_far` octets have come.
    pub async fn read_data(&mut self, so_far: u64) -> io::Result<usize> {
        self.read(if so_far < DATA_READ as u64 { DATA_READ } else { DATA_READ_MAX }).await
    }

    async fn read(&mut self, size: usize) -> io::Result<usize> {
        if self.start > 0 {
            self.input.drain(..self.start);
            self.start = 0;
        }
        self.input.reserve(size);
        let (stream, input) = (&mut self.stream, &mut self.input);
        stream.read_buf(input).await
    }

    pub fn say(&mut self, reply: &Reply) {
        reply.write_to(&mut self.out);
    }

    /// Sends what was said.
    pub async fn flush(&mut self) -> io::Result<()> {
        if self.out.is_empty() {
            return Ok(());
        }
        let (stream, out) = (&mut self.stream, &self.out);
        stream.write_all(out).await?;
        stream.flush().await?;
        self.out.clear();
        Ok(())
    }

    /// The server's side of STARTTLS. Nothing read in clear survives it.
    pub async fn secure(&mut self, acceptor: &Acceptor) -> Result<Negotiated, HandshakeError> {
        let Stream::Plain(tcp) = std::mem::replace(&mut self.stream, Stream::Gone) else {
            return Err(HandshakeError { cause: Cause::Ours, detail: "TLS inside TLS".to_owned() });
        };
        (self.input, self.start) = (Vec::new(), 0);
        let (tls, negotiated) = acceptor.accept(tcp).await?;
        self.stream = Stream::Tls(Box::new(tls));
        Ok(negotiated)
    }

    /// Hangs up so that the client still gets our last words: what it goes on sending is read and dropped a while,
    /// for closing a socket with unread bytes would throw away what we sent.
    pub async fn hang_up(mut self) {
        let farewell = async {
            self.flush().await?;
            self.stream.shutdown().await?;
            let (mut dropped, mut buffer) = (0_usize, vec![0; 4096]);
            while dropped < LINGER_BYTES {
                match self.stream.read(&mut buffer).await? {
                    0 => break,
                    count => dropped = dropped.saturating_add(count),
                }
            }
            Ok::<(), io::Error>(())
        };
        // The client's trouble from here on, not ours.
        let _ = timeout(LINGER, farewell).await;
    }
}

impl AsyncRead for Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Plain(tcp) => Pin::new(tcp).poll_read(cx, buf),
            Self::Tls(tls) => Pin::new(tls.as_mut()).poll_read(cx, buf),
            Self::Gone => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match &mut *self {
            Self::Plain(tcp) => Pin::new(tcp).poll_write(cx, buf),
            Self::Tls(tls) => Pin::new(tls.as_mut()).poll_write(cx, buf),
            Self::Gone => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Plain(tcp) => Pin::new(tcp).poll_flush(cx),
            Self::Tls(tls) => Pin::new(tls.as_mut()).poll_flush(cx),
            Self::Gone => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Plain(tcp) => Pin::new(tcp).poll_shutdown(cx),
            Self::Tls(tls) => Pin::new(tls.as_mut()).poll_shutdown(cx),
            Self::Gone => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }
}
