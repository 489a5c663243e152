//! The writing end of the log: batches into segments, one sync a batch, failed segments retired.
//!
//! Invariants. A durable item is answered `Ok` only after a sync that covers it. The index changes only after the write.
//! A segment whose write or sync failed takes nothing more; what it was given since its last good sync is declared void
//! in the next segment's header, and changes that were already told to callers are written again there. Everything
//! runs on one thread, so the log's order is the order of events.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::fault::{Fault, Faults};
use super::frame::{ALIGN, FIRST, HEADER, Kind, MOST_VOIDS, SegmentHeader};
use super::index::{Entry, Index, Used};
use super::item::Item;
use super::nursery::{Nursery, Spare};
use super::segment::{Place, Segment};
use super::{JobKey, SpoolError};
use crate::env::Dice;
use crate::env::disk::{Disk, Room, is_full};

/// So many segments in a row may fail before the spool takes no more mail until a restart.
const MOST_FAILURES: u32 = 8;

/// The log. Owned by the committer.
#[derive(Debug)]
pub struct Log {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) index: Arc<Mutex<Index>>,
    pub(super) nursery: Arc<Nursery>,
    pub(super) dice: Dice,
    pub(super) damaged: PathBuf,
    /// Damaged records so far.
    pub(super) damages: u64,
    /// Segments in the log's order, the active one last.
    pub(super) ring: VecDeque<Arc<Segment>>,
    pub(super) active: Option<Active>,
    pub(super) next_sequence: u64,
    pub(super) next_key: u64,
    pub(super) previous: (u64, u64),
    pub(super) voids: Vec<(u64, u64)>,
    /// Told to callers, to be written again: their segment failed.
    pub(super) carry: Vec<Item>,
    pub(super) failures: u32,
    pub(super) moving: VecDeque<u64>,
    pub(super) faults: Faults,
}

/// The segment that is being filled.
#[derive(Debug)]
pub struct Active {
    pub(super) segment: Arc<Segment>,
    /// Written together with the first frames.
    opening: Option<SegmentHeader>,
    end: u64,
    synced: u64,
    /// Answered but not synced; written again elsewhere should the sync fail.
    unsynced: Vec<Item>,
}

impl Active {
    const fn is_dirty(&self) -> bool {
        self.synced < self.end && self.opening.is_none()
    }
}

impl Log {
    pub(super) fn index(&self) -> MutexGuard<'_, Index> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the spool has given up on its disk; only a restart helps.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        self.failures >= MOST_FAILURES || self.voids.len() >= MOST_VOIDS
    }

    /// Writes all items in order, syncs once if any of them asks for it, and answers each in its place.
    pub fn commit(&mut self, mut items: Vec<Item>) -> Vec<Result<JobKey, SpoolError>> {
        if self.faults.has(Fault::AnswerBeforeSync) {
            let _ = self.really_sync();
        }
        let carried = self.carry.len();
        if carried > 0 {
            let mut all = std::mem::take(&mut self.carry);
            all.append(&mut items);
            items = all;
        }
        for item in &mut items {
            if item.key.is_none() {
                item.key = Some(JobKey(self.next_key));
                self.next_key += 1;
            }
        }
        let mut results = Vec::with_capacity(items.len());
        let mut rest = items.as_slice();
        while let Some(first) = rest.first() {
            match self.room_for(first) {
                Ok(room) => {
                    // At least the first fits: room was made for it.
                    let count = fitting(rest, room, self.reserve()).max(1);
                    let (run, later) = rest.split_at(count);
                    self.write_run(run, &mut results);
                    rest = later;
                }
                Err(error) => {
                    results.push(self.unwritten(first, &error));
                    rest = rest.get(1..).unwrap_or(&[]);
                }
            }
        }
        results.drain(..carried);
        results
    }

    /// Whether a segment is being filled: its header, with what is void, is written.
    #[cfg(test)]
    pub fn has_begun(&self) -> bool {
        self.active.as_ref().is_some_and(|active| active.opening.is_none())
    }

    /// Syncs what was answered without one.
    pub fn sync(&mut self) {
        if self.active.as_ref().is_some_and(Active::is_dirty) {
            let _ = self.sync_active();
        }
    }

    #[must_use]
    pub fn is_dirty(&self) -> bool {
        !self.carry.is_empty() || self.active.as_ref().is_some_and(Active::is_dirty)
    }

    /// The end of each segment is kept for changes: they must find room when mail does not.
    fn reserve(&self) -> u64 {
        self.nursery.size / 64
    }

    /// Octets left in the active segment, enough for this item; starts another segment when they are not.
    fn room_for(&mut self, item: &Item) -> Result<u64, SpoolError> {
        if self.is_broken() {
            return Err(SpoolError::Disk(std::io::Error::other("syncs failed repeatedly; restart the gateway")));
        }
        let need = item.span().saturating_add(if item.kind == Kind::Accepted { self.reserve() } else { 0 });
        let room = |active: &Active| active.segment.size.saturating_sub(active.end);
        if let Some(room) = self.active.as_ref().map(room).filter(|room| *room >= need) {
            return Ok(room);
        }
        self.start_segment(need.saturating_add(FIRST), item.kind)?;
        Ok(self.active.as_ref().map_or(0, room))
    }

    fn start_segment(&mut self, need: u64, kind: Kind) -> Result<(), SpoolError> {
        let spare = match self.find_spare(need, kind) {
            Err(SpoolError::Full) if self.empty_own() => self.find_spare(need, kind)?,
            found => found?,
        };
        // The old one is left only in order: all of it synced, or void.
        if let Err(error) = self.seal() {
            let _ = self.nursery.keep(spare);
            return Err(SpoolError::Disk(error));
        }
        let nonce = self.fresh_nonce();
        let opening = SegmentHeader {
            sequence: self.next_sequence,
            nonce,
            next_key: self.next_key,
            previous: self.previous,
            voids: self.voids.clone(),
        };
        let Spare { id, size, file } = spare;
        let segment = Arc::new(Segment { id, nonce, size, file });
        self.next_sequence += 1;
        self.index().segments.insert(id, Used { segment: Arc::clone(&segment), live: 0, suspect: false });
        self.ring.push_back(Arc::clone(&segment));
        self.active = Some(Active { segment, opening: Some(opening), end: FIRST, synced: FIRST, unsynced: Vec::new() });
        Ok(())
    }

    fn fresh_nonce(&self) -> u64 {
        let mut nonce = [0_u8; 8];
        self.dice.fill(&mut nonce);
        if self.faults.has(Fault::NonceKept) { 1 } else { u64::from_le_bytes(nonce) }
    }

    /// New mail never takes the last spare: it is what moving and deleting need on a full disk.
    fn find_spare(&self, need: u64, kind: Kind) -> Result<Spare, SpoolError> {
        let size = self.nursery.size;
        if need > size {
            return self.nursery.make(need.next_multiple_of(ALIGN), Room::Reserved).map_err(|e| trouble(&e));
        }
        let leave = usize::from(kind == Kind::Accepted && self.index().counts().total > 0);
        if let Some(spare) = self.nursery.take(leave) {
            return Ok(spare);
        }
        // Mail waits for this one.
        self.nursery.make(size, Room::Reserved).map_err(|e| trouble(&e))
    }

    /// When others have filled the disk: leaves the active segment, if nobody needs anything in it, and frees it and all
    /// before it. Whether there is a spare then.
    fn empty_own(&mut self) -> bool {
        let idle = self.active.as_ref().is_some_and(|active| self.live_in(active.segment.id) == 0);
        if !idle || !self.carry.is_empty() || self.seal().is_err() {
            return false;
        }
        while let Some(head) = self.idle_head() {
            if !self.free(&head) {
                break;
            }
        }
        self.nursery.count() > 0
    }

    /// Leaves the active segment, if there is one.
    pub(super) fn seal(&mut self) -> std::io::Result<()> {
        if self.active.as_ref().is_some_and(Active::is_dirty) && !self.faults.has(Fault::SealNotSynced) {
            self.sync_active()?;
        }
        if let Some(active) = self.active.take() {
            self.previous = (active.segment.nonce, active.end);
        }
        Ok(())
    }

    fn write_run(&mut self, run: &[Item], results: &mut Vec<Result<JobKey, SpoolError>>) {
        let durable = run.iter().any(|item| item.durable);
        let written = self.write(run).and_then(|places| {
            if durable {
                self.sync_active()?;
            }
            Ok(places)
        });
        match written {
            Ok(places) => {
                let mut index = self.index();
                for (item, place) in run.iter().zip(places) {
                    apply(&mut index, item, place);
                }
                drop(index);
                if !durable && let Some(active) = self.active.as_mut() {
                    active.unsynced.extend(run.iter().map(Item::told));
                }
                results.extend(run.iter().map(|item| Ok(item.key.unwrap_or(JobKey(0)))));
            }
            Err(error) => {
                self.retire();
                let error = trouble(&error);
                for item in run {
                    results.push(self.unwritten(item, &error));
                }
            }
        }
    }

    /// The frames of a run, one behind the other, in one write.
    fn write(&mut self, run: &[Item]) -> std::io::Result<Vec<Place>> {
        const PADDING: [u8; ALIGN as usize] = [0; ALIGN as usize];
        let active = self.active.as_mut().ok_or(std::io::ErrorKind::NotFound)?;
        let (segment, mut at) = (&active.segment, active.end);
        let headers: Vec<_> =
            run.iter().map(|item| item.header(segment.nonce, item.key.unwrap_or(JobKey(0)).0, active.synced)).collect();
        let encoded: Vec<[u8; HEADER]> = headers.iter().map(|header| header.encode()).collect();
        let opening = active.opening.as_ref().map(SegmentHeader::encode);
        let mut parts = Vec::with_capacity(2 + 5 * run.len());
        let mut from = at;
        if let Some(opening) = &opening {
            parts.extend([IoSlice::new(opening), IoSlice::new(opening)]);
            from = 0;
        }
        let mut places = Vec::with_capacity(run.len());
        for ((item, header), encoded) in run.iter().zip(&headers).zip(&encoded) {
            places.push(Place::new(segment.id, at, header.span()));
            parts.push(IoSlice::new(encoded));
            parts.extend(item.payload().into_iter().filter(|piece| !piece.is_empty()).map(IoSlice::new));
            let padding = usize::try_from(header.span() - header.frame_len()).unwrap_or(0);
            parts.extend(PADDING.get(..padding).filter(|p| !p.is_empty()).map(IoSlice::new));
            at += header.span();
        }
        segment.file.write_at(from, &mut parts)?;
        (active.end, active.opening) = (at, None);
        Ok(places)
    }

    fn sync_active(&mut self) -> std::io::Result<()> {
        if self.faults.has(Fault::SyncLeftOut) || self.faults.has(Fault::AnswerBeforeSync) {
            return Ok(());
        }
        self.really_sync()
    }

    fn really_sync(&mut self) -> std::io::Result<()> {
        let Some(active) = self.active.as_mut() else { return Ok(()) };
        let mut done = active.segment.file.sync_data();
        if self.faults.has(Fault::FailedSyncIgnored) {
            done = Ok(());
        }
        match done {
            Ok(()) => {
                active.synced = active.end;
                active.unsynced.clear();
                self.failures = 0;
            }
            Err(_) => self.retire(),
        }
        done
    }

    /// Never trusts the active segment again beyond its last good sync.
    fn retire(&mut self) {
        let Some(active) = self.active.take() else { return };
        self.failures += 1;
        tracing::error!(
            segment = active.segment.id,
            failures = self.failures,
            "the disk failed; the segment is closed"
        );
        if !self.faults.has(Fault::CarryForgotten) {
            self.carry.extend(active.unsynced);
        }
        self.previous = (active.segment.nonce, active.synced);
        if self.faults.has(Fault::FailedSegmentTrusted) {
            return;
        }
        self.voids.push((active.segment.nonce, active.synced));
        if let Some(used) = self.index().segments.get_mut(&active.segment.id) {
            used.suspect = true;
        }
    }

    /// An item that could not be written: mail and commands are the caller's again, changes are kept for the next try.
    fn unwritten(&mut self, item: &Item, error: &SpoolError) -> Result<JobKey, SpoolError> {
        if item.durable {
            return Err(error.again());
        }
        let key = item.key.unwrap_or(JobKey(0));
        if !item.applied {
            let mut index = self.index();
            match item.kind {
                Kind::Done | Kind::Removed => drop(index.remove(key.0)),
                _ => index.set_state(key.0, None, &item.state),
            }
        }
        self.carry.push(item.told());
        Ok(key)
    }
}

/// How many of the first items fit into `room` octets, mail leaving `reserve` of it free.
fn fitting(items: &[Item], mut room: u64, reserve: u64) -> usize {
    let mut count = 0;
    for item in items {
        let kept = if item.kind == Kind::Accepted { reserve } else { 0 };
        if item.span().saturating_add(kept) > room {
            break;
        }
        room -= item.span();
        count += 1;
    }
    count
}

/// What a written record means for the queue.
fn apply(index: &mut Index, item: &Item, place: Place) {
    let Some(JobKey(key)) = item.key else { return };
    match item.kind {
        Kind::Accepted => index.insert(key, Entry::new(place, &item.state, item.hand, item.mark)),
        Kind::Copied if index.get(key).is_some() => {
            index.insert(key, Entry::new(place, &item.state, item.hand, item.mark))
        }
        Kind::Copied => {}
        Kind::Attempt if item.applied => index.set_state_place(key, place),
        Kind::Attempt => index.set_state(key, Some(place), &item.state),
        Kind::Hold => index.set_held(key, item.state.held),
        Kind::Done | Kind::Removed => drop(index.remove(key)),
    }
}

fn trouble(error: &std::io::Error) -> SpoolError {
    if is_full(error) { SpoolError::Full } else { SpoolError::Disk(copy_of(error)) }
}

/// The same error for another caller.
pub(super) fn copy_of(error: &std::io::Error) -> std::io::Error {
    error
        .raw_os_error()
        .map_or_else(|| std::io::Error::new(error.kind(), error.to_string()), std::io::Error::from_raw_os_error)
}
