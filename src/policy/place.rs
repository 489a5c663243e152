//! A spot in a document while relations are checked: makes problems there, and knows whether the value that stands
//! there is really the operator's.

use super::tree::{Document, Step, Value};
use crate::mail::{Language, Problem};

/// Cheap to make and to step on from.
#[derive(Clone)]
pub struct Place<'a> {
    document: &'a Document,
    path: Vec<Step>,
    language: Language,
}

impl<'a> Place<'a> {
    #[must_use]
    pub const fn root(document: &'a Document, language: Language) -> Self {
        Self { document, path: Vec::new(), language }
    }

    /// One step further in.
    #[must_use]
    pub fn to(&self, step: impl Into<Step>) -> Self {
        let mut path = self.path.clone();
        path.push(step.into());
        Self { document: self.document, path, language: self.language }
    }

    #[must_use]
    pub const fn language(&self) -> Language {
        self.language
    }

    /// Whether the operator wrote something here.
    #[must_use]
    pub fn is_written(&self) -> bool {
        self.document.find(&self.path).is_some()
    }

    /// Whether what stands here (or the default for it) is what the operator meant: false when it was reported and
    /// taken out, or put in as a stand-in. Checks that would only repeat the first problem ask this.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        let Some((Step::Key(key), parents)) = self.path.split_last() else { return true };
        let Some(Value::Table(table)) = self.document.find(parents).map(|n| &n.value) else { return true };
        !table.reported.contains(key) && table.entry(key).is_none_or(|e| e.stand_in.is_none())
    }

    /// A problem here, in the operator's language.
    #[must_use]
    pub fn problem(&self, en: impl Into<String>, vi: impl Into<String>) -> Problem {
        self.document.problem_at(&self.path, self.say(en, vi))
    }

    /// The sentence in the operator's language.
    #[must_use]
    pub fn say(&self, en: impl Into<String>, vi: impl Into<String>) -> String {
        match self.language {
            Language::En => en.into(),
            Language::Vi => vi.into(),
        }
    }
}
