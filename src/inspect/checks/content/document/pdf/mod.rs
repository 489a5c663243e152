//! PDF (ISO 32000-1): what acts, what leads out, what lies inside. Every object that any viewer could use is looked
//! at, in every revision, wherever it stands.

mod actions;
mod crypt;
mod drawing;
mod filters;
mod lex;
mod revision;
mod scan;
mod signature;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use super::bytes::slice;
use super::picture;
use super::report::{Found, Report, Role};
use crate::inspect::checks::content::archive::Budget;
use crate::inspect::checks::content::{Object as Item, kind};
use filters::{Decoded, decode};
use scan::{Object, Value};

pub use revision::Change;
pub use signature::{Signature, of as signatures};

/// Octets of one decoded stream that is a file, and of one that is only looked at.
const FILE: usize = 64 << 20;
const PEEK: usize = 1 << 20;
/// Octets of streams that are only looked at, all together.
const PEEKED: usize = 16 << 20;
/// Text of pages, all together.
const TEXT: usize = 256 << 10;
/// Octets that decoding all streams may make, those of steps between two filters among them.
const DECODED: usize = 256 << 20;
/// Dictionaries of encryption that are tried.
const KEYS: usize = 16;
/// Object streams, and pictures that are looked at.
const STREAMS: usize = 5000;
const PICTURES: usize = 20;
/// Drawings that are searched for codes.
const DRAWINGS: usize = 4;

pub fn is_pdf(object: &Item<'_>) -> bool {
    object.kind == "application/pdf"
        || memchr::memmem::find(slice(&object.data, 0, 1 << 20), b"%PDF-").is_some_and(|at| at > 0)
            && object.kind != "application/x-ole-storage"
}

pub fn open(item: &Item<'_>, budget: &mut Budget, report: &mut Report<'_>) -> Vec<Found> {
    let data: &[u8] = &item.data;
    let (mut objects, whole) = scan::objects(data);
    if objects.is_empty() {
        if data.len() > 64 {
            report.unknown("pdf.malformed", "has no objects");
        }
        return Vec::new();
    }
    if !whole {
        report.say("unpack.limit", "has more objects than are looked at");
    }
    let (encrypted, key) = key(&objects, budget, report);
    let closed = encrypted && key.is_none();
    if closed {
        report.unknown("pdf.encrypted", "is encrypted: its strings and streams were not seen");
    }
    if let Some(key) = &key {
        objects.iter_mut().for_each(|object| open_strings(object, key));
    }
    // Streams lie side by side, so that reading them all reads the file once; they overlap where somebody wants work done.
    let (reading, making) = (data.len().saturating_mul(2), DECODED);
    let mut file = File { data, key, reading, making, peeked: 0, text: String::new(), searched: 0, found: Vec::new() };
    let mut inner: Vec<Object> = Vec::new();
    if !closed {
        for object in objects.iter().filter(|o| o.is("Type", "ObjStm")).take(STREAMS) {
            inner.extend(file.object_stream(object, budget, report));
            if inner.len() > scan::OBJECTS {
                report.say("unpack.limit", "has more objects than are looked at");
                break;
            }
        }
    }
    let outer = objects.len();
    objects.append(&mut inner);
    scan::resolve(&mut objects);
    let all: Vec<&Object> = objects.iter().collect();
    let roles = actions::judge(&all, report);
    if !closed {
        file.streams(objects.get(..outer).unwrap_or_default(), &roles, budget, report);
    }
    file.finish(budget, report)
}

/// Whether the file is encrypted, and the key when no password is needed, or the message names it (§7.6.1).
fn key(objects: &[Object], budget: &Budget, report: &mut Report<'_>) -> (bool, Option<crypt::Key>) {
    let mut encrypted = false;
    for (object, value) in objects.iter().filter_map(|o| Some((o, o.get("Encrypt")?))).take(KEYS) {
        encrypted = true;
        let dictionary = match value {
            Value::Reference(number) => objects.iter().rev().find(|o| o.number == *number),
            _ => Some(object),
        };
        let id = match object.get("ID") {
            Some(Value::List(list)) => {
                list.iter().find_map(|v| if let Value::String(id) = v { Some(id.clone()) } else { None })
            }
            _ => None,
        };
        let (Some(dictionary), id) = (dictionary, id.unwrap_or_default()) else { continue };
        if let Some(key) = crypt::Key::open(dictionary, &id, "") {
            return (true, Some(key));
        }
        let mut words = budget.passwords().take_while(|_| budget.may_guess());
        if let Some(key) = words.find_map(|word| crypt::Key::open(dictionary, &id, word)) {
            report.say("archive.password_in_text", "the PDF opens with a word of the message");
            return (true, Some(key));
        }
    }
    (encrypted, None)
}

/// Strings of an object, in place; those of the encryption dictionary itself are in clear.
fn open_strings(object: &mut Object, key: &crypt::Key) {
    if object.is("Filter", "Standard") || object.number == 0 {
        return;
    }
    let shell = Object { number: object.number, generation: object.generation, ..Object::default() };
    let open = |value: &mut Value| {
        if let Value::String(text) = value {
            *text = key.decrypt(&shell, text);
        }
    };
    for (_, value) in &mut object.pairs {
        match value {
            Value::List(list) => list.iter_mut().for_each(open),
            other => open(other),
        }
    }
    object.lone.iter_mut().for_each(|text| *text = key.decrypt(&shell, text));
}

/// What an object is for, by who refers to it.
#[derive(Default)]
struct Roles {
    /// JavaScript in streams.
    scripts: BTreeSet<u32>,
    /// Embedded files and their names.
    files: BTreeMap<u32, String>,
    /// Forms in XML.
    forms: BTreeSet<u32>,
    /// JavaScript in strings.
    sources: Vec<String>,
}

struct File<'d> {
    data: &'d [u8],
    key: Option<crypt::Key>,
    /// Octets of streams that may still be read, and made by decoding them.
    reading: usize,
    making: usize,
    peeked: usize,
    text: String,
    /// Drawings that were searched for codes.
    searched: usize,
    found: Vec<Found>,
}

impl File<'_> {
    /// A stream in clear, of which `input` octets are read and at most `most` made at each step; nothing when the work for
    /// this file is spent.
    fn decoded(
        &mut self,
        object: &Object,
        input: usize,
        most: usize,
        budget: &Budget,
        report: &mut Report<'_>,
    ) -> Decoded {
        let data = object.stream.clone().and_then(|range| self.data.get(range)).unwrap_or_default();
        let data = slice(data, 0, input);
        let reading = self.reading.checked_sub(data.len());
        let (Some(reading), false) = (reading, self.making == 0 || budget.is_late()) else {
            report.say("unpack.limit", "its streams cost more work than they may");
            return Decoded::default();
        };
        let raw = match &self.key {
            Some(key) if !object.is("Type", "XRef") => Cow::Owned(key.decrypt(object, data)),
            _ => Cow::Borrowed(data),
        };
        let decoded = decode(&raw, &object.coding(), most, budget);
        (self.reading, self.making) = (reading, self.making.saturating_sub(decoded.made));
        decoded
    }

    /// The objects in an object stream (§7.5.7): pairs of number and place, then the objects.
    fn object_stream(&mut self, object: &Object, budget: &mut Budget, report: &mut Report<'_>) -> Vec<Object> {
        let decoded = self.decoded(object, usize::MAX, FILE, budget, report);
        if decoded.bomb {
            report.say("archive.bomb", "an object stream unpacks to far more than it holds");
        }
        if decoded.cut || !budget.take(decoded.data.len()) {
            report.say("unpack.limit", "the budget of unpacked octets or files is spent");
            return Vec::new();
        }
        let data = decoded.data;
        let mut out = Vec::new();
        for (number, place) in places(&data, object.number_of("First").unwrap_or(0)) {
            let mut inside = scan::read(slice(&data, 0, place.end), place.start);
            inside.number = number;
            inside.stream = None;
            out.push(inside);
        }
        if out.is_empty() && !data.is_empty() {
            out.push(scan::read(&data, 0));
        }
        self.found.push(Found::text("objects", data));
        out
    }

    fn streams(&mut self, objects: &[Object], roles: &Roles, budget: &mut Budget, report: &mut Report<'_>) {
        let mut pictures = 0;
        for object in objects.iter().filter(|o| o.stream.is_some() && !o.is("Type", "ObjStm") && !o.is("Type", "XRef"))
        {
            let name = roles.files.get(&object.number);
            if name.is_some() || object.is("Type", "EmbeddedFile") {
                self.embedded(object, name.map_or("embedded", String::as_str), budget, report);
            } else if roles.scripts.contains(&object.number) || roles.forms.contains(&object.number) {
                let script = roles.scripts.contains(&object.number);
                self.source(object, script, budget, report);
            } else if object.is("Subtype", "Image") {
                if pictures < PICTURES {
                    pictures += usize::from(self.picture(object, budget, report));
                }
            } else if self.peeked < PEEKED {
                self.peek(object, budget, report);
            }
        }
    }

    fn embedded(&mut self, object: &Object, name: &str, budget: &mut Budget, report: &mut Report<'_>) {
        let decoded = self.decoded(object, usize::MAX, FILE, budget, report);
        if decoded.bomb {
            report.say("archive.bomb", format!("{name} unpacks to far more than it holds"));
        }
        if let Some(filter) = &decoded.left {
            report.unknown("pdf.malformed", format!("{name} is coded with {filter}"));
        }
        let fits = budget.take(decoded.data.len());
        if decoded.cut || !fits {
            report.say("unpack.limit", "the budget of unpacked octets or files is spent");
        }
        if fits {
            self.found.push(Found::member(name, decoded.data));
        }
    }

    fn source(&mut self, object: &Object, script: bool, budget: &mut Budget, report: &mut Report<'_>) {
        let decoded = self.decoded(object, usize::MAX, FILE, budget, report);
        let text = lex::text(&decoded.data);
        if script {
            actions::script(&text, report);
        } else {
            actions::form(&text, report);
        }
        report.links_in(&text);
        if budget.take(text.len()) {
            self.found.push(Found::text(if script { "script" } else { "form" }, text));
        }
    }

    /// A picture for the reader of QR codes: a JPEG as it is, plain samples as a portable map (Netpbm).
    fn picture(&mut self, object: &Object, budget: &mut Budget, report: &mut Report<'_>) -> bool {
        let decoded = self.decoded(object, usize::MAX, PEEK * 8, budget, report);
        let data = match decoded.left.as_deref() {
            Some("DCTDecode" | "DCT") => decoded.data,
            None => match bitmap(object, &decoded.data) {
                Some(map) => map,
                None => return false,
            },
            Some(_) => return false,
        };
        let enough = data.len() > 200 && budget.take(data.len());
        if enough {
            self.found.push(Found { name: format!("picture {}", object.number), data, role: Role::Stream });
        }
        enough
    }

    /// Content of pages, fonts and whatever nobody named: its text, and files that hide there.
    fn peek(&mut self, object: &Object, budget: &mut Budget, report: &mut Report<'_>) {
        let decoded = self.decoded(object, PEEK, PEEK, budget, report);
        self.peeked += decoded.data.len();
        let data = decoded.data;
        let kind = kind::of(&data);
        let file = !matches!(kind, "application/octet-stream" | "text/plain" | "text/xml")
            && !kind.starts_with("font/")
            && !kind.contains("font");
        if file && !kind.starts_with("image/") && !object.is("Type", "Metadata") && budget.take(data.len()) {
            self.found.push(Found::stream(format!("stream {}", object.number), data));
            return;
        }
        if object.is("Type", "Metadata") || object.get("Length1").is_some() {
            return;
        }
        if memchr::memmem::find(&data, b" obj").is_some() && memchr::memmem::find(&data, b"/S").is_some() {
            // Objects inside a stream: some viewers find them when tables are missing.
            let (inside, _) = scan::objects(&data);
            actions::judge(&inside.iter().collect::<Vec<_>>(), report);
        }
        if memchr::memmem::find(&data, b" re").is_some() || memchr::memmem::find(&data, b" l").is_some() {
            self.drawn(&data, budget, report);
        }
        if self.text.len() < TEXT {
            page_text(&data, &mut self.text);
        }
    }

    /// Codes that the content draws by filling squares.
    fn drawn(&mut self, content: &[u8], budget: &mut Budget, report: &mut Report<'_>) {
        let mut shapes = Vec::new();
        drawing::shapes(content, &mut shapes);
        if self.searched < DRAWINGS && drawing::is_mosaic(&shapes) {
            self.searched += 1;
            picture::search(&shapes, budget, report);
        }
    }

    fn finish(mut self, budget: &mut Budget, report: &mut Report<'_>) -> Vec<Found> {
        report.links_in(&self.text);
        if !self.text.is_empty() && budget.take(self.text.len()) {
            let text = std::mem::take(&mut self.text);
            self.found.push(Found::text("text", text));
        }
        self.found
    }
}

/// Numbers and places of the objects in a decoded object stream, of which the first lies at `first` (§7.5.7).
fn places(data: &[u8], first: usize) -> Vec<(u32, std::ops::Range<usize>)> {
    let first = first.min(data.len());
    let numbers: Vec<usize> = String::from_utf8_lossy(slice(data, 0, first))
        .split_whitespace()
        .map_while(|w| w.parse().ok())
        .take(20_000)
        .collect();
    let mut places: Vec<(usize, u32)> = numbers
        .chunks_exact(2)
        .filter_map(|pair| Some((first.checked_add(*pair.get(1)?)?, u32::try_from(*pair.first()?).ok()?)))
        .collect();
    places.sort_unstable();
    let ends: Vec<usize> = places.iter().skip(1).map(|p| p.0).chain([data.len()]).collect();
    places.into_iter().zip(ends).map(|((start, number), end)| (number, start..end)).collect()
}

/// Strings that content shows (§9.4.3), where fonts use common codes; a new line for each move.
fn page_text(data: &[u8], out: &mut String) {
    if memchr::memmem::find(data, b"BT").is_none() {
        return;
    }
    for token in lex::Lexer::new(data, 0).take(100_000) {
        match token {
            lex::Token::String(text) if text.iter().all(|b| !b.is_ascii_control()) => out.push_str(&lex::text(&text)),
            lex::Token::Word(word) if matches!(word.as_str(), "Td" | "TD" | "T*" | "Tm" | "ET" | "'") => out.push('\n'),
            _ => {}
        }
        if out.len() > TEXT {
            break;
        }
    }
}

/// Samples of one or eight bits, grey or in colour, as a portable map.
fn bitmap(object: &Object, data: &[u8]) -> Option<Vec<u8>> {
    let (width, height) = (object.number_of("Width")?, object.number_of("Height")?);
    if !(20..=5000).contains(&width) || !(20..=5000).contains(&height) {
        return None;
    }
    let area = width.checked_mul(height)?;
    let one_bit = object.number_of("BitsPerComponent") == Some(1) || object.pairs.iter().any(|(k, _)| k == "ImageMask");
    let grey: Vec<u8> = if one_bit {
        let row = width.div_ceil(8);
        let bit = |x: usize, y: usize| data.get(y * row + x / 8).map_or(0, |b| b >> (7 - x % 8) & 1);
        (0..height).flat_map(|y| (0..width).map(move |x| bit(x, y) * 255)).collect()
    } else if data.len() >= area.checked_mul(3)? {
        data.chunks_exact(3).take(area).map(|p| p.get(1).copied().unwrap_or(0)).collect()
    } else if data.len() >= area {
        slice(data, 0, area).to_vec()
    } else {
        return None;
    };
    let mut map = format!("P5\n{width} {height}\n255\n").into_bytes();
    map.extend_from_slice(&grey);
    Some(map)
}

/// Number of the object a value points to.
const fn target(value: &Value) -> Option<u32> {
    match value {
        Value::Reference(number) => Some(*number),
        _ => None,
    }
}
