//! HTML to text as a reader sees it, and what in it is not as it seems: hidden text, links whose words name another
//! place, forms, fonts that change the alphabet. A flat walk over tokens: no tree, no recursion, bounded stack.

use html5gum::{StartTag, Token, Tokenizer};

use super::legacy::Legacy;

/// At most so many links, so many open elements.
const LINKS: usize = 500;
const OPEN: usize = 512;

/// One page, read.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Page {
    /// All text in document order, hidden or not.
    pub text: String,
    /// What is shown.
    pub visible: String,
    /// What is in the document but not shown.
    pub hidden: String,
    pub links: Vec<Link>,
    /// `action` of forms.
    pub forms: Vec<String>,
    pub images: usize,
    pub password_fields: usize,
    /// Inline scripts, event handlers and `javascript:` links.
    pub scripts: usize,
    pub frames: usize,
    /// Text in a font of a Vietnamese encoding from before Unicode.
    pub legacy_font: bool,
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Link {
    pub href: String,
    /// The words between `<a>` and `</a>`.
    pub text: String,
}

struct Open {
    name: Vec<u8>,
    hidden: bool,
    font: Option<Legacy>,
}

struct Reader {
    page: Page,
    open: Vec<Open>,
    /// Inside script, style and their like: not text.
    mute: Option<Vec<u8>>,
    link: Option<usize>,
    default_font: Option<Legacy>,
}

/// Reads `html`, which the caller has bounded. Text already decoded by charset.
#[must_use]
pub fn read(html: &str) -> Page {
    let mut reader = Reader { page: Page::default(), open: Vec::new(), mute: None, link: None, default_font: None };
    for Ok(token) in Tokenizer::new(html) {
        match token {
            Token::StartTag(tag) => reader.start(&tag),
            Token::EndTag(tag) => reader.end(&tag.name),
            Token::String(text) => reader.text(&String::from_utf8_lossy(&text.value)),
            _ => {}
        }
    }
    reader.page
}

impl Reader {
    fn start(&mut self, tag: &StartTag<()>) {
        if self.mute.is_some() {
            return;
        }
        let name: &[u8] = &tag.name;
        match name {
            b"script" | b"style" | b"title" | b"textarea" | b"xmp" if !tag.self_closing => {
                self.page.scripts += usize::from(name == b"script");
                if name != b"textarea" {
                    self.mute = Some(name.to_vec());
                }
            }
            b"a" | b"area" => self.link(tag),
            b"form" => self.page.forms.push(attribute(tag, b"action").chars().take(2000).collect()),
            b"img" | b"image" => self.page.images += 1,
            b"iframe" | b"object" | b"embed" => self.page.frames += 1,
            b"input" if attribute(tag, b"type").eq_ignore_ascii_case("password") => self.page.password_fields += 1,
            _ => {}
        }
        self.page.scripts += usize::from(tag.attributes.keys().any(|k| k.starts_with(b"on") && k.len() > 4));
        if breaks(name) {
            self.space();
        }
        if is_void(name) || tag.self_closing || self.open.len() >= OPEN {
            return;
        }
        let parent = self.open.last();
        let style = attribute(tag, b"style").to_ascii_lowercase();
        let hidden = parent.is_some_and(|p| p.hidden)
            || tag.attributes.contains_key(&b"hidden"[..])
            || hides(&style)
            || (name == b"noscript" || name == b"template");
        let own_font = font(tag, &style);
        let font = own_font.unwrap_or_else(|| parent.map_or(self.default_font, |p| p.font));
        self.open.push(Open { name: name.to_vec(), hidden, font });
    }

    fn end(&mut self, name: &[u8]) {
        if let Some(mute) = &self.mute {
            if mute == name {
                self.mute = None;
            }
            return;
        }
        if name == b"a" {
            self.link = None;
        }
        if breaks(name) {
            self.space();
        }
        // Only the innermost 64 are searched: a hostile page cannot make this quadratic.
        let depth = self.open.len();
        let found = self.open.iter().rev().take(64).position(|o| o.name == name);
        if let Some(back) = found {
            self.open.truncate(depth - back - 1);
        }
    }

    fn text(&mut self, text: &str) {
        match self.mute.as_deref() {
            Some(b"style") => {
                self.style_sheet(text);
                return;
            }
            Some(_) => return,
            None => {}
        }
        let (hidden, font) = self.open.last().map_or((false, self.default_font), |o| (o.hidden, o.font));
        let text = match font {
            Some(legacy) => {
                self.page.legacy_font = true;
                legacy.read(text)
            }
            None => text.to_owned(),
        };
        self.page.text.push_str(&text);
        if hidden {
            self.page.hidden.push_str(&text)
        } else {
            self.page.visible.push_str(&text)
        }
        if let Some(link) = self.link.and_then(|i| self.page.links.get_mut(i))
            && link.text.len() < 500
        {
            link.text.push_str(&text);
        }
    }

    /// A style sheet that sets an old Vietnamese font for the whole page (word processors write it so).
    fn style_sheet(&mut self, css: &str) {
        if let Some(at) = css.to_ascii_lowercase().find("font-family") {
            let rest = css.get(at..).unwrap_or_default();
            self.default_font = rest.split_once(':').and_then(|(_, v)| Legacy::from_font(v.split([';', '}']).next()?));
        }
    }

    fn link(&mut self, tag: &StartTag<()>) {
        let href = attribute(tag, b"href");
        let href = href.trim();
        if href.is_empty() || self.page.links.len() >= LINKS {
            return;
        }
        let start = href.get(..11).unwrap_or(href);
        self.page.scripts += usize::from(start.eq_ignore_ascii_case("javascript:"));
        self.link = Some(self.page.links.len());
        self.page.links.push(Link { href: href.chars().take(2000).collect(), text: String::new() });
    }

    fn space(&mut self) {
        for text in [&mut self.page.text, &mut self.page.visible] {
            if !text.is_empty() && !text.ends_with('\n') {
                text.push('\n');
            }
        }
        if !self.page.hidden.is_empty() && !self.page.hidden.ends_with('\n') {
            self.page.hidden.push('\n');
        }
    }
}

fn attribute(tag: &StartTag<()>, name: &[u8]) -> String {
    tag.attributes.get(name).map_or_else(String::new, |v| String::from_utf8_lossy(&v.value).into_owned())
}

/// `Some(None)`: the element names a font that is none of the old encodings, so an outer one ends here.
fn font(tag: &StartTag<()>, style: &str) -> Option<Option<Legacy>> {
    let face = attribute(tag, b"face");
    if !face.is_empty() {
        return Some(Legacy::from_font(&face));
    }
    let at = style.find("font-family")?;
    // The case of the name tells capitals fonts apart, so the original is read at the place found in lower case.
    let original = attribute(tag, b"style");
    let value = original.get(at..)?.split_once(':')?.1;
    Some(Legacy::from_font(value.split(';').next()?))
}

/// Styles under which a reader sees nothing. `style` is lower case.
fn hides(style: &str) -> bool {
    if style.is_empty() {
        return false;
    }
    let tight: String = style.chars().filter(|c| !c.is_whitespace()).collect();
    let zero = |key: &str| {
        tight.split(';').filter_map(|d| d.strip_prefix(key)).any(|v| {
            let number: String = v.chars().take_while(|c| c.is_ascii_digit() || *c == '.').collect();
            number.parse::<f64>().is_ok_and(|n| n < 0.1 || (key == "font-size:" && n <= 1.0 && v.contains("p")))
        })
    };
    let white = |key: &str| {
        tight.split(';').filter_map(|d| d.strip_prefix(key)).any(|v| {
            matches!(v.trim_end_matches("!important"), "#fff" | "#ffffff" | "white" | "rgb(255,255,255)" | "#fefefe")
        })
    };
    tight.contains("display:none")
        || tight.contains("visibility:hidden")
        || tight.contains("mso-hide:all")
        || zero("font-size:")
        || zero("opacity:")
        || zero("max-height:")
        // White on nothing, or on white: a button has a background of its own.
        || (white("color:") && (!tight.contains("background") || white("background:") || white("background-color:")) && zero_or_small(&tight))
}

/// White letters alone are common on coloured tables; white and tiny letters are not.
fn zero_or_small(tight: &str) -> bool {
    tight.split(';').filter_map(|d| d.strip_prefix("font-size:")).any(|v| {
        let number: String = v.chars().take_while(|c| c.is_ascii_digit() || *c == '.').collect();
        number.parse::<f64>().is_ok_and(|n| n <= 4.0)
    })
}

/// Elements that part words.
fn breaks(name: &[u8]) -> bool {
    matches!(
        name,
        b"br"
            | b"p"
            | b"div"
            | b"tr"
            | b"td"
            | b"th"
            | b"li"
            | b"ul"
            | b"ol"
            | b"table"
            | b"h1"
            | b"h2"
            | b"h3"
            | b"h4"
            | b"h5"
            | b"h6"
            | b"hr"
            | b"blockquote"
            | b"pre"
            | b"section"
            | b"article"
            | b"header"
            | b"footer"
            | b"center"
            | b"dd"
            | b"dt"
            | b"option"
            | b"body"
            | b"title"
            | b"form"
    )
}

fn is_void(name: &[u8]) -> bool {
    matches!(
        name,
        b"br"
            | b"img"
            | b"hr"
            | b"input"
            | b"meta"
            | b"link"
            | b"area"
            | b"base"
            | b"col"
            | b"embed"
            | b"source"
            | b"track"
            | b"wbr"
            | b"param"
            | b"frame"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_what_a_reader_sees() {
        let page =
            read("<html><style>p{color:red}</style><body><p>Kính&nbsp;gửi</p><div>Anh <b>A</b>n<br>chị B</div></body>");
        assert_eq!(page.visible.trim(), "Kính\u{a0}gửi\nAnh An\nchị B");
        assert_eq!(page.hidden, "");
    }

    #[test]
    fn hidden_text_is_kept_apart() {
        for style in [
            "display:none",
            "font-size:0px",
            "FONT-SIZE: 1px",
            "opacity:0",
            "color:#fff;font-size:2px",
            "max-height:0;overflow:hidden",
        ] {
            let page = read(&format!("a<span style='{style}'>secret <b>x</b></span>b"));
            assert_eq!((page.visible.as_str(), page.hidden.as_str()), ("ab", "secret x"), "{style}");
        }
        for style in ["color:#ffffff;background:#00f", "font-size:10px", "color:white", "opacity:0.9"] {
            assert_eq!(read(&format!("<span style='{style}'>x</span>")).hidden, "", "{style}");
        }
    }

    #[test]
    fn links_keep_their_words() {
        let page = read(
            "<a href=' http://a.test/x '>http://<b>bank</b>.vn</a> <a name=x>y</a><form action=/go><input type=Password></form>",
        );
        assert_eq!(page.links, [Link { href: "http://a.test/x".into(), text: "http://bank.vn".into() }]);
        assert_eq!((page.forms.as_slice(), page.password_fields), (&["/go".to_owned()][..], 1));
    }

    #[test]
    fn old_fonts_change_the_alphabet_of_their_run_only() {
        let page = read("<font face='.VnTime'>Ti\u{d5}ng Vi\u{d6}t</font> caf\u{e9}");
        assert_eq!(page.visible, "Tiếng Việt café");
        let page = read("<p style=\"font-family: 'VNI-Times'\">Tieáng <span style='font-family:Arial'>é</span></p>");
        assert_eq!(page.visible.trim(), "Tiếng é");
    }

    #[test]
    fn hostile_depth_is_flat() {
        let deep = "<div>".repeat(20_000) + "x" + &"</div>".repeat(20_000);
        assert_eq!(read(&deep).visible.trim(), "x");
    }
}
