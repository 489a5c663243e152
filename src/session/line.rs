//! Bytes to lines: the line discipline of SMTP on the raw stream, before any grammar sees it.
//!
//! Invariants: a command ends at CRLF and nowhere else; a message under DATA ends at `CRLF . CRLF` and nowhere else
//! (RFC 5321 §2.3.8, §4.1.1.4; THREATS T1, S-01..S-04). A bare CR, a bare LF or a NUL condemns the whole message, which
//! is still read to its true end so that none of it is ever run as a command. Memory is bounded whatever comes.

use memchr::{memchr2, memchr3};

/// What the start of the input is, as a command line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Line {
    Incomplete,
    /// A line of so many octets, CRLF included.
    Complete(usize),
    /// A CR or LF that is not part of a CRLF.
    BareNewline,
    TooLong,
}

/// Looks for one command line at the start of `input`; `limit` is in octets, CRLF included.
#[must_use]
pub fn command_line(input: &[u8], limit: usize) -> Line {
    let window = input.get(..limit.min(input.len())).unwrap_or(input);
    match memchr2(b'\r', b'\n', window) {
        None if input.len() >= limit => Line::TooLong,
        None => Line::Incomplete,
        Some(at) if window.get(at) == Some(&b'\n') => Line::BareNewline,
        Some(at) => match input.get(at.saturating_add(1)) {
            None if input.len() >= limit => Line::TooLong,
            None => Line::Incomplete,
            Some(b'\n') if at.saturating_add(2) > limit => Line::TooLong,
            Some(b'\n') => Line::Complete(at.saturating_add(2)),
            Some(_) => Line::BareNewline,
        },
    }
}

/// Bounds of one message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bounds {
    pub message: u64,
    pub line: u64,
    pub header: u64,
    pub header_fields: usize,
    pub received: usize,
    /// Bare CR and LF become CRLF instead of condemning the message.
    pub normalize: bool,
}

/// Why a message is refused once its end is reached. The first one found counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    BareNewline,
    Nul,
    MessageTooLong,
    LineTooLong,
    HeaderTooLong,
    TooManyFields,
    TooManyHops,
}

/// Where the reader stands in a line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum At {
    /// Directly behind a CRLF, or at the very start.
    Start,
    /// `.` at the start of a line, not passed on.
    Dot,
    /// `.` CR at the start of a line, neither passed on.
    DotCr,
    Middle,
    /// A CR, not passed on.
    Cr,
}

/// Reads the bytes of one message. Fed with raw pieces, it passes on the message's octets in runs as long as possible.
#[derive(Debug)]
pub struct Reader {
    bounds: Bounds,
    dots: bool,
    at: At,
    fault: Option<Fault>,
    size: u64,
    line: u64,
    head: Option<Head>,
    hops: usize,
}

/// The header section so far.
#[derive(Debug, Default)]
struct Head {
    size: u64,
    fields: usize,
    received: usize,
    /// Lines and octets of the field that is being read.
    field_lines: usize,
    field_size: u64,
    /// The first octets of the current line.
    prefix: [u8; 9],
    filled: usize,
}

/// What became of the bytes that were fed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fed {
    /// All were taken, the message goes on.
    More,
    /// The message ended; so many were taken.
    End(usize),
}

impl Reader {
    /// For DATA: dots are removed and `CRLF . CRLF` ends it. The CRLF of the DATA line counts as the first half.
    #[must_use]
    pub fn data(bounds: Bounds) -> Self {
        Self { bounds, dots: true, at: At::Start, fault: None, size: 0, line: 0, head: Some(Head::default()), hops: 0 }
    }

    /// For BDAT: octets as they are; the caller counts them and calls [`Reader::close`] behind the last.
    #[must_use]
    pub fn chunks(bounds: Bounds) -> Self {
        Self { dots: false, ..Self::data(bounds) }
    }

    #[must_use]
    pub const fn fault(&self) -> Option<Fault> {
        self.fault
    }
    /// Octets of the message so far, also those no longer passed on.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Received fields in the header so far.
    #[must_use]
    pub const fn hops(&self) -> usize {
        self.hops
    }

    /// Takes raw bytes and passes the message's octets to `out`. After a fault nothing is passed on.
    pub fn feed(&mut self, input: &[u8], out: &mut impl FnMut(&[u8])) -> Fed {
        // `input[run..at]` has been checked and not been passed on.
        let (mut run, mut at) = (0, 0);
        while let Some(&byte) = input.get(at) {
            match self.at {
                At::Start if self.dots && byte == b'.' => {
                    // RFC 5321 §4.5.2: the first dot of a line is not part of the message.
                    self.pass(input, run, at, out);
                    at = at.saturating_add(1);
                    run = at;
                    self.at = At::Dot;
                }
                At::Dot if byte == b'\r' => {
                    at = at.saturating_add(1);
                    run = at;
                    self.at = At::DotCr;
                }
                At::DotCr if byte == b'\n' => return Fed::End(at.saturating_add(1)),
                At::DotCr => {
                    // `.` CR and something else: that CR is text, and bare.
                    self.bare(out);
                    self.at = At::Middle;
                }
                At::Cr if byte == b'\n' => {
                    if run == at {
                        // The CR came with the piece before this one.
                        self.emit(b"\r", out);
                    }
                    at = at.saturating_add(1);
                    self.end_of_line();
                    self.at = At::Start;
                }
                At::Cr => {
                    // The CR is the last octet of what was checked, or came with the piece before.
                    let before = at.saturating_sub(1).max(run);
                    self.pass(input, run, before, out);
                    run = at;
                    self.bare(out);
                    self.at = At::Middle;
                }
                At::Start | At::Middle | At::Dot => {
                    self.at = At::Middle;
                    at = self.text(input, &mut run, at, out);
                }
            }
        }
        // A CR at the very end waits for its LF.
        let end = if self.at == At::Cr { input.len().saturating_sub(1).max(run) } else { input.len() };
        self.pass(input, run, end, out);
        Fed::More
    }

    /// Behind the last chunk of BDAT: a CR left over is bare, and a last line without CRLF gets one, because the
    /// next hop may be met by DATA, which cannot carry it otherwise (RFC 3030 leaves this to the gateway).
    pub fn close(&mut self, out: &mut impl FnMut(&[u8])) {
        if self.at == At::Cr {
            self.bare(out);
            if self.bounds.normalize {
                self.at = At::Start;
            }
        }
        if self.at != At::Start {
            self.emit(b"\r\n", out);
            self.at = At::Start;
        }
    }

    /// Moves over text from `at` to the next octet that matters; returns where to go on.
    fn text(&mut self, input: &[u8], run: &mut usize, at: usize, out: &mut impl FnMut(&[u8])) -> usize {
        let rest = input.get(at..).unwrap_or_default();
        let found = memchr3(b'\r', b'\n', 0, rest);
        let length = found.unwrap_or(rest.len());
        self.grow_line(rest.get(..length).unwrap_or(rest));
        let here = at.saturating_add(length);
        match found.and_then(|found| rest.get(found)) {
            None => {}
            Some(b'\r') => self.at = At::Cr,
            Some(b'\n') => {
                self.pass(input, *run, here, out);
                *run = here.saturating_add(1);
                self.bare(out);
            }
            Some(_) => {
                self.condemn(Fault::Nul);
                *run = here.saturating_add(1);
            }
        }
        if found.is_some() { here.saturating_add(1) } else { here }
    }

    /// A bare CR or LF was met and not passed on.
    fn bare(&mut self, out: &mut impl FnMut(&[u8])) {
        if self.bounds.normalize {
            self.emit(b"\r\n", out);
            self.end_of_line();
        } else {
            self.condemn(Fault::BareNewline);
        }
    }

    fn pass(&mut self, input: &[u8], from: usize, to: usize, out: &mut impl FnMut(&[u8])) {
        if let Some(bytes) = input.get(from..to) {
            self.emit(bytes, out);
        }
    }

    fn emit(&mut self, bytes: &[u8], out: &mut impl FnMut(&[u8])) {
        self.size = self.size.saturating_add(bytes.len() as u64);
        if self.size > self.bounds.message {
            self.condemn(Fault::MessageTooLong);
        }
        if self.fault.is_none() && !bytes.is_empty() {
            out(bytes);
        }
    }

    fn condemn(&mut self, fault: Fault) {
        self.fault.get_or_insert(fault);
    }

    fn grow_line(&mut self, text: &[u8]) {
        self.line = self.line.saturating_add(text.len() as u64);
        if self.line > self.bounds.line {
            self.condemn(Fault::LineTooLong);
        }
        if let Some(head) = &mut self.head {
            head.see(text);
        }
    }

    fn end_of_line(&mut self) {
        let line = std::mem::take(&mut self.line);
        let Some(head) = &mut self.head else { return };
        if line == 0 {
            self.head = None;
            return;
        }
        let fault = head.end_of_line(line, &self.bounds);
        self.hops = head.received;
        if let Some(fault) = fault {
            self.condemn(fault);
        }
    }
}

impl Head {
    fn see(&mut self, text: &[u8]) {
        let free = self.prefix.get_mut(self.filled..).unwrap_or_default();
        let taken = free.len().min(text.len());
        if let (Some(to), Some(from)) = (free.get_mut(..taken), text.get(..taken)) {
            to.copy_from_slice(from);
        }
        self.filled = self.filled.saturating_add(taken);
    }

    fn end_of_line(&mut self, line: u64, bounds: &Bounds) -> Option<Fault> {
        let folded = matches!(self.prefix.first(), Some(b' ' | b'\t')) && self.filled > 0;
        if !folded {
            (self.field_lines, self.field_size) = (0, 0);
            self.fields = self.fields.saturating_add(1);
            let named =
                self.prefix.get(..8).is_some_and(|name| self.filled == 9 && name.eq_ignore_ascii_case(b"received"));
            if named && matches!(self.prefix.get(8), Some(b':' | b' ' | b'\t')) {
                self.received = self.received.saturating_add(1);
            }
        }
        self.filled = 0;
        self.field_lines = self.field_lines.saturating_add(1);
        self.field_size = self.field_size.saturating_add(line);
        self.size = self.size.saturating_add(line).saturating_add(2);
        // Folded, a field is still one line: the limit of a line holds for it too (THREATS S-17).
        let too_long = self.field_size > bounds.line || self.field_lines > bounds.header_fields;
        if too_long || self.size > bounds.header {
            Some(Fault::HeaderTooLong)
        } else if self.fields > bounds.header_fields {
            Some(Fault::TooManyFields)
        } else {
            // RFC 5321 §6.3: so many hops are a loop.
            (self.received > bounds.received).then_some(Fault::TooManyHops)
        }
    }
}

#[cfg(test)]
mod tests;
