//! Octets to text by a charset label that may lie (THREATS M-09).
//! Strict UTF-8 comes first: a UTF-8 body under the name us-ascii, iso-8859-1 or windows-1252 is everyday mail.

use std::borrow::Cow;

use encoding_rs::{Encoding, UTF_8, UTF_16BE, UTF_16LE, WINDOWS_1252, WINDOWS_1258};
use unicode_normalization::UnicodeNormalization;

use super::legacy::{self, Legacy};

/// Decodes by `label` (empty when there is none). Never fails: what cannot be read becomes U+FFFD.
#[must_use]
pub fn decode(bytes: &[u8], label: &str) -> String {
    let label = label.trim().trim_matches(['"', '\'']);
    match Legacy::from_label(label) {
        Some(Legacy::Viscii) => return legacy::viscii(bytes),
        Some(Legacy::Viqr) if bytes.is_ascii() => {
            return Legacy::Viqr.read(&String::from_utf8_lossy(bytes));
        }
        Some(kind) if std::str::from_utf8(bytes).is_err() => return kind.read(&latin(bytes)),
        _ => {}
    }
    if matches!(label.to_ascii_lowercase().as_str(), "" | "us-ascii" | "ascii" | "iso-8859-1" | "windows-1252")
        && bytes.is_ascii()
    {
        let text = String::from_utf8_lossy(bytes);
        return if legacy::looks_viqr(&text) { Legacy::Viqr.read(&text) } else { text.into_owned() };
    }
    let named = Encoding::for_label(label.as_bytes());
    let wide = named.is_some_and(|e| e == UTF_16LE || e == UTF_16BE || e == encoding_rs::ISO_2022_JP);
    if !wide && let Some(text) = utf8(bytes) {
        return text.into_owned();
    }
    let encoding = named.filter(|e| *e != UTF_8).unwrap_or(WINDOWS_1252);
    if label.eq_ignore_ascii_case("utf-8") || label.eq_ignore_ascii_case("utf8") {
        // Broken UTF-8 keeps its readable part.
        return String::from_utf8_lossy(bytes).into_owned();
    }
    let text = encoding.decode_without_bom_handling(bytes).0;
    if encoding == WINDOWS_1258 {
        // Letters and tone marks stand apart in this encoding.
        return text.nfc().collect();
    }
    text.into_owned()
}

/// Strict UTF-8, a byte order mark removed; a last character cut in the middle is forgiven (we cut texts ourselves).
fn utf8(bytes: &[u8]) -> Option<Cow<'_, str>> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    match std::str::from_utf8(bytes) {
        Ok(text) => Some(Cow::Borrowed(text)),
        Err(error) if error.error_len().is_none() && error.valid_up_to() > 0 => {
            let text = std::str::from_utf8(bytes.get(..error.valid_up_to())?).ok()?;
            (!text.is_ascii()).then_some(Cow::Borrowed(text))
        }
        Err(_) => None,
    }
}

/// Latin-1 in the strict sense: the font encodings use all 256 octets.
fn latin(bytes: &[u8]) -> String {
    bytes.iter().map(|b| char::from(*b)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reads(bytes: &[u8], label: &str, expected: &str) {
        assert_eq!(decode(bytes, label), expected, "{label}");
    }

    #[test]
    fn labels_that_lie_do_not_spoil_utf8() {
        for label in ["us-ascii", "iso-8859-1", "windows-1252", "windows-1258", "x-unknown", ""] {
            reads("Kính gửi".as_bytes(), label, "Kính gửi");
        }
    }

    #[test]
    fn labels_that_are_true_are_used() {
        reads(b"caf\xe9", "iso-8859-1", "café");
        reads(b"\x93quoted\x94", "windows-1252", "“quoted”");
        reads(b"Vi\xea\xf2t", "windows-1258", "Việt");
        reads(b"a\x00b\x00", "utf-16le", "ab");
        reads(b"caf\xe9 ch\xe1", "nonsense", "café chá");
        reads(b"dda^y la` thu+", "viqr", "đây là thư");
    }

    #[test]
    fn viqr_without_a_label_needs_strong_evidence() {
        let viqr = b"Ki'nh gu+?i ca'c ddo^`ng chi', dde^` nghi. ca'c ddo+n vi. nghie^n cu+'u, thu+.c hie^.n va` ba'o ca'o ke^'t qua?";
        reads(viqr, "us-ascii", "Kính gửi các đồng chí, đề nghị các đơn vị nghiên cứu, thực hiện và báo cáo kết quả");
        for text in ["if (a^b) { c++; d+= e; }", "What? I'd say: x^2 + y^2 = z^2, o.k.? a+ b+ u+ e^ o^"] {
            reads(text.as_bytes(), "us-ascii", text);
        }
    }

    #[test]
    fn broken_utf8_keeps_what_can_be_read() {
        reads(b"abc\xff def", "utf-8", "abc\u{fffd} def");
        reads("đã chào".as_bytes().get(..8).unwrap(), "", "đã ch");
    }
}
