//! Archives that were cut up: `a.7z.001`, `a.z01` … `a.zip`, `a.part1.rar`, `a.rar` with `a.r00`. Volumes that come
//! together are put together; one that comes alone was not seen (`archive.volume`). Names alone tell which octets belong
//! together: nothing in a middle volume of zip or 7z does.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::super::{Object, Origin, kind};
use super::{Budget, Report, Stop, rar};
use crate::inspect::Finding;

/// The number of a zip's last volume, which has none.
const LAST: usize = usize::MAX;
/// Archives in pieces among the parts of one message, or of one container.
const SETS: usize = 16;

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Way {
    /// `.001`: cut anywhere, by 7-Zip and by every file splitter.
    Counted,
    /// `.z01`, the end in `.zip` (APPNOTE §8).
    Zip,
    /// `.part1.rar`.
    Rar,
    /// `.rar`, `.r00`.
    OldRar,
}

/// Which volume of which archive a name says that it is.
fn place(name: &str) -> Option<(Way, String, usize)> {
    let lower = name.trim().to_lowercase();
    let (stem, ending) = lower.rsplit_once('.')?;
    let count = |text: &str| {
        let plain = (1..=5).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
        plain.then(|| text.parse::<usize>().ok()).flatten()
    };
    let part = || stem.rsplit_once(".part").and_then(|(stem, number)| Some((stem, count(number)?)));
    let (way, stem, number) = match ending {
        "zip" => (Way::Zip, stem, LAST),
        "rar" | "exe" => match part() {
            Some((stem, number)) => (Way::Rar, stem, number),
            None if ending == "rar" => (Way::OldRar, stem, 0),
            None => return None,
        },
        _ if ending.len() >= 3 && count(ending).is_some() => (Way::Counted, stem, count(ending)?),
        _ => {
            let (letter, number) = ending.split_at_checked(1).filter(|(_, number)| number.len() >= 2)?;
            match letter {
                "z" => (Way::Zip, stem, count(number)?),
                "r" => (Way::OldRar, stem, 1 + count(number)?),
                "s" => (Way::OldRar, stem, 101 + count(number)?),
                _ => return None,
            }
        }
    };
    Some((way, stem.to_owned(), number))
}

/// Volumes of one archive by their numbers: places in a list of objects.
struct Set {
    way: Way,
    stem: String,
    pieces: BTreeMap<usize, usize>,
}

impl Set {
    /// Whether anything in it is a volume: a zip or rar alone is a whole one.
    fn is_cut(&self) -> bool {
        match self.way {
            Way::Counted | Way::Rar => true,
            Way::Zip => self.pieces.keys().any(|number| *number != LAST),
            Way::OldRar => self.pieces.keys().any(|number| *number > 0),
        }
    }
    /// From the first to the last without a gap, as far as names tell.
    fn is_whole(&self) -> bool {
        let numbers: Vec<usize> = self.pieces.keys().copied().collect();
        let (Some(first), Some(last)) = (numbers.first(), numbers.last()) else { return false };
        let counted = numbers.iter().filter(|n| **n != LAST).enumerate().all(|(n, number)| *number == first + n);
        let begins = match self.way {
            Way::OldRar => *first == 0,
            _ => *first <= 1,
        };
        numbers.len() > 1 && counted && begins && (self.way == Way::Zip) == (*last == LAST)
    }
}

/// What putting together came to.
#[derive(Default)]
pub struct Joined {
    /// Places in the list of those that were put together.
    pub pieces: Vec<usize>,
    /// Whole archives, to be opened; of rar, what is in them.
    pub objects: Vec<Object<'static>>,
}

/// Puts together what belongs together in `list`: the parts of a message, or the members of one container.
pub fn join(list: &[Object<'_>], depth: usize, budget: &mut Budget, findings: &mut Vec<Finding>) -> Joined {
    let mut sets: Vec<Set> = Vec::new();
    for (at, object) in list.iter().enumerate().filter(|(_, object)| !object.data.is_empty()) {
        let Some((way, stem, number)) = object.names.iter().find_map(|name| place(name)) else { continue };
        if let Some(set) = sets.iter_mut().find(|set| set.way == way && set.stem == stem) {
            set.pieces.entry(number).or_insert(at);
        } else {
            sets.push(Set { way, stem, pieces: BTreeMap::from([(number, at)]) });
        }
    }
    sets.retain(Set::is_cut);
    let mut joined = Joined::default();
    for (number, set) in sets.iter().enumerate() {
        let pieces: Vec<&Object<'_>> = set.pieces.values().filter_map(|at| list.get(*at)).collect();
        let Some(first) = pieces.first() else { continue };
        let mut report = Report::new(&first.path, findings);
        // A log that is kept in numbered pieces is no archive.
        if set.way == Way::Counted && is_no_archive(first) {
            continue;
        }
        if !set.is_whole() {
            report.unknown(
                "archive.volume",
                &format!("{:?} is a volume of an archive whose others are not here", first.name()),
            );
            continue;
        }
        if number >= SETS || first.depth >= depth || budget.is_late() {
            report.say("unpack.limit", "volumes were not put together");
            continue;
        }
        joined.objects.extend(put_together(set, &pieces, budget, &mut report));
        // What begins like an archive of its own is one, whatever its name says; but for rar, whose volumes all do.
        let is_own = |at: &&usize| {
            let kind = list.get(**at).map_or("", |piece| piece.kind);
            matches!(set.way, Way::Counted | Way::Zip) && !matches!(kind, "application/octet-stream" | "text/plain")
        };
        let first = set.pieces.values().take(1);
        joined.pieces.extend(first.chain(set.pieces.values().skip(1).filter(|at| !is_own(at))));
    }
    joined
}

/// A picture, or a text without a control character in its first kilobyte.
fn is_no_archive(object: &Object<'_>) -> bool {
    let head = object.data.get(..1024).unwrap_or(&object.data);
    let is_text = object.kind.starts_with("text/") && !head.iter().any(|b| matches!(b, 0..=8 | 14..=26 | 28..=31));
    is_text || object.kind.starts_with("image/")
}

fn put_together(
    set: &Set,
    pieces: &[&Object<'_>],
    budget: &mut Budget,
    report: &mut Report<'_>,
) -> Vec<Object<'static>> {
    let Some(first) = pieces.first() else { return Vec::new() };
    let object = |name: String, data: Vec<u8>| Object {
        path: format!("{}/{name}", first.path),
        names: vec![name],
        declared: String::new(),
        kind: kind::of(&data),
        data: data.into(),
        origin: Origin::Member,
        depth: first.depth + 1,
    };
    if matches!(set.way, Way::Rar | Way::OldRar) {
        let volumes: Vec<&[u8]> = pieces.iter().map(|piece| &*piece.data).collect();
        // Its reader is other people's making: what it gives up on is one set.
        let opened = catch_unwind(AssertUnwindSafe(|| rar::volumes(&volumes, budget, report)));
        let members = opened.unwrap_or_else(|_| {
            report.unknown("archive.malformed", "its reader gave up");
            Vec::new()
        });
        return members.into_iter().map(|member| object(member.name, member.data)).collect();
    }
    let length = pieces.iter().map(|piece| piece.data.len()).sum();
    if !budget.take(length) {
        report.stopped(Stop::Full, first.name());
        return Vec::new();
    }
    let mut data = Vec::with_capacity(length);
    pieces.iter().for_each(|piece| data.extend_from_slice(&piece.data));
    let ending = if set.way == Way::Zip { ".zip" } else { "" };
    vec![object(format!("{}{ending}", set.stem), data)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(name: &str, data: &[u8]) -> Object<'static> {
        Object {
            path: name.to_owned(),
            names: vec![name.to_owned()],
            declared: String::new(),
            kind: kind::of(data),
            data: data.to_vec().into(),
            origin: Origin::Part,
            depth: 0,
        }
    }

    /// What is put together, and how many findings say that something is missing.
    fn joined(names: &[&str]) -> (Vec<(String, Vec<u8>)>, usize) {
        let list: Vec<Object<'_>> = names.iter().enumerate().map(|(n, name)| object(name, &[0, 1, n as u8])).collect();
        let mut findings = Vec::new();
        let found = join(&list, 8, &mut Budget::small(1000, 10), &mut findings);
        assert!(findings.iter().all(|f| f.code == "archive.volume"), "{findings:?}");
        (found.objects.into_iter().map(|o| (o.names.concat(), o.data.into_owned())).collect(), findings.len())
    }

    #[test]
    fn volumes_are_put_together_in_the_order_of_their_numbers() {
        for (names, name, order) in [
            (&["A.7z.002", "a.7z.001", "b.txt"][..], "a.7z", [1, 0]),
            (&["x.zip", "x.z01"], "x.zip", [1, 0]),
            (&["th\u{1b0}.bin.000", "th\u{1b0}.bin.001"], "th\u{1b0}.bin", [0, 1]),
        ] {
            let (found, missing) = joined(names);
            let data: Vec<u8> = order.iter().flat_map(|n| [0, 1, *n]).collect();
            assert_eq!((found, missing), (vec![(name.to_owned(), data)], 0), "{names:?}");
        }
    }

    #[test]
    fn a_volume_alone_is_told_and_a_whole_archive_is_not() {
        for names in [
            &["a.7z.002"][..],
            &["a.zip.001"],
            &["a.z01"],
            &["a.part2.rar"],
            &["a.r00"],
            &["a.7z.001", "a.7z.003"],
            &["a.7z.001", "b.7z.002", "b.7z.001"],
            &["a.zip", "a.z02"],
        ] {
            assert_eq!(joined(names).1, 1, "{names:?}");
        }
        assert_eq!(joined(&["a.zip", "a.rar", "a.txt", "z01", "v1.22", "a.zzz", "a.exe"]), (Vec::new(), 0));
        let logs = [object("log.001", b"one"), object("log.002", b"two"), object("anh.003", b"x")];
        let mut findings = Vec::new();
        assert!(join(&logs, 8, &mut Budget::small(99, 9), &mut findings).objects.is_empty() && findings.is_empty());
    }
}
