//! TLS on the link to the next hop (R02): required, opportunistic, broken, injected.

use std::io::Write as _;

use luytre::deliver::Handover;
use luytre::deliver::settings::{NextHop, Profile, TlsMode};
use luytre::mail::KeyPin;

use super::house::{House, hop, parcel, word};
use crate::kit::site::Site;
use openssl::ssl::{SslAcceptor, SslMethod, SslVersion};

use crate::kit::gateway::luytre;
use crate::kit::peer::{Act, At, Moment, Peer, certificate, key_and_certificate, say};

const TLS: &[&str] = &["PIPELINING", "STARTTLS"];

async fn peer(plot: impl Fn(&Moment) -> Option<Act> + Send + Sync + 'static) -> Peer {
    Peer::with(TLS, plot, false, Some(certificate("127.0.0.1").0)).await
}

async fn send(peer: &Peer, tls: TlsMode) -> (String, House) {
    let house = House::new(vec![hop(peer.address, Profile::Generic, tls)]);
    let outcome = house.hand_over(&parcel(&["a@y.vn"], "x\r\n")).await;
    (word(&outcome), house)
}

#[tokio::test]
async fn rfc7435_opportunistic_tls_takes_any_certificate() {
    let peer = peer(|_| None).await;
    let (outcome, house) = send(&peer, TlsMode::Opportunistic).await;
    assert_eq!(outcome, "handed");
    assert!(peer.taken()[0].tls);
    assert_eq!(house.metric("luytre_delivery_tls_total", &[("version", "TLSv1.3"), ("policy", "opportunistic")]), 1.0);
    assert_eq!(house.metric("luytre_tls_sessions_total", &[("side", "client"), ("version", "TLSv1.3")]), 1.0);
    assert_eq!(word(&house.hand_over(&parcel(&["a@y.vn"], &".x\r\n".repeat(40_000))).await), "handed");
    assert_eq!((peer.connections(), peer.taken()[1].data.len()), (1, 36 + 160_000 - 1), "pooled under TLS too");
}

#[tokio::test]
async fn r02_required_tls_wants_a_certificate_that_is_believed() {
    let (acceptor, pem) = certificate("127.0.0.1");
    let peer = Peer::with(TLS, |_| None, false, Some(acceptor)).await;
    let (outcome, house) = send(&peer, TlsMode::Required).await;
    assert_eq!(outcome, "spooled", "self-signed: kept, not sent in clear");
    assert!(peer.taken().is_empty() && house.jobs().len() == 1);

    let mut roots = tempfile::NamedTempFile::new().unwrap();
    roots.write_all(&pem).unwrap();
    let house = House::with(vec![hop(peer.address, Profile::Generic, TlsMode::Required)], Some(roots.path()), |_| {});
    assert_eq!(word(&house.hand_over(&parcel(&["a@y.vn"], "x\r\n")).await), "handed");
    assert!(peer.taken()[0].tls);

    let (acceptor, pem) = certificate("other.local");
    let other = Peer::with(TLS, |_| None, false, Some(acceptor)).await;
    let mut roots = tempfile::NamedTempFile::new().unwrap();
    roots.write_all(&pem).unwrap();
    let house = House::with(vec![hop(other.address, Profile::Generic, TlsMode::Required)], Some(roots.path()), |_| {});
    assert_eq!(word(&house.hand_over(&parcel(&["a@y.vn"], "x\r\n")).await), "spooled", "the wrong name");
}

/// The pin of a certificate, as an operator would compute it.
fn pin_of(pem: &[u8]) -> KeyPin {
    let key = openssl::x509::X509::from_pem(pem).unwrap().public_key().unwrap().public_key_to_der().unwrap();
    KeyPin::new(openssl::sha::sha256(&key))
}

#[tokio::test]
async fn r02_a_pinned_key_is_believed_whatever_its_certificate_says() {
    // Self-signed, and for another name: nothing but the key is right.
    let (acceptor, pem) = certificate("other.local");
    let peer = Peer::with(TLS, |_| None, false, Some(acceptor)).await;
    let (_, stranger) = certificate("other.local");
    let pinned =
        |pins: Vec<KeyPin>| NextHop { tls_pins: pins, ..hop(peer.address, Profile::Generic, TlsMode::Required) };
    let house = House::new(vec![pinned(vec![pin_of(&stranger), pin_of(&pem)])]);
    assert_eq!(word(&house.hand_over(&parcel(&["a@y.vn"], "x\r\n")).await), "handed");
    assert!(peer.taken()[0].tls);

    let house = House::new(vec![pinned(vec![pin_of(&stranger)])]);
    let Handover::Spooled { why, .. } = house.hand_over(&parcel(&["a@y.vn"], "x\r\n")).await else { panic!() };
    assert!(why.contains(&pin_of(&pem).to_string()) && why.contains("tls_pins"), "says which key it saw: {why}");
    assert_eq!((peer.taken().len(), house.metric("luytre_delivery_downgrades_total", &[])), (1, 0.0));
}

#[test]
fn r02_doctor_shows_the_pin_of_a_key_that_nobody_vouches_for() {
    let (acceptor, pem) = certificate("other.local");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let peer = runtime.block_on(Peer::with(TLS, |_| None, false, Some(acceptor)));
    let line = format!("tls_pins = [\"{}\"]", pin_of(&pem));
    for (more, expected) in [(String::new(), true), (format!(", {line}"), false)] {
        let site =
            Site::new("pin").next_hop(&format!("{{ address = \"{}\", tls = \"required\"{more} }}", peer.address));
        let config = site.write();
        let (_, said, error) = luytre(&["doctor", "--config", config.to_str().unwrap()]);
        assert!(said.contains(&peer.address.to_string()), "{said}{error}");
        assert_eq!(said.contains(&line), expected, "{said}{error}");
    }
}

#[tokio::test]
async fn r02_a_broken_handshake_goes_on_in_clear_only_where_policy_allows() {
    let faults: [fn() -> Act; 2] = [|| Act::Cut, || Act::Say("this is no TLS".to_owned())];
    for fault in faults {
        let peer = peer(move |m| (m.at == At::Handshake).then(fault)).await;
        let (outcome, house) = send(&peer, TlsMode::Opportunistic).await;
        assert_eq!(outcome, "handed");
        assert!(!peer.taken()[0].tls);
        let counted =
            |reason| house.metric("luytre_delivery_downgrades_total", &[("peer", "agency"), ("reason", reason)]);
        assert_eq!((counted("handshake"), counted("remembered")), (1.0, 0.0));
        assert_eq!(peer.connections(), 2, "at once, on a new connection");
        let (outcome, house) = send(&peer, TlsMode::Required).await;
        assert_eq!((outcome.as_str(), house.jobs().len()), ("spooled", 1));
    }
}

#[tokio::test]
async fn starttls_refused_or_not_offered() {
    let refusing = peer(|m| if m.at == At::StartTls { say("454 4.7.0 no TLS today") } else { None }).await;
    let (outcome, house) = send(&refusing, TlsMode::Opportunistic).await;
    assert_eq!(outcome, "handed");
    assert_eq!(house.metric("luytre_delivery_downgrades_total", &[("reason", "refused")]), 1.0);
    assert_eq!(send(&refusing, TlsMode::Required).await.0, "spooled");
    let without = Peer::start(&["PIPELINING"], |_| None).await;
    assert_eq!(send(&without, TlsMode::Opportunistic).await.0, "handed");
    assert_eq!(send(&without, TlsMode::Required).await.0, "spooled");
}

#[tokio::test]
async fn threats_s_05_octets_behind_the_220_end_the_connection() {
    let inject = "220 2.0.0 go\r\n250-peer.local\r\n250 CHUNKING";
    let peer = peer(move |m| if m.at == At::StartTls { say(inject) } else { None }).await;
    for tls in [TlsMode::Opportunistic, TlsMode::Required] {
        let (outcome, house) = send(&peer, tls).await;
        assert_eq!((outcome.as_str(), house.jobs().len()), ("spooled", 1));
    }
    assert!(peer.taken().is_empty());
}

#[tokio::test]
async fn kb3029667_tls_1_0_is_spoken_only_where_the_profile_needs_it() {
    let mut old = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls_server()).unwrap();
    let (key, certificate) = key_and_certificate("127.0.0.1");
    old.set_private_key(&key).unwrap();
    old.set_certificate(&certificate).unwrap();
    old.clear_options(openssl::ssl::SslOptions::NO_TLSV1 | openssl::ssl::SslOptions::NO_TLSV1_1);
    old.set_min_proto_version(Some(SslVersion::TLS1)).unwrap();
    old.set_max_proto_version(Some(SslVersion::TLS1)).unwrap();
    old.set_cipher_list("ALL:@SECLEVEL=0").unwrap();
    let peer = Peer::with(TLS, |_| None, false, Some(old.build())).await;
    let ways = [
        (Profile::Exchange2007, None, true),
        (Profile::Exchange2007, Some(false), false),
        (Profile::Generic, None, false),
        (Profile::Generic, Some(true), true),
    ];
    for (profile, tls_legacy, tls) in ways {
        let hop = NextHop { tls_legacy, ..hop(peer.address, profile, TlsMode::Opportunistic) };
        let house = House::new(vec![hop]);
        assert_eq!(word(&house.hand_over(&parcel(&["a@y.vn"], "x\r\n")).await), "handed");
        let version = if tls { "TLSv1" } else { "none" };
        assert_eq!(peer.taken().last().unwrap().tls, tls, "{profile:?}");
        assert_eq!(house.metric("luytre_delivery_tls_total", &[("version", version)]), 1.0);
    }
}
