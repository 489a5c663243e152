//! How much room held mail takes, and how much it may: in all, and for each agency, so that one cannot fill the place of
//! the others.
//!
//! What is about to be written is counted before it is written ([`Place`]), so many messages at once do not pass a limit
//! together. What agencies have is known once the index agrees with the files: from a start until then only what came
//! since counts for an agency, while the limit over all holds from the first message.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{BATCH, Shelf, ShelfError};
use crate::mail::AgencyId;
use crate::quarantine::Kind;
use crate::quarantine::settings::{Quarantine, WhenFull};

/// Octets on the disk, and those that are being written.
#[derive(Clone, Copy, Debug, Default)]
struct Amount {
    kept: u64,
    coming: u64,
}

impl Amount {
    const fn sum(self) -> u64 {
        self.kept.saturating_add(self.coming)
    }
    fn fits(self, size: u64, quota: u64) -> bool {
        quota == 0 || self.sum().saturating_add(size) <= quota
    }
}

/// What all files take. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Room(Arc<Mutex<Taken>>);

#[derive(Debug, Default)]
struct Taken {
    all: Amount,
    agencies: HashMap<AgencyId, Amount>,
}

/// Which limit was met, and what it is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Full {
    All(u64),
    Agency(AgencyId, u64),
}

impl From<Full> for ShelfError {
    fn from(full: Full) -> Self {
        match full {
            Full::All(quota) => Self::Full(quota),
            Full::Agency(agency, quota) => Self::AgencyFull(agency, quota),
        }
    }
}

impl Room {
    /// `kept`: octets of all files.
    pub fn new(kept: u64) -> Self {
        let all = Amount { kept, coming: 0 };
        Self(Arc::new(Mutex::new(Taken { all, agencies: HashMap::new() })))
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Room for `size` octets, or which limit they would pass.
    pub fn take(&self, agency: &AgencyId, size: u64, settings: &Quarantine) -> Result<Place, Full> {
        let (quota, own) = (settings.quota.as_u64(), settings.agency_quota.as_u64());
        let mut taken = self.taken();
        let of_agency = taken.agencies.get(agency).copied().unwrap_or_default();
        if !of_agency.fits(size, own) {
            return Err(Full::Agency(agency.clone(), own));
        }
        if !taken.all.fits(size, quota) {
            return Err(Full::All(quota));
        }
        taken.all.coming = taken.all.coming.saturating_add(size);
        let amount = taken.agencies.entry(agency.clone()).or_default();
        amount.coming = amount.coming.saturating_add(size);
        drop(taken);
        Ok(Place { room: self.clone(), agency: agency.clone(), size })
    }

    /// A file became shorter or went; `None`: whose it was could not be read.
    pub fn less(&self, agency: Option<&AgencyId>, bytes: u64) {
        let mut taken = self.taken();
        taken.all.kept = taken.all.kept.saturating_sub(bytes);
        if let Some(amount) = agency.and_then(|agency| taken.agencies.get_mut(agency)) {
            amount.kept = amount.kept.saturating_sub(bytes);
        }
    }

    /// What each agency has, counted anew.
    pub fn counted(&self, agencies: impl IntoIterator<Item = (AgencyId, u64)>) {
        let mut taken = self.taken();
        taken.agencies.values_mut().for_each(|amount| amount.kept = 0);
        for (agency, kept) in agencies {
            taken.agencies.entry(agency).or_default().kept = kept;
        }
    }

    /// Octets of all files, and of those of each agency.
    pub fn kept(&self) -> (u64, Vec<(AgencyId, u64)>) {
        let taken = self.taken();
        (taken.all.kept, taken.agencies.iter().map(|(agency, amount)| (agency.clone(), amount.kept)).collect())
    }
}

/// Room for one message that is being written; given back when it was not.
#[derive(Debug)]
pub(super) struct Place {
    room: Room,
    agency: AgencyId,
    size: u64,
}

impl Place {
    /// It is written: so many octets more stand on the disk.
    pub fn used(self, bytes: u64) {
        let mut taken = self.room.taken();
        taken.all.kept = taken.all.kept.saturating_add(bytes);
        let amount = taken.agencies.entry(self.agency.clone()).or_default();
        amount.kept = amount.kept.saturating_add(bytes);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.room.taken();
        taken.all.coming = taken.all.coming.saturating_sub(self.size);
        if let Some(amount) = taken.agencies.get_mut(&self.agency) {
            amount.coming = amount.coming.saturating_sub(self.size);
        }
    }
}

impl Shelf {
    /// Room for a message, or a refusal; before that the oldest spam may go, as `[quarantine] when_full` says: that of the
    /// agency whose share is used up, or anybody's when all of it is.
    pub(super) async fn make_room(
        &self,
        agency: &AgencyId,
        size: u64,
        settings: &Quarantine,
    ) -> Result<Place, ShelfError> {
        let room = &self.0.room;
        let full = match room.take(agency, size, settings) {
            Ok(place) => return Ok(place),
            Err(full) => full,
        };
        if settings.when_full == WhenFull::Oldest
            && let Some(index) = self.settled_index().await
        {
            let whose = if matches!(full, Full::Agency(..)) { Some(agency) } else { None };
            for key in index.oldest(Kind::Spam, whose, BATCH).await.unwrap_or_default() {
                tracing::warn!(%key, "the quarantine is full: the oldest spam makes room");
                match self.remove(key, "", "the quarantine was full").await {
                    Ok(()) => self.0.metrics.pushed_out(),
                    Err(ShelfError::Unknown(_)) => self.tell(super::Change::Gone(key)),
                    Err(error) => return Err(error),
                }
                match room.take(agency, size, settings) {
                    Ok(place) => return Ok(place),
                    // The other limit now: what more is thrown away would be for nothing.
                    Err(now) if now != full => return Err(self.turned_away(now)),
                    Err(_) => {}
                }
            }
        }
        Err(self.turned_away(full))
    }

    fn turned_away(&self, full: Full) -> ShelfError {
        self.0.metrics.turned_away();
        full.into()
    }

    /// Tells operators how much is held.
    pub(super) fn measure(&self) {
        let settings = self.0.settings.load();
        let (all, agencies) = self.0.room.kept();
        self.0.metrics.disk(all, &settings);
        agencies.iter().for_each(|(agency, bytes)| self.0.metrics.agency(agency, *bytes));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::ByteSize;

    fn settings() -> Quarantine {
        Quarantine { quota: ByteSize::kib(100), agency_quota: ByteSize::kib(40), ..Quarantine::default() }
    }

    #[test]
    fn many_at_once_do_not_pass_a_limit_together_and_what_fails_gives_its_place_back() {
        let (room, kib) = (Room::new(0), 1024);
        let [a, b, c]: [AgencyId; 3] = ["so-a", "so-b", "so-c"].map(|id| id.parse().unwrap());
        let first = room.take(&a, 30 * kib, &settings()).unwrap();
        assert_eq!(room.take(&a, 20 * kib, &settings()).unwrap_err(), Full::Agency(a.clone(), 40 * kib));
        let second = room.take(&b, 40 * kib, &settings()).unwrap();
        assert_eq!(room.take(&c, 31 * kib, &settings()).unwrap_err(), Full::All(100 * kib), "70 are coming");
        drop(second);
        first.used(31 * kib);
        let third = room.take(&c, 40 * kib, &settings()).unwrap();
        third.used(40 * kib);
        assert_eq!(room.kept().0, 71 * kib);
        room.less(Some(&a), 31 * kib);
        assert!(room.take(&a, 40 * kib, &settings()).is_ok());
        room.counted([(a.clone(), 39 * kib)]);
        assert!(room.take(&a, 2 * kib, &settings()).is_err(), "the index has counted");
    }

    #[test]
    fn without_a_limit_everything_fits() {
        let none = Quarantine { quota: ByteSize::kib(0), agency_quota: ByteSize::kib(0), ..Quarantine::default() };
        assert!(Room::new(u64::MAX).take(&"so-a".parse().unwrap(), u64::MAX, &none).is_ok());
    }
}
