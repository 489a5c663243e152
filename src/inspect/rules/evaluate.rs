//! Which rules hit: plain arithmetic over atoms, findings and authentication results, in the main process.

use std::collections::{HashMap, HashSet};

use super::compile::{Condition, RuleSet};
use super::{Mode, Words};
use crate::inspect::case::{AtomHit, AuthFacts, SmimeFact};
use crate::inspect::check::Finding;

/// What rules are evaluated over.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    pub atoms: &'a [AtomHit],
    pub findings: &'a [Finding],
    /// Their results count as findings: `spf.pass`, `dkim.fail`, `dmarc.none`, `iprev.pass`, `arc.pass`.
    /// `None` where authentication does not apply (outgoing mail): no result is added.
    pub auth: Option<&'a AuthFacts>,
    /// Its status counts as a finding: `smime.valid`.
    pub smime: &'a SmimeFact,
}

/// A rule that hit.
#[derive(Clone, PartialEq, Debug)]
pub struct RuleHit {
    pub id: String,
    pub score: f64,
    pub mode: Mode,
    /// What was seen.
    pub detail: String,
    pub description: Words,
    /// `file:line`
    pub source: String,
}

impl RuleSet {
    /// The rules that hit, in file order.
    #[must_use]
    pub fn evaluate(&self, facts: &Facts<'_>) -> Vec<RuleHit> {
        let evaluation =
            Evaluation { atoms: facts.atoms.iter().map(|hit| (hit.atom, hit)).collect(), codes: codes(facts) };
        let mut held = vec![false; self.rules().len()];
        for index in self.order() {
            if let (Some(rule), Some(slot)) = (self.rules().get(*index), held.get(*index).copied()) {
                let hit = slot || evaluation.holds(&rule.when, &held);
                if let Some(slot) = held.get_mut(*index) {
                    *slot = hit;
                }
            }
        }
        let hits = self.rules().iter().zip(&held).filter(|(_, hit)| **hit);
        hits.map(|(rule, _)| {
            let mut seen = Vec::new();
            evaluation.explain(&rule.when, &held, self, &mut seen);
            RuleHit {
                id: rule.id.clone(),
                score: rule.score,
                mode: rule.mode,
                detail: seen.join("; ").chars().take(300).collect(),
                description: rule.description.clone(),
                source: rule.source.clone(),
            }
        })
        .collect()
    }
}

/// All codes that hold, results of authentication among them.
fn codes(facts: &Facts<'_>) -> HashSet<String> {
    let mut codes: HashSet<String> = facts.findings.iter().map(|f| f.code.to_string()).collect();
    if let Some(auth) = facts.auth {
        codes.insert(format!("spf.{}", auth.spf));
        codes.insert(format!("dkim.{}", auth.dkim_result()));
        codes.insert(format!("dmarc.{}", auth.dmarc.result));
        codes.insert(format!("arc.{}", auth.arc));
        codes.insert(format!("iprev.{}", auth.iprev));
    }
    codes.insert(format!("smime.{}", facts.smime.status));
    codes
}

struct Evaluation<'a> {
    atoms: HashMap<u32, &'a AtomHit>,
    codes: HashSet<String>,
}

impl Evaluation<'_> {
    fn holds(&self, condition: &Condition, held: &[bool]) -> bool {
        match condition {
            Condition::All(list) => list.iter().all(|c| self.holds(c, held)),
            Condition::Any(list) => list.iter().any(|c| self.holds(c, held)),
            Condition::Not(inner) => !self.holds(inner, held),
            Condition::AtLeast(n, list) => list.iter().filter(|c| self.holds(c, held)).count() >= *n,
            Condition::Rule(index) => held.get(*index).copied().unwrap_or(false),
            Condition::Finding(patterns) => patterns.iter().any(|p| self.code(p).is_some()),
            Condition::Atom(atom, need) => self.atoms.get(atom).is_some_and(|hit| hit.count >= *need),
        }
    }

    fn code(&self, pattern: &str) -> Option<&str> {
        match pattern.strip_suffix('*') {
            Some(stem) => self.codes.iter().filter(|c| c.starts_with(stem)).min().map(String::as_str),
            None => self.codes.get(pattern).map(String::as_str),
        }
    }

    /// What made a condition that holds hold.
    fn explain(&self, condition: &Condition, held: &[bool], set: &RuleSet, out: &mut Vec<String>) {
        match condition {
            Condition::All(list) | Condition::Any(list) | Condition::AtLeast(_, list) => {
                for inner in list.iter().filter(|c| self.holds(c, held)) {
                    self.explain(inner, held, set, out);
                }
            }
            Condition::Not(_) => {}
            Condition::Rule(index) => out.extend(set.rules().get(*index).map(|r| r.id.clone())),
            Condition::Finding(patterns) => out.extend(patterns.iter().filter_map(|p| self.code(p)).map(str::to_owned)),
            Condition::Atom(atom, _) => {
                out.extend(self.atoms.get(atom).map(|h| h.sample.clone()).filter(|s| !s.is_empty()));
            }
        }
    }
}
