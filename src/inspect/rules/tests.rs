//! Rules files from text to hits, and the Vietnamese encodings on real test mail.

use super::*;
use crate::mail::Problem;
use crate::mail::mime::{self, Limits};

fn sources(text: &str) -> Vec<Source> {
    vec![Source { name: "t.toml".into(), text: text.into() }]
}

fn problems(text: &str) -> Vec<String> {
    match RuleSet::from_sources(&sources(text)) {
        Ok(_) => Vec::new(),
        Err(list) => list.iter().map(Problem::to_string).collect(),
    }
}

/// A rule with its condition and its samples.
fn rule(id: &str, when: &str, hits: &str, misses: &str) -> String {
    format!(
        "[[rule]]\nid = \"{id}\"\nscore = 1.0\nmode = \"enforce\"\ndescription = {{ vi = \"v\", en = \"e\" }}\n\
         when = {when}\n[[test]]\nrule = \"{id}\"\nhits = [{hits}]\nmisses = [{misses}]\n"
    )
}

/// The rule must hit all of `hits` and none of `misses`.
fn proves(when: &str, hits: &str, misses: &str) {
    let sources = sources(&rule("AAA", when, hits, misses));
    let set = RuleSet::from_sources(&sources).unwrap_or_else(|p| panic!("{p:?}"));
    let (count, failed) = set.run_tests(&sources);
    assert!(count >= 2 && failed.is_empty(), "{failed:?}");
}

#[test]
fn words_are_found_in_the_form_that_is_asked_for() {
    proves(
        "{ in = 'body', words = ['khuyến mãi'] }",
        "{ body = 'Khuyen mai lon' }, { body = 'KHUYẾN  MÃI' }",
        "{ body = 'khuyenmai' }",
    );
    proves(
        "{ in = 'body', words = ['khuyến mãi'], form = 'accented' }",
        "{ body = \"x KHUYẾN\\nMÃI\" }",
        "{ body = 'khuyen mai' }, { body = 'khuyến mãix' }",
    );
    proves(
        "{ in = ['subject', 'body'], words = ['vay vốn nhanh'], form = 'skeleton' }",
        "{ subject = 'v a y v.ố.n nh4nh' }",
        "{ body = 'vay' }",
    );
    proves("{ in = 'body', words = ['verif*'] }", "{ body = 'please verify' }", "{ body = 'unverified' }");
}

#[test]
fn conditions_combine() {
    let pair = "{ in = 'body', words = ['a1', 'b1', 'c1'], count = 2 }";
    proves(pair, "{ body = 'a1 c1' }", "{ body = 'a1 a1' }");
    proves(
        "[{ finding = 'spf.*' }, { not = { header = 'X-A' } }]",
        "{ findings = ['spf.fail'] }",
        "{ findings = ['spf.fail'], headers = { X-A = '1' } }",
    );
    let two = "{ at_least = 2, of = [{ in = 'subject', regex = '(?i)urgent' }, { in = 'helo', words = ['h'] }, { number = 'size', over = '100 KiB' }] }";
    proves(two, "{ subject = 'URGENT', helo = 'h' }", "{ subject = 'urgent' }");
    proves(
        "{ in = 'host', regex = 'gov', unless = '\\.gov\\.vn$' }",
        "{ body = 'http://gov.x.test/ http://a.gov.vn/' }",
        "{ body = 'http://a.gov.vn/' }",
    );
}

#[test]
fn rules_may_build_on_rules_in_any_order() {
    let text = rule(
        "AAA",
        "{ all = [{ rule = 'BBB' }, { not = { rule = 'CCC' } }] }",
        "{ subject = 'b' }",
        "{ subject = 'b c' }",
    ) + &rule("BBB", "{ in = 'subject', words = ['b'] }", "{ subject = 'b' }", "{ subject = 'x' }")
        + &rule("CCC", "{ in = 'subject', words = ['c'] }", "{ subject = 'c' }", "{ subject = 'x' }");
    let sources = sources(&text);
    let set = RuleSet::from_sources(&sources).unwrap();
    assert_eq!(set.run_tests(&sources), (6, vec![]));
}

#[test]
fn every_problem_is_told_at_once_with_its_place() {
    let text = "[[rule]]\nid = \"AAA\"\nscore = \"1\"\nmode = \"enforced\"\ndescripton = { vi = \"v\", en = \"e\" }\nwhen = { in = \"bdy\", regex = \"(a\" }\n";
    let found = problems(text);
    for expected in [
        "t.toml:2:6: rule AAA has no description",
        "t.toml:3:9: score must be a number",
        "t.toml:4:8: \"enforced\" is not a mode (did you mean \"enforce\"?)",
        "t.toml:5:1: a rule has no key \"descripton\" (did you mean \"description\"?)",
        "t.toml:6:15: there is no place \"bdy\" in a message (did you mean \"body\"?)",
        "t.toml:6:30: bad regular expression: unclosed group",
    ] {
        assert!(found.iter().any(|p| p.starts_with(expected)), "{expected}\n{found:#?}");
    }
}

#[test]
fn unknown_names_cycles_doubles_and_missing_tests_are_problems() {
    let one = |when: &str| rule("AAA", when, "{ body = 'x' }", "{ body = 'y' }");
    for (text, expected) in [
        (one("{ rule = 'AAAA' }"), "there is no rule AAAA (did you mean \"AAA\"?)"),
        (one("{ rule = 'AAA' }"), "rule AAA depends on itself"),
        (one("{ in = 'body', words = ['x'] }").repeat(2), "rule AAA is defined twice"),
        (one("{ feature = 'link.mismach' }"), "there is no feature \"link.mismach\" (did you mean \"link.mismatch\"?)"),
        (one("{ in = 'body', regex = 'a*' }"), "this pattern matches everything"),
        (one("{ in = 'body', regex = '(?=a)' }"), "bad regular expression: look-around"),
        (one("{ in = 'body', words = ['tài xỉu'], form = 'skeleton' }"), "is too short"),
        (one("{ in = 'body', words = ['x'], count = 2 }"), "count must lie between 1 and 1"),
        (one("{ any = [] }"), "any has no conditions"),
        (one("{ bodi = 'x' }"), "\"bodi\" begins no condition"),
        (rule("AAA", "{ header = 'X' }", "", "{ body = 'y' }"), "rule AAA has no sample that hits"),
        (one("{ header = 'X' }").replace("rule = \"AAA\"", "rule = \"BBB\""), "there is no rule BBB"),
        ("[[rule]\n".to_owned(), "t.toml:1:"),
        ("[[rules]]\nx = 1\n".to_owned(), "a rules file has no key \"rules\" (did you mean \"rule\"?)"),
    ] {
        let found = problems(&text);
        assert!(found.iter().any(|p| p.contains(expected)), "{expected}\n{found:#?}");
    }
}

#[test]
fn equal_sources_give_equal_atoms_in_every_process() {
    let text = rule(
        "AAA",
        "[{ in = 'body', words = ['x'] }, { header = 'X-A' }]",
        "{ body = 'x', headers = { X-A = '1' } }",
        "{ body = 'y' }",
    );
    let (a, b) = (RuleSet::from_sources(&sources(&text)).unwrap(), RuleSet::from_sources(&sources(&text)).unwrap());
    let raw = b"X-A: 1\r\n\r\nx\r\n";
    let surfaces = Surfaces::from_tree(raw, &mime::parse(raw, &Limits::default()), &Outer::default());
    assert_eq!(a.match_atoms(&surfaces), b.match_atoms(&surfaces));
    assert_eq!(a.match_atoms(&surfaces).iter().map(|h| h.atom).collect::<Vec<_>>(), [0, 1]);
    assert_eq!(a.hash(), b.hash());
    assert_ne!(a.hash(), RuleSet::from_sources(&sources(&format!("{text}\n"))).unwrap().hash());
}

#[test]
fn the_set_that_is_shipped_passes_its_own_tests() {
    let folder = std::path::PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/rules/spam"));
    let sources = run::read(&[folder]).unwrap();
    let set = RuleSet::from_sources(&sources).unwrap_or_else(|p| panic!("{p:#?}"));
    assert!(set.rules().len() >= 60, "{} rules", set.rules().len());
    let (count, failed) = set.run_tests(&sources);
    assert!(failed.is_empty(), "{failed:#?}");
    assert!(count >= 2 * set.rules().len());
}

/// White space collapsed, case folded (TCVN3 has no capitals of its own for most letters).
fn comparable(text: &str) -> String {
    text::fold::accented(text, text::fold::Lines::Joined)
}

/// The decoded Subject and the text of the first text part equal what the writer of each message intended.
#[test]
fn vietnamese_encodings_are_read_as_intended() {
    let folder = std::path::PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/testdata/vietnamese"));
    let Ok(intended) = std::fs::read_to_string(folder.join("intended.jsonl")) else {
        println!("skipped: there is no test data beside the package");
        return;
    };
    let (mut total, mut wrong) = (0, Vec::new());
    for line in intended.lines() {
        let entry: serde_json::Value = serde_json::from_str(line).unwrap();
        let field = |name: &str| entry[name].as_str().unwrap_or("").to_owned();
        let raw = std::fs::read(folder.join(field("file"))).unwrap();
        let tree = mime::parse(&raw, &Limits::default());
        let subject = text::encoded::decode(tree.parts[0].headers.find("subject").map_or(b"", |f| f.value));
        let part = tree.parts.iter().find(|p| p.content_type.starts_with("text/")).unwrap();
        let mut body = text::charset::decode(&part.decoded, part.param("charset").unwrap_or(""));
        if part.content_type == "text/html" {
            body = text::html::read(&body).text;
        }
        total += 1;
        for (what, got, expected) in [("subject", subject, field("subject")), ("text", body, field("text"))] {
            if comparable(&got) != comparable(&expected) {
                wrong.push(format!(
                    "{} {what}\n  got      {}\n  expected {}",
                    field("file"),
                    comparable(&got),
                    comparable(&expected)
                ));
            }
        }
    }
    println!("{total} messages, {} differ", wrong.len());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
