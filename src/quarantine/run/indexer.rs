//! The task that keeps the index over the files, and makes it again when it is lost, late or wrong.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::Instant;

use super::index::Index;
use super::{BATCH, Change, Inner, blocking};
use crate::quarantine::Kind;
use crate::quarantine::file::HeldKey;
use crate::quarantine::metrics::Metrics;
use crate::quarantine::store::{Store, Stored};

/// How long to leave a database alone that could not be opened.
const AGAIN: Duration = Duration::from_secs(60);

/// The task that keeps the index.
pub(super) struct Indexer {
    pub(super) inner: Weak<Inner>,
    pub(super) waiting: mpsc::Receiver<Change>,
    pub(super) path: PathBuf,
    pub(super) metrics: Metrics,
    /// When the database may be tried again.
    pub(super) retry_at: Option<Instant>,
}

impl Indexer {
    pub(super) async fn run(mut self) {
        self.metrics.index(false);
        self.restore().await;
        let mut batch = Vec::new();
        while self.waiting.recv_many(&mut batch, BATCH).await > 0 {
            let (mut rows, mut gone, mut settled) = (Vec::new(), Vec::new(), Vec::new());
            for change in batch.drain(..) {
                match change {
                    Change::Put(stored) => {
                        // The later of two changes counts.
                        gone.retain(|key| *key != stored.entry.key);
                        rows.push(*stored);
                    }
                    Change::Gone(key) => {
                        rows.retain(|row: &Stored| row.entry.key != key);
                        gone.push(key);
                    }
                    Change::Settle(answer) => settled.push(answer),
                }
            }
            self.apply(rows, gone).await;
            for answer in settled {
                // Whoever asked may have gone.
                let _ = answer.send(());
            }
        }
    }

    async fn apply(&mut self, rows: Vec<Stored>, gone: Vec<HeldKey>) {
        let Some(inner) = self.inner.upgrade() else { return };
        let Some(index) = inner.index.load_full() else {
            // Lost or overrun. Made again from the files, which have these changes already.
            if self.retry_at.is_none_or(|at| Instant::now() >= at) {
                self.restore().await;
            }
            return;
        };
        if let Err(error) = self.write(&index, &rows, &gone).await {
            tracing::error!(%error, "the quarantine's index failed; it is made again from the files");
            inner.index.store(None);
            index.close().await;
            self.restore().await;
        }
    }

    async fn write(&self, index: &Index, rows: &[Stored], gone: &[HeldKey]) -> Result<(), sqlx::Error> {
        if !rows.is_empty() {
            let new = index.put(rows).await?;
            let came = rows.iter().filter(|row| new.contains(&row.entry.key));
            came.for_each(|row| self.metrics.came(row.entry.held.kind, row.entry.held.size_bytes));
        }
        if !gone.is_empty() {
            let went = index.remove(gone).await?;
            went.iter().for_each(|entry| self.metrics.went(entry.held.kind, entry.held.size_bytes));
        }
        self.age(index).await?;
        Ok(())
    }

    /// How old the oldest is.
    async fn age(&self, index: &Index) -> Result<(), sqlx::Error> {
        let Some(inner) = self.inner.upgrade() else { return Ok(()) };
        let now = inner.clock.now();
        self.metrics.oldest(index.oldest_time().await?.map(|at| now.since(at)));
        Ok(())
    }

    /// Opens the database, anew where the old one is of no use, and makes it agree with the files.
    async fn restore(&mut self) {
        self.metrics.index(false);
        let mut outcome = self.try_restore().await;
        if outcome.is_err() {
            for suffix in ["", "-wal", "-shm"] {
                let mut path = self.path.clone().into_os_string();
                path.push(suffix);
                // Missing is as good as removed.
                let _ = tokio::fs::remove_file(&path).await;
            }
            outcome = self.try_restore().await;
        }
        let Some(inner) = self.inner.upgrade() else { return };
        match outcome {
            Ok(index) => {
                self.retry_at = None;
                self.metrics.index(true);
                inner.index.store(Some(Arc::new(index)));
            }
            Err(error) => {
                self.retry_at = Some(Instant::now() + AGAIN);
                tracing::error!(%error, "the quarantine has no index; lists are read from the files");
            }
        }
    }

    async fn try_restore(&self) -> Result<Index, sqlx::Error> {
        let Some(keys) = self.inner.upgrade().map(|inner| inner.store.keys_in_use()) else {
            return Err(sqlx::Error::PoolClosed);
        };
        let index = Index::open(&self.path, &keys).await?;
        let outcome = self.reconcile(&index).await;
        if outcome.is_err() {
            index.close().await;
        }
        outcome.map(|()| index)
    }

    /// Folder by folder: rows without a file go, files without a row or of another length are read.
    async fn reconcile(&self, index: &Index) -> Result<(), sqlx::Error> {
        let Some(store) = self.inner.upgrade().map(|inner| inner.store.clone()) else { return Ok(()) };
        let mut folders: HashSet<String> = index.folders().await?.into_iter().collect();
        let on_disk = store.clone();
        folders.extend(
            blocking(move || on_disk.folders()).await.map_err(|error| sqlx::Error::Io(std::io::Error::other(error)))?,
        );
        for folder in folders {
            let known = index.folder(&folder).await?;
            let (store, name) = (store.clone(), folder.clone());
            let read = blocking(move || Ok(compare(&store, &name, &known)));
            let (rows, gone) = read.await.map_err(|error| sqlx::Error::Io(std::io::Error::other(error)))?;
            for rows in rows.chunks(BATCH) {
                index.put(rows).await?;
            }
            index.remove(&gone).await?;
        }
        let totals = index.totals().await?;
        for kind in Kind::ALL {
            let found = totals.iter().find(|(word, ..)| word == kind.word());
            self.metrics.set(kind, found.map_or(0, |(_, count, _)| *count));
        }
        self.metrics.set_bytes(totals.iter().map(|(_, _, bytes)| *bytes).sum());
        if let Some(inner) = self.inner.upgrade() {
            inner.room.counted(index.by_agency().await?);
            inner.room.kept().1.iter().for_each(|(agency, bytes)| self.metrics.agency(agency, *bytes));
        }
        self.age(index).await?;
        Ok(())
    }
}

/// What the index must be told of a folder: rows to write, and keys that are gone. A file whose length is known has not
/// changed, because records are only appended.
fn compare(store: &Store, folder: &str, known: &HashMap<HeldKey, (u64, Vec<HeldKey>)>) -> (Vec<Stored>, Vec<HeldKey>) {
    let files: HashSet<HeldKey> = store.keys(folder).unwrap_or_default().into_iter().collect();
    let lost = known.iter().filter(|(file, _)| !files.contains(file));
    let mut gone: Vec<HeldKey> = lost.flat_map(|(_, (_, keys))| keys).copied().collect();
    let mut rows = Vec::new();
    for file in files {
        let old = known.get(&file);
        if store.file_bytes(file).is_ok_and(|bytes| old.is_some_and(|(known, _)| *known == bytes)) {
            continue;
        }
        match store.entries(file) {
            Ok(entries) => {
                let here: HashSet<HeldKey> = entries.iter().map(|stored| stored.entry.key).collect();
                let old = old.map(|(_, keys)| keys.as_slice()).unwrap_or_default();
                gone.extend(old.iter().filter(|key| !here.contains(key)));
                rows.extend(entries);
            }
            Err(error) => tracing::error!(key = %file, %error, "a held message cannot be read"),
        }
    }
    (rows, gone)
}
