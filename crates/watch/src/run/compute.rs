//! Use of processors against progress: the miner's signature, the idle boaster, and use beyond everything before.
//!
//! A job that works hard is suspect in so far as nothing speaks for training. What speaks for it, weightiest first: it opened
//! its inputs (seen by the kernel), it read from storage, it says how it goes in a way that varies as training does, it
//! prints, it writes. Each makes the patience longer; none of the job's own words alone ends it where the kernel would have
//! seen inputs opened. Loading, compiling and evaluating are busy without a word, so silence after progress is measured
//! against the job's own pauses.

use std::collections::BTreeMap;

use ringfence_schema::{
    Severity,
    alert::Basis,
    event::{Change, FileChange, Progress, Usage},
};

use super::{Expectations, Reports, Sightings, line};
use crate::{Signal, book::Sighting, rules::Kind};

/// Holds use against progress.
#[derive(Debug, Clone)]
pub(super) struct Compute {
    reports: Reports,
    inputs: Vec<String>,
    reads_seen: bool,
    cores: Option<f64>,
    last: Option<(u64, Usage)>,
    used_cores: Option<f64>,
    gpu_percent: Option<f64>,
    inputs_opened: bool,
    work: Work,
    claims: Claims,
    idle_ms: u64,
    idle_steps: u64,
    ranges: BTreeMap<&'static str, Range>,
}

/// What the kernel saw besides use.
#[derive(Debug, Clone, Default)]
struct Work {
    lines: u64,
    written: bool,
    read_bytes: u64,
    written_bytes: u64,
    /// Busy time since something spoke for training, in milliseconds.
    unexplained_ms: u64,
    /// Busy time since the start, in milliseconds.
    busy_ms: u64,
    since_ms: u64,
}

/// What the job says.
#[derive(Debug, Clone, Default)]
struct Claims {
    count: u64,
    last_ms: u64,
    gap_max_ms: u64,
    step: u64,
    loss: Option<f64>,
    /// Reports whose every number is that of the one before, though the step moved.
    same: u32,
    same_since_ms: u64,
    fingerprint: Option<(u64, u64)>,
}

/// The range that a measurement kept to.
#[derive(Debug, Clone, Default)]
struct Range {
    high: f64,
    learned_ms: u64,
    beyond_ms: u64,
    beyond_min: f64,
}

impl Compute {
    pub(super) fn new(expected: &Expectations) -> Self {
        Self {
            reports: expected.reports,
            inputs: expected.inputs.clone(),
            reads_seen: expected.reads_seen.unwrap_or(false),
            cores: expected.cores,
            last: None,
            used_cores: None,
            gpu_percent: None,
            inputs_opened: false,
            work: Work::default(),
            claims: Claims::default(),
            idle_ms: 0,
            idle_steps: 0,
            ranges: BTreeMap::new(),
        }
    }

    /// The supervisor says that it tells of every input that is opened.
    pub(super) fn reads_are_told(&mut self) {
        self.reads_seen = true;
    }

    pub(super) fn line(&mut self) {
        self.work.lines = self.work.lines.saturating_add(1);
    }

    pub(super) fn file(&mut self, change: &FileChange) {
        if change.change == Change::Read {
            self.reads_seen = true;
            let below = |input: &String| {
                let rest = change.path.strip_prefix(input.as_str());
                rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/') || input.ends_with('/'))
            };
            if self.inputs.iter().any(below) {
                self.inputs_opened = true;
                self.work.unexplained_ms = 0;
            }
        } else {
            self.work.written = true;
        }
    }

    pub(super) fn progress(&mut self, at_ms: u64, progress: &Progress, found: &mut Sightings) {
        let claims = &mut self.claims;
        let moved = progress.step.is_some_and(|step| step != claims.step);
        let spoke = moved || progress.loss.is_some() || progress.evaluation_loss.is_some() || progress.epoch.is_some();
        if !spoke {
            return;
        }
        if claims.count > 0 {
            claims.gap_max_ms = claims.gap_max_ms.max(at_ms.saturating_sub(claims.last_ms));
        }
        claims.count += 1;
        claims.last_ms = at_ms;
        if let Some(step) = progress.step {
            if step > claims.step {
                self.idle_steps = self.idle_steps.saturating_add(1);
            }
            claims.step = step;
        }
        if let Some(loss) = progress.loss {
            claims.loss = Some(loss);
            let fingerprint = (loss.to_bits(), progress.gradient_norm.map_or(0, f64::to_bits));
            // A loss of nothing may stay so: the data is learned. Any other has the batches' noise in it.
            if claims.fingerprint == Some(fingerprint) && moved && loss.abs() > 1e-3 {
                claims.same = claims.same.saturating_add(1);
            } else {
                claims.same = 0;
                claims.same_since_ms = at_ms;
            }
            claims.fingerprint = Some(fingerprint);
        }
        // Claims that vary as training does explain use; what the kernel would have seen and did not, they do not explain.
        let explained = claims.same < SAME_MAX && !self.unread();
        if explained {
            self.work.unexplained_ms = 0;
        }
        self.same(at_ms, found);
    }

    pub(super) fn sample(&mut self, at_ms: u64, usage: &Usage, found: &mut Sightings) {
        let Some((before_ms, before)) = self.last.replace((at_ms, usage.clone())) else { return };
        let span_ms = at_ms.saturating_sub(before_ms);
        if span_ms < SPAN_MS_MIN {
            // Two samples at once say nothing about rates: keep the older.
            self.last = Some((before_ms, before));
            return;
        }
        let cores = usage.cpu_ms.saturating_sub(before.cpu_ms) as f64 / span_ms as f64;
        let gpu = usage.gpus.iter().map(|gpu| gpu.busy_percent).max();
        self.used_cores = Some(cores);
        self.gpu_percent = gpu.map(f64::from);
        self.work.read_bytes = usage.read_bytes;
        self.work.written_bytes = usage.written_bytes;
        let span_ms = span_ms.min(SPAN_MS_MAX);
        // Beside other work a busy job does not get its cores: it waits for them, and that shows as pressure.
        let held_up = usage.pressure.is_some_and(|pressure| pressure.cpu >= PRESSED_PERCENT) && cores >= PRESSED_CORES;
        let busy = cores >= BUSY_CORES || held_up || gpu.is_some_and(|gpu| gpu >= BUSY_GPU);
        if busy {
            if self.work.unexplained_ms == 0 {
                self.work.since_ms = before_ms;
            }
            self.work.unexplained_ms += span_ms;
            self.work.busy_ms += span_ms;
        }
        self.unexplained(busy, found);
        self.idle(at_ms, span_ms, cores, gpu.unwrap_or(0), found);
        self.ranges(at_ms, span_ms, cores, usage, &before, found);
    }

    pub(super) fn signals(&self, signals: &mut Vec<Signal>) {
        let allowed = self.cores.map_or_else(|| "with progress".to_owned(), |cores| format!("at most {cores} cores"));
        signals.push(line("cpu", "cores", self.used_cores, Some(allowed), Basis::Observed));
        if self.gpu_percent.is_some() {
            signals.push(line("gpu", "%", self.gpu_percent, Some("with progress".to_owned()), Basis::Observed));
        }
    }

    /// Whether the kernel would have told of opened inputs and did not.
    fn unread(&self) -> bool {
        self.reads_seen && !self.inputs_opened
    }

    /// How long the job may be busy with nothing that speaks for training, in milliseconds, and how sure one is then.
    fn patience(&self) -> Option<(u64, Severity, f64)> {
        let talked = self.work.lines > 0;
        let stored = self.work.read_bytes >= STORED_BYTES || self.work.written_bytes >= STORED_BYTES;
        if self.unread() {
            return match (self.reports, talked || self.work.written) {
                (Reports::Silent, _) => Some((25_000, Severity::Medium, 0.9)),
                (_, true) if self.claims.count == 0 => Some((90_000, Severity::Medium, 0.9)),
                _ => Some((20_000, Severity::High, 0.97)),
            };
        }
        if self.claims.count > 0 {
            let own = self.claims.gap_max_ms.saturating_mul(10);
            let evaluation = self.work.busy_ms / 4;
            return Some((STALL_MS.max(own).max(evaluation), Severity::Medium, 0.8));
        }
        match self.reports {
            Reports::Silent => None,
            Reports::Expected if !self.inputs_opened && !talked && !stored => Some((20_000, Severity::High, 0.95)),
            Reports::Expected => Some((STALL_MS, Severity::Medium, 0.85)),
            Reports::Unknown if self.inputs_opened || talked || stored || self.work.written => None,
            Reports::Unknown => Some((25_000, Severity::Medium, 0.8)),
        }
    }

    fn unexplained(&mut self, busy: bool, found: &mut Sightings) {
        let Some((patience_ms, severity, confidence)) = self.patience() else { return };
        if !busy || self.work.unexplained_ms < patience_ms {
            return;
        }
        let missing = if self.unread() {
            "and none of its inputs was opened"
        } else if self.claims.count > 0 {
            "since it last claimed a step"
        } else {
            "without a step, a read or a word"
        };
        let (cores, gpu) = (self.used_cores.unwrap_or(0.0), self.gpu_percent);
        let gpu = gpu.map_or_else(String::new, |gpu| format!(", graphics processor at {gpu} %"));
        found.push(Sighting {
            kind: Kind::Miner,
            signal: "cpu".to_owned(),
            severity: Some(severity),
            basis: if self.claims.count > 0 { Basis::Both } else { Basis::Observed },
            expected: format!("progress, or a pause of at most {} s", patience_ms / 1_000),
            seen: format!("{cores:.1} cores busy{gpu} for {} s {missing}", self.work.unexplained_ms / 1_000),
            since: found.moment(self.work.since_ms),
            confidence,
            message: format!("busy for {} s {missing}", self.work.unexplained_ms / 1_000),
        });
    }

    /// Steps move, and every number that training would move stays.
    fn same(&mut self, at_ms: u64, found: &mut Sightings) {
        let claims = &self.claims;
        let lasted_ms = at_ms.saturating_sub(claims.same_since_ms);
        let busy = self.used_cores.is_some_and(|cores| cores >= BUSY_CORES)
            || self.gpu_percent.is_some_and(|gpu| gpu >= f64::from(BUSY_GPU));
        if claims.same < SAME_MAX || lasted_ms < SAME_MS || !busy {
            return;
        }
        found.push(Sighting {
            kind: Kind::Miner,
            signal: "cpu".to_owned(),
            severity: Some(Severity::Medium),
            basis: Basis::Both,
            expected: "a loss that varies from batch to batch".to_owned(),
            seen: format!(
                "exactly {} in {} reports, with processors busy",
                claims.loss.unwrap_or(0.0),
                claims.same + 1
            ),
            since: found.moment(claims.same_since_ms),
            confidence: 0.9,
            message: "busy while its claimed progress is always the same".to_owned(),
        });
    }

    fn idle(&mut self, at_ms: u64, span_ms: u64, cores: f64, gpu: u32, found: &mut Sightings) {
        if cores >= IDLE_CORES || gpu > 0 {
            self.idle_ms = 0;
            self.idle_steps = 0;
            return;
        }
        self.idle_ms += span_ms;
        if self.idle_ms < IDLE_MS || self.idle_steps < IDLE_STEPS {
            return;
        }
        found.push(Sighting {
            kind: Kind::IdleClaims,
            signal: "cpu".to_owned(),
            severity: None,
            basis: Basis::Both,
            expected: format!("at least {IDLE_CORES} cores while steps are taken"),
            seen: format!("{cores:.3} cores for {} s, {} reports of steps", self.idle_ms / 1_000, self.idle_steps),
            since: found.moment(at_ms.saturating_sub(self.idle_ms)),
            confidence: 0.9,
            message: "claims steps while it does nothing".to_owned(),
        });
    }

    /// Use beyond everything since the start, for long.
    fn ranges(&mut self, at_ms: u64, span_ms: u64, cores: f64, usage: &Usage, before: &Usage, found: &mut Sightings) {
        let rate = |now: u64, then: u64| now.saturating_sub(then) as f64 / span_ms as f64 / 1_000.0;
        let measured = [
            ("cpu", "cores", cores, 0.5),
            ("memory", "MB", usage.memory_bytes as f64 / 1e6, 256.0),
            ("processes", "", usage.processes as f64, 16.0),
            ("written", "MB/s", rate(usage.written_bytes, before.written_bytes), 20.0),
        ];
        for (signal, unit, value, least) in measured {
            let range = self.ranges.entry(signal).or_default();
            if let Some((high, lasted_ms)) = range.push(span_ms, value, least) {
                found.push(Sighting {
                    kind: Kind::UsageShift,
                    signal: signal.to_owned(),
                    severity: None,
                    basis: Basis::Observed,
                    expected: format!("at most {high:.1} {unit}, as in the {} min before", range.learned_ms / 60_000),
                    seen: format!("{value:.1} {unit} for {} s", lasted_ms / 1_000),
                    since: found.moment(at_ms.saturating_sub(lasted_ms)),
                    confidence: 0.85,
                    message: format!("`{signal}` stays at twice its highest since the start, or above"),
                });
            }
        }
    }
}

impl Range {
    /// Takes a value; the highest before and how long it has been beyond, once that is long enough.
    fn push(&mut self, span_ms: u64, value: f64, least: f64) -> Option<(f64, u64)> {
        let beyond = self.learned_ms >= LEARN_MS && value > 2.0 * self.high && value > least;
        if !beyond {
            self.beyond_ms = 0;
            self.high = self.high.max(value);
            self.learned_ms += span_ms;
            return None;
        }
        self.beyond_min = if self.beyond_ms == 0 { value } else { self.beyond_min.min(value) };
        self.beyond_ms += span_ms;
        if self.beyond_ms < BEYOND_MS {
            return None;
        }
        let told = (self.high, self.beyond_ms);
        if self.beyond_ms >= ADOPT_MS {
            self.high = self.beyond_min;
            self.beyond_ms = 0;
        }
        Some(told)
    }
}

/// Cores from which on a job is busy.
const BUSY_CORES: f64 = 0.6;
/// The same while it waits for a core at least this part of the time, in percent.
const PRESSED_PERCENT: f64 = 40.0;
/// Cores from which on it is busy then.
const PRESSED_CORES: f64 = 0.2;
/// Percent of use from which on a graphics processor is busy.
const BUSY_GPU: u32 = 50;
/// Cores below which no step is taken.
const IDLE_CORES: f64 = 0.002;
/// Idle time with steps until it is told, in milliseconds.
const IDLE_MS: u64 = 20_000;
/// Reports of steps in that time.
const IDLE_STEPS: u64 = 8;
/// Shortest pause after progress that can be a stall, in milliseconds: evaluations are long.
const STALL_MS: u64 = 15 * 60 * 1_000;
/// Reports with the same numbers until they explain nothing.
const SAME_MAX: u32 = 24;
/// Time for which they are the same, in milliseconds.
const SAME_MS: u64 = 15_000;
/// Bytes from storage that speak for inputs.
const STORED_BYTES: u64 = 1 << 20;
/// Samples closer together than this say nothing about rates, in milliseconds.
const SPAN_MS_MIN: u64 = 200;
/// A longer gap between samples counts as this, in milliseconds: nobody looked.
const SPAN_MS_MAX: u64 = 5_000;
/// Time in which a range is learned, in milliseconds.
const LEARN_MS: u64 = 10 * 60 * 1_000;
/// Time beyond it until it is told, in milliseconds.
const BEYOND_MS: u64 = 60 * 1_000;
/// Time after which what was beyond is the new range, in milliseconds.
const ADOPT_MS: u64 = 10 * 60 * 1_000;
