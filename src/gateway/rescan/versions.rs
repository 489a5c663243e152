//! Which versions of the engines all held mail was shown to: a small file beside the quarantine, so that a restart neither
//! forgets an update nor repeats one. Lost, it costs one more round.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use crate::env::disk::{self, Disk, Open, read_exact_at};

/// The file is no longer than this.
const LONGEST: u64 = 64 << 10;
/// Versions kept: a service of several machines tells now this one's, now that one's.
const MOST: usize = 50;

/// What held mail was shown to.
pub struct Versions {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    shown: Mutex<Vec<String>>,
}

impl Versions {
    /// Reads the file in the data folder.
    pub fn open(disk: Arc<dyn Disk>, data: &Path) -> Self {
        let path = data.join("rescanned.json");
        let shown = match read(disk.as_ref(), &path) {
            Ok(shown) => shown,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => {
                tracing::warn!(%error, path = %path.display(), "not readable: held mail is shown to the engines again");
                Vec::new()
            }
        };
        Self { disk, path, shown: Mutex::new(shown) }
    }

    /// Whether one of these has not seen the held mail.
    pub fn is_news(&self, known: &[String]) -> bool {
        let shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        known.iter().any(|version| !shown.contains(version))
    }

    /// Held mail was shown to all of these.
    pub fn remember(&self, mut shown: Vec<String>) {
        let before = self.shown.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let older: Vec<String> = before.into_iter().filter(|version| !shown.contains(version)).collect();
        shown.extend(older);
        shown.truncate(MOST);
        if let Err(error) = self.write(&shown) {
            tracing::warn!(%error, path = %self.path.display(), "a restart will show held mail to the engines again");
        }
        *self.shown.lock().unwrap_or_else(PoisonError::into_inner) = shown;
    }

    fn write(&self, shown: &[String]) -> io::Result<()> {
        let text = serde_json::to_vec(shown).map_err(io::Error::other)?;
        disk::replace(self.disk.as_ref(), &self.path, &text)
    }
}

fn read(disk: &dyn Disk, path: &Path) -> io::Result<Vec<String>> {
    let file = disk.open(path, Open::Read)?;
    let mut text = vec![0; usize::try_from(file.size()?.min(LONGEST)).unwrap_or(0)];
    read_exact_at(file.as_ref(), 0, &mut text)?;
    serde_json::from_slice(&text).map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::disk::Simulated;

    #[test]
    fn a_restart_neither_forgets_an_update_nor_repeats_one() {
        let disk = Simulated::new(1);
        disk.create_folder(Path::new("/d")).unwrap();
        let open = || Versions::open(Arc::new(disk.clone()), Path::new("/d"));
        let known = ["clamav 1/27800".to_owned(), "icap \"v1\"".to_owned()];
        let versions = open();
        assert!(versions.is_news(&known) && !versions.is_news(&[]), "nobody has said a version yet");
        versions.remember(known.to_vec());
        assert!(!open().is_news(&known) && !open().is_news(&known[..1]));
        assert!(open().is_news(&["clamav 1/27801".to_owned()]));
        open().remember(vec!["clamav 1/27801".to_owned()]);
        assert!(!open().is_news(&known), "one that comes again has seen all this");
        (0..100).for_each(|number| open().remember(vec![format!("clamav {number}")]));
        assert!(open().is_news(&known) && !open().is_news(&["clamav 99".to_owned()]), "not for ever");
    }
}
