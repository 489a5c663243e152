//! Each class of "Inbox Invasion" (CCS 2024) and of what mail programs are known to do: the payload stands in one
//! reading alone and must be found (THREATS M-01 to M-06, M-09).

use super::*;

pub(super) const PAYLOAD: &str = "X5O!P%@AP[4\\PZX54(P^)7CC)7}$EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*";

/// Whether some reading of `raw` shows the payload; entities are read on, as the unpacker does.
fn shows_payload(raw: &[u8]) -> bool {
    let mut open = vec![(raw.to_vec(), 0)];
    while let Some((entity, depth)) = open.pop() {
        let tree = parse(&entity, &Limits::default());
        let holds = |data: &[u8]| memchr::memmem::find(data, PAYLOAD.as_bytes()).is_some();
        if tree.parts.iter().any(|p| holds(&p.decoded)) || tree.alternatives.iter().any(|a| holds(&a.decoded)) {
            return true;
        }
        if depth < 4 {
            open.extend(tree.alternatives.iter().filter(|a| a.entity).map(|a| (a.decoded.to_vec(), depth + 1)));
        }
    }
    false
}

fn reasons(raw: &[u8]) -> Vec<&'static str> {
    let tree = parse(raw, &Limits::default());
    tree.oddities.iter().filter_map(|o| o.why).map(Why::word).collect()
}

/// Every case shows the payload and gives `word` (empty: none is asked for).
pub(super) fn check(word: &str, cases: &[(&str, String)]) {
    let mut bad = Vec::new();
    for (name, raw) in cases {
        let name = name.escape_debug();
        let raw: Vec<u8> = raw.chars().map(|c| u8::try_from(u32::from(c)).unwrap_or(b'?')).collect();
        let said = reasons(&raw);
        if !shows_payload(&raw) {
            bad.push(format!("{name}: not found; {said:?}"));
        } else if !word.is_empty() && !said.contains(&word) {
            bad.push(format!("{name}: found, but {said:?}"));
        }
    }
    assert!(bad.is_empty(), "{} of {}:\n{}", bad.len(), cases.len(), bad.join("\n"));
}

/// In quoted-printable, every octet escaped, so that no plain look at the message shows it.
pub(super) fn quoted(payload: &str) -> String {
    let mut out = String::new();
    for (number, byte) in payload.bytes().enumerate() {
        if number % 20 == 19 {
            out.push_str("=\r\n");
        }
        out.push_str(&format!("={byte:02X}"));
    }
    out
}

fn quoted_part() -> String {
    let body = quoted(PAYLOAD);
    format!(
        "X-First: y\r\nContent-Type: application/octet-stream\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n{body}\r\n"
    )
}

/// A message whose parts are cut by `delimiter`; the payload is the second of two.
fn cut_by(ctype: &str, delimiter: &str) -> String {
    format!(
        "MIME-Version: 1.0\r\nContent-Type: {ctype}\r\n\r\npreamble\r\n{delimiter}\r\n\r\nhello\r\n{delimiter}\r\n{}{delimiter}--\r\n",
        quoted_part()
    )
}

pub(super) fn mixed(inner: &str) -> String {
    format!(
        "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n\r\nhello\r\n{inner}\r\n--x--\r\n"
    )
}

/// A leaf with the given header lines.
pub(super) fn leaf(header: &str, body: &str) -> String {
    mixed(&format!("--x\r\n{header}\r\n\r\n{body}"))
}

pub(super) fn each<'a>(list: &[&'a str], make: impl Fn(&str) -> String) -> Vec<(&'a str, String)> {
    list.iter().map(|text| (*text, make(text))).collect()
}

#[test]
fn content_type_fields_that_clients_choose_between() {
    let twice = |a: &str, b: &str| cut_by(&format!("{a}\r\nContent-Type: {b}"), "--x");
    let (multi, plain) = ("multipart/mixed; boundary=x", "text/plain");
    check(
        "content-type-twice",
        &[
            ("first", twice(multi, plain)),
            ("last", twice(plain, multi)),
            ("other boundary", twice("multipart/mixed; boundary=y", multi)),
            ("other boundary first", twice(multi, "multipart/mixed; boundary=y")),
        ],
    );
    check(
        "",
        &each(
            &[
                "multipart/mixed boundary=x",
                "multipart/mixed, boundary=x",
                "multipart/mixed;;boundary=x;",
                "multipart /mixed; boundary=x",
                "multipart/ mixed; boundary=x",
                "multipart/\r\n mixed; boundary=x",
                "multi\r\n part/mixed; boundary=x",
                "multipart; boundary=x",
                "multipart/; boundary=x",
                "multipart/x-strange; boundary=x",
                "multipart\\mixed; boundary=x",
                "\"multipart/mixed\"; boundary=x",
                "(c)multipart(c)/(c)mixed(c); (c)boundary(c)=(c)x(c)",
                "(multipart/mixed; boundary=x",
                "=?utf-8?q?multipart/mixed?=; boundary=x",
                "text/plain; multipart/mixed; boundary=x",
                "text/plain multipart/mixed; boundary=x",
                "multipart/mixed text/plain; boundary=x",
                "multipart/mixed;\0boundary=x",
                "\0multipart/mixed; boundary=x",
                "multipart/mixed;\rboundary=x",
                "multipart/mixed; charset=\"; boundary=x",
                "multipart/mixed; a=\"\\\"; boundary=x",
                "multipart/mixed; boundary=x\r\n ; boundary=y",
                "mixed/multipart; boundary=x",
                "xxx; boundary=x",
                "; boundary=x",
                "boundary=x",
                "",
            ],
            |text| cut_by(text, "--x"),
        ),
    );
}

#[test]
fn names_of_content_fields_that_only_some_clients_know() {
    let with = |name: &str| {
        cut_by("multipart/mixed; boundary=x", "--x").replacen("Content-Type:", name, 1).replacen(
            "\r\n\r\npre",
            "\r\n\r\n",
            1,
        )
    };
    check(
        "",
        &each(
            &[
                "Content-Type :",
                "Content-Type\t:",
                "Content-Type\r\n :",
                "Content-Type\0:",
                "Content-\0Type:",
                "\0Content-Type:",
                " Content-Type:",
                "\tContent-Type:",
                "\rContent-Type:",
                "X: y\rContent-Type:",
                "X: y\n\rContent-Type:",
                "Content -Type:",
                "Content- Type:",
                "Content\u{ad}-Type:",
                "CONTENT-type:",
                "Content_Type:",
                "Content-Type=",
                "Content-Type;",
                "Content-Type::",
                "junk\r\nContent-Type:",
                "From x@y Mon Jan  1 00:00:00 2026\r\nContent-Type:",
                ">From x\r\nContent-Type:",
                "\r\n \r\nContent-Type:",
                " \r\nContent-Type:",
                "\x0b\r\nContent-Type:",
                "\r\r\nContent-Type:",
                "X: a\r\n\t\r\nContent-Type:",
                ":\r\nContent-Type:",
                ": x\r\nContent-Type:",
            ],
            with,
        ),
    );
}

#[test]
fn boundaries_that_clients_read_differently() {
    let cases: &[(&str, &str)] = &[
        ("boundary=y; boundary=x", "--x"),
        ("boundary=x; boundary=y", "--x"),
        ("boundary=y; boundary*=us-ascii''x", "--x"),
        ("boundary*=us-ascii''x; boundary=y", "--x"),
        ("boundary=y; boundary*=us-ascii''x", "--y"),
        ("boundary*=us-ascii''x%20y", "--x%20y"),
        ("boundary*=us-ascii''x%79", "--us-ascii''x%79"),
        ("boundary*=utf-16be''%00x%00y", "--xy"),
        ("boundary*0=x; boundary*1=y", "--xy"),
        ("boundary*1=y; boundary*0=x", "--xy"),
        ("boundary*1=y; boundary*0=x", "--yx"),
        ("boundary*0=x; boundary*2=y", "--xy"),
        ("boundary*0=x; boundary*2=y", "--x"),
        ("boundary*1=x; boundary*2=y", "--xy"),
        ("boundary*0*=us-ascii''x; boundary*1*=%79; boundary*2=z", "--xyz"),
        ("boundary*0=x; boundary*1=y; boundary=z", "--z"),
        ("boundary*0=x; boundary*0=y", "--x"),
        ("boundary*0=x; boundary*0=y", "--y"),
        ("boundary*00=x; boundary*01=y", "--xy"),
        ("boundary*0=\"x\"; boundary*1=\"y\"", "--xy"),
        ("boundary=\"x", "--x"),
        ("boundary=\"x", "--\"x"),
        ("boundary=x\"", "--x"),
        ("boundary=x\"", "--x\""),
        ("boundary=x\"y\"", "--xy"),
        ("boundary=\"x\"y", "--x"),
        ("boundary=\"x\"y", "--xy"),
        ("boundary=\"x\" y", "--x"),
        ("boundary=\"x\" y", "--x y"),
        ("boundary='x'", "--x"),
        ("boundary='x'", "--'x'"),
        ("boundary=\"x\\y\"", "--xy"),
        ("boundary=\"x\\y\"", "--x\\y"),
        ("boundary=x\\y", "--xy"),
        ("boundary=x\\y", "--x\\y"),
        ("boundary=\"x\\\"y\"", "--x\"y"),
        ("boundary=\"x\\\"y\"", "--x\\"),
        ("boundary=x(y)", "--x"),
        ("boundary=x(y)", "--x(y)"),
        ("boundary=(y)x", "--x"),
        ("boundary=(y)x", "--(y)x"),
        ("boundary=x(y", "--x"),
        ("boundary=x(y", "--x(y"),
        ("boundary(y)=x", "--x"),
        ("(boundary=y)boundary=x", "--x"),
        ("(boundary=x)", "--x"),
        ("boundary=\" x\"", "-- x"),
        ("boundary=\" x\"", "--x"),
        ("boundary=\"x \"", "--x"),
        ("boundary=x y", "--x"),
        ("boundary=x y", "--x y"),
        ("boundary=x;y", "--x;y"),
        ("boundary=\"x;y\"", "--x;y"),
        ("boundary=\"x;y\"", "--\"x"),
        ("boundary=x,y", "--x"),
        ("boundary=x,y", "--x,y"),
        ("boundary=x=y", "--x=y"),
        ("boundary=x=y", "--x"),
        ("boundary==x", "--x"),
        ("boundary==x", "--=x"),
        ("boundary = x", "--x"),
        ("boundary=\r\n x", "--x"),
        ("boundary\r\n =x", "--x"),
        ("boundary=x\r\n y", "--x"),
        ("boundary=x\r\n y", "--x y"),
        ("boundary=x\r\n y", "--xy"),
        ("boundary=\"x\r\n y\"", "--x y"),
        ("boundary=\"x\r\n y\"", "--xy"),
        ("boundary:x", "--x"),
        ("boundary x", "--x"),
        ("bound\r\n ary=x", "--x"),
        ("BoUnDaRy=x", "--x"),
        ("xboundary=x", "--x"),
        ("boundary=", "--x"),
        ("boundary=\"\"", "--"),
        ("boundary=", "--"),
        ("boundary=\"\"", "--x"),
        ("charset=x", "--x"),
        ("boundary==?us-ascii?q?x?=", "--x"),
        ("boundary==?us-ascii?q?x?=", "--=?us-ascii?q?x?="),
        ("boundary=\"=?us-ascii?b?eA==?=\"", "--x"),
        ("boundary=x\0y", "--x"),
        ("boundary=x\0y", "--xy"),
        ("boundary=\0x", "--x"),
        ("boundary=x\ry", "--x"),
        ("boundary=x\u{0b}", "--x"),
        ("boundary=x\u{0c}y", "--x"),
        ("boundary=\u{e9}x", "--\u{e9}x"),
        ("boundary=\"\u{c3}\u{a9}x\"", "--\u{c3}\u{a9}x"),
        ("boundary=x.", "--x"),
        ("boundary=x--", "--x--"),
        ("boundary=-x", "---x"),
        ("boundary=--x", "----x"),
        ("boundary=--x", "--x"),
        ("; ; boundary=x", "--x"),
        ("boundary;boundary=x", "--x"),
        ("a=b=boundary=x", "--x"),
        ("a=\"boundary=x\"", "--x"),
        ("a=\"b\";c;boundary=x", "--x"),
        ("a=\";boundary=x", "--x"),
    ];
    let list: Vec<(String, String)> = cases
        .iter()
        .map(|(text, delimiter)| {
            (format!("{text} {delimiter}"), cut_by(&format!("multipart/mixed; {text}"), delimiter))
        })
        .collect();
    let list: Vec<(&str, String)> = list.iter().map(|(n, r)| (n.as_str(), r.clone())).collect();
    check("", &list);
    let long = "b".repeat(71);
    let longer = "b".repeat(1500);
    check(
        "",
        &[
            ("longer than allowed", cut_by(&format!("multipart/mixed; boundary={long}"), &format!("--{long}"))),
            ("much longer", cut_by(&format!("multipart/mixed; boundary={longer}"), &format!("--{longer}"))),
            ("cut at 70", cut_by(&format!("multipart/mixed; boundary={long}"), &format!("--{}", &long[..70]))),
        ],
    );
}

#[test]
fn delimiter_lines_that_only_some_clients_take() {
    let around = |open: &str, close: &str| {
        format!(
            "Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n\r\nhello\r\n{open}\r\n{}{close}\r\n",
            quoted_part()
        )
    };
    check(
        "",
        &each(
            &[
                "--x ",
                "--x\t",
                "--x y",
                "--x;",
                "--xy",
                "--x-",
                "--x --",
                "--x--",
                "--x--y",
                " --x",
                "\t--x",
                "> --x",
                "---x",
                "--X",
                "--x\0",
                "\0--x",
                "--\0x",
                "-- x",
                "--x\x0b",
                "text --x",
                "text\r--x",
                "text\n--x",
                "--x\r",
                "--\"x\"",
                "\r--x",
            ],
            |open| around(open, "--x--"),
        ),
    );
    check("", &each(&["", "--x", "--x-", "--x --", "--y--", "--x--", "--x--junk"], |close| around("--x", close)));
    let nested = |inner: &str, delimiter: &str| {
        let part = quoted_part();
        mixed(&format!("--x\r\nContent-Type: multipart/alternative{inner}\r\n\r\n{delimiter}\r\n{part}{delimiter}--"))
    };
    check(
        "",
        &[
            ("inner without boundary", nested("", "--x")),
            ("inner without boundary, its own", nested("", "--y")),
            ("inner the same as outer", nested("; boundary=x", "--x")),
            ("inner begins as outer", nested("; boundary=xy", "--xy")),
            (
                "outer begins as inner",
                mixed(&nested("; boundary=xy", "--xy")).replace("boundary=x\r", "boundary=xyz\r"),
            ),
            ("inner is the end of outer", nested("; boundary=\"x--\"", "--x--")),
            ("inner not closed", nested("; boundary=y", "--y").replace("--y--", "")),
            ("no part header", mixed(&format!("--x\r\n\r\nContent-Transfer-Encoding: base64\r\n\r\n{}", &EICAR64))),
        ],
    );
}

#[test]
fn parts_where_no_parts_should_be() {
    let part = quoted_part();
    let top = "Content-Type: multipart/mixed; boundary=x\r\n\r\n";
    check(
        "epilogue-parts",
        &[
            ("behind the end", format!("{top}--x\r\n\r\nhi\r\n--x--\r\n--x\r\n{part}--x--\r\n")),
            ("behind the end, not closed", format!("{top}--x\r\n\r\nhi\r\n--x--\r\n--x\r\n{part}")),
            ("behind two ends", format!("{top}--x\r\n\r\nhi\r\n--x--\r\n--x--\r\n--x\r\n{part}--x--\r\n")),
            ("by another boundary", format!("{top}--x\r\n\r\nhi\r\n--x--\r\n--y\r\n{part}--y--\r\n")),
            ("second of them", format!("{top}--x\r\n\r\nhi\r\n--x--\r\n--x\r\n\r\nho\r\n--x\r\n{part}--x--\r\n")),
            ("the end first", format!("{top}--x--\r\n--x\r\n{part}--x--\r\n")),
        ],
    );
    check(
        "preamble-parts",
        &[("by another boundary", format!("{top}--y\r\n{part}--y--\r\n--x\r\n\r\nhi\r\n--x--\r\n"))],
    );
    check(
        "late-header",
        &[("an entity", format!("{top}{}--x\r\n\r\nhi\r\n--x--\r\n", part.replace("X-First: y\r\n", "")))],
    );
    check(
        "hidden-parts",
        &[
            ("in a text", format!("Content-Type: text/plain\r\n\r\n--x\r\n{part}--x--\r\n")),
            (
                "in a text that names the boundary",
                format!("Content-Type: text/plain; boundary=x\r\n\r\n--x\r\n\r\nhi\r\n--x\r\n{part}--x--\r\n"),
            ),
            ("in an image", format!("Content-Type: image/png; boundary=x\r\n\r\n--x\r\n{part}--x--\r\n")),
        ],
    );
}

#[test]
fn ends_of_the_header_section() {
    let fields = "Content-Type: application/octet-stream\r\nContent-Transfer-Encoding: quoted-printable";
    let body = quoted(PAYLOAD);
    let between = |end: &str| mixed(&format!("--x\r\n{fields}{end}{body}"));
    check(
        "",
        &each(
            &[
                "\r\n\r\n",
                "\n\n",
                "\r\n\n",
                "\n\r\n",
                "\r\r",
                "\r\n\r",
                "\r\r\n",
                "\r\n\r\r\n",
                "\r\n \r\n",
                "\r\n\t\r\n",
                "\r\n\0\r\n",
                "\r\n\x0b\r\n",
                "\r\n\x0c\r\n",
                "\r\n \r\n\r\n",
                "\r\n.\r\n",
                "\r\njunk\r\n",
                "\r\njunk\r\n\r\n",
                "\r\n",
                "\r\n\r\n\r\n",
                "\0\r\n\r\n",
                "\r\n\u{a0}\r\n",
                "\r\r\n\r\r\n",
                "\n\r\n\r",
            ],
            between,
        ),
    );
    let first = |text: &str| mixed(&format!("--x\r\n{text}{fields}\r\n\r\n{body}"));
    check(
        "",
        &each(
            &[
                "\r\n",
                "\n",
                " \r\n",
                "\0\r\n",
                "junk\r\n",
                "junk\r\n\r\n",
                "\r\n\r\n",
                "X: y\r\n\r\n",
                "X: y\r\n \r\n",
                "\r",
                "From x\r\n",
                "X: y\r\n\0\r\n",
                "X: y\r\r\n",
            ],
            first,
        ),
    );
    check(
        "",
        &[
            (
                "one field early",
                mixed(&format!(
                    "--x\r\nContent-Type: a/b\r\n\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n{body}"
                )),
            ),
            (
                "with a blank",
                mixed(&format!(
                    "--x\r\nContent-Type: a/b\r\n \r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n{body}"
                )),
            ),
        ],
    );
}

#[test]
fn names_of_transfer_encodings() {
    let quoted_names = [
        "quoted-printable",
        "Quoted-Printable",
        "\"quoted-printable\"",
        "quoted-printable;",
        "quoted-printable; x=y",
        "quoted-printable, 7bit",
        "7bit, quoted-printable",
        "7bit quoted-printable",
        "quoted-printable 7bit",
        "(c) quoted-printable",
        "quoted-printable (c)",
        "quoted(c)-printable",
        "(quoted-printable)",
        "(quoted-printable",
        "(7bit) quoted-printable",
        "quoted-printable.",
        "quoted -printable",
        "quoted- printable",
        "quoted\r\n -printable",
        "\r\n quoted-printable",
        "quoted-printable\r\n ",
        "quoted-printable\0",
        "\0quoted-printable",
        "quoted\0-printable",
        "quoted-printable\rx",
        "=?us-ascii?q?quoted-printable?=",
        "=?us-ascii?b?cXVvdGVkLXByaW50YWJsZQ==?=",
        "quotedprintable",
        "quoted_printable",
        "qp",
        "x-qp",
        "x-unknown",
        "quoted",
        "7bit",
        "8bit",
        "binary",
        "",
        "utf-8",
        "'quoted-printable'",
        "<quoted-printable>",
        "quoted\\-printable",
        "quoted-printable\u{a0}",
        "quoted-printable\u{0b}",
        "x-quoted-printable",
        "base64",
    ];
    let body = quoted(PAYLOAD);
    check("", &each(&quoted_names, |name| leaf(&format!("Content-Transfer-Encoding: {name}"), &body)));
    let base64_names = [
        "base64",
        "BASE64",
        "\"base64\"",
        "base64;",
        "base64; x=y",
        "base64, 7bit",
        "7bit, base64",
        "(c)base64",
        "base(c)64",
        "base64(c",
        "base 64",
        "base-64",
        "b64",
        "base\r\n 64",
        "\r\n base64",
        "base64\0",
        "\0base64",
        "base\064",
        "base64\rx",
        "=?us-ascii?q?base64?=",
        "=?us-ascii?b?YmFzZTY0?=",
        "=?us-ascii?q?base?=64",
        "x-base64",
        "base64\\",
        "ba\\se64",
        "7bit",
        "binary",
        "",
        "quoted-printable",
        "x-uuencode",
        "base64/quoted-printable",
        "gzip",
    ];
    check("", &each(&base64_names, |name| leaf(&format!("Content-Transfer-Encoding: {name}"), EICAR64)));
    let twice = |a: &str, b: &str, body: &str| {
        leaf(&format!("Content-Transfer-Encoding: {a}\r\nContent-Transfer-Encoding: {b}"), body)
    };
    let (q, b) = ("quoted-printable", "base64");
    check(
        "encoding-twice",
        &[
            ("base64 first", twice(b, q, EICAR64)),
            ("base64 last", twice(q, b, EICAR64)),
            ("quoted first", twice(q, b, &body)),
            ("quoted last", twice(b, q, &body)),
            ("7bit first", twice("7bit", q, &body)),
            ("7bit last", twice(q, "7bit", &body)),
        ],
    );
    let name = |field: &str| mixed(&format!("--x\r\n{field} quoted-printable\r\n\r\n{body}"));
    check(
        "",
        &each(
            &[
                "Content-Transfer-Encoding :",
                "Content-Transfer-Encoding\0:",
                "\0Content-Transfer-Encoding:",
                "Content-Encoding:",
                "X: y\rContent-Transfer-Encoding:",
                " Content-Transfer-Encoding:",
            ],
            name,
        ),
    );
}
