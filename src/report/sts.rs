//! The agencies' MTA-STS policies (RFC 8461): what senders read to learn that mail for a domain comes here and inside
//! TLS only. One text serves every domain, for every domain's mail comes to the same name.

use std::collections::HashSet;
use std::fmt::Write as _;

use sha2::{Digest, Sha256};

use super::settings::{MtaSts, StsMode};
use crate::env::tls::server::Acceptor;
use crate::mail::{Domain, Span};

/// RFC 8461 §3.3: where a policy is found, below `https://mta-sts.<domain>`.
pub const PATH: &str = "/.well-known/mta-sts.txt";
/// RFC 8461 §3.2: no `max_age` is longer.
pub const MOST_AGE: Span = Span::seconds(31_557_600);

/// Everything that is served, as it is now.
#[derive(Debug)]
pub struct Site {
    acceptor: Acceptor,
    hosts: HashSet<String>,
    text: String,
}

impl Site {
    /// For the mail of `domains`, which comes to `mx`.
    #[must_use]
    pub fn new<'a>(
        acceptor: Acceptor,
        settings: &MtaSts,
        mx: &Domain,
        domains: impl IntoIterator<Item = &'a Domain>,
    ) -> Self {
        let hosts = domains.into_iter().map(host).collect();
        Self { acceptor, hosts, text: policy(settings.mode, settings.max_age, mx) }
    }
    #[must_use]
    pub const fn acceptor(&self) -> &Acceptor {
        &self.acceptor
    }
    /// The policy, if `host` (a `Host` field, perhaps with a port) is one of ours.
    #[must_use]
    pub fn text_for(&self, host: &str) -> Option<&str> {
        let name = host.split_once(':').map_or(host, |(name, _)| name).trim_end_matches('.').to_ascii_lowercase();
        self.hosts.contains(&name).then_some(&self.text)
    }
}

/// RFC 8461 §3.3: the name that the certificate must be for.
#[must_use]
pub fn host(domain: &Domain) -> String {
    format!("mta-sts.{domain}")
}

/// RFC 8461 §3.2.
#[must_use]
pub fn policy(mode: StsMode, max_age: Span, mx: &Domain) -> String {
    let seconds = max_age.as_seconds();
    format!("version: STSv1\r\nmode: {}\r\nmx: {mx}\r\nmax_age: {seconds}\r\n", mode.as_str())
}

/// RFC 8461 §3.1: at most 32 letters and digits that change whenever the policy does.
#[must_use]
pub fn id(policy: &str) -> String {
    Sha256::digest(policy).iter().take(8).fold(String::new(), |mut out, byte| {
        // Writing to a string does not fail.
        let _ = write!(out, "{byte:02x}");
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc8461_3_2_a_policy_is_one_field_a_line_and_its_id_changes_with_it() {
        let mx = Domain::parse("mx1.tinh.gov.vn").unwrap();
        let testing = policy(StsMode::Testing, Span::days(7), &mx);
        assert_eq!(testing, "version: STSv1\r\nmode: testing\r\nmx: mx1.tinh.gov.vn\r\nmax_age: 604800\r\n");
        let enforced = policy(StsMode::Enforce, Span::days(7), &mx);
        assert_ne!(id(&testing), id(&enforced));
        assert!(id(&testing).len() <= 32 && id(&testing).chars().all(|c| c.is_ascii_alphanumeric()));
    }
}
