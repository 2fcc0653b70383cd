//! Sealing: AES-256-GCM, in 64 KiB segments for packs, in one piece for everything small.
//!
//! A pack has a key of its own and one [`PackSealer`], which takes the key and counts segments, so a nonce cannot repeat.
//! Each segment is bound to format, vault, namespace, pack, chunk, its number in the chunk, and whether it is the last:
//! nothing can be spliced, swapped, reordered or cut off. [`seal_blob`] seals manifests, index segments and trail
//! details under a one-time key with a commitment, so a blob opens under one key only.
//! Absent on purpose: compression, file layout, and any choice of nonce by a caller.

#![deny(clippy::indexing_slicing)]

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};

use crate::{
    entropy::Entropy,
    id::VaultId,
    ident::ChunkId,
    keys::{DetailKey, FreshPackKey, KeyId, ManifestKey, Namespace, PackKey, material::Material},
    secret::Secret,
};

pub(crate) mod committed;

use committed::OpenFailure;

/// Plaintext bytes in every segment of a chunk but the last.
pub const SEGMENT_BYTES: usize = 65_536;
/// Bytes that a segment grows by: the tag of AES-GCM.
pub const TAG_BYTES: usize = 16;
/// Ciphertext bytes of a whole segment.
pub const SEALED_SEGMENT_BYTES: usize = SEGMENT_BYTES + TAG_BYTES;
/// Most plaintext bytes in one chunk.
pub const CHUNK_BYTES_MAX: usize = 64 << 20;
/// Most segments in one pack, far below what AES-GCM allows under one key.
pub const PACK_SEGMENTS_MAX: u64 = 1 << 32;
/// Most plaintext bytes in one blob.
pub const BLOB_BYTES_MAX: usize = 1 << 30;
/// Bytes that a blob grows by.
pub const BLOB_OVERHEAD_BYTES: usize = BLOB_HEADER.len() + committed::OVERHEAD_BYTES;

/// `RF`, format version 1, algorithm 1 (HKDF-SHA256 one-time key with commitment, AES-256-GCM).
const BLOB_HEADER: [u8; 4] = *b"RF\x01\x01";

/// Where a pack belongs. Its own name is the id of its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PackContext {
    /// The vault.
    pub vault: VaultId,
    /// The namespace.
    pub namespace: Namespace,
}

/// Number of a chunk's first segment in its pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct FirstSegment(pub u64);

/// Why something was not sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SealError {
    /// A chunk over [`CHUNK_BYTES_MAX`] or a blob over [`BLOB_BYTES_MAX`].
    #[error("{bytes} bytes to seal, limit is {limit}")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// The pack has [`PACK_SEGMENTS_MAX`] segments.
    #[error("the pack is full at {PACK_SEGMENTS_MAX} segments")]
    PackFull,
    /// The cipher refused to work; not caused by input.
    #[error("the cipher failed")]
    Cipher,
}

/// Why something was not opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Changed, or not the segment of this chunk at this place in this pack.
    #[error("segment {segment} of chunk `{chunk}` failed authentication")]
    Segment {
        /// The chunk.
        chunk: ChunkId,
        /// Number of the segment in it.
        segment: u32,
    },
    /// Longer or shorter than a segment can be.
    #[error("a segment of {bytes} bytes is not possible here")]
    SegmentSize {
        /// Its size with the tag.
        bytes: usize,
    },
    /// A segment number beyond [`PACK_SEGMENTS_MAX`].
    #[error("segment number {number} is beyond the limit of {PACK_SEGMENTS_MAX}")]
    SegmentNumber {
        /// The number in the pack.
        number: u64,
    },
    /// Not a blob, or of an unknown version.
    #[error("not a sealed blob of a known version")]
    NotABlob,
    /// Over [`BLOB_BYTES_MAX`].
    #[error("a sealed blob of {bytes} bytes, limit is {BLOB_BYTES_MAX}")]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// The blob was sealed under another key (or its salt or commitment was changed).
    #[error("the blob was sealed under another key")]
    WrongKey,
    /// The blob was changed, or belongs somewhere else.
    #[error("the blob failed authentication")]
    Blob,
}

/// Ciphertext bytes of a chunk of `plain` bytes.
pub fn sealed_len(plain: usize) -> usize {
    plain + segments_of(plain) as usize * TAG_BYTES
}

/// Segments of a chunk of `plain` bytes; an empty chunk has one, empty.
#[expect(clippy::cast_possible_truncation, reason = "a chunk has at most CHUNK_BYTES_MAX / SEGMENT_BYTES segments")]
pub fn segments_of(plain: usize) -> u32 {
    plain.div_ceil(SEGMENT_BYTES).max(1) as u32
}

struct Cipher {
    key: LessSafeKey,
    /// What all segments of the pack are bound to; chunk, number and last-flag are appended.
    bound: Vec<u8>,
}

impl Cipher {
    fn new(secret: &Secret, pack: KeyId, context: &PackContext) -> Result<Self, SealError> {
        let key = UnboundKey::new(&AES_256_GCM, secret.expose()).map_err(|_| SealError::Cipher)?;
        let bound = committed::frame(&[
            b"ringfence.segment/1",
            b"aes-256-gcm",
            context.vault.as_bytes(),
            context.namespace.name().as_bytes(),
            pack.as_bytes(),
        ]);
        Ok(Self { key: LessSafeKey::new(key), bound })
    }

    fn aad(&self, chunk: &ChunkId, segment: u32, last: bool) -> Aad<Vec<u8>> {
        let mut aad = Vec::with_capacity(self.bound.len() + ChunkId::BYTES + 5);
        aad.extend_from_slice(&self.bound);
        aad.extend_from_slice(chunk.as_bytes());
        aad.extend_from_slice(&segment.to_be_bytes());
        aad.push(u8::from(last));
        Aad::from(aad)
    }
}

/// 4 zero bytes and the segment's number in the pack, big-endian.
fn nonce(number: u64) -> Nonce {
    let mut raw = [0; NONCE_LEN];
    for (to, from) in raw.iter_mut().skip(NONCE_LEN - 8).zip(number.to_be_bytes()) {
        *to = from;
    }
    Nonce::assume_unique_for_key(raw)
}

/// Seals the chunks of one pack, once.
pub struct PackSealer {
    pack: KeyId,
    cipher: Cipher,
    next: u64,
}

impl PackSealer {
    /// Takes the only right to seal with `key`.
    #[expect(clippy::needless_pass_by_value, reason = "taking the key is what makes a second sealer impossible")]
    pub fn new(key: FreshPackKey, context: &PackContext) -> Result<Self, SealError> {
        Ok(Self { pack: key.id(), cipher: Cipher::new(key.secret(), key.id(), context)?, next: 0 })
    }

    /// The pack's name.
    pub fn pack(&self) -> KeyId {
        self.pack
    }

    /// Appends the sealed segments of `plain` to `out`, [`sealed_len`] bytes, and says where they start in the count.
    /// After an error the pack must be given up: `out` may hold a part.
    pub fn seal_chunk(&mut self, chunk: &ChunkId, plain: &[u8], out: &mut Vec<u8>) -> Result<FirstSegment, SealError> {
        if plain.len() > CHUNK_BYTES_MAX {
            return Err(SealError::TooLarge { bytes: plain.len(), limit: CHUNK_BYTES_MAX });
        }
        let first = self.next;
        let segments = segments_of(plain.len());
        if first + u64::from(segments) > PACK_SEGMENTS_MAX {
            return Err(SealError::PackFull);
        }
        out.reserve(sealed_len(plain.len()));
        let mut rest = plain;
        for segment in 0..segments {
            let (piece, after) = rest.split_at(rest.len().min(SEGMENT_BYTES));
            rest = after;
            let start = out.len();
            out.extend_from_slice(piece);
            let in_place = out.get_mut(start..).unwrap_or_default();
            // Counted before it is used: an error must not make the number available again.
            let number = self.next;
            self.next += 1;
            let aad = self.cipher.aad(chunk, segment, segment + 1 == segments);
            let tag = self
                .cipher
                .key
                .seal_in_place_separate_tag(nonce(number), aad, in_place)
                .map_err(|_| SealError::Cipher)?;
            out.extend_from_slice(tag.as_ref());
        }
        Ok(FirstSegment(first))
    }
}

/// Opens segments of one pack, in any order.
pub struct PackOpener {
    cipher: Cipher,
}

impl PackOpener {
    /// For the pack that `key` names.
    pub fn new(key: &PackKey, context: &PackContext) -> Result<Self, SealError> {
        Ok(Self { cipher: Cipher::new(key.secret(), key.id(), context)? })
    }

    /// Opens segment number `segment` (from 0) of a chunk whose first segment has number `first` in the pack; `last`
    /// says whether the chunk ends with it. `ciphertext` includes the tag and is overwritten.
    pub fn open_segment<'a>(
        &self,
        chunk: &ChunkId,
        first: u64,
        segment: u32,
        last: bool,
        ciphertext: &'a mut [u8],
    ) -> Result<&'a [u8], OpenError> {
        let bytes = ciphertext.len();
        let possible =
            if last { (TAG_BYTES..=SEALED_SEGMENT_BYTES).contains(&bytes) } else { bytes == SEALED_SEGMENT_BYTES };
        if !possible {
            return Err(OpenError::SegmentSize { bytes });
        }
        let number = first.saturating_add(u64::from(segment));
        if number >= PACK_SEGMENTS_MAX {
            return Err(OpenError::SegmentNumber { number });
        }
        let aad = self.cipher.aad(chunk, segment, last);
        match self.cipher.key.open_in_place(nonce(number), aad, ciphertext) {
            Ok(plain) => Ok(plain),
            Err(_) => Err(OpenError::Segment { chunk: *chunk, segment }),
        }
    }

    /// Opens all segments of a chunk: `ciphertext` holds exactly its [`sealed_len`] bytes. Appends to `out`.
    pub fn open_chunk(
        &self,
        chunk: &ChunkId,
        first: u64,
        ciphertext: &mut [u8],
        out: &mut Vec<u8>,
    ) -> Result<(), OpenError> {
        let bytes = ciphertext.len();
        if bytes > sealed_len(CHUNK_BYTES_MAX) {
            return Err(OpenError::SegmentSize { bytes });
        }
        out.reserve(bytes);
        let segments = bytes.div_ceil(SEALED_SEGMENT_BYTES).max(1);
        let mut rest = ciphertext;
        for segment in 0..segments {
            let (piece, after) = rest.split_at_mut(rest.len().min(SEALED_SEGMENT_BYTES));
            rest = after;
            let number = u32::try_from(segment).map_err(|_| OpenError::SegmentSize { bytes })?;
            out.extend_from_slice(self.open_segment(chunk, first, number, segment + 1 == segments, piece)?);
        }
        Ok(())
    }
}

/// A key that seals blobs: [`ManifestKey`] or [`DetailKey`].
pub trait BlobKey: Material {}

impl BlobKey for ManifestKey {}
impl BlobKey for DetailKey {}

/// Seals `bytes`, bound to `context`: what it is and where it belongs, such as `[b"manifest", vault, namespace, id]`.
/// The same parts in another split are another context. Grows by [`BLOB_OVERHEAD_BYTES`].
pub fn seal_blob<K: BlobKey>(
    key: &K,
    entropy: &mut dyn Entropy,
    context: &[&[u8]],
    bytes: &[u8],
) -> Result<Vec<u8>, SealError> {
    if bytes.len() > BLOB_BYTES_MAX {
        return Err(SealError::TooLarge { bytes: bytes.len(), limit: BLOB_BYTES_MAX });
    }
    let sealed =
        committed::seal(key.secret(), entropy, &blob_binding(context), bytes).map_err(|_| SealError::Cipher)?;
    let mut blob = Vec::with_capacity(BLOB_HEADER.len() + sealed.len());
    blob.extend_from_slice(&BLOB_HEADER);
    blob.extend_from_slice(&sealed);
    Ok(blob)
}

/// Opens what [`seal_blob`] sealed under the same key and context.
pub fn open_blob<K: BlobKey>(key: &K, context: &[&[u8]], blob: &[u8]) -> Result<Vec<u8>, OpenError> {
    let sealed = blob.strip_prefix(&BLOB_HEADER).ok_or(OpenError::NotABlob)?;
    if blob.len() > BLOB_BYTES_MAX + BLOB_OVERHEAD_BYTES {
        return Err(OpenError::TooLarge { bytes: blob.len() });
    }
    committed::open(key.secret(), &blob_binding(context), sealed).map_err(|failure| match failure {
        OpenFailure::WrongKey => OpenError::WrongKey,
        OpenFailure::Tampered => OpenError::Blob,
        OpenFailure::Truncated => OpenError::NotABlob,
    })
}

fn blob_binding(context: &[&[u8]]) -> Vec<u8> {
    let mut parts: Vec<&[u8]> = vec![b"ringfence.blob/1", &BLOB_HEADER];
    parts.extend_from_slice(context);
    committed::frame(&parts)
}
