//! Mail that clients read in several ways, through the production binary: held, refused, let through or written anew, as
//! the agency says; never a payload in any reading, never a change to signed mail.

use crate::kit::client::{Answer, Client};
use crate::kit::gateway::{Gateway, luytre, receipt_id};
use crate::kit::site::Site;
use luytre::mail::mime::{self, Limits};

fn send(gateway: &Gateway, message: &str) -> Answer {
    let mut client = Client::connect_as(gateway.address("mx"), "198.51.100.10").unwrap();
    client.say("EHLO mail.partner.example").unwrap();
    client.deliver("ketoan@partner.example", &["an@agency.test"], message.as_bytes()).unwrap()
}

/// Two boundaries, each of which divides the body; `hidden` stands in the reading by the second.
fn two_ways(ctype: &str, hidden: &str) -> String {
    format!(
        "From: <ketoan@partner.example>\r\nTo: an@agency.test\r\nSubject: Bao cao\r\nDate: Sun, 22 Nov 2026 06:00:00 +0000\r\n\
Message-ID: <1@partner.example>\r\nMIME-Version: 1.0\r\nContent-Type: {ctype}; boundary=a; boundary=b\r\n\r\n--a\r\n\
Content-Type: text/plain; charset=utf-8\r\n\r\nKinh gui anh An\r\n--a--\r\n--b\r\nContent-Type: application/octet-stream\r\n\
Content-Transfer-Encoding: base64\r\n\r\n{hidden}\r\n--b--\r\n"
    )
}

fn site(name: &str, ambiguous: &str) -> Site {
    Site::new(name).section(&format!("[verdict]\nambiguous = \"{ambiguous}\"\n"))
}

const HARMLESS: &str = "aGlkZGVuIHRleHQgdGhhdCBoYXJtcyBub2JvZHk=";

#[test]
fn a_canonical_copy_goes_on_where_the_agency_wants_one() {
    let site = site("canonical", "rewrite");
    let gateway = site.start();
    let answer = send(&gateway, &two_ways("multipart/mixed", HARMLESS));
    assert_eq!(answer.code, 250, "{}", answer.text);
    let text = site.sink.wait_for_count(1)[0].text();
    assert!(text.contains("\r\nX-Luytre-Rewritten: canonical\r\n"), "{text}");
    assert!(
        text.contains("Kinh gui anh An") && text.contains("Subject: Bao cao") && !text.contains(HARMLESS),
        "{text}"
    );
    let tree = mime::parse(text.as_bytes(), &Limits::default());
    assert!(tree.oddities.is_empty() && tree.alternatives.is_empty(), "{:?}", tree.oddities);
    let config = gateway.config.to_str().unwrap();
    let (code, receipt, error) = luytre(&["receipt", "--config", config, &receipt_id(&answer.text).unwrap()]);
    assert_eq!(code, 0, "{error}");
    assert!(receipt.contains("canonical") && receipt.contains("boundary-"), "{receipt}");

    // What is not ambiguous goes on octet by octet.
    let plain = two_ways("multipart/mixed", HARMLESS)
        .replace("; boundary=b", "")
        .replace("--b", "--c")
        .replace("--a--\r\n--c", "--a");
    let plain = plain.replace("--c--", "--a--");
    assert_eq!(send(&gateway, &plain).code, 250);
    let text = site.sink.wait_for_count(2)[1].text();
    assert!(
        text.ends_with(plain.split_once("MIME-Version").unwrap().1) && !text.contains("X-Luytre-Rewritten"),
        "{text}"
    );
}

#[test]
fn malware_and_signatures_are_not_rewritten_away() {
    let site = site("not-rewritten", "rewrite");
    let gateway = site.start();
    // EICAR, in the reading that the copy would not have.
    let eicar =
        ["WDVPIVAlQEFQWzRcUFpYNTQoUF4pN0NDKTd9JEVJQ0FSLVNUQU5EQVJE", "LUFOVElWSVJVUy1URVNULUZJTEUhJEgrSCo="].concat();
    for (message, cause) in [
        (two_ways("multipart/mixed", &eicar), "malware.eicar"),
        (two_ways("multipart/signed; protocol=\"application/pkcs7-signature\"", HARMLESS), "mime.not-rewritten"),
    ] {
        let answer = send(&gateway, &message);
        assert_eq!(answer.code, 250, "{}", answer.text);
        let config = gateway.config.to_str().unwrap();
        let (_, receipt, error) = luytre(&["receipt", "--config", config, &receipt_id(&answer.text).unwrap()]);
        assert!(
            receipt.contains(cause) && (receipt.contains("cách ly") || receipt.contains("quarantine")),
            "{receipt}{error}"
        );
    }
    assert!(site.sink.taken().is_empty());
}

#[test]
fn the_other_ways_hold_refuse_or_let_through() {
    for (setting, code) in [("hold", 250), ("refuse", 550), ("scan", 250)] {
        let site = site(setting, setting);
        let gateway = site.start();
        let message = two_ways("multipart/mixed", HARMLESS);
        let answer = send(&gateway, &message);
        assert_eq!(answer.code, code, "{setting}: {}", answer.text);
        if setting == "scan" {
            let text = site.sink.wait_for_count(1)[0].text();
            assert!(text.contains(HARMLESS), "{text}");
        } else {
            assert!(site.sink.taken().is_empty(), "{setting}");
        }
    }
}
