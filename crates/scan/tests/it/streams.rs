//! Streams that the comparison with CPython once found: each names what it must name, in whatever reading.
//!
//! `tests/streams/*.txt`: the stream, escaped as in Rust, then one `module name` a line that CPython resolves in it.

use std::{fs, path::Path, process::Command};

use ringfence_scan::names_in;

use crate::{advisories::unescaped, samples};

#[test]
fn names_that_cpython_resolves_are_found() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/streams");
    let mut count = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        let mut lines = text.lines();
        let found = names_in(&unescaped(lines.next().unwrap()), 4);
        for line in lines {
            let (module, name) = line.split_once(' ').unwrap();
            let is_there = found.names.iter().any(|known| known.0 == module && known.1 == name);
            assert!(is_there, "{} does not name {line}: {found:?}", path.display());
            count += 1;
        }
    }
    assert!(count >= 8, "the streams are there");
}

/// A verdict never depends on what is installed: without any environment, no Python in reach, it is the same.
#[test]
fn nothing_outside_is_asked() {
    let program = std::env::current_exe().unwrap();
    let run = |command: &mut Command| {
        let output = command.args(["--exact", "samples::samples_are_judged_as_expected"]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    };
    run(Command::new(&program).env_remove("BLESS"));
    run(Command::new(&program).env_clear().current_dir(samples::folder()));
    run(Command::new(&program).env_clear().env("PATH", "/nowhere").env("PYTHONPATH", samples::folder()));
}
