//! Streams built here and the samples of others: names, content, messages inside, cut and hostile octets.

use super::*;

const SAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/testdata/mime/mimekit/tnef");

fn attribute_of(level: u8, id: u32, value: &[u8]) -> Vec<u8> {
    let mut out = vec![level];
    out.extend(id.to_le_bytes());
    out.extend(u32::try_from(value.len()).unwrap().to_le_bytes());
    out.extend(value);
    let sum = value.iter().fold(0_u16, |sum, b| sum.wrapping_add(u16::from(*b)));
    out.extend(sum.to_le_bytes());
    out
}

fn property(of_type: u16, number: u16, value: &[u8]) -> Vec<u8> {
    let mut out = of_type.to_le_bytes().to_vec();
    out.extend(number.to_le_bytes());
    out.extend(1_u32.to_le_bytes());
    out.extend(u32::try_from(value.len()).unwrap().to_le_bytes());
    out.extend(value);
    out.resize(out.len().next_multiple_of(4), 0);
    out
}

fn stream(attributes: &[Vec<u8>]) -> Vec<u8> {
    let mut out = MAGIC.to_vec();
    out.extend([1, 0]);
    out.extend(attributes.concat());
    out
}

fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect()
}

fn attachment(name: &str, data: &[u8]) -> Vec<Vec<u8>> {
    vec![
        attribute_of(2, attribute::ATTACHMENT_START, &[0; 14]),
        attribute_of(2, attribute::ATTACHMENT_TITLE, &[name.as_bytes(), &[0]].concat()),
        attribute_of(2, attribute::ATTACHMENT_DATA, data),
    ]
}

#[test]
fn ms_oxtnef_2_1_3_attachments_have_their_names_and_octets() {
    let mut parts = attachment("SHORT~1.EXE", b"MZ1");
    let props =
        [2_u32.to_le_bytes().to_vec(), property(0x1F, 0x3707, &utf16("báo cáo.exe")), property(0x1E, 0x3001, b"x\0")];
    parts.push(attribute_of(2, attribute::ATTACHMENT_PROPS, &props.concat()));
    parts.extend(attachment("b.txt", b"two"));
    let raw = stream(&parts);
    let content = read(&raw);
    assert!(!content.is_broken);
    assert_eq!(content.files[0].names, ["báo cáo.exe", "SHORT~1.EXE", "x"]);
    assert_eq!((content.files[0].data, content.files[1].data), (&b"MZ1"[..], &b"two"[..]));
}

#[test]
fn a_message_inside_is_a_stream_again() {
    let inner = stream(&attachment("deep.exe", b"MZ2"));
    let object = [&[7; 16][..], &inner].concat();
    let named = [
        // A named property before it, by number and by name.
        [
            &0x0003_u16.to_le_bytes()[..],
            &0x8001_u16.to_le_bytes(),
            &[1; 16],
            &0_u32.to_le_bytes(),
            &5_u32.to_le_bytes(),
            &[0; 4],
        ]
        .concat(),
        [
            &0x0002_u16.to_le_bytes()[..],
            &0x8002_u16.to_le_bytes(),
            &[1; 16],
            &1_u32.to_le_bytes(),
            &6_u32.to_le_bytes(),
            &utf16("ab"),
            &[0; 2],
            &[0; 4],
        ]
        .concat(),
    ];
    let props = [&3_u32.to_le_bytes()[..], &named.concat(), &property(0x0D, 0x3701, &object)].concat();
    let raw = stream(&[
        attribute_of(2, attribute::ATTACHMENT_START, &[]),
        attribute_of(2, attribute::ATTACHMENT_PROPS, &props),
    ]);
    let content = read(&raw);
    assert_eq!(content.files.len(), 1, "{content:?}");
    assert_eq!(content.files[0].kind, Kind::Message);
    assert_eq!(read(content.files[0].data).files[0].names, ["deep.exe"]);
}

#[test]
fn cut_and_hostile_streams_are_read_as_far_as_they_go() {
    let mut parts = attachment("a.exe", b"MZ and more of it");
    parts.push(attribute_of(
        1,
        attribute::MESSAGE_PROPS,
        &[&u32::MAX.to_le_bytes()[..], &property(0x1E, 0x1000, b"text")].concat(),
    ));
    let raw = stream(&parts);
    for cut in 0..raw.len() {
        let content = read(&raw[..cut]);
        assert!(content.is_broken || content.files.len() <= 2);
    }
    let within = memchr::memmem::find(&raw, b"more").unwrap();
    let cut = read(&raw[..within]);
    assert!(cut.is_broken && cut.files.iter().any(|f| f.data.starts_with(b"MZ")), "{cut:?}");
    let mut state = 1_u64;
    for _ in 0..20_000 {
        let mut bent = raw.clone();
        for _ in 0..3 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let at = usize::try_from(state >> 33).unwrap() % bent.len();
            bent[at] = u8::try_from(state >> 24 & 255).unwrap();
        }
        let total: usize = read(&bent).files.iter().map(|f| f.data.len()).sum();
        assert!(total <= bent.len() * 4);
    }
}

/// Names as MimeKit lists them, octets as the program `tnef` takes them out.
#[test]
fn samples_give_the_files_that_others_take_out() {
    let folder = std::path::Path::new(SAMPLES);
    let Ok(entries) = std::fs::read_dir(folder) else {
        println!("skipped: no samples at {SAMPLES}");
        return;
    };
    let mut seen = 0;
    for path in entries.map(|e| e.unwrap().path()).filter(|p| p.extension().is_some_and(|e| e == "tnef")) {
        let raw = std::fs::read(&path).unwrap();
        let content = read(&raw);
        let octets = |f: &File<'_>| match f.kind {
            Kind::CompressedRtf => decompress(f.data, 1 << 20).unwrap(),
            _ => f.data.to_vec(),
        };
        assert!(!content.is_broken, "{}", path.display());
        let list = std::fs::read_to_string(path.with_extension("list")).unwrap();
        for name in list.lines() {
            let found = content.files.iter().any(|f| f.names.iter().any(|n| n == name));
            assert!(
                found,
                "{}: {name} is not among {:?}",
                path.display(),
                content.files.iter().map(|f| &f.names).collect::<Vec<_>>()
            );
        }
        let Ok(extracted) = std::fs::read_dir(path.with_extension("")) else { continue };
        for file in extracted.map(|e| e.unwrap().path()) {
            let wanted = std::fs::read(&file).unwrap();
            // The samples went through a tool that changes line ends.
            let plain = |octets: &[u8]| -> Vec<u8> { octets.iter().copied().filter(|b| *b != b'\r').collect() };
            let same = |f: &File<'_>| {
                let ours = octets(f);
                plain(ours.strip_suffix(b"\0").unwrap_or(&ours)) == plain(&wanted) || plain(&ours) == plain(&wanted)
            };
            let lengths: Vec<(usize, Kind)> = content.files.iter().map(|f| (octets(f).len(), f.kind)).collect();
            assert!(content.files.iter().any(same), "{} {} {lengths:?}", file.display(), wanted.len());
            seen += 1;
        }
    }
    println!("{seen} files");
    assert!(seen > 0);
}

/// A stream may name one attachment as often as it likes, and give it as many contents: both are bounded, and what is over
/// is told.
#[test]
fn names_and_contents_without_end_are_cut_off() {
    let count = 20_000_u32;
    let mut props = (2 * count).to_le_bytes().to_vec();
    for number in 0..count {
        props.extend(property(0x1F, 0x3707, &utf16(&format!("{number}{}", "n".repeat(600)))));
        props.extend(property(0x102, 0x3701, b"MZ"));
    }
    let raw = stream(&[
        attribute_of(2, attribute::ATTACHMENT_START, &[0; 14]),
        attribute_of(2, attribute::ATTACHMENT_PROPS, &props),
        attribute_of(2, attribute::ATTACHMENT_START, &[0; 14]),
    ]);
    let content = read(&raw);
    assert!(content.is_broken);
    assert_eq!(content.files.len(), FILES + 1);
    assert!(content.files.iter().all(|f| f.names.len() <= NAMES && f.names.iter().all(|n| n.len() <= NAME)));
    assert!(content.files[0].names[0].starts_with("19999"));
}
