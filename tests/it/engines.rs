//! Real virus engines behind the production binary: clamd of the distribution with two signatures of our own (there is no
//! network to fetch others), every one of Debian's clamav-testfiles found through the gateway; c-icap with its
//! virus-scan module; clamd stopped under load. Skips, and says so, where the packages are not installed.

use std::io::{BufRead as _, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Condvar, Mutex};
use std::time::{Duration, Instant};

use base64::Engine as _;

use crate::kit::client::{Answer, Client};
use crate::kit::gateway::{Folder, Gateway, luytre, receipt_id};
use crate::kit::site::{Site, letter};
use crate::kit::watch::Watch;

const TESTFILES: &str = "/usr/share/clamav-testfiles";
const MODULES: &str = "/usr/lib/x86_64-linux-gnu/c_icap";

/// What senders under load were answered, and whether they are to stop.
#[derive(Default)]
struct Load {
    replies: Mutex<Vec<Answer>>,
    news: Condvar,
    stop: std::sync::atomic::AtomicBool,
}

impl Load {
    /// Keeps an answer; true: it was the last one.
    fn heard(&self, answer: Answer) -> bool {
        self.replies.lock().unwrap().push(answer);
        self.news.notify_all();
        self.stop.load(std::sync::atomic::Ordering::SeqCst)
    }

    fn count(&self, code: u16) -> usize {
        self.replies.lock().unwrap().iter().filter(|answer| answer.code == code).count()
    }

    /// Waits for answers; panics with `what` after two minutes.
    fn wait(&self, what: &str, done: impl Fn(&dyn Fn(u16) -> usize) -> bool) {
        let end = Instant::now() + Duration::from_secs(120);
        let mut replies = self.replies.lock().unwrap();
        while !done(&|code| replies.iter().filter(|answer| answer.code == code).count()) {
            let left = end.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "it did not come about: {what}");
            replies = self.news.wait_timeout(replies, left).unwrap().0;
        }
    }
}

/// Says "stop" when it goes.
struct Ended<'a>(&'a Load);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        self.0.stop.store(true, std::sync::atomic::Ordering::SeqCst);
    }
}

pub fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// A daemon that ends with its owner.
pub struct Daemon {
    child: Child,
    pub address: SocketAddr,
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn eicar() -> String {
    ["X5O!P%@AP[4\\PZX54(P^)7CC)7}$", "EICAR-STANDARD-", "ANTIVIRUS-TEST-FILE!$H+H*"].concat()
}

/// The program that every test file holds, and the one that every engine knows.
fn signatures(folder: &Folder) -> PathBuf {
    let clam = Command::new("md5sum").arg(Path::new(TESTFILES).join("clam.exe")).output().unwrap();
    let digest = String::from_utf8(clam.stdout).unwrap();
    folder.write("base/own.hdb", format!("{}:544:Luytre.Test.Clam\n", &digest[..32]));
    let hex: String = eicar().bytes().map(|b| format!("{b:02x}")).collect();
    folder.write("base/own.ndb", format!("Luytre.Test.Eicar:0:*:{hex}\n"));
    folder.path().join("base")
}

/// Starts clamd, or says that it is not here. It listens on `address` and on `clamd.sock` in the folder.
pub fn clamd(folder: &Folder, address: SocketAddr) -> Option<Daemon> {
    if !Path::new("/usr/sbin/clamd").exists() || !Path::new(TESTFILES).exists() {
        println!("skipped: clamav-daemon and clamav-testfiles are not installed");
        return None;
    }
    let config = folder.write(
        "clamd.conf",
        format!(
            "Foreground yes\nTCPAddr 127.0.0.1\nTCPSocket {}\nLocalSocket {}\nDatabaseDirectory {}\nTemporaryDirectory {}\n\
             AlertExceedsMax yes\nAlertEncrypted yes\nStreamMaxLength 30M\nMaxFileSize 30M\nMaxThreads 4\nConcurrentDatabaseReload no\n",
            address.port(),
            folder.path().join("clamd.sock").display(),
            signatures(folder).display(),
            folder.path().display()
        ),
    );
    let mut child = Command::new("/usr/sbin/clamd")
        .arg("--config-file")
        .arg(config)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(child.stdout.take().unwrap()).lines();
    // It says so when its sockets are open.
    let listens = said.by_ref().map_while(Result::ok).any(|line| line.contains("Self checking"));
    assert!(listens, "clamd ended instead of listening");
    // It goes on talking, and must not meet a closed pipe.
    std::thread::spawn(move || said.for_each(drop));
    Some(Daemon { child, address })
}

pub fn engine(kind: &str, address: impl std::fmt::Display, rest: &str) -> String {
    format!("[[engine]]\nid = \"{kind}\"\nkind = \"{kind}\"\naddress = \"{address}\"\n{rest}\n")
}

pub fn send(gateway: &Gateway, message: &[u8]) -> Answer {
    let mut client = Client::connect_as(gateway.address("mx"), "198.51.100.10").unwrap();
    client.say("EHLO mail.partner.example").unwrap();
    client.deliver("ketoan@partner.example", &["an@agency.test"], message).unwrap()
}

pub fn attached(name: &str, octets: &[u8]) -> Vec<u8> {
    let coded = base64::engine::general_purpose::STANDARD.encode(octets);
    let lines: Vec<&str> = coded.as_bytes().chunks(76).map(|c| std::str::from_utf8(c).unwrap()).collect();
    let headers =
        "From: Ke toan <ketoan@partner.example>\r\nTo: an@agency.test\r\nSubject: tep\r\nMIME-Version: 1.0\r\n";
    format!(
        "{headers}Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nxin gui tep\r\n--b\r\n\
         Content-Type: application/octet-stream; name=\"{name}\"\r\nContent-Transfer-Encoding: base64\r\n\
         Content-Disposition: attachment; filename=\"{name}\"\r\n\r\n{}\r\n--b--\r\n",
        lines.join("\r\n")
    )
    .into_bytes()
}

/// The codes in the receipt of a message that was taken.
pub fn codes(gateway: &Gateway, answer: &Answer) -> Vec<String> {
    let receipt = gateway.receipt(&receipt_id(&answer.text).expect("an id")).expect("a receipt");
    receipt.groups[0].findings.iter().map(|line| line.code.clone()).collect()
}

#[test]
fn clamd_finds_every_one_of_debians_test_files_through_the_gateway() {
    every_test_file("clamd", "", |clamd, _| clamd.address.to_string());
}

/// The same where clamd sees attachments only, over its socket: it is handed memory.
#[test]
fn clamd_finds_every_one_of_them_when_it_sees_attachments_only() {
    every_test_file("clamd-sight", "sees = \"attachments\"", |_, folder| {
        format!("unix:{}/clamd.sock", folder.display())
    });
}

fn every_test_file(name: &str, sees: &str, address: impl Fn(&Daemon, &Path) -> String) {
    let site = Site::new(name);
    let Some(clamd) = clamd(&site.folder, free()) else { return };
    let address = address(&clamd, site.folder.path());
    // Our own rules know some of them too: here only the engine speaks.
    let site = site.section(&engine("clamd", address, sees)).inspect("workers = 2\nchecks = [\"mime\"]\n");
    let gateway = site.start();
    let mut files: Vec<PathBuf> = std::fs::read_dir(TESTFILES).unwrap().map(|e| e.unwrap().path()).collect();
    files.retain(|file| file.is_file());
    files.sort();
    assert!(files.len() > 40, "{files:?}");
    let mut missed = Vec::new();
    for file in &files {
        let name = file.file_name().unwrap().to_str().unwrap();
        let answer = send(&gateway, &attached(name, &std::fs::read(file).unwrap()));
        // Held, or with points enough besides refused.
        assert!(matches!(answer.code, 250 | 554), "{name}: {}", answer.text);
        if !codes(&gateway, &answer).iter().any(|code| code.starts_with("malware.luytre.test.clam")) {
            missed.push(name.to_owned());
        }
    }
    assert!(missed.is_empty(), "not found: {missed:?}");
    println!("clamd: {} of {} test files found", files.len(), files.len());
    assert!(site.sink.taken().is_empty());
    assert_eq!(gateway.metric("luytre_engine_up{engine=\"clamd\"}"), 1.0);
    let clean = send(&gateway, &attached("bao-cao.txt", b"thang 11"));
    let receipt = gateway.receipt(&receipt_id(&clean.text).unwrap()).unwrap();
    let fact = &receipt.engines[0];
    assert_eq!((fact.engine.as_str(), fact.outcome.as_str(), fact.asked), ("clamd", "clean", 1));
    assert!(fact.version.starts_with("ClamAV 1."), "{fact:?}");
    for (place, message) in placements() {
        // The text of a plain letter runs nowhere: only who sees the whole message is asked about it.
        let seen = sees.is_empty() || place != "the letter";
        let found = codes(&gateway, &send(&gateway, &message));
        assert_eq!(found.contains(&"malware.luytre.test.eicar.unofficial".to_owned()), seen, "{place}: {found:?}");
    }
    let (code, text, error) = luytre(&["engine", "--config", gateway.config.to_str().unwrap()]);
    assert!(code == 0 && text.starts_with("clamd: ") && text.contains("ClamAV 1."), "{text}{error}");
}

/// The test file in every place of a message.
fn placements() -> Vec<(&'static str, Vec<u8>)> {
    let head = "From: Ke toan <ketoan@partner.example>\r\nTo: an@agency.test\r\nSubject: tep\r\nMIME-Version: 1.0\r\n";
    let eicar = eicar();
    let coded = base64::engine::general_purpose::STANDARD.encode(&eicar);
    let mixed = |part: &str| {
        let text = format!(
            "{head}Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nxin gui tep\r\n--b\r\n{part}\r\n--b--\r\n"
        );
        text.into_bytes()
    };
    let base64 = format!("Content-Transfer-Encoding: base64\r\n\r\n{coded}");
    vec![
        ("the letter", letter("Hoa don", &eicar)),
        ("a nameless attachment of text", mixed(&format!("Content-Disposition: attachment\r\n\r\n{eicar}"))),
        ("a nameless program", mixed(&format!("Content-Type: application/octet-stream\r\n{base64}"))),
        ("a program said to be an image", mixed(&format!("Content-Type: image/png\r\nContent-ID: <a@b>\r\n{base64}"))),
        (
            "the letter of an attached message",
            mixed(&format!("Content-Type: message/rfc822\r\n\r\nSubject: cu\r\n\r\n{eicar}")),
        ),
        ("text with a name", mixed(&format!("Content-Type: text/plain; name=a.com\r\n\r\n{eicar}"))),
        ("the whole body", format!("{head}Content-Type: application/x-msdownload\r\n{base64}\r\n").into_bytes()),
        (
            "a page that hides a file in a script",
            mixed(&format!(
                "Content-Type: text/html\r\n\r\n<script>var b=new Blob([atob('{coded}')]);\
                 a.href=URL.createObjectURL(b);a.download='a.exe';a.click()</script><!-- {eicar} -->"
            )),
        ),
        (
            "a part only other readers see",
            format!(
                "{head}Content-Type: multipart/mixed; boundary=b; boundary=c\r\n\r\n--b\r\n\r\nmot\r\n--c\r\n\
             Content-Type: application/octet-stream\r\n{base64}\r\n--c--\r\n--b--\r\n"
            )
            .into_bytes(),
        ),
    ]
}

#[test]
fn dial_tone_lost_clamd_stops_under_load_and_returns() {
    let site = Site::new("clamd-stop");
    let address = free();
    let Some(clamd_one) = clamd(&site.folder, address) else { return };
    let site = site.section(&engine("clamd", address, ""));
    let gateway = site.start();
    assert_eq!(send(&gateway, &letter("mot", "x")).code, 250);
    let load = Load::default();
    std::thread::scope(|scope| {
        // Whatever happens here, the senders end.
        let _end = Ended(&load);
        for number in 0..4 {
            let (load, gateway) = (&load, &gateway);
            scope.spawn(move || {
                for letters in 0.. {
                    // Each another message: a verdict on the same octets is remembered.
                    let answer = send(gateway, &letter(&format!("tai {number} {letters}"), "y"));
                    if load.heard(answer) {
                        return;
                    }
                }
            });
        }
        load.wait("mail that is taken", |count| count(250) > 5);
        drop(clamd_one);
        load.wait("mail that must wait", |count| count(451) > 20);
        gateway.wait_for_line("that the engine is down", |line| line.contains("a virus engine is down"));
        assert_eq!(gateway.metric("luytre_engine_up{engine=\"clamd\"}"), 0.0);
        assert_eq!(gateway.metric("luytre_engines_down"), 1.0);
        let _again = clamd(&site.folder, address).unwrap();
        let before = load.count(250);
        load.wait("mail that is taken again", |count| count(250) > before + 5);
    });
    let replies = load.replies.into_inner().unwrap();
    assert!(replies.iter().all(|answer| matches!(answer.code, 250 | 451)), "{replies:?}");
    let waits = replies.iter().find(|answer| answer.code == 451).unwrap();
    assert!(waits.text.contains("4.7.1") && waits.text.contains("malware"), "{}", waits.text);
    let taken = replies.iter().filter(|answer| answer.code == 250).count() + 1;
    assert_eq!(site.sink.wait_for_count(taken).len(), taken, "what was not scanned was not taken");
}

#[test]
fn rfc3507_c_icap_with_its_virus_scan_module() {
    c_icap("c-icap", "respmod");
}

#[test]
fn rfc3507_4_8_c_icap_asked_by_reqmod() {
    c_icap("c-icap-reqmod", "reqmod");
}

fn c_icap(name: &str, method: &str) {
    let site = Site::new(name);
    if !Path::new("/usr/bin/c-icap").exists() || !Path::new(MODULES).join("virus_scan.so").exists() {
        println!("skipped: c-icap and libc-icap-mod-virus-scan are not installed");
        return;
    }
    let Some(clamd) = clamd(&site.folder, free()) else { return };
    let address = free();
    let folder = site.folder.path().display();
    let config = site.folder.write(
        "c-icap.conf",
        format!(
            "PidFile {folder}/c-icap.pid\nCommandsSocket {folder}/c-icap.ctl\nStartServers 1\nMaxServers 2\n\
             MinSpareThreads 5\nMaxSpareThreads 10\nThreadsPerChild 10\nPort 127.0.0.1:{}\nServerAdmin a@agency.test\n\
             ServerName gw.agency.test\nTmpDir {folder}\nModulesDir {MODULES}\nServicesDir {MODULES}\n\
             TemplateDir /usr/share/c_icap/templates/\nLoadMagicFile /etc/c-icap/c-icap.magic\n\
             ServerLog {folder}/server.log\nAccessLog {folder}/access.log\nModule common clamd_mod.so\n\
             clamd_mod.ClamdHost 127.0.0.1\nclamd_mod.ClamdPort {}\nService antivirus_module virus_scan.so\n\
             ServiceAlias avscan virus_scan?allow204=on&sizelimit=off&mode=simple\n\
             virus_scan.ScanFileTypes TEXT DATA EXECUTABLE ARCHIVE GIF JPEG MSOFFICE\nvirus_scan.MaxObjectSize 50M\n\
             virus_scan.DefaultEngine clamd\n",
            address.port(),
            clamd.address.port()
        ),
    );
    let watch = Watch::over(site.folder.path());
    let mut command = Command::new("/usr/bin/c-icap");
    let command = command.args(["-N", "-f"]).arg(config).stdin(Stdio::null());
    let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let icap = Daemon { child, address };
    // Its pipe for commands is made when its sockets are open.
    watch.until("c-icap listens", || TcpStream::connect(address).ok());
    let site = site.section(&engine("icap", icap.address, &format!("service = \"avscan\"\nmethod = \"{method}\"")));
    let site = site.inspect("workers = 2\nchecks = [\"mime\"]\n");
    let gateway = site.start();
    for _ in 0..3 {
        let clean = send(&gateway, &letter("Bao cao", "Kính gửi anh An."));
        assert_eq!(clean.code, 250, "{}", clean.text);
        let receipt = gateway.receipt(&receipt_id(&clean.text).unwrap()).unwrap();
        assert_eq!(receipt.engines[0].outcome, "clean", "{:?}", receipt.engines);
    }
    for (name, octets) in [
        ("eicar.txt", eicar().into_bytes()),
        ("clam.exe", std::fs::read(Path::new(TESTFILES).join("clam.exe")).unwrap()),
    ] {
        let found = send(&gateway, &attached(name, &octets));
        let codes = codes(&gateway, &found);
        assert!(codes.iter().any(|code| code.starts_with("malware.luytre.test")), "{name}: {codes:?}");
    }
    drop(clamd);
    // The service is there and can scan nothing: that is not "clean".
    let blind = send(&gateway, &letter("Bao cao", "Kính gửi chị Bình, lần hai."));
    assert_eq!(blind.code, 451, "{}", blind.text);
}

/// The emergency bypass while inspectors are stuck: mail flows, and what an engine knows to be bad does not.
#[test]
fn r48_under_the_bypass_engines_speak_for_mail_that_no_inspector_took() {
    let site = Site::new("bypass-engines");
    let Some(clamd) = clamd(&site.folder, free()) else { return };
    let site = site.section(&engine("clamd", clamd.address, ""));
    let site = site.inspect("workers = 1\ndeadline = \"1 s\"\nchecks = [\"mime\"]\n");
    let gateway = site.start();
    let config = gateway.config.to_str().unwrap();
    let (code, _, error) =
        luytre(&["bypass", "on", "--config", config, "--for", "1 h", "--reason", "inspectors stuck"]);
    assert_eq!(code, 0, "{error}");
    for pid in crate::survive::children(gateway.pid()) {
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGSTOP).unwrap();
    }
    let answers: Vec<Answer> = std::thread::scope(|scope| {
        let one = |number: usize| send(&gateway, &letter(&format!("hoa don {number}"), &eicar()));
        let senders: Vec<_> = (0..8).map(|number| scope.spawn(move || one(number))).collect();
        senders.into_iter().map(|sender| sender.join().unwrap()).collect()
    });
    let receipts = answers.iter().map(|answer| {
        assert_eq!(answer.code, 250, "{}", answer.text);
        gateway.receipt(&receipt_id(&answer.text).unwrap()).unwrap()
    });
    let mut uninspected = 0;
    for receipt in receipts {
        let codes: Vec<&str> = receipt.groups[0].findings.iter().map(|line| line.code.as_str()).collect();
        assert!(codes.contains(&"malware.luytre.test.eicar.unofficial"), "{codes:?}");
        uninspected += usize::from(receipt.parts.is_empty());
    }
    assert!(uninspected > 0, "the one inspector was stuck");
    assert!(site.sink.taken().is_empty());
}
