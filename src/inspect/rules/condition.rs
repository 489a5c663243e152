//! The conditions of a rule: as written, with places, and how a table of TOML becomes one.

use std::ops::Range;

use regex::{Regex, RegexBuilder};
use toml::de::{DeTable, DeValue};

use super::feature::{FEATURES, Number};
use super::file::{Reader, Value, suggest};
use super::surface::{Form, Surface};
use crate::mail::ByteSize;

/// A condition before atoms are numbered and references resolved.
#[derive(Clone, Debug)]
pub enum Written {
    All(Vec<Self>),
    Any(Vec<Self>),
    Not(Box<Self>),
    AtLeast(u64, Vec<Self>),
    /// Another rule, and where it is named.
    Rule(String, Range<usize>),
    /// Codes of findings; `dkim.*` is any code below.
    Finding(Vec<String>),
    Atom(Atom),
}

/// A condition on content: decided in an inspector, known by its number.
#[derive(Clone, PartialEq, Debug)]
pub enum Atom {
    Patterns(Patterns),
    /// A header field that is there.
    Field(String),
    Feature(&'static str),
    Number {
        number: Number,
        over: Option<u64>,
        under: Option<u64>,
    },
}

/// Words or regular expressions on surfaces; holds when `count` different ones are found.
#[derive(Clone, PartialEq, Debug)]
pub struct Patterns {
    pub surfaces: Vec<Surface>,
    pub form: Form,
    pub kind: PatternKind,
    pub count: u32,
    /// An item (line) or match that this finds does not count.
    pub unless: Option<String>,
}

#[derive(Clone, PartialEq, Debug)]
pub enum PatternKind {
    /// Already in the form in which they are compared; a `*` at an end is taken off and kept as a flag.
    Words(Vec<Word>),
    Regexes(Vec<String>),
}

/// A word or phrase; a closed side must be a word boundary.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Word {
    pub text: String,
    pub open_left: bool,
    pub open_right: bool,
}

/// Regular expressions are linear in time; this bounds their memory.
const REGEX_BYTES: usize = 2 << 20;

/// The one way in which patterns are compiled.
pub fn regex(pattern: &str) -> Result<Regex, regex::Error> {
    RegexBuilder::new(pattern).size_limit(REGEX_BYTES).dfa_size_limit(REGEX_BYTES).nest_limit(60).build()
}

/// A condition: a table, or a list of tables of which all must hold.
pub fn read(reader: &mut Reader<'_>, value: &Value<'_>) -> Option<Written> {
    if let DeValue::Array(_) = value.get_ref() {
        return Some(Written::All(children(reader, value, "when")?));
    }
    let table = reader.table(value, "a condition")?;
    let Some(kind) = KINDS.iter().find(|(key, _)| table.contains_key(*key)) else {
        let keys: Vec<&str> = KINDS.iter().map(|(k, _)| *k).collect();
        let given = table.keys().next().map_or_else(String::new, |k| k.get_ref().to_string());
        let place = table.keys().next().map_or_else(|| value.span(), toml::Spanned::span);
        reader.problem(&place, format!("\"{given}\" begins no condition")).help =
            Some(suggest(&given, keys.into_iter()));
        return None;
    };
    reader.known_keys(table, kind.1, "this condition");
    let main = table.get(kind.0)?;
    match kind.0 {
        "all" => Some(Written::All(children(reader, main, "all")?)),
        "any" => Some(Written::Any(children(reader, main, "any")?)),
        "not" => Some(Written::Not(Box::new(read(reader, main)?))),
        "of" => {
            let list = children(reader, main, "of")?;
            let need = table.get("at_least").and_then(|v| reader.count(v, "at_least"));
            let Some(need) = need.filter(|n| (1..=list.len() as u64).contains(n)) else {
                reader.problem(&main.span(), format!("\"of\" needs at_least between 1 and {}", list.len()));
                return None;
            };
            Some(Written::AtLeast(need, list))
        }
        "rule" => reader.string(main, "rule").map(|id| Written::Rule(id, main.span())),
        "finding" => finding(reader, main),
        "header" => reader.string(main, "header").map(|name| Written::Atom(Atom::Field(name.to_ascii_lowercase()))),
        "feature" => feature(reader, main),
        "number" => number(reader, table, main),
        _ => patterns(reader, table, main),
    }
}

/// The key that tells what a condition is, and all keys it may have.
const KINDS: [(&str, &[&str]); 10] = [
    ("all", &["all"]),
    ("any", &["any"]),
    ("not", &["not"]),
    ("of", &["of", "at_least"]),
    ("rule", &["rule"]),
    ("finding", &["finding"]),
    ("header", &["header"]),
    ("feature", &["feature"]),
    ("number", &["number", "over", "under"]),
    ("in", &["in", "words", "regex", "form", "count", "unless"]),
];

fn children(reader: &mut Reader<'_>, value: &Value<'_>, what: &str) -> Option<Vec<Written>> {
    let DeValue::Array(list) = value.get_ref() else {
        reader.problem(&value.span(), format!("{what} must be a list of conditions: [ {{ … }}, {{ … }} ]"));
        return None;
    };
    if list.is_empty() {
        reader.problem(&value.span(), format!("{what} has no conditions"));
        return None;
    }
    // All are read, so that all problems are found.
    let read: Vec<Option<Written>> = list.iter().map(|v| read(reader, v)).collect();
    read.into_iter().collect()
}

fn finding(reader: &mut Reader<'_>, value: &Value<'_>) -> Option<Written> {
    let codes = reader.strings(value, "finding");
    for (code, span) in &codes {
        let stem = code.strip_suffix(".*").unwrap_or(code);
        let good = !stem.is_empty()
            && stem
                .split('.')
                .all(|p| !p.is_empty() && p.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_')));
        if !good {
            reader.problem(span, format!("\"{code}\" is not a finding")).help =
                Some("a code like \"spf.fail\", or \"dkim.*\" for all below".into());
        }
    }
    (!codes.is_empty()).then(|| Written::Finding(codes.into_iter().map(|(c, _)| c).collect()))
}

fn feature(reader: &mut Reader<'_>, value: &Value<'_>) -> Option<Written> {
    let name = reader.string(value, "feature")?;
    let found = FEATURES.iter().find(|(n, _)| *n == name);
    if found.is_none() {
        let help = suggest(&name, FEATURES.iter().map(|(n, _)| *n));
        reader.problem(&value.span(), format!("there is no feature \"{name}\"")).help = Some(help);
    }
    found.map(|(n, _)| Written::Atom(Atom::Feature(n)))
}

fn number(reader: &mut Reader<'_>, table: &DeTable<'_>, value: &Value<'_>) -> Option<Written> {
    let name = reader.string(value, "number")?;
    let Some((_, number)) = Number::NAMES.iter().find(|(n, _)| *n == name) else {
        let help = suggest(&name, Number::NAMES.iter().map(|(n, _)| *n));
        reader.problem(&value.span(), format!("there is no number \"{name}\"")).help = Some(help);
        return None;
    };
    let mut bound = |key: &str| {
        let value = table.get(key)?;
        if let DeValue::String(text) = value.get_ref() {
            let size = text.parse::<ByteSize>().map(ByteSize::as_u64);
            return match size {
                Ok(size) => Some(size),
                Err(error) => {
                    reader.problem(&value.span(), error.to_string());
                    None
                }
            };
        }
        reader.count(value, key)
    };
    let (over, under) = (bound("over"), bound("under"));
    if over.is_none() && under.is_none() {
        reader.problem(&value.span(), "a number needs \"over\" or \"under\"");
        return None;
    }
    Some(Written::Atom(Atom::Number { number: *number, over, under }))
}

fn patterns(reader: &mut Reader<'_>, table: &DeTable<'_>, place: &Value<'_>) -> Option<Written> {
    let mut surfaces = Vec::new();
    for (name, span) in reader.strings(place, "in") {
        match name.parse::<Surface>() {
            Ok(surface) => surfaces.push(surface),
            Err(()) => {
                let help = suggest(&name, Surface::names().chain(["header:NAME"]));
                reader.problem(&span, format!("there is no place \"{name}\" in a message")).help = Some(help);
            }
        }
    }
    let form = form(reader, table);
    let kind = match (table.get("words"), table.get("regex")) {
        (Some(words), None) => {
            let form = form.unwrap_or(Form::Plain);
            let list = reader.strings(words, "words");
            PatternKind::Words(list.iter().filter_map(|(w, span)| word(reader, w, span, form)).collect())
        }
        (None, Some(value)) => {
            let list = reader.strings(value, "regex");
            for (pattern, span) in &list {
                check_regex(reader, pattern, span);
            }
            PatternKind::Regexes(list.into_iter().map(|(p, _)| p).collect())
        }
        _ => {
            reader.problem(&place.span(), "a condition with \"in\" needs either \"words\" or \"regex\"");
            return None;
        }
    };
    let (default, size) = match &kind {
        PatternKind::Words(words) => (Form::Plain, words.len()),
        PatternKind::Regexes(list) => (Form::Exact, list.len()),
    };
    let count = table.get("count").map_or(Some(1), |v| {
        let count = reader.count(v, "count")?;
        if count == 0 || count > size as u64 {
            reader.problem(&v.span(), format!("count must lie between 1 and {size}, the number of patterns"));
            return None;
        }
        u32::try_from(count).ok()
    })?;
    let unless = table.get("unless").and_then(|v| {
        let text = reader.string(v, "unless")?;
        check_regex(reader, &text, &v.span());
        Some(text)
    });
    if surfaces.is_empty() || size == 0 {
        return None;
    }
    Some(Written::Atom(Atom::Patterns(Patterns { surfaces, form: form.unwrap_or(default), kind, count, unless })))
}

fn form(reader: &mut Reader<'_>, table: &DeTable<'_>) -> Option<Form> {
    let value = table.get("form")?;
    let name = reader.string(value, "form")?;
    let found = Form::NAMES.iter().find(|(n, _)| *n == name).map(|(_, f)| *f);
    if found.is_none() {
        let help = suggest(&name, Form::NAMES.iter().map(|(n, _)| *n));
        reader.problem(&value.span(), format!("there is no form \"{name}\"")).help = Some(help);
    }
    found
}

fn check_regex(reader: &mut Reader<'_>, pattern: &str, span: &Range<usize>) {
    let message = match regex(pattern) {
        Ok(compiled) if compiled.is_match("") => "this pattern matches everything, even an empty text".to_owned(),
        Ok(_) => return,
        Err(regex::Error::CompiledTooBig(_)) => "this pattern is too large when compiled".to_owned(),
        // The last line of the error says what is wrong; the others draw the pattern.
        Err(error) => error.to_string().lines().last().unwrap_or("").trim_start_matches("error: ").to_owned(),
    };
    reader.problem(span, format!("bad regular expression: {message}")).help =
        Some("look-around and back-references do not exist here: every pattern runs in linear time".into());
}

/// Shorter skeletons would be found inside other words: they have no boundaries.
const SKELETON_MIN: usize = 7;

fn word(reader: &mut Reader<'_>, written: &str, span: &Range<usize>, form: Form) -> Option<Word> {
    let body = written.trim();
    let (open_left, open_right) = (body.starts_with('*'), body.ends_with('*') && body.len() > 1);
    let text = form.fold(body.trim_matches('*'), super::text::fold::Lines::Joined);
    if form == Form::Skeleton && text.chars().count() < SKELETON_MIN {
        reader.problem(span, format!("\"{written}\" is too short for form \"skeleton\"")).help = Some(format!(
            "its skeleton \"{text}\" has fewer than {SKELETON_MIN} letters and would be found inside other words"
        ));
        return None;
    }
    if text.is_empty() {
        reader.problem(span, format!("\"{written}\" is empty in this form"));
        return None;
    }
    let open = form == Form::Skeleton;
    Some(Word { text, open_left: open_left || open, open_right: open_right || open })
}
