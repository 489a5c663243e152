//! What each cover gives under a password that Office tries by itself, under one of the letter, and under none.

mod samples;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::super::super::tests::{codes, examine, examine_with, policy, samples as files};
use super::super::tests::compound;
use crate::inspect::inspector::Examiner;

fn octets(text: &str) -> Vec<u8> {
    STANDARD.decode(text).unwrap()
}

fn package((description, package): (&str, &str)) -> Vec<u8> {
    compound(&[("EncryptionInfo", &octets(description)), ("EncryptedPackage", &octets(package))])
}

#[test]
fn ms_offcrypto_2_3_what_office_opens_by_itself_is_opened() {
    let policy = policy();
    let loaded = policy.open(None).unwrap();
    let examiner = Examiner::new(&loaded);
    let book = |coded: &str| compound(&[("Workbook", &octets(coded))]);
    for (name, file, wanted) in [
        ("agile.xlsx", package(samples::AGILE), "malware.eicar"),
        ("rc4.xls", book(samples::RC4), "macro.xlm"),
        ("cryptoapi.xls", book(samples::CRYPTOAPI), "macro.xlm"),
        ("xor.xls", book(samples::XOR), "macro.xlm"),
    ] {
        let found = codes(&examine(&examiner, name, "application/octet-stream", &file));
        for code in [wanted, "office.default-password"] {
            assert!(found.iter().any(|c| c == code), "{name}: no {code} in {found:?}");
        }
        if wanted == "macro.xlm" {
            assert!(found.iter().any(|c| c == "macro.suspicious"), "{name}: {found:?}");
        }
        assert!(!found.iter().any(|c| c == "office.encrypted"), "{name}: {found:?}");
    }
}

#[test]
fn a_password_of_the_letter_opens_a_document_and_no_other_does() {
    let policy = policy();
    let loaded = policy.open(None).unwrap();
    let examiner = Examiner::new(&loaded);
    let file = package(samples::STANDARD);
    let told = examine_with(&examiner, "Mật khẩu mở tệp: hoso2026", "a.docx", "application/octet-stream", &file);
    let found = codes(&told);
    for code in ["malware.eicar", "archive.password_in_text"] {
        assert!(found.iter().any(|c| c == code), "no {code} in {found:?}");
    }
    let untold = codes(&examine(&examiner, "a.docx", "application/octet-stream", &file));
    assert!(untold.iter().any(|c| c == "office.encrypted"), "{untold:?}");
    assert!(!untold.iter().any(|c| c == "malware.eicar"), "{untold:?}");
}

/// Real files, the password in the letter.
#[test]
fn samples_open_with_their_passwords() {
    let policy = policy();
    let loaded = policy.open(None).unwrap();
    let examiner = Examiner::new(&loaded);
    let all = files("files/office");
    for (name, password) in [
        ("autostart-encrypt-standardpassword.xls", ""),
        ("dde-test-encrypt-standardpassword.xlsx", ""),
        ("bug53475-password-is-solrcell.docx", "solrcell"),
        ("password_password_cryptoapi.doc", "password"),
        ("password_tika_binaryrc4.doc", "tika"),
        ("xor-encryption-abc.xls", "abc"),
        ("protected_agile.docx", "foobaa"),
        ("Password_Protected-hello.ppt", "hello"),
    ] {
        let Some(file) = all.iter().find(|f| f.ends_with(name)) else { continue };
        let body = std::fs::read(file).unwrap();
        let facts = examine_with(&examiner, &format!("password: {password}"), name, "application/octet-stream", &body);
        let found = codes(&facts);
        println!("{name}: {found:?}, {} parts", facts.parts.len());
        let opened = found.iter().any(|c| c == "archive.password_in_text" || c == "office.default-password");
        assert!(opened && !found.contains(&"office.encrypted".to_owned()), "{name}: {found:?}");
    }
}
