//! Recipient to next hops, in order: an agency's own servers, the smart host, or the Internet by MX (`route/mx.rs`).
//! Pure: DNS answers come in.

mod mx;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use super::profile::Traits;
use super::seal::SealKeys;
use super::settings::{self, Delivery, NextHop, Profile, TlsMode};
use super::tlspolicy::Protection;
use crate::mail::{AgencyId, Destination, Domain, KeyPin, Language};

pub use mx::{exchangers, usable};

/// One server that takes mail from us.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Hop {
    /// A name or an address literal, without brackets.
    pub host: String,
    pub port: u16,
    pub profile: Profile,
    pub tls: TlsMode,
    /// Keys that are believed; empty: whoever the certificate's authority vouches for.
    pub tls_pins: Vec<KeyPin>,
    /// As configured; `None`: the profile decides.
    pub tls_legacy: Option<bool>,
    pub delivery: Delivery,
    pub live_recipients: bool,
    /// Found by MX: nobody here vouches for it.
    pub internet: bool,
    /// What its domain's policies ask of the connection. Part of the key: connections made under one are not used
    /// under another.
    pub protection: Protection,
}

impl Hop {
    /// From the configuration; the error is a sentence for the operator.
    pub fn build(hop: &NextHop) -> Result<Self, String> {
        let (host, port) = split_address(&hop.address)?;
        let NextHop { profile, tls, tls_legacy, delivery, live_recipients, .. } = *hop;
        let (tls_pins, protection) = (hop.tls_pins.clone(), Protection::default());
        Ok(Self {
            host,
            port,
            profile,
            tls,
            tls_pins,
            tls_legacy,
            delivery,
            live_recipients,
            internet: false,
            protection,
        })
    }

    /// A mail exchanger or its address; `protection` says whether it may go on in clear.
    #[must_use]
    pub fn exchanger(host: &str, port: u16, protection: Protection) -> Self {
        Self {
            host: host.to_owned(),
            port,
            profile: Profile::Generic,
            tls: if protection.needs_tls() { TlsMode::Required } else { TlsMode::Opportunistic },
            tls_pins: Vec::new(),
            tls_legacy: None,
            delivery: Delivery::Queued,
            live_recipients: false,
            internet: true,
            protection,
        }
    }

    #[must_use]
    pub fn traits(&self) -> Traits {
        let traits = if self.internet { Traits::internet() } else { self.profile.traits() };
        Traits { legacy_tls: self.tls_legacy.unwrap_or(traits.legacy_tls), ..traits }
    }
}

/// `host:port`; an IPv6 literal stands in brackets. Without a port: 25.
fn split_address(text: &str) -> Result<(String, u16), String> {
    let wrong = || format!("\"{text}\" is no next hop: write it like \"10.1.2.3:25\" or \"mail.local:25\"");
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, after) = rest.split_once(']').ok_or_else(wrong)?;
            (host, after.strip_prefix(':').or_else(|| after.is_empty().then_some("25")))
        }
        None => match text.rsplit_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, Some("25")),
        },
    };
    let port = port.and_then(|p| p.parse().ok()).filter(|p| *p > 0).ok_or_else(wrong)?;
    if host.parse::<IpAddr>().is_err() && Domain::parse(host).is_err() {
        return Err(wrong());
    }
    Ok((host.to_owned(), port))
}

/// What the route of one agency is made of.
#[derive(Clone, Debug)]
pub struct Agency {
    pub id: AgencyId,
    pub domains: Vec<Domain>,
    pub next_hops: Vec<NextHop>,
}

/// The compiled `[deliver]` and next hops of all agencies. Immutable; a reload makes a new one.
#[derive(Clone, Debug)]
pub struct Policy {
    pub settings: settings::Deliver,
    /// Our name in EHLO and in reports.
    pub hostname: String,
    pub language: Language,
    agencies: HashMap<AgencyId, Arc<[Arc<Hop>]>>,
    domains: HashMap<Domain, AgencyId>,
    smart_host: Option<Arc<[Arc<Hop>]>>,
    /// For the reports that we write.
    seals: Arc<HashMap<AgencyId, SealKeys>>,
}

/// Where a recipient's copy goes.
#[derive(Clone, Debug)]
pub enum Way {
    /// To the first of these that takes it.
    Hops(Arc<[Arc<Hop>]>),
    /// To the exchangers of the recipient's domain.
    ByMx,
    /// The agency has no next hop (any more): the mail waits for the operator.
    Nowhere,
}

impl Policy {
    /// Compiles, or says everything that is wrong, one sentence each.
    pub fn build(
        settings: settings::Deliver,
        hostname: &str,
        language: Language,
        agencies: impl IntoIterator<Item = Agency>,
    ) -> Result<Self, Vec<String>> {
        let mut wrong = Vec::new();
        let mut hops = |list: &[NextHop]| -> Arc<[Arc<Hop>]> {
            let built = list.iter().filter_map(|hop| Hop::build(hop).map_err(|e| wrong.push(e)).ok());
            built.map(Arc::new).collect()
        };
        let (mut routes, mut domains) = (HashMap::new(), HashMap::new());
        for agency in agencies {
            routes.insert(agency.id.clone(), hops(&agency.next_hops));
            domains.extend(agency.domains.into_iter().map(|d| (d, agency.id.clone())));
        }
        let smart_host = (!settings.smart_host.is_empty()).then(|| {
            let address = settings.smart_host.clone();
            hops(&[NextHop { delivery: Delivery::Queued, ..NextHop::to(address) }])
        });
        if !wrong.is_empty() {
            return Err(wrong);
        }
        Ok(Self {
            settings,
            hostname: hostname.to_owned(),
            language,
            agencies: routes,
            domains,
            smart_host,
            seals: Arc::default(),
        })
    }

    /// With the keys that sign what leaves on behalf of each agency.
    #[must_use]
    pub fn with_seals(self, seals: Arc<HashMap<AgencyId, SealKeys>>) -> Self {
        Self { seals, ..self }
    }

    /// The keys of an agency.
    #[must_use]
    pub fn seals(&self, agency: &AgencyId) -> Option<&SealKeys> {
        self.seals.get(agency)
    }

    /// The way of all recipients with this destination.
    #[must_use]
    pub fn way(&self, destination: &Destination) -> Way {
        match (destination, &self.smart_host) {
            (Destination::Agency(id), _) => match self.agencies.get(id) {
                Some(hops) if !hops.is_empty() => Way::Hops(Arc::clone(hops)),
                _ => Way::Nowhere,
            },
            (Destination::Outward(_), Some(smart_host)) => Way::Hops(Arc::clone(smart_host)),
            (Destination::Outward(_), None) => Way::ByMx,
        }
    }

    /// Where a report to `domain` goes, on behalf of `agency`: home, when the domain is one of ours.
    #[must_use]
    pub fn destination_of(&self, domain: &Domain, agency: &AgencyId) -> Destination {
        match self.domains.get(domain) {
            Some(home) => Destination::Agency(home.clone()),
            None => Destination::Outward(agency.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn next_hops_are_read_or_explained() {
        let good = |text: &str| split_address(text).unwrap();
        assert_eq!(good("10.1.2.3:2525"), ("10.1.2.3".to_owned(), 2525));
        assert_eq!(good("mail.local"), ("mail.local".to_owned(), 25));
        assert_eq!(good("[2001:db8::1]:26"), ("2001:db8::1".to_owned(), 26));
        for bad in ["", ":25", "host:", "host:0", "host:99999", "a b:25", "[::1", "h\r\n:25"] {
            assert!(split_address(bad).is_err(), "{bad:?}");
        }
    }
}
