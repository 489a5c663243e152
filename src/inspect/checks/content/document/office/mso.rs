//! ActiveMime (`editdata.mso`, `oledata.mso`): a compound file behind a header and zlib, as MHT and Word's XML carry
//! macros.

use super::super::flate;
use super::super::report::{Found, Report};
use crate::inspect::checks::content::Object;
use crate::inspect::checks::content::archive::Budget;

pub fn is_active_mime(object: &Object<'_>) -> bool {
    object.data.starts_with(b"ActiveMime")
}

/// The stream begins where a zlib header stands; its place differs between writers.
pub fn open_active_mime(object: &Object<'_>, budget: &mut Budget, report: &mut Report<'_>) -> Vec<Found> {
    let data = &object.data;
    let starts = (0x20..data.len().min(0x100)).filter(|at| data.get(*at) == Some(&0x78));
    for start in starts {
        let body = data.get(start..).unwrap_or_default();
        // RFC 1950 §2.2: the two octets are a multiple of 31.
        let check = body.get(1).map_or(1, |low| (0x78_u32 * 256 + u32::from(*low)) % 31);
        if check == 0
            && let Some(inner) = flate::zlib(body, budget, report)
        {
            return vec![Found::stream("project", inner)];
        }
    }
    report.unknown("office.malformed", "an ActiveMime part cannot be opened");
    Vec::new()
}
