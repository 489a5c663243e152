//! Whether a HELO name is one that a mail server of the Internet would give.
//! It costs points and never refuses by itself: RFC 5321 §4.1.4 forbids refusing mail because the name does not verify.

use std::net::IpAddr;

/// Top-level names that exist only inside a house (RFC 6761, RFC 6762 appendix G, RFC 7686), or hold no mail server: the
/// reverse zones of .arpa, home.arpa among them (RFC 8375).
const HOME: [&str; 16] = [
    "local",
    "localhost",
    "localdomain",
    "lan",
    "internal",
    "intranet",
    "private",
    "corp",
    "home",
    "domain",
    "workgroup",
    "invalid",
    "test",
    "onion",
    "alt",
    "arpa",
];

/// Whether the name (grammar was checked before) fits a mail server at `client`.
#[must_use]
pub fn is_sane(name: &str, client: IpAddr) -> bool {
    if let Some(literal) = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        // RFC 5321 §4.1.3; it is the client's own, or a lie.
        let literal = literal.strip_prefix("IPv6:").or_else(|| literal.strip_prefix("ipv6:")).unwrap_or(literal);
        return literal.parse::<IpAddr>().is_ok_and(|ip| ip.to_canonical() == client.to_canonical());
    }
    let name = name.strip_suffix('.').unwrap_or(name);
    let Some((rest, top)) = name.rsplit_once('.') else { return false };
    // An address without brackets is no name (RFC 5321 §2.3.5).
    let numeric = name.parse::<IpAddr>().is_ok() || top.bytes().all(|b| b.is_ascii_digit());
    // An address written with hyphens and nothing else, as some programs do: 192-0-2-7.net.
    let dressed = rest.bytes().all(|b| b.is_ascii_digit() || b == b'-' || b == b'.');
    let numeric = numeric || (dressed && rest.replace('-', ".").parse::<std::net::Ipv4Addr>().is_ok());
    !numeric && !HOME.iter().any(|home| top.eq_ignore_ascii_case(home))
}
