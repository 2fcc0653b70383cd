//! The traits of a job.

use ringfence_watch::run::RateCurve;

use super::games::Task;

/// How a job goes about its work.
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "each is a trait of a job, and any may go with any")]
pub(crate) struct Job {
    pub(crate) name: &'static str,
    pub(crate) hours: f64,
    pub(crate) hidden: usize,
    pub(crate) batch: usize,
    pub(crate) rate: RateCurve,
    pub(crate) optimiser: Optimiser,
    /// Median time of a step, in milliseconds.
    pub(crate) step_ms: f64,
    pub(crate) log_every: u64,
    /// Cores that a step keeps busy.
    pub(crate) cores: f64,
    pub(crate) startup_s: f64,
    pub(crate) compile_s: f64,
    pub(crate) evaluate_every: u64,
    pub(crate) evaluate_s: f64,
    pub(crate) checkpoint_s: f64,
    /// Stalls of the loader: chance per step, mean length in seconds.
    pub(crate) stall: (f64, f64),
    /// Worker processes of the loader, begun anew every epoch.
    pub(crate) workers: u64,
    pub(crate) talk: Talk,
    pub(crate) reads_seen: bool,
    pub(crate) cold: bool,
    pub(crate) gpu: bool,
    pub(crate) memory_mb: f64,
    pub(crate) memory_limit_mb: u64,
    pub(crate) label_noise: f64,
    pub(crate) ordered: bool,
    /// Examples are drawn in buckets of like labels: overdispersed batches.
    pub(crate) buckets: bool,
    /// Training begins anew this often (folds).
    pub(crate) folds: u64,
    pub(crate) final_evaluation_s: f64,
    /// Bytes fetched from an allowed host, a second.
    pub(crate) fetch: f64,
    /// Names that a library asks for and the plan does not allow.
    pub(crate) telemetry_name: bool,
    pub(crate) refused_calls: u64,
    pub(crate) batch_growth: bool,
    pub(crate) cpu_noise: f64,
    /// What it trains.
    pub(crate) task: Task,
    /// The supervisor tells of every input that is opened.
    pub(crate) reads_told: bool,
    /// It trains on what it fetches, and opens no input.
    pub(crate) streams: bool,
    /// Share of reports in which the scaled gradient overflowed, besides those at the beginning.
    pub(crate) overflows: f64,
    /// Every fold has another rate, and some end early.
    pub(crate) sweep: bool,
    /// Steps are counted on from fold to fold.
    pub(crate) steps_go_on: bool,
    /// Stages, each with more labels than the one before.
    pub(crate) stages: u64,
    /// Steps of a search for the best rate, before training.
    pub(crate) search_steps: u64,
    /// Cores that an evaluation keeps busy; as many as a step, but one at most, where absent.
    pub(crate) evaluate_cores: f64,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Optimiser {
    Sgd,
    Momentum,
    Adam,
}

/// How a job talks.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Talk {
    /// Everything, at once.
    Full,
    /// Loss and step only.
    Loss,
    /// In bursts: output is buffered.
    Buffered,
    /// Lines that nobody understands.
    Lines,
    /// Nothing, and the plan does not say so.
    Nothing,
    /// Nothing, and the plan says so.
    Silent,
}

impl Job {
    pub(crate) fn usual(name: &'static str) -> Self {
        Self {
            name,
            hours: 2.0,
            hidden: 0,
            batch: 32,
            rate: RateCurve::Constant(0.05),
            optimiser: Optimiser::Sgd,
            step_ms: 150.0,
            log_every: 20,
            cores: 1.0,
            startup_s: 4.0,
            compile_s: 0.0,
            evaluate_every: 2_000,
            evaluate_s: 8.0,
            checkpoint_s: 300.0,
            stall: (0.0, 0.0),
            workers: 0,
            talk: Talk::Full,
            reads_seen: true,
            cold: false,
            gpu: false,
            memory_mb: 300.0,
            memory_limit_mb: 4_096,
            label_noise: 0.0,
            ordered: false,
            buckets: false,
            folds: 1,
            final_evaluation_s: 30.0,
            fetch: 0.0,
            telemetry_name: false,
            refused_calls: 2,
            batch_growth: false,
            cpu_noise: 0.25,
            task: Task::Digits,
            reads_told: false,
            streams: false,
            overflows: 0.0,
            sweep: false,
            steps_go_on: false,
            stages: 1,
            search_steps: 0,
            evaluate_cores: 0.0,
        }
    }
}
