//! Where events go: a file a day, and a collector. A thread of its own writes, so that neither a slow disk nor a dead
//! collector is felt by a session; what it cannot keep up with is counted and dropped.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Mutex, PoisonError};

use tokio::sync::oneshot;

use super::collector::{Collector, Target};
use crate::guard::event::Event;
use crate::guard::metrics::Metrics;
use crate::guard::settings::Events;

/// Events that may wait.
const WAITING: usize = 4096;

/// Handle on the writer.
#[derive(Debug)]
pub struct Sink {
    orders: SyncSender<Order>,
    metrics: Metrics,
    /// What the writer was told last.
    told: Mutex<Option<(Events, String)>>,
}

enum Order {
    Write(Box<Event>),
    Configure(Events, String),
    Settle(oneshot::Sender<()>),
}

impl Sink {
    /// Starts the writer. Until it is configured it keeps to the defaults.
    pub fn start(folder: PathBuf, metrics: Metrics) -> Self {
        let (orders, waiting) = sync_channel(WAITING);
        let counter = metrics.clone();
        let writer = move || Writer::new(folder, counter).run(&waiting);
        if let Err(error) = std::thread::Builder::new().name("events".to_owned()).spawn(writer) {
            tracing::error!(%error, "events cannot be written");
        }
        Self { orders, metrics, told: Mutex::default() }
    }

    pub fn tell(&self, event: Event) {
        if self.orders.try_send(Order::Write(Box::new(event))).is_err() {
            self.metrics.event_lost();
        }
    }

    pub fn configure(&self, events: &Events, hostname: &str) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let news = (events.clone(), hostname.to_owned());
        if told.as_ref() != Some(&news)
            && self.orders.try_send(Order::Configure(news.0.clone(), news.1.clone())).is_ok()
        {
            *told = Some(news);
        }
    }

    /// Returns when everything before is written.
    pub async fn settle(&self) {
        let (done, is_done) = oneshot::channel();
        if self.orders.try_send(Order::Settle(done)).is_ok() {
            // The writer ends only with the process.
            let _ = is_done.await;
        }
    }
}

/// A sentence about what is wrong with `[events] syslog`.
pub fn check_collector(text: &str) -> Result<(), String> {
    Target::parse(text).map(drop)
}

struct Writer {
    folder: PathBuf,
    metrics: Metrics,
    settings: Events,
    hostname: String,
    day: Option<Day>,
    collector: Option<Collector>,
    /// A trouble is told once, until it is over.
    in_trouble: bool,
}

/// The open file of a day.
struct Day {
    name: String,
    file: File,
    bytes: u64,
}

impl Writer {
    fn new(folder: PathBuf, metrics: Metrics) -> Self {
        let settings = Events::default();
        Self { folder, metrics, settings, hostname: "-".to_owned(), day: None, collector: None, in_trouble: false }
    }

    fn run(mut self, waiting: &Receiver<Order>) {
        while let Ok(order) = waiting.recv() {
            match order {
                Order::Write(event) => self.write(&event),
                Order::Configure(settings, hostname) => {
                    if settings.syslog != self.settings.syslog {
                        self.collector = self.open_collector(&settings.syslog);
                    }
                    (self.settings, self.hostname) = (settings, hostname);
                }
                Order::Settle(done) => {
                    if let Some(collector) = &self.collector {
                        collector.settle();
                    }
                    // Whoever asked may have gone.
                    let _ = done.send(());
                }
            }
        }
    }

    fn write(&mut self, event: &Event) {
        let mut kept = Ok(());
        if !self.settings.keep.is_zero() {
            kept = self.put_in_file(event);
        }
        if !self.settings.syslog.is_empty() {
            kept = kept.and(self.hand_to_collector(event));
        }
        match kept {
            Ok(()) => {
                self.metrics.event();
                self.in_trouble = false;
            }
            Err(error) => {
                self.metrics.event_lost();
                if !self.in_trouble {
                    tracing::error!(%error, "events are lost");
                }
                self.in_trouble = true;
            }
        }
    }

    fn put_in_file(&mut self, event: &Event) -> std::io::Result<()> {
        let name = format!("{}.jsonl", event.time.get(..10).unwrap_or("unknown"));
        if self.day.as_ref().is_none_or(|day| day.name != name) {
            self.day = Some(self.open_day(name)?);
            self.expire(event);
        }
        let Some(day) = &mut self.day else { return Ok(()) };
        let mut line = event.json();
        line.push('\n');
        if day.bytes.saturating_add(line.len() as u64) > self.settings.day_size.as_u64() {
            return Err(std::io::Error::other("the day's file has reached events.day_size"));
        }
        day.file.write_all(line.as_bytes())?;
        day.bytes = day.bytes.saturating_add(line.len() as u64);
        Ok(())
    }

    fn open_day(&self, name: String) -> std::io::Result<Day> {
        std::fs::create_dir_all(&self.folder)?;
        let file = OpenOptions::new().create(true).append(true).mode(0o640).open(self.folder.join(&name))?;
        let bytes = file.metadata()?.len();
        Ok(Day { name, file, bytes })
    }

    /// Days that are older than `events.keep` go; a name that is no day stays.
    fn expire(&self, event: &Event) {
        let Some(today) = day_of(&event.time) else { return };
        let days = i64::try_from(self.settings.keep.as_seconds() / 86_400).unwrap_or(i64::MAX);
        let Ok(entries) = std::fs::read_dir(&self.folder) else { return };
        for path in entries.filter_map(|entry| entry.ok().map(|entry| entry.path())) {
            let name = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.strip_suffix(".jsonl"));
            let age = name.and_then(day_of).and_then(|day| today.since(day).ok()).map(|age| i64::from(age.get_days()));
            if age.is_some_and(|age| age > days) {
                remove(&path);
            }
        }
    }

    fn open_collector(&self, syslog: &str) -> Option<Collector> {
        // What is wrong with the text was told when the configuration was checked.
        let target = Target::parse(syslog).ok().flatten()?;
        let started = Collector::start(target, self.metrics.clone());
        started.inspect_err(|error| tracing::error!(%error, "events cannot be sent to a collector")).ok()
    }

    fn hand_to_collector(&self, event: &Event) -> std::io::Result<()> {
        let line = event.syslog(self.settings.syslog_format, &self.hostname, std::process::id());
        let taken = self.collector.as_ref().is_some_and(|collector| collector.take(line));
        if taken { Ok(()) } else { Err(std::io::Error::other("too many events wait for the collector")) }
    }
}

fn day_of(text: &str) -> Option<jiff::civil::Date> {
    text.get(..10)?.parse().ok()
}

fn remove(path: &Path) {
    if let Err(error) = std::fs::remove_file(path) {
        tracing::warn!(%error, path = %path.display(), "an old file of events cannot be removed");
    }
}
