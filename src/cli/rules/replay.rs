//! `luytre rules replay`: the same messages under two sets of rules, and where the decisions part.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use super::offline::{self, Beside};
use super::{load, say};
use crate::verdict::settings::Policy;
use crate::verdict::{Action, Mode};

#[derive(clap::Args, Debug)]
pub struct Args {
    /// The rules as they are: files or folders
    #[arg(long, required = true)]
    old: Vec<PathBuf>,
    /// The rules as they would be: files or folders
    #[arg(long, required = true)]
    new: Vec<PathBuf>,
    /// JSON lines with file, mail_from, rcpt_to, helo, client_ip and auth for messages
    #[arg(long)]
    envelopes: Vec<PathBuf>,
    /// Believe the first Authentication-Results field of each message
    #[arg(long)]
    trust_results: bool,
    /// Messages: files or folders
    #[arg(required = true)]
    paths: Vec<PathBuf>,
}

struct Line {
    action: Action,
    score: f64,
    rules: Vec<String>,
}

pub fn run(args: Args) -> ExitCode {
    let (old, new) = match (load(&args.old), load(&args.new)) {
        (Ok(old), Ok(new)) => (old, new),
        (Err(code), _) | (_, Err(code)) => return code,
    };
    let policy = |rules| Policy { rules: Arc::new(rules), ..Policy::default() };
    match compare(&args, &policy(old), &policy(new)) {
        Ok(text) => {
            say(&text);
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(2)
        }
    }
}

fn compare(args: &Args, old: &Policy, new: &Policy) -> Result<String, String> {
    let beside = Beside::load(&args.envelopes, args.trust_results)?;
    let files = offline::files(&args.paths)?;
    let judge = |policy: &Policy| {
        offline::judge_all(&files, &beside, policy, |judged| {
            let group = judged.groups().first();
            let hits =
                group.into_iter().flat_map(|g| &g.weighed).filter(|w| !w.source.is_empty() && w.mode != Mode::Shadow);
            Line {
                action: judged.strictest(),
                score: group.map_or(0.0, |g| g.score),
                rules: hits.map(|w| w.code.clone()).collect(),
            }
        })
    };
    let (before, after) = (judge(old), judge(new));
    let mut out = String::new();
    let (mut changed, mut stricter) = (0, 0);
    for (file, pair) in files.iter().zip(before.into_iter().zip(after)) {
        let (a, b) = (pair.0?, pair.1?);
        if a.action == b.action && (a.score - b.score).abs() < 0.005 {
            continue;
        }
        if a.action != b.action {
            changed += 1;
            stricter += usize::from(b.action > a.action);
        }
        let gone: Vec<String> = a.rules.iter().filter(|r| !b.rules.contains(r)).map(|r| format!("-{r}")).collect();
        let come: Vec<String> = b.rules.iter().filter(|r| !a.rules.contains(r)).map(|r| format!("+{r}")).collect();
        out.push_str(&format!(
            "{} {} -> {}  {:.1} -> {:.1}  {} {}\n",
            file.display(),
            a.action,
            b.action,
            a.score,
            b.score,
            gone.join(" "),
            come.join(" ")
        ));
    }
    out.push_str(&format!(
        "{} messages: {changed} decided otherwise, {stricter} of them more strictly, {} more mildly\n",
        files.len(),
        changed - stricter
    ));
    Ok(out)
}
