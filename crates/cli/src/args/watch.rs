//! `watch …` and `stop`: what was typed.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// `watch`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct WatchArgs {
    /// The run to look at, live or over; without it: list runs
    pub(crate) run: Option<String>,
    /// What to do instead
    #[command(subcommand)]
    pub(crate) action: Option<WatchAction>,
}

/// `watch …`.
#[derive(Debug, Subcommand)]
pub(crate) enum WatchAction {
    /// Judge a recording as if it came in live: a series of measurements, a run's telemetry, or accesses
    #[command(
        after_help = "CSV: the file has the columns `timestamp,value`; timestamps are `2026-01-31 09:30:00`, RFC 3339 or seconds.\nA score never depends on later points.\nJSON lines: what `ringfence watch RUN --format json` prints, or accesses such as\n{\"at\":1767225600000,\"person\":\"ana\",\"roles\":[\"trainer\"],\"action\":\"read\",\"artifact\":\"dataset/x\",\"place\":\"10.0.0.7\",\"bytes\":1048576,\"allowed\":true}\n(`at` in milliseconds since 1970); alerts are printed."
    )]
    Replay {
        /// The recording; `-` is standard input
        file: PathBuf,
    },
    /// Draw all signals of a run on one time axis, with checkpoints, refusals and alerts (HTML)
    History {
        /// The run
        run: String,
        /// Where the page goes [default: RUN.html]
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Say what is unusual about who reached for what, by the vault's trail; gravest first
    People {
        /// At most so many entries of the trail, from the end
        #[arg(long, default_value_t = 20_000)]
        last: u64,
    },
    /// List alerts, newest last
    Alerts(AlertsArgs),
    /// Say that you deal with an alert; recorded with the reason
    Ack {
        /// The alert's id, or the beginning of it
        id: String,
        /// Why it is no reason to act any more
        #[arg(long)]
        reason: String,
        /// For so many days; for good without it
        #[arg(long, value_name = "N")]
        days: Option<u32>,
    },
    /// Show the rules in force: built in, and changed by rules.toml in your configuration
    Rules,
    /// Show the sinks of sinks.toml in your configuration, and what waits for each
    Sinks {
        /// Send this one an alert that says that it is a test
        #[arg(long, value_name = "SINK", conflicts_with_all = ["resend", "forget"])]
        test: Option<String>,
        /// Queue the alerts of the trail's entries FIRST to LAST for it again
        #[arg(long, num_args = 3, value_names = ["SINK", "FIRST", "LAST"], conflicts_with = "forget")]
        resend: Vec<String>,
        /// Give up what waits for it; the alerts stay in the trail
        #[arg(long, value_name = "SINK")]
        forget: Option<String>,
    },
    /// Deliver what waits for the sinks, now
    Deliver,
    /// With `--server`: list the runs that wait for a training machine, or take one out
    Queue {
        /// Take this one out, before a machine has it
        #[arg(long, value_name = "ID")]
        remove: Option<String>,
    },
}

/// `watch alerts`.
#[derive(Debug, Args)]
pub(crate) struct AlertsArgs {
    /// Only open ones
    #[arg(long)]
    pub(crate) open: bool,
    /// Only those at least this bad
    #[arg(long, value_enum, value_name = "SEVERITY")]
    pub(crate) min_severity: Option<super::FailOn>,
    /// At most so many, the newest
    #[arg(long, default_value_t = 100)]
    pub(crate) last: usize,
}

/// `drill …`.
#[derive(Debug, Subcommand)]
pub(crate) enum DrillAction {
    /// Start known bad jobs in the sandbox and show what stopped or saw each
    Run {
        /// Which drills; all without it
        names: Vec<String>,
    },
    /// List the drills
    Ls,
}

/// `stop`.
#[derive(Debug, Args)]
pub(crate) struct StopArgs {
    /// The run
    pub(crate) run: String,
    /// Halt its processes instead; `--thaw` lets them go on
    #[arg(long, conflicts_with = "thaw")]
    pub(crate) freeze: bool,
    /// Let a frozen run go on
    #[arg(long)]
    pub(crate) thaw: bool,
    /// Why; it stays in the trail
    #[arg(long, default_value = "on the command line")]
    pub(crate) reason: String,
}
