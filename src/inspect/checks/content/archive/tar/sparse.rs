//! Files with holes, in GNU's four ways of writing them down. A client fills the holes, so scanners see them filled.

use super::super::bytes::{from, piece, upto};
use super::super::{Budget, Stop};
use super::{BLOCK, number};

/// Pieces of one file.
const PIECES: usize = 1 << 14;

/// Zeros that stand for a longer hole.
const HOLE: usize = 64 << 10;

/// Where the octets of a file belong.
#[derive(Default)]
pub(super) struct Map {
    /// Offset and length, in the order in which the octets are stored.
    pieces: Vec<(usize, usize)>,
    /// Of the file with its holes.
    pub(super) size: usize,
    /// Octets of further headers before the stored ones.
    pub(super) lead: usize,
    /// The map stands before the stored octets, in text (GNU 1.0).
    in_body: bool,
}

impl Map {
    pub(super) fn in_body(size: usize) -> Self {
        Self { in_body: true, size, ..Self::default() }
    }

    pub(super) fn push(&mut self, at: usize, length: usize) {
        if self.pieces.len() < PIECES {
            self.pieces.push((at, length));
        }
    }

    /// The file with its holes filled: of a long one, the first octets stand for all. As far as there is room.
    pub(super) fn expand(&self, stored: &[u8], budget: &mut Budget) -> (Vec<u8>, Stop) {
        let mut body = from(stored, self.lead);
        let mut pieces = self.pieces.clone();
        if self.in_body {
            let (found, length) = in_text(body);
            pieces = found;
            body = from(body, length);
        }
        let (mut out, mut used, mut end): (Vec<u8>, usize, usize) = (Vec::new(), 0, 0);
        let room = budget.bytes();
        let mut full = budget.is_late();
        for (at, length) in pieces.into_iter().chain([(self.size, 0)]) {
            let part = upto(body, used, length);
            used = used.saturating_add(length);
            let hole = at.saturating_sub(end).min(HOLE);
            end = end.max(at).saturating_add(length);
            full |= out.len().saturating_add(hole).saturating_add(part.len()) > room;
            if full || out.try_reserve(hole + part.len()).is_err() {
                break;
            }
            out.resize(out.len() + hole, 0);
            out.extend_from_slice(part);
        }
        let stop = if full || !budget.take(out.len()) { Stop::Full } else { Stop::End };
        (out, stop)
    }
}

/// The old GNU form: four pieces in the header, 21 in each block behind it.
pub(super) fn gnu(header: &[u8], body: &[u8]) -> Option<Map> {
    let mut map = Map { size: number(header.get(483..495)?)?, ..Map::default() };
    let mut read = |field: &[u8]| {
        for piece in field.chunks_exact(24) {
            let (at, length) = piece.split_at(12);
            if let (Some(at), Some(length)) = (number(at), number(length))
                && (at, length) != (0, 0)
            {
                map.push(at, length);
            }
        }
    };
    read(header.get(386..482)?);
    let (mut more, mut lead) = (header.get(482) == Some(&1), 0);
    while more && lead < PIECES * 24 {
        let block = piece(body, lead, BLOCK)?;
        read(block.get(..504)?);
        more = block.get(504) == Some(&1);
        lead += BLOCK;
    }
    map.lead = lead;
    Some(map)
}

/// GNU 1.0: a count, then offsets and lengths, each on its line, filled up to whole blocks.
fn in_text(body: &[u8]) -> (Vec<(usize, usize)>, usize) {
    let mut at = 0;
    let mut next = || {
        let rest = from(body, at);
        let end = memchr::memchr(b'\n', rest).filter(|end| *end < 24)?;
        at += end + 1;
        std::str::from_utf8(upto(rest, 0, end)).ok()?.parse::<usize>().ok()
    };
    let count = next().unwrap_or_default().min(PIECES);
    let pieces = (0..count).map_while(|_| Some((next()?, next()?))).collect();
    (pieces, at.div_ceil(BLOCK) * BLOCK)
}
