//! Whole conversations against the front, over real sockets, with a desk in memory behind it: our own scripts in
//! `tests/talk/`, and both sets of attack vectors where they are at hand.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};

use luytre::env::{Clock, Dice};
use luytre::envelope::relay::{Agency, Policy, Roster};
use luytre::intake::run::Store;
use luytre::listen::Role;
use luytre::listen::run::bind;
use luytre::listen::settings::{BareNewline, Certificate, Listener};
use luytre::mail::{ByteSize, Domain, Mailbox, Span};
use luytre::session::accounts::{self, Accounts};
use luytre::session::house::{House, Station, Submission};
use luytre::session::metrics::Metrics;
use luytre::session::run::{Front, Post};
use luytre::session::settings::Limits;
use tokio::sync::watch;

use crate::kit::desk::MemoryDesk;
use crate::kit::gateway::testdata;
use crate::kit::script::{Script, check_played, play};

/// The names of `profile.json` of the attack vectors, as our settings.
fn limits(profile: &str) -> Limits {
    let hasty = profile.contains("hasty");
    let usual = Limits::default();
    Limits {
        errors: if profile.contains("few") { 6 } else { usual.errors },
        session_timeout: if profile.contains("brief") { Span::millis(1500) } else { usual.session_timeout },
        message: ByteSize::mib(10),
        command_timeout: if hasty { Span::millis(400) } else { Span::seconds(3) },
        data_timeout: if hasty { Span::millis(400) } else { Span::seconds(10) },
        ..usual
    }
}

pub fn policy() -> Policy {
    let agency = |id: &str, domain: &str, recipients: &[&str], networks: &[&str]| Agency {
        id: id.parse().unwrap(),
        domains: vec![Domain::parse(domain).unwrap()],
        roster: if recipients.is_empty() {
            Roster::Any
        } else {
            Roster::Listed(recipients.iter().map(|r| Mailbox::parse(r).unwrap().folded()).collect())
        },
        subaddressing: Some('+'),
        networks: networks.iter().map(|n| n.parse().unwrap()).collect(),
    };
    Policy::build(vec![
        agency(
            "agency",
            "agency.test",
            &["alice@agency.test", "bob@agency.test", "postmaster@agency.test"],
            &["192.0.2.25/32"],
        ),
        agency("rcpt", "rcpt.test", &[], &[]),
    ])
    .unwrap()
}

/// A self-signed certificate and its key in `folder`.
pub fn certificate(folder: &Path) -> Certificate {
    use openssl::{
        asn1::Asn1Time, bn::BigNum, ec::EcGroup, ec::EcKey, hash::MessageDigest, nid::Nid, pkey::PKey,
        x509::X509Builder, x509::X509NameBuilder,
    };
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
    let key = PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap();
    let mut name = X509NameBuilder::new().unwrap();
    name.append_entry_by_text("CN", "gw.agency.test").unwrap();
    let name = name.build();
    let mut builder = X509Builder::new().unwrap();
    builder.set_version(2).unwrap();
    builder.set_serial_number(&BigNum::from_u32(1).unwrap().to_asn1_integer().unwrap()).unwrap();
    builder.set_subject_name(&name).unwrap();
    builder.set_issuer_name(&name).unwrap();
    builder.set_pubkey(&key).unwrap();
    builder.set_not_before(&Asn1Time::days_from_now(0).unwrap()).unwrap();
    builder.set_not_after(&Asn1Time::days_from_now(30).unwrap()).unwrap();
    builder.sign(&key, MessageDigest::sha256()).unwrap();
    let pair = Certificate { certificate: folder.join("mx.pem"), key: folder.join("mx.key") };
    fs::write(&pair.certificate, builder.build().to_pem().unwrap()).unwrap();
    fs::write(&pair.key, key.private_key_to_pem_pkcs8().unwrap()).unwrap();
    pair
}

/// A front of its own for one conversation.
pub struct Gate {
    pub front: Front,
    pub desk: Arc<MemoryDesk>,
    pub house: watch::Sender<Arc<House>>,
    pub registry: prometheus::Registry,
}

impl Gate {
    pub fn address(&self) -> SocketAddr {
        self.front.addresses()[0]
    }
}

/// One account of the agency, for scripts whose profile has `accounts`: name and password.
pub const ACCOUNT: (&str, &str) = ("unit@agency.test", "correct horse battery");

/// Made once: a hash is slow on purpose.
pub fn accounts() -> Accounts {
    static LINE: LazyLock<String> =
        LazyLock::new(|| accounts::line(ACCOUNT.0, &"agency".parse().unwrap(), ACCOUNT.1, [7; 16]).unwrap());
    Accounts::parse(&LINE).unwrap()
}

/// The ordinary listener on a free port, with a certificate in `folder`.
pub fn listener(folder: &Path) -> Listener {
    Listener {
        address: "127.0.0.1:0".parse().unwrap(),
        role: Role::Mx,
        tls: Some(certificate(folder)),
        sni: Vec::new(),
        client_certificates: false,
        client_trust: Vec::new(),
        proxy_networks: Vec::new(),
        xclient_networks: Vec::new(),
        bare_newline: BareNewline::Reject,
        normalize_networks: Vec::new(),
    }
}

/// Changes to the ordinary front, as a script's `profile` header asks for them.
pub fn open(folder: &Path, profile: &str, limits: Limits) -> Gate {
    let loopback = || vec!["127.0.0.0/8".to_owned()];
    let listener = Listener {
        role: if profile.contains("relay") { Role::Relay } else { Role::Mx },
        proxy_networks: if profile.contains("proxy") { loopback() } else { Vec::new() },
        xclient_networks: if profile.contains("xclient") { loopback() } else { Vec::new() },
        bare_newline: if profile.contains("normalize") { BareNewline::Normalize } else { BareNewline::Reject },
        normalize_networks: loopback(),
        ..listener(folder)
    };
    let mut submission = Submission::default();
    if profile.contains("accounts") {
        submission.accounts = accounts();
    }
    open_with(folder, &listener, submission, policy(), limits)
}

/// A front with everything chosen.
pub fn open_with(folder: &Path, listener: &Listener, submission: Submission, policy: Policy, limits: Limits) -> Gate {
    let any = listener.address;
    let station = Station::build(listener, &folder.join("luytre.toml")).unwrap().with(submission);
    let house = House {
        hostname: "gw.agency.test".to_owned(),
        limits,
        stations: vec![Arc::new(station)],
        elsewhere: Vec::new(),
    };
    let (house, watched) = watch::channel(Arc::new(house));
    let desk = MemoryDesk::new(policy, Store::new(folder.to_owned(), ByteSize::mib(64)));
    let posts = vec![Post { address: any, socket: bind(any).unwrap() }];
    let registry = prometheus::Registry::new();
    let metrics = Metrics::new(&registry).unwrap();
    let front = Front::start(posts, watched, Arc::clone(&desk), Clock::system(), Dice::system(), metrics).unwrap();
    Gate { front, desk, house, registry }
}

/// Plays scripts side by side, each against a front of its own; the failures of all.
fn play_all(scripts: &[(Script, String)]) -> Vec<String> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let next = AtomicUsize::new(0);
    let failures = std::sync::Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                while let Some((script, profile)) = scripts.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let folder = tempfile::tempdir().unwrap();
                    let guard = runtime.enter();
                    let gate = open(folder.path(), profile, limits(profile));
                    drop(guard);
                    if profile.contains("guard") {
                        let guard = script.header("guard").collect::<Vec<_>>().join("\n");
                        let zone = script.header("dns").next().unwrap_or("{}");
                        runtime.block_on(gate.desk.arm(folder.path(), &guard, zone));
                    }
                    let played = play(script, gate.address());
                    let mut found = check_played(script, &played, gate.address(), &|| gate.desk.sink());
                    let left = runtime.block_on(gate.front.drain(Span::seconds(5)));
                    let told = gate.desk.noticed.lock().unwrap().clone();
                    found.extend(untold(&played.replies, &told));
                    found.extend(unlike(&script.header("event").collect::<Vec<_>>(), &told));
                    let mut failures = failures.lock().unwrap();
                    failures.extend(found.into_iter().map(|f| format!("{}: {f}", script.name)));
                    if left.cut > 0 {
                        failures.push(format!("{}: {} sessions would not end", script.name, left.cut));
                    }
                }
            });
        }
    });
    failures.into_inner().unwrap()
}

/// The scripts of a folder, each with its `profile` header.
pub fn read_scripts(folder: &Path) -> Vec<(Script, String)> {
    let mut files: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|e| e == "smtp"));
    files.sort();
    files
        .iter()
        .map(|path| {
            let text = fs::read_to_string(path).unwrap();
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            let profile = text.lines().find_map(|l| l.strip_prefix("# profile: ")).unwrap_or("").to_owned();
            (Script::parse(&name, &text).unwrap(), profile)
        })
        .collect()
}

fn report(what: &str, count: usize, failures: &[String]) {
    println!("{what}: {count} scripts, {} failures", failures.len());
    assert!(failures.is_empty(), "{what}:\n{}", failures.join("\n"));
}

#[test]
fn our_own_conversations_go_as_written() {
    let scripts = read_scripts(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/talk"));
    assert!(scripts.len() >= 20, "{} scripts", scripts.len());
    report("tests/talk", scripts.len(), &play_all(&scripts));
}

#[test]
fn the_table_of_standards_and_the_scripts_name_each_other() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(root.join("docs/en/smtp.md")).unwrap();
    let rows = page.lines().filter(|line| line.starts_with("| "));
    let named: Vec<&str> = rows
        .filter_map(|row| row.trim_end_matches([' ', '|']).rsplit('|').next())
        .flat_map(|cell| cell.split('`').skip(1).step_by(2))
        .collect();
    let fits = |name: &str, script: &str| match name.strip_suffix('*') {
        Some(start) => script.starts_with(start),
        None => script == name,
    };
    let scripts: Vec<String> = read_scripts(&root.join("tests/talk")).into_iter().map(|(s, _)| s.name).collect();
    for name in &named {
        assert!(scripts.iter().any(|script| fits(name, script)), "docs/en/smtp.md: there is no script {name}");
    }
    for script in &scripts {
        assert!(named.iter().any(|name| fits(name, script)), "docs/en/smtp.md does not name {script}");
    }
}

#[test]
fn attack_scripts_find_nothing() {
    let Some(folder) = testdata("attacks/smtp") else { return };
    let scripts = read_scripts(&folder);
    report("attack vectors", scripts.len(), &play_all(&scripts));
}

/// Refusals that the client heard and that did not become an event: DOMAIN R10, each yields the right reply and one event.
/// In the other direction nothing is missed either, but a client that hangs up may not hear what it is told.
fn untold(replies: &[(u16, String)], told: &[(&'static str, String)]) -> Vec<String> {
    let mut told: Vec<&str> = told.iter().map(|(_, reply)| reply.as_str()).collect();
    let heard = replies.iter().filter(|(code, _)| *code >= 400);
    let mut missing = Vec::new();
    for (code, text) in heard {
        let said = format!("{code} {}", text.lines().next().unwrap_or_default());
        match told.iter().position(|event| event.replace('-', " ").starts_with(&said.replace('-', " "))) {
            Some(at) => drop(told.remove(at)),
            None => missing.push(format!("no event tells of: {said}")),
        }
    }
    missing
}

/// What a script says of events that no reply shows (`# event: tls timeout`), against what was told.
fn unlike(expected: &[&str], told: &[(&'static str, String)]) -> Option<String> {
    let silent = told.iter().filter(|(kind, _)| ["tls", "sudden"].contains(kind));
    let silent: Vec<String> = silent.map(|(kind, text)| format!("{kind} {text}")).collect();
    let fits =
        silent.len() == expected.len() && silent.iter().zip(expected).all(|(told, start)| told.starts_with(start));
    (!expected.is_empty() && !fits).then(|| format!("events {expected:?}, told were {silent:?}"))
}

/// `vectors.json` written as a script: what the client sends, and the reply codes it must see.
pub fn vector(vector: &serde_json::Value) -> Script {
    let name = vector["id"].as_str().unwrap();
    let mut text = String::from("S: 220\n");
    let smuggling = vector["group"] == "smuggling";
    if smuggling {
        text.push_str("# sink_absent_envelope: smuggler@evil.test\n# delivered: 0|1\n");
    }
    if vector["rule"].as_str().is_some_and(|rule| rule.starts_with("one message")) {
        text.push_str("# delivered: 1\n");
    }
    for turn in vector["session"].as_array().unwrap() {
        let line = turn[1].as_str().unwrap();
        match turn[0].as_str().unwrap() {
            "C" => {
                let bytes = line.chars().flat_map(|c| match u8::try_from(u32::from(c)) {
                    Ok(byte) => vec![byte],
                    Err(_) => c.to_string().into_bytes(),
                });
                let escaped: String = bytes.map(|b| format!("\\x{b:02x}")).collect();
                text.push_str(&format!("C: {escaped}\n"));
            }
            "S" => text.push_str(&format!("S: {line}\n")),
            _ => text.push_str("X:\n"),
        }
    }
    if smuggling {
        text.push_str("S: 5xx|4xx|250|close\nS+: 5xx|4xx|221|close\n");
    }
    Script::parse(name, &text).unwrap()
}

#[test]
fn wire_protocol_vectors_go_as_their_rules_say() {
    let Some(path) = testdata("smtp/vectors.json") else { return };
    let all: serde_json::Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
    let scripts: Vec<_> = all["vectors"].as_array().unwrap().iter().map(|v| (vector(v), String::new())).collect();
    report("vectors.json", scripts.len(), &play_all(&scripts));
}
