//! Outgoing mail by MX through the whole of delivery: a domain's records, its policies, a server on loopback.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use luytre::deliver::run::internet::{days, read_day};
use luytre::deliver::settings::{self, ByDomain};
use luytre::env::disk::{Disk, Simulated};
use luytre::env::dns::validator::Wanted;
use luytre::env::dns::zone::{Data, Server, Zone};
use luytre::mail::{Destination, Domain, MailId, Parcel, ReversePath, Span};
use openssl::hash::{MessageDigest, hash};
use openssl::pkey::{PKey, Private};
use openssl::ssl::{SslAcceptor, SslMethod};
use openssl::x509::X509;

use super::house::{House, Outward, START, agency, parcel};
use crate::kit::gateway::Folder;
use crate::kit::https::Https;
use crate::kit::peer::{Peer, key_and_certificate};
use crate::kit::signed::{SignedWorld, Zones};

const TLS: &[&str] = &["PIPELINING", "8BITMIME", "STARTTLS", "REQUIRETLS"];
const CLEAR: &[&str] = &["PIPELINING", "8BITMIME"];

fn acceptor(pair: &(PKey<Private>, X509)) -> SslAcceptor {
    let mut acceptor = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls_server()).unwrap();
    acceptor.set_private_key(&pair.0).unwrap();
    acceptor.set_certificate(&pair.1).unwrap();
    acceptor.build()
}

/// A server that shows this certificate.
async fn peer(extensions: &[&'static str], pair: &(PKey<Private>, X509)) -> Peer {
    Peer::with(extensions, |_| None, false, Some(acceptor(pair))).await
}

/// `3 1 1 …` for a certificate's key.
fn pin(pair: &(PKey<Private>, X509)) -> String {
    let key = pair.1.public_key().unwrap().public_key_to_der().unwrap();
    let digest = hash(MessageDigest::sha256(), &key).unwrap();
    let hex: String = digest.iter().map(|b| format!("{b:02x}")).collect();
    format!("3 1 1 {hex}")
}

fn outward(to: &[&str]) -> Parcel {
    let mut mail = parcel(to, "x\r\n");
    mail.meta.destination = Destination::Outward(agency());
    for recipient in &mut mail.meta.recipients {
        recipient.destination = Destination::Outward(agency());
    }
    mail
}

fn requiring(to: &[&str]) -> Parcel {
    let mut mail = outward(to);
    mail.meta.params.requiretls = true;
    mail
}

/// A house without agencies whose mail goes to `port`.
fn house(dns: SocketAddr, port: u16, roots: Option<&std::path::Path>, outward: &Outward) -> House {
    house_with(dns, port, roots, outward, |_| {})
}

fn house_with(
    dns: SocketAddr,
    port: u16,
    roots: Option<&std::path::Path>,
    outward: &Outward,
    set: impl FnOnce(&mut settings::Deliver),
) -> House {
    House::with_internet(Vec::new(), dns, roots, outward, |s| {
        s.mx_port = port;
        set(s);
    })
}

async fn zone_server(zone: Zone) -> Server {
    Server::start(zone, "127.0.0.1:0".parse().unwrap()).await.unwrap()
}

impl House {
    async fn send(&self, mail: &Parcel) {
        self.deliver.queue(mail).await.unwrap();
        self.run_due().await;
    }
    /// What the only waiting recipient waits for; empty when nothing waits.
    fn waits_for(&self) -> String {
        let jobs = self.jobs();
        let waiting: Vec<_> = jobs.iter().filter(|j| j.meta.sender != ReversePath::Null).collect();
        assert!(waiting.len() < 2);
        waiting.first().map_or_else(String::new, |job| job.pending[0].last.clone())
    }
    /// The report to the sender.
    fn report(&self) -> Option<Parcel> {
        let held = self.shelf.0.lock().unwrap();
        // Its way back leads nowhere in these worlds, so it was held at once.
        let report = held.iter().map(|(parcel, _)| parcel).find(|p| p.meta.sender == ReversePath::Null)?;
        Some(report.clone())
    }
    /// Turns the clock until the waiting message is due, and tries again.
    async fn again(&self) {
        self.hand.advance(Span::hours(1));
        self.deliver.wake();
        self.run_due().await;
    }
}

// --- which server -------------------------------------------------------------------------------------------------

#[tokio::test]
async fn rfc5321_5_1_the_next_exchanger_is_tried_when_one_is_dead() {
    let peer = Peer::start(CLEAR, |_| None).await;
    let mut zone = Zone::default();
    zone.add("x.test", Data::Mx(10, "dead.x.test".to_owned()));
    zone.add("x.test", Data::Mx(20, "mx.x.test".to_owned()));
    zone.add("dead.x.test", Data::A("127.0.0.99".parse().unwrap()));
    zone.add("mx.x.test", Data::A("127.0.0.1".parse().unwrap()));
    zone.add("own.test", Data::A("127.0.0.1".parse().unwrap()));
    let dns = zone_server(zone).await;
    let house = house(dns.address(), peer.address.port(), None, &Outward::default());
    house.send(&outward(&["a@x.test", "b@own.test"])).await;
    assert_eq!(peer.taken().len(), 2, "one transaction a domain; without MX the name itself is asked");
    assert!(house.jobs().is_empty());
}

#[tokio::test]
async fn rfc7505_3_and_loops_come_back_with_their_codes() {
    let mut zone = Zone::default();
    zone.add("null.test", Data::Mx(0, String::new()));
    zone.add("loop.test", Data::Mx(10, "mx1.tinh.gov.vn".to_owned()));
    let dns = zone_server(zone).await;
    for (to, code) in [("a@null.test", "5.1.10"), ("a@loop.test", "5.4.6"), ("a@gone.test", "5.1.2")] {
        let house = house(dns.address(), 9, None, &Outward::default());
        house.send(&outward(&[to])).await;
        let report = house.report().expect("a report");
        let bounce = String::from_utf8_lossy(&report.body);
        assert!(bounce.contains(&format!("Status: {code}")), "{bounce}");
        assert_eq!(house.waits_for(), "");
    }
}

// --- limits -------------------------------------------------------------------------------------------------------

#[tokio::test]
async fn a_connection_carries_as_many_messages_as_its_limit_and_a_rate_is_kept() {
    let peer = Peer::start(CLEAR, |_| None).await;
    let mut zone = Zone::default();
    for name in ["x.test", "slow.test"] {
        zone.add(name, Data::Mx(10, "mx.host.test".to_owned()));
    }
    zone.add("mx.host.test", Data::A("127.0.0.1".parse().unwrap()));
    let dns = zone_server(zone).await;
    let domains = |name: &str| vec![Domain::parse(name).unwrap()];
    let house = house_with(dns.address(), peer.address.port(), None, &Outward::default(), |s| {
        s.internet.concurrency = 1;
        s.internet.destination = vec![
            ByDomain { domains: domains("host.test"), concurrency: None, rate: None, messages: Some(3) },
            ByDomain { domains: domains("slow.test"), concurrency: None, rate: Some(6), messages: None },
        ];
    });
    let queue = async |to: &str, ids: std::ops::Range<u128>| {
        for id in ids {
            let mut mail = outward(&[to]);
            mail.meta.id = MailId::new(START, id);
            house.deliver.queue(&mail).await.unwrap();
        }
    };
    queue("a@x.test", 0..9).await;
    while house.run_due().await > 0 {}
    assert_eq!((peer.taken().len(), peer.connections()), (9, 3));
    queue("a@slow.test", 20..40).await;
    let mut minutes = Vec::new();
    while !house.jobs().is_empty() {
        let before = peer.taken().len();
        for _ in 0..6 {
            while house.run_due().await > 0 {}
            house.hand.advance(Span::seconds(10));
        }
        minutes.push(peer.taken().len() - before);
        assert!(minutes.len() < 10, "{minutes:?}");
    }
    assert!(minutes.iter().all(|n| *n <= 7), "{minutes:?}");
    assert!(house.metric("luytre_delivery_paced_total", &[]) > 0.0);
}

// --- DANE ---------------------------------------------------------------------------------------------------------

/// A signed world in which `signed.test`, `plain.test` and `bogus.test` lead to one server on loopback.
struct Dane {
    world: SignedWorld,
    peer: Peer,
}

impl Dane {
    /// `record`: the TLSA data published; "" for none.
    async fn start(extensions: &[&'static str], shown: &(PKey<Private>, X509), record: &str) -> Self {
        let peer = peer(extensions, shown).await;
        let port = peer.address.port();
        let pins = if record.is_empty() { String::new() } else { format!("_{port}._tcp.mx IN TLSA {record}\n") };
        let lines = format!("@ IN MX 10 mx\nmx IN A 127.0.0.1\n{pins}");
        let bogus = lines.replace("127.0.0.1", "127.0.0.55");
        let forge = vec![("127.0.0.55", "127.0.0.1")];
        let zones = Zones { signed: lines.clone(), plain: lines, bogus, forge, ..Zones::default() };
        Self { world: SignedWorld::start(&zones), peer }
    }
    fn house(&self) -> House {
        let validate = Some(Wanted::Auto);
        let outward = Outward { validate, anchors: Some(self.world.anchors.clone()), ..Outward::default() };
        house(self.world.address, self.peer.address.port(), None, &outward)
    }
}

#[tokio::test]
async fn rfc7672_mail_goes_where_the_pin_fits_and_waits_where_it_does_not() {
    // Self-signed and of another name: the pin is the proof.
    let (shown, other) = (key_and_certificate("whoever.invalid"), key_and_certificate("mx.signed.test"));
    let fits = Dane::start(TLS, &shown, &pin(&shown)).await;
    let house = fits.house();
    house.send(&outward(&["a@signed.test"])).await;
    assert!(fits.peer.taken()[0].tls && house.jobs().is_empty(), "{}", house.waits_for());
    assert_eq!(house.metric("luytre_delivery_policy_sessions_total", &[("policy", "dane"), ("outcome", "kept")]), 1.0);
    assert_eq!(house.metric("luytre_dnssec_validating", &[]), 1.0);

    let wrong = Dane::start(TLS, &shown, &pin(&other)).await;
    let house = wrong.house();
    house.send(&outward(&["a@signed.test"])).await;
    house.again().await;
    assert!(wrong.peer.taken().is_empty(), "neither in clear nor to a stranger");
    assert!(house.waits_for().contains("certificate"), "{}", house.waits_for());
    let failed = [("policy", "dane"), ("outcome", "failed")];
    assert_eq!(house.metric("luytre_delivery_policy_sessions_total", &failed), 2.0);
    // The same server under a name that nobody signed: its pins mean nothing, and mail goes.
    house.send(&outward(&["a@plain.test"])).await;
    assert_eq!(wrong.peer.taken().len(), 1);
}

#[tokio::test]
async fn rfc7672_2_2_a_server_with_pins_that_does_not_offer_tls_is_not_used() {
    let shown = key_and_certificate("mx.signed.test");
    let unusable = pin(&shown).replacen('3', "1", 1);
    for record in [pin(&shown), unusable.clone()] {
        let stripped = Dane::start(CLEAR, &shown, &record).await;
        let house = stripped.house();
        house.send(&outward(&["a@signed.test"])).await;
        assert!(stripped.peer.taken().is_empty() && house.waits_for().contains("STARTTLS"), "{}", house.waits_for());
    }
    let offered = Dane::start(TLS, &shown, &unusable).await;
    let house = offered.house();
    house.send(&outward(&["a@signed.test"])).await;
    assert!(offered.peer.taken()[0].tls, "TLS of anyone, but TLS");
}

#[tokio::test]
async fn rfc7672_2_1_2_bogus_answers_keep_mail_here() {
    let shown = key_and_certificate("mx.bogus.test");
    let dane = Dane::start(TLS, &shown, &pin(&shown)).await;
    let house = dane.house();
    house.send(&outward(&["a@bogus.test"])).await;
    assert!(dane.peer.taken().is_empty());
    assert!(house.waits_for().contains("bogus"), "{}", house.waits_for());
    assert_eq!(house.metric("luytre_delivery_policy_barred_total", &[("reason", "dnssec")]), 1.0);
    // RFC 8689 §4.2.2: the sender may say that arriving matters more.
    let mut mail = outward(&["a@bogus.test"]);
    mail.meta.id = MailId::new(START, 99);
    mail.head = Bytes::from_static(b"From: from@x.vn\r\nTLS-Required: No\r\n\r\n");
    house.send(&mail).await;
    assert_eq!(dane.peer.taken().len(), 1);
}

// --- REQUIRETLS ---------------------------------------------------------------------------------------------------

#[tokio::test]
async fn rfc8689_requiretls_is_kept_from_hop_to_hop_or_the_message_comes_back() {
    let shown = key_and_certificate("mx.signed.test");
    let dane = Dane::start(TLS, &shown, &pin(&shown)).await;
    let house = dane.house();
    house.send(&requiring(&["a@signed.test"])).await;
    let taken = dane.peer.taken();
    assert!(taken[0].tls && taken[0].mail.contains(" REQUIRETLS"), "{}", taken[0].mail);
    assert!(house.jobs().is_empty());

    // Nothing proves the server of an unsigned domain.
    house.send(&requiring(&["a@plain.test"])).await;
    let report = house.report().expect("a report");
    let bounce = String::from_utf8_lossy(&report.body);
    assert!(bounce.contains("Status: 5.7.30"), "{bounce}");
    assert_eq!(dane.peer.taken().len(), 1);
    assert!(report.meta.params.requiretls, "RFC 8689 §5: the report is as protected as what it speaks of");

    // Proven, but it does not know REQUIRETLS.
    let dane = Dane::start(&["STARTTLS"], &shown, &pin(&shown)).await;
    let house = dane.house();
    house.send(&requiring(&["a@signed.test"])).await;
    let report = house.report().expect("a report");
    let bounce = String::from_utf8_lossy(&report.body);
    assert!(bounce.contains("Status: 5.7.30"), "{bounce}");
    assert!(dane.peer.taken().is_empty());
}

// --- MTA-STS ------------------------------------------------------------------------------------------------------

/// A domain `x.test` with a policy, its web server, and a mail server.
struct Sts {
    folder: Folder,
    roots: PathBuf,
    web: Https,
    peer: Peer,
    dns: Server,
    disk: Arc<dyn Disk>,
}

fn policy(mode: &str, mx: &str) -> String {
    format!("version: STSv1\r\nmode: {mode}\r\nmx: {mx}\r\nmax_age: 604800\r\n")
}

fn sts_zone(id: Option<&str>) -> Zone {
    let mut zone = Zone::default();
    zone.add("x.test", Data::Mx(10, "mx.x.test".to_owned()));
    zone.add("mx.x.test", Data::A("127.0.0.1".parse().unwrap()));
    zone.add("mta-sts.x.test", Data::A("127.0.0.1".parse().unwrap()));
    if let Some(id) = id {
        zone.add_text("_mta-sts.x.test", &format!("v=STSv1; id={id};"));
    }
    zone
}

impl Sts {
    /// The mail server shows a certificate for `shown`; it is trusted.
    async fn start(policy: &str, shown: &str, extensions: &[&'static str]) -> Self {
        let (web, mail) = (key_and_certificate("mta-sts.x.test"), key_and_certificate(shown));
        let folder = Folder::new("mta-sts");
        let pem = [web.1.to_pem().unwrap(), mail.1.to_pem().unwrap()].concat();
        let roots = folder.write("roots.pem", pem);
        Self {
            folder,
            roots,
            web: Https::start(acceptor(&web), policy).await,
            peer: peer(extensions, &mail).await,
            dns: zone_server(sts_zone(Some("1"))).await,
            disk: Arc::new(Simulated::new(1)),
        }
    }
    fn house(&self) -> House {
        assert!(self.folder.path().exists());
        let outward = Outward { disk: Arc::clone(&self.disk), ..Outward::default() };
        house_with(self.dns.address(), self.peer.address.port(), Some(&self.roots), &outward, |s| {
            s.internet.https_port = self.web.address.port();
        })
    }
}

#[tokio::test]
async fn rfc8461_5_a_policy_is_enforced_tested_or_none() {
    for (mode, mx, shown, arrives) in [
        ("enforce", "mx.x.test", "mx.x.test", true),
        ("enforce", "*.x.test", "mx.x.test", true),
        ("enforce", "mx.x.test", "other.test", false),
        ("enforce", "other.test", "mx.x.test", false),
        ("testing", "mx.x.test", "other.test", true),
        ("testing", "other.test", "mx.x.test", true),
        ("none", "other.test", "other.test", true),
    ] {
        let sts = Sts::start(&policy(mode, mx), shown, TLS).await;
        let house = sts.house();
        house.send(&outward(&["a@x.test"])).await;
        assert_eq!(!sts.peer.taken().is_empty(), arrives, "{mode} {mx} {shown}: {}", house.waits_for());
        assert_eq!(house.jobs().is_empty(), arrives);
        assert_eq!(sts.web.asked(), 1);
    }
    // Without TLS on offer enforced mail waits; nothing goes in clear.
    let sts = Sts::start(&policy("enforce", "mx.x.test"), "mx.x.test", CLEAR).await;
    let house = sts.house();
    house.send(&outward(&["a@x.test"])).await;
    assert!(sts.peer.taken().is_empty() && house.waits_for().contains("STARTTLS"), "{}", house.waits_for());
    // But for who says that it may.
    let mut mail = outward(&["b@x.test"]);
    mail.meta.id = MailId::new(START, 99);
    mail.head = Bytes::from_static(b"From: from@x.vn\r\nTLS-Required: No\r\n\r\n");
    house.send(&mail).await;
    let taken = sts.peer.taken();
    assert_eq!(taken.iter().map(|t| t.to[0].as_str()).collect::<Vec<_>>(), ["RCPT TO:<b@x.test>"]);
}

#[tokio::test]
async fn a_message_that_requires_tls_does_not_hold_up_its_neighbours() {
    let shown = key_and_certificate("other.test");
    let dane = Dane::start(TLS, &shown, "").await;
    let house = dane.house();
    // The exchanger is proven, its certificate is not: this one waits, and its neighbour goes.
    house.send(&requiring(&["a@signed.test"])).await;
    assert!(dane.peer.taken().is_empty() && house.waits_for().contains("certificate"), "{}", house.waits_for());
    let mut mail = outward(&["b@signed.test"]);
    mail.meta.id = MailId::new(START, 99);
    house.send(&mail).await;
    assert_eq!(dane.peer.taken().len(), 1);
}

#[tokio::test]
async fn rfc8461_5_1_a_policy_outlives_its_servers_and_our_restarts() {
    let sts = Sts::start(&policy("enforce", "mx.x.test"), "other.test", TLS).await;
    let first = sts.house();
    first.send(&outward(&["a@x.test"])).await;
    assert!(sts.peer.taken().is_empty() && !first.waits_for().is_empty());
    drop(first);
    // An attacker takes the record and the policy away; the gateway was restarted besides.
    sts.web.answer("404 Not Found", "");
    sts.dns.set(sts_zone(None));
    let second = sts.house();
    second.send(&outward(&["a@x.test"])).await;
    assert!(sts.peer.taken().is_empty(), "the kept policy holds");
    assert_eq!(sts.web.asked(), 1);
    // After its life it is gone.
    second.hand.advance(Span::days(3));
    second.again().await;
    assert!(sts.peer.taken().is_empty());
    let third = sts.house();
    third.hand.advance(Span::days(8));
    third.send(&outward(&["a@x.test"])).await;
    assert_eq!(sts.peer.taken().len(), 3, "what waited goes too");
}

#[tokio::test]
async fn rfc8461_3_3_policies_are_made_younger_before_they_end_whether_mail_goes_or_not() {
    let sts = Sts::start(&policy("enforce", "mx.x.test"), "other.test", TLS).await;
    let house = sts.house();
    let later = async |span: Span| {
        house.hand.advance(span);
        house.deliver.sweep(&house.policy).await;
    };
    house.send(&outward(&["a@x.test"])).await;
    later(Span::hours(23)).await;
    assert_eq!(sts.web.asked(), 1, "young enough");
    // A week of a policy that lives a week, and nobody writes.
    for _ in 0..8 {
        later(Span::days(1)).await;
    }
    assert_eq!(sts.web.asked(), 9, "once a day");
    // Then the web server is kept away: it is asked again every five minutes, and the policy holds for its last week.
    sts.web.answer("500 No", "");
    later(Span::days(1)).await;
    later(Span::minutes(1)).await;
    assert_eq!(sts.web.asked(), 10);
    later(Span::minutes(5)).await;
    assert_eq!(sts.web.asked(), 11);
    later(Span::days(5)).await;
    house.again().await;
    assert!(sts.peer.taken().is_empty(), "a policy that was fetched a fortnight ago and made younger since");
    // What nobody wants any more lives out its time.
    sts.web.answer("200 OK", &policy("enforce", "mx.x.test"));
    later(Span::hours(1)).await;
    let asked = sts.web.asked();
    for _ in 0..40 {
        later(Span::hours(23)).await;
    }
    let more = sts.web.asked() - asked;
    assert!((15..=31).contains(&more), "{more}: for thirty days after the last mail");
}

#[tokio::test]
async fn rfc8461_3_3_a_new_id_is_fetched_and_a_failed_fetch_changes_nothing() {
    let sts = Sts::start(&policy("enforce", "mx.x.test"), "mx.x.test", TLS).await;
    let house = sts.house();
    house.send(&outward(&["a@x.test"])).await;
    house.send(&outward(&["a@x.test"])).await;
    assert_eq!((sts.peer.taken().len(), sts.web.asked()), (2, 1), "kept under its id");
    // A new id, and nothing behind it: the old policy stays, and the web server is left alone for a while.
    sts.dns.set(sts_zone(Some("2")));
    house.hand.advance(Span::minutes(10));
    let house = sts.house();
    for (status, body) in [("500 No", ""), ("200 OK", "<html>"), ("302 Found", "")] {
        sts.web.answer(status, body);
        house.send(&outward(&["a@x.test"])).await;
        house.send(&outward(&["a@x.test"])).await;
        house.hand.advance(Span::minutes(6));
    }
    assert_eq!((sts.peer.taken().len(), sts.web.asked()), (8, 4));
    assert_eq!(house.metric("luytre_mta_sts_fetches_total", &[("outcome", "fetched")]), 0.0);
    assert_eq!(house.metric("luytre_mta_sts_fetches_total", &[("outcome", "invalid")]), 1.0);
    assert_eq!(house.metric("luytre_mta_sts_fetches_total", &[("outcome", "failed")]), 2.0);
    // The new policy forbids the server.
    sts.web.answer("200 OK", &policy("enforce", "elsewhere.test"));
    house.send(&outward(&["a@x.test"])).await;
    assert_eq!(sts.peer.taken().len(), 8);
    assert!(house.waits_for().contains("MTA-STS"), "{}", house.waits_for());
}

#[tokio::test]
async fn rfc8689_4_2_1_a_policy_proves_the_name_for_a_message_that_requires_tls() {
    let sts = Sts::start(&policy("testing", "mx.x.test"), "mx.x.test", TLS).await;
    let house = sts.house();
    house.send(&requiring(&["a@x.test"])).await;
    assert!(sts.peer.taken()[0].mail.contains(" REQUIRETLS"));
    let sts = Sts::start(&policy("testing", "mx.x.test"), "other.test", TLS).await;
    let house = sts.house();
    house.send(&requiring(&["a@x.test"])).await;
    assert!(sts.peer.taken().is_empty(), "here the certificate must fit, testing or not");
}

// --- TLS reports --------------------------------------------------------------------------------------------------

#[tokio::test]
async fn rfc8460_what_came_of_sessions_is_counted_and_kept_over_a_restart() {
    let sts = Sts::start(&policy("testing", "mx.x.test"), "other.test", TLS).await;
    let folder = std::path::Path::new("/data/tlsrpt");
    let send = async |house: &House| {
        house.send(&outward(&["a@x.test"])).await;
        house.deliver.drain().await;
    };
    send(&sts.house()).await;
    send(&sts.house()).await;
    assert_eq!(sts.peer.taken().len(), 2);
    let names = days(sts.disk.as_ref(), folder).unwrap();
    assert_eq!(names.len(), 1);
    let day = read_day(sts.disk.as_ref(), folder, &names[0]).unwrap().unwrap();
    let report = day.report("x.test").unwrap();
    assert_eq!(report["organization-name"], "mx1.tinh.gov.vn");
    let policy = &report["policies"][0];
    assert_eq!(policy["policy"]["policy-type"], "sts");
    assert_eq!(policy["summary"]["total-failure-session-count"], 2);
    let detail = &policy["failure-details"][0];
    assert_eq!(detail["result-type"], "certificate-host-mismatch");
    assert_eq!(detail["receiving-mx-hostname"], "mx.x.test");
    assert_eq!(detail["receiving-ip"], "127.0.0.1");
    assert_eq!(detail["failed-session-count"], 2);
}
