//! What the YARA rules cost. `cargo bench --bench yara -- [ROUNDS] [MAIL FOLDER…]`
//!
//! 1. The inspector's check beside a bare `yara_x::Scanner` over the same octets: overhead, median of the rounds.
//! 2. Packs of 100 to 5,000 made-up rules: time to compile them, size and time of the hand-over to an inspector, memory
//!    there, time of a scan. Only ratios carry over to other machines.

use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use luytre::inspect::checks::content::archive::Budget;
use luytre::inspect::checks::content::yara::{RuleSet, Source, Yara};
use luytre::inspect::checks::content::{ContentCheck, Limits, Outbox, View, objects};
use luytre::inspect::inspector::Task;
use luytre::inspect::policy::Sources;
use luytre::inspect::{ContentFacts, Policy, Wants};
use luytre::mail::{ReversePath, Timestamp, mime};
use luytre::session::settings;

#[path = "../tests/it/kit/pack.rs"]
mod pack;

fn main() {
    let mut arguments = std::env::args().skip(1).filter(|argument| argument != "--bench").peekable();
    let rounds = arguments.next_if(|first| first.parse::<usize>().is_ok()).and_then(|n| n.parse().ok()).unwrap_or(15);
    let folders: Vec<PathBuf> = arguments.map(PathBuf::from).collect();
    let mail = mail(&folders);
    let octets: usize = mail.iter().map(Vec::len).sum();
    println!("{} messages, {} KiB", mail.len(), octets / 1024);
    let shipped = shipped();
    overhead("shipped", &shipped, &mail, rounds);
    let mut with_pack = shipped;
    with_pack.push(made_up(1000));
    overhead("shipped and 1,000", &with_pack, &mail, rounds);
    for count in [100, 500, 1000, 2000, 5000] {
        growth(count, &mail);
    }
}

fn shipped() -> Vec<Source> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("rules/yara");
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(folder).expect("the rules").map(|entry| entry.expect("an entry").path()).collect();
    files.retain(|file| file.extension().is_some_and(|e| e == "yar"));
    files.sort();
    let source = |file: PathBuf| Source { text: std::fs::read_to_string(&file).expect("a rule file"), file };
    files.into_iter().map(source).collect()
}

fn made_up(count: usize) -> Source {
    Source { file: "pack.yar".into(), text: pack::realistic(count, 1) }
}

/// The named mail; without any, made-up letters of usual sizes, half of them with a file.
fn mail(folders: &[PathBuf]) -> Vec<Vec<u8>> {
    let files = folders.iter().flat_map(|folder| std::fs::read_dir(folder).expect("a folder of mail"));
    let files =
        files.map(|entry| entry.expect("an entry").path()).filter(|path| path.extension().is_some_and(|e| e == "eml"));
    let read: Vec<Vec<u8>> = files.map(|path| std::fs::read(path).expect("a message")).collect();
    if !read.is_empty() {
        return read;
    }
    let line = "Kính gửi các đồng chí, đề nghị xem văn bản số 15/QĐ-UBND tại http://www.x.test/a trước thứ sáu.\r\n";
    let head = "From: a@x.test\r\nTo: b@tinh.gov.vn\r\nSubject: lich hop\r\nMIME-Version: 1.0\r\n";
    let letter = |number: usize| {
        let text = line.repeat(20 + number * 7 % 60);
        if number.is_multiple_of(2) {
            return format!("{head}Content-Type: text/plain; charset=utf-8\r\n\r\n{text}").into_bytes();
        }
        let file: String = (0..200 + number * 31).map(|row| format!("{:076}\r\n", row * 7919 * number)).collect();
        format!(
            "{head}Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n{text}\r\n\
             --b\r\nContent-Type: application/octet-stream; name=a.bin\r\nContent-Transfer-Encoding: base64\r\n\r\n{file}--b--\r\n"
        )
        .into_bytes()
    };
    (0..40).map(letter).collect()
}

fn task() -> Task {
    Task {
        now: Timestamp::from_seconds(1_795_302_082),
        sender: ReversePath::Null,
        recipients: Vec::new(),
        client_ip: String::new(),
        helo: String::new(),
        budget_ms: 20_000,
        wants: Wants::default(),
    }
}

/// The check of the inspector and the bare scanner over the same octets, in turns.
fn overhead(name: &str, sources: &[Source], mail: &[Vec<u8>], rounds: usize) {
    let (set, _) = RuleSet::compile(sources).expect("the rules compile");
    let check = Yara::new(&set, None);
    let bare_rules = bare(sources);
    let mut scanner = yara_x::Scanner::new(&bare_rules);
    scanner.max_matches_per_pattern(1000);
    let limits = Limits::from(&settings::Limits::default());
    let (task, outbox) = (task(), Outbox::closed());
    let (mut ours, mut theirs, mut scans) = (Vec::new(), Vec::new(), 0);
    for round in 0..=rounds {
        let (mut check_time, mut bare_time) = (Duration::ZERO, Duration::ZERO);
        scans = 0;
        for raw in mail {
            let tree = mime::parse(raw, &limits.tree());
            let (objects, unpacked) = objects::collect(&tree, &limits, Budget::new(&limits));
            let (objects, unpacked) = (objects.as_slice(), unpacked.as_slice());
            let view = View { raw, tree: &tree, objects, unpacked, task: &task, from: None, outbox: &outbox };
            let mut look = |first: bool| {
                if first {
                    let began = Instant::now();
                    let mut facts = ContentFacts::default();
                    check.examine(&view, &mut facts);
                    black_box(facts);
                    check_time += began.elapsed();
                } else {
                    let began = Instant::now();
                    let seen =
                        view.objects.iter().filter(|object| !object.is_seen_in_raw()).map(|object| &*object.data);
                    for data in std::iter::once(view.raw).chain(seen) {
                        black_box(scanner.scan(data).expect("a scan").matching_rules().count());
                        scans += 1;
                    }
                    bare_time += began.elapsed();
                }
            };
            // Who is second finds the octets in the cache.
            look(round.is_multiple_of(2));
            look(!round.is_multiple_of(2));
        }
        // The first round warms up.
        if round > 0 {
            ours.push(check_time);
            theirs.push(bare_time);
        }
    }
    let (ours, theirs) = (median(ours), median(theirs));
    println!(
        "{name}: {scans} scans; the check {:.2} ms, bare {:.2} ms, ratio {:.3}",
        ours.as_secs_f64() * 1e3,
        theirs.as_secs_f64() * 1e3,
        ours.as_secs_f64() / theirs.as_secs_f64()
    );
}

fn bare(sources: &[Source]) -> yara_x::Rules {
    let mut compiler = yara_x::Compiler::new();
    for name in ["file_name", "file_type", "sender_domain"] {
        compiler.define_global(name, "").expect("a global");
    }
    for source in sources {
        compiler.new_namespace(&source.file.display().to_string());
        compiler.add_source(source.text.as_str()).expect("the rules compile");
    }
    compiler.build()
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

fn growth(count: usize, mail: &[Vec<u8>]) {
    let limits = Limits::from(&settings::Limits::default());
    let sources = Sources { yara: vec![made_up(count)], ..Sources::default() };
    let began = Instant::now();
    let policy = Policy::from_sources(&["yara".to_owned()], limits, sources).expect("the pack compiles");
    let compiled = began.elapsed();
    let before = resident();
    let began = Instant::now();
    let loaded = policy.open(None).expect("it opens");
    let opened = began.elapsed();
    let examiner = luytre::inspect::inspector::Examiner::new(&loaded);
    let task = task();
    let mut times = Vec::new();
    for _ in 0..8 {
        let began = Instant::now();
        for raw in mail {
            black_box(examiner.examine(raw, &task));
        }
        times.push(began.elapsed());
    }
    let octets: usize = mail.iter().map(Vec::len).sum();
    let scan = median(times).as_secs_f64();
    println!(
        "{count} rules: compiled in {:.2} s, {:.1} MiB handed over, opened in {:.3} s, {:.1} MiB more in an inspector, \
         {:.0} µs a message ({:.0} MiB/s)",
        compiled.as_secs_f64(),
        policy.bytes().len() as f64 / 1_048_576.0,
        opened.as_secs_f64(),
        resident().saturating_sub(before) as f64 / 1024.0,
        scan * 1e6 / mail.len() as f64,
        octets as f64 / scan / 1_048_576.0
    );
}

/// Resident memory of this process, KiB.
fn resident() -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with("VmRSS:"));
    line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok()).unwrap_or(0)
}
