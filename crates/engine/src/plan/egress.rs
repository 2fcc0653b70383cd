//! `[run.egress]`: what a run may reach, and what the vault's policy grants of it.
//!
//! Nothing is reachable that is not named. A host is `name`, `name:port` or a table; a name may begin with `*.`. Addresses
//! are no names. Private networks are the vault's to grant (`egress_networks` in its policy), never a plan's.

use ringfence_access::{Custody, Settings};
use ringfence_sandbox::{Allowed, EgressPolicy, HostPattern};
use serde::Deserialize;

use super::Size;

/// `[run.egress]`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct EgressTable {
    /// Hosts that the job may reach.
    #[serde(default)]
    pub allow: Vec<AllowedHost>,
    /// Most bytes sent to all of them together over the run.
    #[serde(default)]
    pub bytes: Option<Size>,
}

/// A host that a job may reach.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "HostText")]
pub struct AllowedHost(Allowed);

#[derive(Deserialize)]
#[serde(untagged)]
enum HostText {
    Text(String),
    Table(HostTable),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct HostTable {
    host: HostPattern,
    #[serde(default = "https")]
    port: u16,
    /// Whether what is neither TLS nor HTTP may pass, whose names cannot be checked.
    #[serde(default)]
    opaque: bool,
}

fn https() -> u16 {
    443
}

impl TryFrom<HostText> for AllowedHost {
    type Error = String;

    fn try_from(text: HostText) -> Result<Self, String> {
        let text = match text {
            HostText::Table(HostTable { host, port, opaque }) => return Ok(Self(Allowed { host, port, opaque })),
            HostText::Text(text) => text,
        };
        let (host, port) = match text.split_once(':') {
            Some((host, port)) => (host, port.parse().map_err(|_| format!("`{text}`: `{port}` is not a port"))?),
            None => (text.as_str(), https()),
        };
        let host = host.parse::<HostPattern>().map_err(|error| error.to_string())?;
        Ok(Self(Allowed { host, port, opaque: false }))
    }
}

impl EgressTable {
    pub(super) fn check(&self) -> Result<(), String> {
        if self.bytes.is_some() && self.allow.is_empty() {
            return Err("`run.egress.bytes` without `allow`: nothing is reachable anyway".into());
        }
        self.policy(Vec::new()).check().map_err(|error| format!("`run.egress`: {error}"))
    }

    fn policy(&self, networks: Vec<ringfence_sandbox::Network>) -> EgressPolicy {
        let mut policy = EgressPolicy {
            allow: self.allow.iter().map(|host| host.0.clone()).collect(),
            networks,
            ..EgressPolicy::default()
        };
        if let Some(bytes) = self.bytes {
            policy.sent_bytes_max = bytes.0;
        }
        policy
    }

    /// What a machine elsewhere takes of what a vault granted: the plan's own hosts and nothing beside them. Private networks
    /// are those of the machine on which the command runs: no vault elsewhere grants them.
    ///
    /// # Errors
    /// Where something was granted that the plan does not name.
    pub(crate) fn taken(&self, granted: &EgressPolicy) -> Result<EgressPolicy, String> {
        let own = self.policy(Vec::new());
        let fits = EgressPolicy { networks: Vec::new(), ..granted.clone() } == own;
        fits.then_some(own).ok_or_else(|| "it grants egress that the plan does not name".to_owned())
    }

    /// What the run gets, under the vault's `settings`.
    ///
    /// # Errors
    /// The host that the vault does not grant, or the network in its policy that is none.
    pub(crate) fn grant(&self, settings: &Settings, custody: Custody) -> Result<EgressPolicy, String> {
        let granted = settings.egress_hosts(custody);
        for host in &self.allow {
            let wanted = host.0.host.to_string();
            if !granted.iter().any(|pattern| covers(&pattern.to_ascii_lowercase(), &wanted)) {
                return Err(format!("the vault's policy does not grant `{wanted}` (`egress_hosts`)"));
            }
        }
        let network =
            |text: &String| text.parse().map_err(|error| format!("`egress_networks` in the vault's policy: {error}"));
        Ok(self.policy(settings.egress_networks.iter().map(network).collect::<Result<_, _>>()?))
    }
}

/// Whether the pattern `granted` covers `wanted`, which may be a pattern itself.
fn covers(granted: &str, wanted: &str) -> bool {
    if granted == "*" {
        return true;
    }
    let bare = wanted.strip_prefix("*.").unwrap_or(wanted);
    match granted.strip_prefix("*.") {
        Some(below) if wanted.starts_with("*.") && bare == below => true,
        Some(below) => bare.strip_suffix(below).is_some_and(|rest| rest.ends_with('.')),
        None => granted == wanted,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<EgressTable, String> {
        let table: EgressTable = toml::from_str(text).map_err(|error| error.to_string())?;
        table.check().map(|()| table)
    }

    #[test]
    fn hosts_are_names_with_a_port() {
        let table =
            read("allow = ['Hub.example', 'x.example:80', {host = '*.y.example', opaque = true}]").expect("a table");
        let seen: Vec<_> =
            table.allow.iter().map(|AllowedHost(host)| (host.host.to_string(), host.port, host.opaque)).collect();
        let expected = [("hub.example", 443, false), ("x.example", 80, false), ("*.y.example", 443, true)];
        assert_eq!(seen, expected.map(|(host, port, opaque)| (host.to_owned(), port, opaque)));
        for wrong in ["10.0.0.1", "x:0", "x:http", "a b", "*", "a..b", "[::1]"] {
            assert!(read(&format!("allow = ['{wrong}']")).is_err(), "{wrong}");
        }
        assert!(read("bytes = '1 MiB'").is_err());
    }

    #[test]
    fn only_what_the_vault_grants_is_had() {
        let table = read("allow = ['a.example.org', '*.b.example.org']").expect("a table");
        let settings = |hosts: &[&str]| Settings {
            egress_hosts: Some(hosts.iter().map(ToString::to_string).collect()),
            ..Settings::default()
        };
        assert!(table.grant(&Settings::default(), Custody::Solo).is_ok());
        assert!(table.grant(&Settings::default(), Custody::Shared).is_err());
        assert!(table.grant(&settings(&["*.example.org"]), Custody::Shared).is_ok());
        assert!(table.grant(&settings(&["a.example.org"]), Custody::Solo).is_err());
        let wrong = Settings { egress_networks: vec!["10.0.0.0/40".into()], ..Settings::default() };
        assert!(table.grant(&wrong, Custody::Solo).is_err());
    }

    #[test]
    fn a_machine_takes_the_plans_hosts_and_nothing_beside_them() {
        let table = read("allow = ['a.example.org']").expect("a table");
        let granted = table.grant(&Settings::default(), Custody::Solo).expect("granted");
        assert_eq!(table.taken(&granted), Ok(granted.clone()));
        // Networks of this machine are not a vault's elsewhere to grant.
        let networks = vec!["10.0.0.0/8".parse().expect("a network")];
        assert_eq!(table.taken(&EgressPolicy { networks, ..granted.clone() }), Ok(granted.clone()));
        let more = read("allow = ['a.example.org', 'b.example.org']").expect("a table");
        assert!(table.taken(&more.grant(&Settings::default(), Custody::Solo).expect("granted")).is_err());
        let bytes = granted.sent_bytes_max + 1;
        assert!(table.taken(&EgressPolicy { sent_bytes_max: bytes, ..granted }).is_err());
    }

    #[test]
    fn grants_cover_names_and_narrower_patterns() {
        assert!(covers("*.example.org", "a.b.example.org") && covers("*.example.org", "*.example.org"));
        assert!(covers("*.example.org", "*.b.example.org") && covers("x.org", "x.org") && covers("*", "any.net"));
        assert!(!covers("*.example.org", "example.org") && !covers("*.example.org", "badexample.org"));
        assert!(!covers("a.example.org", "*.example.org") && !covers("*.a.example.org", "*.example.org"));
    }
}
