//! YARA rules on the production binary: one that takes too long is found and parked, many are loaded while mail flows.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use crate::kit::client::{Answer, Client};
use crate::kit::gateway::{Gateway, luytre};
use crate::kit::pack::realistic;
use crate::kit::site::{Site, letter};

/// An agency whose YARA rules lie in a folder of its own.
fn configured(site: &Site, packs: &[(&str, &str)]) -> PathBuf {
    for (name, text) in packs {
        site.folder.write(&format!("yara/{name}"), text);
    }
    let config = site.write();
    let text = std::fs::read_to_string(&config).unwrap();
    let shipped = format!("yara = [\"{}/rules/yara\"]", env!("CARGO_MANIFEST_DIR"));
    assert!(text.contains(&shipped));
    std::fs::write(&config, text.replace(&shipped, "yara = [\"yara\"]")).unwrap();
    config
}

fn send(gateway: &Gateway, subject: &str, text: &str) -> Answer {
    let mut client = Client::connect_as(gateway.address("mx"), "198.51.100.10").unwrap();
    client.say("EHLO mail.partner.example").unwrap();
    client.deliver("ketoan@partner.example", &["an@agency.test"], &letter(subject, text)).unwrap()
}

fn findings(gateway: &Gateway, answer: &Answer) -> String {
    let id = crate::kit::gateway::receipt_id(&answer.text).unwrap_or_else(|| panic!("no id in {}", answer.text));
    let receipt = gateway.receipt(&id).expect("a receipt");
    serde_json::to_string(&receipt).unwrap()
}

fn list(config: &Path) -> String {
    let (code, text, error) = luytre(&["rules", "list", "--config", config.to_str().unwrap()]);
    assert_eq!(code, 0, "{error}");
    text
}

/// Looks at every octet again and again, and never ends in a lifetime; only where the letter has the word.
const ENDLESS: &str = "private rule endless { strings: $a = \"kẹt máy\" condition: $a and
  for all i in (0..2000000000) : ( for all j in (0..2000000000) : ( uint8(j % 64) != 300 or uint8(i % 64) == j ) ) }";

fn pack() -> String {
    let plain = |n: usize| {
        format!("rule plain_{n} {{ meta: score = 1 description = \"p\" strings: $a = \"chuỗi {n}.\" condition: $a }}\n")
    };
    let many: String = (0..20).map(plain).collect();
    let (first, second) = many.split_at(many.match_indices("rule plain_13").next().unwrap().0);
    format!("{first}{ENDLESS}\nrule built_on_it {{ condition: endless }}\n{second}")
}

#[test]
fn a_rule_that_never_ends_is_parked_and_the_message_it_held_up_is_never_clean() {
    let site = Site::new("parked").limits("rule_time = \"300 ms\"\n").inspect("workers = 2\ndeadline = \"3 s\"\n");
    let config = configured(
        &site,
        &[("slow.yar", &pack()), ("other.yar", "rule fine { strings: $a = \"chuỗi\" condition: $a }")],
    );
    let gateway = Gateway::start(&config);
    let first = send(&gateway, "mot", "thư làm kẹt máy");
    let told = findings(&gateway, &first);
    assert!(told.contains("inspect.failed") && told.contains("quarantine"), "{told}");
    assert!(site.sink.taken().is_empty(), "not scanned is never clean");

    gateway.wait_for_line("that it parks the rule", |line| {
        line.contains("a YARA rule is parked") && line.contains("slow.endless")
    });
    gateway.wait_for_line("that it reloaded", |line| line.contains("\"reloaded\""));
    let second = send(&gateway, "hai", "thư làm kẹt máy, chuỗi 15. nữa");
    assert_eq!(second.code, 250, "{}", second.text);
    let told = findings(&gateway, &second);
    assert!(!told.contains("inspect.failed"), "{told}");
    assert!(
        told.contains("yara.slow.plain_15") && told.contains("yara.other.fine"),
        "all other rules still run: {told}"
    );
    assert!(!told.contains("yara.slow.plain_13"), "{told}");
    assert_eq!(site.sink.wait_for_count(1).len(), 1);

    assert_eq!(gateway.metric("luytre_yara_rule_parked{rule=\"slow.endless\"}"), 1.0);
    assert_eq!(gateway.metric("luytre_yara_rule_parked{rule=\"slow.built_on_it\"}"), 1.0);
    assert_eq!(gateway.metric("luytre_yara_searches_total{outcome=\"parked\"}"), 1.0);
    let events: String = std::fs::read_dir(site.folder.path().join("data/events"))
        .unwrap()
        .map(|entry| std::fs::read_to_string(entry.unwrap().path()).unwrap())
        .collect();
    assert!(events.contains("\"event\":\"rule\"") && events.contains("slow.endless: it took more than"), "{events}");
    let listed = list(&config);
    let line = listed.lines().find(|line| line.starts_with("slow.endless")).expect("it is listed");
    assert!(line.contains("parked") && line.contains("300 ms of CPU time"), "{line}");
    assert!(listed.contains("21 YARA rules, 2 parked"), "{listed}");
    let (code, told, more) = luytre(&["check", "--config", config.to_str().unwrap()]);
    let told = told + &more;
    assert!(code == 0 && told.contains("slow.yar:14:1") && told.contains("slow.endless is parked"), "{code} {told}");
}

/// Some hundred milliseconds, and then it is done.
const SLUGGISH: &str = "rule sluggish { condition: for all i in (0..10000000) : ( uint8(i % 64) != 300 ) }";

#[test]
fn a_rule_that_is_only_slow_is_parked_too_until_its_file_changes_or_an_officer_says_so() {
    let site = Site::new("sluggish").limits("rule_time = \"20 ms\"\n");
    let config = configured(&site, &[("heavy.yar", SLUGGISH)]);
    let gateway = Gateway::start(&config);
    let answer = send(&gateway, "mot", "thư thường");
    assert!(findings(&gateway, &answer).contains("yara.heavy.sluggish"), "it came to its end, so it counts");
    gateway
        .wait_for_line("that it reloaded", |line| line.contains("\"reloaded\"") && line.contains("\"generation\":2"));
    let answer = send(&gateway, "hai", "thư thường");
    assert!(!findings(&gateway, &answer).contains("yara.heavy"), "parked");

    let config_text = config.to_str().unwrap();
    let (code, _, error) = luytre(&["rules", "unpark", "heavy.other", "--config", config_text]);
    assert!(code == 1 && error.contains("heavy.sluggish"), "{error}");
    let (code, text, error) = luytre(&["rules", "unpark", "heavy.sluggish", "--config", config_text]);
    assert_eq!((code, text.as_str()), (0, "heavy.sluggish runs again\n"), "{error}");
    gateway
        .wait_for_line("that it runs again", |line| line.contains("\"reloaded\"") && line.contains("\"generation\":3"));
    assert_eq!(gateway.metric("luytre_yara_rule_parked{rule=\"heavy.sluggish\"}"), 0.0);
    assert!(list(&config).contains("0 parked"));

    // Slow again, parked again; then the officer mends it.
    let answer = send(&gateway, "ba", "thư thường");
    assert!(findings(&gateway, &answer).contains("yara.heavy.sluggish"));
    gateway.wait_for_line("that it is parked again", |line| {
        line.contains("\"reloaded\"") && line.contains("\"generation\":4")
    });
    site.folder.write("yara/heavy.yar", SLUGGISH.replace("10000000", "4"));
    gateway
        .wait_for_line("that it is mended", |line| line.contains("\"reloaded\"") && line.contains("\"generation\":5"));
    let answer = send(&gateway, "bon", "thư thường");
    assert!(findings(&gateway, &answer).contains("yara.heavy.sluggish"), "another file is another rule");
}

/// A pack whose first and last rule tell its number.
fn numbered(number: usize, rules: usize) -> String {
    let mark = |place: &str| format!("rule {place}_{number} {{ strings: $a = \"thư\" condition: $a }}\n");
    let pack = realistic(rules, number as u64);
    let (imports, rest) = pack.split_at(pack.find("rule ").unwrap());
    format!("{imports}{}{rest}{}", mark("first"), mark("last"))
}

/// Which packs a message was looked at with, by the marks of both ends.
fn marks(receipt: &str) -> (Vec<usize>, Vec<usize>) {
    let seen = |place: &str| (1..=3).filter(|n| receipt.contains(&format!("yara.live.{place}_{n}\""))).collect();
    (seen("first"), seen("last"))
}

/// Every line of the record.
fn receipts(site: &Site) -> Vec<String> {
    let folder = std::fs::read_dir(site.folder.path().join("data/receipts")).unwrap();
    let texts = folder.filter_map(|entry| std::fs::read_to_string(entry.unwrap().path()).ok());
    texts.flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>()).collect()
}

#[test]
fn many_rules_go_live_while_mail_flows_and_no_message_is_scanned_by_half_a_set() {
    let rules = if std::env::var_os("LUYTRE_CAMPAIGN").is_some() { 5000 } else { 250 };
    let site = Site::new("live");
    let config = configured(&site, &[("live.yar", &numbered(1, 20))]);
    let gateway = Gateway::start(&config);
    let done = AtomicBool::new(false);
    let flow = |lane: usize| {
        let mut client = Client::connect_as(gateway.address("mx"), "198.51.100.10").unwrap();
        client.say("EHLO mail.partner.example").unwrap();
        let mut answers = Vec::new();
        while !done.load(Ordering::Relaxed) || answers.is_empty() {
            let subject = format!("luong {lane} so {}", answers.len());
            let raw = letter(&subject, "thư thường ngày");
            answers.push(client.deliver("ketoan@partner.example", &["an@agency.test"], &raw).unwrap());
        }
        answers
    };
    let answers: Vec<Answer> = std::thread::scope(|scope| {
        let lanes: Vec<_> = (0..2).map(|lane| scope.spawn(move || flow(lane))).collect();
        // Renamed into place, as a careful tool does: the file itself is never half there.
        for number in [2, 3] {
            let began = Instant::now();
            let new = site.folder.write(&format!("new-{number}"), numbered(number, rules));
            std::fs::rename(new, site.folder.path().join("yara/live.yar")).unwrap();
            let generation = format!("\"generation\":{number}");
            gateway
                .wait_for_line("that it reloaded", |line| line.contains("\"reloaded\"") && line.contains(&generation));
            println!("{rules} rules live after {:.1} s", began.elapsed().as_secs_f64());
        }
        done.store(true, Ordering::Relaxed);
        lanes.into_iter().flat_map(|lane| lane.join().unwrap()).collect()
    });
    let last = send(&gateway, "sau cung", "thư cuối");
    let mut used = [0_usize; 4];
    // Asking for the last one has all of them written.
    assert_eq!(marks(&findings(&gateway, &last)), (vec![3], vec![3]));
    let receipts = receipts(&site);
    for answer in &answers {
        assert_eq!(answer.code, 250, "nothing is put off: {}", answer.text);
        let id = crate::kit::gateway::receipt_id(&answer.text).unwrap();
        let receipt = receipts.iter().find(|line| line.contains(&id)).expect("its receipt");
        let (first, last) = marks(receipt);
        assert_eq!((first.len(), &first), (1, &last), "one whole set");
        used[first[0]] += 1;
    }
    println!("{} messages, by pack {used:?}", answers.len());
    assert!(used[1] > 0 && used[2] > 0 && used[3] > 0, "{used:?}");
    site.sink.wait_for_count(answers.len() + 1);
}

#[test]
fn hostile_rule_files_are_told_with_their_place_and_end_nothing() {
    let many = |piece: &str, count: usize| piece.repeat(count);
    let rule = |condition: &str| format!("rule a {{\n  condition: {condition}\n}}\n");
    let hostile = [
        ("brackets", rule(&format!("{}true{}", many("(", 100_000), many(")", 100_000))), "brackets.yar:2:"),
        ("nots", rule(&format!("{}true", many("not ", 100_000))), "nots.yar:2:"),
        ("sum", rule(&format!("filesize{} == 2", many(" + filesize - 1", 1000))), "sum.yar:2:"),
        ("loops", rule(&format!("{}true{}", many("for all i in (1,2) : (", 300), many(")", 300))), "loops.yar:2:"),
        ("wide", rule(&many("filesize > 1 and ", 100_000)), "wide.yar:2:"),
        ("include", "\ninclude \"/etc/passwd\"\n".to_owned(), "include.yar:2:1"),
        ("comment", many("/* ", 1000), "comment.yar:1:"),
        ("errors", many("rule a { condition: x }\n", 200), "errors: the file has 180 more errors"),
    ];
    let site = Site::new("hostile");
    let config = configured(&site, &[("good.yar", "rule good { strings: $a = \"thư\" condition: $a }")]);
    let gateway = Gateway::start(&config);
    for (name, text, place) in &hostile {
        let file = site.folder.write(&format!("yara/{name}.yar"), text);
        let (code, told, more) = luytre(&["check", "--config", config.to_str().unwrap()]);
        let told = told + &more;
        let wanted = place.strip_prefix("errors: ").unwrap_or(place);
        assert!(
            code == 1 && told.contains(wanted),
            "{name}: {code} {}",
            told.lines().take(5).collect::<Vec<_>>().join("\n")
        );
        // The running one sees it too, and stays as it is.
        gateway.wait_for_line("that it refuses", |line| line.contains(&format!("{name}.yar")));
        std::fs::remove_file(file).unwrap();
    }
    assert!(findings(&gateway, &send(&gateway, "mot", "thư thường")).contains("yara.good.good"));
}
