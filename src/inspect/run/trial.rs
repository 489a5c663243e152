//! Which rule it was: a message that took too long is looked at again, off the mail path, by processes of the same cage
//! with smaller and smaller sets of the rules. A trial ends when its process has had as much CPU time as the rules may
//! take: a rule that never ends costs no more than one that is a little too slow, and a busy machine blames nobody.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, sleep};

use super::workers;
use crate::env::jail::{Child, Launcher, memory};
use crate::inspect::Policy;
use crate::inspect::checks::content::yara::{self, Packs, Source};
use crate::inspect::inspector::{Task, Wants};
use crate::inspect::policy::Sources;

/// How often a process is asked how much it has worked.
const LOOK: Duration = Duration::from_millis(20);
/// Of one trial by the clock on the wall, for each second of CPU time that it may have.
const PATIENCE: u32 = 20;
/// Of one search: ten thousand rules are halved fourteen times, for each rule that is found.
const TRIALS: usize = 200;
/// A pack of which more rules are too slow is searched again by the next message.
const FOUND: usize = 8;

/// A message that took an inspector too long, with the policy it was looked at.
#[derive(Debug)]
pub(super) struct Suspect {
    pub raw: Bytes,
    pub task: Task,
    pub policy: Arc<Policy>,
    /// Of the policy among those that were in force one after the other.
    pub generation: u64,
}

/// What a search came to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// `namespace.rule` of each rule that took too long alone.
    Guilty(Vec<String>),
    /// The rules are slow together, none of them alone.
    Together,
    /// It was not the YARA rules.
    Innocent,
    /// The trials could not be held to their end.
    Unclear(String),
}

/// What one set of rules did with the message.
enum Ran {
    /// CPU time of the process for it.
    Done(Duration),
    /// It had more than it was allowed.
    Over,
}

/// A search in progress.
struct Search<'s> {
    launcher: &'s Launcher,
    suspect: &'s Suspect,
    packs: &'s Packs<'s>,
    /// CPU time of everything but rules.
    rest: Duration,
    left: usize,
}

/// Finds the rules that take more than `limits.rule_time` of CPU time for the message, each alone.
pub(super) async fn search(launcher: &Launcher, suspect: &Suspect) -> Outcome {
    let packs = Packs::open(suspect.policy.yara_sources());
    let mut search = Search { launcher, suspect, packs: &packs, rest: Duration::ZERO, left: TRIALS };
    search.run().await.unwrap_or_else(Outcome::Unclear)
}

impl Search<'_> {
    async fn run(&mut self) -> Result<Outcome, String> {
        // Without any rule first: opening the message may be what takes long, and is no rule's fault.
        let allowed = Duration::from_millis(self.suspect.task.budget_ms).max(self.limit());
        match self.hold(Vec::new(), allowed).await? {
            Ran::Done(rest) => self.rest = rest,
            Ran::Over => return Ok(Outcome::Innocent),
        }
        let all = 0..self.packs.len();
        if all.is_empty() || !self.is_slow(all.clone()).await? {
            return Ok(Outcome::Innocent);
        }
        let (mut open, mut guilty) = (vec![all], Vec::new());
        while let Some(range) = open.pop() {
            if guilty.len() >= FOUND {
                break;
            }
            if range.len() == 1 {
                self.blame(range.start, &mut guilty).await?;
                continue;
            }
            let middle = range.start.midpoint(range.end);
            for half in [range.start..middle, middle..range.end] {
                if self.is_slow(half.clone()).await? {
                    open.push(half);
                }
            }
        }
        let names: Vec<String> = guilty.into_iter().map(|rule| self.packs.name(rule).to_owned()).collect();
        Ok(if names.is_empty() { Outcome::Together } else { Outcome::Guilty(names) })
    }

    /// A rule that is slow, or the one below it that makes it slow.
    async fn blame(&mut self, rule: usize, guilty: &mut Vec<usize>) -> Result<(), String> {
        let below = self.packs.below(rule);
        if below.iter().any(|under| guilty.contains(under)) {
            return Ok(());
        }
        let mut own = rule;
        for under in below {
            if self.is_slow(under..under.saturating_add(1)).await? {
                own = under;
                break;
            }
        }
        if !guilty.contains(&own) {
            guilty.push(own);
        }
        Ok(())
    }

    async fn is_slow(&mut self, rules: Range<usize>) -> Result<bool, String> {
        let allowed = self.rest.saturating_add(self.limit());
        Ok(match self.hold(self.packs.only(rules), allowed).await? {
            Ran::Done(took) => took > allowed,
            Ran::Over => true,
        })
    }

    fn limit(&self) -> Duration {
        self.suspect.policy.limits().rule_time.as_std()
    }

    /// One trial; the error is a reason to give the search up.
    async fn hold(&mut self, rules: Vec<Source>, allowed: Duration) -> Result<Ran, String> {
        self.left = self.left.checked_sub(1).ok_or("too many trials")?;
        let limits = self.suspect.policy.limits().clone();
        // Compiling takes seconds for thousands of rules.
        let compiled = tokio::task::spawn_blocking(move || {
            let sources = Sources { yara: rules, ..Sources::default() };
            Policy::from_sources(&[yara::ID.to_owned()], limits, sources)
        });
        let first = |problems: Vec<crate::mail::Problem>| problems.first().map(ToString::to_string).unwrap_or_default();
        let policy = compiled.await.map_err(|error| error.to_string())?.map_err(first)?;
        let policy = memory::seal(policy.bytes()).map_err(|error| error.to_string())?;
        let child = workers::open(self.launcher, &policy).await.map_err(|error| error.to_string())?;
        let budget_ms = u64::try_from(allowed.saturating_mul(PATIENCE).as_millis()).unwrap_or(u64::MAX);
        let task = Task { budget_ms, wants: Wants::default(), ..self.suspect.task.clone() };
        let question = postcard::to_stdvec(&task).map_err(|error| error.to_string())?;
        let message = memory::seal(&self.suspect.raw).map_err(|error| error.to_string())?;
        let before = child.cpu_time().ok_or("the process ended")?;
        child.link.send(&question, &[&message]).await.map_err(|error| error.to_string())?;
        watch(&child, before, allowed).await
    }
}

/// Until the process answers or has worked for too long. It is killed when `child` is dropped.
async fn watch(child: &Child, before: Duration, allowed: Duration) -> Result<Ran, String> {
    let began = Instant::now();
    let answer = child.link.receive();
    tokio::pin!(answer);
    loop {
        let answered = tokio::select! {
            biased;
            answer = &mut answer => Some(answer),
            () = sleep(LOOK) => None,
        };
        let took = child.cpu_time().map(|now| now.saturating_sub(before));
        match (answered, took) {
            (Some(Ok(_)), Some(took)) => return Ok(Ran::Done(took)),
            (Some(Err(error)), _) => return Err(error.to_string()),
            (_, Some(took)) if took > allowed => return Ok(Ran::Over),
            (_, None) => return Err("the process ended".to_owned()),
            (None, Some(_)) if began.elapsed() > allowed.saturating_mul(PATIENCE) => {
                return Err("the machine is too busy".to_owned());
            }
            (None, Some(_)) => {}
        }
    }
}
