//! The emergency bypass (DOMAIN R48): mail must flow with no expert on the site. While it is on, mail is relayed and the
//! virus engines are asked; content rules and points are left aside. It ends by itself.
//!
//! Its state stands in a file of the data folder, synced before it counts, so a restart neither forgets it nor makes it
//! longer; a file that cannot be read means that it is off.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use serde::{Deserialize, Serialize};

use crate::env::disk::{self, Disk, Open, read_exact_at};
use crate::mail::{Span, Timestamp};

/// For longer than this nobody is in an emergency.
pub const LONGEST: Span = Span::hours(24);
const MOST: u64 = 16 << 10;

/// Who switched it on, why, and until when.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Order {
    pub by: String,
    pub reason: String,
    pub since: Timestamp,
    pub until: Timestamp,
}

impl Order {
    /// For the receipt of each message.
    #[must_use]
    pub fn note(&self) -> String {
        format!("switched on by {} until {}: {}", self.by, self.until, self.reason)
    }
}

/// The switch. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Bypass(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    order: ArcSwapOption<Order>,
    disk: Arc<dyn Disk>,
    path: PathBuf,
}

impl Bypass {
    /// As the file in `data` says.
    #[must_use]
    pub fn open(disk: Arc<dyn Disk>, data: &Path) -> Self {
        let path = data.join("bypass.json");
        let order = match read(disk.as_ref(), &path) {
            Ok(order) => order,
            Err(error) => {
                tracing::error!(path = %path.display(), %error, "the emergency bypass is off: its file cannot be read");
                None
            }
        };
        Self(Arc::new(Inner { order: ArcSwapOption::from_pointee(order), disk, path }))
    }

    /// The order in force.
    #[must_use]
    pub fn active(&self, now: Timestamp) -> Option<Arc<Order>> {
        // A clock that was set back does not make it longer than it was meant to be.
        self.0.order.load_full().filter(|order| now < order.until && order.until.since(now) <= LONGEST)
    }

    /// In force when this returns, and after a restart.
    pub fn on(&self, order: Order) -> io::Result<()> {
        let text = serde_json::to_vec(&order).map_err(io::Error::other)?;
        disk::replace(self.0.disk.as_ref(), &self.0.path, &text)?;
        self.0.order.store(Some(Arc::new(order)));
        Ok(())
    }

    /// What was in force, if anything was.
    pub fn off(&self) -> io::Result<Option<Arc<Order>>> {
        let order = self.0.order.swap(None);
        match self.0.disk.remove(&self.0.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        self.0.disk.sync_folder(self.0.path.parent().unwrap_or(Path::new("/")))?;
        Ok(order)
    }

    /// Ends what is over; the order that ended.
    pub fn expire(&self, now: Timestamp) -> Option<Arc<Order>> {
        let order = self.0.order.load_full()?;
        if self.active(now).is_some() {
            return None;
        }
        if let Err(error) = self.off() {
            tracing::warn!(%error, "the file of the emergency bypass could not be removed; it is over all the same");
        }
        Some(order)
    }
}

fn read(disk: &dyn Disk, path: &Path) -> io::Result<Option<Order>> {
    let file = match disk.open(path, Open::Read) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    let mut text = vec![0; usize::try_from(file.size()?.min(MOST)).unwrap_or(0)];
    read_exact_at(file.as_ref(), 0, &mut text)?;
    serde_json::from_slice(&text).map(Some).map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::Dice;
    use crate::env::disk::Simulated;

    const NOW: Timestamp = Timestamp::from_seconds(1_795_302_082);

    fn order() -> Order {
        Order { by: "lan".into(), reason: "quy tắc hỏng".into(), since: NOW, until: NOW + Span::hours(2) }
    }

    #[test]
    fn r48_it_ends_by_itself_and_a_restart_neither_forgets_it_nor_makes_it_longer() {
        let disk = Simulated::new(1);
        disk.create_folder(Path::new("/d")).unwrap();
        let open = |disk: &Simulated| Bypass::open(Arc::new(disk.clone()), Path::new("/d"));
        let bypass = open(&disk);
        assert!(bypass.active(NOW).is_none());
        bypass.on(order()).unwrap();
        let after = open(&disk.after_power_cut(&Dice::seeded(1)));
        assert_eq!(after.active(NOW + Span::minutes(119)).as_deref(), Some(&order()));
        assert!(after.active(NOW + Span::hours(2)).is_none(), "over to the second");
        assert!(after.active(NOW - Span::days(400)).is_none(), "a clock set back does not make it longer");
        assert!(after.expire(NOW + Span::hours(1)).is_none());
        assert_eq!(after.expire(NOW + Span::hours(2)).as_deref(), Some(&order()), "told once");
        assert!(after.expire(NOW + Span::hours(2)).is_none());
        bypass.off().unwrap();
        assert!(open(&disk.after_power_cut(&Dice::seeded(2))).active(NOW).is_none());
    }
}
