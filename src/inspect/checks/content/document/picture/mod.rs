//! QR codes in pictures: a link that people follow with their own telephone, past every gateway (THREATS H-02).
//!
//! Pictures are measured before they are decoded, small ones and the pixels of a whole message are bounded, and a
//! picture that is crowded with finder patterns is left alone: looking for a code among them takes time that grows with
//! their cube.

mod crowd;
mod drawn;
#[cfg(test)]
mod tests;
mod vector;

use std::io::Cursor;
use std::panic::{AssertUnwindSafe, catch_unwind};

use image::{ImageFormat, ImageReader, Limits};
use rxing::common::HybridBinarizer;
use rxing::multi::MultipleBarcodeReader;
use rxing::multi::qrcode::QRCodeMultiReader;
use rxing::{BinaryBitmap, DecodeHints, Luma8LuminanceSource};

use super::report::{Found, Report};
use crate::inspect::checks::content::Object;
use crate::inspect::checks::content::archive::Budget;

pub use drawn::{is_drawn, open as drawn};
pub use vector::{Shape, is_vector, open as vector, search};

/// Pixels of one picture, and its sides: a code needs 21 modules.
const PIXELS: usize = 8_000_000;
const SIDE: u32 = 20;
/// Above this a picture is looked at in half its size first: codes are made to be seen from afar.
const LARGE: usize = 1_000_000;
/// Memory for decoding one picture.
const MEMORY: u64 = 96 << 20;
/// Codes of one picture.
const CODES: usize = 20;

/// Grey levels, row by row.
pub struct Grey {
    pub width: usize,
    pub height: usize,
    pub pixels: Vec<u8>,
}

fn format(object: &Object<'_>) -> Option<ImageFormat> {
    Some(match object.data.get(..12)? {
        [0x89, b'P', b'N', b'G', ..] => ImageFormat::Png,
        [0xFF, 0xD8, 0xFF, ..] => ImageFormat::Jpeg,
        [b'G', b'I', b'F', b'8', ..] => ImageFormat::Gif,
        [b'B', b'M', ..] if object.kind == "image/bmp" => ImageFormat::Bmp,
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P'] => ImageFormat::WebP,
        _ => return None,
    })
}

/// A portable map, as the reader of PDF hands pictures on.
fn is_map(object: &Object<'_>) -> bool {
    object.data.starts_with(b"P5\n")
}

pub fn is_picture(object: &Object<'_>) -> bool {
    is_map(object) || format(object).is_some()
}

pub fn open(object: &Object<'_>, budget: &mut Budget, report: &mut Report<'_>) -> Vec<Found> {
    let grey = if is_map(object) { map(&object.data) } else { decode(object, budget, report) };
    if let Some(grey) = grey {
        look(grey, budget, report);
    }
    Vec::new()
}

/// Decodes a picture whose measures fit; the first frame of one that moves.
fn decode(object: &Object<'_>, budget: &Budget, report: &mut Report<'_>) -> Option<Grey> {
    let reader = || ImageReader::with_format(Cursor::new(&*object.data), format(object).unwrap_or(ImageFormat::Png));
    let (width, height) = caught(|| reader().into_dimensions().ok())??;
    let pixels = usize::try_from(u64::from(width) * u64::from(height)).unwrap_or(usize::MAX);
    if width < SIDE || height < SIDE {
        return None;
    }
    if pixels > PIXELS || !budget.has_pixels(pixels) {
        report.say("qr.limit", format!("{width} by {height} pixels were not searched for codes"));
        return None;
    }
    let picture = caught(|| {
        let mut reader = reader();
        let mut limits = Limits::default();
        limits.max_alloc = Some(MEMORY);
        reader.limits(limits);
        reader.decode().ok()
    })??;
    // A code drawn in what is transparent shows on white.
    let rgba = picture.into_luma_alpha8();
    let shade = |p: &image::LumaA<u8>| {
        let [level, alpha] = p.0;
        let (level, alpha) = (u32::from(level), u32::from(alpha));
        u8::try_from((level * alpha + 255 * (255 - alpha)) / 255).unwrap_or(255)
    };
    Some(Grey {
        width: usize::try_from(width).ok()?,
        height: usize::try_from(height).ok()?,
        pixels: rgba.pixels().map(shade).collect(),
    })
}

fn map(data: &[u8]) -> Option<Grey> {
    let mut lines = data.splitn(4, |b| *b == b'\n');
    let size = String::from_utf8_lossy(lines.nth(1)?).into_owned();
    let pixels = lines.nth(1)?;
    let (width, height) = size.split_once(' ')?;
    let (width, height) = (width.parse::<usize>().ok()?, height.parse::<usize>().ok()?);
    (pixels.len() == width.checked_mul(height)?).then(|| Grey { width, height, pixels: pixels.to_vec() })
}

/// Finds the codes of a picture: in half its size when it is large, as it is, and with light and dark exchanged.
pub fn look(grey: Grey, budget: &mut Budget, report: &mut Report<'_>) {
    let area = grey.width.saturating_mul(grey.height);
    if area > PIXELS || !budget.take_pixels(area) {
        report.say("qr.limit", format!("{} by {} pixels were not searched for codes", grey.width, grey.height));
        return;
    }
    let mut texts = Vec::new();
    if area > LARGE {
        texts = codes(&half(&grey), report);
    }
    if texts.is_empty() {
        texts = codes(&grey, report);
    }
    if texts.is_empty() {
        let pixels = grey.pixels.iter().map(|p| 255 - p).collect();
        texts = codes(&Grey { pixels, ..grey }, report);
    }
    texts.truncate(CODES);
    for text in texts {
        tell(&text, report);
    }
}

fn tell(text: &str, report: &mut Report<'_>) {
    let lower = text.trim().to_ascii_lowercase();
    report.links_in(text);
    if lower.starts_with("http") || lower.contains("://") || lower.starts_with("www.") {
        report.link(text.trim());
        report.say("qr.url", format!("shows a QR code that leads to {text}"));
    } else {
        report.say("qr.text", format!("shows a QR code: {text}"));
    }
}

/// The texts of all codes in one picture.
fn codes(grey: &Grey, report: &mut Report<'_>) -> Vec<String> {
    let (Ok(width), Ok(height)) = (u32::try_from(grey.width), u32::try_from(grey.height)) else { return Vec::new() };
    let found = caught(|| {
        let Ok(source) = Luma8LuminanceSource::new(grey.pixels.clone(), width, height) else { return Ok(Vec::new()) };
        let mut bitmap = BinaryBitmap::new(HybridBinarizer::new(source));
        let black = bitmap.get_black_matrix();
        let is_black =
            |x: usize, y: usize| u32::try_from(x).ok().zip(u32::try_from(y).ok()).is_some_and(|(x, y)| black.get(x, y));
        if crowd::is_crowded(grey.width, grey.height, is_black) {
            return Err(());
        }
        let hints = DecodeHints { TryHarder: Some(true), ..DecodeHints::default() };
        let read = QRCodeMultiReader::new().decode_multiple_with_hints(&mut bitmap, &hints);
        Ok(read.map(|codes| codes.iter().map(|c| c.getText().to_owned()).collect::<Vec<String>>()).unwrap_or_default())
    });
    match found {
        Some(Ok(texts)) => texts,
        Some(Err(())) => {
            report.say("qr.crowded", "is full of finder patterns of QR codes: it was not read");
            Vec::new()
        }
        None => Vec::new(),
    }
}

/// Every second pixel of every second row, each the mean of four.
fn half(grey: &Grey) -> Grey {
    let (width, height) = (grey.width / 2, grey.height / 2);
    let at = |x: usize, y: usize| u32::from(grey.pixels.get(y * grey.width + x).copied().unwrap_or(255));
    let mean = |x: usize, y: usize| (at(x, y) + at(x + 1, y) + at(x, y + 1) + at(x + 1, y + 1)) / 4;
    let pixels = (0..height).flat_map(|y| (0..width).map(move |x| (x, y)));
    let pixels = pixels.map(|(x, y)| u8::try_from(mean(2 * x, 2 * y)).unwrap_or(255)).collect();
    Grey { width, height, pixels }
}

/// A panic in a decoder costs its picture, not the message.
fn caught<T>(work: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(work)).ok()
}
