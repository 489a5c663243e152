//! The main path on the production binary: mail in, verdict, mail out, and what happens when a part is missing.

use crate::kit::client::Client;
use crate::kit::gateway::{self, Gateway, luytre};
use crate::kit::sink::Sink;
use crate::kit::site::{Site, letter};

const INTERNET: &str = "198.51.100.10";

fn send(gateway: &Gateway, to: &[&str], message: &[u8]) -> crate::kit::client::Answer {
    let mut client = Client::connect_as(gateway.address("mx"), INTERNET).unwrap();
    client.say("EHLO mail.partner.example").unwrap();
    client.deliver("ketoan@partner.example", to, message).unwrap()
}

fn receipt_id(text: &str) -> String {
    gateway::receipt_id(text).unwrap_or_else(|| panic!("no receipt id in {text}"))
}

#[test]
fn a_clean_letter_is_handed_to_the_agency_while_the_sender_waits() {
    let site = Site::new("clean");
    let gateway = site.start();
    let answer = send(&gateway, &["an@agency.test"], &letter("Bao cao quy", "Kính gửi anh An.\n.\n..dots"));
    assert_eq!(answer.code, 250, "{}", answer.text);
    let taken = site.sink.wait_for_count(1);
    let mail = &taken[0];
    assert_eq!(
        (mail.mail_from.as_str(), mail.rcpt_to.as_slice()),
        ("ketoan@partner.example", &["an@agency.test".to_owned()][..])
    );
    assert!(mail.text().ends_with("Kính gửi anh An.\r\n.\r\n..dots\r\n"), "{}", mail.text());
    assert!(mail.text().starts_with("Received: from mail.partner.example"), "{}", mail.text());
    assert!(mail.header("Authentication-Results").unwrap().starts_with("gw.agency.test;"));
    let id = receipt_id(&answer.text);
    assert_eq!(mail.header("X-Luytre-Receipt").unwrap(), id);

    let config = gateway.config.to_str().unwrap();
    let (code, text, error) = luytre(&["receipt", "--config", config, &id]);
    assert_eq!(code, 0, "{text}{error}");
    assert!(text.contains("an@agency.test"), "{text}");
    assert_eq!(gateway.metric("luytre_messages_total{action=\"deliver\",agency=\"so-tttt\",direction=\"in\"}"), 1.0);
}

#[test]
fn rfc5321_3_3_unknown_users_and_foreign_domains_are_refused_in_the_session() {
    let site = Site::new("refuse");
    let gateway = site.start();
    let mut client = Client::connect_as(gateway.address("mx"), INTERNET).unwrap();
    client.say("EHLO mail.partner.example").unwrap();
    client.say("MAIL FROM:<ketoan@partner.example>").unwrap();
    let unknown = client.say("RCPT TO:<khongco@agency.test>").unwrap();
    assert!(unknown.text.starts_with("550 5.1.1"), "{}", unknown.text);
    let foreign = client.say("RCPT TO:<a@elsewhere.example>").unwrap();
    assert!(foreign.text.starts_with("550 5.7.1"), "{}", foreign.text);
    for always in ["postmaster@agency.test", "abuse@agency.test"] {
        assert_eq!(client.say(&format!("RCPT TO:<{always}>")).unwrap().code, 250);
    }
    assert!(site.sink.taken().is_empty());
}

#[test]
fn headers_that_only_we_may_write_are_removed() {
    let site = Site::new("headers");
    let gateway = site.start();
    let mut message = b"Authentication-Results: GW.Agency.Test; dkim=pass\r\nX-Luytre-Verdict: clean\r\n\
        X-MS-Exchange-Organization-SCL: -1\r\nX-Spam-Flag: NO\r\n"
        .to_vec();
    message.extend(letter("Thu", "x"));
    assert_eq!(send(&gateway, &["an@agency.test"], &message).code, 250);
    let text = site.sink.wait_for_count(1)[0].text();
    assert!(!text.contains("dkim=pass") && !text.contains("SCL: -1") && !text.contains("X-Spam-Flag: NO"), "{text}");
    assert_eq!(text.matches("Authentication-Results:").count(), 1, "{text}");
}

fn eicar() -> String {
    // Put together here, so that no scanner trips over this source file.
    ["X5O!P%@AP[4\\PZX54(P^)7CC)7}$", "EICAR-STANDARD-", "ANTIVIRUS-TEST-FILE!$H+H*"].concat()
}

#[test]
fn malware_is_held_shown_and_released_on_purpose() {
    let site = Site::new("eicar");
    let gateway = site.start();
    let answer = send(&gateway, &["an@agency.test"], &letter("Hoa don", &eicar()));
    assert_eq!(answer.code, 250, "{}", answer.text);
    let id = receipt_id(&answer.text);
    let config = gateway.config.to_str().unwrap();
    let (code, list, error) = luytre(&["quarantine", "list", "--config", config, "--json"]);
    assert_eq!(code, 0, "{error}");
    assert!(list.contains(&id) && list.contains("malware"), "{list}");
    assert!(site.sink.taken().is_empty());

    let (code, text, error) = luytre(&["quarantine", "release", "--config", config, &id]);
    assert!(code != 0 && error.contains("malware.eicar") && error.contains("--force"), "{text}{error}");
    let (code, ..) = luytre(&["quarantine", "release", "--config", config, "--force", &id]);
    assert_ne!(code, 0, "force without a reason");
    let release = ["quarantine", "release", "--config", config, "--force", "--reason", "sent as a test", &id];
    let (code, text, error) = luytre(&release);
    assert_eq!(code, 0, "{text}{error}");
    let taken = site.sink.wait_for_count(1);
    assert!(taken[0].text().contains(&eicar()));
    assert!(taken[0].text().contains("\r\nResent-To: an@agency.test\r\n"), "{}", taken[0].text());
    let (_, receipt, _) = luytre(&["receipt", "--config", config, &id]);
    assert!(receipt.contains("released") && receipt.contains("(forced): sent as a test"), "{receipt}");
    let (code, acts, error) = luytre(&["log", "audit", "--config", config]);
    assert!(code == 0 && acts.contains("quarantine.stopped") && acts.contains("quarantine.released"), "{acts}{error}");
    let (code, text, error) = luytre(&["log", "verify", "--config", config]);
    assert_eq!(code, 0, "{text}{error}");
}

#[test]
fn held_mail_is_shown_with_its_reason_and_removed_for_good() {
    let site = Site::new("held-removed");
    let gateway = site.start();
    let answer = send(&gateway, &["an@agency.test"], &letter("Hoa don", &eicar()));
    let (id, config) = (receipt_id(&answer.text), gateway.config.to_str().unwrap());
    let quarantine = |verb: &str, more: &[&str]| {
        let args = [&["quarantine", verb, "--config", config], more].concat();
        luytre(&args)
    };
    let (code, shown, error) = quarantine("show", &[&id]);
    assert!(code == 0 && shown.contains("malware.eicar") && shown.contains("Hoa don"), "{shown}{error}");
    assert_ne!(quarantine("show", &["--raw", &id]).0, 0, "R38: without a reason nobody sees the body");
    let (code, whole, error) = quarantine("show", &["--raw", "--reason", "ticket 41", &id]);
    assert!(code == 0 && whole.contains(&eicar()), "{error}");
    let (_, acts, _) = luytre(&["log", "audit", "--config", config, "--json"]);
    assert!(acts.contains("quarantine.shown") && acts.contains("ticket 41"), "{acts}");
    let (code, list, error) = quarantine("list", &["--finding", "malware", "--to", "an@agency", "--since", "1 h"]);
    assert!(code == 0 && list.contains(&id), "{list}{error}");

    let (code, _, error) = quarantine("remove", &["--reason", "thu nghiem", &id]);
    assert_eq!(code, 0, "{error}");
    let (code, list, error) = quarantine("list", &["--json"]);
    assert!(code == 0 && !list.contains(&id), "{list}{error}");
    let (code, text, error) = quarantine("release", &[&id]);
    assert!(code != 0 && format!("{text}{error}").contains(&id), "what is gone cannot be released: {text}{error}");
    assert!(site.sink.taken().is_empty());
}

#[test]
fn rfc5321_4_2_an_answer_of_the_agencys_server_is_the_senders_answer() {
    let site = Site::new("hop-answers");
    let gateway = site.start();
    site.sink.refuse("binh@agency.test", "550 5.1.1 no such user");
    let answer = send(&gateway, &["binh@agency.test"], &letter("a", "b"));
    assert_eq!(answer.code, 550, "{}", answer.text);
    site.sink.answer(".", "452 4.2.2 mailbox full");
    let answer = send(&gateway, &["an@agency.test"], &letter("a", "b"));
    assert_eq!(answer.code, 452, "{}", answer.text);
    assert!(site.sink.taken().is_empty());
}

#[test]
fn a_dead_next_hop_never_turns_mail_away() {
    let site = Site::new("dead-hop");
    // A port that was free a moment ago and where nobody listens.
    let dead = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let site = site.next_hop(&format!("{{ address = \"{dead}\", tls = \"none\" }}"));
    let gateway = site.start();
    let answer = send(&gateway, &["an@agency.test"], &letter("Khi mat mang", "van nhan"));
    assert_eq!(answer.code, 250, "{}", answer.text);
    let config = gateway.config.to_str().unwrap();
    let (code, list, error) = luytre(&["queue", "list", "--config", config, "--json"]);
    assert_eq!(code, 0, "{error}");
    assert!(list.contains(&receipt_id(&answer.text)), "{list}");

    let back = Sink::start_on(dead);
    let (code, _, error) = luytre(&["queue", "flush", "--config", config]);
    assert_eq!(code, 0, "{error}");
    assert!(back.wait_for_count(1)[0].text().contains("van nhan"));
}

#[test]
fn operators_see_what_waits_and_the_agencys_server_asks_for_it() {
    let site = Site::new("waits").relay().top("language = \"en\"\n");
    let dead = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let site = site.next_hop(&format!("{{ address = \"{dead}\", tls = \"none\" }}"));
    let gateway = site.start();
    for subject in ["mot", "hai", "ba"] {
        assert_eq!(send(&gateway, &["an@agency.test"], &letter(subject, "van nhan")).code, 250);
    }
    let config = gateway.config.to_str().unwrap().to_owned();
    let queue = |words: &[&str]| {
        let (code, text, error) = luytre(&[&["queue", "--config", &config], words].concat());
        assert!(code == 0, "{words:?}: {text}{error}");
        text
    };
    let list = queue(&["list"]);
    assert!(list.contains("Waits for its agency's server, which has not answered for"), "{list}");
    assert!(list.ends_with("3 messages waiting\n"), "{list}");
    assert_eq!(queue(&["list", "--json", "--limit", "2"]).lines().count(), 2);
    assert_eq!(
        queue(&["list", "--json", "--from", "ketoan@", "--to", "AN@agency", "--agency", "so-tttt"]).lines().count(),
        3
    );
    assert_eq!(queue(&["list", "--json", "--from", "<>"]), "");
    assert_eq!(queue(&["list", "--json", "--older-than", "1 h"]), "");
    let first: serde_json::Value = serde_json::from_str(queue(&["list", "--json"]).lines().next().unwrap()).unwrap();
    assert_eq!(first["standing"]["waits"], "host", "{first}");
    let number = first["key"].to_string();
    queue(&["hold", &number]);
    assert_eq!(queue(&["list", "--json", "--state", "held"]).lines().count(), 1);
    assert!(queue(&["show", &number]).contains("Held by an operator"));
    queue(&["hold", "--release", &number]);

    let back = Sink::start_on(dead);
    let mut server = Client::connect(gateway.address("relay")).unwrap();
    server.say("EHLO mail.agency.test").unwrap();
    assert!(server.say("ETRN outside.example").unwrap().text.starts_with("459"));
    assert!(server.say("ETRN agency.test").unwrap().text.starts_with("250"));
    assert_eq!(back.wait_for_count(3).len(), 3);
}

#[test]
fn with_the_gateway_down_the_queue_is_read_from_its_files() {
    let site = Site::new("files");
    let dead = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let site = site.next_hop(&format!("{{ address = \"{dead}\", tls = \"none\" }}"));
    let gateway = site.start();
    for _ in 0..3 {
        assert_eq!(send(&gateway, &["an@agency.test"], &letter("x", "van nhan")).code, 250);
    }
    let config = gateway.config.to_str().unwrap().to_owned();
    gateway.kill();
    let (code, list, error) = luytre(&["queue", "list", "--config", &config, "--limit", "2"]);
    assert!(code == 0 && error.contains("not running"), "{error}");
    assert!(list.contains("Chờ") && list.ends_with("2 thư đầu tiên (còn nữa: --limit)\n"), "{list}");
    let (code, _, error) = luytre(&["queue", "flush", "--config", &config]);
    assert!(code != 0 && error.contains("not running"), "{error}");
}

#[test]
fn several_next_hops_are_tried_in_order() {
    let site = Site::new("two-hops");
    let dead = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let second = Sink::start();
    let site = site
        .next_hop(&format!("{{ address = \"{dead}\", tls = \"none\" }}"))
        .next_hop(&format!("{{ address = \"{}\", tls = \"none\" }}", second.address()));
    let gateway = site.start();
    assert_eq!(send(&gateway, &["an@agency.test"], &letter("a", "b")).code, 250);
    assert_eq!(second.wait_for_count(1).len(), 1);
}

#[test]
fn bytes_that_smuggle_are_refused_and_nothing_of_them_crosses() {
    let site = Site::new("smuggle");
    let gateway = site.start();
    let mut client = Client::connect_as(gateway.address("mx"), INTERNET).unwrap();
    client.say("EHLO mail.partner.example").unwrap();
    client.say("MAIL FROM:<ketoan@partner.example>").unwrap();
    client.say("RCPT TO:<an@agency.test>").unwrap();
    client.say("DATA").unwrap();
    client
        .send(b"Subject: one\r\n\r\nbody\n.\r\nMAIL FROM:<x@agency.test>\r\nRCPT TO:<an@agency.test>\r\nDATA\r\nSubject: two\r\n\r\n.\r\n")
        .unwrap();
    let answer = client.read().unwrap();
    assert!(answer.text.starts_with("550 5.6.11"), "{}", answer.text);
    assert!(site.sink.taken().is_empty());
}

#[test]
fn a_gateway_that_cannot_start_says_why_in_one_sentence() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let site = Site::new("bad-start");
    let config = site.write();
    let good = std::fs::read_to_string(&config).unwrap();
    let cases = [
        ("a wrong key", good.replace("hostname =", "hostnam ="), "hostnam"),
        (
            "a port in use",
            good.replacen("127.0.0.1:0", &taken.local_addr().unwrap().to_string(), 1),
            "in use by another program",
        ),
        (
            "a missing certificate",
            good.replacen("role = \"mx\"", "role = \"mx\"\ntls = { certificate = \"no.pem\", key = \"no.key\" }", 1),
            "no.pem",
        ),
        (
            "an unwritable data folder",
            good.replacen(&site.folder.path().join("data").display().to_string(), "/proc/luytre", 1),
            "/proc/luytre",
        ),
        ("a broken rule", good.replace("/rules/spam\"", "/rules/spam\", \"broken.toml\""), "broken.toml"),
    ];
    site.folder.write("broken.toml", "[[rule]]\nid = \"X\"\nscor = 1\n");
    for (what, text, expected) in cases {
        let path = site.folder.write("case.toml", &text);
        let gateway = Gateway::spawn(&path);
        let log = {
            gateway.wait_for_line(what, |l| l.contains(expected));
            gateway.log()
        };
        assert_ne!(gateway.wait(), 0, "{what}: {log}");
        assert!(!log.contains("panicked"), "{what}: {log}");
    }
}

#[test]
fn the_body_arrives_byte_for_byte() {
    let site = Site::new("bytes");
    let gateway = site.start();
    let message = letter("nguyen ven", "dong mot\n\n  dong hai \n.ba\n\u{1ebf}");
    assert_eq!(send(&gateway, &["an@agency.test"], &message).code, 250);
    let data = site.sink.wait_for_count(1)[0].data.clone();
    assert!(data.ends_with(&message), "our header stands in front, nothing else changed");
}

#[test]
fn a_copy_that_leaves_unsigned_says_why_in_receipt_log_and_metric() {
    let internet = Sink::start();
    let site =
        Site::new("unsigned").relay().section(&format!("[deliver]\nsmart_host = \"{}\"\n\n", internet.address()));
    let keys = site.folder.path().display().to_string();
    let made =
        luytre(&["dkim", "new", "--domain", "khac.test", "--selector", "s", "--algorithm", "ed25519", "--out", &keys]);
    assert_eq!(made.0, 0, "{}", made.2);
    let key =
        std::fs::read_dir(&keys).unwrap().flatten().map(|f| f.path()).find(|p| p.to_string_lossy().ends_with(".pem"));
    // The agency has two domains and a key for one of them.
    let site = site.agency(&format!(
        "dkim = [{{ domain = \"khac.test\", selector = \"s\", key = \"{}\" }}]\n",
        key.unwrap().display()
    ));
    let text = std::fs::read_to_string(site.write()).unwrap();
    let config =
        site.folder.write("luytre.toml", text.replace("[\"agency.test\"]", "[\"agency.test\", \"khac.test\"]"));
    let gateway = Gateway::start(&config);
    let mut client = Client::connect(gateway.address("relay")).unwrap();
    client.say("EHLO exchange.agency.test").unwrap();
    let message = "From: An <an@agency.test>\r\nSubject: x\r\n\r\nx\r\n";
    let answer = client.deliver("an@agency.test", &["x@partner.example"], message.as_bytes()).unwrap();
    assert_eq!(answer.code, 250, "{}", answer.text);
    assert!(!internet.wait_for_count(1)[0].text().contains("DKIM-Signature"));
    let why = "no DKIM key belongs to the From domain";
    let receipt = gateway.receipt(&receipt_id(&answer.text)).unwrap();
    assert_eq!(receipt.outcome[0].notes, [why]);
    gateway
        .wait_for_line("why it is not signed", |line| line.contains("a signature was left out") && line.contains(why));
    assert_eq!(gateway.metric("luytre_unsigned_total{reason=\"dkim_foreign_domain\"}"), 1.0);

    // What is signed says nothing.
    let message = message.replace("an@agency.test", "an@khac.test");
    let answer = client.deliver("an@khac.test", &["x@partner.example"], message.as_bytes()).unwrap();
    assert!(internet.wait_for_count(2)[1].text().contains("DKIM-Signature"), "{}", answer.text);
    assert!(gateway.receipt(&receipt_id(&answer.text)).unwrap().outcome[0].notes.is_empty());
}
