//! `luytre dkim`: makes a DKIM key and prints the DNS record to publish; shows the record of a key.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Subcommand, ValueEnum};

use crate::deliver::seal::{DkimPair, new_key};
use crate::mail::Domain;

/// DKIM keys for outgoing mail.
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Makes a key (readable by you only, never over an existing file) and prints its DNS record. / Tạo khóa mới.
    New {
        /// The domain of the From addresses, such as tttt.tinh.gov.vn
        #[arg(long)]
        domain: String,
        /// A name for this key, such as 2026a
        #[arg(long)]
        selector: String,
        /// What kind of key
        #[arg(long, value_enum, default_value_t = KeyKind::Rsa)]
        algorithm: KeyKind,
        /// The folder for the key file
        #[arg(long, default_value = ".")]
        out: PathBuf,
    },
    /// Prints the DNS record of an existing key. / In lại bản ghi DNS của một khóa.
    Show {
        /// The key file (PEM)
        #[arg(long)]
        key: PathBuf,
        /// The domain it signs for
        #[arg(long)]
        domain: String,
        /// The name of the key
        #[arg(long)]
        selector: String,
    },
}

/// The algorithms of RFC 8301 and RFC 8463.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum KeyKind {
    /// RSA with 2048 bits: understood everywhere
    Rsa,
    /// Ed25519: short; publish an RSA key beside it, for some receivers do not know it
    Ed25519,
}

#[must_use]
pub fn run(args: Args) -> ExitCode {
    let outcome = match args.command {
        Command::New { domain, selector, algorithm, out } => make(&domain, &selector, algorithm, &out),
        Command::Show { key, domain, selector } => show(&key, &domain, &selector),
    };
    match outcome {
        Ok(text) => {
            println!("{text}");
            ExitCode::SUCCESS
        }
        Err(message) => {
            eprintln!("luytre dkim: {message}");
            ExitCode::FAILURE
        }
    }
}

fn make(domain: &str, selector: &str, kind: KeyKind, out: &Path) -> Result<String, String> {
    let domain = parse_domain(domain)?;
    let pem = new_key(kind == KeyKind::Ed25519).map_err(|e| format!("the key could not be made: {e}"))?;
    let pair = DkimPair::parse(domain.clone(), selector, &pem)?;
    fs::create_dir_all(out).map_err(|e| format!("{}: {e}", out.display()))?;
    let file = out.join(file_name(&domain, selector));
    // create_new: a key that is in use is never overwritten.
    let mut handle = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&file)
        .map_err(|e| format!("{}: {e}", file.display()))?;
    handle.write_all(&pem).and_then(|()| handle.sync_all()).map_err(|e| format!("{}: {e}", file.display()))?;
    Ok(format!(
        "Key: {}\n\n{}\n\nIn the configuration of the agency:\n\n    [[agency.dkim]]\n    domain = \"{domain}\"\n    \
         selector = \"{}\"\n    key = \"{}\"",
        file.display(),
        record(&pair)?,
        selector.to_ascii_lowercase(),
        file.display()
    ))
}

fn show(key: &Path, domain: &str, selector: &str) -> Result<String, String> {
    let pem = fs::read(key).map_err(|e| format!("{}: {e}", key.display()))?;
    record(&DkimPair::parse(parse_domain(domain)?, selector, &pem).map_err(|e| format!("{}: {e}", key.display()))?)
}

fn parse_domain(domain: &str) -> Result<Domain, String> {
    Domain::parse(domain).map_err(|e| format!("\"{domain}\": {e}"))
}

/// What the file of a new key is called; the configuration names it, so that other names are as good.
pub(super) fn file_name(domain: &Domain, selector: &str) -> String {
    format!("{}.{domain}.pem", selector.to_ascii_lowercase())
}

/// The record as a line of a zone file. A TXT string holds 255 octets: longer values are several strings, which
/// verifiers join (RFC 6376 §3.6.2.2).
pub(super) fn zone_line(pair: &DkimPair) -> Result<String, String> {
    let value = pair.record_value()?;
    let strings: Vec<String> =
        value.as_bytes().chunks(250).map(|chunk| format!("\"{}\"", String::from_utf8_lossy(chunk))).collect();
    Ok(format!("{}.  IN TXT ( {} )", pair.record_name(), strings.join(" ")))
}

fn record(pair: &DkimPair) -> Result<String, String> {
    Ok(format!(
        "Publish this DNS record (bản ghi DNS cần công bố):\n\nName:  {}\nType:  TXT\nValue: {}\n\n\
         As a line of a zone file:\n\n{}",
        pair.record_name(),
        pair.record_value()?,
        zone_line(pair)?,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scratch(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("luytre-dkim-{}-{name}", std::process::id()));
        drop(fs::remove_dir_all(&folder));
        folder
    }

    #[test]
    fn rfc6376_3_6_2_2_long_records_are_split() {
        let folder = scratch("rsa");
        let text = make("tinh.gov.vn", "S1", KeyKind::Rsa, &folder).unwrap();
        assert!(text.contains("Name:  s1._domainkey.tinh.gov.vn\n"), "{text}");
        let zone = text.lines().find(|l| l.contains(" IN TXT ")).unwrap();
        assert!(zone.split('"').all(|s| s.len() <= 255) && zone.matches('"').count() == 4, "{zone}");
        let shown = show(&folder.join("s1.tinh.gov.vn.pem"), "tinh.gov.vn", "s1").unwrap();
        assert!(text.contains(&shown));
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn keys_are_private_and_never_overwritten() {
        use std::os::unix::fs::PermissionsExt;
        let folder = scratch("ed");
        make("x.vn", "k", KeyKind::Ed25519, &folder).unwrap();
        let file = folder.join("k.x.vn.pem");
        let before = fs::read(&file).unwrap();
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(make("x.vn", "k", KeyKind::Ed25519, &folder).is_err());
        assert_eq!(fs::read(&file).unwrap(), before);
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn mistakes_are_named() {
        assert!(make("x..vn", "k", KeyKind::Rsa, Path::new("/nowhere")).unwrap_err().contains("domain"));
        assert!(make("x.vn", "a b", KeyKind::Ed25519, Path::new("/nowhere")).unwrap_err().contains("selector"));
    }
}
