//! The part of `[[agency]]` that decides who may send to whom.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// `recipients = { from = "any" | "file" | "callout" | "ldap", path = "..." }`
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipients {
    #[serde(default)]
    pub from: RecipientSource,
    /// With `from = "file"`: one address a line, `#` comments; or CSV with a column `address`.
    #[serde(default)]
    pub path: Option<PathBuf>,
    /// The character after which a local part is a detail, such as `+`; empty: none.
    #[serde(default)]
    pub subaddressing: String,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RecipientSource {
    #[default]
    Any,
    File,
    Callout,
    Ldap,
}
