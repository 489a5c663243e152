//! Trees, readings, names and limits (RFC 2045, 2046, 2047, 2231; THREATS §4).

use super::*;

const EICAR64: &str = "WDVPIVAlQEFQWzRcUFpYNTQoUF4pN0NDKTd9JEVJQ0FSLVNUQU5EQVJELUFOVElWSVJVUy1URVNULUZJTEUhJEgrSCo=";

fn payload_in(raw: &str) -> bool {
    let tree = parse(raw.as_bytes(), &Limits::default());
    let has = |data: &[u8]| memchr::memmem::find(data, b"EICAR-STANDARD-ANTIVIRUS").is_some();
    let again = |data: &[u8]| parse(data, &Limits::default()).parts.iter().any(|p| has(&p.decoded));
    tree.parts.iter().any(|p| has(&p.decoded))
        || tree.alternatives.iter().any(|a| has(&a.decoded) || (a.entity && again(&a.decoded)))
}

fn odd(raw: &str, code: &str) -> bool {
    parse(raw.as_bytes(), &Limits::default()).oddities.iter().any(|o| o.code == code)
}

fn paths(raw: &str) -> Vec<String> {
    parse(raw.as_bytes(), &Limits::default()).parts.into_iter().map(|p| p.path).collect()
}

const MIXED: &str = "Content-Type: multipart/mixed; boundary=a\r\n\r\n\
--a\r\nContent-Type: multipart/alternative; boundary=\"b b\"\r\n\r\n\
--b b\r\n\r\none\r\n--b b\r\nContent-Type: text/html\r\n\r\n<p>two\r\n--b b--\r\n\
--a\r\nContent-Type: message/rfc822\r\n\r\nSubject: x\r\n\r\nthree\r\n--a--\r\n";

#[test]
fn rfc9051_6_4_5_parts_are_numbered_as_imap_counts() {
    assert_eq!(paths(MIXED), ["0", "1", "1.1", "1.2", "2", "2.1"]);
    assert_eq!(paths("Subject: x\r\n\r\nbody"), ["1"]);
    let tree = parse(MIXED.as_bytes(), &Limits::default());
    assert!(tree.oddities.is_empty(), "{:?}", tree.oddities);
    assert!(tree.alternatives.is_empty());
    assert_eq!(&*tree.parts[2].decoded, b"one");
    assert_eq!(&*tree.parts[5].decoded, b"three");
    assert_eq!(tree.parts[5].parent, Some(4));
}

#[test]
fn rfc2045_6_encodings_are_decoded() {
    for (encoding, body) in
        [("base64", "aGVs\r\nbG8="), ("Quoted-Printable", "h=65ll=\r\no"), ("8bit", "hello"), ("7-bit", "hello")]
    {
        let raw = format!("Content-Transfer-Encoding: {encoding}\r\n\r\n{body}");
        let tree = parse(raw.as_bytes(), &Limits::default());
        assert_eq!(&*tree.parts[0].decoded, b"hello", "{encoding}");
    }
}

#[test]
fn rfc2231_names_are_put_together() {
    let raw =
        "Content-Disposition: attachment; filename*1*=%83.pdf; filename*0*=utf-8'vi'b%C3%A1o%20c%C3%A1o%E2%82\r\n\r\n";
    assert_eq!(parse(raw.as_bytes(), &Limits::default()).parts[0].name, "báo cáo₃.pdf");
    let raw = "Content-Type: a/b; name=\"=?utf-8?B?YsOhbw==?= =?utf-8?Q?_c=C3=A1o?=.pdf\"\r\n\r\n";
    assert_eq!(parse(raw.as_bytes(), &Limits::default()).parts[0].name, "báo cáo.pdf");
}

/// THREATS M-02..M-06: each way to hide the payload from one reading is found by another.
#[test]
fn every_plausible_reading_is_kept() {
    let part =
        format!("Content-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n\r\n{EICAR64}\r\n");
    let multi =
        |ctype: &str, delimiter: &str| format!("Content-Type: {ctype}\r\n\r\n{delimiter}\r\n{part}{delimiter}--\r\n");
    let cases = [
        ("plain", multi("multipart/mixed; boundary=x", "--x")),
        ("second boundary", multi("multipart/mixed; boundary=y; boundary=x", "--x")),
        ("two types", multi("multipart/mixed; boundary=y\r\nContent-Type: multipart/mixed; boundary=x", "--x")),
        ("no boundary", multi("multipart/mixed", "--x")),
        ("2231 boundary", multi("multipart/mixed; boundary=y; boundary*0=x; boundary*1=z", "--xz")),
        ("comment", multi("multipart/mixed; boundary=x(y)", "--x")),
        ("comment kept", multi("multipart/mixed; boundary=x(y)", "--x(y)")),
        ("space colon", multi("multipart/mixed; boundary=x", "--x").replace("Type:", "Type :")),
        ("noise", multi("multipart//mixed;; boundary=x", "--x")),
        ("blank fold", multi("multipart/mixed; boundary=x", "--x").replacen("\r\n\r\n", "\r\n \r\n", 1)),
        (
            "text behind",
            format!("Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n\r\nhi\r\n--x y\r\n{part}--x--\r\n"),
        ),
        (
            "epilogue",
            format!(
                "Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n\r\nhi\r\n--x--\r\n--x\r\n{part}--x--\r\n"
            ),
        ),
        ("text leaf", multi("text/plain", "--x")),
        (
            "two encodings",
            multi("multipart/mixed; boundary=x", "--x")
                .replace("Encoding: base64", "Encoding: 7bit\r\nContent-Transfer-Encoding: base64"),
        ),
        ("unknown encoding", multi("multipart/mixed; boundary=x", "--x").replace("Encoding: base64", "Encoding: x-y")),
        ("no encoding", format!("Content-Type: image/png\r\n\r\n{EICAR64}")),
        ("padding", format!("Content-Transfer-Encoding: base64\r\n\r\nYQ==\r\n{EICAR64}")),
        ("junk", format!("Content-Transfer-Encoding: base64\r\n\r\n{}", EICAR64.replace('U', "*U-"))),
    ];
    for (name, raw) in cases {
        assert!(payload_in(&raw), "{name}: {raw}");
    }
}

#[test]
fn rfc2045_6_4_an_encoded_multipart_is_decoded_and_reported() {
    use base64::Engine as _;
    let inner = format!("--x\r\nContent-Transfer-Encoding: base64\r\n\r\n{EICAR64}\r\n--x--\r\n");
    let coded = base64::engine::general_purpose::STANDARD.encode(inner);
    let raw =
        format!("Content-Type: multipart/mixed; boundary=x\r\nContent-Transfer-Encoding: base64\r\n\r\n{coded}\r\n");
    assert!(payload_in(&raw) && odd(&raw, "mime.ambiguous"));
}

#[test]
fn a_uuencoded_file_in_a_text_is_found() {
    let raw = "Content-Type: text/plain\r\n\r\nhi\r\nbegin 644 a.txt\r\n#0V%T\r\n`\r\nend\r\n";
    let tree = parse(raw.as_bytes(), &Limits::default());
    let file = &tree.alternatives[0];
    assert_eq!((&*file.name, &*file.decoded), ("a.txt", &b"Cat"[..]));
}

#[test]
fn fragments_and_external_bodies_are_reported() {
    assert!(odd("Content-Type: message/partial; id=x; number=1; total=2\r\n\r\nx", "mime.partial"));
    assert!(odd("Content-Type: message/external-body; access-type=url\r\n\r\nx", "mime.external-body"));
}

/// THREATS M-07: bounded whatever the message does.
#[test]
fn limits_hold_on_wide_deep_and_long_messages() {
    let limits = Limits::default();
    let wide = format!("Content-Type: multipart/mixed; boundary=x\r\n\r\n{}--x--\r\n", "--x\r\n\r\na\r\n".repeat(8000));
    let tree = parse(wide.as_bytes(), &limits);
    assert!(tree.parts.len() <= limits.parts && odd(&wide, "mime.limit"));

    let deep = "Content-Type: message/rfc822\r\n\r\n".repeat(400);
    let tree = parse(deep.as_bytes(), &limits);
    assert!(tree.parts.len() <= limits.depth + 2 && odd(&deep, "mime.limit"));

    let nested: String =
        (0..400).map(|i| format!("Content-Type: multipart/mixed; boundary=b{i}\r\n\r\n--b{i}\r\n")).collect();
    assert!(odd(&nested, "mime.limit"));

    let params: String = (0..5000).map(|i| format!("; p{i}=v")).collect();
    assert!(odd(&format!("Content-Type: text/plain{params}\r\n\r\nx"), "mime.limit"));
}

#[test]
fn hostile_octets_never_panic() {
    let mut state = 0x2545_F491_4F6C_DD1D_u64;
    let tokens = [
        "--",
        "x",
        "\r\n",
        "\n",
        " ",
        "Content-Type",
        ":",
        "multipart/mixed",
        "; boundary=",
        "\"",
        "\\",
        "(",
        ")",
        "=?utf-8?B?",
        "?=",
        "*0*=",
        "%",
        "=",
        "begin 644 a",
        "end",
        "base64",
        "Content-Transfer-Encoding: ",
        "\0",
        "é",
        "''",
        "message/rfc822",
    ];
    for _ in 0..3000 {
        let mut raw = String::new();
        for _ in 0..40 {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            raw.push_str(tokens[(state % tokens.len() as u64) as usize]);
        }
        let tree = parse(raw.as_bytes(), &Limits::default());
        assert!(!tree.parts.is_empty());
    }
}

mod bounds;
mod decoding;
mod readings;
