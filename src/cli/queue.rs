//! `luytre queue`: what waits to be delivered, and what an operator can do about it.

mod waits;

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Subcommand;

use super::place::{Asking, Site, Trouble, ask, finish, gateway, needs_gateway, safe};
use super::say;
use crate::deliver::Standing;
use crate::env::Clock;
use crate::env::disk::{Disk, Real};
use crate::gateway::control::{QueueFilter, Reply, Request, State};
use crate::mail::{AgencyId, Language, MailId, Span, Timestamp};
use crate::spool::{Job, JobKey, Spool};
use waits::waits_for;

pub type Args = Asking<Action>;

#[derive(Debug, Subcommand)]
pub enum Action {
    /// Messages that wait, the oldest first. / Các thư đang chờ.
    List {
        #[command(flatten)]
        wanted: Wanted,
        /// At most so many; 0 for all.
        #[arg(long, value_name = "N", default_value_t = 1000)]
        limit: usize,
    },
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
pub struct One {
    /// Message id or queue number, as `list` shows them.
    id: Id,
}

#[derive(Debug, clap::Args)]
pub struct Wanted {
    /// Only mail of this agency.
    #[arg(long, value_name = "ID")]
    agency: Option<AgencyId>,
    /// Only mail that waits for a recipient whose address contains this.
    #[arg(long, value_name = "TEXT")]
    to: Option<String>,
    /// Only mail whose sender's address contains this; "<>" for reports.
    #[arg(long, value_name = "TEXT")]
    from: Option<String>,
    /// Only mail for this domain, or whose last answer names this host.
    #[arg(long, value_name = "NAME")]
    host: Option<String>,
    /// Only mail taken longer ago than this, like "4 h" or "2 days".
    #[arg(long, value_name = "TIME")]
    older_than: Option<Span>,
    /// held: by an operator; deferred: tried already; new: not tried yet.
    #[arg(long, value_parser = state)]
    state: Option<State>,
}

#[derive(Debug, clap::Args)]
pub struct Chosen {
    /// Message ids or queue numbers, as `list` shows them.
    #[arg(required_unless_present_any = ["agency", "to", "from", "host", "older_than", "state"])]
    ids: Vec<Id>,
    #[command(flatten)]
    wanted: Wanted,
}

fn state(text: &str) -> Result<State, String> {
    State::ALL.into_iter().find(|state| state.word() == text).ok_or_else(|| {
        let words = State::ALL.map(State::word).join(", ");
        format!("use one of {words}")
    })
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
    fn filter(self, other: &QueueFilter) -> QueueFilter {
        match self {
            Self::Mail(id) => QueueFilter { id: Some(id), ..other.clone() },
            Self::Job(key) => QueueFilter { key: Some(key), ..other.clone() },
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
            from: self.from.clone(),
            host: self.host.clone(),
            before: self.older_than.map(|span| now - span),
            state: self.state,
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
        self.ids.iter().map(|id| id.filter(&wanted)).collect()
    }
}

#[must_use]
pub fn run(args: Args) -> ExitCode {
    finish("queue", act(&args))
}

fn act(args: &Args) -> Result<(), Trouble> {
    let site = args.common.site()?;
    let now = Clock::system().now();
    let show = Show { json: args.common.json, language: site.language, now };
    match &args.action {
        Action::List { wanted, limit } => list(&site, &wanted.filter(now), *limit, show),
        Action::Show(One { id }) => {
            let mut found = false;
            each_job(&site.data, &id.filter(&QueueFilter::default()), &mut |job, standing| {
                found = true;
                if show.json {
                    show.line(job, standing)
                } else {
                    show.whole(job, standing)
                }
                true
            })?;
            if found { Ok(()) } else { Err(Trouble::Said("there is no such message in the queue".to_owned())) }
        }
        Action::Retry(chosen) => {
            change(args, &site, &chosen.filters(now), "made due", |keys| Request::QueueRetry { keys: Some(keys) })
        }
        Action::Hold { chosen, release } => {
            let (held, word) = if *release { (false, "let go") } else { (true, "held") };
            change(args, &site, &chosen.filters(now), word, |keys| Request::QueueHold { keys, held })
        }
        Action::Remove(chosen) => {
            change(args, &site, &chosen.filters(now), "removed", |keys| Request::QueueRemove { keys })
        }
        Action::Flush(wanted) => {
            let filter = wanted.filter(now);
            if !filter.is_empty() {
                return change(args, &site, &[filter], "made due", |keys| Request::QueueRetry { keys: Some(keys) });
            }
            let mut client = needs_gateway(&site.data)?;
            match ask(&mut client, &Request::QueueRetry { keys: None })? {
                Reply::Done { count } => tell(args.common.json, count, "made due"),
                other => return Err(Trouble::unexpected(&other)),
            }
            Ok(())
        }
    }
}

/// Prints as it reads: a queue of a million messages takes no more memory here than a page of it.
fn list(site: &Site, filter: &QueueFilter, limit: usize, show: Show) -> Result<(), Trouble> {
    let (mut count, mut more) = (0_usize, false);
    each_job(&site.data, filter, &mut |job, standing| {
        more = limit > 0 && count >= limit;
        if !more {
            count = count.saturating_add(1);
            show.line(job, standing);
        }
        !more
    })?;
    if show.json {
        return Ok(());
    }
    match (show.language, more) {
        (Language::Vi, true) => println!("{count} thư đầu tiên (còn nữa: --limit)"),
        (Language::Vi, false) => println!("{count} thư đang chờ"),
        (Language::En, true) => println!("the first {count} messages (there are more: --limit)"),
        (Language::En, false) => println!("{count} {} waiting", if count == 1 { "message" } else { "messages" }),
    }
    Ok(())
}

/// Shows every job that fits, with what the gateway says of it, until `see` says false. With the gateway down the files
/// are read.
fn each_job(
    data: &Path,
    filter: &QueueFilter,
    see: &mut dyn FnMut(&Job, Option<&Standing>) -> bool,
) -> Result<(), Trouble> {
    let Some(mut client) = gateway(data)? else {
        eprintln!("The gateway is not running; reading the files in {}.", data.join("spool").display());
        let disk: Arc<dyn Disk> = Arc::new(Real);
        let looked = Spool::survey(&disk, &data.join("spool"), &mut |job| !filter.fits(&job) || see(&job, None));
        return looked.map_err(|error| Trouble::Said(error.to_string()));
    };
    let mut after = None;
    loop {
        match ask(&mut client, &Request::QueueList { filter: filter.clone(), after })? {
            Reply::Jobs { jobs, next, standings } => {
                for (place, job) in jobs.iter().enumerate() {
                    if !see(job, standings.get(place)) {
                        return Ok(());
                    }
                }
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
    site: &Site,
    filters: &[QueueFilter],
    word: &str,
    request: impl Fn(Vec<JobKey>) -> Request,
) -> Result<(), Trouble> {
    let mut client = needs_gateway(&site.data)?;
    let (mut keys, mut count) = (Vec::new(), 0);
    for filter in filters {
        each_job(&site.data, filter, &mut |job, _| {
            keys.push(job.key);
            true
        })?;
    }
    keys.sort_unstable();
    keys.dedup();
    for some in keys.chunks(500) {
        match ask(&mut client, &request(some.to_vec()))? {
            Reply::Done { count: done } => count += done,
            other => return Err(Trouble::unexpected(&other)),
        }
    }
    tell(args.common.json, count, word);
    if keys.is_empty() { Err(Trouble::Said("no message in the queue fits".to_owned())) } else { Ok(()) }
}

fn tell(json: bool, count: usize, word: &str) {
    if json {
        println!("{}", serde_json::json!({ "count": count, "done": word }));
    } else {
        println!("{count} {} {word}", if count == 1 { "message" } else { "messages" });
    }
}

/// How jobs are shown.
#[derive(Clone, Copy, Debug)]
struct Show {
    json: bool,
    language: Language,
    now: Timestamp,
}

impl Show {
    fn line(self, job: &Job, standing: Option<&Standing>) {
        let waits = waits_for(job, standing, self.now, self.language);
        if self.json {
            let mut value = serde_json::to_value(job).unwrap_or_default();
            if let Some(fields) = value.as_object_mut() {
                fields.insert("waits_for".to_owned(), waits.into());
                fields.insert("standing".to_owned(), serde_json::to_value(standing).unwrap_or_default());
                fields.insert("next_attempt_at".to_owned(), job.next_attempt.rfc3339().into());
                fields.insert("received".to_owned(), job.meta.received_at.rfc3339().into());
            }
            println!("{value}");
            return;
        }
        let to: Vec<String> = job.pending.iter().take(3).map(|p| p.mailbox.to_string()).collect();
        let more = job.pending.len().saturating_sub(to.len());
        let more = if more > 0 { format!(" +{more}") } else { String::new() };
        println!("{}  {}  <{}> → {}{more}", job.key.0, job.meta.id, job.meta.sender, to.join(", "));
        println!("    {}", safe(&waits));
    }

    fn whole(self, job: &Job, standing: Option<&Standing>) {
        let word = |vi, en| say(self.language, vi, en);
        let line = |name: &str, text: &str| println!("{name:<12}{}", safe(text));
        line(word("Số", "Number"), &job.key.0.to_string());
        line(word("Mã thư", "Message"), &job.meta.id.to_string());
        line(word("Nhận lúc", "Taken"), &job.meta.received_at.to_string());
        let (agency, way) = (job.meta.destination.agency(), job.meta.destination.direction());
        line(word("Cơ quan", "Agency"), &format!("{agency} ({way})"));
        line(word("Người gửi", "Sender"), &format!("<{}>", job.meta.sender));
        line(word("Tiêu đề", "Subject"), &job.meta.subject);
        line(word("Cỡ", "Size"), &format!("{} octets", job.size_bytes));
        line(word("Đã thử", "Attempts"), &job.tries.to_string());
        line(word("Đang chờ", "Waits"), &waits_for(job, standing, self.now, self.language));
        for pending in &job.pending {
            let last = if pending.last.is_empty() { word("chưa thử", "not tried yet") } else { &pending.last };
            println!("  {}: {}", pending.mailbox, safe(last));
        }
        println!();
    }
}
