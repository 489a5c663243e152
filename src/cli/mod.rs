//! The command line: one file a command, each with its `Args` and `run`. Here: their list, help texts, exit codes.
//!
//! Exit codes: 0 done; 1 something is wrong and was told; 2 the command line was not understood.

pub mod check;
pub mod demo;
pub mod dkim;
pub mod doctor;
mod engine;
pub mod init;
pub mod inspector;
pub mod log;
pub mod place;
pub mod quarantine;
pub mod queue;
pub mod receipt;
pub mod rules;
pub mod scan;
pub mod serve;
pub mod smime;
mod tlsrpt;
pub mod user;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

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
    #[command(after_help = "Example:  luytre serve --config /etc/luytre/luytre.toml")]
    Serve(serve::Args),
    /// Read configuration, rules and certificates; print every problem. / Kiểm tra cấu hình.
    #[command(
        after_help = "Example:  luytre check --config /etc/luytre/luytre.toml\nExit code 0: usable; 1: there are errors."
    )]
    Check(check::Args),
    /// Inspect message files offline, as the gateway would. / Kiểm tra tệp thư.
    #[command(after_help = "Example:  luytre scan --config config/luytre.toml --json tests/corpus/*.eml")]
    Scan(scan::Args),
    /// Test, list or replay rules. / Thử và xem các quy tắc.
    #[command(after_help = "Example:  luytre rules test rules/spam")]
    Rules(rules::Args),
    /// See and steer the mail that waits. / Thư đang chờ chuyển.
    #[command(after_help = "Example:  luytre queue list --json")]
    Queue(queue::Args),
    /// See, release or remove held mail. / Thư bị cách ly.
    #[command(after_help = "Example:  luytre quarantine release 01KAN5QF3W8Z5T2D9H6X0V7RBM")]
    Quarantine(quarantine::Args),
    /// Why a message got what it got. / Biên nhận của một thư.
    #[command(after_help = "Example:  luytre receipt 01KAN5QF3W8Z5T2D9H6X0V7RBM")]
    Receipt(receipt::Args),
    /// Find messages in the record. / Tìm thư trong nhật ký.
    #[command(after_help = "Example:  luytre log search --to an@tttt.tinh.gov.vn")]
    Log(log::Args),
    /// Make DKIM keys, show the DNS record to publish. / Khóa DKIM.
    #[command(after_help = "Example:  luytre dkim new --domain tttt.tinh.gov.vn --selector lt2026")]
    Dkim(dkim::Args),
    /// Look at S/MIME certificates and signatures. / Chứng thư và chữ ký S/MIME.
    #[command(after_help = "Example:  luytre smime verify --trust certs/trust message.eml")]
    Smime(smime::Args),
    /// Accounts that may log in to send outward. / Tài khoản gửi thư ra ngoài.
    #[command(
        after_help = "Example:  luytre user add xa-a@tttt.tinh.gov.vn --agency so-tttt --users /etc/luytre/users"
    )]
    User(user::Args),
    /// A few questions to a working configuration. / Vài câu hỏi là có cấu hình chạy được.
    #[command(
        after_help = "Example:  luytre init\n          luytre init --yes --domain tttt.tinh.gov.vn --next-hop 10.1.2.3:25"
    )]
    Init(init::Args),
    /// What is wrong here, one sentence each, with what to do. / Khám máy: có gì không ổn.
    #[command(after_help = "Example:  luytre doctor --config /etc/luytre/luytre.toml")]
    Doctor(doctor::Args),
    /// Gateway, stand-in server and sample mail on loopback: see it work. / Xem thử trên máy này.
    #[command(after_help = "Example:  luytre demo --once")]
    Demo(demo::Args),
    /// The sandboxed process that the gateway starts; not for people.
    #[command(hide = true)]
    Inspector(inspector::Args),
}

/// Reads the arguments and runs the command.
#[must_use]
pub fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Serve(args) => serve::run(args),
        Command::Check(args) => check::run(args),
        Command::Scan(args) => scan::run(args),
        Command::Rules(args) => rules::run(args),
        Command::Queue(args) => queue::run(args),
        Command::Quarantine(args) => quarantine::run(args),
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
    fn every_command_has_a_help_text_and_all_but_the_hidden_one_an_example() {
        let cli = Cli::command();
        cli.clone().debug_assert();
        for command in cli.get_subcommands() {
            assert!(command.get_about().is_some(), "{}", command.get_name());
            let example = command.get_after_help().is_some_and(|h| h.to_string().contains("Example:  luytre"));
            assert!(example || command.is_hide_set(), "{} has no example", command.get_name());
        }
    }
}
