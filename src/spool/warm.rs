//! Messages that were just taken and are due at once, kept until delivery asks for them: no reading back from disk, no
//! parsing. Bounded; what does not fit, or comes again, is read from the log. Losing any of it costs nothing but time.

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;

use crate::mail::Parcel;

/// Octets of messages kept at most.
const MOST_BYTES: usize = 8 << 20;
/// Larger ones are not kept: for them reading is a small part of the work.
const LARGEST: usize = 64 << 10;
/// What a message takes beside its bytes, roughly.
const OVERHEAD: usize = 1024;

/// The messages, the oldest first.
#[derive(Debug, Default)]
pub struct Warm {
    parcels: HashMap<u64, Parcel>,
    order: VecDeque<u64>,
    bytes: usize,
}

fn weight(parcel: &Parcel) -> usize {
    parcel.head.len().saturating_add(parcel.body.len()).saturating_add(OVERHEAD)
}

impl Warm {
    /// A copy to keep, if it is small enough. The bytes are copied: those of a message on its way in hold a share of the
    /// memory for all such messages, which is to be free again when the sender has its answer.
    #[must_use]
    pub fn copy(parcel: &Parcel) -> Option<Parcel> {
        (weight(parcel) <= LARGEST).then(|| Parcel {
            meta: parcel.meta.clone(),
            head: Bytes::copy_from_slice(&parcel.head),
            body: Bytes::copy_from_slice(&parcel.body),
        })
    }

    pub fn put(&mut self, key: u64, parcel: Parcel) {
        self.bytes = self.bytes.saturating_add(weight(&parcel));
        self.order.push_back(key);
        self.parcels.insert(key, parcel);
        while self.bytes > MOST_BYTES {
            let Some(oldest) = self.order.pop_front() else { break };
            drop(self.take(oldest));
        }
        // Keys whose message was taken meanwhile stay in the order for a while; not for ever.
        if self.order.len() > self.parcels.len().saturating_mul(2).saturating_add(64) {
            self.order.retain(|key| self.parcels.contains_key(key));
        }
    }

    #[must_use]
    pub fn get(&self, key: u64) -> Option<&Parcel> {
        self.parcels.get(&key)
    }

    /// Hands the message over; it is asked for once.
    pub fn take(&mut self, key: u64) -> Option<Parcel> {
        let parcel = self.parcels.remove(&key)?;
        self.bytes = self.bytes.saturating_sub(weight(&parcel));
        Some(parcel)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spool::tests::parcel;

    #[test]
    fn it_never_holds_more_than_its_share() {
        let mut warm = Warm::default();
        for key in 0..1500 {
            warm.put(key, Warm::copy(&parcel(key, 1, 10_000)).unwrap());
            assert!(warm.bytes <= MOST_BYTES && warm.order.len() <= 2 * warm.parcels.len() + 64);
        }
        assert!(warm.get(0).is_none() && warm.get(1499).is_some(), "the oldest goes first");
        for key in 0..1500 {
            drop(warm.take(key));
        }
        assert_eq!((warm.bytes, warm.parcels.len()), (0, 0));
        for key in 0..2000 {
            warm.put(key, Warm::copy(&parcel(key, 1, 10)).unwrap());
            drop(warm.take(key));
        }
        assert!(warm.order.len() <= 65, "{}", warm.order.len());
        assert!(Warm::copy(&parcel(1, 1, LARGEST)).is_none());
    }
}
