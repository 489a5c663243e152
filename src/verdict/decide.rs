//! One action per recipient group; the only maker of [`Judged`].
//!
//! Points lead to deliver, tag, quarantine or reject by the agency's thresholds. Findings of some classes have an
//! action of their own, whatever the points are: malware, what could not be looked into, failing DMARC, a From that
//! names nobody, mail loops, our own domain used from outside. The strictest wins, with three exceptions, in order:
//! DNS trouble that hides a reject policy makes the message wait (451); with `observe` nothing but malware, loops and
//! foreign authors of outgoing mail is acted on beyond a tag; and postmaster@ and abuse@ are never refused as spam (RFC 5321 §4.5.1, RFC 2142): they are told of
//! such mail.

use crate::inspect::case::PartFact;
use crate::inspect::rules::Facts;
use crate::inspect::{Case, Finding, SmimeStatus};
use crate::mail::header::Headers;
use crate::mail::{Destination, Language, Recipient, Reply};

use super::attachment::settings::{Do, Rule};
use super::attachment::{self, Ruled};
use super::bypass;
use super::settings::{Ambiguous, Policy, Verdict};
use super::{Action, Copied, Group, Judged, Mode, Weighed, score};

/// Attachment rules that acted on a message, at most so many lines in its receipt.
const MOST_RULED: usize = 50;

/// A class of findings with an action of its own.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Class {
    Malware,
    Unscannable,
    /// An attachment that the agency's rules do not let pass.
    Policy,
    /// Content we refuse outright: two Froms, a partial message.
    Malformed,
    Loop,
    /// The sender is not who it says: DMARC, our own domain from outside.
    Forged,
    /// DNS kept us from knowing whether it is forged.
    Wait,
    Spam,
}

/// Judges a case: every recipient group under its agency's policy.
#[must_use]
pub fn judge(case: Case, policy: &Policy) -> Judged {
    let mut groups: Vec<Group> = Vec::new();
    for (destination, recipients) in case.mail().envelope().groups() {
        let settings = policy.for_agency(destination.agency());
        groups.push(group(&case, policy, settings, destination, recipients));
    }
    mix(&mut groups);
    Judged { case, groups, policy_hash: policy.hash.clone() }
}

/// Judges a case while the emergency bypass is on: what the virus engines found, loops and foreign authors of outgoing
/// mail, nothing else (DOMAIN R48). `note` is who switched it on, and stands in the receipt.
#[must_use]
pub fn judge_bypassed(case: Case, policy: &Policy, note: &str) -> Judged {
    let (mut groups, kept): (Vec<Group>, Vec<Finding>) = (Vec::new(), bypass::kept(&case));
    for (destination, recipients) in case.mail().envelope().groups() {
        let settings = policy.for_agency(destination.agency());
        let causes: Vec<Cause> = kept
            .iter()
            .filter_map(|f| {
                let (class, action) = class_of(&f.code, policy, settings)?;
                Some(Cause { class, action, code: f.code.to_string() })
            })
            .collect();
        let mut weighed: Vec<Weighed> = kept.iter().map(|f| bypass::line(&f.code, &f.detail)).collect();
        weighed.push(bypass::line(bypass::CODE, note));
        let action = decide(&causes);
        let because = because(&causes, action, &[]);
        groups.push(Group {
            destination,
            recipients,
            action,
            score: 0.0,
            weighed,
            because,
            would: None,
            strip: Vec::new(),
            copy: None,
        });
    }
    mix(&mut groups);
    Judged { case, groups, policy_hash: policy.hash.clone() }
}

/// DESIGN §5a: the reply is 5xx only when every group is refused; a refused copy beside another is quarantined.
/// A group that must wait makes the whole message wait: nothing was taken yet, so the sender tries all again.
fn mix(groups: &mut [Group]) {
    if groups.iter().any(|g| g.action == Action::Defer) {
        for group in groups.iter_mut() {
            group.action = Action::Defer;
        }
    } else if groups.iter().any(|g| g.action != Action::Reject) {
        for group in groups.iter_mut().filter(|g| g.action == Action::Reject) {
            group.action = Action::Quarantine;
        }
    }
}

fn group(case: &Case, policy: &Policy, settings: &Verdict, destination: Destination, recipients: Vec<usize>) -> Group {
    let outward = matches!(destination, Destination::Outward(_));
    let mut weighed = weigh(case, policy, settings, outward);
    let sum = score::sum(&weighed);
    let mut causes = causes(case, policy, settings, outward);
    let ruled = policy.ruled(destination.agency(), outward, &case.content().parts, case.findings());
    let editable = is_editable(case, outward);
    weighed.extend(ruled.iter().take(MOST_RULED).map(attachment_line));
    for line in &ruled {
        if !line.observed {
            // What must not be edited is held instead (DESIGN decision 9).
            let held = line.action == Do::Strip && !editable;
            let action = if held { Action::Quarantine } else { line.action.action() };
            causes.push(Cause { class: Class::Policy, action, code: line.code() });
        }
    }
    let by_points = score::action(sum, settings);
    if by_points > Action::Deliver {
        causes.push(Cause { class: Class::Spam, action: by_points, code: String::new() });
    }
    if is_desk(case, &recipients) {
        for cause in &mut causes {
            let mild = matches!(cause.class, Class::Spam | Class::Forged);
            cause.action = if mild { cause.action.min(Action::Tag) } else { cause.action };
        }
    }
    let full = decide(&causes);
    let mut action = full;
    // What harms others if it is let through is never only observed: malware, a loop, a foreign author on our way out.
    // And what nobody has looked at may be malware.
    let binding = |c: &Cause| {
        matches!(c.class, Class::Malware | Class::Loop)
            || matches!(c.code.as_str(), "from.foreign-domain" | "engine.down" | "engine.unscanned")
    };
    if settings.observe && !causes.iter().any(binding) {
        action = action.min(Action::Tag);
    }
    let would = (settings.observe && action != full).then_some(full);
    let because = because(&causes, full, &weighed);
    let stripped = action == Action::Tag && !settings.observe;
    let strip = ruled.into_iter().filter(|line| stripped && !line.observed && line.action == Do::Strip).collect();
    // Held or refused mail stays as it came.
    let copy = if action < Action::Quarantine { copied(case, settings) } else { None };
    Group { destination, recipients, action, score: sum.total, weighed, because, would, strip, copy }
}

/// Nothing inside it is signed or sealed, and nobody else has signed the whole of what leaves.
fn is_editable(case: &Case, outward: bool) -> bool {
    let smime = &case.content().smime;
    let sealed = smime.encrypted || smime.status != SmimeStatus::None;
    let signed = || outward && Headers::parse_limited(case.mail().raw(), 2000).text("dkim-signature").is_some();
    !sealed && !signed()
}

/// One line a rule and a part: it stands in receipts and in `luytre scan`, and is counted by its code.
fn attachment_line(line: &Ruled) -> Weighed {
    Weighed {
        code: line.code(),
        score: 0.0,
        mode: if line.observed { Mode::Shadow } else { Mode::Enforce },
        detail: line.detail(),
        source: "[attachments]".to_owned(),
    }
}

/// The copy that this agency's recipients get instead of what came. With `observe` nothing is changed.
fn copied(case: &Case, settings: &Verdict) -> Option<Copied> {
    let wanted = settings.ambiguous == Ambiguous::Rewrite && !settings.observe && case.has("mime.ambiguous");
    let copy = Copied::Canonical;
    (wanted && case.released().message(copy.as_str()).is_some()).then_some(copy)
}

/// Waiting comes before every refusal that DNS might change; malware is acted on at once.
fn decide(causes: &[Cause]) -> Action {
    let strictest = |list: &mut dyn Iterator<Item = &Cause>| list.map(|c| c.action).max();
    let certain =
        strictest(&mut causes.iter().filter(|c| !matches!(c.class, Class::Wait | Class::Spam | Class::Forged)));
    if certain.is_none_or(|a| a < Action::Quarantine) && causes.iter().any(|c| c.class == Class::Wait) {
        return Action::Defer;
    }
    strictest(&mut causes.iter().filter(|c| c.class != Class::Wait)).unwrap_or(Action::Deliver)
}

/// The codes behind the action, most important first: classes in their order, then rules by points.
fn because(causes: &[Cause], action: Action, weighed: &[Weighed]) -> Vec<String> {
    let mut causes: Vec<&Cause> = causes.iter().filter(|c| c.action >= action.min(Action::Tag)).collect();
    causes.sort_by(|a, b| b.action.cmp(&a.action).then(a.class.cmp(&b.class)));
    let mut codes: Vec<String> = causes.iter().map(|c| c.code.clone()).filter(|c| !c.is_empty()).collect();
    if causes.iter().any(|c| c.class == Class::Spam) {
        let mut lines: Vec<&Weighed> = weighed.iter().filter(|w| w.score > 0.0 && w.mode != Mode::Shadow).collect();
        lines.sort_by(|a, b| b.score.total_cmp(&a.score));
        codes.extend(lines.iter().take(8).map(|w| w.code.clone()));
    }
    let mut seen = std::collections::HashSet::new();
    codes.retain(|c| seen.insert(c.clone()));
    codes
}

struct Cause {
    class: Class,
    action: Action,
    code: String,
}

/// Every finding and every rule that hit, with its points. A code counts once, however often it was found.
fn weigh(case: &Case, policy: &Policy, settings: &Verdict, outward: bool) -> Vec<Weighed> {
    let findings: Vec<Finding> =
        case.findings().iter().filter(|f| !(outward && is_about_sender(&f.code))).cloned().collect();
    let mut weighed: Vec<Weighed> = Vec::new();
    for finding in &findings {
        if let Some(line) = weighed.iter_mut().find(|w| w.code == finding.code) {
            if line.detail.len() < 400 && !finding.detail.is_empty() {
                line.detail = format!("{}; {}", line.detail, finding.detail);
            }
            continue;
        }
        weighed.push(Weighed {
            code: finding.code.to_string(),
            score: score::weight(&finding.code, settings),
            mode: Mode::Enforce,
            detail: finding.detail.clone(),
            source: String::new(),
        });
    }
    let facts = Facts {
        atoms: &case.content().atoms,
        findings: &findings,
        auth: (!outward).then(|| case.auth()),
        smime: &case.content().smime,
    };
    weighed.extend(policy.rules.evaluate(&facts).into_iter().map(|hit| Weighed {
        code: hit.id,
        score: hit.score,
        mode: hit.mode,
        detail: match hit.detail.as_str() {
            "" => hit.description.get(policy.language).to_owned(),
            seen => format!("{}: {seen}", hit.description.get(policy.language)),
        },
        source: hit.source,
    }));
    weighed
}

/// Findings that speak of an outside sender: our own users' outgoing mail has none of them.
#[must_use]
pub fn is_about_sender(code: &str) -> bool {
    ["spf.", "dkim.", "dmarc.", "arc.", "iprev.", "helo.", "dnsbl.", "from.own-domain"]
        .iter()
        .any(|p| code.starts_with(p))
}

fn causes(case: &Case, policy: &Policy, settings: &Verdict, outward: bool) -> Vec<Cause> {
    let encrypted_and_known = case.auth().dmarc.result == crate::inspect::AuthResult::Pass;
    let relevant = case.findings().iter().filter(|f| !(outward && is_about_sender(&f.code)));
    let mut causes: Vec<Cause> = relevant
        .filter_map(|f| {
            if f.code == "mime.ambiguous" && copied(case, settings).is_some() {
                return None;
            }
            let (class, action) = class_of(&f.code, policy, settings)?;
            // Encrypted mail of a sender that DMARC vouches for is delivered, with a tag (DOMAIN §3).
            let known = f.code == "smime.encrypted" && (outward || encrypted_and_known);
            let action = if known { action.min(Action::Tag) } else { action };
            Some(Cause { class, action, code: f.code.to_string() })
        })
        .collect();
    if !outward && case.auth().dmarc.must_wait && !causes.iter().any(|c| c.class == Class::Wait) {
        causes.push(Cause { class: Class::Wait, action: Action::Defer, code: "dmarc.wait".into() });
    }
    causes
}

/// The class of a code and what it gets; `None` when only its points count.
fn class_of(code: &str, policy: &Policy, settings: &Verdict) -> Option<(Class, Action)> {
    let refuse = Action::Reject;
    Some(match code {
        _ if code.starts_with("malware.") => (Class::Malware, settings.malware.action()),
        "archive.encrypted"
        | "archive.bomb"
        | "archive.limit"
        | "archive.malformed"
        // What a reader shows is not what stands in the file; no office program writes such.
        | "xml.dtd"
        | "archive.inconsistent"
        | "archive.unsupported"
        | "archive.volume"
        | "unpack.limit"
        | "mime.limit"
        // RFC 2045 §6.4: nobody here can say what such a part holds, but some client may.
        | "mime.unknown-encoding"
        | "inspect.failed"
        | "inspect.timeout"
        | "yara.failed"
        | "smime.encrypted"
        | "smime.efail"
        | "smime.compressed"
        | "office.encrypted"
        | "pdf.encrypted"
        | "engine.encrypted"
        | "engine.limit" => (Class::Unscannable, settings.unscannable.action()),
        // DESIGN §7: what no virus engine saw waits with its sender, or is held, or says so.
        "engine.down" => (Class::Wait, Action::Defer),
        "engine.unscanned" => (Class::Unscannable, Action::Quarantine),
        "engine.skipped" => (Class::Unscannable, Action::Tag),
        // RFC 5322 §3.6: exactly one From. No agency can read a sender out of these.
        "from.multiple" | "from.multiple-address" | "from.none" | "from.invalid" | "from.group" => {
            (Class::Malformed, refuse)
        }
        // Nobody's name is used: old devices and cron jobs write such mail, and a person can still want it.
        "from.missing" => (Class::Malformed, Action::Quarantine),
        "mime.partial" | "mime.external-body" => (Class::Malformed, refuse),
        "mime.ambiguous" => match settings.ambiguous {
            Ambiguous::Scan => return None,
            Ambiguous::Refuse => (Class::Malformed, refuse),
            Ambiguous::Hold | Ambiguous::Rewrite => (Class::Unscannable, settings.unscannable.action()),
        },
        "loop.received" | "loop.own" => (Class::Loop, refuse),
        // THREATS A-24: what leaves by our hand bears our name; another's is never signed and never sent.
        "from.own-domain" | "from.foreign-domain" => (Class::Forged, refuse),
        "dmarc.reject" => (Class::Forged, policy.dmarc.reject.action()),
        "dmarc.quarantine" => (Class::Forged, policy.dmarc.quarantine.action()),
        "dmarc.wait" => (Class::Wait, Action::Defer),
        _ => return None,
    })
}

/// postmaster@ and abuse@ of any domain: mail to them is complaints, and complaints quote spam.
fn is_desk(case: &Case, recipients: &[usize]) -> bool {
    let all = case.mail().envelope().recipients();
    let desk = |r: &Recipient| ["postmaster", "abuse"].iter().any(|d| r.mailbox.local().eq_ignore_ascii_case(d));
    recipients.iter().filter_map(|i| all.get(*i)).any(desk)
}

impl Judged {
    /// The reply for a message that is refused or must wait: codes, an id to quote, one sentence in two languages.
    #[must_use]
    pub fn refusal(&self, language: Language) -> Reply {
        let id = self.case.mail().envelope().id();
        let worst = self.groups.iter().max_by_key(|g| g.action);
        let code = worst.and_then(|g| g.because.first()).map_or("", String::as_str);
        let (reply, enhanced, en, vi) = match worst.map_or(Action::Defer, |g| g.action) {
            Action::Reject => refusal_words(code),
            _ if code == "engine.down" => (
                451,
                "4.7.1",
                "mail cannot be checked for malware now, please try again later",
                "hien chua kiem tra duoc ma doc, xin gui lai sau",
            ),
            _ => (
                451,
                "4.7.1",
                "the sender's policy cannot be looked up now, please try again later",
                "chua tra cuu duoc chinh sach cua ben gui, xin gui lai sau",
            ),
        };
        let (first, second) = match language {
            Language::Vi => (vi, en),
            Language::En => (en, vi),
        };
        Reply::new(reply, enhanced, format!("{first} [{id}]")).line(format!("{second} [{id}]"))
    }
}

/// Code, enhanced code (RFC 3463, RFC 7372) and sentences for the first cause of a refusal.
fn refusal_words(code: &str) -> (u16, &'static str, &'static str, &'static str) {
    match code {
        _ if code.starts_with("malware.") => (554, "5.7.1", "this message carries malware", "thu chua ma doc"),
        _ if code.starts_with("loop.") => {
            (554, "5.4.6", "this message has gone round in a loop", "thu bi chuyen vong lap")
        }
        "from.foreign-domain" => {
            (550, "5.7.1", "the From address is not one of your agency", "dia chi From khong thuoc co quan cua ban")
        }
        "dmarc.reject" | "dmarc.quarantine" | "from.own-domain" => (
            550,
            "5.7.1",
            "the sender could not be authenticated as the From address says",
            "khong xac thuc duoc dia chi nguoi gui",
        ),
        _ if code.starts_with("from.") => (
            550,
            "5.6.0",
            "the From field must name exactly one valid address",
            "truong From phai co dung mot dia chi hop le",
        ),
        _ if code.starts_with("mime.") => {
            (550, "5.6.0", "this message is built in a way that is not accepted", "cau truc thu khong duoc chap nhan")
        }
        _ if code.starts_with("policy.") => (
            550,
            "5.7.1",
            "an attachment of this kind is not accepted here",
            "loai tep dinh kem nay khong duoc chap nhan",
        ),
        _ if code.starts_with("archive.") || code.starts_with("unpack.") || code.starts_with("smime.") => {
            (550, "5.7.1", "the content could not be scanned", "khong quet duoc noi dung thu")
        }
        _ => (
            550,
            "5.7.1",
            "this message was refused by the recipient's mail policy",
            "thu bi tu choi theo chinh sach cua noi nhan",
        ),
    }
}

impl Policy {
    /// The settings of an agency: its own, or the default.
    #[must_use]
    pub fn for_agency(&self, id: &crate::mail::AgencyId) -> &Verdict {
        self.agencies.get(id).unwrap_or(&self.default)
    }

    /// Whether a finding by itself leads an agency to hold or refuse mail, whatever its points are.
    #[must_use]
    pub fn acts_alone(&self, id: &crate::mail::AgencyId, code: &str) -> bool {
        let of_class =
            class_of(code, self, self.for_agency(id)).is_some_and(|(_, action)| action >= Action::Quarantine);
        of_class || code.starts_with("policy.")
    }

    /// What the attachment policy of an agency says of a message: its own rules first, then the general ones.
    #[must_use]
    pub fn ruled(
        &self,
        id: &crate::mail::AgencyId,
        outward: bool,
        parts: &[PartFact],
        findings: &[Finding],
    ) -> Vec<Ruled> {
        let own = self.own_attachments.get(id).map(Vec::as_slice).unwrap_or_default();
        let rules: Vec<&Rule> = own.iter().chain(&self.attachments.rule).collect();
        attachment::decide(&rules, self.attachments.observe, outward, parts, findings)
    }
}
