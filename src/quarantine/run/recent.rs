//! Bodies that were held lately, so that an identical mass mailing is held once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::mail::{AgencyId, Span, Timestamp};
use crate::quarantine::file::HeldKey;

/// How long a file takes further copies: what is held in it is purged together, so a copy may stay a day longer.
pub(super) const WINDOW: Span = Span::days(1);
/// Bodies remembered at the same time.
const MOST: usize = 10_000;

/// Whose body: agencies share none (DOMAIN R24), nor do keys of different age.
pub(super) type Name = (AgencyId, [u8; 32]);

/// Where a body stands. Whoever holds the lock is the only one who writes such a body.
pub(super) type Slot = Arc<Mutex<Option<(HeldKey, Timestamp)>>>;

#[derive(Debug, Default)]
pub(super) struct Recent(Mutex<HashMap<Name, (Slot, Timestamp)>>);

impl Recent {
    /// The slot of a body, made when there is none. The oldest are forgotten when there are too many.
    pub(super) fn slot(&self, name: Name, now: Timestamp) -> Slot {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= MOST && !all.contains_key(&name) {
            all.retain(|_, (_, since)| *since + WINDOW > now);
            if all.len() >= MOST {
                let mut times: Vec<Timestamp> = all.values().map(|(_, since)| *since).collect();
                let middle = times.len() / 2;
                let (_, median, _) = times.select_nth_unstable(middle);
                let median = *median;
                all.retain(|_, (_, since)| *since > median);
            }
        }
        Arc::clone(&all.entry(name).or_insert_with(|| (Slot::default(), now)).0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_are_remembered_in_bounded_number() {
        let recent = Recent::default();
        let agency: AgencyId = "so-a".parse().unwrap();
        let name = |n: u32| {
            let mut digest = [0; 32];
            digest[..4].copy_from_slice(&n.to_le_bytes());
            (agency.clone(), digest)
        };
        for n in 0..25_000 {
            recent.slot(name(n), Timestamp::from_seconds(i64::from(n)));
        }
        assert!(recent.0.lock().unwrap().len() <= MOST);
        let last = recent.slot(name(24_999), Timestamp::from_seconds(25_000));
        assert!(Arc::ptr_eq(&last, &recent.slot(name(24_999), Timestamp::from_seconds(25_001))));
    }
}
