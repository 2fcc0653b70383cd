//! Certificates from an authority that speaks ACME (RFC 8555), proven by TLS-ALPN-01 (RFC 8737).
//!
//! [`Acme::kept`] is what an earlier start obtained; [`Acme::keep`] obtains the first, and the next when a third of its life is
//! left, and puts it into the [`Tls`] that serves. The proof is given on the very port that is served, which the authority
//! reaches as port 443 of each name; nothing else listens. Until there is a certificate, and after one has run out, the
//! embedded authority's serves.
//!
//! What must stay true: the account's key and the certificate's lie in files that only their owner reads; a certificate that
//! is not for all names, or not for our key, is not served; an authority that refuses is not asked more often than every
//! quarter of an hour.

use std::{
    fmt,
    future::Future,
    path::{Path, PathBuf},
    pin::Pin,
    sync::Arc,
    time::Duration,
};

use axum::{
    body::Bytes,
    http::{Method, Request},
};
use http_body_util::{BodyExt as _, Full};
use instant_acme::{
    Account, AccountCredentials, AuthorizationStatus, BodyWrapper, BytesResponse, ChallengeType, HttpClient,
    Identifier, NewAccount, NewOrder, Order, OrderStatus, RetryPolicy,
};
use rcgen::{CertificateParams, CustomExtension, KeyPair, PKCS_ECDSA_P256_SHA256};
use ringfence_engine::{
    reach::{
        ReachError,
        acme::{CertificateAuthority, Question},
    },
    schema::{Timestamp, finding::printable},
};
use rustls::sign::CertifiedKey;
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde::{Deserialize, Serialize};
use tokio::time::sleep;
use zeroize::Zeroizing;

use super::{
    authority::{AuthorityError, read_secret, write},
    files::{self, Bounds},
    tls::{Tls, provider},
};
use crate::guard::hosts::HostName;

/// First wait after a refusal; doubled each time. Let's Encrypt counts five failures an hour.
const RETRY_FIRST: Duration = Duration::from_mins(15);
/// Longest wait after refusals.
const RETRY_MAX: Duration = Duration::from_hours(8);
/// How often the age of the certificate is looked at.
const LOOK: Duration = Duration::from_hours(1);
/// How long the authority may take to look at proofs, and to sign.
const PATIENCE: Duration = Duration::from_mins(2);
/// The account's file within the folder.
const ACCOUNT_FILE: &str = "acme-account.json";
/// The certificate's chain and key, in one file so that they never differ.
const CERTIFICATE_FILE: &str = "acme.pem";
/// Longest of the authority's sentences, in characters.
const SAID_CHARS_MAX: usize = 500;

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AcmeError {
    /// A name that no authority signs for.
    #[error("`{host}` is no name that an authority can look up: give the server's public names with --host")]
    Name {
        /// The name.
        host: String,
    },
    /// The directory's address, or its roots.
    #[error(transparent)]
    Reach(#[from] ReachError),
    /// A file.
    #[error(transparent)]
    File(#[from] AuthorityError),
    /// What the authority, or the way to it, said.
    #[error("the certificate authority: {why}")]
    Refused {
        /// Its words, printable.
        why: String,
    },
    /// What it gave is no certificate for us.
    #[error("the certificate authority gave a certificate that is not served: {why}")]
    Unfit {
        /// Why not.
        why: String,
    },
    /// Keys or certificates could not be made.
    #[error("no key or request could be made: {0}")]
    Made(#[from] rcgen::Error),
}

impl From<instant_acme::Error> for AcmeError {
    fn from(error: instant_acme::Error) -> Self {
        Self::Refused { why: printable(&error.to_string(), SAID_CHARS_MAX) }
    }
}

/// What became of it.
#[derive(Debug)]
pub enum Certified {
    /// A certificate is served now.
    Until(Timestamp),
    /// There is none, and it is tried again after this time.
    Refused(AcmeError, Duration),
}

/// An authority, and what it is asked for.
pub struct Acme {
    authority: Arc<CertificateAuthority>,
    contact: Option<String>,
    names: Vec<String>,
    folder: PathBuf,
}

impl fmt::Debug for Acme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Acme({:?}, {:?})", self.authority, self.names)
    }
}

/// The account as it is kept.
#[derive(Serialize, Deserialize)]
struct Kept {
    directory: String,
    credentials: AccountCredentials,
}

impl Acme {
    /// For these names, at the authority whose directory is at `directory`; its own certificate lies below `roots` (PEM) or
    /// Mozilla's roots. `contact` is an address of mail for the authority's warnings. Files lie in `folder`.
    ///
    /// # Errors
    /// [`AcmeError::Name`] for an address or a name without a dot where the authority is a public one, and for no name at all.
    pub fn new(
        directory: &str,
        roots: Option<&[u8]>,
        contact: Option<&str>,
        hosts: &[HostName],
        folder: &Path,
    ) -> Result<Self, AcmeError> {
        let authority = Arc::new(CertificateAuthority::new(directory, roots)?);
        let public = roots.is_none();
        for host in hosts.iter().map(HostName::host) {
            if host.parse::<std::net::IpAddr>().is_ok() || (public && !host.contains('.')) {
                return Err(AcmeError::Name { host: host.to_owned() });
            }
        }
        let names: Vec<String> = hosts.iter().map(|host| host.host().to_owned()).collect();
        if names.is_empty() {
            return Err(AcmeError::Name { host: "localhost".to_owned() });
        }
        let contact = contact.map(|mail| format!("mailto:{mail}"));
        Ok(Self { authority, contact, names, folder: folder.to_owned() })
    }

    /// What was obtained before, where it is still good for these names: chain and key, when the next is due, and its end.
    pub fn kept(&self, now: Timestamp) -> Option<Certificate> {
        let path = self.folder.join(CERTIFICATE_FILE);
        if !path.try_exists().unwrap_or(false) {
            return None;
        }
        read_secret(&path).ok()?;
        let key = files::load(&path, &path, now).ok()?;
        self.certificate(key).ok()
    }

    /// Serves what it obtains in `tls`, for ever; `told` hears what became of each attempt.
    pub async fn keep(self, tls: Tls, now: fn() -> Timestamp, mut told: impl FnMut(Certified) + Send) {
        let mut due = None;
        if let Some(kept) = self.kept(now()) {
            due = Some(kept.renew);
            tls.install(kept.key, kept.until);
            told(Certified::Until(kept.until));
        }
        let mut wait = RETRY_FIRST;
        loop {
            if due.is_some_and(|due| now() < due) {
                sleep(LOOK).await;
                continue;
            }
            match self.obtain(&tls, now).await {
                Ok(certificate) => {
                    due = Some(certificate.renew);
                    wait = RETRY_FIRST;
                    tls.install(certificate.key, certificate.until);
                    told(Certified::Until(certificate.until));
                }
                Err(error) => {
                    told(Certified::Refused(error, wait));
                    sleep(wait).await;
                    wait = wait.saturating_mul(2).min(RETRY_MAX);
                }
            }
        }
    }

    /// One certificate: ordered, proven, signed, checked and written down.
    async fn obtain(&self, tls: &Tls, now: fn() -> Timestamp) -> Result<Certificate, AcmeError> {
        let account = self.account().await?;
        let identifiers: Vec<Identifier> = self.names.iter().cloned().map(Identifier::Dns).collect();
        let mut order = account.new_order(&NewOrder::new(&identifiers)).await?;
        let proven = prove(&mut order, tls).await;
        tls.forget_proofs();
        proven?;
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let mut params = CertificateParams::new(self.names.clone())?;
        params.distinguished_name = rcgen::DistinguishedName::new();
        order.finalize_csr(params.serialize_request(&key)?.der()).await?;
        let chain = order.poll_certificate(&patience()).await?;
        let private = Zeroizing::new(key.serialize_pem());
        let both = Zeroizing::new(format!("{}\n{}", chain.trim_end(), private.as_str()));
        let unfinished = format!("{CERTIFICATE_FILE}.checked");
        write(&self.folder, &unfinished, both.as_bytes(), 0o600)?;
        let path = self.folder.join(&unfinished);
        let checked = files::load(&path, &path, now()).map_err(|error| unfit(error.to_string()));
        let certificate = checked.and_then(|key| self.certificate(key));
        // Written again under its own name only where it is good.
        let _ = std::fs::remove_file(&path);
        let certificate = certificate?;
        write(&self.folder, CERTIFICATE_FILE, both.as_bytes(), 0o600)?;
        Ok(certificate)
    }

    /// The account at this authority; made at the first time.
    async fn account(&self) -> Result<Account, AcmeError> {
        let path = self.folder.join(ACCOUNT_FILE);
        let line = || Box::new(Way(Arc::clone(&self.authority)));
        if path.try_exists().unwrap_or(false) {
            let bytes = read_secret(&path)?;
            if let Ok(kept) = serde_json::from_slice::<Kept>(&bytes)
                && kept.directory == self.authority.directory()
            {
                return Ok(Account::builder_with_http(line()).from_credentials(kept.credentials).await?);
            }
        }
        let contact: Vec<&str> = self.contact.as_deref().into_iter().collect();
        let new = NewAccount { contact: &contact, terms_of_service_agreed: true, only_return_existing: false };
        let directory = self.authority.directory();
        let (account, credentials) = Account::builder_with_http(line()).create(&new, directory.clone(), None).await?;
        let kept = serde_json::to_vec(&Kept { directory, credentials }).map(Zeroizing::new);
        let kept = kept.map_err(|error| unfit(error.to_string()))?;
        write(&self.folder, ACCOUNT_FILE, &kept, 0o600)?;
        Ok(account)
    }

    /// Whether it is for all our names.
    fn certificate(&self, key: CertifiedKey) -> Result<Certificate, AcmeError> {
        let leaf = key.end_entity_cert().map_err(|error| unfit(error.to_string()))?;
        let bounds = Bounds::of(leaf).ok_or_else(|| unfit("it cannot be read".to_owned()))?;
        let read = webpki::EndEntityCert::try_from(leaf).map_err(|error| unfit(error.to_string()))?;
        for name in &self.names {
            let server = rustls_pki_types::ServerName::try_from(name.as_str());
            let server = server.map_err(|_| AcmeError::Name { host: name.clone() })?;
            let fits = read.verify_is_valid_for_subject_name(&server);
            fits.map_err(|_| unfit(format!("it is not for `{name}`")))?;
        }
        let (from, until) = (bounds.from.millis(), bounds.until);
        let left = until.millis().saturating_sub(from) / 3;
        Ok(Certificate { key, renew: Timestamp::from_millis(until.millis().saturating_sub(left)), until })
    }
}

/// A certificate that may be served.
#[derive(Debug)]
pub struct Certificate {
    /// Chain and key.
    pub key: CertifiedKey,
    /// From when on the next is due.
    pub renew: Timestamp,
    /// When it runs out.
    pub until: Timestamp,
}

fn unfit(why: String) -> AcmeError {
    AcmeError::Unfit { why }
}

fn patience() -> RetryPolicy {
    RetryPolicy::new().timeout(PATIENCE)
}

/// Shows the authority that each name leads here, and waits until it has seen that.
async fn prove(order: &mut Order, tls: &Tls) -> Result<(), AcmeError> {
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let mut authorization = authorization?;
        if authorization.status == AuthorizationStatus::Valid {
            continue;
        }
        let mut challenge = authorization
            .challenge(ChallengeType::TlsAlpn01)
            .ok_or_else(|| AcmeError::Refused { why: "it does not offer proof by TLS-ALPN-01".to_owned() })?;
        let Identifier::Dns(name) = challenge.identifier().identifier.clone() else {
            return Err(AcmeError::Refused { why: "it asks for something that is no name".to_owned() });
        };
        tls.prove(&name, proof(&name, challenge.key_authorization().digest().as_ref())?);
        challenge.set_ready().await?;
    }
    match order.poll_ready(&patience()).await? {
        OrderStatus::Ready => Ok(()),
        _ => Err(AcmeError::Refused { why: refusal(order).await }),
    }
}

/// Why an order failed, in the authority's words.
async fn refusal(order: &mut Order) -> String {
    let mut authorizations = order.authorizations();
    while let Some(Ok(authorization)) = authorizations.next().await {
        for challenge in &authorization.challenges {
            if let Some(error) = &challenge.error {
                return printable(&error.to_string(), SAID_CHARS_MAX);
            }
        }
    }
    "it did not accept the proof that the names lead here".to_owned()
}

/// The certificate by which a name is proven (RFC 8737 §3): signed by itself, with the digest of the key authorization.
fn proof(name: &str, digest: &[u8]) -> Result<CertifiedKey, AcmeError> {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let mut params = CertificateParams::new(vec![name.to_owned()])?;
    if digest.len() != DIGEST_BYTES {
        return Err(unfit("a digest of another length".to_owned()));
    }
    params.custom_extensions.push(CustomExtension::new_acme_identifier(digest));
    let certificate = params.self_signed(&key)?;
    let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let key = provider().key_provider.load_private_key(private).map_err(|error| unfit(error.to_string()))?;
    // Not `from_der`, which reads the certificate: its one extension is critical, and not for readers of ours.
    Ok(CertifiedKey::new(vec![certificate.der().clone()], key))
}

/// Length of SHA-256.
const DIGEST_BYTES: usize = 32;

/// The way of the protocol's documents: the one client that speaks to the outside.
struct Way(Arc<CertificateAuthority>);

impl HttpClient for Way {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, instant_acme::Error>> + Send>> {
        let authority = Arc::clone(&self.0);
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            let Ok(body) = body.collect().await;
            let question = match parts.method {
                Method::POST => Question::Signed(body.to_bytes().to_vec()),
                Method::HEAD => Question::Headers,
                _ => Question::Read,
            };
            let url = parts.uri.to_string();
            let asked = tokio::task::spawn_blocking(move || authority.ask(&url, &question)).await;
            let other = |error: Box<dyn std::error::Error + Send + Sync>| instant_acme::Error::Other(error);
            let answer = asked.map_err(|error| other(error.into()))?.map_err(|error| other(error.into()))?;
            Ok(BytesResponse::from(answer.map(|body| Full::new(Bytes::from(body)))))
        })
    }
}
