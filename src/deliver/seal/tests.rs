//! What leaves towards an agency: nothing forged, nothing injected, nothing lost.

use bytes::Bytes;

use super::{Inward, Sealed, header, inward};
use crate::deliver::settings::Profile;
use crate::envelope::Envelope;
use crate::inspect::case::{DkimFact, Signer};
use crate::inspect::{AuthFacts, AuthResult, SmimeFact, SmimeStatus};
use crate::listen::{ClientFacts, Role, TlsFacts};
use crate::mail::header::Headers;
use crate::mail::transaction::Notify;
use crate::mail::{Destination, MailId, MailParams, Mailbox, Recipient, ReversePath, Timestamp};
use crate::verdict::{Action, Group};

const HOST: &str = "gw.agency.test";
const NOW: Timestamp = Timestamp::from_seconds(1_795_302_082);

fn envelope(address: &str, helo: &str, sender: ReversePath, tls: bool) -> Envelope {
    let tls = tls.then(|| TlsFacts {
        version: "TLSv1.3".into(),
        cipher: "TLS_AES_256_GCM_SHA384".into(),
        bits: 256,
        ..TlsFacts::default()
    });
    let client =
        ClientFacts { address: address.parse().unwrap(), local: "192.0.2.1:25".parse().unwrap(), role: Role::Mx, tls };
    let recipient = |address| Recipient {
        mailbox: Mailbox::parse(address).unwrap(),
        destination: destination(),
        original: None,
        notify: Notify::default(),
    };
    let recipients = vec![recipient("alice@agency.test"), recipient("bob@agency.test")];
    let id = MailId::new(NOW, 5);
    Envelope::open(id, NOW, client, helo.into(), true, sender, MailParams::default(), recipients)
}

fn destination() -> Destination {
    Destination::Agency("agency".parse().unwrap())
}

fn group(action: Action, recipients: Vec<usize>) -> Group {
    let because = vec!["spf.fail".to_owned(), "rule; x\r\ny".to_owned()];
    Group {
        destination: destination(),
        recipients,
        action,
        score: 6.25,
        weighed: Vec::new(),
        because,
        would: None,
        copy: None,
    }
}

fn sender() -> ReversePath {
    ReversePath::Mailbox(Mailbox::parse("news@sender.example").unwrap())
}

fn seal_with(raw: &str, auth: &AuthFacts, smime: &SmimeFact, group: &Group, profile: Profile) -> Sealed {
    let envelope = envelope("192.0.2.10:4000", "mx.sender.example", sender(), false);
    let facts = Inward { hostname: HOST, envelope: &envelope, auth, smime, group, profile };
    inward(&Bytes::copy_from_slice(raw.as_bytes()), &facts)
}

fn seal(raw: &str) -> Sealed {
    let (auth, smime) = (AuthFacts::default(), SmimeFact::default());
    seal_with(raw, &auth, &smime, &group(Action::Deliver, vec![0]), Profile::Generic)
}

fn head(sealed: &Sealed) -> String {
    String::from_utf8(sealed.head.to_vec()).unwrap()
}

#[test]
fn a19_results_that_claim_our_name_are_removed() {
    for forged in [
        "Authentication-Results: gw.agency.test; spf=pass\r\n",
        "Authentication-Results: gw.agency.test;\r\n spf=pass smtp.mailfrom=bank.example;\r\n dkim=pass\r\n",
        "authentication-results: GW.Agency.TEST; spf=pass\r\n",
        "Authentication-Results: (a (nested) gw) gw.agency.test 1; spf=pass\r\n",
        "Authentication-Results: gw.agency.test/1; spf=pass\r\n",
        "Authentication-Results: gw.agency.test(x); spf=pass\r\n",
        "Authentication-Results: \"gw.agency.test\"; spf=pass\r\n",
        "Authentication-Results: \"gw.\\agency.test\"; spf=pass\r\n",
        "Authentication-Results:\r\n\tgw.agency.test.\r\n\t; spf=pass\r\n",
        "Authentication-Results: gw.agency.test\r\n",
        "Authentication-Results : gw.agency.test; spf=pass\r\n",
    ] {
        let text = head(&seal(&format!("{forged}From: a@b.example\r\n\r\nx")));
        assert_eq!(text.matches("spf=pass").count(), 0, "{forged}\n{text}");
        assert_eq!(Headers::parse(text.as_bytes()).all("Authentication-Results").count(), 1, "{forged}");
    }
}

#[test]
fn rfc8601_5_results_of_others_stay() {
    for honest in [
        "Authentication-Results: mx.google.com; spf=pass\r\n",
        "Authentication-Results: other.agency.test; spf=pass (gw.agency.test)\r\n",
        "Authentication-Results: gw.agency.test.evil.example; spf=pass\r\n",
        "Authentication-Results: (gw.agency.test) mx.example; spf=pass\r\n",
        "ARC-Authentication-Results: i=1; gw.agency.test; spf=pass\r\n",
    ] {
        assert!(head(&seal(&format!("{honest}From: a@b.example\r\n\r\nx"))).contains(honest), "{honest}");
    }
}

#[test]
fn a20_internal_fields_from_outside_are_removed() {
    let forged = "X-Luytre-Verdict: deliver\r\nX-LUYTRE-Receipt: forged-1\r\nX-Spam-Flag: NO\r\nx-spam-score: -100\r\n\
        X-Spam-Status: No,\r\n score=-100\r\nReceived-SPF: pass\r\nX-MS-Exchange-Organization-SCL: -1\r\n\
        X-MS-Exchange-Organization-AuthAs: Internal\r\nX-MS-Exchange-Forest-ArrivalHubServer: x\r\n\
        X-MS-Exchange-CrossTenant-Id: x\r\nX-MS-Exchange-CrossPremises-AuthAs: x\r\nX-Luytre-Receipt : forged-2\r\n";
    let kept = "From: a@b.example\r\nX-Mailer: x\r\nX-MS-Exchange-Message-Is-Ndr:\r\n";
    let sealed = seal(&format!("{forged}{kept}{forged}\r\nX-Spam-Flag: NO\r\n"));
    let text = head(&sealed);
    for gone in ["forged", "-100", "AuthAs", "SCL", "Forest", "CrossTenant", "Received-SPF", "X-Spam"] {
        assert!(!text.contains(gone), "{gone}: {text}");
    }
    assert!(text.ends_with(&format!("{kept}\r\n")), "{text}");
    assert_eq!(&sealed.body[..], b"X-Spam-Flag: NO\r\n", "the body is not ours");
}

#[test]
fn the_body_is_not_copied_and_every_message_keeps_its_border() {
    let raw = Bytes::from_static(b"From: a\r\n\r\nbody\r\n");
    let envelope = envelope("192.0.2.10:1", "h", sender(), false);
    let (auth, smime, group) = (AuthFacts::default(), SmimeFact::default(), group(Action::Deliver, vec![0]));
    let facts = Inward {
        hostname: HOST,
        envelope: &envelope,
        auth: &auth,
        smime: &smime,
        group: &group,
        profile: Profile::Generic,
    };
    let sealed = inward(&raw, &facts);
    assert!(std::ptr::eq(sealed.body.as_ptr(), raw[11..].as_ptr()), "a slice of the message");
    for (raw, last, body) in [
        ("From: a\r\n\r\n", "From: a", ""),
        ("From: a\r\n", "From: a", ""),
        ("From: a", "From: a", ""),
        ("From: a\r\nno field\r\n\r\nx", "no field", "x"),
    ] {
        let sealed = seal(raw);
        assert!(head(&sealed).ends_with(&format!("{last}\r\n\r\n")), "{raw:?}: {}", head(&sealed));
        assert_eq!(&sealed.body[..], body.as_bytes(), "{raw:?}");
    }
    for raw in ["", "\r\nonly body"] {
        let sealed = seal(raw);
        assert!(head(&sealed).ends_with("\r\n\r\n") && !head(&sealed).contains("\r\n\r\n\r\n"), "{raw:?}");
        assert_eq!(&sealed.body[..], raw.trim_start().as_bytes());
    }
}

#[test]
fn rfc5321_4_4_received_says_who_how_and_when() {
    let received = |envelope: &Envelope, rdns: Option<&str>, single: Option<&Mailbox>| {
        let raw = header::received(envelope, HOST, rdns, single);
        Headers::parse(&raw).text("Received").unwrap().replace('\t', " ")
    };
    let alice = Mailbox::parse("alice@agency.test").unwrap();
    assert_eq!(
        received(
            &envelope("192.0.2.10:1", "mx.sender.example", sender(), false),
            Some("mx.sender.example"),
            Some(&alice)
        ),
        "from mx.sender.example (mx.sender.example [192.0.2.10]) by gw.agency.test with ESMTP id \
         01M805FNC20000000000000005 for <alice@agency.test>; Sat, 21 Nov 2026 23:01:22 +0000"
            .replace("01M805FNC20000000000000005", &MailId::new(NOW, 5).to_string())
    );
    let tls = received(&envelope("[2001:db8::1]:1", "h (x)\r\nEvil: 1", sender(), true), None, None);
    assert!(tls.starts_with("from h??x???Evil:?1 ([IPv6:2001:db8::1]) (using TLSv1.3 with cipher"), "{tls}");
    assert!(tls.contains(" with ESMTPS id ") && !tls.contains(" for "), "{tls}");
    assert!(received(&envelope("[::ffff:192.0.2.9]:1", "h", sender(), false), None, None).contains("([192.0.2.9])"));
}

#[test]
fn several_recipients_are_not_told_of_each_other() {
    let (auth, smime) = (AuthFacts::default(), SmimeFact::default());
    let both =
        head(&seal_with("From: a\r\n\r\n", &auth, &smime, &group(Action::Deliver, vec![0, 1]), Profile::Generic));
    assert!(!both.contains("@agency.test"), "{both}");
    let one = head(&seal_with("From: a\r\n\r\n", &auth, &smime, &group(Action::Deliver, vec![1]), Profile::Generic));
    assert!(one.contains("for <bob@agency.test>"), "{one}");
}

fn hostile_facts() -> (AuthFacts, SmimeFact) {
    let auth = AuthFacts {
        from: Mailbox::parse("an@bank.example").ok(),
        iprev: AuthResult::Pass,
        iprev_name: Some("evil.example) by gw.agency.test (".into()),
        spf: AuthResult::Fail,
        spf_detail: "explained: \"; dkim=pass\r\nX-Spam-Flag: NO".into(),
        dkim: vec![DkimFact {
            result: AuthResult::Fail,
            domain: "bank.example; dmarc=pass".into(),
            selector: "s\0 \"x".into(),
            signature_start: "ab/+=cde".into(),
            ..DkimFact::default()
        }],
        ..AuthFacts::default()
    };
    let signer = Signer { addresses: vec!["a\r\nBcc: x;smime=pass@b".into()], ..Signer::default() };
    let smime = SmimeFact { status: SmimeStatus::WrongSender, signers: vec![signer], ..SmimeFact::default() };
    (auth, smime)
}

#[test]
fn t7_nothing_a_stranger_wrote_becomes_a_result_or_a_field() {
    let (auth, smime) = hostile_facts();
    let text = head(&seal_with("From: a\r\n\r\n", &auth, &smime, &group(Action::Deliver, vec![0]), Profile::Generic));
    let headers = Headers::parse(text.as_bytes());
    let names: Vec<String> = headers.fields().iter().map(|f| String::from_utf8_lossy(f.name).into_owned()).collect();
    assert_eq!(names, ["Received", "Authentication-Results", "X-Luytre-Receipt", "X-Luytre-Verdict", "From"]);
    let results = headers.text("Authentication-Results").unwrap();
    // Outside quoted strings only our own words remain.
    let bare: String = results.split('"').step_by(2).collect();
    assert!(!bare.contains("=pass") || bare.matches("=pass").count() == 1 && bare.contains("iprev=pass"), "{results}");
    assert!(bare.contains("smime=fail (wrong-sender)"), "{results}");
    assert!(headers.text("Received").unwrap().contains("evil.example??by?gw.agency.test??"), "{text}");
    assert!(headers.text("X-Luytre-Verdict").unwrap().contains("deliver; score=6.2; because=spf.fail,rule??x??y"));
}

#[test]
fn rfc8601_2_2_each_method_has_its_result() {
    let signature = |result, domain: &str| DkimFact {
        result,
        domain: domain.into(),
        selector: "s1".into(),
        signature_start: "AbCdEf12".into(),
        ..DkimFact::default()
    };
    let auth = AuthFacts {
        from: Mailbox::parse("news@sender.example").ok(),
        spf: AuthResult::Pass,
        spf_helo: AuthResult::Neutral,
        dkim: vec![signature(AuthResult::Pass, "sender.example"), signature(AuthResult::PermError, "list.example")],
        ..AuthFacts::default()
    };
    let smime = SmimeFact { status: SmimeStatus::Valid, ..SmimeFact::default() };
    let text = head(&seal_with("From: a\r\n\r\n", &auth, &smime, &group(Action::Deliver, vec![0]), Profile::Generic));
    let results = Headers::parse(text.as_bytes()).text("Authentication-Results").unwrap().replace('\t', " ");
    assert_eq!(
        results,
        "gw.agency.test; spf=neutral smtp.helo=mx.sender.example; spf=pass smtp.mailfrom=sender.example; \
         dkim=pass header.d=sender.example header.s=s1 header.b=AbCdEf12; \
         dkim=permerror header.d=list.example header.s=s1 header.b=AbCdEf12; dmarc=none header.from=sender.example; \
         arc=none; iprev=none policy.iprev=192.0.2.10; smime=pass (valid)"
    );
}

#[test]
fn tagged_mail_is_marked_as_its_server_understands() {
    let (auth, smime) = (AuthFacts::default(), SmimeFact::default());
    let text = |action, profile| head(&seal_with("From: a\r\n\r\n", &auth, &smime, &group(action, vec![0]), profile));
    let tagged = text(Action::Tag, Profile::Generic);
    assert!(tagged.contains("\r\nX-Spam-Flag: YES\r\nX-Spam-Score: 6.2\r\n") && !tagged.contains("SCL"), "{tagged}");
    assert!(text(Action::Tag, Profile::Exchange2010).contains("\r\nX-MS-Exchange-Organization-SCL: 6\r\n"));
    let clean = text(Action::Deliver, Profile::Exchange2010);
    assert!(!clean.contains("SCL") && !clean.contains("X-Spam"), "{clean}");
}

#[test]
fn a_null_sender_is_judged_by_its_helo() {
    let envelope = envelope("192.0.2.10:1", "mx.sender.example", ReversePath::Null, false);
    let (auth, smime) = (AuthFacts { spf: AuthResult::Pass, ..AuthFacts::default() }, SmimeFact::default());
    let group = group(Action::Deliver, vec![0]);
    let facts = Inward {
        hostname: HOST,
        envelope: &envelope,
        auth: &auth,
        smime: &smime,
        group: &group,
        profile: Profile::Generic,
    };
    let text = head(&inward(&Bytes::from_static(b"\r\n"), &facts));
    let results = Headers::parse(text.as_bytes()).text("Authentication-Results").unwrap().replace('\t', " ");
    assert!(results.contains("; spf=pass smtp.helo=mx.sender.example;"), "{results}");
}
