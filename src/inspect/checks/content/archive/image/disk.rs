//! A disk's octets, wherever they lie in a file, and the volumes on it (MBR, UEFI §5 GPT).

use std::borrow::Cow;

use super::super::bytes::{le, piece};

/// Octets that partition tables count in.
const SECTOR: u64 = 512;
/// Partitions of one disk that are looked at.
const VOLUMES: usize = 32;
/// Extended partitions chain: so many links are followed.
const LINKS: usize = 16;

pub(super) struct Disk<'d> {
    data: &'d [u8],
    map: Map,
    /// The disk is a difference to another one, which is not here.
    pub(super) has_parent: bool,
}

enum Map {
    /// Octet for octet.
    Same,
    /// Blocks of one length, each somewhere in the file or nowhere.
    Blocks { length: u64, places: Vec<Option<u64>> },
}

impl<'d> Disk<'d> {
    pub(super) const fn raw(data: &'d [u8]) -> Self {
        Self { data, map: Map::Same, has_parent: false }
    }
    pub(super) const fn blocks(data: &'d [u8], length: u64, places: Vec<Option<u64>>, has_parent: bool) -> Self {
        Self { data, map: Map::Blocks { length, places }, has_parent }
    }

    /// `length` octets at `at`; holes are zeros, what is behind the end is missing.
    fn read(&self, at: u64, length: usize) -> Cow<'d, [u8]> {
        let Map::Blocks { length: block, places } = &self.map else {
            return Cow::Borrowed(upto(self.data, at, length));
        };
        let within = |at: u64| usize::try_from((block - at % block).min(length as u64)).unwrap_or(length);
        let place = |at: u64| usize::try_from(at / block).ok().and_then(|n| places.get(n));
        if let (Some(Some(start)), true) = (place(at), within(at) >= length) {
            return Cow::Borrowed(upto(self.data, start.saturating_add(at % block), length));
        }
        let (mut out, mut at) = (Vec::new(), at);
        while out.len() < length {
            let Some(start) = place(at) else { break };
            let part = within(at).min(length - out.len());
            match start {
                Some(start) => {
                    let found = upto(self.data, start.saturating_add(at % block), part);
                    out.extend_from_slice(found);
                    out.resize(out.len() + part - found.len(), 0);
                }
                None => out.resize(out.len() + part, 0),
            }
            at += part as u64;
        }
        Cow::Owned(out)
    }

    /// Every volume: of all partition tables there are, or the disk itself when it is one.
    pub(super) fn volumes(&self) -> Vec<Volume<'_, 'd>> {
        let whole = Volume::whole(self);
        if whole.is_fat() || whole.is_ntfs() || whole.is_exfat() {
            return vec![whole];
        }
        let mut starts = self.guid_table();
        if starts.is_empty() {
            starts = self.partitions();
        }
        starts.sort_unstable();
        starts.dedup();
        starts.truncate(VOLUMES);
        starts.into_iter().map(|start| Volume { disk: self, base: start.saturating_mul(SECTOR) }).collect()
    }

    fn partitions(&self) -> Vec<u64> {
        let mut starts = Vec::new();
        // Of the table itself, and of the first extended partition, which links count from.
        let (mut table, mut extended) = (0_u64, None);
        for _ in 0..LINKS {
            let sector = self.read(table.saturating_mul(SECTOR), 512);
            if sector.get(510..512) != Some(b"\x55\xaa") {
                break;
            }
            let mut next = None;
            for entry in sector.get(446..510).unwrap_or_default().chunks_exact(16) {
                let start = le(entry, 8, 4).unwrap_or_default() as u64;
                match entry.get(4) {
                    Some(0xEE) | Some(0) | None => {}
                    Some(5 | 15 | 0x85) => next = Some(extended.unwrap_or_default() + start),
                    Some(_) if start > 0 => starts.push(table + start),
                    Some(_) => {}
                }
            }
            let Some(link) = next.filter(|link| *link > table) else { break };
            extended = extended.or(Some(link));
            table = link;
        }
        starts
    }

    fn guid_table(&self) -> Vec<u64> {
        let header = self.read(SECTOR, 512);
        if !header.starts_with(b"EFI PART") {
            return Vec::new();
        }
        let field = |at, width| le(&header, at, width).unwrap_or_default();
        let (table, count, size) = (field(72, 8) as u64, field(80, 4).min(128), field(84, 4));
        if !(128..=4096).contains(&size) {
            return Vec::new();
        }
        let entries = self.read(table.saturating_mul(SECTOR), count * size);
        let used = entries.chunks_exact(size).filter(|e| e.get(..16).is_some_and(|kind| kind.iter().any(|b| *b != 0)));
        used.filter_map(|entry| le(entry, 32, 8)).map(|start| start as u64).collect()
    }
}

fn upto(data: &[u8], at: u64, length: usize) -> &[u8] {
    let rest = usize::try_from(at).ok().and_then(|at| data.get(at..)).unwrap_or_default();
    rest.get(..length).unwrap_or(rest)
}

/// One file system on a disk.
#[derive(Clone, Copy)]
pub(super) struct Volume<'v, 'd> {
    disk: &'v Disk<'d>,
    base: u64,
}

impl<'v, 'd> Volume<'v, 'd> {
    /// The disk as one volume.
    pub(super) const fn whole(disk: &'v Disk<'d>) -> Self {
        Self { disk, base: 0 }
    }
    pub(super) fn read(&self, at: u64, length: usize) -> Cow<'d, [u8]> {
        self.disk.read(self.base.saturating_add(at), length)
    }
    pub(super) fn is_ntfs(&self) -> bool {
        self.name() == "NTFS"
    }
    pub(super) fn is_exfat(&self) -> bool {
        self.name() == "EXFAT"
    }
    pub(super) fn is_fat(&self) -> bool {
        is_fat(&self.read(0, 512))
    }
    /// What the boot sector calls itself.
    pub(super) fn name(&self) -> String {
        let field = self.read(3, 8);
        let known = field.iter().all(|b| b.is_ascii_graphic() || *b == b' ');
        if known { String::from_utf8_lossy(&field).trim().to_owned() } else { "unknown".to_owned() }
    }
}

/// Whether `data` begins with the boot sector of a FAT volume: every field has one of its few values.
pub(in super::super::super) fn is_fat(data: &[u8]) -> bool {
    let field = |at, width| le(data, at, width).unwrap_or_default();
    let (sector, cluster, reserved, fats) = (field(11, 2), field(13, 1), field(14, 2), field(16, 1));
    let (small, large) = (field(22, 2), field(36, 4));
    matches!(data.first(), Some(0xEB | 0xE9))
        && matches!(sector, 512 | 1024 | 2048 | 4096)
        && cluster.is_power_of_two()
        && reserved > 0
        && (1..=2).contains(&fats)
        && (field(21, 1) == 0xF0 || field(21, 1) >= 0xF8)
        && (field(19, 2) > 0 || field(32, 4) > 0)
        && (small > 0 || large > 0)
        && (small > 0 || field(17, 2) == 0)
}

/// Whether `data` begins with a partition table: at least one entry, and none that cannot be.
pub(in super::super::super) fn is_partitioned(data: &[u8]) -> bool {
    if piece(data, 512, 8) == Some(b"EFI PART") {
        return true;
    }
    let Some(table) = data.get(446..512).filter(|t| t.ends_with(b"\x55\xaa")) else { return false };
    let entries = || table.chunks_exact(16).take(4);
    let used = |entry: &[u8]| entry.get(4).is_some_and(|kind| *kind != 0);
    let sane = |entry: &[u8]| {
        let (start, size) = (le(entry, 8, 4).unwrap_or_default(), le(entry, 12, 4).unwrap_or_default());
        matches!(entry.first(), Some(0 | 0x80))
            && (!used(entry) || (start > 0 && size > 0 && start.saturating_mul(512) < data.len()))
    };
    entries().all(sane) && entries().any(used)
}
