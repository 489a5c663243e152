//! Reports, read back by a mail parser and by eye.

use super::*;
use crate::mail::AgencyId;

fn agency() -> AgencyId {
    "a".parse().unwrap()
}

fn original(sender: &str, to: &[&str]) -> Parcel {
    let destination = Destination::Agency(agency());
    let recipients = to
        .iter()
        .map(|text| Recipient {
            mailbox: Mailbox::parse(text).unwrap(),
            destination: destination.clone(),
            original: Some("rfc822;first@old.vn".to_owned()),
            notify: Notify::default(),
        })
        .collect();
    Parcel {
        meta: ParcelMeta {
            id: MailId::from_u128(7),
            received_at: Timestamp::from_seconds(1_795_302_082),
            sender: ReversePath::Mailbox(Mailbox::parse(sender).unwrap()),
            recipients,
            destination,
            params: MailParams { envid: Some("QQ314159".to_owned()), ..MailParams::default() },
            sender_authenticated: true,
            subject: "Kính gửi".to_owned(),
        },
        head: Bytes::from_static(b"From: f@x.vn\r\nSubject: hello\r\nMessage-ID: <1@x.vn>\r\n\r\n"),
        body: Bytes::from_static(b"a secret body\r\n"),
    }
}

fn bounce(kind: Kind, original: &Parcel, said: &str) -> (Parcel, String) {
    let items: Vec<Item<'_>> = original
        .meta
        .recipients
        .iter()
        .map(|recipient| Item { recipient, status: "5.1.1", said, is_reply: true })
        .collect();
    let report = Report {
        kind,
        id: MailId::from_u128(9),
        now: Timestamp::from_seconds(1_795_388_482),
        hostname: "mx1.tinh.gov.vn",
        from: "mailer-daemon@mx1.tinh.gov.vn",
        language: Language::Vi,
        original,
        sender: original.meta.sender.mailbox().unwrap(),
        destination: Destination::Outward(agency()),
        items: &items,
        until: Timestamp::from_seconds(1_795_734_082),
    };
    let built = build(&report);
    let text = String::from_utf8([&*built.head, &*built.body].concat()).unwrap();
    (built, text)
}

#[test]
fn rfc3464_2_a_report_has_its_three_parts() {
    let (built, text) = bounce(Kind::Failed, &original("f@x.vn", &["a@y.vn", "b@y.vn"]), "550 5.1.1 no such user");
    assert!(text.contains("Content-Type: multipart/report; report-type=delivery-status;"), "{text}");
    for expected in [
        "Content-Type: message/delivery-status",
        "Content-Type: text/rfc822-headers",
        "Reporting-MTA: dns; mx1.tinh.gov.vn\r\n",
        "Original-Envelope-Id: QQ314159\r\n",
        "Final-Recipient: rfc822; a@y.vn\r\nAction: failed\r\nStatus: 5.1.1\r\nDiagnostic-Code: smtp; 550 5.1.1 no such user\r\n",
        "Final-Recipient: rfc822; b@y.vn\r\n",
        "Original-Recipient: rfc822; first@old.vn\r\n",
        "In-Reply-To: <1@x.vn>\r\n",
        "Auto-Submitted: auto-replied\r\n",
        "Subject: hello\r\n",
    ] {
        assert!(text.contains(expected), "{expected:?} is missing in\n{text}");
    }
    assert!(!text.contains("a secret body"), "the header only");
    assert!(text.is_ascii());
    assert_eq!(built.meta.sender, ReversePath::Null);
    assert_eq!(built.meta.recipients[0].mailbox.to_string(), "f@x.vn");
    assert!(!built.meta.recipients[0].notify.failure && built.meta.recipients[0].notify.explicit);
}

#[test]
fn rfc3462_a_mail_parser_reads_it() {
    let (_, text) = bounce(Kind::Failed, &original("f@x.vn", &["a@y.vn"]), "550 no");
    let read = mail_parser::MessageParser::default().parse(text.as_bytes()).unwrap();
    assert_eq!(read.parts.len(), 4, "the report and its three parts");
    let words = read.body_text(0).unwrap();
    assert!(words.contains("không đến được") && words.contains("could not be delivered"), "{words}");
    assert!(read.subject().unwrap().starts_with("Thư không gửi được"));
}

#[test]
fn rfc3464_2_3_3_a_delay_says_until_when() {
    let (_, text) = bounce(Kind::Delayed, &original("f@x.vn", &["a@y.vn"]), "451 later");
    assert!(text.contains("Action: delayed\r\n") && text.contains("Will-Retry-Until: "), "{text}");
}

#[test]
fn rfc6533_3_addresses_that_are_not_ascii_have_their_own_types() {
    let mut mail = original("đỗ@x.vn", &["thư@y.vn"]);
    mail.head = Bytes::from("Subject: Kính gửi\r\n\r\n");
    mail.meta.recipients[0].original = Some("utf-8;\\x{111}ỗ@x.vn".to_owned());
    let (built, text) = bounce(Kind::Failed, &mail, "550 no");
    assert!(text.contains("message/global-delivery-status") && text.contains("message/global-headers"));
    assert!(text.contains("Original-Recipient: utf-8; đỗ@x.vn\r\nFinal-Recipient: utf-8; thư@y.vn\r\n"), "{text}");
    assert!(built.meta.params.smtputf8);
    assert_eq!(built.meta.params.body, BodyType::EightBitMime);
}

#[test]
fn rfc6533_4_a_sender_that_knows_only_ascii_gets_ascii() {
    let mut mail = original("f@x.vn", &["thư@y.vn"]);
    mail.meta.recipients[0].original = None;
    let (built, text) = bounce(Kind::Failed, &mail, "550 no");
    assert!(text.contains("Content-Type: message/delivery-status") && text.is_ascii(), "{text}");
    assert!(text.contains("Final-Recipient: utf-8; th\\x{1B0}@y.vn\r\n"), "{text}");
    assert!(!built.meta.params.smtputf8, "any server can take it");
    mail.meta.params.smtputf8 = true;
    let (built, text) = bounce(Kind::Failed, &mail, "550 no");
    assert!(built.meta.params.smtputf8 && text.contains("Final-Recipient: utf-8; thư@y.vn\r\n"));
}

#[test]
fn rfc3461_4_3_the_whole_message_goes_back_only_when_asked_for_and_small() {
    let mut mail = original("f@x.vn", &["a@y.vn"]);
    mail.meta.params.ret = Some(Ret::Full);
    let (built, text) = bounce(Kind::Failed, &mail, "550 no");
    assert!(text.contains("Content-Type: message/rfc822\r\n") && text.contains("\r\n\r\na secret body\r\n"), "{text}");
    assert!(crate::deliver::client::Wire::check(&built).is_ok());
    for kind in [Kind::Delayed, Kind::Relayed] {
        assert!(!bounce(kind, &mail, "").1.contains("a secret body"), "RFC 3461 §6.2: only with a failure");
    }
    mail.meta.params.requiretls = true;
    let (built, text) = bounce(Kind::Failed, &mail, "550 no");
    assert!(built.meta.params.requiretls && !text.contains("a secret body"), "RFC 8689 §5: the header only");
    mail.meta.params.requiretls = false;
    mail.body = Bytes::from("x\r\n".repeat(400_000));
    assert!(bounce(Kind::Failed, &mail, "550 no").0.body.len() < 5000);
}

#[test]
fn rfc3461_5_2_2_a_success_says_that_it_was_passed_on() {
    let (_, text) = bounce(Kind::Relayed, &original("f@x.vn", &["a@y.vn"]), "");
    assert!(text.contains("Final-Recipient: rfc822; a@y.vn\r\nAction: relayed\r\nStatus: 2.1.1\r\n"), "{text}");
    assert!(!text.contains("Diagnostic-Code") && !text.contains("Last-Attempt-Date"));
}

#[test]
fn how_a_message_was_judged_does_not_go_back_to_its_sender() {
    let mut mail = original("f@x.vn", &["a@y.vn"]);
    mail.head = Bytes::from_static(
        b"Received: from a\r\n\tby b\r\nAuthentication-Results: mx1; spf=pass\r\nX-Luytre-Verdict: tag\r\n\tscore=6\r\n\
          X-Spam-Score: 6\r\nX-MS-Exchange-Organization-SCL: 5\r\nSubject: hello\r\n\r\n",
    );
    let (_, text) = bounce(Kind::Failed, &mail, "550 no");
    assert!(text.contains("\r\n\r\nReceived: from a\r\n\tby b\r\nSubject: hello\r\n\r\n--=_"), "{text}");
}

#[test]
fn a_servers_answer_adds_no_line_to_the_report() {
    let (_, text) =
        bounce(Kind::Failed, &original("f@x.vn", &["a@y.vn"]), "550 x\r\nFinal-Recipient: rfc822; evil@z.vn");
    assert!(!text.contains("\r\nFinal-Recipient: rfc822; evil"));
    let (_, long) = bounce(Kind::Failed, &original("f@x.vn", &["a@y.vn"]), &"x".repeat(100_000));
    assert!(long.len() < 5000);
}

#[test]
fn a_large_header_comes_back_cut_at_a_line() {
    let mut mail = original("f@x.vn", &["a@y.vn"]);
    mail.head = Bytes::from(format!("{}\r\n", "X-Long: 0123456789\r\n".repeat(10_000)));
    let (built, text) = bounce(Kind::Failed, &mail, "550 no");
    assert!(built.body.len() < RETURNED + 4096);
    assert!(text.contains("X-Long: 0123456789\r\n\r\n--=_luytre_"));
}

#[test]
fn promise_3_a_report_is_clean_on_the_wire() {
    for (sender, to) in [("f@x.vn", "a@y.vn"), ("đỗ@x.vn", "thư@y.vn")] {
        let (built, _) = bounce(Kind::Failed, &original(sender, &[to]), "550 no\nway\r");
        assert!(crate::deliver::client::Wire::check(&built).is_ok());
    }
}

#[test]
fn rfc2047_2_words_are_short_and_whole() {
    let words = encoded_words(&"Thư không gửi được ".repeat(10));
    assert!(words.split(' ').all(|w| w.len() <= 75 && w.starts_with("=?utf-8?B?")));
}
