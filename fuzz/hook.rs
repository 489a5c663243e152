//! What ends a fuzzing run: a panic in our code. One in a crate of other people's making, which the room that uses the
//! crate has caught, is told and costs its file only (THREATS, section 0).

/// To be called once, before the first input.
pub fn ours_only() {
    let stop = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let foreign = panic.location().is_some_and(|place| place.file().contains("/registry/src/"));
        if foreign {
            eprintln!("caught: {panic}");
        } else {
            stop(panic);
        }
    }));
}
