//! Files that NTFS keeps compressed (MS-XCA §2.5, LZNT1): in units of some clusters; a unit that has a hole in it is
//! packed, one that is nothing but a hole is zeros, any other lies as it is.

use super::super::Budget;
use super::super::bytes::{from, le, upto};
use super::Extent;
use super::disk::Volume;

/// Octets of a chunk when it is unpacked.
const CHUNK: usize = 4096;

/// The file that lies in `extents`, as far as it fits and time lasts.
pub(super) fn read(volume: &Volume<'_, '_>, extents: &[Extent], unit: u64, most: usize, budget: &Budget) -> Vec<u8> {
    let (mut out, mut pieces, mut rest) = (Vec::new(), extents.iter(), (None, 0));
    let Ok(whole) = usize::try_from(unit) else { return out };
    while out.len() < most && !budget.is_late() {
        let (mut stored, mut filled, mut has_hole) = (Vec::new(), 0, false);
        while filled < unit {
            let (at, length) = &mut rest;
            if *length == 0 {
                let Some(next) = pieces.next() else { break };
                (*at, *length) = *next;
                continue;
            }
            let part = (*length).min(unit - filled);
            match at {
                Some(start) => {
                    stored.extend_from_slice(&volume.read(*start, usize::try_from(part).unwrap_or_default()));
                    *start = start.saturating_add(part);
                }
                None => has_hole = true,
            }
            *length -= part;
            filled += part;
        }
        if filled == 0 || out.try_reserve(whole).is_err() {
            break;
        }
        let end = out.len() + whole;
        match (stored.is_empty(), has_hole) {
            (true, _) => {}
            (false, true) => out.extend(unpack(&stored, whole)),
            (false, false) => out.extend_from_slice(&stored),
        }
        out.resize(end, 0);
    }
    out.truncate(most);
    out
}

/// Chunks up to one of length zero, at most `most` octets of them.
fn unpack(mut data: &[u8], most: usize) -> Vec<u8> {
    let mut out = Vec::new();
    while let Some(head) = le(data, 0, 2).filter(|head| *head != 0) {
        let length = (head & 0xFFF) + 1;
        let chunk = upto(data, 2, length);
        data = from(data, 2 + length);
        let start = out.len();
        if head & 0x8000 == 0 {
            out.extend_from_slice(chunk);
        } else {
            unpack_chunk(chunk, &mut out);
        }
        out.truncate((start + CHUNK).min(most));
        if out.len() >= most {
            break;
        }
    }
    out
}

/// Groups of a flag octet and eight items: an octet, or a length and a distance that share sixteen bits; the further the
/// chunk has come, the more of them are the distance's.
fn unpack_chunk(mut chunk: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    while let Some((flags, rest)) = chunk.split_first() {
        chunk = rest;
        for bit in 0..8 {
            if flags >> bit & 1 == 0 {
                let Some((octet, rest)) = chunk.split_first() else { return };
                out.push(*octet);
                chunk = rest;
                continue;
            }
            let Some(token) = le(chunk, 0, 2) else { return };
            chunk = from(chunk, 2);
            let done = out.len() - start;
            let width = 4.max(usize::BITS - done.saturating_sub(1).leading_zeros()).min(12);
            let (distance, length) = ((token >> (16 - width)) + 1, (token & ((1 << (16 - width)) - 1)) + 3);
            if distance > done {
                return;
            }
            for _ in 0..length.min(CHUNK) {
                let Some(octet) = out.get(out.len() - distance).copied() else { return };
                out.push(octet);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::disk::Disk;
    use super::*;

    /// MS-XCA §3.3.
    const PACKED: &[u8] =
        b"\x38\xb0\x88F# \0 G A\0\x10\xa2G\x01\xa0E D\0\x08E\x01\x50y\0\xc0E \x05\x24\x13\x88\x05\xb4\x02JD\xef\x03X\
\x02\x8c\x09\x16\x01HE\0\xbe\0\x9e\0\x04\x01\x18\x90\0";
    const PLAIN: &[u8] =
        b"F# F# G A A G F# E D D E F# F# E E F# F# G A A G F# E D D E F# E D D E E F# D E F# G F# D E F# G \
F# E D E A F# F# G A A G F# E D D E F# E D D\0";

    #[test]
    fn ms_xca_3_3_the_example_is_unpacked() {
        assert_eq!(String::from_utf8_lossy(&unpack(PACKED, 65536)), String::from_utf8_lossy(PLAIN));
        for cut in 0..PACKED.len() {
            assert!(unpack(&PACKED[..cut], 65536).len() <= CHUNK);
        }
    }

    #[test]
    fn units_are_packed_empty_or_as_they_are() {
        let mut data = vec![0; 3 * 4096];
        data[4096..4096 + PACKED.len()].copy_from_slice(PACKED);
        data[8192..].fill(7);
        let disk = Disk::raw(&data);
        let volume = Volume::whole(&disk);
        // A packed unit in one cluster of two, one that is a hole, and one that is both clusters.
        let extents = [(Some(4096), 4096), (None, 4096), (None, 8192), (Some(8192), 4096), (Some(8192), 4096)];
        let file = read(&volume, &extents, 8192, 3 * 8192 - 5, &Budget::small(1 << 20, 9));
        assert_eq!((file.len(), &file[..PLAIN.len()]), (3 * 8192 - 5, PLAIN));
        assert!(file[PLAIN.len()..16384].iter().all(|b| *b == 0) && file[16384..].iter().all(|b| *b == 7));
    }
}
