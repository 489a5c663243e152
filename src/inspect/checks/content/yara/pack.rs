//! Rule files taken apart: where each rule stands and which others it uses, so that a set can be made without some of
//! them. What is left out becomes blanks: lines and columns of the rest stay what they are in the officer's file.
//!
//! The parser is the compiler's own; what it cannot read stays in the text, and the compiler tells what is wrong with it.

use std::collections::HashMap;
use std::ops::Range;

use yara_x_parser::Parser;
use yara_x_parser::cst::{CSTStream, Event, SyntaxKind};

use super::{Source, namespace, shape};

/// Every rule of some files.
#[derive(Debug)]
pub struct Packs<'s> {
    sources: &'s [Source],
    rules: Vec<Rule>,
}

#[derive(Debug)]
struct Rule {
    /// Number of its file.
    source: usize,
    /// From its first word to its last brace.
    span: Range<usize>,
    /// `namespace.rule`
    name: String,
    /// Numbers of the rules that its condition names; all stand before it.
    uses: Vec<usize>,
}

impl<'s> Packs<'s> {
    #[must_use]
    pub fn open(sources: &'s [Source]) -> Self {
        let mut rules: Vec<Rule> = Vec::new();
        let mut known: HashMap<String, usize> = HashMap::new();
        for (number, source) in sources.iter().enumerate() {
            let space = namespace(source);
            for found in read(&source.text) {
                let name = format!("{space}.{}", found.name);
                let mut uses: Vec<usize> =
                    found.words.iter().filter_map(|word| known.get(&format!("{space}.{word}")).copied()).collect();
                uses.sort_unstable();
                uses.dedup();
                known.insert(name.clone(), rules.len());
                rules.push(Rule { source: number, span: found.span, name, uses });
            }
        }
        Self { sources, rules }
    }

    #[must_use]
    pub const fn len(&self) -> usize {
        self.rules.len()
    }

    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// `namespace.rule` of a rule.
    #[must_use]
    pub fn name(&self, rule: usize) -> &str {
        self.rules.get(rule).map_or("", |rule| &rule.name)
    }

    /// The file that a rule stands in.
    #[must_use]
    pub fn source(&self, rule: usize) -> Option<&'s Source> {
        self.sources.get(self.rules.get(rule)?.source)
    }

    /// Where a rule begins in the text of its file, in octets.
    #[must_use]
    pub fn start(&self, rule: usize) -> usize {
        self.rules.get(rule).map_or(0, |rule| rule.span.start)
    }

    /// The rules that one rule is built on, those first that others are built on.
    #[must_use]
    pub fn below(&self, rule: usize) -> Vec<usize> {
        let mut wanted = vec![false; self.rules.len()];
        self.mark(rule..rule.saturating_add(1), &mut wanted);
        (0..rule).filter(|number| wanted.get(*number).copied().unwrap_or_default()).collect()
    }

    /// Only the rules of `range`, and what they are built on.
    #[must_use]
    pub fn only(&self, range: Range<usize>) -> Vec<Source> {
        let mut wanted = vec![false; self.rules.len()];
        self.mark(range, &mut wanted);
        self.keep(&wanted)
    }

    /// All but the rules named, and but those that are built on one of these: half of their evidence would be missing.
    /// Beside the files come the names of all rules that are left out.
    #[must_use]
    pub fn without(&self, parked: impl Fn(&str) -> bool) -> (Vec<Source>, Vec<String>) {
        let mut wanted: Vec<bool> = Vec::with_capacity(self.rules.len());
        let mut left_out = Vec::new();
        for rule in &self.rules {
            // What a rule uses stands before it.
            let whole = rule.uses.iter().all(|number| wanted.get(*number).copied().unwrap_or_default());
            let stays = whole && !parked(&rule.name);
            if !stays {
                left_out.push(rule.name.clone());
            }
            wanted.push(stays);
        }
        (self.keep(&wanted), left_out)
    }

    /// Marks the rules of `range` and what they are built on.
    fn mark(&self, range: Range<usize>, wanted: &mut [bool]) {
        let mut open: Vec<usize> = range.collect();
        while let Some(number) = open.pop() {
            let (Some(rule), Some(mark)) = (self.rules.get(number), wanted.get_mut(number)) else { continue };
            if !std::mem::replace(mark, true) {
                open.extend(&rule.uses);
            }
        }
    }

    /// The files with blanks where unwanted rules stood; a file without any rule is left out.
    fn keep(&self, wanted: &[bool]) -> Vec<Source> {
        let mut texts: Vec<Option<Vec<u8>>> = vec![None; self.sources.len()];
        for (rule, wanted) in self.rules.iter().zip(wanted) {
            if let (true, Some(slot), Some(source)) =
                (*wanted, texts.get_mut(rule.source), self.sources.get(rule.source))
            {
                slot.get_or_insert_with(|| source.text.clone().into_bytes());
            }
        }
        for (rule, _) in self.rules.iter().zip(wanted).filter(|(_, wanted)| !**wanted) {
            let text = texts.get_mut(rule.source).and_then(Option::as_mut);
            let octets = text.and_then(|text| text.get_mut(rule.span.clone())).unwrap_or_default();
            octets.iter_mut().filter(|octet| **octet != b'\n').for_each(|octet| *octet = b' ');
        }
        let files = self.sources.iter().zip(texts);
        // Whole rules became blanks, so what is left is text as before.
        files
            .filter_map(|(source, text)| {
                Some(Source { file: source.file.clone(), text: String::from_utf8(text?).ok()? })
            })
            .collect()
    }
}

/// One rule of a text.
struct Found<'t> {
    span: Range<usize>,
    name: &'t str,
    /// Names in its condition; not those behind a dot.
    words: Vec<&'t str>,
}

fn read(text: &str) -> Vec<Found<'_>> {
    let mut found = Vec::new();
    // The parser works by recursion, too; the compiler will say what is wrong.
    if shape::check(text).is_err() {
        return found;
    }
    let mut current: Option<Found<'_>> = None;
    let (mut in_condition, mut behind_dot) = (false, false);
    // Comments and blanks may stand between a dot and its name.
    let events = CSTStream::from(Parser::new(text.as_bytes())).whitespaces(false).newlines(false).comments(false);
    for event in events {
        match event {
            Event::Begin { kind: SyntaxKind::RULE_DECL, span } => {
                current = Some(Found { span: span.range(), name: "", words: Vec::new() });
            }
            Event::End { kind: SyntaxKind::RULE_DECL, span } => {
                found.extend(current.take().map(|rule| Found { span: rule.span.start..span.end(), ..rule }));
            }
            Event::Begin { kind: SyntaxKind::CONDITION_BLK, .. } => in_condition = true,
            Event::End { kind: SyntaxKind::CONDITION_BLK, .. } => in_condition = false,
            Event::Token { kind, span } => {
                let word = text.get(span.range()).filter(|_| kind == SyntaxKind::IDENT);
                if let (Some(rule), Some(word)) = (&mut current, word) {
                    if in_condition && !behind_dot {
                        rule.words.push(word);
                    } else if rule.name.is_empty() {
                        rule.name = word;
                    }
                }
                behind_dot = kind == SyntaxKind::DOT;
            }
            _ => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACK: &str = "import \"pe\"\n// one\nprivate rule timestamp { condition: filesize > 1 } rule plain : tag {\n  strings:\n    \
        $a = \"đây\"\n  condition:\n    $a\n}\nrule upper { condition: timestamp and pe /* . */ . is_signed }\nrule top { condition: not upper }\n\
        global rule last { condition: pe.timestamp > 1 or true }\n";

    fn source(file: &str, text: &str) -> Source {
        Source { file: file.into(), text: text.to_owned() }
    }

    fn names(sources: &[Source]) -> Vec<String> {
        let packs = Packs::open(sources);
        (0..packs.len()).map(|rule| packs.name(rule).to_owned()).collect()
    }

    #[test]
    fn every_rule_is_found_with_what_it_uses() {
        let sources = [source("a/Docs.yar", PACK), source("other.yar", "rule top { condition: true }")];
        let packs = Packs::open(&sources);
        assert_eq!(
            names(&sources),
            ["docs.timestamp", "docs.plain", "docs.upper", "docs.top", "docs.last", "other.top"]
        );
        assert_eq!(packs.below(3), [0, 2], "through another one, too");
        assert!(packs.below(4).is_empty(), "a field of a module is no rule");
        assert!(packs.below(5).is_empty(), "of the same name in another namespace");
        assert_eq!(packs.source(5).unwrap().file.to_str(), Some("other.yar"));
    }

    #[test]
    fn what_is_left_keeps_its_place_and_compiles() {
        let sources = [source("docs.yar", PACK), source("other.yar", "rule top { condition: true }")];
        let packs = Packs::open(&sources);
        let (left, out) = packs.without(|name| name == "docs.timestamp");
        assert_eq!(out, ["docs.timestamp", "docs.upper", "docs.top"], "what is built on it goes with it");
        assert_eq!(names(&left), ["docs.plain", "docs.last", "other.top"]);
        let (before, after) = (PACK.find("rule plain"), left[0].text.find("rule plain"));
        assert_eq!((before, PACK.len()), (after, left[0].text.len()));
        assert!(super::super::RuleSet::compile(&left).is_ok());
        let only = packs.only(3..4);
        assert_eq!(names(&only), ["docs.timestamp", "docs.upper", "docs.top"], "and not the other file");
        assert!(super::super::RuleSet::compile(&only).is_ok());
        assert!(packs.only(0..0).is_empty());
    }

    #[test]
    fn a_broken_file_is_left_to_the_compiler() {
        for broken in ["rule { condition", "rule a { condition: } rule b { condition: true }", "\u{0}", "rule a {"] {
            let sources = [source("x.yar", broken)];
            let (left, _) = Packs::open(&sources).without(|_| false);
            assert!(left.iter().all(|source| source.text.len() == broken.len()));
        }
    }
}
