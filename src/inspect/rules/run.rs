//! The door: rules files are read from disk here, once, off the mail path.

use std::path::{Path, PathBuf};

use super::Source;
use super::compile::RuleSet;
use crate::mail::Problem;

/// A rules file larger than this is no rules file.
const LARGEST: u64 = 8 << 20;

/// The `.toml` files that `paths` (files or folders) name, in the order given, folders sorted by name.
pub fn read(paths: &[PathBuf]) -> Result<Vec<Source>, Vec<Problem>> {
    let (mut sources, mut problems) = (Vec::new(), Vec::new());
    for path in paths {
        match files(path) {
            Ok(list) => {
                for file in list {
                    match text(&file) {
                        Ok(text) => sources.push(Source { name: file.display().to_string(), text }),
                        Err(problem) => problems.push(problem),
                    }
                }
            }
            Err(error) => problems.push(Problem::new(path, format!("cannot be read: {error}"))),
        }
    }
    if problems.is_empty() { Ok(sources) } else { Err(problems) }
}

fn files(path: &Path) -> std::io::Result<Vec<PathBuf>> {
    if !path.is_dir() {
        std::fs::metadata(path)?;
        return Ok(vec![path.to_owned()]);
    }
    let mut list = Vec::new();
    for entry in std::fs::read_dir(path)? {
        let file = entry?.path();
        let hidden = file.file_name().is_some_and(|n| n.to_string_lossy().starts_with('.'));
        if !hidden && file.extension().is_some_and(|e| e == "toml") && file.is_file() {
            list.push(file);
        }
    }
    list.sort();
    Ok(list)
}

fn text(file: &Path) -> Result<String, Problem> {
    let trouble = |error: &dyn std::fmt::Display| Problem::new(file, format!("cannot be read: {error}"));
    let size = std::fs::metadata(file).map_err(|e| trouble(&e))?.len();
    if size > LARGEST {
        return Err(trouble(&format!("{size} octets are too many for a rules file")));
    }
    let bytes = std::fs::read(file).map_err(|e| trouble(&e))?;
    String::from_utf8(bytes).map_err(|e| {
        let before =
            String::from_utf8_lossy(e.as_bytes().get(..e.utf8_error().valid_up_to()).unwrap_or_default()).into_owned();
        Problem::new(file, "the file is not UTF-8").at_offset(&before, before.len()).help("save it as UTF-8")
    })
}

impl RuleSet {
    /// Reads and compiles the rules files that `paths` name.
    pub fn load(paths: &[PathBuf]) -> Result<Self, Vec<Problem>> {
        Self::from_sources(&read(paths)?)
    }
}
