//! What still counts while the emergency bypass is on (DOMAIN R48): relaying and the virus engines. Everything that the
//! content rules say, YARA among them, and all points are left aside, for a rule gone wild is a reason to switch it on.

use crate::inspect::{Case, Finding};

use super::{Mode, Weighed};

/// Stands in each receipt of that time.
pub const CODE: &str = "bypass.active";

/// Findings that still lead to an action: of the engines, which speak outside the cage; loops; and another's author on
/// our way out.
#[must_use]
pub fn kept(case: &Case) -> Vec<Finding> {
    let engine = |f: &&Finding| {
        let theirs = ["malware.", "engine."].iter().any(|prefix| f.code.starts_with(prefix));
        theirs && !case.content().findings.contains(f)
    };
    let relay = |f: &&Finding| f.code.starts_with("loop.") || f.code == "from.foreign-domain";
    case.findings().iter().filter(|f| engine(f) || relay(f)).cloned().collect()
}

/// A line of the receipt.
#[must_use]
pub fn line(code: &str, detail: &str) -> Weighed {
    Weighed { code: code.to_owned(), score: 0.0, mode: Mode::Enforce, detail: detail.to_owned(), source: String::new() }
}
