//! Old segments become new ones. They are freed strictly in the log's order: a `done` record therefore outlives the
//! message it closes, and no restart brings that message back. What keeps an old segment alive moves ahead when the log
//! has grown out of proportion to the mail in it.

use std::sync::Arc;

use super::SpoolError;
use super::fault::Fault;
use super::frame::State;
use super::index::Entry;
use super::item::Item;
use super::log::Log;
use super::nursery::Spare;
use super::segment::{Part, Record, Segment};

/// Octets that one step moves at most, so that waiting sessions are not kept long.
const STEP_BYTES: u64 = 1 << 20;
/// Messages that one step moves at most.
const STEP_MESSAGES: usize = 256;
/// The log may be this much larger than twice the mail in it, in segments.
const SLACK: u64 = 2;

impl Log {
    /// One bounded step of housekeeping. Returns whether there is more to do at once.
    pub fn tidy(&mut self) -> bool {
        if self.is_broken() {
            return false;
        }
        if let Some(head) = self.idle_head() {
            return self.free(&head);
        }
        if !self.carry.is_empty() && !self.faults.has(Fault::MovedBeforeCarry) {
            // Changes that only memory knows come first: a message that moves takes its state from the log.
            self.commit(Vec::new());
            if !self.carry.is_empty() {
                return false;
            }
        }
        if self.moving.is_empty() {
            let Some(from) = self.overdue_segment() else { return false };
            let keys = self.index().keys_in(from);
            self.moving = keys.into();
        }
        self.move_some()
    }

    /// The oldest segment, when nothing in it is needed any more.
    pub(super) fn idle_head(&self) -> Option<Arc<Segment>> {
        if self.faults.has(Fault::FreedOutOfOrder) {
            let idle = self.ring.iter().find(|segment| self.is_sealed(segment) && self.live_in(segment.id) == 0);
            return idle.cloned();
        }
        let head = self.ring.front()?;
        (self.is_sealed(head) && self.live_in(head.id) == 0).then(|| Arc::clone(head))
    }

    fn is_sealed(&self, segment: &Segment) -> bool {
        self.active.as_ref().is_none_or(|active| active.segment.id != segment.id)
    }

    pub(super) fn live_in(&self, id: u32) -> usize {
        self.index().segments.get(&id).map_or(0, |used| used.live)
    }

    /// Gives a segment's file back. It leaves the log only when that is on stable storage.
    pub(super) fn free(&mut self, head: &Arc<Segment>) -> bool {
        let suspect = self.index().segments.get(&head.id).is_some_and(|used| used.suspect);
        let gone = if suspect { self.nursery.discard(head.id) } else { head.blank(self.faults) };
        if let Err(error) = gone {
            tracing::error!(segment = head.id, %error, "a used segment could not be freed");
            // A file that cannot be blanked is not used again; removing it is tried at the next round.
            if let Some(used) = self.index().segments.get_mut(&head.id) {
                used.suspect = true;
            }
            return false;
        }
        self.ring.retain(|segment| segment.id != head.id);
        self.voids.retain(|(nonce, _)| *nonce != head.nonce);
        self.index().segments.remove(&head.id);
        let spare = Spare { id: head.id, size: head.size, file: Arc::clone(&head.file) };
        if !suspect
            && let Err(surplus) = self.nursery.keep(spare)
            && let Err(error) = self.nursery.discard(surplus.id)
        {
            // Blank already: the next start finds it as a spare.
            tracing::warn!(segment = surplus.id, %error, "a surplus segment could not be removed");
        }
        true
    }

    /// A segment whose mail should move: one whose disk failed, or the oldest when the log is mostly holes.
    fn overdue_segment(&self) -> Option<u32> {
        let index = self.index();
        let waits = |segment: &&Arc<Segment>| {
            self.is_sealed(segment) && index.segments.get(&segment.id).is_some_and(|used| used.suspect && used.live > 0)
        };
        if let Some(suspect) = self.ring.iter().find(waits) {
            return Some(suspect.id);
        }
        let allowed = SLACK.saturating_add(index.live_bytes().saturating_mul(2) / self.nursery.size.max(1));
        let head = self.ring.front().filter(|head| self.is_sealed(head))?;
        (self.ring.len() as u64 > allowed).then_some(head.id)
    }

    fn move_some(&mut self) -> bool {
        let (mut items, mut bytes) = (Vec::new(), 0_u64);
        while bytes < STEP_BYTES && items.len() < STEP_MESSAGES {
            let Some(key) = self.moving.pop_front() else { break };
            let found = self.index().get(key);
            let Some(entry) = found else { continue };
            match self.load(key, &entry, Part::Whole) {
                Ok(record) => {
                    let state = self.present_state(key, &entry, &record);
                    let mut item = Item::copied(key, &entry, &record.meta, state, record.head, record.body);
                    item.durable = !self.faults.has(Fault::ReusedTooEarly);
                    bytes = bytes.saturating_add(item.span());
                    items.push(item);
                }
                Err(SpoolError::Damaged(what)) => {
                    if !self.give_up(key, &entry, &what) {
                        self.moving.clear();
                        return false;
                    }
                }
                Err(error) => {
                    tracing::error!(key, %error, "a message could not be moved; it stays where it is");
                    self.moving.clear();
                    return false;
                }
            }
        }
        let wanted = items.len();
        if self.faults.has(Fault::FreedBeforeMoved)
            && self.moving.is_empty()
            && let Some(head) = self.ring.front()
        {
            let _ = head.blank(self.faults);
        }
        let done = self.commit(items).into_iter().filter(Result::is_ok).count();
        if done < wanted {
            // No room or no disk: what was not moved stays where it is, and is tried again after the next commit.
            self.moving.clear();
            return false;
        }
        true
    }

    pub(super) fn load(&self, key: u64, entry: &Entry, part: Part) -> Result<Record, SpoolError> {
        let segment = self.index().segments.get(&entry.place.segment).map(|used| Arc::clone(&used.segment));
        let segment = segment.ok_or_else(|| SpoolError::Damaged("its segment is missing".to_owned()))?;
        segment.read(key, entry.place, part)
    }

    /// The state to write beside a message that moves: from the log, with what memory knows better.
    fn present_state(&self, key: u64, entry: &Entry, record: &Record) -> State {
        if self.faults.has(Fault::StateLeftBehind) {
            return State { due: entry.due, since: entry.since, ..record.state.clone() };
        }
        let latest = entry.state.and_then(|place| self.load(key, &Entry { place, ..*entry }, Part::Text).ok());
        let state = latest.map_or_else(|| record.state.clone(), |record| record.state);
        State { due: entry.due, since: entry.since, left: entry.left, held: entry.held, ..state }
    }
}
