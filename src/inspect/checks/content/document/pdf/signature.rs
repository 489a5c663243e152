//! Signatures inside a PDF (ISO 32000-2 §12.8): which octets each one covers, and what was done to the file behind
//! them. Structure only; whether a signature holds is for the room that knows certificates.
//!
//! A signature covers the whole file but the one string that holds it, exactly: anything else in the gap, any other
//! form of the ranges, is a forgery of the kinds that viewers fell for (pdf-insecurity.org; THREATS P-03).

use std::ops::Range;

use super::lex::{Lexer, Token};
use super::revision::{Change, Revisions};
use super::scan;
use crate::inspect::checks::content::archive::Budget;

/// Signatures of one file that are looked at.
const SIGNATURES: usize = 16;
/// Tokens of one signature dictionary.
const TOKENS: usize = 5000;

/// One signature dictionary.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Signature {
    /// `/SubFilter`: how the signature is coded.
    pub coding: String,
    /// The octets of `/Contents`: DER, with zeros behind it.
    pub contents: Vec<u8>,
    /// What is signed, in two pieces.
    pub covered: [Range<usize>; 2],
    /// Why the dictionary is none that a signing program writes.
    pub fault: Option<&'static str>,
    /// What the file's later revisions changed, from the end of what is signed to the end of the file.
    pub later: Change,
    /// What may be changed without breaking it: what a certification allows (§12.8.2.2), else form filling and notes.
    pub allows: Change,
}

impl Signature {
    /// A time stamp of a whole file (§12.8.5): nobody's consent.
    #[must_use]
    pub fn is_time_stamp(&self) -> bool {
        self.coding == "ETSI.RFC3161"
    }
}

/// The signatures of a PDF, in the order in which they were made. Unsigned files cost one search.
#[must_use]
pub fn of(data: &[u8], budget: &Budget) -> Vec<Signature> {
    let marks: [&[u8]; 3] = [b"ByteRange", b"/Sig", b"adbe.pkcs7"];
    if !marks.iter().any(|mark| memchr::memmem::find(data, mark).is_some()) {
        return Vec::new();
    }
    let (objects, whole) = scan::objects(data);
    let places = objects.iter().map(|o| o.place.clone());
    let mut found: Vec<Signature> = places.filter_map(|place| read(data, place)).take(SIGNATURES).collect();
    if found.is_empty() {
        return found;
    }
    let revisions = Revisions::new(data, &objects, whole, budget);
    for signature in &mut found {
        let end = signature.covered[1].end;
        signature.later = if signature.fault.is_some() { Change::Content } else { revisions.since(end) };
    }
    found.sort_by_key(|s| s.covered[1].end);
    found
}

/// The keys of one dictionary and where their values stand.
#[derive(Default)]
struct Dictionary {
    kind: String,
    coding: String,
    ranges: Vec<Vec<Token>>,
    /// Place of the string, brackets and all, and its octets.
    contents: Vec<(Range<usize>, Option<Vec<u8>>)>,
    level: Option<i64>,
    /// `/Reference` stands there: the dictionary limits what may be changed, wherever its parameters are.
    is_limited: bool,
}

/// The signature dictionary at `place`, if it is one.
fn read(data: &[u8], place: Range<usize>) -> Option<Signature> {
    let whole = data.get(..place.end)?;
    let mut lexer = Lexer::new(whole, place.start);
    let (mut depth, mut key, mut values) = (0_usize, None::<String>, Dictionary::default());
    for _ in 0..TOKENS {
        let before = lexer.at;
        let Some(token) = lexer.next() else { break };
        match &token {
            Token::Open | Token::Start => depth += 1,
            Token::Close | Token::End => depth = depth.saturating_sub(1),
            Token::Word(word) if word.starts_with("endobj") || word.starts_with("stream") => break,
            _ => {}
        }
        // Inside `/Reference` and its parameters: the level of a certification.
        if depth > 1 {
            match (&token, key.as_deref()) {
                (Token::Name(name, _), _) if name == "P" => key = Some("level".to_owned()),
                (Token::Number(level), Some("level")) => values.level = Some(*level),
                (_, Some("ByteRange")) => push(&mut values.ranges, &token),
                _ => {}
            }
            continue;
        }
        match (key.take(), token) {
            (None, Token::Name(name, _)) => {
                if name == "ByteRange" {
                    values.ranges.push(Vec::new());
                }
                values.is_limited |= name == "Reference";
                key = Some(name);
            }
            (Some(key), Token::Name(name, _)) if key == "Type" => values.kind = name,
            (Some(key), Token::Name(name, _)) if key == "SubFilter" => values.coding = name,
            (Some(key), token) if key == "Contents" => {
                let start = before + leading(whole, before);
                let octets = if let Token::String(octets) = token { Some(octets) } else { None };
                values.contents.push((start..lexer.at, octets));
            }
            _ => {}
        }
    }
    values.signature(data)
}

fn push(ranges: &mut [Vec<Token>], token: &Token) {
    if let Some(last) = ranges.last_mut()
        && last.len() < 8
    {
        last.push(token.clone());
    }
}

/// White space before the next token.
fn leading(data: &[u8], at: usize) -> usize {
    let rest = data.get(at..).unwrap_or_default();
    rest.iter().take_while(|b| b.is_ascii_whitespace() || **b == 0).count()
}

impl Dictionary {
    fn signature(self, data: &[u8]) -> Option<Signature> {
        let claims = matches!(self.kind.as_str(), "Sig" | "DocTimeStamp") || !self.ranges.is_empty();
        if !claims || (self.contents.is_empty() && self.ranges.is_empty() && self.coding.is_empty()) {
            return None;
        }
        let allows = match self.level {
            Some(1) => Change::Validation,
            Some(2) => Change::Form,
            // Table 257: without a number it is the second level.
            None if self.is_limited => Change::Form,
            _ => Change::Note,
        };
        let mut signature = Signature { coding: self.coding.clone(), allows, ..Signature::default() };
        match self.covered(data) {
            Ok((covered, contents)) => (signature.covered, signature.contents) = (covered, contents),
            Err(fault) => signature.fault = Some(fault),
        }
        Some(signature)
    }

    /// `[0 a b c]`, where from `a` to `b` stands the string of `/Contents` and nothing else.
    fn covered(self, data: &[u8]) -> Result<([Range<usize>; 2], Vec<u8>), &'static str> {
        let ([ranges], [(place, contents)]) = (self.ranges.as_slice(), self.contents.as_slice()) else {
            return Err("its dictionary lacks the range or the signature, or has them twice");
        };
        let number = |token: &Token| if let Token::Number(n) = token { usize::try_from(*n).ok() } else { None };
        // The bracket that opens the list comes first.
        let numbers: Vec<Option<usize>> = ranges.iter().skip(1).map(number).collect();
        let [Some(first), Some(length), Some(second), Some(rest)] = *numbers.as_slice() else {
            return Err("its range is not four numbers");
        };
        let end = second.checked_add(rest).filter(|end| *end <= data.len());
        let Some(end) = end.filter(|_| first == 0 && length <= second) else {
            return Err("its range does not lie in the file, or not from the beginning");
        };
        let hexadecimal = data.get(place.start) == Some(&b'<');
        if (place.start, place.end) != (length, second) || !hexadecimal {
            return Err("its range leaves out more or less than the signature");
        }
        let Some(contents) = contents else { return Err("its signature is no string") };
        Ok(([0..length, second..end], contents.clone()))
    }
}
