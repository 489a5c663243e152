//! The command line: one file a command, each with its `Args` and `run`. Here: their list, help texts, exit codes.
//!
//! Exit codes: 0 done; 1 something is wrong and was told; 2 the command line was not understood.

pub mod bypass;
pub mod check;
pub mod demo;
pub mod dkim;
pub mod doctor;
mod engine;
pub mod engines;
mod examples;
pub mod init;
pub mod inspector;
pub mod log;
pub mod place;
pub mod quarantine;
mod quarantine_key;
pub mod queue;
pub mod receipt;
pub mod retro;
pub mod rules;
pub mod scan;
pub mod serve;
pub mod smime;
mod tlsrpt;
pub mod user;

use std::process::ExitCode;

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use crate::mail::Language;

/// Where a package puts the configuration.
pub const DEFAULT_CONFIG: &str = "/etc/luytre/luytre.toml";

/// Lũy Tre: a mail-gateway security appliance that says why.
///
/// Cổng bảo vệ thư điện tử: nhận, xác thực, kiểm tra, quyết định, và nói rõ lý do.
#[derive(Debug, Parser)]
#[command(
    name = "luytre",
    version,
    after_help = "Exit codes: 0 done, 1 something is wrong (it was told), 2 the command line was not understood.\n\
                  Start here:  luytre demo  ·  luytre init  ·  luytre check --config /etc/luytre/luytre.toml"
)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the gateway. / Chạy cổng thư.
    Serve(serve::Args),
    /// Read configuration, rules and certificates; print every problem. / Kiểm tra cấu hình.
    ///
    /// Exit code 0: usable; 1: there are errors.
    Check(check::Args),
    /// Inspect message files offline, as the gateway would. / Kiểm tra tệp thư.
    Scan(scan::Args),
    /// Test, list, replay or rate rules. / Thử và xem các quy tắc.
    Rules(rules::Args),
    /// See and steer the mail that waits. / Thư đang chờ chuyển.
    Queue(queue::Args),
    /// See, release or remove held mail. / Thư bị cách ly.
    Quarantine(quarantine::Args),
    /// The emergency switch: relay and virus engines only. / Công tắc khẩn cấp.
    Bypass(bypass::Args),
    /// Who received what is known to be bad today. / Ai đã nhận tệp mà hôm nay biết là độc hại.
    Retro(retro::Args),
    /// The virus engines: who answers, how old their signatures are. / Các động cơ diệt virus.
    Engine(engines::Args),
    /// Why a message got what it got. / Biên nhận của một thư.
    Receipt(receipt::Args),
    /// Find messages in the record. / Tìm thư trong nhật ký.
    Log(log::Args),
    /// Make DKIM keys, show the DNS record to publish. / Khóa DKIM.
    Dkim(dkim::Args),
    /// Look at S/MIME certificates and signatures. / Chứng thư và chữ ký S/MIME.
    Smime(smime::Args),
    /// Accounts that may log in to send outward. / Tài khoản gửi thư ra ngoài.
    User(user::Args),
    /// A few questions to a working configuration. / Vài câu hỏi là có cấu hình chạy được.
    Init(init::Args),
    /// What is wrong here, one sentence each, with what to do. / Khám máy: có gì không ổn.
    Doctor(doctor::Args),
    /// Gateway, stand-in server and sample mail on loopback: see it work. / Xem thử trên máy này.
    Demo(demo::Args),
    /// The sandboxed process that the gateway starts; not for people.
    #[command(hide = true)]
    Inspector(inspector::Args),
}

/// Reads the arguments and runs the command.
#[must_use]
pub fn main() -> ExitCode {
    let matches = examples::shown(Cli::command()).get_matches();
    match Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit()).command {
        Command::Serve(args) => serve::run(args),
        Command::Check(args) => check::run(args),
        Command::Scan(args) => scan::run(args),
        Command::Rules(args) => rules::run(args),
        Command::Queue(args) => queue::run(args),
        Command::Quarantine(args) => quarantine::run(args),
        Command::Bypass(args) => bypass::run(args),
        Command::Retro(args) => retro::run(args),
        Command::Engine(args) => engines::run(args),
        Command::Receipt(args) => receipt::run(args),
        Command::Log(args) => log::run(args),
        Command::Dkim(args) => dkim::run(args),
        Command::Smime(args) => smime::run(args),
        Command::User(args) => user::run(args),
        Command::Init(args) => init::run(args),
        Command::Doctor(args) => doctor::run(args),
        Command::Demo(args) => demo::run(args),
        Command::Inspector(args) => inspector::run(args),
    }
}

/// The sentence in the operator's language.
#[must_use]
pub const fn say<'a>(language: Language, vi: &'a str, en: &'a str) -> &'a str {
    match language {
        Language::Vi => vi,
        Language::En => en,
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::Cli;

    #[test]
    fn the_commands_contradict_nothing() {
        Cli::command().debug_assert();
    }
}
