//! What a check reports: a stable code and a detail for operators.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Serialize};

/// One observation. Codes are stable, lower case and dotted: logs, rules and people quote them.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Finding {
    pub code: Cow<'static, str>,
    /// For operators: what was seen, where. Controls are escaped when it is shown.
    pub detail: String,
    pub certainty: Certainty,
}

/// "Could not tell" is a finding too; policy says what it costs.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Certainty {
    Seen,
    Unknown,
}

impl Finding {
    pub fn new(code: impl Into<Cow<'static, str>>) -> Self {
        Self { code: code.into(), detail: String::new(), certainty: Certainty::Seen }
    }
    /// The check could not be made; `why` goes into the detail.
    pub fn unknown(code: impl Into<Cow<'static, str>>, why: impl fmt::Display) -> Self {
        Self { code: code.into(), detail: why.to_string(), certainty: Certainty::Unknown }
    }
    /// With what was seen, cut at 500 characters.
    #[must_use]
    pub fn with(mut self, detail: impl fmt::Display) -> Self {
        self.detail = detail.to_string().chars().take(500).collect();
        self
    }
}
