//! The evaluation of one check_host() with what it may still spend (RFC 7208 §4.6, §5, §6).

use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::pin::Pin;

use super::macros::{Macro, Place, Values};
use super::record::{Directive, Mechanism, Prefixes, Qualifier, Record, is_spf};
use super::{Outcome, Query};
use crate::env::Dns;
use crate::env::dns::DnsError;
use crate::inspect::AuthResult;

/// §4.6.4: terms that ask DNS.
const LOOK_UPS: u32 = 10;
/// §4.6.4: answers of "nothing there".
const VOIDS: u32 = 2;
/// §4.6.4: names of one MX or PTR answer.
const NAMES: usize = 10;
/// A pass for this many IPv4 addresses is a pass for everybody: a /8.
const OPEN_V4: u64 = 1 << 24;
/// IPv6 /16, counted in /32s.
const OPEN_V6: u64 = 1 << 16;

pub struct Evaluation<'a> {
    dns: &'a Dns,
    query: Query<'a>,
    sender: &'a str,
    look_ups: u32,
    voids: u32,
    /// Names of the client that resolve back to it; looked up once.
    validated: Option<Vec<String>>,
    /// Addresses that any pass of a record seen so far would cover.
    open_v4: u64,
    open_v6: u64,
}

/// Why an evaluation ends without a match.
enum Stop {
    Temporary(String),
    Permanent(String),
}

/// A record's verdict.
struct Host {
    result: AuthResult,
    detail: String,
    /// Matched by `all` or a network no narrower than OPEN_V4.
    open: bool,
    /// The explanation of the record that said fail, and its domain.
    exp: Option<(Macro, String)>,
}

type Verdict<'b> = Pin<Box<dyn Future<Output = Result<Option<Host>, Stop>> + Send + 'b>>;

impl<'a> Evaluation<'a> {
    pub const fn new(dns: &'a Dns, query: Query<'a>, sender: &'a str) -> Self {
        Self { dns, query, sender, look_ups: 0, voids: 0, validated: None, open_v4: 0, open_v6: 0 }
    }

    pub async fn run(mut self) -> Outcome {
        let host = match self.host(self.query.domain.to_owned()).await {
            Ok(Some(host)) => host,
            Ok(None) => return Outcome { detail: "no SPF record".to_owned(), ..Outcome::default() },
            Err(Stop::Temporary(detail)) => {
                return Outcome { result: AuthResult::TempError, detail, ..Outcome::default() };
            }
            Err(Stop::Permanent(detail)) => {
                return Outcome { result: AuthResult::PermError, detail, ..Outcome::default() };
            }
        };
        let explanation = match host.exp {
            Some((exp, domain)) => self.explain(&exp, &domain).await,
            None => None,
        };
        let wide = self.open_v4 >= OPEN_V4 || self.open_v6 >= OPEN_V6;
        let permissive = host.result == AuthResult::Pass && (host.open || wide);
        Outcome { result: host.result, detail: host.detail, explanation, permissive }
    }

    /// The record of `domain` and those it redirects to; `None` when the first has none.
    fn host(&mut self, domain: String) -> Verdict<'_> {
        Box::pin(async move {
            let Some(mut record) = self.record(&domain).await? else { return Ok(None) };
            let mut domain = domain;
            loop {
                self.measure(&record);
                for directive in &record.directives {
                    if let Some(open) = self.matches(&directive.mechanism, &domain).await? {
                        return Ok(Some(matched(directive, &record, domain, open)));
                    }
                }
                let Some(redirect) = &record.redirect else {
                    let detail = "nothing in the record matches".to_owned();
                    return Ok(Some(Host { result: AuthResult::Neutral, detail, open: false, exp: None }));
                };
                self.charge()?;
                let target = self.name(redirect, &domain).await?;
                // §6.1: a redirect to a domain without record is a permerror.
                let missing = || Stop::Permanent(format!("redirect to {target}, which has no SPF record"));
                record = self.record(&target).await?.ok_or_else(missing)?;
                domain = target;
            }
        })
    }

    /// §4.4, §4.5: the one SPF record of a domain, parsed whole.
    async fn record(&self, domain: &str) -> Result<Option<Record>, Stop> {
        let texts = match self.dns.txt(domain).await {
            Ok(texts) => texts,
            Err(error) if error.is_void() => return Ok(None),
            Err(error) => return Err(Stop::Temporary(error.to_string())),
        };
        let mut records = texts.iter().filter(|text| is_spf(text));
        let Some(text) = records.next() else { return Ok(None) };
        if records.next().is_some() {
            return Err(Stop::Permanent(format!("{domain} has more than one SPF record")));
        }
        let record = Record::parse(text);
        record.map(Some).map_err(|term| Stop::Permanent(format!("{domain}: \"{term}\" is no SPF term")))
    }

    /// Whether the mechanism matches; if so, whether it matches nearly everybody.
    async fn matches(&mut self, mechanism: &Mechanism, domain: &str) -> Result<Option<bool>, Stop> {
        let ip = self.query.ip;
        match mechanism {
            Mechanism::All => Ok(Some(true)),
            Mechanism::Ip4(net, prefix) => Ok(covers(&[IpAddr::V4(*net)], ip, both(*prefix)).then_some(*prefix <= 8)),
            Mechanism::Ip6(net, prefix) => Ok(covers(&[IpAddr::V6(*net)], ip, both(*prefix)).then_some(*prefix <= 16)),
            Mechanism::Include(spec) => {
                self.charge()?;
                let target = self.name(spec, domain).await?;
                match self.host(target.clone()).await? {
                    Some(host) => Ok((host.result == AuthResult::Pass).then_some(host.open)),
                    // §5.2: none becomes permerror.
                    None => Err(Stop::Permanent(format!("include of {target}, which has no SPF record"))),
                }
            }
            Mechanism::A(spec, prefixes) => {
                self.charge()?;
                let target = self.target(spec.as_ref(), domain).await?;
                let addresses = self.addresses(&target).await;
                Ok(covers(&self.settle(addresses)?, ip, *prefixes).then_some(is_open(ip, *prefixes)))
            }
            Mechanism::Mx(spec, prefixes) => self.mx(spec.as_ref(), *prefixes, domain).await,
            Mechanism::Ptr(spec) => {
                self.charge()?;
                let target = self.target(spec.as_ref(), domain).await?.to_ascii_lowercase();
                let names = self.validated().await?;
                Ok(names.iter().any(|name| is_within(name, &target)).then_some(false))
            }
            Mechanism::Exists(spec) => {
                self.charge()?;
                let target = self.name(spec, domain).await?;
                // §5.7: type A even for a client with IPv6.
                let found = self.dns.ipv4(&target).await;
                Ok((!self.settle(found)?.is_empty()).then_some(false))
            }
        }
    }

    async fn mx(&mut self, spec: Option<&Macro>, prefixes: Prefixes, domain: &str) -> Result<Option<bool>, Stop> {
        self.charge()?;
        let target = self.target(spec, domain).await?;
        let exchanges = self.dns.mx(&target).await;
        let exchanges = self.settle(exchanges)?;
        if exchanges.len() > NAMES {
            return Err(Stop::Permanent(format!("{target} has more than {NAMES} MX records")));
        }
        for mx in exchanges.iter().filter(|mx| !mx.host.is_empty()) {
            let addresses = match self.addresses(&mx.host).await {
                // An exchanger without address of the client's family is no void look-up, one that does not exist is.
                Err(DnsError::NoRecords(_)) => continue,
                answer => self.settle(answer)?,
            };
            if covers(&addresses, self.query.ip, prefixes) {
                return Ok(Some(is_open(self.query.ip, prefixes)));
            }
        }
        Ok(None)
    }

    /// Addresses of the client's family (§5).
    async fn addresses(&self, name: &str) -> Result<Vec<IpAddr>, DnsError> {
        match self.query.ip {
            IpAddr::V4(_) => self.dns.ipv4(name).await.map(|list| list.into_iter().map(IpAddr::V4).collect()),
            IpAddr::V6(_) => self.dns.ipv6(name).await.map(|list| list.into_iter().map(IpAddr::V6).collect()),
        }
    }

    /// §4.6.4: counts a void answer as an empty list; what is not known ends the evaluation (§5).
    fn settle<T>(&mut self, answer: Result<Vec<T>, DnsError>) -> Result<Vec<T>, Stop> {
        match answer {
            Ok(list) => Ok(list),
            Err(error) if error.is_void() => {
                self.voids += 1;
                if self.voids > VOIDS {
                    return Err(Stop::Permanent(format!("more than {VOIDS} void look-ups")));
                }
                Ok(Vec::new())
            }
            Err(error) => Err(Stop::Temporary(error.to_string())),
        }
    }

    fn charge(&mut self) -> Result<(), Stop> {
        self.look_ups += 1;
        if self.look_ups > LOOK_UPS {
            return Err(Stop::Permanent(format!("more than {LOOK_UPS} DNS look-ups")));
        }
        Ok(())
    }

    /// §5.5: names of the client whose addresses include it; what cannot be looked up is skipped.
    async fn validated(&mut self) -> Result<Vec<String>, Stop> {
        if let Some(names) = &self.validated {
            return Ok(names.clone());
        }
        let names = match self.dns.names(self.query.ip).await {
            Err(error) if !error.is_void() => Vec::new(),
            answer => self.settle(answer)?,
        };
        let mut good = Vec::new();
        for name in names.into_iter().take(NAMES) {
            if self.addresses(&name).await.is_ok_and(|list| list.contains(&self.query.ip)) {
                good.push(name.to_ascii_lowercase());
            }
        }
        self.validated = Some(good.clone());
        Ok(good)
    }

    async fn target(&mut self, spec: Option<&Macro>, domain: &str) -> Result<String, Stop> {
        match spec {
            Some(spec) => self.name(spec, domain).await,
            None => Ok(domain.to_owned()),
        }
    }

    async fn name(&mut self, spec: &Macro, domain: &str) -> Result<String, Stop> {
        let validated = self.validated_name(spec, domain).await?;
        Ok(spec.expand_name(&self.values(domain, &validated)))
    }

    /// §7.3: `%{p}`, the domain itself or a name below it where there is one.
    async fn validated_name(&mut self, spec: &Macro, domain: &str) -> Result<String, Stop> {
        let unknown = || "unknown".to_owned();
        if !spec.wants_validated_name() {
            return Ok(unknown());
        }
        let names = self.validated().await?;
        let domain = domain.to_ascii_lowercase();
        let best = names.iter().find(|name| **name == domain);
        let best = best.or_else(|| names.iter().find(|name| is_within(name, &domain))).or(names.first());
        Ok(best.cloned().unwrap_or_else(unknown))
    }

    const fn values<'v>(&'v self, domain: &'v str, validated: &'v str) -> Values<'v> {
        Values { ip: self.query.ip, helo: self.query.helo, sender: self.sender, domain, validated, now: self.query.now }
    }

    /// §6.2: an explanation that cannot be had, or is not ASCII, is no explanation. Controls never pass (THREATS A-10).
    async fn explain(&mut self, exp: &Macro, domain: &str) -> Option<String> {
        let name = self.name(exp, domain).await.ok()?;
        let texts = self.dns.txt(&name).await.ok()?;
        let [text] = texts.as_slice() else { return None };
        let explanation = Macro::parse(text, Place::Explanation)?;
        let validated = self.validated_name(&explanation, domain).await.ok()?;
        let told = explanation.expand(&self.values(domain, &validated));
        if !told.is_ascii() {
            return None;
        }
        Some(told.chars().filter(|c| !c.is_ascii_control()).take(500).collect())
    }

    /// Adds up what the passes of a record cover.
    fn measure(&mut self, record: &Record) {
        for directive in record.directives.iter().filter(|d| d.qualifier == Qualifier::Pass) {
            match directive.mechanism {
                Mechanism::Ip4(_, prefix) => {
                    self.open_v4 = self.open_v4.saturating_add(1 << (32 - u32::from(prefix.min(32))));
                }
                Mechanism::Ip6(_, prefix) if prefix <= 32 => {
                    self.open_v6 = self.open_v6.saturating_add(1 << (32 - u32::from(prefix)));
                }
                _ => {}
            }
        }
    }
}

fn matched(directive: &Directive, record: &Record, domain: String, open: bool) -> Host {
    let (result, exp) = match directive.qualifier {
        Qualifier::Pass => (AuthResult::Pass, None),
        Qualifier::Fail => (AuthResult::Fail, record.exp.clone().map(|exp| (exp, domain.clone()))),
        Qualifier::SoftFail => (AuthResult::SoftFail, None),
        Qualifier::Neutral => (AuthResult::Neutral, None),
    };
    let mechanism = match directive.mechanism {
        Mechanism::All => "all",
        Mechanism::Include(_) => "include",
        Mechanism::A(..) => "a",
        Mechanism::Mx(..) => "mx",
        Mechanism::Ptr(_) => "ptr",
        Mechanism::Ip4(..) => "ip4",
        Mechanism::Ip6(..) => "ip6",
        Mechanism::Exists(_) => "exists",
    };
    Host { result, detail: format!("{domain}: {mechanism} matches"), open, exp }
}

const fn both(prefix: u8) -> Prefixes {
    Prefixes { v4: prefix, v6: prefix }
}

const fn is_open(ip: IpAddr, prefixes: Prefixes) -> bool {
    match ip {
        IpAddr::V4(_) => prefixes.v4 <= 8,
        IpAddr::V6(_) => prefixes.v6 <= 16,
    }
}

/// Whether any of the networks holds the address; families never mix.
fn covers(networks: &[IpAddr], ip: IpAddr, prefixes: Prefixes) -> bool {
    let v4 = |net: Ipv4Addr, ip: Ipv4Addr| {
        let mask = u32::MAX.checked_shl(32 - u32::from(prefixes.v4.min(32))).unwrap_or(0);
        (net.to_bits() ^ ip.to_bits()) & mask == 0
    };
    let v6 = |net: Ipv6Addr, ip: Ipv6Addr| {
        let mask = u128::MAX.checked_shl(128 - u32::from(prefixes.v6.min(128))).unwrap_or(0);
        (net.to_bits() ^ ip.to_bits()) & mask == 0
    };
    networks.iter().any(|net| match (net, ip) {
        (IpAddr::V4(net), IpAddr::V4(ip)) => v4(*net, ip),
        (IpAddr::V6(net), IpAddr::V6(ip)) => v6(*net, ip),
        _ => false,
    })
}

fn is_within(name: &str, parent: &str) -> bool {
    name.strip_suffix(parent).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}
