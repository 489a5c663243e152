//! What sessions on relay listeners share: the tries of passwords, and how much leaves.
//!
//! A password is tried on a thread of its own, one at a time, with a bounded queue: guessing takes no more of the
//! machine than that, and honest clients get `454` when it is full.

use std::ops::ControlFlow;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::talk::{Expected, Flow, Talk};
use crate::env::pool::Pool;
use crate::listen::admit::key;
use crate::listen::{Account, Role};
use crate::mail::{Destination, Recipient, Reply, ReversePath, Span};
use crate::session::desk::{Desk, Sudden};
use crate::session::dialogue::{AuthRefusal, Step};
use crate::session::lockout::{Locked, Lockout};
use crate::session::metrics::Login;
use crate::session::pace::{Pace, Paces};
use crate::session::sasl::{Credentials, Exchange, Mechanism, Response, Turn};

/// Passwords that may wait for the thread, and for how long.
const WAITING: usize = 64;
const PATIENCE: Span = Span::seconds(10);

/// State of all sessions together.
pub struct Shared {
    passwords: Pool,
    lockout: Mutex<Lockout>,
    paces: Mutex<Paces>,
}

impl Shared {
    /// Fails when the system gives no thread.
    pub fn start() -> std::io::Result<Self> {
        Ok(Self { passwords: Pool::start(1, WAITING)?, lockout: Mutex::default(), paces: Mutex::default() })
    }

    fn lockout(&self) -> MutexGuard<'_, Lockout> {
        self.lockout.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<D: Desk> Talk<D> {
    /// The exchange behind AUTH, up to the step that answers it.
    pub(super) async fn authenticate(&mut self, mechanism: Mechanism, initial: Option<&Response>) -> Flow<Step> {
        let mut exchange = Exchange::new(mechanism);
        let mut turn = exchange.begin(initial);
        let answer = loop {
            turn = match turn {
                Turn::Ask(prompt) => {
                    self.wire.say(&Reply::new(334, "", prompt));
                    let length = match self.next_line(Expected::Response).await? {
                        Ok(length) => length,
                        Err(step) => return ControlFlow::Continue(*step),
                    };
                    let line = self.wire.pending().get(..length.saturating_sub(2)).unwrap_or_default();
                    let turn = exchange.answer(line);
                    self.wire.consume(length);
                    turn
                }
                Turn::Done(credentials) => break self.judge(credentials).await,
                Turn::Cancelled => break Err(AuthRefusal::Cancelled),
                Turn::Malformed => break Err(AuthRefusal::Malformed),
            };
        };
        self.around.metrics.login(match &answer {
            Ok(_) => Login::Right,
            Err(AuthRefusal::Wrong) => Login::Wrong,
            Err(AuthRefusal::Locked | AuthRefusal::LockedOut) => Login::Locked,
            Err(AuthRefusal::Cancelled | AuthRefusal::Malformed) => Login::Malformed,
            Err(AuthRefusal::Trouble) => Login::Trouble,
        });
        ControlFlow::Continue(self.dialogue.authenticated(answer))
    }

    /// Whether it is who it says.
    async fn judge(&mut self, credentials: Credentials) -> Result<Account, AuthRefusal> {
        let Credentials { name, password } = credentials;
        // The newest file counts, not the one of when the session began.
        let house = self.around.house();
        let station = house
            .station(self.dialogue.station().address)
            .map_or_else(|| self.dialogue.station(), |station| &**station);
        let (accounts, auth) = (station.submission.accounts.clone(), &station.submission.auth);
        let (address, now) = (self.dialogue.client().address.ip(), self.around.clock.now());
        let shared = &self.around.submission;
        let check = |lockout: &Lockout| match lockout.check(&name, address, now, auth.failures, auth.lock) {
            Some(Locked::Account) => Err(AuthRefusal::Locked),
            Some(Locked::Address) => Err(AuthRefusal::LockedOut),
            None => Ok(()),
        };
        check(&shared.lockout())?;
        let claimed = name.clone();
        let tried = shared.passwords.run(PATIENCE, move || accounts.verify(&claimed, &password)).await;
        let mut lockout = shared.lockout();
        // Others may have failed while this one waited: who asks in many sessions at once learns no more than in one.
        check(&lockout)?;
        match tried {
            Ok(Some(account)) => {
                lockout.succeeded(&name, address, now);
                tracing::info!(account = %account.name, client = %address, "logged in");
                Ok(account)
            }
            Ok(None) => {
                let locked = lockout.failed(&name, address, now, auth.failures, auth.lock);
                tracing::warn!(account = %name, client = %address, "wrong name or password");
                if let Some(locked) = locked {
                    self.around.metrics.locked(locked);
                    tracing::warn!(?locked, account = %name, client = %address, "too many wrong passwords: locked");
                }
                Err(AuthRefusal::Wrong)
            }
            Err(error) => {
                tracing::error!(%error, "a password cannot be tried");
                Err(AuthRefusal::Trouble)
            }
        }
    }

    /// Counts a recipient outside against what the sender may send in an hour. An address of IPv6 is its /64: whoever has
    /// one has them all.
    pub(super) fn paced(&self, recipient: Recipient) -> Result<Recipient, Reply> {
        let client = self.dialogue.client();
        let Destination::Outward(agency) = &recipient.destination else { return Ok(recipient) };
        if client.role != Role::Relay {
            return Ok(recipient);
        }
        let tls = client.tls.as_ref();
        let sender = tls
            .and_then(|tls| tls.account.as_ref().map(|account| account.name.clone()))
            .or_else(|| tls.and_then(|tls| tls.client.as_ref().map(|client| client.fingerprint.clone())))
            .unwrap_or_else(|| key(client.address.ip()).to_string());
        let domain = self.dialogue.opening().map(|opening| &opening.sender).and_then(ReversePath::domain);
        let limits = &self.dialogue.station().submission.outgoing;
        let mut paces = self.around.submission.paces.lock().unwrap_or_else(PoisonError::into_inner);
        let pace = paces.count(&sender, domain, self.around.clock.now(), limits);
        drop(paces);
        match pace {
            Pace::Usual => {}
            Pace::Sudden => {
                tracing::warn!(%agency, sender, "suddenly sends much: is a password stolen, or a machine infected?");
                self.around.metrics.sudden(agency);
                if let Some(opening) = self.dialogue.opening() {
                    let at = self.around.clock.now();
                    self.around.desk.sudden(&Sudden { at, opening, account: &sender, agency });
                }
            }
            Pace::OverSender | Pace::OverDomain => {
                self.around.metrics.limited(agency, pace);
                let rule = if pace == Pace::OverDomain { "outgoing:domain" } else { "outgoing:sender" };
                let reply = Reply::new(450, "4.7.1", "Too many recipients in this hour; try again later");
                return Err(reply.because(rule));
            }
        }
        Ok(recipient)
    }
}
