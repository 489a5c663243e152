//! Findings about one container, bounded and without repetition.

use super::Stop;
use crate::inspect::Finding;

/// At most this many findings of one kind about one object, and about a whole message. What would go over the second
/// is `unpack.limit`: rules about parts look at findings, so one that was left out would let a part through.
const OF_AN_OBJECT: usize = 5;
const OF_A_KIND: usize = 100;

/// Whether one more finding of kind `code` may be told of the object at `path`.
pub(in super::super) fn has_room(findings: &mut Vec<Finding>, code: &str, path: &str) -> bool {
    let is_here = |f: &&&Finding| f.detail.strip_prefix(path).is_some_and(|rest| rest.starts_with(':'));
    let same: Vec<&Finding> = findings.iter().filter(|f| f.code == code).collect();
    if same.iter().filter(is_here).count() >= OF_AN_OBJECT {
        return false;
    }
    let many = same.len() >= OF_A_KIND;
    let told = |f: &Finding| f.code == "unpack.limit" && f.detail == MORE;
    if many && !findings.iter().any(told) {
        findings.push(Finding::new("unpack.limit").with(MORE));
    }
    !many
}

const MORE: &str = "message: more is odd in it than can be told";

/// How much of a container some octets are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Whole {
    Yes,
    /// Put together from volumes, whose places in it are counted from their own starts.
    Joined,
    /// In pieces inside another file format, where it is neither whole nor alone by design.
    Inside,
    /// A volume: what all of them are together says what is wrong.
    Volume,
}

/// Where an opener says what is odd about the container it reads.
#[derive(Debug)]
pub struct Report<'f> {
    path: &'f str,
    findings: &'f mut Vec<Finding>,
    whole: Whole,
    /// Where the container ends in its octets, when its opener knows: more may lie behind it.
    end: Option<usize>,
}

impl<'f> Report<'f> {
    /// About the object at `path`.
    #[must_use]
    pub const fn new(path: &'f str, findings: &'f mut Vec<Finding>) -> Self {
        Self { path, findings, whole: Whole::Yes, end: None }
    }
    /// How much of a container the octets are; what follows from that is no oddity.
    #[must_use]
    pub const fn whole(mut self, whole: Whole) -> Self {
        self.whole = whole;
        self
    }
    /// The octets were put together from volumes.
    #[must_use]
    pub fn is_joined(&self) -> bool {
        self.whole == Whole::Joined
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
        let expected = match self.whole {
            Whole::Yes => false,
            Whole::Joined => &*finding.code == "archive.inconsistent",
            Whole::Inside => matches!(&*finding.code, "archive.inconsistent" | "archive.malformed"),
            Whole::Volume => matches!(
                &*finding.code,
                "archive.encrypted"
                    | "archive.inconsistent"
                    | "archive.malformed"
                    | "archive.unsupported"
                    | "archive.volume"
            ),
        };
        if !expected && has_room(self.findings, &finding.code, self.path) {
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
