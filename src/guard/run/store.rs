//! The greylist's copy in SQL, so that nobody waits twice because we were restarted. Written in batches, off the mail
//! path; a database that fails costs a second wait after the next restart, no mail. What is over is deleted by its age
//! and what is too much by its number, not pair by pair: a table that forgets much at once would lose such orders.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use sqlx::Row;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous};
use tokio::sync::{mpsc, oneshot};

use crate::guard::grey::{Horizon, Known, Pair};
use crate::guard::metrics::Metrics;
use crate::mail::Timestamp;

/// Changes that may wait to be written; one that finds no room is lost and made good by the pair's next attempt.
const WAITING: usize = 8192;
const BATCH: usize = 512;
/// Rows that are taken back at a start; twice as many may stand there for a while.
const MOST: usize = 100_000;

/// Handle on the writer.
#[derive(Debug)]
pub struct Store {
    changes: mpsc::Sender<Change>,
}

#[derive(Debug)]
enum Change {
    Put(Pair, Known),
    Forget(Horizon),
    Settle(oneshot::Sender<()>),
    Close(oneshot::Sender<()>),
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

    /// Deletes what is over. One that finds no room is made good by the next.
    pub fn forget(&self, horizon: Horizon) {
        let _ = self.changes.try_send(Change::Forget(horizon));
    }

    /// Returns when what was sent before is written.
    pub async fn settle(&self) {
        let (done, is_done) = oneshot::channel();
        if self.changes.send(Change::Settle(done)).await.is_ok() {
            // The writer has ended if not: nothing of what was sent before is waiting then.
            let _ = is_done.await;
        }
    }

    /// Writes what was sent before and leaves the file to others; what is sent later is lost.
    pub async fn close(&self) {
        let (done, is_done) = oneshot::channel();
        if self.changes.send(Change::Close(done)).await.is_ok() {
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
    let rows = query.bind(limit(MOST)).fetch_all(&pool).await?;
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
    let mut since_trim = MOST;
    while waiting.recv_many(&mut batch, BATCH).await > 0 {
        // The last change of a pair counts.
        let (mut last, mut horizon, mut settled, mut closed) = (HashMap::new(), None, Vec::new(), None);
        for change in batch.drain(..) {
            match change {
                Change::Put(pair, known) => drop(last.insert(pair, known)),
                Change::Forget(at) => horizon = Some(at),
                Change::Settle(answer) => settled.push(answer),
                Change::Close(answer) => closed = Some(answer),
            }
        }
        if let Some(pool) = &pool {
            since_trim = since_trim.saturating_add(last.len());
            let is_long = since_trim > MOST;
            let written = apply(pool, last, horizon, is_long.then_some(MOST)).await;
            if is_long && written.is_ok() {
                since_trim = 0;
            }
            metrics.greylist_is_kept(written.is_ok());
            if let Err(error) = written {
                tracing::error!(%error, "the greylist's copy could not be written");
            }
        }
        for answer in settled {
            // Whoever asked may have gone.
            let _ = answer.send(());
        }
        if let Some(answer) = closed {
            if let Some(pool) = pool {
                pool.close().await;
            }
            let _ = answer.send(());
            return;
        }
    }
}

async fn apply(
    pool: &SqlitePool,
    changes: HashMap<Pair, Known>,
    horizon: Option<Horizon>,
    most: Option<usize>,
) -> Result<(), sqlx::Error> {
    let mut work = pool.begin().await?;
    for (pair, known) in changes {
        sqlx::query(
            "INSERT INTO greylist (network, domain, first, last, passed) VALUES (?, ?, ?, ?, ?)
             ON CONFLICT (network, domain) DO UPDATE SET first = excluded.first, last = excluded.last,
             passed = excluded.passed",
        )
        .bind(pair.network.to_string())
        .bind(pair.domain)
        .bind(known.first.millis())
        .bind(known.last.millis())
        .bind(i64::from(known.passed))
        .execute(&mut *work)
        .await?;
    }
    if let Some(horizon) = horizon {
        let query = sqlx::query("DELETE FROM greylist WHERE last < CASE WHEN passed THEN ? ELSE ? END");
        query.bind(horizon.passed.millis()).bind(horizon.waiting.millis()).execute(&mut *work).await?;
    }
    if let Some(most) = most {
        let query = sqlx::query(
            "DELETE FROM greylist WHERE last < (SELECT last FROM greylist ORDER BY last DESC LIMIT 1 OFFSET ?)",
        );
        query.bind(limit(most.saturating_sub(1))).execute(&mut *work).await?;
    }
    work.commit().await
}

fn limit(rows: usize) -> i64 {
    i64::try_from(rows).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::Span;

    const START: Timestamp = Timestamp::from_seconds(1_800_000_000);

    #[tokio::test]
    async fn threats_r_12_the_copy_on_disk_is_bounded_and_forgets() {
        let folder = tempfile::tempdir().unwrap();
        let (pool, _) = open(&folder.path().join("luytre.db")).await.unwrap();
        let rows = |numbers: std::ops::Range<u32>, passed| {
            let row = move |n: u32| {
                let at = START + Span::seconds(u64::from(n));
                let pair = Pair { network: [192, 0, 2, 0].into(), domain: format!("d{n}.test") };
                (pair, Known { first: at, last: at, passed })
            };
            numbers.map(row).collect::<HashMap<_, _>>()
        };
        let domains = async |pool: &SqlitePool| {
            let rows = sqlx::query("SELECT domain FROM greylist ORDER BY last").fetch_all(pool).await.unwrap();
            rows.iter().map(|row| row.get::<String, _>(0)).collect::<Vec<_>>()
        };
        apply(&pool, rows(0..10, false), None, Some(20)).await.unwrap();
        assert_eq!(domains(&pool).await.len(), 10, "there is room");
        apply(&pool, rows(10..14, true), None, Some(8)).await.unwrap();
        let newest: Vec<String> = (6..14).map(|n| format!("d{n}.test")).collect();
        assert_eq!(domains(&pool).await, newest);
        let horizon = Horizon { passed: START + Span::seconds(11), waiting: START + Span::seconds(9) };
        apply(&pool, HashMap::new(), Some(horizon), None).await.unwrap();
        assert_eq!(domains(&pool).await, ["d9.test", "d11.test", "d12.test", "d13.test"]);
    }
}
