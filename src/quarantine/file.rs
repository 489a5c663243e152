//! Names of held messages, what happened to them, and the first format of their files.
//!
//! A file is `AA/ID-N.held`, AA being the last two characters of the id (its random end, so the folders fill evenly).
//! It describes itself, so the folder of these files is the whole quarantine. What is written now is sealed
//! (`sealed.rs`, format 2). Format 1, from before there was a key, is still read: a header of 64 octets with lengths and
//! checksums, the description as JSON, the message's head and body as they were to be sent, and then events (released by
//! whom and why), each with its own length and checksum; an event torn by a power cut is not one.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{Held, Kind};
use crate::mail::{MailId, Timestamp};

pub const HEADER: usize = 64;
/// Octets before an event's JSON.
pub const EVENT_HEADER: usize = 12;
pub(super) const MAGIC: [u8; 8] = *b"LTheld\r\n";
const EVENT_MAGIC: [u8; 4] = *b"LTev";
const VERSION: u32 = 1;
/// Nothing that describes a message is longer.
const MOST_TEXT: u32 = 16 << 20;

/// The name of one held copy: the message's id and a number, because each destination's copy is held by itself. Of an
/// identical mass mailing the body is held once: `member` numbers the copies that share the first one's file.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct HeldKey {
    pub id: MailId,
    pub copy: u32,
    pub member: u32,
}

impl fmt::Display for HeldKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.id, self.copy)?;
        if self.member == 0 { Ok(()) } else { write!(f, ".{}", self.member) }
    }
}

impl FromStr for HeldKey {
    type Err = BadKey;
    /// `ID-N` or `ID-N.M`; a bare `ID` is its first copy.
    fn from_str(text: &str) -> Result<Self, BadKey> {
        let bad = || BadKey(text.chars().take(60).collect());
        let (id, copy) = text.split_once('-').unwrap_or((text, "0"));
        let (copy, member) = copy.split_once('.').unwrap_or((copy, "0"));
        let number = |text: &str| text.parse().map_err(|_| bad());
        Ok(Self { id: id.parse().map_err(|_| bad())?, copy: number(copy)?, member: number(member)? })
    }
}

crate::mail::units::text_serde!(HeldKey);

/// A text that names no held message.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error(
    "\"{0}\" is no id of a held message: 26 letters and digits, a hyphen and a number (a point and another for copies of one mailing)"
)]
pub struct BadKey(String);

impl HeldKey {
    /// The folder that its file stands in.
    #[must_use]
    pub fn folder(&self) -> String {
        let id = self.id.to_string();
        id.get(id.len().saturating_sub(2)..).unwrap_or("00").to_owned()
    }
    #[must_use]
    pub fn file_name(&self) -> String {
        format!("{}.held", self.first())
    }
    /// The key in a file's name; `None` for other files.
    #[must_use]
    pub fn of_file(name: &str) -> Option<Self> {
        name.strip_suffix(".held")?.parse().ok().filter(|key: &Self| key.member == 0)
    }
    /// The copy that the file is named after.
    #[must_use]
    pub const fn first(self) -> Self {
        Self { member: 0, ..self }
    }
}

/// What an officer did with a held message.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum What {
    /// Delivered to its recipients after all.
    #[default]
    Released,
    /// A copy sent to somebody else; it stays held.
    Forwarded,
    /// The whole message shown.
    Shown,
    /// Deleted before its time.
    Removed,
    /// A later look at it found more: see [`Deed::codes`].
    Found,
}

/// Something that happened to a held message: who did what when and why.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Deed {
    #[serde(default)]
    pub what: What,
    pub by: String,
    pub reason: String,
    pub at: Timestamp,
    /// Where it was sent, when not to its own recipients.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub to: Vec<String>,
    /// Let go although the second look at it found a reason to hold it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub forced: bool,
    /// Which of the copies in the file.
    #[serde(default, skip_serializing_if = "is_first")]
    pub member: u32,
    /// Codes of what was found.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub codes: Vec<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for it")]
fn is_first(member: &u32) -> bool {
    *member == 0
}

/// The header: what follows and how to check it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Front {
    pub text_len: u32,
    pub head_len: u32,
    pub body_len: u64,
    pub text_crc: u32,
    pub bytes_crc: u32,
}

impl Front {
    #[must_use]
    pub fn new(text: &[u8], head: &[u8], body: &[u8]) -> Self {
        let mut bytes = crc32fast::Hasher::new();
        bytes.update(head);
        bytes.update(body);
        let length = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        Self {
            text_len: length(text),
            head_len: length(head),
            body_len: body.len() as u64,
            text_crc: crc32fast::hash(text),
            bytes_crc: bytes.finalize(),
        }
    }

    #[must_use]
    pub fn encode(&self) -> [u8; HEADER] {
        let mut out = Vec::with_capacity(HEADER);
        out.extend_from_slice(&MAGIC);
        for word in [VERSION, self.text_len, self.head_len, self.text_crc, self.bytes_crc] {
            out.extend_from_slice(&word.to_le_bytes());
        }
        out.extend_from_slice(&self.body_len.to_le_bytes());
        out.resize(HEADER - 4, 0);
        out.extend_from_slice(&crc32fast::hash(&out).to_le_bytes());
        out.try_into().expect("the header is as long as it is made")
    }

    /// `Err` says what is wrong, for operators.
    pub fn decode(bytes: &[u8]) -> Result<Self, String> {
        let (rest, crc) = bytes.get(..HEADER).and_then(|b| b.split_last_chunk::<4>()).ok_or("the file is cut short")?;
        let word = |at: usize| rest.get(at..)?.first_chunk::<4>().map(|b| u32::from_le_bytes(*b));
        let fields = || {
            let body_len = rest.get(28..)?.first_chunk::<8>().map(|b| u64::from_le_bytes(*b))?;
            let (text_len, head_len) = (word(12)?, word(16)?);
            Some(Self { text_len, head_len, body_len, text_crc: word(20)?, bytes_crc: word(24)? })
        };
        if !rest.starts_with(&MAGIC) || crc32fast::hash(rest) != u32::from_le_bytes(*crc) {
            return Err("its header is damaged".to_owned());
        }
        match word(8) {
            Some(VERSION) => {}
            Some(other) => return Err(format!("it has format {other}, which this program does not know")),
            None => return Err("its header is damaged".to_owned()),
        }
        fields().filter(|front| front.text_len <= MOST_TEXT).ok_or_else(|| "its header is damaged".to_owned())
    }

    /// Where the message's bytes begin.
    #[must_use]
    pub fn bytes_at(&self) -> u64 {
        HEADER as u64 + u64::from(self.text_len)
    }
    #[must_use]
    pub fn bytes_len(&self) -> u64 {
        u64::from(self.head_len).saturating_add(self.body_len)
    }
    /// Where events begin.
    #[must_use]
    pub fn events_at(&self) -> u64 {
        self.bytes_at().saturating_add(self.bytes_len())
    }
}

/// An event as it is appended.
#[must_use]
pub fn encode_event(event: &Deed) -> Vec<u8> {
    let text = serde_json::to_vec(event).expect("texts and numbers always serialise");
    let mut out = Vec::with_capacity(EVENT_HEADER + text.len());
    out.extend_from_slice(&EVENT_MAGIC);
    out.extend_from_slice(&u32::try_from(text.len()).unwrap_or(u32::MAX).to_le_bytes());
    out.extend_from_slice(&crc32fast::hash(&text).to_le_bytes());
    out.extend_from_slice(&text);
    out
}

/// The whole events at the beginning of `bytes`, and how many octets they take.
#[must_use]
pub fn decode_events(bytes: &[u8]) -> (Vec<Deed>, usize) {
    let (mut events, mut at) = (Vec::new(), 0);
    while let Some((event, len)) = bytes.get(at..).and_then(decode_event) {
        events.push(event);
        at += len;
    }
    (events, at)
}

fn decode_event(bytes: &[u8]) -> Option<(Deed, usize)> {
    let header = bytes.first_chunk::<EVENT_HEADER>()?;
    let word = |at: usize| header.get(at..)?.first_chunk::<4>().map(|b| u32::from_le_bytes(*b));
    if !header.starts_with(&EVENT_MAGIC) {
        return None;
    }
    let end = EVENT_HEADER.checked_add(usize::try_from(word(4)?).ok()?)?;
    let text = bytes.get(EVENT_HEADER..end)?;
    if crc32fast::hash(text) != word(8)? {
        return None;
    }
    Some((serde_json::from_slice(text).ok()?, end))
}

/// One held message as lists show it.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Entry {
    pub key: HeldKey,
    pub held: Held,
    /// Set once an officer has let it go.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub released: Option<Deed>,
    /// All that was done with it, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub deeds: Vec<Deed>,
    /// Copies of this mailing that share one file; 1 for most.
    #[serde(default = "one")]
    pub copies: u32,
}

const fn one() -> u32 {
    1
}

impl Entry {
    /// From what its file says of it. What was found since then is a reason like those it was held for, and malware the
    /// first of all.
    #[must_use]
    pub fn new(key: HeldKey, mut held: Held, deeds: Vec<Deed>) -> Self {
        for code in deeds.iter().filter(|deed| deed.what == What::Found).flat_map(|deed| &deed.codes) {
            if held.because.contains(code) {
                continue;
            }
            if code.starts_with("malware.") {
                held.kind = Kind::Malware;
                held.because.insert(0, code.clone());
            } else {
                held.because.push(code.clone());
            }
        }
        let released = deeds.iter().rfind(|deed| deed.what == What::Released).cloned();
        Self { key, held, released, deeds, copies: 1 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_read_what_they_write() {
        let key = HeldKey { id: MailId::from_u128(0xABCD << 60), copy: 3, member: 0 };
        assert_eq!(key.to_string().parse(), Ok(key));
        assert_eq!(HeldKey::of_file(&key.file_name()), Some(key));
        assert_eq!(key.id.to_string().parse(), Ok(HeldKey { copy: 0, ..key }));
        let shared = HeldKey { member: 7, ..key };
        assert_eq!(shared.to_string().parse(), Ok(shared));
        assert_eq!((shared.file_name(), shared.first()), (key.file_name(), key), "one file holds them all");
        for bad in ["", "x", "../../etc/passwd", "01KAN5QF3W8Z5T2D9H6X0V7RBM-x", "01KAN5QF3W8Z5T2D9H6X0V7RBM-1-2"] {
            assert!(bad.parse::<HeldKey>().is_err(), "{bad}");
        }
    }

    #[test]
    fn one_flipped_bit_in_the_header_is_noticed() {
        let front = Front::new(b"{}", b"head", b"body");
        let good = front.encode();
        assert_eq!(Front::decode(&good), Ok(front));
        for bit in 0..good.len() * 8 {
            let mut bad = good;
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(Front::decode(&bad).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn a_torn_event_is_none_and_hides_nothing_before_it() {
        let event = |by: &str| Deed {
            by: by.into(),
            reason: "asked".into(),
            at: Timestamp::from_seconds(1),
            ..Deed::default()
        };
        let mut bytes = encode_event(&event("a"));
        let whole = bytes.len();
        bytes.extend(encode_event(&event("b")));
        assert_eq!(decode_events(&bytes), (vec![event("a"), event("b")], bytes.len()));
        assert_eq!(decode_events(&bytes[..bytes.len() - 1]), (vec![event("a")], whole));
        assert_eq!(decode_events(&[0; 40]), (vec![], 0));
    }
}
