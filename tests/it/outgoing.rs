//! Outgoing mail through the whole program: in by the relay listener, out to a server found by MX in a zone on loopback,
//! as its domain publishes.

use std::net::SocketAddr;
use std::path::Path;

use crate::kit::client::Client;
use crate::kit::gateway::{Folder, Gateway, luytre};
use crate::kit::https::Https;
use crate::kit::peer::{Act, At, Moment, Peer, key_and_certificate};
use crate::kit::signed::{SignedWorld, Zones};
use crate::kit::site::Site;

use openssl::hash::{MessageDigest, hash};
use openssl::pkey::{PKey, Private};
use openssl::ssl::{SslAcceptor, SslMethod};
use openssl::x509::X509;

const TLS: &[&str] = &["PIPELINING", "8BITMIME", "STARTTLS"];

fn acceptor(pair: &(PKey<Private>, X509)) -> SslAcceptor {
    let mut acceptor = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls_server()).unwrap();
    acceptor.set_private_key(&pair.0).unwrap();
    acceptor.set_certificate(&pair.1).unwrap();
    acceptor.build()
}

/// Sends one letter from the agency to `to`; panics unless it is taken.
fn send(gateway: &Gateway, to: &str) {
    let mut client = Client::connect(gateway.address("relay")).unwrap();
    for (line, code) in [
        ("EHLO exchange.agency.test", 250),
        ("MAIL FROM:<an@agency.test>", 250),
        (&format!("RCPT TO:<{to}>"), 250),
        ("DATA", 354),
    ] {
        let answer = client.say(line).unwrap();
        assert_eq!(answer.code, code, "{line}: {}", answer.text);
    }
    client
        .send(format!("From: An <an@agency.test>\r\nTo: {to}\r\nSubject: {to}\r\n\r\nXin chao\r\n.\r\n").as_bytes())
        .unwrap();
    let answer = client.read().unwrap();
    assert_eq!(answer.code, 250, "{}", answer.text);
}

fn site(dns: SocketAddr, sections: &str) -> (Site, Gateway) {
    let site = Site::new("outgoing-mx").relay().dns(dns).section(sections);
    let gateway = site.start();
    (site, gateway)
}

/// What `luytre queue list` says of a waiting message, once it says `what`.
fn waits(gateway: &Gateway, what: &str) {
    gateway.wait_for_line(what, |line| line.contains(what));
}

#[tokio::test(flavor = "multi_thread")]
async fn mail_leaves_under_dane_and_waits_where_the_pin_does_not_fit() {
    let (shown, other) = (key_and_certificate("whoever.invalid"), key_and_certificate("x"));
    let peer = Peer::with(TLS, |_: &Moment| -> Option<Act> { None }, false, Some(acceptor(&shown))).await;
    let port = peer.address.port();
    let pin = |pair: &(PKey<Private>, X509)| {
        let key = pair.1.public_key().unwrap().public_key_to_der().unwrap();
        let digest = hash(MessageDigest::sha256(), &key).unwrap();
        digest.iter().map(|b| format!("{b:02x}")).collect::<String>()
    };
    let world = SignedWorld::start(&Zones {
        signed: format!(
            "@ IN MX 10 mx\nmx IN A 127.0.0.1\n_{port}._tcp.mx IN TLSA 3 1 1 {}\nwrong IN MX 10 mx2\nmx2 IN A 127.0.0.1\n\
             _{port}._tcp.mx2 IN TLSA 3 1 1 {}\n",
            pin(&shown),
            pin(&other)
        ),
        plain: "@ IN MX 10 mx\nmx IN A 127.0.0.1\n".to_owned(),
        ..Zones::default()
    });
    let settings = format!(
        "[deliver]\nmx_port = {port}\n[deliver.internet]\ndnssec = \"required\"\ntrust_anchors = \"{}\"\n",
        world.anchors.display()
    );
    let address = world.address;
    tokio::task::spawn_blocking(move || {
        let (_site, gateway) = site(address, &settings);
        send(&gateway, "a@wrong.signed.test");
        waits(&gateway, "TLS failed");
        send(&gateway, "b@signed.test");
        send(&gateway, "c@plain.test");
        gateway.wait_for_line("two messages sent", |line| line.contains("\"sent\"") && line.contains("mx.plain.test"));
        gateway.wait_for_line("the pinned one sent", |line| {
            line.contains("\"sent\"") && line.contains("\"mx.signed.test\"")
        });
        assert_eq!(gateway.metric("luytre_dnssec_validating"), 1.0);
        let kept = "luytre_delivery_policy_sessions_total{outcome=\"kept\",policy=\"dane\"}";
        assert_eq!(gateway.metric(kept), 1.0);
    })
    .await
    .unwrap();
    let taken = peer.taken();
    assert_eq!(taken.len(), 2, "nothing went to the server whose pin did not fit");
    assert!(taken.iter().all(|t| t.tls));
}

#[tokio::test(flavor = "multi_thread")]
async fn mail_leaves_under_mta_sts_and_the_day_is_told() {
    let (web, mail) = (key_and_certificate("mta-sts.x.test"), key_and_certificate("mx.x.test"));
    let folder = Folder::new("outgoing-sts");
    let roots = folder.write("roots.pem", [web.1.to_pem().unwrap(), mail.1.to_pem().unwrap()].concat());
    let peer = Peer::with(TLS, |m: &Moment| (m.at == At::Helo).then_some(Act::Cut), false, Some(acceptor(&mail))).await;
    let policy = "version: STSv1\nmode: enforce\nmx: mx.x.test\nmax_age: 86400\n";
    let web = Https::start(acceptor(&web), policy).await;
    let zone = serde_json::json!({
        "x.test": { "MX": [[10, "mx.x.test"], [20, "evil.x.test"]] },
        "mx.x.test": { "A": ["127.0.0.1"] },
        "evil.x.test": { "A": ["127.0.0.1"] },
        "mta-sts.x.test": { "A": ["127.0.0.1"] },
        "_mta-sts.x.test": { "TXT": ["v=STSv1; id=1;"] },
    });
    let (mx_port, https_port) = (peer.address.port(), web.address.port());
    let settings = format!(
        "[deliver]\nmx_port = {mx_port}\n[deliver.internet]\nroots = \"{}\"\nhttps_port = {https_port}\n",
        roots.display()
    );
    tokio::task::spawn_blocking(move || {
        let dns = crate::kit::dns::Dns::start(&zone);
        let (site, gateway) = site(dns.address(), &settings);
        send(&gateway, "a@x.test");
        gateway.wait_for_line("sent", |line| line.contains("\"sent\"") && line.contains("\"mx.x.test\""));
        let kept = "luytre_delivery_policy_sessions_total{outcome=\"kept\",policy=\"verified\"}";
        assert_eq!(gateway.metric(kept), 1.0);
        assert_eq!(gateway.metric("luytre_dnssec_validating"), 0.0, "this world is not signed");
        let config = gateway.config.to_str().unwrap().to_owned();
        let (code, text, error) = luytre(&["log", "tlsrpt", "--config", &config, "--domain", "X.test"]);
        assert_eq!(code, 0, "{error}");
        let report: serde_json::Value = serde_json::from_str(text.trim()).unwrap();
        assert_eq!(report["policies"][0]["policy"]["policy-type"], "sts");
        assert_eq!(report["policies"][0]["policy"]["policy-domain"], "x.test");
        let failures = report["policies"][0]["summary"]["total-failure-session-count"].as_u64();
        assert_eq!(failures, Some(1), "the server that the policy does not name is told: {report}");
        let kept = std::fs::read_dir(site.folder.path().join("data/mta-sts")).unwrap().count();
        assert_eq!(kept, 1);
        assert_eq!(luytre(&["log", "tlsrpt", "--config", &config, "--day", "2001-01-01"]).0, 1);
        assert!(Path::new(&config).exists());
    })
    .await
    .unwrap();
    assert!(peer.taken()[0].tls);
    assert_eq!(web.asked(), 1);
}
