//! TLS 1.3 and nothing older, with the post-quantum hybrid first.
//!
//! [`Tls`] is what a listener speaks: who the server is ([`Identity`]), whether clients may present certificates, and one
//! configuration for all connections. No 0-RTT (it can be replayed), no ALPN but `http/1.1`, no renegotiation (TLS 1.3
//! has none). Resumption is by tickets, and not where clients have certificates: those are checked every time.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, PoisonError, RwLock},
};

use ringfence_engine::schema::Timestamp;
use rustls::{
    ServerConfig,
    crypto::{
        CryptoProvider,
        aws_lc_rs::{self, cipher_suite, kx_group},
    },
    server::{ClientHello, NoServerSessionStorage, ResolvesServerCert, WebPkiClientVerifier},
    sign::CertifiedKey,
};

use super::authority::{Authority, AuthorityError, Fingerprint};

/// Tickets that a client gets with a full handshake: one is one resumption.
const TICKETS: usize = 1;

/// The one protocol above TLS.
const ALPN: &[u8] = b"http/1.1";
/// What a certificate authority asks for when it looks whether a name leads here (RFC 8737).
const PROOF_ALPN: &[u8] = b"acme-tls/1";

/// AWS-LC with the suites of TLS 1.3, X25519MLKEM768 (FIPS 203 beside X25519) first.
pub fn provider() -> CryptoProvider {
    CryptoProvider {
        cipher_suites: vec![
            cipher_suite::TLS13_AES_256_GCM_SHA384,
            cipher_suite::TLS13_AES_128_GCM_SHA256,
            cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
        ],
        kx_groups: vec![kx_group::X25519MLKEM768, kx_group::X25519, kx_group::SECP256R1, kx_group::SECP384R1],
        ..aws_lc_rs::default_provider()
    }
}

/// Who the server is.
#[derive(Debug)]
pub enum Identity {
    /// A certificate from the embedded authority, renewed while the server runs.
    Embedded(Arc<Authority>),
    /// A chain and key that [`super::files::load`] checked.
    Files(CertifiedKey),
}

/// Whether clients may present a certificate.
#[derive(Debug, Clone)]
pub enum Clients {
    /// They are not asked.
    Unasked,
    /// They may present one of this authority; a bad one ends the handshake, none does not.
    Optional(Arc<Authority>),
}

/// Why TLS could not be set up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// The embedded authority.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// A configuration that TLS does not take.
    #[error("TLS cannot be set up: {0}")]
    Configuration(#[from] rustls::Error),
    /// The roots for clients' certificates.
    #[error("clients' certificates cannot be checked: {0}")]
    Clients(#[from] rustls::server::VerifierBuilderError),
}

/// What a listener speaks.
#[derive(Clone)]
pub struct Tls {
    config: Arc<ServerConfig>,
    current: Arc<Current>,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tls({:?})", self.current)
    }
}

impl Tls {
    /// With this identity; `now` is when the embedded authority makes the first certificate.
    pub fn new(identity: Identity, clients: Clients, now: Timestamp) -> Result<Self, TlsError> {
        let provider = Arc::new(provider());
        let current = Arc::new(Current::new(identity, now)?);
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&rustls::version::TLS13])?;
        let resumes = matches!(clients, Clients::Unasked);
        let builder = match clients {
            Clients::Unasked => builder.with_no_client_auth(),
            Clients::Optional(authority) => {
                let roots = Arc::new(authority.roots()?);
                let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider);
                builder.with_client_cert_verifier(verifier.allow_unauthenticated().build()?)
            }
        };
        let mut config = builder.with_cert_resolver(Arc::clone(&current) as Arc<dyn ResolvesServerCert>);
        config.alpn_protocols = vec![ALPN.to_vec()];
        config.max_early_data_size = 0;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        if resumes {
            config.ticketer = aws_lc_rs::Ticketer::new()?;
            config.send_tls13_tickets = TICKETS;
        }
        Ok(Self { config: Arc::new(config), current })
    }

    pub(crate) fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.config)
    }

    /// The fingerprint of the certificate that is presented now.
    pub fn fingerprint(&self) -> Option<Fingerprint> {
        self.current.key().cert.first().map(Fingerprint::of)
    }

    /// Makes the next certificate where one is due; says whether it did. Connections that stand keep theirs.
    pub fn renew(&self, now: Timestamp) -> Result<bool, AuthorityError> {
        self.current.renew(now)
    }

    /// The same, with the proofs of [`Self::prove`] for whoever asks for them.
    #[must_use]
    pub fn proving(&self) -> Self {
        let mut config = ServerConfig::clone(&self.config);
        config.alpn_protocols.push(PROOF_ALPN.to_vec());
        Self { config: Arc::new(config), current: Arc::clone(&self.current) }
    }

    /// Presents `key` from now on; from `until` on, the embedded authority's certificate again.
    pub fn install(&self, key: CertifiedKey, until: Timestamp) {
        *self.current.leaf.write().unwrap_or_else(PoisonError::into_inner) = (Arc::new(key), until);
    }

    /// Proves `name` with this certificate where an authority asks.
    pub fn prove(&self, name: &str, proof: CertifiedKey) {
        let mut proofs = self.current.proofs.write().unwrap_or_else(PoisonError::into_inner);
        proofs.insert(name.to_owned(), Arc::new(proof));
    }

    /// Nothing is proven any more.
    pub fn forget_proofs(&self) {
        self.current.proofs.write().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

/// Whether a handshake was made for the proof alone, after which there is nothing to say.
pub(super) fn was_proof(protocol: Option<&[u8]>) -> bool {
    protocol == Some(PROOF_ALPN)
}

/// The certificate of now.
struct Current {
    authority: Option<Arc<Authority>>,
    leaf: RwLock<(Arc<CertifiedKey>, Timestamp)>,
    /// By name in lower case.
    proofs: RwLock<BTreeMap<String, Arc<CertifiedKey>>>,
}

impl fmt::Debug for Current {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Current").field("authority", &self.authority).finish_non_exhaustive()
    }
}

impl Current {
    fn new(identity: Identity, now: Timestamp) -> Result<Self, AuthorityError> {
        let (authority, leaf) = match identity {
            Identity::Files(key) => (None, (Arc::new(key), Timestamp::MAX)),
            Identity::Embedded(authority) => {
                let leaf = authority.leaf(now)?;
                (Some(authority), (Arc::new(leaf.key), leaf.renew))
            }
        };
        Ok(Self { authority, leaf: RwLock::new(leaf), proofs: RwLock::default() })
    }

    fn key(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.leaf.read().unwrap_or_else(PoisonError::into_inner).0)
    }

    fn renew(&self, now: Timestamp) -> Result<bool, AuthorityError> {
        let Some(authority) = &self.authority else { return Ok(false) };
        if now < self.leaf.read().unwrap_or_else(PoisonError::into_inner).1 {
            return Ok(false);
        }
        let leaf = authority.leaf(now)?;
        *self.leaf.write().unwrap_or_else(PoisonError::into_inner) = (Arc::new(leaf.key), leaf.renew);
        Ok(true)
    }
}

impl ResolvesServerCert for Current {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        if hello.alpn().is_some_and(|mut offered| offered.all(|protocol| protocol == PROOF_ALPN)) {
            let name = hello.server_name()?.to_ascii_lowercase();
            return self.proofs.read().unwrap_or_else(PoisonError::into_inner).get(&name).cloned();
        }
        Some(self.key())
    }
}
