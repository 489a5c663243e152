//! 2b. Who is worth listening to: what is known of a client before its message comes.
//!
//! Most hostile mail can be refused before its content costs anything. The guard knows lists (the operator's own and
//! those in DNS), how fast somebody goes, how somebody behaved, and lets the suspicious come back later. What it says
//! about a client is an [`Assessment`](weigh::Assessment); it is carried out at RCPT TO, so that postmaster@ and abuse@
//! can be reached by everybody and the record names the recipient. A trouble of ours (DNS, the database) never refuses.
//!
//! Everything but `run` is arithmetic over arguments; all tables are bounded.

pub mod ban;
pub mod dnslist;
pub mod entry;
pub mod event;
pub mod grey;
pub mod helo;
pub mod metrics;
pub mod pace;
pub mod run;
pub mod settings;
pub mod weigh;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

pub use entry::Rules;
pub use run::Guard;

/// The network of an address, as limits and greylisting count it: an IPv4 /24, an IPv6 /48 (a site's usual share; a
/// single host has a /64, RFC 6177).
#[must_use]
pub fn network_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(ip) => IpAddr::V4(Ipv4Addr::from_bits(ip.to_bits() >> 8 << 8)),
        IpAddr::V6(ip) => IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() >> 80 << 80)),
    }
}

#[cfg(test)]
mod tests;
