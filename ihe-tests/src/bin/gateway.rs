//! The `causeway` program under another name, for tests that start it and kill it: cargo builds the programs of the
//! package under test only.

use std::process::ExitCode;

fn main() -> ExitCode {
    causeway::cli::run()
}
