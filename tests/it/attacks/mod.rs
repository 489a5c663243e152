//! The attack vectors against the production binary: every message over SMTP, every dialogue byte for byte, with the
//! vectors' own DNS zone, trust anchors and limits. `vectors.rs` plays the messages and `judge.rs` says what is wrong
//! with the outcome; `scripts.rs` plays the dialogues. What the gateway cannot do yet stands in `not_yet.rs`, each
//! with its reason; nothing else may fail, and what works must not stand there any longer.

mod judge;
mod not_yet;
mod scripts;
mod vectors;

use std::path::Path;

use luytre::env::dns::zone::Zone;
use serde_json::Value;

use crate::kit::dns::Dns;
use crate::kit::site::Site;

fn json(path: &Path) -> Value {
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn texts(list: &Value) -> Vec<&str> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

/// The vectors' names of limits, and ours.
const LIMITS: [(&str, &str); 14] = [
    ("message_bytes", "message"),
    ("recipients", "recipients"),
    ("line_bytes", "line"),
    ("command_bytes", "command"),
    ("header_bytes", "header"),
    ("header_fields", "header_fields"),
    ("received_fields", "received"),
    ("errors", "errors"),
    ("junk_commands", "junk_commands"),
    ("mime_depth", "mime_depth"),
    ("mime_parts", "mime_parts"),
    ("archive_depth", "archive_depth"),
    ("archive_files", "archive_files"),
    ("dkim_signatures", "dkim_signatures"),
];

/// The agency of `profile.json` in `folder`, without listeners, and the DNS of `zone.json`.
fn site(name: &str, folder: &Path) -> (Site, Dns) {
    let profile = json(&folder.join("profile.json"));
    let dns = Dns::serve(Zone::from_json(&std::fs::read_to_string(folder.join("zone.json")).unwrap()).unwrap());
    let limit = |theirs: &str| profile["limits"][theirs].as_u64().unwrap();
    let size = |theirs: &str| theirs.ends_with("_bytes");
    let mut limits = String::new();
    for (theirs, ours) in LIMITS {
        let value = limit(theirs);
        let text = if size(theirs) { format!("\"{value} B\"") } else { value.to_string() };
        limits.push_str(&format!("{ours} = {text}\n"));
    }
    limits.push_str(&format!("archive_bytes = \"{} B\"\n", limit("archive_bytes")));
    limits.push_str(&format!("archive_ratio = {}\n", limit("archive_ratio")));
    limits.push_str(&format!("dns_queries = {}\n", limit("dns_queries_per_message")));
    limits.push_str(&format!("command_timeout = \"{} s\"\n", limit("command_timeout_s")));
    limits.push_str(&format!("data_timeout = \"{} s\"\n", limit("data_total_timeout_s")));
    let networks = |key: &str| texts(&profile["listeners"]["relay"][key]).join("\", \"");
    let site = Site::new(name)
        .dns(dns.address())
        .limits(&limits)
        .trust(&folder.join("pki"))
        .inspect(&format!("workers = 2\ndeadline = \"{} s\"\n", limit("scan_seconds")))
        .section(&format!(
            "[protect]\ndomains = [\"{}\"]\nnames = [\"{}\"]\n\n",
            texts(&profile["protected_domains"]).join("\", \""),
            texts(&profile["protected_names"]).join("\", \"")
        ))
        .agency(&format!(
            "networks = [\"{}\"]\nshared_addresses = [\"{}\"]\n",
            networks("trusted_networks"),
            networks("shared_addresses")
        ));
    (site, dns)
}
