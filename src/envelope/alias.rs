//! Other names of mailboxes: domains that are written differently, users that stand for others, copies that are kept.
//!
//! Aliases lead to mailboxes of agencies only (`luytre check` sees to it), so no alias makes a relay. They are followed a
//! few steps and never round in a circle; whoever would get one letter twice gets it once.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use crate::mail::{Domain, Mailbox};

/// Steps from one alias to the next.
const STEPS: usize = 5;
/// Mailboxes that one recipient may become.
const MOST: usize = 100;

/// `aliases = [{ from = "...", to = ["..."] }]` of an agency.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Alias {
    pub from: Mailbox,
    pub to: Vec<Mailbox>,
}

/// `domain_aliases = [{ from = "...", to = "..." }]` of an agency: both are its domains.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DomainAlias {
    pub from: Domain,
    pub to: Domain,
}

/// The aliases of all agencies.
#[derive(Clone, Debug, Default)]
pub struct Aliases {
    users: HashMap<String, Vec<Mailbox>>,
    domains: HashMap<Domain, Domain>,
}

impl Aliases {
    pub fn add<'a>(
        &mut self,
        users: impl IntoIterator<Item = &'a Alias>,
        domains: impl IntoIterator<Item = &'a DomainAlias>,
    ) {
        self.users.extend(users.into_iter().map(|alias| (alias.from.folded(), alias.to.clone())));
        self.domains.extend(domains.into_iter().map(|alias| (alias.from.clone(), alias.to.clone())));
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.users.is_empty() && self.domains.is_empty()
    }

    /// The mailboxes that `mailbox` stands for: at least one, itself where it stands for nobody else.
    /// `subaddressing`: `an+invoices@` is `an@` where this is `+`.
    #[must_use]
    pub fn resolve(&self, mailbox: Mailbox, subaddressing: Option<char>) -> Vec<Mailbox> {
        let mut found = Vec::new();
        let mut waiting = vec![(mailbox, 0)];
        let mut seen = Vec::new();
        while let Some((mailbox, steps)) = waiting.pop() {
            let mailbox = self.in_own_domain(mailbox);
            let name = mailbox.folded();
            if seen.contains(&name) {
                continue;
            }
            let targets = self.users.get(&name).or_else(|| self.users.get(&base(&mailbox, subaddressing)?));
            seen.push(name);
            match targets {
                Some(targets) if steps < STEPS && found.len() + waiting.len() + targets.len() <= MOST => {
                    // In the order in which they are written; an alias that names itself keeps the mailbox too.
                    if targets.iter().any(|target| target.folded() == mailbox.folded()) {
                        found.push(mailbox);
                    }
                    waiting.extend(targets.iter().rev().map(|target| (target.clone(), steps + 1)));
                }
                _ => found.push(mailbox),
            }
        }
        found
    }

    fn in_own_domain(&self, mailbox: Mailbox) -> Mailbox {
        let Some(domain) = self.domains.get(mailbox.domain()) else { return mailbox };
        // The local part is as it was, quotes included.
        let text = mailbox.to_string();
        let local = text.rsplit_once('@').map_or("", |(local, _)| local);
        Mailbox::parse(&format!("{local}@{domain}")).unwrap_or(mailbox)
    }
}

/// The mailbox without its detail, folded.
fn base(mailbox: &Mailbox, subaddressing: Option<char>) -> Option<String> {
    let (base, _) = mailbox.local().split_once(subaddressing?)?;
    (!base.is_empty()).then(|| format!("{}@{}", base.to_lowercase(), mailbox.domain()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mailbox(text: &str) -> Mailbox {
        Mailbox::parse(text).unwrap()
    }

    fn resolved(text: &str) -> Vec<String> {
        let alias =
            |from: &str, to: &[&str]| Alias { from: mailbox(from), to: to.iter().map(|to| mailbox(to)).collect() };
        let mut aliases = Aliases::default();
        let old = DomainAlias { from: Domain::parse("old.test").unwrap(), to: Domain::parse("a.test").unwrap() };
        aliases.add(
            &[
                alias("info@a.test", &["an@a.test", "staff@a.test"]),
                alias("staff@a.test", &["an@a.test", "binh@a.test", "info@a.test"]),
                alias("chief@a.test", &["chief@a.test", "binh@a.test"]),
            ],
            &[old],
        );
        aliases.resolve(mailbox(text), Some('+')).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn names_lead_to_mailboxes_once_and_never_in_circles() {
        assert_eq!(resolved("x@a.test"), ["x@a.test"]);
        assert_eq!(resolved("Info@A.test"), ["an@a.test", "binh@a.test"]);
        assert_eq!(resolved("info+urgent@old.test"), ["an@a.test", "binh@a.test"]);
        assert_eq!(resolved("x+y@old.test"), ["x+y@a.test"], "a detail is kept where no alias stands");
        assert_eq!(resolved("chief@a.test"), ["chief@a.test", "binh@a.test"]);
        assert_eq!(resolved("\"a b\"@old.test"), ["\"a b\"@a.test"]);
    }

    #[test]
    fn many_aliases_do_not_become_an_explosion() {
        let mut aliases = Aliases::default();
        let all: Vec<Mailbox> = (0..60).map(|n| mailbox(&format!("u{n}@a.test"))).collect();
        let list: Vec<Alias> = all.iter().map(|from| Alias { from: from.clone(), to: all.clone() }).collect();
        aliases.add(&list, &[]);
        assert!(aliases.resolve(mailbox("u1@a.test"), None).len() <= MOST);
    }
}
