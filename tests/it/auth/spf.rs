//! The openspf suite for RFC 7208, each scenario's zone served over UDP and TCP.

use std::net::IpAddr;

use luytre::env::Dns;
use luytre::env::dns::zone::{Data, Trouble, Zone};
use luytre::inspect::checks::auth::spf::{Outcome, Query, check};
use luytre::mail::Mailbox;
use yaml_rust2::{Yaml, YamlLoader};

use super::{Envelope, serve, settle, suite};

#[tokio::test]
async fn rfc7208_suite() {
    run("rfc7208-subset.yml").await;
    run("rfc7208-tests.yml").await;
}

/// Of the suite of RFC 4408 only what RFC 7208 kept is asked.
#[tokio::test]
async fn rfc4408_suite() {
    run("rfc4408-subset.yml").await;
    run("rfc4408-tests.yml").await;
}

async fn run(file: &str) {
    let Some(path) = suite("auth/spf").map(|folder| folder.join(file)).filter(|path| path.exists()) else { return };
    let text = std::fs::read_to_string(path).unwrap();
    let (mut total, mut failures) = (0, Vec::new());
    for scenario in YamlLoader::load_from_str(&text).unwrap() {
        let (_server, dns) = serve(zone(&scenario["zonedata"])).await;
        let tests = scenario["tests"].as_hash().unwrap();
        total += tests.len();
        for (name, test) in tests {
            if let Err(why) = one(&dns, test).await {
                failures.push(format!("{}: {why}", name.as_str().unwrap()));
            }
        }
    }
    settle(file, total, &failures);
}

async fn one(dns: &Dns, test: &Yaml) -> Result<(), String> {
    let ip: IpAddr = test["host"].as_str().unwrap().parse().unwrap();
    let helo = test["helo"].as_str().unwrap_or_default();
    let sender = test["mailfrom"].as_str().unwrap_or_default();
    let (sender_text, domain) = match sender.rsplit_once('@') {
        _ if sender.is_empty() => (format!("postmaster@{helo}"), helo.to_owned()),
        Some((_, domain)) => (sender.to_owned(), domain.to_owned()),
        None => (sender.to_owned(), sender.to_owned()),
    };
    let query = Query { ip, helo, sender: &sender_text, domain: &domain, now: 0 };
    let outcome = check(dns, query).await;
    expect(test, &outcome)?;
    // The same through the whole path, where the sender is one that SMTP can carry.
    if sender.is_empty() || Mailbox::parse(sender).is_ok() {
        let envelope = Envelope { ip, helo: helo.to_owned(), ..Envelope::from(sender) };
        let facts = envelope.examine(dns, b"From: a@b.invalid\r\n\r\n").await.facts;
        if facts.spf != outcome.result {
            return Err(format!("the whole path says {}, the evaluation {}", facts.spf, outcome.result));
        }
    }
    Ok(())
}

/// The results that a test accepts.
pub fn allowed(test: &Yaml) -> Vec<&str> {
    match &test["result"] {
        Yaml::Array(list) => list.iter().filter_map(Yaml::as_str).collect(),
        one => one.as_str().into_iter().collect(),
    }
}

fn expect(test: &Yaml, outcome: &Outcome) -> Result<(), String> {
    let allowed = allowed(test);
    if !allowed.contains(&outcome.result.as_str()) {
        return Err(format!("expected {allowed:?}, got {} ({})", outcome.result, outcome.detail));
    }
    match test["explanation"].as_str() {
        Some("DEFAULT") if outcome.explanation.is_some() => Err(format!("explained {:?}", outcome.explanation)),
        Some(text) if text != "DEFAULT" && outcome.explanation.as_deref() != Some(text) => {
            Err(format!("expected the explanation {text:?}, got {:?}", outcome.explanation))
        }
        _ => Ok(()),
    }
}

/// `name: [TYPE: value, ..]`; `TIMEOUT` for what is not listed; SPF stands for TXT too unless a TXT of NONE hides it.
pub fn zone(yaml: &Yaml) -> Zone {
    let mut zone = Zone::default();
    for (name, entries) in yaml.as_hash().unwrap() {
        let name = name.as_str().unwrap();
        let entries = entries.as_vec().unwrap();
        let has_txt = entries.iter().any(|entry| !entry["TXT"].is_badvalue());
        for entry in entries {
            if entry.as_str() == Some("TIMEOUT") {
                zone.trouble(name, Trouble::Timeout);
                continue;
            }
            for (kind, value) in entry.as_hash().unwrap() {
                for data in data(kind.as_str().unwrap(), value, has_txt) {
                    match data {
                        Some(data) => zone.add(name, data),
                        None => zone.trouble(name, Trouble::Timeout),
                    }
                }
            }
        }
    }
    zone
}

/// The records of an entry; `None` inside for a timeout of that type.
fn data(kind: &str, value: &Yaml, has_txt: bool) -> Vec<Option<Data>> {
    if value.as_str() == Some("TIMEOUT") {
        return vec![None];
    }
    let parts = || match value {
        Yaml::Array(list) => list.iter().map(|part| part.as_str().unwrap().to_owned()).collect(),
        one => vec![one.as_str().unwrap().to_owned()],
    };
    let text = || value.as_str().unwrap();
    match kind {
        "A" => vec![Some(Data::A(text().parse().unwrap()))],
        "AAAA" => vec![Some(Data::Aaaa(text().parse().unwrap()))],
        "MX" => {
            let list = value.as_vec().unwrap();
            vec![Some(Data::Mx(
                u16::try_from(list[0].as_i64().unwrap()).unwrap(),
                list[1].as_str().unwrap().to_owned(),
            ))]
        }
        "PTR" => vec![Some(Data::Ptr(text().to_owned()))],
        "CNAME" => vec![Some(Data::Cname(text().to_owned()))],
        "TXT" if text_is_none(value) => Vec::new(),
        "TXT" => vec![Some(Data::Txt(parts()))],
        "SPF" if has_txt => vec![Some(Data::Spf(parts().concat()))],
        "SPF" => vec![Some(Data::Spf(parts().concat())), Some(Data::Txt(parts()))],
        other => panic!("the suite has a type {other}"),
    }
}

fn text_is_none(value: &Yaml) -> bool {
    value.as_str() == Some("NONE")
}
