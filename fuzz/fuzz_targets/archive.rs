//! Runs `archive::archive` on what the fuzzer invents.
#![no_main]

#[path = "../archive.rs"]
mod archive;

libfuzzer_sys::fuzz_target!(|input: &[u8]| archive::archive(input));
