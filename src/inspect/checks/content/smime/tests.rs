//! Paths by NIST's PKITS, and CMS objects of RFC 4134 that policy must refuse with a reason.

use std::fs;
use std::path::{Path, PathBuf};

use openssl::x509::X509;
use serde_json::Value;

use super::*;

fn samples(below: &str) -> Option<PathBuf> {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/testdata/smime")).join(below);
    if folder.is_dir() {
        return Some(folder);
    }
    eprintln!("skipped: {} is not here", folder.display());
    None
}

/// 2026-11-21T23:00:00Z
const NOW: Timestamp = Timestamp::from_seconds(1_795_302_000);

/// Strings of a JSON list of file names, read below a folder.
fn files(folder: &Path, names: &Value) -> Vec<Vec<u8>> {
    let names = names.as_array().map(Vec::as_slice).unwrap_or_default();
    names.iter().filter_map(|n| fs::read(folder.join(n.as_str()?)).ok()).collect()
}

#[test]
fn rfc5280_6_nist_pkits_paths() {
    let Some(folder) = samples("pkits") else { return };
    let expected: Value = serde_json::from_slice(&fs::read(folder.join("expected.json")).unwrap()).unwrap();
    let (certs, crls) = (folder.join("certs"), folder.join("crls"));
    let anchor = fs::read(certs.join(expected["trust_anchor"].as_str().unwrap())).unwrap();
    let (mut wrong, mut total) = (Vec::new(), 0);
    for test in expected["tests"].as_array().unwrap() {
        let name = test["test"].as_str().unwrap();
        let material = TrustMaterial {
            anchors: vec![anchor.clone()],
            pool: Vec::new(),
            crls: files(&crls, &test["crls"]),
        };
        let carried: Vec<X509> =
            files(&certs, &test["other_certs"]).iter().filter_map(|der| X509::from_der(der).ok()).collect();
        let leaf = X509::from_der(&fs::read(certs.join(test["cert"].as_str().unwrap())).unwrap()).unwrap();
        let (status, detail) = TrustStore::from_der(&material).judge(&leaf, &carried, NOW);
        total += 1;
        let valid = test["valid"] == true;
        println!("{name}: {status} ({detail}), expected {valid}");
        // DSA is below our floor whatever the path says (THREATS G-08): counted apart.
        if status == SmimeStatus::Weak && name.contains("dsa") {
            println!("{name}: refused by policy");
        } else if (status == SmimeStatus::Valid) != valid {
            wrong.push(format!("{name}: {status} ({detail}), expected valid={valid}: {}", test["error"]));
        }
    }
    println!("{total} paths, {} disagree:\n{}", wrong.len(), wrong.join("\n"));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
