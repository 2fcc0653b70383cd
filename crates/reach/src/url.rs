//! The few URLs that are fetched: `http` and `https`, an ASCII host, a port, a path with its query.
//!
//! [`Url::parse`] is strict where lenient parsers disagree with each other, because a difference between the one that
//! checks and the one that connects is how an egress policy is evaded: no user information, no backslashes, no control
//! characters, no percent signs in the host. [`Url::join`] resolves a redirect's target (RFC 3986, section 5.2).
//!
//! Absent on purpose: fragments (dropped by the caller), other schemes, international names outside their `xn--` form.

use std::{fmt, net::IpAddr};

use ringfence_schema::finding::printable;
use serde::{Deserialize, Serialize};

/// Longest URL in bytes: signed storage links reach a few kilobytes.
pub const URL_BYTES_MAX: usize = 8_192;
/// Longest host name in bytes (RFC 1035, section 2.3.4).
const HOST_BYTES_MAX: usize = 253;

/// How bytes travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scheme {
    /// TLS 1.2 or 1.3.
    Https,
    /// In the clear; only to hosts for which the policy says so.
    Http,
}

impl Scheme {
    /// The port when none is written.
    pub const fn port(self) -> u16 {
        match self {
            Self::Https => 443,
            Self::Http => 80,
        }
    }

    /// As it is written in a URL.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Https => "https",
            Self::Http => "http",
        }
    }
}

/// A checked URL.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Url {
    scheme: Scheme,
    host: String,
    port: u16,
    /// Begins with `/`; carries the query.
    target: String,
}

/// Why a text is no URL that is fetched.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a URL that is fetched: {why}")]
pub struct NotAUrl {
    /// What was given, fit to print and without its query.
    pub text: String,
    /// What is wrong.
    pub why: &'static str,
}

impl Url {
    /// Reads an absolute URL.
    pub fn parse(text: &str) -> Result<Self, NotAUrl> {
        let wrong = |why| NotAUrl { text: shown(text), why };
        if text.len() > URL_BYTES_MAX {
            return Err(wrong("it is longer than 8,192 bytes"));
        }
        if !text.bytes().all(is_url_byte) {
            return Err(wrong("it holds a byte that a URL must escape"));
        }
        let (scheme, rest) = text.split_once("://").ok_or(wrong("it has no scheme"))?;
        let scheme = if scheme.eq_ignore_ascii_case("https") {
            Scheme::Https
        } else if scheme.eq_ignore_ascii_case("http") {
            Scheme::Http
        } else {
            return Err(wrong("its scheme is neither `https` nor `http`"));
        };
        let cut = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, target) = rest.split_at(cut);
        let (host, port) = authority_parts(authority, scheme).map_err(wrong)?;
        let target = target.split('#').next().unwrap_or_default();
        let target = if target.starts_with('/') { target.to_owned() } else { format!("/{target}") };
        Ok(Self { scheme, host, port, target: without_dots(&target) })
    }

    /// Resolves `reference`, as a server wrote it in `Location` or `Link`, against this URL.
    pub fn join(&self, reference: &str) -> Result<Self, NotAUrl> {
        let reference = reference.split('#').next().unwrap_or_default();
        if has_scheme(reference) {
            return Self::parse(reference);
        }
        let path = self.target.split('?').next().unwrap_or_default();
        if reference.starts_with("//") {
            Self::parse(&format!("{}:{reference}", self.scheme.name()))
        } else if reference.starts_with('/') {
            Self::parse(&format!("{}{reference}", self.origin()))
        } else if reference.starts_with('?') {
            Self::parse(&format!("{}{path}{reference}", self.origin()))
        } else if reference.is_empty() {
            Ok(self.clone())
        } else {
            let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
            Self::parse(&format!("{}{folder}/{reference}", self.origin()))
        }
    }

    /// The same place with another path and query, which must be escaped already.
    pub fn with_target(&self, target: &str) -> Result<Self, NotAUrl> {
        Self::parse(&format!("{}/{}", self.origin(), target.trim_start_matches('/')))
    }

    /// How bytes travel there.
    pub const fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// Host name in lower case, or an address; IPv6 in brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port, written or not.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// The path without its query.
    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    /// The query without its `?`.
    pub fn query(&self) -> Option<&str> {
        self.target.split_once('?').map(|(_, query)| query)
    }

    /// The address, if the host is one.
    pub fn address(&self) -> Option<IpAddr> {
        host_address(&self.host)
    }

    /// Scheme, host and port: what credentials are bound to.
    pub fn origin(&self) -> String {
        format!("{}://{}", self.scheme.name(), self.authority())
    }

    /// Host, and the port where it is not the scheme's own: the `Host` header.
    pub fn authority(&self) -> String {
        if self.port == self.scheme.port() { self.host.clone() } else { format!("{}:{}", self.host, self.port) }
    }

    /// The whole text, query and all. Queries of signed links are credentials: never print this.
    pub fn to_text(&self) -> String {
        format!("{}{}", self.origin(), self.target)
    }
}

/// Without the query: signed links carry credentials there.
impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.origin(), self.path())?;
        if self.query().is_some() { f.write_str("?…") } else { Ok(()) }
    }
}

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Percent-encodes one path segment or query value: everything but the unreserved characters (RFC 3986, section 2.3).
pub(crate) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

/// [`escape`], but leaves the `/` between the parts of a path.
pub(crate) fn escape_path(path: &str) -> String {
    path.split('/').map(escape).collect::<Vec<_>>().join("/")
}

/// Undoes percent-encoding; `None` where it is malformed or not UTF-8.
pub(crate) fn unescape(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let (digits, after) = rest.split_at_checked(2)?;
        let digits = std::str::from_utf8(digits).ok().filter(|text| text.bytes().all(|b| b.is_ascii_hexdigit()))?;
        out.push(u8::from_str_radix(digits, 16).ok()?);
        rest = after;
    }
    String::from_utf8(out).ok()
}

/// The address that `host` spells, brackets or none.
pub(crate) fn host_address(host: &str) -> Option<IpAddr> {
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host).parse().ok()
}

/// Whether `host` is a name or an address that every parser reads alike, in lower case.
pub(crate) fn is_host(host: &str) -> bool {
    if let Some(inner) = host.strip_prefix('[') {
        return inner.strip_suffix(']').is_some_and(|inner| inner.parse::<std::net::Ipv6Addr>().is_ok());
    }
    let labels_fine = host.split('.').all(|label| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    });
    // `127.1`, `0x7f.1` and `2130706433` are addresses to some resolvers: a name must not end in a number.
    let last = host.rsplit('.').next().unwrap_or_default();
    let numeric = last.bytes().all(|b| b.is_ascii_digit()) || last.starts_with("0x");
    labels_fine && host.len() <= HOST_BYTES_MAX && (!numeric || host.parse::<std::net::Ipv4Addr>().is_ok())
}

fn authority_parts(authority: &str, scheme: Scheme) -> Result<(String, u16), &'static str> {
    if authority.contains('@') {
        return Err("it carries a user name or password");
    }
    let bracket = authority.rfind(']').map_or(0, |at| at + 1);
    let colon = authority.get(bracket..).and_then(|tail| tail.find(':')).map(|at| at + bracket);
    let (host, port) = match colon {
        Some(at) => (authority.get(..at).unwrap_or_default(), authority.get(at + 1..).unwrap_or_default()),
        None => (authority, ""),
    };
    let host = host.to_ascii_lowercase();
    let host = host.strip_suffix('.').unwrap_or(&host).to_owned();
    if !is_host(&host) {
        return Err("its host is not a plain name or address");
    }
    if colon.is_none() {
        return Ok((host, scheme.port()));
    }
    let port = Some(port).filter(|text| text.bytes().all(|b| b.is_ascii_digit()) && text.len() <= 5);
    match port.and_then(|text| text.parse().ok()) {
        Some(0) | None => Err("its port is not a number from 1 to 65,535"),
        Some(port) => Ok((host, port)),
    }
}

/// Resolves `.` and `..` as a server would, so that what is checked is what is asked for.
fn without_dots(target: &str) -> String {
    let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
    let mut parts: Vec<&str> = Vec::new();
    let mut open_end = false;
    for part in path.strip_prefix('/').unwrap_or(path).split('/') {
        let plain = part.replace("%2e", ".").replace("%2E", ".");
        open_end = matches!(plain.as_str(), "." | "..");
        match plain.as_str() {
            "." => {}
            ".." => {
                parts.pop();
            }
            _ => parts.push(part),
        }
    }
    let mut out = format!("/{}", parts.join("/"));
    if open_end && !parts.is_empty() {
        out.push('/');
    }
    if let Some(query) = query {
        out.push('?');
        out.push_str(query);
    }
    out
}

fn has_scheme(reference: &str) -> bool {
    let head = reference.split(['/', '?', '#']).next().unwrap_or_default();
    head.split_once(':').is_some_and(|(scheme, _)| {
        scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'))
    })
}

const fn is_url_byte(byte: u8) -> bool {
    byte.is_ascii_graphic() && !matches!(byte, b'"' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}')
}

fn shown(text: &str) -> String {
    printable(text.split(['?', '#']).next().unwrap_or_default(), 120)
}
