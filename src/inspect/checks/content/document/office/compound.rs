//! Compound files (MS-CFB), read leniently and in bounded memory: chains end at the first sector seen twice, entries
//! that no storage leads to are listed too, and a cut file gives what is left of it.

use std::cell::Cell;
use std::collections::HashSet;

use super::super::bytes::{raw_u32_at, slice, u16_at, u32_at, utf16};

/// Entries of one directory: number, and depth of a path.
const ENTRIES: usize = 20_000;
const DEPTH: usize = 32;
/// How often all readers together may read the file: streams lie side by side in it, and overlap only where somebody wants
/// work done.
const OFTEN: usize = 8;
/// From here on sector numbers are marks (MS-CFB §2.1).
const LAST: u32 = 0xFFFF_FFFA;
const NONE: u32 = 0xFFFF_FFFF;

/// What an entry is (MS-CFB §2.6.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Storage,
    Stream,
    Root,
}

/// A storage or stream.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// `Macros/VBA/dir`, without the root.
    pub path: String,
    pub kind: Kind,
    /// As it stands in the file.
    pub class: [u8; 16],
    pub size: usize,
    start: u32,
}

impl Entry {
    pub fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or_default()
    }
    /// The storage it lies in; empty for the root.
    pub fn parent(&self) -> &str {
        self.path.rsplit_once('/').map_or("", |(parent, _)| parent)
    }
}

/// An open file.
#[derive(Debug)]
pub struct Compound<'d> {
    data: &'d [u8],
    sector: usize,
    small: usize,
    cutoff: usize,
    fat: Vec<u32>,
    mini_fat: Vec<u32>,
    mini: Vec<u8>,
    pub entries: Vec<Entry>,
    /// Chains that loop or leave the file, entries outside the tree.
    pub damaged: bool,
    /// Octets of streams that may still be read.
    left: Cell<usize>,
}

/// A directory entry as it stands in the file.
struct Raw {
    name: String,
    kind: Option<Kind>,
    left: u32,
    right: u32,
    child: u32,
    class: [u8; 16],
    start: u32,
    size: usize,
}

impl<'d> Compound<'d> {
    /// `None` when there is no directory to be found.
    pub fn open(data: &'d [u8]) -> Option<Self> {
        let shift = u16_at(data, 30).filter(|s| (7..=16).contains(s)).unwrap_or(9);
        let small = u16_at(data, 32).filter(|s| (4..=12).contains(s)).unwrap_or(6);
        let mut file = Self {
            data,
            sector: 1 << shift,
            small: 1 << small,
            cutoff: u32_at(data, 56).unwrap_or(4096),
            fat: Vec::new(),
            mini_fat: Vec::new(),
            mini: Vec::new(),
            entries: Vec::new(),
            damaged: false,
            left: Cell::new(data.len().saturating_mul(OFTEN)),
        };
        file.read_fat();
        let directory = file.chain(raw_u32_at(data, 48)?, usize::MAX);
        let raw: Vec<Raw> = directory.chunks_exact(128).take(ENTRIES).map(Raw::read).collect();
        let root = raw.first()?;
        let mini_fat = file.chain(raw_u32_at(data, 60)?, usize::MAX);
        file.mini_fat = numbers(&mini_fat);
        file.mini = file.chain(root.start, root.size.max(1));
        file.walk(&raw);
        (!file.entries.is_empty()).then_some(file)
    }

    /// The octets of a stream, `most` at most.
    pub fn read(&self, entry: &Entry, most: usize) -> Vec<u8> {
        let size = entry.size.min(most).min(self.left.get());
        self.left.set(self.left.get() - size);
        if entry.kind != Kind::Stream || size == 0 {
            return Vec::new();
        }
        if entry.size >= self.cutoff {
            let mut out = Vec::new();
            follow(&self.fat, entry.start, |sector| {
                out.extend_from_slice(self.sector_at(sector));
                out.len() < size
            });
            out.truncate(size);
            return out;
        }
        let mut out = Vec::new();
        follow(&self.mini_fat, entry.start, |sector| {
            let at = usize::try_from(sector).unwrap_or(usize::MAX).saturating_mul(self.small);
            out.extend_from_slice(slice(&self.mini, at, self.small));
            out.len() < size
        });
        out.truncate(size);
        out
    }

    /// Whether reading has cost more than a file of this length can; what was read since is cut off.
    pub fn is_spent(&self) -> bool {
        self.left.get() == 0
    }

    /// The stream at this path, letters compared without case (MS-CFB §2.6.4).
    pub fn find(&self, path: &str) -> Option<&Entry> {
        self.entries.iter().find(|e| e.kind == Kind::Stream && e.path.eq_ignore_ascii_case(path))
    }

    fn sector_at(&self, sector: u32) -> &'d [u8] {
        let at = usize::try_from(sector).unwrap_or(usize::MAX).saturating_add(1).saturating_mul(self.sector);
        slice(self.data, at, self.sector)
    }

    /// The allocation table, by the 109 sectors of the header and the chain behind them (MS-CFB §2.5).
    fn read_fat(&mut self) {
        let sectors = self.data.len() / self.sector + 1;
        let mut tables: Vec<u32> = (0..109).filter_map(|i| raw_u32_at(self.data, 76 + 4 * i)).collect();
        let (mut next, mut seen) = (raw_u32_at(self.data, 68).unwrap_or(NONE), HashSet::new());
        while next < LAST && seen.len() < sectors && seen.insert(next) {
            let table = numbers(self.sector_at(next));
            let Some((last, rest)) = table.split_last() else { break };
            tables.extend_from_slice(rest);
            next = *last;
        }
        let mut seen = HashSet::new();
        for table in tables.into_iter().filter(|t| *t < LAST) {
            if self.fat.len() >= sectors {
                break;
            }
            if seen.insert(table) {
                self.fat.extend(numbers(self.sector_at(table)));
            }
        }
        self.fat.truncate(sectors);
    }

    fn chain(&mut self, start: u32, most: usize) -> Vec<u8> {
        let mut out = Vec::new();
        let whole = follow(&self.fat, start, |sector| {
            out.extend_from_slice(self.sector_at(sector));
            out.len() < most
        });
        self.damaged |= !whole;
        out
    }

    /// The tree under the root by an explicit stack, then whatever it does not reach.
    fn walk(&mut self, raw: &[Raw]) {
        let mut seen = HashSet::from([0_u32]);
        let mut open = vec![(raw.first().map_or(NONE, |r| r.child), String::new(), 0_usize)];
        if let Some(root) = raw.first() {
            let class = root.class;
            self.entries.push(Entry { path: String::new(), kind: Kind::Root, class, size: 0, start: NONE });
        }
        while let Some((at, parent, depth)) = open.pop() {
            let Some(entry) = usize::try_from(at).ok().and_then(|i| raw.get(i)) else { continue };
            if depth > DEPTH || !seen.insert(at) {
                continue;
            }
            open.push((entry.left, parent.clone(), depth));
            open.push((entry.right, parent.clone(), depth));
            let path = if parent.is_empty() { entry.name.clone() } else { format!("{parent}/{}", entry.name) };
            if entry.kind == Some(Kind::Storage) {
                open.push((entry.child, path.clone(), depth + 1));
            }
            self.add(entry, path);
        }
        for (i, entry) in raw.iter().enumerate().skip(1) {
            let reached = u32::try_from(i).is_ok_and(|i| seen.contains(&i));
            if !reached && entry.kind == Some(Kind::Stream) && entry.size > 0 {
                self.damaged = true;
                self.add(entry, entry.name.clone());
            }
        }
    }

    fn add(&mut self, raw: &Raw, path: String) {
        if let Some(kind) = raw.kind {
            self.entries.push(Entry { path, kind, class: raw.class, size: raw.size, start: raw.start });
        }
    }
}

impl Raw {
    fn read(entry: &[u8]) -> Self {
        let length = u16_at(entry, 64).unwrap_or(0).clamp(2, 64) - 2;
        let name = utf16(slice(entry, 0, length)).replace('/', "_");
        let link = |at| raw_u32_at(entry, at).unwrap_or(NONE);
        Self {
            name,
            kind: match entry.get(66) {
                Some(1) => Some(Kind::Storage),
                Some(2) => Some(Kind::Stream),
                Some(5) => Some(Kind::Root),
                _ => None,
            },
            left: link(68),
            right: link(72),
            child: link(76),
            class: entry.get(80..96).and_then(|c| c.try_into().ok()).unwrap_or_default(),
            start: link(116),
            size: u32_at(entry, 120).unwrap_or(0),
        }
    }
}

/// Walks a chain until `take` has enough; false when it loops or leaves the table.
fn follow(table: &[u32], start: u32, mut take: impl FnMut(u32) -> bool) -> bool {
    let (mut at, mut steps) = (start, 0);
    while at < LAST {
        if steps > table.len() || !take(at) {
            return steps <= table.len();
        }
        steps += 1;
        let Some(next) = usize::try_from(at).ok().and_then(|i| table.get(i)) else { return false };
        at = *next;
    }
    true
}

fn numbers(data: &[u8]) -> Vec<u32> {
    data.chunks_exact(4).filter_map(|c| Some(u32::from_le_bytes(c.try_into().ok()?))).collect()
}
