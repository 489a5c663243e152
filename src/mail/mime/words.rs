//! Encoded words (RFC 2047) and percent-encoded values (RFC 2231 §4): octets with a charset label to text.
//! Lenient: what cannot be decoded stays as it was.

use encoding_rs::{Encoding, UTF_8, UTF_16BE, UTF_16LE};

use super::transfer;

/// Decodes every encoded word in `text`; white space between two of them vanishes (RFC 2047 §6.2).
#[must_use]
pub fn decode(text: &str) -> String {
    if !text.contains("=?") {
        return text.to_owned();
    }
    let (mut out, mut rest) = (String::with_capacity(text.len()), text);
    // Octets of neighbouring words in one charset are joined first: a character may be cut between them.
    let mut held: Option<(String, Vec<u8>)> = None;
    while let Some(start) = rest.find("=?") {
        let (before, from) = rest.split_at(start);
        let Some(word) = Word::read(from) else {
            flush(&mut out, &mut held);
            out.push_str(before);
            out.push_str("=?");
            rest = from.get(2..).unwrap_or_default();
            continue;
        };
        if held.is_none() || !before.trim().is_empty() {
            flush(&mut out, &mut held);
            out.push_str(before);
        }
        match &mut held {
            Some((charset, octets)) if charset.eq_ignore_ascii_case(word.charset) => octets.extend(word.octets),
            _ => {
                flush(&mut out, &mut held);
                held = Some((word.charset.to_owned(), word.octets));
            }
        }
        rest = word.rest;
    }
    flush(&mut out, &mut held);
    out.push_str(rest);
    out
}

fn flush(out: &mut String, held: &mut Option<(String, Vec<u8>)>) {
    if let Some((charset, octets)) = held.take() {
        out.push_str(&to_text(&charset, &octets));
    }
}

struct Word<'t> {
    charset: &'t str,
    octets: Vec<u8>,
    rest: &'t str,
}

impl<'t> Word<'t> {
    fn read(text: &'t str) -> Option<Self> {
        let (charset, after) = text.strip_prefix("=?")?.split_once('?')?;
        let (encoding, after) = after.split_once('?')?;
        let (content, rest) = after.split_once("?=")?;
        if charset.is_empty() || charset.len() > 60 {
            return None;
        }
        let octets = match encoding {
            "B" | "b" => transfer::base64(content.as_bytes()),
            "Q" | "q" => q_word(content.as_bytes()),
            _ => return None,
        };
        // RFC 2231 §5: a language may follow the charset.
        Some(Self { charset: charset.split('*').next().unwrap_or(charset), octets, rest })
    }
}

fn q_word(content: &[u8]) -> Vec<u8> {
    let spaced: Vec<u8> = content.iter().map(|b| if *b == b'_' { b' ' } else { *b }).collect();
    unescape(&spaced, b'=')
}

/// `%41` (or `=41`) to octets; anything else stays.
#[must_use]
pub fn unescape(text: &[u8], mark: u8) -> Vec<u8> {
    let (mut out, mut at) = (Vec::with_capacity(text.len()), 0);
    while let Some(&byte) = text.get(at) {
        let pair = text.get(at + 1..at + 3).filter(|_| byte == mark);
        match pair.and_then(|p| std::str::from_utf8(p).ok()).and_then(|p| u8::from_str_radix(p, 16).ok()) {
            Some(octet) => {
                out.push(octet);
                at += 3;
            }
            None => {
                out.push(byte);
                at += 1;
            }
        }
    }
    out
}

/// By WHATWG label; UTF-8 with replacement characters when the label is unknown.
#[must_use]
pub fn to_text(charset: &str, octets: &[u8]) -> String {
    let mut encoding = Encoding::for_label(charset.trim().as_bytes()).unwrap_or(UTF_8);
    // RFC 2781 §4.3: without a mark the big end comes first; WHATWG reads it the other way round.
    if encoding == UTF_16LE && charset.trim().eq_ignore_ascii_case("utf-16") && octets.first() == Some(&0) {
        encoding = UTF_16BE;
    }
    encoding.decode(octets).0.into_owned()
}
