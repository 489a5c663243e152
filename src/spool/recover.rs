//! Segments to what to resume: the log is read in its order and the queue stands as it stood.
//! Every start is a recovery, after a crash or not. Damage costs the records it hit and is reported.

use std::collections::{BTreeMap, VecDeque};
use std::io::IoSlice;
use std::path::Path;
use std::sync::{Arc, Mutex};

use super::damage::{self, Damage};
use super::fault::{Fault, Faults};
use super::frame::{FIRST, Header, Kind, Opening, SEGMENT_HEADER, SegmentHeader, State};
use super::index::{Entry, Hand, Index, Used};
use super::log::Log;
use super::nursery::{Nursery, Spare};
use super::scan::{Found, Scan};
use super::segment::{self, Place, Segment};
use super::{SpoolError, settings};
use crate::env::Dice;
use crate::env::disk::{Disk, DiskFile, Open, is_bad_spot, read_exact_at};

/// What a start found.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Recovery {
    pub messages: usize,
    pub segments: usize,
    /// Octets of the log that were read.
    pub bytes: u64,
    /// Where acknowledged records should be and are not; at most a thousand, `damages` counts all.
    pub damaged: Vec<Damage>,
    pub damages: usize,
}

const MOST_REPORTED: usize = 1000;
/// So many segment headers may be unreadable before the whole disk is suspected and the start refused.
const MOST_BAD_BEGINNINGS: u32 = 4;

/// Octets read and written again at once.
const BLOCK: usize = 4096;

/// How to read the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Purpose {
    /// To go on with it.
    Serve,
    /// To look at it, beside a gateway that is down: nothing is changed.
    Look,
}

/// Reads the log in `folder` and makes it ready to take more.
pub fn open(
    disk: &Arc<dyn Disk>,
    folder: &Path,
    settings: &settings::Spool,
    purpose: Purpose,
    faults: Faults,
) -> Result<(Log, Recovery), SpoolError> {
    let damaged = folder.join("damaged");
    if purpose != Purpose::Look {
        disk.create_folder(&damaged).map_err(SpoolError::Disk)?;
    }
    let mut reader = Reader::new(disk, folder, &damaged, purpose, faults);
    reader.find_segments(settings)?;
    let voids: Vec<(u64, u64)> = reader.voids();
    let last = reader.found.keys().next_back().copied();
    let ends: BTreeMap<u64, u64> = reader.found.values().map(|(header, _)| header.previous).collect();
    let mut previous = (0, 0);
    for (sequence, (header, segment)) in std::mem::take(&mut reader.found) {
        let void = voids.iter().find(|(nonce, _)| *nonce == header.nonce).map(|(_, from)| *from);
        let sealed = ends.get(&header.nonce).copied().or_else(|| (Some(sequence) != last).then_some(0));
        previous = (header.nonce, reader.read_segment(&segment, void, sealed)?);
    }
    if purpose != Purpose::Look && !faults.has(Fault::StartNotSynced) {
        // A killed process left things written but perhaps not synced; from here on they count as safe.
        reader.make_sure(previous.1).map_err(SpoolError::Disk)?;
    }
    reader.report.messages = reader.index.counts().total;
    reader.report.segments = reader.ring.len();
    let size = settings.segment.as_u64();
    let nursery = Nursery::new(Arc::clone(disk), folder, size, settings.spare, reader.next_id, faults);
    for spare in std::mem::take(&mut reader.spares) {
        if let Err(surplus) = nursery.keep(spare)
            && purpose != Purpose::Look
        {
            nursery.discard(surplus.id).map_err(SpoolError::Disk)?;
        }
    }
    let Reader { index, ring, next_key, report, .. } = reader;
    let mut log = Log {
        disk: Arc::clone(disk),
        index: Arc::new(Mutex::new(index)),
        nursery: Arc::new(nursery),
        dice: Dice::system(),
        damaged: damaged.clone(),
        damages: report.damages as u64,
        ring,
        active: None,
        next_sequence: last.map_or(1, |sequence| sequence.saturating_add(1)),
        next_key: if faults.has(Fault::KeysForgotten) { 1 } else { next_key },
        previous,
        voids: Vec::new(),
        carry: Vec::new(),
        failures: 0,
        moving: VecDeque::new(),
        faults,
    };
    log.voids = voids.into_iter().filter(|(nonce, _)| log.ring.iter().any(|s| s.nonce == *nonce)).collect();
    Ok((log, report))
}

#[derive(Debug)]
struct Reader<'a> {
    disk: &'a Arc<dyn Disk>,
    folder: &'a Path,
    damaged: &'a Path,
    purpose: Purpose,
    faults: Faults,
    /// By place in the log's order.
    found: BTreeMap<u64, (SegmentHeader, Arc<Segment>)>,
    spares: Vec<Spare>,
    index: Index,
    ring: VecDeque<Arc<Segment>>,
    next_id: u32,
    next_key: u64,
    /// Up to where the segment read last says of itself that it was synced.
    synced: u64,
    report: Recovery,
}

impl<'a> Reader<'a> {
    fn new(disk: &'a Arc<dyn Disk>, folder: &'a Path, damaged: &'a Path, purpose: Purpose, faults: Faults) -> Self {
        Self {
            disk,
            folder,
            damaged,
            purpose,
            faults,
            found: BTreeMap::new(),
            spares: Vec::new(),
            index: Index::default(),
            ring: VecDeque::new(),
            next_id: 1,
            next_key: 1,
            synced: 0,
            report: Recovery::default(),
        }
    }

    /// Opens every segment file and reads its beginning. Nothing is changed before all of them were looked at.
    fn find_segments(&mut self, settings: &settings::Spool) -> Result<(), SpoolError> {
        let names = match self.disk.list(self.folder) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            names => names.map_err(SpoolError::Disk)?,
        };
        let how = if self.purpose == Purpose::Look { Open::Read } else { Open::ReadWrite };
        let (mut unreadable, mut failures) = (Vec::new(), 0);
        for id in names.iter().filter_map(|name| segment::id_of(name)) {
            self.next_id = self.next_id.max(id.saturating_add(1));
            let path = segment::path(self.folder, id);
            let file = self.disk.open(&path, how).map_err(SpoolError::Disk)?;
            let size = file.size().map_err(SpoolError::Disk)?;
            match opening(file.as_ref()) {
                Ok(Opening::Blank) => self.spares.push(Spare { id, size, file }),
                Ok(Opening::Newer(format)) => {
                    return Err(SpoolError::Newer { file: path.display().to_string(), format });
                }
                Ok(Opening::Unreadable) => unreadable.push(Spare { id, size, file }),
                Err(error) if is_bad_spot(&error) && failures < MOST_BAD_BEGINNINGS => {
                    failures += 1;
                    unreadable.push(Spare { id, size, file });
                }
                Err(error) => return Err(SpoolError::Disk(error)),
                Ok(Opening::Segment(header)) => {
                    let (sequence, nonce) = (header.sequence, header.nonce);
                    let segment = Arc::new(Segment { id, nonce, size, file });
                    self.next_key = self.next_key.max(header.next_key);
                    self.found.insert(sequence, (header, segment));
                }
            }
        }
        for file in unreadable {
            self.without_beginning(file)?;
        }
        self.spares.sort_by_key(|spare| spare.size != settings.segment.as_u64());
        Ok(())
    }

    /// A segment whose header is lost, both copies. Its nonce also stands in the segment behind it; without that nothing
    /// in it can be told from an earlier life of the file, and the whole file is set aside.
    fn without_beginning(&mut self, Spare { id, size, file }: Spare) -> Result<(), SpoolError> {
        let known: Vec<u64> = self.found.values().map(|(header, _)| header.nonce).collect();
        let heirs = self.found.values().map(|(header, _)| (header.sequence, header.previous.0));
        let orphans: Vec<(u64, u64)> = heirs.filter(|(_, nonce)| !known.contains(nonce)).collect();
        for (sequence, nonce) in orphans {
            let segment = Arc::new(Segment { id, nonce, size, file: Arc::clone(&file) });
            let mut scan = Scan::new(&segment, u64::MAX);
            if let (Found::Record { header, .. }, Some(place)) = (scan.first()?, sequence.checked_sub(1)) {
                tracing::error!(segment = id, "a segment has lost its header; the one behind it says what it was");
                self.note(Damage { segment: id, at: 0, bytes: FIRST, key: None });
                let (next_key, previous) = (header.key, (0, 0));
                let header = SegmentHeader { sequence: place, nonce, next_key, previous, voids: Vec::new() };
                self.found.entry(place).or_insert((header, segment));
                return Ok(());
            }
        }
        self.note(Damage { segment: id, at: 0, bytes: size, key: None });
        if self.purpose != Purpose::Look {
            let (path, aside) =
                (segment::path(self.folder, id), damage::name_for(self.disk.as_ref(), self.damaged, id));
            tracing::error!(kept = %aside.display(), "a segment of the spool cannot be read; the whole file is set aside");
            self.disk.rename(&path, &aside).map_err(SpoolError::Disk)?;
            self.disk.sync_folder(self.damaged).map_err(SpoolError::Disk)?;
            self.disk.sync_folder(self.folder).map_err(SpoolError::Disk)?;
        }
        Ok(())
    }

    fn voids(&self) -> Vec<(u64, u64)> {
        if self.faults.has(Fault::VoidsForgotten) {
            return Vec::new();
        }
        let mut voids: Vec<_> = self.found.values().flat_map(|(header, _)| header.voids.iter().copied()).collect();
        voids.sort_unstable();
        voids.dedup();
        voids
    }

    /// Replays one segment. `sealed`: a later segment says that the frames of this one go up to there (0: somewhere).
    /// Returns where they end.
    fn read_segment(
        &mut self,
        segment: &Arc<Segment>,
        void: Option<u64>,
        sealed: Option<u64>,
    ) -> Result<u64, SpoolError> {
        let used = Used { segment: Arc::clone(segment), live: 0, suspect: void.is_some() };
        self.index.segments.insert(segment.id, used);
        self.ring.push_back(Arc::clone(segment));
        // What lies behind a segment's recorded end was given up at an earlier start.
        let mut limit = void.or(sealed.filter(|end| *end > 0)).unwrap_or(u64::MAX);
        if sealed.is_none() && void.is_none() {
            limit = self.trusted_end(segment)?;
        }
        let mut scan = self.scan(segment, limit);
        // What was synced before a later segment began is whole, or the medium has rotted: that is found when the message is
        // read. A start with a long queue does not wait for every body.
        scan.check_bytes &= void.is_none() && sealed.is_none_or(|end| end == 0);
        let mut bad = Vec::new();
        self.synced = 0;
        let end = loop {
            match scan.next()? {
                Found::Record { at, header, state } => {
                    self.synced = self.synced.max(header.synced);
                    self.next_key = self.next_key.max(header.key.saturating_add(1));
                    replay(&mut self.index, Place::new(segment.id, at, header.span()), &header, &state);
                }
                Found::Bad { at, bytes, key } => bad.push((at, bytes, key)),
                Found::End { at } => break at,
            }
        };
        self.report.bytes += end;
        if let Some(expected) = sealed.filter(|expected| void.is_none() && *expected > end) {
            bad.push((end, expected - end, None));
        }
        for (at, bytes, key) in bad {
            self.keep_aside(segment, Damage { segment: segment.id, at, bytes, key });
        }
        // The recorded end stays the end, damaged or not.
        Ok(sealed.filter(|expected| *expected > end).unwrap_or(end))
    }

    /// Where the last segment stops being what was promised: at the first unreadable record behind its last known sync.
    /// All that follows such a record was written after it and synced by nobody.
    fn trusted_end(&mut self, segment: &Arc<Segment>) -> Result<u64, SpoolError> {
        let mut scan = self.scan(segment, u64::MAX);
        let (mut bad, mut synced) = (Vec::new(), 0);
        loop {
            match scan.next()? {
                Found::Record { header, .. } => synced = synced.max(header.synced),
                Found::Bad { at, .. } => bad.push(at),
                Found::End { at } => {
                    bad.push(at);
                    break;
                }
            }
        }
        let end = bad.into_iter().find(|at| *at >= synced);
        Ok(end.filter(|_| !self.faults.has(Fault::TailBelieved)).unwrap_or(u64::MAX))
    }

    /// Writes once more, and syncs, what the cache may show and the disk not have. After a failed sync the kernel counts
    /// such pages as written, a later sync says "done", and a new process cannot tell. It can be the end of the last
    /// segment (ending at `end`), its beginning, and the blank beginnings of spares. In place, so no room is needed, and
    /// the same octets, so a cut in the middle changes nothing that was safe.
    fn make_sure(&self, end: u64) -> std::io::Result<()> {
        let believed = self.faults.has(Fault::CacheBelieved);
        if let Some(segment) = self.ring.back() {
            if !believed {
                // The first records of a segment count its beginning as synced before it is.
                let from = if self.synced > FIRST { self.synced } else { 0 };
                write_again(segment.file.as_ref(), from, end.max(FIRST))?;
            }
            segment.file.sync_data()?;
        }
        for spare in self.spares.iter().filter(|_| !believed) {
            write_again(spare.file.as_ref(), 0, FIRST)?;
            spare.file.sync_data()?;
        }
        self.disk.sync_folder(self.folder)
    }

    fn scan<'s>(&self, segment: &'s Segment, limit: u64) -> Scan<'s> {
        let mut scan = Scan::new(segment, limit);
        scan.check_bytes = !self.faults.has(Fault::ChecksumIgnored);
        scan
    }

    fn keep_aside(&mut self, segment: &Segment, damage: Damage) {
        let (at, bytes) = (damage.at, damage.bytes);
        if self.purpose != Purpose::Look {
            match damage::set_aside(self.disk.as_ref(), self.damaged, segment, at, bytes) {
                Ok(path) => tracing::error!(kept = %path.display(), "damage in the spool: its bytes are set aside"),
                Err(error) => tracing::error!(segment = segment.id, at, %error, "damage in the spool"),
            }
        }
        self.note(damage);
    }

    fn note(&mut self, damage: Damage) {
        self.report.damages += 1;
        if self.report.damaged.len() < MOST_REPORTED {
            self.report.damaged.push(damage);
        }
    }
}

/// Writes a stretch of a file over itself. What cannot be read is left: it was reported already.
fn write_again(file: &dyn DiskFile, from: u64, end: u64) -> std::io::Result<()> {
    let (mut at, mut block) = (from, vec![0; BLOCK]);
    while at < end {
        let most = usize::try_from(end - at).map_or(BLOCK, |left| left.min(BLOCK));
        let Some(part) = block.get_mut(..most) else { break };
        match file.read_at(at, part) {
            Ok(0) => break,
            Ok(read) => {
                let part = part.get(..read).unwrap_or_default();
                file.write_at(at, &mut [IoSlice::new(part)])?;
                at = at.saturating_add(read as u64);
            }
            Err(error) if is_bad_spot(&error) => at = at.saturating_add(BLOCK as u64),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// The first readable copy of a segment's header.
fn opening(file: &dyn DiskFile) -> std::io::Result<Opening> {
    let (mut first, mut failed) = (Opening::Blank, None);
    for copy in 0..2_u64 {
        let mut bytes = [0_u8; SEGMENT_HEADER];
        match read_exact_at(file, copy * SEGMENT_HEADER as u64, &mut bytes) {
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => break,
            Err(error) => {
                failed = Some(error);
                continue;
            }
            Ok(()) => {}
        }
        match SegmentHeader::decode(&bytes) {
            good @ (Opening::Segment(_) | Opening::Newer(_)) => return Ok(good),
            Opening::Unreadable => first = Opening::Unreadable,
            Opening::Blank => {}
        }
    }
    failed.map_or(Ok(first), Err)
}

/// What a record of the log means for the queue; the reading twin of the committer's `apply`.
fn replay(index: &mut Index, place: Place, header: &Header, state: &State) {
    let (key, mark) = (header.key, header.mark);
    match header.kind {
        Kind::Accepted => index.insert(key, Entry::new(place, state, Hand::Waiting, mark)),
        Kind::Copied => {
            index.remove(key);
            index.insert(key, Entry::new(place, state, Hand::Waiting, mark));
        }
        Kind::Attempt => index.set_state(key, Some(place), state),
        Kind::Hold => index.set_held(key, state.held),
        Kind::Done | Kind::Removed => drop(index.remove(key)),
    }
}
