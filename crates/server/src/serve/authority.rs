//! The embedded certificate authority: TLS from the first start, without anybody's help.
//!
//! [`Authority::open`] makes a key and a certificate in a folder, or reads them again. From it come short-lived certificates
//! for the server itself ([`Authority::leaf`]) and certificates by which parts of one installation know each other
//! ([`Authority::part`]). The authority can sign for the names of its first start and for loopback, and for nothing else
//! (name constraints, RFC 5280, section 4.2.1.10), so who trusts it does not trust it for the rest of the network.
//!
//! What must stay true: its key is in one file that only its owner reads; the server's own keys are never written.

use std::{
    collections::BTreeSet,
    fmt,
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Write as _},
    net::IpAddr,
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    time::Duration,
};

use rcgen::{
    BasicConstraints, CertificateParams, CidrSubnet, DnType, ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, NameConstraints, PKCS_ECDSA_P256_SHA256, date_time_ymd,
};
use ringfence_engine::schema::{Digest, Timestamp};
use rustls::{RootCertStore, sign::CertifiedKey};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, pem::PemObject as _};
use zeroize::Zeroizing;

use super::tls::provider;
use crate::guard::hosts::HostName;

/// How long the authority lives.
pub const AUTHORITY_LIFE: Duration = days(3_650);
/// How long the server's certificate lives.
pub const LEAF_LIFE: Duration = days(30);
/// What may be left of it before a new one is made.
pub const LEAF_RENEW_BEFORE: Duration = days(10);
/// How long the certificate of a part lives.
pub const PART_LIFE: Duration = days(90);
/// How far clocks may differ: certificates are valid from so long before they are made.
pub const CLOCK_SKEW_MAX: Duration = Duration::from_hours(1);
/// Largest file of a certificate or key, in bytes.
pub const PEM_BYTES_MAX: u64 = 64 * 1_024;
/// Under this domain, which no resolver answers for (`.internal` is reserved), are the names of parts.
pub const PARTS_DOMAIN: &str = "parts.ringfence.internal";

const KEY_FILE: &str = "authority.key.pem";
const CERTIFICATE_FILE: &str = "authority.pem";

const fn days(count: u64) -> Duration {
    Duration::from_secs(count * 86_400)
}

/// Why there is no authority, or no certificate from it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuthorityError {
    /// The system said no.
    #[error("`{}`: {source}", path.display())]
    Io {
        /// Which path.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
    /// Others can read the key.
    #[error("`{}` can be read by others (mode {mode:o})", path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// A file is not what it should be.
    #[error("`{}` does not hold {expected}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What it should hold.
        expected: &'static str,
    },
    /// The key is not the certificate's.
    #[error("the key in `{}` does not belong to the certificate", path.display())]
    Mismatch {
        /// The key's file.
        path: PathBuf,
    },
    /// It has run out.
    #[error("the authority in `{}` has expired", path.display())]
    Expired {
        /// Its certificate.
        path: PathBuf,
    },
    /// A host that the authority was not made for.
    #[error("the authority in `{}` cannot sign for `{host}`: it was made for other names", path.display())]
    OutsideNames {
        /// Its certificate.
        path: PathBuf,
        /// The host.
        host: String,
    },
    /// Not the name of a part.
    #[error("`{given}` is not the name of a part (a-z, 0-9 and `-`, up to 63)")]
    PartName {
        /// What was given, made printable.
        given: String,
    },
    /// A certificate could not be made.
    #[error("no certificate could be made: {0}")]
    Make(#[from] rcgen::Error),
    /// A certificate was made that TLS does not take.
    #[error("a certificate is not usable: {0}")]
    Unusable(#[from] rustls::Error),
}

impl AuthorityError {
    /// What to do about it.
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::Io { .. } => "make the folder writable for the user that serves, and for nobody else",
            Self::Exposed { .. } => {
                "run `chmod 600` on it; if others may have read it, move the folder away: a new authority is made"
            }
            Self::Unreadable { .. } | Self::Mismatch { .. } | Self::Expired { .. } => {
                "move the folder away: a new authority is made at the next start, and clients have to trust it anew"
            }
            Self::OutsideNames { .. } => {
                "leave the host out, or move the folder away: a new authority is made, and clients have to trust it anew"
            }
            Self::PartName { .. } => "choose another name",
            Self::Make(_) | Self::Unusable(_) => "give a certificate and key of your own by file",
        }
    }
}

/// SHA-256 of a certificate's DER, as browsers show it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// Of this certificate.
    pub fn of(certificate: &CertificateDer<'_>) -> Self {
        Self(*Digest::of(certificate).as_bytes())
    }

    /// Its bytes.
    pub fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, byte) in self.0.iter().enumerate() {
            write!(f, "{}{byte:02X}", if at == 0 { "" } else { ":" })?;
        }
        Ok(())
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A certificate with its key, as PEM: how a part knows itself.
pub struct PartIdentity {
    /// The certificate.
    pub certificate_pem: String,
    /// The key, PKCS #8.
    pub key_pem: Zeroizing<String>,
    /// By which the server will know it.
    pub fingerprint: Fingerprint,
    /// Until when.
    pub expires: Timestamp,
}

impl fmt::Debug for PartIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PartIdentity({}, [redacted])", self.fingerprint)
    }
}

/// A key for TLS, and when to make the next.
#[derive(Debug)]
pub struct Leaf {
    /// Chain and key.
    pub key: CertifiedKey,
    /// From when on a new one is due.
    pub renew: Timestamp,
}

/// The authority.
pub struct Authority {
    path: PathBuf,
    certificate: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
    hosts: BTreeSet<String>,
    ends: Timestamp,
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Authority({}, {})", self.path.display(), self.fingerprint())
    }
}

impl Authority {
    /// The authority in `folder`; made at the first call, for loopback and `hosts`. Later calls may name fewer hosts.
    pub fn open(folder: &Path, hosts: &[HostName], now: Timestamp) -> Result<Self, AuthorityError> {
        let path = folder.join(CERTIFICATE_FILE);
        let hosts: BTreeSet<String> = hosts.iter().map(|name| name.host().to_owned()).collect();
        if !path.try_exists().map_err(io_at(&path))? {
            make(folder, &hosts, now)?;
        }
        let pem = read(&path)?;
        let certificate = CertificateDer::from_pem_slice(&pem)
            .map_err(|_| AuthorityError::Unreadable { path: path.clone(), expected: "a certificate" })?;
        let key_path = folder.join(KEY_FILE);
        let key = String::from_utf8(read_secret(&key_path)?.to_vec()).map(Zeroizing::new);
        let key = key.ok().and_then(|pem| KeyPair::from_pem(&pem).ok());
        let key = key.ok_or(AuthorityError::Unreadable { path: key_path.clone(), expected: "a private key" })?;
        let bounds = super::files::Bounds::of(&certificate)
            .ok_or(AuthorityError::Unreadable { path: path.clone(), expected: "a certificate" })?;
        if bounds.public_key != rcgen::PublicKeyData::subject_public_key_info(&key) {
            return Err(AuthorityError::Mismatch { path: key_path });
        }
        if now < bounds.from || now >= bounds.until {
            return Err(AuthorityError::Expired { path });
        }
        let issuer = Issuer::from_ca_cert_der(&certificate, key)?;
        let authority = Self { path, certificate, issuer, hosts, ends: bounds.until };
        authority.check_names(now)?;
        Ok(authority)
    }

    /// Signs for each host by itself and reads the result as a client would, constraints included.
    fn check_names(&self, now: Timestamp) -> Result<(), AuthorityError> {
        let all = self.hosts.clone();
        for host in all {
            let names = BTreeSet::from([host.clone()]);
            let leaf = self.leaf_for(&names, now)?;
            let chain = [leaf.key.end_entity_cert()?.clone(), self.certificate.clone()];
            if super::files::verify_chain(&chain, now).is_err() {
                return Err(AuthorityError::OutsideNames { path: self.path.clone(), host });
            }
        }
        Ok(())
    }

    /// Its certificate's fingerprint: what people compare.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&self.certificate)
    }

    /// Its certificate as PEM: what clients are given to trust.
    pub fn certificate_path(&self) -> &Path {
        &self.path
    }

    /// Its certificate.
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// The roots by which the certificates of parts are checked.
    pub fn roots(&self) -> Result<RootCertStore, AuthorityError> {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone())?;
        Ok(roots)
    }

    /// A new certificate for the server, with a new key, for all its names.
    pub fn leaf(&self, now: Timestamp) -> Result<Leaf, AuthorityError> {
        self.leaf_for(&self.hosts, now)
    }

    fn leaf_for(&self, hosts: &BTreeSet<String>, now: Timestamp) -> Result<Leaf, AuthorityError> {
        let names = ["localhost", "127.0.0.1", "::1"].into_iter().chain(hosts.iter().map(String::as_str));
        let names: BTreeSet<String> = names.map(str::to_owned).collect();
        let until = plus(now, LEAF_LIFE).min(self.ends);
        let mut params = dated(names.into_iter().collect(), now, until)?;
        params.distinguished_name.push(DnType::CommonName, "Ringfence server");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let chain = vec![certificate.der().clone(), self.certificate.clone()];
        let key = CertifiedKey::from_der(chain, private, &provider())?;
        let renew = Timestamp::from_millis(until.millis().saturating_sub(millis(LEAF_RENEW_BEFORE)));
        Ok(Leaf { key, renew })
    }

    /// A certificate by which a part (`runner-1`, `witness`) presents itself to the server.
    pub fn part(&self, name: &str, now: Timestamp) -> Result<PartIdentity, AuthorityError> {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if !(1..=63).contains(&name.len()) || !name.bytes().all(plain) || name.starts_with('-') || name.ends_with('-') {
            let given = ringfence_engine::schema::finding::printable(name, 80);
            return Err(AuthorityError::PartName { given });
        }
        let expires = plus(now, PART_LIFE).min(self.ends);
        let mut params = dated(vec![format!("{name}.{PARTS_DOMAIN}")], now, expires)?;
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok(PartIdentity {
            certificate_pem: certificate.pem(),
            key_pem: Zeroizing::new(key.serialize_pem()),
            fingerprint: Fingerprint::of(certificate.der()),
            expires,
        })
    }
}

/// Makes key and certificate. The certificate comes last: without it, whatever else is there counts as not made.
fn make(folder: &Path, hosts: &BTreeSet<String>, now: Timestamp) -> Result<(), AuthorityError> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(io_at(folder))?;
    let mut params = dated(Vec::new(), now, plus(now, AUTHORITY_LIFE))?;
    params.distinguished_name.push(DnType::CommonName, "Ringfence authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
    params.name_constraints = Some(constraints(hosts));
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let certificate = params.self_signed(&key)?;
    write(folder, KEY_FILE, Zeroizing::new(key.serialize_pem()).as_bytes(), 0o600)?;
    write(folder, CERTIFICATE_FILE, certificate.pem().as_bytes(), 0o644)
}

fn constraints(hosts: &BTreeSet<String>) -> NameConstraints {
    let name = |name: &str| GeneralSubtree::DnsName(name.to_owned());
    let net = |address: IpAddr, bits: u8| GeneralSubtree::IpAddress(CidrSubnet::from_addr_prefix(address, bits));
    let mut permitted = vec![
        name("localhost"),
        name(PARTS_DOMAIN),
        net(IpAddr::from([127, 0, 0, 0]), 8),
        net(IpAddr::V6(std::net::Ipv6Addr::LOCALHOST), 128),
    ];
    permitted.extend(hosts.iter().map(|host| match host.parse::<IpAddr>() {
        Ok(address) => net(address, if address.is_ipv4() { 32 } else { 128 }),
        Err(_) => name(host),
    }));
    NameConstraints { permitted_subtrees: permitted, excluded_subtrees: Vec::new() }
}

/// Parameters of a certificate that is valid from a little before `now`.
fn dated(names: Vec<String>, now: Timestamp, until: Timestamp) -> Result<CertificateParams, AuthorityError> {
    let epoch = date_time_ymd(1970, 1, 1);
    let mut params = CertificateParams::new(names)?;
    params.not_before = epoch + Duration::from_millis(now.millis().saturating_sub(millis(CLOCK_SKEW_MAX)));
    params.not_after = epoch + Duration::from_millis(until.millis());
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn plus(now: Timestamp, duration: Duration) -> Timestamp {
    now.plus_millis(millis(duration))
}

fn io_at(path: &Path) -> impl FnOnce(io::Error) -> AuthorityError {
    let path = path.to_owned();
    move |source| AuthorityError::Io { path, source }
}

/// A whole file under its name, or none, and on the disk.
pub(super) fn write(folder: &Path, name: &str, bytes: &[u8], mode: u32) -> Result<(), AuthorityError> {
    let path = folder.join(name);
    let unfinished = folder.join(format!(".{name}.new"));
    let written = || -> io::Result<()> {
        match fs::remove_file(&unfinished) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&unfinished)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&unfinished, &path)?;
        File::open(folder)?.sync_all()
    };
    written().map_err(io_at(&path))
}

pub(crate) fn read(path: &Path) -> Result<Vec<u8>, AuthorityError> {
    let mut bytes = Vec::new();
    let opened = File::open(path).and_then(|file| file.take(PEM_BYTES_MAX + 1).read_to_end(&mut bytes));
    opened.map_err(io_at(path))?;
    if bytes.len() as u64 > PEM_BYTES_MAX {
        return Err(AuthorityError::Unreadable { path: path.to_owned(), expected: "a certificate or key" });
    }
    Ok(bytes)
}

/// A file that only its owner can read.
pub(super) fn read_secret(path: &Path) -> Result<Zeroizing<Vec<u8>>, AuthorityError> {
    let file = File::open(path).map_err(io_at(path))?;
    let mode = file.metadata().map_err(io_at(path))?.mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(AuthorityError::Exposed { path: path.to_owned(), mode });
    }
    // Room for all of it at once: growing would leave copies behind.
    let room = usize::try_from(PEM_BYTES_MAX).unwrap_or_default() + 1;
    let mut bytes = Zeroizing::new(Vec::with_capacity(room));
    file.take(PEM_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(io_at(path))?;
    if bytes.len() as u64 > PEM_BYTES_MAX {
        return Err(AuthorityError::Unreadable { path: path.to_owned(), expected: "a private key" });
    }
    Ok(bytes)
}
