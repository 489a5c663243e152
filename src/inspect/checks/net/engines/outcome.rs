//! What the answers of all engines come to: findings for the verdict, facts for the receipt. Any hit wins; a message is
//! scanned when one engine answered for everything it was shown, or when everything was answered for by some engine.

use serde::{Deserialize, Serialize};

use super::{Answer, Objection, Trouble, code_of};
use crate::inspect::Finding;

/// One question that was put, and what came of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Row {
    pub engine: String,
    pub version: String,
    /// Path of the octets; empty for the whole message.
    pub path: String,
    /// A verdict remembered from the same octets and the same version.
    pub remembered: bool,
    pub outcome: Result<Answer, Trouble>,
}

/// For the receipt: what one engine was asked and said.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct EngineFact {
    pub engine: String,
    /// Program and signatures when it was asked; another version may say otherwise.
    pub version: String,
    /// Octet strings it was shown.
    pub asked: usize,
    /// Of them, verdicts remembered.
    pub remembered: usize,
    /// `clean`, `infected`, `objects`, or the first reason why it is not known.
    pub outcome: String,
    /// The names of what it found, or its words for why not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub detail: Vec<String>,
}

/// Everything about one message.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Outcome {
    pub findings: Vec<Finding>,
    pub facts: Vec<EngineFact>,
    /// Engines that found something, and those that saw it all and found nothing.
    pub catches: Vec<String>,
    pub misses: Vec<String>,
}

/// What mail gets that no engine scanned: the code of the finding.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unscanned {
    /// The sender keeps it.
    Wait,
    /// Taken and held.
    Hold,
    /// Delivered with a tag.
    Tag,
}

impl Unscanned {
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Wait => "engine.down",
            Self::Hold => "engine.unscanned",
            Self::Tag => "engine.skipped",
        }
    }
}

/// Names and errors in one receipt line.
const DETAILS: usize = 10;

/// `rows` empty: no engine was asked, which is right when none is configured.
#[must_use]
pub fn conclude(rows: &[Row], unscanned: Unscanned) -> Outcome {
    let mut outcome = Outcome::default();
    for row in rows {
        let place = if row.path.is_empty() { "message" } else { &row.path };
        match &row.outcome {
            Ok(Answer::Infected(name)) => {
                let finding = Finding::new(format!("malware.{}", code_of(name)));
                add(&mut outcome.findings, finding.with(format!("{}: {name} in {place}", row.engine)));
            }
            Ok(Answer::Objects(what, name)) => {
                let code = match what {
                    Objection::Encrypted => "engine.encrypted",
                    Objection::Limit => "engine.limit",
                    Objection::Macros => "engine.macro",
                };
                add(&mut outcome.findings, Finding::new(code).with(format!("{}: {name} in {place}", row.engine)));
            }
            Ok(Answer::Clean) | Err(_) => {}
        }
    }
    let engines = engines(rows);
    let complete = |engine: &str| of(rows, engine).all(|row| row.outcome.is_ok());
    let paths_answered =
        rows.iter().all(|row| rows.iter().any(|other| other.path == row.path && other.outcome.is_ok()));
    let scanned = rows.is_empty() || paths_answered || engines.iter().any(|engine| complete(engine));
    let failures = || rows.iter().filter_map(|row| Some((row, row.outcome.as_ref().err()?)));
    for (row, trouble) in failures() {
        let place = if row.path.is_empty() { "message" } else { &row.path };
        let text = format!("{}: {place}: {trouble}", row.engine);
        if scanned {
            // Another engine looked: for operators and the receipt only.
            add(&mut outcome.findings, Finding::unknown("engine.degraded", "").with(text));
        }
    }
    if !scanned {
        // What is only too large will be so tomorrow: no reason to let the sender try for days.
        let passing = failures().any(|(_, trouble)| !matches!(trouble, Trouble::TooLarge(_)));
        let code = if passing { unscanned.code() } else { "engine.limit" };
        let why: Vec<String> = failures().map(|(row, trouble)| format!("{}: {trouble}", row.engine)).collect();
        let mut why = why;
        why.dedup();
        outcome.findings.push(Finding::unknown(code, "").with(why.join("; ")));
    }
    let found = |engine: &str| of(rows, engine).any(|row| matches!(row.outcome, Ok(Answer::Infected(_))));
    outcome.catches = engines.iter().filter(|engine| found(engine)).cloned().collect();
    if !outcome.catches.is_empty() {
        outcome.misses = engines.iter().filter(|engine| !found(engine) && complete(engine)).cloned().collect();
        let who = |list: &[String]| list.join(", ");
        if !outcome.misses.is_empty() {
            let detail = format!("{} found it, {} did not", who(&outcome.catches), who(&outcome.misses));
            outcome.findings.push(Finding::new("engine.disagree").with(detail));
        }
    }
    outcome.facts = engines.iter().map(|engine| fact(engine, rows)).collect();
    outcome
}

/// One finding a code and engine is enough: names of many members say the same.
fn add(findings: &mut Vec<Finding>, finding: Finding) {
    let engine = |f: &Finding| f.detail.split(':').next().map(str::to_owned);
    if findings.len() < 50 && !findings.iter().any(|f| f.code == finding.code && engine(f) == engine(&finding)) {
        findings.push(finding);
    }
}

fn engines(rows: &[Row]) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    for row in rows {
        if !all.contains(&row.engine) {
            all.push(row.engine.clone());
        }
    }
    all
}

fn of<'r>(rows: &'r [Row], engine: &str) -> impl Iterator<Item = &'r Row> {
    let engine = engine.to_owned();
    rows.iter().filter(move |row| row.engine == engine)
}

fn fact(engine: &str, rows: &[Row]) -> EngineFact {
    let mut fact = EngineFact { engine: engine.to_owned(), outcome: "clean".to_owned(), ..EngineFact::default() };
    let rank = |word: &str| match word {
        "clean" => 0,
        "objects" => 2,
        "infected" => 3,
        _ => 1,
    };
    for row in of(rows, engine) {
        fact.asked += 1;
        fact.remembered += usize::from(row.remembered);
        fact.version.clone_from(&row.version);
        let (word, detail) = match &row.outcome {
            Ok(Answer::Clean) => ("clean", None),
            Ok(Answer::Infected(name)) => ("infected", Some(name.clone())),
            Ok(Answer::Objects(_, name)) => ("objects", Some(name.clone())),
            Err(trouble) => (trouble.word(), Some(trouble.to_string())),
        };
        if rank(word) > rank(&fact.outcome) {
            word.clone_into(&mut fact.outcome);
        }
        if let Some(detail) = detail
            && fact.detail.len() < DETAILS
            && !fact.detail.contains(&detail)
        {
            fact.detail.push(detail);
        }
    }
    fact
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(engine: &str, path: &str, outcome: Result<Answer, Trouble>) -> Row {
        Row { engine: engine.into(), version: "1".into(), path: path.into(), remembered: false, outcome }
    }

    fn codes(rows: &[Row]) -> Vec<String> {
        conclude(rows, Unscanned::Wait).findings.into_iter().map(|f| f.code.into_owned()).collect()
    }

    fn infected() -> Result<Answer, Trouble> {
        Ok(Answer::Infected("Win.Test EICAR".into()))
    }

    #[test]
    fn any_hit_wins_and_the_disagreement_is_told() {
        let rows = [row("a", "", Ok(Answer::Clean)), row("b", "", infected()), row("c", "", Err(Trouble::Cut))];
        let outcome = conclude(&rows, Unscanned::Wait);
        let codes: Vec<&str> = outcome.findings.iter().map(|f| &*f.code).collect();
        assert_eq!(codes, ["malware.win.test-eicar", "engine.degraded", "engine.disagree"]);
        assert_eq!((outcome.catches, outcome.misses), (vec!["b".to_owned()], vec!["a".to_owned()]));
    }

    #[test]
    fn not_scanned_is_never_clean() {
        assert!(codes(&[]).is_empty());
        assert!(codes(&[row("a", "", Ok(Answer::Clean))]).is_empty());
        for trouble in [
            Trouble::Timeout,
            Trouble::Cut,
            Trouble::Licence("expired".into()),
            Trouble::Error("x".into()),
            Trouble::Down("x".into()),
            Trouble::Nonsense("x".into()),
            Trouble::Busy,
        ] {
            assert_eq!(codes(&[row("a", "", Err(trouble.clone()))]), ["engine.down"]);
            let rows = [row("a", "", Ok(Answer::Clean)), row("a", "2", Err(trouble.clone()))];
            assert_eq!(codes(&rows), ["engine.down"], "a part was not seen");
            let rows = [row("a", "", Err(trouble)), row("b", "", Ok(Answer::Clean))];
            assert_eq!(codes(&rows), ["engine.degraded"], "one of several");
        }
    }

    #[test]
    fn what_is_too_large_for_all_is_a_limit_and_no_reason_to_wait() {
        let large = || Err(Trouble::TooLarge("25 MiB".into()));
        assert_eq!(codes(&[row("a", "", large())]), ["engine.limit"]);
        assert_eq!(codes(&[row("a", "", large()), row("b", "", Err(Trouble::Cut))]), ["engine.down"]);
        let unscanned = conclude(&[row("a", "", Err(Trouble::Cut))], Unscanned::Hold);
        assert_eq!(unscanned.findings.first().map(|f| &*f.code), Some("engine.unscanned"));
    }

    #[test]
    fn objections_are_policy_and_no_virus() {
        let objects = |what| codes(&[row("a", "", Ok(Answer::Objects(what, "x".into())))]);
        assert_eq!(objects(Objection::Encrypted), ["engine.encrypted"]);
        assert_eq!(objects(Objection::Limit), ["engine.limit"]);
        assert_eq!(objects(Objection::Macros), ["engine.macro"]);
    }

    #[test]
    fn the_receipt_says_which_engine_of_which_version_saw_how_much() {
        let rows = [row("a", "", Ok(Answer::Clean)), row("a", "2", infected()), row("b", "", Err(Trouble::Timeout))];
        let facts = conclude(&rows, Unscanned::Wait).facts;
        let told: Vec<(&str, usize, &str)> = facts.iter().map(|f| (&*f.engine, f.asked, &*f.outcome)).collect();
        assert_eq!(told, [("a", 2, "infected"), ("b", 1, "timeout")]);
        assert_eq!(facts.first().unwrap().detail, ["Win.Test EICAR"]);
    }
}
