//! The greylist's copy in SQL, so that nobody waits twice because we were restarted. Written in batches, off the mail
//! path; a database that fails costs a second wait after the next restart, no mail.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use sqlx::Row;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous};
use tokio::sync::{mpsc, oneshot};

use crate::guard::grey::{Known, Pair};
use crate::guard::metrics::Metrics;
use crate::mail::Timestamp;

/// Changes that may wait to be written; one that finds no room is lost and made good by the pair's next attempt.
const WAITING: usize = 8192;
const BATCH: usize = 512;
/// Rows that are taken back at a start.
const MOST: i64 = 100_000;

/// Handle on the writer.
#[derive(Debug)]
pub struct Store {
    changes: mpsc::Sender<Change>,
}

#[derive(Debug)]
enum Change {
    Put(Pair, Known),
    Remove(Pair),
    Settle(oneshot::Sender<()>),
}

impl Store {
    /// Opens the database and reads what it has. One that is damaged is put aside, one that cannot be used is done without.
    pub async fn open(path: &Path, metrics: Metrics) -> (Self, Vec<(Pair, Known)>) {
        let (changes, waiting) = mpsc::channel(WAITING);
        let opened = match open(path).await {
            Ok(opened) => Ok(opened),
            Err(error) => {
                tracing::error!(%error, path = %path.display(), "the greylist's database is of no use; it begins anew");
                put_aside(path);
                open(path).await
            }
        };
        let (pool, rows) = match opened {
            Ok((pool, rows)) => (Some(pool), rows),
            Err(error) => {
                tracing::error!(%error, path = %path.display(), "the greylist will not survive a restart");
                (None, Vec::new())
            }
        };
        metrics.greylist_is_kept(pool.is_some());
        tokio::spawn(write(pool, waiting, metrics));
        (Self { changes }, rows)
    }

    pub fn put(&self, pair: Pair, known: Known) {
        // Full: see WAITING.
        let _ = self.changes.try_send(Change::Put(pair, known));
    }

    pub fn remove(&self, pair: Pair) {
        let _ = self.changes.try_send(Change::Remove(pair));
    }

    /// Returns when what was sent before is written.
    pub async fn settle(&self) {
        let (done, is_done) = oneshot::channel();
        if self.changes.send(Change::Settle(done)).await.is_ok() {
            // The writer ends only with the process.
            let _ = is_done.await;
        }
    }
}

async fn open(path: &Path) -> Result<(SqlitePool, Vec<(Pair, Known)>), sqlx::Error> {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Normal)
        .busy_timeout(std::time::Duration::from_secs(5));
    let pool = SqlitePoolOptions::new().max_connections(1).connect_with(options).await?;
    sqlx::query(
        "CREATE TABLE IF NOT EXISTS greylist (network TEXT NOT NULL, domain TEXT NOT NULL, first INTEGER NOT NULL,
         last INTEGER NOT NULL, passed INTEGER NOT NULL, PRIMARY KEY (network, domain)) WITHOUT ROWID",
    )
    .execute(&pool)
    .await?;
    let query = sqlx::query("SELECT network, domain, first, last, passed FROM greylist ORDER BY last DESC LIMIT ?");
    let rows = query.bind(MOST).fetch_all(&pool).await?;
    let mut known = Vec::with_capacity(rows.len());
    for row in rows {
        let Ok(network) = row.try_get::<String, _>(0)?.parse() else { continue };
        let pair = Pair { network, domain: row.try_get(1)? };
        let (first, last) = (Timestamp::from_millis(row.try_get(2)?), Timestamp::from_millis(row.try_get(3)?));
        known.push((pair, Known { first, last, passed: row.try_get::<i64, _>(4)? != 0 }));
    }
    Ok((pool, known))
}

/// The old file stays for whoever wants to look at it.
fn put_aside(path: &Path) {
    for end in ["", "-wal", "-shm"] {
        let mut from = path.as_os_str().to_owned();
        from.push(end);
        let mut to = path.as_os_str().to_owned();
        to.push(".damaged");
        to.push(end);
        if let Err(error) = std::fs::rename(PathBuf::from(&from), PathBuf::from(&to))
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::error!(%error, "a damaged database cannot be put aside");
        }
    }
}

async fn write(pool: Option<SqlitePool>, mut waiting: mpsc::Receiver<Change>, metrics: Metrics) {
    let mut batch = Vec::new();
    while waiting.recv_many(&mut batch, BATCH).await > 0 {
        // The last change of a pair counts.
        let (mut last, mut settled) = (HashMap::new(), Vec::new());
        for change in batch.drain(..) {
            match change {
                Change::Put(pair, known) => drop(last.insert(pair, Some(known))),
                Change::Remove(pair) => drop(last.insert(pair, None)),
                Change::Settle(answer) => settled.push(answer),
            }
        }
        if let Some(pool) = &pool {
            let written = apply(pool, last).await;
            metrics.greylist_is_kept(written.is_ok());
            if let Err(error) = written {
                tracing::error!(%error, "the greylist's copy could not be written");
            }
        }
        for answer in settled {
            // Whoever asked may have gone.
            let _ = answer.send(());
        }
    }
}

async fn apply(pool: &SqlitePool, changes: HashMap<Pair, Option<Known>>) -> Result<(), sqlx::Error> {
    let mut work = pool.begin().await?;
    for (pair, known) in changes {
        let network = pair.network.to_string();
        match known {
            None => {
                let query = sqlx::query("DELETE FROM greylist WHERE network = ? AND domain = ?");
                query.bind(network).bind(pair.domain).execute(&mut *work).await?;
            }
            Some(known) => {
                sqlx::query(
                    "INSERT INTO greylist (network, domain, first, last, passed) VALUES (?, ?, ?, ?, ?)
                     ON CONFLICT (network, domain) DO UPDATE SET first = excluded.first, last = excluded.last,
                     passed = excluded.passed",
                )
                .bind(network)
                .bind(pair.domain)
                .bind(known.first.millis())
                .bind(known.last.millis())
                .bind(i64::from(known.passed))
                .execute(&mut *work)
                .await?;
            }
        }
    }
    work.commit().await
}
