//! The `cuelight` program: what the whole process needs, then the command line.

use std::io::{IsTerminal, stderr, stdin, stdout};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

use cuelight::cli;

fn main() -> ExitCode {
    cli::prepare_process();
    let run = || {
        let mut input = stdin().lock();
        let mut streams = cli::Streams {
            out: &mut stdout(),
            err: &mut stderr(),
            input: match stdin().is_terminal() {
                true => cli::Input::Typed(&mut input),
                false => cli::Input::Piped(&mut input),
            },
            is_drawn: stderr().is_terminal(),
        };
        cli::run(std::env::args_os(), &mut streams)
    };
    // The panic has been reported where it happened; the exit code says that it failed.
    ExitCode::from(catch_unwind(AssertUnwindSafe(run)).unwrap_or(cli::FAILED))
}
