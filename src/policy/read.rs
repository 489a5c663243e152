//! A document into a struct, with *every* fault instead of the first.
//!
//! serde stops at the first error. Here each error carries its path; the offending entry is taken out of a copy of
//! the document (or, where a key is missing, a stand-in is put in) and reading starts again, until it succeeds. The
//! serde structs stay the only schema: keys, types, units and choices are all asked of them. A document that had a
//! fault is never used, so no stand-in ever reaches a policy.

use serde::de::value::StrDeserializer;
use serde::de::{DeserializeOwned, DeserializeSeed, Error as _, IntoDeserializer, MapAccess, SeqAccess, Visitor};

use super::fault::{Fault, Kind};
use super::tree::{Entry, Node, Step, Table, Value};

/// More faults than anyone reads at once; the rest come with the next run.
const MOST: usize = 200;

/// A fault and the byte of the source where it stands.
pub type Found = (Fault, usize);

/// What reading gave.
pub struct Outcome<T> {
    /// `None` only when the faults left nothing to read.
    pub value: Option<T>,
    pub found: Vec<Found>,
    /// The tree that `value` was read from: faults taken out, stand-ins put in, all places as in the source.
    pub mended: Node,
}

/// Reads `T` from `root`.
#[must_use]
pub fn read<T: DeserializeOwned>(root: &Node) -> Outcome<T> {
    let mut root = root.clone();
    let mut found: Vec<Found> = Vec::new();
    // Each round reports a fault, tries the next stand-in or removes a node: it ends.
    for _ in 0..MOST.saturating_mul(4) {
        match T::deserialize(&root) {
            Ok(value) => return Outcome { value: Some(value), found, mended: root },
            Err(failure) => {
                let (report, mended) = mend(&mut root, failure);
                found.extend(report);
                if !mended || found.len() >= MOST {
                    break;
                }
            }
        }
    }
    Outcome { value: None, found, mended: root }
}

/// What to report, and whether reading can go on.
fn mend(root: &mut Node, failure: Failure) -> (Option<Found>, bool) {
    let Failure { fault, mut path } = failure;
    path.reverse();
    if let Fault::Missing { key } = &fault {
        let Some(node) = walk(root, &path) else { return (Some((fault, 0)), false) };
        let start = node.span.start;
        let Value::Table(table) = &mut node.value else { return (Some((fault, start)), false) };
        let known = table.reported.contains(key);
        table.entries.push(stand_in(key, start, 0));
        return ((!known).then_some((fault, start)), true);
    }
    let Some((last, parents)) = path.split_last() else { return (Some((fault, 0)), false) };
    let Some(parent) = walk(root, parents) else { return (Some((fault, 0)), false) };
    let parent_start = parent.span.start;
    match (&mut parent.value, last) {
        (Value::Table(table), Step::Key(key)) => {
            let Some(at) = table.entries.iter().position(|e| e.key == *key) else {
                return (Some((fault, parent_start)), false);
            };
            let entry = table.entries.remove(at);
            if let Some(tried) = entry.stand_in {
                if tried + 1 >= CANDIDATES {
                    return (None, remove(root, parents));
                }
                table.entries.push(stand_in(key, parent_start, tried + 1));
                return (None, true);
            }
            table.reported.push(key.clone());
            let place = if fault.is_about_the_key() { entry.key_span.start } else { entry.node.span.start };
            (Some((fault, place)), true)
        }
        (Value::List(items), Step::Index(index)) if *index < items.len() => {
            let node = items.remove(*index);
            (Some((fault, node.span.start)), true)
        }
        _ => (Some((fault, parent_start)), false),
    }
}

/// Takes out the node at `path`; `false` for the root.
fn remove(root: &mut Node, path: &[Step]) -> bool {
    let Some((last, parents)) = path.split_last() else { return false };
    match (walk(root, parents).map(|n| &mut n.value), last) {
        (Some(Value::Table(table)), Step::Key(key)) => {
            table.entries.retain(|e| e.key != *key);
            table.reported.push(key.clone());
            true
        }
        (Some(Value::List(items)), Step::Index(index)) if *index < items.len() => {
            items.remove(*index);
            true
        }
        _ => false,
    }
}

fn walk<'a>(root: &'a mut Node, path: &[Step]) -> Option<&'a mut Node> {
    path.iter().try_fold(root, |node, step| node.get_mut(step))
}

const CANDIDATES: usize = 3;

/// Something a missing setting might be, so that its neighbours are looked at too.
fn stand_in(key: &str, at: usize, candidate: usize) -> Entry {
    let value = match candidate {
        0 => Value::Text("x".to_owned()),
        1 => Value::Text("127.0.0.1:1".to_owned()),
        _ => Value::List(Vec::new()),
    };
    Entry { key: key.to_owned(), key_span: at..at, node: Node { span: at..at, value }, stand_in: Some(candidate) }
}

/// A fault on its way up; `path` grows from the inside out.
#[derive(Debug)]
pub struct Failure {
    fault: Fault,
    path: Vec<Step>,
}

impl Failure {
    const fn new(fault: Fault) -> Self {
        Self { fault, path: Vec::new() }
    }
    fn within(mut self, step: Step) -> Self {
        self.path.push(step);
        self
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.fault.sentence(crate::mail::Language::En).0)
    }
}
impl std::error::Error for Failure {}

impl serde::de::Error for Failure {
    fn custom<T: std::fmt::Display>(text: T) -> Self {
        Self::new(Fault::Value { why: text.to_string() })
    }
    fn invalid_value(unexpected: serde::de::Unexpected<'_>, expected: &dyn serde::de::Expected) -> Self {
        Self::new(Fault::Range { given: unexpected.to_string(), expected: expected.to_string() })
    }
    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        Self::new(Fault::Choice { given: variant.to_owned(), expected })
    }
    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        Self::new(Fault::Unknown { key: field.to_owned(), expected })
    }
    fn missing_field(field: &'static str) -> Self {
        Self::new(Fault::Missing { key: field.to_owned() })
    }
}

impl Node {
    const fn kind(&self) -> Kind {
        match self.value {
            Value::Text(_) => Kind::Text,
            Value::Integer(_) => Kind::Integer,
            Value::Float(_) => Kind::Number,
            Value::Bool(_) => Kind::Bool,
            Value::Other(_) => Kind::Other,
            Value::List(_) => Kind::List,
            Value::Table(_) => Kind::Table,
        }
    }
    const fn not(&self, wanted: Kind) -> Failure {
        Failure::new(Fault::Kind { wanted, found: self.kind() })
    }
}

macro_rules! integers {
    ($($method:ident)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
            match &self.value {
                Value::Integer(number) => visitor.visit_i64(*number),
                _ => Err(self.not(Kind::Integer)),
            }
        }
    )*};
}

impl<'de> serde::Deserializer<'de> for &Node {
    type Error = Failure;

    integers! { deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64
    deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        match &self.value {
            Value::Text(text) | Value::Other(text) => visitor.visit_str(text),
            Value::Integer(number) => visitor.visit_i64(*number),
            Value::Float(number) => visitor.visit_f64(*number),
            Value::Bool(bool) => visitor.visit_bool(*bool),
            Value::List(_) => self.deserialize_seq(visitor),
            Value::Table(_) => self.deserialize_map(visitor),
        }
    }
    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        if let Value::Bool(bool) = self.value { visitor.visit_bool(bool) } else { Err(self.not(Kind::Bool)) }
    }
    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        match &self.value {
            Value::Integer(number) => visitor.visit_i64(*number),
            Value::Float(number) => visitor.visit_f64(*number),
            _ => Err(self.not(Kind::Number)),
        }
    }
    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        self.deserialize_f64(visitor)
    }
    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        match &self.value {
            Value::Text(text) => visitor.visit_str(text),
            _ => Err(self.not(Kind::Text)),
        }
    }
    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        self.deserialize_str(visitor)
    }
    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        self.deserialize_str(visitor)
    }
    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        self.deserialize_str(visitor)
    }
    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        visitor.visit_some(self)
    }
    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Failure> {
        visitor.visit_newtype_struct(self)
    }
    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        match &self.value {
            Value::List(items) => visitor.visit_seq(Items { items, next: 0 }),
            _ => Err(self.not(Kind::List)),
        }
    }
    fn deserialize_tuple<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Failure> {
        self.deserialize_seq(visitor)
    }
    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Failure> {
        match &self.value {
            Value::Table(table) => visitor.visit_map(Entries { table, next: 0 }),
            _ => Err(self.not(Kind::Table)),
        }
    }
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Failure> {
        self.deserialize_map(visitor)
    }
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Failure> {
        let Value::Text(text) = &self.value else { return Err(self.not(Kind::Text)) };
        let name: StrDeserializer<'_, Failure> = text.as_str().into_deserializer();
        visitor.visit_enum(name)
    }

    serde::forward_to_deserialize_any! { i128 u128 bytes byte_buf unit unit_struct tuple_struct ignored_any }
}

struct Items<'a> {
    items: &'a [Node],
    next: usize,
}

impl<'de> SeqAccess<'de> for Items<'_> {
    type Error = Failure;
    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Failure> {
        let index = self.next;
        let Some(node) = self.items.get(index) else { return Ok(None) };
        self.next += 1;
        seed.deserialize(node).map(Some).map_err(|e| e.within(Step::Index(index)))
    }
}

struct Entries<'a> {
    table: &'a Table,
    next: usize,
}

impl<'de> MapAccess<'de> for Entries<'_> {
    type Error = Failure;
    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Failure> {
        let Some(entry) = self.table.entries.get(self.next) else { return Ok(None) };
        let key: StrDeserializer<'_, Failure> = entry.key.as_str().into_deserializer();
        seed.deserialize(key).map(Some).map_err(|e| e.within(Step::Key(entry.key.clone())))
    }
    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Failure> {
        let Some(entry) = self.table.entries.get(self.next) else { return Err(Failure::custom("no value")) };
        self.next += 1;
        seed.deserialize(&entry.node).map_err(|e| e.within(Step::Key(entry.key.clone())))
    }
}
