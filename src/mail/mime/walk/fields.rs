//! What the Content-* fields of an entity say, in every way that some client reads them.

use super::super::entity::{self, distinct};
use super::super::value::{self, Value};
use super::super::{Why, words};
use super::{FIELD, Item, Walk};
use crate::mail::header::{Field, Headers, unfold};

/// The value on one line, as far as it is read.
fn field_text(field: &Field<'_>) -> String {
    unfold(field.value.get(..FIELD).unwrap_or(field.value)).into_owned()
}

pub(super) fn is_content_field(field: &Field<'_>) -> bool {
    field.name.get(..8).is_some_and(|n| n.eq_ignore_ascii_case(b"content-"))
}

/// What the Content-* fields of an entity say.
pub(super) struct Content {
    pub kind: Value,
    pub disposition: String,
    pub names: Vec<String>,
    /// All encodings that some client takes, the main one first.
    pub encodings: Vec<String>,
    pub boundaries: Vec<String>,
}

impl<'a> Walk<'a> {
    pub(super) fn content(&mut self, headers: &Headers<'a>, item: &Item<'a>) -> Content {
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
}
