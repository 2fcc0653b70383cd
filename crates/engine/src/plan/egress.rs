//! `[run.egress]`: what a run may reach, and what the vault's policy grants of it.
//!
//! Nothing is reachable that is not named. A host is `name`, `name:port` or a table; a name may begin with `*.`. Addresses
//! are no names. Private networks are the vault's to grant (`egress_networks` in its policy), never a plan's.

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

impl EgressTable {
    /// Most bytes sent: [`SENT_BYTES_DEFAULT`] unless the plan says otherwise.
    pub fn sent_bytes_max(&self) -> u64 {
        self.bytes.map_or(SENT_BYTES_DEFAULT, |size| size.0)
    }

    pub(super) fn check(&self) -> Result<(), String> {
        if self.allow.len() > HOSTS_MAX {
            return Err(format!("`run.egress.allow` lists {} hosts, the limit is {HOSTS_MAX}", self.allow.len()));
        }
        if self.bytes.is_some() && self.allow.is_empty() {
            return Err("`run.egress.bytes` without `allow`: nothing is reachable anyway".into());
        }
        Ok(())
    }
}

/// A host that a job may reach.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "HostText")]
pub struct AllowedHost {
    /// Its name, in lower case; `*.example.org` stands for every name below `example.org`.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Whether what is neither TLS nor HTTP may pass, whose names cannot be checked.
    pub opaque: bool,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum HostText {
    Text(String),
    Table(HostTable),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct HostTable {
    host: String,
    #[serde(default = "https")]
    port: u16,
    #[serde(default)]
    opaque: bool,
}

fn https() -> u16 {
    443
}

impl TryFrom<HostText> for AllowedHost {
    type Error = String;

    fn try_from(text: HostText) -> Result<Self, String> {
        let HostTable { host, port, opaque } = match text {
            HostText::Table(table) => table,
            HostText::Text(text) => {
                let (host, port) = match text.split_once(':') {
                    Some((host, port)) => {
                        let port = port.parse().map_err(|_| format!("`{text}`: `{port}` is not a port"))?;
                        (host.to_owned(), port)
                    }
                    None => (text, https()),
                };
                HostTable { host, port, opaque: false }
            }
        };
        let host = host.to_ascii_lowercase();
        check_name(&host)?;
        if port == 0 {
            return Err(format!("`{host}`: port 0 is no port"));
        }
        Ok(Self { host, port, opaque })
    }
}

/// Letters, digits, `-` and dots (RFC 1123, section 2.1); the last label is not a number, so that no address passes.
fn check_name(host: &str) -> Result<(), String> {
    let name = host.strip_prefix("*.").unwrap_or(host);
    let good = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    let last_is_number = name.rsplit('.').next().is_none_or(|label| label.bytes().all(|byte| byte.is_ascii_digit()));
    if name.len() > NAME_BYTES_MAX || !name.split('.').all(good) || last_is_number {
        return Err(format!("`{host}` is not a host name; addresses cannot be allowed, names can"));
    }
    Ok(())
}

/// Whether the pattern `granted` covers `wanted`, which may be a pattern itself.
pub fn covers(granted: &str, wanted: &str) -> bool {
    let bare = wanted.strip_prefix("*.").unwrap_or(wanted);
    if granted == "*" {
        return true;
    }
    match granted.strip_prefix("*.") {
        Some(below) if wanted.starts_with("*.") && bare == below => true,
        Some(below) => bare.strip_suffix(below).is_some_and(|rest| rest.ends_with('.')),
        None => granted == wanted,
    }
}

/// Bytes that a run with an allow-list may send where the plan does not say.
const SENT_BYTES_DEFAULT: u64 = 64 << 20;
/// Most hosts of a plan.
const HOSTS_MAX: usize = 256;
/// Longest host name in bytes (RFC 1035, section 2.3.4).
const NAME_BYTES_MAX: usize = 253;

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
        let seen: Vec<_> = table.allow.iter().map(|host| (host.host.as_str(), host.port, host.opaque)).collect();
        assert_eq!(seen, [("hub.example", 443, false), ("x.example", 80, false), ("*.y.example", 443, true)]);
        for wrong in ["10.0.0.1", "x:0", "x:http", "a b", "*", "-a.example", "2130706433", "0x7f.1", "a..b", "[::1]"] {
            assert!(read(&format!("allow = ['{wrong}']")).is_err(), "{wrong}");
        }
        assert!(read("bytes = '1 MiB'").is_err());
    }

    #[test]
    fn grants_cover_names_and_narrower_patterns() {
        assert!(covers("*.example.org", "a.b.example.org") && covers("*.example.org", "*.example.org"));
        assert!(covers("*.example.org", "*.b.example.org") && covers("x.org", "x.org") && covers("*", "any.net"));
        assert!(!covers("*.example.org", "example.org") && !covers("*.example.org", "badexample.org"));
        assert!(!covers("a.example.org", "*.example.org") && !covers("*.a.example.org", "*.example.org"));
    }
}
