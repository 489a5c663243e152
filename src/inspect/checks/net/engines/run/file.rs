//! Octets as a file, for engines that read files: in memory, in a folder that can be entered and not listed, under a
//! name that nobody guesses, gone when the last question is answered. No name from a message is ever used (THREATS I-01).

use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::super::{Subject, Trouble};

/// A subject, with its file while it is needed.
#[derive(Debug)]
pub(super) struct Shown {
    pub subject: Subject,
    folder: Option<PathBuf>,
}

impl Shown {
    pub const fn plain(subject: Subject) -> Self {
        Self { subject, folder: None }
    }

    /// Each file has a folder of its own, so that a scanner may be given the folder.
    pub async fn write(base: &Path, subject: Subject) -> Result<Self, Trouble> {
        let folder = base.join(format!("luytre-{:032x}", rand::random::<u128>()));
        let (made, bytes) = (folder.clone(), subject.bytes.clone());
        let written = tokio::task::spawn_blocking(move || {
            std::fs::DirBuilder::new().mode(0o711).create(&made)?;
            let file = made.join("mail");
            // The engine is another user: it may read, and nobody else knows the name.
            let mut open = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o644).open(&file)?;
            std::io::Write::write_all(&mut open, &bytes)?;
            Ok::<_, std::io::Error>(file)
        });
        let mut shown = Self { subject, folder: Some(folder) };
        let file = written.await.map_err(|e| Trouble::Error(e.to_string()))?;
        let file = file.map_err(|e| Trouble::Error(format!("the file for it cannot be written: {e}")))?;
        shown.subject.file = file.display().to_string();
        Ok(shown)
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        if let Some(folder) = &self.folder
            && let Err(error) = std::fs::remove_dir_all(folder)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!(%error, folder = %folder.display(), "a file for the virus engines stays behind");
        }
    }
}
