//! Envelopes that mail programs put around files: TNEF (Outlook), AppleSingle and AppleDouble (macOS, RFC 1740).

use super::Object;
use super::archive::{Budget, Member, Opener, Report, Stop};
use crate::mail::mime::tnef::{self, Kind};

pub const OPENERS: &[Opener] = &[
    Opener { takes: |o| o.data.starts_with(&tnef::MAGIC), open: outlook },
    Opener { takes: |o| o.data.starts_with(&SINGLE) || o.data.starts_with(&DOUBLE), open: apple },
];

/// AppleSingle and AppleDouble, version 2 and 1 (RFC 1740 appendix A).
const SINGLE: [u8; 4] = [0, 5, 0x16, 0];
const DOUBLE: [u8; 4] = [0, 5, 0x16, 7];

/// Attachments, bodies and messages of `winmail.dat`. A message inside is a stream again and is opened as one.
fn outlook(object: &Object<'_>, budget: &mut Budget, report: &mut Report<'_>) -> Vec<Member> {
    let content = tnef::read(&object.data);
    if content.is_broken {
        report.say("tnef.malformed", "the winmail.dat does not follow its format to the end");
    }
    let mut found = Vec::new();
    for file in content.files {
        let name = file.names.first().cloned().unwrap_or_default();
        let data = match file.kind {
            Kind::CompressedRtf => match tnef::decompress(file.data, budget.bytes()) {
                Some(text) => text,
                None => file.data.to_vec(),
            },
            Kind::File | Kind::Message => file.data.to_vec(),
        };
        if !budget.take(data.len()) {
            report.stopped(Stop::Full, &name);
            return found;
        }
        // Every other name is one that some client shows; the content is the same.
        let others = file.names.iter().skip(1).map(|name| Member { name: name.clone(), data: Vec::new() });
        let others: Vec<Member> = others.take(4).collect();
        found.push(Member { name, data });
        found.extend(others);
    }
    found
}

/// The forks of a file: entry 1 is the data, 2 the resources, 3 the name.
fn apple(object: &Object<'_>, budget: &mut Budget, report: &mut Report<'_>) -> Vec<Member> {
    let data = &object.data;
    let double = |at: usize| -> Option<usize> {
        let octets = data.get(at..at.checked_add(4)?)?;
        usize::try_from(u32::from_be_bytes(octets.try_into().ok()?)).ok()
    };
    let count = data.get(24..26).and_then(|c| c.try_into().ok()).map_or(0, u16::from_be_bytes);
    let entry = |number: usize| -> Option<(usize, &[u8])> {
        let at = 26 + number * 12;
        let (id, offset, length) = (double(at)?, double(at + 4)?, double(at + 8)?);
        let rest = data.get(offset..)?;
        Some((id, rest.get(..length).unwrap_or(rest)))
    };
    let entries: Vec<(usize, &[u8])> = (0..usize::from(count).min(64)).filter_map(entry).collect();
    let name = entries.iter().find(|(id, _)| *id == 3).map(|(_, octets)| String::from_utf8_lossy(octets).into_owned());
    let mut found = Vec::new();
    for (id, octets) in entries {
        let name = match id {
            1 => name.clone().unwrap_or_else(|| object.name().to_owned()),
            2 => "resource-fork".to_owned(),
            _ => continue,
        };
        if !budget.take(octets.len()) {
            report.stopped(Stop::Full, &name);
            break;
        }
        found.push(Member { name, data: octets.to_vec() });
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::{Limits, Origin};
    use super::*;
    use crate::mail::ByteSize;

    fn object(data: Vec<u8>) -> Object<'static> {
        Object {
            path: "1".to_owned(),
            names: vec!["x".to_owned()],
            declared: String::new(),
            kind: "application/octet-stream",
            data: data.into(),
            origin: Origin::Part,
            depth: 0,
        }
    }

    fn limits() -> Limits {
        let all = crate::session::settings::Limits::default();
        Limits { archive_bytes: ByteSize::bytes(1000), ..Limits::from(&all) }
    }

    fn open(data: Vec<u8>) -> (Vec<Member>, Vec<String>) {
        let (mut findings, mut budget) = (Vec::new(), Budget::new(&limits()));
        let object = object(data);
        let opener = OPENERS.iter().find(|o| (o.takes)(&object)).unwrap();
        let found = (opener.open)(&object, &mut budget, &mut Report::new("1", &mut findings));
        (found, findings.into_iter().map(|f| f.code.to_string()).collect())
    }

    #[test]
    fn rfc1740_both_forks_of_an_apple_file_are_seen() {
        let mut file = SINGLE.to_vec();
        file.extend([0, 2, 0, 0]);
        file.extend([0; 16]);
        file.extend([0, 3]);
        for (id, offset, length) in [(3_u32, 62_u32, 5_u32), (1, 67, 3), (2, 70, 99)] {
            [id, offset, length].iter().for_each(|n| file.extend(n.to_be_bytes()));
        }
        file.extend(b"a.exeMZ1rsrc");
        let (found, findings) = open(file);
        assert_eq!(found.len(), 2, "{findings:?}");
        assert_eq!((found[0].name.as_str(), &*found[0].data), ("a.exe", &b"MZ1"[..]));
        assert_eq!(&*found[1].data, b"rsrc");
    }

    #[test]
    fn a_broken_winmail_is_told_and_the_budget_ends_it() {
        let mut data = tnef::MAGIC.to_vec();
        data.extend([0, 0]);
        for name in [b"a", b"b"] {
            data.extend([2, 0x02, 0x90, 0x06, 0, 0, 0, 0, 0, 0, 0]);
            data.extend([2, 0x10, 0x80, 0x01, 0, 1, 0, 0, 0, name[0], 0, 0]);
            data.extend([2, 0x0F, 0x80, 0x06, 0]);
            data.extend(700_u32.to_le_bytes());
            data.extend([7; 702]);
        }
        let (found, findings) = open(data.clone());
        assert_eq!((found.len(), findings), (1, vec!["unpack.limit".to_owned()]));
        data.truncate(300);
        assert_eq!(open(data).1, ["tnef.malformed"]);
    }
}
