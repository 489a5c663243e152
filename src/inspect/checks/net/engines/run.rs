//! The engines at work: connections, time limits, health, the memory of clean verdicts. An [`Inquiry`] is one message's.
//!
//! Invariants: an engine has at most as many questions as connections; a question ends at its time limit; what is not an
//! answer is a reason; an engine that is down is asked nothing but whether it lives.

mod file;
mod station;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::door::Wrong;
use super::memory::Memory;
use super::metrics::Metrics;
use super::outcome::{Outcome, Row, Unscanned, conclude};
use super::settings::{self, Role, Sees, WhenDown};
use super::{Subject, Trouble};
use crate::env::Clock;
use crate::inspect::{Released, WantsParts};
use crate::mail::{Span, Timestamp};
use file::Shown;
pub use station::Standing;
use station::Station;

/// Larger whole messages are never sent twice, so nothing is remembered of them.
const REMEMBERED: usize = 1 << 20;
/// Up to this size octets are hashed on the spot.
const INLINE: usize = 64 << 10;

/// All virus engines. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Engines(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    set: Mutex<Arc<Set>>,
    memory: Mutex<Memory>,
    metrics: Metrics,
    clock: Clock,
    /// Messages that were to be held because nobody scanned them, since the start.
    held: AtomicU64,
}

/// The engines of one policy.
#[derive(Debug, Default)]
struct Set {
    common: settings::Engines,
    stations: Vec<Arc<Station>>,
}

impl Set {
    /// Those that are asked first: the primaries, or the backups where nothing else is configured.
    fn leading(&self) -> impl Iterator<Item = &Arc<Station>> {
        let role =
            if self.stations.iter().any(|s| s.settings.role == Role::Primary) { Role::Primary } else { Role::Backup };
        self.stations.iter().filter(move |station| station.settings.role == role)
    }

    /// Those that are asked when every one of the leading ones failed.
    fn backups(&self) -> impl Iterator<Item = &Arc<Station>> {
        let led = self.stations.iter().any(|s| s.settings.role == Role::Primary);
        self.stations.iter().filter(move |station| led && station.settings.role == Role::Backup)
    }
}

impl Engines {
    /// None yet: [`Self::adopt`] brings them.
    #[must_use]
    pub fn new(metrics: Metrics, clock: Clock) -> Self {
        Self(Arc::new(Shared {
            set: Mutex::default(),
            memory: Mutex::default(),
            metrics,
            clock,
            held: AtomicU64::new(0),
        }))
    }

    /// Uses these engines from now on. One whose settings are as they were keeps its connections and its health.
    pub fn adopt(&self, engines: &[settings::Engine], common: &settings::Engines) -> Result<(), Wrong> {
        let old = self.set();
        let mut stations = Vec::new();
        for wanted in engines {
            let kept = old.stations.iter().find(|station| station.settings == *wanted);
            stations.push(match kept {
                Some(kept) => Arc::clone(kept),
                None => Arc::new(Station::open(wanted)?),
            });
        }
        for gone in old.stations.iter().filter(|old| !engines.iter().any(|new| new.id == old.settings.id)) {
            // Its series would stand still for ever.
            let _ = self.0.metrics.up.remove_label_values(&[&gone.settings.id]);
            let _ = self.0.metrics.signature_age.remove_label_values(&[&gone.settings.id]);
        }
        *self.0.set.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(Set { common: common.clone(), stations });
        self.0.tell();
        Ok(())
    }

    /// One message's questions, to the engines of this moment.
    #[must_use]
    pub fn open(&self) -> Inquiry {
        Inquiry { set: self.set(), shared: Arc::clone(&self.0), began: Instant::now() }
    }

    /// What is known of each engine.
    #[must_use]
    pub fn standings(&self) -> Vec<Standing> {
        let now = self.0.clock.now();
        self.set().stations.iter().map(|station| station.standing(now)).collect()
    }

    /// Whether engines are configured and none of them answers.
    #[must_use]
    pub fn all_down(&self) -> bool {
        let set = self.set();
        !set.stations.is_empty() && !set.stations.iter().any(|station| station.is_up())
    }

    /// How many messages were to be held because nobody scanned them, since the start.
    #[must_use]
    pub fn held(&self) -> u64 {
        self.0.held.load(Ordering::Relaxed)
    }

    /// Each engine with its version, of those that said one. Another list: other signatures.
    #[must_use]
    pub fn versions(&self) -> Vec<String> {
        let set = self.set();
        let all = set.stations.iter().map(|station| (&station.settings.id, station.version()));
        all.filter(|(_, version)| !version.is_empty()).map(|(id, version)| format!("{id} {version}")).collect()
    }

    /// Held mail that is still to be shown to the engines again.
    pub fn tell_rescans(&self, why: &str, waiting: usize) {
        self.0.metrics.rescans_waiting.with_label_values(&[why]).set(i64::try_from(waiting).unwrap_or(i64::MAX));
    }

    /// A held message was looked at again.
    pub fn count_rescan(&self, why: &str, outcome: &str) {
        self.0.metrics.rescans.with_label_values(&[why, outcome]).inc();
    }

    /// Asks every engine whose turn it is whether it lives and what it knows; those that are down as their health says,
    /// the others once a minute. To be called every second.
    pub async fn tend(&self) {
        let now = self.0.clock.now();
        let mut asked = JoinSet::new();
        for station in self.set().stations.iter().filter(|station| station.is_turn(now)) {
            let (station, shared) = (Arc::clone(station), Arc::clone(&self.0));
            asked.spawn(async move { shared.check(&station).await });
        }
        while asked.join_next().await.is_some() {}
        self.0.tell();
    }

    /// Asks all of them now.
    pub async fn check_all(&self) -> Vec<Standing> {
        let set = self.set();
        let mut asked = JoinSet::new();
        for station in &set.stations {
            let (station, shared) = (Arc::clone(station), Arc::clone(&self.0));
            asked.spawn(async move { shared.check(&station).await });
        }
        while asked.join_next().await.is_some() {}
        self.0.tell();
        self.standings()
    }

    fn set(&self) -> Arc<Set> {
        self.0.set()
    }
}

impl Shared {
    fn set(&self) -> Arc<Set> {
        Arc::clone(&self.set.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Gauges as they are now.
    fn tell(&self) {
        let (set, now, metrics) = (self.set(), self.clock.now(), &self.metrics);
        for station in &set.stations {
            let standing = station.standing(now);
            let id = standing.id.as_str();
            metrics.up.with_label_values(&[id]).set(i64::from(standing.is_up));
            if let Some(age) = standing.signature_age {
                metrics.signature_age.with_label_values(&[id]).set(age);
            }
        }
        let dark = !set.stations.is_empty() && !set.stations.iter().any(|station| station.is_up());
        metrics.all_down.set(i64::from(dark));
        metrics.remembered.set(i64::try_from(self.memory().len()).unwrap_or(i64::MAX));
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether an engine lives: octets that nobody objects to, and its version where it tells one.
    async fn check(&self, station: &Station) {
        const HARMLESS: &[u8] = b"Subject: are you there?\r\n\r\nLuy Tre asks whether this engine answers.\r\n";
        let subject =
            Subject { path: String::new(), bytes: Bytes::from_static(HARMLESS), digest: None, file: String::new() };
        let folder = self.set().common.folder.clone();
        let shown =
            if station.reads_files() { Shown::write(&folder, subject).await } else { Ok(Shown::plain(subject)) };
        let outcome = match shown {
            Ok(shown) => station.check(&shown.subject).await,
            Err(trouble) => Err(trouble),
        };
        station.learned(outcome, self.clock.now(), || self.tell());
    }

    /// One question to one engine.
    async fn question(&self, station: &Station, subject: &Subject, common: &settings::Engines) -> Row {
        let (began, now) = (Instant::now(), self.clock.now());
        let version = station.version();
        let row = |version: String, remembered, outcome| Row {
            engine: station.settings.id.clone(),
            version,
            path: subject.path.clone(),
            remembered,
            outcome,
        };
        let key = |version: &str| Sha256::digest(format!("{}\0{version}", station.settings.id)).into();
        if let (Some(digest), false) = (subject.digest, version.is_empty() || common.remember == 0)
            && self.memory().knows(digest, key(&version), now, common.remember_for)
        {
            self.count(station, "remembered");
            return row(version, true, Ok(super::Answer::Clean));
        }
        let outcome = station.ask(subject).await;
        let now = self.clock.now();
        let outcome = station.heard(outcome, now, || self.tell());
        self.metrics.seconds.with_label_values(&[&station.settings.id]).observe(began.elapsed().as_secs_f64());
        let word = match &outcome {
            Ok(super::Answer::Clean) => "clean",
            Ok(super::Answer::Infected(_)) => "infected",
            Ok(super::Answer::Objects(..)) => "objects",
            Err(trouble) => trouble.word(),
        };
        self.count(station, word);
        // What it knew when it answered; had it changed meanwhile, the old version's memory is not asked again.
        let known = station.version();
        if let (Some(digest), Ok(super::Answer::Clean), true) = (subject.digest, &outcome, known == version)
            && !version.is_empty()
            && common.remember > 0
        {
            self.memory().learn(digest, key(&version), now, common.remember, common.remember_for);
        }
        row(known, false, outcome)
    }

    fn count(&self, station: &Station, word: &str) {
        self.metrics.scans.with_label_values(&[station.settings.id.as_str(), word]).inc();
    }
}

/// One message's questions.
#[derive(Debug)]
pub struct Inquiry {
    set: Arc<Set>,
    shared: Arc<Shared>,
    began: Instant,
}

impl Inquiry {
    /// Which parts an inspector should hand out.
    #[must_use]
    pub fn wants(&self) -> WantsParts {
        self.set.leading().map(|station| station.settings.sees().level()).max().unwrap_or_default()
    }

    /// The whole message, as soon as its bytes are there, to the engines that see every message whole.
    pub async fn whole(&self, raw: &Bytes) -> Vec<Row> {
        self.message(raw, |sees| sees.message()).await
    }

    /// The whole message to the engines that see only parts: nobody could open it, or what was opened may not be all.
    pub async fn whole_besides(&self, raw: &Bytes) -> Vec<Row> {
        self.message(raw, |sees| !sees.message()).await
    }

    async fn message(&self, raw: &Bytes, sees: impl Fn(Sees) -> bool) -> Vec<Row> {
        if !self.set.leading().any(|station| sees(station.settings.sees())) {
            return Vec::new();
        }
        let digest = if raw.len() <= REMEMBERED { Some(digest(raw).await) } else { None };
        let subject = Subject { path: String::new(), bytes: raw.clone(), digest, file: String::new() };
        self.look(subject, sees).await
    }

    /// What an inspector handed out.
    pub async fn parts(&self, released: &Released) -> Vec<Row> {
        let mut rows = Vec::new();
        let mut asked = JoinSet::new();
        for (item, bytes) in released.iter().filter(|(item, _)| item.kind != crate::inspect::OutgoingKind::Message) {
            let (inquiry, path, level) = (self.again(), item.path.clone(), item.level);
            asked.spawn(async move {
                // Ours, not the inspector's: what it says of octets could teach the memory a lie.
                let digest = Some(digest(&bytes).await);
                let subject = Subject { path, bytes, digest, file: String::new() };
                inquiry.look(subject, |sees| sees.level() >= level).await
            });
        }
        while let Some(answered) = asked.join_next().await {
            match answered {
                Ok(answered) => rows.extend(answered),
                Err(error) => rows.push(self.lost(&error)),
            }
        }
        rows.sort_by(|a, b| (&a.path, &a.engine).cmp(&(&b.path, &b.engine)));
        rows
    }

    /// What all answers come to, counted.
    #[must_use]
    pub fn conclude(&self, rows: &[Row]) -> Outcome {
        let outcome = conclude(rows, self.unscanned(self.shared.clock.now()));
        let metrics = &self.shared.metrics;
        outcome.catches.iter().for_each(|engine| metrics.catches.with_label_values(&[engine]).inc());
        outcome.misses.iter().for_each(|engine| metrics.misses.with_label_values(&[engine]).inc());
        if outcome.findings.iter().any(|finding| finding.code == Unscanned::Hold.code()) {
            self.shared.held.fetch_add(1, Ordering::Relaxed);
        }
        if !rows.is_empty() {
            metrics.wait.observe(self.began.elapsed().as_secs_f64());
        }
        outcome
    }

    fn again(&self) -> Self {
        Self { set: Arc::clone(&self.set), shared: Arc::clone(&self.shared), began: self.began }
    }

    /// All primaries that see such octets; where every one of them failed, the backups see what they were shown.
    async fn look(&self, subject: Subject, sees: impl Fn(Sees) -> bool) -> Vec<Row> {
        let leading: Vec<Arc<Station>> =
            self.set.leading().filter(|station| sees(station.settings.sees())).cloned().collect();
        if leading.is_empty() {
            return Vec::new();
        }
        let backups: Vec<Arc<Station>> = self.set.backups().cloned().collect();
        let wants_file = leading.iter().chain(&backups).any(|station| station.reads_files());
        let shown = if wants_file {
            Shown::write(&self.set.common.folder, subject.clone()).await
        } else {
            Ok(Shown::plain(subject.clone()))
        };
        let shown = match shown {
            Ok(shown) => Arc::new(shown),
            Err(trouble) => {
                tracing::error!(%trouble, folder = %self.set.common.folder.display(), "no file for the virus engines");
                Arc::new(Shown::plain(subject))
            }
        };
        let mut rows = self.put(leading, &shown).await;
        if rows.iter().all(|row| row.outcome.is_err()) {
            rows.extend(self.put(backups, &shown).await);
        }
        rows
    }

    async fn put(&self, stations: Vec<Arc<Station>>, shown: &Arc<Shown>) -> Vec<Row> {
        if let [station] = stations.as_slice() {
            return vec![self.shared.question(station, &shown.subject, &self.set.common).await];
        }
        let mut asked = JoinSet::new();
        for station in stations {
            let (inquiry, shown) = (self.again(), Arc::clone(shown));
            asked.spawn(async move { inquiry.shared.question(&station, &shown.subject, &inquiry.set.common).await });
        }
        let mut rows = Vec::new();
        while let Some(answered) = asked.join_next().await {
            rows.push(answered.unwrap_or_else(|error| self.lost(&error)));
        }
        rows.sort_by(|a, b| a.engine.cmp(&b.engine));
        rows
    }

    /// A question whose task broke: not scanned.
    fn lost(&self, error: &tokio::task::JoinError) -> Row {
        let outcome = Err(Trouble::Error(error.to_string()));
        Row { engine: "?".to_owned(), version: String::new(), path: "?".to_owned(), remembered: false, outcome }
    }

    /// What mail gets that no engine scanned (DESIGN §7).
    fn unscanned(&self, now: Timestamp) -> Unscanned {
        let since: Option<Vec<Timestamp>> = self.set.stations.iter().map(|station| station.down_since()).collect();
        // All of them are down since the last one went.
        let dark = since.and_then(|all| all.into_iter().max()).map_or(Span::seconds(0), |since| now.since(since));
        match self.set.common.when_down {
            WhenDown::Tag => Unscanned::Tag,
            WhenDown::Quarantine => Unscanned::Hold,
            WhenDown::Defer if dark > Span::seconds(0) && dark >= self.set.common.hold_after => Unscanned::Hold,
            WhenDown::Defer => Unscanned::Wait,
        }
    }
}

async fn digest(bytes: &Bytes) -> [u8; 32] {
    if bytes.len() <= INLINE {
        return Sha256::digest(bytes).into();
    }
    let copy = bytes.clone();
    match tokio::task::spawn_blocking(move || Sha256::digest(&copy).into()).await {
        Ok(digest) => digest,
        Err(_) => Sha256::digest(bytes).into(),
    }
}
