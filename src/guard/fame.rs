//! What lists said of a client a moment ago, so that one who connects again is known before it says a word.

use std::net::IpAddr;

use crate::listen::admit::key;
use crate::mail::memory::{Memory, Seen};
use crate::mail::{Span, Timestamp};

/// Clients remembered at a time, and for how long: about as long as an answer of a list may be cached.
const MOST: usize = 16_384;
const MEMORY: Span = Span::minutes(15);

/// The points of each client.
#[derive(Debug)]
pub struct Fame(Memory<IpAddr, Seen<f64>>);

impl Default for Fame {
    fn default() -> Self {
        Self(Memory::of_size(MOST))
    }
}

impl Fame {
    #[must_use]
    pub fn points(&self, client: IpAddr, now: Timestamp) -> Option<f64> {
        self.0.get(&key(client)).filter(|seen| now.since(seen.at) <= MEMORY).map(|seen| seen.what)
    }

    pub fn learn(&mut self, client: IpAddr, points: f64, now: Timestamp) {
        self.0.put(key(client), Seen { what: points, at: now }, now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_fades_and_is_bounded() {
        let (mut fame, now) = (Fame::default(), Timestamp::from_seconds(1_800_000_000));
        let ip = |n: u32| IpAddr::from(std::net::Ipv4Addr::from(n));
        fame.learn(ip(1), 6.0, now);
        assert_eq!(fame.points(ip(1), now + MEMORY), Some(6.0));
        assert_eq!(fame.points(ip(1), now + MEMORY + Span::seconds(1)), None);
        (0..50_000).for_each(|n| fame.learn(ip(n), 1.0, now + Span::millis(u64::from(n))));
        assert!(fame.0.len() <= MOST && fame.points(ip(49_999), now).is_some());
    }
}
