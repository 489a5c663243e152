//! The machine's own file system.

use std::fs::{File, OpenOptions};
use std::io::{self, IoSlice};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;

use super::{Disk, DiskFile, Lock, Open, Room};

/// Kernels take at most this many parts in one write (IOV_MAX).
const MOST_PARTS: usize = 1024;

/// The real thing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Real;

impl Disk for Real {
    fn create_folder(&self, folder: &Path) -> io::Result<()> {
        let mut missing: Vec<&Path> = folder.ancestors().take_while(|path| !path.exists()).collect();
        while let Some(path) = missing.pop() {
            match std::fs::DirBuilder::new().mode(0o750).create(path) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                _ => {}
            }
            match path.parent() {
                Some(above) if !above.as_os_str().is_empty() => self.sync_folder(above)?,
                _ => self.sync_folder(Path::new("."))?,
            }
        }
        Ok(())
    }

    fn open(&self, path: &Path, how: Open) -> io::Result<Arc<dyn DiskFile>> {
        let mut options = OpenOptions::new();
        options.read(true).mode(0o640);
        match how {
            Open::Read => &mut options,
            Open::ReadWrite => options.write(true),
            Open::CreateNew => options.write(true).create_new(true),
        };
        Ok(Arc::new(RealFile(options.open(path)?)))
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(folder)? {
            // A name that is not UTF-8 is none of ours.
            if let Ok(name) = entry?.file_name().into_string() {
                names.push(name);
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        File::open(folder)?.sync_all()
    }

    fn free_bytes(&self, path: &Path) -> io::Result<u64> {
        let found = nix::sys::statvfs::statvfs(path)?;
        Ok(found.blocks_available().saturating_mul(found.fragment_size()))
    }

    fn free_files(&self, path: &Path) -> io::Result<u64> {
        let found = nix::sys::statvfs::statvfs(path)?;
        // btrfs and others make inodes as they need them, and count none.
        Ok(if found.files() == 0 { u64::MAX } else { found.files_available() })
    }

    fn lock(&self, path: &Path) -> io::Result<Lock> {
        let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o640).open(path)?;
        file.try_lock().map_err(|error| match error {
            std::fs::TryLockError::WouldBlock => io::ErrorKind::WouldBlock.into(),
            std::fs::TryLockError::Error(error) => error,
        })?;
        Ok(Lock { _file: Some(file) })
    }
}

#[derive(Debug)]
struct RealFile(File);

impl DiskFile for RealFile {
    fn read_at(&self, at: u64, into: &mut [u8]) -> io::Result<usize> {
        self.0.read_at(into, at)
    }

    fn write_at(&self, mut at: u64, mut parts: &mut [IoSlice<'_>]) -> io::Result<()> {
        IoSlice::advance_slices(&mut parts, 0);
        while !parts.is_empty() {
            let some = parts.get(..parts.len().min(MOST_PARTS)).unwrap_or(&[]);
            let place = i64::try_from(at).map_err(|_| io::ErrorKind::FileTooLarge)?;
            match nix::sys::uio::pwritev(&self.0, some, place) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => {
                    at = at.saturating_add(n as u64);
                    IoSlice::advance_slices(&mut parts, n);
                }
                Err(nix::errno::Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn preallocate(&self, len: u64, how: Room) -> io::Result<()> {
        let end = i64::try_from(len).map_err(|_| io::ErrorKind::FileTooLarge)?;
        // Says "no room" at once instead of half-way; file systems without it are simply filled.
        match nix::fcntl::posix_fallocate(&self.0, 0, end) {
            Ok(()) | Err(nix::errno::Errno::EOPNOTSUPP | nix::errno::Errno::EINVAL) => {}
            Err(error) => return Err(error.into()),
        }
        if how == Room::Reserved {
            return self.0.set_len(len);
        }
        let zeros = vec![0_u8; 1 << 20];
        let mut at = 0;
        while at < len {
            let chunk = zeros.get(..usize::try_from(len - at).unwrap_or(usize::MAX).min(zeros.len())).unwrap_or(&zeros);
            self.0.write_all_at(chunk, at)?;
            at = at.saturating_add(chunk.len() as u64);
        }
        self.0.set_len(len)
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }
}
