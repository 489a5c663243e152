//! Policy discovery and alignment on small zones; the published vectors run in the integration test.

use std::net::{Ipv4Addr, SocketAddr};

use super::*;
use crate::env::dns::Options;
use crate::env::dns::zone::{Server, Zone};

const ZONE: &str = r#"{"names": {
    "_dmarc.one.example": {"TXT": ["v=DMARC1; p=reject; sp=quarantine; np=reject"]},
    "there.one.example": {"A": ["192.0.2.1"]},
    "_dmarc.two.example": {"TXT": ["v=DMARC1; p=reject", "v=DMARC1; p=none"]},
    "_dmarc.test.example": {"TXT": ["v=DMARC1; p=reject; t=y"]},
    "_dmarc.strict.example": {"TXT": ["v=DMARC1; p=reject; adkim=s; aspf=s"]},
    "_dmarc.gov.example": {"TXT": ["v=DMARC1; p=reject; psd=y"]},
    "_dmarc.sub.cut.example": {"TXT": ["v=DMARC1; p=reject; psd=n"]},
    "_dmarc.cut.example": {"TXT": ["v=DMARC1; p=none"]},
    "_dmarc.fail.example": {"rcode": "SERVFAIL"},
    "_dmarc.noted.example": {"TXT": ["hello", "v=DMARC1; p=quarantine"]}
}}"#;

async fn judge(author: &str, proofs: Proofs<'_>) -> (DmarcFact, u64) {
    let zone = Zone::from_json(ZONE).unwrap();
    let server = Server::start(zone, SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await.unwrap();
    let dns = Dns::new(&Options { servers: vec![server.address()], ..Options::default() }).unwrap();
    let discovered = discover(&dns, &Domain::parse(author).unwrap()).await;
    (evaluate(&dns, discovered, &proofs).await, server.queries())
}

async fn policy(author: &str) -> (AuthResult, DmarcPolicy) {
    let (fact, _) = judge(author, Proofs::default()).await;
    (fact.result, fact.policy)
}

async fn passes(author: &str, signer: &str) -> bool {
    judge(author, Proofs { dkim: vec![signer], ..Proofs::default() }).await.0.result == AuthResult::Pass
}

#[tokio::test]
async fn rfc9989_4_10_1_the_policy_of_a_name_its_sub_domains_and_names_that_do_not_exist() {
    assert_eq!(policy("one.example").await, (AuthResult::Fail, DmarcPolicy::Reject));
    assert_eq!(policy("there.one.example").await, (AuthResult::Fail, DmarcPolicy::Quarantine));
    assert_eq!(policy("nowhere.one.example").await, (AuthResult::Fail, DmarcPolicy::Reject));
    assert_eq!(policy("test.example").await, (AuthResult::Fail, DmarcPolicy::Quarantine));
    assert_eq!(policy("noted.example").await, (AuthResult::Fail, DmarcPolicy::Quarantine));
}

#[tokio::test]
async fn rfc9989_4_10_two_records_are_none() {
    assert_eq!(policy("two.example").await.0, AuthResult::None);
}

#[tokio::test]
async fn rfc9989_4_4_alignment() {
    assert!(passes("one.example", "one.example").await);
    assert!(passes("one.example", "mail.one.example").await);
    assert!(passes("mail.one.example", "one.example").await);
    assert!(passes("a.one.example", "b.one.example").await);
    assert!(!passes("one.example", "one.example.attacker.test").await);
    assert!(!passes("one.example", "example").await);
    assert!(passes("strict.example", "strict.example").await);
    assert!(!passes("strict.example", "mail.strict.example").await);
}

#[tokio::test]
async fn rfc9989_4_10_2_public_suffixes_and_cuts_bound_the_organisation() {
    assert!(!passes("a.gov.example", "b.gov.example").await, "two agencies under one public suffix");
    assert!(passes("mail.a.gov.example", "a.gov.example").await);
    assert_eq!(policy("a.gov.example").await.1, DmarcPolicy::Reject, "the suffix's own policy protects it");
    assert!(!passes("sub.cut.example", "cut.example").await);
    assert!(!passes("cut.example", "sub.cut.example").await);
}

#[tokio::test]
async fn a_policy_that_cannot_be_had_makes_the_message_wait() {
    let (fact, _) = judge("fail.example", Proofs { dkim: vec!["fail.example"], ..Proofs::default() }).await;
    assert_eq!((fact.result, fact.must_wait), (AuthResult::TempError, true));
    let (fact, _) = judge("mail.fail.example", Proofs::default()).await;
    assert_eq!((fact.result, fact.must_wait), (AuthResult::TempError, true));
}

#[tokio::test]
async fn forty_labels_cost_eight_questions() {
    let author = format!("{}nothing.example", "a.".repeat(40));
    let (fact, queries) = judge(&author, Proofs::default()).await;
    assert_eq!((fact.result, queries), (AuthResult::None, 8));
}
