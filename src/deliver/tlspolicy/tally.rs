//! TLS sessions of one day, counted for reports (RFC 8460). Pure: what happened comes in, the report's JSON goes out.
//!
//! Bounded, because names come from strangers: so many domains a day, so many policies of each, so many kinds of failure
//! of each; what does not fit is counted in one number and nothing else.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Protection;
use super::sts;

const DOMAINS: usize = 5000;
/// A domain changes its policy now and then; an attacker who answers differently each time must not fill memory.
const POLICIES: usize = 8;
const FAILURES: usize = 64;
/// Of an error's text this much is kept.
const TEXT: usize = 120;

/// RFC 8460 §4.3: why a session failed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    #[serde(rename = "starttls-not-supported")]
    NoStartTls,
    CertificateHostMismatch,
    CertificateExpired,
    CertificateNotTrusted,
    ValidationFailure,
    TlsaInvalid,
    DnssecInvalid,
    StsPolicyFetchError,
    StsPolicyInvalid,
    StsWebpkiInvalid,
}

/// The policy under which a session stood (RFC 8460 §4.4).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct Applied {
    /// `sts`, `tlsa` or `no-policy-found`.
    pub kind: String,
    pub lines: Vec<String>,
    /// Patterns of an MTA-STS policy.
    pub mx: Vec<String>,
}

impl Applied {
    /// The policy that made a connection what it is.
    #[must_use]
    pub fn of(protection: &Protection, sts: Option<&sts::Policy>) -> Self {
        match (protection, sts) {
            (Protection::Dane(pins), _) => Self {
                kind: "tlsa".to_owned(),
                lines: pins.records.iter().map(ToString::to_string).collect(),
                mx: vec![],
            },
            (Protection::Encrypted, _) => Self { kind: "tlsa".to_owned(), lines: vec![], mx: vec![] },
            (_, Some(policy)) => Self { kind: "sts".to_owned(), lines: policy.lines(), mx: policy.mx.clone() },
            (_, None) => Self { kind: "no-policy-found".to_owned(), lines: vec![], mx: vec![] },
        }
    }
}

/// A kind of failure.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct Failure {
    pub reason: Reason,
    /// The exchanger; empty where none was reached.
    pub mx: String,
    pub from_ip: String,
    pub to_ip: String,
    /// One sentence.
    pub text: String,
}

impl Failure {
    #[must_use]
    pub fn new(reason: Reason, mx: &str, text: &str) -> Self {
        let clean = |c: char| if c == ' ' || c.is_ascii_graphic() { c } else { '?' };
        let text = text.chars().map(clean).take(TEXT).collect();
        Self { reason, mx: mx.to_owned(), from_ip: String::new(), to_ip: String::new(), text }
    }
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct Line {
    policy: Applied,
    good: u64,
    bad: u64,
    failures: Vec<(Failure, u64)>,
}

/// Everything of one day.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Day {
    /// `2026-11-22`, UTC.
    pub date: String,
    /// Who reports: our host name.
    pub organization: String,
    domains: BTreeMap<String, Vec<Line>>,
    /// Sessions for which there was no room.
    pub uncounted: u64,
}

impl Day {
    #[must_use]
    pub fn new(date: &str, organization: &str) -> Self {
        let (date, organization) = (date.to_owned(), organization.to_owned());
        Self { date, organization, domains: BTreeMap::new(), uncounted: 0 }
    }

    /// Notes one session for a recipient's domain: `None` succeeded.
    pub fn note(&mut self, domain: &str, policy: &Applied, failure: Option<Failure>) {
        if !self.domains.contains_key(domain) && self.domains.len() >= DOMAINS {
            self.uncounted = self.uncounted.saturating_add(1);
            return;
        }
        let lines = self.domains.entry(domain.to_owned()).or_default();
        let place = match lines.iter().position(|line| line.policy == *policy) {
            Some(place) => place,
            None if lines.len() < POLICIES => {
                lines.push(Line { policy: policy.clone(), good: 0, bad: 0, failures: Vec::new() });
                lines.len().saturating_sub(1)
            }
            None => {
                self.uncounted = self.uncounted.saturating_add(1);
                return;
            }
        };
        let Some(line) = lines.get_mut(place) else { return };
        let Some(failure) = failure else {
            line.good = line.good.saturating_add(1);
            return;
        };
        line.bad = line.bad.saturating_add(1);
        if let Some((_, count)) = line.failures.iter_mut().find(|(known, _)| *known == failure) {
            *count = count.saturating_add(1);
        } else if line.failures.len() < FAILURES {
            line.failures.push((failure, 1));
        }
        // What is left is counted in the sum, not in the details.
    }

    pub fn domains(&self) -> impl Iterator<Item = &str> {
        self.domains.keys().map(String::as_str)
    }

    /// The report for one domain (RFC 8460 §4.4); `None` when nothing was sent there.
    #[must_use]
    pub fn report(&self, domain: &str) -> Option<Value> {
        let lines = self.domains.get(domain)?;
        let policies: Vec<Value> = lines.iter().map(|line| line.report(domain)).collect();
        let (date, organization) = (&self.date, &self.organization);
        Some(json!({
            "organization-name": organization,
            "date-range": {
                "start-datetime": format!("{date}T00:00:00Z"),
                "end-datetime": format!("{date}T23:59:59Z"),
            },
            "contact-info": format!("postmaster@{organization}"),
            "report-id": format!("{date}_{domain}@{organization}"),
            "policies": policies,
        }))
    }
}

impl Line {
    fn report(&self, domain: &str) -> Value {
        let mut policy = json!({ "policy-type": self.policy.kind, "policy-domain": domain });
        if let Some(fields) = policy.as_object_mut() {
            if !self.policy.lines.is_empty() {
                fields.insert("policy-string".to_owned(), json!(self.policy.lines));
            }
            if !self.policy.mx.is_empty() {
                fields.insert("mx-host".to_owned(), json!(self.policy.mx));
            }
        }
        let details: Vec<Value> = self.failures.iter().map(|(failure, count)| failure.report(*count)).collect();
        json!({
            "policy": policy,
            "summary": { "total-successful-session-count": self.good, "total-failure-session-count": self.bad },
            "failure-details": details,
        })
    }
}

impl Failure {
    fn report(&self, count: u64) -> Value {
        let mut detail = json!({ "result-type": self.reason, "failed-session-count": count });
        if let Some(fields) = detail.as_object_mut() {
            let texts = [
                ("sending-mta-ip", &self.from_ip),
                ("receiving-ip", &self.to_ip),
                ("receiving-mx-hostname", &self.mx),
                ("failure-reason-code", &self.text),
            ];
            for (key, text) in texts.into_iter().filter(|(_, text)| !text.is_empty()) {
                fields.insert(key.to_owned(), json!(text));
            }
        }
        detail
    }
}
