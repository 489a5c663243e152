//! File names in one normal form, and what a name says by itself (THREATS M-08).
//! Windows decides by the last extension after it has dropped trailing dots and blanks; so do we.

use unicode_normalization::UnicodeNormalization;

/// Extensions that a mail client or Windows runs, opens with a script host, or mounts.
const PROGRAMS: &[&str] = &[
    "ade",
    "adp",
    "apk",
    "app",
    "appx",
    "appxbundle",
    "bat",
    "cab",
    "chm",
    "cmd",
    "com",
    "cpl",
    "dll",
    "diagcab",
    "dmg",
    "ex",
    "ex_",
    "exe",
    "gadget",
    "hlp",
    "hta",
    "img",
    "inf",
    "ins",
    "isp",
    "iso",
    "jar",
    "jnlp",
    "js",
    "jse",
    "lib",
    "lnk",
    "mde",
    "msc",
    "msi",
    "msix",
    "msp",
    "mst",
    "nsh",
    "one",
    "onepkg",
    "pif",
    "pl",
    "ps1",
    "ps1xml",
    "ps2",
    "psc1",
    "psm1",
    "py",
    "pyw",
    "reg",
    "scf",
    "scr",
    "sct",
    "settingcontent-ms",
    "sh",
    "shb",
    "sys",
    "url",
    "vb",
    "vbe",
    "vbs",
    "vhd",
    "vhdx",
    "vxd",
    "wsc",
    "wsf",
    "wsh",
    "xll",
    "xbap",
];
/// Of these, the ones whose content is text for an interpreter.
const SCRIPTS: &[&str] = &[
    "bat", "cmd", "hta", "js", "jse", "pl", "ps1", "ps1xml", "ps2", "psc1", "psm1", "py", "pyw", "reg", "scf", "sct",
    "sh", "url", "vb", "vbe", "vbs", "wsc", "wsf", "wsh",
];
/// Extensions that people take for harmless: the bait in `invoice.pdf.exe`.
const DOCUMENTS: &[&str] = &[
    "avi", "bmp", "csv", "doc", "docx", "gif", "htm", "html", "jpeg", "jpg", "mp3", "mp4", "odt", "pdf", "png", "ppt",
    "pptx", "rtf", "tif", "tiff", "txt", "xls", "xlsx", "xml", "zip", "rar",
];

/// A name as it is judged.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Name {
    /// NFKC, no controls, bidi or zero-width characters, cut at NUL, last path part, no trailing dots and blanks.
    pub text: String,
    /// Lower case, without dot; empty when there is none.
    pub extension: String,
    /// The extension before the last one.
    pub inner: String,
    pub bidi: bool,
    pub control: bool,
    /// Directory parts were in it.
    pub has_path: bool,
    /// Characters that a shell would act on (class of CVE-2023-2868).
    pub shell: bool,
}

/// Characters that change the order or are not seen.
const fn is_hidden(c: char) -> bool {
    matches!(
        c,
        '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}' | '\u{061c}' | '\u{00ad}'
    )
}

const fn is_bidi(c: char) -> bool {
    matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

impl Name {
    #[must_use]
    pub fn read(raw: &str) -> Self {
        let upto_nul = raw.split('\0').next().unwrap_or_default();
        let clean: String = upto_nul.nfkc().filter(|c| !c.is_control() && !is_hidden(*c)).collect();
        let last = clean.rsplit(['/', '\\']).find(|part| !part.trim_matches(['.', ' ']).is_empty()).unwrap_or_default();
        // NTFS: what follows a colon names a stream of the file.
        let stem = last.split(':').find(|p| p.contains('.')).unwrap_or(last);
        let text = stem.trim().trim_end_matches(['.', ' ']).trim().to_owned();
        let mut pieces = text.rsplit('.').map(|p| p.trim().to_lowercase());
        let (last, before) = (pieces.next().unwrap_or_default(), pieces.next());
        let extension = if before.is_some() { last } else { String::new() };
        let inner = if pieces.next().is_some() { before.unwrap_or_default() } else { String::new() };
        Self {
            extension,
            inner,
            bidi: raw.chars().any(is_bidi),
            control: raw.chars().any(char::is_control),
            has_path: clean.contains('/') || clean.contains('\\'),
            shell: raw.contains(['`', '|', '$', ';', '&', '<', '>']) && !text.is_empty(),
            text,
        }
    }

    #[must_use]
    pub fn is_program(&self) -> bool {
        PROGRAMS.contains(&self.extension.as_str())
    }
    #[must_use]
    pub fn is_script(&self) -> bool {
        SCRIPTS.contains(&self.extension.as_str())
    }
    /// `invoice.pdf.exe`
    #[must_use]
    pub fn is_double(&self) -> bool {
        self.is_program() && DOCUMENTS.contains(&self.inner.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// THREATS M-08: every disguise of `a.exe` ends in one form.
    #[test]
    fn disguised_names_are_seen_through() {
        for raw in [
            "a.exe",
            "a.EXE",
            "a.exe. .",
            "a\u{200b}.ex\u{200d}e",
            "gpj.\u{202e}a.exe",
            "../../a.exe",
            "C:\\x\\a.exe",
            "a.exe\0.txt",
            "a.exe:stream",
            "a．ｅｘｅ",
            "a. exe",
            " a.exe\r\n",
        ] {
            let name = Name::read(raw);
            assert!(name.is_program(), "{raw:?} {name:?}");
        }
        assert!(Name::read("báo cáo.pdf.scr").is_double());
        assert!(!Name::read("v1.2.pdf").is_program());
        assert_eq!(Name::read("exe").extension, "");
    }
}
