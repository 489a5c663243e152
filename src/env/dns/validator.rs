//! The second resolver: it validates DNSSEC itself and says of every answer whether it is proven (RFC 4035). Outgoing
//! mail asks it for exchangers and TLSA records; nothing else needs it.
//!
//! Three results are told apart, because DANE rests on the difference (RFC 7672 §2.1): *secure* (a chain of signatures
//! from a trust anchor), *insecure* (proven to be unsigned), and *bogus* (it should be signed and is not, or wrongly),
//! which is a failure like a server's silence. No answer stands in past its time: a stale pin proves nothing.
//!
//! Many forwarders strip signatures; behind one every name in the world is bogus. [`Wanted::Auto`] therefore asks for
//! the root's own SOA first and validates only where that can be proven.

use std::path::PathBuf;
use std::sync::atomic::{AtomicI8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hickory_resolver::config::{ResolverConfig, ResolverOpts};
use hickory_resolver::lookup::Lookup;
use hickory_resolver::net::dnssec::DnssecDnsHandle;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::xfer::{DnsHandle, FirstAnswer};
use hickory_resolver::net::{DnsError as Semantic, NetError};
use hickory_resolver::proto::dnssec::{Proof, TrustAnchors};
use hickory_resolver::proto::op::{DnsRequestOptions, Query, ResponseCode};
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use hickory_resolver::system_conf::read_system_conf;
use hickory_resolver::{NameServerPool, PoolContext, TlsConfig, TokioResolver};
use moka::future::Cache as Store;
use tokio::time::Instant;

use super::answer::{Kind, Question};
use super::resolver::{plain, record_type, server, tlsa, tune, wire_name};
use super::{DnsError, Mx, Options, SetupError, wildcard};

/// A validated answer takes several questions: signatures, keys and delegations up to the root.
const QUESTIONS: u32 = 5;
const FLOOR: Duration = Duration::from_secs(5);
const CEILING: Duration = Duration::from_secs(3600);
const NEGATIVE: Duration = Duration::from_secs(60);
const FAILURE: Duration = Duration::from_secs(10);
/// Records of one answer beyond this are dropped.
const MOST_RECORDS: usize = 200;
/// TLSA records of one server beyond this are not looked at.
const MOST_PINS: usize = 32;
/// Answers kept; outgoing mail of a province meets a few thousand names a day.
const ANSWERS: u64 = 20_000;
/// How long a finding that signatures do not come through stands before it is tried again.
const AGAIN: Duration = Duration::from_secs(600);

/// Whether answers are validated.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Wanted {
    /// As soon as the servers have shown that they pass signatures on; from then on always.
    #[default]
    Auto,
    /// Always: behind servers that strip signatures no mail leaves.
    Required,
}

/// An answer, and whether DNSSEC proves it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Proven<T> {
    pub value: T,
    pub secure: bool,
}

/// What is published about the certificate of a mail server (RFC 7672 §2.2).
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Pins {
    /// Nothing that is proven: DANE does not apply.
    None,
    /// Proven TLSA records, usable or not, as data; and the name under which they stand.
    Records { base: String, records: Vec<Vec<u8>> },
}

/// Handle on the validating resolver; cheap to clone.
#[derive(Clone, Debug)]
pub struct Validator(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    resolver: Inner,
    cache: Store<Question, Entry>,
    patience: Duration,
    wanted: Wanted,
    /// 1: signatures come through; -1: they do not; 0: not known.
    usable: AtomicI8,
    asked: Mutex<Option<Instant>>,
}

struct Inner {
    resolver: TokioResolver,
    /// The same without the last layer, which keeps what was wrong with a bogus answer to itself.
    raw: DnssecDnsHandle<NameServerPool<TokioRuntimeProvider>>,
}

impl Inner {
    /// A second look at an answer that was found bogus: see [`wildcard`].
    async fn by_wildcard(&self, name: Name, kind: RecordType) -> Option<Vec<Record>> {
        let mut options = DnsRequestOptions::default();
        options.edns_set_dnssec_ok = true;
        match self.raw.lookup(Query::query(name, kind), options).first_answer().await {
            Err(NetError::Dns(Semantic::Nsec { query, response, .. })) if wildcard::holds(&query, &response) => {
                Some(response.answers.clone())
            }
            _ => None,
        }
    }
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Inner")
    }
}

/// One record of an answer.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Item {
    owner: String,
    data: Datum,
    secure: bool,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Datum {
    Alias,
    Address,
    Exchange(Mx),
    Pin(Vec<u8>),
    Other,
}

impl Item {
    fn exchange(&self) -> Option<Mx> {
        if let Datum::Exchange(mx) = &self.data { Some(mx.clone()) } else { None }
    }
    fn pin(&self) -> Option<Vec<u8>> {
        if let Datum::Pin(data) = &self.data { Some(data.clone()) } else { None }
    }
}

#[derive(Clone, Debug)]
struct Entry {
    answer: Result<Arc<[Item]>, DnsError>,
    /// Of a negative answer: whether the denial is proven.
    denied: bool,
    until: Instant,
}

impl Validator {
    /// `anchors`: a file of DNSKEY records in zone-file form; `None`: the root's keys, which the resolver's library
    /// brings along.
    pub fn new(options: &Options, wanted: Wanted, anchors: Option<PathBuf>) -> Result<Self, SetupError> {
        let anchors = match anchors {
            None => TrustAnchors::default(),
            Some(file) => TrustAnchors::from_file(&file)
                .map_err(|error| SetupError(format!("trust anchors in {}: {error}", file.display())))?,
        };
        let (config, mut opts) = if options.servers.is_empty() {
            read_system_conf().map_err(setup)?
        } else {
            let servers = options.servers.iter().map(|address| server(*address)).collect();
            (ResolverConfig::from_parts(None, Vec::new(), servers), ResolverOpts::default())
        };
        tune(&mut opts, options.timeout);
        // The proof of an alias counts too, so it must be seen.
        opts.preserve_intermediates = true;
        let (anchors, provider) = (Arc::new(anchors), TokioRuntimeProvider::default());
        let context = Arc::new(PoolContext::new(opts.clone(), TlsConfig::new().map_err(setup)?));
        let pool = NameServerPool::from_config(config.name_servers.clone(), context, provider.clone());
        let raw = DnssecDnsHandle::with_trust_anchor(pool, Arc::clone(&anchors));
        let builder = TokioResolver::builder_with_config(config, provider).with_options(opts);
        let resolver = builder.with_trust_anchor(anchors).build().map_err(setup)?;
        let resolver = Inner { resolver, raw };
        Ok(Self(Arc::new(Shared {
            resolver,
            cache: Store::builder().max_capacity(ANSWERS).time_to_live(CEILING).build(),
            patience: options.timeout.as_std().saturating_mul(QUESTIONS),
            wanted,
            usable: AtomicI8::new(0),
            asked: Mutex::new(None),
        })))
    }

    /// Whether answers of this resolver are to be used now. Where that is to be found out, it is.
    pub async fn is_usable(&self) -> bool {
        let shared = &self.0;
        if shared.wanted == Wanted::Required || shared.usable.load(Ordering::Relaxed) > 0 {
            return true;
        }
        let now = Instant::now();
        {
            let mut asked = shared.asked.lock().unwrap_or_else(PoisonError::into_inner);
            if asked.is_some_and(|last| now < last + AGAIN) {
                return false;
            }
            *asked = Some(now);
        }
        match tokio::time::timeout(shared.patience, shared.resolver.resolver.lookup(Name::root(), RecordType::SOA))
            .await
        {
            Ok(Ok(lookup)) if is_proven(&lookup) => {
                shared.usable.store(1, Ordering::Relaxed);
                tracing::info!("DNSSEC: signatures come through, answers for outgoing mail are validated");
                true
            }
            Ok(answer) => {
                let seen = answer.map_or_else(|error| error.to_string(), |_| "unsigned".to_owned());
                shared.usable.store(-1, Ordering::Relaxed);
                tracing::warn!(root = %seen, "DNSSEC: the name servers do not pass signatures on, DANE is off");
                false
            }
            Err(_) => {
                // Silence says nothing: it is asked again with the next message.
                *shared.asked.lock().unwrap_or_else(PoisonError::into_inner) = None;
                false
            }
        }
    }

    /// 1 when answers are validated, 0 when signatures do not come through or it is not known yet.
    #[must_use]
    pub fn gauge(&self) -> i64 {
        i64::from(self.0.wanted == Wanted::Required || self.0.usable.load(Ordering::Relaxed) > 0)
    }

    /// Drops every cached answer.
    pub fn forget(&self) {
        self.0.cache.invalidate_all();
    }

    /// Mail exchangers, sorted by preference. `Ok` with an empty list: there is none, and `secure` says whether that is
    /// proven.
    pub async fn mx(&self, name: &str) -> Result<Proven<Vec<Mx>>, DnsError> {
        let entry = self.ask(Kind::Mx, name).await;
        match entry.answer {
            Ok(items) => {
                let mut value: Vec<Mx> = items.iter().filter_map(Item::exchange).collect();
                value.sort();
                Ok(Proven { value, secure: all_secure(&items) })
            }
            Err(DnsError::NoRecords(_)) => Ok(Proven { value: Vec::new(), secure: entry.denied }),
            Err(error) => Err(error),
        }
    }

    /// A and AAAA together.
    async fn both(&self, name: &str) -> Result<Vec<Item>, DnsError> {
        let (four, six) = tokio::join!(self.ask(Kind::A, name), self.ask(Kind::Aaaa, name));
        match (four.answer, six.answer) {
            (Ok(a), Ok(b)) => Ok(a.iter().chain(b.iter()).cloned().collect()),
            // RFC 7672 §2.1.1: half an answer hides the other half; but an address is an address.
            (Ok(found), Err(_)) | (Err(_), Ok(found)) => Ok(found.to_vec()),
            (Err(error), Err(_)) if !error.is_void() => Err(error),
            (Err(_), Err(error)) => Err(error),
        }
    }

    /// What is published for the certificate of `host` at `port`. An error means that it could not be found out, and
    /// then mail must not go there (RFC 7672 §2.1.2). Asked only where the addresses are proven (§2.2.2).
    pub async fn pins(&self, host: &str, port: u16) -> Result<Pins, DnsError> {
        let items = match self.both(host).await {
            Ok(items) => items,
            Err(error) if error.is_void() => return Ok(Pins::None),
            Err(error) => return Err(error),
        };
        for base in bases(host, &items) {
            let entry = self.ask(Kind::Tlsa, &format!("_{port}._tcp.{base}")).await;
            match entry.answer {
                Ok(items) if all_secure(&items) => {
                    let records: Vec<Vec<u8>> = items.iter().filter_map(Item::pin).take(MOST_PINS).collect();
                    if !records.is_empty() {
                        return Ok(Pins::Records { base, records });
                    }
                }
                Ok(_) => {}
                Err(error) if error.is_void() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Pins::None)
    }

    async fn ask(&self, kind: Kind, name: &str) -> Entry {
        let none = || Entry {
            answer: Err(DnsError::NoSuchName(name.to_owned())),
            denied: false,
            until: Instant::now() + NEGATIVE,
        };
        let Some(question) = Question::new(kind, name) else { return none() };
        let Some(wire) = wire_name(&question.name) else { return none() };
        let shared = &self.0;
        let fetch = async {
            let looked = shared.resolver.resolver.lookup(wire.clone(), record_type(kind));
            match tokio::time::timeout(shared.patience, looked).await {
                Ok(Ok(lookup)) => found(name, lookup.answers()),
                Ok(Err(error @ NetError::Dns(Semantic::DnssecBogus))) => {
                    let second = shared.resolver.by_wildcard(wire, record_type(kind));
                    let second = tokio::time::timeout(shared.patience, second).await.ok().flatten();
                    second.map_or_else(|| missing(name, &error), |answers| found(name, &answers))
                }
                Ok(Err(error)) => missing(name, &error),
                Err(_) => failed(name, "timed out"),
            }
        };
        let outdated = |entry: &Entry| entry.until <= Instant::now();
        shared.cache.entry_by_ref(&question).or_insert_with_if(fetch, outdated).await.into_value()
    }
}

/// Under which names TLSA records may stand (RFC 7672 §2.2.2): the name at the end of proven aliases first, then the name
/// as it stands in the MX. None of them when nothing is proven.
fn bases(host: &str, items: &[Item]) -> Vec<String> {
    let own = host.trim_end_matches('.').to_ascii_lowercase();
    let mut bases = Vec::new();
    if all_secure(items) {
        bases.extend(items.iter().find(|item| item.data == Datum::Address).map(|item| item.owner.clone()));
    }
    let mut mine = items.iter().filter(|item| item.owner == own).peekable();
    if mine.peek().is_some() && mine.all(|item| item.secure) && !bases.contains(&own) {
        bases.push(own);
    }
    bases
}

fn setup(error: impl std::fmt::Display) -> SetupError {
    SetupError(error.to_string())
}

fn all_secure(items: &[Item]) -> bool {
    !items.is_empty() && items.iter().all(|item| item.secure)
}

fn is_proven(lookup: &Lookup) -> bool {
    let mut records = lookup.answers().iter().filter(|r| r.record_type() == RecordType::SOA).peekable();
    records.peek().is_some() && records.all(|r| r.proof == Proof::Secure)
}

fn found(name: &str, answers: &[Record]) -> Entry {
    let signature = |data: &RData| matches!(data, RData::DNSSEC(_));
    let records = answers.iter().filter(|r| !signature(&r.data)).take(MOST_RECORDS);
    let items: Arc<[Item]> = records
        .map(|record| Item {
            owner: plain(&record.name),
            data: match &record.data {
                RData::A(_) | RData::AAAA(_) => Datum::Address,
                RData::MX(mx) => Datum::Exchange(Mx { preference: mx.preference, host: plain(&mx.exchange) }),
                RData::CNAME(_) => Datum::Alias,
                data => tlsa(data).map_or(Datum::Other, Datum::Pin),
            },
            secure: record.proof == Proof::Secure,
        })
        .collect();
    let ttl = answers.iter().map(|record| record.ttl).min().unwrap_or_default();
    let ttl = Duration::from_secs(u64::from(ttl)).clamp(FLOOR, CEILING);
    if items.iter().all(|item| matches!(item.data, Datum::Alias | Datum::Other)) {
        let answer = Err(DnsError::NoRecords(name.to_owned()));
        return Entry { answer, denied: false, until: Instant::now() + NEGATIVE };
    }
    Entry { answer: Ok(items), denied: false, until: Instant::now() + ttl }
}

fn failed(name: &str, why: &str) -> Entry {
    let answer = Err(DnsError::Failed(name.to_owned(), why.to_owned()));
    Entry { answer, denied: false, until: Instant::now() + FAILURE }
}

fn missing(name: &str, error: &NetError) -> Entry {
    let (code, denied) = match error {
        NetError::Dns(Semantic::NoRecordsFound(none)) => {
            let mut proofs =
                none.authorities.iter().flat_map(|a| a.iter()).filter(|r| r.record_type() == RecordType::SOA);
            (none.response_code, proofs.any(|soa| soa.proof == Proof::Secure))
        }
        // Unsigned as the parent proves, or beyond the limits that NSEC3 has: there is nothing, and no proof of it.
        NetError::Dns(Semantic::Nsec { response, proof, .. }) if *proof == Proof::Insecure => {
            (response.response_code, false)
        }
        NetError::Dns(Semantic::Nsec { .. } | Semantic::DnssecBogus) => {
            return failed(name, "DNSSEC: the answer is bogus");
        }
        NetError::Timeout => return failed(name, "timed out"),
        other => return failed(name, &other.to_string()),
    };
    let answer = match code {
        ResponseCode::NXDomain => Err(DnsError::NoSuchName(name.to_owned())),
        ResponseCode::NoError => Err(DnsError::NoRecords(name.to_owned())),
        code => return failed(name, code.to_str()),
    };
    Entry { answer, denied, until: Instant::now() + NEGATIVE }
}
