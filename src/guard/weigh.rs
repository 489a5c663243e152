//! Facts to points, points to one of four bands.

use super::entry::Word;
use super::settings::{Action, Guard};

/// Whether the client's address has a name that leads back to it (iprev, RFC 8601 §3).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reverse {
    Confirmed,
    Missing,
    /// DNS did not answer, or was not asked: no points.
    Unknown,
}

/// Whether the sender is who it says, as far as SPF was asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Proof {
    Real,
    /// It is not, or nobody asked.
    None,
    /// DNS did not say: an entry that allows this sender could hold.
    Unknown,
}

/// What was found out about a client.
#[derive(Clone, PartialEq, Debug)]
pub struct Facts {
    pub reverse: Reverse,
    pub sane_helo: bool,
    /// Lists that have it: zone and points.
    pub listed: Vec<(String, f64)>,
}

/// How a client is treated.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Band {
    /// Not judged: an own machine, a relay client.
    Trusted,
    Clear,
    /// Greylisted and slowed.
    Suspect,
    /// Heard for postmaster@ and abuse@ only.
    Refused,
}

/// The judgement over one transaction's client and sender.
#[derive(Clone, PartialEq, Debug)]
pub struct Assessment {
    band: Band,
    points: f64,
    causes: Vec<String>,
    /// What would speak for it could not be asked.
    is_unheard: bool,
}

impl Assessment {
    #[must_use]
    pub const fn trusted() -> Self {
        Self { band: Band::Trusted, points: 0.0, causes: Vec::new(), is_unheard: false }
    }

    /// The operator's word outweighs all facts.
    #[must_use]
    pub fn by_word(word: Word) -> Self {
        let band = if word.action == Action::Allow { Band::Clear } else { Band::Refused };
        Self { band, points: 0.0, causes: vec![word.rule], is_unheard: false }
    }

    #[must_use]
    pub fn by_facts(s: &Guard, facts: &Facts) -> Self {
        let (mut points, mut causes) = (0.0, Vec::new());
        if facts.reverse == Reverse::Missing {
            points += s.no_reverse;
            causes.push("iprev".to_owned());
        }
        if !facts.sane_helo {
            points += s.bad_helo;
            causes.push("helo".to_owned());
        }
        for (zone, weight) in &facts.listed {
            points += weight;
            causes.push(format!("list:{zone}"));
        }
        let band = match points {
            p if p >= s.refuse => Band::Refused,
            p if p >= s.suspect => Band::Suspect,
            _ => Band::Clear,
        };
        Self { band, points, causes, is_unheard: false }
    }

    /// The same; and whether somebody who would speak for it could be asked at all.
    #[must_use]
    pub fn proven(self, proof: Proof) -> Self {
        Self { is_unheard: proof == Proof::Unknown, ..self }
    }

    /// Whether its refusal is for now only: trouble of DNS is no reason to send mail back.
    #[must_use]
    pub const fn is_unheard(&self) -> bool {
        self.is_unheard
    }

    #[must_use]
    pub const fn band(&self) -> Band {
        self.band
    }
    #[must_use]
    pub const fn points(&self) -> f64 {
        self.points
    }
    /// What led to it, for events and logs: `list:zen.example iprev`.
    #[must_use]
    pub fn rule(&self) -> String {
        self.causes.join(" ")
    }
}
