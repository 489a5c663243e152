//! The operator's own words about clients and senders, compiled for look-up.
//!
//! About one party the most exact entry speaks: an address before its domain, a domain before the one above it, a long
//! prefix before a short one. A sender's name is easily put on, so an entry that allows one counts against a denied
//! network only when it demands authentication and gets it.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

use super::settings::{self, Action, Asks, Entry, Who};
use crate::mail::{Domain, Mailbox, ReversePath, Span, Timestamp};

/// `[guard]`, checked and ready.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    pub settings: settings::Guard,
    /// Longest prefix first.
    networks: Vec<Entry>,
    domains: HashMap<Domain, Vec<Entry>>,
    addresses: HashMap<String, Vec<Entry>>,
    traps: HashSet<String>,
}

/// What the operator says, and which entry says it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Word {
    pub action: Action,
    /// `entry:203.0.113.0/24 (owner)`, for operators.
    pub rule: String,
}

impl Rules {
    /// What is wrong ([`faults`] tells it) is left out.
    #[must_use]
    pub fn build(settings: settings::Guard) -> Self {
        let mut rules = Self { settings, ..Self::default() };
        let traps = rules.settings.traps.iter().filter_map(|trap| Mailbox::parse(trap).ok());
        rules.traps = traps.map(|mailbox| mailbox.folded()).collect();
        for entry in rules.settings.entry.clone() {
            match &entry.who {
                Who::Network(_) => rules.networks.push(entry),
                Who::Domain(domain) => rules.domains.entry(domain.clone()).or_default().push(entry),
                Who::Address(mailbox) => rules.addresses.entry(mailbox.folded()).or_default().push(entry),
            }
        }
        rules.networks.sort_by_key(|entry| match entry.who {
            Who::Network(network) => std::cmp::Reverse(network.prefix()),
            _ => std::cmp::Reverse(0),
        });
        rules
    }

    #[must_use]
    pub fn is_trusted(&self, client: IpAddr) -> bool {
        self.settings.trusted.iter().any(|network| network.contains(client))
    }

    #[must_use]
    pub fn is_trap(&self, mailbox: &Mailbox) -> bool {
        !self.traps.is_empty() && self.traps.contains(&mailbox.folded())
    }

    /// Whether SPF should be asked before [`Rules::word`] is: an entry about this sender depends on it.
    #[must_use]
    pub fn wants_authentication(&self, sender: &ReversePath, now: Timestamp) -> bool {
        self.about_sender(sender).any(|entry| entry.authenticated && holds(entry, now))
    }

    /// The operator's word about this client and sender, if there is one.
    #[must_use]
    pub fn word(&self, client: IpAddr, sender: &ReversePath, authenticated: bool, now: Timestamp) -> Option<Word> {
        let network = self
            .networks
            .iter()
            .find(|entry| holds(entry, now) && matches!(entry.who, Who::Network(network) if network.contains(client)));
        let sender =
            self.about_sender(sender).find(|entry| holds(entry, now) && (!entry.authenticated || authenticated));
        let chosen = match (network, sender) {
            (Some(network), Some(sender)) if sender.action == Action::Deny || network.action == Action::Allow => {
                if sender.action == Action::Deny {
                    sender
                } else {
                    network
                }
            }
            (Some(network), Some(sender)) => {
                if sender.authenticated {
                    sender
                } else {
                    network
                }
            }
            (Some(entry), None) | (None, Some(entry)) => entry,
            (None, None) => return None,
        };
        Some(Word { action: chosen.action, rule: format!("entry:{} ({})", chosen.who, chosen.owner) })
    }

    /// Whether look-ups in DNS can change anything: the points they could give reach a threshold.
    #[must_use]
    pub fn asks_dns(&self) -> bool {
        let s = &self.settings;
        let listed: f64 = s.list.iter().map(|list| list.points.max(0.0)).sum();
        let most = s.no_reverse.max(0.0) + s.bad_helo.max(0.0) + listed;
        most >= s.refuse || (most >= s.suspect && !(s.greylist.is_zero() && s.tarpit.is_zero()))
    }

    /// Whether any list is asked about the sender's domain.
    pub fn lists(&self, asks: Asks) -> impl Iterator<Item = &settings::List> {
        self.settings.list.iter().filter(move |list| list.asks == asks)
    }

    /// Entries about a sender, the most exact first.
    fn about_sender<'a>(&'a self, sender: &'a ReversePath) -> impl Iterator<Item = &'a Entry> {
        let address = sender.mailbox().filter(|_| !self.addresses.is_empty()).map(Mailbox::folded);
        let exact = address.and_then(|address| self.addresses.get(&address)).into_iter().flatten();
        let domain = sender.domain().filter(|_| !self.domains.is_empty()).map_or("", Domain::as_str);
        let mut rest = Some(domain).filter(|domain| !domain.is_empty());
        let parents = std::iter::from_fn(move || {
            let here = rest?;
            rest = here.split_once('.').map(|(_, parent)| parent);
            Some(here)
        });
        let by_domain = parents.filter_map(|name| Domain::parse(name).ok()).filter_map(|name| self.domains.get(&name));
        exact.chain(by_domain.flatten())
    }
}

fn holds(entry: &Entry, now: Timestamp) -> bool {
    entry.until.is_none_or(|day| now < day.end())
}

/// Something in `[guard]` that cannot be meant so, and the way to it from there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fault {
    pub path: Vec<Point>,
    pub en: String,
    pub vi: String,
    /// Odd, but harmless.
    pub is_warning: bool,
}

/// One step of the way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Point {
    Key(&'static str),
    Index(usize),
}

/// Everything that is wrong with the settings.
#[must_use]
pub fn faults(s: &settings::Guard, now: Timestamp) -> Vec<Fault> {
    let mut found = numbers(s);
    let fault = |path: &[Point], en: String, vi: String| Fault { path: path.to_vec(), en, vi, is_warning: false };
    for (i, trap) in s.traps.iter().enumerate() {
        if let Err(error) = Mailbox::parse(trap) {
            let path = [Point::Key("traps"), Point::Index(i)];
            found.push(fault(&path, format!("\"{trap}\": {error}"), format!("\"{trap}\" không phải địa chỉ: {error}")));
        }
    }
    for (i, entry) in s.entry.iter().enumerate() {
        let at = |key| [Point::Key("entry"), Point::Index(i), Point::Key(key)];
        let who = &entry.who;
        if entry.until.is_some_and(|day| day.end() <= now) {
            let (en, vi) = (format!("the entry for {who} has run out"), format!("mục về {who} đã hết hạn"));
            found.push(Fault { is_warning: true, ..fault(&at("until"), en, vi) });
        }
        let is_network = matches!(who, Who::Network(_));
        if entry.authenticated && (is_network || entry.action == Action::Deny) {
            found.push(fault(
                &at("authenticated"),
                "only a sender that is allowed can be asked to prove itself".to_owned(),
                "chỉ người gửi được phép mới có thể bị yêu cầu xác thực".to_owned(),
            ));
        }
        if !entry.authenticated && !is_network && entry.action == Action::Allow {
            let en = format!("anybody can write as {who}: set authenticated = true, or allow a network");
            let vi = format!("ai cũng có thể mạo danh {who}: đặt authenticated = true, hoặc cho phép theo mạng");
            found.push(Fault { is_warning: true, ..fault(&at("who"), en, vi) });
        }
        for (key, text) in [("owner", &entry.owner), ("reason", &entry.reason)] {
            if text.trim().is_empty() {
                let en = format!("{key} is empty: who will know one day why this stands here?");
                found.push(fault(&at(key), en, format!("{key} để trống: sau này ai biết vì sao có mục này?")));
            }
        }
    }
    for (i, list) in s.list.iter().enumerate() {
        if !list.points.is_finite() {
            let path = [Point::Key("list"), Point::Index(i), Point::Key("points")];
            found.push(fault(&path, "this is no number of points".to_owned(), "không phải số điểm".to_owned()));
        }
    }
    found
}

/// Numbers that would not mean what they seem to.
fn numbers(s: &settings::Guard) -> Vec<Fault> {
    let fault = |path: &[&'static str], en: String, vi: String| {
        let path = path.iter().map(|key| Point::Key(key)).collect();
        Fault { path, en, vi, is_warning: false }
    };
    let points: [(&[&'static str], f64); 9] = [
        (&["no_reverse"], s.no_reverse),
        (&["bad_helo"], s.bad_helo),
        (&["refuse"], s.refuse),
        (&["suspect"], s.suspect),
        (&["ban", "after"], s.ban.after),
        (&["ban", "unknown_recipient"], s.ban.unknown_recipient),
        (&["ban", "failed_login"], s.ban.failed_login),
        (&["ban", "abuse"], s.ban.abuse),
        (&["ban", "relaying"], s.ban.relaying),
    ];
    let mut found: Vec<Fault> = points
        .iter()
        .filter(|(_, value)| !value.is_finite() || *value < 0.0)
        .map(|(path, value)| {
            fault(path, format!("{value} is no number of points"), format!("{value} không phải số điểm"))
        })
        .collect();
    if s.refuse <= s.suspect {
        let en = format!("refuse ({}) must be more than suspect ({})", s.refuse, s.suspect);
        found.push(fault(&["refuse"], en, format!("refuse ({}) phải lớn hơn suspect ({})", s.refuse, s.suspect)));
    }
    if s.tarpit > Span::minutes(2) {
        // RFC 5321 §4.5.3.2: clients wait five minutes for an answer, many less.
        let en = "longer than clients wait; 2 min at most".to_owned();
        found.push(fault(&["tarpit"], en, "lâu hơn máy gửi chịu chờ; tối đa 2 min".to_owned()));
    }
    found
}
