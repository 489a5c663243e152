//! `luytre user`: the accounts that may log in on relay listeners. A password is asked for at the terminal or read from
//! standard input, never an argument (those are seen by everybody on the machine). A running gateway follows the file.

use std::fs::{self, OpenOptions};
use std::io::{self, BufRead as _, IsTerminal as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Subcommand;

use super::DEFAULT_CONFIG;
use crate::env::Dice;
use crate::mail::AgencyId;
use crate::policy::run::examine;
use crate::session::accounts::{Accounts, PASSWORD_MIN, line};

/// Accounts that may log in to send outward.
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
    /// The configuration file; its [auth] users is the file of accounts.
    #[arg(long, value_name = "FILE", default_value = DEFAULT_CONFIG, global = true)]
    config: PathBuf,
    /// The file of accounts itself.
    #[arg(long, value_name = "FILE", global = true)]
    users: Option<PathBuf>,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// A new account; its password is the first line of standard input. / Tạo tài khoản.
    Add {
        /// The name to log in with, like an address
        name: String,
        /// Whose mail it may send: the id of an [[agency]]
        #[arg(long)]
        agency: AgencyId,
    },
    /// A new password for an account; it is the first line of standard input. / Đổi mật khẩu.
    Passwd {
        /// The account
        name: String,
    },
    /// Takes an account away; open sessions of it send no more. / Xóa tài khoản.
    Remove {
        /// The account
        name: String,
    },
    /// Every account and its agency. / Các tài khoản và cơ quan.
    List,
}

#[must_use]
pub fn run(args: Args) -> ExitCode {
    let outcome = place(&args).and_then(|file| match args.command {
        Command::Add { name, agency } => add(&file, &name, &agency),
        Command::Passwd { name } => passwd(&file, &name),
        Command::Remove { name } => remove(&file, &name),
        Command::List => list(&file),
    });
    match outcome {
        Ok(text) => {
            print!("{text}");
            ExitCode::SUCCESS
        }
        Err(message) => {
            eprintln!("luytre user: {message}");
            ExitCode::FAILURE
        }
    }
}

fn place(args: &Args) -> Result<PathBuf, String> {
    if let Some(file) = &args.users {
        return Ok(file.clone());
    }
    let built = examine(&args.config);
    // With errors elsewhere in the configuration accounts can still be named by --users.
    let policy = built.policy.ok_or_else(|| {
        let problems: String = built.problems.iter().map(|problem| format!("{problem}\n")).collect();
        format!("{problems}the configuration has errors; mend them, or name the file of accounts with --users")
    })?;
    let users = policy.auth.users.clone();
    if users.as_os_str().is_empty() {
        Err("set [auth] users first, or name the file with --users".into())
    } else {
        Ok(users)
    }
}

/// The file's text and what it says; a file that is not there is empty.
fn read(file: &Path) -> Result<(String, Accounts), String> {
    let text = match fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(format!("{}: {error}", file.display())),
    };
    let accounts = Accounts::parse(&text).map_err(|bad| {
        let lines: Vec<String> =
            bad.iter().map(|(line, error)| format!("{}:{line}: {error}", file.display())).collect();
        lines.join("\n")
    })?;
    Ok((text, accounts))
}

/// A new file beside the old one, synced, then in its place: nobody ever reads half of it. Owner and rights stay.
fn write(file: &Path, text: &str) -> Result<(), String> {
    let told = |error: io::Error| format!("{}: {error}", file.display());
    let mut beside = file.as_os_str().to_owned();
    beside.push(".new");
    let beside = PathBuf::from(beside);
    match fs::remove_file(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(told(error)),
        _ => {}
    }
    let before = fs::metadata(file).ok();
    let mode = before.as_ref().map_or(0o640, |data| data.mode() & 0o777);
    let mut new = OpenOptions::new().write(true).create_new(true).mode(mode).open(&beside).map_err(told)?;
    if let Some(before) = before {
        // Only root may give a file away; others made it themselves.
        let _ = std::os::unix::fs::chown(&beside, Some(before.uid()), Some(before.gid()));
    }
    new.write_all(text.as_bytes()).and_then(|()| new.sync_all()).map_err(told)?;
    fs::rename(&beside, file).map_err(told)
}

fn password() -> Result<String, String> {
    if io::stdin().is_terminal() {
        eprintln!("Password ({PASSWORD_MIN} characters or more; it is shown as you type):");
    }
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line).map_err(|error| format!("no password was read: {error}"))?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

fn made(name: &str, agency: &AgencyId) -> Result<String, String> {
    let mut salt = [0; 16];
    Dice::system().fill(&mut salt);
    line(name, agency, &password()?, salt).map_err(|error| error.to_string())
}

fn add(file: &Path, name: &str, agency: &AgencyId) -> Result<String, String> {
    let (mut text, accounts) = read(file)?;
    if accounts.find(name).is_some() {
        return Err(format!("{name} exists; luytre user passwd {name} gives it a new password"));
    }
    let new = made(name, agency)?;
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    text.push_str(&new);
    text.push('\n');
    write(file, &text)?;
    Ok(format!("{name} may send as agency {agency} ({})\n", file.display()))
}

/// As [`read`], of a file that must be there.
fn read_existing(file: &Path) -> Result<(String, Accounts), String> {
    if file.exists() {
        return read(file);
    }
    Err(format!("{}: there is no such file yet; luytre user add makes it", file.display()))
}

fn passwd(file: &Path, name: &str) -> Result<String, String> {
    let (text, accounts) = read_existing(file)?;
    let account = accounts.find(name).ok_or_else(|| format!("there is no account {name}"))?;
    let new = made(&account.name, &account.agency)?;
    write(file, &without(&text, &account.name, Some(&new)))?;
    Ok(format!("{name} has a new password\n"))
}

fn remove(file: &Path, name: &str) -> Result<String, String> {
    let (text, accounts) = read_existing(file)?;
    let account = accounts.find(name).ok_or_else(|| format!("there is no account {name}"))?;
    write(file, &without(&text, &account.name, None))?;
    Ok(format!("{name} is gone\n"))
}

fn list(file: &Path) -> Result<String, String> {
    let (_, accounts) = read_existing(file)?;
    Ok(accounts.iter().map(|account| format!("{}\t{}\n", account.name, account.agency)).collect())
}

/// The text with another line for the account, or none; comments stay where they are.
fn without(text: &str, name: &str, instead: Option<&str>) -> String {
    let own = |line: &str| {
        let line = line.trim();
        !line.starts_with('#') && line.split(':').next().is_some_and(|first| first.trim().to_lowercase() == name)
    };
    let lines = text.lines().filter_map(|line| if own(line) { instead } else { Some(line) });
    lines.map(|line| format!("{line}\n")).collect()
}
