//! What is computed of a message beside its texts: quantities, and facts that no pattern can express
//! (two names that differ, letters of two alphabets in one word).

use std::collections::BTreeMap;

use super::place::host_of;
use super::surface::{Form, Outer, People, Reading, Surface, Surfaces};
use super::text::fold::is_invisible;
use crate::mail::Domain;
use crate::mail::mime::Tree;

/// A quantity that `number = "…"` names.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Number {
    /// Octets of the message.
    Size,
    Recipients,
    Attachments,
    Parts,
    Urls,
    Images,
    BodyChars,
    BodyWords,
    HiddenChars,
    /// Percent of the letters of Subject that are capitals.
    SubjectCapitals,
    /// Received fields.
    Hops,
    /// Exclamation marks in Subject and text.
    Exclamations,
}

impl Number {
    pub const NAMES: [(&'static str, Self); 12] = [
        ("size", Self::Size),
        ("recipients", Self::Recipients),
        ("attachments", Self::Attachments),
        ("parts", Self::Parts),
        ("urls", Self::Urls),
        ("images", Self::Images),
        ("body.chars", Self::BodyChars),
        ("body.words", Self::BodyWords),
        ("hidden.chars", Self::HiddenChars),
        ("subject.capitals", Self::SubjectCapitals),
        ("hops", Self::Hops),
        ("exclamations", Self::Exclamations),
    ];
}

/// Every feature a rule may name, and what it means.
pub const FEATURES: [(&str, &str); 24] = [
    ("from.name-has-address", "the display name of From shows an address or host of another domain"),
    ("from.differs-from-sender", "From and MAIL FROM belong to different organisations"),
    ("from.is-recipient", "From is one of the recipients"),
    ("from.in-recipient-domain", "From is in the domain of a recipient"),
    ("reply-to.differs", "Reply-To and From belong to different organisations"),
    ("to.missing-recipient", "no recipient stands in To or Cc"),
    ("reply.without-thread", "Subject says Re: but no field names an earlier message"),
    ("link.mismatch", "the words of a link show another host than it leads to"),
    ("link.address", "a link leads to a bare IP address"),
    ("link.user-part", "a link hides its host behind user@"),
    ("link.odd-port", "a link leads to an unusual port"),
    ("link.punycode", "a link leads to an internationalised host"),
    ("link.all-foreign", "links lead out, and none of them to the organisation of From"),
    ("html.only", "there is HTML and no plain text"),
    ("html.form", "the page has a form"),
    ("html.password-field", "the page asks for a password"),
    ("html.script", "the page has scripts"),
    ("html.hidden-text", "the page has hidden text of a sentence or more"),
    ("html.image-only", "the page is pictures and links with hardly a word"),
    ("attachment.page-with-form", "an attached page has a form or a password field"),
    ("attachment.page-with-script", "an attached page has scripts"),
    ("text.mixed-alphabets", "words mix Latin letters with Cyrillic or Greek look-alikes"),
    ("text.invisible", "invisible characters stand inside words"),
    ("text.spelled-out", "words are spelt out with blanks or dots between their letters"),
];

pub(super) fn numbers(
    raw: &[u8],
    tree: &Tree<'_>,
    reading: &Reading,
    outer: &Outer<'_>,
    urls: usize,
    subject: &str,
) -> BTreeMap<Number, u64> {
    let letters = subject.chars().filter(|c| c.is_alphabetic()).count();
    let capitals = subject.chars().filter(|c| c.is_uppercase()).count();
    let hops = tree.parts.first().map_or(0, |root| root.headers.all("received").count());
    let images = reading.images + reading.pages.iter().map(|p| p.images as u64).sum::<u64>();
    let shouts = subject.bytes().chain(reading.body.bytes()).filter(|b| *b == b'!').count();
    BTreeMap::from([
        (Number::Size, raw.len() as u64),
        (Number::Recipients, outer.recipients.len() as u64),
        (Number::Attachments, reading.attachment_names.len() as u64),
        (Number::Parts, tree.parts.len() as u64),
        (Number::Urls, urls as u64),
        (Number::Images, images),
        (Number::BodyChars, reading.body.chars().count() as u64),
        (Number::BodyWords, words(&reading.body) as u64),
        (Number::HiddenChars, reading.hidden.trim().chars().count() as u64),
        (Number::SubjectCapitals, if letters < 8 { 0 } else { (capitals * 100 / letters) as u64 }),
        (Number::Hops, hops as u64),
        (Number::Exclamations, shouts as u64),
    ])
}

/// Runs of characters that are not white space.
fn words(text: &str) -> usize {
    if !text.is_ascii() {
        return text.split_whitespace().count();
    }
    // Branchless, so that the compiler can look at many octets at once.
    let blank = |b: u8| b.wrapping_sub(9) < 5 || b == b' ';
    let bytes = text.as_bytes();
    let first = bytes.first().is_some_and(|b| !blank(*b));
    let starts = bytes.iter().zip(bytes.iter().skip(1)).filter(|(a, b)| blank(**a) & !blank(**b));
    starts.count() + usize::from(first)
}

/// The organisational domain of an address or host.
fn organisation(text: &str) -> Option<Domain> {
    let host = text.rsplit('@').next().unwrap_or(text);
    Domain::parse(host.trim_end_matches('.')).ok().map(|d| d.organisational())
}

pub(super) fn find(
    surfaces: &Surfaces,
    reading: &Reading,
    people: &People,
    outer: &Outer<'_>,
    hosts: &[String],
) -> Vec<(&'static str, String)> {
    let mut found = Vec::new();
    let mut note = |name: &'static str, detail: String| {
        debug_assert!(FEATURES.iter().any(|(n, _)| *n == name), "{name} is not documented");
        found.push((name, detail.chars().take(80).collect()));
    };
    sender_features(people, outer, surfaces, &mut note);
    link_features(surfaces, reading, people, hosts, &mut note);
    page_features(reading, &mut note);
    text_features(surfaces, &mut note);
    found
}

fn sender_features(
    people: &People,
    outer: &Outer<'_>,
    surfaces: &Surfaces,
    note: &mut impl FnMut(&'static str, String),
) {
    thread_features(surfaces, note);
    let Some((name, from)) = people.from.first() else { return };
    let own = organisation(from);
    let shown = name
        .split(|c: char| c.is_whitespace() || matches!(c, '<' | '>' | '(' | ')' | '"' | ',' | '\''))
        .filter(|w| w.contains('@') || w.to_ascii_lowercase().starts_with("www."))
        .find(|w| organisation(w).is_some_and(|d| Some(&d) != own.as_ref()));
    if let Some(shown) = shown {
        note("from.name-has-address", format!("{shown} <{from}>"));
    }
    let differs = |other: &str| matches!((&own, organisation(other)), (Some(a), Some(b)) if *a != b);
    if differs(outer.sender) {
        note("from.differs-from-sender", format!("{from} / {}", outer.sender));
    }
    if let Some((_, reply)) = people.reply.iter().find(|(_, a)| differs(a)) {
        note("reply-to.differs", format!("{from} / {reply}"));
    }
    let recipients: Vec<String> = outer.recipients.iter().map(|r| r.to_lowercase()).collect();
    if recipients.contains(from) {
        note("from.is-recipient", from.clone());
    }
    let domain = from.rsplit('@').next().unwrap_or("");
    if !domain.is_empty() && recipients.iter().any(|r| r.rsplit('@').next() == Some(domain)) {
        note("from.in-recipient-domain", domain.to_owned());
    }
    if !recipients.is_empty() && !people.to.iter().any(|(_, a)| recipients.contains(a)) {
        note("to.missing-recipient", String::new());
    }
}

fn thread_features(surfaces: &Surfaces, note: &mut impl FnMut(&'static str, String)) {
    let subject = surfaces.text(&Surface::Subject, Form::Plain);
    let answer = ["re:", "tra loi:", "aw:", "re :"].iter().any(|p| subject.starts_with(p));
    let thread = ["in-reply-to", "references", "thread-index", "thread-topic"];
    if answer && !thread.iter().any(|h| surfaces.has(&Surface::Header((*h).to_owned()))) {
        note("reply.without-thread", String::new());
    }
}

fn link_features(
    surfaces: &Surfaces,
    reading: &Reading,
    people: &People,
    hosts: &[String],
    note: &mut impl FnMut(&'static str, String),
) {
    let mismatch = reading.pages.iter().flat_map(|p| &p.links).find_map(|link| {
        let words = link.text.trim();
        if words.contains(char::is_whitespace) || !words.contains('.') || words.contains('@') {
            return None;
        }
        let (shown, real) = (organisation(&host_of(words)?)?, organisation(&host_of(&link.href)?)?);
        // A word with a dot that is no known public suffix is no host name.
        let is_name = psl::domain(shown.as_str().as_bytes()).is_some_and(|d| d.suffix().is_known());
        (is_name && shown != real).then(|| format!("{words} -> {real}"))
    });
    if let Some(detail) = mismatch {
        note("link.mismatch", detail);
    }
    let number = |h: &&String| h.parse::<std::net::Ipv4Addr>().is_ok() || h.starts_with('[');
    if let Some(host) = hosts.iter().find(number) {
        note("link.address", host.clone());
    }
    if let Some(host) = hosts.iter().find(|h| h.split('.').any(|l| l.starts_with("xn--"))) {
        note("link.punycode", host.clone());
    }
    for url in surfaces.urls() {
        let Some((_, rest)) = url.split_once("://") else { continue };
        let authority = rest.split(['/', '?', '#']).next().unwrap_or("");
        let (user, place) = authority.rsplit_once('@').map_or(("", authority), |(u, p)| (u, p));
        if !user.is_empty() {
            note("link.user-part", url.clone());
        }
        let port = place.rsplit_once(':').and_then(|(_, p)| p.parse::<u16>().ok());
        if port.is_some_and(|p| !matches!(p, 80 | 443 | 8080 | 8443)) {
            note("link.odd-port", place.to_owned());
        }
    }
    let own = people.from.first().and_then(|(_, a)| organisation(a));
    let foreign = !hosts.is_empty() && own.is_some() && hosts.iter().all(|h| organisation(h) != own);
    if foreign {
        note("link.all-foreign", hosts.first().cloned().unwrap_or_default());
    }
}

fn page_features(reading: &Reading, note: &mut impl FnMut(&'static str, String)) {
    let pages = &reading.pages;
    if !pages.is_empty() && !reading.has_plain {
        note("html.only", String::new());
    }
    if pages.iter().any(|p| !p.forms.is_empty()) {
        note("html.form", String::new());
    }
    if pages.iter().any(|p| p.password_fields > 0) {
        note("html.password-field", String::new());
    }
    if pages.iter().any(|p| p.scripts > 0) {
        note("html.script", String::new());
    }
    if reading.hidden.split_whitespace().nth(7).is_some() {
        note("html.hidden-text", reading.hidden.split_whitespace().take(12).collect::<Vec<_>>().join(" "));
    }
    let seen = pages.iter().flat_map(|p| p.visible.split_whitespace());
    if pages.iter().any(|p| p.images > 0 && !p.links.is_empty())
        && seen.take(12).count() < 12
        && reading.body.split_whitespace().take(24).count() < 24
    {
        note("html.image-only", String::new());
    }
    if reading.attached_pages.iter().any(|p| !p.forms.is_empty() || p.password_fields > 0) {
        note("attachment.page-with-form", String::new());
    }
    if reading.attached_pages.iter().any(|p| p.scripts > 0) {
        note("attachment.page-with-script", String::new());
    }
}

fn text_features(surfaces: &Surfaces, note: &mut impl FnMut(&'static str, String)) {
    let (subject, body) = (surfaces.subject(), surfaces.text(&Surface::Body, Form::Exact));
    let alien = |t: &&&str| t.bytes().any(|b| MIXING.contains(&b));
    let mixed: Vec<&str> = [subject, body]
        .iter()
        .filter(alien)
        .flat_map(|t| t.split_whitespace())
        .filter(|w| is_mixed(w))
        .take(4)
        .collect();
    if mixed.len() >= 2 || is_mixed(subject) {
        note("text.mixed-alphabets", mixed.join(" "));
    }
    let invisible = unseen_in_words(subject) + unseen_in_words(body);
    if invisible >= 3 {
        note("text.invisible", format!("{invisible} places"));
    }
    let spelled: Vec<String> = [subject, body].iter().flat_map(|t| spelled_out(t)).take(4).collect();
    if spelled.len() >= 2 {
        note("text.spelled-out", spelled.join(", "));
    }
}

/// First octets of the Cyrillic and Greek letters of [`is_mixed`] in UTF-8; text without one has no such letter.
const MIXING: std::ops::RangeInclusive<u8> = 0xce..=0xd4;

/// Invisible characters between two letters; soft hyphens are everyday.
fn unseen_in_words(text: &str) -> usize {
    if text.is_ascii() {
        return 0;
    }
    let (mut first, mut second, mut count) = (' ', ' ', 0);
    for c in text.chars() {
        count += usize::from(is_invisible(second) && second != '\u{ad}' && first.is_alphabetic() && c.is_alphabetic());
        (first, second) = (second, c);
    }
    count
}

/// Latin letters and Cyrillic or Greek ones in one word.
fn is_mixed(word: &str) -> bool {
    let other =
        |c: char| matches!(c, '\u{400}'..='\u{52f}' | '\u{391}'..='\u{3c9}') && c != '\u{3bc}' && c != '\u{3a9}';
    let latin = |c: char| c.is_ascii_alphabetic() || matches!(c, '\u{c0}'..='\u{24f}' | '\u{1e00}'..='\u{1eff}');
    !word.is_ascii() && word.split(|c: char| !c.is_alphabetic()).any(|w| w.chars().any(other) && w.chars().any(latin))
}

/// Runs of at least three small letters with one blank or one dot between each: `v a y`, `t.à.i`.
fn spelled_out(text: &str) -> Vec<String> {
    let mut runs = Vec::new();
    if !may_be_spelled_out(text) {
        return runs;
    }
    let mut run = String::new();
    let mut letters = 0;
    let mut before = ' ';
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let next = chars.peek().copied().unwrap_or(' ');
        let single = c.is_alphabetic() && !next.is_alphanumeric() && !before.is_alphanumeric();
        let gap = letters > 0 && matches!(c, ' ' | '.') && next.is_alphabetic() && before.is_alphabetic();
        if single {
            run.push(c);
            letters += 1;
        } else if gap {
            run.push(c);
        } else if letters > 0 {
            close(&mut runs, &mut run, &mut letters);
        }
        before = c;
    }
    close(&mut runs, &mut run, &mut letters);
    runs
}

/// Whether somewhere one letter stands between two gaps and one letter beyond each: without that there is no run of three.
/// Looks at gaps only, which are much fewer than letters.
fn may_be_spelled_out(text: &str) -> bool {
    let one = |t: &str| t.chars().next().is_some_and(char::is_alphabetic) && t.chars().nth(1).is_none();
    let mut before: Option<usize> = None;
    for gap in memchr::memchr2_iter(b' ', b'.', text.as_bytes()) {
        // A letter has four octets at most.
        if let Some(start) = before.replace(gap).filter(|start| (2..=5).contains(&(gap - start)))
            && text.get(start + 1..gap).is_some_and(one)
        {
            let mut left = text.get(..start).unwrap_or("").chars().rev();
            let mut right = text.get(gap + 1..).unwrap_or("").chars();
            let single = |c: Option<char>, beyond: Option<char>| {
                c.is_some_and(char::is_alphabetic) && !beyond.is_some_and(char::is_alphanumeric)
            };
            if single(left.next(), left.next()) && single(right.next(), right.next()) {
                return true;
            }
        }
    }
    false
}

fn close(runs: &mut Vec<String>, run: &mut String, letters: &mut usize) {
    let small = run.chars().filter(|c| c.is_lowercase()).count();
    // Initials are capitals; a.m. and e.g. are two letters; letters of a list have no vowel marks among them.
    if *letters >= 3 && small * 2 > *letters && runs.len() < 20 {
        runs.push(run.trim_end_matches([' ', '.']).to_owned());
    }
    run.clear();
    *letters = 0;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spelled_out_words_are_found_and_initials_are_not() {
        assert_eq!(spelled_out("cần v a y nhanh, t.à.i xỉu"), ["v a y", "t.à.i"]);
        for text in ["at 5 p.m. e.g. U.S.A. and J. R. R. Tolkien", "mục a) b) c)", "www.a.b.vn", "T.P.H.C.M"] {
            assert_eq!(spelled_out(text), Vec::<String>::new(), "{text}");
        }
    }

    #[test]
    fn the_quick_look_for_spelt_out_words_agrees_with_their_definition() {
        let definition = regex::Regex::new(r"(?:^|[^\p{Alphabetic}\p{N}])\p{Alphabetic}[ .]\p{Alphabetic}[ .]\p{Alphabetic}(?:$|[^\p{Alphabetic}\p{N}])").unwrap();
        let letters = ['a', 'ạ', ' ', '.', '1'];
        for length in 0..=7_u32 {
            for number in 0..5_usize.pow(length) {
                let text: String = (0..length).map(|place| letters[number / 5_usize.pow(place) % 5]).collect();
                assert_eq!(may_be_spelled_out(&text), definition.is_match(&text), "{text:?}");
            }
        }
    }

    #[test]
    fn mixed_alphabets_are_per_word() {
        assert!(is_mixed("mớі") && is_mixed("nhận-сat"));
        assert!(!is_mixed("Москва") && !is_mixed("10µm") && !is_mixed("Việt"));
    }
}
