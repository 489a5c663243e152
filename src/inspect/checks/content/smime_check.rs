//! The S/MIME verdict as one of the content checks.

use super::smime::{self, TrustMaterial, TrustStore};
use super::{ContentCheck, View};
use crate::inspect::ContentFacts;

pub struct Smime {
    trust: TrustStore,
}

impl Smime {
    #[must_use]
    pub fn new(trust: &TrustMaterial) -> Self {
        Self { trust: TrustStore::from_der(trust) }
    }
}

impl ContentCheck for Smime {
    fn examine(&self, view: &View<'_>, facts: &mut ContentFacts) {
        let (fact, findings) = smime::examine(view.raw, view.tree, &self.trust, view.from, view.task.now);
        facts.smime = fact;
        facts.findings.extend(findings);
    }
}

/// OpenSSL reads its configuration and error strings from files: to be called before the cage closes.
pub fn initialise() {
    openssl::init();
}
