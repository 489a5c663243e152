//! `luytre inspector`: the caged process that looks at messages. Started by the gateway, not by people, with its
//! socket as standard input. With `--probe NAME` it tries one forbidden thing after its first message and reports.

use std::process::ExitCode;

/// Not for people: the gateway starts its inspectors with it.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Address space, octets: everything together.
    #[arg(long, default_value_t = 512 << 20)]
    pub memory: u64,
    /// Try what the cage forbids: open, socket, execve, ptrace, kill, fork, mmap-exec, allocate-past-limit, …
    #[arg(long)]
    pub probe: Option<String>,
}

#[must_use]
pub fn run(args: Args) -> ExitCode {
    match crate::inspect::inspector::run(args.memory, args.probe.as_deref()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            // The gateway got the same sentence over the socket, if there is one.
            eprintln!("luytre inspector: {why}");
            ExitCode::FAILURE
        }
    }
}
