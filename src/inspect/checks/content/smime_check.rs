//! The verdict on signatures, of the message and of PDF files in it, as one of the content checks.

use super::archive::Budget;
use super::smime::{self, TrustMaterial, TrustStore};
use super::{ContentCheck, Limits, View};
use crate::inspect::ContentFacts;
use crate::inspect::checks::auth::from;

pub struct Smime {
    trust: TrustStore,
    limits: Limits,
}

impl Smime {
    #[must_use]
    pub fn new(trust: &TrustMaterial, limits: &Limits) -> Self {
        Self { trust: TrustStore::from_der(trust), limits: limits.clone() }
    }
}

impl ContentCheck for Smime {
    fn examine(&self, view: &View<'_>, facts: &mut ContentFacts) {
        // As strictly as DMARC reads it: a signature must not speak for one of several authors (THREATS G-01).
        let author = view.tree.parts.first().and_then(|root| from::read(&root.headers).mailbox);
        let (fact, findings) = smime::examine(view.raw, view.tree, &self.trust, author.as_ref(), view.task.now);
        facts.smime = fact;
        facts.findings.extend(findings);
        let budget = Budget::new(&self.limits);
        let (status, findings) = smime::examine_files(view.objects, &budget, &self.trust, view.task.now);
        facts.smime.pdf_status = status;
        facts.findings.extend(findings);
    }
}

/// OpenSSL reads its configuration and error strings from files: to be called before the cage closes.
pub fn initialise() {
    openssl::init();
}
