//! Agency domains, inward routes, outbound clients: who may send to whom.
//!
//! Inward (`mx`) a recipient is ours when its parsed domain equals an agency's domain, nothing else counts: not the
//! sender, not HELO, not a prefix or suffix (RFC 5321 §F.2, THREATS S-20..S-23). Outward (`relay`) the client's
//! address must stand in an agency's networks *and* the sender in that agency's domains (THREATS I-07, A-24). Who
//! logged in, or showed a certificate that an agency named, speaks for that agency from any address, and for no other.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

use super::alias::Aliases;
use super::settings::{ClientCertificate, Ldap};
use crate::listen::{ClientFacts, Networks, Role};
use crate::mail::{AgencyId, Destination, Domain, Mailbox, Reply, ReversePath};
use crate::session::desk::Target;

/// One agency, as far as this decision needs it.
#[derive(Clone, Debug)]
pub struct Agency {
    pub id: AgencyId,
    pub domains: Vec<Domain>,
    pub roster: Roster,
    /// `an+invoices@` is `an@` where this is `+`.
    pub subaddressing: Option<char>,
    pub networks: Networks,
}

/// Which mailboxes exist.
#[derive(Clone, Debug)]
pub enum Roster {
    /// The agency's server says so itself, later.
    Any,
    /// These, folded as [`Mailbox::folded`] writes them.
    Listed(HashSet<String>),
    /// The agency's server is asked, without a message.
    Callout,
    /// A directory is asked.
    Ldap(Arc<Ldap>),
}

/// All agencies, compiled for look-up.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    agencies: Vec<Agency>,
    by_domain: HashMap<Domain, usize>,
    aliases: Aliases,
    copies: HashMap<AgencyId, Vec<Mailbox>>,
    /// Client certificates, and for whom they speak.
    certificates: Vec<(ClientCertificate, AgencyId)>,
}

/// Two agencies with one domain.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the domain {domain} belongs to both {first} and {second}")]
pub struct SharedDomain {
    pub domain: Domain,
    pub first: AgencyId,
    pub second: AgencyId,
}

/// A sender that was allowed, and for whom it may write: what MAIL FROM settled.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Standing {
    /// An outside client: to agencies only.
    Inward,
    /// An agency's own server: anywhere, on this agency's behalf.
    Outward(AgencyId),
}

impl Policy {
    /// Every domain belongs to one agency, or all collisions are reported.
    pub fn build(agencies: Vec<Agency>) -> Result<Self, Vec<SharedDomain>> {
        let (mut by_domain, mut shared) = (HashMap::new(), Vec::new());
        for (index, agency) in agencies.iter().enumerate() {
            for domain in &agency.domains {
                match by_domain.insert(domain.clone(), index) {
                    Some(other) if other != index => shared.push(SharedDomain {
                        domain: domain.clone(),
                        first: agencies.get(other).map_or_else(|| agency.id.clone(), |a| a.id.clone()),
                        second: agency.id.clone(),
                    }),
                    _ => {}
                }
            }
        }
        if shared.is_empty() { Ok(Self { agencies, by_domain, ..Self::default() }) } else { Err(shared) }
    }

    /// Other names of mailboxes, and for each agency who gets a copy of all its mail.
    #[must_use]
    pub fn with_names(mut self, aliases: Aliases, copies: HashMap<AgencyId, Vec<Mailbox>>) -> Self {
        (self.aliases, self.copies) = (aliases, copies);
        self
    }

    /// The mailboxes that a recipient stands for; at least one.
    pub fn stands_for(&self, target: &Target) -> Result<Vec<Mailbox>, Reply> {
        let mailbox = match target {
            Target::Mailbox(mailbox) => mailbox.clone(),
            Target::Postmaster => self.postmaster()?,
        };
        if self.aliases.is_empty() {
            return Ok(vec![mailbox]);
        }
        let separator = self.agency_of(mailbox.domain()).and_then(|agency| agency.subaddressing);
        Ok(self.aliases.resolve(mailbox, separator))
    }

    /// Who gets a copy of mail that goes this way (`always_bcc`), in or out.
    #[must_use]
    pub fn copies(&self, destination: &Destination) -> &[Mailbox] {
        self.copies.get(destination.agency()).map_or(&[], Vec::as_slice)
    }

    /// The same, with the client certificates that speak for agencies.
    #[must_use]
    pub fn with_certificates(mut self, certificates: Vec<(ClientCertificate, AgencyId)>) -> Self {
        self.certificates = certificates;
        self
    }

    /// May this client send as this sender at all: by its account, else its certificate, else its address. The first
    /// that it has decides alone.
    pub fn check_client(&self, client: &ClientFacts, sender: &ReversePath) -> Result<Standing, Reply> {
        let Some(id) = self.voucher(client) else {
            return self.check_sender(client.role, client.address.ip(), sender);
        };
        let Some(agency) = self.agencies.iter().find(|agency| agency.id == *id) else {
            return Err(Reply::new(550, "5.7.1", "Relaying is not allowed"));
        };
        if sender.domain().is_none_or(|domain| agency.domains.contains(domain)) {
            Ok(Standing::Outward(agency.id.clone()))
        } else {
            Err(Reply::new(550, "5.7.1", "This sender does not belong to your agency"))
        }
    }

    /// The agency that something stronger than an address speaks for.
    fn voucher<'a>(&'a self, client: &'a ClientFacts) -> Option<&'a AgencyId> {
        let tls = client.tls.as_ref().filter(|_| client.role == Role::Relay)?;
        if let Some(account) = &tls.account {
            return Some(&account.agency);
        }
        let client = tls.client.as_ref()?;
        let shown = |certificate: &ClientCertificate| match certificate {
            ClientCertificate::Fingerprint(digits) => client.fingerprint == *digits,
            ClientCertificate::Key(pin) => client.key == *pin,
            ClientCertificate::Name(name) => client.names.contains(name),
        };
        self.certificates.iter().find(|(certificate, _)| shown(certificate)).map(|(_, agency)| agency)
    }

    /// May this client send as this sender, as far as its address tells.
    pub fn check_sender(&self, role: Role, client: IpAddr, sender: &ReversePath) -> Result<Standing, Reply> {
        if role == Role::Mx {
            return Ok(Standing::Inward);
        }
        let mut owners = self.agencies.iter().filter(|agency| agency.networks.contains(client)).peekable();
        if owners.peek().is_none() {
            return Err(Reply::new(550, "5.7.1", "Relaying is not allowed from this address"));
        }
        let found = match sender.domain() {
            None => owners.next(),
            Some(domain) => owners.find(|agency| agency.domains.contains(domain)),
        };
        found
            .map(|agency| Standing::Outward(agency.id.clone()))
            .ok_or_else(|| Reply::new(550, "5.7.1", "This sender does not belong to the agency of this address"))
    }

    /// Where mail for this recipient goes, or why not.
    pub fn check_recipient(&self, standing: &Standing, target: &Target) -> Result<(Mailbox, Destination), Reply> {
        let mailbox = match target {
            Target::Mailbox(mailbox) => mailbox.clone(),
            Target::Postmaster => self.postmaster()?,
        };
        if let Some(agency) = self.agency_of(mailbox.domain()) {
            return if agency.knows(&mailbox) {
                Ok((mailbox, Destination::Agency(agency.id.clone())))
            } else {
                Err(Reply::new(550, "5.1.1", "No such user here"))
            };
        }
        match standing {
            Standing::Inward => Err(Reply::new(550, "5.7.1", "Relaying is not allowed")),
            // A name of one label is a host of our own network, not a mail domain of the Internet.
            Standing::Outward(_) if !mailbox.domain().as_str().contains('.') => {
                Err(Reply::new(550, "5.1.2", "This is not a mail domain"))
            }
            Standing::Outward(agency) => Ok((mailbox, Destination::Outward(agency.clone()))),
        }
    }

    /// ETRN (RFC 1985 §5.4): whose mail this client may ask for, by one of the agency's domains. `@` in front: any domain
    /// under it. Only hosts of the agency's own networks may.
    pub fn check_turn(&self, client: IpAddr, node: &str) -> Result<AgencyId, Reply> {
        let under = node.strip_prefix('@');
        let domain =
            Domain::parse(under.unwrap_or(node)).map_err(|_| Reply::new(501, "5.5.4", "Syntax: ETRN domain"))?;
        let is_meant = |own: &Domain| *own == domain || (under.is_some() && own.is_within(&domain));
        let mut owners = self.agencies.iter().filter(|agency| agency.networks.contains(client));
        owners
            .find(|agency| agency.domains.iter().any(is_meant))
            .map(|agency| agency.id.clone())
            .ok_or_else(|| Reply::new(459, "4.7.1", format!("Node {domain} is not allowed from this address")))
    }

    /// The agency of a domain, by exact match.
    #[must_use]
    pub fn agency_of(&self, domain: &Domain) -> Option<&Agency> {
        self.by_domain.get(domain).and_then(|&index| self.agencies.get(index))
    }

    #[must_use]
    pub fn agencies(&self) -> &[Agency] {
        &self.agencies
    }

    /// `<postmaster>` is the postmaster of the first agency (RFC 5321 §4.5.1).
    fn postmaster(&self) -> Result<Mailbox, Reply> {
        self.agencies
            .iter()
            .find_map(|agency| agency.domains.first())
            .and_then(|domain| Mailbox::parse(&format!("postmaster@{domain}")).ok())
            .ok_or_else(|| Reply::new(450, "4.2.1", "No agency is set up yet"))
    }
}

/// RFC 5321 §4.5.1 and RFC 2142: these two reach a person at every domain.
#[must_use]
pub fn always(local: &str) -> bool {
    local.eq_ignore_ascii_case("postmaster") || local.eq_ignore_ascii_case("abuse")
}

impl Agency {
    /// The mailbox without its detail, as somebody who knows mailboxes is asked for it.
    #[must_use]
    pub fn base(&self, mailbox: &Mailbox) -> Mailbox {
        let base = self.subaddressing.and_then(|separator| mailbox.local().split_once(separator)).map(|(base, _)| base);
        base.filter(|base| !base.is_empty())
            .and_then(|base| Mailbox::parse(&format!("{base}@{}", mailbox.domain())).ok())
            .unwrap_or_else(|| mailbox.clone())
    }

    /// Whether this mailbox exists, as far as is known here.
    fn knows(&self, mailbox: &Mailbox) -> bool {
        let Roster::Listed(listed) = &self.roster else { return true };
        if always(mailbox.local()) || listed.contains(&mailbox.folded()) {
            return true;
        }
        let base = self.subaddressing.and_then(|separator| mailbox.local().split_once(separator)).map(|(base, _)| base);
        base.is_some_and(|base| {
            !base.is_empty()
                && (always(base) || listed.contains(&format!("{}@{}", base.to_lowercase(), mailbox.domain())))
        })
    }
}

#[cfg(test)]
mod tests;
