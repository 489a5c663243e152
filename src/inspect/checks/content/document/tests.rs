//! Documents through the whole of the content checks: what each class of sample gives.

mod hostile;

use std::path::{Path, PathBuf};

use crate::inspect::inspector::{Examiner, Task};
use crate::inspect::{ContentFacts, Policy, Wants, settings};
use crate::mail::{ReversePath, Timestamp};
use crate::session::settings::Limits;

const SAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/testdata");

/// The content checks with the rules that ship.
pub fn policy() -> Policy {
    let checks = ["mime", "yara", "rules"].map(str::to_owned).to_vec();
    let inspect = settings::Inspect { checks, ..settings::Inspect::default() };
    let rules = settings::Rules { spam: Vec::new(), ..settings::Rules::default() };
    let smime = settings::Smime { trust: Vec::new() };
    Policy::compile(&inspect, &rules, &Limits::default(), &smime, Path::new(env!("CARGO_MANIFEST_DIR"))).unwrap()
}

pub fn examine(examiner: &Examiner<'_>, name: &str, declared: &str, body: &[u8]) -> ContentFacts {
    examine_with(examiner, "hi", name, declared, body)
}

/// With a letter of this text.
pub fn examine_with(examiner: &Examiner<'_>, letter: &str, name: &str, declared: &str, body: &[u8]) -> ContentFacts {
    use base64::Engine as _;
    let coded = base64::engine::general_purpose::STANDARD.encode(body);
    let raw = format!(
        "From: a@example.org\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n\
         Content-Type: text/plain; charset=utf-8\r\n\r\n{letter}\r\n--x\r\n\
         Content-Type: {declared}\r\nContent-Disposition: attachment; filename=\"{name}\"\r\n\
         Content-Transfer-Encoding: base64\r\n\r\n{coded}\r\n--x--\r\n"
    );
    examiner.examine(raw.as_bytes(), &task())
}

fn task() -> Task {
    Task {
        now: Timestamp::from_seconds(1_795_302_082),
        sender: ReversePath::Null,
        recipients: Vec::new(),
        client_ip: String::new(),
        helo: String::new(),
        budget_ms: 20_000,
        wants: Wants::default(),
    }
}

/// Codes, each once, in order.
pub fn codes(facts: &ContentFacts) -> Vec<String> {
    let mut codes: Vec<String> = facts.findings.iter().map(|f| f.code.to_string()).collect();
    codes.sort();
    codes.dedup();
    codes
}

/// All files below a folder of the samples; none, said aloud, where they are not at hand.
pub fn samples(folder: &str) -> Vec<PathBuf> {
    let root = Path::new(SAMPLES).join(folder);
    if !root.is_dir() {
        println!("skipped: no samples at {}", root.display());
        return Vec::new();
    }
    let (mut found, mut open) = (Vec::new(), vec![root]);
    while let Some(next) = open.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { open.push(path) } else { found.push(path) }
        }
    }
    found.retain(|p| p.file_name().is_some_and(|n| n != "README.md"));
    found.sort();
    found
}

#[test]
fn every_sample_has_a_sane_outcome() {
    let policy = policy();
    let loaded = policy.open(None).unwrap();
    let examiner = Examiner::new(&loaded);
    for file in samples("files") {
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        let mut body = std::fs::read(&file).unwrap();
        if body.starts_with(b"TAAAAAEUAg") {
            // Some samples are kept as base64.
            use base64::Engine as _;
            let tight: Vec<u8> = body.iter().copied().filter(|b| !b.is_ascii_whitespace()).collect();
            body = base64::engine::general_purpose::STANDARD.decode(tight).unwrap();
        }
        let facts = examine(&examiner, &name, "application/octet-stream", &body);
        let shown = file.strip_prefix(SAMPLES).unwrap().display().to_string();
        println!("{shown}\n    {} | parts {} urls {}", codes(&facts).join(" "), facts.parts.len(), facts.urls.len());
        if std::env::var_os("LUYTRE_SHOW").is_some_and(|w| shown.contains(&*w.to_string_lossy())) {
            facts.findings.iter().for_each(|f| println!("        {}: {}", f.code, f.detail));
            facts.urls.iter().for_each(|u| println!("        url {u}"));
            facts.parts.iter().for_each(|u| println!("        part {} {:?} {} {}", u.path, u.name, u.kind, u.bytes));
        }
    }
}

/// Rules for attachments ask about each part: the tenth document with macros must be known for one too.
#[test]
fn what_one_part_holds_is_told_however_many_others_hold_it() {
    let policy = policy();
    let loaded = policy.open(None).unwrap();
    let part = |number: usize| {
        format!(
            "--x\r\nContent-Type: application/octet-stream\r\nContent-Disposition: attachment; \
             filename=\"a{number}.csv\"\r\n\r\n=cmd|'/c calc'!A{number}\r\n=cmd|'/c calc'!B1\r\n"
        )
    };
    let parts: String = (1..=90).map(part).collect();
    let raw = format!("From: a@example.org\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\n{parts}--x--\r\n");
    let facts = Examiner::new(&loaded).examine(raw.as_bytes(), &task());
    for number in [1, 50, 90] {
        let told = |f: &&crate::inspect::Finding| f.code == "office.dde" && f.detail.starts_with(&format!("{number}:"));
        assert!(facts.findings.iter().any(|f| told(&f)), "part {number} of {}", facts.findings.len());
    }
}
