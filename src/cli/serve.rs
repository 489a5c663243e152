//! `luytre serve`: the gateway.

use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The configuration file.
    #[arg(long, default_value = super::DEFAULT_CONFIG)]
    config: PathBuf,
}

#[must_use]
pub fn run(args: Args) -> ExitCode {
    crate::gateway::run(&args.config)
}
