//! Pages that people read: links lead somewhere, both languages have the same pages, and every setting a page shows
//! is one that exists.

use std::fs;
use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn pages() -> Vec<PathBuf> {
    let mut found = Vec::new();
    for folder in ["", "docs", "docs/en", "docs/vi", "docs/decisions", "certs/trust"] {
        for entry in fs::read_dir(root().join(folder)).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|e| e == "md") {
                found.push(path);
            }
        }
    }
    assert!(found.len() > 15, "{found:?}");
    found
}

#[test]
fn every_link_leads_to_a_page_that_is_there() {
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let target = link.split('#').next().unwrap();
            if target.is_empty() || target.contains("://") {
                continue;
            }
            assert!(page.parent().unwrap().join(target).exists(), "{}: {link} leads nowhere", page.display());
        }
    }
}

#[test]
fn every_page_stands_in_both_languages() {
    let names = |language: &str| {
        let folder = fs::read_dir(root().join("docs").join(language)).unwrap();
        let mut names: Vec<_> = folder.map(|e| e.unwrap().file_name()).collect();
        names.sort();
        names
    };
    assert_eq!(names("vi"), names("en"));
}

#[test]
fn settings_shown_in_pages_exist() {
    let shipped = fs::read_to_string(root().join("config/luytre.toml")).unwrap();
    let keys: Vec<&str> =
        shipped.lines().filter_map(|line| line.trim_start_matches('#').split_once(" = ").map(|(key, _)| key)).collect();
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        for block in text.split("```toml").skip(1).filter_map(|rest| rest.split("```").next()) {
            for (key, _) in block.lines().filter_map(|line| line.trim().split_once(" = ")) {
                assert!(keys.contains(&key), "{}: there is no setting {key}", page.display());
            }
        }
    }
}
