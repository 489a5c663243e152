//! Messages that would use up an inspector, through whole caged processes of the production binary: none of them dies. The full
//! form, with times and 50 MiB each, is `benches/worst/`; what each reader does to stay within its bounds is counted in the
//! tests beside it.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine as _;
use bytes::Bytes;
use luytre::inspect::inspector::Task;
use luytre::inspect::metrics::Metrics;
use luytre::inspect::{ContentFacts, Policy, Pool, Wants, settings};
use luytre::mail::{ByteSize, ReversePath, Span, Timestamp};
use luytre::session::settings::Limits;

async fn pool(limits: &Limits, workers: usize) -> (Pool, Metrics) {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let inspect = settings::Inspect { workers, deadline: Span::minutes(5), ..settings::Inspect::default() };
    let smime = settings::Smime { trust: Vec::new() };
    let policy = Policy::compile(&inspect, &settings::Rules::default(), limits, &smime, &root).unwrap();
    let metrics = Metrics::new(&prometheus::Registry::new()).unwrap();
    let exe = PathBuf::from(env!("CARGO_BIN_EXE_luytre"));
    (Pool::start(Arc::new(policy), &inspect, metrics.clone(), exe).await.unwrap(), metrics)
}

async fn look(pool: &Pool, raw: Vec<u8>) -> ContentFacts {
    let task = Task {
        now: Timestamp::from_seconds(1_795_302_082),
        sender: ReversePath::Null,
        recipients: vec!["an@agency.test".to_owned()],
        client_ip: "192.0.2.1".to_owned(),
        helo: "mail.partner.example".to_owned(),
        budget_ms: 300_000,
        wants: Wants::default(),
    };
    pool.examine(&Bytes::from(raw), task).await.unwrap().facts
}

fn deaths(metrics: &Metrics) -> u64 {
    ["crash", "deadline", "panic", "nonsense"].iter().map(|why| metrics.restarts.with_label_values(&[why]).get()).sum()
}

fn has(facts: &ContentFacts, code: &str) -> bool {
    facts.findings.iter().any(|f| f.code == code)
}

/// A letter with these files attached.
fn letter(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut out =
        b"From: a@b.example\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\n".to_vec();
    for (name, data) in files {
        let head = format!(
            "--x\r\nContent-Type: application/octet-stream; name=\"{name}\"\r\nContent-Transfer-Encoding: base64\r\n\r\n"
        );
        out.extend_from_slice(head.as_bytes());
        for line in base64::engine::general_purpose::STANDARD.encode(data).as_bytes().chunks(76) {
            out.extend_from_slice(line);
            out.extend_from_slice(b"\r\n");
        }
    }
    out.extend_from_slice(b"--x--\r\n");
    out
}

/// Address space of a process, in octets.
fn space(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmSize:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() << 10
}

/// DESIGN §3: the cage's memory has an end, and what does not fit is said, not died of.
#[tokio::test]
async fn an_inspector_whose_memory_is_spent_says_so_and_lives() {
    let (free, _) = pool(&Limits::default(), 1).await;
    let base = space(*free.processes().first().unwrap());
    free.drain().await;
    // Room for the message and a few of its members; a third of the whole is kept for whoever comes.
    let inspector_memory = ByteSize::bytes((base + (40 << 20)) / 2 * 3);
    let (pool, metrics) =
        pool(&Limits { inspector_memory, archive_bytes: ByteSize::mib(1000), ..Limits::default() }, 1).await;
    let packed = {
        let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        // Neither a bomb nor nothing: one octet in sixteen is another.
        let piece: Vec<u8> = (0..4_u32 << 20).map(|i| if i % 16 == 0 { (i >> 4) as u8 } else { b'a' }).collect();
        out.write_all(&piece).unwrap();
        out.finish().unwrap()
    };
    let names: Vec<String> = (0..40).map(|i| format!("{i}.gz")).collect();
    let files: Vec<(&str, &[u8])> = names.iter().map(|name| (name.as_str(), packed.as_slice())).collect();
    let facts = look(&pool, letter(&files)).await;
    assert!(has(&facts, "unpack.limit"), "{:?}", facts.findings);
    assert!(!has(&facts, "inspect.failed") && deaths(&metrics) == 0, "{:?}", facts.findings);
    let spent = facts.findings.iter().filter(|f| f.detail.contains("memory"));
    assert_eq!(spent.count(), 1, "told once: {:?}", facts.findings);
    // The same process goes on.
    assert!(!has(&look(&pool, letter(&[("a.gz", &packed)])).await, "unpack.limit"));
    assert_eq!(deaths(&metrics), 0);
}

/// Every n-th file of the shared samples, each in an inspector; `LUYTRE_CAMPAIGN` takes them all.
#[tokio::test]
async fn no_shared_sample_ends_an_inspector() {
    let every = if std::env::var_os("LUYTRE_CAMPAIGN").is_some() { 1 } else { 25 };
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/testdata");
    let mut files = Vec::new();
    let mut folders: Vec<PathBuf> = ["mime", "archives", "files", "attacks"].map(|name| root.join(name)).to_vec();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    files.sort();
    if files.is_empty() {
        println!("skipped: {} is not here", root.display());
        return;
    }
    let (pool, metrics) = pool(&Limits::default(), 2).await;
    let mut count = 0;
    for path in files.iter().step_by(every) {
        let data = std::fs::read(path).unwrap();
        let raw = if path.extension().is_some_and(|e| e == "eml") { data } else { letter(&[("a.bin", &data)]) };
        let facts = look(&pool, raw).await;
        assert!(!has(&facts, "inspect.failed"), "{}: {:?}", path.display(), facts.findings);
        count += 1;
    }
    println!("{count} samples of {}", files.len());
    assert_eq!(deaths(&metrics), 0);
}
