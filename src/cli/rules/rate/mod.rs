//! `luytre rules rate`: catch and false-positive rates over mail that is known to be good or bad. Of the rules alone,
//! which takes a moment; or with `--full` of the whole inspection, as mail on its way gets it, without the network.

mod full;
mod table;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use self::table::{Codes, Kind, Line, Tally};
use super::offline::{self, Beside};
use super::{load, say};
use crate::verdict::settings::Policy;

#[derive(clap::Args, Debug)]
pub struct Args {
    /// Good mail: files or folders
    #[arg(long)]
    ham: Vec<PathBuf>,
    /// Bad mail: files or folders
    #[arg(long)]
    bad: Vec<PathBuf>,
    /// Rules files or folders
    #[arg(long, default_value = "rules/spam", conflicts_with = "full")]
    rules: Vec<PathBuf>,
    /// Every check there is, as for mail on its way (MIME, archives, YARA, S/MIME, rules), not the rules alone
    #[arg(long)]
    full: bool,
    /// With --full: the configuration that decides
    #[arg(long, default_value = crate::cli::DEFAULT_CONFIG)]
    config: PathBuf,
    /// JSON lines with file, mail_from, rcpt_to, helo, client_ip and auth (pass, fail, none) for messages
    #[arg(long)]
    envelopes: Vec<PathBuf>,
    /// Believe the first Authentication-Results field of each message
    #[arg(long)]
    trust_results: bool,
    /// Also name every good message that is touched and every bad one that is missed
    #[arg(long)]
    verbose: bool,
}

pub fn run(args: Args) -> ExitCode {
    let outcome = if args.full { full::measure(&args) } else { of_rules(&args) };
    match outcome {
        Ok(text) => {
            say(&text);
            ExitCode::SUCCESS
        }
        Err(code) => code,
    }
}

/// The rules alone, in this process.
fn of_rules(args: &Args) -> Result<String, ExitCode> {
    let policy = Policy { rules: Arc::new(load(&args.rules)?), ..Policy::default() };
    let judge = |files: &[PathBuf], beside: &Beside| Ok(offline::judge_all(files, beside, &policy, |j| Line::of(&j)));
    let names: Vec<String> = policy.rules.rules().iter().map(|r| r.id.clone()).collect();
    measure(args, &names, judge).map_err(|error| unreadable(&error))
}

/// An input that cannot be read.
fn unreadable(error: &str) -> ExitCode {
    eprintln!("{error}");
    ExitCode::from(2)
}

/// Judges every folder with `judge` and prints the table of codes, then a line for each folder, then the sums.
fn measure(
    args: &Args,
    rules: &[String],
    mut judge: impl FnMut(&[PathBuf], &Beside) -> Result<Vec<Result<Line, String>>, String>,
) -> Result<String, String> {
    let beside = Beside::load(&args.envelopes, args.trust_results)?;
    let mut sums = [Tally::default(), Tally::default()];
    let mut table = Codes::default();
    let (mut details, mut folders) = (String::new(), String::new());
    for (kind, paths) in [(Kind::Good, &args.ham), (Kind::Bad, &args.bad)] {
        for path in paths {
            let files = offline::files(std::slice::from_ref(path))?;
            let (mut tally, mut here) = (Tally::default(), Codes::default());
            for (file, line) in files.iter().zip(judge(&files, &beside)?) {
                let line = line?;
                tally.add(line.action);
                if args.verbose && kind.is_noteworthy(line.action) {
                    details.push_str(&kind.detail(file, &line));
                }
                here.add(kind, line.codes);
            }
            folders.push_str(&tally.show(kind.as_str(), &path.display().to_string()));
            if args.full {
                folders.push_str(&here.most());
            }
            if let Some(sum) = sums.get_mut(kind as usize) {
                sum.merge(&tally);
            }
            table.merge(here);
        }
    }
    let mut out = table.show(rules);
    out.push_str(&details);
    if args.ham.len().saturating_add(args.bad.len()) > 2 || args.full {
        out.push_str(&folders);
    }
    for (kind, sum) in [Kind::Good, Kind::Bad].into_iter().zip(&sums) {
        out.push_str(&sum.show(kind.as_str(), ""));
    }
    Ok(out)
}
