//! DMARC, RFC 9989: the policy of the From domain, found by the tree walk, and whether SPF or DKIM align with it.
//!
//! Eight queries a walk at most. Two records at one name are none. What DNS does not tell is temperror; the message
//! must wait when a reject policy is known or cannot be excluded (DESIGN §7): never "no policy", never pass.

mod record;
mod walk;

use crate::env::Dns;
use crate::inspect::AuthResult;
use crate::inspect::case::{DmarcFact, DmarcPolicy};
use crate::mail::Domain;

use record::Record;
use walk::Walk;

/// What SPF and DKIM proved, and where they could not tell.
#[derive(Clone, Debug, Default)]
pub struct Proofs<'a> {
    /// The domain of MAIL FROM (or of HELO for a null sender) when SPF passed for it.
    pub spf: Option<&'a str>,
    /// `d=` of every signature that passed.
    pub dkim: Vec<&'a str>,
    /// SPF ended in temperror, for this domain.
    pub spf_unknown: Option<&'a str>,
    /// Signatures that ended in temperror.
    pub dkim_unknown: Vec<&'a str>,
}

/// The policy that was found for a From domain, before anybody knows what passed.
#[derive(Clone, Debug)]
pub struct Discovered {
    author: Domain,
    outcome: Result<Found, String>,
}

#[derive(Clone, Debug)]
struct Found {
    /// The record to apply and the name it stands at.
    applied: Option<(Record, Domain)>,
    organisation: Domain,
    policy: DmarcPolicy,
}

/// Finds the policy of `author` (§4.10.1). Asks nothing about SPF or DKIM, so it can run beside them.
pub async fn discover(dns: &Dns, author: &Domain) -> Discovered {
    Discovered { author: author.clone(), outcome: find(dns, author).await }
}

async fn find(dns: &Dns, author: &Domain) -> Result<Found, String> {
    let walk = Walk::take(dns, author).await;
    let organisation = walk.organisation();
    let own = walk.record_at(author).map(|record| (record, author.clone()));
    let chosen = match (own, walk.failure.clone()) {
        (Some(own), _) => Some(own),
        (None, Some(why)) => return Err(why),
        (None, None) => walk.policy_record(&organisation),
    };
    let Some((record, at)) = chosen.filter(|(record, _)| record.usable) else {
        return Ok(Found { applied: None, organisation, policy: DmarcPolicy::None });
    };
    let policy = if at == *author { record.policy } else { below(dns, author, record).await? };
    let policy = if record.testing { milder(policy) } else { policy };
    let applied = Some((record.clone(), at));
    Ok(Found { applied, organisation, policy })
}

/// §4.10.1: np for names that do not exist, sp for others, each falling back to the next.
async fn below(dns: &Dns, author: &Domain, record: &Record) -> Result<DmarcPolicy, String> {
    let general = record.subdomains.unwrap_or(record.policy);
    let Some(missing) = record.missing.filter(|missing| *missing != general) else { return Ok(general) };
    // §3.2.13: does not exist means NXDOMAIN (RFC 8020).
    match dns.exists(author.as_str()).await {
        Ok(true) => Ok(general),
        Ok(false) => Ok(missing),
        Err(error) => Err(error.to_string()),
    }
}

/// §4.7, t: one step milder.
const fn milder(policy: DmarcPolicy) -> DmarcPolicy {
    match policy {
        DmarcPolicy::Reject => DmarcPolicy::Quarantine,
        DmarcPolicy::Quarantine | DmarcPolicy::None => DmarcPolicy::None,
    }
}

/// The DMARC result (§4.8, §5.4).
pub async fn evaluate(dns: &Dns, discovered: Discovered, proofs: &Proofs<'_>) -> DmarcFact {
    let Discovered { author, outcome } = discovered;
    let found = match outcome {
        Ok(found) => found,
        Err(why) => {
            // A reject policy cannot be excluded.
            let detail = format!("the policy of {author} could not be looked up: {why}");
            return DmarcFact { result: AuthResult::TempError, must_wait: true, detail, ..DmarcFact::default() };
        }
    };
    let Some((record, at)) = found.applied else {
        let detail = format!("{author} publishes no policy");
        return DmarcFact { result: AuthResult::None, detail, ..DmarcFact::default() };
    };
    let aligner = Aligner { dns, author: &author, organisation: &found.organisation };
    let mut fact = DmarcFact { policy: found.policy, domain: Some(at.as_str().to_owned()), ..DmarcFact::default() };
    if let Some(domain) = proofs.spf {
        fact.spf_aligned = aligner.aligns(domain, record.strict_spf).await;
    }
    for domain in &proofs.dkim {
        if aligner.aligns(domain, record.strict_dkim).await {
            fact.dkim_aligned = true;
            break;
        }
    }
    if fact.spf_aligned || fact.dkim_aligned {
        return DmarcFact { result: AuthResult::Pass, ..fact };
    }
    let mut unknown = false;
    if let Some(domain) = proofs.spf_unknown {
        unknown = aligner.aligns(domain, record.strict_spf).await;
    }
    for domain in &proofs.dkim_unknown {
        unknown = unknown || aligner.aligns(domain, record.strict_dkim).await;
    }
    if unknown {
        let must_wait = fact.policy == DmarcPolicy::Reject;
        let detail = "SPF or DKIM of an aligned domain could not be looked up".to_owned();
        return DmarcFact { result: AuthResult::TempError, must_wait, detail, ..fact };
    }
    let detail = format!("nothing that passed aligns with {author}");
    DmarcFact { result: AuthResult::Fail, detail, ..fact }
}

struct Aligner<'a> {
    dns: &'a Dns,
    author: &'a Domain,
    organisation: &'a Domain,
}

impl Aligner<'_> {
    /// §4.4: the same domain, or in relaxed mode the same organisational domain.
    async fn aligns(&self, domain: &str, strict: bool) -> bool {
        let Ok(domain) = Domain::parse(domain) else { return false };
        if domain == *self.author {
            return true;
        }
        // The organisation of a name is the name or a parent: outside ours it cannot be ours.
        if strict || !domain.is_within(self.organisation) {
            return false;
        }
        domain == *self.organisation || Walk::take(self.dns, &domain).await.organisation() == *self.organisation
    }
}

#[cfg(test)]
mod tests;
