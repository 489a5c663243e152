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

#[test]
fn rfc5322_3_6_6_a_release_changes_no_octet_and_names_the_officer_by_the_kernels_word() {
    let rule = "[[attachments.rule]]\nname = \"data-files\"\nnames = [\"*.dat\"]\naction = \"quarantine\"\n\n";
    let site = Site::new("released").section(rule);
    let gateway = site.start();
    let config = gateway.config.to_str().unwrap();
    let message = format!(
        "DKIM-Signature: v=1; a=rsa-sha256; d=partner.example; s=x; h=from; bh=x; b=x\r\n{}",
        with_attachment("so-lieu.dat", b"mot hai ba bon")
    );
    let key = format!("{}-0", id(&send(&gateway, &message)));
    let release = |rest: &[&str]| {
        let arguments = [&["quarantine", "release", "--config", config, "--reason", "hoi qua dien thoai", &key], rest];
        let out = std::process::Command::new(env!("CARGO_BIN_EXE_luytre"))
            .args(arguments.concat())
            .env("SUDO_USER", "lan")
            .output()
            .unwrap();
        (out.status.code(), String::from_utf8_lossy(&out.stderr).into_owned())
    };
    // A copy for somebody else first: it stays held.
    assert_eq!(release(&["--to", "binh@agency.test"]).0, Some(0));
    assert_eq!(release(&["--to", "ai@elsewhere.example"]).0, Some(1), "held mail never leaves by this door");
    assert_eq!(release(&[]).0, Some(0));
    let (code, error) = release(&[]);
    assert!(code == Some(1) && error.contains("already released"), "{error}");
    let taken = site.sink.wait_for_count(2);
    for (mail, to) in taken.iter().zip(["binh@agency.test", "an@agency.test"]) {
        let text = mail.text();
        assert!(text.ends_with(&message), "octet for octet, signatures too: {text}");
        for field in ["Resent-Date", "Resent-From", "Resent-Message-ID", "X-Luytre-Released"] {
            assert!(mail.header(field).is_some(), "{field}: {text}");
        }
        assert_eq!(mail.header("Resent-To").as_deref(), Some(to));
    }
    let own = nix::unistd::User::from_uid(nix::unistd::Uid::current()).unwrap().unwrap().name;
    let (_, acts, _) = luytre(&["log", "audit", "--config", config, "--what", "quarantine", "--json"]);
    assert!(acts.contains(&format!("{own} (sudo by lan)")) && acts.contains("quarantine.forwarded"), "{acts}");
}

#[test]
fn the_key_may_come_from_systemd_and_then_none_is_made() {
    let site = Site::new("credential");
    let (_, line, _) = luytre(&["quarantine", "key", "new", "--config", site.write().to_str().unwrap()]);
    let line = if line.is_empty() {
        "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff\n".into()
    } else {
        line
    };
    let key = site.folder.write("credentials/luytre-quarantine-key", &line);
    let script = site.folder.write(
        "start.sh",
        format!(
            "#!/bin/sh\nCREDENTIALS_DIRECTORY={} exec {} \"$@\"\n",
            key.parent().unwrap().display(),
            env!("CARGO_BIN_EXE_luytre")
        ),
    );
    std::fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let gateway = Gateway::spawn_from(&script, &site.write());
    gateway.wait_for_line("ready", |line| line.contains("\"ready\""));
    let config = gateway.config.to_str().unwrap();
    assert_eq!(send(&gateway, &with_attachment("chay.vbs", b"MsgBox 1")).code, 250);
    let (_, keys, error) = luytre(&["quarantine", "key", "list", "--config", config]);
    assert!(keys.contains(key.to_str().unwrap()), "{keys}{error}");
    assert!(!site.folder.path().join("data/quarantine.key").exists(), "no key of its own beside the data");
    let (code, _, error) = luytre(&["quarantine", "key", "rotate", "--config", config]);
    assert!(code == 1 && error.contains("LoadCredential"), "{error}");
}

/// A message of parts: content type and further fields, and the body of each.
fn of_parts(kind: &str, parts: &[(&str, &str)]) -> String {
    let mut text = format!(
        "From: ketoan@partner.example\r\nTo: an@agency.test\r\nSubject: Bao gia\r\nDate: Sat, 21 Nov 2026 08:00:00 +0700\r\n\
         Message-ID: <odd@partner.example>\r\nMIME-Version: 1.0\r\nContent-Type: {kind}; boundary=\"b1\"\r\n\r\n"
    );
    for (fields, body) in parts {
        text.push_str(&format!("--b1\r\n{fields}\r\n\r\n{body}\r\n"));
    }
    text + "--b1--\r\n"
}

#[test]
fn design_9_scan_says_what_the_gateway_would_do_to_odd_mail_with_a_part_to_strip() {
    let rule = "[[attachments.rule]]\nname = \"data-files\"\nnames = [\"*.dat\", \"số liệu*\"]\naction = \"strip\"\n\n";
    let site = Site::new("odd").section(rule);
    let letter = ("Content-Type: text/plain", "Kinh gui anh An.");
    let data = |name: &str| {
        let fields = format!(
            "Content-Type: application/octet-stream; name=\"{name}\"\r\nContent-Disposition: attachment; filename=\"{name}\""
        );
        (fields, "mot hai ba")
    };
    let (a, odd) = (data("a.dat"), data("=?utf-8?Q?s=E1=BB=91_li=E1=BB=87u.bin?="));
    let (a, odd) = ((a.0.as_str(), a.1), (odd.0.as_str(), odd.1));
    let mixed = "multipart/mixed";
    let plain = of_parts(mixed, &[letter, a]);
    let signature =
        ("Content-Type: application/pkcs7-signature; name=\"smime.p7s\"\r\nContent-Transfer-Encoding: base64", "MAA=");
    let signed =
        of_parts("multipart/signed; protocol=\"application/pkcs7-signature\"; micalg=sha-256", &[a, signature]);
    let forwarded = of_parts(mixed, &[letter, ("Content-Type: message/rfc822", &signed.replace("b1", "b2"))]);
    let nested = of_parts(mixed, &[letter, ("Content-Type: message/rfc822", &plain.replace("b1", "b2"))]);
    let dkim = format!("DKIM-Signature: v=1; a=rsa-sha256; d=partner.example; s=x; h=from; bh=x; b=x\r\n{plain}");
    // What must come of it; `None`: either, as long as the part does not pass.
    let cases: [(&str, String, Option<bool>); 9] = [
        ("plain", plain.clone(), Some(true)),
        ("twice", of_parts(mixed, &[letter, a, a]), Some(true)),
        ("charset", of_parts(mixed, &[letter, odd]), Some(true)),
        ("all", of_parts(mixed, &[a, a]), Some(true)),
        ("dkim", dkim, Some(true)),
        ("signed", signed, Some(false)),
        ("forwarded", forwarded, Some(false)),
        ("nested", nested, None),
        ("alternative", of_parts("multipart/alternative", &[letter, a]), None),
    ];
    let config = site.write();
    for (name, message, _) in &cases {
        site.folder.write(&format!("mail/{name}.eml"), message);
    }
    let folder = site.folder.path().join("mail");
    let (code, text, error) =
        luytre(&["scan", "--config", config.to_str().unwrap(), "--json", folder.to_str().unwrap()]);
    assert_eq!(code, 0, "{error}");
    let seen = json(&text);
    for (name, _, stripped) in &cases {
        let file = format!("{name}.eml");
        let line = seen.iter().find(|line| line["file"].as_str().unwrap().ends_with(&file)).unwrap();
        let (action, changed) = (line["action"].as_str().unwrap(), line["changed"].to_string());
        let is_stripped = action == "tag" && changed.contains("stripped, and the original held");
        assert!(is_stripped || action == "quarantine", "{name}: {action} {changed}");
        assert!(stripped.is_none_or(|wanted| wanted == is_stripped), "{name}: {action} {changed} {line}");
    }
}
