//! Whose message goes to the inspectors next: a few of each network at a time, the rest wait in its own line.
//!
//! Inspectors serve in order of arrival, so whoever sends many messages that are slow to look into (archives in archives
//! are small) would make everybody wait. With so many of one network before them, nobody waits longer than for those.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::listen::admit::network_of;

/// Messages of one network for each inspector.
const EACH: usize = 4;

/// The lines of all networks that have messages here; others are not in it. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Turns(Arc<Mutex<HashMap<IpAddr, Line>>>);

#[derive(Debug)]
struct Line {
    places: Arc<Semaphore>,
    /// Messages at the inspectors or waiting here.
    users: usize,
}

/// A turn, or the wait for one; its place is given back on drop.
#[derive(Debug)]
pub struct Turn {
    turns: Turns,
    network: IpAddr,
    permit: Option<OwnedSemaphorePermit>,
}

impl Turns {
    /// Waits for a turn among the messages of this client's network; `None` when `patience` is over.
    pub async fn take(&self, client: IpAddr, inspectors: usize, patience: Duration) -> Option<Turn> {
        let network = network_of(client);
        let places = {
            let mut lines = self.lock();
            let most = inspectors.max(1).saturating_mul(EACH);
            let line =
                lines.entry(network).or_insert_with(|| Line { places: Arc::new(Semaphore::new(most)), users: 0 });
            line.users = line.users.saturating_add(1);
            Arc::clone(&line.places)
        };
        let mut turn = Turn { turns: self.clone(), network, permit: None };
        turn.permit = Some(timeout(patience, places.acquire_owned()).await.ok()?.ok()?);
        Some(turn)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<IpAddr, Line>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.permit = None;
        let mut lines = self.turns.lock();
        if let Some(line) = lines.get_mut(&self.network) {
            line.users = line.users.saturating_sub(1);
            if line.users == 0 {
                lines.remove(&self.network);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[tokio::test]
    async fn one_network_has_so_many_turns_and_others_their_own() {
        let turns = Turns::default();
        let now = Duration::ZERO;
        let mut held = Vec::new();
        for last in 0..EACH {
            held.push(turns.take(ip(&format!("192.0.2.{last}")), 1, now).await.expect("a place"));
        }
        assert!(turns.take(ip("192.0.2.200"), 1, now).await.is_none(), "its line is long enough");
        assert!(turns.take(ip("198.51.100.1"), 1, now).await.is_some());
        let waiting = turns.take(ip("192.0.2.201"), 1, Duration::from_secs(3600));
        let (got, ()) = tokio::join!(waiting, async { drop(held.pop()) });
        assert!(got.is_some(), "the next has its turn when one is done");
        drop((held, got));
        assert!(turns.lock().is_empty(), "nothing is kept of those who are done");
    }
}
