//! Who asks on the control socket: the user whose process is at the other end, as the kernel says (SO_PEERCRED). What a
//! command says of itself (`SUDO_USER`) stands beside it as a note: anybody may set a variable.

use std::io;
use std::os::fd::AsFd;

use nix::sys::socket::getsockopt;
use nix::sys::socket::sockopt::PeerCredentials;
use nix::unistd::{Uid, User};

/// Of what a command says of itself, so many characters are believed to be a name.
const LONGEST: usize = 64;

/// The user at the other end.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Peer(String);

impl Peer {
    /// Asks the kernel, and the system for the user's name; may block on a directory of users.
    pub fn of(socket: &impl AsFd) -> io::Result<Self> {
        let uid = getsockopt(socket, PeerCredentials)?.uid();
        let user = User::from_uid(Uid::from_raw(uid)).ok().flatten();
        Ok(Self(user.map_or_else(|| format!("uid {uid}"), |user| user.name)))
    }

    /// As it stands in records: `an`, `uid 1007`, `root (sudo by an)`.
    #[must_use]
    pub fn called(&self, sudo: &str) -> String {
        let is_name = |c: &char| c.is_alphanumeric() || matches!(c, '.' | '_' | '-' | '@' | '\\' | '+');
        let sudo: String = sudo.chars().filter(is_name).take(LONGEST).collect();
        if sudo.is_empty() || sudo == self.0 { self.0.clone() } else { format!("{} (sudo by {sudo})", self.0) }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn k08_the_kernel_says_who_asks_and_what_is_claimed_is_a_note() {
        let (one, _other) = UnixStream::pair().unwrap();
        let peer = Peer::of(&one).unwrap();
        let own = User::from_uid(Uid::current()).unwrap().map_or_else(|| format!("uid {}", Uid::current()), |u| u.name);
        assert_eq!(peer.called(""), own);
        assert_eq!(peer.called(&own), own);
        assert_eq!(peer.called("an"), format!("{own} (sudo by an)"));
        assert_eq!(peer.called("an)\n(sudo by binh"), format!("{own} (sudo by ansudobybinh)"));
        assert!(peer.called(&"x".repeat(9000)).len() < 200);
    }
}
