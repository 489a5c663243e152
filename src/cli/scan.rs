//! `luytre scan`: the full inspection of message files, with the same inspectors, rules and verdict as mail on its way.
//! Hostile files are parsed in the caged processes, on all cores. The network is asked only with `--ip` or `--dns`.

use std::io::Write;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Value, json};

use super::engine::{self, Engine, progress};
use super::place::safe;
use crate::env::{Clock, Dice};
use crate::envelope::Envelope;
use crate::envelope::relay::Standing;
use crate::intake::Mail;
use crate::listen::{ClientFacts, Role};
use crate::mail::{Destination, MailParams, Mailbox, Recipient, ReversePath, transaction::Notify};
use crate::pipeline::Examiner;
use crate::policy::{self, Policy};
use crate::session::desk::{Letter, Opening, Target};
use crate::verdict::{Action, Judged};

#[derive(clap::Args, Debug)]
pub struct Args {
    /// The configuration file.
    #[arg(long, default_value = super::DEFAULT_CONFIG)]
    config: PathBuf,
    /// The client's address: SPF, DKIM, DMARC and reverse DNS are asked for it.
    #[arg(long)]
    ip: Option<IpAddr>,
    /// The name the client gave in EHLO.
    #[arg(long)]
    helo: Option<String>,
    /// MAIL FROM; "" or "<>" for the null sender. Default: the Return-Path of each file.
    #[arg(long)]
    from: Option<String>,
    /// RCPT TO; may be given several times. Default: the first agency.
    #[arg(long)]
    rcpt: Vec<String>,
    /// Ask DNS even without --ip (DKIM and DMARC).
    #[arg(long)]
    dns: bool,
    /// One JSON object a line.
    #[arg(long)]
    json: bool,
    /// Message files, or folders of them.
    #[arg(required = true)]
    paths: Vec<PathBuf>,
}

pub fn run(args: Args) -> ExitCode {
    let policy = match policy::load(&args.config) {
        Ok(policy) => Arc::new(policy),
        Err(problems) => {
            problems.iter().for_each(|problem| eprintln!("{problem}"));
            return ExitCode::FAILURE;
        }
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("luytre scan: cannot start: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(scan(args, policy)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("luytre scan: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Whether every file could be read.
async fn scan(args: Args, policy: Arc<Policy>) -> Result<bool, Box<dyn std::error::Error>> {
    recipients(&policy, &args.rcpt)?;
    let files = files(&args.paths)?;
    let network = args.ip.is_some() || args.dns;
    let engine = Engine::start(Arc::clone(&policy), network).await?;
    let bar = progress(files.len(), args.json);
    let (mut good, as_json, args) = (true, args.json, Arc::new(args));
    let judge = {
        let (examiner, policy) = (engine.examiner.clone(), Arc::clone(&policy));
        move |file: PathBuf| {
            let (examiner, policy, args) = (examiner.clone(), Arc::clone(&policy), Arc::clone(&args));
            async move { one(&file, &examiner, &policy, &args).await }
        }
    };
    let print = |file: PathBuf, result: Result<Value, String>| {
        bar.inc(1);
        good &= result.is_ok();
        bar.suspend(|| show(&file, result, as_json));
    };
    engine::each(files, judge, print).await;
    bar.finish_and_clear();
    Ok(good)
}

fn show(file: &Path, result: Result<Value, String>, as_json: bool) {
    let mut out = std::io::stdout().lock();
    // A closed pipe ends the output, not the program.
    let _ = match result {
        Err(error) => writeln!(std::io::stderr(), "{}: {error}", file.display()),
        Ok(value) if as_json => writeln!(out, "{value}"),
        Ok(value) => {
            let text = |key: &str| value.get(key).and_then(Value::as_str).unwrap_or("").to_owned();
            let score = value.get("score").and_then(Value::as_f64).unwrap_or(0.0);
            let none = Vec::new();
            let findings = value.get("findings").and_then(Value::as_array).unwrap_or(&none);
            let codes: Vec<&str> = findings.iter().filter_map(|f| f.get("code")?.as_str()).take(8).collect();
            let changed = value.get("changed").and_then(Value::as_array).unwrap_or(&none);
            let changed: String = changed.iter().filter_map(Value::as_str).map(|what| format!("  [{what}]")).collect();
            writeln!(
                out,
                "{:<10} {score:>6.1}  {}  {}{}",
                text("action"),
                text("file"),
                codes.join(" "),
                safe(&changed)
            )
        }
    };
}

async fn one(file: &Path, examiner: &Examiner, policy: &Arc<Policy>, args: &Args) -> Result<Value, String> {
    let raw = engine::read(file).await?;
    let mail = Mail::complete(envelope(&raw, policy, args)?, raw);
    let evidence = examiner.examine(mail, policy).await.map_err(|reply| reply.to_string())?;
    let judged = evidence.judge(&policy.compiled.verdict);
    let change = Change::of(&judged, examiner, policy).await;
    Ok(report(file, &judged, &change))
}

/// What the recipients would get instead of what came.
struct Change {
    action: Action,
    changed: Vec<String>,
}

impl Change {
    /// As the gateway would: parts are really taken out, and what they cannot be taken out of is held.
    async fn of(judged: &Judged, examiner: &Examiner, policy: &Policy) -> Self {
        let mut change = Self { action: judged.strictest(), changed: Vec::new() };
        for group in judged.groups() {
            change.changed.extend(group.copy.map(|copy| format!("a {} copy is delivered", copy.as_str())));
            if group.strip.is_empty() {
                continue;
            }
            let names: Vec<&str> = group.strip.iter().map(|part| part.name.as_str()).collect();
            change.changed.push(match examiner.strip(judged.case().mail(), policy, &group.strip).await {
                Ok(_) => format!("stripped, and the original held: {}", names.join(", ")),
                Err(why) => {
                    change.action = change.action.max(Action::Quarantine);
                    format!("held, because {} cannot be taken out: {why}", names.join(", "))
                }
            });
        }
        change
    }
}

/// The object of DESIGN §2, with `groups` beside the strictest action.
fn report(file: &Path, judged: &Judged, change: &Change) -> Value {
    let case = judged.case();
    let auth = case.auth();
    let worst = judged.groups().iter().max_by_key(|g| g.action);
    json!({
        "file": file.display().to_string(),
        "action": change.action,
        "score": worst.map_or(0.0, |g| g.score),
        "findings": worst.map(|g| &g.weighed),
        "auth": {
            "spf": auth.spf, "spf_helo": auth.spf_helo, "dkim": auth.dkim_result(), "dmarc": auth.dmarc.result,
            "arc": auth.arc, "iprev": auth.iprev, "from": auth.from, "signatures": auth.dkim, "policy": auth.dmarc.policy,
        },
        "smime": case.content().smime,
        "parts": case.content().parts,
        "groups": judged.groups(),
        "changed": change.changed,
        "receipt": case.mail().envelope().id(),
    })
}

fn envelope(raw: &Bytes, policy: &Policy, args: &Args) -> Result<Envelope, String> {
    let return_path = || crate::mail::header::Headers::parse_limited(raw, 2000).text("Return-Path").unwrap_or_default();
    let from = args.from.clone().unwrap_or_else(return_path);
    let from = from.trim().trim_start_matches('<').trim_end_matches('>');
    let sender = match Mailbox::parse(from) {
        Ok(mailbox) => ReversePath::Mailbox(mailbox),
        Err(_) if from.is_empty() || args.from.is_none() => ReversePath::Null,
        Err(error) => return Err(format!("--from {from}: {error}")),
    };
    let address = |ip: IpAddr| SocketAddr::new(ip, 0);
    let client = ClientFacts {
        address: address(args.ip.unwrap_or(IpAddr::from([127, 0, 0, 1]))),
        local: address(IpAddr::from([127, 0, 0, 1])),
        role: Role::Mx,
        tls: None,
    };
    let now = Clock::system().now();
    let opening = Opening {
        id: Dice::system().mail_id(now),
        received_at: now,
        client,
        helo: args.helo.clone().unwrap_or_else(|| "localhost".to_owned()),
        esmtp: true,
        sender,
        params: MailParams::default(),
    };
    Ok(Envelope::of(Letter { opening, recipients: recipients(policy, &args.rcpt)? }))
}

fn recipients(policy: &Policy, wanted: &[String]) -> Result<Vec<Recipient>, String> {
    let agency = policy.agencies.first().ok_or(
        "the configuration has no agency: scan judges mail as one of them would; add an [[agency]] or run luytre init",
    )?;
    let domain = agency.domains.first().ok_or("the first agency has no domain")?;
    let wanted = if wanted.is_empty() { vec![format!("scan@{domain}")] } else { wanted.to_vec() };
    let recipient = |text: &String| -> Result<Recipient, String> {
        let mailbox = Mailbox::parse(text).map_err(|e| format!("--rcpt {text}: {e}"))?;
        let found = policy.compiled.envelope.check_recipient(&Standing::Inward, &Target::Mailbox(mailbox.clone()));
        let destination = found.map_or_else(|_| Destination::Agency(agency.id.clone()), |(_, destination)| destination);
        Ok(Recipient { mailbox, destination, original: None, notify: Notify::default() })
    };
    wanted.iter().map(recipient).collect()
}

/// Every file named, and every file below every folder named, in order.
fn files(paths: &[PathBuf]) -> Result<Vec<PathBuf>, String> {
    let (mut found, mut folders) = (Vec::new(), Vec::new());
    for path in paths {
        if path.is_dir() {
            folders.push(path.clone());
        } else if path.exists() {
            found.push(path.clone());
        } else {
            return Err(format!("{} does not exist", path.display()));
        }
    }
    while let Some(folder) = folders.pop() {
        let entries = std::fs::read_dir(&folder).map_err(|e| format!("cannot read {}: {e}", folder.display()))?;
        for entry in entries.flatten() {
            let Ok(kind) = entry.file_type() else { continue };
            // Links are not followed: a folder may point at its own parent.
            if kind.is_dir() {
                folders.push(entry.path());
            } else if kind.is_file() {
                found.push(entry.path());
            }
        }
    }
    found.sort();
    found.dedup();
    Ok(found)
}
