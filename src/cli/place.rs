//! Where a gateway keeps its data, and whether it is there to be asked: for the commands that talk to it, with the
//! arguments that all of them take.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::DEFAULT_CONFIG;
use crate::gateway::control::client::Client;
use crate::gateway::control::{Reply, Request};
use crate::mail::{Language, Problem};

/// Why a command could not do what it was asked, as a sentence.
#[derive(Debug)]
pub enum Trouble {
    Config(Problem),
    NoConfig(PathBuf, std::io::Error),
    /// No folder of receipts.
    NoRecord(PathBuf),
    /// The folder that the configuration names is not there.
    NoData(PathBuf),
    /// Only the running gateway can do this.
    NotRunning(PathBuf),
    Socket(PathBuf, std::io::Error),
    Said(String),
}

impl Trouble {
    /// An answer that does not fit the question.
    #[must_use]
    pub fn unexpected(reply: &Reply) -> Self {
        match reply {
            Reply::Failed { why } => Self::Said(why.clone()),
            _ => Self::Said("the gateway is of another version; use the `luytre` that started it".to_owned()),
        }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(problem) => problem.fmt(f),
            Self::NoConfig(file, error) => {
                write!(f, "{}: cannot be read: {error}; name the file with --config", file.display())
            }
            Self::NoRecord(folder) => {
                let folder = folder.display();
                write!(
                    f,
                    "there is no folder {folder}; no mail was taken yet, or --config or --data-dir must name another"
                )
            }
            Self::NoData(data) => {
                write!(
                    f,
                    "there is no data folder {}; no gateway has run there yet, or data_dir is another",
                    data.display()
                )
            }
            Self::NotRunning(data) => {
                write!(f, "the gateway is not running on {}; start it and say this again", data.display())
            }
            Self::Socket(data, error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
                write!(f, "you may not talk to the gateway on {}: use its user, its group or root", data.display())
            }
            Self::Socket(data, error) => write!(f, "the gateway on {} does not answer: {error}", data.display()),
            Self::Said(why) => f.write_str(why),
        }
    }
}

/// What every command takes that talks to a gateway.
#[derive(Debug, clap::Args)]
pub struct Common {
    /// The configuration file; only its data_dir and language are read.
    #[arg(long, value_name = "FILE", default_value = DEFAULT_CONFIG, global = true)]
    config: PathBuf,
    /// Print JSON, one object a line.
    #[arg(long, global = true)]
    pub json: bool,
}

/// A command with commands of its own that talk to the gateway.
#[derive(Debug, clap::Args)]
pub struct Asking<A: clap::Subcommand> {
    #[command(flatten)]
    pub common: Common,
    #[command(subcommand)]
    pub action: A,
}

/// Who had this command started as somebody else, if it says so: a note beside the user whom the gateway sees.
#[must_use]
pub fn sudo() -> String {
    std::env::var("SUDO_USER").unwrap_or_default()
}

/// What a command needs of the configuration.
#[derive(Debug)]
pub struct Site {
    pub data: PathBuf,
    pub language: Language,
    /// `[quarantine] key`; empty when nothing is written.
    pub key: PathBuf,
}

impl Common {
    /// Reads the configuration; nothing else in it needs to be right. The data folder is there.
    pub fn site(&self) -> Result<Site, Trouble> {
        let site = site(&self.config)?;
        if site.data.is_dir() { Ok(site) } else { Err(Trouble::NoData(site.data)) }
    }
}

/// What the commands take that read the record. A folder may be named without any configuration.
#[derive(Debug, clap::Args)]
pub struct Record {
    /// The gateway's data folder; without it the configuration's, and without one /var/lib/luytre.
    #[arg(long, global = true, value_name = "FOLDER")]
    data_dir: Option<PathBuf>,
    /// The configuration file: takes data folder and language from it [default: /etc/luytre/luytre.toml if it is there].
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl Record {
    /// Where the record is kept, and the language to tell of it.
    pub fn site(&self) -> Result<Site, Trouble> {
        let usual = || Some(PathBuf::from(DEFAULT_CONFIG)).filter(|file| self.data_dir.is_none() && file.exists());
        let named = match self.config.clone().or_else(usual) {
            Some(config) => site(&config)?,
            None => Site {
                data: crate::policy::file::File::default().data_dir,
                language: Language::default(),
                key: PathBuf::new(),
            },
        };
        Ok(Site { data: self.data_dir.clone().unwrap_or(named.data), ..named })
    }
}

/// What a command came to: its trouble goes to standard error.
#[must_use]
pub fn finish(command: &str, done: Result<(), Trouble>) -> ExitCode {
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(trouble) => {
            eprintln!("luytre {command}: {trouble}");
            ExitCode::FAILURE
        }
    }
}

fn site(config: &Path) -> Result<Site, Trouble> {
    let text = std::fs::read_to_string(config).map_err(|error| Trouble::NoConfig(config.to_owned(), error))?;
    read(config, &text).map_err(Trouble::Config)
}

fn read(config: &Path, text: &str) -> Result<Site, Problem> {
    let table: toml::Table = toml::from_str(text).map_err(|error| {
        let offset = error.span().map_or(0, |span| span.start);
        Problem::new(config, error.message()).at_offset(text, offset)
    })?;
    let folder = match table.get("data_dir") {
        None => crate::policy::file::File::default().data_dir,
        Some(toml::Value::String(folder)) => PathBuf::from(folder),
        Some(_) => return Err(Problem::new(config, "data_dir is not a text")),
    };
    let language = match table.get("language").and_then(toml::Value::as_str) {
        Some("en") => Language::En,
        Some("vi") => Language::Vi,
        _ => Language::default(),
    };
    let base = config.parent().unwrap_or(Path::new("."));
    let data = if folder.is_absolute() { folder } else { base.join(folder) };
    let key = table.get("quarantine").and_then(|section| section.get("key")).and_then(toml::Value::as_str);
    let key = key.filter(|key| !key.is_empty()).map(|key| base.join(key)).unwrap_or_default();
    Ok(Site { data, language, key })
}

/// The running gateway, if there is one.
pub fn gateway(data: &Path) -> Result<Option<Client>, Trouble> {
    Client::connect(data).map_err(|error| Trouble::Socket(data.to_owned(), error))
}

/// The running gateway, for what only it can do.
pub fn needs_gateway(data: &Path) -> Result<Client, Trouble> {
    gateway(data)?.ok_or_else(|| Trouble::NotRunning(data.to_owned()))
}

/// Asks; a refusal is a trouble.
pub fn ask(client: &mut Client, request: &Request) -> Result<Reply, Trouble> {
    match client.ask(request) {
        Ok(Reply::Failed { why }) => Err(Trouble::Said(why)),
        Ok(reply) => Ok(reply),
        Err(error) => Err(Trouble::Said(format!("the gateway stopped answering: {error}"))),
    }
}

/// A stranger's text without what would steer a terminal.
#[must_use]
pub fn safe(text: &str) -> String {
    text.chars()
        .map(|c| {
            let steers = c.is_control() && c != '\t';
            let bends = matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
            if steers || bends { '\u{fffd}' } else { c }
        })
        .collect()
}
