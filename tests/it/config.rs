//! The configuration as an operator meets it: `luytre check`, and the reload of a changed file.

use std::path::Path;
use std::pin::Pin;
use std::process::{Command, Output};
use std::sync::Arc;

use luytre::policy::run::Gate;
use luytre::policy::{Live, Policy, load};
use luytre::report::metrics::{Metrics, Registry};

const GOOD: &str = r#"
language = "en"
hostname = "mx1.tinh.gov.vn"
[[listener]]
address = "127.0.0.1:0"
[[agency]]
id = "so-tttt"
domains = ["tttt.tinh.gov.vn"]
next_hops = [{ address = "10.1.2.3:25" }]
"#;

fn luytre(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_luytre")).args(arguments).output().unwrap()
}

fn check(config: &Path) -> (i32, String) {
    let output = luytre(&["check", "--config", config.to_str().unwrap()]);
    (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap())
}

#[test]
fn check_answers_with_an_exit_code_and_a_summary() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("luytre.toml");
    std::fs::write(&file, GOOD).unwrap();
    let (code, text) = check(&file);
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("good; 1 agency, 1 domain, 1 listener"), "{text}");

    std::fs::write(&file, format!("{GOOD}\n[verdict]\ntagg = 5\n[rules]\nspam = [\"nowhere\"]\n")).unwrap();
    let (code, text) = check(&file);
    assert_eq!(code, 1, "{text}");
    let shown = file.display();
    assert!(
        text.contains(&format!("{shown}:12:1: there is no setting \"tagg\" here (did you mean \"tag\"?)")),
        "{text}"
    );
    assert!(text.contains(&format!("{shown}:14:9: cannot read ")), "{text}");
    assert!(text.lines().last().unwrap().contains("2 errors"), "{text}");

    let (code, text) = check(&folder.path().join("missing.toml"));
    assert_eq!(code, 1, "{text}");
}

#[test]
fn check_prints_json_for_programs() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("luytre.toml");
    std::fs::write(&file, "language = \"en\"\nhostnam = 1\n").unwrap();
    let output = luytre(&["check", "--json", "--config", file.to_str().unwrap()]);
    let text = String::from_utf8(output.stdout).unwrap();
    let objects: Vec<serde_json::Value> = text.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert!(objects.iter().any(|o| o["line"] == 2 && o["column"] == 1 && o["severity"] == "error"), "{text}");
}

#[test]
fn the_shipped_configuration_can_be_used_in_a_clone() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/luytre.toml");
    let (code, text) = check(&file);
    assert_eq!(code, 0, "{text}");
}

#[test]
fn the_command_line_tells_its_version_and_refuses_nonsense() {
    let version = luytre(&["--version"]);
    assert!(String::from_utf8(version.stdout).unwrap().starts_with("luytre "));
    assert_eq!(luytre(&["chekc"]).status.code(), Some(2));
}

#[tokio::test]
async fn a_bad_file_changes_nothing_and_a_mended_one_is_taken() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("luytre.toml");
    std::fs::write(&file, GOOD).unwrap();
    let registry = Registry::new();
    let live = Live::new(load(&file).unwrap(), Metrics::new(&registry).unwrap());
    let pinned = live.current();
    let outcomes = || {
        let families = registry.gather();
        let reloads = families.iter().find(|f| f.name() == "luytre_policy_reloads_total").unwrap();
        let count = |name: &str| {
            let metric = reloads.get_metric().iter().find(|m| m.get_label()[0].value() == name).unwrap();
            metric.get_counter().get_value() as u64
        };
        (count("loaded"), count("unchanged"), count("refused"))
    };

    std::fs::write(&file, GOOD.replace("hostname", "hostnam")).unwrap();
    assert!(live.reload().await.is_err());
    assert_eq!(live.current().hash, pinned.hash, "the old policy stays");
    std::fs::write(&file, GOOD).unwrap();
    live.reload().await.unwrap();
    assert_eq!(live.current().generation, 1);
    std::fs::write(&file, GOOD.replace("mx1", "mx2")).unwrap();
    live.reload().await.unwrap();
    assert_eq!((live.current().generation, live.current().hostname.as_str()), (2, "mx2.tinh.gov.vn"));
    assert_eq!(pinned.hostname.as_str(), "mx1.tinh.gov.vn", "what a transaction pinned is as it was");
    assert_eq!(outcomes(), (1, 1, 1));
}

#[tokio::test]
async fn a_changed_file_is_noticed_by_itself() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("luytre.toml");
    std::fs::create_dir_all(folder.path().join("rules/spam")).unwrap();
    std::fs::write(&file, GOOD).unwrap();
    let live = Arc::new(Live::new(load(&file).unwrap(), Metrics::new(&Registry::new()).unwrap()));
    let mut news = live.subscribe();
    // Changed after it was read and before anybody watches: that is seen too.
    std::fs::write(&file, GOOD.replace("mx1", "mx2")).unwrap();
    let follower = tokio::spawn(live.watch().await.unwrap().run());
    news.changed().await.unwrap();
    assert_eq!(news.borrow_and_update().hostname.as_str(), "mx2.tinh.gov.vn");

    // As editors do it: a new file beside, then a rename.
    let next = folder.path().join("luytre.toml.new");
    std::fs::write(&next, GOOD.replace("mx1", "mx3")).unwrap();
    std::fs::rename(&next, &file).unwrap();
    news.changed().await.unwrap();
    assert_eq!(news.borrow_and_update().hostname.as_str(), "mx3.tinh.gov.vn");

    // A folder that was listed is watched too: a new rules file is a new policy.
    let before = live.current().hash.clone();
    std::fs::write(folder.path().join("rules/spam/new.toml"), "# new\n").unwrap();
    news.changed().await.unwrap();
    assert_ne!(live.current().hash, before);
    follower.abort();
}

/// Refuses everything, as inspectors do that cannot be started.
struct Closed;

impl Gate for Closed {
    fn take<'a>(&'a self, _: &'a Arc<Policy>) -> Pin<Box<dyn Future<Output = Result<(), String>> + Send + 'a>> {
        Box::pin(async { Err("the gate is closed".to_owned()) })
    }
}

#[tokio::test]
async fn what_the_stages_do_not_take_is_not_in_force() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("luytre.toml");
    std::fs::write(&file, GOOD).unwrap();
    let live = Live::new(load(&file).unwrap(), Metrics::new(&Registry::new()).unwrap()).through(Closed);
    let (pinned, news) = (live.current(), live.subscribe());
    assert_eq!(live.refused(), None);
    std::fs::write(&file, GOOD.replace("mx1", "mx2")).unwrap();
    let problems = live.reload().await.unwrap_err();
    assert!(problems[0].to_string().contains("the gate is closed"), "{problems:?}");
    let now = live.current();
    assert_eq!((now.generation, &now.hash), (1, &pinned.hash));
    assert!(!news.has_changed().unwrap());
    let refused = live.refused().unwrap();
    assert!(refused.why[0].contains("the gate is closed") && refused.hash.is_some_and(|hash| hash != pinned.hash));

    std::fs::write(&file, GOOD.replace("hostname", "hostnam")).unwrap();
    live.reload().await.unwrap_err();
    assert!(live.refused().unwrap().why[0].contains("hostnam"));
    std::fs::write(&file, GOOD).unwrap();
    live.reload().await.unwrap();
    assert_eq!(live.refused(), None, "the files are what is in force");
}

#[test]
fn r02_pins_and_patience_are_checked_with_their_place() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("luytre.toml");
    let pin = format!("sha256:{}", "ab".repeat(32));
    let hop = |more: &str| GOOD.replace("\"10.1.2.3:25\"", &format!("\"10.1.2.3:25\", {more}"));
    let cases = [
        (hop(&format!("tls = \"required\", tls_pins = [\"{pin}\"]")), 0, "good"),
        (hop(&format!("tls_pins = [\"{pin}\"]")), 1, "tls_pins needs tls = \"required\""),
        (hop("tls = \"required\", tls_pins = [\"md5:00\"]"), 1, "a pin is \"sha256:\""),
        (format!("{GOOD}[deliver]\ncut_through_wait = \"2 min\"\n"), 0, "let a sender wait up to 140 s"),
        (format!("{GOOD}[deliver]\ncut_through_wait = \"9 min\"\n"), 1, "let a sender wait up to 560 s"),
    ];
    for (text, code, expected) in cases {
        std::fs::write(&file, &text).unwrap();
        let (found, said) = check(&file);
        assert_eq!((found, said.contains(expected)), (code, true), "{text}: {said}");
    }
}
