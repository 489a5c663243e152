//! FAT12, FAT16 and FAT32 with long names (Microsoft's FAT specification): every file of every folder.

use std::collections::{BTreeSet, VecDeque};

use super::super::bytes::{le, utf16};
use super::disk::Volume;
use super::{ENTRIES, Extent, Taker, join};

/// Octets of one folder.
const FOLDER: usize = 2 << 20;

struct Fat<'v, 'd> {
    volume: &'v Volume<'v, 'd>,
    bits: usize,
    table: u64,
    cluster: u64,
    /// Where cluster 2 begins.
    data: u64,
    clusters: u64,
}

/// An entry of a folder.
struct Entry {
    name: String,
    folder: bool,
    first: u64,
    size: u64,
}

pub(super) fn read(volume: &Volume<'_, '_>, taker: &mut Taker<'_, '_>) {
    let boot = volume.read(0, 512);
    let Some((fat, root)) = Fat::read(volume, &boot) else {
        taker.report.unknown("archive.malformed", "the boot sector of a FAT volume is damaged");
        return;
    };
    // Folders by their first cluster; the root of the older kinds has none.
    let (mut folders, mut seen, mut looked) = (VecDeque::from([(String::new(), None)]), BTreeSet::new(), 0);
    while let Some((path, first)) = folders.pop_front() {
        // A folder without entries costs time, too.
        if !taker.may_go_on() {
            return;
        }
        let octets = first.map_or_else(|| root.clone(), |first| fat.octets(first, FOLDER));
        for entry in entries(&octets) {
            looked += 1;
            if looked > ENTRIES || !taker.may_go_on() {
                taker.report.say("unpack.limit", "the image holds too many entries");
                return;
            }
            let name = join(&path, &entry.name);
            if entry.folder {
                if seen.insert(entry.first) {
                    folders.push_back((name, Some(entry.first)));
                }
                continue;
            }
            let extents = fat.extents(entry.first, entry.size);
            if !taker.file(name, volume, &extents, entry.size) {
                return;
            }
        }
    }
}

impl<'v, 'd> Fat<'v, 'd> {
    /// The volume, and the octets of its root folder.
    fn read(volume: &'v Volume<'v, 'd>, boot: &[u8]) -> Option<(Self, Vec<u8>)> {
        let field = |at, width| le(boot, at, width).map(|n| n as u64);
        let (sector, cluster, reserved, fats) = (field(11, 2)?, field(13, 1)?, field(14, 2)?, field(16, 1)?);
        let length = field(22, 2).filter(|n| *n > 0).or(field(36, 4))?;
        let sectors = field(19, 2).filter(|n| *n > 0).or(field(32, 4))?;
        let root_at = reserved + fats * length;
        let root = (field(17, 2)? * 32).div_ceil(sector.max(1));
        let first = root_at + root;
        let clusters = sectors.checked_sub(first)?.checked_div(cluster)?;
        let bits = match clusters {
            0..4085 => 12,
            4085..65525 => 16,
            _ => 32,
        };
        let cluster = cluster * sector;
        let fat = Self { volume, bits, table: reserved * sector, cluster, data: first * sector, clusters };
        let octets = if root == 0 {
            fat.octets(field(44, 4)?, FOLDER)
        } else {
            volume.read(root_at * sector, usize::try_from(root * sector).ok()?.min(FOLDER)).into_owned()
        };
        Some((fat, octets))
    }

    fn next(&self, cluster: u64) -> Option<u64> {
        let bits = self.bits as u64;
        let octets = self.volume.read(self.table + cluster * bits / 8, 4);
        let found = le(&octets, 0, self.bits.div_ceil(8))? as u64;
        let next = match bits {
            12 if cluster % 2 == 1 => found >> 4,
            12 => found & 0xFFF,
            16 => found,
            _ => found & 0x0FFF_FFFF,
        };
        // The last values are the end of a chain and bad clusters; what is outside the volume ends one too.
        (2..self.clusters + 2).contains(&next).then_some(next)
    }

    /// Where `size` octets lie that begin in cluster `first`. A chain that bites its tail ends with the size.
    fn extents(&self, first: u64, size: u64) -> Vec<Extent> {
        let (mut extents, mut cluster, mut left): (Vec<Extent>, _, _) = (Vec::new(), first, size);
        while left > 0 && cluster >= 2 && cluster < self.clusters + 2 {
            let at = self.data + (cluster - 2) * self.cluster;
            let many = extents.len() >= ENTRIES;
            match extents.last_mut() {
                Some((Some(start), length)) if *start + *length == at => *length += self.cluster,
                _ if many => break,
                _ => extents.push((Some(at), self.cluster)),
            }
            left = left.saturating_sub(self.cluster);
            let Some(next) = self.next(cluster) else { break };
            cluster = next;
        }
        extents
    }

    /// The octets of a chain, at most `most` of them.
    fn octets(&self, first: u64, most: usize) -> Vec<u8> {
        let mut octets = Vec::new();
        for (at, length) in self.extents(first, most as u64) {
            let length = usize::try_from(length).unwrap_or(most).min(most - octets.len());
            octets.extend_from_slice(&self.volume.read(at.unwrap_or_default(), length));
        }
        octets
    }
}

fn entries(octets: &[u8]) -> Vec<Entry> {
    let (mut found, mut long): (Vec<Entry>, Vec<(u8, Vec<u8>)>) = (Vec::new(), Vec::new());
    for record in octets.chunks_exact(32) {
        let (first, attributes) = (record.first().copied().unwrap_or(0), record.get(11).copied().unwrap_or(0));
        if first == 0 {
            break;
        }
        let piece = |from: usize, upto: usize| record.get(from..upto).unwrap_or_default();
        if attributes & 0x3F == 0x0F && first != 0xE5 {
            // The pieces stand in front of the entry, the last one first.
            long.push((first & 0x1F, [piece(1, 11), piece(14, 26), piece(28, 32)].concat()));
            continue;
        }
        long.sort_by_key(|(number, _)| *number);
        let name: Vec<u8> = long.drain(..).flat_map(|(_, piece)| piece).collect();
        if first == 0xE5 || first == b'.' || attributes & 8 != 0 {
            continue;
        }
        let long_name = utf16(&name);
        let high = le(record, 20, 2).unwrap_or_default();
        found.push(Entry {
            name: if long_name.is_empty() { short(piece(0, 8), piece(8, 11)) } else { long_name },
            folder: attributes & 0x10 != 0,
            first: (high << 16 | le(record, 26, 2).unwrap_or_default()) as u64,
            size: le(record, 28, 4).unwrap_or_default() as u64,
        });
    }
    found
}

fn short(stem: &[u8], extension: &[u8]) -> String {
    let trim = |field: &[u8]| String::from_utf8_lossy(field).trim_end().to_owned();
    let (stem, extension) = (trim(stem), trim(extension));
    if extension.is_empty() { stem } else { format!("{stem}.{extension}") }
}
