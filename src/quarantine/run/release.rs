//! Letting a message go: one officer at a time, and only once.

use super::{Change, Shelf, ShelfError, blocking};
use crate::mail::Parcel;
use crate::quarantine::Held;
use crate::quarantine::file::{Deed, Entry, HeldKey, What};
use crate::quarantine::shelf::{self, Order};

/// A release under way. Dropped without [`Self::done`], nothing has happened.
#[derive(Debug)]
pub struct Releasing {
    shelf: Shelf,
    key: HeldKey,
    deed: Deed,
    pub entry: Entry,
    /// To be delivered: the octets as held, with the trace before them.
    pub parcel: Parcel,
}

impl Shelf {
    /// Begins a release: take `parcel` to the spool, then call [`Releasing::done`]. Two officers cannot release the
    /// same message, not even at the same moment.
    pub async fn release(&self, key: HeldKey, order: &Order) -> Result<Releasing, ShelfError> {
        if !self.releasing().insert(key) {
            return Err(ShelfError::Busy);
        }
        let now = self.0.clock.now();
        let what = if order.to.is_empty() { What::Released } else { What::Forwarded };
        let deed = Deed {
            what,
            by: order.by.clone(),
            reason: order.reason.clone(),
            at: now,
            to: order.to.iter().map(|recipient| recipient.mailbox.to_string()).collect(),
            forced: order.forced,
            member: key.member,
            ..Deed::default()
        };
        let found = match self.show(key).await {
            // Found by its own id in another's file: that is its name.
            Ok((entry, _)) if entry.key != key => Err(ShelfError::Elsewhere(entry.key)),
            Ok((entry, keep)) => {
                shelf::may_release(&entry, order).map_err(ShelfError::Released).map(|()| (entry, keep.parcel))
            }
            Err(error) => Err(error),
        };
        match found {
            Ok((entry, parcel)) => {
                let parcel = shelf::released_parcel(parcel, &key.to_string(), order, now);
                Ok(Releasing { shelf: self.clone(), key, deed, entry, parcel })
            }
            Err(error) => {
                self.releasing().remove(&key);
                Err(error)
            }
        }
    }

    /// Writes down that the whole message was shown to somebody, and why (DOMAIN R38).
    pub async fn shown(&self, key: HeldKey, by: &str, reason: &str) -> Result<(), ShelfError> {
        let deed = Deed {
            what: What::Shown,
            by: by.to_owned(),
            reason: reason.to_owned(),
            at: self.0.clock.now(),
            ..Deed::default()
        };
        self.mark(key, deed).await.map(drop)
    }

    /// Writes down what a later look at a message found: from now on that is among the reasons for holding it.
    pub async fn found(&self, entry: &Entry, codes: Vec<String>, by: &str, reason: &str) -> Result<(), ShelfError> {
        let deed = Deed {
            what: What::Found,
            by: by.to_owned(),
            reason: reason.to_owned(),
            at: self.0.clock.now(),
            codes,
            ..Deed::default()
        };
        let stored = self.mark(entry.key, deed).await?;
        let (before, now) = (entry.held.kind, stored.kind);
        if before != now {
            self.0.metrics.went(before, stored.size_bytes);
            self.0.metrics.came(now, stored.size_bytes);
        }
        Ok(())
    }

    /// Counts an order that was not carried out: `stopped` by the second look, or `failed`.
    pub fn not_released(&self, outcome: &'static str) {
        self.0.metrics.release(outcome);
    }

    async fn mark(&self, key: HeldKey, deed: Deed) -> Result<Held, ShelfError> {
        let store = self.0.store.clone();
        let stored = blocking(move || store.mark(key, &deed)).await?;
        let held = stored.entry.held.clone();
        self.tell(Change::Put(Box::new(stored)));
        Ok(held)
    }
}

impl Releasing {
    /// The parcel is safe elsewhere: the release is recorded, with who and why, and synced.
    pub async fn done(self) -> Result<(), ShelfError> {
        let outcome = if self.deed.forced { "forced" } else { "released" };
        self.shelf.mark(self.key, self.deed.clone()).await?;
        self.shelf.0.metrics.release(outcome);
        Ok(())
    }
}

impl Drop for Releasing {
    fn drop(&mut self) {
        self.shelf.releasing().remove(&self.key);
    }
}
