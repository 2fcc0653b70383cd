//! Segments and blobs: what was sealed opens in its place only; parts of chunks can be checked alone.

use proptest::prelude::*;
use ringfence_trust::{
    VaultId,
    entropy::{Entropy, SeededEntropy},
    ident::{ChunkId, IdentError, chunk_id, root_of, verify_chunk, verify_segment},
    keys::{ChunkIdKey, DetailKey, FreshPackKey, KeyId, ManifestKey, Namespace, PackKey},
    seal::{
        BLOB_OVERHEAD_BYTES, OpenError, PackContext, PackOpener, PackSealer, SEALED_SEGMENT_BYTES, SEGMENT_BYTES,
        SealError, TAG_BYTES, open_blob, seal_blob, sealed_len, segments_of,
    },
};

use crate::support::Script;

fn context(entropy: &mut SeededEntropy) -> PackContext {
    PackContext { vault: VaultId::random(entropy), namespace: Namespace::Admitted }
}

fn plain(seed: u64, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    SeededEntropy::new(seed).fill(&mut bytes);
    bytes
}

/// The same key twice, which the types forbid: made from the same bytes.
fn twin_keys() -> (FreshPackKey, FreshPackKey) {
    let make = || PackKey::generate(&mut Script::new(&[&[1; KeyId::BYTES], &[2; 32]]));
    (make(), make())
}

#[test]
fn chunks_open_in_their_place_only() {
    let mut entropy = SeededEntropy::new(1);
    let here = context(&mut entropy);
    let (key, twin) = twin_keys();
    let ids = ChunkIdKey::generate(&mut entropy);
    let mut sealer = PackSealer::new(key, &here).unwrap();
    let mut pack = Vec::new();
    let lengths = [0, 1, SEGMENT_BYTES - 1, SEGMENT_BYTES, SEGMENT_BYTES + 1, 3 * SEGMENT_BYTES, 200_001];
    let mut chunks = Vec::new();
    for (seed, length) in lengths.into_iter().enumerate() {
        let bytes = plain(seed as u64, length);
        let id = chunk_id(&ids, &bytes).0;
        let start = pack.len();
        let first = sealer.seal_chunk(&id, &bytes, &mut pack).unwrap().0;
        assert_eq!(pack.len() - start, sealed_len(length));
        chunks.push((id, first, start, bytes));
    }
    let firsts: Vec<_> = chunks.iter().map(|chunk| chunk.1).collect();
    assert_eq!(firsts, [0, 1, 2, 3, 4, 6, 9], "the count runs on from chunk to chunk");

    let opener = PackOpener::new(twin.opener_key(), &here).unwrap();
    for (id, first, start, bytes) in &chunks {
        let mut sealed = pack[*start..start + sealed_len(bytes.len())].to_vec();
        let mut out = Vec::new();
        opener.open_chunk(id, *first, &mut sealed, &mut out).unwrap();
        assert_eq!(out, *bytes);
        verify_chunk(&ids, id, &out).unwrap();
        let other_id = ChunkId::from_bytes([9; 32]);
        let mut sealed = pack[*start..start + sealed_len(bytes.len())].to_vec();
        assert!(opener.open_chunk(&other_id, *first, &mut sealed, &mut out).is_err());
        let mut sealed = pack[*start..start + sealed_len(bytes.len())].to_vec();
        assert!(opener.open_chunk(id, first + 1, &mut sealed, &mut out).is_err());
    }

    let (id, first, start, bytes) = &chunks[1];
    for elsewhere in [
        PackContext { namespace: Namespace::Quarantine, ..here },
        PackContext { vault: VaultId::random(&mut entropy), ..here },
    ] {
        let opener = PackOpener::new(twin.opener_key(), &elsewhere).unwrap();
        let mut sealed = pack[*start..start + sealed_len(bytes.len())].to_vec();
        assert_eq!(
            opener.open_segment(id, *first, 0, true, &mut sealed).unwrap_err(),
            OpenError::Segment { chunk: *id, segment: 0 }
        );
    }
}

#[test]
fn the_same_content_in_two_packs_looks_different() {
    let mut entropy = SeededEntropy::new(2);
    let here = context(&mut entropy);
    let id = ChunkId::from_bytes([3; 32]);
    let mut seal = || {
        let mut out = Vec::new();
        let key = PackKey::generate(&mut entropy);
        PackSealer::new(key, &here).unwrap().seal_chunk(&id, &[0; 1_000], &mut out).unwrap();
        out
    };
    assert_ne!(seal(), seal());
}

#[test]
fn impossible_sizes_are_refused_before_any_work() {
    let mut entropy = SeededEntropy::new(3);
    let here = context(&mut entropy);
    let (key, twin) = twin_keys();
    let id = ChunkId::from_bytes([3; 32]);
    let mut out = Vec::new();
    let mut sealer = PackSealer::new(key, &here).unwrap();
    let huge = vec![0; ringfence_trust::seal::CHUNK_BYTES_MAX + 1];
    assert!(matches!(sealer.seal_chunk(&id, &huge, &mut out), Err(SealError::TooLarge { .. })));
    let opener = PackOpener::new(twin.opener_key(), &here).unwrap();
    for (bytes, last) in [(0, true), (TAG_BYTES - 1, true), (SEALED_SEGMENT_BYTES + 1, true), (TAG_BYTES, false)] {
        let refused = opener.open_segment(&id, 0, 0, last, &mut vec![0; bytes]).unwrap_err();
        assert_eq!(refused, OpenError::SegmentSize { bytes });
    }
    let refused = opener.open_segment(&id, u64::MAX, 1, true, &mut [0; TAG_BYTES]).unwrap_err();
    assert!(matches!(refused, OpenError::SegmentNumber { .. }));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Splice, swap, repeat, cut, reorder, flip: whatever is done to the segments of a chunk, it does not open.
    #[test]
    fn rearranged_segments_are_refused(length in SEGMENT_BYTES + 1..5 * SEGMENT_BYTES, a in any::<prop::sample::Index>(), b in any::<prop::sample::Index>(), flip in any::<prop::sample::Index>()) {
        let mut entropy = SeededEntropy::new(length as u64);
        let here = context(&mut entropy);
        let (key, twin) = twin_keys();
        let (id, other) = (ChunkId::from_bytes([1; 32]), ChunkId::from_bytes([2; 32]));
        let mut sealer = PackSealer::new(key, &here).unwrap();
        let (mut one, mut two) = (Vec::new(), Vec::new());
        let first = sealer.seal_chunk(&id, &plain(1, length), &mut one).unwrap().0;
        sealer.seal_chunk(&other, &plain(2, length), &mut two).unwrap();
        let opener = PackOpener::new(twin.opener_key(), &here).unwrap();
        let opens = |sealed: &[u8]| opener.open_chunk(&id, first, &mut sealed.to_vec(), &mut Vec::new()).is_ok();
        prop_assert!(opens(&one));

        let segments: Vec<_> = one.chunks(SEALED_SEGMENT_BYTES).collect();
        let foreign: Vec<_> = two.chunks(SEALED_SEGMENT_BYTES).collect();
        let count = segments.len();
        prop_assert_eq!(count, segments_of(length) as usize);
        let (a, b) = (a.index(count), b.index(count));
        if a != b {
            let mut swapped = segments.clone();
            swapped.swap(a, b);
            prop_assert!(!opens(&swapped.concat()));
            let mut repeated = segments.clone();
            repeated[a] = segments[b];
            prop_assert!(!opens(&repeated.concat()));
        }
        let mut spliced = segments.clone();
        spliced[a] = foreign[a];
        prop_assert!(!opens(&spliced.concat()));
        prop_assert!(!opens(&segments[..count - 1].concat()), "the last segment cut off");
        prop_assert!(!opens(&segments[1..].concat()), "the first segment cut off");
        prop_assert!(!opens(&[&one[..], foreign[count - 1]].concat()), "a segment appended");
        prop_assert!(!opens(&one[..one.len() - 1]), "a byte cut off");
        let mut flipped = one.clone();
        flipped[flip.index(one.len())] ^= 1;
        prop_assert!(!opens(&flipped));
    }

    #[test]
    fn parts_of_chunks_can_be_checked_alone(length in 0_usize..7 * SEGMENT_BYTES, bit in any::<prop::sample::Index>()) {
        let secret = [7; 32];
        let key = ChunkIdKey::generate(&mut Script::new(&[&[0; KeyId::BYTES], &secret]));
        let bytes = plain(4, length);
        let (id, values) = chunk_id(&key, &bytes);
        let expected = blake3::keyed_hash(&secret, &bytes);
        prop_assert_eq!(id.as_bytes(), expected.as_bytes(), "it is plain keyed BLAKE3");
        prop_assert_eq!(root_of(&key, &values), (values.len() > 1).then_some(id));
        let mut segments: Vec<_> = bytes.chunks(SEGMENT_BYTES).map(<[u8]>::to_vec).collect();
        if segments.is_empty() {
            segments.push(Vec::new());
        }
        for (index, segment) in segments.iter_mut().enumerate() {
            verify_segment(&key, &id, &values, index, segment).unwrap();
            prop_assert!(verify_segment(&key, &id, &values, index + 1, segment).is_err());
            if segment.is_empty() {
                continue;
            }
            prop_assert!(verify_segment(&key, &id, &values, index, &segment[1..]).is_err());
            let position = bit.index(segment.len());
            segment[position] ^= 0x10;
            prop_assert_eq!(verify_segment(&key, &id, &values, index, segment), Err(IdentError::Content { chunk: id }));
            segment[position] ^= 0x10;
        }
        if let Some(last) = values.len().checked_sub(1) {
            let mut forged = values.clone();
            forged[bit.index(values.len())][3] ^= 1;
            prop_assert_eq!(verify_segment(&key, &id, &forged, last, &segments[last]), Err(IdentError::Values { chunk: id }));
            prop_assert!(verify_segment(&key, &id, &values[..last], 0, &segments[0]).is_err());
        }
    }
}

#[test]
fn blobs_open_under_their_key_and_context_only() {
    let mut entropy = SeededEntropy::new(5);
    let (key, other) = (ManifestKey::generate(&mut entropy), ManifestKey::generate(&mut entropy));
    let here: [&[u8]; 2] = [b"manifest", b"admitted"];
    let blob = seal_blob(&key, &mut entropy, &here, b"content").unwrap();
    assert_eq!(blob.len(), 7 + BLOB_OVERHEAD_BYTES);
    assert_eq!(open_blob(&key, &here, &blob).unwrap(), b"content");
    assert_eq!(open_blob(&other, &here, &blob).unwrap_err(), OpenError::WrongKey);
    let elsewhere: [&[&[u8]]; 4] =
        [&[b"manifest", b"quarantine"], &[b"manifestadmitted"], &[b"manifest"], &[b"manifest", b"admitted", b""]];
    for context in elsewhere {
        assert_eq!(open_blob(&key, context, &blob).unwrap_err(), OpenError::Blob);
    }
    for (what, changed) in crate::support::damaged(&blob) {
        assert!(open_blob(&key, &here, &changed).is_err(), "{what}");
    }
    // A detail key's blob is not a manifest key's, even with the same bytes for a key.
    let script = || Script::new(&[&[1; KeyId::BYTES], &[2; 32], &[3; 32]]);
    let (mut first, mut second) = (script(), script());
    let (detail, manifest) = (DetailKey::generate(&mut first), ManifestKey::generate(&mut second));
    let blob = seal_blob(&detail, &mut first, &[b"detail"], b"x").unwrap();
    assert_eq!(open_blob(&manifest, &[b"manifest"], &blob).unwrap_err(), OpenError::Blob);
}

proptest! {
    #[test]
    fn arbitrary_bytes_are_no_blob(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let key = DetailKey::generate(&mut SeededEntropy::new(6));
        prop_assert!(open_blob(&key, &[], &bytes).is_err());
        prop_assert!(open_blob(&key, &[], &[b"RF\x01\x01", &bytes[..]].concat()).is_err());
    }
}
