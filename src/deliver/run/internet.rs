//! What mail to servers found by MX needs besides a connection: proven DNS answers, MTA-STS policies kept on disk,
//! certificates checked, TLS sessions counted. One for the gateway, part of [`super::Deliver`].

pub(super) mod ledger;
mod sts;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use super::conn::Conn;
use super::strays::Guests;
use crate::deliver::client::Trouble;
use crate::deliver::route::Hop;
use crate::deliver::tlspolicy::tally::{Applied, Failure, Reason};
use crate::deliver::tlspolicy::{Metrics, Protection, sts::Policy};
use crate::env::disk::Disk;
use crate::env::dns::validator::Validator;
use crate::env::tls::guard::{Check, Fault, FaultKind, Guard};
use crate::env::{Clock, Dns};
use crate::mail::{Domain, Timestamp};

use ledger::Ledger;
pub use ledger::{days, read_day};
pub(super) use sts::{Ask, Sts};

/// What [`Internet`] is made of.
pub struct InternetParts<'a> {
    pub disk: Arc<dyn Disk>,
    /// The gateway's data folder; `mta-sts/` and `tlsrpt/` are made below it.
    pub data_dir: &'a Path,
    pub dns: Dns,
    pub clock: Clock,
    /// `None`: no answer is validated, and there is no DANE.
    pub validator: Option<Validator>,
    pub guard: Guard,
    pub metrics: Metrics,
}

/// See the module.
#[derive(Debug)]
pub struct Internet {
    pub(super) validator: Option<Validator>,
    pub(super) guard: Guard,
    pub(super) metrics: Metrics,
    pub(super) sts: Arc<Sts>,
    /// To whom reports of the agencies' servers may leave.
    pub(super) guests: Guests,
    ledger: Ledger,
}

/// For whom a connection is opened: the recipient's domain and its policy.
#[derive(Clone, Copy, Debug)]
pub(super) struct Account<'a> {
    pub domain: &'a Domain,
    pub sts: Option<&'a Policy>,
    pub hostname: &'a str,
}

/// What was seen of TLS while a connection was opened; shared between those who open it and those who count.
#[derive(Debug, Default)]
pub(super) struct Witness(Mutex<Seen>);

#[derive(Clone, Debug, Default)]
struct Seen {
    ends: Option<(SocketAddr, SocketAddr)>,
    fault: Option<Fault>,
}

impl Witness {
    /// Our end and the server's.
    pub fn ends(&self, ours: SocketAddr, theirs: SocketAddr) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).ends = Some((ours, theirs));
    }
    pub fn fault(&self, fault: Fault) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).fault = Some(fault);
    }
    fn seen(&self) -> Seen {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Internet {
    /// Reads what was kept. The error is a sentence for the operator.
    pub fn open(parts: InternetParts<'_>) -> Result<Self, String> {
        let InternetParts { disk, data_dir, dns, clock, validator, guard, metrics } = parts;
        let guests = Guests::open(Arc::clone(&disk), data_dir, clock.now());
        let sts = Sts::open(Arc::clone(&disk), &data_dir.join("mta-sts"), dns, clock, guard.clone(), metrics.clone())?;
        let ledger = Ledger::open(disk, &data_dir.join("tlsrpt"))?;
        Ok(Self { validator, guard, metrics, sts: Arc::new(sts), guests, ledger })
    }

    /// The validating resolver, when its answers are to be used.
    pub(super) async fn validator(&self) -> Option<&Validator> {
        let validator = self.validator.as_ref()?;
        let usable = validator.is_usable().await;
        self.metrics.validating(validator.gauge());
        usable.then_some(validator)
    }

    /// Counts what became of opening a connection.
    pub(super) fn note(
        &self,
        account: Account<'_>,
        hop: &Hop,
        opened: &Result<Conn, Trouble>,
        witness: &Witness,
        now: Timestamp,
    ) {
        let seen = witness.seen();
        let failure = failure(hop, opened, &seen, account);
        match (opened, &failure) {
            // Nobody was reached, so nothing is known of TLS.
            (Err(_), None) => return,
            (_, Some(_)) => self.metrics.session(&hop.protection, "failed"),
            (Ok(_), None) => self.metrics.session(&hop.protection, "kept"),
        }
        let policy = Applied::of(&hop.protection, account.sts);
        self.ledger.note(account.domain.as_str(), account.hostname, &policy, failure, now);
    }

    /// Counts a server that was not even tried.
    pub(super) fn note_failure(&self, account: Account<'_>, policy: &Applied, failure: Failure, now: Timestamp) {
        self.ledger.note(account.domain.as_str(), account.hostname, policy, Some(failure), now);
    }

    /// Writes out what was counted, when it is time; with `all`, at once.
    pub(super) async fn save(&self, now: Timestamp, all: bool) {
        self.ledger.save(now, all).await;
    }
}

/// What a connection under `protection` asks of a certificate; `None`: as the hop's own TLS mode says.
pub(super) fn check_of(protection: &Protection) -> Option<Check<'_>> {
    match protection {
        Protection::Opportunistic => None,
        Protection::Observed => Some(Check::Observe),
        Protection::Encrypted => Some(Check::Nothing),
        Protection::Verified => Some(Check::Verify),
        Protection::Dane(pins) => Some(Check::Dane { names: &pins.names, records: &pins.records }),
    }
}

fn failure(hop: &Hop, opened: &Result<Conn, Trouble>, seen: &Seen, account: Account<'_>) -> Option<Failure> {
    let (reason, text) = match (opened, &seen.fault) {
        (_, Some(fault)) => (reason_of(fault, &hop.protection, account), fault.text.clone()),
        (Ok(conn), None) if conn.is_secured() => return None,
        (Ok(_), None) => (Reason::NoStartTls, String::new()),
        (Err(Trouble::NoTls), None) => (Reason::NoStartTls, String::new()),
        (Err(trouble @ Trouble::Tls(_)), None) => (Reason::ValidationFailure, trouble.to_string()),
        (Err(_), None) => return None,
    };
    let mut failure = Failure::new(reason, &hop.host, &text);
    if let Some((ours, theirs)) = seen.ends {
        failure.from_ip = ours.ip().to_canonical().to_string();
        failure.to_ip = theirs.ip().to_canonical().to_string();
    }
    Some(failure)
}

/// RFC 8460 §4.3: general reasons where they fit, else the one of the policy.
fn reason_of(fault: &Fault, protection: &Protection, account: Account<'_>) -> Reason {
    match (fault.kind, protection) {
        (FaultKind::Expired, _) => Reason::CertificateExpired,
        (FaultKind::HostMismatch, _) => Reason::CertificateHostMismatch,
        (FaultKind::NotTrusted, Protection::Dane(_)) => Reason::TlsaInvalid,
        (FaultKind::NotTrusted, _) if account.sts.is_some() => Reason::StsWebpkiInvalid,
        (FaultKind::NotTrusted, _) => Reason::CertificateNotTrusted,
        (FaultKind::Handshake, _) => Reason::ValidationFailure,
    }
}
