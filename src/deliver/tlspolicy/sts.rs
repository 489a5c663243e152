//! MTA-STS (RFC 8461): the TXT record that says that there is a policy, the policy itself, and which servers it names.
//! Pure. Parsing is strict: what is not a policy is no policy, and an attacker who can garble one must not gain by it.

use serde::{Deserialize, Serialize};

use crate::mail::{Domain, Span, Timestamp};

/// RFC 8461 §3.2: the longest life of a policy, about a year.
const LONGEST: Span = Span::seconds(31_557_600);
/// Patterns of one policy; a longer list is no policy.
const PATTERNS: usize = 200;
/// A policy is fetched again after so long even when its id has not changed: its life begins anew (§10.2).
const REFRESH: Span = Span::days(1);

/// What happens when a server does not fit.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    Enforce,
    Testing,
    None,
}

/// A policy as published.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Policy {
    pub mode: Mode,
    /// Lower case: `mx.example.vn` or `*.example.vn`.
    pub mx: Vec<String>,
    pub max_age_seconds: u64,
}

/// A policy as kept, in memory and on disk.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Kept {
    pub domain: Domain,
    /// Of the TXT record under which it was fetched.
    pub id: String,
    pub fetched_at: Timestamp,
    pub policy: Policy,
}

impl Kept {
    /// Whether it is still in force.
    #[must_use]
    pub fn is_alive(&self, now: Timestamp) -> bool {
        now < self.fetched_at + Span::seconds(self.policy.max_age_seconds)
    }

    /// Whether its life should be made longer before it ends.
    #[must_use]
    pub fn is_old(&self, now: Timestamp) -> bool {
        let half = Span::seconds(self.policy.max_age_seconds / 2);
        self.fetched_at + REFRESH.min(half) <= now
    }
}

/// The id in the domain's `_mta-sts` TXT records (RFC 8461 §3.1). `None`: no record, more than one, or one that is none.
#[must_use]
pub fn record_id(texts: &[String]) -> Option<String> {
    let mut records = texts.iter().filter(|text| {
        text.strip_prefix("v=STSv1").is_some_and(|rest| rest.trim_start_matches([' ', '\t']).starts_with(';'))
    });
    let (Some(record), None) = (records.next(), records.next()) else { return None };
    let mut id = None;
    for field in record.split(';').skip(1) {
        let field = field.trim_matches([' ', '\t']);
        if field.is_empty() {
            continue;
        }
        let (name, value) = field.split_once('=')?;
        if name == "id" && id.is_none() {
            id = Some(value).filter(|v| (1..=32).contains(&v.len()) && v.bytes().all(|b| b.is_ascii_alphanumeric()));
            id?;
        }
    }
    id.map(str::to_owned)
}

impl Policy {
    /// From the body of the policy file (RFC 8461 §3.2). Of a key that stands twice the first counts, but for `mx`.
    pub fn read(body: &[u8]) -> Result<Self, &'static str> {
        let text = std::str::from_utf8(body).map_err(|_| "it is not UTF-8")?;
        let (mut version, mut mode, mut max_age, mut mx) = (None, None, None, Vec::new());
        for line in text.split('\n') {
            let line = line.strip_suffix('\r').unwrap_or(line).trim_end_matches([' ', '\t']);
            if line.is_empty() {
                continue;
            }
            let (key, value) = line.split_once(':').ok_or("a line has no \":\"")?;
            let value = value.trim_start_matches([' ', '\t']);
            match key {
                "version" => version = version.or(Some(value)),
                "mode" => mode = mode.or(Some(value)),
                "max_age" => max_age = max_age.or(Some(value)),
                "mx" => mx.push(pattern(value).ok_or("an mx pattern is no name")?),
                // §3.2: keys of later versions are passed over.
                _ => {}
            }
            if mx.len() > PATTERNS {
                return Err("it names too many servers");
            }
        }
        if version != Some("STSv1") {
            return Err("it is not of version STSv1");
        }
        let mode = match mode {
            Some("enforce") => Mode::Enforce,
            Some("testing") => Mode::Testing,
            Some("none") => Mode::None,
            _ => return Err("its mode is none that is known"),
        };
        let max_age = max_age.filter(|text| (1..=10).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit()));
        let seconds: u64 = max_age.and_then(|text| text.parse().ok()).ok_or("its max_age is no number")?;
        if mx.is_empty() && mode != Mode::None {
            return Err("it names no server");
        }
        Ok(Self { mode, mx, max_age_seconds: seconds.min(LONGEST.as_seconds()) })
    }

    /// Whether the policy names this exchanger (RFC 8461 §4.1): a star stands for exactly one label.
    #[must_use]
    pub fn names(&self, host: &str) -> bool {
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        self.mx.iter().any(|pattern| match pattern.strip_prefix("*.") {
            Some(parent) => host.split_once('.').is_some_and(|(first, rest)| !first.is_empty() && rest == parent),
            None => host == *pattern,
        })
    }

    /// The lines of the policy, as reports quote it (RFC 8460 §4.4).
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let mode = match self.mode {
            Mode::Enforce => "enforce",
            Mode::Testing => "testing",
            Mode::None => "none",
        };
        let mut lines = vec!["version: STSv1".to_owned(), format!("mode: {mode}")];
        lines.extend(self.mx.iter().map(|mx| format!("mx: {mx}")));
        lines.push(format!("max_age: {}", self.max_age_seconds));
        lines
    }
}

fn pattern(text: &str) -> Option<String> {
    let name = text.strip_prefix("*.").unwrap_or(text);
    Domain::parse(name).ok().filter(|_| name.is_ascii() && name.contains('.'))?;
    Some(text.trim_end_matches('.').to_ascii_lowercase())
}
