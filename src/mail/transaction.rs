//! The nouns of one SMTP transaction that several rooms handle: recipients, where they lead, and the
//! parameters that travel with a message (RFC 1870, 3461, 6152, 6531, 8689).

use serde::{Deserialize, Serialize};

use super::{AgencyId, Mailbox};

/// Where a recipient's copy goes. Recipients with the same destination form one group: one policy, one next hop.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum Destination {
    /// To the server of this agency.
    Agency(AgencyId),
    /// Out to the Internet, on behalf of this agency.
    Outward(AgencyId),
}

impl Destination {
    /// The agency whose policy applies.
    #[must_use]
    pub const fn agency(&self) -> &AgencyId {
        match self {
            Self::Agency(id) | Self::Outward(id) => id,
        }
    }
    /// `in` or `out`: the `direction` label of metrics.
    #[must_use]
    pub const fn direction(&self) -> &'static str {
        match self {
            Self::Agency(_) => "in",
            Self::Outward(_) => "out",
        }
    }
}

/// One accepted RCPT TO.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Recipient {
    pub mailbox: Mailbox,
    pub destination: Destination,
    /// ORCPT as the client wrote it, xtext kept encoded (RFC 3461 §4.2).
    pub original: Option<String>,
    pub notify: Notify,
}

/// NOTIFY of RFC 3461 §4.1. The default is what a client without DSN gets: failures only.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Notify {
    pub success: bool,
    pub failure: bool,
    pub delay: bool,
    /// Whether the client said NOTIFY at all, so that it can be passed on as said.
    pub explicit: bool,
}

impl Default for Notify {
    fn default() -> Self {
        Self { success: false, failure: true, delay: true, explicit: false }
    }
}

/// BODY= of RFC 6152.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub enum BodyType {
    #[default]
    SevenBit,
    EightBitMime,
}

/// RET= of RFC 3461 §4.3.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Ret {
    Full,
    Headers,
}

/// The parameters of MAIL FROM.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct MailParams {
    /// SIZE= as declared, octets.
    pub size: Option<u64>,
    pub body: BodyType,
    pub smtputf8: bool,
    pub requiretls: bool,
    pub ret: Option<Ret>,
    /// ENVID, xtext kept encoded.
    pub envid: Option<String>,
}
