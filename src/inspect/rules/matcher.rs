//! Which atoms hold: for each surface and form one automaton over all words and all literals of regular expressions
//! (Aho-Corasick), so the cost of a message hardly grows with the number of rules.

use std::collections::{BTreeMap, HashMap};

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};
use regex::Regex;

use super::compile::RuleSet;
use super::condition::{self, Atom, PatternKind, Patterns};
use super::literal;
use super::surface::{Form, Surface, Surfaces};
use crate::inspect::case::AtomHit;

/// Characters of a match kept for the receipt.
const SAMPLE: usize = 80;
/// Octets of literals, for each form, up to which a long text gets the fastest automaton; it takes some 300 octets of memory for each.
const DENSE: usize = 20 * 1024;

/// Everything compiled for matching.
pub struct Matcher {
    lanes: Vec<Lane>,
    /// Pattern number to its atom.
    owners: Vec<u32>,
    regexes: Vec<Compiled>,
    /// By atom: what takes a match back.
    unless: HashMap<u32, Regex>,
    /// Fields, features and numbers.
    direct: Vec<(u32, Atom)>,
}

/// One surface in the forms that are read together.
struct Lane {
    surface: Surface,
    /// The accented and the plain form share one automaton: of a text without accents they are the same, and it is
    /// read once.
    forms: &'static [Form],
    automaton: Option<AhoCorasick>,
    /// By number in the automaton.
    targets: Vec<Vec<(Form, Target)>>,
    /// Regular expressions without a literal: they always run.
    always: Vec<usize>,
}

#[derive(Clone, Copy)]
enum Target {
    Word {
        pattern: usize,
        open_left: bool,
        open_right: bool,
    },
    /// Number of the expression, and the bit of the clause that is fulfilled.
    Regex(usize, u8),
}

struct Compiled {
    regex: Regex,
    form: Form,
    pattern: usize,
    /// The bits of all its clauses: it runs where each was fulfilled.
    clauses: u8,
}

#[derive(Default)]
struct LaneDraft {
    literals: BTreeMap<String, Vec<(Form, Target)>>,
    always: Vec<usize>,
}

/// Who shares a lane with a form.
const fn shared(form: Form) -> &'static [Form] {
    match form {
        Form::Exact => &[Form::Exact],
        Form::Accented | Form::Plain => &[Form::Accented, Form::Plain],
        Form::Skeleton => &[Form::Skeleton],
    }
}

impl Matcher {
    pub(super) fn build(atoms: &[Atom]) -> Self {
        let mut drafts: BTreeMap<(Surface, &'static [Form]), LaneDraft> = BTreeMap::new();
        let mut this = Self {
            lanes: Vec::new(),
            owners: Vec::new(),
            regexes: Vec::new(),
            unless: HashMap::new(),
            direct: Vec::new(),
        };
        for (i, atom) in (0_u32..).zip(atoms) {
            match atom {
                Atom::Patterns(patterns) => this.add(i, patterns, &mut drafts),
                other => this.direct.push((i, other.clone())),
            }
        }
        for ((surface, forms), draft) in drafts {
            let (literals, targets): (Vec<String>, Vec<Vec<_>>) = draft.literals.into_iter().unzip();
            let automaton = automaton(&surface, forms, &literals).filter(|_| !literals.is_empty());
            this.lanes.push(Lane { surface, forms, automaton, targets, always: draft.always });
        }
        this
    }

    fn add(&mut self, atom: u32, patterns: &Patterns, drafts: &mut BTreeMap<(Surface, &'static [Form]), LaneDraft>) {
        if let Some(regex) = patterns.unless.as_deref().and_then(|p| condition::regex(p).ok()) {
            self.unless.insert(atom, regex);
        }
        match &patterns.kind {
            PatternKind::Words(words) => {
                for word in words {
                    let pattern = self.owners.len();
                    self.owners.push(atom);
                    let target = Target::Word { pattern, open_left: word.open_left, open_right: word.open_right };
                    for surface in &patterns.surfaces {
                        let lane = drafts.entry((surface.clone(), shared(patterns.form))).or_default();
                        lane.literals.entry(word.text.clone()).or_default().push((patterns.form, target));
                    }
                }
            }
            PatternKind::Regexes(list) => {
                for text in list {
                    // Checked when the file was read.
                    let Ok(regex) = condition::regex(text) else { continue };
                    let pattern = self.owners.len();
                    self.owners.push(atom);
                    let number = self.regexes.len();
                    let required = literal::required(text);
                    let bits = |i: usize| u8::try_from(i).ok().and_then(|i| 1_u8.checked_shl(i.into())).unwrap_or(0);
                    let clauses = (0..required.len()).map(bits).fold(0, |all, bit| all | bit);
                    self.regexes.push(Compiled { regex, form: patterns.form, pattern, clauses });
                    // Literals are in small letters, so they are sought in the accented form.
                    let form = if patterns.form == Form::Exact { Form::Accented } else { patterns.form };
                    for surface in &patterns.surfaces {
                        let lane = drafts.entry((surface.clone(), shared(form))).or_default();
                        if required.is_empty() {
                            lane.always.push(number);
                        }
                        for (i, clause) in required.iter().enumerate() {
                            for literal in clause {
                                let targets = lane.literals.entry(literal.clone()).or_default();
                                targets.push((form, Target::Regex(number, bits(i))));
                            }
                        }
                    }
                }
            }
        }
    }

    fn run(&self, surfaces: &Surfaces) -> Vec<AtomHit> {
        let mut state = State {
            seen: vec![false; self.owners.len()],
            fulfilled: vec![0; self.regexes.len()],
            hits: BTreeMap::new(),
        };
        for lane in &self.lanes {
            // Nothing may be left of the text in this form; expressions look at it as it was written.
            if surfaces.has(&lane.surface) {
                self.lane(lane, surfaces, &mut state);
            }
        }
        for (atom, condition) in &self.direct {
            if let Some(sample) = direct(condition, surfaces) {
                state.hits.insert(*atom, (1, vec![sample]));
            }
        }
        let hits = state.hits.into_iter();
        hits.map(|(atom, (count, samples))| AtomHit { atom, count, sample: cut(&samples.join(" · ")) }).collect()
    }

    fn lane(&self, lane: &Lane, surfaces: &Surfaces, state: &mut State) {
        let mut wanted = lane.always.clone();
        let mut begun = Vec::new();
        let texts = lane.forms.iter().map(|form| (*form, surfaces.text(&lane.surface, *form)));
        let mut texts: Vec<(Form, &str)> = texts.collect();
        // The same text in all forms is read once, for all of them.
        let once = texts.windows(2).all(|pair| matches!(pair, [a, b] if a.1 == b.1));
        texts.truncate(if once { 1 } else { texts.len() });
        for (form, text) in texts {
            for found in lane.automaton.iter().flat_map(|automaton| automaton.find_overlapping_iter(text)) {
                for (of, target) in lane.targets.get(found.pattern().as_usize()).into_iter().flatten() {
                    if *of != form && !once {
                        continue;
                    }
                    match *target {
                        Target::Regex(number, bit) => {
                            if let Some(bits) = state.fulfilled.get_mut(number) {
                                if *bits == 0 {
                                    begun.push(number);
                                }
                                *bits |= bit;
                            }
                        }
                        Target::Word { pattern, open_left, open_right } => {
                            if !state.is_seen(pattern)
                                && (open_left || boundary_before(text, found.start()))
                                && (open_right || boundary_after(text, found.end()))
                                && !self.is_excused(pattern, text, found.start(), found.end())
                            {
                                state.note(self, pattern, text.get(found.range()).unwrap_or(""));
                            }
                        }
                    }
                }
            }
        }
        for number in begun {
            let bits = state.fulfilled.get_mut(number).map(std::mem::take);
            if bits.is_some() && bits == self.regexes.get(number).map(|r| r.clauses) {
                wanted.push(number);
            }
        }
        wanted.sort_unstable();
        for compiled in wanted.into_iter().filter_map(|n| self.regexes.get(n)) {
            let text = surfaces.text(&lane.surface, compiled.form);
            if state.is_seen(compiled.pattern) {
                continue;
            }
            let found = compiled
                .regex
                .find_iter(text)
                .take(1000)
                .find(|m| !self.is_excused(compiled.pattern, text, m.start(), m.end()));
            if let Some(found) = found {
                state.note(self, compiled.pattern, found.as_str());
            }
        }
    }

    /// Whether the line in which a match stands is taken out by the condition's `unless`.
    fn is_excused(&self, pattern: usize, text: &str, start: usize, end: usize) -> bool {
        let Some(regex) = self.owners.get(pattern).and_then(|atom| self.unless.get(atom)) else { return false };
        let from = text.get(..start).and_then(|t| t.rfind('\n')).map_or(0, |i| i + 1);
        let to = text.get(end..).and_then(|t| t.find('\n')).map_or(text.len(), |i| end + i);
        text.get(from..to).is_some_and(|line| regex.is_match(line))
    }
}

/// Long texts pay for each octet, short ones do not.
fn automaton(surface: &Surface, forms: &[Form], literals: &[String]) -> Option<AhoCorasick> {
    let is_long = matches!(
        surface,
        Surface::Body | Surface::Html | Surface::Hidden | Surface::Attached | Surface::Headers | Surface::LinkText
    );
    let is_small = literals.iter().map(String::len).sum::<usize>() <= DENSE.saturating_mul(forms.len());
    let kind = (is_long && is_small).then_some(AhoCorasickKind::DFA);
    AhoCorasick::builder().match_kind(MatchKind::Standard).kind(kind).build(literals).ok()
}

struct State {
    seen: Vec<bool>,
    /// Of the surface that is looked at: the clauses of each expression that are fulfilled.
    fulfilled: Vec<u8>,
    hits: BTreeMap<u32, (u32, Vec<String>)>,
}

impl State {
    fn is_seen(&self, pattern: usize) -> bool {
        self.seen.get(pattern).copied().unwrap_or(true)
    }

    fn note(&mut self, matcher: &Matcher, pattern: usize, found: &str) {
        if let Some(slot) = self.seen.get_mut(pattern) {
            *slot = true;
        }
        let Some(atom) = matcher.owners.get(pattern) else { return };
        let entry = self.hits.entry(*atom).or_default();
        entry.0 += 1;
        if entry.1.len() < 4 {
            entry.1.push(cut(found));
        }
    }
}

fn cut(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(SAMPLE).collect()
}

fn boundary_before(text: &str, at: usize) -> bool {
    !text.get(..at).and_then(|t| t.chars().next_back()).is_some_and(char::is_alphanumeric)
        || !text.get(at..).and_then(|t| t.chars().next()).is_some_and(char::is_alphanumeric)
}

fn boundary_after(text: &str, at: usize) -> bool {
    !text.get(at..).and_then(|t| t.chars().next()).is_some_and(char::is_alphanumeric)
        || !text.get(..at).and_then(|t| t.chars().next_back()).is_some_and(char::is_alphanumeric)
}

/// What a condition without patterns saw, when it holds.
fn direct(atom: &Atom, surfaces: &Surfaces) -> Option<String> {
    match atom {
        Atom::Patterns(_) => None,
        Atom::Field(name) => {
            let surface = Surface::Header(name.clone());
            surfaces.has(&surface).then(|| cut(surfaces.text(&surface, Form::Exact)))
        }
        Atom::Feature(name) => surfaces.features().iter().find(|(n, _)| n == name).map(|(_, d)| cut(d)),
        Atom::Number { number, over, under } => {
            let value = surfaces.number(*number);
            let holds = over.is_none_or(|o| value > o) && under.is_none_or(|u| value < u);
            holds.then(|| value.to_string())
        }
    }
}

impl RuleSet {
    /// The atoms that hold for a message, by number; runs in an inspector.
    #[must_use]
    pub fn match_atoms(&self, surfaces: &Surfaces) -> Vec<AtomHit> {
        self.matcher().run(surfaces)
    }
}

#[cfg(test)]
mod tests;
