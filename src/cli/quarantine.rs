//! `luytre quarantine`: what is held and why; release and remove.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use base64::Engine as _;
use clap::Subcommand;

use super::place::{Asking, Site, Trouble, ask, finish, gateway, needs_gateway, safe, sudo};
use crate::env::Clock;
use crate::env::disk::Real;
use crate::gateway::control::{Errand, PAGE, Reply, Request};
use crate::mail::{AgencyId, Span, Timestamp};
use crate::quarantine::{Entry, Filter, HeldKey, Kind, Page, Shelf, What};

pub type Args = Asking<Action>;

#[derive(Debug, Subcommand)]
pub enum Action {
    /// Held messages, the newest first. / Các thư bị cách ly.
    List(Wanted),
    /// Why one is held, and its header. / Lý do và phần đầu thư.
    Show {
        /// Id as `list` shows it.
        id: HeldKey,
        /// The whole message as it came, octet by octet, to standard output. It may be harmful.
        #[arg(long, requires = "reason")]
        raw: bool,
        /// Why the whole of it must be seen; it is written down.
        #[arg(long)]
        reason: Option<String>,
    },
    /// Deliver held messages after all, once they were looked at again. / Cho thư đi tiếp sau khi kiểm tra lại.
    Release {
        #[command(flatten)]
        chosen: Chosen,
        /// A copy to this mailbox of an agency instead; the message stays held. May be given several times.
        #[arg(long, value_name = "ADDRESS")]
        to: Vec<String>,
        /// Whatever today's rules and engines find in it.
        #[arg(long, requires = "reason")]
        force: bool,
    },
    /// Delete held messages for good. / Xóa hẳn.
    Remove(Chosen),
    /// The keys that held mail is sealed with. / Khóa mã hóa thư cách ly.
    Key(super::quarantine_key::Args),
}

#[derive(Debug, clap::Args)]
pub struct Wanted {
    /// Only mail of this agency.
    #[arg(long, value_name = "ID")]
    agency: Option<AgencyId>,
    /// malware, spam, phish, policy, unscannable or undeliverable.
    #[arg(long, value_parser = kind)]
    kind: Option<Kind>,
    /// A finding it has, or the beginning of one: malware, archive.encrypted.
    #[arg(long, value_name = "CODE")]
    finding: Option<String>,
    /// Not held before: "7 days" ago, or 2026-11-21, or 2026-11-21T08:00 (UTC).
    #[arg(long, value_name = "TIME", value_parser = moment)]
    since: Option<Moment>,
    /// Held before, written the same way; a day is taken whole.
    #[arg(long, value_name = "TIME", value_parser = moment)]
    until: Option<Moment>,
    /// Part of the sender's address or of the From field.
    #[arg(long = "from", alias = "sender", value_name = "TEXT")]
    sender: Option<String>,
    /// Part of a recipient's address.
    #[arg(long = "to", alias = "recipient", value_name = "TEXT")]
    recipient: Option<String>,
    /// SHA-256 of the message as it came.
    #[arg(long, value_name = "HEX")]
    sha256: Option<String>,
    /// Part of the subject.
    #[arg(long, value_name = "TEXT")]
    subject: Option<String>,
    /// Also what was released already.
    #[arg(long)]
    released: bool,
    /// At most so many; 0: all.
    #[arg(long, default_value_t = 100)]
    limit: usize,
}

/// A moment as people name it.
#[derive(Clone, Copy, Debug)]
enum Moment {
    Ago(Span),
    At { begin: Timestamp, end: Timestamp },
}

fn moment(text: &str) -> Result<Moment, String> {
    if let Ok(span) = text.parse() {
        return Ok(Moment::Ago(span));
    }
    let wrong = || format!("\"{text}\" is no time: write it like \"7 days\", 2026-11-21 or 2026-11-21T08:00");
    let whole = match text.len() {
        10 => format!("{text}T00:00:00Z"),
        16 => format!("{text}:00Z"),
        _ => text.to_owned(),
    };
    let at: jiff::Timestamp = whole.parse().map_err(|_| wrong())?;
    let begin = Timestamp::from_millis(at.as_millisecond());
    Ok(Moment::At { begin, end: if text.len() == 10 { begin + Span::days(1) } else { begin } })
}

#[derive(Debug, clap::Args)]
pub struct Chosen {
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
            finding: self.finding.clone(),
            since: self.since.map(|since| match since {
                Moment::Ago(span) => now - span,
                Moment::At { begin, .. } => begin,
            }),
            until: self.until.map(|until| match until {
                Moment::Ago(span) => now - span,
                Moment::At { end, .. } => end,
            }),
            sender: self.sender.clone(),
            recipient: self.recipient.clone(),
            subject: self.subject.clone(),
            sha256: self.sha256.clone(),
            released: self.released,
            ..Filter::default()
        }
    }
}

#[must_use]
pub fn run(args: Args) -> ExitCode {
    finish("quarantine", act(&args))
}

fn act(args: &Args) -> Result<(), Trouble> {
    let site = args.common.site()?;
    match &args.action {
        Action::List(wanted) => list(args, wanted, &site),
        Action::Show { id, raw: true, reason } => whole(*id, reason.as_deref().unwrap_or_default(), &site),
        Action::Show { id, .. } => show(args, *id, &site),
        Action::Release { chosen, to, force } => change(args, chosen, "released", |key, sudo, reason| {
            Request::QuarantineRelease(Errand { key, sudo, reason, to: to.clone(), force: *force })
        }),
        Action::Remove(chosen) => {
            change(args, chosen, "removed", |key, sudo, reason| Request::QuarantineRemove { key, sudo, reason })
        }
        Action::Key(key) => super::quarantine_key::run(key, &site, args.common.json),
    }
}

fn folder(site: &Site) -> PathBuf {
    site.data.join("quarantine")
}

fn offline(site: &Site) {
    eprintln!("The gateway is not running; reading the files in {}.", folder(site).display());
}

fn list(args: &Args, wanted: &Wanted, site: &Site) -> Result<(), Trouble> {
    let mut filter = wanted.filter(Clock::system().now());
    let mut client = gateway(&site.data)?;
    if client.is_none() {
        offline(site);
    }
    let (mut count, most) = (0_usize, if wanted.limit == 0 { usize::MAX } else { wanted.limit });
    loop {
        // A page is bounded by the length of a reply too.
        filter.limit = PAGE.min(most.saturating_sub(count)).max(1);
        let page = match &mut client {
            None => Shelf::look(Arc::new(Real), &folder(site), &site.key, &filter)
                .map_err(|error| Trouble::Said(error.to_string()))?,
            Some(client) => match ask(client, &Request::QuarantineList { filter: filter.clone() })? {
                Reply::Held { entries, next } => Page { entries, next },
                other => return Err(Trouble::unexpected(&other)),
            },
        };
        page.entries.iter().for_each(|entry| print_line(args.common.json, entry));
        count = count.saturating_add(page.entries.len());
        filter.after = page.next;
        if filter.after.is_none() || count >= most {
            break;
        }
    }
    if !args.common.json {
        let more = if filter.after.is_some() { "; there are more (--limit)" } else { "" };
        println!("{count} held{more}");
    }
    Ok(())
}

fn show(args: &Args, id: HeldKey, site: &Site) -> Result<(), Trouble> {
    match gateway(&site.data)? {
        None => {
            offline(site);
            let found = Shelf::look_at(Arc::new(Real), &folder(site), &site.key, id);
            let (entry, keep) = found.map_err(|error| Trouble::Said(error.to_string()))?;
            print_whole(args.common.json, &entry, &String::from_utf8_lossy(&keep.parcel.head));
            Ok(())
        }
        Some(mut client) => match ask(&mut client, &Request::QuarantineShow { key: id })? {
            Reply::Message { entry, headers } => {
                print_whole(args.common.json, &entry, &headers);
                Ok(())
            }
            other => Err(Trouble::unexpected(&other)),
        },
    }
}

/// The whole message: only through the gateway, which writes down who saw it and why.
fn whole(key: HeldKey, reason: &str, site: &Site) -> Result<(), Trouble> {
    let (mut client, mut offset) = (needs_gateway(&site.data)?, 0);
    loop {
        let request = Request::QuarantineRead { key, offset, sudo: sudo(), reason: reason.to_owned() };
        let Reply::Piece { octets } = ask(&mut client, &request)? else {
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

/// Does it to each id, and goes on behind those for which it fails.
fn change(
    args: &Args,
    chosen: &Chosen,
    word: &str,
    request: impl Fn(HeldKey, String, String) -> Request,
) -> Result<(), Trouble> {
    let mut client = needs_gateway(&args.common.site()?.data)?;
    let sudo = sudo();
    let mut failed = 0;
    for id in &chosen.ids {
        let done = ask(&mut client, &request(*id, sudo.clone(), chosen.reason.clone()));
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
    if !held.sha256.is_empty() {
        println!("SHA-256     {}", held.sha256);
    }
    if entry.copies > 1 {
        println!("Mailing     {} copies of it are held together", entry.copies);
    }
    for deed in &entry.deeds {
        let what = match deed.what {
            What::Released => "Released",
            What::Forwarded => "Forwarded",
            What::Shown => "Shown",
            What::Removed => "Removed",
        };
        let (to, forced) = (deed.to.join(", "), if deed.forced { " (forced)" } else { "" });
        println!("{what:<11} {} by {} {to}{forced}: {}", deed.at, safe(&deed.by), safe(&deed.reason));
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
