//! `[verdict]`, `[dmarc]`, and the compiled form that `judge` uses.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Action;
use crate::inspect::rules::RuleSet;
use crate::mail::{AgencyId, Language};

/// `[verdict]`; an agency may set its own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Verdict {
    pub tag: f64,
    pub quarantine: f64,
    pub reject: f64,
    pub malware: Severe,
    pub unscannable: Severe,
    /// Mail that clients read in several ways.
    pub ambiguous: Ambiguous,
    /// Tag only, except malware; says what it would have done.
    pub observe: bool,
    /// Points for findings of the built-in checks: `"spf.fail" = 2.0`. Only what differs from the defaults.
    pub weights: BTreeMap<String, f64>,
}

impl Default for Verdict {
    fn default() -> Self {
        Self {
            tag: 5.0,
            quarantine: 9.0,
            reject: 15.0,
            malware: Severe::Quarantine,
            unscannable: Severe::Quarantine,
            ambiguous: Ambiguous::Hold,
            observe: false,
            weights: BTreeMap::new(),
        }
    }
}

/// What malware, unscannable content or a failing DMARC policy gets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severe {
    Tag,
    #[default]
    Quarantine,
    Reject,
}

impl Severe {
    #[must_use]
    pub const fn action(self) -> Action {
        match self {
            Self::Tag => Action::Tag,
            Self::Quarantine => Action::Quarantine,
            Self::Reject => Action::Reject,
        }
    }
}

/// What mail gets that clients read in several ways (`mime.ambiguous`). Every reading is scanned whatever stands here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ambiguous {
    /// What `unscannable` says.
    #[default]
    Hold,
    /// Only its points: what every reading shows was looked at.
    Scan,
    /// 550 5.6.0.
    Refuse,
    /// A copy with one reading goes on; where none can be made (signed or encrypted mail, broken limits), as `Hold`.
    Rewrite,
}

/// `[dmarc]`: what a failing `p=reject` and `p=quarantine` get.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Dmarc {
    pub reject: Severe,
    pub quarantine: Severe,
}

impl Default for Dmarc {
    fn default() -> Self {
        Self { reject: Severe::Reject, quarantine: Severe::Quarantine }
    }
}

/// What `judge` needs, pinned for a message.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    pub default: Verdict,
    pub agencies: HashMap<AgencyId, Verdict>,
    pub dmarc: Dmarc,
    pub language: Language,
    pub rules: Arc<RuleSet>,
    /// SHA-256 over the whole policy (configuration and rules), hex: names in a receipt what decided.
    pub hash: String,
}
