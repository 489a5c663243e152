//! `luytre rules`: the files' own tests, what is loaded, what an edit would have changed, and how good the rules are.
//! Everything runs here, in this process, over files; no gateway need be running.

mod loaded;
mod offline;
mod rate;
mod replay;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Subcommand;

use crate::inspect::rules::{RuleSet, run};
use crate::mail::Problem;

#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Run the tests that stand in the rules files. / Chạy các phép thử ghi trong tệp quy tắc.
    Test {
        /// Rules files or folders
        #[arg(default_value = "rules/spam")]
        paths: Vec<PathBuf>,
    },
    /// Show the rules that are loaded, and YARA rules that are parked. / Liệt kê các quy tắc, kể cả quy tắc YARA đang tạm ngừng.
    List {
        /// Rules files or folders, instead of what the configuration loads
        #[arg(conflicts_with = "config")]
        paths: Vec<PathBuf>,
        /// The configuration whose rules are shown [default: /etc/luytre/luytre.toml if it is there, else rules/spam]
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
        /// One JSON object a rule
        #[arg(long)]
        json: bool,
    },
    /// Run a parked YARA rule again. / Cho chạy lại một quy tắc YARA đang tạm ngừng.
    Unpark(loaded::Unpark),
    /// Show what an edit of the rules would have changed. / Sửa quy tắc thì kết luận nào thay đổi.
    Replay(replay::Args),
    /// Measure how much bad mail the rules catch and how much good mail they touch. / Đo mức bắt được và bắt nhầm.
    Rate(rate::Args),
}

/// Exit code 0: done and good. 1: a problem in the rules, a failing test. 2: an input that cannot be read.
#[must_use]
pub fn run(args: Args) -> ExitCode {
    match args.command {
        Command::Test { paths } => test(&paths),
        Command::List { paths, config, json } => {
            let usual = || Some(PathBuf::from(super::DEFAULT_CONFIG)).filter(|file| paths.is_empty() && file.exists());
            match config.or_else(usual) {
                Some(config) => loaded::list(&config, json),
                None => {
                    let paths = if paths.is_empty() { vec![PathBuf::from("rules/spam")] } else { paths };
                    load(&paths).map_or_else(|code| code, |set| list(&set, json))
                }
            }
        }
        Command::Unpark(args) => loaded::unpark(&args),
        Command::Replay(args) => replay::run(args),
        Command::Rate(args) => rate::run(args),
    }
}

/// The compiled rules, or every problem on stderr and the exit code.
fn load(paths: &[PathBuf]) -> Result<RuleSet, ExitCode> {
    RuleSet::load(paths).map_err(|problems| {
        complain(&problems);
        hint(paths);
        ExitCode::from(1)
    })
}

fn complain(problems: &[Problem]) {
    for problem in problems {
        eprintln!("{problem}");
    }
    let noun = if problems.len() == 1 { "problem" } else { "problems" };
    eprintln!("{} {noun}", problems.len());
}

/// Where rules may be, for who named none that are there.
fn hint(paths: &[PathBuf]) {
    if paths.iter().any(|path| !path.exists()) {
        eprintln!("rules stand in /etc/luytre/rules/spam or /usr/share/luytre/rules/spam: name their folder");
    }
}

fn test(paths: &[PathBuf]) -> ExitCode {
    let outcome = run::read(paths).and_then(|sources| RuleSet::from_sources(&sources).map(|set| (set, sources)));
    let (set, sources) = match outcome {
        Ok(pair) => pair,
        Err(problems) => {
            complain(&problems);
            hint(paths);
            return ExitCode::from(1);
        }
    };
    let (count, problems) = set.run_tests(&sources);
    say(&format!(
        "{} rules in {} files, {count} samples, {} failed\n",
        set.rules().len(),
        sources.len(),
        problems.len()
    ));
    if problems.is_empty() {
        return ExitCode::SUCCESS;
    }
    complain(&problems);
    ExitCode::from(1)
}

fn list(set: &RuleSet, json: bool) -> ExitCode {
    let mut out = rows(set, json);
    if !json {
        out.push_str(&format!("{} rules, {}\n", set.rules().len(), set.hash()));
    }
    say(&out);
    ExitCode::SUCCESS
}

/// One line a rule.
fn rows(set: &RuleSet, json: bool) -> String {
    let mut out = String::new();
    for rule in set.rules() {
        if json {
            let object = serde_json::json!({
                "id": rule.id, "score": rule.score, "mode": rule.mode,
                "description": { "vi": rule.description.vi, "en": rule.description.en }, "source": rule.source,
            });
            out.push_str(&format!("{object}\n"));
        } else {
            let mode = rule.mode.as_str();
            out.push_str(&format!(
                "{:<32} {:>6.1}  {mode:<8} {:<40} {}\n",
                rule.id, rule.score, rule.source, rule.description.en
            ));
        }
    }
    out
}

/// Writes to stdout; a reader that went away (`| head`) is no error.
fn say(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
}
