//! The MIME, attack and ham samples through the content checks, in process: nothing crashes or takes long, hidden
//! payloads are found, honest mail is left alone. Skips, and says so, where the samples are not at hand.

use std::path::{Path, PathBuf};

use luytre::inspect::inspector::{Examiner, Task};
use luytre::inspect::policy::Loaded;
use luytre::inspect::{Policy, Wants, settings};
use luytre::mail::{ReversePath, Timestamp};
use luytre::session::settings::Limits;

const SAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/testdata");

fn samples(folder: &str) -> Option<PathBuf> {
    let path = Path::new(SAMPLES).join(folder);
    if !path.is_dir() {
        println!("skipped: no samples at {}", path.display());
        return None;
    }
    Some(path)
}

fn loaded() -> Loaded {
    let checks = ["mime", "yara"].map(str::to_owned).to_vec();
    let inspect = settings::Inspect { checks, ..settings::Inspect::default() };
    let rules = settings::Rules { spam: Vec::new(), ..settings::Rules::default() };
    let smime = settings::Smime { trust: Vec::new() };
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    Policy::compile(&inspect, &rules, &Limits::default(), &smime, root).unwrap().open(None).unwrap()
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

fn codes(examiner: &Examiner<'_>, raw: &[u8]) -> Vec<String> {
    examiner.examine(raw, &task()).findings.into_iter().map(|f| f.code.into_owned()).collect()
}

/// All files below `folder`, in order.
fn files(folder: &Path) -> Vec<PathBuf> {
    let (mut found, mut open) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(next) = open.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { open.push(path) } else { found.push(path) }
        }
    }
    found.sort();
    found
}

#[test]
fn every_mime_sample_is_read_to_its_end() {
    let Some(folder) = samples("mime") else { return };
    let loaded = loaded();
    let examiner = Examiner::new(&loaded);
    let mut parts = 0;
    for file in files(&folder) {
        let facts = examiner.examine(&std::fs::read(&file).unwrap(), &task());
        assert!(!facts.findings.iter().any(|f| f.code == "yara.failed"), "{}", file.display());
        parts += facts.parts.len();
    }
    println!("{parts} parts");
}

/// The messages of an index that must not pass as clean, and how many of them do.
fn bypasses(
    folder: &Path,
    examiner: &Examiner<'_>,
    wanted: impl Fn(&serde_json::Value) -> bool,
) -> (usize, Vec<String>, usize) {
    let index: serde_json::Value = serde_json::from_slice(&std::fs::read(folder.join("index.json")).unwrap()).unwrap();
    let (mut all, mut missed, mut held) = (0, Vec::new(), 0);
    for case in index["cases"].as_array().unwrap().iter().filter(|c| wanted(c)) {
        let name = case["file"].as_str().unwrap();
        let Ok(raw) = std::fs::read(folder.join(name)) else { continue };
        all += 1;
        let found = codes(examiner, &raw);
        if found.iter().any(|c| c == "malware.eicar") {
            continue;
        }
        if found.iter().any(|c| c.starts_with("mime.") || c.starts_with("archive.")) {
            println!("only held: {name} {found:?}");
            held += 1;
        } else {
            missed.push(format!("{name} {found:?}"));
        }
    }
    (all, missed, held)
}

#[test]
fn payloads_hidden_by_broken_mime_are_found() {
    let Some(folder) = samples("mime/mime-is-broken") else { return };
    let loaded = loaded();
    let examiner = Examiner::new(&loaded);
    let (all, missed, held) =
        bypasses(&folder, &examiner, |c| c["file"].as_str().is_some_and(|f| f.starts_with("hide-content")));
    println!(
        "mime-is-broken: {all} messages, {} found, {held} only held, {} missed",
        all - held - missed.len(),
        missed.len()
    );
    assert!(missed.is_empty(), "{missed:#?}");
    assert!(held * 10 <= all, "{held} of {all}");
}

#[test]
fn names_hidden_by_broken_mime_are_seen() {
    let Some(folder) = samples("mime/mime-is-broken") else { return };
    let (mut all, mut missed) = (0, Vec::new());
    for file in files(&folder.join("hide-filename")) {
        // The control: its only name is a picture's.
        if file.ends_with("fname-cdisp.png.eml") {
            continue;
        }
        let raw = std::fs::read(&file).unwrap();
        let tree = luytre::mail::mime::parse(&raw, &luytre::mail::mime::Limits::default());
        let mut names = tree.parts.iter().flat_map(|p| p.names.iter()).map(|n| n.to_lowercase());
        all += 1;
        if !names.any(|n| n.contains(".zip")) && tree.oddities.is_empty() {
            missed.push(file.display().to_string());
        }
    }
    println!("hide-filename: {all} messages, {} missed", missed.len());
    assert!(missed.is_empty(), "{missed:#?}");
}

#[test]
fn mimeminer_ambiguities_are_found() {
    let Some(folder) = samples("mime/mimeminer") else { return };
    let loaded = loaded();
    let examiner = Examiner::new(&loaded);
    let (all, missed, held) = bypasses(&folder, &examiner, |_| true);
    println!(
        "mimeminer: {all} messages, {} found, {held} only held, {} missed",
        all - held - missed.len(),
        missed.len()
    );
    assert!(missed.is_empty(), "{missed:#?}");
    assert!(held * 10 <= all, "{held} of {all}");
}

#[test]
fn attack_messages_give_one_of_the_findings_they_must() {
    let Some(folder) = samples("attacks") else { return };
    let loaded = loaded();
    let examiner = Examiner::new(&loaded);
    let manifest: serde_json::Value =
        serde_json::from_slice(&std::fs::read(folder.join("manifest.json")).unwrap()).unwrap();
    let (mut all, mut missed, mut alarmed) = (0, Vec::new(), Vec::new());
    for vector in manifest["vectors"].as_array().unwrap() {
        let class = vector["class"].as_str().unwrap_or_default();
        let Ok(raw) = std::fs::read(folder.join(vector["file"].as_str().unwrap_or_default())) else { continue };
        let found = codes(&examiner, &raw);
        let id = vector["id"].as_str().unwrap_or_default();
        if class.ends_with("control") && !found.is_empty() {
            alarmed.push(format!("{id} {found:?}"));
        }
        let deliver = vector["expect"]["action"].as_array().is_some_and(|a| a.iter().any(|x| x == "deliver"));
        if !matches!(class, "mime" | "archive") || deliver {
            continue;
        }
        all += 1;
        if found.is_empty() {
            missed.push(format!("{id} {found:?}"));
        }
    }
    println!("attacks: {all} of mime and archive, {} without a finding: {missed:#?}", missed.len());
    assert!(alarmed.is_empty(), "{alarmed:#?}");
    assert!(missed.is_empty(), "{missed:#?}");
}

#[test]
fn honest_vietnamese_mail_hits_no_yara_rule() {
    let Some(folder) = samples("vietnamese") else { return };
    let loaded = loaded();
    let examiner = Examiner::new(&loaded);
    let labels = std::fs::read_to_string(folder.join("labels.csv")).unwrap();
    let (mut all, mut hits) = (0, Vec::new());
    for line in labels.lines().filter(|l| l.contains("ham")) {
        let Some(name) = line.split(',').find(|f| f.contains("vn-d")) else { continue };
        let file = folder.join(if name.ends_with(".eml") { name.to_owned() } else { format!("{name}.eml") });
        let Ok(raw) = std::fs::read(file) else { continue };
        all += 1;
        let found = codes(&examiner, &raw);
        if !found.is_empty() {
            hits.push(format!("{name} {found:?}"));
        }
    }
    println!("vietnamese ham: {all} messages, {} with findings: {hits:#?}", hits.len());
    assert!(all > 0 && !hits.iter().any(|h| h.contains("yara.") || h.contains("malware.")), "{hits:#?}");
}
