//! Reads the log line by line, however large a day's file is; and finds its end without reading the rest.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use crate::report::record::chain::{self, Head};

/// No line is longer: a receipt of 2,000 parts has some hundreds of kilobytes. What is, is damage.
const LONGEST: u64 = 8 << 20;
/// What is looked at from the end of a file at first.
const TAIL: u64 = 256 << 10;

/// The files of a log in order of their days.
pub fn files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut list = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if day(&path).is_some() {
            list.push(path);
        }
    }
    list.sort();
    Ok(list)
}

/// The day a file holds: `2026-11-21`.
pub(super) fn day(path: &Path) -> Option<&str> {
    let name = path.file_name()?.to_str()?;
    name.strip_suffix(".jsonl").filter(|day| day.len() == "2026-11-21".len())
}

/// A line as it stands in its file, without its end; octets that are no UTF-8 (damage) become U+FFFD and so break its
/// hash.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RawLine {
    /// `2026-11-21.jsonl:7`
    pub place: String,
    pub text: String,
}

/// The lines of all files from a day on, in order. Holds one line at a time.
#[derive(Debug)]
pub struct Lines {
    files: std::vec::IntoIter<PathBuf>,
    open: Option<(String, BufReader<File>)>,
    number: u64,
    needle: Option<Vec<u8>>,
    buffer: Vec<u8>,
}

impl Lines {
    /// Everything in `folder` but the files of days before `from` (`2026-11-21`; "" for all). A file holds nothing of
    /// a day after its own, so nothing that happened since is left out.
    pub fn open(folder: &Path, from: &str) -> io::Result<Self> {
        let mut files = files(folder)?;
        files.retain(|path| day(path).is_some_and(|day| day >= from));
        Ok(Self { files: files.into_iter(), open: None, number: 0, needle: None, buffer: Vec::new() })
    }

    /// Only lines that hold `text` somewhere.
    #[must_use]
    pub fn holding(self, text: &str) -> Self {
        Self { needle: Some(text.as_bytes().to_vec()), ..self }
    }

    /// The next line into the buffer; `None` when the last file is at its end.
    fn step(&mut self) -> io::Result<Option<&str>> {
        loop {
            if let Some((_, reader)) = &mut self.open {
                self.buffer.clear();
                let read = reader.by_ref().take(LONGEST).read_until(b'\n', &mut self.buffer)?;
                if read > 0 {
                    self.number = self.number.saturating_add(1);
                    if self.buffer.last() != Some(&b'\n') {
                        reader.skip_until(b'\n')?;
                    }
                    return Ok(self.open.as_ref().map(|(name, _)| name.as_str()));
                }
            }
            let Some(path) = self.files.next() else { return Ok(None) };
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            (self.number, self.open) = (0, Some((name, BufReader::with_capacity(64 << 10, File::open(path)?))));
        }
    }
}

impl Iterator for Lines {
    type Item = io::Result<RawLine>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let name = match self.step() {
                Ok(Some(name)) => name.to_owned(),
                Ok(None) => return None,
                Err(error) => {
                    // What cannot be read once will not be read better in a loop.
                    (self.open, self.files) = (None, Vec::new().into_iter());
                    return Some(Err(error));
                }
            };
            if self.needle.as_ref().is_none_or(|needle| memchr::memmem::find(&self.buffer, needle).is_some()) {
                let text = String::from_utf8_lossy(&self.buffer).trim_end_matches(['\n', '\r']).to_owned();
                return Some(Ok(RawLine { place: format!("{name}:{}", self.number), text }));
            }
        }
    }
}

/// Where the chain stands, and whether the log ends in a torn line.
pub(super) fn last_head(folder: &Path) -> io::Result<(Head, bool)> {
    let mut torn = false;
    for path in files(folder)?.into_iter().rev() {
        let (head, broken) = head_of(&path)?;
        torn |= broken;
        if let Some(head) = head {
            return Ok((head, torn));
        }
    }
    Ok((Head::default(), torn))
}

/// The last line of a file that stands as it was written; and whether something broken follows it. Reads from the end.
pub(super) fn head_of(path: &Path) -> io::Result<(Option<Head>, bool)> {
    let mut file = File::open(path)?;
    let length = file.seek(SeekFrom::End(0))?;
    let mut size = TAIL.min(length);
    loop {
        file.seek(SeekFrom::Start(length - size))?;
        let mut bytes = Vec::new();
        file.by_ref().take(size).read_to_end(&mut bytes)?;
        let text = String::from_utf8_lossy(&bytes);
        let mut torn = false;
        for line in text.split_inclusive('\n').rev() {
            match chain::open(line) {
                Ok(line) => return Ok((Some(Head { number: line.number, hash: line.hash }), torn)),
                Err(_) => torn = true,
            }
        }
        // The first line of a piece may only be the end of a longer one: look at more of the file.
        if size == length {
            return Ok((None, torn));
        }
        size = size.saturating_mul(8).min(length);
    }
}
