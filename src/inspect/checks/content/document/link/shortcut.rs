//! Text files that lead elsewhere (`.url`, `.scf`, `.library-ms`, `.search-ms`, `.settingcontent-ms`, `.iqy`, `.rdp`,
//! playlists, launchers), calendars, cards, and spreadsheets in text form.

use super::super::markup;
use super::super::office::cells;
use super::super::report::{Found, Report};
use super::interpreter;
use crate::inspect::checks::content::Object;
use crate::inspect::checks::content::archive::Budget;
use crate::inspect::checks::content::name::Name;

const MOST: usize = 4 << 20;

/// What such a file is, by name or first line.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Shortcut,
    /// Playlists, launchers and bookmarks: whatever opens them fetches what they name.
    Pointer,
    Settings,
    Query,
    Table,
    Card,
}

fn of(object: &Object<'_>) -> Option<Kind> {
    if !(object.kind.starts_with("text/") || object.kind == "application/octet-stream") {
        return None;
    }
    let head = object.data.get(..object.data.len().min(512)).unwrap_or_default();
    let start = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head).trim_ascii_start();
    let begins = |word: &[u8]| start.get(..word.len()).is_some_and(|s| s.eq_ignore_ascii_case(word));
    let named = Name::read(object.name()).extension;
    let declared = object.declared.as_str();
    Some(match named.as_str() {
        "url" | "website" | "scf" | "library-ms" | "search-ms" | "searchconnector-ms" | "rdp" | "ini" | "theme"
        | "desktop" => Kind::Shortcut,
        "application" | "asx" | "contact" | "fileloc" | "inetloc" | "inf" | "jnlp" | "m3u" | "m3u8" | "qtl" | "wax"
        | "webloc" | "wpl" | "wvx" | "xspf" | "appref-ms" => Kind::Pointer,
        "settingcontent-ms" => Kind::Settings,
        "iqy" | "oqy" | "rqy" => Kind::Query,
        "csv" | "slk" | "dif" | "tsv" | "sylk" => Kind::Table,
        "ics" | "vcf" | "vcs" | "ical" => Kind::Card,
        _ if begins(b"[InternetShortcut]")
            || begins(b"[{000214A0")
            || begins(b"[Shell]")
            || begins(b"[Desktop Entry]") =>
        {
            Kind::Shortcut
        }
        _ if begins(b"WEB\r\n1") || begins(b"WEB\n1") => Kind::Query,
        _ if begins(b"ID;P") => Kind::Table,
        _ if begins(b"BEGIN:V") || matches!(declared, "text/calendar" | "text/vcard" | "text/x-vcard") => Kind::Card,
        _ if declared == "text/csv" => Kind::Table,
        _ => return None,
    })
}

pub fn is_shortcut(object: &Object<'_>) -> bool {
    of(object).is_some()
}

pub fn open(object: &Object<'_>, budget: &mut Budget, report: &mut Report<'_>) -> Vec<Found> {
    let Some(kind) = of(object) else { return Vec::new() };
    let text = markup::decode(object.data.get(..object.data.len().min(MOST)).unwrap_or_default());
    match kind {
        Kind::Shortcut => shortcut(&text, report),
        Kind::Pointer => pointer(&text, report),
        Kind::Settings => {
            if let Some(command) = text.split("<DeepLink>").nth(1).and_then(|t| t.split('<').next()) {
                report.say("link.command", format!("runs {command}"));
                report.links_in(command);
            }
        }
        Kind::Query => {
            report.links_in(&text);
            report.say("office.external-object", "is a query that fetches a page into a spreadsheet");
        }
        Kind::Table => {
            cells(&text, report);
            report.links_in(&text);
        }
        Kind::Card => return card(&text, budget, report),
    }
    Vec::new()
}

fn shortcut(text: &str, report: &mut Report<'_>) {
    report.links_in(text);
    let values = text.lines().filter_map(|l| l.split_once('=')).map(|(k, v)| (k.trim().to_ascii_lowercase(), v.trim()));
    for (key, value) in values {
        let key = key.as_str();
        let lower = value.to_ascii_lowercase();
        if matches!(
            key,
            "url"
                | "baseurl"
                | "iconfile"
                | "workingdirectory"
                | "full address"
                | "exec"
                | "command"
                | "alternate shell"
                | "remoteapplicationprogram"
                | "iconresource"
        ) {
            report.link(value);
            let place = lower.starts_with("file:")
                || value.starts_with("\\\\")
                || lower.starts_with("smb:")
                || lower.starts_with("javascript:");
            if place {
                report.say("link.remote", format!("leads to {value}"));
            }
            if matches!(key, "exec" | "alternate shell")
                || (key == "url" && interpreter(&lower).is_some() && !lower.starts_with("http"))
            {
                report.say("link.command", format!("runs {value}"));
            }
        }
    }
    for tag in ["<url>", "<simpleLocation>", "include path=\""] {
        for place in text.split(tag).skip(1).take(10) {
            let target =
                place.trim_start().trim_start_matches("<url>").split(['<', '"']).next().unwrap_or_default().trim();
            let away = target.starts_with("\\\\")
                || target.to_ascii_lowercase().starts_with("http")
                || target.to_ascii_lowercase().starts_with("file:");
            if away {
                report.link(target);
                report.say("link.remote", format!("leads to {target}"));
            }
        }
    }
}

/// Places named in attributes, elements, values or lines of their own; those of another machine's disk are told, for the
/// name and the password's hash of the reader go there.
fn pointer(text: &str, report: &mut Report<'_>) {
    report.links_in(text);
    let places = text.split(['"', '\'', '<', '>', '=', '\r', '\n']).map(str::trim);
    for place in places.filter(|p| p.len() > 4 && p.len() < 2000).take(5000) {
        let lower = place.get(..place.floor_char_boundary(8)).unwrap_or(place).to_ascii_lowercase();
        if place.starts_with("\\\\") || lower.starts_with("file:") || lower.starts_with("smb:") {
            report.link(place);
            report.say("link.remote", format!("leads to {place}"));
        }
    }
    let value = |line: &str| line.split_once('=').map(|(k, v)| (k.trim().to_ascii_lowercase(), v.trim().to_owned()));
    for (key, command) in text.lines().filter_map(value) {
        if matches!(key.as_str(), "open" | "shellexecute" | "shell\\open\\command" | "runpresetupcommandssection") {
            report.say("link.command", format!("runs {command}"));
        }
    }
}

/// Links of a calendar or card, and files in it (RFC 5545 §3.8.1.1), lines unfolded.
fn card(text: &str, budget: &mut Budget, report: &mut Report<'_>) -> Vec<Found> {
    let whole =
        text.replace("\r\n ", "").replace("\n ", "").replace("\r\n\t", "").replace("\\n", "\n").replace("\\,", ",");
    report.links_in(&whole);
    let mut found = Vec::new();
    for line in whole.lines().filter(|l| l.get(..6).is_some_and(|s| s.eq_ignore_ascii_case("ATTACH"))).take(50) {
        let Some((head, body)) = line.split_once(':') else { continue };
        if head.to_ascii_uppercase().contains("BASE64")
            && let Some(data) = super::super::page::base64(body.as_bytes())
            && budget.take(data.len())
        {
            let name = head
                .split("X-FILENAME=")
                .nth(1)
                .map_or("attachment", |n| n.trim_matches('"').split([';', '"']).next().unwrap_or_default());
            found.push(Found::member(name, data));
        }
    }
    found
}
