//! The content checks together, over the rules that ship.

use std::path::Path;

use super::*;
use crate::inspect::inspector::Examiner;
use crate::inspect::{Policy, Wants, settings};
use crate::mail::{ReversePath, Timestamp};
use crate::session::settings::Limits as SessionLimits;

fn policy(checks: &[&str]) -> Policy {
    let inspect =
        settings::Inspect { checks: checks.iter().map(|c| (*c).to_owned()).collect(), ..settings::Inspect::default() };
    let rules = settings::Rules { spam: Vec::new(), ..settings::Rules::default() };
    let smime = settings::Smime { trust: Vec::new() };
    Policy::compile(&inspect, &rules, &SessionLimits::default(), &smime, Path::new(env!("CARGO_MANIFEST_DIR"))).unwrap()
}

fn task() -> Task {
    Task {
        now: Timestamp::from_seconds(1_795_302_082),
        sender: ReversePath::Null,
        recipients: Vec::new(),
        client_ip: String::new(),
        helo: String::new(),
        budget_ms: 20_000,
        wants: Wants::default(),
    }
}

/// The finding codes of one message that carries `body` as an attachment.
fn codes(examiner: &Examiner<'_>, name: &str, declared: &str, body: &[u8]) -> Vec<String> {
    use base64::Engine as _;
    let coded = base64::engine::general_purpose::STANDARD.encode(body);
    let raw = format!(
        "From: a@example.org\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n\r\nhi\r\n--x\r\n\
         Content-Type: {declared}\r\nContent-Disposition: attachment; filename=\"{name}\"\r\n\
         Content-Transfer-Encoding: base64\r\n\r\n{coded}\r\n--x--\r\n"
    );
    examiner.examine(raw.as_bytes(), &task()).findings.into_iter().map(|f| f.code.into_owned()).collect()
}

fn program() -> Vec<u8> {
    let mut pe = vec![0; 512];
    pe[..2].copy_from_slice(b"MZ");
    pe[0x3c] = 0x80;
    pe[0x80..0x84].copy_from_slice(b"PE\0\0");
    pe
}

/// A file: name, declared type, octets, and the finding it must cause.
type Sample = (&'static str, &'static str, Vec<u8>, &'static str);

fn programs() -> Vec<Sample> {
    vec![
        ("a.pdf", "application/pdf", program(), "yara.disguise.program_with_harmless_name"),
        ("a.bin", "application/octet-stream", program(), "yara.disguise.program"),
        (
            "a.js",
            "text/plain",
            b"var s = new ActiveXObject('WScript.Shell'); x = new ActiveXObject('MSXML2.XMLHTTP'); s.Run('a')".to_vec(),
            "yara.script.script_downloads",
        ),
        ("a.jse", "text/plain", b"#@~^AAAAAA==xxxx".to_vec(), "yara.script.encoded_script"),
        (
            "a.txt",
            "text/plain",
            b"powershell -w hidden -c (New-Object Net.WebClient).DownloadString('x')".to_vec(),
            "yara.script.powershell_hidden",
        ),
        ("a.bat", "text/plain", b"@echo off\r\ncertutil -urlcache".to_vec(), "yara.script.batch_file"),
        (
            "a.lnk",
            "application/octet-stream",
            b"\x4c\0\0\0\x01\x14\x02\0 cmd.exe /c".to_vec(),
            "yara.script.shortcut_with_command",
        ),
        (
            "a.url",
            "text/plain",
            b"[InternetShortcut]\r\nURL=file://x/y".to_vec(),
            "yara.script.internet_shortcut_to_file",
        ),
    ]
}

fn documents() -> Vec<Sample> {
    let ole = |text: &str| [b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1".as_slice(), text.as_bytes()].concat();
    vec![
        (
            "a.doc",
            "application/msword",
            ole("_VBA_PROJECT ThisDocument AutoOpen WScript.Shell"),
            "yara.office.macro_dropper",
        ),
        (
            "a.rtf",
            "application/rtf",
            b"{\\rtf1{\\object\\objupdate{\\*\\objdata 0105}}}".to_vec(),
            "yara.office.rtf_object",
        ),
        (
            "a.rtf",
            "application/rtf",
            b"{\\rtf1{\\*\\objdata 02ce020000000000c000000000000046}}".to_vec(),
            "yara.office.equation_editor",
        ),
        (
            "a.xml",
            "text/xml",
            b"<Relationship Type=\"x/attachedTemplate\" Target=\"http://a/b\" TargetMode=\"External\"/>".to_vec(),
            "yara.office.remote_template",
        ),
        ("a.csv", "text/csv", b"=cmd|'/c calc'!A0".to_vec(), "yara.office.dde"),
        (
            "a.pdf",
            "application/pdf",
            b"%PDF-1.7 /OpenAction << /S /JavaScript /JS (app.alert(1)) >>".to_vec(),
            "yara.pdf.pdf_javascript",
        ),
        ("a.pdf", "application/pdf", b"%PDF-1.7 << /S /Launch /F (cmd.exe) >>".to_vec(), "yara.pdf.pdf_launch"),
        ("a.pdf", "application/pdf", b"%PDF-1.7 /EmbeddedFile /UF (a.exe)".to_vec(), "yara.pdf.pdf_embedded_program"),
    ]
}

fn pages() -> Vec<Sample> {
    vec![
        (
            "a.html",
            "text/html",
            b"<script>var b=new Blob([atob('x')]);a.href=URL.createObjectURL(b);a.download='x';a.click()</script>"
                .to_vec(),
            "yara.web.html_smuggling",
        ),
        ("a.html", "text/html", b"<script>eval(atob('x'))</script>".to_vec(), "yara.web.html_obfuscated"),
        (
            "a.html",
            "text/html",
            b"<form action=x><input name=p type='password'></form>".to_vec(),
            "yara.web.html_login_form",
        ),
        ("a.svg", "image/svg+xml", b"<svg onload=alert(1)></svg>".to_vec(), "yara.web.svg_script"),
    ]
}

#[test]
fn each_starter_rule_hits_its_kind_and_misses_a_plain_one() {
    let policy = policy(&["mime", "yara"]);
    let loaded = policy.open(None).unwrap();
    let examiner = Examiner::new(&loaded);
    for (name, declared, body, code) in [programs(), documents(), pages()].concat() {
        let found = codes(&examiner, name, declared, &body);
        assert!(found.iter().any(|c| c == code), "{code}: {found:?}");
    }
    for (name, declared, body) in [
        ("a.txt", "text/plain", b"a plain text about powershell and macros".as_slice()),
        ("a.pdf", "application/pdf", b"%PDF-1.7 1 0 obj << /Type /Catalog >> endobj"),
        ("a.html", "text/html", b"<html><body><p>hello</p><script>var x = 1</script></body></html>"),
        ("a.rtf", "application/rtf", b"{\\rtf1 hello}"),
    ] {
        assert_eq!(codes(&examiner, name, declared, body), [""; 0], "{name}");
    }
}

#[test]
fn every_rule_says_what_it_is() {
    let policy = policy(&["yara"]);
    let mut ids = std::collections::BTreeSet::new();
    for rule in policy.yara_rules() {
        assert!(!rule.description.is_empty() && !rule.description_vi.is_empty(), "{rule:?}");
        assert!(matches!(&*rule.severity, "malware" | "suspicious") && rule.score > 0.0, "{rule:?}");
        assert!(ids.insert(rule.code.clone()), "{rule:?}");
    }
    assert!(ids.contains("malware.eicar"));
}

/// THREATS M-08 and the findings of names and types.
#[test]
fn names_and_types_that_lie_are_reported() {
    let policy = policy(&["mime"]);
    let loaded = policy.open(None).unwrap();
    let examiner = Examiner::new(&loaded);
    for (name, declared, body, code) in [
        ("a.exe", "application/octet-stream", b"x".to_vec(), "name.blocked-extension"),
        ("bill.pdf.exe", "application/octet-stream", b"x".to_vec(), "attachment.disguised"),
        ("a.vbs", "text/plain", b"x".to_vec(), "attachment.script"),
        ("gpj.\u{202e}exe", "image/jpeg", b"x".to_vec(), "attachment.rlo-name"),
        ("a.dat", "application/octet-stream", program(), "attachment.executable"),
        ("a.png", "image/png", program(), "attachment.type-mismatch"),
        ("a.png", "image/png", b"PK\x03\x04aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa".to_vec(), "attachment.type-mismatch"),
        ("a`id`.txt", "text/plain", b"x".to_vec(), "name.suspicious"),
    ] {
        let found = codes(&examiner, name, declared, &body);
        assert!(found.iter().any(|c| c == code), "{name} {code}: {found:?}");
    }
    assert_eq!(codes(&examiner, "báo cáo.pdf", "application/pdf", b"%PDF-1.7"), [""; 0]);
}

#[test]
fn without_checks_only_the_subject_is_read() {
    let policy = policy(&[]);
    assert_eq!(policy.warnings().len(), 1);
    let loaded = policy.open(None).unwrap();
    let facts = Examiner::new(&loaded).examine(b"Subject: =?utf-8?Q?ch=C3=A0o?=\r\n\r\nx", &task());
    assert_eq!(facts, ContentFacts { subject: "chào".to_owned(), ..ContentFacts::default() });
}

#[test]
fn members_of_nested_containers_are_parts_with_paths() {
    let policy = policy(&["mime", "yara"]);
    let loaded = policy.open(None).unwrap();
    let examiner = Examiner::new(&loaded);
    let stored = |name: &str, data: &[u8]| {
        let mut zip = b"PK\x03\x04\x14\0\0\0\0\0\0\0\0\0\0\0\0\0".to_vec();
        for length in [data.len() as u32, data.len() as u32] {
            zip.extend_from_slice(&length.to_le_bytes());
        }
        zip.extend_from_slice(&(name.len() as u16).to_le_bytes());
        zip.extend_from_slice(&[0, 0]);
        zip.extend_from_slice(name.as_bytes());
        zip.extend_from_slice(data);
        zip
    };
    let eicar = concat!("X5O!P%@AP[4\\PZX54(P^)7CC)7}$EICAR", "-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*");
    let outer = stored("inner.zip", &stored("a.exe", eicar.as_bytes()));
    let found = codes(&examiner, "x.zip", "application/zip", &outer);
    assert!(found.iter().any(|c| c == "malware.eicar"), "{found:?}");

    use base64::Engine as _;
    let coded = base64::engine::general_purpose::STANDARD.encode(outer);
    let raw =
        format!("Content-Type: application/zip; name=x.zip\r\nContent-Transfer-Encoding: base64\r\n\r\n{coded}\r\n");
    let facts = examiner.examine(raw.as_bytes(), &task());
    let paths: Vec<&str> = facts.parts.iter().map(|p| p.path.as_str()).collect();
    assert_eq!(paths, ["1", "1/inner.zip", "1/inner.zip/a.exe"]);
    assert_eq!(facts.parts[2].sha256, "275a021bbfb6489e54d471899f7db9d1663fc695ec2fe2a2c4538aabf651fd0f");
}
