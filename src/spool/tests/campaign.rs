//! The power cut at *every* operation of long random histories, on a disk that loses, reorders and tears whatever was
//! not synced; cuts during the recovery from a cut too; sometimes the disk fails or the process is killed as well. After
//! each cut the log is read back and compared with what callers had been told (`ledger`). Seeds and counts are printed.
//!
//! `LUYTRE_CAMPAIGN=100000` asks for so many cuts (`make campaign`), `LUYTRE_SEED` for the first history; a campaign that
//! was stopped goes on with the seed behind the last one printed. Deliberate mistakes in the spool must each be caught
//! (`mutants`), or the test itself is worth nothing.

mod ledger;
mod mutants;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use self::ledger::{Ledger, Note, Past, Told, contents, judge, recipients};
use super::super::fault::{Fault, Faults};
use super::super::frame::{Kind, State};
use super::super::index::Hand;
use super::super::item::Item;
use super::super::log::Log;
use super::super::recover::{self, Purpose};
use super::super::{Recovery, SpoolError, settings};
use super::parcel;
use crate::env::Dice;
use crate::env::disk::{Disk, Simulated, Trouble};
use crate::mail::{ByteSize, Timestamp};

/// Cuts in recoveries from cuts in recoveries go on this deep.
const DEEPEST: u32 = 3;
/// Steps of a history.
const STEPS: u64 = 150;

/// What a campaign has seen.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    cuts: u64,
    /// Of these, in a recovery.
    in_recovery: u64,
    /// Recoveries on a disk that failed meanwhile.
    failing_recoveries: u64,
    acknowledged: u64,
    /// Delivered messages that a power cut brought back: their `done` was not synced yet.
    again: u64,
}

/// What kind of disk a history runs on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Nature {
    /// It fails now and then.
    Fair,
    /// It fails often.
    Rough,
    /// It fails often, and only the power ends the process.
    Steady,
    /// It is sound, but starts and ends follow one another quickly.
    Restless,
    /// It fails often, and starts and ends follow one another quickly.
    Deadly,
}

struct World {
    disk: Simulated,
    folder: PathBuf,
    log: Log,
    ledger: Ledger,
    dice: Dice,
    next: u64,
    fault: Option<Fault>,
    tally: Tally,
    past: Past,
    /// Once in so many steps it fails; once in so many there is a restart.
    rarity: u64,
    pace: u64,
    /// Whether the process is killed now and then.
    kills: bool,
}

fn settings() -> settings::Spool {
    settings::Spool { segment: ByteSize::kib(8), spare: 1, ..settings::Spool::default() }
}

fn open(disk: &Simulated, folder: &Path, fault: Option<Fault>) -> Result<(Log, Recovery), SpoolError> {
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    disk.create_folder(folder).map_err(SpoolError::Disk)?;
    recover::open(&shared, folder, &settings(), Purpose::Serve, Faults::only(fault))
}

impl World {
    fn new(seed: u64, nature: Nature, fault: Option<Fault>) -> Self {
        let (disk, folder) = (Simulated::new(seed), PathBuf::from("/d/spool"));
        let (log, _) = open(&disk, &folder, fault).unwrap();
        disk.record_cuts();
        Self {
            disk,
            folder,
            log,
            ledger: Ledger::new(),
            dice: Dice::seeded(seed),
            next: 1,
            fault,
            tally: Tally::default(),
            past: Past::Sound,
            rarity: if matches!(nature, Nature::Rough | Nature::Steady | Nature::Deadly) { 6 } else { 40 },
            kills: nature != Nature::Steady,
            pace: if matches!(nature, Nature::Restless | Nature::Deadly) { 4 } else { 25 },
        }
    }

    fn pick(&self) -> Option<u64> {
        let live: Vec<u64> = self.ledger.iter().filter(|(_, n)| n.told == Told::Kept).map(|(n, _)| *n).collect();
        live.get(usize::try_from(self.dice.below(live.len() as u64)).unwrap()).copied()
    }

    /// A random batch, and what each of its items means once it is confirmed.
    fn batch(&mut self) -> (Vec<Item>, Vec<(u64, Option<Note>)>) {
        let (mut items, mut meaning) = (Vec::new(), Vec::new());
        for _ in 0..self.dice.below(4) {
            let size = usize::try_from(self.dice.below(if self.dice.below(30) == 0 { 12_000 } else { 1500 })).unwrap();
            let number = self.next;
            self.next += 1;
            let all = recipients(number);
            let state = State { due: Timestamp::EPOCH, left: u32::try_from(all).unwrap(), ..State::default() };
            let sent = Arc::new(parcel(number, all, size));
            items.push(Item::accepted(&sent, state, Hand::Waiting).unwrap());
            let note = Note { told: Told::Nothing, key: None, held: Some(false), sent, pending: (0..all).collect() };
            self.ledger.insert(number, note.clone());
            meaning.push((number, Some(Note { told: Told::Kept, ..note })));
        }
        for _ in 0..self.dice.below(4) {
            let Some(number) = self.pick() else { break };
            let (item, confirmed) = self.change(number);
            items.push(item);
            meaning.push((number, confirmed));
        }
        (items, meaning)
    }

    /// Something happens to a message that is there. The ledger allows both outcomes until the answer comes.
    fn change(&mut self, number: u64) -> (Item, Option<Note>) {
        let what = self.dice.below(8);
        let held = self.dice.below(2) == 0;
        let note = self.ledger.get_mut(&number).unwrap();
        let key = note.key.unwrap();
        match what {
            0..=3 => {
                note.told = Told::Done;
                (Item::change(Kind::Done, key, State::default(), false), None)
            }
            4 | 5 => {
                // One recipient is served, if that is not the last; what is told is what is left.
                if note.pending.len() > 1 {
                    note.pending.pop_first();
                }
                let pending: Vec<(usize, String)> = note.pending.iter().map(|n| (*n, "451".to_owned())).collect();
                let left = u32::try_from(pending.len()).unwrap();
                let held = note.held.unwrap_or(false);
                let state = State { left, held, pending: Some(pending), ..State::default() };
                (Item::change(Kind::Attempt, key, state, false), None)
            }
            6 => {
                note.held = None;
                let confirmed = Note { held: Some(held), ..note.clone() };
                (Item::change(Kind::Hold, key, State { held, ..State::default() }, true), Some(confirmed))
            }
            _ => {
                note.told = Told::Going;
                let confirmed = Note { told: Told::Gone, ..note.clone() };
                (Item::change(Kind::Removed, key, State::default(), true), Some(confirmed))
            }
        }
    }

    /// One commit and some housekeeping; every operation in it is a moment to lose power.
    fn step(&mut self) -> Result<(), String> {
        let (items, meaning) = self.batch();
        if self.dice.below(self.rarity) == 0 {
            self.past = self.past.max(Past::Troubled);
            let trouble = if self.dice.below(3) == 0 { Trouble::Full } else { Trouble::Broken };
            self.disk.fail(self.disk.operations() + 1 + self.dice.below(4), trouble);
        }
        let results = self.log.commit(items);
        self.check_cuts()?;
        for ((number, confirmed), result) in meaning.into_iter().zip(results) {
            self.told(number, confirmed, result);
        }
        if self.dice.below(4) == 0 {
            self.log.sync();
        }
        for _ in 0..self.dice.below(4) {
            self.log.tidy();
        }
        self.check_cuts()?;
        self.settle();
        self.look()
    }

    /// The running spool, too, shows what was told; what could not be written yet is in memory only.
    fn look(&self) -> Result<(), String> {
        if !self.log.carry.is_empty() || self.dice.below(4) > 0 {
            return Ok(());
        }
        let found = contents(&self.log, &self.ledger)?;
        let wrong = found.iter().find(|there| {
            let note = &self.ledger[&there.number];
            note.told == Told::Kept && note.pending != there.pending
        });
        wrong.map_or(Ok(()), |there| Err(format!("a served recipient of message {} is served again", there.number)))
    }

    fn told(&mut self, number: u64, confirmed: Option<Note>, result: Result<super::super::JobKey, SpoolError>) {
        let Some(now) = self.ledger.get_mut(&number) else { return };
        match (confirmed, result) {
            (Some(note), Ok(key)) if matches!(now.told, Told::Kept | Told::Nothing | Told::Going) => {
                self.tally.acknowledged += u64::from(now.told == Told::Nothing);
                // What was served meanwhile stays served.
                *now = Note { key: Some(key), pending: now.pending.clone(), ..note };
            }
            (Some(_), Err(_)) if now.told == Told::Nothing => now.told = Told::Refused,
            _ => {}
        }
    }

    /// When nothing waits for a sync, what was said without one is as sure as the rest.
    fn settle(&mut self) {
        if self.log.is_dirty() || self.fault == Some(Fault::SyncLeftOut) {
            return;
        }
        for note in self.ledger.values_mut() {
            match note.told {
                Told::Done => note.told = Told::Gone,
                Told::Refused if self.log.has_begun() => note.told = Told::Gone,
                _ => {}
            }
        }
    }

    fn check_cuts(&mut self) -> Result<(), String> {
        for cut in self.disk.take_cuts() {
            self.tally.cuts += 1;
            self.survive(&cut.after_power_cut(&self.dice), 0)?;
        }
        Ok(())
    }

    /// A start on this disk keeps the promises; so do starts after its own cuts and failures.
    fn survive(&mut self, found: &Simulated, depth: u32) -> Result<(), String> {
        let deeper = depth < DEEPEST && self.dice.below(12) == 0;
        if deeper {
            found.record_cuts();
        }
        let failing = self.dice.below(24) == 0;
        if failing {
            // A start that fails half-way, and another one.
            self.tally.failing_recoveries += 1;
            found.fail(1 + self.dice.below(6), if self.dice.below(3) == 0 { Trouble::Full } else { Trouble::Broken });
            drop(open(found, &self.folder, self.fault));
            found.clear_trouble();
        }
        let (log, report) = open(found, &self.folder, self.fault).map_err(|e| format!("no start: {e}"))?;
        let before = self.past;
        if failing {
            self.past = before.max(Past::Troubled);
        }
        judge(&log, &report, &self.ledger, self.past)?;
        drop(log);
        if deeper {
            for cut in found.take_cuts() {
                self.tally.cuts += 1;
                self.tally.in_recovery += 1;
                self.survive(&cut.after_power_cut(&self.dice), depth + 1)?;
            }
        }
        self.past = before;
        Ok(())
    }

    /// The power really goes, or only the process dies; the history goes on with what is found.
    fn restart(&mut self) -> Result<(), String> {
        let power = self.dice.below(2) == 0 || !self.kills;
        // What could not be written is known to the process alone.
        let carried = !self.log.carry.is_empty();
        self.disk = if power { self.disk.after_power_cut(&self.dice) } else { self.disk.after_kill() };
        self.disk.record_cuts();
        let (log, report) = open(&self.disk, &self.folder, self.fault).map_err(|e| format!("no start: {e}"))?;
        self.tally.in_recovery += self.disk.operations();
        self.check_cuts()?;
        judge(&log, &report, &self.ledger, self.past)?;
        let found = contents(&log, &self.ledger)?;
        for there in &found {
            let note = &self.ledger[&there.number];
            if note.told == Told::Done {
                self.tally.again += 1;
            }
            if !power && !carried && note.told == Told::Done {
                return Err(format!(
                    "message {} was delivered, recorded and is back without a power cut",
                    there.number
                ));
            }
            if !power && !carried && note.told == Told::Kept && note.pending != there.pending {
                return Err(format!("a served recipient of message {} is back without a power cut", there.number));
            }
        }
        let mut there: BTreeSet<u64> = BTreeSet::new();
        for found in found {
            // From now on what was found is what is so.
            let note = self.ledger.get_mut(&found.number).unwrap();
            (note.told, note.held) = (Told::Kept, Some(found.held));
            (note.key, note.pending) = (Some(found.key), found.pending);
            there.insert(found.number);
        }
        for (_, note) in self.ledger.iter_mut().filter(|(number, _)| !there.contains(number)) {
            note.told = Told::Gone;
        }
        self.log = log;
        Ok(())
    }
}

/// A whole history, and what it survived.
fn history(seed: u64, nature: Nature, fault: Option<Fault>) -> Result<Tally, String> {
    let mut world = World::new(seed, nature, fault);
    for step in 0..STEPS {
        let cuts = world.tally.cuts;
        let outcome =
            world.step().and_then(|()| if world.dice.below(world.pace) == 0 { world.restart() } else { Ok(()) });
        outcome.map_err(|what| format!("seed {seed}, step {step}, after {cuts} cuts: {what}"))?;
        if world.log.is_broken() {
            break;
        }
        // What is gone for good need not be looked for for ever.
        let recent = world.next.saturating_sub(400);
        world.ledger.retain(|number, note| note.told != Told::Gone || *number > recent);
    }
    Ok(world.tally)
}

#[test]
fn r02_power_cut_at_every_operation_loses_nothing() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let wanted = number("LUYTRE_CAMPAIGN").unwrap_or(3000);
    let first = number("LUYTRE_SEED").unwrap_or(1);
    let (mut all, mut seed, mut shown) = (Tally::default(), first, 0);
    while all.cuts < wanted {
        let nature = match seed % 6 {
            5 => Nature::Deadly,
            0 => Nature::Rough,
            1 => Nature::Restless,
            2 => Nature::Steady,
            _ => Nature::Fair,
        };
        let one = history(seed, nature, None).unwrap_or_else(|what| panic!("{what}"));
        all.cuts += one.cuts;
        all.in_recovery += one.in_recovery;
        all.failing_recoveries += one.failing_recoveries;
        all.acknowledged += one.acknowledged;
        all.again += one.again;
        if all.cuts / 10_000 > shown {
            shown = all.cuts / 10_000;
            println!("{} cuts up to seed {seed}", all.cuts);
        }
        seed += 1;
    }
    println!(
        "{} power cuts ({} of them in a recovery) in {} histories, seeds {first} to {}: {} messages acknowledged, 0 lost; {} \
         delivered again after a cut that came before their `done` was synced; {} recoveries on a failing disk",
        all.cuts,
        all.in_recovery,
        seed - first,
        seed - 1,
        all.acknowledged,
        all.again,
        all.failing_recoveries
    );
}
