//! The inspector's own main loop and the messages it exchanges with the main process.
//! Everything here runs after the cage has closed: no files, no sockets, one message at a time.
//!
//! Order of the start (DESIGN §5a): limits, OpenSSL, rules, landlock, one warm-up scan, seccomp, "ready".

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use super::policy::Loaded;

use super::checks::content::archive::{self, Budget, Passwords};
use super::checks::content::document;
use super::checks::content::{self, ContentCheck, Outbox, View, kind, objects, outbox, yara};
use super::rules::surface::{Form, Outer, Surface, Surfaces};
use super::{ContentFacts, Finding, OutgoingKind, WantsParts};
use crate::env::Clock;
use crate::env::clock::cpu_time;
use crate::env::jail::wire::Inner;
use crate::env::jail::{cage, memory, probe};
use crate::mail::mime::{self, rewrite, words};
use crate::mail::{Mailbox, ReversePath, Span, Timestamp};

/// Names the policy's longest serialised form: rules as native code included.
const POLICY_MAX: u64 = 256 << 20;

/// What the inspector is told about a message beside its bytes.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Task {
    pub now: Timestamp,
    pub sender: ReversePath,
    pub recipients: Vec<String>,
    pub client_ip: String,
    pub helo: String,
    /// What is left of the message's deadline.
    pub budget_ms: u64,
    /// What may leave the cage beside the facts; by default nothing.
    pub wants: Wants,
}

/// What the main process wants of the octets themselves.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Wants {
    /// For the virus engines.
    pub parts: WantsParts,
    /// A rewritten copy of the message, where a check makes one.
    pub message: bool,
    /// Instead of an inspection: the message without some of its parts.
    pub strip: Option<Strip>,
}

/// Parts that give way to a notice.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Strip {
    /// Paths as in the list of parts.
    pub parts: Vec<String>,
    pub notice: String,
}

impl Wants {
    /// Whether any octets may leave at all.
    #[must_use]
    pub fn any(&self) -> bool {
        *self != Self::default()
    }
}

/// What an inspector says.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) enum Answer {
    /// The cage is closed; `landlock` tells whether the kernel has that half of it.
    Ready { landlock: bool },
    Facts {
        facts: Box<ContentFacts>,
        /// CPU time of the YARA rules.
        yara_ms: u64,
    },
    /// A parser gave up; the process ends after this.
    Panicked(String),
    /// The cage could not be closed or the policy not be opened.
    Refused(String),
    /// What came of a probe; `None`: it worked, which it must not.
    Probed(Option<String>),
}

/// Looks at messages, one after the other: the work itself, in an inspector or in this process.
pub struct Examiner<'p> {
    loaded: &'p Loaded,
    checks: Vec<(&'static str, Box<dyn ContentCheck + 'p>)>,
    yara: Cell<Duration>,
}

impl<'p> Examiner<'p> {
    #[must_use]
    pub fn new(loaded: &'p Loaded) -> Self {
        Self { loaded, checks: loaded.checks(), yara: Cell::default() }
    }

    /// CPU time that the YARA rules took for the last message.
    #[must_use]
    pub const fn yara_time(&self) -> Duration {
        self.yara.get()
    }

    /// Everything known of the content of `raw`. Nothing leaves beside it.
    #[must_use]
    pub fn examine(&self, raw: &[u8], task: &Task) -> ContentFacts {
        self.examine_into(raw, task, Outbox::closed())
    }

    /// As [`Self::examine`]; what the task wants of the octets is put into `outbox`.
    #[must_use]
    pub fn examine_into(&self, raw: &[u8], task: &Task, outbox: Outbox) -> ContentFacts {
        let mut facts = ContentFacts::default();
        self.yara.set(Duration::ZERO);
        if let Some(order) = &task.wants.strip {
            self.strip(raw, order, &outbox, &mut facts);
            facts.outgoing = outbox.into_items();
            return facts;
        }
        if self.checks.is_empty() {
            let headers = crate::mail::header::Headers::parse_limited(raw, self.loaded.limits().header_fields);
            facts.subject = subject(&headers);
            return facts;
        }
        let tree = mime::parse(raw, &self.loaded.limits().tree());
        let budget = self.budget(raw, &tree, task);
        let (objects, unpacked) = objects::collect(&tree, self.loaded.limits(), budget);
        let root = tree.parts.first();
        facts.subject = root.map(|p| subject(&p.headers)).unwrap_or_default();
        let from = root.and_then(|p| sender(&p.headers));
        let (unpacked, from) = (unpacked.as_slice(), from.as_ref());
        let view = View { raw, tree: &tree, objects: &objects, unpacked, task, from, outbox: &outbox };
        for (id, check) in &self.checks {
            if *id == yara::ID {
                let began = cpu_time();
                check.examine(&view, &mut facts);
                self.yara.set(cpu_time().saturating_sub(began));
            } else {
                check.examine(&view, &mut facts);
            }
        }
        if outbox.is_open() {
            outbox::put_parts(&view, task.wants.parts, &mut facts);
            facts.outgoing = outbox.into_items();
        }
        facts
    }

    /// The message without some of its parts into the outbox; a finding says why not.
    fn strip(&self, raw: &[u8], order: &Strip, outbox: &Outbox, facts: &mut ContentFacts) {
        let mut parts: Vec<rewrite::PartPath> = order.parts.iter().map(|path| rewrite::PartPath::of(path)).collect();
        parts.sort();
        parts.dedup();
        let written = rewrite::strip(raw, &parts, &order.notice, &self.loaded.limits().tree());
        let why = match written {
            Ok(bytes) if outbox.put(OutgoingKind::Message, "", &bytes) => return,
            Ok(_) => "it does not fit".to_owned(),
            Err(error) => error.to_string(),
        };
        facts.findings.push(Finding::new("policy.not-stripped").with(why));
    }

    /// What may be unpacked: the configured time, or half of what is left for this message, whichever is less; with
    /// the passwords that the message names, when something in it could be encrypted.
    fn budget(&self, raw: &[u8], tree: &mime::Tree<'_>, task: &Task) -> Budget {
        let limits = self.loaded.limits();
        let time = limits.archive_time.min(Span::millis(task.budget_ms / 2));
        let budget = Budget::new(limits).within(Clock::system(), time);
        let closed = |data: &[u8]| archive::takes_passwords(kind::of(data), data) || document::takes_passwords(data);
        if !tree.parts.iter().any(|p| closed(&p.decoded)) && !tree.alternatives.iter().any(|a| closed(&a.decoded)) {
            return budget;
        }
        let outer = Outer { sender: "", recipients: &[], helo: "", client: "" };
        let surfaces = Surfaces::from_tree(raw, tree, &outer);
        let texts = [Surface::Subject, Surface::Body, Surface::Hidden, Surface::Attached];
        let texts = texts.each_ref().map(|surface| surfaces.text(surface, Form::Exact));
        budget.with_passwords(Passwords::gather(&texts, self.loaded.passwords()))
    }
}

fn subject(headers: &crate::mail::header::Headers<'_>) -> String {
    use unicode_normalization::UnicodeNormalization as _;
    let text = headers.text("subject").unwrap_or_default();
    words::decode(&text).nfc().take(998).collect()
}

/// The address in the last angle brackets of the first From field, or the whole field.
fn sender(headers: &crate::mail::header::Headers<'_>) -> Option<Mailbox> {
    let text = headers.text("from")?;
    let inner = text.rsplit_once('<').and_then(|(_, rest)| rest.split_once('>')).map_or(text.as_str(), |(a, _)| a);
    Mailbox::parse(inner.trim()).ok()
}

/// The inspector process, from its first instruction to its end: `luytre inspector --memory BYTES`.
/// `probe` tries one forbidden thing after the first message instead of going on.
pub fn run(memory_bytes: u64, probe: Option<&str>) -> Result<(), String> {
    let stream = cage::enter(memory_bytes).map_err(|e| e.to_string())?;
    let mut link = Inner::new(stream);
    match serve(&mut link, memory_bytes, probe) {
        Ok(()) => Ok(()),
        Err(why) => {
            say(&mut link, &Answer::Refused(why.clone()));
            Err(why)
        }
    }
}

fn serve(link: &mut Inner, memory_bytes: u64, probe: Option<&str>) -> Result<(), String> {
    let text = |e: std::io::Error| e.to_string();
    // OpenSSL's configuration and error strings are files; after landlock it could not read them.
    content::initialise();
    let meter = probe.map(|_| probe::Meter::open()).transpose().map_err(text)?;
    let policy = link.receive().map_err(text)?.and_then(|(_, memory)| memory.into_iter().next());
    let bytes = memory::read(policy.ok_or("no policy came")?, POLICY_MAX).map_err(text)?;
    let loaded = Loaded::open(&bytes, None)?;
    drop(bytes);
    let room = loaded.limits().outgoing();
    cage::limit_outgoing(room).map_err(|e| e.to_string())?;
    let landlock = cage::close_files().map_err(|e| e.to_string())?;
    let examiner = Examiner::new(&loaded);
    warm_up(&examiner);
    std::panic::set_hook(Box::new(|_| {}));
    cage::close_kernel().map_err(|e| e.to_string())?;
    say(link, &Answer::Ready { landlock });
    while let Some((record, memory)) = link.receive().map_err(text)? {
        let mut memory = memory.into_iter();
        let (Ok(task), Some(message)) = (postcard::from_bytes::<Task>(&record), memory.next()) else {
            return Err("a message came without its bytes".to_owned());
        };
        let slate = memory.next().map(std::fs::File::from);
        // A probe writes on it once more.
        let mut again = slate.as_ref().filter(|_| probe.is_some()).and_then(|file| file.try_clone().ok());
        let limit = loaded.limits().message.as_u64().saturating_mul(2).max(64 << 20);
        let raw = memory::read(message, limit).map_err(text)?;
        let looked = catch_unwind(AssertUnwindSafe(|| {
            let limits = loaded.limits();
            let items = limits.mime_parts.saturating_add(limits.archive_files);
            let outbox = slate.map_or_else(Outbox::closed, |slate| Outbox::open(Box::new(slate), room, items));
            examiner.examine_into(&raw, &task, outbox)
        }));
        match looked {
            Ok(facts) => {
                if let (Some(name), Some(meter)) = (probe, &meter) {
                    let attempt = probe::attempt(name, memory_bytes, meter, again.as_mut().map(|file| (file, room)));
                    say(link, &Answer::Probed(attempt.err()));
                    return Ok(());
                }
                let yara_ms = u64::try_from(examiner.yara_time().as_millis()).unwrap_or(u64::MAX);
                say(link, &Answer::Facts { facts: Box::new(facts), yara_ms });
            }
            Err(panic) => {
                // State may be broken: this process looks at nothing more.
                let what = panic.downcast_ref::<String>().cloned();
                let what = what.or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned()));
                say(link, &Answer::Panicked(what.unwrap_or_default()));
                return Ok(());
            }
        }
    }
    Ok(())
}

/// When the main process is gone there is nobody to tell; the loop ends at its next read.
fn say(link: &mut Inner, answer: &Answer) {
    if let Ok(bytes) = postcard::to_stdvec(answer) {
        let _ = link.send(&bytes);
    }
}

/// One scan before the kernel closes: lazily built tables, signal stacks and memory pools come into being.
fn warm_up(examiner: &Examiner<'_>) {
    const LETTER: &[u8] = b"From: a@b.example\r\nSubject: =?utf-8?B?eA==?=\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\n\
--x\r\nContent-Type: text/html\r\n\r\n<p>x</p>\r\n--x\r\nContent-Transfer-Encoding: base64\r\n\r\neHh4eA==\r\n--x--\r\n";
    let task = Task {
        now: Timestamp::EPOCH,
        sender: ReversePath::Null,
        recipients: Vec::new(),
        client_ip: String::new(),
        helo: String::new(),
        budget_ms: 10_000,
        wants: Wants::default(),
    };
    let _ = examiner.examine(LETTER, &task);
}
