//! Sender authentication against the published suites, over a real local DNS server. Each suite lists its failures one
//! by one; where the suite's data is not beside this repository it says that it is skipped.

mod arc;
mod attacks;
mod dkim;
mod dmarc;
mod hostile;
mod interop;
mod rspamd;
pub mod spf;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use luytre::env::Dns;
use luytre::env::dns::Options;
use luytre::env::dns::zone::{Server, Zone};
use luytre::inspect::checks::auth::{AuthReport, Settings, Subject, examine};
use luytre::mail::{Domain, Mailbox, ReversePath, Span, Timestamp};

/// The folder of a suite, or a word on the terminal that it is skipped.
pub fn suite(name: &str) -> Option<PathBuf> {
    let path = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/testdata")).join(name);
    if path.exists() {
        return Some(path);
    }
    println!("skipped: no {name} beside this repository");
    None
}

pub async fn serve(zone: Zone) -> (Server, Dns) {
    let server = Server::start(zone, SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await.unwrap();
    let options = Options { servers: vec![server.address()], timeout: Span::millis(500), ..Options::default() };
    (server, Dns::new(&options).unwrap())
}

/// A zone of TXT records.
pub fn texts<'a>(records: impl IntoIterator<Item = (&'a str, &'a str)>) -> Zone {
    let mut zone = Zone::default();
    for (name, text) in records {
        zone.add_text(name, text);
    }
    zone
}

/// An envelope; the defaults are a stranger at 192.0.2.99 with a null sender.
pub struct Envelope {
    pub ip: IpAddr,
    pub helo: String,
    pub sender: ReversePath,
    pub recipients: Vec<Mailbox>,
    pub own: Vec<Domain>,
    pub now: Timestamp,
    pub settings: Settings,
}

impl Default for Envelope {
    fn default() -> Self {
        Self {
            ip: "192.0.2.99".parse().unwrap(),
            helo: "client.invalid".to_owned(),
            sender: ReversePath::Null,
            recipients: Vec::new(),
            own: Vec::new(),
            // 2026-11-16T09:00:00Z
            now: Timestamp::from_seconds(1_794_819_600),
            settings: Settings::default(),
        }
    }
}

impl Envelope {
    pub fn from(sender: &str) -> Self {
        let sender = if sender.is_empty() { ReversePath::Null } else { ReversePath::Mailbox(sender.parse().unwrap()) };
        Self { sender, ..Self::default() }
    }
    pub fn subject<'a>(&'a self, sender: &'a ReversePath, recipients: &'a [&'a Mailbox], raw: &'a [u8]) -> Subject<'a> {
        let (helo, own_domains) = (self.helo.as_str(), self.own.as_slice());
        Subject { client: self.ip, helo, sender, recipients, raw, own_domains, trusted: false }
    }
    pub async fn examine(&self, dns: &Dns, raw: &[u8]) -> AuthReport {
        let recipients: Vec<&Mailbox> = self.recipients.iter().collect();
        examine(dns, self.subject(&self.sender, &recipients, raw), &self.settings, self.now).await
    }
}

/// Lines end in CRLF, whatever the file has.
pub fn crlf(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() + text.len() / 20);
    for (i, byte) in text.iter().enumerate() {
        if *byte == b'\n' && (i == 0 || text[i - 1] != b'\r') {
            out.push(b'\r');
        }
        out.push(*byte);
    }
    out
}

/// Prints every failure and fails if there is any.
pub fn settle(what: &str, total: usize, failures: &[String]) {
    println!("{what}: {} of {total} as expected", total - failures.len());
    for failure in failures {
        println!("  FAILED {failure}");
    }
    assert!(failures.is_empty(), "{what}: {} failures, listed above", failures.len());
}

/// What a message costs when every answer is in the cache; printed, never asserted.
#[tokio::test]
async fn cost_with_a_warm_cache() {
    let zone = texts([
        ("sender.example", "v=spf1 include:a.example include:b.example -all"),
        ("a.example", "v=spf1 ip4:198.51.100.0/24 ~all"),
        ("b.example", "v=spf1 ip4:192.0.2.0/24 ~all"),
        ("_dmarc.sender.example", "v=DMARC1; p=reject"),
    ]);
    let (server, dns) = serve(zone).await;
    let raw =
        [&b"From: An <an@sender.example>\r\nTo: x@agency.test\r\n\r\n"[..], &b"line of text\r\n".repeat(300)].concat();
    let envelope = Envelope::from("an@sender.example");
    envelope.examine(&dns, &raw).await;
    let asked = server.queries();
    let (rounds, started) = (500, std::time::Instant::now());
    for _ in 0..rounds {
        let report = envelope.examine(&dns, &raw).await;
        assert_eq!(report.facts.dmarc.result, luytre::inspect::AuthResult::Pass);
    }
    println!("{} µs a message, {asked} questions for the first", started.elapsed().as_micros() / rounds);
    assert_eq!(server.queries(), asked, "the cache answers");
}
