//! A small agency for tests: its folder, its configuration, its server (a sink) and its DNS zone.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;

use super::dns::{Dns, world};
use super::gateway::{Folder, Gateway};
use super::sink::Sink;

/// Builds a configuration; every part has a default that works.
pub struct Site {
    pub folder: Folder,
    pub sink: Sink,
    /// The world's DNS; a test may name a server of its own instead.
    pub world: Dns,
    dns: Option<SocketAddr>,
    next_hops: Vec<String>,
    top: String,
    sections: String,
    agency: String,
    relay: bool,
    listeners: Option<String>,
    trust: Option<PathBuf>,
    limits: String,
    inspect: String,
}

impl Site {
    pub fn new(name: &str) -> Self {
        Self::below(Folder::new(name))
    }
    /// In the system's temporary folder, which other users can reach.
    pub fn in_temp(name: &str) -> Self {
        Self::below(Folder::in_temp(name))
    }
    fn below(folder: Folder) -> Self {
        folder.write(
            "recipients.txt",
            "# who works here\nan@agency.test\nbinh@agency.test\nalice@agency.test\nbob@agency.test\n",
        );
        Self {
            folder,
            sink: Sink::start(),
            world: Dns::start(&world()),
            dns: None,
            next_hops: Vec::new(),
            top: String::new(),
            sections: String::new(),
            agency: String::new(),
            relay: false,
            listeners: None,
            trust: None,
            limits: String::new(),
            inspect: "workers = 2\n".to_owned(),
        }
    }
    pub fn dns(mut self, server: SocketAddr) -> Self {
        self.dns = Some(server);
        self
    }
    /// Replaces the sink as next hop; several are tried in order.
    pub fn next_hop(mut self, table: &str) -> Self {
        self.next_hops.push(table.to_owned());
        self
    }
    /// The next hops anew.
    pub fn replace_hops(mut self, table: &str) -> Self {
        self.next_hops = vec![table.to_owned()];
        self
    }
    /// Lines at the top of the file.
    pub fn top(mut self, lines: &str) -> Self {
        self.top.push_str(lines);
        self
    }
    /// Whole sections.
    pub fn section(mut self, text: &str) -> Self {
        self.sections.push_str(text);
        self
    }
    pub fn limits(mut self, lines: &str) -> Self {
        self.limits.push_str(lines);
        self
    }
    pub fn inspect(mut self, lines: &str) -> Self {
        lines.clone_into(&mut self.inspect);
        self
    }
    /// Lines and sub-tables of the agency.
    pub fn agency(mut self, lines: &str) -> Self {
        self.agency.push_str(lines);
        self
    }
    /// Adds a relay listener for 127.0.0.1 and 192.0.2.25.
    pub fn relay(mut self) -> Self {
        self.relay = true;
        self
    }

    /// Replaces the listeners.
    pub fn listeners(mut self, sections: &str) -> Self {
        self.listeners = Some(sections.to_owned());
        self
    }
    /// Where the trust anchors are; an empty folder by default.
    pub fn trust(mut self, folder: &std::path::Path) -> Self {
        self.trust = Some(folder.to_owned());
        self
    }

    /// Writes the file and gives its path.
    pub fn write(&self) -> PathBuf {
        let root = env!("CARGO_MANIFEST_DIR");
        let mut text = format!(
            "hostname = \"gw.agency.test\"\ndata_dir = \"{}\"\n{}\n[log]\nformat = \"json\"\n\n",
            self.folder.path().join("data").display(),
            self.top
        );
        text.push_str(&self.listener_sections());
        let server = self.dns.unwrap_or_else(|| self.world.address());
        let _ = write!(text, "[dns]\nservers = [\"{server}\"]\n\n");
        let _ = write!(
            text,
            "[limits]\n{}{}\n",
            self.limit("disk_free", "\"1 MiB\"")
                + &self.limit("pregreet", "\"0 ms\"")
                + &self.limit("connections_per_address", "1000"),
            self.limits
        );
        let _ = write!(text, "[inspect]\n{}\n", self.inspect);
        let _ = write!(text, "[rules]\nspam = [\"{root}/rules/spam\"]\nyara = [\"{root}/rules/yara\"]\n\n");
        let _ = write!(text, "[smime]\ntrust = [\"{}\"]\n\n", self.trust_folder().display());
        text.push_str("[http]\naddress = \"127.0.0.1:0\"\n\n");
        text.push_str(&self.sections);
        let hops = if self.next_hops.is_empty() {
            format!("{{ address = \"{}\", tls = \"none\" }}", self.sink.address())
        } else {
            self.next_hops.join(", ")
        };
        let networks = if self.relay { "networks = [\"127.0.0.1/32\", \"192.0.2.25/32\"]\n" } else { "" };
        let _ = write!(
            text,
            "\n[[agency]]\nid = \"so-tttt\"\nname = \"Sở Thông tin và Truyền thông\"\ndomains = [\"agency.test\"]\n\
             recipients = {{ from = \"file\", path = \"recipients.txt\", subaddressing = \"+\" }}\n{networks}next_hops = [{hops}]\n{}",
            self.agency
        );
        self.folder.write("luytre.toml", text)
    }

    fn listener_sections(&self) -> String {
        if let Some(sections) = &self.listeners {
            return sections.clone();
        }
        let proxy = "proxy_networks = [\"127.0.0.1/32\"]";
        let mut text = format!("[[listener]]\naddress = \"127.0.0.1:0\"\nrole = \"mx\"\n{proxy}\n\n");
        if self.relay {
            // Another address of loopback: a listener is known by the address it is configured with.
            text.push_str("[[listener]]\naddress = \"127.0.0.2:0\"\nrole = \"relay\"\n\n");
        }
        text
    }

    /// A limit that suits most tests, unless the test has set it.
    fn limit(&self, name: &str, value: &str) -> String {
        if self.limits.lines().any(|l| l.starts_with(name)) { String::new() } else { format!("{name} = {value}\n") }
    }

    fn trust_folder(&self) -> PathBuf {
        if let Some(folder) = &self.trust {
            return folder.clone();
        }
        let path = self.folder.path().join("trust");
        std::fs::create_dir_all(&path).unwrap();
        path
    }

    pub fn start(&self) -> Gateway {
        Gateway::start(&self.write())
    }
}

/// A plain letter with CRLF line ends.
pub fn letter(subject: &str, body: &str) -> Vec<u8> {
    format!(
        "From: Ke toan <ketoan@partner.example>\r\nTo: an@agency.test\r\nSubject: {subject}\r\n\
         Date: Sat, 21 Nov 2026 09:00:00 +0700\r\nMessage-ID: <{}@partner.example>\r\n\r\n{}\r\n",
        subject.replace(' ', "."),
        body.replace('\n', "\r\n")
    )
    .into_bytes()
}
