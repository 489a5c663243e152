//! An SMTP reply: code, enhanced code (RFC 3463) and text fit for a stranger to read.
//! Text is ASCII (RFC 5321 §4.2: replies before SMTPUTF8 are ASCII); Vietnamese sentences are written without accents.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Serialize};

/// One reply, possibly of several lines.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Reply {
    code: u16,
    /// `5.7.1`; empty when the reply has none (greeting, EHLO, 354).
    enhanced: Cow<'static, str>,
    lines: Vec<Cow<'static, str>>,
    /// Which rule said so, for operators; it never reaches the wire.
    #[serde(skip)]
    cause: Cow<'static, str>,
}

/// Whether the client may try again, in one word.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Positive,
    Temporary,
    Permanent,
}

impl Reply {
    /// `enhanced` may be `""`. A text longer than a reply line is folded over several lines.
    #[must_use]
    pub fn new(code: u16, enhanced: impl Into<Cow<'static, str>>, text: impl Into<Cow<'static, str>>) -> Self {
        Self { code, enhanced: enhanced.into(), lines: vec![text.into()], cause: Cow::Borrowed("") }
    }

    /// One more line with the same codes.
    #[must_use]
    pub fn line(mut self, text: impl Into<Cow<'static, str>>) -> Self {
        self.lines.push(text.into());
        self
    }

    /// Names the rule behind the reply, for the operators' log only.
    #[must_use]
    pub fn because(mut self, cause: impl Into<Cow<'static, str>>) -> Self {
        self.cause = cause.into();
        self
    }

    /// The rule behind the reply; empty where its codes say all.
    #[must_use]
    pub fn cause(&self) -> &str {
        &self.cause
    }

    #[must_use]
    pub const fn code(&self) -> u16 {
        self.code
    }
    #[must_use]
    pub fn enhanced(&self) -> &str {
        &self.enhanced
    }
    pub fn lines(&self) -> impl Iterator<Item = &str> {
        self.lines.iter().map(AsRef::as_ref)
    }
    /// All lines in one, for logs and reports.
    #[must_use]
    pub fn text(&self) -> String {
        self.lines.join(" ")
    }

    /// RFC 5321 §4.2.1: the first digit decides, whatever the others say.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self.code / 100 {
            2 | 3 => Kind::Positive,
            4 => Kind::Temporary,
            _ => Kind::Permanent,
        }
    }
    #[must_use]
    pub fn is_positive(&self) -> bool {
        self.kind() == Kind::Positive
    }
    #[must_use]
    pub fn is_temporary(&self) -> bool {
        self.kind() == Kind::Temporary
    }
    #[must_use]
    pub fn is_permanent(&self) -> bool {
        self.kind() == Kind::Permanent
    }

    /// The bytes on the wire. Octets that are not printable ASCII become `?`: a reply carries no control
    /// character of a stranger into another stranger's log (THREATS S-26).
    pub fn write_to(&self, out: &mut Vec<u8>) {
        let last = self.lines.len().saturating_sub(1);
        for (i, line) in self.lines.iter().enumerate() {
            out.extend_from_slice(self.code.to_string().as_bytes());
            out.push(if i == last { b' ' } else { b'-' });
            if !self.enhanced.is_empty() {
                out.extend_from_slice(self.enhanced.as_bytes());
                out.push(b' ');
            }
            // RFC 5321 §4.5.3.1.5: a reply line is at most 512 octets with its code and CRLF.
            let printable = line.chars().map(|c| if c == ' ' || c.is_ascii_graphic() { c as u8 } else { b'?' });
            out.extend(printable.take(490));
            out.extend_from_slice(b"\r\n");
        }
    }
}

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.code)?;
        if !self.enhanced.is_empty() {
            write!(f, " {}", self.enhanced)?;
        }
        write!(f, " {}", self.text())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc5321_4_2_1_every_line_carries_the_code() {
        let mut out = Vec::new();
        Reply::new(550, "5.7.1", "no").line("never").because("secret rule").write_to(&mut out);
        assert_eq!(out, b"550-5.7.1 no\r\n550 5.7.1 never\r\n");
    }

    #[test]
    fn controls_and_foreign_letters_do_not_reach_the_wire() {
        let mut out = Vec::new();
        Reply::new(501, "", "a\r\n250 ok \u{1b}[1m ế").write_to(&mut out);
        assert_eq!(out, b"501 a??250 ok ?[1m ?\r\n");
    }
}
