//! The guard at work: asks DNS, keeps the tables, tells events.

pub mod sink;
mod store;

use std::net::IpAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::ban::{Bans, Offence};
use super::dnslist;
use super::entry::Rules;
use super::event::Event;
use super::grey::{Answer, Greylist, Pair, Terms};
use super::helo;
use super::metrics::{Did, Metrics};
use super::network_of;
use super::pace::{Kind, Pace, Rate};
use super::settings::{Asks, Events};
use super::weigh::{Assessment, Band, Facts, Reverse};
use crate::env::{Clock, Dns};
use crate::listen::admit::key;
use crate::listen::{ClientFacts, Role};
use crate::mail::{AgencyId, Mailbox, Reply, ReversePath};
use crate::session::desk::{Opening, Refusal};
use sink::Sink;
use store::Store;

/// Sessions that may be slowed at the same time; beyond it nobody is, for each holds a connection of ours.
const SLOWED: usize = 500;
/// Names of one address that are followed back to it (RFC 8601 §2.7.3 leaves the number open; RFC 7208 §4.6.4 has ten).
const NAMES: usize = 5;

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
    store: Store,
    sink: Sink,
}

#[derive(Debug, Default)]
struct Tables {
    bans: Bans,
    pace: Pace,
    greylist: Greylist,
}

impl Guard {
    /// Opens the greylist's copy and the file of events below `data`; what cannot be opened costs memory of the past,
    /// never mail.
    pub async fn open(dns: Option<Dns>, clock: Clock, metrics: Metrics, data: &Path, rules: &Rules) -> Self {
        let (store, rows) = Store::open(&data.join("luytre.db"), metrics.clone()).await;
        let mut tables = Tables::default();
        tables.greylist.restore(rows, terms(rules), clock.now());
        let sink = Sink::start(data.join("events"), metrics.clone());
        let tables = Mutex::new(tables);
        Self(Arc::new(Inner { dns, clock, metrics, tables, slowed: Semaphore::new(SLOWED), store, sink }))
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
        self.pace(&[(Kind::Connections, key(ip).to_string(), rate)])
    }

    /// MAIL FROM: what is to be thought of this client and sender. Refused here is only who goes too fast. The answer
    /// about lists comes at [`Guard::recipient`]. `authenticated`: SPF says that the sender is real.
    pub async fn sender(&self, rules: &Rules, opening: &Opening, authenticated: bool) -> Result<Assessment, Reply> {
        let ip = opening.client.address.ip();
        if opening.client.role == Role::Relay || rules.is_trusted(ip) {
            self.0.metrics.did(Did::Trusted);
            return Ok(Assessment::trusted());
        }
        self.not_banned(ip)?;
        let now = self.0.clock.now();
        let assessment = match rules.word(ip, &opening.sender, authenticated, now) {
            Some(word) => Assessment::by_word(word),
            None => Assessment::by_facts(&rules.settings, &self.facts(rules, opening).await),
        };
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
        self.pace(&[
            (Kind::Recipient, to.folded(), Rate::hourly(rates.recipient)),
            (Kind::Agency, agency.to_string(), Rate::hourly(rates.agency)),
        ])
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
        // Whoever relays through us is an agency; only a guesser of passwords is not.
        let theirs = refusal.client.role == Role::Relay && offence != Offence::BruteForce;
        if theirs || rules.is_trusted(ip) {
            return;
        }
        let banned = self.tables().bans.offend(&rules.settings.ban, ip, offence, refusal.at);
        if let Some(until) = banned {
            self.0.metrics.ban(offence);
            tracing::warn!(client = %ip, offence = offence.as_str(), until = %until, "an address is banned");
            self.0.sink.tell(Event::ban(refusal, offence.as_str(), until));
        }
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
    }

    /// Done once an hour: what is over is forgotten.
    pub fn forget(&self, rules: &Rules) {
        let gone = self.tables().greylist.expire(terms(rules), self.0.clock.now());
        gone.into_iter().for_each(|pair| self.0.store.remove(pair));
    }

    /// Returns when everything so far is on disk.
    pub async fn settle(&self) {
        self.0.store.settle().await;
        self.0.sink.settle().await;
    }

    fn come_back(&self, rules: &Rules, assessment: &Assessment, opening: &Opening) -> Result<(), Reply> {
        let terms = terms(rules);
        if terms.wait.is_zero() {
            return Ok(());
        }
        let domain = opening.sender.domain().map_or("", |domain| domain.as_str());
        let pair = Pair::new(opening.client.address.ip(), domain);
        let (answer, known) = {
            let mut tables = self.tables();
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

    /// Counts one more of each party, or refuses for the first that is too fast.
    fn pace(&self, parties: &[(Kind, String, Rate)]) -> Result<(), Reply> {
        let now = self.0.clock.now();
        let mut tables = self.tables();
        for (kind, party, rate) in parties {
            if tables.pace.take(*kind, party, *rate, now).is_err() {
                self.0.metrics.did(Did::Rate);
                let code = if *kind == Kind::Connections { 421 } else { 450 };
                let reply = Reply::new(code, "4.7.1", "Too much at once; try again later");
                return Err(reply.because(format!("rate:{}", kind.as_str())));
            }
        }
        Ok(())
    }

    /// The tarpit: a suspicious client waits for its answer, as long as few do.
    async fn slow(&self, rules: &Rules, assessment: &Assessment) {
        let wait = rules.settings.tarpit;
        if wait.is_zero() || assessment.band() < Band::Suspect {
            return;
        }
        if let Ok(_place) = self.0.slowed.try_acquire() {
            self.0.metrics.did(Did::Slowed);
            sleep(wait.as_std()).await;
        }
    }

    /// All look-ups at the same time, within one deadline. What does not answer counts nothing.
    async fn facts(&self, rules: &Rules, opening: &Opening) -> Facts {
        let client = opening.client.address.ip();
        let sane_helo = helo::is_sane(&opening.helo, client);
        let nothing = Facts { reverse: Reverse::Unknown, sane_helo, listed: Vec::new() };
        let Some(dns) = self.0.dns.as_ref().filter(|_| rules.asks_dns()) else { return nothing };
        if dns.is_degraded() {
            self.0.metrics.did(Did::DnsDegraded);
            return nothing;
        }
        let s = &rules.settings;
        // For the names: one PTR and two questions for each; then one for each list.
        let queries = 1 + 2 * NAMES + s.list.len();
        let dns = dns.for_message(u32::try_from(queries).unwrap_or(u32::MAX), s.dns_deadline);
        let mut asked = JoinSet::new();
        for (list, name) in questions(rules, client, &opening.sender) {
            let dns = dns.clone();
            asked.spawn(async move {
                let answers = dns.ipv4(&name).await.unwrap_or_default();
                Found::List(list.zone.to_string(), list.points, dnslist::is_listed(&list, &answers))
            });
        }
        if s.no_reverse > 0.0 {
            asked.spawn(async move { Found::Reverse(reverse(&dns, client).await) });
        }
        let mut facts = nothing;
        let gather = async {
            while let Some(found) = asked.join_next().await {
                match found {
                    Ok(Found::Reverse(found)) => facts.reverse = found,
                    Ok(Found::List(zone, points, Some(true))) => facts.listed.push((zone, points)),
                    Ok(Found::List(..)) => {}
                    Err(error) => tracing::error!(%error, "a look-up failed"),
                }
            }
        };
        // What has come in by then counts.
        let _ = timeout(s.dns_deadline.as_std(), gather).await;
        facts.listed.sort_by(|a, b| a.0.cmp(&b.0));
        facts
    }

    fn tables(&self) -> MutexGuard<'_, Tables> {
        self.0.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The rule that a trap's refusal names.
const TRAP: &str = "trap";

enum Found {
    Reverse(Reverse),
    List(String, f64, Option<bool>),
}

fn questions(rules: &Rules, client: IpAddr, sender: &ReversePath) -> Vec<(super::settings::List, String)> {
    let by_address = rules.lists(Asks::Address).map(|list| (list.clone(), dnslist::about_address(&list.zone, client)));
    let by_domain = rules.lists(Asks::Domain).filter_map(|list| {
        let name = dnslist::about_domain(&list.zone, sender.domain()?)?;
        Some((list.clone(), name))
    });
    by_address.chain(by_domain).collect()
}

async fn reverse(dns: &Dns, client: IpAddr) -> Reverse {
    let names = match dns.names(client).await {
        Ok(names) => names,
        Err(error) if error.is_void() => return Reverse::Missing,
        Err(_) => return Reverse::Unknown,
    };
    let mut known = true;
    for name in names.iter().take(NAMES) {
        match dns.addresses(name).await {
            Ok(found) if found.iter().any(|ip| ip.to_canonical() == client.to_canonical()) => {
                return Reverse::Confirmed;
            }
            Ok(_) => {}
            Err(error) => known &= error.is_void(),
        }
    }
    if known { Reverse::Missing } else { Reverse::Unknown }
}

/// postmaster@ and abuse@ can be written to by everybody (RFC 5321 §4.5.1, RFC 2142).
fn is_open_to_all(to: &Mailbox) -> bool {
    ["postmaster", "abuse"].iter().any(|name| to.local().eq_ignore_ascii_case(name))
}

fn terms(rules: &Rules) -> Terms {
    Terms { wait: rules.settings.greylist, keep: rules.settings.greylist_keep }
}

#[cfg(test)]
mod tests;
