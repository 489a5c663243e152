//! The one author of a message, read strictly: what cannot be read in one way only has no author.

use crate::mail::Mailbox;
use crate::mail::header::Headers;

/// The mailbox of the one From field, when there is exactly one field with exactly one mailbox (RFC 5322 §3.6.2,
/// THREATS A-01): no group, no list, no route, no second pair of angles.
#[must_use]
pub fn author(headers: &Headers<'_>) -> Option<Mailbox> {
    let mut fields = headers.all("From");
    let field = fields.next()?;
    if fields.next().is_some() || field.malformed {
        return None;
    }
    let text = strip_phrases(&field.unfolded())?;
    let address = match (text.matches('<').count(), text.matches('>').count()) {
        (0, 0) => text.trim(),
        (1, 1) => text.split_once('<')?.1.strip_suffix('>').or_else(|| trailing(&text))?.trim(),
        _ => return None,
    };
    Mailbox::parse(address).ok()
}

/// What stands in the angles when only blanks follow them.
fn trailing(text: &str) -> Option<&str> {
    let (inside, after) = text.split_once('<')?.1.split_once('>')?;
    after.trim().is_empty().then_some(inside)
}

/// Without comments, and without quoted strings in front of the address; a quoted local part stays. `None` for
/// lists, groups and what does not close.
fn strip_phrases(text: &str) -> Option<String> {
    let (mut out, mut depth, mut chars) = (String::new(), 0_usize, text.chars().peekable());
    while let Some(c) = chars.next() {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.checked_sub(1)?,
            '\\' if depth > 0 => drop(chars.next()?),
            _ if depth > 0 => {}
            '"' => {
                let quoted = quoted_string(&mut chars)?;
                if chars.peek() == Some(&'@') {
                    out.push_str(&quoted);
                }
            }
            ',' | ';' | ':' => return None,
            c => out.push(c),
        }
    }
    (depth == 0).then_some(out)
}

/// The rest of a quoted string, quotes and escapes kept.
fn quoted_string(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Option<String> {
    let mut out = String::from('"');
    loop {
        let c = chars.next()?;
        out.push(c);
        match c {
            '"' => return Some(out),
            '\\' => out.push(chars.next()?),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(header: &str) -> Option<String> {
        author(&Headers::parse(header.as_bytes())).map(|m| m.to_string())
    }

    #[test]
    fn rfc5322_3_6_2_one_author() {
        for (header, expected) in [
            ("From: a@x.vn\r\n", "a@x.vn"),
            ("From: An, of course\r\n <a@x.vn>\r\n", ""),
            ("From: \"Nguyen, An\" <a@x.vn> (home)\r\n", "a@x.vn"),
            ("From: =?utf-8?q?An?= <a@x.vn>\r\n", "a@x.vn"),
            ("From: \"a b\"@x.vn\r\n", "\"a b\"@x.vn"),
            ("From: a@x.vn <b@x.vn>\r\n", "b@x.vn"),
            ("From: <a@x.vn> <b@x.vn>\r\n", ""),
            ("From: a@x.vn, b@x.vn\r\n", ""),
            ("From: g: a@x.vn;\r\n", ""),
            ("From: a@x.vn\r\nFrom: b@x.vn\r\n", ""),
            ("From : a@x.vn\r\n", ""),
            ("From: <@r.vn:a@x.vn>\r\n", ""),
            ("From: (a@x.vn\r\n", ""),
            ("From:\r\n", ""),
            ("To: a@x.vn\r\n", ""),
        ] {
            assert_eq!(of(header).unwrap_or_default(), expected, "{header}");
        }
    }
}
