//! What each kind of next hop can be trusted with (DOMAIN §2.1-2.5): one row a profile, one column a switch.

use super::settings::{Profile, TlsMode};
use crate::env::tls::client::Trust;

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
    /// What one connection may be seen doing before it is left for a new one.
    pub manners: Manners,
    /// Open connections at the same time, whatever `concurrency` allows. Exchange's receive connectors take 20 from
    /// one address (MaxInboundConnectionPerSource), qmail's tcpserver 40 from everybody, MDaemon blocks who has many.
    pub connections: usize,
}

/// MDaemon's SMTP Screen counts failed RCPTs and RSETs of a session, closes it, and blocks the address that does so
/// often (DOMAIN §2.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Manners {
    pub refusals: u32,
    pub resets: u32,
}

const FREE: Manners = Manners { refusals: u32::MAX, resets: u32::MAX };
/// Its defaults are 3 and 20; one below, for a filter of the operator's own may be stricter.
const SCREENED: Manners = Manners { refusals: 2, resets: 10 };

const PLAIN: Traits = Traits {
    pipelining: true,
    bdat: false,
    size: true,
    dsn: true,
    legacy_tls: false,
    patience: None,
    manners: FREE,
    connections: usize::MAX,
};

impl Profile {
    #[must_use]
    pub const fn traits(self) -> Traits {
        match self {
            Self::Generic => Traits { bdat: true, ..PLAIN },
            Self::Exchange2007 | Self::Exchange2010 => {
                Traits { pipelining: false, legacy_tls: true, connections: 20, ..PLAIN }
            }
            Self::Mdaemon => {
                Traits { pipelining: false, patience: Some(100), manners: SCREENED, connections: 5, ..PLAIN }
            }
            Self::Qmail => Traits { size: false, dsn: false, connections: 10, ..PLAIN },
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
    /// How the server at the end of a link is believed. A pin takes the place of authority and name: nothing else has
    /// to be true of the certificate.
    #[must_use]
    pub const fn trust(self, tls: TlsMode, pinned: bool) -> Trust {
        match (matches!(tls, TlsMode::Required) && !pinned, self.legacy_tls) {
            (true, false) => Trust::Verified,
            (true, true) => Trust::VerifiedLegacy,
            (false, false) => Trust::Any,
            (false, true) => Trust::AnyLegacy,
        }
    }

    /// For the Internet's servers, which nobody here chose: BDAT stays off, a message octet never stands where a
    /// careless server could read a command (THREATS S-33).
    #[must_use]
    pub const fn internet() -> Self {
        PLAIN
    }
}
