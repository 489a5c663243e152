//! What officers do with held mail, each with who, when and why in the record: let it go after a second look, send a copy
//! to somebody else, see the whole of it, take it away, change the keys.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use super::control::stores::Stores;
use super::control::{Errand, Reply};
use super::recheck::Recheck;
use crate::envelope::relay::Standing;
use crate::mail::{Mailbox, Recipient, Span, Timestamp, transaction::Notify};
use crate::policy::Policy;
use crate::quarantine::{HeldKey, Order};
use crate::report::record::run::Log;
use crate::report::record::{Act, Entry, Update};
use crate::session::desk::Target;
use crate::verdict::receipt::Outcome;

/// Reading one message in pieces is one look at it.
const ONE_LOOK: Span = Span::minutes(10);
/// Looks remembered at the same time.
const MOST_LOOKS: usize = 1000;

/// Held mail in the hands of officers.
pub(super) struct Officer {
    pub stores: Stores,
    pub recheck: Recheck,
    pub record: Log,
    looks: Mutex<HashMap<(HeldKey, String), Timestamp>>,
}

impl Officer {
    pub fn new(stores: Stores, recheck: Recheck, record: Log) -> Self {
        Self { stores, recheck, record, looks: Mutex::default() }
    }

    /// Writes down what somebody did.
    pub fn note(&self, what: &str, about: impl ToString, by: &str, reason: &str, detail: impl ToString) {
        let act = Act {
            what: what.to_owned(),
            about: about.to_string(),
            by: by.to_owned(),
            reason: reason.to_owned(),
            detail: detail.to_string(),
        };
        self.record.write(self.stores.clock.now(), Entry::Act(act));
    }

    fn outcome(&self, id: crate::mail::MailId, state: &str, detail: String) {
        let now = self.stores.clock.now();
        self.record.write(now, Entry::Outcome(Update { id, outcome: Outcome::new(now, state, Vec::new(), detail) }));
    }

    /// A piece of the whole message. Without a reason nobody sees one (DOMAIN R38).
    pub async fn read(&self, key: HeldKey, offset: u64, by: &str, reason: &str) -> Reply {
        if reason.trim().is_empty() {
            return Reply::failed("the whole message is shown only with --reason, and that is written down");
        }
        if self.is_new_look(key, by) {
            if let Err(error) = self.stores.shelf.shown(key, by, reason).await {
                return Reply::failed(error);
            }
            self.note("quarantine.shown", key, by, reason, "");
        }
        self.stores.piece(key, offset).await
    }

    fn is_new_look(&self, key: HeldKey, by: &str) -> bool {
        let now = self.stores.clock.now();
        let mut looks = self.looks.lock().unwrap_or_else(PoisonError::into_inner);
        if looks.len() >= MOST_LOOKS {
            looks.clear();
        }
        let last = looks.insert((key, by.to_owned()), now);
        last.is_none_or(|last| last + ONE_LOOK < now)
    }

    pub async fn remove(&self, key: HeldKey, by: &str, reason: &str) -> Reply {
        let id = match self.stores.shelf.describe(key).await {
            Ok((entry, _)) => entry.held.meta.id,
            // What cannot be read can still be taken away.
            Err(_) => key.id,
        };
        match self.stores.shelf.remove(key, by, reason).await {
            Ok(()) => {
                tracing::warn!(%key, by, reason, "a held message was removed");
                self.note("quarantine.removed", key, by, reason, "");
                self.outcome(id, "removed", format!("by {by}: {reason}"));
                Reply::Done { count: 1 }
            }
            Err(error) => Reply::failed(error),
        }
    }

    pub async fn release(&self, errand: &Errand, by: &str, policy: &Policy) -> Reply {
        let Errand { key, reason, to, force, .. } = errand;
        if (*force || !to.is_empty()) && reason.trim().is_empty() {
            return Reply::failed("--force and --to need a --reason");
        }
        let order = match order(errand, by, policy) {
            Ok(order) => order,
            Err(why) => return Reply::failed(why),
        };
        let (entry, keep) = match self.stores.shelf.show(*key).await {
            Ok(found) => found,
            Err(error) => return Reply::failed(error),
        };
        if !force {
            let objections = match self.recheck.look(&entry, &keep, &order).await {
                Ok(objections) => objections,
                Err(why) => vec![format!("it could not be looked at again: {why}")],
            };
            if !objections.is_empty() {
                let found = objections.join(", ");
                self.stores.shelf.not_released("stopped");
                self.note("quarantine.stopped", key, by, reason, &found);
                return Reply::failed(format!(
                    "it was not released. Today's rules and engines find: {found}. --force with a --reason lets it go"
                ));
            }
        }
        drop(keep);
        let reply = self.stores.release(*key, &order).await;
        if !matches!(reply, Reply::Done { .. }) {
            self.stores.shelf.not_released("failed");
            return reply;
        }
        let (what, forced) =
            (if to.is_empty() { "released" } else { "forwarded" }, if *force { " (forced)" } else { "" });
        self.note(&format!("quarantine.{what}"), key, by, reason, format!("{}{forced}", to.join(", ")));
        let whom = if to.is_empty() { String::new() } else { format!(" to {}", to.join(", ")) };
        self.outcome(entry.held.meta.id, what, format!("by {by}{whom}{forced}: {reason}"));
        reply
    }

    /// A new master key; all that is held is sealed with it.
    pub async fn rotate(&self, by: &str, reason: &str) -> Reply {
        match self.stores.shelf.rotate().await {
            Ok(count) => {
                let (file, names) = self.stores.shelf.key_names();
                self.note("quarantine.key", names.first().cloned().unwrap_or_default(), by, reason, file.display());
                Reply::Done { count }
            }
            Err(error) => Reply::failed(error),
        }
    }

    /// Takes away what was held long enough, and says so in each message's receipt.
    pub async fn expire(shelf: &crate::quarantine::Shelf, record: &Log, now: Timestamp) {
        match shelf.expire(now).await {
            Ok(gone) if gone.is_empty() => {}
            Ok(gone) => {
                tracing::info!(count = gone.len(), "held mail whose time was over was removed, and its keys");
                for key in gone {
                    let outcome =
                        Outcome::new(now, "expired", Vec::new(), format!("removed from the quarantine: {key}"));
                    record.write(now, Entry::Outcome(Update { id: key.id, outcome }));
                }
            }
            Err(error) => tracing::error!(%error, "held mail could not be expired"),
        }
    }
}

/// The errand with its addresses looked up: mailboxes of one agency, so that held mail never leaves by this door.
fn order(errand: &Errand, by: &str, policy: &Policy) -> Result<Order, String> {
    let mut to: Vec<Recipient> = Vec::new();
    for text in &errand.to {
        let mailbox = Mailbox::parse(text).map_err(|error| format!("{text}: {error}"))?;
        let found = policy.compiled.envelope.check_recipient(&Standing::Inward, &Target::Mailbox(mailbox));
        let (mailbox, destination) = found.map_err(|_| format!("{text} is no mailbox of an agency here"))?;
        if to.first().is_some_and(|first| first.destination != destination) {
            return Err("--to names mailboxes of several agencies; send to one agency at a time".to_owned());
        }
        to.push(Recipient { mailbox, destination, original: None, notify: Notify::default() });
    }
    Ok(Order {
        by: by.to_owned(),
        reason: errand.reason.clone(),
        to,
        forced: errand.force,
        hostname: policy.hostname.to_string(),
    })
}
