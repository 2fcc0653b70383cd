//! Colour, silence, closed pipes, interruption.

use std::{
    io::{BufRead as _, BufReader, Read as _},
    os::unix::process::{CommandExt as _, ExitStatusExt as _},
    process::Stdio,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::{
    crash::{Watched, small_plan},
    home::{Home, small_table},
};

#[test]
fn colour_is_asked_for_or_not_there() {
    let home = Home::new();
    home.write("notes.txt", "a text\n");
    let scan = |variables: &[(&str, &str)]| {
        let mut command = home.command(&["scan", "notes.txt"]);
        command.envs(variables.iter().copied());
        home.done(command).exits(0).out().contains('\u{1b}')
    };
    assert!(!scan(&[]));
    assert!(scan(&[("CLICOLOR_FORCE", "1")]));
    assert!(!scan(&[("CLICOLOR_FORCE", "0")]));
    assert!(!scan(&[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")]));
    let mut plain = home.command(&["scan", "notes.txt", "--format", "plain"]);
    plain.env("CLICOLOR_FORCE", "1");
    assert!(!home.done(plain).exits(0).out().contains('\u{1b}'));
}

#[test]
fn quiet_says_nothing_but_errors() {
    let home = Home::new();
    assert!(home.run(&["--quiet", "init"]).exits(0).err().is_empty());
    assert!(home.run(&["--quiet", "init"]).exits(2).err().starts_with("error: "));
}

#[test]
fn a_closed_pipe_is_no_failure() {
    let home = Home::new();
    home.write("train.csv", small_table(60));
    for args in [&["--help"][..], &["completions", "bash"], &["scan", "train.csv"], &["screen", "train.csv"]] {
        let mut command = home.command(args);
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        command.stdout(writer).stderr(Stdio::piped());
        let output = command.spawn().unwrap().wait_with_output().unwrap();
        let talk = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{args:?}: {talk}");
        assert!(!talk.contains("error"), "{args:?}: {talk}");
    }
}

/// Whether this process, and so its children, ignore `signal`, as what a shell starts in the background does.
fn is_ignored(signal: Signal) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).unwrap();
    u64::from_str_radix(ignored.trim(), 16).unwrap() >> (signal as i32 - 1) & 1 == 1
}

/// As a terminal does it: the signal goes to the whole group. And as `kill` does it: to the one process.
#[test]
fn an_interrupted_run_leaves_no_child_and_a_sound_vault() {
    for whole_group in [true, false] {
        let home = Home::new();
        small_plan(&home, "interrupted-marker");
        let mut command = home.command(&["run", "plan/plan.toml"]);
        command.process_group(0).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut talk = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        while !line.starts_with("sandbox") {
            line.clear();
            assert!(talk.read_line(&mut line).unwrap() > 0, "the run ended before its training");
        }
        let watched = Watched::of(child.id());
        let id = i32::try_from(child.id()).unwrap();
        let signal = if is_ignored(Signal::SIGINT) { Signal::SIGTERM } else { Signal::SIGINT };
        kill(Pid::from_raw(if whole_group { -id } else { id }), signal).unwrap();
        let status = child.wait().unwrap();
        let number = signal as i32;
        assert!(status.signal() == Some(number) || status.code() == Some(128 + number), "{status}");
        drop(talk.read_to_string(&mut line));
        watched.are_gone();
        home.run(&["trail", "verify"]).exits(0);
        home.run(&["verify", "--all"]).exits(0);
    }
}
