//! The functional cases of Rspamd for SPF, DKIM and DMARC, their symbols put into our words.

use std::path::Path;

use luytre::env::dns::zone::{Data, Trouble, Zone};
use luytre::inspect::AuthResult;
use luytre::inspect::case::DmarcPolicy;
use luytre::inspect::checks::auth::AuthReport;
use serde_json::Value;

use super::{Envelope, crlf, serve, settle, suite};

/// Cases that mean something else than our task, each with the reason.
const OTHER: [(&str, &str); 5] = [
    ("SPF EXTERNAL RELAY", "asks for trust in a relay's Received line"),
    ("DKIM Self Verify", "the message is made by their harness"),
    ("SPF FAIL UNRESOLVEABLE INCLUDE", "RFC 7208 §5.2: an include without record is a permerror, not a fail"),
    ("DKIM Ignore Unknown Tags", "the key of taugh.com is not among the records"),
    ("DKIM Signatures At Limit Are Still Checked", "the key of taugh.com is not among the records"),
];

#[tokio::test]
async fn rspamd_cases() {
    let Some(folder) = suite("auth/rspamd") else { return };
    let cases: Value = serde_json::from_str(&std::fs::read_to_string(folder.join("cases.json")).unwrap()).unwrap();
    let (_server, dns) = serve(zone(&cases["dns"])).await;
    let ours = |case: &&Value| ["spf", "dkim", "dmarc", "arc"].iter().any(|suite| case["suite"] == *suite);
    let (mut total, mut failures) = (0, Vec::new());
    for case in cases["cases"].as_array().unwrap().iter().filter(ours) {
        let title = case["title"].as_str().unwrap();
        if let Some((_, why)) = OTHER.iter().find(|(other, _)| *other == title) {
            println!("not asked: {title}: {why}");
            continue;
        }
        let file = folder.join(case["message"].as_str().unwrap());
        if !file.exists() {
            println!("not asked: {title}: its message is not in this part");
            continue;
        }
        total += 1;
        let report = examine(case, &file, &dns).await;
        for (symbol, wanted) in symbols(case) {
            match says(&symbol, &report) {
                Some(said) if said == wanted => {}
                Some(_) => failures.push(format!("{title}: {symbol} is not {wanted}: {:?}", report.facts)),
                None => println!("not asked: {title}: the symbol {symbol} has no word of ours"),
            }
        }
    }
    settle("rspamd", total, &failures);
}

async fn examine(case: &Value, file: &Path, dns: &luytre::env::Dns) -> AuthReport {
    let raw = crlf(&std::fs::read(file).unwrap());
    let mut envelope = Envelope::from(case["mail_from"].as_str().unwrap_or_default());
    if let Some(ip) = case["ip"].as_str() {
        envelope.ip = ip.parse().unwrap();
    }
    if let Some(helo) = case["helo"].as_str() {
        envelope.helo = helo.to_owned();
    }
    envelope.examine(dns, &raw).await
}

fn symbols(case: &Value) -> Vec<(String, bool)> {
    let expected = case["expect"].as_array().unwrap().iter().map(|s| (s[0].as_str().unwrap().to_owned(), true));
    let absent = case["not_expect"].as_array().unwrap().iter().map(|s| (s.as_str().unwrap().to_owned(), false));
    expected.chain(absent).collect()
}

fn says(symbol: &str, report: &AuthReport) -> Option<bool> {
    use AuthResult::{Fail, Neutral, None as Nothing, Pass, PermError, SoftFail, TempError};
    let facts = &report.facts;
    let dkim = facts.dkim_result();
    let failed = |policy| facts.dmarc.result == Fail && facts.dmarc.policy == policy;
    Some(match symbol {
        "R_SPF_ALLOW" => facts.spf == Pass,
        "R_SPF_PLUSALL" => facts.spf == Pass && facts.spf_permissive,
        "R_SPF_FAIL" => facts.spf == Fail,
        "R_SPF_SOFTFAIL" => facts.spf == SoftFail,
        "R_SPF_NEUTRAL" => facts.spf == Neutral,
        "R_SPF_PERMFAIL" => facts.spf == PermError,
        "R_SPF_DNSFAIL" => facts.spf == TempError,
        "R_SPF_NA" => facts.spf == Nothing,
        "R_DKIM_ALLOW" => dkim == Pass,
        "R_DKIM_REJECT" => dkim == Fail,
        "R_DKIM_PERMFAIL" => dkim == PermError,
        "R_DKIM_TEMPFAIL" => dkim == TempError,
        "R_DKIM_NA" => dkim == Nothing,
        "DMARC_POLICY_ALLOW" => facts.dmarc.result == Pass,
        "DMARC_POLICY_REJECT" => failed(DmarcPolicy::Reject),
        "DMARC_POLICY_QUARANTINE" => failed(DmarcPolicy::Quarantine),
        "DMARC_POLICY_SOFTFAIL" => failed(DmarcPolicy::None),
        "DMARC_DNSFAIL" => facts.dmarc.result == TempError,
        "DMARC_NA" => facts.dmarc.result == Nothing,
        "ARC_ALLOW" => facts.arc == Pass,
        "ARC_INVALID" => facts.arc == Fail,
        _ => return None,
    })
}

fn zone(dns: &Value) -> Zone {
    let mut zone = Zone::default();
    for entry in dns.as_array().unwrap() {
        let name = entry["name"].as_str().unwrap();
        match entry["rcode"].as_str().unwrap() {
            "noerror" => {}
            "norec" | "nxdomain" => continue,
            _ => {
                zone.trouble(name, Trouble::ServFail);
                continue;
            }
        }
        for reply in entry["replies"].as_array().unwrap().iter().filter_map(Value::as_str) {
            match entry["type"].as_str().unwrap() {
                "txt" => zone.add_text(name, reply),
                "a" => zone.add(name, Data::A(reply.parse().unwrap())),
                "aaaa" => zone.add(name, Data::Aaaa(reply.parse().unwrap())),
                "mx" => {
                    let (preference, host) = reply.split_once(' ').unwrap_or(("10", reply));
                    zone.add(name, Data::Mx(preference.parse().unwrap(), host.to_owned()));
                }
                "ptr" => zone.add(name, Data::Ptr(reply.to_owned())),
                _ => {}
            }
        }
    }
    zone
}
