//! The file of accounts on disk.

use std::path::Path;

use crate::mail::Problem;
use crate::session::accounts::Accounts;

/// Reads the file; every problem found is in the list, with its line.
pub fn load(path: &Path) -> Result<Accounts, Vec<Problem>> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| vec![Problem::new(path, format!("the users file cannot be read: {error}"))])?;
    Accounts::parse(&text)
        .map_err(|bad| bad.into_iter().map(|(line, error)| Problem::new(path, error.to_string()).at(line, 1)).collect())
}
