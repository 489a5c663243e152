//! Every reader on damaged files: seeded changes of small whole documents. Nothing panics, nothing hangs, nothing grows
//! past its budget. `LUYTRE_CAMPAIGN` makes the run longer, `LUYTRE_SEED` another one.

use super::super::office::tests::{compound, directory, packed};
use super::super::*;
use crate::env::Dice;
use crate::session::settings::Limits as SessionLimits;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Whole documents of each kind, with the name that leads to their reader.
fn seeds() -> Vec<(&'static str, Vec<u8>)> {
    let source = packed(b"Attribute VB_Name = \"M\"\r\nSub AutoOpen()\r\nShell \"a\" & Chr(98)\r\nEnd Sub\r\n");
    let book = b"\x09\x08\x08\0\0\x06\x40\0\0\0\0\0\x85\0\x09\0\0\0\0\0\x01\x01\x01\0M\x06\0\x10\0\x17\x02\0cm\x1e\x64\0\x41\x6f\0\x08\x42\x01\x6e\0";
    let mut link = b"\x4c\0\0\0\x01\x14\x02\0\0\0\0\0\xc0\0\0\0\0\0\0\x46\xff\0\0\0".to_vec();
    link.resize(400, 1);
    let mut note = b"\xe4\x52\x5c\x7b\x8c\xd8\xa7\x4d\xae\xb1\x53\x78\xd0\x29\x96\xd3".to_vec();
    note.extend_from_slice(b"\xe7\x16\xe3\xbd\x65\x26\x11\x45\xa4\xc4\x8d\x4d\x0b\x7a\x9e\xac\x40\0\0\0\0\0\0\0");
    note.resize(200, 7);
    let mut help = b"ITSF\x03\0\0\0PMGL\x40\0\0\0".to_vec();
    help.resize(32, 0);
    help.extend_from_slice(b"\x08/a.html\x01\x02\x03\x06/b.exe\x01\x02\x03");
    help.resize(5000, 0);
    vec![
        ("a.doc", compound(&[("dir", &directory("M", 0)), ("M", &source), ("WordDocument", b"\x13 DDEAUTO x\x14\x15")])),
        ("a.xls", compound(&[("Workbook", book), ("\u{1}Ole10Native", b"\x20\0\0\0\x02\0a.js\0a.js\0\0\0\x03\0\x05\0\0\0a.js\0\x01\0\0\0x")])),
        ("a.ppt", compound(&[("PowerPoint Document", b"\x0f\0\x11\x10\x10\0\0\0\x10\0\x11\x10\x08\0\0\0\x05\0\0\0\x78\x9c\x03\0")])),
        ("a.msg", compound(&[("__substg1.0_37010102", b"0123456789"), ("__substg1.0_10090102", b"\x20\0\0\0\x20\0\0\0LZFu\0\0\0\0\x0f{\\rtf1\x01\x02")])),
        ("a.rtf", b"{\\rtf1{\\object\\objupdate{\\*\\objclass Equation.3}{\\*\\objdata 01050000020000000800000050\\bin4 abcd 61636b}}{\\field{\\*\\fldinst INCLUDETEXT \\'41 \\u66?}}}".to_vec()),
        ("a.xml", b"<?xml version='1.0'?><pkg><binData name='editdata.mso'>QWN0aXZlTWltZQAA</binData><instrText>DDEAUTO</instrText><Relationship Type='x/frame' Target='http://x' TargetMode='External'/><definedName name='Auto_Open'>x</definedName></pkg>".to_vec()),
        ("a.mso", [b"ActiveMime\0\0".as_slice(), &[0x78; 60], b"\x78\x9c\x03\0\0\0\0\x01"].concat()),
        ("a.one", note),
        ("a.pdf", b"%PDF-1.7\n1 0 obj <</Type/Catalog/OpenAction<</S/J#61vaScript/JS(x)>>/AA 2 0 R>> endobj 2 0 obj <</Type/ObjStm/N 1/First 4/Filter[/AHx/LZW/RL/A85/Fl]/DecodeParms<</Predictor 12/Columns 3/Colors 2>>/Length 8>> stream\n80 0B 60>\nendstream endobj 3 0 obj <</Subtype/Image/Width 30/Height 30/BitsPerComponent 1/Length 4>>stream\nabcd\nendstream trailer <</Root 1 0 R>>".to_vec()),
        ("signed.pdf", b"%PDF-1.7\n1 0 obj<</Type/Catalog/AcroForm<</Fields[2 0 R]>>>>endobj 2 0 obj<</FT/Sig/V 3 0 R>>endobj 3 0 obj<</Type/Sig/SubFilter/adbe.pkcs7.detached/Reference[<</TransformParams<</P 2>>>>]/ByteRange[0 170 176 60]/Contents<3003>>>endobj trailer<</Root 1 0 R>>\n%%EOF\n4 0 obj<</Type/Page/Contents 9 0 R>>endobj 1 0 obj<</Type/Catalog/DSS 5 0 R>>endobj".to_vec()),
        ("sealed.docx", compound(&[("EncryptionInfo", b"\x04\0\x04\0\x40\0\0\0<encryption><keyData keyBits='128' cipherAlgorithm='AES' cipherChaining='ChainingModeCBC' hashAlgorithm='SHA1' saltValue='AAAAAAAAAAAAAAAAAAAAAA=='/><p:encryptedKey spinCount='3' keyBits='128' cipherAlgorithm='AES' cipherChaining='ChainingModeCBC' hashAlgorithm='SHA1' saltValue='AAAAAAAAAAAAAAAAAAAAAA==' encryptedVerifierHashInput='AAAAAAAAAAAAAAAAAAAAAA==' encryptedVerifierHashValue='AAAAAAAAAAAAAAAAAAAAAA==' encryptedKeyValue='AAAAAAAAAAAAAAAAAAAAAA=='/></encryption>"), ("EncryptedPackage", &[7; 60])])),
        ("sealed.xls", compound(&[("Workbook", b"\x09\x08\x04\0\0\x06\x05\0\x2f\0\x06\0\0\0\x01\x02\x03\x04\x85\0\x09\0\0\0\0\0\x01\x01\x01\0M")])),
        ("xl/macrosheets/s.bin", b"\x81\x01\0\x09\x1e\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x08\0\0\0\x17\x01\0d\0\x42\x01\x6e\0".to_vec()),
        ("a.vbe", b"#@~^DgAAAA==\\ko$K6,JC\x7fV^GJqAQAAA==^#~@".to_vec()),
        ("a.mbox", b"From a@b Thu Jul 31 2008\nSubject: x\n\nhi\n\nFrom a@b Thu Jul 31 2008\nSubject: y\n\nho\n".to_vec()),
        ("a.m3u", b"#EXTM3U\n\\\\x\\y\nopen=z\n".to_vec()),
        ("a.html", b"<script>var b=new Blob([atob('TVqQAAMAAAAEAAAA//8AALgAAAAAAAAAQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA')])</script><iframe srcdoc='&lt;a href=data:text/html;base64,PGI+'></iframe><form><input type=password><meta http-equiv=refresh content='0;url=http://x'>".to_vec()),
        ("a.svg", b"<svg onload='eval(unescape(\"%61%62%63%64%65%66%67%68\"))'><foreignObject/></svg>".to_vec()),
        ("a.lnk", link),
        ("a.chm", help),
        ("a.url", b"[InternetShortcut]\r\nURL=file://x/y\r\nIconFile=\\\\x\\y\r\n".to_vec()),
        ("a.ics", b"BEGIN:VCALENDAR\r\nATTACH;ENCODING=BASE64;X-FILENAME=\"a\":QUJD\r\n R0hJ\r\nURL:http://x/\r\n".to_vec()),
        ("a.csv", b"ID;P\r\n=cmd|'/c calc'!A0\r\n".to_vec()),
        ("a.js", b"x = 'a' + \"b\" & Chr(&H41 + 3) & StrReverse(\"cba\"); eval(x)".to_vec()),
        ("a.txt", "\u{2588}\u{2588}  ".repeat(12).lines().cycle().take(25).collect::<Vec<_>>().join("\n").into_bytes()),
        ("a.png", b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR\0\0\0\x20\0\0\0\x20\x08\0\0\0\0\x56\x11\x25\x28\0\0\0\x0aIDAT\x78\x9c\x63\0\0".to_vec()),
        ("a.gif", b"GIF89a\x20\0\x20\0\x80\0\0\0\0\0\xff\xff\xff,\0\0\0\0\x20\0\x20\0\0\x02\x02\x4c\x01\0;".to_vec()),
    ]
}

#[test]
fn damaged_documents_cost_nothing_but_themselves() {
    let (rounds, seed) = (number("LUYTRE_CAMPAIGN").unwrap_or(150), number("LUYTRE_SEED").unwrap_or(1));
    let dice = Dice::seeded(seed);
    let pick = |bound: usize| usize::try_from(dice.below(bound.max(1) as u64)).unwrap();
    let limits = Limits::from(&SessionLimits::default());
    for (name, whole) in seeds() {
        for round in 0..rounds {
            let mut data = whole.clone();
            for _ in 0..pick(12) + usize::from(round > 0) {
                let at = pick(data.len());
                match pick(6) {
                    0 => data.truncate(at.max(8)),
                    1 => data.splice(at..at, std::iter::repeat_n(0xFF, pick(16))).for_each(drop),
                    2 => drop(data.drain(at..(at + pick(16)).min(data.len()))),
                    3 => data.extend_from_within(at..),
                    _ => data[at] = u8::try_from(pick(256)).unwrap(),
                }
                if data.is_empty() || data.len() > 1 << 16 {
                    break;
                }
            }
            let mut findings = Vec::new();
            let mut budget = Budget::new(&limits);
            let object = Object {
                path: "2".to_owned(),
                names: vec![name.to_owned()],
                declared: String::new(),
                kind: kind::of(&data),
                data: Cow::Borrowed(&data),
                origin: Origin::Member,
                depth: 0,
            };
            let found = open(&object, &limits, &mut budget, &mut findings);
            assert!(signatures(&data, &budget).len() <= 16, "{name}: seed {seed}, round {round}");
            let gave_up = findings.iter().any(|f| f.detail.contains("gave up"));
            let shown = || data.escape_ascii().to_string();
            assert!(!gave_up, "{name}: seed {seed}, round {round}: {}", shown());
            assert!(found.len() <= 5000 && findings.len() <= 4000, "{name}: seed {seed}, round {round}: {}", shown());
        }
    }
    println!("{} kinds of documents, {rounds} rounds each, seed {seed}", seeds().len());
}
