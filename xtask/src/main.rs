//! Chores of the workspace: `cargo xtask TASK`.
//!
//! * `tidy`: the house rules that no compiler checks; `bench NAME…`: figures into BENCHMARKS.md; `dist`: the binary with
//!   its bill of materials and checksums.
//! * `scan-sets DIR`: malicious and benign files to measure scanners with; `bench scan-sets` does so.
//! * `example-digits`: makes the data and the base model of `examples/digits`; `example-digits measure [SEEDS]` prints the
//!   figures that its README quotes.

#![forbid(unsafe_code)]

mod bench;
mod digits;
mod dist;
mod scan_sets;
mod tidy;

use std::{env, path::Path, process::ExitCode};

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."));
    let done = match words.as_slice() {
        ["example-digits", rest @ ..] => digits::run(root, rest),
        ["tidy"] => tidy::run(),
        ["bench", names @ ..] => bench::run(names),
        ["dist"] => dist::run(),
        ["scan-sets", folder] => scan_sets::make(Path::new(folder)),
        ["help" | "--help"] => {
            say(USAGE);
            Ok(())
        }
        _ => {
            say(USAGE);
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// Talk goes to stderr.
#[expect(clippy::print_stderr, reason = "a chore talks to the person who started it")]
fn say(line: &str) {
    eprintln!("{line}");
}

const USAGE: &str = "usage: cargo xtask tidy | bench NAME… | dist | scan-sets DIR | example-digits [measure [SEEDS]]";
