//! Whom a written recipient stands for: the mailbox that its reply speaks of, the others of an alias, copies that are kept.
//!
//! Aliases and copies lead into agencies whoever sends, so neither makes a relay (RFC 5321 §3.9, §7.2). How many they
//! may become is bounded for the whole message, and each mailbox gets one copy.

use crate::envelope::relay::{Policy, Standing};
use crate::mail::transaction::Notify;
use crate::mail::{Destination, Mailbox, Recipient, Reply};
use crate::session::desk::Target;
use crate::verdict::receipt::Reached;

/// More than so many others are not gathered: the sender tries the rest in a letter of its own.
const MOST_OTHERS: usize = 500;

/// One RCPT TO, resolved.
#[derive(Debug)]
pub struct Names {
    /// Whom the reply to RCPT TO speaks of.
    pub mailbox: Mailbox,
    pub destination: Destination,
    /// Who gets the letter besides, as far as nobody has brought them yet.
    pub others: Vec<Recipient>,
    /// For the receipt; `None` where the mailbox is the one that was written and nobody else gets the letter.
    pub reached: Option<Reached>,
}

impl Names {
    /// Resolves `target`. `known`: the others that earlier recipients of the message brought.
    pub fn of(policy: &Policy, standing: &Standing, target: &Target, known: &[Recipient]) -> Result<Self, Reply> {
        let mut names = policy.stands_for(target)?.into_iter();
        let (mailbox, destination) = first(policy, standing, target, &mut names)?;
        let copies = policy.copies(&destination).to_vec();
        let mut reached =
            Reached { written: target.to_string(), mailboxes: vec![mailbox.to_string()], copies: Vec::new() };
        let mut others: Vec<Recipient> = Vec::new();
        let mut add = |name: Mailbox, named: &mut Vec<String>| {
            let same = |other: &Recipient| other.mailbox.folded() == name.folded();
            if known.iter().chain(&others).any(same) {
                return;
            }
            // Into agencies only, whoever sends.
            match policy.check_recipient(&Standing::Inward, &Target::Mailbox(name)) {
                Ok((mailbox, destination)) => {
                    named.push(mailbox.to_string());
                    others.push(other(mailbox, destination));
                }
                Err(reply) => tracing::warn!(%reply, "an alias or a copy leads to nobody"),
            }
        };
        names.for_each(|name| add(name, &mut reached.mailboxes));
        copies.into_iter().for_each(|name| add(name, &mut reached.copies));
        if known.len().saturating_add(others.len()) > MOST_OTHERS {
            return Err(Reply::new(452, "4.5.3", "Too many recipients"));
        }
        let as_written = !is_other(target, &mailbox) && others.is_empty();
        Ok(Self { mailbox, destination, others, reached: (!as_written).then_some(reached) })
    }
}

/// Of an alias the first that exists: those who left do not bar the way to the others.
fn first(
    policy: &Policy,
    standing: &Standing,
    target: &Target,
    names: &mut impl Iterator<Item = Mailbox>,
) -> Result<(Mailbox, Destination), Reply> {
    let mut refusal = None;
    for name in names {
        let standing = if is_other(target, &name) { &Standing::Inward } else { standing };
        match policy.check_recipient(standing, &Target::Mailbox(name)) {
            Ok(found) => return Ok(found),
            Err(reply) => refusal = refusal.or(Some(reply)),
        }
    }
    Err(refusal.unwrap_or_else(|| Reply::new(550, "5.1.1", "No such user here")))
}

/// Somebody the sender did not name and hears nothing of (RFC 3461 §4.1: NEVER).
fn other(mailbox: Mailbox, destination: Destination) -> Recipient {
    let notify = Notify { success: false, failure: false, delay: false, explicit: true };
    Recipient { mailbox, destination, original: None, notify }
}

/// Whether `mailbox` is another one than was written.
fn is_other(target: &Target, mailbox: &Mailbox) -> bool {
    !matches!(target, Target::Mailbox(written) if written == mailbox)
}

/// ORCPT of an address that an alias changed: reports name the one that was written (RFC 3461 §5.2.1). Left out where it
/// would need xtext.
#[must_use]
pub fn original(target: &Target, mailbox: &Mailbox) -> Option<String> {
    let Target::Mailbox(written) = target else { return None };
    let text = written.to_string();
    let plain = text.bytes().all(|b| b.is_ascii_graphic() && b != b'+' && b != b'=');
    (plain && is_other(target, mailbox)).then(|| format!("rfc822;{text}"))
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::envelope::alias::{Alias, Aliases};
    use crate::envelope::relay::{Agency, Roster};
    use crate::listen::Networks;
    use crate::mail::Domain;

    fn mailbox(text: &str) -> Mailbox {
        Mailbox::parse(text).unwrap()
    }

    /// An agency where an, binh and chi work; dung has left.
    fn policy(aliases: &[(&str, &[&str])], copies: &[&str]) -> Policy {
        let works = ["an", "binh", "chi"].map(|name| format!("{name}@a.test"));
        let agency = Agency {
            id: "a".parse().unwrap(),
            domains: vec![Domain::parse("a.test").unwrap()],
            roster: Roster::Listed(works.into_iter().collect()),
            subaddressing: Some('+'),
            networks: Networks::default(),
        };
        let alias =
            |(from, to): &(&str, &[&str])| Alias { from: mailbox(from), to: to.iter().map(|to| mailbox(to)).collect() };
        let all: Vec<Alias> = aliases.iter().map(alias).collect();
        let mut aliases = Aliases::default();
        aliases.add(&all, &[]);
        let copies = copies.iter().map(|copy| mailbox(copy)).collect();
        Policy::build(vec![agency]).unwrap().with_names(aliases, HashMap::from([("a".parse().unwrap(), copies)]))
    }

    fn resolve(policy: &Policy, to: &str, known: &[Recipient]) -> Result<Names, Reply> {
        Names::of(policy, &Standing::Inward, &Target::Mailbox(mailbox(to)), known)
    }

    #[test]
    fn an_alias_reaches_those_who_exist_and_the_receipt_says_whom() {
        let policy = policy(&[("staff@a.test", &["dung@a.test", "an@a.test", "binh@a.test"])], &["chi@a.test"]);
        let names = resolve(&policy, "staff+x@a.test", &[]).unwrap();
        assert_eq!(names.mailbox.to_string(), "an@a.test");
        let reached = names.reached.unwrap();
        assert_eq!(reached.written, "staff+x@a.test");
        assert_eq!(reached.mailboxes, ["an@a.test", "binh@a.test"]);
        assert_eq!(reached.copies, ["chi@a.test"]);
        // The next recipient brings nobody twice.
        let again = resolve(&policy, "an@a.test", &names.others).unwrap();
        assert!(again.others.is_empty() && again.reached.is_none(), "{again:?}");
        assert_eq!(resolve(&policy, "dung@a.test", &[]).unwrap_err().code(), 550);
    }

    #[test]
    fn rfc5321_7_2_no_alias_leads_out_whoever_sends() {
        let policy = policy(&[("out@a.test", &["x@elsewhere.test", "an@a.test"])], &["y@elsewhere.test"]);
        for standing in [Standing::Inward, Standing::Outward("a".parse().unwrap())] {
            let names = Names::of(&policy, &standing, &Target::Mailbox(mailbox("out@a.test")), &[]).unwrap();
            assert_eq!(names.mailbox.to_string(), "an@a.test", "{standing:?}");
            assert!(names.others.is_empty(), "{standing:?}: {:?}", names.others);
        }
    }

    #[test]
    fn rfc5321_4_5_3_1_10_what_aliases_add_is_bounded_for_the_whole_message() {
        let policy = policy(&[("two@a.test", &["an@a.test", "binh@a.test"])], &[]);
        let inward = Destination::Agency("a".parse().unwrap());
        let many = |count: usize| -> Vec<Recipient> {
            (0..count).map(|n| other(mailbox(&format!("u{n}@a.test")), inward.clone())).collect()
        };
        assert!(resolve(&policy, "two@a.test", &many(499)).is_ok());
        assert_eq!(resolve(&policy, "two@a.test", &many(500)).unwrap_err().code(), 452);
    }
}
