//! The systemd units: tight by systemd's own measure, and in step with the shipped configuration.

use std::fs;
use std::path::Path;
use std::process::Command;

fn unit(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("config/systemd").join(name)).unwrap()
}

#[test]
fn the_socket_is_the_default_listener() {
    let streams: Vec<String> =
        unit("luytre.socket").lines().filter_map(|l| l.strip_prefix("ListenStream=")).map(str::to_owned).collect();
    let defaults = luytre::policy::file::File::default();
    let listeners: Vec<String> = defaults.listener.iter().map(|l| l.address.to_string()).collect();
    assert_eq!(streams, listeners);
}

#[test]
fn the_service_is_locked_up() {
    let service = unit("luytre.service");
    for line in [
        "NoNewPrivileges=yes",
        "ProtectSystem=strict",
        "PrivateDevices=yes",
        "CapabilityBoundingSet=",
        "LimitCORE=0",
        "RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX",
    ] {
        assert!(service.lines().any(|l| l == line), "{line}");
    }
    // Inspectors compile YARA rules to machine code.
    assert!(!service.lines().any(|l| l.starts_with("MemoryDenyWriteExecute=yes")));

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("luytre.service");
    fs::write(&file, service).unwrap();
    let measured =
        Command::new("systemd-analyze").args(["security", "--offline=yes", "--threshold=20"]).arg(&file).output();
    match measured {
        // Exposure in tenths; past the threshold the exit code is not 0.
        Ok(output) if String::from_utf8_lossy(&output.stdout).contains("Overall exposure") => {
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        }
        _ => println!("skipped: systemd-analyze cannot measure a unit file here"),
    }
}
