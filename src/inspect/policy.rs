//! What inspectors decide by: compiled once off the mail path, immutable, identified by a hash.
//!
//! [`Policy`] is the main process's side, [`Sealed`] what travels to an inspector, [`Loaded`] what an inspector holds.
//! A message is looked at by one inspector that holds one whole policy, so nothing is scanned by half a set.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::checks::content::hashes::HashList;
use super::checks::content::smime::TrustMaterial;
use super::checks::content::{self, Limits, REGISTER, yara};
use super::parked::{self, Parked};
use super::rules::{self, RuleSet};
use crate::mail::{Problem, problem::Severity};

/// Everything that shapes an inspection, as read from files.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    pub yara: Vec<yara::Source>,
    /// Rules of these files that are not run.
    pub parked: Vec<Parked>,
    pub spam: Vec<rules::Source>,
    pub trust: TrustMaterial,
    /// Lists of known files: path and text.
    pub hashes: Vec<(PathBuf, String)>,
    /// That encrypted archives are tried with, in this order.
    pub passwords: Vec<String>,
}

impl Sources {
    /// Without the rules of a list.
    #[must_use]
    pub fn with_parked(self, parked: Vec<Parked>) -> Self {
        Self { parked, ..self }
    }

    /// With the passwords of text files, one a line; empty lines and those that begin with `#` are none.
    #[must_use]
    pub fn with_passwords(mut self, files: Vec<(PathBuf, Vec<u8>)>) -> Self {
        for (_, bytes) in files {
            let text = String::from_utf8_lossy(&bytes);
            let lines = text.lines().map(|line| line.trim_end_matches('\r'));
            self.passwords.extend(lines.filter(|l| !l.is_empty() && !l.starts_with('#')).map(str::to_owned));
        }
        self
    }

    /// From files as read: path and octets. Texts must be UTF-8; certificates PEM or DER, those below a folder
    /// `pool` help to build chains and are no anchors. What is wrong goes to `problems`.
    #[must_use]
    pub fn from_files(
        yara: Vec<(PathBuf, Vec<u8>)>,
        spam: Vec<(PathBuf, Vec<u8>)>,
        trust: Vec<(PathBuf, Vec<u8>)>,
        problems: &mut Vec<Problem>,
    ) -> Self {
        let mut material = TrustMaterial::default();
        for (file, bytes) in trust {
            let pooled = file.parent().is_some_and(|folder| folder.ends_with("pool"));
            if let Err(why) = material.add(&bytes, pooled) {
                problems.push(Problem::new(file, why));
            }
        }
        let mut text = |(file, bytes): (PathBuf, Vec<u8>)| match String::from_utf8(bytes) {
            Ok(text) => Some((file, text)),
            Err(_) => {
                problems.push(Problem::new(file, "the file is not UTF-8 text"));
                None
            }
        };
        let yara = yara.into_iter().filter_map(&mut text).map(|(file, text)| yara::Source { file, text }).collect();
        let named = |(file, text): (PathBuf, String)| rules::Source { name: file.display().to_string(), text };
        Self {
            yara,
            parked: Vec::new(),
            spam: spam.into_iter().filter_map(&mut text).map(named).collect(),
            trust: material,
            hashes: Vec::new(),
            passwords: Vec::new(),
        }
    }

    /// With lists of known files, as read.
    #[must_use]
    pub fn with_hashes(mut self, files: Vec<(PathBuf, Vec<u8>)>) -> Self {
        let text = |(file, bytes): (PathBuf, Vec<u8>)| (file, String::from_utf8_lossy(&bytes).into_owned());
        self.hashes = files.into_iter().map(text).collect();
        self
    }
}

/// A checked and compiled policy. Cheap to share behind an `Arc`.
#[derive(Debug)]
pub struct Policy {
    bytes: Vec<u8>,
    hash: String,
    limits: Limits,
    rules: Arc<RuleSet>,
    yara_rules: Vec<yara::About>,
    yara_sources: Vec<yara::Source>,
    packs: Vec<(PathBuf, String)>,
    parked: Vec<Parked>,
    /// Things worth saying that do not keep the policy from being used.
    warnings: Vec<Problem>,
}

/// What travels to an inspector.
#[derive(Serialize, Deserialize)]
struct Sealed {
    checks: Vec<String>,
    limits: Limits,
    yara: Vec<u8>,
    spam: Vec<rules::Source>,
    trust: TrustMaterial,
    hashes: HashList,
    passwords: Vec<String>,
}

impl Policy {
    /// Compiles `sources`; every problem at once.
    pub fn from_sources(checks: &[String], limits: Limits, sources: Sources) -> Result<Self, Vec<Problem>> {
        let (mut problems, mut warnings) = (Vec::new(), Vec::new());
        for id in checks {
            if !REGISTER.iter().any(|e| e.id == id) {
                let known: Vec<&str> = REGISTER.iter().map(|e| e.id).collect();
                let problem = Problem::new("", format!("[inspect] checks: there is no check \"{id}\""));
                problems.push(problem.help(format!("there are: {}", known.join(", "))));
            }
        }
        if checks.is_empty() {
            warnings.push(Problem::new("", "[inspect] checks is empty: content is not looked at").warning());
        }
        let parked::Set { sources: live, packs, parked, warnings: mut told } =
            parked::Set::of(sources.yara, &sources.parked);
        warnings.append(&mut told);
        let sources = Sources { yara: live, ..sources };
        let hash = digest(checks, &limits, &sources);
        let compiled = yara::RuleSet::compile(&sources.yara).map_err(|mut p| problems.append(&mut p)).ok();
        let compiled = compiled.map(|(rules, mut odd)| {
            warnings.append(&mut odd);
            rules
        });
        let native = compiled.as_ref().map(yara::RuleSet::to_bytes);
        let rules = RuleSet::from_sources(&sources.spam).map_err(|mut p| problems.append(&mut p)).ok();
        let yara_rules = compiled.as_ref().map(yara::RuleSet::rules).unwrap_or_default();
        let yara = match native {
            Some(Ok(bytes)) => bytes,
            Some(Err(why)) => {
                problems.push(Problem::new("", format!("the YARA rules cannot be handed over: {why}")));
                Vec::new()
            }
            None => Vec::new(),
        };
        let hashes = HashList::compile(&sources.hashes).map_err(|mut p| problems.append(&mut p)).unwrap_or_default();
        let sealed = Sealed {
            checks: checks.to_vec(),
            limits: limits.clone(),
            yara,
            spam: sources.spam,
            trust: sources.trust,
            hashes,
            passwords: sources.passwords,
        };
        let bytes = postcard::to_stdvec(&sealed).unwrap_or_default();
        if bytes.is_empty() {
            problems.push(Problem::new("", "the policy cannot be written down"));
        }
        match rules.filter(|_| problems.iter().all(|p| p.severity != Severity::Error)) {
            Some(rules) => {
                warnings.append(&mut problems);
                Ok(Self {
                    bytes,
                    hash,
                    limits,
                    rules: Arc::new(rules),
                    yara_rules,
                    yara_sources: sources.yara,
                    packs,
                    parked,
                    warnings,
                })
            }
            None => Err(problems),
        }
    }

    /// What [`Loaded::open`] reads, in this process or in an inspector.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
    /// Of the sources: the same files and settings give the same hash on every machine.
    #[must_use]
    pub fn hash(&self) -> &str {
        &self.hash
    }
    #[must_use]
    pub const fn limits(&self) -> &Limits {
        &self.limits
    }
    /// The rules that the numbers in `ContentFacts::atoms` belong to.
    #[must_use]
    pub const fn rules(&self) -> &Arc<RuleSet> {
        &self.rules
    }
    /// Every YARA rule, with the finding it makes and its points.
    #[must_use]
    pub fn yara_rules(&self) -> &[yara::About] {
        &self.yara_rules
    }
    /// The files of these rules, without those that are parked.
    #[must_use]
    pub fn yara_sources(&self) -> &[yara::Source] {
        &self.yara_sources
    }
    /// Each of these files as it was read, with the digest by which a parked rule knows it again.
    #[must_use]
    pub fn packs(&self) -> &[(PathBuf, String)] {
        &self.packs
    }
    /// Rules that are not run, and why.
    #[must_use]
    pub fn parked(&self) -> &[Parked] {
        &self.parked
    }
    #[must_use]
    pub fn warnings(&self) -> &[Problem] {
        &self.warnings
    }
    /// Opens the policy in this process, for `luytre scan` and tests; `timeout` bounds one YARA scan.
    pub fn open(&self, timeout: Option<Duration>) -> Result<Loaded, String> {
        Loaded::open(&self.bytes, timeout)
    }
}

fn digest(checks: &[String], limits: &Limits, sources: &Sources) -> String {
    let mut hash = Sha256::new();
    let mut add = |bytes: &[u8]| {
        hash.update((bytes.len() as u64).to_le_bytes());
        hash.update(bytes);
    };
    checks.iter().for_each(|c| add(c.as_bytes()));
    add(&postcard::to_stdvec(limits).unwrap_or_default());
    sources.yara.iter().for_each(|s| add(s.text.as_bytes()));
    sources.spam.iter().for_each(|s| add(s.text.as_bytes()));
    sources.hashes.iter().for_each(|(_, text)| add(text.as_bytes()));
    add(&postcard::to_stdvec(&sources.trust).unwrap_or_default());
    sources.passwords.iter().for_each(|p| add(p.as_bytes()));
    hash.finalize().iter().map(|b| format!("{b:02x}")).collect()
}

/// A policy opened for work: rules as native code in memory.
#[derive(Debug)]
pub struct Loaded {
    checks: Vec<String>,
    limits: Limits,
    yara: yara::RuleSet,
    rules: RuleSet,
    trust: TrustMaterial,
    hashes: HashList,
    passwords: Vec<String>,
    timeout: Option<Duration>,
}

impl Loaded {
    /// `bytes` must come from a [`Policy`] of this same program: they hold native code.
    pub fn open(bytes: &[u8], timeout: Option<Duration>) -> Result<Self, String> {
        let sealed: Sealed = postcard::from_bytes(bytes).map_err(|e| e.to_string())?;
        let yara = yara::RuleSet::from_bytes(&sealed.yara)?;
        let first = |problems: Vec<Problem>| problems.first().map(ToString::to_string).unwrap_or_default();
        let rules = RuleSet::from_sources(&sealed.spam).map_err(first)?;
        let Sealed { checks, limits, trust, hashes, passwords, .. } = sealed;
        Ok(Self { checks, limits, yara, rules, trust, hashes, passwords, timeout })
    }
    #[must_use]
    pub const fn limits(&self) -> &Limits {
        &self.limits
    }
    #[must_use]
    pub const fn yara(&self) -> &yara::RuleSet {
        &self.yara
    }
    #[must_use]
    pub const fn rules(&self) -> &RuleSet {
        &self.rules
    }
    #[must_use]
    pub const fn trust(&self) -> &TrustMaterial {
        &self.trust
    }
    /// The operator's list of passwords for archives.
    #[must_use]
    pub fn passwords(&self) -> &[String] {
        &self.passwords
    }
    #[must_use]
    pub const fn hashes(&self) -> &HashList {
        &self.hashes
    }
    #[must_use]
    pub const fn timeout(&self) -> Option<Duration> {
        self.timeout
    }
    /// The checks that are switched on and their names, in the configured order.
    pub(super) fn checks(&self) -> Vec<(&'static str, Box<dyn content::ContentCheck + '_>)> {
        let entry = |id: &String| REGISTER.iter().find(|e| e.id == id);
        self.checks.iter().filter_map(entry).map(|e| (e.id, (e.build)(self))).collect()
    }
}
