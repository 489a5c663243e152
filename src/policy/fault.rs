//! What can be wrong with one entry of a configuration file, and the sentence that says so, in two languages.

use crate::mail::Language;

/// The kinds of values TOML has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Text,
    Integer,
    Number,
    Bool,
    List,
    Table,
    Other,
}

impl Kind {
    const fn name(self, language: Language) -> &'static str {
        match (language, self) {
            (Language::En, Self::Text) => "text in quotes",
            (Language::En, Self::Integer) => "a whole number",
            (Language::En, Self::Number) => "a number",
            (Language::En, Self::Bool) => "true or false",
            (Language::En, Self::List) => "a list",
            (Language::En, Self::Table) => "a table",
            (Language::En, Self::Other) => "a date or a number that is too large",
            (Language::Vi, Self::Text) => "chữ trong dấu nháy",
            (Language::Vi, Self::Integer) => "số nguyên",
            (Language::Vi, Self::Number) => "số",
            (Language::Vi, Self::Bool) => "true hoặc false",
            (Language::Vi, Self::List) => "danh sách",
            (Language::Vi, Self::Table) => "bảng",
            (Language::Vi, Self::Other) => "ngày tháng hoặc số quá lớn",
        }
    }
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Fault {
    /// No setting has this name.
    Unknown { key: String, expected: &'static [&'static str] },
    /// A setting that has no default is not written.
    Missing { key: String },
    /// A value of another kind than the setting takes.
    Kind { wanted: Kind, found: Kind },
    /// One of a fixed set of words was expected.
    Choice { given: String, expected: &'static [&'static str] },
    /// A number that does not fit.
    Range { given: String, expected: String },
    /// The value's own type refused it and says why.
    Value { why: String },
}

impl Fault {
    /// Whether the key is to be shown rather than the value behind it.
    #[must_use]
    pub const fn is_about_the_key(&self) -> bool {
        matches!(self, Self::Unknown { .. })
    }

    /// The sentence, and what to do about it.
    #[must_use]
    pub fn sentence(&self, language: Language) -> (String, Option<String>) {
        let vi = language == Language::Vi;
        match self {
            Self::Unknown { key, expected } => (
                if vi {
                    format!("không có thiết lập nào tên \"{key}\" ở đây")
                } else {
                    format!("there is no setting \"{key}\" here")
                },
                Some(suggest(key, expected, language)),
            ),
            Self::Missing { key } => (
                if vi {
                    format!("thiếu thiết lập \"{key}\"")
                } else {
                    format!("the setting \"{key}\" is missing")
                },
                Some(if vi { format!("thêm dòng {key} = …") } else { format!("add a line {key} = …") }),
            ),
            Self::Kind { wanted, found } => (
                if vi {
                    format!("cần {}, nhưng ở đây là {}", wanted.name(language), found.name(language))
                } else {
                    format!("{} is expected here, this is {}", wanted.name(language), found.name(language))
                },
                kind_help(*wanted, *found, language),
            ),
            Self::Choice { given, expected } => (
                if vi {
                    format!("\"{given}\" không phải là một lựa chọn")
                } else {
                    format!("\"{given}\" is not one of the choices")
                },
                Some(suggest(given, expected, language)),
            ),
            Self::Range { given, expected } => (
                if vi {
                    format!("{given} nằm ngoài phạm vi (cần {expected})")
                } else {
                    format!("{given} is out of range ({expected} is expected)")
                },
                None,
            ),
            Self::Value { why } => (why.clone(), None),
        }
    }
}

fn kind_help(wanted: Kind, found: Kind, language: Language) -> Option<String> {
    let (vi, en) = match (wanted, found) {
        (Kind::Text, Kind::Integer | Kind::Number) => (
            "viết trong dấu nháy, kèm đơn vị nếu có: \"25 MiB\", \"30 min\"",
            "write it in quotes, with its unit where it has one: \"25 MiB\", \"30 min\"",
        ),
        (Kind::Integer | Kind::Number | Kind::Bool, Kind::Text) => ("bỏ dấu nháy", "leave out the quotes"),
        (Kind::List, Kind::Table) => ("dùng hai ngoặc vuông: [[tên]]", "use two brackets: [[name]]"),
        (Kind::Table, Kind::List) => ("dùng một ngoặc vuông: [tên]", "use one bracket: [name]"),
        (Kind::List, _) => ("viết trong ngoặc vuông: [\"…\"]", "write it in brackets: [\"…\"]"),
        _ => return None,
    };
    Some(if language == Language::Vi { vi } else { en }.to_owned())
}

/// "did you mean", or all the names there are.
#[must_use]
pub fn suggest(given: &str, expected: &[&str], language: Language) -> String {
    let vi = language == Language::Vi;
    match nearest(given, expected) {
        Some(name) if vi => format!("có phải ý bạn là \"{name}\"?"),
        Some(name) => format!("did you mean \"{name}\"?"),
        None if vi => format!("ở đây có: {}", expected.join(", ")),
        None => format!("there is: {}", expected.join(", ")),
    }
}

/// The name that is at most a third of its letters away; the first of the nearest.
#[must_use]
pub fn nearest<'a>(given: &str, names: &[&'a str]) -> Option<&'a str> {
    let plain = |text: &str| text.to_lowercase().replace(['-', ' '], "_");
    names
        .iter()
        .map(|name| (strsim::damerau_levenshtein(&plain(given), &plain(name)), *name))
        .filter(|(distance, name)| *distance <= (name.chars().count().max(given.chars().count()) / 3).max(1))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}
