//! The relay decision, case by case.

use super::*;
use crate::env::tls::server;
use crate::listen::{Account, TlsFacts};
use crate::mail::KeyPin;

fn mailbox(text: &str) -> Mailbox {
    Mailbox::parse(text).unwrap()
}

fn policy() -> Policy {
    let agency = |id: &str, domain: &str, listed: &[&str], networks: &[&str]| Agency {
        id: id.parse().unwrap(),
        domains: vec![Domain::parse(domain).unwrap()],
        roster: if listed.is_empty() {
            Roster::Any
        } else {
            Roster::Listed(listed.iter().map(|a| mailbox(a).folded()).collect())
        },
        subaddressing: Some('+'),
        networks: networks.iter().map(|n| n.parse().unwrap()).collect(),
    };
    Policy::build(vec![
        agency("one", "agency.test", &["Alice@agency.test", "bob@agency.test"], &["192.0.2.25"]),
        agency("two", "sở.other.test", &[], &["10.0.0.0/8", "192.0.2.25"]),
    ])
    .unwrap()
}

/// Code of the answer to an outside client; 250 when allowed.
fn inward(recipient: &str) -> u16 {
    let target = Target::Mailbox(mailbox(recipient));
    policy().check_recipient(&Standing::Inward, &target).map_or_else(|reply| reply.code(), |_| 250)
}

#[test]
fn threats_s_21_only_an_exact_domain_is_ours() {
    for recipient in
        ["alice@agency.test", "ALICE@AGENCY.test", "alice+x@agency.test", "x@xn--s-lym.other.test", "x@SỞ.other.test"]
    {
        assert_eq!(inward(recipient), 250, "{recipient}");
    }
    for recipient in [
        "a@outside.example",
        "a@sub.agency.test",
        "a@notagency.test",
        "a@agency.test.evil.example",
        "a@test",
        "a@agency.tes",
    ] {
        let target = Target::Mailbox(mailbox(recipient));
        let reply = policy().check_recipient(&Standing::Inward, &target).unwrap_err();
        assert_eq!((reply.code(), reply.enhanced()), (550, "5.7.1"), "{recipient}");
    }
}

#[test]
fn threats_s_30_unknown_recipients_are_refused_in_the_session() {
    for recipient in ["nobody@agency.test", "+alice@agency.test", "alic@agency.test", "nobody+alice@agency.test"] {
        assert_eq!(inward(recipient), 550, "{recipient}");
    }
}

#[test]
fn rfc5321_4_5_1_postmaster_is_always_reached() {
    for recipient in ["postmaster@agency.test", "PostMaster@agency.test", "abuse@agency.test", "abuse+1@agency.test"] {
        assert_eq!(inward(recipient), 250, "{recipient}");
    }
    let (mailbox, destination) = policy().check_recipient(&Standing::Inward, &Target::Postmaster).unwrap();
    assert_eq!((mailbox.to_string().as_str(), destination.agency().as_str()), ("postmaster@agency.test", "one"));
    let empty = Policy::default().check_recipient(&Standing::Inward, &Target::Postmaster).unwrap_err();
    assert!(empty.is_temporary(), "a trouble of ours");
}

fn sender(client: &str, from: &str) -> Result<Standing, u16> {
    let path = if from.is_empty() { ReversePath::Null } else { ReversePath::Mailbox(mailbox(from)) };
    policy().check_sender(Role::Relay, client.parse().unwrap(), &path).map_err(|reply| reply.code())
}

#[test]
fn threats_a_24_a_relay_client_writes_as_its_own_agency_only() {
    let outward = |id: &str| Ok(Standing::Outward(id.parse().unwrap()));
    assert_eq!(sender("192.0.2.25", "x@agency.test"), outward("one"));
    assert_eq!(sender("192.0.2.25", "x@sở.other.test"), outward("two"), "two agencies behind one address");
    assert_eq!(sender("10.9.9.9", "x@sở.other.test"), outward("two"));
    assert_eq!(sender("10.9.9.9", ""), outward("two"));
    assert_eq!(sender("10.9.9.9", "x@agency.test"), Err(550));
    assert_eq!(sender("10.9.9.9", "x@sub.agency.test"), Err(550));
    assert_eq!(sender("127.0.0.1", "x@agency.test"), Err(550));
    assert_eq!(sender("192.0.2.200", ""), Err(550), "the null sender is no passport");
}

#[test]
fn outward_mail_leads_out_and_local_mail_home() {
    let standing = Standing::Outward("two".parse().unwrap());
    let to = |text: &str| policy().check_recipient(&standing, &Target::Mailbox(mailbox(text)));
    assert_eq!(to("a@outside.example").unwrap().1, Destination::Outward("two".parse().unwrap()));
    assert_eq!(to("alice@agency.test").unwrap().1, Destination::Agency("one".parse().unwrap()));
    assert_eq!(to("nobody@agency.test").unwrap_err().code(), 550);
    assert_eq!(to("root@localhost").unwrap_err().enhanced(), "5.1.2");
}

#[test]
fn a_domain_has_one_agency() {
    let mut agencies = policy().agencies().to_vec();
    agencies[1].domains.push(Domain::parse("agency.test").unwrap());
    let shared = Policy::build(agencies).unwrap_err();
    assert_eq!(shared[0].to_string(), "the domain agency.test belongs to both one and two");
}

/// A client that no network vouches for, with what it proved inside TLS.
fn proven(role: Role, tls: TlsFacts, from: &str) -> Result<Standing, u16> {
    let address = "203.0.113.77:4000".parse().unwrap();
    let client = ClientFacts { address, local: address, role, tls: Some(tls) };
    let path = if from.is_empty() { ReversePath::Null } else { ReversePath::Mailbox(mailbox(from)) };
    let certificates = vec![
        ("name:mail.unit.test".parse().unwrap(), "one".parse().unwrap()),
        (format!("sha256:{}", "ab".repeat(32)).parse().unwrap(), "two".parse().unwrap()),
        (format!("key:sha256:{}", "cd".repeat(32)).parse().unwrap(), "two".parse().unwrap()),
    ];
    policy().with_certificates(certificates).check_client(&client, &path).map_err(|reply| reply.code())
}

#[test]
fn an_account_or_a_certificate_speaks_for_its_agency_from_anywhere() {
    let outward = |id: &str| Ok(Standing::Outward(id.parse().unwrap()));
    let account = |agency: &str| TlsFacts {
        account: Some(Account { name: "unit".to_owned(), agency: agency.parse().unwrap() }),
        ..TlsFacts::default()
    };
    let shows = |fingerprint: &str, key, names: &[&str]| TlsFacts {
        client: Some(Box::new(server::ClientCertificate {
            fingerprint: fingerprint.repeat(32),
            key: KeyPin::new([key; 32]),
            names: names.iter().map(|name| (*name).to_owned()).collect(),
        })),
        ..TlsFacts::default()
    };
    let named = |name: &str| shows("00", 0, &[name]);
    let shown = || shows("ab", 0, &[]);
    assert_eq!(proven(Role::Relay, account("one"), "x@agency.test"), outward("one"));
    assert_eq!(proven(Role::Relay, account("one"), ""), outward("one"));
    assert_eq!(proven(Role::Relay, account("one"), "x@sở.other.test"), Err(550), "another agency's domain");
    assert_eq!(proven(Role::Relay, account("gone"), "x@agency.test"), Err(550), "an agency that is no more");
    assert_eq!(proven(Role::Relay, named("mail.unit.test"), "x@agency.test"), outward("one"));
    assert_eq!(proven(Role::Relay, named("other.unit.test"), "x@agency.test"), Err(550));
    assert_eq!(proven(Role::Relay, shown(), "x@sở.other.test"), outward("two"));
    let keyed = |octet| shows("00", octet, &[]);
    assert_eq!(proven(Role::Relay, keyed(0xcd), "x@sở.other.test"), outward("two"));
    assert_eq!(proven(Role::Relay, keyed(0xcd), "x@agency.test"), Err(550));
    assert_eq!(proven(Role::Relay, keyed(0xab), "x@sở.other.test"), Err(550), "a key is no fingerprint");
    assert_eq!(proven(Role::Relay, shown(), "x@agency.test"), Err(550));
    let both = TlsFacts { account: account("one").account, ..shown() };
    assert_eq!(proven(Role::Relay, both, "x@sở.other.test"), Err(550), "the account decides alone");
    assert_eq!(proven(Role::Mx, account("one"), "x@agency.test"), Ok(Standing::Inward), "never on mx");
}
