//! Numbers and pieces out of hostile octets: what is not there is `None`.

/// `length` octets at `at`.
pub(super) fn piece(data: &[u8], at: usize, length: usize) -> Option<&[u8]> {
    data.get(at..at.checked_add(length)?)
}

/// What begins at `at`; empty when that is behind the end.
pub(super) fn from(data: &[u8], at: usize) -> &[u8] {
    data.get(at..).unwrap_or_default()
}

/// At most `length` octets at `at`, as many as there are.
pub(super) fn upto(data: &[u8], at: usize, length: usize) -> &[u8] {
    let rest = from(data, at);
    rest.get(..length).unwrap_or(rest)
}

fn number<'d>(data: &'d [u8], at: usize, width: usize, mut octets: impl FnMut(&'d [u8]) -> u64) -> Option<usize> {
    usize::try_from(octets(piece(data, at, width)?)).ok()
}

/// A little-endian number of `width` octets, at most eight.
pub(super) fn le(data: &[u8], at: usize, width: usize) -> Option<usize> {
    number(data, at, width.min(8), |d| d.iter().rev().fold(0, |sum, b| sum << 8 | u64::from(*b)))
}

/// A big-endian number of `width` octets, at most eight.
pub(super) fn be(data: &[u8], at: usize, width: usize) -> Option<usize> {
    number(data, at, width.min(8), |d| d.iter().fold(0, |sum, b| sum << 8 | u64::from(*b)))
}

/// UTF-16 of little-endian order, upto its first NUL.
pub(super) fn utf16(data: &[u8]) -> String {
    let units =
        data.chunks_exact(2).map(|pair| u16::from_le_bytes([*pair.first().unwrap_or(&0), *pair.last().unwrap_or(&0)]));
    char::decode_utf16(units.take_while(|unit| *unit != 0)).map(|c| c.unwrap_or('\u{fffd}')).collect()
}

/// Text upto its first NUL.
pub(super) fn text(field: &[u8]) -> String {
    let end = memchr::memchr(0, field).unwrap_or(field.len());
    String::from_utf8_lossy(field.get(..end).unwrap_or_default()).into_owned()
}
