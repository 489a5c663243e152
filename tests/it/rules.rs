//! `luytre rules`, `luytre receipt` and `luytre log` as an officer meets them: files in, text and exit codes out.

use std::path::Path;
use std::process::{Command, Output};

use luytre::mail::{MailId, Timestamp};
use luytre::report::record::{Entry, Log, Refusal, Update};
use luytre::verdict::receipt::Outcome;

const SHIPPED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/rules/spam");

fn luytre(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_luytre")).args(arguments).output().unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn rule(score: &str, word: &str) -> String {
    format!(
        "[[rule]]\nid = \"ONE\"\nscore = {score}\nmode = \"enforce\"\ndescription = {{ vi = \"v\", en = \"e\" }}\n\
         when = {{ in = \"subject\", words = [\"{word}\"] }}\n[[test]]\nrule = \"ONE\"\n\
         hits = [{{ subject = \"{word}\" }}]\nmisses = [{{ subject = \"x\" }}]\n"
    )
}

fn write(folder: &Path, name: &str, text: &str) -> String {
    let file = folder.join(name);
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(&file, text).unwrap();
    file.to_str().unwrap().to_owned()
}

#[test]
fn the_shipped_rules_pass_their_tests_and_are_listed() {
    let output = luytre(&["rules", "test", SHIPPED]);
    assert!(output.status.success() && text(&output).contains(" 0 failed"), "{}", text(&output));
    let output = luytre(&["rules", "list", "--json", SHIPPED]);
    let lines = text(&output);
    let ids: Vec<serde_json::Value> = lines.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert!(ids.len() >= 60 && ids.iter().all(|r| r["description"]["vi"].is_string()), "{}", ids.len());
}

#[test]
fn a_broken_rule_is_one_line_with_its_place_and_a_failing_sample_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let broken = write(folder.path(), "a.toml", &rule("1.0", "vay").replace("subject\", words", "subjekt\", words"));
    let output = luytre(&["rules", "test", &broken]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text(&output).contains("a.toml:6:15: there is no place \"subjekt\" in a message (did you mean \"subject\"?)"),
        "{}",
        text(&output)
    );
    let wrong = write(
        folder.path(),
        "b.toml",
        &rule("1.0", "vay").replace("misses = [{ subject = \"x\"", "misses = [{ subject = \"VAY\""),
    );
    let output = luytre(&["rules", "test", &wrong]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output).contains("b.toml:10:11: this sample is hit by rule ONE"), "{}", text(&output));
    assert_eq!(luytre(&["rules", "test", "/nowhere/at/all"]).status.code(), Some(1));
}

#[test]
fn rate_counts_catches_and_false_alarms() {
    let folder = tempfile::tempdir().unwrap();
    let rules = write(folder.path(), "rules/a.toml", &rule("6.0", "vay"));
    write(folder.path(), "ham/1.eml", "From: a@x.vn\r\nSubject: Lich hop\r\n\r\nx\r\n");
    write(folder.path(), "ham/2.eml", "From: a@x.vn\r\nSubject: Vay muon thiet bi\r\n\r\nx\r\n");
    write(folder.path(), "bad/1.eml", "From: a@x.vn\r\nSubject: =?utf-8?q?Vay?= tien\r\n\r\nx\r\n");
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let output =
        luytre(&["rules", "rate", "--rules", &rules, "--ham", &path("ham"), "--bad", &path("bad"), "--verbose"]);
    let shown = text(&output);
    assert!(output.status.success(), "{shown}");
    assert!(shown.contains("good       2 messages   tag or more      1 ( 50.00 %)"), "{shown}");
    assert!(shown.contains("bad        1 messages   tag or more      1 (100.00 %)"), "{shown}");
    assert!(shown.contains("touched tag 6.0") && shown.contains("2.eml ONE=6.0"), "{shown}");
    assert_eq!(luytre(&["rules", "rate", "--rules", &rules, "--ham", "/nowhere"]).status.code(), Some(2));
}

#[test]
fn rate_in_full_looks_into_attachments_and_names_each_folder() {
    let site = crate::kit::site::Site::new("rate-full");
    let config = site.write();
    let folder = &site.folder;
    folder.write("ham/1.eml", "From: a@x.vn\nSubject: Lich hop\n\nx\n");
    let eicar = ["X5O!P%@AP[4\\PZX54(P^)7CC)7}$", "EICAR-STANDARD-", "ANTIVIRUS-TEST-FILE!$H+H*"].concat();
    folder.write("virus/1.eml", format!("From: a@x.vn\nSubject: Hoa don\n\n{eicar}\n"));
    folder.write("spoofed/1.eml", "From: a@x.vn\nSubject: x\n\nx\n");
    let known = folder.write("known.jsonl", "{\"file\": \"none.eml\"}\n");
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (ham, virus, spoofed) = (path("ham"), path("virus"), path("spoofed"));
    let mut args = vec!["rules", "rate", "--full", "--config", config.to_str().unwrap(), "--ham", &ham];
    args.extend(["--bad", &virus, "--bad", &spoofed, "--envelopes", known.to_str().unwrap()]);
    let output = luytre(&args);
    let shown = text(&output);
    assert!(output.status.success(), "{shown}");
    let line = |start: &str, folder: &str| shown.lines().find(|l| l.starts_with(start) && l.ends_with(folder)).unwrap();
    let caught = line("bad        1 messages", &virus);
    assert!(caught.contains("quarantine or more      1 (100.00 %)"), "{shown}");
    assert!(shown.contains("most: ") && shown.contains("malware.eicar 1"), "{shown}");
    assert!(line("bad        1 messages", &spoofed).contains("quarantine or more      0"), "{shown}");
    assert!(line("good       1 messages", &ham).contains("tag or more      0"), "{shown}");
    assert!(shown.lines().last().unwrap().starts_with("bad        2 messages"), "{shown}");
    let missing = path("nowhere");
    let output = luytre(&["rules", "rate", "--full", "--config", config.to_str().unwrap(), "--ham", &missing]);
    assert_eq!(output.status.code(), Some(2), "{}", text(&output));
}

#[test]
fn r45_replay_says_what_an_edit_would_change() {
    let folder = tempfile::tempdir().unwrap();
    let (old, new) =
        (write(folder.path(), "old.toml", &rule("6.0", "vay")), write(folder.path(), "new.toml", &rule("10.0", "vay")));
    let mail = write(folder.path(), "mail/1.eml", "From: a@x.vn\r\nSubject: vay\r\n\r\nx\r\n");
    write(folder.path(), "mail/2.eml", "From: a@x.vn\r\nSubject: hop\r\n\r\nx\r\n");
    let folder_of_mail = Path::new(&mail).parent().unwrap().to_str().unwrap().to_owned();
    let shown = text(&luytre(&["rules", "replay", "--old", &old, "--new", &new, &folder_of_mail]));
    assert!(shown.contains("1.eml tag -> quarantine  6.0 -> 10.0"), "{shown}");
    assert!(shown.contains("2 messages: 1 decided otherwise, 1 of them more strictly, 0 more mildly"), "{shown}");
}

#[test]
fn r37_the_log_is_searched_and_a_changed_line_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let at = Timestamp::from_seconds(1_795_302_082);
    let id = MailId::new(at, 1);
    let receipts = folder.path().join("receipts");
    let log = Log::open(&receipts, at).unwrap();
    log.write(
        at,
        Entry::Refused(Refusal {
            id,
            time: at.rfc3339(),
            client: "203.0.113.9:25".into(),
            helo: "h".into(),
            sender: "spam@y.test".into(),
            recipient: "nobody@a.vn".into(),
            reply: "550 5.1.1 no such user".into(),
        }),
    );
    log.write(at, Entry::Outcome(Update { id, outcome: Outcome::new(at, "refused", vec![], "") }));
    drop(log);
    let data = folder.path().to_str().unwrap();
    let shown = text(&luytre(&["log", "search", "--data-dir", data, "--to", "nobody"]));
    assert!(shown.contains(&id.to_string()) && shown.contains("spam@y.test"), "{shown}");
    let output = luytre(&["receipt", "--data-dir", data, &id.to_string()]);
    assert!(output.status.success() && text(&output).contains("550 5.1.1"), "{}", text(&output));
    let output = luytre(&["log", "verify", "--data-dir", data]);
    assert!(output.status.success(), "{}", text(&output));
    let file = std::fs::read_dir(&receipts).unwrap().next().unwrap().unwrap().path();
    let changed = std::fs::read_to_string(&file).unwrap().replace("spam@y.test", "good@y.test");
    std::fs::write(&file, changed).unwrap();
    let output = luytre(&["log", "verify", "--data-dir", data]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output).contains(".jsonl:1: the line was changed"), "{}", text(&output));
}
