//! Findings about one container, bounded and without repetition.

use super::Stop;
use crate::inspect::Finding;

/// At most this many findings about one message, and so many of one kind about one container: rules for attachments ask
/// about each part by itself.
const FINDINGS: usize = 4000;
const OF_A_KIND: usize = 5;

/// Where an opener says what is odd about the container it reads.
#[derive(Debug)]
pub struct Report<'f> {
    path: &'f str,
    findings: &'f mut Vec<Finding>,
    /// The container lies in pieces inside another file format, where it is neither whole nor alone by design.
    embedded: bool,
    /// Where the container ends in its octets, when its opener knows: more may lie behind it.
    end: Option<usize>,
}

impl<'f> Report<'f> {
    /// About the object at `path`.
    #[must_use]
    pub const fn new(path: &'f str, findings: &'f mut Vec<Finding>) -> Self {
        Self { path, findings, embedded: false, end: None }
    }
    /// That a container lies in pieces or behind other octets is no oddity here.
    #[must_use]
    pub const fn embedded(mut self, embedded: bool) -> Self {
        self.embedded = embedded;
        self
    }
    /// The container ends at this octet; see [`Self::end`].
    pub fn ends_at(&mut self, end: usize) {
        self.end = Some(self.end.unwrap_or(0).max(end));
    }
    /// The furthest end that an opener named.
    #[must_use]
    pub const fn end(&self) -> Option<usize> {
        self.end
    }
    pub fn say(&mut self, code: &'static str, detail: &str) {
        self.add(Finding::new(code), detail);
    }
    /// The content was not seen, or not in full.
    pub fn unknown(&mut self, code: &'static str, detail: &str) {
        self.add(Finding::unknown(code, ""), detail);
    }
    fn add(&mut self, finding: Finding, detail: &str) {
        let own = |f: &&Finding| f.detail.strip_prefix(self.path).is_some_and(|rest| rest.starts_with(": "));
        let same = |f: &&Finding| f.code == finding.code && own(f);
        if self.embedded && matches!(&*finding.code, "archive.inconsistent" | "archive.malformed") {
            return;
        }
        if self.findings.len() < FINDINGS && self.findings.iter().filter(same).count() < OF_A_KIND {
            self.findings.push(finding.with(format!("{}: {detail}", self.path)));
        }
    }
    /// Says why reading stopped; true when the whole container must be left.
    pub fn stopped(&mut self, stop: Stop, name: &str) -> bool {
        match stop {
            Stop::Bomb => self.say("archive.bomb", &format!("{name:?} unpacks to far more than it holds")),
            Stop::Full => self.say("unpack.limit", "the budget of unpacked octets, files or time is spent"),
            Stop::End | Stop::Broken => {}
        }
        stop == Stop::Full
    }
    /// Entry names that leave the folder they are unpacked to.
    pub fn check_name(&mut self, name: &str) {
        let climbs = name.split(['/', '\\']).any(|part| part == "..");
        if climbs || name.starts_with(['/', '\\']) || name.get(1..3) == Some(":\\") {
            self.say("archive.traversal", &format!("the entry {name:?} leaves its folder"));
        }
    }
}
