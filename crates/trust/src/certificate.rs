//! X.509 certificates (RFC 5280) of people who sign models: a chain to given roots, at a given time.
//!
//! webpki builds and checks the path (signatures, validity, basic constraints, name constraints, extended key usage, unknown
//! critical extensions); this file adds what webpki leaves to its caller: that roots are certificate authorities within
//! their own validity, that the signer's certificate is for signatures, and which names are accepted.
//!
//! Absent on purpose: the system's roots (a web server's authority vouches for no model) and revocation lists.

#![deny(clippy::indexing_slicing)]

use std::{fmt, time::Duration};

use ringfence_schema::{Timestamp, finding::printable};
use rustls_pki_types::{
    CertificateDer, UnixTime,
    pem::{PemObject as _, SectionKind},
};
use webpki::{ALL_VERIFICATION_ALGS, EndEntityCert, KeyUsage as Purpose, anchor_from_trusted_cert};
use x509_cert::{
    Certificate,
    der::{Decode as _, Encode as _, oid::ObjectIdentifier},
    ext::pkix::{BasicConstraints, ExtendedKeyUsage, KeyUsage, SubjectAltName, name::GeneralName},
};

use crate::ecdsa::EcdsaPublicKey;

/// Largest file of certificates in bytes.
pub const CERTIFICATES_BYTES_MAX: usize = 4 << 20;
/// Most certificates in one chain or set of roots.
pub const CERTIFICATES_MAX: usize = 512;
/// Most certificates in the chain of a signature.
pub const CHAIN_MAX: usize = 16;

/// `id-kp-codeSigning`, 1.3.6.1.5.5.7.3.3, as text and as the contents of its DER.
const CODE_SIGNING: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.3");
const CODE_SIGNING_DER: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x03];
const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");

/// Why a certificate is not read or not trusted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CertificateError {
    /// Too large, too many, or none.
    #[error("certificates: {what}")]
    Amount {
        /// What is wrong.
        what: &'static str,
    },
    /// Not the DER of an X.509 certificate.
    #[error("certificate {index} is not X.509")]
    NotX509 {
        /// Counted from 0.
        index: usize,
    },
    /// Outside of its validity.
    #[error("certificate `{subject}` is valid from {from} to {until}, not at {at}")]
    Validity {
        /// Whose, fit to print.
        subject: String,
        /// Start of its validity.
        from: Timestamp,
        /// End of its validity.
        until: Timestamp,
        /// The time that was asked for.
        at: Timestamp,
    },
    /// A root that is not a certificate authority.
    #[error("root `{subject}` is not a certificate authority")]
    NotAnAuthority {
        /// Whose, fit to print.
        subject: String,
    },
    /// The signer's certificate is not for signatures.
    #[error("certificate `{subject}` is not for signing: {what}")]
    Usage {
        /// Whose, fit to print.
        subject: String,
        /// What is missing.
        what: &'static str,
    },
    /// No path from the signer's certificate to a root.
    #[error("certificate `{subject}` does not lead to a trusted root: {reason}")]
    Path {
        /// Whose, fit to print.
        subject: String,
        /// webpki's reason.
        reason: String,
    },
    /// Not one of the accepted names.
    #[error("certificate names {names:?}, none of which is accepted")]
    Name {
        /// Its names, fit to print.
        names: Vec<String>,
    },
    /// Not an ECDSA key on P-256, P-384 or P-521.
    #[error("certificate `{subject}` holds no ECDSA key on P-256, P-384 or P-521")]
    Key {
        /// Whose, fit to print.
        subject: String,
    },
}

/// Whose certificates are accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SignerNames {
    /// Everybody's to whom a root gave one.
    Any,
    /// Those with one of these as common name, e-mail address, DNS name or URI, compared exactly.
    OneOf(Vec<String>),
}

/// One certificate, read.
#[derive(Clone)]
pub struct Signer {
    der: Vec<u8>,
    fields: Box<Certificate>,
}

impl Signer {
    fn new(der: Vec<u8>, index: usize) -> Result<Self, CertificateError> {
        let fields = Certificate::from_der(&der).map_err(|_| CertificateError::NotX509 { index })?;
        Ok(Self { der, fields: Box::new(fields) })
    }

    /// The DER bytes.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// The subject's distinguished name (RFC 4514), fit to print.
    pub fn subject(&self) -> String {
        printable(&self.fields.tbs_certificate.subject.to_string(), 200)
    }

    /// Its names: common names, and alternative names that are e-mail addresses, DNS names or URIs.
    pub fn names(&self) -> Vec<String> {
        let subject = &self.fields.tbs_certificate.subject.0;
        let attributes = subject.iter().flat_map(|set| set.0.iter()).filter(|attribute| attribute.oid == COMMON_NAME);
        let mut names: Vec<String> = attributes
            .filter_map(|attribute| std::str::from_utf8(attribute.value.value()).ok().map(str::to_owned))
            .collect();
        if let Ok(Some((_, SubjectAltName(alternatives)))) = self.fields.tbs_certificate.get::<SubjectAltName>() {
            names.extend(alternatives.iter().filter_map(|name| match name {
                GeneralName::Rfc822Name(text)
                | GeneralName::DnsName(text)
                | GeneralName::UniformResourceIdentifier(text) => Some(text.to_string()),
                _ => None,
            }));
        }
        names
    }

    /// The key that signs.
    pub fn public_key(&self) -> Result<EcdsaPublicKey, CertificateError> {
        let spki = self.fields.tbs_certificate.subject_public_key_info.to_der().unwrap_or_default();
        EcdsaPublicKey::from_spki(&spki).ok_or_else(|| CertificateError::Key { subject: self.subject() })
    }

    fn check_validity(&self, at: Timestamp) -> Result<(), CertificateError> {
        let validity = &self.fields.tbs_certificate.validity;
        let moment = |time: x509_cert::time::Time| {
            Timestamp::from_millis(u64::try_from(time.to_unix_duration().as_millis()).unwrap_or(u64::MAX))
        };
        let (from, until) = (moment(validity.not_before), moment(validity.not_after));
        // The last second counts wholly (RFC 5280 §4.1.2.5: inclusive).
        if from <= at && at < until.plus_millis(1_000) {
            return Ok(());
        }
        Err(CertificateError::Validity { subject: self.subject(), from, until, at })
    }

    fn check_authority(&self) -> Result<(), CertificateError> {
        let fields = &self.fields.tbs_certificate;
        let authority = matches!(fields.get::<BasicConstraints>(), Ok(Some((_, BasicConstraints { ca: true, .. }))));
        let signs = match fields.get::<KeyUsage>() {
            Ok(usage) => usage.is_none_or(|(_, usage)| usage.key_cert_sign()),
            Err(_) => false,
        };
        if authority && signs { Ok(()) } else { Err(CertificateError::NotAnAuthority { subject: self.subject() }) }
    }

    /// `digitalSignature` where a key usage is given, `codeSigning` where an extended one is given, and one of them at least.
    fn check_usage(&self) -> Result<(), CertificateError> {
        let fields = &self.fields.tbs_certificate;
        let refuse = |what| Err(CertificateError::Usage { subject: self.subject(), what });
        let Ok(usage) = fields.get::<KeyUsage>() else { return refuse("its key usage cannot be read") };
        let Ok(extended) = fields.get::<ExtendedKeyUsage>() else {
            return refuse("its extended key usage cannot be read");
        };
        if usage.as_ref().is_some_and(|(_, usage)| !usage.digital_signature()) {
            return refuse("its key usage lacks `digitalSignature`");
        }
        if extended.as_ref().is_some_and(|(_, purposes)| !purposes.0.contains(&CODE_SIGNING)) {
            return refuse("its extended key usage lacks `codeSigning`");
        }
        if usage.is_none() && extended.is_none() {
            return refuse("it has neither a key usage nor an extended one");
        }
        Ok(())
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Signer").field(&self.subject()).finish()
    }
}

/// Every certificate of a PEM file, in order.
pub fn from_pem(pem: &[u8]) -> Result<Vec<Signer>, CertificateError> {
    if pem.len() > CERTIFICATES_BYTES_MAX {
        return Err(CertificateError::Amount { what: "the file is larger than 4 MiB" });
    }
    let sections = <(SectionKind, Vec<u8>)>::pem_slice_iter(pem).flatten();
    from_ders(sections.filter(|(kind, _)| *kind == SectionKind::Certificate).map(|(_, der)| der), CERTIFICATES_MAX)
}

/// Certificates from their DER bytes, at least one and at most `count_max`.
pub(crate) fn from_ders(
    ders: impl Iterator<Item = Vec<u8>>,
    count_max: usize,
) -> Result<Vec<Signer>, CertificateError> {
    let mut all = Vec::new();
    for (index, der) in ders.enumerate() {
        if index == count_max {
            return Err(CertificateError::Amount { what: "too many" });
        }
        all.push(Signer::new(der, index)?);
    }
    if all.is_empty() { Err(CertificateError::Amount { what: "there are none" }) } else { Ok(all) }
}

/// Checks that `chain` (the signer's first) leads to one of `roots` at the time `at`, is for signing, and bears an accepted name.
/// A signer's certificate that is itself among the roots needs no path.
pub fn verify<'a>(
    chain: &'a [Signer],
    roots: &[Signer],
    names: &SignerNames,
    at: Timestamp,
) -> Result<&'a Signer, CertificateError> {
    let Some((signer, intermediates)) = chain.split_first() else {
        return Err(CertificateError::Amount { what: "the signature brings none" });
    };
    signer.check_validity(at)?;
    signer.check_usage()?;
    if roots.iter().any(|root| root.der == signer.der) {
        // The user trusts this very certificate, and whoever holds it needs nobody else's word.
        check_name(signer, names)?;
        return Ok(signer);
    }
    // One root that has expired must not take the others with it, but the reason is told if none is left.
    let mut refused = None;
    let usable: Vec<CertificateDer<'_>> = roots
        .iter()
        .filter(|root| match root.check_authority().and_then(|()| root.check_validity(at)) {
            Ok(()) => true,
            Err(error) => {
                refused = Some(error);
                false
            }
        })
        .map(|root| CertificateDer::from(root.der()))
        .collect();
    if let (true, Some(error)) = (usable.is_empty(), refused) {
        return Err(error);
    }
    let path = |reason: &dyn fmt::Display| CertificateError::Path {
        subject: signer.subject(),
        reason: printable(&reason.to_string(), 200),
    };
    let anchors: Result<Vec<_>, _> = usable.iter().map(anchor_from_trusted_cert).collect();
    let anchors = anchors.map_err(|error| path(&error))?;
    let intermediates: Vec<_> = intermediates.iter().map(|each| CertificateDer::from(each.der())).collect();
    let leaf = CertificateDer::from(signer.der());
    let leaf = EndEntityCert::try_from(&leaf).map_err(|error| path(&error))?;
    let time = UnixTime::since_unix_epoch(Duration::from_millis(at.millis()));
    let purpose = Purpose::required_if_present(CODE_SIGNING_DER);
    leaf.verify_for_usage(ALL_VERIFICATION_ALGS, &anchors, &intermediates, time, purpose, None, None)
        .map_err(|error| path(&error))?;
    check_name(signer, names)?;
    Ok(signer)
}

fn check_name(signer: &Signer, names: &SignerNames) -> Result<(), CertificateError> {
    let SignerNames::OneOf(accepted) = names else { return Ok(()) };
    let found = signer.names();
    if found.iter().any(|name| accepted.contains(name)) {
        return Ok(());
    }
    Err(CertificateError::Name { names: found.iter().map(|name| printable(name, 120)).collect() })
}
