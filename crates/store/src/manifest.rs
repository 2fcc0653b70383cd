//! Manifests: which chunks make which file of an artifact.
//!
//! A [`Manifest`] holds the artifact's [`Tree`], for each file its chunks in order, and for each chunk of more than one
//! segment the BLAKE3 subtree value of every segment, so that a range can be checked without reading the chunk around
//! it. It names its predecessor. What is signed is [`Manifest::statement`], a small RFC 8785 document with the digests
//! of tree and body; this crate carries the signature and leaves judging it to the caller, who knows the trust root.
//!
//! In the file, statement's signature and body are sealed together under the shred group's manifest key, bound to
//! vault, namespace and id. Subtree values are checked against the chunk's id whenever a range is read. Absent on purpose:
//! where chunks lie; that is the index's business.
#![deny(clippy::indexing_slicing)]

use std::{
    collections::{HashMap, HashSet},
    fmt,
    str::FromStr,
};

use ringfence_schema::{
    Digest, canon,
    digest::{from_hex, hex},
    tree::{FILES_MAX, PATH_BYTES_MAX, Tree, TreeEntry},
};
use ringfence_trust::{
    entropy::{self, Entropy},
    ident::{ChunkId, SubtreeValue},
    keys::Namespace,
    seal::segments_of,
};
use serde::{Deserialize, Serialize, de};

use crate::{
    error::{Signer, StoreError},
    wire::{Malformed, Reader, put_count},
};

/// Names a manifest: 16 random bytes, written as 32 lower-case hexadecimal digits; also its file's name.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ManifestId([u8; 16]);

impl ManifestId {
    pub(crate) fn random(entropy: &mut dyn Entropy) -> Self {
        Self(entropy::bytes(entropy))
    }

    /// The id with these bytes.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for ManifestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

impl fmt::Debug for ManifestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text that is not 32 lower-case hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a manifest id of 32 lower-case hexadecimal digits")]
pub struct NotAManifestId;

impl FromStr for ManifestId {
    type Err = NotAManifestId;

    fn from_str(text: &str) -> Result<Self, NotAManifestId> {
        from_hex(text).and_then(|raw| raw.try_into().ok()).map(Self).ok_or(NotAManifestId)
    }
}

impl Serialize for ManifestId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ManifestId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// One version of an artifact, as far as the store knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    id: ManifestId,
    namespace: Namespace,
    parent: Option<ManifestId>,
    tree: Tree,
    /// In the order of the tree.
    files: Vec<FileChunks>,
    chunks: Vec<ChunkEntry>,
    statement: Vec<u8>,
    signature: Vec<u8>,
}

/// A chunk, and what its segments must hash to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ChunkEntry {
    pub(crate) id: ChunkId,
    pub(crate) length: u32,
    /// One per segment; none for a chunk of a single segment, whose id says it all.
    pub(crate) values: Vec<SubtreeValue>,
}

/// The chunks of one file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct FileChunks {
    /// Indices into the manifest's chunks.
    chunks: Vec<u32>,
    /// Where each of them ends in the file.
    ends: Vec<u64>,
}

impl FileChunks {
    fn push(&mut self, chunk: u32, length: u32) {
        self.ends.push(self.size() + u64::from(length));
        self.chunks.push(chunk);
    }

    fn size(&self) -> u64 {
        self.ends.last().copied().unwrap_or(0)
    }

    pub(crate) fn count(&self) -> usize {
        self.chunks.len()
    }

    /// Which chunk holds the byte at `offset`.
    pub(crate) fn holding(&self, offset: u64) -> usize {
        self.ends.partition_point(|end| *end <= offset)
    }

    /// Where the chunk at `position` begins in the file.
    pub(crate) fn start(&self, position: usize) -> u64 {
        position.checked_sub(1).and_then(|before| self.ends.get(before)).copied().unwrap_or(0)
    }
}

/// How many segments a chunk of `length` bytes has.
pub(crate) fn segments(length: u32) -> u32 {
    segments_of(length as usize)
}

impl Manifest {
    /// Its name.
    pub fn id(&self) -> ManifestId {
        self.id
    }

    /// Where its chunks are.
    pub fn namespace(&self) -> Namespace {
        self.namespace
    }

    /// The version that this one was made from.
    pub fn parent(&self) -> Option<ManifestId> {
        self.parent
    }

    /// The artifact: paths, sizes, digests.
    pub fn tree(&self) -> &Tree {
        &self.tree
    }

    /// What is signed: `ringfence.manifest/1` in RFC 8785 JSON.
    pub fn statement(&self) -> &[u8] {
        &self.statement
    }

    /// What the closure given to the writer returned. Not judged by this crate.
    pub fn signature(&self) -> &[u8] {
        &self.signature
    }

    /// How many of its bytes `other` has too: by chunks within a namespace, by whole files across, because chunks are named
    /// by another key there.
    pub fn bytes_shared_with(&self, other: &Self) -> u64 {
        if self.namespace == other.namespace {
            let theirs: HashSet<ChunkId> = other.chunks.iter().map(|chunk| chunk.id).collect();
            let shared = |chunk: &&ChunkEntry| theirs.contains(&chunk.id);
            let chunks = |file: &FileChunks| -> u64 {
                let all = (0..file.count()).filter_map(|place| self.chunk(file, place));
                all.filter(shared).map(|chunk| u64::from(chunk.length)).sum()
            };
            return self.files.iter().map(chunks).sum();
        }
        let theirs: HashSet<Digest> = other.tree.files().iter().map(|file| file.sha256).collect();
        self.tree.files().iter().filter(|file| theirs.contains(&file.sha256)).map(|file| file.size).sum()
    }

    pub(crate) fn into_tree(self) -> Tree {
        self.tree
    }

    pub(crate) fn file(&self, path: &str) -> Result<(&TreeEntry, &FileChunks), StoreError> {
        let position = self.tree.files().binary_search_by(|file| file.path.as_str().cmp(path));
        position
            .ok()
            .and_then(|position| self.tree.files().get(position).zip(self.files.get(position)))
            .ok_or_else(|| StoreError::UnknownFile { manifest: self.id, path: path.to_owned() })
    }

    pub(crate) fn files(&self) -> impl Iterator<Item = (&TreeEntry, &FileChunks)> {
        self.tree.files().iter().zip(&self.files)
    }

    pub(crate) fn chunk(&self, file: &FileChunks, position: usize) -> Option<&ChunkEntry> {
        self.chunks.get(usize::try_from(*file.chunks.get(position)?).ok()?)
    }

    pub(crate) fn chunks(&self) -> &[ChunkEntry] {
        &self.chunks
    }

    /// The content of the sealed file.
    pub(crate) fn encode(&self, body: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(4 + self.signature.len() + body.len());
        put_count(&mut out, self.signature.len());
        out.extend_from_slice(&self.signature);
        out.extend_from_slice(body);
        out
    }

    /// Reads the content of the sealed file of manifest `id` of `namespace`.
    ///
    /// # Errors
    /// [`Malformed`] for anything that a writer would not have written.
    pub fn decode(id: ManifestId, namespace: Namespace, content: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(content);
        let signature_bytes = reader.count(1, "signature length")?;
        if signature_bytes > SIGNATURE_BYTES_MAX {
            return Err(reader.malformed("signature length"));
        }
        let signature = reader.take(signature_bytes, "signature")?.to_vec();
        let body = content.get(4 + signature_bytes..).unwrap_or_default();
        let parent = match reader.u8("parent flag")? {
            0 => None,
            1 => Some(ManifestId(reader.array("parent")?)),
            _ => return Err(reader.malformed("parent flag")),
        };
        let chunks = decode_chunks(&mut reader)?;
        let (tree, files) = decode_files(&mut reader, &chunks)?;
        reader.finish("end of manifest")?;
        let statement = statement(id, namespace, parent, &tree, body).map_err(|_| reader.malformed("statement"))?;
        Ok(Self { id, namespace, parent, tree, files, chunks, statement, signature })
    }
}

fn decode_chunks(reader: &mut Reader<'_>) -> Result<Vec<ChunkEntry>, Malformed> {
    let count = reader.count(32 + 4, "number of chunks")?;
    let mut chunks = Vec::with_capacity(count);
    for _ in 0..count {
        let malformed = reader.malformed("chunk");
        let id = ChunkId::from_bytes(reader.array("chunk id")?);
        let length = reader.u32("chunk length")?;
        if length == 0 || length > CHUNK_BYTES_MAX {
            return Err(malformed);
        }
        let mut values = Vec::new();
        if segments(length) > 1 {
            for _ in 0..segments(length) {
                values.push(reader.array("subtree value")?);
            }
        }
        chunks.push(ChunkEntry { id, length, values });
    }
    Ok(chunks)
}

fn decode_files(reader: &mut Reader<'_>, chunks: &[ChunkEntry]) -> Result<(Tree, Vec<FileChunks>), Malformed> {
    let count = reader.count(2 + 8 + 32 + 4, "number of files")?;
    let (mut entries, mut files) = (Vec::with_capacity(count), Vec::with_capacity(count));
    for _ in 0..count {
        let malformed = reader.malformed("file");
        let path_bytes = usize::from(reader.u16("path length")?);
        let path = str::from_utf8(reader.take(path_bytes, "path")?).map_err(|_| malformed)?.to_owned();
        let size = reader.u64("file size")?;
        let sha256 = Digest::from_bytes(reader.array("file digest")?);
        let mut file = FileChunks::default();
        for _ in 0..reader.count(4, "number of chunks in file")? {
            let index = reader.u32("chunk of file")?;
            let chunk = usize::try_from(index).ok().and_then(|index| chunks.get(index)).ok_or(malformed)?;
            file.push(index, chunk.length);
        }
        if file.size() != size {
            return Err(malformed);
        }
        entries.push(TreeEntry { path, size, sha256 });
        files.push(file);
    }
    // The tree sorts; a list that is not sorted already would separate entries from their chunks.
    let malformed = reader.malformed("files in order");
    let sorted = entries.is_sorted_by(|a, b| a.path < b.path);
    let tree = Tree::new(entries).map_err(|_| malformed)?;
    if sorted { Ok((tree, files)) } else { Err(malformed) }
}

/// A manifest in the making: files arrive in any order.
#[derive(Debug, Default)]
pub(crate) struct Draft {
    files: Vec<(TreeEntry, FileChunks)>,
    chunks: Vec<ChunkEntry>,
    known: HashMap<ChunkId, u32>,
}

impl Draft {
    /// Whether the chunk is in one of the files already.
    pub(crate) fn knows(&self, id: &ChunkId) -> bool {
        self.known.contains_key(id)
    }

    /// Adds a chunk to `file`. The subtree values are kept for the first occurrence only.
    pub(crate) fn chunk(&mut self, file: &mut FileChunks, id: ChunkId, length: u32, values: Vec<SubtreeValue>) {
        let next = u32::try_from(self.chunks.len()).unwrap_or(u32::MAX);
        let index = *self.known.entry(id).or_insert_with(|| {
            self.chunks.push(ChunkEntry { id, length, values });
            next
        });
        file.push(index, length);
    }

    pub(crate) fn file(&mut self, entry: TreeEntry, chunks: FileChunks) {
        self.files.push((entry, chunks));
    }

    /// Orders, encodes and signs. Returns the manifest and the content of its file.
    pub(crate) fn finish(
        mut self,
        id: ManifestId,
        namespace: Namespace,
        parent: Option<ManifestId>,
        sign: &Signer<'_>,
    ) -> Result<(Manifest, Vec<u8>), StoreError> {
        self.files.sort_by(|(a, _), (b, _)| a.path.cmp(&b.path));
        let (entries, files): (Vec<_>, Vec<_>) = self.files.into_iter().unzip();
        let tree = Tree::new(entries)?;
        let body = encode_body(parent, &self.chunks, &tree, &files);
        if body.len() > BODY_BYTES_MAX {
            return Err(StoreError::ManifestTooLarge { bytes: body.len(), limit: BODY_BYTES_MAX });
        }
        let statement =
            statement(id, namespace, parent, &tree, &body).map_err(|error| StoreError::NotSigned(error.into()))?;
        let signature = sign(&statement).map_err(StoreError::NotSigned)?;
        if signature.len() > SIGNATURE_BYTES_MAX {
            let reason = format!("signature of {} bytes, limit is {SIGNATURE_BYTES_MAX}", signature.len());
            return Err(StoreError::NotSigned(reason.into()));
        }
        let manifest = Manifest { id, namespace, parent, tree, files, chunks: self.chunks, statement, signature };
        let content = manifest.encode(&body);
        Ok((manifest, content))
    }
}

fn encode_body(parent: Option<ManifestId>, chunks: &[ChunkEntry], tree: &Tree, files: &[FileChunks]) -> Vec<u8> {
    let mut out = Vec::new();
    match parent {
        None => out.push(0),
        Some(parent) => {
            out.push(1);
            out.extend_from_slice(parent.as_bytes());
        }
    }
    put_count(&mut out, chunks.len());
    for chunk in chunks {
        out.extend_from_slice(chunk.id.as_bytes());
        out.extend_from_slice(&chunk.length.to_be_bytes());
        out.extend(chunk.values.iter().flatten());
    }
    put_count(&mut out, files.len());
    for (entry, file) in tree.files().iter().zip(files) {
        // INVARIANT: the tree has checked that a path has at most PATH_BYTES_MAX bytes.
        out.extend_from_slice(&u16::try_from(entry.path.len()).unwrap_or(u16::MAX).to_be_bytes());
        out.extend_from_slice(entry.path.as_bytes());
        out.extend_from_slice(&entry.size.to_be_bytes());
        out.extend_from_slice(entry.sha256.as_bytes());
        put_count(&mut out, file.chunks.len());
        out.extend(file.chunks.iter().flat_map(|chunk| chunk.to_be_bytes()));
    }
    out
}

/// What a manifest's signature speaks of.
fn statement(
    id: ManifestId,
    namespace: Namespace,
    parent: Option<ManifestId>,
    tree: &Tree,
    body: &[u8],
) -> Result<Vec<u8>, canon::CanonError> {
    #[derive(Serialize)]
    struct Statement {
        schema: &'static str,
        manifest: ManifestId,
        namespace: Namespace,
        parent: Option<ManifestId>,
        tree: Digest,
        body: Digest,
    }
    canon::to_canonical(&Statement {
        schema: "ringfence.manifest/1",
        manifest: id,
        namespace,
        parent,
        tree: tree.digest(),
        body: Digest::of(body),
    })
}

/// Largest encoded body: enough for about 400 GB of tensors.
pub(crate) const BODY_BYTES_MAX: usize = 256 << 20;
/// Largest signature or envelope.
pub(crate) const SIGNATURE_BYTES_MAX: usize = 64 << 10;
/// Longest chunk, however it was cut.
pub(crate) const CHUNK_BYTES_MAX: u32 = 1 << 20;
const _: () = assert!(PATH_BYTES_MAX <= u16::MAX as usize && FILES_MAX <= u32::MAX as usize);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    prop_compose! {
        fn any_draft()(
            chunks in proptest::collection::vec((any::<[u8; 32]>(), 1..=CHUNK_BYTES_MAX), 1..6),
            files in proptest::collection::btree_map("[a-z/]{1,9}", proptest::collection::vec(0..6_usize, 0..5), 0..5),
        ) -> Draft {
            let mut draft = Draft::default();
            for (path, refs) in files.into_iter().filter(|(path, _)| ringfence_schema::tree::is_safe_path(path)) {
                let mut file = FileChunks::default();
                for (id, length) in refs.into_iter().filter_map(|at| chunks.get(at)) {
                    let values = if segments(*length) > 1 { vec![*id; segments(*length) as usize] } else { vec![] };
                    draft.chunk(&mut file, ChunkId::from_bytes(*id), *length, values);
                }
                let entry = TreeEntry { path, size: file.size(), sha256: Digest::of(b"") };
                draft.file(entry, file);
            }
            draft
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(draft in any_draft(), id: [u8; 16], parent: Option<[u8; 16]>, signature: Vec<u8>) {
            let id = ManifestId(id);
            let sign = |_: &[u8]| Ok(signature.clone());
            let (manifest, content) =
                draft.finish(id, Namespace::Admitted, parent.map(ManifestId), &sign).unwrap();
            prop_assert_eq!(&Manifest::decode(id, Namespace::Admitted, &content).unwrap(), &manifest);
            for length in 0..content.len() {
                prop_assert!(Manifest::decode(id, Namespace::Admitted, &content[..length]).is_err());
            }
        }

        #[test]
        fn any_bytes_are_refused_or_read(mut draft in any_draft(), position: proptest::sample::Index, byte: u8) {
            draft.files.truncate(2);
            let id = ManifestId([0; 16]);
            let (_, mut content) = draft.finish(id, Namespace::Admitted, None, &|_| Ok(vec![])).unwrap();
            let position = position.index(content.len());
            content[position] = byte;
            if let Ok(manifest) = Manifest::decode(id, Namespace::Admitted, &content) {
                let body = content[4 + manifest.signature.len()..].to_vec();
                prop_assert_eq!(manifest.encode(&body), content, "one content has one encoding");
            }
        }
    }
}
