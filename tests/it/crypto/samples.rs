//! The shared sample sets: attack vectors, Thunderbird, "Johnny, You Are Fired", RFC 4134, OpenSSL, MimeKit, PKITS.
//! Every disagreement is printed before the test fails.

use std::fs;
use std::path::PathBuf;

use luytre::inspect::SmimeStatus as S;
use luytre::mail::Timestamp;
use serde_json::Value;

use super::support::{NOW, examine, message, samples, trust};

fn json(path: PathBuf) -> Value {
    serde_json::from_slice(&fs::read(&path).unwrap()).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The words of the vectors for one of ours.
fn words(status: S) -> &'static [&'static str] {
    match status {
        S::None => &["none"],
        S::Valid => &["valid"],
        S::Altered | S::Malformed | S::Expired => &["invalid"],
        S::Revoked => &["revoked", "invalid"],
        S::UnknownRevocation => &["indeterminate"],
        S::Untrusted => &["untrusted"],
        S::WrongSender => &["mismatch"],
        S::Weak => &["weak"],
        S::Partial => &["partial"],
        S::Unverifiable => &["unverifiable"],
    }
}

#[test]
fn attack_vectors_on_signatures_get_the_expected_status() {
    let Some(folder) = samples("attacks") else { return };
    let anchors = trust(&[folder.join("pki/trust-anchor.pem"), folder.join("pki/crl.pem")]);
    let manifest = json(folder.join("manifest.json"));
    let mut wrong = Vec::new();
    let mut seen = 0;
    for vector in manifest["vectors"].as_array().unwrap() {
        let Some(expected) = vector["expect"]["smime"]["status"].as_str() else { continue };
        seen += 1;
        let raw = message(&folder.join(vector["file"].as_str().unwrap()));
        let (fact, findings) = examine(&raw, &anchors, NOW);
        let mut got = words(fact.status).to_vec();
        if fact.encrypted {
            got.push("encrypted");
        }
        println!("{}: {} ({})", vector["id"], fact.status, fact.detail);
        if !expected.split('|').any(|e| got.contains(&e)) {
            wrong.push(format!("{}: expected {expected}, got {} ({})", vector["id"], fact.status, fact.detail));
        }
        if let Some(any) = vector["expect"]["findings_any"].as_array()
            && !any.iter().any(|code| findings.iter().any(|f| Some(&*f.code) == code.as_str()))
        {
            wrong.push(format!("{}: none of {any:?} in {findings:?}", vector["id"]));
        }
    }
    println!("{seen} vectors");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn johnny_you_are_fired_only_the_honest_messages_are_valid() {
    let Some(folder) = samples("smime/johnny") else { return };
    let anchors = trust(&[folder.join("assets/certificates/intermediate_ca.crt")]);
    let march_2019 = Timestamp::from_seconds(1_552_000_000);
    let mut wrong = Vec::new();
    for case in json(folder.join("expected.json"))["cases"].as_array().unwrap() {
        let file = case["file"].as_str().unwrap();
        let (fact, _) = examine(&message(&folder.join(file)), &anchors, march_2019);
        println!("{file}: {} ({})", fact.status, fact.detail);
        if (fact.status == S::Valid) != (case["class"] == "baseline") {
            wrong.push(format!("{file}: {} ({})", fact.status, fact.detail));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn thunderbird_messages() {
    let Some(folder) = samples("smime/thunderbird") else { return };
    let anchors = trust(&[folder.join("TestCA.pem")]);
    let mut wrong = Vec::new();
    for (file, case) in json(folder.join("expected.json"))["cases"].as_object().unwrap() {
        let (fact, _) = examine(&message(&folder.join(file)), &anchors, NOW);
        println!("{file}: {} encrypted={} ({})", fact.status, fact.encrypted, fact.detail);
        // Below an encrypted layer nothing can be seen here; outside it the verdicts must agree.
        let (enc, sig, good) = (case["enc"] == true, case["sig"] == true, case["sig_good"] == true);
        // (The outer signature of alice.env.dsig is broken: `openssl cms -verify` says so too.)
        let fine = if enc {
            fact.encrypted && fact.status != S::Valid
        } else {
            (fact.status != S::None) == sig && (fact.status == S::Valid) == good && !fact.encrypted
        };
        if !fine {
            wrong.push(format!("{file}: {} encrypted={} ({}), expected {case}", fact.status, fact.encrypted, fact.detail));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
