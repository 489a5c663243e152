//! TLS contexts for both directions (OpenSSL), one context per listener and per destination (DESIGN decision 6).

pub mod client;
pub mod dane;
pub mod guard;
pub mod handshake;
pub mod pair;
pub mod server;
