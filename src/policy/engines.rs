//! What `[[engine]]` and `[engines]` must be besides well written.

use super::file::File;
use super::files::Files;
use super::place::Place;
use crate::inspect::checks::net::engines::door::Door;
use crate::inspect::checks::net::engines::settings::Role;
use crate::mail::Problem;

/// Pushes every problem of the two sections.
pub(super) fn check(file: &File, root: &Place<'_>, files: &Files<'_>, problems: &mut Vec<Problem>) {
    let place = root.to("engine");
    for (i, engine) in file.engine.iter().enumerate() {
        let here = place.to(i);
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if engine.id.is_empty() || engine.id.len() > 40 || !engine.id.chars().all(plain) {
            problems.push(here.to("id").problem(
                "an id is made of letters, digits, '-', '_' and '.'",
                "id chỉ gồm chữ không dấu, chữ số, '-', '_' và '.'",
            ));
        }
        if file.engine.iter().take(i).any(|other| other.id == engine.id) {
            let id = &engine.id;
            problems.push(here.to("id").problem(
                format!("\"{id}\" is the id of an earlier [[engine]]"),
                format!("\"{id}\" đã là id của một [[engine]] ở trên"),
            ));
        }
        for (key, is_nothing) in [
            ("timeout", engine.timeout.is_zero()),
            ("connections", engine.connections == 0),
            ("largest", engine.largest.as_u64() == 0),
        ] {
            if is_nothing && here.to(key).is_sound() {
                problems
                    .push(here.to(key).problem(format!("{key} must be more than 0"), format!("{key} phải lớn hơn 0")));
            }
        }
        let mut engine = engine.clone();
        if !engine.tls_ca.as_os_str().is_empty() {
            engine.tls_ca = files.resolve(&engine.tls_ca);
        }
        if let Err(wrong) = Door::open(&engine)
            && here.to(wrong.key).is_sound()
        {
            problems.push(here.to(wrong.key).problem(wrong.en, wrong.vi));
        }
        limits(file, i, &here, problems);
    }
    if !file.engine.is_empty() && file.engine.iter().all(|engine| engine.role == Role::Backup) {
        problems.push(place.to(0).to("role").problem(
            "no engine is a primary: there is nothing to be a backup of",
            "không có động cơ chính nào để dự phòng",
        ));
    }
    let reads_files = |engine| Door::open(engine).is_ok_and(|door| door.reads_files());
    let folder = &file.engines.folder;
    if file.engine.iter().any(reads_files) && !files.disk().is_folder(folder) {
        let shown = folder.display();
        problems.push(root.to("engines").to("folder").problem(
            format!("{shown} is no folder: engines that read files need one"),
            format!("{shown} không phải thư mục: có động cơ cần đọc tệp"),
        ));
    }
}

/// What is allowed and odd: mail that the gateway takes and the engine is never shown, more waiting than there is time.
fn limits(file: &File, i: usize, here: &Place<'_>, problems: &mut Vec<Problem>) {
    let Some(engine) = file.engine.get(i) else { return };
    if engine.largest.as_u64() < file.limits.message.as_u64() {
        let (largest, message) = (engine.largest, file.limits.message);
        let problem = here.to("largest").problem(
            format!("messages between {largest} and [limits] message = {message} are not shown to this engine"),
            format!("thư từ {largest} đến [limits] message = {message} không được động cơ này quét"),
        );
        problems.push(problem.warning());
    }
    if engine.timeout > file.inspect.deadline {
        let (timeout, deadline) = (engine.timeout, file.inspect.deadline);
        let problem = here.to("timeout").problem(
            format!("{timeout} is longer than [inspect] deadline = {deadline}"),
            format!("{timeout} dài hơn [inspect] deadline = {deadline}"),
        );
        problems.push(problem.warning());
    }
}
