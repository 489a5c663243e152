//! What was delivered, looked at again with what is known today: receipts against digests and attachment rules. Pure.
//!
//! A receipt holds of each part its name, true type, size and SHA-256, and every finding about it, so rules over these
//! can be asked again without the message. What is not there (the octets) is asked of held mail only, when it is
//! released.

use std::collections::HashMap;

use serde::Serialize;

use crate::inspect::Finding;
use crate::mail::{AgencyId, MailId};
use crate::verdict::receipt::{GroupReceipt, Outcome, Receipt};
use crate::verdict::settings::Policy;
use crate::verdict::{Action, Mode};

/// Known digests, lower case, and what they are called.
pub type Hashes = HashMap<String, String>;

/// Reads a list: a digest and perhaps a name a line, `#` begins a remark. Returns lines that are neither.
pub fn read_hashes(text: &str, hashes: &mut Hashes) -> Vec<usize> {
    let mut bad = Vec::new();
    for (n, line) in (1_usize..).zip(text.lines()) {
        let line = line.split('#').next().unwrap_or_default().trim();
        let (digest, name) = line.split_once(|c: char| c.is_whitespace() || c == ',').unwrap_or((line, ""));
        if digest.len() == 64 && digest.bytes().all(|b| b.is_ascii_hexdigit()) {
            hashes.insert(digest.to_ascii_lowercase(), name.trim().to_owned());
        } else if !line.is_empty() {
            bad.push(n);
        }
    }
    bad
}

/// Somebody received something.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Hit {
    pub id: MailId,
    pub time: String,
    pub sender: String,
    pub agency: String,
    pub direction: String,
    pub recipients: Vec<String>,
    pub part: String,
    pub name: String,
    pub sha256: String,
    /// `hash NAME`, or the rule as `policy.NAME`.
    pub because: String,
    /// What was done with it then.
    pub then: Action,
    /// What became of it: the last words of its receipt.
    pub state: String,
}

impl Hit {
    /// For the record of the gateway.
    #[must_use]
    pub fn line(&self) -> String {
        format!("{} {} to {}: {} ({})", self.id, self.sender, self.recipients.join(", "), self.name, self.because)
    }
}

/// What of a message would not have been delivered today. Refused mail was received by nobody.
#[must_use]
pub fn look(receipt: &Receipt, policy: &Policy, hashes: &Hashes) -> Vec<Hit> {
    let mut hits = Vec::new();
    for group in receipt.groups.iter().filter(|group| group.action <= Action::Quarantine) {
        let mut add = |path: &str, because: String| {
            let Some(part) = receipt.parts.iter().find(|part| part.path == path) else { return };
            hits.push(Hit {
                id: receipt.id,
                time: receipt.time.clone(),
                sender: receipt.sender.clone(),
                agency: group.agency.clone(),
                direction: group.direction.clone(),
                recipients: group.recipients.clone(),
                part: part.path.clone(),
                name: part.name.clone(),
                sha256: part.sha256.clone(),
                because,
                then: group.action,
                state: String::new(),
            });
        };
        for part in &receipt.parts {
            if let Some(name) = hashes.get(&part.sha256) {
                add(&part.path, format!("hash {name}").trim_end().to_owned());
            }
        }
        let Ok(agency) = group.agency.parse::<AgencyId>() else { continue };
        let outward = group.direction == "out";
        for line in policy.ruled(&agency, outward, &receipt.parts, &findings(group)) {
            let known = group.findings.iter().any(|old| old.code == line.code() && old.mode != Mode::Shadow);
            if !line.observed && line.action.action() >= Action::Tag && !known {
                add(&line.path, line.code());
            }
        }
    }
    hits
}

/// The findings again; a receipt joins those of one code.
fn findings(group: &GroupReceipt) -> Vec<Finding> {
    let of = |line: &crate::verdict::Weighed| -> Vec<Finding> {
        line.detail.split("; ").map(|detail| Finding::new(line.code.clone()).with(detail)).collect()
    };
    group.findings.iter().flat_map(of).collect()
}

/// Whether anybody received it, with what became of it later; held mail counts only once it was released.
pub fn settle(hit: &mut Hit, outcomes: &[Outcome]) -> bool {
    hit.state = outcomes.last().map(|outcome| outcome.state.clone()).unwrap_or_default();
    let released = outcomes.iter().any(|outcome| matches!(outcome.state.as_str(), "released" | "forwarded"));
    hit.then < Action::Quarantine || released
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_digests_are_read_with_names_and_told_where_they_are_not() {
        let (mut hashes, digest) = (Hashes::new(), "AB".repeat(32));
        let bad = read_hashes(&format!("# list\n{digest}  Emotet 12\n\nrubbish\n{}\n", "0f".repeat(32)), &mut hashes);
        assert_eq!(bad, [4]);
        assert_eq!(hashes.get(&digest.to_lowercase()).map(String::as_str), Some("Emotet 12"));
        assert_eq!(hashes.len(), 2);
    }
}
