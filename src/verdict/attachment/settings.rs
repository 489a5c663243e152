//! `[attachments]`: rules about single parts, and the set that is in force where nothing is written.

use serde::{Deserialize, Serialize};

use crate::mail::ByteSize;
use crate::verdict::Action;

/// `[attachments]`; an agency puts rules of its own before these.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Attachments {
    /// true: nothing is done, but it is said what would be.
    pub observe: bool,
    pub rule: Vec<Rule>,
}

/// One rule. Everything that is written must hold of the same part; of a list, one thing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rule {
    /// Lower case, digits and hyphens: it stands in receipts as `policy.NAME`.
    pub name: String,
    pub direction: Direction,
    /// What the part is, by content and name.
    pub is: Vec<Trait>,
    /// True types, `application/pdf` or `image/*`.
    #[serde(rename = "type")]
    pub types: Vec<String>,
    /// File names without regard to case: `*` any letters, `?` one.
    pub names: Vec<String>,
    /// Findings about the part, or the beginning of their codes.
    pub findings: Vec<String>,
    /// Digests of parts, hexadecimal: known files.
    pub sha256: Vec<String>,
    pub inside: Inside,
    /// The part is larger.
    pub larger: Option<ByteSize>,
    /// The message has more named parts than this, members of archives not counted.
    pub more_than: Option<u32>,
    pub action: Do,
    /// As `observe` above, for this rule.
    pub observe: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    #[default]
    Any,
    In,
    Out,
}

/// Where the part lies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Inside {
    #[default]
    Any,
    /// In an archive or another container.
    Archive,
    /// In the message itself.
    Message,
}

/// What a part is found to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Trait {
    /// A program, by content or name.
    Program,
    Script,
    Shortcut,
    /// ISO, IMG, VHD: what lies inside carries no mark of the Internet.
    DiskImage,
    Macro,
    Encrypted,
    /// Declared as something that it is not.
    Mismatch,
    /// `invoice.pdf.exe`, or a name that turns the direction of its letters.
    Disguised,
    /// Acts when it is opened: DDE, remote templates, JavaScript or launching in PDF, smuggling HTML.
    Active,
    /// Could not be looked into.
    Unopened,
}

impl Trait {
    /// The findings that tell it.
    #[must_use]
    pub const fn codes(self) -> &'static [&'static str] {
        match self {
            Self::Program => &["attachment.executable", "name.blocked-extension"],
            Self::Script => &["attachment.script"],
            Self::Shortcut => &["attachment.shortcut"],
            Self::DiskImage => &["attachment.disk-image"],
            Self::Macro => &["macro"],
            Self::Encrypted => &["archive.encrypted", "archive.password_in_text", "office.encrypted", "pdf.encrypted"],
            Self::Mismatch => &["attachment.type-mismatch"],
            Self::Disguised => &["attachment.disguised", "attachment.rlo-name"],
            Self::Active => &[
                "office.dde",
                "office.external-template",
                "office.package-program",
                "office.run-program",
                "pdf.javascript",
                "pdf.launch",
                "pdf.embedded-program",
                "html.smuggling",
                "html.local-program",
                "link.command",
                "svg.active",
            ],
            Self::Unopened => {
                &["archive.unsupported", "archive.volume", "archive.bomb", "archive.limit", "unpack.limit"]
            }
        }
    }
}

/// What is done, from mildest to strictest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Do {
    /// Nothing, and no later rule looks at this part.
    #[default]
    Deliver,
    Tag,
    /// The part gives way to a notice; the original is held.
    Strip,
    Quarantine,
    Reject,
}

impl Do {
    #[must_use]
    pub const fn action(self) -> Action {
        match self {
            Self::Deliver => Action::Deliver,
            Self::Tag | Self::Strip => Action::Tag,
            Self::Quarantine => Action::Quarantine,
            Self::Reject => Action::Reject,
        }
    }
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Deliver => "deliver",
            Self::Tag => "tag",
            Self::Strip => "strip",
            Self::Quarantine => "quarantine",
            Self::Reject => "reject",
        }
    }
}

impl Default for Attachments {
    /// What offices here never send each other on purpose is held; what they do send, and attackers too, is only
    /// watched until somebody has looked at the figures (DOMAIN R15).
    fn default() -> Self {
        let rule = |name: &str, is: &[Trait], direction, action, observe| Rule {
            name: name.to_owned(),
            is: is.to_vec(),
            direction,
            action,
            observe,
            ..Rule::default()
        };
        Self {
            observe: false,
            rule: vec![
                rule(
                    "programs",
                    &[Trait::Program, Trait::Script, Trait::Shortcut],
                    Direction::Any,
                    Do::Quarantine,
                    false,
                ),
                rule("disk-images", &[Trait::DiskImage], Direction::Any, Do::Quarantine, false),
                rule("disguised", &[Trait::Disguised], Direction::Any, Do::Quarantine, false),
                rule("macros", &[Trait::Macro], Direction::In, Do::Quarantine, true),
                rule("encrypted", &[Trait::Encrypted], Direction::In, Do::Quarantine, true),
                rule("mismatch", &[Trait::Mismatch], Direction::In, Do::Quarantine, true),
            ],
        }
    }
}
