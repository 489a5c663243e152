//! YARA-X over the message and everything unpacked from it. Rules are compiled once, off the mail path, and travel
//! to inspectors as native code, so that a replaced inspector is ready at once.
//!
//! What a hit means stands in the rule's metadata (`rules/yara/README.md`): `severity = "malware"` gives the finding
//! `malware.<name>`, anything else `yara.<namespace>.<rule>`. Hostile octets never reach the compiler.

mod pack;
mod shape;

use std::cell::RefCell;
use std::collections::HashSet;
use std::path::PathBuf;
use std::time::Duration;

use yara_x::{Compiler, MetaValue, Rules, Scanner, SourceCode};

pub use pack::Packs;

use super::{ContentCheck, View};
use crate::inspect::{ContentFacts, Finding};
use crate::mail::{Problem, problem};

/// Of this check, in `[inspect] checks`.
pub const ID: &str = "yara";

/// A rule file as read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Source {
    pub file: PathBuf,
    pub text: String,
}

/// A compiled rule set.
pub struct RuleSet(Rules);

impl std::fmt::Debug for RuleSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RuleSet({} rules)", self.0.iter().len())
    }
}

impl RuleSet {
    /// Compiles all files, each in the namespace of its name; every problem of every file at once. Beside the rules
    /// come the compiler's warnings, a bounded number: patterns that make a scan slow are among them.
    pub fn compile(sources: &[Source]) -> Result<(Self, Vec<Problem>), Vec<Problem>> {
        let (mut compiler, mut problems) = (Compiler::new(), Vec::new());
        // Includes would read files that nobody listed.
        compiler.enable_includes(false);
        for name in ["file_name", "file_type", "sender_domain"] {
            if let Err(error) = compiler.define_global(name, "") {
                problems.push(Problem::new("", error.to_string()));
            }
        }
        for source in sources {
            if let Err((offset, why)) = shape::check(&source.text) {
                problems.push(placed(source, offset, why));
                continue;
            }
            compiler.new_namespace(&namespace(source));
            let origin = source.file.display().to_string();
            let code = SourceCode::from(source.text.as_str()).with_origin(origin);
            let before = compiler.errors().len();
            if let Err(first) = compiler.add_source(code) {
                // All errors of the file; the first by itself where the compiler kept none.
                let all = compiler
                    .errors()
                    .get(before..)
                    .filter(|all| !all.is_empty())
                    .unwrap_or(std::slice::from_ref(&first));
                let told = all.iter().take(ERRORS).map(|error| {
                    let start = error.labels().next().map_or(0, |label| label.span().start());
                    placed(source, start, error.title())
                });
                problems.extend(told);
                if let Some(left) = all.len().checked_sub(ERRORS).filter(|left| *left > 0) {
                    problems.push(Problem::new(&source.file, format!("the file has {left} more errors")));
                }
            }
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        let warnings = warnings(&compiler, sources);
        Ok((Self(compiler.build()), warnings))
    }

    /// For [`Self::from_bytes`] in a process of the same binary.
    pub fn to_bytes(&self) -> Result<Vec<u8>, String> {
        self.0.serialize().map_err(|e| e.to_string())
    }

    /// Only for what [`Self::to_bytes`] of this same program wrote: native code is in it.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, String> {
        Rules::deserialize(bytes).map(Self).map_err(|e| e.to_string())
    }

    /// Every rule that can hit, for lists and weights.
    #[must_use]
    pub fn rules(&self) -> Vec<About> {
        self.0.iter().filter(|r| !r.is_private()).map(|r| About::read(&r)).collect()
    }
}

/// Of one file; the first ones tell what is wrong with it.
const ERRORS: usize = 20;

fn placed(source: &Source, offset: usize, what: &str) -> Problem {
    let (line, column) = problem::place(&source.text, offset);
    Problem::new(&source.file, what.to_owned()).at(line, column)
}

/// A pack of thousands of rules may warn of each; the first ones tell what kind of pack it is.
const WARNINGS: usize = 50;

fn warnings(compiler: &Compiler<'_>, sources: &[Source]) -> Vec<Problem> {
    // How a pattern is spelt is a matter of taste: the test file stands in hexadecimal so that no scanner trips over the rules.
    let mut all: Vec<_> = compiler.warnings().iter().filter(|warning| warning.code() != "text_as_hex").collect();
    // Slow ones first: they cost every message.
    all.sort_by_key(|warning| !warning.code().contains("slow"));
    let mut told = Vec::new();
    for warning in all.iter().take(WARNINGS) {
        let label = warning.labels().next();
        let place = label.and_then(|label| {
            let source = sources.iter().find(|source| Some(&*source.file.display().to_string()) == label.origin())?;
            Some((source, problem::place(&source.text, label.span().start())))
        });
        told.push(match place {
            Some((source, (line, column))) => Problem::new(&source.file, warning.title().to_owned()).at(line, column),
            None => Problem::new("", warning.title().to_owned()),
        });
    }
    if let Some(left) = all.len().checked_sub(WARNINGS).filter(|left| *left > 0) {
        told.push(Problem::new("", format!("the YARA rules have {left} more warnings")));
    }
    told.into_iter().map(Problem::warning).collect()
}

/// The file's name without extension, as an identifier.
fn namespace(source: &Source) -> String {
    let stem = source.file.file_stem().unwrap_or_default().to_string_lossy();
    stem.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' }).collect()
}

/// The check: one scanner, used again for every octet string of every message.
pub struct Yara<'p> {
    scanner: RefCell<Scanner<'p>>,
}

impl<'p> Yara<'p> {
    /// `timeout` only where no process deadline stands behind the scan; it costs a thread and counts whole seconds.
    #[must_use]
    pub fn new(rules: &'p RuleSet, timeout: Option<Duration>) -> Self {
        let mut scanner = Scanner::new(&rules.0);
        scanner.max_matches_per_pattern(1000);
        if let Some(timeout) = timeout {
            scanner.set_timeout(timeout);
        }
        Self { scanner: RefCell::new(scanner) }
    }

    fn scan(&self, data: &[u8], place: &Place<'_>, seen: &mut HashSet<String>, facts: &mut ContentFacts) {
        let mut scanner = self.scanner.borrow_mut();
        for (name, value) in [("file_name", place.name), ("file_type", place.kind), ("sender_domain", place.sender)] {
            if let Err(error) = scanner.set_global(name, value) {
                facts.findings.push(Finding::unknown("yara.failed", error));
                return;
            }
        }
        match scanner.scan(data) {
            Ok(results) => {
                for rule in results.matching_rules() {
                    let finding = report(&rule, place.path);
                    if seen.insert(finding.code.to_string()) {
                        facts.findings.push(finding);
                    }
                }
            }
            Err(error) => facts.findings.push(Finding::unknown("yara.failed", format!("{}: {error}", place.path))),
        }
    }
}

struct Place<'t> {
    path: &'t str,
    name: &'t str,
    kind: &'t str,
    sender: &'t str,
}

/// What a rule says of itself (`rules/yara/README.md`).
#[derive(Clone, PartialEq, Debug)]
pub struct About {
    /// `namespace.rule`
    pub name: String,
    /// Of the finding that a hit makes.
    pub code: String,
    /// `malware` or `suspicious`.
    pub severity: String,
    /// Points of a suspicious rule; zero when the rule names none.
    pub score: f64,
    /// English and Vietnamese.
    pub description: String,
    pub description_vi: String,
}

impl About {
    fn read(rule: &yara_x::Rule<'_, '_>) -> Self {
        let text = |wanted: &str| {
            rule.metadata().find_map(|(key, value)| match value {
                MetaValue::String(text) if key == wanted => Some(text.to_owned()),
                _ => None,
            })
        };
        let score = rule.metadata().find_map(|(key, value)| match value {
            MetaValue::Integer(score) if key == "score" => Some(score as f64),
            MetaValue::Float(score) if key == "score" => Some(score),
            _ => None,
        });
        let name = format!("{}.{}", rule.namespace(), rule.identifier());
        let severity = text("severity").unwrap_or_else(|| "suspicious".to_owned());
        let code = match (severity.as_str(), text("name")) {
            ("malware", Some(name)) => format!("malware.{name}"),
            ("malware", None) => format!("malware.{}", rule.identifier().to_ascii_lowercase()),
            _ => format!("yara.{name}"),
        };
        Self {
            name,
            code,
            severity,
            score: score.unwrap_or_default(),
            description: text("description").unwrap_or_default(),
            description_vi: text("description_vi").unwrap_or_default(),
        }
    }
}

fn report(rule: &yara_x::Rule<'_, '_>, path: &str) -> Finding {
    let about = About::read(rule);
    Finding::new(about.code).with(format!("{} in {path}: {}", about.name, about.description))
}

impl ContentCheck for Yara<'_> {
    fn examine(&self, view: &View<'_>, facts: &mut ContentFacts) {
        let mut seen = HashSet::new();
        let sender = view.task.sender.domain().map_or("", |d| d.as_str());
        let whole = Place { path: "message", name: "", kind: "message/rfc822", sender };
        self.scan(view.raw, &whole, &mut seen, facts);
        for object in view.objects {
            if object.is_seen_in_raw() {
                continue;
            }
            let place = Place { path: &object.path, name: object.name(), kind: object.kind, sender };
            self.scan(&object.data, &place, &mut seen, facts);
        }
    }
}
