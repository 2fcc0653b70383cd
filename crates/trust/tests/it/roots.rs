//! Trust roots: thresholds, succession, ranges and revocations.

use ringfence_schema::{Timestamp, evidence::EvidenceKind};
use ringfence_trust::{
    checkpoint,
    keys::KeyRole,
    merkle,
    root::{Revocation, RootDocument, RootError, SignerRefusal, TrustRoot},
    sign::SigningKey,
};

use crate::support::{People, damaged};

const LATER: Timestamp = Timestamp::from_millis(1_800_000_000_000);

fn all(keys: &[SigningKey]) -> Vec<&SigningKey> {
    keys.iter().collect()
}

fn refuse(document: RootDocument, signers: &[&SigningKey]) -> RootError {
    document.sign(signers).unwrap_err()
}

#[test]
fn a_root_needs_its_threshold() {
    let people = People::new(1, 3);
    let keys = all(&people.roots);
    assert_eq!(people.document(2).sign(&keys[..2]).unwrap().epoch(), 1);
    people.document(2).sign(&keys).unwrap();
    assert!(matches!(refuse(people.document(2), &keys[..1]), RootError::Threshold { signed: 1, threshold: 2, .. }));
    let stranger = People::new(2, 1);
    let error = refuse(people.document(2), &[keys[0], keys[1], &stranger.roots[0]]);
    assert!(matches!(error, RootError::Envelope(_)), "{error}");
    // A key of another role does not sign roots, whatever the document says.
    assert!(matches!(refuse(people.document(1), &[keys[0], &people.log]), RootError::Envelope(_)));
}

#[test]
fn every_changed_byte_is_refused() {
    let people = People::new(1, 2);
    let first = people.root(2);
    let next = first.next_document(LATER).sign(&all(&people.roots)).unwrap();
    for root in [&first, &next] {
        assert_eq!(TrustRoot::open(root.file()).unwrap(), *root);
        for (what, changed) in damaged(root.file()) {
            assert!(TrustRoot::open(&changed).is_err(), "epoch {}: {what}", root.epoch());
        }
    }
}

#[test]
fn documents_that_contradict_themselves_are_refused() {
    let people = People::new(1, 2);
    let keys = all(&people.roots);
    let invalid = |change: &dyn Fn(&mut RootDocument)| {
        let mut document = people.document(1);
        change(&mut document);
        let error = refuse(document, &keys);
        assert!(matches!(error, RootError::Invalid { .. }), "{error}");
    };
    invalid(&|document| document.threshold = 0);
    invalid(&|document| document.threshold = 3);
    invalid(&|document| document.epoch = 2);
    invalid(&|document| document.epoch = u64::MAX);
    invalid(&|document| document.roots.push(document.roots[0]));
    invalid(&|document| document.keys.push(document.keys[0].clone()));
    invalid(&|document| document.keys[0].role = KeyRole::Root);
    invalid(&|document| document.keys[0].key = document.roots[0]);
    invalid(&|document| document.keys[0].until = Some(1 << 60));
    invalid(&|document| {
        document.keys[0].from = 9;
        document.keys[0].until = Some(8);
    });
    invalid(&|document| document.keys.iter_mut().for_each(|key| key.predicates = Vec::new()));
    invalid(&|document| document.keys.iter_mut().for_each(|key| key.predicates = vec!["a".to_owned()]));
    invalid(&|document| document.keys.iter_mut().for_each(|key| key.predicates.push("a\nb".to_owned())));
    invalid(&|document| {
        let key = document.keys[0].key;
        document.revocations.push(Revocation { key, from: 0, reason: "x".repeat(257) });
    });
}

#[test]
fn succession_is_signed_by_both_epochs() {
    let (old, new) = (People::new(1, 2), People::new(2, 2));
    let first = old.root(2);
    let renewed = || {
        let mut document = first.next_document(LATER);
        document.roots = new.roots.iter().map(SigningKey::verifying_key).collect();
        document
    };
    let both: Vec<_> = old.roots.iter().chain(&new.roots).collect();
    let second = renewed().sign(&both).unwrap();
    assert_eq!(first.succeed(second.file()).unwrap().epoch(), 2);
    assert!(matches!(refuse(renewed(), &all(&new.roots)), RootError::Threshold { whose: "predecessor's", .. }));
    assert!(matches!(refuse(renewed(), &all(&old.roots)), RootError::Threshold { whose: "own", .. }));

    let third = second.next_document(LATER).sign(&all(&new.roots)).unwrap();
    assert!(matches!(first.succeed(third.file()), Err(RootError::NotASuccessor { .. })), "an epoch is missing");
    assert!(second.succeed(third.file()).is_ok());
    assert!(matches!(second.succeed(first.file()), Err(RootError::NotASuccessor { .. })));
    assert!(matches!(second.succeed(second.file()), Err(RootError::NotASuccessor { .. })));

    // Who holds only new keys cannot write themselves in as the successor of a root that they invented.
    let mut forged = renewed();
    let claimed = forged.predecessor.as_mut().unwrap();
    claimed.roots = new.roots.iter().map(SigningKey::verifying_key).collect();
    claimed.roots.sort();
    let forged = forged.sign(&all(&new.roots)).unwrap();
    assert!(matches!(first.succeed(forged.file()), Err(RootError::NotASuccessor { .. })));
    let foreign = People::new(3, 1).root(1);
    assert!(matches!(first.succeed(foreign.file()), Err(RootError::NotASuccessor { .. })));
}

#[test]
fn revocations_stay() {
    let people = People::new(1, 1);
    let keys = all(&people.roots);
    let mut document = people.root(1).next_document(LATER);
    let key = people.evidence.verifying_key();
    document.revocations.push(Revocation { key, from: 10, reason: "lost".to_owned() });
    let second = document.sign(&keys).unwrap();
    let successor = |change: &dyn Fn(&mut RootDocument)| {
        let mut document = second.next_document(LATER);
        change(&mut document);
        second.succeed(document.sign(&keys).unwrap().file())
    };
    successor(&|_| ()).unwrap();
    successor(&|document| document.revocations[0].from = 3).unwrap();
    successor(&|document| document.revocations[0].from = 11).unwrap_err();
    successor(&|document| document.revocations.clear()).unwrap_err();
}

#[test]
fn keys_count_within_their_type_range_and_before_revocation() {
    let people = People::new(1, 1);
    let (evidence, log) = (people.evidence.verifying_key(), people.log.verifying_key());
    let mut document = people.document(1);
    for entry in document.keys.iter_mut().filter(|entry| entry.key == evidence) {
        (entry.from, entry.until) = (5, Some(20));
    }
    document.revocations.push(Revocation { key: evidence, from: 12, reason: "stolen laptop".to_owned() });
    let root = document.sign(&all(&people.roots)).unwrap();
    let scan = EvidenceKind::Scan.predicate_type();
    let answers = |index| root.may_sign(&evidence, scan, index);
    assert_eq!(answers(4), Err(SignerRefusal::Range { index: 4 }));
    assert_eq!((answers(5), answers(11)), (Ok(()), Ok(())));
    assert_eq!(answers(12), Err(SignerRefusal::Revoked { from: 12 }));
    assert_eq!(answers(20), Err(SignerRefusal::Range { index: 20 }));
    assert_eq!(root.may_sign(&evidence, "urn:else", 6), Err(SignerRefusal::Predicate));
    assert_eq!(root.may_sign(&log, scan, 6), Err(SignerRefusal::Role { role: KeyRole::Log }));
    assert_eq!(root.may_sign(&people.roots[0].verifying_key(), scan, 6), Err(SignerRefusal::UnknownKey));
    assert_eq!(root.has_role(&log, KeyRole::Log, 6), Ok(()));
    assert_eq!(root.keys_at(KeyRole::Evidence, 12), []);
    assert_eq!(
        (root.keys_at(KeyRole::Evidence, 11), root.keys_ever(KeyRole::Evidence)),
        (vec![evidence], vec![evidence])
    );
}

#[test]
fn checkpoints_count_by_their_last_entry() {
    let people = People::new(1, 1);
    let mut document = people.document(1);
    document.revocations.push(Revocation { key: people.log.verifying_key(), from: 8, reason: "old".to_owned() });
    let root = document.sign(&all(&people.roots)).unwrap();
    let note = |size| {
        let point = checkpoint::Checkpoint::new(&people.vault, size, merkle::empty_root());
        checkpoint::sign(&point, &[&people.log]).unwrap()
    };
    assert_eq!(root.verify_checkpoint(note(8).as_bytes()).unwrap().size, 8);
    root.verify_checkpoint(note(0).as_bytes()).unwrap();
    root.verify_checkpoint(note(9).as_bytes()).unwrap_err();
}
