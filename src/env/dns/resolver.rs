//! hickory-resolver behind one function: a question out, records or a reason back. It keeps no cache of its own.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{
    ConnectionConfig, NameServerConfig, ProtocolConfig, ResolveHosts, ResolverConfig, ResolverOpts,
};
use hickory_resolver::lookup::Lookup;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError as Semantic, NetError};
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::{Name, RData, RecordType};

use super::answer::{Answer, Kind, Question, Records};
use super::{Mx, SetupError};
use crate::mail::Span;

/// A negative answer without SOA gives no lifetime; a minute spares the servers and hides little.
const NEGATIVE_DEFAULT: Duration = Duration::from_secs(60);
/// Records of one answer beyond this are dropped: no check needs more, and an answer may hold thousands.
const MOST_RECORDS: usize = 500;

/// What came back.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fetched {
    pub answer: Answer,
    pub ttl: Duration,
    /// A server answered, be it with an error.
    pub reached: bool,
}

impl Fetched {
    /// Nobody answered in time.
    pub fn silence() -> Self {
        Self { answer: Answer::Failed("timed out".into()), ttl: Duration::ZERO, reached: false }
    }
}

#[derive(Clone)]
pub struct Resolver(TokioResolver);

impl std::fmt::Debug for Resolver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Resolver")
    }
}

impl Resolver {
    pub fn new(servers: &[SocketAddr], timeout: Span) -> Result<Self, SetupError> {
        let mut builder = if servers.is_empty() {
            TokioResolver::builder_tokio().map_err(|error| SetupError(error.to_string()))?
        } else {
            let servers = servers.iter().map(|address| server(*address)).collect();
            let config = ResolverConfig::from_parts(None, Vec::new(), servers);
            TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
        };
        tune(builder.options_mut(), timeout);
        builder.build().map(Self).map_err(|error| SetupError(error.to_string()))
    }

    pub async fn look_up(&self, question: &Question) -> Fetched {
        let Some(name) = wire_name(&question.name) else {
            return Fetched { answer: Answer::NoSuchName, ttl: NEGATIVE_DEFAULT, reached: true };
        };
        match self.0.lookup(name, record_type(question.kind)).await {
            Ok(lookup) => found(question.kind, &lookup),
            Err(error) => missing(&error),
        }
    }
}

pub(super) fn server(address: SocketAddr) -> NameServerConfig {
    let connection = |protocol| {
        let mut connection = ConnectionConfig::new(protocol);
        connection.port = address.port();
        connection
    };
    let connections = vec![connection(ProtocolConfig::Udp), connection(ProtocolConfig::Tcp)];
    NameServerConfig::new(address.ip(), true, connections)
}

pub(super) fn tune(options: &mut ResolverOpts, timeout: Span) {
    // Two tries inside the time of one look-up.
    options.timeout = timeout.as_std() / 2;
    options.attempts = 1;
    options.cache_size = 0;
    options.use_hosts_file = ResolveHosts::Never;
    options.max_active_requests = 1024;
}

/// The labels as octets, so that a name from a macro or a header is never read as an escape.
pub(super) fn wire_name(name: &str) -> Option<Name> {
    Name::from_labels(name.split('.').map(str::as_bytes)).ok()
}

pub(super) const fn record_type(kind: Kind) -> RecordType {
    match kind {
        Kind::A => RecordType::A,
        Kind::Aaaa => RecordType::AAAA,
        Kind::Mx => RecordType::MX,
        Kind::Ptr => RecordType::PTR,
        Kind::Tlsa => RecordType::TLSA,
        Kind::Txt => RecordType::TXT,
    }
}

fn found(kind: Kind, lookup: &Lookup) -> Fetched {
    let data = || lookup.answers().iter().map(|record| &record.data).take(MOST_RECORDS);
    let records = match kind {
        Kind::A => Records::V4(data().filter_map(|d| if let RData::A(a) = d { Some(a.0) } else { None }).collect()),
        Kind::Aaaa => {
            Records::V6(data().filter_map(|d| if let RData::AAAA(a) = d { Some(a.0) } else { None }).collect())
        }
        Kind::Mx => Records::Exchanges(exchanges(data())),
        Kind::Ptr => Records::Names(
            data().filter_map(|d| if let RData::PTR(p) = d { Some(plain(&p.0)) } else { None }).collect(),
        ),
        Kind::Tlsa => Records::Octets(data().filter_map(tlsa).collect()),
        Kind::Txt => Records::Texts(data().filter_map(text).collect()),
    };
    let ttl = lookup.valid_until().saturating_duration_since(Instant::now());
    let empty = match &records {
        Records::V4(list) => list.is_empty(),
        Records::V6(list) => list.is_empty(),
        Records::Exchanges(list) => list.is_empty(),
        Records::Names(list) | Records::Texts(list) => list.is_empty(),
        Records::Octets(list) => list.is_empty(),
    };
    let answer = if empty { Answer::NoRecords } else { Answer::Records(records) };
    Fetched { answer, ttl, reached: true }
}

fn exchanges<'a>(data: impl Iterator<Item = &'a RData>) -> std::sync::Arc<[Mx]> {
    let mut list: Vec<Mx> = data
        .filter_map(|d| if let RData::MX(mx) = d { Some(mx) } else { None })
        .map(|mx| Mx { preference: mx.preference, host: plain(&mx.exchange) })
        .collect();
    list.sort_by_key(|mx| mx.preference);
    list.into()
}

fn text(data: &RData) -> Option<String> {
    let RData::TXT(txt) = data else { return None };
    Some(String::from_utf8_lossy(&txt.txt_data.concat()).into_owned())
}

pub(super) fn tlsa(data: &RData) -> Option<Vec<u8>> {
    let RData::TLSA(tlsa) = data else { return None };
    let mut octets = vec![tlsa.cert_usage.into(), tlsa.selector.into(), tlsa.matching.into()];
    octets.extend_from_slice(&tlsa.cert_data);
    Some(octets)
}

/// Lower case, no trailing dot; the root is empty.
pub(super) fn plain(name: &Name) -> String {
    let mut text = name.to_ascii().to_ascii_lowercase();
    if text.ends_with('.') {
        text.pop();
    }
    text
}

fn missing(error: &NetError) -> Fetched {
    if let NetError::Dns(Semantic::NoRecordsFound(none)) = error {
        let ttl = none.negative_ttl.map_or(NEGATIVE_DEFAULT, |ttl| Duration::from_secs(u64::from(ttl)));
        let answer = match none.response_code {
            ResponseCode::NXDomain => Answer::NoSuchName,
            ResponseCode::NoError => Answer::NoRecords,
            code => Answer::Failed(code.to_str().into()),
        };
        return Fetched { answer, ttl, reached: true };
    }
    let reached = matches!(error, NetError::Dns(_));
    let why = match error {
        NetError::Timeout => "timed out".to_owned(),
        other => other.to_string(),
    };
    Fetched { answer: Answer::Failed(why.into()), ttl: Duration::ZERO, reached }
}
