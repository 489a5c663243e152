//! `luytre retro`: messages of the last days against today's digests and attachment rules; who received what. Reads the
//! receipts, so it works with the gateway down; a running one is told what was found, for the record and the alert.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::place::{Trouble, finish, safe, sudo};
use crate::env::Clock;
use crate::gateway::control::client::Client;
use crate::gateway::control::{FLUSH_RECEIPTS, Request};
use crate::mail::{MailId, Span};
use crate::policy::{self, Policy};
use crate::report::record::retro::{Hashes, Hit, look, read_hashes, settle};
use crate::report::record::run::Lines;
use crate::report::record::{Entry, chain};
use crate::verdict::receipt::Outcome;

/// Deliveries that are kept in mind; what is beyond is a rule that hits everything.
const MOST: usize = 50_000;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The configuration: its rules, digests and data folder.
    #[arg(long, value_name = "FILE", default_value = super::DEFAULT_CONFIG)]
    config: PathBuf,
    /// How far back, like "3 days" [default: look_back of [retro]].
    #[arg(long, value_name = "TIME")]
    since: Option<Span>,
    /// More files of SHA-256 digests; may be given several times.
    #[arg(long, value_name = "FILE")]
    hashes: Vec<PathBuf>,
    /// One delivery a line, as JSON.
    #[arg(long)]
    json: bool,
}

/// Exit code 0 whatever was found: finding something is what it is for.
#[must_use]
pub fn run(args: Args) -> ExitCode {
    finish("retro", act(&args))
}

fn act(args: &Args) -> Result<(), Trouble> {
    let policy = policy::load(&args.config)
        .map_err(|problems| Trouble::Said(problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")))?;
    let hashes = hashes(policy.retro.hashes.iter().chain(&args.hashes))?;
    let folder = policy.data_dir.join("receipts");
    if !folder.exists() {
        return Err(Trouble::NoRecord(folder));
    }
    // What a running gateway has buffered is written out first; without one there is nothing to wait for.
    let mut gateway = Client::connect(&policy.data_dir).ok().flatten();
    if let Some(client) = &mut gateway {
        let _ = client.ask(&Request::Other { name: FLUSH_RECEIPTS.to_owned(), body: serde_json::Value::Null });
    }
    let since = Clock::system().now() - args.since.unwrap_or(policy.retro.look_back);
    let hits = found(&folder, &since.rfc3339(), &policy, &hashes)
        .map_err(|error| Trouble::Said(format!("{}: {error}", folder.display())))?;
    if let Some(client) = &mut gateway {
        let about = hits.iter().take(500).map(Hit::line).collect();
        // An older gateway does not know this; the table is printed all the same.
        let _ = client.ask(&Request::RetroDone { sudo: sudo(), found: hits.len(), about });
    }
    print(args.json, &hits);
    Ok(())
}

fn hashes<'a>(files: impl Iterator<Item = &'a PathBuf>) -> Result<Hashes, Trouble> {
    let mut hashes = Hashes::new();
    for file in files {
        let said = |what: String| Trouble::Said(format!("{}: {what}", file.display()));
        let text = std::fs::read_to_string(file).map_err(|error| said(error.to_string()))?;
        if let Some(line) = read_hashes(&text, &mut hashes).first() {
            return Err(said(format!("line {line} is no SHA-256: 64 hexadecimal digits, then a name")));
        }
    }
    Ok(hashes)
}

/// Twice through the record: messages first, then what became of those that were found. Holds one line at a time.
fn found(folder: &Path, since: &str, policy: &Policy, hashes: &Hashes) -> std::io::Result<Vec<Hit>> {
    let day = since.get(..10).unwrap_or_default();
    let mut hits = Vec::new();
    for line in Lines::open(folder, day)?.holding("\"kind\":\"receipt\"") {
        let Ok(line) = chain::open(&line?.text) else { continue };
        if let Entry::Receipt(receipt) = line.entry
            && receipt.time.as_str() >= since
            && hits.len() < MOST
        {
            let mut some = look(&receipt, &policy.compiled.verdict, hashes);
            some.retain_mut(|hit| settle(hit, &receipt.outcome) || hit.then == crate::verdict::Action::Quarantine);
            hits.extend(some);
        }
    }
    let mut later: HashMap<MailId, Vec<Outcome>> = hits.iter().map(|hit: &Hit| (hit.id, Vec::new())).collect();
    if later.is_empty() {
        return Ok(hits);
    }
    for line in Lines::open(folder, day)?.holding("\"kind\":\"outcome\"") {
        let Ok(line) = chain::open(&line?.text) else { continue };
        if let Entry::Outcome(update) = line.entry
            && let Some(outcomes) = later.get_mut(&update.id)
        {
            outcomes.push(update.outcome);
        }
    }
    hits.retain_mut(|hit| {
        let (outcomes, state) = (later.get(&hit.id).map(Vec::as_slice).unwrap_or_default(), hit.state.clone());
        let received = settle(hit, outcomes);
        if hit.state.is_empty() {
            hit.state = state;
        }
        received
    });
    Ok(hits)
}

fn print(json: bool, hits: &[Hit]) {
    for hit in hits {
        if json {
            println!("{}", serde_json::to_string(hit).unwrap_or_default());
            continue;
        }
        let from = if hit.sender.is_empty() { "<>" } else { &hit.sender };
        let (time, to) = (hit.time.get(..16).unwrap_or(&hit.time), hit.recipients.join(", "));
        println!(
            "{time}  {}  {}  {} -> {}  {:?} ({})  [{}]",
            hit.id,
            hit.state,
            safe(from),
            safe(&to),
            safe(&hit.name),
            safe(&hit.because),
            hit.agency
        );
    }
    if !json {
        match hits.len() {
            0 => println!("Nobody received anything that is known to be bad today."),
            n => println!("{n} deliveries would not be made today."),
        }
    }
}
