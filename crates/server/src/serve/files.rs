//! A certificate and key of one's own, by file, checked before anybody connects.
//!
//! What is wrong is said at the start, with the file's name and what to do, and not by a browser in the evening.

#![deny(clippy::indexing_slicing)]

use std::path::{Path, PathBuf};

use ringfence_engine::schema::Timestamp;
use rustls::sign::CertifiedKey;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, UnixTime, pem::PemObject as _};
use x509_cert::{
    Certificate,
    der::{Decode as _, Encode as _},
};

use super::{
    authority::{AuthorityError, read, read_secret},
    tls::provider,
};

/// Most certificates of a chain.
pub const CHAIN_MAX: usize = 8;

/// Why a certificate of one's own was not taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// A file could not be read, or can be read by too many.
    #[error(transparent)]
    File(#[from] AuthorityError),
    /// Not a chain of certificates.
    #[error("`{}` does not hold 1 to {CHAIN_MAX} certificates in PEM", path.display())]
    NoChain {
        /// The file.
        path: PathBuf,
    },
    /// Not a key.
    #[error("`{}` does not hold a private key in PEM that TLS can use", path.display())]
    NoKey {
        /// The file.
        path: PathBuf,
    },
    /// The key is another's.
    #[error("the key in `{}` does not belong to the first certificate in `{}`", key.display(), chain.display())]
    Mismatch {
        /// The file of certificates.
        chain: PathBuf,
        /// The file of the key.
        key: PathBuf,
    },
    /// Out of its time.
    #[error("certificate {number} in `{}` is valid from {from} until {until}", path.display())]
    OutOfTime {
        /// The file.
        path: PathBuf,
        /// Which, counted from 1.
        number: usize,
        /// From when.
        from: Timestamp,
        /// Until when.
        until: Timestamp,
    },
    /// The certificates do not sign each other.
    #[error("the certificates in `{}` are not a chain: {why}", path.display())]
    Broken {
        /// The file.
        path: PathBuf,
        /// What is wrong, in the words of the verifier.
        why: String,
    },
}

impl FileError {
    /// What to do about it.
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::File(error) => error.remedy(),
            Self::NoChain { .. } => "give the full chain, the server's own certificate first",
            Self::NoKey { .. } => "give the key as PKCS #8, SEC 1 or PKCS #1, without a passphrase",
            Self::Mismatch { .. } => {
                "give the key with which the certificate was requested; the server's own certificate stands first"
            }
            Self::OutOfTime { .. } => "renew the certificate, or look at this machine's clock",
            Self::Broken { .. } => "give the server's own certificate first, then each one that signed the one before",
        }
    }
}

/// Reads and checks a chain and its key.
pub fn load(chain_path: &Path, key_path: &Path, now: Timestamp) -> Result<CertifiedKey, FileError> {
    let pem = read(chain_path)?;
    let chain: Vec<_> = CertificateDer::pem_slice_iter(&pem).take(CHAIN_MAX + 1).filter_map(Result::ok).collect();
    if !(1..=CHAIN_MAX).contains(&chain.len()) {
        return Err(FileError::NoChain { path: chain_path.to_owned() });
    }
    for (at, certificate) in chain.iter().enumerate() {
        let bounds = Bounds::of(certificate).ok_or_else(|| FileError::NoChain { path: chain_path.to_owned() })?;
        if now < bounds.from || now >= bounds.until {
            let (path, Bounds { from, until, .. }) = (chain_path.to_owned(), bounds);
            return Err(FileError::OutOfTime { path, number: at + 1, from, until });
        }
    }
    let no_key = || FileError::NoKey { path: key_path.to_owned() };
    let key = PrivateKeyDer::from_pem_slice(&read_secret(key_path)?).map_err(|_| no_key())?;
    let key = provider().key_provider.load_private_key(key).map_err(|_| no_key())?;
    let certified = CertifiedKey::new(chain, key);
    certified
        .keys_match()
        .map_err(|_| FileError::Mismatch { chain: chain_path.to_owned(), key: key_path.to_owned() })?;
    verify_chain(&certified.cert, now).map_err(|why| FileError::Broken { path: chain_path.to_owned(), why })?;
    Ok(certified)
}

/// Whether each certificate signs the one before, for a server, the last being believed. One alone says nothing about who
/// signed it.
pub(super) fn verify_chain(chain: &[CertificateDer<'_>], now: Timestamp) -> Result<(), String> {
    let Some((last, rest)) = chain.split_last() else { return Err("there is none".to_owned()) };
    let Some((leaf, between)) = rest.split_first() else { return Ok(()) };
    let leaf = webpki::EndEntityCert::try_from(leaf).map_err(|error| error.to_string())?;
    let anchors = [webpki::anchor_from_trusted_cert(last).map_err(|error| error.to_string())?];
    let at = UnixTime::since_unix_epoch(std::time::Duration::from_millis(now.millis()));
    let algorithms = provider().signature_verification_algorithms.all;
    let usage = webpki::KeyUsage::server_auth();
    leaf.verify_for_usage(algorithms, &anchors, between, at, usage, None, None)
        .map(|_| ())
        .map_err(|error| error.to_string())
}

/// What a certificate says of its time and key.
pub(super) struct Bounds {
    pub(super) from: Timestamp,
    pub(super) until: Timestamp,
    pub(super) public_key: Vec<u8>,
}

impl Bounds {
    pub(super) fn of(certificate: &CertificateDer<'_>) -> Option<Self> {
        let body = Certificate::from_der(certificate).ok()?.tbs_certificate;
        let moment = |time: x509_cert::time::Time| {
            Timestamp::from_millis(u64::try_from(time.to_unix_duration().as_millis()).unwrap_or(u64::MAX))
        };
        let public_key = body.subject_public_key_info.to_der().ok()?;
        Some(Self { from: moment(body.validity.not_before), until: moment(body.validity.not_after), public_key })
    }
}
