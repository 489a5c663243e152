//! Senders on relay listeners that no network vouches for: accounts, client certificates, limits on what leaves; and
//! which certificate they are shown.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use base64::Engine as _;
use luytre::envelope::settings::ClientCertificate;
use luytre::listen::Role;
use luytre::listen::settings::{Certificate, Listener};
use luytre::mail::Span;
use luytre::session::house::{House, Station, Submission};
use luytre::session::settings::{Auth, Limits, Outgoing};
use openssl::asn1::Asn1Time;
use openssl::bn::BigNum;
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::ssl::{SslConnector, SslMethod, SslStream, SslVerifyMode};
use openssl::x509::extension::{BasicConstraints, SubjectAlternativeName};
use openssl::x509::{X509, X509Builder, X509NameBuilder};

use crate::talk::{ACCOUNT, Gate, accounts, listener, open_with, policy};

/// The pin of a certificate's public key.
pub fn key_of((own, _): &(X509, PKey<Private>)) -> ClientCertificate {
    let der = own.public_key().unwrap().public_key_to_der().unwrap();
    let digest: String = openssl::sha::sha256(&der).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("key:sha256:{digest}").parse().unwrap()
}

/// A certificate for `name` (an authority where `issuer` is none), valid for `days`; 0: its days are over.
pub fn made(name: &str, days: u32, issuer: Option<&(X509, PKey<Private>)>) -> (X509, PKey<Private>) {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
    with_key(name, days, issuer, PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap())
}

/// A new certificate for a key that has one.
fn again(name: &str, days: u32, key: &PKey<Private>) -> (X509, PKey<Private>) {
    with_key(name, days, None, key.clone())
}

fn with_key(
    name: &str,
    days: u32,
    issuer: Option<&(X509, PKey<Private>)>,
    key: PKey<Private>,
) -> (X509, PKey<Private>) {
    let mut subject = X509NameBuilder::new().unwrap();
    subject.append_entry_by_text("CN", name).unwrap();
    let subject = subject.build();
    let mut builder = X509Builder::new().unwrap();
    builder.set_version(2).unwrap();
    builder.set_serial_number(&BigNum::from_u32(days + 1).unwrap().to_asn1_integer().unwrap()).unwrap();
    builder.set_subject_name(&subject).unwrap();
    builder.set_issuer_name(issuer.map_or(&*subject, |(ca, _)| ca.subject_name())).unwrap();
    builder.set_pubkey(&key).unwrap();
    let from = if days == 0 { Asn1Time::from_unix(1_600_000_000) } else { Asn1Time::days_from_now(0) };
    let until = if days == 0 { Asn1Time::from_unix(1_700_000_000) } else { Asn1Time::days_from_now(days) };
    builder.set_not_before(&from.unwrap()).unwrap();
    builder.set_not_after(&until.unwrap()).unwrap();
    if issuer.is_none() {
        builder.append_extension(BasicConstraints::new().critical().ca().build().unwrap()).unwrap();
    } else {
        let context = builder.x509v3_context(issuer.map(|(ca, _)| &**ca), None);
        let names = SubjectAlternativeName::new().dns(name).build(&context).unwrap();
        builder.append_extension(names).unwrap();
    }
    builder.sign(issuer.map_or(&key, |(_, ca)| ca), MessageDigest::sha256()).unwrap();
    (builder.build(), key)
}

pub fn save(folder: &Path, file: &str, (certificate, key): &(X509, PKey<Private>)) -> Certificate {
    let pair = Certificate { certificate: folder.join(format!("{file}.pem")), key: folder.join(format!("{file}.key")) };
    std::fs::write(&pair.certificate, certificate.to_pem().unwrap()).unwrap();
    std::fs::write(&pair.key, key.private_key_to_pem_pkcs8().unwrap()).unwrap();
    pair
}

/// A client inside TLS.
pub struct Client(BufReader<SslStream<TcpStream>>);

impl Client {
    /// Up to EHLO inside TLS, asking for the server name `sni` and showing `own`.
    pub fn connect(address: SocketAddr, sni: &str, own: Option<&(X509, PKey<Private>)>) -> Self {
        let mut tcp = TcpStream::connect(address).unwrap();
        tcp.set_read_timeout(Some(std::time::Duration::from_secs(60))).unwrap();
        let mut byte = [0; 1];
        let mut line = |tcp: &mut TcpStream| {
            let mut text = Vec::new();
            while !text.ends_with(b"\r\n") {
                tcp.read_exact(&mut byte).unwrap();
                text.push(byte[0]);
            }
            String::from_utf8(text).unwrap()
        };
        assert!(line(&mut tcp).starts_with("220"));
        tcp.write_all(b"EHLO unit.example\r\n").unwrap();
        while line(&mut tcp).as_bytes()[3] == b'-' {}
        tcp.write_all(b"STARTTLS\r\n").unwrap();
        assert!(line(&mut tcp).starts_with("220"));
        let mut connector = SslConnector::builder(SslMethod::tls_client()).unwrap();
        connector.set_verify(SslVerifyMode::NONE);
        if let Some((certificate, key)) = own {
            connector.set_certificate(certificate).unwrap();
            connector.set_private_key(key).unwrap();
        }
        let config = connector.build().configure().unwrap().verify_hostname(false);
        let mut client = Self(BufReader::new(config.connect(sni, tcp).unwrap()));
        assert_eq!(client.say("EHLO unit.example").0, 250);
        client
    }

    pub fn say(&mut self, line: &str) -> (u16, String) {
        self.0.get_mut().write_all(format!("{line}\r\n").as_bytes()).unwrap();
        let mut whole = String::new();
        loop {
            let mut line = String::new();
            if self.0.read_line(&mut line).unwrap() == 0 {
                return (0, whole);
            }
            whole.push_str(&line);
            if line.as_bytes()[3] != b'-' {
                return (line[..3].parse().unwrap(), whole);
            }
        }
    }

    pub fn code(&mut self, line: &str) -> u16 {
        self.say(line).0
    }

    pub fn log_in(&mut self, name: &str, password: &str) -> u16 {
        let secret = base64::engine::general_purpose::STANDARD.encode(format!("\0{name}\0{password}"));
        self.code(&format!("AUTH PLAIN {secret}"))
    }

    /// The common name of the certificate that the server showed.
    pub fn server(&self) -> String {
        let shown = self.0.get_ref().ssl().peer_certificate().unwrap();
        let entry = shown.subject_name().entries_by_nid(Nid::COMMONNAME).next().unwrap();
        entry.data().to_string().unwrap().to_string()
    }
}

pub fn relay(folder: &Path, change: impl FnOnce(Listener) -> Listener, submission: Submission) -> Gate {
    let listener = change(Listener { role: Role::Relay, ..listener(folder) });
    open_with(folder, &listener, submission, policy(), Limits { pregreet: Span::ZERO, ..Limits::default() })
}

fn metrics(gate: &Gate) -> String {
    prometheus::TextEncoder::new().encode_to_string(&gate.registry.gather()).unwrap()
}

pub fn with_account() -> Submission {
    Submission { accounts: accounts(), ..Submission::default() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn guessing_locks_the_address_whatever_names_are_tried() {
    let folder = tempfile::tempdir().unwrap();
    let auth = Auth { failures: 3, ..Auth::default() };
    let gate = relay(folder.path(), |l| l, Submission { auth, ..with_account() });
    let mut client = Client::connect(gate.address(), "gw.test", None);
    assert_eq!(client.log_in(ACCOUNT.0, "wrong"), 535);
    assert_eq!(client.log_in("nobody@agency.test", ACCOUNT.1), 535, "the same answer as for a name that exists");
    assert_eq!(client.log_in("somebody", "x"), 421, "the third failure ends the session");
    let mut client = Client::connect(gate.address(), "gw.test", None);
    assert_eq!(client.log_in(ACCOUNT.0, ACCOUNT.1), 421, "locked: the right password is not tried either");
    let text = metrics(&gate);
    assert!(text.contains("luytre_auth_total{outcome=\"wrong\"} 3"), "{text}");
    assert!(text.contains("luytre_auth_total{outcome=\"locked\"} 1"), "{text}");
    assert!(text.contains("luytre_auth_locks_total{kind=\"address\"} 1"), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn guessing_in_many_sessions_at_once_tells_no_more_than_in_one() {
    let folder = tempfile::tempdir().unwrap();
    let auth = Auth { failures: 3, ..Auth::default() };
    let gate = relay(folder.path(), |l| l, Submission { auth, ..with_account() });
    let clients: Vec<Client> = (0..5).map(|_| Client::connect(gate.address(), "gw.test", None)).collect();
    let guess = |(n, mut client): (usize, Client)| {
        std::thread::spawn(move || client.log_in(ACCOUNT.0, &format!("guess number {n}")))
    };
    let guesses: Vec<_> = clients.into_iter().enumerate().map(guess).collect();
    let mut codes: Vec<u16> = guesses.into_iter().map(|guess| guess.join().unwrap()).collect();
    codes.sort_unstable();
    assert_eq!(codes, [421, 421, 535, 535, 535]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn domain_r17_an_account_sends_so_much_an_hour_and_an_alert_says_when_it_is_sudden() {
    let folder = tempfile::tempdir().unwrap();
    let outgoing = Outgoing { sender_recipients: 60, domain_recipients: 0, sudden: 10 };
    let gate = relay(folder.path(), |l| l, Submission { outgoing, ..with_account() });
    let mut client = Client::connect(gate.address(), "gw.test", None);
    assert_eq!(client.log_in(ACCOUNT.0, ACCOUNT.1), 235);
    assert_eq!(client.code("MAIL FROM:<alice@agency.test>"), 250);
    for n in 0..60 {
        assert_eq!(client.code(&format!("RCPT TO:<u{n}@outside.example>")), 250, "{n}");
    }
    assert!(client.say("RCPT TO:<u60@outside.example>").1.starts_with("450 4.7.1 "));
    assert_eq!(client.code("RCPT TO:<bob@agency.test>"), 250, "what stays inside is not counted");
    let told = gate.desk.noticed.lock().unwrap().clone();
    let sudden: Vec<&str> = told.iter().filter(|(kind, _)| *kind == "sudden").map(|(_, who)| who.as_str()).collect();
    assert_eq!(sudden, ["unit@agency.test agency"], "an event, once");
    let text = metrics(&gate);
    assert!(text.contains("luytre_outgoing_sudden_total{agency=\"agency\"} 1"), "{text}");
    assert!(text.contains("luytre_outgoing_limited_total{agency=\"agency\",by=\"sender\"} 1"), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_account_taken_out_of_the_file_sends_no_more_in_an_open_session() {
    let folder = tempfile::tempdir().unwrap();
    let gate = relay(folder.path(), |l| l, with_account());
    let mut client = Client::connect(gate.address(), "gw.test", None);
    assert_eq!(client.log_in(ACCOUNT.0, ACCOUNT.1), 235);
    assert_eq!(client.code("MAIL FROM:<alice@agency.test>"), 250);
    assert_eq!(client.code("RSET"), 250);
    let before = Arc::clone(&gate.house.borrow());
    let listener = Listener { role: Role::Relay, ..listener(folder.path()) };
    let station = Station::build(&listener, &folder.path().join("luytre.toml")).unwrap();
    let (hostname, limits) = (before.hostname.clone(), before.limits.clone());
    gate.house
        .send(Arc::new(House { hostname, limits, stations: vec![Arc::new(station)], elsewhere: Vec::new() }))
        .unwrap();
    assert_eq!(client.code("MAIL FROM:<alice@agency.test>"), 550);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn client_certificates_speak_for_the_agency_that_names_them() {
    let folder = tempfile::tempdir().unwrap();
    let authority = made("units ca", 30, None);
    let trust = save(folder.path(), "ca", &authority).certificate;
    let named = made("mail.unit.agency.test", 30, Some(&authority));
    let forged = made("mail.unit.agency.test", 30, Some(&made("another ca", 30, None)));
    let (pinned, ended) = (made("self-signed", 30, None), made("self-signed", 0, None));
    let (first, last) = (made("keyed", 30, None), made("keyed", 0, None));
    let renewed = again("keyed, renewed", 60, &first.1);
    let pin = |(own, _): &(X509, PKey<Private>)| -> ClientCertificate {
        let digest = own.digest(MessageDigest::sha256()).unwrap();
        let digest: String = digest.iter().map(|byte| format!("{byte:02X}:")).collect();
        format!("sha256:{}", digest.trim_end_matches(':')).parse().unwrap()
    };
    let agency = || "agency".parse().unwrap();
    let certificates: Vec<(ClientCertificate, _)> = vec![
        ("name:mail.unit.agency.test".parse().unwrap(), agency()),
        (pin(&pinned), agency()),
        (pin(&ended), agency()),
        (key_of(&first), agency()),
        (key_of(&last), agency()),
    ];
    let listener =
        Listener { role: Role::Relay, client_certificates: true, client_trust: vec![trust], ..listener(folder.path()) };
    let limits = Limits { pregreet: Span::ZERO, ..Limits::default() };
    let rules = policy().with_certificates(certificates);
    let gate = open_with(folder.path(), &listener, Submission::default(), rules, limits);
    for (what, own, expected) in [
        ("a name that our authority vouches for", Some(&named), 250),
        ("a pinned certificate of nobody's authority", Some(&pinned), 250),
        ("the same name from another authority", Some(&forged), 550),
        ("a pinned certificate on the day after its last", Some(&ended), 550),
        ("a pinned key", Some(&first), 250),
        ("a pinned key in a new certificate", Some(&renewed), 250),
        ("a pinned key whose certificate has ended", Some(&last), 550),
        ("none", None, 550),
    ] {
        let mut client = Client::connect(gate.address(), "gw.test", own);
        assert_eq!(client.code("MAIL FROM:<alice@agency.test>"), expected, "{what}");
        client.code("RSET");
        assert_eq!(client.code("MAIL FROM:<x@rcpt.test>"), 550, "{what}: another agency's domain");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rfc6066_3_the_certificate_is_the_one_for_the_name_that_is_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let authority = made("web ca", 20, None);
    let exact = save(folder.path(), "exact", &made("mx.second.test", 40, Some(&authority)));
    let wild = save(folder.path(), "wild", &made("*.third.test", 50, Some(&authority)));
    let gate = relay(folder.path(), |l| Listener { sni: vec![exact, wild], ..l }, Submission::default());
    for (asked, shown) in [
        ("MX.second.test", "mx.second.test"),
        ("mail.third.test", "*.third.test"),
        ("a.b.third.test", "gw.agency.test"),
        ("third.test", "gw.agency.test"),
        ("unknown.test", "gw.agency.test"),
    ] {
        assert_eq!(Client::connect(gate.address(), asked, None).server(), shown, "{asked}");
    }
    let ends = |text: &str| text.lines().filter(|l| l.starts_with("luytre_certificate_expires_seconds{")).count();
    let text = metrics(&gate);
    assert_eq!(ends(&text), 3, "each has its end: {text}");
    // Renewed files and a reload: new sessions see the new certificate, the metric the new end.
    let before = Arc::clone(&gate.house.borrow());
    save(folder.path(), "mx", &made("renewed.test", 90, Some(&authority)));
    let pair = Certificate { certificate: folder.path().join("mx.pem"), key: folder.path().join("mx.key") };
    let fresh = tempfile::tempdir().unwrap();
    let renewed = Listener { role: Role::Relay, tls: Some(pair), ..listener(fresh.path()) };
    let station = Station::build(&renewed, &folder.path().join("luytre.toml")).unwrap();
    let (hostname, limits) = (before.hostname.clone(), before.limits.clone());
    gate.house
        .send(Arc::new(House { hostname, limits, stations: vec![Arc::new(station)], elsewhere: Vec::new() }))
        .unwrap();
    assert_eq!(Client::connect(gate.address(), "gw.test", None).server(), "renewed.test");
    let text = metrics(&gate);
    assert!(ends(&text) == 1 && text.contains("certificate=\"renewed.test\""), "{text}");
}

/// `luytre user` with a password on standard input.
fn user(users: &Path, arguments: &[&str], password: &str) -> (bool, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_luytre"))
        .arg("user")
        .args(arguments)
        .arg("--users")
        .arg(users)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let _ = child.stdin.take().unwrap().write_all(format!("{password}\n").as_bytes());
    let output = child.wait_with_output().unwrap();
    (output.status.success(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
}

#[test]
fn accounts_are_made_changed_and_taken_away_on_the_command_line() {
    let folder = tempfile::tempdir().unwrap();
    let users: PathBuf = folder.path().join("users");
    let long = "a password of length";
    assert!(user(&users, &["add", "unit@agency.test", "--agency", "agency"], long).0);
    assert!(!user(&users, &["add", "UNIT@agency.test", "--agency", "other"], long).0, "it exists");
    let (good, text) = user(&users, &["add", "b", "--agency", "agency"], "short");
    assert!(!good && text.contains("12 characters"), "{text}");
    std::fs::write(&users, format!("# units\n{}", std::fs::read_to_string(&users).unwrap())).unwrap();
    assert!(user(&users, &["add", "b", "--agency", "other"], long).0);
    assert_eq!(user(&users, &["list"], "").1, "b\tother\nunit@agency.test\tagency\n");
    let before = std::fs::read_to_string(&users).unwrap();
    assert!(user(&users, &["passwd", "unit@agency.test"], "another long password").0);
    let after = std::fs::read_to_string(&users).unwrap();
    assert!(before != after && after.starts_with("# units\n") && !after.contains("another"), "{after}");
    assert!(user(&users, &["remove", "b"], "").0);
    assert!(!user(&users, &["remove", "b"], "").0);
    assert_eq!(user(&users, &["list"], "").1, "unit@agency.test\tagency\n");
    let mode = std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(&users).unwrap());
    assert_eq!(mode & 0o007, 0, "not for everybody");
}

#[test]
fn check_tells_what_cannot_work_between_accounts_certificates_and_listeners() {
    let folder = tempfile::tempdir().unwrap();
    let _ = crate::talk::certificate(folder.path());
    let line =
        |agency: &str| luytre::session::accounts::line("u", &agency.parse().unwrap(), ACCOUNT.1, [1; 16]).unwrap();
    let tls = "role = \"relay\"\ntls = { certificate = \"mx.pem\", key = \"mx.key\" }\n";
    let all = format!(
        "{tls}sni = [{{ certificate = \"mx.pem\", key = \"mx.key\" }}]\nclient_certificates = true\n\
         client_trust = [\"mx.pem\"]\n"
    );
    for (listener, agency, users, code, expected) in [
        (&*all, "certificates = [\"name:a.test\"]\nshared_addresses = [\"203.0.113.9\"]\n", line("so"), 0, "good"),
        ("client_certificates = true\n", "", String::new(), 1, "role = \"relay\" only"),
        ("sni = [{ certificate = \"mx.pem\", key = \"mx.key\" }]\n", "", String::new(), 1, "no tls here"),
        (tls, "certificates = [\"mail.unit.test\"]\n", String::new(), 1, "64 hexadecimal digits"),
        (tls, "certificates = [\"name:a.test\"]\n", String::new(), 0, "nobody is asked for one"),
        (tls, "shared_addresses = [\"203.0.113.9\"]\n", String::new(), 0, "there is neither"),
        (tls, "", "no account".to_owned(), 1, "users:1:1: a line is name:agency:hash"),
        (tls, "", line("gone"), 0, "which does not exist"),
        ("role = \"relay\"\n", "", line("so"), 0, "nobody can log in"),
    ] {
        std::fs::write(folder.path().join("users"), &users).unwrap();
        let auth = if users.is_empty() { "" } else { "[auth]\nusers = \"users\"\n" };
        let file = folder.path().join("luytre.toml");
        let text = format!(
            "language = \"en\"\nhostname = \"mx1.so.test\"\n{auth}[[listener]]\naddress = \"127.0.0.1:0\"\n{listener}\
             [[agency]]\nid = \"so\"\ndomains = [\"so.test\"]\nnext_hops = [{{ address = \"10.1.2.3:25\" }}]\n{agency}"
        );
        std::fs::write(&file, text).unwrap();
        let output =
            Command::new(env!("CARGO_BIN_EXE_luytre")).args(["check", "--config"]).arg(&file).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.code() == Some(code) && text.contains(expected), "{listener}{agency}: {text}");
    }
}

#[test]
fn doctor_prints_every_record_to_publish() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("luytre.toml");
    let config = "hostname = \"mx1.tinh.gov.vn\"\n[[listener]]\naddress = \"127.0.0.1:0\"\n[[agency]]\nid = \"so\"\n\
                  domains = [\"so.tinh.gov.vn\"]\nnext_hops = [{ address = \"10.1.2.3:25\" }]\n";
    std::fs::write(&file, config).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_luytre"))
        .args(["doctor", "--records", "--config"])
        .arg(&file)
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    for expected in [
        "so.tinh.gov.vn. IN MX 10 mx1.tinh.gov.vn.\n",
        "so.tinh.gov.vn. IN TXT \"v=spf1 a:mx1.tinh.gov.vn -all\"\n",
        "luytre dkim new --domain so.tinh.gov.vn",
        "_dmarc.so.tinh.gov.vn. IN TXT \"v=DMARC1; ",
        "_smtp._tls.so.tinh.gov.vn. IN TXT \"v=TLSRPTv1; ",
        "_mta-sts.so.tinh.gov.vn. IN TXT \"v=STSv1; id=",
        "mx: mx1.tinh.gov.vn",
    ] {
        assert!(text.contains(expected), "{expected}: {text}");
    }
    assert!(output.status.success());
}
