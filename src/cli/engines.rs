//! `luytre engine`: the virus engines, asked now: who answers, what they know, what they said last. The running gateway
//! asks, so that the answer is of its connections and its user; with the gateway down this command asks by itself.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use super::place::{Trouble, ask, finish, gateway, safe};
use super::{DEFAULT_CONFIG, say};
use crate::env::Clock;
use crate::gateway::control::{ENGINES, Reply, Request};
use crate::inspect::checks::net::engines::run::{Engines, Standing};
use crate::inspect::checks::net::engines::{metrics, settings};
use crate::mail::Language;
use crate::policy::Policy;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The configuration file.
    #[arg(long, value_name = "FILE", default_value = DEFAULT_CONFIG)]
    config: PathBuf,
    /// Print it as JSON.
    #[arg(long)]
    json: bool,
}

#[must_use]
pub fn run(args: Args) -> ExitCode {
    let built = crate::policy::run::examine(&args.config);
    let Some(policy) = built.policy else {
        for problem in built.problems {
            eprintln!("{problem}");
        }
        return ExitCode::FAILURE;
    };
    match standings(&policy) {
        Ok(list) => {
            let all_up = list.iter().all(|standing| standing.answers);
            show(&list, policy.language, args.json);
            if all_up { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(trouble) => finish("engine", Err(trouble)),
    }
}

/// From the running gateway; else by asking here.
fn standings(policy: &Policy) -> Result<Vec<Standing>, Trouble> {
    if let Some(mut client) = gateway(&policy.data_dir)? {
        let request = Request::Other { name: ENGINES.to_owned(), body: serde_json::Value::Null };
        return match ask(&mut client, &request)? {
            Reply::Value { value } => serde_json::from_value(value).map_err(|e| Trouble::Said(e.to_string())),
            other => Err(Trouble::unexpected(&other)),
        };
    }
    ask_here(policy).map_err(Trouble::Said)
}

/// Asks every engine of the policy from this process.
pub(super) fn ask_here(policy: &Policy) -> Result<Vec<Standing>, String> {
    let text = |e: &dyn std::fmt::Display| e.to_string();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|e| text(&e))?;
    let counters = metrics::Metrics::new(&crate::report::metrics::Registry::new()).map_err(|e| text(&e))?;
    let engines = Engines::new(counters, Clock::system());
    engines.adopt(&policy.engine, &policy.engines).map_err(|wrong| wrong.en)?;
    Ok(runtime.block_on(engines.check_all()))
}

fn show(list: &[Standing], language: Language, as_json: bool) {
    let mut out = std::io::stdout().lock();
    // Whoever closed the pipe has read enough.
    let _ = if as_json {
        writeln!(out, "{}", serde_json::to_string(list).unwrap_or_default())
    } else if list.is_empty() {
        writeln!(out, "{}", say(language, "chưa cấu hình động cơ diệt virus nào", "no virus engine is configured"))
    } else {
        list.iter().try_for_each(|standing| writeln!(out, "{}", line(standing, language)))
    };
}

fn line(standing: &Standing, language: Language) -> String {
    let state = if standing.answers { say(language, "tốt", "up") } else { say(language, "HỎNG", "DOWN") };
    let backup =
        if standing.role == settings::Role::Backup { say(language, " (dự phòng)", " (backup)") } else { "" };
    let age = standing.signature_age.map(|seconds| format!("{} h", seconds / 3600));
    let age =
        age.map(|age| format!(", {} {age}", say(language, "mẫu virus cũ", "signatures are old"))).unwrap_or_default();
    let version = if standing.version.is_empty() { String::new() } else { format!(", {}", safe(&standing.version)) };
    let trouble = standing.last_trouble.as_ref().filter(|_| !standing.answers);
    let trouble = trouble.map(|what| format!("; {}", safe(what))).unwrap_or_default();
    format!("{}{backup}: {state}, {}{version}{age}{trouble}", standing.id, safe(&standing.address))
}
