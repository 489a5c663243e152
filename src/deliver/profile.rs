//! What each kind of next hop can be trusted with (DOMAIN §2.1-2.5): one row a profile, one column a switch.

use super::settings::Profile;

/// The switches of a profile; an ability is used only when the server offers it as well.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Traits {
    /// Commands in groups (RFC 2920). Exchange 2010 before SP1 RU3 answers grouped RCPTs wrongly (kb2398431).
    pub pipelining: bool,
    /// BDAT instead of DATA where CHUNKING is offered: one round trip a message.
    pub bdat: bool,
    /// SIZE= at MAIL.
    pub size: bool,
    /// RET, ENVID, NOTIFY and ORCPT.
    pub dsn: bool,
    /// TLS 1.0 and 1.1 with old ciphers, on this link only (kb3029667).
    pub legacy_tls: bool,
    /// Answers a message at most this often before it counts as refused although it said 4xx: MDaemon answers 4xx
    /// for disabled and frozen accounts (DOMAIN §2.2). `None`: until the message is given up.
    pub patience: Option<u32>,
}

const PLAIN: Traits =
    Traits { pipelining: true, bdat: false, size: true, dsn: true, legacy_tls: false, patience: None };

impl Profile {
    #[must_use]
    pub const fn traits(self) -> Traits {
        match self {
            Self::Generic => Traits { bdat: true, ..PLAIN },
            Self::Exchange2007 | Self::Exchange2010 => Traits { pipelining: false, legacy_tls: true, ..PLAIN },
            Self::Mdaemon => Traits { pipelining: false, patience: Some(100), ..PLAIN },
            Self::Qmail => Traits { size: false, dsn: false, ..PLAIN },
            Self::Domino => Traits { pipelining: false, ..PLAIN },
        }
    }

    /// The label of metrics, as written in the configuration.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Exchange2007 => "exchange2007",
            Self::Exchange2010 => "exchange2010",
            Self::Mdaemon => "mdaemon",
            Self::Qmail => "qmail",
            Self::Domino => "domino",
            Self::Generic => "generic",
        }
    }
}

impl Traits {
    /// For the Internet's servers, which nobody here chose: BDAT stays off, a message octet never stands where a
    /// careless server could read a command (THREATS S-33).
    #[must_use]
    pub const fn internet() -> Self {
        PLAIN
    }
}
