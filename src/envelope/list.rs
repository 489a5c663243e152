//! The file of an agency's mailboxes, in whatever form a directory or an officer writes it.
//!
//! - Plain: one address a line. `#` at the start of a line, or behind a blank, begins a comment.
//! - CSV (RFC 4180, with `,`, `;` or tabs): a heading names the column `address`; the other columns are for people.
//! - TOML (a name that ends in `.toml`): `recipients = ["an@...", ...]` (or `addresses`), or `[[recipient]]` tables with
//!   `address = "..."` and whatever else people want to know.

use std::collections::HashSet;
use std::path::Path;

use serde::Deserialize;
use toml::Spanned;

use crate::mail::{Domain, Mailbox, Problem};

/// The mailboxes, folded, and every problem with its line. An address of another domain only warns.
#[must_use]
pub fn read(path: &Path, text: &str, domains: &[Domain]) -> (HashSet<String>, Vec<Problem>) {
    let text = text.trim_start_matches('\u{feff}');
    let is_toml = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("toml"));
    let cells = if is_toml { tables(text) } else { lines(text) };
    let (mut listed, mut problems) = (HashSet::new(), Vec::new());
    for (line, cell) in cells {
        let parsed = cell.and_then(|cell| Mailbox::parse(&cell).map_err(|error| format!("\"{cell}\": {error}")));
        match parsed {
            Ok(mailbox) if domains.contains(mailbox.domain()) => {
                listed.insert(mailbox.folded());
            }
            Ok(mailbox) => {
                let message = format!("{mailbox} is not in a domain of this agency");
                problems.push(Problem::new(path, message).at(line, 1).warning());
            }
            Err(message) => problems.push(Problem::new(path, message).at(line, 1)),
        }
    }
    (listed, problems)
}

/// What stands in each line where an address should, or what is wrong with the line.
type Cells = Vec<(usize, Result<String, String>)>;

fn lines(text: &str) -> Cells {
    let (mut cells, mut column) = (Cells::new(), None);
    for (number, line) in (1..).zip(text.lines()) {
        let fields = fields(line);
        if fields.iter().all(String::is_empty) {
            continue;
        }
        let heading = fields.iter().position(|field| field.eq_ignore_ascii_case("address"));
        if column.is_none() && cells.is_empty() && heading.is_some() {
            column = heading;
            continue;
        }
        let cell = if fields.len() == 1 { fields.first() } else { column.and_then(|column| fields.get(column)) };
        let missing = || "this line has several fields, but no column is named \"address\"".to_owned();
        cells.push((number, cell.cloned().ok_or_else(missing)));
    }
    cells
}

/// The fields of a line; quotes around a field, and what they protect, as RFC 4180 §2 has them.
fn fields(line: &str) -> Vec<String> {
    let (mut fields, mut field) = (Vec::new(), String::new());
    let (mut quoted, mut after_blank) = (false, true);
    let mut chars = line.chars().peekable();
    while let Some(char) = chars.next() {
        match char {
            '"' if quoted && chars.peek() == Some(&'"') => {
                chars.next();
                field.push('"');
            }
            // Inside a field a quote is part of it: a quoted local part in a plain list.
            '"' if quoted || field.trim().is_empty() => quoted = !quoted,
            '#' if !quoted && after_blank => break,
            ',' | ';' | '\t' if !quoted => fields.push(std::mem::take(&mut field).trim().to_owned()),
            char => field.push(char),
        }
        after_blank = char.is_whitespace();
    }
    fields.push(field.trim().to_owned());
    fields
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Book {
    #[serde(default, alias = "recipient", alias = "addresses")]
    recipients: Vec<Spanned<Entry>>,
}

/// Columns beside the address are for people.
#[derive(Deserialize)]
#[serde(untagged, expecting = "an address, or a table with an address")]
enum Entry {
    Address(String),
    Row { address: String },
}

fn tables(text: &str) -> Cells {
    let ends: Vec<usize> = memchr::memchr_iter(b'\n', text.as_bytes()).collect();
    let line_at = |offset: usize| ends.partition_point(|end| *end < offset).saturating_add(1);
    match toml::from_str::<Book>(text) {
        Ok(book) => {
            let cell = |entry: Spanned<Entry>| {
                let line = line_at(entry.span().start);
                let (Entry::Address(address) | Entry::Row { address }) = entry.into_inner();
                (line, Ok(address))
            };
            book.recipients.into_iter().map(cell).collect()
        }
        Err(error) => vec![(error.span().map_or(1, |span| line_at(span.start)), Err(error.message().to_owned()))],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_as(name: &str, text: &str) -> (Vec<String>, Vec<String>) {
        let (listed, problems) = read(Path::new(name), text, &[Domain::parse("agency.test").unwrap()]);
        let mut listed: Vec<_> = listed.into_iter().collect();
        listed.sort();
        (listed, problems.iter().map(ToString::to_string).collect())
    }

    /// An and Bình, without a word.
    fn both(name: &str, text: &str) {
        let (listed, problems) = read_as(name, text);
        assert_eq!(listed, ["an@agency.test", "binh@agency.test"], "{text}");
        assert!(problems.is_empty(), "{problems:?}");
    }

    #[test]
    fn plain_lists_tables_and_toml_are_read() {
        both("r.txt", "# staff\nAn@agency.test\n\nbinh@agency.test # new\n");
        both("r.csv", "\u{feff}name;address\r\n\"An\";an@agency.test\r\nBinh;\"binh@agency.test\"\r\n");
        both("r.csv", "name,address,room\n\"Nguyễn, \"\"An\"\"\",an@agency.test,1\nBình,binh@agency.test,#2\n");
        both("r.tsv", "address\tname\nan@agency.test\tAn\nbinh@agency.test\tBình\n");
        both("r.toml", "recipients = [\n  \"an@agency.test\", # An\n  \"Binh@agency.test\",\n]\n");
        both(
            "R.TOML",
            "[[recipient]]\naddress = \"an@agency.test\"\nname = \"An\"\n\n[[recipient]]\naddress = \"binh@agency.test\"\n",
        );
        both("r.toml", "addresses = [\"an@agency.test\", { address = \"binh@agency.test\", room = 2 }]\n");
    }

    #[test]
    fn rfc5321_4_1_2_odd_local_parts_are_addresses_too() {
        let (listed, problems) = read_as("r.txt", "an#1@agency.test # number one\n");
        assert!(problems.is_empty(), "{problems:?}");
        assert_eq!(listed, ["an#1@agency.test"]);
    }

    #[test]
    fn a_foreign_address_only_warns() {
        let (listed, problems) = read_as("r.txt", "an@agency.test\nx@elsewhere.test\n");
        assert_eq!(listed, ["an@agency.test"]);
        assert!(problems.len() == 1 && problems[0].contains("r.txt:2:1"), "{problems:?}");
    }

    #[test]
    fn every_bad_line_is_named() {
        let (_, problems) = read_as("r.csv", "an@agency.test\nbad\nx, y\n");
        assert_eq!(problems.len(), 2);
        assert!(problems[0].starts_with("r.csv:2:1: \"bad\""), "{problems:?}");
        assert!(problems[1].contains("no column is named"), "{problems:?}");
        let (_, problems) = read_as("r.toml", "recipients = [\n  \"an@agency.test\",\n  \"bad\"\n]\n");
        assert!(problems.len() == 1 && problems[0].starts_with("r.toml:3:1: \"bad\""), "{problems:?}");
        let (listed, problems) = read_as("r.toml", "people = [\"an@agency.test\"]\n");
        assert!(listed.is_empty() && problems.len() == 1 && problems[0].contains("unknown field"), "{problems:?}");
        let (_, problems) = read_as("r.toml", "recipients = [\"an@agency.test\"\n[x\n");
        assert!(problems.len() == 1 && problems[0].starts_with("r.toml:"), "{problems:?}");
    }
}
