//! Small cases; the whole suite of RFC 7208 runs in the integration test.

use std::net::{Ipv4Addr, SocketAddr};

use super::*;
use crate::env::dns::zone::{Server, Zone};
use crate::env::dns::{Dns, Options};
use crate::mail::Span;

const ZONE: &str = r#"{"names": {
    "ok.example": {"TXT": ["hello", "v=spf1 ip4:192.0.2.0/24 -all"]},
    "two.example": {"TXT": ["v=spf1 ip4:192.0.2.10 -all", "v=spf1 +all"]},
    "void.example": {"TXT": ["v=spf1 a:v1.example a:v2.example a:v3.example ip4:192.0.2.10 -all"]},
    "void2.example": {"TXT": ["v=spf1 a:v1.example a:v2.example ip4:192.0.2.10 -all"]},
    "loop.example": {"TXT": ["v=spf1 include:loop.example -all"]},
    "open.example": {"TXT": ["v=spf1 +all"]},
    "opener.example": {"TXT": ["v=spf1 include:open.example -all"]},
    "wide.example": {"TXT": ["v=spf1 ip4:128.0.0.0/2 ip4:192.0.0.0/8 -all"]},
    "sum.example": {"TXT": ["v=spf1 ip4:10.0.0.0/9 ip4:192.0.0.0/9 ip4:203.0.0.0/10 -all"]},
    "fail.example": {"rcode": "SERVFAIL"},
    "failing.example": {"TXT": ["v=spf1 include:fail.example +all"]},
    "exp.example": {"TXT": ["v=spf1 -all exp=why.example"]},
    "why.example": {"TXT": ["no\r\n250 OK \u001b[31m%{i}"]},
    "mx.example": {"TXT": ["v=spf1 mx -all"], "MX": [[1, "m1.example"], [2, "m2.example"]]},
    "m1.example": {"AAAA": ["2001:db8::1"]},
    "m2.example": {"A": ["192.0.2.10"]}
}}"#;

async fn ask(domain: &str, ip: &str) -> Outcome {
    let zone = Zone::from_json(ZONE).unwrap();
    let server = Server::start(zone, SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await.unwrap();
    let options = Options { servers: vec![server.address()], timeout: Span::seconds(2), ..Options::default() };
    let dns = Dns::new(&options).unwrap();
    let sender = format!("news@{domain}");
    let query = Query { ip: ip.parse().unwrap(), helo: "mx.example", sender: &sender, domain, now: 0 };
    check(&dns, query).await
}

#[tokio::test]
async fn rfc7208_results_of_plain_records() {
    assert_eq!(ask("ok.example", "192.0.2.77").await.result, AuthResult::Pass);
    assert_eq!(ask("ok.example", "::ffff:192.0.2.77").await.result, AuthResult::Pass);
    assert_eq!(ask("ok.example", "198.51.100.1").await.result, AuthResult::Fail);
    assert_eq!(ask("nothing.example", "192.0.2.77").await.result, AuthResult::None);
    assert_eq!(ask("example", "192.0.2.77").await.result, AuthResult::None);
    assert_eq!(ask("[192.0.2.77]", "192.0.2.77").await.result, AuthResult::None);
    assert_eq!(ask("mx.example", "192.0.2.10").await.result, AuthResult::Pass);
}

#[tokio::test]
async fn rfc7208_4_5_two_records_are_a_permerror() {
    assert_eq!(ask("two.example", "192.0.2.10").await.result, AuthResult::PermError);
}

#[tokio::test]
async fn rfc7208_4_6_4_the_third_void_look_up_is_a_permerror() {
    assert_eq!(ask("void.example", "192.0.2.10").await.result, AuthResult::PermError);
    assert_eq!(ask("void2.example", "192.0.2.10").await.result, AuthResult::Pass);
}

#[tokio::test]
async fn rfc7208_4_6_4_a_loop_ends_at_ten_look_ups() {
    let outcome = ask("loop.example", "192.0.2.10").await;
    assert_eq!(outcome.result, AuthResult::PermError);
    assert!(outcome.detail.contains("10 DNS look-ups"), "{}", outcome.detail);
}

#[tokio::test]
async fn rfc7208_5_2_what_cannot_be_looked_up_is_a_temperror() {
    assert_eq!(ask("failing.example", "192.0.2.10").await.result, AuthResult::TempError);
    assert_eq!(ask("fail.example", "192.0.2.10").await.result, AuthResult::TempError);
}

#[tokio::test]
async fn a_pass_for_everybody_is_marked() {
    for domain in ["open.example", "opener.example", "wide.example", "sum.example"] {
        let outcome = ask(domain, "192.0.2.10").await;
        assert!(outcome.result == AuthResult::Pass && outcome.permissive, "{domain}: {outcome:?}");
    }
    assert!(!ask("ok.example", "192.0.2.10").await.permissive);
}

#[tokio::test]
async fn rfc7208_6_2_explanations_lose_their_controls() {
    let outcome = ask("exp.example", "192.0.2.10").await;
    assert_eq!(outcome.explanation.unwrap(), "no250 OK [31m192.0.2.10");
}
