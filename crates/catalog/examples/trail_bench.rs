//! Measures the trail and prints one JSON document: durable, integrated, signed entries a second and the CPU time of one,
//! with 1 to 256 callers at once; how long each of 10,000 entries a second takes until it is acknowledged; what a proof takes in trails of
//! several lengths; and the machine's ceilings beside them.
//!
//! ```sh
//! cargo run --release -p ringfence-catalog --example trail_bench -- [entries a case] [directory]
//! ```
//!
//! An entry has 256 sealed bytes beside it. `commits` are intents and the outcomes that close them, each a commit of its own
//! as acts make them; `records` are entries that change no rows, as a recorded read or a denial makes them.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a measuring program, not a library")]

use std::{
    collections::BTreeMap,
    fs::{self, OpenOptions},
    io::Write as _,
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use ringfence_catalog::{Catalog, CheckpointSigner, Draft, Record};
use ringfence_schema::{
    Digest, Timestamp,
    trail::{EntryKind, Outcome},
};
use ringfence_trust::{
    VaultId,
    checkpoint::{self, Checkpoint},
    entropy::SeededEntropy,
    keys::KeyRole,
    merkle,
    sign::SigningKey,
};
use serde_json::{Value, json};

const SEED: u64 = 1;

/// Entries that are offered each second of the open loop, and for how many seconds.
const OFFERED_PER_S: u64 = 10_000;
const OFFERED_S: u64 = 3;
/// Threads that offer them, so that a slow one holds up no other.
const OFFERING: u64 = 64;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let entries: u64 = arguments.next().map_or(20_000, |count| count.parse().unwrap());
    let parent = arguments.next().unwrap_or_else(|| ".".to_owned());
    let parent = Path::new(&parent);
    let mut cases = Vec::new();
    for how in [How::Commit, How::Record] {
        for callers in [1, 8, 64, 256] {
            // One caller alone waits for the disk each time.
            let entries = if callers == 1 { entries / 10 } else { entries };
            cases.push(measure(parent, how, callers, entries));
        }
    }
    let ceilings = ceilings(parent);
    let all = json!({
        "schema": "ringfence.bench.trail/1",
        "target_cpu_us_per_entry": 20,
        "target_entries_per_s": 50_000,
        "target_p99_ms_at_10000_a_second": 10,
        "under_load": cases,
        "offered": offered(parent),
        "proofs": [proofs(parent, 1_000), proofs(parent, 100_000)],
        "ceilings": ceilings,
    });
    println!("{all}");
}

/// How entries are written.
#[derive(Clone, Copy)]
enum How {
    Commit,
    Record,
}

impl How {
    fn name(self) -> &'static str {
        match self {
            Self::Commit => "commits",
            Self::Record => "records",
        }
    }
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

fn new_catalog(path: &Path) -> Catalog {
    let catalog = Catalog::create(path, signer()).unwrap();
    catalog.commit(|tx| tx.append(draft(EntryKind::Genesis, None), None, vec![])).unwrap();
    catalog
}

fn measure(parent: &Path, how: How, callers: u64, entries: u64) -> Value {
    let dir = tempfile::tempdir_in(parent).unwrap();
    let path = dir.path().join("catalog.db");
    let catalog = new_catalog(&path);
    let each = entries / callers / 2;
    let (start, cpu) = (Instant::now(), cpu_time());
    let mut acks: Vec<Duration> = thread::scope(|scope| {
        let threads: Vec<_> = (0..callers).map(|_| scope.spawn(|| produce(&catalog, how, each))).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    let (wall, cpu) = (start.elapsed(), cpu_time().saturating_sub(cpu));
    acks.sort();
    let written = (each * callers * 2) as f64;
    let transactions = catalog.transactions().unwrap() - 1;
    drop(catalog);

    let catalog = Catalog::open_read_only(&path).unwrap();
    let known = [log_key().verifying_key()];
    let start = Instant::now();
    let verdict =
        catalog.verify(&|note| checkpoint::verify(note, &checkpoint::origin(&vault()), &known), None).unwrap();
    let verifying = start.elapsed();
    assert!(verdict.is_intact() && verdict.entries == each * callers * 2 + 1, "{:?}", verdict.problems);
    json!({
        "what": how.name(),
        "callers": callers,
        "entries": written,
        "entries_a_transaction": (written / transactions as f64 * 10.0).round() / 10.0,
        "entries_per_s": (written / wall.as_secs_f64()).round(),
        "cpu_us_per_entry": (cpu.as_secs_f64() * 1e6 / written * 10.0).round() / 10.0,
        "ack_p50_ms": hundredth(&acks, 50),
        "ack_p99_ms": hundredth(&acks, 99),
        "verified_entries_per_s": (verdict.entries as f64 / verifying.as_secs_f64()).round(),
        "file_bytes_per_entry": fs::metadata(&path).unwrap().len() / verdict.entries,
    })
}

fn produce(catalog: &Catalog, how: How, pairs: u64) -> Vec<Duration> {
    let mut acks = Vec::new();
    let mut timed = |write: &dyn Fn() -> u64| {
        let start = Instant::now();
        let index = write();
        acks.push(start.elapsed());
        index
    };
    let commit = |draft: Draft| catalog.commit(|tx| tx.append(draft.clone(), Some(&[0x5a; 256]), vec![])).unwrap();
    for _ in 0..pairs {
        match how {
            How::Commit => {
                let intent = timed(&|| commit(draft(EntryKind::Intent, None)));
                timed(&|| commit(draft(EntryKind::Outcome, Some(intent))));
            }
            How::Record => {
                for _ in 0..2 {
                    timed(&|| catalog.record(record(EntryKind::Denial, None)).unwrap());
                }
            }
        }
    }
    acks
}

/// Entries that come at a steady pace, whether earlier ones are acknowledged or not; each waits from when it was due.
fn offered(parent: &Path) -> Value {
    let dir = tempfile::tempdir_in(parent).unwrap();
    let catalog = new_catalog(&dir.path().join("catalog.db"));
    let (next, start, cpu) = (AtomicU64::new(0), Instant::now(), cpu_time());
    let offer = || {
        let mut acks = Vec::new();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= OFFERED_PER_S * OFFERED_S {
                return acks;
            }
            let due = start + Duration::from_nanos(number * 1_000_000_000 / OFFERED_PER_S);
            thread::sleep(due.saturating_duration_since(Instant::now()));
            catalog.record(record(EntryKind::Denial, None)).unwrap();
            acks.push(due.elapsed());
        }
    };
    let mut acks: Vec<Duration> = thread::scope(|scope| {
        let threads: Vec<_> = (0..OFFERING).map(|_| scope.spawn(offer)).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    let (wall, cpu) = (start.elapsed(), cpu_time().saturating_sub(cpu));
    acks.sort();
    json!({
        "offered_per_s": OFFERED_PER_S,
        "written_per_s": (acks.len() as f64 / wall.as_secs_f64()).round(),
        "cpu_us_per_entry": (cpu.as_secs_f64() * 1e6 / acks.len() as f64 * 10.0).round() / 10.0,
        "ack_p50_ms": hundredth(&acks, 50),
        "ack_p99_ms": hundredth(&acks, 99),
        "ack_max_ms": hundredth(&acks, 100),
    })
}

/// What proofs take in a trail of so many entries.
fn proofs(parent: &Path, entries: u64) -> Value {
    let dir = tempfile::tempdir_in(parent).unwrap();
    let catalog = new_catalog(&dir.path().join("catalog.db"));
    let fill = |count| {
        catalog
            .commit(|tx| (0..count).try_for_each(|_| tx.append(draft(EntryKind::Denial, None), None, vec![]).map(drop)))
            .unwrap();
    };
    (0..entries / 1_000).for_each(|_| fill(1_000));
    let size = entries;
    let timed = |work: &dyn Fn(u64)| {
        let mut taken: Vec<Duration> = (0..200)
            .map(|number| {
                let start = Instant::now();
                work(number * 7_919 % size);
                start.elapsed()
            })
            .collect();
        taken.sort();
        hundredth(&taken, 50)
    };
    json!({
        "entries": entries,
        "inclusion_p50_ms": timed(&|index| drop(catalog.prove_inclusion(index, size).unwrap())),
        "consistency_p50_ms": timed(&|old| drop(catalog.prove_consistency(old, size).unwrap())),
        "consistency_with_the_last_100_p50_ms":
            timed(&|number| drop(catalog.prove_consistency(size - number % 100, size).unwrap())),
    })
}

/// What the machine does at best: nothing here can be quicker.
fn ceilings(parent: &Path) -> Value {
    let dir = tempfile::tempdir_in(parent).unwrap();
    let mut file = OpenOptions::new().create(true).append(true).open(dir.path().join("raw")).unwrap();
    let mut syncs: Vec<Duration> = (0..500)
        .map(|_| {
            let start = Instant::now();
            file.write_all(&[0x5a; 4_096]).unwrap();
            file.sync_data().unwrap();
            start.elapsed()
        })
        .collect();
    syncs.sort();
    let total: Duration = syncs.iter().sum();
    let rate = |count: u32, mut work: Box<dyn FnMut()>| {
        let start = Instant::now();
        (0..count).for_each(|_| work());
        (f64::from(count) / start.elapsed().as_secs_f64()).round()
    };
    let (leaf, sign) = ([0x5a; 512], signer());
    json!({
        "appends_of_4_kib_with_fdatasync_per_s": (syncs.len() as f64 / total.as_secs_f64()).round(),
        "fdatasync_p50_ms": hundredth(&syncs, 50),
        "fdatasync_p99_ms": hundredth(&syncs, 99),
        "leaf_hashes_of_512_bytes_per_s": rate(200_000, Box::new(move || {
            std::hint::black_box(merkle::leaf_hash(&leaf));
        })),
        "checkpoint_signatures_per_s": rate(5_000, Box::new(move || {
            std::hint::black_box(sign(1, merkle::empty_root()).unwrap());
        })),
    })
}

fn record(kind: EntryKind, of: Option<u64>) -> Record {
    Record { draft: draft(kind, of), openings: Some(vec![0x5a; 256]) }
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

/// In milliseconds; `sorted` must be.
fn hundredth(sorted: &[Duration], hundredth: usize) -> f64 {
    let at = (sorted.len() * hundredth / 100).min(sorted.len() - 1);
    (sorted[at].as_secs_f64() * 1e6).round() / 1e3
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
