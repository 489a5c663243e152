//! Where the master keys come from: a file that the operator named, systemd's credential, or the gateway's own file.
//!
//! A key that is named and missing is an error with a sentence, never a reason to make another one: the gateway does not
//! start, so mail stays with its senders. The gateway makes its own key only where nothing is sealed yet.

use std::io::{self, IoSlice};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use crate::env::disk::{Disk, Open, read_exact_at};
use crate::env::vault::{BadKeys, KeyId, Keys, MasterKey, VaultError};

/// The credential's name: `LoadCredential=luytre-quarantine-key:/etc/luytre/keys/quarantine.key`.
pub const CREDENTIAL: &str = "luytre-quarantine-key";
/// No key file is longer.
const MOST: u64 = 64 << 10;

/// A key file, and who answers for it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Source {
    /// `[quarantine] key`
    Named(PathBuf),
    /// systemd's; it cannot be written.
    Credential(PathBuf),
    /// The gateway's own, in the data folder.
    Own(PathBuf),
}

/// Why there are no keys.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    #[error(
        "the quarantine's key file {} is missing: put it back, or take `key` out of [quarantine] if nothing was sealed \
         with it yet", .0.display()
    )]
    Missing(PathBuf),
    #[error(
        "held mail is sealed with a key that is not here ({}): put {} back, or move the quarantine's folder aside",
        .1.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "), .0.display()
    )]
    Lost(PathBuf, Vec<KeyId>),
    #[error("the quarantine's key file {} cannot be used: {bad}", path.display())]
    Bad { path: PathBuf, bad: BadKeys },
    #[error("the quarantine's key file {} cannot be read or written: {error}", path.display())]
    Disk { path: PathBuf, error: io::Error },
    #[error(
        "the key comes from systemd, which does not let it be changed: put a new first line into the file behind LoadCredential and restart"
    )]
    Fixed,
    #[error(transparent)]
    Vault(#[from] VaultError),
}

impl Source {
    /// As `[quarantine] key` says; the credential only where systemd gave one.
    #[must_use]
    pub fn find(named: &Path, shelf: &Path) -> Self {
        if !named.as_os_str().is_empty() {
            return Self::Named(named.to_owned());
        }
        let credential = std::env::var_os("CREDENTIALS_DIRECTORY").map(|folder| Path::new(&folder).join(CREDENTIAL));
        match credential.filter(|path| path.exists()) {
            Some(path) => Self::Credential(path),
            None => Self::Own(shelf.with_extension("key")),
        }
    }

    #[must_use]
    pub fn path(&self) -> &Path {
        let (Self::Named(path) | Self::Credential(path) | Self::Own(path)) = self;
        path
    }

    /// The keys; `None` when there is no such file.
    pub fn load(&self, disk: &dyn Disk) -> Result<Option<Keys>, KeyError> {
        let path = self.path();
        let trouble = |error| KeyError::Disk { path: path.to_owned(), error };
        let file = match disk.open(path, Open::Read) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file.map_err(trouble)?,
        };
        let size = file.size().map_err(trouble)?.min(MOST);
        let mut bytes = vec![0; usize::try_from(size).unwrap_or(0)];
        read_exact_at(file.as_ref(), 0, &mut bytes).map_err(trouble)?;
        let keys = Keys::parse(&String::from_utf8_lossy(&bytes));
        keys.map(Some).map_err(|bad| KeyError::Bad { path: path.to_owned(), bad })
    }

    /// The keys of a gateway that starts; `needed` are those that held mail was sealed with.
    pub fn open(&self, disk: &dyn Disk, needed: &[KeyId]) -> Result<Keys, KeyError> {
        if let Some(keys) = self.load(disk)? {
            return Ok(keys);
        }
        match self {
            Self::Own(path) if needed.is_empty() => {
                let keys = Keys::of(MasterKey::generate()?);
                self.write(disk, &keys)?;
                tracing::warn!(
                    path = %path.display(),
                    "a key for the quarantine was made; keep a copy of it apart from the data, and see [quarantine] key"
                );
                Ok(keys)
            }
            Self::Own(path) => Err(KeyError::Lost(path.clone(), needed.to_vec())),
            Self::Named(path) | Self::Credential(path) => Err(KeyError::Missing(path.clone())),
        }
    }

    /// Writes the file whole, synced: after a power cut there is the old one or the new one. Its owner alone may read it.
    pub fn write(&self, disk: &dyn Disk, keys: &Keys) -> Result<(), KeyError> {
        if matches!(self, Self::Credential(_)) {
            return Err(KeyError::Fixed);
        }
        let path = self.path();
        let fresh = path.with_extension("key.new");
        let write = || -> io::Result<()> {
            // Left by a crash, perhaps.
            let _ = disk.remove(&fresh);
            let folder = path.parent().unwrap_or(Path::new("/"));
            disk.create_folder(folder)?;
            let file = disk.open(&fresh, Open::CreateNew)?;
            // Before the key is in it. On a disk of a test there is no such file.
            match std::fs::set_permissions(&fresh, std::fs::Permissions::from_mode(0o600)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            file.write_at(0, &mut [IoSlice::new(keys.text().as_bytes())])?;
            file.sync_data()?;
            disk.rename(&fresh, path)?;
            disk.sync_folder(folder)
        };
        write().map_err(|error| KeyError::Disk { path: path.to_owned(), error })
    }
}
