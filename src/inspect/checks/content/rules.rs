//! Which conditions of the spam rules hold: patterns over the texts of a message. What follows from them is
//! arithmetic in the main process.

use super::{ContentCheck, View};
use crate::inspect::ContentFacts;
use crate::inspect::rules::{Outer, RuleSet, Surfaces};

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
        let surfaces = Surfaces::from_tree(view.raw, view.tree, &outer);
        facts.atoms = self.0.match_atoms(&surfaces);
        facts.urls = surfaces.urls().to_vec();
    }
}
