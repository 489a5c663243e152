//! `luytre inspector`

#[derive(Debug, clap::Args)]
pub struct Args {}

#[must_use]
pub fn run(_: Args) -> std::process::ExitCode {
    super::absent("inspector")
}
