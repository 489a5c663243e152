//! What callers were told, and whether the log keeps to it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::super::super::jobs::{load, load_state, meta};
use super::super::super::log::Log;
use super::super::super::segment::Part;
use super::super::super::{JobKey, Recovery};
use crate::mail::Parcel;

/// What the outside was told about a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Told {
    /// 250: it must be there.
    Kept,
    /// Nothing yet: it may be there, whole.
    Nothing,
    /// 451: until the log has said so too, it may be there, whole.
    Refused,
    /// Delivered; until the record is synced it may be lost with the power, then the message comes once more.
    Done,
    /// It must be gone: removed by the operator, delivered and synced, or refused.
    Gone,
    /// Removal asked for, not confirmed.
    Going,
}

#[derive(Clone, Debug)]
pub struct Note {
    pub told: Told,
    pub key: Option<JobKey>,
    /// The operator's hold; `None` while a change is not confirmed.
    pub held: Option<bool>,
    /// The message as it was sent.
    pub sent: Arc<Parcel>,
    /// Recipients that nobody said were served.
    pub pending: BTreeSet<usize>,
}

/// What the disk has done so far; what damage is rightly reported after it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Past {
    /// Nothing: none.
    Sound,
    /// It failed: a segment that began then may have a beginning that nobody can read.
    Troubled,
}

pub type Ledger = BTreeMap<u64, Note>;

/// A message that the log has.
pub struct There {
    pub number: u64,
    pub key: JobKey,
    pub held: bool,
    pub pending: BTreeSet<usize>,
}

/// How many recipients message `number` has.
pub fn recipients(number: u64) -> usize {
    1 + usize::try_from(number % 3).unwrap()
}

/// Every message that the log has. An error is a broken promise.
pub fn contents(log: &Log, ledger: &Ledger) -> Result<Vec<There>, String> {
    let keys: Vec<u64> = log.index().keys(None).collect();
    // A log that was empty at a start gives its keys anew, so what is gone does not count.
    let there = ledger.iter().filter(|(_, note)| matches!(note.told, Told::Kept | Told::Going));
    let known: HashMap<u64, u64> = there.filter_map(|(number, note)| Some((note.key?.0, *number))).collect();
    keys.into_iter()
        .map(|key| {
            let found =
                load(&log.index, key, Part::Whole).map_err(|error| format!("listed but unreadable: {error}"))?;
            let (entry, record) = found.ok_or("gone while reading")?;
            let number = match known.get(&key) {
                Some(number) => *number,
                None => u64::try_from(meta(&record).map_err(|e| e.to_string())?.id.as_u128()).unwrap(),
            };
            let note = ledger.get(&number).ok_or(format!("message {number} was never sent"))?;
            if (&record.head, &record.body) != (&note.sent.head, &note.sent.body) {
                return Err(format!("message {number} is altered"));
            }
            let pending = match load_state(&log.index, key, &entry, &record.state).pending {
                Some(pending) => pending.into_iter().map(|(recipient, _)| recipient).collect(),
                None => (0..recipients(number)).collect(),
            };
            Ok(There { number, key: JobKey(key), held: entry.held, pending })
        })
        .collect()
}

/// Compares what is there with what was promised.
pub fn judge(log: &Log, report: &Recovery, ledger: &Ledger, past: Past) -> Result<(), String> {
    let expected = match past {
        Past::Sound => false,
        Past::Troubled => report.damaged.iter().all(|damage| damage.at == 0),
    };
    if report.damages > 0 && !expected {
        return Err(format!("damage reported where none was done: {:?}", report.damaged));
    }
    let found = contents(log, ledger)?;
    let by_number: BTreeMap<u64, &There> = found.iter().map(|there| (there.number, there)).collect();
    if by_number.len() != found.len() {
        return Err("a message is there twice".to_owned());
    }
    for (number, note) in ledger {
        match (note.told, by_number.get(number)) {
            (Told::Kept, None) => return Err(format!("message {number} was acknowledged and is lost")),
            (Told::Gone, Some(_)) => return Err(format!("message {number} must be gone and is back")),
            (Told::Kept, Some(there)) if note.held.is_some_and(|told| told != there.held) => {
                return Err(format!("the hold of message {number} is not as told"));
            }
            (Told::Kept, Some(there)) if !note.pending.is_subset(&there.pending) => {
                return Err(format!("a recipient of message {number} was not served and is lost"));
            }
            _ => {}
        }
    }
    Ok(())
}
