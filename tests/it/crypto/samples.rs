//! The shared sample sets: attack vectors, Thunderbird, "Johnny, You Are Fired", RFC 4134, OpenSSL, MimeKit, PKITS.
//! Every disagreement is printed before the test fails.

use std::fs;
use std::path::PathBuf;

use bytes::Bytes;
use luytre::deliver::seal::{self, Outward, SealKeys, SmimePair};
use luytre::inspect::checks::content::smime::TrustStore;
use luytre::inspect::{SmimeFact, SmimeStatus as S};
use luytre::mail::Timestamp;
use serde_json::Value;

use super::support::{Ca, NOW, envelope, examine, mailbox, message, openssl, samples, trust, wire};

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
        S::Modified => &["modified"],
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
            wrong.push(format!(
                "{file}: {} encrypted={} ({}), expected {case}",
                fact.status, fact.encrypted, fact.detail
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Signs with the sample identity in PEM file `name` of `ca`, then looks at the result.
fn signed_with(ca: &Ca, name: &str, from: &str, anchors: &TrustStore) -> Result<SmimeFact, String> {
    let pem = fs::read(ca.file(name)).unwrap();
    let keys = SealKeys { dkim: Vec::new(), smime: Some(SmimePair::parse(&pem, &pem)?) };
    let (envelope, author) = (envelope(from, &["x@example.net"]), mailbox(from));
    let facts = Outward { hostname: "mx.test", envelope: &envelope, from: Some(&author), keys: &keys, now: NOW };
    let raw = Bytes::from(format!("From: {from}\r\nSubject: s\r\n\r\nhello\r\n"));
    let sealed = seal::outward(&raw, &facts).map_err(|e| e.to_string())?;
    assert!(sealed.notes.is_empty(), "{name}: {:?}", sealed.notes);
    fs::write(ca.file("signed.eml"), wire(&sealed)).unwrap();
    openssl(&ca.0, &["cms", "-verify", "-noverify", "-in", "signed.eml"])?;
    Ok(examine(&wire(&sealed), anchors, NOW).0)
}

#[test]
fn openssl_sample_identities_sign_and_verify_or_are_refused_with_a_reason() {
    let Some(folder) = samples("smime/openssl/smime-certs") else { return };
    let ca = Ca::new("openssl-samples");
    let anchors = trust(&[folder.join("smroot.pem")]);
    for (name, chain) in [
        ("smrsa1", Some(S::Valid)),
        ("smrsa2", Some(S::Valid)),
        ("smrsa3", Some(S::Valid)),
        ("smec1", Some(S::Valid)),
        ("smec2", Some(S::Valid)),
        // Issued by an older generation of the root (`openssl verify` says so too).
        ("smec3", Some(S::Untrusted)),
        ("smdsa1", None),
        ("smdsa2", None),
        ("smdsa3", None),
        ("smdh", None),
        ("badrsa", None),
    ] {
        let file = format!("{name}.pem");
        fs::copy(folder.join(&file), ca.file(&file)).unwrap();
        match signed_with(&ca, &file, "a@b.example", &anchors) {
            // The certificates name no address: whatever the chain says, nobody is vouched for.
            Ok(fact) => {
                println!("{name}: {} ({})", fact.status, fact.detail);
                assert_eq!(Some(fact.signers[0].status), chain, "{name}");
                assert_ne!(fact.status, S::Valid, "{name}");
            }
            Err(reason) => {
                println!("{name}: {reason}");
                assert!(chain.is_none(), "{name}: {reason}");
            }
        }
    }
}

#[test]
fn mimekit_sample_identities() {
    let Some(folder) = samples("smime/mimekit-certs") else { return };
    let ca = Ca::new("mimekit");
    let export = |from: &str, to: &str, what: &str| {
        let source = folder.join(from).to_str().unwrap().to_owned();
        let fixed = ["pkcs12", "-legacy", "-passin", "pass:no.secret", "-nodes", what, "-in", &source, "-out", to];
        let arguments: Vec<&str> = fixed.into_iter().filter(|a| !a.is_empty()).collect();
        openssl(&ca.0, &arguments).unwrap();
    };
    export("certificate-authority.pfx", "ca.pem", "-nokeys");
    let anchors = trust(&[ca.file("ca.pem")]);
    for (name, address, expected) in [
        ("rsa", "rsa@mimekit.net", S::Valid),
        // Its key spells the curve out, which RFC 5480 §2.1.1 forbids and OpenSSL refuses.
        ("ec", "ec@mimekit.net", S::Untrusted),
        // Its SAN has domains only and its subject no address: it stands for nobody's mailbox.
        ("dnsnames", "a@domain-wide.mimekit.net", S::WrongSender),
        ("nochain", "nochain@mimekit.net", S::Untrusted),
        // No CRL comes with the set: judged without.
        ("revoked", "revoked@mimekit.net", S::Valid),
    ] {
        export(&format!("{name}/smime.pfx"), &format!("{name}.pem"), "");
        let fact = signed_with(&ca, &format!("{name}.pem"), address, &anchors).unwrap();
        println!("{name}: {} ({})", fact.status, fact.detail);
        assert_eq!(fact.status, expected, "{name}: {}", fact.detail);
    }
    let old = message(&folder.join("thunderbird-signed.txt"));
    let startcom = trust(&[folder.join("StartComCertificationAuthority.crt")]);
    let (fact, _) = examine(&old, &startcom, Timestamp::from_seconds(1_383_500_000));
    println!("thunderbird-signed.txt: {} ({})", fact.status, fact.detail);
    assert_eq!(fact.status, S::Weak, "SHA-1: {}", fact.detail);
}
