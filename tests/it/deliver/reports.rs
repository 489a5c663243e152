//! Delivery reports as others read them: Python's email package, dkimpy; and when they are written at all.

use std::collections::HashMap;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::Arc;

use luytre::deliver::Policy;
use luytre::deliver::seal::{self, DkimPair, SealKeys};
use luytre::deliver::settings::{Profile, TlsMode};
use luytre::mail::transaction::Ret;
use luytre::mail::{Destination, Domain, Parcel, ReversePath, Span};

use super::house::{House, agency, hop, parcel, word};
use crate::crypto::dkim::dkimpy;
use crate::kit::peer::{At, Moment, Peer, Taken, say};

const CAN: &[&str] = &["PIPELINING", "8BITMIME", "SMTPUTF8"];
const DSN: &[&str] = &["PIPELINING", "8BITMIME", "SMTPUTF8", "DSN"];

/// Prints what a mail program sees: types of the parts, fields of the report, and the text for people.
const READER: &str = r#"
import sys, email, email.policy
m = email.message_from_bytes(sys.stdin.buffer.read(), policy=email.policy.SMTP.clone(utf8=True))
sys.stdout.reconfigure(encoding="utf-8")
print("type", m.get_content_type(), m.get_param("report-type"))
print("from", m["From"], "| auto", m["Auto-Submitted"])
text, status, back = list(m.iter_parts())
print("parts", text.get_content_type(), status.get_content_type(), back.get_content_type())
print("defects", len(m.defects) + sum(len(p.defects) for p in m.walk()))
blocks = status.get_payload()
if status.get_content_type() == "message/global-delivery-status":
    # A type that Python does not know: it reads one message, whose fields are the first block and whose text the others.
    raw = blocks[0].as_bytes(policy=m.policy).replace(b"\r\n", b"\n")
    blocks = [email.message_from_bytes(b, policy=m.policy) for b in raw.strip().split(b"\n\n")]
for block in blocks:
    for name, value in block.items():
        print("field", name + ":", value)
print("text", " ".join(text.get_content().split()))
"#;

fn python(message: &[u8]) -> Option<String> {
    let started =
        Command::new("/usr/bin/python3").args(["-c", READER]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let Ok(mut child) = started else {
        eprintln!("skipped: python3 is not installed");
        return None;
    };
    child.stdin.take().unwrap().write_all(message).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "python could not read\n{}", String::from_utf8_lossy(message));
    Some(String::from_utf8(output.stdout).unwrap())
}

fn refuse(m: &Moment) -> Option<crate::kit::peer::Act> {
    if m.at == At::Rcpt && m.line.contains("<no") { say("550 5.1.1 User unknown") } else { None }
}

/// A house before one peer for the agency's mail; reports go back to it, for the senders live at the agency, too.
async fn house(extensions: &[&'static str]) -> (House, Peer) {
    let peer = Peer::start(extensions, refuse).await;
    (House::new(vec![hop(peer.address, Profile::Generic, TlsMode::None)]), peer)
}

fn from(sender: &str, to: &[&str]) -> Parcel {
    let mut mail = parcel(to, "the body\r\n");
    mail.meta.sender = ReversePath::Mailbox(sender.parse().unwrap());
    mail
}

/// Sends it, and everything that follows from it; what came back to the sender.
async fn reports(house: &House, peer: &Peer, mail: &Parcel) -> Vec<Taken> {
    house.deliver.queue(mail).await.unwrap();
    while house.run_due().await > 0 {}
    peer.taken().into_iter().filter(|taken| taken.mail.starts_with("MAIL FROM:<>")).collect()
}

#[tokio::test]
async fn rfc3464_pythons_email_package_reads_a_failure() {
    let (house, peer) = house(CAN).await;
    let mut mail = from("boss@y.vn", &["no1@y.vn", "no2@y.vn"]);
    mail.meta.params.envid = Some("QQ+2B314159".to_owned());
    mail.meta.recipients[0].original = Some("rfc822;first+2Bsecond@old.vn".to_owned());
    let reports = reports(&house, &peer, &mail).await;
    assert_eq!((reports.len(), reports[0].to[0].as_str()), (1, "RCPT TO:<boss@y.vn>"));
    let Some(seen) = python(&reports[0].data) else { return };
    for expected in [
        "type multipart/report delivery-status\n",
        "from Mail Delivery System <mailer-daemon@mx1.tinh.gov.vn> | auto auto-replied\n",
        "parts text/plain message/delivery-status text/rfc822-headers\n",
        "defects 0\n",
        "field Reporting-MTA: dns; mx1.tinh.gov.vn\n",
        "field Original-Envelope-Id: QQ+314159\n",
        "field Original-Recipient: rfc822; first+second@old.vn\n",
        "field Final-Recipient: rfc822; no1@y.vn\nfield Action: failed\nfield Status: 5.1.1\n",
        "field Diagnostic-Code: smtp; 550 5.1.1 User unknown\n",
        "field Final-Recipient: rfc822; no2@y.vn\n",
        "không đến được người nhận",
        "could not be delivered",
        "Không có hộp thư này. There is no such mailbox.",
    ] {
        assert!(seen.contains(expected), "{expected:?} is missing in\n{seen}");
    }
    assert!(!String::from_utf8(reports[0].data.clone()).unwrap().contains("the body"), "the header only");
}

#[tokio::test]
async fn rfc6533_pythons_email_package_reads_both_forms() {
    for (sender, smtputf8, form, address) in [
        ("boss@y.vn", false, "message/delivery-status", "utf-8; noth\\x{1B0}@y.vn"),
        ("boss@y.vn", true, "message/global-delivery-status", "utf-8; nothư@y.vn"),
        ("sếp@y.vn", true, "message/global-delivery-status", "utf-8; nothư@y.vn"),
    ] {
        let (house, peer) = house(CAN).await;
        let mut mail = from(sender, &["nothư@y.vn"]);
        mail.meta.params.smtputf8 = smtputf8;
        let reports = reports(&house, &peer, &mail).await;
        assert_eq!(reports.len(), 1);
        assert_eq!(reports[0].mail.contains("SMTPUTF8"), !sender.is_ascii(), "asked for only where it is needed");
        let Some(seen) = python(&reports[0].data) else { return };
        assert!(seen.contains(&format!("parts text/plain {form} ")), "{seen}");
        assert!(seen.contains(&format!("field Final-Recipient: {address}\n")), "{seen}");
    }
}

#[tokio::test]
async fn rfc3461_4_3_ret_full_brings_the_message_back() {
    let (house, peer) = house(CAN).await;
    let mut mail = from("boss@y.vn", &["no@y.vn"]);
    mail.meta.params.ret = Some(Ret::Full);
    let reports = reports(&house, &peer, &mail).await;
    assert!(String::from_utf8(reports[0].data.clone()).unwrap().contains("\r\n\r\nthe body\r\n"));
    let Some(seen) = python(&reports[0].data) else { return };
    assert!(seen.contains(" message/rfc822\n") && seen.contains("defects 0\n"), "{seen}");
}

#[tokio::test]
async fn rfc3461_5_2_2_success_is_reported_only_where_the_next_server_will_not() {
    for (extensions, count) in [(CAN, 1), (DSN, 0)] {
        for queued in [true, false] {
            let (house, peer) = house(extensions).await;
            let mut mail = from("boss@y.vn", &["yes@y.vn", "quiet@y.vn"]);
            let notify = &mut mail.meta.recipients[0].notify;
            (notify.success, notify.explicit) = (true, true);
            if !queued {
                assert_eq!(word(&house.hand_over(&mail).await), "handed");
                while house.run_due().await > 0 {}
            }
            let all = if queued {
                reports(&house, &peer, &mail).await
            } else {
                peer.taken().into_iter().filter(|taken| taken.mail.starts_with("MAIL FROM:<>")).collect()
            };
            assert_eq!(all.len(), count, "{extensions:?}, queued: {queued}");
            for report in all {
                let Some(seen) = python(&report.data) else { return };
                assert!(
                    seen.contains(
                        "field Final-Recipient: rfc822; yes@y.vn\nfield Action: relayed\nfield Status: 2.0.0\n"
                    ),
                    "{seen}"
                );
                assert!(!seen.contains("quiet@y.vn"), "who did not ask is not told about");
            }
        }
    }
}

#[tokio::test]
async fn rfc3461_4_1_each_recipient_is_reported_as_asked() {
    // NOTIFY=FAILURE, NEVER, DELAY (no failure): only the first is told about; the other copies are held.
    let (house, peer) = house(CAN).await;
    let mut mail = from("boss@y.vn", &["no1@y.vn", "no2@y.vn", "no3@y.vn"]);
    for (recipient, (failure, delay)) in
        mail.meta.recipients.iter_mut().zip([(true, false), (false, false), (false, true)])
    {
        (recipient.notify.failure, recipient.notify.delay, recipient.notify.explicit) = (failure, delay, true);
    }
    let reports = reports(&house, &peer, &mail).await;
    assert_eq!(reports.len(), 1);
    let text = String::from_utf8(reports[0].data.clone()).unwrap();
    assert!(text.contains("no1@y.vn") && !text.contains("no2@y.vn") && !text.contains("no3@y.vn"), "{text}");
    assert_eq!(house.shelf.0.lock().unwrap()[0].0.meta.recipients.len(), 2);
}

#[tokio::test]
async fn rfc3461_4_1_a_delay_is_told_to_those_who_want_to_hear_of_it() {
    let peer =
        Peer::start(CAN, |m| if m.at == At::Rcpt && m.line.contains("<full") { say("452 4.2.2 full") } else { None })
            .await;
    for (delay, count) in [(true, 1), (false, 0)] {
        let house = House::before(&peer);
        let mut mail = from("boss@y.vn", &["full@y.vn"]);
        (mail.meta.recipients[0].notify.delay, mail.meta.recipients[0].notify.explicit) = (delay, true);
        let before = peer.taken().len();
        house.deliver.queue(&mail).await.unwrap();
        for _ in 0..20 {
            house.run_due().await;
            house.hand.advance(Span::minutes(30));
        }
        let taken = peer.taken().split_off(before);
        assert_eq!(taken.len(), count, "one warning in ten hours, or none");
        for report in taken {
            let Some(seen) = python(&report.data) else { return };
            assert!(
                seen.contains("field Action: delayed\nfield Status: 4.2.2\n") || seen.contains("field Status: 4.4.7\n"),
                "{seen}"
            );
            assert!(seen.contains("field Will-Retry-Until:"), "{seen}");
        }
    }
}

#[tokio::test]
async fn a_report_for_outside_carries_the_agencys_signature() {
    let agency_server = Peer::start(CAN, refuse).await;
    let outside = Peer::start(CAN, |_| None).await;
    let hops = vec![hop(agency_server.address, Profile::Generic, TlsMode::None)];
    let mut house = House::with(hops, None, |s| s.smart_host = outside.address.to_string());
    let pair = |selector, ed25519| {
        DkimPair::parse(Domain::parse("y.vn").unwrap(), selector, &seal::new_key(ed25519).unwrap()).unwrap()
    };
    let keys = |()| SealKeys { dkim: vec![pair("rsa1", false), pair("ed1", true)], smime: None };
    let keys = Arc::new(HashMap::from([(agency(), keys(()))]));
    house.policy = Arc::new(Policy::clone(&house.policy).with_seals(Arc::clone(&keys)));
    // A sender outside that SPF or DKIM vouched for writes to a mailbox that is not there.
    let mail = from("ketoan@partner.example", &["no@y.vn"]);
    assert_eq!(mail.meta.destination, Destination::Agency(agency()));
    house.deliver.queue(&mail).await.unwrap();
    while house.run_due().await > 0 {}
    let report = outside.taken().remove(0);
    let text = String::from_utf8(report.data.clone()).unwrap();
    assert!(text.contains("From: Mail Delivery System <postmaster@y.vn>\r\n"), "{text}");
    let Some(results) = dkimpy(&report.data, &keys[&agency()]) else { return };
    assert_eq!(results, ["pass", "pass"], "{text}");
}

#[tokio::test]
async fn what_we_met_inside_is_not_told_to_strangers() {
    let outside = Peer::start(CAN, |_| None).await;
    let nowhere = hop("127.0.0.1:9".parse().unwrap(), Profile::Generic, TlsMode::None);
    let house = House::with(vec![nowhere], None, |s| s.smart_host = outside.address.to_string());
    let mail = from("ketoan@partner.example", &["a@y.vn"]);
    house.deliver.queue(&mail).await.unwrap();
    for _ in 0..10 {
        house.run_due().await;
        house.hand.advance(Span::minutes(30));
    }
    let warning = String::from_utf8(outside.taken().remove(0).data).unwrap();
    assert!(warning.contains("Action: delayed\r\nStatus: 4.4.7\r\n"), "{warning}");
    assert!(!warning.contains("Diagnostic-Code") && !warning.contains("127.0.0.1"), "{warning}");
}
