//! DKIM made by us, read by dkimpy and by our own verifier, and the other way round.

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Command, Stdio};

use bytes::Bytes;
use luytre::deliver::seal::{self, DkimPair, Note, Outward, SealKeys};
use luytre::env::dns::zone::{Server, Zone};
use luytre::env::dns::{Dns, Options};
use luytre::inspect::AuthResult;
use luytre::inspect::checks::auth;
use luytre::mail::{Domain, ReversePath};

use super::support::{envelope, mailbox, today, wire};

/// Says for each signature whether it verifies. Records come as `name<TAB>value` arguments.
const DKIMPY: &str = r#"
import sys, dkim
records = dict(a.split("\t", 1) for a in sys.argv[1:])
find = lambda name, timeout=5: records.get(name.decode().rstrip("."), "").encode() or None
message = sys.stdin.buffer.read()
signatures = [h for h in dkim.rfc822_parse(message)[0] if h[0].lower() == b"dkim-signature"]
for i in range(len(signatures)):
    try:
        print("pass" if dkim.DKIM(message).verify(idx=i, dnsfunc=find) else "fail")
    except Exception as e:
        print("error", repr(e))
"#;

/// Runs a script over `input`; `None` (and a line on stderr) where dkimpy is not installed.
fn python(script: &str, arguments: &[&str], input: &[u8]) -> Option<Vec<u8>> {
    let mut program = Command::new("/usr/bin/python3");
    if !program.args(["-c", "import dkim, nacl"]).output().is_ok_and(|o| o.status.success()) {
        eprintln!("skipped: python3-dkim and python3-nacl are not installed");
        return None;
    }
    let mut child = Command::new("/usr/bin/python3")
        .args(["-c", script])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "python3 ended with {}", output.status);
    Some(output.stdout)
}

/// What dkimpy makes of each signature; `None` where it is not installed.
pub fn dkimpy(message: &[u8], keys: &SealKeys) -> Option<Vec<String>> {
    let records: Vec<String> =
        keys.dkim.iter().map(|k| format!("{}\t{}", k.record_name(), k.record_value().unwrap())).collect();
    let records: Vec<&str> = records.iter().map(String::as_str).collect();
    let output = python(DKIMPY, &records, message)?;
    Some(String::from_utf8(output).unwrap().lines().map(str::to_owned).collect())
}

fn keys() -> SealKeys {
    let domain = Domain::parse("tinh.gov.vn").unwrap();
    let pair = |selector, ed25519| DkimPair::parse(domain.clone(), selector, &seal::new_key(ed25519).unwrap()).unwrap();
    SealKeys { dkim: vec![pair("rsa1", false), pair("ed1", true)], smime: None }
}

fn sealed(raw: &str, from: &str, keys: &SealKeys) -> (Vec<u8>, Vec<Note>) {
    let envelope = envelope("an@tinh.gov.vn", &["x@example.net"]);
    let from = mailbox(from);
    let facts = Outward { hostname: "mx1.tinh.gov.vn", envelope: &envelope, from: Some(&from), keys, now: today() };
    let sealed = seal::outward(&Bytes::copy_from_slice(raw.as_bytes()), &facts).unwrap();
    (wire(&sealed), sealed.notes)
}

const PLAIN: &str = "From: An <an@tinh.gov.vn>\r\nTo: x@example.net\r\nSubject: =?utf-8?q?ch=C3=A0o?=\r\n  anh\r\n\
                     Date: Sat, 21 Nov 2026 23:00:00 +0000\r\nMessage-ID: <1@tinh.gov.vn>\r\n\r\n\
                     Dear  all,\t \r\n\r\n two\r\n\r\n\r\n";

#[test]
fn rfc6376_rfc8463_our_signatures_verify_with_dkimpy() {
    let keys = keys();
    for raw in [
        PLAIN,
        "From: an@tinh.gov.vn\r\n\r\n",
        "From: an@tinh.gov.vn\r\nTo: a@b.vn,\r\n\tc@d.vn\r\nTo: e@f.vn\r\n\r\nno line end",
        "from: an@tinh.gov.vn\r\nSubject:\r\nCc: \r\n\r\n\r\n\r\n",
        "From: an@tinh.gov.vn\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\nchào\r\n",
    ] {
        let (message, notes) = sealed(raw, "an@tinh.gov.vn", &keys);
        assert!(notes.is_empty());
        let Some(results) = dkimpy(&message, &keys) else { return };
        assert_eq!(results, ["pass", "pass"], "{}", String::from_utf8_lossy(&message));
    }
}

#[test]
fn rfc6376_8_15_fields_added_later_break_our_signatures() {
    let keys = keys();
    let (message, _) = sealed(PLAIN, "an@tinh.gov.vn", &keys);
    for added in
        ["From: boss@tinh.gov.vn\r\n", "Subject: other\r\n", "Content-Type: text/html\r\n", "Reply-To: a@b.vn\r\n"]
    {
        let changed = [added.as_bytes(), &message].concat();
        let Some(results) = dkimpy(&changed, &keys) else { return };
        assert!(!results.contains(&"pass".to_owned()), "{added}: {results:?}");
    }
    let longer = [&message[..], b"more\r\n"].concat();
    let Some(results) = dkimpy(&longer, &keys) else { return };
    assert!(!results.contains(&"pass".to_owned()), "no l=: {results:?}");
}

#[test]
fn mail_of_foreign_domains_is_not_signed() {
    for from in ["an@example.net", "an@nottinh.gov.vn", "an@gov.vn"] {
        let raw = PLAIN.replace("an@tinh.gov.vn", from);
        let (message, notes) = sealed(&raw, from, &keys());
        assert_eq!(notes, [Note::DkimForeignDomain]);
        assert!(!String::from_utf8(message).unwrap().contains("DKIM-Signature"));
    }
}

/// Our own verifier over a zone with the keys' records: one result for each signature.
async fn our_results(message: &[u8], keys: &SealKeys) -> Vec<AuthResult> {
    let mut zone = Zone::from_json(r#"{"default": "NXDOMAIN", "names": {}}"#).unwrap();
    for key in &keys.dkim {
        zone.add_text(&key.record_name(), &key.record_value().unwrap());
    }
    let server = Server::start(zone, SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await.unwrap();
    let dns = Dns::new(&Options { servers: vec![server.address()], ..Options::default() }).unwrap();
    let sender = ReversePath::Mailbox(mailbox("an@tinh.gov.vn"));
    let recipient = mailbox("x@example.net");
    let subject = auth::Subject {
        client: "192.0.2.10".parse().unwrap(),
        helo: "mail.tinh.gov.vn",
        sender: &sender,
        recipients: &[&recipient],
        raw: message,
        own_domains: &[],
        trusted: false,
    };
    let report = auth::examine(&dns, subject, &auth::Settings::default(), today()).await;
    report.facts.dkim.iter().map(|d| d.result).collect()
}

#[tokio::test]
async fn our_signatures_pass_our_own_verifier() {
    let keys = keys();
    let (message, _) = sealed(PLAIN, "an@tinh.gov.vn", &keys);
    assert_eq!(our_results(&message, &keys).await, [AuthResult::Pass, AuthResult::Pass]);
    let altered = String::from_utf8(message).unwrap().replace("two", "three");
    assert!(!our_results(altered.as_bytes(), &keys).await.contains(&AuthResult::Pass));
}

/// Signs with dkimpy; arguments: algorithm, canonicalisation of header and body, selector, domain, key.
const DKIMPY_SIGN: &str = r#"
import sys, dkim
algorithm, header, body, selector, domain, key = [a.encode() for a in sys.argv[1:]]
message = sys.stdin.buffer.read()
sys.stdout.buffer.write(dkim.sign(message, selector, domain, key, canonicalize=(header, body), signature_algorithm=algorithm) + message)
"#;

#[tokio::test]
async fn signatures_of_dkimpy_pass_our_verifier() {
    use base64::Engine as _;
    let domain = Domain::parse("tinh.gov.vn").unwrap();
    for (ed25519, algorithm) in [(false, "rsa-sha256"), (true, "ed25519-sha256")] {
        let pem = String::from_utf8(seal::new_key(ed25519).unwrap()).unwrap();
        let pair = DkimPair::parse(domain.clone(), "py", pem.as_bytes()).unwrap();
        let keys = SealKeys { dkim: vec![pair], smime: None };
        // dkimpy wants the bare seed of an Ed25519 key: the last 32 octets of its PKCS#8 form.
        let base64 = base64::engine::general_purpose::STANDARD;
        let key = if ed25519 {
            let body: String = pem.lines().filter(|l| !l.starts_with("-----")).collect();
            let der = base64.decode(body).unwrap();
            base64.encode(&der[der.len() - 32..])
        } else {
            pem
        };
        for (header, body) in [("relaxed", "relaxed"), ("simple", "simple"), ("relaxed", "simple")] {
            let arguments = [algorithm, header, body, "py", "tinh.gov.vn", &key];
            let Some(message) = python(DKIMPY_SIGN, &arguments, PLAIN.as_bytes()) else { return };
            assert_eq!(our_results(&message, &keys).await, [AuthResult::Pass], "{algorithm} {header}/{body}");
        }
    }
}
