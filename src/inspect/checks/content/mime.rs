//! The MIME structure itself, and every object by name and type: what was odd, what is a program, what lies about
//! what it is. Also makes the list of parts for receipts and rules.

use std::collections::{HashMap, HashSet};

use sha2::{Digest as _, Sha256};

use super::name::Name;
use super::{ContentCheck, Object, Origin, View, kind};
use crate::inspect::case::OutgoingKind;
use crate::inspect::policy::Loaded;
use crate::inspect::{ContentFacts, Finding, PartFact};
use crate::mail::mime::{self as tree, rewrite};

/// What the copy is called among what leaves the cage.
const CANONICAL: &str = "canonical";

/// At most this many findings of one kind. What would go over it is `unpack.limit`, never silence: a message could
/// otherwise be odd so often that nobody hears what is in it.
const OF_A_KIND: usize = 100;

pub struct Mime {
    parts: usize,
    tree: tree::Limits,
}

impl Mime {
    #[must_use]
    pub fn new(loaded: &Loaded) -> Self {
        let limits = loaded.limits();
        Self { parts: limits.mime_parts.saturating_add(limits.archive_files), tree: limits.tree() }
    }
}

impl ContentCheck for Mime {
    fn examine(&self, view: &View<'_>, facts: &mut ContentFacts) {
        let mut said = Said { seen: HashSet::new(), kinds: HashMap::new(), facts };
        for oddity in &view.tree.oddities {
            let place = if oddity.path.is_empty() { "message" } else { &oddity.path };
            said.say(Finding::new(oddity.code).with(format!("{place}: {}", oddity.detail)));
        }
        view.unpacked.iter().for_each(|f| said.say(f.clone()));
        for object in view.objects {
            judge(object, &mut said);
        }
        if view.task.wants.message && view.tree.oddities.iter().any(|o| o.code == "mime.ambiguous") {
            said.say(canonical_copy(view, &self.tree));
        }
        let parts = view.objects.iter().filter(|o| o.origin != Origin::Reading).take(self.parts);
        facts.parts.extend(parts.map(fact));
    }
}

/// Puts a copy with one reading into the outbox; the finding says whether there is one, and why not.
fn canonical_copy(view: &View<'_>, limits: &tree::Limits) -> Finding {
    match rewrite::canonical(view.raw, limits) {
        Ok(copy) if view.outbox.put(OutgoingKind::Message, CANONICAL, &copy) => Finding::new("mime.canonical"),
        Ok(_) => Finding::new("mime.not-rewritten").with("the copy did not fit into what may leave the inspector"),
        Err(why) => Finding::new("mime.not-rewritten").with(why.to_string()),
    }
}

struct Said<'f> {
    seen: HashSet<(String, String)>,
    /// How many of each code.
    kinds: HashMap<String, usize>,
    facts: &'f mut ContentFacts,
}

impl Said<'_> {
    fn say(&mut self, finding: Finding) {
        let key = (finding.code.to_string(), finding.detail.clone());
        if self.seen.contains(&key) {
            return;
        }
        let count = self.kinds.entry(key.0.clone()).or_default();
        *count += 1;
        match *count {
            0..=OF_A_KIND => {
                self.seen.insert(key);
                self.facts.findings.push(finding);
            }
            // Oddities of the structure are bounded where they are found.
            _ if key.0 == "unpack.limit" => {}
            _ => self.say(Finding::new("unpack.limit").with("message: more is odd in it than can be told")),
        }
    }
    fn about(&mut self, code: &'static str, object: &Object<'_>, detail: &str) {
        let name: String = object.name().chars().take(80).collect();
        self.say(Finding::new(code).with(format!("{}: {name:?} {detail}", object.path)));
    }
}

fn fact(object: &Object<'_>) -> PartFact {
    let digest = Sha256::digest(&object.data);
    PartFact {
        path: object.path.clone(),
        name: Name::read(object.name()).text.chars().take(255).collect(),
        kind: object.kind.to_owned(),
        declared_type: object.declared.clone(),
        bytes: object.data.len() as u64,
        sha256: digest.iter().map(|b| format!("{b:02x}")).collect(),
    }
}

fn judge(object: &Object<'_>, said: &mut Said<'_>) {
    for raw in &object.names {
        let name = Name::read(raw);
        by_name(object, &name, said);
        let promised = kind::promised(&name.extension);
        // A text may well be a zip by its octets; a program it may not.
        let text = kind::family(promised) == "text" && !kind::is_executable(object.kind);
        if !object.data.is_empty() && !text && lies(promised, object.kind) {
            let ending = format!("ends in .{} and is {}", name.extension, object.kind);
            said.about("attachment.type-mismatch", object, &ending);
        }
        if name.text.chars().count() > 255 {
            said.about("name.malformed", object, "is longer than any file name");
        }
    }
    if kind::is_executable(object.kind) {
        said.about("attachment.executable", object, &format!("is a program ({})", object.kind));
    }
    office(object, said);
    let declared = kind::family(&object.declared);
    let hidden = kind::is_executable(object.kind) && declared != "program" && declared != "other";
    if hidden || lies(&object.declared, object.kind) {
        said.about("attachment.type-mismatch", object, &format!("is {}, not {}", object.kind, object.declared));
    }
}

fn by_name(object: &Object<'_>, name: &Name, said: &mut Said<'_>) {
    let ending = format!("ends in .{}", name.extension);
    for (holds, code) in [
        (name.is_active(), "name.blocked-extension"),
        (name.is_program(), "attachment.executable"),
        (name.is_script(), "attachment.script"),
        (name.is_shortcut(), "attachment.shortcut"),
        (name.is_disk_image(), "attachment.disk-image"),
    ] {
        if holds {
            said.about(code, object, &ending);
        }
    }
    if name.is_double() {
        said.about("attachment.disguised", object, "pretends to be a document");
    }
    if name.bidi {
        said.about("attachment.rlo-name", object, "turns the direction of its own letters");
    }
    if name.control {
        said.about("name.control", object, "holds control characters");
    }
    if name.shell {
        said.about("name.suspicious", object, "holds characters of a command line");
    }
}

/// Office formats declare no entities: what a reader shows would not be what stands in the file (THREATS Z-08).
fn office(object: &Object<'_>, said: &mut Said<'_>) {
    if object.origin != Origin::Member {
        return;
    }
    let name = object.name();
    let is_xml = name.ends_with(".xml") || name.ends_with(".rels");
    if is_xml && holds(&object.data, "<!DOCTYPE") && holds(&object.data, "<!ENTITY") {
        said.about("xml.dtd", object, "declares entities of its own");
    }
}

/// Whether `word` stands anywhere, in one octet a letter or in UTF-16 of either order.
fn holds(data: &[u8], word: &str) -> bool {
    let wide: Vec<u8> = word.bytes().flat_map(|b| [0, b]).skip(1).collect();
    memchr::memmem::find(data, word.as_bytes()).is_some() || memchr::memmem::find(data, &wide).is_some()
}

/// A declared picture, sound, PDF or text that is something else which can be opened.
fn lies(declared: &str, actual: &str) -> bool {
    let declared = kind::family(declared);
    let opaque = matches!(actual, "application/octet-stream" | "text/plain");
    match declared {
        "image" => !opaque && !actual.starts_with("image/"),
        "media" => !opaque && !actual.starts_with("audio/") && !actual.starts_with("video/"),
        "pdf" => !opaque && actual != "application/pdf",
        "text" => matches!(kind::family(actual), "program") || actual.starts_with("application/zip"),
        _ => false,
    }
}
