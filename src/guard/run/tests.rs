//! The guard at work over a zone, a folder and a clock of the test's own.

use std::sync::Arc;

use super::*;
use crate::env::dns;
use crate::env::dns::zone::{Server, Zone};
use crate::guard::settings::{self, Ban, SyslogFormat};
use crate::guard::tests::{START, client, list, opening, refusal, rules, sender};
use crate::guard::weigh::{Facts, Proof, Reverse};
use crate::mail::Span;
use crate::session::desk::Reason;

/// A guard over a zone, below a folder of its own.
async fn guard(names: serde_json::Value, folder: &std::path::Path, r: &Rules) -> (Guard, Server, Clock) {
    let zone = Zone::from_json(&serde_json::json!({ "names": names }).to_string()).unwrap();
    let server = Server::start(zone, "127.0.0.1:0".parse().unwrap()).await.unwrap();
    let options =
        dns::Options { servers: vec![server.address()], timeout: Span::millis(200), ..dns::Options::default() };
    let (clock, _) = Clock::by_hand(START);
    let metrics = Metrics::new(&prometheus::Registry::new()).unwrap();
    let guard =
        Guard::open(Some(Dns::new(&options).unwrap()), clock.clone(), &Dice::seeded(7), metrics, folder, r).await;
    (guard, server, clock)
}

fn with_lists() -> Rules {
    let lists = vec![list("bl.test", 6.0, &[]), list("worse.test", 6.0, &[]), list("wl.test", -20.0, &[])];
    rules(settings::Guard { list: lists, dns_deadline: Span::seconds(1), ..settings::Guard::default() })
}

#[tokio::test]
async fn lists_are_added_up_and_a_liar_counts_nothing() {
    let names = serde_json::json!({
        "1.2.0.192.bl.test": {"A": ["127.0.0.2"]}, "1.2.0.192.worse.test": {"A": ["127.0.0.2"]},
        "2.2.0.192.bl.test": {"A": ["203.0.113.1"]}, "2.2.0.192.worse.test": {"A": ["127.255.255.254"]},
        "3.2.0.192.bl.test": {"A": ["127.0.0.2"]}, "3.2.0.192.worse.test": {"A": ["127.0.0.2"]},
        "3.2.0.192.wl.test": {"A": ["127.0.0.2"]},
        "4.2.0.192.bl.test": {"rcode": "TIMEOUT"}, "4.2.0.192.worse.test": {"rcode": "SERVFAIL"},
        "4.2.0.192.wl.test": {"rcode": "TIMEOUT"}, "4.2.0.192.in-addr.arpa": {"rcode": "TIMEOUT"},
        "5.2.0.192.in-addr.arpa": {"PTR": ["mail.partner.example"]}, "mail.partner.example": {"A": ["192.0.2.5"]},
        "6.2.0.192.in-addr.arpa": {"PTR": ["mail.partner.example"]},
    });
    let folder = tempfile::tempdir().unwrap();
    let r = with_lists();
    let (guard, _server, _) = guard(names, folder.path(), &r).await;
    for (address, band, points) in [
        ("192.0.2.1", Band::Refused, 14.0),
        ("192.0.2.2", Band::Clear, 2.0),
        ("192.0.2.3", Band::Clear, -6.0),
        ("192.0.2.4", Band::Clear, 0.0),
        ("192.0.2.5", Band::Clear, 0.0),
        ("192.0.2.6", Band::Clear, 2.0),
    ] {
        let found = guard
            .sender(&r, &opening(address, "mx.partner.example", sender("a@b.test")), Proof::None, false)
            .await
            .unwrap();
        assert_eq!((found.band(), found.points()), (band, points), "{address}: {}", found.rule());
    }
    let trusted = guard.sender(&r, &opening("127.0.0.1", "x", sender("a@b.test")), Proof::None, false).await.unwrap();
    assert_eq!(trusted.band(), Band::Trusted);
}

#[tokio::test]
async fn rfc5321_4_5_1_postmaster_hears_those_who_are_refused() {
    let names = serde_json::json!({
        "1.2.0.192.bl.test": {"A": ["127.0.0.2"]}, "1.2.0.192.worse.test": {"A": ["127.0.0.2"]}
    });
    let folder = tempfile::tempdir().unwrap();
    let r = with_lists();
    let (guard, _server, _) = guard(names, folder.path(), &r).await;
    let found =
        guard.sender(&r, &opening("192.0.2.1", "mx.a.vn", sender("a@b.test")), Proof::None, false).await.unwrap();
    let to = |text: &str| Mailbox::parse(text).unwrap();
    let refused = guard.approach(&r, &found, &to("an@agency.test")).await.unwrap_err();
    assert_eq!((refused.code(), refused.cause()), (550, "iprev list:bl.test list:worse.test"));
    assert!(!refused.text().contains("test"), "no list is named to a stranger: {refused}");
    for open in ["postmaster@agency.test", "Abuse@agency.test"] {
        assert!(guard.approach(&r, &found, &to(open)).await.is_ok());
        assert!(
            guard
                .recipient(
                    &r,
                    &found,
                    &opening("192.0.2.1", "x", sender("a@b.test")),
                    &to(open),
                    &"so".parse().unwrap()
                )
                .is_ok()
        );
    }
}

#[tokio::test]
async fn threats_dns_nobody_is_sent_back_because_nobody_could_vouch_for_it() {
    let names = serde_json::json!({
        "1.2.0.192.bl.test": {"A": ["127.0.0.2"]}, "1.2.0.192.worse.test": {"A": ["127.0.0.2"]}
    });
    let folder = tempfile::tempdir().unwrap();
    let partner =
        settings::Entry { authenticated: true, ..crate::guard::tests::entry("b.test", settings::Action::Allow) };
    let r = rules(settings::Guard { entry: vec![partner], ..with_lists().settings });
    let (guard, _server, _) = guard(names, folder.path(), &r).await;
    let to = Mailbox::parse("an@agency.test").unwrap();
    let from = opening("192.0.2.1", "mx.a.vn", sender("a@b.test"));
    for (proof, code) in [(Proof::Real, 0), (Proof::None, 550), (Proof::Unknown, 451)] {
        let found = guard.sender(&r, &from, proof, false).await.unwrap();
        let answer = guard.approach(&r, &found, &to).await;
        assert_eq!(answer.map_or_else(|reply| reply.code(), |()| 0), code, "{proof:?}");
    }
}

#[tokio::test]
async fn rfc6647_the_greylist_survives_a_restart_and_a_damaged_file() {
    let names = serde_json::json!({ "1.2.0.192.bl.test": {"A": ["127.0.0.2"]} });
    let folder = tempfile::tempdir().unwrap();
    let r = with_lists();
    let (from, to) = (opening("192.0.2.1", "mx.a.vn", sender("a@b.test")), Mailbox::parse("an@agency.test").unwrap());
    let agency = "so".parse().unwrap();
    {
        let (guard, _server, _) = guard(names.clone(), folder.path(), &r).await;
        let found = guard.sender(&r, &from, Proof::None, false).await.unwrap();
        assert_eq!(found.band(), Band::Suspect);
        let wait = guard.recipient(&r, &found, &from, &to, &agency).unwrap_err();
        assert_eq!((wait.code(), wait.enhanced()), (451, "4.7.1"), "{wait}");
        assert!(wait.text().contains("5 min"), "{wait}");
        guard.close().await;
    }
    let eager = Rules::build(settings::Guard { greylist: Span::millis(1), ..r.settings.clone() });
    {
        let (guard, _server, clock) = guard(names.clone(), folder.path(), &eager).await;
        assert_eq!(clock.now(), START);
        let found = guard.sender(&eager, &from, Proof::None, false).await.unwrap();
        // The same moment by the clock: still too early, but known.
        let wait = guard.recipient(&eager, &found, &from, &to, &agency).unwrap_err();
        assert!(wait.text().contains("1 min"), "{wait}");
        guard.close().await;
    }
    std::fs::write(folder.path().join("luytre.db"), "this is no database at all, and long enough to be looked at")
        .unwrap();
    let (guard, _server, _) = guard(names, folder.path(), &r).await;
    let found = guard.sender(&r, &from, Proof::None, false).await.unwrap();
    assert_eq!(guard.recipient(&r, &found, &from, &to, &agency).unwrap_err().code(), 451, "it goes on with a new one");
    assert!(folder.path().join("luytre.db.damaged").exists());
}

#[tokio::test]
async fn a_trap_bans_at_once_and_the_event_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let r = rules(settings::Guard {
        traps: vec!["ghost@agency.test".to_owned()],
        ban: Ban { after: 20.0, ..Ban::default() },
        ..settings::Guard::default()
    });
    let (guard, _server, _) = guard(serde_json::json!({}), folder.path(), &r).await;
    let who = client("192.0.2.9");
    assert!(guard.welcome(&r, &who).is_ok());
    let found =
        guard.sender(&r, &opening("192.0.2.9", "mx.a.vn", sender("a@b.test")), Proof::None, false).await.unwrap();
    let reply = guard.approach(&r, &found, &Mailbox::parse("Ghost@agency.test").unwrap()).await.unwrap_err();
    assert_eq!(reply, Reply::new(550, "5.1.1", "No such user here").because("trap"));
    guard.noticed(&r, &refusal(&who, Reason::Recipient, &reply));
    assert_eq!(guard.welcome(&r, &who).unwrap_err().code(), 421);
    assert!(guard.welcome(&r, &client("192.0.2.10")).is_ok());
    assert_eq!(
        guard
            .sender(&r, &opening("192.0.2.9", "x.a.vn", sender("a@b.test")), Proof::None, false)
            .await
            .unwrap_err()
            .code(),
        421
    );

    // Own machines may do what they like.
    let own = client("127.0.0.1");
    for _ in 0..50 {
        guard.noticed(&r, &refusal(&own, Reason::Pregreet, &reply));
    }
    assert!(guard.welcome(&r, &own).is_ok());
    guard.settle().await;
    let file = std::fs::read_to_string(folder.path().join("events/2027-01-15.jsonl")).unwrap();
    let events: Vec<serde_json::Value> = file.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(events.len(), 52, "{file}");
    assert_eq!((&events[1]["event"], &events[1]["reason"]), (&"ban".into(), &"trap".into()));
    assert_eq!(events[1]["until"], (START + Span::hours(1)).rfc3339());
}

#[tokio::test]
async fn rates_are_held_for_each_party_and_are_temporary() {
    let folder = tempfile::tempdir().unwrap();
    let rates = settings::Rates { connections: 3, address: 2, sender: 3, recipient: 4, ..settings::Rates::default() };
    let r = rules(settings::Guard { rates, ..settings::Guard::default() });
    let (guard, _server, _) = guard(serde_json::json!({}), folder.path(), &r).await;
    let who = client("192.0.2.9");
    assert!((0..3).all(|_| guard.welcome(&r, &who).is_ok()));
    let reply = guard.welcome(&r, &who).unwrap_err();
    assert_eq!((reply.code(), reply.cause()), (421, "rate:connections"));
    let ask = async |address: &str| {
        guard
            .sender(&r, &opening(address, "mx.a.vn", sender("a@b.test")), Proof::None, false)
            .await
            .map_err(|reply| reply.cause().to_owned())
    };
    assert!(ask("192.0.2.1").await.is_ok() && ask("192.0.2.1").await.is_ok());
    assert_eq!(ask("192.0.2.1").await.unwrap_err(), "rate:address");
    assert!(ask("192.0.2.2").await.is_ok());
    assert_eq!(ask("198.51.100.2").await.unwrap_err(), "rate:sender");
    let found =
        Assessment::by_facts(&r.settings, &Facts { reverse: Reverse::Unknown, sane_helo: true, listed: Vec::new() });
    let from = opening("192.0.2.2", "mx.a.vn", sender("a@b.test"));
    let to = || guard.recipient(&r, &found, &from, &Mailbox::parse("an@agency.test").unwrap(), &"so".parse().unwrap());
    assert!((0..4).all(|_| to().is_ok()));
    let reply = to().unwrap_err();
    assert_eq!((reply.code(), reply.cause()), (450, "rate:recipient"));
}

#[tokio::test]
async fn events_reach_a_collector_by_udp_and_by_unix_socket() {
    let folder = tempfile::tempdir().unwrap();
    let r = Rules::build(settings::Guard::default());
    let (guard, _server, _) = guard(serde_json::json!({}), folder.path(), &r).await;
    let (who, reply) = (client("192.0.2.9"), Reply::new(550, "5.1.1", "No such user here"));
    let udp = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let path = folder.path().join("log");
    let unix = std::os::unix::net::UnixDatagram::bind(&path).unwrap();
    let mut buffer = [0_u8; 4096];
    let tell = |syslog: String, syslog_format| {
        guard.tend(&settings::Events { syslog, syslog_format, ..settings::Events::default() }, "gw.agency.test");
        guard.noticed(&r, &refusal(&who, Reason::Recipient, &reply));
    };
    tell(format!("udp:{}", udp.local_addr().unwrap()), SyslogFormat::Cef);
    let count = udp.recv(&mut buffer).unwrap();
    let text = String::from_utf8_lossy(&buffer[..count]).into_owned();
    assert!(
        text.starts_with("<21>1 2027-") && text.contains(" gw.agency.test luytre ") && text.contains("CEF:0|"),
        "{text}"
    );
    tell(format!("unix:{}", path.display()), SyslogFormat::Json);
    let count = unix.recv(&mut buffer).unwrap();
    let text = String::from_utf8_lossy(&buffer[..count]).into_owned();
    assert!(text.contains("refusal - {\"time\":"), "{text}");
}

#[tokio::test]
async fn rfc5782_5_a_list_that_lists_everybody_refuses_nobody_and_is_believed_when_it_is_mended() {
    let mut everything = serde_json::json!({});
    for name in ["1.2.0.192.bl.test", "1.0.0.127.bl.test", "2.0.0.127.bl.test", "1.2.0.192.worse.test"] {
        everything[name] = serde_json::json!({"A": ["127.0.0.2"]});
    }
    everything["1.0.0.127.worse.test"] = serde_json::json!({"A": ["127.255.255.254"]});
    let folder = tempfile::tempdir().unwrap();
    let r = with_lists();
    let (guard, _server, _) = guard(everything, folder.path(), &r).await;
    let from = opening("192.0.2.1", "mx.a.vn", sender("a@b.test"));
    for _ in 0..2 {
        let found = guard.sender(&r, &from, Proof::None, false).await.unwrap();
        assert_eq!((found.band(), found.rule().as_str()), (Band::Clear, "iprev"));
    }
    guard.examine_lists(&r).await;
    guard.settle().await;
    let file = std::fs::read_to_string(folder.path().join("events/2027-01-15.jsonl")).unwrap();
    let told = |zone: &str, word: &str| {
        let event = |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap();
        let is_it = |e: &serde_json::Value| e["event"] == "list" && e["rule"] == zone && e["reason"] == word;
        file.lines().map(event).filter(is_it).count()
    };
    assert_eq!((told("bl.test", "lists_everything"), told("worse.test", "refuses_us")), (1, 1), "{file}");
    assert_eq!(file.lines().count(), 2, "each is told once: {file}");
}

#[tokio::test]
async fn the_tarpit_before_mail_is_for_those_who_are_suspicious_already() {
    let folder = tempfile::tempdir().unwrap();
    let r = rules(settings::Guard {
        tarpit: Span::seconds(20),
        ban: Ban { after: 10.0, ..Ban::default() },
        entry: vec![crate::guard::tests::entry("203.0.113.0/24", settings::Action::Deny)],
        ..settings::Guard::default()
    });
    let (guard, _server, clock) = guard(serde_json::json!({}), folder.path(), &r).await;
    tokio::time::pause();
    let waited = async |who: &ClientFacts| {
        let begun = tokio::time::Instant::now();
        guard.hold_back(&r, who).await;
        begun.elapsed().as_secs()
    };
    let bad = client("192.0.2.9");
    assert_eq!(waited(&bad).await, 0);
    let reply = Reply::new(554, "5.5.0", "You spoke before the greeting");
    guard.noticed(&r, &refusal(&bad, Reason::Pregreet, &reply));
    assert_eq!(waited(&bad).await, 20, "half-way to a ban");
    assert_eq!(waited(&client("203.0.113.7")).await, 20, "denied by the operator");
    assert_eq!(waited(&client("127.0.0.1")).await, 0);
    guard.tables().fame.learn("192.0.2.10".parse().unwrap(), 4.0, clock.now());
    guard.tables().fame.learn("192.0.2.11".parse().unwrap(), 3.9, clock.now());
    assert_eq!((waited(&client("192.0.2.10")).await, waited(&client("192.0.2.11")).await), (20, 0));
    // At most so many at a time: each holds a connection of ours.
    let places = guard.0.slowed.acquire_many(u32::try_from(SLOWED).unwrap()).await.unwrap();
    assert_eq!(waited(&bad).await, 0);
    drop(places);
}

#[tokio::test]
async fn with_a_tarpit_a_client_is_looked_up_when_it_connects() {
    let names = serde_json::json!({ "1.2.0.192.bl.test": {"A": ["127.0.0.2"]} });
    let folder = tempfile::tempdir().unwrap();
    let r = Rules::build(settings::Guard { tarpit: Span::seconds(1), ..with_lists().settings });
    let (guard, _server, clock) = guard(names, folder.path(), &r).await;
    let who = client("192.0.2.1");
    assert!(guard.welcome(&r, &who).is_ok());
    let ip = who.address.ip();
    while guard.tables().fame.points(ip, clock.now()).is_none() {
        tokio::task::yield_now().await;
    }
    assert_eq!(guard.tables().fame.points(ip, clock.now()), Some(8.0), "the list and a missing name");
}

#[tokio::test]
async fn bans_and_rates_survive_a_restart_and_a_file_that_is_no_record() {
    let folder = tempfile::tempdir().unwrap();
    let rates = settings::Rates { connections: 2, ..settings::Rates::default() };
    let ban = Ban { after: 5.0, ..Ban::default() };
    let r = rules(settings::Guard { rates, ban, ..settings::Guard::default() });
    let (bad, eager) = (client("192.0.2.9"), client("192.0.2.10"));
    let reply = Reply::new(554, "5.5.0", "You spoke before the greeting");
    {
        let (guard, _server, _) = guard(serde_json::json!({}), folder.path(), &r).await;
        guard.noticed(&r, &refusal(&bad, Reason::Pregreet, &reply));
        assert!((0..2).all(|_| guard.welcome(&r, &eager).is_ok()));
        guard.settle().await;
    }
    let file = folder.path().join("guard.state");
    {
        let (guard, _server, _) = guard(serde_json::json!({}), folder.path(), &r).await;
        assert_eq!(guard.welcome(&r, &bad).unwrap_err().code(), 421, "still banned");
        assert_eq!(guard.welcome(&r, &eager).unwrap_err().cause(), "rate:connections");
        assert!(guard.welcome(&r, &client("192.0.2.11")).is_ok());
    }
    std::fs::write(&file, "ban 0.0.0.0/0 for ever\n").unwrap();
    let (guard, _server, _) = guard(serde_json::json!({}), folder.path(), &r).await;
    assert!(guard.welcome(&r, &bad).is_ok(), "what cannot be believed bans nobody");
    assert!(folder.path().join("guard.damaged").exists());
    guard.noticed(&r, &refusal(&bad, Reason::Pregreet, &reply));
    guard.settle().await;
    assert!(std::fs::read_to_string(&file).unwrap().contains("ban 192.0.2.9 "));
}

#[tokio::test]
async fn a_harvester_is_told_nothing_more_when_it_has_guessed_enough() {
    let folder = tempfile::tempdir().unwrap();
    let r = rules(settings::Guard {
        rates: settings::Rates { unknown: 2, ..settings::Rates::default() },
        ..settings::Guard::default()
    });
    let (guard, _server, _) = guard(serde_json::json!({}), folder.path(), &r).await;
    let found =
        Assessment::by_facts(&r.settings, &Facts { reverse: Reverse::Unknown, sane_helo: true, listed: Vec::new() });
    let ask = |address: &str| {
        let from = opening(address, "mx.a.vn", sender("a@b.test"));
        guard.recipient(&r, &found, &from, &Mailbox::parse("an@agency.test").unwrap(), &"so".parse().unwrap())
    };
    let unknown = Reply::new(550, "5.1.1", "No such user here");
    for _ in 0..2 {
        assert!(ask("192.0.2.9").is_ok());
        guard.noticed(&r, &refusal(&client("192.0.2.9"), Reason::Recipient, &unknown));
    }
    let reply = ask("192.0.2.9").unwrap_err();
    assert_eq!((reply.code(), reply.cause()), (450, "rate:unknown"));
    assert!(ask("192.0.2.10").is_ok());
}

#[tokio::test]
async fn rfc6647_whoever_sent_clean_mail_is_not_greylisted_later() {
    let names =
        serde_json::json!({ "1.2.0.192.bl.test": {"A": ["127.0.0.2"]}, "1.3.0.192.bl.test": {"A": ["127.0.0.2"]} });
    let folder = tempfile::tempdir().unwrap();
    let r = with_lists();
    let agency = "so".parse().unwrap();
    let to = Mailbox::parse("an@agency.test").unwrap();
    {
        let (guard, _server, _) = guard(names.clone(), folder.path(), &r).await;
        guard.found_clean(&r, "192.0.2.1".parse().unwrap(), &sender("a@b.test"));
        guard.found_clean(&r, "192.0.2.1".parse().unwrap(), &ReversePath::Null);
        assert_eq!(guard.tables().greylist.len(), 1);
        guard.settle().await;
    }
    let (guard, _server, _) = guard(names, folder.path(), &r).await;
    for (address, from, code) in [("192.0.2.1", "x@b.test", 0), ("192.0.3.1", "x@b.test", 451)] {
        let from = opening(address, "mx.a.vn", sender(from));
        let found = guard.sender(&r, &from, Proof::None, false).await.unwrap();
        assert_eq!(found.band(), Band::Suspect);
        assert_eq!(
            guard.recipient(&r, &found, &from, &to, &agency).map_or_else(|r| r.code(), |()| 0),
            code,
            "{address}"
        );
    }
}

#[test]
fn a_guard_can_be_shared() {
    fn is_shared<T: Send + Sync + Clone>() {}
    is_shared::<Guard>();
    is_shared::<Arc<Rules>>();
}
