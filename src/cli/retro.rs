//! `luytre retro`: messages of the last days against today's digests, attachment rules and what other mail has shown; who
//! received what. Reads the receipts, so it works with the gateway down. A running one looks at the held mail with its
//! inspectors and engines, and is told what was found: for the record, the alert and the letters.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::place::{Trouble, ask, finish, safe, sudo};
use crate::env::Clock;
use crate::gateway::control::client::Client;
use crate::gateway::control::{FLUSH_RECEIPTS, Reply, Request};
use crate::gateway::retro::HeldPage;
use crate::mail::Span;
use crate::policy::{self, Policy};
use crate::report::record::retro::{Condemned, Hit, Known};
use crate::report::record::run::past;

/// Octets of what is told in one request.
const TOLD_AT_ONCE: usize = 32 << 10;

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
    /// Leave out what lies in the quarantine: receipts only.
    #[arg(long)]
    receipts_only: bool,
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
    let folder = policy.data_dir.join("receipts");
    if !folder.exists() {
        return Err(Trouble::NoRecord(folder));
    }
    let mut gateway = Client::connect(&policy.data_dir).ok().flatten();
    let (mut hits, condemned) = match &mut gateway {
        Some(client) if !args.receipts_only => held(client)?,
        Some(_) => (Vec::new(), Condemned::new()),
        None => {
            eprintln!("The gateway is not running: held mail is not looked at, and nobody is told.");
            (Vec::new(), Condemned::new())
        }
    };
    if let Some(client) = &mut gateway {
        // What it has buffered is written out first.
        ask(client, &Request::Other { name: FLUSH_RECEIPTS.to_owned(), body: serde_json::Value::Null })?;
    }
    let received = deliveries(args, &policy, &folder, condemned)?;
    let found = received.len();
    hits.extend(received);
    if let Some(client) = &mut gateway {
        tell(client, &hits)?;
        ask(client, &Request::RetroDone { found, sudo: sudo() })?;
    }
    print(args.json, &hits);
    Ok(())
}

/// What lies in the quarantine, by the gateway's own inspectors and engines.
fn held(client: &mut Client) -> Result<(Vec<Hit>, Condemned), Trouble> {
    let (mut hits, mut condemned, mut after, mut unseen) = (Vec::new(), Condemned::new(), None, 0_usize);
    loop {
        let page: HeldPage = match ask(client, &Request::RetroHeld { after })? {
            Reply::Value { value } => {
                serde_json::from_value(value).map_err(|error| Trouble::Said(error.to_string()))?
            }
            other => return Err(Trouble::unexpected(&other)),
        };
        hits.extend(page.hits);
        condemned.extend(page.condemned);
        unseen = unseen.saturating_add(page.unseen);
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    if unseen > 0 {
        eprintln!("{unseen} held messages could not be looked at now.");
    }
    Ok((hits, condemned))
}

fn deliveries(args: &Args, policy: &Policy, folder: &Path, condemned: Condemned) -> Result<Vec<Hit>, Trouble> {
    let own = policy.retro.hashes.iter().chain(&args.hashes);
    let list = past::read_lists(own, &policy.rules.hashes).map_err(Trouble::Said)?;
    let known = Known { list, condemned };
    let since = Clock::system().now() - args.since.unwrap_or(policy.retro.look_back);
    past::deliveries(folder, &since.rfc3339(), &policy.compiled.verdict, known)
        .map_err(|error| Trouble::Said(format!("{}: {error}", folder.display())))
}

/// In requests that are not too long.
fn tell(client: &mut Client, hits: &[Hit]) -> Result<(), Trouble> {
    let (mut some, mut octets) = (Vec::new(), 0_usize);
    for (n, hit) in hits.iter().enumerate() {
        octets = octets.saturating_add(serde_json::to_string(hit).map_or(0, |text| text.len()));
        some.push(hit.clone());
        if octets >= TOLD_AT_ONCE || n.saturating_add(1) == hits.len() {
            ask(client, &Request::RetroFound { hits: std::mem::take(&mut some), sudo: sudo() })?;
            octets = 0;
        }
    }
    Ok(())
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
        let held = hits.iter().filter(|hit| !hit.is_delivery()).count();
        match hits.len().saturating_sub(held) {
            0 => println!("Nobody received anything that is known to be bad today."),
            n => println!("{n} deliveries would not be made today."),
        }
        if held > 0 {
            println!("{held} held messages are known to carry malware today; do not release them.");
        }
    }
}
