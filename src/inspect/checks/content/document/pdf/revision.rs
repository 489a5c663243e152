//! What later revisions of a PDF change of what was signed before (ISO 32000-2 §7.5.6, §12.8.2.2). Objects that are
//! defined again are compared key by key with what they were; what is new can only be reached through those.

use std::collections::{BTreeMap, BTreeSet};

use super::super::bytes::slice;
use super::filters::decode;
use super::lex::{Lexer, Token};
use super::places;
use super::scan::Object;
use crate::inspect::checks::content::archive::Budget;

/// Tokens of one object, and of all objects of one file.
const TOKENS: usize = 100_000;
const ALL: usize = 1_000_000;
/// Octets of one object stream, and of all of them together.
const STREAM: usize = 8 << 20;
const STREAMS: usize = 32 << 20;

/// How far a change goes; each allows what stands before it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub enum Change {
    #[default]
    None,
    /// What proves a signature later: certificates, revocation lists (§12.8.4.3), properties of the file.
    Validation,
    /// Fields filled in, signatures added.
    Form,
    /// Notes and other annotations.
    Note,
    /// Anything else: pages, what stands on them, what the file does.
    Content,
}

/// An object, its tokens by keys where it is a dictionary.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Shape {
    keys: BTreeMap<String, Vec<Token>>,
    /// Of what is no dictionary.
    others: Vec<Token>,
    has_stream: bool,
}

struct Version {
    number: u32,
    /// Where it stands in the file, or where the object stream does that holds it.
    at: usize,
    shape: Shape,
}

pub struct Revisions<'d> {
    data: &'d [u8],
    versions: Vec<Version>,
    /// Objects that are too many or cannot be read: nothing is known then.
    is_closed: bool,
}

impl<'d> Revisions<'d> {
    pub fn new(data: &'d [u8], objects: &[Object], budget: &Budget) -> Self {
        let mut all = Self { data, versions: Vec::new(), is_closed: false };
        let (mut left, encrypted) = (ALL, objects.iter().any(|o| o.get("Encrypt").is_some()));
        // Streams lie side by side; they overlap where somebody wants work done.
        let (mut reading, mut making) = (data.len().saturating_mul(2), STREAMS);
        for object in objects {
            let at = object.place.start;
            if object.is("Type", "ObjStm") {
                let raw = object.stream.clone().and_then(|range| data.get(range)).unwrap_or_default();
                let Some(rest) = reading.checked_sub(raw.len()).filter(|_| making > 0 && !encrypted) else {
                    all.is_closed = true;
                    break;
                };
                let inner = decode(raw, &object.coding(), STREAM, budget);
                (reading, making) = (rest, making.saturating_sub(inner.data.len()));
                all.is_closed |= inner.bomb || inner.left.is_some();
                for (number, place) in places(&inner.data, object.number_of("First").unwrap_or(0)) {
                    let shape = Shape::read(slice(&inner.data, 0, place.end), place.start, &mut left);
                    all.versions.push(Version { number, at, shape });
                }
                continue;
            }
            let shape = Shape::read(slice(data, 0, object.place.end), at, &mut left);
            all.versions.push(Version { number: object.number, at, shape });
        }
        all.is_closed |= left == 0;
        all
    }

    /// What stands behind `end` does to what stands before it.
    pub fn since(&self, end: usize) -> Change {
        let behind = self.data.get(end..).unwrap_or_default();
        if behind.iter().all(|b| b.is_ascii_whitespace() || *b == 0) {
            return Change::None;
        }
        if self.is_closed {
            return Change::Content;
        }
        // The last of each number counts.
        let before = self.versions.iter().filter(|v| v.at < end);
        let known: BTreeMap<u32, &Version> = before.map(|v| (v.number, v)).collect();
        let added: Vec<&Version> = self.versions.iter().filter(|v| v.at >= end && v.number > 0).collect();
        if added.is_empty() {
            // Octets that are no objects, or a table that points elsewhere.
            return Change::Content;
        }
        let missing = self.missing(end);
        let change = |version: &&Version| match known.get(&version.number) {
            Some(old) => old.shape.becomes(&version.shape),
            None if missing.contains(&version.number) => Change::Content,
            None => version.shape.as_new(),
        };
        // Another catalogue (§7.5.5) is another document.
        let root = |v: &&Version| v.shape.keys.contains_key("Root");
        let of = |v: &&Version| v.shape.keys.get("Root").cloned();
        let before = self.versions.iter().filter(root).rfind(|v| v.at < end).as_ref().and_then(of);
        let moved = self.versions.iter().filter(root).any(|v| v.at >= end && of(&v) != before);
        if moved { Change::Content } else { added.iter().map(change).max().unwrap_or_default() }
    }

    /// Objects that are referred to before `end` and defined nowhere before it: whoever defines them later fills a gap
    /// that was left on purpose.
    fn missing(&self, end: usize) -> BTreeSet<u32> {
        let before = || self.versions.iter().filter(|v| v.at < end);
        let known: BTreeSet<u32> = before().map(|v| v.number).collect();
        let lists = before().flat_map(|v| v.shape.keys.values().chain([&v.shape.others]));
        let references = lists.flat_map(|tokens| tokens.windows(3)).filter_map(|three| match three {
            [Token::Number(number), Token::Number(_), Token::Word(word)] if word.eq_ignore_ascii_case("r") => {
                u32::try_from(*number).ok()
            }
            _ => None,
        });
        references.filter(|number| !known.contains(number)).collect()
    }
}

impl Shape {
    fn read(data: &[u8], at: usize, left: &mut usize) -> Self {
        let (mut shape, mut depth, mut key) = (Self::default(), 0_usize, None::<String>);
        let mut opened = false;
        for token in Lexer::new(data, at).take(TOKENS.min(*left)) {
            *left = left.saturating_sub(1);
            let (deeper, less) =
                (matches!(token, Token::Open | Token::Start), matches!(token, Token::Close | Token::End));
            match &token {
                Token::Word(word) if word.starts_with("endobj") => break,
                Token::Word(word) if depth == 0 && word.starts_with("stream") => {
                    shape.has_stream = true;
                    break;
                }
                Token::Open if depth == 0 && !opened => {
                    (opened, depth) = (true, 1);
                    continue;
                }
                Token::Name(name, _) if opened && depth == 1 && !key.as_ref().is_some_and(|k| shape.is_bare(k)) => {
                    key = Some(name.clone());
                    shape.keys.entry(name.clone()).or_default();
                    continue;
                }
                _ => {}
            }
            depth = if less { depth.saturating_sub(1) } else { depth + usize::from(deeper) };
            if opened && depth == 0 {
                key = None;
                continue;
            }
            match key.as_ref().and_then(|k| shape.keys.get_mut(k)) {
                Some(value) => value.push(token),
                None => shape.others.push(token),
            }
        }
        shape
    }

    /// A key that has no value yet: a name behind it is its value.
    fn is_bare(&self, key: &str) -> bool {
        self.keys.get(key).is_some_and(Vec::is_empty)
    }

    fn name(&self, key: &str) -> &str {
        match self.keys.get(key).map(Vec::as_slice) {
            Some([Token::Name(name, _)]) => name,
            _ => "",
        }
    }

    /// Keys that differ.
    fn differences<'s>(&'s self, other: &'s Self) -> impl Iterator<Item = &'s str> {
        let keys: BTreeSet<&str> = self.keys.keys().chain(other.keys.keys()).map(String::as_str).collect();
        keys.into_iter().filter(|key| self.keys.get(*key) != other.keys.get(*key))
    }

    /// What it means that `self` is defined again as `new`.
    fn becomes(&self, new: &Self) -> Change {
        if self == new && !new.has_stream {
            return Change::None;
        }
        let (old_kind, kind) = (self.name("Type"), new.name("Type"));
        if matches!(kind, "XRef" | "ObjStm") && matches!(old_kind, "XRef" | "ObjStm") {
            return Change::None;
        }
        if kind == "Metadata" && old_kind == "Metadata" {
            return Change::Validation;
        }
        if new.has_stream || self.has_stream {
            return Change::Content;
        }
        // A list that only grew: annotations of a page, fields of a form, parts of its structure.
        if self.keys.is_empty() && new.keys.is_empty() {
            let old: &[Token] = self.others.strip_suffix(&[Token::End]).unwrap_or(&self.others);
            let grew = self.others.first() == Some(&Token::Start) && new.others.starts_with(old);
            return if grew { Change::Form } else { Change::Content };
        }
        let allowed: &[(&str, Change)] = match (old_kind, kind) {
            ("Catalog", "Catalog") => &[
                ("DSS", Change::Validation),
                ("Extensions", Change::Validation),
                ("Metadata", Change::Validation),
                ("Version", Change::Validation),
                ("AcroForm", Change::Form),
                ("Perms", Change::Form),
            ],
            ("Page", "Page") => &[("Annots", Change::Form), ("Tabs", Change::Form)],
            ("StructTreeRoot", "StructTreeRoot") | ("StructElem", "StructElem") => {
                &[("K", Change::Form), ("ParentTree", Change::Form), ("ParentTreeNextKey", Change::Form)]
            }
            _ if self.is_field() && new.is_field() => return Change::Form,
            _ if self.is_properties() && new.is_properties() => return Change::Validation,
            _ if self.is_validation() && new.is_validation() => return Change::Validation,
            _ => &[],
        };
        let rank = |key: &str| allowed.iter().find(|(k, _)| *k == key).map_or(Change::Content, |(_, change)| *change);
        self.differences(new).map(rank).max().unwrap_or(Change::None)
    }

    /// What it means that an object of a new number is added.
    fn as_new(&self) -> Change {
        let subtype = self.name("Subtype");
        let annotation = self.keys.contains_key("Rect") && self.keys.contains_key("Subtype");
        if (annotation || self.name("Type") == "Annot") && subtype != "Widget" {
            return Change::Note;
        }
        if self.is_field() || annotation || self.name("Type") == "Sig" { Change::Form } else { Change::Validation }
    }

    /// A field of a form, its widget, or the form itself (§12.7).
    fn is_field(&self) -> bool {
        let has = |key: &str| self.keys.contains_key(key);
        has("FT") || has("Fields") || self.name("Subtype") == "Widget"
    }

    /// The file's properties (§14.3.3).
    fn is_properties(&self) -> bool {
        const KEYS: [&str; 9] =
            ["Author", "CreationDate", "Creator", "Keywords", "ModDate", "Producer", "Subject", "Title", "Trapped"];
        !self.keys.is_empty() && self.keys.keys().all(|key| KEYS.contains(&key.as_str()))
    }

    /// The store of what proves signatures later (§12.8.4.3).
    fn is_validation(&self) -> bool {
        const KEYS: [&str; 9] = ["Type", "VRI", "Certs", "CRLs", "OCSPs", "Cert", "CRL", "OCSP", "TU"];
        !self.keys.is_empty() && self.keys.keys().all(|key| KEYS.contains(&key.as_str()) || key.len() == 40)
    }
}
