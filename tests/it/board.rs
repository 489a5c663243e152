//! What monitoring is given: alert rules that promtool accepts and whose own tests pass, and names of metrics, on
//! the board and in the alerts, that the program really has.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn shipped(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("config").join(path)
}

fn read(path: &str) -> String {
    fs::read_to_string(shipped(path)).unwrap()
}

/// Every name that begins like one of ours or of the process collector, without the endings of histograms.
fn names(text: &str) -> BTreeSet<String> {
    text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
        .filter(|word| word.starts_with("luytre_") || word.starts_with("process_"))
        .map(|word| {
            let ending = ["_bucket", "_sum", "_count"].iter().find_map(|e| word.strip_suffix(e));
            ending.unwrap_or(word).to_owned()
        })
        .collect()
}

/// The families that the source registers: string literals in metrics files and in `report`.
fn families(folder: &Path, out: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            families(&path, out);
        } else if path.file_name().is_some_and(|n| n == "metrics.rs") {
            let source = fs::read_to_string(&path).unwrap();
            let literals = source.split('"').filter(|l| l.starts_with("luytre_"));
            out.extend(literals.filter(|l| l.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')).map(str::to_owned));
        }
    }
}

#[test]
fn board_and_alerts_name_only_metrics_that_exist() {
    let mut known = BTreeSet::new();
    families(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut known);
    assert!(known.len() > 8, "{known:?}");
    for name in ["cpu_seconds_total", "resident_memory_bytes", "open_fds", "max_fds", "start_time_seconds"] {
        known.insert(format!("process_{name}"));
    }
    for file in ["grafana/luytre-overview.json", "prometheus/alerts.yml", "prometheus/alerts_test.yml"] {
        let used = names(&read(file));
        assert!(used.len() > 5, "{file}: {used:?}");
        let unknown: Vec<_> = used.difference(&known).collect();
        assert!(unknown.is_empty(), "{file} names {unknown:?}; there is {known:?}");
    }
}

#[test]
fn the_board_is_one_that_grafana_can_load() {
    let board: serde_json::Value = serde_json::from_str(&read("grafana/luytre-overview.json")).unwrap();
    let panels = board["panels"].as_array().unwrap();
    assert!(panels.len() >= 15);
    let mut taken: Vec<[u64; 4]> = Vec::new();
    for panel in panels {
        assert!(panel["title"].is_string() && panel["description"].is_string(), "{panel}");
        assert!(panel["targets"].as_array().is_some_and(|t| t.iter().all(|t| t["expr"].is_string())), "{panel}");
        let spot = ["x", "y", "w", "h"].map(|k| panel["gridPos"][k].as_u64().unwrap());
        let [x, y, w, h] = spot;
        assert!(x + w <= 24, "{} is wider than the board", panel["title"]);
        let free = taken.iter().all(|[a, b, c, d]| x + w <= *a || a + c <= x || y + h <= *b || b + d <= y);
        assert!(free, "{} lies on another panel", panel["title"]);
        taken.push(spot);
    }
}

#[test]
fn every_alert_speaks_both_languages() {
    let alerts = read("prometheus/alerts.yml");
    let count = |word: &str| alerts.matches(word).count();
    let total = count("- alert: ");
    assert!(total >= 8);
    assert_eq!([count(" summary: "), count(" summary_vi: "), count(" action: ")], [total; 3]);
    let tested = read("prometheus/alerts_test.yml");
    for line in alerts.lines().filter_map(|l| l.trim().strip_prefix("- alert: ")) {
        assert!(tested.contains(&format!("alertname: {line}")), "{line} has no test of its own");
    }
}

#[test]
fn promtool_accepts_the_rules_and_their_tests_pass() {
    let promtool =
        |arguments: &[&str]| Command::new("promtool").args(arguments).current_dir(shipped("prometheus")).output();
    let Ok(checked) = promtool(&["check", "rules", "alerts.yml"]) else {
        println!("skipped: promtool is not installed (Debian: prometheus)");
        return;
    };
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
    for arguments in [&["test", "rules", "alerts_test.yml"][..], &["check", "config", "scrape.yml"]] {
        let output = promtool(arguments).unwrap();
        let said = [output.stdout, output.stderr].concat();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&said));
    }
}
