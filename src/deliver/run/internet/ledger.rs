//! The counts of TLS sessions on disk: one file a day in `tlsrpt/`, written about once a minute, read again after a
//! restart, kept for two weeks. A crash costs a minute of counts and nothing else.

use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::deliver::tlspolicy::tally::{Applied, Day, Failure};
use crate::env::disk::{Disk, Open, read_exact_at};
use crate::mail::{Span, Timestamp};

const EVERY: Span = Span::minutes(1);
/// RFC 8460 §5.2: a report is sent the day after; who looks later still finds two weeks.
const DAYS_KEPT: usize = 14;
/// A file larger than this is not ours.
const LARGEST: u64 = 64 << 20;

#[derive(Debug)]
pub(super) struct Ledger {
    disk: Arc<dyn Disk>,
    folder: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    days: Vec<Day>,
    dirty: bool,
    saved: Timestamp,
}

impl Ledger {
    pub fn open(disk: Arc<dyn Disk>, folder: &Path) -> Result<Self, String> {
        let wrong = |e: io::Error| format!("{}: {e}", folder.display());
        disk.create_folder(folder).map_err(wrong)?;
        Ok(Self { disk, folder: folder.to_owned(), state: Mutex::default() })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn note(&self, domain: &str, organization: &str, policy: &Applied, failure: Option<Failure>, now: Timestamp) {
        let date = date(now);
        let mut state = self.state();
        state.dirty = true;
        if let Some(day) = state.days.iter_mut().find(|day| day.date == date) {
            return day.note(domain, policy, failure);
        }
        // The first session of a day, or since the start: what was counted before a restart goes on.
        let known = read_day(self.disk.as_ref(), &self.folder, &date).unwrap_or_default();
        let mut day = known.unwrap_or_else(|| Day::new(&date, organization));
        day.note(domain, policy, failure);
        state.days.push(day);
    }

    pub async fn save(&self, now: Timestamp, all: bool) {
        let today = date(now);
        let days = {
            let mut state = self.state();
            if !state.dirty || !(all || state.saved + EVERY <= now) {
                return;
            }
            (state.dirty, state.saved) = (false, now);
            let days = state.days.clone();
            // Yesterday's is written once more and then only on disk.
            state.days.retain(|day| day.date >= today);
            days
        };
        let (disk, folder) = (Arc::clone(&self.disk), self.folder.clone());
        let written = tokio::task::spawn_blocking(move || -> io::Result<()> {
            for day in &days {
                write_day(disk.as_ref(), &folder, day)?;
            }
            let names = dates(disk.as_ref(), &folder)?;
            let old = names.len().saturating_sub(DAYS_KEPT);
            names.iter().take(old).try_for_each(|date| disk.remove(&folder.join(format!("{date}.json"))))
        });
        match written.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(%error, "the counts for TLS reports could not be written"),
            Err(error) => tracing::error!(%error, "writing the counts for TLS reports ended"),
        }
    }
}

fn date(now: Timestamp) -> String {
    now.rfc3339().chars().take(10).collect()
}

fn write_day(disk: &dyn Disk, folder: &Path, day: &Day) -> io::Result<()> {
    write_whole(disk, folder, &format!("{}.json", day.date), &serde_json::to_vec(day)?)
}

/// Puts a whole file in place of an older one, or leaves the older one.
pub(in crate::deliver::run) fn write_whole(
    disk: &dyn Disk,
    folder: &Path,
    name: &str,
    content: &[u8],
) -> io::Result<()> {
    let fresh = folder.join(format!("{name}.new"));
    match disk.remove(&fresh) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let file = disk.open(&fresh, Open::CreateNew)?;
    file.write_at(0, &mut [IoSlice::new(content)])?;
    file.sync_data()?;
    disk.rename(&fresh, &folder.join(name))?;
    disk.sync_folder(folder)
}

/// A whole file of at most `largest` octets; `None` when it is not there.
pub(in crate::deliver::run) fn read_whole(disk: &dyn Disk, path: &Path, largest: u64) -> io::Result<Option<Vec<u8>>> {
    let file = match disk.open(path, Open::Read) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let size = file.size()?;
    if size > largest {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the file is too large to be ours"));
    }
    let mut content = vec![0; usize::try_from(size).unwrap_or_default()];
    read_exact_at(file.as_ref(), 0, &mut content)?;
    Ok(Some(content))
}

/// The counts of one day (`2026-11-22`) in the folder `tlsrpt/`; `None` when nothing was counted.
pub fn read_day(disk: &dyn Disk, folder: &Path, date: &str) -> io::Result<Option<Day>> {
    let well_formed = date.len() == 10 && date.bytes().all(|b| b.is_ascii_digit() || b == b'-');
    if !well_formed {
        return Ok(None);
    }
    let content = read_whole(disk, &folder.join(format!("{date}.json")), LARGEST)?;
    content.map(|content| serde_json::from_slice(&content).map_err(io::Error::other)).transpose()
}

/// The days that are there, oldest first.
pub fn days(disk: &dyn Disk, folder: &Path) -> io::Result<Vec<String>> {
    dates(disk, folder)
}

fn dates(disk: &dyn Disk, folder: &Path) -> io::Result<Vec<String>> {
    let names = disk.list(folder)?;
    Ok(names.iter().filter_map(|name| name.strip_suffix(".json")).map(str::to_owned).collect())
}
