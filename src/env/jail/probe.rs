//! Attempts that a caged process must not bring off. The same binary and the same cage as in service, so that an
//! operator (and a test) can see on the machine itself that the cage holds: `luytre inspector --probe NAME`.
#![allow(unsafe_code)]

use std::ptr;

/// What [`attempt`] knows to try.
pub const NAMES: &[&str] =
    &["open", "socket", "execve", "ptrace", "kill", "fork", "mmap-exec", "mprotect-exec", "allocate", "clean"];

/// Tries `name`. `Ok` means that it worked. `clean` tries nothing and works.
pub fn attempt(name: &str, memory_bytes: u64) -> Result<(), String> {
    let text = |error: std::io::Error| error.to_string();
    let parent = nix::unistd::getppid();
    match name {
        "clean" => Ok(()),
        "open" => std::fs::File::open("/etc/hostname").map(drop).map_err(text),
        "socket" => std::net::UdpSocket::bind("127.0.0.1:0").map(drop).map_err(text),
        "execve" => nix::unistd::execve(c"/bin/true", &[c"true"], &[] as &[&std::ffi::CStr])
            .map(drop)
            .map_err(|e| e.to_string()),
        "kill" => nix::sys::signal::kill(parent, None).map_err(|e| e.to_string()),
        "fork" => std::process::Command::new("/bin/true").spawn().map(drop).map_err(text),
        // SAFETY: attaching to another process touches no memory of this one.
        "ptrace" => outcome(unsafe { libc::ptrace(libc::PTRACE_ATTACH, parent.as_raw(), 0, 0) } == 0),
        "mmap-exec" => outcome(page(libc::PROT_READ | libc::PROT_EXEC).is_some()),
        "mprotect-exec" => {
            let page = page(libc::PROT_READ | libc::PROT_WRITE).ok_or("no page")?;
            // SAFETY: the page is ours alone and nothing lies in it.
            outcome(unsafe { libc::mprotect(page, 4096, libc::PROT_READ | libc::PROT_EXEC) } == 0)
        }
        "allocate" => {
            let bytes = usize::try_from(memory_bytes).unwrap_or(usize::MAX);
            Vec::<u8>::new().try_reserve_exact(bytes).map_err(|e| e.to_string())
        }
        _ => Err(format!("no such probe: {name}")),
    }
}

fn outcome(worked: bool) -> Result<(), String> {
    if worked { Ok(()) } else { Err(std::io::Error::last_os_error().to_string()) }
}

fn page(protection: i32) -> Option<*mut libc::c_void> {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    // SAFETY: a fresh anonymous mapping at an address of the kernel's choice overlaps nothing.
    let page = unsafe { libc::mmap(ptr::null_mut(), 4096, protection, flags, -1, 0) };
    (page != libc::MAP_FAILED).then_some(page)
}
