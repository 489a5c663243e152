//! Encoded words of header text, decoded (RFC 2047). What cannot be decoded stays as it stands.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// Longer texts are cut: a display name or subject is for people.
const LONGEST: usize = 4096;

/// `text` with its encoded words decoded; white space between two encoded words is dropped (RFC 2047 §6.2).
pub fn decode(text: &str) -> String {
    let text: String = text.chars().take(LONGEST).collect();
    let (mut out, mut rest, mut after_word) = (String::with_capacity(text.len()), text.as_str(), false);
    while let Some(at) = rest.find("=?") {
        let (before, tail) = rest.split_at(at);
        let Some((word, length)) = one(tail) else {
            out.push_str(before);
            out.push_str("=?");
            (rest, after_word) = (tail.get(2..).unwrap_or_default(), false);
            continue;
        };
        if !(after_word && before.trim().is_empty()) {
            out.push_str(before);
        }
        out.push_str(&word);
        (rest, after_word) = (tail.get(length..).unwrap_or_default(), true);
    }
    out.push_str(rest);
    out
}

/// The encoded word at the start of `text` and its length.
fn one(text: &str) -> Option<(String, usize)> {
    let mut parts = text.get(2..)?.splitn(3, '?');
    let (charset, encoding, tail) = (parts.next()?, parts.next()?, parts.next()?);
    let end = tail.find("?=")?;
    let payload = tail.get(..end)?;
    let length = 2 + charset.len() + 1 + encoding.len() + 1 + end + 2;
    let octets = match encoding {
        "b" | "B" => STANDARD.decode(payload.trim()).ok()?,
        "q" | "Q" => quoted(payload),
        _ => return None,
    };
    // RFC 2231 §5: a language may follow the charset.
    let label = charset.split('*').next()?;
    let charset = encoding_rs::Encoding::for_label(label.as_bytes())?;
    Some((charset.decode_without_bom_handling(&octets).0.into_owned(), length))
}

/// RFC 2047 §4.2.
fn quoted(text: &str) -> Vec<u8> {
    let (mut out, mut bytes) = (Vec::with_capacity(text.len()), text.bytes().peekable());
    while let Some(byte) = bytes.next() {
        match byte {
            b'_' => out.push(b' '),
            b'=' => {
                let mut digit = || bytes.next_if(u8::is_ascii_hexdigit).and_then(|b| char::from(b).to_digit(16));
                match (digit(), digit()) {
                    (Some(high), Some(low)) => out.push(u8::try_from(high << 4 | low).unwrap_or(b'?')),
                    _ => out.push(b'='),
                }
            }
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc2047_8_examples() {
        for (text, expected) in [
            ("=?ISO-8859-1?Q?a?= b", "a b"),
            ("=?ISO-8859-1?Q?a?= =?ISO-8859-1?Q?b?=", "ab"),
            ("=?ISO-8859-1?Q?a_b?=", "a b"),
            ("=?utf-8?B?VGnhur9uZw==?=", "Tiếng"),
            ("=?utf-8*vi?q?Ti=E1=BA=BFng?=", "Tiếng"),
            ("=?x?=", "=?x?="),
            ("=?utf-8?X?a?=", "=?utf-8?X?a?="),
            ("plain", "plain"),
        ] {
            assert_eq!(decode(text), expected, "{text}");
        }
    }
}
