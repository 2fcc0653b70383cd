//! `cargo xtask tidy`: rules of DESIGN and STYLE that no compiler checks.
//!
//! * crates depend only on what the layout table allows;
//! * every dependency line of the workspace gives its reason;
//! * `unsafe` is expected only in `sandbox` and `nn`; files stay readable in size; no unfinished business;
//! * the server escapes by type: markup is never made from a string;
//! * every path and test that `docs/coverage.md` names exists.

#![expect(clippy::print_stdout, reason = "a chore says what it did")]

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

use crate::metadata;

/// Which crate may use which: the table of ARCHITECTURE.md.
const LAYERS: &[(&str, &[&str])] = &[
    ("schema", &[]),
    ("format", &[]),
    ("trust", &["schema"]),
    ("access", &["schema"]),
    ("scan", &["schema", "format"]),
    ("nn", &["format"]),
    ("sandbox", &["schema"]),
    ("watch", &["schema"]),
    ("screen", &["schema", "format", "nn"]),
    ("attack", &["schema", "nn"]),
    ("store", &["schema", "trust"]),
    ("reach", &["schema"]),
    ("catalog", &["schema", "trust", "access"]),
    (
        "engine",
        &[
            "schema", "format", "trust", "access", "scan", "nn", "sandbox", "watch", "screen", "attack", "store",
            "reach", "catalog",
        ],
    ),
    ("server", &["engine"]),
    ("cli", &["engine", "server"]),
];

/// Longest source file in lines.
const FILE_LINES_MAX: usize = 1_000;

/// Runs every rule and fails with all that is wrong.
pub(crate) fn run() -> Result<()> {
    let root = root();
    let mut wrong = Vec::new();
    layers(&mut wrong)?;
    reasons(&root, &mut wrong)?;
    sources(&root, &mut wrong)?;
    coverage(&root, &mut wrong)?;
    if wrong.is_empty() {
        println!("tidy: nothing to complain about");
        return Ok(());
    }
    bail!("{} things to tidy\n  {}", wrong.len(), wrong.join("\n  "));
}

/// The workspace's folder.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new(".")).to_owned()
}

fn layers(wrong: &mut Vec<String>) -> Result<()> {
    let metadata = metadata::read(&["--no-deps"])?;
    let allowed: BTreeMap<&str, &[&str]> = LAYERS.iter().copied().collect();
    for package in &metadata.packages {
        let Some(name) = package.name.strip_prefix("ringfence-") else { continue };
        let Some(may_use) = allowed.get(name) else {
            wrong.push(format!("crate `{name}` has no line in the layout table"));
            continue;
        };
        for dependency in package.dependencies.iter().filter(|edge| edge.kind.as_deref() != Some("dev")) {
            if let Some(used) = dependency.name.strip_prefix("ringfence-")
                && !may_use.contains(&used)
            {
                wrong.push(format!("crate `{name}` must not use `{used}`"));
            }
        }
    }
    Ok(())
}

fn reasons(root: &Path, wrong: &mut Vec<String>) -> Result<()> {
    let manifest = fs::read_to_string(root.join("Cargo.toml"))?;
    let lines = manifest.lines().skip_while(|line| *line != "[workspace.dependencies]").skip(1);
    for line in lines.take_while(|line| !line.starts_with('[')) {
        let outside = line.contains('=') && !line.starts_with('#') && !line.starts_with("ringfence-");
        if outside && !line.contains(" # ") {
            wrong.push(format!("Cargo.toml: no reason beside `{}`", line.split(' ').next().unwrap_or(line)));
        }
    }
    Ok(())
}

fn sources(root: &Path, wrong: &mut Vec<String>) -> Result<()> {
    let listed = Command::new("git").args(["ls-files", "-co", "--exclude-standard"]).current_dir(root).output()?;
    let names = String::from_utf8(listed.stdout).context("a path is not UTF-8")?;
    // Built from parts, so that this file does not find itself.
    let unfinished: Vec<String> = ["TO-DO", "FIX-ME"].iter().map(|word| word.replace('-', "")).collect();
    let unescaped = "Pre-Escaped".replace('-', "");
    for name in names.lines().filter(|name| Path::new(name).extension().is_some_and(|kind| kind == "rs")) {
        let Ok(text) = fs::read_to_string(root.join(name)) else { continue };
        let lines = text.lines().count();
        if lines > FILE_LINES_MAX {
            wrong.push(format!("{name}: {lines} lines, limit is {FILE_LINES_MAX}"));
        }
        if name.starts_with("crates/server/") && text.contains(&unescaped) {
            wrong.push(format!("{name}: says {unescaped}, which makes markup of a string"));
        }
        if let Some(word) = unfinished.iter().find(|word| text.contains(word.as_str())) {
            wrong.push(format!("{name}: says {word}"));
        }
        let library = name.starts_with("crates/") && name.ends_with("/src/lib.rs");
        if library && !text.starts_with("//!") {
            wrong.push(format!("{name}: opens without a map"));
        }
        let unsafe_allowed = name.starts_with("crates/sandbox/") || name.starts_with("crates/nn/");
        if library && !unsafe_allowed && !text.contains("#![forbid(unsafe_code)]") {
            wrong.push(format!("{name}: does not forbid unsafe code"));
        }
    }
    Ok(())
}

/// Each `crates/…` path or `crate::test` name in the coverage table must exist.
fn coverage(root: &Path, wrong: &mut Vec<String>) -> Result<()> {
    let table = fs::read_to_string(root.join("docs/coverage.md")).context("docs/coverage.md")?;
    for quoted in table.split('`').skip(1).step_by(2) {
        let Some((path, test)) = quoted.split_once("::") else {
            if quoted.starts_with("crates/") && !root.join(quoted).exists() {
                wrong.push(format!("docs/coverage.md names `{quoted}`, which does not exist"));
            }
            continue;
        };
        if !path.starts_with("crates/") {
            continue;
        }
        let source = fs::read_to_string(root.join(path)).unwrap_or_default();
        if !source.contains(&format!("fn {test}(")) {
            wrong.push(format!("docs/coverage.md names `{quoted}`, which does not exist"));
        }
    }
    Ok(())
}
