//! The faces of a message that patterns look at, each as one text in up to four forms.
//! Built once a message inside an inspector; bounded, so that a huge message costs no more than a large one.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use super::feature;
use super::place::{addresses, host_of, urls_in};
use super::text::{charset, encoded, fold, html};
use crate::mail::mime::{Part, Tree};

/// Text read from one message, all parts together.
pub const TEXT_BYTES: usize = 512 * 1024;
/// URLs kept.
const URLS: usize = 500;

/// What a condition's `in` names.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Surface {
    Subject,
    /// Text parts and the visible text of HTML parts.
    Body,
    /// HTML parts as written.
    Html,
    /// Text in HTML that is not shown.
    Hidden,
    /// Text of attached text files, pages and messages.
    Attached,
    /// All fields of the message's header, `name: value`, one a line.
    Headers,
    /// One field by its name, lower case.
    Header(String),
    FromName,
    FromAddress,
    ReplyName,
    ReplyAddress,
    ToName,
    ToAddress,
    /// MAIL FROM.
    Sender,
    /// RCPT TO, one a line.
    Recipient,
    Helo,
    Client,
    /// Links, one a line.
    Url,
    /// Host names of links, one a line, A-labels.
    Host,
    /// The words of links, one a line.
    LinkText,
    AttachmentName,
    AttachmentType,
    PartType,
}

const NAMES: [(&str, Surface); 22] = [
    ("subject", Surface::Subject),
    ("body", Surface::Body),
    ("html", Surface::Html),
    ("hidden", Surface::Hidden),
    ("attached", Surface::Attached),
    ("headers", Surface::Headers),
    ("from.name", Surface::FromName),
    ("from.address", Surface::FromAddress),
    ("reply-to.name", Surface::ReplyName),
    ("reply-to.address", Surface::ReplyAddress),
    ("to.name", Surface::ToName),
    ("to.address", Surface::ToAddress),
    ("sender", Surface::Sender),
    ("recipient", Surface::Recipient),
    ("helo", Surface::Helo),
    ("client", Surface::Client),
    ("url", Surface::Url),
    ("host", Surface::Host),
    ("link.text", Surface::LinkText),
    ("attachment.name", Surface::AttachmentName),
    ("attachment.type", Surface::AttachmentType),
    ("part.type", Surface::PartType),
];

impl Surface {
    /// All names but `header:NAME`, for suggestions.
    pub fn names() -> impl Iterator<Item = &'static str> {
        NAMES.iter().map(|(name, _)| *name)
    }
    /// Whether line ends part items.
    #[must_use]
    pub const fn lines(&self) -> fold::Lines {
        match self {
            Self::Body | Self::Html | Self::Hidden | Self::Attached | Self::Subject => fold::Lines::Joined,
            _ => fold::Lines::Kept,
        }
    }
}

impl FromStr for Surface {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        if let Some(name) = text.strip_prefix("header:") {
            let good = !name.is_empty() && name.bytes().all(|b| b.is_ascii_graphic() && b != b':');
            return if good { Ok(Self::Header(name.to_ascii_lowercase())) } else { Err(()) };
        }
        NAMES.iter().find(|(name, _)| *name == text).map(|(_, s)| s.clone()).ok_or(())
    }
}

impl fmt::Display for Surface {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Self::Header(name) = self {
            return write!(f, "header:{name}");
        }
        f.write_str(NAMES.iter().find(|(_, s)| s == self).map_or("", |(name, _)| name))
    }
}

/// In which form a pattern is compared.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Form {
    Exact,
    Accented,
    Plain,
    Skeleton,
}

impl Form {
    pub const NAMES: [(&'static str, Self); 4] =
        [("exact", Self::Exact), ("accented", Self::Accented), ("plain", Self::Plain), ("skeleton", Self::Skeleton)];
    /// `text` in this form.
    #[must_use]
    pub fn fold(self, text: &str, lines: fold::Lines) -> String {
        match self {
            Self::Exact => fold::exact(text),
            Self::Accented => fold::accented(text, lines),
            Self::Plain => fold::plain(&fold::accented(text, lines)),
            Self::Skeleton => fold::skeleton(&fold::plain(&fold::accented(text, lines))),
        }
    }
}

/// One surface's text; the folded forms are made when something asks for them.
#[derive(Debug, Default)]
pub struct Text {
    exact: String,
    lines: Option<fold::Lines>,
    accented: OnceCell<String>,
    plain: OnceCell<String>,
    skeleton: OnceCell<String>,
}

impl Text {
    fn new(text: &str, lines: fold::Lines) -> Self {
        Self { exact: fold::exact(text), lines: Some(lines), ..Self::default() }
    }
    #[must_use]
    pub fn form(&self, form: Form) -> &str {
        let lines = self.lines.unwrap_or(fold::Lines::Joined);
        match form {
            Form::Exact => &self.exact,
            Form::Accented => self.accented.get_or_init(|| fold::accented(&self.exact, lines)),
            Form::Plain => self.plain.get_or_init(|| fold::plain(self.form(Form::Accented))),
            Form::Skeleton => self.skeleton.get_or_init(|| fold::skeleton(self.form(Form::Plain))),
        }
    }
}

/// What is known of a message beside its bytes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Outer<'a> {
    /// MAIL FROM, empty for the null path.
    pub sender: &'a str,
    pub recipients: &'a [String],
    pub helo: &'a str,
    /// The client's address, without port.
    pub client: &'a str,
}

/// A message as rules see it.
#[derive(Debug, Default)]
pub struct Surfaces {
    texts: BTreeMap<Surface, Text>,
    urls: Vec<String>,
    features: Vec<(&'static str, String)>,
    numbers: BTreeMap<feature::Number, u64>,
}

/// What reading the parts collects, before it becomes texts.
#[derive(Debug, Default)]
pub(super) struct Reading {
    pub body: String,
    pub html: String,
    pub hidden: String,
    pub attached: String,
    pub pages: Vec<html::Page>,
    pub attached_pages: Vec<html::Page>,
    pub has_plain: bool,
    pub attachment_names: Vec<String>,
    pub attachment_types: Vec<String>,
    pub part_types: Vec<String>,
    pub images: u64,
    left: usize,
}

/// The parsed address fields, for features.
#[derive(Debug, Default)]
pub(super) struct People {
    pub from: Vec<(String, String)>,
    pub reply: Vec<(String, String)>,
    pub to: Vec<(String, String)>,
}

impl Surfaces {
    /// Reads what rules look at from `raw` and its tree.
    #[must_use]
    pub fn from_tree(raw: &[u8], tree: &Tree<'_>, outer: &Outer<'_>) -> Self {
        Self::with_links(raw, tree, outer, Vec::new())
    }

    /// The same with links that stood inside documents and pictures: conditions on `url` and `host` see them; features
    /// that weigh the letter's own links do not.
    #[must_use]
    pub fn with_links(raw: &[u8], tree: &Tree<'_>, outer: &Outer<'_>, inside: Vec<String>) -> Self {
        let mut reading = Reading { left: TEXT_BYTES, ..Reading::default() };
        for (i, part) in tree.parts.iter().enumerate() {
            reading.part(part, i == 0, is_embedded(tree, part));
        }
        let mut this = Self::default();
        let mut people = People::default();
        if let Some(root) = tree.parts.first() {
            this.read_header(root, &mut people);
        }
        let hosts = this.read_links(&reading, &inside);
        let joined = |items: &[String]| items.join("\n");
        this.put(Surface::Body, &reading.body);
        this.put(Surface::Html, &reading.html);
        this.put(Surface::Hidden, &reading.hidden);
        this.put(Surface::Attached, &reading.attached);
        this.put(Surface::AttachmentName, &joined(&reading.attachment_names));
        this.put(Surface::AttachmentType, &joined(&reading.attachment_types));
        this.put(Surface::PartType, &joined(&reading.part_types));
        this.put(Surface::Sender, outer.sender);
        this.put(Surface::Recipient, &joined(outer.recipients));
        this.put(Surface::Helo, outer.helo);
        this.put(Surface::Client, outer.client);
        this.numbers = feature::numbers(raw, tree, &reading, outer, this.urls.len(), this.subject());
        this.features = feature::find(&this, &reading, &people, outer, &hosts);
        let known: std::collections::HashSet<String> = this.urls.iter().cloned().collect();
        this.urls.extend(inside.into_iter().filter(|url| !known.contains(url)));
        this.urls.truncate(URLS);
        this
    }

    /// The text of a surface; empty when the message has nothing there.
    #[must_use]
    pub fn text(&self, surface: &Surface, form: Form) -> &str {
        self.texts.get(surface).map_or("", |t| t.form(form))
    }
    /// Whether the message has this surface at all (a header field that exists but is empty does).
    #[must_use]
    pub fn has(&self, surface: &Surface) -> bool {
        match surface {
            Surface::Header(_) => self.texts.contains_key(surface),
            _ => !self.text(surface, Form::Exact).is_empty(),
        }
    }
    /// Decoded Subject, NFC, cut at 998 characters.
    #[must_use]
    pub fn subject(&self) -> &str {
        self.text(&Surface::Subject, Form::Exact)
    }
    /// Links seen in text and HTML; at most 500, each cut at 2,000 octets.
    #[must_use]
    pub fn urls(&self) -> &[String] {
        &self.urls
    }
    /// The features this message has, each with what was seen.
    #[must_use]
    pub fn features(&self) -> &[(&'static str, String)] {
        &self.features
    }
    #[must_use]
    pub fn number(&self, number: feature::Number) -> u64 {
        self.numbers.get(&number).copied().unwrap_or(0)
    }

    fn put(&mut self, surface: Surface, text: &str) {
        if !text.is_empty() {
            let lines = surface.lines();
            self.texts.insert(surface, Text::new(text, lines));
        }
    }

    fn read_header(&mut self, root: &Part<'_>, people: &mut People) {
        let (mut all, mut by_name) = (String::new(), BTreeMap::<String, String>::new());
        for field in root.headers.fields() {
            let name = String::from_utf8_lossy(field.name).to_ascii_lowercase();
            let value = encoded::decode(field.value);
            if all.len() < TEXT_BYTES / 4 {
                all.push_str(&name);
                all.push_str(": ");
                all.push_str(&value);
                all.push('\n');
            }
            let list = match name.as_str() {
                "from" => Some(&mut people.from),
                "reply-to" => Some(&mut people.reply),
                "to" | "cc" => Some(&mut people.to),
                _ => None,
            };
            if let Some(list) = list
                && list.len() < 200
            {
                list.extend(addresses(field.value));
            }
            let slot = by_name.entry(name).or_default();
            if !slot.is_empty() {
                slot.push('\n');
            }
            slot.push_str(&value);
        }
        if let Some(subject) = by_name.get("subject") {
            let first: String = subject.lines().next().unwrap_or("").chars().take(998).collect();
            self.put(Surface::Subject, &first);
        }
        self.put(Surface::Headers, &all);
        for (name, value) in by_name {
            self.texts.insert(Surface::Header(name), Text::new(&value, fold::Lines::Kept));
        }
        let column = |list: &[(String, String)], pick: fn(&(String, String)) -> &String| {
            list.iter().map(pick).filter(|t| !t.is_empty()).cloned().collect::<Vec<_>>().join("\n")
        };
        for (list, name, address) in [
            (&people.from, Surface::FromName, Surface::FromAddress),
            (&people.reply, Surface::ReplyName, Surface::ReplyAddress),
            (&people.to, Surface::ToName, Surface::ToAddress),
        ] {
            self.put(name, &column(list, |p| &p.0));
            self.put(address, &column(list, |p| &p.1));
        }
    }

    /// Links of pages and of text; returns their host names.
    fn read_links(&mut self, reading: &Reading, inside: &[String]) -> Vec<String> {
        let mut words = Vec::new();
        for page in reading.pages.iter().chain(&reading.attached_pages) {
            for link in &page.links {
                words.push(link.text.split_whitespace().collect::<Vec<_>>().join(" "));
                self.urls.push(link.href.clone());
            }
            self.urls.extend(page.forms.iter().filter(|f| f.contains("://")).cloned());
        }
        for text in [&reading.body, &reading.attached] {
            self.urls.extend(urls_in(text).take(URLS));
        }
        let mut seen = std::collections::HashSet::new();
        self.urls.retain(|url| seen.insert(url.clone()));
        self.urls.truncate(URLS);
        let mut hosts: Vec<String> = self.urls.iter().filter_map(|url| host_of(url)).collect();
        hosts.sort_unstable();
        hosts.dedup();
        let urls: Vec<&str> = self.urls.iter().chain(inside).map(String::as_str).collect();
        self.put(Surface::Url, &urls.join("\n"));
        let mut all: Vec<String> = hosts.iter().cloned().chain(inside.iter().filter_map(|url| host_of(url))).collect();
        all.sort_unstable();
        all.dedup();
        self.put(Surface::Host, &all.join("\n"));
        self.put(Surface::LinkText, &words.join("\n"));
        hosts
    }
}

/// Whether a part lies inside an attached message.
fn is_embedded(tree: &Tree<'_>, part: &Part<'_>) -> bool {
    let mut up = part.parent;
    for _ in 0..64 {
        let Some(parent) = up.and_then(|i| tree.parts.get(i)) else { return false };
        if parent.content_type == "message/rfc822" || parent.content_type == "message/global" {
            return true;
        }
        up = parent.parent;
    }
    false
}

impl Reading {
    fn part(&mut self, part: &Part<'_>, root: bool, embedded: bool) {
        self.part_types.push(part.content_type.clone());
        if part.is_multipart() {
            return;
        }
        let kind = part.content_type.as_str();
        self.images += u64::from(kind.starts_with("image/"));
        let attached = part.disposition == "attachment" || !part.name.is_empty();
        if attached && !root {
            self.attachment_names.push(part.name.replace(['\r', '\n'], " "));
            self.attachment_types.push(kind.to_owned());
        }
        let page = kind == "text/html" || kind == "application/xhtml+xml" || is_page(&part.name);
        let calendar = kind == "text/calendar";
        if !(page || kind == "text/plain" || kind == "text/enriched" || calendar) || self.left == 0 {
            return;
        }
        let bytes = part.decoded.get(..part.decoded.len().min(self.left)).unwrap_or_default();
        self.left -= bytes.len();
        let text = charset::decode(bytes, part.param("charset").unwrap_or(""));
        let aside = embedded || (attached && !root);
        if !page {
            self.has_plain |= !aside && !calendar;
            append(if aside { &mut self.attached } else { &mut self.body }, &text);
            return;
        }
        let read = html::read(&text);
        if aside {
            append(&mut self.attached, &read.visible);
            self.attached_pages.push(read);
        } else {
            append(&mut self.body, &read.visible);
            append(&mut self.hidden, &read.hidden);
            append(&mut self.html, &text);
            self.pages.push(read);
        }
    }
}

fn is_page(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    [".html", ".htm", ".shtml", ".xhtml", ".svg"].iter().any(|e| lower.ends_with(e))
}

fn append(out: &mut String, text: &str) {
    if !out.is_empty() {
        out.push('\n');
    }
    out.push_str(text);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::mime::{self, Limits};

    fn surfaces(raw: &str) -> Surfaces {
        Surfaces::from_tree(raw.as_bytes(), &mime::parse(raw.as_bytes(), &Limits::default()), &Outer::default())
    }

    #[test]
    fn every_surface_is_read_by_its_name() {
        for (name, surface) in NAMES {
            assert_eq!((name.parse(), surface.to_string()), (Ok(surface.clone()), name.to_owned()));
        }
        assert_eq!("header:X-Mailer".parse(), Ok(Surface::Header("x-mailer".into())));
        assert!("heder".parse::<Surface>().is_err());
    }

    #[test]
    fn text_links_and_header_are_seen() {
        let s = surfaces(
            "From: A <a@x.vn>\r\nSubject: =?utf-8?q?Ch=C3=A0o?=\r\nX-A: 1\r\n\r\nxem http://h.test/p, www.k.test.\r\n",
        );
        assert_eq!(s.subject(), "Chào");
        assert_eq!(s.text(&Surface::Host, Form::Plain), "h.test\nwww.k.test");
        assert_eq!(s.text(&Surface::FromAddress, Form::Exact), "a@x.vn");
        assert!(s.has(&Surface::Header("x-a".into())) && !s.has(&Surface::Header("x-b".into())));
    }
}
