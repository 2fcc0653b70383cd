//! Pins: nothing older, nothing other, nothing inconsistent replaces what is held.

use std::{fs, os::unix::fs::PermissionsExt as _};

use ringfence_schema::{Digest, Timestamp};
use ringfence_trust::{
    checkpoint::{self, Checkpoint},
    merkle::{consistency_proof, leaf_hash, root_of},
    pins::{PinError, Pins},
    root::TrustRoot,
};

use crate::support::People;

fn next(people: &People, root: &TrustRoot, millis: u64) -> TrustRoot {
    root.next_document(Timestamp::from_millis(millis)).sign(&people.roots.iter().collect::<Vec<_>>()).unwrap()
}

fn leaves(count: usize) -> Vec<Digest> {
    (0..count).map(|index| leaf_hash(&index.to_be_bytes())).collect()
}

fn note(people: &People, leaves: &[Digest]) -> Vec<u8> {
    let point = Checkpoint::new(&people.vault, leaves.len() as u64, root_of(leaves));
    checkpoint::sign(&point, &[&people.log]).unwrap().into_bytes()
}

#[test]
fn roots_only_move_to_their_successor() {
    let home = tempfile::tempdir().unwrap();
    let pins = Pins::open(&home.path().join("a/b")).unwrap();
    let people = People::new(1, 1);
    let first = people.root(1);
    assert_eq!(pins.find(&people.vault).unwrap(), None);
    pins.save(&first).unwrap();
    pins.save(&first).unwrap();
    assert_eq!(pins.find(&people.vault).unwrap().unwrap(), first);
    assert_eq!(pins.vaults().unwrap(), [people.vault]);

    let second = next(&people, &first, 1);
    let third = next(&people, &second, 2);
    assert!(matches!(pins.save(&third), Err(PinError::Root { .. })), "an epoch is missing");
    pins.save(&second).unwrap();
    assert!(matches!(pins.save(&first), Err(PinError::OlderEpoch { held: 2, given: 1 })));
    let other = next(&people, &first, 99);
    assert!(matches!(pins.save(&other), Err(PinError::OtherRoot { epoch: 2, .. })));
    pins.save(&third).unwrap();
    assert_eq!(Pins::open(&home.path().join("a/b")).unwrap().find(&people.vault).unwrap().unwrap().epoch(), 3);
    let stray: Vec<_> = fs::read_dir(home.path().join("a/b"))
        .unwrap()
        .filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().ends_with(".new"))
        .collect();
    assert!(stray.is_empty());
}

#[test]
fn checkpoints_only_move_forward_in_one_trail() {
    let home = tempfile::tempdir().unwrap();
    let pins = Pins::open(home.path()).unwrap();
    let people = People::new(1, 1);
    let trail = leaves(30);
    let advance = |leaves: &[Digest], proof: &[Digest]| pins.advance(&people.vault, &note(&people, leaves), proof);
    assert!(matches!(advance(&trail[..5], &[]), Err(PinError::Unknown { .. })));
    pins.save(&people.root(1)).unwrap();
    assert_eq!(pins.checkpoint(&people.vault).unwrap(), None);
    assert_eq!(advance(&trail[..5], &[]).unwrap().size, 5);
    assert_eq!(advance(&trail[..5], &[]).unwrap().size, 5);
    let proof = consistency_proof(&trail[..12], 5).unwrap();
    assert!(matches!(advance(&trail[..12], &[]), Err(PinError::Inconsistent { .. })));
    assert_eq!(advance(&trail[..12], &proof).unwrap().size, 12);
    assert_eq!(pins.checkpoint(&people.vault).unwrap().unwrap().root, root_of(&trail[..12]));

    assert!(matches!(advance(&trail[..5], &[]), Err(PinError::OlderCheckpoint { held: 12, given: 5 })));
    let mut rewritten = trail.clone();
    rewritten[3] = leaf_hash(b"something else");
    assert!(matches!(advance(&rewritten[..12], &[]), Err(PinError::Inconsistent { .. })), "same size, other content");
    let proof = consistency_proof(&rewritten, 12).unwrap();
    assert!(matches!(advance(&rewritten, &proof), Err(PinError::Inconsistent { .. })));
    let unsigned = note(&People::new(2, 1), &trail);
    assert!(matches!(pins.advance(&people.vault, &unsigned, &[]), Err(PinError::Checkpoint { .. })));
    assert_eq!(pins.checkpoint(&people.vault).unwrap().unwrap().size, 12, "refusals change nothing");
}

#[test]
fn damaged_pins_and_open_directories_are_refused() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("pins");
    let pins = Pins::open(&dir).unwrap();
    let (people, other) = (People::new(1, 1), People::new(2, 1));
    pins.save(&people.root(1)).unwrap();
    let path = dir.join(format!("{}.root.json", people.vault));
    let good = fs::read(&path).unwrap();
    fs::write(&path, &good[..good.len() - 1]).unwrap();
    assert!(matches!(pins.find(&people.vault), Err(PinError::Root { .. })));
    fs::write(&path, other.root(1).file()).unwrap();
    assert!(matches!(pins.find(&people.vault), Err(PinError::Root { .. })), "another vault's root under this name");
    fs::write(&path, vec![b'x'; (1 << 20) + 1]).unwrap();
    assert!(matches!(pins.find(&people.vault), Err(PinError::TooLarge { .. })));

    fs::set_permissions(&dir, fs::Permissions::from_mode(0o777)).unwrap();
    assert!(matches!(Pins::open(&dir), Err(PinError::Unsafe { mode: 0o777, .. })));
}
