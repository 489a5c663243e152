//! PowerPoint's record stream (MS-PPT §2.3.1): embedded objects and macro projects are compound files in records, often
//! compressed; actions of shapes can run programs.

use super::super::bytes::{slice, u16_at, u32_at, utf16};
use super::super::flate;
use super::super::report::{Found, Report};
use crate::inspect::checks::content::archive::Budget;

const RECORDS: usize = 200_000;
const OBJECTS: usize = 100;

pub fn open(data: &[u8], budget: &mut Budget, report: &mut Report<'_>) -> Vec<Found> {
    let (mut found, mut at) = (Vec::new(), 0);
    for _ in 0..RECORDS {
        let (Some(version), Some(kind), Some(size)) = (u16_at(data, at), u16_at(data, at + 2), u32_at(data, at + 4))
        else {
            break;
        };
        let body = slice(data, at + 8, size);
        // A container is its records: step inside. Anything else is passed over.
        let container = version & 0x0F == 0x0F;
        match kind {
            // ExOleObjStg, VbaProjectStg, ExControlStg
            0x1011 if found.len() < OBJECTS => {
                let name = format!("object {}", found.len() + 1);
                if version >> 4 == 1 {
                    let inner = flate::zlib(body.get(4..).unwrap_or_default(), budget, report);
                    found.extend(inner.map(|data| Found::stream(name, data)));
                } else if budget.take(body.len()) {
                    found.push(Found::stream(name, body));
                }
            }
            // InteractiveInfoAtom: action 2 runs a program, 1 a macro (§2.8.77).
            0x0FF3 if body.get(8) == Some(&2) => report.say("office.run-program", "a click on a shape runs a program"),
            // CString: targets of links.
            0x0FBA => {
                let text = utf16(slice(body, 0, 4096));
                report.links_in(&text);
            }
            _ => {}
        }
        at += if container { 8 } else { size.saturating_add(8) };
    }
    found
}
