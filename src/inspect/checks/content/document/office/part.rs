//! Parts of OOXML and OpenDocument packages, and Word's and Office's XML in one file: looked at one by one, by what
//! they say and not by where they lie, because relations may name any place.

use std::sync::LazyLock;

use aho_corasick::AhoCorasick;
use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::super::bytes::{holds, slice, strings};
use super::super::markup::{self, Piece, Tag};
use super::super::report::{Found, Report};
use super::fields;
use super::relations;
use super::sheet;
use super::vba::words;
use crate::inspect::checks::content::archive::Budget;
use crate::inspect::checks::content::{Object, Origin};

/// base64 that may lack its padding or end in odd bits.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);
/// Octets of one part that are walked.
const PART: usize = 16 << 20;

/// Words without which a part has nothing to say.
static MARKS: LazyLock<AhoCorasick> = LazyLock::new(|| {
    AhoCorasick::builder()
        .ascii_case_insensitive(true)
        .build([
            "Relationship",
            "instrText",
            "fldSimple",
            "macrosheet",
            "auto_open",
            "auto_close",
            "ddeLink",
            "ddeService",
            "onLoad",
            "binData",
            "binaryData",
            "event-listener",
            "dde-source",
            "script:module",
            "library:library",
            "ActiveXControl",
            "ax:ocx",
            "attachedTemplate",
            "hlinkClick",
            "oleLink",
            "docOleData",
            "Hlink",
            "dde-connection",
            "loadImage",
            "w:frame",
            "schemaLocation",
            "xml-stylesheet",
        ])
        .expect("the words are constants")
});

pub fn is_part(object: &Object<'_>) -> bool {
    let name = object.name();
    if object.origin == Origin::Member && (is_project(name) || is_binary(name)) {
        return true;
    }
    let xml = markup::is_xml(&object.data) && !matches!(object.kind, "text/html" | "image/svg+xml");
    let wide =
        object.data.starts_with(b"\xff\xfe") || object.data.starts_with(b"\xfe\xff") || object.data.get(1) == Some(&0);
    xml && (wide || MARKS.is_match(slice(&object.data, 0, PART)))
}

/// The name under which OOXML keeps macros; the content may be damaged on purpose.
fn is_project(name: &str) -> bool {
    name.to_ascii_lowercase().ends_with("vbaproject.bin")
}

/// Parts of XLSB, and controls.
fn is_binary(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    lower.ends_with(".bin") && (lower.starts_with("xl/") || lower.contains("activex"))
}

pub fn open(object: &Object<'_>, budget: &mut Budget, report: &mut Report<'_>) -> Vec<Found> {
    let name = object.name().to_ascii_lowercase();
    if is_project(&name) {
        report.say("macro.present", "is a macro project");
        return Vec::new();
    }
    if is_binary(&name) && !markup::is_xml(&object.data) {
        return binary(&name, &object.data, budget, report);
    }
    let text = markup::decode(slice(&object.data, 0, PART));
    let mut reader = Reader {
        name: &name,
        report,
        found: Vec::new(),
        budget,
        field: String::new(),
        keep: None,
        formulas: String::new(),
        is_macro_sheet: false,
    };
    reader.style_sheets(&text);
    markup::walk(&text, |piece| reader.piece(piece));
    reader.finish()
}

/// Parts of a binary workbook: the names and texts in them are enough to judge by.
fn binary(name: &str, data: &[u8], budget: &mut Budget, report: &mut Report<'_>) -> Vec<Found> {
    let text = || strings(data, 3, 256 << 10);
    if name.contains("macrosheets/") {
        report.say("macro.present", "has Excel 4 macro sheets");
        report.say("macro.xlm", "is a macro sheet of a binary workbook");
        return sheet::open(data, budget, report);
    } else if name.ends_with("workbook.bin") {
        let lower = text().to_ascii_lowercase();
        if lower.contains("auto_open") || lower.contains("auto_close") {
            report.say("macro.autoexec", "names a macro that starts by itself");
        }
    } else if name.contains("externallink") {
        // BrtBeginSupBook of the DDE kind: type 1, then program and topic (MS-XLSB §2.4.232).
        let text = text();
        let lower = text.to_ascii_lowercase();
        let program =
            ["cmd", "powershell", "mshta", "rundll32", "regsvr32", "wscript", "cscript", "msexcel", "explorer"];
        if program.iter().any(|p| {
            lower
                .lines()
                .any(|l| l.trim() == *p || l.starts_with(&format!("{p}.exe")) || l.starts_with(&format!("{p} ")))
        }) {
            report.say("office.dde", format!("has a link that starts a program: {}", text.replace('\n', " ")));
        }
    } else if name.contains("activex") && holds(data, "http") {
        report.links_in(&text());
    }
    Vec::new()
}

/// What the text of an element is kept for.
#[derive(Clone, PartialEq, Eq)]
enum Keep {
    Instruction,
    Formula,
    Base64(String),
    Module,
    Name,
}

struct Reader<'r, 'f> {
    name: &'r str,
    report: &'r mut Report<'f>,
    found: Vec<Found>,
    budget: &'r mut Budget,
    /// Instruction of the field that is open; runs may split it anywhere.
    field: String,
    keep: Option<(Keep, String)>,
    formulas: String,
    is_macro_sheet: bool,
}

impl Reader<'_, '_> {
    fn piece(&mut self, piece: Piece) {
        match piece {
            Piece::Start(tag) => self.start(&tag),
            Piece::End(name) => self.end(&name),
            Piece::Text(text) => {
                if let Some((_, kept)) = &mut self.keep
                    && kept.len() < PART
                {
                    kept.push_str(&text);
                }
            }
        }
    }

    fn start(&mut self, tag: &Tag) {
        match tag.name.as_str() {
            "relationship" => relations::judge(tag, self.report),
            "instrtext" | "delinstrtext" => self.keep(Keep::Instruction, tag),
            "fldsimple" => {
                let instruction = tag.get("instr").to_owned();
                fields::judge(&instruction, self.report);
            }
            "fldchar" if tag.get("fldchartype") != "begin" => self.field_ends(),
            "p" => self.field_ends(),
            "macrosheet" => {
                self.is_macro_sheet = true;
                self.report.say("macro.present", "has Excel 4 macro sheets");
                self.report.say("macro.xlm", "is an Excel 4 macro sheet");
            }
            "f" if self.is_macro_sheet => self.keep(Keep::Formula, tag),
            "definedname" => {
                let name: String = tag.get("name").chars().filter(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
                let name = name.to_ascii_lowercase();
                if name.contains("auto_open") || name.contains("auto_close") || name.contains("auto_activate") {
                    self.report.say("macro.autoexec", format!("starts by itself: {name}"));
                }
                self.keep(Keep::Name, tag);
            }
            "ddelink" | "dde-source" | "dde-connection-decl" => self.dde(tag),
            "customui" if !tag.get("onload").is_empty() => {
                self.report.say("macro.autoexec", format!("the ribbon starts {}", tag.get("onload")));
            }
            "event-listener" => {
                let target = tag.get("href");
                if tag.get("event-name").contains("load") || tag.get("event-name").contains("open") {
                    self.report.say("macro.autoexec", format!("starts by itself: {target}"));
                }
                self.report.say("macro.present", format!("runs {target}"));
            }
            // OpenDocument keeps Basic as text in `script:module` (OpenOffice's own format).
            "module" if self.name.starts_with("basic/") || !tag.get("language").is_empty() => {
                self.keep(Keep::Module, tag)
            }
            "bindata" | "binarydata" | "docoledata" => {
                let name = if tag.get("name").is_empty() { "binary data" } else { tag.get("name") };
                self.keep(Keep::Base64(name.to_owned()), tag);
            }
            "attachedtemplate" if fields::is_remote(tag.get("val")) => {
                self.report.link(tag.get("val"));
                self.report.say("office.external-template", format!("fetches its template from {}", tag.get("val")));
            }
            "ocx" => self.report.say("office.activex", format!("holds a control of class {}", tag.get("classid"))),
            "hlinkclick" | "hlinkmouseover" if tag.get("action").starts_with("ppaction://program") => {
                self.report.say("office.run-program", "a click on a shape runs a program");
            }
            "hlink" => self.report.link(tag.get("dest")),
            "object" if !tag.get("href").is_empty() && fields::is_remote(tag.get("href")) => {
                self.report.link(tag.get("href"));
                self.report.say("office.external-object", format!("fetches {}", tag.get("href")));
            }
            "a" => self.report.link(tag.get("href")),
            // A schema that is put together from elsewhere (XML Schema part 1 §4.2).
            "import" | "include" | "redefine" if fields::is_remote(tag.get("schemalocation")) => {
                let place = tag.get("schemalocation");
                self.report.link(place);
                self.report.say("office.external-object", format!("fetches its schema from {place}"));
            }
            _ => {}
        }
    }

    /// Word fetches the style sheet that an instruction of XML names (W3C xml-stylesheet).
    fn style_sheets(&mut self, text: &str) {
        for instruction in text.split("<?xml-stylesheet").skip(1).take(10) {
            let inside = instruction.split("?>").next().unwrap_or_default();
            let place =
                inside.split("href=").nth(1).and_then(|rest| rest.split(['"', '\'']).nth(1)).unwrap_or_default();
            if fields::is_remote(place) {
                self.report.link(place);
                self.report.say("office.external-template", format!("fetches its style sheet from {place}"));
            }
        }
    }

    fn keep(&mut self, what: Keep, tag: &Tag) {
        if !tag.empty {
            self.keep = Some((what, String::new()));
        }
    }

    fn end(&mut self, name: &str) {
        if name == "p" {
            self.field_ends();
        }
        let Some((what, text)) = self.keep.take() else { return };
        match what {
            Keep::Instruction => self.field.push_str(&text),
            Keep::Formula => {
                self.formulas.push_str(&text);
                self.formulas.push('\n');
            }
            Keep::Base64(name) => self.binary(&name, &text),
            Keep::Module => self.module(&text),
            Keep::Name => {}
        }
    }

    fn field_ends(&mut self) {
        let field = std::mem::take(&mut self.field);
        if !field.trim().is_empty() {
            fields::judge(field.trim(), self.report);
        }
    }

    fn dde(&mut self, tag: &Tag) {
        let (program, topic) = match tag.get("ddeservice") {
            "" => (tag.get("dde-application"), tag.get("dde-topic")),
            program => (program, tag.get("ddetopic")),
        };
        // OpenOffice links its own documents so.
        if program.eq_ignore_ascii_case("soffice") {
            return;
        }
        self.report.say("office.dde", format!("has a link that starts a program: {program} | {topic}"));
    }

    fn binary(&mut self, name: &str, text: &str) {
        let tight: String = text.chars().filter(|c| !c.is_whitespace()).collect();
        let Ok(data) = LENIENT.decode(tight.trim_end_matches('=')) else { return };
        if !self.budget.take(data.len()) {
            self.report.say("unpack.limit", "the budget of unpacked octets or files is spent");
        } else if data.len() > 16 {
            let name = name.rsplit('/').next().unwrap_or(name);
            self.found.push(Found::stream(name, data));
        }
    }

    fn module(&mut self, source: &str) {
        let code = words::without_attributes(source);
        if code.lines().count() <= 3 {
            // What the editor makes by itself: an empty Main.
            return;
        }
        self.report.say("macro.present", "has a macro module");
        words::judge(&code, self.report);
        self.report.links_in(source);
        if self.budget.take(source.len()) {
            self.found.push(Found::text("module", source));
        }
    }

    fn finish(mut self) -> Vec<Found> {
        self.field_ends();
        if self.is_macro_sheet && !self.formulas.is_empty() {
            super::spreadsheet::judge(&self.formulas, self.report);
            words::judge(&self.formulas, self.report);
            self.report.links_in(&self.formulas);
            if self.budget.take(self.formulas.len()) {
                self.found.push(Found::text("xlm", self.formulas));
            }
        }
        self.found
    }
}
