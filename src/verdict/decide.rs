//! One action per recipient group; the only maker of Judged.
use super::Judged;
use crate::inspect::Case;
pub fn judge(_case: Case, _policy: &super::settings::Policy) -> Judged {
    unimplemented!()
}
