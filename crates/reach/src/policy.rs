//! Where this machine may reach out to.
//!
//! [`EgressPolicy`] is a list of hosts; what it does not name is denied. [`EgressPolicy::admit`] judges a URL before
//! anything is looked up, [`EgressPolicy::admit_address`] judges every address that its name resolved to, and the client
//! connects to no other. Both run again for each redirect.
//!
//! What must stay true: plain `http` needs a rule that says so; an address on this machine or a private network needs a
//! rule that says so; a link-local or metadata address needs a rule that names this very address.

use std::{fmt, net::IpAddr, str::FromStr};

use ringfence_schema::address::{Zone, zone};
use serde::{Deserialize, Serialize, de};

use crate::url::{Scheme, Url, host_address, is_host};

/// Most rules of one policy.
pub(crate) const RULES_MAX: usize = 1_024;

/// The hosts that may be spoken to.
///
/// ```
/// let policy: ringfence_reach::EgressPolicy = toml::from_str(r#"
///     [[hosts]]
///     host = "huggingface.co"
///     [[hosts]]
///     host = "minio.lan"
///     port = 9000
///     scheme = "http"
///     network = "local"
/// "#)?;
/// assert_eq!(policy.hosts.len(), 2);
/// # Ok::<(), toml::de::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EgressPolicy {
    /// Each host that is allowed; none beside them is.
    pub hosts: Vec<HostRule>,
}

/// One host, or a family of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HostRule {
    /// The names that it is about.
    pub host: HostPattern,
    /// The one port; the scheme's own when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// How bytes travel there.
    #[serde(default = "https")]
    pub scheme: Scheme,
    /// Which addresses its name may stand for.
    #[serde(default)]
    pub network: Network,
}

/// Which addresses a name may stand for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Network {
    /// The open internet only.
    #[default]
    Public,
    /// This machine and private networks too.
    Local,
}

/// A host name, an address, or a name with `*`.
///
/// `*.hf.co` stands for every name below `hf.co`; elsewhere `*` stands for letters, digits and hyphens of one label, as
/// in `cdn-lfs*.huggingface.co`. The last two labels are always written out.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostPattern(String);

/// Why somewhere is out of reach.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("egress to `{host}` is denied: {rule}")]
pub struct Denied {
    /// Scheme, host and port that were asked for.
    pub host: String,
    /// What denies it.
    pub rule: DenyRule,
}

/// What denies an egress.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DenyRule {
    /// No rule names the host.
    #[error("no rule of the egress policy names this host")]
    NotListed,
    /// A rule names the host, for another port or scheme.
    #[error("the egress policy names this host for another scheme or port only")]
    OtherDoor,
    /// Its name stands for an address that the rule does not include.
    #[error("its name stands for the {zone} address {address}")]
    Address {
        /// The address.
        address: IpAddr,
        /// What kind it is.
        zone: Zone,
    },
    /// A redirect leaves TLS.
    #[error("a redirect would leave TLS")]
    Downgrade,
}

impl Denied {
    /// What somebody who wants this can do.
    pub fn remedy(&self) -> String {
        match &self.rule {
            DenyRule::NotListed | DenyRule::OtherDoor => {
                format!("if `{}` is to be trusted with this, add it to `egress.hosts` of the policy", self.host)
            }
            DenyRule::Address { zone: Zone::Loopback | Zone::Private, .. } => {
                "if this is your own server, say `network = \"local\"` in its rule".into()
            }
            DenyRule::Address { address, .. } => {
                format!(
                    "only a rule whose host is `{address}` itself opens this; metadata services hand out credentials"
                )
            }
            DenyRule::Downgrade => "ask the source for an https link".into(),
        }
    }
}

impl Default for EgressPolicy {
    /// The Hugging Face Hub and the hosts that it redirects to.
    fn default() -> Self {
        let hosts = ["huggingface.co", "cdn-lfs*.huggingface.co", "*.hf.co"];
        Self { hosts: hosts.iter().map(|host| HostRule::https(HostPattern((*host).to_owned()))).collect() }
    }
}

const fn https() -> Scheme {
    Scheme::Https
}

impl HostRule {
    /// `host` over TLS, on the usual port, on the open internet.
    pub const fn https(host: HostPattern) -> Self {
        Self { host, port: None, scheme: Scheme::Https, network: Network::Public }
    }

    fn opens(&self, url: &Url) -> bool {
        self.scheme == url.scheme() && self.port.unwrap_or(self.scheme.port()) == url.port()
    }
}

impl EgressPolicy {
    /// Says which rule lets `url` pass, before anything is looked up.
    pub fn admit(&self, url: &Url) -> Result<&HostRule, Denied> {
        let mut named = self.hosts.iter().take(RULES_MAX).filter(|rule| rule.host.matches(url.host())).peekable();
        let rule = if named.peek().is_some() { DenyRule::OtherDoor } else { DenyRule::NotListed };
        let found = named.find(|rule| rule.opens(url)).ok_or_else(|| Denied { host: url.origin(), rule })?;
        match url.address() {
            Some(address) => self.admit_address(url, address).map(|()| found),
            None => Ok(found),
        }
    }

    /// Says whether `address`, to which the name in `url` resolved, may be connected to. Every rule that opens the door
    /// counts, so the order of rules does not matter.
    pub fn admit_address(&self, url: &Url, address: IpAddr) -> Result<(), Denied> {
        let zone = zone(address);
        let fits = |rule: &&HostRule| match zone {
            Zone::Public => true,
            Zone::Loopback | Zone::Private => rule.network == Network::Local,
            Zone::LinkLocal | Zone::Metadata | Zone::Special => {
                rule.network == Network::Local && host_address(&rule.host.0) == Some(address)
            }
        };
        let mut open =
            self.hosts.iter().take(RULES_MAX).filter(|rule| rule.host.matches(url.host()) && rule.opens(url));
        let rule = DenyRule::Address { address, zone };
        open.find(fits).map(|_| ()).ok_or_else(|| Denied { host: url.origin(), rule })
    }
}

impl HostPattern {
    /// Whether it stands for `host`, which is in lower case.
    pub fn matches(&self, host: &str) -> bool {
        let (mut pattern, mut labels) = (self.0.as_str(), host);
        if let Some(rest) = pattern.strip_prefix("*.") {
            // As many labels may stand in front as there are, but at least one.
            let fixed = rest.split('.').count();
            let Some(cut) = labels.rmatch_indices('.').nth(fixed.saturating_sub(1)).map(|(at, _)| at) else {
                return false;
            };
            (pattern, labels) = (rest, labels.get(cut + 1..).unwrap_or_default());
        }
        let (ours, theirs) = (pattern.split('.'), labels.split('.'));
        ours.clone().count() == theirs.clone().count()
            && ours.zip(theirs).all(|(ours, theirs)| label_fits(ours, theirs))
    }
}

/// One label against a pattern with at most one `*`.
fn label_fits(pattern: &str, label: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == label,
        Some((head, tail)) => {
            label.len() >= head.len() + tail.len() && label.starts_with(head) && label.ends_with(tail)
        }
    }
}

/// A text that is no host pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a host name, an address, or a name with `*` before its last two labels")]
pub struct NotAHost(String);

impl FromStr for HostPattern {
    type Err = NotAHost;

    fn from_str(text: &str) -> Result<Self, NotAHost> {
        let lower = text.to_ascii_lowercase();
        let wrong = || NotAHost(ringfence_schema::finding::printable(text, 80));
        let plain =
            lower.strip_prefix("*.").map_or_else(|| lower.clone(), |rest| format!("x.{rest}")).replace('*', "x");
        let one_star_each = lower.split('.').all(|label| label.matches('*').count() <= 1);
        let fixed_end = lower.rsplit('.').take(2).all(|label| !label.contains('*'));
        let starred = lower.contains('*');
        let fine = is_host(&plain) && one_star_each && (!starred || (fixed_end && lower.matches('.').count() >= 2));
        if fine { Ok(Self(lower)) } else { Err(wrong()) }
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for HostPattern {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for HostPattern {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}
