//! `sinks.toml` in the user's or vault's configuration, never in a project's: where alerts go, and from which severity on.
//!
//! ```toml
//! [[sink]]
//! name = "on-call"
//! min-severity = "high"
//! to.webhook = { url = "https://hooks.example.org/ringfence", secret = { file = "/etc/ringfence/hook.secret" } }
//!
//! [[sink]]
//! name = "siem"
//! to.syslog = { server = "logs.example.org:6514" }
//! ```
//!
//! Hosts must be in `egress.hosts` of `reach.toml`. Secrets are named by file or command and never stand here.

use std::{collections::BTreeSet, fmt, path::PathBuf, str::FromStr};

use ringfence_schema::{Severity, finding::printable};
use serde::{Deserialize, Serialize, de};
use zeroize::Zeroizing;

use crate::{
    error::ReachError,
    secret::{Secret, from_command, from_file},
    url::{Scheme, Url},
};

/// Most sinks.
pub const SINKS_MAX: usize = 32;
/// Longest name of a sink in bytes.
const NAME_BYTES_MAX: usize = 32;
/// Most recipients of one mail.
pub(crate) const RECIPIENTS_MAX: usize = 32;

/// The sinks.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Unchecked")]
pub struct SinkList {
    /// Each of them, in the order of the file.
    #[serde(rename = "sink")]
    pub sinks: Vec<SinkSettings>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Unchecked {
    #[serde(default)]
    sink: Vec<SinkSettings>,
}

impl TryFrom<Unchecked> for SinkList {
    type Error = String;

    fn try_from(unchecked: Unchecked) -> Result<Self, String> {
        let sinks = unchecked.sink;
        if sinks.len() > SINKS_MAX {
            return Err(format!("{} sinks, limit is {SINKS_MAX}", sinks.len()));
        }
        let mut names = BTreeSet::new();
        for sink in &sinks {
            if !names.insert(&sink.name) {
                return Err(format!("two sinks are called `{}`", sink.name));
            }
            sink.to.check().map_err(|what| format!("sink `{}`: {what}", sink.name))?;
        }
        Ok(Self { sinks })
    }
}

/// One sink.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct SinkSettings {
    /// What people call it; names its queue.
    pub name: SinkName,
    /// Alerts below this do not go there.
    #[serde(default = "medium")]
    pub min_severity: Severity,
    /// Where it is.
    pub to: Destination,
}

const fn medium() -> Severity {
    Severity::Medium
}

/// Lower-case letters, digits and hyphens, at most 32 of them, a letter first: also a label of metrics.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct SinkName(String);

impl SinkName {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SinkName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for SinkName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let fine = text.len() <= NAME_BYTES_MAX
            && text.starts_with(|first: char| first.is_ascii_lowercase())
            && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
        if fine { Ok(Self(text.to_owned())) } else { Err(format!("`{}` is no name of a sink", printable(text, 40))) }
    }
}

impl<'de> Deserialize<'de> for SinkName {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// Where a sink is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Destination {
    /// One signed `POST` for each alert.
    Webhook(WebhookSettings),
    /// One mail for each alert.
    Mail(MailSettings),
    /// RFC 5424 messages.
    Syslog(SyslogSettings),
    /// OCSF, one JSON object a line.
    File(FileSettings),
    /// OpenTelemetry's collector, by OTLP over HTTP.
    Otlp(OtlpSettings),
    /// Figures alone, for node_exporter's textfile collector.
    Prometheus(PrometheusSettings),
}

impl Destination {
    /// Its kind in one word.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Webhook(_) => "webhook",
            Self::Mail(_) => "mail",
            Self::Syslog(_) => "syslog",
            Self::File(_) => "file",
            Self::Otlp(_) => "otlp",
            Self::Prometheus(_) => "prometheus",
        }
    }

    /// Whether it takes alerts, and not figures alone.
    pub const fn takes_alerts(&self) -> bool {
        !matches!(self, Self::Prometheus(_))
    }

    fn check(&self) -> Result<(), String> {
        match self {
            Self::Mail(mail) => {
                let count = mail.to.len();
                if count == 0 || count > RECIPIENTS_MAX {
                    return Err(format!("{count} recipients, 1 to {RECIPIENTS_MAX} are possible"));
                }
                for address in mail.to.iter().chain([&mail.from]) {
                    if !is_mailbox(address) {
                        return Err(format!("`{}` is no mail address", printable(address, 80)));
                    }
                }
                if mail.user.is_some() != mail.password.is_some() {
                    return Err("`user` and `password` belong together".into());
                }
                if mail.security == Security::Insecure && mail.user.is_some() {
                    return Err("a password is not sent in the clear".into());
                }
                server(&mail.server, mail.security.scheme()).map(drop).map_err(|error| error.to_string())
            }
            Self::Syslog(syslog) => {
                if syslog.transport != SyslogTransport::Tls && !syslog.insecure {
                    return Err(
                        "syslog without TLS needs `insecure = true`: anybody on the way reads and writes it".into()
                    );
                }
                if syslog.facility > 23 {
                    return Err(format!("facility {} does not exist, the last one is 23", syslog.facility));
                }
                server(&syslog.server, syslog.transport.scheme()).map(drop).map_err(|error| error.to_string())
            }
            Self::File(FileSettings { path, .. }) | Self::Prometheus(PrometheusSettings { path }) => {
                if path.is_absolute() { Ok(()) } else { Err(format!("`{}` is not absolute", path.display())) }
            }
            Self::Otlp(otlp) => Url::parse(&otlp.endpoint).map(drop).map_err(|error| error.to_string()),
            Self::Webhook(_) => Ok(()),
        }
    }
}

/// A webhook as Standard Webhooks describes them (standardwebhooks.com, version 1).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WebhookSettings {
    /// Where to. Services that put a secret into the path: name a file or command instead.
    pub url: Place,
    /// What is sent.
    #[serde(default)]
    pub body: Body,
    /// The key of its signatures: `whsec_` and base64, or any text of 24 to 64 bytes. Unsigned when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<SecretSource>,
}

/// A URL, or where to read it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Place {
    /// As it is.
    Here(String),
    /// In a file or from a command.
    Elsewhere(SecretSource),
}

impl Place {
    /// The URL. Errors do not repeat it where it is kept elsewhere.
    pub(crate) fn url(&self) -> Result<Url, ReachError> {
        match self {
            Self::Here(text) => Ok(Url::parse(text)?),
            Self::Elsewhere(source) => {
                let text = source.read("url")?;
                Url::parse(text.expose())
                    .map_err(|error| ReachError::Setting { name: "url", why: error.why.to_owned() })
            }
        }
    }
}

/// What a webhook's body is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Body {
    /// The alert as `ringfence.alert/1`.
    #[default]
    Ringfence,
    /// A Detection Finding of the Open Cybersecurity Schema Framework.
    Ocsf,
}

/// Mail by SMTP (RFC 5321) with authentication (RFC 4954).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MailSettings {
    /// `HOST:PORT`.
    pub server: String,
    /// How TLS begins.
    #[serde(default)]
    pub security: Security,
    /// Sender.
    pub from: String,
    /// Recipients.
    pub to: Vec<String>,
    /// Who logs in; nobody when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// With what.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<SecretSource>,
}

/// How TLS begins.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Security {
    /// With the first byte (RFC 8314).
    #[default]
    Tls,
    /// By `STARTTLS` (RFC 3207); a server that does not offer it is an error.
    Starttls,
    /// Not at all; the egress rule must say `scheme = "http"`.
    Insecure,
}

impl Security {
    /// How the egress policy sees it.
    pub(crate) const fn scheme(self) -> Scheme {
        if matches!(self, Self::Insecure) { Scheme::Http } else { Scheme::Https }
    }
}

/// Syslog (RFC 5424).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct SyslogSettings {
    /// `HOST:PORT`.
    pub server: String,
    /// How messages travel.
    #[serde(default)]
    pub transport: SyslogTransport,
    /// Must be said for what is not TLS.
    #[serde(default)]
    pub insecure: bool,
    /// 0 to 23 (RFC 5424, table 1); 13 is "log audit".
    #[serde(default = "log_audit")]
    pub facility: u8,
    /// What this machine is called in messages; `-` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// Whether messages count as taken only when the receiver has answered the closure of the connection (RFC 5425, section
    /// 4.4), which is the only word that syslog has for it. `false` for receivers that never do: what lies in their buffers
    /// when they fail is then lost.
    #[serde(default = "yes")]
    pub await_closure: bool,
}

const fn log_audit() -> u8 {
    13
}

const fn yes() -> bool {
    true
}

/// How syslog travels.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SyslogTransport {
    /// TLS with octet counting (RFC 5425).
    #[default]
    Tls,
    /// TCP with octet counting (RFC 6587, section 3.4.1).
    Tcp,
    /// UDP (RFC 5426); whether anything arrives is not known.
    Udp,
}

impl SyslogTransport {
    /// How the egress policy sees it.
    pub(crate) const fn scheme(self) -> Scheme {
        if matches!(self, Self::Tls) { Scheme::Https } else { Scheme::Http }
    }
}

/// A file that a collector reads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct FileSettings {
    /// Where; absolute.
    pub path: PathBuf,
    /// Bytes from which on it is moved to `PATH.1`.
    #[serde(default = "file_bytes")]
    pub max_bytes: u64,
    /// How many moved files stay, 0 to 99.
    #[serde(default = "kept_files")]
    pub keep: u8,
}

const fn file_bytes() -> u64 {
    64 << 20
}

const fn kept_files() -> u8 {
    4
}

/// OpenTelemetry's protocol over HTTP, in JSON (OTLP 1.x).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OtlpSettings {
    /// The collector, such as `https://otel.example.org:4318`; `/v1/logs` and `/v1/metrics` are appended.
    pub endpoint: String,
    /// A bearer token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<SecretSource>,
    /// Whether figures go there too.
    #[serde(default)]
    pub metrics: bool,
}

/// Prometheus' text exposition format (0.0.4) in a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PrometheusSettings {
    /// Where; absolute, ending in `.prom` for node_exporter.
    pub path: PathBuf,
}

/// Where a secret is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum SecretSource {
    /// The first line of a file.
    File(PathBuf),
    /// The standard output of a program with its arguments; no shell.
    Command(Vec<String>),
}

impl SecretSource {
    pub(crate) fn read(&self, name: &'static str) -> Result<Secret, ReachError> {
        match self {
            Self::File(path) => from_file(name, path),
            Self::Command(words) => from_command(name, words),
        }
    }
}

/// `HOST:PORT` as the egress policy sees it.
pub(crate) fn server(text: &str, scheme: Scheme) -> Result<Url, ReachError> {
    let wrong = || ReachError::Setting { name: "server", why: format!("`{}` is not `HOST:PORT`", printable(text, 80)) };
    let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
    let plain =
        !host.is_empty() && !text.contains(['/', '?', '#', '@']) && port.bytes().all(|byte| byte.is_ascii_digit());
    if !plain || port.is_empty() {
        return Err(wrong());
    }
    Url::parse(&format!("{}://{text}/", scheme.name())).map_err(|_| wrong())
}

/// `local@domain` in plain ASCII without quoting (a subset of RFC 5321, section 4.1.2), so that it needs no escape in a
/// command or a header.
pub(crate) fn is_mailbox(text: &str) -> bool {
    let Some((local, domain)) = text.split_once('@') else { return false };
    let atom = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~.".contains(&byte);
    let fits = (1..=64).contains(&local.len()) && text.len() <= 254;
    fits && local.bytes().all(atom) && !local.starts_with('.') && !local.ends_with('.') && crate::url::is_host(domain)
}

/// The key of a webhook's signatures: what follows `whsec_` in base64, or the bytes of the text.
pub(crate) fn signing_key(secret: &Secret) -> Result<Zeroizing<Vec<u8>>, ReachError> {
    use base64::Engine as _;
    let text = secret.expose();
    let key = match text.strip_prefix("whsec_") {
        Some(encoded) => base64::engine::general_purpose::STANDARD
            .decode(encoded)
            .map_err(|_| ReachError::Setting { name: "secret", why: "what follows `whsec_` is not base64".into() })?,
        None => text.as_bytes().to_vec(),
    };
    let key = Zeroizing::new(key);
    if (24..=64).contains(&key.len()) {
        Ok(key)
    } else {
        Err(ReachError::Setting { name: "secret", why: format!("it has {} bytes, 24 to 64 are possible", key.len()) })
    }
}
