//! Reading what a policy is made of: the door to rule files and certificates, off the mail path.

use std::path::{Path, PathBuf};

use crate::inspect::policy::{Policy, Sources};
use crate::inspect::settings;
use crate::mail::Problem;

impl Policy {
    /// Reads and compiles what the settings name; paths are relative to `base`. Every problem at once.
    pub fn compile(
        inspect: &settings::Inspect,
        rules: &settings::Rules,
        limits: &crate::session::settings::Limits,
        smime: &settings::Smime,
        base: &Path,
    ) -> Result<Self, Vec<Problem>> {
        let mut problems = Vec::new();
        let yara = read_all(base, &rules.yara, &["yar", "yara"], &mut problems);
        let spam = read_all(base, &rules.spam, &["toml"], &mut problems);
        let trust = read_all(base, &smime.trust, &["pem", "crt", "cer", "der"], &mut problems);
        // The default folder may be missing: a small site has no lists of its own.
        let lists: Vec<PathBuf> = rules.hashes.iter().filter(|path| base.join(path).exists()).cloned().collect();
        let hashes = read_all(base, &lists, &["txt", "csv"], &mut problems);
        let passwords = read_all(base, &rules.passwords, &["txt"], &mut problems);
        let sources = Sources::from_files(yara, spam, trust, &mut problems);
        let sources = sources.with_hashes(hashes).with_passwords(passwords);
        match Self::from_sources(&inspect.checks, limits.into(), sources) {
            Ok(policy) if problems.is_empty() => Ok(policy),
            Ok(_) => Err(problems),
            Err(mut more) => {
                problems.append(&mut more);
                Err(problems)
            }
        }
    }
}

/// The files that `paths` name, folders searched through one level, in order of their names.
fn read_all(base: &Path, paths: &[PathBuf], endings: &[&str], problems: &mut Vec<Problem>) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files = Vec::new();
    for path in paths {
        let path = base.join(path);
        if !path.is_dir() {
            files.push(path);
            continue;
        }
        match std::fs::read_dir(&path) {
            Ok(entries) => {
                let mut inside: Vec<PathBuf> = entries.filter_map(|e| Some(e.ok()?.path())).collect();
                inside.retain(|p| p.extension().is_some_and(|e| endings.iter().any(|x| e == *x)));
                inside.sort();
                files.append(&mut inside);
            }
            Err(error) => problems.push(Problem::new(&path, format!("the folder cannot be read: {error}"))),
        }
    }
    let mut read = Vec::new();
    for file in files {
        match std::fs::read(&file) {
            Ok(bytes) => read.push((file, bytes)),
            Err(error) => problems.push(Problem::new(&file, format!("the file cannot be read: {error}"))),
        }
    }
    read
}
