//! Use of processors against progress: the miner's signature.
//!
//! A job that works hard is suspect in so far as nothing speaks for training. What speaks for it, weightiest first: it opened
//! its inputs or received data (seen by the kernel), it moves data, it has the size of a program with libraries for numbers,
//! its use is not as even as one loop's from the first seconds on, it says how it goes in a way that varies as training does,
//! it prints. Each makes the patience longer. Jobs that make their own data, as learners by reward do, open no inputs for
//! good: of those only what is flat out from its beginning is told. Loading, compiling and evaluating are busy without a
//! word, so silence after progress is measured against the job's own pauses.

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
    /// The plan gives it inputs.
    given: bool,
    cores: Option<f64>,
    last: Option<(u64, Usage)>,
    used_cores: Option<f64>,
    gpu_percent: Option<f64>,
    inputs_opened: bool,
    work: Work,
    flat: Flat,
    claims: Claims,
}

/// Use between two samples.
#[derive(Debug, Clone, Default)]
pub(super) struct Load {
    pub(super) span_ms: u64,
    pub(super) cores: f64,
    /// Busiest graphics processor in percent, and memory of all of them in bytes.
    pub(super) gpu: Option<f64>,
    pub(super) gpu_memory: u64,
    /// Resident memory and processes as of now.
    pub(super) memory: u64,
    pub(super) processes: u64,
    /// Bytes in this time.
    pub(super) read: u64,
    pub(super) written: u64,
    pub(super) received: u64,
}

/// What the kernel saw besides use.
#[derive(Debug, Clone, Default)]
struct Work {
    lines: u64,
    written: bool,
    memory: u64,
    read_bytes: u64,
    written_bytes: u64,
    received_bytes: u64,
    /// Bytes read, received and written when that last spoke for training.
    explained_bytes: u64,
    /// Busy time since something spoke for training, in milliseconds.
    unexplained_ms: u64,
    /// Busy time since the start, in milliseconds.
    busy_ms: u64,
    since_ms: u64,
}

/// For how long use was as even as only a loop makes it.
#[derive(Debug, Clone, Default)]
struct Flat {
    since_ms: u64,
    lasted_ms: u64,
    cores: f64,
    gpu: f64,
    memory: f64,
    processes: u64,
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
    varied: bool,
}

impl Flat {
    /// Takes the use since the last sample; who is `pressed` has others beside it, and gets its cores unevenly.
    fn push(&mut self, at_ms: u64, load: &Load, pressed: bool) {
        let gpu = load.gpu.unwrap_or(0.0);
        let near = |now: f64, then: f64, part: f64, least: f64| (now - then).abs() <= (part * then).max(least);
        let even = (pressed || near(load.cores, self.cores, 0.15, 0.1))
            && near(gpu, self.gpu, 0.0, 5.0)
            && near(load.memory as f64, self.memory, 0.03, 4e6)
            && load.processes == self.processes;
        if even {
            self.lasted_ms += load.span_ms;
        } else {
            let memory = load.memory as f64;
            *self = Self { since_ms: at_ms, lasted_ms: 0, cores: load.cores, gpu, memory, processes: load.processes };
        }
    }

    /// Whether it is flat out, too, and was before any training has its libraries.
    fn is_out(&self) -> bool {
        self.since_ms <= FLAT_FROM_MS && self.lasted_ms >= FLAT_MS && (self.cores >= FLAT_CORES || self.gpu >= FLAT_GPU)
    }
}

impl Compute {
    pub(super) fn new(expected: &Expectations) -> Self {
        Self {
            reports: expected.reports,
            inputs: expected.inputs.clone(),
            reads_seen: expected.reads_seen.unwrap_or(false),
            given: expected.has_inputs == Some(true),
            cores: expected.cores,
            last: None,
            used_cores: None,
            gpu_percent: None,
            inputs_opened: false,
            work: Work::default(),
            flat: Flat::default(),
            claims: Claims::default(),
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
        // The first word ends a pause as well: from the start to it.
        claims.gap_max_ms = claims.gap_max_ms.max(at_ms.saturating_sub(claims.last_ms));
        claims.count += 1;
        claims.last_ms = at_ms;
        claims.step = progress.step.unwrap_or(claims.step);
        if let Some(loss) = progress.loss {
            claims.loss = Some(loss);
            let fingerprint = (loss.to_bits(), progress.gradient_norm.map_or(0, f64::to_bits));
            claims.varied |= claims.fingerprint.is_some_and(|before| before != fingerprint);
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

    /// Takes a sample; the use since the one before, where they are far enough apart to say something.
    pub(super) fn sample(&mut self, at_ms: u64, usage: &Usage, found: &mut Sightings) -> Option<Load> {
        let (before_ms, before) = self.last.replace((at_ms, usage.clone()))?;
        let span_ms = at_ms.saturating_sub(before_ms);
        if span_ms < SPAN_MS_MIN {
            // Two samples at once say nothing about rates: keep the older.
            self.last = Some((before_ms, before));
            return None;
        }
        let load = Load {
            span_ms: span_ms.min(SPAN_MS_MAX),
            cores: usage.cpu_ms.saturating_sub(before.cpu_ms) as f64 / span_ms as f64,
            gpu: usage.gpus.iter().map(|gpu| f64::from(gpu.busy_percent)).reduce(f64::max),
            gpu_memory: usage.gpus.iter().fold(0, |all, gpu| all.saturating_add(gpu.memory_bytes)),
            memory: usage.memory_bytes,
            processes: usage.processes,
            read: usage.read_bytes.saturating_sub(before.read_bytes),
            written: usage.written_bytes.saturating_sub(before.written_bytes),
            received: usage.received_bytes.saturating_sub(before.received_bytes),
        };
        self.used_cores = Some(load.cores);
        self.gpu_percent = load.gpu;
        let pressed = usage.pressure.is_some_and(|pressure| pressure.cpu >= PRESSED_PERCENT);
        self.flat.push(at_ms, &load, pressed);
        let untouched = self.untouched();
        let work = &mut self.work;
        work.memory = work.memory.max(usage.memory_bytes);
        work.read_bytes = usage.read_bytes;
        work.written_bytes = usage.written_bytes;
        work.received_bytes = usage.received_bytes;
        // Data that goes in or comes out speaks for itself, whatever the job says.
        let fed = usage.received_bytes.saturating_add(usage.read_bytes).saturating_add(usage.written_bytes);
        if !untouched && fed.saturating_sub(work.explained_bytes) >= FEED_BYTES {
            work.explained_bytes = fed;
            work.unexplained_ms = 0;
        }
        // Beside other work a busy job does not get its cores: it waits for them, and that shows as pressure.
        let held_up = pressed && load.cores >= PRESSED_CORES;
        let busy = load.cores >= BUSY_CORES || held_up || load.gpu.is_some_and(|gpu| gpu >= BUSY_GPU);
        if busy {
            if work.unexplained_ms == 0 {
                work.since_ms = before_ms;
            }
            work.unexplained_ms += load.span_ms;
            work.busy_ms += load.span_ms;
        }
        self.unexplained(busy, found);
        Some(load)
    }

    pub(super) fn signals(&self, signals: &mut Vec<Signal>) {
        let allowed = self.cores.map_or_else(|| "with progress".to_owned(), |cores| format!("at most {cores} cores"));
        signals.push(line("cpu", "cores", self.used_cores, Some(allowed), Basis::Observed));
        if self.gpu_percent.is_some() {
            signals.push(line("gpu", "%", self.gpu_percent, Some("with progress".to_owned()), Basis::Observed));
        }
    }

    /// Whether the kernel would have told of opened inputs and did not, and none came from elsewhere.
    fn unread(&self) -> bool {
        self.reads_seen && !self.fed()
    }

    /// Whether it was given inputs and has left them alone, as far as the kernel tells.
    fn untouched(&self) -> bool {
        self.given && self.unread()
    }

    /// Whether there is anything that it could train on: opened inputs, or data from hosts that the plan allows.
    fn fed(&self) -> bool {
        self.inputs_opened || self.work.received_bytes >= FED_BYTES
    }

    /// How long the job may be busy with nothing that speaks for training, in milliseconds, and how sure one is then.
    fn patience(&self) -> Option<(u64, Severity, f64)> {
        let work = &self.work;
        let talked = work.lines > 0;
        // A burner is small, even, and loads nothing; a training brings its libraries.
        let loaded = work.read_bytes >= LOADED_BYTES;
        let body = loaded || work.memory >= BODY_BYTES;
        let claims = self.claims.count > 0;
        if self.untouched() {
            return match (loaded, talked || work.written) {
                // Libraries come from storage before data does.
                (true, _) => Some((LOADING_MS, Severity::Medium, 0.9)),
                (false, true) if !claims => Some((90_000, Severity::Medium, 0.9)),
                (false, _) => Some((20_000, Severity::High, 0.97)),
            };
        }
        if self.unread() {
            return match (claims, talked || work.written) {
                // It may make its own data: an environment that it learns in, a simulation.
                (true, _) if body => {
                    let burns = !loaded && self.flat.is_out() && self.flat.lasted_ms >= BURNS_MS;
                    burns.then_some((BURNS_MS, Severity::Medium, 0.85))
                }
                (true, _) => Some((20_000, Severity::High, 0.97)),
                (_, true) if loaded || (body && work.written) => None,
                (_, true) => Some((if body { STALL_MS } else { 90_000 }, Severity::Medium, 0.9)),
                _ if body && (loaded || !self.flat.is_out()) => Some((BEGUN_MS, Severity::Medium, 0.85)),
                _ if body || self.reports == Reports::Silent => Some((25_000, Severity::Medium, 0.9)),
                _ => Some((20_000, Severity::High, 0.97)),
            };
        }
        if claims {
            let own = self.claims.gap_max_ms.saturating_mul(10);
            let evaluation = work.busy_ms / 4;
            return Some((STALL_MS.max(own).max(evaluation), Severity::Medium, 0.8));
        }
        let stored = work.read_bytes >= STORED_BYTES || work.written_bytes >= STORED_BYTES;
        match self.reports {
            Reports::Silent => None,
            Reports::Expected if !self.fed() && !talked && !stored => Some((20_000, Severity::High, 0.95)),
            Reports::Expected => Some((STALL_MS, Severity::Medium, 0.85)),
            Reports::Unknown if self.fed() || talked || stored || work.written => None,
            Reports::Unknown if body && !self.flat.is_out() => Some((BEGUN_MS, Severity::Medium, 0.7)),
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
            || self.gpu_percent.is_some_and(|gpu| gpu >= BUSY_GPU);
        // Short numbers, and losses that have come to rest, stay the same by themselves for a while.
        let short = claims.loss.is_some_and(|loss| format!("{loss:e}").bytes().take_while(|b| *b != b'e').count() < 5);
        let many = if claims.varied || self.inputs_opened { 8 * SAME_MAX } else { SAME_MAX };
        let natural = short && (claims.varied || self.inputs_opened);
        if claims.same < many || lasted_ms < SAME_MS || !busy || natural {
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
}

/// Cores from which on a job is busy.
const BUSY_CORES: f64 = 0.6;
/// The same while it waits for a core at least this part of the time, in percent.
const PRESSED_PERCENT: f64 = 40.0;
/// Cores from which on it is busy then.
const PRESSED_CORES: f64 = 0.2;
/// Percent of use from which on a graphics processor is busy.
const BUSY_GPU: f64 = 50.0;
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
/// Shortest pause after progress that can be a stall, in milliseconds: evaluations are long.
const STALL_MS: u64 = 30 * 60 * 1_000;
/// Bytes from allowed hosts that one can train on.
const FED_BYTES: u64 = 16 << 20;
/// Bytes that went in or out since that last spoke for training.
const FEED_BYTES: u64 = 1 << 20;
/// Time in which a training of size opens its inputs or says a word, in milliseconds: libraries load, models compile.
const BEGUN_MS: u64 = 10 * 60 * 1_000;
/// Time in which a program that comes from storage with its libraries opens its inputs, in milliseconds.
const LOADING_MS: u64 = 2 * 60 * 1_000;
/// Bytes from storage that a program with its libraries has.
const LOADED_BYTES: u64 = 16 << 20;
/// Memory of an interpreter with libraries for numbers, in bytes.
const BODY_BYTES: u64 = 32 << 20;
/// Time for which use is even, in milliseconds: the first step of most trainings is over then.
const FLAT_MS: u64 = 18_000;
/// Time for which use is even where a job says that it trains, in milliseconds: learners act and learn in turn.
const BURNS_MS: u64 = 60_000;
/// Latest beginning of it, in milliseconds.
const FLAT_FROM_MS: u64 = 8_000;
/// Cores from which on use can be flat out.
const FLAT_CORES: f64 = 1.5;
/// The same for a graphics processor, in percent.
const FLAT_GPU: f64 = 95.0;
