//! A temporary file without a name, and its contents as mapped memory. The one unsafe line of intake stands here.
#![allow(unsafe_code)]

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use bytes::Bytes;

/// An empty file in `folder` that has no name: it is gone when the last handle is, also after a crash.
pub fn unlinked(folder: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).mode(0o600).custom_flags(libc::O_TMPFILE).open(folder)
}

/// The whole file as memory. The file must be one of [`unlinked`], not written to again.
pub fn whole(file: &File) -> io::Result<Bytes> {
    if file.metadata()?.len() == 0 {
        return Ok(Bytes::new());
    }
    // SAFETY: the file was made by `unlinked`, so no other process can name it, and its one handle is dropped by
    // the caller after this: nobody can shorten or write it while it is mapped.
    let map = unsafe { memmap2::Mmap::map(file)? };
    Ok(Bytes::from_owner(map))
}
