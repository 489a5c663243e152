//! Certificates made here, servers on loopback, and every way of proving oneself right and wrong (RFC 6698, 7671, 7672).

use std::net::SocketAddr;

use openssl::asn1::{Asn1Integer, Asn1Time};
use openssl::bn::BigNum;
use openssl::hash::{MessageDigest, hash};
use openssl::pkey::{PKey, Private};
use openssl::rsa::Rsa;
use openssl::ssl::{SslAcceptor, SslAcceptorBuilder};
use openssl::x509::extension::{BasicConstraints, SubjectAlternativeName};
use openssl::x509::{X509, X509NameBuilder};
use tokio::net::{TcpListener, TcpStream};

use super::*;

/// A certificate and its key.
struct Pair(X509, PKey<Private>);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Life {
    Now,
    Over,
}

/// `issuer` `None`: self-signed.
fn made(name: &str, is_ca: bool, life: Life, issuer: Option<&Pair>) -> Pair {
    let key = PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap();
    let mut subject = X509NameBuilder::new().unwrap();
    subject.append_entry_by_text("CN", name).unwrap();
    let subject = subject.build();
    let mut builder = X509::builder().unwrap();
    builder.set_version(2).unwrap();
    let mut serial = BigNum::new().unwrap();
    serial.rand(64, openssl::bn::MsbOption::MAYBE_ZERO, false).unwrap();
    builder.set_serial_number(&Asn1Integer::from_bn(&serial).unwrap()).unwrap();
    builder.set_subject_name(&subject).unwrap();
    builder.set_issuer_name(issuer.map_or(&subject, |i| i.0.subject_name())).unwrap();
    builder.set_pubkey(&key).unwrap();
    let over = Asn1Time::from_unix(1_600_000_000).unwrap();
    builder.set_not_before(&Asn1Time::from_unix(1_500_000_000).unwrap()).unwrap();
    let later = Asn1Time::days_from_now(2).unwrap();
    builder.set_not_after(if life == Life::Over { &over } else { &later }).unwrap();
    if is_ca {
        builder.append_extension(BasicConstraints::new().critical().ca().build().unwrap()).unwrap();
    } else {
        let names = SubjectAlternativeName::new().dns(name).build(&builder.x509v3_context(None, None)).unwrap();
        builder.append_extension(names).unwrap();
    }
    builder.sign(issuer.map_or(&key, |i| &i.1), MessageDigest::sha256()).unwrap();
    Pair(builder.build(), key)
}

/// A server that shows `leaf` and `chain` to everyone.
async fn serve(leaf: &Pair, chain: &[&Pair]) -> SocketAddr {
    let mut acceptor: SslAcceptorBuilder = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls_server()).unwrap();
    acceptor.set_private_key(&leaf.1).unwrap();
    acceptor.set_certificate(&leaf.0).unwrap();
    for issuer in chain {
        acceptor.add_extra_chain_cert(issuer.0.clone()).unwrap();
    }
    let acceptor = acceptor.build();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let mut tls = SslStream::new(Ssl::new(acceptor.context()).unwrap(), stream).unwrap();
            tokio::spawn(async move {
                if Pin::new(&mut tls).accept().await.is_ok() {
                    // Until the client has seen enough.
                    let _ = tokio::io::AsyncReadExt::read(&mut tls, &mut [0_u8; 1]).await;
                }
            });
        }
    });
    address
}

fn record(usage: u8, selector: u8, matching: u8, certificate: &X509) -> Tlsa {
    let der = match selector {
        0 => certificate.to_der().unwrap(),
        _ => certificate.public_key().unwrap().public_key_to_der().unwrap(),
    };
    let association = match matching {
        0 => der,
        1 => hash(MessageDigest::sha256(), &der).unwrap().to_vec(),
        _ => hash(MessageDigest::sha512(), &der).unwrap().to_vec(),
    };
    Tlsa { usage, selector, matching, association }
}

async fn ask(
    guard: &Guard,
    address: SocketAddr,
    host: &str,
    check: Check<'_>,
) -> Result<(bool, Option<FaultKind>), Fault> {
    let stream = TcpStream::connect(address).await.unwrap();
    let secured = guard.secure(Link::Plain(stream), host, check).await?;
    assert!(secured.link.tls_version().is_some());
    Ok((secured.proven, secured.fault.map(|fault| fault.kind)))
}

/// `proven`, `unproven`, or the kind of fault.
async fn by_dane(address: SocketAddr, names: &[&str], records: &[Tlsa]) -> String {
    let guard = Guard::new(None).unwrap();
    let names: Vec<String> = names.iter().map(|n| (*n).to_owned()).collect();
    match ask(&guard, address, "mx.test", Check::Dane { names: &names, records }).await {
        Ok((true, None)) => "proven".to_owned(),
        Ok(_) => "unproven".to_owned(),
        Err(fault) => format!("{:?}", fault.kind),
    }
}

#[tokio::test]
async fn rfc7671_5_1_usage_3_pins_the_certificate_or_key_and_looks_at_nothing_else() {
    let leaf = made("other.test", false, Life::Over, None);
    let stranger = made("other.test", false, Life::Now, None);
    let address = serve(&leaf, &[]).await;
    for selector in [0, 1] {
        for matching in [0, 1, 2] {
            let (right, wrong) = (record(3, selector, matching, &leaf.0), record(3, selector, matching, &stranger.0));
            // Expired and of another name: a pinned key needs neither (RFC 7672 §3.1.1).
            assert_eq!(
                by_dane(address, &["mx.test"], std::slice::from_ref(&right)).await,
                "proven",
                "3 {selector} {matching}"
            );
            assert_eq!(
                by_dane(address, &["mx.test"], std::slice::from_ref(&wrong)).await,
                "NotTrusted",
                "3 {selector} {matching}"
            );
            assert_eq!(by_dane(address, &["mx.test"], &[wrong, right]).await, "proven", "one that matches is enough");
        }
    }
}

#[tokio::test]
async fn rfc7671_5_2_usage_2_wants_chain_name_and_dates_under_the_anchor() {
    let root = made("Root", true, Life::Now, None);
    let middle = made("Middle", true, Life::Now, Some(&root));
    let other = made("Other root", true, Life::Now, None);
    let leaf = made("mx.test", false, Life::Now, Some(&middle));
    let whole = serve(&leaf, &[&middle, &root]).await;
    for selector in [0, 1] {
        for matching in [0, 1, 2] {
            for anchor in [&root, &middle] {
                let pin = record(2, selector, matching, &anchor.0);
                assert_eq!(by_dane(whole, &["mx.test"], &[pin]).await, "proven", "2 {selector} {matching}");
            }
            let foreign = record(2, selector, matching, &other.0);
            assert_eq!(by_dane(whole, &["mx.test"], &[foreign]).await, "NotTrusted", "2 {selector} {matching}");
        }
    }
    let pin = [record(2, 0, 1, &root.0)];
    assert_eq!(by_dane(whole, &["mx.other"], &pin).await, "HostMismatch");
    assert_eq!(by_dane(whole, &["mx.other", "mx.test"], &pin).await, "proven", "any of the names (RFC 7672 §3.2.2)");
    // The anchor as a digest must come with the chain; in full it may be left out (RFC 7671 §5.2.2).
    let short = serve(&leaf, &[&middle]).await;
    assert_eq!(by_dane(short, &["mx.test"], &pin).await, "NotTrusted");
    assert_eq!(by_dane(short, &["mx.test"], &[record(2, 0, 0, &root.0)]).await, "proven");
    let old = made("mx.test", false, Life::Over, Some(&root));
    assert_eq!(by_dane(serve(&old, &[&root]).await, &["mx.test"], &pin).await, "Expired");
}

#[tokio::test]
async fn rfc7672_2_2_records_that_cannot_be_used_still_ask_for_tls_of_anyone() {
    let leaf = made("mx.test", false, Life::Now, None);
    let address = serve(&leaf, &[]).await;
    let garbage = Tlsa { usage: 2, selector: 0, matching: 0, association: vec![1, 2, 3] };
    for unusable in [record(1, 1, 1, &leaf.0), record(0, 0, 2, &leaf.0), garbage] {
        assert_eq!(by_dane(address, &["mx.test"], &[unusable]).await, "unproven");
    }
    let guard = Guard::new(None).unwrap();
    assert_eq!(ask(&guard, address, "mx.test", Check::Nothing).await.unwrap(), (false, None));
}

#[tokio::test]
async fn rfc8461_4_2_a_certificate_leads_to_a_trusted_root_and_names_the_host() {
    let root = made("Root", true, Life::Now, None);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("roots.pem");
    std::fs::write(&file, root.0.to_pem().unwrap()).unwrap();
    let guard = Guard::new(Some(&file)).unwrap();
    let good = serve(&made("mx.test", false, Life::Now, Some(&root)), &[]).await;
    let starred = serve(&made("*.mx.test", false, Life::Now, Some(&root)), &[]).await;
    let over = serve(&made("mx.test", false, Life::Over, Some(&root)), &[]).await;
    let own = serve(&made("mx.test", false, Life::Now, None), &[]).await;
    let cases = [
        (good, "mx.test", None),
        (starred, "a.mx.test", None),
        (starred, "mx.test", Some(FaultKind::HostMismatch)),
        (starred, "b.a.mx.test", Some(FaultKind::HostMismatch)),
        (good, "other.test", Some(FaultKind::HostMismatch)),
        (over, "mx.test", Some(FaultKind::Expired)),
        (own, "mx.test", Some(FaultKind::NotTrusted)),
    ];
    for (address, host, fault) in cases {
        let verified = ask(&guard, address, host, Check::Verify).await;
        assert_eq!(verified.map_err(|f| Some(f.kind)), fault.map_or(Ok((true, None)), |f| Err(Some(f))), "{host}");
        let observed = ask(&guard, address, host, Check::Observe).await.unwrap();
        assert_eq!(observed, (fault.is_none(), fault), "the link stands, the fault is told: {host}");
    }
    let system = Guard::new(None).unwrap();
    assert!(ask(&system, good, "mx.test", Check::Verify).await.is_err(), "the root is trusted where it was named only");
    assert!(Guard::new(Some(&folder.path().join("none.pem"))).is_err());
}

#[tokio::test]
async fn a_server_without_tls_is_a_fault_of_the_handshake() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = tokio::io::AsyncWriteExt::write_all(&mut stream, b"220 hello\r\n").await;
        }
    });
    let guard = Guard::new(None).unwrap();
    for check in [Check::Nothing, Check::Observe, Check::Verify] {
        assert_eq!(ask(&guard, address, "mx.test", check).await.unwrap_err().kind, FaultKind::Handshake);
    }
}
