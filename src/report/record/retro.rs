//! What was delivered, looked at again with what is known today: receipts against digests and attachment rules. Pure.
//!
//! A receipt holds of each part its name, true type, size and SHA-256, and every finding about it, so rules over these
//! can be asked again without the message. The record is the memory, too: a digest that an engine or a YARA rule calls
//! malware in one message is looked for in all others ([`condemned`]), and what was told once stands in it as an act.
//! What is not there (the octets) is asked of held mail only.

pub mod letter;

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use crate::inspect::Finding;
use crate::inspect::case::PartFact;
use crate::inspect::checks::content::hashes::HashList;
use crate::mail::{AgencyId, MailId};
use crate::verdict::receipt::{GroupReceipt, Outcome, Receipt};
use crate::verdict::settings::Policy;
use crate::verdict::{Action, Mode, Weighed};

/// Names of what a digest was called: the SHA-256 in lower case, and the engine's or rule's words.
pub type Condemned = HashMap<String, String>;

/// What is known today.
#[derive(Clone, Debug, Default)]
pub struct Known {
    pub list: HashList,
    pub condemned: Condemned,
}

impl Known {
    /// Why these octets are bad.
    fn of(&self, part: &PartFact) -> Option<String> {
        if let Some(name) = self.list.named(&part.sha256) {
            return Some(format!("hash {name}").trim_end().to_owned());
        }
        self.condemned.get(&part.sha256).map(|name| format!("seen as {name}"))
    }
}

/// Somebody received something, or something is held that is known to be worse than it was.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
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
    /// `hash NAME`, `seen as NAME`, a rule as `policy.NAME`, or what was found in held mail.
    pub because: String,
    /// What was done with it then.
    pub then: Action,
    /// What became of it: the last words of its receipt; `held`: nobody received it.
    pub state: String,
}

/// The word for what is on the shelf and stays there.
pub const HELD: &str = "held";

impl Hit {
    #[must_use]
    pub fn is_delivery(&self) -> bool {
        self.state != HELD
    }

    /// For the record of the gateway.
    #[must_use]
    pub fn line(&self) -> String {
        let name: String = self.name.chars().take(120).collect();
        format!("{} {} to {}: {name} ({})", self.id, self.sender, self.recipients.join(", "), self.because)
    }

    /// What makes it the same when it is found again: it is told once.
    #[must_use]
    pub fn key(&self) -> String {
        let what = if self.is_delivery() { "received" } else { HELD };
        format!("{what} {} {} {} {}", self.id, self.agency, self.sha256, self.because)
    }
}

/// What of a message would not have been delivered today.
#[must_use]
pub fn look(receipt: &Receipt, policy: &Policy, known: &Known) -> Vec<Hit> {
    [known_parts(receipt, known), ruled_parts(receipt, policy)].concat()
}

/// Those that got it; refused mail was received by nobody.
fn groups(receipt: &Receipt) -> impl Iterator<Item = &GroupReceipt> {
    receipt.groups.iter().filter(|group| group.action <= Action::Quarantine)
}

/// Parts whose octets are known.
#[must_use]
pub fn known_parts(receipt: &Receipt, known: &Known) -> Vec<Hit> {
    let bad: Vec<(&PartFact, String)> = receipt.parts.iter().filter_map(|part| Some((part, known.of(part)?))).collect();
    groups(receipt)
        .flat_map(|group| bad.iter().map(|(part, because)| hit(receipt, group, part, because.clone())))
        .collect()
}

/// Parts that attachment rules do not let pass any more.
fn ruled_parts(receipt: &Receipt, policy: &Policy) -> Vec<Hit> {
    let mut hits = Vec::new();
    for group in groups(receipt) {
        let Ok(agency) = group.agency.parse::<AgencyId>() else { continue };
        let outward = group.direction == "out";
        for line in policy.ruled(&agency, outward, &receipt.parts, &findings(group)) {
            let known = group.findings.iter().any(|old| old.code == line.code() && old.mode != Mode::Shadow);
            if line.observed || line.action.action() < Action::Tag || known {
                continue;
            }
            let part = receipt.parts.iter().find(|part| part.path == line.path);
            hits.extend(part.map(|part| hit(receipt, group, part, line.code())));
        }
    }
    hits
}

fn hit(receipt: &Receipt, group: &GroupReceipt, part: &PartFact, because: String) -> Hit {
    Hit {
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
    }
}

/// The findings again; a receipt joins those of one code.
fn findings(group: &GroupReceipt) -> Vec<Finding> {
    let of = |line: &Weighed| -> Vec<Finding> {
        line.detail.split("; ").map(|detail| Finding::new(line.code.clone()).with(detail)).collect()
    };
    group.findings.iter().flat_map(of).collect()
}

/// Whether anybody received it, with what became of it later; held mail counts only once it was released.
pub fn settle(hit: &mut Hit, outcomes: &[Outcome]) -> bool {
    if let Some(outcome) = outcomes.last() {
        hit.state.clone_from(&outcome.state);
    }
    let released = outcomes.iter().any(|outcome| matches!(outcome.state.as_str(), "released" | "forwarded"));
    hit.then < Action::Quarantine || released
}

/// Digests that a message's findings call malware.
#[must_use]
pub fn condemned_in(receipt: &Receipt) -> Condemned {
    let lines = receipt.groups.iter().flat_map(|group| &group.findings);
    condemned(&receipt.parts, lines.map(|line| (line.code.as_str(), line.detail.as_str())))
}

/// Digests that findings (code and detail) call malware: of the part that is named in them. Where an engine saw the whole
/// message only, it is the one attachment, if there is one; where there are more, nobody knows which, and a signature's
/// picture must not be looked for in everybody's mail. For the same reason words about the letter itself count for
/// nothing.
#[must_use]
pub fn condemned<'l>(parts: &[PartFact], lines: impl Iterator<Item = (&'l str, &'l str)>) -> Condemned {
    let mut all = Condemned::new();
    for (code, detail) in lines.filter(|(code, _)| code.starts_with("malware.")) {
        for said in detail.split("; ") {
            let names = |part: &&PartFact| {
                let place = format!(" in {}", part.path);
                said.ends_with(&place) || said.contains(&format!("{place}: "))
            };
            // A member's name may end like another part's path; the longest is the one that was meant.
            let named = parts.iter().filter(names).max_by_key(|part| part.path.len());
            let about_letter = code.contains("phishing") || code.contains("heuristics");
            let whole = said.ends_with(" in message") && !about_letter;
            let Some(part) = named.or_else(|| only_attachment(parts).filter(|_| whole)) else { continue };
            if part.bytes > 0 && part.sha256.len() == 64 {
                all.entry(part.sha256.clone()).or_insert_with(|| code.to_owned());
            }
        }
    }
    all
}

fn only_attachment(parts: &[PartFact]) -> Option<&PartFact> {
    let mut found = parts.iter().filter(|part| {
        let letter = ["text/", "image/", "multipart/", "message/"].iter().any(|family| part.kind.starts_with(family));
        !letter && !part.path.contains('/')
    });
    found.next().filter(|_| found.next().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(path: &str, kind: &str, digit: &str) -> PartFact {
        PartFact {
            path: path.into(),
            kind: kind.into(),
            bytes: 9,
            sha256: digit.repeat(64),
            name: "x".into(),
            ..PartFact::default()
        }
    }

    fn said(parts: &[PartFact], code: &str, detail: &str) -> Vec<String> {
        let mut all: Vec<String> = condemned(parts, [(code, detail)].into_iter()).into_keys().collect();
        all.sort();
        all.iter().map(|digest| digest.chars().take(1).collect()).collect()
    }

    #[test]
    fn the_part_that_is_named_is_condemned_and_no_other() {
        let parts = [
            part("1", "text/plain", "a"),
            part("2", "application/zip", "b"),
            part("2/x in 1", "application/x-msdownload", "c"),
            part("3", "image/png", "d"),
        ];
        for (code, detail, expected) in [
            ("malware.emotet", "clamav: Emotet in 2", vec!["b"]),
            ("malware.emotet", "clamav: Emotet in 2/x in 1", vec!["c"]),
            ("malware.emotet", "clamav: Emotet in 2; bkav: W32.E in 2/x in 1", vec!["b", "c"]),
            ("malware.loader", "agency.Loader in 2: tải mã độc", vec!["b"]),
            ("malware.emotet", "clamav: Emotet in message", vec!["b"]),
            ("malware.heuristics.phishing.email", "clamav: Heuristics.Phishing.Email in message", vec![]),
            ("yara.agency.Odd", "agency.Odd in 2: lạ", vec![]),
        ] {
            assert_eq!(said(&parts, code, detail), expected, "{detail}");
        }
        let two = [part("1", "text/plain", "a"), part("2", "application/zip", "b"), part("3", "application/pdf", "e")];
        assert!(said(&two, "malware.emotet", "clamav: Emotet in message").is_empty(), "nobody knows which");
    }
}
