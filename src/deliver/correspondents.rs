//! Who wrote to the agencies of late, and was vouched for: the addresses to which reports and robots' answers may leave.
//!
//! Old servers take everything and report later (qmail, Domino, an Exchange hub: DOMAIN §2.1–2.4); what they report on was
//! often forged, and the one it goes to never wrote (THREATS S-30). A report does not say whose mail it is about in any way
//! that can be trusted, so the envelope decides: to whom it goes. Only digests are kept, in two generations, each as long
//! as the settings say: an address is remembered for that time at least and twice as long at most. Pure.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::mail::{Mailbox, Span, Timestamp};

/// Addresses of one generation; then the next begins early. About 4 MB.
const MOST: usize = 200_000;

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Correspondents {
    since: Timestamp,
    recent: HashSet<u64>,
    before: HashSet<u64>,
}

impl Correspondents {
    #[must_use]
    pub fn new(now: Timestamp) -> Self {
        Self { since: now, ..Self::default() }
    }

    /// This sender wrote, and was vouched for. Says whether that is news worth keeping.
    pub fn note(&mut self, sender: &Mailbox, keep: Span, now: Timestamp) -> bool {
        if self.since + keep <= now || self.recent.len() >= MOST {
            self.before = std::mem::take(&mut self.recent);
            self.since = now;
        }
        self.recent.insert(digest(sender))
    }

    #[must_use]
    pub fn know(&self, mailbox: &Mailbox) -> bool {
        let digest = digest(mailbox);
        self.recent.contains(&digest) || self.before.contains(&digest)
    }
}

fn digest(mailbox: &Mailbox) -> u64 {
    let whole: [u8; 32] = Sha256::digest(mailbox.folded()).into();
    whole.first_chunk().map_or(0, |first| u64::from_le_bytes(*first))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mailbox(text: &str) -> Mailbox {
        Mailbox::parse(text).unwrap()
    }

    #[test]
    fn threats_s_30_who_wrote_is_known_for_the_time_that_was_set() {
        let (keep, start) = (Span::days(30), Timestamp::from_seconds(1_795_302_082));
        let mut known = Correspondents::new(start);
        assert!(known.note(&mailbox("a@x.vn"), keep, start));
        assert!(!known.note(&mailbox("A@X.vn"), keep, start), "written down already");
        assert!(known.know(&mailbox("a@x.vn")) && !known.know(&mailbox("b@x.vn")));
        // One day before the end of the first generation, and through all of the second.
        known.note(&mailbox("b@x.vn"), keep, start + Span::days(29));
        known.note(&mailbox("c@x.vn"), keep, start + Span::days(31));
        assert!(known.know(&mailbox("a@x.vn")) && known.know(&mailbox("b@x.vn")));
        known.note(&mailbox("d@x.vn"), keep, start + Span::days(62));
        assert!(!known.know(&mailbox("a@x.vn")) && !known.know(&mailbox("b@x.vn")));
        assert!(known.know(&mailbox("c@x.vn")) && known.know(&mailbox("d@x.vn")));
    }

    #[test]
    fn threats_r_10_a_clock_set_ahead_forgets_nobody_at_once() {
        let start = Timestamp::from_seconds(1_795_302_082);
        let mut known = Correspondents::new(start);
        known.note(&mailbox("a@x.vn"), Span::days(30), start);
        known.note(&mailbox("b@x.vn"), Span::days(30), start + Span::days(4000));
        assert!(known.know(&mailbox("a@x.vn")));
    }

    #[test]
    fn a_flood_of_senders_fills_two_generations_and_no_more() {
        let (keep, now) = (Span::days(30), Timestamp::from_seconds(1_795_302_082));
        let mut known = Correspondents::new(now);
        for n in 0..MOST + 10 {
            known.note(&mailbox(&format!("u{n}@x.vn")), keep, now);
        }
        assert_eq!((known.recent.len(), known.before.len()), (10, MOST));
        assert!(known.know(&mailbox("u0@x.vn")));
    }
}
