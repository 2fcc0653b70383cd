//! What a run looked like: one bounded series per signal, and the marks on its time line.
//!
//! [`Record::take`] reads telemetry line by line, live or from the store; pictures are drawn from what it holds. A series
//! that is full halves its resolution and keeps the extremes, so memory stays constant and a spike stays visible. What the
//! kernel told and what the job claimed are different signals, and each says whose word it is.

use std::collections::BTreeMap;

use ringfence_schema::{
    Severity,
    alert::{Alert, Basis, TelemetryLine},
    event::{Change, Claimed, Observed, Progress, RunEvent, Source, Usage},
    finding::printable,
};

/// All signals and marks of a run.
#[derive(Debug, Clone, Default)]
pub struct Record {
    signals: BTreeMap<SignalKey, Series>,
    marks: Vec<Mark>,
    unlisted_marks: u64,
    before: Option<(u64, Usage)>,
    started_ms: Option<u64>,
    last_ms: u64,
    ended: bool,
}

/// What a series is of: who says so comes first, so that facts are listed before claims.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct SignalKey {
    basis: Basis,
    name: String,
    unit: &'static str,
}

/// One signal with its points.
#[derive(Debug, Clone, Copy)]
pub struct Signal<'a> {
    /// Such as `cpu`, `memory`, `loss`.
    pub name: &'a str,
    /// Unit of the values: `cores`, `MiB`, `MiB/s`, `%`; empty for plain numbers.
    pub unit: &'static str,
    /// Who says so.
    pub basis: Basis,
    /// The points, by time.
    pub points: &'a [Point],
}

impl Signal<'_> {
    /// The newest value.
    pub fn latest(&self) -> Option<f64> {
        self.points.last().map(|point| point.last)
    }
}

/// A stretch of time in one series.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    /// Its beginning, in milliseconds since the run began.
    pub at_ms: u64,
    /// Least value in it.
    pub low: f64,
    /// Greatest value in it.
    pub high: f64,
    /// Last value in it.
    pub last: f64,
}

/// Something that happened at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// Milliseconds since the run began.
    pub at_ms: u64,
    /// What kind of thing.
    pub kind: MarkKind,
    /// Who says so.
    pub basis: Basis,
    /// In a few words, fit to print.
    pub text: String,
}

/// What a mark stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum MarkKind {
    /// The command began or ended.
    Phase,
    /// A file was written for keeps.
    Checkpoint,
    /// Something was refused.
    Refusal,
    /// A limit was reached.
    Limit,
    /// An alert of this severity.
    Alert(Severity),
}

#[derive(Debug, Clone)]
struct Series {
    points: Vec<Point>,
    /// Points that one stretch may take in, and that the last one has.
    stride: u32,
    filled: u32,
}

impl Series {
    fn push(&mut self, at_ms: u64, value: f64) {
        if !value.is_finite() {
            return;
        }
        if self.filled < self.stride
            && let Some(last) = self.points.last_mut()
        {
            *last = Point { low: last.low.min(value), high: last.high.max(value), last: value, ..*last };
            self.filled += 1;
            return;
        }
        if self.points.len() >= POINTS_MAX {
            self.halve();
        }
        self.points.push(Point { at_ms, low: value, high: value, last: value });
        self.filled = 1;
    }

    fn halve(&mut self) {
        let join = |pair: &[Point]| {
            let first = pair.first().copied()?;
            let second = pair.last().copied()?;
            Some(Point {
                at_ms: first.at_ms,
                low: first.low.min(second.low),
                high: first.high.max(second.high),
                last: second.last,
            })
        };
        self.points = self.points.chunks(2).filter_map(join).collect();
        self.stride = self.stride.saturating_mul(2);
    }
}

impl Record {
    /// A record of nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next line of telemetry; lines come by time.
    pub fn take(&mut self, line: &TelemetryLine) {
        match line {
            TelemetryLine::Event(event) => self.event(event),
            TelemetryLine::Alert { alert } => self.alert(alert),
        }
    }

    /// All signals: facts first, then claims, each by name.
    pub fn signals(&self) -> impl Iterator<Item = Signal<'_>> {
        self.signals.iter().map(|(key, series)| Signal {
            name: &key.name,
            unit: key.unit,
            basis: key.basis,
            points: &series.points,
        })
    }

    /// Marks in the order in which they came.
    pub fn marks(&self) -> &[Mark] {
        &self.marks
    }

    /// How many marks there were beyond those that are kept.
    pub const fn unlisted_marks(&self) -> u64 {
        self.unlisted_marks
    }

    /// The last moment heard of, in milliseconds since the run began.
    pub const fn last_ms(&self) -> u64 {
        self.last_ms
    }

    /// Whether the command has ended.
    pub const fn has_ended(&self) -> bool {
        self.ended
    }

    fn event(&mut self, event: &RunEvent) {
        let at_ms = event.at_ms;
        self.last_ms = self.last_ms.max(at_ms);
        match &event.source {
            Source::Observed(observed) => self.observed(at_ms, observed),
            Source::Claimed(Claimed::Progress(progress)) => self.progress(at_ms, progress),
            Source::Claimed(_) => {}
        }
    }

    fn observed(&mut self, at_ms: u64, observed: &Observed) {
        match observed {
            Observed::Started { level, .. } => {
                self.started_ms = Some(at_ms);
                self.mark(at_ms, MarkKind::Phase, Basis::Observed, format!("started at level {level}"));
            }
            Observed::Sample(usage) => self.usage(at_ms, usage),
            Observed::Egress(egress) => {
                if let Some(reason) = &egress.refused {
                    let to = egress.name.as_deref().or(egress.address.as_deref()).unwrap_or("?");
                    self.mark(at_ms, MarkKind::Refusal, Basis::Observed, format!("egress to {to}: {reason}"));
                }
            }
            Observed::File(file) if matches!(file.change, Change::Written | Change::Renamed) => {
                self.mark(at_ms, MarkKind::Checkpoint, Basis::Observed, format!("wrote {}", file.path));
            }
            Observed::Collected { path, .. } => {
                self.mark(at_ms, MarkKind::Checkpoint, Basis::Observed, format!("collected {path}"));
            }
            Observed::Refused { detail } => {
                self.mark(at_ms, MarkKind::Refusal, Basis::Observed, detail.clone());
            }
            Observed::NotCollected { path, reason } => {
                self.mark(at_ms, MarkKind::Refusal, Basis::Observed, format!("{path}: {reason}"));
            }
            Observed::Limit { detail } => self.mark(at_ms, MarkKind::Limit, Basis::Observed, detail.clone()),
            Observed::Exited { code, signal } => {
                self.ended = true;
                let how = match (code, signal) {
                    (Some(code), _) => format!("ended with exit code {code}"),
                    (None, Some(signal)) => format!("ended by signal {signal}"),
                    (None, None) => "ended".to_owned(),
                };
                self.mark(at_ms, MarkKind::Phase, Basis::Observed, how);
            }
            Observed::File(_) => {}
        }
    }

    fn usage(&mut self, at_ms: u64, usage: &Usage) {
        let mut put = |name: &str, unit, value| self.push(Basis::Observed, name, unit, at_ms, value);
        put("memory", "MiB", usage.memory_bytes as f64 / MIB);
        put("processes", "", usage.processes as f64);
        if let Some(bytes) = usage.output_bytes {
            put("output", "MiB", bytes as f64 / MIB);
        }
        if let Some(pressure) = usage.pressure {
            put("pressure cpu", "%", pressure.cpu);
            put("pressure memory", "%", pressure.memory);
            put("pressure disk", "%", pressure.io);
        }
        for gpu in &usage.gpus {
            put(&format!("gpu {}", gpu.index), "%", f64::from(gpu.busy_percent));
            put(&format!("gpu {} memory", gpu.index), "MiB", gpu.memory_bytes as f64 / MIB);
        }
        if let Some((before_ms, before)) = self.before.take()
            && at_ms > before_ms
        {
            let seconds = (at_ms - before_ms) as f64 / 1e3;
            let mut rate = |name: &str, unit, now: u64, then: u64, per: f64| {
                let value = now.saturating_sub(then) as f64 / per / seconds;
                self.push(Basis::Observed, name, unit, at_ms, value);
            };
            rate("cpu", "cores", usage.cpu_ms, before.cpu_ms, 1e3);
            rate("disk read", "MiB/s", usage.read_bytes, before.read_bytes, MIB);
            rate("disk write", "MiB/s", usage.written_bytes, before.written_bytes, MIB);
            rate("sent", "KiB/s", usage.sent_bytes, before.sent_bytes, KIB);
            rate("received", "KiB/s", usage.received_bytes, before.received_bytes, KIB);
            rate("refused calls", "/s", usage.refused_calls, before.refused_calls, 1.0);
        }
        self.before = Some((at_ms, usage.clone()));
    }

    fn progress(&mut self, at_ms: u64, progress: &Progress) {
        let mut put = |name: &str, value: Option<f64>| {
            if let Some(value) = value {
                self.push(Basis::Claimed, name, "", at_ms, value);
            }
        };
        put("step", progress.step.map(|step| step as f64));
        put("epoch", progress.epoch);
        put("loss", progress.loss);
        put("evaluation loss", progress.evaluation_loss);
        put("learning rate", progress.learning_rate);
        put("gradient norm", progress.gradient_norm);
        if let Some(path) = &progress.checkpoint {
            self.mark(at_ms, MarkKind::Checkpoint, Basis::Claimed, format!("says it wrote {path}"));
        }
        if progress.diverged {
            self.mark(at_ms, MarkKind::Phase, Basis::Claimed, "says that it diverged".to_owned());
        }
    }

    fn alert(&mut self, alert: &Alert) {
        let text = format!("{} {}: {}", alert.rule, alert.kind, alert.message);
        self.mark(self.last_ms, MarkKind::Alert(alert.severity), alert.basis, text);
    }

    fn push(&mut self, basis: Basis, name: &str, unit: &'static str, at_ms: u64, value: f64) {
        let key = SignalKey { basis, name: name.to_owned(), unit };
        if self.signals.len() >= SIGNALS_MAX && !self.signals.contains_key(&key) {
            return;
        }
        let empty = || Series { points: Vec::new(), stride: 1, filled: 0 };
        self.signals.entry(key).or_insert_with(empty).push(at_ms, value);
    }

    fn mark(&mut self, at_ms: u64, kind: MarkKind, basis: Basis, text: String) {
        // Refusals can come by the thousand; alerts and ends must not be lost behind them.
        let room = if matches!(kind, MarkKind::Refusal | MarkKind::Checkpoint) { MARKS_MAX / 2 } else { MARKS_MAX };
        if self.marks.len() >= room {
            self.unlisted_marks += 1;
            return;
        }
        self.marks.push(Mark { at_ms, kind, basis, text: printable(&text, MARK_CHARS_MAX) });
    }
}

const MIB: f64 = 1_048_576.0;
const KIB: f64 = 1_024.0;
/// Most points of one series; above it two become one.
const POINTS_MAX: usize = 2_048;
/// Most signals of one run.
const SIGNALS_MAX: usize = 128;
/// Most marks of one run.
const MARKS_MAX: usize = 2_000;
/// Longest text of a mark, in characters.
const MARK_CHARS_MAX: usize = 300;

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(at_ms: u64, cpu_ms: u64) -> TelemetryLine {
        let usage = Usage { cpu_ms, memory_bytes: 1 << 20, ..Usage::default() };
        TelemetryLine::Event(RunEvent { at_ms, source: Source::Observed(Observed::Sample(usage)) })
    }

    #[test]
    fn counters_become_rates_and_a_spike_survives_halving() {
        let mut record = Record::new();
        let mut cpu = 0;
        for second in 0..10_000_u64 {
            cpu += if second == 5_000 { 16_000 } else { 500 };
            record.take(&sample(second * 1_000, cpu));
        }
        let signal = record.signals().find(|signal| signal.name == "cpu").expect("cpu");
        assert!(signal.points.len() <= POINTS_MAX && signal.points.len() > POINTS_MAX / 4);
        let high = signal.points.iter().map(|point| point.high).fold(0.0, f64::max);
        let low = signal.points.iter().map(|point| point.low).fold(f64::MAX, f64::min);
        assert!((high - 16.0).abs() < 1e-9 && (low - 0.5).abs() < 1e-9, "{high} {low}");
        assert_eq!(signal.latest(), Some(0.5));
        assert!(signal.points.is_sorted_by_key(|point| point.at_ms));
    }

    #[test]
    fn refusals_leave_room_for_the_end() {
        let mut record = Record::new();
        for at_ms in 0..5_000 {
            let refused = Observed::Refused { detail: "mount".into() };
            record.take(&TelemetryLine::Event(RunEvent { at_ms, source: Source::Observed(refused) }));
        }
        let exited = Observed::Exited { code: Some(0), signal: None };
        record.take(&TelemetryLine::Event(RunEvent { at_ms: 6_000, source: Source::Observed(exited) }));
        assert_eq!(record.marks().len(), MARKS_MAX / 2 + 1);
        assert_eq!(record.unlisted_marks(), 5_000 - MARKS_MAX as u64 / 2);
        assert!(record.has_ended());
    }
}
