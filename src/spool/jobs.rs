//! From the index to the jobs that others see: descriptions and states are read from the log when they are asked for.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::frame::State;
use super::index::{Entry, Index};
use super::segment::{Part, Record, Segment};
use super::{Attempt, Fate, Job, JobKey, Pending, SpoolError};
use crate::mail::ParcelMeta;

fn lock(index: &Mutex<Index>) -> MutexGuard<'_, Index> {
    index.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Reads a message of the queue. It may move while it is read: then the new place is tried.
pub fn load(index: &Mutex<Index>, key: u64, part: Part) -> Result<Option<(Entry, Record)>, SpoolError> {
    loop {
        let (entry, segment) = {
            let index = lock(index);
            let Some(entry) = index.get(key) else { return Ok(None) };
            (entry, index.segments.get(&entry.place.segment).map(|used| Arc::clone(&used.segment)))
        };
        let segment: Arc<Segment> = segment.ok_or_else(|| SpoolError::Damaged("its segment is missing".to_owned()))?;
        let read = segment.read(key, entry.place, part);
        match read {
            Err(_) if lock(index).get(key).is_none_or(|now| now.place != entry.place) => {}
            read => return read.map(|record| Some((entry, record))),
        }
    }
}

/// The latest state that the log has of a message.
pub fn load_state(index: &Mutex<Index>, key: u64, entry: &Entry, own: &State) -> State {
    let Some(place) = entry.state else { return own.clone() };
    let segment = lock(index).segments.get(&place.segment).map(|used| Arc::clone(&used.segment));
    let record = segment.and_then(|segment| segment.read(key, place, Part::Text).ok());
    record.map_or_else(|| own.clone(), |record| record.state)
}

pub fn meta(record: &Record) -> Result<ParcelMeta, SpoolError> {
    serde_json::from_slice(&record.meta).map_err(|error| SpoolError::Damaged(error.to_string()))
}

/// The job of a message that was not tried yet, from its description.
#[must_use]
pub fn untried(key: u64, entry: &Entry, meta: ParcelMeta, size_bytes: u64) -> Job {
    let pending = meta.recipients.iter().enumerate();
    let pending =
        pending.map(|(recipient, r)| Pending { recipient, mailbox: r.mailbox.clone(), last: String::new() }).collect();
    let (next_attempt, held) = (entry.due, entry.held);
    Job { key: JobKey(key), pending, meta, size_bytes, tries: 0, next_attempt, held, warned: false }
}

pub fn load_job(index: &Mutex<Index>, key: u64) -> Result<Option<Job>, SpoolError> {
    let Some((entry, record)) = load(index, key, Part::Text)? else { return Ok(None) };
    let (meta, state) = (meta(&record)?, load_state(index, key, &entry, &record.state));
    let pending = match state.pending {
        Some(pending) => pending,
        None => (0..meta.recipients.len()).map(|n| (n, String::new())).collect(),
    };
    let pending = pending.into_iter().filter_map(|(recipient, last)| {
        let mailbox = meta.recipients.get(recipient)?.mailbox.clone();
        Some(Pending { recipient, mailbox, last })
    });
    Ok(Some(Job {
        key: JobKey(key),
        pending: pending.collect(),
        meta,
        size_bytes: record.header.bytes_len(),
        tries: state.tries,
        next_attempt: entry.due,
        held: entry.held,
        warned: state.warned,
    }))
}

/// The state behind an attempt; `None` when nothing is left to do.
pub fn after(index: &Mutex<Index>, key: JobKey, entry: &Entry, attempt: Attempt) -> Result<Option<State>, SpoolError> {
    let settled = |fates: &[(usize, Fate)]| fates.iter().all(|(_, fate)| !matches!(fate, Fate::Later(_)));
    // The usual case needs no look at the disk: every recipient is served at once.
    if entry.state.is_none() && settled(&attempt.fates) {
        let mut served: Vec<usize> = attempt.fates.iter().map(|(recipient, _)| *recipient).collect();
        served.sort_unstable();
        served.dedup();
        if served.len() >= entry.left as usize {
            return Ok(None);
        }
    }
    let job = load_job(index, key.0)?.ok_or_else(|| SpoolError::Unknown(key.0.to_string()))?;
    let mut pending: Vec<(usize, String)> = job.pending.into_iter().map(|p| (p.recipient, p.last)).collect();
    for (recipient, fate) in attempt.fates {
        match fate {
            Fate::Done | Fate::Failed(_) => pending.retain(|(n, _)| *n != recipient),
            Fate::Later(why) => {
                pending.iter_mut().filter(|(n, _)| *n == recipient).for_each(|(_, last)| last.clone_from(&why))
            }
        }
    }
    if pending.is_empty() {
        return Ok(None);
    }
    Ok(Some(State {
        due: attempt.next_attempt,
        since: entry.since,
        left: u32::try_from(pending.len()).unwrap_or(u32::MAX),
        tries: job.tries.saturating_add(1),
        held: entry.held,
        warned: job.warned || attempt.warned,
        pending: Some(pending),
    }))
}
