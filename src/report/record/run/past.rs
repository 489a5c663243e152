//! The record read again for what is known today: deliveries that would not be made, digests that were called malware,
//! what was told already. Holds one line at a time. All of it blocks.

use std::collections::{HashMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};

use aho_corasick::AhoCorasick;

use super::Lines;
use crate::inspect::checks::content::hashes::HashList;
use crate::mail::MailId;
use crate::report::record::retro::{Condemned, HELD, Hit, Known, condemned_in, known_parts, look, settle};
use crate::report::record::{Entry, chain};
use crate::verdict::Action;
use crate::verdict::receipt::{Outcome, Receipt};
use crate::verdict::settings::Policy;

/// Deliveries that are kept in mind; what is beyond is a rule that hits everything.
const MOST: usize = 50_000;
/// Digests that are looked for at a time.
const MOST_DIGESTS: usize = 10_000;

/// The name of the act by which a delivery was told.
pub const FOUND: &str = "retro.found";
/// The same of held mail.
pub const WORSE: &str = "retro.held";

/// Everybody who received, since `since` (RFC 3339), what would not be delivered today; digests that other messages' findings
/// call malware count too.
pub fn deliveries(folder: &Path, since: &str, policy: &Policy, mut known: Known) -> io::Result<Vec<Hit>> {
    for (digest, name) in condemned_since(folder, since)? {
        known.condemned.entry(digest).or_insert(name);
    }
    with_outcomes(folder, since, |receipt| look(receipt, policy, &known), |_| true)
}

/// Everybody who received these octets. Lines that do not hold a digest are not parsed.
pub fn with_digests(folder: &Path, since: &str, condemned: Condemned) -> io::Result<Vec<Hit>> {
    let condemned: Condemned = condemned.into_iter().take(MOST_DIGESTS).collect();
    if condemned.is_empty() {
        return Ok(Vec::new());
    }
    let digests = AhoCorasick::new(condemned.keys()).map_err(io::Error::other)?;
    let known = Known { list: HashList::default(), condemned };
    with_outcomes(folder, since, |receipt| known_parts(receipt, &known), |text| digests.is_match(text))
}

/// Digests that findings of the last days call malware.
pub fn condemned_since(folder: &Path, since: &str) -> io::Result<Condemned> {
    let mut all = Condemned::new();
    for line in Lines::open(folder, day(since))?.holding("\"malware.") {
        let Ok(line) = chain::open(&line?.text) else { continue };
        if let Entry::Receipt(receipt) = line.entry
            && all.len() < MOST_DIGESTS
        {
            all.extend(condemned_in(&receipt));
        }
    }
    Ok(all)
}

/// Keys of what was told since then.
pub fn told(folder: &Path, since: &str) -> io::Result<HashSet<String>> {
    let mut keys = HashSet::new();
    for line in Lines::open(folder, day(since))?.holding("\"retro.") {
        let Ok(line) = chain::open(&line?.text) else { continue };
        if let Entry::Act(act) = line.entry
            && [FOUND, WORSE].contains(&act.what.as_str())
            && keys.len() < 2 * MOST
        {
            keys.insert(act.detail);
        }
    }
    Ok(keys)
}

/// Lists of digests: `files`, and those of `[rules] hashes` (files and folders; a folder may be missing).
pub fn read_lists<'f>(
    files: impl IntoIterator<Item = &'f PathBuf>,
    of_rules: impl IntoIterator<Item = &'f PathBuf>,
) -> Result<HashList, String> {
    let mut paths: Vec<PathBuf> = files.into_iter().cloned().collect();
    for path in of_rules.into_iter().filter(|path| path.exists()) {
        if path.is_dir() {
            let listed = std::fs::read_dir(path).map_err(|error| format!("{}: {error}", path.display()))?;
            let is_list = |path: &PathBuf| path.extension().is_some_and(|end| end == "txt" || end == "csv");
            paths.extend(listed.flatten().map(|entry| entry.path()).filter(is_list));
        } else {
            paths.push(path.clone());
        }
    }
    let mut texts = Vec::with_capacity(paths.len());
    for path in paths {
        let text = std::fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        texts.push((path, String::from_utf8_lossy(&text).into_owned()));
    }
    HashList::compile(&texts).map_err(|problems| problems.first().map(ToString::to_string).unwrap_or_default())
}

fn day(since: &str) -> &str {
    since.get(..10).unwrap_or_default()
}

/// Twice through the record: messages first, then what became of those that were found.
fn with_outcomes(
    folder: &Path,
    since: &str,
    look: impl Fn(&Receipt) -> Vec<Hit>,
    may: impl Fn(&str) -> bool,
) -> io::Result<Vec<Hit>> {
    let mut hits: Vec<Hit> = Vec::new();
    for line in Lines::open(folder, day(since))?.holding("\"kind\":\"receipt\"") {
        let text = line?.text;
        if hits.len() >= MOST || !may(&text) {
            continue;
        }
        let Ok(line) = chain::open(&text) else { continue };
        if let Entry::Receipt(receipt) = line.entry
            && receipt.time.as_str() >= since
        {
            let mut some = look(&receipt);
            some.retain_mut(|hit| settle(hit, &receipt.outcome) || hit.then == Action::Quarantine);
            hits.extend(some);
        }
    }
    let mut later: HashMap<MailId, Vec<Outcome>> = hits.iter().map(|hit| (hit.id, Vec::new())).collect();
    if later.is_empty() {
        return Ok(hits);
    }
    for line in Lines::open(folder, day(since))?.holding("\"kind\":\"outcome\"") {
        let Ok(line) = chain::open(&line?.text) else { continue };
        if let Entry::Outcome(update) = line.entry
            && let Some(outcomes) = later.get_mut(&update.id)
        {
            outcomes.push(update.outcome);
        }
    }
    hits.retain_mut(|hit| settle(hit, later.get(&hit.id).map(Vec::as_slice).unwrap_or_default()));
    // The word for what nobody received; no receipt has it.
    hits.retain(|hit| hit.state != HELD);
    Ok(hits)
}
