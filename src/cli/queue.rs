//! `luytre queue`: what waits to be delivered, and what an operator can do about it.

mod waits;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Subcommand;

use super::DEFAULT_CONFIG;
use super::place::{Trouble, ask, data_dir, gateway, needs_gateway};
use crate::env::Clock;
use crate::env::disk::{Disk, Real};
use crate::gateway::control::{QueueFilter, Reply, Request};
use crate::mail::{AgencyId, MailId, Span, Timestamp};
use crate::spool::{Job, JobKey, Spool};
use waits::waits_for;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The configuration file; only its data_dir is read.
    #[arg(long, value_name = "FILE", default_value = DEFAULT_CONFIG, global = true)]
    config: PathBuf,
    /// Print JSON, one object a line.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Messages that wait, the oldest first. / Các thư đang chờ.
    List(Wanted),
    /// One message: its recipients and what each of them waits for. / Chi tiết một thư.
    Show(One),
    /// Try messages again now. / Thử gửi lại ngay.
    Retry(Chosen),
    /// Keep messages from being tried until they are let go. / Giữ lại, chưa gửi.
    Hold {
        #[command(flatten)]
        chosen: Chosen,
        /// Let them go again.
        #[arg(long)]
        release: bool,
    },
    /// Take messages out without delivering them; nobody is told. / Xóa khỏi hàng đợi.
    Remove(Chosen),
    /// Try everything that waits now, or what the filters choose. / Gửi lại tất cả.
    Flush(Wanted),
}

#[derive(Debug, clap::Args)]
struct One {
    /// Message id or queue number, as `list` shows them.
    id: Id,
}

#[derive(Debug, clap::Args)]
struct Wanted {
    /// Only mail of this agency.
    #[arg(long, value_name = "ID")]
    agency: Option<AgencyId>,
    /// Only mail that waits for a recipient whose address contains this.
    #[arg(long, value_name = "TEXT")]
    to: Option<String>,
    /// Only mail for this domain, or whose last answer names this host.
    #[arg(long, value_name = "NAME")]
    host: Option<String>,
    /// Only mail taken longer ago than this, like "4 h" or "2 days".
    #[arg(long, value_name = "TIME")]
    older_than: Option<Span>,
}

#[derive(Debug, clap::Args)]
struct Chosen {
    /// Message ids or queue numbers, as `list` shows them.
    #[arg(required_unless_present_any = ["agency", "to", "host", "older_than"])]
    ids: Vec<Id>,
    #[command(flatten)]
    wanted: Wanted,
}

/// How people name a message: all parcels of an id, or one by its number.
#[derive(Clone, Copy, Debug)]
enum Id {
    Mail(MailId),
    Job(JobKey),
}

impl std::str::FromStr for Id {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(number) = text.parse() {
            return Ok(Self::Job(JobKey(number)));
        }
        text.parse().map(Self::Mail).map_err(|error| error.to_string())
    }
}

impl Id {
    fn filter(self) -> QueueFilter {
        match self {
            Self::Mail(id) => QueueFilter { id: Some(id), ..QueueFilter::default() },
            Self::Job(key) => QueueFilter { key: Some(key), ..QueueFilter::default() },
        }
    }
}

impl Wanted {
    fn filter(&self, now: Timestamp) -> QueueFilter {
        QueueFilter {
            id: None,
            key: None,
            agency: self.agency.clone(),
            to: self.to.clone(),
            host: self.host.clone(),
            before: self.older_than.map(|span| now - span),
        }
    }
}

impl Chosen {
    /// One filter an id, or the one of the options.
    fn filters(&self, now: Timestamp) -> Vec<QueueFilter> {
        let wanted = self.wanted.filter(now);
        if self.ids.is_empty() {
            return vec![wanted];
        }
        let both = |id: &Id| QueueFilter { agency: wanted.agency.clone(), to: wanted.to.clone(), ..id.filter() };
        self.ids.iter().map(|id| QueueFilter { host: wanted.host.clone(), before: wanted.before, ..both(id) }).collect()
    }
}

#[must_use]
pub fn run(args: Args) -> ExitCode {
    match act(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(trouble) => {
            eprintln!("luytre queue: {trouble}");
            ExitCode::FAILURE
        }
    }
}

fn act(args: &Args) -> Result<(), Trouble> {
    let data = data_dir(&args.config).map_err(Trouble::Config)?;
    let now = Clock::system().now();
    match &args.action {
        Action::List(wanted) => {
            let mut count = 0_usize;
            each_job(&data, &wanted.filter(now), &mut |job| {
                count += 1;
                print_line(args.json, job, now);
            })?;
            if !args.json {
                println!("{count} {} waiting", if count == 1 { "message" } else { "messages" });
            }
            Ok(())
        }
        Action::Show(One { id }) => {
            let mut found = false;
            each_job(&data, &id.filter(), &mut |job| {
                found = true;
                if args.json { print_line(true, job, now) } else { print_whole(job, now) }
            })?;
            if found { Ok(()) } else { Err(Trouble::Said("there is no such message in the queue".to_owned())) }
        }
        Action::Retry(chosen) => {
            change(args, &chosen.filters(now), "made due", |keys| Request::QueueRetry { keys: Some(keys) })
        }
        Action::Hold { chosen, release } => {
            let (held, word) = if *release { (false, "let go") } else { (true, "held") };
            change(args, &chosen.filters(now), word, |keys| Request::QueueHold { keys, held })
        }
        Action::Remove(chosen) => change(args, &chosen.filters(now), "removed", |keys| Request::QueueRemove { keys }),
        Action::Flush(wanted) => {
            let filter = wanted.filter(now);
            if !filter.is_empty() {
                return change(args, &[filter], "made due", |keys| Request::QueueRetry { keys: Some(keys) });
            }
            let mut client = needs_gateway(&data)?;
            match ask(&mut client, &Request::QueueRetry { keys: None })? {
                Reply::Done { count } => tell(args.json, count, "made due"),
                other => return Err(Trouble::unexpected(&other)),
            }
            Ok(())
        }
    }
}

/// Every job that fits, from the gateway, or from the files when it is down.
fn each_job(data: &std::path::Path, filter: &QueueFilter, see: &mut dyn FnMut(&Job)) -> Result<(), Trouble> {
    let Some(mut client) = gateway(data)? else {
        eprintln!("The gateway is not running; reading the files in {}.", data.join("spool").display());
        let disk: Arc<dyn Disk> = Arc::new(Real);
        let jobs = Spool::look(&disk, &data.join("spool")).map_err(|error| Trouble::Said(error.to_string()))?;
        jobs.iter().filter(|job| filter.fits(job)).for_each(see);
        return Ok(());
    };
    let mut after = None;
    loop {
        match ask(&mut client, &Request::QueueList { filter: filter.clone(), after })? {
            Reply::Jobs { jobs, next } => {
                jobs.iter().for_each(&mut *see);
                match next {
                    Some(_) => after = next,
                    None => return Ok(()),
                }
            }
            other => return Err(Trouble::unexpected(&other)),
        }
    }
}

/// Finds what is meant, then asks for the change in portions.
fn change(
    args: &Args,
    filters: &[QueueFilter],
    word: &str,
    request: impl Fn(Vec<JobKey>) -> Request,
) -> Result<(), Trouble> {
    let data = data_dir(&args.config).map_err(Trouble::Config)?;
    let mut client = needs_gateway(&data)?;
    let (mut keys, mut count) = (Vec::new(), 0);
    for filter in filters {
        each_job(&data, filter, &mut |job| keys.push(job.key))?;
    }
    keys.sort_unstable();
    keys.dedup();
    for some in keys.chunks(500) {
        match ask(&mut client, &request(some.to_vec()))? {
            Reply::Done { count: done } => count += done,
            other => return Err(Trouble::unexpected(&other)),
        }
    }
    tell(args.json, count, word);
    if keys.is_empty() { Err(Trouble::Said("no message in the queue fits".to_owned())) } else { Ok(()) }
}

fn tell(json: bool, count: usize, word: &str) {
    if json {
        println!("{}", serde_json::json!({ "count": count, "done": word }));
    } else {
        println!("{count} {} {word}", if count == 1 { "message" } else { "messages" });
    }
}

fn print_line(json: bool, job: &Job, now: Timestamp) {
    if json {
        let mut value = serde_json::to_value(job).unwrap_or_default();
        if let Some(fields) = value.as_object_mut() {
            fields.insert("waits_for".to_owned(), waits_for(job, now).into());
            fields.insert("next_attempt_at".to_owned(), job.next_attempt.rfc3339().into());
            fields.insert("received".to_owned(), job.meta.received_at.rfc3339().into());
        }
        println!("{value}");
        return;
    }
    let to: Vec<String> = job.pending.iter().take(3).map(|p| p.mailbox.to_string()).collect();
    let more = job.pending.len().saturating_sub(to.len());
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    println!("{}  {}  <{}> → {}{more}", job.key.0, job.meta.id, job.meta.sender, to.join(", "));
    println!("    {}", super::place::safe(&waits_for(job, now)));
}

fn print_whole(job: &Job, now: Timestamp) {
    println!("Number      {}", job.key.0);
    println!("Message     {}", job.meta.id);
    println!("Taken       {}", job.meta.received_at);
    println!("Agency      {} ({})", job.meta.destination.agency(), job.meta.destination.direction());
    println!("Sender      <{}>", job.meta.sender);
    println!("Subject     {}", super::place::safe(&job.meta.subject));
    println!("Size        {} octets", job.size_bytes);
    println!("Attempts    {}", job.tries);
    println!("Waits       {}", super::place::safe(&waits_for(job, now)));
    for pending in &job.pending {
        let last = if pending.last.is_empty() { "not tried yet" } else { &pending.last };
        println!("  {}: {}", pending.mailbox, super::place::safe(last));
    }
    println!();
}
