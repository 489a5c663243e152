//! What was delivered, looked at again: at once when new mail shows what a digest is, by itself after rules change, and
//! on command; with the quarantine's own octets through the gateway's inspectors and engines.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use base64::Engine as _;

use crate::kit::client::{Answer, Client};
use crate::kit::gateway::{Gateway, luytre, receipt_id};
use crate::kit::site::Site;

fn send(gateway: &Gateway, message: &str) -> Answer {
    let mut client = Client::connect_as(gateway.address("mx"), "198.51.100.10").unwrap();
    client.say("EHLO mail.partner.example").unwrap();
    client.deliver("ketoan@partner.example", &["an@agency.test"], message.as_bytes()).unwrap()
}

fn id(answer: &Answer) -> String {
    receipt_id(&answer.text).unwrap_or_else(|| panic!("no receipt id in {}", answer.text))
}

fn with_attachment(subject: &str, name: &str, octets: &[u8]) -> String {
    let coded = base64::engine::general_purpose::STANDARD.encode(octets);
    format!(
        "From: ketoan@partner.example\r\nTo: an@agency.test\r\nSubject: {subject}\r\n\
         Date: Sat, 21 Nov 2026 08:00:00 +0700\r\nMessage-ID: <{name}@partner.example>\r\nMIME-Version: 1.0\r\n\
         Content-Type: multipart/mixed; boundary=\"b1\"\r\n\r\n--b1\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n\
         Kinh gui anh An, xin gui tai lieu kem theo.\r\n--b1\r\nContent-Type: application/octet-stream\r\n\
         Content-Disposition: attachment; filename=\"{name}\"\r\nContent-Transfer-Encoding: base64\r\n\r\n{coded}\r\n--b1--\r\n"
    )
}

/// An engine that knows the words in a file, and nothing before there is one.
fn engine(site: &Site) -> (PathBuf, String) {
    let signatures = site.folder.path().join("signatures.txt");
    let script = site.folder.write(
        "scan.sh",
        format!(
            "#!/bin/sh\n[ -s {0} ] && grep -qaFf {0} \"$1\" && {{ echo \"Trojan.Moi FOUND\"; exit 1; }}\nexit 0\n",
            signatures.display()
        ),
    );
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    let section = format!(
        "[[engine]]\nid = \"own\"\nkind = \"command\"\ncommand = [\"{}\", \"{{file}}\"]\nsees = \"parts\"\n\
         clean = [0]\ninfected = [1]\npattern = \"(.+) FOUND\"\n\n",
        script.display()
    );
    (signatures, section)
}

/// Text of a letter that was coded line by line.
fn decoded(body: &str) -> String {
    let coded: String = body.split("\r\n\r\n").nth(1).unwrap_or_default().split_whitespace().collect();
    String::from_utf8_lossy(&base64::engine::general_purpose::STANDARD.decode(coded).unwrap()).into_owned()
}

#[test]
fn what_an_engine_calls_a_virus_today_is_found_at_once_in_yesterdays_mail() {
    let site = Site::new("sighted");
    let (signatures, section) = engine(&site);
    let site = site.section(&section);
    let gateway = site.start();
    let config = gateway.config.to_str().unwrap();
    let octets = b"\x00\x01 chuong trinh cua ke xau \x02\x03".repeat(20);
    let first = send(&gateway, &with_attachment("Bao gia", "bao-gia.bin", &octets));
    let other = send(&gateway, &with_attachment("Lich hop", "lich.bin", b"\x00\x01 lich hop tuan"));
    assert_eq!((first.code, other.code), (250, 250), "{} {}", first.text, other.text);
    site.sink.wait_for_count(2);

    // The engine learns of it, and the next such message shows what the first one was.
    std::fs::write(&signatures, "chuong trinh cua ke xau\n").unwrap();
    let second = send(&gateway, &with_attachment("Hop dong", "hop-dong.bin", &octets));
    assert_eq!(second.code, 250, "{}", second.text);
    let letter = site.sink.wait_for_count(3)[2].clone();
    assert_eq!(letter.header("To").as_deref(), Some("<postmaster@agency.test>"), "{}", letter.text());
    let text = decoded(&letter.text());
    assert!(text.contains(&id(&first)) && text.contains("an@agency.test"), "{text}");
    assert!(text.contains("malware.trojan.moi") && !text.contains(&id(&other)), "{text}");
    assert!(text.contains("đã được chuyển") && text.contains("were delivered") && !text.contains("Bao gia"), "{text}");
    assert_eq!(gateway.metric("luytre_retro_deliveries_total"), 1.0);
    let (_, acts, _) = luytre(&["log", "audit", "--config", config, "--what", "retro"]);
    assert!(acts.contains("retro.found") && acts.contains(&id(&first)), "{acts}");

    // On command it is found again, and told no second time: to nobody and in no letter.
    let (code, text, error) = luytre(&["retro", "--config", config, "--json"]);
    assert!(code == 0 && text.contains(&id(&first)), "{text}{error}");
    assert_eq!(gateway.metric("luytre_retro_deliveries_total"), 1.0);
    let events: String = std::fs::read_dir(site.folder.path().join("data/events"))
        .unwrap()
        .flatten()
        .map(|day| std::fs::read_to_string(day.path()).unwrap())
        .collect();
    let told: Vec<&str> = events.lines().filter(|line| line.contains("\"event\":\"retro\"")).collect();
    assert!(told.len() == 1 && told[0].contains(&id(&first)), "{events}");
}

#[test]
fn held_mail_is_looked_at_with_the_rules_and_engines_of_today_and_so_is_what_was_let_go() {
    let site = Site::new("held-again");
    let (signatures, section) = engine(&site);
    let rule = "[[attachments.rule]]\nname = \"data-files\"\nnames = [\"*.dat\"]\naction = \"quarantine\"\n\n";
    let site = site.section(&section).section(rule);
    let gateway = site.start();
    let config = gateway.config.to_str().unwrap();
    let octets = b"\x00\x01 chuong trinh cua ke xau \x02\x03".repeat(20);
    let held = id(&send(&gateway, &with_attachment("Mot", "so-lieu.dat", &octets)));
    let freed = id(&send(&gateway, &with_attachment("Hai", "so-lieu-2.dat", &octets)));
    let plain = id(&send(&gateway, &with_attachment("Ba", "so-lieu.bin", &octets)));
    site.sink.wait_for_count(1);
    let release = ["quarantine", "release", "--config", config, "--reason", "can cho cong viec"];
    let (code, _, error) = luytre(&[release.as_slice(), &[&format!("{freed}-0")]].concat());
    assert_eq!(code, 0, "{error}");
    site.sink.wait_for_count(2);

    std::fs::write(&signatures, "chuong trinh cua ke xau\n").unwrap();
    let (code, text, error) = luytre(&["retro", "--config", config, "--json"]);
    assert_eq!(code, 0, "{error}");
    let hits: Vec<serde_json::Value> = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let states = |id: &str| -> Vec<&str> {
        let mut all: Vec<&str> =
            hits.iter().filter(|hit| hit["id"] == id).filter_map(|hit| hit["state"].as_str()).collect();
        all.sort_unstable();
        all.dedup();
        all
    };
    assert_eq!(states(&held), ["held"], "{text}");
    assert_eq!(states(&freed), ["released"], "{text}");
    assert_eq!(states(&plain), ["delivered"], "what held octets are is looked for in what was delivered: {text}");
    let letter = site.sink.wait_for_count(3)[2].clone();
    let text = decoded(&letter.text());
    assert!(text.contains("đừng thả") && text.contains("do not release"), "{text}");
    // And it cannot be let go now without force.
    let (code, _, error) = luytre(&[release.as_slice(), &[&format!("{held}-0")]].concat());
    assert!(code == 1 && error.contains("malware.trojan.moi"), "{error}");
}

#[test]
fn after_a_change_of_rules_the_gateway_looks_by_itself() {
    let rule = "[[attachments.rule]]\nname = \"data-files\"\nnames = [\"*.dat\"]\naction = \"quarantine\"\n\n";
    let site = Site::new("by-itself").section(rule).section("[retro]\nafter = \"1 s\"\n\n");
    let gateway = site.start();
    let before = send(&gateway, &with_attachment("Bao gia", "bao-gia.xyz", b"mot hai ba"));
    assert_eq!(before.code, 250, "{}", before.text);
    site.sink.wait_for_count(1);
    let text = std::fs::read_to_string(&gateway.config).unwrap();
    std::fs::write(&gateway.config, text.replace("\"*.dat\"", "\"*.dat\", \"*.xyz\"")).unwrap();
    gateway.signal(nix::sys::signal::Signal::SIGHUP);
    let letter = site.sink.wait_for_count(2)[1].clone();
    let text = decoded(&letter.text());
    assert!(text.contains(&id(&before)) && text.contains("policy.data-files"), "{text}");
    assert_eq!(gateway.metric("luytre_retro_found"), 1.0);
}
