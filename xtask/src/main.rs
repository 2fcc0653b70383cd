//! Chores of the workspace: `cargo xtask TASK`.
//!
//! * `tidy`: the house rules that no compiler checks; `bench NAME…`: figures into BENCHMARKS.md; `dist`: the binary with
//!   its bill of materials and checksums.
//! * `hub FOLDER [PORT]`: serves `FOLDER/ORG/NAME` as the Hugging Face Hub would, until it is stopped.
//! * `callables [CACHE]`: `crates/scan/data/allowed.generated.txt` from the sources that `sources.txt` pins.
//! * `fuzz-pickle [--streams N] [--seed S] [--jobs J] [--python PYTHON]`: the pickle walker against CPython's unpicklers.
//! * `scan-sets DIR`: malicious and benign files to measure scanners with; `bench scan-sets` does so.
//! * `example-digits`: makes the data and the base model of `examples/digits`; `example-digits measure [SEEDS]` prints the
//!   figures that its README quotes.

#![forbid(unsafe_code)]

mod bench;
mod digits;
mod dist;
mod hub;
mod metadata;
mod pickles;
mod scan_sets;
mod tidy;

use std::{
    env,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."));
    let done = match words.as_slice() {
        ["example-digits", rest @ ..] => digits::run(root, rest),
        ["tidy"] => tidy::run(),
        ["bench", names @ ..] => bench::run(names),
        ["dist"] => dist::run(),
        ["hub", folder, rest @ ..] => hub::run(Path::new(folder), rest),
        ["callables", rest @ ..] => callables(root, rest.first().copied()),
        ["fuzz-pickle", rest @ ..] => pickles::run(rest),
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

/// Derives the generated allow-list from the pinned sources, which are kept in `cache`.
fn callables(root: &Path, cache: Option<&str>) -> anyhow::Result<()> {
    let cache = cache.map_or_else(|| root.join("target/callables"), PathBuf::from);
    let done = Command::new("python3").arg(root.join("crates/scan/tools/callables.py")).arg(cache).status()?;
    anyhow::ensure!(done.success(), "the sources could not be fetched or read");
    Ok(())
}

/// Talk goes to stderr.
#[expect(clippy::print_stderr, reason = "a chore talks to the person who started it")]
fn say(line: &str) {
    eprintln!("{line}");
}

const USAGE: &str = "usage: cargo xtask tidy | bench NAME… | dist | hub FOLDER [PORT] | callables [CACHE] | \
    fuzz-pickle [OPTION VALUE]… | scan-sets DIR | example-digits [measure [SEEDS]]";
