//! HTML smuggling: a file put together by script from text in the page, so that no gateway sees it pass. Whatever text
//! decodes to a file is taken out, however it is written: in one literal or many, as base64, hexadecimal digits or
//! lists of numbers, forwards or backwards.

use std::collections::HashSet;

use super::super::report::{Found, Report};
use super::coded;
use crate::inspect::checks::content::archive::Budget;
use crate::inspect::checks::content::kind;

/// Shortest run that may be a file, most runs tried, octets of a page that are joined.
const RUN: usize = 80;
const RUNS: usize = 300;
const JOIN: usize = 16 << 20;

/// What saves a file, and what makes its octets.
const SAVES: &[&str] = &[
    "createobjecturl",
    "mssaveoropenblob",
    "mssaveblob",
    ".download",
    "setattribute('download",
    "setattribute(\"download",
    "navigator.mssave",
    "showsavefilepicker",
    "window.open(",
    "location.href=",
    "location.replace(",
    "saveas(",
];
const MAKES: &[&str] = &[
    "new blob",
    "blob(",
    "new file(",
    "uint8array",
    "arraybuffer",
    "atob(",
    "frombase64",
    "fromcharcode",
    "decodeuricomponent",
    "bufferfrom",
    "textdecoder",
];
/// Script that hides what it does.
const HIDES: &[&str] = &[
    "eval(atob(",
    "eval(unescape(",
    "document.write(atob(",
    "document.write(unescape(",
    "document.write(decodeuricomponent(",
    "eval(string.fromcharcode",
    "eval(decodeuricomponent(",
    "function(atob(",
    "innerhtml=atob(",
    "document.write(string.fromcharcode",
];

pub fn open(
    text: &str,
    scripts: &str,
    downloads: usize,
    file: bool,
    budget: &mut Budget,
    report: &mut Report<'_>,
) -> Vec<Found> {
    let tight: String = scripts.chars().filter(|c| !c.is_whitespace()).take(JOIN).collect();
    let lower = tight.to_ascii_lowercase();
    let has = |words: &[&'static str]| words.iter().find(|w| lower.contains(&w.replace(' ', ""))).copied();
    let (saves, makes, hides) = (has(SAVES).or((downloads > 0).then_some("download")), has(MAKES), has(HIDES));
    if let Some(what) = hides
        && (file || !scripts.is_empty())
    {
        report.say("html.obfuscated", format!("runs script from coded text: {what}"));
    }
    let mut found = Vec::new();
    let mut seen: HashSet<Vec<u8>> = HashSet::new();
    let (mut largest, mut files) = (0, 0);
    // Literals joined: `"TVqQ" + "AAMA"` and `["TVqQ","AAMA"].join("")`.
    let joined = join(&tight);
    for source in [joined.as_str(), text] {
        for data in candidates(source) {
            if found.len() >= RUNS || data.len() < 24 || !seen.insert(data.clone()) {
                continue;
            }
            largest = largest.max(data.len());
            let what = kind::of(&data);
            let page = matches!(what, "text/html" | "image/svg+xml" | "text/xml");
            let opaque = matches!(what, "application/octet-stream" | "text/plain");
            let picture = what.starts_with("image/") && !page || what.starts_with("font/") || what.contains("font");
            if picture || !budget.take(data.len()) {
                continue;
            }
            if opaque {
                // Text in clear for the rules; noise is what tracking links decode to.
                if data.iter().all(|b| matches!(b, 9 | 10 | 13 | 32..=126)) {
                    let text = String::from_utf8_lossy(&data).into_owned();
                    report.links_in(&text);
                    found.push(Found::text("decoded", text));
                } else if makes.is_some() && data.len() > 400 {
                    found.push(Found::stream("decoded", data));
                }
                continue;
            }
            files += 1;
            if page {
                found.push(Found::stream("decoded page", data));
            } else {
                report.say("html.smuggling", format!("carries a file as text ({what})"));
                found.push(Found::member("smuggled", data));
            }
        }
    }
    if let (Some(saves), Some(makes)) = (saves, makes)
        && (files > 0 || (file && largest > 200 && saves != "location.href="))
    {
        report.say("html.smuggling", format!("puts a file together and saves it ({makes}, {saves})"));
    }
    let escaped = unescaped(scripts);
    if !escaped.is_empty() && budget.take(escaped.len()) {
        report.links_in(&escaped);
        found.push(Found::stream("unescaped", escaped));
    }
    if !scripts.is_empty() {
        report.links_in(&joined);
    }
    found
}

/// Literals without what stands between them.
fn join(script: &str) -> String {
    let mut out = script.to_owned();
    for between in ["\"+\"", "'+'", "\",\"", "','", "`+`", "\"+'", "'+\""] {
        if out.contains(between) {
            out = out.replace(between, "");
        }
    }
    out
}

/// Octets that runs of text could stand for.
fn candidates(text: &str) -> impl Iterator<Item = Vec<u8>> {
    let mut out: Vec<Vec<u8>> = Vec::new();
    let is_code = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'-' | b'_' | b'=');
    for run in text.as_bytes().split(|b| !is_code(*b) && !matches!(b, b'\r' | b'\n')) {
        let tight: Vec<u8> = run.iter().copied().filter(|b| is_code(*b)).collect();
        if tight.len() < RUN || out.len() >= RUNS {
            continue;
        }
        if tight.len().is_multiple_of(2) && tight.iter().all(u8::is_ascii_hexdigit) {
            out.push(coded::hex(&tight));
        }
        let forwards = coded::base64(&tight);
        let known = |data: &Vec<u8>| !matches!(kind::of(data), "application/octet-stream" | "text/plain");
        if !forwards.as_ref().is_some_and(known) {
            let backwards: Vec<u8> = tight.iter().rev().copied().collect();
            out.extend(coded::base64(&backwards).filter(known));
        }
        out.extend(forwards);
    }
    out.extend(numbers(text));
    out.extend(escapes(text));
    out.into_iter()
}

/// `[77,90,144,0,...]` and `[0x4d,0x5a,...]`.
fn numbers(text: &str) -> Vec<Vec<u8>> {
    let mut out = Vec::new();
    for list in text.split(|c: char| !(c.is_ascii_hexdigit() || matches!(c, ',' | 'x' | 'X' | ' ' | '\r' | '\n' | '-')))
    {
        if list.len() < 2 * RUN || !list.contains(',') || out.len() >= 20 {
            continue;
        }
        let number = |word: &str| -> Option<u8> {
            let word = word.trim();
            match word.strip_prefix("0x").or_else(|| word.strip_prefix("0X")) {
                Some(hex) => u8::from_str_radix(hex, 16).ok(),
                None => word.parse::<i16>().ok().and_then(|n| u8::try_from(n.rem_euclid(256)).ok()),
            }
        };
        let data: Vec<u8> = list.split(',').filter_map(number).collect();
        if data.len() >= RUN / 2 {
            out.push(data);
        }
    }
    out
}

/// `\x4d\x5a` in literals.
fn escapes(text: &str) -> Option<Vec<u8>> {
    let count = memchr::memmem::find_iter(text.as_bytes(), b"\\x").take(RUN).count();
    if count < 24 {
        return None;
    }
    let pieces = text.split("\\x").skip(1);
    Some(pieces.filter_map(|p| u8::from_str_radix(p.get(..2)?, 16).ok()).take(1 << 20).collect())
}

/// Text behind percent signs in script: what `unescape` would give.
fn unescaped(scripts: &str) -> String {
    let mut out = String::new();
    for literal in scripts.split(['"', '\'', '`']) {
        let signs = memchr::memchr_iter(b'%', literal.as_bytes()).take(12).count();
        if signs >= 8 && literal.len() >= 24 && out.len() < 1 << 20 {
            out.push_str(&coded::percent(literal));
            out.push('\n');
        }
    }
    out
}
