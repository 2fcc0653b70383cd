//! One door for every detached signature of a folder: a model signature, a minisign signature, or a list of checksums.
//!
//! [`verify_tree`] tells them apart by content, never by name. What is trusted is an argument: a signature of a kind for which
//! nothing is trusted is refused, and a bare list of checksums is accepted only where the caller says that nobody need sign.

#![deny(clippy::indexing_slicing)]

use ringfence_schema::finding::printable;

use crate::{
    content::Content,
    minisign::{MinisignError, MinisignKey, MinisignSignature},
    oms::{self, Differences, OmsError, Request, SignedBy, Trusted, Uncovered},
    sums::{self, SUMS_BYTES_MAX, SumsError},
};

/// Who is trusted to sign.
#[derive(Debug, Default)]
pub struct TrustedSigners {
    /// Signers of models.
    pub models: Vec<Trusted>,
    /// Minisign keys.
    pub minisign: Vec<MinisignKey>,
    /// Whether a list of checksums that nobody signed will do.
    pub bare_checksums: BareChecksums,
}

/// Whether a list of checksums that nobody signed will do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum BareChecksums {
    /// It is refused.
    #[default]
    Refuse,
    /// It is accepted for what it is: the files belong together.
    Accept,
}

/// How files were vouched for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Method {
    /// OpenSSF Model Signing.
    Model(SignedBy),
    /// Minisign over one file.
    Minisign,
    /// Minisign over a list of checksums.
    MinisignChecksums,
    /// A list of checksums without a signature.
    Checksums,
}

/// Files that are what somebody vouched for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// Who, fit to print; `None` for a bare list of checksums.
    pub signer: Option<String>,
    /// How.
    pub method: Method,
    /// Files that are covered, sorted.
    pub files: Vec<String>,
    /// Files that are there and not covered, sorted, without the signature itself.
    pub unsigned: Vec<String>,
    /// What the signer said beside it (minisign's trusted comment, the model's name), fit to print.
    pub comment: String,
}

/// Why files are not verified.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DetachedError {
    /// None of the kinds that are read.
    #[error("not a model signature, a minisign signature or a list of SHA-256 checksums")]
    Unknown,
    /// A model signature that does not hold.
    #[error(transparent)]
    Model(#[from] OmsError),
    /// A minisign signature that does not hold.
    #[error(transparent)]
    Minisign(#[from] MinisignError),
    /// A list of checksums that does not hold.
    #[error(transparent)]
    Sums(#[from] SumsError),
    /// Nothing is trusted for this kind.
    #[error("the files are vouched for by {method}, and nothing is trusted for that")]
    NoTrust {
        /// Which kind.
        method: &'static str,
    },
    /// A minisign signature is over one file, and its name does not tell which.
    #[error("a minisign signature must lie beside the file that it is over, as `FILE.minisig`; there is no `{path}`")]
    NoSubject {
        /// The path that was looked for, fit to print.
        path: String,
    },
    /// Files that are there but not covered, where the caller refuses these.
    #[error("files differ from what was signed: {0}")]
    Uncovered(Differences),
}

/// Checks `content` against `signature`. `request.signature_path` is where the signature lies; a minisign signature is over
/// the file of that name without `.minisig`.
pub fn verify_tree(
    content: &dyn Content,
    signature: &[u8],
    trusted: &TrustedSigners,
    request: &Request<'_>,
) -> Result<Verified, DetachedError> {
    let start = signature.trim_ascii_start();
    if start.starts_with(b"{") {
        return by_model_signature(content, signature, trusted, request);
    }
    let verified = if start.starts_with(b"untrusted comment:") {
        by_minisign(content, signature, trusted, request)?
    } else {
        let sums = sums::parse(signature).map_err(|error| match error {
            SumsError::Line { line: 1 } | SumsError::Amount { .. } => DetachedError::Unknown,
            other => other.into(),
        })?;
        if trusted.bare_checksums == BareChecksums::Refuse {
            return Err(DetachedError::NoTrust { method: "a list of checksums that nobody signed" });
        }
        let unsigned = sums::verify(content, &sums)?;
        let files = sums.into_keys().collect();
        Verified { signer: None, method: Method::Checksums, files, unsigned, comment: String::new() }
    };
    settle(verified, request)
}

fn by_model_signature(
    content: &dyn Content,
    signature: &[u8],
    trusted: &TrustedSigners,
    request: &Request<'_>,
) -> Result<Verified, DetachedError> {
    let verified = oms::verify(content, signature, &trusted.models, request)?;
    Ok(Verified {
        signer: Some(verified.signer),
        method: Method::Model(verified.by),
        files: verified.files,
        unsigned: verified.unsigned,
        comment: verified.name,
    })
}

fn by_minisign(
    content: &dyn Content,
    file: &[u8],
    trusted: &TrustedSigners,
    request: &Request<'_>,
) -> Result<Verified, DetachedError> {
    let signature = MinisignSignature::parse(file)?;
    let path = request.signature_path.and_then(|path| path.strip_suffix(".minisig")).unwrap_or_default();
    let no_subject = || DetachedError::NoSubject { path: printable(path, 120) };
    let entry = content.find(path).ok_or_else(no_subject)?;
    let mut refused = DetachedError::NoTrust { method: "minisign" };
    let mut signed = None;
    for key in &trusted.minisign {
        match signature.verify(key, content, entry) {
            Ok(comment) => {
                signed = Some((key.id(), comment));
                break;
            }
            Err(error) => refused = error.into(),
        }
    }
    let Some((signer, comment)) = signed else { return Err(refused) };
    let done = |method, files, unsigned| Verified { signer: Some(signer), method, files, unsigned, comment };
    // What is signed may be a list of checksums, and then speaks for the files in it.
    if let Ok(sums) =
        content.read(entry, SUMS_BYTES_MAX as u64).map_err(SumsError::from).and_then(|list| sums::parse(&list))
    {
        let unsigned = sums::verify(content, &sums)?.into_iter().filter(|unsigned| unsigned != path).collect();
        let mut files: Vec<String> = sums.into_keys().chain([path.to_owned()]).collect();
        files.sort();
        files.dedup();
        return Ok(done(Method::MinisignChecksums, files, unsigned));
    }
    let others = content.entries().iter().map(|other| other.path.clone()).filter(|other| other != path);
    Ok(done(Method::Minisign, vec![path.to_owned()], others.collect()))
}

/// Takes the signature itself off the list of uncovered files, and refuses the others where that is asked for.
fn settle(mut verified: Verified, request: &Request<'_>) -> Result<Verified, DetachedError> {
    verified.unsigned.retain(|path| Some(path.as_str()) != request.signature_path);
    if request.uncovered == Uncovered::Refuse && !verified.unsigned.is_empty() {
        return Err(DetachedError::Uncovered(Differences { added: verified.unsigned, ..Differences::default() }));
    }
    Ok(verified)
}
