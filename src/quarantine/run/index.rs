//! The search index over held mail, in SQL. Only an index: every row can be made again from the files, and is when the
//! database is missing, damaged or disagrees with them. Written in batches, off the mail path.

use std::path::Path;
use std::str::FromStr;

use sqlx::Row;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous};

use crate::mail::Timestamp;
use crate::quarantine::file::{Entry, HeldKey};
use crate::quarantine::shelf::{Filter, folded, recipient_text, sender_text};
use crate::quarantine::store::Stored;

/// The layout of the table; another one in the file means that it is made again.
const LAYOUT: i64 = 1;

/// The database.
#[derive(Clone, Debug)]
pub struct Index {
    pool: SqlitePool,
}

/// How many messages of one kind there are, and their octets.
pub type Total = (String, i64, i64);

impl Index {
    /// Opens or makes the database. An error means that it cannot be used as it is.
    pub async fn open(path: &Path) -> Result<Self, sqlx::Error> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            // What a power cut takes from an index is found again in the files.
            .synchronous(SqliteSynchronous::Off)
            .busy_timeout(std::time::Duration::from_secs(5));
        let pool = SqlitePoolOptions::new().max_connections(2).connect_with(options).await?;
        let index = Self { pool };
        let layout: i64 = sqlx::query("PRAGMA user_version").fetch_one(&index.pool).await?.try_get(0)?;
        if layout != LAYOUT && layout != 0 {
            return Err(sqlx::Error::Configuration("the index has another layout".into()));
        }
        for statement in [
            "CREATE TABLE IF NOT EXISTS held (
                key TEXT PRIMARY KEY, folder TEXT NOT NULL, file_bytes INTEGER NOT NULL, kind TEXT NOT NULL,
                agency TEXT NOT NULL, held_at INTEGER NOT NULL, expires_at INTEGER NOT NULL, size INTEGER NOT NULL,
                released INTEGER NOT NULL, sender TEXT NOT NULL, recipients TEXT NOT NULL, subject TEXT NOT NULL,
                entry TEXT NOT NULL) WITHOUT ROWID",
            "CREATE INDEX IF NOT EXISTS held_by_time ON held (held_at)",
            "CREATE INDEX IF NOT EXISTS held_by_expiry ON held (expires_at)",
            "CREATE INDEX IF NOT EXISTS held_by_folder ON held (folder)",
            "PRAGMA user_version = 1",
        ] {
            sqlx::query(statement).execute(&index.pool).await?;
        }
        // Damage shows at the start, not in the middle of a search.
        let verdict: String = sqlx::query("PRAGMA quick_check").fetch_one(&index.pool).await?.try_get(0)?;
        if verdict != "ok" {
            return Err(sqlx::Error::Configuration(verdict.into()));
        }
        Ok(index)
    }

    pub async fn close(&self) {
        self.pool.close().await;
    }

    /// Writes rows; returns those that were not there before.
    pub async fn put(&self, rows: &[Stored]) -> Result<Vec<HeldKey>, sqlx::Error> {
        let mut work = self.pool.begin().await?;
        let mut new = Vec::new();
        for Stored { entry, file_bytes } in rows {
            let text = serde_json::to_string(entry).map_err(|error| sqlx::Error::Encode(error.into()))?;
            let held = &entry.held;
            let deleted = sqlx::query("DELETE FROM held WHERE key = ?").bind(entry.key.to_string());
            if deleted.execute(&mut *work).await?.rows_affected() == 0 {
                new.push(entry.key);
            }
            sqlx::query(
                "INSERT INTO held (key, folder, file_bytes, kind, agency, held_at, expires_at, size, released, sender,
                 recipients, subject, entry) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            )
            .bind(entry.key.to_string())
            .bind(entry.key.folder())
            .bind(whole(*file_bytes))
            .bind(held.kind.word())
            .bind(held.meta.destination.agency().to_string())
            .bind(held.held_at.millis())
            .bind(held.expires_at.millis())
            .bind(whole(held.size_bytes))
            .bind(i64::from(entry.released.is_some()))
            .bind(sender_text(held))
            .bind(recipient_text(held))
            .bind(folded(&held.meta.subject))
            .bind(text)
            .execute(&mut *work)
            .await?;
        }
        work.commit().await?;
        Ok(new)
    }

    /// Deletes rows; returns what they were, for the counters.
    pub async fn remove(&self, keys: &[HeldKey]) -> Result<Vec<Entry>, sqlx::Error> {
        let mut work = self.pool.begin().await?;
        let mut gone = Vec::new();
        for key in keys {
            let query = sqlx::query("DELETE FROM held WHERE key = ? RETURNING entry").bind(key.to_string());
            gone.extend(query.fetch_optional(&mut *work).await?.map(|row| entry(&row)).transpose()?);
        }
        work.commit().await?;
        Ok(gone)
    }

    pub async fn list(&self, filter: &Filter) -> Result<Vec<Entry>, sqlx::Error> {
        let rows = sqlx::query(
            "SELECT entry FROM held WHERE (?1 IS NULL OR agency = ?1) AND (?2 IS NULL OR kind = ?2)
             AND held_at >= ?3 AND (?4 OR NOT released) AND (?5 IS NULL OR instr(sender, ?5))
             AND (?6 IS NULL OR instr(recipients, ?6)) AND (?7 IS NULL OR instr(subject, ?7))
             ORDER BY held_at DESC, key DESC LIMIT ?8",
        )
        .bind(filter.agency.as_ref().map(ToString::to_string))
        .bind(filter.kind.map(|kind| kind.word()))
        .bind(filter.since.map_or(i64::MIN, Timestamp::millis))
        .bind(filter.released)
        .bind(filter.sender.as_deref().map(folded))
        .bind(filter.recipient.as_deref().map(folded))
        .bind(filter.subject.as_deref().map(folded))
        .bind(whole(filter.limit() as u64))
        .fetch_all(&self.pool)
        .await?;
        rows.iter().map(entry).collect()
    }

    /// Keys whose time is over.
    pub async fn expired(&self, now: Timestamp, limit: usize) -> Result<Vec<HeldKey>, sqlx::Error> {
        let query = sqlx::query("SELECT key FROM held WHERE expires_at <= ? ORDER BY expires_at LIMIT ?");
        let rows = query.bind(now.millis()).bind(whole(limit as u64)).fetch_all(&self.pool).await?;
        rows.iter().map(key).collect()
    }

    /// What the index has of one folder: keys and lengths of files.
    pub async fn folder(&self, folder: &str) -> Result<Vec<(HeldKey, u64)>, sqlx::Error> {
        let rows = sqlx::query("SELECT key, file_bytes FROM held WHERE folder = ?").bind(folder.to_owned());
        let rows = rows.fetch_all(&self.pool).await?;
        rows.iter().map(|row| Ok((key(row)?, u64::try_from(row.try_get::<i64, _>(1)?).unwrap_or(0)))).collect()
    }

    pub async fn folders(&self) -> Result<Vec<String>, sqlx::Error> {
        let rows = sqlx::query("SELECT DISTINCT folder FROM held").fetch_all(&self.pool).await?;
        rows.iter().map(|row| row.try_get(0)).collect()
    }

    pub async fn totals(&self) -> Result<Vec<Total>, sqlx::Error> {
        let query = sqlx::query("SELECT kind, count(*), sum(size) FROM held GROUP BY kind");
        let rows = query.fetch_all(&self.pool).await?;
        rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?))).collect()
    }
}

fn key(row: &sqlx::sqlite::SqliteRow) -> Result<HeldKey, sqlx::Error> {
    let text: String = row.try_get(0)?;
    HeldKey::from_str(&text).map_err(|error| sqlx::Error::Decode(error.into()))
}

fn entry(row: &sqlx::sqlite::SqliteRow) -> Result<Entry, sqlx::Error> {
    let text: String = row.try_get(0)?;
    serde_json::from_str(&text).map_err(|error| sqlx::Error::Decode(error.into()))
}

fn whole(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}
