//! What a vector demands, held against what became of its message.

use luytre::inspect::SmimeStatus;
use luytre::verdict::receipt::Receipt;
use regex::Regex;
use serde_json::Value;

use super::texts;
use crate::kit::client::Answer;
use crate::kit::sink::Taken;

/// What can be seen of one message from outside.
pub struct Fate {
    pub answer: Answer,
    /// DNS questions it caused, where they were counted.
    pub queries: Option<u64>,
    /// The copy at the agency's server.
    pub taken: Option<Taken>,
    pub receipt: Option<Receipt>,
}

/// A demand that was not met.
pub struct Problem {
    /// The demand: `action`, `reply`, `auth`, `smime`, `headers`, `unchanged`, `pdf`, `preview`.
    pub about: &'static str,
    pub what: String,
}

impl Problem {
    pub fn new(about: &'static str, what: impl Into<String>) -> Self {
        Self { about, what: what.into() }
    }
}

pub fn judge(vector: &Value, raw: &[u8], fate: &Fate) -> Vec<Problem> {
    let expect = &vector["expect"];
    let mut problems = Vec::new();
    problems.extend(action(expect, fate));
    problems.extend(reply(expect, fate));
    problems.extend(auth(&expect["auth"], fate));
    problems.extend(smime(&expect["smime"], fate));
    problems.extend(headers(&expect["headers_out"], fate));
    if vector["control"] == true && !fate.taken.as_ref().is_some_and(|t| t.data.ends_with(raw)) {
        problems.push(Problem::new("unchanged", "the copy delivered is not what was sent"));
    }
    problems.extend(pdf(&expect["smime"]["pdf_status"], fate));
    if !expect["preview"].is_null() {
        problems.push(Problem::new("preview", "there is nothing to look at yet"));
    }
    problems
}

/// What was done, as the sender and the agency's server saw it; the receipt must tell the same.
fn seen(fate: &Fate) -> &'static str {
    match (fate.answer.code, &fate.taken) {
        (500.., None) => "reject",
        (400..500, None) => "defer",
        (_, Some(copy)) if copy.header("X-Spam-Flag").is_some() => "tag",
        (250, Some(_)) => "deliver",
        (250, None) => "quarantine",
        _ => "an answer that does not fit what the server has",
    }
}

fn action(expect: &Value, fate: &Fate) -> Option<Problem> {
    let (seen, wanted) = (seen(fate), texts(&expect["action"]));
    let told = fate.receipt.as_ref().map_or(seen, |r| r.action.as_str());
    if seen != told {
        return Some(Problem::new("action", format!("seen {seen}, the receipt says {told}: {}", fate.answer.text)));
    }
    (!wanted.contains(&seen)).then(|| Problem::new("action", format!("{seen}, wanted {wanted:?}: {}", why(fate))))
}

fn why(fate: &Fate) -> String {
    let Some(receipt) = &fate.receipt else { return fate.answer.text.trim().to_owned() };
    let findings = receipt.groups.iter().flat_map(|g| &g.findings);
    let codes: Vec<String> = findings.map(|f| format!("{}={}", f.code, f.score)).collect();
    let parts: Vec<String> = receipt.parts.iter().map(|p| format!("{} {:?} {}", p.path, p.name, p.kind)).collect();
    format!("{} | {}", codes.join(" "), parts.join("; "))
}

fn reply(expect: &Value, fate: &Fate) -> Option<Problem> {
    let wanted = Regex::new(expect["reply"].as_str()?).unwrap();
    let refused = fate.answer.code >= 400;
    (refused && !wanted.is_match(&fate.answer.text)).then(|| Problem::new("reply", fate.answer.text.trim()))
}

fn auth(expect: &Value, fate: &Fate) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (name, wanted) in expect.as_object().into_iter().flatten() {
        if let (Some(most), Some(queries)) = (wanted.as_u64(), fate.queries) {
            if queries > most {
                problems.push(Problem::new("auth", format!("{queries} questions, {most} allowed")));
            }
            continue;
        }
        let Some(receipt) = &fate.receipt else {
            problems.push(Problem::new("auth", "there is no receipt"));
            break;
        };
        let got = match name.as_str() {
            "spf" => receipt.auth.spf,
            "dkim" => receipt.auth.dkim_result(),
            "dmarc" => receipt.auth.dmarc.result,
            "arc" => receipt.auth.arc,
            other => panic!("the manifest asks for {other}"),
        };
        let wanted = wanted.as_str().unwrap();
        if !wanted.split('|').any(|word| word == got.as_str()) {
            problems.push(Problem::new("auth", format!("{name} is {got}, wanted {wanted}: {:?}", receipt.auth)));
        }
        // The agency's server is told the same.
        let field = fate.taken.as_ref().and_then(|t| t.header("Authentication-Results"));
        if field.is_some_and(|f| !f.contains(&format!("{name}={got}"))) {
            problems.push(Problem::new("auth", format!("Authentication-Results does not say {name}={got}")));
        }
    }
    problems
}

/// The manifest's words for our status.
const fn word(status: SmimeStatus) -> &'static str {
    match status {
        SmimeStatus::None => "none",
        SmimeStatus::Valid => "valid",
        SmimeStatus::Altered | SmimeStatus::Expired | SmimeStatus::Malformed => "invalid",
        SmimeStatus::Modified => "modified",
        SmimeStatus::Revoked => "revoked",
        SmimeStatus::UnknownRevocation => "indeterminate",
        SmimeStatus::Untrusted => "untrusted",
        SmimeStatus::WrongSender => "mismatch",
        SmimeStatus::Weak => "weak",
        SmimeStatus::Partial => "partial",
        SmimeStatus::Unverifiable => "unverifiable",
    }
}

fn smime(expect: &Value, fate: &Fate) -> Option<Problem> {
    let wanted = expect["status"].as_str()?;
    let Some(receipt) = &fate.receipt else { return Some(Problem::new("smime", "there is no receipt")) };
    let got = if receipt.smime.encrypted { "encrypted" } else { word(receipt.smime.status) };
    let fits = wanted.split('|').any(|word| word == got);
    // Only a valid signature says anything of From.
    let of_from = expect["signer_matches_from"].as_bool().is_none_or(|matches| matches == (got == "valid"));
    (!fits || !of_from).then(|| Problem::new("smime", format!("{got}, wanted {wanted}: {:?}", receipt.smime)))
}

fn pdf(expect: &Value, fate: &Fate) -> Option<Problem> {
    let wanted = expect.as_str()?;
    let got = fate.receipt.as_ref().map_or("without a receipt", |r| word(r.smime.pdf_status));
    (!wanted.split('|').any(|word| word == got))
        .then(|| Problem::new("pdf", format!("{got}, wanted {wanted}: {}", why(fate))))
}

fn headers(expect: &Value, fate: &Fate) -> Vec<Problem> {
    let Some(copy) = &fate.taken else { return Vec::new() };
    let text = copy.text();
    let head = text.split("\r\n\r\n").next().unwrap_or("");
    let mut problems = Vec::new();
    for absent in texts(&expect["absent"]) {
        if head.contains(absent) {
            problems.push(Problem::new("headers", format!("{absent} was delivered")));
        }
    }
    for (name, wanted) in expect["count"].as_object().into_iter().flatten() {
        let prefix = format!("{}:", name.to_ascii_lowercase());
        let count = head.split("\r\n").filter(|l| l.to_ascii_lowercase().starts_with(&prefix)).count();
        if Some(count as u64) != wanted.as_u64() {
            problems.push(Problem::new("headers", format!("{count} fields {name}, wanted {wanted}")));
        }
    }
    problems
}
