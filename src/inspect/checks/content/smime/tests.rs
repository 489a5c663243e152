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
        let material =
            TrustMaterial { anchors: vec![anchor.clone()], pool: Vec::new(), crls: files(&crls, &test["crls"]) };
        let carried: Vec<X509> =
            files(&certs, &test["other_certs"]).iter().filter_map(|der| X509::from_der(der).ok()).collect();
        let leaf = X509::from_der(&fs::read(certs.join(test["cert"].as_str().unwrap())).unwrap()).unwrap();
        let (status, detail) = TrustStore::from_der(&material).judge(&leaf, &carried, NOW, Use::Mail);
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

#[test]
fn rfc4134_old_algorithms_are_read_and_refused_with_a_reason() {
    let Some(folder) = samples("rfc4134") else { return };
    let read = |name: &str| fs::read(folder.join(name)).unwrap();
    let material = TrustMaterial {
        anchors: vec![read("keys/CarlDSSSelf.cer"), read("keys/CarlRSASelf.cer")],
        ..TrustMaterial::default()
    };
    let trust = TrustStore::from_der(&material);
    // (file, SignerInfos that verify, SignerInfos). Diane's DSS key inherits its parameters, which OpenSSL cannot do.
    for (file, intact, signers) in [("4.1.bin", 1, 1), ("4.6.bin", 1, 2), ("4.7.bin", 1, 1), ("4.10.bin", 1, 1)] {
        let der = read(file);
        let mut cms = Cms::parse(&der).unwrap();
        assert_eq!(cms.kind(), Kind::Signed, "{file}");
        let checked = cms.check(None, &trust.known());
        assert_eq!(checked.len(), signers, "{file}");
        assert_eq!(checked.iter().filter(|c| c.intact).count(), intact, "{file}");
        let verdict = judge_opaque(&der, Measure { trust: &trust, from: None, now: NOW });
        println!("{file}: {} ({}), {:?}", verdict.status, verdict.detail, verdict.signers);
        let refused = [SmimeStatus::Weak, SmimeStatus::Untrusted, SmimeStatus::Altered, SmimeStatus::Unverifiable];
        assert!(verdict.signers.iter().all(|s| refused.contains(&s.status)), "{file}");
        let found = [SmimeStatus::WrongSender, SmimeStatus::Altered, SmimeStatus::Unverifiable];
        assert!(found.contains(&verdict.status) && !verdict.detail.is_empty(), "{file}: {}", verdict.status);
    }
    assert_eq!(opaque_content(&read("4.1.bin")).unwrap(), b"This is some sample content.");
    let certs_only = judge_opaque(&read("4.11.bin"), Measure { trust: &trust, from: None, now: NOW });
    assert_eq!(certs_only.status, SmimeStatus::None, "certificates only: {}", certs_only.detail);
    for file in ["5.2.bin", "7.2.bin"] {
        assert!(
            judge_opaque(&read(file), Measure { trust: &trust, from: None, now: NOW }).encrypted.is_some(),
            "{file}"
        );
    }
    let raw: Vec<u8> = read("5.3.eml");
    let tree = mime::parse(&raw, &Limits::default());
    assert!(examine(&raw, &tree, &trust, None, NOW).0.encrypted, "5.3.eml");
}

#[test]
fn cut_and_bent_cms_objects_never_pass() {
    let Some(folder) = samples("rfc4134") else { return };
    let der = fs::read(folder.join("4.7.bin")).unwrap();
    let trust = TrustStore::empty();
    for length in 0..der.len() {
        let verdict = judge_opaque(&der[..length], Measure { trust: &trust, from: None, now: NOW });
        assert_eq!(verdict.status, SmimeStatus::Malformed, "{length} octets");
    }
    for at in 0..der.len() {
        let mut bent = der.clone();
        bent[at] ^= 0x40;
        let verdict = judge_opaque(&bent, Measure { trust: &trust, from: None, now: NOW });
        assert_ne!(verdict.status, SmimeStatus::Valid, "octet {at}");
    }
}

#[test]
fn scanners_see_what_an_opaque_signature_wraps() {
    use base64::Engine as _;

    let inner = b"Content-Type: application/zip; name=a.zip\r\nContent-Transfer-Encoding: base64\r\n\r\nUEsDBA==\r\n";
    // Without a signer: malware needs no valid signature to be shown.
    let body = base64::engine::general_purpose::STANDARD.encode(signed_data(inner));
    let raw = format!(
        "Content-Type: application/pkcs7-mime; smime-type=signed-data; name=smime.p7m\r\n\
        Content-Transfer-Encoding: base64\r\n\r\n{body}\r\n"
    );
    let tree = mime::parse(raw.as_bytes(), &Limits::default());
    let limits = super::super::Limits::from(&crate::session::settings::Limits::default());
    let (objects, _) = super::super::objects::collect(&tree, &limits, super::super::archive::Budget::new(&limits));
    let zip = objects.iter().find(|o| o.names.iter().any(|n| n == "a.zip"));
    assert_eq!(zip.map(|o| (o.path.as_str(), &o.data[..])), Some(("1/signed/1", &b"PK\x03\x04"[..])));
}

/// SignedData without signers (RFC 5652 §5.1), as DER.
fn signed_data(content: &[u8]) -> Vec<u8> {
    let tlv = |tag: u8, body: &[u8]| {
        let mut out = vec![tag, 0x82];
        out.extend(u16::try_from(body.len()).unwrap().to_be_bytes());
        out.extend(body);
        out
    };
    let data = [0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x01];
    let encapsulated = tlv(0x30, &[&data[..], &tlv(0xa0, &tlv(0x04, content))].concat());
    let signed = tlv(0x30, &[&[2, 1, 1][..], &tlv(0x31, &[]), &encapsulated, &tlv(0x31, &[])].concat());
    tlv(0x30, &[&SIGNED_DATA[..], &tlv(0xa0, &signed)].concat())
}
