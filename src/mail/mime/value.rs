//! Structured field values: `type/subtype; name=value` (RFC 2045 §5.1, RFC 2183) with RFC 2231 continuations.
//! Two readings: the grammar's, and a loose one that finds what sloppy clients find.

use super::words;

/// Beyond this many parameters a field is not read on (THREATS M-07).
const PARAMS: usize = 100;

/// A parsed value.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Value {
    /// Before the first `;`, comments removed, lower case.
    pub main: String,
    /// In order, names lower case, RFC 2231 pieces put together and decoded, encoded words decoded.
    pub params: Vec<(String, String)>,
    /// The plain and the RFC 2231 form of a name, or two plain ones, differ.
    pub conflicting: Vec<String>,
    /// More than [`PARAMS`] parameters.
    pub over: bool,
    /// A comment, an open quote or other noise stands in it.
    pub noisy: bool,
}

impl Value {
    /// Reads an unfolded field value.
    #[must_use]
    pub fn read(text: &str) -> Self {
        let mut pieces = pieces(text);
        let mut value = Self { noisy: pieces.noisy, ..Self::default() };
        let mut items = pieces.list.drain(..);
        value.main = items.next().unwrap_or_default().trim().to_ascii_lowercase();
        let mut raw: Vec<(String, String)> = Vec::new();
        for item in items {
            if raw.len() >= PARAMS {
                value.over = true;
                break;
            }
            let Some((name, content)) = item.split_once('=') else {
                value.noisy |= !item.trim().is_empty();
                continue;
            };
            let (content, noisy) = unquote(content.trim());
            value.noisy |= noisy;
            raw.push((name.trim().to_ascii_lowercase(), content));
        }
        value.assemble(&raw);
        value
    }

    #[must_use]
    pub fn param(&self, name: &str) -> Option<&str> {
        self.params.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    /// RFC 2231 §3, §4: `name*0*`, `name*1`, `name*`.
    fn assemble(&mut self, raw: &[(String, String)]) {
        let mut extended: Vec<(&str, Vec<Piece<'_>>)> = Vec::new();
        for (name, content) in raw {
            let Some((base, rest)) = name.split_once('*') else {
                self.add(name, words::decode(content));
                continue;
            };
            let (index, encoded) = match rest.strip_suffix('*') {
                Some(number) => (number.parse().unwrap_or(0_u32), true),
                None if rest.is_empty() => (0, true),
                None => (rest.parse().unwrap_or(0), false),
            };
            let piece = Piece { index, encoded, content };
            match extended.iter_mut().find(|(n, _)| *n == base) {
                Some((_, list)) => list.push(piece),
                None => extended.push((base, vec![piece])),
            }
        }
        for (base, mut list) in extended {
            let written = join(&list);
            let is_ordered = list.is_sorted_by_key(|p| p.index);
            list.sort_by_key(|p| p.index);
            if !is_ordered {
                // Some clients join the pieces as they stand.
                self.add(base, written);
            }
            self.add(base, join(&list));
        }
    }

    fn add(&mut self, name: &str, content: String) {
        if self.params.iter().any(|(n, v)| n == name && *v != content) && !self.conflicting.iter().any(|n| n == name) {
            self.conflicting.push(name.to_owned());
        }
        self.params.push((name.to_owned(), content));
    }
}

struct Piece<'t> {
    index: u32,
    encoded: bool,
    content: &'t str,
}

fn join(list: &[Piece<'_>]) -> String {
    let (mut charset, mut octets) = (String::from("utf-8"), Vec::new());
    for (number, piece) in list.iter().enumerate() {
        let mut content = piece.content;
        if piece.encoded {
            if number == 0 {
                let mut parts = piece.content.splitn(3, '\'');
                if let (Some(label), Some(_), Some(rest)) = (parts.next(), parts.next(), parts.next()) {
                    charset = label.to_owned();
                    content = rest;
                }
            }
            octets.extend(words::unescape(content.as_bytes(), b'%'));
        } else {
            octets.extend_from_slice(content.as_bytes());
        }
    }
    words::to_text(&charset, &octets)
}

struct Pieces {
    list: Vec<String>,
    noisy: bool,
}

/// Cuts at `;` outside of quotes and comments; comments are removed (RFC 5322 §3.2.2), nested ones counted.
fn pieces(text: &str) -> Pieces {
    let (mut list, mut item) = (Vec::new(), String::new());
    let (mut quoted, mut depth, mut escaped, mut noisy) = (false, 0_usize, false, false);
    for c in text.chars() {
        if escaped {
            escaped = false;
            if depth == 0 {
                item.push(c);
            }
            continue;
        }
        match c {
            '\\' if !quoted && depth == 0 => {
                noisy = true;
                item.push(c);
            }
            '\\' => {
                escaped = true;
                if depth == 0 {
                    item.push(c);
                }
            }
            '"' if depth == 0 => {
                quoted = !quoted;
                item.push(c);
            }
            '(' if !quoted => {
                depth = depth.saturating_add(1);
                noisy = true;
            }
            ')' if !quoted && depth > 0 => depth -= 1,
            _ if depth > 0 => {}
            ';' if !quoted => {
                list.push(std::mem::take(&mut item));
                if list.len() > PARAMS + 1 {
                    break;
                }
            }
            _ => item.push(c),
        }
    }
    list.push(item);
    Pieces { list, noisy: noisy || quoted || depth > 0 }
}

/// The content of a quoted string, or the token; and whether anything stood behind it.
fn unquote(text: &str) -> (String, bool) {
    let Some(inner) = text.strip_prefix('"') else {
        return (text.to_owned(), text.contains('"'));
    };
    let (mut out, mut chars) = (String::new(), inner.chars());
    let mut noisy = true;
    while let Some(c) = chars.next() {
        match c {
            '"' => {
                noisy = false;
                break;
            }
            '\\' => {
                out.extend(chars.next());
                noisy = true;
            }
            _ => out.push(c),
        }
    }
    (out, noisy || !chars.as_str().trim().is_empty())
}

/// Everything that some client takes for the parameter `name` of a raw field value, most likely first, at most eight.
#[must_use]
pub fn candidates(text: &str, name: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    let mut add = |value: &str| {
        if !value.is_empty() && value.len() <= 4096 && found.len() < 8 && !found.iter().any(|f| f == value) {
            found.push(value.to_owned());
        }
    };
    let value = Value::read(text);
    value.params.iter().filter(|(n, _)| n == name).for_each(|(_, v)| add(v));
    let lower = text.to_ascii_lowercase();
    for (at, _) in lower.match_indices(name).take(PARAMS) {
        let Some(rest) = text.get(at + name.len()..) else { continue };
        let Some((star, rest)) = rest.split_once('=') else { continue };
        if star.contains(';') {
            continue;
        }
        let rest = rest.trim_start();
        let bare = rest.split(';').next().unwrap_or_default().trim();
        if let Some(quoted) = rest.strip_prefix('"') {
            add(quoted.split('"').next().unwrap_or_default());
            add(quoted.split('"').next().unwrap_or_default().trim());
        }
        add(bare);
        if bare.ends_with('\\') {
            // An escape outside of quotes: `name=a\;.zip`.
            add(&rest.replace('\\', ""));
        }
        add(bare.trim_matches('"'));
        add(bare.split_ascii_whitespace().next().unwrap_or_default());
        if star.contains('*') {
            let tail = bare.trim_matches('"').rsplit('\'').next().unwrap_or_default();
            add(&String::from_utf8_lossy(&words::unescape(tail.as_bytes(), b'%')));
        }
    }
    found
}
