//! What the checks saw, written down as facts and findings: the only place where codes of results are made.

use super::dkim::Verified;
use super::dmarc::Proofs;
use super::from::From;
use super::{AuthReport, Subject, spf};
use crate::inspect::case::{DmarcFact, DmarcPolicy};
use crate::inspect::{AuthFacts, AuthResult, Finding};
use crate::mail::{Domain, Mailbox, Span, Timestamp};

/// A signature older than this is old for mail that arrives now (THREATS A-15).
const OLD: Span = Span::days(7);

/// Everything known, before it is written down.
pub struct Seen<'a> {
    pub from: &'a From,
    pub subject: Subject<'a>,
    pub now: Timestamp,
    pub iprev: (AuthResult, Option<String>, String),
    pub spf: spf::Outcome,
    /// `None` when the sender is null: then `spf` is of HELO.
    pub helo: Option<spf::Outcome>,
    pub dkim: Vec<Verified>,
    pub arc: (AuthResult, String),
    /// `None` when From has no author.
    pub dmarc: Option<DmarcFact>,
    pub left_out: usize,
    pub is_addressed: bool,
}

impl<'a> Seen<'a> {
    pub fn new(from: &'a From, subject: Subject<'a>, now: Timestamp) -> Self {
        Self {
            from,
            subject,
            now,
            iprev: Default::default(),
            spf: spf::Outcome::default(),
            helo: None,
            dkim: Vec::new(),
            arc: Default::default(),
            dmarc: None,
            left_out: 0,
            is_addressed: false,
        }
    }

    /// What DMARC may build on.
    pub fn proofs<'s>(&'s self, spf_domain: &'s str) -> Proofs<'s> {
        let signers = |result: AuthResult| {
            self.dkim.iter().filter(move |d| d.fact.result == result).map(|d| d.fact.domain.as_str()).collect()
        };
        Proofs {
            spf: (self.spf.result == AuthResult::Pass).then_some(spf_domain),
            spf_unknown: (self.spf.result == AuthResult::TempError).then_some(spf_domain),
            dkim: signers(AuthResult::Pass),
            dkim_unknown: signers(AuthResult::TempError),
        }
    }

    fn is_own(&self, domain: &Domain) -> bool {
        self.subject.own_domains.iter().any(|own| domain.is_within(own))
    }
}

/// Facts and findings of everything seen.
pub fn write(seen: &Seen<'_>, spf_domain: &str) -> AuthReport {
    let mut findings = Vec::new();
    if let Some((code, detail)) = &seen.from.problem {
        findings.push(Finding::new(*code).with(detail));
    }
    spf_findings(seen, &mut findings);
    dkim_findings(seen, &mut findings);
    if seen.arc.0 != AuthResult::None {
        findings.push(result("arc", seen.arc.0, &seen.arc.1));
    }
    if seen.iprev.0 != AuthResult::None {
        findings.push(result("iprev", seen.iprev.0, &seen.iprev.2));
    }
    let dmarc = dmarc_fact(seen);
    dmarc_findings(seen, &dmarc, &mut findings);
    let detail = match &seen.spf.explanation {
        Some(told) => format!("{}; the domain explains: {told}", seen.spf.detail),
        None => seen.spf.detail.clone(),
    };
    let facts = AuthFacts {
        from: seen.from.mailbox.clone(),
        iprev: seen.iprev.0,
        iprev_name: seen.iprev.1.clone(),
        spf_helo: seen.helo.as_ref().unwrap_or(&seen.spf).result,
        spf: seen.spf.result,
        spf_domain: Some(spf_domain.to_owned()).filter(|domain| !domain.is_empty()),
        spf_detail: detail,
        spf_permissive: seen.spf.permissive,
        dkim: seen.dkim.iter().map(|verified| verified.fact.clone()).collect(),
        arc: seen.arc.0,
        arc_detail: seen.arc.1.clone(),
        dmarc,
    };
    AuthReport { facts, findings }
}

/// `spf.pass`; what is not known is marked so.
fn result(kind: &str, result: AuthResult, detail: &str) -> Finding {
    let code = format!("{kind}.{result}");
    if result == AuthResult::TempError { Finding::unknown(code, detail) } else { Finding::new(code).with(detail) }
}

fn spf_findings(seen: &Seen<'_>, findings: &mut Vec<Finding>) {
    findings.push(result("spf", seen.spf.result, &seen.spf.detail));
    if seen.spf.permissive {
        findings.push(Finding::new("spf.permissive").with(&seen.spf.detail));
    }
    if let Some(helo) = seen.helo.as_ref().filter(|helo| helo.result == AuthResult::Fail) {
        findings.push(Finding::new("spf.helo-fail").with(&helo.detail));
    }
    // S-23: our own domain in MAIL FROM, from outside.
    let sender = seen.subject.sender.domain().filter(|domain| seen.is_own(domain));
    if let Some(domain) = sender.filter(|_| !seen.subject.trusted && seen.spf.result != AuthResult::Pass) {
        findings.push(Finding::new("sender.own-domain").with(domain));
    }
}

fn dkim_findings(seen: &Seen<'_>, findings: &mut Vec<Finding>) {
    let best = seen.dkim.iter().find(|d| d.fact.result == AuthResult::Pass).or(seen.dkim.first());
    match best {
        Some(best) => {
            let detail = format!("{}: {}", best.fact.domain, best.fact.detail);
            findings.push(result("dkim", best.fact.result, detail.trim_end_matches([':', ' '])));
        }
        None => findings.push(Finding::new("dkim.none")),
    }
    let first = |wanted: &dyn Fn(&Verified) -> bool| seen.dkim.iter().find(|d| wanted(d));
    if let Some(limited) = first(&|d| d.fact.result == AuthResult::Policy) {
        findings.push(Finding::new("dkim.length-limited").with(&limited.fact.domain));
    }
    if let Some(weak) = first(&|d| d.weak_key) {
        findings.push(Finding::new("dkim.weak-key").with(&weak.fact.domain));
    }
    if seen.left_out > 0 {
        findings.push(Finding::new("dkim.too-many").with(format!("{} signatures were not looked at", seen.left_out)));
    }
    let is_old = |d: &Verified| d.made.is_some_and(|made| Timestamp::from_seconds(made) + OLD < seen.now);
    if let Some(old) = first(&is_old) {
        findings.push(Finding::new("dkim.old").with(&old.fact.domain));
        if !seen.is_addressed {
            findings.push(Finding::new("dkim.replay-suspect").with(&old.fact.domain));
        }
    }
}

fn dmarc_fact(seen: &Seen<'_>) -> DmarcFact {
    let Some(mut fact) = seen.dmarc.clone() else {
        // THREATS T2: what cannot be read is never "no policy".
        let detail = "From has no one author".to_owned();
        return DmarcFact { result: AuthResult::Fail, detail, ..DmarcFact::default() };
    };
    // our own domains are p=reject for everybody outside, whatever they publish.
    if fact.result != AuthResult::Pass && spoofs_own(seen) {
        fact.policy = DmarcPolicy::Reject;
        fact.must_wait = fact.result == AuthResult::TempError;
    }
    fact
}

/// From, or anything in an unreadable From, names one of our domains, and the client is a stranger.
fn spoofs_own(seen: &Seen<'_>) -> bool {
    let author = seen.from.mailbox.as_ref().map(Mailbox::domain);
    !seen.subject.trusted && author.into_iter().chain(&seen.from.claims).any(|domain| seen.is_own(domain))
}

fn dmarc_findings(seen: &Seen<'_>, fact: &DmarcFact, findings: &mut Vec<Finding>) {
    findings.push(result("dmarc", fact.result, &fact.detail));
    match (fact.result, fact.policy) {
        (AuthResult::Fail, DmarcPolicy::Reject) => findings.push(Finding::new("dmarc.reject").with(&fact.detail)),
        (AuthResult::Fail, DmarcPolicy::Quarantine) => {
            findings.push(Finding::new("dmarc.quarantine").with(&fact.detail));
        }
        _ => {}
    }
    if fact.must_wait {
        findings.push(Finding::unknown("dmarc.wait", &fact.detail));
    }
    if fact.result == AuthResult::Pass && !fact.dkim_aligned && seen.spf.permissive {
        findings.push(Finding::new("dmarc.weak-pass").with(&seen.spf.detail));
    }
    if fact.result != AuthResult::Pass && fact.result != AuthResult::TempError && spoofs_own(seen) {
        let from = seen.from.mailbox.as_ref().map_or_else(String::new, ToString::to_string);
        findings.push(Finding::new("from.own-domain").with(from));
    }
}
