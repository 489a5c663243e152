//! All files to one compiled, immutable set; or every problem at once.

use std::collections::HashMap;
use std::fmt;
use std::sync::OnceLock;

use sha2::{Digest, Sha256};

use super::condition::{Atom, Written};
use super::file::{self, Draft, Test, suggest};
use super::matcher::Matcher;
use super::{Mode, Source, Words};
use crate::mail::Problem;
use crate::mail::problem::Severity;

/// A compiled rule.
#[derive(Clone, PartialEq, Debug)]
pub struct Rule {
    pub id: String,
    pub score: f64,
    pub mode: Mode,
    pub description: Words,
    /// `rules/spam/vn-phishing.toml:12`
    pub source: String,
    pub(super) when: Condition,
}

/// A condition with numbers in place of names.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Condition {
    All(Vec<Self>),
    Any(Vec<Self>),
    Not(Box<Self>),
    AtLeast(usize, Vec<Self>),
    Rule(usize),
    Finding(Vec<String>),
    /// Number of the atom, and how many of its patterns must be found.
    Atom(u32, u32),
}

/// All rules of a policy. Cheap to share; equal sources give equal numbers everywhere.
#[derive(Default)]
pub struct RuleSet {
    rules: Vec<Rule>,
    /// Rules in an order in which each comes after those it names.
    order: Vec<usize>,
    atoms: Vec<Atom>,
    tests: Vec<Test>,
    files: Vec<String>,
    hash: String,
    warnings: Vec<Problem>,
    matcher: OnceLock<Matcher>,
}

impl fmt::Debug for RuleSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RuleSet({} rules, {})", self.rules.len(), self.hash)
    }
}

impl RuleSet {
    /// Compiles `sources`, in their order. Problems of severity error are returned; warnings stay with the set.
    pub fn from_sources(sources: &[Source]) -> Result<Self, Vec<Problem>> {
        let mut problems = Vec::new();
        let (mut drafts, mut tests) = (Vec::new(), Vec::new());
        for (i, source) in sources.iter().enumerate() {
            let (d, t) = file::read(i, source, &mut problems);
            drafts.extend(d);
            tests.extend(t);
        }
        let mut compiler = Compiler { sources, drafts: &drafts, names: HashMap::new(), atoms: Vec::new(), problems };
        compiler.name_all();
        let rules: Vec<Option<Rule>> = drafts.iter().map(|d| compiler.rule(d)).collect();
        let order = compiler.order();
        compiler.check_tests(&tests);
        let Compiler { atoms, mut problems, .. } = compiler;
        problems.sort_by(|a, b| (&a.file, a.line, a.column).cmp(&(&b.file, b.line, b.column)));
        if problems.iter().any(|p| p.severity == Severity::Error) {
            return Err(problems);
        }
        let rules = rules.into_iter().flatten().collect();
        let files = sources.iter().map(|s| s.name.clone()).collect();
        Ok(Self {
            rules,
            order,
            atoms,
            tests,
            files,
            hash: digest(sources),
            warnings: problems,
            matcher: OnceLock::new(),
        })
    }

    #[must_use]
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }
    #[must_use]
    pub fn find(&self, id: &str) -> Option<&Rule> {
        self.rules.iter().find(|r| r.id == id)
    }
    pub(super) fn order(&self) -> &[usize] {
        &self.order
    }
    /// Of all tests in the files.
    #[must_use]
    pub fn tests(&self) -> &[Test] {
        &self.tests
    }
    #[must_use]
    pub fn files(&self) -> &[String] {
        &self.files
    }
    /// SHA-256 over names and texts of all files, hex; the same in every process that has the same rules.
    #[must_use]
    pub fn hash(&self) -> &str {
        &self.hash
    }
    #[must_use]
    pub fn warnings(&self) -> &[Problem] {
        &self.warnings
    }
    #[cfg(test)]
    pub(super) fn atoms(&self) -> &[Atom] {
        &self.atoms
    }
    /// The matcher is built at the first use: the main process, which only evaluates, never needs it.
    pub(super) fn matcher(&self) -> &Matcher {
        self.matcher.get_or_init(|| Matcher::build(&self.atoms))
    }
    /// Builds what matching needs now; an inspector does so before its cage closes.
    pub fn warm(&self) {
        self.matcher();
    }
}

fn digest(sources: &[Source]) -> String {
    let mut hasher = Sha256::new();
    for source in sources {
        for part in [&source.name, &source.text] {
            hasher.update((part.len() as u64).to_be_bytes());
            hasher.update(part.as_bytes());
        }
    }
    hasher.finalize().iter().map(|b| format!("{b:02x}")).collect()
}

struct Compiler<'a> {
    sources: &'a [Source],
    drafts: &'a [Draft],
    names: HashMap<&'a str, usize>,
    atoms: Vec<Atom>,
    problems: Vec<Problem>,
}

impl<'a> Compiler<'a> {
    fn problem(&mut self, file: usize, offset: usize, message: String) -> &mut Problem {
        let problem = self.sources.get(file).map_or_else(
            || Problem::new("", message.clone()),
            |s| Problem::new(&s.name, message.clone()).at_offset(&s.text, offset),
        );
        self.problems.push(problem);
        self.problems.last_mut().expect("one was pushed")
    }

    fn name_all(&mut self) {
        for (i, draft) in self.drafts.iter().enumerate() {
            if let Some(first) = self.names.get(draft.id.as_str()).and_then(|f| self.drafts.get(*f)) {
                let first = format!("{}:{}", self.sources.get(first.file).map_or("", |s| &s.name), first.line);
                self.problem(draft.file, draft.offset, format!("rule {} is defined twice", draft.id)).help =
                    Some(format!("the first one stands at {first}"));
            } else {
                self.names.insert(&draft.id, i);
            }
        }
    }

    fn rule(&mut self, draft: &Draft) -> Option<Rule> {
        let when = self.condition(&draft.when, draft.file);
        let file = self.sources.get(draft.file).map_or("", |s| &s.name);
        Some(Rule {
            id: draft.id.clone(),
            score: draft.score,
            mode: draft.mode,
            description: draft.description.clone(),
            source: format!("{file}:{}", draft.line),
            when: when?,
        })
    }

    fn condition(&mut self, written: &Written, file: usize) -> Option<Condition> {
        Some(match written {
            Written::All(list) => Condition::All(self.conditions(list, file)?),
            Written::Any(list) => Condition::Any(self.conditions(list, file)?),
            Written::Not(inner) => Condition::Not(Box::new(self.condition(inner, file)?)),
            Written::AtLeast(n, list) => {
                Condition::AtLeast(usize::try_from(*n).unwrap_or(usize::MAX), self.conditions(list, file)?)
            }
            Written::Finding(codes) => Condition::Finding(codes.clone()),
            Written::Rule(id, place) => match self.names.get(id.as_str()) {
                Some(index) => Condition::Rule(*index),
                None => {
                    let help = suggest(id, self.names.keys().copied());
                    self.problem(file, place.start, format!("there is no rule {id}")).help = Some(help);
                    return None;
                }
            },
            Written::Atom(atom) => {
                let need = if let Atom::Patterns(p) = atom { p.count } else { 1 };
                let index = u32::try_from(self.atoms.len()).ok()?;
                self.atoms.push(atom.clone());
                Condition::Atom(index, need)
            }
        })
    }

    fn conditions(&mut self, list: &[Written], file: usize) -> Option<Vec<Condition>> {
        let all: Vec<Option<Condition>> = list.iter().map(|w| self.condition(w, file)).collect();
        all.into_iter().collect()
    }

    /// Depth-first order over references; a cycle is a problem of the rule that closes it.
    fn order(&mut self) -> Vec<usize> {
        let edges: Vec<Vec<usize>> = self
            .drafts
            .iter()
            .map(|d| {
                let mut names = Vec::new();
                references(&d.when, &mut names);
                names.iter().filter_map(|n| self.names.get(*n).copied()).collect()
            })
            .collect();
        let mut state = vec![Visit::New; edges.len()];
        let mut order = Vec::with_capacity(edges.len());
        for start in 0..edges.len() {
            // (rule, next edge to follow)
            let mut stack = vec![(start, 0_usize)];
            while let Some((at, next)) = stack.last_mut() {
                let at = *at;
                let Some(slot) = state.get_mut(at).filter(|s| **s != Visit::Done) else {
                    stack.pop();
                    continue;
                };
                *slot = Visit::Open;
                let target = edges.get(at).and_then(|e| e.get(*next)).copied();
                *next += 1;
                match target {
                    Some(target) if state.get(target) == Some(&Visit::Open) => self.cycle(at, target),
                    Some(target) => stack.push((target, 0)),
                    None => {
                        if let Some(slot) = state.get_mut(at) {
                            *slot = Visit::Done;
                        }
                        order.push(at);
                        stack.pop();
                    }
                }
            }
        }
        order
    }

    fn cycle(&mut self, at: usize, target: usize) {
        let (Some(from), Some(to)) = (self.drafts.get(at), self.drafts.get(target)) else { return };
        let message = format!("rule {} depends on itself by way of {}", to.id, from.id);
        self.problem(from.file, from.offset, message);
    }

    /// Every rule has a sample that hits and one that misses (DESIGN decision 7).
    fn check_tests(&mut self, tests: &[Test]) {
        let mut seen: HashMap<&str, (usize, usize)> = HashMap::new();
        for test in tests {
            if !self.names.contains_key(test.rule.as_str()) {
                let help = suggest(&test.rule, self.names.keys().copied());
                self.problem(test.file, test.offset, format!("there is no rule {}", test.rule)).help = Some(help);
            }
            let entry = seen.entry(&test.rule).or_default();
            entry.0 += test.hits.len();
            entry.1 += test.misses.len();
        }
        let drafts = self.drafts;
        for draft in drafts {
            let (hits, misses) = seen.get(draft.id.as_str()).copied().unwrap_or_default();
            if hits == 0 || misses == 0 {
                let lacking = if hits == 0 { "that hits" } else { "that misses" };
                self.problem(draft.file, draft.offset, format!("rule {} has no sample {lacking}", draft.id)).help =
                    Some(format!("add [[test]] with rule = \"{}\", hits = [ … ] and misses = [ … ]", draft.id));
            }
        }
    }
}

/// How far the depth-first search has come with a rule.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Visit {
    New,
    Open,
    Done,
}

fn references<'w>(written: &'w Written, out: &mut Vec<&'w str>) {
    match written {
        Written::All(list) | Written::Any(list) | Written::AtLeast(_, list) => {
            for inner in list {
                references(inner, out);
            }
        }
        Written::Not(inner) => references(inner, out),
        Written::Rule(id, _) => out.push(id),
        Written::Finding(_) | Written::Atom(_) => {}
    }
}
