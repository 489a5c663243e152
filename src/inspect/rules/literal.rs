//! Literals that every match of a regular expression must contain. One automaton looks for those of all patterns at
//! once; a pattern runs only where one of its literals was seen, so a message does not pay for rules that cannot hit.

use regex_syntax::Parser;
use regex_syntax::hir::{Class, Hir, HirKind};

/// Shorter literals are everywhere and save nothing.
const SHORTEST: usize = 3;
const MOST: usize = 64;

/// Small-letter literals of which each match of `pattern` contains one; `None` when there are no good ones.
#[must_use]
pub fn required(pattern: &str) -> Option<Vec<String>> {
    let hir = Parser::new().parse(pattern).ok()?;
    best(&hir, 0)
}

fn best(hir: &Hir, depth: usize) -> Option<Vec<String>> {
    if depth > 60 {
        return None;
    }
    match hir.kind() {
        HirKind::Literal(_) | HirKind::Class(_) | HirKind::Concat(_) => concat(hir, depth),
        HirKind::Capture(capture) => best(&capture.sub, depth + 1),
        HirKind::Repetition(repetition) if repetition.min > 0 => best(&repetition.sub, depth + 1),
        HirKind::Alternation(branches) => {
            let mut all = Vec::new();
            for branch in branches {
                all.extend(best(branch, depth + 1)?);
            }
            (all.len() <= MOST).then_some(all)
        }
        _ => None,
    }
}

/// The best of the literal runs and of the pieces' own literals: the one whose shortest member is longest.
fn concat(hir: &Hir, depth: usize) -> Option<Vec<String>> {
    let single = std::slice::from_ref(hir);
    let pieces: &[Hir] = if let HirKind::Concat(pieces) = hir.kind() { pieces } else { single };
    let mut candidates: Vec<Vec<String>> = Vec::new();
    let mut run = String::new();
    for piece in pieces {
        if let Some(text) = letters(piece) {
            run.push_str(&text);
            continue;
        }
        candidates.extend(longest_word(&std::mem::take(&mut run)));
        if matches!(
            piece.kind(),
            HirKind::Capture(_) | HirKind::Repetition(_) | HirKind::Alternation(_) | HirKind::Concat(_)
        ) {
            candidates.extend(best(piece, depth + 1));
        }
    }
    candidates.extend(longest_word(&run));
    candidates.into_iter().max_by_key(|set| set.iter().map(String::len).min().unwrap_or(0))
}

/// The small letters of a piece that can only match them, in either case.
fn letters(hir: &Hir) -> Option<String> {
    match hir.kind() {
        HirKind::Literal(literal) => {
            std::str::from_utf8(&literal.0).ok().map(|t| t.chars().flat_map(char::to_lowercase).collect())
        }
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

/// White space is folded in the text that is searched, so literals end at it.
fn longest_word(run: &str) -> Option<Vec<String>> {
    let word = run.split(char::is_whitespace).max_by_key(|w| w.len())?;
    (word.chars().count() >= SHORTEST).then(|| vec![word.to_owned()])
}

#[cfg(test)]
mod tests {
    use super::required;

    fn check(pattern: &str, expected: Option<&[&str]>) {
        let expected = expected.map(|list| list.iter().map(|s| (*s).to_owned()).collect());
        assert_eq!(required(pattern), expected, "{pattern}");
    }

    #[test]
    fn every_match_contains_one_of_the_literals() {
        check("abcdef", Some(&["abcdef"]));
        check("(?i)password reset", Some(&["password"]));
        check("(?i)AbcD[0-9]+xyz", Some(&["abcd"]));
        check(r"\b(?:paypal|amazon)\b\s+\d", Some(&["paypal", "amazon"]));
        check(r"(?:one|[0-9])", None);
        check(r"a?b*c", None);
        check(r"(?i)đặt hàng", Some(&["đặt"]));
        check(r"(?:verify){2,3}", Some(&["verify"]));
    }
}
