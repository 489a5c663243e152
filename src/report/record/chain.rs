//! The chain of lines: how one is sealed, and how a log is proven whole.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::Entry;
use crate::mail::Timestamp;

/// `prev` of the first line ever.
pub const GENESIS: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// Where the chain stands: number and hash of its last line.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Head {
    pub number: u64,
    pub hash: String,
}

impl Default for Head {
    fn default() -> Self {
        Self { number: 0, hash: GENESIS.to_owned() }
    }
}

/// A line that was read and whose own hash is right.
#[derive(Clone, PartialEq, Debug)]
pub struct Line {
    pub number: u64,
    pub prev: String,
    pub at: String,
    pub hash: String,
    pub entry: Entry,
}

#[derive(Serialize)]
struct Body<'a> {
    n: u64,
    prev: &'a str,
    at: String,
    #[serde(flatten)]
    entry: &'a Entry,
}

#[derive(Deserialize)]
struct Written {
    n: u64,
    prev: String,
    at: String,
    #[serde(flatten)]
    entry: Entry,
}

/// The marker before the hash, which is the last member of every line.
const HASH: &str = ",\"hash\":\"";

/// The next line, with its line end; moves `head` on.
pub fn seal(head: &mut Head, at: Timestamp, entry: &Entry) -> Result<String, serde_json::Error> {
    let number = head.number.saturating_add(1);
    let mut text = serde_json::to_string(&Body { n: number, prev: &head.hash, at: at.rfc3339(), entry })?;
    // The hash is over the octets as they stand: nobody needs to agree on a canonical form of JSON.
    text.pop();
    let hash = hex(&text);
    text.push_str(HASH);
    text.push_str(&hash);
    text.push_str("\"}\n");
    *head = Head { number, hash };
    Ok(text)
}

fn hex(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().map(|b| format!("{b:02x}")).collect()
}

/// Why a line is not what was written.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Broken {
    #[error("this is no complete line of the log")]
    Torn,
    #[error("the line was changed: its hash does not fit its content")]
    Changed,
    #[error("the line does not follow the one before: lines were removed, swapped or inserted")]
    Chain,
}

/// Reads one line and proves its own hash; whether it follows the one before is for [`verify`].
pub fn open(text: &str) -> Result<Line, Broken> {
    let (body, rest) = text.trim_end_matches(['\n', '\r']).rsplit_once(HASH).ok_or(Broken::Torn)?;
    let hash = rest.strip_suffix("\"}").ok_or(Broken::Torn)?;
    if hash != hex(body) {
        return Err(Broken::Changed);
    }
    let written: Written = serde_json::from_str(&format!("{body}}}")).map_err(|_| Broken::Changed)?;
    Ok(Line { number: written.n, prev: written.prev, at: written.at, hash: hash.to_owned(), entry: written.entry })
}

/// What a check of the log found.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Verified {
    pub lines: u64,
    /// `file:line: what is wrong`; the first [`MOST_FAULTS`].
    pub faults: Vec<String>,
    /// All of them.
    pub fault_count: u64,
    /// Torn last lines of a crash that the next start noted; they are no faults.
    pub torn: u64,
    /// The first line that is left; 1 when nothing was removed, 0 of an empty log.
    pub begins: u64,
    /// Whether the log itself says that what stood before its first line was removed by age.
    pub by_age: bool,
    pub head: Head,
}

/// Faults that are told one by one.
pub const MOST_FAULTS: usize = 1000;

impl Verified {
    /// Whether every line stands where and as it was written.
    #[must_use]
    pub const fn is_whole(&self) -> bool {
        self.fault_count == 0
    }
}

/// Proves a log line by line, holding no more than one. The first line is taken as the start of what is left: older
/// days may have been removed by age.
#[derive(Debug, Default)]
pub struct Verifier {
    result: Verified,
    /// What stood before the first line, by its own word.
    origin: Option<Head>,
    before: Option<Head>,
    torn: Option<String>,
}

impl Verifier {
    /// The next line; `place` is its file and number.
    pub fn line(&mut self, place: &str, text: &str) {
        let line = match open(text) {
            Ok(line) => line,
            Err(Broken::Torn) if self.torn.is_none() => {
                self.torn = Some(place.to_owned());
                return;
            }
            Err(fault) => return self.fault(place, &fault),
        };
        let follows = self.before.as_ref().is_none_or(|h| h.hash == line.prev && h.number + 1 == line.number);
        let first_ever = self.before.is_some() || line.number != 1 || line.prev == GENESIS;
        if !follows || !first_ever {
            self.fault(place, &Broken::Chain);
        }
        let note = if let Entry::Note(note) = &line.entry { note.text.as_str() } else { "" };
        // A torn line is only that of a crash when the next start says so.
        if let Some(place) = self.torn.take() {
            if note.starts_with(TORN) {
                self.result.torn += 1;
            } else {
                self.fault(&place, &Broken::Torn);
            }
        }
        let origin = self.origin.get_or_insert_with(|| Head { number: line.number.saturating_sub(1), hash: line.prev });
        if self.result.lines == 0 {
            self.result.begins = line.number;
        }
        self.result.by_age |= note.starts_with(EXPIRED) && note.ends_with(&after(origin));
        self.result.lines += 1;
        self.before = Some(Head { number: line.number, hash: line.hash });
    }

    fn fault(&mut self, place: &str, fault: &Broken) {
        self.result.fault_count += 1;
        if self.result.faults.len() < MOST_FAULTS {
            self.result.faults.push(format!("{place}: {fault}"));
        }
    }

    /// What was found.
    #[must_use]
    pub fn end(mut self) -> Verified {
        // At the very end nobody has started since: a crash, or a gateway that is writing just now.
        self.result.torn += u64::from(self.torn.is_some());
        self.result.head = self.before.unwrap_or_default();
        self.result
    }
}

/// How the note begins that a start writes after a torn line.
pub const TORN: &str = "the last line was torn";
/// How the note begins that tells of days removed by age.
const EXPIRED: &str = "removed by age: days before ";

/// The note that days before `day` go, the last line of which was `last`.
#[must_use]
pub fn expired(day: &str, last: &Head) -> String {
    format!("{EXPIRED}{day}{}", after(last))
}

fn after(last: &Head) -> String {
    format!("; the log goes on after line {}, {}", last.number, last.hash)
}
