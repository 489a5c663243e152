//! The encodings as we write them: one form that every client reads alike (RFC 2045 §6.7, §6.8; RFC 2231 §3, §4).

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// RFC 2045 §6.7: an encoded line has at most 76 characters, a soft break included.
const LINE: usize = 75;
/// Encoded characters of one piece of an extended parameter; the line stays below 78.
const PIECE: usize = 54;

/// Base64 in lines of 76 with CRLF.
pub(super) fn base64(octets: &[u8], out: &mut Vec<u8>) {
    for line in octets.chunks(57) {
        out.extend_from_slice(STANDARD.encode(line).as_bytes());
        out.extend_from_slice(b"\r\n");
    }
}

/// Quoted-printable; CRLF stays a line end, everything else that is not plain is escaped, so that the decoded octets are
/// exactly `text`.
pub(super) fn quoted_printable(text: &[u8], out: &mut Vec<u8>) {
    let (mut rest, mut column) = (text, 0);
    while let Some((&byte, tail)) = rest.split_first() {
        if rest.starts_with(b"\r\n") {
            out.extend_from_slice(b"\r\n");
            (column, rest) = (0, rest.get(2..).unwrap_or_default());
            continue;
        }
        let at_end = tail.is_empty() || tail.starts_with(b"\r\n");
        let dot = byte == b'.' && column == 0;
        let plain = !dot && (matches!(byte, b'!'..=b'<' | b'>'..=b'~') || (matches!(byte, b' ' | b'\t') && !at_end));
        if column + if plain { 1 } else { 3 } > LINE {
            out.extend_from_slice(b"=\r\n");
            column = 0;
        }
        if plain {
            out.push(byte);
            column += 1;
        } else {
            out.push(b'=');
            out.extend_from_slice(&[digit(byte >> 4), digit(byte & 15)]);
            column += 3;
        }
        rest = tail;
    }
}

const fn digit(nibble: u8) -> u8 {
    if nibble < 10 { b'0' + nibble } else { b'A' + nibble - 10 }
}

/// One parameter, folded onto a line of its own: quoted where it is printable ASCII, else by RFC 2231, in pieces when it
/// is long. Control characters are left out.
pub(super) fn parameter(name: &str, value: &str, out: &mut String) {
    let value: String = value.chars().filter(|c| !c.is_control()).collect();
    if value.is_ascii() && value.len() <= PIECE {
        out.push_str(";\r\n ");
        out.push_str(name);
        out.push_str("=\"");
        for c in value.chars() {
            if matches!(c, '"' | '\\') {
                out.push('\\');
            }
            out.push(c);
        }
        out.push('"');
        return;
    }
    let coded = percent(&value);
    if coded.len() <= PIECE {
        let _ = write!(out, ";\r\n {name}*=utf-8''{coded}");
        return;
    }
    let mut rest = coded.as_str();
    let mut number = 0;
    while !rest.is_empty() {
        // An escape is never cut.
        let mut end = rest.len().min(PIECE);
        while end < rest.len() && rest.get(end - 2..end).is_some_and(|tail| tail.contains('%')) {
            end -= 1;
        }
        let (piece, tail) = rest.split_at(end);
        let charset = if number == 0 { "utf-8''" } else { "" };
        let _ = write!(out, ";\r\n {name}*{number}*={charset}{piece}");
        (rest, number) = (tail, number + 1);
    }
}

/// RFC 2231 §7 `attribute-char`, a narrow choice of it.
fn percent(value: &str) -> String {
    let mut out = String::new();
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_') {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::{transfer, value::Value};
    use super::*;

    #[test]
    fn rfc2045_6_7_any_octets_come_back_from_quoted_printable() {
        let all: Vec<u8> = (0..=255).cycle().take(3000).collect();
        for text in [&b"a \r\n.b\t\r\n\r\n=\rc\nd "[..], &all, b"--x\r\n", b""] {
            let mut coded = Vec::new();
            quoted_printable(text, &mut coded);
            assert_eq!(&*transfer::quoted_printable(&coded), text);
            assert!(coded.split(|b| *b == b'\n').all(|l| l.len() <= 77 && !l.starts_with(b".")));
        }
    }

    #[test]
    fn rfc2231_any_name_comes_back_from_a_parameter() {
        let long = "ế%\"".repeat(80);
        for name in ["a.pdf", "a\"b\\c.pdf", "báo cáo.pdf", &long, &"x".repeat(200)] {
            let mut text = String::from("attachment");
            parameter("filename", name, &mut text);
            assert!(text.split("\r\n").all(|l| l.len() <= 78), "{text}");
            let value = Value::read(&text.replace("\r\n", ""));
            assert_eq!(value.param("filename"), Some(name));
            assert!(value.conflicting.is_empty());
        }
    }
}
