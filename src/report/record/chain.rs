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
    /// `file:line: what is wrong`.
    pub faults: Vec<String>,
    /// Torn last lines of a crash that the next start noted; they are no faults.
    pub torn: u64,
    pub head: Head,
}

impl Verified {
    /// Whether every line stands where and as it was written.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.faults.is_empty()
    }
}

/// Proves `files` (name and text, in order of their days). The first line is taken as the start of what is left:
/// older days may have been removed by age.
#[must_use]
pub fn verify<'f>(files: impl Iterator<Item = (&'f str, &'f str)>) -> Verified {
    let mut result = Verified::default();
    let mut before: Option<Head> = None;
    let mut torn: Option<String> = None;
    for (name, text) in files {
        for (i, line) in text.split_inclusive('\n').enumerate() {
            let place = format!("{name}:{}", i + 1);
            match open(line) {
                Err(Broken::Torn) if torn.is_none() => torn = Some(place),
                Err(fault) => result.faults.push(format!("{place}: {fault}")),
                Ok(line) => {
                    let follows = before.as_ref().is_none_or(|h| h.hash == line.prev && h.number + 1 == line.number);
                    let first_ever = before.is_some() || line.number != 1 || line.prev == GENESIS;
                    if !follows || !first_ever {
                        result.faults.push(format!("{place}: {}", Broken::Chain));
                    }
                    // A torn line is only that of a crash when the next start says so.
                    if let Some(place) = torn.take() {
                        if matches!(&line.entry, Entry::Note(note) if note.text.starts_with(TORN)) {
                            result.torn += 1;
                        } else {
                            result.faults.push(format!("{place}: {}", Broken::Torn));
                        }
                    }
                    result.lines += 1;
                    before = Some(Head { number: line.number, hash: line.hash });
                }
            }
        }
    }
    // At the very end nobody has started since: a crash, or a gateway that is writing just now.
    result.torn += u64::from(torn.is_some());
    result.head = before.unwrap_or_default();
    result
}

/// How the note begins that a start writes after a torn line.
pub const TORN: &str = "the last line was torn";
