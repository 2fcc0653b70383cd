//! Witnesses: what they sign, what they refuse, what they remember, and whose word a reader takes.

use std::{collections::BTreeSet, fs, os::unix::fs::PermissionsExt as _, path::Path};

use proptest::prelude::*;
use ringfence_schema::{Digest, Timestamp};
use ringfence_trust::{
    checkpoint::{self, Checkpoint},
    entropy::SeededEntropy,
    keys::KeyRole,
    merkle::{consistency_proof, leaf_hash, root_of},
    note::{LINES_MAX, Note, NoteError, parse_lines},
    sign::SigningKey,
    vkey::{Algorithm, CosignerKey, VerifierKey, VkeyError},
    witness::{
        AddCheckpoint, Answer, BODY_BYTES_MAX, LogKeys, PROOF_LINES_MAX, Policy, Recorded, Refusal, RequestError,
        SIZE_CONTENT_TYPE, Witness, WitnessError,
    },
};

use crate::support::{People, Script, damaged, published, unhex};

/// The example of tlog-cosignature, "Format", whose key is not published.
const SPECIFIED_NOTE: &str = "example.com/behind-the-sofa
20852163
CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=

\u{2014} example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=
\u{2014} witness.example.com/w1 jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==
";

/// The examples of tlog-witness, "add-checkpoint".
const SPECIFIED_BODY: &str = "old 20852014
PlRNCrwHpqhGrupue0L7gxbjbMiKA9temvuZZDDpkaw=
jrJZDmY8Y7SyJE0MWLpLozkIVMSMZcD5kvuKxPC3swk=
5+pKlUdi2LeF/BcMHBn+Ku6yhPGNCswZZD1X/6QgPd8=
/6WVhPs2CwSsb5rYBH5cjHV/wSmA79abXAwhXw3Kj/0=

example.com/behind-the-sofa
20852163
CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=

\u{2014} example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=
\u{2014} example.com/behind-the-sofa opLqBQsREYCgu6xQkYQwJr9fo45a62DN9EdmHXnZdXNqlcVGlCum2Wks+49/V6267UEjw6QUXTS5Rovnzv++qbSzm9Q=
";
const SPECIFIED_ANSWER: &str = "\u{2014} witness.example/w1 CMp+6LWBU0anHGH5aNDTJkH/gj79sG+T6+iP2ThYN5krrDJbR1HDnucjL39QsZTSvVjyQLrdk3DXDqI5G2HgLatVs0pWh6Up69HVOw==
\u{2014} witness.example/w1 I7rEps0pvK2UqkS2gSpVUDhrhVtQV9lgF6pRrWAvjJHjyWpW7VcE3SiOlVlbQNt64vWhO+DlkL0+UfzuOBMh9ChdMkP1vi/lCAsmlw==
\u{2014} witness.example/w2 AWui8Sk55XjYLOijihBjhqEH6nS1ndDymE0a+6idX7pLcnoB+dhnz0854aLZgrrKbYKA7nC3HNJhm/kWl7oJlqU3rXXvpysAdyP3wQ==
";

fn leaves(count: usize) -> Vec<Digest> {
    (0..count).map(|index| leaf_hash(&index.to_be_bytes())).collect()
}

fn signed(people: &People, leaves: &[Digest]) -> Note {
    let point = Checkpoint::new(&people.vault, leaves.len() as u64, root_of(leaves));
    Note::parse(checkpoint::sign(&point, &[&people.log]).unwrap().as_bytes()).unwrap()
}

fn ask(people: &People, leaves: &[Digest], old: usize) -> AddCheckpoint {
    let proof = if old <= leaves.len() { consistency_proof(leaves, old as u64).unwrap() } else { Vec::new() };
    AddCheckpoint { old_size: old as u64, proof, note: signed(people, leaves) }
}

fn witness(folder: &Path, seed: u64, algorithm: Algorithm) -> Witness {
    Witness::create(folder, &format!("witness.example/w{seed}"), algorithm, &mut SeededEntropy::new(seed)).unwrap()
}

fn of_root(people: &People) -> LogKeys {
    LogKeys::Root(Box::new(people.root(1)))
}

/// A witness that knows the log of `people`.
fn set_up(folder: &Path, people: &People) -> Witness {
    let witness = witness(folder, 1, Algorithm::Ed25519);
    assert_eq!(witness.add_log(of_root(people)).unwrap(), checkpoint::origin(&people.vault));
    witness
}

fn cosigned(witness: &Witness, asked: &AddCheckpoint) -> Result<Note, Refusal> {
    let recorded: Recorded = witness.record(asked)?;
    let mut note = asked.note.clone();
    note.merge([witness.cosign(&recorded, 1_800_000_000)?]);
    Ok(note)
}

#[test]
fn the_specified_examples_are_read_and_written_the_same() {
    assert_eq!(Note::parse(SPECIFIED_NOTE.as_bytes()).unwrap().to_string(), SPECIFIED_NOTE);
    let asked = AddCheckpoint::parse(SPECIFIED_BODY.as_bytes()).unwrap();
    assert_eq!((asked.old_size, asked.proof.len(), asked.note.lines().len()), (20_852_014, 4, 2));
    assert_eq!(asked.to_string(), SPECIFIED_BODY);
    let Answer::Cosigned(lines) = Answer::read(200, "text/plain", SPECIFIED_ANSWER.as_bytes()).unwrap() else {
        panic!()
    };
    assert_eq!(lines.iter().map(|line| format!("{line}\n")).collect::<String>(), SPECIFIED_ANSWER);
    assert!(lines.iter().all(|line| line.signature().len() == 72));
    let conflict = Answer::read(409, SIZE_CONTENT_TYPE, b"20852014\n").unwrap();
    assert_eq!(conflict, Answer::Conflict { size: 20_852_014 });
    for body in ["", "20852014", "020852014\n", "-1\n", "1\n\n", "99999999999999999999999\n"] {
        assert!(Answer::read(409, SIZE_CONTENT_TYPE, body.as_bytes()).is_err(), "{body:?}");
    }
}

#[test]
fn cosignatures_of_another_implementation_hold() {
    let vectors = published("cosignature.json");
    let text = vectors["text"].as_str().unwrap();
    for vector in vectors["cosignatures"].as_array().unwrap() {
        let line = vector["line"].as_str().unwrap();
        let key: VerifierKey = vector["vkey"].as_str().unwrap().parse().unwrap();
        let note = Note::parse(format!("{text}\n{line}\n").as_bytes()).unwrap();
        assert_eq!(key.verify(&note, &note.lines()[0]).unwrap(), vectors["time_s"].as_u64());
        // The same secret key is the same key here, and what it signs is checked alike; Ed25519 has one signature only.
        let entropy = &mut Script::new(&[&unhex(vector["seed"].as_str().unwrap())]);
        let ours = CosignerKey::generate(entropy, key.name(), key.algorithm()).unwrap();
        assert_eq!(ours.verifier_key(), &key);
        for (what, changed) in damaged(format!("{text}\n{line}\n").as_bytes()) {
            let Ok(changed) = Note::parse(&changed) else { continue };
            let holds = changed.lines().iter().any(|line| key.verify(&changed, line).is_ok());
            assert!(!holds, "{}: {what}", vector["algorithm"]);
        }
    }
}

#[test]
fn verifier_keys_have_one_spelling() {
    let home = tempfile::tempdir().unwrap();
    for (seed, algorithm) in [(1, Algorithm::Ed25519), (2, Algorithm::MlDsa44)] {
        let witness = witness(&home.path().join(seed.to_string()), seed, algorithm);
        let text = witness.verifier_key().to_string();
        assert_eq!(text.parse::<VerifierKey>().unwrap(), *witness.verifier_key());
        for (what, changed) in damaged(text.as_bytes()).take(4_000) {
            let parsed = std::str::from_utf8(&changed).ok().and_then(|text| text.parse::<VerifierKey>().ok());
            assert!(parsed.is_none(), "{what}");
        }
    }
    for name in ["", "two words", "a+b", "naïve", &"x".repeat(256)] {
        let made = CosignerKey::generate(&mut SeededEntropy::new(1), name, Algorithm::Ed25519);
        assert!(matches!(made, Err(VkeyError::Name)), "{name}");
    }
    assert!(CosignerKey::generate(&mut SeededEntropy::new(1), "log", Algorithm::Log).is_err());
}

#[test]
fn a_witness_goes_forward_in_one_history() {
    for algorithm in [Algorithm::Ed25519, Algorithm::MlDsa44] {
        let home = tempfile::tempdir().unwrap();
        let (people, trail) = (People::new(1, 1), leaves(40));
        let witness = witness(home.path(), 1, algorithm);
        witness.add_log(of_root(&people)).unwrap();
        let mut old = 0;
        for size in [0, 1, 5, 5, 12, 40] {
            let note = cosigned(&witness, &ask(&people, &trail[..size], old)).unwrap();
            let line = note.lines().last().unwrap();
            assert_eq!(witness.verifier_key().verify(&note, line).unwrap(), Some(1_800_000_000));
            // Another text, another moment, or another name is another statement.
            let other = signed(&people, &trail[..size + usize::from(size < 40)]);
            assert_eq!(witness.verifier_key().verify(&other, line).is_ok(), size == 40);
            old = size;
        }
        let again = Witness::open(home.path()).unwrap();
        assert_eq!(again.logs().unwrap()[0].checkpoint().unwrap().size, 40);
        cosigned(&again, &ask(&people, &trail, 40)).unwrap();
    }
}

#[test]
fn refusals_say_why_and_change_nothing() {
    let home = tempfile::tempdir().unwrap();
    let (people, stranger, trail) = (People::new(1, 1), People::new(2, 1), leaves(40));
    let witness = set_up(home.path(), &people);
    cosigned(&witness, &ask(&people, &trail[..12], 0)).unwrap();
    let mut rewritten = trail.clone();
    rewritten[3] = leaf_hash(b"something else");
    let refused = |what: &str, asked: &AddCheckpoint, status: u16, size: Option<u64>| {
        let before = fs::read_dir(home.path().join("logs")).unwrap().flatten().map(|it| fs::read(it.path()).unwrap());
        let before: Vec<_> = before.collect();
        let refusal = witness.record(asked).unwrap_err();
        assert_eq!((refusal.status(), refusal.size()), (status, size), "{what}: {refusal}");
        let after = fs::read_dir(home.path().join("logs")).unwrap().flatten().map(|it| fs::read(it.path()).unwrap());
        assert!(before.into_iter().eq(after), "{what}");
    };
    refused("a log that nobody told it of", &ask(&stranger, &trail, 12), 404, None);
    let mut unsigned = ask(&people, &trail, 12);
    let text = unsigned.note.text().to_owned();
    let foreign = SigningKey::generate(&mut SeededEntropy::new(9), KeyRole::Log).unwrap();
    let point = Checkpoint::new(&people.vault, 40, root_of(&trail));
    unsigned.note = Note::parse(checkpoint::sign(&point, &[&foreign]).unwrap().as_bytes()).unwrap();
    assert_eq!(unsigned.note.text(), text);
    refused("another key in its name", &unsigned, 403, None);
    refused("a rollback", &ask(&people, &trail[..5], 5), 409, Some(12));
    refused("a rollback that knows better", &ask(&people, &trail[..5], 12), 400, None);
    refused("an old size that was forgotten", &ask(&people, &trail, 0), 409, Some(12));
    refused("an old size of the future", &ask(&people, &trail, 13), 409, Some(12));
    refused("another history of the same length", &ask(&people, &rewritten[..12], 12), 409, Some(12));
    refused("another, longer history", &ask(&people, &rewritten, 12), 422, None);
    refused("no proof", &AddCheckpoint { proof: Vec::new(), ..ask(&people, &trail, 12) }, 422, None);
    let mut long = ask(&people, &trail, 12);
    long.proof.push(Digest::of(b"more"));
    refused("a proof that is too long", &long, 422, None);
    // A stranger's line beside the log's own is ignored, and not kept.
    let mut both = ask(&people, &trail, 12);
    both.note.merge(unsigned.note.lines().to_vec());
    witness.record(&both).unwrap();
    assert_eq!(witness.logs().unwrap()[0].latest.as_ref().unwrap().lines().len(), 1);
    // An empty trail is one only by its root.
    let other = People::new(3, 1);
    witness.add_log(of_root(&other)).unwrap();
    let empty = Checkpoint::new(&other.vault, 0, root_of(&trail));
    let note = Note::parse(checkpoint::sign(&empty, &[&other.log]).unwrap().as_bytes()).unwrap();
    assert_eq!(witness.record(&AddCheckpoint { old_size: 0, proof: Vec::new(), note }).unwrap_err().status(), 409);
}

#[test]
fn what_is_recorded_counts_even_if_the_answer_was_lost() {
    let home = tempfile::tempdir().unwrap();
    let (people, trail) = (People::new(1, 1), leaves(40));
    let witness = set_up(home.path(), &people);
    cosigned(&witness, &ask(&people, &trail[..12], 0)).unwrap();
    // The power fails between the disk and the answer.
    drop(witness.record(&ask(&people, &trail[..30], 12)).unwrap());
    let witness = Witness::open(home.path()).unwrap();
    let refusal = witness.record(&ask(&people, &trail, 12)).unwrap_err();
    assert_eq!((refusal.status(), refusal.size()), (409, Some(30)));
    cosigned(&witness, &ask(&people, &trail[..30], 30)).unwrap();
    cosigned(&witness, &ask(&people, &trail, 30)).unwrap();
}

#[test]
fn of_two_at_once_one_is_refused() {
    let home = tempfile::tempdir().unwrap();
    let (people, trail) = (People::new(1, 1), leaves(40));
    let witness = set_up(home.path(), &people);
    cosigned(&witness, &ask(&people, &trail[..12], 0)).unwrap();
    let questions: Vec<AddCheckpoint> = (20..40).map(|size| ask(&people, &trail[..size], 12)).collect();
    let done: Vec<bool> = std::thread::scope(|scope| {
        let folder = home.path();
        let one = |asked| scope.spawn(move || Witness::open(folder).unwrap().record(asked).is_ok());
        let all: Vec<_> = questions.iter().map(one).collect();
        all.into_iter().map(|one| one.join().unwrap()).collect()
    });
    assert_eq!(done.iter().filter(|done| **done).count(), 1);
}

#[test]
fn keys_of_a_log_change_with_its_root_alone() {
    let home = tempfile::tempdir().unwrap();
    let (people, trail) = (People::new(1, 1), leaves(40));
    let witness = set_up(home.path(), &people);
    cosigned(&witness, &ask(&people, &trail[..12], 0)).unwrap();
    let root = people.root(1);
    // The next epoch: the log key counts up to entry 20, another one from there on.
    let second = SigningKey::generate(&mut SeededEntropy::new(9), KeyRole::Log).unwrap();
    let mut document = root.next_document(Timestamp::from_millis(1));
    let mut new = document.keys.iter().find(|key| key.role == KeyRole::Log).unwrap().clone();
    for key in document.keys.iter_mut().filter(|key| key.role == KeyRole::Log) {
        key.until = Some(20);
    }
    (new.key, new.from) = (second.verifying_key(), 20);
    document.keys.push(new);
    let next = document.sign(&people.roots.iter().collect::<Vec<_>>()).unwrap();
    witness.add_log(LogKeys::Root(Box::new(next))).unwrap();
    assert_eq!(witness.logs().unwrap()[0].checkpoint().unwrap().size, 12, "what was seen was seen");
    assert_eq!(witness.record(&ask(&people, &trail, 12)).unwrap_err().status(), 403, "the old key has ended");
    let point = Checkpoint::new(&people.vault, 40, root_of(&trail));
    let note = Note::parse(checkpoint::sign(&point, &[&second]).unwrap().as_bytes()).unwrap();
    witness.record(&AddCheckpoint { note, ..ask(&people, &trail, 12) }).unwrap();

    assert!(matches!(witness.add_log(of_root(&people)), Err(WitnessError::Keys { .. })), "an epoch back");
    let typed = VerifierKey::new(&point.origin, Algorithm::Log, foreign().as_bytes()).unwrap();
    assert!(matches!(witness.add_log(LogKeys::Keys(vec![typed.clone()])), Err(WitnessError::Keys { .. })));
    let other = VerifierKey::new("example.com/log", Algorithm::Log, foreign().as_bytes()).unwrap();
    assert_eq!(witness.add_log(LogKeys::Keys(vec![other.clone()])).unwrap(), "example.com/log");
    assert!(witness.add_log(LogKeys::Keys(vec![other, typed])).is_err(), "keys of two logs");
    assert!(witness.add_log(LogKeys::Keys(vec![witness.verifier_key().clone()])).is_err(), "a witness is no log");
    assert!(witness.add_log(LogKeys::Keys(Vec::new())).is_err());
    assert_eq!(witness.logs().unwrap().len(), 2);
}

fn foreign() -> ringfence_trust::sign::VerifyingKey {
    SigningKey::generate(&mut SeededEntropy::new(77), KeyRole::Log).unwrap().verifying_key()
}

#[test]
fn a_damaged_memory_signs_nothing() {
    let home = tempfile::tempdir().unwrap();
    let (people, trail) = (People::new(1, 1), leaves(40));
    let witness = set_up(home.path(), &people);
    cosigned(&witness, &ask(&people, &trail[..12], 0)).unwrap();
    let file = fs::read_dir(home.path().join("logs")).unwrap().next().unwrap().unwrap().path();
    let good = fs::read(&file).unwrap();
    for (what, changed) in damaged(&good).step_by(17) {
        fs::write(&file, changed).unwrap();
        assert_eq!(witness.record(&ask(&people, &trail, 12)).unwrap_err().status(), 500, "{what}");
        assert!(witness.logs().is_err() && witness.add_log(of_root(&people)).is_err(), "{what}");
    }
    fs::write(&file, &good).unwrap();
    witness.record(&ask(&people, &trail, 12)).unwrap();

    // Its key and its folder are its own.
    let again = Witness::create(home.path(), "witness.example/w9", Algorithm::Ed25519, &mut SeededEntropy::new(9));
    assert!(matches!(again, Err(WitnessError::Exists { .. })));
    let key = home.path().join("witness.key");
    let secret = fs::read(&key).unwrap();
    for (what, changed) in damaged(&secret) {
        fs::write(&key, changed).unwrap();
        assert!(Witness::open(home.path()).is_err(), "{what}");
    }
    fs::write(&key, secret).unwrap();
    Witness::open(home.path()).unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o640)).unwrap();
    assert!(matches!(Witness::open(home.path()), Err(WitnessError::Key(VkeyError::File { .. }))));
    fs::set_permissions(home.path(), fs::Permissions::from_mode(0o777)).unwrap();
    assert!(matches!(Witness::open(home.path()), Err(WitnessError::Unsafe { .. })));
}

#[test]
fn bodies_have_limits_and_one_spelling() {
    let people = People::new(1, 1);
    let text = ask(&people, &leaves(40), 12).to_string();
    assert_eq!(AddCheckpoint::parse(text.as_bytes()).unwrap().to_string(), text);
    for (what, changed) in damaged(text.as_bytes()) {
        if let Ok(asked) = AddCheckpoint::parse(&changed) {
            assert_eq!(asked.to_string().as_bytes(), changed, "{what}");
        }
    }
    for (old, new) in [
        ("old 12", "old 012"),
        ("old 12", "old +12"),
        ("old 12", "Old 12"),
        ("old 12\n", "old 12\r\n"),
        ("old 12\n", ""),
    ] {
        assert!(AddCheckpoint::parse(text.replacen(old, new, 1).as_bytes()).is_err(), "{new}");
    }
    let line = text.lines().nth(1).unwrap();
    let many = |count| text.replacen("old 12\n", &format!("old 12\n{}", format!("{line}\n").repeat(count)), 1);
    let there = text.lines().skip(1).take_while(|line| !line.is_empty()).count();
    assert!(AddCheckpoint::parse(many(PROOF_LINES_MAX - there).as_bytes()).is_ok());
    let refusal = AddCheckpoint::parse(many(PROOF_LINES_MAX - there + 1).as_bytes()).unwrap_err();
    assert_eq!(refusal, RequestError::TooManyHashes);
    let huge = vec![b'x'; BODY_BYTES_MAX + 1];
    assert!(matches!(AddCheckpoint::parse(&huge), Err(RequestError::TooLarge { .. })));
    let signature = text.lines().last().unwrap();
    assert!(parse_lines(&format!("{signature}\n").repeat(LINES_MAX)).is_ok());
    assert_eq!(parse_lines(&format!("{signature}\n").repeat(LINES_MAX + 1)), Err(NoteError::TooManyLines));
    assert!(parse_lines("").is_err() && parse_lines("\n").is_err() && parse_lines(signature).is_err());
}

/// Three witnesses and a policy text with their keys in place of `$0`, `$1` and `$2`.
struct Trio {
    keys: Vec<CosignerKey>,
}

impl Trio {
    fn new() -> Self {
        let algorithms = [Algorithm::Ed25519, Algorithm::MlDsa44, Algorithm::Ed25519];
        let make = |(seed, algorithm)| {
            CosignerKey::generate(&mut SeededEntropy::new(seed), &format!("w{seed}.example"), algorithm).unwrap()
        };
        Self { keys: (0..).zip(algorithms).map(make).collect() }
    }

    fn text(&self, text: &str) -> String {
        (0..3).fold(text.to_owned(), |text, place| {
            text.replace(&format!("${place}"), &self.keys[place].verifier_key().to_string())
        })
    }

    fn policy(&self, text: &str) -> Result<Policy, (usize, &'static str)> {
        Policy::parse(self.text(text).as_bytes()).map_err(|error| (error.line, error.what))
    }
}

#[test]
fn a_quorum_counts_every_subset() {
    let home = tempfile::tempdir().unwrap();
    let (people, trail, trio) = (People::new(1, 1), leaves(9), Trio::new());
    // Lines are made by witnesses alone, so each key gets one.
    let lines: Vec<_> = (0..3)
        .map(|place| {
            let folder = home.path().join(place.to_string());
            let algorithm = trio.keys[place].verifier_key().algorithm();
            let name = trio.keys[place].verifier_key().name().to_owned();
            let witness = Witness::create(&folder, &name, algorithm, &mut SeededEntropy::new(place as u64)).unwrap();
            witness.add_log(of_root(&people)).unwrap();
            let recorded = witness.record(&ask(&people, &trail, 0)).unwrap();
            witness.cosign(&recorded, 1_000 + place as u64).unwrap()
        })
        .collect();
    let all = "witness a $0\nwitness b $1 https://b.example/\nwitness c\t$2\n";
    // Which subsets, by bits, are enough.
    let cases: [(&str, &dyn Fn(usize) -> bool); 8] = [
        ("quorum none\n", &|_| true),
        ("quorum b\n", &|set| set & 2 != 0),
        ("group g all a b c\nquorum g\n", &|set| set == 7),
        ("group g any a b c\nquorum g\n", &|set| set != 0),
        ("group g 2 a b c\nquorum g\n", &|set| set.count_ones() >= 2),
        ("group g 1 a b\ngroup h all g c\nquorum h\n", &|set| set & 3 != 0 && set & 4 != 0),
        ("group g 2 a b\ngroup h any g c\nquorum h\n", &|set| set & 3 == 3 || set & 4 != 0),
        ("# two\n  \n\tgroup g 2 a b\n quorum  g ", &|set| set & 3 == 3),
    ];
    for (text, enough) in cases {
        let policy = trio.policy(&format!("{all}{text}")).unwrap();
        assert_eq!(policy.asks(), !text.starts_with("quorum none"));
        for set in 0..8_usize {
            let mut note = signed(&people, &trail);
            note.merge((0..3).filter(|place| set & 1 << place != 0).map(|place| lines[place].clone()));
            let tally = policy.satisfied(&note);
            assert_eq!(tally.met, enough(set), "{text} {set:03b}");
            let who: BTreeSet<usize> = tally.cosigned.iter().map(|(place, _)| *place).collect();
            assert_eq!(who, (0..3).filter(|place| set & 1 << place != 0).collect());
            assert!(tally.cosigned.iter().all(|(place, time)| *time == 1_000 + *place as u64));
            assert!(tally.broken.is_empty());
            // The same lines under another text: they are by those witnesses, and do not hold.
            let mut other = signed(&people, &trail[..8]);
            other.merge(note.lines()[1..].to_vec());
            let tally = policy.satisfied(&other);
            assert_eq!(tally.broken.len(), set.count_ones() as usize);
            assert_eq!(tally.met, enough(0));
        }
    }
    let policy = trio.policy(&format!("{all}quorum a\n")).unwrap();
    assert_eq!(policy.witnesses()[1].url.as_deref(), Some("https://b.example/"));
    assert_eq!(policy.witnesses()[1].name(), "b");
}

#[test]
fn policies_that_say_too_much_or_too_little_are_refused() {
    let trio = Trio::new();
    let log = VerifierKey::new("example.com/log", Algorithm::Log, foreign().as_bytes()).unwrap();
    let fine = trio.policy(&format!("log {log} https://log.example/\nwitness a $0\nquorum a")).unwrap();
    assert_eq!(fine.logs(), std::slice::from_ref(&log));
    let cases = [
        (String::new(), 1, "no `quorum`"),
        ("witness a $0\n".to_owned(), 2, "no `quorum`"),
        ("quorum none\nquorum none\n".to_owned(), 2, "second"),
        ("quorum a\nwitness a $0\n".to_owned(), 1, "does not stand above"),
        ("witness none $0\nquorum none\n".to_owned(), 1, "`none`"),
        ("witness a $0\nwitness a $1\nquorum a\n".to_owned(), 2, "a name that stands above"),
        ("witness a $0\nwitness b $0\nquorum a\n".to_owned(), 2, "the key of a witness"),
        (format!("log {log}\nlog {log}\nquorum none\n"), 2, "the key of a log"),
        (format!("witness a {log}\nquorum a\n"), 1, "not a key that signs for a witness"),
        ("log $0\nquorum none\n".to_owned(), 1, "not a key that signs for a log"),
        ("witness a $0\ngroup g 2 a\nquorum g\n".to_owned(), 2, "does not fit"),
        ("witness a $0\ngroup g 0 a\nquorum g\n".to_owned(), 2, "does not fit"),
        ("witness a $0\ngroup g -1 a\nquorum g\n".to_owned(), 2, "not `any`"),
        ("witness a $0\ngroup g +1 a\nquorum g\n".to_owned(), 2, "not `any`"),
        ("witness a $0\ngroup g any\nquorum g\n".to_owned(), 2, "without members"),
        ("witness a $0\ngroup g any none\nquorum g\n".to_owned(), 2, "a member that does not stand above"),
        ("witness a $0\ngroup g any g\nquorum g\n".to_owned(), 2, "a member that does not stand above"),
        ("witness a $0\ngroup g any a a\nquorum g\n".to_owned(), 2, "a member already"),
        ("witness a $0\ngroup g any a\ngroup h any a\nquorum g\n".to_owned(), 3, "a member already"),
        ("witness a $0 one two\nquorum a\n".to_owned(), 1, "too many words"),
        ("witness a\nquorum none\n".to_owned(), 1, "too few"),
        ("Quorum none\n".to_owned(), 1, "not a `log`"),
        ("quorum none\r\n".to_owned(), 1, "control"),
        ("quorum none # one\n".to_owned(), 1, "too many words"),
        ("witness a a.example+00000000+AAAA\nquorum a\n".to_owned(), 1, "not a verifier key"),
    ];
    for (text, line, what) in cases {
        let (at, said) = trio.policy(&text).unwrap_err();
        assert!(at == line && said.contains(what), "{text}: line {at}: {said}");
    }
    let names = |count: usize| -> String {
        let mut text = String::new();
        for place in 0..count {
            let entropy = &mut SeededEntropy::new(100 + place as u64);
            let key = CosignerKey::generate(entropy, "w", Algorithm::Ed25519).unwrap();
            text.push_str(&format!("witness w{place} {}\n", key.verifier_key()));
        }
        text + "quorum w0\n"
    };
    assert!(trio.policy(&names(64)).is_ok());
    assert_eq!(trio.policy(&names(65)).unwrap_err().0, 65);
    // Names are bytes.
    let mut odd = b"witness \xe2\x84\xaa ".to_vec();
    odd.extend(trio.text("$0\nwitness K $1\nquorum K\n").into_bytes());
    odd.extend(b"#\xff\xfe\n");
    assert_eq!(Policy::parse(&odd).unwrap().witnesses().len(), 2);
}

proptest! {
    #[test]
    fn arbitrary_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        if let Ok(asked) = AddCheckpoint::parse(&bytes) {
            prop_assert_eq!(asked.to_string().into_bytes(), bytes.clone());
        }
        if let Ok(note) = Note::parse(&bytes) {
            prop_assert_eq!(note.to_string().into_bytes(), bytes.clone());
        }
        let _ = Policy::parse(&bytes);
        for status in [200, 409, 422] {
            let _ = Answer::read(status, SIZE_CONTENT_TYPE, &bytes);
        }
    }

    #[test]
    fn near_questions_are_read_or_refused(
        old in "old [0-9]{1,21}\n", proof in proptest::collection::vec("[A-Za-z0-9+/]{43}=\n", 0..70),
        note in "\n[a-z/]{1,9}\n[0-9]{1,21}\n[A-Za-z0-9+/]{42}A=\n(x\n)?\n(\u{2014} [a-z]{1,5} [A-Za-z0-9+/]{8}\n){1,3}",
    ) {
        let body = format!("{old}{}{note}", proof.concat());
        if let Ok(asked) = AddCheckpoint::parse(body.as_bytes()) {
            prop_assert_eq!(asked.to_string(), body);
        }
    }
}
