//! Shell links (MS-SHLLINK): what they start, with which arguments, and what is hidden behind them.

use super::super::bytes::{latin, raw_u32_at, slice, strings, u16_at, u32_at, utf16};
use super::super::report::{Found, Report};
use super::interpreter;
use crate::inspect::checks::content::Object;
use crate::inspect::checks::content::archive::Budget;

pub fn is_shell_link(object: &Object<'_>) -> bool {
    object.kind == "application/x-ms-shortcut" || object.data.starts_with(b"\x4c\0\0\0\x01\x14\x02\0")
}

/// What a link says, as far as it could be read.
#[derive(Default)]
struct Link {
    /// Texts of the target's item list and place.
    target: String,
    name: String,
    relative: String,
    folder: String,
    arguments: String,
    icon: String,
    /// From the block of environment variables.
    environment: String,
    end: usize,
}

pub fn open(object: &Object<'_>, budget: &mut Budget, report: &mut Report<'_>) -> Vec<Found> {
    let data = &object.data;
    let link = read(data);
    let command = [&link.environment, &link.relative, &link.target, &link.arguments].map(String::as_str).join(" ");
    if let Some(program) = interpreter(&command) {
        report.say("link.command", format!("starts {program}: {} {}", link.relative, link.arguments.trim()));
    } else if !link.arguments.trim().is_empty() {
        report.say("link.arguments", format!("starts a program with arguments: {}", link.arguments.trim()));
    }
    if link.arguments.len() > 200
        && link.arguments.chars().filter(|c| c.is_whitespace()).count() * 2 > link.arguments.len()
    {
        report.say("link.padded", "hides its arguments behind blanks");
    }
    for text in [&link.arguments, &link.icon, &link.environment, &link.relative, &link.target, &link.name, &link.folder]
    {
        report.links_in(text);
        for word in text
            .split(['"', '\'', ' ', '\n'])
            .filter(|w| w.starts_with("\\\\") && w.len() > 4 && !w.starts_with("\\\\?\\"))
        {
            report.link(word);
            report.say("link.remote", format!("leads to another machine: {word}"));
        }
    }
    let mut found = Vec::new();
    let text = format!(
        "target {}\nrelative {}\narguments {}\nicon {}\nname {}\nenvironment {}\n",
        link.target, link.relative, link.arguments, link.icon, link.name, link.environment
    );
    if budget.take(text.len()) {
        found.push(Found::text("link", text));
    }
    let behind = data.get(link.end..).unwrap_or_default();
    if behind.len() > 64 {
        report.say("link.overlay", format!("carries {} octets behind its end", behind.len()));
        if budget.take(behind.len()) {
            found.push(Found::member("overlay", behind));
        }
    }
    found
}

fn read(data: &[u8]) -> Link {
    let mut link = Link { end: data.len(), ..Link::default() };
    let Some(flags) = u32_at(data, 20) else { return link };
    let mut at = 76;
    // §2.2: the item list names the target, often in both widths.
    if flags & 0x01 != 0 {
        let Some(size) = u16_at(data, at) else { return link };
        link.target = strings(slice(data, at + 2, size), 3, 8192).replace('\n', " ");
        at += 2 + size;
    }
    // §2.3
    if flags & 0x02 != 0 {
        let Some(size) = u32_at(data, at) else { return link };
        let body = slice(data, at, size);
        for place in [16, 20, 24] {
            if let Some(offset) = u32_at(body, place).filter(|o| *o > 0 && *o < body.len()) {
                let text = if place == 20 {
                    strings(body.get(offset..).unwrap_or_default(), 3, 2048)
                } else {
                    latin(body.get(offset..).unwrap_or_default())
                };
                link.target.push(' ');
                link.target.push_str(text.trim());
            }
        }
        at = at.saturating_add(size);
    }
    // §2.4: counted strings.
    let wide = flags & 0x80 != 0;
    let mut texts: [String; 5] = Default::default();
    for (bit, text) in [0x04, 0x08, 0x10, 0x20, 0x40].into_iter().zip(&mut texts) {
        let Some(count) = u16_at(data, at).filter(|_| flags & bit != 0) else { continue };
        let size = if wide { count * 2 } else { count };
        let bytes = slice(data, at + 2, size);
        *text = if wide { utf16(bytes) } else { latin(bytes) };
        at += 2 + size;
    }
    [link.name, link.relative, link.folder, link.arguments, link.icon] = texts;
    // §2.5: blocks until one shorter than four octets.
    for _ in 0..100 {
        let Some(size) = u32_at(data, at).filter(|s| *s >= 4) else { break };
        let body = slice(data, at, size);
        if matches!(raw_u32_at(body, 4), Some(0xA000_0001 | 0xA000_0007)) {
            let wide = utf16(slice(body, 268, 520));
            link.environment = if wide.is_empty() { latin(slice(body, 8, 260)) } else { wide };
        }
        at = at.saturating_add(size);
    }
    link.end = at.saturating_add(4).min(data.len());
    link
}
