//! Little-endian numbers and texts out of octets that may end anywhere.

pub fn u8_at(data: &[u8], at: usize) -> Option<usize> {
    data.get(at).map(|b| usize::from(*b))
}

pub fn u16_at(data: &[u8], at: usize) -> Option<usize> {
    let bytes = data.get(at..at.checked_add(2)?)?;
    Some(usize::from(u16::from_le_bytes(bytes.try_into().ok()?)))
}

pub fn u32_at(data: &[u8], at: usize) -> Option<usize> {
    raw_u32_at(data, at).and_then(|v| usize::try_from(v).ok())
}

pub fn raw_u32_at(data: &[u8], at: usize) -> Option<u32> {
    let bytes = data.get(at..at.checked_add(4)?)?;
    Some(u32::from_le_bytes(bytes.try_into().ok()?))
}

pub fn u64_at(data: &[u8], at: usize) -> Option<usize> {
    let bytes = data.get(at..at.checked_add(8)?)?;
    usize::try_from(u64::from_le_bytes(bytes.try_into().ok()?)).ok()
}

/// `length` octets from `at`; fewer where the data ends.
pub fn slice(data: &[u8], at: usize, length: usize) -> &[u8] {
    let start = at.min(data.len());
    let end = start.saturating_add(length).min(data.len());
    data.get(start..end).unwrap_or_default()
}

/// UTF-16LE up to its end or the first NUL.
pub fn utf16(data: &[u8]) -> String {
    let units = data
        .chunks_exact(2)
        .map(|c| u16::from_le_bytes([c.first().copied().unwrap_or(0), c.get(1).copied().unwrap_or(0)]));
    char::decode_utf16(units.take_while(|u| *u != 0)).map(|c| c.unwrap_or('\u{fffd}')).collect()
}

/// One octet a letter, up to its end or the first NUL.
pub fn latin(data: &[u8]) -> String {
    data.iter().take_while(|b| **b != 0).map(|b| char::from(*b)).collect()
}

/// Whether `word` stands in `data`, in one octet a letter or in UTF-16LE.
pub fn holds(data: &[u8], word: &str) -> bool {
    let wide: Vec<u8> = word.bytes().flat_map(|b| [b, 0]).collect();
    memchr::memmem::find(data, word.as_bytes()).is_some() || memchr::memmem::find(data, &wide).is_some()
}

/// The runs of printable characters of at least `least` letters, in one octet a letter and in UTF-16LE, one a line;
/// `most` octets at most.
pub fn strings(data: &[u8], least: usize, most: usize) -> String {
    let mut out = String::new();
    let mut run = String::new();
    let mut flush = |run: &mut String| {
        if run.len() >= least && out.len() + run.len() < most {
            out.push_str(run);
            out.push('\n');
        }
        run.clear();
    };
    for b in data {
        if (0x20..0x7f).contains(b) {
            run.push(char::from(*b));
        } else {
            flush(&mut run);
        }
    }
    flush(&mut run);
    for start in [0, 1] {
        for pair in data.get(start..).unwrap_or_default().chunks_exact(2) {
            match pair {
                [b, 0] if (0x20..0x7f).contains(b) => run.push(char::from(*b)),
                _ => flush(&mut run),
            }
        }
        flush(&mut run);
    }
    out
}
