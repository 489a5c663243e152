//! Another program, run once: no shell, no environment, nothing of ours open, its own process group, its own user where
//! one is named, bounds on what it takes and says, and an end that it cannot put off.
#![allow(unsafe_code)]

use std::io;
use std::process::Stdio;
use std::time::Duration;

use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::{Pid, User};
use tokio::io::AsyncReadExt as _;

/// What it may say; the rest is read and thrown away.
const OUTPUT: u64 = 256 << 10;
/// Address space: scanners load large bases.
const MEMORY: u64 = 4 << 30;
/// The longest file it may write.
const FILE: u64 = 256 << 20;

/// How it ended and what it said.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ended {
    /// `None`: a signal ended it.
    pub code: Option<i32>,
    /// Standard output and error.
    pub output: String,
}

/// Runs `words` and waits. Past `limit`, or when the caller goes away, the whole process group is killed: an error of
/// kind `TimedOut`.
pub async fn run(words: &[String], user: &str, limit: Duration) -> io::Result<Ended> {
    let (program, arguments) = words.split_first().ok_or(io::ErrorKind::InvalidInput)?;
    let mut command = tokio::process::Command::new(program);
    command.args(arguments).env_clear().env("PATH", "/usr/bin:/bin").env("LC_ALL", "C").current_dir("/");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0).kill_on_drop(true);
    if !user.is_empty() {
        let found = User::from_name(user)?.ok_or_else(|| io::Error::other(format!("there is no user {user}")))?;
        command.uid(found.uid.as_raw()).gid(found.gid.as_raw());
    }
    let seconds = limit.as_secs().saturating_add(1);
    // SAFETY: between fork and exec only system calls are made, no memory is taken and no lock; setrlimit and prctl are
    // safe to call there.
    unsafe {
        command.pre_exec(move || limits(seconds));
    }
    let mut child = command.spawn()?;
    let group = Group(child.id());
    let (mut out, mut err) = (child.stdout.take(), child.stderr.take());
    let work = async {
        let (said, complained) = tokio::join!(read(out.as_mut()), read(err.as_mut()));
        let status = child.wait().await?;
        Ok::<_, io::Error>(Ended { code: status.code(), output: format!("{}{}", said?, complained?) })
    };
    let ended = tokio::time::timeout(limit, work).await;
    // Also after a good end: what it left running in its group has no business here.
    drop(group);
    match ended {
        Ok(ended) => ended,
        Err(_) => Err(io::ErrorKind::TimedOut.into()),
    }
}

fn limits(seconds: u64) -> io::Result<()> {
    for (resource, most) in [
        (Resource::RLIMIT_CPU, seconds),
        (Resource::RLIMIT_AS, MEMORY),
        (Resource::RLIMIT_FSIZE, FILE),
        (Resource::RLIMIT_CORE, 0),
    ] {
        setrlimit(resource, most, most)?;
    }
    nix::sys::prctl::set_no_new_privs()?;
    Ok(())
}

async fn read(stream: Option<&mut (impl tokio::io::AsyncRead + Unpin)>) -> io::Result<String> {
    let Some(stream) = stream else { return Ok(String::new()) };
    let mut said = Vec::new();
    (&mut *stream).take(OUTPUT).read_to_end(&mut said).await?;
    tokio::io::copy(stream, &mut tokio::io::sink()).await?;
    Ok(String::from_utf8_lossy(&said).into_owned())
}

/// The process group of the program; dropped, it is killed whole.
struct Group(Option<u32>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(leader) = self.0.and_then(|id| i32::try_from(id).ok()) {
            // An empty group is no error worth telling.
            let _ = killpg(Pid::from_raw(leader), Signal::SIGKILL);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(script: &str) -> Vec<String> {
        ["/bin/sh", "-c", script].map(str::to_owned).to_vec()
    }

    #[tokio::test]
    async fn it_says_its_code_and_words_and_sees_nothing_of_ours() {
        let ended =
            run(&words("echo out; echo err >&2; env | grep -c LUYTRE; exit 7"), "", Duration::from_secs(60)).await;
        let ended = ended.unwrap();
        assert_eq!(ended.code, Some(7));
        assert_eq!(ended.output, "out\n0\nerr\n");
    }

    #[tokio::test]
    async fn arguments_are_words_for_no_shell() {
        let words = ["/bin/echo", "$(id); `id` | x > y"].map(str::to_owned);
        let ended = run(&words, "", Duration::from_secs(60)).await.unwrap();
        assert_eq!(ended.output, "$(id); `id` | x > y\n");
    }

    #[tokio::test]
    async fn at_its_limit_the_whole_group_is_killed() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("pid");
        let script = format!("sleep 1000 & echo $! > {}; wait", file.display());
        let ended = run(&words(&script), "", Duration::from_secs(1)).await;
        assert_eq!(ended.unwrap_err().kind(), io::ErrorKind::TimedOut);
        let child: i32 = std::fs::read_to_string(file).unwrap().trim().parse().unwrap();
        // Killed; somebody else reaps it, perhaps a little later.
        let gone = || match std::fs::read_to_string(format!("/proc/{child}/stat")) {
            Ok(stat) => stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('Z')),
            Err(_) => true,
        };
        while !gone() {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn endless_output_is_bounded() {
        let ended = run(&words("head -c 3000000 /dev/zero | tr '\\0' x"), "", Duration::from_secs(60)).await.unwrap();
        assert_eq!(ended.output.len() as u64, OUTPUT);
    }
}
