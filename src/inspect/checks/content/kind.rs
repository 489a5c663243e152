//! The true type of octets by their magic, as a media type. The sender's word for it does not count here.

use super::archive;

/// Octets that are a MIME entity of their own (an encoded multipart or message); set by the unpacker, not by magic.
pub const ENTITY: &str = "message/x-entity";
/// A mail message by its looks.
pub const MESSAGE: &str = "message/rfc822";

/// Magics at the start that matter here and that the general table does not know or names otherwise.
const STARTS: &[(&[u8], &str)] = &[
    (b"MZ", "application/x-msdownload"),
    (b"\x7fELF", "application/x-executable"),
    (b"\xca\xfe\xba\xbe", "application/java-vm"),
    (b"PK\x03\x04", "application/zip"),
    (b"PK\x05\x06", "application/zip"),
    (b"PK\x07\x08", "application/zip"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "application/x-ole-storage"),
    (b"Rar!\x1a\x07", "application/vnd.rar"),
    (b"7z\xbc\xaf\x27\x1c", "application/x-7z-compressed"),
    (b"\x1f\x8b", "application/gzip"),
    (b"BZh", "application/x-bzip2"),
    (b"\xfd7zXZ\0", "application/x-xz"),
    (b"\x28\xb5\x2f\xfd", "application/zstd"),
    (b"\x04\x22\x4d\x18", "application/x-lz4"),
    (b"\x02\x21\x4c\x18", "application/x-lz4"),
    (b"\x1f\x9d", "application/x-compress"),
    (b"LZIP\x01", "application/x-lzip"),
    (b"\x89LZO\0\r\n\x1a\n", "application/x-lzop"),
    (b"LRZI", "application/x-lrzip"),
    (b"GRZipII", "application/x-grzip"),
    (b"ALZ\x01", "application/x-alz"),
    (b"EGGA", "application/x-egg"),
    (b"ArC\x01", "application/x-freearc"),
    (b"hsqs", "application/x-squashfs"),
    (b"SZDD\x88\xf0\x27\x33", "application/x-ms-compress"),
    (b"KWAJ\x88\xf0\x27\xd1", "application/x-ms-kwaj"),
    (b"QED\0", "application/x-qemu-disk"),
    (b"WithoutFreeSpace", "application/x-parallels-disk"),
    (b"WithouFreSpacExt", "application/x-parallels-disk"),
    (b"!<arch>\n", "application/x-archive"),
    (b"\xed\xab\xee\xdb", "application/x-rpm"),
    (b"xar!\0", "application/x-xar"),
    (b"\x60\xea", "application/x-arj"),
    (b"conectix", "application/x-vhd"),
    (b"vhdxfile", "application/x-vhdx"),
    (b"KDMV", "application/x-vmdk"),
    (b"QFI\xfb", "application/x-qemu-disk"),
    (b"MSWIM\0\0\0", "application/x-wim"),
    (b"MSCF", "application/vnd.ms-cab-compressed"),
    (b"ITSF", "application/vnd.ms-htmlhelp"),
    (b"{\\rtf", "application/rtf"),
    (b"{\\rt", "application/rtf"),
    (b"%PDF-", "application/pdf"),
    (b"\x4c\0\0\0\x01\x14\x02\0", "application/x-ms-shortcut"),
    (b"\xe4\x52\x5c\x7b\x8c\xd8\xa7\x4d\xae\xb1\x53\x78\xd0\x29\x96\xd3", "application/onenote"),
    (b"\xa1\x2f\xff\x43\xd9\xef\x76\x4c\x9e\xe2\x10\xea\x57\x22\x76\x5f", "application/onenote"),
    (b"\x78\x9f\x3e\x22", "application/ms-tnef"),
    (b"#!", "text/x-script"),
    (b"-----BEGIN PGP MESSAGE", "application/pgp-encrypted"),
];

/// The media type by content; `application/octet-stream` or `text/plain` where no magic speaks.
#[must_use]
pub fn of(data: &[u8]) -> &'static str {
    if let Some((_, kind)) = STARTS.iter().find(|(magic, _)| data.starts_with(magic)) {
        return refine(data, kind);
    }
    if data.get(257..262) == Some(b"ustar") || archive::is_tar(data) {
        return "application/x-tar";
    }
    let head = data.get(..1024).unwrap_or(data);
    if let Some(kind) = disk_image(data) {
        return kind;
    }
    if archive::is_lha(data) {
        return "application/x-lzh";
    }
    if archive::is_cpio(data) {
        return "application/x-cpio";
    }
    if data.get(7..14) == Some(b"**ACE**") {
        return "application/x-ace";
    }
    if data.get(20..24) == Some(b"\xdc\xa7\xc4\xfd") {
        return "application/x-zoo";
    }
    if is_lzma(data) {
        return "application/x-lzma";
    }
    if memchr::memmem::find(head, b"%PDF-").is_some() {
        return "application/pdf";
    }
    if let Some(kind) = infer::get(head) {
        return kind.mime_type();
    }
    text(head)
}

/// What Windows mounts on a double click, and what other systems do.
fn disk_image(data: &[u8]) -> Option<&'static str> {
    let is = |at: usize, mark: &[u8]| data.get(at..at + mark.len()) == Some(mark);
    let tail = |length: usize, mark: &[u8]| data.len().checked_sub(length).is_some_and(|at| is(at, mark));
    if is(32_769, b"CD001") {
        return Some("application/x-iso9660-image");
    }
    if is(32_769, b"BEA01") || is(32_769, b"NSR0") {
        return Some("application/x-udf-image");
    }
    if tail(512, b"conectix") {
        return Some("application/x-vhd");
    }
    if tail(512, b"koly") {
        return Some("application/x-apple-diskimage");
    }
    if is(3, b"NTFS    ") {
        return Some("application/x-ntfs-image");
    }
    if is(3, b"EXFAT   ") {
        return Some("application/x-exfat-image");
    }
    if is(64, b"\x7f\x10\xda\xbe") {
        return Some("application/x-virtualbox-disk");
    }
    if is(1024, b"H+\0\x04") || is(1024, b"HX\0\x05") {
        return Some("application/x-hfs-image");
    }
    // The magic of ext2 to ext4, and a block of a size that there is.
    if is(1080, b"\x53\xef") && matches!(data.get(1048..1052), Some([0..=6, 0, 0, 0])) {
        return Some("application/x-ext-image");
    }
    if archive::is_fat(data) {
        return Some("application/x-fat-image");
    }
    archive::is_partitioned(data).then_some("application/x-disk-image")
}

/// The `.lzma` format has no magic, but its fields have few sensible values: properties that there are, a window of a
/// power of two or one and a half, a length that is unknown or below a terabyte, a first octet of zero (liblzma asks
/// for the same).
fn is_lzma(data: &[u8]) -> bool {
    let Some((&[0..225, a, b, c, d], rest)) = data.split_first_chunk::<5>() else { return false };
    let window = u32::from_le_bytes([a, b, c, d]);
    let usual = window >= 1 << 12 && (window.is_power_of_two() || (window / 3).is_power_of_two());
    let Some((length, stream)) = rest.split_first_chunk::<8>() else { return false };
    let length = u64::from_le_bytes(*length);
    usual && (length == u64::MAX || length < 1 << 40) && stream.first() == Some(&0)
}

fn refine(data: &[u8], kind: &'static str) -> &'static str {
    // Two letters are a weak magic: a DOS header has more.
    if kind == "application/x-msdownload" && data.len() < 64 {
        return text(data);
    }
    // Two octets are a weak magic: a header has a size that fits, and a type.
    if kind == "application/x-arj" && !matches!(data.get(2..5), Some([_, 0..=10, 30..=200])) {
        return text(data);
    }
    if kind == "application/x-bzip2" && !matches!(data.get(3..5), Some([b'1'..=b'9', 0x31 | 0x17])) {
        return text(data);
    }
    if kind != "application/zip" {
        return kind;
    }
    let head = data.get(..8192).unwrap_or(data);
    let has = |mark: &[u8]| memchr::memmem::find(head, mark).is_some();
    if has(b"[Content_Types].xml") {
        return "application/vnd.openxmlformats-officedocument";
    }
    if has(b"mimetypeapplication/vnd.oasis.opendocument") {
        return "application/vnd.oasis.opendocument";
    }
    if has(b"META-INF/MANIFEST.MF") {
        return "application/java-archive";
    }
    kind
}

/// Octets without magic: text when nothing in the first kilobyte speaks against it.
fn text(head: &[u8]) -> &'static str {
    let start = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head).trim_ascii_start();
    let lower = start.get(..start.len().min(64)).unwrap_or_default().to_ascii_lowercase();
    if lower.starts_with(b"<!doctype html") || lower.starts_with(b"<html") || lower.starts_with(b"<script") {
        return "text/html";
    }
    if lower.starts_with(b"<svg") {
        return "image/svg+xml";
    }
    if lower.starts_with(b"<?xml") {
        return "text/xml";
    }
    if [b"received:".as_slice(), b"return-path:", b"mime-version:", b"from:", b"subject:", b"delivered-to:"]
        .iter()
        .any(|field| lower.starts_with(field))
    {
        return MESSAGE;
    }
    let utf16 = head.starts_with(b"\xff\xfe") || head.starts_with(b"\xfe\xff");
    if utf16 || !head.contains(&0) { "text/plain" } else { "application/octet-stream" }
}

/// Programs for some machine or interpreter, by content.
#[must_use]
pub fn is_executable(kind: &str) -> bool {
    matches!(
        kind,
        "application/x-msdownload"
            | "application/vnd.microsoft.portable-executable"
            | "application/x-executable"
            | "application/java-vm"
            | "application/x-ms-shortcut"
            | "application/x-mach-binary"
            | "application/vnd.android.package-archive"
            | "application/x-msi"
    )
}

/// The type that a file name's last extension promises; empty where it promises nothing that matters here. Documents
/// and archives promise only that they are no program: Word opens pages and RTF under `.doc`, 7-Zip a rar under `.zip`.
#[must_use]
pub fn promised(extension: &str) -> &'static str {
    match extension {
        "bmp" | "gif" | "heic" | "ico" | "jfif" | "jpe" | "jpeg" | "jpg" | "png" | "tif" | "tiff" | "webp" => "image/*",
        "aac" | "avi" | "flac" | "m4a" | "mkv" | "mov" | "mp3" | "mp4" | "mpeg" | "mpg" | "ogg" | "wav" | "wma"
        | "wmv" => "audio/*",
        "pdf" => "application/pdf",
        "csv" | "doc" | "docx" | "eml" | "htm" | "html" | "json" | "log" | "md" | "odt" | "ods" | "ppt" | "pptx"
        | "rar" | "rtf" | "txt" | "xls" | "xlsx" | "xml" | "zip" | "7z" => "text/*",
        _ => "",
    }
}

/// The family that a declared type and a true type are compared by.
#[must_use]
pub fn family(kind: &str) -> &'static str {
    match kind {
        k if k.starts_with("image/svg") => "xml",
        k if k.starts_with("image/") => "image",
        k if k.starts_with("audio/") || k.starts_with("video/") => "media",
        "application/pdf" | "application/x-pdf" => "pdf",
        k if is_executable(k) => "program",
        k if k.starts_with("text/") => "text",
        _ => "other",
    }
}
