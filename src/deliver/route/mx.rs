//! The mail exchangers of a domain, in the order in which they are tried (RFC 5321 §5.1, RFC 7505). Pure: DNS answers
//! come in, random numbers too.

use std::net::IpAddr;

use crate::env::dns::{DnsError, Mx};
use crate::mail::{Domain, Reply};

/// Of a domain's mail exchangers this many are tried: a hostile zone must not make work without end.
const EXCHANGERS: usize = 10;

/// The names to try for a domain, in order, from the answer to its MX query; or the reply that settles it.
/// `draw(n)` gives a number in `0..n`: exchangers of one preference take turns (RFC 5321 §5.1).
pub fn exchangers(
    domain: &Domain,
    answer: Result<Vec<Mx>, DnsError>,
    own_name: &str,
    mut draw: impl FnMut(u64) -> u64,
) -> Result<Vec<String>, Reply> {
    let mut list = match answer {
        Ok(list) if list.is_empty() => return Ok(vec![domain.to_string()]),
        Ok(list) => list,
        // RFC 5321 §5.1: no MX, then the domain itself is its exchanger.
        Err(DnsError::NoRecords(_)) => return Ok(vec![domain.to_string()]),
        Err(DnsError::NoSuchName(_)) => return Err(Reply::new(550, "5.1.2", "The recipient's domain does not exist")),
        Err(error) => return Err(Reply::new(451, "4.4.3", error.to_string())),
    };
    for mx in &mut list {
        mx.host = mx.host.trim_end_matches('.').to_ascii_lowercase();
    }
    // RFC 7505 §3: a lone "." says that the domain takes no mail.
    if list.iter().all(|mx| mx.host.is_empty()) {
        return Err(Reply::new(556, "5.1.10", "The recipient's domain takes no mail (null MX)"));
    }
    // RFC 2181 §10.3: an exchanger is a name; an address written there would be dialled unlooked.
    list.retain(|mx| mx.host.parse::<IpAddr>().is_err() && Domain::parse(&mx.host).is_ok());
    // RFC 5321 §5.1: ourselves and everything behind us is left out, or mail would go in a circle.
    if let Some(ours) = list.iter().filter(|mx| mx.host.eq_ignore_ascii_case(own_name)).map(|mx| mx.preference).min() {
        list.retain(|mx| mx.preference < ours);
        if list.is_empty() {
            return Err(Reply::new(554, "5.4.6", "Mail for this domain leads back to this server"));
        }
    }
    if list.is_empty() {
        return Err(Reply::new(550, "5.4.4", "The recipient's domain names no usable mail server"));
    }
    let mut keyed: Vec<(u16, u64, String)> =
        list.into_iter().map(|mx| (mx.preference, draw(u64::MAX), mx.host)).collect();
    keyed.sort();
    let mut names: Vec<String> = Vec::new();
    for (_, _, host) in keyed {
        if names.len() < EXCHANGERS && !names.contains(&host) {
            names.push(host);
        }
    }
    Ok(names)
}

/// Addresses of the Internet that an exchanger may have. A zone that points at this machine makes no circle
/// and reaches no service of ours; tests use another port, and then loopback is what they mean.
#[must_use]
pub fn usable(addresses: Vec<IpAddr>, port: u16) -> Vec<IpAddr> {
    let inside = |a: &IpAddr| {
        let a = a.to_canonical();
        a.is_loopback() || a.is_unspecified() || a.is_multicast()
    };
    addresses.into_iter().filter(|a| port != 25 || !inside(a)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mx(preference: u16, host: &str) -> Mx {
        Mx { preference, host: host.to_owned() }
    }
    fn order(list: Vec<Mx>) -> Result<Vec<String>, Reply> {
        exchangers(&Domain::parse("x.vn").unwrap(), Ok(list), "mx1.tinh.gov.vn", |_| 0)
    }

    #[test]
    fn rfc5321_5_1_lower_preference_first_and_ties_are_drawn() {
        assert_eq!(order(vec![mx(20, "b.vn"), mx(10, "A.vn.")]).unwrap(), ["a.vn", "b.vn"]);
        let tie = |first: u64| {
            let mut draws = [first, 5].into_iter();
            let list = vec![mx(10, "a.vn"), mx(10, "b.vn")];
            exchangers(&Domain::parse("x.vn").unwrap(), Ok(list), "me", |_| draws.next().unwrap()).unwrap()
        };
        assert_eq!(tie(1), ["a.vn", "b.vn"]);
        assert_eq!(tie(9), ["b.vn", "a.vn"]);
    }

    #[test]
    fn rfc5321_5_1_without_mx_the_domain_is_its_own_exchanger() {
        let domain = Domain::parse("x.vn").unwrap();
        let none = Err(DnsError::NoRecords("x.vn".to_owned()));
        assert_eq!(exchangers(&domain, none, "me", |_| 0).unwrap(), ["x.vn"]);
    }

    #[test]
    fn rfc7505_a_null_mx_is_a_refusal() {
        for host in ["", "."] {
            let refused = order(vec![mx(0, host)]).unwrap_err();
            assert_eq!((refused.is_permanent(), refused.enhanced()), (true, "5.1.10"));
        }
    }

    #[test]
    fn rfc5321_5_1_mail_never_comes_back_to_us() {
        assert_eq!(order(vec![mx(5, "a.vn"), mx(10, "MX1.tinh.gov.vn"), mx(20, "b.vn")]).unwrap(), ["a.vn"]);
        assert_eq!(order(vec![mx(10, "mx1.tinh.gov.vn"), mx(10, "b.vn")]).unwrap_err().enhanced(), "5.4.6");
        let inside: Vec<IpAddr> = ["127.0.0.1", "::ffff:127.0.0.1", "192.0.2.1"].map(|a| a.parse().unwrap()).to_vec();
        assert_eq!(usable(inside.clone(), 25).len(), 1);
        assert_eq!(usable(inside, 2525).len(), 3);
    }

    #[test]
    fn what_dns_does_not_know_is_tried_again() {
        let domain = Domain::parse("x.vn").unwrap();
        let failed = Err(DnsError::Failed("x.vn".to_owned(), "timeout".to_owned()));
        assert!(exchangers(&domain, failed, "me", |_| 0).unwrap_err().is_temporary());
        let gone = Err(DnsError::NoSuchName("x.vn".to_owned()));
        assert!(exchangers(&domain, gone, "me", |_| 0).unwrap_err().is_permanent());
    }

    #[test]
    fn a_hostile_zone_makes_bounded_work() {
        let many = (0..500).map(|i| mx(i, &format!("h{i}.vn"))).collect();
        assert_eq!(order(many).unwrap().len(), EXCHANGERS);
        assert_eq!(order(vec![mx(1, "a b\r\n"), mx(2, "b.vn")]).unwrap(), ["b.vn"]);
        assert_eq!(order(vec![mx(1, "192.0.2.1"), mx(2, "b.vn")]).unwrap(), ["b.vn"], "an address is no name");
        assert_eq!(order(vec![mx(1, "b.vn"), mx(2, "c.vn"), mx(3, "b.vn")]).unwrap(), ["b.vn", "c.vn"], "once each");
    }
}
