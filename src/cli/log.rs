//! `luytre log`: message tracking, and the proof that the log is whole. Reads the files directly.

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Subcommand;

use super::place::{Record, Site, Trouble, finish};
use crate::gateway::control::client::Client;
use crate::gateway::control::{FLUSH_RECEIPTS, Request};
use crate::guard::settings::Day;
use crate::mail::{Language, MailId};
use crate::report::record::Entry;
use crate::report::record::chain::{self, Verifier};
use crate::report::record::run::Lines;
use crate::report::record::search::{Found, Query, search};
use crate::verdict::Action;

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    place: Record,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Find messages. / Tìm thư.
    Search(Search),
    /// What officers did: who, what, when and why. / Cán bộ đã làm gì, khi nào, vì sao.
    Audit(Audit),
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
    #[arg(long, value_parser = action)]
    action: Option<Action>,
    /// Not before (UTC): 2026-11-21, or 2026-11-21T08:00.
    #[arg(long, value_name = "TIME", value_parser = moment)]
    since: Option<String>,
    /// Not after; a day is taken whole.
    #[arg(long, value_name = "TIME", value_parser = moment)]
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

#[derive(Debug, clap::Args)]
struct Audit {
    /// Not before that day (UTC): 2026-11-21.
    #[arg(long, value_name = "DAY", value_parser = day)]
    since: Option<String>,
    /// Only what begins so: quarantine, bypass, retro.
    #[arg(long, value_name = "WHAT", default_value = "")]
    what: String,
    /// One object a line.
    #[arg(long)]
    json: bool,
}

/// Where the record is kept. A running gateway first writes out what it has buffered; without one there is nothing to wait
/// for.
fn settled(place: &Record) -> Result<Site, Trouble> {
    let site = place.site()?;
    if let Ok(Some(mut gateway)) = Client::connect(&site.data) {
        let flush = Request::Other { name: FLUSH_RECEIPTS.to_owned(), body: serde_json::Value::Null };
        // Not answering means reading what is there.
        let _ = gateway.ask(&flush);
    }
    Ok(site)
}

/// The folder of the receipts and the language.
pub(super) fn receipts(place: &Record) -> Result<(PathBuf, Language), Trouble> {
    let Site { data, language, .. } = settled(place)?;
    let folder = data.join("receipts");
    if folder.exists() { Ok((folder, language)) } else { Err(Trouble::NoRecord(folder)) }
}

#[must_use]
pub fn run(args: Args) -> ExitCode {
    let done = match args.command {
        Command::Tlsrpt(wanted) => settled(&args.place).map(|site| super::tlsrpt::run(&site.data, &wanted)),
        Command::Verify => receipts(&args.place).map(|(folder, language)| told(&folder, prove(&folder, language))),
        Command::Audit(audit) => receipts(&args.place).map(|(folder, _)| told(&folder, acts(&folder, &audit))),
        Command::Search(search) => receipts(&args.place).map(|(folder, _)| told(&folder, find(&folder, search))),
    };
    done.unwrap_or_else(|trouble| finish("log", Err(trouble)))
}

fn told(folder: &Path, outcome: io::Result<ExitCode>) -> ExitCode {
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

fn acts(folder: &Path, wanted: &Audit) -> io::Result<ExitCode> {
    for line in Lines::open(folder, wanted.since.as_deref().unwrap_or_default())?.holding("\"kind\":\"act\"") {
        // A line that does not read is for `verify` to tell.
        let Ok(line) = chain::open(&line?.text) else { continue };
        let Entry::Act(act) = line.entry else { continue };
        if !act.what.starts_with(&wanted.what) {
            continue;
        }
        if wanted.json {
            println!("{}", serde_json::json!({ "time": line.at, "act": act }));
            continue;
        }
        let clean = |text: &str| text.chars().map(|c| if c.is_control() { '?' } else { c }).collect::<String>();
        let detail = if act.detail.is_empty() { String::new() } else { format!(" [{}]", act.detail) };
        println!(
            "{}",
            clean(&format!("{} {:<20} {} by {}: {}{detail}", line.at, act.what, act.about, act.by, act.reason))
        );
    }
    Ok(ExitCode::SUCCESS)
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
    let query = Query {
        id: wanted.id,
        sender: wanted.sender,
        recipient: wanted.recipient,
        action: wanted.action,
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
        .ok_or_else(|| "use deliver, tag, quarantine, defer or reject".to_owned())
}

/// A day.
pub(super) fn day(text: &str) -> Result<String, String> {
    Day::try_from(text.to_owned()).map(String::from)
}

/// A day, or a moment as RFC 3339 begins it: what receipts are compared with as text.
fn moment(text: &str) -> Result<String, String> {
    let wrong = || format!("\"{text}\" is no time: write it like 2026-11-21 or 2026-11-21T08:00");
    let (date, rest) = text.split_at_checked("2026-11-21".len()).ok_or_else(wrong)?;
    day(date).map_err(|_| wrong())?;
    let fits = |(c, shape): (char, char)| if shape == '0' { c.is_ascii_digit() } else { c == shape };
    if rest.trim_end_matches('Z').chars().zip("T00:00:00.000".chars()).all(fits) && rest.len() <= "T00:00:00.000Z".len()
    {
        Ok(text.to_owned())
    } else {
        Err(wrong())
    }
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

#[cfg(test)]
mod tests {
    use super::moment;

    #[test]
    fn only_a_time_that_sorts_as_receipts_do_is_taken() {
        for good in ["2026-11-21", "2026-11-21T08:00", "2026-11-21T08:00:59Z", "2026-11-21T08:00:59.123Z"] {
            assert_eq!(moment(good).unwrap(), good);
        }
        for bad in
            ["", "yesterday", "2026", "21/11/2026", "2026-13-01", "2026-11-21 08:00", "2026-11-21T8:00", "2026-11-2ạ"]
        {
            assert!(moment(bad).is_err(), "{bad}");
        }
    }
}
