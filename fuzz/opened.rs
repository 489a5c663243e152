//! What must hold when any octets are opened as an archive, an image, a document, a picture or a signature: it ends, nothing
//! panics, what comes out stays within the budget, the same octets give the same, and octets that were left out are said
//! to be left out. One function a format, so that a fuzzer finds the way into each; `archive` and `message` are
//! everything at once.

use std::path::Path;
use std::sync::OnceLock;

use luytre::inspect::checks::content::archive::{Budget, Passwords};
use luytre::inspect::checks::content::smime::{self, TrustStore};
use luytre::inspect::checks::content::{Limits, Object, kind, objects};
use luytre::inspect::inspector::{Examiner, Loaded, Task};
use luytre::inspect::{Policy, Wants, settings};
use luytre::mail::{ByteSize, ReversePath, Timestamp, mime};

/// Octets, files and depth that may be unpacked.
const BYTES: usize = 4 << 20;
const FILES: usize = 200;
const DEPTH: usize = 4;
/// Inputs up to this are opened twice.
const TWICE: usize = 512;

fn limits() -> luytre::session::settings::Limits {
    luytre::session::settings::Limits {
        archive_bytes: ByteSize::mib(4),
        archive_files: FILES,
        archive_depth: DEPTH,
        ..Default::default()
    }
}

/// One file, with two words to try where it is encrypted.
pub fn archive(input: &[u8]) {
    open(input, "a.bin");
}

fn open(input: &[u8], name: &str) {
    let limits = Limits::from(&limits());
    let words = ["hoso2026".to_owned(), "x".to_owned()];
    let unpack = || {
        let budget = Budget::new(&limits).with_passwords(Passwords::listed(&words));
        objects::unpack(input, name, &limits, budget)
    };
    let (found, findings) = unpack();
    let members = found.get(1..).unwrap_or_default();
    // The links of documents are their own octets once more, and bounded one by one.
    let counted = |object: &&Object<'_>| object.kind != luytre::inspect::checks::content::document::LINKS;
    let octets: usize = members.iter().filter(counted).map(|object| object.data.len()).sum();
    assert!(octets <= BYTES && members.len() <= FILES * 2, "{octets} octets in {} members", members.len());
    assert!(members.iter().all(|object| object.depth <= DEPTH + 1));
    assert!(findings.iter().all(|finding| finding.detail.chars().count() <= 500));
    for finding in &findings {
        let same = findings.iter().filter(|other| other.code == finding.code).count();
        assert!(same <= 101, "{same} findings of {}", finding.code);
    }
    if input.len() <= TWICE {
        let (again, told) = unpack();
        let same = |(one, other): (&Object<'_>, &Object<'_>)| one.path == other.path && one.data == other.data;
        assert!(again.len() == found.len() && found.iter().zip(&again).all(same), "a second look found something else");
        assert_eq!(findings, told);
    }
}

/// As [`open`], only what is of one of these kinds: a fuzzer stays with the format.
fn only(kinds: &[&str], input: &[u8], name: &str) {
    if kinds.contains(&kind::of(input)) {
        open(input, name);
    }
}

pub fn stream(input: &[u8]) {
    const KINDS: &[&str] = &[
        "application/gzip",
        "application/x-bzip2",
        "application/x-compress",
        "application/x-lz4",
        "application/x-lzip",
        "application/x-lzma",
        "application/x-ms-compress",
        "application/x-xz",
        "application/zstd",
    ];
    only(KINDS, input, "a.gz");
}

pub fn zip(input: &[u8]) {
    if kind::of(input).contains("zip") || kind::of(input).starts_with("application/vnd.o") {
        open(input, "a.zip");
    }
}

pub fn sevenz(input: &[u8]) {
    only(&["application/x-7z-compressed"], input, "a.7z");
}

pub fn rar(input: &[u8]) {
    only(&["application/vnd.rar"], input, "a.rar");
}

pub fn cab(input: &[u8]) {
    only(&["application/vnd.ms-cab-compressed"], input, "a.cab");
}

pub fn tar(input: &[u8]) {
    only(&["application/x-tar"], input, "a.tar");
}

pub fn unix(input: &[u8]) {
    only(&["application/x-archive", "application/x-cpio", "application/x-rpm"], input, "a.rpm");
}

pub fn lha(input: &[u8]) {
    only(&["application/x-lzh", "application/x-arj"], input, "a.lzh");
}

pub fn image(input: &[u8]) {
    const KINDS: &[&str] = &[
        "application/x-disk-image",
        "application/x-exfat-image",
        "application/x-fat-image",
        "application/x-iso9660-image",
        "application/x-ntfs-image",
        "application/x-udf-image",
        "application/x-vhd",
        "application/x-vhdx",
    ];
    only(KINDS, input, "a.img");
}

pub fn pdf(input: &[u8]) {
    only(&["application/pdf"], input, "a.pdf");
}

/// The filters of PDF's streams: the first two octets choose three of them and a predictor.
pub fn pdf_filters(input: &[u8]) {
    const FILTERS: [&str; 8] = ["FlateDecode", "LZWDecode", "AHx", "A85", "RL", "Crypt", "CCITTFaxDecode", "Fl"];
    let Some(([a, b], data)) = input.split_first_chunk::<2>() else { return };
    let filter = |bits: u8| FILTERS.get(usize::from(bits & 7)).copied().unwrap_or_default();
    let head = format!(
        "%PDF-1.7\n1 0 obj<</Type/EmbeddedFile/Filter[/{}/{}/{}]/DecodeParms<</Predictor {}/Columns {}/Colors {}>>/Length {}>>stream\n",
        filter(*a),
        filter(*a >> 3),
        filter(*b),
        b >> 4,
        a >> 6,
        b & 3,
        data.len()
    );
    open(&[head.as_bytes(), data, b"\nendstream endobj\n"].concat(), "a.pdf");
}

/// OLE: Word, Excel, PowerPoint, Outlook.
pub fn compound(input: &[u8]) {
    only(&["application/x-ole-storage"], input, "a.doc");
}

/// One stream of a compound file, by names that have readers of their own.
pub fn ole_stream(input: &[u8]) {
    const NAMES: [&str; 16] = [
        "dir",
        "Module1",
        "_VBA_PROJECT",
        "Workbook",
        "Book",
        "WordDocument",
        "1Table",
        "PowerPoint Document",
        "\u{1}Ole10Native",
        "\u{1}CompObj",
        "Contents",
        "__substg1.0_37010102",
        "__substg1.0_10090102",
        "EncryptionInfo",
        "__properties_version1.0",
        "Equation Native",
    ];
    let Some((&which, data)) = input.split_first() else { return };
    let name = NAMES.get(usize::from(which) % NAMES.len()).copied().unwrap_or_default();
    let whole = single(name, data);
    assert_eq!(kind::of(&whole), "application/x-ole-storage");
    open(&whole, "a.doc");
}

/// A compound file (MS-CFB) with one stream: header, table of sectors, directory, stream.
fn single(name: &str, data: &[u8]) -> Vec<u8> {
    const NONE: u32 = 0xFFFF_FFFF;
    const END: u32 = 0xFFFF_FFFE;
    let data = data.get(..data.len().min(60_000)).unwrap_or_default();
    let word = |number: u32| number.to_le_bytes();
    let entry = |name: &str, kind: u8, child: u32, start: u32, size: usize| {
        let mut out: Vec<u8> = name.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let length = u16::try_from(out.len() + 2).unwrap_or(2);
        out.resize(64, 0);
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(&[kind, 1]);
        out.extend([NONE, NONE, child].into_iter().flat_map(word));
        out.resize(116, 0);
        out.extend_from_slice(&word(start));
        out.extend_from_slice(&(size as u64).to_le_bytes());
        out
    };
    let mut out = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1".to_vec();
    out.resize(24, 0);
    out.extend([0x3E_u16, 3, 0xFFFE, 9, 6].into_iter().flat_map(u16::to_le_bytes));
    out.resize(44, 0);
    // One table, the directory behind it, no cutoff: even a small stream lies in sectors.
    out.extend([1, 1, 0, 0, END, 0, END, 0, 0].into_iter().flat_map(word));
    out.resize(512, 0xFF);
    let count = u32::try_from(data.len().div_ceil(512).max(1)).unwrap_or(1);
    let table = [0xFFFF_FFFD, END].into_iter().chain((3..).take(count as usize - 1)).chain([END]);
    out.extend(table.flat_map(word));
    out.resize(1024, 0xFF);
    out.extend(entry("Root Entry", 5, 1, END, 0));
    out.extend(entry(name, 2, NONE, 2, data.len()));
    out.resize(1536, 0);
    out.extend_from_slice(data);
    out.resize(1536 + count as usize * 512, 0);
    out
}

/// Parts of Office packages, as they lie in the zip.
pub fn part(input: &[u8]) {
    const NAMES: [&str; 6] = [
        "word/document.xml",
        "word/_rels/document.xml.rels",
        "xl/sharedStrings.xml",
        "content.xml",
        "xl/a.bin",
        "a.xml",
    ];
    let Some((&which, data)) = input.split_first() else { return };
    open(data, NAMES.get(usize::from(which) % NAMES.len()).copied().unwrap_or_default());
}

pub fn rtf(input: &[u8]) {
    open(&[b"{\\rtf1", input].concat(), "a.doc");
}

pub fn page(input: &[u8]) {
    open(&[b"<html>", input].concat(), "a.html");
}

/// OneNote, shortcuts, help files.
pub fn link(input: &[u8]) {
    only(
        &["application/x-ms-shortcut", "application/ms-htmlhelp", "application/vnd.ms-htmlhelp", "application/onenote"],
        input,
        "a.lnk",
    );
}

/// Files that are text with a meaning by their name.
pub fn script(input: &[u8]) {
    const NAMES: [&str; 12] = [
        "a.vbs",
        "a.js",
        "a.ps1",
        "a.bat",
        "a.hta",
        "a.url",
        "a.svg",
        "a.ics",
        "a.csv",
        "a.eml",
        "a.bas",
        "a.settingcontent-ms",
    ];
    let Some((&which, data)) = input.split_first() else { return };
    open(data, NAMES.get(usize::from(which) % NAMES.len()).copied().unwrap_or_default());
}

/// Pictures in the codings that mail programs show.
pub fn picture(input: &[u8]) {
    only(&["image/png", "image/jpeg", "image/gif", "image/bmp", "image/webp"], input, "a.png");
}

/// A picture without coding: the first octet is its width in bits of the rest.
pub fn qr(input: &[u8]) {
    let Some((&width, bits)) = input.split_first() else { return };
    let width = usize::from(width).clamp(21, 120);
    let pixels: Vec<u8> =
        bits.iter().flat_map(|octet| (0..8).map(move |i| if octet >> i & 1 == 1 { 0 } else { 255 })).collect();
    let height = pixels.len() / width;
    let head = format!("P5\n{width} {height}\n255\n");
    open(&[head.as_bytes(), pixels.get(..width * height).unwrap_or_default()].concat(), "a.pgm");
}

/// A signature: as an opaque message, and as one beside the text it signs.
pub fn signature(input: &[u8]) {
    if let Some(content) = smime::opaque_content(input) {
        assert!(content.len() <= input.len());
    }
    let code = input.iter().flat_map(|octet| format!("={octet:02X}").into_bytes());
    let code: Vec<u8> = code.collect();
    let opaque = [
        b"From: a@b.example\r\nContent-Type: application/pkcs7-mime; smime-type=signed-data\r\n\
Content-Transfer-Encoding: quoted-printable\r\n\r\n",
        &code[..],
    ]
    .concat();
    let beside = [b"From: a@b.example\r\nContent-Type: multipart/signed; protocol=\"application/pkcs7-signature\"; boundary=x\r\n\r\n\
--x\r\n\r\ntext\r\n--x\r\nContent-Type: application/pkcs7-signature\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n", &code[..], b"\r\n--x--\r\n"].concat();
    static STORE: OnceLock<()> = OnceLock::new();
    STORE.get_or_init(luytre::inspect::checks::content::initialise);
    let trust = TrustStore::empty();
    let now = Timestamp::from_seconds(1_795_302_082);
    for message in [opaque, beside] {
        let tree = mime::parse(&message, &mime::Limits::default());
        let (fact, findings) = smime::examine(&message, &tree, &trust, None, now);
        assert_ne!(fact.status, luytre::inspect::SmimeStatus::Valid, "nobody is trusted");
        assert!(findings.len() <= 50, "{} findings", findings.len());
    }
}

/// A whole message through every check but YARA.
pub fn message(input: &[u8]) {
    static LOADED: OnceLock<Loaded> = OnceLock::new();
    let examiner = Examiner::new(LOADED.get_or_init(loaded));
    let task = Task {
        now: Timestamp::from_seconds(1_795_302_082),
        sender: ReversePath::Null,
        recipients: vec!["an@agency.test".to_owned()],
        client_ip: "192.0.2.1".to_owned(),
        helo: "mail.partner.example".to_owned(),
        budget_ms: 600_000,
        wants: Wants::default(),
    };
    let facts = examiner.examine(input, &task);
    assert!(facts.outgoing.is_empty(), "nothing was asked for");
    if input.len() <= TWICE {
        assert_eq!(facts, examiner.examine(input, &task), "a second look found something else");
    }
}

fn loaded() -> Loaded {
    luytre::inspect::checks::content::initialise();
    // The fuzz targets are a package below the main one.
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = here.ancestors().find(|folder| folder.join("rules/spam").is_dir()).expect("the shipped rules");
    let checks = ["mime", "hashes", "smime", "rules"].map(str::to_owned).to_vec();
    let inspect = settings::Inspect { checks, ..settings::Inspect::default() };
    let rules = settings::Rules { yara: Vec::new(), hashes: Vec::new(), ..settings::Rules::default() };
    let smime = settings::Smime { trust: Vec::new() };
    let policy = Policy::compile(&inspect, &rules, &limits(), &smime, root).expect("the shipped rules compile");
    policy.open(None).expect("it opens what it made")
}
