//! Letting go what was held long enough (DOMAIN R38), and the stock that is taken each hour while that is looked for.

use super::{BATCH, Change, Shelf, ShelfError, blocking};
use crate::mail::Timestamp;
use crate::quarantine::file::HeldKey;

impl Shelf {
    /// Deletes what has been held long enough, its keys first; returns which.
    pub async fn expire(&self, now: Timestamp) -> Result<Vec<HeldKey>, ShelfError> {
        let mut all = Vec::new();
        loop {
            let before = all.len();
            for key in self.expired(now).await? {
                match self.remove(key, "", "expired").await {
                    Ok(()) => all.push(key),
                    // The index was behind: the row goes, the file is gone already.
                    Err(ShelfError::Unknown(_)) => self.tell(Change::Gone(key)),
                    Err(error) => return Err(error),
                }
            }
            if all.len() == before {
                self.take_stock(now).await;
                return Ok(all);
            }
        }
    }

    /// Each hour: how old the oldest is, and what each agency has.
    async fn take_stock(&self, now: Timestamp) {
        let Some(index) = self.settled_index().await else { return };
        if let Ok(oldest) = index.oldest_time().await {
            self.0.metrics.oldest(oldest.map(|at| now.since(at)));
        }
        if let Ok(agencies) = index.by_agency().await {
            self.0.room.counted(agencies);
            self.measure();
        }
    }

    async fn expired(&self, now: Timestamp) -> Result<Vec<HeldKey>, ShelfError> {
        if let Some(index) = self.settled_index().await
            && let Ok(keys) = index.expired(now, BATCH).await
        {
            return Ok(keys);
        }
        let store = self.0.store.clone();
        blocking(move || {
            let mut keys = Vec::new();
            for folder in store.folders()? {
                for key in store.keys(&folder)? {
                    let stored = store.entries(key).unwrap_or_default();
                    let over = stored.into_iter().filter(|stored| stored.entry.held.expires_at <= now);
                    keys.extend(over.map(|stored| stored.entry.key));
                }
            }
            Ok(keys)
        })
        .await
    }
}
