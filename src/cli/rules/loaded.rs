//! `luytre rules list --config` and `luytre rules unpark`: every rule that a configuration loads, YARA rules among them,
//! those that are parked with the reason; and taking one off that list again.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::{complain, say};
use crate::cli::DEFAULT_CONFIG;
use crate::cli::place::{self, Trouble};
use crate::env::disk::{self, Real};
use crate::inspect::parked::{self, Parked};
use crate::policy::{self, Policy};

#[derive(clap::Args, Debug)]
pub struct Unpark {
    /// Names as `luytre rules list` shows them: namespace.rule
    #[arg(required_unless_present = "all")]
    rules: Vec<String>,
    /// All of them
    #[arg(long, conflicts_with = "rules")]
    all: bool,
    /// The configuration file; only its data_dir is read.
    #[arg(long, value_name = "FILE", default_value = DEFAULT_CONFIG)]
    config: PathBuf,
}

/// What `config` loads; every problem on stderr where it cannot be used.
pub(super) fn list(config: &Path, json: bool) -> ExitCode {
    let built = policy::run::examine(config);
    let Some(policy) = built.policy else {
        complain(&built.problems);
        return ExitCode::from(1);
    };
    say(&told(&policy, json));
    ExitCode::SUCCESS
}

fn told(policy: &Policy, json: bool) -> String {
    let inspect = &policy.compiled.inspect;
    let mut out = super::rows(inspect.rules(), json);
    for rule in inspect.yara_rules() {
        if json {
            let object = serde_json::json!({
                "id": rule.name, "kind": "yara", "code": rule.code, "severity": rule.severity, "score": rule.score,
                "mode": "enforce", "description": { "vi": rule.description_vi, "en": rule.description },
            });
            out.push_str(&format!("{object}\n"));
        } else {
            out.push_str(&format!(
                "{:<32} {:>6.1}  {:<8} {:<40} {}\n",
                rule.name, rule.score, "enforce", rule.code, rule.description
            ));
        }
    }
    for entry in inspect.parked() {
        let Parked { rule, since, why, .. } = entry;
        if json {
            let object =
                serde_json::json!({ "id": rule, "kind": "yara", "mode": "parked", "since": since, "why": why });
            out.push_str(&format!("{object}\n"));
        } else {
            out.push_str(&format!("{rule:<32} {:>6}  {:<8} since {since}: {why}\n", "-", "parked"));
        }
    }
    if !json {
        let (rules, yara) = (inspect.rules().rules().len(), inspect.yara_rules().len());
        out.push_str(&format!("{rules} rules, {yara} YARA rules, {} parked\n", inspect.parked().len()));
    }
    out
}

/// Takes rules off the list; a running gateway sees it and loads again.
pub(super) fn unpark(args: &Unpark) -> ExitCode {
    place::finish("rules unpark", take_off(args))
}

fn take_off(args: &Unpark) -> Result<(), Trouble> {
    let folder = place::data_dir(&args.config)?.join(parked::FOLDER);
    let file = folder.join(parked::FILE);
    let text = match std::fs::read_to_string(&file) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        read => read.map_err(|error| Trouble::Said(format!("{}: {error}", file.display())))?,
    };
    let list = parked::read(&text).map_err(|why| Trouble::Said(format!("{}: {why}", file.display())))?;
    if let Some(unknown) = args.rules.iter().find(|name| list.iter().all(|entry| entry.rule != **name)) {
        let known: Vec<&str> = list.iter().map(|entry| entry.rule.as_str()).collect();
        let others =
            if known.is_empty() { "no rule is".to_owned() } else { format!("parked are: {}", known.join(", ")) };
        return Err(Trouble::Said(format!("{unknown} is not parked; {others}")));
    }
    let (gone, left): (Vec<Parked>, Vec<Parked>) =
        list.into_iter().partition(|entry| args.all || args.rules.contains(&entry.rule));
    if !gone.is_empty() {
        // Root may do this, and the gateway must still be able to read it.
        let written = disk::replace(&Real, &file, parked::write(&left).as_bytes()).and_then(|()| {
            let owner = std::fs::metadata(&folder)?;
            std::os::unix::fs::chown(&file, Some(owner.uid()), Some(owner.gid()))
        });
        written.map_err(|error| Trouble::Said(format!("{}: {error}", file.display())))?;
    }
    gone.iter().for_each(|entry| say(&format!("{} runs again\n", entry.rule)));
    Ok(())
}
