//! What a run may reach: hosts by name, and nothing else.
//!
//! [`EgressPolicy`] is written by whoever grants the run. An empty one means no network at all. What must stay true: a name
//! is allowed with a port; an address is never allowed by itself; networks that are not public are reached only where the
//! policy names them, and metadata services never.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

use ringfence_schema::address::{Zone, is_metadata, zone};
use serde::{Deserialize, Serialize};

/// What a run may reach.
///
/// ```
/// let policy: ringfence_sandbox::EgressPolicy = serde_json::from_str(
///     r#"{"allow": [{"host": "huggingface.co", "port": 443}, {"host": "*.hf.co", "port": 443}], "sent_bytes_max": 1000000}"#,
/// )?;
/// assert!(policy.check().is_ok());
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EgressPolicy {
    /// Each host that is allowed, with its port; none beside them is. At most [`ALLOWED_MAX`].
    pub allow: Vec<Allowed>,
    /// Bytes that may be sent to all of them together over the run. Beyond it connections are cut; the run goes on.
    pub sent_bytes_max: u64,
    /// Networks that are not public but may be reached where an allowed name stands for one of their addresses. Metadata
    /// services stay out of reach whatever stands here.
    pub networks: Vec<Network>,
    /// Addresses of allowed names, instead of asking the host's name servers. They are judged like any other address.
    pub pins: Vec<(String, IpAddr)>,
}

impl Default for EgressPolicy {
    fn default() -> Self {
        Self { allow: Vec::new(), sent_bytes_max: SENT_BYTES_DEFAULT, networks: Vec::new(), pins: Vec::new() }
    }
}

/// One allowed host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Allowed {
    /// Its name, or a family of names.
    pub host: HostPattern,
    /// The one TCP port; 53 belongs to questions and cannot be allowed.
    pub port: u16,
    /// Whether bytes that are neither TLS nor HTTP/1 may pass: then nothing says whom the bytes are for, and servers that
    /// speak first work.
    #[serde(default)]
    pub opaque: bool,
}

/// A host's name, or `*.` and a name, which stands for every name below it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HostPattern(String);

/// A network: an address and how many of its first bits count, as in `10.0.0.0/8` or `::1`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Network {
    address: IpAddr,
    bits: u8,
}

/// Why a policy cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyFault {
    /// Not a host name.
    #[error("`{0}` is not a host name, nor `*.` and a host name")]
    Host(String),
    /// Not a network.
    #[error("`{0}` is not a network such as `10.0.0.0/8`")]
    Network(String),
    /// A port that cannot be allowed.
    #[error("port {port} of `{host}` cannot be allowed: questions to name servers are answered by the sandbox")]
    Port {
        /// The host.
        host: String,
        /// The port.
        port: u16,
    },
    /// Too many entries.
    #[error("{count} entries of `{field}`, limit is {limit}")]
    TooMany {
        /// Which list.
        field: &'static str,
        /// How many there are.
        count: usize,
        /// How many there may be.
        limit: usize,
    },
}

impl EgressPolicy {
    /// Whether nothing is allowed: then a run has no network at all.
    pub fn is_empty(&self) -> bool {
        self.allow.is_empty()
    }

    /// Checks counts, ports and names.
    pub fn check(&self) -> Result<(), PolicyFault> {
        let few = |field, count, limit| {
            if count > limit { Err(PolicyFault::TooMany { field, count, limit }) } else { Ok(()) }
        };
        few("allow", self.allow.len(), ALLOWED_MAX)?;
        few("networks", self.networks.len(), ALLOWED_MAX)?;
        few("pins", self.pins.len(), ALLOWED_MAX)?;
        for allowed in &self.allow {
            if [0, super::net::DNS_PORT].contains(&allowed.port) {
                return Err(PolicyFault::Port { host: allowed.host.to_string(), port: allowed.port });
            }
        }
        let mut ports: Vec<_> = self.allow.iter().map(|allowed| allowed.port).collect();
        ports.sort_unstable();
        ports.dedup();
        few("allow (different ports)", ports.len(), PORTS_MAX)?;
        self.pins.iter().try_for_each(|(name, _)| name.parse::<HostPattern>().map(|_| ()))
    }

    /// Whether `name`, in lower case, is allowed at some port.
    pub(super) fn names(&self, name: &str) -> bool {
        self.allow.iter().any(|allowed| allowed.host.matches(name))
    }

    /// The entry that allows `name` at `port`; the most trusting one where there are several.
    pub(super) fn entry(&self, name: &str, port: u16) -> Option<&Allowed> {
        let fits = |allowed: &&Allowed| allowed.port == port && allowed.host.matches(name);
        self.allow.iter().filter(fits).max_by_key(|allowed| allowed.opaque)
    }

    /// The addresses pinned for `name`, in lower case.
    pub(super) fn pinned(&self, name: &str) -> Vec<IpAddr> {
        self.pins.iter().filter(|(pin, _)| pin.eq_ignore_ascii_case(name)).map(|(_, address)| *address).collect()
    }

    /// Why `address` may not be connected to, whatever name stands for it.
    pub(super) fn refuse_address(&self, address: IpAddr) -> Option<String> {
        let address = address.to_canonical();
        if is_metadata(address) {
            return Some(format!("{address} is a metadata service"));
        }
        match zone(address) {
            Zone::Public => None,
            _ if self.networks.iter().any(|network| network.contains(address)) => None,
            zone => Some(format!("{address} is {zone}")),
        }
    }
}

impl HostPattern {
    /// Whether it stands for one name alone.
    pub fn is_exact(&self) -> bool {
        !self.0.starts_with('*')
    }

    /// Whether it stands for `name`, which is in lower case.
    pub fn matches(&self, name: &str) -> bool {
        match self.0.strip_prefix("*") {
            Some(rest) => name.len() > rest.len() && name.ends_with(rest),
            None => name == self.0,
        }
    }
}

impl FromStr for HostPattern {
    type Err = PolicyFault;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fault = || PolicyFault::Host(ringfence_schema::finding::printable(text, 120));
        let name = text.strip_prefix("*.").unwrap_or(text);
        let label = |label: &str| {
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
            (1..=LABEL_BYTES_MAX).contains(&label.len()) && label.bytes().all(plain)
        };
        // What looks like an address would be taken for one by whoever resolves it.
        let last = name.rsplit('.').next().unwrap_or_default();
        let number = last.starts_with(|first: char| first.is_ascii_digit());
        if name.len() > NAME_BYTES_MAX || number || !name.split('.').all(label) {
            return Err(fault());
        }
        Ok(Self(text.to_ascii_lowercase()))
    }
}

impl Network {
    /// Whether `address` lies in it.
    pub fn contains(&self, address: IpAddr) -> bool {
        let same = |ours: u128, theirs: u128, width: u32| {
            ours.checked_shr(width - u32::from(self.bits)) == theirs.checked_shr(width - u32::from(self.bits))
        };
        match (self.address, address) {
            (IpAddr::V4(ours), IpAddr::V4(theirs)) => {
                same(u128::from(u32::from(ours)), u128::from(u32::from(theirs)), Ipv4Addr::BITS)
            }
            (IpAddr::V6(ours), IpAddr::V6(theirs)) => same(ours.into(), theirs.into(), Ipv6Addr::BITS),
            _ => false,
        }
    }
}

impl FromStr for Network {
    type Err = PolicyFault;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fault = || PolicyFault::Network(ringfence_schema::finding::printable(text, 80));
        let (address, bits) = text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
        let address: IpAddr = address.parse().map_err(|_| fault())?;
        let width = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.map_or(Ok(width), str::parse).map_err(|_| fault())?;
        if bits > width { Err(fault()) } else { Ok(Self { address, bits }) }
    }
}

impl TryFrom<String> for HostPattern {
    type Error = PolicyFault;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl TryFrom<String> for Network {
    type Error = PolicyFault;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<HostPattern> for String {
    fn from(pattern: HostPattern) -> Self {
        pattern.0
    }
}

impl From<Network> for String {
    fn from(network: Network) -> Self {
        network.to_string()
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

/// Most entries of each list of a policy.
pub const ALLOWED_MAX: usize = 1_024;
/// Most different ports.
const PORTS_MAX: usize = 64;
/// Bytes that may be sent where a policy does not say how many: requests, not data sets.
pub const SENT_BYTES_DEFAULT: u64 = 64 << 20;
/// Longest name in bytes (RFC 1035, section 2.3.4: 255 with its length bytes).
pub(super) const NAME_BYTES_MAX: usize = 253;
/// Longest part of a name in bytes (RFC 1035, section 2.3.4).
pub(super) const LABEL_BYTES_MAX: usize = 63;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_match_whole_labels() {
        let exact: HostPattern = "Hub.Example.org".parse().unwrap();
        assert!(exact.matches("hub.example.org"));
        for other in ["example.org", "x.hub.example.org", "hub.example.org.", "hubxexample.org", "hub.example.org.evil"]
        {
            assert!(!exact.matches(other), "{other}");
        }
        let family: HostPattern = "*.example.org".parse().unwrap();
        for name in ["a.example.org", "a.b.example.org"] {
            assert!(family.matches(name), "{name}");
        }
        for name in ["example.org", ".example.org", "aexample.org", "example.org.a"] {
            assert!(!family.matches(name), "{name}");
        }
        for text in ["", "*", "*.", "a..b", "a.*.b", "10.0.0.1", "1.2", "[::1]", "::1", "a b", "a/b", "é.org", "a.b."]
        {
            assert!(text.parse::<HostPattern>().is_err(), "{text}");
        }
    }

    #[test]
    fn networks_open_what_they_name_and_metadata_never() {
        let open = |text: &str, address: &str| {
            let networks = vec![text.parse().unwrap()];
            let policy = EgressPolicy { networks, ..EgressPolicy::default() };
            policy.refuse_address(address.parse().unwrap()).is_none()
        };
        assert!(open("127.0.0.0/8", "127.0.0.1") && open("127.0.0.0/8", "::ffff:127.0.0.1"));
        assert!(open("::1", "::1") && open("10.0.0.0/8", "10.255.0.1") && open("10.0.0.0/8", "8.8.8.8"));
        assert!(!open("127.0.0.0/8", "10.0.0.1") && !open("127.0.0.0/8", "::1") && !open("10.0.0.0/31", "10.0.0.2"));
        assert!(open("0.0.0.0/0", "192.168.0.1") && open("::/0", "fe80::1"));
        for address in ["169.254.169.254", "100.100.100.200", "168.63.129.16", "::ffff:169.254.169.254"] {
            assert!(!open("0.0.0.0/0", address), "{address}");
        }
        assert!(!open("::/0", "fd00:ec2::254") && !open("::/0", "64:ff9b::169.254.169.254"));
        for text in ["10.0.0.0/33", "::/129", "10.0.0.0/", "/8", "x", "10.0.0.0/-1"] {
            assert!(text.parse::<Network>().is_err(), "{text}");
        }
    }
}
