//! Reads a segment from its beginning, record by record, and finds the way behind damage.
//! Bounded memory: a window of a mebibyte, or one description where that is larger. Places that the disk cannot read count
//! as zeros, so they cost what lay in them; when there are many, the disk is to be looked after before mail is given up.

use super::SpoolError;
use super::frame::{ALIGN, FIRST, HEADER, Header, State};
use super::segment::{Segment, behind_block};
use crate::env::disk::is_bad_spot;

const WINDOW: usize = 1 << 20;
/// Behind a record of this size only the next description is read, if bodies are not.
const PASSED_OVER: u64 = 64 << 10;
const NARROW: usize = 4096;
/// No description is longer; a length beyond it is damage.
const MOST_TEXT: u64 = 64 << 20;
/// What of a segment may be unreadable before the whole disk is suspected, blocks.
const MOST_BAD_SPOTS: u32 = 64;
/// Tries at one place: a cable shakes.
const TRIES: u32 = 3;

/// What lies in a segment.
#[derive(Clone, PartialEq, Debug)]
pub enum Found {
    Record {
        at: u64,
        header: Header,
        state: State,
    },
    /// No record can be read here, but another follows, or the header of this one is whole.
    Bad {
        at: u64,
        bytes: u64,
        key: Option<u64>,
    },
    /// Nothing of this segment follows.
    End {
        at: u64,
    },
}

/// A reading position in a segment.
#[derive(Debug)]
pub struct Scan<'a> {
    segment: &'a Segment,
    at: u64,
    end: u64,
    window: Vec<u8>,
    from: u64,
    bad_spots: u32,
    /// Whether bodies are read too. Without it large ones are passed over.
    pub check_bytes: bool,
    /// How much to read at once.
    stride: usize,
}

impl<'a> Scan<'a> {
    /// Reads up to `end` octets from the segment's beginning.
    #[must_use]
    pub fn new(segment: &'a Segment, end: u64) -> Self {
        Self {
            segment,
            at: FIRST,
            end: end.min(segment.size),
            window: Vec::new(),
            from: 0,
            bad_spots: 0,
            check_bytes: true,
            stride: WINDOW,
        }
    }

    /// The next thing; `End` again and again once the end is reached.
    pub fn next(&mut self) -> Result<Found, SpoolError> {
        let at = self.at;
        let Some(header) = self.header(at)? else { return self.resume(at) };
        let text = self.bytes(at.saturating_add(HEADER as u64), header.text_len())?;
        let whole = text.len() as u64 == header.text_len() && crc32fast::hash(text) == header.text_crc;
        let state = match text.get(header.meta_len as usize..) {
            Some([]) | None => Some(State::default()),
            Some(state) => State::decode(state),
        };
        self.at = at.saturating_add(header.span());
        self.stride = if self.check_bytes || header.span() < PASSED_OVER { WINDOW } else { NARROW };
        match state {
            Some(state) if whole && self.bytes_are_whole(at, &header)? => Ok(Found::Record { at, header, state }),
            _ => Ok(Found::Bad { at, bytes: header.span(), key: Some(header.key) }),
        }
    }

    /// The first record that can be read, wherever it is.
    pub fn first(&mut self) -> Result<Found, SpoolError> {
        loop {
            match self.next()? {
                Found::Bad { .. } => {}
                found => return Ok(found),
            }
        }
    }

    /// A header that fits into the segment.
    fn header(&mut self, at: u64) -> Result<Option<Header>, SpoolError> {
        let (nonce, end) = (self.segment.nonce, self.end);
        let header = Header::decode(self.bytes(at, HEADER as u64)?, nonce);
        Ok(header.filter(|h| h.text_len() <= MOST_TEXT && at.saturating_add(h.span()) <= end))
    }

    fn bytes_are_whole(&mut self, at: u64, header: &Header) -> Result<bool, SpoolError> {
        if !self.check_bytes {
            return Ok(true);
        }
        let mut at = at.saturating_add(HEADER as u64).saturating_add(header.text_len());
        let (mut left, mut hasher) = (header.bytes_len(), crc32fast::Hasher::new());
        while left > 0 {
            let piece = self.bytes(at, left.min(WINDOW as u64))?;
            if piece.is_empty() {
                return Ok(false);
            }
            hasher.update(piece);
            let n = piece.len() as u64;
            (at, left) = (at.saturating_add(n), left.saturating_sub(n));
        }
        Ok(hasher.finalize() == header.bytes_crc)
    }

    /// Looks for the next header behind `bad` by the segment's nonce, which no sender can guess.
    fn resume(&mut self, bad: u64) -> Result<Found, SpoolError> {
        let nonce = self.segment.nonce.to_le_bytes();
        let finder = memchr::memmem::Finder::new(&nonce);
        let mut at = bad.saturating_add(ALIGN);
        while at < self.end {
            let piece = self.bytes(at, WINDOW as u64)?;
            let len = piece.len() as u64;
            // The nonce stands 8 octets behind the beginning of a frame.
            let hits: Vec<u64> =
                finder.find_iter(piece).map(|n| at.saturating_add(n as u64).saturating_sub(8)).collect();
            for hit in hits {
                if hit > bad && hit.is_multiple_of(ALIGN) && self.header(hit)?.is_some() {
                    self.at = hit;
                    return Ok(Found::Bad { at: bad, bytes: hit - bad, key: None });
                }
            }
            if len <= 8 {
                break;
            }
            // A nonce may lie across the edge of the window.
            at = at.saturating_add(len - 8);
        }
        self.end = bad;
        Ok(Found::End { at: bad })
    }

    /// `len` octets at `at`, fewer where the segment ends.
    fn bytes(&mut self, at: u64, len: u64) -> Result<&[u8], SpoolError> {
        let len = usize::try_from(len.min(self.end.saturating_sub(at))).unwrap_or(0);
        let have = at.checked_sub(self.from).and_then(|skip| usize::try_from(skip).ok());
        let have = have.filter(|skip| skip.saturating_add(len) <= self.window.len());
        let skip = match have {
            Some(skip) => skip,
            None => {
                self.fill(at, len.max(self.stride))?;
                0
            }
        };
        let rest = self.window.get(skip..).unwrap_or(&[]);
        Ok(rest.get(..len).unwrap_or(rest))
    }

    fn fill(&mut self, at: u64, len: usize) -> Result<(), SpoolError> {
        let len = usize::try_from(self.segment.size.saturating_sub(at)).unwrap_or(usize::MAX).min(len);
        self.window.resize(len, 0);
        let (mut done, mut tries) = (0, 0);
        while done < len {
            let place = at.saturating_add(done as u64);
            let into = self.window.get_mut(done..).unwrap_or(&mut []);
            match self.segment.file.read_at(place, into) {
                Ok(0) => break,
                Ok(n) => (done, tries) = (done + n, 0),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) if is_bad_spot(&error) && self.bad_spots < MOST_BAD_SPOTS => {
                    tries += 1;
                    if tries == TRIES {
                        (self.bad_spots, tries) = (self.bad_spots + 1, 0);
                        let skip = usize::try_from(behind_block(place) - place).unwrap_or(usize::MAX).min(into.len());
                        into.get_mut(..skip).unwrap_or(&mut []).fill(0);
                        done += skip;
                    }
                }
                Err(error) => return Err(SpoolError::Disk(error)),
            }
        }
        self.window.truncate(done);
        self.from = at;
        Ok(())
    }
}
