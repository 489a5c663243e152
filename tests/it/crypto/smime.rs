//! S/MIME made by us, read by `openssl cms`, and the other way round.

use std::fs;
use std::path::Path;

use bytes::Bytes;
use luytre::deliver::seal::{self, Note, Outward, SealKeys, SmimePair};
use luytre::inspect::SmimeStatus as S;
use luytre::mail::{Span, Timestamp};

use super::support::{Ca, crlf, envelope, examine, mailbox, openssl, today, trust, wire};

const AN: &str = "an@tinh.gov.vn";
const TEXT: &str = "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 7bit\r\n\r\nXin chao.\r\n";

/// A message signed by the OpenSSL command, with the fields of a letter in front.
fn signed_by_openssl(ca: &Ca, signer: &str, from: &str, options: &[&str]) -> Vec<u8> {
    fs::write(ca.file("entity"), TEXT).unwrap();
    let (certificate, key) = (format!("{signer}.pem"), format!("{signer}.key"));
    let mut arguments = vec!["cms", "-sign", "-in", "entity", "-signer", &certificate, "-inkey", &key];
    arguments.extend(["-certfile", "mail-ca.pem", "-crlfeol", "-binary"]);
    arguments.extend(options);
    let entity = crlf(&openssl(&ca.0, &arguments).unwrap());
    [format!("From: {from}\r\nTo: b@x.vn\r\nSubject: s\r\n").as_bytes(), &entity].concat()
}

fn expect(ca: &Ca, raw: &[u8], status: S, now: Timestamp) {
    let (fact, findings) = examine(raw, &ca.trust(&["root.pem"]), now);
    assert_eq!(fact.status, status, "{} in {}", fact.detail, String::from_utf8_lossy(raw));
    let code = format!("smime.{status}");
    assert!(findings.iter().any(|f| f.code == code), "{findings:?}");
}

#[test]
fn rfc8551_all_usual_forms_of_openssl_are_valid() {
    let ca = Ca::new("forms");
    ca.issue(&[], &[AN]);
    for options in [
        &["-md", "sha256"][..],
        &["-md", "sha384"],
        &["-md", "sha512"],
        &["-md", "sha256", "-keyopt", "rsa_padding_mode:pss"],
        &["-md", "sha512", "-keyopt", "rsa_padding_mode:pss", "-keyopt", "rsa_pss_saltlen:32"],
        &["-md", "sha256", "-nodetach"],
        &["-md", "sha256", "-noattr"],
        &["-md", "sha256", "-keyid"],
        &["-md", "sha256", "-nosmimecap", "-nodetach", "-stream"],
    ] {
        let raw = signed_by_openssl(&ca, AN, AN, options);
        let (fact, _) = examine(&raw, &ca.trust(&["root.pem"]), today());
        assert_eq!(fact.status, S::Valid, "{options:?}: {}", fact.detail);
        assert_eq!(fact.signers[0].addresses, [AN]);
    }
    for (key, digest) in [("ec:P-256", "sha256"), ("ec:P-384", "sha384")] {
        let address = format!("{}@tinh.gov.vn", key.replace(':', "-"));
        ca.issue(&[("KEY", key)], &[&address]);
        let raw = signed_by_openssl(&ca, &address, &address, &["-md", digest]);
        expect(&ca, &raw, S::Valid, today());
    }
}

#[test]
fn weak_altered_expired_foreign_and_unknown_signatures_are_told_apart() {
    let ca = Ca::new("bad");
    ca.issue(&[], &[AN, "eve@tinh.gov.vn"]);
    ca.issue(&[("KEY", "rsa:1024")], &["weak@tinh.gov.vn"]);
    let good = signed_by_openssl(&ca, AN, AN, &["-md", "sha256"]);
    let now = today();
    expect(&ca, &good, S::Valid, now);
    expect(&ca, &good, S::Expired, now + Span::days(3700));
    expect(&ca, &good, S::Expired, now - Span::days(2));
    let text = String::from_utf8(good.clone()).unwrap();
    expect(&ca, text.replace("Xin chao", "Xin chào").as_bytes(), S::Altered, now);
    expect(&ca, text.replace("Xin chao.\r\n", "Xin chao. \r\n").as_bytes(), S::Altered, now);
    expect(&ca, text.replace("From: an@", "From: eve@").as_bytes(), S::WrongSender, now);
    expect(&ca, text.replace("From: an@", "From: An@").as_bytes(), S::WrongSender, now);
    expect(&ca, text.replace("From: an@tinh", "From: an@TINH").as_bytes(), S::Valid, now);
    expect(&ca, signed_by_openssl(&ca, AN, AN, &["-md", "sha1"]).as_slice(), S::Weak, now);
    expect(&ca, signed_by_openssl(&ca, AN, AN, &["-md", "md5"]).as_slice(), S::Weak, now);
    expect(&ca, &signed_by_openssl(&ca, "weak@tinh.gov.vn", "weak@tinh.gov.vn", &["-md", "sha256"]), S::Weak, now);
    let other = Ca::new("other");
    other.issue(&[], &[AN]);
    expect(&ca, &signed_by_openssl(&other, AN, AN, &["-md", "sha256"]), S::Untrusted, now);
    let bare = signed_by_openssl(&ca, AN, AN, &["-md", "sha256", "-nocerts"]);
    let bare = String::from_utf8(bare).unwrap();
    // -certfile still adds the CA; the signer itself is missing.
    expect(&ca, bare.as_bytes(), S::Unverifiable, now);
    let torn = text.replacen("MII", "MIJ", 1);
    expect(&ca, torn.as_bytes(), S::Malformed, now);
}

#[test]
fn a_pool_fills_the_gap_of_leaf_only_messages() {
    let ca = Ca::new("pool");
    ca.issue(&[], &[AN]);
    fs::write(ca.file("entity"), TEXT).unwrap();
    let arguments = ["cms", "-sign", "-in", "entity", "-signer", "an@tinh.gov.vn.pem", "-inkey", "an@tinh.gov.vn.key"];
    let entity = crlf(&openssl(&ca.0, &[&arguments[..], &["-binary", "-crlfeol"]].concat()).unwrap());
    let raw = [b"From: an@tinh.gov.vn\r\n", &entity[..]].concat();
    let root = fs::read(ca.file("root.pem")).unwrap();
    let mut material = luytre::inspect::checks::content::smime::TrustMaterial::default();
    material.add(&root, false).unwrap();
    let status = |material: &_| {
        let store = luytre::inspect::checks::content::smime::TrustStore::from_der(material);
        examine(&raw, &store, today()).0.status
    };
    assert_eq!(status(&material), S::Untrusted);
    material.add(&fs::read(ca.file("mail-ca.pem")).unwrap(), true).unwrap();
    assert_eq!(status(&material), S::Valid);
    material.anchors.clear();
    assert_eq!(status(&material), S::Untrusted, "a pool is no anchor");
}

#[test]
fn rfc5280_6_3_revocation_is_used_as_soon_as_a_crl_lies_in_the_store() {
    let ca = Ca::new("crl");
    ca.issue(&[], &["gone@tinh.gov.vn"]);
    ca.issue(&[("EXT", "crlDistributionPoints = URI:http://crl.invalid/x.crl")], &["named@tinh.gov.vn"]);
    ca.issue(&[("REVOKE", "gone@tinh.gov.vn")], &[AN]);
    let letter = |who: &str| signed_by_openssl(&ca, who, who, &["-md", "sha256"]);
    let status = |who: &str, store: &[&str], now| examine(&letter(who), &ca.trust(store), now).0.status;
    let (all, root_only) = (["root.pem", "crl.pem", "root-crl.pem"], ["root.pem", "root-crl.pem"]);
    let now = today();
    assert_eq!(status(AN, &all, now), S::Valid);
    assert_eq!(status("gone@tinh.gov.vn", &all, now), S::Revoked);
    assert_eq!(status("named@tinh.gov.vn", &all, now), S::Valid);
    assert_eq!(status("gone@tinh.gov.vn", &["root.pem"], now), S::Valid, "no CRL configured: judged without");
    assert_eq!(status(AN, &all, now + Span::days(60)), S::UnknownRevocation, "stale");
    assert_eq!(status("named@tinh.gov.vn", &root_only, now), S::UnknownRevocation, "names a CRL we do not have");
    assert_eq!(status(AN, &root_only, now), S::Valid, "names none");
}

fn smime_keys(ca: &Ca, address: &str) -> SealKeys {
    let read = |suffix: &str| fs::read(ca.file(&format!("{address}.{suffix}"))).unwrap();
    SealKeys { dkim: Vec::new(), smime: Some(SmimePair::parse(&read("pem"), &read("key")).unwrap()) }
}

fn seal_outward(raw: &[u8], from: &str, keys: &SealKeys, now: Timestamp) -> (Vec<u8>, Vec<Note>) {
    let envelope = envelope(AN, &["x@example.net"]);
    let from = mailbox(from);
    let facts = Outward { hostname: "mx1.tinh.gov.vn", envelope: &envelope, from: Some(&from), keys, now };
    let sealed = seal::outward(&Bytes::copy_from_slice(raw), &facts).unwrap();
    (wire(&sealed), sealed.notes)
}

/// `openssl cms -verify` and our own eyes must agree; gives what was signed.
fn verified(ca: &Ca, message: &[u8]) -> Vec<u8> {
    fs::write(ca.file("signed.eml"), message).unwrap();
    let content = openssl(&ca.0, &["cms", "-verify", "-in", "signed.eml", "-CAfile", "root.pem"])
        .unwrap_or_else(|e| panic!("{e}\n{}", String::from_utf8_lossy(message)));
    let (fact, _) = examine(message, &ca.trust(&["root.pem"]), today());
    assert_eq!(fact.status, S::Valid, "{}", fact.detail);
    content
}

const MIXED: &str = "From: an@tinh.gov.vn\r\nSubject: s\r\nMIME-Version: 1.0\r\n\
    Content-Type: multipart/mixed; boundary=b\r\nContent-Transfer-Encoding: 8bit\r\n\r\n\
    --b\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\nChào anh.\r\n\
    --b\r\nContent-Type: application/octet-stream; name=a.bin\r\nContent-Transfer-Encoding: 8bit\r\n\r\nế\r\n\r\n\
    --b\r\nContent-Type: text/html\r\n\r\n<p>plain</p>\r\n--b--\r\n";

#[test]
fn rfc8551_3_5_3_our_signatures_verify_with_openssl() {
    let ca = Ca::new("ours");
    ca.issue(&[], &[AN]);
    ca.issue(&[("KEY", "ec:P-256")], &["ec@tinh.gov.vn"]);
    for address in [AN, "ec@tinh.gov.vn"] {
        let keys = smime_keys(&ca, address);
        for (raw, inside) in [
            ("From: F\r\n\r\nplain\r\n".to_owned(), "plain"),
            ("From: F\r\n\r\n".to_owned(), "us-ascii"),
            ("From: F\r\n\r\nno line end".to_owned(), "no line end"),
            (format!("From: F\r\n{}", TEXT.replace("7bit", "8bit").replace("chao", "chào")), "Xin ch=C3=A0o."),
            (format!("From: F\r\nContent-Type: text/plain\r\n\r\n{}\r\n", "x".repeat(2000)), "xxx=\r\n"),
            (MIXED.replace(AN, "F"), "Ch=C3=A0o anh."),
        ] {
            let raw = raw.replace("From: F", &format!("From: {address}"));
            let (message, notes) = seal_outward(raw.as_bytes(), address, &keys, today());
            assert!(notes.is_empty(), "{notes:?}");
            assert!(message.is_ascii());
            let content = String::from_utf8(verified(&ca, &message)).unwrap();
            assert!(content.contains(inside), "{content}");
        }
    }
}

#[test]
fn decision_9_signed_and_encrypted_mail_is_not_touched() {
    let ca = Ca::new("untouched");
    ca.issue(&[], &[AN]);
    let keys = smime_keys(&ca, AN);
    let head = "From: an@tinh.gov.vn\r\nDate: Sat, 21 Nov 2026 23:00:00 +0000\r\nMessage-ID: <1@x>\r\n";
    for rest in [
        "Content-Type: multipart/signed; protocol=\"application/pgp-signature\"; boundary=b\r\n\r\n--b\r\n\r\nx\r\n--b--\r\n",
        "Content-Type: application/pkcs7-mime; smime-type=enveloped-data\r\n\r\nMIIB\r\n",
        "Content-Type: multipart/encrypted; boundary=b\r\n\r\n--b\r\n\r\nx\r\n--b--\r\n",
        "Content-Type: text/plain\r\n\r\n-----BEGIN PGP SIGNED MESSAGE-----\r\n",
    ] {
        let raw = format!("{head}{rest}");
        let (message, notes) = seal_outward(raw.as_bytes(), AN, &keys, today());
        assert_eq!(notes, [Note::SmimeAlreadySealed], "{rest}");
        assert!(message.ends_with(raw.as_bytes()), "only Received is put in front");
    }
    let author = signed_by_openssl(&ca, AN, AN, &["-md", "sha256"]);
    let (message, notes) = seal_outward(&author, AN, &keys, today());
    assert_eq!(notes, [Note::SmimeAlreadySealed]);
    verified(&ca, &message);
}

#[test]
fn a_signature_that_would_not_help_is_not_made() {
    let ca = Ca::new("useless");
    ca.issue(&[], &[AN]);
    let keys = smime_keys(&ca, AN);
    let notes = |raw: &[u8], from: &str, now| seal_outward(raw, from, &keys, now).1;
    assert_eq!(notes(b"From: a@b.vn\r\n\r\nx\r\n", "a@b.vn", today()), [Note::SmimeForeignDomain]);
    assert_eq!(notes(b"From: an@tinh.gov.vn\r\n\r\nx\r\n", AN, today() + Span::days(4000)), [Note::SmimeExpired]);
    // 8-bit text inside a part that somebody signed: there is no safe form of it.
    let inner = "From: an@tinh.gov.vn\r\nContent-Type: multipart/mixed; boundary=m\r\n\r\n--m\r\n\
        Content-Type: multipart/signed; boundary=s; protocol=\"application/pgp-signature\"\r\n\r\n--s\r\n\
        Content-Type: text/plain; charset=utf-8\r\n\r\nchào\r\n--s\r\nContent-Type: application/pgp-signature\r\n\r\n\
        x\r\n--s--\r\n--m--\r\n";
    let (message, notes) = seal_outward(inner.as_bytes(), AN, &keys, today());
    assert_eq!(notes, [Note::SmimeNotSevenBit]);
    assert!(message.ends_with(inner.split_once("\r\n\r\n").unwrap().1.as_bytes()));
}

#[test]
fn s_mime_first_then_dkim_over_it() {
    let ca = Ca::new("order");
    ca.issue(&[], &[AN]);
    let mut keys = smime_keys(&ca, AN);
    let domain = luytre::mail::Domain::parse("tinh.gov.vn").unwrap();
    keys.dkim.push(seal::DkimPair::parse(domain, "s", &seal::new_key(true).unwrap()).unwrap());
    let (message, notes) = seal_outward(MIXED.as_bytes(), AN, &keys, today());
    assert!(notes.is_empty());
    assert!(message.starts_with(b"DKIM-Signature: "));
    verified(&ca, &message);
}

#[test]
fn the_loader_names_what_is_wrong_with_a_trust_folder() {
    let ca = Ca::new("folder");
    ca.issue(&[], &[AN]);
    let folder = ca.file("trust");
    fs::create_dir_all(folder.join("pool")).unwrap();
    fs::copy(ca.file("root.pem"), folder.join("root.pem")).unwrap();
    fs::copy(ca.file("mail-ca.pem"), folder.join("pool/mail-ca.crt")).unwrap();
    openssl(&ca.0, &["x509", "-in", "an@tinh.gov.vn.pem", "-outform", "DER", "-out", "trust/an.der"]).unwrap();
    fs::write(folder.join("README.md"), "not a certificate").unwrap();
    let load = |paths: &[&Path]| {
        let paths: Vec<_> = paths.iter().map(|p| p.to_path_buf()).collect();
        luytre::inspect::checks::content::smime::run::load(&paths)
    };
    let (material, problems) = load(&[&folder]);
    assert!(problems.is_empty(), "{problems:?}");
    assert_eq!((material.anchors.len(), material.pool.len(), material.crls.len()), (2, 1, 0));
    fs::write(folder.join("bad.pem"), "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").unwrap();
    fs::write(folder.join("junk.crt"), [0x30, 0x03, 1, 2, 3]).unwrap();
    let (material, problems) = load(&[&folder, Path::new("/no/such/folder")]);
    assert_eq!(material.anchors.len(), 2);
    assert_eq!(problems.len(), 3, "{problems:?}");
    let (_, problems) = load(&[&folder.join("pool")]);
    assert_eq!(problems[0].severity, luytre::mail::problem::Severity::Warning);
    let _ = trust(&[folder.join("root.pem")]);
}
