//! A full disk, really: the gateway on a small file system of its own. New mail gets 452, what was taken is delivered
//! meanwhile, and when there is room again mail is taken without a restart.
//!
//! Mounting needs root; without it the tests say that they skip.

use std::fs::File;
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::kit::client::{Answer, Client};
use crate::kit::gateway::{Folder, Gateway, luytre};
use crate::kit::sink::{Sink, Taken};
use crate::kit::site::{Site, letter};

/// A mounted file system; unmounted when it goes.
struct Small {
    at: PathBuf,
    _image: Folder,
}

fn run(command: &str, args: &[&str]) -> Result<(), String> {
    let out = Command::new(command).args(args).output().map_err(|e| format!("{command}: {e}"))?;
    if out.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&out.stderr).into_owned()) }
}

impl Small {
    /// An ext4 of `mib` MiB in a file, mounted at `at`.
    fn ext4(at: &Path, mib: u64) -> Option<Self> {
        let image = Folder::new("small-disk");
        let file = image.path().join("image");
        let path = file.to_str().unwrap().to_owned();
        Self::mount(at, image, |at| {
            File::create(&path).and_then(|f| f.set_len(mib << 20)).map_err(|e| e.to_string())?;
            run("mkfs.ext4", &["-q", "-F", "-m", "0", &path])?;
            run("mount", &["-o", "loop", &path, at])
        })
    }

    /// A tmpfs with so many inodes.
    fn tmpfs(at: &Path, mib: u64, inodes: u64) -> Option<Self> {
        let options = format!("size={mib}m,nr_inodes={inodes}");
        Self::mount(at, Folder::new("small-disk"), |at| {
            run("mount", &["-t", "tmpfs", "-o", &options, "luytre-test", at])
        })
    }

    fn mount(at: &Path, image: Folder, mount: impl FnOnce(&str) -> Result<(), String>) -> Option<Self> {
        if !nix::unistd::geteuid().is_root() {
            println!("skipped: only root can mount a small file system");
            return None;
        }
        std::fs::create_dir_all(at).unwrap();
        if let Err(why) = mount(at.to_str().unwrap()) {
            println!("skipped: no small file system can be mounted here: {why}");
            return None;
        }
        Some(Self { at: at.to_owned(), _image: image })
    }

    fn free(&self) -> u64 {
        let found = nix::sys::statvfs::statvfs(&self.at).unwrap();
        found.blocks_available() * found.fragment_size()
    }

    /// Fills it up to `left` free octets, in one more file.
    fn fill(&self, name: &str, left: u64) -> PathBuf {
        let path = self.at.join(name);
        let mut file = File::create(&path).unwrap();
        let chunk = vec![b'f'; 1 << 20];
        loop {
            let more = self.free().saturating_sub(left).min(chunk.len() as u64);
            let wrote = file.write(&chunk[..usize::try_from(more).unwrap()]).unwrap_or(0);
            if wrote == 0 {
                file.sync_all().unwrap();
                return path;
            }
        }
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        // Lazily: a gateway of a failed test may still have files open.
        let _ = run("umount", &["-l", self.at.to_str().unwrap()]);
    }
}

/// Where nobody listens, and no other test will: a loopback address of this process alone.
fn dead_address() -> SocketAddr {
    let [_, _, high, low] = std::process::id().to_be_bytes();
    std::net::TcpListener::bind(SocketAddr::from(([127, 77, high, low], 0))).unwrap().local_addr().unwrap()
}

/// A gateway whose data lies on `small`, and whose next hop is dead until the test starts it at this address.
fn gateway(site: Site) -> (Gateway, SocketAddr, Site) {
    let dead = dead_address();
    let site = site
        .next_hop(&format!("{{ address = \"{dead}\", tls = \"none\", delivery = \"queued\" }}"))
        .section("[deliver]\nretry_first = \"1 s\"\nretry_max = \"2 s\"\n\n");
    (Gateway::start(&site.write()), dead, site)
}

fn session(gateway: &Gateway) -> Client {
    let mut client = Client::connect_as(gateway.address("mx"), "198.51.100.10").unwrap();
    client.say("EHLO load.partner.example").unwrap();
    client
}

fn send(client: &mut Client, subject: &str, body: &str) -> Answer {
    client.deliver("ketoan@partner.example", &["an@agency.test"], &letter(subject, body)).unwrap()
}

fn is_full(answer: &Answer) -> bool {
    answer.code == 452 && answer.text.contains("4.3.1")
}

/// What the gateway logged beyond its daily business.
fn complaints(gateway: &Gateway) -> String {
    gateway.log().lines().filter(|l| l.contains("WARN") || l.contains("ERROR")).collect::<Vec<_>>().join("\n")
}

/// Asks until the answer is this one: the gateway looks at its disk once a second.
fn until(gateway: &Gateway, what: &str, mut ask: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(90);
    while !ask() {
        assert!(Instant::now() < end, "never: {what}\n{}", complaints(gateway));
        std::thread::yield_now();
    }
}

fn subjects(taken: &[Taken]) -> Vec<String> {
    let mut all: Vec<String> = taken.iter().filter_map(|t| t.header("Subject")).collect();
    all.sort();
    all.dedup();
    all
}

/// A body of about `kib` KiB in lines.
fn body(kib: usize) -> String {
    "Đĩa đầy thì thư vẫn không mất, chỉ phải đợi.\n".repeat(kib * 1024 / 57)
}

#[test]
fn r03_a_full_disk_gets_452_at_mail_and_recovers_without_a_restart() {
    let site = Site::new("full-mail");
    let Some(small) = Small::ext4(&site.folder.path().join("data"), 400) else { return };
    let (gateway, hop, site) = gateway(site.limits("disk_free = \"40 MiB\"\n"));
    let mut client = session(&gateway);
    assert_eq!(send(&mut client, "truoc", "x").code, 250);
    let ballast = small.fill("ballast", 30 << 20);
    until(&gateway, "452 at MAIL", || {
        let answer = session(&gateway).say("MAIL FROM:<ketoan@partner.example>").unwrap();
        assert!(answer.code == 250 || is_full(&answer), "{}", answer.text);
        answer.code == 452
    });
    // SIZE is counted in: a small message would not fit either.
    assert!(gateway.get("/readyz").contains("503"), "a load balancer sees it");
    // Delivery goes on: the next hop comes back while the disk is full.
    let sink = Sink::start_on(hop);
    assert_eq!(subjects(&sink.wait_for_count(1)), ["truoc"]);
    std::fs::remove_file(ballast).unwrap();
    until(&gateway, "mail is taken again", || send(&mut session(&gateway), "sau", "x").code == 250);
    sink.wait_until("both", |taken| subjects(taken) == ["sau", "truoc"]);
    drop((gateway, site));
}

#[test]
fn r03_a_disk_that_fills_during_data_gets_452_and_loses_nothing() {
    let site = Site::new("full-data");
    let Some(small) = Small::ext4(&site.folder.path().join("data"), 400) else { return };
    // The reserve is next to nothing, so that mail meets the end of the disk itself, again and again.
    let site = site.inspect("workers = 1\nchecks = []\nauthenticate = false\n");
    let (gateway, hop, site) = gateway(site.limits("disk_free = \"1 B\"\n"));
    let mut client = session(&gateway);
    let ballast = small.fill("ballast", 1 << 20);
    let text = body(3000);
    let mut kept = Vec::new();
    // Room is left in the segments that were made ahead; then there is none.
    let refusal = loop {
        let subject = format!("thu-{:03}", kept.len());
        let answer = send(&mut client, &subject, &text);
        match answer.code {
            250 => kept.push(subject),
            _ => break answer,
        }
        assert!(kept.len() < 400, "the disk is never full");
    };
    assert!(is_full(&refusal), "{}\n{}", refusal.text, complaints(&gateway));
    assert!(kept.len() > 10, "what was preallocated is used: {}", kept.len());
    // 452 is ours to say after DATA too, and each later try says the same; nothing is half taken.
    for _ in 0..5 {
        let answer = send(&mut session(&gateway), "khong-nhan", &text);
        assert!(is_full(&answer), "{}\n{}", answer.text, complaints(&gateway));
    }
    // All of it is delivered while the disk stays full.
    let sink = Sink::start_on(hop);
    println!("{} messages kept, then 452", kept.len());
    sink.wait_until("what was acknowledged", |taken| subjects(taken) == kept);
    std::fs::remove_file(ballast).unwrap();
    until(&gateway, "mail is taken again", || {
        let answer = send(&mut session(&gateway), "sau", &text);
        assert!(matches!(answer.code, 250 | 452), "{}\n{}", answer.text, complaints(&gateway));
        answer.code == 250
    });
    let taken = sink.wait_until("the last one", |taken| subjects(taken).contains(&"sau".to_owned()));
    assert!(!subjects(&taken).contains(&"khong-nhan".to_owned()), "a refused message is not delivered");
    assert_eq!(taken.len(), kept.len() + 1, "nothing came twice");
    drop(gateway);

    // And a start on a disk that is full to the last block: what waits is there and is delivered.
    let dead = dead_address();
    let site = site.replace_hops(&format!("{{ address = \"{dead}\", tls = \"none\", delivery = \"queued\" }}"));
    let gateway = Gateway::start(&site.write());
    until(&gateway, "the disk was looked at", || send(&mut session(&gateway), "cuoi", "x").code == 250);
    gateway.kill();
    small.fill("more", 0);
    let gateway = Gateway::start(&site.write());
    assert_eq!(subjects(&Sink::start_on(dead).wait_for_count(1)), ["cuoi"]);
    drop((gateway, site));
}

#[test]
fn r03_a_disk_without_inodes_gets_452_and_recovers() {
    let site = Site::new("full-inodes");
    let Some(small) = Small::tmpfs(&site.folder.path().join("data"), 600, 3000) else { return };
    let (gateway, hop, site) = gateway(site.limits("disk_free = \"1 MiB\"\ndisk_free_files = 1000\n"));
    let mut client = session(&gateway);
    assert_eq!(send(&mut client, "truoc", "x").code, 250);
    let litter: Vec<PathBuf> = (0..2500).map(|n| small.at.join(format!("litter-{n}"))).collect();
    litter.iter().for_each(|path| drop(File::create(path).unwrap()));
    until(&gateway, "452 at MAIL", || is_full(&session(&gateway).say("MAIL FROM:<ketoan@partner.example>").unwrap()));
    let sink = Sink::start_on(hop);
    assert_eq!(subjects(&sink.wait_for_count(1)), ["truoc"]);
    litter.iter().for_each(|path| std::fs::remove_file(path).unwrap());
    until(&gateway, "mail is taken again", || send(&mut session(&gateway), "sau", "x").code == 250);
    sink.wait_until("both", |taken| subjects(taken) == ["sau", "truoc"]);
    drop((gateway, site));
}

#[test]
fn r19_a_downgrade_is_refused_with_a_sentence_and_changes_nothing() {
    let site = Site::new("downgrade");
    let (gateway, _, site) = gateway(site);
    assert_eq!(send(&mut session(&gateway), "cho", "x").code, 250);
    gateway.kill();
    let spool = site.folder.path().join("data/spool");
    let mut segments: Vec<PathBuf> = std::fs::read_dir(&spool).unwrap().map(|e| e.unwrap().path()).collect();
    segments.retain(|path| path.extension().is_some_and(|e| e == "log"));
    let written = |path: &PathBuf| std::fs::read(path).unwrap()[..8] == *b"LTspool\n";
    let segment = segments.into_iter().find(written).unwrap();
    let before = std::fs::read(&segment).unwrap();
    // Format 2, as a later version would write it, both copies sealed.
    let mut bytes = before.clone();
    for copy in [0, 512] {
        bytes[copy + 8] = 2;
        let crc = crc32fast::hash(&bytes[copy..copy + 508]);
        bytes[copy + 508..copy + 512].copy_from_slice(&crc.to_le_bytes());
    }
    std::fs::write(&segment, &bytes).unwrap();
    let gateway = Gateway::spawn(&site.write());
    let said = gateway.wait_for_line("why it does not start", |line| line.contains("newer version"));
    assert!(said.contains("format 2") && said.contains("deliver its queue before going back"), "{said}");
    assert_ne!(gateway.wait(), 0);
    let (code, _, error) = luytre(&["queue", "list", "--config", site.write().to_str().unwrap()]);
    assert!(code != 0 && error.contains("newer version"), "{error}");
    assert_eq!(std::fs::read(&segment).unwrap(), bytes, "nothing was touched");
    // The newer version again: the mail is there.
    std::fs::write(&segment, &before).unwrap();
    let gateway = Gateway::start(&site.write());
    let (_, list, _) = luytre(&["queue", "list", "--json", "--config", gateway.config.to_str().unwrap()]);
    assert_eq!(list.lines().count(), 1, "{list}");
}
