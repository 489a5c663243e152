//! The extended headers of pax (POSIX.1-2001): records of a length, a key and a value, for one entry or for all that
//! follow.

use super::sparse::Map;

/// What is known of the next entry beside its own header.
#[derive(Default)]
pub(super) struct Pax {
    pub(super) name: Option<String>,
    pub(super) size: Option<usize>,
    pub(super) sparse: Option<Map>,
    /// Of a header for all entries.
    always: (Option<String>, Option<usize>),
}

impl Pax {
    pub(super) fn read(&mut self, content: &[u8], global: bool) {
        let (mut holes, mut offset) = (Map::default(), 0);
        let (mut is_sparse, mut in_body) = (false, false);
        for (key, value) in records(content) {
            let text = || String::from_utf8_lossy(value).into_owned();
            let number = || std::str::from_utf8(value).ok().and_then(|v| v.trim().parse::<usize>().ok());
            match key {
                b"path" if global => self.always.0 = Some(text()),
                b"size" if global => self.always.1 = number(),
                b"path" => self.name = self.name.take().or_else(|| Some(text())),
                b"size" => self.size = number(),
                b"GNU.sparse.name" => self.name = Some(text()),
                b"GNU.sparse.size" | b"GNU.sparse.realsize" => holes.size = number().unwrap_or_default(),
                b"GNU.sparse.offset" => offset = number().unwrap_or_default(),
                b"GNU.sparse.numbytes" => {
                    is_sparse = true;
                    holes.push(offset, number().unwrap_or_default());
                }
                b"GNU.sparse.map" => {
                    is_sparse = true;
                    let text = text();
                    let mut numbers = text.split(',').map_while(|n| n.trim().parse().ok());
                    while let (Some(at), Some(length)) = (numbers.next(), numbers.next()) {
                        holes.push(at, length);
                    }
                }
                b"GNU.sparse.major" => in_body = number() == Some(1),
                _ => {}
            }
        }
        if in_body {
            self.sparse = Some(Map::in_body(holes.size));
        } else if is_sparse {
            self.sparse = Some(holes);
        }
    }

    /// For the entry that comes now; what was said of all entries stays.
    pub(super) fn take(&mut self) -> Self {
        let always = self.always.clone();
        let mut taken = std::mem::take(self);
        taken.name = taken.name.or_else(|| always.0.clone());
        taken.size = taken.size.or(always.1);
        self.always = always;
        taken
    }
}

/// `length key=value\n`; a length that is wrong ends the list.
fn records(mut content: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    std::iter::from_fn(move || {
        let blank = content.iter().position(|b| *b == b' ')?;
        let length: usize = std::str::from_utf8(content.get(..blank)?).ok()?.parse().ok()?;
        let record = content.get(blank + 1..length).or_else(|| content.get(blank + 1..))?;
        content = content.get(length..).unwrap_or_default();
        let record = record.strip_suffix(b"\n").unwrap_or(record);
        let equals = record.iter().position(|b| *b == b'=')?;
        Some((record.get(..equals)?, record.get(equals + 1..)?))
    })
}
