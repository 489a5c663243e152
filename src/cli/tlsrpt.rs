//! `luytre log tlsrpt`: what came of TLS with the servers of other domains on one day, one report a domain and line,
//! in the JSON of RFC 8460 §4.4. Reads the files of the data folder.

use std::path::Path;
use std::process::ExitCode;

use crate::deliver::run::internet::{days, read_day};
use crate::env::disk::Real;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The day, UTC: 2026-11-21. Without it: the last one there is.
    #[arg(long, value_parser = super::log::day)]
    day: Option<String>,
    /// One domain only.
    #[arg(long)]
    domain: Option<String>,
}

pub(super) fn run(data_dir: &Path, args: &Args) -> ExitCode {
    let folder = data_dir.join("tlsrpt");
    let wrong = |error: std::io::Error| {
        eprintln!("{}: {error}", folder.display());
        ExitCode::FAILURE
    };
    let day = match &args.day {
        Some(day) => Some(day.clone()),
        None => match days(&Real, &folder) {
            Ok(days) => days.last().cloned(),
            Err(error) => return wrong(error),
        },
    };
    let counted = match day.map(|day| read_day(&Real, &folder, &day)) {
        None | Some(Ok(None)) => {
            let on = args.day.as_ref().map_or_else(String::new, |day| format!(" on {day}"));
            eprintln!("nothing was counted{on}: {} has no such day", folder.display());
            return ExitCode::FAILURE;
        }
        Some(Err(error)) => return wrong(error),
        Some(Ok(Some(counted))) => counted,
    };
    let wanted = |domain: &&str| args.domain.as_ref().is_none_or(|one| one.eq_ignore_ascii_case(domain));
    for report in counted.domains().filter(wanted).filter_map(|domain| counted.report(domain)) {
        println!("{report}");
    }
    if counted.uncounted > 0 {
        eprintln!("{} more sessions were not counted: too many domains on one day", counted.uncounted);
    }
    ExitCode::SUCCESS
}
