//! What is held, why, until when, who may release it: pure decisions over entries.

use serde::{Deserialize, Serialize};

use super::file::{Deed, Entry};
use super::{Held, Kind};
use crate::mail::{AgencyId, MailId, Parcel, Recipient, Timestamp};

/// Which held messages to list. Everything that is set must fit; texts are found anywhere and without regard to case.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Filter {
    /// All copies of this message.
    pub id: Option<MailId>,
    pub agency: Option<AgencyId>,
    pub kind: Option<Kind>,
    /// The beginning of a finding's code: `malware`, `archive.encrypted`.
    pub finding: Option<String>,
    /// Held at or after.
    pub since: Option<Timestamp>,
    /// Held before.
    pub until: Option<Timestamp>,
    /// Part of the envelope sender or of the From field.
    pub sender: Option<String>,
    /// Part of a recipient's address.
    pub recipient: Option<String>,
    /// Part of the subject.
    pub subject: Option<String>,
    /// SHA-256 of the message.
    pub sha256: Option<String>,
    /// Also what was released already.
    pub released: bool,
    /// Only what stands behind this one.
    pub after: Option<Cursor>,
    /// At most so many, the newest first; 0 means [`MOST_LISTED`].
    pub limit: usize,
}

/// The place of an entry in the list: the newest first, then by key.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct Cursor {
    pub held_at: Timestamp,
    pub key: String,
}

impl Cursor {
    #[must_use]
    pub fn of(entry: &Entry) -> Self {
        Self { held_at: entry.held.held_at, key: entry.key.to_string() }
    }
}

/// A part of a list; `next`: there is more behind this place.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Page {
    pub entries: Vec<Entry>,
    pub next: Option<Cursor>,
}

/// The longest list that is made.
pub const MOST_LISTED: usize = 1000;

impl Filter {
    #[must_use]
    pub fn limit(&self) -> usize {
        if self.limit == 0 { MOST_LISTED } else { self.limit.min(MOST_LISTED) }
    }

    #[must_use]
    pub fn fits(&self, entry: &Entry) -> bool {
        let held = &entry.held;
        let part = |wanted: &Option<String>, texts: &dyn Fn() -> String| {
            wanted.as_ref().is_none_or(|wanted| texts().contains(&folded(wanted)))
        };
        let code = |wanted: &String| {
            held.because.iter().chain(&held.codes).any(|code| code.strip_prefix(wanted.as_str()).is_some_and(ends))
        };
        self.agency.as_ref().is_none_or(|agency| agency == held.meta.destination.agency())
            && self.id.is_none_or(|id| id == held.meta.id || id == entry.key.id)
            && self.kind.is_none_or(|kind| kind == held.kind)
            && self.since.is_none_or(|since| held.held_at >= since)
            && self.until.is_none_or(|until| held.held_at < until)
            && (self.released || entry.released.is_none())
            && self.sha256.as_ref().is_none_or(|wanted| held.sha256.eq_ignore_ascii_case(wanted))
            && self.finding.as_ref().is_none_or(code)
            && part(&self.sender, &|| sender_text(held))
            && part(&self.recipient, &|| recipient_text(held))
            && part(&self.subject, &|| folded(&held.meta.subject))
            && self.after.as_ref().is_none_or(|after| Cursor::of(entry) < *after)
    }

    /// The first page of entries, in whatever order they come. Holds no more of them than it needs.
    #[must_use]
    pub fn page(&self, entries: impl Iterator<Item = Entry>) -> Page {
        let (mut found, limit) = (Vec::new(), self.limit());
        let cut = |found: &mut Vec<Entry>| {
            found.sort_by_cached_key(|entry| std::cmp::Reverse(Cursor::of(entry)));
            found.truncate(limit.saturating_add(1));
        };
        for entry in entries.filter(|entry| self.fits(entry)) {
            found.push(entry);
            if found.len() > limit.saturating_mul(2).saturating_add(100) {
                cut(&mut found);
            }
        }
        cut(&mut found);
        let more = found.len() > limit;
        found.truncate(limit);
        Page { next: found.last().filter(|_| more).map(Cursor::of), entries: found }
    }
}

/// Whether a code ends here, or one of its dotted words does.
fn ends(rest: &str) -> bool {
    rest.is_empty() || rest.starts_with('.')
}

/// As texts are compared.
#[must_use]
pub fn folded(text: &str) -> String {
    text.to_lowercase()
}

/// What `--sender` looks at.
#[must_use]
pub fn sender_text(held: &Held) -> String {
    folded(&format!("{}\n{}", held.meta.sender, held.from))
}

/// What `--recipient` looks at.
#[must_use]
pub fn recipient_text(held: &Held) -> String {
    let all: Vec<String> = held.meta.recipients.iter().map(|recipient| recipient.mailbox.to_string()).collect();
    folded(&all.join("\n"))
}

impl Kind {
    /// The word in lists and metrics.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Malware => "malware",
            Self::Spam => "spam",
            Self::Phish => "phish",
            Self::Policy => "policy",
            Self::Unscannable => "unscannable",
            Self::Undeliverable => "undeliverable",
        }
    }
    pub const ALL: [Self; 6] =
        [Self::Malware, Self::Spam, Self::Phish, Self::Policy, Self::Unscannable, Self::Undeliverable];
}

/// An officer's order to let a message go.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Order {
    pub by: String,
    pub reason: String,
    /// Somebody else instead of its recipients: a copy for them, and it stays held.
    pub to: Vec<Recipient>,
    /// Although the second look at it found a reason to hold it.
    pub forced: bool,
    /// Of whom the fields `Resent-*` speak: this gateway.
    pub hostname: String,
}

/// The parcel as it leaves the quarantine. Not an octet of what was held changes, so signatures still verify: the trace
/// stands before it (RFC 5322 §3.6.6: a block of `Resent-*` fields, prepended). The five days of delivery count from now.
#[must_use]
pub fn released_parcel(mut parcel: Parcel, key: &str, order: &Order, now: Timestamp) -> Parcel {
    if let Some(first) = order.to.first() {
        parcel.meta.destination = first.destination.clone();
        parcel.meta.recipients.clone_from(&order.to);
    }
    let host = if order.hostname.is_empty() { "localhost" } else { &order.hostname };
    let names: Vec<String> = parcel.meta.recipients.iter().map(|r| r.mailbox.to_string()).collect();
    let mut head = format!(
        "X-Luytre-Released: {}; id={key}\r\nResent-Date: {}\r\nResent-From: <postmaster@{host}>\r\n\
         Resent-Message-ID: <{key}.{}@{host}>\r\n",
        now.rfc3339(),
        now.rfc5322(),
        now.millis(),
    );
    // Who else got it, as a blind copy perhaps, is nobody's business (RFC 5322 §3.6.3).
    let to = if names.len() == 1 && names.iter().all(|name| name.is_ascii()) {
        names.concat()
    } else {
        "undisclosed-recipients:;".to_owned()
    };
    head.push_str(&format!("Resent-To: {to}\r\n"));
    let mut head = head.into_bytes();
    head.extend_from_slice(&parcel.head);
    parcel.head = head.into();
    parcel.meta.received_at = now;
    parcel
}

/// Whether a message may be released now; otherwise who did it before. A copy for somebody else may always go.
pub fn may_release(entry: &Entry, order: &Order) -> Result<(), Deed> {
    if order.to.is_empty() { entry.released.clone().map_or(Ok(()), Err) } else { Ok(()) }
}

/// What a second look says against letting a message go: malware always; else what acts now and did not act when it was
/// held. `acting`: codes of findings that hold or refuse it today; `alone`: whether one does so by itself, not by points.
/// Where points held it then, those that were counted then are no news.
#[must_use]
pub fn objections(held: &Held, acting: &[String], alone: impl Fn(&str) -> bool) -> Vec<String> {
    let by_points = held.because.iter().any(|code| !alone(code));
    let counted = |code: &String| by_points && !alone(code) && held.codes.contains(code);
    let known = |code: &String| held.because.contains(code) || counted(code);
    acting.iter().filter(|code| code.starts_with("malware.") || !known(code)).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_look_objects_to_malware_and_to_whatever_did_not_act_then() {
        let sent = crate::quarantine::tests::parcel(1, "x");
        let held = |because: &[&str], codes: &[&str]| Held {
            because: because.iter().map(ToString::to_string).collect(),
            codes: codes.iter().map(ToString::to_string).collect(),
            ..crate::quarantine::tests::held(&sent, Kind::Spam)
        };
        let check = |held: Held, acting: &[&str], expected: &[&str]| {
            let acting: Vec<String> = acting.iter().map(ToString::to_string).collect();
            let alone = |code: &str| ["malware.", "archive.", "policy.", "dmarc."].iter().any(|p| code.starts_with(p));
            assert_eq!(objections(&held, &acting, alone), expected, "{held:?} {acting:?}");
        };
        // Known then, acted then: the officer has decided about it.
        check(held(&["archive.encrypted"], &["archive.encrypted", "rule.A"]), &["archive.encrypted"], &[]);
        check(held(&["malware.x"], &["malware.x"]), &["malware.x"], &["malware.x"]);
        // Seen then, acted on only today.
        check(held(&["archive.encrypted"], &["archive.encrypted", "rule.A"]), &["rule.A"], &["rule.A"]);
        check(held(&["rule.A"], &["rule.A", "dmarc.reject"]), &["dmarc.reject"], &["dmarc.reject"]);
        // Points held it then; that others of them weigh most today is no news, but a new one is.
        check(held(&["rule.A"], &["rule.A", "rule.B"]), &["rule.B"], &[]);
        check(held(&["rule.A"], &["rule.A", "rule.B"]), &["rule.B", "rule.C"], &["rule.C"]);
        // It was never looked into for its content: mail that could not be delivered.
        check(held(&["550 no such user"], &[]), &["policy.programs", "rule.A"], &["policy.programs", "rule.A"]);
    }
}
