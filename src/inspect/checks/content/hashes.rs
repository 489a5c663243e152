//! Lists of known files: by SHA-256, exactly, and by TLSH, nearly. A line is a digest, then perhaps a name; `#` begins a
//! comment. What is listed is reported as `hash.listed`; how far a near one may be stands in [`NEAR`].

use std::path::PathBuf;
use std::str::FromStr as _;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tlsh2::{TlshDefault, TlshDefaultBuilder};

use super::{ContentCheck, Object, View};
use crate::inspect::{ContentFacts, Finding};
use crate::mail::Problem;

/// TLSH distances up to this are variants of one file; its authors call 30 a good bound, with few false ones.
pub const NEAR: i32 = 30;
/// Smaller files have no TLSH of any meaning.
const SMALLEST: usize = 256;
/// Each near digest is compared with every part.
const MOST_NEAR: usize = 20_000;
/// Known files that one list may name exactly: some 40 MB in every inspector.
const MOST_EXACT: usize = 1_000_000;
/// Lines of one file that are told to be wrong.
const TOLD: usize = 20;
/// Comparisons of near digests for one message: half a second or so. What is beyond is compared exactly only.
const COMPARISONS: isize = 5_000_000;
/// Findings a message; the first decides.
const FINDINGS: usize = 20;

/// A compiled list. Travels to inspectors.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HashList {
    /// Sorted; with the number of a name.
    exact: Vec<([u8; 32], u32)>,
    /// In their own text form; with the number of a name.
    near: Vec<(String, u32)>,
    names: Vec<String>,
}

impl HashList {
    /// Reads whole files; every line that is no digest is a problem.
    pub fn compile(files: &[(PathBuf, String)]) -> Result<Self, Vec<Problem>> {
        Self::bounded(files, MOST_EXACT)
    }

    fn bounded(files: &[(PathBuf, String)], most_exact: usize) -> Result<Self, Vec<Problem>> {
        let (mut list, mut problems) = (Self::default(), Vec::new());
        for (file, text) in files {
            let own = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            let mut wrong = 0_usize;
            for (number, line) in text.lines().enumerate() {
                let line = line.split('#').next().unwrap_or_default().trim();
                if line.is_empty() {
                    continue;
                }
                let (digest, name) = line.split_once(|c: char| c.is_whitespace() || c == ',').unwrap_or((line, &own));
                let known = list.add(digest, name.trim());
                let full = list.exact.len() > most_exact || list.near.len() > MOST_NEAR;
                if known && !full {
                    continue;
                }
                wrong = wrong.saturating_add(1);
                if full {
                    let text = format!(
                        "too many digests: at most {most_exact} SHA-256, and {MOST_NEAR} TLSH, each of which is compared with every part"
                    );
                    problems.push(Problem::new(file, text).at(number + 1, 1));
                    return Err(problems);
                }
                if wrong <= TOLD {
                    let problem = Problem::new(file, "this line begins with no SHA-256 and no TLSH");
                    problems.push(problem.at(number + 1, 1));
                }
            }
            if let Some(left) = wrong.checked_sub(TOLD).filter(|left| *left > 0) {
                problems.push(Problem::new(file, format!("the file has {left} more lines that begin with no digest")));
            }
        }
        list.exact.sort_unstable();
        if problems.is_empty() { Ok(list) } else { Err(problems) }
    }

    fn add(&mut self, digest: &str, name: &str) -> bool {
        let number = match self.names.last() {
            Some(last) if last == name => self.names.len() - 1,
            _ => {
                self.names.push(name.chars().filter(|c| !c.is_control()).take(100).collect());
                self.names.len() - 1
            }
        };
        let number = u32::try_from(number).unwrap_or(u32::MAX);
        if let Some(octets) = sha256(digest) {
            self.exact.push((octets, number));
            return true;
        }
        let is_near = TlshDefault::from_str(digest).is_ok();
        if is_near {
            self.near.push((digest.to_owned(), number));
        }
        is_near
    }

    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.exact.is_empty() && self.near.is_empty()
    }

    /// The name under which a SHA-256, in hexadecimal digits, is listed.
    #[must_use]
    pub fn named(&self, digest: &str) -> Option<&str> {
        let digest = sha256(digest)?;
        let at = self.exact.binary_search_by(|(octets, _)| octets.cmp(&digest)).ok()?;
        self.exact.get(at).map(|(_, number)| self.name(*number))
    }

    fn name(&self, number: u32) -> &str {
        usize::try_from(number).ok().and_then(|number| self.names.get(number)).map_or("", String::as_str)
    }
}

/// 64 hexadecimal digits.
fn sha256(text: &str) -> Option<[u8; 32]> {
    if text.len() != 64 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    let mut octets = [0; 32];
    for (at, octet) in octets.iter_mut().enumerate() {
        *octet = u8::from_str_radix(text.get(at * 2..at * 2 + 2)?, 16).ok()?;
    }
    Some(octets)
}

/// The check: every part and member against the list.
pub struct Hashes<'p> {
    list: &'p HashList,
    near: Vec<(TlshDefault, u32)>,
}

impl<'p> Hashes<'p> {
    #[must_use]
    pub fn new(list: &'p HashList) -> Self {
        let read = |(text, number): &(String, u32)| Some((TlshDefault::from_str(text).ok()?, *number));
        Self { list, near: list.near.iter().filter_map(read).collect() }
    }

    /// `left`: comparisons that this message may still cost; below zero, some were not made.
    fn look(&self, object: &Object<'_>, left: &mut isize) -> Option<Finding> {
        let digest: [u8; 32] = Sha256::digest(&object.data).into();
        let exact = self.list.exact.binary_search_by(|(octets, _)| octets.cmp(&digest)).ok();
        if let Some((_, number)) = exact.and_then(|at| self.list.exact.get(at)) {
            let detail = format!("{}: {} by SHA-256", object.path, self.list.name(*number));
            return Some(Finding::new("hash.listed").with(detail));
        }
        if self.near.is_empty() || object.data.len() < SMALLEST {
            return None;
        }
        *left = left.saturating_sub_unsigned(self.near.len());
        if *left < 0 {
            return None;
        }
        let own = TlshDefaultBuilder::build_from(&object.data)?;
        let nearest =
            self.near.iter().map(|(other, number)| (own.diff(other, true), number)).min_by_key(|(far, _)| *far);
        let (distance, number) = nearest.filter(|(distance, _)| *distance <= NEAR)?;
        let detail = format!("{}: {} by TLSH, distance {distance}", object.path, self.list.name(*number));
        Some(Finding::new("hash.listed").with(detail))
    }
}

impl ContentCheck for Hashes<'_> {
    fn examine(&self, view: &View<'_>, facts: &mut ContentFacts) {
        if self.list.is_empty() {
            return;
        }
        let mut left = COMPARISONS;
        let objects = view.objects.iter().filter(|object| !object.data.is_empty());
        let found = objects.filter_map(|object| self.look(object, &mut left));
        facts.findings.extend(found.take(FINDINGS));
        if left < 0 {
            let detail = "too many parts and members to compare each with every TLSH digest";
            facts.findings.push(Finding::new("unpack.limit").with(detail));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::super::Origin;
    use super::*;

    fn object(data: &[u8]) -> Object<'_> {
        Object {
            path: "2".to_owned(),
            names: Vec::new(),
            declared: String::new(),
            kind: "application/octet-stream",
            data: Cow::Borrowed(data),
            origin: Origin::Part,
            depth: 0,
        }
    }

    fn compile(text: &str) -> Result<HashList, Vec<Problem>> {
        HashList::compile(&[("lists/known.txt".into(), text.to_owned())])
    }

    /// Text that differs in its lines.
    fn document(change: &str) -> Vec<u8> {
        (0..200)
            .map(|n| format!("line {n} of a document, {}\n", n * 7919 % 1000))
            .collect::<String>()
            .replace("line 7 ", change)
            .into()
    }

    #[test]
    fn an_exact_digest_is_found_and_its_name_told() {
        let digest: String = Sha256::digest(b"bad").iter().map(|b| format!("{b:02X}")).collect();
        let list = compile(&format!("# known\n{}\n{digest}  Trojan.A # seen 2026\n", "0".repeat(64))).unwrap();
        let found = Hashes::new(&list).look(&object(b"bad"), &mut 9).unwrap();
        assert_eq!((&*found.code, found.detail.as_str()), ("hash.listed", "2: Trojan.A by SHA-256"));
        assert!(Hashes::new(&list).look(&object(b"good"), &mut 9).is_none());
        assert_eq!(list.name(0), "known", "a line without a name is named by its file");
    }

    #[test]
    fn a_near_digest_finds_variants_and_not_others() {
        let known = TlshDefaultBuilder::build_from(&document("line 7 ")).unwrap().hash();
        let list = compile(&format!("{} Family.B\n", String::from_utf8(known.to_vec()).unwrap())).unwrap();
        let hashes = Hashes::new(&list);
        let variant = document("another seventh line ");
        let found = hashes.look(&object(&variant), &mut 9).unwrap();
        assert!(found.detail.starts_with("2: Family.B by TLSH, distance "), "{found:?}");
        let other: Vec<u8> = (0..9000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        assert!(hashes.look(&object(&other), &mut 9).is_none());
        assert!(hashes.look(&object(b"short"), &mut 9).is_none());
        assert!(
            hashes.look(&object(&variant), &mut 0).is_none(),
            "a message of many parts does not cost more and more"
        );
    }

    #[test]
    fn lines_that_are_no_digest_are_told_with_their_place() {
        let problems = compile("# fine\n\nnonsense\nd41d8cd98f00b204e9800998ecf8427e md5\n").unwrap_err();
        let lines: Vec<usize> = problems.iter().map(|p| p.line).collect();
        assert_eq!(lines, [3, 4]);
        let problems = compile(&"nonsense\n".repeat(5000)).unwrap_err();
        assert_eq!(problems.len(), TOLD + 1, "{}", problems.last().unwrap());
    }

    #[test]
    fn a_list_has_a_bound_that_is_told_with_its_place() {
        let text: String = (0..=100).map(|n| format!("{n:064x}\n")).collect();
        let problems = HashList::bounded(&[("lists/known.txt".into(), text)], 100).unwrap_err();
        assert_eq!((problems.len(), problems[0].line), (1, 101));
        assert!(problems[0].to_string().contains("known.txt:101:1"), "{}", problems[0]);
    }

    #[test]
    fn a_table_with_commas_is_read_too() {
        let list = compile(&format!("{},Trojan B,2026\n", "ab".repeat(32))).unwrap();
        assert_eq!(list.name(0), "Trojan B,2026");
    }
}
