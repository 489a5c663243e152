//! Outlook messages (MS-OXMSG): attachments under their names, the text in each of its forms.

use super::super::bytes::{latin, utf16};
use super::super::report::{Found, Report};
use super::compound::{Compound, Entry, Kind};
use super::rtf;
use crate::inspect::checks::content::archive::Budget;

/// One property's octets.
const MOST: usize = 32 << 20;

pub fn is_message(file: &Compound<'_>) -> bool {
    file.find("__properties_version1.0").is_some() || file.entries.iter().any(|e| e.name().starts_with("__substg1.0_"))
}

pub fn open(file: &Compound<'_>, budget: &mut Budget, report: &mut Report<'_>) -> Vec<Found> {
    let mut found = Vec::new();
    for entry in file.entries.iter().filter(|e| e.kind == Kind::Stream) {
        let Some(tag) = entry.name().strip_prefix("__substg1.0_").map(str::to_ascii_uppercase) else { continue };
        let data = match tag.get(..4) {
            Some("3701" | "1000" | "1013" | "1009") => file.read(entry, MOST),
            _ => continue,
        };
        if !budget.take(data.len()) {
            report.say("unpack.limit", "a part of the message does not fit the budget");
            break;
        }
        match tag.get(..4) {
            Some("3701") => found.push(Found::member(name(file, entry), data)),
            Some("1000") => {
                let text = if tag.ends_with("001F") { utf16(&data) } else { latin(&data) };
                report.links_in(&text);
                found.push(Found::text("body", text));
            }
            Some("1013") => {
                let page = if tag.ends_with("001F") { utf16(&data).into_bytes() } else { data };
                found.push(Found::stream("body.html", page));
            }
            _ => {
                if let Some(text) = rtf::decompress(&data)
                    && budget.take(text.len())
                {
                    found.push(Found::stream("body.rtf", text));
                }
            }
        }
    }
    found
}

/// PidTagAttachLongFilename, else the short one, else the display name.
fn name(file: &Compound<'_>, entry: &Entry) -> String {
    let read = |tag: &str| {
        let entry = file.find(&format!("{}/__substg1.0_{tag}", entry.parent()))?;
        let data = file.read(entry, 2048);
        Some(if tag.ends_with("1F") { utf16(&data) } else { latin(&data) }).filter(|n| !n.is_empty())
    };
    ["3707001F", "3707001E", "3704001F", "3704001E", "3001001F", "3001001E"]
        .iter()
        .find_map(|tag| read(tag))
        .unwrap_or_else(|| "attachment".to_owned())
}
