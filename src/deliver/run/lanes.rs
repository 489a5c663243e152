//! Lanes: whose turn it is. What shares a destination shares a lane, and a lane has room for few messages at a time.
//!
//! A lane opens slowly: one message, and one more with each success; trouble of the host narrows it to one (THREATS
//! no herd on return). Who finds no room is parked; the oldest parked go first when there is room, and a lane that
//! a dead host blocks has one message that asks: the oldest. Lanes are fair to agencies: none holds more than its share
//! of all hands, whatever it has waiting (R24).
//!
//! Invariant: a job is parked and put back to rest in one step, so that whoever calls it finds it resting. A job that is
//! called before it rests would sleep until its own time comes. The state machine is pure; the spool is behind [`Bench`].

use std::collections::{BTreeSet, HashMap};

use crate::deliver::route::Hop;
use crate::mail::{AgencyId, Domain, Span};
use crate::spool::JobKey;

/// Jobs of one agency under way at the same time, over all its lanes.
pub(super) const SHARE: usize = 128;

/// Where jobs rest: the spool, as lanes see it.
pub(super) trait Bench {
    /// Gives a claimed job back. It comes up by itself in the end; `call` makes that sooner.
    fn rest(&self, job: JobKey);
    /// Makes a resting job come up after `wait` at the latest; false when it does not rest: gone, held, in other hands.
    fn call(&self, job: JobKey, wait: Span) -> bool;
}

/// What shares one limit: an agency's first hop, or a domain of the Internet.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) enum LaneKey {
    Hop(Hop),
    Domain(Domain),
}

/// A job that wants to run: in which lane, at whose expense.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Turn {
    pub lane: LaneKey,
    pub agency: AgencyId,
    pub job: JobKey,
}

/// What an attempt says about the lane.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Went {
    /// The host took or refused the message.
    Well,
    /// It put the message off, or the line broke in the middle of it: says nothing about the next one.
    PutOff,
    /// The host does not answer; it may be asked again after so long.
    Shut(Span),
}

#[derive(Clone, Debug)]
struct Lane {
    running: usize,
    width: usize,
    /// Called and not yet here: their room is kept.
    called: BTreeSet<JobKey>,
    /// Those of them that a sweep has seen.
    late: BTreeSet<JobKey>,
    /// Waiting for room, or for the host, oldest first.
    parked: BTreeSet<JobKey>,
    /// Somebody ran here since the last sweep.
    used: bool,
}

/// The part of all hands that one agency has.
#[derive(Clone, Debug, Default)]
struct Share {
    running: usize,
    parked: BTreeSet<JobKey>,
}

/// All lanes in use.
#[derive(Clone, Debug, Default)]
pub(super) struct Lanes {
    lanes: HashMap<LaneKey, Lane>,
    shares: HashMap<AgencyId, Share>,
}

impl Lane {
    fn new() -> Self {
        let (called, late, parked) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        Self { running: 0, width: 1, called, late, parked, used: true }
    }

    fn room(&self) -> usize {
        self.width.saturating_sub(self.running.saturating_add(self.called.len()))
    }

    /// Calls as many parked jobs as there is room for.
    fn call(&mut self, bench: &impl Bench) {
        while self.room() > 0
            && let Some(job) = self.parked.pop_first()
        {
            if bench.call(job, Span::ZERO) {
                self.called.insert(job);
            }
        }
    }

    /// The oldest of those that wait asks after `wait`, on behalf of all.
    fn ask(&mut self, wait: Span, bench: &impl Bench) {
        while let Some(first) = self.parked.first().copied() {
            if bench.call(first, wait) {
                return;
            }
            self.parked.remove(&first);
        }
    }

    fn is_idle(&self) -> bool {
        self.running == 0 && self.called.is_empty() && self.parked.is_empty()
    }
}

impl Lanes {
    fn lane(&mut self, key: &LaneKey) -> &mut Lane {
        self.lanes.entry(key.clone()).or_insert_with(Lane::new)
    }

    /// A claimed job came up: whether it runs now. If not it rests here; older ones that wait are called in its place.
    pub fn admit(&mut self, turn: &Turn, bench: &impl Bench) -> bool {
        let Turn { lane: key, agency, job } = turn;
        let share = self.shares.entry(agency.clone()).or_default();
        let spent = share.running >= SHARE;
        if spent {
            // Somebody of this agency is under way, so somebody will leave and call.
            share.parked.insert(*job);
            bench.rest(*job);
        } else {
            share.parked.remove(job);
        }
        let lane = self.lane(key);
        lane.called.remove(job);
        lane.parked.remove(job);
        if spent {
            self.forget_if_idle(key);
            return false;
        }
        if lane.room() > 0 && lane.parked.first().is_none_or(|oldest| job < oldest) {
            (lane.running, lane.used) = (lane.running.saturating_add(1), true);
            let share = self.shares.entry(agency.clone()).or_default();
            share.running = share.running.saturating_add(1);
            return true;
        }
        lane.parked.insert(*job);
        bench.rest(*job);
        lane.call(bench);
        false
    }

    /// A job under way found its host shut: it rests until the host is asked again, after `wait`.
    pub fn park(&mut self, turn: &Turn, wait: Span, bench: &impl Bench) {
        let lane = self.lane(&turn.lane);
        lane.parked.insert(turn.job);
        bench.rest(turn.job);
        lane.ask(wait, bench);
    }

    /// An attempt ended, and was recorded or parked.
    pub fn leave(&mut self, turn: &Turn, went: Went, widest: usize, bench: &impl Bench) {
        if let Some(share) = self.shares.get_mut(&turn.agency) {
            share.running = share.running.saturating_sub(1);
            while let Some(job) = share.parked.pop_first() {
                if bench.call(job, Span::ZERO) {
                    break;
                }
            }
            if share.running == 0 && share.parked.is_empty() {
                self.shares.remove(&turn.agency);
            }
        }
        let lane = self.lane(&turn.lane);
        lane.running = lane.running.saturating_sub(1);
        match went {
            Went::Well => {
                lane.width = lane.width.saturating_add(1).min(widest.max(1));
                lane.call(bench);
            }
            Went::PutOff => lane.call(bench),
            Went::Shut(wait) => {
                lane.width = 1;
                // It comes up at its own time, and before that when the host answers somebody else.
                lane.parked.insert(turn.job);
                lane.ask(wait, bench);
            }
        }
        self.forget_if_idle(&turn.lane);
    }

    /// A host answers again: as many of those who wait for it as there is room for may come.
    pub fn call(&mut self, key: &LaneKey, bench: &impl Bench) {
        if let Some(lane) = self.lanes.get_mut(key) {
            lane.call(bench);
        }
        self.forget_if_idle(key);
    }

    /// Everybody who waits comes up again, to find its lane anew: the ways have changed.
    pub fn clear(&mut self, bench: &impl Bench) {
        let lanes = self.lanes.values_mut().map(|lane| &mut lane.parked);
        for parked in lanes.chain(self.shares.values_mut().map(|share| &mut share.parked)) {
            for job in std::mem::take(parked) {
                bench.call(job, Span::ZERO);
            }
        }
    }

    /// Now and then: who was called and did not come since the last time is gone (held, removed), and its room is given
    /// on; lanes that nobody used are forgotten, for how wide they were is old news.
    pub fn sweep(&mut self, bench: &impl Bench) {
        self.lanes.retain(|_, lane| {
            let gone = std::mem::take(&mut lane.late);
            lane.called.retain(|job| !gone.contains(job));
            lane.late = lane.called.clone();
            if !gone.is_empty() {
                lane.call(bench);
            }
            std::mem::take(&mut lane.used) || !lane.is_idle()
        });
    }

    /// Whether this job waits here, and behind how many others (counted up to `most`).
    pub fn ahead_of(&self, key: &LaneKey, job: JobKey, most: usize) -> Option<usize> {
        let lane = self.lanes.get(key).filter(|lane| lane.parked.contains(&job))?;
        Some(lane.parked.range(..job).take(most).count())
    }

    /// Whether this job waits here.
    pub fn has_parked(&self, turn: &Turn) -> bool {
        self.lanes.get(&turn.lane).is_some_and(|lane| lane.parked.contains(&turn.job))
    }

    /// Messages that wait for room or for a host.
    pub fn parked(&self) -> usize {
        let shares: usize = self.shares.values().map(|share| share.parked.len()).sum();
        self.lanes.values().map(|lane| lane.parked.len()).sum::<usize>().saturating_add(shares)
    }

    fn forget_if_idle(&mut self, key: &LaneKey) {
        if self.lanes.get(key).is_some_and(|lane| lane.width == 1 && lane.is_idle()) {
            self.lanes.remove(key);
        }
    }
}

#[cfg(test)]
mod tests;
