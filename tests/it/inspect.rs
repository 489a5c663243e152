//! Inspectors as real processes of the production binary: what they find, that the cage holds, that one that dies or
//! hangs costs a retry and nothing else.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use luytre::env::jail::{Launcher, cage, memory, probe};
use luytre::inspect::inspector::Task;
use luytre::inspect::metrics::Metrics;
use luytre::inspect::{Certainty, ContentFacts, Examined, OutgoingKind, Policy, Pool, Wants, WantsParts, settings};
use luytre::mail::{ReversePath, Span, Timestamp};
use luytre::session::settings::Limits;

const EICAR_LETTER: &[u8] = b"From: a@example.org\r\nTo: b@example.net\r\nSubject: invoice\r\nMIME-Version: 1.0\r\n\
Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\nContent-Type: text/plain\r\n\r\nsee file\r\n--x\r\n\
Content-Type: application/octet-stream; name=a.bin\r\nContent-Transfer-Encoding: base64\r\n\r\n\
WDVPIVAlQEFQWzRcUFpYNTQoUF4pN0NDKTd9JEVJQ0FSLVNUQU5EQVJELUFOVElWSVJVUy1URVNU\r\nLUZJTEUhJEgrSCo=\r\n--x--\r\n";
const LETTER: &[u8] = b"From: a@example.org\r\nTo: b@example.net\r\nSubject: =?utf-8?B?Q2jDoG8=?=\r\n\r\nhello\r\n";

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn exe() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_luytre"))
}

fn policy() -> Arc<Policy> {
    let smime = settings::Smime { trust: Vec::new() };
    let inspect = settings::Inspect::default();
    let rules = settings::Rules { spam: Vec::new(), ..settings::Rules::default() };
    Arc::new(Policy::compile(&inspect, &rules, &Limits::default(), &smime, &root()).unwrap())
}

fn task() -> Task {
    Task {
        now: Timestamp::from_seconds(1_795_302_082),
        sender: ReversePath::Null,
        recipients: vec!["b@example.net".to_owned()],
        client_ip: "192.0.2.1".to_owned(),
        helo: "mx.example.org".to_owned(),
        budget_ms: 60_000,
        wants: Wants::default(),
    }
}

fn metrics() -> (prometheus::Registry, Metrics) {
    let registry = prometheus::Registry::new();
    let metrics = Metrics::new(&registry).unwrap();
    (registry, metrics)
}

async fn pool(workers: usize, deadline: Span) -> (Pool, Metrics) {
    let (_, metrics) = metrics();
    let settings = settings::Inspect { workers, deadline, ..settings::Inspect::default() };
    let pool = Pool::start(policy(), &settings, metrics.clone(), exe()).await.unwrap();
    (pool, metrics)
}

fn codes(facts: &ContentFacts) -> Vec<&str> {
    facts.findings.iter().map(|f| &*f.code).collect()
}

fn restarts(metrics: &Metrics, reason: &str) -> u64 {
    metrics.restarts.with_label_values(&[reason]).get()
}

#[tokio::test]
async fn an_inspector_finds_what_the_same_code_finds_in_process() {
    let (pool, _) = pool(2, Span::seconds(60)).await;
    let policy = policy();
    let loaded = policy.open(None).unwrap();
    let examiner = luytre::inspect::inspector::Examiner::new(&loaded);
    for raw in [EICAR_LETTER, LETTER] {
        let there = pool.examine(&Bytes::from_static(raw), task()).await.unwrap();
        assert_eq!(there.facts, examiner.examine(raw, &task()));
        assert_eq!(there.policy.hash(), policy.hash());
    }
    let facts = pool.examine(&Bytes::from_static(EICAR_LETTER), task()).await.unwrap().facts;
    assert!(codes(&facts).contains(&"malware.eicar"), "{facts:?}");
    assert_eq!(facts.parts.len(), 2);
    pool.drain().await;
    assert!(pool.processes().is_empty());
    assert!(pool.examine(&Bytes::from_static(LETTER), task()).await.is_err());
}

#[tokio::test]
async fn parts_leave_the_cage_sealed_and_only_where_they_are_wanted() {
    let (pool, _) = pool(2, Span::seconds(60)).await;
    let nothing = pool.examine(&Bytes::from_static(EICAR_LETTER), task()).await.unwrap();
    assert!(nothing.released.is_empty() && nothing.facts.outgoing.is_empty());
    for (parts, paths) in [(WantsParts::Attached, vec!["2"]), (WantsParts::All, vec!["2", "1"])] {
        let wants = Wants { parts, ..Wants::default() };
        let examined = pool.examine(&Bytes::from_static(EICAR_LETTER), Task { wants, ..task() }).await.unwrap();
        let found: Vec<_> = examined.released.iter().map(|(item, bytes)| (item.path.clone(), bytes)).collect();
        assert_eq!(found.iter().map(|(path, _)| path.as_str()).collect::<Vec<_>>(), paths);
        let (_, program) = found.first().unwrap();
        assert!(program.ends_with(b"$H+H*") && program.len() == 68, "{program:?}");
        let fact = examined.facts.parts.iter().find(|p| p.path == "2").unwrap();
        assert_eq!(examined.facts.outgoing.first().unwrap().sha256, fact.sha256);
        assert!(examined.released.first(OutgoingKind::Message).is_none());
    }
    pool.drain().await;
}

/// What the production binary says of a probe after its first scan.
struct Probed {
    /// `None`: no answer came.
    answer: Option<Result<(), String>>,
    status: std::process::ExitStatus,
    landlock: bool,
}

async fn probed(policy: &Policy, name: &str) -> Probed {
    let memory_bytes = (512 << 20).to_string();
    let args = ["inspector", "--memory", &memory_bytes, "--probe", name].map(OsString::from).to_vec();
    // A child dies with the launcher that started it.
    let launcher = Launcher::new(exe(), args).unwrap();
    let mut child = launcher.start().await.unwrap();
    child.link.send(&[], &[&memory::seal(policy.bytes()).unwrap()]).await.unwrap();
    let ready = child.link.receive().await.expect("ready");
    assert!(matches!(ready.as_slice(), [0, _]), "{ready:?}");
    let question = postcard::to_stdvec(&task()).unwrap();
    let slate = memory::slate(policy.limits().outgoing()).unwrap();
    child.link.send(&question, &[&memory::seal(EICAR_LETTER).unwrap(), &slate]).await.unwrap();
    let answer = child.link.receive().await;
    let status = child.process.wait().await.unwrap();
    // The record's first octet is the kind of answer; then perhaps the reason.
    let answer = answer.ok().map(|record| {
        assert_eq!(record.first(), Some(&4), "{name}: {record:?}");
        let refused: Option<String> = postcard::from_bytes(&record[1..]).unwrap();
        refused.map_or(Ok(()), Err)
    });
    Probed { answer, status, landlock: ready[1] == 1 }
}

/// DESIGN §3 and THREATS K-13: the production binary, after its first scan.
#[tokio::test]
async fn the_cage_holds_after_the_first_scan() {
    let policy = policy();
    for name in probe::FORBIDDEN {
        let Probed { answer, status, .. } = probed(&policy, name).await;
        println!("{name}: {answer:?}, {status}");
        let signal = std::os::unix::process::ExitStatusExt::signal(&status);
        // SIGXFSZ: a file in memory grew.
        let killed = answer.is_none() && matches!(signal, Some(libc::SIGSYS | libc::SIGXFSZ));
        let refused = matches!(&answer, Some(Err(why)) if !why.contains("no such probe"));
        assert!(refused || killed, "{name}: {answer:?}, {status}");
    }
    for name in probe::ALLOWED {
        let Probed { answer, status, .. } = probed(&policy, name).await;
        assert_eq!(answer, Some(Ok(())), "{name}: {status}");
    }
}

#[tokio::test]
async fn memory_ends_at_the_limit_to_the_octet() {
    let policy = policy();
    let to = probed(&policy, "allocate-to-limit").await;
    assert_eq!(to.answer, Some(Ok(())), "all that is left can be had: {}", to.status);
    let past = probed(&policy, "allocate-past-limit").await;
    let why = past.answer.expect("it answers").expect_err("one octet more cannot");
    println!("{why}");
    assert!(why.starts_with(&format!("one octet past {}, ", 512 << 20)) && why.contains("os error 12"), "{why}");
}

#[tokio::test]
async fn landlock_closes_the_files_where_the_kernel_has_it() {
    // It holds for the thread that asks for it, so this one goes into the half cage by itself, without seccomp.
    let alone = std::thread::spawn(|| {
        let closed = cage::close_files().unwrap();
        (closed, std::fs::File::open(exe()).is_err())
    });
    let (closed, refused) = alone.join().unwrap();
    println!("landlock here: {closed}");
    assert_eq!(closed, refused, "what it says of itself is what happens");
    assert_eq!(probed(&policy(), "clean").await.landlock, closed);
}

/// Sends a signal to every inspector there is.
fn signal(pool: &Pool, signal: nix::sys::signal::Signal) {
    for process in pool.processes() {
        let process = nix::unistd::Pid::from_raw(i32::try_from(process).unwrap());
        // One that is gone already needs no signal.
        let _ = nix::sys::signal::kill(process, signal);
    }
}

#[tokio::test]
async fn kill_9_in_the_middle_of_a_message_costs_one_retry() {
    let (pool, metrics) = pool(1, Span::seconds(60)).await;
    // Stopped, it takes the message and does not answer: killed then, it dies in the middle of it.
    signal(&pool, nix::sys::signal::Signal::SIGSTOP);
    let before = pool.processes();
    let raw = Bytes::from_static(EICAR_LETTER);
    let examined = {
        let work = pool.examine(&raw, task());
        tokio::pin!(work);
        tokio::select! {
            biased;
            _ = &mut work => panic!("a stopped process answers nothing"),
            () = taken(&metrics) => signal(&pool, nix::sys::signal::Signal::SIGKILL),
        }
        work.await.unwrap()
    };
    assert!(codes(&examined.facts).contains(&"malware.eicar"));
    assert!(!codes(&examined.facts).contains(&"inspect.failed"));
    assert_eq!(restarts(&metrics, "crash"), 1);
    assert_ne!(pool.processes(), before, "a new one stands in its place");
}

/// Until an inspector is at work.
async fn taken(metrics: &Metrics) {
    while metrics.processes.with_label_values(&["busy"]).get() == 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn an_idle_inspector_that_is_killed_is_replaced_and_costs_no_message_a_try() {
    let (pool, metrics) = pool(2, Span::seconds(60)).await;
    let before = pool.processes();
    signal(&pool, nix::sys::signal::Signal::SIGKILL);
    let examined = pool.examine(&Bytes::from_static(LETTER), task()).await.unwrap();
    assert!(!codes(&examined.facts).contains(&"inspect.failed"));
    while pool.processes().len() < 2 || pool.processes().iter().any(|p| before.contains(p)) {
        tokio::task::yield_now().await;
    }
    assert_eq!(restarts(&metrics, "crash"), 2);
}

#[tokio::test]
async fn a_message_that_hangs_every_inspector_ends_as_a_finding() {
    let (pool, metrics) = pool(1, Span::seconds(3)).await;
    let raw = Bytes::from_static(EICAR_LETTER);
    let work = pool.examine(&raw, task());
    tokio::pin!(work);
    signal(&pool, nix::sys::signal::Signal::SIGSTOP);
    // Whatever process appears is stopped before it can take the message.
    let stop_all = async {
        let mut seen = pool.processes();
        loop {
            let now = pool.processes();
            if now != seen {
                signal(&pool, nix::sys::signal::Signal::SIGSTOP);
                seen = now;
            }
            tokio::task::yield_now().await;
        }
    };
    let examined: Examined = tokio::select! {
        biased;
        () = stop_all => unreachable!("it never ends"),
        examined = &mut work => examined.unwrap(),
    };
    let failed = examined.facts.findings.iter().find(|f| f.code == "inspect.failed").expect("the finding");
    assert_eq!(failed.certainty, Certainty::Unknown);
    assert!(restarts(&metrics, "deadline") >= 1);
}

#[tokio::test]
async fn a_reload_changes_the_policy_without_a_gap() {
    let (pool, _) = pool(2, Span::seconds(60)).await;
    let old = pool.policy();
    let limits = Limits { mime_depth: 5, ..Limits::default() };
    let smime = settings::Smime { trust: Vec::new() };
    let inspect = settings::Inspect::default();
    let rules = settings::Rules { spam: Vec::new(), ..settings::Rules::default() };
    let new = Arc::new(Policy::compile(&inspect, &rules, &limits, &smime, &root()).unwrap());
    assert_ne!(old.hash(), new.hash());
    let raw = Bytes::from_static(LETTER);
    let (reloaded, meanwhile) = tokio::join!(pool.reload(Arc::clone(&new)), pool.examine(&raw, task()));
    reloaded.unwrap();
    meanwhile.unwrap();
    for _ in 0..4 {
        let examined = pool.examine(&raw, task()).await.unwrap();
        assert_eq!(examined.policy.hash(), new.hash());
    }
}

#[test]
fn a_broken_yara_file_is_told_with_its_place_and_nothing_is_compiled() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("bad.yar"), "rule a {\n  condition: nonsense\n}\n").unwrap();
    std::fs::write(folder.path().join("worse.yar"), "rule {").unwrap();
    let rules =
        settings::Rules { spam: Vec::new(), yara: vec![folder.path().to_owned()], ..settings::Rules::default() };
    let smime = settings::Smime { trust: vec![folder.path().join("none")] };
    let inspect =
        settings::Inspect { checks: vec!["yara".to_owned(), "yarra".to_owned()], ..settings::Inspect::default() };
    let problems = Policy::compile(&inspect, &rules, &Limits::default(), &smime, Path::new("/")).unwrap_err();
    let told: Vec<String> = problems.iter().map(ToString::to_string).collect();
    assert!(told.iter().any(|t| t.contains("bad.yar:2:14")), "{told:?}");
    assert!(told.iter().any(|t| t.contains("worse.yar")), "{told:?}");
    assert!(told.iter().any(|t| t.contains("yarra")), "{told:?}");
    assert!(told.iter().any(|t| t.contains("none")), "{told:?}");
}
