//! Reads the keys of an agency from their files.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::keys::{DkimPair, SealKeys, SmimePair};
use crate::deliver::settings::{DkimKey, SmimeKey};
use crate::mail::{Problem, Span, Timestamp};

/// When to begin warning that a certificate will end.
const WARN_BEFORE: Span = Span::days(30);

/// Loads every key; paths are taken relative to `base` (the folder of the configuration file). All problems are
/// reported; a key with an error is left out.
#[must_use]
pub fn load(dkim: &[DkimKey], smime: Option<&SmimeKey>, base: &Path, now: Timestamp) -> (SealKeys, Vec<Problem>) {
    let (mut keys, mut problems) = (SealKeys::default(), Vec::new());
    for key in dkim {
        let path = base.join(&key.key);
        let pair = read(&path, "make one with: luytre dkim new").and_then(|pem| {
            DkimPair::parse(key.domain.clone(), &key.selector, &pem).map_err(|message| Problem::new(&path, message))
        });
        match pair {
            Ok(pair) => keys.dkim.push(pair),
            Err(problem) => problems.push(problem),
        }
        problems.extend(open_to_others(&path));
    }
    if let Some(settings) = smime {
        let (certificate, key) = (base.join(&settings.certificate), base.join(&settings.key));
        match load_smime(&certificate, &key) {
            Ok(pair) => {
                problems.extend(date_problem(&certificate, &pair, now));
                keys.smime = Some(pair);
            }
            Err(found) => problems.extend(found),
        }
        problems.extend(open_to_others(&key));
    }
    (keys, problems)
}

fn load_smime(certificate: &Path, key: &Path) -> Result<SmimePair, Vec<Problem>> {
    let help = "the agency's S/MIME certificate and key, in PEM form";
    match (read(certificate, help), read(key, help)) {
        (Ok(chain), Ok(pem)) => {
            SmimePair::parse(&chain, &pem).map_err(|message| vec![Problem::new(certificate, message)])
        }
        (chain, pem) => Err([chain.err(), pem.err()].into_iter().flatten().collect()),
    }
}

fn read(path: &Path, help: &str) -> Result<Vec<u8>, Problem> {
    fs::read(path).map_err(|error| Problem::new(path, format!("cannot be read: {error}")).help(help))
}

fn date_problem(path: &Path, pair: &SmimePair, now: Timestamp) -> Option<Problem> {
    let end = pair.not_after();
    if end <= now {
        Some(Problem::new(path, format!("the certificate expired on {end}: mail goes out without it")).warning())
    } else if end <= now + WARN_BEFORE {
        Some(Problem::new(path, format!("the certificate expires on {end}")).warning())
    } else {
        None
    }
}

/// A private key that everybody on the machine can read.
fn open_to_others(path: &Path) -> Option<Problem> {
    let mode = fs::metadata(path).ok()?.permissions().mode();
    (mode & 0o007 != 0)
        .then(|| Problem::new(path, "every user of this machine can read this private key").help("chmod 640").warning())
}
