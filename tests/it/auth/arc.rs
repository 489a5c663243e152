//! The ARC validation suite (ValiMail), and the fixtures of mail-auth.

use luytre::inspect::AuthResult;
use luytre::mail::Timestamp;
use serde_json::Value;

use super::{Envelope, crlf, serve, settle, suite, texts};

#[tokio::test]
async fn rfc8617_validation_suite() {
    let Some(folder) = suite("auth/arc") else { return };
    let text = std::fs::read_to_string(folder.join("arc-draft-validation-tests.subset.json")).unwrap();
    let scenarios: Value = serde_json::from_str(&text).unwrap();
    let (mut total, mut failures) = (0, Vec::new());
    for scenario in scenarios.as_array().unwrap() {
        let records = scenario["txt-records"].as_object().unwrap();
        let zone = texts(records.iter().map(|(name, text)| (name.as_str(), text.as_str().unwrap())));
        let (_server, dns) = serve(zone).await;
        for (name, test) in scenario["tests"].as_object().unwrap() {
            total += 1;
            let raw = crlf(test["message"].as_str().unwrap().as_bytes());
            let facts = Envelope::default().examine(&dns, &raw).await.facts;
            let wanted = match test["cv"].as_str().unwrap().to_ascii_lowercase().as_str() {
                "pass" => AuthResult::Pass,
                "fail" => AuthResult::Fail,
                _ => AuthResult::None,
            };
            if facts.arc != wanted {
                failures.push(format!(
                    "{name} ({}): wanted {wanted}, got {} ({})",
                    test["description"], facts.arc, facts.arc_detail
                ));
            }
        }
    }
    settle("arc validation", total, &failures);
}

#[tokio::test]
async fn mail_auth_fixtures_pass() {
    let Some(folder) = suite("auth/mail-auth/arc") else { return };
    let mut failures = Vec::new();
    let files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    for file in &files {
        let text = std::fs::read_to_string(file).unwrap();
        let (records, raw) = text.split_once("\n\n").unwrap();
        let (_server, dns) = serve(texts(records.lines().filter_map(|line| line.split_once(' ')))).await;
        let envelope = Envelope { now: Timestamp::from_seconds(1_667_843_664), ..Envelope::default() };
        let facts = envelope.examine(&dns, &crlf(raw.as_bytes())).await.facts;
        if facts.arc != AuthResult::Pass {
            failures.push(format!("{}: {} ({})", file.display(), facts.arc, facts.arc_detail));
        }
    }
    settle("mail-auth arc", files.len(), &failures);
}
