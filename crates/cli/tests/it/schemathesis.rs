//! The described API, under requests that a stranger makes from its description.
//!
//! `RINGFENCE_SCHEMATHESIS` names the program (PyPI: schemathesis 4), `RINGFENCE_SCHEMATHESIS_S` for how many seconds.

use std::{env, process::Command};

use crate::remote::Site;

/// Whatever the server needs, it does not need more than this, in KiB.
const PEAK_KIB_MAX: u64 = 400 << 10;

#[test]
fn nothing_that_the_description_allows_breaks_the_server() {
    let Some(program) = env::var_os("RINGFENCE_SCHEMATHESIS") else {
        println!("SKIPPED: RINGFENCE_SCHEMATHESIS names no schemathesis");
        return;
    };
    let seconds = env::var("RINGFENCE_SCHEMATHESIS_S").unwrap_or_else(|_| "60".to_owned());
    let mut site = Site::new();
    let work = tempfile::tempdir().unwrap();
    let mut command = Command::new(program);
    command
        .current_dir(work.path())
        .args(["run", &format!("{}/api/v1/openapi.json", site.url())])
        .args(["--tls-verify", site.authority().to_str().unwrap()])
        .args(["-H", &format!("Authorization: Bearer {}", site.session())])
        .args(["--checks", "not_a_server_error", "--mode", "all", "--continue-on-failure"])
        // Its own session is not to be ended, and not faster than one person may ask.
        .args(["--exclude-path", "/api/v1/logout", "--rate-limit", "90/s"])
        .args(["--phases", "coverage,fuzzing", "--max-time", &seconds, "-n", "1000", "--no-shrink", "--seed", "7"]);
    let done = command.output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert!(done.status.success(), "{out}{err}");
    println!("{}", out.lines().rev().take(12).collect::<Vec<_>>().into_iter().rev().collect::<Vec<_>>().join("\n"));
    let peak = site.peak_kib();
    println!("the server's peak: {peak} KiB");
    assert!(peak < PEAK_KIB_MAX, "{peak} KiB");
    // It is well, and ends as it should.
    assert_eq!(site.stop(), 0);
}
