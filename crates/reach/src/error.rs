//! What goes wrong on the way to a source, and what somebody can do about it.
//!
//! [`ReachError::remedy`] is the `hint:` of the command. No variant carries a query, a token or a body: links are printed
//! without their queries, and a server's words are cut and escaped.

use std::io;

use ringfence_schema::Digest;

use crate::{
    listing::PathFault,
    policy::{Denied, DenyRule},
    source::NotASource,
    trusted::Untrusted,
    url::{NotAUrl, Url},
};

/// Why something was not fetched.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReachError {
    /// The egress policy says no.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// The policy of trusted sources says no.
    #[error(transparent)]
    Untrusted(#[from] Untrusted),
    /// The text names no source.
    #[error(transparent)]
    Source(#[from] NotASource),
    /// A server or a setting gave a link that is not followed.
    #[error(transparent)]
    Url(#[from] NotAUrl),
    /// A file of the source has a hostile name.
    #[error("the source names a file `{path}`, {fault}")]
    Path {
        /// The name, fit to print.
        path: String,
        /// What is wrong with it.
        fault: PathFault,
    },
    /// The name does not resolve.
    #[error("`{host}` is not known to the resolver")]
    Unresolved {
        /// The host.
        host: String,
    },
    /// No connection, or it broke.
    #[error("the connection to `{host}` failed: {reason}")]
    Connection {
        /// The host.
        host: String,
        /// What the system said.
        reason: String,
    },
    /// The certificate or the handshake was refused.
    #[error("TLS with `{host}` failed: {reason}")]
    Tls {
        /// The host.
        host: String,
        /// What was wrong.
        reason: String,
    },
    /// The server was slower than the limits allow.
    #[error("`{host}` took too long: {stage}")]
    Slow {
        /// The host.
        host: String,
        /// Which part of the exchange.
        stage: &'static str,
    },
    /// The server asks for patience beyond the limit, or stays busy.
    #[error("`{host}` answers {status} and wants to be asked again {}", after(*.retry_after_s))]
    Busy {
        /// The host.
        host: String,
        /// 429, 503 or another passing refusal.
        status: u16,
        /// Seconds that it asked for, if it did.
        retry_after_s: Option<u64>,
    },
    /// An answer that is no success.
    #[error("`{url}` answers {status}{}", words(.said))]
    Status {
        /// What was asked for, without its query.
        url: Url,
        /// The status.
        status: u16,
        /// The server's own words, fit to print; may be empty.
        said: String,
    },
    /// A server that refuses a step of a conversation other than HTTP's.
    #[error("`{host}` answers {code} to {step}{}", words(.said))]
    Refused {
        /// The host.
        host: String,
        /// Which step, such as `MAIL`.
        step: &'static str,
        /// Its code.
        code: u16,
        /// The server's own words, fit to print; empty where they could speak of credentials.
        said: String,
    },
    /// Redirects that do not end.
    #[error("`{url}` redirects more than {limit} times or in a circle")]
    Redirects {
        /// Where it began.
        url: Url,
        /// The limit.
        limit: usize,
    },
    /// An answer that the protocol does not allow, or that does not fit the question.
    #[error("`{host}` answers wrongly: {what}")]
    Malformed {
        /// The host.
        host: String,
        /// What is wrong.
        what: String,
    },
    /// More bytes than allowed.
    #[error("`{what}` is larger than {limit} bytes")]
    TooLarge {
        /// A URL without its query, or a path.
        what: String,
        /// The limit in bytes.
        limit: u64,
    },
    /// More files or pages than allowed.
    #[error("the source lists more than {limit} {what}")]
    TooMany {
        /// What there is too much of.
        what: &'static str,
        /// The limit.
        limit: usize,
    },
    /// The file is not the one that was listed.
    #[error("`{path}` changed at the source after it was listed: {what}")]
    Changed {
        /// The file.
        path: String,
        /// What differs.
        what: String,
    },
    /// The bytes do not have the hash that the source gives for them.
    #[error("`{path}` has {algorithm} `{found}`, its source says `{expected}`")]
    HashMismatch {
        /// The file.
        path: String,
        /// `SHA-256` or `git blob SHA-1`.
        algorithm: &'static str,
        /// In the listing.
        expected: String,
        /// Of the bytes that came.
        found: String,
    },
    /// Fewer bytes came than promised, however often it was resumed.
    #[error("`{path}` ended after {bytes} of {size} bytes, {attempts} attempts")]
    Truncated {
        /// The file.
        path: String,
        /// Bytes that came.
        bytes: u64,
        /// Bytes promised.
        size: u64,
        /// Connections that were made for it.
        attempts: u32,
    },
    /// The server does not serve parts of files.
    #[error("`{host}` does not serve byte ranges")]
    NoRanges {
        /// The host.
        host: String,
    },
    /// Looking into a file took more bytes than it was allowed to.
    #[error("looking into `{path}` needs more than {limit} bytes")]
    RangeBudget {
        /// The file.
        path: String,
        /// The limit in bytes.
        limit: u64,
    },
    /// A revision was resolved to something else than was asked for.
    #[error("the source resolves `{asked}` to `{found}`")]
    Pin {
        /// Revision that was asked for.
        asked: String,
        /// Commit in the answer.
        found: String,
    },
    /// The repository has another name by now.
    #[error("`{asked}` has moved to `{found}`")]
    Moved {
        /// The source that was asked for.
        asked: String,
        /// Where the Hub answers instead.
        found: Url,
    },
    /// The source gives no hash and none was given beside it.
    #[error("nothing says what hash `{path}` must have")]
    Unhashed {
        /// The file.
        path: String,
        /// What it has, for whoever can compare it with another channel.
        found: Option<Digest>,
    },
    /// A Ringfence server shows no certificate that is trusted for it.
    #[error("`{host}` shows no certificate that is trusted for it: {reason}")]
    Stranger {
        /// The host.
        host: String,
        /// What was wrong.
        reason: String,
    },
    /// A Ringfence server says no, in a problem document (RFC 9457).
    #[error("{}", problem(.said, .reasons))]
    Problem {
        /// The server, as it was named.
        server: String,
        /// The status.
        status: u16,
        /// The last part of the document's `type`, such as `step-up`.
        kind: String,
        /// What it says, fit to print.
        said: String,
        /// Its reasons one by one, fit to print.
        reasons: Vec<String>,
    },
    /// A setting, credential or environment variable that cannot be used.
    #[error("setting `{name}` cannot be used: {why}")]
    Setting {
        /// Its name.
        name: &'static str,
        /// What is wrong.
        why: String,
    },
    /// A local file could not be read, or the receiver could not write.
    #[error("`{what}`: {error}")]
    Io {
        /// Path, or what was being written.
        what: String,
        /// What the system said.
        error: io::Error,
    },
}

/// What the answer of a sink that refuses for good is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// What was sent: too large, or not as the sink wants it. It may take the next one.
    Content,
    /// Who sends or where to: a token that is not valid any more, an address that is gone. It may well refuse all.
    Everything,
}

/// The step of SMTP that is about a mail as a whole.
pub(crate) const DATA_STEP: &str = "the mail";

impl ReachError {
    /// What somebody who wants this can do, in one sentence.
    pub fn remedy(&self) -> Option<String> {
        let fixed = match self {
            Self::Denied(denied) => return Some(denied.remedy()),
            Self::Untrusted(untrusted) => return Some(untrusted.remedy()),
            Self::Problem { server, status, kind, .. } => return Some(way_on(server, *status, kind)),
            Self::Stranger { .. } => {
                "name the authority that signs for it: `ringfence login --authority FILE`; on the server's own machine that is \
                 `tls/authority.pem` in its configuration folder, and `ringfence serve` prints its fingerprint"
            }
            Self::Status { status: 401 | 403, .. } => {
                "the source may be private or gated: give a token (for the Hub, `HF_TOKEN`) and accept its terms there"
            }
            Self::Status { status: 404 | 410, .. } => "check the name and the revision",
            Self::Unresolved { .. } | Self::Connection { .. } => "check the network, or configure a proxy",
            Self::Tls { .. } => "behind a proxy that opens TLS, name its certificate authority in `roots`",
            Self::Busy { .. } => "try again later; a token raises the Hub's limits",
            Self::Changed { .. } | Self::Pin { .. } => "list the source again and compare",
            Self::HashMismatch { .. } => "do not use these bytes; ask the publisher",
            Self::Unhashed { .. } => {
                "append `#sha256=…` from the publisher, or let the policy accept sources without a hash"
            }
            Self::Moved { .. } => "look at who publishes it now, and name the new place",
            Self::NoRanges { .. } | Self::RangeBudget { .. } => {
                "fetch the whole file into quarantine and scan it there"
            }
            _ => return None,
        };
        Some(fixed.into())
    }

    /// Whether the same question may succeed in a moment.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Connection { .. } | Self::Slow { .. } | Self::Busy { .. } | Self::Unresolved { .. } => true,
            // A server's temporary refusals (RFC 5321, section 4.2.1).
            Self::Refused { code, .. } => (400..500).contains(code),
            _ => false,
        }
    }

    /// Whether a sink refused what was sent to it and would refuse it again, and what its word is about. Statuses by RFC 9110,
    /// section 15.5, codes by RFC 5321, section 4.2.1. Nothing else is: a sink that cannot be reached, fails or asks for
    /// patience may take the same bytes later.
    pub fn refusal(&self) -> Option<Refusal> {
        match self {
            // Timeout, too early, too many: passing.
            Self::Status { status: 408 | 425 | 429, .. } => None,
            Self::Status { status: 401 | 403..=405 | 407 | 410, .. } => Some(Refusal::Everything),
            Self::Status { status: 400..=499, .. } | Self::TooLarge { .. } => Some(Refusal::Content),
            Self::Refused { step: DATA_STEP, code: 500..=599, .. } | Self::Refused { step: "MAIL", code: 552, .. } => {
                Some(Refusal::Content)
            }
            Self::Refused { step: "MAIL" | "RCPT" | "DATA", code: 500..=599, .. } => Some(Refusal::Everything),
            _ => None,
        }
    }

    pub(crate) fn malformed(host: &Url, what: impl Into<String>) -> Self {
        Self::Malformed { host: host.authority(), what: what.into() }
    }

    /// The error inside an [`io::Error`] that a reader of this crate gave, or that error as it is.
    pub(crate) fn from_io(error: io::Error, url: &Url) -> Self {
        match error.downcast::<Self>() {
            Ok(inner) => inner,
            Err(error) if error.kind() == io::ErrorKind::TimedOut || ran_out(&error) => {
                Self::Slow { host: url.authority(), stage: "nothing came for too long" }
            }
            Err(error) => Self::Connection { host: url.authority(), reason: error.to_string() },
        }
    }

    pub(crate) const fn downgrade(host: String) -> Self {
        Self::Denied(Denied { host, rule: DenyRule::Downgrade })
    }
}

/// Whether the time for the whole exchange is over; the HTTP client says so in an error of its own.
fn ran_out(error: &io::Error) -> bool {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<ureq::Error>());
    matches!(inner, Some(ureq::Error::Timeout(_)))
}

fn problem(said: &str, reasons: &[String]) -> String {
    if reasons.is_empty() { said.to_owned() } else { format!("{said}: {}", reasons.join("; ")) }
}

/// What to do about a server's refusal.
fn way_on(server: &str, status: u16, kind: &str) -> String {
    match (kind, status) {
        ("step-up", _) => {
            format!(
                "`ringfence login --step-up --server {server}` asks for your second factor: that is good for ten minutes"
            )
        }
        (_, 401) => format!("`ringfence login --server {server}` lets you in"),
        (_, 403) => "`ringfence user ls` shows who has which roles; the server's trail has the decision".into(),
        (_, 404) => "`ringfence ls` lists what there is; a server of another version may not know the command".into(),
        (_, 429) => "wait a little before the next attempt".into(),
        (_, 500..) => format!("{server}/health/ready says what the server lacks; its operator sees more"),
        _ => "`ringfence --help` and `ringfence COMMAND --help` show examples".into(),
    }
}

fn after(seconds: Option<u64>) -> String {
    seconds.map_or_else(|| "later".into(), |seconds| format!("after {seconds} s"))
}

fn words(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!(": {text}") }
}
