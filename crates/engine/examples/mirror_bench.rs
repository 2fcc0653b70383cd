//! Measures copying a trail to static files and verifying the copy, and prints one JSON document.
//!
//! ```sh
//! cargo run --release -p ringfence-engine --example mirror_bench -- [entries] [directory] [keep]
//! ```
//!
//! The trail is one of a vault that is made here: intents and outcomes, 256 to a checkpoint. With `keep`, the mirror and its
//! root stay in the directory (`mirror`, `lab.root`), for other verifiers.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a measuring program, not a library")]

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    time::{Duration, Instant},
};

use ringfence_catalog::{Catalog, CatalogError, Draft};
use ringfence_engine::{
    Settings, Silent,
    reach::{self, Reach, ReachError, Secrets},
    trail::{mirror, verify_mirror},
};
use ringfence_schema::{
    Digest, Timestamp,
    report::VerifyVerdict,
    trail::{EntryKind, Outcome},
};
use ringfence_trust::{
    VaultId,
    checkpoint::{self, Checkpoint},
    entropy::SeededEntropy,
    keys::KeyRole,
    root::{RoleKey, RootDocument, TrustRoot},
    sign::SigningKey,
};
use serde_json::json;

const SEED: u64 = 1;
/// Entries of one transaction, under one checkpoint.
const COMMIT: u64 = 256;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let entries: u64 = arguments.next().map_or(100_000, |count| count.parse().unwrap());
    let parent = arguments.next().unwrap_or_else(|| ".".to_owned());
    let keep = arguments.next().is_some();
    let made = tempfile::tempdir_in(&parent).unwrap();
    let (vault, target, root) = (made.path().join("vault"), made.path().join("mirror"), made.path().join("lab.root"));
    let id = VaultId::from_bytes([7; VaultId::BYTES]);
    fs::create_dir(&vault).unwrap();
    let trust = write_vault(&vault, id);
    fs::write(&root, trust.file()).unwrap();
    let signer = move |size, root| Ok(checkpoint::sign(&Checkpoint::new(&id, size, root), &[&log_key()])?);
    let catalog = Catalog::create(&vault.join("catalog.sqlite"), Box::new(signer)).unwrap();
    grow(&catalog, id, entries);

    let now = || Timestamp::from_millis(1_800_000_000_000);
    let passphrase = |_| Err(std::io::Error::other("there is none"));
    let reach = || -> Result<Reach, ReachError> { Reach::new(reach::Settings::default(), Secrets::default()) };
    let settings = Settings {
        vault,
        config: made.path().join("config"),
        program: "nowhere".into(),
        now: &now,
        passphrase: &passphrase,
        reach: &reach,
        progress: &Silent,
    };
    let (first, written) = timed(|| mirror(&settings, &target).unwrap());
    let (again, none) = timed(|| mirror(&settings, &target).unwrap());
    grow(&catalog, id, entries + 100);
    let (more, added) = timed(|| mirror(&settings, &target).unwrap());
    let (verifying, report) = timed(|| verify_mirror(&target, &root, None, None).unwrap());
    assert_eq!(report.verdict, VerifyVerdict::Verified, "{:?}", report.checks);
    assert_eq!(none.files, 0);
    println!(
        "{}",
        json!({
            "schema": "ringfence.bench.mirror/1",
            "entries": entries,
            "first_s": seconds(first),
            "first_files": written.files,
            "first_bytes": written.bytes,
            "nothing_new_s": seconds(again),
            "hundred_more_s": seconds(more),
            "hundred_more_files": added.files,
            "verify_s": seconds(verifying),
            "verified_entries_per_s": (entries as f64 / verifying.as_secs_f64()).round(),
            "peak_memory_kib": peak_memory_kib(),
        })
    );
    if keep {
        for name in ["mirror", "lab.root"] {
            fs::rename(made.path().join(name), Path::new(&parent).join(name)).unwrap();
        }
    }
}

fn log_key() -> SigningKey {
    SigningKey::generate(&mut SeededEntropy::new(SEED), KeyRole::Log).unwrap()
}

/// What a vault needs for its trail to be read without a key.
fn write_vault(folder: &Path, id: VaultId) -> TrustRoot {
    let root_key = SigningKey::generate(&mut SeededEntropy::new(SEED + 1), KeyRole::Root).unwrap();
    let log = log_key().verifying_key();
    let log = RoleKey { key: log, role: KeyRole::Log, predicates: Vec::new(), from: 0, until: None };
    let issued = Timestamp::from_millis(0);
    let document = RootDocument::first(id, issued, true, 1, vec![root_key.verifying_key()], vec![log]);
    let root = document.sign(&[&root_key]).unwrap();
    fs::write(folder.join("root.json"), root.file()).unwrap();
    let file = format!("{{\"lock\":\"key-file\",\"schema\":\"ringfence.vault/1\",\"vault\":\"{id}\"}}");
    fs::write(folder.join("vault.json"), file).unwrap();
    root
}

/// Adds intents and their outcomes until there are `entries`.
fn grow(catalog: &Catalog, id: VaultId, entries: u64) {
    let commits = ["request", "evidence", "policy", "entities"];
    let draft = |kind, of: Option<u64>, index| Draft {
        vault: id.to_string(),
        time: Timestamp::from_millis(1_800_000_000_000 + index),
        kind,
        action: "admit".to_owned(),
        actor: "owner".to_owned(),
        of,
        outcome: of.map(|_| Outcome::Done),
        commits: commits
            .map(|name| (name.to_owned(), Digest::of(name.as_bytes())))
            .into_iter()
            .collect::<BTreeMap<_, _>>(),
    };
    while catalog.size().unwrap() < entries {
        let commit = catalog.commit(|tx| -> Result<(), CatalogError> {
            let end = entries.min(tx.next_index() + COMMIT);
            let mut open = None;
            while tx.next_index() < end {
                let index = tx.next_index();
                let (kind, of) = match open.take() {
                    _ if index == 0 => (EntryKind::Genesis, None),
                    Some(intent) => (EntryKind::Outcome, Some(intent)),
                    None => (EntryKind::Intent, None),
                };
                tx.append(draft(kind, of, index), None, Vec::new())?;
                open = (kind == EntryKind::Intent).then_some(index);
            }
            Ok(())
        });
        commit.unwrap();
    }
}

fn timed<T>(work: impl FnOnce() -> T) -> (Duration, T) {
    let start = Instant::now();
    let value = work();
    (start.elapsed(), value)
}

fn seconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e3).round() / 1e3
}

/// `VmHWM` of proc(5): the most memory that this process has had at once.
fn peak_memory_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}
