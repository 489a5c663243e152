//! Web pages and SVG pictures: what they carry in coded form (HTML smuggling, `data:` links, pages in attributes), where
//! they send the reader, what they ask for. A page that comes as an attachment runs with the reader's trust and is
//! weighed so; in the text of a letter mail programs run nothing.

mod coded;
mod smuggle;
#[cfg(test)]
mod tests;

pub use coded::base64;

use std::sync::LazyLock;

use aho_corasick::AhoCorasick;

use super::bytes::slice;
use super::markup::{self, Piece, Tag};
use super::report::{Found, Report};
use crate::inspect::checks::content::archive::Budget;
use crate::inspect::checks::content::{Object, Origin};

/// Octets of one page that are read.
const PAGE: usize = 16 << 20;

/// Words without which a page has nothing to say.
static MARKS: LazyLock<AhoCorasick> = LazyLock::new(|| {
    AhoCorasick::builder()
        .ascii_case_insensitive(true)
        .build([
            "<script",
            "data:",
            "srcdoc",
            "<form",
            "http-equiv",
            "<svg",
            "<object",
            "<embed",
            "javascript:",
            "vbscript:",
            "onload",
            "onerror",
            "onclick",
            "onmouse",
            "onfocus",
            "foreignobject",
            "<iframe",
            "password",
            "<base",
            "\u{2588}",
            "<hta:",
            "search-ms:",
            "ms-msdt:",
            "ms-officecmd:",
            "#@~^",
        ])
        .expect("the words are constants")
});

pub fn is_page(object: &Object<'_>) -> bool {
    let kind = matches!(object.kind, "text/html" | "image/svg+xml");
    let declared = matches!(object.declared.as_str(), "text/html" | "application/xhtml+xml" | "image/svg+xml");
    let named = || {
        let lower = object.name().to_ascii_lowercase();
        [".html", ".htm", ".shtml", ".xhtml", ".svg", ".hta", ".xht", ".mhtml"]
            .iter()
            .any(|e| lower.trim_end_matches(['.', ' ']).ends_with(e))
    };
    let text = kind || object.kind.starts_with("text/");
    let page = kind || (text && (declared || named()));
    let wide = object.data.starts_with(b"\xff\xfe") || object.data.starts_with(b"\xfe\xff");
    page && (wide || MARKS.is_match(slice(&object.data, 0, PAGE)))
}

/// How a page reaches the reader.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Comes {
    /// Shown by the mail program, which runs nothing.
    AsBody,
    /// Opened by a browser.
    AsFile,
}

struct Reader<'r, 'f> {
    report: &'r mut Report<'f>,
    comes: Comes,
    svg: bool,
    /// Inside `<script>`.
    in_script: bool,
    in_style: bool,
    scripts: String,
    pages: Vec<String>,
    passwords: usize,
    forms: Vec<String>,
    /// `download` attributes.
    downloads: usize,
    active: Vec<&'static str>,
}

pub fn open(object: &Object<'_>, budget: &mut Budget, report: &mut Report<'_>) -> Vec<Found> {
    let text = markup::decode(slice(&object.data, 0, PAGE));
    let body = object.names.is_empty() && object.origin == Origin::Part && object.depth == 0;
    let mut reader = Reader {
        report,
        comes: if body { Comes::AsBody } else { Comes::AsFile },
        svg: object.kind == "image/svg+xml" || object.name().to_ascii_lowercase().ends_with(".svg"),
        in_script: false,
        in_style: false,
        scripts: String::new(),
        pages: Vec::new(),
        passwords: 0,
        forms: Vec::new(),
        downloads: 0,
        active: Vec::new(),
    };
    markup::walk_page(&text, |piece| reader.piece(piece));
    reader.judge();
    let (scripts, pages, downloads, comes) = (reader.scripts, reader.pages, reader.downloads, reader.comes);
    let mut found = Vec::new();
    for page in pages {
        if budget.take(page.len()) {
            found.push(Found::stream("page", page));
        }
    }
    found.extend(coded::data_links(&text, budget, report));
    found.extend(smuggle::open(&text, &scripts, downloads, comes == Comes::AsFile, budget, report));
    found
}

impl Reader<'_, '_> {
    fn piece(&mut self, piece: Piece) {
        match piece {
            Piece::Start(tag) => self.start(&tag),
            Piece::End(name) => {
                self.in_script &= name != "script";
                self.in_style &= name != "style";
            }
            Piece::Text(text) if self.in_script => {
                self.scripts.push_str(&text);
                self.scripts.push('\n');
            }
            Piece::Text(_) => {}
        }
    }

    fn start(&mut self, tag: &Tag) {
        for (name, value) in &tag.attributes {
            if name.starts_with("on") && name.len() > 4 {
                self.act("an event handler");
                self.scripts.push_str(value);
                self.scripts.push('\n');
            }
            let start: String = value
                .trim_start()
                .chars()
                .filter(|c| !c.is_control())
                .take(12)
                .collect::<String>()
                .to_ascii_lowercase();
            if start.starts_with("javascript:") || start.starts_with("vbscript:") {
                self.act("a link that is a script");
                self.scripts.push_str(&coded::percent(value));
                self.scripts.push('\n');
            }
            if ["search-ms:", "search:", "ms-msdt:", "ms-officecmd", "ms-word:", "ms-excel:"]
                .iter()
                .any(|p| start.starts_with(p))
                && name != "content"
            {
                self.report.link(value);
                self.report
                    .say("html.local-program", format!("a link starts a program on the reader's machine: {value}"));
            }
        }
        match tag.name.as_str() {
            "script" => {
                self.in_script = !tag.empty || !self.svg;
                self.act("a script");
                self.report.link(tag.get("src"));
            }
            "style" => self.in_style = true,
            "foreignobject" => self.act("a page inside a picture"),
            "form" => self.forms.push(tag.get("action").to_owned()),
            "input" if tag.get("type").eq_ignore_ascii_case("password") => self.passwords += 1,
            "iframe" | "frame" | "embed" | "object" | "image" | "use" => {
                let source = [tag.get("src"), tag.get("data"), tag.get("href")].into_iter().find(|s| !s.is_empty());
                self.report.link(source.filter(|s| !s.starts_with("data:") && !s.starts_with('#')).unwrap_or_default());
                if !tag.get("srcdoc").is_empty() {
                    self.pages.push(tag.get("srcdoc").to_owned());
                }
            }
            "a" | "area" => {
                self.downloads += usize::from(tag.attributes.iter().any(|(n, _)| n == "download"));
                self.report.link(Some(tag.get("href")).filter(|h| h.contains("://")).unwrap_or_default());
            }
            "meta" if tag.get("http-equiv").eq_ignore_ascii_case("refresh") => self.refresh(tag.get("content")),
            "base" => self.report.link(tag.get("href")),
            "application" => self.act("an HTA application"),
            _ => {}
        }
    }

    fn act(&mut self, what: &'static str) {
        if !self.active.contains(&what) {
            self.active.push(what);
        }
    }

    fn refresh(&mut self, content: &str) {
        let lower = content.to_ascii_lowercase();
        let Some(at) = lower.find("url") else { return };
        let target = content
            .get(at + 3..)
            .unwrap_or_default()
            .trim_start_matches([' ', '=', '\'', '"'])
            .trim_end_matches(['\'', '"']);
        self.report.link(target);
        if self.comes == Comes::AsFile && target.contains("://") {
            self.report.say("html.redirect", format!("leads on to {target} by itself"));
        }
    }

    fn judge(&mut self) {
        if self.comes == Comes::AsBody {
            return;
        }
        if self.passwords > 0 {
            let to = self.forms.iter().find(|f| f.contains("://")).cloned().unwrap_or_default();
            self.report.link(&to);
            self.report.say("html.password-form", format!("asks for a password {to}"));
        }
        if self.svg && !self.active.is_empty() {
            self.report.say("svg.active", format!("is a picture with {}", self.active.join(", ")));
        }
        if self.active.contains(&"an HTA application") {
            self.report.say("html.application", "is an HTML application, which runs with full rights");
        }
    }
}
