//! A log client that others wrote reads a mirror: PyPI's `aics-tlog` (0.2.1, needs Python 3.12).
//!
//! `RINGFENCE_PYTHON` names a Python that has it, if `python3` has not. Where it is absent the test says so and passes, except under
//! `RINGFENCE_STRICT`.

use std::{env, process::Command};

use crate::{home::Home, lab::Lab};

/// Checkpoint, root from tiles, an inclusion proof of every entry, consistency of two sizes.
const SCRIPT: &str = r#"
import pathlib, sys
import aics_tlog as tlog
folder, held, key = sys.argv[1:]

def head(file):
    note = tlog.parse_note(pathlib.Path(file).read_text(encoding="utf-8"))
    result = tlog.verify_checkpoint(note, tlog.parse_vkey(key))
    assert result.ok, result
    checkpoint = tlog.parse_checkpoint(note.text)
    return checkpoint.size, checkpoint.root

(size, root), (before, earlier) = head(folder + "/checkpoint"), head(held)
reader = tlog.FileSystemTileReader(folder)
assert tlog.tree_root_from_tiles(reader, size) == root
for index in range(size):
    entry = tlog.read_entry(reader, index, size)
    proof = tlog.inclusion_proof_from_tiles(reader, index, size)
    assert tlog.verify_leaf_inclusion(entry, index, size, proof, root), index
proof = tlog.consistency_proof_from_tiles(reader, before, size)
assert tlog.verify_consistency(before, size, earlier, root, proof)
print(before, size)
"#;

#[test]
fn a_public_client_verifies_a_mirror() {
    let python = env::var_os("RINGFENCE_PYTHON").unwrap_or_else(|| "python3".into());
    let there = Command::new(&python).args(["-c", "import aics_tlog"]).output().is_ok_and(|done| done.status.success());
    if !there {
        assert!(env::var_os("RINGFENCE_STRICT").is_none(), "there is no aics-tlog here");
        println!("SKIPPED: there is no Python with aics-tlog here; RINGFENCE_PYTHON can name one");
        return;
    }
    let (home, lab) = (Home::new(), Lab::new(5));
    let history = lab.history(&home.work().join("vault"));
    let root = home.write("lab.root", lab.root());
    let vault = history.folder.to_str().unwrap();
    for size in [300, 700] {
        lab.grow(&history, size, "admit");
        home.run(&["--vault", vault, "trail", "mirror", "mirror"]).exits(0);
        home.write(&format!("{size}.checkpoint"), history.note());
    }
    let words = ["trail", "verify", "--mirror", "mirror", "--format", "json", "--root", root.to_str().unwrap()];
    let report = home.run(&words).exits(0).json();
    let done = Command::new(python)
        .args(["-c", SCRIPT, "mirror", "300.checkpoint", report["facts"]["verifier key"].as_str().unwrap()])
        .current_dir(home.work())
        .output()
        .unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    assert_eq!(String::from_utf8_lossy(&done.stdout).trim(), "300 700");
}
