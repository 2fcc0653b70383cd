//! Faults at every step of a writer: killed, out of space, errors of the disk. Nothing is done without an intent that is
//! on record, and nothing that was acknowledged is lost.
//!
//! A child records an intent, does something outside (a line in a file, synced), records the outcome, and says on standard output what
//! was acknowledged; a second thread of it records what it reads. Some children write so much that the pages of the write-ahead
//! log are moved in between, by either thread, beside the other's writing. Three ways to spoil that: the parent kills it at some moment; a limit on the size of files makes writes
//! fail from some byte on; and `campaign` has strace make the n-th call of one kind fail, all calls from then on, or be the last one.

use std::{
    env, fs,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
};

use ringfence_catalog::{Catalog, CatalogError, Record, Table};
use ringfence_schema::trail::EntryKind;
use ringfence_trust::checkpoint::Checkpoint;

use crate::world::{draft, genesis, newest, outcome, set, signer, verify};

const CHILD: &str = "RINGFENCE_CATALOG_FAULTS_CHILD";
/// How many bytes of openings each act leaves, twice.
const LENGTH: &str = "RINGFENCE_CATALOG_FAULTS_LENGTH";
/// As they usually are, and so many that the log is moved after every second act.
const LENGTHS: [usize; 2] = [1_000, 1_000_000];
/// How many faults the campaign injects.
const COUNT: &str = "RINGFENCE_FAULTS";
/// Acts of one child.
const ACTS: u64 = 6;
/// Rounds after which a fresh trail is begun, so that checking it stays quick.
const ROUNDS: u64 = 40;

/// Not a test by itself: the process that faults happen to.
#[test]
fn child() {
    let Some(folder) = env::var_os(CHILD).map(PathBuf::from) else { return };
    let Ok(catalog) = Catalog::open(&folder.join("catalog.db"), signer()) else { return };
    let effects = folder.join("effects");
    // The line that the harness has begun ends here.
    println!();
    let length = env::var(LENGTH).ok().and_then(|length| length.parse().ok()).unwrap_or(LENGTHS[0]);
    thread::scope(|scope| {
        // Whatever fails is not acknowledged; the child goes on as a server would.
        scope.spawn(|| (0..ACTS).for_each(|_| drop(look(&catalog))));
        (0..ACTS).for_each(|number| drop(act(&catalog, &effects, number, length)));
    });
}

#[expect(clippy::print_stdout, reason = "whoever injects the faults reads what was acknowledged")]
fn look(catalog: &Catalog) -> Result<(), CatalogError> {
    let read = catalog.record(Record { draft: draft(EntryKind::Access, "read"), openings: None })?;
    println!("acked {read} read");
    Ok(())
}

#[expect(clippy::print_stdout, reason = "whoever injects the faults reads what was acknowledged")]
fn act(catalog: &Catalog, effects: &Path, number: u64, length: usize) -> Result<(), CatalogError> {
    let action = format!("act-{}-{number}", std::process::id());
    let intent = Record { draft: draft(EntryKind::Intent, &action), openings: Some(vec![7; length]) };
    let index = catalog.record(intent)?;
    println!("acked {index} {action}");
    // The effect: durable, outside the trail, and only after the intent was acknowledged.
    let mut done = fs::OpenOptions::new().create(true).append(true).open(effects).unwrap();
    if std::io::Write::write_all(&mut done, format!("{index} {action}\n").as_bytes()).is_ok() {
        let _ = done.sync_all();
    }
    let rows = vec![set(Table::Ref, &format!("dataset/{}", number % 5), &action)];
    let closed = catalog.commit(|tx| tx.append(outcome(index), Some(&vec![9; length]), rows))?;
    println!("acked {closed} admit");
    Ok(())
}

/// A trail on which faults happen, and what it must hold from now on.
struct Victim {
    dir: tempfile::TempDir,
    held: Checkpoint,
    rounds: u64,
}

/// What became of one child.
#[derive(Default)]
struct Tally {
    acked: u64,
    effects: u64,
    /// Children that did not do all that they had to.
    spoiled: u64,
}

impl Victim {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let catalog = Catalog::create(&dir.path().join("catalog.db"), signer()).unwrap();
        genesis(&catalog);
        let held = newest(&catalog);
        Self { dir, held, rounds: 0 }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("catalog.db")
    }

    /// Runs a child whose acts leave `length` bytes twice, behind `prefix`, and has it killed after so many acknowledgements, if at all.
    fn suffer(&mut self, prefix: &[String], length: usize, kill_after: Option<usize>) -> Vec<(u64, String)> {
        self.rounds += if length > LENGTHS[0] { 4 } else { 1 };
        let this = env::current_exe().unwrap();
        let mut whole: Vec<String> = prefix.to_vec();
        whole.push(this.to_str().unwrap().to_owned());
        let mut child = Command::new(&whole[0])
            .args(&whole[1..])
            .args(["faults::child", "--exact", "--nocapture", "--test-threads=1"])
            .env(CHILD, self.dir.path())
            .env(LENGTH, length.to_string())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let acked = lines.map_while(Result::ok).filter_map(|line| {
            let (index, action) = line.strip_prefix("acked ")?.split_once(' ')?;
            Some((index.parse().ok()?, action.to_owned()))
        });
        let acked: Vec<_> = match kill_after {
            Some(count) => acked.take(count).collect(),
            None => acked.collect(),
        };
        // Where it has ended, there is nothing to kill.
        let _ = child.kill();
        child.wait().unwrap();
        acked
    }

    /// Checks what is left, closes what is open as the next start does, and counts.
    fn check(&mut self, acked: &[(u64, String)], what: &str, tally: &mut Tally) {
        let path = self.path();
        let verdict = verify(&path, Some(&self.held)).unwrap();
        assert_eq!(verdict.problems, [], "{what}");
        let catalog = Catalog::open(&path, signer()).unwrap();
        for (index, action) in acked {
            let stored = catalog.entry(*index).unwrap();
            let found = stored.map(|stored| stored.entry.action);
            assert_eq!(found.as_ref(), Some(action), "{what}: entry {index} was acknowledged");
        }
        let effects = fs::read_to_string(self.dir.path().join("effects")).unwrap_or_default();
        // A line that was cut off by the fault is an effect as well, as far as it says of what.
        for line in effects.lines() {
            let (index, action) = line.split_once(' ').unwrap_or((line, ""));
            if let Ok(index) = index.parse() {
                let intent = catalog.entry(index).unwrap().map(|stored| stored.entry);
                let intended = intent.is_some_and(|entry| entry.action.starts_with(action));
                assert!(intended || action.is_empty(), "{what}: `{line}` has no intent");
            }
        }
        tally.acked += acked.len() as u64;
        tally.effects += effects.lines().count() as u64;
        tally.spoiled += u64::from((acked.len() as u64) < ACTS * 3);
        let _ = fs::remove_file(self.dir.path().join("effects"));
        for stored in catalog.open_intents().unwrap() {
            catalog.commit(|tx| tx.append(outcome(stored.index), None, vec![])).unwrap();
        }
        self.held = newest(&catalog);
        if self.rounds >= ROUNDS {
            drop(catalog);
            *self = Self::new();
        }
    }
}

fn text(parts: &[&str]) -> Vec<String> {
    parts.iter().map(|part| (*part).to_owned()).collect()
}

#[test]
fn killed_and_cut_short_over_a_hundred_times() {
    let (mut victim, mut tally) = (Victim::new(), Tally::default());
    for round in 0..60 {
        let acked = victim.suffer(&[], LENGTHS[round / 3 % 4 / 3], Some(round % 18));
        victim.check(&acked, &format!("killed in round {round}"), &mut tally);
    }
    let killed = tally.spoiled;
    for round in 0..60_u64 {
        // Files may grow to so many blocks of 512 bytes; writes beyond fail, with an error instead of a signal.
        let files = fs::read_dir(victim.dir.path()).unwrap().map(|file| file.unwrap().metadata().unwrap().len());
        let blocks = files.max().unwrap() / 512 + (round * 7) % 60;
        let limit = format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$@\"");
        let acked = victim.suffer(&text(&["sh", "-c", &limit, "sh"]), LENGTHS[0], None);
        victim.check(&acked, &format!("files of at most {blocks} blocks in round {round}"), &mut tally);
    }
    assert!(killed > 50 && tally.spoiled > killed + 15, "{killed} killed, {} spoiled", tally.spoiled);
    assert!(tally.acked > 700 && tally.effects > 150, "{} acked, {} effects", tally.acked, tally.effects);
}

/// What strace does at a system call.
const FAULTS: [(&str, &str); 3] =
    [("killed", "signal=SIGKILL"), ("no space left", "error=ENOSPC"), ("input/output error", "error=EIO")];
/// Calls that write, order writes, or change what files there are: how often they are chosen, of ten, and about how many of
/// them a thread of a child makes, by the length of its outcomes.
const CALLS: [(&str, u64, [u64; 2]); 5] = [
    ("pwrite64", 4, [195, 6_000]),
    ("fdatasync,fsync", 3, [28, 36]),
    ("write", 1, [26, 26]),
    ("openat,unlink,rename", 1, [12, 14]),
    ("ftruncate,fallocate", 1, [2, 4]),
];

/// Faults at single system calls, seeded; `cargo xtask bench faults` runs this.
#[test]
#[ignore = "takes minutes and needs strace"]
fn campaign() {
    let count: u64 = env::var(COUNT).ok().and_then(|count| count.parse().ok()).unwrap_or(1_000);
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = |below: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    let mut victim = Victim::new();
    let mut tallies: Vec<(&str, u64, Tally)> = FAULTS.iter().map(|(name, _)| (*name, 0, Tally::default())).collect();
    for round in 0..count {
        let fault = usize::try_from(random(3)).unwrap();
        let mut lot = random(10);
        let chosen = CALLS.iter().find(|(_, share, _)| {
            let hit = lot < *share;
            lot = lot.saturating_sub(*share);
            hit
        });
        let (calls, _, most) = chosen.unwrap();
        let long = usize::from(random(3) == 0);
        let at = 1 + random(most[long]);
        let (name, effect) = FAULTS[fault];
        // A full or broken disk often stays so.
        let lasting = if fault > 0 && random(2) == 0 { "+" } else { "" };
        let inject = format!("inject={calls}:{effect}:when={at}{lasting}");
        // With its filter strace is quicker, and delivers no signals.
        let filter = if fault == 0 { "-qqq" } else { "--seccomp-bpf" };
        let trace = format!("trace={calls}");
        let strace = ["strace", "-f", filter, "-qqq", "-o", "/dev/null", "-e", &trace, "-e", &inject];
        let acked = victim.suffer(&text(&strace), LENGTHS[long], None);
        let (_, rounds, tally) = &mut tallies[fault];
        *rounds += 1;
        victim.check(&acked, &format!("round {round}, {name}: {inject}, {} bytes an act", LENGTHS[long]), tally);
    }
    for (name, rounds, Tally { acked, effects, spoiled }) in &tallies {
        println!(
            "faults: {name}: {rounds} injected, {spoiled} writers spoiled; {acked} acknowledged entries, 0 lost; \
             {effects} effects, 0 without an intent"
        );
    }
    assert!(tallies.iter().all(|(_, rounds, tally)| *rounds < 20 || tally.spoiled > rounds / 4));
}
