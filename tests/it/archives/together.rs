//! What only shows when the parts of a message are looked at together: a password beside its archive, the volumes of one
//! archive, findings that must not crowd each other out.

use super::*;

/// A password may stand in a note beside the archive, in a letter inside the letter, in the archive's own name.
#[test]
fn passwords_are_taken_from_notes_letters_inside_and_names() {
    use std::io::Write as _;
    let loaded = loaded();
    let examiner = Examiner::new(&loaded);
    let seven = sample("7z-aes-names.7z");
    let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, data) in [("tep.7z", &*seven), ("doc truoc.txt", b"Mat khau la hoso2026 nhe")] {
        writer.start_file(name, zip::write::SimpleFileOptions::default()).unwrap();
        writer.write_all(data).unwrap();
    }
    let together = writer.finish().unwrap().into_inner();
    let wide: Vec<u8> = "\u{feff}Pass: hoso2026".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let by_subject = letter("Fwd: (hoso2026)", "x", "a.7z", &seven);
    let by_text = letter("x", "mk: hoso2026", "a.7z", &seven);
    for (what, files) in [
        ("a note in the container", vec![("bo.zip", &*together)]),
        ("a note in UTF-16", vec![("a.7z", &*seven), ("ghi chu.txt", &*wide)]),
        ("a name", vec![("hoso_pass_hoso2026.7z", &*seven)]),
        ("a whole name", vec![("hoso2026.7z", &*seven)]),
        ("a subject inside", vec![("thu.eml", &*by_subject)]),
        ("a text inside", vec![("thu.eml", &*by_text)]),
    ] {
        let facts = examiner.examine(&letter_with("x", "Kinh gui", &files), &task());
        let codes = codes(&facts);
        assert!(codes.contains(&"malware.eicar") && codes.contains(&"archive.password_in_text"), "{what}: {codes:?}");
    }
}

/// Volumes that come together, in any order, in a message or in a container, are one archive; one alone is told.
#[test]
fn volumes_are_put_together_and_one_alone_is_told() {
    use std::io::Write as _;
    let loaded = loaded();
    let examiner = Examiner::new(&loaded);
    let cut = |data: &[u8], names: &[&str]| -> Vec<(String, Vec<u8>)> {
        let pieces = data.chunks(data.len().div_ceil(names.len()));
        names.iter().map(|name| (*name).to_owned()).zip(pieces.map(<[u8]>::to_vec)).collect()
    };
    let rar = samples_in("volumes");
    let set = |start: &str| rar.iter().filter(|(name, _)| name.starts_with(start)).cloned().collect::<Vec<_>>();
    let mut old = set("vol5.");
    ["a.rar", "a.r00", "a.r01"].iter().zip(&mut old).for_each(|(name, volume)| volume.0 = (*name).to_owned());
    let seven = ["tep.7z.001", "tep.7z.002", "tep.7z.003"];
    for volumes in [
        cut(&sample("7z-LZMA2.7z"), &seven),
        cut(&sample("7z-aes-names.7z"), &seven),
        cut(&sample("zip-Deflate.zip"), &["a.zip.001", "a.zip.002"]),
        cut(&sample("zip-Deflate.zip"), &["a.z01", "a.z02", "a.zip"]),
        cut(&sample("plain.tar"), &["a.tar.000", "a.tar.001"]),
        set("vol5."),
        set("vol5-aes."),
        old,
    ] {
        let mut files: Vec<(&str, &[u8])> = volumes.iter().map(|(name, data)| (name.as_str(), &**data)).collect();
        files.reverse();
        let first = volumes[0].0.as_str();
        let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
        for (name, data) in &files {
            writer.start_file(*name, zip::write::SimpleFileOptions::default()).unwrap();
            writer.write_all(data).unwrap();
        }
        let zipped = writer.finish().unwrap().into_inner();
        for raw in
            [letter_with("x", "pass: hoso2026", &files), letter_with("x", "pass: hoso2026", &[("bo.zip", &zipped)])]
        {
            let facts = examiner.examine(&raw, &task());
            let codes = codes(&facts);
            let odd = ["archive.volume", "archive.malformed", "archive.encrypted", "archive.unsupported"];
            assert!(codes.contains(&"malware.eicar"), "{first}: {codes:?}");
            assert!(!codes.iter().any(|code| odd.contains(code)), "{first}: {:?}", facts.findings);
        }
        for (name, data) in files {
            // The last volume of a zip has the name of a whole one.
            if name == "a.zip" || name == "a.rar" {
                continue;
            }
            let facts = examiner.examine(&letter("x", "x", name, data), &task());
            assert!(codes(&facts).contains(&"archive.volume"), "{name}: {:?}", codes(&facts));
        }
    }
}

/// However odd a message is, what is found about its parts is told; and when that is too much to tell, that is told.
#[test]
fn no_flood_of_findings_hides_another() {
    let loaded = loaded();
    let examiner = Examiner::new(&loaded);
    let closed = sample("arj-crypto.arj");
    let odd =
        "--x\r\nContent-Type: message/rfc822\r\nContent-Transfer-Encoding: base64\r\n\r\nU3ViamVjdDogeA0KDQp4\r\n";
    let raw = String::from_utf8(letter("x", "Kinh gui", "a.arj", &closed)).unwrap();
    let raw = raw.replacen("--x\r\n", &format!("{}--x\r\n", odd.repeat(150)), 1);
    let facts = examiner.examine(raw.as_bytes(), &task());
    assert!(codes(&facts).iter().filter(|code| **code == "mime.malformed").count() >= 100);
    assert!(codes(&facts).contains(&"archive.encrypted"), "{:?}", codes(&facts));

    let files: Vec<(&str, &[u8])> = vec![("a.arj", &closed); 120];
    let facts = examiner.examine(&letter_with("x", "Kinh gui", &files), &task());
    let of = |code: &str| codes(&facts).iter().filter(|c| **c == code).count();
    assert_eq!((of("archive.encrypted"), of("unpack.limit")), (100, 1));
}
