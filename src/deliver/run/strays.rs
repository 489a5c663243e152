//! Mail that leaves without a sender: reports of the agencies' own servers, notes of absence, receipts of reading. It goes
//! to those who wrote and were vouched for; the rest is held (THREATS S-30: no backscatter, DOMAIN R36: nothing is lost).
//!
//! Who wrote is kept in `correspondents` in the data folder, written at most once a minute: a crash costs a minute of new
//! addresses, and reports to them are held.

use std::borrow::Cow;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::giveup::only;
use super::internet::ledger::{read_whole, write_whole};
use super::live::Live;
use super::{Deliver, Handover};
use crate::deliver::correspondents::Correspondents;
use crate::deliver::route::Policy;
use crate::env::disk::Disk;
use crate::mail::{Destination, Parcel, Reply, Span, Timestamp};

const FILE: &str = "correspondents";
const EVERY: Span = Span::minutes(1);
/// Two full generations take less.
const LARGEST: u64 = 16 << 20;
/// For the record and the quarantine.
const WHY: &str =
    "a report or robot's answer to somebody who has not written to the agencies, or whom nobody vouched for";

/// Who wrote, in memory and on disk.
pub struct Guests {
    disk: Arc<dyn Disk>,
    folder: PathBuf,
    state: Mutex<State>,
}

struct State {
    known: Correspondents,
    dirty: bool,
    saved: Timestamp,
}

impl std::fmt::Debug for Guests {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Guests")
    }
}

impl Guests {
    /// Reads what was kept; a file that cannot be read is told and begun anew.
    pub(super) fn open(disk: Arc<dyn Disk>, folder: &Path, now: Timestamp) -> Self {
        let read = read_whole(disk.as_ref(), &folder.join(FILE), LARGEST);
        let known = read.and_then(|content| {
            content.map(|content| postcard::from_bytes(&content).map_err(io::Error::other)).transpose()
        });
        let known = known.unwrap_or_else(|error| {
            tracing::error!(%error, "who wrote to the agencies cannot be read; reports on older mail are held");
            None
        });
        let known = known.unwrap_or_else(|| Correspondents::new(now));
        Self { disk, folder: folder.to_owned(), state: Mutex::new(State { known, dirty: false, saved: now }) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes them out, when it is time; with `all`, at once.
    pub(super) async fn save(&self, now: Timestamp, all: bool) {
        let known = {
            let mut state = self.state();
            if !state.dirty || !(all || state.saved + EVERY <= now || now < state.saved) {
                return;
            }
            (state.dirty, state.saved) = (false, now);
            state.known.clone()
        };
        let (disk, folder) = (Arc::clone(&self.disk), self.folder.clone());
        let written = tokio::task::spawn_blocking(move || -> io::Result<()> {
            let content = postcard::to_stdvec(&known).map_err(io::Error::other)?;
            write_whole(disk.as_ref(), &folder, FILE, &content)
        });
        if let Err(error) = written.await.unwrap_or_else(|error| Err(io::Error::other(error))) {
            tracing::error!(%error, "who wrote to the agencies could not be written down");
            self.state().dirty = true;
        }
    }
}

impl Deliver {
    /// Sends a judged message on: with `live` while its sender waits, else by the queue. What has no sender and goes to
    /// somebody who never wrote is held.
    pub async fn send(self: &Arc<Self>, parcel: &Parcel, live: Option<Live>, policy: &Arc<Policy>) -> Handover {
        self.note_guest(parcel, policy);
        let parcel = match self.without_strays(parcel, policy).await {
            Ok(Some(parcel)) => parcel,
            Ok(None) => return Handover::Held { why: WHY.to_owned() },
            Err(why) => {
                let reply = Reply::new(451, "4.3.0", "Temporary trouble here, please try again later");
                return Handover::Deferred { reply, why };
            }
        };
        match live {
            Some(live) => self.hand_over_live(&parcel, live, policy).await,
            None => match self.queue(&parcel).await {
                Ok(proof) => Handover::Spooled { proof, why: String::new() },
                Err(error) => Self::deferred(&error),
            },
        }
    }

    fn note_guest(&self, parcel: &Parcel, policy: &Policy) {
        let meta = &parcel.meta;
        let inward = matches!(meta.destination, Destination::Agency(_)) && meta.sender_authenticated;
        let keep = policy.settings.correspondents;
        if let (Some(sender), true, false) = (meta.sender.mailbox(), inward, keep.is_zero()) {
            let mut state = self.parts.internet.guests.state();
            state.dirty |= state.known.note(sender, keep, self.parts.clock.now());
        }
    }

    /// The message for those whom it may reach; `None` for nobody. The others' copy is on the shelf then.
    async fn without_strays<'a>(&self, parcel: &'a Parcel, policy: &Policy) -> Result<Option<Cow<'a, Parcel>>, String> {
        let meta = &parcel.meta;
        let outward = matches!(meta.destination, Destination::Outward(_));
        if !(outward && meta.sender.is_null()) || policy.settings.correspondents.is_zero() {
            return Ok(Some(Cow::Borrowed(parcel)));
        }
        let (known, strays): (Vec<usize>, Vec<usize>) = {
            let state = self.parts.internet.guests.state();
            let is_known = |i: &usize| meta.recipients.get(*i).is_some_and(|r| state.known.know(&r.mailbox));
            (0..meta.recipients.len()).partition(is_known)
        };
        if strays.is_empty() {
            return Ok(Some(Cow::Borrowed(parcel)));
        }
        self.parts.undeliverable.hold(&only(parcel, &strays), WHY).await?;
        self.parts.metrics.report("stray");
        tracing::info!(id = %meta.id, of = meta.recipients.len(), held = strays.len(), "a report to strangers is held");
        Ok((!known.is_empty()).then(|| Cow::Owned(only(parcel, &known))))
    }
}
