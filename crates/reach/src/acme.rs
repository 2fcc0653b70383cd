//! A certificate authority that speaks ACME (RFC 8555), at an address that the operator named.
//!
//! As with a server of the user's, exactly that host, port and scheme may be spoken to and no egress policy lists it: the
//! operator typed its address. What an answer names elsewhere is refused. The documents themselves, and their signatures,
//! are the caller's.

use std::time::SystemTime;

use ringfence_schema::Timestamp;
use ureq::http::Response;

use crate::{
    client::{Client, Content, Said},
    error::ReachError,
    policy::{EgressPolicy, HostRule, Network},
    settings::Limits,
    url::{Scheme, Url},
};

/// Largest answer, in bytes: chains have some 10 KiB.
const ANSWER_BYTES_MAX: u64 = 256 << 10;
/// Largest document that is sent, in bytes.
const ASKED_BYTES_MAX: usize = 64 << 10;

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Question {
    /// `GET`: the directory.
    Read,
    /// `HEAD`: a nonce.
    Headers,
    /// `POST` of a document in JWS.
    Signed(Vec<u8>),
}

/// The authority's ACME side.
pub struct CertificateAuthority {
    client: Client,
    directory: Url,
}

impl std::fmt::Debug for CertificateAuthority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "CertificateAuthority({})", self.directory.to_text())
    }
}

impl CertificateAuthority {
    /// The authority whose directory is at `directory`, its own certificate lying below `roots` (PEM) or, without them, below
    /// Mozilla's roots.
    ///
    /// # Errors
    /// [`ReachError::Setting`] for an address that is none or is not `https`, and where `roots` hold no certificate.
    pub fn new(directory: &str, roots: Option<&[u8]>) -> Result<Self, ReachError> {
        let wrong = |why: String| ReachError::Setting { name: "acme", why };
        let url = Url::parse(directory).map_err(|error| wrong(error.to_string()))?;
        if url.scheme() == Scheme::Http {
            return Err(wrong("it must begin with `https://`".to_owned()));
        }
        let host = url.host().parse().map_err(|error: crate::policy::NotAHost| wrong(error.to_string()))?;
        let rule = HostRule { host, port: Some(url.port()), scheme: Scheme::Https, network: Network::Local };
        let egress = EgressPolicy { hosts: vec![rule] };
        let client = Client::of_server(egress, Limits::default(), roots, || Timestamp::from(SystemTime::now()))?;
        Ok(Self { client, directory: url })
    }

    /// Where its directory is.
    pub fn directory(&self) -> String {
        self.directory.to_text()
    }

    /// Asks once; whatever status comes is an answer.
    ///
    /// # Errors
    /// [`ReachError::Denied`] for another host, [`ReachError::TooLarge`] for an answer over 256 KiB, and whatever the network
    /// brings.
    pub fn ask(&self, url: &str, question: &Question) -> Result<Response<Vec<u8>>, ReachError> {
        let url = Url::parse(url)?;
        let (method, content) = match question {
            Question::Read => ("GET", Content::Nothing),
            Question::Headers => ("HEAD", Content::Nothing),
            Question::Signed(document) if document.len() > ASKED_BYTES_MAX => {
                return Err(ReachError::TooLarge { what: "what is sent".into(), limit: ASKED_BYTES_MAX as u64 });
            }
            Question::Signed(document) => ("POST", Content::Jose(document)),
        };
        let answer_ms = self.client.limits().answer_ms;
        let said = Said { method, url: &url, token: None, content, range: None, answer_ms };
        let (status, headers, body) = self.client.say(said, ANSWER_BYTES_MAX)?;
        let mut answer = Response::new(body);
        *answer.status_mut() =
            status.try_into().map_err(|_| ReachError::malformed(&url, format!("a status of {status}")))?;
        *answer.headers_mut() = headers;
        Ok(answer)
    }
}
