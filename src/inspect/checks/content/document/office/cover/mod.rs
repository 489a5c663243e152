//! Encrypted Office files (MS-OFFCRYPTO): opened with the passwords that Excel and PowerPoint try by themselves, and
//! with the words of the letter. What stays closed is said to be closed: nobody here has seen its content then.

mod agile;
mod legacy;
mod slides;
mod standard;
#[cfg(test)]
mod tests;
mod xor;

use std::borrow::Cow;

use super::super::bytes::{slice, u16_at, u32_at, u64_at};
use super::super::report::{Found, Report};
use super::compound::{Compound, Entry};
use crate::inspect::checks::content::archive::Budget;

pub use legacy::Key;

/// What Excel (MS-XLS §2.2.10) and PowerPoint try before they ask: such a file opens like any other, and scanners that do
/// not know the word see nothing.
const BUILT_IN: &[&str] = &["VelvetSweatshop", "/01Hannes Ruescher/01"];
/// Rounds of hashing for the passwords of one file, all together.
const ROUNDS: u64 = 10_000_000;
/// Rounds for one password; Office asks for 100,000.
const MOST: u64 = 1_000_000;
/// Octets of a description of encryption.
const DESCRIPTION: usize = 64 << 10;

/// What is left to do with the streams of a file.
#[derive(Default)]
pub struct Opened {
    /// Whole files that lay encrypted in one stream.
    pub found: Vec<Found>,
    /// What the streams of an old format are read with.
    pub key: Option<Key>,
}

impl Opened {
    /// The octets of a stream in clear.
    pub fn read(&self, entry: &Entry, data: Vec<u8>) -> Vec<u8> {
        match &self.key {
            Some(key) => key.open(entry.name(), data),
            None => data,
        }
    }
}

/// How a file is encrypted.
enum Cover {
    Agile(Box<agile::Agile>),
    Standard(standard::Standard),
    Legacy(legacy::Legacy),
    Slides(legacy::Legacy, Vec<slides::Place>),
    /// Known, and not opened here.
    Closed(&'static str),
}

impl Cover {
    const fn name(&self) -> &'static str {
        match self {
            Self::Agile(_) => "agile encryption",
            Self::Standard(_) => "standard encryption",
            Self::Legacy(cover) | Self::Slides(cover, _) => cover.name(),
            Self::Closed(name) => name,
        }
    }
    /// What one password costs.
    const fn rounds(&self) -> u64 {
        match self {
            Self::Agile(cover) => cover.rounds(),
            Self::Standard(_) => standard::ROUNDS,
            Self::Legacy(_) | Self::Slides(..) => 100,
            Self::Closed(_) => MOST,
        }
    }
}

/// Opens what is encrypted, if any password fits; says what it found.
pub fn open(file: &Compound<'_>, budget: &mut Budget, report: &mut Report<'_>) -> Opened {
    let Some(cover) = cover(file) else { return Opened::default() };
    let closed = format!("is encrypted ({}): its content was not seen", cover.name());
    let words: Vec<Cow<'_, str>> = BUILT_IN.iter().copied().chain(budget.passwords()).map(Cow::from).collect();
    let mut left = ROUNDS;
    for (number, word) in words.iter().enumerate() {
        let (rounds, late) = (cover.rounds() + 1, !budget.may_guess());
        let Some(rest) = left.checked_sub(rounds).filter(|_| !late && rounds <= MOST) else { break };
        left = rest;
        let opened = match &cover {
            Cover::Agile(cover) => cover.key(word).and_then(|key| package(file, |data| cover.open(&key, data))),
            Cover::Standard(cover) => cover.key(word).and_then(|key| package(file, |data| standard::open(&key, data))),
            Cover::Legacy(cover) => cover.key(word).map(|key| Opened { found: Vec::new(), key: Some(key) }),
            Cover::Slides(cover, places) => cover
                .key(word)
                .map(|key| Opened { found: Vec::new(), key: Some(Key::Slides(Box::new(key), places.clone())) }),
            Cover::Closed(_) => None,
        };
        let Some(opened) = opened else { continue };
        if number < BUILT_IN.len() {
            report.say("office.default-password", "is encrypted with the password that Office tries by itself");
        } else {
            report.say("archive.password_in_text", "the document opens with a word of the message");
        }
        if !opened.found.iter().all(|found| budget.take(found.data.len())) {
            report.say("unpack.limit", "the budget of unpacked octets or files is spent");
            return Opened::default();
        }
        return opened;
    }
    report.unknown("office.encrypted", closed);
    Opened::default()
}

/// The package of an OOXML file in clear: its length, then octets (MS-OFFCRYPTO §2.3.4.4).
fn package(file: &Compound<'_>, open: impl Fn(&[u8]) -> Option<Vec<u8>>) -> Option<Opened> {
    let data = file.read(file.find("EncryptedPackage")?, super::STREAM);
    let length = u64_at(&data, 0)?;
    let mut plain = open(data.get(8..)?)?;
    plain.truncate(length);
    Some(Opened { found: vec![Found::stream("package", plain)], key: None })
}

fn cover(file: &Compound<'_>) -> Option<Cover> {
    let head = |name: &str, most: usize| file.find(name).map(|e| file.read(e, most)).unwrap_or_default();
    // MS-OFFCRYPTO §1.4.2, §2.3.4: OOXML inside a compound file.
    if file.find("EncryptedPackage").is_some() {
        let description = head("EncryptionInfo", DESCRIPTION);
        return Some(match (u16_at(&description, 0), u16_at(&description, 2)) {
            (Some(4), Some(4)) => agile::Agile::read(slice(&description, 8, DESCRIPTION))
                .map_or(Cover::Closed("an encrypted package"), |cover| Cover::Agile(Box::new(cover))),
            (Some(2..=4), Some(2)) => standard::Standard::read(slice(&description, 4, DESCRIPTION))
                .map_or(Cover::Closed("an encrypted package"), Cover::Standard),
            _ => Cover::Closed("an encrypted package"),
        });
    }
    // MS-DOC §2.5.2: fEncrypted, fObfuscated, which of the two tables; the table begins with the description.
    let word = head("WordDocument", 64);
    if let Some(flags) = u16_at(&word, 10)
        && flags & 0x0100 != 0
    {
        let table = head(if flags & 0x0200 != 0 { "1Table" } else { "0Table" }, DESCRIPTION);
        let closed = Cover::Closed(if flags & 0x8000 != 0 { "XOR" } else { "RC4" });
        let read = (flags & 0x8000 == 0).then(|| legacy::Legacy::read(&table)).flatten();
        return Some(read.map_or(closed, Cover::Legacy));
    }
    // MS-PPT §2.3.2: headerToken of the current user's atom.
    let user = head("Current User", 64);
    if u32_at(&user, 12) == Some(0xF3D1_C4DF) || file.find("EncryptedSummary").is_some() {
        let read = u32_at(&user, 16).and_then(|edit| slides::read(&head("PowerPoint Document", super::STREAM), edit));
        let closed = Cover::Closed("RC4 CryptoAPI");
        return Some(read.map_or(closed, |(cover, places)| Cover::Slides(cover, places)));
    }
    book(&["Workbook", "Book"].iter().map(|n| head(n, 16 << 10)).find(|b| !b.is_empty()).unwrap_or_default())
}

/// MS-XLS §2.4.117: FilePass among the first records.
fn book(head: &[u8]) -> Option<Cover> {
    let mut at = 0;
    for _ in 0..40 {
        let (kind, length) = (u16_at(head, at)?, u16_at(head, at + 2)?);
        let body = slice(head, at + 4, length);
        if kind == 0x002F {
            let kind = if length == 4 { Some(0) } else { u16_at(body, 0) };
            let rest = if length == 4 { body } else { body.get(2..).unwrap_or_default() };
            return Some(match kind {
                Some(0) => {
                    xor::Xor::read(rest).map_or(Cover::Closed("XOR"), |cover| Cover::Legacy(legacy::Legacy::Xor(cover)))
                }
                _ => legacy::Legacy::read(rest).map_or(Cover::Closed("RC4"), Cover::Legacy),
            });
        }
        at += 4 + length;
    }
    None
}
