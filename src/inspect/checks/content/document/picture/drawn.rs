//! QR codes drawn in text: block letters (█ ▀ ▄), or a table of black and white cells. No picture is sent, and none is
//! searched by those who look only at pictures.

use super::super::markup::{self, Piece};
use super::super::report::{Found, Report};
use super::{Grey, look};
use crate::inspect::checks::content::Object;
use crate::inspect::checks::content::archive::Budget;

/// Sides of a code with its margin, in modules; pixels drawn for one.
const LEAST: usize = 21;
const MOST: usize = 200;
const SCALE: usize = 4;
const PAGE: usize = 4 << 20;

pub fn is_drawn(object: &Object<'_>) -> bool {
    let text = object.kind.starts_with("text/") && matches!(object.declared.as_str(), "text/plain" | "text/html" | "");
    let blocks = || memchr::memmem::find_iter(&object.data, "\u{2588}".as_bytes()).take(60).count() >= 60;
    let cells = || {
        let page = object.kind == "text/html" || object.declared == "text/html";
        page && memchr::memmem::find_iter(&object.data, b"<td").take(441).count() >= 441
    };
    text && object.data.len() < PAGE && (blocks() || cells())
}

pub fn open(object: &Object<'_>, budget: &mut Budget, report: &mut Report<'_>) -> Vec<Found> {
    let text = markup::decode(&object.data);
    let shown =
        if object.kind == "text/html" || object.declared == "text/html" { lines_of(&text) } else { text.clone() };
    for rows in blocks(&shown).into_iter().chain(tables(&text)).take(8) {
        if let Some(grey) = draw(&rows) {
            look(grey, budget, report);
        }
    }
    Vec::new()
}

/// The text of a page with its line breaks.
fn lines_of(page: &str) -> String {
    let mut out = String::new();
    markup::walk_page(page, |piece| match piece {
        Piece::Text(text) => out.push_str(&text),
        Piece::Start(tag) if matches!(tag.name.as_str(), "br" | "div" | "p" | "tr") => out.push('\n'),
        _ => {}
    });
    out
}

/// Runs of lines made of block letters and blanks, as rows of dark modules.
fn blocks(text: &str) -> Vec<Vec<Vec<bool>>> {
    let is_block = |c: char| {
        matches!(c, '\u{2580}' | '\u{2584}' | '\u{2588}' | ' ' | '\u{a0}' | '\u{2003}' | '\u{258c}' | '\u{2590}')
    };
    let (mut found, mut open): (Vec<Vec<&str>>, Vec<&str>) = (Vec::new(), Vec::new());
    for line in text.lines().chain([""]) {
        let line = line.trim_end_matches('\r');
        let count = line.chars().count();
        if (LEAST..=2 * MOST).contains(&count) && line.chars().all(is_block) && line.chars().any(|c| c > '\u{2500}') {
            open.push(line);
        } else if !open.is_empty() {
            found.push(std::mem::take(&mut open));
        }
    }
    let mut out = Vec::new();
    for lines in found.into_iter().filter(|l| l.len() >= LEAST / 2 && l.len() <= MOST) {
        let halves = lines.iter().any(|l| l.contains(['\u{2580}', '\u{2584}']));
        let mut rows: Vec<Vec<bool>> = Vec::new();
        for line in lines {
            let upper: Vec<bool> = line.chars().map(|c| matches!(c, '\u{2588}' | '\u{2580}')).collect();
            if halves {
                rows.push(upper);
                rows.push(line.chars().map(|c| matches!(c, '\u{2588}' | '\u{2584}')).collect());
            } else {
                // Two letters a module, as a letter is twice as high as wide.
                rows.push(upper.iter().step_by(2).copied().collect());
            }
        }
        out.push(rows);
    }
    out
}

/// Tables whose cells have a dark or light background.
fn tables(page: &str) -> Vec<Vec<Vec<bool>>> {
    let (mut found, mut rows, mut row) = (Vec::new(), Vec::<Vec<bool>>::new(), Vec::<bool>::new());
    markup::walk_page(page, |piece| match piece {
        Piece::Start(tag) if tag.name == "tr" && !row.is_empty() && rows.len() < MOST => {
            rows.push(std::mem::take(&mut row));
        }
        Piece::Start(tag) if tag.name == "td" => {
            let style = tag.get("style").to_ascii_lowercase().replace(' ', "");
            let colour = tag.get("bgcolor").to_ascii_lowercase();
            let background = style
                .split(';')
                .find_map(|d| d.strip_prefix("background-color:").or_else(|| d.strip_prefix("background:")));
            let width = tag.get("colspan").parse::<usize>().unwrap_or(1).clamp(1, 50);
            let dark =
                is_dark(background.unwrap_or(&colour)) || tag.get("class").to_ascii_lowercase().contains("black");
            if row.len() < MOST {
                row.extend(std::iter::repeat_n(dark, width));
            }
        }
        Piece::End(name) if name == "table" => {
            rows.extend(Some(std::mem::take(&mut row)).filter(|r| !r.is_empty()));
            if rows.len() >= LEAST {
                found.push(std::mem::take(&mut rows));
            }
            rows.clear();
        }
        _ => {}
    });
    found
}

pub fn is_dark(colour: &str) -> bool {
    if matches!(colour, "black" | "#000" | "#000000" | "rgb(0,0,0)" | "navy" | "darkblue") {
        return true;
    }
    let Some(digits) = colour.strip_prefix('#') else { return false };
    let long: String =
        if digits.len() == 3 { digits.chars().flat_map(|c| [c, c]).collect() } else { digits.to_owned() };
    let Some(digits) = Some(long).filter(|d| d.len() == 6) else { return false };
    u32::from_str_radix(&digits, 16).is_ok_and(|c| (c >> 16) + (c >> 8 & 0xFF) + (c & 0xFF) < 300)
}

/// A picture of the modules, with a light margin.
fn draw(rows: &[Vec<bool>]) -> Option<Grey> {
    let columns = rows.iter().map(Vec::len).max()?;
    if rows.len() < LEAST || !(LEAST..=MOST).contains(&columns) || rows.len() > 2 * MOST {
        return None;
    }
    let (width, height) = ((columns + 8) * SCALE, (rows.len() + 8) * SCALE);
    let dark = |x: usize, y: usize| {
        let (Some(x), Some(y)) = ((x / SCALE).checked_sub(4), (y / SCALE).checked_sub(4)) else { return false };
        rows.get(y).and_then(|r| r.get(x)).copied().unwrap_or(false)
    };
    let pixels =
        (0..height).flat_map(|y| (0..width).map(move |x| (x, y))).map(|(x, y)| if dark(x, y) { 0 } else { 255 });
    Some(Grey { width, height, pixels: pixels.collect() })
}
