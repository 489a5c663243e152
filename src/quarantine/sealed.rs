//! The second format of a held message's file: sealed, and able to hold the copies of one mailing together.
//!
//! ```text
//! header   128 octets: magic, format, name of the master key, the data key under it, length of the body, checksum
//! body     in pieces of 1 MiB, each sealed by itself
//! records  any number: what is held (description, header sections), or what was done with it; each with length and
//!          checksum, sealed
//! ```
//! A file is made whole, with its first record, and gets its name when it is synced. Records are only ever appended; one
//! torn by a power cut is none. Every piece is bound to its place in its file, so nothing can be moved or exchanged
//! within a file, and the data key is the file's own, so nothing can come from another. Who overwrites the wrapped key has
//! destroyed all of it.

use serde::{Deserialize, Serialize};

use super::Held;
use super::file::{Deed, MAGIC};
use crate::env::vault::{DataKey, KeyId, OVERHEAD, VaultError, WRAP};

pub const HEADER: usize = 128;
pub const VERSION: u32 = 2;
/// Octets of the body in one piece.
pub const PIECE: u64 = 1 << 20;
/// Where the wrapped key stands in the header.
pub const WRAP_AT: usize = 20;
const RECORD_MAGIC: [u8; 4] = *b"LTrc";
/// Octets before a record's sealed part.
pub const RECORD_HEADER: usize = 12;

/// The header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Front {
    pub master: KeyId,
    pub wrapped: [u8; WRAP],
    pub body_len: u64,
}

impl Front {
    #[must_use]
    pub fn encode(&self) -> [u8; HEADER] {
        let mut out = Vec::with_capacity(HEADER);
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&self.master.0);
        out.extend_from_slice(&self.wrapped);
        out.extend_from_slice(&self.body_len.to_le_bytes());
        out.resize(HEADER - 4, 0);
        out.extend_from_slice(&crc32fast::hash(&out).to_le_bytes());
        out.try_into().expect("the header is as long as it is made")
    }

    /// `Ok(None)`: another format. `Err` says what is wrong, for operators.
    pub fn decode(bytes: &[u8]) -> Result<Option<Self>, String> {
        let damaged = || "its header is damaged".to_owned();
        let (magic, rest) = bytes.split_first_chunk::<8>().ok_or("the file is cut short")?;
        let (version, rest) = rest.split_first_chunk::<4>().ok_or("the file is cut short")?;
        if *magic != MAGIC || u32::from_le_bytes(*version) != VERSION {
            return Ok(None);
        }
        let (all, crc) = bytes.get(..HEADER).and_then(|b| b.split_last_chunk::<4>()).ok_or("the file is cut short")?;
        let (master, rest) = rest.split_first_chunk::<8>().ok_or_else(damaged)?;
        let (wrapped, rest) = rest.split_first_chunk::<WRAP>().ok_or_else(damaged)?;
        if wrapped.iter().all(|octet| *octet == 0) {
            return Err(SHREDDED.to_owned());
        }
        if crc32fast::hash(all) != u32::from_le_bytes(*crc) {
            return Err(damaged());
        }
        let body_len = rest.first_chunk::<8>().map(|b| u64::from_le_bytes(*b)).ok_or_else(damaged)?;
        Ok(Some(Self { master: KeyId(*master), wrapped: *wrapped, body_len }))
    }

    /// How many pieces the body has.
    #[must_use]
    pub const fn pieces(&self) -> u64 {
        self.body_len.div_ceil(PIECE)
    }
    /// Where piece `n` begins, and its octets as they were.
    #[must_use]
    pub fn piece(&self, n: u64) -> (u64, u64) {
        let before = n.saturating_mul(PIECE.saturating_add(OVERHEAD as u64));
        let plain = self.body_len.saturating_sub(n.saturating_mul(PIECE)).min(PIECE);
        ((HEADER as u64).saturating_add(before), plain)
    }
    /// Where records begin.
    #[must_use]
    pub fn records_at(&self) -> u64 {
        let seals = self.pieces().saturating_mul(OVERHEAD as u64);
        (HEADER as u64).saturating_add(self.body_len).saturating_add(seals)
    }
}

/// Said of a file whose key was destroyed before it was removed.
pub const SHREDDED: &str = "its key was destroyed: the message is gone";

/// What a piece of the body is bound to.
#[must_use]
pub fn place_of_piece(front: &Front, n: u64) -> Vec<u8> {
    [b"body".as_slice(), &n.to_le_bytes(), &front.body_len.to_le_bytes()].concat()
}

fn place_of_record(at: u64) -> Vec<u8> {
    [b"record".as_slice(), &at.to_le_bytes()].concat()
}

/// What a record tells.
#[derive(Clone, PartialEq, Debug)]
pub enum Record {
    Member(Box<Member>),
    Deed(Deed),
}

/// One copy: what is known of it, its header section as it was to be sent, and as it came.
#[derive(Clone, PartialEq, Debug)]
pub struct Member {
    /// Which of the copies in the file.
    pub number: u32,
    pub held: Held,
    pub head: Vec<u8>,
    /// Empty when that is not known or it is the same.
    pub original: Vec<u8>,
}

/// The part of a record that is JSON.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Told {
    Held { number: u32, held: Box<Held> },
    Deed(Deed),
}

/// A record as it is appended at `at`.
pub fn encode(record: &Record, key: &DataKey, at: u64) -> Result<Vec<u8>, VaultError> {
    let (told, head, original): (_, &[u8], &[u8]) = match record {
        Record::Member(member) => {
            let told = Told::Held { number: member.number, held: Box::new(member.held.clone()) };
            (told, &member.head, &member.original)
        }
        Record::Deed(deed) => (Told::Deed(deed.clone()), &[], &[]),
    };
    let text = serde_json::to_vec(&told).expect("texts and numbers always serialise");
    let mut plain = Vec::with_capacity(text.len().saturating_add(head.len()).saturating_add(original.len()));
    for part in [text.as_slice(), head, original] {
        plain.extend_from_slice(&u32::try_from(part.len()).map_err(|_| VaultError::Broken)?.to_le_bytes());
        plain.extend_from_slice(part);
    }
    let sealed = key.seal(&place_of_record(at), &plain)?;
    let mut out = Vec::with_capacity(RECORD_HEADER.saturating_add(sealed.len()));
    out.extend_from_slice(&RECORD_MAGIC);
    out.extend_from_slice(&u32::try_from(sealed.len()).map_err(|_| VaultError::Broken)?.to_le_bytes());
    out.extend_from_slice(&crc32fast::hash(&sealed).to_le_bytes());
    out.extend_from_slice(&sealed);
    Ok(out)
}

/// The records of a file.
#[derive(Debug, Default)]
pub struct Tail {
    pub records: Vec<Record>,
    /// Octets up to the end of the last whole record: where the next one goes, counted from the first.
    pub len: u64,
    /// Records that stand between whole ones and cannot be read.
    pub damaged: usize,
}

/// Reads the records in `bytes`, which begin at `at` in their file.
#[must_use]
pub fn decode(bytes: &[u8], key: &DataKey, at: u64) -> Tail {
    let (mut tail, mut place) = (Tail::default(), 0_usize);
    while let Some((start, sealed)) = next_record(bytes, place) {
        let stands_at = at.saturating_add(start as u64);
        if start > place {
            tail.damaged = tail.damaged.saturating_add(1);
        }
        match key.open(&place_of_record(stands_at), sealed.to_vec()).ok().and_then(|plain| told(&plain)) {
            Some(record) => tail.records.push(record),
            None => tail.damaged = tail.damaged.saturating_add(1),
        }
        place = start.saturating_add(RECORD_HEADER).saturating_add(sealed.len());
        tail.len = place as u64;
    }
    tail
}

/// The next record whose checksum is right, at `from` or behind what is damaged there.
fn next_record(bytes: &[u8], from: usize) -> Option<(usize, &[u8])> {
    let rest = bytes.get(from..)?;
    memchr::memmem::find_iter(rest, &RECORD_MAGIC).find_map(|offset| {
        let start = from.checked_add(offset)?;
        let header = bytes.get(start..)?.first_chunk::<RECORD_HEADER>()?;
        let word = |at: usize| header.get(at..)?.first_chunk::<4>().map(|b| u32::from_le_bytes(*b));
        let begin = start.checked_add(RECORD_HEADER)?;
        let sealed = bytes.get(begin..begin.checked_add(usize::try_from(word(4)?).ok()?)?)?;
        (crc32fast::hash(sealed) == word(8)?).then_some((start, sealed))
    })
}

fn told(plain: &[u8]) -> Option<Record> {
    let (text, rest) = part(plain)?;
    let (head, rest) = part(rest)?;
    let (original, _) = part(rest)?;
    Some(match serde_json::from_slice(text).ok()? {
        Told::Held { number, held } => {
            let (head, original) = (head.to_vec(), original.to_vec());
            Record::Member(Box::new(Member { number, held: *held, head, original }))
        }
        Told::Deed(deed) => Record::Deed(deed),
    })
}

fn part(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    rest.split_at_checked(usize::try_from(u32::from_le_bytes(*length)).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deed(by: &str) -> Record {
        Record::Deed(Deed { by: by.into(), reason: "hỏi qua điện thoại".into(), ..Deed::default() })
    }

    #[test]
    fn one_flipped_bit_in_the_header_is_noticed_and_a_destroyed_key_is_told() {
        let front = Front { master: KeyId([3; 8]), wrapped: [7; WRAP], body_len: (3 << 20) + 5 };
        let good = front.encode();
        assert_eq!(Front::decode(&good), Ok(Some(front)));
        for bit in 0..good.len() * 8 {
            let mut bad = good;
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_ne!(Front::decode(&bad), Ok(Some(front)), "bit {bit}");
        }
        let mut gone = good;
        gone[WRAP_AT..WRAP_AT + WRAP].fill(0);
        assert_eq!(Front::decode(&gone), Err(SHREDDED.to_owned()));
        assert_eq!((front.pieces(), front.piece(3)), (4, (HEADER as u64 + 3 * (PIECE + OVERHEAD as u64), 5)));
    }

    #[test]
    fn a_torn_record_is_none_and_a_damaged_one_hides_nothing_behind_it() {
        let key = DataKey::generate().unwrap();
        let first = encode(&deed("a"), &key, 1000).unwrap();
        let second = encode(&deed("b"), &key, 1000 + first.len() as u64).unwrap();
        let both = [first.as_slice(), &second].concat();
        let whole = decode(&both, &key, 1000);
        assert_eq!((whole.records, whole.len, whole.damaged), (vec![deed("a"), deed("b")], both.len() as u64, 0));
        let torn = decode(&both[..both.len() - 1], &key, 1000);
        assert_eq!((torn.records, torn.len, torn.damaged), (vec![deed("a")], first.len() as u64, 0));
        let mut bad = both.clone();
        bad[20] ^= 1;
        let bad = decode(&bad, &key, 1000);
        assert_eq!((bad.records, bad.damaged), (vec![deed("b")], 1));
        let moved = decode(&second, &key, 1000);
        assert_eq!((moved.records.len(), moved.damaged), (0, 1), "a record that was moved does not open");
        assert!(!both.windows(3).any(|w| w == "qua".as_bytes()), "nothing can be read without the key");
    }
}
