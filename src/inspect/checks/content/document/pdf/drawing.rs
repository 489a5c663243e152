//! What the content of a page fills (ISO 32000-1 §8.5): rectangles and straight outlines, for the reader of QR codes.

use std::collections::BTreeMap;

use super::super::picture::Shape;

/// Shapes of one file, corners of one outline, words of one stream, matrices kept.
const SHAPES: usize = 30_000;
const CORNERS: usize = 5000;
const WORDS: usize = 400_000;
const STACK: usize = 32;
/// Dark runs of modules, or modules, that every code has.
const MODULES: usize = 60;

/// a, b, c, d, e, f of §8.3.3.
type Matrix = [f64; 6];

#[derive(Clone, Copy)]
struct State {
    matrix: Matrix,
    dark: bool,
}

/// Adds what `content` fills to `shapes`.
pub fn shapes(content: &[u8], shapes: &mut Vec<Shape>) {
    let mut state = State { matrix: [1.0, 0.0, 0.0, 1.0, 0.0, 0.0], dark: true };
    let (mut stack, mut numbers) = (Vec::<State>::new(), Vec::<f64>::new());
    let mut rings = Vec::<Vec<(f64, f64)>>::new();
    let words = content.split(|b| b.is_ascii_whitespace()).filter(|w| !w.is_empty() && w.len() < 40).take(WORDS);
    for word in words {
        if shapes.len() >= SHAPES {
            break;
        }
        let Ok(word) = std::str::from_utf8(word) else { continue };
        if let Some(number) = word.parse::<f64>().ok().filter(|n| n.is_finite()) {
            if numbers.len() < 8 {
                numbers.push(number);
            }
            continue;
        }
        let last = |count: usize| numbers.len().checked_sub(count).and_then(|at| numbers.get(at..));
        match (word, last(4), last(2)) {
            ("q", ..) if stack.len() < STACK => stack.push(state),
            ("Q", ..) => state = stack.pop().unwrap_or(state),
            ("cm", ..) => {
                if let Some(Ok(matrix)) = last(6).map(Matrix::try_from) {
                    state.matrix = multiply(matrix, state.matrix);
                }
            }
            ("g" | "sc" | "scn", _, _) => state.dark = numbers.last().is_none_or(|level| *level < 0.5),
            ("rg", ..) => state.dark = numbers.iter().rev().take(3).sum::<f64>() < 1.5,
            ("k", Some([c, m, y, k]), _) => state.dark = k + (c + m + y) / 3.0 > 0.5,
            ("re", Some([x, y, width, height]), _) => {
                let corners = [(*x, *y), (x + width, *y), (x + width, y + height), (*x, y + height)];
                rings.push(corners.iter().map(|c| apply(state.matrix, *c)).collect());
            }
            ("m", _, Some([x, y])) => rings.push(vec![apply(state.matrix, (*x, *y))]),
            ("l", _, Some([x, y])) => {
                if let Some(ring) = rings.last_mut().filter(|r| r.len() < CORNERS) {
                    ring.push(apply(state.matrix, (*x, *y)));
                }
            }
            ("f" | "F" | "f*" | "B" | "B*" | "b" | "b*", ..) => {
                let mut rings = std::mem::take(&mut rings);
                rings.retain(|ring| ring.len() > 2);
                if !rings.is_empty() {
                    shapes.push(Shape { rings, dark: state.dark });
                }
            }
            ("n" | "S" | "s", ..) => rings.clear(),
            _ => {}
        }
        numbers.clear();
        if rings.len() > SHAPES {
            break;
        }
    }
}

/// Whether many dark shapes are of one height, as the modules of a code are: letters and charts are not.
pub fn is_mosaic(shapes: &[Shape]) -> bool {
    let mut heights: BTreeMap<i64, usize> = BTreeMap::new();
    for ring in shapes.iter().filter(|s| s.dark).flat_map(|s| &s.rings) {
        let least = ring.iter().fold(f64::MAX, |y, c| y.min(c.1));
        let most = ring.iter().fold(f64::MIN, |y, c| y.max(c.1));
        *heights.entry(((most - least) * 100.0).round() as i64).or_default() += 1;
    }
    heights.values().any(|count| *count >= MODULES)
}

fn multiply(m: Matrix, n: Matrix) -> Matrix {
    let ([a, b, c, d, e, f], [g, h, i, j, k, l]) = (m, n);
    [a * g + b * i, a * h + b * j, c * g + d * i, c * h + d * j, e * g + f * i + k, e * h + f * j + l]
}

/// Pages count from below, pictures from above.
fn apply([a, b, c, d, e, f]: Matrix, (x, y): (f64, f64)) -> (f64, f64) {
    (a * x + c * y + e, -(b * x + d * y + f))
}
