//! Accepting connections: sockets, PROXY header, permits.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

use super::admit::{Admission, Full, Share};
use super::proxy::{self, Addresses, Header};

/// Connections the kernel holds for us while we are busy.
const BACKLOG: i32 = 4096;
/// How long a proxy may take for its header.
const PROXY_PATIENCE: Duration = Duration::from_secs(5);
/// Pause when the process has no descriptors left: sessions that end give some back.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(100);

/// An address that cannot be listened on.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    #[error("{address} is in use by another program")]
    InUse { address: SocketAddr },
    #[error("{address} needs a privilege (CAP_NET_BIND_SERVICE) or socket activation")]
    NotAllowed { address: SocketAddr },
    #[error("cannot listen on {address}: {error}")]
    Other { address: SocketAddr, error: io::Error },
}

/// A listening socket. SO_REUSEPORT lets the next process bind before this one lets go: a restart refuses nobody.
pub fn bind(address: SocketAddr) -> Result<std::net::TcpListener, BindError> {
    listening(address).map_err(|error| match error.kind() {
        io::ErrorKind::AddrInUse => BindError::InUse { address },
        io::ErrorKind::PermissionDenied => BindError::NotAllowed { address },
        _ => BindError::Other { address, error },
    })
}

fn listening(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Counts who is in. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Gate(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    admission: Mutex<Admission>,
    /// Somebody left.
    left: Notify,
}

impl Gate {
    /// One more connection, if there is room for one.
    pub fn enter(&self, limit: usize) -> Result<Permit, Full> {
        self.lock().enter(limit)?;
        Ok(Permit { gate: self.clone(), address: None })
    }

    #[must_use]
    pub fn open(&self) -> usize {
        self.lock().total()
    }

    /// Returns when at most so many are open.
    pub async fn until_open(&self, most: usize) {
        loop {
            let mut left = pin!(self.0.left.notified());
            // Before the look: who leaves behind it is not missed.
            left.as_mut().enable();
            if self.open() <= most {
                return;
            }
            left.await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Admission> {
        self.0.admission.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place for one connection, given back on drop.
#[derive(Debug)]
pub struct Permit {
    gate: Gate,
    address: Option<IpAddr>,
}

impl Permit {
    /// Counts the connection for its client's address and network.
    pub fn claim(&mut self, address: IpAddr, share: Share) -> Result<(), Full> {
        self.gate.lock().claim(address, share)?;
        self.address = Some(address);
        Ok(())
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.gate.lock().leave(self.address);
        self.gate.0.left.notify_waiters();
    }
}

/// Accepts for ever; every trouble but that of one connection is waited out (THREATS R-12).
pub async fn accept(listener: TcpListener, mut take: impl FnMut(TcpStream, SocketAddr)) {
    let mut exhausted = false;
    loop {
        match listener.accept().await {
            Ok((tcp, peer)) => {
                exhausted = false;
                take(tcp, peer);
            }
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                if !exhausted {
                    tracing::error!(%error, "no connection can be accepted");
                }
                exhausted = true;
                sleep(EXHAUSTED_PAUSE).await;
            }
        }
    }
}

fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

/// Reads the PROXY header; `None` where there was none in time. Bytes behind it are returned: the client spoke early.
pub async fn proxied(tcp: &mut TcpStream) -> Option<(Option<Addresses>, Vec<u8>)> {
    timeout(PROXY_PATIENCE, async {
        let mut bytes = Vec::with_capacity(256);
        loop {
            match proxy::parse(&bytes) {
                Header::Complete { length, addresses } => return Some((addresses, bytes.split_off(length))),
                Header::Bad => return None,
                Header::Incomplete => {}
            }
            if tcp.read_buf(&mut bytes).await.ok()? == 0 {
                return None;
            }
        }
    })
    .await
    .ok()
    .flatten()
}
