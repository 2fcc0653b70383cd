//! Sources of exact bytes, and a vault's keys and root made from them.

use std::{fs, path::PathBuf};

use ringfence_schema::{
    Timestamp,
    digest::{from_hex, hex},
    evidence::{EvidenceKind, Statement, Subject},
};
use ringfence_trust::{
    VaultId,
    entropy::{Entropy, SeededEntropy},
    keys::{KeyId, KeyRole},
    root::{RoleKey, RootDocument, TrustRoot},
    sign::SigningKey,
};

/// Hands out given bytes in order, so that a test can say what a key is.
pub(crate) struct Script(Vec<u8>);

impl Script {
    pub(crate) fn new(parts: &[&[u8]]) -> Self {
        Self(parts.concat())
    }
}

impl Entropy for Script {
    fn fill(&mut self, out: &mut [u8]) {
        assert!(self.0.len() >= out.len(), "the script is over");
        out.copy_from_slice(&self.0.drain(..out.len()).collect::<Vec<_>>());
    }
}

/// A seeded source that remembers what it gave, in hexadecimal.
pub(crate) struct Recorder {
    source: SeededEntropy,
    pub(crate) drawn: Vec<String>,
}

impl Recorder {
    pub(crate) fn new(seed: u64) -> Self {
        Self { source: SeededEntropy::new(seed), drawn: Vec::new() }
    }
}

impl Entropy for Recorder {
    fn fill(&mut self, out: &mut [u8]) {
        self.source.fill(out);
        self.drawn.push(hex(out));
    }
}

pub(crate) fn unhex(text: &str) -> Vec<u8> {
    from_hex(text).unwrap()
}

pub(crate) fn signing_key(seed_hex: &str, role: KeyRole) -> SigningKey {
    SigningKey::generate(&mut Script::new(&[&[7; KeyId::BYTES], &unhex(seed_hex)]), role).unwrap()
}

pub(crate) fn vectors() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/vectors")
}

pub(crate) fn published(name: &str) -> serde_json::Value {
    serde_json::from_slice(&fs::read(vectors().join("published").join(name)).unwrap()).unwrap()
}

/// The signing keys of a vault with one key per role and `n` root keys.
pub(crate) struct People {
    pub(crate) vault: VaultId,
    pub(crate) roots: Vec<SigningKey>,
    pub(crate) log: SigningKey,
    pub(crate) refs: SigningKey,
    pub(crate) evidence: SigningKey,
    pub(crate) release: SigningKey,
}

impl People {
    pub(crate) fn new(seed: u64, root_keys: usize) -> Self {
        let mut entropy = SeededEntropy::new(seed);
        let vault = VaultId::random(&mut entropy);
        let mut key = |role| SigningKey::generate(&mut entropy, role).unwrap();
        Self {
            vault,
            roots: (0..root_keys).map(|_| key(KeyRole::Root)).collect(),
            log: key(KeyRole::Log),
            refs: key(KeyRole::Ref),
            evidence: key(KeyRole::Evidence),
            release: key(KeyRole::Release),
        }
    }

    pub(crate) fn document(&self, threshold: u32) -> RootDocument {
        let entry = |key: &SigningKey, kinds: &[EvidenceKind]| RoleKey {
            key: key.verifying_key(),
            role: key.role(),
            predicates: kinds.iter().map(|kind| kind.predicate_type().to_owned()).collect(),
            from: 0,
            until: None,
        };
        let keys = vec![
            entry(&self.log, &[]),
            entry(&self.refs, &[]),
            entry(&self.evidence, &[EvidenceKind::Scan, EvidenceKind::Screen]),
            entry(&self.release, &[EvidenceKind::Release]),
        ];
        let roots = self.roots.iter().map(SigningKey::verifying_key).collect();
        RootDocument::first(self.vault, Timestamp::from_millis(1_700_000_000_000), false, threshold, roots, keys)
    }

    pub(crate) fn root(&self, threshold: u32) -> TrustRoot {
        self.document(threshold).sign(&self.roots.iter().collect::<Vec<_>>()).unwrap()
    }
}

pub(crate) fn speak_statement(kind: EvidenceKind) -> Statement {
    let subject = Subject::new("dataset/digits@1", ringfence_schema::Digest::of(b"a tree"));
    Statement::new(kind, vec![subject], serde_json::json!({"verdict": "pass", "complete": true}))
}

/// Every way to change one byte of `file` a little: a flipped bit, a byte cut out, a byte put in, the end cut off.
pub(crate) fn damaged(file: &[u8]) -> impl Iterator<Item = (String, Vec<u8>)> + '_ {
    let flips = (0..file.len()).map(|position| {
        let mut changed = file.to_vec();
        changed[position] ^= 1 << (position % 8);
        (format!("flip at {position}"), changed)
    });
    let cuts = (0..file.len()).map(|position| {
        let mut changed = file.to_vec();
        changed.remove(position);
        (format!("cut at {position}"), changed)
    });
    let additions = (0..=file.len()).map(|position| {
        let mut changed = file.to_vec();
        changed.insert(position, b" \n0=A"[position % 5]);
        (format!("addition at {position}"), changed)
    });
    let ends = (0..file.len()).step_by(7).map(|length| (format!("end at {length}"), file[..length].to_vec()));
    flips.chain(cuts).chain(additions).chain(ends)
}
