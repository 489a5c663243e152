//! One segment file and the records in it, read.

use std::io::IoSlice;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use super::SpoolError;
use super::fault::{Fault, Faults};
use super::frame::{ALIGN, FIRST, HEADER, Header, State};
use crate::env::disk::{DiskFile, is_bad_spot, read_exact_at};

/// One life of one file: when the file is used again, that is another `Segment` with another nonce.
#[derive(Debug)]
pub struct Segment {
    /// The number in the file's name.
    pub id: u32,
    pub nonce: u64,
    pub size: u64,
    pub file: Arc<dyn DiskFile>,
}

/// Where a record lies: segment, offset and length, in units of [`ALIGN`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Place {
    pub segment: u32,
    at: u32,
    span: u32,
}

impl Place {
    /// `at` and `span` are octets and multiples of [`ALIGN`]; segments end far below 64 GiB.
    #[must_use]
    pub fn new(segment: u32, at: u64, span: u64) -> Self {
        let units = |octets: u64| u32::try_from(octets / ALIGN).unwrap_or(u32::MAX);
        Self { segment, at: units(at), span: units(span) }
    }
    #[must_use]
    pub fn at(self) -> u64 {
        u64::from(self.at) * ALIGN
    }
    #[must_use]
    pub fn span(self) -> u64 {
        u64::from(self.span) * ALIGN
    }
}

/// The name of segment file `id`.
#[must_use]
pub fn path(folder: &Path, id: u32) -> PathBuf {
    folder.join(format!("{id:08x}.log"))
}

/// The number in a segment's file name; `None` for other files.
#[must_use]
pub fn id_of(name: &str) -> Option<u32> {
    let digits = name.strip_suffix(".log").filter(|digits| digits.len() == 8)?;
    u32::from_str_radix(digits, 16).ok()
}

/// A record as read and checked.
#[derive(Clone, Debug)]
pub struct Record {
    pub header: Header,
    /// `ParcelMeta` as JSON.
    pub meta: Bytes,
    pub state: State,
    pub head: Bytes,
    pub body: Bytes,
}

/// How much of a record to read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Part {
    /// Description and state.
    Text,
    /// The message too.
    Whole,
}

impl Segment {
    /// Reads the record of `key` at `place`. `Damaged` when what lies there is not that record, whole and unaltered, or
    /// the disk cannot read it.
    pub fn read(&self, key: u64, place: Place, part: Part) -> Result<Record, SpoolError> {
        let bad = |what: &str| SpoolError::Damaged(format!("{what} at {} of segment {:08x}", place.at(), self.id));
        // Most descriptions fit into the first piece, so one read is enough.
        let first = match part {
            Part::Text => place.span().min(1024),
            Part::Whole => place.span(),
        };
        let mut bytes = vec![0; usize::try_from(first).unwrap_or(usize::MAX)];
        let failed = |error: std::io::Error| {
            if is_bad_spot(&error) { bad("the disk cannot read a record") } else { SpoolError::Disk(error) }
        };
        read_exact_at(self.file.as_ref(), place.at(), &mut bytes).map_err(failed)?;
        let header = Header::decode(&bytes, self.nonce).filter(|h| h.key == key && h.span() == place.span());
        let header = header.ok_or_else(|| bad("there is no such record"))?;
        let text_end = HEADER.saturating_add(usize::try_from(header.text_len()).unwrap_or(usize::MAX));
        if bytes.len() < text_end {
            let old = bytes.len();
            bytes.resize(text_end, 0);
            let rest = bytes.get_mut(old..).unwrap_or(&mut []);
            read_exact_at(self.file.as_ref(), place.at() + old as u64, rest).map_err(failed)?;
        }
        let bytes = Bytes::from(bytes);
        let text = bytes.slice(HEADER..text_end);
        if crc32fast::hash(&text) != header.text_crc {
            return Err(bad("the checksum of a description is wrong"));
        }
        let meta = text.slice(..header.meta_len as usize);
        let state = match text.get(header.meta_len as usize..) {
            Some([]) | None => State::default(),
            Some(state) => State::decode(state).ok_or_else(|| bad("a delivery state cannot be read"))?,
        };
        let (mut head, mut body) = (Bytes::new(), Bytes::new());
        if part == Part::Whole {
            let head_end = text_end + header.head_len as usize;
            (head, body) =
                (bytes.slice(text_end..head_end), bytes.slice(head_end..head_end + header.body_len as usize));
            if checksum(&head, &body) != header.bytes_crc {
                return Err(bad("the checksum of a message is wrong"));
            }
        }
        Ok(Record { header, meta, state, head, body })
    }

    /// Overwrites both copies of the header: the segment is blank for good once this has returned.
    pub fn blank(&self, faults: Faults) -> std::io::Result<()> {
        let zeros = [0_u8; FIRST as usize];
        self.file.write_at(0, &mut [IoSlice::new(&zeros)])?;
        if faults.has(Fault::BlankNotSynced) { Ok(()) } else { self.file.sync_data() }
    }
}

/// The end of the block that `at` lies in: what the kernel fails to read as one.
#[must_use]
pub const fn behind_block(at: u64) -> u64 {
    (at / 4096).saturating_add(1).saturating_mul(4096)
}

/// CRC-32 of two pieces as if they were one.
#[must_use]
pub fn checksum(first: &[u8], second: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(first);
    hasher.update(second);
    hasher.finalize()
}
