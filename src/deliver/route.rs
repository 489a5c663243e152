//! Recipient to next hops, in order: an agency's own servers, the smart host, or the Internet by MX
//! (RFC 5321 §5.1, RFC 7505). Pure: DNS answers come in.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use super::pin::KeyPin;
use super::profile::Traits;
use super::seal::SealKeys;
use super::settings::{self, Delivery, NextHop, Profile, TlsMode};
use crate::env::dns::{DnsError, Mx};
use crate::mail::{AgencyId, Destination, Domain, Language, Reply};

/// Of a domain's mail exchangers this many are tried: a hostile zone must not make work without end.
const EXCHANGERS: usize = 10;

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
}

impl Hop {
    /// From the configuration; the error is a sentence for the operator.
    pub fn build(hop: &NextHop) -> Result<Self, String> {
        let (host, port) = split_address(&hop.address)?;
        let NextHop { profile, tls, tls_legacy, delivery, live_recipients, .. } = *hop;
        let tls_pins = hop.tls_pins.clone();
        Ok(Self { host, port, profile, tls, tls_pins, tls_legacy, delivery, live_recipients, internet: false })
    }

    /// A mail exchanger or its address: TLS where it is offered, in clear where not (RFC 7435).
    #[must_use]
    pub fn exchanger(host: &str, port: u16) -> Self {
        Self {
            host: host.to_owned(),
            port,
            profile: Profile::Generic,
            tls: TlsMode::Opportunistic,
            tls_pins: Vec::new(),
            tls_legacy: None,
            delivery: Delivery::Queued,
            live_recipients: false,
            internet: true,
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

/// The names to try for a domain, in order, from the answer to its MX query; or the reply that settles it.
/// `draw(n)` gives a number in `0..n`: exchangers of one preference take turns (RFC 5321 §5.1).
pub fn exchangers(
    domain: &Domain,
    answer: Result<Vec<Mx>, DnsError>,
    own_name: &str,
    mut draw: impl FnMut(u64) -> u64,
) -> Result<Vec<String>, Reply> {
    let mut list = match answer {
        Ok(list) if list.is_empty() => return Ok(vec![domain.to_string()]),
        Ok(list) => list,
        // RFC 5321 §5.1: no MX, then the domain itself is its exchanger.
        Err(DnsError::NoRecords(_)) => return Ok(vec![domain.to_string()]),
        Err(DnsError::NoSuchName(_)) => return Err(Reply::new(550, "5.1.2", "The recipient's domain does not exist")),
        Err(error) => return Err(Reply::new(451, "4.4.3", error.to_string())),
    };
    for mx in &mut list {
        mx.host = mx.host.trim_end_matches('.').to_ascii_lowercase();
    }
    // RFC 7505 §3: a lone "." says that the domain takes no mail.
    if list.iter().all(|mx| mx.host.is_empty()) {
        return Err(Reply::new(556, "5.1.10", "The recipient's domain takes no mail (null MX)"));
    }
    list.retain(|mx| Domain::parse(&mx.host).is_ok());
    // RFC 5321 §5.1: ourselves and everything behind us is left out, or mail would go in a circle.
    if let Some(ours) = list.iter().filter(|mx| mx.host.eq_ignore_ascii_case(own_name)).map(|mx| mx.preference).min() {
        list.retain(|mx| mx.preference < ours);
        if list.is_empty() {
            return Err(Reply::new(554, "5.4.6", "Mail for this domain leads back to this server"));
        }
    }
    if list.is_empty() {
        return Err(Reply::new(550, "5.4.4", "The recipient's domain names no usable mail server"));
    }
    let mut keyed: Vec<(u16, u64, String)> =
        list.into_iter().map(|mx| (mx.preference, draw(u64::MAX), mx.host)).collect();
    keyed.sort();
    keyed.dedup_by(|a, b| a.2 == b.2);
    Ok(keyed.into_iter().map(|(_, _, host)| host).take(EXCHANGERS).collect())
}

/// Addresses of the Internet that an exchanger may have. A zone that points at this machine makes no circle
/// and reaches no service of ours; tests use another port, and then loopback is what they mean.
#[must_use]
pub fn usable(addresses: Vec<IpAddr>, port: u16) -> Vec<IpAddr> {
    let inside = |a: &IpAddr| a.is_loopback() || a.is_unspecified() || a.is_multicast();
    addresses.into_iter().filter(|a| port != 25 || !inside(a)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mx(preference: u16, host: &str) -> Mx {
        Mx { preference, host: host.to_owned() }
    }
    fn order(list: Vec<Mx>) -> Result<Vec<String>, Reply> {
        exchangers(&Domain::parse("x.vn").unwrap(), Ok(list), "mx1.tinh.gov.vn", |_| 0)
    }

    #[test]
    fn rfc5321_5_1_lower_preference_first_and_ties_are_drawn() {
        assert_eq!(order(vec![mx(20, "b.vn"), mx(10, "A.vn.")]).unwrap(), ["a.vn", "b.vn"]);
        let tie = |first: u64| {
            let mut draws = [first, 5].into_iter();
            let list = vec![mx(10, "a.vn"), mx(10, "b.vn")];
            exchangers(&Domain::parse("x.vn").unwrap(), Ok(list), "me", |_| draws.next().unwrap()).unwrap()
        };
        assert_eq!(tie(1), ["a.vn", "b.vn"]);
        assert_eq!(tie(9), ["b.vn", "a.vn"]);
    }

    #[test]
    fn rfc5321_5_1_without_mx_the_domain_is_its_own_exchanger() {
        let domain = Domain::parse("x.vn").unwrap();
        let none = Err(DnsError::NoRecords("x.vn".to_owned()));
        assert_eq!(exchangers(&domain, none, "me", |_| 0).unwrap(), ["x.vn"]);
    }

    #[test]
    fn rfc7505_a_null_mx_is_a_refusal() {
        for host in ["", "."] {
            let refused = order(vec![mx(0, host)]).unwrap_err();
            assert_eq!((refused.is_permanent(), refused.enhanced()), (true, "5.1.10"));
        }
    }

    #[test]
    fn rfc5321_5_1_mail_never_comes_back_to_us() {
        assert_eq!(order(vec![mx(5, "a.vn"), mx(10, "MX1.tinh.gov.vn"), mx(20, "b.vn")]).unwrap(), ["a.vn"]);
        assert_eq!(order(vec![mx(10, "mx1.tinh.gov.vn"), mx(10, "b.vn")]).unwrap_err().enhanced(), "5.4.6");
        let inside: Vec<IpAddr> = vec!["127.0.0.1".parse().unwrap(), "192.0.2.1".parse().unwrap()];
        assert_eq!(usable(inside.clone(), 25).len(), 1);
        assert_eq!(usable(inside, 2525).len(), 2);
    }

    #[test]
    fn what_dns_does_not_know_is_tried_again() {
        let domain = Domain::parse("x.vn").unwrap();
        let failed = Err(DnsError::Failed("x.vn".to_owned(), "timeout".to_owned()));
        assert!(exchangers(&domain, failed, "me", |_| 0).unwrap_err().is_temporary());
        let gone = Err(DnsError::NoSuchName("x.vn".to_owned()));
        assert!(exchangers(&domain, gone, "me", |_| 0).unwrap_err().is_permanent());
    }

    #[test]
    fn a_hostile_zone_makes_bounded_work() {
        let many = (0..500).map(|i| mx(i, &format!("h{i}.vn"))).collect();
        assert_eq!(order(many).unwrap().len(), EXCHANGERS);
        assert_eq!(order(vec![mx(1, "a b\r\n"), mx(2, "b.vn")]).unwrap(), ["b.vn"]);
    }

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
