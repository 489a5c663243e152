//! Archives and images, from the message they come in to the finding: the EICAR file in every format that is opened,
//! under every password that a letter can name, in containers of containers; and every sample there is, with what must
//! come of each class. Samples of others are read where they are; without them the tests say that they skip.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine as _;
use luytre::env::Dice;
use luytre::inspect::checks::content::archive::{Budget, Passwords};
use luytre::inspect::checks::content::{Limits, objects};
use luytre::inspect::inspector::{Examiner, Task, Wants};
use luytre::inspect::policy::Loaded;
use luytre::inspect::{ContentFacts, Policy, Pool, settings};
use luytre::mail::{ReversePath, Span, Timestamp};

use crate::opened::bodies;

mod together;

fn loaded() -> Loaded {
    let checks = ["mime", "yara"].map(str::to_owned).to_vec();
    let inspect = settings::Inspect { checks, ..settings::Inspect::default() };
    let rules = settings::Rules { spam: Vec::new(), ..settings::Rules::default() };
    let smime = settings::Smime { trust: Vec::new() };
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let limits = luytre::session::settings::Limits::default();
    Policy::compile(&inspect, &rules, &limits, &smime, root).unwrap().open(None).unwrap()
}

fn limits() -> Limits {
    Limits::from(&luytre::session::settings::Limits::default())
}

fn task() -> Task {
    Task {
        now: Timestamp::from_seconds(1_795_302_082),
        sender: ReversePath::Null,
        recipients: Vec::new(),
        client_ip: String::new(),
        helo: String::new(),
        // A build for tests is slow, and the machine busy: the time for unpacking is not what is tested here.
        budget_ms: 600_000,
        wants: Wants::default(),
    }
}

/// Our own samples, unpacked from xz and base64: name and octets.
pub fn samples() -> Vec<(String, Vec<u8>)> {
    let found = samples_in("");
    assert!(found.len() > 50, "samples are there");
    found
}

fn samples_in(folder: &str) -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/archives").join(folder);
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let Some(name) = path.file_name().unwrap().to_str().unwrap().strip_suffix(".b64").map(str::to_owned) else {
            continue;
        };
        let text: String = std::fs::read_to_string(&path).unwrap().split_whitespace().collect();
        let packed = base64::engine::general_purpose::STANDARD.decode(text).unwrap();
        let mut octets = Vec::new();
        lzma_rust2::XzReader::new(&*packed, true).read_to_end(&mut octets).unwrap();
        found.push((name, octets));
    }
    found.sort();
    found
}

/// A letter with one attachment.
fn letter(subject: &str, text: &str, name: &str, data: &[u8]) -> Vec<u8> {
    letter_with(subject, text, &[(name, data)])
}

fn letter_with(subject: &str, text: &str, files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut raw = format!(
        "From: a@b.example\r\nTo: c@d.example\r\nSubject: {subject}\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; \
         boundary=x\r\n\r\n--x\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n{text}\r\n"
    );
    for (name, data) in files {
        let body = base64::engine::general_purpose::STANDARD.encode(data);
        let lines: Vec<&str> = body.as_bytes().chunks(76).map(|l| std::str::from_utf8(l).unwrap()).collect();
        raw.push_str(&format!(
            "--x\r\nContent-Type: application/octet-stream; name=\"{name}\"\r\nContent-Transfer-Encoding: base64\r\n\r\n{}\r\n",
            lines.join("\r\n")
        ));
    }
    raw.push_str("--x--\r\n");
    raw.into_bytes()
}

/// One of our own samples.
fn sample(wanted: &str) -> Vec<u8> {
    samples().into_iter().find(|(name, _)| name == wanted).unwrap().1
}

fn codes(facts: &ContentFacts) -> Vec<&str> {
    facts.findings.iter().map(|f| &*f.code).collect()
}

/// Whether the long forms are wanted.
fn is_campaign() -> bool {
    std::env::var_os("LUYTRE_CAMPAIGN").is_some()
}

fn is_closed(name: &str) -> bool {
    name.contains("aes") || name.contains("crypto")
}

#[test]
fn eicar_is_found_in_every_format() {
    let loaded = loaded();
    let examiner = Examiner::new(&loaded);
    let mut missed = Vec::new();
    for (name, data) in samples() {
        // The name says nothing: the octets do.
        let words = Passwords::listed(&["hoso2026".to_owned()]);
        let (found, _) = objects::unpack(&data, "tep.dat", &limits(), Budget::new(&limits()).with_passwords(words));
        let as_member = found.iter().skip(1).any(|object| memchr::memmem::find(&object.data, b"X5O!P%@AP").is_some());
        // Large images are looked at without the message around them, which only costs time.
        if data.len() > 8 << 20 {
            assert!(as_member, "{name}");
            continue;
        }
        let facts = examiner.examine(&letter("Hoa don", "Mật khẩu giải nén: hoso2026", "tep.dat", &data), &task());
        let codes = codes(&facts);
        let hit = as_member && codes.contains(&"malware.eicar");
        let word = is_closed(&name) == codes.contains(&"archive.password_in_text");
        let odd =
            codes.iter().any(|c| matches!(*c, "archive.malformed" | "archive.unsupported" | "archive.inconsistent"));
        if !hit || !word || odd {
            missed.push(format!("{name}: {codes:?} {:?}", facts.parts.iter().map(|p| &p.path).collect::<Vec<_>>()));
        }
    }
    assert!(missed.is_empty(), "{missed:#?}");
}

#[test]
fn eicar_is_found_in_containers_of_containers() {
    let loaded = loaded();
    let examiner = Examiner::new(&loaded);
    let mut missed = Vec::new();
    let covers = ["zip-Deflate.zip", "tar-gnu.tar", "7z-LZMA2.7z"];
    let small = samples().into_iter().filter(|(_, data)| data.len() < 200_000);
    for (number, (name, data)) in small.enumerate() {
        // Each in another cover; the long form puts each into all.
        for (_, cover) in covers.into_iter().enumerate().filter(|(n, _)| is_campaign() || number % 3 == *n) {
            let wrapped = wrap(cover, &data);
            let facts = examiner.examine(&letter("x", "pass: hoso2026", "a.zip", &wrapped), &task());
            if !codes(&facts).contains(&"malware.eicar") {
                missed.push(format!("{name} in {cover}: {:?}", codes(&facts)));
            }
        }
    }
    assert!(missed.is_empty(), "{missed:#?}");
}

/// `data` twice wrapped, by what the cover's name says; 7z stands for a gzip in a tar.
fn wrap(cover: &str, data: &[u8]) -> Vec<u8> {
    use std::io::Write as _;
    let tar = |data: &[u8]| {
        let mut builder = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_size(data.len() as u64);
        header.set_cksum();
        builder.append_data(&mut header, "bên trong.bin", data).unwrap();
        builder.into_inner().unwrap()
    };
    match cover {
        "zip-Deflate.zip" => {
            let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
            writer.start_file("bên trong.bin", zip::write::SimpleFileOptions::default()).unwrap();
            writer.write_all(&tar(data)).unwrap();
            writer.finish().unwrap().into_inner()
        }
        "tar-gnu.tar" => tar(&tar(data)),
        _ => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
            encoder.write_all(&tar(data)).unwrap();
            encoder.finish().unwrap()
        }
    }
}

/// THREATS Z-04: without the word nothing is opened, the names that can be seen are, and nothing is clean.
#[test]
fn what_stays_encrypted_is_said_to_be() {
    let loaded = loaded();
    let examiner = Examiner::new(&loaded);
    for (name, data) in samples().into_iter().filter(|(name, _)| is_closed(name)) {
        // Half a second for all the words that everybody uses.
        let task = Task { budget_ms: 1000, ..task() };
        let facts = examiner.examine(&letter("Hoa don", "Kinh gui anh chi", &name, &data), &task);
        let codes = codes(&facts);
        assert!(codes.contains(&"archive.encrypted") && !codes.contains(&"malware.eicar"), "{name}: {codes:?}");
        let listed = facts.parts.iter().any(|part| part.name == "eicar.com");
        assert_eq!(listed, !name.contains("names"), "{name}: {:?}", facts.parts);
        assert_eq!(codes.contains(&"attachment.executable"), listed, "{name}: {codes:?}");
    }
}

#[test]
fn passwords_are_taken_from_html_subject_and_list() {
    let loaded = loaded();
    let examiner = Examiner::new(&loaded);
    let (zip, seven) = (sample("zip-crypto.zip"), sample("7z-aes.7z"));
    let page = letter("x", "", "a.zip", &zip);
    let page = String::from_utf8(page).unwrap().replacen(
        "text/plain; charset=utf-8\r\n\r\n",
        "text/html; charset=utf-8\r\n\r\n<p>M&#7853;t kh&#7849;u:</p><p><b>hoso2026</b></p>",
        1,
    );
    for raw in
        [page.into_bytes(), letter("pass la hoso2026", "", "a.zip", &zip), letter("(hoso2026)", "x", "a", &seven)]
    {
        let facts = examiner.examine(&raw, &task());
        assert!(codes(&facts).contains(&"malware.eicar"), "{:?}", codes(&facts));
    }
    let budget = Budget::new(&limits()).with_passwords(Passwords::gather(&[], &["hoso2026".to_owned()]));
    let (found, _) = objects::unpack(&zip, "a.zip", &limits(), budget);
    assert!(found.iter().any(|object| object.data.starts_with(b"X5O!")));
}

/// THREATS Z-09: what 7-Zip and WinRAR find behind a program or a picture.
#[test]
fn archives_behind_other_octets_are_opened() {
    let loaded = loaded();
    let examiner = Examiner::new(&loaded);
    for (name, data) in samples().into_iter().filter(|(name, _)| !is_closed(name)) {
        if !["7z-", "rar4", "rar5", "zip-", "mszip", "quantum", "lh5", "packed.arj"]
            .iter()
            .any(|start| name.starts_with(start))
        {
            continue;
        }
        for lead in [[b"MZ".as_slice(), &[0; 600]].concat(), [b"\x89PNG\r\n\x1a\n".as_slice(), &[7; 90]].concat()] {
            let facts = examiner.examine(&letter("x", "x", "anh.png", &[lead, data.clone()].concat()), &task());
            let codes = codes(&facts);
            assert!(codes.contains(&"malware.eicar"), "{name}: {codes:?}");
        }
    }
}

/// One budget for all: a file that unpacks to itself, and one that unpacks to much, end by it.
#[test]
fn nesting_without_end_ends() {
    let mut data = b"X".to_vec();
    for _ in 0..20 {
        data = wrap("7z-LZMA2.7z", &data);
    }
    let (_, findings) = objects::unpack(&data, "a.gz", &limits(), Budget::new(&limits()));
    assert!(findings.iter().any(|f| f.code == "unpack.limit"), "{findings:?}");
    let bomb = wrap("7z-LZMA2.7z", &vec![0; 300 << 20]);
    let (found, findings) = objects::unpack(&bomb, "a.gz", &limits(), Budget::new(&limits()));
    let total: usize = found.iter().map(|object| object.data.len()).sum();
    assert!(total <= bomb.len() + (101 << 20), "{total}");
    assert!(findings.iter().any(|f| f.code == "unpack.limit" || f.code == "archive.bomb"), "{findings:?}");
}

const SHARED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/testdata");

/// All files below a folder of the shared samples.
fn shared(folder: &str) -> Vec<PathBuf> {
    let root = Path::new(SHARED).join(folder);
    if !root.is_dir() {
        println!("skipped: no samples at {}", root.display());
        return Vec::new();
    }
    let (mut found, mut open) = (Vec::new(), vec![root]);
    while let Some(next) = open.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { open.push(path) } else { found.push(path) }
        }
    }
    found.sort();
    found
}

/// Findings that say that something was not seen, or not in one way.
fn is_said(code: &str) -> bool {
    code.starts_with("archive.") || code.starts_with("unpack.")
}

/// What came of a sample: members, and codes.
fn outcome(path: &Path) -> (usize, Vec<String>) {
    let data = std::fs::read(path).unwrap();
    let name = path.file_name().unwrap().to_string_lossy();
    let (found, findings) = objects::unpack(&data, &name, &limits(), Budget::new(&limits()));
    (found.len() - 1, findings.into_iter().map(|f| f.code.into_owned()).collect())
}

/// Every sample of every format: what is encrypted is said to be, what is damaged is never silently empty, and what is
/// whole is unpacked, but for the few formats that are closed.
#[test]
fn every_shared_archive_has_a_sane_outcome() {
    let mut wrong = Vec::new();
    let (mut all, mut opened, mut closed) = (0, 0, 0);
    let index = std::fs::read(Path::new(SHARED).join("archives/libarchive/index.json")).unwrap_or_default();
    let index: serde_json::Value = serde_json::from_slice(&index).unwrap_or_default();
    let tags = |name: &str| -> Vec<String> {
        let entry = index["files"].as_array().and_then(|f| f.iter().find(|f| f["file"] == name).cloned());
        let tags = entry.and_then(|e| e["tags"].as_array().cloned()).unwrap_or_default();
        tags.iter().filter_map(|t| t.as_str().map(str::to_owned)).collect()
    };
    for path in ["archives", "files/eicar", "files/strelka"].iter().flat_map(|folder| shared(folder)) {
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let ending = path.extension().map(|e| e.to_string_lossy().to_lowercase()).unwrap_or_default();
        if path.to_string_lossy().contains("/archives/")
            && !matches!(&*ending, "md" | "json" | "txt" | "c" | "expected" | "about" | "readme")
        {
            all += 1;
            let (full, codes) = outcome(&path);
            println!("{} {full} {codes:?}", path.strip_prefix(SHARED).unwrap().display());
            opened += usize::from(full > 0);
            closed += usize::from(codes.iter().any(|c| c == "archive.unsupported"));
            let tags = tags(&name);
            let has = |tag: &str| tags.iter().any(|t| t == tag);
            if has("encrypted") && !codes.iter().any(|c| c == "archive.encrypted") {
                wrong.push(format!("{name}: not said to be encrypted: {codes:?}"));
            }
            if full == 0 && !codes.iter().any(|c| is_said(c)) && !EMPTY.contains(&&*name) {
                wrong.push(format!("{name}: nothing seen and nothing said ({tags:?})"));
            }
        }
    }
    println!("{all} archives, {opened} opened, {closed} of a closed kind or part");
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// An empty stream, files of another kind under the name of an archive, pieces of volumes without a header, and help
/// files, which are no archives.
const EMPTY: &[&str] = &[
    "test_empty.gz",
    "test_read_format_7zip_issue2765.7z",
    "test_read_format_7zip_malformed3.7z",
    "test_read_splitted_rar_ab",
    "test_read_splitted_rar_ac",
    "test_read_splitted_rar_ad",
    "bad_signature.cab",
    "blank-filenames.chm",
    "cve-2018-14680-blank-filenames.chm",
    "cve-2018-18585-blank-filenames.chm",
    "encints-32bit-lengths.chm",
    "encints-64bit-lengths.chm",
];

/// Mutated samples: whatever is done to an archive, opening it ends, within its limits. `LUYTRE_CAMPAIGN` makes the run
/// longer, `LUYTRE_SEED` another one.
#[test]
fn mutant_archives_never_panic_or_burst() {
    let number = |name: &str| std::env::var(name).ok().and_then(|value| value.parse::<u64>().ok());
    let (rounds, seed) = (number("LUYTRE_CAMPAIGN").unwrap_or(400), number("LUYTRE_SEED").unwrap_or(1));
    let dice = Dice::seeded(seed);
    let pick = |bound: usize| usize::try_from(dice.below(bound.max(1) as u64)).unwrap();
    let all: Vec<(String, Vec<u8>)> = samples().into_iter().filter(|(_, data)| data.len() < 1 << 16).collect();
    for round in 0..rounds {
        let (name, mut data) = all[pick(all.len())].clone();
        for _ in 0..=pick(6) {
            let at = pick(data.len());
            match pick(7) {
                0 => data.truncate(at),
                1 => data.splice(at..at, all[pick(all.len())].1.iter().copied().take(200)).for_each(drop),
                2 => data[at..].iter_mut().take(4).for_each(|octet| *octet = 0xFF),
                3 => data[at..].iter_mut().take(8).for_each(|octet| *octet = 0),
                4 => drop(data.drain(at..(at + pick(64)).min(data.len()))),
                // Headers stand at the start, and at the end.
                5 if data.len() > 64 => data[pick(64)] ^= 1 << pick(8),
                _ if !data.is_empty() => data[at] ^= 1 << pick(8),
                _ => {}
            }
            if data.is_empty() {
                data.push(0);
            }
        }
        let outcome = std::panic::catch_unwind(|| bodies::archive(&data));
        assert!(outcome.is_ok(), "{name}: seed {seed}, round {round}");
    }
    println!("archives: {rounds} inputs, seed {seed}");
}

/// Every sample through a real inspector: nothing that a reader does is beyond what the cage allows, and none dies of
/// memory or hangs.
#[tokio::test]
async fn every_sample_is_opened_within_the_cage() {
    let registry = prometheus::Registry::new();
    let metrics = luytre::inspect::metrics::Metrics::new(&registry).unwrap();
    let checks = ["mime", "yara"].map(str::to_owned).to_vec();
    let inspect =
        settings::Inspect { workers: 2, deadline: Span::seconds(120), checks, ..settings::Inspect::default() };
    let rules = settings::Rules { spam: Vec::new(), ..settings::Rules::default() };
    let smime = settings::Smime { trust: Vec::new() };
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let limits = luytre::session::settings::Limits::default();
    let policy = Arc::new(Policy::compile(&inspect, &rules, &limits, &smime, root).unwrap());
    let exe = PathBuf::from(env!("CARGO_BIN_EXE_luytre"));
    let pool = Pool::start(policy, &inspect, metrics.clone(), exe).await.unwrap();
    let mut all = samples();
    all.retain(|(_, data)| data.len() < 8 << 20);
    for (number, path) in shared("archives").into_iter().enumerate() {
        if number % 5 != 0 && !is_campaign() {
            continue;
        }
        all.push((path.display().to_string(), std::fs::read(&path).unwrap()));
    }
    for (name, data) in all {
        let raw = bytes::Bytes::from(letter("Hoa don", "mk: hoso2026", "tep.dat", &data));
        let facts = pool.examine(&raw, Task { budget_ms: 60_000, ..task() }).await.unwrap().facts;
        let failed = facts.findings.iter().any(|finding| finding.code.starts_with("inspect."));
        assert!(!failed && !facts.parts.is_empty(), "{name}: {:?}", facts.findings);
    }
    for reason in ["crash", "panic", "deadline", "nonsense"] {
        assert_eq!(metrics.restarts.with_label_values(&[reason]).get(), 0, "{reason}");
    }
    pool.drain().await;
}

/// The name promises a picture, the octets are a program; and the other way round nothing is said.
#[test]
fn names_that_promise_something_else_are_told() {
    let loaded = loaded();
    let examiner = Examiner::new(&loaded);
    let program = [b"MZ".as_slice(), &[0; 200]].concat();
    for (name, data, told) in [
        ("anh.jpg", &*program, true),
        ("bao-cao.docx", &program, true),
        ("van-ban.pdf", b"PK\x03\x04\x14\0\0\0\0\0", true),
        ("van-ban.pdf", b"%PDF-1.7 x", false),
        ("ghi-chu.doc", b"{\\rtf1 x}", false),
        ("bang.xls", b"<html><table></table></html>", false),
        ("anh.jpg", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", false),
        ("anh.png", b"", false),
    ] {
        let facts = examiner.examine(&letter("x", "x", name, data), &task());
        assert_eq!(codes(&facts).contains(&"attachment.type-mismatch"), told, "{name}: {:?}", facts.findings);
    }
}
