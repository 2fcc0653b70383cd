//! What a model signature says: an in-toto statement that lists files, or pieces of files, with their digests.
//!
//! Predicate type `https://model_signing/signature/v1.0`, and the older `https://model_signing/Digests/v0.1`. Names are held to
//! one spelling (`a//b`, `./a` and `a/../b` are refused, not normalised), and each stands once.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
};

use ringfence_schema::{
    Digest,
    digest::{from_hex, hex},
    evidence::STATEMENT_TYPE,
    finding::printable,
    strict,
};
use serde_json::{Map, Value, json};

use super::{OmsError, bundle::BUNDLE_BYTES_MAX};
use crate::content::{HashAlgorithm, PATH_BYTES_MAX, hash_bytes};

/// Most files or pieces in one signature.
pub const RESOURCES_MAX: usize = 1_000_000;
/// Most ignored paths in one signature.
pub const IGNORED_MAX: usize = 10_000;
/// Predicate type since 1.0.
const PREDICATE: &str = "https://model_signing/signature/v1.0";
/// Predicate type of 0.2, with the files as subjects.
const PREDICATE_OLD: &str = "https://model_signing/Digests/v0.1";
/// Version control beside a model, which signatures leave out.
const GIT_PATHS: [&str; 4] = [".git", ".gitattributes", ".github", ".gitignore"];
/// The name of a model that is a single file.
const SINGLE: &str = ".";

/// How files are cut before they are hashed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// Whole files.
    Files,
    /// Pieces of this many bytes. Empty files have no piece, so the signature does not cover them.
    Shards {
        /// Size of every piece but the last of a file; not 0.
        bytes: u64,
    },
}

/// How a model becomes a list of digests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Serialization {
    /// Whole files or pieces.
    pub method: Method,
    /// The hash.
    pub algorithm: HashAlgorithm,
    /// Paths that are left out, with everything below them.
    pub ignored: Vec<String>,
}

impl Default for Serialization {
    /// Whole files by SHA-256, without version control.
    fn default() -> Self {
        Self { method: Method::Files, algorithm: HashAlgorithm::Sha256, ignored: GIT_PATHS.map(str::to_owned).to_vec() }
    }
}

impl Serialization {
    /// Whether `path` is one of the ignored paths or lies below one.
    pub(crate) fn ignores(&self, path: &str) -> bool {
        let below = |ignored: &str| path.strip_prefix(ignored).is_some_and(|rest| rest.starts_with('/'));
        let listed = self.ignored.iter().map(String::as_str).chain(GIT_PATHS);
        listed.into_iter().any(|ignored| path == ignored || below(ignored))
    }

    /// The algorithm's name beside each digest.
    fn digest_name(&self) -> String {
        match self.method {
            Method::Files => self.algorithm.name().to_owned(),
            Method::Shards { bytes } => format!("{}-sharded-{bytes}", self.algorithm.name()),
        }
    }
}

/// One file or piece.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Resource {
    pub(crate) path: String,
    /// Which bytes; `None` is the whole file.
    pub(crate) range: Option<Range<u64>>,
    pub(crate) digest: Vec<u8>,
}

/// The signed list.
#[derive(Debug, Clone)]
pub(crate) struct Manifest {
    pub(crate) name: String,
    pub(crate) serialization: Serialization,
    pub(crate) resources: Vec<Resource>,
    /// The subject's digest, over all digests; an old statement has none.
    pub(crate) root: Option<Digest>,
}

impl Manifest {
    /// Sorts as `model-signing` does: by parts of the path, then by piece.
    pub(crate) fn new(name: String, serialization: Serialization, mut resources: Vec<Resource>) -> Self {
        resources.sort_by(|a, b| {
            let start = |resource: &Resource| resource.range.as_ref().map(|range| range.start);
            a.path.split('/').cmp(b.path.split('/')).then(start(a).cmp(&start(b)))
        });
        let root = Some(root_of(&resources));
        Self { name, serialization, resources, root }
    }

    /// The statement's bytes.
    pub(crate) fn to_payload(&self) -> Vec<u8> {
        let algorithm = self.serialization.digest_name();
        let resources: Vec<Value> = self
            .resources
            .iter()
            .map(|resource| {
                let name = match &resource.range {
                    Some(range) => format!("{}:{}:{}", resource.path, range.start, range.end),
                    None => resource.path.clone(),
                };
                json!({"name": name, "algorithm": algorithm, "digest": hex(&resource.digest)})
            })
            .collect();
        let mut serialization = json!({
            "hash_type": self.serialization.algorithm.name(),
            "allow_symlinks": false,
            "ignore_paths": self.serialization.ignored,
        });
        let (method, shard_size) = match self.serialization.method {
            Method::Files => ("files", None),
            Method::Shards { bytes } => ("shards", Some(bytes)),
        };
        if let Some(fields) = serialization.as_object_mut() {
            fields.insert("method".to_owned(), method.into());
            fields.extend(shard_size.map(|bytes| ("shard_size".to_owned(), bytes.into())));
        }
        let root = self.root.unwrap_or_else(|| root_of(&self.resources));
        let statement = json!({
            "_type": STATEMENT_TYPE,
            "subject": [{"name": self.name, "digest": {"sha256": root.hex()}}],
            "predicateType": PREDICATE,
            "predicate": {"serialization": serialization, "resources": resources},
        });
        statement.to_string().into_bytes()
    }

    /// Reads a statement whose signature holds.
    pub(crate) fn from_payload(payload: &[u8]) -> Result<Self, OmsError> {
        let statement = strict::value(payload, BUNDLE_BYTES_MAX)?;
        if statement.get("_type").and_then(Value::as_str) != Some(STATEMENT_TYPE) {
            return Err(OmsError::Form { what: "the payload is not an in-toto Statement v1" });
        }
        let subjects = list(&statement, "/subject", RESOURCES_MAX)?;
        match statement.get("predicateType").and_then(Value::as_str) {
            Some(PREDICATE) => Self::current(&statement, subjects),
            Some(PREDICATE_OLD) => Self::old(subjects),
            _ => Err(OmsError::Form { what: "the predicate is not that of a model signature" }),
        }
    }

    fn current(statement: &Value, subjects: &[Value]) -> Result<Self, OmsError> {
        let [subject] = subjects else {
            return Err(OmsError::Form { what: "there is not exactly one subject" });
        };
        let serialization = serialization(statement)?;
        let algorithm = serialization.digest_name();
        let listed = list(statement, "/predicate/resources", RESOURCES_MAX)?;
        let mut resources = Vec::with_capacity(listed.len());
        for each in listed {
            if text(each, "/algorithm")? != algorithm {
                return Err(OmsError::Form { what: "a resource has another algorithm than the serialization" });
            }
            let digest = digest(text(each, "/digest")?, serialization.algorithm)?;
            let name = text(each, "/name")?;
            let (path, range) = match serialization.method {
                Method::Files => (name.to_owned(), None),
                Method::Shards { bytes } => shard(name, bytes)?,
            };
            check_name(&path, listed.len())?;
            resources.push(Resource { path, range, digest });
        }
        check_resources(&resources)?;
        // In the order of the list: that is what the signer hashed.
        let (claimed, root) = (text(subject, "/digest/sha256")?, root_of(&resources));
        if claimed != root.hex() {
            return Err(OmsError::Form { what: "the subject's digest is not that of the listed resources" });
        }
        let name = text(subject, "/name")?.to_owned();
        Ok(Self { name, serialization, resources, root: Some(root) })
    }

    fn old(subjects: &[Value]) -> Result<Self, OmsError> {
        let mut resources = Vec::with_capacity(subjects.len());
        for subject in subjects {
            let path = text(subject, "/name")?.to_owned();
            check_name(&path, subjects.len())?;
            let digest = digest(text(subject, "/digest/sha256")?, HashAlgorithm::Sha256)?;
            resources.push(Resource { path, range: None, digest });
        }
        check_resources(&resources)?;
        Ok(Self { name: String::new(), serialization: Serialization::default(), resources, root: None })
    }

    /// Whether the model is one file without a name of its own.
    pub(crate) fn is_single(&self) -> bool {
        self.resources.iter().all(|resource| resource.path == SINGLE)
    }

    /// A single file is listed under `.`; `path` is what it is called here.
    pub(crate) fn rename_single(&mut self, path: &str) {
        for resource in &mut self.resources {
            path.clone_into(&mut resource.path);
        }
    }
}

/// SHA-256 over the digests in their order.
fn root_of(resources: &[Resource]) -> Digest {
    let digests: Vec<u8> = resources.iter().flat_map(|resource| resource.digest.iter().copied()).collect();
    hash_bytes(HashAlgorithm::Sha256, &digests).try_into().map_or_else(|_| Digest::of(&digests), Digest::from_bytes)
}

fn serialization(statement: &Value) -> Result<Serialization, OmsError> {
    let empty = Map::new();
    let fields = statement.pointer("/predicate/serialization").and_then(Value::as_object).unwrap_or(&empty);
    let field = |name: &str| fields.get(name).and_then(Value::as_str);
    let method = match field("method") {
        Some("files") => Method::Files,
        Some("shards") => {
            let bytes = fields.get("shard_size").and_then(whole_number).filter(|bytes| *bytes > 0);
            Method::Shards { bytes: bytes.ok_or(OmsError::Field { pointer: "/predicate/serialization/shard_size" })? }
        }
        _ => return Err(OmsError::Form { what: "the serialization is neither `files` nor `shards`" }),
    };
    let algorithm = HashAlgorithm::ALL.into_iter().find(|known| field("hash_type") == Some(known.name()));
    let algorithm = algorithm.ok_or(OmsError::Form { what: "the hash is none of sha256, blake2b and blake3" })?;
    let listed = match fields.get("ignore_paths") {
        None => &[],
        Some(_) => list(statement, "/predicate/serialization/ignore_paths", IGNORED_MAX)?,
    };
    let mut ignored = Vec::with_capacity(listed.len());
    for each in listed {
        let path = each.as_str().unwrap_or_default();
        if !is_plain(path) {
            return Err(OmsError::UnsafeIgnored { path: printable(path, 120) });
        }
        ignored.push(path.to_owned());
    }
    Ok(Serialization { method, algorithm, ignored })
}

/// A JSON number without fraction; protobuf's `Struct` knows only floating point.
fn whole_number(value: &Value) -> Option<u64> {
    /// Above this a double skips whole numbers.
    const EXACT_MAX: f64 = 9_007_199_254_740_992.0;
    let exact = |number: f64| (0.0..EXACT_MAX).contains(&number) && number.fract() == 0.0;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked to be whole and in range")]
    value.as_u64().or_else(|| value.as_f64().filter(|number| exact(*number)).map(|number| number as u64))
}

fn shard(name: &str, shard_bytes: u64) -> Result<(String, Option<Range<u64>>), OmsError> {
    let wrong = || OmsError::UnsafeName { name: printable(name, 120) };
    let parts: Vec<&str> = name.split(':').collect();
    let [path, start, end] = parts.as_slice() else { return Err(wrong()) };
    let number = |text: &str| text.parse::<u64>().ok().filter(|number| number.to_string() == text).ok_or_else(wrong);
    let (start, end) = (number(start)?, number(end)?);
    if start >= end || end - start > shard_bytes || !start.is_multiple_of(shard_bytes) {
        return Err(wrong());
    }
    Ok(((*path).to_owned(), Some(start..end)))
}

fn check_name(path: &str, resources: usize) -> Result<(), OmsError> {
    if is_plain(path) || (path == SINGLE && resources > 0) {
        return Ok(());
    }
    Err(OmsError::UnsafeName { name: printable(path, 120) })
}

/// Relative and in its shortest spelling.
pub(crate) fn is_plain(path: &str) -> bool {
    !path.is_empty()
        && path.len() <= PATH_BYTES_MAX
        && !path.contains('\0')
        && path.split('/').all(|part| !part.is_empty() && part != "." && part != "..")
}

/// Each name once; pieces of a file follow each other without a gap; `.` stands alone; no file lies below a file.
fn check_resources(resources: &[Resource]) -> Result<(), OmsError> {
    let mut pieces: BTreeMap<&str, BTreeMap<u64, u64>> = BTreeMap::new();
    let twice = |path: &str| OmsError::TwiceListed { name: printable(path, 120) };
    for resource in resources {
        let range = resource.range.clone().unwrap_or(0..u64::MAX);
        if pieces.entry(&resource.path).or_default().insert(range.start, range.end).is_some() {
            return Err(twice(&resource.path));
        }
    }
    if pieces.contains_key(SINGLE) && pieces.len() > 1 {
        return Err(OmsError::UnsafeName { name: SINGLE.to_owned() });
    }
    for (path, ranges) in &pieces {
        let mut expected = 0;
        for (start, end) in ranges {
            if *start != expected {
                return Err(OmsError::Gap { name: printable(path, 120) });
            }
            expected = *end;
        }
    }
    let files: BTreeSet<&str> = pieces.keys().copied().collect();
    let below = files.iter().find(|path| {
        let parents = path.match_indices('/').filter_map(|(at, _)| path.get(..at));
        parents.into_iter().any(|parent| files.contains(parent))
    });
    below.map_or(Ok(()), |path| Err(twice(path)))
}

fn digest(text: &str, algorithm: HashAlgorithm) -> Result<Vec<u8>, OmsError> {
    let raw = from_hex(text).filter(|raw| raw.len() == algorithm.bytes());
    raw.ok_or(OmsError::Form { what: "a digest is not lower-case hexadecimal of the right length" })
}

fn text<'a>(value: &'a Value, pointer: &'static str) -> Result<&'a str, OmsError> {
    value.pointer(pointer).and_then(Value::as_str).ok_or(OmsError::Field { pointer })
}

fn list<'a>(value: &'a Value, pointer: &'static str, count_max: usize) -> Result<&'a [Value], OmsError> {
    let listed = value.pointer(pointer).and_then(Value::as_array).ok_or(OmsError::Field { pointer })?;
    if listed.len() > count_max {
        return Err(OmsError::TooMany { pointer, count: listed.len() });
    }
    Ok(listed)
}
