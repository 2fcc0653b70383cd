//! Sigstore bundles v0.3 as JSON (`sigstore_bundle.proto` in its protobuf JSON form), the parts that model signatures use.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ringfence_schema::strict;
use serde_json::{Value, json};

use super::OmsError;
use crate::certificate::{self, CHAIN_MAX, Signer};

/// Largest bundle in bytes.
pub const BUNDLE_BYTES_MAX: usize = 64 << 20;
/// The media type of bundles by key or certificate.
pub(crate) const MEDIA_TYPE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
/// How the media type of every version of a bundle begins.
const MEDIA_TYPE_FAMILY: &str = "application/vnd.dev.sigstore.bundle";
/// The only payload that model signatures have.
pub(crate) const PAYLOAD_TYPE: &str = "application/vnd.in-toto+json";

/// What a bundle brings for checking its signature.
#[derive(Debug)]
pub(crate) enum Material {
    /// The hint of a public key; missing in bundles made before 1.0.
    Key(Option<String>),
    /// A chain, the signer's certificate first.
    Chain(Vec<Signer>),
    /// A Fulcio certificate with entries of a transparency log; checked from the whole document.
    Keyless,
}

/// A bundle whose form was checked, but no signature yet.
#[derive(Debug)]
pub(crate) struct Bundle {
    pub(crate) material: Material,
    pub(crate) payload: Vec<u8>,
    pub(crate) signature: Vec<u8>,
}

impl Bundle {
    pub(crate) fn parse(file: &[u8]) -> Result<Self, OmsError> {
        let document = strict::value(file, BUNDLE_BYTES_MAX)?;
        let media_type = text(&document, "/mediaType")?;
        if !media_type.starts_with(MEDIA_TYPE_FAMILY) {
            return Err(OmsError::Form { what: "`mediaType` is not that of a Sigstore bundle" });
        }
        let material = material(&document)?;
        if !matches!(material, Material::Keyless) && media_type != MEDIA_TYPE {
            return Err(OmsError::Form { what: "`mediaType` is not that of a Sigstore bundle of version 0.3" });
        }
        if text(&document, "/dsseEnvelope/payloadType")? != PAYLOAD_TYPE {
            return Err(OmsError::Form { what: "`payloadType` is not an in-toto statement" });
        }
        let signatures = document.pointer("/dsseEnvelope/signatures").and_then(Value::as_array);
        let Some([signature]) = signatures.map(Vec::as_slice) else {
            return Err(OmsError::Form { what: "the envelope does not have exactly one signature" });
        };
        Ok(Self {
            material,
            payload: decode(text(&document, "/dsseEnvelope/payload")?)?,
            signature: decode(text(signature, "/sig")?)?,
        })
    }
}

/// The file of a bundle, laid out as `model-signing` lays it out.
pub(crate) fn to_file(material: &Material, payload: &[u8], signature: &[u8]) -> Vec<u8> {
    let mut verification = match material {
        Material::Key(hint) => json!({"publicKey": {"hint": hint}}),
        Material::Chain(chain) => {
            let certificates = chain.iter().map(|each| json!({"rawBytes": STANDARD.encode(each.der())}));
            json!({"x509CertificateChain": {"certificates": certificates.collect::<Vec<_>>()}})
        }
        Material::Keyless => json!({}),
    };
    if let Some(fields) = verification.as_object_mut() {
        fields.insert("tlogEntries".to_owned(), json!([]));
    }
    let bundle = json!({
        "mediaType": MEDIA_TYPE,
        "verificationMaterial": verification,
        "dsseEnvelope": {
            "payload": STANDARD.encode(payload),
            "payloadType": PAYLOAD_TYPE,
            "signatures": [{"sig": STANDARD.encode(signature), "keyid": ""}],
        },
    });
    bundle.to_string().into_bytes()
}

fn material(document: &Value) -> Result<Material, OmsError> {
    let field = |name: &str| document.get("verificationMaterial").and_then(|material| material.get(name));
    let found = (field("publicKey"), field("x509CertificateChain"), field("certificate"));
    // A chain beside log entries is a keyless bundle of an older version.
    let logged = field("tlogEntries").and_then(Value::as_array).is_some_and(|entries| !entries.is_empty());
    match found {
        (Some(key), None, None) => Ok(Material::Key(key.get("hint").and_then(Value::as_str).map(str::to_owned))),
        (None, Some(_), None) if logged => Ok(Material::Keyless),
        (None, Some(chain), None) => {
            let listed = chain.get("certificates").and_then(Value::as_array);
            let listed = listed.filter(|listed| listed.len() <= CHAIN_MAX);
            let listed =
                listed.ok_or(OmsError::Form { what: "the chain is empty or has more than 16 certificates" })?;
            let ders: Result<Vec<_>, _> = listed.iter().map(|each| decode(text(each, "/rawBytes")?)).collect();
            Ok(Material::Chain(certificate::from_ders(ders?.into_iter(), CHAIN_MAX)?))
        }
        (None, None, Some(_)) => Ok(Material::Keyless),
        _ => Err(OmsError::Form { what: "it brings not exactly one of public key, chain and certificate" }),
    }
}

fn text<'a>(value: &'a Value, pointer: &'static str) -> Result<&'a str, OmsError> {
    value.pointer(pointer).and_then(Value::as_str).ok_or(OmsError::Field { pointer })
}

fn decode(text: &str) -> Result<Vec<u8>, OmsError> {
    STANDARD.decode(text).map_err(|_| OmsError::Form { what: "a field is not base64" })
}
