//! Runs `opened::unix` on what the fuzzer invents.
#![no_main]

#[path = "../hook.rs"]
mod hook;
#[path = "../opened.rs"]
mod opened;

libfuzzer_sys::fuzz_target!(init: hook::ours_only(), |input: &[u8]| opened::unix(input));
