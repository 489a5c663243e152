//! That a message does not pay for rules that cannot hit, and that what saves the work loses no hit.

use std::collections::BTreeSet;
use std::path::PathBuf;

use regex_syntax::Parser;
use regex_syntax::hir::{Class, Hir, HirKind};

use super::*;
use crate::env::Dice;
use crate::inspect::rules::sample::Sample;
use crate::inspect::rules::{Outer, Source};
use crate::mail::mime::{self, Limits};

fn many(count: usize) -> RuleSet {
    let rule = |i: usize| {
        let when = if i.is_multiple_of(2) {
            format!("{{ in = 'body', words = ['word{i} tail', 'other{i}'] }}")
        } else {
            format!("{{ in = ['subject', 'body'], regex = '(?i)offer{i}\\s+\\d+' }}")
        };
        format!(
            "[[rule]]\nid = \"R{i:05}\"\nscore = 1.0\nmode = \"enforce\"\ndescription = {{ vi = \"v\", en = \"e\" }}\n\
             when = {when}\n[[test]]\nrule = \"R{i:05}\"\nhits = [{{}}]\nmisses = [{{}}]\n"
        )
    };
    let text = (0..count).map(rule).collect();
    RuleSet::from_sources(&[Source { name: "many.toml".into(), text }]).unwrap()
}

/// What a message pays for: automata over the text and the expressions whose literal was seen. Neither grows with
/// the number of rules, so 5,000 rules cost a message about what 300 do (DESIGN §6, growth).
#[test]
fn a_message_does_not_pay_for_rules_that_cannot_hit() {
    for count in [300, 5000] {
        let set = many(count);
        let matcher = set.matcher();
        assert!(matcher.lanes.iter().all(|lane| lane.always.is_empty()), "every expression has a literal");
        assert_eq!(matcher.lanes.len(), 2, "subject and body, words and expressions together: whatever the count");
        let raw = b"Subject: offer7 12\r\n\r\nOther8 and offer9 without a number, word10  Tail\r\n";
        let surfaces = Surfaces::from_tree(raw, &mime::parse(raw, &Limits::default()), &Outer::default());
        let hits: Vec<u32> = set.match_atoms(&surfaces).iter().map(|h| h.atom).collect();
        assert_eq!(hits, [7, 8, 10]);
    }
}

/// The same rules with no use of literals: every expression runs on every text.
fn without_literals(set: &RuleSet) -> Matcher {
    let mut matcher = Matcher::build(set.atoms());
    for lane in &mut matcher.lanes {
        let number = |(_, target): &(Form, Target)| match target {
            Target::Regex(number, _) => Some(*number),
            Target::Word { .. } => None,
        };
        let all: BTreeSet<usize> = lane.targets.iter().flatten().filter_map(number).collect();
        lane.always.extend(all);
        lane.targets.iter_mut().for_each(|list| list.retain(|(_, target)| matches!(target, Target::Word { .. })));
    }
    matcher
}

/// A text that the expression matches, but for what it asks of the places around.
fn grow(hir: &Hir, dice: &Dice, out: &mut String) {
    let pick = |count: usize| usize::try_from(dice.below(count as u64)).unwrap();
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => {}
        HirKind::Literal(literal) => out.push_str(std::str::from_utf8(&literal.0).unwrap()),
        HirKind::Class(Class::Unicode(class)) => {
            // Half of the time the first range, which is where letters that people write stand.
            let Some(range) = class.ranges().get(pick(class.ranges().len()) * pick(2)) else { return };
            let (start, end) = (u32::from(range.start()), u32::from(range.end()));
            let chosen = start + u32::try_from(dice.below(u64::from(end - start) + 1)).unwrap();
            out.push(char::from_u32(chosen).unwrap_or(range.start()));
        }
        HirKind::Class(Class::Bytes(class)) => {
            out.extend(class.ranges().first().map(|range| char::from(range.start())))
        }
        HirKind::Repetition(repetition) => {
            let more = repetition.max.unwrap_or(u32::MAX).saturating_sub(repetition.min).min(3);
            (0..u64::from(repetition.min) + dice.below(u64::from(more) + 1))
                .for_each(|_| grow(&repetition.sub, dice, out));
        }
        HirKind::Capture(capture) => grow(&capture.sub, dice, out),
        HirKind::Concat(pieces) => pieces.iter().for_each(|piece| grow(piece, dice, out)),
        HirKind::Alternation(branches) => grow(&branches[pick(branches.len())], dice, out),
    }
}

/// As people write it, and as those write it who do not want to be understood by filters.
fn disguised(text: &str, dice: &Dice) -> String {
    match dice.below(8) {
        0 => text.to_uppercase(),
        1 => text.replace(' ', "  "),
        2 => text.replace(' ', "\u{a0}"),
        3 => text.chars().flat_map(|c| [c, '\u{200b}']).collect(),
        4 => format!("´ {text}™"),
        _ => text.to_owned(),
    }
}

/// Letters that the rules' expressions match get the same hits with literals as without; how many there were.
fn agree(set: &RuleSet, rounds: u32, dice: &Dice) -> usize {
    let (quick, slow) = (set.matcher(), without_literals(set));
    assert!(slow.lanes.iter().any(|lane| !lane.always.is_empty()));
    let trees: Vec<Hir> =
        quick.regexes.iter().map(|compiled| Parser::new().parse(compiled.regex.as_str()).unwrap()).collect();
    let piece = || {
        let mut out = String::new();
        grow(&trees[usize::try_from(dice.below(trees.len() as u64)).unwrap()], dice, &mut out);
        disguised(&out, dice)
    };
    let line = || piece().replace(|c: char| c.is_control() || c == '"', " ");
    let mut hits = 0;
    for _ in 0..rounds {
        let sample = Sample {
            from: Some(format!("{} <{}>", line(), line())),
            subject: Some(line()),
            body: Some([piece(), piece(), piece(), piece()].join("\n")),
            html: Some(format!("<p>{}<a href=\"http://{}/{}\">{}</a>", piece(), line(), line(), line())),
            attachments: vec![(line(), "application/pdf".to_owned())],
            helo: Some(line()),
            ..Sample::default()
        };
        let raw = sample.raw();
        let outer = Outer { helo: sample.helo.as_deref().unwrap_or(""), ..Outer::default() };
        let surfaces = Surfaces::from_tree(&raw, &mime::parse(&raw, &Limits::default()), &outer);
        let found = quick.run(&surfaces);
        assert_eq!(found, slow.run(&surfaces), "{}", String::from_utf8_lossy(&raw));
        hits += found.len();
    }
    hits
}

#[test]
fn literals_lose_no_hit_of_the_shipped_rules() {
    let set = RuleSet::load(&[PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/rules/spam"))]).unwrap();
    let seed = 1;
    let hits = agree(&set, 300, &Dice::seeded(seed));
    assert!(3000 < hits, "seed {seed}: {hits}");
}

#[test]
fn literals_lose_no_hit_of_odd_expressions() {
    const ODD: [&str; 24] = [
        r"two  blanks",
        r" edge blank ",
        r"a\x{200b}bc",
        r"ſafe",
        r"(?i)safe",
        r"(?x) abc \s def # words",
        r"(?s)abc.def",
        r"(?i)kelvin",
        r"(?i)straße",
        r"(?i)ĐẶT HÀNG",
        r"đặt  hàng",
        r"(?-u:abc)\sxyz",
        r"(?:abc|def ghi){2}",
        r"xyz(?:abc )?\d",
        r"(?m)^abc def$",
        r"[^\W\d]bcd",
        r"abc\x{a0}def",
        r"abc\tdef\nghi",
        r"(?i)ΣΊΣ",
        r"(?i:pay)[ ]pal",
        r"[aA][bB][cC][dD]",
        r"(?i)tm|paypal",
        r"(?:send|tell us)[^.]{0,20}(?:password|pin code)",
        r"[\x{202a}-\x{202e}]",
    ];
    let places = "['subject', 'body', 'html', 'headers', 'from.name', 'attachment.name']";
    let rule = |i: usize, pattern: &str, form: &str| {
        let id = format!("{}{i:02}", form.to_uppercase());
        format!(
            "[[rule]]\nid = \"{id}\"\nscore = 1.0\nmode = \"enforce\"\ndescription = {{ vi = \"v\", en = \"e\" }}\n\
             when = {{ in = {places}, regex = '{pattern}', form = '{form}' }}\n[[test]]\nrule = \"{id}\"\n\
             hits = [{{}}]\nmisses = [{{}}]\n"
        )
    };
    let forms = Form::NAMES.map(|(name, _)| name);
    let text = ODD.iter().enumerate().flat_map(|(i, p)| forms.map(|form| rule(i, p, form))).collect();
    let set = RuleSet::from_sources(&[Source { name: "odd.toml".into(), text }]).unwrap();
    let seed = 2;
    let hits = agree(&set, 300, &Dice::seeded(seed));
    assert!(3000 < hits, "seed {seed}: {hits}");
}
