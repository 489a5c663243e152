//! Containers opened in memory: zip, gzip, tar. Entries are read, never written to a disk; names are text, never paths.
//! Every container draws on one budget a message; what goes over it is a finding, and so is what stays closed.

mod gzip;
mod tar;
#[cfg(test)]
mod tests;
mod zip;

use std::io::Read;

use super::{Limits, Object};
use crate::inspect::Finding;

/// What was found in a container.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Member {
    pub name: String,
    pub data: Vec<u8>,
}

/// What may still be unpacked from this message.
#[derive(Clone, Debug)]
pub struct Budget {
    bytes: usize,
    files: usize,
    ratio: usize,
    /// Of pictures that are searched for codes.
    pixels: usize,
}

/// Small members may be as dense as they like: a kilobyte of zeros is no bomb.
const DENSE_FREE: usize = 1 << 20;
/// Pixels of one message that are searched for codes.
const PIXELS: usize = 24_000_000;
/// At most this many findings of unpacking a message.
const FINDINGS: usize = 50;

impl Budget {
    #[must_use]
    pub fn new(limits: &Limits) -> Self {
        Self {
            bytes: limits.archive_bytes.as_usize(),
            files: limits.archive_files,
            ratio: usize::try_from(limits.archive_ratio).unwrap_or(usize::MAX),
            pixels: PIXELS,
        }
    }

    /// Whether so many pixels may still be searched for codes.
    pub const fn has_pixels(&self, count: usize) -> bool {
        count <= self.pixels
    }

    /// Counts them.
    pub fn take_pixels(&mut self, count: usize) -> bool {
        let left = self.pixels.checked_sub(count);
        self.pixels = left.unwrap_or(self.pixels);
        left.is_some()
    }

    /// Room for one file of `length` octets.
    pub fn take(&mut self, length: usize) -> bool {
        let (Some(bytes), Some(files)) = (self.bytes.checked_sub(length), self.files.checked_sub(1)) else {
            return false;
        };
        (self.bytes, self.files) = (bytes, files);
        true
    }

    /// Reads `source` as one file that came from `packed` octets. What could be read before an error or a limit is
    /// kept: a client may show it.
    pub(super) fn read(&mut self, mut source: impl Read, packed: usize) -> (Vec<u8>, Stop) {
        let dense = packed.saturating_mul(self.ratio).saturating_add(DENSE_FREE);
        let cap = self.bytes.min(dense);
        let (mut out, mut chunk) = (Vec::new(), vec![0; 16 << 10]);
        let stop = loop {
            match source.read(&mut chunk) {
                Ok(0) => break Stop::End,
                Ok(got) => out.extend_from_slice(chunk.get(..got).unwrap_or_default()),
                Err(_) => break Stop::Broken,
            }
            if out.len() > cap {
                out.truncate(cap);
                break if cap == dense { Stop::Bomb } else { Stop::Full };
            }
        };
        let counted = self.take(out.len());
        (out, if counted { stop } else { Stop::Full })
    }
}

/// Why reading a member ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Stop {
    End,
    Broken,
    /// Too many octets out for one in.
    Bomb,
    /// The message's budget is spent.
    Full,
}

/// Findings about one container, bounded and without repetition.
struct Report<'f> {
    path: &'f str,
    findings: &'f mut Vec<Finding>,
    /// The container lies in pieces inside another file format, where it is neither whole nor alone by design.
    embedded: bool,
}

impl Report<'_> {
    fn say(&mut self, code: &'static str, detail: &str) {
        self.add(Finding::new(code), detail);
    }
    fn unknown(&mut self, code: &'static str, detail: &str) {
        self.add(Finding::unknown(code, ""), detail);
    }
    fn add(&mut self, finding: Finding, detail: &str) {
        let same = |f: &&Finding| f.code == finding.code;
        if self.embedded && matches!(&*finding.code, "archive.inconsistent" | "archive.malformed") {
            return;
        }
        if self.findings.len() < FINDINGS && self.findings.iter().filter(same).count() < 5 {
            self.findings.push(finding.with(format!("{}: {detail}", self.path)));
        }
    }
    /// Says why reading stopped; true when the whole container must be left.
    fn stopped(&mut self, stop: Stop, name: &str) -> bool {
        match stop {
            Stop::Bomb => self.say("archive.bomb", &format!("{name} unpacks to far more than it holds")),
            Stop::Full => self.say("unpack.limit", "the budget of unpacked octets or files is spent"),
            Stop::End | Stop::Broken => {}
        }
        stop == Stop::Full
    }
    /// Entry names that leave the folder they are unpacked to.
    fn check_name(&mut self, name: &str) {
        let climbs = name.split(['/', '\\']).any(|part| part == "..");
        if climbs || name.starts_with(['/', '\\']) || name.get(1..3) == Some(":\\") {
            self.say("archive.traversal", &format!("the entry {name:?} leaves its folder"));
        }
    }
}

/// Containers that are known and cannot be opened here: their content was not seen.
const CLOSED: &[&str] = &[
    "application/vnd.rar",
    "application/x-7z-compressed",
    "application/x-bzip2",
    "application/x-xz",
    "application/vnd.ms-cab-compressed",
    "application/x-iso9660-image",
];

/// Whether [`open`] has something to say about such octets.
#[must_use]
pub fn is_container(kind: &str, data: &[u8]) -> bool {
    matches!(kind, "application/gzip" | "application/x-tar") || CLOSED.contains(&kind) || zip::is_inside(data)
}

/// The members of a container, as far as the budget goes.
pub fn open(object: &Object<'_>, budget: &mut Budget, findings: &mut Vec<Finding>) -> Vec<Member> {
    // Word and PowerPoint keep a zip of their theme in the streams of the old formats.
    let embedded = object.kind == "application/x-ole-storage";
    let mut report = Report { path: &object.path, findings, embedded };
    if CLOSED.contains(&object.kind) {
        report.unknown("archive.unsupported", &format!("{} cannot be opened", object.kind));
    }
    match object.kind {
        "application/gzip" => gzip::open(&object.data, object.name(), budget, &mut report),
        "application/x-tar" => tar::open(&object.data, budget, &mut report),
        _ if zip::is_inside(&object.data) => zip::open(&object.data, budget, &mut report),
        _ => Vec::new(),
    }
}

fn word(data: &[u8], at: usize) -> Option<usize> {
    let bytes = data.get(at..at.checked_add(2)?)?;
    Some(usize::from(u16::from_le_bytes(bytes.try_into().ok()?)))
}

fn double(data: &[u8], at: usize) -> Option<usize> {
    let bytes = data.get(at..at.checked_add(4)?)?;
    usize::try_from(u32::from_le_bytes(bytes.try_into().ok()?)).ok()
}
