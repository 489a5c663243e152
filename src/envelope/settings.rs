//! The part of `[[agency]]` that decides who may send to whom.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::mail::Span;

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
    /// With `from = "ldap"`.
    #[serde(default)]
    pub ldap: Option<Ldap>,
}

/// `[agency.recipients.ldap]`: a directory that knows the mailboxes, such as Active Directory.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ldap {
    /// `ldaps://dc1.tinh.local:636`, or `ldap://...`; tried in order.
    pub urls: Vec<String>,
    /// With `ldap://`: TLS begins before anything is said (RFC 4511 §4.14). In clear otherwise.
    #[serde(default)]
    pub start_tls: bool,
    /// PEM certificates that are believed; left out: the system's.
    #[serde(default)]
    pub ca: Option<PathBuf>,
    /// Who we are; empty: nobody (anonymous).
    #[serde(default)]
    pub bind_dn: String,
    /// The file with the password, on its first line.
    #[serde(default)]
    pub password_file: Option<PathBuf>,
    /// Below which entry mailboxes are.
    pub base: String,
    /// `{}` is the address, escaped (RFC 4515 §3).
    #[serde(default = "filter")]
    pub filter: String,
    /// For one question, connection included.
    #[serde(default = "timeout")]
    pub timeout: Span,
}

/// Mailboxes of OpenLDAP's inetOrgPerson and of Exchange in Active Directory.
fn filter() -> String {
    "(|(mail={})(proxyAddresses=smtp:{}))".to_owned()
}

const fn timeout() -> Span {
    Span::seconds(5)
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
