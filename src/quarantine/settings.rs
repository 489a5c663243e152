//! `[quarantine]`

use serde::{Deserialize, Serialize};

use crate::mail::Span;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Quarantine {
    /// How long mail is held before it is purged (DOMAIN R38).
    pub keep: Span,
}

impl Default for Quarantine {
    fn default() -> Self {
        Self { keep: Span::days(30) }
    }
}
