//! `trail …`: what was typed.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use ringfence_engine::{
    EngineError,
    schema::Timestamp,
    trail::{Decided, Filter, Shape, moment},
};

/// `trail …`.
#[derive(Debug, Subcommand)]
pub(crate) enum TrailAction {
    /// List entries, newest last
    #[command(
        after_help = "Examples:\n  ringfence trail ls\n  ringfence trail ls --artifact dataset/digits --last 10\n  ringfence trail ls --what release --decision denied --since 2026-01-01\n  ringfence trail ls --since 2d --until 36h --format json"
    )]
    Ls {
        /// Which entries
        #[command(flatten)]
        filter: FilterArgs,
        /// At most so many of them, from the end
        #[arg(long, default_value_t = 50, value_name = "N")]
        last: u64,
    },
    /// Show one entry with what its commitments stand for
    Show {
        /// Its index
        index: u64,
    },
    /// Print the newest checkpoint, to be held elsewhere
    Checkpoint,
    /// Verify the whole trail against its checkpoints and the one that is held
    #[command(
        after_help = "Examples:\n  ringfence trail verify\n  ringfence trail verify --checkpoint held.checkpoint\n  ringfence trail verify --mirror /mnt/worm/trail --root lab.root --checkpoint held.checkpoint\n  ringfence trail verify --mirror /mnt/worm/trail --root lab.root --witness-policy witnesses.policy"
    )]
    Verify {
        /// A checkpoint that was held elsewhere, instead of the pinned one
        #[arg(long, value_name = "FILE")]
        checkpoint: Option<PathBuf>,
        /// The trust root to verify under, instead of the pinned one
        #[arg(long, value_name = "FILE")]
        root: Option<PathBuf>,
        /// Verify this copy that `trail mirror` made, instead of the vault; needs no vault
        #[arg(long, value_name = "DIR", requires = "root")]
        mirror: Option<PathBuf>,
        /// Demand that enough of the witnesses in this file (C2SP tlog-policy) have cosigned every entry
        #[arg(long, value_name = "FILE")]
        witness_policy: Option<PathBuf>,
    },
    /// Show the newest checkpoint to the witnesses of `witnesses.policy`, and keep what they cosign
    #[command(
        after_help = "`witnesses.policy` in the configuration folder is a C2SP tlog-policy: `witness NAME KEY URL` lines, groups and a quorum.\nTheir hosts must be in `egress.hosts` of `reach.toml`.\n\nExamples:\n  ringfence trail witness\n  ringfence trail witness --format json"
    )]
    Witness,
    /// Copy what is new to static files that any C2SP tlog client reads; nothing there is ever changed
    #[command(
        after_help = "Examples:\n  ringfence trail mirror /mnt/worm/trail\n  ringfence trail mirror /mnt/worm/trail --witness\n  ringfence show root > lab.root && ringfence trail verify --mirror /mnt/worm/trail --root lab.root\n  python3 tools/verify_trail.py /mnt/worm/trail --root lab.root"
    )]
    Mirror {
        /// The folder; made if it is missing
        folder: PathBuf,
        /// Show the newest checkpoint to the witnesses first, and copy up to that one
        #[arg(long)]
        witness: bool,
    },
    /// Write entries for other tools
    #[command(
        after_help = "Examples:\n  ringfence trail export --as jsonl\n  ringfence trail export --as csv --artifact model/digits --out digits.csv\n  ringfence trail export --as ocsf --since 1h --out events.jsonl\n  ringfence trail export --as syslog --decision denied | nc -N collector 514\n  ringfence trail export --as parquet --since 30d --out month.parquet"
    )]
    Export {
        /// How they are written
        #[arg(long = "as", value_enum, value_name = "SHAPE")]
        shape: ShapeName,
        /// Which entries
        #[command(flatten)]
        filter: FilterArgs,
        /// At most so many of them, from the end; all without it
        #[arg(long, value_name = "N")]
        last: Option<u64>,
        /// Where they go, whole or not at all [default: standard output]
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
}

/// Which entries: those that are all of this.
#[derive(Debug, Args)]
pub(crate) struct FilterArgs {
    /// Only by this person
    #[arg(long, value_name = "ID")]
    who: Option<String>,
    /// Only this action, such as admit, read or release
    #[arg(long, value_name = "ACTION")]
    what: Option<String>,
    /// Only about this artifact, or with it in the request: dataset/NAME, or dataset/NAME@3
    #[arg(long, value_name = "NAME")]
    artifact: Option<String>,
    /// Only with this decision
    #[arg(long, value_enum)]
    decision: Option<DecisionName>,
    /// Only from this moment on: RFC 3339, a date, or an age such as 2d or 90m
    #[arg(long, value_name = "WHEN")]
    since: Option<String>,
    /// Only before this moment
    #[arg(long, value_name = "WHEN")]
    until: Option<String>,
}

impl FilterArgs {
    /// What was typed, at the moment `now`.
    pub(crate) fn filter(&self, now: Timestamp) -> Result<Filter, EngineError> {
        let read = |text: &Option<String>| text.as_deref().map(|text| moment(text, now)).transpose();
        Ok(Filter {
            who: self.who.clone(),
            what: self.what.clone(),
            artifact: self.artifact.clone(),
            decision: self.decision.map(Decided::from),
            since: read(&self.since)?,
            until: read(&self.until)?,
        })
    }
}

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum DecisionName {
    /// Intended, and done
    Allowed,
    /// Refused by policy
    Denied,
    /// Allowed, and not done, or not known to be
    Failed,
}

impl From<DecisionName> for Decided {
    fn from(name: DecisionName) -> Self {
        match name {
            DecisionName::Allowed => Self::Allowed,
            DecisionName::Denied => Self::Denied,
            DecisionName::Failed => Self::Failed,
        }
    }
}

/// How entries are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ShapeName {
    /// JSON, one object a line
    Jsonl,
    /// RFC 4180, safe to open in a spreadsheet
    Csv,
    /// OCSF 1.5 events (API Activity), one JSON object a line
    Ocsf,
    /// RFC 5424 messages
    Syslog,
    /// Apache Parquet, with the columns of the CSV
    Parquet,
}

impl From<ShapeName> for Shape {
    fn from(name: ShapeName) -> Self {
        match name {
            ShapeName::Jsonl => Self::Jsonl,
            ShapeName::Csv => Self::Csv,
            ShapeName::Ocsf => Self::Ocsf,
            ShapeName::Syslog => Self::Syslog,
            ShapeName::Parquet => Self::Parquet,
        }
    }
}
