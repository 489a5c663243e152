//! The part of `[[agency]]` that decides who may send to whom.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::mail::{KeyPin, Span};

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
    /// What becomes of mail for accounts that are switched off in Active Directory.
    #[serde(default)]
    pub disabled_accounts: DisabledAccounts,
}

/// Shared, room and equipment mailboxes of Exchange are accounts that are switched off, and receive mail in any case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DisabledAccounts {
    /// The agency's server says what becomes of it; a mailbox without its person may be forwarded.
    #[default]
    Accept,
    /// `550 5.1.1`
    Refuse,
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

/// A client certificate that speaks for an agency: `sha256:HEX` of itself, `key:sha256:HEX` of its public key, so that it
/// may be renewed, or `name:mail.unit.gov.vn`, a name in one whose authority the listener trusts.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum ClientCertificate {
    /// SHA-256, lower-case hexadecimal.
    Fingerprint(String),
    Key(KeyPin),
    /// Lower case.
    Name(String),
}

/// A text that names no certificate.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error(
    "a certificate is written \"sha256:\" and 64 hexadecimal digits, \"key:sha256:\" and the SHA-256 of its public key, \
     or \"name:\" and a host name in it"
)]
pub struct NoCertificate;

impl FromStr for ClientCertificate {
    type Err = NoCertificate;
    fn from_str(text: &str) -> Result<Self, NoCertificate> {
        if let Some(digits) = text.strip_prefix("sha256:") {
            // As `openssl x509 -fingerprint -sha256` prints it, colons and all.
            let digits: String = digits.chars().filter(|c| *c != ':').collect::<String>().to_ascii_lowercase();
            let good = digits.len() == 64 && digits.bytes().all(|b| b.is_ascii_hexdigit());
            return good.then_some(Self::Fingerprint(digits)).ok_or(NoCertificate);
        }
        if let Some(pin) = text.strip_prefix("key:") {
            return pin.parse().map(Self::Key).map_err(|_| NoCertificate);
        }
        let name = text.strip_prefix("name:").ok_or(NoCertificate)?.to_ascii_lowercase();
        let good = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b'@');
        (!name.is_empty() && name.bytes().all(good)).then_some(Self::Name(name)).ok_or(NoCertificate)
    }
}

impl fmt::Display for ClientCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fingerprint(digits) => write!(f, "sha256:{digits}"),
            Self::Key(pin) => write!(f, "key:{pin}"),
            Self::Name(name) => write!(f, "name:{name}"),
        }
    }
}

impl TryFrom<String> for ClientCertificate {
    type Error = NoCertificate;
    fn try_from(text: String) -> Result<Self, NoCertificate> {
        text.parse()
    }
}

impl From<ClientCertificate> for String {
    fn from(certificate: ClientCertificate) -> Self {
        certificate.to_string()
    }
}
