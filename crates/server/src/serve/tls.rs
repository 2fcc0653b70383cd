//! TLS 1.3 and nothing older, with the post-quantum hybrid first.
//!
//! [`Tls`] is what a listener speaks: who the server is ([`Identity`]), whether clients may present certificates, and one
//! configuration for all connections. No 0-RTT (it can be replayed), no ALPN but `http/1.1`, no renegotiation (TLS 1.3
//! has none). Resumption is by tickets, and not where clients have certificates: those are checked every time.

use std::{
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
}

/// The certificate of now.
struct Current {
    authority: Option<Arc<Authority>>,
    leaf: RwLock<(Arc<CertifiedKey>, Timestamp)>,
}

impl fmt::Debug for Current {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Current").field("authority", &self.authority).finish_non_exhaustive()
    }
}

impl Current {
    fn new(identity: Identity, now: Timestamp) -> Result<Self, AuthorityError> {
        Ok(match identity {
            Identity::Files(key) => Self { authority: None, leaf: RwLock::new((Arc::new(key), Timestamp::MAX)) },
            Identity::Embedded(authority) => {
                let leaf = authority.leaf(now)?;
                Self { authority: Some(authority), leaf: RwLock::new((Arc::new(leaf.key), leaf.renew)) }
            }
        })
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
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.key())
    }
}
