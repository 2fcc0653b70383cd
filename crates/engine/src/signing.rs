//! Detached signatures, waivers and feeds: made with a key, checked with what the caller trusts.
//!
//! A model's signature is an OpenSSF Model Signing bundle; minisign and lists of checksums are read too. Waivers and feeds
//! are signed with the vault's evidence key, so each is an act of the vault and stands in its trail.

use std::{
    collections::BTreeMap,
    io::Write as _,
    path::{Path, PathBuf},
};

use ringfence_access::{Action, Facts, Resource};
use ringfence_schema::{
    Digest, Hasher, Timestamp,
    osv::feed::FeedHead,
    report::{Check, ScanReport, VerifyReport, VerifySchema, VerifyVerdict},
    waiver::{self, SignedWaiver, Waiver, WaiverTerms},
};
use ringfence_trust::{
    certificate::{self, SignerNames},
    content::Folder,
    detached::{self, BareChecksums, DetachedError, TrustedSigners},
    ecdsa::{EcdsaKey, EcdsaPublicKey},
    feed,
    keys::KeyRole,
    minisign::MinisignKey,
    oms::{self, KeylessRoot, ModelSigner, OmsError, Request, Serialization, Trusted, Uncovered},
    pins::Pins,
    root::TrustRoot,
    sign::VerifyingKey,
    sums::SumsError,
    waiver as signed_waiver,
};
use serde_json::json;

use crate::{
    act::{Act, Effect, Reach},
    bundle::write_whole,
    error::EngineError,
    reaudit::read,
    source,
    vault::{Vault, pin_error},
};

/// Largest key, certificate or signature file in bytes.
const SMALL_BYTES_MAX: u64 = 64 << 20;

/// Who vouches for files, as far as the caller trusts them.
#[derive(Debug, Default)]
pub struct Trust {
    /// ECDSA public keys in PEM.
    pub keys: Vec<PathBuf>,
    /// Root certificates in PEM.
    pub certificate_roots: Vec<PathBuf>,
    /// Names, one of which a certificate must bear; none: any that the roots vouch for.
    pub signers: Vec<String>,
    /// Sigstore's trusted root in JSON, with the identity and the issuer that it must have vouched for.
    pub keyless: Option<Keyless>,
    /// Minisign public keys.
    pub minisign: Vec<PathBuf>,
    /// Whether a list of checksums that nobody signed will do.
    pub bare_checksums: bool,
}

/// A keyless signer.
#[derive(Debug)]
pub struct Keyless {
    /// Sigstore's trusted root in JSON.
    pub root: PathBuf,
    /// E-mail address or URI.
    pub identity: String,
    /// Who vouched for it.
    pub issuer: String,
}

impl Trust {
    fn load(&self) -> Result<TrustedSigners, EngineError> {
        let wrong = |path: &Path, error: &dyn std::fmt::Display| EngineError::Usage {
            what: format!("`{}`: {error}", path.display()),
        };
        let mut models = Vec::new();
        for path in &self.keys {
            let key = EcdsaPublicKey::from_pem(&read(path, SMALL_BYTES_MAX)?).map_err(|error| wrong(path, &error))?;
            models.push(Trusted::Key(key));
        }
        let mut roots = Vec::new();
        for path in &self.certificate_roots {
            let read = certificate::from_pem(&read(path, SMALL_BYTES_MAX)?).map_err(|error| wrong(path, &error))?;
            roots.extend(read);
        }
        if !roots.is_empty() {
            let names =
                if self.signers.is_empty() { SignerNames::Any } else { SignerNames::OneOf(self.signers.clone()) };
            models.push(Trusted::Certificates { roots, names });
        }
        if let Some(Keyless { root, identity, issuer }) = &self.keyless {
            let root = KeylessRoot::from_json(&read(root, SMALL_BYTES_MAX)?).map_err(|error| wrong(root, &error))?;
            models.push(Trusted::Keyless { root, identity: identity.clone(), issuer: issuer.clone() });
        }
        let mut minisign = Vec::new();
        for path in &self.minisign {
            minisign.push(MinisignKey::parse(&read(path, SMALL_BYTES_MAX)?).map_err(|error| wrong(path, &error))?);
        }
        let bare_checksums = if self.bare_checksums { BareChecksums::Accept } else { BareChecksums::Refuse };
        Ok(TrustedSigners { models, minisign, bare_checksums })
    }
}

/// Signs a model, file or folder, with an ECDSA key in PEM, and writes the bundle to `out`. Answers how many files it covers.
pub fn sign_model(path: &Path, key: &Path, certificates: &[PathBuf], out: &Path) -> Result<usize, EngineError> {
    let usage = |path: &Path, error: &dyn std::fmt::Display| EngineError::Usage {
        what: format!("`{}`: {error}", path.display()),
    };
    let pem = zeroize::Zeroizing::new(read(key, SMALL_BYTES_MAX)?);
    let secret = EcdsaKey::from_pem(&pem).map_err(|error| usage(key, &error))?;
    let mut chain = Vec::new();
    for file in certificates {
        chain.extend(certificate::from_pem(&read(file, SMALL_BYTES_MAX)?).map_err(|error| usage(file, &error))?);
    }
    let signer =
        if chain.is_empty() { ModelSigner::Key(secret) } else { ModelSigner::Certificate { key: secret, chain } };
    let folder = folder(path)?;
    let name = path.canonicalize().ok().and_then(|path| Some(path.file_name()?.to_string_lossy().into_owned()));
    let inside = inside(path, out);
    let serialization = Serialization::default();
    let bundle = oms::sign(&folder, &name.unwrap_or_default(), &serialization, inside.as_deref(), &signer)
        .map_err(|error| usage(path, &error))?;
    write_whole(out, &bundle)?;
    let covered = |entry: &&ringfence_trust::content::Entry| Some(entry.path.as_str()) != inside.as_deref();
    Ok(ringfence_trust::content::Content::entries(&folder).iter().filter(covered).count())
}

/// Checks files against a detached signature of any kind that is read.
pub fn verify_signature(
    path: &Path,
    signature: &Path,
    trust: &Trust,
    now: Timestamp,
) -> Result<VerifyReport, EngineError> {
    let trusted = trust.load()?;
    let bytes = read(signature, SMALL_BYTES_MAX)?;
    let folder = folder(path)?;
    let inside = inside(path, signature);
    let request = Request { signature_path: inside.as_deref(), at: now, uncovered: Uncovered::Tell };
    let mut facts = BTreeMap::new();
    let (verdict, check) = match detached::verify_tree(&folder, &bytes, &trusted, &request) {
        Ok(verified) => {
            let signer = verified.signer.unwrap_or_else(|| "nobody: checksums only".into());
            facts.insert("signer".to_owned(), signer.clone());
            facts.insert("method".to_owned(), format!("{:?}", verified.method));
            if !verified.unsigned.is_empty() {
                facts.insert("not signed".to_owned(), verified.unsigned.join(", "));
            }
            let detail = format!("{} files, by {signer}", verified.files.len());
            (VerifyVerdict::Verified, Check { name: "signature".into(), passed: true, detail })
        }
        Err(error) => {
            let detail = error.to_string();
            (verdict_of(&error), Check { name: "signature".into(), passed: false, detail })
        }
    };
    let subject = path.display().to_string();
    Ok(VerifyReport { schema: VerifySchema::One, verdict, subject, checks: vec![check], facts })
}

/// Bytes that are not what was signed are tampering; a signer whom nobody trusts here is not.
fn verdict_of(error: &DetachedError) -> VerifyVerdict {
    match error {
        DetachedError::NoTrust { .. } | DetachedError::NoSubject { .. } | DetachedError::Uncovered(_) => {
            VerifyVerdict::Refused
        }
        DetachedError::Model(error) => match error {
            OmsError::NoTrust { .. }
            | OmsError::OtherKey { .. }
            | OmsError::Certificate(_)
            | OmsError::Keyless { .. } => VerifyVerdict::Refused,
            OmsError::Content(_) => VerifyVerdict::Incomplete,
            _ => VerifyVerdict::Tampered,
        },
        DetachedError::Sums(error) if !matches!(error, SumsError::Content(_)) => VerifyVerdict::Tampered,
        DetachedError::Minisign(_) => VerifyVerdict::Tampered,
        // What could not be read, or is of no kind that is known.
        _ => VerifyVerdict::Incomplete,
    }
}

fn folder(path: &Path) -> Result<Folder, EngineError> {
    let opened = if path.is_dir() { Folder::open(path) } else { Folder::of_file(path) };
    opened.map_err(|error| EngineError::incomplete(path.display().to_string(), error))
}

/// Where `file` lies inside `folder`, if it does.
fn inside(folder: &Path, file: &Path) -> Option<String> {
    let root = if folder.is_dir() { folder.canonicalize().ok()? } else { folder.parent()?.canonicalize().ok()? };
    let parent = file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let full = parent.canonicalize().ok()?.join(file.file_name()?);
    full.strip_prefix(root).ok()?.to_str().map(str::to_owned)
}

/// The signers whose waivers count: those of `root`, or of every pinned root.
pub fn waiver_signers(root: Option<&Path>, pins: Option<&Pins>) -> Result<Vec<VerifyingKey>, EngineError> {
    let mut roots = Vec::new();
    if let Some(path) = root {
        let opened = TrustRoot::open(&read(path, SMALL_BYTES_MAX)?);
        roots.push(opened.map_err(|error| EngineError::tampered(path.display().to_string(), error))?);
    } else if let Some(pins) = pins {
        for vault in pins.vaults().map_err(|error| pin_error(&error))? {
            roots.extend(pins.find(&vault).map_err(|error| pin_error(&error))?);
        }
    }
    Ok(roots.iter().flat_map(|root| root.keys_ever(KeyRole::Evidence)).collect())
}

/// Marks the findings of `report` that a waiver in `file` covers; answers what did not count, and why.
pub fn apply_waivers(
    report: &mut ScanReport,
    file: &Path,
    signers: &[VerifyingKey],
    now: Timestamp,
) -> Result<Vec<String>, EngineError> {
    let read = signed_waiver::open_file(&read(file, SMALL_BYTES_MAX)?, signers)
        .map_err(|error| EngineError::incomplete(file.display().to_string(), error))?;
    let signed: Vec<SignedWaiver> = read.signed();
    for one in report.files.iter_mut().filter(|one| !one.findings.is_empty()) {
        // A file that cannot be read again keeps its findings as they are.
        if let Ok(digest) = digest_of(Path::new(&one.path)) {
            waiver::apply(&mut one.findings, digest, &signed, now);
        }
    }
    let told =
        |(line, error): &(usize, signed_waiver::WaiverFileError)| format!("`{}`, line {line}: {error}", file.display());
    Ok(read.refused.iter().map(told).collect())
}

/// SHA-256 of a regular file.
pub(crate) fn digest_of(path: &Path) -> Result<Digest, EngineError> {
    let mut file = source::open(path)?;
    let mut hasher = Hasher::new();
    std::io::copy(&mut file, &mut Hashing(&mut hasher)).map_err(EngineError::io(path))?;
    Ok(hasher.finish())
}

struct Hashing<'a>(&'a mut Hasher);

impl std::io::Write for Hashing<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Vault<'_> {
    /// Signs a waiver for one rule on one file, and adds it to the waivers in `out`.
    pub fn waive(&self, file: &Path, terms: WaiverTerms, out: &Path) -> Result<Waiver, EngineError> {
        let waiver =
            Waiver::new(digest_of(file)?, terms).map_err(|error| EngineError::Usage { what: error.to_string() })?;
        let act = Act {
            action: Action::Review,
            resources: vec![Resource::Vault],
            facts: Facts::default(),
            request: json!({"waiver": waiver.to_statement()}),
            subject: format!("waiver of {}", waiver.terms().rule),
            reach: Reach::Outside,
        };
        self.act(act, || {
            let mut line = signed_waiver::seal(&waiver, &[&self.keys.evidence])
                .map_err(|error| EngineError::incomplete("waiver", error))?;
            line.push(b'\n');
            let opened = std::fs::OpenOptions::new().append(true).create(true).open(out);
            let mut file = opened.map_err(EngineError::io(out))?;
            file.write_all(&line).and_then(|()| file.sync_all()).map_err(EngineError::io(out))?;
            Ok(Effect::of(()))
        })?;
        Ok(waiver)
    }

    /// Signs OSV records, one a line, as an issue of the feed `head.feed`.
    pub fn sign_feed(&self, records: &Path, head: &FeedHead, out: &Path) -> Result<(), EngineError> {
        let bytes = read(records, 256 << 20)?;
        let act = Act {
            action: Action::Review,
            resources: vec![Resource::Vault],
            facts: Facts::default(),
            request: json!({"feed": head, "records": Digest::of(&bytes)}),
            subject: format!("feed {} {}", head.feed, head.serial),
            reach: Reach::Outside,
        };
        self.act(act, || {
            let file = feed::seal(head, &bytes, &[&self.keys.evidence])
                .map_err(|error| EngineError::incomplete(records.display().to_string(), error))?;
            write_whole(out, &file)?;
            Ok(Effect::of(()))
        })?;
        Ok(())
    }
}
