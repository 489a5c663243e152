//! The PROXY protocol, versions 1 and 2, as a function of bytes (HAProxy's `proxy-protocol.txt`).
//! Read only from listed networks, where it is mandatory; size is bounded here, time by the caller (THREATS S-24).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// What the first bytes of a connection are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Header {
    /// More bytes are needed.
    Incomplete,
    /// A header of `length` octets.
    Complete { length: usize, addresses: Option<Addresses> },
    /// Not a PROXY header.
    Bad,
}

/// The connection that the proxy speaks for. Absent for health checks (`LOCAL`, `UNKNOWN`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Addresses {
    pub client: SocketAddr,
    pub local: SocketAddr,
}

/// The signature of version 2.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// A version 1 line, CRLF included, is never longer.
const V1_MAX: usize = 107;
/// Addresses and TLVs of version 2 that we are ready to read.
const V2_MAX: usize = 1024;

/// Reads a header from the start of `bytes`.
#[must_use]
pub fn parse(bytes: &[u8]) -> Header {
    let same = |full: &[u8]| bytes.iter().zip(full).all(|(a, b)| a == b);
    if same(SIGNATURE) {
        if bytes.len() < SIGNATURE.len() { Header::Incomplete } else { version2(bytes) }
    } else if same(b"PROXY ") {
        version1(bytes)
    } else {
        Header::Bad
    }
}

fn version1(bytes: &[u8]) -> Header {
    let Some(end) = memchr::memchr(b'\n', bytes) else {
        return if bytes.len() < V1_MAX { Header::Incomplete } else { Header::Bad };
    };
    let length = end.saturating_add(1);
    let line = bytes.get(..end).and_then(|line| line.strip_suffix(b"\r"));
    let Some(line) = line.filter(|_| length <= V1_MAX).and_then(|line| std::str::from_utf8(line).ok()) else {
        return Header::Bad;
    };
    let words: Vec<&str> = line.split(' ').collect();
    match words.as_slice() {
        ["PROXY", "UNKNOWN", ..] => Header::Complete { length, addresses: None },
        ["PROXY", family @ ("TCP4" | "TCP6"), from, to, from_port, to_port] => {
            let address = |ip: &str, port: &str| -> Option<SocketAddr> {
                let ip: IpAddr = ip.parse().ok()?;
                let is_number = port.bytes().all(|b| b.is_ascii_digit());
                // An IPv4 client is one however it is written, as in version 2: lists and limits know it by that.
                (ip.is_ipv4() == (*family == "TCP4") && is_number)
                    .then_some(SocketAddr::new(ip.to_canonical(), port.parse().ok()?))
            };
            match (address(from, from_port), address(to, to_port)) {
                (Some(client), Some(local)) => {
                    Header::Complete { length, addresses: Some(Addresses { client, local }) }
                }
                _ => Header::Bad,
            }
        }
        _ => Header::Bad,
    }
}

fn version2(bytes: &[u8]) -> Header {
    let Some(&[version_command, family, high, low]) = bytes.get(12..16) else {
        return Header::Incomplete;
    };
    let size = usize::from(u16::from_be_bytes([high, low]));
    if version_command >> 4 != 2 || size > V2_MAX {
        return Header::Bad;
    }
    let length = size.saturating_add(16);
    let Some(block) = bytes.get(16..length) else {
        return Header::Incomplete;
    };
    match (version_command & 15, family) {
        (0, _) => Header::Complete { length, addresses: None },
        (1, 0x11) => complete(length, addresses4(block)),
        (1, 0x21) => complete(length, addresses6(block)),
        _ => Header::Bad,
    }
}

fn complete(length: usize, addresses: Option<Addresses>) -> Header {
    addresses.map_or(Header::Bad, |found| Header::Complete { length, addresses: Some(found) })
}

fn addresses4(block: &[u8]) -> Option<Addresses> {
    let (from, rest) = block.split_first_chunk::<4>()?;
    let (to, rest) = rest.split_first_chunk::<4>()?;
    ports(rest, Ipv4Addr::from(*from).into(), Ipv4Addr::from(*to).into())
}

fn addresses6(block: &[u8]) -> Option<Addresses> {
    let (from, rest) = block.split_first_chunk::<16>()?;
    let (to, rest) = rest.split_first_chunk::<16>()?;
    ports(rest, Ipv6Addr::from(*from).into(), Ipv6Addr::from(*to).into())
}

fn ports(block: &[u8], from: IpAddr, to: IpAddr) -> Option<Addresses> {
    let (from_port, rest) = block.split_first_chunk::<2>()?;
    let (to_port, _) = rest.split_first_chunk::<2>()?;
    Some(Addresses {
        client: SocketAddr::new(from.to_canonical(), u16::from_be_bytes(*from_port)),
        local: SocketAddr::new(to.to_canonical(), u16::from_be_bytes(*to_port)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_1_gives_both_addresses_and_leaves_what_follows() {
        let line = b"PROXY TCP4 192.0.2.25 127.0.0.1 40000 25\r\n";
        let expected =
            Addresses { client: "192.0.2.25:40000".parse().unwrap(), local: "127.0.0.1:25".parse().unwrap() };
        let expected = Header::Complete { length: line.len(), addresses: Some(expected) };
        assert_eq!(parse(line), expected);
        assert_eq!(parse(&[line.as_slice(), b"EHLO x\r\n"].concat()), expected);
        for cut in 0..line.len() {
            assert_eq!(parse(&line[..cut]), Header::Incomplete, "{cut}");
        }
        let mapped = b"PROXY TCP6 ::ffff:192.0.2.25 ::1 40000 25\r\n";
        let Header::Complete { addresses: Some(mapped), .. } = parse(mapped) else { panic!("{:?}", parse(mapped)) };
        assert_eq!(mapped.client, "192.0.2.25:40000".parse().unwrap(), "an IPv4 client however it is written");
        assert_eq!(parse(b"PROXY UNKNOWN\r\n"), Header::Complete { length: 15, addresses: None });
    }

    #[test]
    fn version_2_gives_both_addresses() {
        let mut header = SIGNATURE.to_vec();
        header.extend([0x21, 0x11, 0, 15, 192, 0, 2, 25, 127, 0, 0, 1, 0x9c, 0x40, 0, 25, 4, 0, 0]);
        let Header::Complete { length, addresses: Some(a) } = parse(&header) else { panic!("{:?}", parse(&header)) };
        assert_eq!((length, a.client, a.local.port()), (31, "192.0.2.25:40000".parse().unwrap(), 25));
        for cut in 0..header.len() {
            assert_eq!(parse(&header[..cut]), Header::Incomplete, "{cut}");
        }
        let mut local = SIGNATURE.to_vec();
        local.extend([0x20, 0, 0, 0]);
        assert_eq!(parse(&local), Header::Complete { length: 16, addresses: None });
    }

    #[test]
    fn anything_else_is_bad_and_bounded() {
        let long = [b"PROXY ".as_slice(), &[b'x'; 200]].concat();
        let mut huge = SIGNATURE.to_vec();
        huge.extend([0x21, 0x11, 0xff, 0xff]);
        let mut short = SIGNATURE.to_vec();
        short.extend([0x21, 0x11, 0, 4, 1, 2, 3, 4]);
        let lines: [&[u8]; 10] = [
            b"EHLO x\r\n",
            b"PROXY TCP4 1.2.3.4 5.6.7.8 1\r\n",
            b"PROXY TCP4 ::1 ::1 1 2\r\n",
            b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\n",
            b"PROXY TCP4 1.2.3.4 5.6.7.8 1 99999\r\n",
            b"PROXY TCP4 1.2.3.4 5.6.7.8 1 +25\r\n",
            &long,
            &huge,
            &short,
            b"PROXYTCP4",
        ];
        for line in lines {
            assert_eq!(parse(line), Header::Bad, "{line:?}");
        }
    }
}
