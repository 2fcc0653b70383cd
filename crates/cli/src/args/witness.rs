//! `witness …`: what was typed.

use std::{net::SocketAddr, path::PathBuf};

use clap::{Args, Subcommand, ValueEnum};
use ringfence_engine::witness::Algorithm;

/// `witness …`.
#[derive(Debug, Subcommand)]
pub(crate) enum WitnessAction {
    /// Make a witness: its key, and a folder for what it saw; prints its verifier key
    #[command(
        after_help = "Examples:\n  ringfence witness init /var/lib/witness --name witness.example.org/w1\n  ringfence witness init /var/lib/witness --algorithm ml-dsa-44"
    )]
    Init {
        /// The folder; made if it is missing
        folder: PathBuf,
        /// What it calls itself, usually an address without `https://` [default: witness/ and a random number]
        #[arg(long, value_name = "NAME")]
        name: Option<String>,
        /// How it signs
        #[arg(long, value_enum, default_value_t = AlgorithmName::Ed25519)]
        algorithm: AlgorithmName,
    },
    /// Tell the witness of a log, or of its newer trust root; it cosigns for no other
    #[command(
        after_help = "Examples:\n  ringfence show root > lab.root && ringfence witness add-log /var/lib/witness --root lab.root\n  ringfence witness add-log /var/lib/witness --vkey example.org/log+9d1b0e4f+AX…"
    )]
    AddLog {
        /// The witness's folder
        folder: PathBuf,
        /// Who signs for the log
        #[command(flatten)]
        keys: LogKeyArgs,
    },
    /// List the logs that the witness knows, and how far it saw them
    #[command(after_help = "Examples:\n  ringfence witness ls /var/lib/witness --format json")]
    Ls {
        /// The witness's folder
        folder: PathBuf,
    },
    /// Answer logs (C2SP tlog-witness) until told to stop
    #[command(
        after_help = "Examples:\n  ringfence witness serve /var/lib/witness --listen 127.0.0.1:8340\n  ringfence witness serve /var/lib/witness --listen 0.0.0.0:443 --certificate chain.pem --key key.pem"
    )]
    Serve {
        /// The witness's folder
        folder: PathBuf,
        /// Where it listens; beyond this machine only with a certificate
        #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8340")]
        listen: SocketAddr,
        /// Certificate chain (PEM), its own certificate first
        #[arg(long, value_name = "FILE", requires = "key")]
        certificate: Option<PathBuf>,
        /// The certificate's key (PEM)
        #[arg(long, value_name = "FILE", requires = "certificate")]
        key: Option<PathBuf>,
    },
}

/// Who signs for a log.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct LogKeyArgs {
    /// The trust root of the log's vault (`ringfence show root`); the next one is taken as its successor
    #[arg(long, value_name = "FILE")]
    pub(crate) root: Option<PathBuf>,
    /// A verifier key of the log, `NAME+ID+KEY`; several of one log are possible
    #[arg(long, value_name = "KEY")]
    pub(crate) vkey: Vec<String>,
}

/// How a witness signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum AlgorithmName {
    /// Ed25519: every client reads it
    Ed25519,
    /// ML-DSA-44 (FIPS 204): holds against quantum computers, too
    #[value(name = "ml-dsa-44")]
    MlDsa44,
}

impl From<AlgorithmName> for Algorithm {
    fn from(name: AlgorithmName) -> Self {
        match name {
            AlgorithmName::Ed25519 => Self::Ed25519,
            AlgorithmName::MlDsa44 => Self::MlDsa44,
        }
    }
}
