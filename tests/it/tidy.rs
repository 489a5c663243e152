//! The three placement rules, checked by reading the source: imports point up, only doors touch the world, heavy
//! crates stay at home. And a few habits: every file says what it is, none grows past a few screens, nothing is left
//! for later.

mod paths;

use std::fs;
use std::path::Path as FsPath;

use paths::{Path, paths};

const LONGEST: usize = 500;

/// Crates that touch sockets, files, processes, threads or the clock.
const DOOR_CRATES: [&str; 10] =
    ["tokio", "tokio_openssl", "nix", "libc", "socket2", "notify", "axum", "landlock", "seccompiler", "sqlx"];

/// The same in the standard library; the types of addresses and errors are harmless.
const DOOR_PATHS: [&[&str]; 9] = [
    &["std", "fs"],
    &["std", "thread"],
    &["std", "process"],
    &["std", "env"],
    &["std", "time", "SystemTime"],
    &["std", "net", "TcpStream"],
    &["std", "net", "TcpListener"],
    &["std", "net", "UdpSocket"],
    &["std", "os", "unix", "net"],
];

const DOOR_METHODS: [&str; 7] =
    ["is_dir", "is_file", "canonicalize", "read_dir", "try_exists", "symlink_metadata", "to_socket_addrs"];

const CLOCKS: [&str; 5] = ["SystemTime", "Instant", "Timestamp", "Zoned", "Utc"];

/// A heavy crate, and the beginnings of the paths (below `src/`) where its types may appear.
const HOMES: [(&str, &[&str]); 13] = [
    ("ring", &["env/vault"]),
    ("ldap3", &["env/ldap"]),
    ("native_tls", &["env/ldap"]),
    ("yara_x", &["inspect/checks/content/yara"]),
    ("yara_x_parser", &["inspect/checks/content/yara"]),
    ("hickory_resolver", &["env/dns"]),
    ("hickory_proto", &["env/dns"]),
    ("openssl", &["env/tls/", "inspect/checks/content/smime", "deliver/seal"]),
    ("openssl_sys", &["env/tls/", "inspect/checks/content/smime", "deliver/seal"]),
    ("tokio_openssl", &["env/tls/", "inspect/checks/content/smime", "deliver/seal"]),
    ("foreign_types", &["env/tls/", "inspect/checks/content/smime", "deliver/seal"]),
    ("mail_auth", &["inspect/checks/auth/", "deliver/seal"]),
    ("prometheus", &["report/"]),
];

/// A source file: its path below `src/`, with `/`, and its text.
struct Source {
    path: String,
    text: String,
}

impl Source {
    fn new(path: &str, text: &str) -> Self {
        Self { path: path.to_owned(), text: text.to_owned() }
    }
    fn room(&self) -> &str {
        self.path.split('/').next().unwrap_or_default().trim_end_matches(".rs")
    }
    fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or_default()
    }
    fn is_test(&self) -> bool {
        self.name() == "tests.rs" || self.path.contains("/tests/")
    }
    /// Doors may touch the world; a door that grew into a folder is a door still.
    fn is_door(&self) -> bool {
        let room = matches!(self.room(), "env" | "cli" | "gateway" | "main");
        room || self.path.split('/').any(|part| matches!(part, "run" | "run.rs" | "inspector" | "inspector.rs"))
    }
    fn complain(&self, line: usize, what: &str) -> String {
        format!("src/{}:{line}: {what}", self.path)
    }
}

/// Rule 1: a file uses its own module and those before it.
fn imports_point_up(source: &Source, order: &[String], found: &[Path]) -> Vec<String> {
    let place = |name: &str| order.iter().position(|m| m == name);
    let Some(own) = place(source.room()) else { return Vec::new() };
    // How many `super` lead out of the crate's modules: src/a/mod.rs is one deep, src/a/b.rs two.
    let parts = source.path.split('/').count();
    let depth = if source.name() == "mod.rs" { parts - 1 } else { parts };
    let target = |path: &Path| -> Option<String> {
        let supers = path.segments.iter().take_while(|s| *s == "super").count();
        match path.segments.first().map(String::as_str) {
            Some("crate") => path.segments.get(1).cloned(),
            Some("super") if supers >= depth => path.segments.get(supers).cloned(),
            _ => None,
        }
    };
    found
        .iter()
        .filter_map(|path| Some((path, place(&target(path)?)?)))
        .filter(|(_, place)| *place > own)
        .map(|(path, _)| {
            source.complain(path.line, &format!("{} is listed after {}", path.segments.join("::"), source.room()))
        })
        .collect()
}

/// Rule 2: the world is behind doors.
fn doors_only(source: &Source, found: &[Path]) -> Vec<String> {
    if source.is_door() {
        return Vec::new();
    }
    let touches = |path: &Path| {
        let segments: Vec<&str> = path.segments.iter().map(String::as_str).collect();
        let clock = segments.windows(2).any(|w| matches!(w, [clock, "now"] if CLOCKS.contains(clock)));
        let method = path.is_method && segments.len() == 1 && DOOR_METHODS.contains(&segments[0]);
        let crates = segments.len() > 1 && DOOR_CRATES.contains(&segments[0]);
        clock || method || crates || DOOR_PATHS.iter().any(|door| segments.starts_with(door))
    };
    // Once for each crate or module: the first line shows the way.
    let mut told: Vec<&[String]> = Vec::new();
    let mut out = Vec::new();
    for path in found.iter().filter(|path| touches(path)) {
        let root = path.segments.get(..2.min(path.segments.len())).unwrap_or_default();
        if !told.contains(&root) {
            told.push(root);
            let what = format!("{} touches the world; that belongs in a run.rs", path.segments.join("::"));
            out.push(source.complain(path.line, &what));
        }
    }
    out
}

/// Rule 3: heavy crates have homes.
fn crates_at_home(source: &Source, found: &[Path]) -> Vec<String> {
    let away = |path: &Path| {
        let first = path.segments.first().map_or("", String::as_str);
        HOMES.iter().any(|(name, homes)| {
            let counts = *name == "prometheus" && source.name() == "metrics.rs";
            *name == first
                && path.segments.len() > 1
                && !counts
                && !homes.iter().any(|home| source.path.starts_with(home))
        })
    };
    found
        .iter()
        .filter(|path| away(path))
        .map(|path| source.complain(path.line, &format!("{} is away from home", path.segments.join("::"))))
        .collect()
}

/// Habits that are easy to see.
fn habits(source: &Source) -> Vec<String> {
    let mut out = Vec::new();
    if !source.text.starts_with("//!") {
        out.push(source.complain(1, "a file opens with //!: what it is and why"));
    }
    let lines = source.text.lines().count();
    if lines > LONGEST {
        out.push(source.complain(lines, &format!("{lines} lines: split it ({LONGEST} at most)")));
    }
    let code = paths::blank(&source.text);
    for (i, line) in code.lines().enumerate() {
        for left in ["todo!", "unimplemented!", "dbg!", "#[ignore", "allow(dead_code)", "allow(unused)"] {
            if line.contains(left) {
                out.push(source.complain(i + 1, &format!("{left} is not for a commit")));
            }
        }
    }
    let unsafe_blocks =
        code.matches("unsafe {").count() + code.matches("unsafe impl").count() + code.matches("unsafe extern").count();
    let reasons = source.text.matches("SAFETY:").count();
    if unsafe_blocks > reasons {
        out.push(source.complain(1, &format!("{unsafe_blocks} unsafe, {reasons} SAFETY: comments")));
    }
    out
}

/// Everything there is to say about some files.
fn complaints(order: &[String], sources: &[Source]) -> Vec<String> {
    let mut out = Vec::new();
    for source in sources {
        out.extend(habits(source));
        if source.is_test() {
            continue;
        }
        let found = paths(&source.text);
        out.extend(imports_point_up(source, order, &found));
        out.extend(doors_only(source, &found));
        out.extend(crates_at_home(source, &found));
    }
    out
}

/// The modules in the order of `lib.rs`.
fn order(lib: &str) -> Vec<String> {
    lib.lines().filter_map(|l| l.strip_prefix("pub mod ")?.strip_suffix(';')).map(str::to_owned).collect()
}

fn read_all(root: &FsPath, folder: &FsPath, out: &mut Vec<Source>) {
    let mut entries: Vec<_> = fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            read_all(root, &path, out);
        } else if path.extension().is_some_and(|e| e == "rs") {
            let below = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
            out.push(Source { path: below, text: fs::read_to_string(&path).unwrap() });
        }
    }
}

#[test]
fn the_source_is_tidy() {
    let root = FsPath::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut sources = Vec::new();
    read_all(&root, &root, &mut sources);
    let order = order(&fs::read_to_string(root.join("lib.rs")).unwrap());
    assert!(order.len() > 10 && sources.len() > 50, "the source was found");
    let found = complaints(&order, &sources);
    assert!(found.is_empty(), "{} complaints:\n{}", found.len(), found.join("\n"));
}

#[test]
fn each_offence_is_caught_and_its_lawful_twin_is_not() {
    let order = ["mail", "env", "session", "inspect", "verdict", "deliver", "report", "policy"].map(str::to_owned);
    let cases = [
        ("mail/a.rs", "use crate::verdict::Action;", true),
        ("verdict/a.rs", "use crate::mail::Domain;", false),
        ("session/a.rs", "use crate::{mail, verdict::Action};", true),
        ("session/a.rs", "fn f() { crate::policy::load(); }", true),
        ("session/a.rs", "use super::super::policy;", true),
        ("session/mod.rs", "use super::policy;", true),
        ("session/a.rs", "use super::line;", false),
        ("session/deep/mod.rs", "use super::super::policy;", true),
        ("session/a.rs", "// crate::policy\nconst X: &str = \"crate::policy::x\";", false),
        ("verdict/a.rs", "use std::fs;", true),
        ("verdict/a.rs", "use std::{io, fs::File};", true),
        ("verdict/run.rs", "use std::fs;", false),
        ("env/disk.rs", "use std::fs;", false),
        ("session/run/accept.rs", "use tokio::net::TcpListener;", false),
        ("session/dialogue.rs", "use tokio::time;", true),
        ("session/dialogue.rs", "async fn f() { tokio::task::yield_now().await }", true),
        ("verdict/a.rs", "use std::net::IpAddr;", false),
        ("verdict/a.rs", "use std::net::{IpAddr, TcpStream};", true),
        ("verdict/a.rs", "fn f() { let _ = std::time::Instant::now(); }", true),
        ("verdict/a.rs", "fn f(clock: &Clock) { let _ = clock.now(); }", false),
        ("verdict/a.rs", "fn f(p: &Path) -> bool { p.is_dir() }", true),
        ("inspect/inspector.rs", "use std::fs;", false),
        ("inspect/checks/content/yara.rs", "use yara_x::Rules;", false),
        ("inspect/checks/content/mime.rs", "use yara_x::Rules;", true),
        ("env/dns/mod.rs", "use hickory_resolver::Resolver;", false),
        ("deliver/client.rs", "fn f() { openssl::init(); }", true),
        ("deliver/seal/dkim.rs", "use mail_auth::common;", false),
        ("session/metrics.rs", "use prometheus::IntCounter;", false),
        ("session/desk.rs", "use prometheus::IntCounter;", true),
        ("report/run.rs", "use prometheus::Registry;", false),
        ("verdict/a.rs", "fn f() { todo!() }", true),
        ("verdict/a.rs", "fn f() { unsafe { g() } }", true),
        ("verdict/a.rs", "fn f() {\n// SAFETY: it holds\nunsafe { g() } }", false),
        ("verdict/a.rs", "#[cfg(test)]\nmod tests { use std::fs; use crate::policy; }", false),
        ("verdict/tests.rs", "use std::fs;", false),
    ];
    for (path, code, offends) in cases {
        let found = complaints(&order, &[Source::new(path, &format!("//! Made up.\n{code}\n"))]);
        assert_eq!(!found.is_empty(), offends, "{path}: {code}\n{found:?}");
    }
    let long = "//! Made up.\n".repeat(LONGEST + 1);
    assert_eq!(complaints(&order, &[Source::new("mail/a.rs", &long), Source::new("mail/b.rs", "fn f() {}")]).len(), 2);
}
