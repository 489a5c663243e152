//! `luytre receipt ID`: why a message got what it got. Reads the log files directly, so it works with the gateway
//! down as well.

use std::process::ExitCode;

use super::place::{Record, finish};
use crate::mail::{Language, MailId};
use crate::report::record::search::{Found, Query};
use crate::verdict::receipt::render;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The id: it stands in our SMTP reply and in the header X-Luytre-Receipt.
    id: MailId,
    #[command(flatten)]
    place: Record,
    /// Print it as JSON.
    #[arg(long)]
    json: bool,
    /// Print it in English.
    #[arg(long)]
    english: bool,
}

#[must_use]
pub fn run(args: Args) -> ExitCode {
    let (folder, mut language) = match super::log::receipts(&args.place) {
        Ok(pair) => pair,
        Err(trouble) => return finish("receipt", Err(trouble)),
    };
    if args.english {
        language = Language::En;
    }
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
