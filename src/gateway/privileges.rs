//! From root to the gateway's own user, after the ports are bound and the keys are read.

use std::ffi::CString;
use std::path::Path;

use nix::unistd::{self, Group, User};

/// Why the user could not be changed.
#[derive(Debug, thiserror::Error)]
pub enum PrivilegeError {
    #[error("user \"{0}\" does not exist; create it with: useradd --system --no-create-home {0}")]
    NoUser(String),
    #[error("group \"{0}\" does not exist; create it with: groupadd --system {0}")]
    NoGroup(String),
    #[error("cannot become user \"{user}\": {source}")]
    Refused { user: String, source: nix::Error },
}

/// Who the gateway runs as.
#[derive(Clone, Debug)]
pub struct Identity {
    user: User,
    gid: unistd::Gid,
}

impl Identity {
    /// Looks up `user` and `group` (empty: the user's own group).
    pub fn find(user: &str, group: &str) -> Result<Self, PrivilegeError> {
        let no_user = || PrivilegeError::NoUser(user.to_owned());
        let found = User::from_name(user).ok().flatten().ok_or_else(no_user)?;
        let gid = if group.is_empty() {
            found.gid
        } else {
            let no_group = || PrivilegeError::NoGroup(group.to_owned());
            Group::from_name(group).ok().flatten().ok_or_else(no_group)?.gid
        };
        Ok(Self { user: found, gid })
    }

    /// Gives the folder to this user, so that it can be written after the change.
    pub fn own(&self, folder: &Path) -> std::io::Result<()> {
        unistd::chown(folder, Some(self.user.uid), Some(self.gid)).map_err(std::io::Error::from)
    }

    /// Changes group, supplementary groups and user, in that order, and checks that root cannot come back.
    /// Call before threads that matter are started. Does nothing when this already is the user.
    pub fn assume(&self) -> Result<(), PrivilegeError> {
        if unistd::geteuid() == self.user.uid {
            return Ok(());
        }
        let refused = |source| PrivilegeError::Refused { user: self.user.name.clone(), source };
        let name = CString::new(self.user.name.clone()).map_err(|_| refused(nix::Error::EINVAL))?;
        unistd::initgroups(&name, self.gid).map_err(refused)?;
        unistd::setgid(self.gid).map_err(refused)?;
        unistd::setuid(self.user.uid).map_err(refused)?;
        if unistd::setuid(unistd::Uid::from_raw(0)).is_ok() {
            return Err(refused(nix::Error::EPERM));
        }
        Ok(())
    }
}
