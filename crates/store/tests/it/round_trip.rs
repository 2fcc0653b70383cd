//! What was put is what is read, whole and in ranges, now and after a restart.

use std::io::{Read as _, Seek as _, SeekFrom};

use proptest::prelude::*;
use ringfence_schema::{Digest, Tree, tree::TreeEntry};
use ringfence_store::{Cuts, StoreError};
use ringfence_trust::{entropy::SeededEntropy, keys::Namespace};

use crate::vault::{File, Vault, file, noise, read};

fn any_file(name: usize) -> impl Strategy<Value = File> {
    let size = prop_oneof![Just(0), 1..300_usize, 60_000..70_000_usize, 0..1_500_000_usize];
    let cuts = prop_oneof![
        Just(None),
        proptest::collection::btree_set(0..1_500_000_u64, 0..6)
            .prop_map(|set| Some(set.into_iter().collect::<Vec<_>>()))
    ];
    // A small alphabet of seeds makes equal files, and so equal chunks, likely.
    (size, 0..3_u64, cuts).prop_map(move |(size, seed, cuts)| {
        let cuts = cuts.map_or(Cuts::Content, |mut offsets| {
            offsets.retain(|offset| *offset <= size as u64);
            Cuts::At(offsets)
        });
        (format!("dir {name}/file-{}", name % 2), noise(size, seed), cuts)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn files_and_ranges(
        files in (any_file(0), any_file(1), any_file(2)).prop_map(|(a, b, c)| [a, b, c]),
        ranges in proptest::collection::vec((0..3_usize, 0..=1_000_u64, 0..200_000_usize), 12),
    ) {
        let mut vault = Vault::new();
        let store = vault.open();
        let id = vault.add(&store, Namespace::Quarantine, &files);
        for store in [store, vault.open()] {
            vault.ledger.check(&store).unwrap();
            let manifest = store.manifest(id).unwrap();
            for (file, per_mille, length) in &ranges {
                let (path, content, _) = &files[*file];
                let offset = content.len() * (*per_mille as usize) / 1_000;
                let length = (*length).min(content.len() - offset);
                let range = store.read_at(&manifest, path, offset as u64, length).unwrap();
                prop_assert!(range == content[offset..offset + length]);
            }
            let verified = store.verify(&[id]).unwrap();
            prop_assert!(verified.is_sound(), "{:?}", verified.damaged);
        }
    }
}

#[test]
fn the_tree_is_the_artifacts_identity() {
    let mut vault = Vault::durable();
    let store = vault.open();
    let files = [file("b", "two"), file("a/c", "one")];
    let sealed = vault.put(&store, Namespace::Admitted, &files).unwrap();
    let entry = |path: &str, content: &str| TreeEntry {
        path: path.to_owned(),
        size: 3,
        sha256: Digest::of(content.as_bytes()),
    };
    assert_eq!(sealed.tree, Tree::new(vec![entry("a/c", "one"), entry("b", "two")]).unwrap());
    assert_eq!(sealed.stats.bytes, 6);
    assert_eq!(sealed.stats.new_chunks, 2);
    let id = sealed.manifest;
    let stored: u64 = vault.stored().iter().map(|path| path.metadata().unwrap().len()).sum();
    assert_eq!(sealed.stats.stored_bytes, stored);
    vault.commit(&store, sealed, &files);
    let manifest = store.manifest(id).unwrap();
    assert_eq!(manifest.signature(), Digest::of(manifest.statement()).as_bytes());
    let statement: serde_json::Value = serde_json::from_slice(manifest.statement()).unwrap();
    assert_eq!(statement["schema"], "ringfence.manifest/1");
    assert_eq!(statement["tree"], manifest.tree().digest().to_string());
    assert_eq!(statement["namespace"], "admitted");
    assert_eq!(statement["parent"], serde_json::Value::Null);
    assert_eq!(store.list(Namespace::Admitted).unwrap(), [id]);
    assert!(store.list(Namespace::Quarantine).unwrap().is_empty());
}

#[test]
fn a_version_names_its_parent() {
    let mut vault = Vault::new();
    let store = vault.open();
    let first = vault.add(&store, Namespace::Admitted, &[file("a", "1")]);
    let mut writer = store.writer(Namespace::Admitted, ringfence_trust::entropy::SeededEntropy::new(99)).unwrap();
    writer.parent(first);
    writer.file("a", &mut b"1".as_slice(), Cuts::Content).unwrap();
    let sealed = writer.finish(&|_| Ok(vec![])).unwrap();
    assert_eq!(sealed.keys, [], "nothing is new, so there is no pack");
    assert_eq!(sealed.relies_on.iter().copied().collect::<Vec<_>>(), [vault.ledger.keys[0].id]);
    assert_eq!(store.manifest(sealed.manifest).unwrap().parent(), Some(first));
}

#[test]
fn readers_seek() {
    let mut vault = Vault::new();
    let store = vault.open();
    let content = noise(300_000, 1);
    let id = vault.add(&store, Namespace::Admitted, &[file("a", content.clone())]);
    let manifest = store.manifest(id).unwrap();
    let mut reader = store.read(&manifest, "a").unwrap();
    let mut last = [0; 10];
    assert_eq!(reader.seek(SeekFrom::End(-10)).unwrap(), 299_990);
    reader.read_exact(&mut last).unwrap();
    assert_eq!(last, content[299_990..]);
    assert_eq!(reader.read(&mut last).unwrap(), 0);
    assert_eq!(reader.seek(SeekFrom::Start(5)).unwrap(), 5);
    reader.read_exact(&mut last).unwrap();
    assert_eq!(last, content[5..15]);
    assert!(reader.seek(SeekFrom::Current(-16)).is_err());
}

#[test]
fn short_reads_make_no_difference() {
    struct Dribble<'a>(&'a [u8]);
    impl std::io::Read for Dribble<'_> {
        fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
            let count = out.len().min(7_919);
            self.0.read(&mut out[..count])
        }
    }
    let vault = Vault::new();
    let store = vault.open();
    let content = noise(3_000_000, 2);
    let mut writer = store.writer(Namespace::Admitted, ringfence_trust::entropy::SeededEntropy::new(1)).unwrap();
    writer.file("whole", &mut content.as_slice(), Cuts::Content).unwrap();
    writer.file("dribbled", &mut Dribble(&content), Cuts::Content).unwrap();
    let sealed = writer.finish(&|_| Ok(vec![])).unwrap();
    assert_eq!(sealed.stats.new_chunks * 2, sealed.stats.chunks);
}

#[test]
fn a_version_of_many_packs() {
    let mut vault = Vault::new();
    let store = vault.open();
    let content = noise(66 << 20, 3);
    let files = [("big".to_owned(), content, Cuts::At(vec![8, 1 << 20, 50 << 20]))];
    let id = vault.add(&store, Namespace::Admitted, &files);
    assert_eq!(vault.ledger.keys.len(), 2);
    let sizes: Vec<u64> = vault.stored_in("admitted/packs").iter().map(|path| path.metadata().unwrap().len()).collect();
    assert!(sizes.iter().all(|size| *size <= ringfence_store::PACK_BYTES_MAX), "{sizes:?}");
    let store = vault.open();
    vault.ledger.check(&store).unwrap();
    assert!(store.verify(&[id]).unwrap().is_sound());
}

#[test]
fn an_uncommitted_version_is_not_there() {
    let mut vault = Vault::new();
    let store = vault.open();
    let files = [file("a", "x")];
    let sealed = vault.put(&store, Namespace::Admitted, &files).unwrap();
    let manifest = vault.open().manifest(sealed.manifest).unwrap();
    let error = read(&vault.open(), &manifest, "a").unwrap_err();
    assert!(matches!(error.downcast::<StoreError>(), Ok(StoreError::ChunkMissing { .. })));
}

#[test]
fn a_file_in_pieces_is_the_file() {
    let mut vault = Vault::new();
    let store = vault.open();
    let (long, none) = (noise(5_300_001, 7), Vec::<u8>::new());
    let every_mib = |path: &str, content: &[u8]| (path.to_owned(), content.to_vec(), Cuts::At(Vec::new()));
    let files = [every_mib("long", &long), every_mib("none", &none)];
    let whole = vault.put(&store, Namespace::Quarantine, &files).unwrap();
    let mut writer = store.writer(Namespace::Quarantine, SeededEntropy::new(8)).unwrap();
    writer.begin("long").unwrap();
    let mut rest = long.as_slice();
    for length in [0, 1, 65_535, 1 << 20, (1 << 20) - 1, usize::MAX] {
        let (now, later) = rest.split_at(length.min(rest.len()));
        writer.append(now).unwrap();
        rest = later;
    }
    assert_eq!(writer.end().unwrap().sha256, Digest::of(&long));
    writer.begin("none").unwrap();
    assert_eq!(writer.end().unwrap().size, 0);
    let pieces = writer.finish(&|_| Ok(b"signed".to_vec())).unwrap();
    assert_eq!(pieces.tree, whole.tree);
    assert_eq!(pieces.stats.chunks, whole.stats.chunks, "cut at the same places");

    let mut writer = store.writer(Namespace::Quarantine, SeededEntropy::new(9)).unwrap();
    writer.begin("open").unwrap();
    assert!(matches!(writer.finish(&|_| Ok(Vec::new())), Err(StoreError::WriterStopped)), "a file is open");
    let mut writer = store.writer(Namespace::Quarantine, SeededEntropy::new(10)).unwrap();
    assert!(matches!(writer.append(b"x"), Err(StoreError::WriterStopped)), "none is");
    assert!(matches!(writer.begin("a"), Err(StoreError::WriterStopped)), "after an error nothing more");
}

#[test]
fn a_copied_file_is_the_file_however_either_is_cut() {
    let mut vault = Vault::new();
    let store = vault.open();
    let (long, other) = (noise(5_300_001, 9), noise(1_400_000, 10));
    let cut = |path: &str, content: &[u8], cuts| (path.to_owned(), content.to_vec(), cuts);
    let at = |offsets: &[u64]| Cuts::At(offsets.to_vec());
    let came = [cut("a", &long, Cuts::Content), cut("b", &long, at(&[])), file("c", ""), cut("d", &long, at(&[7]))];
    let id = vault.add(&store, Namespace::Quarantine, &came);
    let manifest = store.manifest(id).unwrap();
    let stays = [
        cut("a", &long, at(&[0, 9, 3_000_000])),
        cut("b", &long, Cuts::Content),
        file("c", ""),
        cut("d", &long, Cuts::Content),
        cut("e", &other, Cuts::Content),
    ];
    let direct = vault.put(&store, Namespace::Admitted, &stays).unwrap();
    let mut writer = store.writer(Namespace::Admitted, SeededEntropy::new(11)).unwrap();
    for (path, content, cuts) in &stays[..4] {
        let mut reader = store.read(&manifest, path).unwrap();
        // Where the reader stands makes no difference.
        reader.seek(SeekFrom::End(0)).unwrap();
        let record = writer.copy(reader, cuts.clone()).unwrap();
        assert_eq!((record.size, record.sha256), (content.len() as u64, Digest::of(content)));
    }
    // Buffers of any length came back.
    writer.file("e", &mut other.as_slice(), Cuts::Content).unwrap();
    let copied = writer.finish(&|_| Ok(b"signed".to_vec())).unwrap();
    assert_eq!(copied.tree, direct.tree);
    assert_eq!((copied.stats.chunks, copied.stats.new_chunks), (direct.stats.chunks, direct.stats.new_chunks));
    vault.commit(&store, copied, &stays);
    vault.ledger.check(&store).unwrap();
}

#[test]
fn a_copy_refuses_what_a_file_refuses() {
    let mut vault = Vault::new();
    let store = vault.open();
    let id = vault.add(&store, Namespace::Quarantine, &[file("a", "nine more")]);
    let manifest = store.manifest(id).unwrap();
    let reader = || store.read(&manifest, "a").unwrap();
    let writer = || store.writer(Namespace::Admitted, SeededEntropy::new(1)).unwrap();
    let mut twice = writer();
    twice.copy(reader(), Cuts::Content).unwrap();
    assert!(matches!(twice.copy(reader(), Cuts::Content), Err(StoreError::Tree(_))));
    assert!(matches!(twice.copy(reader(), Cuts::Content), Err(StoreError::WriterStopped)));
    assert!(matches!(writer().copy(reader(), Cuts::At(vec![10])), Err(StoreError::Cut { .. })));
    let mut open = writer();
    open.begin("b").unwrap();
    assert!(matches!(open.copy(reader(), Cuts::Content), Err(StoreError::WriterStopped)));
}
