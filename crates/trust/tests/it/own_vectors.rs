//! This format's own vectors, for a second implementation: made once from seeded entropy, compared byte for byte ever after.
//!
//! `RINGFENCE_UPDATE_VECTORS=1` writes them anew, which is a change of the format and belongs in its changelog.

use std::{env, fs};

use ringfence_schema::{
    Digest, Timestamp, Tree, TreeEntry, canon,
    digest::hex,
    evidence::EvidenceKind,
    trail::{Change, Entry, EntryKind, Opening, Outcome, state_root},
};
use ringfence_trust::{
    Passphrase, VaultId,
    checkpoint::{self, Checkpoint},
    entropy::{Entropy as _, SeededEntropy},
    ident::{ChunkId, chunk_id},
    keys::{
        ChunkIdKey, CutKey, DetailKey, KdfParams, Kek, KeyId, Namespace, NamespaceKey, PackKey, Purpose, ShredGroup,
    },
    merkle::{Frontier, leaf_hash},
    root::{Revocation, TrustRoot},
    seal::{PackContext, PackOpener, PackSealer, seal_blob},
    sign::SigningKey,
    statement,
};
use serde_json::{Value, json};

use crate::support::{People, Recorder, speak_statement, vectors};

pub(crate) fn compare(name: &str, bytes: &[u8]) {
    let path = vectors().join("own").join(name);
    if env::var_os("RINGFENCE_UPDATE_VECTORS").is_some() {
        fs::write(&path, bytes).unwrap();
    }
    assert!(fs::read(&path).unwrap() == bytes, "{name} differs from what the code makes");
}

fn compare_json(name: &str, value: &Value) {
    // Sorted first: whether JSON objects keep their order depends on features that other crates of the build switch on.
    let sorted: Value = serde_json::from_slice(&canon::to_canonical(value).unwrap()).unwrap();
    let mut text = serde_json::to_string_pretty(&sorted).unwrap();
    text.push('\n');
    compare(name, text.as_bytes());
}

/// The bytes `0, 1, … 250, 0, 1, …`.
fn pattern(length: usize) -> Vec<u8> {
    (0..=250).cycle().take(length).collect()
}

#[test]
fn keys() {
    let mut entropy = Recorder::new(100);
    let vault = VaultId::random(&mut entropy);
    let params = KdfParams::with_cost(&mut entropy, KdfParams::MEMORY_KIB_MIN, KdfParams::PASSES_MIN, 1);
    let passphrase = "correct horse battery staple";
    let kek = Kek::from_passphrase(&Passphrase::new(passphrase.to_owned()).unwrap(), &params).unwrap();
    let mut derived = [0; 32];
    let cost = argon2::Params::new(params.memory_kib, params.passes, params.lanes, Some(32)).unwrap();
    argon2::Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, cost)
        .hash_password_into(passphrase.as_bytes(), &params.salt, &mut derived)
        .unwrap();

    entropy.drawn.clear();
    let namespace = NamespaceKey::generate(&mut entropy, &vault, Namespace::Admitted);
    let purpose = Purpose::Namespace(Namespace::Admitted);
    let namespace_row = kek.wrap(&mut entropy, &vault, purpose, 1, &namespace).unwrap();
    let pack = PackKey::generate(&mut entropy);
    let purpose = Purpose::Pack(Namespace::Admitted, ShredGroup::FIRST);
    let pack_row = namespace.wrap(&mut entropy, purpose, 1, &pack).unwrap();
    kek.unwrap::<NamespaceKey>(&vault, &namespace_row).unwrap();
    assert_eq!(namespace.unwrap::<PackKey>(&pack_row).unwrap().id(), pack.id());
    compare_json(
        "keys.json",
        &json!({
            "vault": vault,
            "passphrase": passphrase,
            "params": params,
            "kek": hex(&derived),
            "drawn": ["namespace id", "namespace key", "salt of its row", "pack id", "pack key", "salt of its row"],
            "entropy": entropy.drawn,
            "namespace_row": namespace_row,
            "pack_row": pack_row,
        }),
    );

    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("key");
    Kek::create_key_file(&path, &mut SeededEntropy::new(101)).unwrap();
    compare("key-file.txt", &fs::read(&path).unwrap());
}

#[test]
fn seals_and_chunk_ids() {
    let mut entropy = Recorder::new(200);
    let context = PackContext { vault: VaultId::random(&mut entropy), namespace: Namespace::Admitted };
    let id_key = ChunkIdKey::generate(&mut entropy);
    let key = PackKey::generate(&mut entropy);
    let twin = PackKey::generate(&mut crate::support::Script::new(&[
        key.id().as_bytes(),
        &crate::support::unhex(entropy.drawn.last().unwrap()),
    ]));
    let opener = PackOpener::new(twin.opener_key(), &context).unwrap();
    let pack = key.id();
    let mut sealer = PackSealer::new(key, &context).unwrap();
    let mut chunks = Vec::new();
    for length in [0, 5, 65_536, 65_541] {
        let plain = pattern(length);
        let (id, values) = chunk_id(&id_key, &plain);
        let mut sealed = Vec::new();
        let first = sealer.seal_chunk(&id, &plain, &mut sealed).unwrap().0;
        let mut out = Vec::new();
        opener.open_chunk(&id, first, &mut sealed.clone(), &mut out).unwrap();
        assert_eq!(out, plain);
        chunks.push(json!({
            "length": length,
            "id": id,
            "subtree_values": values.iter().map(|value| hex(value)).collect::<Vec<_>>(),
            "first_segment": first,
            "sealed_length": sealed.len(),
            "sealed_sha256": Digest::of(&sealed),
            "sealed_last_21_bytes": hex(&sealed[sealed.len().saturating_sub(21)..]),
        }));
    }
    let cut = CutKey::generate(&mut entropy);
    let detail = DetailKey::generate(&mut entropy);
    let blob = seal_blob(&detail, &mut entropy, &[b"detail", b"7"], b"an opening").unwrap();
    compare_json(
        "seals.json",
        &json!({
            "vault": context.vault,
            "namespace": context.namespace,
            "pack": pack,
            "drawn": ["vault", "chunk-id key's id", "chunk-id key", "pack id", "pack key", "cut key's id", "cut key", "detail key's id", "detail key", "salt of the blob"],
            "entropy": entropy.drawn,
            "plain": "byte i is i mod 251",
            "chunks": chunks,
            "gear_first_4": cut.gear()[..4].iter().map(|value| format!("{value:016x}")).collect::<Vec<_>>(),
            "blob": { "context": ["detail", "7"], "plain": "an opening", "sealed": hex(&blob) },
        }),
    );
    assert_eq!(ChunkId::BYTES, 32);
    assert_eq!(KeyId::BYTES, 16);
}

#[test]
fn signed_files() {
    let (people, newcomers) = (People::new(300, 2), People::new(301, 3));
    let first = people.root(2);
    let mut document = first.next_document(Timestamp::from_millis(1_800_000_000_000));
    document.roots = newcomers.roots.iter().map(SigningKey::verifying_key).collect();
    let key = people.release.verifying_key();
    document.revocations.push(Revocation { key, from: 40, reason: "key holder left".to_owned() });
    let second = document.sign(&people.roots.iter().chain(&newcomers.roots).collect::<Vec<_>>()).unwrap();
    compare("root-1.json", first.file());
    compare("root-2.json", second.file());
    let held = TrustRoot::open(&fs::read(vectors().join("own/root-1.json")).unwrap()).unwrap();
    held.succeed(&fs::read(vectors().join("own/root-2.json")).unwrap()).unwrap();

    let file = statement::seal(&speak_statement(EvidenceKind::Scan), &[&people.evidence]).unwrap();
    compare("statement.json", &file);
    statement::open(&file, &second, 41).unwrap();

    let mut frontier = Frontier::new();
    for leaf in [&b"one"[..], b"two", b"three"] {
        frontier.append(leaf_hash(leaf));
    }
    let point = Checkpoint::new(&people.vault, frontier.size(), frontier.root());
    let note = checkpoint::sign(&point, &[&people.log]).unwrap();
    compare("checkpoint.txt", note.as_bytes());
    second.verify_checkpoint(note.as_bytes()).unwrap();
}

#[test]
fn trail_and_tree() {
    let mut entropy = SeededEntropy::new(400);
    let mut salt = [0; 32];
    entropy.fill(&mut salt);
    let opening = Opening { salt: hex(&salt), value: json!({"b": 1, "a": ["x", null, true]}) };
    let (one, two) = (Digest::of(b"one"), Digest::of(b"two"));
    let rows = [("policy", &b"gate"[..], &one), ("ref", &b"dataset/digits"[..], &two)];
    let state = state_root(rows.into_iter());
    let entry = Entry {
        vault: VaultId::random(&mut entropy).to_string(),
        time: Timestamp::from_millis(1_700_000_000_000),
        kind: EntryKind::Outcome,
        action: "admit".to_owned(),
        actor: "owner".to_owned(),
        of: Some(6),
        outcome: Some(Outcome::Done),
        commits: [("result".to_owned(), opening.commitment().unwrap())].into(),
        changes: vec![
            Change { table: "ref".to_owned(), key: b"dataset/digits".to_vec(), value: Some(two) },
            Change { table: "waiver".to_owned(), key: vec![1, 2], value: None },
        ],
        state,
    };
    let leaf = entry.to_leaf().unwrap();
    assert_eq!(Entry::from_leaf(&leaf).unwrap(), entry);
    let file = |path: &str, content: &[u8]| TreeEntry {
        path: path.to_owned(),
        size: content.len() as u64,
        sha256: Digest::of(content),
    };
    let tree = Tree::new(vec![file("b/\u{e9}.txt", b"hello"), file("a.bin", b"")]).unwrap();
    compare_json(
        "trail.json",
        &json!({
            "opening": opening,
            "commitment": opening.commitment().unwrap(),
            "rows": rows.map(|(table, key, value)| json!([table, hex(key), value])),
            "state": state,
            "entry": entry,
            "leaf": hex(&leaf),
            "leaf_hash": leaf_hash(&leaf),
            "tree": tree,
            "tree_canonical": String::from_utf8(canon::to_canonical(&tree).unwrap()).unwrap(),
            "tree_digest": tree.digest(),
        }),
    );
}
