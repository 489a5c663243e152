//! The MIME corpus read by other programs: every leaf that Python's email package (both policies), Perl's MIME-tools,
//! ripMIME or munpack take out of a message is among what we scan, or a reason stands here why not. Finds whole classes
//! of readings that we lack. Programs that are absent are skipped and named; `LUYTRE_CAMPAIGN` reads the whole corpus.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use luytre::inspect::checks::content::archive::Budget;
use luytre::inspect::checks::content::{Limits, objects};
use luytre::mail::mime;
use luytre::session::settings;

const CORPUS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/testdata/mime");

/// Reads paths from standard input, writes leaves to `FOLDER/number.n`.
const PYTHON: &str = r#"
import email, email.policy, sys
for number, path in enumerate(sys.stdin.read().split("\n")):
    if not path: continue
    raw = open(path, "rb").read()
    n = 0
    for policy in (email.policy.compat32, email.policy.default):
        try:
            for part in email.message_from_bytes(raw, policy=policy).walk():
                if part.is_multipart(): continue
                try: data = part.get_payload(decode=True)
                except Exception: continue
                if data:
                    open("%s/%d.%d" % (sys.argv[1], number, n), "wb").write(data)
                    n += 1
        except Exception: pass
"#;

const PERL: &str = r#"
use MIME::Parser;
my ($folder, $number) = ($ARGV[0], 0);
for my $path (split /\n/, join "", <STDIN>) {
    my $parser = MIME::Parser->new;
    $parser->output_to_core(1); $parser->extract_uuencode(1); $parser->ignore_errors(1);
    my @open = eval { $parser->parse_open($path) };
    my $n = 0;
    while (my $entity = shift @open) {
        push @open, $entity->parts;
        my $body = $entity->bodyhandle or next;
        open my $out, ">", "$folder/$number." . $n++; binmode $out; print $out $body->as_string; close $out;
    }
    $number++;
}
"#;

/// White space moves between readings and hides nothing.
fn squeezed(octets: &[u8]) -> Vec<u8> {
    octets.iter().copied().filter(|b| !matches!(b, 9..=13 | 32)).collect()
}

/// Why a program's leaf need not be among ours.
fn excuse(program: &str, path: &str, raw: &[u8], leaf: &[u8]) -> Option<&'static str> {
    let says = |word: &str| String::from_utf8_lossy(raw).to_ascii_lowercase().contains(word);
    let named = |list: &[&str]| list.iter().any(|part| path.contains(part));
    if path.contains("maildir/mac") {
        return Some("lines end in a lone CR: SMTP refuses such mail, and these programs keep the CR inside");
    }
    if leaf.starts_with(b"ARRAY(0x") {
        return Some("MIME-tools prints a reference where BinHex should be");
    }
    match program {
        // It writes octets for `=` before a CR and for what is no escape.
        "munpack" if says("quoted-printable") || says("quoted -printable") => {
            Some("munpack misreads quoted-printable with CRLF")
        }
        "munpack" if says("=?") && leaf.len() < 200 => Some("munpack writes descriptions and subjects as files"),
        "ripmime" if named(&["mixedlen", "linelen", "multipart-base64-1", "legacy/049"]) => {
            Some("ripMIME loses bits where a base64 line ends inside a quantum")
        }
        "ripmime" if named(&["uuencode", "x-uue", "uue."]) => {
            Some("ripMIME takes the text before the begin line for data")
        }
        "ripmime" if leaf.trim_ascii_end().ends_with(b"--") => {
            Some("ripMIME writes the delimiter line out with the part")
        }
        "ripmime" if named(&["noenc"]) => Some("ripMIME writes blanks for NUL"),
        _ => None,
    }
}

fn corpus() -> Vec<PathBuf> {
    let whole = std::env::var_os("LUYTRE_CAMPAIGN").is_some();
    let folders: &[&str] = if whole {
        &[""]
    } else {
        &["mimeminer", "mime-is-broken", "mimetools-testmsgs", "cpython", "mail-parser/malformed"]
    };
    let (mut found, mut open) = (Vec::new(), folders.iter().map(|f| Path::new(CORPUS).join(f)).collect::<Vec<_>>());
    while let Some(next) = open.pop() {
        for entry in std::fs::read_dir(next).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
                continue;
            }
            let name = path.file_name().unwrap().to_string_lossy().to_ascii_lowercase();
            let message = [".eml", ".msg", ".txt", ".out"].iter().any(|e| name.ends_with(e)) || !name.contains('.');
            if message && !name.contains("_decoded") && !name.starts_with("readme") && !name.starts_with("license") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// Runs one program over all files that reads their list; leaves by the number of their file.
fn at_once(command: &mut Command, folder: &Path, files: &[PathBuf]) -> Option<BTreeMap<usize, Vec<Vec<u8>>>> {
    use std::io::Write as _;
    let list: String = files.iter().map(|f| format!("{}\n", f.display())).collect();
    command.arg(folder).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().ok()?;
    let _ = child.stdin.take()?.write_all(list.as_bytes());
    child.wait().ok()?.success().then_some(())?;
    let mut leaves: BTreeMap<usize, Vec<Vec<u8>>> = BTreeMap::new();
    for entry in std::fs::read_dir(folder).ok()? {
        let path = entry.ok()?.path();
        let number = path.file_stem()?.to_string_lossy().parse().ok()?;
        leaves.entry(number).or_default().push(std::fs::read(path).ok()?);
    }
    Some(leaves)
}

/// Runs one program for each file; `@F` and `@O` stand for the message and a new folder.
fn one_by_one(argv: &[&str], files: &[PathBuf]) -> Option<BTreeMap<usize, Vec<Vec<u8>>>> {
    let mut leaves = BTreeMap::new();
    for (number, file) in files.iter().enumerate() {
        let folder = tempfile::tempdir().unwrap();
        let fill = |a: &&str| a.replace("@F", &file.to_string_lossy()).replace("@O", &folder.path().to_string_lossy());
        let args: Vec<String> = argv.iter().map(fill).collect();
        let mut command = Command::new(&args[0]);
        command
            .args(&args[1..])
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command.status().ok()?;
        let mut found = Vec::new();
        let mut open = vec![folder.path().to_owned()];
        while let Some(next) = open.pop() {
            for entry in std::fs::read_dir(next).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() { open.push(path) } else { found.push(std::fs::read(path).unwrap()) }
            }
        }
        leaves.insert(number, found);
    }
    Some(leaves)
}

#[test]
fn what_other_programs_take_out_is_among_what_we_scan() {
    let files = corpus();
    if files.is_empty() {
        println!("skipped: no corpus at {CORPUS}");
        return;
    }
    let (python, perl) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let programs = [
        ("python", at_once(Command::new("/usr/bin/python3").args(["-c", PYTHON]), python.path(), &files)),
        ("perl", at_once(Command::new("perl").args(["-e", PERL]), perl.path(), &files)),
        ("ripmime", one_by_one(&["ripmime", "-i", "@F", "-d", "@O"], &files)),
        ("munpack", one_by_one(&["munpack", "-t", "-f", "-q", "-C", "@O", "@F"], &files)),
    ];
    for (name, _) in programs.iter().filter(|(_, leaves)| leaves.is_none()) {
        println!("skipped: {name} is not at hand");
    }
    let limits = Limits::from(&settings::Limits::default());
    let (mut all, mut excused, mut missed) = (0, BTreeMap::<&str, usize>::new(), Vec::new());
    for (number, file) in files.iter().enumerate() {
        let raw = std::fs::read(file).unwrap();
        let tree = mime::parse(&raw, &limits.tree());
        let (found, _) = objects::collect(&tree, &limits, Budget::new(&limits));
        let mut ours: Vec<Vec<u8>> = found.iter().map(|o| squeezed(&o.data)).collect();
        ours.push(squeezed(&raw));
        for (program, leaves) in &programs {
            for leaf in leaves.iter().flat_map(|l| l.get(&number)).flatten() {
                // A soft break at the very end: some keep its mark.
                let mut wanted = squeezed(leaf);
                if wanted.ends_with(b"=") {
                    wanted.pop();
                }
                if wanted.len() < 8 {
                    continue;
                }
                all += 1;
                if ours.iter().any(|octets| memchr::memmem::find(octets, &wanted).is_some()) {
                    continue;
                }
                match excuse(program, &file.to_string_lossy(), &raw, leaf) {
                    Some(why) => *excused.entry(why).or_default() += 1,
                    None => {
                        let start = leaf[..leaf.len().min(60)].escape_ascii().to_string();
                        missed.push(format!("{program}: {} {} octets {start}", file.display(), leaf.len()));
                    }
                }
            }
        }
    }
    println!("{} messages, {all} leaves, excused: {excused:#?}", files.len());
    assert!(missed.is_empty(), "{} of {all}:\n{}", missed.len(), missed.join("\n"));
}

/// Each copy is read by Python (both policies) as the same leaves that we put in.
#[test]
fn canonical_copies_are_read_alike_by_another_program() {
    let files = corpus();
    if files.is_empty() {
        println!("skipped: no corpus at {CORPUS}");
        return;
    }
    let limits = Limits::from(&settings::Limits::default()).tree();
    let (copies, python) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (mut written, mut names) = (Vec::new(), Vec::new());
    for file in &files {
        let raw = std::fs::read(file).unwrap();
        let Ok(copy) = mime::rewrite::canonical(&raw, &limits) else { continue };
        let path = copies.path().join(written.len().to_string());
        std::fs::write(&path, &copy).unwrap();
        written.push(path);
        names.push(file);
    }
    let Some(leaves) = at_once(Command::new("/usr/bin/python3").args(["-c", PYTHON]), python.path(), &written) else {
        println!("skipped: python is not at hand");
        return;
    };
    let mut missed = Vec::new();
    for (number, path) in written.iter().enumerate() {
        let copy = std::fs::read(path).unwrap();
        let tree = mime::parse(&copy, &limits);
        assert!(tree.alternatives.is_empty(), "{}", names[number].display());
        let theirs: Vec<&Vec<u8>> = leaves.get(&number).into_iter().flatten().collect();
        for part in tree.parts.iter().filter(|p| !p.is_multipart() && !p.content_type.starts_with("message/")) {
            // Once for each policy.
            let times = theirs.iter().filter(|leaf| ***leaf == *part.decoded).count();
            if times < 2 && !part.decoded.is_empty() {
                missed.push(format!("{} part {}: {times} of 2", names[number].display(), part.path));
            }
        }
    }
    println!("{} copies of {} messages", written.len(), files.len());
    assert!(written.len() * 2 > files.len() && missed.is_empty(), "{}", missed.join("\n"));
}

/// The words of the findings stand in both pages.
#[test]
fn every_ambiguity_is_written_down() {
    for language in ["en", "vi"] {
        let page = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("docs/{language}/mime-readings.md"));
        let text = std::fs::read_to_string(page).unwrap();
        for why in mime::Why::ALL {
            assert!(text.contains(&format!("\n| `{}` |", why.word())), "{language}: {}", why.word());
        }
    }
}
