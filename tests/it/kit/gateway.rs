//! The production binary, started with a configuration of the test's own on free loopback ports.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

/// A folder that goes with the test.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new(name: &str) -> Self {
        Self::below(Path::new(env!("CARGO_TARGET_TMPDIR")), name)
    }
    /// Where other users can reach it too: the tree itself may lie in somebody's home.
    pub fn in_temp(name: &str) -> Self {
        Self::below(&std::env::temp_dir(), name)
    }
    fn below(parent: &Path, name: &str) -> Self {
        static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let n = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let path = parent.join(format!("luytre-{name}-{}-{n}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
    pub fn path(&self) -> &Path {
        &self.0
    }
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, content).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }
}

#[derive(Default)]
struct Output {
    lines: Vec<String>,
    /// How many of its two streams have ended.
    ended: u8,
}

/// A running `luytre serve`; killed when dropped.
pub struct Gateway {
    child: Child,
    output: Arc<(Mutex<Output>, Condvar)>,
    pub config: PathBuf,
}

impl Gateway {
    /// Starts the gateway and waits until it says that it is ready.
    pub fn start(config: &Path) -> Self {
        let gateway = Self::spawn(config);
        gateway.wait_for_line("ready", |line| line.contains("\"ready\""));
        gateway
    }

    /// Starts it without waiting, for tests of what goes wrong.
    pub fn spawn(config: &Path) -> Self {
        Self::spawn_from(Path::new(env!("CARGO_BIN_EXE_luytre")), config)
    }

    /// The same from another file, which may be taken away under it.
    pub fn spawn_from(program: &Path, config: &Path) -> Self {
        let mut child = Command::new(program)
            .args(["serve", "--config"])
            .arg(config)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let output = Arc::new((Mutex::new(Output::default()), Condvar::new()));
        let streams: [Box<dyn std::io::Read + Send>; 2] =
            [Box::new(child.stdout.take().unwrap()), Box::new(child.stderr.take().unwrap())];
        for stream in streams {
            let output = Arc::clone(&output);
            std::thread::spawn(move || {
                for line in BufReader::new(stream).lines().map_while(Result::ok) {
                    output.0.lock().unwrap().lines.push(line);
                    output.1.notify_all();
                }
                output.0.lock().unwrap().ended += 1;
                output.1.notify_all();
            });
        }
        Self { child, output, config: config.to_owned() }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits for a log line; panics after two minutes, or when the gateway has ended without it.
    pub fn wait_for_line(&self, what: &str, found: impl Fn(&str) -> bool) -> String {
        let end = Instant::now() + Duration::from_secs(120);
        let mut output = self.output.0.lock().unwrap();
        loop {
            if let Some(line) = output.lines.iter().find(|l| found(l)) {
                return line.clone();
            }
            let left = end.saturating_duration_since(Instant::now());
            assert!(
                !left.is_zero() && output.ended < 2,
                "the gateway did not say {what}:\n{}",
                output.lines.join("\n")
            );
            output = self.output.1.wait_timeout(output, left).unwrap().0;
        }
    }

    pub fn log(&self) -> String {
        self.output.0.lock().unwrap().lines.join("\n")
    }

    /// The address a listener of this kind (`mx`, `relay`, `http`) really got, when the configuration says port 0.
    pub fn address(&self, kind: &str) -> SocketAddr {
        let line = self.wait_for_line(&format!("where {kind} listens"), |l| {
            l.contains("\"listening\"") && l.contains(&format!("\"{kind}\""))
        });
        let json: serde_json::Value = serde_json::from_str(&line).expect("a JSON log line");
        find(&json, "address").expect("an address").parse().unwrap()
    }

    pub fn signal(&self, signal: nix::sys::signal::Signal) {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.pid()).unwrap());
        nix::sys::signal::kill(pid, signal).unwrap();
    }

    /// kill -9, and wait until it is gone.
    pub fn kill(mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Waits for its end by itself; the exit code.
    pub fn wait(mut self) -> i32 {
        self.child.wait().unwrap().code().unwrap_or(-1)
    }

    /// The receipt of a message, as the command prints it; `None` for a refusal before there was a message.
    pub fn receipt(&self, id: &str) -> Option<luytre::verdict::receipt::Receipt> {
        let (code, text, error) = luytre(&["receipt", "--json", id, "--config", self.config.to_str().unwrap()]);
        assert_eq!(code, 0, "no receipt {id}: {error}");
        serde_json::from_str(&text).ok()
    }

    /// GET over plain HTTP from the gateway's own HTTP address.
    pub fn get(&self, path: &str) -> String {
        use std::io::{Read, Write};
        let mut stream = std::net::TcpStream::connect(self.address("http")).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text
    }

    /// The value of one metric line that starts with `series`; 0 when it is not there.
    pub fn metric(&self, series: &str) -> f64 {
        let page = self.get("/metrics");
        page.lines().find(|l| l.starts_with(series)).and_then(|l| l.rsplit(' ').next()?.parse().ok()).unwrap_or(0.0)
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn find<'a>(json: &'a serde_json::Value, key: &str) -> Option<&'a str> {
    match json {
        serde_json::Value::Object(map) => {
            map.get(key).and_then(|v| v.as_str()).or_else(|| map.values().find_map(|v| find(v, key)))
        }
        _ => None,
    }
}

/// A command of the same binary; exit code, standard output and error.
pub fn luytre(args: &[&str]) -> (i32, String, String) {
    let out = Command::new(env!("CARGO_BIN_EXE_luytre")).args(args).output().expect("the binary starts");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (out.status.code().unwrap_or(-1), text(&out.stdout), text(&out.stderr))
}

/// The id to quote in a reply: `... [01KAN5QF3W8Z5T2D9H6X0V7RBM]`.
pub fn receipt_id(reply: &str) -> Option<String> {
    let is_id = |word: &&str| word.len() == 26 && word.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit());
    reply.split(|c: char| !c.is_ascii_alphanumeric()).find(is_id).map(str::to_owned)
}

/// Where the shared test data lies, or `None` with a word to whoever reads the output.
pub fn testdata(folder: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/testdata").join(folder);
    if path.exists() {
        return Some(path);
    }
    println!("skipped: {} is not here", path.display());
    None
}
