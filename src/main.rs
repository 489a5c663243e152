//! Arguments, signals, exit code; hands everything to the library.

fn main() -> std::process::ExitCode {
    luytre::cli::main()
}
