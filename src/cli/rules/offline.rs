//! Messages from files, judged in this process: the real reading and the real verdict, without network checks.
//! Only text is read; attachments are not unpacked. What SPF, DKIM and DMARC said may be given beside the files.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use serde::Deserialize;

use crate::envelope::Envelope;
use crate::inspect::Finding;
use crate::inspect::case::{AuthFacts, AuthResult, Case, ContentFacts, DkimFact};
use crate::inspect::rules::{Outer, RuleSet, Surfaces};
use crate::intake::Mail;
use crate::listen::{ClientFacts, Role};
use crate::mail::header::Headers;
use crate::mail::mime::{self, Limits};
use crate::mail::transaction::Notify;
use crate::mail::{AgencyId, Destination, MailId, MailParams, Mailbox, Recipient, ReversePath, Timestamp};
use crate::verdict::{self, Judged, settings::Policy};

/// What is known of a message beside its file: one line of a JSON-lines file.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Known {
    /// The file's name, without folders.
    pub file: String,
    #[serde(default)]
    pub mail_from: String,
    #[serde(default)]
    pub rcpt_to: String,
    #[serde(default)]
    pub helo: String,
    #[serde(default)]
    pub client_ip: String,
    /// `pass`, `fail` or `none`: what SPF and DMARC said.
    #[serde(default)]
    pub auth: String,
}

/// Where facts beside the message come from.
#[derive(Debug, Default)]
pub struct Beside {
    known: HashMap<String, Known>,
    /// Believe the first Authentication-Results field of each message.
    pub trust_results: bool,
}

impl Beside {
    pub fn load(files: &[PathBuf], trust_results: bool) -> Result<Self, String> {
        let mut known = HashMap::new();
        for path in files {
            let text = std::fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
            for (i, line) in text.lines().enumerate().filter(|(_, l)| !l.trim().is_empty()) {
                let one: Known =
                    serde_json::from_str(line).map_err(|e| format!("{}:{}: {e}", path.display(), i + 1))?;
                known.insert(one.file.clone(), one);
            }
        }
        Ok(Self { known, trust_results })
    }

    /// What is known of this file; nothing by default.
    pub fn of(&self, path: &Path) -> Known {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        self.known.get(name.as_ref()).cloned().unwrap_or_default()
    }
}

/// All files below `paths`, sorted; hidden ones, `.jsonl`, `.csv` and `.md` are not mail.
pub fn files(paths: &[PathBuf]) -> Result<Vec<PathBuf>, String> {
    let mut found = Vec::new();
    let mut open: Vec<PathBuf> = paths.to_vec();
    while let Some(path) = open.pop() {
        let trouble = |e: std::io::Error| format!("{}: {e}", path.display());
        if std::fs::metadata(&path).map_err(trouble)?.is_dir() {
            for entry in std::fs::read_dir(&path).map_err(trouble)? {
                let entry = entry.map_err(trouble)?.path();
                let name = entry.file_name().unwrap_or_default().to_string_lossy().into_owned();
                let skipped = [".jsonl", ".csv", ".md", ".xz", ".gz"].iter().any(|e| name.ends_with(e));
                if !name.starts_with('.') && !skipped && name != "LICENSE" {
                    open.push(entry);
                }
            }
        } else {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// Judges one file under `policy`.
pub fn judge(path: &Path, beside: &Beside, policy: &Policy) -> Result<Judged, String> {
    let raw = std::fs::read(path).map_err(|e| format!("{}: {e}", path.display()))?;
    let known = beside.of(path);
    Ok(judge_bytes(raw, &known, beside.trust_results, policy))
}

fn judge_bytes(raw: Vec<u8>, known: &Known, trust_results: bool, policy: &Policy) -> Judged {
    let (auth, findings) = sender(&raw, known, trust_results);
    let content = content(&raw, known, &policy.rules);
    let agency: Result<AgencyId, _> = "offline".parse();
    let envelope = envelope(known, agency.ok());
    let case = Case::closed(Mail::complete(envelope, Bytes::from(raw)), auth, content, findings);
    verdict::judge(case, policy)
}

/// What is known of the sender of a message, and what speaks against it.
pub fn sender(raw: &[u8], known: &Known, trust_results: bool) -> (AuthFacts, Vec<Finding>) {
    let believed = known.auth.is_empty() && trust_results;
    let auth = if believed { results(&Headers::parse_limited(raw, 2000)) } else { given(known) };
    let findings = auth_findings(&auth);
    (auth, findings)
}

/// The envelope of a message, to `agency`.
pub fn envelope(known: &Known, agency: Option<AgencyId>) -> Envelope {
    let recipient = Mailbox::parse(&known.rcpt_to).or_else(|_| Mailbox::parse("someone@agency.invalid"));
    let recipients = match (recipient, agency) {
        (Ok(mailbox), Some(agency)) => vec![Recipient {
            mailbox,
            destination: Destination::Agency(agency),
            original: None,
            notify: Notify::default(),
        }],
        _ => Vec::new(),
    };
    let ip = known.client_ip.parse::<IpAddr>().unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
    let client = ClientFacts {
        address: SocketAddr::new(ip, 0),
        local: SocketAddr::from(([127, 0, 0, 1], 25)),
        role: Role::Mx,
        tls: None,
    };
    let sender = Mailbox::parse(&known.mail_from).map_or(ReversePath::Null, ReversePath::Mailbox);
    let now = Timestamp::EPOCH;
    let (id, params) = (MailId::new(now, 0), MailParams::default());
    Envelope::open(id, now, client, known.helo.clone(), true, sender, params, recipients)
}

/// What an inspector would say of the text.
fn content(raw: &[u8], known: &Known, rules: &RuleSet) -> ContentFacts {
    let tree = mime::parse(raw, &Limits::default());
    let recipients: Vec<String> = Some(known.rcpt_to.clone()).filter(|r| !r.is_empty()).into_iter().collect();
    let outer =
        Outer { sender: &known.mail_from, recipients: &recipients, helo: &known.helo, client: &known.client_ip };
    let surfaces = Surfaces::from_tree(raw, &tree, &outer);
    ContentFacts {
        atoms: rules.match_atoms(&surfaces),
        subject: surfaces.subject().to_owned(),
        ..ContentFacts::default()
    }
}

fn given(known: &Known) -> AuthFacts {
    let mut facts = AuthFacts::default();
    let result = match known.auth.as_str() {
        "pass" => AuthResult::Pass,
        "fail" => AuthResult::Fail,
        _ => return facts,
    };
    (facts.spf, facts.dmarc.result) = (result, result);
    facts
}

fn auth_findings(auth: &AuthFacts) -> Vec<Finding> {
    let words = [("spf", auth.spf), ("dkim", auth.dkim_result()), ("dmarc", auth.dmarc.result)];
    let bad = |r: AuthResult| matches!(r, AuthResult::Fail | AuthResult::SoftFail | AuthResult::PermError);
    words.into_iter().filter(|(_, r)| bad(*r)).map(|(m, r)| Finding::new(format!("{m}.{r}"))).collect()
}

/// The first Authentication-Results field: of the server that took the message.
fn results(headers: &Headers<'_>) -> AuthFacts {
    let mut facts = AuthFacts::default();
    let text = headers.text("authentication-results").unwrap_or_default().to_ascii_lowercase();
    let word = |method: &str| {
        let rest = text.split(';').find_map(|part| part.trim().strip_prefix(method)?.trim_start().strip_prefix('='))?;
        let word: String = rest.trim_start().chars().take_while(char::is_ascii_alphabetic).collect();
        Some(match word.as_str() {
            "pass" | "bestguesspass" => AuthResult::Pass,
            "fail" | "hardfail" => AuthResult::Fail,
            "softfail" => AuthResult::SoftFail,
            "neutral" => AuthResult::Neutral,
            "permerror" => AuthResult::PermError,
            "temperror" => AuthResult::TempError,
            _ => AuthResult::None,
        })
    };
    facts.spf = word("spf").unwrap_or_default();
    facts.dmarc.result = word("dmarc").unwrap_or_default();
    facts.dkim = word("dkim").map(|result| DkimFact { result, ..DkimFact::default() }).into_iter().collect();
    facts
}

/// Judges every file on all cores, in the order given; a file that cannot be read is an error in its place.
pub fn judge_all<T: Send>(
    files: &[PathBuf],
    beside: &Beside,
    policy: &Policy,
    pick: impl Fn(Judged) -> T + Sync,
) -> Vec<Result<T, String>> {
    policy.rules.warm();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let size = files.len().div_ceil(threads).max(1);
    let pick = &pick;
    std::thread::scope(|scope| {
        let work: Vec<_> = files
            .chunks(size)
            .map(|chunk| {
                scope.spawn(move || chunk.iter().map(|f| judge(f, beside, policy).map(pick)).collect::<Vec<_>>())
            })
            .collect();
        work.into_iter().flat_map(|handle| handle.join().unwrap_or_default()).collect()
    })
}
