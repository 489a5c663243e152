//! A zone held in memory and a small authoritative server for it on loopback: what `luytre demo` and the tests ask
//! instead of the world. UDP with truncation and TCP, so that the resolver is exercised as it is (RFC 1035 §4.2).

mod server;

use std::collections::HashMap;
use std::net::{Ipv4Addr, Ipv6Addr};

use serde_json::Value;

pub use server::Server;

/// Record data. Names are in lower case without trailing dot.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Data {
    A(Ipv4Addr),
    Aaaa(Ipv6Addr),
    Mx(u16, String),
    /// The character-strings, each cut at 255 octets when sent.
    Txt(Vec<String>),
    Ptr(String),
    Cname(String),
    /// Usage, selector, matching type, association (RFC 6698 §2.1).
    Tlsa(u8, u8, u8, Vec<u8>),
    /// The record type 99 that RFC 7208 §3.1 abolished: kept to prove that nobody asks for it.
    Spf(String),
}

/// What goes wrong instead of an answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Trouble {
    /// RCODE 2.
    ServFail,
    /// No answer at all.
    Timeout,
}

/// Why a zone file was refused.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ZoneError {
    #[error("the zone is not JSON: {0}")]
    Json(String),
    #[error("zone entry {0}: {1}")]
    Entry(String, String),
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Node {
    records: Vec<Data>,
    /// For every type without records here.
    trouble: Option<Trouble>,
}

/// Names and their records. A name that is not listed does not exist (NXDOMAIN); one that is listed has no data for
/// types it does not name (NODATA).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Zone {
    names: HashMap<String, Node>,
}

/// What the zone says to a question.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Said<'a> {
    Records(Vec<(&'a str, &'a Data)>),
    NoRecords,
    NoSuchName,
    Trouble(Trouble),
}

impl Zone {
    /// Reads `{"names": {"a.example": {"A": ["192.0.2.1"], "MX": [[10, "mx.example"]], "TXT": ["..."],
    /// "rcode": "SERVFAIL"}}}`. `TXT` entries may be lists of strings; `rcode` is `SERVFAIL` or `TIMEOUT` and stands for
    /// every type not given beside it. `TLSA` is `[usage, selector, matching, "hex"]`.
    pub fn from_json(text: &str) -> Result<Self, ZoneError> {
        let root: Value = serde_json::from_str(text).map_err(|error| ZoneError::Json(error.to_string()))?;
        let names = root.get("names").and_then(Value::as_object);
        let names = names.ok_or_else(|| ZoneError::Json("there is no object \"names\"".to_owned()))?;
        let mut zone = Self::default();
        for (name, types) in names {
            let fail = |what: String| ZoneError::Entry(name.clone(), what);
            let types = types.as_object().ok_or_else(|| fail("is not an object".to_owned()))?;
            zone.touch(name);
            for (kind, values) in types {
                if kind == "rcode" {
                    zone.trouble(name, rcode(values).ok_or_else(|| fail(format!("unknown rcode {values}")))?);
                    continue;
                }
                let one = [values.clone()];
                let list = values.as_array().map_or(&one[..], Vec::as_slice);
                for value in list {
                    let data = data(kind, value).ok_or_else(|| fail(format!("{kind} {value} cannot be read")))?;
                    zone.add(name, data);
                }
            }
        }
        Ok(zone)
    }

    pub fn add(&mut self, name: &str, data: Data) {
        self.touch(name).records.push(data);
    }

    /// A TXT record of one text.
    pub fn add_text(&mut self, name: &str, text: &str) {
        self.add(name, Data::Txt(vec![text.to_owned()]));
    }

    /// What happens to questions for types that have no record at this name.
    pub fn trouble(&mut self, name: &str, trouble: Trouble) {
        self.touch(name).trouble = Some(trouble);
    }

    /// Makes the name exist, with or without records.
    fn touch(&mut self, name: &str) -> &mut Node {
        self.names.entry(plain(name)).or_default()
    }

    /// Follows CNAMEs inside the zone, eight at most.
    fn answer(&self, name: &str, wanted: impl Fn(&Data) -> bool) -> Said<'_> {
        let (mut found, mut at) = (Vec::new(), plain(name));
        for _ in 0..8 {
            let Some((owner, node)) = self.names.get_key_value(&at) else {
                return if found.is_empty() { Said::NoSuchName } else { Said::Records(found) };
            };
            let before = found.len();
            found.extend(node.records.iter().filter(|data| wanted(data)).map(|data| (owner.as_str(), data)));
            if found.len() > before {
                return Said::Records(found);
            }
            let alias = node.records.iter().find_map(|data| match data {
                Data::Cname(target) => Some((data, target)),
                _ => None,
            });
            match (alias, node.trouble) {
                (Some((data, target)), _) => {
                    found.push((owner, data));
                    at = plain(target);
                }
                (None, Some(trouble)) => return Said::Trouble(trouble),
                (None, None) if found.is_empty() => return Said::NoRecords,
                (None, None) => return Said::Records(found),
            }
        }
        Said::Records(found)
    }
}

fn plain(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

fn rcode(value: &Value) -> Option<Trouble> {
    match value.as_str()? {
        "SERVFAIL" => Some(Trouble::ServFail),
        "TIMEOUT" => Some(Trouble::Timeout),
        _ => None,
    }
}

fn data(kind: &str, value: &Value) -> Option<Data> {
    let text = || value.as_str();
    Some(match kind {
        "A" => Data::A(text()?.parse().ok()?),
        "AAAA" => Data::Aaaa(text()?.parse().ok()?),
        "MX" => Data::Mx(u16::try_from(value.get(0)?.as_u64()?).ok()?, plain(value.get(1)?.as_str()?)),
        "TXT" => Data::Txt(match value.as_array() {
            Some(parts) => parts.iter().map(|part| part.as_str().map(str::to_owned)).collect::<Option<_>>()?,
            None => vec![text()?.to_owned()],
        }),
        "PTR" => Data::Ptr(plain(text()?)),
        "CNAME" => Data::Cname(plain(text()?)),
        "SPF" => Data::Spf(text()?.to_owned()),
        "TLSA" => {
            let number = |i: usize| value.get(i).and_then(Value::as_u64).and_then(|n| u8::try_from(n).ok());
            Data::Tlsa(number(0)?, number(1)?, number(2)?, unhex(value.get(3)?.as_str()?)?)
        }
        _ => return None,
    })
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> =
        text.chars().map(|c| c.to_digit(16).and_then(|d| u8::try_from(d).ok())).collect::<Option<_>>()?;
    digits.chunks(2).map(|pair| if let [high, low] = pair { Some(high << 4 | low) } else { None }).collect()
}
