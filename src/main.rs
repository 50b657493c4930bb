//! The `cuelight` program: what the whole process needs, then the command line.

use std::io::{stderr, stdout};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

use cuelight::cli;

fn main() -> ExitCode {
    cli::prepare_process();
    let run = || cli::run(std::env::args_os(), &mut stdout(), &mut stderr());
    // The panic has been reported where it happened; the exit code says that it failed.
    ExitCode::from(catch_unwind(AssertUnwindSafe(run)).unwrap_or(cli::FAILED))
}
