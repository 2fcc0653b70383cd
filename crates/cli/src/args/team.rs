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
    /// With `--server`: serve that server instead, as a training machine that takes queued runs, one at a time
    #[arg(long, conflicts_with_all = ["listen", "hosts", "certificate"])]
    pub(crate) runner: bool,
}
