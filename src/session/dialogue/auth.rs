//! AUTH (RFC 4954): offered on relay listeners inside TLS only, once a session, never inside a transaction.

use super::{Dialogue, Next, Reason, Role, Step, out_of_order};
use crate::listen::Account;
use crate::mail::Reply;
use crate::session::sasl::{Mechanism, Response};

/// Failed attempts in one session; then it ends.
const ATTEMPTS: u32 = 3;

/// Why nobody is logged in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// The password is not that account's, or there is no such account: the client is not told which.
    Wrong,
    /// The account is locked for a while.
    Locked,
    /// The client's address is.
    LockedOut,
    /// `*`
    Cancelled,
    /// Not base64, or not what the mechanism says.
    Malformed,
    /// Trouble of ours.
    Trouble,
}

impl Dialogue {
    /// Whether the client may log in now: in clear its password would be everybody's.
    pub(super) fn offers_auth(&self) -> bool {
        self.takes_accounts() && self.client.tls.is_some()
    }

    fn takes_accounts(&self) -> bool {
        self.station.role == Role::Relay && !self.station.submission.accounts.is_empty()
    }

    pub(super) fn auth(&self, mechanism: &str, initial: Option<Response>) -> Step {
        let refuse = |reply| Step::refuse(reply, Reason::Auth);
        if !self.takes_accounts() {
            return Step::refuse(out_of_order("Authentication is not offered"), Reason::Protocol);
        }
        let Some(tls) = &self.client.tls else {
            // RFC 4954 §6.
            return refuse(Reply::new(538, "5.7.11", "Authentication needs TLS here: STARTTLS first"));
        };
        if !self.hello.as_ref().is_some_and(|hello| hello.esmtp) {
            return refuse(out_of_order("EHLO first"));
        }
        if self.draft.is_some() {
            return refuse(out_of_order("Not inside a transaction"));
        }
        if tls.account.is_some() {
            return refuse(out_of_order("You are logged in already"));
        }
        if mechanism.is_empty() {
            return refuse(Reply::new(501, "5.5.4", "Syntax: AUTH mechanism [initial-response]"));
        }
        let Some(mechanism) = Mechanism::parse(mechanism) else {
            return refuse(Reply::new(504, "5.5.4", "This mechanism is not offered"));
        };
        Step::go(Next::Authenticate { mechanism, initial })
    }

    /// The exchange ended.
    pub fn authenticated(&mut self, answer: Result<Account, Refusal>) -> Step {
        let refusal = match answer {
            Ok(account) => {
                if let Some(tls) = &mut self.client.tls {
                    tls.account = Some(account);
                }
                return Step::say(Reply::new(235, "2.7.0", "Authentication succeeded"));
            }
            Err(refusal) => refusal,
        };
        let reply = match refusal {
            Refusal::Wrong => Reply::new(535, "5.7.8", "Name or password is wrong"),
            Refusal::Locked => Reply::new(454, "4.7.0", "Too many failures for this account; try again later"),
            Refusal::LockedOut => Reply::new(421, "4.7.0", "Too many failures from your address; try again later"),
            Refusal::Cancelled => Reply::new(501, "5.7.0", "Authentication cancelled"),
            Refusal::Malformed => Reply::new(501, "5.5.2", "This is no valid response"),
            Refusal::Trouble => Reply::new(454, "4.7.0", "Temporary trouble here; try again later"),
        };
        self.attempts = self.attempts.saturating_add(1);
        if refusal == Refusal::LockedOut {
            return Step::close(reply, Reason::Auth);
        }
        if self.attempts >= ATTEMPTS {
            return Step::close(Reply::new(421, "4.7.0", "Too many failed attempts"), Reason::Auth);
        }
        self.tallied(Step::refuse(reply, Reason::Auth))
    }

    /// An account that was taken out of the file sends no more, also in a session that is open.
    pub(super) fn forget_lost_account(&mut self) {
        let accounts = &self.station.submission.accounts;
        if let Some(tls) = &mut self.client.tls {
            tls.account = tls.account.take().and_then(|account| accounts.find(&account.name));
        }
    }
}
