//! `[quarantine]`

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::mail::{ByteSize, Span};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Quarantine {
    /// How long mail is held before it is purged (DOMAIN R38).
    pub keep: Span,
    /// The file with the master keys that held mail is sealed with. Empty: systemd's credential
    /// `luytre-quarantine-key` where there is one, else `quarantine.key` in the data folder, made when it is missing.
    pub key: PathBuf,
    /// Octets that held mail may take; 0: as much as there is.
    pub quota: ByteSize,
    /// Octets that one agency's held mail may take of that; 0: all of it.
    pub agency_quota: ByteSize,
    pub when_full: WhenFull,
}

/// What happens to mail that should be held while the quota is used up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WhenFull {
    /// 452: its sender keeps it and tries again.
    #[default]
    Refuse,
    /// The oldest spam makes room; when there is none, 452.
    Oldest,
}

impl Default for Quarantine {
    fn default() -> Self {
        Self {
            keep: Span::days(30),
            key: PathBuf::new(),
            // A flood of hostile mail takes a part of the disk, never all of it.
            quota: ByteSize::gib(10),
            // A flood at one agency leaves room for the others'.
            agency_quota: ByteSize::gib(5),
            when_full: WhenFull::Refuse,
        }
    }
}
