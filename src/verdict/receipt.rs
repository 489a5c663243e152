//! What was decided and why, for people and for the record (DESIGN decision 8).
//!
//! A receipt names who, when, from where, what was seen, what each observation was worth, which rule in which line of
//! which file said so, under which policy, and what became of the message. It does not hold the subject or the text:
//! of the subject only a shortened digest over message id and subject is kept, and of what rules matched short samples.
//!
//! The digest is not keyed. Whoever has the mail can check that a receipt is about that subject; a reader of the log
//! cannot read subjects in it, nor see that two messages had the same one, nor use one table of digests for all
//! messages. It does not protect a subject that can be guessed: the message id stands beside the digest, so a reader
//! can try a list of likely subjects against each receipt. Against that only the log's file permissions protect.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{Action, Copied, Judged, Mode, Weighed};
use crate::inspect::case::{AuthFacts, PartFact, SmimeFact};
use crate::inspect::checks::net::engines::outcome::EngineFact;
use crate::mail::{Language, MailId, Timestamp};

/// One message's receipt, complete but for what becomes of it later ([`Outcome`]).
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Receipt {
    pub id: MailId,
    /// RFC 3339, UTC.
    pub time: String,
    /// Address and port of the client (the port is part of what the law asks for).
    pub client: String,
    pub helo: String,
    pub tls: Option<String>,
    /// The account that logged in to send it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    pub sender: String,
    pub recipients: Vec<String>,
    /// Recipients that were written and reach others: aliases, copies.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reached: Vec<Reached>,
    pub message_id: String,
    /// The first 16 hex digits of SHA-256 over id and subject.
    pub subject_digest: String,
    pub size_bytes: u64,
    pub auth: AuthFacts,
    pub smime: SmimeFact,
    pub parts: Vec<PartFact>,
    /// Which virus engine of which version was shown how much, and what it said.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub engines: Vec<EngineFact>,
    pub groups: Vec<GroupReceipt>,
    /// The strictest over all groups.
    pub action: Action,
    pub policy: String,
    /// Milliseconds by stage.
    pub timings: Vec<(String, u64)>,
    pub outcome: Vec<Outcome>,
}

/// What became of one RCPT TO where more, or somebody else, gets the message.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Reached {
    /// As the sender wrote it.
    pub written: String,
    /// By aliases; those that another recipient had added already are not named again.
    pub mailboxes: Vec<String>,
    /// By `always_bcc`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub copies: Vec<String>,
}

/// The decision for one destination.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct GroupReceipt {
    pub agency: String,
    /// `in` or `out`.
    pub direction: String,
    pub recipients: Vec<String>,
    pub action: Action,
    /// With observe: what would have been done.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub would: Option<Action>,
    /// The recipients got a copy that was written anew.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub copy: Option<Copied>,
    pub score: f64,
    pub because: Vec<String>,
    pub findings: Vec<Weighed>,
}

/// What happened to the message, or to some recipients' copies, at one moment.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Outcome {
    pub time: String,
    /// `delivered`, `spooled`, `quarantined`, `refused`, `deferred`, `bounced`, `released`, `expired`, …
    pub state: String,
    #[serde(default)]
    pub recipients: Vec<String>,
    /// The next hop's reply, the queue's or shelf's word.
    #[serde(default)]
    pub detail: String,
    /// Signatures that were left out, and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

impl Outcome {
    #[must_use]
    pub fn new(at: Timestamp, state: &str, recipients: Vec<String>, detail: impl Into<String>) -> Self {
        Self { time: at.rfc3339(), state: state.to_owned(), recipients, detail: detail.into(), notes: Vec::new() }
    }

    #[must_use]
    pub fn with_notes(self, notes: Vec<String>) -> Self {
        Self { notes, ..self }
    }
}

impl Receipt {
    /// The receipt of a judged message. `timings`: milliseconds by stage.
    #[must_use]
    pub fn of(judged: &Judged, timings: &[(&str, u64)]) -> Self {
        let case = judged.case();
        let mail = case.mail();
        let envelope = mail.envelope();
        let everyone: Vec<String> = envelope.recipients().iter().map(|r| r.mailbox.to_string()).collect();
        let groups = judged.groups().iter().map(|g| GroupReceipt {
            agency: g.destination.agency().to_string(),
            direction: g.destination.direction().to_owned(),
            recipients: g.recipients.iter().filter_map(|i| everyone.get(*i).cloned()).collect(),
            action: g.action,
            would: g.would,
            copy: g.copy,
            score: g.score,
            because: g.because.clone(),
            findings: g.weighed.clone(),
        });
        let headers = crate::mail::header::Headers::parse_limited(mail.raw(), 2000);
        let tls = envelope.client().tls.as_ref();
        Self {
            id: envelope.id(),
            time: envelope.received_at().rfc3339(),
            client: envelope.client().address.to_string(),
            helo: envelope.helo().to_owned(),
            tls: tls.map(|t| format!("{} {}", t.version, t.cipher)),
            account: tls.and_then(|t| t.account.as_ref()).map(|account| account.name.clone()),
            sender: envelope.sender().to_string(),
            recipients: everyone.clone(),
            reached: Vec::new(),
            message_id: headers.text("message-id").unwrap_or_default().chars().take(250).collect(),
            subject_digest: subject_digest(envelope.id(), &case.content().subject),
            size_bytes: mail.raw().len() as u64,
            auth: case.auth().clone(),
            smime: case.content().smime.clone(),
            parts: case.content().parts.clone(),
            engines: case.engines().to_vec(),
            groups: groups.collect(),
            action: judged.strictest(),
            policy: judged.policy_hash().to_owned(),
            timings: timings.iter().map(|(stage, ms)| ((*stage).to_owned(), *ms)).collect(),
            outcome: Vec::new(),
        }
    }
}

/// Lets someone who knows a message's subject check its receipt. Salted by the message id, without a secret: it hides
/// the subject from a glance, not from someone who guesses (module comment).
#[must_use]
pub fn subject_digest(id: MailId, subject: &str) -> String {
    let digest = Sha256::new().chain_update(id.to_string()).chain_update(subject.trim()).finalize();
    digest.iter().take(8).map(|b| format!("{b:02x}")).collect()
}

/// `luytre receipt`: the receipt as a page of text.
#[must_use]
pub fn render(receipt: &Receipt, language: Language) -> String {
    let vi = language == Language::Vi;
    let word = |v: &'static str, e: &'static str| if vi { v } else { e };
    let mut out = String::new();
    let mut line = |label: &str, text: &str| {
        if !text.is_empty() {
            let pad = 16_usize.saturating_sub(label.chars().count());
            out.push_str(&format!("{label}{} {}\n", " ".repeat(pad), escape(text)));
        }
    };
    line(word("Biên nhận", "Receipt"), &receipt.id.to_string());
    line(word("Thời gian", "Time"), &receipt.time);
    line(word("Máy gửi", "Client"), &format!("{} ({})", receipt.client, receipt.helo));
    line("TLS", receipt.tls.as_deref().unwrap_or(word("không", "none")));
    line(word("Tài khoản", "Account"), receipt.account.as_deref().unwrap_or_default());
    line(word("Người gửi", "Sender"), if receipt.sender.is_empty() { "<>" } else { &receipt.sender });
    line(word("Người nhận", "Recipients"), &receipt.recipients.join(", "));
    for reached in &receipt.reached {
        let copies = if reached.copies.is_empty() { "" } else { word("; bản sao: ", "; copies: ") };
        let text =
            format!("{} → {}{copies}{}", reached.written, reached.mailboxes.join(", "), reached.copies.join(", "));
        line(word("Bí danh", "Alias"), &text);
    }
    line("Message-ID", &receipt.message_id);
    line(word("Dung lượng", "Size"), &format!("{} B", receipt.size_bytes));
    let auth = &receipt.auth;
    line(
        word("Xác thực", "Authentication"),
        &format!(
            "spf={} dkim={} dmarc={} arc={} iprev={} smime={}",
            auth.spf,
            auth.dkim_result(),
            auth.dmarc.result,
            auth.arc,
            auth.iprev,
            receipt.smime.status
        ),
    );
    for part in &receipt.parts {
        let name = if part.name.is_empty() { "-" } else { &part.name };
        line(
            word("Phần", "Part"),
            &format!("{} {name} {} {} B sha256:{}", part.path, part.kind, part.bytes, part.sha256),
        );
    }
    for group in &receipt.groups {
        out.push_str(&render_group(group, vi));
    }
    for outcome in &receipt.outcome {
        let whom = outcome.recipients.join(", ");
        out.push_str(&format!(
            "\n{}  {}  {}  {}\n",
            outcome.time,
            escape(&outcome.state),
            escape(&whom),
            escape(&outcome.detail)
        ));
        for note in &outcome.notes {
            out.push_str(&format!("  {}: {}\n", word("Không ký", "Not signed"), escape(note)));
        }
    }
    out.push_str(&format!("\n{} {}\n", word("Chính sách", "Policy"), receipt.policy));
    out
}

fn render_group(group: &GroupReceipt, vi: bool) -> String {
    let decision = if vi { "Quyết định" } else { "Decision" };
    let points = if vi { "điểm" } else { "points" };
    let mut out = format!(
        "\n{decision}: {} ({}) · {:.1} {points} · {} {}\n",
        if vi { action_vi(group.action) } else { group.action.as_str() },
        escape(&group.recipients.join(", ")),
        group.score,
        group.agency,
        group.direction
    );
    if let Some(would) = group.would {
        let text = if vi { "Chế độ quan sát; lẽ ra là" } else { "Observe mode; it would have been" };
        out.push_str(&format!("  {text}: {}\n", if vi { action_vi(would) } else { would.as_str() }));
    }
    if let Some(copy) = group.copy {
        let text =
            if vi { "Người nhận nhận bản viết lại" } else { "The recipients get a copy written anew" };
        out.push_str(&format!("  {text}: {}\n", copy.as_str()));
    }
    if !group.because.is_empty() {
        out.push_str(&format!("  {}: {}\n", if vi { "Vì" } else { "Because" }, escape(&group.because.join(", "))));
    }
    for line in &group.findings {
        let mark = match line.mode {
            Mode::Shadow => " (shadow)",
            Mode::Tag => " (tag)",
            Mode::Enforce => "",
        };
        let source = if line.source.is_empty() { String::new() } else { format!("  [{}]", line.source) };
        out.push_str(&format!(
            "  {:>6.1}  {}{mark}  {}{source}\n",
            line.score,
            escape(&line.code),
            escape(&line.detail)
        ));
    }
    out
}

const fn action_vi(action: Action) -> &'static str {
    match action {
        Action::Deliver => "chuyển đến người nhận",
        Action::Tag => "chuyển, có đánh dấu",
        Action::Quarantine => "cách ly",
        Action::Defer => "hoãn",
        Action::Reject => "từ chối",
    }
}

/// A stranger's text on an operator's terminal: no control characters, no direction tricks (THREATS S-26).
fn escape(text: &str) -> String {
    let shown = |c: char| !c.is_control() && !matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    text.chars().map(|c| if shown(c) { c } else { '\u{fffd}' }).collect()
}
