//! A disk in memory that is as unkind as a real one may be: a power cut loses, reorders and tears whatever was not
//! synced, names as well as bytes; operations fail on command; every operation can be the last.
//!
//! Every operation that changes something counts. [`Simulated::record_cuts`] keeps the state behind each of them, and
//! [`Simulated::after_power_cut`] makes of such a state one of the disks that a restart might find.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Disk, DiskFile, Lock, Open, Room};
use crate::env::Dice;

/// What goes wrong at an operation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Trouble {
    /// EIO. A write gets half-way; a sync loses part of what was written since the last one, for good.
    Broken,
    /// ENOSPC.
    Full,
}

/// The disk. Clones share it.
#[derive(Clone, Debug)]
pub struct Simulated(Arc<Mutex<State>>);

#[derive(Clone, Debug)]
struct State {
    names: BTreeMap<PathBuf, u64>,
    folders: BTreeSet<PathBuf>,
    safe_names: BTreeMap<PathBuf, u64>,
    safe_folders: BTreeSet<PathBuf>,
    unsafe_names: Vec<NameChange>,
    nodes: BTreeMap<u64, Arc<Node>>,
    next_node: u64,
    operations: u64,
    trouble: BTreeMap<u64, Trouble>,
    capacity: u64,
    dice: Dice,
    cuts: Option<Vec<State>>,
}

/// One change of a folder that is not synced yet; it happens as a whole or not at all.
#[derive(Clone, Debug)]
enum NameChange {
    Folder(PathBuf),
    Set(PathBuf, u64),
    Gone(PathBuf),
    Moved(PathBuf, PathBuf, u64),
}

impl NameChange {
    fn folder(&self) -> Option<&Path> {
        match self {
            Self::Folder(path) | Self::Set(path, _) | Self::Gone(path) | Self::Moved(_, path, _) => path.parent(),
        }
    }
}

/// One file: what a restart finds for sure, what the running system sees, and the writes in between.
#[derive(Clone, Debug, Default)]
struct Node {
    safe: Vec<u8>,
    live: Vec<u8>,
    waiting: Vec<(u64, Vec<u8>)>,
    /// Stretches that cannot be read until they are written again.
    spoilt: Vec<(u64, u64)>,
}

impl Simulated {
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(State {
            names: BTreeMap::new(),
            folders: BTreeSet::new(),
            safe_names: BTreeMap::new(),
            safe_folders: BTreeSet::new(),
            unsafe_names: Vec::new(),
            nodes: BTreeMap::new(),
            next_node: 0,
            operations: 0,
            trouble: BTreeMap::new(),
            capacity: u64::MAX,
            dice: Dice::seeded(seed),
            cuts: None,
        })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Operations so far.
    #[must_use]
    pub fn operations(&self) -> u64 {
        self.state().operations
    }

    /// Lets operation number `at` (counted as by [`Self::operations`], the first is 1) fail.
    pub fn fail(&self, at: u64, trouble: Trouble) {
        self.state().trouble.insert(at, trouble);
    }

    /// Takes back what [`Self::fail`] had set and did not come to pass.
    pub fn clear_trouble(&self) {
        self.state().trouble.clear();
    }

    /// How much all files together may hold, octets.
    pub fn set_capacity(&self, bytes: u64) {
        self.state().capacity = bytes;
    }

    /// From now on the state behind each operation is kept for [`Self::take_cuts`].
    pub fn record_cuts(&self) {
        self.state().cuts = Some(Vec::new());
    }

    /// The disks at each operation since the last call: as many moments at which the power may go.
    #[must_use]
    pub fn take_cuts(&self) -> Vec<Self> {
        let mut state = self.state();
        let Some(cuts) = state.cuts.as_mut() else { return Vec::new() };
        std::mem::take(cuts).into_iter().map(|cut| Self(Arc::new(Mutex::new(cut)))).collect()
    }

    /// One of the disks that may be found when the power went now; which, the dice decide.
    #[must_use]
    pub fn after_power_cut(&self, dice: &Dice) -> Self {
        let mut state = self.state().clone();
        // Some cuts lose everything or nothing, the rest a part: 0, 1/4, ... 4/4 of the unsynced units survive.
        let quarters = dice.below(5);
        let survives = || dice.below(4) < quarters;
        for node in state.nodes.values_mut() {
            let node = Arc::make_mut(node);
            node.lose_power(dice, &survives);
        }
        for change in std::mem::take(&mut state.unsafe_names) {
            if survives() {
                state.make_safe(change);
            }
        }
        // A file whose folder is gone is gone.
        let folders = state.safe_folders.clone();
        let reachable = |path: &Path| path.ancestors().skip(1).all(|a| a.parent().is_none() || folders.contains(a));
        state.safe_names.retain(|path, _| reachable(path));
        state.safe_folders.retain(|path| reachable(path));
        state.names = state.safe_names.clone();
        state.folders = state.safe_folders.clone();
        let used: BTreeSet<u64> = state.names.values().copied().collect();
        state.nodes.retain(|node, _| used.contains(node));
        (state.operations, state.cuts) = (0, None);
        state.trouble.clear();
        Self(Arc::new(Mutex::new(state)))
    }

    /// The disk as it is found when only the process died: everything written is there, synced or not.
    #[must_use]
    pub fn after_kill(&self) -> Self {
        let mut state = self.state().clone();
        (state.operations, state.cuts) = (0, None);
        state.trouble.clear();
        Self(Arc::new(Mutex::new(state)))
    }

    /// Makes `len` octets of a file unreadable (EIO), until they are written again.
    pub fn spoil(&self, path: &Path, from: u64, len: u64) {
        let mut state = self.state();
        let Some(node) = state.names.get(path).copied().and_then(|id| state.nodes.get_mut(&id)) else { return };
        Arc::make_mut(node).spoilt.push((from, from.saturating_add(len)));
    }

    /// Flips one bit of a file, as a failing disk does, synced or not.
    pub fn rot(&self, path: &Path, at: u64) {
        let mut state = self.state();
        let Some(node) = state.names.get(path).copied().and_then(|id| state.nodes.get_mut(&id)) else { return };
        let (node, at) = (Arc::make_mut(node), usize::try_from(at).unwrap_or(usize::MAX));
        for bytes in [&mut node.safe, &mut node.live] {
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 0x10;
            }
        }
    }
}

impl Node {
    fn lose_power(&mut self, dice: &Dice, survives: &dyn Fn() -> bool) {
        // A sector is written whole or not at all; larger writes tear between sectors or pages.
        let unit = if dice.below(2) == 0 { 512 } else { 4096 };
        let mut kept = std::mem::take(&mut self.safe);
        for (at, bytes) in std::mem::take(&mut self.waiting) {
            let mut at = usize::try_from(at).unwrap_or(usize::MAX);
            let mut rest = bytes.as_slice();
            while !rest.is_empty() {
                let (piece, more) = rest.split_at(rest.len().min(unit - at % unit));
                if survives() {
                    put(&mut kept, at, piece);
                }
                (at, rest) = (at.saturating_add(piece.len()), more);
            }
        }
        (self.live, self.safe) = (kept.clone(), kept);
    }
}

fn put(into: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    let end = at.saturating_add(bytes.len());
    if into.len() < end {
        into.resize(end, 0);
    }
    if let Some(place) = into.get_mut(at..end) {
        place.copy_from_slice(bytes);
    }
}

impl State {
    /// Counts an operation; says whether it is to fail.
    fn operation(&mut self) -> Option<Trouble> {
        self.operations += 1;
        self.trouble.remove(&self.operations)
    }

    /// Every change ends here: the state behind it is one of the moments at which the power may go.
    fn done(&mut self) {
        if self.cuts.is_some() {
            let kept = self.cuts.take();
            let cut = self.clone();
            self.cuts = kept;
            if let Some(cuts) = self.cuts.as_mut() {
                cuts.push(cut);
            }
        }
    }

    fn make_safe(&mut self, change: NameChange) {
        match change {
            NameChange::Folder(path) => {
                self.safe_folders.insert(path);
            }
            NameChange::Set(path, node) => {
                self.safe_names.insert(path, node);
            }
            NameChange::Gone(path) => {
                self.safe_names.remove(&path);
            }
            NameChange::Moved(from, to, node) => {
                self.safe_names.remove(&from);
                self.safe_names.insert(to, node);
            }
        }
    }

    fn used(&self) -> u64 {
        self.nodes.values().map(|node| node.live.len() as u64).sum()
    }

    fn changed(&mut self, change: NameChange) {
        self.unsafe_names.push(change);
        self.done();
    }
}

fn failure(trouble: Trouble) -> io::Error {
    match trouble {
        Trouble::Broken => io::Error::from_raw_os_error(libc::EIO),
        Trouble::Full => io::Error::from_raw_os_error(libc::ENOSPC),
    }
}

fn missing() -> io::Error {
    io::ErrorKind::NotFound.into()
}

impl Disk for Simulated {
    fn create_folder(&self, folder: &Path) -> io::Result<()> {
        let mut state = self.state();
        let mut above: Vec<&Path> = folder.ancestors().filter(|a| a.parent().is_some()).collect();
        above.reverse();
        for path in above {
            if state.folders.contains(path) {
                continue;
            }
            if let Some(trouble) = state.operation() {
                return Err(failure(trouble));
            }
            state.folders.insert(path.to_owned());
            state.changed(NameChange::Folder(path.to_owned()));
            // And the sync of the folder above.
            if let Some(trouble) = state.operation() {
                return Err(failure(trouble));
            }
            if let Some(change) = state.unsafe_names.pop() {
                state.make_safe(change);
            }
            state.done();
        }
        Ok(())
    }

    fn open(&self, path: &Path, how: Open) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = self.state();
        let node = match (state.names.get(path).copied(), how) {
            (Some(_), Open::CreateNew) => return Err(io::ErrorKind::AlreadyExists.into()),
            (Some(node), _) => node,
            (None, Open::Read | Open::ReadWrite) => return Err(missing()),
            (None, Open::CreateNew) => {
                if !path.parent().is_some_and(|folder| state.folders.contains(folder)) {
                    return Err(missing());
                }
                if let Some(trouble) = state.operation() {
                    return Err(failure(trouble));
                }
                let node = state.next_node;
                state.next_node += 1;
                state.nodes.insert(node, Arc::new(Node::default()));
                state.names.insert(path.to_owned(), node);
                state.changed(NameChange::Set(path.to_owned(), node));
                node
            }
        };
        Ok(Arc::new(File { disk: self.clone(), node }))
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<String>> {
        let state = self.state();
        if !state.folders.contains(folder) {
            return Err(missing());
        }
        let inside = |path: &&PathBuf| path.parent() == Some(folder);
        let mut names: Vec<String> = (state.names.keys().filter(inside))
            .chain(state.folders.iter().filter(inside))
            .filter_map(|path| path.file_name()?.to_str().map(str::to_owned))
            .collect();
        names.sort_unstable();
        Ok(names)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state();
        if let Some(trouble) = state.operation() {
            return Err(failure(trouble));
        }
        let node = state.names.remove(from).ok_or_else(missing)?;
        state.names.insert(to.to_owned(), node);
        state.changed(NameChange::Moved(from.to_owned(), to.to_owned(), node));
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        if let Some(trouble) = state.operation() {
            return Err(failure(trouble));
        }
        state.names.remove(path).ok_or_else(missing)?;
        state.changed(NameChange::Gone(path.to_owned()));
        Ok(())
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        let mut state = self.state();
        if let Some(trouble) = state.operation() {
            return Err(failure(trouble));
        }
        let (now, later) = std::mem::take(&mut state.unsafe_names)
            .into_iter()
            .partition::<Vec<_>, _>(|change| change.folder() == Some(folder));
        state.unsafe_names = later;
        for change in now {
            state.make_safe(change);
        }
        state.done();
        Ok(())
    }

    fn free_bytes(&self, _path: &Path) -> io::Result<u64> {
        let state = self.state();
        Ok(state.capacity.saturating_sub(state.used()))
    }

    fn free_files(&self, _path: &Path) -> io::Result<u64> {
        Ok(u64::MAX)
    }

    fn lock(&self, _path: &Path) -> io::Result<Lock> {
        Ok(Lock { _file: None })
    }
}

#[derive(Debug)]
struct File {
    disk: Simulated,
    node: u64,
}

impl File {
    /// Runs `work` on the node, with the trouble that this operation is to have.
    fn change<T>(&self, work: impl FnOnce(&mut Node, Option<Trouble>, &Dice) -> io::Result<T>) -> io::Result<T> {
        let mut state = self.disk.state();
        let (trouble, dice) = (state.operation(), state.dice.clone());
        let node = state.nodes.get_mut(&self.node).ok_or_else(missing)?;
        let result = work(Arc::make_mut(node), trouble, &dice);
        state.done();
        result
    }
}

impl DiskFile for File {
    fn read_at(&self, at: u64, into: &mut [u8]) -> io::Result<usize> {
        let state = self.disk.state();
        let node = state.nodes.get(&self.node).ok_or_else(missing)?;
        let there = node.live.get(usize::try_from(at).unwrap_or(usize::MAX)..).unwrap_or(&[]);
        let mut n = there.len().min(into.len());
        // Up to the first bad sector, as the kernel does.
        for (from, end) in &node.spoilt {
            if *from <= at && at < *end {
                return Err(failure(Trouble::Broken));
            }
            if at < *from {
                n = n.min(usize::try_from(*from - at).unwrap_or(usize::MAX));
            }
        }
        if let (Some(into), Some(there)) = (into.get_mut(..n), there.get(..n)) {
            into.copy_from_slice(there);
        }
        Ok(n)
    }

    fn write_at(&self, at: u64, parts: &mut [IoSlice<'_>]) -> io::Result<()> {
        let mut bytes: Vec<u8> = parts.iter().flat_map(|part| part.iter().copied()).collect();
        let room = self.disk.free_bytes(Path::new("/"))?;
        let end = at.saturating_add(bytes.len() as u64);
        self.change(|node, trouble, _| {
            node.spoilt.retain(|(from, to)| *to <= at || end <= *from);
            let trouble = if end.saturating_sub(node.live.len() as u64) > room { Some(Trouble::Full) } else { trouble };
            if trouble.is_some() {
                bytes.truncate(bytes.len() / 2);
            }
            put(&mut node.live, usize::try_from(at).unwrap_or(usize::MAX), &bytes);
            node.waiting.push((at, bytes));
            trouble.map_or(Ok(()), |trouble| Err(failure(trouble)))
        })
    }

    fn sync_data(&self) -> io::Result<()> {
        self.change(|node, trouble, dice| match trouble {
            None => {
                // Only what was written since: pages that an earlier failed sync forgot do not come back.
                for (at, bytes) in std::mem::take(&mut node.waiting) {
                    put(&mut node.safe, usize::try_from(at).unwrap_or(usize::MAX), &bytes);
                }
                Ok(())
            }
            Some(trouble) => {
                // What fsync could not write is forgotten: still readable, never written again (fsyncgate).
                let live = node.live.clone();
                node.lose_power(dice, &|| dice.below(2) == 0);
                node.live = live;
                Err(failure(trouble))
            }
        })
    }

    fn preallocate(&self, len: u64, _: Room) -> io::Result<()> {
        let room = self.disk.free_bytes(Path::new("/"))?;
        self.change(|node, trouble, _| {
            let more = len.saturating_sub(node.live.len() as u64);
            if let Some(trouble) = trouble.or((more > room).then_some(Trouble::Full)) {
                return Err(failure(trouble));
            }
            let zeros = vec![0; usize::try_from(len).unwrap_or(usize::MAX)];
            node.live.clone_from(&zeros);
            node.waiting.push((0, zeros));
            Ok(())
        })
    }

    fn size(&self) -> io::Result<u64> {
        let state = self.disk.state();
        Ok(state.nodes.get(&self.node).ok_or_else(missing)?.live.len() as u64)
    }
}
