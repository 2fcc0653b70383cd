//! Whatever moment a machine stops at, every committed version is there afterwards.
//!
//! The recorded layer yields each directory that a crash may leave. The same check must fail as soon as any one fsync of
//! the commit path is left out: otherwise it would prove nothing.

use std::fs;

use ringfence_store::{
    Store,
    disk::{CrashState, Disk, Fault, Recording},
};
use ringfence_trust::keys::Namespace;

use crate::vault::{File, Ledger, Vault, file, noise, open, quick, scratch};

/// Ledgers as they were after each barrier; the first is empty.
type Committed = Vec<Ledger>;

/// The last version has `last_bytes` bytes; from 1 MiB on its pack takes several writes.
fn versions(last_bytes: usize) -> Vec<(Namespace, Vec<File>)> {
    let second = [noise(30_000, 1), b"appended".to_vec()].concat();
    vec![
        (Namespace::Quarantine, vec![file("data", noise(30_000, 1)), file("labels", "0,1,2")]),
        (Namespace::Quarantine, vec![file("data", second), file("labels", "0,1,2")]),
        (Namespace::Admitted, vec![file("data", noise(last_bytes, 2))]),
    ]
}

/// Puts and commits all versions; says how many fsyncs of files and directories opening took.
fn record(
    fault: Option<Fault>,
    last_bytes: usize,
    between: impl Fn(&mut Vault, &Store),
) -> (Recording, Committed, (usize, usize)) {
    let root = scratch();
    let recording = Recording::with_fault(root.path(), fault);
    let mut vault = Vault::on(Disk::recorded(&recording), root);
    let store = vault.open();
    let opening = recording.syncs();
    let mut committed = vec![Ledger::default()];
    for (number, (namespace, files)) in versions(last_bytes).into_iter().enumerate() {
        vault.add(&store, namespace, &files);
        committed.push(vault.ledger.clone());
        recording.barrier(number as u64 + 1);
        between(&mut vault, &store);
    }
    (recording, committed, opening)
}

/// Whether all that was committed before the crash is there after it.
fn survives(state: &CrashState, committed: &Committed, sweeps: bool) -> Result<(), String> {
    let root = scratch();
    state.materialise(root.path()).unwrap();
    let ledger = &committed[state.barrier.unwrap_or(0) as usize];
    let store = open(root.path(), quick(root.path()), ledger).map_err(|error| error.to_string())?;
    let opened = store.opened();
    if opened.rebuilt > 0 || !opened.damaged_index.is_empty() {
        return Err(format!("the index had to be rebuilt: {opened:?}"));
    }
    ledger.check(&store)?;
    if sweeps {
        store.sweep(|| Ok(ledger.live())).map_err(|error| error.to_string())?;
        ledger.check(&open(root.path(), quick(root.path()), ledger).map_err(|error| error.to_string())?)?;
        let verified = store.verify(&ledger.manifests()).unwrap();
        if !verified.is_sound() {
            return Err(format!("{:?}", verified.damaged));
        }
    }
    Ok(())
}

#[test]
fn every_crash_keeps_what_was_committed() {
    // Between commits: a version that is never committed, and a sweep that removes it.
    let (recording, committed, _) = record(None, 1_300_000, |vault, store| {
        drop(vault.put(store, Namespace::Quarantine, &[file("abandoned", noise(3_000, 9))]).unwrap());
        let live = vault.ledger.live();
        store.sweep(|| Ok(live)).unwrap();
    });
    let mut states = 0;
    for (number, state) in recording.crash_states().enumerate() {
        states += 1;
        if let Err(error) = survives(&state, &committed, number % 8 == 0) {
            panic!("state {number} after barrier {:?}: {error}", state.barrier);
        }
    }
    assert!(states > 150, "only {states} states");
    let again: Vec<_> = recording.crash_states().map(|state| state.barrier).collect();
    assert_eq!(again.len(), states, "the same states each time");
}

#[test]
fn a_missing_fsync_is_caught() {
    let (recording, committed, opening) = record(None, 5_000, |_, _| {});
    assert!(recording.crash_states().all(|state| survives(&state, &committed, false).is_ok()));
    let (files, dirs) = recording.syncs();
    assert_eq!((files - opening.0, dirs - opening.1), (9, 9), "pack, index and manifest of three versions");
    assert_eq!(opening, (0, 4), "the directories that hold store, namespaces, and each namespace's three");
    let faults =
        (0..files).map(|nth| Fault::SkipFileSync { nth }).chain((0..dirs).map(|nth| Fault::SkipDirSync { nth }));
    for fault in faults {
        let (recording, committed, _) = record(Some(fault), 5_000, |_, _| {});
        let caught = recording.crash_states().any(|state| survives(&state, &committed, false).is_err());
        assert!(caught, "nothing failed with {fault:?}");
    }
}

#[test]
fn a_failed_fsync_ends_the_writer() {
    let (recording, _, opening) = record(None, 5_000, |_, _| {});
    let (files, _) = recording.syncs();
    for nth in opening.0..files {
        let root = scratch();
        let recording = Recording::with_fault(root.path(), Some(Fault::FailFileSync { nth }));
        let mut vault = Vault::on(Disk::recorded(&recording), root);
        let store = vault.open();
        let mut failures = 0;
        for (namespace, files) in versions(5_000) {
            let before = recording.syncs().0;
            match vault.put(&store, namespace, &files) {
                Ok(sealed) => vault.commit(&store, sealed, &files),
                Err(error) => {
                    assert!(error.to_string().contains("cannot make durable"), "{error}");
                    assert_eq!(recording.syncs().0, nth + 1, "asked once, from {before}, and never again");
                    failures += 1;
                }
            }
        }
        assert_eq!(failures, 1);
        vault.ledger.check(&vault.open()).unwrap();
    }
}

/// Packs in the middle of a version are made durable beside the thread that fills the next one.
#[test]
fn a_failed_fsync_of_a_pack_in_the_middle_ends_the_writer() {
    let piece = noise(1 << 20, 3);
    let content: Vec<u8> = (0..130_u8).flat_map(|round| piece.iter().map(move |byte| byte ^ round)).collect();
    for nth in 0..3 {
        let root = scratch();
        let recording = Recording::with_fault(root.path(), Some(Fault::FailFileSync { nth }));
        let mut vault = Vault::on(Disk::recorded(&recording), root);
        let store = vault.open();
        let error = vault.put(&store, Namespace::Admitted, &[file("long", content.clone())]).err().unwrap();
        assert!(error.to_string().contains("cannot make durable"), "{error}");
        assert_eq!(recording.syncs().0, nth + 1, "nothing was asked for after it");
        vault.ledger.check(&vault.open()).unwrap();
    }
}

#[test]
fn a_full_disk_loses_nothing_committed() {
    for room in (0..40).map(|step| step * 2_500) {
        let root = scratch();
        let recording = Recording::with_fault(root.path(), Some(Fault::DiskFull { bytes: room }));
        let mut vault = Vault::on(Disk::recorded(&recording), root);
        let store = vault.open();
        for (namespace, files) in versions(5_000) {
            if let Ok(sealed) = vault.put(&store, namespace, &files) {
                vault.commit(&store, sealed, &files);
            }
        }
        let store = open(vault.root.path(), quick(vault.root.path()), &vault.ledger).unwrap();
        vault.ledger.check(&store).unwrap();
        let swept = store.sweep(|| Ok(vault.ledger.live())).unwrap();
        assert!(vault.ledger.versions.len() == 3 || swept.temporary + swept.packs + swept.manifests > 0);
        assert!(store.verify(&vault.ledger.manifests()).unwrap().is_sound());
    }
}

#[test]
fn the_recording_knows_what_a_crash_may_do() {
    let root = scratch();
    let recording = Recording::new(root.path());
    let disk = Disk::recorded(&recording);
    disk.make_dir(&root.path().join("dir")).unwrap();
    disk.sync_dir(root.path()).unwrap();
    let mut file = disk.create(&root.path().join("dir"), "name").unwrap();
    file.write(b"content").unwrap();
    file.publish().unwrap();
    recording.barrier(1);
    let mut seen = std::collections::BTreeSet::new();
    for state in recording.crash_states() {
        let root = scratch();
        state.materialise(root.path()).unwrap();
        let dir = root.path().join("dir");
        let read = |name: &str| fs::read(dir.join(name)).ok().map(|bytes| String::from_utf8(bytes).unwrap());
        seen.insert((state.barrier, dir.exists(), read("tmp-name"), read("name")));
    }
    let some = |text: &str| Some(text.to_owned());
    for expected in [
        (None, false, None, None),
        (None, true, None, None),
        (None, true, some(""), None),
        (None, true, some("con"), None),
        (None, true, some("conten"), None),
        (None, true, some("\0\0\0\0\0\0\0"), None),
        (None, true, some("content"), None),
        (None, true, None, some("content")),
        (Some(1), true, None, some("content")),
    ] {
        assert!(seen.remove(&expected), "{expected:?} is missing");
    }
    assert!(seen.is_empty(), "{seen:?}");
}
