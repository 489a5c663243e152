//! Octets written as text: base64, hexadecimal, percent signs, lists of numbers; `data:` links.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::super::report::{Found, Report};
use crate::inspect::checks::content::archive::Budget;
use crate::inspect::checks::content::kind;

const CONFIG: GeneralPurposeConfig = GeneralPurposeConfig::new()
    .with_decode_padding_mode(DecodePaddingMode::Indifferent)
    .with_decode_allow_trailing_bits(true);
const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, CONFIG);
const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, CONFIG);

/// `data:` links of one page.
const LINKS: usize = 200;

/// base64 of either alphabet, its length cut to whole groups.
pub fn base64(text: &[u8]) -> Option<Vec<u8>> {
    let tight: Vec<u8> = text.iter().copied().filter(|b| !b.is_ascii_whitespace() && *b != b'=').collect();
    let whole = if tight.len() % 4 == 1 { tight.len() - 1 } else { tight.len() };
    let tight = tight.get(..whole)?;
    STANDARD.decode(tight).or_else(|_| URL_SAFE.decode(tight)).ok()
}

/// Pairs of hexadecimal digits.
pub fn hex(text: &[u8]) -> Vec<u8> {
    let digit = |b: u8| char::from(b).to_digit(16).and_then(|d| u8::try_from(d).ok());
    text.chunks_exact(2).filter_map(|p| Some(digit(*p.first()?)? << 4 | digit(*p.get(1)?)?)).collect()
}

/// What ends a data link that stands in no quotes of its own.
const fn stops(b: u8, coded: bool) -> bool {
    matches!(b, b'"' | b'\'' | b'<' | b'>' | b')' | b'`' | b'\\') || (!coded && b == b' ')
}

/// `%41` and `%u0041` resolved.
pub fn percent(text: &str) -> String {
    let (mut out, mut rest) = (Vec::with_capacity(text.len()), text.as_bytes());
    while let Some((first, tail)) = rest.split_first() {
        let code = |at: usize, length: usize| {
            let digits = std::str::from_utf8(tail.get(at..at + length)?).ok()?;
            u32::from_str_radix(digits, 16).ok()
        };
        let wide =
            (*first == b'%' && tail.first().is_some_and(|b| matches!(b, b'u' | b'U'))).then(|| code(1, 4)).flatten();
        if let Some(c) = wide.and_then(char::from_u32) {
            out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            rest = tail.get(5..).unwrap_or_default();
        } else if let Some(byte) = (*first == b'%').then(|| code(0, 2)).flatten().and_then(|c| u8::try_from(c).ok()) {
            out.push(byte);
            rest = tail.get(2..).unwrap_or_default();
        } else {
            out.push(*first);
            rest = tail;
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Every `data:` link of a page, style sheets and scripts included (RFC 2397).
pub fn data_links(text: &str, budget: &mut Budget, report: &mut Report<'_>) -> Vec<Found> {
    let (mut found, bytes) = (Vec::new(), text.as_bytes());
    for at in memchr::memmem::find_iter(bytes, b"data:").take(LINKS) {
        let rest = bytes.get(at + 5..).unwrap_or_default();
        let Some(comma) = memchr::memchr(b',', rest.get(..rest.len().min(200)).unwrap_or_default()) else { continue };
        let head = String::from_utf8_lossy(rest.get(..comma).unwrap_or_default()).to_ascii_lowercase();
        if head.contains(['"', '\'', '<', '>', '\n', '{']) {
            continue;
        }
        let body = rest.get(comma + 1..).unwrap_or_default();
        let end = |stop: &dyn Fn(u8) -> bool| body.iter().position(|b| stop(*b)).unwrap_or(body.len());
        let coded = head.contains("base64");
        // Text in quotes goes to the same quote, angle brackets and all.
        let quote =
            at.checked_sub(1).and_then(|i| bytes.get(i)).copied().filter(|b| matches!(b, b'"' | b'\'') && !coded);
        let stop = end(&|b| quote.map_or_else(|| stops(b, coded), |quote| b == quote));
        let body = body.get(..stop).unwrap_or_default();
        let plain = percent(&String::from_utf8_lossy(body));
        let Some(data) = (if coded { base64(plain.as_bytes()) } else { Some(plain.into_bytes()) }) else { continue };
        let true_kind = kind::of(&data);
        let media = head.split(';').next().unwrap_or_default();
        let font = media.contains("font") || true_kind.contains("font");
        if data.len() < 8 || font || !budget.take(data.len()) {
            continue;
        }
        let picture = true_kind.starts_with("image/") && true_kind != "image/svg+xml";
        let program = kind::is_executable(true_kind) || media.contains("octet-stream") || media.contains("zip");
        if matches!(media, "text/html" | "application/xhtml+xml" | "text/javascript" | "application/javascript")
            || true_kind == "text/html"
        {
            report.say("html.data-page", format!("carries a page or script as a data link ({media})"));
            found.push(Found::stream("data", data));
        } else if picture || true_kind == "image/svg+xml" {
            found.push(Found::stream("picture", data));
        } else {
            if program || !matches!(true_kind, "text/plain" | "application/octet-stream") {
                report.say("html.smuggling", format!("carries a file as a data link ({true_kind})"));
                found.push(Found::member("data", data));
            } else {
                found.push(Found::stream("data", data));
            }
        }
    }
    found
}
