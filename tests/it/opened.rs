//! The bodies of the fuzz targets that open files, on seeded input: pieces of each format put together, and changed samples
//! of our own. `LUYTRE_CAMPAIGN` makes the run longer, `LUYTRE_SEED` another one.

use luytre::env::Dice;

use crate::archives::samples;
use crate::fuzz::{number, try_all};

#[path = "../../fuzz/opened.rs"]
pub mod bodies;

/// Inputs of one body; a document costs more than a line of SMTP.
const ROUNDS: u64 = 250;

/// A format, how its files begin, and what stands in them.
type Format = (&'static str, &'static [&'static [u8]], fn(&[u8]));

const DOCUMENTS: &[Format] = &[
    (
        "pdf",
        &[
            b"%PDF-1.7\n",
            b"1 0 obj<<",
            b"/Type/ObjStm/N 2/First 8",
            b"/Filter[/FlateDecode/AHx]",
            b"/S/JavaScript/JS(",
            b"/Names[",
            b"2 0 R",
            b"(a\\(\\101",
            b"<4142",
            b"/#4a#53",
            b">>stream\n",
            b"\nendstream endobj\n",
            b"]",
            b"trailer<</Root 1 0 R/Encrypt 2 0 R/ID[(a)]>>",
            b"/Length 99999999999",
        ],
        bodies::pdf,
    ),
    (
        "pdf filters",
        &[b"\x00\x10", b"\x0a\xc3", b"\x80\x0b\x60\x50", b"zzzz", b"41>", b"\xff\x00", b"\x78\x9c\x03\0"],
        bodies::pdf_filters,
    ),
    (
        "streams of compound files",
        &[
            b"\x00",
            b"\x01\x19\xb0\x00Attribut\x00e VB_Nam\x00e = \"M\"",
            b"\x0f\0\x11\x10\x10\0\0\0",
            b"\x09\x08\x10\0\0\x06\x05\0",
            b"\x85\0\x0a\0\0\0\0\0\x01\x01\x02\0ab",
            b"\x06\0\x20\0",
            b"\x17\x02\0cm\x1e\x64\0\x41\x6f\0",
            b"\xff\xff\xff\xff",
            b"\x13 DDEAUTO \x14\x15",
            b"LZFu",
            b"\x02\0a.js\0a.js\0\0\0\x03\0",
        ],
        bodies::ole_stream,
    ),
    (
        "parts of packages",
        &[
            b"\x01<?xml version='1.0'?>",
            b"<w:instrText>DDEAUTO",
            b"</w:instrText>",
            b"<Relationship Type='x/frame' Target='http://x' TargetMode='External'/>",
            b"<!DOCTYPE a [<!ENTITY b \"c\">]>",
            b"<![CDATA[",
            b"<f>EXEC(",
            b"&#x41;",
            b"=\"",
            b">",
            b"<binData name='editdata.mso'>QWN0aXZlTWltZQAA",
        ],
        bodies::part,
    ),
    (
        "RTF",
        &[
            b"{",
            b"}",
            b"\\object\\objupdate",
            b"{\\*\\objdata 0105000002000000",
            b"d0cf11e0",
            b"\\bin99999999 ",
            b"\\'41",
            b"\\u66?",
            b"{\\*\\fldinst INCLUDETEXT ",
            b"{\\*\\objclass Package}",
        ],
        bodies::rtf,
    ),
    (
        "pages",
        &[
            b"<script>",
            b"</script>",
            b"atob('TVqQAAMAAAAEAAAA')",
            b"String.fromCharCode(65,66)",
            b"unescape('%41",
            b"<a href=\"data:text/html;base64,PGI+",
            b"\">",
            b"<iframe srcdoc='",
            b"&#x3c;",
            b"<!--",
            b"<form><input type=password>",
            b"new Uint8Array([77,90,",
        ],
        bodies::page,
    ),
    (
        "shortcuts",
        &[
            b"\x4c\0\0\0\x01\x14\x02\0\0\0\0\0\xc0\0\0\0\0\0\0\x46",
            b"\xff\0\0\0",
            b"ITSF\x03\0\0\0",
            b"PMGL\x40\0\0\0",
            b"\xe4\x52\x5c\x7b\x8c\xd8\xa7\x4d\xae\xb1\x53\x78\xd0\x29\x96\xd3",
            b"\xe7\x16\xe3\xbd\x65\x26\x11\x45\xa4\xc4\x8d\x4d\x0b\x7a\x9e\xac\x40\0\0\0\0\0\0\0",
            b"/b.exe\x01\x02\x03",
            b"c\0m\0d\0",
        ],
        bodies::link,
    ),
    (
        "scripts",
        &[
            b"\x00",
            b"\x05[InternetShortcut]\r\nURL=file://x/y\r\n",
            b"\x07BEGIN:VCALENDAR\r\nATTACH;ENCODING=BASE64:QUJD\r\n",
            b"eval(",
            b"Chr(&H41 + 3) & ",
            b"StrReverse(\"",
            b"\"",
            b"'",
            b"=cmd|'/c calc'!A0",
            b"\r\n",
            b"powershell -enc QUJD",
        ],
        bodies::script,
    ),
    ("QR codes", &[b"\x1d", b"\xfe\x08", b"\xba\xae\xeb", b"\0\0\0\0", b"\xff\xff\xff\xff"], bodies::qr),
    (
        "pictures",
        &[
            b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR\0\0\0\x20\0\0\0\x20\x08\0\0\0\0",
            b"\0\0\0\x0aIDAT\x78\x9c\x63\0\0",
            b"GIF89a\x20\0\x20\0\x80\0\0",
            b",\0\0\0\0\x20\0\x20\0\0\x02\x02\x4c\x01\0;",
            b"\xff\xd8\xff\xc0\0\x0b\x08\0\x20\0\x20\x01\x01\x11\0",
            b"BM\0\0\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0\x20\0\0\0\x20\0\0\0\x01\0\x18\0",
            b"RIFF\x40\0\0\0WEBPVP8L",
            b"\0\0\0\0",
        ],
        bodies::picture,
    ),
    (
        "signatures",
        &[
            b"\x30\x80\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x02\xa0\x80",
            b"\x30\x80\x02\x01\x01",
            b"\x31\x00",
            b"\x30\x80\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x01\xa0\x80\x24\x80",
            b"\x04\x04text",
            b"\0\0",
            b"\x30\x84\xff\xff\xff\xff",
        ],
        bodies::signature,
    ),
    (
        "messages",
        &[
            b"From: a@b.example\r\n",
            b"Subject: =?utf-8?B?",
            b"?=",
            b"\r\n",
            b"\r\n\r\n",
            b"Content-Type: text/html; charset=",
            b"utf-7",
            b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n",
            b"--b--",
            b"<a href=http://x.test/>http://y.test</a>",
            b"\xe1\xbb\x99\xcc\x81",
            b"+AGE-",
            b"https://x.test/a%2Fb@c",
        ],
        bodies::message,
    ),
];

#[test]
fn any_octets_in_a_document_cost_no_more_than_the_budget() {
    let rounds = number("LUYTRE_CAMPAIGN").unwrap_or(ROUNDS);
    for (name, pieces, body) in DOCUMENTS {
        // What a file begins with stands first in the list.
        let begins = |input: &[u8]| body(&[pieces.first().copied().unwrap_or_default(), input].concat());
        try_all(name, rounds, pieces, begins);
    }
}

type Body = fn(&[u8]);

/// A container, and the endings of our samples of it.
const CONTAINERS: &[(&[&str], Body)] = &[
    (&[".gz", ".bz2", ".xz", ".lzma", ".zst", ".lz4", ".lz", ".Z"], bodies::stream),
    (&[".zip", ".zipx", ".docx"], bodies::zip),
    (&[".7z"], bodies::sevenz),
    (&[".rar"], bodies::rar),
    (&[".cab"], bodies::cab),
    (&[".tar"], bodies::tar),
    (&[".a", ".deb", ".cpio", ".rpm"], bodies::unix),
    (&[".lzh", ".lha", ".arj"], bodies::lha),
    (&[".iso", ".udf", ".img", ".fat", ".vhd", ".vhdx", ".ntfs"], bodies::image),
    (&[".doc", ".xls", ".ppt", ".msg"], bodies::compound),
];

#[test]
fn changed_archives_of_every_format_cost_no_more_than_the_budget() {
    let (rounds, seed) = (number("LUYTRE_CAMPAIGN").unwrap_or(30), number("LUYTRE_SEED").unwrap_or(1));
    let dice = Dice::seeded(seed);
    let pick = |bound: usize| usize::try_from(dice.below(bound.max(1) as u64)).unwrap();
    let all: Vec<(String, Vec<u8>)> = samples().into_iter().filter(|(_, data)| data.len() < 1 << 15).collect();
    for (endings, body) in CONTAINERS {
        let fitting = all.iter().filter(|(name, _)| endings.iter().any(|ending| name.ends_with(ending)));
        for (name, whole) in fitting {
            for round in 0..rounds {
                let mut data = whole.clone();
                for _ in 0..pick(4) {
                    let (at, octet) = (pick(data.len()), u8::try_from(pick(256)).unwrap());
                    match pick(3) {
                        0 => data.truncate(at.max(16)),
                        1 => data[at..].iter_mut().take(4).for_each(|b| *b = octet),
                        _ => data[at] ^= 1 << pick(8),
                    }
                }
                let outcome = std::panic::catch_unwind(|| body(&data));
                assert!(outcome.is_ok(), "{name}: seed {seed}, round {round}");
            }
        }
    }
}
