//! The demo as a user runs it: every verdict the expected one, with a public client and openssl beside us.

use std::path::Path;

use crate::kit::gateway::{Folder, luytre};

#[test]
fn the_demo_ends_with_every_verdict_as_expected() {
    if ["swaks", "openssl"].iter().any(|program| !Path::new("/usr/bin").join(program).exists()) {
        println!("skipped: swaks or openssl is not installed");
        return;
    }
    let folder = Folder::new("demo");
    let dir = folder.path().join("town");
    let rules = concat!(env!("CARGO_MANIFEST_DIR"), "/rules");
    let (code, text, error) = luytre(&["demo", "--once", "--dir", dir.to_str().unwrap(), "--rules", rules]);
    assert_eq!(code, 0, "{text}{error}");
    assert!(text.contains("17 messages, 17 as expected"), "{text}");
}

#[test]
fn the_demo_empties_no_folder_of_somebody_else() {
    let folder = Folder::new("demo-foreign");
    let file = folder.write("town/letter.txt", "mine");
    let rules = concat!(env!("CARGO_MANIFEST_DIR"), "/rules");
    let (code, _, error) =
        luytre(&["demo", "--once", "--dir", file.parent().unwrap().to_str().unwrap(), "--rules", rules]);
    assert_eq!(code, 1);
    assert!(error.contains("was not made by the demo"), "{error}");
    assert!(file.exists());
}
