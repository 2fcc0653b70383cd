//! The names under which this server answers, exactly.
//!
//! A page of another site whose name suddenly points to this machine (DNS rebinding) sends its own name in `Host`, so a
//! request is answered only under a name and port that the operator gave, or under those of loopback.

use std::{collections::BTreeSet, fmt, net::IpAddr};

use axum::http::{HeaderMap, Uri, header};

use crate::problem::{Kind, Problem};

/// Longest host name, in bytes (RFC 1035, section 2.3.4).
pub const HOST_BYTES_MAX: usize = 253;
/// Most names that a server answers to.
pub const HOSTS_MAX: usize = 64;

/// How the server is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// Without TLS, on loopback alone.
    Http,
    /// With TLS.
    Https,
}

impl Scheme {
    fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    fn port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

/// Why a name was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HostError {
    /// Not the name of a host, nor an address.
    #[error("`{given}` is not the name of a host")]
    NotAHost {
        /// What was given, made printable.
        given: String,
    },
    /// More than [`HOSTS_MAX`].
    #[error("{count} names of hosts, limit is {HOSTS_MAX}")]
    TooMany {
        /// How many.
        count: usize,
    },
}

/// One name, in lower case, or an address; with the port under which it is reached, where that is not the one listened on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct HostName {
    host: String,
    port: Option<u16>,
}

impl HostName {
    /// Reads `name`, `name:port`, an IPv4 address or an IPv6 address, which stands in brackets where a port follows.
    pub fn parse(given: &str) -> Result<Self, HostError> {
        let refuse =
            || HostError::NotAHost { given: ringfence_engine::schema::finding::printable(given, HOST_BYTES_MAX) };
        if let Ok(address) = given.parse::<IpAddr>() {
            return Ok(Self { host: spelled(address), port: None });
        }
        let (host, port) = match given.rsplit_once(':') {
            Some((host, port)) => (host, Some(port.parse::<u16>().ok().filter(|port| *port > 0).ok_or_else(refuse)?)),
            None => (given, None),
        };
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        if let Ok(address) = bare.parse::<IpAddr>() {
            return Ok(Self { host: spelled(address), port });
        }
        let host = host.to_ascii_lowercase();
        let label = |label: &str| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
                && !label.starts_with('-')
                && !label.ends_with('-')
        };
        let named = host.len() <= HOST_BYTES_MAX
            && host.split('.').all(label)
            // The last label of a name is no number, or the name reads as an address in some spelling.
            && host.split('.').next_back().is_some_and(|last| last.bytes().any(|byte| !byte.is_ascii_digit()));
        if named { Ok(Self { host, port }) } else { Err(refuse()) }
    }

    /// The name without its port, IPv6 addresses without brackets: what a certificate names.
    pub fn host(&self) -> &str {
        self.host.trim_start_matches('[').trim_end_matches(']')
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Some(port) => write!(f, "{}:{port}", self.host),
            None => f.write_str(&self.host),
        }
    }
}

fn spelled(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("[{address}]"),
    }
}

/// Every value of `Host` that is answered.
#[derive(Debug, Clone)]
pub struct Hosts {
    scheme: Scheme,
    allowed: BTreeSet<String>,
}

impl Hosts {
    /// The loopback names on `port`, and these.
    pub fn new(scheme: Scheme, port: u16, names: &[HostName]) -> Result<Self, HostError> {
        if names.len() > HOSTS_MAX {
            return Err(HostError::TooMany { count: names.len() });
        }
        let mut allowed = BTreeSet::new();
        let mut allow = |host: &str, port: u16| {
            allowed.insert(format!("{host}:{port}"));
            if port == scheme.port() {
                allowed.insert(host.to_owned());
            }
        };
        for host in ["localhost", "127.0.0.1", "[::1]"] {
            allow(host, port);
        }
        for name in names {
            allow(&name.host, name.port.unwrap_or(port));
        }
        Ok(Self { scheme, allowed })
    }

    /// How the server is spoken to.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The one `Host` of a request, in lower case, if it is one of ours.
    pub fn check(&self, uri: &Uri, headers: &HeaderMap) -> Result<String, Problem> {
        let mut values = headers.get_all(header::HOST).iter();
        let (Some(value), None) = (values.next(), values.next()) else {
            return Err(Problem::about(Kind::Malformed, "a request names one host"));
        };
        let host = value.to_str().ok().map(str::to_ascii_lowercase).filter(|host| self.allowed.contains(host));
        let host = host.ok_or(Problem::new(Kind::Host))?;
        // RFC 9112, section 3.2.2: the absolute form is to be taken, and then it counts instead of the header.
        let absolute = uri.authority().is_none_or(|authority| authority.as_str().eq_ignore_ascii_case(&host));
        let scheme = uri.scheme_str().is_none_or(|scheme| scheme == self.scheme.name());
        if absolute && scheme { Ok(host) } else { Err(Problem::new(Kind::Host)) }
    }

    /// The origin that belongs to a host which [`Self::check`] returned, without a default port, as browsers write it.
    pub fn origin(&self, host: &str) -> String {
        let port = format!(":{}", self.scheme.port());
        format!("{}://{}", self.scheme.name(), host.strip_suffix(port.as_str()).unwrap_or(host))
    }
}

/// Whether a host (as [`Hosts::check`] returns it) is a name that browsers may remember as HTTPS only. `localhost` is
/// shared by everything on a machine, and addresses cannot be remembered (RFC 6797, section 8.1.1).
pub(crate) fn has_own_name(host: &str) -> bool {
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    name != "localhost" && !name.starts_with('[') && name.parse::<IpAddr>().is_err()
}
