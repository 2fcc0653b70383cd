//! The command `ringfence`: flags in, results out. Every rule is the engine's.
//!
//! [`args`] is what was typed, [`command`] does it, [`output`] and [`progress`] show it, [`hint`] says what to do about an
//! error. Exit codes are those of `ringfence --help`.

#![forbid(unsafe_code)]

use std::{
    env,
    ffi::OsStr,
    panic::{self, AssertUnwindSafe},
    process::ExitCode,
};

use clap::FromArgMatches as _;
use ringfence_engine::ExitClass;

mod args;
mod command;
mod hint;
mod output;
mod place;
mod progress;
mod session;

fn main() -> ExitCode {
    // A broken assumption of our own stops the program, in the words and with the exit code of every other failure.
    panic::set_hook(Box::new(|panic| hint::report_panic(&panic.to_string())));
    panic::catch_unwind(AssertUnwindSafe(work)).unwrap_or(ExitCode::from(ExitClass::Incomplete as u8))
}

fn work() -> ExitCode {
    // Keyless children come first: no flag, configuration, vault or terminal concerns them.
    match env::args_os().nth(1).as_deref().and_then(OsStr::to_str) {
        Some("__worker") => return ExitCode::from(ringfence_engine::worker_main() as u8),
        Some("__forward") => {
            let library = env::args_os().nth(2).unwrap_or_default();
            return ExitCode::from(ringfence_engine::forward_main(library.as_ref()) as u8);
        }
        Some("__supervise") => return ringfence_engine::supervisor_main(),
        Some("__drill") => {
            let given: Vec<String> = env::args_os().skip(2).map(|word| word.to_string_lossy().into_owned()).collect();
            let (name, arguments) = given.split_first().map_or(("", &[][..]), |(name, rest)| (name.as_str(), rest));
            return ringfence_engine::drill_main(name, arguments);
        }
        _ => {}
    }
    let parsed = args::command().try_get_matches().and_then(|matches| args::Cli::from_arg_matches(&matches));
    let class = match parsed {
        Ok(cli) => {
            let printer = output::Printer::new(cli.format, cli.quiet);
            let done = ringfence_engine::no_core_dumps().and_then(|()| command::execute(cli, printer));
            done.unwrap_or_else(|error| {
                hint::report(printer.format, &error);
                error.exit_class()
            })
        }
        // Help and version are no errors; everything else is usage.
        Err(error) if error.use_stderr() => {
            hint::report_usage(&error);
            ExitClass::Usage
        }
        Err(help) => {
            // Nobody is left to read from a closed pipe.
            let _ = help.print();
            ExitClass::Done
        }
    };
    ExitCode::from(class as u8)
}
