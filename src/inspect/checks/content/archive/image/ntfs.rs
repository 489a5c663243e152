//! NTFS, read from its file table: every record in use that has a name and octets, streams beside the main one too.

use super::super::Stop;
use super::super::bytes::{from, le, piece, upto, utf16};
use super::disk::Volume;
use super::{ENTRIES, Extent, Taker, lznt};

/// Records of the volume itself (`$MFT`, `$LogFile`, …).
const OWN: usize = 24;
/// Runs of one file.
const RUNS: usize = 1 << 14;

struct Ntfs<'v, 'd> {
    volume: &'v Volume<'v, 'd>,
    sector: usize,
    cluster: u64,
    record: usize,
}

/// The octets of a stream: in the record itself, or in runs of clusters.
enum Stream {
    Resident(Vec<u8>),
    Runs(Vec<Extent>, u64),
    /// Compressed, in units of so many octets.
    Packed(Vec<Extent>, u64, u64),
    /// Encrypted by the file system.
    Closed,
}

pub(super) fn read(volume: &Volume<'_, '_>, taker: &mut Taker<'_, '_>) {
    let boot = volume.read(0, 512);
    let Some((ntfs, table)) = Ntfs::read(volume, &boot) else {
        taker.report.unknown("archive.malformed", "the boot sector of an NTFS volume is damaged");
        return;
    };
    let extents = ntfs.record(table).and_then(|record| match streams(&record, ntfs.cluster).into_iter().next() {
        Some((_, Stream::Runs(extents, _))) => Some(extents),
        _ => None,
    });
    let Some(extents) = extents else {
        taker.report.unknown("archive.malformed", "the file table of an NTFS volume is damaged");
        return;
    };
    let places = extents.iter().filter_map(|(at, length)| Some(((*at)?, *length)));
    let records = places.flat_map(|(at, length)| (at..at.saturating_add(length)).step_by(ntfs.record));
    for (number, at) in records.enumerate().skip(OWN) {
        if number > ENTRIES || !taker.may_go_on() {
            taker.report.say("unpack.limit", "the image holds too many entries");
            return;
        }
        let Some(record) = ntfs.record(at) else { continue };
        // In use, and no folder.
        if le(&record, 22, 2).unwrap_or_default() & 3 != 1 {
            continue;
        }
        let Some(name) = name(&record).filter(|name| !name.is_empty()) else { continue };
        if !files(&name, &record, volume, ntfs.cluster, taker) {
            return;
        }
    }
}

fn files(name: &str, record: &[u8], volume: &Volume<'_, '_>, cluster: u64, taker: &mut Taker<'_, '_>) -> bool {
    if attributes(record).any(|a| le(a, 0, 4) == Some(0x20)) {
        taker.report.unknown("archive.unsupported", &format!("{name:?} lies in several records"));
    }
    for (stream, octets) in streams(record, cluster) {
        let name = if stream.is_empty() { name.to_owned() } else { format!("{name}:{stream}") };
        let more = match octets {
            Stream::Resident(data) => {
                let (data, stop) = taker.budget.copy(&data);
                taker.members.push(super::Member { name, data });
                !taker.report.stopped(stop, "image")
            }
            Stream::Runs(extents, size) => taker.file(name, volume, &extents, size),
            Stream::Packed(extents, size, unit) => {
                let cap = taker.budget.bytes().min(taker.budget.dense(taker.packed));
                let most = usize::try_from(size).unwrap_or(usize::MAX).min(cap);
                let data = lznt::read(volume, &extents, unit, most, taker.budget);
                if data.len() < most {
                    taker.report.unknown("archive.malformed", &format!("{name:?} cannot be unpacked to its end"));
                }
                let fits = taker.budget.take(data.len()) && size <= cap as u64;
                taker.members.push(super::Member { name, data });
                !taker.report.stopped(if fits { Stop::End } else { Stop::Full }, "image")
            }
            Stream::Closed => {
                taker.report.unknown("archive.encrypted", &format!("{name:?} is encrypted by its file system"));
                taker.file(name, volume, &[], 0)
            }
        };
        if !more {
            return false;
        }
    }
    true
}

impl<'v, 'd> Ntfs<'v, 'd> {
    /// The volume, and where its file table begins.
    fn read(volume: &'v Volume<'v, 'd>, boot: &[u8]) -> Option<(Self, u64)> {
        let sector = le(boot, 11, 2).filter(|s| matches!(s, 512 | 1024 | 2048 | 4096))?;
        let per_cluster = match le(boot, 13, 1)? {
            n @ 1..=128 => n,
            n => 1 << (256_usize.checked_sub(n)?).min(16),
        };
        let cluster = sector * per_cluster;
        // Below zero: a power of two of octets.
        let record = match u8::try_from(le(boot, 64, 1)?).ok()?.cast_signed() {
            n @ 1.. => usize::from(n.unsigned_abs()) * cluster,
            n => 1_usize << n.unsigned_abs().min(16),
        };
        let table = (le(boot, 48, 8)? as u64).checked_mul(cluster as u64)?;
        let sane = (256..=65536).contains(&record);
        sane.then_some((Self { volume, sector, cluster: cluster as u64, record }, table))
    }

    /// The record at `at` of the volume, its fix-ups undone.
    fn record(&self, at: u64) -> Option<Vec<u8>> {
        let mut record = self.volume.read(at, self.record).into_owned();
        if !record.starts_with(b"FILE") {
            return None;
        }
        let (list, count) = (le(&record, 4, 2)?, le(&record, 6, 2)?);
        for n in 1..count {
            let word = piece(&record, list + 2 * n, 2)?.to_vec();
            let end = n * self.sector;
            record.get_mut(end - 2..end)?.copy_from_slice(&word);
        }
        Some(record)
    }
}

fn attributes(record: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut at = le(record, 20, 2).unwrap_or(usize::MAX);
    std::iter::from_fn(move || {
        let length = le(record, at.checked_add(4)?, 4).filter(|length| *length >= 24)?;
        let attribute = piece(record, at, length).filter(|a| le(a, 0, 4) != Some(0xFFFF_FFFF))?;
        at += length;
        Some(attribute)
    })
}

/// The longest of a file's names: the short one is made from it.
fn name(record: &[u8]) -> Option<String> {
    let names = attributes(record).filter(|a| le(a, 0, 4) == Some(0x30)).filter_map(|a| {
        let body = from(a, le(a, 20, 2)?);
        Some(utf16(piece(body, 66, 2 * le(body, 64, 1)?)?))
    });
    names.max_by_key(String::len)
}

/// The streams of a record by name; the main one has none.
fn streams(record: &[u8], cluster: u64) -> Vec<(String, Stream)> {
    let data = attributes(record).filter(|a| le(a, 0, 4) == Some(0x80));
    let read = |a: &[u8]| {
        let name = utf16(piece(a, le(a, 10, 2)?, 2 * le(a, 9, 1)?)?);
        if le(a, 8, 1)? == 0 {
            return Some((name, Stream::Resident(upto(a, le(a, 20, 2)?, le(a, 16, 4)?).to_vec())));
        }
        let (flags, size) = (le(a, 12, 2)?, le(a, 48, 8)? as u64);
        let runs = runs(from(a, le(a, 32, 2)?), cluster);
        // Sixteen clusters are a unit, in all that Windows writes.
        let unit = cluster.checked_shl(u32::try_from(le(a, 34, 2)?).ok()?).filter(|unit| *unit <= 1 << 20);
        let stream = match flags {
            _ if flags & 0x4000 != 0 => Stream::Closed,
            _ if flags & 0xFF != 0 => Stream::Packed(runs, size, unit.unwrap_or_default()),
            _ => Stream::Runs(runs, size),
        };
        Some((name, stream))
    };
    data.filter_map(read).collect()
}

/// A run: how wide its two numbers are, how many clusters, how far from the run before.
fn runs(mut list: &[u8], cluster: u64) -> Vec<Extent> {
    let (mut extents, mut at) = (Vec::new(), 0_i64);
    while let Some((head, rest)) = list.split_first().filter(|(head, _)| **head != 0) {
        let (count, offset) = (usize::from(head & 15), usize::from(head >> 4));
        let (Some(length), Some(distance)) = (le(rest, 0, count), piece(rest, count, offset)) else { break };
        if count > 8 || offset > 8 || extents.len() >= RUNS {
            break;
        }
        let length = (length as u64).saturating_mul(cluster);
        if distance.is_empty() {
            extents.push((None, length));
        } else {
            at = at.saturating_add(signed(distance));
            let Ok(start) = u64::try_from(at) else { break };
            extents.push((Some(start.saturating_mul(cluster)), length));
        }
        list = from(rest, count + offset);
    }
    extents
}

fn signed(octets: &[u8]) -> i64 {
    let high = octets.last().copied().unwrap_or_default().cast_signed();
    let low = octets.iter().rev().skip(1).fold(i64::from(high), |sum, b| sum.wrapping_shl(8) | i64::from(*b));
    if octets.is_empty() { 0 } else { low }
}
