//! From the settings of an engine to what it is asked through; every mistake with the key it stands under.

use regex::Regex;

use super::command::{Command, PRESETS};
use super::settings::{Engine as Settings, Kind};
use super::{Engine, avast, aveserver, avg, clamd, fprot, icap, klms, savapi, scanengine, sssp};
use crate::env::talk::Address;

/// What an engine is asked through.
#[derive(Debug)]
pub enum Door {
    Stream { address: Address, engine: Box<dyn Engine> },
    Command(Command),
}

/// A setting that cannot be used: its key, and one sentence in English and Vietnamese.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Wrong {
    pub key: &'static str,
    pub en: String,
    pub vi: String,
}

fn wrong(key: &'static str, en: impl Into<String>, vi: impl Into<String>) -> Wrong {
    Wrong { key, en: en.into(), vi: vi.into() }
}

impl Door {
    pub fn open(s: &Settings) -> Result<Self, Wrong> {
        if s.kind == Kind::Command {
            return command(s).map(Self::Command);
        }
        let address = Address::parse(&s.address).ok_or_else(|| {
            wrong(
                "address",
                format!("\"{}\" is no address of an engine: write host:port or unix:/path", s.address),
                format!("\"{}\" không phải địa chỉ: hãy viết máy:cổng hoặc unix:/đường/dẫn", s.address),
            )
        })?;
        let host = address.host().to_owned();
        let engine: Box<dyn Engine> = match s.kind {
            Kind::Clamd => Box::new(clamd::Clamd::default()),
            Kind::Icap => Box::new(icap::Icap::new(&host, if s.service.is_empty() { "avscan" } else { &s.service })),
            Kind::KasperskyAveserver => Box::new(aveserver::Aveserver),
            Kind::KasperskyKlms => Box::new(klms::Klms),
            Kind::KasperskyScanEngine => Box::new(scanengine::ScanEngine { host, timeout: s.timeout }),
            Kind::Avg => Box::new(avg::Avg),
            Kind::Sssp => Box::new(sssp::Sssp),
            Kind::Fprot => Box::new(fprot::Fprot),
            Kind::Savapi if s.product.is_empty() => {
                return Err(wrong(
                    "product",
                    "SAVAPI wants the product id of its licence",
                    "SAVAPI cần mã sản phẩm của giấy phép",
                ));
            }
            Kind::Savapi => Box::new(savapi::Savapi { product: s.product.clone() }),
            Kind::Avast | Kind::Command => Box::new(avast::Avast),
        };
        let plain = |text: &str| text.bytes().all(|b| b.is_ascii_graphic());
        for (key, text) in [("service", &s.service), ("product", &s.product)] {
            if !plain(text) {
                return Err(wrong(
                    key,
                    "blanks and letters with accents are not sent",
                    "không dùng dấu cách và chữ có dấu",
                ));
            }
        }
        Ok(Self::Stream { address, engine })
    }

    /// Whether the engine looks at a file instead of octets on a connection.
    #[must_use]
    pub fn reads_files(&self) -> bool {
        match self {
            Self::Stream { engine, .. } => engine.reads_files(),
            Self::Command(_) => true,
        }
    }
}

fn command(s: &Settings) -> Result<Command, Wrong> {
    let preset = match s.preset.as_str() {
        "" => None,
        name => Some(PRESETS.iter().find(|preset| preset.name == name).ok_or_else(|| {
            let known: Vec<&str> = PRESETS.iter().map(|preset| preset.name).collect();
            let known = known.join(", ");
            wrong(
                "preset",
                format!("there is no preset \"{name}\": {known}"),
                format!("không có mẫu \"{name}\": {known}"),
            )
        })?),
    };
    let words: Vec<String> = match preset {
        Some(preset) if s.command.is_empty() => preset.words.iter().map(|word| (*word).to_owned()).collect(),
        _ => s.command.clone(),
    };
    let program = words.first().map_or("", String::as_str);
    if !program.starts_with('/') {
        return Err(wrong(
            "command",
            "the first word is the program's whole path",
            "từ đầu tiên phải là đường dẫn đầy đủ",
        ));
    }
    if !words.iter().skip(1).any(|word| word.contains("{file}") || word.contains("{folder}")) {
        return Err(wrong("command", "no word holds {file} or {folder}", "thiếu {file} hoặc {folder}"));
    }
    let text = if s.pattern.is_empty() { preset.map_or("", |preset| preset.pattern) } else { &s.pattern };
    let pattern = (!text.is_empty()).then(|| Regex::new(text)).transpose().map_err(|error| {
        wrong("pattern", format!("the pattern cannot be read: {error}"), format!("không đọc được mẫu tìm: {error}"))
    })?;
    let codes = |own: &[i32], preset: Option<&'static [i32]>| {
        if own.is_empty() { preset.unwrap_or_default().to_vec() } else { own.to_vec() }
    };
    let clean = codes(&s.clean, preset.map(|preset| preset.clean));
    let infected = codes(&s.infected, preset.map(|preset| preset.infected));
    if clean.is_empty() || (infected.is_empty() && pattern.is_none()) {
        return Err(wrong(
            "clean",
            "it needs exit codes for clean, and for infected or a pattern",
            "cần mã thoát cho thư sạch, và cho thư nhiễm hoặc một mẫu tìm",
        ));
    }
    if let Some(code) = clean.iter().find(|code| infected.contains(code)) {
        return Err(wrong(
            "infected",
            format!("{code} cannot mean both"),
            format!("{code} không thể mang cả hai nghĩa"),
        ));
    }
    Ok(Command { words, clean, infected, pattern, user: s.user.clone() })
}
