//! The vectors of sender authentication: results, findings, and the number of DNS questions. What is done with a
//! message is the verdict's matter; here is what the verdict is told.

use luytre::env::dns::zone::Zone;
use luytre::inspect::AuthFacts;
use luytre::inspect::checks::auth::{AuthReport, Settings};
use luytre::mail::Domain;
use serde_json::Value;

use super::{Envelope, serve, settle, suite};

/// Names in the vectors that are only advisory, and what we call the same thing.
const SYNONYMS: [(&str, &[&str]); 3] = [
    ("from.malformed", &["from.invalid", "from.multiple-address", "from.display-address"]),
    ("header.too-long", &["from.invalid"]),
    ("limit.depth", &["from.invalid"]),
];

#[tokio::test]
async fn vectors_of_sender_authentication() {
    let Some(folder) = suite("attacks") else { return };
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap();
    let zone = Zone::from_json(&read("zone.json")).unwrap();
    let manifest: Value = serde_json::from_str(&read("manifest.json")).unwrap();
    let profile: Value = serde_json::from_str(&read("profile.json")).unwrap();
    let vectors = manifest["vectors"].as_array().unwrap();
    let ours = vectors.iter().filter(|v| v["class"].as_str().unwrap().starts_with("auth.") && v["listener"] == "mx");
    let (mut total, mut failures) = (0, Vec::new());
    for vector in ours {
        total += 1;
        let raw = std::fs::read(folder.join(vector["file"].as_str().unwrap())).unwrap();
        let (server, dns) = serve(zone.clone()).await;
        let report = envelope(vector, &profile).examine(&dns, &raw).await;
        let mut problems = auth_problems(&vector["expect"]["auth"], &report.facts, server.queries());
        problems.extend(finding_problems(vector, &report));
        problems.extend(action_problems(vector, &report));
        failures.extend(problems.into_iter().map(|problem| format!("{}: {problem}", vector["id"])));
    }
    settle("attack vectors", total, &failures);
}

fn envelope(vector: &Value, profile: &Value) -> Envelope {
    let env = &vector["env"];
    let list = |name: &str| profile[name].as_array().unwrap().iter().map(|v| v.as_str().unwrap().to_owned());
    let domains = |name: &str| list(name).map(|d| Domain::parse(&d).unwrap()).collect::<Vec<_>>();
    let recipients = env["rcpt_to"].as_array().unwrap().iter().map(|r| r.as_str().unwrap().parse().unwrap());
    Envelope {
        ip: env["ip"].as_str().unwrap().parse().unwrap(),
        helo: env["helo"].as_str().unwrap().to_owned(),
        recipients: recipients.collect(),
        own: domains("local_domains"),
        settings: Settings {
            protected_domains: domains("protected_domains"),
            protected_names: list("protected_names").collect(),
            ..Settings::default()
        },
        ..Envelope::from(env["mail_from"].as_str().unwrap())
    }
}

fn auth_problems(auth: &Value, facts: &AuthFacts, queries: u64) -> Vec<String> {
    let mut problems = Vec::new();
    for (name, wanted) in auth.as_object().into_iter().flatten() {
        let got = match name.as_str() {
            "spf" => facts.spf,
            "dkim" => facts.dkim_result(),
            "dmarc" => facts.dmarc.result,
            "arc" => facts.arc,
            _ if queries > wanted.as_u64().unwrap() => {
                problems.push(format!("{queries} questions, {wanted} allowed"));
                continue;
            }
            _ => continue,
        };
        let wanted = wanted.as_str().unwrap();
        if !wanted.split('|').any(|word| word == got.as_str()) {
            problems.push(format!("{name} wanted {wanted}, got {got}: {facts:?}"));
        }
    }
    problems
}

fn codes(report: &AuthReport) -> Vec<&str> {
    report.findings.iter().map(|finding| finding.code.as_ref()).collect()
}

fn finding_problems(vector: &Value, report: &AuthReport) -> Option<String> {
    let wanted: Vec<&str> = vector["expect"]["findings_any"].as_array()?.iter().filter_map(Value::as_str).collect();
    let codes = codes(report);
    let known = |name: &str| {
        codes.contains(&name)
            || SYNONYMS.iter().any(|(theirs, ours)| *theirs == name && ours.iter().any(|code| codes.contains(code)))
    };
    (!wanted.iter().any(|name| known(name))).then(|| format!("wanted any of {wanted:?}, got {codes:?}"))
}

/// A vector that must not be delivered untouched leaves a finding that lets the verdict act; a control leaves none.
fn action_problems(vector: &Value, report: &AuthReport) -> Option<String> {
    const HARMLESS: [&str; 13] = [
        "spf.pass",
        "spf.none",
        "spf.neutral",
        "dkim.pass",
        "dkim.none",
        "dmarc.pass",
        "dmarc.none",
        "iprev.pass",
        "iprev.permerror",
        "iprev.fail",
        "arc.pass",
        "replyto.mismatch",
        "dkim.old",
    ];
    let codes = codes(report);
    let telling: Vec<&&str> = codes.iter().filter(|code| !HARMLESS.contains(*code)).collect();
    let actions = vector["expect"]["action"].as_array()?;
    let must_act = !actions.iter().any(|action| action == "deliver");
    if must_act && telling.is_empty() {
        return Some(format!("nothing tells the verdict to act: {codes:?}"));
    }
    (vector["control"] == true && !telling.is_empty()).then(|| format!("honest mail has {telling:?}"))
}
