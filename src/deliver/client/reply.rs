//! Bytes of a peer to replies (RFC 5321 §4.2): multi-line, in packets of any size, bounded in every direction.
//! A line may have 64 KiB (DOMAIN §2.8 peer 10), a reply 256 KiB; a peer that sends more is no mail server.

use std::borrow::Cow;

use memchr::memchr;

use crate::mail::Reply;

const LINE_LIMIT: usize = 64 << 10;
const REPLY_LIMIT: usize = 256 << 10;
/// Of the lines of one reply this many are kept; the rest is read and dropped.
const LINES_KEPT: usize = 128;

/// Collects octets and gives replies out. One for each connection.
#[derive(Debug, Default)]
pub struct Replies {
    buffer: Vec<u8>,
    /// Octets of `buffer` that were already given out.
    used: usize,
    /// Lines of a reply whose last line has not come yet.
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    code: u16,
    lines: Vec<String>,
    octets: usize,
}

impl Replies {
    /// Where the caller's socket puts what it reads: room for at least one packet.
    pub fn space(&mut self) -> &mut Vec<u8> {
        if self.used == self.buffer.len() {
            self.buffer.clear();
            self.used = 0;
        } else if self.used >= 4096 {
            self.buffer.drain(..self.used);
            self.used = 0;
        }
        self.buffer.reserve(1024);
        &mut self.buffer
    }

    pub fn push(&mut self, octets: &[u8]) {
        self.space().extend_from_slice(octets);
    }

    /// Whether nothing waits that was not given out: the state in which STARTTLS may begin, or a connection rest.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.used == self.buffer.len() && self.open.is_none()
    }

    /// The next whole reply; `None` when more octets are needed. An error is for ever: close the connection.
    pub fn pull(&mut self) -> Result<Option<Reply>, &'static str> {
        loop {
            let rest = self.buffer.get(self.used..).unwrap_or_default();
            let Some(end) = memchr(b'\n', rest) else {
                return if rest.len() > LINE_LIMIT { Err("a reply line of more than 64 KiB") } else { Ok(None) };
            };
            if end > LINE_LIMIT {
                return Err("a reply line of more than 64 KiB");
            }
            let line = rest.get(..end).unwrap_or_default();
            let line = Line::parse(line.strip_suffix(b"\r").unwrap_or(line))?;
            let done = add(&mut self.open, &line)?;
            self.used = self.used.saturating_add(end).saturating_add(1);
            if done && let Some(open) = self.open.take() {
                return Ok(Some(open.close()));
            }
        }
    }
}

struct Line<'a> {
    code: u16,
    last: bool,
    text: &'a [u8],
}

impl<'a> Line<'a> {
    fn parse(line: &'a [u8]) -> Result<Self, &'static str> {
        let (digits, rest) = line.split_at_checked(3).ok_or("a line without a reply code")?;
        if !digits.iter().all(u8::is_ascii_digit) {
            return Err("a line without a reply code");
        }
        let code = digits.iter().fold(0_u16, |n, d| n * 10 + u16::from(*d - b'0'));
        // RFC 5321 §4.2: the first digit is 2 to 5; anything else is not a reply of this protocol.
        if !(200..600).contains(&code) {
            return Err("a reply code that SMTP does not know");
        }
        match rest.split_first() {
            None => Ok(Self { code, last: true, text: b"" }),
            Some((b' ', text)) => Ok(Self { code, last: true, text }),
            Some((b'-', text)) => Ok(Self { code, last: false, text }),
            Some(_) => Err("a reply code that runs into its text"),
        }
    }
}

/// Adds a line to the reply that is open; true when it was the last one.
fn add(open: &mut Option<Open>, line: &Line<'_>) -> Result<bool, &'static str> {
    let reply = open.get_or_insert_with(|| Open { code: line.code, lines: Vec::with_capacity(1), octets: 0 });
    // RFC 5321 §4.2.1: all lines carry one code. Within one class the last is taken; a reply that says yes
    // and no at once is not believed either way.
    if reply.code / 100 != line.code / 100 {
        return Err("a reply whose lines disagree");
    }
    reply.code = line.code;
    reply.octets = reply.octets.saturating_add(line.text.len()).saturating_add(4);
    if reply.octets > REPLY_LIMIT {
        return Err("a reply of more than 256 KiB");
    }
    if reply.lines.len() < LINES_KEPT {
        reply.lines.push(String::from_utf8_lossy(line.text).into_owned());
    }
    Ok(line.last)
}

impl Open {
    fn close(mut self) -> Reply {
        let enhanced = self.lines.first().and_then(|l| enhanced(self.code, l)).map(str::to_owned);
        if let Some(enhanced) = &enhanced {
            for line in &mut self.lines {
                if let Some(text) = line.strip_prefix(enhanced.as_str()) {
                    *line = text.trim_start().to_owned();
                }
            }
        }
        let mut lines = self.lines.into_iter();
        let enhanced: Cow<'static, str> = enhanced.map_or(Cow::Borrowed(""), Cow::Owned);
        let first = Reply::new(self.code, enhanced, lines.next().unwrap_or_default());
        lines.fold(first, Reply::line)
    }
}

/// The enhanced code in front of a text (RFC 2034 §4), when its class fits the reply code: Exchange says
/// `550 4.4.7` (DOMAIN §2.1), and then the reply code is right (RFC 3463 §2).
fn enhanced(code: u16, text: &str) -> Option<&str> {
    let word = text.split(' ').next()?;
    let mut parts = word.split('.');
    let (class, subject, detail) = (parts.next()?, parts.next()?, parts.next()?);
    let number = |part: &str| (1..=3).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit());
    let fits = class.parse() == Ok(code / 100);
    (fits && class.len() == 1 && number(subject) && number(detail) && parts.next().is_none()).then_some(word)
}
