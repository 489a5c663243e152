//! DMARC verdicts with their DNS (postalsys/mailauth), RFC 9989 where the two RFCs differ.

use luytre::env::dns::zone::{Data, Trouble, Zone};
use luytre::inspect::AuthResult;
use luytre::inspect::case::{DmarcFact, DmarcPolicy};
use luytre::inspect::checks::auth::dmarc::{Proofs, discover, evaluate};
use luytre::mail::{Domain, Mailbox};
use serde_json::Value;

use super::{serve, settle, suite};

#[tokio::test]
async fn rfc9989_vectors() {
    let Some(folder) = suite("auth/dmarc") else { return };
    let text = std::fs::read_to_string(folder.join("mailauth-vectors.json")).unwrap();
    let vectors: Value = serde_json::from_str(&text).unwrap();
    let cases = vectors["cases"].as_array().unwrap();
    let mut failures = Vec::new();
    for case in cases {
        let from = case["header_from"].as_str().unwrap_or_default();
        // From fields without one author never reach DMARC here.
        let fact = match Mailbox::parse(from) {
            Ok(mailbox) => verdict(case, &mailbox).await,
            Err(_) => DmarcFact { result: AuthResult::None, ..DmarcFact::default() },
        };
        for expect in case["expect"].as_array().unwrap() {
            if let Some(why) = differs(expect, &fact, from) {
                failures.push(format!("{} [{}]: {why} ({})", case["title"], case["suite"], fact.detail));
            }
        }
    }
    settle("dmarc vectors", cases.len(), &failures);
}

/// Records that another strict parser takes or refuses: refused means that no policy is applied.
#[tokio::test]
async fn records_of_other_parsers() {
    let Some(folder) = suite("auth/policy-records") else { return };
    let text = std::fs::read_to_string(folder.join("mox-parse-tables.json")).unwrap();
    let tables: Value = serde_json::from_str(&text).unwrap();
    let table = &tables["tables"]["dmarc_record"];
    let (mut total, mut failures) = (0, Vec::new());
    for (list, wanted) in [("good", AuthResult::Fail), ("bad", AuthResult::None)] {
        for record in table[list].as_array().unwrap().iter().filter_map(Value::as_str) {
            total += 1;
            let (_server, dns) = serve(super::texts([("_dmarc.x.example", record)])).await;
            let discovered = discover(&dns, &Domain::parse("x.example").unwrap()).await;
            let fact = evaluate(&dns, discovered, &Proofs::default()).await;
            if fact.result != wanted {
                failures.push(format!("{list} {record:?}: {}", fact.result));
            }
        }
    }
    settle("dmarc records", total, &failures);
}

/// checkPublicSuffix(name, organisational domain): names that are suffixes have none.
#[test]
fn public_suffix_pairs() {
    let Some(folder) = suite("auth/dmarc/psl") else { return };
    let text = std::fs::read_to_string(folder.join("test_psl.txt")).unwrap();
    let (mut total, mut failures) = (0, Vec::new());
    for line in text.lines().filter_map(|line| line.strip_prefix("checkPublicSuffix(")) {
        let arguments: Vec<&str> = line.trim_end_matches([')', ';']).split(',').map(str::trim).collect();
        let text = |i: usize| arguments[i].strip_prefix('\'').and_then(|a| a.strip_suffix('\''));
        // Names with a leading dot or none at all are no domains here.
        let Some(Ok(name)) = text(0).map(Domain::parse) else { continue };
        total += 1;
        let wanted = text(1).map_or_else(|| name.clone(), |text| Domain::parse(text).unwrap());
        if name.organisational() != wanted {
            failures.push(format!("{name}: wanted {wanted}, got {}", name.organisational()));
        }
    }
    settle("public suffixes", total, &failures);
}

async fn verdict(case: &Value, from: &Mailbox) -> DmarcFact {
    let (_server, dns) = serve(zone(&case["dns"])).await;
    let list = |name: &str| case[name].as_array().unwrap().iter().map(|d| d.as_str().unwrap()).collect::<Vec<_>>();
    let (dkim, spf) = (list("dkim_pass_domains"), list("spf_pass_domains"));
    let proofs = Proofs { spf: spf.first().copied(), dkim, ..Proofs::default() };
    let discovered = discover(&dns, from.domain()).await;
    evaluate(&dns, discovered, &proofs).await
}

fn policy(policy: DmarcPolicy) -> &'static str {
    match policy {
        DmarcPolicy::None => "none",
        DmarcPolicy::Quarantine => "quarantine",
        DmarcPolicy::Reject => "reject",
    }
}

/// How the fact differs from one expectation, of those we can tell.
fn differs(expect: &Value, fact: &DmarcFact, _from: &str) -> Option<String> {
    let got = match expect["path"].as_str()? {
        "status.result" => fact.result.as_str(),
        "policy" => policy(fact.policy),
        _ => return None,
    };
    let wanted = expect["value"].as_str()?;
    let same = got == wanted;
    (same == (expect["neg"] == true)).then(|| format!("{} wanted {wanted}, got {got}", expect["path"]))
}

/// name -> type -> records; `ERROR` is a failing look-up.
fn zone(dns: &Value) -> Zone {
    let mut zone = Zone::default();
    for (name, types) in dns.as_object().unwrap() {
        let Some(types) = types.as_object() else {
            zone.trouble(name, Trouble::ServFail);
            continue;
        };
        for (kind, records) in types {
            let Some(records) = records.as_array() else {
                zone.trouble(name, Trouble::ServFail);
                continue;
            };
            for record in records {
                match kind.as_str() {
                    "TXT" => {
                        let parts = record.as_array().unwrap().iter().map(|part| part.as_str().unwrap().to_owned());
                        zone.add(name, Data::Txt(parts.collect()));
                    }
                    "A" => zone.add(name, Data::A(record.as_str().unwrap().parse().unwrap())),
                    "AAAA" => zone.add(name, Data::Aaaa(record.as_str().unwrap().parse().unwrap())),
                    "MX" => zone.add(name, Data::Mx(1, record["exchange"].as_str().unwrap().to_owned())),
                    other => panic!("the vectors have a type {other}"),
                }
            }
        }
    }
    zone
}
