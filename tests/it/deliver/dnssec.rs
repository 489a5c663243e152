//! The validating resolver against a signed world (`kit/signed.rs`): what is proven, what is proven to be unsigned, and
//! what is neither (RFC 4035 §4.3, RFC 7672 §2.1).

use luytre::env::dns::validator::{Pins, Validator, Wanted};
use luytre::env::dns::zone::{Server, Zone};
use luytre::env::dns::{DnsError, Options};
use openssl::ssl::{SslAcceptor, SslMethod};

use crate::kit::dns::Dns;
use crate::kit::gateway::luytre;
use crate::kit::https::Https;
use crate::kit::peer::key_and_certificate;
use crate::kit::signed::{Denial, SignedWorld, Zones};
use crate::kit::site::Site;

const PIN: &str = "3 1 1 0000000000000000000000000000000000000000000000000000000000000000";

fn world() -> SignedWorld {
    world_with(Denial::Nsec)
}

fn world_with(denial: Denial) -> SignedWorld {
    SignedWorld::start(&Zones {
        signed: format!(
            "@ IN MX 10 mx\n@ IN MX 5 first\nmx IN A 127.0.0.1\nmx IN AAAA ::1\nfirst IN A 127.0.0.2\n_25._tcp.mx IN TLSA {PIN}\n\
             alias IN CNAME mx\noutside IN CNAME mx.plain.test.\n_25._tcp.outside IN TLSA {PIN}\n*.wild IN MX 7 mx\nempty IN TXT \"x\"\n"
        ),
        plain: format!("@ IN MX 10 mx\nmx IN A 127.0.0.1\n_25._tcp.mx IN TLSA {PIN}\n"),
        bogus: "@ IN MX 10 before\nsub IN MX 5 mx\nmx IN A 127.0.0.1\nforged IN A 127.0.0.1\n_25._tcp.forged IN TLSA 3 1 1 2222222222222222222222222222222222222222222222222222222222222222\n".to_owned(),
        forge: vec![("before", "beyond"), ("2222222222", "3333333333")],
        denial,
    })
}

fn validator(world: &SignedWorld) -> Validator {
    let options = Options { servers: vec![world.address], ..Options::default() };
    Validator::new(&options, Wanted::Auto, Some(world.anchors.clone())).unwrap()
}

#[tokio::test]
async fn rfc4035_answers_are_secure_insecure_or_bogus() {
    for denial in Denial::ALL {
        let world = world_with(denial);
        let v = validator(&world);
        assert!(v.is_usable().await, "the root is proven");
        let mx = v.mx("signed.test").await.unwrap();
        let names: Vec<_> = mx.value.iter().map(|mx| mx.host.as_str()).collect();
        assert_eq!((names, mx.secure), (vec!["first.signed.test", "mx.signed.test"], true), "{denial:?}");
        let plain = v.mx("plain.test").await.unwrap();
        assert_eq!((plain.value.len(), plain.secure), (1, false), "{denial:?}: proven to be unsigned");
        let wild = v.mx("anything.wild.signed.test").await.unwrap();
        assert_eq!(wild.value.len(), 1, "{denial:?}: a wildcard");
        // RFC 5155 §9.2 lets a resolver say so of no name that opt-out covers; the library does, and the harm would be
        // that mail goes where the zone's own wildcard says.
        assert!(wild.secure || denial == Denial::OptOut, "{denial:?}: a wildcard is proven too");
        let forged = v.mx("bogus.test").await.unwrap_err();
        assert!(matches!(&forged, DnsError::Failed(_, why) if why.contains("bogus")), "{denial:?}: {forged}");
        assert!(v.mx("sub.bogus.test").await.unwrap().secure, "{denial:?}: what was not touched still holds");
    }
}

#[tokio::test]
async fn rfc4035_5_4_rfc5155_8_that_there_is_nothing_is_proven_too() {
    for denial in Denial::ALL {
        let world = world_with(denial);
        let v = validator(&world);
        let none = v.mx("empty.signed.test").await.unwrap();
        assert_eq!(
            (none.value.len(), none.secure),
            (0, true),
            "{denial:?}: no MX, and that is proven: the name is its own exchanger"
        );
        let none = v.mx("mx.plain.test").await.unwrap();
        assert_eq!((none.value.len(), none.secure), (0, false), "{denial:?}");
        for name in ["nobody.signed.test", "a.b.nobody.signed.test", "nobody.plain.test", "nobody"] {
            let answer = v.mx(name).await;
            assert!(matches!(answer, Err(DnsError::NoSuchName(_))), "{denial:?} {name}: {answer:?}");
        }
    }
}

#[tokio::test]
async fn rfc7672_2_2_pins_count_when_proven_and_stop_mail_when_bogus() {
    let base = |pins: Pins| match pins {
        Pins::Records { base, records } => {
            assert_eq!((records.len(), records[0].len()), (1, 35));
            base
        }
        Pins::None => "none".to_owned(),
    };
    for denial in Denial::ALL {
        let world = world_with(denial);
        let v = validator(&world);
        assert_eq!(base(v.pins("mx.signed.test", 25).await.unwrap()), "mx.signed.test");
        assert_eq!(base(v.pins("first.signed.test", 25).await.unwrap()), "none");
        assert_eq!(base(v.pins("alias.signed.test", 25).await.unwrap()), "mx.signed.test", "at the end of the alias");
        assert_eq!(
            base(v.pins("outside.signed.test", 25).await.unwrap()),
            "outside.signed.test",
            "a proven alias, no proven address"
        );
        assert_eq!(base(v.pins("mx.plain.test", 25).await.unwrap()), "none", "what nobody signed is no pin");
        assert_eq!(base(v.pins("nobody.signed.test", 25).await.unwrap()), "none");
        assert_eq!(base(v.pins("mx.signed.test", 26).await.unwrap()), "none", "pins stand under a port");
        assert!(v.pins("forged.bogus.test", 25).await.is_err());
    }
}

#[tokio::test]
async fn another_root_key_proves_nothing() {
    let (world, stranger) = (world(), world());
    let options = Options { servers: vec![world.address], ..Options::default() };
    let v = Validator::new(&options, Wanted::Required, Some(stranger.anchors.clone())).unwrap();
    assert!(v.is_usable().await, "required is required");
    for name in ["signed.test", "plain.test"] {
        assert!(matches!(v.mx(name).await, Err(DnsError::Failed(..))), "{name}");
    }
    let v = Validator::new(&options, Wanted::Auto, None).unwrap();
    assert!(!v.is_usable().await, "nor do the Internet's keys prove this world");
    assert!(Validator::new(&options, Wanted::Auto, Some("/nowhere".into())).is_err());
}

#[tokio::test]
async fn behind_a_server_that_strips_signatures_nothing_is_validated_unless_required() {
    let zone = Zone::from_json(r#"{"names": {"x.test": {"MX": [[10, "mx.x.test"]]}}}"#).unwrap();
    let server = Server::start(zone, "127.0.0.1:0".parse().unwrap()).await.unwrap();
    let options = Options { servers: vec![server.address()], ..Options::default() };
    let auto = Validator::new(&options, Wanted::Auto, None).unwrap();
    assert!(!auto.is_usable().await);
    let asked = server.queries();
    assert!(!auto.is_usable().await, "and it is not asked again at once");
    assert_eq!(server.queries(), asked);
    let required = Validator::new(&options, Wanted::Required, None).unwrap();
    assert!(required.is_usable().await && required.mx("x.test").await.is_err());
}

/// RFC 9276 §3.2: names hashed over and over make a resolver work for strangers; such proofs count as none.
#[tokio::test]
async fn rfc9276_proofs_that_cost_too_much_work_are_none_and_hold_up_nobody() {
    let world = world_with(Denial::Laborious);
    let v = validator(&world);
    // What is there is proven by its own signature.
    assert!(v.mx("signed.test").await.unwrap().secure);
    let none = v.mx("empty.signed.test").await;
    assert!(!none.as_ref().is_ok_and(|none| none.secure), "{none:?}");
}

/// What doctor says in this world, in lines.
fn doctor(site: &Site) -> String {
    let config = site.write();
    let (_, said, error) = luytre(&["doctor", "--config", config.to_str().unwrap()]);
    assert!(error.is_empty(), "{error}");
    said
}

#[test]
fn domain_r44_doctor_says_whether_dane_can_work() {
    let world = world();
    let anchors = format!("[deliver.internet]\ntrust_anchors = \"{}\"\n", world.anchors.display());
    let site = Site::new("doctor-signed").top("language = \"en\"\n").dns(world.address).section(&anchors);
    let said = doctor(&site);
    assert!(said.contains("  ok  DNSSEC: the name servers pass signatures on, DANE works"), "{said}");
    // Behind name servers that strip signatures.
    for (dnssec, line) in [
        (
            "auto",
            "  !   DNSSEC: the name servers do not pass signatures on (or the clock is wrong): outgoing mail has no DANE → ",
        ),
        (
            "required",
            " BAD  DNSSEC: the name servers do not pass signatures on (or the clock is wrong): no mail leaves → ",
        ),
        ("off", "  !   DNSSEC is off: outgoing mail has no DANE → "),
    ] {
        let section = format!("[deliver.internet]\ndnssec = \"{dnssec}\"\n");
        let said = doctor(&Site::new("doctor-plain").top("language = \"en\"\n").section(&section));
        assert!(said.contains(line), "{dnssec}: {said}");
        assert!(said.contains("agency.test publishes no MTA-STS policy yet"), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn domain_r44_doctor_fetches_the_own_mta_sts_policy_as_others_do() {
    let pair = key_and_certificate("mta-sts.agency.test");
    let mut acceptor = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls_server()).unwrap();
    acceptor.set_private_key(&pair.0).unwrap();
    acceptor.set_certificate(&pair.1).unwrap();
    let policy = |mx: &str| format!("version: STSv1\nmode: enforce\nmx: {mx}\nmax_age: 86400\n");
    let web = Https::start(acceptor.build(), &policy("gw.agency.test")).await;
    let port = web.address.port();
    tokio::task::spawn_blocking(move || {
        let dns = Dns::start(&serde_json::json!({
            "agency.test": { "MX": [[10, "gw.agency.test"]] },
            "_mta-sts.agency.test": { "TXT": ["v=STSv1; id=1;"] },
            "mta-sts.agency.test": { "A": ["127.0.0.1"] },
            "gw.agency.test": { "A": ["127.0.0.1"] },
        }));
        let site = Site::new("doctor-sts").top("language = \"en\"\n").dns(dns.address());
        let roots = site.folder.write("roots.pem", pair.1.to_pem().unwrap());
        let section = format!("[deliver.internet]\nroots = \"{}\"\nhttps_port = {port}\n", roots.display());
        let site = site.section(&section);
        let said = doctor(&site);
        assert!(said.contains("  ok  the MTA-STS policy of agency.test can be had and names this gateway"), "{said}");
        web.answer("200 OK", &policy("elsewhere.test"));
        let said = doctor(&site);
        assert!(said.contains(" BAD  the MTA-STS policy of agency.test does not name gw.agency.test"), "{said}");
        web.answer("404 Not Found", "");
        let said = doctor(&site);
        assert!(
            said.contains("  !   the MTA-STS policy of agency.test cannot be had: the server answered 404"),
            "{said}"
        );
    })
    .await
    .unwrap();
}
