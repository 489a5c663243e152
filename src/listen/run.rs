//! Accepting connections: sockets, PROXY header, permits.
