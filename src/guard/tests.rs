//! The guard's arithmetic, case by case.

use std::net::{IpAddr, Ipv4Addr};

use super::ban::{Bans, Offence};
use super::dnslist;
use super::entry::{Rules, faults};
use super::event::Event;
use super::grey::{Answer, Greylist, Pair, Terms};
use super::helo::is_sane;
use super::network_of;
use super::pace::{Kind, Pace, Rate};
use super::settings::{self, Action, Asks, Ban, Entry, List, SyslogFormat, Who};
use super::weigh::{Assessment, Band, Facts, Reverse};
use crate::listen::stress::{Cause, Turn};
use crate::listen::{ClientFacts, Role};
use crate::mail::{Domain, MailId, MailParams, Mailbox, Reply, ReversePath, Span, Timestamp};
use crate::session::desk::{Opening, Reason, Refusal};

pub(super) const START: Timestamp = Timestamp::from_seconds(1_800_000_000);

pub(super) fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

pub(super) fn domain(text: &str) -> Domain {
    Domain::parse(text).unwrap()
}

pub(super) fn sender(text: &str) -> ReversePath {
    ReversePath::Mailbox(Mailbox::parse(text).unwrap())
}

pub(super) fn list(zone: &str, points: f64, answers: &[&str]) -> List {
    let answers = answers.iter().map(|n| n.parse().unwrap()).collect();
    List { zone: domain(zone), points, asks: Asks::Address, answers }
}

pub(super) fn entry(who: &str, action: Action) -> Entry {
    let who = Who::try_from(who.to_owned()).unwrap();
    let (owner, reason) = ("it".to_owned(), "test".to_owned());
    Entry { who, action, owner, reason, until: None, authenticated: false }
}

pub(super) fn rules(settings: settings::Guard) -> Rules {
    assert_eq!(faults(&settings, START).iter().filter(|f| !f.is_warning).count(), 0);
    Rules::build(settings)
}

pub(super) fn client(address: &str) -> ClientFacts {
    let address = std::net::SocketAddr::new(address.parse().unwrap(), 40000);
    ClientFacts { address, local: "192.0.2.250:25".parse().unwrap(), role: Role::Mx, tls: None }
}

pub(super) fn opening(address: &str, helo: &str, from: ReversePath) -> Opening {
    Opening {
        id: MailId::new(START, 7),
        received_at: START,
        client: client(address),
        helo: helo.to_owned(),
        esmtp: true,
        sender: from,
        params: MailParams::default(),
    }
}

pub(super) fn refusal<'a>(client: &'a ClientFacts, reason: Reason, reply: &'a Reply) -> Refusal<'a> {
    Refusal {
        id: MailId::new(START, 9),
        at: START,
        client,
        helo: "bad=\r\nhelo\\",
        sender: None,
        recipient: Some("x@agency.test"),
        reason,
        reply,
    }
}

#[test]
fn rfc5782_2_1_the_question_is_the_address_backwards() {
    let zone = domain("zen.example");
    assert_eq!(dnslist::about_address(&zone, ip("192.0.2.1")), "1.2.0.192.zen.example");
    assert_eq!(dnslist::about_address(&zone, ip("::ffff:192.0.2.1")), "1.2.0.192.zen.example");
    assert_eq!(
        dnslist::about_address(&zone, ip("2001:db8::1")),
        "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.zen.example"
    );
    assert_eq!(dnslist::about_domain(&zone, &domain("bad.test")).unwrap(), "bad.test.zen.example");
}

#[test]
fn rfc5782_2_1_only_answers_of_a_list_count() {
    let check = |answers: &[&str], wanted: &[&str], expected: Option<bool>| {
        let answers: Vec<Ipv4Addr> = answers.iter().map(|a| a.parse().unwrap()).collect();
        assert_eq!(dnslist::is_listed(&list("l.test", 5.0, wanted), &answers), expected, "{answers:?} {wanted:?}");
    };
    check(&["127.0.0.2"], &[], Some(true));
    check(&["127.0.0.10"], &["127.0.0.2/31"], Some(false));
    check(&["127.0.0.10", "127.0.0.3"], &["127.0.0.2/31"], Some(true));
    check(&["127.255.255.254"], &[], None);
    check(&["203.0.113.9"], &[], None);
    check(&["203.0.113.9", "127.0.0.4"], &[], Some(true));
    check(&[], &[], None);
}

#[test]
fn rfc5321_2_3_5_a_helo_name_fits_a_mail_server_or_not() {
    let here = ip("192.0.2.7");
    for good in ["mail.partner.example", "192-0-2-7.static.isp.vn", "[192.0.2.7]", "mx-1.a.vn", "mail.partner.example."]
    {
        assert!(is_sane(good, here), "{good}");
    }
    for bad in [
        "localhost",
        "pc",
        "[10.0.0.1]",
        "192.0.2.7",
        "server.local",
        "x.LAN",
        "[IPv6:2001:db8::1]",
        "a.1",
        "7.2.0.192.in-addr.arpa",
        "pc.workgroup",
        "192-0-2-7.net",
    ] {
        assert!(!is_sane(bad, here), "{bad}");
    }
    assert!(is_sane("[IPv6:2001:db8::1]", ip("2001:db8::1")));
}

#[test]
fn a_rate_is_even_and_forgives_with_time() {
    let (mut pace, rate) = (Pace::default(), Rate::hourly(60));
    let mut take = |now| pace.take(Kind::Address, "192.0.2.1", rate, now);
    assert!((0..60).all(|_| take(START).is_ok()));
    assert_eq!(take(START), Err(Span::minutes(1)));
    assert_eq!(take(START + Span::seconds(30)), Err(Span::seconds(30)));
    assert!(take(START + Span::minutes(1)).is_ok() && take(START + Span::minutes(1)).is_err());
    assert!(pace.take(Kind::Sender, "192.0.2.1", rate, START).is_ok(), "another kind has its own share");
    assert!(pace.take(Kind::Address, "other", Rate::hourly(0), START).is_ok());
}

#[test]
fn tables_stay_bounded_whoever_comes() {
    let mut pace = Pace::of_size(100);
    let mut bans = Bans::of_size(100);
    let mut grey = Greylist::of_size(100);
    let (s, terms) = (Ban { after: 5.0, ..Ban::default() }, Terms { wait: Span::minutes(5), keep: Span::days(35) });
    for i in 0..1000_u32 {
        let (now, who) = (START + Span::millis(u64::from(i)), IpAddr::V4(Ipv4Addr::from(i << 8)));
        assert!(pace.take(Kind::Address, &who.to_string(), Rate::hourly(1), now).is_ok());
        bans.offend(&s, who, if i % 2 == 0 { Offence::Abuse } else { Offence::Harvesting }, now);
        grey.attempt(&Pair::new(who, "a.test"), terms, now);
        assert!(pace.len() <= 100 && bans.len() <= 100 && grey.len() <= 100);
    }
    assert!(
        bans.until(IpAddr::V4(Ipv4Addr::from(998 << 8)), START + Span::seconds(1)).is_some(),
        "the latest is known"
    );
    assert!(grey.get(&Pair::new(IpAddr::V4(Ipv4Addr::from(999 << 8)), "A.test")).is_some());
}

#[test]
fn a_ban_comes_by_conduct_ends_and_grows() {
    let (mut bans, s) = (Bans::default(), Ban { after: 10.0, ..Ban::default() });
    let (bad, now) = (ip("2001:db8::1"), START);
    assert_eq!(bans.offend(&s, bad, Offence::Abuse, now), None);
    // Half is forgotten in an hour: 2.5 and 5 are not 10.
    assert_eq!(bans.offend(&s, bad, Offence::Abuse, now + Span::hours(1)), None);
    let later = now + Span::hours(1);
    let until = bans.offend(&s, ip("2001:db8::ffff"), Offence::Abuse, later).expect("12.5 points, one /64");
    assert_eq!(until, later + Span::hours(1));
    assert_eq!(bans.until(bad, until - Span::millis(1)), Some(until));
    assert_eq!((bans.until(bad, until), bans.count(until)), (None, 0));
    assert_eq!(bans.until(ip("2001:db8:0:1::1"), later), None);
    let again = bans.offend(&s, bad, Offence::Trap, until).expect("a trap needs no second time");
    assert_eq!(again, until + Span::hours(2));
    assert_eq!(bans.offend(&Ban::default(), ip("192.0.2.1"), Offence::Trap, now), None, "0 switches bans off");
}

#[test]
fn what_a_refusal_shows_of_its_client() {
    let check =
        |reason, code: &str, expected| assert_eq!(Offence::shown_by(reason, code), expected, "{reason:?} {code}");
    check(Reason::Recipient, "5.1.1", Some(Offence::Harvesting));
    check(Reason::Recipient, "5.7.1", Some(Offence::Relaying));
    check(Reason::Recipient, "4.7.1", None);
    check(Reason::Protocol, "5.7.8", Some(Offence::BruteForce));
    check(Reason::Pregreet, "5.5.0", Some(Offence::Abuse));
    check(Reason::Size, "5.3.4", None);
    check(Reason::Timeout, "4.4.2", None);
    check(Reason::Resources, "4.3.1", None);
}

#[test]
fn rfc6647_who_comes_back_in_time_is_let_in_and_remembered() {
    let (mut grey, terms) = (Greylist::default(), Terms { wait: Span::minutes(5), keep: Span::days(35) });
    let pair = Pair::new(ip("192.0.2.1"), "a.test");
    assert_eq!(grey.attempt(&pair, terms, START), Answer::Wait(Span::minutes(5)));
    assert_eq!(grey.attempt(&pair, terms, START + Span::minutes(1)), Answer::Wait(Span::minutes(4)));
    assert_eq!(grey.attempt(&Pair::new(ip("192.0.2.99"), "A.TEST"), terms, START + Span::minutes(5)), Answer::Pass);
    assert_eq!(grey.attempt(&pair, terms, START + Span::days(30)), Answer::Pass);
    assert_eq!(grey.attempt(&pair, terms, START + Span::days(66)), Answer::Wait(Span::minutes(5)), "forgotten");
    let none = Terms { wait: Span::ZERO, ..terms };
    assert_eq!(grey.attempt(&Pair::new(ip("198.51.100.1"), ""), none, START), Answer::Pass);

    // A network that came back for three domains is a mail server.
    let mut grey = Greylist::default();
    for name in ["a.test", "b.test", "c.test"] {
        let pair = Pair::new(ip("192.0.2.1"), name);
        assert_ne!(grey.attempt(&pair, terms, START), Answer::Pass);
        assert_eq!(grey.attempt(&pair, terms, START + Span::hours(1)), Answer::Pass);
    }
    assert_eq!(grey.attempt(&Pair::new(ip("192.0.2.1"), "d.test"), terms, START), Answer::Pass);
    grey.expire(terms, START + Span::days(40));
    assert_ne!(grey.attempt(&Pair::new(ip("192.0.2.1"), "d.test"), terms, START + Span::days(40)), Answer::Pass);
}

#[test]
fn the_most_exact_entry_speaks_and_a_name_alone_does_not_outweigh_a_network() {
    let mut authenticated = entry("chief@partner.example", Action::Allow);
    authenticated.authenticated = true;
    let mut over = entry("198.51.100.0/24", Action::Deny);
    over.until = Some("2026-01-01".to_owned().try_into().unwrap());
    let r = Rules::build(settings::Guard {
        entry: vec![
            entry("203.0.113.0/24", Action::Deny),
            entry("203.0.113.9", Action::Allow),
            entry("partner.example", Action::Allow),
            entry("ads.partner.example", Action::Deny),
            authenticated,
            over,
        ],
        ..settings::Guard::default()
    });
    let word = |address: &str, from: &str, proven| r.word(ip(address), &sender(from), proven, START).map(|w| w.action);
    assert_eq!(word("203.0.113.1", "a@x.test", false), Some(Action::Deny));
    assert_eq!(word("203.0.113.9", "a@x.test", false), Some(Action::Allow));
    assert_eq!(word("192.0.2.1", "a@partner.example", false), Some(Action::Allow));
    assert_eq!(word("192.0.2.1", "a@b.ads.partner.example", false), Some(Action::Deny));
    assert_eq!(word("203.0.113.1", "a@partner.example", false), Some(Action::Deny), "anybody can write that name");
    assert_eq!(word("203.0.113.1", "chief@partner.example", false), Some(Action::Deny));
    assert_eq!(word("203.0.113.1", "Chief@Partner.example", true), Some(Action::Allow));
    assert_eq!(word("203.0.113.9", "a@ads.partner.example", false), Some(Action::Deny));
    assert_eq!(word("198.51.100.1", "a@x.test", false), None, "its time is over");
    assert_eq!(word("192.0.2.1", "a@notpartner.example", false), None);
    assert!(r.wants_authentication(&sender("chief@partner.example"), START));
    assert!(!r.wants_authentication(&sender("a@partner.example"), START));
}

#[test]
fn settings_that_cannot_be_meant_are_told_with_their_place() {
    let mut bad = entry("partner.example", Action::Deny);
    bad.authenticated = true;
    bad.reason = " ".to_owned();
    let s = settings::Guard {
        refuse: 1.0,
        tarpit: Span::minutes(3),
        traps: vec!["no address".to_owned()],
        entry: vec![bad, entry("x@y.test", Action::Allow)],
        list: vec![list("l.test", f64::NAN, &[])],
        ban: Ban { abuse: -1.0, ..Ban::default() },
        ..settings::Guard::default()
    };
    let found = faults(&s, START);
    assert_eq!(found.iter().filter(|f| !f.is_warning).count(), 7, "{found:#?}");
    assert_eq!(found.iter().filter(|f| f.is_warning).count(), 1, "{found:#?}");
    assert!(Who::try_from("10.1.2.3/16".to_owned()).is_err() && Who::try_from("a@".to_owned()).is_err());
}

#[test]
fn points_make_bands() {
    let s = settings::Guard::default();
    let facts = |reverse, sane_helo, points: f64| {
        let listed = if points == 0.0 { vec![] } else { vec![("l.test".to_owned(), points)] };
        Assessment::by_facts(&s, &Facts { reverse, sane_helo, listed })
    };
    assert_eq!(facts(Reverse::Missing, false, 0.0).band(), Band::Clear, "old servers of honest offices");
    assert_eq!(facts(Reverse::Unknown, true, 0.0).points(), 0.0);
    let suspect = facts(Reverse::Missing, true, 3.0);
    assert_eq!((suspect.band(), suspect.rule().as_str()), (Band::Suspect, "iprev list:l.test"));
    assert_eq!(facts(Reverse::Confirmed, true, 10.0).band(), Band::Refused);
    assert_eq!(facts(Reverse::Missing, false, -5.0).band(), Band::Clear);
    assert!(!rules(s).asks_dns(), "nothing to gain by asking");
}

#[test]
fn rfc5424_6_an_event_is_one_line_whatever_it_holds() {
    let (client, reply) = (client("192.0.2.9"), Reply::new(550, "5.1.1", "No such user here").because("trap"));
    let event = Event::refusal(&refusal(&client, Reason::Recipient, &reply));
    let json: serde_json::Value = serde_json::from_str(&event.json()).unwrap();
    for (key, value) in [
        ("event", "refusal"),
        ("address", "192.0.2.9"),
        ("listener", "mx"),
        ("reason", "recipient"),
        ("rule", "trap"),
        ("recipient", "x@agency.test"),
        ("reply", "550 5.1.1 No such user here"),
    ] {
        assert_eq!(json[key], value, "{key}");
    }
    assert_eq!(json["port"], 40000);
    let cef = event.cef();
    assert!(cef.starts_with("CEF:0|Luy Tre|luytre|"), "{cef}");
    assert!(cef.contains("|refusal.recipient|mail refusal|4|rt="), "{cef}");
    assert!(cef.contains(" src=192.0.2.9 spt=40000 dst=192.0.2.250 dpt=25 "), "{cef}");
    assert!(cef.contains("shost=bad\\=\\n\\nhelo\\\\ "), "{cef}");
    let line = event.syslog(SyslogFormat::Json, "gw.agency.test", 42);
    assert!(line.starts_with("<21>1 2027-01-15T08:00:00.000Z gw.agency.test luytre 42 refusal - {"), "{line}");
    let ban = Event::ban(&refusal(&client, Reason::Recipient, &reply), "trap", START + Span::hours(1));
    assert!(
        ban.syslog(SyslogFormat::Cef, "gw", 1).starts_with("<20>1 ") && ban.cef().contains("|ban.trap|mail ban|7|")
    );
    assert!([event.json(), cef, line].iter().all(|text| !text.contains(['\n', '\r'])));
}

#[test]
fn the_network_of_an_address_is_its_24_or_48() {
    assert_eq!(network_of(ip("::ffff:192.0.2.77")), ip("192.0.2.0"));
    assert_eq!(network_of(ip("2001:db8:1:2::3")), ip("2001:db8:1::"));
}

#[test]
fn threats_s_26_hostile_bytes_end_no_line_and_put_no_word_into_our_mouth() {
    let long = "đ".repeat(5000);
    let hostile = [
        "x\r\n<13>1 2026 forged event",
        "x|y=z\\ src=192.0.2.1",
        "\u{1b}[2J\u{9b}31m\u{7f}",
        "\u{202e}gro.knab\u{2066}\u{2028}x",
        "\0\u{1}\t",
        &long,
    ];
    for text in hostile {
        let (client, reply) = (client("2001:db8::9"), Reply::new(550, "5.7.1", "No").because(text.to_owned()));
        let refusal = Refusal { helo: text, recipient: Some(text), ..refusal(&client, Reason::Recipient, &reply) };
        let event = Event::refusal(&refusal);
        let cef = event.cef();
        let frames = [event.syslog(SyslogFormat::Cef, "gw", 1), event.syslog(SyslogFormat::Json, "gw", 1)];
        for line in frames.iter().chain([&cef, &event.json()]) {
            let odd = |c: char| {
                c.is_control()
                    || matches!(c, '\u{200e}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
            };
            assert!(!line.contains(odd), "{text:?}: {line:?}");
            assert!(line.len() < 16_384, "{} octets", line.len());
        }
        let json: serde_json::Value = serde_json::from_str(&event.json()).unwrap();
        assert_eq!(json["address"], "2001:db8::9");
        // Only our own fields are fields: every equals sign of a stranger is escaped.
        let names = cef.split(' ').filter_map(|word| word.split_once('=')).filter(|(name, _)| !name.ends_with('\\'));
        assert_eq!(names.filter(|(name, _)| *name == "src").count(), 1, "{cef}");
        assert_eq!(cef.splitn(8, '|').count(), 8, "{cef}");
    }
}

#[test]
fn a_state_of_the_gateway_is_an_event_without_a_client() {
    let event = Event::stress(Turn::Ends(Cause::Memory, Span::seconds(42)), START);
    let json: serde_json::Value = serde_json::from_str(&event.json()).unwrap();
    for (key, value) in [("event", "stress"), ("reason", "memory"), ("rule", "ends after 42 s"), ("address", "")] {
        assert_eq!(json[key], value, "{key}");
    }
    let cef = event.cef();
    assert!(cef.contains("|stress.memory|mail stress|6|") && !cef.contains(" src=") && !cef.contains(" spt="), "{cef}");
    assert!(event.syslog(SyslogFormat::Cef, "gw", 1).starts_with("<20>1 "));
}
