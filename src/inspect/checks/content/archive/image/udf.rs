//! UDF (ECMA-167, OSTA UDF 2.60) with partitions that lie as they are, which is how every program that makes an image
//! file writes them, and with the metadata partition of UDF 2.50.

use std::collections::{BTreeSet, VecDeque};

use super::super::bytes::{from, le, piece, upto};
use super::disk::Volume;
use super::iso::utf16_be;
use super::{ENTRIES, Extent, Taker, join};

/// Octets of one folder.
const FOLDER: u64 = 4 << 20;
/// Pieces of one file.
const PIECES: usize = 1 << 14;

/// Descriptor tags (ECMA-167 3/7.2, 4/7.2).
const ANCHOR: usize = 2;
const PARTITION: usize = 5;
const LOGICAL_VOLUME: usize = 6;
const TERMINATOR: usize = 8;
const FILE_SET: usize = 256;
const FILE_ID: usize = 257;
const FILE: usize = 261;
const EXTENDED_FILE: usize = 266;

/// What a file entry says.
struct File {
    kind: usize,
    size: u64,
    extents: Vec<Extent>,
    /// Octets that lie in the entry itself.
    inside: Option<Vec<u8>>,
}

struct Udf<'d> {
    data: &'d [u8],
    block: u64,
    /// Where each partition reference leads: octets from the start.
    starts: Vec<u64>,
}

/// Reads the volume, if there is one.
pub(super) fn read(data: &[u8], volume: &Volume<'_, '_>, taker: &mut Taker<'_, '_>) -> bool {
    let anchors = [256 * 2048, 256 * 512, data.len().saturating_sub(2048), data.len().saturating_sub(257 * 2048)];
    let Some(anchor) = anchors.into_iter().find(|at| tag(data, *at) == Some(ANCHOR)) else { return false };
    let sector = if anchor == 256 * 512 { 512 } else { 2048 };
    let Some((udf, root)) = Udf::open(data, anchor, sector) else {
        taker.report.unknown("archive.malformed", "the descriptors of the UDF image are damaged");
        return true;
    };
    let (mut folders, mut seen, mut looked) = (VecDeque::from([(String::new(), root)]), BTreeSet::new(), 0);
    while let Some((path, at)) = folders.pop_front() {
        let Some(folder) = udf.file(at).filter(|_| seen.insert(at)) else { continue };
        // A folder without entries costs time, too.
        if !taker.may_go_on() {
            return true;
        }
        let octets = folder.octets(volume);
        for (name, is_folder, icb) in names(&octets) {
            looked += 1;
            if looked > ENTRIES || !taker.may_go_on() {
                taker.report.say("unpack.limit", "the image holds too many entries");
                return true;
            }
            let name = join(&path, &name);
            let Some(at) = udf.place(&icb) else { continue };
            if is_folder {
                folders.push_back((name, at));
                continue;
            }
            let Some(file) = udf.file(at) else {
                taker.report.unknown("archive.malformed", &format!("{name:?} has no entry in the UDF image"));
                continue;
            };
            if !take(file, name, volume, taker) {
                return true;
            }
        }
    }
    true
}

fn take(file: File, name: String, volume: &Volume<'_, '_>, taker: &mut Taker<'_, '_>) -> bool {
    if file.kind == 12 {
        taker.report.say("archive.link", &format!("{name:?} is a link"));
    }
    if let Some(inside) = file.inside {
        let (data, stop) = taker.budget.copy(&inside);
        taker.report.check_name(&name);
        taker.members.push(super::Member { name, data });
        return !taker.report.stopped(stop, "image");
    }
    let first = file.extents.first().and_then(|(at, _)| *at).unwrap_or_default();
    // An image of both kinds shows the same octets twice.
    let known = file.size > 0 && !taker.places.insert((first, file.size));
    if known && taker.members.iter().any(|member| member.name.eq_ignore_ascii_case(&name)) {
        return true;
    }
    let (extents, size) = if known { (&[][..], 0) } else { (&*file.extents, file.size) };
    taker.file(name, volume, extents, size)
}

fn tag(data: &[u8], at: usize) -> Option<usize> {
    let head = piece(data, at, 16)?;
    // The fifth octet is the sum of the others.
    let sum = head.iter().enumerate().filter(|(n, _)| *n != 4).fold(0_u8, |sum, (_, b)| sum.wrapping_add(*b));
    (head.get(4) == Some(&sum)).then(|| le(head, 0, 2)).flatten()
}

impl<'d> Udf<'d> {
    /// The volume, and where the root folder's entry lies.
    fn open(data: &'d [u8], anchor: usize, sector: usize) -> Option<(Self, u64)> {
        let (length, start) = (le(data, anchor + 16, 4)?, le(data, anchor + 20, 4)?);
        let (mut partitions, mut logical) = (Vec::new(), None);
        for n in 0..(length / sector).min(64) {
            let at = start.checked_add(n)?.checked_mul(sector)?;
            match tag(data, at) {
                Some(PARTITION) => partitions.push((le(data, at + 22, 2)?, le(data, at + 188, 4)?)),
                Some(LOGICAL_VOLUME) => logical = Some(at),
                Some(TERMINATOR) | None => break,
                _ => {}
            }
        }
        let at = logical?;
        let block = le(data, at + 212, 4).filter(|b| matches!(b, 512 | 1024 | 2048 | 4096))?;
        let mut udf = Self { data, block: block as u64, starts: Vec::new() };
        let (maps, mut map) = (le(data, at + 268, 4)?.min(8), at + 440);
        for _ in 0..maps {
            let (kind, length) = (le(data, map, 1)?, le(data, map + 1, 1)?.max(2));
            let number = if kind == 1 { le(data, map + 4, 2)? } else { le(data, map + 38, 2)? };
            let place = partitions.iter().find(|(n, _)| *n == number).map_or(0, |(_, at)| *at);
            let start = place.saturating_mul(sector) as u64;
            udf.starts.push(start);
            if kind == 2 && upto(data, map + 5, 22).starts_with(b"*UDF Metadata") {
                // The partition is the content of a file of another one.
                let file = udf.file(start.checked_add(le(data, map + 40, 4)? as u64 * udf.block)?)?;
                let inner = file.extents.first().and_then(|(at, _)| *at)?;
                *udf.starts.last_mut()? = inner;
            }
            map += length;
        }
        let set = udf.place(piece(data, at + 248, 16)?)?;
        let set = usize::try_from(set).ok().filter(|at| tag(data, *at) == Some(FILE_SET))?;
        let root = udf.place(piece(data, set + 400, 16)?)?;
        Some((udf, root))
    }

    /// Where a long allocation descriptor leads: octets from the start.
    fn place(&self, descriptor: &[u8]) -> Option<u64> {
        let start = self.starts.get(le(descriptor, 8, 2)?)?;
        start.checked_add((le(descriptor, 4, 4)? as u64).checked_mul(self.block)?)
    }

    fn file(&self, at: u64) -> Option<File> {
        let at = usize::try_from(at).ok()?;
        let (lengths, body) = match tag(self.data, at)? {
            FILE => (168, 176),
            EXTENDED_FILE => (208, 216),
            _ => return None,
        };
        let (kind, flags, size) = (le(self.data, at + 27, 1)?, le(self.data, at + 34, 2)?, le(self.data, at + 56, 8)?);
        let (attributes, length) = (le(self.data, at + lengths, 4)?, le(self.data, at + lengths + 4, 4)?);
        let list = piece(self.data, at.checked_add(body)?.checked_add(attributes)?, length)?;
        let mut file = File { kind, size: size as u64, extents: Vec::new(), inside: None };
        let start = self.starts.iter().copied().filter(|start| *start <= at as u64).max().unwrap_or_default();
        match flags & 7 {
            0 => {
                for short in list.chunks_exact(8).take(PIECES) {
                    file.extents.push(extent(short, start + le(short, 4, 4)? as u64 * self.block)?);
                }
            }
            1 => {
                for long in list.chunks_exact(16).take(PIECES) {
                    file.extents.push(extent(long, self.place(long)?)?);
                }
            }
            3 => file.inside = Some(list.get(..size.min(list.len()))?.to_vec()),
            _ => return None,
        }
        file.extents.retain(|(_, length)| *length > 0);
        Some(file)
    }
}

/// The two high bits tell whether octets were recorded there.
fn extent(descriptor: &[u8], at: u64) -> Option<Extent> {
    let length = le(descriptor, 0, 4)?;
    Some(((length >> 30 == 0).then_some(at), (length & 0x3FFF_FFFF) as u64))
}

impl File {
    fn octets(&self, volume: &Volume<'_, '_>) -> Vec<u8> {
        if let Some(inside) = &self.inside {
            return inside.clone();
        }
        let (mut octets, mut left) = (Vec::new(), self.size.min(FOLDER));
        for (at, length) in &self.extents {
            let part = left.min(*length);
            octets.extend_from_slice(&volume.read(at.unwrap_or_default(), usize::try_from(part).unwrap_or(0)));
            left -= part;
        }
        octets
    }
}

/// Names in a folder, whether each is a folder, and where its entry is said to be.
fn names(octets: &[u8]) -> Vec<(String, bool, Vec<u8>)> {
    let (mut found, mut at) = (Vec::new(), 0);
    while let Some(head) = piece(octets, at, 38) {
        if le(head, 0, 2) != Some(FILE_ID) {
            break;
        }
        let field = |at, width| le(head, at, width).unwrap_or_default();
        let (flags, length, other) = (field(18, 1), field(19, 1), field(36, 2));
        let raw = upto(octets, at + 38 + other, length);
        at += (38 + other + length).next_multiple_of(4);
        // Deleted entries and the folder above.
        if flags & 0xC != 0 {
            continue;
        }
        let name = match raw.split_first() {
            Some((16, wide)) => utf16_be(wide),
            Some((_, narrow)) => narrow.iter().map(|b| char::from(*b)).collect(),
            None => String::new(),
        };
        found.push((name, flags & 2 != 0, from(head, 20).get(..16).unwrap_or_default().to_vec()));
    }
    found
}
