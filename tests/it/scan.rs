//! `luytre scan --json` over every sample there is, as it is: messages, archives, documents, broken files. One JSON
//! line a file, no crash, no hang, and what is known to be bad is caught.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::kit::gateway::{luytre, testdata};
use crate::kit::site::{Site, letter};

const ACTIONS: [&str; 5] = ["deliver", "tag", "quarantine", "reject", "defer"];

/// Every file below `folder`; links are not followed, as in the command.
fn count(folder: &Path) -> usize {
    let entries = std::fs::read_dir(folder).unwrap().map(Result::unwrap);
    entries
        .map(|e| match e.file_type().unwrap() {
            kind if kind.is_dir() => count(&e.path()),
            kind => usize::from(kind.is_file()),
        })
        .sum()
}

/// The command's objects by file; panics unless it ended well.
fn scan(site: &Site, paths: &[&Path]) -> BTreeMap<PathBuf, Value> {
    let config = site.write();
    let mut args = vec!["scan", "--json", "--config", config.to_str().unwrap()];
    args.extend(paths.iter().map(|p| p.to_str().unwrap()));
    let (code, out, error) = luytre(&args);
    assert_eq!(code, 0, "{error}");
    let object = |line: &str| -> Value { serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}")) };
    out.lines().map(object).map(|v| (v["file"].as_str().unwrap().into(), v)).collect()
}

fn codes(object: &Value) -> Vec<&str> {
    object["findings"].as_array().unwrap().iter().filter_map(|f| f["code"].as_str()).collect()
}

#[test]
fn every_sample_gets_a_line() {
    let site = Site::new("scan-all");
    for name in ["mime", "archives", "files", "smime", "attacks/eml"] {
        let Some(folder) = testdata(name) else { continue };
        let objects = scan(&site, &[&folder]);
        assert_eq!(objects.len(), count(&folder), "{name}: one line for each file");
        let mut actions: BTreeMap<&str, usize> = BTreeMap::new();
        for (file, object) in &objects {
            let action = object["action"].as_str().unwrap();
            assert!(ACTIONS.contains(&action), "{}: {action}", file.display());
            let failed: Vec<_> = codes(object).into_iter().filter(|c| c.starts_with("inspect.")).collect();
            assert!(failed.is_empty(), "{}: {failed:?}", file.display());
            *actions.entry(action).or_default() += 1;
        }
        println!("{name}: {} files, {actions:?}", objects.len());
    }
}

#[test]
fn what_is_known_to_be_bad_is_held() {
    let site = Site::new("scan-bad");
    // Put together here, so that no scanner trips over this source file.
    let eicar = ["X5O!P%@AP[4\\PZX54(P^)7CC)7}$", "EICAR-STANDARD-", "ANTIVIRUS-TEST-FILE!$H+H*"].concat();
    let bad = site.folder.write("mail/bad.eml", letter("Hoa don", &eicar));
    let good = site.folder.write("mail/good.eml", letter("Hoa don", "Kinh gui anh An."));
    let mine = scan(&site, &[&site.folder.path().join("mail")]);
    assert_eq!((&mine[&bad]["action"], &mine[&good]["action"]), (&"quarantine".into(), &"deliver".into()));
    assert!(codes(&mine[&bad]).iter().any(|c| c.starts_with("malware.")));

    let Some(folder) = testdata("files/eicar") else { return };
    let mut objects = scan(&site, &[&folder]);
    objects.retain(|file, _| file.extension().is_some_and(|e| e != "md"));
    let missed = |object: &&Value| object["action"] != "quarantine" || !codes(object).contains(&"malware.eicar");
    let clean: Vec<_> = objects.values().filter(missed).map(|o| format!("{}: {:?}", o["file"], codes(o))).collect();
    println!("{} of {} EICAR files held", objects.len() - clean.len(), objects.len());
    assert!(!objects.is_empty() && clean.is_empty(), "{}", clean.join("\n"));
}

/// The suites of hidden payloads, by what is done with the message and not only by what is found in it.
#[test]
fn no_message_that_hides_its_payload_is_delivered() {
    let site = Site::new("scan-hidden");
    for name in ["mime/mime-is-broken/hide-content", "mime/mimeminer"] {
        let Some(folder) = testdata(name) else { continue };
        let mut objects = scan(&site, &[&folder]);
        objects.retain(|file, _| file.extension().is_some_and(|e| e == "eml"));
        let passed = |object: &&Value| matches!(object["action"].as_str(), Some("deliver" | "tag"));
        let passed: Vec<_> =
            objects.values().filter(passed).map(|o| format!("{}: {:?}", o["file"], codes(o))).collect();
        println!("{name}: {} of {} stopped", objects.len() - passed.len(), objects.len());
        assert!(!objects.is_empty() && passed.is_empty(), "{}", passed.join("\n"));
    }
}
