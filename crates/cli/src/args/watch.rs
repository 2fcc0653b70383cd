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
    /// Score a series of measurements, point by point, as if it came in live
    #[command(
        after_help = "The file has the columns `timestamp,value`; timestamps are `2026-01-31 09:30:00`, RFC 3339 or seconds.\nA score never depends on later points."
    )]
    Replay {
        /// CSV file; `-` is standard input
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
}
