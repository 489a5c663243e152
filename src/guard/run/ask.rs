//! What DNS says of a client: its name, and the lists; all at the same time, within one deadline.

use std::net::{IpAddr, Ipv4Addr};

use tokio::task::JoinSet;
use tokio::time::timeout;

use super::Guard;
use crate::env::Dns;
use crate::guard::dnslist;
use crate::guard::entry::Rules;
use crate::guard::event::Event;
use crate::guard::health::{Change, control_name, test_name};
use crate::guard::metrics::Did;
use crate::guard::settings::{Asks, List};
use crate::guard::weigh::{Facts, Reverse};
use crate::mail::{Domain, ReversePath, Span};

/// Names of one address that are followed back to it (RFC 8601 §2.7.3 leaves the number open; RFC 7208 §4.6.4 has ten).
const NAMES: usize = 5;

enum Found {
    Reverse(Reverse),
    /// What it says of the client, and of what no list has.
    List(List, Option<bool>, Option<Vec<Ipv4Addr>>),
}

impl Guard {
    /// What does not answer in time counts nothing. Without a sender only the address is asked about.
    pub(super) async fn facts(
        &self,
        rules: &Rules,
        client: IpAddr,
        sender: Option<&ReversePath>,
        sane_helo: bool,
    ) -> Facts {
        let nothing = Facts { reverse: Reverse::Unknown, sane_helo, listed: Vec::new() };
        let Some(dns) = self.0.dns.as_ref().filter(|_| rules.asks_dns()) else { return nothing };
        if dns.is_degraded() {
            self.0.metrics.did(Did::DnsDegraded);
            return nothing;
        }
        let s = &rules.settings;
        // For the names: one PTR and two questions for each; then two for each list.
        let queries = 1 + 2 * NAMES + 2 * s.list.len();
        let dns = dns.for_message(u32::try_from(queries).unwrap_or(u32::MAX), s.dns_deadline);
        let mut asked = JoinSet::new();
        for (list, name) in self.questions(rules, client, sender) {
            let dns = dns.clone();
            asked.spawn(async move {
                let control = control_name(&list);
                let (answers, control) = tokio::join!(dns.ipv4(&name), answer(&dns, &control));
                let listed = dnslist::is_listed(&list, &answers.unwrap_or_default());
                Found::List(list, listed, control)
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
                    Ok(Found::List(list, listed, control)) => {
                        if self.believes(&list.zone, control.as_deref(), listed) && listed == Some(true) {
                            facts.listed.push((list.zone.to_string(), list.points));
                        }
                    }
                    Err(error) => tracing::error!(%error, "a look-up failed"),
                }
            }
        };
        // What has come in by then counts.
        let _ = timeout(s.dns_deadline.as_std(), gather).await;
        facts.listed.sort_by(|a, b| a.0.cmp(&b.0));
        facts
    }

    /// Looks at every list that is due: whether it has its test point and not what none has.
    pub async fn examine_lists(&self, rules: &Rules) {
        let lists = &rules.settings.list;
        let now = self.0.clock.now();
        let due: Vec<&List> = {
            let mut tables = self.tables();
            tables.health.keep(|zone| lists.iter().any(|list| list.zone == *zone));
            lists.iter().filter(|list| tables.health.is_due(&list.zone, now)).collect()
        };
        self.0
            .metrics
            .lists(lists.iter().map(|list| (list.zone.as_str(), self.tables().health.is_believed(&list.zone))));
        let Some(dns) = self.0.dns.as_ref().filter(|dns| !dns.is_degraded()) else { return };
        for list in due {
            let dns = dns.for_message(2, rules.settings.dns_deadline.max(Span::seconds(1)));
            let (control, test) = (control_name(list), test_name(list));
            let (control, test) = tokio::join!(answer(&dns, &control), answer(&dns, &test));
            let changes = {
                let mut tables = self.tables();
                let first = tables.health.control(&list.zone, control.as_deref(), now);
                [first, tables.health.test(&list.zone, test.as_deref(), now)]
            };
            changes.into_iter().flatten().for_each(|change| self.list_changed(&list.zone, change));
        }
    }

    /// Takes note of what was answered; whether the list can be believed.
    fn believes(&self, zone: &Domain, control: Option<&[Ipv4Addr]>, listed: Option<bool>) -> bool {
        let (change, believed) = {
            let mut tables = self.tables();
            let change = tables.health.control(zone, control, self.0.clock.now());
            let believed = tables.health.is_believed(zone);
            if believed && listed == Some(true) {
                tables.health.hit(zone);
            }
            (change, believed)
        };
        if let Some(change) = change {
            self.list_changed(zone, change);
        }
        believed
    }

    fn list_changed(&self, zone: &Domain, change: Change) {
        let word = match change {
            Change::Broken(fault) => {
                tracing::warn!(list = %zone, fault = fault.as_str(), "a list in DNS is of no use and counts nothing now");
                fault.as_str()
            }
            Change::Mended => {
                tracing::info!(list = %zone, "a list in DNS works again");
                "works_again"
            }
        };
        self.0.metrics.list(zone.as_str(), change == Change::Mended);
        self.0.sink.tell(Event::state("list", word, zone.to_string(), self.0.clock.now()));
    }

    fn questions(&self, rules: &Rules, client: IpAddr, sender: Option<&ReversePath>) -> Vec<(List, String)> {
        let tables = self.tables();
        let believed = |list: &&List| tables.health.is_believed(&list.zone);
        let by_address = rules
            .lists(Asks::Address)
            .filter(believed)
            .map(|list| (list.clone(), dnslist::about_address(&list.zone, client)));
        let by_domain = rules.lists(Asks::Domain).filter(believed).filter_map(|list| {
            let name = dnslist::about_domain(&list.zone, sender?.domain()?)?;
            Some((list.clone(), name))
        });
        by_address.chain(by_domain).collect()
    }
}

/// Addresses of a name: none when it does not exist, `None` when nobody could tell.
async fn answer(dns: &Dns, name: &str) -> Option<Vec<Ipv4Addr>> {
    match dns.ipv4(name).await {
        Ok(found) => Some(found),
        Err(error) if error.is_void() => Some(Vec::new()),
        Err(_) => None,
    }
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
