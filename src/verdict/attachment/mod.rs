//! The attachment policy: what an agency lets in and out, part by part (DOMAIN R15).
//!
//! For each part the first rule that holds decides; an agency's own rules stand before the general ones, so an exception
//! (`action = "deliver"`) goes before what it is an exception from. Of the message's parts the strictest counts. The
//! policy adds to the other causes of the verdict and never takes one away: malware that a rule lets pass is malware.
//!
//! A part that is to be stripped gives way to a notice, and the original is held. Signed or encrypted mail, and mail that
//! leaves with a DKIM signature already, is never edited (DESIGN decision 9): it is held instead.

pub mod notice;
pub mod settings;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::inspect::Finding;
use crate::inspect::case::PartFact;
use crate::inspect::checks::content::kind;

use settings::{Direction, Do, Inside, Rule, Trait};

/// A rule that decided about a part.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Ruled {
    pub rule: String,
    pub path: String,
    pub name: String,
    pub action: Do,
    /// It is said and not done.
    pub observed: bool,
}

impl Ruled {
    /// For the receipt: which rule, which part, what.
    #[must_use]
    pub fn detail(&self) -> String {
        let name: String = self.name.chars().take(120).collect();
        let would = if self.observed { "would " } else { "" };
        format!("{}: {name:?}: {would}{}", self.path, self.action.word())
    }
    /// The code by which it is counted.
    #[must_use]
    pub fn code(&self) -> String {
        format!("policy.{}", self.rule)
    }
}

/// What the rules say of a message that goes in `direction`. One line a part at most; where the part is to be
/// delivered, none. There are no more of them than parts, which the inspector bounds.
#[must_use]
pub fn decide(rules: &[&Rule], observe: bool, outward: bool, parts: &[PartFact], findings: &[Finding]) -> Vec<Ruled> {
    let named = parts.iter().filter(|part| !part.name.is_empty() && !is_member(part)).count();
    let mut lines = Vec::new();
    for part in parts {
        let about = About::new(part, findings);
        let first = rules.iter().find(|rule| holds(rule, outward, part, &about, named));
        let Some(rule) = first.filter(|rule| rule.action > Do::Deliver) else { continue };
        lines.push(Ruled {
            rule: rule.name.clone(),
            path: part.path.clone(),
            name: part.name.clone(),
            action: rule.action,
            observed: observe || rule.observe,
        });
    }
    // The strictest are the ones that must be told.
    lines.sort_by_key(|line| (line.observed, std::cmp::Reverse(line.action)));
    lines
}

/// What was found about one part: findings name it at the beginning of their detail.
struct About<'f> {
    codes: BTreeSet<&'f str>,
}

impl<'f> About<'f> {
    fn new(part: &PartFact, findings: &'f [Finding]) -> Self {
        let of_it = |finding: &&Finding| {
            let rest = finding.detail.strip_prefix(part.path.as_str());
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(':') || rest.starts_with(' '))
        };
        Self { codes: findings.iter().filter(of_it).map(|finding| finding.code.as_ref()).collect() }
    }

    fn has(&self, code: &str) -> bool {
        self.codes
            .iter()
            .any(|found| found.strip_prefix(code).is_some_and(|rest| rest.is_empty() || rest.starts_with('.')))
    }

    fn is(&self, what: Trait, part: &PartFact) -> bool {
        let by_content = match what {
            Trait::Program => kind::is_executable(&part.kind),
            Trait::DiskImage => part.kind == "application/x-iso9660-image",
            Trait::Shortcut => part.kind == "application/x-ms-shortcut",
            _ => false,
        };
        by_content || what.codes().iter().any(|code| self.has(code))
    }
}

fn is_member(part: &PartFact) -> bool {
    part.path.contains('/')
}

fn holds(rule: &Rule, outward: bool, part: &PartFact, about: &About<'_>, named: usize) -> bool {
    let direction = match rule.direction {
        Direction::Any => true,
        Direction::In => !outward,
        Direction::Out => outward,
    };
    let inside = match rule.inside {
        Inside::Any => true,
        Inside::Archive => is_member(part),
        Inside::Message => !is_member(part),
    };
    let size = rule.larger.is_none_or(|size| part.bytes > size.as_u64());
    let count = rule.more_than.is_none_or(|most| named > usize::try_from(most).unwrap_or(usize::MAX));
    let one = |list: &[String], fits: &dyn Fn(&str) -> bool| list.is_empty() || list.iter().any(|item| fits(item));
    // Parts without a name are the letter itself, unless it is asked for by what it is.
    let told = !rule.is.is_empty() || !rule.types.is_empty() || !rule.findings.is_empty() || !rule.sha256.is_empty();
    let meant = !part.name.is_empty() || told;
    direction
        && inside
        && size
        && count
        && meant
        && (rule.is.is_empty() || rule.is.iter().any(|what| about.is(*what, part)))
        && one(&rule.types, &|kind| fits_type(kind, &part.kind))
        && one(&rule.names, &|pattern| glob(&pattern.to_lowercase(), &part.name.to_lowercase()))
        && one(&rule.sha256, &|digest| digest.eq_ignore_ascii_case(&part.sha256))
        && one(&rule.findings, &|code| about.has(code))
}

fn fits_type(wanted: &str, kind: &str) -> bool {
    match wanted.strip_suffix("/*") {
        Some(family) => kind.split_once('/').is_some_and(|(top, _)| top.eq_ignore_ascii_case(family)),
        None => wanted.eq_ignore_ascii_case(kind),
    }
}

/// `*` any letters, `?` one. Goes back to the last star only, so it takes at most the product of both lengths.
#[must_use]
pub fn glob(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    let (mut p, mut t, mut back) = (0_usize, 0_usize, None);
    while t < text.len() {
        match pattern.get(p) {
            Some('*') => {
                back = Some((p, t));
                p += 1;
            }
            Some(c) if *c == '?' || Some(c) == text.get(t) => (p, t) = (p + 1, t + 1),
            _ => {
                let Some((star, from)) = back else { return false };
                back = Some((star, from + 1));
                (p, t) = (star + 1, from + 1);
            }
        }
    }
    pattern.get(p..).unwrap_or_default().iter().all(|c| *c == '*')
}
