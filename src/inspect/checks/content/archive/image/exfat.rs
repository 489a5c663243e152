//! exFAT (Microsoft's exFAT file system specification): every file of every folder. Windows mounts it from a virtual disk
//! as it does FAT.

use std::collections::{BTreeSet, VecDeque};

use super::super::bytes::{le, utf16};
use super::disk::Volume;
use super::{ENTRIES, Extent, Taker, join};

/// Octets of one folder.
const FOLDER: u64 = 4 << 20;

/// Kinds of entries (§6, §7), those in use.
const FILE: u8 = 0x85;
const STREAM: u8 = 0xC0;
const NAME: u8 = 0xC1;

struct ExFat<'v, 'd> {
    volume: &'v Volume<'v, 'd>,
    table: u64,
    /// Where cluster 2 begins.
    heap: u64,
    clusters: u64,
    cluster: u64,
}

/// Where the octets of a file or folder lie.
#[derive(Clone, Copy)]
struct Place {
    first: u64,
    size: u64,
    /// One cluster behind the other; the table says nothing of them.
    is_run: bool,
}

struct Entry {
    name: String,
    is_folder: bool,
    place: Place,
}

pub(super) fn read(volume: &Volume<'_, '_>, taker: &mut Taker<'_, '_>) {
    let boot = volume.read(0, 512);
    let Some((exfat, root)) = ExFat::read(volume, &boot) else {
        taker.report.unknown("archive.malformed", "the boot sector of an exFAT volume is damaged");
        return;
    };
    let (mut folders, mut seen, mut looked) = (VecDeque::from([(String::new(), root)]), BTreeSet::new(), 0);
    while let Some((path, place)) = folders.pop_front() {
        if !seen.insert(place.first) {
            continue;
        }
        // A folder without entries costs time, too.
        if !taker.may_go_on() {
            return;
        }
        for entry in entries(&exfat.octets(place)) {
            looked += 1;
            if looked > ENTRIES || !taker.may_go_on() {
                taker.report.say("unpack.limit", "the image holds too many entries");
                return;
            }
            let name = join(&path, &entry.name);
            if entry.is_folder {
                folders.push_back((name, entry.place));
            } else if !taker.file(name, volume, &exfat.extents(entry.place), entry.place.size) {
                return;
            }
        }
    }
}

impl<'v, 'd> ExFat<'v, 'd> {
    /// The volume, and its root folder (§3.1).
    fn read(volume: &'v Volume<'v, 'd>, boot: &[u8]) -> Option<(Self, Place)> {
        let field = |at, width| le(boot, at, width).map(|n| n as u64);
        let (sector, per_cluster) = (field(108, 1)?, field(109, 1)?);
        if !(9..=12).contains(&sector) || per_cluster > 25 - sector {
            return None;
        }
        let exfat = Self {
            volume,
            table: field(80, 4)? << sector,
            heap: field(88, 4)? << sector,
            clusters: field(92, 4)?,
            cluster: 1 << (sector + per_cluster),
        };
        let root = Place { first: field(96, 4)?, size: FOLDER, is_run: false };
        Some((exfat, root))
    }

    fn next(&self, cluster: u64) -> Option<u64> {
        let octets = self.volume.read(self.table.saturating_add(cluster * 4), 4);
        le(&octets, 0, 4).map(|n| n as u64).filter(|n| (2..self.clusters + 2).contains(n))
    }

    /// A chain that bites its tail ends with the size.
    fn extents(&self, place: Place) -> Vec<Extent> {
        let at = |cluster: u64| self.heap.saturating_add((cluster - 2).saturating_mul(self.cluster));
        if place.first < 2 || place.first >= self.clusters + 2 {
            return Vec::new();
        }
        if place.is_run {
            return vec![(Some(at(place.first)), place.size)];
        }
        let (mut extents, mut cluster, mut left): (Vec<Extent>, _, _) = (Vec::new(), place.first, place.size);
        while left > 0 && extents.len() < ENTRIES {
            match extents.last_mut() {
                Some((Some(start), length)) if *start + *length == at(cluster) => *length += self.cluster,
                _ => extents.push((Some(at(cluster)), self.cluster)),
            }
            left = left.saturating_sub(self.cluster);
            let Some(next) = self.next(cluster) else { break };
            cluster = next;
        }
        extents
    }

    fn octets(&self, place: Place) -> Vec<u8> {
        let mut octets = Vec::new();
        let mut left = place.size.min(FOLDER);
        for (at, length) in self.extents(Place { size: left, ..place }) {
            let part = length.min(left);
            octets.extend_from_slice(&self.volume.read(at.unwrap_or_default(), usize::try_from(part).unwrap_or(0)));
            left -= part;
        }
        octets
    }
}

/// The sets of entries in a folder: a file, its stream, the pieces of its name (§7.4, §7.6, §7.7).
fn entries(octets: &[u8]) -> Vec<Entry> {
    let (mut found, mut open): (Vec<Entry>, Option<(Entry, Vec<u8>)>) = (Vec::new(), None);
    let mut put_away = |open: Option<(Entry, Vec<u8>)>| {
        if let Some((entry, name)) = open {
            found.push(Entry { name: utf16(&name), ..entry });
        }
    };
    for record in octets.chunks_exact(32) {
        let field = |at, width| le(record, at, width).unwrap_or_default() as u64;
        match (record.first(), &mut open) {
            (None | Some(0), _) => break,
            (Some(&FILE), _) => {
                let place = Place { first: 0, size: 0, is_run: false };
                let entry = Entry { name: String::new(), is_folder: field(4, 2) & 0x10 != 0, place };
                put_away(open.replace((entry, Vec::new())));
            }
            // What is no longer in use, or begins a set of its own, ends the one before.
            (Some(kind), _) if kind & 0xC0 != 0xC0 => put_away(open.take()),
            (Some(&STREAM), Some((entry, _))) => {
                entry.place = Place { first: field(20, 4), size: field(24, 8), is_run: field(1, 1) & 2 != 0 };
            }
            (Some(&NAME), Some((_, name))) if name.len() < 512 => {
                name.extend_from_slice(record.get(2..).unwrap_or_default());
            }
            _ => {}
        }
    }
    put_away(open);
    found
}
