//! The listening sockets: bound here before privileges are dropped, or handed over by systemd, in which case
//! the kernel keeps accepting connections while the gateway restarts and none is refused.

use std::collections::HashMap;
use std::net::{SocketAddr, TcpListener};

use crate::listen::run::{BindError, bind};

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

    /// The socket for `address`: inherited, else bound now.
    pub fn listen(&mut self, address: SocketAddr) -> Result<TcpListener, BindError> {
        match self.0.remove(&address) {
            Some(listener) => Ok(listener),
            None => bind(address),
        }
    }

    /// Addresses that were passed but that no listener wants.
    pub fn unused(&self) -> impl Iterator<Item = SocketAddr> {
        self.0.keys().copied()
    }
}
