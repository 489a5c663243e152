//! Starting a child, and ending it. One thread starts all of them and lives as long as its launcher: a child asks
//! the kernel to be killed when the thread that started it ends (PR_SET_PDEATHSIG), so that a killed gateway leaves
//! nothing behind, and threads of a runtime come and go.

use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::mpsc;
use std::time::Duration;

use nix::time::ClockId;
use tokio::sync::oneshot;

use super::JailError;
use super::wire::Outer;

type Started = Result<(Outer, tokio::process::Child), JailError>;

/// A running child and the link to it. Dropping it kills the process.
#[derive(Debug)]
pub struct Child {
    pub link: Outer,
    /// For waiting and killing, apart from the link: one task talks while another watches.
    pub process: tokio::process::Child,
}

impl Child {
    /// CPU time that the process has had so far; `None` when it is gone.
    #[must_use]
    pub fn cpu_time(&self) -> Option<Duration> {
        let id = nix::unistd::Pid::from_raw(i32::try_from(self.process.id()?).ok()?);
        // Not /proc: the service may not see processes that cannot be dumped there.
        Some(ClockId::pid_cpu_clock_id(id).ok()?.now().ok()?.into())
    }
}

/// Starts children of one kind.
#[derive(Clone, Debug)]
pub struct Launcher {
    orders: mpsc::Sender<oneshot::Sender<Started>>,
}

impl Launcher {
    /// `exe` is started with `args`. Must be called inside a tokio runtime.
    pub fn new(exe: PathBuf, args: Vec<OsString>) -> Result<Self, JailError> {
        let (orders, inbox) = mpsc::channel::<oneshot::Sender<Started>>();
        let runtime = tokio::runtime::Handle::current();
        let run = move || {
            let _guard = runtime.enter();
            while let Ok(reply) = inbox.recv() {
                // A caller that no longer waits drops the child, which kills it.
                drop(reply.send(start(&exe, &args).map_err(JailError::Start)));
            }
        };
        std::thread::Builder::new().name("jail".to_owned()).spawn(run).map_err(JailError::Start)?;
        Ok(Self { orders })
    }

    pub async fn start(&self) -> Result<Child, JailError> {
        let (reply, answer) = oneshot::channel();
        self.orders.send(reply).map_err(|_| JailError::Ended)?;
        let (link, process) = answer.await.map_err(|_| JailError::Ended)??;
        Ok(Child { link, process })
    }
}

fn start(exe: &PathBuf, args: &[OsString]) -> io::Result<(Outer, tokio::process::Child)> {
    let (ours, theirs) = UnixStream::pair()?;
    let process = tokio::process::Command::new(exe)
        .args(args)
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .stdout(Stdio::null())
        .stderr(Stdio::inherit())
        .kill_on_drop(true)
        .spawn()?;
    Ok((Outer::new(ours)?, process))
}
