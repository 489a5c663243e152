//! Writing and reading the receipt log. Writing never stops mail: a thread of its own appends what waits in a bounded
//! queue; what does not fit, or cannot be written, is counted and told, never waited for.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use crate::env::Clock;
use crate::mail::{MailId, Timestamp};
use crate::report::metrics::Metrics;
use crate::report::record::{self, GENESIS, Record, Verifier};

/// Records that may wait; some tens of megabytes at the most.
const WAITING: usize = 16_384;
/// How often what was written is synced.
const SYNC: Duration = Duration::from_secs(1);
/// How often writing is tried again after the disk failed.
const AGAIN: Duration = Duration::from_secs(1);

/// Takes records. Cheap to clone; the log is complete once every clone and the [`Writer`] are gone.
#[derive(Clone, Debug)]
pub struct Recorder {
    queue: SyncSender<Record>,
    metrics: Metrics,
}

/// The writing thread; joined when the gateway stops.
#[derive(Debug)]
pub struct Writer(std::thread::JoinHandle<()>);

impl Recorder {
    /// Opens the log in `folder` (made when missing) and goes on with its chain.
    pub fn start(folder: &Path, clock: Clock, metrics: Metrics) -> io::Result<(Self, Writer)> {
        std::fs::create_dir_all(folder)?;
        let journal = Journal::new(folder);
        let prev = journal.last_hash()?;
        let (queue, waiting) = sync_channel(WAITING);
        let mut pen = Pen { folder: folder.to_owned(), clock, metrics: metrics.clone(), prev, page: None };
        pen.turn()?;
        let thread = std::thread::Builder::new().name("receipts".to_owned()).spawn(move || pen.write_all(&waiting))?;
        Ok((Self { queue, metrics }, Writer(thread)))
    }

    /// Buffers a record. Never blocks: with a full buffer the record is lost and the loss is counted.
    pub fn record(&self, record: Record) {
        if self.queue.try_send(record).is_err() {
            self.metrics.receipt_lost();
        }
    }
}

impl Writer {
    /// Waits until everything is written; all recorders must be gone.
    pub fn finish(self) {
        // A panic there was told when it happened.
        let _ = self.0.join();
    }
}

struct Pen {
    folder: PathBuf,
    clock: Clock,
    metrics: Metrics,
    prev: String,
    /// The day's file and its name.
    page: Option<(String, File)>,
}

impl Pen {
    fn write_all(mut self, waiting: &Receiver<Record>) {
        let mut dirty = false;
        loop {
            match waiting.recv_timeout(SYNC) {
                Ok(first) => {
                    let batch: Vec<Record> = std::iter::once(first).chain(waiting.try_iter().take(1023)).collect();
                    self.put(&batch);
                    dirty = true;
                }
                Err(RecvTimeoutError::Timeout) if dirty => {
                    self.sync();
                    dirty = false;
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return self.sync(),
            }
        }
    }

    /// Appends a batch, however long the disk refuses; the queue behind it fills and overflows meanwhile, mail goes on.
    fn put(&mut self, batch: &[Record]) {
        let mut told = false;
        while let Err(error) = self.append(batch) {
            if !told {
                tracing::error!(%error, "receipts cannot be written; they are kept in memory and tried again");
                told = true;
            }
            self.metrics.receipts_failing(true);
            self.page = None;
            std::thread::sleep(AGAIN);
        }
        self.metrics.receipts_failing(false);
    }

    fn append(&mut self, batch: &[Record]) -> io::Result<()> {
        self.turn()?;
        let (mut text, mut prev) = (String::new(), self.prev.clone());
        for record in batch {
            let (line, hash) = record::chain(record, &prev)?;
            text.push_str(&line);
            prev = hash;
        }
        let Some((_, file)) = &mut self.page else { return Err(io::ErrorKind::NotFound.into()) };
        let start = file.metadata()?.len();
        if let Err(error) = file.write_all(text.as_bytes()) {
            // Half a batch would be followed by the whole of it: back to where it began.
            let _ = file.set_len(start);
            return Err(error);
        }
        self.prev = prev;
        Ok(())
    }

    /// Opens the file of today when it is not the one that is open.
    fn turn(&mut self) -> io::Result<()> {
        let today = file_name(self.clock.now());
        if self.page.as_ref().is_some_and(|(name, _)| *name == today) {
            return Ok(());
        }
        self.sync();
        let mut file = OpenOptions::new().create(true).append(true).read(true).open(self.folder.join(&today))?;
        end_line(&mut file)?;
        self.page = Some((today, file));
        Ok(())
    }

    fn sync(&mut self) {
        if let Some((_, file)) = &self.page
            && let Err(error) = file.sync_data()
        {
            tracing::error!(%error, "receipts could not be synced");
            self.metrics.receipts_failing(true);
        }
    }
}

/// A line torn by a crash gets its end, so that the next record stands on a line of its own.
fn end_line(file: &mut File) -> io::Result<()> {
    if file.seek(SeekFrom::End(0))? == 0 {
        return Ok(());
    }
    file.seek(SeekFrom::End(-1))?;
    let mut last = [0_u8; 1];
    file.read_exact(&mut last)?;
    if last == *b"\n" { Ok(()) } else { file.write_all(b"\n") }
}

/// `2026-11-21.jsonl`
fn file_name(at: Timestamp) -> String {
    format!("{}.jsonl", at.rfc3339().get(..10).unwrap_or("undated"))
}

/// Reads the log of a gateway, running or not.
#[derive(Clone, Debug)]
pub struct Journal {
    folder: PathBuf,
}

impl Journal {
    #[must_use]
    pub fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned() }
    }

    /// The days' files, oldest first.
    pub fn files(&self) -> io::Result<Vec<PathBuf>> {
        let mut files = Vec::new();
        for entry in std::fs::read_dir(&self.folder)? {
            let path = entry?.path();
            if path.extension().is_some_and(|e| e == "jsonl") {
                files.push(path);
            }
        }
        files.sort();
        Ok(files)
    }

    /// Everything said about one message. Ids carry their time, so only the days from then on are read.
    pub fn find(&self, id: MailId) -> io::Result<Vec<Record>> {
        // Arrival and record may stand on two sides of midnight.
        let first = file_name(id.time());
        let (mut found, needle) = (Vec::new(), id.to_string());
        for path in self.files()? {
            if path.file_name().is_some_and(|name| name.to_string_lossy().as_ref() < first.as_str()) {
                continue;
            }
            each_line(&path, |line| {
                if line.contains(&needle)
                    && let Ok(line) = record::read(line)
                    && line.record.id() == id
                {
                    found.push(line.record);
                }
            })?;
        }
        Ok(found)
    }

    /// Hands every readable record between two days (`2026-11-01`, inclusive; empty: no bound) to `take`, oldest first.
    pub fn each(&self, since: &str, until: &str, mut take: impl FnMut(Record)) -> io::Result<()> {
        for path in self.files()? {
            let day = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            if (!since.is_empty() && day.as_str() < since) || (!until.is_empty() && day.as_str() > until) {
                continue;
            }
            each_line(&path, |line| {
                if let Ok(line) = record::read(line) {
                    take(line.record);
                }
            })?;
        }
        Ok(())
    }

    /// Checks the whole chain: how many lines there are, how many a crash tore; or the place where it breaks.
    pub fn verify(&self) -> io::Result<Result<Verifier, String>> {
        let mut verifier: Option<Verifier> = None;
        for path in self.files()? {
            let (mut number, mut broken) = (0_u64, None);
            each_line(&path, |line| {
                number = number.saturating_add(1);
                // Old days may have been removed when their time was over: the chain begins where the log does.
                let start = || record::read(line).map_or_else(|_| GENESIS.to_owned(), |first| first.prev);
                let chain = verifier.get_or_insert_with(|| Verifier::new(&start()));
                if let (Err(why), None) = (chain.take(line), &broken) {
                    broken = Some(format!("{}:{number}: {why}", path.display()));
                }
            })?;
            if let Some(broken) = broken {
                return Ok(Err(broken));
            }
        }
        Ok(Ok(verifier.unwrap_or_else(|| Verifier::new(GENESIS))))
    }

    fn last_hash(&self) -> io::Result<String> {
        for path in self.files()?.iter().rev() {
            let mut prev = None;
            each_line(path, |line| {
                let before = prev.take().unwrap_or_else(|| GENESIS.to_owned());
                prev = Some(record::hash_after(line, &before));
            })?;
            if let Some(prev) = prev {
                return Ok(prev);
            }
        }
        Ok(GENESIS.to_owned())
    }
}

fn each_line(path: &Path, mut take: impl FnMut(&str)) -> io::Result<()> {
    let mut lines = BufReader::new(File::open(path)?);
    let mut line = Vec::new();
    loop {
        line.clear();
        if lines.read_until(b'\n', &mut line)? == 0 {
            return Ok(());
        }
        take(String::from_utf8_lossy(&line).trim_end_matches('\n'));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::{Reply, Span};
    use crate::report::record::Refusal;

    fn refusal(n: u128, at: Timestamp) -> Record {
        let id = MailId::new(at, n);
        let reply = Reply::new(550, "5.1.1", "No such user here");
        Record::Refusal(Refusal::new(id, at, "203.0.113.9:1".to_owned(), "a.example", None, "recipient", &reply))
    }

    #[test]
    fn the_chain_goes_on_over_days_restarts_and_a_torn_line() {
        let folder = tempfile::tempdir().unwrap();
        let (clock, hand) = Clock::by_hand(Timestamp::from_seconds(1_795_302_082));
        let metrics = Metrics::new(&prometheus::Registry::new()).unwrap();
        for round in 0..3_u128 {
            let (recorder, writer) = Recorder::start(folder.path(), clock.clone(), metrics.clone()).unwrap();
            for n in 0..5 {
                recorder.record(refusal(round * 10 + n, clock.now()));
            }
            drop(recorder);
            writer.finish();
            let journal = Journal::new(folder.path());
            if round == 1 {
                // A crash in the middle of a line.
                let path = journal.files().unwrap().pop().unwrap();
                OpenOptions::new().append(true).open(path).unwrap().write_all(b"{\"hash\":\"12").unwrap();
            }
            hand.advance(Span::days(1));
        }
        let journal = Journal::new(folder.path());
        assert_eq!(journal.files().unwrap().len(), 3);
        let verdict = journal.verify().unwrap().unwrap();
        assert_eq!((verdict.lines, verdict.torn), (16, 1));
        let id = MailId::new(Timestamp::from_seconds(1_795_302_082), 3);
        assert_eq!(journal.find(id).unwrap().len(), 1);

        let path = journal.files().unwrap().remove(0);
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, text.replacen("No such user", "No suck user", 1)).unwrap();
        assert!(journal.verify().unwrap().unwrap_err().contains(".jsonl:1:"));
    }
}
