//! Whether a recipient exists, where somebody else knows: an answer that is remembered, the agency's server, its
//! directory. Who cannot be asked refuses nobody: the letter is taken, and its delivery will say.
//!
//! A server that says yes to everybody (Exchange without recipient filter, a catch-all mailbox) is found out by asking
//! for a mailbox that nobody has, once a day, and an operator is told. A no of it still counts.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::deliver::{self, Deliver};
use crate::env::ldap::{self, Directory, Entry, Found};
use crate::env::{Clock, Dice};
use crate::envelope::known::{Answer, Known, Memory};
use crate::envelope::metrics::{Metrics, Source};
use crate::envelope::relay::{Agency, Roster, always};
use crate::envelope::settings::{DisabledAccounts, Ldap};
use crate::mail::{AgencyId, Destination, Mailbox};

/// Attributes of Active Directory, in lower case: flags of the account, and what kind of mailbox Exchange makes of it.
const ACCOUNT: &str = "useraccountcontrol";
const RECIPIENT: &str = "msexchrecipienttypedetails";
/// ACCOUNTDISABLE of userAccountControl.
const DISABLED: i64 = 2;
/// Shared, room and equipment mailboxes; their accounts are always switched off.
const NOBODYS: [i64; 3] = [4, 16, 32];

/// Knows, or knows whom to ask.
pub struct Census {
    known: Mutex<Known>,
    /// With the settings they were made from; other settings, another directory.
    directories: Mutex<HashMap<AgencyId, (Arc<Ldap>, Directory)>>,
    deliver: Arc<Deliver>,
    clock: Clock,
    dice: Dice,
    metrics: Metrics,
}

impl Census {
    #[must_use]
    pub fn new(deliver: Arc<Deliver>, clock: Clock, dice: Dice, metrics: Metrics) -> Self {
        Self { known: Mutex::default(), directories: Mutex::default(), deliver, clock, dice, metrics }
    }

    /// Whether the agency has this mailbox. May take as long as a slow server needs to answer.
    pub async fn has(&self, agency: &Agency, mailbox: &Mailbox, policy: &deliver::Policy) -> Answer {
        let asks_nobody = matches!(agency.roster, Roster::Any | Roster::Listed(_));
        if asks_nobody || always(mailbox.local()) || always(agency.base(mailbox).local()) {
            return Answer::Exists;
        }
        let name = format!("{}/{}", agency.id, mailbox.folded());
        let memory = self.known().recall(&name, self.clock.now());
        if let Memory::Fresh(answer) = memory {
            self.metrics.checked(Source::Memory, answer);
            return answer;
        }
        let (source, answer) = match &agency.roster {
            Roster::Ldap(settings) => (Source::Ldap, self.look_up(agency, settings, mailbox).await),
            _ => (Source::Callout, self.call_out(agency, mailbox, policy).await),
        };
        self.metrics.checked(source, answer);
        self.known().learn(&name, answer, self.clock.now());
        match (answer, memory) {
            (Answer::Unsure, Memory::Old(old)) => old,
            (answer, _) => answer,
        }
    }

    async fn call_out(&self, agency: &Agency, mailbox: &Mailbox, policy: &deliver::Policy) -> Answer {
        let everybody = format!("{}/*@{}", agency.id, mailbox.domain());
        let is_tried = matches!(self.known().recall(&everybody, self.clock.now()), Memory::Fresh(_));
        let destination = Destination::Agency(agency.id.clone());
        let answer = self.deliver.call_out(&destination, mailbox, policy).await;
        let Some(nobody) = self.nobody(mailbox).filter(|_| answer == Answer::Exists && !is_tried) else {
            return answer;
        };
        let says = self.deliver.call_out(&destination, &nobody, policy).await;
        self.known().learn(&everybody, says, self.clock.now());
        if says != Answer::Unsure {
            self.metrics.catch_all(&agency.id, says == Answer::Exists);
        }
        if says == Answer::Exists {
            let domain = mailbox.domain();
            tracing::warn!(agency = %agency.id, %domain, "its server says yes to every mailbox: callout tells nothing");
        }
        answer
    }

    /// A mailbox of the same domain that nobody has.
    fn nobody(&self, mailbox: &Mailbox) -> Option<Mailbox> {
        let mut random = [0_u8; 10];
        self.dice.fill(&mut random);
        let name: String = random.iter().map(|octet| format!("{octet:02x}")).collect();
        Mailbox::parse(&format!("no-such-user-{name}@{}", mailbox.domain())).ok()
    }

    async fn look_up(&self, agency: &Agency, settings: &Arc<Ldap>, mailbox: &Mailbox) -> Answer {
        let directory = match self.directory(&agency.id, settings).await {
            Ok(directory) => directory,
            Err(error) => {
                tracing::error!(agency = %agency.id, %error, "a directory cannot be asked");
                return Answer::Unsure;
            }
        };
        let filter = ldap::filter(&settings.filter, &agency.base(mailbox).folded());
        let attributes: &[&str] = match settings.disabled_accounts {
            DisabledAccounts::Accept => &[],
            DisabledAccounts::Refuse => &[ACCOUNT, RECIPIENT],
        };
        match directory.find(&settings.base, &filter, attributes).await {
            Ok(found) if found.entries.iter().any(receives) => Answer::Exists,
            // Who is not in a part of the answer may be in the rest.
            Ok(Found { missing: Some(why), .. }) => {
                tracing::warn!(agency = %agency.id, %why, "a directory's answer is not whole: nobody is refused by it");
                Answer::Unsure
            }
            Ok(_) => Answer::Unknown,
            Err(error) => {
                tracing::warn!(agency = %agency.id, %error, "a directory gave no answer");
                Answer::Unsure
            }
        }
    }

    async fn directory(&self, agency: &AgencyId, settings: &Arc<Ldap>) -> std::io::Result<Directory> {
        if let Some((of, directory)) = self.directories().get(agency)
            && Arc::ptr_eq(of, settings)
        {
            return Ok(directory.clone());
        }
        let read = Arc::clone(settings);
        let options = tokio::task::spawn_blocking(move || options(&read)).await.map_err(std::io::Error::other)??;
        let mut directories = self.directories();
        // A reload that changed nothing about it keeps the connection.
        let kept = directories.get(agency).map(|(_, directory)| directory).filter(|d| *d.options() == options);
        let directory = kept.cloned().unwrap_or_else(|| Directory::new(options));
        directories.insert(agency.clone(), (Arc::clone(settings), directory.clone()));
        Ok(directory)
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn directories(&self) -> MutexGuard<'_, HashMap<AgencyId, (Arc<Ldap>, Directory)>> {
        self.directories.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether mail for this entry is wanted. An entry of which the account was not asked for is.
fn receives(entry: &Entry) -> bool {
    let number = |name| entry.get(name).and_then(|values| values.first()).and_then(|text| text.parse::<i64>().ok());
    let disabled = number(ACCOUNT).is_some_and(|flags| flags & DISABLED != 0);
    !disabled || number(RECIPIENT).is_some_and(|kind| NOBODYS.contains(&kind))
}

/// Settings with what their files hold.
fn options(s: &Ldap) -> std::io::Result<ldap::Options> {
    let ca = s.ca.as_ref().map(std::fs::read).transpose()?;
    let password = s.password_file.as_ref().map(std::fs::read_to_string).transpose()?.unwrap_or_default();
    Ok(ldap::Options {
        urls: s.urls.clone(),
        start_tls: s.start_tls,
        ca,
        bind_dn: s.bind_dn.clone(),
        password: password.lines().next().unwrap_or_default().to_owned(),
        timeout: s.timeout,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_that_are_switched_off_receive_nothing_but_shared_mailboxes_do() {
        let entry = |pairs: &[(&str, &str)]| -> Entry {
            pairs.iter().map(|(name, value)| ((*name).to_owned(), vec![(*value).to_owned()])).collect()
        };
        assert!(receives(&entry(&[])));
        assert!(receives(&entry(&[(ACCOUNT, "512")])));
        assert!(!receives(&entry(&[(ACCOUNT, "514")])));
        assert!(!receives(&entry(&[(ACCOUNT, "514"), (RECIPIENT, "1")])));
        assert!(receives(&entry(&[(ACCOUNT, "514"), (RECIPIENT, "4")])));
        assert!(receives(&entry(&[(ACCOUNT, "no number")])));
    }
}
