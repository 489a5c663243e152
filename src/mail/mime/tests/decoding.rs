//! Bodies that decoders read differently, and files inside texts: the payload stands in one reading alone and must be
//! found (THREATS M-05, M-06, M-09; "Inbox Invasion", class of decoders).

use super::readings::{PAYLOAD, check, each, leaf, mixed, quoted};
use super::*;

const B64: &str = "Content-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64";
const QP: &str = "Content-Type: application/octet-stream\r\nContent-Transfer-Encoding: quoted-printable";

fn base64_of(octets: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(octets)
}

/// `text` with `junk` behind every `width` characters.
fn spread(text: &str, width: usize, junk: &str) -> String {
    text.as_bytes().chunks(width).map(|c| String::from_utf8_lossy(c).into_owned() + junk).collect()
}

#[test]
fn base64_that_decoders_read_differently() {
    let junk = [
        "\r\n", " ", "\t", "\u{0b}", "\0", ".", ":", "-", "!", "*", "\u{e9}", "\u{ff}", "\r", "\r\n\r\n", " \r\n ",
        "=\r\n", ",", "%", "#", "\\",
    ];
    for width in [1, 3, 4, 5, 7, 76] {
        check("", &each(&junk, |junk| leaf(B64, &spread(EICAR64, width, junk))));
    }
    let (a, b) = EICAR64.split_at(40);
    let (head, tail) = PAYLOAD.split_at(31);
    let cases: Vec<(&str, String)> = vec![
        ("no padding", EICAR64.trim_end_matches('=').to_owned()),
        ("too much padding", format!("{EICAR64}====")),
        ("padding first", format!("={EICAR64}")),
        ("two paddings first", format!("===={EICAR64}")),
        ("behind padding", format!("QQ==\r\n{EICAR64}")),
        ("behind padding on one line", format!("QQ=={EICAR64}")),
        ("padding inside, ignored", format!("{a}={b}")),
        ("padding inside, quantum kept", format!("{a}===={b}")),
        ("two runs", format!("{}{}", base64_of(head.as_bytes()), base64_of(tail.as_bytes()))),
        ("two runs on two lines", format!("{}\r\n{}", base64_of(head.as_bytes()), base64_of(tail.as_bytes()))),
        ("a quantum split by padding", spread(EICAR64, 2, "==")),
        ("each line for itself", spread(EICAR64, 6, "A\r\n").replace("A\r\n", "\r\n")),
        ("a foreign line first", format!("this is no base64!\r\n{EICAR64}")),
        ("a foreign line last", format!("{EICAR64}\r\n-- a list's footer --")),
        ("a foreign line between", format!("{a}\r\nX-Junk: !\r\n{b}")),
        ("eight bits", EICAR64.bytes().map(|b| char::from(b | 0x80)).collect()),
        ("the whole behind zeros", format!("\0\0\0\0{EICAR64}")),
    ];
    let cases: Vec<(&str, String)> = cases.into_iter().map(|(name, body)| (name, leaf(B64, &body))).collect();
    check("", &cases);
    // RFC 4648 §5: the other alphabet, for octets whose code holds the letters that differ.
    let octets = [&[0xFB, 0xEF, 0xBE, 0xFF, 0xFF, 0xFF], PAYLOAD.as_bytes()].concat();
    let other = base64_of(&octets).replace('+', "-").replace('/', "_");
    check("base64-unclear", &[("url-safe", leaf(B64, &other))]);
}

#[test]
fn quoted_printable_that_decoders_read_differently() {
    let escapes: Vec<String> = PAYLOAD.bytes().map(|b| format!("={b:02X}")).collect();
    let joined = |between: &str| escapes.join(between);
    let between = [
        "", "=\r\n", "=\n", "= \r\n", "=\t\r\n", "=\r", "\r\n", "=", "==", " ", "=0", "=X", "=\0", "=\r\r\n", "=\r\n ",
        "=\r\n\t",
    ];
    check("", &each(&between, |text| leaf(QP, &joined(text))));
    let cases = [
        ("lower case", joined("").to_lowercase()),
        ("lower hex", PAYLOAD.bytes().map(|b| format!("={b:02x}")).collect()),
        ("longer than a line", joined("")),
        ("blanks at line ends", joined("=  \r\n")),
        ("no end of line", format!("{}=", joined(""))),
        ("a broken escape first", format!("=ZZ{}", joined(""))),
        ("a broken escape last", format!("{}=4", joined(""))),
    ];
    let cases: Vec<(&str, String)> = cases.into_iter().map(|(name, body)| (name, leaf(QP, &body))).collect();
    check("", &cases);
    check("", &[("base64 in it", leaf(QP, &EICAR64.replace('=', "=3D")))]);
}

fn uu(payload: &[u8]) -> String {
    let mut out = String::new();
    for line in payload.chunks(45) {
        out.push(char::from(32 + u8::try_from(line.len()).unwrap()));
        for group in line.chunks(3) {
            let at = |i: usize| u32::from(group.get(i).copied().unwrap_or(0));
            let bits = at(0) << 16 | at(1) << 8 | at(2);
            for shift in [18, 12, 6, 0] {
                let six = u8::try_from(bits >> shift & 63).unwrap();
                out.push(if six == 0 { '`' } else { char::from(32 + six) });
            }
        }
        out.push_str("\r\n");
    }
    out
}

fn yenc(payload: &[u8]) -> String {
    payload
        .iter()
        .map(|b| {
            let coded = b.wrapping_add(42);
            match coded {
                0 | b'\n' | b'\r' | b'=' => format!("={}", char::from(coded.wrapping_add(64))),
                _ => char::from(coded).to_string(),
            }
        })
        .collect()
}

#[test]
fn files_inside_texts() {
    let coded = uu(PAYLOAD.as_bytes());
    let text = |body: &str| leaf("Content-Type: text/plain", body);
    let begins = [
        "begin 644 a.com",
        "begin 0644 a.com",
        "begin 666 a.com",
        "begin  644  a.com",
        "begin 644 a b.com",
        "begin 644 ",
        "begin 644",
        "begin a.com",
        "begin 600 \"a.com\"",
        "begin\t644\ta.com",
        "BEGIN 644 a.com",
        "begin 7777 a.com",
        "  begin 644 a.com",
        "begin 644 a.com ",
    ];
    check("", &each(&begins, |begin| text(&format!("hi\r\n{begin}\r\n{coded}`\r\nend\r\n"))));
    let body = format!("begin 644 a.com\r\n{coded}`\r\nend\r\n");
    let cases = [
        ("no end", text(&format!("begin 644 a.com\r\n{coded}"))),
        ("spaces for zeros", text(&body.replace('`', " "))),
        ("second of two", text(&format!("begin 644 a.txt\r\n#0V%T\r\n`\r\nend\r\n{body}"))),
        ("behind sixty-four", text(&("begin 644 a\r\n#0V%T\r\n`\r\nend\r\n".repeat(70) + &body))),
        ("behind a false start", text(&format!("begin 644 a.txt\r\nnothing of that kind\r\n\r\n{body}"))),
        ("junk lines", text(&body.replacen("\r\n", "\r\n\r\n", 1))),
        (
            "in base64",
            leaf("Content-Type: text/plain\r\nContent-Transfer-Encoding: base64", &base64_of(body.as_bytes())),
        ),
        (
            "in quoted-printable",
            leaf("Content-Type: text/plain\r\nContent-Transfer-Encoding: quoted-printable", &quoted(&body)),
        ),
        ("in html", leaf("Content-Type: text/html", &format!("<pre>\r\n{body}</pre>"))),
        ("no mime at all", format!("Subject: x\r\n\r\n{body}")),
        (
            "in the preamble",
            format!("Content-Type: multipart/mixed; boundary=x\r\n\r\n{body}\r\n--x\r\n\r\nhi\r\n--x--\r\n"),
        ),
        (
            "in the epilogue",
            format!("Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n\r\nhi\r\n--x--\r\n{body}"),
        ),
        ("begin-base64", text(&format!("begin-base64 644 a.com\r\n{EICAR64}\r\n====\r\n"))),
        (
            "yenc",
            text(&format!("=ybegin line=128 size=68 name=a.com\r\n{}\r\n=yend size=68\r\n", yenc(PAYLOAD.as_bytes()))),
        ),
        (
            "yenc of several parts",
            text(&format!(
                "=ybegin part=1 line=128 size=68 name=a.com\r\n=ypart begin=1 end=68\r\n{}\r\n=yend size=68\r\n",
                yenc(PAYLOAD.as_bytes())
            )),
        ),
        ("yenc without end", text(&format!("=ybegin line=128 size=68 name=a.com\r\n{}\r\n", yenc(PAYLOAD.as_bytes())))),
    ];
    check("", &cases);
}

#[test]
fn composites_inside_transfer_encodings() {
    let inner = format!(
        "Content-Type: application/octet-stream\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n{}",
        quoted(PAYLOAD)
    );
    let multi = format!("--y\r\n\r\nhi\r\n--y\r\n{inner}\r\n--y--\r\n");
    let mail = format!("Subject: in\r\n{inner}\r\n");
    for (encoding, code) in
        [("base64", base64_of as fn(&[u8]) -> String), ("quoted-printable", |b| quoted(&String::from_utf8_lossy(b)))]
    {
        let coded = |ctype: &str, body: &str| {
            mixed(&format!(
                "--x\r\nContent-Type: {ctype}\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n{}",
                code(body.as_bytes())
            ))
        };
        check(
            "encoded-multipart",
            &[
                ("a multipart", coded("multipart/mixed; boundary=y", &multi)),
                ("the wrong boundary", coded("multipart/mixed; boundary=z", &multi)),
            ],
        );
        check(
            "",
            &each(&["message/rfc822", "message/global", "message/news", "message/x-strange"], |ctype| {
                coded(ctype, &mail)
            }),
        );
    }
    check(
        "",
        &each(
            &[
                "message/rfc822",
                "message/global",
                "multipart/digest; boundary=y",
                "MESSAGE/RFC822",
                "message/rfc822; charset=utf-8",
            ],
            |ctype| {
                let body = if ctype.contains("digest") { format!("--y\r\n\r\n{mail}--y--\r\n") } else { mail.clone() };
                mixed(&format!("--x\r\nContent-Type: {ctype}\r\n\r\n{body}"))
            },
        ),
    );
}

/// THREATS M-09. UTF-7 is read by old clients alone; the wide sets by all of them, but not by a look at the octets.
#[test]
fn character_sets_that_hide_words() {
    let units: Vec<u8> = PAYLOAD.encode_utf16().flat_map(u16::to_be_bytes).collect();
    let utf7 = format!("+{}-", base64_of(&units).trim_end_matches('='));
    check(
        "charset-hidden",
        &each(&["utf-7", "UTF-7", "unicode-1-1-utf-7", "x-unicode-2-0-utf-7"], |set| {
            leaf(&format!("Content-Type: text/html; charset={set}"), &utf7)
        }),
    );
    let wide = |big: bool| -> String {
        let octets = PAYLOAD.encode_utf16().flat_map(|u| if big { u.to_be_bytes() } else { u.to_le_bytes() });
        octets.map(char::from).collect()
    };
    check(
        "",
        &[
            (
                "little",
                leaf("Content-Type: text/html; charset=utf-16le\r\nContent-Transfer-Encoding: binary", &wide(false)),
            ),
            ("big", leaf("Content-Type: text/html; charset=utf-16be", &wide(true))),
            ("the second of two", leaf("Content-Type: text/html; charset=utf-8; charset=utf-16le", &wide(false))),
            ("the first of two", leaf("Content-Type: text/html; charset=utf-16le; charset=utf-8", &wide(false))),
            ("by mark", leaf("Content-Type: text/html", &format!("\u{ff}\u{fe}{}", wide(false)))),
        ],
    );
}
