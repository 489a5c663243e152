//! Arguments, signals, exit code; hands everything to the library.

fn main() {}
