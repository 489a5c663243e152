//! Delivery reports of every kind, read back by a mail library that is not ours (Python's `email`): MIME structure, charset
//! and encoding, header fields, and the machine-readable part field by field (RFC 3461, 3464, 6522, 6533, 3834).

use std::io::Write as _;
use std::process::{Command, Stdio};

use bytes::Bytes;
use luytre::deliver::bounce::{Item, Kind, Report, build};
use luytre::mail::transaction::Ret;
use luytre::mail::{Language, MailId, Mailbox, Parcel, ReversePath, Span};

use super::house::{START, parcel};

/// Prints what it finds as JSON; a defect that the library notices anywhere is in `defects`.
const READER: &str = r#"
import email, email.policy, json, sys
raw = sys.stdin.buffer.read()
m = email.message_from_bytes(raw, policy=email.policy.SMTPUTF8)
parts = list(m.iter_parts())
fields = parts[1].get_payload()
blocks = [dict(b.items()) for b in fields] if isinstance(fields, list) and len(fields) > 1 else []
back = parts[2]
print(json.dumps({
    "type": m.get_content_type(), "report": m.get_param("report-type"),
    "types": [p.get_content_type() for p in parts],
    "encodings": [p["Content-Transfer-Encoding"] for p in parts],
    "charset": parts[0].get_content_charset(), "text": parts[0].get_content(),
    "subject": m["Subject"], "from": m["From"].addresses[0].addr_spec, "to": m["To"].addresses[0].addr_spec.encode("utf-8", "surrogateescape").decode(),
    "date": m["Date"].datetime.isoformat(), "auto": m["Auto-Submitted"], "id": m["Message-ID"],
    "about": m["In-Reply-To"], "blocks": blocks, "raw": bytes(parts[1]).decode("utf-8", "replace"),
    "back": bytes(back).decode("utf-8", "replace"),
    "longest": max(len(l) for l in raw.split(b"\r\n")), "ascii": raw.isascii(),
    "defects": [str(d) for p in m.walk() for d in p.defects + [e for v in p.values() for e in getattr(v, "defects", ())]],
}))
"#;

/// `None` where there is no Python.
fn read(report: &Parcel) -> Option<serde_json::Value> {
    let mut python =
        match Command::new("python3").args(["-c", READER]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn() {
            Ok(python) => python,
            Err(_) => {
                println!("skipped: there is no python3");
                return None;
            }
        };
    let mut input = python.stdin.take().unwrap();
    input.write_all(&report.head).unwrap();
    input.write_all(&report.body).unwrap();
    drop(input);
    let output = python.wait_with_output().unwrap();
    assert!(output.status.success());
    let found: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(found["defects"], serde_json::json!([]), "{found:#}");
    assert_eq!((&found["type"], &found["report"]), (&"multipart/report".into(), &"delivery-status".into()));
    assert_eq!(found["encodings"][0], "base64");
    assert_eq!((&found["charset"], &found["auto"]), (&"utf-8".into(), &"auto-replied".into()));
    assert!(found["longest"].as_u64().unwrap() <= 998, "RFC 5322 §2.1.1");
    Some(found)
}

/// A message in Vietnamese, its header in UTF-8 as it came.
fn original(sender: &str, to: &[&str]) -> Parcel {
    let mut mail = parcel(to, "Kính gửi các đồng chí.\r\n.\r\n");
    mail.meta.sender = ReversePath::Mailbox(Mailbox::parse(sender).unwrap());
    mail.head = Bytes::from_static(
        b"Received: from a by b; Sat, 21 Nov 2026 09:00:00 +0700\r\nFrom: f@x.vn\r\nSubject: hello\r\nMessage-ID: <1@x.vn>\r\n\r\n",
    );
    mail.meta.params.envid = Some("QQ+2B314".to_owned());
    mail
}

fn report(kind: Kind, mail: &Parcel, said: &[(&str, &str)]) -> Parcel {
    let items: Vec<Item<'_>> = mail
        .meta
        .recipients
        .iter()
        .zip(said)
        .map(|(recipient, (status, said))| Item { recipient, status, said, is_reply: true })
        .collect();
    build(&Report {
        kind,
        id: MailId::from_u128(9),
        now: START + Span::hours(4),
        hostname: "mx1.tinh.gov.vn",
        from: "mailer-daemon@mx1.tinh.gov.vn",
        language: Language::Vi,
        original: mail,
        sender: mail.meta.sender.mailbox().unwrap(),
        destination: mail.meta.destination.clone(),
        items: &items,
        until: START + Span::days(5),
    })
}

#[test]
fn rfc3464_a_foreign_library_reads_each_kind_of_report_without_a_fault() {
    let mut mail = original("f@x.vn", &["a@y.vn", "b@y.vn"]);
    mail.meta.recipients[0].original = Some("rfc822;first+2Bname@old.vn".to_owned());
    mail.meta.recipients[1].original = Some("X400;/C=vn/O=so/".to_owned());
    for (kind, action, status, subject) in [
        (Kind::Failed, "failed", "5.1.1", "Thư không gửi được / Undelivered mail"),
        (Kind::Delayed, "delayed", "4.1.1", "Thư gửi bị chậm / Delayed mail"),
        (Kind::Relayed, "relayed", "2.1.1", "Thư đã được chuyển đi / Mail was passed on"),
    ] {
        let said = [("5.1.1", "550 5.1.1 no such user"), ("5.1.1", "550-5.1.1 khong co\r\n550 5.1.1 người này")];
        let Some(found) = read(&report(kind, &mail, &said)) else { return };
        assert_eq!(found["subject"], subject);
        assert_eq!(
            (&found["from"], &found["to"], &found["about"]),
            (&"mailer-daemon@mx1.tinh.gov.vn".into(), &"f@x.vn".into(), &"<1@x.vn>".into())
        );
        assert_eq!(found["types"], serde_json::json!(["text/plain", "message/delivery-status", "text/rfc822-headers"]));
        assert!(found["ascii"].as_bool().unwrap(), "any server can take it");
        let blocks = found["blocks"].as_array().unwrap();
        assert_eq!(blocks.len(), 3, "one for the message, one for each recipient: {found:#}");
        // RFC 3461 §4.4: the id in clear; §4.2: so is the address, with its type.
        assert_eq!(
            (&blocks[0]["Reporting-MTA"], &blocks[0]["Original-Envelope-Id"]),
            (&"dns; mx1.tinh.gov.vn".into(), &"QQ+314".into())
        );
        assert_eq!(blocks[1]["Original-Recipient"], "rfc822; first+name@old.vn");
        assert_eq!(blocks[2]["Original-Recipient"], "X400; /C=vn/O=so/");
        for (block, to) in blocks[1..].iter().zip(["a@y.vn", "b@y.vn"]) {
            assert_eq!(block["Final-Recipient"], format!("rfc822; {to}"));
            assert_eq!((&block["Action"], &block["Status"]), (&action.into(), &status.into()));
            let code = block["Diagnostic-Code"].as_str().unwrap();
            assert!(code.starts_with("smtp; 550") && code.is_ascii(), "{code}");
            assert_eq!(block.get("Will-Retry-Until").is_some(), kind == Kind::Delayed);
        }
        let text = found["text"].as_str().unwrap();
        assert!(text.contains("Thư của bạn") && text.contains("Your message"), "{text}");
        assert!(text.contains("a@y.vn") && text.contains("b@y.vn"));
        let back = found["back"].as_str().unwrap();
        assert!(back.contains("Subject: hello") && !back.contains("Kính gửi"), "{back}");
    }
}

#[test]
fn rfc3461_4_3_the_original_goes_back_whole_where_its_sender_asked_and_with_every_octet() {
    let mut mail = original("f@x.vn", &["a@y.vn"]);
    mail.meta.params.ret = Some(Ret::Full);
    let Some(found) = read(&report(Kind::Failed, &mail, &[("5.2.2", "552 5.2.2 full")])) else { return };
    assert_eq!((&found["types"][2], &found["encodings"][2]), (&"message/rfc822".into(), &"8bit".into()));
    assert!(found["back"].as_str().unwrap().contains("\r\n\r\nKính gửi các đồng chí.\r\n.\r\n"), "{found:#}");
    mail.meta.params.ret = Some(Ret::Headers);
    let found = read(&report(Kind::Failed, &mail, &[("5.2.2", "552 5.2.2 full")])).unwrap();
    assert_eq!(found["types"][2], "text/rfc822-headers");
}

#[test]
fn rfc6533_reports_on_addresses_with_accents_are_well_formed_in_both_forms() {
    let mut mail = original("đỗ@x.vn", &["thư@y.vn"]);
    mail.head = Bytes::from("From: đỗ@x.vn\r\nSubject: Kính gửi\r\nMessage-ID: <1@x.vn>\r\n\r\n");
    mail.meta.recipients[0].original = Some("utf-8;\\x{111}\\x{1ED7}@x.vn".to_owned());
    let Some(found) = read(&report(Kind::Failed, &mail, &[("5.1.1", "550 5.1.1 no")])) else { return };
    assert_eq!(
        found["types"],
        serde_json::json!(["text/plain", "message/global-delivery-status", "message/global-headers"])
    );
    assert_eq!(found["encodings"], serde_json::json!(["base64", "8bit", "8bit"]));
    let raw = found["raw"].as_str().unwrap();
    for field in
        ["Original-Recipient: utf-8; đỗ@x.vn", "Final-Recipient: utf-8; thư@y.vn", "Action: failed", "Status: 5.1.1"]
    {
        assert!(raw.contains(field), "{field}: {raw}");
    }
    assert_eq!(found["to"], "đỗ@x.vn");
    // A sender that reads ASCII only hears of the same recipient in ASCII.
    mail.meta.sender = ReversePath::Mailbox(Mailbox::parse("f@x.vn").unwrap());
    mail.head = Bytes::from_static(b"From: f@x.vn\r\nSubject: hello\r\n\r\n");
    let found = read(&report(Kind::Failed, &mail, &[("5.1.1", "550 5.1.1 no")])).unwrap();
    assert!(found["ascii"].as_bool().unwrap(), "{found:#}");
    let block = &found["blocks"][1];
    assert_eq!(block["Original-Recipient"], "utf-8; \\x{111}\\x{1ED7}@x.vn");
    assert_eq!(block["Final-Recipient"], "utf-8; th\\x{1B0}@y.vn");
}
