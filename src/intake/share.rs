//! How much of the memory for messages each network holds: one peer, whatever its addresses, never has more than a
//! quarter of it. What is over that goes to a temporary file, which costs this peer speed and others nothing.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The part of everything that one network may hold, as a divisor.
const PART: usize = 4;

/// Units held, by network. Only who holds some is in it, so the units bound it. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Shares(Arc<Mutex<HashMap<IpAddr, usize>>>);

impl Shares {
    /// An empty portion of a network.
    #[must_use]
    pub fn portion(&self, network: IpAddr) -> Portion {
        Portion { shares: self.clone(), network, units: 0 }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What one message holds of its network's share; given back on drop.
#[derive(Debug)]
pub struct Portion {
    shares: Shares,
    network: IpAddr,
    units: usize,
}

impl Portion {
    /// Takes `units` more of `all`, if the network may.
    pub fn grow(&mut self, units: usize, all: usize) -> bool {
        let mut held = self.shares.lock();
        let of_network = held.get(&self.network).copied().unwrap_or(0).saturating_add(units);
        if of_network > all / PART {
            return false;
        }
        if units > 0 {
            held.insert(self.network, of_network);
        }
        self.units = self.units.saturating_add(units);
        true
    }

    /// Gives everything back.
    pub fn clear(&mut self) {
        let units = std::mem::take(&mut self.units);
        if units == 0 {
            return;
        }
        let mut held = self.shares.lock();
        let left = held.get(&self.network).copied().unwrap_or(0).saturating_sub(units);
        if left == 0 {
            held.remove(&self.network);
        } else {
            held.insert(self.network, left);
        }
    }
}

impl Drop for Portion {
    fn drop(&mut self) {
        self.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_network_holds_a_quarter_and_nothing_is_remembered_of_those_who_left() {
        let shares = Shares::default();
        let network: IpAddr = "192.0.2.0".parse().unwrap();
        let (mut a, mut b) = (shares.portion(network), shares.portion(network));
        assert!(a.grow(20, 100) && b.grow(5, 100));
        assert!(!b.grow(1, 100), "together they have theirs");
        assert!(shares.portion("198.51.100.0".parse().unwrap()).grow(25, 100), "another network has its own");
        drop(a);
        assert!(b.grow(20, 100));
        b.clear();
        assert!(shares.lock().is_empty());
    }
}
