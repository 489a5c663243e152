//! The demo's stand-in servers: one for the agency, one for the Internet. They take everything and keep it in a folder.
//! Plain and small on purpose; no hostile client reaches them.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

/// A server that keeps what it is sent as `<folder>/<number>.eml`.
#[derive(Clone, Debug)]
pub struct Server {
    address: SocketAddr,
    kept: Arc<(Mutex<Vec<PathBuf>>, Condvar)>,
}

impl Server {
    pub fn start(folder: &Path) -> std::io::Result<Self> {
        std::fs::create_dir_all(folder)?;
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let kept = Arc::new((Mutex::new(Vec::new()), Condvar::new()));
        let (folder, shared) = (folder.to_owned(), Arc::clone(&kept));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (folder, shared) = (folder.clone(), Arc::clone(&shared));
                std::thread::spawn(move || serve(&stream, &folder, &shared));
            }
        });
        Ok(Self { address, kept })
    }

    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The file of the message that holds `text` in its header, waiting for it up to ten seconds.
    #[must_use]
    pub fn find(&self, text: &str) -> Option<PathBuf> {
        let holds =
            |path: &PathBuf| std::fs::read(path).is_ok_and(|raw| memchr::memmem::find(&raw, text.as_bytes()).is_some());
        let kept = self.kept.0.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.kept.1.wait_timeout_while(kept, Duration::from_secs(10), |kept| !kept.iter().any(holds));
        let kept = waited.unwrap_or_else(PoisonError::into_inner).0;
        kept.iter().find(|path| holds(path)).cloned()
    }

    #[must_use]
    pub fn count(&self) -> usize {
        self.kept.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

type Kept = (Mutex<Vec<PathBuf>>, Condvar);

fn serve(stream: &TcpStream, folder: &Path, kept: &Kept) {
    // A connection that breaks is the gateway's to notice.
    let _ = talk(stream, folder, kept);
}

fn talk(mut out: &TcpStream, folder: &Path, kept: &Kept) -> std::io::Result<()> {
    out.set_nodelay(true)?;
    let mut lines = BufReader::new(out);
    out.write_all(b"220 stand-in ESMTP\r\n")?;
    let mut line = Vec::new();
    loop {
        line.clear();
        if lines.read_until(b'\n', &mut line)? == 0 {
            return Ok(());
        }
        let verb: String = line.iter().take(4).map(|b| char::from(b.to_ascii_uppercase())).collect();
        match verb.as_str() {
            "EHLO" => out.write_all(
                b"250-stand-in\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250 SIZE 52428800\r\n",
            )?,
            "DATA" => {
                out.write_all(b"354 go on\r\n")?;
                let Some(message) = message(&mut lines)? else { return Ok(()) };
                let mut list = kept.0.lock().unwrap_or_else(PoisonError::into_inner);
                let path = folder.join(format!("{:02}.eml", list.len() + 1));
                std::fs::write(&path, message)?;
                list.push(path);
                kept.1.notify_all();
                drop(list);
                out.write_all(b"250 kept\r\n")?;
            }
            "QUIT" => return out.write_all(b"221 bye\r\n"),
            _ => out.write_all(b"250 ok\r\n")?,
        }
    }
}

/// To the final dot, dots unstuffed; `None` when the connection ended before it.
fn message(lines: &mut impl BufRead) -> std::io::Result<Option<Vec<u8>>> {
    let (mut message, mut line) = (Vec::new(), Vec::new());
    loop {
        line.clear();
        if lines.read_until(b'\n', &mut line)? == 0 {
            return Ok(None);
        }
        if line == b".\r\n" {
            return Ok(Some(message));
        }
        message.extend_from_slice(line.strip_prefix(b".").unwrap_or(&line));
    }
}
