//! One file of the quarantine, opened: of either format, with what stands in it.

use std::collections::HashSet;
use std::io::IoSlice;
use std::sync::Arc;

use bytes::Bytes;

use super::Held;
use super::file::{self, Deed, Entry, HeldKey, What};
use super::run::ShelfError;
use super::sealed::{self, Front, Member, Record, Tail};
use crate::env::disk::{DiskFile, read_exact_at};
use crate::env::vault::{DataKey, KeyId, Keys, OVERHEAD};

/// Nothing that stands behind the body is longer; a file is full long before.
const MOST_TAIL: u64 = 64 << 20;
/// Pieces of a file of the first format, when it is sealed anew.
const PIECE: u64 = sealed::PIECE;

/// A file that was opened.
#[derive(Debug)]
pub struct OpenFile {
    file: Arc<dyn DiskFile>,
    key: HeldKey,
    pub sort: Sort,
}

/// Of which format.
#[derive(Debug)]
pub enum Sort {
    /// From before there were keys: description and events in clear.
    Plain {
        front: file::Front,
        held: Box<Held>,
        deeds: Vec<Deed>,
        end: u64,
    },
    Sealed {
        front: Front,
        data: Box<DataKey>,
        tail: Tail,
    },
}

impl OpenFile {
    /// The header of a sealed file; `None` for the first format.
    pub fn front(file: &dyn DiskFile) -> Result<Option<Front>, String> {
        let mut header = [0_u8; sealed::HEADER];
        let n = file.read_at(0, &mut header).map_err(|error| error.to_string())?;
        Front::decode(header.get(..n).unwrap_or(&[]))
    }

    /// Whether its key was destroyed.
    pub fn is_shredded(file: &dyn DiskFile) -> bool {
        Self::front(file).is_err_and(|what| what == sealed::SHREDDED)
    }

    /// Header, description and records.
    pub fn read(file: Arc<dyn DiskFile>, key: HeldKey, keys: &Keys) -> Result<Self, ShelfError> {
        let damaged = |what: &str| ShelfError::Damaged(format!("{key}: {what}"));
        let Some(front) = Self::front(file.as_ref()).map_err(|what| damaged(&what))? else {
            return plain(file, key);
        };
        let data = match keys.unwrap(front.master, &front.wrapped) {
            None => return Err(ShelfError::NoKey { message: key.to_string(), key: front.master.to_string() }),
            Some(data) => Box::new(data.map_err(|error| damaged(&error.to_string()))?),
        };
        let (size, at) = (file.size()?, front.records_at());
        let length = size.checked_sub(at).ok_or_else(|| damaged("the file is cut short"))?;
        if length > MOST_TAIL {
            return Err(damaged("it is longer than any file of ours"));
        }
        let mut bytes = vec![0; usize::try_from(length).unwrap_or(usize::MAX)];
        read_exact_at(file.as_ref(), at, &mut bytes)?;
        let tail = sealed::decode(&bytes, &data, at);
        if !tail.records.iter().any(|record| matches!(record, Record::Member(_))) {
            return Err(damaged("what it holds cannot be read"));
        }
        Ok(Self { file, key, sort: Sort::Sealed { front, data, tail } })
    }

    pub fn size(&self) -> Result<u64, ShelfError> {
        Ok(self.file.size()?)
    }

    /// Records that cannot be read between others that can.
    #[must_use]
    pub fn damaged(&self) -> usize {
        if let Sort::Sealed { tail, .. } = &self.sort { tail.damaged } else { 0 }
    }

    /// The master key it was sealed with.
    #[must_use]
    pub fn master(&self) -> Option<KeyId> {
        if let Sort::Sealed { front, .. } = &self.sort { Some(front.master) } else { None }
    }

    /// The number for the next copy.
    #[must_use]
    pub fn next_number(&self) -> u32 {
        self.all().map(|member| member.number.saturating_add(1)).max().unwrap_or(1)
    }

    fn all(&self) -> impl Iterator<Item = &Member> {
        let records: &[Record] = if let Sort::Sealed { tail, .. } = &self.sort { &tail.records } else { &[] };
        records.iter().filter_map(|record| match record {
            Record::Member(member) => Some(member.as_ref()),
            Record::Deed(_) => None,
        })
    }

    /// The copies that are still there: number and description.
    #[must_use]
    pub fn members(&self) -> Vec<(u32, &Held)> {
        if let Sort::Plain { held, .. } = &self.sort {
            return vec![(0, held)];
        }
        let removed: HashSet<u32> =
            self.deeds().filter(|deed| deed.what == What::Removed).map(|deed| deed.member).collect();
        self.all().map(|m| (m.number, &m.held)).filter(|(n, _)| !removed.contains(n)).collect()
    }

    fn deeds(&self) -> Box<dyn Iterator<Item = &Deed> + '_> {
        match &self.sort {
            Sort::Plain { deeds, .. } => Box::new(deeds.iter()),
            Sort::Sealed { tail, .. } => Box::new(tail.records.iter().filter_map(|record| match record {
                Record::Deed(deed) => Some(deed),
                Record::Member(_) => None,
            })),
        }
    }

    #[must_use]
    pub fn entries(&self) -> Vec<Entry> {
        let members = self.members();
        let copies = u32::try_from(members.len()).unwrap_or(u32::MAX);
        let entry = |(member, held): (u32, &Held)| {
            let deeds = self.deeds().filter(|deed| deed.member == member).cloned().collect();
            Entry { copies, ..Entry::new(HeldKey { member, ..self.key }, held.clone(), deeds) }
        };
        members.into_iter().map(entry).collect()
    }

    /// One copy with its header section as it was to be sent, and as it came (empty when that is not known).
    #[must_use]
    pub fn copy(&self, key: HeldKey) -> Option<(Entry, Bytes, Bytes)> {
        let entry = self.entries().into_iter().find(|entry| entry.key == key)?;
        match &self.sort {
            Sort::Plain { front, .. } => {
                let mut head = vec![0; front.head_len as usize];
                read_exact_at(self.file.as_ref(), front.bytes_at(), &mut head).ok()?;
                Some((entry, head.into(), Bytes::new()))
            }
            Sort::Sealed { .. } => {
                let member = self.all().find(|member| member.number == key.member)?;
                Some((entry, member.head.clone().into(), member.original.clone().into()))
            }
        }
    }

    #[must_use]
    pub fn body_len(&self) -> u64 {
        match &self.sort {
            Sort::Plain { front, .. } => front.body_len,
            Sort::Sealed { front, .. } => front.body_len,
        }
    }

    #[must_use]
    pub fn pieces(&self) -> u64 {
        self.body_len().div_ceil(PIECE)
    }

    /// A piece of the body, opened. That of the first format is checked as a whole by [`Self::body`].
    pub fn piece(&self, n: u64) -> Result<Vec<u8>, ShelfError> {
        match &self.sort {
            Sort::Plain { front, .. } => {
                let at =
                    front.bytes_at().saturating_add(u64::from(front.head_len)).saturating_add(n.saturating_mul(PIECE));
                let len = front.body_len.saturating_sub(n.saturating_mul(PIECE)).min(PIECE);
                let mut bytes = vec![0; usize::try_from(len).unwrap_or(usize::MAX)];
                read_exact_at(self.file.as_ref(), at, &mut bytes)?;
                Ok(bytes)
            }
            Sort::Sealed { front, data, .. } => {
                let (at, plain) = front.piece(n);
                let mut bytes = vec![0; usize::try_from(plain).unwrap_or(usize::MAX).saturating_add(OVERHEAD)];
                read_exact_at(self.file.as_ref(), at, &mut bytes)?;
                let opened = data.open(&sealed::place_of_piece(front, n), bytes);
                opened.map_err(|error| ShelfError::Damaged(format!("{}: {error}", self.key)))
            }
        }
    }

    /// The body, checked.
    pub fn body(&self) -> Result<Bytes, ShelfError> {
        // Checked against the file before room is made for what it claims.
        if self.body_len() > self.file.size()? {
            return Err(ShelfError::Damaged(format!("{}: the file is cut short", self.key)));
        }
        let mut body = Vec::with_capacity(usize::try_from(self.body_len()).unwrap_or(0));
        for n in 0..self.pieces() {
            body.extend_from_slice(&self.piece(n)?);
        }
        if let Sort::Plain { front, .. } = &self.sort {
            let mut head = vec![0; front.head_len as usize];
            read_exact_at(self.file.as_ref(), front.bytes_at(), &mut head)?;
            let mut sum = crc32fast::Hasher::new();
            sum.update(&head);
            sum.update(&body);
            if sum.finalize() != front.bytes_crc {
                let what = "the checksum of the message is wrong";
                return Err(ShelfError::Damaged(format!("{}: {what}", self.key)));
            }
        }
        Ok(body.into())
    }

    /// Everything but the body, to be written again.
    pub fn records(&self) -> Result<Vec<Record>, ShelfError> {
        match &self.sort {
            Sort::Sealed { tail, .. } => Ok(tail.records.clone()),
            Sort::Plain { held, deeds, .. } => {
                // The checksum is looked at once more before the clear text goes.
                self.body()?;
                let (_, head, original) =
                    self.copy(self.key).ok_or_else(|| ShelfError::Unknown(self.key.to_string()))?;
                let member =
                    Member { number: 0, held: Held::clone(held), head: head.to_vec(), original: original.to_vec() };
                let first = Record::Member(Box::new(member));
                Ok(std::iter::once(first).chain(deeds.iter().cloned().map(Record::Deed)).collect())
            }
        }
    }

    /// Appends a record, synced; where the file ends then.
    pub fn append(&self, record: &Record, data: &DataKey) -> Result<u64, ShelfError> {
        let Sort::Sealed { front, tail, .. } = &self.sort else {
            return Err(ShelfError::Damaged(format!("{}: it is of the first format", self.key)));
        };
        let at = front.records_at().saturating_add(tail.len);
        let bytes = sealed::encode(record, data, at)?;
        self.file.write_at(at, &mut [IoSlice::new(&bytes)])?;
        self.file.sync_data()?;
        Ok(at.saturating_add(bytes.len() as u64))
    }

    /// Appends what was done, synced.
    pub fn append_deed(&self, deed: &Deed) -> Result<(), ShelfError> {
        match &self.sort {
            Sort::Sealed { data, .. } => self.append(&Record::Deed(deed.clone()), data).map(drop),
            Sort::Plain { end, .. } => {
                self.file.write_at(*end, &mut [IoSlice::new(&file::encode_event(deed))])?;
                Ok(self.file.sync_data()?)
            }
        }
    }
}

/// A file of the first format.
fn plain(file: Arc<dyn DiskFile>, key: HeldKey) -> Result<OpenFile, ShelfError> {
    let damaged = |what: &str| ShelfError::Damaged(format!("{key}: {what}"));
    let mut header = [0_u8; file::HEADER];
    let n = file.read_at(0, &mut header)?;
    let front = file::Front::decode(header.get(..n).unwrap_or(&[])).map_err(|what| damaged(&what))?;
    let mut text = vec![0; front.text_len as usize];
    read_exact_at(file.as_ref(), file::HEADER as u64, &mut text).map_err(|_| damaged("the file is cut short"))?;
    if crc32fast::hash(&text) != front.text_crc {
        return Err(damaged("the checksum of its description is wrong"));
    }
    if front.events_at() > file.size()? {
        return Err(damaged("the file is cut short"));
    }
    let held = serde_json::from_slice(&text).map_err(|error| damaged(&error.to_string()))?;
    // A few releases with their reasons; what is longer is no event of ours.
    let mut bytes = vec![0; 64 << 10];
    let n = file.read_at(front.events_at(), &mut bytes)?;
    let (deeds, len) = file::decode_events(bytes.get(..n).unwrap_or(&[]));
    let end = front.events_at().saturating_add(len as u64);
    Ok(OpenFile { file, key, sort: Sort::Plain { front, held: Box::new(held), deeds, end } })
}
