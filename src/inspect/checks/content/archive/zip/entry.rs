//! One entry: what its header says, and its octets taken out of their cover and coding.

use memchr::memmem;

use super::super::bytes::{from, le, piece, upto};
use super::super::{Budget, Member, Report, Stop};
use super::crypt::{self, Aes};
use super::directory::Record;
use super::method::{self, Out};

/// General purpose flags (APPNOTE §4.4.4).
const ENCRYPTED: usize = 1;
const DESCRIPTOR: usize = 8;

#[derive(Clone)]
pub(super) struct Entry<'d> {
    pub(super) raw_name: &'d [u8],
    pub(super) name: String,
    pub(super) flags: usize,
    pub(super) method: usize,
    pub(super) time: usize,
    pub(super) crc: u32,
    pub(super) packed: usize,
    /// Unpacked.
    pub(super) size: usize,
    /// Where its octets begin.
    pub(super) data_at: usize,
    pub(super) aes: Option<Aes>,
    pub(super) stale: Option<String>,
}

/// What extra fields tell (APPNOTE §4.5, §4.6.9, and the AES specification).
#[derive(Default)]
pub(super) struct Extra {
    /// Of ZIP64, in their order.
    pub(super) wide: Vec<usize>,
    pub(super) name: Option<String>,
    /// A name in Unicode that was made for another one: some programs show it all the same (APPNOTE §4.6.9).
    pub(super) stale: Option<String>,
    pub(super) aes: Option<Aes>,
}

impl Extra {
    pub(super) fn read(mut field: &[u8], raw_name: &[u8]) -> Self {
        let mut extra = Self::default();
        while let (Some(id), Some(size)) = (le(field, 0, 2), le(field, 2, 2)) {
            let body = upto(field, 4, size);
            match id {
                1 => extra.wide = (0..4).filter_map(|n| le(body, n * 8, 8)).collect(),
                0x7075 => {
                    let name = body.get(5..).map(|name| String::from_utf8_lossy(name).into_owned());
                    let fits = le(body, 1, 4) == usize::try_from(crc32fast::hash(raw_name)).ok();
                    *(if fits { &mut extra.name } else { &mut extra.stale }) = name;
                }
                0x9901 => extra.aes = Aes::read(body),
                _ => {}
            }
            field = from(field, 4 + size);
        }
        extra
    }
}

impl<'d> Entry<'d> {
    /// By the local header at `start` (APPNOTE §4.3.7).
    pub(super) fn local(data: &'d [u8], start: usize) -> Option<Self> {
        let (names, extras) = (le(data, start + 26, 2)?, le(data, start + 28, 2)?);
        let raw_name = piece(data, start + 30, names)?;
        let extra = Extra::read(upto(data, start + 30 + names, extras), raw_name);
        let (packed, size) = (le(data, start + 18, 4)?, le(data, start + 22, 4)?);
        // ZIP64: the unpacked size comes first.
        let wide = extra.wide.get(1).or(extra.wide.first()).copied();
        Some(Self {
            name: extra.name.unwrap_or_else(|| String::from_utf8_lossy(raw_name).into_owned()),
            raw_name,
            flags: le(data, start + 6, 2)?,
            method: le(data, start + 8, 2)?,
            time: le(data, start + 10, 2)?,
            crc: u32::try_from(le(data, start + 14, 4)?).ok()?,
            packed: if packed == 0xFFFF_FFFF { wide.unwrap_or(packed) } else { packed },
            size: if size == 0xFFFF_FFFF { extra.wide.first().copied().unwrap_or(size) } else { size },
            data_at: start + 30 + names + extras,
            aes: extra.aes,
            stale: extra.stale,
        })
    }

    const fn is_encrypted(&self) -> bool {
        self.flags & ENCRYPTED != 0
    }

    /// Without a length in the header: it stands behind the octets, or only in the directory.
    const fn is_open(&self) -> bool {
        self.packed == 0xFFFF_FFFF || (self.packed == 0 && self.flags & DESCRIPTOR != 0)
    }
}

/// Takes entries out.
pub(super) struct Reader<'r, 'f> {
    data: &'r [u8],
    budget: &'r mut Budget,
    pub(super) report: &'r mut Report<'f>,
    /// The password that opened an entry before.
    key: Option<String>,
    /// Entries that no password opened.
    failed: usize,
}

/// Entries of one archive have one password as a rule: after so many that stayed closed no more are tried in full.
const FAILED: usize = 3;

impl<'r, 'f> Reader<'r, 'f> {
    pub(super) const fn new(data: &'r [u8], budget: &'r mut Budget, report: &'r mut Report<'f>) -> Self {
        Self { data, budget, report, key: None, failed: 0 }
    }

    /// An entry as its header has it, and as `record` has it where that is something else. How many octets the first
    /// reading took, and why reading ended.
    pub(super) fn both(
        &mut self,
        local: &Entry<'_>,
        record: Option<&Record>,
        members: &mut Vec<Member>,
    ) -> (usize, Stop) {
        let mut first = local.clone();
        if let Some(record) = record {
            if first.is_open() {
                (first.packed, first.size) = (record.packed, record.size);
            }
            // Only the directory has the name in Unicode as a rule.
            if first.raw_name == record.raw_name {
                first.name.clone_from(&record.name);
            }
            // With a descriptor behind the octets, writers put the time, or nothing, where the checksum belongs.
            if first.crc == 0 || first.flags & DESCRIPTOR != 0 {
                first.crc = record.crc;
            }
        }
        if let Some(name) = first.stale.take().filter(|name| *name != first.name) {
            self.report.say("archive.inconsistent", "a name in Unicode was made for another one");
            members.push(Member { name, data: Vec::new() });
        }
        let (data, length, stop) = self.unpack(&first);
        let folder = data.is_empty() && first.name.ends_with('/');
        let other = record.and_then(|record| record.as_entry(self.data).filter(|other| differ(&first, other)));
        if let Some(other) = other.filter(|_| stop != Stop::Full) {
            self.report.say("archive.inconsistent", "the zip directory and an entry's header disagree");
            let (again, _, stop) = self.unpack(&other);
            if (again != data && !again.is_empty()) || other.name != first.name {
                members.push(Member { name: other.name, data: again });
            }
            if stop == Stop::Full {
                members.push(Member { name: first.name, data });
                return (length, stop);
            }
        }
        if !folder {
            members.push(Member { name: first.name, data });
        }
        (length, stop)
    }

    /// The octets, how many they took, and why reading ended.
    fn unpack(&mut self, entry: &Entry<'_>) -> (Vec<u8>, usize, Stop) {
        self.report.check_name(&entry.name);
        let body = from(self.data, entry.data_at);
        let known = if entry.is_open() { next_signature(body) } else { entry.packed.min(body.len()) };
        // A stream that says itself where it ends is believed, and its octets behind the header's length are seen.
        let whole = if entry.method == 8 && !entry.is_encrypted() { body } else { upto(body, 0, known) };
        let out = method::unpack(entry, entry.method, whole, known, self.budget);
        if entry.is_encrypted() && !out.as_ref().is_ok_and(|o| o.stop == Stop::End && o.crc() == entry.crc) {
            return self.decrypt(entry, upto(body, 0, known));
        }
        match out {
            Ok(out) => self.plain(entry, known, out),
            Err(()) => {
                let why = format!("{:?} uses method {}", entry.name, entry.method);
                self.report.unknown("archive.unsupported", &why);
                (Vec::new(), known, self.list(&entry.name))
            }
        }
    }

    fn plain(&mut self, entry: &Entry<'_>, known: usize, out: Out) -> (Vec<u8>, usize, Stop) {
        if entry.is_encrypted() {
            self.report.say("archive.inconsistent", &format!("{:?} says it is encrypted and is not", entry.name));
        }
        self.report.stopped(out.stop, &entry.name);
        if out.stop == Stop::Broken {
            self.report.unknown("archive.malformed", &format!("{:?} cannot be unpacked", entry.name));
        }
        let stop = if self.budget.take(out.data.len()) { out.stop } else { Stop::Full };
        if stop == Stop::Full && out.stop != Stop::Full {
            self.report.stopped(stop, &entry.name);
        }
        let used = if out.stop == Stop::Broken { known } else { out.used.unwrap_or(known) };
        (out.data, used, stop)
    }

    /// With the passwords there are. What stays closed is still listed, by its name alone.
    fn decrypt(&mut self, entry: &Entry<'_>, body: &[u8]) -> (Vec<u8>, usize, Stop) {
        let mut candidates: Vec<String> = self.key.iter().cloned().collect();
        if self.failed < FAILED {
            candidates.extend(self.budget.passwords.iter().map(str::to_owned));
        }
        for password in candidates {
            if !self.budget.may_guess() {
                break;
            }
            let Some(out) = crypt::attempt(entry, body, password.as_bytes(), self.budget) else { continue };
            self.key = Some(password);
            self.report.say("archive.password_in_text", &format!("{:?} opens with a word of the message", entry.name));
            self.report.stopped(out.stop, &entry.name);
            let stop = if self.budget.take(out.data.len()) { out.stop } else { Stop::Full };
            return (out.data, body.len(), stop);
        }
        self.failed += 1;
        self.report.unknown("archive.encrypted", &format!("{:?} is encrypted", entry.name));
        (Vec::new(), body.len(), self.list(&entry.name))
    }

    /// Room for an entry that is seen by its name alone.
    fn list(&mut self, name: &str) -> Stop {
        if self.budget.take(0) {
            return Stop::End;
        }
        self.report.stopped(Stop::Full, name);
        Stop::Full
    }
}

/// Whether a client that believes the directory shows something else.
fn differ(local: &Entry<'_>, central: &Entry<'_>) -> bool {
    // Old programs of Windows wrote folders with the other sign in one of the two.
    local.name.replace('\\', "/") != central.name.replace('\\', "/")
        || local.method != central.method
        || local.packed != central.packed
        || local.is_encrypted() != central.is_encrypted()
}

fn next_signature(body: &[u8]) -> usize {
    memmem::find_iter(body, b"PK")
        .find(|at| matches!(body.get(at + 2..at + 4), Some(b"\x07\x08" | b"\x01\x02" | b"\x03\x04")))
        .unwrap_or(body.len())
}
