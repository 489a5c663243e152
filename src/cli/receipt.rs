//! `luytre receipt ID`: why a message got what it got. Reads the log files directly, so it works with the gateway
//! down as well.

use std::path::PathBuf;
use std::process::ExitCode;

use crate::mail::{Language, MailId};
use crate::report::record::search::{Found, Query};
use crate::verdict::receipt::render;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The id: it stands in our SMTP reply and in the header X-Luytre-Receipt.
    id: MailId,
    /// The gateway's data folder.
    #[arg(long, value_name = "FOLDER", default_value = "/var/lib/luytre")]
    data_dir: PathBuf,
    /// The configuration file: takes data folder and language from it.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print it as JSON.
    #[arg(long)]
    json: bool,
    /// Print it in English.
    #[arg(long)]
    english: bool,
}

#[must_use]
pub fn run(args: Args) -> ExitCode {
    let (data_dir, mut language) = match super::log::place(args.config.as_deref(), args.data_dir) {
        Ok(pair) => pair,
        Err(code) => return code,
    };
    if args.english {
        language = Language::En;
    }
    let folder = data_dir.join("receipts");
    let query = Query { id: Some(args.id), ..Query::default() };
    let found = match super::log::answers(&folder, &query) {
        Ok(found) => found,
        Err(error) => {
            eprintln!("{}: {error}", folder.display());
            return ExitCode::FAILURE;
        }
    };
    match found.into_iter().next() {
        None => {
            let id = args.id;
            eprintln!(
                "{}",
                super::say(language, &format!("không có biên nhận {id}"), &format!("there is no receipt {id}"))
            );
            ExitCode::FAILURE
        }
        Some(found) => {
            match (&found, args.json) {
                (Found::Message(receipt), false) => print!("{}", render(receipt, language)),
                _ => println!("{}", serde_json::to_string(&found).unwrap_or_default()),
            }
            ExitCode::SUCCESS
        }
    }
}
