//! The resolver against our own zone server, over real sockets on loopback.

use std::net::{Ipv4Addr, SocketAddr};

use super::zone::{Data, Server, Trouble, Zone};
use super::*;

fn zone() -> Zone {
    let mut zone = Zone::from_json(
        r#"{"default": "NXDOMAIN", "names": {
            "a.example": {"A": ["192.0.2.1", "192.0.2.2"], "AAAA": ["2001:db8::1"], "TXT": ["one", ["tw", "o"]]},
            "mail.example": {"MX": [[20, "b.example"], [10, "A.example."]]},
            "alias.example": {"CNAME": "a.example"},
            "1.2.0.192.in-addr.arpa": {"PTR": ["A.example"]},
            "fail.example": {"rcode": "SERVFAIL"},
            "silent.example": {"A": ["192.0.2.9"], "rcode": "TIMEOUT"},
            "_25._tcp.a.example": {"TLSA": [[3, 1, 1, "00ff"]]}
        }}"#,
    )
    .unwrap();
    zone.add_text("long.example", &"x".repeat(3000));
    zone
}

async fn start(zone: Zone) -> (Server, Dns) {
    let server = Server::start(zone, SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await.unwrap();
    let options = Options { servers: vec![server.address()], timeout: Span::millis(600), ..Options::default() };
    (server, Dns::new(&options).unwrap())
}

#[tokio::test]
async fn records_of_every_kind_come_back() {
    let (_server, dns) = start(zone()).await;
    assert_eq!(dns.txt("A.Example.").await.unwrap(), ["one", "two"]);
    let mx = dns.mx("mail.example").await.unwrap();
    assert_eq!(mx.iter().map(|m| m.host.as_str()).collect::<Vec<_>>(), ["a.example", "b.example"]);
    assert_eq!(dns.addresses("a.example").await.unwrap().len(), 3);
    assert_eq!(dns.ipv4("alias.example").await.unwrap().len(), 2);
    assert_eq!(dns.names("192.0.2.1".parse().unwrap()).await.unwrap(), ["a.example"]);
    assert_eq!(dns.tlsa("_25._tcp.a.example").await.unwrap(), [[3, 1, 1, 0, 255]]);
}

#[tokio::test]
async fn void_and_failure_are_told_apart() {
    let (_server, dns) = start(zone()).await;
    assert_eq!(dns.txt("b.example").await, Err(DnsError::NoSuchName("b.example".into())));
    assert_eq!(dns.mx("a.example").await, Err(DnsError::NoRecords("a.example".into())));
    assert!(matches!(dns.txt("fail.example").await, Err(DnsError::Failed(..))));
    assert!(matches!(dns.txt("silent.example").await, Err(DnsError::Failed(..))));
    assert!(dns.ipv4("silent.example").await.is_ok());
    assert!(dns.exists("a.example").await.unwrap());
    assert!(!dns.exists("b.example").await.unwrap());
}

#[tokio::test]
async fn rfc1035_4_2_1_truncated_answers_are_fetched_by_tcp() {
    let (_server, dns) = start(zone()).await;
    assert_eq!(dns.txt("long.example").await.unwrap(), ["x".repeat(3000)]);
}

#[tokio::test]
async fn a_question_is_asked_once() {
    let (server, dns) = start(zone()).await;
    let (a, b, c) = tokio::join!(dns.txt("a.example"), dns.txt("a.example"), dns.txt("A.EXAMPLE"));
    assert!(a.is_ok() && a == b && b == c);
    dns.txt("a.example").await.unwrap();
    dns.txt("none.example").await.unwrap_err();
    dns.txt("none.example").await.unwrap_err();
    assert_eq!(server.queries(), 2, "one for the answer, one for the name that is not there");
}

#[tokio::test]
async fn names_that_fit_no_query_do_not_exist() {
    let (server, dns) = start(zone()).await;
    for name in ["", "a..example", &format!("{}.example", "x".repeat(64)), &"abcdefg.".repeat(40)] {
        assert!(matches!(dns.txt(name).await, Err(DnsError::NoSuchName(_))), "{name}");
    }
    assert_eq!(server.queries(), 0);
}

#[tokio::test]
async fn a_message_has_a_budget_and_the_cache_is_free() {
    let (server, dns) = start(zone()).await;
    let message = dns.for_message(2, Span::seconds(30));
    for _ in 0..3 {
        message.txt("a.example").await.unwrap();
    }
    message.mx("mail.example").await.unwrap();
    assert_eq!(message.txt("other.example").await, Err(DnsError::Budget));
    assert_eq!((message.spent(), server.queries()), (2, 2));
    assert!(dns.txt("other.example").await.is_err_and(|e| e.is_void()), "others are not touched");
}

#[tokio::test]
async fn a_message_without_time_left_waits_for_nothing() {
    let (_server, dns) = start(zone()).await;
    let message = dns.for_message(10, Span::ZERO);
    assert!(matches!(message.txt("silent.example").await, Err(DnsError::Failed(..))));
}

#[tokio::test]
async fn silence_of_the_servers_is_noticed_but_broken_zones_are_not() {
    let mut zone = zone();
    for i in 0..10 {
        zone.trouble(&format!("s{i}.example"), Trouble::ServFail);
        zone.trouble(&format!("t{i}.example"), Trouble::Timeout);
    }
    let (_server, dns) = start(zone).await;
    for i in 0..10 {
        dns.txt(&format!("s{i}.example")).await.unwrap_err();
    }
    assert!(!dns.is_degraded());
    let asks = (0..10).map(|i| {
        let dns = dns.clone();
        tokio::spawn(async move { dns.txt(&format!("t{i}.example")).await })
    });
    for ask in asks.collect::<Vec<_>>() {
        ask.await.unwrap().unwrap_err();
    }
    dns.txt("t0.example").await.unwrap_err();
    assert!(!dns.is_degraded(), "ten of twenty are not more than half");
    dns.forget();
    dns.txt("t0.example").await.unwrap_err();
    assert!(dns.is_degraded());
}

#[tokio::test]
async fn a_zone_can_be_changed_under_a_running_server() {
    let (server, dns) = start(Zone::default()).await;
    assert!(dns.ipv4("new.example").await.is_err());
    let mut changed = Zone::default();
    changed.add("new.example", Data::A(Ipv4Addr::LOCALHOST));
    server.set(changed);
    dns.forget();
    assert_eq!(dns.ipv4("new.example").await.unwrap(), [Ipv4Addr::LOCALHOST]);
}

#[test]
fn zone_files_with_mistakes_are_refused() {
    for text in
        ["", "{}", r#"{"names":{"a":{"A":["x"]}}}"#, r#"{"names":{"a":{"rcode":"NO"}}}"#, r#"{"names":{"a":1}}"#]
    {
        assert!(Zone::from_json(text).is_err(), "{text}");
    }
}

#[test]
fn reverse_names_follow_rfc1035_3_5_and_rfc3596_2_5() {
    assert_eq!(answer::reverse_name("192.0.2.1".parse().unwrap()), "1.2.0.192.in-addr.arpa");
    assert_eq!(answer::reverse_name("::ffff:192.0.2.1".parse().unwrap()), "1.2.0.192.in-addr.arpa");
    let v6 = answer::reverse_name("2001:db8::1".parse().unwrap());
    assert!(v6.starts_with("1.0.0.0.") && v6.ends_with(".8.b.d.0.1.0.0.2.ip6.arpa"), "{v6}");
}
