//! SPF, RFC 7208: check_host() as our own evaluation over our own resolver.
//!
//! Own, because mail-auth counts no void look-ups, takes the first of two records and asks its own resolver
//! (THREATS T5, A-07, A-08). Limits of §4.6.4 hold for each evaluation: ten terms that ask DNS, two void look-ups, ten
//! names of an MX or PTR answer. Nesting is bounded by the ten look-ups. Where DNS does not answer the result is
//! temperror, never pass.

mod eval;
mod macros;
mod record;

use std::net::IpAddr;

use crate::env::Dns;
use crate::inspect::AuthResult;

/// What is to be checked.
#[derive(Clone, Copy, Debug)]
pub struct Query<'a> {
    pub ip: IpAddr,
    pub helo: &'a str,
    /// `local@domain`; `postmaster` is filled in where there is no local part (§4.3).
    pub sender: &'a str,
    pub domain: &'a str,
    /// Seconds since 1970, for `%{t}`.
    pub now: i64,
}

/// The result of one evaluation.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Outcome {
    pub result: AuthResult,
    /// For operators: what matched or what went wrong.
    pub detail: String,
    /// The domain's own explanation of a fail, printable ASCII only (§6.2).
    pub explanation: Option<String>,
    /// A pass that nearly everybody gets: `+all`, or networks that add up to an IPv4 /8 or more (THREATS A-09).
    pub permissive: bool,
}

/// check_host() (§4).
pub async fn check(dns: &Dns, query: Query<'_>) -> Outcome {
    let query = Query { ip: query.ip.to_canonical(), ..query };
    if !is_askable(query.domain) {
        return Outcome { detail: "no domain to ask".to_owned(), ..Outcome::default() };
    }
    let sender = if query.sender.contains('@') {
        query.sender.trim_start_matches('@').to_owned()
    } else {
        query.sender.to_owned()
    };
    let sender = if sender.contains('@') { sender } else { format!("postmaster@{sender}") };
    eval::Evaluation::new(dns, query, &sender).run().await
}

/// §4.3: a domain with more than one label, each fit for a query; no address literal.
fn is_askable(domain: &str) -> bool {
    let domain = domain.strip_suffix('.').unwrap_or(domain);
    domain.len() <= 253
        && domain.contains('.')
        && !domain.starts_with('[')
        && domain.split('.').all(|label| (1..=63).contains(&label.len()))
        && domain.bytes().all(|b| b.is_ascii_graphic())
}

#[cfg(test)]
mod tests;
