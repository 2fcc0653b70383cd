//! One training job as it runs: what it uses, what it claims, where it reaches.
//!
//! [`RunWatch::push`] takes each event once, in order, and says what stopped looking normal. The models:
//!
//! * `compute`: busy without progress; `idle`: progress while it rests; `shift`: use beyond what the same steps took before;
//! * `growth`: processes, memory and output against their limits;
//! * `trials`: where training begins anew, for all that follow what a job says;
//! * `training`: loss, with `course` for its way, and gradient norm, with `level` for jumps; `steps`: their count and pace;
//! * `labels`: label shares against the dataset's profile, `shares`: against the job's own where there is none;
//! * `schedule`: the learning rate against the plan, `rates`: against its own past where there is none;
//! * `checkpoints`: files against what was written and claimed;
//! * `egress`: attempts to reach out, and bytes against the budget; `calls`: what the kernel refused.
//!
//! What must stay true: memory is bounded whatever the job does (every map has a named limit), an event costs
//! microseconds, and nothing that a job claims can quieten what the kernel saw of it.

mod calls;
mod checkpoints;
mod compute;
mod course;
mod egress;
mod growth;
mod idle;
mod labels;
mod level;
mod rates;
mod schedule;
mod shares;
mod shift;
mod steps;
mod training;
mod trials;

use std::collections::BTreeMap;

use ringfence_schema::{
    Timestamp,
    alert::{Alert, Basis, Subject, SubjectKind},
    event::{Claimed, Observed, READS_TOLD, RunEvent, Source},
};

pub use schedule::{LearningRatePlan, RateCurve};

use crate::{
    Signal, SignalState,
    book::{Book, Sighting, cut},
};

/// What is expected of a run, from its signed plan and the profile of its dataset. All of it may be absent.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Expectations {
    /// Share of each label in the admitted dataset; sums to about 1.
    pub label_shares: BTreeMap<String, f64>,
    /// Records of that dataset.
    pub records: Option<u64>,
    /// Whether the plan says that records are read in order: labels are then compared once an epoch.
    pub ordered: bool,
    /// The learning rate by step.
    pub learning_rate: Option<LearningRatePlan>,
    /// Bytes that may be sent to allowed hosts.
    pub egress_budget_bytes: Option<u64>,
    /// Cores that the run may use.
    pub cores: Option<f64>,
    /// Limit of resident memory, in bytes.
    pub memory_bytes: Option<u64>,
    /// Limit of processes and threads alive at a time.
    pub processes: Option<u64>,
    /// Limit of bytes in `/out`.
    pub output_bytes: Option<u64>,
    /// Where inputs lie, as the job sees it; `/in` where empty.
    pub inputs: Vec<String>,
    /// Whether the plan gives the run any inputs to open. Absent: not known, so that it may make its own data.
    pub has_inputs: Option<bool>,
    /// Whether the job says how it goes.
    pub reports: Reports,
    /// Whether reads of inputs are seen by the supervisor. Absent: known from the first read on.
    pub reads_seen: Option<bool>,
}

/// Whether a job says how training goes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Reports {
    /// Nobody said.
    #[default]
    Unknown,
    /// The plan says that it does.
    Expected,
    /// The plan says that it does not.
    Silent,
}

/// Watches one run.
#[derive(Debug, Clone)]
pub struct RunWatch {
    subject: Subject,
    started: Timestamp,
    book: Book,
    trials: trials::Trials,
    compute: compute::Compute,
    idle: idle::Idle,
    shift: shift::Shift,
    growth: growth::Growth,
    training: training::Training,
    steps: steps::Steps,
    labels: labels::Labels,
    /// Where the dataset has no profile.
    shares: Option<shares::Shares>,
    schedule: schedule::Schedule,
    rates: rates::Rates,
    /// Whether the rate is held against a plan.
    rate_is_planned: bool,
    checkpoints: checkpoints::Checkpoints,
    egress: egress::Reach,
    calls: calls::Calls,
    latest_ms: u64,
}

/// Collects what the models see at one moment of a run.
pub(crate) struct Sightings {
    started: Timestamp,
    now_ms: u64,
    found: Vec<Sighting>,
}

impl Sightings {
    /// The moment `at_ms` of the run.
    pub(crate) fn moment(&self, at_ms: u64) -> Timestamp {
        self.started.plus_millis(at_ms.min(self.now_ms))
    }

    pub(crate) fn push(&mut self, sighting: Sighting) {
        self.found.push(sighting);
    }
}

impl RunWatch {
    /// A watch over the run `run`, which began at `started`.
    pub fn new(run: &str, started: Timestamp, expected: Expectations) -> Self {
        let mut expected = expected;
        expected.inputs.truncate(INPUTS_MAX);
        if expected.inputs.is_empty() {
            expected.inputs.push("/in".to_owned());
        }
        Self {
            subject: Subject { kind: SubjectKind::Run, name: cut(run.to_owned()) },
            started,
            book: Book::new(QUIET_MS),
            trials: trials::Trials::default(),
            compute: compute::Compute::new(&expected),
            idle: idle::Idle::default(),
            shift: shift::Shift::default(),
            growth: growth::Growth::new(&expected),
            training: training::Training::default(),
            steps: steps::Steps::default(),
            labels: labels::Labels::new(&expected),
            shares: expected.label_shares.is_empty().then(shares::Shares::default),
            rates: rates::Rates::default(),
            rate_is_planned: expected.learning_rate.is_some(),
            schedule: schedule::Schedule::new(expected.learning_rate),
            checkpoints: checkpoints::Checkpoints::default(),
            egress: egress::Reach::new(expected.egress_budget_bytes),
            calls: calls::Calls::default(),
            latest_ms: 0,
        }
    }

    /// The run that is watched.
    pub fn subject(&self) -> &Subject {
        &self.subject
    }

    /// Takes one event. Time never runs backwards: an event that is older than one before counts as of that one's moment.
    pub fn push(&mut self, event: &RunEvent) -> Vec<Alert> {
        let at_ms = event.at_ms.max(self.latest_ms);
        self.latest_ms = at_ms;
        let mut found = Sightings { started: self.started, now_ms: at_ms, found: Vec::new() };
        match &event.source {
            Source::Observed(observed) => self.observe(at_ms, observed, &mut found),
            Source::Claimed(claimed) => self.claim(at_ms, claimed, &mut found),
        }
        self.checkpoints.pass(at_ms, &mut found);
        self.tell(found)
    }

    /// The run is over and everything that it left was pushed.
    pub fn end(&mut self) -> Vec<Alert> {
        let mut found = Sightings { started: self.started, now_ms: self.latest_ms, found: Vec::new() };
        self.labels.end(self.latest_ms, &mut found);
        self.checkpoints.end(self.latest_ms, &mut found);
        self.tell(found)
    }

    /// The latest value of each signal, with what is expected of it.
    pub fn signals(&self) -> Vec<Signal> {
        let now = self.started.plus_millis(self.latest_ms);
        let mut signals = Vec::new();
        self.compute.signals(&mut signals);
        self.growth.signals(&mut signals);
        self.egress.signals(&mut signals);
        self.calls.signals(&mut signals);
        self.training.signals(&mut signals);
        self.steps.signals(&mut signals);
        self.schedule.signals(&mut signals);
        self.labels.signals(&mut signals);
        self.checkpoints.signals(&mut signals);
        for signal in &mut signals {
            if self.book.is_open(signal.name, now) {
                signal.state = SignalState::Unusual;
            }
        }
        signals
    }

    fn observe(&mut self, at_ms: u64, observed: &Observed, found: &mut Sightings) {
        match observed {
            Observed::Sample(usage) => {
                if let Some(load) = self.compute.sample(at_ms, usage, found) {
                    self.idle.sample(at_ms, &load, found);
                    self.shift.sample(at_ms, &load, found);
                }
                self.growth.sample(at_ms, usage, found);
                self.egress.sample(at_ms, usage, found);
                self.calls.sample(at_ms, usage, found);
                self.steps.sample(usage);
            }
            Observed::Started { measures, .. } => {
                if measures.iter().any(|measure| measure == READS_TOLD) {
                    self.compute.reads_are_told();
                }
            }
            Observed::Egress(egress) => self.egress.attempt(at_ms, egress, found),
            Observed::File(change) => {
                self.compute.file(change);
                self.egress.file(change);
                self.growth.file(at_ms, change);
                self.checkpoints.file(at_ms, change, found);
            }
            Observed::Refused { detail } => self.calls.refused(at_ms, detail, found),
            Observed::Limit { detail } => growth::Growth::limit(at_ms, detail, found),
            Observed::Collected { path, sha256, .. } => self.checkpoints.collected(at_ms, path, sha256, found),
            Observed::Exited { .. } | Observed::NotCollected { .. } => {}
        }
    }

    fn claim(&mut self, at_ms: u64, claimed: &Claimed, found: &mut Sightings) {
        match claimed {
            Claimed::Line { .. } => self.compute.line(),
            Claimed::Dropped { .. } | Claimed::Nonsense { .. } => {}
            Claimed::Progress(progress) => {
                let anew = self.trials.progress(progress);
                self.compute.progress(at_ms, progress, found);
                self.idle.progress(progress);
                self.shift.progress(at_ms, progress, anew);
                self.rates.progress(at_ms, progress, anew, self.rate_is_planned, found);
                let now = training::Circumstances {
                    anew,
                    sweep: self.rates.sweep(self.trials.begun()),
                    searching: self.rates.searching(),
                };
                self.training.progress(at_ms, progress, now, found);
                self.steps.progress(at_ms, progress, anew, self.trials.begun(), found);
                self.labels.progress(at_ms, progress, found);
                if let Some(shares) = &mut self.shares {
                    shares.progress(at_ms, progress, anew, found);
                }
                self.schedule.progress(at_ms, progress, found);
                self.checkpoints.claimed(at_ms, progress);
            }
        }
    }

    fn tell(&mut self, found: Sightings) -> Vec<Alert> {
        let at = self.started.plus_millis(self.latest_ms);
        found.found.into_iter().filter_map(|sighting| self.book.raise(&self.subject, at, sighting)).collect()
    }
}

/// A signal's line, quiet until there is a value.
pub(crate) fn line(
    name: &'static str,
    unit: &'static str,
    value: Option<f64>,
    expected: Option<String>,
    basis: Basis,
) -> Signal {
    let state = match (value, &expected) {
        (None, _) => SignalState::Quiet,
        (Some(_), None) => SignalState::Learning,
        (Some(_), Some(_)) => SignalState::Normal,
    };
    Signal { name, value, unit, expected: expected.unwrap_or_else(|| "learning".to_owned()), state, basis }
}

/// A matter that was not seen for this long is over, in milliseconds.
const QUIET_MS: u64 = 15 * 60 * 1_000;
/// Places of inputs that are told apart.
const INPUTS_MAX: usize = 64;
