//! What `[deliver.internet]` must be besides well written: numbers that mean something, files that can be read.

use super::files::Files;
use super::place::Place;
use crate::deliver::settings::Internet;
use crate::mail::Problem;

/// Pushes every problem of the section.
pub(super) fn check(settings: &Internet, place: &Place<'_>, files: &Files<'_>, problems: &mut Vec<Problem>) {
    let numbers = [
        ("https_port", u64::from(settings.https_port)),
        ("concurrency", settings.concurrency as u64),
        ("messages", u64::from(settings.messages)),
    ];
    let entries = settings.destination.iter().enumerate().flat_map(|(i, entry)| {
        let here = place.to("destination").to(i);
        let numbers =
            [("concurrency", entry.concurrency.map(|n| n as u64)), ("messages", entry.messages.map(u64::from))];
        numbers.into_iter().filter_map(move |(key, value)| Some((here.to(key), key, value?)))
    });
    let all = numbers.into_iter().map(|(key, value)| (place.to(key), key, value)).chain(entries);
    for (spot, key, value) in all {
        if value == 0 && spot.is_sound() {
            problems.push(spot.problem(format!("{key} must be at least 1"), format!("{key} ít nhất phải là 1")));
        }
    }
    for (key, path) in [("roots", &settings.roots), ("trust_anchors", &settings.trust_anchors)] {
        if path.as_os_str().is_empty() || !place.to(key).is_sound() {
            continue;
        }
        let path = files.resolve(path);
        if let Err(error) = files.read(&path) {
            let shown = path.display();
            problems.push(
                place
                    .to(key)
                    .problem(format!("cannot read {shown}: {error}"), format!("không đọc được {shown}: {error}")),
            );
        }
    }
}
