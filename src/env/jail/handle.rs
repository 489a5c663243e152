//! Taking ownership of descriptors that arrived over a socket: the one unsafe step of the hand-over.
#![allow(unsafe_code)]

use std::os::fd::{FromRawFd, OwnedFd, RawFd};

/// Owns descriptors that `recvmsg` has just created in this process.
pub(super) fn own_received(raw: Vec<RawFd>) -> Vec<OwnedFd> {
    raw.into_iter()
        .filter(|fd| *fd >= 0)
        // SAFETY: the kernel made these descriptors for this process in the SCM_RIGHTS message just read; nothing
        // else knows their numbers, so nothing else owns or closes them.
        .map(|fd| unsafe { OwnedFd::from_raw_fd(fd) })
        .collect()
}
