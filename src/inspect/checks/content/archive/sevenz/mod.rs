//! 7z. The archive begins with a small header that says where the large one lies; the large one may be packed and
//! encrypted itself. What is encrypted is tried with the message's passwords; what stays closed is listed by name.

mod coder;
mod header;

use std::io::Read;

use super::super::Object;
use super::bytes::{le, piece};
use super::{Budget, Member, Report, Stop};
use coder::{Closed, Inputs, Key};
use header::{Entry, Folder, Header, Streams};

const MAGIC: &[u8] = b"7z\xbc\xaf\x27\x1c";
/// Octets of the first header.
const START: usize = 32;
/// A header that is packed in a header that is packed in a header.
const NESTED: usize = 4;
/// Headers unpack to this much at most: a hundred thousand files with long names.
const HEADER: usize = 16 << 20;

/// How long the archive that begins `data` is; `None` when there is none, or a torn one.
pub(super) fn length(data: &[u8]) -> Option<usize> {
    let fields = piece(data, 12, 20)?;
    if !data.starts_with(MAGIC) || crc32fast::hash(fields) != u32::try_from(le(data, 8, 4)?).ok()? {
        return None;
    }
    let (offset, size) = (le(data, 12, 8)?, le(data, 20, 8)?);
    START.checked_add(offset)?.checked_add(size).filter(|end| *end <= data.len())
}

pub(super) fn open(object: &Object<'_>, budget: &mut Budget, report: &mut Report<'_>) -> Vec<Member> {
    read(&object.data, budget, report)
}

/// The members of the archive that begins `data`.
pub(super) fn read(data: &[u8], budget: &mut Budget, report: &mut Report<'_>) -> Vec<Member> {
    let (Some(end), Some(offset), Some(size)) = (length(data), le(data, 12, 8), le(data, 20, 8)) else {
        report.unknown("archive.malformed", "the 7z header is damaged");
        return Vec::new();
    };
    report.ends_at(end);
    let Some(first) = piece(data, START + offset, size) else { return Vec::new() };
    if first.is_empty() {
        return Vec::new();
    }
    let mut archive = Archive { data, key: None, locked: false, budget, report };
    let Some((streams, entries)) = archive.header(first) else { return Vec::new() };
    archive.files(&streams, &entries)
}

struct Archive<'r, 'f> {
    data: &'r [u8],
    /// The password that opened something.
    key: Option<Key>,
    /// Every password was tried in vain.
    locked: bool,
    budget: &'r mut Budget,
    report: &'r mut Report<'f>,
}

impl Archive<'_, '_> {
    /// The header, unpacked as often as it is packed. `None` when it stays closed; that is reported.
    fn header(&mut self, first: &[u8]) -> Option<(Streams, Vec<Entry>)> {
        let mut octets = first.to_vec();
        for _ in 0..NESTED {
            let streams = match Header::parse(&octets) {
                Some(Header::Plain(streams, entries)) => return Some((streams, entries)),
                Some(Header::Encoded(streams)) => streams,
                None => break,
            };
            let folder = streams.folders.first()?;
            let packed = self.packed(&streams, 0);
            match self.whole(folder, &packed) {
                Ok(unpacked) => octets = unpacked,
                Err(closed) => {
                    self.closed(closed, "the list of names");
                    return None;
                }
            }
        }
        self.report.unknown("archive.malformed", "the 7z header cannot be read");
        None
    }

    /// The octets of a folder, with whatever password opens it.
    fn whole(&mut self, folder: &Folder, packed: &[(usize, usize)]) -> Result<Vec<u8>, Closed> {
        let size = usize::try_from(folder.size()).ok().filter(|s| *s <= HEADER).ok_or(Closed::Malformed)?;
        self.unlock(folder, packed, size, folder.crc)?;
        let inputs = self.inputs(folder, packed);
        let mut octets = Vec::new();
        inputs.reader()?.take(size as u64).read_to_end(&mut octets).map_err(|_| Closed::Malformed)?;
        let sound = folder.crc.is_none_or(|crc| crc == crc32fast::hash(&octets));
        if sound { Ok(octets) } else { Err(Closed::Malformed) }
    }

    /// Finds the password of an encrypted folder: the one whose first `size` octets have the checksum.
    fn unlock(
        &mut self,
        folder: &Folder,
        packed: &[(usize, usize)],
        size: usize,
        crc: Option<u32>,
    ) -> Result<(), Closed> {
        if !folder.is_encrypted() || self.key.is_some() {
            return Ok(());
        }
        let candidates: Vec<String> = self.budget.passwords.iter().map(str::to_owned).collect();
        for password in candidates {
            if self.locked || !self.budget.may_guess() {
                break;
            }
            self.key = Some(Key::new(&password));
            let inputs = self.inputs(folder, packed);
            let (octets, stop) = match inputs.reader() {
                Ok(reader) => self.budget.peek(reader.take(size as u64), size),
                Err(Closed::Unsupported) => return Err(Closed::Unsupported),
                Err(_) => (Vec::new(), Stop::Broken),
            };
            let right = crc.is_some_and(|crc| octets.len() == size && crc == crc32fast::hash(&octets));
            if right || (matches!(stop, Stop::Bomb | Stop::Full) && octets.len() > 1 << 16) {
                self.report.say("archive.password_in_text", "the 7z opens with a word of the message");
                return Ok(());
            }
            self.key = None;
        }
        // Its other folders have the same password, as a rule.
        self.locked = true;
        Err(Closed::NoPassword)
    }

    /// Places of the packed streams of folder `number` in the archive.
    fn packed(&self, streams: &Streams, number: usize) -> Vec<(usize, usize)> {
        let before: usize = streams.folders.iter().take(number).map(|f| f.packed.len()).sum();
        let count = streams.folders.get(number).map_or(0, |f| f.packed.len());
        let mut at = usize::try_from(streams.position).unwrap_or(usize::MAX).saturating_add(START);
        let mut places = Vec::new();
        for (n, size) in streams.packed.iter().take(before + count).enumerate() {
            let size = usize::try_from(*size).unwrap_or(usize::MAX);
            if n >= before {
                places.push((at, size));
            }
            at = at.saturating_add(size);
        }
        places
    }

    fn inputs<'a>(&'a self, folder: &'a Folder, packed: &[(usize, usize)]) -> Inputs<'a> {
        let octets = |(at, size): &(usize, usize)| piece(self.data, *at, *size).unwrap_or_default();
        Inputs {
            folder,
            packed: packed.iter().map(octets).collect(),
            password: self.key.as_ref(),
            budget: &*self.budget,
        }
    }

    fn files(&mut self, streams: &Streams, entries: &[Entry]) -> Vec<Member> {
        let mut members = Vec::new();
        if entries.is_empty() && !streams.folders.is_empty() {
            self.report.unknown("archive.malformed", "the 7z has folders and no files");
        }
        let mut with_data = entries.iter().filter(|entry| entry.has_data);
        entries.iter().for_each(|entry| self.report.check_name(&entry.name));
        for (number, folder) in streams.folders.iter().enumerate() {
            let names: Vec<&Entry> = with_data.by_ref().take(folder.files.len()).collect();
            let packed = self.packed(streams, number);
            if self.folder(folder, &packed, &names, &mut members) == Stop::Full {
                return members;
            }
        }
        // Empty files and those that the folders do not reach are seen by their names.
        let rest = with_data.chain(entries.iter().filter(|entry| !entry.has_data));
        for entry in rest {
            if !self.list(entry, &mut members) {
                break;
            }
        }
        members
    }

    fn list(&mut self, entry: &Entry, members: &mut Vec<Member>) -> bool {
        let room = self.budget.take(0);
        if room {
            members.push(Member { name: entry.name.clone(), data: Vec::new() });
        } else {
            self.report.stopped(Stop::Full, &entry.name);
        }
        room
    }

    /// The files of one folder, one after the other out of one stream.
    fn folder(
        &mut self,
        folder: &Folder,
        packed: &[(usize, usize)],
        names: &[&Entry],
        members: &mut Vec<Member>,
    ) -> Stop {
        let first = folder.files.first().map_or((0, None), |(size, crc)| (usize::try_from(*size).unwrap_or(0), *crc));
        let dense = packed.iter().map(|(_, size)| *size).sum::<usize>();
        let key = self.unlock(folder, packed, first.0, first.1);
        // The reader borrows the key and the octets, so it gets a budget of its own and hands back what it read.
        let mut out: Vec<(Vec<u8>, Stop)> = Vec::new();
        let closed = key.and_then(|()| {
            let mut budget = self.budget.clone();
            let mut reader = self.inputs(folder, packed).reader()?;
            for (size, crc) in &folder.files {
                let (data, mut stop) = budget.read(reader.by_ref().take(*size), dense);
                if stop == Stop::End && (data.len() as u64) < *size {
                    stop = Stop::Broken;
                }
                if stop == Stop::End && crc.is_some_and(|crc| crc != crc32fast::hash(&data)) {
                    stop = Stop::Broken;
                }
                out.push((data, stop));
                if stop != Stop::End {
                    break;
                }
            }
            Ok(())
        });
        let (mut last, read) = (Stop::End, out.len());
        for (entry, (data, stop)) in names.iter().zip(out.drain(..)) {
            if !self.budget.take(data.len()) {
                last = Stop::Full;
            }
            if stop != Stop::End {
                last = stop;
            }
            self.report.stopped(last, &entry.name);
            members.push(Member { name: entry.name.clone(), data });
        }
        if let Err(closed) = closed {
            self.closed(closed, names.first().map_or("", |entry| &entry.name));
            names.iter().all(|entry| self.list(entry, members));
        } else if last != Stop::End {
            if last == Stop::Broken {
                self.report.unknown("archive.malformed", "a 7z folder cannot be unpacked to its end");
            }
            names.iter().skip(read).all(|entry| self.list(entry, members));
        }
        last
    }

    fn closed(&mut self, closed: Closed, what: &str) {
        match closed {
            Closed::Unsupported => self.report.unknown("archive.unsupported", "a coder of the 7z is not known"),
            Closed::Malformed => self.report.unknown("archive.malformed", &format!("{what:?} cannot be unpacked")),
            Closed::NoPassword => self.report.unknown("archive.encrypted", &format!("{what:?} is encrypted")),
        }
    }
}
