//! What is counted over a collection of mail, and how it is printed.

use std::collections::BTreeMap;
use std::path::Path;

use crate::verdict::{Action, Judged, Mode};

/// Codes named after each folder.
const MOST: usize = 8;

/// What a collection is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    Good,
    Bad,
}

impl Kind {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Bad => "bad",
        }
    }

    /// Good mail that is touched, bad mail that is missed.
    pub fn is_noteworthy(self, action: Action) -> bool {
        (self == Self::Good) == (action >= Action::Tag)
    }

    pub fn detail(self, file: &Path, line: &Line) -> String {
        let codes: Vec<String> = line.codes.iter().map(|(code, score, _)| format!("{code}={score:.1}")).collect();
        let what = if self == Self::Good { "touched" } else { "missed" };
        format!("{what} {} {:.1} {} {}\n", line.action, line.score, file.display(), codes.join(" "))
    }
}

/// What is kept of one judged message.
pub(super) struct Line {
    pub action: Action,
    pub score: f64,
    pub codes: Vec<(String, f64, Mode)>,
}

impl Line {
    pub fn of(judged: &Judged) -> Self {
        let group = judged.groups().first();
        Self {
            action: judged.strictest(),
            score: group.map_or(0.0, |g| g.score),
            codes: group
                .map_or_else(Vec::new, |g| g.weighed.iter().map(|w| (w.code.clone(), w.score, w.mode)).collect()),
        }
    }
}

/// The counts over one collection.
#[derive(Default)]
pub(super) struct Tally {
    messages: usize,
    tag: usize,
    quarantine: usize,
    reject: usize,
}

impl Tally {
    pub fn add(&mut self, action: Action) {
        self.messages += 1;
        self.tag += usize::from(action >= Action::Tag);
        self.quarantine += usize::from(action >= Action::Quarantine);
        self.reject += usize::from(action >= Action::Reject);
    }

    pub fn merge(&mut self, other: &Self) {
        self.messages += other.messages;
        self.tag += other.tag;
        self.quarantine += other.quarantine;
        self.reject += other.reject;
    }

    pub fn show(&self, name: &str, folder: &str) -> String {
        let percent = |n: usize| if self.messages == 0 { 0.0 } else { n as f64 * 100.0 / self.messages as f64 };
        let line = format!(
            "{name:<5} {:>6} messages   tag or more {:>6} ({:>6.2} %)   quarantine or more {:>6} ({:>6.2} %)   reject {:>6} ({:>6.2} %)  {folder}",
            self.messages,
            self.tag,
            percent(self.tag),
            self.quarantine,
            percent(self.quarantine),
            self.reject,
            percent(self.reject)
        );
        format!("{}\n", line.trim_end())
    }
}

/// How often each code was seen in good and in bad mail.
#[derive(Default)]
pub(super) struct Codes(BTreeMap<String, Seen>);

struct Seen {
    score: f64,
    mode: Mode,
    good: usize,
    bad: usize,
}

impl Codes {
    /// The codes of one message.
    pub fn add(&mut self, kind: Kind, codes: Vec<(String, f64, Mode)>) {
        let mut counted: Vec<String> = Vec::new();
        for (code, score, mode) in codes {
            // Two parts of a message may both say it: messages are counted.
            if counted.contains(&code) {
                continue;
            }
            counted.push(code.clone());
            let seen = self.0.entry(code).or_insert(Seen { score, mode, good: 0, bad: 0 });
            match kind {
                Kind::Good => seen.good += 1,
                Kind::Bad => seen.bad += 1,
            }
        }
    }

    pub fn merge(&mut self, other: Self) {
        for (code, more) in other.0 {
            let seen = self.0.entry(code).or_insert(Seen { good: 0, bad: 0, ..more });
            seen.good += more.good;
            seen.bad += more.bad;
        }
    }

    /// The most frequent codes, on one line.
    pub fn most(&self) -> String {
        let mut all: Vec<(usize, &str)> = self.0.iter().map(|(code, s)| (s.good + s.bad, code.as_str())).collect();
        all.sort_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(b.1)));
        let words: Vec<String> = all.iter().take(MOST).map(|(n, code)| format!("{code} {n}")).collect();
        if words.is_empty() { String::new() } else { format!("      most: {}\n", words.join(", ")) }
    }

    /// One line a code, and the rules that hit nothing.
    pub fn show(&self, rules: &[String]) -> String {
        let mut out = format!("{:<34} {:>6}  {:<8} {:>7} {:>7}\n", "rule", "points", "mode", "good", "bad");
        for (code, Seen { score, mode, good, bad }) in &self.0 {
            out.push_str(&format!("{code:<34} {score:>6.1}  {:<8} {good:>7} {bad:>7}\n", mode.as_str()));
        }
        let silent = |name: &&String| !self.0.contains_key(*name) && !self.0.contains_key(&format!("rule.{name}"));
        let silent: Vec<&str> = rules.iter().filter(silent).map(String::as_str).collect();
        if !silent.is_empty() {
            out.push_str(&format!("no hit: {}\n", silent.join(" ")));
        }
        out
    }
}
