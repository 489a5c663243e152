//! Whole messages against a local zone: what the verdict is told of honest and of forged mail.

use std::net::{Ipv4Addr, SocketAddr};

use mail_auth::AuthenticatedMessage;
use mail_auth::arc::ArcSealer;
use mail_auth::common::crypto::{Ed25519Key, SigningKey};
use mail_auth::common::headers::HeaderWriter;
use mail_auth::dkim::DkimSigner;
use mail_auth::{ArcOutput, AuthenticationResults};

use super::*;
use crate::env::Clock;
use crate::env::dns::Options;
use crate::env::dns::zone::{Server, Zone};
use crate::inspect::case::DmarcPolicy;
use crate::mail::Span;

const MAIL: &str = "From: An <an@sender.example>\r\nTo: x@agency.test\r\nSubject: hello\r\n\r\nXin chao.\r\n";
const SEED: [u8; 32] = *b"\x9d\x61\xb1\x9d\xef\xfd\x5a\x60\xba\x84\x4a\xf4\x92\xec\x2c\xc4\x44\x49\xc5\x69\x7b\x32\x69\x19\x70\x3b\xac\x03\x1c\xae\x7f\x60";

/// The key pair of RFC 8463 §A.2.
fn key() -> Ed25519Key {
    use base64::Engine as _;
    let public = base64::engine::general_purpose::STANDARD.decode(PUBLIC).unwrap();
    Ed25519Key::from_seed_and_public_key(&SEED, &public).unwrap()
}
const PUBLIC: &str = "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";

fn zone() -> Zone {
    let mut zone = Zone::from_json(
        r#"{"names": {
            "sender.example": {"TXT": ["v=spf1 ip4:192.0.2.10 -all"]},
            "_dmarc.sender.example": {"TXT": ["v=DMARC1; p=reject"]},
            "mx.sender.example": {"A": ["192.0.2.10"], "TXT": ["v=spf1 a -all"]},
            "10.2.0.192.in-addr.arpa": {"PTR": ["mx.sender.example"]},
            "66.2.0.192.in-addr.arpa": {"PTR": ["mx.sender.example"]},
            "attacker.example": {"TXT": ["v=spf1 ip4:192.0.2.66 -all"]},
            "open.example": {"TXT": ["v=spf1 +all"]},
            "_dmarc.open.example": {"TXT": ["v=DMARC1; p=reject"]},
            "_dmarc.broken.example": {"rcode": "SERVFAIL"},
            "_dmarc.soft.example": {"TXT": ["v=DMARC1; p=quarantine"]},
            "late.example": {"rcode": "SERVFAIL"},
            "_dmarc.late.example": {"TXT": ["v=DMARC1; p=reject"]}
        }}"#,
    )
    .unwrap();
    zone.add_text("s1._domainkey.sender.example", &format!("v=DKIM1; k=ed25519; p={PUBLIC}"));
    zone
}

/// A message with its envelope; the defaults are honest.
struct Case {
    ip: &'static str,
    sender: &'static str,
    own: &'static [&'static str],
    trusted: bool,
    settings: Settings,
    later: Span,
}

impl Default for Case {
    fn default() -> Self {
        Self {
            ip: "192.0.2.10",
            sender: "an@sender.example",
            own: &[],
            trusted: false,
            settings: Settings::default(),
            later: Span::ZERO,
        }
    }
}

impl Case {
    fn stranger() -> Self {
        Self { ip: "192.0.2.66", sender: "x@attacker.example", ..Self::default() }
    }
    async fn examine(&self, raw: &[u8]) -> (AuthReport, u64) {
        let server = Server::start(zone(), SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await.unwrap();
        let options = Options { servers: vec![server.address()], ..Options::default() };
        let dns = Dns::new(&options).unwrap();
        let sender = match self.sender {
            "" => ReversePath::Null,
            text => ReversePath::Mailbox(text.parse().unwrap()),
        };
        let recipient = Mailbox::parse("x@agency.test").unwrap();
        let own: Vec<Domain> = self.own.iter().map(|d| Domain::parse(d).unwrap()).collect();
        let subject = Subject {
            client: self.ip.parse().unwrap(),
            helo: "mx.sender.example",
            sender: &sender,
            recipients: &[&recipient],
            raw,
            own_domains: &own,
            trusted: self.trusted,
        };
        let report = examine(&dns, subject, &self.settings, Clock::system().now() + self.later).await;
        (report, server.queries())
    }
    async fn codes(&self, raw: &[u8]) -> Vec<String> {
        self.examine(raw).await.0.findings.into_iter().map(|f| f.code.into_owned()).collect()
    }
}

/// `raw` with a signature of sender.example on top.
fn signed(raw: &str, headers: &[&str], expires_in: u64, with_length: bool) -> String {
    let signer = DkimSigner::from_key(key()).domain("sender.example").selector("s1").headers(headers.iter().copied());
    let signer = if expires_in > 0 { signer.expiration(expires_in) } else { signer };
    let signature = signer.body_length(with_length).sign(raw.as_bytes()).unwrap();
    format!("{}{raw}", signature.to_header())
}

fn has(codes: &[String], wanted: &str) -> bool {
    codes.iter().any(|code| code == wanted)
}

#[tokio::test]
async fn honest_mail_passes_everything() {
    let raw = signed(MAIL, &["From", "To", "Subject"], 0, false);
    let (report, queries) = Case::default().examine(raw.as_bytes()).await;
    let facts = &report.facts;
    let results = [facts.spf, facts.spf_helo, facts.dkim_result(), facts.dmarc.result, facts.iprev];
    assert_eq!(results, [AuthResult::Pass; 5], "{facts:?}");
    assert_eq!(facts.iprev_name.as_deref(), Some("mx.sender.example"));
    assert_eq!(facts.dkim.first().map(|d| d.selector.as_str()), Some("s1"));
    assert!(facts.dmarc.spf_aligned && facts.dmarc.dkim_aligned);
    assert!(queries <= 10, "{queries} questions");
    let codes: Vec<_> = report.findings.iter().map(|f| f.code.as_ref()).collect();
    assert_eq!(codes, ["spf.pass", "dkim.pass", "iprev.pass", "dmarc.pass"]);
}

#[tokio::test]
async fn a_forged_from_of_a_reject_domain_is_told() {
    let (report, _) = Case::stranger().examine(MAIL.as_bytes()).await;
    assert_eq!((report.facts.spf, report.facts.dmarc.result), (AuthResult::Pass, AuthResult::Fail));
    assert_eq!(report.facts.iprev, AuthResult::Fail);
    let codes: Vec<_> = report.findings.iter().map(|f| f.code.as_ref()).collect();
    assert!(codes.contains(&"dmarc.reject") && codes.contains(&"dkim.none"), "{codes:?}");
}

#[tokio::test]
async fn a_signature_survives_a_stranger_and_dies_by_a_change() {
    let raw = signed(MAIL, &["From", "To", "Subject"], 0, false);
    assert!(has(&Case::stranger().codes(raw.as_bytes()).await, "dmarc.pass"), "forwarding keeps DKIM");
    for (old, new) in [("Xin chao", "Xin chaos"), ("hello", "Hello!"), ("An <", "Ban <")] {
        let codes = Case::stranger().codes(raw.replace(old, new).as_bytes()).await;
        assert!(has(&codes, "dkim.fail") && has(&codes, "dmarc.reject"), "{new}: {codes:?}");
    }
}

#[tokio::test]
async fn rfc6376_6_1_1_a_signature_without_from_is_a_permerror() {
    let raw = signed(MAIL, &["To", "Subject"], 0, false);
    let codes = Case::stranger().codes(raw.as_bytes()).await;
    assert!(has(&codes, "dkim.permerror") && has(&codes, "dmarc.reject"), "{codes:?}");
}

#[tokio::test]
async fn a_signature_with_a_length_is_not_used() {
    let raw = signed(MAIL, &["From", "To", "Subject"], 0, true) + "appended\r\n";
    let codes = Case::stranger().codes(raw.as_bytes()).await;
    assert!(has(&codes, "dkim.length-limited") && has(&codes, "dmarc.reject"), "{codes:?}");
}

#[tokio::test]
async fn signatures_run_out_and_do_not_come_from_the_future() {
    let raw = signed(MAIL, &["From"], 3600, false);
    let late = Case { later: Span::hours(2), ..Case::stranger() };
    assert!(has(&late.codes(raw.as_bytes()).await, "dkim.fail"));
    let old = Case { later: Span::days(8), ..Case::stranger() };
    let raw = signed(MAIL, &["From"], 0, false);
    let codes = old.codes(raw.as_bytes()).await;
    assert!(has(&codes, "dkim.old") && !has(&codes, "dkim.replay-suspect"), "the recipient stands in To: {codes:?}");
    let raw = signed(&MAIL.replace("x@agency.test", "y@list.example"), &["From"], 0, false);
    assert!(has(&old.codes(raw.as_bytes()).await, "dkim.replay-suspect"));
    let letter = raw.replace("t=1", "t=4");
    assert!(has(&Case::stranger().codes(letter.as_bytes()).await, "dkim.fail"));
}

#[tokio::test]
async fn own_domains_are_reject_for_strangers_whatever_they_publish() {
    let raw = MAIL.replace("sender.example", "so.agency.test");
    let spoof = Case { own: &["agency.test"], ..Case::stranger() };
    let codes = spoof.codes(raw.as_bytes()).await;
    assert!(has(&codes, "from.own-domain") && has(&codes, "dmarc.none"), "{codes:?}");
    let ours = Case { own: &["agency.test"], trusted: true, ..Case::stranger() };
    assert!(!has(&ours.codes(raw.as_bytes()).await, "from.own-domain"));
    let sender = Case { own: &["agency.test"], sender: "an@agency.test", ..Case::stranger() };
    assert!(has(&sender.codes(MAIL.as_bytes()).await, "sender.own-domain"));
    // Hidden in a From that nobody can read for sure.
    let two = format!("From: x@attacker.example\r\n{raw}");
    let codes = spoof.codes(two.as_bytes()).await;
    assert!(has(&codes, "from.own-domain") && has(&codes, "from.multiple"), "{codes:?}");
}

#[tokio::test]
async fn what_dns_does_not_tell_waits_where_a_reject_policy_may_hide() {
    let raw = MAIL.replace("sender.example", "broken.example");
    let (report, _) = Case::stranger().examine(raw.as_bytes()).await;
    assert_eq!(report.facts.dmarc.result, AuthResult::TempError);
    assert!(report.facts.dmarc.must_wait && report.findings.iter().any(|f| f.code == "dmarc.wait"));
    // The policy is known, SPF of the author's own domain is not.
    let late = Case { sender: "an@late.example", ..Case::stranger() };
    let codes = late.codes(MAIL.replace("sender.example", "late.example").as_bytes()).await;
    assert!(has(&codes, "spf.temperror") && has(&codes, "dmarc.wait"), "{codes:?}");
    // An unaligned domain that cannot be looked up changes nothing.
    let codes = late.codes(MAIL.as_bytes()).await;
    assert!(has(&codes, "dmarc.reject") && !has(&codes, "dmarc.wait"), "{codes:?}");
}

#[tokio::test]
async fn a_pass_that_everybody_gets_vouches_for_nothing() {
    let open = Case { sender: "an@open.example", ..Case::stranger() };
    let (report, _) = open.examine(MAIL.replace("sender.example", "open.example").as_bytes()).await;
    assert_eq!(report.facts.dmarc.result, AuthResult::Pass);
    assert!(!report.facts.vouches_for(&ReversePath::Mailbox("an@open.example".parse().unwrap())));
    assert!(report.findings.iter().any(|f| f.code == "spf.weak-pass"));
}

#[tokio::test]
async fn the_milder_policy_is_told_as_such() {
    let (report, _) = Case::stranger().examine(MAIL.replace("sender.example", "soft.example").as_bytes()).await;
    assert_eq!(report.facts.dmarc.policy, DmarcPolicy::Quarantine);
    assert!(report.findings.iter().any(|f| f.code == "dmarc.quarantine"));
}

#[tokio::test]
async fn forty_signatures_cost_eight_keys_and_the_authors_own_is_among_them() {
    let junk =
        |i: usize| format!("DKIM-Signature: v=1; a=ed25519-sha256; d=d{i}.example; s=s; h=from; bh=AAAA; b=AAAA\r\n");
    let raw = (0..39).map(junk).collect::<String>() + &signed(MAIL, &["From"], 0, false);
    let (report, queries) = Case::stranger().examine(raw.as_bytes()).await;
    assert_eq!((report.facts.dkim.len(), report.facts.dkim_result()), (8, AuthResult::Pass));
    assert!(report.findings.iter().any(|f| f.code == "dkim.too-many"));
    assert!(queries <= 40, "{queries}");
}

#[tokio::test]
async fn the_budget_of_questions_is_held_and_never_makes_a_pass() {
    let settings = Settings { dns_queries: 1, ..Settings::default() };
    let case = Case { settings, ..Case::default() };
    let (report, queries) = case.examine(MAIL.as_bytes()).await;
    assert_eq!(queries, 1, "the policy of the author");
    assert_ne!(report.facts.dmarc.result, AuthResult::Pass);
    assert!(report.facts.dmarc.must_wait, "SPF of the author is not known and the policy is reject");
}

#[tokio::test]
async fn from_that_cannot_be_read_never_passes() {
    for from in
        ["From: a@x.vn, b@y.vn\r\n", "", "From: a@[192.0.2.1]\r\n", "From : a@sender.example\r\nFrom: a@y.vn\r\n"]
    {
        let (report, _) = Case::default().examine(format!("{from}To: x@agency.test\r\n\r\n").as_bytes()).await;
        assert_eq!(report.facts.dmarc.result, AuthResult::Fail, "{from}");
        assert!(report.facts.from.is_none());
        assert!(report.findings.iter().any(|f| f.code.starts_with("from.")));
    }
}

#[tokio::test]
async fn a_null_sender_is_judged_by_helo() {
    let (report, _) = Case { sender: "", ..Case::default() }.examine(MAIL.as_bytes()).await;
    assert_eq!(report.facts.spf_domain.as_deref(), Some("mx.sender.example"));
    assert_eq!((report.facts.spf, report.facts.spf_helo), (AuthResult::Pass, AuthResult::Pass));
    assert_eq!(report.facts.dmarc.result, AuthResult::Pass, "mx.sender.example aligns in relaxed mode");
}

/// One more ARC set on top of `raw`.
fn sealed(raw: &str, chain: &ArcOutput<'_>) -> String {
    let message = AuthenticatedMessage::parse(raw.as_bytes()).unwrap();
    let results = AuthenticationResults::new("list.example");
    let sealer = ArcSealer::from_key(key()).domain("sender.example").selector("s1").headers(["From", "Subject"]);
    let set = sealer.seal(&message, &results, chain).unwrap();
    format!("{}{raw}", set.to_header())
}

#[tokio::test]
async fn rfc8617_a_chain_is_verified_and_its_breaks_are_seen() {
    assert_eq!(key().algorithm(), mail_auth::common::crypto::Algorithm::Ed25519Sha256);
    let one = sealed(MAIL, &ArcOutput::default());
    let (report, _) = Case::stranger().examine(one.as_bytes()).await;
    assert_eq!(report.facts.arc, AuthResult::Pass, "{}", report.facts.arc_detail);
    assert_eq!(report.facts.dmarc.result, AuthResult::Fail, "no policy is built on ARC");
    for (old, new) in
        [("Xin", "Xon"), ("cv=none", "cv=pass"), ("i=1", "i=2"), ("ARC-Seal", "X-Seal"), ("list.e", "lost.e")]
    {
        let (report, _) = Case::stranger().examine(one.replacen(old, new, 1).as_bytes()).await;
        assert_eq!(report.facts.arc, AuthResult::Fail, "{old} -> {new}");
    }
}

#[tokio::test]
async fn rfc8617_more_than_fifty_sets_fail_without_a_question() {
    let junk = "ARC-Seal: i=1; a=rsa-sha256; cv=none; d=a.example; s=s; b=AAAA\r\n\
        ARC-Message-Signature: i=1; a=rsa-sha256; d=a.example; s=s; h=from; bh=AAAA; b=AAAA\r\n\
        ARC-Authentication-Results: i=1; a.example; none\r\n";
    let raw = (1..=60).map(|i| junk.replace("i=1", &format!("i={i}"))).collect::<String>() + MAIL;
    let (report, with) = Case::stranger().examine(raw.as_bytes()).await;
    let (_, without) = Case::stranger().examine(MAIL.as_bytes()).await;
    assert_eq!((report.facts.arc, with), (AuthResult::Fail, without));
}

#[tokio::test]
async fn a_message_that_broke_its_reader_never_passes() {
    let server = Server::start(zone(), SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await.unwrap();
    let dns = Dns::new(&Options { servers: vec![server.address()], ..Options::default() }).unwrap();
    let sender = ReversePath::Mailbox("an@sender.example".parse().unwrap());
    let client = "192.0.2.10".parse().unwrap();
    let subject =
        Subject { client, helo: "x", sender: &sender, recipients: &[], raw: b"", own_domains: &[], trusted: false };
    let report = examine_letter(&dns, subject, Letter::default(), &Settings::default(), Timestamp::EPOCH).await;
    assert_eq!(report.facts.dmarc.result, AuthResult::Fail);
    assert!(report.findings.iter().any(|f| f.code == "auth.failed"));
}

#[tokio::test]
async fn empty_and_headless_messages_are_read() {
    for raw in [&b""[..], b"\r\n", b"\r\n\r\nbody", b"x", b"\0\0\0", b"DKIM-Signature:\r\nARC-Seal:\r\n\r\n"] {
        let (report, _) = Case::default().examine(raw).await;
        assert!(report.findings.iter().any(|f| f.code == "from.missing"));
    }
}
