//! A DNS server for one test, on loopback, with a zone of the test's own.

use std::net::SocketAddr;

use luytre::env::dns::zone::{Server, Zone};

/// Runs until it is dropped.
pub struct Dns {
    server: Server,
    _runtime: tokio::runtime::Runtime,
}

impl Dns {
    /// `names` as in the zone files of the attack vectors: `{"a.example": {"A": ["192.0.2.1"]}}`.
    pub fn start(names: &serde_json::Value) -> Self {
        Self::serve(zone(names))
    }

    pub fn serve(zone: Zone) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let server = runtime.block_on(Server::start(zone, SocketAddr::from(([127, 0, 0, 1], 0)))).unwrap();
        Self { server, _runtime: runtime }
    }

    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }
    pub fn queries(&self) -> u64 {
        self.server.queries()
    }
}

fn zone(names: &serde_json::Value) -> Zone {
    Zone::from_json(&serde_json::json!({ "default": "NXDOMAIN", "names": names }).to_string()).unwrap()
}

/// The world of most tests: an honest partner without keys, a bank that says `p=reject`, nothing else.
pub fn world() -> serde_json::Value {
    serde_json::json!({
        "partner.example": { "TXT": ["v=spf1 ip4:198.51.100.10 ip4:127.0.0.1 -all"], "MX": [[10, "mail.partner.example"]] },
        "mail.partner.example": { "A": ["198.51.100.10"] },
        "10.100.51.198.in-addr.arpa": { "PTR": ["mail.partner.example"] },
        "_dmarc.partner.example": { "TXT": ["v=DMARC1; p=none"] },
        "bank.example": { "TXT": ["v=spf1 ip4:192.0.2.5 -all"] },
        "_dmarc.bank.example": { "TXT": ["v=DMARC1; p=reject"] },
        "agency.test": { "TXT": ["v=spf1 -all"], "MX": [[10, "gw.agency.test"]] },
    })
}
