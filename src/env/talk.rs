//! A conversation with a service on this network: a TCP or Unix stream, lines and counted octets, every answer bounded.
//! How long it may take is the caller's matter; what the protocol means too.

use std::fmt;
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::path::PathBuf;

use nix::sys::socket::{ControlMessage, MsgFlags, UnixAddr, sendmsg};
use tokio::io::{
    AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader, Interest,
};
use tokio::net::{TcpStream, UnixStream};

use super::jail::memory;

/// Where the service listens.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Address {
    /// `host:port`
    Tcp(String),
    Unix(PathBuf),
}

impl Address {
    /// `127.0.0.1:3310`, `av.tinh.gov.vn:1344`, `[::1]:3310` or `unix:/run/clamav/clamd.ctl`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if let Some(path) = text.strip_prefix("unix:") {
            return path.starts_with('/').then(|| Self::Unix(path.into()));
        }
        let (host, port) = text.rsplit_once(':')?;
        let whole = !host.is_empty() && !host.contains(['/', ' ']) && (!host.contains(':') || host.starts_with('['));
        (whole && port.parse::<u16>().is_ok_and(|port| port > 0)).then(|| Self::Tcp(text.to_owned()))
    }

    /// The host's name, as a request wants it; `localhost` for a Unix socket.
    #[must_use]
    pub fn host(&self) -> &str {
        match self {
            Self::Tcp(text) => text.rsplit_once(':').map_or(text.as_str(), |(host, _)| host),
            Self::Unix(_) => "localhost",
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(text) => f.write_str(text),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {
    /// The socket, where the other side is on this machine and takes descriptors.
    fn local(&self) -> Option<&UnixStream> {
        None
    }
}
impl Stream for TcpStream {}
impl Stream for UnixStream {
    fn local(&self) -> Option<&UnixStream> {
        Some(self)
    }
}

/// An open connection.
pub struct Talk(BufReader<Box<dyn Stream>>);

impl fmt::Debug for Talk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Talk")
    }
}

impl Talk {
    pub async fn connect(address: &Address) -> io::Result<Self> {
        let stream: Box<dyn Stream> = match address {
            Address::Tcp(text) => {
                let stream = TcpStream::connect(text.as_str()).await?;
                // Small questions, waited for: Nagle costs 40 ms each.
                stream.set_nodelay(true)?;
                Box::new(stream)
            }
            Address::Unix(path) => Box::new(UnixStream::connect(path).await?),
        };
        Ok(Self(BufReader::new(stream)))
    }

    /// Sends all of it.
    pub async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes).await?;
        self.0.flush().await
    }

    /// Whether memory can be handed over instead of sent.
    #[must_use]
    pub fn is_local(&self) -> bool {
        self.0.get_ref().local().is_some()
    }

    /// Hands `bytes` over as a sealed memory file, beside one octet that means nothing. Only where [`Self::is_local`].
    pub async fn hand_over(&mut self, bytes: &[u8]) -> io::Result<()> {
        let Some(socket) = self.0.get_ref().local() else { return Err(io::ErrorKind::Unsupported.into()) };
        let memory = memory::seal(bytes)?;
        let rights = [memory.as_fd().as_raw_fd()];
        let send = || {
            let control = [ControlMessage::ScmRights(&rights)];
            let octet = [io::IoSlice::new(&[0])];
            let flags = MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT;
            sendmsg::<UnixAddr>(socket.as_fd().as_raw_fd(), &octet, &control, flags, None).map_err(io::Error::from)
        };
        socket.async_io(Interest::WRITABLE, send).await.map(drop)
    }

    /// Whether the other side said nothing unasked and did not hang up: fit for another question.
    #[must_use]
    pub fn is_quiet(&mut self) -> bool {
        use std::task::{Context, Poll, Waker};
        if !self.0.buffer().is_empty() {
            return false;
        }
        let mut cx = Context::from_waker(Waker::noop());
        let mut octet = [0; 1];
        let mut room = tokio::io::ReadBuf::new(&mut octet);
        matches!(std::pin::Pin::new(self.0.get_mut()).poll_read(&mut cx, &mut room), Poll::Pending)
    }

    /// Octets up to `end`, which is taken away; an error when the stream ends before it or `most` octets came without.
    pub async fn until(&mut self, end: u8, most: usize) -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        let room = u64::try_from(most).unwrap_or(u64::MAX).saturating_add(1);
        (&mut self.0).take(room).read_until(end, &mut out).await?;
        if out.last() == Some(&end) {
            out.pop();
            return Ok(out);
        }
        let kind = if out.len() > most { io::ErrorKind::InvalidData } else { io::ErrorKind::UnexpectedEof };
        Err(kind.into())
    }

    /// A line of text without its end (LF or CRLF).
    pub async fn line(&mut self, most: usize) -> io::Result<String> {
        let mut line = self.until(b'\n', most).await?;
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        Ok(String::from_utf8_lossy(&line).into_owned())
    }

    /// Exactly `length` octets.
    pub async fn exactly(&mut self, length: usize) -> io::Result<Vec<u8>> {
        let mut out = vec![0; length];
        self.0.read_exact(&mut out).await?;
        Ok(out)
    }

    /// Everything until the other side closes; an error past `most` octets.
    pub async fn rest(&mut self, most: usize) -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        let room = u64::try_from(most).unwrap_or(u64::MAX).saturating_add(1);
        (&mut self.0).take(room).read_to_end(&mut out).await?;
        if out.len() > most { Err(io::ErrorKind::InvalidData.into()) } else { Ok(out) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_a_port_of_a_host_or_a_unix_socket() {
        for good in ["127.0.0.1:3310", "[::1]:1344", "av.example:1", "unix:/run/clamav/clamd.ctl"] {
            assert_eq!(Address::parse(good).expect(good).to_string(), good);
        }
        for bad in ["", "127.0.0.1", ":1", "a:0", "a:99999", "::1:3310", "unix:relative", "a b:1", "http://a:1"] {
            assert!(Address::parse(bad).is_none(), "{bad}");
        }
    }
}
