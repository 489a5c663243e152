//! Lists in DNS: what to ask, and what an answer means (RFC 5782).

use std::net::{IpAddr, Ipv4Addr};

use super::settings::List;
use crate::mail::Domain;

/// Answers of a list lie here (RFC 5782 §2.1); anything else is a domain that was sold, or a resolver that lies.
const LISTED: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 0);
/// In this /24 lists say that they do not answer this resolver, or that the question was wrong.
const REFUSED: Ipv4Addr = Ipv4Addr::new(127, 255, 255, 0);

/// The name that asks a zone about an address: octets or nibbles backwards (RFC 5782 §2.1, §2.4).
#[must_use]
pub fn about_address(zone: &Domain, address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(ip) => {
            let [a, b, c, d] = ip.octets();
            format!("{d}.{c}.{b}.{a}.{zone}")
        }
        IpAddr::V6(ip) => {
            let mut name = String::with_capacity(64 + zone.as_str().len());
            for octet in ip.octets().iter().rev() {
                for nibble in [octet & 15, octet >> 4] {
                    name.extend(char::from_digit(u32::from(nibble), 16));
                    name.push('.');
                }
            }
            name + zone.as_str()
        }
    }
}

/// The name that asks a zone about a domain; `None` when together they are too long to be asked.
#[must_use]
pub fn about_domain(zone: &Domain, domain: &Domain) -> Option<String> {
    let name = format!("{domain}.{zone}");
    (name.len() <= 253).then_some(name)
}

/// Whether a list means something by it.
#[must_use]
pub fn is_answer(ip: Ipv4Addr) -> bool {
    ip.to_bits() >> 24 == LISTED.to_bits() >> 24 && !is_refusal(ip)
}

/// Whether a list says by it that it does not answer.
#[must_use]
pub fn is_refusal(ip: Ipv4Addr) -> bool {
    ip.to_bits() >> 8 == REFUSED.to_bits() >> 8
}

/// Whether the answers say that it is listed. `None`: they say nothing that can be trusted.
#[must_use]
pub fn is_listed(list: &List, answers: &[Ipv4Addr]) -> Option<bool> {
    let mut sound = answers.iter().filter(|ip| is_answer(**ip)).peekable();
    sound.peek()?;
    Some(list.answers.is_empty() || sound.any(|ip| list.answers.iter().any(|n| n.contains(IpAddr::V4(*ip)))))
}
