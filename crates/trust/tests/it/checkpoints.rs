//! Checkpoints: one spelling, the right origin, every signature by a known key.

use proptest::prelude::*;
use ringfence_schema::Digest;
use ringfence_trust::{
    checkpoint::{self, Checkpoint, CheckpointError},
    entropy::SeededEntropy,
    keys::KeyRole,
    sign::SigningKey,
};

use crate::support::{People, damaged};

fn point(people: &People) -> Checkpoint {
    Checkpoint::new(&people.vault, 42, Digest::of(b"root"))
}

#[test]
fn a_signed_checkpoint_comes_back() {
    let people = People::new(1, 1);
    let point = point(&people);
    let second = SigningKey::generate(&mut SeededEntropy::new(9), KeyRole::Log).unwrap();
    let known = [people.log.verifying_key(), second.verifying_key()];
    for keys in [vec![&people.log], vec![&people.log, &second], vec![&second, &people.log]] {
        let note = checkpoint::sign(&point, &keys).unwrap();
        assert_eq!(checkpoint::verify(note.as_bytes(), &point.origin, &known).unwrap(), point);
        assert_eq!(checkpoint::parse_unverified(note.as_bytes()).unwrap(), point);
    }
    let both = checkpoint::sign(&point, &[&people.log, &second]).unwrap();
    let error = checkpoint::verify(both.as_bytes(), &point.origin, &known[..1]).unwrap_err();
    assert_eq!(error, CheckpointError::UnknownKey, "a stranger's line is not ignored");
    let twice = checkpoint::sign(&point, &[&people.log, &people.log]).unwrap();
    assert!(checkpoint::verify(twice.as_bytes(), &point.origin, &known).is_err());
}

#[test]
fn other_origins_and_roles_are_refused() {
    let (people, other) = (People::new(1, 1), People::new(2, 1));
    let point = point(&people);
    let note = checkpoint::sign(&point, &[&people.log]).unwrap();
    let error = checkpoint::verify(note.as_bytes(), &checkpoint::origin(&other.vault), &[people.log.verifying_key()]);
    assert!(matches!(error, Err(CheckpointError::Origin { .. })));
    assert!(matches!(checkpoint::sign(&point, &[&people.evidence]), Err(CheckpointError::Role { .. })));
    assert!(checkpoint::sign(&point, &[]).is_err());
    for origin in ["", "two words", "a+b", "line\nend", "naïve"] {
        let odd = Checkpoint { origin: origin.to_owned(), ..point.clone() };
        assert_eq!(checkpoint::sign(&odd, &[&people.log]).unwrap_err(), CheckpointError::Name);
    }
}

#[test]
fn every_changed_bit_is_refused() {
    let people = People::new(1, 1);
    let point = point(&people);
    let note = checkpoint::sign(&point, &[&people.log]).unwrap().into_bytes();
    let refused = |bytes: &[u8]| checkpoint::verify(bytes, &point.origin, &[people.log.verifying_key()]).is_err();
    assert!(!refused(&note));
    for (what, changed) in damaged(&note) {
        assert!(refused(&changed), "{what}");
    }
    for position in 0..note.len() {
        for bit in 0..8 {
            let mut changed = note.clone();
            changed[position] ^= 1 << bit;
            assert!(refused(&changed), "bit {bit} of byte {position}");
        }
    }
}

#[test]
fn other_spellings_are_refused() {
    let people = People::new(1, 1);
    let point = point(&people);
    let note = checkpoint::sign(&point, &[&people.log]).unwrap();
    let refused = |text: String| {
        assert_ne!(text, note);
        checkpoint::verify(text.as_bytes(), &point.origin, &[people.log.verifying_key()]).unwrap_err()
    };
    refused(note.replace("\n42\n", "\n042\n"));
    refused(note.replace("\n42\n", "\n+42\n"));
    refused(note.replace("\n42\n", "\n42\nextension\n"));
    refused(note.replace("\n\n", "\n\n\n"));
    refused(note.replace("\n\n", "\n"));
    refused(note.replace('\n', "\r\n"));
    refused(format!("{note}\n"));
    refused(format!(" {note}"));
    refused(note.trim_end().to_owned());
    refused(note.replace('\u{2014}', "-"));
    let line = note.lines().last().unwrap();
    assert!(matches!(refused(format!("{note}{line}\n")), CheckpointError::Malformed { .. }));
    let many = refused(format!("{note}{}", format!("{line}\n").repeat(40)));
    assert!(matches!(many, CheckpointError::Malformed { .. }));
    assert!(matches!(refused(note.repeat(100)), CheckpointError::TooLarge { .. }));
}

proptest! {
    #[test]
    fn arbitrary_text_is_no_checkpoint(text in "\\PC{0,80}\n[0-9]{1,22}\n[A-Za-z0-9+/=]{40,48}\n\n\u{2014} \\PC{0,120}\n") {
        let people = People::new(1, 1);
        let origin = checkpoint::origin(&people.vault);
        prop_assert!(checkpoint::verify(text.as_bytes(), &origin, &[people.log.verifying_key()]).is_err());
    }
}
