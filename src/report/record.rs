//! The receipt log: JSON lines with a hash chain, one file a day (UTC), only ever appended to.
//!
//! A line is `{"hash":"…","prev":"…","record":{…}}`: `hash` is SHA-256 over `prev` and the record's text, `prev` the
//! hash of the line before, over the files of all days. A line changed, removed or put in between breaks the chain.
//! A record torn by a crash stays as the last line of its file and is noted; the chain goes on behind it.
//! Pure: reading and writing files is done in `run`.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::mail::{MailId, Reply, Timestamp};
use crate::verdict::receipt::{Outcome, Receipt};

/// The hash before the first line.
pub const GENESIS: &str = "0000000000000000000000000000000000000000000000000000000000000000";
const HASH_LEN: usize = 64;

/// One thing that happened.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Record {
    /// A message that was inspected and judged.
    Receipt(Box<Receipt>),
    /// What became of it later.
    Outcome { id: MailId, outcome: Outcome },
    /// A message refused before its content was there.
    Refusal(Refusal),
}

/// A refusal in the session: no content was seen.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Refusal {
    pub id: MailId,
    pub time: String,
    pub client: String,
    pub helo: String,
    pub sender: Option<String>,
    /// `recipient`, `line_ends`, `size`, … as in the metric.
    pub reason: String,
    pub reply: String,
}

impl Refusal {
    #[must_use]
    pub fn new(id: MailId, at: Timestamp, client: String, helo: &str, sender: Option<String>, reason: &str, reply: &Reply) -> Self {
        let (helo, reason) = (helo.to_owned(), reason.to_owned());
        Self { id, time: at.rfc3339(), client, helo, sender, reason, reply: reply.to_string() }
    }
}

impl Record {
    #[must_use]
    pub fn id(&self) -> MailId {
        match self {
            Self::Receipt(receipt) => receipt.id,
            Self::Outcome { id, .. } => *id,
            Self::Refusal(refusal) => refusal.id,
        }
    }
}

/// A record as the line to append (with its line end), and the hash the next line refers to.
pub fn chain(record: &Record, prev: &str) -> Result<(String, String), serde_json::Error> {
    let text = serde_json::to_string(record)?;
    let hash = link(prev, &text);
    Ok((format!("{{\"hash\":\"{hash}\",\"prev\":\"{prev}\",\"record\":{text}}}\n"), hash))
}

fn link(prev: &str, text: &str) -> String {
    let digest = Sha256::new().chain_update(prev).chain_update(text).finalize();
    digest.iter().map(|b| format!("{b:02x}")).collect()
}

/// A line taken apart, its own hash checked.
#[derive(Clone, PartialEq, Debug)]
pub struct Line {
    pub hash: String,
    pub prev: String,
    pub record: Record,
}

/// Why a line is not as it was written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum LineError {
    #[error("the line is torn or is no record")]
    Torn,
    #[error("the record was changed: its hash does not fit")]
    Changed,
}

/// Reads one line, without its line end.
pub fn read(line: &str) -> Result<Line, LineError> {
    let rest = line.strip_prefix("{\"hash\":\"").ok_or(LineError::Torn)?;
    let (hash, rest) = rest.split_at_checked(HASH_LEN).ok_or(LineError::Torn)?;
    let rest = rest.strip_prefix("\",\"prev\":\"").ok_or(LineError::Torn)?;
    let (prev, rest) = rest.split_at_checked(HASH_LEN).ok_or(LineError::Torn)?;
    let text = rest.strip_prefix("\",\"record\":").and_then(|r| r.strip_suffix('}')).ok_or(LineError::Torn)?;
    let record = serde_json::from_str(text).map_err(|_| LineError::Torn)?;
    if link(prev, text) != hash {
        return Err(LineError::Changed);
    }
    Ok(Line { hash: hash.to_owned(), prev: prev.to_owned(), record })
}

/// The hash that follows on `line`, whether it is whole or not: a torn line is hashed as it stands, so that the chain
/// covers it too.
#[must_use]
pub fn hash_after(line: &str, prev: &str) -> String {
    read(line).map_or_else(|_| link(prev, line), |line| line.hash)
}

/// Checks a chain line by line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Verifier {
    prev: String,
    pub lines: u64,
    pub torn: u64,
}

impl Verifier {
    #[must_use]
    pub fn new(prev: &str) -> Self {
        Self { prev: prev.to_owned(), lines: 0, torn: 0 }
    }

    /// Takes the next line; the error says in words what is wrong with it.
    pub fn take(&mut self, line: &str) -> Result<(), String> {
        self.lines = self.lines.saturating_add(1);
        let found = read(line);
        let next = hash_after(line, &self.prev);
        let expected = std::mem::replace(&mut self.prev, next);
        match found {
            Ok(line) if line.prev == expected => Ok(()),
            Ok(_) => Err("a line before it is missing, was put in, or was changed".to_owned()),
            Err(LineError::Torn) => {
                self.torn = self.torn.saturating_add(1);
                Ok(())
            }
            Err(LineError::Changed) => Err(LineError::Changed.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(n: u128) -> Record {
        let id = MailId::from_u128(n);
        let reply = Reply::new(550, "5.1.1", "No such user here");
        Record::Refusal(Refusal::new(id, Timestamp::EPOCH, "203.0.113.9:4000".to_owned(), "a.example", None, "recipient", &reply))
    }

    fn three() -> Vec<String> {
        let mut prev = GENESIS.to_owned();
        let line = |n| {
            let (line, hash) = chain(&refusal(n), &prev).unwrap();
            prev = hash;
            line.trim_end().to_owned()
        };
        [1, 2, 3].map(line).to_vec()
    }

    fn verdict(lines: &[String]) -> Result<Verifier, String> {
        let mut verifier = Verifier::new(GENESIS);
        lines.iter().try_for_each(|line| verifier.take(line)).map(|()| verifier)
    }

    #[test]
    fn a_chain_reads_back_and_verifies() {
        let lines = three();
        assert_eq!(read(&lines[1]).unwrap().record, refusal(2));
        assert_eq!(verdict(&lines).unwrap().lines, 3);
    }

    #[test]
    fn tampering_is_seen() {
        let lines = three();
        let changed = vec![lines[0].clone(), lines[1].replace("203.0.113.9", "203.0.113.8"), lines[2].clone()];
        assert!(verdict(&changed).unwrap_err().contains("changed"));
        assert!(verdict(&[lines[0].clone(), lines[2].clone()]).unwrap_err().contains("missing"));
        assert!(verdict(&lines[1..]).is_err());
        let (forged, _) = chain(&refusal(9), GENESIS).unwrap();
        assert!(verdict(&[lines[0].clone(), forged.trim_end().to_owned(), lines[1].clone()]).is_err());
    }

    #[test]
    fn a_record_torn_by_a_crash_is_noted_and_the_chain_goes_on() {
        let mut lines = three();
        let torn = lines[2][..40].to_owned();
        let hash = hash_after(&torn, &read(&lines[1]).unwrap().hash);
        let (next, _) = chain(&refusal(4), &hash).unwrap();
        lines.truncate(2);
        lines.extend([torn, next.trim_end().to_owned()]);
        assert_eq!(verdict(&lines).unwrap().torn, 1);
    }
}
