//! Encoded words in header fields (RFC 2047), read as clients read them: adjacent words of one charset are joined
//! before decoding, so characters that were cut between two words come out whole.

use base64::Engine;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::{charset, fold};

const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// Decodes a field value as it stands in the message: unfolds, decodes encoded words and raw octets, NFC.
#[must_use]
pub fn decode(value: &[u8]) -> String {
    let mut value: Vec<u8> = value.iter().copied().filter(|b| !matches!(b, b'\r' | b'\n')).collect();
    value.truncate(64 * 1024);
    let mut out = String::new();
    let mut pending: Option<(String, Vec<u8>)> = None;
    let mut rest = value.as_slice();
    while !rest.is_empty() {
        let start = memchr::memmem::find(rest, b"=?").unwrap_or(rest.len());
        let (plain, tail) = rest.split_at(start);
        let Some((word, length)) = encoded_word(tail) else {
            let step = tail.len().min(2);
            flush(&mut pending, &mut out);
            out.push_str(&charset::decode(rest.get(..start + step).unwrap_or(rest), ""));
            rest = rest.get(start + step..).unwrap_or_default();
            continue;
        };
        // RFC 2047 §6.2: white space between two encoded words is not shown.
        if !(plain.iter().all(u8::is_ascii_whitespace) && pending.is_some()) {
            flush(&mut pending, &mut out);
            out.push_str(&charset::decode(plain, ""));
        }
        match &mut pending {
            Some((label, bytes)) if label.eq_ignore_ascii_case(&word.label) => bytes.extend(word.bytes),
            _ => {
                flush(&mut pending, &mut out);
                pending = Some((word.label, word.bytes));
            }
        }
        rest = tail.get(length..).unwrap_or_default();
    }
    flush(&mut pending, &mut out);
    fold::exact(out.trim())
}

fn flush(pending: &mut Option<(String, Vec<u8>)>, out: &mut String) {
    if let Some((label, bytes)) = pending.take() {
        out.push_str(&charset::decode(&bytes, &label));
    }
}

struct Word {
    label: String,
    bytes: Vec<u8>,
}

/// `=?charset*language?encoding?text?=` at the start of `text`, and its length.
fn encoded_word(text: &[u8]) -> Option<(Word, usize)> {
    let inner = text.strip_prefix(b"=?")?;
    let end_label = memchr::memchr(b'?', inner)?;
    let label = inner.get(..end_label)?;
    let encoding = inner.get(end_label + 1)?.to_ascii_lowercase();
    let body = inner.get(end_label + 2..)?.strip_prefix(b"?")?;
    let end = memchr::memmem::find(body, b"?=")?;
    let data = body.get(..end)?;
    if label.is_empty() || label.len() > 60 || !label.is_ascii() || data.len() > 16 * 1024 {
        return None;
    }
    let bytes = match encoding {
        b'b' => {
            let clean: Vec<u8> = data.iter().copied().filter(|b| !b.is_ascii_whitespace()).collect();
            LENIENT.decode(clean).ok()?
        }
        b'q' => q_decode(data),
        _ => return None,
    };
    // RFC 2231 §5: a language may follow the charset.
    let label = label.split(|b| *b == b'*').next().unwrap_or(label);
    let length = 2 + end_label + 3 + end + 2;
    Some((Word { label: String::from_utf8_lossy(label).into_owned(), bytes }, length))
}

fn q_decode(data: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(data.len());
    let mut at = 0;
    while let Some(&b) = data.get(at) {
        at += 1;
        match b {
            b'_' => out.push(b' '),
            b'=' => match (hex(data.get(at)), hex(data.get(at + 1))) {
                (Some(high), Some(low)) => {
                    out.push(high << 4 | low);
                    at += 2;
                }
                _ => out.push(b'='),
            },
            _ => out.push(b),
        }
    }
    out
}

fn hex(byte: Option<&u8>) -> Option<u8> {
    char::from(*byte?).to_digit(16).and_then(|d| u8::try_from(d).ok())
}

#[cfg(test)]
mod tests {
    use super::decode;

    #[test]
    fn rfc2047_words_are_decoded_and_joined() {
        assert_eq!(decode(b"=?utf-8?B?S8OtbmggZ+G7rWk=?="), "Kính gửi");
        assert_eq!(decode(b"=?utf-8?q?K=C3=ADnh_g=E1=BB?=\r\n =?utf-8?q?=ADi?= x"), "Kính gửi x", "cut in a character");
        assert_eq!(decode(b"a =?us-ascii?Q?b?= =?iso-8859-1?Q?c=E9?= d"), "a bcé d");
    }

    #[test]
    fn raw_octets_and_broken_words_stay_readable() {
        assert_eq!(decode("Kính gửi".as_bytes()), "Kính gửi");
        assert_eq!(decode(b"caf\xe9"), "café");
        assert_eq!(decode(b"=?utf-8?x?abc?= =?"), "=?utf-8?x?abc?= =?");
        assert_eq!(decode(b"=?utf-8?Q?=ZZ?="), "=ZZ");
    }
}
