//! Pictures made here, out of one code of version 2 that says `http://bad.example/qr`.

use std::io::Cursor;

use super::super::tests::{codes, examine, policy};
use crate::inspect::inspector::Examiner;

/// The code's modules, row by row.
const CODE: &str = "\
#######.#..#.##...#######\n\
#.....#.###..#....#.....#\n\
#.###.#.#.######..#.###.#\n\
#.###.#..#.#.####.#.###.#\n\
#.###.#.#...###.#.#.###.#\n\
#.....#...##.##.#.#.....#\n\
#######.#.#.#.#.#.#######\n\
.............#...........\n\
#..##########.##.#..#.###\n\
..#....####.#..#...#####.\n\
..##.###...##.###.####..#\n\
###.##.###.#..#..##..####\n\
.....##.#.......####....#\n\
#.###..##...##.##...#..#.\n\
###.#.##.##....#.#.######\n\
#.##.....##.#.#.#...#.#.#\n\
#.#...#..####.#######.##.\n\
........####....#...#..#.\n\
#######.##..###.#.#.##..#\n\
#.....#.##.#.####...#..##\n\
#.###.#.#..#.#.#######.##\n\
#.###.#.##..###.###..#.##\n\
#.###.#....#.#.###.##.###\n\
#.....#..#####.#..###.###\n\
#######.######..#.#..#..#\n\
";

fn modules() -> Vec<Vec<bool>> {
    CODE.lines().map(|row| row.chars().map(|c| c == '#').collect()).collect()
}

fn grey(scale: u32, dark: u8, light: u8) -> image::GrayImage {
    let rows = modules();
    let side = (rows.len() as u32 + 8) * scale;
    image::GrayImage::from_fn(side, side, |x, y| {
        let module = |v: u32| (v / scale).checked_sub(4).map(|v| v as usize);
        let on = module(x).zip(module(y)).and_then(|(x, y)| rows.get(y)?.get(x)).copied().unwrap_or(false);
        image::Luma([if on { dark } else { light }])
    })
}

fn encoded(picture: &image::GrayImage, format: image::ImageFormat) -> Vec<u8> {
    let mut out = Cursor::new(Vec::new());
    image::DynamicImage::from(picture.clone()).to_rgb8().write_to(&mut out, format).unwrap();
    out.into_inner()
}

#[test]
fn codes_are_read_in_every_format_and_as_text() {
    let policy = policy();
    let loaded = policy.open(None).unwrap();
    let examiner = Examiner::new(&loaded);
    let mut cases: Vec<(&str, &str, Vec<u8>)> = Vec::new();
    for format in [
        image::ImageFormat::Png,
        image::ImageFormat::Jpeg,
        image::ImageFormat::Gif,
        image::ImageFormat::Bmp,
        image::ImageFormat::WebP,
    ] {
        cases.push(("a.bin", "application/octet-stream", encoded(&grey(5, 0, 255), format)));
    }
    cases.push(("inverted.png", "image/png", encoded(&grey(5, 255, 0), image::ImageFormat::Png)));
    cases.push(("large.png", "image/png", encoded(&grey(40, 20, 230), image::ImageFormat::Png)));
    let rows = modules();
    let letters: String = rows
        .iter()
        .map(|r| r.iter().map(|on| if *on { "\u{2588}\u{2588}" } else { "  " }).collect::<String>() + "\n")
        .collect();
    cases.push(("a.txt", "text/plain; charset=utf-8", letters.into_bytes()));
    let cell = |on: &bool| if *on { "<td style='background:#000'>" } else { "<td>" };
    let table: String = rows.iter().map(|r| format!("<tr>{}</tr>", r.iter().map(cell).collect::<String>())).collect();
    cases.push(("a.html", "text/html", format!("<html><table>{table}</table></html>").into_bytes()));
    let squares = |write: &dyn Fn(usize, usize) -> String| -> String {
        let places =
            rows.iter().enumerate().flat_map(|(y, row)| row.iter().enumerate().map(move |(x, on)| (x, y, *on)));
        places.filter(|(_, _, on)| *on).map(|(x, y, _)| write(x, y)).collect()
    };
    let svg = |inside: String| {
        format!("<svg viewBox='0 0 33 33'><rect width='100%' height='100%' fill='#fff'/>{inside}</svg>")
    };
    let rects = squares(&|x, y| format!("<rect x='{}' y='{}' width='1' height='1'/>", x + 4, y + 4));
    cases.push(("rects.svg", "image/svg+xml", svg(rects.clone()).into_bytes()));
    let path = squares(&|x, y| format!("M{} {}h1v1h-1z", x + 4, y + 4));
    cases.push(("path.svg", "image/svg+xml", svg(format!("<path fill='#000' d='{path}'/>")).into_bytes()));
    let lines = squares(&|x, y| format!("M{} {}.5h1", x + 4, y + 4));
    cases.push(("lines.svg", "image/svg+xml", svg(format!("<path stroke='#000' d='{lines}'/>")).into_bytes()));
    cases.push(("inline.html", "text/html", format!("<html><p>pay</p>{}</html>", svg(rects)).into_bytes()));
    let exact = squares(&|x, y| format!("q 1 0 0 1 {} {} cm 0 0 3 3 re f Q\n", 100 + x * 3, 700 - y * 3));
    let page = |content: &str| {
        format!("%PDF-1.4\n1 0 obj<</Length {}>>stream\n{content}\nendstream endobj", content.len()).into_bytes()
    };
    cases.push(("drawn.pdf", "application/pdf", page(&exact)));
    for (name, declared, body) in cases {
        let facts = examine(&examiner, name, declared, &body);
        assert!(codes(&facts).contains(&"qr.url".to_owned()), "{name}: {:?}", codes(&facts));
        assert!(facts.urls.contains(&"http://bad.example/qr".to_owned()), "{name}: {:?}", facts.urls);
    }
}

#[test]
fn pictures_beyond_the_bounds_are_left_closed_and_said_so() {
    let policy = policy();
    let loaded = policy.open(None).unwrap();
    let examiner = Examiner::new(&loaded);
    // A PNG that claims 60,000 by 60,000 pixels.
    let mut huge = encoded(&grey(5, 0, 255), image::ImageFormat::Png);
    huge[16..24].copy_from_slice(&[0, 0, 0xEA, 0x60, 0, 0, 0xEA, 0x60]);
    let crc = crc32fast::hash(&huge[12..29]);
    huge[29..33].copy_from_slice(&crc.to_be_bytes());
    assert!(codes(&examine(&examiner, "a.png", "image/png", &huge)).contains(&"qr.limit".to_owned()));
    // A picture full of finder patterns, which cost a search the cube of their number.
    let crowd = image::GrayImage::from_fn(600, 600, |x, y| {
        let (x, y) = (x % 20 / 2, y % 20 / 2);
        let ring = x.min(6 - x.min(6)).min(y.min(6 - y.min(6)));
        let inside = x < 7 && y < 7;
        image::Luma([if inside && ring != 1 { 0 } else { 255 }])
    });
    let found = codes(&examine(&examiner, "a.png", "image/png", &encoded(&crowd, image::ImageFormat::Png)));
    assert!(found.contains(&"qr.crowded".to_owned()), "{found:?}");
    // An ordinary picture has nothing to say.
    let plain = image::GrayImage::from_fn(200, 200, |x, y| image::Luma([(x ^ y) as u8]));
    assert_eq!(codes(&examine(&examiner, "a.png", "image/png", &encoded(&plain, image::ImageFormat::Png))), [""; 0]);
}
