//! Literals that every match of a regular expression must contain. One automaton looks for those of all patterns at
//! once; a pattern runs only where one of its literals was seen, so a message does not pay for rules that cannot hit.

use regex_syntax::Parser;
use regex_syntax::hir::{Class, Hir, HirKind};

use super::text::fold::is_invisible;

/// Shorter literals are everywhere and save nothing.
const SHORTEST: usize = 3;
const MOST: usize = 64;
/// Clauses kept of a pattern: a bit each in an octet.
const CLAUSES: usize = 4;

/// Literals of which each match contains one.
pub type Clause = Vec<String>;

/// Clauses that every match of `pattern` fulfils, all of them, strongest first, at most [`CLAUSES`]; none when there
/// are no good ones. All literals are in small letters.
#[must_use]
pub fn required(pattern: &str) -> Vec<Clause> {
    let Ok(hir) = Parser::new().parse(pattern) else { return Vec::new() };
    let mut all = clauses(&hir, 0);
    all.sort_by_key(|clause| std::cmp::Reverse(strength(clause)));
    all.dedup();
    all.truncate(CLAUSES);
    all
}

/// The length of the shortest literal.
fn strength(clause: &Clause) -> usize {
    clause.iter().map(String::len).min().unwrap_or(0)
}

fn clauses(hir: &Hir, depth: usize) -> Vec<Clause> {
    if depth > 60 {
        return Vec::new();
    }
    match hir.kind() {
        HirKind::Literal(_) | HirKind::Class(_) | HirKind::Concat(_) => concat(hir, depth),
        HirKind::Capture(capture) => clauses(&capture.sub, depth + 1),
        HirKind::Repetition(repetition) if repetition.min > 0 => clauses(&repetition.sub, depth + 1),
        HirKind::Alternation(branches) => {
            let mut all = Vec::new();
            for branch in branches {
                // A branch without one can match without any.
                let Some(strongest) = clauses(branch, depth + 1).into_iter().max_by_key(strength) else {
                    return Vec::new();
                };
                all.extend(strongest);
            }
            if all.len() <= MOST { vec![all] } else { Vec::new() }
        }
        _ => Vec::new(),
    }
}

/// The literal runs and the pieces' own clauses: a match contains all of them.
fn concat(hir: &Hir, depth: usize) -> Vec<Clause> {
    let single = std::slice::from_ref(hir);
    let pieces: &[Hir] = if let HirKind::Concat(pieces) = hir.kind() { pieces } else { single };
    let mut found: Vec<Clause> = Vec::new();
    let mut run = String::new();
    for piece in pieces {
        if let Some(text) = letters(piece) {
            run.push_str(&text);
            continue;
        }
        found.extend(longest_word(&std::mem::take(&mut run)));
        if matches!(
            piece.kind(),
            HirKind::Capture(_) | HirKind::Repetition(_) | HirKind::Alternation(_) | HirKind::Concat(_)
        ) {
            found.extend(clauses(piece, depth + 1));
        }
    }
    found.extend(longest_word(&run));
    found
}

/// The small letters of a piece that can only match them, in either case.
fn letters(hir: &Hir) -> Option<String> {
    match hir.kind() {
        HirKind::Literal(literal) => std::str::from_utf8(&literal.0).ok().map(|t| t.chars().map(small).collect()),
        HirKind::Class(Class::Unicode(class)) => {
            let mut members = class.iter().flat_map(|range| range.start()..=range.end());
            let first = small(members.next()?);
            let same = members.by_ref().take(4).all(|c| small(c) == first);
            (same && members.next().is_none()).then_some(first)
        }
        _ => None,
    }
}

/// As the accented form has it: the long s is an s there.
fn small(c: char) -> String {
    if c == 'ſ' { "s".to_owned() } else { c.to_lowercase().collect() }
}

/// The longest stretch that stands in the searched text as it does here. There invisible characters are gone, other white
/// space may have become a blank, and several blanks may have become one or not (NFKD makes some of its own in the plain
/// form), so literals end at them.
fn longest_word(run: &str) -> Option<Clause> {
    let stretches = run.split(|c: char| c.is_whitespace() && c != ' ' || is_invisible(c));
    let longest = stretches.flat_map(|stretch| stretch.split("  ")).map(str::trim).max_by_key(|s| s.len())?;
    (longest.chars().count() >= SHORTEST).then(|| vec![longest.to_owned()])
}

#[cfg(test)]
mod tests {
    use super::required;

    fn check(pattern: &str, expected: &[&[&str]]) {
        assert_eq!(required(pattern), expected, "{pattern}");
    }

    #[test]
    fn every_match_contains_one_literal_of_each_clause() {
        check("abcdef", &[&["abcdef"]]);
        check("(?i)password reset", &[&["password reset"]]);
        check("  Two  blanks\\nand a line ", &[&["and a line"]]);
        check("one  and\u{200b}two", &[&["two"]]);
        check("ſafe", &[&["safe"]]);
        check("so the|one two", &[&["so the", "one two"]]);
        check("(?i)AbcD[0-9]+xyz", &[&["abcd"], &["xyz"]]);
        check(r"\b(?:paypal|amazon)\b\s+\d", &[&["paypal", "amazon"]]);
        check(r"(?:send|tell us)[^.]{0,120}(?:password|pin code)", &[&["password", "pin code"], &["send", "tell us"]]);
        check(r"(?:one|[0-9])", &[]);
        check(r"a?b*c", &[]);
        check(r"(?i)đặt hàng", &[&["đặt hàng"]]);
        check(r"(?:verify){2,3}", &[&["verify"]]);
        check(r"abc\d(?:defg\d(?:hij|klm))?", &[&["abc"]]);
    }
}
