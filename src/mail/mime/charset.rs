//! Texts whose octets hide what they say: UTF-7 (RFC 2152), UTF-16 and UTF-32. As UTF-8, so that scanners see the words.

use encoding_rs::{UTF_16BE, UTF_16LE};

/// `octets` in UTF-8 where their character set hides plain words, and whether the set is one that clients stopped to
/// know (WHATWG Encoding §4.2 leaves UTF-7 out). `None`: they can be read as they stand.
pub(super) fn readable(charset: &str, octets: &[u8]) -> Option<(Vec<u8>, bool)> {
    let label = charset.trim().trim_matches('"').to_ascii_lowercase();
    if label.contains("utf-7") || label.contains("utf7") {
        let text = utf7(octets);
        return (text != octets).then_some((text, true));
    }
    let wide =
        |bytes: &[u8], encoding: &'static encoding_rs::Encoding| encoding.decode(bytes).0.into_owned().into_bytes();
    // UTF-32 first: its little-endian mark begins with that of UTF-16.
    if label.starts_with("utf-32") || label.starts_with("ucs-4") || octets.starts_with(&[0xFF, 0xFE, 0, 0]) {
        return Some((utf32(octets, !label.ends_with("be")), false));
    }
    if octets.starts_with(&[0xFF, 0xFE]) {
        return Some((wide(octets, UTF_16LE), false));
    }
    if octets.starts_with(&[0xFE, 0xFF]) {
        return Some((wide(octets, UTF_16BE), false));
    }
    if label.starts_with("utf-16") || label.starts_with("ucs-2") || label.starts_with("unicode") {
        let little = label.ends_with("le") || octets.get(1) == Some(&0);
        return Some((wide(octets, if little { UTF_16LE } else { UTF_16BE }), false));
    }
    None
}

fn utf32(octets: &[u8], little: bool) -> Vec<u8> {
    let mut out = String::with_capacity(octets.len() / 4);
    for unit in octets.chunks_exact(4) {
        let Ok(unit) = <[u8; 4]>::try_from(unit) else { continue };
        let code = if little { u32::from_le_bytes(unit) } else { u32::from_be_bytes(unit) };
        out.push(char::from_u32(code).unwrap_or('\u{FFFD}'));
    }
    out.into_bytes()
}

/// RFC 2152, lenient: a run of base64 behind `+` is UTF-16 with the big end first; a `-` that ends it vanishes.
fn utf7(octets: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(octets.len());
    let mut rest = octets;
    while let Some((&byte, tail)) = rest.split_first() {
        if byte != b'+' {
            out.push(byte);
            rest = tail;
            continue;
        }
        if let Some(behind) = tail.strip_prefix(b"-") {
            out.push(b'+');
            rest = behind;
            continue;
        }
        let length = tail.iter().take_while(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/')).count();
        let (run, behind) = tail.split_at_checked(length).unwrap_or((tail, &[]));
        let units: Vec<u16> = super::transfer::base64(run)
            .chunks_exact(2)
            .filter_map(|pair| <[u8; 2]>::try_from(pair).ok())
            .map(u16::from_be_bytes)
            .collect();
        out.extend_from_slice(String::from_utf16_lossy(&units).as_bytes());
        rest = behind.strip_prefix(b"-").unwrap_or(behind);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc2152_utf_7_is_read() {
        let hidden = "Hi Mom +Jjo--! +ADw-script+AD4 1+-1".as_bytes();
        assert_eq!(readable("UTF-7", hidden).unwrap().0, "Hi Mom \u{263a}-! <script> 1+1".as_bytes());
        assert!(readable("utf-7", b"plain").is_none() && readable("utf-8", hidden).is_none());
    }

    #[test]
    fn wide_texts_are_read_by_label_or_mark() {
        let (le, be) = (b"<\0b\0>\0", b"\0<\0b\0>");
        for (label, octets) in [("utf-16", &le[..]), ("utf-16le", &le[..]), ("UTF-16BE", &be[..]), ("utf-16", &be[..])]
        {
            assert_eq!(readable(label, octets).unwrap().0, b"<b>", "{label}");
        }
        assert_eq!(readable("", &[0xFF, 0xFE, b'x', 0]).unwrap().0, b"x");
        assert_eq!(readable("utf-32le", b"x\0\0\0").unwrap().0, b"x");
    }
}
