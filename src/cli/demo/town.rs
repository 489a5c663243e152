//! The demo's town: keys, certificates, DNS zone and configuration, made fresh in one folder on loopback.
//! Certificates and signatures come from the `openssl` program, so that the demo checks us against somebody else's code.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::samples::{AGENCY, FINANCE_DOMAIN as FINANCE, Sample, Way};
use crate::deliver::seal::{self, DkimPair, Outward, SealKeys, new_key};
use crate::deliver::settings::DkimKey;
use crate::env::{Clock, Dice};
use crate::envelope::Envelope;
use crate::listen::{ClientFacts, Role};
use crate::mail::{Domain, MailParams, Mailbox, ReversePath};
use crate::session::desk::{Letter, Opening};

/// Where everything of one demo lies.
#[derive(Clone, Debug)]
pub struct Town {
    dir: PathBuf,
}

impl Town {
    /// Makes the folder anew. A folder that no demo made is never emptied.
    pub fn found(dir: &Path) -> io::Result<Self> {
        const MARK: &str = ".luytre-demo";
        if dir.exists() {
            if !dir.join(MARK).exists() && fs::read_dir(dir)?.next().is_some() {
                let sentence =
                    format!("{} is not empty and was not made by the demo; choose another with --dir", dir.display());
                return Err(io::Error::new(io::ErrorKind::AlreadyExists, sentence));
            }
            fs::remove_dir_all(dir)?;
        }
        for folder in ["keys", "trust", "mail", "taken", "data"] {
            fs::create_dir_all(dir.join(folder))?;
        }
        fs::write(dir.join(MARK), "")?;
        Ok(Self { dir: dir.canonicalize()? })
    }

    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// A certificate authority, a TLS certificate, one S/MIME certificate for a sender and one for the agency.
    pub fn make_certificates(&self) -> io::Result<()> {
        self.openssl(
            &[
                "req",
                "-x509",
                "-newkey",
                "rsa:2048",
                "-nodes",
                "-days",
                "30",
                "-subj",
                "/C=VN/O=Luy Tre demo/CN=Demo CA",
            ],
            &[("-keyout", "keys/ca.key"), ("-out", "trust/ca.pem")],
        )?;
        self.issue("mx", "mx1.tinh-mau.test", "subjectAltName=DNS:mx1.tinh-mau.test\nextendedKeyUsage=serverAuth\n")?;
        for (name, address) in [("sender", "vanphong@so-tai-chinh.example"), ("agency", "an@tinh-mau.test")] {
            let extensions = format!(
                "subjectAltName=email:{address}\nextendedKeyUsage=emailProtection\nkeyUsage=digitalSignature\n"
            );
            self.issue(name, address, &extensions)?;
        }
        Ok(())
    }

    fn issue(&self, name: &str, common_name: &str, extensions: &str) -> io::Result<()> {
        let file = |suffix: &str| format!("keys/{name}.{suffix}");
        fs::write(self.path(&file("ext")), extensions)?;
        let subject = format!("/C=VN/O=Luy Tre demo/CN={common_name}");
        self.openssl(
            &["req", "-newkey", "rsa:2048", "-nodes", "-subj", &subject],
            &[("-keyout", &file("key")), ("-out", &file("csr"))],
        )?;
        self.openssl(
            &["x509", "-req", "-days", "30", "-set_serial", &(name.len() + 100).to_string()],
            &[
                ("-in", &file("csr")),
                ("-CA", "trust/ca.pem"),
                ("-CAkey", "keys/ca.key"),
                ("-extfile", &file("ext")),
                ("-out", &file("pem")),
            ],
        )
    }

    /// DKIM keys: two for the agency's outgoing mail, one for the sender whose domain says `p=reject`.
    pub fn make_dkim_keys(&self) -> io::Result<Keys> {
        let mut records = Vec::new();
        for (domain, selector, algorithm, file) in [
            (AGENCY, "rsa", false, "keys/dkim-rsa.pem"),
            (AGENCY, "ed", true, "keys/dkim-ed25519.pem"),
            (FINANCE, "s1", false, "keys/dkim-sender.pem"),
        ] {
            let pem = new_key(algorithm).map_err(io::Error::other)?;
            write_private(&self.path(file), &pem)?;
            let domain = Domain::parse(domain).map_err(io::Error::other)?;
            let pair = DkimPair::parse(domain, selector, &pem).map_err(io::Error::other)?;
            records.push((pair.record_name(), pair.record_value().map_err(io::Error::other)?));
        }
        let key = DkimKey {
            domain: Domain::parse(FINANCE).map_err(io::Error::other)?,
            selector: "s1".to_owned(),
            key: self.path("keys/dkim-sender.pem"),
        };
        let (sender, problems) = seal::run::load(&[key], None, &self.dir, Clock::system().now());
        match problems.into_iter().next() {
            Some(problem) => Err(io::Error::other(problem)),
            None => Ok(Keys { records, sender }),
        }
    }

    /// The octets to send: signed, altered or as they are.
    pub fn finish(&self, sample: &Sample, keys: &Keys) -> io::Result<Vec<u8>> {
        match sample.way {
            Way::In | Way::InTls | Way::Out => Ok(sample.message.clone()),
            Way::InDkim => dkim_sign(sample, &keys.sender),
            Way::InSmime => self.smime_sign(&sample.message),
            Way::InSmimeAltered => {
                let signed = String::from_utf8(self.smime_sign(&sample.message)?).map_err(io::Error::other)?;
                Ok(signed.replacen("100 trieu", "900 trieu", 1).into_bytes())
            }
        }
    }

    /// What other people's programs say of our outgoing copy: its S/MIME signature by openssl, its DKIM signatures counted.
    pub fn verify_outgoing(&self, copy: &Path) -> io::Result<String> {
        let dkim = memchr::memmem::find_iter(&fs::read(copy)?, b"DKIM-Signature:").count();
        let out = Command::new("openssl")
            .args(["cms", "-verify", "-in"])
            .arg(copy)
            .args(["-CAfile", "trust/ca.pem", "-out", "mail/verified"])
            .current_dir(&self.dir)
            .output()?;
        let word = if out.status.success() { "OK" } else { "FAILED" };
        Ok(format!("{dkim} DKIM signatures; openssl cms -verify: {word}"))
    }

    /// S/MIME-signs a message (its own header stays outside) with the sender's certificate.
    pub fn smime_sign(&self, message: &[u8]) -> io::Result<Vec<u8>> {
        let (head, entity) = split_entity(message);
        fs::write(self.path("mail/entity"), entity)?;
        self.openssl(
            &["cms", "-sign", "-md", "sha256", "-crlfeol", "-binary"],
            &[
                ("-in", "mail/entity"),
                ("-signer", "keys/sender.pem"),
                ("-inkey", "keys/sender.key"),
                ("-out", "mail/signed"),
            ],
        )?;
        let signed = fs::read(self.path("mail/signed"))?;
        Ok([head, &with_crlf(&signed)].concat())
    }

    fn openssl(&self, words: &[&str], files: &[(&str, &str)]) -> io::Result<()> {
        let mut command = Command::new("openssl");
        command.args(words).current_dir(&self.dir).stdin(Stdio::null());
        for (option, file) in files {
            command.args([option, file]);
        }
        let out = command.output().map_err(|e| {
            io::Error::new(e.kind(), format!("cannot run openssl: {e}; install it with: apt-get install openssl"))
        })?;
        if out.status.success() {
            return Ok(());
        }
        Err(io::Error::other(format!("openssl {}: {}", words.join(" "), String::from_utf8_lossy(&out.stderr))))
    }

    /// The zone in which the demo's senders live; every other name does not exist.
    #[must_use]
    pub fn zone(dkim: &[(String, String)]) -> String {
        let mut names = serde_json::json!({
            "tinh-mau.test": { "TXT": ["v=spf1 -all"], "MX": [[10, "mx1.tinh-mau.test"]] },
            "_dmarc.tinh-mau.test": { "TXT": ["v=DMARC1; p=reject"] },
            "mx1.tinh-mau.test": { "A": ["127.0.0.1"] },
            "doitac.example": { "TXT": ["v=spf1 ip4:203.0.113.20 -all"], "MX": [[10, "mail.doitac.example"]] },
            "_dmarc.doitac.example": { "TXT": ["v=DMARC1; p=none"] },
            "mail.doitac.example": { "A": ["203.0.113.20"] },
            "20.113.0.203.in-addr.arpa": { "PTR": ["mail.doitac.example"] },
            "so-tai-chinh.example": { "TXT": ["v=spf1 ip4:203.0.113.10 -all"], "MX": [[10, "mail.so-tai-chinh.example"]] },
            "_dmarc.so-tai-chinh.example": { "TXT": ["v=DMARC1; p=reject"] },
            "mail.so-tai-chinh.example": { "A": ["203.0.113.10"] },
            "10.113.0.203.in-addr.arpa": { "PTR": ["mail.so-tai-chinh.example"] },
            "vuon-rau.example": { "TXT": ["v=spf1 ip4:203.0.113.30 -all"] },
            "mail.vuon-rau.example": { "A": ["203.0.113.30"] },
            "30.113.0.203.in-addr.arpa": { "PTR": ["mail.vuon-rau.example"] },
            "nganhang.example": { "TXT": ["v=spf1 ip4:192.0.2.5 -all"] },
            "_dmarc.nganhang.example": { "TXT": ["v=DMARC1; p=reject"] },
            "cuahang.example": { "TXT": ["v=spf1 ip4:192.0.2.6 -all"] },
            "_dmarc.cuahang.example": { "TXT": ["v=DMARC1; p=quarantine"] },
            "nguoi-la.example": { "TXT": ["v=spf1 ?all"] }
        });
        for (name, value) in dkim {
            if let Some(map) = names.as_object_mut() {
                map.insert(name.clone(), serde_json::json!({ "TXT": [value] }));
            }
        }
        serde_json::json!({ "default": "NXDOMAIN", "names": names }).to_string()
    }

    /// Writes the gateway's configuration and gives its path.
    pub fn configure(
        &self,
        dns: SocketAddr,
        server: SocketAddr,
        internet: SocketAddr,
        rules: &Path,
    ) -> io::Result<PathBuf> {
        let (dir, rules) = (self.dir.display(), rules.display());
        let text = format!(
            r#"# Made by `luytre demo`.
hostname = "mx1.{AGENCY}"
data_dir = "{dir}/data"
language = "vi"

[log]
format = "json"

[[listener]]
address = "127.0.0.1:0"
role = "mx"
tls = {{ certificate = "{dir}/keys/mx.pem", key = "{dir}/keys/mx.key" }}
proxy_networks = ["127.0.0.1/32"]       # so that each sample comes from an address of its own

[[listener]]
address = "127.0.0.2:0"                 # another address of loopback: a listener is known by its address
role = "relay"

[dns]
servers = ["{dns}"]

[limits]
disk_free = "16 MiB"

[rules]
spam = ["{rules}/spam"]
yara = ["{rules}/yara"]

[smime]
trust = ["{dir}/trust"]

[deliver]
smart_host = "{internet}"

[http]
address = "127.0.0.1:0"

[[agency]]
id = "tinh-mau"
name = "Ủy ban nhân dân tỉnh Mẫu"
domains = ["{AGENCY}"]
recipients = {{ from = "file", path = "{dir}/recipients.txt" }}
networks = ["127.0.0.1/32"]
next_hops = [{{ address = "{server}", tls = "none" }}]
smime = {{ certificate = "{dir}/keys/agency.pem", key = "{dir}/keys/agency.key" }}
dkim = [
    {{ domain = "{AGENCY}", selector = "rsa", key = "{dir}/keys/dkim-rsa.pem" }},
    {{ domain = "{AGENCY}", selector = "ed", key = "{dir}/keys/dkim-ed25519.pem" }},
]
"#
        );
        fs::write(self.path("recipients.txt"), "# ai làm việc ở đây\nan@tinh-mau.test\nbinh@tinh-mau.test\n")?;
        let path = self.path("luytre.toml");
        fs::write(&path, text)?;
        Ok(path)
    }
}

/// What signs in the demo, and the records that publish it.
pub struct Keys {
    records: Vec<(String, String)>,
    sender: SealKeys,
}

impl Keys {
    #[must_use]
    pub fn records(&self) -> &[(String, String)] {
        &self.records
    }
}

/// The sender's own server at work: our signing code, with the sender's key.
fn dkim_sign(sample: &Sample, keys: &SealKeys) -> io::Result<Vec<u8>> {
    let now = Clock::system().now();
    let mailbox = Mailbox::parse(sample.from).map_err(io::Error::other)?;
    let own: std::net::SocketAddr = ([127, 0, 0, 1], 25).into();
    let opening = Opening {
        id: Dice::system().mail_id(now),
        received_at: now,
        client: ClientFacts { address: own, local: own, role: Role::Relay, tls: None },
        helo: sample.helo.to_owned(),
        esmtp: true,
        sender: ReversePath::Mailbox(mailbox.clone()),
        params: MailParams::default(),
    };
    let envelope = Envelope::of(Letter { opening, recipients: Vec::new() });
    let facts = Outward { hostname: sample.helo, envelope: &envelope, from: Some(&mailbox), keys, now };
    let sealed = seal::outward(&sample.message.clone().into(), &facts).map_err(io::Error::other)?;
    Ok([sealed.head.as_ref(), sealed.body.as_ref()].concat())
}

fn write_private(path: &Path, pem: &[u8]) -> io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    io::Write::write_all(&mut file, pem)
}

/// The message's own header, and the MIME entity (content fields and body) that S/MIME signs.
fn split_entity(message: &[u8]) -> (&[u8], &[u8]) {
    let at = memchr::memmem::find(message, b"MIME-Version:").unwrap_or(0);
    let (head, rest) = message.split_at(at);
    let entity = memchr::memmem::find(rest, b"\r\n").and_then(|end| rest.get(end + 2..)).unwrap_or(rest);
    (head, entity)
}

/// openssl writes its own header lines with LF.
fn with_crlf(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() + text.len() / 40);
    let mut last = 0;
    for &byte in text {
        if byte == b'\n' && last != b'\r' {
            out.push(b'\r');
        }
        out.push(byte);
        last = byte;
    }
    out
}
