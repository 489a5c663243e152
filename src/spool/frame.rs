//! The log's records: length, CRC, kind; every state a message can be in.
//!
//! A segment is a [`SegmentHeader`] and then frames, each on a 16-octet boundary: a [`Header`] of 64 octets, the
//! message's description and delivery state as JSON, and its bytes. Every frame carries the segment's random nonce, so
//! what an earlier life of the file left behind, or what a sender wrote into a body, is never taken for a record.
//! Each also says up to where the segment was synced when it was written: damage before that point cost
//! acknowledged mail and is reported, behind it lies only what nobody was promised.
//!
//! A record's version is written with it; a newer one than ours stops the start instead of being guessed at.

use serde::{Deserialize, Serialize};

use super::sieve::Mark;
use crate::mail::Timestamp;

/// Frames begin at multiples of this.
pub const ALIGN: u64 = 16;
/// Octets of a frame header.
pub const HEADER: usize = 64;
/// Octets of a segment header. It stands twice, so that one bad sector does not cost a segment.
pub const SEGMENT_HEADER: usize = 512;
/// Where the frames of a segment begin, behind both copies of its header.
pub const FIRST: u64 = 1024;
/// The format that this program writes.
pub const VERSION: u8 = 1;

const FRAME_MAGIC: [u8; 4] = *b"LTfr";
const SEGMENT_MAGIC: [u8; 8] = *b"LTspool\n";
/// How many abandoned segments a header can name.
pub const MOST_VOIDS: usize = 24;

/// What a frame says of its message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Taken: description, state and bytes.
    Accepted,
    /// The same again, moved ahead so that an old segment can be freed.
    Copied,
    /// The state after a delivery attempt; replaces the one before.
    Attempt,
    /// The operator's hold, set or cleared.
    Hold,
    /// Delivered, bounced or given up.
    Done,
    /// Taken out by the operator.
    Removed,
}

impl Kind {
    const fn code(self) -> u8 {
        match self {
            Self::Accepted => 1,
            Self::Copied => 2,
            Self::Attempt => 3,
            Self::Hold => 4,
            Self::Done => 5,
            Self::Removed => 6,
        }
    }
    const fn from_code(code: u8) -> Option<Self> {
        Some(match code {
            1 => Self::Accepted,
            2 => Self::Copied,
            3 => Self::Attempt,
            4 => Self::Hold,
            5 => Self::Done,
            6 => Self::Removed,
            _ => return None,
        })
    }
    /// Whether the frame carries the message itself.
    #[must_use]
    pub const fn has_message(self) -> bool {
        matches!(self, Self::Accepted | Self::Copied)
    }
}

/// The first 64 octets of a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header {
    pub kind: Kind,
    /// Of a message: whose it is.
    pub mark: Mark,
    pub nonce: u64,
    pub key: u64,
    /// The segment is synced up to here, octets from its beginning.
    pub synced: u64,
    pub meta_len: u32,
    pub state_len: u32,
    pub head_len: u32,
    pub body_len: u32,
    /// CRC-32 of description and state.
    pub text_crc: u32,
    /// CRC-32 of head and body.
    pub bytes_crc: u32,
}

impl Header {
    #[must_use]
    pub fn encode(&self) -> [u8; HEADER] {
        let mut out = [0_u8; HEADER];
        let mut w = Writer { out: &mut out, at: 0 };
        w.put(&FRAME_MAGIC);
        w.put(&[VERSION, self.kind.code()]);
        w.put(&self.mark.0.to_le_bytes());
        w.put(&self.nonce.to_le_bytes());
        w.put(&self.key.to_le_bytes());
        w.put(&self.synced.to_le_bytes());
        for word in [self.meta_len, self.state_len, self.head_len, self.body_len, self.text_crc, self.bytes_crc, 0] {
            w.put(&word.to_le_bytes());
        }
        w.seal();
        out
    }

    /// `None` unless this is a whole, known header of the segment with this nonce.
    #[must_use]
    pub fn decode(bytes: &[u8], nonce: u64) -> Option<Self> {
        let bytes = bytes.get(..HEADER)?;
        let mut r = Reader { bytes, at: 0 };
        if !sealed(bytes) || r.take::<4>()? != FRAME_MAGIC {
            return None;
        }
        let [version, kind, low, high] = r.take::<4>()?;
        if version != VERSION {
            return None;
        }
        let header = Self {
            kind: Kind::from_code(kind)?,
            mark: Mark(u16::from_le_bytes([low, high])),
            nonce: r.long()?,
            key: r.long()?,
            synced: r.long()?,
            meta_len: r.word()?,
            state_len: r.word()?,
            head_len: r.word()?,
            body_len: r.word()?,
            text_crc: r.word()?,
            bytes_crc: r.word()?,
        };
        (header.nonce == nonce).then_some(header)
    }

    /// Description and state, octets.
    #[must_use]
    pub fn text_len(&self) -> u64 {
        u64::from(self.meta_len) + u64::from(self.state_len)
    }
    /// Head and body, octets.
    #[must_use]
    pub fn bytes_len(&self) -> u64 {
        u64::from(self.head_len) + u64::from(self.body_len)
    }
    /// The frame without padding.
    #[must_use]
    pub fn frame_len(&self) -> u64 {
        HEADER as u64 + self.text_len() + self.bytes_len()
    }
    /// Room it takes in the segment.
    #[must_use]
    pub fn span(&self) -> u64 {
        self.frame_len().next_multiple_of(ALIGN)
    }
}

/// The beginning of a segment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SegmentHeader {
    /// Place in the log's order; never used twice.
    pub sequence: u64,
    pub nonce: u64,
    /// Keys from here on were free when the segment began.
    pub next_key: u64,
    /// The segment before this one (by nonce) and where its frames end: what is missing before that is damage.
    pub previous: (u64, u64),
    /// Segments (by nonce) whose frames from an offset on are void: their sync failed and nobody was answered 250.
    pub voids: Vec<(u64, u64)>,
}

/// What the beginning of a file turns out to be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Opening {
    /// Never used, or freed.
    Blank,
    Segment(SegmentHeader),
    /// Written by a newer program.
    Newer(u8),
    /// Something else.
    Unreadable,
}

impl SegmentHeader {
    #[must_use]
    pub fn encode(&self) -> [u8; SEGMENT_HEADER] {
        let mut out = [0_u8; SEGMENT_HEADER];
        let mut w = Writer { out: &mut out, at: 0 };
        w.put(&SEGMENT_MAGIC);
        w.put(&[VERSION, u8::try_from(self.voids.len().min(MOST_VOIDS)).unwrap_or(0), 0, 0, 0, 0, 0, 0]);
        for long in [self.sequence, self.nonce, self.next_key, self.previous.0, self.previous.1] {
            w.put(&long.to_le_bytes());
        }
        for (nonce, from) in self.voids.iter().take(MOST_VOIDS) {
            w.put(&nonce.to_le_bytes());
            w.put(&from.to_le_bytes());
        }
        w.seal();
        out
    }

    #[must_use]
    pub fn decode(bytes: &[u8]) -> Opening {
        let Some(bytes) = bytes.get(..SEGMENT_HEADER) else { return Opening::Blank };
        if bytes.iter().all(|b| *b == 0) {
            return Opening::Blank;
        }
        let mut r = Reader { bytes, at: 0 };
        if !sealed(bytes) || r.take::<8>() != Some(SEGMENT_MAGIC) {
            return Opening::Unreadable;
        }
        Self::fields(&mut r).unwrap_or(Opening::Unreadable)
    }

    fn fields(r: &mut Reader<'_>) -> Option<Opening> {
        let [version, voids, ..] = r.take::<8>()?;
        if version > VERSION {
            return Some(Opening::Newer(version));
        }
        let (sequence, nonce, next_key) = (r.long()?, r.long()?, r.long()?);
        let previous = (r.long()?, r.long()?);
        let voids = (0..voids).map(|_| Some((r.long()?, r.long()?))).collect::<Option<Vec<_>>>()?;
        Some(Opening::Segment(Self { sequence, nonce, next_key, previous, voids }))
    }
}

/// What is left to do for a message, as it stands in the log. Field names are short: a million of these are read at a
/// start. Unknown fields of a later version are passed over, missing ones take their default.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct State {
    pub due: Timestamp,
    /// When the message was taken.
    pub since: Timestamp,
    /// How many recipients are still to be served.
    pub left: u32,
    #[serde(skip_serializing_if = "is_zero")]
    pub tries: u32,
    #[serde(skip_serializing_if = "is_false")]
    pub held: bool,
    #[serde(skip_serializing_if = "is_false")]
    pub warned: bool,
    /// Recipients (index into the description's list) with the last answer; `None`: all, none tried yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pending: Option<Vec<(usize, String)>>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_zero(n: &u32) -> bool {
    *n == 0
}
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_false(b: &bool) -> bool {
    !*b
}

impl State {
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("numbers and texts always serialise")
    }
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }
}

struct Writer<'a> {
    out: &'a mut [u8],
    at: usize,
}

impl Writer<'_> {
    fn put(&mut self, bytes: &[u8]) {
        let end = self.at + bytes.len();
        self.out.get_mut(self.at..end).expect("headers have room for their fields").copy_from_slice(bytes);
        self.at = end;
    }
    /// The last four octets become the CRC-32 of all before.
    fn seal(&mut self) {
        let crc = crc32fast::hash(self.out.split_last_chunk::<4>().expect("a header is longer than a CRC").0);
        self.at = self.out.len() - 4;
        self.put(&crc.to_le_bytes());
    }
}

fn sealed(bytes: &[u8]) -> bool {
    bytes.split_last_chunk::<4>().is_some_and(|(rest, crc)| crc32fast::hash(rest) == u32::from_le_bytes(*crc))
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let found = self.bytes.get(self.at..)?.first_chunk::<N>()?;
        self.at += N;
        Some(*found)
    }
    fn word(&mut self) -> Option<u32> {
        self.take().map(u32::from_le_bytes)
    }
    fn long(&mut self) -> Option<u64> {
        self.take().map(u64::from_le_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> Header {
        let (meta_len, state_len, head_len, body_len) = (10, 20, 300, 4000);
        Header {
            kind: Kind::Accepted,
            mark: Mark(0x1234),
            nonce: 77,
            key: 5,
            synced: 512,
            meta_len,
            state_len,
            head_len,
            body_len,
            text_crc: 1,
            bytes_crc: 2,
        }
    }

    #[test]
    fn headers_read_what_they_write() {
        for kind in [Kind::Accepted, Kind::Copied, Kind::Attempt, Kind::Hold, Kind::Done, Kind::Removed] {
            let header = Header { kind, ..header() };
            assert_eq!(Header::decode(&header.encode(), 77), Some(header));
        }
        assert_eq!(header().span() % ALIGN, 0);
        let segment = SegmentHeader {
            sequence: 3,
            nonce: 9,
            next_key: 100,
            previous: (8, 4096),
            voids: vec![(1, 2); MOST_VOIDS],
        };
        assert_eq!(SegmentHeader::decode(&segment.encode()), Opening::Segment(segment));
        assert_eq!(SegmentHeader::decode(&[0; 512]), Opening::Blank);
    }

    #[test]
    fn one_flipped_bit_anywhere_is_noticed() {
        let good = header().encode();
        for bit in 0..good.len() * 8 {
            let mut bad = good;
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Header::decode(&bad, 77), None, "bit {bit}");
        }
    }

    #[test]
    fn a_frame_of_another_life_of_the_file_is_none_of_ours() {
        assert_eq!(Header::decode(&header().encode(), 78), None);
    }

    #[test]
    fn a_newer_format_is_told_from_damage() {
        let mut bytes =
            SegmentHeader { sequence: 3, nonce: 9, next_key: 100, previous: (8, 4096), voids: vec![] }.encode();
        bytes[8] = VERSION + 1;
        let crc = crc32fast::hash(&bytes[..508]);
        bytes[508..].copy_from_slice(&crc.to_le_bytes());
        assert_eq!(SegmentHeader::decode(&bytes), Opening::Newer(VERSION + 1));
    }

    #[test]
    fn a_state_of_a_later_version_is_still_read() {
        let state = State::decode(br#"{"due":5,"since":1,"left":2,"colour":"red"}"#).unwrap();
        assert_eq!((state.due, state.left, state.pending), (Timestamp::from_millis(5), 2, None));
        assert_eq!(State::decode(&State::default().encode()), Some(State::default()));
    }
}
