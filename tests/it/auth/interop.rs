//! Mail signed by others, verified by us: dkimpy with RSA-2048 and Ed25519 keys made here; and what our own sealing
//! makes. No samples from elsewhere are needed.

use std::io::Write;
use std::process::{Command, Stdio};

use luytre::deliver::seal::{DkimPair, new_key};
use luytre::inspect::AuthResult;
use luytre::inspect::checks::auth::AuthReport;
use luytre::mail::Domain;

use super::{Envelope, serve, texts};

/// Signs standard input; arguments: selector, domain, algorithm, canonical form, file of the key.
const SIGN: &str = r#"
import sys, dkim
selector, domain, algorithm, form, path = sys.argv[1:]
message = sys.stdin.buffer.read()
key = open(path, "rb").read()
header, body = (f.encode() for f in form.split("/"))
signature = dkim.sign(message, selector.encode(), domain.encode(), key, signature_algorithm=algorithm.encode(),
    canonicalize=(header, body), include_headers=[b"from", b"to", b"subject"])
sys.stdout.buffer.write(signature + message)
"#;

const MAIL: &[u8] = b"From: An <an@sender.example>\r\nTo: x@agency.test\r\nSubject: =?utf-8?Q?Gi=E1=BA=A5y_m=E1=BB=9Di?=\r\n\r\nXin  ch\xc3\xa0o \t \r\n\r\nHet.\r\n\r\n\r\n";

fn has_dkimpy() -> bool {
    let found = Command::new("/usr/bin/python3").args(["-c", "import dkim, nacl"]).output();
    let found = found.is_ok_and(|output| output.status.success());
    if !found {
        println!("skipped: python3-dkim and python3-nacl are not installed");
    }
    found
}

fn pair(selector: &str, ed25519: bool) -> (Vec<u8>, DkimPair) {
    let pem = new_key(ed25519).unwrap();
    let pair = DkimPair::parse(Domain::parse("sender.example").unwrap(), selector, &pem).unwrap();
    (pem, pair)
}

/// dkimpy wants the 32 octets of an Ed25519 seed in base64; they are the last of the PKCS #8 form.
fn key_for_dkimpy(pem: &[u8], ed25519: bool) -> Vec<u8> {
    if !ed25519 {
        return pem.to_vec();
    }
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    let text = String::from_utf8(pem.to_vec()).unwrap();
    let inner: String = text.lines().filter(|line| !line.starts_with("-----")).collect();
    let der = STANDARD.decode(inner).unwrap();
    STANDARD.encode(&der[der.len() - 32..]).into_bytes()
}

fn sign(pem: &[u8], selector: &str, ed25519: bool, form: &str) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key");
    std::fs::write(&path, key_for_dkimpy(pem, ed25519)).unwrap();
    let algorithm = if ed25519 { "ed25519-sha256" } else { "rsa-sha256" };
    let mut child = Command::new("/usr/bin/python3")
        .args(["-c", SIGN, selector, "sender.example", algorithm, form])
        .arg(&path)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(MAIL).unwrap();
    child.wait_with_output().unwrap().stdout
}

async fn examine(pair: &DkimPair, raw: &[u8]) -> AuthReport {
    let zone = texts([
        (pair.record_name().as_str(), pair.record_value().unwrap().as_str()),
        ("_dmarc.sender.example", "v=DMARC1; p=reject; adkim=s"),
    ]);
    let (_server, dns) = serve(zone).await;
    let now = luytre::env::Clock::system().now();
    Envelope { now, ..Envelope::default() }.examine(&dns, raw).await
}

#[tokio::test]
async fn dkimpy_signs_and_we_verify() {
    if !has_dkimpy() {
        return;
    }
    for ed25519 in [false, true] {
        let (pem, pair) = pair("s1", ed25519);
        for form in ["relaxed/relaxed", "relaxed/simple", "simple/relaxed", "simple/simple"] {
            let raw = sign(&pem, "s1", ed25519, form);
            let facts = examine(&pair, &raw).await.facts;
            assert_eq!(facts.dkim_result(), AuthResult::Pass, "{form} {:?}", facts.dkim);
            assert_eq!(facts.dmarc.result, AuthResult::Pass);

            let altered = String::from_utf8(raw.clone()).unwrap().replace("Het.", "Het!");
            let facts = examine(&pair, altered.as_bytes()).await.facts;
            assert_eq!(facts.dkim_result(), AuthResult::Fail, "{form}: the body was changed");

            let altered = String::from_utf8(raw).unwrap().replace("x@agency", "y@agency");
            let report = examine(&pair, altered.as_bytes()).await;
            assert_eq!(report.facts.dkim_result(), AuthResult::Fail, "{form}: To was changed");
            assert!(report.findings.iter().any(|finding| finding.code == "dmarc.reject"));
        }
    }
}

#[tokio::test]
async fn what_our_sealing_signs_we_verify() {
    use crate::crypto::support::{envelope, mailbox, today, wire};
    use luytre::deliver::seal::{Outward, SealKeys, outward};

    let (_, rsa) = pair("rsa1", false);
    let (_, ed) = pair("ed1", true);
    let zone = texts([
        (rsa.record_name().as_str(), rsa.record_value().unwrap().as_str()),
        (ed.record_name().as_str(), ed.record_value().unwrap().as_str()),
    ]);
    let keys = SealKeys { dkim: vec![rsa, ed], smime: None };
    let (sender, from) = (envelope("an@sender.example", &["x@agency.test"]), mailbox("an@sender.example"));
    let facts =
        Outward { hostname: "mx.sender.example", envelope: &sender, from: Some(&from), keys: &keys, now: today() };
    let sealed = outward(&bytes::Bytes::from_static(MAIL), &facts).unwrap();
    let (_server, dns) = serve(zone).await;
    let report = Envelope { now: today(), ..Envelope::default() }.examine(&dns, &wire(&sealed)).await;
    let results: Vec<_> = report.facts.dkim.iter().map(|d| (d.algorithm.as_str(), d.result)).collect();
    assert_eq!(results.len(), 2, "{results:?}");
    assert!(results.iter().all(|(_, result)| *result == AuthResult::Pass), "{:?}", report.facts.dkim);
}
