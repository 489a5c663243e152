//! DKIM suites of OpenDKIM, dkim_verifier and Mail::DKIM, held to the standards of today: rsa-sha1, keys below 1,024
//! bits, `l=` and signatures of the drafts never pass (RFC 8301, THREATS A-12).

use std::collections::BTreeMap;
use std::path::Path;

use luytre::env::dns::zone::{Trouble, Zone};
use luytre::inspect::{AuthFacts, AuthResult};
use luytre::mail::Timestamp;
use serde_json::Value;

use super::{Envelope, crlf, serve, settle, suite, texts};

fn json(path: &Path) -> Value {
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn records(value: &Value) -> BTreeMap<String, String> {
    value.as_object().unwrap().iter().map(|(name, text)| (name.clone(), text.as_str().unwrap().to_owned())).collect()
}

async fn facts(zone: Zone, raw: &[u8], now: Option<i64>) -> AuthFacts {
    let (_server, dns) = serve(zone).await;
    let mut envelope = Envelope::default();
    if let Some(now) = now {
        envelope.now = Timestamp::from_seconds(now);
    }
    envelope.examine(&dns, raw).await.facts
}

fn told(facts: &AuthFacts) -> String {
    let each = facts.dkim.iter().map(|d| format!("{} {} ({})", d.domain, d.result, d.detail));
    each.collect::<Vec<_>>().join("; ")
}

#[tokio::test]
async fn opendkim_suite() {
    let Some(folder) = suite("auth/dkim/opendkim") else { return };
    let expected = json(&folder.join("expected.json"));
    let dns = records(&expected["dns_txt"]);
    let cases = expected["cases"].as_array().unwrap();
    let mut failures = Vec::new();
    for case in cases {
        let file = case["file"].as_str().unwrap();
        let raw = crlf(&std::fs::read(folder.join(file)).unwrap());
        let zone = texts(dns.iter().map(|(n, t)| (n.as_str(), t.as_str())));
        let facts = facts(zone, &raw, case["clock"].as_i64()).await;
        let passed = facts.dkim_result() == AuthResult::Pass;
        let old = case["expected_any_signature"].as_str().unwrap();
        let limited = case["flags"].as_array().unwrap().iter().any(|flag| flag == "DKIM_LIBFLAGS_SIGNLEN");
        let refused = limited || case["sha1_only"] == true;
        if passed != (old == "pass" && !refused) {
            failures.push(format!("{file} {}: {old} in the suite, here {}", case["title"], told(&facts)));
        }
    }
    settle("opendkim", cases.len(), &failures);
}

#[tokio::test]
async fn dkim_verifier_suite() {
    let Some(folder) = suite("auth/dkim/dkim_verifier") else { return };
    let expected = json(&folder.join("expected.json"));
    let cases = expected["cases"].as_array().unwrap();
    let mut failures = Vec::new();
    for case in cases {
        let mut dns = records(&expected["dns"]);
        dns.extend(records(&case["dns_override"]));
        let raw = crlf(&std::fs::read(folder.join(case["file"].as_str().unwrap())).unwrap());
        let facts = facts(texts(dns.iter().map(|(n, t)| (n.as_str(), t.as_str()))), &raw, None).await;
        for wanted in case["results"].as_array().unwrap() {
            let number = usize::try_from(wanted["signature"].as_u64().unwrap()).unwrap();
            let passed = facts.dkim.get(number).is_some_and(|d| d.result == AuthResult::Pass);
            if passed != (wanted["result"] == "SUCCESS") {
                failures.push(format!("{}: wanted {}, got {}", case["title"], wanted["result"], told(&facts)));
            }
        }
    }
    settle("dkim_verifier", cases.len(), &failures);
}

#[tokio::test]
async fn mail_dkim_suite() {
    let Some(folder) = suite("auth/dkim/mail-dkim") else { return };
    let expected = json(&folder.join("expected.json"));
    let results = expected["results"].as_object().unwrap();
    let mut failures = Vec::new();
    for (file, case) in results {
        let raw = crlf(&std::fs::read(folder.join("corpus").join(file)).unwrap());
        let facts = facts(fake_dns(&folder.join("FAKE_DNS.dat")), &raw, None).await;
        let passed = facts.dkim_result() == AuthResult::Pass;
        if passed != (case["modern"] == "pass") {
            failures.push(format!("{file}: modern {}, got {}", case["modern"], told(&facts)));
        }
    }
    settle("mail-dkim", results.len(), &failures);
}

/// `name text`, `NXDOMAIN` for no such name, `~~text~~` for a failing server.
fn fake_dns(path: &Path) -> Zone {
    let mut zone = Zone::default();
    for line in std::fs::read_to_string(path).unwrap().lines().filter(|line| !line.starts_with('#')) {
        match line.split_once(char::is_whitespace).map(|(name, text)| (name, text.trim())) {
            Some((_, "NXDOMAIN")) | None => {}
            Some((name, text)) if text.starts_with("~~") => zone.trouble(name, Trouble::ServFail),
            Some((name, text)) => zone.add_text(name, text),
        }
    }
    zone
}

/// Files without a verdict: whatever they are, they are read.
#[tokio::test]
async fn other_samples_are_read_without_harm() {
    for name in ["auth/dkim", "auth/mail-auth", "auth/rspamd/messages"] {
        let Some(folder) = suite(name) else { return };
        let (_server, dns) = serve(Zone::default()).await;
        for file in files(&folder) {
            let raw = crlf(&std::fs::read(file).unwrap());
            let report = Envelope::default().examine(&dns, &raw).await;
            assert!(report.findings.iter().all(|finding| finding.code != "auth.failed"));
        }
    }
}

fn files(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { folders.push(path) } else { found.push(path) }
        }
    }
    found
}

/// The crate's own fixtures: records, an empty line, a message that passes.
#[tokio::test]
async fn mail_auth_fixtures_pass() {
    let Some(folder) = suite("auth/mail-auth/dkim") else { return };
    let mut failures = Vec::new();
    let files = files(&folder);
    for file in &files {
        let text = std::fs::read_to_string(file).unwrap();
        let (records, raw) = text.split_once("\n\n").unwrap();
        let zone = texts(records.lines().filter_map(|line| line.split_once(' ')));
        // Some carry x=, one was signed later: each is asked at its own time.
        let early = facts(zone.clone(), &crlf(raw.as_bytes()), Some(1_667_843_664)).await;
        let late = facts(zone, &crlf(raw.as_bytes()), None).await;
        if ![&early, &late].iter().any(|facts| facts.dkim.last().is_some_and(|d| d.result == AuthResult::Pass)) {
            failures.push(format!("{}: {}", file.display(), told(&early)));
        }
    }
    settle("mail-auth dkim", files.len(), &failures);
}
