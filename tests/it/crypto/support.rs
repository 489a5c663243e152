//! Shared by the signature tests: where samples lie, a certificate factory, outside programs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use luytre::deliver::seal::Sealed;
use luytre::env::Clock;
use luytre::envelope::Envelope;
use luytre::inspect::checks::content::smime::{self, TrustMaterial, TrustStore};
use luytre::inspect::{Finding, SmimeFact};
use luytre::listen::{ClientFacts, Role};
use luytre::mail::header::Headers;
use luytre::mail::mime::{self, Limits};
use luytre::mail::transaction::Notify;
use luytre::mail::{AgencyId, Destination, MailId, MailParams, Mailbox, Recipient, ReversePath, Timestamp};

/// 2026-11-21T23:00:00Z
pub const NOW: Timestamp = Timestamp::from_seconds(1_795_302_000);

/// The shared sample folder, or `None` (and a line on stderr) where it is missing.
pub fn samples(below: &str) -> Option<PathBuf> {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/testdata")).join(below);
    if folder.is_dir() {
        return Some(folder);
    }
    eprintln!("skipped: {} is not here", folder.display());
    None
}

/// Lines end with CRLF, as after intake.
pub fn crlf(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    for (i, byte) in bytes.iter().enumerate() {
        if *byte == b'\n' && (i == 0 || bytes[i - 1] != b'\r') {
            out.push(b'\r');
        }
        out.push(*byte);
    }
    out
}

pub fn message(path: &Path) -> Vec<u8> {
    crlf(&fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display())))
}

pub fn trust(files: &[PathBuf]) -> TrustStore {
    let mut material = TrustMaterial::default();
    for file in files {
        material.add(&fs::read(file).unwrap(), false).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    }
    TrustStore::from_der(&material)
}

pub fn examine(raw: &[u8], trust: &TrustStore, now: Timestamp) -> (SmimeFact, Vec<Finding>) {
    let tree = mime::parse(raw, &Limits::default());
    let from = smime::author(&Headers::parse(raw));
    smime::examine(raw, &tree, trust, from.as_ref(), now)
}

pub fn mailbox(text: &str) -> Mailbox {
    Mailbox::parse(text).unwrap()
}

/// A fresh folder under the target directory.
pub fn scratch(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("crypto-{name}-{}", std::process::id()));
    drop(fs::remove_dir_all(&folder));
    fs::create_dir_all(&folder).unwrap();
    folder
}

/// Runs a program to its end; its output when it succeeds, its words when it does not.
pub fn run(program: &mut Command) -> Result<Vec<u8>, String> {
    let output = program.output().map_err(|e| format!("{program:?}: {e}"))?;
    if output.status.success() {
        Ok(output.stdout)
    } else {
        Err(format!("{program:?}: {}", String::from_utf8_lossy(&output.stderr)))
    }
}

pub fn openssl(folder: &Path, arguments: &[&str]) -> Result<Vec<u8>, String> {
    run(Command::new("openssl").current_dir(folder).args(arguments))
}

/// A test CA made by the script that the demo uses too.
pub struct Ca(pub PathBuf);

impl Ca {
    pub fn new(name: &str) -> Self {
        Self(scratch(name))
    }
    /// `settings`: KEY, REVOKE, EXT of the script.
    pub fn issue(&self, settings: &[(&str, &str)], addresses: &[&str]) {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/certs/make-test-ca.sh");
        run(Command::new(script).envs(settings.iter().copied()).arg(&self.0).args(addresses)).unwrap();
    }
    pub fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
    pub fn trust(&self, names: &[&str]) -> TrustStore {
        trust(&names.iter().map(|n| self.file(n)).collect::<Vec<_>>())
    }
}

pub fn today() -> Timestamp {
    Clock::system().now()
}

/// An envelope from an agency's server to one stranger.
pub fn envelope(sender: &str, recipients: &[&str]) -> Envelope {
    let agency: AgencyId = "so-tttt".parse().unwrap();
    let recipients = recipients.iter().map(|r| Recipient {
        mailbox: mailbox(r),
        destination: Destination::Outward(agency.clone()),
        original: None,
        notify: Notify::default(),
    });
    let client = ClientFacts {
        address: "192.0.2.25:40000".parse().unwrap(),
        local: "192.0.2.1:25".parse().unwrap(),
        role: Role::Relay,
        tls: None,
    };
    let sender = ReversePath::Mailbox(mailbox(sender));
    let params = MailParams::default();
    let id = MailId::new(NOW, 7);
    Envelope::open(id, NOW, client, "mail.tinh.gov.vn".into(), true, sender, params, recipients.collect())
}

pub fn wire(sealed: &Sealed) -> Vec<u8> {
    [&sealed.head[..], &sealed.body[..]].concat()
}
