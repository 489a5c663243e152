//! Defence before DATA on the production binary: lists, own words, greylisting, bans, events, and a DNS that is no help.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::kit::client::{Answer, Client};
use crate::kit::dns::{Dns, world};
use crate::kit::gateway::Gateway;
use crate::kit::site::{Site, letter};

const LISTS: &str = "[guard]\ntrusted = []\ndns_deadline = \"2 s\"\n{more}\n\
    [[guard.list]]\nzone = \"bl.test\"\npoints = 6.0\n[[guard.list]]\nzone = \"worse.test\"\npoints = 6.0\n\n";

fn zone(more: Value) -> Dns {
    let mut names = world();
    names.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    Dns::start(&names)
}

fn try_from(gateway: &Gateway, client: &str, from: &str, to: &str) -> Answer {
    let mut client = Client::connect_as(gateway.address("mx"), client).unwrap();
    client.say("EHLO mail.partner.example").unwrap();
    client.deliver(from, &[to], &letter("Bao cao", "Kính gửi")).unwrap()
}

/// The events so far, once `done` holds of them.
pub fn events(site: &Site, what: &str, done: impl Fn(&[Value]) -> bool) -> Vec<Value> {
    let end = Instant::now() + Duration::from_secs(60);
    loop {
        let found = read(&site.folder.path().join("data/events"));
        if done(&found) {
            return found;
        }
        assert!(Instant::now() < end, "no event: {what} in {found:#?}");
        std::thread::yield_now();
    }
}

fn read(folder: &Path) -> Vec<Value> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let files = entries.map(|entry| std::fs::read_to_string(entry.unwrap().path()).unwrap());
    files
        .flat_map(|text| text.lines().map(|l| serde_json::from_str(l).unwrap_or_default()).collect::<Vec<_>>())
        .collect()
}

#[test]
fn lists_refuse_before_data_and_postmaster_is_heard() {
    let dns = zone(json!({
        "7.2.0.192.bl.test": {"A": ["127.0.0.2"]}, "7.2.0.192.worse.test": {"A": ["127.0.0.4"]},
        "8.2.0.192.bl.test": {"A": ["203.0.113.99"]}, "8.2.0.192.worse.test": {"A": ["127.255.255.254"]},
    }));
    let site = Site::new("lists").dns(dns.address()).section(&LISTS.replace("{more}", ""));
    let gateway = site.start();
    let refused = try_from(&gateway, "192.0.2.7", "a@stranger.example", "an@agency.test");
    assert_eq!(refused.code, 550, "{refused:?}");
    assert!(refused.text.starts_with("550 5.7.1 ") && !refused.text.contains("bl.test"), "{refused:?}");
    let heard = try_from(&gateway, "192.0.2.7", "a@stranger.example", "postmaster@agency.test");
    assert_eq!(heard.code, 250, "{heard:?}");
    // A parked list and one that does not talk to our resolver say nothing.
    let clear = try_from(&gateway, "192.0.2.8", "a@stranger.example", "an@agency.test");
    assert_eq!(clear.code, 250, "{clear:?}");
    let clean = try_from(&gateway, "198.51.100.10", "ketoan@partner.example", "an@agency.test");
    assert_eq!(clean.code, 250, "{clean:?}");

    let found = events(&site, "the refusal", |e| !e.is_empty());
    let event = &found[0];
    assert_eq!((&event["event"], &event["reason"]), (&json!("refusal"), &json!("recipient")));
    assert_eq!(event["rule"], "iprev list:bl.test list:worse.test");
    assert_eq!((&event["address"], &event["port"]), (&json!("192.0.2.7"), &json!(40000)));
    assert_eq!((&event["sender"], &event["recipient"]), (&json!("a@stranger.example"), &json!("an@agency.test")));
    assert!(event["reply"].as_str().unwrap().contains("550 5.7.1") && event["id"].as_str().unwrap().len() == 26);
    assert_eq!(gateway.metric("luytre_guard_total{answer=\"refused\"}"), 2.0);
}

#[test]
fn own_entries_outweigh_lists_and_may_ask_for_proof() {
    let dns = zone(json!({
        "10.100.51.198.bl.test": {"A": ["127.0.0.2"]}, "10.100.51.198.worse.test": {"A": ["127.0.0.2"]},
        "11.100.51.198.bl.test": {"A": ["127.0.0.2"]}, "11.100.51.198.worse.test": {"A": ["127.0.0.2"]},
    }));
    let entries = "[[guard.entry]]\nwho = \"partner.example\"\naction = \"allow\"\nowner = \"it\"\nreason = \"contract\"\n\
        authenticated = true\n[[guard.entry]]\nwho = \"203.0.113.0/24\"\naction = \"deny\"\nowner = \"it\"\nreason = \"attack\"\n\
        [[guard.entry]]\nwho = \"203.0.114.0/24\"\naction = \"deny\"\nowner = \"it\"\nreason = \"old\"\nuntil = \"2020-01-01\"\n";
    let site = Site::new("entries").dns(dns.address()).section(&(LISTS.replace("{more}", "") + entries));
    let gateway = site.start();
    let ask = |client: &str, from: &str| try_from(&gateway, client, from, "an@agency.test").code;
    assert_eq!(ask("198.51.100.10", "ketoan@partner.example"), 250, "SPF says that it is the partner");
    assert_eq!(ask("198.51.100.11", "ketoan@partner.example"), 550, "anybody can write that name");
    assert_eq!(ask("203.0.113.5", "a@stranger.example"), 550);
    assert_eq!(ask("203.0.114.5", "a@stranger.example"), 250, "that entry has run out");
    events(&site, "the entry", |e| e.iter().any(|e| e["rule"] == "entry:203.0.113.0/24 (it)"));
}

#[test]
fn rfc6647_only_the_suspicious_wait_and_a_restart_forgets_nobody() {
    let dns = zone(json!({ "7.2.0.192.bl.test": {"A": ["127.0.0.2"]} }));
    let site = Site::new("grey").dns(dns.address()).section(&LISTS.replace("{more}", "greylist = \"1 s\""));
    let gateway = site.start();
    assert_eq!(try_from(&gateway, "192.0.2.8", "a@stranger.example", "an@agency.test").code, 250);
    let wait = try_from(&gateway, "192.0.2.7", "a@stranger.example", "an@agency.test");
    assert!(wait.text.starts_with("451 4.7.1 Greylisted"), "{wait:?}");
    gateway.signal(nix::sys::signal::Signal::SIGTERM);
    assert_eq!(gateway.wait(), 0);
    // Longer than the wait by the wall clock: the new process knows when the first attempt was.
    let gateway = site.start();
    let end = Instant::now() + Duration::from_secs(60);
    let mut attempts = 0;
    while try_from(&gateway, "192.0.2.77", "a@stranger.example", "an@agency.test").code != 250 {
        attempts += 1;
        assert!(Instant::now() < end, "never let in");
    }
    println!("let in after {attempts} more attempts");
    assert_eq!(gateway.metric("luytre_greylist_kept"), 1.0);
}

#[test]
fn conduct_bans_an_address_for_a_while_and_nobody_else() {
    let guard = "[guard]\ntrusted = []\ntraps = [\"ghost@agency.test\"]\n[guard.ban]\nafter = 3.0\n\n";
    let site = Site::new("ban").section(guard);
    let gateway = site.start();
    let mut harvester = Client::connect_as(gateway.address("mx"), "192.0.2.7").unwrap();
    harvester.say("EHLO mail.partner.example").unwrap();
    harvester.say("MAIL FROM:<a@stranger.example>").unwrap();
    for name in ["a1", "a2", "a3"] {
        assert!(harvester.say(&format!("RCPT TO:<{name}@agency.test>")).unwrap().text.starts_with("550 5.1.1"));
    }
    let mut again = Client::connect_as(gateway.address("mx"), "192.0.2.7");
    assert!(again.as_mut().map_or(true, |c| c.say("NOOP").is_err()), "it was sent away with the banner");
    harvester.say("RSET").unwrap();
    assert_eq!(harvester.say("MAIL FROM:<a@stranger.example>").unwrap().code, 421);

    let trap = try_from(&gateway, "192.0.2.9", "a@stranger.example", "Ghost@agency.test");
    assert!(trap.text.starts_with("550 5.1.1 No such user here"), "{trap:?}");
    assert_eq!(try_from(&gateway, "192.0.2.10", "a@stranger.example", "an@agency.test").code, 250);
    let found = events(&site, "two bans", |e| e.iter().filter(|e| e["event"] == "ban").count() == 2);
    let ban = |reason: &str| found.iter().find(|e| e["event"] == "ban" && e["reason"] == reason).cloned().unwrap();
    assert_eq!((&ban("harvesting")["address"], &ban("trap")["address"]), (&json!("192.0.2.7"), &json!("192.0.2.9")));
    assert!(found.iter().any(|e| e["reason"] == "guard" && e["reply"].as_str().unwrap().starts_with("421 4.7.0")));
    assert_eq!(gateway.metric("luytre_guard_bans_total{offence=\"trap\"}"), 1.0);
}

#[test]
fn threats_dns_that_is_dead_lies_or_floods_refuses_nobody() {
    let mut huge: Vec<String> = (0..250).map(|n| format!("203.0.113.{n}")).collect();
    huge.extend((0..250).map(|n| format!("198.18.0.{n}")));
    let mut names = json!({ "8.2.0.192.bl.test": {"A": huge}, "8.2.0.192.worse.test": {"A": ["198.18.0.1"]} });
    for name in ["7.2.0.192.bl.test", "7.2.0.192.worse.test", "7.2.0.192.in-addr.arpa"] {
        names[name] = json!({ "rcode": "TIMEOUT" });
    }
    let dns = zone(names);
    let site = Site::new("dnsless").dns(dns.address()).section(&LISTS.replace("{more}", ""));
    let gateway = site.start();
    for client in ["192.0.2.7", "192.0.2.8"] {
        let mut talk = Client::connect_as(gateway.address("mx"), client).unwrap();
        talk.say("EHLO mail.partner.example").unwrap();
        let begun = Instant::now();
        assert_eq!(talk.say("MAIL FROM:<a@stranger.example>").unwrap().code, 250, "{client}");
        assert_eq!(talk.say("RCPT TO:<an@agency.test>").unwrap().code, 250, "{client}");
        println!("{client}: answered after {:?}", begun.elapsed());
    }
}

#[test]
fn domain_r10_r17_failed_handshakes_and_sudden_senders_are_events() {
    let site = Site::new("silent-events").relay();
    let pair = crate::talk::certificate(site.folder.path());
    let tls =
        format!("tls = {{ certificate = \"{}\", key = \"{}\" }}\n", pair.certificate.display(), pair.key.display());
    let site = site.listeners(&format!(
        "[[listener]]\naddress = \"127.0.0.1:0\"\nrole = \"mx\"\n{tls}\n[[listener]]\naddress = \"127.0.0.2:0\"\nrole = \"relay\"\n\n"
    ));
    let gateway = site.start();
    // More than become events in an hour.
    for _ in 0..15 {
        let mut client = Client::connect(gateway.address("mx")).unwrap();
        client.say("EHLO mail.partner.example").unwrap();
        assert_eq!(client.say("STARTTLS").unwrap().code, 220);
        assert!(client.say("EHLO mail.partner.example").is_err(), "that is no handshake");
    }
    let mut infected = Client::connect(gateway.address("relay")).unwrap();
    infected.say("EHLO pc7.agency.test").unwrap();
    assert_eq!(infected.say("MAIL FROM:<an@agency.test>").unwrap().code, 250);
    for n in 0..60 {
        assert_eq!(infected.say(&format!("RCPT TO:<u{n}@outside.example>")).unwrap().code, 250);
    }
    let is = |event: &Value, kind: &str| event["event"] == kind;
    let found = events(&site, "the sudden sender", |e| e.iter().any(|e| is(e, "sudden")));
    let failed: Vec<&Value> = found.iter().filter(|e| is(e, "tls")).collect();
    assert_eq!(failed.len(), 10, "{found:#?}");
    for event in failed {
        assert_eq!((&event["reason"], &event["address"]), (&json!("protocol"), &json!("127.0.0.1")));
        assert_eq!((&event["listener"], &event["reply"]), (&json!("mx"), &json!("")));
        assert!(event["port"].as_u64().unwrap() > 0 && !event["rule"].as_str().unwrap().is_empty());
    }
    let sudden: Vec<&Value> = found.iter().filter(|e| is(e, "sudden")).collect();
    assert_eq!(sudden.len(), 1);
    assert_eq!((&sudden[0]["account"], &sudden[0]["rule"]), (&json!("127.0.0.1"), &json!("agency:so-tttt")));
    assert_eq!((&sudden[0]["sender"], &sudden[0]["listener"]), (&json!("an@agency.test"), &json!("relay")));
    assert_eq!(gateway.metric("luytre_tls_handshakes_failed_total{cause=\"protocol\"}"), 15.0);
}
