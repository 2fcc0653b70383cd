//! OpenSSF Model Signing: detached signatures of whole models, as PyPI `model-signing` makes and reads them.
//!
//! [`sign`] and [`verify`] are the doors. A signature file is a Sigstore bundle around a DSSE envelope around an in-toto
//! statement that lists every file with its digest (OpenSSF Model Signing 1.0; `model-signing` 1.1.1 is the reference). It is
//! made with a key or a certificate, and read also where it was made without a key of one's own, through Sigstore.
//!
//! What must stay true: nothing of the statement is acted upon before its signature holds, except to refuse; each file that
//! is present is either covered or told in [`Verified::unsigned`]; a link is never followed. Stricter than the reference:
//! keys that stand twice in JSON, names in a second spelling, an ignore list that swallows the model, several signatures,
//! expired certificates and certificates for other purposes are refused.

#![deny(clippy::indexing_slicing)]

mod bundle;
#[cfg(feature = "keyless")]
mod keyless;
mod manifest;

use std::collections::{BTreeMap, BTreeSet};

use ringfence_schema::{Digest, Timestamp, finding::printable, strict::StrictError};

pub use bundle::BUNDLE_BYTES_MAX;
use bundle::{Bundle, Material, PAYLOAD_TYPE};
#[cfg(feature = "keyless")]
pub use keyless::{KeylessRoot, TRUSTED_ROOT_BYTES_MAX};
pub(crate) use manifest::is_plain;
pub use manifest::{IGNORED_MAX, Method, RESOURCES_MAX, Serialization};
use manifest::{Manifest, Resource};

use crate::{
    certificate::{self, CertificateError, Signer, SignerNames},
    content::{Content, ContentError, EntryKind, Job, hash_all},
    dsse::pae,
    ecdsa::{CurveHash, EcdsaError, EcdsaKey, EcdsaPublicKey},
};

/// Most names in the text of one error.
const NAMES_SHOWN: usize = 8;

/// Why a model was not signed, or its signature does not hold.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OmsError {
    /// Not JSON that is read here.
    #[error("model signature: {0}")]
    Json(#[from] StrictError),
    /// Not a bundle or statement that is accepted.
    #[error("model signature: {what}")]
    Form {
        /// What is wrong.
        what: &'static str,
    },
    /// A field is missing or of another type.
    #[error("model signature: no usable `{pointer}`")]
    Field {
        /// JSON pointer to it.
        pointer: &'static str,
    },
    /// A list is too long.
    #[error("model signature: {count} entries in `{pointer}`")]
    TooMany {
        /// JSON pointer to it.
        pointer: &'static str,
        /// How many.
        count: usize,
    },
    /// A name that leaves the model, or is not in its one spelling.
    #[error("model signature lists `{name}`, which is not a plain path inside the model")]
    UnsafeName {
        /// The name, fit to print.
        name: String,
    },
    /// An ignored path that leaves the model or is all of it.
    #[error("model signature ignores `{path}`, which is not a plain path inside the model")]
    UnsafeIgnored {
        /// The path, fit to print.
        path: String,
    },
    /// A file that stands twice, or below another file.
    #[error("model signature lists `{name}` twice")]
    TwiceListed {
        /// The name, fit to print.
        name: String,
    },
    /// Pieces of a file that do not follow each other.
    #[error("model signature leaves out a part of `{name}`")]
    Gap {
        /// The name, fit to print.
        name: String,
    },
    /// Signed with a key that is not trusted here.
    #[error("model signed with a key whose hint is `{hint}`, which is not among the trusted ones")]
    OtherKey {
        /// The hint, fit to print; empty where the bundle has none.
        hint: String,
    },
    /// Signed in a way for which no trust was given.
    #[error("model signed by {method}, and nothing is trusted for that")]
    NoTrust {
        /// `key`, `certificate` or `keyless identity`.
        method: &'static str,
    },
    /// A key is not one, or a signature does not hold.
    #[error("model signature: {0}")]
    Ecdsa(#[from] EcdsaError),
    /// A certificate is not trusted.
    #[error("model signature: {0}")]
    Certificate(#[from] CertificateError),
    /// A keyless signature does not hold, or is by somebody else.
    #[error("keyless model signature: {reason}")]
    Keyless {
        /// Why, fit to print.
        reason: String,
    },
    /// The certificate is another key's.
    #[error("the certificate is not that of the signing key")]
    OtherCertificate,
    /// A link or special file in the model.
    #[error("`{path}` is a link or a special file; neither is signed or followed")]
    Link {
        /// The path, fit to print.
        path: String,
    },
    /// The model is not what was signed.
    #[error("the model differs from what was signed: {0}")]
    Differs(Differences),
    /// Files could not be read.
    #[error("model signature: {0}")]
    Content(#[from] ContentError),
}

/// How a model differs from its signature. A renamed file is one that is missing and one that was added.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Differences {
    /// Files with other bytes.
    pub changed: Vec<String>,
    /// Files that are signed but not there.
    pub missing: Vec<String>,
    /// Files that are there but not signed, where the caller refuses these.
    pub added: Vec<String>,
}

impl Differences {
    fn is_empty(&self) -> bool {
        self.changed.is_empty() && self.missing.is_empty() && self.added.is_empty()
    }
}

impl std::fmt::Display for Differences {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut separator = "";
        for (what, paths) in [("changed", &self.changed), ("missing", &self.missing), ("added", &self.added)] {
            if paths.is_empty() {
                continue;
            }
            let shown: Vec<String> =
                paths.iter().take(NAMES_SHOWN).map(|path| format!("`{}`", printable(path, 120))).collect();
            write!(f, "{separator}{what} {}", shown.join(", "))?;
            if paths.len() > NAMES_SHOWN {
                write!(f, " and {} more", paths.len() - NAMES_SHOWN)?;
            }
            separator = "; ";
        }
        Ok(())
    }
}

/// Who signs.
#[derive(Debug)]
pub enum ModelSigner {
    /// A bare key; verifiers must have got its public half by another way.
    Key(EcdsaKey),
    /// A key with its certificate.
    Certificate {
        /// The key.
        key: EcdsaKey,
        /// Its certificate, then those that lead to a root.
        chain: Vec<Signer>,
    },
}

/// One way in which a signer may be trusted.
#[derive(Debug)]
#[non_exhaustive]
pub enum Trusted {
    /// This key.
    Key(EcdsaPublicKey),
    /// Certificates below these roots.
    Certificates {
        /// The roots; there is no default.
        roots: Vec<Signer>,
        /// Whose.
        names: SignerNames,
    },
    /// An identity to which Sigstore gave a certificate.
    #[cfg(feature = "keyless")]
    Keyless {
        /// Keys of the certificate authority and logs.
        root: KeylessRoot,
        /// E-mail address or URI, compared exactly.
        identity: String,
        /// Who vouched for that identity, compared exactly.
        issuer: String,
    },
}

/// How a model was signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SignedBy {
    /// A bare key.
    Key,
    /// A certificate.
    Certificate,
    /// A keyless identity.
    Keyless,
}

/// What becomes of files that the signature does not cover: ignored paths, and empty files where pieces were signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Uncovered {
    /// They are told in [`Verified::unsigned`].
    Tell,
    /// They make the verification fail.
    Refuse,
}

/// Circumstances of a verification.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// Where the signature lies inside the model, if it does.
    pub signature_path: Option<&'a str>,
    /// When: certificates must be valid then.
    pub at: Timestamp,
    /// What becomes of uncovered files.
    pub uncovered: Uncovered,
}

/// A model that is what its signer signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// The key's hint, the certificate's subject, or the identity with its issuer; fit to print.
    pub signer: String,
    /// How it was signed.
    pub by: SignedBy,
    /// The name that the signer gave the model, fit to print.
    pub name: String,
    /// The digest that names the signed list, if the statement is not an old one.
    pub root: Option<Digest>,
    /// Files that are covered, sorted.
    pub files: Vec<String>,
    /// Files that are there and not covered, sorted: no statement was made about them. The signature itself is not listed.
    pub unsigned: Vec<String>,
    /// Whether the statement is of the form before 1.0.
    pub old_form: bool,
}

/// Signs `content` and yields the file. `signature_path` is where the signature will lie, if inside the model.
pub fn sign(
    content: &dyn Content,
    name: &str,
    serialization: &Serialization,
    signature_path: Option<&str>,
    signer: &ModelSigner,
) -> Result<Vec<u8>, OmsError> {
    let mut serialization = serialization.clone();
    serialization.ignored.extend(signature_path.map(str::to_owned));
    serialization.ignored.sort();
    serialization.ignored.dedup();
    if let Some(path) = serialization.ignored.iter().find(|path| !is_plain(path)) {
        return Err(OmsError::UnsafeIgnored { path: printable(path, 120) });
    }
    if matches!(serialization.method, Method::Shards { bytes: 0 }) {
        return Err(OmsError::Form { what: "pieces of 0 bytes" });
    }
    let mut places = Vec::new();
    for entry in content.entries().iter().filter(|entry| !serialization.ignores(&entry.path)) {
        if entry.kind != EntryKind::File {
            return Err(OmsError::Link { path: printable(&entry.path, 120) });
        }
        match serialization.method {
            Method::Files => places.push((entry, None)),
            Method::Shards { .. } if entry.path.contains(':') => {
                return Err(OmsError::UnsafeName { name: printable(&entry.path, 120) });
            }
            Method::Shards { bytes } => {
                let starts = (0..entry.size).step_by(usize::try_from(bytes).unwrap_or(usize::MAX));
                places.extend(starts.map(|start| (entry, Some(start..entry.size.min(start.saturating_add(bytes))))));
            }
        }
        if places.len() > RESOURCES_MAX {
            return Err(OmsError::TooMany { pointer: "/predicate/resources", count: places.len() });
        }
    }
    let jobs: Vec<Job<'_>> =
        places.iter().map(|(entry, range)| Job { entry, range: range.clone().unwrap_or(0..entry.size) }).collect();
    let digests = hash_all(content, serialization.algorithm, &jobs)?;
    let resources = places.into_iter().zip(digests).map(|((entry, range), digest)| Resource {
        path: entry.path.clone(),
        range,
        digest,
    });
    let payload = Manifest::new(name.to_owned(), serialization, resources.collect()).to_payload();
    let message = pae(PAYLOAD_TYPE, &payload);
    let (material, signature) = match signer {
        ModelSigner::Key(key) => (Material::Key(Some(key.public_key().hint())), key.sign(&message)?),
        ModelSigner::Certificate { key, chain } => {
            let own = chain.first().ok_or(OmsError::OtherCertificate)?.public_key()?;
            if own != *key.public_key() {
                return Err(OmsError::OtherCertificate);
            }
            (Material::Chain(chain.clone()), key.sign(&message)?)
        }
    };
    Ok(bundle::to_file(&material, &payload, &signature))
}

/// Checks that `content` is what somebody trusted signed in `file`.
pub fn verify(
    content: &dyn Content,
    file: &[u8],
    trusted: &[Trusted],
    request: &Request<'_>,
) -> Result<Verified, OmsError> {
    let bundle = Bundle::parse(file)?;
    let (by, signer) = match &bundle.material {
        Material::Key(hint) => (SignedBy::Key, by_key(&bundle, hint.as_deref(), trusted)?),
        Material::Chain(chain) => (SignedBy::Certificate, by_certificate(&bundle, chain, trusted, request.at)?),
        Material::Keyless => (SignedBy::Keyless, by_identity(file, &bundle, trusted)?),
    };
    let mut manifest = Manifest::from_payload(&bundle.payload)?;
    if let (true, [only]) = (manifest.is_single(), content.entries()) {
        manifest.rename_single(&only.path);
    }
    let unsigned = compare(&manifest, content, request)?;
    let files: BTreeSet<String> = manifest.resources.iter().map(|resource| resource.path.clone()).collect();
    Ok(Verified {
        signer,
        by,
        name: printable(&manifest.name, 200),
        root: manifest.root,
        files: files.into_iter().collect(),
        unsigned,
        old_form: manifest.root.is_none(),
    })
}

/// Reads a statement without its signature, for fuzzing only.
#[cfg(fuzzing)]
pub fn fuzz_statement(payload: &[u8]) {
    if let Ok(manifest) = Manifest::from_payload(payload) {
        let again = Manifest::new(manifest.name.clone(), manifest.serialization.clone(), manifest.resources.clone());
        assert!(manifest.is_single() || Manifest::from_payload(&again.to_payload()).is_ok());
        drop(old_pae(payload));
    }
}

fn by_key(bundle: &Bundle, hint: Option<&str>, trusted: &[Trusted]) -> Result<String, OmsError> {
    let keys: Vec<&EcdsaPublicKey> =
        trusted.iter().filter_map(|each| if let Trusted::Key(key) = each { Some(key) } else { None }).collect();
    if keys.is_empty() {
        return Err(OmsError::NoTrust { method: "a key" });
    }
    // Without a hint (before 1.0) every trusted key is tried.
    let candidates = keys.into_iter().filter(|key| hint.is_none_or(|hint| key.hint() == hint));
    let mut refused = OmsError::OtherKey { hint: printable(hint.unwrap_or_default(), 80) };
    for key in candidates {
        match check_signature(bundle, key, CurveHash::Own) {
            Ok(()) => return Ok(key.hint()),
            Err(error) => refused = error.into(),
        }
    }
    Err(refused)
}

fn by_certificate(bundle: &Bundle, chain: &[Signer], trusted: &[Trusted], at: Timestamp) -> Result<String, OmsError> {
    let mut refused = OmsError::NoTrust { method: "a certificate" };
    for each in trusted {
        let Trusted::Certificates { roots, names } = each else { continue };
        match certificate::verify(chain, roots, names, at) {
            Ok(signer) => {
                check_signature(bundle, &signer.public_key()?, CurveHash::Sha256)?;
                return Ok(signer.subject());
            }
            Err(error) => refused = error.into(),
        }
    }
    Err(refused)
}

#[cfg(feature = "keyless")]
fn by_identity(file: &[u8], bundle: &Bundle, trusted: &[Trusted]) -> Result<String, OmsError> {
    let mut refused = OmsError::NoTrust { method: "a keyless identity" };
    for each in trusted {
        let Trusted::Keyless { root, identity, issuer } = each else { continue };
        match keyless::verify(file, &bundle.payload, root, identity, issuer) {
            Ok(()) => return Ok(printable(&format!("{identity} ({issuer})"), 300)),
            Err(error) => refused = error,
        }
    }
    Err(refused)
}

#[cfg(not(feature = "keyless"))]
fn by_identity(_: &[u8], _: &Bundle, _: &[Trusted]) -> Result<String, OmsError> {
    Err(OmsError::NoTrust { method: "a keyless identity, which this build does not read" })
}

/// The signature over the DSSE encoding, or over the faulty one of `model-signing` 0.2. The two begin differently, so
/// neither can be mistaken for the other.
fn check_signature(bundle: &Bundle, key: &EcdsaPublicKey, old_hash: CurveHash) -> Result<(), EcdsaError> {
    let message = pae(PAYLOAD_TYPE, &bundle.payload);
    key.verify(CurveHash::Own, &message, &bundle.signature)
        .or_else(|error| key.verify(old_hash, &old_pae(&bundle.payload), &bundle.signature).map_err(|_| error))
}

/// What 0.2 signed: `DSSEV1`, and the payload as Python's `repr` shows bytes.
fn old_pae(payload: &[u8]) -> Vec<u8> {
    let quote = if payload.contains(&b'\'') && !payload.contains(&b'"') { '"' } else { '\'' };
    let mut text = format!("DSSEV1 {} {PAYLOAD_TYPE} {} b{quote}", PAYLOAD_TYPE.len(), payload.len());
    for &byte in payload {
        match byte {
            b'\\' => text.push_str("\\\\"),
            b'\t' => text.push_str("\\t"),
            b'\n' => text.push_str("\\n"),
            b'\r' => text.push_str("\\r"),
            _ if char::from(byte) == quote => text.extend(['\\', quote]),
            b' '..=b'~' => text.push(char::from(byte)),
            _ => text.push_str(&format!("\\x{byte:02x}")),
        }
    }
    text.push(quote);
    text.into_bytes()
}

/// Compares names, sizes and digests; yields the files that are not covered.
fn compare(manifest: &Manifest, content: &dyn Content, request: &Request<'_>) -> Result<Vec<String>, OmsError> {
    let mut expected: BTreeMap<&str, Vec<&Resource>> = BTreeMap::new();
    for resource in &manifest.resources {
        expected.entry(&resource.path).or_default().push(resource);
    }
    let pieces = matches!(manifest.serialization.method, Method::Shards { .. });
    let (mut differences, mut unsigned) = (Differences::default(), Vec::new());
    let (mut jobs, mut digests) = (Vec::new(), Vec::new());
    for entry in content.entries() {
        let Some(resources) = expected.remove(entry.path.as_str()) else {
            let ignored = manifest.serialization.ignores(&entry.path);
            if entry.kind != EntryKind::File && !ignored {
                return Err(OmsError::Link { path: printable(&entry.path, 120) });
            }
            if request.signature_path == Some(entry.path.as_str()) {
                continue;
            }
            let tolerated = ignored || (pieces && entry.size == 0);
            let list =
                if tolerated && request.uncovered == Uncovered::Tell { &mut unsigned } else { &mut differences.added };
            list.push(entry.path.clone());
            continue;
        };
        if entry.kind != EntryKind::File {
            return Err(OmsError::Link { path: printable(&entry.path, 120) });
        }
        // Pieces end where the file ends, or bytes were added or cut off.
        let end = resources.iter().filter_map(|resource| resource.range.as_ref()).map(|range| range.end).max();
        if end.is_some_and(|end| end != entry.size) {
            differences.changed.push(entry.path.clone());
            continue;
        }
        for resource in resources {
            jobs.push(Job { entry, range: resource.range.clone().unwrap_or(0..entry.size) });
            digests.push(&resource.digest);
        }
    }
    differences.missing.extend(expected.keys().map(|path| (*path).to_owned()));
    for ((job, expected), found) in
        jobs.iter().zip(digests).zip(hash_all(content, manifest.serialization.algorithm, &jobs)?)
    {
        if *expected != found && differences.changed.last() != Some(&job.entry.path) {
            differences.changed.push(job.entry.path.clone());
        }
    }
    if differences.is_empty() { Ok(unsigned) } else { Err(OmsError::Differs(differences)) }
}
