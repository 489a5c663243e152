//! Containers that agree with themselves, that lie, that burst, and that are broken.

use std::borrow::Cow;
use std::io::Write as _;

use super::super::{Limits, Origin, kind, objects};
use super::*;
use crate::env::Clock;
use crate::mail::{Span, Timestamp};
use crate::session::settings::Limits as SessionLimits;

fn limits() -> Limits {
    Limits::from(&SessionLimits::default())
}

fn object(data: &[u8]) -> Object<'_> {
    Object {
        path: "2".to_owned(),
        names: vec!["a.gz".to_owned()],
        declared: String::new(),
        kind: kind::of(data),
        data: Cow::Borrowed(data),
        origin: Origin::Part,
        depth: 0,
    }
}

fn opened(data: &[u8], budget: &mut Budget) -> (Vec<(String, usize)>, Vec<String>) {
    let mut findings = Vec::new();
    let members = objects::members(&object(data), Whole::Yes, budget, &mut findings);
    let members = members.into_iter().map(|m| (m.name, m.data.len())).collect();
    (members, findings.into_iter().map(|f| f.code.into_owned()).collect())
}

/// A zip of deflated entries, as `central` names them.
fn zip(entries: &[(&str, &[u8])], central: &[&str]) -> Vec<u8> {
    let (mut out, mut records) = (Vec::new(), Vec::new());
    for (name, data) in entries {
        let offset = out.len();
        let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(data).unwrap();
        let packed = encoder.finish().unwrap();
        out.extend_from_slice(b"PK\x03\x04\x14\0\0\0\x08\0\0\0\0\0\0\0\0\0");
        out.extend_from_slice(&(packed.len() as u32).to_le_bytes());
        out.extend_from_slice(&(data.len() as u32).to_le_bytes());
        out.extend_from_slice(&(name.len() as u16).to_le_bytes());
        out.extend_from_slice(&[0, 0]);
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(&packed);
        records.push((offset, packed.len()));
    }
    for (number, name) in central.iter().enumerate() {
        let (offset, packed) = records.get(number).unwrap_or(&records[0]);
        out.extend_from_slice(b"PK\x01\x02\x14\0\x14\0\0\0\x08\0\0\0\0\0\0\0\0\0");
        out.extend_from_slice(&(*packed as u32).to_le_bytes());
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&(name.len() as u16).to_le_bytes());
        out.extend_from_slice(&[0; 12]);
        out.extend_from_slice(&(*offset as u32).to_le_bytes());
        out.extend_from_slice(name.as_bytes());
    }
    out.extend_from_slice(b"PK\x05\x06");
    out.extend_from_slice(&[0; 18]);
    out
}

#[test]
fn a_plain_zip_is_opened_without_findings() {
    let data = zip(&[("a.txt", b"hello"), ("b/c.txt", b"world!")], &["a.txt", "b/c.txt"]);
    let (members, codes) = opened(&data, &mut Budget::new(&limits()));
    assert_eq!(members, [("a.txt".to_owned(), 5), ("b/c.txt".to_owned(), 6)]);
    assert!(codes.is_empty(), "{codes:?}");
}

/// THREATS Z-01, Z-02, Z-05.
#[test]
fn zips_that_programs_read_differently_are_read_in_full_and_reported() {
    let two = [zip(&[("a", b"1")], &["a"]), zip(&[("b", b"2")], &["b"])].concat();
    let behind = [b"%PDF-1.7 ".to_vec(), zip(&[("a", b"1")], &["a"])].concat();
    let cases = [
        ("two in a row", two, 2, "archive.inconsistent"),
        ("behind a PDF", behind, 1, "archive.inconsistent"),
        ("hidden entry", zip(&[("a", b"1"), ("b", b"2")], &["a"]), 2, "archive.inconsistent"),
        ("other name", zip(&[("a.txt", b"1")], &["a.exe"]), 2, "archive.inconsistent"),
        ("overlap", zip(&[("a", b"1")], &["a", "a", "a"]), 1, "archive.inconsistent"),
        ("slip", zip(&[("../../a", b"1")], &["../../a"]), 1, "archive.traversal"),
    ];
    for (name, data, count, code) in cases {
        let (members, codes) = opened(&data, &mut Budget::new(&limits()));
        assert_eq!(members.len(), count, "{name}");
        assert!(codes.iter().any(|c| c == code), "{name}: {codes:?}");
    }
}

#[test]
fn the_theme_inside_an_old_office_file_is_opened_and_is_no_lie() {
    let mut theme = zip(&[("theme.xml", b"<a/>"), ("b", b"2")], &["theme.xml"]);
    theme.truncate(theme.len() - 22);
    let end = b"PK\x05\x06".as_slice();
    let data = [b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1".as_slice(), &[0; 512], &theme, &[0; 99], end].concat();
    let (members, codes) = opened(&data, &mut Budget::new(&limits()));
    assert_eq!((members.len(), codes.len()), (2, 0), "{codes:?}");
}

/// THREATS Z-03.
#[test]
fn bombs_stop_at_the_ratio_and_at_the_budget() {
    let zeros = vec![0; 64 << 20];
    let data = zip(&[("zeros", &zeros)], &["zeros"]);
    let (members, codes) = opened(&data, &mut Budget::new(&limits()));
    assert!(members.iter().all(|(_, size)| *size <= 32 << 20));
    assert_eq!(codes, ["archive.bomb"]);

    // A table of figures is as dense as that, and no bomb.
    let table = zip(&[("zeros", &zeros[..24 << 20])], &["zeros"]);
    let (members, codes) = opened(&table, &mut Budget::new(&limits()));
    assert_eq!((members, codes), (vec![("zeros".to_owned(), 24 << 20)], Vec::new()));

    let mut small = Budget::small(8, 100);
    let (_, codes) = opened(&zip(&[("a", b"123456"), ("b", b"123456")], &["a", "b"]), &mut small);
    assert_eq!(codes, ["unpack.limit"]);
    let mut few = Budget::small(1 << 20, 1);
    let (_, codes) = opened(&zip(&[("a", b"1"), ("b", b"2")], &["a", "b"]), &mut few);
    assert_eq!(codes, ["unpack.limit"]);
}

#[test]
fn rfc1952_2_2_all_members_of_a_gzip_are_read() {
    let pack = |data: &[u8]| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(data).unwrap();
        encoder.finish().unwrap()
    };
    let data = [pack(b"one"), pack(b"two"), b"trailing".to_vec()].concat();
    let (members, _) = opened(&data, &mut Budget::new(&limits()));
    assert_eq!(members, [("a".to_owned(), 6)]);
}

#[test]
fn all_streams_of_a_bzip2_file_are_read_whatever_lies_between() {
    let pack = |data: &[u8]| {
        let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::default());
        encoder.write_all(data).unwrap();
        encoder.finish().unwrap()
    };
    for between in [&b""[..], &[0; 9], b"junk BZh9 junk"] {
        let data = [pack(b"one"), between.to_vec(), pack(b"two"), b"trailing".to_vec()].concat();
        let (members, codes) = opened(&data, &mut Budget::new(&limits()));
        assert_eq!((members, codes), (vec![("a".to_owned(), 6)], Vec::new()), "{between:?}");
    }
}

/// What COMPRESS.EXE makes: eight items behind each octet of flags, distances as places in the ring.
#[test]
fn szdd_files_are_expanded() {
    let mut data = b"SZDD\x88\xf0\x27\x33A_\x0a\0\0\0".to_vec();
    // "abc", three of them again from the ring's start, four blanks that were there before.
    data.extend(b"\x07abc\xf0\xf0\x00\x01");
    let mut findings = Vec::new();
    let members = objects::members(&object(&data), Whole::Yes, &mut Budget::new(&limits()), &mut findings);
    assert_eq!(members.first().map(|m| &*m.data), Some(&b"abcabc    "[..]), "{findings:?}");
    assert!(findings.is_empty(), "{findings:?}");
    data.truncate(16);
    assert_eq!(opened(&data, &mut Budget::new(&limits())).1, ["archive.malformed"]);
}

#[test]
fn tar_entries_and_their_links_are_seen() {
    let mut builder = ::tar::Builder::new(Vec::new());
    let mut header = ::tar::Header::new_gnu();
    header.set_size(5);
    header.set_cksum();
    builder.append_data(&mut header, "a.txt", &b"hello"[..]).unwrap();
    let mut link = ::tar::Header::new_gnu();
    link.set_entry_type(::tar::EntryType::Symlink);
    link.set_size(0);
    builder.append_link(&mut link, "l", "/etc/passwd").unwrap();
    let data = builder.into_inner().unwrap();
    let (members, codes) = opened(&data, &mut Budget::new(&limits()));
    assert_eq!(members, [("a.txt".to_owned(), 5)]);
    assert_eq!(codes, ["archive.link"]);
}

#[test]
fn damaged_containers_never_panic() {
    let whole = zip(&[("a.txt", b"hello hello hello")], &["a.txt"]);
    for cut in 0..whole.len() {
        let _ = opened(&whole[..cut], &mut Budget::new(&limits()));
        let mut bent = whole.clone();
        bent[cut] ^= 0xFF;
        let _ = opened(&bent, &mut Budget::new(&limits()));
    }
}

/// Time is a limit like the others: when it is over, nothing more is unpacked, and that is said.
#[test]
fn unpacking_ends_when_its_time_is_over() {
    let data = zip(&[("a.txt", b"hello")], &["a.txt"]);
    let (clock, hand) = Clock::by_hand(Timestamp::EPOCH);
    let mut budget = Budget::new(&limits()).within(clock, Span::seconds(5));
    assert_eq!(opened(&data, &mut budget).0.len(), 1);
    hand.advance(Span::seconds(5));
    let (members, codes) = opened(&data, &mut budget);
    assert!(members.iter().all(|(_, length)| *length == 0), "{members:?}");
    assert_eq!(codes, ["unpack.limit"]);
}

/// One of the samples that the whole-program tests read, too.
fn sample(name: &str) -> Vec<u8> {
    use base64::Engine as _;
    let path = format!("{}/tests/archives/{name}.b64", env!("CARGO_MANIFEST_DIR"));
    let text: String = std::fs::read_to_string(path).unwrap().split_whitespace().collect();
    let packed = base64::engine::general_purpose::STANDARD.decode(text).unwrap();
    let mut octets = Vec::new();
    std::io::Read::read_to_end(&mut lzma_rust2::XzReader::new(&*packed, true), &mut octets).unwrap();
    octets
}

/// THREATS Z-09: once, however many entries each has, and not at all where the archive is the object itself.
#[test]
fn archives_behind_a_picture_are_found_once() {
    let picture = [b"\xff\xd8\xff\xe0\0\x10JFIF\0".as_slice(), &[7; 300], b"-lh5-\x60\xea\xff\xd9"].concat();
    for (name, count) in [("lh5.lzh", 1), ("packed.arj", 2), ("mszip.cab", 2), ("7z-LZMA2.7z", 2), ("rar5.rar", 2)] {
        let data = sample(name);
        let (members, codes) = opened(&data, &mut Budget::new(&limits()));
        assert_eq!((members.len(), codes.len()), (count, 0), "{name}: {members:?} {codes:?}");
        let (members, codes) = opened(&[picture.clone(), data].concat(), &mut Budget::new(&limits()));
        assert_eq!((members.len(), &*codes), (count, &["archive.embedded".to_owned()][..]), "{name}: {members:?}");
    }
    assert_eq!(opened(&picture, &mut Budget::new(&limits())), (Vec::new(), Vec::new()));
}
