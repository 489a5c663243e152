//! `luytre scan`: the full inspection of message files, with the same inspectors, rules and verdict as mail on its way.
//! Hostile files are parsed in the caged processes, on all cores. The network is asked only with `--ip` or `--dns`.

use std::io::{IsTerminal, Write};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use bytes::Bytes;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};
use tokio::sync::{Semaphore, mpsc};

use crate::env::{Clock, Dice, Dns};
use crate::envelope::Envelope;
use crate::envelope::relay::Standing;
use crate::gateway::dns_options;
use crate::inspect::{self, run::Pool};
use crate::intake::Mail;
use crate::listen::{ClientFacts, Role};
use crate::mail::{Destination, MailParams, Mailbox, Recipient, ReversePath, transaction::Notify};
use crate::pipeline::Examiner;
use crate::policy::{self, Policy};
use crate::report::metrics::{Metrics, Registry};
use crate::session::desk::{Letter, Opening, Target};
use crate::verdict::Judged;

/// No message file is larger than this.
const LARGEST: u64 = 256 << 20;

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
    let files = files(&args.paths)?;
    let registry = Registry::new();
    let (compiled, clock) = (&policy.compiled, Clock::system());
    let counters = inspect::metrics::Metrics::new(&registry)?;
    let inspectors =
        Pool::start(Arc::clone(&compiled.inspect), &policy.inspect, counters, std::env::current_exe()?).await?;
    let network = args.ip.is_some() || args.dns;
    let dns = if network { Some(Dns::new(&dns_options(&policy))?) } else { None };
    let examiner = Examiner { dns, inspectors, metrics: Metrics::new(&registry)?, clock };
    let bar = progress(files.len(), args.json);
    let cores = std::thread::available_parallelism().map_or(2, usize::from);
    let (places, args) = (Arc::new(Semaphore::new(cores.saturating_mul(2))), Arc::new(args));
    let (send, mut receive) = mpsc::channel(64);
    let work = async {
        for (number, file) in files.into_iter().enumerate() {
            let Ok(place) = Arc::clone(&places).acquire_owned().await else { break };
            let (send, examiner, policy, args) =
                (send.clone(), examiner.clone(), Arc::clone(&policy), Arc::clone(&args));
            tokio::spawn(async move {
                let result = one(&file, &examiner, &policy, &args).await;
                let _ = send.send((number, file, result)).await;
                drop(place);
            });
        }
        drop(send);
    };
    let print = async {
        let (mut good, mut next, mut early) = (true, 0_usize, std::collections::BTreeMap::new());
        while let Some((number, file, result)) = receive.recv().await {
            bar.inc(1);
            // In the order of the files, whatever finished first.
            early.insert(number, (file, result));
            while let Some((file, result)) = early.remove(&next) {
                next = next.saturating_add(1);
                good &= result.is_ok();
                bar.suspend(|| show(&file, result, args.json));
            }
        }
        good
    };
    let ((), good) = tokio::join!(work, print);
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
            writeln!(out, "{:<10} {score:>6.1}  {}  {}", text("action"), text("file"), codes.join(" "))
        }
    };
}

async fn one(file: &Path, examiner: &Examiner, policy: &Arc<Policy>, args: &Args) -> Result<Value, String> {
    let size = tokio::fs::metadata(file).await.map_err(|e| e.to_string())?.len();
    if size > LARGEST {
        return Err(format!("{size} octets; a message has at most {LARGEST}"));
    }
    let raw = wire(tokio::fs::read(file).await.map_err(|e| e.to_string())?);
    let mail = Mail::complete(envelope(&raw, policy, args)?, raw);
    let evidence = examiner.examine(mail, policy).await.map_err(|reply| reply.to_string())?;
    let judged = evidence.judge(&policy.compiled.verdict);
    Ok(report(file, &judged))
}

/// The object of DESIGN §2, with `groups` beside the strictest action.
fn report(file: &Path, judged: &Judged) -> Value {
    let case = judged.case();
    let auth = case.auth();
    let worst = judged.groups().iter().max_by_key(|g| g.action);
    json!({
        "file": file.display().to_string(),
        "action": judged.strictest(),
        "score": worst.map_or(0.0, |g| g.score),
        "findings": worst.map(|g| &g.weighed),
        "auth": {
            "spf": auth.spf, "spf_helo": auth.spf_helo, "dkim": auth.dkim_result(), "dmarc": auth.dmarc.result,
            "arc": auth.arc, "iprev": auth.iprev, "from": auth.from, "signatures": auth.dkim, "policy": auth.dmarc.policy,
        },
        "smime": case.content().smime,
        "parts": case.content().parts,
        "groups": judged.groups(),
        "receipt": case.mail().envelope().id(),
    })
}

/// Mail on the wire has CRLF; a file that has none at all was saved by a program that writes LF. What begins like no
/// text (an archive, a program) is no such mail: its octets stay.
fn wire(raw: Vec<u8>) -> Bytes {
    let is_text = !raw.iter().take(1024).any(|byte| *byte == 0);
    if !is_text || memchr::memmem::find(&raw, b"\r\n").is_some() {
        return raw.into();
    }
    let lines = memchr::memchr_iter(b'\n', &raw).count();
    let mut out = Vec::with_capacity(raw.len().saturating_add(lines));
    for byte in raw {
        if byte == b'\n' {
            out.push(b'\r');
        }
        out.push(byte);
    }
    out.into()
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
    let agency = policy.agencies.first().ok_or("the configuration has no agency")?;
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

fn progress(count: usize, as_json: bool) -> ProgressBar {
    if count < 2 || !std::io::stderr().is_terminal() || (as_json && std::io::stdout().is_terminal()) {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len}  {per_sec}  {eta}")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(count as u64).with_style(style)
}
