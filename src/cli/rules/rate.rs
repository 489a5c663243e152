//! `luytre rules rate`: catch and false-positive rates over mail that is known to be good or bad.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use super::offline::{self, Beside};
use super::{load, say};
use crate::verdict::settings::Policy;
use crate::verdict::{Action, Mode};

#[derive(clap::Args, Debug)]
pub struct Args {
    /// Good mail: files or folders
    #[arg(long)]
    ham: Vec<PathBuf>,
    /// Bad mail: files or folders
    #[arg(long)]
    bad: Vec<PathBuf>,
    /// Rules files or folders
    #[arg(long, default_value = "rules/spam")]
    rules: Vec<PathBuf>,
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

/// What is kept of one judged message.
struct Line {
    action: Action,
    score: f64,
    rules: Vec<(String, f64, Mode)>,
}

/// The counts over one kind of mail.
#[derive(Default)]
struct Tally {
    messages: usize,
    tag: usize,
    quarantine: usize,
    reject: usize,
}

impl Tally {
    fn add(&mut self, action: Action) {
        self.messages += 1;
        self.tag += usize::from(action >= Action::Tag);
        self.quarantine += usize::from(action >= Action::Quarantine);
        self.reject += usize::from(action >= Action::Reject);
    }
    fn show(&self, name: &str) -> String {
        let percent = |n: usize| if self.messages == 0 { 0.0 } else { n as f64 * 100.0 / self.messages as f64 };
        format!(
            "{name:<5} {:>6} messages   tag or more {:>6} ({:>6.2} %)   quarantine or more {:>6} ({:>6.2} %)   reject {:>6} ({:>6.2} %)\n",
            self.messages,
            self.tag,
            percent(self.tag),
            self.quarantine,
            percent(self.quarantine),
            self.reject,
            percent(self.reject)
        )
    }
}

pub fn run(args: Args) -> ExitCode {
    let rules = match load(&args.rules) {
        Ok(rules) => rules,
        Err(code) => return code,
    };
    let policy = Policy { rules: Arc::new(rules), ..Policy::default() };
    match measure(&args, &policy) {
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

fn measure(args: &Args, policy: &Policy) -> Result<String, String> {
    let beside = Beside::load(&args.envelopes, args.trust_results)?;
    let mut tallies = [Tally::default(), Tally::default()];
    let mut by_rule: BTreeMap<String, (f64, Mode, [usize; 2])> = BTreeMap::new();
    let mut details = String::new();
    for (kind, paths) in [&args.ham, &args.bad].into_iter().enumerate() {
        let files = offline::files(paths)?;
        let lines = offline::judge_all(&files, &beside, policy, |judged| {
            let group = judged.groups().first();
            Line {
                action: judged.strictest(),
                score: group.map_or(0.0, |g| g.score),
                rules: group
                    .map_or_else(Vec::new, |g| g.weighed.iter().map(|w| (w.code.clone(), w.score, w.mode)).collect()),
            }
        });
        for (file, line) in files.iter().zip(lines) {
            let line = line?;
            if let Some(tally) = tallies.get_mut(kind) {
                tally.add(line.action);
            }
            let noteworthy = (kind == 0) == (line.action >= Action::Tag);
            if args.verbose && noteworthy {
                let rules: Vec<String> = line.rules.iter().map(|(c, s, _)| format!("{c}={s:.1}")).collect();
                let what = if kind == 0 { "touched" } else { "missed" };
                details.push_str(&format!(
                    "{what} {} {:.1} {} {}\n",
                    line.action,
                    line.score,
                    file.display(),
                    rules.join(" ")
                ));
            }
            for (code, score, mode) in line.rules {
                let entry = by_rule.entry(code).or_insert((score, mode, [0, 0]));
                if let Some(count) = entry.2.get_mut(kind) {
                    *count += 1;
                }
            }
        }
    }
    let [ham, bad] = &tallies;
    let mut out = format!("{:<34} {:>6}  {:<8} {:>7} {:>7}\n", "rule", "points", "mode", "good", "bad");
    for (code, (score, mode, [good, wrong])) in &by_rule {
        out.push_str(&format!("{code:<34} {score:>6.1}  {:<8} {good:>7} {wrong:>7}\n", mode.as_str()));
    }
    let silent = policy.rules.rules().iter().filter(|r| !by_rule.contains_key(&r.id)).map(|r| r.id.as_str());
    let silent: Vec<&str> = silent.collect();
    if !silent.is_empty() {
        out.push_str(&format!("no hit: {}\n", silent.join(" ")));
    }
    out.push_str(&details);
    out.push_str(&ham.show("good"));
    out.push_str(&bad.show("bad"));
    Ok(out)
}
