//! `request …`, `key …` and `glass …`: what was typed.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

/// `request …`.
#[derive(Debug, Subcommand)]
pub(crate) enum RequestAction {
    /// List what needs other people, newest first
    Ls {
        /// Only what still waits for approvals, or to be carried out
        #[arg(long)]
        open: bool,
    },
    /// Show one request: what it would do, who has approved, and the digest that is signed
    #[command(
        after_help = "Examples:\n  ringfence request show q-1f0c2a9d5e7b4386\n  ringfence request show q-1f0c2a9d5e7b4386 --canonical | sha256sum"
    )]
    Show {
        /// Its id
        id: String,
        /// Print exactly the bytes whose SHA-256 is signed, and nothing else
        #[arg(long)]
        canonical: bool,
    },
    /// Ask others for something
    #[command(
        after_help = "Examples:\n  ringfence request make policy policy.toml\n  ringfence request make restore dataset/digits@1\n  ringfence request make export model/net@3 --reason \"the audit of May\"\n  ringfence request make destroy dataset/old@1 --reason \"the consent was withdrawn\""
    )]
    Make {
        /// What it is about
        #[arg(value_enum)]
        what: WantedName,
        /// The policy document, or the artifact's version; `destroy` takes several
        #[arg(required = true, num_args = 1..=ringfence_engine::destroy::VERSIONS_MAX)]
        subject: Vec<String>,
        /// Why, for whoever approves: it is part of what they sign
        #[arg(long)]
        reason: Option<String>,
    },
    /// Approve what another person asks for, signed by a key in your SSH agent
    #[command(
        after_help = "Examples:\n  ringfence request approve q-1f0c2a9d5e7b4386\n  ringfence request approve q-1f0c2a9d5e7b4386 --key SHA256:jK0… --yes\n\nThe key has to be one of your factors: `ringfence key add`. A passkey approves on the server's review page."
    )]
    Approve(ApproveArgs),
    /// Refuse what another person asks for, which ends it
    Refuse {
        /// Its id
        id: String,
        /// Why
        #[arg(long)]
        reason: String,
    },
    /// Take back what you asked for
    Withdraw {
        /// Its id
        id: String,
    },
    /// Do what you asked for, now that others have approved it; a request is good for one attempt
    #[command(
        after_help = "Examples:\n  ringfence request carry-out q-1f0c2a9d5e7b4386\n  ringfence request carry-out q-1f0c2a9d5e7b4386 --out ./net"
    )]
    CarryOut {
        /// Its id
        id: String,
        /// The folder for what is exported, which must not exist
        #[arg(long, value_name = "DIR")]
        out: Option<PathBuf>,
    },
    /// Write the approvals of a request as a file that anybody can verify offline
    #[command(
        after_help = "Examples:\n  ringfence request proof q-1f0c2a9d5e7b4386 > approval.json\n  ringfence verify approval.json --root lab.root"
    )]
    Proof {
        /// Its id
        id: String,
    },
}

/// What can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum WantedName {
    /// A policy document to take effect
    Policy,
    /// An earlier version to become the current one
    Restore,
    /// A copy of a version outside the vault
    Export,
    /// Versions to be destroyed for good
    Destroy,
}

/// `request approve`.
#[derive(Debug, Args)]
pub(crate) struct ApproveArgs {
    /// Its id
    pub(crate) id: String,
    /// Which key, by its fingerprint as `ssh-add -l` shows it [default: the first in the agent that is yours here]
    #[arg(long, value_name = "SHA256:…")]
    pub(crate) key: Option<String>,
    /// Do not ask again; the request was read elsewhere
    #[arg(long)]
    pub(crate) yes: bool,
}

/// `key …`.
#[derive(Debug, Subcommand)]
pub(crate) enum KeyAction {
    /// Make a key in your SSH agent one of your factors, for approvals alone
    #[command(
        after_help = "Examples:\n  ringfence key add\n  ringfence key add --key SHA256:jK0… --label \"security key, blue\""
    )]
    Add {
        /// Which, by its fingerprint as `ssh-add -l` shows it [default: the only one in the agent]
        #[arg(long, value_name = "SHA256:…")]
        key: Option<String>,
        /// What you call it [default: its comment in the agent]
        #[arg(long, value_name = "NAME")]
        label: Option<String>,
    },
    /// List the keys in your SSH agent, and which of them approve here
    Ls,
    /// Take a key from your factors; approvals by it that were not used yet do not count any more
    Rm {
        /// Its fingerprint, as `ringfence key ls` shows it
        key: String,
    },
}

/// `glass …`.
#[derive(Debug, Subcommand)]
pub(crate) enum GlassAction {
    /// Do without the approval of others for an hour: everybody hears of it, and another person reviews it
    #[command(
        after_help = "Examples:\n  ringfence glass break --reason \"the site is on fire, taking the weights out\""
    )]
    Break {
        /// Why
        #[arg(long)]
        reason: String,
    },
    /// List who has done so, and what others said of it
    Ls,
    /// End it before its hour is over
    End {
        /// Its id
        id: String,
    },
    /// Say what was found when you looked at what another person did meanwhile
    Review {
        /// Its id
        id: String,
        /// What was found
        #[arg(long)]
        reason: String,
    },
}
