//! What the other stages make of their settings, once, off the mail path: rules into matchers, keys into signers,
//! certificates into TLS contexts. What goes wrong is pushed as a [`Problem`], never returned early, so that one run
//! tells everything.

use std::path::PathBuf;
use std::sync::Arc;

use super::Settings;
use super::build::Material;
use crate::inspect::rules::{RuleSet, Source};
use crate::mail::Problem;
use crate::verdict;

/// The compiled parts of a policy.
#[derive(Debug)]
pub struct Compiled {
    pub verdict: verdict::settings::Policy,
}

/// Compiles every stage's part, or says everything that keeps it from that.
pub(super) fn compile(settings: &Settings, material: &Material, problems: &mut Vec<Problem>) -> Option<Compiled> {
    let rules = rules(material, problems);
    Some(Compiled { verdict: verdict(settings, rules?) })
}

/// The spam rules; their files' own warnings are passed on.
fn rules(material: &Material, problems: &mut Vec<Problem>) -> Option<Arc<RuleSet>> {
    let sources: Vec<Source> = texts(&material.spam, problems);
    match RuleSet::from_sources(&sources) {
        Ok(set) => {
            problems.extend(set.warnings().iter().cloned());
            Some(Arc::new(set))
        }
        Err(found) => {
            problems.extend(found);
            None
        }
    }
}

fn texts(files: &[(PathBuf, Vec<u8>)], problems: &mut Vec<Problem>) -> Vec<Source> {
    let mut texts = Vec::with_capacity(files.len());
    for (path, bytes) in files {
        match std::str::from_utf8(bytes) {
            Ok(text) => texts.push(Source { name: path.display().to_string(), text: text.to_owned() }),
            Err(error) => {
                problems.push(Problem::new(path, format!("not UTF-8 text: {error}")).help("save the file as UTF-8"))
            }
        }
    }
    texts
}

fn verdict(settings: &Settings, rules: Arc<RuleSet>) -> verdict::settings::Policy {
    verdict::settings::Policy {
        default: settings.verdict.clone(),
        agencies: settings.agencies.iter().map(|a| (a.id.clone(), a.verdict.clone())).collect(),
        dmarc: settings.dmarc,
        language: settings.language,
        rules,
        // Set when all files have been read.
        hash: String::new(),
    }
}
