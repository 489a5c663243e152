//! Rules over parts, as tables.

use super::settings::Attachments;
use super::*;
use crate::mail::{ByteSize, MailId};

fn part(path: &str, name: &str, kind: &str, bytes: u64) -> PartFact {
    PartFact { path: path.into(), name: name.into(), kind: kind.into(), bytes, ..PartFact::default() }
}

fn found(code: &'static str, detail: &str) -> Finding {
    Finding::new(code).with(detail)
}

fn rule(name: &str, action: Do, change: impl FnOnce(&mut Rule)) -> Rule {
    let mut rule = Rule { name: name.into(), action, ..Rule::default() };
    change(&mut rule);
    rule
}

fn said(rules: &[Rule], outward: bool, parts: &[PartFact], findings: &[Finding]) -> Vec<String> {
    let rules: Vec<&Rule> = rules.iter().collect();
    decide(&rules, false, outward, parts, findings).iter().map(|r| format!("{} {}", r.rule, r.detail())).collect()
}

#[test]
fn every_condition_holds_of_the_same_part_or_the_rule_does_not() {
    let parts = [
        part("1", "", "text/plain", 300),
        part("2", "Báo cáo.ZIP", "application/zip", 9000),
        part("2/Báo cáo.ZIP/a.exe", "a.exe", "application/x-msdownload", 4000),
        part("3", "anh.png", "image/png", 200_000),
    ];
    let findings = [found("archive.encrypted", "2: \"Báo cáo.ZIP\""), found("macro.present", "33: other")];
    let zip = "2: \"Báo cáo.ZIP\": quarantine";
    for (about, expected) in [
        (rule("r", Do::Quarantine, |r| r.names = vec!["*.zip".into()]), vec![zip]),
        (rule("r", Do::Quarantine, |r| r.names = vec!["báo*".into()]), vec![zip]),
        (rule("r", Do::Quarantine, |r| r.types = vec!["image/*".into()]), vec!["3: \"anh.png\": quarantine"]),
        (rule("r", Do::Quarantine, |r| r.is = vec![Trait::Encrypted]), vec![zip]),
        (rule("r", Do::Quarantine, |r| r.findings = vec!["archive".into()]), vec![zip]),
        (rule("r", Do::Quarantine, |r| r.is = vec![Trait::Macro]), vec![]),
        (rule("r", Do::Reject, |r| r.is = vec![Trait::Program]), vec!["2/Báo cáo.ZIP/a.exe: \"a.exe\": reject"]),
        (rule("r", Do::Reject, |r| (r.is, r.inside) = (vec![Trait::Program], Inside::Message)), vec![]),
        (rule("r", Do::Tag, |r| r.larger = Some(ByteSize::kib(100))), vec!["3: \"anh.png\": tag"]),
        (rule("r", Do::Tag, |r| (r.more_than, r.inside) = (Some(2), Inside::Message)), vec![]),
        (rule("r", Do::Tag, |r| (r.is, r.names) = (vec![Trait::Encrypted], vec!["*.png".into()])), vec![]),
        (rule("r", Do::Tag, |r| (r.names, r.direction) = (vec!["*".into()], Direction::Out)), vec![]),
    ] {
        let got = said(std::slice::from_ref(&about), false, &parts, &findings);
        let expected: Vec<String> = expected.iter().map(|line| format!("r {line}")).collect();
        assert_eq!(got, expected, "{about:?}");
    }
    let many = rule("many", Do::Tag, |r| (r.more_than, r.inside) = (Some(1), Inside::Message));
    assert_eq!(said(&[many], false, &parts, &findings).len(), 2);
}

#[test]
fn the_first_rule_decides_about_a_part_and_the_strictest_part_comes_first() {
    let parts = [
        part("1", "bao-gia.zip", "application/zip", 10),
        part("2", "khac.zip", "application/zip", 10),
        part("3", "x.exe", "application/x-msdownload", 10),
    ];
    let rules = [
        rule("partner", Do::Deliver, |r| r.names = vec!["bao-gia*".into()]),
        rule("zip", Do::Tag, |r| r.names = vec!["*.zip".into()]),
        rule("all-zip", Do::Reject, |r| r.names = vec!["*.zip".into()]),
        rule("programs", Do::Quarantine, |r| r.is = vec![Trait::Program]),
    ];
    assert_eq!(said(&rules, false, &parts, &[]), ["programs 3: \"x.exe\": quarantine", "zip 2: \"khac.zip\": tag"]);
}

#[test]
fn r15_the_default_set_holds_what_offices_never_send_and_watches_what_they_do() {
    let settings = Attachments::default();
    let rules: Vec<&Rule> = settings.rule.iter().collect();
    let by = |code: &'static str, outward| {
        let parts = [part("2", "x", "application/octet-stream", 10)];
        let lines = decide(&rules, settings.observe, outward, &parts, &[found(code, "2: \"x\" …")]);
        lines.first().map(|line| (line.rule.clone(), line.action, line.observed))
    };
    for (code, rule, observed) in [
        ("attachment.executable", "programs", false),
        ("attachment.script", "programs", false),
        ("attachment.shortcut", "programs", false),
        ("attachment.disk-image", "disk-images", false),
        ("attachment.rlo-name", "disguised", false),
        ("attachment.disguised", "disguised", false),
        ("macro.present", "macros", true),
        ("archive.encrypted", "encrypted", true),
        ("attachment.type-mismatch", "mismatch", true),
    ] {
        assert_eq!(by(code, false), Some((rule.into(), Do::Quarantine, observed)), "{code}");
    }
    assert_eq!(by("macro.present", true), None, "an agency's own macros leave");
    assert_eq!(by("attachment.executable", true).map(|(rule, ..)| rule), Some("programs".into()));
}

#[test]
fn patterns_of_names_take_no_longer_than_they_are() {
    for (pattern, text, fits) in [
        ("*", "", true),
        ("", "", true),
        ("", "a", false),
        ("*.exe", "a.exe", true),
        ("*.exe", "a.exe.txt", false),
        ("a?c*", "abcdef", true),
        ("?", "ơ", true),
        ("*a*b*c", "xxaxxbxxc", true),
    ] {
        assert_eq!(glob(pattern, text), fits, "{pattern} {text}");
    }
    assert!(!glob(&"*a".repeat(200), &"a".repeat(150)), "no pattern runs away");
}

#[test]
fn the_notice_names_what_was_removed_in_both_languages_and_nothing_that_steers() {
    let ruled = Ruled {
        rule: "programs".into(),
        path: "2".into(),
        name: "hóa\u{202e}đơn\r\n.exe".into(),
        action: Do::Strip,
        observed: false,
    };
    let id = MailId::from_u128(7);
    let text = notice::text(id, &[ruled]);
    assert!(
        text.contains("hóađơn.exe  (programs)") && text.contains("cách ly") && text.contains("quarantine"),
        "{text}"
    );
    assert!(text.contains(&id.to_string()) && !text.contains('\u{202e}'));
}

#[test]
fn of_many_parts_that_must_go_none_is_left_out() {
    let parts: Vec<PartFact> =
        (0..300).map(|n| part(&format!("{n}"), "a.dat", "application/octet-stream", 9)).collect();
    let strip = rule("data", Do::Strip, |r| r.names = vec!["*.dat".into()]);
    let ruled = decide(&[&strip], false, false, &parts, &[]);
    assert_eq!(ruled.len(), 300);
    let text = notice::text(MailId::from_u128(7), &ruled);
    assert!(text.contains("+200") && text.len() < 20_000, "{}", text.len());
}
