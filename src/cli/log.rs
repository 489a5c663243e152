//! `luytre log`: message tracking, and the proof that the log is whole. Reads the files directly.

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Subcommand;

use crate::gateway::control::client::Client;
use crate::gateway::control::{FLUSH_RECEIPTS, Request};
use crate::mail::{Language, MailId};
use crate::report::record::chain::Verifier;
use crate::report::record::run::Lines;
use crate::report::record::search::{Found, Query, search};
use crate::verdict::Action;

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
    /// The gateway's data folder.
    #[arg(long, global = true, value_name = "FOLDER", default_value = "/var/lib/luytre")]
    data_dir: PathBuf,
    /// The configuration file: takes data folder and language from it.
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Find messages. / Tìm thư.
    Search(Search),
    /// Prove that no line was changed, removed or inserted. / Chứng minh nhật ký còn nguyên vẹn.
    Verify,
    /// TLS sessions with the servers of other domains, as reports of RFC 8460. / Báo cáo TLS với máy chủ ngoài.
    Tlsrpt(super::tlsrpt::Args),
}

#[derive(Debug, clap::Args)]
struct Search {
    /// Part of the envelope sender.
    #[arg(long, alias = "from")]
    sender: Option<String>,
    /// Part of a recipient.
    #[arg(long, alias = "to")]
    recipient: Option<String>,
    /// deliver, tag, quarantine, defer or reject.
    #[arg(long)]
    action: Option<String>,
    /// Not before: 2026-11-21, or 2026-11-21T08:00.
    #[arg(long)]
    since: Option<String>,
    /// Not after.
    #[arg(long)]
    until: Option<String>,
    /// Part of Message-ID.
    #[arg(long)]
    message_id: Option<String>,
    /// The id of one message.
    #[arg(long)]
    id: Option<MailId>,
    /// At most so many, the newest.
    #[arg(long, default_value_t = 200)]
    limit: usize,
    /// One receipt a line.
    #[arg(long)]
    json: bool,
}

/// A running gateway writes out what it has buffered before the files are read; without one there is nothing to wait for.
fn settle(data_dir: &Path) {
    if let Ok(Some(mut gateway)) = Client::connect(data_dir) {
        let flush = Request::Other { name: FLUSH_RECEIPTS.to_owned(), body: serde_json::Value::Null };
        // Not answering means reading what is there.
        let _ = gateway.ask(&flush);
    }
}

/// Data folder and language, from the configuration file where one is named.
pub(super) fn place(config: Option<&Path>, data_dir: PathBuf) -> Result<(PathBuf, Language), ExitCode> {
    let Some(config) = config else {
        settle(&data_dir);
        return Ok((data_dir, Language::default()));
    };
    let built = crate::policy::run::examine(config);
    match built.policy {
        Some(policy) => {
            settle(&policy.data_dir);
            Ok((policy.data_dir.clone(), policy.language))
        }
        None => {
            for problem in &built.problems {
                eprintln!("{problem}");
            }
            Err(ExitCode::FAILURE)
        }
    }
}

#[must_use]
pub fn run(args: Args) -> ExitCode {
    let (data_dir, language) = match place(args.config.as_deref(), args.data_dir) {
        Ok(pair) => pair,
        Err(code) => return code,
    };
    let folder = data_dir.join("receipts");
    let outcome = match args.command {
        Command::Verify => prove(&folder, language),
        Command::Search(search) => find(&folder, search),
        Command::Tlsrpt(wanted) => return super::tlsrpt::run(&data_dir, &wanted),
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("{}: {error}", folder.display());
        ExitCode::FAILURE
    })
}

fn prove(folder: &Path, language: Language) -> io::Result<ExitCode> {
    let mut verifier = Verifier::default();
    for line in Lines::open(folder, "")? {
        let line = line?;
        verifier.line(&line.place, &line.text);
    }
    let result = verifier.end();
    for fault in &result.faults {
        eprintln!("{fault}");
    }
    if result.begins > 1 {
        let begins = result.begins;
        let (vi, en) = if result.by_age {
            (
                "các dòng trước đã được xóa do quá hạn, nhật ký có ghi",
                "what stood before was removed by age, as the log says",
            )
        } else {
            (
                "nhật ký không cho biết vì sao thiếu các dòng trước",
                "the log does not say why the lines before are missing",
            )
        };
        let (vi, en) = (format!("bắt đầu từ dòng {begins}: {vi}"), format!("it begins with line {begins}: {en}"));
        println!("{}", super::say(language, &vi, &en));
    }
    let (lines, torn, head) = (result.lines, result.torn, &result.head.hash);
    if result.is_whole() {
        let vi = format!("nhật ký nguyên vẹn: {lines} dòng, {torn} dòng dở dang do mất điện; đầu chuỗi {head}");
        let en = format!("the log is whole: {lines} lines, {torn} torn by a crash; its head is {head}");
        println!("{}", super::say(language, &vi, &en));
        return Ok(ExitCode::SUCCESS);
    }
    let count = result.fault_count;
    let vi = format!("nhật ký đã bị sửa: {count} chỗ");
    let en = format!("the log was tampered with: {count} places");
    println!("{}", super::say(language, &vi, &en));
    Ok(ExitCode::FAILURE)
}

/// The answers to `query` from the files in `folder`.
pub(super) fn answers(folder: &Path, query: &Query) -> io::Result<Vec<Found>> {
    let lines = Lines::open(folder, &query.from_day())?;
    let lines = if let Some(id) = query.id { lines.holding(&id.to_string()) } else { lines };
    let mut trouble = None;
    let texts = lines.map_while(|line| line.map(|line| line.text).map_err(|error| trouble = Some(error)).ok());
    let found = search(texts, query);
    trouble.map_or(Ok(found), Err)
}

fn find(folder: &Path, wanted: Search) -> io::Result<ExitCode> {
    let action = match wanted.action.as_deref().map(action) {
        Some(Err(text)) => {
            eprintln!("\"{text}\" is not an action: use deliver, tag, quarantine, defer or reject");
            return Ok(ExitCode::from(2));
        }
        Some(Ok(action)) => Some(action),
        None => None,
    };
    let query = Query {
        id: wanted.id,
        sender: wanted.sender,
        recipient: wanted.recipient,
        action,
        since: wanted.since,
        until: wanted.until,
        message_id: wanted.message_id,
        limit: Some(wanted.limit),
    };
    for found in answers(folder, &query)? {
        if wanted.json {
            println!("{}", serde_json::to_string(&found).unwrap_or_default());
        } else {
            println!("{}", line(&found));
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn action(text: &str) -> Result<Action, String> {
    [Action::Deliver, Action::Tag, Action::Quarantine, Action::Defer, Action::Reject]
        .into_iter()
        .find(|a| a.as_str() == text)
        .ok_or_else(|| text.to_owned())
}

/// One message on one line.
fn line(found: &Found) -> String {
    let clean = |text: &str| text.chars().map(|c| if c.is_control() { '?' } else { c }).collect::<String>();
    match found {
        Found::Message(r) => {
            let state = r.outcome.last().map_or("", |o| o.state.as_str());
            let from = if r.sender.is_empty() { "<>" } else { &r.sender };
            clean(&format!("{} {} {:<10} {:<11} {from} -> {}", r.time, r.id, r.action, state, r.recipients.join(",")))
        }
        Found::Refusal(r) => {
            clean(&format!("{} {} {:<10} {:<11} {} -> {}", r.time, r.id, "refused", r.reply, r.sender, r.recipient))
        }
    }
}
