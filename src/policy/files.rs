//! The files a policy is made of: where a written path leads, and what was read (for the policy's hash and for the
//! watch on changes). The reading itself is a door that `run.rs` opens; tests hand in files from memory.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::mail::Timestamp;

/// Where installed packages keep what everybody shares; looked into last.
pub const SHARED: &str = "/usr/share/luytre";

/// What `build` needs of the world.
pub trait Disk {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;
    /// The files of a folder, sorted; not those below.
    fn list(&self, folder: &Path) -> io::Result<Vec<PathBuf>>;
    fn is_folder(&self, path: &Path) -> bool;
    fn has(&self, path: &Path) -> bool;
    /// Whether users other than owner and group can read the file.
    fn is_open_to_all(&self, path: &Path) -> bool;
    /// The path from the root; the file need not be there.
    fn absolute(&self, path: &Path) -> PathBuf;
    fn now(&self) -> Timestamp;
    /// The machine's own name.
    fn hostname(&self) -> Option<String>;
}

/// A disk that remembers what was read through it.
pub struct Files<'a> {
    disk: &'a dyn Disk,
    /// The folder of the configuration file, from the root.
    base: PathBuf,
    read: RefCell<BTreeMap<PathBuf, [u8; 32]>>,
    /// Folders that were listed: a new file there is a change too.
    listed: RefCell<Vec<PathBuf>>,
}

impl<'a> Files<'a> {
    #[must_use]
    pub fn new(disk: &'a dyn Disk, config: &Path) -> Self {
        let base = config.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
        Self { disk, base: disk.absolute(base), read: RefCell::default(), listed: RefCell::default() }
    }

    #[must_use]
    pub fn base(&self) -> &Path {
        &self.base
    }
    #[must_use]
    pub fn disk(&self) -> &dyn Disk {
        self.disk
    }

    /// Where a path of the configuration leads. A relative one is looked for in the folder of the configuration file,
    /// then in its parent (so that `config/luytre.toml` of a clone finds the clone's `rules/`), then in
    /// `/usr/share/luytre`; what is nowhere is expected in the first.
    #[must_use]
    pub fn resolve(&self, path: &Path) -> PathBuf {
        if path.is_absolute() {
            return path.to_owned();
        }
        let here = self.base.join(path);
        let above = self.base.parent().unwrap_or(&self.base).join(path);
        [here.clone(), above, Path::new(SHARED).join(path)].into_iter().find(|p| self.disk.has(p)).unwrap_or(here)
    }

    pub fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let bytes = self.disk.read(path)?;
        self.read.borrow_mut().insert(self.disk.absolute(path), Sha256::digest(&bytes).into());
        Ok(bytes)
    }

    /// The files of a folder whose names end in `.extension`; a hidden file is an editor's.
    pub fn list(&self, folder: &Path, extensions: &[&str]) -> io::Result<Vec<PathBuf>> {
        self.listed.borrow_mut().push(folder.to_owned());
        let mut files = self.disk.list(folder)?;
        files.retain(|file| {
            let hidden = file.file_name().is_none_or(|n| n.as_encoded_bytes().starts_with(b"."));
            let ours = file.extension().is_some_and(|e| extensions.iter().any(|x| e.eq_ignore_ascii_case(x)));
            !hidden && (ours || extensions.is_empty())
        });
        Ok(files)
    }

    /// SHA-256 in hexadecimal over the names and contents of all files read; names below the configuration's folder
    /// are relative to it, so two machines with the same files have the same hash.
    #[must_use]
    pub fn hash(&self) -> String {
        let mut hasher = Sha256::new();
        for (path, digest) in self.read.borrow().iter() {
            let name = path.strip_prefix(&self.base).unwrap_or(path);
            hasher.update(name.as_os_str().as_encoded_bytes());
            hasher.update([0]);
            hasher.update(digest);
        }
        hex(&hasher.finalize())
    }

    /// Everything whose change would change the policy: files read and folders listed.
    #[must_use]
    pub fn watched(&self) -> Vec<PathBuf> {
        let mut all: Vec<PathBuf> = self.read.borrow().keys().cloned().collect();
        all.extend(self.listed.borrow().iter().cloned());
        all
    }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    })
}
