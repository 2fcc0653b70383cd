//! The test Hub is the Hub to its own client: what is tested against it is tested against the real interface.
//!
//! Needs a Python with `huggingface_hub`; `RINGFENCE_PYTHON` names one other than `python3`. Where it is absent the tests
//! say so and pass, except under `RINGFENCE_STRICT`.

use std::process::Command;

use ringfence_schema::Digest;

use crate::world::{MODEL, WEIGHTS, content, hub};

/// A Python that can import `module`.
pub(crate) fn python(module: &str) -> Option<String> {
    let program = std::env::var("RINGFENCE_PYTHON").unwrap_or_else(|_| "python3".into());
    let found = Command::new(&program).args(["-c", &format!("import {module}")]).output();
    if found.is_ok_and(|output| output.status.success()) {
        return Some(program);
    }
    assert!(std::env::var_os("RINGFENCE_STRICT").is_none(), "no `{module}` for `{program}`");
    eprintln!("SKIPPED: no `{module}` for `{program}`: pip install {module}");
    None
}

fn run(program: &str, script: &str, endpoint: &str, home: &std::path::Path) -> String {
    let output = Command::new(program)
        .args(["-c", script])
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", home)
        .env("HF_HOME", home)
        .env("HF_ENDPOINT", endpoint)
        .env("HF_HUB_DISABLE_PROGRESS_BARS", "1")
        .env("HF_HUB_DISABLE_TELEMETRY", "1")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn huggingface_hub_downloads_a_snapshot() {
    let Some(program) = python("huggingface_hub") else { return };
    let (hub, home) = (hub(), tempfile::tempdir().unwrap());
    hub.page_entries(2);
    let script = "from huggingface_hub import snapshot_download\nprint(snapshot_download('acme/digits'))";
    let folder = run(&program, script, &hub.endpoint(), home.path());
    let folder = std::path::Path::new(folder.trim());
    assert_eq!(std::fs::read(folder.join(WEIGHTS)).unwrap(), content(1 << 20));
    assert_eq!(std::fs::read(folder.join("sub/notes.txt")).unwrap(), b"notes");
    assert!(hub.storage.sent("Signature") >= 1 << 20, "large files come from storage");
}

#[test]
fn huggingface_hub_downloads_one_file_of_a_commit() {
    let Some(program) = python("huggingface_hub") else { return };
    let (hub, home) = (hub(), tempfile::tempdir().unwrap());
    let commit = hub.put(MODEL, &[("one.bin", b"first")]);
    hub.put(MODEL, &[("one.bin", b"second")]);
    let script = format!(
        "from huggingface_hub import hf_hub_download, HfApi\n\
         path = hf_hub_download('acme/digits', 'one.bin', revision='{commit}')\n\
         print(open(path).read())\n\
         print(HfApi().model_info('acme/digits').sha)\n\
         info = HfApi().list_repo_tree('acme/digits', revision='{commit}')\n\
         print([(f.path, f.size, f.lfs.sha256) for f in info])"
    );
    let said = run(&program, &script, &hub.endpoint(), home.path());
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines[0], "first");
    assert_ne!(lines[1], commit);
    assert_eq!(lines[2], format!("[('one.bin', 5, '{}')]", Digest::of(b"first").hex()));
}

/// An independent server checks our signatures and pages.
#[test]
fn moto_accepts_our_requests() {
    // Before 5.2.5 it checked signatures over another spelling of paths than S3 does.
    let new_enough = "moto.server, sys, moto; sys.exit(tuple(map(int, moto.__version__.split('.'))) < (5, 2, 5))";
    let Some(program) = python(new_enough) else { return };
    let script = include_str!("moto.py");
    let home = tempfile::tempdir().unwrap();
    let told = home.path().join("told");
    let child = Command::new(program).args(["-c", script]).arg(&told).env("HOME", home.path()).spawn();
    let mut child = child.unwrap();
    let outcome = std::panic::catch_unwind(|| crate::bucket::against(&told));
    child.kill().unwrap();
    child.wait().unwrap();
    if let Err(failure) = outcome {
        std::panic::resume_unwind(failure);
    }
}
