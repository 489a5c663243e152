//! Rules as data: files, conditions, one matcher a text surface, and arithmetic over what hit.
//!
//! An officer writes TOML ([`file`]); [`compile`] turns all files into one [`RuleSet`] or lists every problem at once.
//! In an inspector [`Surfaces`] reads a message and [`RuleSet::match_atoms`] says which conditions on content hold
//! (an *atom* is one such condition, numbered in file order, so both processes agree). The main process adds the
//! findings of other checks and computes which rules hit ([`RuleSet::evaluate`]): nothing waits for DNS in a cage.

pub mod compile;
pub mod condition;
pub mod evaluate;
pub mod feature;
pub mod file;
pub mod literal;
pub mod matcher;
pub mod place;
pub mod run;
pub mod sample;
pub mod surface;
#[cfg(test)]
mod tests;
pub mod text;

use serde::{Deserialize, Serialize};

pub use compile::{Rule, RuleSet};
pub use evaluate::{Facts, RuleHit};
pub use surface::{Outer, Surfaces};

/// How much a rule may do: be counted, add points that at most tag, or act in full.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    Shadow,
    Tag,
    #[default]
    Enforce,
}

impl Mode {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Shadow => "shadow",
            Self::Tag => "tag",
            Self::Enforce => "enforce",
        }
    }
}

/// One rules file: the name shown to people, and its text.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Source {
    pub name: String,
    pub text: String,
}

/// A text in the two languages of our users.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Words {
    pub vi: String,
    pub en: String,
}

impl Words {
    #[must_use]
    pub fn get(&self, language: crate::mail::Language) -> &str {
        match language {
            crate::mail::Language::Vi => &self.vi,
            crate::mail::Language::En => &self.en,
        }
    }
}
