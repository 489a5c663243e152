//! A rules file as written: TOML with places, so that every problem is reported with line and column, all at once.
//! What is accepted is described in `rules/spam/README.md`.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::condition::{self, Written};
use super::sample::{self, Sample};
use super::{Mode, Source, Words};
use crate::mail::Problem;

/// A rule before its references and patterns are compiled.
#[derive(Clone, Debug)]
pub struct Draft {
    pub id: String,
    pub score: f64,
    pub mode: Mode,
    pub description: Words,
    pub when: Written,
    /// Index of its file, byte offset of its id, line.
    pub file: usize,
    pub offset: usize,
    pub line: usize,
}

/// One `[[test]]`.
#[derive(Clone, Debug)]
pub struct Test {
    pub rule: String,
    pub hits: Vec<Sample>,
    pub misses: Vec<Sample>,
    pub file: usize,
    pub offset: usize,
}

pub type Value<'a> = Spanned<DeValue<'a>>;

/// Reads one file's values and collects what is wrong with them.
pub struct Reader<'s> {
    pub source: &'s Source,
    pub problems: Vec<Problem>,
}

impl Reader<'_> {
    pub fn problem(&mut self, span: &Range<usize>, message: impl Into<String>) -> &mut Problem {
        let problem = Problem::new(&self.source.name, message).at_offset(&self.source.text, span.start);
        self.problems.push(problem);
        self.problems.last_mut().expect("one was pushed")
    }

    /// Reports keys of `table` that are not in `known`.
    pub fn known_keys(&mut self, table: &DeTable<'_>, known: &[&str], what: &str) {
        for key in table.keys() {
            let name = key.get_ref().as_ref();
            if !known.contains(&name) {
                let help = suggest(name, known.iter().copied());
                self.problem(&key.span(), format!("{what} has no key \"{name}\"")).help = Some(help);
            }
        }
    }

    pub fn string(&mut self, value: &Value<'_>, what: &str) -> Option<String> {
        if let DeValue::String(text) = value.get_ref() {
            return Some(text.clone().into_owned());
        }
        self.problem(&value.span(), format!("{what} must be a text in quotes"));
        None
    }

    /// A text, or a list of texts, each with its place.
    pub fn strings(&mut self, value: &Value<'_>, what: &str) -> Vec<(String, Range<usize>)> {
        match value.get_ref() {
            DeValue::String(text) => vec![(text.clone().into_owned(), value.span())],
            DeValue::Array(list) => {
                if list.is_empty() {
                    self.problem(&value.span(), format!("{what} is empty"));
                }
                list.iter().filter_map(|v| self.string(v, what).map(|s| (s, v.span()))).collect()
            }
            _ => {
                self.problem(&value.span(), format!("{what} must be a text or a list of texts"));
                Vec::new()
            }
        }
    }

    pub fn number(&mut self, value: &Value<'_>, what: &str) -> Option<f64> {
        let text = match value.get_ref() {
            DeValue::Integer(i) if i.radix() == 10 => i.as_str().to_owned(),
            DeValue::Float(f) => f.as_str().to_owned(),
            _ => String::new(),
        };
        let number = text.parse::<f64>().ok().filter(|n| n.is_finite());
        if number.is_none() {
            self.problem(&value.span(), format!("{what} must be a number"));
        }
        number
    }

    pub fn count(&mut self, value: &Value<'_>, what: &str) -> Option<u64> {
        let count = match value.get_ref() {
            DeValue::Integer(i) => u64::from_str_radix(i.as_str(), i.radix()).ok(),
            _ => None,
        };
        if count.is_none() {
            self.problem(&value.span(), format!("{what} must be a whole number, 0 or more"));
        }
        count
    }

    pub fn table<'v, 'a>(&mut self, value: &'v Value<'a>, what: &str) -> Option<&'v DeTable<'a>> {
        if let DeValue::Table(table) = value.get_ref() {
            return Some(table);
        }
        self.problem(&value.span(), format!("{what} must be a table: {{ … }}"));
        None
    }
}

/// The nearest of `known`, as help.
pub fn suggest<'k>(given: &str, known: impl Iterator<Item = &'k str>) -> String {
    let known: Vec<&str> = known.collect();
    let near = known.iter().map(|k| (distance(given, k), *k)).min();
    match near {
        Some((d, name)) if d <= 2.max(given.chars().count() / 3) => format!("did you mean \"{name}\"?"),
        _ if known.len() <= 30 => format!("use one of: {}", known.join(", ")),
        _ => "there is nothing like it".to_owned(),
    }
}

/// Levenshtein distance.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut corner = i;
        let mut left = i + 1;
        for (slot, y) in row.iter_mut().skip(1).zip(&b) {
            let value = if x == *y { corner } else { 1 + corner.min(left).min(*slot) };
            corner = std::mem::replace(slot, value);
            left = value;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or(0)
}

/// Rules and tests of one file; problems go into `problems`.
pub fn read(index: usize, source: &Source, problems: &mut Vec<Problem>) -> (Vec<Draft>, Vec<Test>) {
    let (document, errors) = DeTable::parse_recoverable(&source.text);
    if !errors.is_empty() {
        // After a broken line the rest is a guess: only the syntax is reported.
        problems.extend(errors.iter().take(20).map(|error| {
            let at = error.span().map_or(0, |s| s.start);
            Problem::new(&source.name, error.message().to_owned()).at_offset(&source.text, at)
        }));
        return (Vec::new(), Vec::new());
    }
    let mut reader = Reader { source, problems: Vec::new() };
    let root = document.get_ref();
    reader.known_keys(root, &["rule", "test"], "a rules file");
    let (mut drafts, mut tests) = (Vec::new(), Vec::new());
    for value in list(&mut reader, root, "rule") {
        drafts.extend(draft(&mut reader, value, index));
    }
    for value in list(&mut reader, root, "test") {
        tests.extend(test(&mut reader, value, index));
    }
    problems.append(&mut reader.problems);
    (drafts, tests)
}

fn list<'v, 'a>(reader: &mut Reader<'_>, root: &'v DeTable<'a>, name: &str) -> Vec<&'v Value<'a>> {
    match root.get(name) {
        None => Vec::new(),
        Some(value) => match value.get_ref() {
            DeValue::Array(list) => list.iter().collect(),
            _ => {
                reader.problem(&value.span(), format!("write [[{name}]] with two brackets"));
                Vec::new()
            }
        },
    }
}

const RULE_KEYS: [&str; 5] = ["id", "score", "mode", "description", "when"];

fn draft(reader: &mut Reader<'_>, value: &Value<'_>, file: usize) -> Option<Draft> {
    let table = reader.table(value, "a rule")?;
    reader.known_keys(table, &RULE_KEYS, "a rule");
    let Some(id_value) = table.get("id") else {
        reader.problem(&value.span(), "this rule has no id");
        return None;
    };
    let id = reader.string(id_value, "id")?;
    let offset = id_value.span().start;
    let good = (3..=60).contains(&id.len())
        && id.starts_with(|c: char| c.is_ascii_alphabetic())
        && id.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_' || b == b'.');
    if !good {
        reader.problem(&id_value.span(), format!("\"{id}\" is not a rule id")).help =
            Some("3 to 60 capitals, digits, _ and dots, like VN_QUOTA_NOTICE".into());
    }
    let missing = |reader: &mut Reader<'_>, key: &str| {
        reader.problem(&id_value.span(), format!("rule {id} has no {key}"));
    };
    let score = match table.get("score") {
        Some(v) => reader.number(v, "score").filter(|n| {
            let fits = (-50.0..=50.0).contains(n);
            if !fits {
                reader.problem(&v.span(), "score must lie between -50 and 50");
            }
            fits
        }),
        None => {
            missing(reader, "score");
            None
        }
    };
    let mode = match table.get("mode") {
        Some(v) => mode(reader, v),
        None => {
            missing(reader, "mode");
            None
        }
    };
    let description = match table.get("description") {
        Some(v) => words(reader, v),
        None => {
            missing(reader, "description");
            None
        }
    };
    let when = match table.get("when") {
        Some(v) => condition::read(reader, v),
        None => {
            missing(reader, "when");
            None
        }
    };
    let line = crate::mail::problem::place(&reader.source.text, offset).0;
    Some(Draft { id, score: score?, mode: mode?, description: description?, when: when?, file, offset, line })
}

fn mode(reader: &mut Reader<'_>, value: &Value<'_>) -> Option<Mode> {
    match reader.string(value, "mode")?.as_str() {
        "shadow" => Some(Mode::Shadow),
        "tag" => Some(Mode::Tag),
        "enforce" => Some(Mode::Enforce),
        other => {
            let help = suggest(other, ["shadow", "tag", "enforce"].into_iter());
            reader.problem(&value.span(), format!("\"{other}\" is not a mode")).help = Some(help);
            None
        }
    }
}

fn words(reader: &mut Reader<'_>, value: &Value<'_>) -> Option<Words> {
    let table = reader.table(value, "description")?;
    reader.known_keys(table, &["vi", "en"], "description");
    let mut get = |key: &str| match table.get(key) {
        Some(v) => reader.string(v, key).filter(|s| !s.trim().is_empty()),
        None => {
            reader.problem(&value.span(), format!("description has no \"{key}\""));
            None
        }
    };
    let (vi, en) = (get("vi"), get("en"));
    Some(Words { vi: vi?, en: en? })
}

fn test(reader: &mut Reader<'_>, value: &Value<'_>, file: usize) -> Option<Test> {
    let table = reader.table(value, "a test")?;
    reader.known_keys(table, &["rule", "hits", "misses"], "a test");
    let Some(rule) = table.get("rule") else {
        reader.problem(&value.span(), "this test names no rule");
        return None;
    };
    let name = reader.string(rule, "rule")?;
    let mut samples = |key: &str| match table.get(key) {
        Some(v) => sample::read(reader, v, key),
        None => Vec::new(),
    };
    let (hits, misses) = (samples("hits"), samples("misses"));
    Some(Test { rule: name, hits, misses, file, offset: rule.span().start })
}
