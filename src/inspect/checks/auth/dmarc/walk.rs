//! The DNS tree walk of RFC 9989 §4.10: from a name up to its top-level domain, eight questions at most.

use super::record::{Psd, Record};
use crate::env::Dns;
use crate::mail::Domain;

/// §4.10 step 4: a name longer than this is cut to seven labels for the second question.
const LABELS: usize = 8;

/// The records found on the way, the name itself first.
#[derive(Clone, Debug)]
pub struct Walk {
    start: Domain,
    found: Vec<(Domain, Record)>,
    /// A question that got no answer; the walk ends there.
    pub failure: Option<String>,
}

impl Walk {
    pub async fn take(dns: &Dns, start: &Domain) -> Self {
        let mut walk = Self { start: start.clone(), found: Vec::new(), failure: None };
        let mut at = Some(start.clone());
        while let Some(domain) = at {
            match one(dns, &domain).await {
                Ok(Some(record)) => {
                    let psd = record.psd;
                    walk.found.push((domain.clone(), record));
                    // Steps 3 and 7: the record says where the organisation ends.
                    if psd != Psd::Unknown {
                        break;
                    }
                }
                Ok(None) => {}
                Err(why) => {
                    walk.failure = Some(why);
                    break;
                }
            }
            at = parent(&domain);
        }
        walk
    }

    pub fn record_at(&self, domain: &Domain) -> Option<&Record> {
        self.found.iter().find(|(at, _)| at == domain).map(|(_, record)| record)
    }

    /// §4.10.2.
    pub fn organisation(&self) -> Domain {
        if let Some((at, _)) = self.found.iter().find(|(_, record)| record.psd == Psd::No) {
            return at.clone();
        }
        if let Some((psd, _)) = self.found.iter().find(|(at, record)| record.psd == Psd::Yes && *at != self.start) {
            return one_below(&self.start, psd);
        }
        // The record with the fewest labels; the walk goes upwards, so it is the last one.
        self.found.last().map_or_else(|| self.start.clone(), |(at, _)| at.clone())
    }

    /// §4.10.1: the organisation's record, else that of the public suffix above it.
    pub fn policy_record(&self, organisation: &Domain) -> Option<(&Record, Domain)> {
        let at = |wanted: &dyn Fn(&Domain, &Record) -> bool| {
            self.found.iter().find(|(at, record)| wanted(at, record)).map(|(at, record)| (record, at.clone()))
        };
        at(&|name, _| name == organisation).or_else(|| at(&|_, record| record.psd == Psd::Yes))
    }
}

/// The one valid record at `_dmarc.<domain>`; several are none (§4.10 steps 2 and 6).
async fn one(dns: &Dns, domain: &Domain) -> Result<Option<Record>, String> {
    match dns.txt(&format!("_dmarc.{domain}")).await {
        Ok(texts) => {
            let mut records = texts.iter().filter_map(|text| Record::parse(text));
            Ok(records.next().filter(|_| records.next().is_none()))
        }
        Err(error) if error.is_void() => Ok(None),
        Err(error) => Err(error.to_string()),
    }
}

/// The next name to ask: one label less, or seven labels when there are more than that (§4.10 step 4).
fn parent(domain: &Domain) -> Option<Domain> {
    let labels = domain.as_str().split('.').count();
    let drop = if labels > LABELS { labels - (LABELS - 1) } else { 1 };
    let rest = domain.as_str().splitn(drop + 1, '.').nth(drop)?;
    Domain::parse(rest).ok()
}

/// The name one label below `parent` on the way to `name`.
fn one_below(name: &Domain, parent: &Domain) -> Domain {
    let labels = parent.as_str().split('.').count() + 1;
    let all: Vec<&str> = name.as_str().split('.').collect();
    let tail = all.get(all.len().saturating_sub(labels)..).unwrap_or_default().join(".");
    Domain::parse(&tail).unwrap_or_else(|_| name.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc9989_4_10_the_walk_has_eight_steps() {
        let start = Domain::parse(&format!("{}example", "a.".repeat(40))).unwrap();
        let (mut at, mut steps) = (Some(start), 0);
        while let Some(domain) = at {
            steps += 1;
            at = parent(&domain);
        }
        assert_eq!(steps, 8);
        let next = |text: &str| parent(&Domain::parse(text).unwrap()).map(|d| d.as_str().to_owned());
        assert_eq!(next("a.b.c").as_deref(), Some("b.c"));
        assert_eq!(next("a.b.c.d.e.f.g.h").as_deref(), Some("b.c.d.e.f.g.h"));
        assert_eq!(next("a.b.c.d.e.f.g.h.i.j").as_deref(), Some("d.e.f.g.h.i.j"));
        assert_eq!(next("a"), None);
    }
}
