//! What is cut out is gone and the rest is as it was; what is written anew is read in one way (RFC 2045, 2046, 2231).

use super::*;
use crate::mail::mime::parse;

const LIMITS: Limits = Limits { depth: 32, parts: 2000, header_fields: 2000 };
const NOTICE: &str = "Tệp đính kèm đã bị gỡ.\nAn attachment was removed.\n";

fn mixed() -> String {
    "From: a@b.example\r\nSubject: x\r\nContent-Type: multipart/mixed; boundary=a\r\nX-Tail: y\r\n\r\npreamble\r\n\
--a\r\nContent-Type: text/plain\r\n\r\nhello \r\n\
--a\r\nContent-Type: application/zip; name=x.zip\r\nContent-Transfer-Encoding: base64\r\n\r\nUEsDBA==\r\n\r\n\
--a\r\nContent-Type: message/rfc822\r\n\r\nSubject: in\r\nContent-Type: image/png\r\n\r\nthree\r\n\
--a--\r\nepilogue\r\n"
        .to_owned()
}

fn strip_paths(raw: &str, paths: &[&str]) -> Result<String, CannotRewrite> {
    let paths: Vec<PartPath> = paths.iter().map(|p| PartPath::of(p)).collect();
    strip(raw.as_bytes(), &paths, NOTICE, &LIMITS).map(|out| String::from_utf8(out).unwrap())
}

#[test]
fn a_part_gives_way_to_a_notice_and_nothing_else_changes() {
    let raw = mixed();
    let out = strip_paths(&raw, &["2/inner.zip/a.exe"]).unwrap();
    let (before, rest) = raw.split_once("Content-Type: application/zip").unwrap();
    let after = rest.split_once("UEsDBA==\r\n").unwrap().1;
    assert!(out.starts_with(before) && out.ends_with(after), "{out}");
    let tree = parse(out.as_bytes(), &LIMITS);
    let part = tree.parts.iter().find(|p| p.path == "2").unwrap();
    assert_eq!(std::str::from_utf8(&part.decoded).unwrap(), NOTICE.replace('\n', "\r\n"));
    assert_eq!((part.disposition.as_str(), part.name.as_str()), ("attachment", strip::NOTICE_NAME));
    assert!(!out.contains("x.zip"));
}

#[test]
fn the_body_of_a_message_gives_way_below_the_same_header() {
    let out = strip_paths(&mixed(), &["3.1"]).unwrap();
    assert!(out.contains("Subject: in\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n"), "{out}");
    assert!(!out.contains("three") && out.contains("X-Tail: y"));
    let out = strip_paths(&mixed(), &["0", "2"]).unwrap();
    assert!(out.starts_with("From: a@b.example\r\nSubject: x\r\nX-Tail: y\r\nMIME-Version: 1.0\r\n"), "{out}");
    assert_eq!(parse(out.as_bytes(), &LIMITS).parts.len(), 1);
    let single = "Subject: x\r\nContent-Type: application/zip\r\n\r\nPK";
    assert!(strip_paths(single, &["1"]).unwrap().starts_with("Subject: x\r\nMIME-Version"));
}

#[test]
fn several_parts_go_at_once_and_no_other_path_is_taken() {
    let out = strip_paths(&mixed(), &["1", "3"]).unwrap();
    assert!(!out.contains("hello") && !out.contains("three") && out.contains("UEsDBA=="));
    assert_eq!(strip_paths(&mixed(), &["9"]), Err(CannotRewrite::NoSuchPart("9".into())));
}

/// RFC 1847 §2.1, DESIGN decision 9.
#[test]
fn rfc1847_signed_and_encrypted_parts_are_never_edited() {
    let signed = "Content-Type: multipart/mixed; boundary=o\r\n\r\n--o\r\nContent-Type: multipart/signed; \
boundary=s; protocol=\"application/pkcs7-signature\"\r\n\r\n--s\r\n\r\ntext\r\n--s\r\nContent-Type: \
application/pkcs7-signature\r\n\r\nx\r\n--s--\r\n--o\r\nContent-Type: application/zip\r\n\r\nPK\r\n--o--\r\n";
    for path in ["0", "1", "1.1", "1.2"] {
        let answer = strip_paths(signed, &[path]);
        assert!(matches!(answer, Err(CannotRewrite::Signed(_))), "{path} {answer:?}");
    }
    assert!(strip_paths(signed, &["2"]).unwrap().contains("--s\r\n\r\ntext\r\n--s"));
    assert!(matches!(canonical(signed.as_bytes(), &LIMITS), Err(CannotRewrite::Signed(_))));
    for kind in ["application/pkcs7-mime", "application/x-pkcs7-mime", "multipart/encrypted", "application/pgp"] {
        let raw = format!("Content-Type: {kind}; boundary=x\r\n\r\n--x\r\n\r\na\r\n--x--\r\n");
        assert!(canonical(raw.as_bytes(), &LIMITS).is_err(), "{kind}");
    }
    let inline = "Subject: x\r\n\r\n-----BEGIN PGP SIGNED MESSAGE-----\r\nHash: SHA256\r\n\r\nhi\r\n";
    assert_eq!(canonical(inline.as_bytes(), &LIMITS), Err(CannotRewrite::Signed("1".into())));
}

/// Each is read in several ways before and in one way after, and the main reading's octets are the same.
#[test]
fn a_canonical_copy_is_read_in_one_way() {
    let parts = "--x\r\nContent-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n<p>chào \r\n\r\n\
--x\r\nContent-Type: application/pdf; name=a.pdf\r\nContent-Disposition: attachment; \
filename=\"=?utf-8?B?YsOhbw==?=.pdf\"\r\nContent-Transfer-Encoding: base64\r\n\r\nYQ==\r\nYg==\r\n--x--\r\n";
    let cases = [
        format!("Subject: s\r\nContent-Type: multipart/mixed; boundary=x\r\nContent-Type: text/plain\r\n\r\n{parts}"),
        format!("Subject : s\r\nContent-Type : multipart/mixed; boundary=y; boundary=x\r\n\r\n{parts}"),
        format!("Subject: s\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\n{parts}--x\r\n\r\nlate\r\n--x--\r\n"),
        format!("Subject: s\r\nContent-Type: multipart/mixed\r\n\r\n{parts}"),
        "Subject: s\r\nContent-Type: message/rfc822\r\n\r\nSubject: in\r\nTo: ă@b\r\nContent-Type: text/plain\r\n\
Content-Transfer-Encoding: base64\r\nContent-Transfer-Encoding: base64; x\r\n\r\nYQ=="
            .to_owned(),
    ];
    for raw in cases {
        let before = parse(raw.as_bytes(), &LIMITS);
        let out = canonical(raw.as_bytes(), &LIMITS).unwrap_or_else(|e| panic!("{e}: {raw}"));
        let after = parse(&out, &LIMITS);
        assert!(after.oddities.is_empty() && after.alternatives.is_empty(), "{:?}", after.oddities);
        let leaves = |t: &Tree<'_>| -> Vec<(Vec<u8>, String)> {
            let leaf = |p: &&Part<'_>| !p.is_multipart() && !p.is_message();
            t.parts.iter().filter(leaf).map(|p| (p.decoded.to_vec(), p.name.clone())).collect()
        };
        assert_eq!(leaves(&before), leaves(&after), "{raw}");
        assert!(out.starts_with(b"Subject: s\r\n"), "{}", out.escape_ascii());
        assert_eq!(
            canonical(&out, &LIMITS).map(|again| again.len()),
            Ok(out.len()),
            "a fixed point but for boundaries"
        );
    }
}

#[test]
fn what_is_not_wholly_known_is_not_written() {
    let encoded = "Content-Type: multipart/mixed; boundary=x\r\nContent-Transfer-Encoding: base64\r\n\r\nLS14DQo=\r\n";
    assert_eq!(canonical(encoded.as_bytes(), &LIMITS), Err(CannotRewrite::Encoded("0".into())));
    let partial = "Content-Type: message/partial; id=a; number=1\r\n\r\nx";
    assert_eq!(canonical(partial.as_bytes(), &LIMITS), Err(CannotRewrite::Fragment("1".into())));
    let many = format!("Content-Type: multipart/mixed; boundary=x\r\n\r\n{}", "--x\r\n\r\na\r\n".repeat(3000));
    assert_eq!(canonical(many.as_bytes(), &LIMITS), Err(CannotRewrite::Limit));
    assert_eq!(strip_paths(&many, &["1"]), Err(CannotRewrite::Limit));
    let ambiguous = mixed().replace("boundary=a", "boundary=z; boundary=a");
    assert_eq!(strip_paths(&ambiguous, &["2"]), Err(CannotRewrite::Ambiguous));
}
