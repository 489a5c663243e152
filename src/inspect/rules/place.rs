//! Addresses and hosts in what strangers write, read as leniently as mail programs and browsers do.

use std::sync::LazyLock;

use regex::Regex;

use super::text::encoded;

/// Addresses read from one field.
const ADDRESSES: usize = 200;

static URL: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(
        r#"(?i)\b(?:(?:https?|hxxps?|ftp)://[^\s<>"'\]\)]+|www\.[a-z0-9-]+\.[^\s<>"'\]\)]+|(?:[a-z0-9-]{1,63}\.)+[a-z]{2,24}/[^\s<>"'\]\)]*)"#,
    )
    .expect("the pattern is a constant")
});

/// Links in running text, cut at 2,000 characters.
pub fn urls_in(text: &str) -> impl Iterator<Item = String> {
    candidates(text).flat_map(|token| URL.find_iter(token)).map(|m| {
        let end = m.as_str().trim_end_matches(['.', ',', ';', ':', '!', '?', '*', '_']);
        end.chars().take(2000).collect()
    })
}

/// The words of `text` with a slash or a full stop inside: a link has one and no white space, and most words have neither.
fn candidates(text: &str) -> impl Iterator<Item = &str> {
    let mut done = 0;
    memchr::memchr2_iter(b'/', b'.', text.as_bytes()).filter_map(move |at| {
        let next = text.as_bytes().get(at + 1)?;
        if at < done || next.is_ascii_whitespace() {
            return None;
        }
        let (before, after) = text.split_at_checked(at)?;
        let start = before.char_indices().rev().find(|(_, c)| c.is_whitespace()).map_or(0, |(i, c)| i + c.len_utf8());
        let end = after.find(char::is_whitespace).map_or(text.len(), |i| at + i);
        done = end;
        text.get(start..end)
    })
}

/// The host of a link as an A-label or an address; `None` for mail, telephone and data links.
#[must_use]
pub fn host_of(url: &str) -> Option<String> {
    let url = url.trim();
    let rest = match url.find("://") {
        Some(at) => url.get(at + 3..)?,
        None if url.starts_with("//") => url.get(2..)?,
        None if url.contains(':') && !url.contains('/') => return None,
        None if url.starts_with(['/', '#', '?', '.']) || !url.contains('.') => return None,
        None => url,
    };
    let authority = rest.split(['/', '?', '#', '\\']).next()?;
    let host = authority.rsplit('@').next()?;
    let host = if host.starts_with('[') { host } else { host.split(':').next()? };
    let host = host.trim_end_matches('.');
    if host.is_empty() || host.contains(char::is_whitespace) || host.len() > 255 {
        return None;
    }
    Some(crate::mail::Domain::parse(host).map_or_else(|_| host.to_ascii_lowercase(), |d| d.as_str().to_owned()))
}

/// `Name <address>` pairs of an address field (RFC 5322 §3.4), read leniently; the address in lower case.
#[must_use]
pub fn addresses(value: &[u8]) -> Vec<(String, String)> {
    let value = value.get(..value.len().min(64 * 1024)).unwrap_or_default();
    let (mut out, mut start) = (Vec::new(), 0);
    let (mut quoted, mut depth, mut angle, mut escaped) = (false, 0_u32, false, false);
    for (i, b) in value.iter().copied().chain(std::iter::once(b',')).enumerate() {
        let last = i >= value.len();
        if std::mem::take(&mut escaped) && !last {
            continue;
        }
        match b {
            b'\\' if quoted || depth > 0 => escaped = true,
            b'"' if depth == 0 => quoted = !quoted,
            b'(' if !quoted => depth += 1,
            b')' if !quoted => depth = depth.saturating_sub(1),
            b'<' if !quoted && depth == 0 => angle = true,
            b'>' if !quoted && depth == 0 => angle = false,
            b',' | b';' if last || (!quoted && depth == 0 && !angle) => {
                if let Some(pair) = address(value.get(start..i).unwrap_or_default()) {
                    out.push(pair);
                }
                start = i + 1;
                if out.len() >= ADDRESSES {
                    break;
                }
            }
            _ => {}
        }
    }
    out
}

fn address(item: &[u8]) -> Option<(String, String)> {
    let item = item.trim_ascii();
    if item.is_empty() {
        return None;
    }
    let clean = |name: &[u8]| {
        let name = name.trim_ascii();
        let name = name.strip_prefix(b"\"").and_then(|n| n.strip_suffix(b"\"")).unwrap_or(name);
        encoded::decode(name).replace("\\\"", "\"").replace(['\r', '\n'], " ")
    };
    if let Some(open) = item.iter().rposition(|b| *b == b'<') {
        let (name, rest) = item.split_at(open);
        let inside = rest.get(1..)?.split(|b| *b == b'>').next()?;
        return Some((clean(name), lower(inside)));
    }
    if let Some(open) = item.iter().position(|b| *b == b'(') {
        let (address, comment) = item.split_at(open);
        return Some((
            clean(comment.trim_ascii_start().strip_prefix(b"(")?.strip_suffix(b")").unwrap_or(b"")),
            lower(address),
        ));
    }
    if item.contains(&b'@') { Some((String::new(), lower(item))) } else { Some((clean(item), String::new())) }
}

fn lower(address: &[u8]) -> String {
    String::from_utf8_lossy(address.trim_ascii()).to_lowercase().replace(['\r', '\n'], "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_found_wherever_they_stand_in_a_word() {
        let text = "a. (http://a.test/x) b,www.b.test.\u{a0}c.test/y HTTP://D/ . / x/\nftp://e. and/or e.g. http://f.test,http://g.test/";
        let found: Vec<String> = urls_in(text).collect();
        let whole: Vec<&str> = URL
            .find_iter(text)
            .map(|m| m.as_str().trim_end_matches(['.', ',', ';', ':', '!', '?', '*', '_']))
            .collect();
        assert_eq!(found, whole, "as if the whole text were searched");
        assert_eq!(found.len(), 6, "{found:?}");
    }

    #[test]
    fn addresses_are_split_where_rfc5322_splits_them() {
        let list = addresses(b"\"A, B\" <a@x.vn>, b@y.vn (Binh), =?utf-8?q?C=C3=B4?= <C@Z.vn>");
        let expected = [("A, B", "a@x.vn"), ("Binh", "b@y.vn"), ("Cô", "c@z.vn")];
        assert_eq!(list, expected.map(|(n, a)| (n.to_owned(), a.to_owned())));
    }

    #[test]
    fn hosts_are_what_the_browser_would_ask() {
        for (url, host) in [
            ("http://bank.vn@evil.test:8080/x", Some("evil.test")),
            ("HTTPS://Evil.Test./a", Some("evil.test")),
            ("mailto:a@b.vn", None),
            ("#top", None),
            ("vneid-capnhat.example/tai-ve", Some("vneid-capnhat.example")),
            ("http://1.2.3.4/", Some("1.2.3.4")),
        ] {
            assert_eq!(host_of(url).as_deref(), host, "{url}");
        }
    }
}
