//! How this machine reaches out: policy, endpoints, limits, proxy and roots, as they stand in a configuration file.
//!
//! Nothing is read from the environment here, and no proxy is used that is not named here.

use std::path::PathBuf;

use ringfence_schema::finding::printable;
use serde::{Deserialize, Serialize};

use crate::{error::ReachError, policy::EgressPolicy, secret::TokenSource, trusted::TrustedSources, url::Url};

/// Everything that can be set.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Hosts that may be spoken to.
    pub egress: EgressPolicy,
    /// Sources that may be asked.
    pub trusted: TrustedSources,
    /// The Hub.
    pub hub: HubSettings,
    /// S3.
    pub s3: S3Settings,
    /// The catalogues of archives.
    pub catalogues: CatalogueSettings,
    /// Times and sizes.
    pub limits: Limits,
    /// The way out, where there is no direct one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proxy: Option<Proxy>,
    /// Whose certificates count.
    pub roots: Roots,
}

/// The Hugging Face Hub, or a server that speaks its interface.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HubSettings {
    /// Its address; its host must be in `egress.hosts`.
    pub endpoint: String,
    /// Where its token comes from.
    pub token: TokenSource,
}

impl Default for HubSettings {
    fn default() -> Self {
        Self { endpoint: "https://huggingface.co".into(), token: TokenSource::default() }
    }
}

/// S3, or a server that speaks its interface.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct S3Settings {
    /// For servers other than AWS; buckets are then the first part of the path.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// The region that requests are signed for.
    pub region: String,
    /// The profile of the credentials file; the environment's keys when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
}

impl Default for S3Settings {
    fn default() -> Self {
        Self { endpoint: None, region: "us-east-1".into(), profile: None }
    }
}

/// Where the catalogues of archives are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CatalogueSettings {
    /// Kaggle; also needs the storage that it redirects to in `egress.hosts`.
    pub kaggle: String,
    /// TensorFlow Hub.
    pub tfhub: String,
}

impl Default for CatalogueSettings {
    fn default() -> Self {
        Self { kaggle: "https://www.kaggle.com".into(), tfhub: "https://tfhub.dev".into() }
    }
}

/// Times and sizes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Milliseconds until a connection stands, and until a name is resolved.
    pub connect_ms: u64,
    /// Milliseconds until the answer's headers are all there.
    pub answer_ms: u64,
    /// Milliseconds without a byte; also the window over which `bytes_per_s_min` is taken.
    pub idle_ms: u64,
    /// Bytes per second below which a server is taken to be holding us up.
    pub bytes_per_s_min: u64,
    /// Attempts for one question, and connections without progress for one file.
    pub attempts: u32,
    /// Milliseconds before the second attempt; doubled each time.
    pub backoff_ms: u64,
    /// Longest wait in milliseconds, whoever asks for it.
    pub wait_ms_max: u64,
    /// Largest file in bytes.
    pub file_bytes_max: u64,
    /// Bytes that looking into one file by ranges may take.
    pub range_bytes_max: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect_ms: 10_000,
            answer_ms: 30_000,
            idle_ms: 30_000,
            bytes_per_s_min: 1_024,
            attempts: 5,
            backoff_ms: 500,
            wait_ms_max: 60_000,
            file_bytes_max: 1 << 40,
            range_bytes_max: 256 << 20,
        }
    }
}

/// `http://HOST:PORT`: a proxy that is asked to `CONNECT`. The policy then judges names and written addresses, because it is
/// the proxy that resolves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Proxy(pub String);

impl Proxy {
    pub(crate) fn parse(&self) -> Result<(ureq::Proxy, (String, u16)), ReachError> {
        let wrong = |why: String| ReachError::Setting { name: "proxy", why };
        let url = Url::parse(&self.0).map_err(|error| wrong(error.to_string()))?;
        let proxy = ureq::Proxy::new(&url.origin()).map_err(|error| wrong(printable(&error.to_string(), 80)))?;
        let authority = (proxy.host().to_owned(), proxy.port());
        Ok((proxy, authority))
    }
}

/// Whose certificates count.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Roots {
    /// Mozilla's list as it was when this program was built.
    #[default]
    Bundled,
    /// The certificates in a PEM file, and no others: the system's bundle, or a company's own.
    File(PathBuf),
}
