//! `cargo xtask scan-sets DIR` makes a malicious and a benign set; `cargo xtask bench scan-sets` asks this scanner and
//! its peers about every file and writes who flagged what.
//!
//! The sets come from `xtask/peers/scan_sets.py`, the peers' answers from `xtask/peers/scan_peers.py`. Both run by
//! `python3` unless [`MAKER`] and [`PEERS`] name interpreters that have the libraries and the peers. [`SETS`] names sets
//! that were made before; what the peers said about them is kept there as `peers.json`, since some take an hour to answer.
//! Each tool's misses stand under `misses/`.

#![expect(clippy::print_stdout, reason = "figures are what the person asked for")]

use std::{
    collections::BTreeMap,
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::{bench::write_section, metadata, tidy::root};

/// Interpreter with the libraries whose output goes into the benign set.
const MAKER: &str = "RINGFENCE_SETS_PYTHON";
/// Interpreter with the peers.
const PEERS: &str = "RINGFENCE_PEERS_PYTHON";
/// Sets that were made before.
const SETS: &str = "RINGFENCE_SCAN_SETS";
/// The slow peers are asked about every N-th file.
const EVERY: &str = "RINGFENCE_PEERS_EVERY";

/// Groups of the malicious set; the benign set is one.
const GROUPS: [&str; 4] = ["gadget", "opcode", "archive", "format"];

/// What a scanner says of a file; the order is that of the columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Answer {
    Flagged,
    Clean,
    /// Error, time-out, unsupported, incomplete.
    Inconclusive,
}

/// Answers by file, relative to the folder of the sets.
type Answers = BTreeMap<String, Answer>;
/// Scanners by name.
type Tools = Vec<(String, Answers)>;

/// Makes both sets in `folder`.
pub(crate) fn make(folder: &Path) -> Result<()> {
    let status = python(MAKER).arg(root().join("xtask/peers/scan_sets.py")).arg(folder).status()?;
    if !status.success() {
        bail!("the sets could not be made");
    }
    Ok(())
}

/// Asks every scanner and writes the section of BENCHMARKS.md.
pub(crate) fn bench() -> Result<()> {
    let folder = if let Some(folder) = env::var_os(SETS) {
        PathBuf::from(folder)
    } else {
        let folder = root().join("target/scan-sets");
        make(&folder)?;
        folder
    };
    let folder = folder.canonicalize().with_context(|| format!("`{}` cannot be read", folder.display()))?;
    let mut tools = vec![("**Ringfence**".to_owned(), ours(&folder)?)];
    let (peers, absent) = peers(&folder)?;
    tools.extend(peers);
    let files = |kind: &str| tools.first().map_or(0, |(_, answers)| of(answers, kind).count());
    let mut text = format!(
        "Measures detection on files that `cargo xtask scan-sets` makes: {} malicious and {} benign ones.\nFlagged is \
         suspicious or malicious; inconclusive is an error, a time-out, a file that the tool does not take, or a verdict \
         of incomplete. Slow peers may have been asked about a part of the files: the totals say so.\n\n",
        files("malicious"),
        files("benign"),
    );
    text.push_str(&table(&tools));
    if !absent.is_empty() {
        text.push_str(&format!("\nNot installed: {}.\n", absent.join(", ")));
    }
    write_misses(&folder, &tools)?;
    println!("{text}\nmisses: {}", folder.join("misses").display());
    write_section("scan-sets", &text)
}

fn table(tools: &[(String, Answers)]) -> String {
    let mut text = format!(
        "| scanner | {} | malicious: flagged / clean / inconclusive | benign: flagged / clean / inconclusive |\n|---|",
        GROUPS.join(" | ")
    );
    text.push_str(&"---|".repeat(GROUPS.len() + 2));
    text.push('\n');
    for (name, answers) in tools {
        let groups: Vec<String> = GROUPS
            .iter()
            .map(|group| {
                let [flagged, clean, inconclusive] = counts(of(answers, &format!("malicious/{group}")));
                format!("{flagged}/{}", flagged + clean + inconclusive)
            })
            .collect();
        let whole = |kind| counts(of(answers, kind)).map(|count| count.to_string()).join(" / ");
        text.push_str(&format!("| {name} | {} | {} | {} |\n", groups.join(" | "), whole("malicious"), whole("benign")));
    }
    text
}

fn of<'a>(answers: &'a Answers, below: &str) -> impl Iterator<Item = (&'a String, Answer)> {
    let prefix = format!("{below}/");
    answers.iter().filter(move |(file, _)| file.starts_with(&prefix)).map(|(file, answer)| (file, *answer))
}

/// Flagged, clean, inconclusive.
fn counts<'a>(answers: impl Iterator<Item = (&'a String, Answer)>) -> [usize; 3] {
    let mut counts = [0; 3];
    for (_, answer) in answers {
        counts[answer as usize] += 1;
    }
    counts
}

/// One list a tool: malicious files that it did not flag, benign ones that it did not call clean.
fn write_misses(folder: &Path, tools: &[(String, Answers)]) -> Result<()> {
    let lists = folder.join("misses");
    fs::create_dir_all(&lists)?;
    for (name, answers) in tools {
        let missed = of(answers, "malicious").filter(|(_, answer)| *answer != Answer::Flagged);
        let alarmed = of(answers, "benign").filter(|(_, answer)| *answer != Answer::Clean);
        let lines: Vec<String> = missed.chain(alarmed).map(|(file, answer)| format!("{answer:?} {file}\n")).collect();
        let name: String =
            name.chars().filter(|letter| letter.is_ascii_alphanumeric() || ".- ".contains(*letter)).collect();
        fs::write(lists.join(format!("{}.txt", name.replace(' ', "-"))), lines.concat())?;
    }
    Ok(())
}

/// What this workspace's scanner says.
fn ours(folder: &Path) -> Result<Answers> {
    let status = Command::new(env!("CARGO")).args(["build", "--release", "--locked"]).current_dir(root()).status()?;
    if !status.success() {
        bail!("the release build failed");
    }
    let program = metadata::read(&["--no-deps"])?.target_directory.join("release/ringfence");
    let mut answers = Answers::new();
    // Once a set, so that other files in the folder are left alone. The exit code only says that something was found.
    for kind in ["malicious", "benign"] {
        let output = Command::new(&program).arg("scan").arg(folder.join(kind)).args(["--format", "json"]).output()?;
        let report: Value = serde_json::from_slice(&output.stdout)
            .with_context(|| String::from_utf8_lossy(&output.stderr).trim().to_owned())?;
        for file in report.pointer("/files").and_then(Value::as_array).context("no files in the report")? {
            let text = |name: &str| file.get(name).and_then(Value::as_str).unwrap_or_default();
            let path = Path::new(text("path")).strip_prefix(folder).context("a path outside of the sets")?;
            let answer = match text("verdict") {
                "suspicious" | "malicious" => Answer::Flagged,
                "clean" => Answer::Clean,
                _ => Answer::Inconclusive,
            };
            answers.insert(path.to_string_lossy().into_owned(), answer);
        }
    }
    Ok(answers)
}

/// What the peers say, with their versions, and which are not installed.
fn peers(folder: &Path) -> Result<(Tools, Vec<String>)> {
    let kept = folder.join("peers.json");
    if !kept.exists() {
        let every = env::var(EVERY).unwrap_or_else(|_| "1".into());
        let script = root().join("xtask/peers/scan_peers.py");
        let output = python(PEERS).arg(script).arg(folder).args(["--every", &every]).output()?;
        if !output.status.success() {
            bail!("{}", String::from_utf8_lossy(&output.stderr).trim());
        }
        fs::write(&kept, &output.stdout)?;
    }
    let said: Value = serde_json::from_slice(&fs::read(&kept)?)?;
    let mut tools = Vec::new();
    for (tool, files) in said.pointer("/answers").and_then(Value::as_object).context("no answers in `peers.json`")? {
        let answer = |value: &Value| match value.as_str() {
            Some("flagged") => Answer::Flagged,
            Some("clean") => Answer::Clean,
            _ => Answer::Inconclusive,
        };
        let files = files.as_object().into_iter().flatten().map(|(file, value)| (file.clone(), answer(value)));
        tools.push((tool.clone(), files.collect()));
    }
    let absent = said.pointer("/absent").and_then(Value::as_array).into_iter().flatten();
    Ok((tools, absent.filter_map(Value::as_str).map(ToOwned::to_owned).collect()))
}

/// The interpreter that `variable` names, or `python3`.
fn python(variable: &str) -> Command {
    Command::new(env::var_os(variable).unwrap_or_else(|| "python3".into()))
}
