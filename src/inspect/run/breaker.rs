//! The circuit breaker of the YARA rules: a rule that takes longer than `limits.rule_time` for a message is found and put
//! on the list of parked ones. The list is a file of the policy, so the rest is a reload like any other: compiled off the
//! mail path, tried by one new inspector, then taken by all; no message is scanned by half a set.
//!
//! Until then the messages that the rule holds up end as `inspect.failed`, never as clean.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::Pool;
use super::trial::{self, Outcome, Suspect};
use crate::env::Clock;
use crate::env::disk::{self, Disk};
use crate::inspect::parked::{self, Parked};

/// One set of rules is searched no oftener than this: somebody may send mail that is slow to open on purpose.
const PAUSE: Duration = Duration::from_secs(300);
/// The list holds no more than this.
const MOST: usize = 1000;

/// What it needs of the gateway.
pub struct Breaker {
    pub disk: Arc<dyn Disk>,
    /// The data folder.
    pub data: PathBuf,
    pub clock: Clock,
    /// Told of every rule that is parked.
    pub tell: Box<dyn Fn(&Parked) + Send + Sync>,
}

impl Breaker {
    /// Takes up what `pool` finds slow, one message after the other; ends with the pool.
    pub async fn run(self, pool: Pool) {
        let Some(mut suspects) = pool.suspects() else { return };
        let mut searched: Option<(u64, Instant)> = None;
        while let Some(suspect) = suspects.recv().await {
            let generation = suspect.generation;
            // What was found is being taken out, or nothing was and nothing new will be.
            let known = searched.is_some_and(|(before, at)| before == generation && at.elapsed() < PAUSE);
            if known || generation != pool.0.lock().pinned.generation {
                continue;
            }
            tracing::warn!(size_bytes = suspect.raw.len(), "a message took long; is it a YARA rule?");
            let outcome = trial::search(&pool.0.launcher, &suspect).await;
            let word = match &outcome {
                Outcome::Guilty(_) => "parked",
                Outcome::Together => "together",
                Outcome::Innocent => "innocent",
                Outcome::Unclear(_) => "unclear",
            };
            pool.0.metrics.searches.with_label_values(&[word]).inc();
            match outcome {
                Outcome::Guilty(rules) => self.park(&suspect, &rules),
                Outcome::Together => {
                    tracing::warn!("the YARA rules are slow together, none of them alone: there are too many");
                }
                Outcome::Innocent => tracing::info!("it was no YARA rule that took long"),
                Outcome::Unclear(why) => tracing::warn!(why, "which YARA rule took long could not be found out"),
            }
            searched = Some((generation, Instant::now()));
        }
    }

    /// Puts rules on the list.
    fn park(&self, suspect: &Suspect, rules: &[String]) {
        let folder = self.data.join(parked::FOLDER);
        let file = folder.join(parked::FILE);
        let policy = &suspect.policy;
        let text = std::fs::read_to_string(&file).unwrap_or_default();
        // What cannot be read parks nothing now; what is of other files parks nothing any more.
        let mut list = parked::read(&text).unwrap_or_default();
        list.retain(|entry| policy.packs().iter().any(|(_, digest)| *digest == entry.pack));
        let packs = crate::inspect::checks::content::yara::Packs::open(policy.yara_sources());
        let pack = |rule: &String| {
            let number = (0..packs.len()).find(|number| packs.name(*number) == rule)?;
            let source = packs.source(number)?;
            policy.packs().iter().find(|(path, _)| *path == source.file).map(|(_, digest)| digest.clone())
        };
        let (limit, size) = (policy.limits().rule_time, suspect.raw.len());
        let entry = |rule: &String| {
            Some(Parked {
                rule: rule.clone(),
                pack: pack(rule)?,
                since: self.clock.now().rfc3339(),
                why: format!("it took more than {limit} of CPU time for a message of {size} octets"),
            })
        };
        let new: Vec<Parked> = rules.iter().filter_map(entry).collect();
        list.extend(new.iter().cloned());
        let excess = list.len().saturating_sub(MOST);
        list.drain(..excess);
        let kept = self.disk.create_folder(&folder);
        let kept = kept.and_then(|()| disk::replace(self.disk.as_ref(), &file, parked::write(&list).as_bytes()));
        if let Err(error) = &kept {
            let names: Vec<&str> = new.iter().map(|entry| entry.rule.as_str()).collect();
            let (names, path) = (names.join(" "), file.display());
            tracing::error!(%error, %path, names, "YARA rules take too long and go on: the list of parked ones could not be written");
            return;
        }
        for entry in &new {
            tracing::error!(rule = entry.rule, why = entry.why, "a YARA rule is parked");
            (self.tell)(entry);
        }
    }
}
