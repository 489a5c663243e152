//! The openspf suite for RFC 7208 through the whole path: the suite's client connects (a PROXY header says so), says its
//! HELO and MAIL FROM, and the receipt and Authentication-Results must hold a result that the suite allows. A gateway
//! for each scenario, because each has a DNS of its own and nothing may be left in the cache.

use std::net::IpAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use yaml_rust2::{Yaml, YamlLoader};

use crate::auth::spf::{allowed, zone};
use crate::auth::{settle, suite};
use crate::kit::client::Client;
use crate::kit::dns::Dns;
use crate::kit::gateway::{Gateway, receipt_id};
use crate::kit::sink::Sink;
use crate::kit::site::Site;

#[test]
fn rfc7208_suite_through_the_whole_path() {
    let Some(folder) = suite("auth/spf") else { return };
    let files = ["rfc7208-subset.yml", "rfc7208-tests.yml"].map(|name| folder.join(name));
    let scenarios: Vec<Yaml> = files
        .iter()
        .filter(|path| path.exists())
        .flat_map(|path| YamlLoader::load_from_str(&std::fs::read_to_string(path).unwrap()).unwrap())
        .collect();
    let (next, told) = (AtomicUsize::new(0), Mutex::new(Told::default()));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(one) = scenarios.get(next.fetch_add(1, Ordering::Relaxed)) {
                    scenario(one, &told);
                }
            });
        }
    });
    let told = told.into_inner().unwrap();
    for name in &told.unsayable {
        println!("  not said in SMTP: {name}");
    }
    assert!(
        told.asked >= 3 * told.unsayable.len(),
        "too few tests were asked: {} of {}",
        told.asked,
        told.unsayable.len()
    );
    settle("RFC 7208 through the whole path", told.asked, &told.failures);
}

#[derive(Default)]
struct Told {
    asked: usize,
    /// Tests whose HELO or MAIL FROM breaks the grammar of RFC 5321: no client can bring them.
    unsayable: Vec<String>,
    failures: Vec<String>,
}

fn scenario(scenario: &Yaml, told: &Mutex<Told>) {
    let dns = Dns::serve(zone(&scenario["zonedata"]));
    let site = Site::new("spf-path").dns(dns.address());
    let gateway = site.start();
    for (name, test) in scenario["tests"].as_hash().unwrap() {
        let name = name.as_str().unwrap();
        let text = |key: &str| test[key].as_str().unwrap_or_default();
        if !can_be_said(text("helo"), text("mailfrom")) {
            let what = format!("{name}: HELO {:?}, MAIL FROM {:?}", text("helo"), text("mailfrom"));
            told.lock().unwrap().unsayable.push(what);
            continue;
        }
        let result = one(&gateway, &site.sink, test);
        let mut told = told.lock().unwrap();
        told.asked += 1;
        told.failures.extend(result.err().map(|why| format!("{name}: {why}")));
    }
}

fn one(gateway: &Gateway, sink: &Sink, test: &Yaml) -> Result<(), String> {
    let text = |key: &str| test[key].as_str().unwrap_or_default();
    let ip: IpAddr = text("host").parse().unwrap();
    let mut client = Client::connect_as(gateway.address("mx"), &ip.to_string()).map_err(|e| e.to_string())?;
    let hello = client.say(&format!("EHLO {}", text("helo"))).map_err(|e| e.to_string())?;
    if hello.code != 250 {
        return Err(format!("the greeting was refused: {}", hello.text));
    }
    let letter = b"From: a@b.invalid\r\nSubject: x\r\n\r\nx\r\n";
    let answer = client.deliver(text("mailfrom"), &["an@agency.test"], letter).map_err(|e| e.to_string())?;
    let id = receipt_id(&answer.text).ok_or_else(|| format!("no id in {}", answer.text))?;
    let receipt = gateway.receipt(&id).ok_or_else(|| format!("refused before the end: {}", answer.text))?;
    let (got, allowed) = (receipt.auth.spf.as_str(), allowed(test));
    if !allowed.contains(&got) {
        return Err(format!("expected {allowed:?}, got {got} ({})", receipt.auth.spf_detail));
    }
    let copy = sink.taken().into_iter().find(|t| t.header("X-Luytre-Receipt").as_ref() == Some(&id));
    match copy.and_then(|c| c.header("Authentication-Results")) {
        Some(field) if !field.contains(&format!("spf={got}")) => {
            Err(format!("the receipt says {got}, the field {field}"))
        }
        _ => Ok(()),
    }
}

/// RFC 5321 §4.1.2: a HELO is a domain or an address literal; of local parts the suite has only dot-strings.
fn can_be_said(helo: &str, sender: &str) -> bool {
    let label = |l: &str| {
        let inner = l.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
        (1..=63).contains(&l.len()) && inner && !l.starts_with('-') && !l.ends_with('-')
    };
    let domain = |d: &str| d.len() <= 255 && d.split('.').all(label);
    let literal =
        helo.strip_prefix('[').and_then(|h| h.strip_suffix(']')).is_some_and(|ip| ip.parse::<IpAddr>().is_ok());
    let atom =
        |a: &str| !a.is_empty() && a.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~".contains(&b));
    let mailbox = |(local, host): (&str, &str)| local.len() <= 64 && local.split('.').all(atom) && domain(host);
    (domain(helo) || literal) && (sender.is_empty() || sender.rsplit_once('@').is_some_and(mailbox))
}
