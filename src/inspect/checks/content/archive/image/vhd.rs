//! The virtual disks of Windows: VHD, fixed and dynamic, and VHDX (MS-VHDX). A log that was not played back is ignored:
//! what it would change was never written by a program that makes attachments.

use super::super::bytes::{be, le, piece};
use super::disk::Disk;

/// Blocks of one disk: a terabyte in blocks of a megabyte.
const BLOCKS: usize = 1 << 20;

pub(super) fn vhd(data: &[u8]) -> Option<Disk<'_>> {
    let footer = if data.starts_with(b"conectix") { 0 } else { data.len().checked_sub(512)? };
    let kind = be(data, footer + 60, 4)?;
    if kind == 2 {
        return Some(Disk::raw(data.get(..data.len().checked_sub(512)?)?));
    }
    let header = be(data, footer + 16, 8)?;
    if piece(data, header, 8)? != b"cxsparse" {
        return None;
    }
    let (table, count) = (be(data, header + 16, 8)?, be(data, header + 28, 4)?.min(BLOCKS));
    let length = be(data, header + 32, 4)?;
    if !length.is_power_of_two() || length < 512 {
        return None;
    }
    // A bitmap of sectors stands before the octets of each block.
    let bitmap = (length / 512 / 8).next_multiple_of(512) as u64;
    let place = |n: usize| be(data, table.checked_add(4 * n)?, 4);
    let places = (0..count)
        .map_while(place)
        .map(|sector| (sector != 0xFFFF_FFFF).then(|| (sector as u64).saturating_mul(512).saturating_add(bitmap)));
    Some(Disk::blocks(data, length as u64, places.collect(), kind == 4))
}

/// Names of the regions and items, as they lie in the file.
mod name {
    pub(super) const TABLE: [u8; 16] = *b"\x66\x77\xc2\x2d\x23\xf6\x00\x42\x9d\x64\x11\x5e\x9b\xfd\x4a\x08";
    pub(super) const METADATA: [u8; 16] = *b"\x06\xa2\x7c\x8b\x90\x47\x9a\x4b\xb8\xfe\x57\x5f\x05\x0f\x88\x6e";
    pub(super) const PARAMETERS: [u8; 16] = *b"\x37\x67\xa1\xca\x36\xfa\x43\x4d\xb3\xb6\x33\xf0\xaa\x44\xe7\x6b";
    pub(super) const DISK_SIZE: [u8; 16] = *b"\x24\x42\xa5\x2f\x1b\xcd\x76\x48\xb2\x11\x5d\xbe\xd8\x3b\xf4\xb8";
    pub(super) const SECTOR: [u8; 16] = *b"\x1d\xbf\x41\x81\x6f\xa9\x09\x47\xba\x47\xf2\x33\xa8\xfa\xab\x5f";
}

pub(super) fn vhdx(data: &[u8]) -> Option<Disk<'_>> {
    let region = |wanted: &[u8; 16]| {
        [192 << 10, 256 << 10].into_iter().filter(|at| piece(data, *at, 4) == Some(b"regi")).find_map(|at| {
            let count = le(data, at + 8, 4)?.min(64);
            (0..count)
                .map(|n| at + 16 + 32 * n)
                .find(|e| piece(data, *e, 16) == Some(wanted))
                .and_then(|e| le(data, e + 16, 8))
        })
    };
    let metadata = region(&name::METADATA)?;
    let item = |wanted: &[u8; 16]| {
        let count = le(data, metadata + 10, 2)?.min(64);
        let entry = (0..count).map(|n| metadata + 32 + 32 * n).find(|e| piece(data, *e, 16) == Some(wanted))?;
        metadata.checked_add(le(data, entry + 16, 4)?)
    };
    let parameters = item(&name::PARAMETERS)?;
    let (length, flags) = (le(data, parameters, 4)?, le(data, parameters + 4, 4)?);
    let (size, sector) = (le(data, item(&name::DISK_SIZE)?, 8)?, le(data, item(&name::SECTOR)?, 4)?);
    if length < 1 << 20 || !length.is_power_of_two() || !matches!(sector, 512 | 4096) {
        return None;
    }
    // Every so many entries there is one of a bitmap (MS-VHDX §2.5).
    let ratio = (sector << 23) / length;
    let (table, count) = (region(&name::TABLE)?, size.div_ceil(length).min(BLOCKS));
    let places = (0..count).map_while(|n| {
        let entry = le(data, table.checked_add(8 * (n + n / ratio.max(1)))?, 8)?;
        Some(matches!(entry & 7, 6 | 7).then_some(entry as u64 & !0xF_FFFF))
    });
    Some(Disk::blocks(data, length as u64, places.collect(), flags & 2 != 0))
}
