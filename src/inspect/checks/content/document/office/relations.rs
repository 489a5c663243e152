//! Relationships of a package (ECMA-376 part 2 §9.3): parts that lie elsewhere, and what an Office program fetches of
//! them without being asked.

use super::super::markup::Tag;
use super::super::report::Report;
use super::fields::is_remote;

/// Kinds that are fetched when the document opens, by the last word of their type.
const FETCHED: &[&str] = &[
    "attachedtemplate",
    "oleobject",
    "frame",
    "subdocument",
    "externallinkpath",
    "externallink",
    "mailmergesource",
    "package",
    "control",
    "customxml",
    "slideupdateinfo",
    "officedocument",
    "vbaproject",
    "macrosheet",
    "afchunk",
    "xlexternallinkpath",
    "subdoc",
    "worddocument",
    "diagramdata",
];

/// One `Relationship` element.
pub fn judge(tag: &Tag, report: &mut Report<'_>) {
    if !tag.get("targetmode").eq_ignore_ascii_case("external") {
        return;
    }
    let (target, kind) = (tag.get("target").trim(), tag.get("type").to_ascii_lowercase());
    let kind = kind.rsplit('/').next().unwrap_or_default();
    let lower = target.to_ascii_lowercase();
    if kind == "hyperlink" {
        report.link(target);
        if lower.starts_with("javascript:") || lower.starts_with("vbscript:") || lower.contains("!x-usc:") {
            report.say("office.external-object", format!("has a link that runs a script: {target}"));
        }
        return;
    }
    if !is_remote(target) {
        // Templates and linked books on the author's own disk are everyday life.
        return;
    }
    report.link(target);
    let template = kind == "attachedtemplate";
    if template && is_stock(&lower) {
        return;
    }
    if template || kind == "frame" || kind == "subdocument" {
        report.say("office.external-template", format!("fetches its {kind} from {target}"));
    } else if FETCHED.contains(&kind) || lower.starts_with("mhtml:") || lower.contains("!x-usc:") {
        report.say("office.external-object", format!("fetches its {kind} from {target}"));
    } else if lower.starts_with("\\\\") || lower.starts_with("file://") && lower.get(7..8).is_some_and(|c| c != "/") {
        // Pictures from another machine: the name and the password's hash of the reader go there.
        report.say("office.external-object", format!("fetches a {kind} from {target}"));
    }
}

/// Templates that Microsoft's programs name themselves.
fn is_stock(target: &str) -> bool {
    let host = target.split("://").nth(1).unwrap_or_default().split(['/', '?', '#']).next().unwrap_or_default();
    target.starts_with("https:") && ["templates.office.com", "omextemplates.content.office.net"].contains(&host)
}
