//! A TOML document with places: every key and value knows where it stands in the file, so that each problem can be
//! shown as `file:line:column`. Syntax errors do not stop the reading: toml recovers and tells of all of them.

use std::ops::Range;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::mail::Problem;

/// One step into a document.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Step {
    Key(String),
    Index(usize),
}

impl From<&str> for Step {
    fn from(key: &str) -> Self {
        Self::Key(key.to_owned())
    }
}
impl From<usize> for Step {
    fn from(index: usize) -> Self {
        Self::Index(index)
    }
}

/// A value and the bytes of the source it was read from.
#[derive(Clone, Debug)]
pub struct Node {
    pub span: Range<usize>,
    pub value: Value,
}

#[derive(Clone, Debug)]
pub enum Value {
    Text(String),
    Integer(i64),
    Float(f64),
    Bool(bool),
    /// A date or an integer past 64 bits: no setting takes one; kept as written.
    Other(String),
    List(Vec<Node>),
    Table(Table),
}

/// Entries in the order of the source.
#[derive(Clone, Debug, Default)]
pub struct Table {
    pub entries: Vec<Entry>,
    /// Keys that `read` took out after it reported them: that they are missing is no second problem.
    pub reported: Vec<String>,
}

#[derive(Clone, Debug)]
pub struct Entry {
    pub key: String,
    pub key_span: Range<usize>,
    pub node: Node,
    /// Put in by `read` for a missing key, so that the search for problems goes on: which of its candidates this is.
    pub stand_in: Option<usize>,
}

impl Node {
    #[must_use]
    pub const fn table(&self) -> Option<&Table> {
        if let Value::Table(table) = &self.value { Some(table) } else { None }
    }
    #[must_use]
    pub const fn text(&self) -> Option<&str> {
        if let Value::Text(text) = &self.value { Some(text.as_str()) } else { None }
    }
    /// What stands behind a key or an index.
    #[must_use]
    pub fn get(&self, step: &Step) -> Option<&Self> {
        match (&self.value, step) {
            (Value::Table(table), Step::Key(key)) => table.entry(key).map(|e| &e.node),
            (Value::List(items), Step::Index(index)) => items.get(*index),
            _ => None,
        }
    }
    pub fn get_mut(&mut self, step: &Step) -> Option<&mut Self> {
        match (&mut self.value, step) {
            (Value::Table(table), Step::Key(key)) => {
                table.entries.iter_mut().find(|e| e.key == *key).map(|e| &mut e.node)
            }
            (Value::List(items), Step::Index(index)) => items.get_mut(*index),
            _ => None,
        }
    }
}

impl Table {
    #[must_use]
    pub fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries.iter().find(|e| e.key == key)
    }
}

/// A parsed file with its source.
#[derive(Clone, Debug)]
pub struct Document {
    pub path: PathBuf,
    source: String,
    pub root: Node,
}

impl Document {
    /// The document, and a problem for each syntax error; what could be read is in the document.
    #[must_use]
    pub fn parse(path: &Path, source: &str) -> (Self, Vec<Problem>) {
        // A byte-order mark is what Windows editors leave; TOML allows to skip it.
        let source = source.strip_prefix('\u{feff}').unwrap_or(source);
        let (table, errors) = DeTable::parse_recoverable(source);
        let document = Self { path: path.to_owned(), source: source.to_owned(), root: root(&table) };
        let problems = errors
            .into_iter()
            .map(|error| document.problem(error.span().map_or(0, |s| s.start), error.message().replace('\n', ", ")))
            .collect();
        (document, problems)
    }

    /// What stands at a path.
    #[must_use]
    pub fn find(&self, path: &[Step]) -> Option<&Node> {
        path.iter().try_fold(&self.root, |node, step| node.get(step))
    }

    /// A problem with the value at `path`; where it is not written, with the nearest table around it.
    #[must_use]
    pub fn problem_at(&self, path: &[Step], message: impl Into<String>) -> Problem {
        let mut node = &self.root;
        for step in path {
            match node.get(step) {
                Some(inner) => node = inner,
                None => break,
            }
        }
        if std::ptr::eq(node, &self.root) {
            return Problem::new(&self.path, message);
        }
        self.problem(node.span.start, message)
    }

    /// A problem at a byte of the source.
    #[must_use]
    pub fn problem(&self, offset: usize, message: impl Into<String>) -> Problem {
        Problem::new(&self.path, message).at_offset(&self.source, offset)
    }
}

fn root(table: &Spanned<DeTable<'_>>) -> Node {
    Node { span: 0..0, value: Value::Table(convert_table(table.get_ref())) }
}

fn convert_table(table: &DeTable<'_>) -> Table {
    let mut entries: Vec<Entry> = table
        .iter()
        .map(|(key, value)| Entry {
            key: key.get_ref().to_string(),
            key_span: key.span(),
            node: convert(value),
            stand_in: None,
        })
        .collect();
    entries.sort_by_key(|e| e.key_span.start);
    Table { entries, reported: Vec::new() }
}

/// Recursion is bounded by toml's own limit on nesting, and the operator's file is not hostile.
fn convert(value: &Spanned<DeValue<'_>>) -> Node {
    let converted = match value.get_ref() {
        DeValue::String(text) => Value::Text(text.to_string()),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            .map_or_else(|_| Value::Other(number.to_string()), Value::Integer),
        DeValue::Float(number) => {
            number.as_str().parse().map_or_else(|_| Value::Other(number.to_string()), Value::Float)
        }
        DeValue::Boolean(bool) => Value::Bool(*bool),
        DeValue::Datetime(date) => Value::Other(date.to_string()),
        DeValue::Array(items) => Value::List(items.iter().map(convert).collect()),
        DeValue::Table(table) => Value::Table(convert_table(table)),
    };
    Node { span: value.span(), value: converted }
}
