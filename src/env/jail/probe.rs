//! Attempts that a caged process must not bring off, and the few that it must. The same binary and the same cage as in
//! service, so that an operator (and a test) can see on the machine itself that the cage holds:
//! `luytre inspector --probe NAME`.
#![allow(unsafe_code)]

use std::ffi::{CString, c_long, c_void};
use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::fs::FileExt;
use std::ptr;

/// What must be refused.
pub const FORBIDDEN: &[&str] = &[
    "open",
    "socket",
    "execve",
    "memfd-exec",
    "memfd-fill",
    "outgoing-past-limit",
    "outgoing-grow",
    "ptrace",
    "process-vm-readv",
    "process-vm-writev",
    "kill",
    "tgkill",
    "fcntl-setown",
    "fork",
    "clone3",
    "mmap-exec",
    "mprotect-exec",
    "pkey-mprotect-exec",
    "personality",
    "allocate-past-limit",
    "heap-past-limit",
    "raise-limit",
    "io-uring",
    "setuid",
    "mount",
    "unshare",
    "chroot",
    "bpf",
    "keyctl",
    "perf-event",
    "userfaultfd",
    "open-by-handle",
    "name-to-handle",
];

/// What must work: nothing at all, memory to the last page of the limit, the memory handed in to its last octet.
pub const ALLOWED: &[&str] = &["clean", "allocate-to-limit", "outgoing-to-limit"];

/// Reads how much address space the process has. Opened before the cage closes, and only for a probe.
#[derive(Debug)]
pub struct Meter(File);

impl Meter {
    pub fn open() -> io::Result<Self> {
        File::open("/proc/self/statm").map(Self)
    }

    /// Octets mapped now: what the kernel compares with the limit.
    fn mapped(&self) -> io::Result<u64> {
        let mut text = [0; 128];
        let length = self.0.read_at(&mut text, 0)?;
        let text = String::from_utf8_lossy(text.get(..length).unwrap_or_default());
        let pages: Option<u64> = text.split(' ').next().and_then(|word| word.parse().ok());
        pages.map(|pages| pages * page()).ok_or_else(|| io::ErrorKind::InvalidData.into())
    }
}

/// Octets of a page of this machine.
fn page() -> u64 {
    let size = nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE).ok().flatten();
    size.and_then(|size| u64::try_from(size).ok()).unwrap_or(4096)
}

/// Tries `name` under a limit of `memory_bytes`; `outgoing` is the memory handed in for answers and its size. `Ok` means
/// that it worked.
pub fn attempt(name: &str, memory_bytes: u64, meter: &Meter, outgoing: Option<(&mut File, u64)>) -> Result<(), String> {
    let tried = match (name.strip_prefix("outgoing-"), outgoing) {
        (Some(what), Some((file, size))) => write_outgoing(what, file, size),
        (Some(_), None) => Err(io::Error::other("no such probe: no memory was handed in")),
        (None, _) => attempt_it(name, memory_bytes, meter),
    };
    tried.map_err(|error| error.to_string())
}

/// Writes at the end of the memory handed in: its last octet, or one more.
fn write_outgoing(what: &str, file: &mut File, size: u64) -> io::Result<()> {
    match what {
        "to-limit" => {
            file.seek(SeekFrom::Start(size.saturating_sub(1)))?;
            file.write_all(b"x")
        }
        "past-limit" => {
            file.seek(SeekFrom::Start(size))?;
            file.write_all(b"x")
        }
        _ => file.set_len(size.saturating_add(1)),
    }
}

fn attempt_it(name: &str, memory_bytes: u64, meter: &Meter) -> io::Result<()> {
    let parent = nix::unistd::getppid().as_raw();
    let number = |n: i32| c_long::from(n);
    match name {
        "clean" => Ok(()),
        "open" => File::open("/etc/hostname").map(drop),
        "socket" => std::net::UdpSocket::bind("127.0.0.1:0").map(drop),
        "execve" => Ok(nix::unistd::execve(c"/bin/true", &[c"true"], &[] as &[&std::ffi::CStr]).map(drop)?),
        "memfd-exec" => execute_memory(),
        "memfd-fill" => fill_files(memory_bytes),
        "kill" => Ok(nix::sys::signal::kill(nix::unistd::Pid::from_raw(parent), None)?),
        "tgkill" => call(libc::SYS_tgkill, [number(parent), number(parent), 0, 0, 0, 0]),
        // The kernel would then send a signal of our choice to that process whenever the socket has news.
        "fcntl-setown" => Ok(outcome(unsafe_fcntl(0, libc::F_SETOWN, parent))?),
        "fork" => std::process::Command::new("/bin/true").spawn().map(drop),
        "ptrace" => call(libc::SYS_ptrace, [number_of(libc::PTRACE_ATTACH), number(parent), 0, 0, 0, 0]),
        "mmap-exec" => map(page(), libc::PROT_READ | libc::PROT_EXEC).map(drop),
        "mprotect-exec" => protect(libc::SYS_mprotect),
        "pkey-mprotect-exec" => protect(libc::SYS_pkey_mprotect),
        "allocate-to-limit" => map(rest(memory_bytes, meter)?, libc::PROT_READ | libc::PROT_WRITE).map(drop),
        "allocate-past-limit" => past_the_limit(memory_bytes, meter),
        "heap-past-limit" => exhaust(memory_bytes),
        "raise-limit" => {
            let limit = libc::rlimit { rlim_cur: u64::MAX, rlim_max: u64::MAX };
            // SAFETY: the pointer is to a whole structure of ours that outlives the call.
            outcome(unsafe { libc::setrlimit(libc::RLIMIT_AS, &raw const limit) })
        }
        other => forbidden_call(other, parent),
    }
}

/// Calls that stand for whole families of the kernel. Their arguments are empty: a kernel that let the call through
/// would at most complain of them, and that complaint is told apart from the cage's refusal.
fn forbidden_call(name: &str, parent: i32) -> io::Result<()> {
    let number = match name {
        "process-vm-readv" => libc::SYS_process_vm_readv,
        "process-vm-writev" => libc::SYS_process_vm_writev,
        "clone3" => libc::SYS_clone3,
        "personality" => libc::SYS_personality,
        "io-uring" => libc::SYS_io_uring_setup,
        "setuid" => libc::SYS_setuid,
        "mount" => libc::SYS_mount,
        "unshare" => libc::SYS_unshare,
        "chroot" => libc::SYS_chroot,
        "bpf" => libc::SYS_bpf,
        "keyctl" => libc::SYS_keyctl,
        "perf-event" => libc::SYS_perf_event_open,
        "userfaultfd" => libc::SYS_userfaultfd,
        "open-by-handle" => libc::SYS_open_by_handle_at,
        "name-to-handle" => libc::SYS_name_to_handle_at,
        other => return Err(io::Error::other(format!("no such probe: {other}"))),
    };
    // Process calls aim at the parent; a uid of 0 is what root has already.
    let first = if name.starts_with("process-vm") { c_long::from(parent) } else { 0 };
    match call(number, [first, 0, 0, 0, 0, 0]) {
        // The call itself answered: the cage let it through.
        Err(error) if error.raw_os_error() != Some(libc::EPERM) => Ok(()),
        other => other,
    }
}

/// What is left below the limit: octets, whole pages.
fn rest(memory_bytes: u64, meter: &Meter) -> io::Result<u64> {
    let mapped = meter.mapped()?;
    let left = (memory_bytes / page() * page()).checked_sub(mapped);
    left.filter(|left| *left > 0).ok_or_else(|| io::Error::other(format!("{mapped} octets are mapped already")))
}

/// One octet more than is left, and one more when nothing is left.
fn past_the_limit(memory_bytes: u64, meter: &Meter) -> io::Result<()> {
    let writable = libc::PROT_READ | libc::PROT_WRITE;
    let left = rest(memory_bytes, meter)?;
    if map(left + 1, writable).is_ok() {
        return Ok(());
    }
    // Had this failed, the limit would stand elsewhere than it says: that is no refusal of one octet too many.
    if map(left, writable).is_err() {
        return Ok(());
    }
    let refused = map(1, writable).err();
    let Some(why) = refused else { return Ok(()) };
    Err(io::Error::other(format!("one octet past {memory_bytes}, {left} of which were free: {why}")))
}

/// Takes heap in pieces until it is refused; works when more than the limit came together.
fn exhaust(memory_bytes: u64) -> io::Result<()> {
    const PIECE: usize = 1 << 20;
    let (mut held, mut total) = (Vec::new(), 0_u64);
    while total <= memory_bytes {
        let mut piece = Vec::<u8>::new();
        let got = piece.try_reserve_exact(PIECE);
        got.map_err(|error| io::Error::other(format!("after {total} octets: {error}")))?;
        held.push(piece);
        total = total.saturating_add(PIECE as u64);
    }
    Ok(())
}

/// A program in memory, started from there.
fn execute_memory() -> io::Result<()> {
    let file = memory_file()?;
    let (name, empty) = (CString::default(), [ptr::null::<libc::c_char>()]);
    let flags = c_long::from(libc::AT_EMPTY_PATH);
    let list = empty.as_ptr() as c_long;
    call(libc::SYS_execveat, [c_long::from(file.as_raw_fd()), name.as_ptr() as c_long, list, list, flags, 0])
}

/// Memory that counts as no address space of ours: files in memory.
fn fill_files(memory_bytes: u64) -> io::Result<()> {
    let piece = vec![1_u8; 1 << 20];
    let (mut total, mut files) = (0_u64, Vec::new());
    while total <= memory_bytes {
        let file = File::from(memory_file()?);
        for at in 0..64_u64 {
            file.write_all_at(&piece, at << 20)?;
            total = total.saturating_add(1 << 20);
        }
        files.push(file);
    }
    Ok(())
}

fn memory_file() -> io::Result<OwnedFd> {
    // SAFETY: the name is a constant with its final zero; the kernel makes a descriptor that nobody else knows.
    let fd = unsafe { libc::memfd_create(c"probe".as_ptr(), 0) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: just made, and owned by nobody else.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Makes a page of ours executable.
fn protect(number: c_long) -> io::Result<()> {
    let start = map(page(), libc::PROT_READ | libc::PROT_WRITE)?;
    let wanted = c_long::from(libc::PROT_READ | libc::PROT_EXEC);
    call(number, [start as c_long, page() as c_long, wanted, -1, 0, 0])
}

fn unsafe_fcntl(fd: RawFd, command: i32, argument: i32) -> i32 {
    // SAFETY: the commands used here take a number and touch no memory.
    unsafe { libc::fcntl(fd, command, argument) }
}

fn number_of(request: u32) -> c_long {
    c_long::from(request)
}

fn call(number: c_long, a: [c_long; 6]) -> io::Result<()> {
    let [a, b, c, d, e, f] = a;
    // SAFETY: every pointer handed over by this file is null or to memory of ours that outlives the call, and no call
    // writes through them; what a call may do to this process is what the probe is for, and the process ends after it.
    let answer = unsafe { libc::syscall(number, a, b, c, d, e, f) };
    if answer == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn outcome(answer: i32) -> io::Result<()> {
    if answer == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Fresh memory that is never given back: the process ends soon.
fn map(length: u64, protection: i32) -> io::Result<*mut c_void> {
    let length = usize::try_from(length).map_err(|_| io::ErrorKind::OutOfMemory)?;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    // SAFETY: a fresh anonymous mapping at an address of the kernel's choice overlaps nothing.
    let start = unsafe { libc::mmap(ptr::null_mut(), length, protection, flags, -1, 0) };
    if start == libc::MAP_FAILED { Err(io::Error::last_os_error()) } else { Ok(start) }
}
