//! Policies from files in memory: every problem, with its place, and nothing that is none.

mod shipped;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use super::build::{Built, build};
use super::file::AgencyVerdict;
use super::files::Disk;
use crate::env::tls::pair::tests::made;
use crate::mail::problem::Severity;
use crate::mail::{Span, Timestamp};
use crate::verdict::settings::{Severe, Verdict};

#[derive(Default)]
struct Memory(BTreeMap<PathBuf, Vec<u8>>, BTreeSet<PathBuf>);

impl Memory {
    fn with(mut self, path: &str, text: &str) -> Self {
        self.0.insert(path.into(), text.as_bytes().to_vec());
        self
    }
}

impl Disk for Memory {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.0.get(path).cloned().ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "no such file"))
    }
    fn list(&self, folder: &Path) -> io::Result<Vec<PathBuf>> {
        if !self.is_folder(folder) {
            return Err(io::Error::new(io::ErrorKind::NotFound, "no such folder"));
        }
        Ok(self.0.keys().filter(|p| p.parent() == Some(folder)).cloned().collect())
    }
    fn is_folder(&self, path: &Path) -> bool {
        self.0.keys().any(|p| p != path && p.starts_with(path))
    }
    fn has(&self, path: &Path) -> bool {
        self.0.contains_key(path) || self.is_folder(path)
    }
    fn is_open_to_all(&self, path: &Path) -> bool {
        self.1.contains(path)
    }
    fn absolute(&self, path: &Path) -> PathBuf {
        path.to_owned()
    }
    fn now(&self) -> Timestamp {
        Timestamp::from_seconds(1_795_302_082)
    }
    fn hostname(&self) -> Option<String> {
        Some("box.tinh.gov.vn".to_owned())
    }
}

const CONFIG: &str = "/etc/luytre/luytre.toml";
const GOOD: &str = r#"
language = "en"
hostname = "mx1.tinh.gov.vn"
[[listener]]
address = "127.0.0.1:2525"
[[agency]]
id = "so-tttt"
domains = ["tttt.tinh.gov.vn"]
next_hops = [{ address = "10.1.2.3:25" }]
"#;

fn built(config: &str) -> Built {
    build(Path::new(CONFIG), &Memory::default().with(CONFIG, config))
}

/// Errors as `line:column: message (help)`.
fn errors(built: &Built) -> Vec<String> {
    built
        .problems
        .iter()
        .filter(|p| p.severity == Severity::Error)
        .map(|p| p.to_string().replace(&format!("{CONFIG}:"), ""))
        .collect()
}

/// The only error of GOOD with more text behind it (or inside its last agency).
fn only_error(extra: &str, expected: &str) {
    let built = built(&format!("{GOOD}{extra}"));
    let errors = errors(&built);
    assert_eq!(errors.len(), 1, "{extra}: {errors:#?}");
    assert!(errors.iter().all(|e| e.contains(expected)), "{extra}: {errors:#?}");
    assert!(built.policy.is_none());
}

#[test]
fn a_small_configuration_is_enough() {
    let built = built(GOOD);
    assert_eq!(errors(&built), Vec::<String>::new());
    let policy = built.policy.unwrap();
    assert_eq!(policy.hostname.as_str(), "mx1.tinh.gov.vn");
    assert_eq!(policy.agencies.len(), 1);
    assert_eq!(policy.hash.len(), 64);
    assert_eq!(policy.compiled.verdict.agencies.len(), 1);
}

#[test]
fn ten_mistakes_are_ten_problems_each_in_its_place() {
    let text = r#"language = "en"
hostnam = "mx1.tinh.gov.vn"
hostname = "mx1.tinh.gov.vn"

[[listener]]
address = "0.0.0.0:99999"
role = "rely"

[verdict]
tag = "5"
quarantine = 20.0
reject = 15.0

[limits]
message = "25 megs"
recipients = -4
header_feilds = 10

[deliver]
smart_host = "relay"

[[agency]]
id = "So TTTT"
domains = ["tttt.tinh.gov.vn"]
next_hops = [{ profile = "exchnge2010" }]
"#;
    let found = errors(&built(text));
    let expected = [
        "2:1: there is no setting \"hostnam\" here (did you mean \"hostname\"?)",
        "6:11: ",
        "7:8: \"rely\" is not one of the choices (did you mean \"relay\"?)",
        "10:7: a number is expected here, this is text in quotes (leave out the quotes)",
        "15:11: \"25 megs\" is not a size",
        "16:14: integer `-4` is out of range",
        "17:1: there is no setting \"header_feilds\" here (did you mean \"header_fields\"?)",
        "20:14: \"relay\" is no server",
        "23:6: \"So TTTT\" is not an agency id",
        "25:14: the setting \"address\" is missing",
        "25:26: \"exchnge2010\" is not one of the choices (did you mean \"exchange2010\"?)",
    ];
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    for (line, start) in found.iter().zip(expected) {
        assert!(line.starts_with(start), "{line}\n    should start with {start}");
    }
}

#[test]
fn problems_are_told_in_the_operators_language() {
    let found = errors(&built("hostnam = \"x.vn\"\n"));
    assert_eq!(found, ["1:1: không có thiết lập nào tên \"hostnam\" ở đây (có phải ý bạn là \"hostname\"?)"]);
}

#[test]
fn broken_syntax_does_not_hide_the_rest() {
    let found = errors(&built("language = \"en\"\nhostname = \ntag = = 3\nlimit = 1\n[verdict]\nobserve = \"no\"\n"));
    assert!(found.iter().any(|e| e.starts_with("2:")), "{found:#?}");
    assert!(found.iter().any(|e| e.starts_with("3:")), "{found:#?}");
    assert!(found.iter().any(|e| e.starts_with("6:11: true or false is expected")), "{found:#?}");
}

#[test]
fn two_missing_settings_of_one_table_are_both_told() {
    let found = errors(&built(&format!("{GOOD}[[agency.dkim]]\nselektor = \"s\"\n")));
    let missing: Vec<_> = found.iter().filter(|e| e.contains("is missing")).collect();
    assert_eq!(missing.len(), 3, "domain, selector, key: {found:#?}");
    assert_eq!(found.len(), 4, "and the unknown one: {found:#?}");
}

#[test]
fn relations_between_settings_are_checked() {
    only_error("[agency.verdict]\ntag = 10.0\n", "11:7: tag = 10 is above quarantine = 9");
    only_error("[verdict]\nreject = 6\n", "11:10: quarantine = 9 is above reject = 6");
    only_error("[verdict]\nmalware = \"tag\"\n", "malware is never only tagged");
    only_error("[verdict]\ntag = nan\n", "finite");
    only_error("[verdict.weights]\n\"SPF fail\" = 2\n", "is no finding");
    only_error("[deliver]\nretry_max = \"6 days\"\n", "retry_max = \"6 days\" is longer than give_up = \"5 days\"");
    only_error("[limits]\nheader = \"30 MiB\"\n", "header is more than message");
    only_error("[limits]\nmessage = \"32 KiB\"\nheader = \"4 KiB\"\n", "message is too small");
    only_error("[http]\naddress = \"127.0.0.1:2525\"\n", "is the address of [http] too");
    only_error("[[listener]]\naddress = \"0.0.0.0:2525\"\n", "listened on already");
    only_error("[inspect]\nchecks = [\"mime\", \"yarra\"]\n", "there is no check \"yarra\" (did you mean \"yara\"?)");
    only_error("[inspect]\nchecks = [\"mime\", \"mime\"]\n", "stands here twice");
    only_error("[inspect]\ndeadline = \"0 s\"\n", "deadline must be more than 0");
    let engine = |rest: &str| format!("[[engine]]\nid = \"a\"\n{rest}\n");
    only_error(&engine("kind = \"clamd\"\naddress = \"127.0.0.1\""), "is no address of an engine");
    only_error(&engine("kind = \"clam\"\naddress = \"127.0.0.1:3310\""), "clamd");
    only_error(&engine("kind = \"savapi\"\naddress = \"127.0.0.1:4444\""), "the product id of its licence");
    only_error(&engine("kind = \"command\"\npreset = \"nobody\""), "there is no preset \"nobody\"");
    only_error(&engine("kind = \"command\"\ncommand = [\"scan\", \"{file}\"]"), "the program's whole path");
    only_error(&engine("kind = \"command\"\ncommand = [\"/bin/true\"]"), "no word holds {file}");
    only_error(
        &engine("kind = \"command\"\ncommand = [\"/bin/true\", \"{file}\"]\nclean = [0]\npattern = \"(\""),
        "cannot be read",
    );
    only_error(&engine("kind = \"sssp\"\naddress = \"127.0.0.1:1\"\ntimeout = \"0 s\""), "timeout must be more than 0");
    only_error(&engine("kind = \"sssp\"\naddress = \"127.0.0.1:1\"\nrole = \"backup\""), "no engine is a primary");
    let two = engine("kind = \"sssp\"\naddress = \"127.0.0.1:1\"").repeat(2);
    only_error(&two, "is the id of an earlier [[engine]]");
    only_error("[[engine]]\nid = \"a b\"\nkind = \"sssp\"\naddress = \"127.0.0.1:1\"\n", "letters, digits");
    only_error("[rules]\nspam = [\"nowhere\"]\n", "cannot read /etc/luytre/nowhere");
}

#[test]
fn agencies_do_not_step_on_each_other() {
    let second = |body: &str| format!("[[agency]]\nid = \"b\"\n{body}\n");
    let hop = "next_hops = [{ address = \"10.9.9.9:25\" }]";
    only_error(&second(&format!("domains = [\"TTTT.tinh.gov.vn\"]\n{hop}")), "belongs to agency \"so-tttt\" already");
    only_error(&second("domains = [\"b.vn\"]"), "has no next hop");
    only_error(&second(&format!("domains = []\n{hop}")), "needs a domain");
    only_error(
        &format!("[[agency]]\nid = \"so-tttt\"\ndomains = [\"b.vn\"]\n{hop}\n"),
        "is the id of an earlier agency",
    );
    only_error(&second("domains = [\"b.vn\"]\nnext_hops = [{ address = \"127.0.0.1:2525\" }]"), "this gateway itself");
    only_error(&second("domains = [\"b.vn\"]\nnext_hops = [{ address = \"10.0.0.1\" }]"), "is no server");
    only_error(&second(&format!("domains = [\"b.vn\"]\n{hop}\nrecipients = {{ from = \"file\" }}")), "needs a path");
    only_error(
        &second(&format!("domains = [\"b.vn\"]\n{hop}\nrecipients = {{ from = \"file\", path = \"none.txt\" }}")),
        "cannot read",
    );
    only_error(
        &second(&format!("domains = [\"b.vn\"]\n{hop}\nrecipients = {{ from = \"ldap\" }}")),
        "needs [agency.recipients.ldap]",
    );
}

#[test]
fn a_configuration_that_would_be_an_open_relay_is_refused() {
    only_error("networks = [\"0.0.0.0/0\"]", "");
    let agency = |networks: &str| built(&GOOD.replace("domains =", &format!("networks = [{networks}]\ndomains =")));
    for networks in
        ["\"0.0.0.0/0\"", "\"::/0\"", "\"203.0.113.0/24\"", "\"40.92.17.3\"", "\"52.100.0.0/29\"", "\"10.0.0.0/7\""]
    {
        assert_eq!(errors(&agency(networks)).len(), 1, "{networks}");
    }
    for networks in ["\"10.0.0.0/8\"", "\"203.0.113.0/28\"", "\"203.0.113.9\", \"fd00::/8\""] {
        assert_eq!(errors(&agency(networks)), Vec::<String>::new(), "{networks}");
    }
    let listener = |line: &str| built(&GOOD.replace("[[agency]]", &format!("{line}\n[[agency]]")));
    for line in ["proxy_networks = [\"0.0.0.0/0\"]", "xclient_networks = [\"8.0.0.0/8\"]", "proxy_networks = [\"ten\"]"]
    {
        assert_eq!(errors(&listener(line)).len(), 1, "{line}");
    }
    let two = format!(
        "{}\n[[agency]]\nid = \"b\"\ndomains = [\"b.vn\"]\nnetworks = [\"10.1.5.0/24\"]\nnext_hops = [{{ address = \"10.9.9.9:25\" }}]\n",
        GOOD.replace("domains =", "networks = [\"10.1.0.0/16\"]\ndomains =")
    );
    assert!(errors(&built(&two)).iter().any(|e| e.contains("overlaps a network of agency \"so-tttt\"")));
}

/// A configuration and other files in a folder of their own; keys get a mode that only their owner can read.
fn on_disk(config: &str, files: &[(&str, &[u8])]) -> (tempfile::TempDir, Built) {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in files {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, bytes).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    }
    let file = folder.path().join("luytre.toml");
    std::fs::write(&file, config).unwrap();
    let built = super::run::examine(&file);
    (folder, built)
}

/// `line:column message` of everything that has a place in the configuration.
fn told(config: &str, files: &[(&str, &[u8])]) -> (bool, String) {
    let (folder, built) = on_disk(config, files);
    let lines = built.problems.iter().filter(|p| p.line > 0).map(|p| format!("{}:{} {}", p.line, p.column, p.message));
    let text = lines.collect::<Vec<_>>().join("; ").replace(&format!("{}/", folder.path().display()), "");
    (built.policy.is_some(), text)
}

fn pem(key: &openssl::pkey::PKey<openssl::pkey::Private>) -> Vec<u8> {
    key.private_key_to_pem_pkcs8().unwrap()
}

#[test]
fn keys_must_be_there_and_sign_for_the_agency_only() {
    let dkim = "[[agency.dkim]]\ndomain = \"tinh.gov.vn\"\nselector = \"s1\"\nkey = \"keys/s1.pem\"\n";
    let text = format!("{GOOD}{dkim}");
    let (_, key) = made(0, 1);
    let good: &[(&str, &[u8])] = &[("keys/s1.pem", &pem(&key))];
    assert_eq!(told(&text, good), (true, String::new()), "d= may be the organisational domain");
    assert_eq!(told(&text, &[("keys/s1.pem", b"hello")]).1, "13:7 keys/s1.pem holds no PEM block \"PRIVATE KEY\"");
    assert_eq!(told(&text, &[]).1, "13:7 cannot read keys/s1.pem: No such file or directory (os error 2)");
    let foreign = text.replace("domain = \"tinh.gov.vn\"", "domain = \"gov.vn\"");
    assert_eq!(told(&foreign, good).1, "11:10 gov.vn is no domain of agency \"so-tttt\"");
    let mut open = Memory::default().with(CONFIG, &text).with("/etc/luytre/keys/s1.pem", "-----BEGIN PRIVATE KEY-----");
    open.1.insert("/etc/luytre/keys/s1.pem".into());
    let built = build(Path::new(CONFIG), &open);
    assert!(built.problems.iter().any(|p| p.severity == Severity::Warning && p.message.contains("everyone")));
}

#[test]
fn a_certificate_must_match_its_key_and_one_that_is_not_valid_today_is_told_but_stops_no_mail() {
    let text = GOOD.replace("[[agency]]", "tls = { certificate = \"mx.pem\", key = \"mx.key\" }\n[[agency]]");
    let told = |certificate: &[u8], key: &[u8]| told(&text, &[("mx.pem", certificate), ("mx.key", key)]);
    let now = crate::env::Clock::system().now();
    let day = |at: Timestamp| at.rfc3339().chars().take(10).collect::<String>();
    let (seconds, yesterday, tomorrow) = (now.seconds(), now - Span::days(1), now + Span::days(1));
    let (good, key) = made(seconds - 1000, seconds + 100 * 86_400);
    let (_, other) = made(seconds - 1000, seconds + 100 * 86_400);
    let (ended, ended_key) = made(0, yesterday.seconds());
    let (soon, soon_key) = made(seconds - 1000, tomorrow.seconds());
    let (early, early_key) = made(tomorrow.seconds(), seconds + 100 * 86_400);
    assert_eq!(told(&good, &pem(&key)), (true, String::new()));
    assert_eq!(told(&good, &pem(&other)), (false, "6:39 the key does not belong to the certificate".to_owned()));
    assert_eq!(told(&ended, &pem(&ended_key)), (true, format!("6:23 the certificate ended on {}", day(yesterday))));
    assert_eq!(told(&soon, &pem(&soon_key)), (true, format!("6:23 the certificate ends on {}", day(tomorrow))));
    let begins = format!("6:23 the certificate begins on {} only: is the clock right?", day(tomorrow));
    assert_eq!(told(&early, &pem(&early_key)), (true, begins));
}

#[test]
fn one_mistake_is_told_once_although_two_stages_would_notice() {
    let text = GOOD.replace("[[agency]]", "tls = { certificate = \"mx.pem\", key = \"mx.key\" }\n[[agency]]");
    let (_folder, built) = on_disk(&text, &[]);
    let errors: Vec<_> = built.problems.iter().filter(|p| p.severity == Severity::Error).collect();
    assert_eq!(errors.len(), 2, "the certificate and the key, each once: {errors:#?}");
    let (_folder, built) = on_disk(&text, &[("rules/spam/broken.toml", b"[[rule]]\nidd = 1\n")]);
    assert!(built.problems.iter().any(|p| p.file.ends_with("broken.toml")), "the rules' problems come in the same run");
}

#[test]
fn paths_are_looked_for_beside_the_file_then_above_it() {
    let config = "/home/me/luytre/config/luytre.toml";
    let root = String::from_utf8(made(0, 4_000_000_000).0).unwrap();
    let disk = Memory::default()
        .with(config, GOOD)
        .with("/home/me/luytre/rules/spam/vn.toml", "# none yet")
        .with("/home/me/luytre/rules/yara/a.yar", "rule a { condition: false }")
        .with("/home/me/luytre/rules/yara/notes.txt", "z")
        .with("/home/me/luytre/config/certs/trust/root.pem", &root);
    let policy = build(Path::new(config), &disk).policy.unwrap();
    assert_eq!(policy.rules.spam, [PathBuf::from("/home/me/luytre/rules/spam")]);
    assert_eq!(policy.smime.trust, [PathBuf::from("/home/me/luytre/config/certs/trust")]);
    assert!(policy.watched.contains(&PathBuf::from("/home/me/luytre/rules/yara/a.yar")));
    assert!(!policy.watched.iter().any(|p| p.ends_with("notes.txt")));
}

#[test]
fn the_hash_follows_every_file_and_nothing_else() {
    let disk = |rule: &str, at: &str| {
        let disk =
            Memory::default().with(&format!("{at}/luytre.toml"), GOOD).with(&format!("{at}/rules/spam/a.toml"), rule);
        build(Path::new(&format!("{at}/luytre.toml")), &disk).policy.unwrap().settings.hash
    };
    assert_eq!(disk("# one", "/etc/luytre"), disk("# one", "/srv/luytre"));
    assert_ne!(disk("# one", "/etc/luytre"), disk("# two", "/etc/luytre"));
}

#[test]
fn an_agency_may_have_a_file_of_its_own() {
    let one = "id = \"b\"\ndomains = [\"b.vn\"]\nnext_hops = [{ address = \"10.9.9.9:25\" }]\n[verdict]\ntag = 3.0\n";
    let many = format!(
        "[[agency]]\n{}",
        one.replace("\"b\"", "\"c\"").replace("b.vn", "c.vn").replace("[verdict]", "[agency.verdict]")
    );
    let disk = Memory::default()
        .with(CONFIG, GOOD)
        .with("/etc/luytre/agencies/b.toml", one)
        .with("/etc/luytre/agencies/c.toml", &many)
        .with("/etc/luytre/agencies/.c.toml.swp", "rubbish");
    let policy = build(Path::new(CONFIG), &disk).policy.unwrap();
    let ids: Vec<_> = policy.agencies.iter().map(|a| (a.id.as_str(), a.verdict.tag)).collect();
    assert_eq!(ids, [("so-tttt", 5.0), ("b", 3.0), ("c", 3.0)]);

    let broken =
        Memory::default().with(CONFIG, GOOD).with("/etc/luytre/agencies/b.toml", "id = \"b\"\ndomain = [\"b.vn\"]\n");
    let found = build(Path::new(CONFIG), &broken);
    let shown: Vec<String> =
        found.problems.iter().filter(|p| p.severity == Severity::Error).map(ToString::to_string).collect();
    assert!(
        shown.iter().any(|s| s.starts_with(
            "/etc/luytre/agencies/b.toml:2:1: there is no setting \"domain\" here (did you mean \"domains\"?)"
        )),
        "{shown:#?}"
    );
}

#[test]
fn a_missing_or_unreadable_file_is_one_sentence() {
    let missing = build(Path::new(CONFIG), &Memory::default());
    assert_eq!(missing.problems.len(), 1);
    let mut disk = Memory::default();
    disk.0.insert(CONFIG.into(), b"a = 1\nb = \"\xff\"\n".to_vec());
    let broken = build(Path::new(CONFIG), &disk);
    assert_eq!((broken.problems[0].line, broken.problems[0].column), (2, 6));
}

#[test]
fn an_agencys_verdict_differs_only_where_it_says_so() {
    let base =
        Verdict { tag: 4.0, observe: true, weights: [("spf.fail".to_owned(), 1.0)].into(), ..Verdict::default() };
    let own = AgencyVerdict {
        reject: Some(20.0),
        weights: [("spf.fail".to_owned(), 3.0)].into(),
        ..AgencyVerdict::default()
    };
    let merged = own.over(&base);
    assert_eq!((merged.tag, merged.reject, merged.observe, merged.malware), (4.0, 20.0, true, Severe::Quarantine));
    assert_eq!(merged.weights["spf.fail"], 3.0);
}

#[test]
fn what_stands_in_guard_and_events_is_checked_where_it_stands() {
    only_error("\n[guard]\nrefuse = 3.0\n", "must be more than suspect");
    only_error("\n[guard]\ntraps = [\"nobody\"]\n", "\"nobody\"");
    only_error("\n[[guard.list]]\nzone = \"not a zone\"\npoints = 1.0\n", "the domain is not valid");
    let entry = |rest: &str| format!("\n[[guard.entry]]\naction = \"allow\"\nowner = \"it\"\nreason = \"x\"\n{rest}\n");
    only_error(&entry("who = \"10.1.2.3/16\""), "10.1.0.0/16");
    only_error(&entry("who = \"192.0.2.1\"\nuntil = \"31.12.2026\""), "2026-12-31");
    only_error(&entry("who = \"192.0.2.1\"\nauthenticated = true"), "prove itself");
    only_error("\n[events]\nsyslog = \"http:192.0.2.1:514\"\n", "neither udp:");
    only_error("\n[limits.stress]\nenter = 50\n", "leave must be less than enter");
    only_error("\n[limits.stress]\nidle = \"0 s\"\n", "idle must be more than 0");
    only_error("\n[events]\nsyslog_format = \"xml\"\n", "");
}

#[test]
fn aliases_and_copies_lead_into_agencies_only() {
    only_error("always_bcc = [\"x@gmail.example\"]", "no agency's domain");
    only_error("aliases = [{ from = \"x@other.vn\", to = [\"a@tttt.tinh.gov.vn\"] }]", "no domain of this agency");
    only_error("aliases = [{ from = \"x@tttt.tinh.gov.vn\", to = [\"a@other.vn\"] }]", "no agency's domain");
    only_error("aliases = [{ from = \"x@tttt.tinh.gov.vn\", to = [] }]", "leads to nobody");
    only_error("domain_aliases = [{ from = \"x.vn\", to = \"tttt.tinh.gov.vn\" }]", "no domain of this agency");
}
