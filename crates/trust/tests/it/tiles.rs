//! Static tiles: the specification's own examples, and properties of any tree.

use std::collections::BTreeMap;

use proptest::prelude::*;
use ringfence_schema::Digest;
use ringfence_trust::{
    merkle::{leaf_hash, root_of},
    tiles::{
        BUNDLE_BYTES_MAX, Kind, LEVEL_MAX, Part, TILE_BYTES_MAX, TileError, Tower, WIDTH, WholeTile, parts_at,
        push_entry, read_bundle, read_tile, tile_bytes,
    },
};

fn leaves(count: u64) -> Vec<Digest> {
    (0..count).map(|index| leaf_hash(&index.to_be_bytes())).collect()
}

/// Every tile of the tree over `leaves`, as a log of that size must serve them.
fn built(leaves: &[Digest]) -> (Tower, BTreeMap<Part, Vec<Digest>>) {
    let (mut tower, mut tiles) = (Tower::new(), BTreeMap::new());
    for leaf in leaves {
        let put = |tile: WholeTile| -> Result<(), ()> {
            assert!(tiles.insert(tile.part, tile.hashes).is_none());
            Ok(())
        };
        tower.append(*leaf, put).unwrap();
    }
    tiles.extend(tower.unfinished().map(|(part, hashes)| (part, hashes.to_vec())));
    (tower, tiles)
}

#[test]
fn examples_of_the_specification() {
    // c2sp.org/tlog-tiles, "Merkle Tree": the index 1234067.
    assert_eq!(Part::hashes(0, 1_234_067, WIDTH).path(), "tile/0/x001/x234/067");
    assert_eq!(Part::entries(1_234_067, 8).path(), "tile/entries/x001/x234/067.p/8");
    assert_eq!(Part::entries(0, WIDTH).path(), "tile/entries/000");
    // "Partial Tiles": a tree of 70,000 entries, and one of 256.
    let expected = [Part::entries(273, 112), Part::hashes(0, 273, 112), Part::hashes(1, 1, 17), Part::hashes(2, 0, 1)];
    assert_eq!(parts_at(70_000), expected);
    assert_eq!(parts_at(256), [Part::hashes(1, 0, 1)]);
    assert!(parts_at(0).is_empty());
    let (_, tiles) = built(&leaves(70_000));
    let whole = |level| tiles.keys().filter(|part| part.kind == Kind::Hashes(level) && part.is_whole()).count();
    assert_eq!([whole(0), whole(1), whole(2)], [273, 1, 0]);
    let partial: Vec<Part> = tiles.keys().filter(|part| !part.is_whole()).copied().collect();
    assert_eq!(partial, expected.get(1..).unwrap());
    assert_eq!(TILE_BYTES_MAX, 8_192);
}

/// `MTH(D[(n * 256 + i) * 256**l : (n * 256 + i + 1) * 256**l])`, word for word.
#[test]
fn every_hash_is_the_one_that_the_specification_names() {
    let leaves = leaves(66_000);
    let (tower, tiles) = built(&leaves);
    assert_eq!(tower.root(), root_of(&leaves));
    for (part, hashes) in tiles {
        let Kind::Hashes(level) = part.kind else { continue };
        assert_eq!(hashes.len(), usize::from(part.width));
        let span = 256_usize.pow(u32::from(level));
        for (i, hash) in hashes.iter().enumerate() {
            let node = usize::try_from(part.index).unwrap() * 256 + i;
            assert_eq!(*hash, root_of(&leaves[node * span..(node + 1) * span]), "{part} {i}");
        }
    }
}

#[test]
fn roots_at_every_size() {
    let leaves = leaves(1_100);
    let mut tower = Tower::new();
    assert_eq!(tower.root(), root_of(&[]));
    for (size, leaf) in leaves.iter().enumerate() {
        tower.append(*leaf, |_| Ok::<(), ()>(())).unwrap();
        assert_eq!(tower.root(), root_of(&leaves[..=size]), "{size}");
        assert_eq!(tower.size(), size as u64 + 1);
    }
}

#[test]
fn other_spellings_of_a_path_are_refused() {
    for text in [
        "",
        "tile",
        "tile/0",
        "tile/0/",
        "tile/0/0",
        "tile/0/00",
        "tile/0/0000",
        "tile/0/x000/001",
        "tile/0/x001/1",
        "tile/0/001/002",
        "tile/0/x001",
        "tile/00/000",
        "tile/+0/000",
        "tile/8/000",
        "tile/64/000",
        "tile/-1/000",
        "tile/0/000.p/0",
        "tile/0/000.p/256",
        "tile/0/000.p/01",
        "tile/0/000.p/+1",
        "tile/0/000.p/",
        "tile/0/000.p/1/",
        "tile/0/000/",
        "/tile/0/000",
        "tile/data/000",
        "tile/entries/../000",
        "tile/0/+01",
        "tile/0/x018/x446/x744/x073/x709/x551/616",
    ] {
        assert_eq!(Part::parse(text), Err(TileError::Path), "{text}");
    }
    assert_eq!(Part::parse("tile/0/x018/x446/x744/x073/x709/x551/615"), Ok(Part::hashes(0, u64::MAX, WIDTH)));
}

#[test]
fn contents_of_another_length_are_refused() {
    let bytes = tile_bytes(&leaves(3));
    assert_eq!(read_tile(&bytes, 3).unwrap(), leaves(3));
    for (cut, width) in [(96, 2), (96, 4), (95, 3), (0, 1)] {
        assert_eq!(read_tile(&bytes[..cut], width), Err(TileError::Length { bytes: cut, width }));
    }
    let mut bundle = Vec::new();
    let largest = vec![7; 65_535];
    for entry in [&b""[..], b"one", &largest] {
        push_entry(&mut bundle, entry).unwrap();
    }
    assert_eq!(read_bundle(&bundle, 3).unwrap(), [&b""[..], b"one", &largest]);
    assert_eq!(push_entry(&mut bundle, &vec![0; 65_536]), Err(TileError::EntryTooLarge { bytes: 65_536 }));
    assert_eq!(read_bundle(&bundle, 2), Err(TileError::Trailing { bytes: 65_537, width: 2 }));
    assert_eq!(read_bundle(&bundle, 4), Err(TileError::Truncated { position: 3, width: 4 }));
    assert_eq!(read_bundle(&bundle[..bundle.len() - 1], 3), Err(TileError::Truncated { position: 2, width: 3 }));
    assert!(bundle.len() < BUNDLE_BYTES_MAX);
}

proptest! {
    #[test]
    fn paths_are_read_as_they_are_written(level in 0..=LEVEL_MAX, entries: bool, index: u64, width in 1..=WIDTH) {
        let part = if entries { Part::entries(index, width) } else { Part::hashes(level, index, width) };
        prop_assert_eq!(Part::parse(&part.path()), Ok(part));
        let path = part.path();
        prop_assert_eq!(part.whole().path(), path.split(".p/").next().unwrap());
    }

    #[test]
    fn whatever_is_read_as_a_path_is_one(text in "tile/(entries|[0-9]{1,2})/(x[0-9]{3}/){0,7}[0-9]{2,4}(\\.p/[0-9]{1,3})?") {
        if let Ok(part) = Part::parse(&text) {
            prop_assert_eq!(part.path(), text);
        }
    }

    /// Widths are the digits of the size to the base 256: what is whole and what is not make up the tree.
    #[test]
    fn unfinished_parts_add_up(size: u64) {
        let parts = parts_at(size);
        let mut total = 0_u128;
        for part in parts.iter().filter(|part| part.kind != Kind::Entries) {
            let Kind::Hashes(level) = part.kind else { unreachable!() };
            prop_assert!((1..WIDTH).contains(&part.width));
            prop_assert_eq!(u128::from(part.index), u128::from(size) >> (8 * (u32::from(level) + 1)));
            total += u128::from(part.width) << (8 * u32::from(level));
        }
        prop_assert_eq!(total, u128::from(size));
    }

    #[test]
    fn a_bundle_is_read_as_it_is_written(entries in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 1..=256)) {
        let mut bytes = Vec::new();
        entries.iter().try_for_each(|entry| push_entry(&mut bytes, entry)).unwrap();
        let width = u16::try_from(entries.len()).unwrap();
        prop_assert_eq!(read_bundle(&bytes, width).unwrap(), entries);
    }

    #[test]
    fn any_bytes_as_a_bundle(bytes in proptest::collection::vec(any::<u8>(), 0..2_000), width in 1..=WIDTH) {
        if let Ok(entries) = read_bundle(&bytes, width) {
            let mut again = Vec::new();
            entries.iter().try_for_each(|entry| push_entry(&mut again, entry)).unwrap();
            prop_assert_eq!(again, bytes);
        }
    }
}
