//! The listening sockets: bound here before privileges are dropped, or handed over by systemd, in which case
//! the kernel keeps accepting connections while the gateway restarts and none is refused.

use std::collections::HashMap;
use std::net::{SocketAddr, TcpListener};

use socket2::{Domain, Protocol, Socket, Type};

/// Connections the kernel may hold while we are busy or restarting.
const BACKLOG: i32 = 4096;

/// Sockets inherited from systemd (`LISTEN_FDS`), by the address they are bound to.
#[derive(Debug, Default)]
pub struct Inherited(HashMap<SocketAddr, TcpListener>);

impl Inherited {
    /// Takes every TCP socket that was passed; anything else that was passed is left alone.
    #[must_use]
    pub fn take() -> Self {
        let mut passed = listenfd::ListenFd::from_env();
        let mut found = HashMap::new();
        for index in 0..passed.len() {
            if let Ok(Some(listener)) = passed.take_tcp_listener(index)
                && let Ok(address) = listener.local_addr()
            {
                found.insert(address, listener);
            }
        }
        Self(found)
    }

    /// The socket for `address`: inherited, else bound now. The error names the address and what to do.
    pub fn listen(&mut self, address: SocketAddr) -> Result<TcpListener, ListenError> {
        if let Some(listener) = self.0.remove(&address) {
            listener.set_nonblocking(true).map_err(|source| ListenError { address, source })?;
            return Ok(listener);
        }
        bind(address).map_err(|source| ListenError { address, source })
    }

    /// Addresses that were passed but that no listener wants.
    pub fn unused(&self) -> impl Iterator<Item = SocketAddr> {
        self.0.keys().copied()
    }
}

fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// An address that could not be listened on.
#[derive(Debug)]
pub struct ListenError {
    address: SocketAddr,
    source: std::io::Error,
}

impl std::fmt::Display for ListenError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        use std::io::ErrorKind;
        let what = match self.source.kind() {
            ErrorKind::AddrInUse => "another program is using it; stop that program or change the address".to_owned(),
            ErrorKind::PermissionDenied => {
                "ports below 1024 need root or CAP_NET_BIND_SERVICE; start as root with `user` set, or by systemd".to_owned()
            }
            ErrorKind::AddrNotAvailable => "this machine has no such address".to_owned(),
            _ => self.source.to_string(),
        };
        write!(f, "cannot listen on {}: {what}", self.address)
    }
}

impl std::error::Error for ListenError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_in_use_is_one_clear_sentence() {
        let first = bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = first.local_addr().unwrap();
        let error = Inherited::default().listen(address).unwrap_err().to_string();
        assert_eq!(
            error,
            format!("cannot listen on {address}: another program is using it; stop that program or change the address")
        );
    }
}
