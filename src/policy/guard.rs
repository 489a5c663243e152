//! What must be true of `[guard]`, `[events]` and `[limits.stress]`, told where it stands.

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
    stress(file, &root.to("limits").to("stress"), problems);
    let place = root.to("events").to("syslog");
    if let Err(text) = check_collector(&file.events.syslog)
        && place.is_sound()
    {
        let vi =
            format!("\"{}\" không phải udp:ĐỊA_CHỈ:CỔNG, tcp:ĐỊA_CHỈ:CỔNG hay unix:/ĐƯỜNG_DẪN", file.events.syslog);
        problems.push(place.problem(text, vi));
    }
}

fn stress(file: &File, place: &Place<'_>, problems: &mut Vec<Problem>) {
    let s = &file.limits.stress;
    let mut faulty = |key: &'static str, wrong: bool, en: &str, vi: &str| {
        if wrong && place.to(key).is_sound() {
            problems.push(place.to(key).problem(en.to_owned(), vi.to_owned()));
        }
    };
    faulty("enter", s.enter > 100, "enter is a percentage: 100 at most", "enter là phần trăm: tối đa 100");
    let (en, vi) = (
        "leave must be less than enter, or stress never ends",
        "leave phải nhỏ hơn enter, nếu không sẽ không bao giờ thôi",
    );
    faulty("leave", s.enter > 0 && s.leave >= s.enter, en, vi);
    let least = [
        ("command_timeout", s.command_timeout.is_zero()),
        ("idle", s.idle.is_zero()),
        ("errors", s.errors == 0),
        ("junk_commands", s.junk_commands == 0),
        ("connections_per_address", s.connections_per_address == 0),
    ];
    for (key, wrong) in least {
        faulty(key, wrong, &format!("{key} must be more than 0"), &format!("{key} phải lớn hơn 0"));
    }
}
