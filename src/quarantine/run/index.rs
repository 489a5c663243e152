//! The search index over held mail, in SQL. Only an index: every row can be made again from the files, and is when the
//! database is missing, damaged or disagrees with them. Written in batches, off the mail path.
//!
//! Times, kinds, agencies, findings and digests stand in columns; whom a message is from and for and what it is about is
//! sealed, and compared after it was opened (some microseconds a row): nothing on the disk names a person.

use std::collections::HashMap;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

use sqlx::Row;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous};

use crate::env::vault::{DataKey, Keys};
use crate::mail::{AgencyId, Timestamp};
use crate::quarantine::Kind;
use crate::quarantine::file::{Entry, HeldKey};
use crate::quarantine::shelf::{Cursor, Filter, Page};
use crate::quarantine::store::Stored;

/// The layout of the table; another one in the file means that it is made again.
const LAYOUT: i64 = 2;
/// Rows that are opened at once.
const STEP: usize = 500;

/// The database.
#[derive(Clone, Debug)]
pub struct Index {
    pool: SqlitePool,
    seal: Arc<DataKey>,
}

/// How many messages of one kind there are, and their octets.
pub type Total = (String, i64, i64);

impl Index {
    /// Opens or makes the database. An error means that it cannot be used as it is.
    pub async fn open(path: &Path, keys: &Keys) -> Result<Self, sqlx::Error> {
        let seal = keys.derived("quarantine index").map_err(|error| sqlx::Error::Configuration(error.into()))?;
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            // What a power cut takes from an index is found again in the files.
            .synchronous(SqliteSynchronous::Off)
            .busy_timeout(std::time::Duration::from_secs(5));
        let pool = SqlitePoolOptions::new().max_connections(2).connect_with(options).await?;
        let index = Self { pool, seal: Arc::new(seal) };
        let layout: i64 = sqlx::query("PRAGMA user_version").fetch_one(&index.pool).await?.try_get(0)?;
        if layout != LAYOUT && layout != 0 {
            return Err(sqlx::Error::Configuration("the index has another layout".into()));
        }
        for statement in [
            "CREATE TABLE IF NOT EXISTS master (key TEXT PRIMARY KEY) WITHOUT ROWID",
            "CREATE TABLE IF NOT EXISTS held (
                key TEXT PRIMARY KEY, file TEXT NOT NULL, folder TEXT NOT NULL, file_bytes INTEGER NOT NULL,
                kind TEXT NOT NULL, agency TEXT NOT NULL, held_at INTEGER NOT NULL, expires_at INTEGER NOT NULL,
                size INTEGER NOT NULL, released INTEGER NOT NULL, id TEXT NOT NULL, sha256 TEXT NOT NULL,
                entry BLOB NOT NULL) WITHOUT ROWID",
            "CREATE INDEX IF NOT EXISTS held_by_id ON held (id)",
            "CREATE INDEX IF NOT EXISTS held_by_time ON held (held_at)",
            "CREATE INDEX IF NOT EXISTS held_by_expiry ON held (expires_at)",
            "CREATE INDEX IF NOT EXISTS held_by_folder ON held (folder)",
            "PRAGMA user_version = 2",
        ] {
            sqlx::query(statement).execute(&index.pool).await?;
        }
        // Damage shows at the start, not in the middle of a search.
        let verdict: String = sqlx::query("PRAGMA quick_check").fetch_one(&index.pool).await?.try_get(0)?;
        if verdict != "ok" {
            return Err(sqlx::Error::Configuration(verdict.into()));
        }
        // Sealed with another key it is of no use.
        let current = keys.current().to_string();
        let masters = sqlx::query("SELECT key FROM master").fetch_all(&index.pool).await?;
        let masters = masters.iter().map(|row| row.try_get(0)).collect::<Result<Vec<String>, _>>()?;
        if masters.is_empty() {
            sqlx::query("INSERT INTO master (key) VALUES (?)").bind(current).execute(&index.pool).await?;
        } else if masters != [current] {
            return Err(sqlx::Error::Configuration("the index is sealed with another key".into()));
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
            let held = &entry.held;
            let deleted = sqlx::query("DELETE FROM held WHERE key = ?").bind(entry.key.to_string());
            if deleted.execute(&mut *work).await?.rows_affected() == 0 {
                new.push(entry.key);
            }
            sqlx::query(
                "INSERT INTO held (key, file, folder, file_bytes, kind, agency, held_at, expires_at, size, released, id,
                 sha256, entry) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            )
            .bind(entry.key.to_string())
            .bind(entry.key.first().to_string())
            .bind(entry.key.folder())
            .bind(whole(*file_bytes))
            .bind(held.kind.word())
            .bind(held.meta.destination.agency().to_string())
            .bind(held.held_at.millis())
            .bind(held.expires_at.millis())
            .bind(whole(held.size_bytes))
            .bind(i64::from(entry.released.is_some()))
            .bind(held.meta.id.to_string())
            .bind(held.sha256.clone())
            .bind(self.sealed(entry)?)
            .execute(&mut *work)
            .await?;
            // The other copies in the same file know its length too.
            sqlx::query("UPDATE held SET file_bytes = ? WHERE file = ?")
                .bind(whole(*file_bytes))
                .bind(entry.key.first().to_string())
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
            gone.extend(query.fetch_optional(&mut *work).await?.map(|row| self.entry(&row)).transpose()?);
        }
        work.commit().await?;
        Ok(gone)
    }

    /// A page: columns choose in the database, texts after a row was opened.
    pub async fn list(&self, filter: &Filter) -> Result<Page, sqlx::Error> {
        let (mut found, limit) = (Vec::new(), filter.limit());
        let mut after = filter.after.clone();
        loop {
            let rows = sqlx::query(
                "SELECT entry FROM held WHERE (?1 IS NULL OR agency = ?1) AND (?2 IS NULL OR kind = ?2)
                 AND held_at >= ?3 AND held_at < ?4 AND (?5 OR NOT released) AND (?6 IS NULL OR sha256 = ?6)
                 AND (?7 IS NULL OR held_at < ?7 OR (held_at = ?7 AND key < ?8))
                 AND (?9 IS NULL OR id = ?9 OR file LIKE ?9 || '-%')
                 ORDER BY held_at DESC, key DESC LIMIT ?10",
            )
            .bind(filter.agency.as_ref().map(ToString::to_string))
            .bind(filter.kind.map(|kind| kind.word()))
            .bind(filter.since.map_or(i64::MIN, Timestamp::millis))
            .bind(filter.until.map_or(i64::MAX, Timestamp::millis))
            .bind(filter.released)
            .bind(filter.sha256.as_deref().map(str::to_lowercase))
            .bind(after.as_ref().map(|after| after.held_at.millis()))
            .bind(after.as_ref().map(|after| after.key.clone()))
            .bind(filter.id.map(|id| id.to_string()))
            .bind(whole(STEP as u64))
            .fetch_all(&self.pool)
            .await?;
            for row in &rows {
                let entry = self.entry(row)?;
                after = Some(Cursor::of(&entry));
                if filter.fits(&entry) {
                    if found.len() >= limit {
                        return Ok(Page { next: found.last().map(Cursor::of), entries: found });
                    }
                    found.push(entry);
                }
            }
            if rows.len() < STEP {
                return Ok(Page { entries: found, next: None });
            }
        }
    }

    /// The oldest of a kind that nobody has released; of one agency, or of all.
    pub async fn oldest(
        &self,
        kind: Kind,
        agency: Option<&AgencyId>,
        limit: usize,
    ) -> Result<Vec<HeldKey>, sqlx::Error> {
        let query = sqlx::query(
            "SELECT key FROM held WHERE kind = ?1 AND (?2 IS NULL OR agency = ?2) AND NOT released ORDER BY held_at
             LIMIT ?3",
        );
        let query = query.bind(kind.word()).bind(agency.map(ToString::to_string)).bind(whole(limit as u64));
        let rows = query.fetch_all(&self.pool).await?;
        rows.iter().map(key).collect()
    }

    /// Since when the oldest is held.
    pub async fn oldest_time(&self) -> Result<Option<Timestamp>, sqlx::Error> {
        let row = sqlx::query("SELECT min(held_at) FROM held").fetch_one(&self.pool).await?;
        Ok(row.try_get::<Option<i64>, _>(0)?.map(Timestamp::from_millis))
    }

    /// Keys whose time is over.
    pub async fn expired(&self, now: Timestamp, limit: usize) -> Result<Vec<HeldKey>, sqlx::Error> {
        let query = sqlx::query("SELECT key FROM held WHERE expires_at <= ? ORDER BY expires_at LIMIT ?");
        let rows = query.bind(now.millis()).bind(whole(limit as u64)).fetch_all(&self.pool).await?;
        rows.iter().map(key).collect()
    }

    /// What the index has of one folder: files, their lengths, and the keys in each.
    pub async fn folder(&self, folder: &str) -> Result<HashMap<HeldKey, (u64, Vec<HeldKey>)>, sqlx::Error> {
        let rows = sqlx::query("SELECT key, file_bytes FROM held WHERE folder = ?").bind(folder.to_owned());
        let mut files: HashMap<HeldKey, (u64, Vec<HeldKey>)> = HashMap::new();
        for row in &rows.fetch_all(&self.pool).await? {
            let (key, bytes) = (key(row)?, u64::try_from(row.try_get::<i64, _>(1)?).unwrap_or(0));
            let file = files.entry(key.first()).or_default();
            file.0 = bytes;
            file.1.push(key);
        }
        Ok(files)
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

    /// Octets of the files of each agency; a file holds mail of one agency only.
    pub async fn by_agency(&self) -> Result<Vec<(AgencyId, u64)>, sqlx::Error> {
        let query = sqlx::query(
            "SELECT agency, sum(bytes) FROM (SELECT agency, max(file_bytes) AS bytes FROM held GROUP BY file)
             GROUP BY agency",
        );
        let rows = query.fetch_all(&self.pool).await?;
        let one = |row: &sqlx::sqlite::SqliteRow| -> Result<(AgencyId, u64), sqlx::Error> {
            let agency: String = row.try_get(0)?;
            let agency = agency.parse().map_err(|error| sqlx::Error::Decode(Box::new(error)))?;
            Ok((agency, u64::try_from(row.try_get::<i64, _>(1)?).unwrap_or(0)))
        };
        rows.iter().map(one).collect()
    }

    fn sealed(&self, entry: &Entry) -> Result<Vec<u8>, sqlx::Error> {
        let text = serde_json::to_vec(entry).map_err(|error| sqlx::Error::Encode(error.into()))?;
        self.seal.seal(b"row", &text).map_err(|error| sqlx::Error::Encode(error.into()))
    }

    fn entry(&self, row: &sqlx::sqlite::SqliteRow) -> Result<Entry, sqlx::Error> {
        let text = self.seal.open(b"row", row.try_get(0)?).map_err(|error| sqlx::Error::Decode(error.into()))?;
        serde_json::from_slice(&text).map_err(|error| sqlx::Error::Decode(error.into()))
    }
}

fn key(row: &sqlx::sqlite::SqliteRow) -> Result<HeldKey, sqlx::Error> {
    let text: String = row.try_get(0)?;
    HeldKey::from_str(&text).map_err(|error| sqlx::Error::Decode(error.into()))
}

fn whole(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}
