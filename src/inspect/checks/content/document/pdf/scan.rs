//! Every object of a PDF, wherever it stands: cross-reference tables are not asked, because what they leave out another
//! viewer may show (before the header, behind the end, in older revisions, twice under one number).
//!
//! An object is read as pairs of a name and what follows it, without nesting: enough to know what it does, and nothing
//! in it can loop or grow.

use std::collections::{BTreeMap, BTreeSet};

use memchr::memmem;

use super::super::bytes::slice;
use super::filters::Coding;
use super::lex::{Hidden, Lexer, Token};

/// Objects of one file; pairs of all of them together, those in lists counted one by one.
pub const OBJECTS: usize = 100_000;
const PAIRS: usize = 1_000_000;
/// Names in disguise that are kept of one object.
const HIDDEN: usize = 1000;
/// Names of one list, and letters of one: those of filters and actions are short.
const NAMES: usize = 8;
const LETTERS: usize = 24;

/// Names whose values are looked at; all others are passed over.
const KEYS: &[&str] = &[
    "",
    "AA",
    "BitsPerComponent",
    "Bl",
    "C",
    "CFM",
    "Colors",
    "Columns",
    "D",
    "DOS",
    "DP",
    "DS",
    "DecodeParms",
    "E",
    "EF",
    "EarlyChange",
    "EmbeddedFile",
    "Encrypt",
    "EncryptMetadata",
    "F",
    "FFilter",
    "Filter",
    "First",
    "Fo",
    "Height",
    "ID",
    "ImageMask",
    "JS",
    "JavaScript",
    "Length",
    "Length1",
    "Mac",
    "N",
    "O",
    "OE",
    "OpenAction",
    "P",
    "PC",
    "PI",
    "PO",
    "PV",
    "Predictor",
    "R",
    "RichMedia",
    "RichMediaContent",
    "RichMediaSettings",
    "S",
    "StmF",
    "Subtype",
    "Type",
    "U",
    "UE",
    "UF",
    "URI",
    "URL",
    "Unix",
    "V",
    "WC",
    "WP",
    "WS",
    "Width",
    "Win",
    "X",
    "XFA",
];

/// What follows a name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Value {
    Name(String),
    String(Vec<u8>),
    Number(i64),
    /// To the object of this number.
    Reference(u32),
    Word(String),
    /// A dictionary.
    Inline,
    /// An array, with the names and numbers in it as far as they matter.
    List(Vec<Value>),
    Other,
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Object {
    pub number: u32,
    pub generation: u32,
    /// Where its content begins, and where the next object does.
    pub place: std::ops::Range<usize>,
    pub pairs: Vec<(String, Value)>,
    /// The first string outside pairs: an object may be a lone string.
    pub lone: Vec<Vec<u8>>,
    /// Names with letters written as numbers.
    pub hidden: Vec<String>,
    pub stream: Option<std::ops::Range<usize>>,
    /// A number without a name was kept.
    pub is_number: bool,
    /// Of an object that is no dictionary: the name it is, or the names of a list.
    pub names: Vec<String>,
}

impl Object {
    fn keep(&mut self, key: String, value: Value) {
        // A number without a name counts once: an object may be a lone number.
        let again = key.is_empty() && std::mem::replace(&mut self.is_number, true);
        if KEYS.binary_search(&key.as_str()).is_ok() && !again {
            self.pairs.push((key, value));
        }
    }
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.pairs.iter().find(|(k, _)| k == key).map(|(_, v)| v)
    }
    pub fn is(&self, key: &str, wanted: &str) -> bool {
        self.pairs.iter().any(|(k, v)| k == key && matches!(v, Value::Name(n) if n == wanted))
    }
    pub fn number_of(&self, key: &str) -> Option<usize> {
        match self.get(key)? {
            Value::Number(n) => usize::try_from(*n).ok(),
            _ => None,
        }
    }
    /// What is kept of it, in pairs and members of lists.
    fn weight(&self) -> usize {
        self.pairs.iter().map(|(_, value)| if let Value::List(list) = value { 1 + list.len() } else { 1 }).sum()
    }
    pub fn coding(&self) -> Coding {
        let names = |value: &Value| match value {
            Value::Name(n) => vec![n.clone()],
            Value::List(list) => {
                list.iter().filter_map(|v| if let Value::Name(n) = v { Some(n.clone()) } else { None }).collect()
            }
            _ => Vec::new(),
        };
        let filters =
            self.get("Filter").or_else(|| self.get("F").filter(|v| matches!(v, Value::Name(_) | Value::List(_))));
        Coding {
            filters: filters.map(names).unwrap_or_default(),
            predictor: self.number_of("Predictor").unwrap_or(1),
            columns: self.number_of("Columns").unwrap_or(1),
            colours: self.number_of("Colors").unwrap_or(1),
            bits: self.number_of("BitsPerComponent").unwrap_or(8),
            late: self.number_of("EarlyChange") == Some(0),
        }
    }
}

/// Keys whose value may be a name that stands in an object of its own: viewers look it up, so it is looked up here.
const NAMED: &[&str] = &["Filter", "S", "Subtype", "Type"];
/// The same for numbers.
const NUMBERED: &[&str] =
    &["BitsPerComponent", "Colors", "Columns", "EarlyChange", "First", "Height", "Predictor", "Width"];

/// Puts names, numbers and parameters of filters in the place of references to them.
pub fn resolve(objects: &mut [Object]) {
    let of = |key: &str| {
        objects
            .iter()
            .flat_map(|o| &o.pairs)
            .filter_map(|(k, v)| if let Value::Reference(n) = v { (k == key).then_some(*n) } else { None })
            .collect::<BTreeSet<u32>>()
    };
    let named: BTreeSet<u32> = NAMED.iter().flat_map(|key| of(key)).collect();
    let numbered: BTreeSet<u32> = NUMBERED.iter().flat_map(|key| of(key)).collect();
    let parameters: BTreeSet<u32> = ["DecodeParms", "DP"].iter().flat_map(|key| of(key)).collect();
    if named.is_empty() && numbered.is_empty() && parameters.is_empty() {
        return;
    }
    let all = objects.iter().filter(|o| o.number > 0);
    let names: BTreeMap<u32, Vec<String>> = (all.clone().filter(|o| named.contains(&o.number)))
        .filter(|o| !o.names.is_empty())
        .map(|o| (o.number, o.names.clone()))
        .collect();
    let numbers: BTreeMap<u32, i64> =
        all.clone().filter_map(|o| Some((o.number, i64::try_from(lone_number(o)?).ok()?))).collect();
    let of_filters = |pair: &&(String, Value)| NUMBERED.contains(&pair.0.as_str());
    let pairs: BTreeMap<u32, Vec<(String, Value)>> = all
        .filter(|o| parameters.contains(&o.number))
        .map(|o| (o.number, o.pairs.iter().filter(of_filters).take(8).cloned().collect()))
        .collect();
    for object in objects {
        let mut more = Vec::new();
        for (key, value) in &mut object.pairs {
            let Value::Reference(number) = value else { continue };
            let key = key.as_str();
            if let Some([first, rest @ ..]) = names.get(number).map(Vec::as_slice).filter(|_| NAMED.contains(&key)) {
                *value = if rest.is_empty() {
                    Value::Name(first.clone())
                } else {
                    Value::List([first].into_iter().chain(rest).cloned().map(Value::Name).collect())
                };
            } else if let Some(found) = numbers.get(number).filter(|_| NUMBERED.contains(&key)) {
                *value = Value::Number(*found);
            } else if let Some(found) = pairs.get(number).filter(|_| matches!(key, "DecodeParms" | "DP")) {
                more.extend(found.iter().cloned());
            }
        }
        object.pairs.extend(more);
    }
}

/// All objects and trailers, and whether there are no more than are looked at.
pub fn objects(data: &[u8]) -> (Vec<Object>, bool) {
    // One more than is read: where the last one ends.
    let most = OBJECTS + 1;
    let mut starts: Vec<(usize, u32, u32)> =
        memmem::find_iter(data, b"obj").filter_map(|at| head(data, at)).take(most).collect();
    starts.extend(memmem::find_iter(data, b"trailer").map(|at| (at + 7, 0, 0)).take(most));
    starts.sort_unstable();
    starts.dedup();
    let ends: Vec<usize> = starts.iter().skip(1).map(|s| s.0).chain([data.len()]).collect();
    let (mut found, mut left): (Vec<Object>, usize) = (Vec::new(), PAIRS);
    for ((start, number, generation), end) in starts.iter().zip(ends).take(OBJECTS) {
        let mut object = read(slice(data, 0, end), *start);
        (object.number, object.generation) = (*number, *generation);
        object.place = *start..end;
        left = left.saturating_sub(object.weight());
        found.push(object);
        if left == 0 {
            break;
        }
    }
    let mut ends = Ends { data, stream: Next::new(b"endstream"), object: Next::new(b"endobj") };
    let lengths: BTreeMap<u32, usize> = found.iter().filter_map(|o| Some((o.number, lone_number(o)?))).collect();
    resolve(&mut found);
    for object in &mut found {
        if let Some(range) = object.stream.clone() {
            let length = match object.get("Length") {
                Some(Value::Number(n)) => usize::try_from(*n).ok(),
                Some(Value::Reference(r)) => lengths.get(r).copied(),
                _ => None,
            };
            object.stream = Some(range.start..ends.of(range.start, length));
        }
    }
    let whole = found.len() == starts.len();
    (found, whole)
}

/// `12 0 obj`: where its content begins, and its numbers; `at` is the place of the word.
fn head(data: &[u8], at: usize) -> Option<(usize, u32, u32)> {
    let before = data.get(at.saturating_sub(40)..at)?;
    let text = before.trim_ascii_end();
    if text.len() == before.len() && !before.last()?.is_ascii_digit() {
        return None;
    }
    let mut words = text.rsplit(|b| b.is_ascii_whitespace() || *b == 0).filter(|w| !w.is_empty());
    let number = |w: &[u8]| {
        let digits = w.iter().rev().take_while(|b| b.is_ascii_digit()).count();
        std::str::from_utf8(w.get(w.len() - digits..)?).ok()?.parse::<u32>().ok()
    };
    let generation = number(words.next()?)?;
    let own = number(words.next()?)?;
    Some((at + 3, own, generation))
}

fn lone_number(object: &Object) -> Option<usize> {
    object.pairs.iter().find(|(k, _)| k.is_empty()).and_then(|(_, v)| match v {
        Value::Number(n) => usize::try_from(*n).ok(),
        _ => None,
    })
}

/// Where streams end that are asked for in the order of their places: every octet is searched once.
struct Ends<'d> {
    data: &'d [u8],
    stream: Next,
    object: Next,
}

impl Ends<'_> {
    /// By its length when the word stands there, else at the next such word.
    fn of(&mut self, start: usize, length: Option<usize>) -> usize {
        if let Some(end) = length.and_then(|l| start.checked_add(l))
            && slice(self.data, end, 32).trim_ascii_start().starts_with(b"endstream")
        {
            return end;
        }
        let stop = self.stream.from(self.data, start).or_else(|| self.object.from(self.data, start));
        stop.unwrap_or(self.data.len())
    }
}

/// A word, and what is known of its places.
struct Next {
    word: &'static [u8],
    /// Behind the first place, the word stands at the second next, if at all.
    known: Option<(usize, Option<usize>)>,
}

impl Next {
    const fn new(word: &'static [u8]) -> Self {
        Self { word, known: None }
    }
    /// The first place of the word at or behind `at`.
    fn from(&mut self, data: &[u8], at: usize) -> Option<usize> {
        if let Some((since, found)) = self.known
            && since <= at
            && found.is_none_or(|found| found >= at)
        {
            return found;
        }
        let found = memmem::find(data.get(at..).unwrap_or_default(), self.word).map(|found| at + found);
        self.known = Some((at, found));
        found
    }
}

/// The pairs of the object that begins at `at`; `data` ends where the next one begins.
pub fn read(data: &[u8], at: usize) -> Object {
    let (mut object, mut lexer) = (Object::default(), Lexer::new(data, at));
    let mut tokens: Vec<Token> = Vec::new();
    let (mut key, mut is_dictionary): (Option<String>, bool) = (None, false);
    let mut listed = 0;
    while object.pairs.len() + listed < PAIRS / 10 {
        let Some(token) = tokens.pop().or_else(|| lexer.next()) else { break };
        match token {
            Token::Word(word) => {
                let lower = word.to_ascii_lowercase();
                if lower.starts_with("endobj") {
                    break;
                }
                if lower.starts_with("stream") {
                    object.stream = Some(data_start(data, lexer.at, &word)..data.len());
                    break;
                }
                if let Some(key) = key.take() {
                    object.keep(key, Value::Word(word));
                }
            }
            Token::Name(name, hidden) => {
                if hidden == Hidden::Yes && object.hidden.len() < HIDDEN {
                    object.hidden.push(name.clone());
                }
                if !is_dictionary && object.names.len() < NAMES && name.len() <= LETTERS {
                    object.names.push(name.clone());
                }
                match key.take() {
                    Some(key) => object.keep(key, Value::Name(name)),
                    None => key = Some(name),
                }
            }
            Token::String(text) => match key.take() {
                Some(key) => object.keep(key, Value::String(text)),
                None if object.lone.is_empty() => object.lone.push(text),
                None => {}
            },
            Token::Number(number) => {
                let value = reference(number, &mut lexer, &mut tokens);
                object.keep(key.take().unwrap_or_default(), value);
            }
            Token::Open => {
                is_dictionary = true;
                if let Some(key) = key.take() {
                    object.keep(key, Value::Inline);
                }
            }
            Token::Start => {
                if let Some(key) = key.take() {
                    let list = list(&mut lexer, &mut tokens);
                    listed += list.len();
                    object.keep(key, Value::List(list));
                }
            }
            Token::Close | Token::End => {
                if let Some(key) = key.take() {
                    object.keep(key, Value::Other);
                }
            }
        }
    }
    object
}

/// A number, or a reference when `0 R` follows.
fn reference(number: i64, lexer: &mut Lexer<'_>, tokens: &mut Vec<Token>) -> Value {
    let Some(next) = tokens.pop().or_else(|| lexer.next()) else { return Value::Number(number) };
    if let Token::Number(_) = next {
        let Some(third) = tokens.pop().or_else(|| lexer.next()) else { return Value::Number(number) };
        if matches!(&third, Token::Word(w) if w.eq_ignore_ascii_case("r")) {
            return u32::try_from(number).map_or(Value::Other, Value::Reference);
        }
        tokens.push(third);
    }
    tokens.push(next);
    Value::Number(number)
}

/// Names, strings and references at the start of an array; a dictionary ends it, and is read as pairs of the object.
fn list(lexer: &mut Lexer<'_>, tokens: &mut Vec<Token>) -> Vec<Value> {
    let mut out = Vec::new();
    while out.len() < 64 {
        match tokens.pop().or_else(|| lexer.next()) {
            Some(Token::Name(name, _)) => out.push(Value::Name(name)),
            Some(Token::String(text)) => out.push(Value::String(text)),
            Some(Token::Number(number)) => {
                let value = reference(number, lexer, tokens);
                out.push(value);
            }
            Some(Token::Word(_)) => {}
            Some(other) => {
                if other != Token::End {
                    tokens.push(other);
                }
                break;
            }
            None => break,
        }
    }
    out
}

/// The data begins behind the end of line of `stream` (§7.3.8.1); some writers leave it out or use a lone CR.
fn data_start(data: &[u8], behind: usize, word: &str) -> usize {
    let at = behind - word.len().saturating_sub(6).min(behind);
    let skip = |at: usize| match slice(data, at, 2) {
        b"\r\n" => at + 2,
        [b'\r' | b'\n', ..] => at + 1,
        _ => at,
    };
    let blank = slice(data, at, 8).iter().take_while(|b| matches!(b, b' ' | b'\t')).count();
    let after = skip(at + blank);
    if after > at + blank { after } else { skip(at) }
}
