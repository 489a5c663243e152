//! XML of office formats as a flat run of tags and texts: no tree, no entities of its own, nothing fetched. Names keep
//! no prefix and no capitals, because the programs that read these files are as lenient.

use encoding_rs::{UTF_16BE, UTF_16LE};
use html5gum::emitters::default::DefaultEmitter;
use html5gum::{Token, Tokenizer};
use memchr::memmem;

/// A piece of a document.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Piece {
    Start(Tag),
    /// The local name, lower case.
    End(String),
    Text(String),
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Tag {
    /// The local name, lower case.
    pub name: String,
    /// Local names in lower case, values with references resolved.
    pub attributes: Vec<(String, String)>,
    pub empty: bool,
}

impl Tag {
    pub fn get(&self, name: &str) -> &str {
        self.attributes.iter().find(|(n, _)| n == name).map_or("", |(_, v)| v.as_str())
    }
}

/// The document's text: UTF-16 by its mark or its looks, else UTF-8 read leniently.
pub fn decode(data: &[u8]) -> String {
    let zeros = |odd: usize| data.iter().take(200).skip(odd).step_by(2).filter(|b| **b == 0).count();
    if data.starts_with(b"\xff\xfe") || zeros(1) > 50 {
        return UTF_16LE.decode(data).0.into_owned();
    }
    if data.starts_with(b"\xfe\xff") || zeros(0) > 50 {
        return UTF_16BE.decode(data).0.into_owned();
    }
    String::from_utf8_lossy(data).into_owned()
}

/// Whether `data` looks like XML at all.
pub fn is_xml(data: &[u8]) -> bool {
    let head = data.get(..data.len().min(256)).unwrap_or_default();
    let first = head.iter().find(|b| !matches!(b, 0 | 0xff | 0xfe | 0xef | 0xbb | 0xbf) && !b.is_ascii_whitespace());
    first == Some(&b'<') && memmem::find(head, b"%PDF").is_none()
}

/// Hands every piece of an XML `text` to `see`.
pub fn walk(text: &str, see: impl FnMut(Piece)) {
    read(text, false, see);
}

/// The same for HTML, where script and style are one run of text each.
pub fn walk_page(text: &str, see: impl FnMut(Piece)) {
    read(text, true, see);
}

fn read(text: &str, html: bool, mut see: impl FnMut(Piece)) {
    // CDATA is text: the tokenizer, made for HTML, would take it for a comment.
    let text = if text.contains("<![CDATA[") { std::borrow::Cow::Owned(cdata(text, html)) } else { text.into() };
    let mut emitter = DefaultEmitter::default();
    emitter.naively_switch_states(html);
    for Ok(token) in Tokenizer::new_with_emitter(&*text, emitter) {
        match token {
            Token::StartTag(tag) => {
                let attributes = tag.attributes.iter();
                see(Piece::Start(Tag {
                    name: local(&tag.name),
                    attributes: attributes
                        .map(|(name, value)| (local(name), String::from_utf8_lossy(&value.value).into_owned()))
                        .collect(),
                    empty: tag.self_closing,
                }));
            }
            Token::EndTag(tag) => see(Piece::End(local(&tag.name))),
            Token::String(text) => see(Piece::Text(String::from_utf8_lossy(&text.value).into_owned())),
            _ => {}
        }
    }
}

fn local(name: &[u8]) -> String {
    let name = name.rsplit(|b| *b == b':').next().unwrap_or(name);
    String::from_utf8_lossy(name).to_ascii_lowercase()
}

fn cdata(text: &str, html: bool) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("<![CDATA[") {
        out.push_str(before);
        let (inside, behind) = after.split_once("]]>").unwrap_or((after, ""));
        if html {
            out.push_str(inside);
        } else {
            out.push_str(&inside.replace('&', "&amp;").replace('<', "&lt;"));
        }
        rest = behind;
    }
    out.push_str(rest);
    out
}
