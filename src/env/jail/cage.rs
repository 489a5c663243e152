//! The cage, closed from inside in three steps: [`enter`] first thing in the process, [`close_files`] when what must
//! be read has been read, [`close_kernel`] after one warm-up run. After that a parser that was taken over can
//! compute, answer on its socket and die: no file, no socket, no other process, no new code, no more memory.

use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

use landlock::{ABI, Access, AccessFs, AccessNet, Ruleset, RulesetAttr, RulesetStatus};
use nix::sys::prctl;
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::Signal;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
};

/// CPU time after which a child is ended whatever it does: it is replaced long before (see the pool's recycling).
const CPU_SECONDS: u64 = 3600;

/// Why the cage could not be closed; the process must not go on.
#[derive(Debug, thiserror::Error)]
pub enum CageError {
    #[error("{step}: {why}")]
    Step { step: &'static str, why: String },
}

fn step<E: std::fmt::Display>(step: &'static str) -> impl Fn(E) -> CageError {
    move |why| CageError::Step { step, why: why.to_string() }
}

/// First thing in the child: takes the socket from standard input, closes everything else, leaves the session,
/// and sets what memory and time it may use. `memory_bytes` bounds the address space: program, rules, stack, heap and
/// message together; one octet past it is refused by the kernel. Memory that is no address space (files in memory)
/// has its own limit: [`limit_outgoing`].
pub fn enter(memory_bytes: u64) -> Result<UnixStream, CageError> {
    prctl::set_pdeathsig(Signal::SIGKILL).map_err(step("death signal"))?;
    prctl::set_dumpable(false).map_err(step("dumpable"))?;
    prctl::set_no_new_privs().map_err(step("no new privileges"))?;
    // Fails when we lead a group already, which is as good.
    let _ = nix::unistd::setsid();
    close_inherited().map_err(step("inherited descriptors"))?;
    let stdin = std::io::stdin().as_fd().try_clone_to_owned().map_err(step("socket"))?;
    let socket = UnixStream::from(stdin);
    socket.peer_addr().map_err(step("standard input is no socket"))?;
    for (resource, limit) in [
        (Resource::RLIMIT_AS, memory_bytes),
        (Resource::RLIMIT_DATA, memory_bytes),
        (Resource::RLIMIT_CPU, CPU_SECONDS),
        (Resource::RLIMIT_NOFILE, 16),
        (Resource::RLIMIT_NPROC, 0),
        (Resource::RLIMIT_CORE, 0),
    ] {
        setrlimit(resource, limit, limit).map_err(step("resource limits"))?;
    }
    Ok(socket)
}

/// How far into a file anything may be written: only the memory handed in for answers can be, and no further than this.
/// Together with that memory's own seals, and as no other can be made, this bounds files in memory.
pub fn limit_outgoing(bytes: u64) -> Result<(), CageError> {
    setrlimit(Resource::RLIMIT_FSIZE, bytes, bytes).map_err(step("outgoing memory"))
}

/// Everything beyond standard input, output and error.
fn close_inherited() -> io::Result<()> {
    let open: Vec<i32> = std::fs::read_dir("/proc/self/fd")?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|fd| *fd > 2)
        .collect();
    for fd in open {
        // The directory's own descriptor is in the list and closed already.
        let _ = nix::unistd::close(fd);
    }
    Ok(())
}

/// No file system and no network any more (landlock). False where the kernel knows no landlock: seccomp, which
/// follows, refuses the same calls.
pub fn close_files() -> Result<bool, CageError> {
    let abi = ABI::V5;
    let status = Ruleset::default()
        .handle_access(AccessFs::from_all(abi))
        .and_then(|r| r.handle_access(AccessNet::from_all(abi)))
        .and_then(Ruleset::create)
        .and_then(landlock::RulesetCreated::restrict_self)
        .map_err(step("landlock"))?;
    Ok(status.ruleset != RulesetStatus::NotEnforced)
}

/// The system calls that remain (seccomp). Whatever is not listed kills the process; calls that libraries make to
/// look around get an error instead.
pub fn close_kernel() -> Result<(), CageError> {
    let arch = std::env::consts::ARCH.try_into().map_err(step::<seccompiler::BackendError>("architecture"))?;
    let rules = ALLOWED
        .iter()
        .chain(REFUSED)
        .map(|call| (*call, Vec::new()))
        .chain([
            (libc::SYS_mmap, without_exec()?),
            (libc::SYS_mprotect, without_exec()?),
            (libc::SYS_fcntl, harmless_fcntl()?),
        ])
        .collect();
    let allow = SeccompFilter::new(rules, SeccompAction::KillProcess, SeccompAction::Allow, arch);
    let refused = REFUSED.iter().map(|call| (*call, Vec::new())).collect();
    let errno = SeccompAction::Errno(libc::EPERM.unsigned_abs());
    let refuse = SeccompFilter::new(refused, SeccompAction::Allow, errno, arch);
    // Of two filters the stricter answer counts. The second forbids installing a third, so it comes last.
    for filter in [allow, refuse] {
        let program: BpfProgram = filter.and_then(TryInto::try_into).map_err(step("seccomp filter"))?;
        seccompiler::apply_filter(&program).map_err(step("seccomp"))?;
    }
    Ok(())
}

/// Memory, but none that can be executed: native code of the rules is mapped before the cage closes.
fn without_exec() -> Result<Vec<SeccompRule>, CageError> {
    let exec = u64::from(libc::PROT_EXEC.unsigned_abs());
    let condition = SeccompCondition::new(2, SeccompCmpArgLen::Dword, SeccompCmpOp::MaskedEq(exec), 0);
    let rule = condition.and_then(|c| SeccompRule::new(vec![c])).map_err(step("seccomp rule"))?;
    Ok(vec![rule])
}

/// What our own hand-over and the standard library ask of descriptors. F_SETOWN is not among it: with it the kernel can
/// be made to send any signal to another process of the same user.
fn harmless_fcntl() -> Result<Vec<SeccompRule>, CageError> {
    const COMMANDS: [i32; 5] = [libc::F_GETFD, libc::F_SETFD, libc::F_GETFL, libc::F_GET_SEALS, libc::F_DUPFD_CLOEXEC];
    let rule = |command: &i32| {
        let wanted = u64::from(command.unsigned_abs());
        SeccompCondition::new(1, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, wanted)
            .and_then(|condition| SeccompRule::new(vec![condition]))
            .map_err(step("seccomp rule"))
    };
    COMMANDS.iter().map(rule).collect()
}

/// What computing, allocating and answering needs.
const ALLOWED: &[i64] = &[
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_readv,
    libc::SYS_writev,
    libc::SYS_pread64,
    libc::SYS_lseek,
    libc::SYS_close,
    libc::SYS_fstat,
    libc::SYS_recvmsg,
    libc::SYS_recvfrom,
    libc::SYS_sendmsg,
    libc::SYS_sendto,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_madvise,
    libc::SYS_brk,
    libc::SYS_futex,
    libc::SYS_sched_yield,
    libc::SYS_getrandom,
    libc::SYS_clock_gettime,
    libc::SYS_gettimeofday,
    libc::SYS_getpid,
    libc::SYS_getppid,
    libc::SYS_gettid,
    libc::SYS_getrusage,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_rt_sigaction,
    libc::SYS_sigaltstack,
    libc::SYS_restart_syscall,
    libc::SYS_exit,
    libc::SYS_exit_group,
];

/// What libraries try in passing; they cope with a refusal. And what installing the second filter takes.
const REFUSED: &[i64] = &[
    libc::SYS_seccomp,
    libc::SYS_openat,
    libc::SYS_open,
    libc::SYS_newfstatat,
    libc::SYS_statx,
    libc::SYS_access,
    libc::SYS_faccessat,
    libc::SYS_readlink,
    libc::SYS_readlinkat,
    libc::SYS_getcwd,
    libc::SYS_ioctl,
    libc::SYS_sched_getaffinity,
    libc::SYS_prctl,
    libc::SYS_prlimit64,
    libc::SYS_sysinfo,
    libc::SYS_uname,
];
