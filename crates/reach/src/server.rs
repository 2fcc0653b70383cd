//! A Ringfence server that the user named: its API, spoken over TLS 1.3.
//!
//! [`Server`] is the one target that no egress policy lists, because the user typed its address: exactly that host, port and
//! scheme may be spoken to, wherever it is, and nothing that it redirects to. Its certificate has to lie below the authority
//! that was pinned at the login, or below Mozilla's roots where none was.
//!
//! What must stay true: no plain `http`; the token goes to that origin alone; a request that does something is sent once;
//! what the server says has a limit, and is made printable before it becomes an error.

use std::{
    io::Read,
    ops::Range,
    sync::{Arc, PoisonError, RwLock},
    thread,
    time::{Duration, SystemTime},
};

use ringfence_schema::{Digest, Timestamp, finding::printable};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::{
    client::{Answer, Client, Content, Said, certificates_in},
    error::ReachError,
    header,
    policy::{EgressPolicy, HostRule, Network},
    secret::Secret,
    settings::Limits,
    url::{Scheme, Url, escape},
};

/// Largest answer, in bytes.
pub const ANSWER_BYTES_MAX: u64 = 256 << 20;
/// Milliseconds until the answer to something long begins: every stored byte may be read before.
const LONG_ANSWER_MS: u64 = 4 * 60 * 60 * 1_000;
/// Attempts at reading something.
const ATTEMPTS: u32 = 3;
/// Milliseconds before the second attempt; doubled each time.
const BACKOFF_MS: u64 = 250;
/// Longest of a server's sentences, in characters.
const SAID_CHARS_MAX: usize = 500;
/// Most reasons that are shown.
const REASONS_MAX: usize = 64;
/// Largest problem document, in bytes.
const PROBLEM_BYTES_MAX: u64 = 1 << 20;
/// Largest document that is sent, in bytes; the server's own limit.
const ASKED_BYTES_MAX: usize = 256 * 1_024;

/// What is done to a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// Reads; the only one that is tried again.
    Get,
    /// Does something.
    Post,
    /// Puts something in its place.
    Put,
    /// Takes something away.
    Delete,
}

impl Method {
    const fn name(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Delete => "DELETE",
        }
    }
}

/// How long an answer may take to begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// As long as any answer: 30 seconds.
    Brief,
    /// As long as reading every stored byte takes.
    Long,
}

/// A server, and by which token one is known there.
pub struct Server {
    client: Arc<Client>,
    origin: Url,
    token: RwLock<Option<Arc<Secret>>>,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Server({})", self.origin.origin())
    }
}

/// Reads a server's address: `https://HOST[:PORT]`, nothing behind it.
///
/// # Errors
/// [`ReachError::Setting`], also for plain `http` and for a path.
pub fn address(text: &str) -> Result<Url, ReachError> {
    let wrong = |why: &str| ReachError::Setting { name: "server", why: why.to_owned() };
    let url = Url::parse(text).map_err(|error| wrong(&error.to_string()))?;
    if url.scheme() == Scheme::Http {
        return Err(wrong("it must begin with `https://`; nothing is said to a server in the clear"));
    }
    if url.path() != "/" || url.query().is_some() {
        return Err(wrong("it is `https://HOST:PORT` with nothing behind it"));
    }
    Ok(url)
}

impl Server {
    /// The server at `origin` (from [`address`]), under `authority` (PEM) or, without one, Mozilla's roots.
    ///
    /// # Errors
    /// [`ReachError::Setting`] where the authority holds no certificate.
    pub fn new(origin: Url, authority: Option<&[u8]>, token: Option<Secret>) -> Result<Self, ReachError> {
        let host = origin
            .host()
            .parse()
            .map_err(|error: crate::policy::NotAHost| ReachError::Setting { name: "server", why: error.to_string() })?;
        let rule = HostRule { host, port: Some(origin.port()), scheme: Scheme::Https, network: Network::Local };
        let egress = EgressPolicy { hosts: vec![rule] };
        let client = Client::of_server(egress, Limits::default(), authority, || Timestamp::from(SystemTime::now()))?;
        Ok(Self { client: Arc::new(client), origin, token: RwLock::new(token.map(Arc::new)) })
    }

    /// The same server, where one is known by another token.
    #[must_use]
    pub fn with_token(&self, token: Secret) -> Self {
        let token = RwLock::new(Some(Arc::new(token)));
        Self { client: Arc::clone(&self.client), origin: self.origin.clone(), token }
    }

    /// Is known by another token from now on; what is under way goes on with the one before.
    pub fn renew(&self, token: Secret) {
        *self.token.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(token));
    }

    fn token(&self) -> Option<Arc<Secret>> {
        self.token.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// `https://HOST:PORT`.
    pub fn origin(&self) -> String {
        self.origin.origin()
    }

    /// Reads a JSON document at `path`, which begins with `/` and is escaped.
    ///
    /// # Errors
    /// [`ReachError::Problem`] for a refusal, [`ReachError::Stranger`], and whatever the network brings.
    pub fn read<T: DeserializeOwned>(&self, path: &str) -> Result<T, ReachError> {
        self.document(&self.read_bytes(path)?)
    }

    /// Reads what lies at `path` as it is.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn read_bytes(&self, path: &str) -> Result<Vec<u8>, ReachError> {
        let mut attempt = 1;
        loop {
            match self.once(Method::Get, path, None, Patience::Brief) {
                Err(error) if error.is_passing() && attempt < ATTEMPTS => {
                    thread::sleep(Duration::from_millis(BACKOFF_MS << attempt));
                    attempt += 1;
                }
                other => return other,
            }
        }
    }

    /// Does something, once, and reads the JSON document that comes back; [`Value::Null`] stands for an empty answer.
    ///
    /// # Errors
    /// As [`Self::read`]. Where the connection broke, it may have been done: the trail knows.
    pub fn act<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        patience: Patience,
    ) -> Result<T, ReachError> {
        let bytes = self.once(method, path, body, patience)?;
        self.document(if bytes.is_empty() { b"null" } else { &bytes })
    }

    fn document<T: DeserializeOwned>(&self, bytes: &[u8]) -> Result<T, ReachError> {
        serde_json::from_slice(bytes).map_err(|error| {
            let what = format!("an answer that this version does not read: {}", printable(&error.to_string(), 160));
            ReachError::malformed(&self.origin, what)
        })
    }

    fn once(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        patience: Patience,
    ) -> Result<Vec<u8>, ReachError> {
        let url = self.origin.with_target(path)?;
        let body = body.map(|body| body.to_string().into_bytes());
        if body.as_ref().is_some_and(|body| body.len() > ASKED_BYTES_MAX) {
            return Err(ReachError::TooLarge { what: "what is sent".into(), limit: ASKED_BYTES_MAX as u64 });
        }
        let answer_ms = match patience {
            Patience::Brief => self.client.limits().answer_ms,
            Patience::Long => LONG_ANSWER_MS,
        };
        let content = body.as_deref().map_or(Content::Nothing, Content::Json);
        let token = self.token();
        let token = token.as_deref();
        self.whole(Said { method: method.name(), url: &url, token, content, range: None, answer_ms })
    }

    /// The whole of a successful answer.
    fn whole(&self, said: Said<'_>) -> Result<Vec<u8>, ReachError> {
        let (status, headers, bytes) = self.client.say(said, ANSWER_BYTES_MAX).map_err(estranged)?;
        if (200..300).contains(&status) {
            return Ok(bytes);
        }
        let kind = header::text(&headers, "content-type");
        let is_problem = kind.is_some_and(|kind| kind.starts_with("application/problem+json"));
        let document = if is_problem { serde_json::from_slice(&bytes).unwrap_or_default() } else { Value::Null };
        Err(self.problem(status, &document))
    }

    /// Sends the next `length` bytes of `content` to `path`, once, and reads the JSON document that comes back.
    ///
    /// # Errors
    /// As [`Self::act`]. Where the connection broke, some of it may have arrived.
    pub fn send<T: DeserializeOwned>(&self, path: &str, content: &mut dyn Read, length: u64) -> Result<T, ReachError> {
        let url = self.origin.with_target(path)?;
        let answer_ms = self.client.limits().answer_ms;
        let mut limited = content.take(length);
        let content = Content::Bytes(&mut limited, length);
        let token = self.token();
        let token = token.as_deref();
        let bytes = self.whole(Said { method: "PATCH", url: &url, token, content, range: None, answer_ms })?;
        self.document(&bytes)
    }

    /// Begins to read `range` of the file at `path` that has the SHA-256 `digest`.
    ///
    /// # Errors
    /// As [`Self::read`]; [`ReachError::Malformed`] where something else is offered than was asked for.
    pub fn fetch(&self, path: &str, range: Range<u64>, digest: &Digest) -> Result<Incoming, ReachError> {
        let url = self.origin.with_target(path)?;
        let (token, answer_ms) = (self.token(), self.client.limits().answer_ms);
        let token = token.as_deref();
        let tag = format!("\"{digest}\"");
        let wanted = Some((range.clone(), tag.clone()));
        let said = Said { method: "GET", url: &url, token, content: Content::Nothing, range: wanted, answer_ms };
        let answer = self.client.listen(said).map_err(estranged)?;
        let other = || ReachError::malformed(&self.origin, "another part, or another file, than was asked for");
        match answer.status {
            206 => {
                let part = answer.range().ok_or_else(other)?;
                let fits = part.first == range.start && part.last.checked_add(1) == Some(range.end);
                if fits && answer.etag() == Some(tag) { Ok(Incoming(answer)) } else { Err(other()) }
            }
            200..=299 => Err(other()),
            status => {
                let document = serde_json::from_slice(&answer.read_all(PROBLEM_BYTES_MAX)?).unwrap_or_default();
                Err(self.problem(status, &document))
            }
        }
    }

    fn problem(&self, status: u16, document: &Value) -> ReachError {
        let text = |name: &str| document.get(name).and_then(Value::as_str);
        let kind = text("type").and_then(|kind| kind.rsplit(':').next()).unwrap_or_default();
        let said = text("detail").or_else(|| text("title")).map_or_else(
            || format!("`{}` answers {status} and does not say why", self.origin.authority()),
            |said| printable(said, SAID_CHARS_MAX),
        );
        let reasons = document.get("reasons").and_then(Value::as_array).into_iter().flatten();
        let reasons = reasons.filter_map(Value::as_str).take(REASONS_MAX);
        ReachError::Problem {
            server: self.origin.origin(),
            status,
            kind: printable(kind, 40),
            said,
            reasons: reasons.map(|reason| printable(reason, SAID_CHARS_MAX)).collect(),
        }
    }
}

/// Bytes that are coming in.
pub struct Incoming(Answer);

impl Incoming {
    /// The next bytes; 0 at the end.
    ///
    /// # Errors
    /// Whatever the network brings.
    pub fn read(&mut self, buffer: &mut [u8]) -> Result<usize, ReachError> {
        self.0.body.read(buffer).map_err(|error| ReachError::from_io(error, &self.0.url))
    }
}

/// A server whose certificate does not lie where it was pinned is a stranger.
fn estranged(error: ReachError) -> ReachError {
    match error {
        ReachError::Tls { host, reason } => ReachError::Stranger { host, reason },
        other => other,
    }
}

/// One segment of a path, escaped.
pub fn segment(text: &str) -> String {
    escape(text)
}

/// SHA-256 of the first certificate in `pem`, in the bytes that are signed (DER).
///
/// # Errors
/// [`ReachError::Setting`] where there is none.
pub fn fingerprint(pem: &[u8]) -> Result<Digest, ReachError> {
    let none = || ReachError::Setting { name: "authority", why: "the file holds no certificate".into() };
    certificates_in(pem)?.first().map(|certificate| Digest::of(certificate.der())).ok_or_else(none)
}
