//! `serve`, and what concerns people.

use std::{net::SocketAddr, path::PathBuf};

use clap::Args;

/// `serve`.
#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    /// Where to listen; beyond this machine only once an administrator has enrolled
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8443")]
    pub(crate) listen: SocketAddr,
    /// A name under which browsers reach it; passkeys are made for the first one, so it should not change
    #[arg(long = "host", value_name = "NAME[:PORT]")]
    pub(crate) hosts: Vec<String>,
    /// An own certificate chain as a PEM file; without it the embedded authority makes one
    #[arg(long, value_name = "FILE", requires = "key")]
    pub(crate) certificate: Option<PathBuf>,
    /// The private key of the certificate as a PEM file
    #[arg(long, value_name = "FILE", requires = "certificate")]
    pub(crate) key: Option<PathBuf>,
    /// Get certificates for the names of --host from the authority whose ACME directory is here, agreeing to its terms; it looks at port 443 of each name, which must lead to --listen (Let's Encrypt: https://acme-v02.api.letsencrypt.org/directory)
    #[cfg(feature = "acme")]
    #[arg(long, value_name = "URL", requires = "hosts", conflicts_with = "certificate")]
    pub(crate) acme: Option<String>,
    /// Where that authority sends its warnings
    #[cfg(feature = "acme")]
    #[arg(long, value_name = "MAIL", requires = "acme")]
    pub(crate) acme_contact: Option<String>,
    /// Roots of that authority's own certificate as a PEM file, for one of your own
    #[cfg(feature = "acme")]
    #[arg(long, value_name = "FILE", requires = "acme")]
    pub(crate) acme_roots: Option<PathBuf>,
    /// With `--server`: serve that server instead, as a training machine that takes queued runs, one at a time
    #[arg(long, conflicts_with_all = ["listen", "hosts", "certificate"])]
    pub(crate) runner: bool,
}
