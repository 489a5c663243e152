//! Attachment policy, emergency bypass and `luytre retro` on the production binary.

use base64::Engine as _;
use sha2::{Digest as _, Sha256};

use crate::kit::client::{Answer, Client};
use crate::kit::gateway::{self, Gateway, luytre};
use crate::kit::site::Site;

fn send(gateway: &Gateway, message: &str) -> Answer {
    let mut client = Client::connect_as(gateway.address("mx"), "198.51.100.10").unwrap();
    client.say("EHLO mail.partner.example").unwrap();
    client.deliver("ketoan@partner.example", &["an@agency.test"], message.as_bytes()).unwrap()
}

fn id(answer: &Answer) -> String {
    gateway::receipt_id(&answer.text).unwrap_or_else(|| panic!("no receipt id in {}", answer.text))
}

/// A letter with one attachment.
fn with_attachment(name: &str, octets: &[u8]) -> String {
    let coded = base64::engine::general_purpose::STANDARD.encode(octets);
    format!(
        "From: ketoan@partner.example\r\nTo: an@agency.test\r\nSubject: Bao gia\r\n\
         Date: Sat, 21 Nov 2026 08:00:00 +0700\r\nMessage-ID: <{}@partner.example>\r\nMIME-Version: 1.0\r\n\
         Content-Type: multipart/mixed; boundary=\"b1\"\r\n\r\n--b1\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n\
         Kinh gui anh An, xin gui bao gia kem theo.\r\n--b1\r\nContent-Type: application/octet-stream\r\n\
         Content-Disposition: attachment; filename=\"{name}\"\r\nContent-Transfer-Encoding: base64\r\n\r\n{coded}\r\n--b1--\r\n",
        name.len()
    )
}

fn json(text: &str) -> Vec<serde_json::Value> {
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

#[test]
fn r15_a_stripped_part_gives_way_to_a_notice_and_the_original_is_held() {
    let rule = "[[attachments.rule]]\nname = \"data-files\"\nnames = [\"*.dat\"]\naction = \"strip\"\n\
                [[attachments.rule]]\nname = \"logs\"\nnames = [\"*.log\"]\naction = \"reject\"\n\n";
    let site = Site::new("strip").section(rule);
    let gateway = site.start();
    let config = gateway.config.to_str().unwrap();
    let message = with_attachment("so-lieu.dat", b"mot hai ba bon");
    let answer = send(&gateway, &message);
    assert_eq!(answer.code, 250, "{}", answer.text);
    let taken = site.sink.wait_for_count(1);
    let got = taken[0].text();
    let body = base64::engine::general_purpose::STANDARD.encode("mot hai ba bon");
    assert!(!got.contains(&body) && got.contains("THONG-BAO-NOTICE.txt"), "{got}");
    assert!(got.contains("Kinh gui anh An"), "the letter itself stays: {got}");
    // The original, octet for octet.
    let (code, whole, error) =
        luytre(&["quarantine", "show", "--config", config, "--raw", "--reason", "thu", &id(&answer)]);
    assert_eq!(code, 0, "{error}");
    assert!(whole.ends_with(&message[message.find("--b1").unwrap()..]), "{whole}");
    let (_, receipt, _) = luytre(&["receipt", "--config", config, &id(&answer)]);
    assert!(receipt.contains("policy.data-files") && receipt.contains("so-lieu.dat"), "{receipt}");

    let answer = send(&gateway, &with_attachment("may-chu.log", b"GET / 200"));
    assert_eq!(answer.code, 550, "{}", answer.text);
    assert!(answer.text.contains("attachment of this kind") && answer.text.is_ascii(), "{}", answer.text);
}

#[test]
fn r48_under_the_bypass_mail_flows_with_a_receipt_and_it_is_over_on_command() {
    let site = Site::new("bypass");
    let gateway = site.start();
    let config = gateway.config.to_str().unwrap();
    let script = with_attachment("chay.vbs", b"MsgBox 1");
    assert_eq!(send(&gateway, &script).code, 250);
    assert!(site.sink.taken().is_empty(), "held by the attachment rules");
    let (code, ..) = luytre(&["bypass", "on", "--config", config, "--for", "48h", "--reason", "x"]);
    assert_ne!(code, 0, "nobody is in an emergency for two days");
    let on = ["bypass", "on", "--config", config, "--for", "2h", "--reason", "quy tac hong"];
    let (code, text, error) = luytre(&on);
    assert!(code == 0 && text.contains("on until"), "{text}{error}");

    let answer = send(&gateway, &script);
    assert_eq!(answer.code, 250, "{}", answer.text);
    site.sink.wait_for_count(1);
    let (_, receipt, _) = luytre(&["receipt", "--config", config, &id(&answer)]);
    assert!(receipt.contains("bypass.active") && receipt.contains("quy tac hong"), "{receipt}");
    let (_, status, _) = luytre(&["bypass", "status", "--config", config, "--json"]);
    assert!(status.contains("\"on\":true"), "{status}");

    let (code, text, error) = luytre(&["bypass", "off", "--config", config, "--reason", "da sua"]);
    assert_eq!(code, 0, "{text}{error}");
    assert_eq!(send(&gateway, &script).code, 250);
    assert_eq!(site.sink.taken().len(), 1, "inspected again");
    let (_, acts, _) = luytre(&["log", "audit", "--config", config, "--what", "bypass"]);
    assert!(acts.contains("bypass.on") && acts.contains("bypass.off") && acts.contains("da sua"), "{acts}");
}

#[test]
fn retro_names_who_received_what_is_known_to_be_bad_today() {
    let site = Site::new("retro");
    let gateway = site.start();
    let config = gateway.config.to_str().unwrap();
    let bad = b"hom qua chua ai biet";
    let (first, other) =
        (send(&gateway, &with_attachment("bao-gia.bin", bad)), send(&gateway, &with_attachment("b.bin", b"x")));
    assert_eq!((first.code, other.code), (250, 250), "{} {}", first.text, other.text);
    site.sink.wait_for_count(2);
    let (code, text, error) = luytre(&["retro", "--config", config]);
    assert!(code == 0 && text.contains("Nobody"), "{text}{error}");

    let digest: String = Sha256::digest(bad).iter().map(|octet| format!("{octet:02x}")).collect();
    site.folder.write("new.txt", format!("# today\n{digest} Emotet\n"));
    let list = site.folder.path().join("new.txt");
    let (code, text, error) = luytre(&["retro", "--config", config, "--hashes", list.to_str().unwrap(), "--json"]);
    assert_eq!(code, 0, "{text}{error}");
    let hits = json(&text);
    assert_eq!(hits.len(), 1, "{text}");
    assert_eq!(hits[0]["id"], id(&first));
    assert_eq!(hits[0]["recipients"], serde_json::json!(["an@agency.test"]));
    assert_eq!((hits[0]["name"].as_str(), hits[0]["because"].as_str()), (Some("bao-gia.bin"), Some("hash Emotet")));
    assert_eq!(gateway.metric("luytre_retro_found"), 1.0);
    let (_, acts, _) = luytre(&["log", "audit", "--config", config, "--what", "retro"]);
    assert!(acts.contains("retro.found") && acts.contains("an@agency.test"), "{acts}");

    // A rule of today over what receipts hold.
    let rule = "\n[[attachments.rule]]\nname = \"bin-files\"\nnames = [\"b.bin\"]\naction = \"quarantine\"\n";
    let text = std::fs::read_to_string(&gateway.config).unwrap();
    let new = gateway.config.with_file_name("new.toml");
    std::fs::write(&new, text + rule).unwrap();
    let (code, text, error) = luytre(&["retro", "--config", new.to_str().unwrap()]);
    assert!(code == 0 && text.contains(&id(&other)) && text.contains("policy.bin-files"), "{text}{error}");
    assert!(!text.contains(&id(&first)), "{text}");
}
