//! `schedule …`: what was typed.

use clap::{Subcommand, ValueEnum};
use ringfence_engine::schedule::Job;

/// `schedule …`.
#[derive(Debug, Subcommand)]
pub(crate) enum ScheduleAction {
    /// Have something done again and again
    #[command(
        after_help = "Examples:\n  ringfence schedule add audit --every 1d --at 03:30\n  ringfence schedule add drill --every 30d\n  ringfence schedule add attack --every 7d\n  mkdir -p ~/.config/ringfence/mirror && ringfence schedule add mirror --every 6h"
    )]
    Add {
        /// What
        #[arg(value_enum)]
        job: What,
        /// How often: hours or days, from 1h to 366d
        #[arg(long, value_name = "TIME")]
        every: String,
        /// At which time of the day, in UTC; without it the first time is one `--every` from now
        #[arg(long, value_name = "HH:MM")]
        at: Option<String>,
    },
    /// List what is done, when next, and what came of the last time
    Ls,
    /// Have it done no more
    Rm {
        /// Its id, as `schedule ls` shows it
        id: String,
    },
}

/// What can be done by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum What {
    /// Scan every stored model again with today's rules
    Rescan,
    /// Ask the sources of what was fetched for something newer
    Outdated,
    /// Verify the whole trail
    Audit,
    /// Read and check every stored byte
    Verify,
    /// Attack the newest of every released model as the release before it was attacked
    Attack,
    /// Run known bad jobs that must be stopped or seen
    Drill,
    /// Copy the trail to the folder `mirror` of the configuration
    Mirror,
}

impl From<What> for Job {
    fn from(what: What) -> Self {
        match what {
            What::Rescan => Self::Rescan,
            What::Outdated => Self::Outdated,
            What::Audit => Self::Audit,
            What::Verify => Self::Verify,
            What::Attack => Self::Attack,
            What::Drill => Self::Drill,
            What::Mirror => Self::Mirror,
        }
    }
}
