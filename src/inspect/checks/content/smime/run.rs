//! Reads the trust folders: files or folders of PEM and DER certificates and CRLs.

use std::fs;
use std::path::{Path, PathBuf};

use super::TrustMaterial;
use crate::mail::Problem;

/// A trust file larger than this is a mistake (CRLs of large CAs have some MiB).
const MAX_FILE_BYTES: u64 = 64 << 20;
/// Folders inside folders, at most.
const MAX_DEPTH: usize = 4;
const SUFFIXES: [&str; 5] = ["pem", "crt", "cer", "der", "crl"];

/// Reads every certificate and CRL below `paths`, in the order of their names. Files of a folder called `pool` are
/// helpers, not anchors. Files with other suffixes than pem, crt, cer, der and crl are passed over in folders.
/// A store without anchors is allowed: then every signature is `untrusted` at best, and a warning says so.
#[must_use]
pub fn load(paths: &[PathBuf]) -> (TrustMaterial, Vec<Problem>) {
    let (mut material, mut problems) = (TrustMaterial::default(), Vec::new());
    for path in paths {
        let mut files = Vec::new();
        match fs::metadata(path) {
            Ok(meta) if meta.is_dir() => collect(path, 0, &mut files, &mut problems),
            Ok(_) => files.push(path.clone()),
            Err(error) => problems.push(Problem::new(path, format!("cannot be opened: {error}"))),
        }
        for file in files {
            if let Err(message) = read(&file).and_then(|bytes| material.add(&bytes, is_pooled(&file))) {
                problems.push(Problem::new(file, message).help("remove the file, or replace it by a PEM or DER one"));
            }
        }
    }
    if let (true, Some(first)) = (material.is_empty() && problems.is_empty(), paths.first()) {
        let warning = Problem::new(first, "there is no trust anchor: every S/MIME signature will be \"untrusted\"");
        problems.push(warning.help("put the root certificates you trust into this folder").warning());
    }
    (material, problems)
}

fn collect(folder: &Path, depth: usize, files: &mut Vec<PathBuf>, problems: &mut Vec<Problem>) {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) => return problems.push(Problem::new(folder, format!("cannot be listed: {error}"))),
    };
    let mut paths: Vec<PathBuf> = entries.filter_map(|entry| entry.ok().map(|e| e.path())).collect();
    paths.sort();
    for path in paths {
        if path.is_dir() {
            if depth < MAX_DEPTH {
                collect(&path, depth + 1, files, problems);
            }
        } else if path.extension().and_then(|e| e.to_str()).is_some_and(|e| SUFFIXES.contains(&e)) {
            files.push(path);
        }
    }
}

fn read(file: &Path) -> Result<Vec<u8>, String> {
    let size = fs::metadata(file).map_err(|e| format!("cannot be opened: {e}"))?.len();
    if size > MAX_FILE_BYTES {
        return Err("is larger than 64 MiB: this is no certificate".to_owned());
    }
    fs::read(file).map_err(|e| format!("cannot be read: {e}"))
}

fn is_pooled(file: &Path) -> bool {
    file.parent().and_then(Path::file_name).is_some_and(|name| name == "pool")
}
