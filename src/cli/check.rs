//! `luytre check`: reads configuration, rules and certificates, and prints every problem with its place.

use std::path::PathBuf;
use std::process::ExitCode;

use super::DEFAULT_CONFIG;
use crate::mail::Language;
use crate::mail::problem::Severity;
use crate::policy::{Policy, build::Built, run::examine};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The configuration file.
    #[arg(long, value_name = "FILE", default_value = DEFAULT_CONFIG)]
    config: PathBuf,
    /// Print problems as JSON, one object a line.
    #[arg(long)]
    json: bool,
}

#[must_use]
pub fn run(args: Args) -> ExitCode {
    let built = examine(&args.config);
    for problem in &built.problems {
        if args.json {
            let warning = problem.severity == Severity::Warning;
            println!(
                "{}",
                serde_json::json!({
                    "file": problem.file, "line": problem.line, "column": problem.column,
                    "severity": if warning { "warning" } else { "error" },
                    "message": problem.message, "help": problem.help,
                })
            );
        } else {
            println!("{problem}");
        }
    }
    if !args.json {
        println!("{}", summary(&args, &built));
    }
    if built.policy.is_some() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The last line, in the language of the file.
fn summary(args: &Args, built: &Built) -> String {
    let count = |severity| built.problems.iter().filter(|p| p.severity == severity).count();
    let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
    let file = args.config.display();
    match &built.policy {
        None if built.language == Language::Vi => {
            format!("{file}: {errors} lỗi, {warnings} cảnh báo; chưa dùng được")
        }
        None => format!("{file}: {}, {}; not usable", plural(errors, "error"), plural(warnings, "warning")),
        Some(policy) => good(policy, warnings),
    }
}

fn good(policy: &Policy, warnings: usize) -> String {
    let domains: usize = policy.agencies.iter().map(|a| a.domains.len()).sum();
    let (file, agencies, listeners) = (policy.file.display(), policy.agencies.len(), policy.listeners.len());
    match policy.language {
        Language::Vi => format!(
            "{file}: dùng được; {agencies} cơ quan, {domains} tên miền, {listeners} địa chỉ nhận thư, {warnings} cảnh báo"
        ),
        Language::En => format!(
            "{file}: good; {}, {}, {}, {}",
            if agencies == 1 { "1 agency".to_owned() } else { format!("{agencies} agencies") },
            plural(domains, "domain"),
            plural(listeners, "listener"),
            plural(warnings, "warning"),
        ),
    }
}

fn plural(count: usize, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}
