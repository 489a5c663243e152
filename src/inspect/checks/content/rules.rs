//! Which conditions of the spam rules hold: patterns over the texts of a message. What follows from them is
//! arithmetic in the main process.

use super::{ContentCheck, View, document};
use crate::inspect::ContentFacts;
use crate::inspect::rules::{Outer, RuleSet, Surfaces};

/// Links out of documents that rules look at, all documents of a message together.
const INSIDE: usize = 500;

pub struct Rules<'p>(&'p RuleSet);

impl<'p> Rules<'p> {
    #[must_use]
    pub fn new(rules: &'p RuleSet) -> Self {
        rules.warm();
        Self(rules)
    }
}

impl ContentCheck for Rules<'_> {
    fn examine(&self, view: &View<'_>, facts: &mut ContentFacts) {
        let task = view.task;
        let sender = task.sender.mailbox().map(ToString::to_string).unwrap_or_default();
        let outer = Outer { sender: &sender, recipients: &task.recipients, helo: &task.helo, client: &task.client_ip };
        let inside = document::links(view.objects).take(INSIDE).map(str::to_owned).collect();
        let surfaces = Surfaces::with_links(view.raw, view.tree, &outer, inside);
        facts.atoms = self.0.match_atoms(&surfaces);
        facts.urls = surfaces.urls().to_vec();
    }
}
