//! The From field, read as strictly as DMARC needs it: one field, one mailbox, a DNS domain (THREATS A-01, T2).
//! Whatever a mail client might read otherwise is an error here, not a guess. No recursion: comments are counted.

use crate::mail::header::Headers;
use crate::mail::{Domain, Mailbox};

use super::words;

/// Comments nested deeper than this are an attack on parsers (THREATS A-02).
const DEEPEST: usize = 8;
/// A From field longer than this is none that people wrote.
const LONGEST: usize = 4096;

/// What From says.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct From {
    pub mailbox: Option<Mailbox>,
    /// Decoded display name, comments included.
    pub display: String,
    /// Why there is no mailbox: a finding code and a detail.
    pub problem: Option<(&'static str, String)>,
    /// Every address or domain-like mailbox that can be found in the field, for the receipt and own-domain checks.
    pub claims: Vec<Domain>,
}

/// Reads From out of a header section.
pub fn read(headers: &Headers<'_>) -> From {
    let fields: Vec<_> = headers.all("From").collect();
    let problem = |code, detail: String, claims| From { problem: Some((code, detail)), claims, ..From::default() };
    let claims = || fields.iter().flat_map(|field| claims(&field.unfolded())).collect();
    match fields.as_slice() {
        [] => problem("from.missing", String::new(), Vec::new()),
        [field] if field.value.len() > LONGEST => {
            problem("from.invalid", format!("{} octets long", field.value.len()), Vec::new())
        }
        [field] => match parse(&field.unfolded()) {
            Ok((mailbox, display)) => From { mailbox: Some(mailbox), display, ..From::default() },
            Err((code, detail)) => problem(code, detail, claims()),
        },
        several => problem("from.multiple", format!("{} From fields", several.len()), claims()),
    }
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Token {
    /// An atom, with dots inside: RFC 5322's dot-atom and the obsolete phrase with dots.
    Word(String),
    Quoted(String),
    Comment(String),
    Literal,
    Special(char),
}

/// One mailbox and its display name (RFC 5322 §3.4).
pub fn parse(text: &str) -> Result<(Mailbox, String), (&'static str, String)> {
    let invalid = |why: &str| ("from.invalid", format!("{why}: {}", text.chars().take(200).collect::<String>()));
    let tokens = tokens(text).map_err(|why| invalid(why))?;
    let comments: Vec<String> =
        tokens.iter().filter_map(|t| if let Token::Comment(c) = t { Some(c.clone()) } else { None }).collect();
    let tokens: Vec<Token> = tokens.into_iter().filter(|t| !matches!(t, Token::Comment(_))).collect();
    if tokens.contains(&Token::Special(',')) && !inside_angles_only(&tokens, ',') {
        return Err(("from.multiple-address", text.chars().take(200).collect()));
    }
    if tokens.iter().any(|t| matches!(t, Token::Special(':' | ';'))) {
        return Err(invalid("a group or a route"));
    }
    let (phrase, address) = match tokens.iter().position(|t| *t == Token::Special('<')) {
        None => (&[][..], &tokens[..]),
        Some(open) => {
            let inner = tokens.get(open + 1..).unwrap_or_default();
            let Some((Token::Special('>'), inner)) = inner.split_last() else {
                return Err(invalid("text after the address, or no closing angle"));
            };
            (tokens.get(..open).unwrap_or_default(), inner)
        }
    };
    let mailbox = address_of(address).map_err(|why| invalid(why))?;
    let mut display = display_of(phrase)
        .or_else(|| same_address(phrase, &mailbox))
        .ok_or_else(|| invalid("an address stands where the name belongs"))?;
    for comment in comments {
        display.push(' ');
        display.push_str(&comment);
    }
    Ok((mailbox, words::decode(display.trim())))
}

/// A comma inside angles belongs to a route, which is refused on its own.
fn inside_angles_only(tokens: &[Token], special: char) -> bool {
    let mut inside = false;
    tokens.iter().all(|token| {
        match token {
            Token::Special('<') => inside = true,
            Token::Special('>') => inside = false,
            Token::Special(c) if *c == special => return inside,
            _ => {}
        }
        true
    })
}

/// `local@domain` of exactly three tokens: blanks and comments inside an address are obsolete and ambiguous.
fn address_of(tokens: &[Token]) -> Result<Mailbox, &'static str> {
    let (local, domain) = match tokens {
        [Token::Word(local), Token::Special('@'), Token::Word(domain)] => (local.clone(), domain),
        [Token::Quoted(local), Token::Special('@'), Token::Word(domain)] => {
            (format!("\"{}\"", local.replace('\\', "\\\\").replace('"', "\\\"")), domain)
        }
        [.., Token::Special('@'), Token::Literal] => return Err("an address literal instead of a domain"),
        _ => return Err("no plain address"),
    };
    let domain = Domain::parse(domain).map_err(|_| "the domain is no DNS name")?;
    if !domain.as_str().contains('.') {
        return Err("the domain has one label");
    }
    Mailbox::parse(&format!("{local}@{domain}")).map_err(|_| "the local part is not valid")
}

/// The words of a phrase; `None` when something stands there that no phrase has.
fn display_of(phrase: &[Token]) -> Option<String> {
    let mut out = String::new();
    for token in phrase {
        let (Token::Word(word) | Token::Quoted(word)) = token else { return None };
        if !out.is_empty() {
            out.push(' ');
        }
        out.push_str(word);
    }
    Some(out)
}

/// `a@x.vn <a@x.vn>` without quotes is against the grammar, common, and says the same thing twice.
fn same_address(phrase: &[Token], mailbox: &Mailbox) -> Option<String> {
    address_of(phrase).ok().filter(|named| named.folded() == mailbox.folded()).map(|named| named.to_string())
}

fn tokens(text: &str) -> Result<Vec<Token>, &'static str> {
    let (mut out, mut chars) = (Vec::new(), text.chars().peekable());
    while let Some(c) = chars.next() {
        match c {
            ' ' | '\t' => {}
            '"' => out.push(Token::Quoted(until(&mut chars, '"')?)),
            '[' => {
                until(&mut chars, ']')?;
                out.push(Token::Literal);
            }
            '(' => out.push(Token::Comment(comment(&mut chars)?)),
            '<' | '>' | '@' | ',' | ':' | ';' => out.push(Token::Special(c)),
            ')' | ']' | '\\' => return Err("a stray bracket"),
            c if c.is_control() => return Err("a control character"),
            c => {
                let mut word = String::from(c);
                while let Some(next) = chars.next_if(|n| !n.is_control() && !" \t\"[](),:;<>@\\".contains(*n)) {
                    word.push(next);
                }
                out.push(Token::Word(word));
            }
        }
    }
    Ok(out)
}

fn until(chars: &mut impl Iterator<Item = char>, end: char) -> Result<String, &'static str> {
    let mut out = String::new();
    while let Some(c) = chars.next() {
        match c {
            c if c == end => return Ok(out),
            '\\' => out.push(chars.next().ok_or("an open quote")?),
            c => out.push(c),
        }
    }
    Err("an open quote")
}

fn comment(chars: &mut impl Iterator<Item = char>) -> Result<String, &'static str> {
    let (mut out, mut depth) = (String::new(), 1_usize);
    while let Some(c) = chars.next() {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            '\\' => out.extend(chars.next()),
            c => out.push(c),
        }
        match depth {
            0 => return Ok(out),
            d if d > DEEPEST => return Err("comments nested too deeply"),
            _ => {}
        }
    }
    Err("an open comment")
}

/// Domains of whatever looks like an address in `text`, decoded words included; at most ten.
pub fn claims(text: &str) -> Vec<Domain> {
    let text: String = text.chars().take(LONGEST).collect();
    let mut found: Vec<Domain> = Vec::new();
    for text in [text.clone(), words::decode(&text)] {
        for (at, _) in text.match_indices(['@', '\u{ff20}']) {
            let after = text.get(at..).unwrap_or_default().trim_start_matches(['@', '\u{ff20}']);
            let domain: String = after.chars().take_while(|c| c.is_alphanumeric() || matches!(c, '.' | '-')).collect();
            let domain = domain.trim_end_matches(['.', '-']);
            let named = text.get(..at).is_some_and(|before| before.ends_with(|c: char| !c.is_whitespace()));
            if let Ok(domain) = Domain::parse(domain)
                && named
                && domain.as_str().contains('.')
                && !found.contains(&domain)
                && found.len() < 10
            {
                found.push(domain);
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Result<String, &'static str> {
        parse(text).map(|(mailbox, _)| mailbox.to_string()).map_err(|(code, _)| code)
    }

    #[test]
    fn rfc5322_3_4_one_mailbox_is_read() {
        for (text, expected) in [
            ("a@x.vn", "a@x.vn"),
            ("<a@x.vn>", "a@x.vn"),
            ("An <a@X.VN>", "a@x.vn"),
            ("\"An, Nguyen\" <a@x.vn>", "a@x.vn"),
            ("Nguyen V. An <a@x.vn>", "a@x.vn"),
            ("\"a b\"@x.vn", "\"a b\"@x.vn"),
            ("a@x.vn (An)", "a@x.vn"),
            ("a@x.vn <a@x.vn>", "a@x.vn"),
            ("Nguyễn Văn An <a@x.vn>", "a@x.vn"),
            ("=?utf-8?Q?An?= <a@x.vn>", "a@x.vn"),
        ] {
            assert_eq!(address(text).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn from_games_are_refused() {
        for text in [
            "",
            "a",
            "a@",
            "@x.vn",
            "a@b@x.vn",
            "a@x.vn b@y.vn",
            "ceo@bank.example <x@attacker.example>",
            "<@r.vn,@s.vn:a@x.vn>",
            "a@[192.0.2.1]",
            "a@x.vn.",
            "a@x",
            "<a@x.vn",
            "<<a@x.vn>>",
            "<a@x.vn> <b@y.vn>",
            "<a@x.vn> b",
            "G: a@x.vn;",
            "a @ b @x.vn",
            "\"a",
            "(((((((((a)))))))) a@x.vn",
            "a\u{0}@x.vn",
            "a%b@x.vn",
        ] {
            assert_eq!(address(text), Err("from.invalid"), "{text}");
        }
        for text in ["a@x.vn, b@y.vn", "<a@x.vn>, An <b@y.vn>", "=?utf-8?B?PGNlb0BiYW5rLmV4YW1wbGU+?=, <x@y.vn>"] {
            assert_eq!(address(text), Err("from.multiple-address"), "{text}");
        }
    }

    #[test]
    fn thousands_of_comments_cost_nothing() {
        assert_eq!(address(&format!("{}a@x.vn", "(".repeat(4000))), Err("from.invalid"));
    }

    #[test]
    fn several_fields_and_none_are_told_apart() {
        let code = |raw: &[u8]| read(&Headers::parse(raw)).problem.map(|(code, _)| code);
        assert_eq!(code(b"From: a@x.vn\r\nFrom: b@y.vn\r\n\r\n"), Some("from.multiple"));
        assert_eq!(code(b"From: a@x.vn\r\nFrom : b@y.vn\r\n\r\n"), Some("from.multiple"));
        assert_eq!(code(b"Sender: a@x.vn\r\n\r\n"), Some("from.missing"));
        assert_eq!(code(b"From: a@x.vn\r\n\r\n"), None);
    }

    #[test]
    fn claims_are_found_in_names_and_encoded_words() {
        let names = |text: &str| claims(text).iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(names("\"ceo@bank.example\" <x@attacker.example>"), ["bank.example", "attacker.example"]);
        assert_eq!(names("=?utf-8?B?PGNlb0BiYW5rLmV4YW1wbGU+?="), ["bank.example"]);
        assert!(names("an @ home, 5 @ 3.2").is_empty());
    }
}
