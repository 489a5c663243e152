//! Files that would cost far more than their size: what is counted here is work and what is kept, never time.

use std::borrow::Cow;

use super::super::super::report::Report;
use super::super::filters::{Coding, decode};
use super::super::revision::{Change, Revisions};
use super::super::{DECODED, open, scan};
use super::file;
use crate::inspect::Finding;
use crate::inspect::checks::content::archive::Budget;
use crate::inspect::checks::content::{Limits, Object, Origin};

fn findings(data: &[u8]) -> Vec<Finding> {
    let object = Object {
        path: "1".to_owned(),
        names: vec!["a.pdf".to_owned()],
        declared: String::new(),
        kind: "application/pdf",
        data: Cow::Borrowed(data),
        origin: Origin::Part,
        depth: 0,
    };
    let mut findings = Vec::new();
    open(&object, &mut budget(), &mut Report::new(&object, &mut findings));
    findings
}

fn budget() -> Budget {
    Budget::new(&Limits::from(&crate::session::settings::Limits::default()))
}

#[test]
fn streams_without_end_are_searched_once_and_read_twice_at_most() {
    // Each of them reaches to the end of the file.
    let data = b"1 0 obj<</Type/EmbeddedFile/Filter/JBIG2Decode>>stream\nx ".repeat(1000);
    let (objects, _) = scan::objects(&data);
    assert!(objects.iter().all(|o| o.stream.as_ref().is_some_and(|range| range.end == data.len())));
    let told = findings(&data);
    assert!(told.iter().any(|f| f.code == "unpack.limit"), "{told:?}");
    let unknown = told.iter().filter(|f| f.code == "pdf.malformed").count();
    assert!(unknown <= 3, "{unknown} of them were read");
    // Side by side they are all read.
    let whole = b"1 0 obj<</Length 4>>stream\nabcd\nendstream\nendobj\n".repeat(1000);
    assert_eq!(findings(&whole), []);
}

#[test]
fn a_stream_ends_where_the_next_word_says_whoever_asked_before() {
    let data = b"1 0 obj<<>>stream\na endobj 2 0 obj<<>>stream\nb endstream endobj 3 0 obj<<>>stream\nc endobj d";
    let ends: Vec<usize> = scan::objects(data).0.iter().filter_map(|o| Some(o.stream.clone()?.end)).collect();
    let first = memchr::memmem::find(data, b"endstream").unwrap();
    let last = memchr::memmem::rfind(data, b"endobj").unwrap();
    assert_eq!(ends, [first, first, last]);
}

#[test]
fn what_decoding_makes_is_bounded_for_the_file() {
    let zeros = super::flate(&vec![0; 1 << 20]);
    let picture = super::stream("/Subtype/Image/Width 5/Height 5/Filter/FlateDecode", &zeros);
    let count = DECODED / (1 << 20) + 10;
    let told = findings(&file(&vec![picture.as_slice(); count]));
    assert!(told.iter().any(|f| f.code == "unpack.limit"), "{told:?}");
    let told = findings(&file(&[picture.as_slice(); 10]));
    assert!(told.iter().all(|f| f.code != "unpack.limit"), "{told:?}");
}

#[test]
fn strings_and_names_that_nobody_asks_for_are_not_kept() {
    let (strings, _) = scan::objects(&[&b"1 0 obj "[..], &b"()".repeat(10_000)].concat());
    assert!(strings.iter().all(|o| o.lone.len() == 1));
    let (names, _) = scan::objects(&[&b"1 0 obj "[..], &b"/#41".repeat(10_000)].concat());
    assert!(names.iter().all(|o| o.hidden.len() <= 1000 && o.pairs.is_empty()));
}

#[test]
fn objects_beyond_the_limit_are_told() {
    let data = b"1 0 obj ".repeat(scan::OBJECTS + 5);
    assert!(findings(&data).iter().any(|f| f.code == "unpack.limit"));
    let lists = [&b"1 0 obj "[..], &b"/C[()()()()()()()()()]".repeat(60_000)].concat();
    let (objects, _) = scan::objects(&lists);
    assert!(objects.iter().all(|o| o.pairs.len() <= 10_000), "lists count by what is in them");
    let trailers = b"trailer<</Encrypt 1 0 R>>".repeat(50);
    assert!(findings(&trailers).iter().any(|f| f.code == "pdf.encrypted"));
}

#[test]
fn revisions_that_cost_more_than_they_may_are_taken_for_changes() {
    // Object streams that all reach to the end of the file.
    let data = b"1 0 obj<</Type/ObjStm/First 4/Filter/AHx>>stream\n1 0 31203020 ".repeat(500);
    let (objects, whole) = scan::objects(&data);
    assert!(whole && objects.len() == 500);
    assert_eq!(Revisions::new(&data, &objects, whole, &budget()).since(100), Change::Content);
    // A note that is added many times over is a note, however often it comes.
    let first = file(&[b"<</Type/Catalog>>"]);
    let note = b"7 0 obj<</Type/Annot/Subtype/Text>>endobj\n".repeat(2000);
    let data = [first.clone(), note].concat();
    let (objects, whole) = scan::objects(&data);
    assert_eq!(Revisions::new(&data, &objects, whole, &budget()).since(first.len()), Change::Note);
}

#[test]
fn a_row_is_no_longer_than_what_there_is() {
    let head = "/Type/EmbeddedFile/Filter/FlateDecode/DecodeParms<</Predictor 15/Columns 1048576/Colors 32/BitsPerComponent 32>>";
    let one = super::stream(head, &super::flate(b"\x02abc"));
    let told = findings(&file(&vec![one.as_slice(); 500]));
    assert!(told.iter().all(|f| f.code != "unpack.limit" && f.code != "archive.malformed"), "{told:?}");
    let coding =
        Coding { filters: vec!["Fl".into()], predictor: 15, columns: 1 << 20, colours: 32, bits: 32, late: false };
    let decoded = decode(&super::flate(b"\x02abc"), &coding, 100, &budget());
    assert_eq!((decoded.data.as_slice(), decoded.made), (b"abc".as_slice(), 3));
    let long = decode(&super::flate(&[7; 300]), &Coding { predictor: 1, ..coding }, 100, &budget());
    assert!(long.cut && long.data.len() == 100 && long.made == 101, "one octet more is read than is kept");
}
