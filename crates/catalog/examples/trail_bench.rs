//! Measures the trail and prints one JSON document: durable entries a second with 1, 8 and 64 producers, the time until
//! the acknowledgement, CPU time an entry, and verified entries a second.
//!
//! ```sh
//! cargo run --release -p ringfence-catalog --example trail_bench -- [entries a producer count] [directory]
//! ```
//!
//! An entry is an intent or the outcome that closes it, with 256 sealed bytes beside it; each is its own commit.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a measuring program, not a library")]

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use ringfence_catalog::{Catalog, CheckpointSigner, Draft};
use ringfence_schema::{
    Digest, Timestamp,
    trail::{EntryKind, Outcome},
};
use ringfence_trust::{
    VaultId,
    checkpoint::{self, Checkpoint},
    entropy::SeededEntropy,
    keys::KeyRole,
    sign::SigningKey,
};
use serde_json::{Value, json};

const SEED: u64 = 1;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let entries: u64 = arguments.next().map_or(4_000, |count| count.parse().unwrap());
    let parent = arguments.next().unwrap_or_else(|| ".".to_owned());
    let runs: Vec<Value> =
        [1, 8, 64].into_iter().map(|producers| measure(Path::new(&parent), producers, entries)).collect();
    println!("{}", json!({"schema": "ringfence.bench.trail/1", "entries": entries, "runs": runs}));
}

fn log_key() -> SigningKey {
    SigningKey::generate(&mut SeededEntropy::new(SEED), KeyRole::Log).unwrap()
}

fn vault() -> VaultId {
    VaultId::from_bytes([7; VaultId::BYTES])
}

fn signer() -> CheckpointSigner {
    let key = log_key();
    Box::new(move |size, root| Ok(checkpoint::sign(&Checkpoint::new(&vault(), size, root), &[&key])?))
}

fn measure(parent: &Path, producers: u64, entries: u64) -> Value {
    let dir = tempfile::tempdir_in(parent).unwrap();
    let path = dir.path().join("catalog.db");
    let catalog = Catalog::create(&path, signer()).unwrap();
    catalog.commit(|tx| tx.append(draft(EntryKind::Genesis, None), None, vec![])).unwrap();
    let each = entries / producers / 2;
    let (start, cpu) = (Instant::now(), cpu_time());
    let mut acks: Vec<Duration> = thread::scope(|scope| {
        let threads: Vec<_> = (0..producers).map(|_| scope.spawn(|| produce(&catalog, each))).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    let (wall, cpu) = (start.elapsed(), cpu_time().saturating_sub(cpu));
    acks.sort();
    let written = acks.len() as f64;
    let transactions = catalog.transactions().unwrap();
    drop(catalog);

    let catalog = Catalog::open_read_only(&path).unwrap();
    let known = [log_key().verifying_key()];
    let start = Instant::now();
    let verdict =
        catalog.verify(&|note| checkpoint::verify(note, &checkpoint::origin(&vault()), &known), None).unwrap();
    let verifying = start.elapsed();
    assert!(verdict.is_intact(), "{:?}", verdict.problems);
    json!({
        "producers": producers,
        "entries": acks.len(),
        "transactions": transactions,
        "entries_per_s": (written / wall.as_secs_f64()).round(),
        "ack_p50_ms": millis(acks[acks.len() / 2]),
        "ack_p99_ms": millis(acks[acks.len() * 99 / 100]),
        "cpu_us_per_entry": (cpu.as_secs_f64() * 1e6 / written * 10.0).round() / 10.0,
        "verified_entries_per_s": (verdict.entries as f64 / verifying.as_secs_f64()).round(),
        "file_bytes_per_entry": fs::metadata(&path).unwrap().len() / verdict.entries,
    })
}

fn produce(catalog: &Catalog, pairs: u64) -> Vec<Duration> {
    let mut acks = Vec::new();
    let mut append = |draft: Draft| {
        let start = Instant::now();
        let index = catalog.commit(|tx| tx.append(draft, Some(&[0x5a; 256]), vec![])).unwrap();
        acks.push(start.elapsed());
        index
    };
    for _ in 0..pairs {
        let intent = append(draft(EntryKind::Intent, None));
        append(draft(EntryKind::Outcome, Some(intent)));
    }
    acks
}

fn draft(kind: EntryKind, of: Option<u64>) -> Draft {
    let commits = ["request", "evidence", "policy", "entities"];
    Draft {
        vault: vault().to_string(),
        time: Timestamp::from_millis(1_800_000_000_000),
        kind,
        action: "admit".to_owned(),
        actor: "0190a6c2-1111-7000-8000-000000000001".to_owned(),
        of,
        outcome: of.map(|_| Outcome::Done),
        commits: commits
            .map(|name| (name.to_owned(), Digest::of(name.as_bytes())))
            .into_iter()
            .collect::<BTreeMap<_, _>>(),
    }
}

fn millis(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}

/// CPU time of all threads of this process, user and system, in the kernel's ticks of 10 ms.
fn cpu_time() -> Duration {
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    // Fields 14 and 15 of proc(5), counted behind the command's closing bracket.
    let ticks: u64 = stat
        .rsplit(')')
        .next()
        .unwrap()
        .split_whitespace()
        .skip(11)
        .take(2)
        .map(|field| field.parse::<u64>().unwrap())
        .sum();
    Duration::from_millis(ticks * 10)
}
