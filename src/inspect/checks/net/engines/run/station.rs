//! One engine: its door, its connections, its health.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout, timeout_at};

use super::super::door::{Door, Wrong};
use super::super::health::{Health, Turn};
use super::super::settings::{self, Role};
use super::super::{About, Answer, Engine, Seen, Subject, Trouble};
use crate::env::program;
use crate::env::talk::{Address, Talk};
use crate::mail::{Span, Timestamp};

/// How often an engine that is up is asked what it knows.
const CHECK: Span = Span::seconds(60);

#[derive(Debug)]
pub(super) struct Station {
    pub settings: settings::Engine,
    door: Door,
    permits: Semaphore,
    idle: Mutex<Vec<Talk>>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    health: Health,
    checked: Option<Timestamp>,
}

/// What is known of an engine, for people.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Standing {
    pub id: String,
    pub kind: settings::Kind,
    pub address: String,
    pub role: Role,
    /// Whether it is asked.
    pub is_up: bool,
    /// Whether its last question was answered.
    pub answers: bool,
    /// Since when it is down, RFC 3339.
    pub down_since: Option<String>,
    pub version: String,
    /// Seconds.
    pub signature_age: Option<i64>,
    pub last_good: Option<String>,
    pub last_trouble: Option<String>,
}

impl Station {
    pub fn open(settings: &settings::Engine) -> Result<Self, Wrong> {
        Ok(Self {
            door: Door::open(settings)?,
            permits: Semaphore::new(settings.connections.clamp(1, 1000)),
            settings: settings.clone(),
            idle: Mutex::default(),
            state: Mutex::default(),
        })
    }

    pub fn reads_files(&self) -> bool {
        self.door.reads_files()
    }
    pub fn is_up(&self) -> bool {
        self.state().health.is_up()
    }
    pub fn version(&self) -> String {
        self.state().health.about.version.clone()
    }
    pub fn down_since(&self) -> Option<Timestamp> {
        self.state().health.down().map(|(since, _)| since)
    }

    /// Whether it is to be asked how it is.
    pub fn is_turn(&self, now: Timestamp) -> bool {
        let mut state = self.state();
        let due = if state.health.is_up() {
            state.checked.is_none_or(|at| now >= at + CHECK || now < at)
        } else {
            state.health.is_probe_due(now)
        };
        if due {
            state.checked = Some(now);
        }
        due
    }

    pub fn standing(&self, now: Timestamp) -> Standing {
        let state = self.state();
        let health = &state.health;
        Standing {
            id: self.settings.id.clone(),
            kind: self.settings.kind,
            address: match &self.door {
                Door::Stream { address, .. } => address.to_string(),
                Door::Command(command) => command.words.first().cloned().unwrap_or_default(),
            },
            role: self.settings.role,
            is_up: health.is_up(),
            answers: health.last_trouble.as_ref().is_none_or(|(at, _)| health.last_good.is_some_and(|good| good > *at)),
            down_since: health.down().map(|(since, _)| since.rfc3339()),
            version: health.about.version.clone(),
            signature_age: health.signature_age(now),
            last_good: health.last_good.map(Timestamp::rfc3339),
            last_trouble: health.last_trouble.as_ref().map(|(at, what)| format!("{}: {what}", at.rfc3339())),
        }
    }

    /// A question of a message. An engine that is down is not bothered.
    pub async fn ask(&self, subject: &Subject) -> Result<Seen, Trouble> {
        if let Some((_, why)) = self.state().health.down() {
            return Err(Trouble::Down(why.to_owned()));
        }
        if subject.bytes.len() as u64 > self.settings.largest.as_u64() {
            return Err(Trouble::TooLarge(format!("more than {}", self.settings.largest)));
        }
        self.put(subject).await
    }

    /// The answer, with what it tells of the engine.
    pub fn heard(&self, outcome: Result<Seen, Trouble>, now: Timestamp) -> Result<Answer, Trouble> {
        let turn = {
            let mut state = self.state();
            match &outcome {
                Ok(seen) => {
                    if let Some(version) = &seen.version {
                        state.health.about.version.clone_from(version);
                    }
                    state.health.good(now)
                }
                Err(trouble) => state.health.bad(trouble, now),
            }
        };
        self.tell(turn, outcome.as_ref().err());
        outcome.map(|seen| seen.answer)
    }

    /// Whether it answers at all, and what it says of itself.
    pub async fn check(&self, subject: &Subject) -> Result<(Seen, About), Trouble> {
        let seen = self.put(subject).await?;
        let about = match &self.door {
            Door::Stream { address, engine } => {
                let limit = self.settings.timeout.as_std();
                let asked = timeout(limit, self.about(address, engine.as_ref())).await;
                asked.unwrap_or(Err(Trouble::Timeout))?
            }
            Door::Command(_) => About::default(),
        };
        Ok((seen, about))
    }

    pub fn learned(&self, outcome: Result<(Seen, About), Trouble>, now: Timestamp) {
        let seen = match outcome {
            Ok((seen, about)) => {
                let mut state = self.state();
                if state.health.about != about {
                    tracing::info!(engine = %self.settings.id, version = %about.version, "a virus engine's signatures");
                    state.health.about = about;
                }
                Ok(seen)
            }
            Err(trouble) => Err(trouble),
        };
        // A word about harmless octets is an answer like any other.
        let _ = self.heard(seen, now);
    }

    fn tell(&self, turn: Option<Turn>, why: Option<&Trouble>) {
        let engine = &self.settings.id;
        match (turn, why) {
            (Some(Turn::WentDown), Some(why)) => tracing::error!(engine, %why, "a virus engine is down"),
            (Some(Turn::CameUp), _) => tracing::info!(engine, "a virus engine is up again"),
            _ => {}
        }
        if turn.is_some() {
            self.idle().clear();
        }
    }

    async fn put(&self, subject: &Subject) -> Result<Seen, Trouble> {
        let deadline = Instant::now() + self.settings.timeout.as_std();
        let permit = timeout_at(deadline, self.permits.acquire()).await;
        let Ok(Ok(_permit)) = permit else { return Err(Trouble::Busy) };
        match &self.door {
            Door::Stream { address, engine } => {
                let asked = timeout_at(deadline, self.converse(address, engine.as_ref(), subject)).await;
                asked.unwrap_or(Err(Trouble::Timeout))
            }
            Door::Command(command) => {
                if subject.file.is_empty() {
                    return Err(Trouble::Error("there is no file for it".to_owned()));
                }
                let left = deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
                match program::run(&command.words_for(&subject.file), &command.user, left).await {
                    Ok(ended) => command.read(ended.code, &ended.output).map(Into::into),
                    Err(error) if error.kind() == std::io::ErrorKind::TimedOut => Err(Trouble::Timeout),
                    Err(error) => Err(Trouble::Unreachable(error.to_string())),
                }
            }
        }
    }

    async fn converse(&self, address: &Address, engine: &dyn Engine, subject: &Subject) -> Result<Seen, Trouble> {
        if engine.reads_files() && subject.file.is_empty() {
            return Err(Trouble::Error("there is no file for it".to_owned()));
        }
        while let Some(mut talk) = self.take_idle() {
            match engine.scan(&mut talk, subject).await {
                // It had hung up in the meantime: nothing is known of these octets yet.
                Err(Trouble::Cut | Trouble::AskAgain) => {}
                outcome => return self.keep(engine, talk, outcome),
            }
        }
        let mut talk = self.connect(address, engine).await?;
        let mut outcome = engine.scan(&mut talk, subject).await;
        if matches!(outcome, Err(Trouble::AskAgain)) {
            talk = self.connect(address, engine).await?;
            outcome = engine.scan(&mut talk, subject).await;
        }
        self.keep(engine, talk, outcome)
    }

    async fn about(&self, address: &Address, engine: &dyn Engine) -> Result<About, Trouble> {
        let mut talk = self.connect(address, engine).await?;
        engine.about(&mut talk).await
    }

    async fn connect(&self, address: &Address, engine: &dyn Engine) -> Result<Talk, Trouble> {
        let mut talk = Talk::connect(address).await.map_err(|e| Trouble::Unreachable(e.to_string()))?;
        engine.greet(&mut talk).await?;
        Ok(talk)
    }

    /// After an error nobody knows what still comes on the connection.
    fn keep(&self, engine: &dyn Engine, talk: Talk, outcome: Result<Seen, Trouble>) -> Result<Seen, Trouble> {
        if let Ok(seen) = &outcome
            && engine.keeps()
            && !seen.closes
        {
            self.idle().push(talk);
        }
        outcome
    }

    fn take_idle(&self) -> Option<Talk> {
        let mut idle = self.idle();
        while let Some(mut talk) = idle.pop() {
            if talk.is_quiet() {
                return Some(talk);
            }
        }
        None
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Talk>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
