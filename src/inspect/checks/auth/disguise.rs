//! Senders dressed up as others: an address in the display name, a leader's name, a domain that looks like ours,
//! characters that turn the reading direction (THREATS ). UTS 39 skeletons, accents folded too.

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;
use unicode_security::confusable_detection::skeleton;

use super::from::{self, From};
use crate::inspect::Finding;
use crate::mail::Domain;
use crate::mail::header::Headers;

/// Whom to look after.
#[derive(Clone, Copy, Debug)]
pub struct Protected<'a> {
    pub own_domains: &'a [Domain],
    pub domains: &'a [Domain],
    pub names: &'a [String],
}

impl Protected<'_> {
    fn all_domains(&self) -> impl Iterator<Item = &Domain> {
        self.own_domains.iter().chain(self.domains)
    }
    fn holds(&self, domain: &Domain) -> bool {
        self.all_domains().any(|protected| domain.is_within(protected))
    }
}

/// `from.display-address`, `from.bidi`, `from.vip-display`, `from.lookalike`, `replyto.mismatch`.
pub fn findings(headers: &Headers<'_>, from: &From, protected: Protected<'_>) -> Vec<Finding> {
    let Some(mailbox) = &from.mailbox else { return Vec::new() };
    let domain = mailbox.domain();
    let mut found = Vec::new();
    let other = |named: &Domain| named.organisational() != domain.organisational();
    if let Some(named) = from::claims(&from.display).into_iter().find(other) {
        found.push(Finding::new("from.display-address").with(format!("{named} is named, {domain} sent it")));
    }
    if from.display.chars().any(turns_direction) {
        found.push(Finding::new("from.bidi").with(&from.display));
    }
    if !protected.holds(domain) {
        let shown = folded(&from.display);
        if let Some(name) = protected.names.iter().find(|name| !name.is_empty() && shown.contains(&folded(name))) {
            found.push(Finding::new("from.vip-display").with(format!("{name}, from {mailbox}")));
        }
        if let Some(like) = protected.all_domains().find(|like| looks_like(domain, like)) {
            found.push(Finding::new("from.lookalike").with(format!("{} looks like {like}", domain.to_unicode())));
        }
    }
    let answers_to = headers.text("Reply-To").map(|text| from::claims(&text)).unwrap_or_default();
    if let Some(named) = answers_to.into_iter().find(other) {
        found.push(Finding::new("replyto.mismatch").with(format!("answers go to {named}")));
    }
    found
}

/// Bidirectional controls (UAX 9): embeddings, overrides, isolates, marks.
const fn turns_direction(c: char) -> bool {
    matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}' | '\u{061c}')
}

/// What a name looks like: compatibility forms and accents folded, confusable letters alike, lower case, one blank.
fn folded(text: &str) -> String {
    let visible =
        text.chars().filter(|c| !turns_direction(*c) && !matches!(c, '\u{200b}'..='\u{200d}' | '\u{feff}' | '\u{ad}'));
    let plain: String = visible.nfkd().filter(|c| !is_combining_mark(*c)).flat_map(char::to_lowercase).collect();
    let alike: String = skeleton(&plain.replace('đ', "d")).flat_map(char::to_lowercase).collect();
    alike.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Whether `domain`, or its tail of as many labels, is another name that reads like `protected`.
fn looks_like(domain: &Domain, protected: &Domain) -> bool {
    let labels = protected.as_str().split('.').count();
    let all: Vec<&str> = domain.as_str().split('.').collect();
    let Some(tail) = all.len().checked_sub(labels).and_then(|from| all.get(from..)) else { return false };
    let tail = tail.join(".");
    let Ok(tail) = Domain::parse(&tail) else { return false };
    tail != *protected && folded(&tail.to_unicode()) == folded(&protected.to_unicode())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn codes(header: &str) -> Vec<String> {
        let raw = format!("{header}\r\n\r\n");
        let headers = Headers::parse(raw.as_bytes());
        let own = [Domain::parse("tinh.gov.vn").unwrap()];
        let domains = [Domain::parse("bank.example").unwrap()];
        let names = ["Nguyễn Văn An".to_owned()];
        let protected = Protected { own_domains: &own, domains: &domains, names: &names };
        findings(&headers, &from::read(&headers), protected).into_iter().map(|f| f.code.into_owned()).collect()
    }

    #[test]
    fn a_name_that_is_an_address_is_reported() {
        assert_eq!(codes("From: \"ceo@bank.example\" <x@attacker.example>"), ["from.display-address"]);
        assert_eq!(codes("From: =?utf-8?B?Y2VvQGJhbmsuZXhhbXBsZQ==?= <x@attacker.example>"), ["from.display-address"]);
        assert!(codes("From: \"a@mail.bank.example\" <x@bank.example>").is_empty());
    }

    #[test]
    fn a_leaders_name_from_elsewhere_is_reported() {
        assert_eq!(codes("From: NGUYEN VAN AN <x@free.example>"), ["from.vip-display"]);
        assert_eq!(codes("From: Nguyễn\u{200b} Văn  Аn <x@free.example>"), ["from.vip-display"]);
        assert!(codes("From: Nguyễn Văn An <an@so.tinh.gov.vn>").is_empty());
    }

    #[test]
    fn uts39_domains_that_read_like_ours_are_reported() {
        for domain in ["bänk.example", "bаnk.example", "mail.bаnk.example", "tlnh.gov.vn", "tỉnh.gov.vn"] {
            let expected = if domain == "tlnh.gov.vn" { vec![] } else { vec!["from.lookalike"] };
            assert_eq!(codes(&format!("From: x@{domain}")), expected, "{domain}");
        }
        assert!(codes("From: x@mail.bank.example").is_empty());
    }

    #[test]
    fn direction_marks_and_strange_answers_are_reported() {
        assert_eq!(codes("From: \"a\u{202e}b\" <x@y.example>"), ["from.bidi"]);
        assert_eq!(codes("From: x@y.example\r\nReply-To: pay@elsewhere.test"), ["replyto.mismatch"]);
        assert!(codes("From: x@y.example\r\nReply-To: z@mail.y.example").is_empty());
    }
}
