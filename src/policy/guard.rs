//! What must be true of `[guard]` and `[events]`, told where it stands.

use super::file::File;
use super::place::Place;
use crate::guard::entry::{Point, faults};
use crate::guard::run::sink::check_collector;
use crate::mail::{Problem, Timestamp};

pub fn check(file: &File, root: &Place<'_>, now: Timestamp, problems: &mut Vec<Problem>) {
    for fault in faults(&file.guard, now) {
        let mut place = root.to("guard");
        for point in &fault.path {
            place = match point {
                Point::Key(key) => place.to(*key),
                Point::Index(index) => place.to(*index),
            };
        }
        if place.is_sound() {
            let problem = place.problem(fault.en, fault.vi);
            problems.push(if fault.is_warning { problem.warning() } else { problem });
        }
    }
    let place = root.to("events").to("syslog");
    if let Err(text) = check_collector(&file.events.syslog)
        && place.is_sound()
    {
        let vi = format!("\"{}\" không phải udp:ĐỊA_CHỈ:CỔNG hay unix:/ĐƯỜNG_DẪN", file.events.syslog);
        problems.push(place.problem(text, vi));
    }
}
