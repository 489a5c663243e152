//! `luytre quarantine`: what is held and why; release and remove.

use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;

use base64::Engine as _;
use clap::Subcommand;

use super::place::{Common, Site, Trouble, ask, finish, gateway, needs_gateway, safe};
use crate::env::Clock;
use crate::env::disk::Real;
use crate::gateway::control::{Reply, Request};
use crate::mail::{AgencyId, Span, Timestamp};
use crate::quarantine::{Entry, Filter, HeldKey, Kind, Shelf};

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Held messages, the newest first. / Các thư bị cách ly.
    List(Wanted),
    /// Why one is held, and its header. / Lý do và phần đầu thư.
    Show {
        /// Id as `list` shows it.
        id: HeldKey,
        /// The whole message, octet by octet, to standard output. It may be harmful.
        #[arg(long)]
        raw: bool,
    },
    /// Deliver held messages after all. / Cho thư đi tiếp.
    Release(Chosen),
    /// Delete held messages for good. / Xóa hẳn.
    Remove(Chosen),
}

#[derive(Debug, clap::Args)]
struct Wanted {
    /// Only mail of this agency.
    #[arg(long, value_name = "ID")]
    agency: Option<AgencyId>,
    /// malware, spam, phish, policy, unscannable or undeliverable.
    #[arg(long, value_parser = kind)]
    kind: Option<Kind>,
    /// Only mail held within this time, like "4 h" or "7 days".
    #[arg(long, value_name = "TIME")]
    since: Option<Span>,
    /// Part of the sender's address or of the From field.
    #[arg(long, value_name = "TEXT")]
    sender: Option<String>,
    /// Part of a recipient's address.
    #[arg(long, value_name = "TEXT")]
    recipient: Option<String>,
    /// Part of the subject.
    #[arg(long, value_name = "TEXT")]
    subject: Option<String>,
    /// Also what was released already.
    #[arg(long)]
    released: bool,
    /// At most so many (1000 at most).
    #[arg(long, default_value_t = 100)]
    limit: usize,
}

#[derive(Debug, clap::Args)]
struct Chosen {
    /// Ids as `list` shows them.
    #[arg(required = true)]
    ids: Vec<HeldKey>,
    /// Why; it is kept with the message.
    #[arg(long, default_value = "")]
    reason: String,
}

fn kind(text: &str) -> Result<Kind, String> {
    let words = Kind::ALL.map(Kind::word).join(", ");
    Kind::ALL.into_iter().find(|kind| kind.word() == text).ok_or_else(|| format!("use one of {words}"))
}

impl Wanted {
    fn filter(&self, now: Timestamp) -> Filter {
        Filter {
            agency: self.agency.clone(),
            kind: self.kind,
            since: self.since.map(|span| now - span),
            sender: self.sender.clone(),
            recipient: self.recipient.clone(),
            subject: self.subject.clone(),
            released: self.released,
            limit: self.limit,
        }
    }
}

#[must_use]
pub fn run(args: Args) -> ExitCode {
    finish("quarantine", act(&args))
}

fn act(args: &Args) -> Result<(), Trouble> {
    let Site { data, .. } = args.common.site()?;
    let folder = data.join("quarantine");
    let offline = || eprintln!("The gateway is not running; reading the files in {}.", folder.display());
    match &args.action {
        Action::List(wanted) => {
            let filter = wanted.filter(Clock::system().now());
            let entries = match gateway(&data)? {
                None => {
                    offline();
                    Shelf::look(Arc::new(Real), &folder, &filter).map_err(|error| Trouble::Said(error.to_string()))?
                }
                Some(mut client) => match ask(&mut client, &Request::QuarantineList { filter })? {
                    Reply::Held { entries } => entries,
                    other => return Err(Trouble::unexpected(&other)),
                },
            };
            entries.iter().for_each(|entry| print_line(args.common.json, entry));
            if !args.common.json {
                println!("{} held", entries.len());
            }
            Ok(())
        }
        Action::Show { id, raw } => match gateway(&data)? {
            None => {
                offline();
                let found = Shelf::look_at(Arc::new(Real), &folder, *id);
                let (entry, parcel) = found.map_err(|error| Trouble::Said(error.to_string()))?;
                if *raw {
                    return print_raw(&[&parcel.head, &parcel.body]);
                }
                print_whole(args.common.json, &entry, &String::from_utf8_lossy(&parcel.head));
                Ok(())
            }
            Some(mut client) if *raw => {
                let mut offset = 0;
                loop {
                    let Reply::Piece { octets } = ask(&mut client, &Request::QuarantineRead { key: *id, offset })?
                    else {
                        return Err(Trouble::Said("the gateway answered something else".to_owned()));
                    };
                    let octets = base64::engine::general_purpose::STANDARD.decode(octets);
                    let octets = octets.map_err(|error| Trouble::Said(error.to_string()))?;
                    if octets.is_empty() {
                        return Ok(());
                    }
                    print_raw(&[&octets])?;
                    offset += octets.len() as u64;
                }
            }
            Some(mut client) => match ask(&mut client, &Request::QuarantineShow { key: *id })? {
                Reply::Message { entry, headers } => {
                    print_whole(args.common.json, &entry, &headers);
                    Ok(())
                }
                other => Err(Trouble::unexpected(&other)),
            },
        },
        Action::Release(chosen) => {
            change(args, chosen, "released", |key, by, reason| Request::QuarantineRelease { key, by, reason })
        }
        Action::Remove(chosen) => {
            change(args, chosen, "removed", |key, by, reason| Request::QuarantineRemove { key, by, reason })
        }
    }
}

/// Does it to each id, and goes on behind those for which it fails.
fn change(
    args: &Args,
    chosen: &Chosen,
    word: &str,
    request: impl Fn(HeldKey, String, String) -> Request,
) -> Result<(), Trouble> {
    let mut client = needs_gateway(&args.common.site()?.data)?;
    let who = std::env::var("SUDO_USER").or_else(|_| std::env::var("USER")).unwrap_or_else(|_| "operator".to_owned());
    let mut failed = 0;
    for id in &chosen.ids {
        let done = ask(&mut client, &request(*id, who.clone(), chosen.reason.clone()));
        match &done {
            Ok(Reply::Done { .. }) if args.common.json => println!("{}", serde_json::json!({ "id": id, "done": word })),
            Ok(Reply::Done { .. }) => println!("{id} {word}"),
            Ok(other) => return Err(Trouble::unexpected(other)),
            Err(trouble) => {
                failed += 1;
                eprintln!("{id}: {trouble}");
            }
        }
    }
    match failed {
        0 => Ok(()),
        n => Err(Trouble::Said(format!("{n} of {} not {word}", chosen.ids.len()))),
    }
}

fn print_raw(parts: &[&[u8]]) -> Result<(), Trouble> {
    let mut out = std::io::stdout().lock();
    parts.iter().try_for_each(|part| out.write_all(part)).map_err(|error| Trouble::Said(error.to_string()))
}

fn print_line(json: bool, entry: &Entry) {
    if json {
        return println!("{}", value(entry));
    }
    let (held, to) = (&entry.held, entry.held.meta.recipients.first());
    let to = to.map_or_else(String::new, |recipient| recipient.mailbox.to_string());
    let note =
        entry.released.as_ref().map_or_else(String::new, |r| format!(" [released by {} at {}]", safe(&r.by), r.at));
    let kind = held.kind.word();
    println!(
        "{}  {}  {kind:<13} <{}> → {to}  {}{note}",
        entry.key,
        held.held_at,
        held.meta.sender,
        safe(&held.meta.subject)
    );
}

fn print_whole(json: bool, entry: &Entry, headers: &str) {
    if json {
        let mut value = value(entry);
        if let Some(fields) = value.as_object_mut() {
            fields.insert("headers".to_owned(), headers.into());
        }
        return println!("{value}");
    }
    let held = &entry.held;
    println!("Id          {}", entry.key);
    println!("Held        {} as {}, until {}", held.held_at, held.kind.word(), held.expires_at);
    println!("Because of  {} (score {})", safe(&held.because.join(", ")), held.score);
    println!("Agency      {} ({})", held.meta.destination.agency(), held.meta.destination.direction());
    println!("Sender      <{}> from {}", held.meta.sender, safe(&held.client_ip));
    for recipient in &held.meta.recipients {
        println!("Recipient   {}", recipient.mailbox);
    }
    println!("Size        {} octets", held.size_bytes);
    if let Some(release) = &entry.released {
        println!("Released    {} by {}: {}", release.at, safe(&release.by), safe(&release.reason));
    }
    println!();
    headers.lines().for_each(|line| println!("{}", safe(line)));
}

/// An entry with its times as people read them.
fn value(entry: &Entry) -> serde_json::Value {
    let mut value = serde_json::to_value(entry).unwrap_or_default();
    if let Some(fields) = value.as_object_mut() {
        fields.insert("id".to_owned(), entry.key.to_string().into());
        fields.insert("held_at".to_owned(), entry.held.held_at.rfc3339().into());
        fields.insert("expires_at".to_owned(), entry.held.expires_at.rfc3339().into());
    }
    value
}
