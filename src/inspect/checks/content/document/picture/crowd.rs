//! How many finder patterns of QR codes a picture has: runs of dark and light as 1:1:3:1:1 along a row, and down the
//! column through their middle.

/// More than any page of codes: thirteen codes.
const MOST: usize = 40;

/// Whether there are too many to look for codes among them. `dark` answers for a column and a row.
pub fn is_crowded(width: usize, height: usize, dark: impl Fn(usize, usize) -> bool) -> bool {
    // Each pattern is crossed by three of its own modules' rows; what counts is their sum in patterns.
    let mut sum = 0.0;
    for y in 0..height {
        let mut runs = [0_usize; 5];
        let mut colour = false;
        for x in 0..=width {
            let now = x < width && dark(x, y);
            if now == colour && x < width {
                runs[4] += 1;
                continue;
            }
            // A dark run ended: with the two pairs before it, it may be a pattern.
            if colour && is_pattern(&runs) {
                let module = runs.iter().sum::<usize>() as f64 / 7.0;
                let middle = x - runs[4] - runs[3] - runs[2] / 2 - 1;
                if is_column(middle, y, height, &dark) {
                    sum += 1.0 / (3.0 * module);
                }
            }
            runs.rotate_left(1);
            runs[4] = 1;
            colour = now;
        }
        if sum > MOST as f64 {
            return true;
        }
    }
    false
}

fn is_pattern(runs: &[usize; 5]) -> bool {
    let total: usize = runs.iter().sum();
    if total < 7 || runs.contains(&0) {
        return false;
    }
    let module = total as f64 / 7.0;
    let near = |run: usize, modules: f64| (run as f64 - module * modules).abs() < module * modules * 0.6;
    near(runs[0], 1.0) && near(runs[1], 1.0) && near(runs[2], 3.0) && near(runs[3], 1.0) && near(runs[4], 1.0)
}

/// The same runs down the column.
fn is_column(x: usize, y: usize, height: usize, dark: &impl Fn(usize, usize) -> bool) -> bool {
    let count = |start: usize, up: bool, wanted: bool| {
        let (mut at, mut length) = (start, 0);
        while at < height && dark(x, at) == wanted && length < height {
            length += 1;
            if up && at == 0 {
                return (length, height);
            }
            at = if up { at - 1 } else { at + 1 };
        }
        (length, at)
    };
    let (above, at) = count(y, true, true);
    let (light_above, at) = count(at, true, false);
    let (dark_above, _) = count(at, true, true);
    let (below, at) = count(y + 1, false, true);
    let (light_below, at) = count(at, false, false);
    let (dark_below, _) = count(at, false, true);
    is_pattern(&[dark_above, light_above, above + below, light_below, dark_below])
}
