//! The walk over the tree: a stack of entities still to be read, the main reading first.
//! Bounds: depth, number of parts, number and size of alternatives. Each octet is looked at a fixed number of times a
//! level, and levels are limited, so the time is linear in the size of the message.

mod readings;

use std::borrow::Cow;

use super::entity::{self, distinct};
use super::split::{self, Cut, Looks};
use super::value::{self, Value};
use super::{Alternative, Limits, Oddity, Part, Tree, Why, words};
use crate::mail::header::{Field, Headers, unfold};

/// At most this many other readings are kept a message.
const ALTERNATIVES: usize = 256;
/// Octets of all other readings together: an inspector has room for a message, its parts and these.
const SPARE: usize = 96 << 20;
/// Passes over the whole message that other readings may cost together.
const REACH: usize = 24;
/// A Content field is read to this length; no honest one comes near.
const FIELD: usize = 64 << 10;
/// At most this many oddities are kept; a hostile message repeats itself.
const ODDITIES: usize = 100;

pub(super) struct Walk<'a> {
    limits: Limits,
    tree: Tree<'a>,
    stack: Vec<Item<'a>>,
    /// Octets that alternatives may still take.
    spare: usize,
    /// Alternative entities that may still be put on the stack.
    detours: usize,
    looks: Looks,
    /// Octets that other readings may still be looked for in: each costs a pass over them.
    reach: usize,
    /// The entity at hand is another reading: that there is one was told where it was found.
    quiet: bool,
}

/// An entity to be read: header section and body in one slice.
#[derive(Clone)]
struct Item<'a> {
    octets: &'a [u8],
    /// Where the octets begin in the message; meaningless off the main reading.
    at: usize,
    /// The header ends here and the body begins there, whatever the octets say.
    cut_at: Option<(usize, usize)>,
    parent: Option<usize>,
    depth: usize,
    path: String,
    /// The whole of a message: a multipart here has no number of its own.
    is_message: bool,
    default_type: &'static str,
    /// Not the main reading; and why.
    detour: Option<&'static str>,
}

/// The value on one line, as far as it is read.
fn field_text(field: &Field<'_>) -> String {
    unfold(field.value.get(..FIELD).unwrap_or(field.value)).into_owned()
}

fn is_content_field(field: &Field<'_>) -> bool {
    field.name.get(..8).is_some_and(|n| n.eq_ignore_ascii_case(b"content-"))
}

/// What the Content-* fields of an entity say.
struct Content {
    kind: Value,
    disposition: String,
    names: Vec<String>,
    /// All encodings that some client takes, the main one first.
    encodings: Vec<String>,
    boundaries: Vec<String>,
}

impl<'a> Walk<'a> {
    pub fn new(raw: &'a [u8], limits: Limits) -> Self {
        let root = Item {
            octets: raw,
            at: 0,
            cut_at: None,
            parent: None,
            depth: 0,
            path: String::new(),
            is_message: true,
            default_type: "text/plain",
            detour: None,
        };
        Self {
            limits,
            tree: Tree::default(),
            stack: vec![root],
            spare: raw.len().saturating_mul(4).saturating_add(65_536).min(SPARE),
            detours: ALTERNATIVES,
            looks: Looks::default(),
            reach: raw.len().saturating_mul(REACH).saturating_add(65_536),
            quiet: false,
        }
    }

    pub fn run(mut self) -> Tree<'a> {
        while let Some(item) = self.stack.pop() {
            if item.detour.is_none() && self.tree.parts.len() >= self.limits.parts.max(1) {
                self.odd("mime.limit", &item.path, format!("more than {} parts", self.limits.parts));
                continue;
            }
            self.entity(item);
        }
        self.tree
    }

    /// Whether another pass over so many octets may be made.
    fn reaches(&mut self, length: usize, path: &str) -> bool {
        match self.reach.checked_sub(length) {
            Some(left) => {
                self.reach = left;
                self.tree.work = self.tree.work.saturating_add(length);
                true
            }
            None => {
                self.odd("mime.limit", path, "too many readings");
                false
            }
        }
    }

    fn odd(&mut self, code: &'static str, path: &str, detail: impl Into<String>) {
        self.note(Oddity { code, path: path.to_owned(), why: None, detail: detail.into() });
    }

    /// Clients differ here.
    fn unclear(&mut self, why: Why, path: &str, detail: &str) {
        if self.quiet {
            return;
        }
        let detail = format!("{}: {detail}", why.word());
        self.note(Oddity { code: "mime.ambiguous", path: path.to_owned(), why: Some(why), detail });
    }

    fn note(&mut self, oddity: Oddity) {
        if self.tree.oddities.len() < ODDITIES && !self.tree.oddities.contains(&oddity) {
            self.tree.oddities.push(oddity);
        }
    }

    fn entity(&mut self, item: Item<'a>) {
        let (head, body) = match item.cut_at {
            Some((head, body)) => (item.octets.get(..head), item.octets.get(body..)),
            None => (Some(item.octets), None),
        };
        let head = head.unwrap_or_default();
        self.quiet = item.detour.is_some();
        self.tree.work = self.tree.work.saturating_add(item.octets.len());
        if item.parent.is_none() && item.depth == 0 && item.detour.is_none() {
            self.line_end_reading(item.octets);
        }
        let headers = Headers::parse_limited(head, self.limits.header_fields);
        let body = body.unwrap_or_else(|| headers.body());
        if headers.fields().iter().any(|f| f.value.len() > FIELD && is_content_field(f)) {
            self.odd("mime.limit", &item.path, "a Content field is too long");
        }
        if headers.fields().len() >= self.limits.header_fields {
            self.odd("mime.limit", &item.path, "too many header fields");
        }
        let content = self.content(&headers, &item);
        self.header_readings(&headers, &item);
        let composite = content.kind.main.starts_with("multipart/");
        let path = match (item.is_message, composite, item.path.is_empty()) {
            (true, true, true) => "0".to_owned(),
            (true, true, false) => format!("{}.0", item.path),
            (true, false, true) => "1".to_owned(),
            (true, false, false) => format!("{}.1", item.path),
            (false, ..) => item.path.clone(),
        };
        let part = Part {
            path,
            parent: item.parent,
            depth: item.depth,
            headers,
            name: content.names.first().cloned().unwrap_or_default(),
            names: content.names,
            disposition: content.disposition,
            encoding: content.encodings.first().cloned().unwrap_or_default(),
            content_type: content.kind.main,
            params: content.kind.params,
            span: item.at..item.at.saturating_add(item.octets.len()),
            body,
            decoded: Cow::Borrowed(&[]),
        };
        if composite {
            self.multipart(part, &item, &content.boundaries);
        } else if part.is_message() {
            self.message(part, &item);
        } else {
            self.leaf(part, &item, &content.encodings);
        }
    }

    /// Keeps the part; for a detour only its body, as an alternative.
    fn keep(&mut self, part: Part<'a>, item: &Item<'a>) -> Option<usize> {
        match item.detour {
            None => {
                self.tree.parts.push(part);
                Some(self.tree.parts.len() - 1)
            }
            Some(why) => {
                self.alternative(&part.path, &part.name, why, part.decoded, false);
                item.parent
            }
        }
    }

    /// Keeps another reading; false when there is no room for more.
    fn alternative(&mut self, path: &str, name: &str, why: &'static str, decoded: Cow<'a, [u8]>, entity: bool) -> bool {
        if decoded.is_empty() {
            return true;
        }
        // A borrowed alternative costs no memory, but its scan costs time.
        match self.spare.checked_sub(decoded.len()) {
            Some(left) if self.tree.alternatives.len() < ALTERNATIVES => {
                self.spare = left;
                let (path, name) = (path.to_owned(), name.to_owned());
                self.tree.alternatives.push(Alternative { path, name, why, decoded, entity });
                true
            }
            _ => {
                self.odd("mime.limit", path, "too many readings");
                false
            }
        }
    }

    fn content(&mut self, headers: &Headers<'a>, item: &Item<'a>) -> Content {
        let mut texts: Vec<String> = headers.all("content-type").map(|f| field_text(f)).collect();
        if distinct(&texts) > 1 {
            self.unclear(Why::ContentTypeTwice, &item.path, "several Content-Type fields");
        }
        if headers
            .fields()
            .iter()
            .any(|f| f.malformed && f.name.len() > 8 && f.name.to_ascii_lowercase().starts_with(b"content-"))
        {
            self.unclear(Why::FieldName, &item.path, "white space before the colon of a Content field");
        }
        let mut kind = texts.first().map(|t| Value::read(t)).unwrap_or_default();
        if kind.over {
            self.odd("mime.limit", &item.path, "too many parameters");
        }
        let mut boundaries = Vec::new();
        if texts.len() > 1 || kind.noisy || !kind.conflicting.is_empty() || kind.main.starts_with("multipart/") {
            texts.truncate(8);
            for text in &texts {
                for candidate in value::candidates(text, "boundary") {
                    if !boundaries.contains(&candidate) && boundaries.len() < 8 {
                        boundaries.push(candidate);
                    }
                }
            }
        }
        self.check_type(&mut kind, item, boundaries.len());
        let (disposition, names) = self.names(headers, &kind, item);
        Content { encodings: self.encodings(headers, item), kind, disposition, names, boundaries }
    }

    /// Brings the type into one form; a type that cannot be read becomes the default (RFC 2045 §5.2).
    fn check_type(&mut self, kind: &mut Value, item: &Item<'a>, boundaries: usize) {
        let absent = kind.main.is_empty();
        let plain: String = kind.main.chars().filter(|c| !c.is_whitespace() && *c != '"').collect();
        let (major, minor) = plain.split_once('/').unwrap_or((&plain, ""));
        let good =
            |t: &str| !t.is_empty() && t.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$&-^_.+*'%".contains(&b));
        if good(major) && good(minor) {
            if plain != kind.main {
                self.unclear(Why::ContentTypeBroken, &item.path, "white space inside the media type");
            }
            kind.main = plain;
        } else if major == "multipart" || (boundaries > 0 && !absent) {
            self.unclear(Why::ContentTypeBroken, &item.path, &format!("media type {:?}", entity::cut_text(&kind.main)));
            "multipart/mixed".clone_into(&mut kind.main);
        } else {
            if !absent && kind.main != "text" {
                self.odd("mime.malformed", &item.path, format!("media type {:?}", entity::cut_text(&kind.main)));
            }
            item.default_type.clone_into(&mut kind.main);
        }
        if kind.main.starts_with("multipart/") && (kind.noisy || kind.conflicting.iter().any(|n| n == "boundary")) {
            self.unclear(Why::BoundaryUnclear, &item.path, "the boundary can be read in several ways");
        }
    }

    fn names(&mut self, headers: &Headers<'a>, kind: &Value, item: &Item<'a>) -> (String, Vec<String>) {
        let texts: Vec<String> = headers.all("content-disposition").take(8).map(|f| field_text(f)).collect();
        if distinct(&texts) > 1 {
            self.unclear(Why::DispositionTwice, &item.path, "several Content-Disposition fields");
        }
        let (mut names, mut disposition): (Vec<String>, String) = (Vec::new(), String::new());
        let mut add = |name: &str| {
            if !name.trim().is_empty() && names.len() < 16 && !names.iter().any(|n| n == name) {
                names.push(name.to_owned());
            }
        };
        for (number, text) in texts.iter().enumerate() {
            let value = Value::read(text);
            if number == 0 {
                disposition.clone_from(&value.main);
            }
            // RFC 6266 §4.3 and practice: the extended form is later in `params` and wins.
            value.params.iter().rev().filter(|(n, _)| n == "filename" || n == "name").for_each(|(_, v)| add(v));
            if value.noisy || value.over || !value.conflicting.is_empty() {
                value::candidates(text, "filename").iter().for_each(|n| add(&words::decode(n)));
            }
        }
        kind.params.iter().rev().filter(|(n, _)| n == "name" || n == "filename").for_each(|(_, v)| add(v));
        if kind.noisy || !kind.conflicting.is_empty() {
            for field in headers.all("content-type").take(4) {
                value::candidates(&field_text(field), "name").iter().for_each(|n| add(&words::decode(n)));
            }
        }
        (disposition, names)
    }

    fn encodings(&mut self, headers: &Headers<'a>, item: &Item<'a>) -> Vec<String> {
        let mut found: Vec<String> = Vec::new();
        for field in headers.all("content-transfer-encoding").take(8) {
            let text = field_text(field);
            let value = Value::read(&text);
            let plain = value.main.trim_matches('"').trim().to_owned();
            let known = entity::known_encoding(&plain);
            if known.is_none() && !plain.is_empty() {
                self.odd("mime.unknown-encoding", &item.path, format!("encoding {:?}", entity::cut_text(&plain)));
            } else if known.is_some() && !text.trim().eq_ignore_ascii_case(&plain) && !value.noisy {
                self.unclear(Why::EncodingBroken, &item.path, "noise around the encoding name");
            }
            let loose = entity::loose_encodings(&text);
            let taken: Vec<String> = match known {
                Some(name) => vec![name.to_owned()],
                None if loose.is_empty() => vec![plain],
                None => loose.into_iter().map(str::to_owned).collect(),
            };
            for encoding in taken {
                if !found.contains(&encoding) {
                    found.push(encoding);
                }
            }
        }
        if found.len() > 1 {
            self.unclear(Why::EncodingTwice, &item.path, "several Content-Transfer-Encoding fields");
        }
        found
    }

    fn multipart(&mut self, mut part: Part<'a>, item: &Item<'a>, boundaries: &[String]) {
        let (path, body) = (part.path.clone(), part.body);
        let coded = matches!(&*part.encoding, "base64" | "quoted-printable" | "x-uuencode");
        if coded {
            self.unclear(Why::EncodedMultipart, &path, "a multipart with a transfer encoding (RFC 2045 §6.4)");
            let decoded = entity::decode(&part.encoding, body);
            let entity = entity::rewrap(&part, &decoded);
            self.alternative(&path, "", "encoded multipart", Cow::Owned(entity), true);
            // Without parts in it, clients show it as a file.
            self.alternative(&path, &part.name, "encoded multipart as a file", decoded, false);
        }
        let deep = item.depth >= self.limits.depth;
        let room = self.limits.parts;
        let mut cuts: Vec<Cut> = Vec::new();
        for (number, boundary) in boundaries.iter().enumerate().filter(|_| !deep) {
            if number > 0 && !self.reaches(body.len(), &path) {
                break;
            }
            let cut = split::cut(body, boundary.as_bytes(), room, &mut self.looks);
            if !cut.parts.is_empty() && !cuts.contains(&cut) {
                cuts.push(cut);
            }
        }
        if deep {
            self.odd("mime.limit", &path, format!("nested deeper than {}", self.limits.depth));
        } else if cuts.is_empty() && !coded {
            self.unclear(Why::BoundaryMissing, &path, "no delimiter of the multipart is found");
            if let Some((_, boundary)) = split::sniff(body, &mut self.looks) {
                cuts.push(split::cut(body, boundary, room, &mut self.looks));
            }
            // Clients show such a body as text.
            part.decoded = Cow::Borrowed(body);
            self.text_readings(&part);
        }
        let digest = part.content_type == "multipart/digest";
        let index = self.keep(part, item);
        if cuts.len() > 1 {
            self.unclear(Why::BoundaryTwice, &path, "more than one boundary divides the multipart");
        }
        // Pushed in reverse: the stack gives the main reading's first part next.
        for (number, cut) in cuts.iter().enumerate().rev() {
            let why = item.detour.or((number > 0).then_some("second boundary"));
            self.margins(body, cut, item, &path);
            self.children(body, cut, item, index, (digest, why));
        }
    }

    fn children(
        &mut self,
        body: &'a [u8],
        cut: &Cut,
        item: &Item<'a>,
        parent: Option<usize>,
        how: (bool, Option<&'static str>),
    ) {
        let (digest, why) = how;
        for (number, range) in cut.parts.iter().enumerate().rev() {
            let number = number + 1;
            let path = if item.path.is_empty() { number.to_string() } else { format!("{}.{number}", item.path) };
            let child = Item {
                octets: body.get(range.clone()).unwrap_or_default(),
                at: item.body_at(body).saturating_add(range.start),
                cut_at: None,
                parent,
                depth: item.depth + 1,
                path,
                is_message: false,
                default_type: if digest { "message/rfc822" } else { "text/plain" },
                detour: why,
            };
            match why {
                None => self.stack.push(child),
                Some(_) => self.detour(child),
            }
        }
    }

    fn message(&mut self, mut part: Part<'a>, item: &Item<'a>) {
        let (path, body) = (part.path.clone(), part.body);
        if matches!(&*part.encoding, "base64" | "quoted-printable" | "x-uuencode") {
            self.odd("mime.malformed", &path, "an embedded message with a transfer encoding (RFC 2045 §6.4)");
            part.decoded = Cow::Owned(entity::decode(&part.encoding, body).into_owned());
            self.alternative(&path, &part.name, "encoded message", part.decoded.clone(), true);
            self.keep(part, item);
            return;
        }
        part.decoded = Cow::Borrowed(body);
        let parent = self.keep(part, item);
        if item.depth >= self.limits.depth {
            self.odd("mime.limit", &path, format!("nested deeper than {}", self.limits.depth));
            return;
        }
        let child = Item {
            octets: body,
            at: item.body_at(body),
            cut_at: None,
            parent,
            depth: item.depth + 1,
            path,
            is_message: true,
            default_type: "text/plain",
            detour: item.detour,
        };
        match item.detour {
            None => self.stack.push(child),
            Some(_) => self.detour(child),
        }
    }

    fn leaf(&mut self, mut part: Part<'a>, item: &Item<'a>, encodings: &[String]) {
        match &*part.content_type {
            "message/partial" => self.odd("mime.partial", &part.path, "a fragment of a message (RFC 2046 §5.2.2)"),
            "message/external-body" => {
                self.odd("mime.external-body", &part.path, "content that lies elsewhere (RFC 2046 §5.2.3)");
            }
            _ => {}
        }
        part.decoded = entity::decode(&part.encoding, part.body);
        for encoding in encodings.iter().skip(1) {
            let other = entity::decode(encoding, part.body);
            self.alternative(&part.path, &part.name, "second transfer encoding", other, false);
        }
        if let (true, Cow::Owned(decoded)) = (part.content_type.starts_with("message/"), &part.decoded) {
            self.alternative(&part.path, &part.name, "encoded message", Cow::Owned(decoded.clone()), true);
        }
        self.encoding_readings(&part);
        self.text_readings(&part);
        self.charset_readings(&part);
        self.late_header(part.body, item, &part.path);
        if item.detour.is_none() {
            self.loose_parts(
                part.body,
                item,
                &part.path,
                (Why::HiddenParts, "parts inside a part that is no multipart"),
            );
        }
        self.keep(part, item);
    }
}
