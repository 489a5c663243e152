//! A message to the octets that leave: dot-stuffed for DATA, as it is for BDAT, never copied.
//! Invariant: a message with a bare CR or LF does not become a [`Wire`] (promise 3, THREATS S-02).

use memchr::{memchr_iter, memrchr};

use crate::mail::Parcel;

/// Why a message may not leave: an error of ours, the sender's message was checked when it came.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum WireError {
    #[error("the message has a bare CR or LF")]
    BareLineEnd,
    #[error("the header section does not end with CRLF")]
    TornHead,
}

/// A checked message, ready to leave in slices of the parcel's own memory.
#[derive(Debug)]
pub struct Wire<'a> {
    head: &'a [u8],
    body: &'a [u8],
    /// Offsets of lines that begin with a dot, in head and in body.
    dots: [Vec<usize>; 2],
    ends_with_crlf: bool,
}

impl<'a> Wire<'a> {
    /// One pass over the message: line ends are checked, leading dots are found.
    pub fn check(parcel: &'a Parcel) -> Result<Self, WireError> {
        let (head, body) = (&*parcel.head, &*parcel.body);
        if !head.is_empty() && !head.ends_with(b"\r\n") {
            return Err(WireError::TornHead);
        }
        let dots = [scan(head)?, scan(body)?];
        let last = if body.is_empty() { head } else { body };
        Ok(Self { head, body, dots, ends_with_crlf: last.is_empty() || last.ends_with(b"\r\n") })
    }

    /// Octets as counted by SIZE and BDAT: no dots, final CRLF included (RFC 1870 §3).
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        let missing = if self.ends_with_crlf { 0 } else { 2 };
        self.head.len().saturating_add(self.body.len()).saturating_add(missing)
    }

    /// The slices of DATA: each leading dot doubled (RFC 5321 §4.5.2), the final `.CRLF` at the end.
    #[must_use]
    pub fn stuffed(&self) -> Slices<'_> {
        let [in_head, in_body] = &self.dots;
        Slices::new([(self.head, in_head), (self.body, in_body)], [self.end(), b".\r\n"])
    }

    /// The slices of BDAT: the message and nothing else (RFC 3030 §2).
    #[must_use]
    pub fn plain(&self) -> Slices<'_> {
        Slices::new([(self.head, &[]), (self.body, &[])], [self.end(), b""])
    }

    const fn end(&self) -> &'static [u8] {
        if self.ends_with_crlf { b"" } else { b"\r\n" }
    }
}

/// Offsets of the leading dots in `text`, which begins at the begin of a line; an error for a bare CR or LF.
fn scan(text: &[u8]) -> Result<Vec<usize>, WireError> {
    let mut dots = Vec::new();
    if text.first() == Some(&b'.') {
        dots.push(0);
    }
    let mut lines = 0_usize;
    for at in memchr_iter(b'\n', text) {
        if at.checked_sub(1).and_then(|i| text.get(i)) != Some(&b'\r') {
            return Err(WireError::BareLineEnd);
        }
        lines += 1;
        if text.get(at + 1) == Some(&b'.') {
            dots.push(at + 1);
        }
    }
    // Every LF has its CR; as many CRs as LFs means that no CR stands alone.
    if memchr_iter(b'\r', text).count() != lines {
        return Err(WireError::BareLineEnd);
    }
    Ok(dots)
}

/// The pieces of a message in order, none of them empty.
#[derive(Clone, Debug)]
pub struct Slices<'w> {
    /// Head and body, each with the offsets before which a dot is added.
    texts: [(&'w [u8], &'w [usize]); 2],
    tail: [&'w [u8]; 2],
    /// What goes before all of it.
    commands: &'w [u8],
    /// Which of the four pieces is being given out.
    piece: usize,
    at: usize,
    dot: usize,
}

impl<'w> Slices<'w> {
    const fn new(texts: [(&'w [u8], &'w [usize]); 2], tail: [&'w [u8]; 2]) -> Self {
        Self { texts, tail, commands: b"", piece: 0, at: 0, dot: 0 }
    }

    /// The same behind `commands`, for one write.
    #[must_use]
    pub const fn behind(self, commands: &'w [u8]) -> Self {
        Self { commands, ..self }
    }
}

impl<'w> Iterator for Slices<'w> {
    type Item = &'w [u8];

    fn next(&mut self) -> Option<&'w [u8]> {
        if !self.commands.is_empty() {
            return Some(std::mem::take(&mut self.commands));
        }
        while let Some((text, dots)) = self.texts.get(self.piece) {
            let end = dots.get(self.dot).copied().unwrap_or(text.len());
            if let Some(slice) = text.get(self.at..end).filter(|s| !s.is_empty()) {
                self.at = end;
                return Some(slice);
            }
            if self.dot < dots.len() {
                self.dot = self.dot.saturating_add(1);
                return Some(b".");
            }
            (self.piece, self.at, self.dot) = (self.piece.saturating_add(1), 0, 0);
        }
        while let Some(slice) = self.piece.checked_sub(2).and_then(|i| self.tail.get(i)) {
            self.piece = self.piece.saturating_add(1);
            if !slice.is_empty() {
                return Some(slice);
            }
        }
        None
    }
}

/// Whether commands in `out` are whole lines without a bare CR or LF: asserted before every write.
#[must_use]
pub fn is_clean(out: &[u8]) -> bool {
    let lines = memchr_iter(b'\n', out).filter(|at| at.checked_sub(1).and_then(|i| out.get(i)) == Some(&b'\r')).count();
    out.is_empty()
        || (memrchr(b'\n', out) == Some(out.len() - 1)
            && memchr_iter(b'\n', out).count() == lines
            && memchr_iter(b'\r', out).count() == lines)
}
