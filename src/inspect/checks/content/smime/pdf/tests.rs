//! Files signed here, and the ways to cheat with them that viewers fell for; pyHanko's verdicts on its own samples.

use openssl::asn1::Asn1Time;
use openssl::bn::BigNum;
use openssl::cms::{CMSOptions, CmsContentInfo};
use openssl::ec::{EcGroup, EcKey};
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::x509::extension::{ExtendedKeyUsage, KeyUsage};
use openssl::x509::{X509, X509Name};

use super::super::TrustMaterial;
use super::*;
use crate::inspect::checks::content::{Limits, Origin, kind};

/// 2026-11-21T23:00:00Z
const NOW: Timestamp = Timestamp::from_seconds(1_795_302_000);
/// Octets kept for a signature.
const ROOM: usize = 4096;

struct Signer {
    key: PKey<Private>,
    certificate: X509,
}

/// A self-signed certificate for `usage`.
fn signer(name: &str, usage: Option<&str>) -> Signer {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
    let key = PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap();
    let mut subject = X509Name::builder().unwrap();
    subject.append_entry_by_text("CN", name).unwrap();
    let subject = subject.build();
    let mut made = X509::builder().unwrap();
    made.set_version(2).unwrap();
    made.set_serial_number(&BigNum::from_u32(7).unwrap().to_asn1_integer().unwrap()).unwrap();
    made.set_subject_name(&subject).unwrap();
    made.set_issuer_name(&subject).unwrap();
    made.set_pubkey(&key).unwrap();
    let date = |offset: i64| Asn1Time::from_unix(NOW.seconds() + offset).unwrap();
    made.set_not_before(&date(-86_400)).unwrap();
    made.set_not_after(&date(86_400)).unwrap();
    made.append_extension(KeyUsage::new().digital_signature().non_repudiation().build().unwrap()).unwrap();
    if let Some(usage) = usage {
        made.append_extension(ExtendedKeyUsage::new().other(usage).build().unwrap()).unwrap();
    }
    made.sign(&key, MessageDigest::sha256()).unwrap();
    Signer { key, certificate: made.build() }
}

fn trust(signers: &[&Signer]) -> TrustStore {
    let anchors = signers.iter().map(|s| s.certificate.to_der().unwrap()).collect();
    TrustStore::from_der(&TrustMaterial { anchors, ..TrustMaterial::default() })
}

const FILE: &str = "%PDF-1.7\n1 0 obj\n<</Type/Catalog/Pages 2 0 R/AcroForm<</Fields[6 0 R]/SigFlags 3>>>>\nendobj\n\
    2 0 obj\n<</Type/Pages/Kids[3 0 R]/Count 1>>\nendobj\n\
    3 0 obj\n<</Type/Page/Parent 2 0 R/Contents 4 0 R/Annots[6 0 R]>>\nendobj\n\
    4 0 obj\n<</Length 10>>stream\npay 100 Tj\nendstream\nendobj\n\
    6 0 obj\n<</FT/Sig/T(Sig1)/V 7 0 R/Subtype/Widget/Rect[0 0 0 0]>>\nendobj\n";

/// `file` with a signature dictionary of number `number` behind it, and signed.
fn signed(file: &[u8], number: u32, extra: &str, by: &Signer) -> Vec<u8> {
    let mut out = file.to_vec();
    out.extend(
        format!("{number} 0 obj\n<</Type/Sig/Filter/Adobe.PPKLite/SubFilter/adbe.pkcs7.detached{extra}/ByteRange[")
            .bytes(),
    );
    let range = out.len();
    out.extend(" ".repeat(60).bytes());
    out.extend(b"]/Contents");
    let start = out.len();
    out.extend(format!("<{}>", "0".repeat(2 * ROOM)).bytes());
    let end = out.len();
    out.extend(b">>\nendobj\ntrailer<</Root 1 0 R>>\nstartxref\n0\n%%EOF\n");
    let text = format!("0 {start} {end} {}", out.len() - end);
    out[range..range + text.len()].copy_from_slice(text.as_bytes());
    let octets = [&out[..start], &out[end..]].concat();
    let options = CMSOptions::DETACHED | CMSOptions::BINARY;
    let cms = CmsContentInfo::sign(Some(&by.certificate), Some(&by.key), None, Some(&octets), options).unwrap();
    let hex: String = cms.to_der().unwrap().iter().map(|b| format!("{b:02x}")).collect();
    out[start + 1..start + 1 + hex.len()].copy_from_slice(hex.as_bytes());
    out
}

fn verdict(file: &[u8], trust: &TrustStore) -> (SmimeStatus, String) {
    let object = Object {
        path: "2".to_owned(),
        names: vec!["a.pdf".to_owned()],
        declared: String::new(),
        kind: kind::of(file),
        data: file.into(),
        origin: Origin::Part,
        depth: 0,
    };
    let budget = Budget::new(&Limits::from(&crate::session::settings::Limits::default()));
    let (status, findings) = examine(&[object], &budget, trust, NOW);
    let detail = findings.first().map(|f| format!("{}: {}", f.code, f.detail)).unwrap_or_default();
    (status, detail)
}

fn check(name: &str, file: &[u8], trust: &TrustStore, wanted: SmimeStatus) {
    let (status, detail) = verdict(file, trust);
    assert_eq!(status, wanted, "{name}: {detail}");
}

fn with(file: &[u8], tail: &str) -> Vec<u8> {
    [file, tail.as_bytes()].concat()
}

fn replaced(file: &[u8], from: &str, to: &str) -> Vec<u8> {
    let at = memchr::memmem::find(file, from.as_bytes()).unwrap();
    [&file[..at], to.as_bytes(), &file[at + from.len()..]].concat()
}

#[test]
fn iso32000_12_8_a_signature_over_the_whole_file_holds_and_no_other() {
    let (anna, stranger) = (signer("Anna", Some("1.3.6.1.5.5.7.3.36")), signer("Stranger", None));
    let trusted = trust(&[&anna]);
    let file = signed(FILE.as_bytes(), 7, "", &anna);
    check("whole", &file, &trusted, SmimeStatus::Valid);
    check("line ends behind", &with(&file, "\r\n"), &trusted, SmimeStatus::Valid);
    check("unsigned", FILE.as_bytes(), &trusted, SmimeStatus::None);
    check("unknown", &signed(FILE.as_bytes(), 7, "", &stranger), &trusted, SmimeStatus::Untrusted);
    check("another amount", &replaced(&file, "pay 100", "pay 900"), &trusted, SmimeStatus::Altered);
    let server = signer("Server", Some("1.3.6.1.5.5.7.3.1"));
    check("a server's", &signed(FILE.as_bytes(), 7, "", &server), &trust(&[&server]), SmimeStatus::Untrusted);
    // Universal signature forgery: something is missing, empty or twice.
    let hex = memchr::memmem::find(&file, b"Contents<").unwrap() + 9;
    let mut empty = file.clone();
    empty[hex..hex + 2 * ROOM].fill(b'0');
    check("empty", &empty, &trusted, SmimeStatus::Unverifiable);
    check("no range", &replaced(&file, "/ByteRange", "/Something"), &trusted, SmimeStatus::Malformed);
    check("no signature", &replaced(&file, "]/Contents", "]/Anything"), &trusted, SmimeStatus::Malformed);
    check(
        "coding",
        &replaced(&file, "adbe.pkcs7.detached", "adbe.pkcs7.anything"),
        &trusted,
        SmimeStatus::Unverifiable,
    );
    check("two", &replaced(&file, "/ByteRange", "/ByteRange[0 0 0 0]/ByteRange"), &trusted, SmimeStatus::Malformed);
    // Ranges that leave out more than the signature, or lie.
    for (from, to) in [("[0 ", "[1 "), ("[0 ", "[0 1 "), ("[0 ", "[0 -"), ("[0 ", "[9999999999999999999 ")] {
        let at = memchr::memmem::find(&file, b"ByteRange[").unwrap();
        let bent = [&file[..at], &replaced(&file[at..], from, to)[..]].concat();
        check(to, &bent, &trusted, SmimeStatus::Malformed);
    }
    // A cut file.
    for length in (0..file.len()).step_by(97) {
        let (status, detail) = verdict(&file[..length], &trusted);
        assert_ne!(status, SmimeStatus::Valid, "{length}: {detail}");
    }
}

#[test]
fn iso32000_7_5_6_what_comes_behind_a_signature_is_held_against_it() {
    let (anna, binh) = (signer("Anna", None), signer("Binh", None));
    let trusted = trust(&[&anna, &binh]);
    let file = signed(FILE.as_bytes(), 7, "", &anna);
    let content = "4 0 obj\n<</Length 10>>stream\npay 900 Tj\nendstream\nendobj\n";
    let note = "9 0 obj\n<</Type/Annot/Subtype/FreeText/Contents(pay 900)/Rect[0 0 9 9]>>\nendobj\n\
        3 0 obj\n<</Type/Page/Parent 2 0 R/Contents 4 0 R/Annots[6 0 R 9 0 R]>>\nendobj\n";
    let another = "3 0 obj\n<</Type/Page/Parent 2 0 R/Contents 8 0 R/Annots[6 0 R]>>\nendobj\n";
    let proofs = "1 0 obj\n<</Type/Catalog/Pages 2 0 R/AcroForm<</Fields[6 0 R]/SigFlags 3>>/DSS 9 0 R>>\nendobj\n\
        9 0 obj\n<</Certs[10 0 R]>>\nendobj\n10 0 obj\n<</Length 3>>stream\nabc\nendstream\nendobj\n";
    let field = "1 0 obj\n<</Type/Catalog/Pages 2 0 R/AcroForm<</Fields[6 0 R 11 0 R]/SigFlags 3>>>>\nendobj\n\
        11 0 obj\n<</FT/Sig/T(Sig2)/V 12 0 R/Subtype/Widget/Rect[0 0 0 0]>>\nendobj\n";
    let end = "trailer<</Root 1 0 R>>\n%%EOF\n";
    for (name, tail, wanted) in [
        ("content", content, SmimeStatus::Modified),
        ("a note", note, SmimeStatus::Modified),
        ("another stream", another, SmimeStatus::Modified),
        ("proofs of validity", proofs, SmimeStatus::Valid),
        ("octets", "hello", SmimeStatus::Modified),
        ("another catalogue", "20 0 obj\n<</Type/Catalog>>\nendobj\ntrailer<</Root 20 0 R>>", SmimeStatus::Modified),
    ] {
        check(name, &with(&file, &format!("{tail}{end}")), &trusted, wanted);
    }
    // The clerk signs what the director signed, as agencies do; and what neither may do by it.
    for (name, extra, tail, wanted) in [
        ("a second signature", "", field.to_owned(), SmimeStatus::Valid),
        ("and a note", "", format!("{field}{note}"), SmimeStatus::Valid),
        ("and another amount", "", format!("{field}{content}"), SmimeStatus::Modified),
        ("certified, nothing allowed", reference(1).as_str(), field.to_owned(), SmimeStatus::Modified),
        ("certified, forms allowed", reference(2).as_str(), field.to_owned(), SmimeStatus::Valid),
        ("certified, a note", reference(2).as_str(), format!("{field}{note}"), SmimeStatus::Modified),
        ("certified elsewhere, a note", "/Reference 30 0 R", format!("{field}{note}"), SmimeStatus::Modified),
        ("certified, notes allowed", reference(3).as_str(), format!("{field}{note}"), SmimeStatus::Valid),
    ] {
        let first = signed(FILE.as_bytes(), 7, extra, &anna);
        let second = signed(&with(&first, &tail), 12, "", &binh);
        check(name, &second, &trusted, wanted);
    }
}

fn reference(level: u8) -> String {
    format!(
        "/Reference[<</Type/SigRef/TransformMethod/DocMDP/TransformParams<</Type/TransformParams/P {level}/V/1.2>>>>]"
    )
}

#[test]
fn the_reference_verdicts_of_pyhanko_are_met() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/testdata/sigs/pdf-pyhanko");
    let Ok(text) = std::fs::read(format!("{folder}/reference-pyhanko.json")) else {
        println!("skipped: {folder} is not here");
        return;
    };
    let reference: serde_json::Value = serde_json::from_slice(&text).unwrap();
    for entry in reference["files"].as_array().unwrap() {
        let (name, signatures) = (entry["file"].as_str().unwrap(), entry["signatures"].as_array().unwrap());
        let (status, detail) = verdict(&std::fs::read(format!("{folder}/{name}")).unwrap(), &TrustStore::empty());
        println!("{name}: {status} ({detail}), {} signatures", signatures.len());
        let wanted = if signatures.is_empty() { SmimeStatus::None } else { SmimeStatus::Untrusted };
        assert_eq!(status, wanted, "{name}: {detail}");
    }
}
