//! The gateway as the demo sees it: a process, its log lines, and its receipts by the command line.

use std::io::{self, BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// A running `luytre serve`; ended when dropped.
pub struct Gateway {
    child: Child,
    pub mx: SocketAddr,
    pub relay: SocketAddr,
    pub http: SocketAddr,
}

impl Gateway {
    /// Starts the gateway and waits until it says that it is ready.
    pub fn start(config: &Path) -> io::Result<Self> {
        let log = config.with_file_name("gateway.log");
        let mut child = Command::new(std::env::current_exe()?)
            .args(["serve", "--config"])
            .arg(config)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::from(std::fs::File::create(config.with_file_name("gateway.err"))?))
            .spawn()?;
        let lines = BufReader::new(child.stdout.take().ok_or_else(|| io::Error::other("no output"))?);
        let (sender, receiver) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let mut file = std::fs::File::create(log).ok();
            for line in lines.lines().map_while(Result::ok) {
                if let Some(file) = &mut file {
                    let _ = io::Write::write_all(file, format!("{line}\n").as_bytes());
                }
                let _ = sender.send(line);
            }
        });
        let mut found: [Option<SocketAddr>; 3] = [None; 3];
        loop {
            let Ok(line) = receiver.recv_timeout(std::time::Duration::from_secs(120)) else {
                let _ = child.kill();
                let errors = std::fs::read_to_string(config.with_file_name("gateway.err")).unwrap_or_default();
                return Err(io::Error::other(format!("the gateway did not start: {errors}")));
            };
            let json: serde_json::Value = serde_json::from_str(&line).unwrap_or_default();
            let field = |name: &str| json.get("fields").and_then(|f| f.get(name)).and_then(|v| v.as_str());
            match field("message") {
                Some("listening") => {
                    let slot = ["mx", "relay", "http"].iter().position(|kind| field("kind") == Some(kind));
                    if let Some(place) = slot.and_then(|slot| found.get_mut(slot)) {
                        *place = field("address").and_then(|a| a.parse().ok());
                    }
                }
                Some("ready") => break,
                _ => {}
            }
        }
        let [Some(mx), Some(relay), Some(http)] = found else {
            let _ = child.kill();
            return Err(io::Error::other("the gateway did not say where it listens"));
        };
        Ok(Self { child, mx, relay, http })
    }

    /// Waits until it ends (Ctrl-C reaches both of us).
    pub fn wait(mut self) {
        let _ = self.child.wait();
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The part of a receipt that the demo compares.
pub struct Receipt {
    pub id: String,
    pub action: String,
    /// Finding codes, the deciding ones first.
    pub codes: Vec<String>,
}

/// Reads the receipt whose id stands in a reply, with `luytre receipt --json`, as an operator would.
pub fn receipt(config: &Path, reply: &str) -> io::Result<Option<Receipt>> {
    let is_id = |word: &&str| word.len() == 26 && word.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit());
    let Some(id) = reply.split(|c: char| !c.is_ascii_alphanumeric()).find(is_id) else { return Ok(None) };
    let out =
        Command::new(std::env::current_exe()?).args(["receipt", "--json", "--config"]).arg(config).arg(id).output()?;
    let json: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap_or_default();
    let Some(group) = json.get("groups").and_then(|g| g.get(0)) else { return Ok(None) };
    let words = |value: Option<&serde_json::Value>, key: &str| -> Vec<String> {
        let list = value.and_then(|v| v.as_array()).map(Vec::as_slice).unwrap_or_default();
        let text =
            |v: &serde_json::Value| if key.is_empty() { v.as_str() } else { v.get(key)?.as_str() }.map(str::to_owned);
        list.iter().filter_map(text).collect()
    };
    let mut codes = words(group.get("because"), "");
    codes.extend(words(group.get("findings"), "code"));
    let mut seen = std::collections::HashSet::new();
    codes.retain(|code| seen.insert(code.clone()));
    let action = group.get("action").and_then(|a| a.as_str()).unwrap_or("?").to_owned();
    Ok(Some(Receipt { id: id.to_owned(), action, codes }))
}
