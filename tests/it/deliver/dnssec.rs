//! The validating resolver against a signed world (`kit/signed.rs`): what is proven, what is proven to be unsigned, and
//! what is neither (RFC 4035 §4.3, RFC 7672 §2.1).

use luytre::env::dns::validator::{Pins, Validator, Wanted};
use luytre::env::dns::zone::{Server, Zone};
use luytre::env::dns::{DnsError, Options};

use crate::kit::signed::{SignedWorld, Zones};

const PIN: &str = "3 1 1 0000000000000000000000000000000000000000000000000000000000000000";

fn world() -> SignedWorld {
    SignedWorld::start(&Zones {
        signed: format!(
            "@ IN MX 10 mx\n@ IN MX 5 first\nmx IN A 127.0.0.1\nmx IN AAAA ::1\nfirst IN A 127.0.0.2\n_25._tcp.mx IN TLSA {PIN}\n\
             alias IN CNAME mx\noutside IN CNAME mx.plain.test.\n_25._tcp.outside IN TLSA {PIN}\n*.wild IN MX 7 mx\nempty IN TXT \"x\"\n"
        ),
        plain: format!("@ IN MX 10 mx\nmx IN A 127.0.0.1\n_25._tcp.mx IN TLSA {PIN}\n"),
        bogus: "@ IN MX 10 before\nsub IN MX 5 mx\nmx IN A 127.0.0.1\nforged IN A 127.0.0.1\n_25._tcp.forged IN TLSA 3 1 1 2222222222222222222222222222222222222222222222222222222222222222\n".to_owned(),
        forge: vec![("before", "beyond"), ("2222222222", "3333333333")],
    })
}

fn validator(world: &SignedWorld) -> Validator {
    let options = Options { servers: vec![world.address], ..Options::default() };
    Validator::new(&options, Wanted::Auto, Some(world.anchors.clone())).unwrap()
}

#[tokio::test]
async fn rfc4035_answers_are_secure_insecure_or_bogus() {
    let world = world();
    let v = validator(&world);
    assert!(v.is_usable().await, "the root is proven");
    let mx = v.mx("signed.test").await.unwrap();
    let names: Vec<_> = mx.value.iter().map(|mx| mx.host.as_str()).collect();
    assert_eq!((names, mx.secure), (vec!["first.signed.test", "mx.signed.test"], true));
    let plain = v.mx("plain.test").await.unwrap();
    assert_eq!((plain.value.len(), plain.secure), (1, false), "proven to be unsigned");
    let wild = v.mx("anything.wild.signed.test").await.unwrap();
    assert_eq!((wild.value.len(), wild.secure), (1, true), "a wildcard is proven too");
    let forged = v.mx("bogus.test").await.unwrap_err();
    assert!(matches!(&forged, DnsError::Failed(_, why) if why.contains("bogus")), "{forged}");
    assert!(v.mx("sub.bogus.test").await.unwrap().secure, "what was not touched still holds");
}

#[tokio::test]
async fn rfc4035_5_4_that_there_is_nothing_is_proven_too() {
    let world = world();
    let v = validator(&world);
    let none = v.mx("empty.signed.test").await.unwrap();
    assert_eq!((none.value.len(), none.secure), (0, true), "no MX, and that is proven: the name is its own exchanger");
    let none = v.mx("mx.plain.test").await.unwrap();
    assert_eq!((none.value.len(), none.secure), (0, false));
    assert!(matches!(v.mx("nobody.signed.test").await, Err(DnsError::NoSuchName(_))));
    assert!(matches!(v.mx("nobody.plain.test").await, Err(DnsError::NoSuchName(_))));
}

#[tokio::test]
async fn rfc7672_2_2_pins_count_when_proven_and_stop_mail_when_bogus() {
    let world = world();
    let v = validator(&world);
    let base = |pins: Pins| match pins {
        Pins::Records { base, records } => {
            assert_eq!((records.len(), records[0].len()), (1, 35));
            base
        }
        Pins::None => "none".to_owned(),
    };
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
