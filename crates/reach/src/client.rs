//! One HTTP client for everything that leaves this machine.
//!
//! [`Client::open`] asks one question: each hop of its redirects is judged by the egress policy, names are resolved once
//! and only addresses that the policy admits are connected to (so a name that changes its address between the look and
//! the connection gains nothing), credentials stay with the origin they belong to, and a server that is busy is asked
//! again a bounded number of times. [`Answer`] is the last hop with its headers and a bounded, watched body.
//!
//! [`Client::post`] sends something to a sink, [`Client::exchange`] to a witness, [`Client::converse`] talks to a login
//! provider, [`Client::say`] to a Ringfence server, [`Client::question`] asks a model: once, following nothing.
//!
//! What must stay true: `GET`, `POST` to sinks, witnesses, login providers and described models, and other methods to a server of the user's
//! alone; at least TLS 1.2; no proxy, cookie or compression that nobody asked for; every wait
//! and every length has a limit.

pub(crate) mod address_check;

use std::{
    collections::BTreeSet,
    io::{self, Read},
    ops::Range,
    path::Path,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use ringfence_schema::{Timestamp, finding::printable};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use ureq::{
    Agent, AsSendBody, BodyReader, SendBody,
    config::AutoHeaderValue,
    http::{HeaderMap, Request, Response},
    tls::{Certificate, PemItem, RootCerts, TlsConfig, TlsProvider, parse_pem},
    unversioned::transport::DefaultConnector,
};
use zeroize::Zeroizing;

use self::address_check::CheckedResolver;
use crate::{
    error::ReachError,
    header,
    policy::{Denied, EgressPolicy},
    s3::Signer,
    secret::Secret,
    settings::{Limits, Proxy, Roots},
    url::{Scheme, Url},
};

/// Most redirects of one question.
pub const HOPS_MAX: usize = 8;
/// Most bytes of one response's status line and headers.
pub const HEADER_BYTES_MAX: usize = 32 << 10;
/// Bytes read from a connection at a time.
const BUFFER_BYTES: usize = 256 << 10;
/// Longest certificate bundle in bytes.
const ROOTS_BYTES_MAX: u64 = 8 << 20;
/// How much of an error's body is looked at for the server's words.
const SAID_BYTES_MAX: u64 = 4 << 10;
/// How much of the body of a sink's answer is waited for.
const ACKNOWLEDGEMENT_BYTES_MAX: u64 = 64 << 10;
/// Slowest line on which something is sent to a server of the user's, in bytes a second.
const SENT_BYTES_PER_S_MIN: u64 = 32 << 10;
/// What this client calls itself.
const USER_AGENT: &str = concat!("ringfence/", env!("CARGO_PKG_VERSION"));

/// Tells the time.
pub type Clock = fn() -> Timestamp;

/// The outbound client.
pub(crate) struct Client {
    agent: Agent,
    egress: Arc<EgressPolicy>,
    limits: Limits,
    clock: Clock,
}

/// One question.
pub(crate) struct Ask<'a> {
    pub(crate) url: &'a Url,
    /// First byte, and last byte where there is a need to stop.
    pub(crate) range: Option<(u64, Option<u64>)>,
    /// An entity tag that the range depends on (`If-Range`).
    pub(crate) unless_changed: Option<&'a str>,
    pub(crate) accept: &'static str,
    pub(crate) credential: Credential<'a>,
    /// Looks at the first hop's headers before a redirect is followed: the Hub tells commit and hash there.
    pub(crate) first_hop: Option<&'a FirstHop<'a>>,
}

/// Judges the headers of the first hop.
pub(crate) type FirstHop<'a> = dyn Fn(&HeaderMap) -> Result<(), ReachError> + 'a;

/// What is shown with a question.
#[derive(Clone, Copy)]
pub(crate) enum Credential<'a> {
    Anonymous,
    /// Sent to the origin of the question only.
    Bearer {
        token: &'a Secret,
    },
    /// S3's headers, with a signature where there are keys. It is made for one host, so a redirect is not followed.
    S3(Option<&'a Signer>),
}

impl<'a> Ask<'a> {
    /// An anonymous question for all of `url`.
    pub(crate) const fn whole(url: &'a Url) -> Self {
        Self {
            url,
            range: None,
            unless_changed: None,
            accept: "*/*",
            credential: Credential::Anonymous,
            first_hop: None,
        }
    }
}

/// Something to send.
pub(crate) struct Post<'a> {
    pub(crate) url: &'a Url,
    pub(crate) content_type: &'static str,
    /// Beside those that every request has.
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) token: Option<&'a Secret>,
    pub(crate) body: &'a [u8],
}

/// One step of a conversation, for a JSON answer.
pub(crate) struct Exchange<'a> {
    pub(crate) url: &'a Url,
    /// The value of `Authorization`.
    pub(crate) authorization: Option<Zeroizing<String>>,
    /// What is posted, `application/x-www-form-urlencoded`; asked with `GET` when absent.
    pub(crate) form: Option<&'a str>,
}

/// Something said to a server of the user's.
pub(crate) struct Said<'a> {
    pub(crate) method: &'static str,
    pub(crate) url: &'a Url,
    pub(crate) token: Option<&'a Secret>,
    pub(crate) content: Content<'a>,
    /// Which bytes are wanted, and the entity tag that they are to have.
    pub(crate) range: Option<(Range<u64>, String)>,
    /// Milliseconds until the answer's headers are there.
    pub(crate) answer_ms: u64,
}

/// What is sent along.
pub(crate) enum Content<'a> {
    Nothing,
    /// A JSON document.
    Json(&'a [u8]),
    /// A signed JSON document (RFC 7515), for a certificate authority.
    Jose(&'a [u8]),
    /// So many bytes of what is read.
    Bytes(&'a mut dyn Read, u64),
}

/// The last hop's answer.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    /// Where the last hop was.
    pub(crate) url: Url,
    pub(crate) body: Body,
}

impl Answer {
    /// A whole number in a header of the last hop.
    pub(crate) fn length(&self) -> Option<u64> {
        header::text(&self.headers, "content-length").and_then(header::number)
    }

    /// The entity tag of the last hop.
    pub(crate) fn etag(&self) -> Option<String> {
        header::text(&self.headers, "etag").and_then(header::etag)
    }

    /// The range of a `206`, which must be the one that was asked for.
    pub(crate) fn range(&self) -> Option<header::ContentRange> {
        header::text(&self.headers, "content-range").and_then(header::ContentRange::parse)
    }

    /// Reads the whole body, at most `limit` bytes.
    pub(crate) fn read_all(self, limit: u64) -> Result<Vec<u8>, ReachError> {
        let what = self.url.to_string();
        if self.length().is_some_and(|length| length > limit) {
            return Err(ReachError::TooLarge { what, limit });
        }
        let mut bytes = Vec::new();
        let read = self.body.take(limit.saturating_add(1)).read_to_end(&mut bytes);
        read.map_err(|error| ReachError::from_io(error, &self.url))?;
        if bytes.len() as u64 > limit {
            return Err(ReachError::TooLarge { what, limit });
        }
        Ok(bytes)
    }
}

impl Client {
    pub(crate) fn new(
        egress: EgressPolicy,
        limits: Limits,
        proxy: Option<&Proxy>,
        roots: &Roots,
        clock: Clock,
    ) -> Result<Self, ReachError> {
        Self::trusting(egress, limits, proxy, root_certificates(roots)?, aws_lc_rs::default_provider(), clock)
    }

    /// A client for one server of the user's: TLS 1.3 alone, and where an `authority` is given (PEM), certificates below it
    /// alone.
    pub(crate) fn of_server(
        egress: EgressPolicy,
        limits: Limits,
        authority: Option<&[u8]>,
        clock: Clock,
    ) -> Result<Self, ReachError> {
        let roots = match authority {
            Some(pem) => RootCerts::new_with_certs(&certificates_in(pem)?),
            None => RootCerts::WebPki,
        };
        // Without a cipher suite for TLS 1.2 there is no TLS 1.2.
        let mut provider = aws_lc_rs::default_provider();
        provider.cipher_suites.retain(|suite| suite.tls13().is_some());
        Self::trusting(egress, limits, None, roots, provider, clock)
    }

    fn trusting(
        egress: EgressPolicy,
        limits: Limits,
        proxy: Option<&Proxy>,
        roots: RootCerts,
        provider: CryptoProvider,
        clock: Clock,
    ) -> Result<Self, ReachError> {
        let egress = Arc::new(egress);
        let tls = TlsConfig::builder()
            .provider(TlsProvider::Rustls)
            .root_certs(roots)
            .unversioned_rustls_crypto_provider(Arc::new(provider))
            .build();
        let way = proxy.map(Proxy::parse).transpose()?;
        let config = Agent::config_builder()
            .tls_config(tls)
            .proxy(way.as_ref().map(|(proxy, _)| proxy.clone()))
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .user_agent(USER_AGENT)
            .accept_encoding(AutoHeaderValue::None)
            .max_response_header_size(HEADER_BYTES_MAX)
            .input_buffer_size(BUFFER_BYTES)
            .timeout_resolve(Some(Duration::from_millis(limits.connect_ms)))
            .timeout_connect(Some(Duration::from_millis(limits.connect_ms)))
            .timeout_send_request(Some(Duration::from_millis(limits.answer_ms)))
            .timeout_send_body(Some(Duration::from_millis(limits.answer_ms)))
            .timeout_recv_response(Some(Duration::from_millis(limits.answer_ms)))
            .timeout_per_read(Some(Duration::from_millis(limits.idle_ms)))
            .build();
        let resolver = CheckedResolver::new(Arc::clone(&egress), way.map(|(_, authority)| authority));
        let agent = Agent::with_parts(config, DefaultConnector::default(), resolver);
        Ok(Self { agent, egress, limits, clock })
    }

    /// Whether the policy names the host at all; for refusals before anything is sent.
    pub(crate) fn admit(&self, url: &Url) -> Result<(), ReachError> {
        Ok(self.egress.admit(url).map(drop)?)
    }

    pub(crate) const fn clock(&self) -> Clock {
        self.clock
    }

    pub(crate) const fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Asks until there is an answer of success, the limit of attempts is reached, or asking again is pointless.
    pub(crate) fn open(&self, ask: &Ask<'_>) -> Result<Answer, ReachError> {
        let mut attempt = 0;
        loop {
            let error = match self.hops(ask) {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            attempt += 1;
            if !error.is_passing() || attempt >= self.limits.attempts {
                return Err(error);
            }
            self.wait(attempt, &error)?;
        }
    }

    /// Sleeps before attempt `attempt + 1`: doubling, or as long as the server wants if that is within the limit.
    pub(crate) fn wait(&self, attempt: u32, error: &ReachError) -> Result<(), ReachError> {
        let doubled = self.limits.backoff_ms.saturating_mul(1 << attempt.saturating_sub(1).min(16));
        let mut wait_ms = doubled.min(self.limits.wait_ms_max);
        if let ReachError::Busy { host, status, retry_after_s: Some(asked_s) } = error {
            let asked_ms = asked_s.saturating_mul(1_000);
            if asked_ms > self.limits.wait_ms_max {
                return Err(ReachError::Busy { host: host.clone(), status: *status, retry_after_s: Some(*asked_s) });
            }
            wait_ms = wait_ms.max(asked_ms);
        }
        thread::sleep(Duration::from_millis(wait_ms));
        Ok(())
    }

    /// Follows redirects by hand.
    fn hops(&self, ask: &Ask<'_>) -> Result<Answer, ReachError> {
        let mut url = ask.url.clone();
        let mut seen = BTreeSet::new();
        let endless = || ReachError::Redirects { url: ask.url.clone(), limit: HOPS_MAX };
        loop {
            if seen.len() > HOPS_MAX || !seen.insert(url.clone()) {
                return Err(endless());
            }
            let answer = self.one(ask, &url)?;
            let follow = matches!(answer.status, 301 | 302 | 303 | 307 | 308);
            if let Some(look) = ask.first_hop.filter(|_| seen.len() == 1 && (follow || answer.status < 300)) {
                look(&answer.headers)?;
            }
            if !follow || matches!(ask.credential, Credential::S3(_)) {
                return self.judge(answer);
            }
            let target = header::text(&answer.headers, "location")
                .ok_or_else(|| ReachError::malformed(&url, "a redirect without one place to go to"))?;
            let next = url.join(target)?;
            if url.scheme() == Scheme::Https && next.scheme() == Scheme::Http {
                return Err(ReachError::downgrade(next.origin()));
            }
            url = next;
        }
    }

    /// One request and its response's head.
    fn one(&self, ask: &Ask<'_>, url: &Url) -> Result<Answer, ReachError> {
        self.egress.admit(url)?;
        let range = ask.range.map(|(first, last)| match last {
            Some(last) => format!("bytes={first}-{last}"),
            None => format!("bytes={first}-"),
        });
        let mut request =
            self.agent.get(url.to_text()).header("accept", ask.accept).header("accept-encoding", "identity");
        if let Some(tag) = ask.unless_changed {
            request = request.header("if-range", tag);
        }
        match ask.credential {
            Credential::Bearer { token } if ask.url.origin() == url.origin() => {
                request = request.header("authorization", format!("Bearer {}", token.expose()));
            }
            Credential::S3(signer) => {
                // Signatures cover this header too.
                request = request.header("x-amz-checksum-mode", "ENABLED");
                for (name, value) in signer.map(|it| it.sign(url, range.as_deref(), (self.clock)())).unwrap_or_default()
                {
                    request = request.header(name, value);
                }
            }
            Credential::Anonymous | Credential::Bearer { .. } => {}
        }
        if let Some(range) = range {
            request = request.header("range", range);
        }
        let response = request.call().map_err(|error| translate(error, url))?;
        let (parts, body) = response.into_parts();
        let reader = body.into_with_config().limit(u64::MAX).reader();
        Ok(Answer {
            status: parts.status.as_u16(),
            headers: parts.headers,
            url: url.clone(),
            body: Body { reader, watch: Watch::new(&self.limits) },
        })
    }

    /// Sends `post` and waits for all of the answer. Anything but success is an error, which does not name the path: services
    /// put secrets there.
    pub(crate) fn post(&self, post: &Post<'_>) -> Result<(), ReachError> {
        let origin = post.url.with_target("/")?;
        let answer = self.send(post, &origin)?;
        let status = answer.status;
        if let 408 | 425 | 429 | 500..=599 = status {
            return Err(self.busy(&answer.headers, origin.authority(), status));
        }
        if !(200..300).contains(&status) {
            return Err(ReachError::Status { url: origin, status, said: String::new() });
        }
        // An answer that breaks off may be no answer at all, so it is not taken for one.
        let mut rest = answer.body.take(ACKNOWLEDGEMENT_BYTES_MAX);
        io::copy(&mut rest, &mut io::sink()).map_err(|error| ReachError::from_io(error, &origin)).map(drop)
    }

    /// Sends `post`, and whatever status comes is an answer.
    pub(crate) fn exchange(&self, post: &Post<'_>) -> Result<Answer, ReachError> {
        self.send(post, post.url)
    }

    /// Asks a model of the user's choice: posts JSON with headers of the user's own, once, following nothing. The whole exchange has
    /// as long as an answer may take. Anything but success is an error.
    pub(crate) fn question(
        &self,
        url: &Url,
        headers: &[(String, Zeroizing<String>)],
        body: &[u8],
    ) -> Result<Answer, ReachError> {
        self.egress.admit(url)?;
        let mut head = Request::builder()
            .method("POST")
            .uri(url.to_text())
            .header("accept", "application/json")
            .header("accept-encoding", "identity")
            .header("content-type", "application/json");
        for (name, value) in headers {
            head = head.header(name, value.as_str());
        }
        // What is wrong with a header is not told: it may be a secret.
        let wrong = |_| ReachError::Setting { name: "headers", why: "a header cannot be sent".into() };
        let request = self.agent.configure_request(head.body(body).map_err(wrong)?);
        let request = request.timeout_global(Some(Duration::from_millis(self.limits.answer_ms))).build();
        let response = self.agent.run(request).map_err(|error| translate(error, url))?;
        let (parts, body) = response.into_parts();
        let reader = body.into_with_config().limit(u64::MAX).reader();
        let body = Body { reader, watch: Watch::new(&self.limits) };
        match parts.status.as_u16() {
            status @ 200..=299 => Ok(Answer { status, headers: parts.headers, url: url.clone(), body }),
            status @ (408 | 425 | 429 | 502..=504) => Err(self.busy(&parts.headers, url.authority(), status)),
            status => Err(ReachError::Status { url: url.clone(), status, said: printable(words(body).trim(), 160) }),
        }
    }

    /// Sends `post`; errors name `shown`.
    fn send(&self, post: &Post<'_>, shown: &Url) -> Result<Answer, ReachError> {
        self.egress.admit(post.url)?;
        let mut request = self
            .agent
            .post(post.url.to_text())
            .header("accept-encoding", "identity")
            .header("content-type", post.content_type);
        if let Some(token) = post.token {
            request = request.header("authorization", format!("Bearer {}", token.expose()));
        }
        for (name, value) in &post.headers {
            request = request.header(*name, value);
        }
        let response = request.send(post.body).map_err(|error| translate(error, shown))?;
        let (parts, body) = response.into_parts();
        let reader = body.into_with_config().limit(u64::MAX).reader();
        Ok(Answer {
            status: parts.status.as_u16(),
            headers: parts.headers,
            url: shown.clone(),
            body: Body { reader, watch: Watch::new(&self.limits) },
        })
    }

    /// Takes one step of a conversation, and gives back whatever is answered but a passing refusal. Nothing is followed: what
    /// was sent may be secret.
    pub(crate) fn converse(&self, exchange: &Exchange<'_>) -> Result<Answer, ReachError> {
        let url = exchange.url;
        self.egress.admit(url)?;
        let mut headers = vec![("accept", "application/json"), ("accept-encoding", "identity")];
        if let Some(authorization) = &exchange.authorization {
            headers.push(("authorization", authorization));
        }
        let response = if let Some(form) = exchange.form {
            headers.push(("content-type", "application/x-www-form-urlencoded"));
            let request = self.agent.post(url.to_text());
            headers.iter().fold(request, |request, (name, value)| request.header(*name, *value)).send(form)
        } else {
            let request = self.agent.get(url.to_text());
            headers.iter().fold(request, |request, (name, value)| request.header(*name, *value)).call()
        };
        let (parts, body) = response.map_err(|error| translate(error, url))?.into_parts();
        let status = parts.status.as_u16();
        if let 408 | 425 | 429 | 500..=599 = status {
            return Err(self.busy(&parts.headers, url.authority(), status));
        }
        let reader = body.into_with_config().limit(u64::MAX).reader();
        let body = Body { reader, watch: Watch::new(&self.limits) };
        Ok(Answer { status, headers: parts.headers, url: url.clone(), body })
    }

    /// Asks a server of the user's: one request, one whole answer whatever its status, nothing followed.
    ///
    /// # Errors
    /// [`ReachError::TooLarge`] for an answer over `bytes_max`, and whatever the network brings.
    pub(crate) fn say(&self, said: Said<'_>, bytes_max: u64) -> Result<(u16, HeaderMap, Vec<u8>), ReachError> {
        let answer = self.listen(said)?;
        let (status, headers) = (answer.status, answer.headers.clone());
        Ok((status, headers, answer.read_all(bytes_max)?))
    }

    /// The same, with an answer that is still to be read.
    pub(crate) fn listen(&self, said: Said<'_>) -> Result<Answer, ReachError> {
        let Said { method, url, token, content, range, answer_ms } = said;
        self.egress.admit(url)?;
        let accept = if matches!(content, Content::Jose(_)) { "*/*" } else { "application/json" };
        let mut head = Request::builder()
            .method(method)
            .uri(url.to_text())
            .header("accept", accept)
            .header("accept-encoding", "identity")
            .header("origin", url.origin());
        if let Some(token) = token {
            head = head.header("authorization", format!("Bearer {}", token.expose()));
        }
        if let Some((range, tag)) = &range {
            let last = range.end.saturating_sub(1);
            head = head.header("range", format!("bytes={}-{last}", range.start)).header("if-range", tag);
        }
        let wrong = |error: ureq::http::Error| ReachError::malformed(url, error.to_string());
        let answered = match content {
            // Without a length, a method that may have a body is sent with one of unknown length.
            Content::Nothing if matches!(method, "POST" | "PUT" | "PATCH") => {
                self.run(head.body(&[][..]).map_err(wrong)?, answer_ms, 0)
            }
            Content::Nothing => self.run(head.body(()).map_err(wrong)?, answer_ms, 0),
            Content::Json(document) | Content::Jose(document) => {
                let kind = if accept == "*/*" { "application/jose+json" } else { "application/json" };
                let head = head.header("content-type", kind);
                self.run(head.body(document).map_err(wrong)?, answer_ms, document.len() as u64)
            }
            Content::Bytes(bytes, length) => {
                let head = head.header("content-type", "application/octet-stream").header("content-length", length);
                self.run(head.body(SendBody::from_reader(bytes)).map_err(wrong)?, answer_ms, length)
            }
        };
        let (parts, body) = answered.map_err(|error| translate(error, url))?.into_parts();
        let reader = body.into_with_config().limit(u64::MAX).reader();
        let body = Body { reader, watch: Watch::new(&self.limits) };
        Ok(Answer { status: parts.status.as_u16(), headers: parts.headers, url: url.clone(), body })
    }

    /// Sends `length` bytes as long as that takes on a slow line, and waits `answer_ms` for the answer.
    fn run<S: AsSendBody>(
        &self,
        request: Request<S>,
        answer_ms: u64,
        length: u64,
    ) -> Result<Response<ureq::Body>, ureq::Error> {
        let sending_ms = self.limits.answer_ms.saturating_add(length.saturating_mul(1_000) / SENT_BYTES_PER_S_MIN);
        // The answer's first byte is a read too: an idle line is one thing, a long answer another.
        let idle_ms = self.limits.idle_ms.max(answer_ms);
        let request = self
            .agent
            .configure_request(request)
            .timeout_send_body(Some(Duration::from_millis(sending_ms)))
            .timeout_recv_response(Some(Duration::from_millis(answer_ms)))
            .timeout_per_read(Some(Duration::from_millis(idle_ms)))
            .build();
        self.agent.run(request)
    }

    fn busy(&self, headers: &HeaderMap, host: String, status: u16) -> ReachError {
        let now_s = header::text(headers, "date").and_then(header::date_s);
        let now_s = now_s.unwrap_or_else(|| (self.clock)().millis() / 1_000);
        let retry_after_s = header::text(headers, "retry-after").and_then(|text| header::retry_after_s(text, now_s));
        ReachError::Busy { host, status, retry_after_s }
    }

    /// Turns what is no success into an error.
    fn judge(&self, answer: Answer) -> Result<Answer, ReachError> {
        match answer.status {
            200 | 206 => {
                let encoded = header::text(&answer.headers, "content-encoding").unwrap_or("identity");
                if answer.headers.get_all("content-encoding").iter().count() > 1
                    || !encoded.eq_ignore_ascii_case("identity")
                {
                    return Err(ReachError::malformed(&answer.url, "it compresses what was asked for as it is"));
                }
                Ok(answer)
            }
            status @ (408 | 429 | 500 | 502 | 503 | 504) => {
                Err(self.busy(&answer.headers, answer.url.authority(), status))
            }
            status => {
                let said = match header::text(&answer.headers, "x-error-message") {
                    Some(text) => text.to_owned(),
                    None => words(answer.body),
                };
                Err(ReachError::Status { url: answer.url, status, said: printable(said.trim(), 160) })
            }
        }
    }
}

/// What an error's body says, where it says it in the ways that APIs do.
fn words(body: Body) -> String {
    let mut bytes = Vec::new();
    if body.take(SAID_BYTES_MAX).read_to_end(&mut bytes).is_err() {
        return String::new();
    }
    if let Ok(value) = serde_json::from_slice::<serde_json::Value>(&bytes) {
        let text = ["error", "message"].iter().find_map(|key| value.get(key)?.as_str());
        return text.unwrap_or_default().to_owned();
    }
    let text = String::from_utf8_lossy(&bytes);
    let code = text.split_once("<Code>").and_then(|(_, rest)| rest.split_once("</Code>"));
    code.map(|(code, _)| code.to_owned()).unwrap_or_default()
}

/// A response's body: it may not dawdle.
pub(crate) struct Body {
    reader: BodyReader<'static>,
    watch: Watch,
}

impl Read for Body {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let begun = Instant::now();
        let bytes = self.reader.read(buffer)?;
        self.watch.passed(begun.elapsed(), bytes)?;
        Ok(bytes)
    }
}

/// Notices a server that sends just enough to keep the connection alive. Only the time spent waiting for it counts.
struct Watch {
    window: Duration,
    bytes_min: u64,
    spent: Duration,
    bytes: u64,
}

impl Watch {
    fn new(limits: &Limits) -> Self {
        let window = Duration::from_millis(limits.idle_ms);
        let bytes_min = limits.bytes_per_s_min.saturating_mul(limits.idle_ms) / 1_000;
        Self { window, bytes_min, spent: Duration::ZERO, bytes: 0 }
    }

    fn passed(&mut self, spent: Duration, bytes: usize) -> io::Result<()> {
        self.spent += spent;
        self.bytes += bytes as u64;
        if self.spent >= self.window {
            if self.bytes < self.bytes_min {
                return Err(io::Error::from(io::ErrorKind::TimedOut));
            }
            (self.spent, self.bytes) = (Duration::ZERO, 0);
        }
        Ok(())
    }
}

fn translate(error: ureq::Error, url: &Url) -> ReachError {
    let host = url.authority();
    match error {
        ureq::Error::Other(inner) => match inner.downcast::<Denied>() {
            Ok(denied) => ReachError::Denied(*denied),
            Err(other) => ReachError::Connection { host, reason: other.to_string() },
        },
        ureq::Error::Timeout(ureq::Timeout::Resolve | ureq::Timeout::Connect) => {
            ReachError::Slow { host, stage: "no connection" }
        }
        ureq::Error::Timeout(_) => ReachError::Slow { host, stage: "no complete answer" },
        ureq::Error::HostNotFound => ReachError::Unresolved { host },
        ureq::Error::LargeResponseHeader(..) => {
            ReachError::TooLarge { what: format!("headers of {url}"), limit: HEADER_BYTES_MAX as u64 }
        }
        ureq::Error::Rustls(error) => ReachError::Tls { host, reason: error.to_string() },
        ureq::Error::Tls(reason) => ReachError::Tls { host, reason: reason.to_owned() },
        ureq::Error::Protocol(error) => ReachError::Malformed { host, what: printable(&error.to_string(), 160) },
        ureq::Error::Io(error) => match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            Some(inner) => ReachError::Tls { host, reason: inner.to_string() },
            None if error.kind() == io::ErrorKind::TimedOut => ReachError::Slow { host, stage: "nothing came" },
            None => ReachError::Connection { host, reason: error.to_string() },
        },
        other => ReachError::Connection { host, reason: printable(&other.to_string(), 160) },
    }
}

fn root_certificates(roots: &Roots) -> Result<RootCerts, ReachError> {
    match roots {
        Roots::Bundled => Ok(RootCerts::WebPki),
        Roots::File(path) => Ok(RootCerts::new_with_certs(&certificates(path)?)),
    }
}

/// The certificates in a PEM file, at least one.
pub(crate) fn certificates(path: &Path) -> Result<Vec<Certificate<'static>>, ReachError> {
    let mut pem = Vec::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(ROOTS_BYTES_MAX).read_to_end(&mut pem))
        .map_err(|error| ReachError::Io { what: path.display().to_string(), error })?;
    certificates_in(&pem)
}

/// The certificates in PEM text, at least one.
pub(crate) fn certificates_in(pem: &[u8]) -> Result<Vec<Certificate<'static>>, ReachError> {
    let mut certificates = Vec::new();
    for item in parse_pem(pem) {
        match item {
            Ok(PemItem::Certificate(certificate)) => certificates.push(certificate),
            Ok(_) => {}
            Err(error) => return Err(ReachError::Setting { name: "roots", why: error.to_string() }),
        }
    }
    if certificates.is_empty() {
        return Err(ReachError::Setting { name: "roots", why: "the file holds no certificate".into() });
    }
    Ok(certificates)
}
