//! The `[[test]]` tables of a rules file: small messages that a rule must hit or miss, run through the real reading.

use toml::de::DeValue;

use super::compile::RuleSet;
use super::evaluate::Facts;
use super::file::{Reader, Value};
use super::surface::{Outer, Surfaces};
use crate::inspect::case::SmimeFact;
use crate::inspect::check::Finding;
use crate::mail::Problem;
use crate::mail::mime::{self, Limits};

/// A message as an officer writes it: a few fields, or the whole of it.
#[derive(Clone, Debug, Default)]
pub struct Sample {
    /// The whole message, when it is given as such.
    pub message: Option<String>,
    pub from: Option<String>,
    pub to: Option<String>,
    pub reply_to: Option<String>,
    pub subject: Option<String>,
    pub headers: Vec<(String, String)>,
    pub body: Option<String>,
    pub html: Option<String>,
    /// File names, or name and type.
    pub attachments: Vec<(String, String)>,
    pub sender: Option<String>,
    pub recipients: Vec<String>,
    pub helo: Option<String>,
    pub client: Option<String>,
    pub findings: Vec<String>,
    pub offset: usize,
}

const KEYS: [&str; 14] = [
    "message",
    "from",
    "to",
    "reply_to",
    "subject",
    "headers",
    "body",
    "html",
    "attachments",
    "sender",
    "recipients",
    "helo",
    "client",
    "findings",
];

/// A list of samples, each a text (a whole message) or a table.
pub fn read(reader: &mut Reader<'_>, value: &Value<'_>, what: &str) -> Vec<Sample> {
    let DeValue::Array(list) = value.get_ref() else {
        reader.problem(&value.span(), format!("{what} must be a list of samples: [ {{ subject = \"…\" }} ]"));
        return Vec::new();
    };
    list.iter().filter_map(|v| one(reader, v)).collect()
}

fn one(reader: &mut Reader<'_>, value: &Value<'_>) -> Option<Sample> {
    let offset = value.span().start;
    if let DeValue::String(text) = value.get_ref() {
        return Some(Sample { message: Some(text.clone().into_owned()), offset, ..Sample::default() });
    }
    let table = reader.table(value, "a sample")?;
    reader.known_keys(table, &KEYS, "a sample");
    let mut sample = Sample { offset, ..Sample::default() };
    for (key, value) in table {
        let key = key.get_ref().as_ref();
        match key {
            "message" => sample.message = reader.string(value, key),
            "from" => sample.from = reader.string(value, key),
            "to" => sample.to = reader.string(value, key),
            "reply_to" => sample.reply_to = reader.string(value, key),
            "subject" => sample.subject = reader.string(value, key),
            "body" => sample.body = reader.string(value, key),
            "html" => sample.html = reader.string(value, key),
            "sender" => sample.sender = reader.string(value, key),
            "helo" => sample.helo = reader.string(value, key),
            "client" => sample.client = reader.string(value, key),
            "recipients" => sample.recipients = reader.strings(value, key).into_iter().map(|(s, _)| s).collect(),
            "findings" => sample.findings = reader.strings(value, key).into_iter().map(|(s, _)| s).collect(),
            "attachments" => {
                let names = reader.strings(value, key);
                sample.attachments =
                    names.into_iter().map(|(n, _)| (n, "application/octet-stream".to_owned())).collect();
            }
            "headers" => {
                for (name, text) in reader.table(value, key).into_iter().flatten() {
                    if let Some(text) = reader.string(text, "a header field") {
                        sample.headers.push((name.get_ref().to_string(), text));
                    }
                }
            }
            _ => {}
        }
    }
    Some(sample)
}

const BOUNDARY: &str = "=_sample";

impl Sample {
    /// The message's octets.
    #[must_use]
    pub fn raw(&self) -> Vec<u8> {
        if let Some(message) = &self.message {
            return message.trim_start_matches('\n').replace("\r\n", "\n").replace('\n', "\r\n").into_bytes();
        }
        let mut out = String::new();
        for (name, value) in
            [("From", &self.from), ("To", &self.to), ("Reply-To", &self.reply_to), ("Subject", &self.subject)]
        {
            if let Some(value) = value {
                out.push_str(&format!("{name}: {value}\r\n"));
            }
        }
        for (name, value) in &self.headers {
            out.push_str(&format!("{name}: {value}\r\n"));
        }
        out.push_str("MIME-Version: 1.0\r\n");
        let mut parts = Vec::new();
        let text = |kind: &str, body: &str| {
            let body = body.replace('\n', "\r\n");
            format!("Content-Type: text/{kind}; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n{body}\r\n")
        };
        parts.extend(self.body.as_ref().map(|b| text("plain", b)));
        parts.extend(self.html.as_ref().map(|h| text("html", h)));
        for (name, kind) in &self.attachments {
            parts.push(format!(
                "Content-Type: {kind}\r\nContent-Disposition: attachment; filename=\"{name}\"\r\n\r\nx\r\n"
            ));
        }
        match parts.as_slice() {
            [] => out.push_str("\r\n"),
            [one] if self.attachments.is_empty() => out.push_str(one),
            many => {
                out.push_str(&format!("Content-Type: multipart/mixed; boundary=\"{BOUNDARY}\"\r\n\r\n"));
                for part in many {
                    out.push_str(&format!("--{BOUNDARY}\r\n{part}\r\n"));
                }
                out.push_str(&format!("--{BOUNDARY}--\r\n"));
            }
        }
        out.into_bytes()
    }

    /// The ids of the rules that hit this sample.
    #[must_use]
    pub fn hits(&self, set: &RuleSet) -> Vec<String> {
        let raw = self.raw();
        let tree = mime::parse(&raw, &Limits::default());
        let outer = Outer {
            sender: self.sender.as_deref().unwrap_or(""),
            recipients: &self.recipients,
            helo: self.helo.as_deref().unwrap_or(""),
            client: self.client.as_deref().unwrap_or(""),
        };
        let surfaces = Surfaces::from_tree(&raw, &tree, &outer);
        let findings: Vec<Finding> = self.findings.iter().map(|code| Finding::new(code.clone())).collect();
        let atoms = set.match_atoms(&surfaces);
        // Findings are what the sample says, nothing else: `spf.none` must be written to be there.
        let facts = Facts { atoms: &atoms, findings: &findings, auth: None, smime: &SmimeFact::default() };
        set.evaluate(&facts).into_iter().map(|hit| hit.id).collect()
    }
}

impl RuleSet {
    /// Runs the files' own tests: how many samples, and each that did not do as it should.
    #[must_use]
    pub fn run_tests(&self, sources: &[super::Source]) -> (usize, Vec<Problem>) {
        let (mut count, mut problems) = (0, Vec::new());
        for test in self.tests() {
            let wanted = [(&test.hits, true), (&test.misses, false)];
            for (sample, should_hit) in wanted.into_iter().flat_map(|(list, hit)| list.iter().map(move |s| (s, hit))) {
                count += 1;
                let hits = sample.hits(self);
                if hits.contains(&test.rule) != should_hit {
                    let did = if should_hit { "is not hit by" } else { "is hit by" };
                    let Some(source) = sources.get(test.file) else { continue };
                    let problem = Problem::new(&source.name, format!("this sample {did} rule {}", test.rule))
                        .at_offset(&source.text, sample.offset)
                        .help(format!(
                            "rules that hit it: {}",
                            if hits.is_empty() { "none".into() } else { hits.join(", ") }
                        ));
                    problems.push(problem);
                }
            }
        }
        (count, problems)
    }
}
