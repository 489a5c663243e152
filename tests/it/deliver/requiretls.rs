//! REQUIRETLS and `TLS-Required: No` (RFC 8689) through the whole program: in by a listener under TLS, out to servers
//! that can keep the promise and to servers that cannot.

use std::net::SocketAddr;

use openssl::hash::{MessageDigest, hash};
use openssl::pkey::{PKey, Private};
use openssl::ssl::{SslAcceptor, SslMethod};
use openssl::x509::X509;

use crate::kit::client::{Answer, Client};
use crate::kit::gateway::Gateway;
use crate::kit::peer::{Peer, key_and_certificate};
use crate::kit::signed::{SignedWorld, Zones};
use crate::kit::site::Site;

type Pair = (PKey<Private>, X509);

const STRICT: &[&str] = &["PIPELINING", "8BITMIME", "STARTTLS", "REQUIRETLS"];
const OLDER: &[&str] = &["PIPELINING", "8BITMIME", "STARTTLS"];

async fn peer(extensions: &[&'static str], pair: &Pair) -> Peer {
    let mut acceptor = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls_server()).unwrap();
    acceptor.set_private_key(&pair.0).unwrap();
    acceptor.set_certificate(&pair.1).unwrap();
    Peer::with(extensions, |_| None, false, Some(acceptor.build())).await
}

fn digest(pair: &Pair) -> Vec<u8> {
    hash(MessageDigest::sha256(), &pair.1.public_key().unwrap().public_key_to_der().unwrap()).unwrap().to_vec()
}

/// A gateway whose agency's server is `inside`, and whose outgoing mail goes to `port`.
fn start(inside: &Peer, shown: &Pair, dns: SocketAddr, world: &SignedWorld, port: u16) -> (Site, Gateway) {
    use base64::Engine as _;
    let pin = base64::engine::general_purpose::STANDARD.encode(digest(shown));
    let site = Site::new("requiretls").relay().dns(dns);
    let own = key_and_certificate("gw.agency.test");
    let certificate = site.folder.write("gw.pem", own.1.to_pem().unwrap());
    let key = site.folder.write("gw.key", own.0.private_key_to_pem_pkcs8().unwrap());
    let tls = format!("tls = {{ certificate = \"{}\", key = \"{}\" }}", certificate.display(), key.display());
    let listeners = format!(
        "[[listener]]\naddress = \"127.0.0.1:0\"\nrole = \"mx\"\n\n[[listener]]\naddress = \"127.0.0.2:0\"\nrole = \"relay\"\n{tls}\n\n"
    );
    let hop = format!("{{ address = \"{}\", tls = \"required\", tls_pins = [\"sha256:{pin}\"] }}", inside.address);
    let deliver = format!(
        "[deliver]\nmx_port = {port}\n[deliver.internet]\ndnssec = \"required\"\ntrust_anchors = \"{}\"\n",
        world.anchors.display()
    );
    let site = site.listeners(&listeners).next_hop(&hop).section(&deliver);
    let gateway = site.start();
    (site, gateway)
}

fn send(client: &mut Client, parameter: &str, to: &str, field: &str) -> Answer {
    for line in [&format!("MAIL FROM:<an@agency.test>{parameter}"), &format!("RCPT TO:<{to}>"), "DATA"] {
        let answer = client.say(line).unwrap();
        if answer.code >= 400 {
            return answer;
        }
    }
    let message = format!("From: An <an@agency.test>\r\nTo: {to}\r\n{field}Subject: {to}\r\n\r\nRieng tu\r\n.\r\n");
    client.send(message.as_bytes()).unwrap();
    client.read().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn rfc8689_what_the_sender_asks_of_tls_is_kept_from_hop_to_hop() {
    let (shown, inner, other) = (key_and_certificate("mx"), key_and_certificate("inside"), key_and_certificate("x"));
    let (strict, inside) = (peer(STRICT, &shown).await, peer(STRICT, &inner).await);
    let port = strict.address.port();
    let hex = |pair: &Pair| digest(pair).iter().map(|b| format!("{b:02x}")).collect::<String>();
    // A server that does not know REQUIRETLS would need a port of its own: it is another world's, below.
    let world = SignedWorld::start(&Zones {
        signed: format!(
            "@ IN MX 10 mx\nmx IN A 127.0.0.1\n_{port}._tcp.mx IN TLSA 3 1 1 {}\nwrong IN MX 10 mx2\nmx2 IN A 127.0.0.1\n\
             _{port}._tcp.mx2 IN TLSA 3 1 1 {}\n",
            hex(&shown),
            hex(&other)
        ),
        plain: "@ IN MX 10 mx\nmx IN A 127.0.0.1\n".to_owned(),
        ..Zones::default()
    });
    let dns = world.address;
    let (taken, reports) = (strict.clone(), inside.clone());
    tokio::task::spawn_blocking(move || {
        let (_site, gateway) = start(&inside, &inner, dns, &world, port);
        let mut client = Client::connect(gateway.address("relay")).unwrap();
        // RFC 8689 §2: offered under TLS only, and taken there only.
        assert!(!client.say("EHLO exchange.agency.test").unwrap().text.contains("REQUIRETLS"));
        assert_eq!(client.say("MAIL FROM:<an@agency.test> REQUIRETLS").unwrap().code, 530);
        let mut client = client.starttls();
        assert!(client.say("EHLO exchange.agency.test").unwrap().text.contains("REQUIRETLS"));

        // Kept along: to a server that DANE proves and that knows REQUIRETLS.
        assert_eq!(send(&mut client, " REQUIRETLS", "a@signed.test", "").code, 250);
        gateway
            .wait_for_line("the first sent", |line| line.contains("\"sent\"") && line.contains("\"mx.signed.test\""));
        // Nothing proves this one: it comes back, and the report says why.
        assert_eq!(send(&mut client, " REQUIRETLS", "b@plain.test", "").code, 250);
        gateway.wait_for_line("the report sent", |line| line.contains("\"sent\"") && line.contains("\"127.0.0.1\""));
        // Pins that do not fit keep mail here, unless the sender says that arriving matters more.
        assert_eq!(send(&mut client, "", "c@wrong.signed.test", "TLS-Required: No\r\n").code, 250);
        gateway
            .wait_for_line("the last sent", |line| line.contains("\"sent\"") && line.contains("\"mx2.signed.test\""));
        // RFC 8689 §4.1: the parameter goes before the header.
        assert_eq!(send(&mut client, " REQUIRETLS", "d@wrong.signed.test", "TLS-Required: No\r\n").code, 250);
        gateway.wait_for_line("the strict one waiting", |line| line.contains("TLS failed"));
    })
    .await
    .unwrap();
    let (taken, reports) = (taken.taken(), reports.taken());
    assert_eq!(taken.len(), 2, "{taken:?}");
    assert!(taken[0].tls && taken[0].mail.ends_with(" REQUIRETLS"), "{}", taken[0].mail);
    assert!(!taken[1].mail.contains("REQUIRETLS"), "{}", taken[1].mail);
    let report = String::from_utf8_lossy(&reports[0].data);
    assert!(
        reports[0].mail.starts_with("MAIL FROM:<>") && reports[0].mail.contains(" REQUIRETLS"),
        "§5: protected as well"
    );
    assert!(report.contains("Status: 5.7.30") && report.contains("Final-Recipient: rfc822; b@plain.test"), "{report}");
    assert!(!report.contains("Rieng tu"), "§5: the header only");
}

#[tokio::test(flavor = "multi_thread")]
async fn rfc8689_4_2_1_a_proven_server_without_requiretls_gets_nothing() {
    let (shown, inner) = (key_and_certificate("mx"), key_and_certificate("inside"));
    let (older, inside) = (peer(OLDER, &shown).await, peer(STRICT, &inner).await);
    let port = older.address.port();
    let hex: String = digest(&shown).iter().map(|b| format!("{b:02x}")).collect();
    let signed = format!("@ IN MX 10 mx\nmx IN A 127.0.0.1\n_{port}._tcp.mx IN TLSA 3 1 1 {hex}\n");
    let world = SignedWorld::start(&Zones { signed, ..Zones::default() });
    let dns = world.address;
    let (taken, reports) = (older.clone(), inside.clone());
    tokio::task::spawn_blocking(move || {
        let (_site, gateway) = start(&inside, &inner, dns, &world, port);
        let mut client = Client::connect(gateway.address("relay")).unwrap();
        client.say("EHLO exchange.agency.test").unwrap();
        let mut client = client.starttls();
        client.say("EHLO exchange.agency.test").unwrap();
        assert_eq!(send(&mut client, " REQUIRETLS", "a@signed.test", "").code, 250);
        gateway.wait_for_line("the report sent", |line| line.contains("\"sent\"") && line.contains("\"127.0.0.1\""));
        assert_eq!(send(&mut client, "", "a@signed.test", "").code, 250);
        gateway.wait_for_line("the usual one sent", |line| {
            line.contains("\"sent\"") && line.contains("\"mx.signed.test\"")
        });
    })
    .await
    .unwrap();
    assert_eq!(taken.taken().len(), 1, "only the one that asked for nothing");
    let report = String::from_utf8_lossy(&reports.taken()[0].data).into_owned();
    assert!(report.contains("Status: 5.7.30") && report.contains("REQUIRETLS support required"), "{report}");
}
