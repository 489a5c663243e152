//! Outgoing mail to each recipient's own servers: found by MX, protected as their domain publishes and as the sender
//! asks (see [`crate::deliver::tlspolicy`]), tried in order.

use std::sync::Arc;

use tokio::task::JoinSet;

use super::Deliver;
use super::attempt::Load;
use super::internet::{Account, Ask};
use super::queue::{Asked, Said, later};
use crate::deliver::route::{Hop, Policy, exchangers};
use crate::deliver::tlspolicy::sts::Kept;
use crate::deliver::tlspolicy::tally::{Applied, Failure, Reason};
use crate::deliver::tlspolicy::{Barred, Evidence, Protection, Wish, choose};
use crate::env::dns::DnsError;
use crate::env::dns::validator::{Pins, Validator};
use crate::mail::{Domain, Reply};

/// Where a domain's mail goes now.
#[derive(Debug)]
struct Route {
    /// In order; each with its protection.
    hops: Vec<Arc<Hop>>,
    sts: Option<Arc<Kept>>,
}

/// Why it goes nowhere now.
#[derive(Debug)]
enum Stop {
    /// The domain settles it.
    Reply(Reply),
    /// In one sentence.
    Later(String),
}

impl Deliver {
    /// Each domain by its own exchangers.
    pub(super) async fn by_mx(&self, load: Load<'_>, tries: u32, policy: &Policy) -> Asked {
        let mut domains: Vec<(Domain, Vec<usize>)> = Vec::new();
        for i in load.to {
            let Some(recipient) = load.parcel.meta.recipients.get(*i) else { continue };
            let domain = recipient.mailbox.domain();
            match domains.iter_mut().find(|(d, _)| d == domain) {
                Some((_, members)) => members.push(*i),
                None => domains.push((domain.clone(), vec![*i])),
            }
        }
        let wish = Wish::of(load.parcel);
        let (mut all, alone) = (Vec::with_capacity(load.to.len()), domains.len() == 1);
        for (domain, members) in domains {
            let said = match self.route(&domain, wish, policy).await {
                Ok(route) => {
                    let sts = route.sts.as_ref().map(|kept| &kept.policy);
                    let account = Some(Account { domain: &domain, sts, hostname: &policy.hostname });
                    let load = Load { to: &members, account, ..load };
                    let strict = route.hops.iter().any(|hop| hop.protection.needs_tls());
                    match self.by_hops(&route.hops, load, tries, policy).await {
                        Asked::Said(said) => said,
                        // Where proof is asked for, what stops this message may not stop its neighbours, which may
                        // ask for more or for less: each has its own times. The host itself is left alone all the same.
                        shut if alone && !strict => return shut,
                        Asked::Shut(shut) => later(&members, &shut.reason),
                    }
                }
                Err(Stop::Reply(reply)) => members.iter().map(|i| (*i, Said::from(Err(reply.clone())))).collect(),
                Err(Stop::Later(why)) => later(&members, &why),
            };
            all.extend(said);
        }
        Asked::Said(all)
    }

    async fn route(&self, domain: &Domain, wish: Wish, policy: &Policy) -> Result<Route, Stop> {
        let internet = &self.parts.internet;
        // RFC 8689 §4.2.2: who asks for arrival above all is not stopped by a domain's broken signatures either.
        let validator = if wish == Wish::NotNeeded { None } else { internet.validator().await };
        let (answer, mx_proven) = match validator {
            Some(validator) => match validator.mx(domain.as_str()).await {
                Ok(answer) => (Ok(answer.value), answer.secure),
                Err(error) => (Err(error), false),
            },
            None => (self.parts.dns.mx(domain.as_str()).await, false),
        };
        let names = exchangers(domain, answer, &policy.hostname, |n| self.parts.dice.below(n)).map_err(Stop::Reply)?;
        let settings = &policy.settings.internet;
        let ask = Ask { domain, port: settings.https_port };
        let ruling = match settings.mta_sts && wish != Wish::NotNeeded {
            true => Some(internet.sts.ruling(ask).await),
            false => None,
        };
        let (sts, failed) = ruling.map_or((None, None), |ruling| (ruling.policy, ruling.failed));
        let rules = sts.as_ref().map(|kept| &kept.policy);
        let account = Account { domain, sts: rules, hostname: &policy.hostname };
        let now = self.parts.clock.now();
        if let Some((reason, text)) = failed {
            let applied = Applied { kind: "sts".to_owned(), lines: Vec::new(), mx: Vec::new() };
            internet.note_failure(account, &applied, Failure::new(reason, "", &text), now);
        }
        let pins = match validator.filter(|_| mx_proven) {
            Some(validator) => all_pins(validator, &names, policy.settings.mx_port).await,
            None => Vec::new(),
        };
        let (mut hops, mut barred) = (Vec::with_capacity(names.len()), None);
        for (i, name) in names.iter().enumerate() {
            let evidence = Evidence { host: name, domain: domain.as_str(), mx_proven, sts: rules, pins: pins.get(i) };
            match choose(wish, evidence) {
                Ok(protection) => {
                    hops.push(Arc::new(Hop::exchanger(name, policy.settings.mx_port, protection)));
                }
                Err(why) => {
                    tracing::warn!(%domain, host = %name, %why, "a server that must not be used now");
                    self.note_barred(account, name, &why);
                    barred = Some(why);
                }
            }
        }
        match (hops.is_empty(), barred) {
            (true, Some(Barred::Unproven)) => {
                Err(Stop::Reply(Reply::new(550, "5.7.30", "REQUIRETLS support required")))
            }
            (true, why) => Err(Stop::Later(why.map_or_else(|| "no server".to_owned(), |why| why.to_string()))),
            (false, _) => Ok(Route { hops, sts }),
        }
    }

    fn note_barred(&self, account: Account<'_>, host: &str, why: &Barred) {
        let internet = &self.parts.internet;
        let (label, reason) = match why {
            Barred::DnssecInvalid(_) => ("dnssec", Some(Reason::DnssecInvalid)),
            Barred::NotInPolicy => ("mta-sts", Some(Reason::ValidationFailure)),
            // Nothing that the domain publishes failed.
            Barred::Unproven => ("requiretls", None),
        };
        internet.metrics.barred(label);
        if let Some(reason) = reason {
            let protection = if reason == Reason::DnssecInvalid { Protection::Encrypted } else { Protection::Verified };
            let applied = Applied::of(&protection, account.sts);
            let failure = Failure::new(reason, host, &why.to_string());
            internet.note_failure(account, &applied, failure, self.parts.clock.now());
        }
    }
}

/// What each of `names` publishes about its certificate, asked for at the same time, in their order.
async fn all_pins(validator: &Validator, names: &[String], port: u16) -> Vec<Result<Pins, DnsError>> {
    let mut asked = JoinSet::new();
    for (i, name) in names.iter().enumerate() {
        let (validator, name) = (validator.clone(), name.clone());
        asked.spawn(async move { (i, validator.pins(&name, port).await) });
    }
    let unknown = |name: &String| Err(DnsError::Failed(name.clone(), "not asked".to_owned()));
    let mut pins: Vec<Result<Pins, DnsError>> = names.iter().map(unknown).collect();
    while let Some(joined) = asked.join_next().await {
        if let Ok((i, found)) = joined
            && let Some(place) = pins.get_mut(i)
        {
            *place = found;
        }
    }
    pins
}
