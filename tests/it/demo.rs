//! The demo as a user runs it: every verdict the expected one, with a public client and openssl beside us.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::kit::gateway::{Folder, luytre};

/// Whether the public programs are there that the demo speaks through; says so when not.
fn can_run() -> bool {
    let there = ["swaks", "openssl"].iter().all(|program| Path::new("/usr/bin").join(program).exists());
    if !there {
        println!("skipped: swaks or openssl is not installed");
    }
    there
}

#[test]
fn the_demo_ends_with_every_verdict_as_expected() {
    if !can_run() {
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
fn the_demo_stays_up_with_its_metrics_until_ctrl_c() {
    if !can_run() {
        return;
    }
    let folder = Folder::new("demo-stays");
    let dir = folder.path().join("town");
    let rules = concat!(env!("CARGO_MANIFEST_DIR"), "/rules");
    let mut command = Command::new(env!("CARGO_BIN_EXE_luytre"));
    command.args(["demo", "--dir", dir.to_str().unwrap(), "--rules", rules]);
    // A terminal sends Ctrl-C to the whole group.
    let mut demo = command.process_group(0).stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    let said = BufReader::new(demo.stdout.take().unwrap()).lines().map(Result::unwrap);
    let line = said.into_iter().find(|line| line.starts_with("The gateway stays up")).expect("it says so");
    let address = line.split_once("http://").unwrap().1.split_once('/').unwrap().0.to_owned();
    let mut stream = TcpStream::connect(&address).unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut page = String::new();
    stream.read_to_string(&mut page).unwrap();
    assert!(page.contains("# HELP luytre_messages_total"), "{page}");

    let group = nix::unistd::Pid::from_raw(i32::try_from(demo.id()).unwrap());
    nix::sys::signal::killpg(group, nix::sys::signal::Signal::SIGINT).unwrap();
    demo.wait().unwrap();
    // The last of the group is gone when nobody is left to signal.
    let end = Instant::now() + Duration::from_secs(60);
    while nix::sys::signal::killpg(group, None).is_ok() {
        assert!(Instant::now() < end, "the demo's programs end with it");
        std::thread::yield_now();
    }
    assert!(TcpStream::connect(&address).is_err(), "nothing stays behind");
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
