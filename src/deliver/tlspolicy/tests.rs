//! What domains publish, table by table.

use bytes::Bytes;

use super::sts::{Kept, Mode, Policy, record_id};
use super::tally::{Applied, Day, Failure, Reason};
use super::*;
use crate::mail::{Destination, Domain, MailId, MailParams, ParcelMeta, ReversePath, Span, Timestamp};

const START: Timestamp = Timestamp::from_seconds(1_795_302_082);

fn policy(text: &str) -> Result<Policy, &'static str> {
    Policy::read(text.as_bytes())
}

fn enforce(mx: &str) -> Policy {
    policy(&format!("version: STSv1\nmode: enforce\nmx: {mx}\nmax_age: 86400\n")).unwrap()
}

fn testing(mx: &str) -> Policy {
    Policy { mode: Mode::Testing, ..enforce(mx) }
}

#[test]
fn rfc8461_3_1_one_record_of_the_version_gives_the_id() {
    let id = |texts: &[&str]| record_id(&texts.iter().map(|t| (*t).to_owned()).collect::<Vec<_>>());
    for (texts, expected) in [
        (&["v=STSv1; id=20160831085700Z;"][..], Some("20160831085700Z")),
        (&["v=STSv1;id=a"], Some("a")),
        (&["v=STSv1 ; other=x; id=abc ;"], Some("abc")),
        (&["v=STSv1; id=a; id=b"], Some("a")),
        (&["v=spf1 -all", "v=STSv1; id=a"], Some("a")),
        (&[], None),
        (&["v=STSv1; id=a", "v=STSv1; id=a"], None),
        (&["v=STSv1"], None),
        (&["v=STSv1;"], None),
        (&["v=STSv1; id="], None),
        (&["v=STSv1; id=a-b"], None),
        (&["v=STSv1; id=a b"], None),
        (&["v=STSv1; nothing; id=a"], None),
        (&["v=STSv10; id=a"], None),
        (&["v=stsv1; id=a"], None),
        (&["V=STSv1; id=a"], None),
        (&[" v=STSv1; id=a"], None),
        (&["id=a; v=STSv1"], None),
    ] {
        assert_eq!(id(texts).as_deref(), expected, "{texts:?}");
    }
    assert_eq!(id(&[&format!("v=STSv1; id={}", "x".repeat(32))]).unwrap().len(), 32);
    assert_eq!(id(&[&format!("v=STSv1; id={}", "x".repeat(33))]), None);
}

#[test]
fn rfc8461_3_2_a_policy_is_read_strictly() {
    let good = "version: STSv1\r\nmode: enforce\r\nmx: Mail.example.vn\r\nmx: *.example.NET\r\nmax_age: 604800\r\n";
    let read = policy(good).unwrap();
    assert_eq!(read.mode, Mode::Enforce);
    assert_eq!(read.mx, ["mail.example.vn", "*.example.net"]);
    assert_eq!(read.max_age_seconds, 604_800);
    assert_eq!(read.lines()[2], "mx: mail.example.vn");
    let base = "version: STSv1\nmode: enforce\nmx: a.vn\nmax_age: 1\n";
    for (from, to) in [
        ("version: STSv1\n", ""),
        ("STSv1", "STSv2"),
        ("STSv1", "stsv1"),
        ("mode: enforce\n", ""),
        ("enforce", "Enforce"),
        ("enforce", "maybe"),
        ("mx: a.vn\n", ""),
        ("a.vn", "*"),
        ("a.vn", "*.*.vn"),
        ("a.vn", "mx.*.vn"),
        ("a.vn", "a b.vn"),
        ("a.vn", ""),
        ("max_age: 1\n", ""),
        ("age: 1", "age: -1"),
        ("age: 1", "age: 1s"),
        ("age: 1", "age: "),
        ("age: 1", "age: 12345678901"),
        ("mx: a.vn", "mx a.vn"),
    ] {
        let text = base.replace(from, to);
        assert!(policy(&text).is_err(), "{text:?}");
    }
    assert!(policy("<html><body>404: not found</body></html>").is_err());
    assert!(Policy::read(b"version: STSv1\nmode: none\nmax_age: 1\nx: \xff\n").is_err());
    let many: String = (0..201).map(|n| format!("mx: m{n}.vn\n")).collect();
    assert!(policy(&base.replace("mx: a.vn\n", &many)).is_err(), "a list without end is no policy");
    // What stands twice, what is unknown, what is very long.
    let odd = "version: STSv1\nmode: testing\nmode: enforce\nfuture: x\nmx: a.vn\n\nmax_age: 9999999999\nmax_age: 1";
    let read = policy(odd).unwrap();
    assert_eq!((read.mode, read.max_age_seconds), (Mode::Testing, 31_557_600));
    assert!(policy("version: STSv1\nmode: none\nmax_age: 1").is_ok(), "none needs no server");
}

#[test]
fn rfc8461_4_1_a_star_stands_for_one_label() {
    let named = enforce("mail.example.vn");
    let starred = enforce("*.example.vn");
    for (host, by_name, by_star) in [
        ("mail.example.vn", true, true),
        ("MAIL.Example.VN.", true, true),
        ("mx2.example.vn", false, true),
        ("example.vn", false, false),
        (".example.vn", false, false),
        ("a.b.example.vn", false, false),
        ("mail.example.vn.evil.test", false, false),
        ("mailexample.vn", false, false),
    ] {
        assert_eq!((named.names(host), starred.names(host)), (by_name, by_star), "{host}");
    }
}

#[test]
fn rfc8461_10_2_a_policy_lives_for_its_max_age_and_is_renewed_before() {
    let kept = |max_age_seconds| Kept {
        domain: Domain::parse("x.vn").unwrap(),
        id: "1".to_owned(),
        fetched_at: START,
        policy: Policy { max_age_seconds, ..enforce("a.vn") },
    };
    let week = kept(604_800);
    assert!(week.is_alive(START + Span::days(7) - Span::millis(1)) && !week.is_alive(START + Span::days(7)));
    assert!(!week.is_old(START + Span::hours(23)) && week.is_old(START + Span::days(1)));
    assert!(kept(600).is_old(START + Span::seconds(300)), "a short life is renewed at its half");
    assert!(!kept(0).is_alive(START));
}

/// Records that are proven, as `pins` found them.
fn records(list: &[[u8; 3]]) -> Result<Pins, DnsError> {
    let record = |[usage, selector, matching]: &[u8; 3]| {
        let mut data = vec![*usage, *selector, *matching];
        data.extend([9; 32]);
        data
    };
    Ok(Pins::Records { base: "mx.x.vn".to_owned(), records: list.iter().map(record).collect() })
}

fn chosen(wish: Wish, mx_proven: bool, sts: Option<&Policy>, pins: Option<Result<Pins, DnsError>>) -> String {
    let evidence = Evidence { host: "mx.x.vn", domain: "x.vn", mx_proven, sts, pins: pins.as_ref() };
    match choose(wish, evidence) {
        Ok(protection) => protection.as_str().to_owned(),
        Err(why) => format!("{why:?}").split('(').next().unwrap().to_owned(),
    }
}

#[test]
fn rfc7672_rfc8461_2_dane_goes_before_mta_sts_and_neither_is_weakened() {
    let (listed, other, tested) = (enforce("mx.x.vn"), enforce("mx.y.vn"), testing("mx.x.vn"));
    let unknown = || Some(Err(DnsError::Failed("x".to_owned(), "bogus".to_owned())));
    let usual = |sts: Option<&Policy>, pins| chosen(Wish::Usual, true, sts, pins);
    assert_eq!(usual(None, None), "none");
    assert_eq!(usual(None, Some(Ok(Pins::None))), "none");
    assert_eq!(usual(Some(&listed), Some(Ok(Pins::None))), "verified");
    assert_eq!(usual(Some(&other), None), "NotInPolicy");
    assert_eq!(usual(Some(&tested), None), "sts-testing");
    assert_eq!(usual(Some(&testing("mx.y.vn")), None), "sts-testing", "testing never stops mail");
    assert_eq!(usual(None, Some(records(&[[3, 1, 1]]))), "dane");
    assert_eq!(usual(Some(&other), Some(records(&[[2, 0, 1]]))), "dane", "DANE decides alone");
    assert_eq!(usual(None, Some(records(&[[1, 1, 1], [3, 1, 2]]))), "dane-unusable");
    assert_eq!(usual(Some(&listed), Some(records(&[[0, 0, 1]]))), "verified", "the stronger of the two");
    assert_eq!(usual(Some(&tested), Some(records(&[[0, 0, 1]]))), "dane-unusable");
    assert_eq!(usual(None, unknown()), "DnssecInvalid");
    assert_eq!(usual(Some(&listed), unknown()), "DnssecInvalid", "MTA-STS does not stand in for broken DANE");
}

#[test]
fn rfc8689_4_2_1_a_message_that_requires_tls_goes_only_where_name_and_certificate_are_proven() {
    let (listed, tested) = (enforce("mx.x.vn"), testing("mx.x.vn"));
    let required = |proven, sts: Option<&Policy>, pins| chosen(Wish::RequireTls, proven, sts, pins);
    assert_eq!(required(false, None, None), "Unproven");
    assert_eq!(required(true, None, Some(Ok(Pins::None))), "verified");
    assert_eq!(required(false, Some(&listed), None), "verified");
    assert_eq!(required(false, Some(&tested), None), "verified", "testing or not, the policy names the server");
    assert_eq!(required(false, Some(&testing("other.vn")), None), "Unproven");
    assert_eq!(required(true, None, Some(records(&[[3, 1, 1]]))), "dane");
    assert_eq!(required(true, None, Some(records(&[[1, 1, 1]]))), "verified", "pins that nobody can use prove nothing");
}

#[test]
fn rfc8689_4_2_2_tls_required_no_sets_the_policies_aside() {
    let unknown = Some(Err(DnsError::Failed("x".to_owned(), "bogus".to_owned())));
    assert_eq!(chosen(Wish::NotNeeded, true, Some(&enforce("other.vn")), unknown), "none");
    let wish = |head: &str, requiretls| {
        let meta = ParcelMeta {
            id: MailId::new(START, 1),
            received_at: START,
            sender: ReversePath::Null,
            recipients: Vec::new(),
            destination: Destination::Outward("a".parse().unwrap()),
            params: MailParams { requiretls, ..MailParams::default() },
            sender_authenticated: true,
            subject: String::new(),
        };
        Wish::of(&Parcel { meta, head: Bytes::copy_from_slice(head.as_bytes()), body: Bytes::new() })
    };
    assert_eq!(wish("From: a@x.vn\r\nTLS-Required: No\r\n\r\n", false), Wish::NotNeeded);
    assert_eq!(wish("tls-required:\r\n no \r\n\r\n", false), Wish::NotNeeded);
    assert_eq!(wish("TLS-Required: No\r\n\r\n", true), Wish::RequireTls, "the parameter wins");
    assert_eq!(wish("TLS-Required: Yes\r\n\r\n", false), Wish::Usual);
    assert_eq!(wish("TLS-Required: No\r\nTLS-Required: No\r\n\r\n", false), Wish::Usual);
    assert_eq!(wish("Subject: x\r\n\r\nTLS-Required: No\r\n", false), Wish::Usual, "the body says nothing");
}

#[test]
fn rfc8460_4_4_a_report_has_the_members_of_the_standard() {
    let mut day = Day::new("2026-11-22", "mx1.tinh.gov.vn");
    let sts = Applied::of(&Protection::Verified, Some(&enforce("*.x.vn")));
    let mut failure = Failure::new(Reason::CertificateExpired, "mx.x.vn", "certificate has expired\r\n\u{1b}[2J");
    failure.from_ip = "192.0.2.1".to_owned();
    failure.to_ip = "198.51.100.7".to_owned();
    for _ in 0..3 {
        day.note("x.vn", &sts, None);
    }
    for _ in 0..2 {
        day.note("x.vn", &sts, Some(failure.clone()));
    }
    day.note(
        "x.vn",
        &Applied::of(&Protection::Opportunistic, None),
        Some(Failure::new(Reason::NoStartTls, "mx.x.vn", "")),
    );
    let report = day.report("x.vn").unwrap();
    assert_eq!(report["organization-name"], "mx1.tinh.gov.vn");
    assert_eq!(report["date-range"]["start-datetime"], "2026-11-22T00:00:00Z");
    assert_eq!(report["date-range"]["end-datetime"], "2026-11-22T23:59:59Z");
    assert!(report["contact-info"].is_string() && report["report-id"].is_string());
    let first = &report["policies"][0];
    assert_eq!(first["policy"]["policy-type"], "sts");
    assert_eq!(first["policy"]["policy-domain"], "x.vn");
    assert_eq!(first["policy"]["mx-host"][0], "*.x.vn");
    assert_eq!(first["policy"]["policy-string"][0], "version: STSv1");
    assert_eq!(first["summary"]["total-successful-session-count"], 3);
    assert_eq!(first["summary"]["total-failure-session-count"], 2);
    let detail = &first["failure-details"][0];
    assert_eq!(detail["result-type"], "certificate-expired");
    assert_eq!(detail["failed-session-count"], 2);
    assert_eq!((&detail["sending-mta-ip"], &detail["receiving-ip"]), (&"192.0.2.1".into(), &"198.51.100.7".into()));
    assert!(
        !detail["failure-reason-code"].as_str().unwrap().contains('\u{1b}'),
        "no octet of a stranger's steers a terminal"
    );
    let second = &report["policies"][1];
    assert_eq!(second["policy"]["policy-type"], "no-policy-found");
    assert_eq!(second["failure-details"][0]["result-type"], "starttls-not-supported");
    assert_eq!(day.report("y.vn"), None);
    // What is written to disk comes back as it was.
    let again: Day = serde_json::from_slice(&serde_json::to_vec(&day).unwrap()).unwrap();
    assert_eq!(again, day);
}

#[test]
fn strangers_cannot_fill_the_counts() {
    let mut day = Day::new("2026-11-22", "us");
    let none = Applied::of(&Protection::Opportunistic, None);
    for n in 0..6000 {
        day.note(&format!("d{n}.vn"), &none, None);
    }
    assert_eq!((day.domains().count(), day.uncounted), (5000, 1000));
    for n in 0..100 {
        let policy = Applied { kind: "sts".to_owned(), lines: vec![format!("mx: m{n}.vn")], mx: Vec::new() };
        day.note("d1.vn", &policy, None);
        day.note("d2.vn", &none, Some(Failure::new(Reason::ValidationFailure, &format!("m{n}.vn"), "x")));
    }
    let policies = day.report("d1.vn").unwrap()["policies"].as_array().unwrap().len();
    assert_eq!(policies, 8);
    let report = day.report("d2.vn").unwrap();
    assert_eq!(report["policies"][0]["failure-details"].as_array().unwrap().len(), 64);
    assert_eq!(report["policies"][0]["summary"]["total-failure-session-count"], 100);
}
