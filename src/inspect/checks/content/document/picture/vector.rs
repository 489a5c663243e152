//! QR codes drawn as shapes: rectangles, paths and strokes of an SVG picture, and what a PDF page fills. No pixels are
//! sent, and none are searched by those who look only at pictures.

use super::super::bytes::slice;
use super::super::markup::{self, Piece, Tag};
use super::super::report::{Found, Report};
use super::drawn::is_dark;
use super::{Grey, look};
use crate::inspect::checks::content::Object;
use crate::inspect::checks::content::archive::Budget;

const PAGE: usize = 4 << 20;
/// Sides of the picture that is drawn, and its light margin.
const SIDE: usize = 600;
const MARGIN: usize = 20;
/// Shapes of one picture, corners of all of them, and steps of filling them.
const SHAPES: usize = 60_000;
const CORNERS: usize = 400_000;
const STEPS: usize = 40_000_000;
/// A code has more dark places than this.
const LEAST: usize = 20;

/// An area with corners, in one or more rings; what lies in an even number of them is left open.
#[derive(Clone, PartialEq, Debug)]
pub struct Shape {
    pub rings: Vec<Vec<(f64, f64)>>,
    pub dark: bool,
}

impl Shape {
    pub fn rectangle(x: f64, y: f64, width: f64, height: f64, dark: bool) -> Self {
        let (right, bottom) = (x + width, y + height);
        Self { rings: vec![vec![(x, y), (right, y), (right, bottom), (x, bottom)]], dark }
    }
    fn corners(&self) -> impl Iterator<Item = &(f64, f64)> {
        self.rings.iter().flatten()
    }
}

/// Draws what fills an area of some size, and looks for codes in it.
pub fn search(shapes: &[Shape], budget: &mut Budget, report: &mut Report<'_>) {
    let pieces: usize = shapes.iter().filter(|s| s.dark).map(|s| s.rings.len()).sum();
    if pieces < LEAST {
        return;
    }
    if let Some(grey) = draw(shapes) {
        look(grey, budget, report);
    }
}

fn draw(shapes: &[Shape]) -> Option<Grey> {
    let corners = || shapes.iter().take(SHAPES).flat_map(Shape::corners).take(CORNERS);
    let least = corners().fold((f64::MAX, f64::MAX), |(x, y), c| (x.min(c.0), y.min(c.1)));
    let most = corners().fold((f64::MIN, f64::MIN), |(x, y), c| (x.max(c.0), y.max(c.1)));
    let extent = (most.0 - least.0).max(most.1 - least.1);
    if !extent.is_finite() || extent <= 0.0 {
        return None;
    }
    let scale = SIDE as f64 / extent;
    let place = |c: &(f64, f64)| ((c.0 - least.0) * scale, (c.1 - least.1) * scale);
    let side = SIDE + 2 * MARGIN;
    let mut pixels = vec![255_u8; side * side];
    let mut steps = STEPS;
    for shape in shapes.iter().take(SHAPES) {
        let rings: Vec<Vec<(f64, f64)>> = shape.rings.iter().map(|ring| ring.iter().map(place).collect()).collect();
        let edges: Vec<[(f64, f64); 2]> = rings
            .iter()
            .flat_map(|ring| ring.iter().zip(ring.iter().cycle().skip(1)).map(|(a, b)| [*a, *b]))
            .filter(|[a, b]| a.1 != b.1)
            .collect();
        let top = edges.iter().flatten().fold(f64::MAX, |y, c| y.min(c.1)).max(0.0).floor();
        let bottom = edges.iter().flatten().fold(0.0_f64, |y, c| y.max(c.1)).min(SIDE as f64).ceil();
        for row in (top as usize)..(bottom as usize) {
            steps = steps.checked_sub(edges.len() + 1)?;
            fill(&edges, row, shape.dark, &mut pixels);
        }
    }
    Some(Grey { width: side, height: side, pixels })
}

/// One row of pixels, between each pair of edges that cross its middle.
fn fill(edges: &[[(f64, f64); 2]], row: usize, dark: bool, pixels: &mut [u8]) {
    let middle = row as f64 + 0.5;
    let crosses = |[a, b]: &[(f64, f64); 2]| (a.1 <= middle) != (b.1 <= middle);
    let at = |[a, b]: &[(f64, f64); 2]| a.0 + (middle - a.1) / (b.1 - a.1) * (b.0 - a.0);
    let mut places: Vec<f64> = edges.iter().filter(|e| crosses(e)).map(at).collect();
    places.sort_by(f64::total_cmp);
    for pair in places.chunks_exact(2) {
        let [from, to] = [0, 1].map(|i| pair.get(i).map_or(0, |x| x.round().clamp(0.0, SIDE as f64) as usize));
        let start = (row + MARGIN) * (SIDE + 2 * MARGIN) + MARGIN;
        if let Some(run) = pixels.get_mut(start + from..start + to.max(from)) {
            run.fill(if dark { 0 } else { 255 });
        }
    }
}

pub fn is_vector(object: &Object<'_>) -> bool {
    let named = || object.name().to_ascii_lowercase().ends_with(".svg");
    let page = matches!(object.kind, "text/html" | "text/xml") || object.declared == "text/html";
    let svg = object.kind == "image/svg+xml"
        || named()
        || page && memchr::memmem::find(slice(&object.data, 0, PAGE), b"<svg").is_some();
    let shapes = || {
        let count = |word: &[u8]| memchr::memmem::find_iter(&object.data, word).take(LEAST).count();
        count(b"<rect") + count(b"<use") >= LEAST || count(b"<path") > 0
    };
    svg && object.data.len() < PAGE && shapes()
}

pub fn open(object: &Object<'_>, budget: &mut Budget, report: &mut Report<'_>) -> Vec<Found> {
    let text = markup::decode(&object.data);
    let (mut shapes, mut unit) = (Vec::new(), (1.0, 1.0));
    let mut pictures = 0;
    markup::walk_page(&text, |piece| match piece {
        Piece::Start(tag) if tag.name == "svg" => shapes.clear(),
        Piece::Start(tag) if shapes.len() < SHAPES => read(&tag, &mut shapes, &mut unit),
        Piece::End(name) if name == "svg" && pictures < 8 => {
            pictures += 1;
            search(&shapes, budget, report);
            shapes.clear();
        }
        _ => {}
    });
    if !shapes.is_empty() && pictures == 0 {
        search(&shapes, budget, report);
    }
    Vec::new()
}

/// The shapes of one element; `unit` is the size of what is drawn again and again.
fn read(tag: &Tag, shapes: &mut Vec<Shape>, unit: &mut (f64, f64)) {
    let number = |name: &str| number(tag.get(name));
    let fill = colour(tag, "fill");
    let dark = fill.is_empty() || is_dark(&fill);
    match tag.name.as_str() {
        "rect" => {
            let size = (number("width").unwrap_or(0.0), number("height").unwrap_or(0.0));
            if !tag.get("id").is_empty() {
                *unit = size;
            }
            // The background is as wide as the picture: `100%`.
            if fill != "none" && size.0 > 0.0 && size.1 > 0.0 && !tag.get("width").ends_with('%') {
                let (x, y) = (number("x").unwrap_or(0.0), number("y").unwrap_or(0.0));
                shapes.push(Shape::rectangle(x, y, size.0, size.1, dark));
            }
        }
        "use" => {
            if let (Some(x), Some(y)) = (number("x"), number("y")) {
                shapes.push(Shape::rectangle(x, y, unit.0, unit.1, true));
            }
        }
        "path" => {
            let stroked = !tag.get("stroke").is_empty() || tag.get("style").contains("stroke:");
            let lines = stroked && !tag.get("d").contains(['z', 'Z']);
            let width = number("stroke-width").filter(|_| lines).unwrap_or(1.0);
            path(tag.get("d"), lines.then_some(width), dark || lines, shapes);
        }
        _ => {}
    }
}

fn colour(tag: &Tag, name: &str) -> String {
    let style = tag.get("style").to_ascii_lowercase().replace(' ', "");
    let own = tag.get(name).to_ascii_lowercase().replace(' ', "");
    let styled = style.split(';').find_map(|d| d.strip_prefix(name)?.strip_prefix(':').map(str::to_owned));
    styled.unwrap_or(own)
}

fn number(text: &str) -> Option<f64> {
    text.trim().trim_end_matches(|c: char| c.is_ascii_alphabetic()).parse::<f64>().ok().filter(|n| n.is_finite())
}

/// Commands of a path (SVG §9.3) as far as squares need them; as strokes of `line` width, or filled.
fn path(commands: &str, line: Option<f64>, dark: bool, shapes: &mut Vec<Shape>) {
    let (mut rings, mut ring) = (Vec::<Vec<(f64, f64)>>::new(), Vec::new());
    let (mut x, mut y, mut start, mut corners) = (0.0, 0.0, (0.0, 0.0), 0);
    let mut rest = commands;
    while let Some(at) = rest.find(|c: char| c.is_ascii_alphabetic() && c != 'e') {
        let command = rest.get(at..=at).and_then(|c| c.chars().next()).unwrap_or('z');
        let behind = rest.get(at + 1..).unwrap_or_default();
        let end = behind.find(|c: char| c.is_ascii_alphabetic() && c != 'e').unwrap_or(behind.len());
        let numbers = numbers(behind.get(..end).unwrap_or_default());
        rest = behind.get(end..).unwrap_or_default();
        let own = command.is_ascii_lowercase();
        let base = |at: f64| if own { at } else { 0.0 };
        match command.to_ascii_lowercase() {
            'h' | 'v' => {
                for n in numbers {
                    let before = x;
                    if command.eq_ignore_ascii_case(&'h') {
                        x = base(x) + n
                    } else {
                        y = base(y) + n
                    }
                    if let Some(width) = line.filter(|_| command.eq_ignore_ascii_case(&'h')) {
                        shapes.push(Shape::rectangle(before.min(x), y - width / 2.0, (x - before).abs(), width, dark));
                    }
                    ring.push((x, y));
                }
            }
            'm' | 'l' => {
                for (i, pair) in numbers.chunks_exact(2).enumerate() {
                    let [dx, dy] = [0, 1].map(|i| pair.get(i).copied().unwrap_or(0.0));
                    (x, y) = (base(x) + dx, base(y) + dy);
                    if i == 0 && command.eq_ignore_ascii_case(&'m') {
                        rings.push(std::mem::take(&mut ring));
                        start = (x, y);
                    }
                    ring.push((x, y));
                }
            }
            'z' => {
                rings.push(std::mem::take(&mut ring));
                (x, y) = start;
                ring.push(start);
            }
            // A curve: no square.
            _ => ring.push((x, y)),
        }
        corners += ring.len();
        if corners > CORNERS {
            break;
        }
    }
    rings.push(ring);
    rings.retain(|ring| ring.len() > 2);
    if line.is_none() && !rings.is_empty() {
        shapes.push(Shape { rings, dark });
    }
}

/// Numbers that a sign, a comma, a blank or a second point parts.
fn numbers(text: &str) -> Vec<f64> {
    let (mut out, mut word) = (Vec::new(), String::new());
    for c in text.chars().chain([' ']) {
        let fresh = (c == '-' && !word.ends_with('e')) || (c == '.' && word.contains('.'));
        if fresh || c == ',' || c.is_whitespace() {
            out.extend(word.parse::<f64>().ok().filter(|n| n.is_finite()));
            word.clear();
        }
        if !(c == ',' || c.is_whitespace()) && word.len() < 40 {
            word.push(c);
        }
    }
    out
}
