//! The writer of the log: one thread, a bounded queue before it, one file a day, the chain carried on over restarts.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use super::chain::{self, Head, TORN};
use super::{Entry, Note};
use crate::mail::Timestamp;

/// Entries that may wait for the disk. A receipt is some kilobytes, so this is some tens of megabytes at worst.
const WAITING: usize = 10_000;
/// How often a quiet log is synced; a busy one is after each batch.
const SYNC: Duration = Duration::from_secs(1);
/// Entries written at once, and octets of one write.
const BATCH: usize = 1024;
const WRITE: usize = 256 << 10;
/// How long a batch gathers while entries keep coming.
const GATHER: Duration = Duration::from_millis(5);

/// Why the log could not be opened.
#[derive(Debug, thiserror::Error)]
#[error("the receipt log {path}: {error}")]
pub struct LogError {
    path: PathBuf,
    error: std::io::Error,
}

enum Order {
    Write(Timestamp, Box<Entry>),
    Flush(SyncSender<()>),
}

/// The log of a running gateway. Cheap to clone; the last one to go writes what waits and ends the thread.
#[derive(Clone, Debug)]
pub struct Log {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    queue: Option<SyncSender<Order>>,
    lost: Arc<AtomicU64>,
    failing: Arc<AtomicU64>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Log {
    /// Opens (or begins) the log in `folder`, finds where its chain stands and starts its writer.
    pub fn open(folder: &Path, now: Timestamp) -> Result<Self, LogError> {
        let trouble = |error| LogError { path: folder.to_owned(), error };
        std::fs::create_dir_all(folder).map_err(trouble)?;
        let (head, torn) = last_head(folder).map_err(trouble)?;
        let (sender, receiver) = sync_channel(WAITING);
        let (lost, failing) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let mut writer = Writer {
            folder: folder.to_owned(),
            file: None,
            day: String::new(),
            head,
            failing: Arc::clone(&failing),
            waiting: Vec::new(),
        };
        if torn {
            writer.keep(now, Box::new(note(format!("{TORN}, as by a crash; it was left as it is"))));
            writer.append().map_err(trouble)?;
        }
        let counter = Arc::clone(&lost);
        let thread = std::thread::Builder::new()
            .name("receipts".to_owned())
            .spawn(move || writer.work(&receiver, &counter))
            .map_err(trouble)?;
        let inner = Inner { queue: Some(sender), lost, failing, thread: Mutex::new(Some(thread)) };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Hands an entry to the writer and returns at once. A full queue loses the entry, counts it, and the log itself
    /// will say how many: mail goes on.
    pub fn write(&self, at: Timestamp, entry: Entry) {
        let Some(queue) = &self.inner.queue else { return };
        if let Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) =
            queue.try_send(Order::Write(at, Box::new(entry)))
        {
            self.inner.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Returns when everything handed over before is written and synced (or could not be).
    pub fn flush(&self) {
        let (done, wait) = sync_channel(1);
        if self.inner.queue.as_ref().is_some_and(|q| q.send(Order::Flush(done)).is_ok()) {
            let _ = wait.recv();
        }
    }

    /// Entries lost to a full queue since the start.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.inner.lost.load(Ordering::Relaxed)
    }
    /// Writes that failed since the start (the entries wait and are tried again).
    #[must_use]
    pub fn failing(&self) -> u64 {
        self.inner.failing.load(Ordering::Relaxed)
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.queue = None;
        if let Some(thread) = self.thread.lock().ok().and_then(|mut t| t.take()) {
            let _ = thread.join();
        }
    }
}

/// `2026-11-21`.
fn day_of(at: Timestamp) -> String {
    at.rfc3339().chars().take(10).collect()
}

fn note(text: String) -> Entry {
    Entry::Note(Note { text })
}

struct Writer {
    folder: PathBuf,
    file: Option<File>,
    day: String,
    head: Head,
    failing: Arc<AtomicU64>,
    /// What is not written yet, in order: the batch, or what the disk did not take.
    waiting: Vec<(Timestamp, Box<Entry>)>,
}

impl Writer {
    fn work(mut self, orders: &Receiver<Order>, lost: &AtomicU64) {
        let (mut told, mut dirty) = (0, false);
        loop {
            let mut done = None;
            match orders.recv_timeout(SYNC) {
                Ok(first) => {
                    // All that waits goes out in one write; the next batch gathers meanwhile.
                    let mut next = Some(first);
                    while let Some(order) = next {
                        match order {
                            Order::Write(at, entry) => self.take(at, entry, lost, &mut told),
                            Order::Flush(answer) => {
                                done = Some(answer);
                                break;
                            }
                        }
                        next = if self.waiting.len() < BATCH { orders.try_recv().ok() } else { None };
                    }
                    self.write_out();
                    dirty = true;
                }
                Err(RecvTimeoutError::Timeout) => {
                    self.write_out();
                    if std::mem::take(&mut dirty) {
                        self.sync();
                    }
                }
                Err(RecvTimeoutError::Disconnected) => {
                    self.write_out();
                    self.sync();
                    return;
                }
            }
            match done {
                Some(answer) => {
                    self.sync();
                    dirty = false;
                    let _ = answer.send(());
                }
                // A thread that is not waiting costs its callers no wake-up.
                None if dirty => std::thread::sleep(GATHER),
                None => {}
            }
        }
    }

    fn take(&mut self, at: Timestamp, entry: Box<Entry>, lost: &AtomicU64, told: &mut u64) {
        let now_lost = lost.load(Ordering::Relaxed);
        if now_lost > *told {
            let text = format!("{} entries were lost to a full queue", now_lost - *told);
            self.keep(at, Box::new(note(text)));
            *told = now_lost;
        }
        self.keep(at, entry);
    }

    fn keep(&mut self, at: Timestamp, entry: Box<Entry>) {
        if self.waiting.len() < WAITING {
            self.waiting.push((at, entry));
        } else {
            self.failing.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn write_out(&mut self) {
        if let Err(error) = self.append() {
            tracing::error!(%error, "the receipt log cannot be written; receipts wait in memory");
            self.failing.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Writes what waits, in order; what an error leaves waits on.
    fn append(&mut self) -> std::io::Result<()> {
        while let Some((first, _)) = self.waiting.first() {
            let day = day_of(*first);
            // The clock may go back; the chain does not: an older day goes on in the file that is open.
            if self.file.is_none() || day > self.day {
                self.day = self.day.clone().max(day);
                let path = self.folder.join(format!("{}.jsonl", self.day));
                let mut file = OpenOptions::new().create(true).append(true).read(true).open(path)?;
                end_torn_line(&mut file)?;
                self.file = Some(file);
            }
            let Some(file) = &mut self.file else { return Ok(()) };
            let (mut head, mut text, mut count) = (self.head.clone(), String::new(), 0_usize);
            for (at, entry) in self.waiting.iter().take_while(|(at, _)| day_of(*at) <= self.day) {
                text.push_str(&chain::seal(&mut head, *at, entry).map_err(std::io::Error::other)?);
                count += 1;
                if text.len() >= WRITE {
                    break;
                }
            }
            let before = file.seek(SeekFrom::End(0))?;
            if let Err(error) = file.write_all(text.as_bytes()) {
                // Half a line would break the chain for the next one.
                let _ = file.set_len(before);
                return Err(error);
            }
            self.head = head;
            self.waiting.drain(..count);
        }
        Ok(())
    }

    fn sync(&mut self) {
        if let Some(file) = &self.file
            && let Err(error) = file.sync_data()
        {
            tracing::error!(%error, "the receipt log cannot be synced");
            self.failing.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// A crash may have left a line without its end: it gets one, so that the next line stands by itself.
fn end_torn_line(file: &mut File) -> std::io::Result<()> {
    if file.seek(SeekFrom::End(0))? == 0 {
        return Ok(());
    }
    file.seek(SeekFrom::End(-1))?;
    let mut last = [0_u8; 1];
    file.read_exact(&mut last)?;
    if last != *b"\n" {
        file.write_all(b"\n")?;
    }
    Ok(())
}

/// The files of a log in order of their days.
pub fn files(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut list = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.len() == "2026-11-21.jsonl".len() && name.ends_with(".jsonl") {
            list.push(path);
        }
    }
    list.sort();
    Ok(list)
}

/// Names and texts of all files; octets that are no UTF-8 (damage) become U+FFFD and so break their line's hash.
pub fn texts(folder: &Path) -> std::io::Result<Vec<(String, String)>> {
    files(folder)?
        .into_iter()
        .map(|path| {
            let bytes = std::fs::read(&path)?;
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            Ok((name, String::from_utf8_lossy(&bytes).into_owned()))
        })
        .collect()
}

/// Where the chain stands, and whether the log ends in a torn line.
fn last_head(folder: &Path) -> std::io::Result<(Head, bool)> {
    let mut torn = false;
    for path in files(folder)?.into_iter().rev() {
        let text = String::from_utf8_lossy(&std::fs::read(path)?).into_owned();
        for line in text.split_inclusive('\n').rev() {
            match chain::open(line) {
                Ok(line) => return Ok((Head { number: line.number, hash: line.hash }, torn)),
                Err(_) => torn = true,
            }
        }
    }
    Ok((Head::default(), torn))
}
