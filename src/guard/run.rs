//! The guard at work: asks DNS, keeps the tables, tells events.

mod ask;
mod collector;
mod keeper;
pub mod sink;
mod store;

use std::net::IpAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Semaphore;
use tokio::time::sleep;

use super::ban::{Bans, Offence};
use super::entry::Rules;
use super::event::Event;
use super::fame::Fame;
use super::grey::{Answer, Greylist, Pair, Terms};
use super::health::Health;
use super::helo;
use super::metrics::{Did, Metrics};
use super::network_of;
use super::pace::{Kind, Pace, Rate, Secret};
use super::record::Record;
use super::settings::{Action, Events};
use super::weigh::{Assessment, Band, Proof};
use crate::env::tls::handshake::HandshakeError;
use crate::env::{Clock, Dice, Dns};
use crate::listen::admit::key;
use crate::listen::stress::Turn;
use crate::listen::{ClientFacts, Role};
use crate::mail::{AgencyId, Mailbox, Reply, ReversePath, Timestamp};
use crate::session::desk::{Opening, Refusal, Sudden};
use keeper::Keeper;
use sink::Sink;
use store::Store;

/// Sessions that may be slowed at the same time; beyond it nobody is, for each holds a connection of ours.
const SLOWED: usize = 500;
/// Failed handshakes of one address that become events in an hour: a client that cannot do our TLS tries for ever, and
/// the metric counts them all.
const HANDSHAKES: Rate = Rate::hourly(10);
/// Clients that are looked up before they said who they are, at the same time.
const LOOKING: usize = 256;

/// One guard for all sessions. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Guard(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    dns: Option<Dns>,
    clock: Clock,
    metrics: Metrics,
    tables: Mutex<Tables>,
    slowed: Semaphore,
    looking: Arc<Semaphore>,
    store: Store,
    keeper: Keeper,
    sink: Sink,
}

#[derive(Debug, Default)]
struct Tables {
    bans: Bans,
    pace: Pace,
    greylist: Greylist,
    health: Health,
    fame: Fame,
    /// Failed handshakes that became events, by address; not worth keeping over a restart.
    told: Pace,
}

impl Guard {
    /// Opens the greylist's copy, the record of bans and rates, and the file of events below `data`; what cannot be
    /// opened costs memory of the past, never mail.
    pub async fn open(
        dns: Option<Dns>,
        clock: Clock,
        dice: &Dice,
        metrics: Metrics,
        data: &Path,
        rules: &Rules,
    ) -> Self {
        let (store, rows) = Store::open(&data.join("luytre.db"), metrics.clone()).await;
        let now = clock.now();
        let (keeper, record) = Keeper::open(data, metrics.clone(), now);
        let mut tables = Tables::default();
        tables.greylist.restore(rows, terms(rules), now);
        let record = record.unwrap_or_else(|| {
            let mut secret = Secret::default();
            dice.fill(&mut secret);
            Record { secret, ..Record::default() }
        });
        tables.pace = Pace::keyed(record.secret);
        tables.pace.restore(record.rates, now);
        tables.bans.restore(record.bans, &rules.settings.ban, now);
        let sink = Sink::start(data.join("events"), metrics.clone());
        let (tables, looking) = (Mutex::new(tables), Arc::new(Semaphore::new(LOOKING)));
        let slowed = Semaphore::new(SLOWED);
        Self(Arc::new(Inner { dns, clock, metrics, tables, slowed, looking, store, keeper, sink }))
    }

    /// Somebody connected: whether it is let in at all.
    pub fn welcome(&self, rules: &Rules, client: &ClientFacts) -> Result<(), Reply> {
        let ip = client.address.ip();
        if rules.is_trusted(ip) {
            return Ok(());
        }
        self.not_banned(ip)?;
        if client.role == Role::Relay {
            return Ok(());
        }
        let rate = Rate::minutely(rules.settings.rates.connections);
        self.pace(&[(Kind::Connections, key(ip).to_string(), rate)])?;
        self.look_ahead(rules, ip);
        Ok(())
    }

    /// The tarpit before MAIL: who is suspicious already waits for the banner, and for the answer to its HELO.
    pub async fn hold_back(&self, rules: &Rules, client: &ClientFacts) {
        let ip = client.address.ip();
        if rules.settings.tarpit.is_zero() || client.role == Role::Relay || rules.is_trusted(ip) {
            return;
        }
        let now = self.0.clock.now();
        let word = rules.word(ip, &ReversePath::Null, false, now).map(|word| word.action);
        let is_suspect = match word {
            Some(action) => action == Action::Deny,
            None => {
                let (tables, s) = (self.tables(), &rules.settings);
                // Half of the way to a ban, or one that is over; or what lists said of it since it connected.
                tables.bans.is_notorious(&s.ban, ip, now) || tables.fame.points(ip, now).is_some_and(|p| p >= s.suspect)
            }
        };
        if is_suspect {
            self.wait(rules).await;
        }
    }

    /// With a tarpit, DNS is asked about a client as soon as it connects: what it says by HELO slows the answer, and is
    /// in the cache at MAIL.
    fn look_ahead(&self, rules: &Rules, ip: IpAddr) {
        if rules.settings.tarpit.is_zero()
            || !rules.asks_dns()
            || self.tables().fame.points(ip, self.0.clock.now()).is_some()
        {
            return;
        }
        // Too many at once: these are looked up at MAIL, as without a tarpit.
        let Ok(place) = Arc::clone(&self.0.looking).try_acquire_owned() else { return };
        let (guard, rules) = (self.clone(), rules.clone());
        tokio::spawn(async move {
            let facts = guard.facts(&rules, ip, None, true).await;
            let points = Assessment::by_facts(&rules.settings, &facts).points();
            let now = guard.0.clock.now();
            guard.tables().fame.learn(ip, points, now);
            drop(place);
        });
    }

    /// MAIL FROM: what is to be thought of this client and sender. Refused here is only who goes too fast. The answer
    /// about lists comes at [`Guard::recipient`]. `claims_us`: the HELO name is a mail domain of an agency.
    pub async fn sender(
        &self,
        rules: &Rules,
        opening: &Opening,
        proof: Proof,
        claims_us: bool,
    ) -> Result<Assessment, Reply> {
        let ip = opening.client.address.ip();
        if opening.client.role == Role::Relay || rules.is_trusted(ip) {
            self.0.metrics.did(Did::Trusted);
            return Ok(Assessment::trusted());
        }
        self.not_banned(ip)?;
        let now = self.0.clock.now();
        let assessment = match rules.word(ip, &opening.sender, proof == Proof::Real, now) {
            Some(word) => Assessment::by_word(word),
            None => {
                let sane = helo::is_sane(&opening.helo, ip) && !claims_us;
                let facts = self.facts(rules, ip, Some(&opening.sender), sane).await;
                Assessment::by_facts(&rules.settings, &facts)
            }
        }
        .proven(proof);
        let rates = &rules.settings.rates;
        let mut parties = vec![
            (Kind::Address, key(ip).to_string(), Rate::hourly(rates.address)),
            (Kind::Network, network_of(ip).to_string(), Rate::hourly(rates.network)),
        ];
        // Bounces have no sender; their count is the address's.
        parties.extend(opening.sender.mailbox().map(|m| (Kind::Sender, m.folded(), Rate::hourly(rates.sender))));
        self.pace(&parties)?;
        self.0.metrics.did(match assessment.band() {
            Band::Trusted => Did::Trusted,
            Band::Clear => Did::Clear,
            Band::Suspect => Did::Suspect,
            Band::Refused => Did::Refused,
        });
        self.slow(rules, &assessment).await;
        Ok(assessment)
    }

    /// RCPT TO, before anything is said about the recipient: traps, and clients nobody wants to hear.
    pub async fn approach(&self, rules: &Rules, assessment: &Assessment, to: &Mailbox) -> Result<(), Reply> {
        self.slow(rules, assessment).await;
        if assessment.band() == Band::Trusted || is_open_to_all(to) {
            return Ok(());
        }
        if rules.is_trap(to) {
            self.0.metrics.did(Did::Trap);
            // The same words as for anybody who does not exist.
            return Err(Reply::new(550, "5.1.1", "No such user here").because(TRAP));
        }
        if assessment.band() == Band::Refused && assessment.is_unheard() {
            let reply = Reply::new(451, "4.7.1", "It cannot be told now whether this sender is real; try again later");
            return Err(reply.because(format!("{} spf:unknown", assessment.rule())));
        }
        if assessment.band() == Band::Refused {
            let reply = Reply::new(550, "5.7.1", "Mail from you is not taken here; postmaster can be written to");
            return Err(reply.because(assessment.rule()));
        }
        Ok(())
    }

    /// RCPT TO for a recipient that exists: how often, and whether the suspicious have come back.
    pub fn recipient(
        &self,
        rules: &Rules,
        assessment: &Assessment,
        opening: &Opening,
        to: &Mailbox,
        agency: &AgencyId,
    ) -> Result<(), Reply> {
        if assessment.band() == Band::Trusted || is_open_to_all(to) {
            return Ok(());
        }
        if assessment.band() == Band::Suspect {
            self.come_back(rules, assessment, opening)?;
        }
        let rates = &rules.settings.rates;
        let (guesses, ip) = (Rate::hourly(rates.unknown), opening.client.address.ip());
        if self.tables().pace.is_spent(Kind::Unknown, &key(ip).to_string(), guesses, self.0.clock.now()) {
            return Err(self.too_fast(Kind::Unknown));
        }
        self.pace(&[
            (Kind::Recipient, to.folded(), Rate::hourly(rates.recipient)),
            (Kind::Agency, agency.to_string(), Rate::hourly(rates.agency)),
        ])
    }

    /// Mail of this client and sender was inspected, found clean and taken: greylisting will not hold it up later.
    pub fn found_clean(&self, rules: &Rules, client: IpAddr, sender: &ReversePath) {
        let pair = Pair::exact(client, sender.domain().map_or("", |domain| domain.as_str()));
        // Anybody can send from nobody: one good report says nothing about the next.
        if pair.domain.is_empty() {
            return;
        }
        let learnt = self.tables().greylist.learn(&pair, terms(rules), self.0.clock.now());
        if let Some(known) = learnt {
            self.0.store.put(pair, known);
        }
    }

    /// Something was refused: it becomes an event, and conduct that adds up.
    pub fn noticed(&self, rules: &Rules, refusal: &Refusal<'_>) {
        self.0.sink.tell(Event::refusal(refusal));
        let ip = refusal.client.address.ip();
        let offence = if refusal.reply.cause() == TRAP {
            Some(Offence::Trap)
        } else {
            Offence::shown_by(refusal.reason, refusal.reply.enhanced())
                // Refused by a list or an entry: that is its past, not its conduct.
                .filter(|offence| *offence != Offence::Relaying || refusal.reply.cause().is_empty())
        };
        let Some(offence) = offence else { return };
        if offence == Offence::Harvesting && !rules.is_trusted(ip) {
            // Counted only; the next recipient is the one that may be too much.
            let rate = Rate::hourly(rules.settings.rates.unknown);
            let _ = self.tables().pace.take(Kind::Unknown, &key(ip).to_string(), rate, refusal.at);
        }
        // Whoever relays through us is an agency; only a guesser of passwords is not.
        let theirs = refusal.client.role == Role::Relay && offence != Offence::BruteForce;
        if theirs || rules.is_trusted(ip) {
            return;
        }
        let banned = self.tables().bans.offend(&rules.settings.ban, ip, offence, refusal.at);
        if let Some(until) = banned {
            self.0.keeper.changed();
            self.0.metrics.ban(offence);
            tracing::warn!(client = %ip, offence = offence.as_str(), until = %until, "an address is banned");
            self.0.sink.tell(Event::ban(refusal, offence.as_str(), until));
        }
    }

    /// What other rooms have to say to whoever watches.
    pub fn tell(&self, event: Event) {
        self.0.sink.tell(event);
    }

    /// A TLS handshake failed: that becomes an event, and nobody's conduct. Many honest servers are only old.
    pub fn handshake_failed(&self, client: &ClientFacts, error: &HandshakeError, at: Timestamp) {
        let address = key(client.address.ip()).to_string();
        if self.tables().told.take(Kind::Address, &address, HANDSHAKES, at).is_ok() {
            self.0.sink.tell(Event::handshake(client, error, at));
        }
    }

    /// An account suddenly sends much: that becomes an event.
    pub fn sudden(&self, sudden: &Sudden<'_>) {
        self.0.sink.tell(Event::sudden(sudden));
    }

    /// Stress began or ended: that becomes an event.
    pub fn stressed(&self, turn: Turn, at: Timestamp) {
        self.0.sink.tell(Event::stress(turn, at));
    }

    /// A slow rule was parked: that becomes an event.
    pub fn parked(&self, rule: &str, why: &str, at: Timestamp) {
        self.0.sink.tell(Event::state("rule", "parked", format!("{rule}: {why}"), at));
    }

    /// Done once a second: sizes for the metrics, settings for the sink.
    pub fn tend(&self, events: &Events, hostname: &str) {
        self.0.sink.configure(events, hostname);
        let now = self.0.clock.now();
        let (banned, greylist) = {
            let tables = self.tables();
            (tables.bans.count(now), tables.greylist.len())
        };
        self.0.metrics.sizes(banned, greylist);
        if self.0.keeper.is_due(now) {
            self.keep();
        }
    }

    /// Writes bans and rates down, off the mail path.
    fn keep(&self) -> tokio::task::JoinHandle<()> {
        let now = self.0.clock.now();
        let record = {
            let tables = self.tables();
            Record {
                secret: *tables.pace.secret(),
                bans: tables.bans.saved(now).collect(),
                rates: tables.pace.saved(now).collect(),
            }
        };
        let guard = self.clone();
        tokio::task::spawn_blocking(move || guard.0.keeper.write(&record))
    }

    /// Done once an hour: what is over is forgotten.
    pub fn forget(&self, rules: &Rules) {
        let (terms, now) = (terms(rules), self.0.clock.now());
        self.tables().greylist.expire(terms, now);
        self.0.store.forget(terms.horizon(now));
    }

    /// Returns when everything so far is on disk.
    pub async fn settle(&self) {
        // A write that failed has been told.
        let _ = self.keep().await;
        self.0.store.settle().await;
        self.0.sink.settle().await;
    }

    /// As [`Self::settle`], at the end: the files are no longer ours.
    pub async fn close(&self) {
        self.settle().await;
        self.0.store.close().await;
    }

    fn come_back(&self, rules: &Rules, assessment: &Assessment, opening: &Opening) -> Result<(), Reply> {
        let terms = terms(rules);
        if terms.wait.is_zero() {
            return Ok(());
        }
        let domain = opening.sender.domain().map_or("", |domain| domain.as_str());
        let client = opening.client.address.ip();
        let pair = Pair::new(client, domain);
        let (answer, known) = {
            let mut tables = self.tables();
            if tables.greylist.is_good(&Pair::exact(client, domain), terms, self.0.clock.now()) {
                return Ok(());
            }
            let answer = tables.greylist.attempt(&pair, terms, self.0.clock.now());
            (answer, tables.greylist.get(&pair))
        };
        if let Some(known) = known {
            self.0.store.put(pair, known);
        }
        match answer {
            Answer::Pass => {
                self.0.metrics.did(Did::Returned);
                Ok(())
            }
            Answer::Wait(span) => {
                self.0.metrics.did(Did::Greylisted);
                let minutes = span.as_seconds().div_ceil(60).max(1);
                // RFC 6647 §3: 451, and the client is told that it is for now only.
                let text = format!("Greylisted; please come back in {minutes} min");
                Err(Reply::new(451, "4.7.1", text).because(format!("greylist {}", assessment.rule())))
            }
        }
    }

    fn not_banned(&self, ip: IpAddr) -> Result<(), Reply> {
        let now = self.0.clock.now();
        let Some(until) = self.tables().bans.until(ip, now) else { return Ok(()) };
        self.0.metrics.did(Did::Banned);
        let reply = Reply::new(421, "4.7.0", "Too much trouble from your address; try again later");
        Err(reply.because(format!("banned until {until}")))
    }

    fn too_fast(&self, kind: Kind) -> Reply {
        self.0.metrics.did(Did::Rate);
        let code = if kind == Kind::Connections { 421 } else { 450 };
        Reply::new(code, "4.7.1", "Too much at once; try again later").because(format!("rate:{}", kind.as_str()))
    }

    /// Counts one more of each party, or refuses for the first that is too fast.
    fn pace(&self, parties: &[(Kind, String, Rate)]) -> Result<(), Reply> {
        let now = self.0.clock.now();
        let mut tables = self.tables();
        for (kind, party, rate) in parties {
            if tables.pace.take(*kind, party, *rate, now).is_err() {
                return Err(self.too_fast(*kind));
            }
        }
        if parties.iter().any(|(_, _, rate)| rate.count > 0) {
            self.0.keeper.changed();
        }
        Ok(())
    }

    /// The tarpit: a suspicious client waits for its answer, as long as few do.
    async fn slow(&self, rules: &Rules, assessment: &Assessment) {
        if assessment.band() >= Band::Suspect {
            self.wait(rules).await;
        }
    }

    async fn wait(&self, rules: &Rules) {
        let wait = rules.settings.tarpit;
        if wait.is_zero() {
            return;
        }
        if let Ok(_place) = self.0.slowed.try_acquire() {
            self.0.metrics.did(Did::Slowed);
            sleep(wait.as_std()).await;
        }
    }

    fn tables(&self) -> MutexGuard<'_, Tables> {
        self.0.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The rule that a trap's refusal names.
const TRAP: &str = "trap";

/// postmaster@ and abuse@ can be written to by everybody (RFC 5321 §4.5.1, RFC 2142).
fn is_open_to_all(to: &Mailbox) -> bool {
    ["postmaster", "abuse"].iter().any(|name| to.local().eq_ignore_ascii_case(name))
}

fn terms(rules: &Rules) -> Terms {
    Terms { wait: rules.settings.greylist, keep: rules.settings.greylist_keep }
}

#[cfg(test)]
mod tests;
