//! `luytre demo`: the main job on real mail, on loopback. Makes keys, certificates and a DNS zone, starts two stand-in
//! servers and the gateway itself (the same binary, as a process of its own), sends every sample with a public client,
//! and shows what became of it and why. Exit code 0 only when every verdict was the expected one.

mod gateway;
mod samples;
mod server;
mod swaks;
mod table;
mod town;

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use samples::{Sample, Way};
use town::Town;

use crate::env::dns::zone;

/// Runs the whole gateway on loopback with real mail and shows each verdict.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Ends after the table; exit code 0 only if every verdict was the expected one.
    #[arg(long)]
    once: bool,
    /// Folder for keys, zone, configuration and mail; made anew each time.
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Folder with the rules (`spam/` and `yara/`).
    #[arg(long, default_value = "rules")]
    rules: PathBuf,
}

/// What became of one sample.
pub struct Outcome {
    pub code: u16,
    pub action: String,
    pub because: Vec<String>,
    pub encrypted: bool,
    /// What else was checked, in words: `openssl: Verification successful`.
    pub also: String,
    /// Why this is not what was expected; empty when it is.
    pub wrong: String,
}

#[must_use]
pub fn run(args: Args) -> ExitCode {
    match show(&args) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("luytre demo: {error}");
            ExitCode::FAILURE
        }
    }
}

fn show(args: &Args) -> io::Result<bool> {
    let dir = args.dir.clone().unwrap_or_else(|| std::env::temp_dir().join("luytre-demo"));
    let rules = args.rules.canonicalize().map_err(|e| {
        io::Error::new(
            e.kind(),
            format!("no rules in {}: {e}; run it from the source tree or name them with --rules", args.rules.display()),
        )
    })?;
    println!("Lũy Tre demo in {}", dir.display());
    let town = Town::found(&dir)?;
    println!("  making keys and certificates ...");
    town.make_certificates()?;
    let keys = town.make_dkim_keys()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let zone = zone::Zone::from_json(&Town::zone(keys.records())).map_err(io::Error::other)?;
    let dns = runtime.block_on(zone::Server::start(zone, std::net::SocketAddr::from(([127, 0, 0, 1], 0))))?;
    let agency = server::Server::start(&town.path("taken/agency"))?;
    let internet = server::Server::start(&town.path("taken/internet"))?;
    let config = town.configure(dns.address(), agency.address(), internet.address(), &rules)?;
    println!("  starting the gateway: luytre serve --config {}", config.display());
    let gateway = gateway::Gateway::start(&config)?;
    println!(
        "  MX listener {}, relay listener {}, metrics http://{}/metrics\n",
        gateway.mx, gateway.relay, gateway.http
    );

    let samples = samples::all();
    let mut outcomes = Vec::with_capacity(samples.len());
    for sample in &samples {
        let raw = town.finish(sample, &keys)?;
        let to = if sample.way == Way::Out { gateway.relay } else { gateway.mx };
        let answer = swaks::send(sample, to, &raw, &town.path("mail/wire"))?;
        let outcome =
            examine(sample, &answer, &config, &town, if sample.way == Way::Out { &internet } else { &agency })?;
        table::row(outcomes.len() + 1, sample, &outcome);
        outcomes.push(outcome);
    }
    let good = table::summary(&outcomes, agency.count(), internet.count());
    table::hints(&config, gateway.http);
    if args.once {
        return Ok(good);
    }
    println!("\nThe gateway stays up: metrics at http://{}/metrics. Ctrl-C ends it.", gateway.http);
    gateway.wait();
    Ok(good)
}

/// Compares what happened with what was expected: the reply, the receipt, and the copy at the next server.
fn examine(
    sample: &Sample,
    answer: &swaks::Answer,
    config: &Path,
    town: &Town,
    next: &server::Server,
) -> io::Result<Outcome> {
    let receipt = gateway::receipt(config, &answer.text)?;
    let action = receipt
        .as_ref()
        .map_or_else(|| if answer.code >= 500 { "reject" } else { "?" }.to_owned(), |r| r.action.clone());
    let because = receipt.as_ref().map(|r| r.codes.clone()).unwrap_or_default();
    let mut wrong = Vec::new();
    if answer.code != sample.code {
        wrong.push(format!("reply {} instead of {}: {}", answer.code, sample.code, answer.text));
    }
    if action != sample.action {
        wrong.push(format!("{action} instead of {}", sample.action));
    }
    if !sample.because.is_empty() && !because.iter().any(|code| code.starts_with(sample.because)) {
        wrong.push(format!("no finding {}", sample.because));
    }
    if sample.way == Way::InTls && !answer.encrypted {
        wrong.push("not encrypted".to_owned());
    }
    let mut also = String::new();
    let arrives = matches!(sample.action, "deliver" | "tag");
    if let (true, Some(receipt)) = (arrives, &receipt) {
        let marker = if sample.way == Way::Out { sample.marker() } else { receipt.id.clone() };
        match next.find(&marker) {
            Some(path) if sample.way == Way::Out => {
                also = town.verify_outgoing(&path)?;
                if !also.contains("OK") {
                    wrong.push(also.clone());
                }
            }
            Some(_) => {}
            None => wrong.push("it did not arrive at the next server".to_owned()),
        }
    }
    Ok(Outcome { code: answer.code, action, because, encrypted: answer.encrypted, also, wrong: wrong.join("; ") })
}
