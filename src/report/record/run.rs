//! The writer of the log: one thread, a bounded queue before it, one file a day, the chain carried on over restarts.
//! Old days are removed by age; the log says so itself, so that its chain can still be proven.

pub mod past;
mod reader;
pub mod sightings;

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

pub use reader::{Lines, RawLine, files};

use super::chain::{self, Head, TORN};
use super::{Entry, Note};
use crate::mail::{Span, Timestamp};

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
    Expire(Timestamp, Span),
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
    failing: Arc<AtomicBool>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Log {
    /// Opens (or begins) the log in `folder`, finds where its chain stands and starts its writer.
    pub fn open(folder: &Path, now: Timestamp) -> Result<Self, LogError> {
        let trouble = |error| LogError { path: folder.to_owned(), error };
        std::fs::create_dir_all(folder).map_err(trouble)?;
        let (head, torn) = reader::last_head(folder).map_err(trouble)?;
        let newest = files(folder).map_err(trouble)?.pop();
        let (sender, receiver) = sync_channel(WAITING);
        let (lost, failing) = (Arc::<AtomicU64>::default(), Arc::<AtomicBool>::default());
        let mut writer = Writer {
            folder: folder.to_owned(),
            file: None,
            // A clock that was set back while we were away: the chain goes on in the newest file there is.
            day: newest.as_deref().and_then(reader::day).unwrap_or_default().to_owned(),
            head,
            lost: Arc::clone(&lost),
            failing: Arc::clone(&failing),
            waiting: Vec::new(),
        };
        if torn {
            writer.keep(now, Box::new(note(format!("{TORN}, as by a crash; it was left as it is"))));
            writer.append().map_err(trouble)?;
        }
        let thread = std::thread::Builder::new()
            .name("receipts".to_owned())
            .spawn(move || writer.work(&receiver))
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

    /// Has the writer remove the files of days that are over for longer than `keep` (DOMAIN R37). A full queue puts
    /// it off to the next time it is asked.
    pub fn expire(&self, now: Timestamp, keep: Span) {
        if let Some(queue) = &self.inner.queue {
            let _ = queue.try_send(Order::Expire(now, keep));
        }
    }

    /// Entries lost since the start, because too many waited.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.inner.lost.load(Ordering::Relaxed)
    }
    /// Whether the last write failed; the entries wait and are tried again.
    #[must_use]
    pub fn is_failing(&self) -> bool {
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
    lost: Arc<AtomicU64>,
    failing: Arc<AtomicBool>,
    /// What is not written yet, in order: the batch, or what the disk did not take.
    waiting: Vec<(Timestamp, Box<Entry>)>,
}

impl Writer {
    fn work(mut self, orders: &Receiver<Order>) {
        let (mut told, mut dirty) = (0, false);
        loop {
            let mut done = None;
            match orders.recv_timeout(SYNC) {
                Ok(first) => {
                    // All that waits goes out in one write; the next batch gathers meanwhile.
                    let mut next = Some(first);
                    while let Some(order) = next {
                        match order {
                            Order::Write(at, entry) => self.take(at, entry, &mut told),
                            Order::Expire(now, keep) => self.expire(now, keep),
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

    fn take(&mut self, at: Timestamp, entry: Box<Entry>, told: &mut u64) {
        let now_lost = self.lost.load(Ordering::Relaxed);
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
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn write_out(&mut self) {
        let written = self.append();
        let failed_before = self.failing.swap(written.is_err(), Ordering::Relaxed);
        // Said once: with a full disk every batch fails, and the system's log may stand on the same disk.
        if let Err(error) = written
            && !failed_before
        {
            tracing::error!(%error, "the receipt log cannot be written; receipts wait in memory");
        }
    }

    /// Writes what waits, in order; what an error leaves waits on.
    fn append(&mut self) -> std::io::Result<()> {
        while let Some((first, _)) = self.waiting.first() {
            let day = day_of(*first);
            // The clock may go back; the chain does not: an older day goes on in the file that is open.
            if self.file.is_none() || day > self.day {
                // A flush syncs the file that is open; the day before must not stay behind.
                self.sync();
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
            self.failing.store(true, Ordering::Relaxed);
        }
    }

    /// Removes the files of days that were over at `now` for longer than `keep`, never the one that is written. The
    /// log says so first and is synced: what is missing at its beginning is explained by the log itself.
    fn expire(&mut self, now: Timestamp, keep: Span) {
        if let Err(error) = self.remove_before(&day_of(now - keep), now) {
            tracing::error!(%error, "old days of the receipt log could not be removed");
        }
    }

    fn remove_before(&mut self, day: &str, now: Timestamp) -> std::io::Result<()> {
        let mut old = files(&self.folder)?;
        // Without its newest file the chain could not be carried on.
        old.pop();
        old.retain(|path| reader::day(path).is_some_and(|of| of < day && of != self.day));
        let mut last = None;
        for path in old.iter().rev() {
            last = reader::head_of(path)?.0;
            if last.is_some() {
                break;
            }
        }
        let Some(last) = last else { return Ok(()) };
        self.keep(now, Box::new(note(chain::expired(day, &last))));
        self.append()?;
        self.sync();
        for path in &old {
            std::fs::remove_file(path)?;
        }
        tracing::info!(days = old.len(), before = day, "old days of the receipt log were removed");
        Ok(())
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
