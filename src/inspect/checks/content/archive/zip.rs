//! zip (APPNOTE 6.3), read from every local header there is, not from the central directory: what another program
//! could show (a second archive behind, an entry without a record, other names) is seen too (THREATS Z-01, Z-02).
//! Where directory and entries disagree, a finding says so. Each octet is unpacked once, so overlapping entries
//! cannot multiply.

use std::collections::BTreeSet;

use flate2::bufread::DeflateDecoder;
use memchr::memmem;

use super::{Budget, Member, Report, Stop, double, word};

const LOCAL: &[u8] = b"PK\x03\x04";
const CENTRAL: &[u8] = b"PK\x01\x02";
const END: &[u8] = b"PK\x05\x06";

/// Whether a zip lies in `data`, at its start or behind something else.
#[must_use]
pub fn is_inside(data: &[u8]) -> bool {
    data.starts_with(LOCAL) || (memmem::find(data, LOCAL).is_some() && memmem::rfind(data, END).is_some())
}

/// The two views of what is in the archive.
#[derive(Default)]
struct Views {
    local: BTreeSet<Vec<u8>>,
    central: BTreeSet<Vec<u8>>,
    records: usize,
    offsets: BTreeSet<usize>,
    ends: usize,
}

pub(super) fn open(data: &[u8], budget: &mut Budget, report: &mut Report<'_>) -> Vec<Member> {
    let (mut members, mut views, mut at) = (Vec::new(), Views::default(), 0);
    while let Some(found) = data.get(at..).and_then(|rest| memmem::find(rest, b"PK")) {
        let start = at + found;
        let rest = data.get(start..).unwrap_or_default();
        at = start + 2;
        if rest.starts_with(LOCAL) {
            let Some(entry) = Entry::read(rest) else { continue };
            views.local.insert(entry.name.to_vec());
            let (member, length, stop) = entry.unpack(rest, budget, report);
            members.extend(member);
            if stop == Stop::Full {
                return members;
            }
            at = start + entry.data_at + length;
        } else if rest.starts_with(CENTRAL) {
            at = start + views.record(rest).unwrap_or(2);
        } else if rest.starts_with(END) {
            views.ends += 1;
            at = start + 4;
        }
    }
    views.compare(data, report);
    members
}

impl Views {
    /// One record of the central directory; its length.
    fn record(&mut self, rest: &[u8]) -> Option<usize> {
        let name_length = word(rest, 28)?;
        let name = rest.get(46..46 + name_length)?;
        self.central.insert(name.to_vec());
        self.offsets.insert(double(rest, 42)?);
        self.records += 1;
        Some(46 + name_length + word(rest, 30)? + word(rest, 32)?)
    }

    fn compare(&self, data: &[u8], report: &mut Report<'_>) {
        if self.local != self.central {
            report.say("archive.inconsistent", "the zip directory and the entries name different files");
        }
        if self.offsets.len() < self.records {
            report.say("archive.inconsistent", "several zip records point at one entry");
        }
        if self.ends > 1 {
            report.say("archive.inconsistent", "several zips in one file");
        }
        if !data.starts_with(b"PK") {
            report.say("archive.inconsistent", "the zip begins behind other octets");
        }
    }
}

struct Entry<'d> {
    name: &'d [u8],
    flags: usize,
    method: usize,
    packed: usize,
    data_at: usize,
}

impl<'d> Entry<'d> {
    fn read(rest: &'d [u8]) -> Option<Self> {
        let (name_length, extra) = (word(rest, 26)?, word(rest, 28)?);
        Some(Self {
            name: rest.get(30..30 + name_length)?,
            flags: word(rest, 6)?,
            method: word(rest, 8)?,
            packed: double(rest, 18)?,
            data_at: 30 + name_length + extra,
        })
    }

    /// The member, how many octets it took, and why reading ended.
    fn unpack(&self, rest: &[u8], budget: &mut Budget, report: &mut Report<'_>) -> (Option<Member>, usize, Stop) {
        let name = String::from_utf8_lossy(self.name).into_owned();
        report.check_name(&name);
        if self.flags & 1 != 0 {
            report.unknown("archive.encrypted", &format!("{name:?} is encrypted"));
        }
        let body = rest.get(self.data_at..).unwrap_or_default();
        let (data, length, stop) = match self.method {
            0 => self.stored(body, budget),
            8 => {
                let mut decoder = DeflateDecoder::new(body);
                let (out, stop) = budget.read(&mut decoder, self.packed.min(body.len()).max(1));
                let used = usize::try_from(decoder.total_in()).unwrap_or(0);
                // An encrypted stream breaks at once; then the header's word for its length is all there is.
                let used = if stop == Stop::Broken { self.packed.min(body.len()) } else { used };
                (out, used, stop)
            }
            method => {
                if self.flags & 1 == 0 {
                    report.unknown("archive.unsupported", &format!("{name:?} uses method {method}"));
                }
                (Vec::new(), self.packed.min(body.len()), Stop::End)
            }
        };
        report.stopped(stop, &name);
        if self.method == 8 && self.flags & 1 == 0 && stop == Stop::Broken {
            report.unknown("archive.damaged", &format!("{name:?} cannot be unpacked"));
        }
        let empty = data.is_empty() && name.ends_with('/');
        ((!empty).then_some(Member { name, data }), length, stop)
    }

    /// Without compression; a length of zero with a descriptor behind, or of ZIP64, ends at the next signature.
    fn stored(&self, body: &[u8], budget: &mut Budget) -> (Vec<u8>, usize, Stop) {
        let known = self.packed != 0xFFFF_FFFF && !(self.packed == 0 && self.flags & 8 != 0);
        let length = if known { self.packed } else { next_signature(body) };
        let data = body.get(..length.min(body.len())).unwrap_or_default();
        if budget.take(data.len()) {
            (data.to_vec(), data.len(), Stop::End)
        } else {
            (Vec::new(), data.len(), Stop::Full)
        }
    }
}

fn next_signature(body: &[u8]) -> usize {
    memmem::find_iter(body, b"PK")
        .find(|at| matches!(body.get(at + 2..at + 4), Some(b"\x07\x08" | b"\x01\x02" | b"\x03\x04")))
        .unwrap_or(body.len())
}
