//! Runs `bodies::mime` on what the fuzzer invents.
#![no_main]

#[path = "../bodies.rs"]
mod bodies;

libfuzzer_sys::fuzz_target!(|input: &[u8]| bodies::mime(input));
