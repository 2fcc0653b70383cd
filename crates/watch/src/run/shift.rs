//! Work beside training, or in its place: use beyond everything before while the same steps go on.
//!
//! Evaluations, exports and other phases use what they like, so nothing is learned or told while no steps come, and another
//! training learns anew. What is told within half a minute needs more than one sign: many more cores at a stroke, evenly,
//! for steps that come no faster, with nothing more read, written or received; or a graphics processor that is flat out with
//! far less memory than training had on it, and no more data from storage.

use std::collections::BTreeMap;

use ringfence_schema::{Severity, alert::Basis, event::Progress};

use super::{Sightings, compute::Load};
use crate::{book::Sighting, rules::Kind, stats::Recent};

/// Holds use against what the same training used before.
#[derive(Debug, Clone, Default)]
pub(super) struct Shift {
    pace: Pace,
    /// Time in which steps came, since this training began, in milliseconds.
    trained_ms: u64,
    ranges: BTreeMap<&'static str, Range>,
    cores: Highest,
    /// Bytes read, written and received in a second, lately.
    traffic: Recent<64>,
    beside: Beside,
    gpu: Graphics,
}

/// How fast steps come.
#[derive(Debug, Clone, Default)]
struct Pace {
    last: Option<(u64, f64)>,
    gap_max_ms: u64,
    /// Steps, or passes where they are told, in a second, by report.
    rates: Recent<32>,
    epochs: bool,
    reports: u64,
    /// When the latest pass began.
    turned_ms: Option<u64>,
}

/// The highest use of cores that lasted, over three samples.
#[derive(Debug, Clone, Default)]
struct Highest {
    newest: Recent<3>,
    high: f64,
}

/// A span with more cores than ever.
#[derive(Debug, Clone, Default)]
struct Beside {
    since_ms: u64,
    lasted_ms: u64,
    samples: u32,
    low: f64,
    high: f64,
    rates: Recent<32>,
    bytes: f64,
}

/// The graphics processors while steps come.
#[derive(Debug, Clone, Default)]
struct Graphics {
    memory_low: Option<u64>,
    settled_ms: u64,
    fed: Recent<64>,
    /// A span in which they are flat out and hold far less.
    since_ms: u64,
    foreign_ms: u64,
    memory: u64,
}

/// The range that a measurement kept to.
#[derive(Debug, Clone, Default)]
struct Range {
    high: f64,
    learned_ms: u64,
    beyond_ms: u64,
    beyond_min: f64,
    reports: u64,
}

impl Shift {
    /// Takes a report; `anew` where training begins anew with it.
    pub(super) fn progress(&mut self, at_ms: u64, progress: &Progress, anew: bool) {
        if anew {
            *self = Self {
                cores: Highest { newest: Recent::default(), high: self.cores.high },
                pace: Pace { gap_max_ms: self.pace.gap_max_ms, ..Pace::default() },
                ..Self::default()
            };
        }
        if let Some(rate) = self.pace.push(at_ms, progress) {
            if self.beside.lasted_ms > 0 {
                self.beside.rates.push(rate);
            } else {
                self.pace.rates.push(rate);
            }
        }
    }

    pub(super) fn sample(&mut self, at_ms: u64, load: &Load, found: &mut Sightings) {
        let training = self.pace.goes_on(at_ms);
        if training {
            self.trained_ms += load.span_ms;
            self.ranges(at_ms, load, found);
            self.beside(at_ms, load, found);
        } else {
            self.beside = Beside::default();
        }
        self.graphics(at_ms, load, training, found);
        if self.beside.lasted_ms == 0 {
            let second = load.span_ms.max(1) as f64 / 1_000.0;
            self.traffic.push((load.read + load.written + load.received) as f64 / second);
        }
    }

    /// Use beyond everything since training began, for long.
    fn ranges(&mut self, at_ms: u64, load: &Load, found: &mut Sightings) {
        let measured = [
            ("cpu", "cores", load.cores, 0.5),
            ("memory", "MB", load.memory as f64 / 1e6, 256.0),
            ("processes", "", load.processes as f64, 16.0),
        ];
        for (signal, unit, value, least) in measured {
            let range = self.ranges.entry(signal).or_default();
            if let Some((high, lasted_ms)) = range.push(load.span_ms, value, least, self.pace.reports) {
                found.push(Sighting {
                    kind: Kind::UsageShift,
                    signal: signal.to_owned(),
                    severity: None,
                    basis: Basis::Observed,
                    expected: format!("at most {high:.1} {unit}, as in the {} min before", range.learned_ms / 60_000),
                    seen: format!("{value:.1} {unit} for {} s", lasted_ms / 1_000),
                    since: found.moment(at_ms.saturating_sub(lasted_ms)),
                    confidence: 0.85,
                    message: format!("`{signal}` stays at twice its highest since training began, or above"),
                });
            }
        }
    }

    fn beside(&mut self, at_ms: u64, load: &Load, found: &mut Sightings) {
        let high = self.cores.high;
        let beyond = self.trained_ms >= KNOWN_MS && load.cores > (BESIDE * high).max(high + BESIDE_CORES);
        if !beyond {
            self.beside = Beside::default();
            self.cores.push(load.cores);
            return;
        }
        let beside = &mut self.beside;
        // The first sample began before it did.
        if beside.lasted_ms == 0 {
            beside.since_ms = at_ms.saturating_sub(load.span_ms);
        }
        if beside.samples < 2 {
            (beside.low, beside.high) = (load.cores, load.cores);
        }
        beside.samples = beside.samples.saturating_add(1);
        beside.lasted_ms += load.span_ms;
        beside.low = beside.low.min(load.cores);
        beside.high = beside.high.max(load.cores);
        beside.bytes += (load.read + load.written + load.received) as f64;
        let seconds = beside.lasted_ms as f64 / 1_000.0;
        // Workers that start at a stroke feed steps that come faster; whoever compresses or evaluates beside moves data.
        let traffic = self.traffic.centre(0).map_or(0.0, |(median, deviation)| median + 3.0 * deviation);
        let more_data = beside.bytes / seconds > 1.5 * traffic + 1e6;
        let even = beside.high <= 1.4 * beside.low;
        let usual = self.pace.rates.newest(32).filter(|_| self.pace.rates.len() >= 6);
        // Steps must come all the while: an evaluation is busy, too.
        let stepped = beside.rates.len() >= 2
            && self.pace.last.is_some_and(|(last_ms, _)| last_ms >= beside.since_ms + BESIDE_MS / 2);
        let no_faster = stepped && beside.rates.newest(32).zip(usual).is_some_and(|(now, usual)| now <= 1.08 * usual);
        // Other batches, larger images, more layers come with another pass.
        let turned = self.pace.turned_ms.is_some_and(|turned_ms| turned_ms.abs_diff(beside.since_ms) <= TURN_MS);
        let told = beside.lasted_ms >= BESIDE_MS && even && no_faster && !more_data && !turned;
        if told {
            found.push(Sighting {
                kind: Kind::Miner,
                signal: "cpu".to_owned(),
                severity: Some(Severity::Medium),
                basis: Basis::Both,
                expected: format!("at most about {high:.1} cores for these steps, as before"),
                seen: format!("{:.1} cores for {seconds:.0} s, for steps that come no faster", load.cores),
                since: found.moment(beside.since_ms),
                confidence: 0.8,
                message: "many more cores are busy at a stroke, and training gains nothing by it".to_owned(),
            });
        }
        if beside.lasted_ms >= ADOPT_MS {
            self.cores.high = beside.high;
            self.beside = Beside::default();
        }
    }

    fn graphics(&mut self, at_ms: u64, load: &Load, training: bool, found: &mut Sightings) {
        let Some(busy) = load.gpu else { return };
        let usual = self.gpu.memory_low.filter(|_| self.gpu.settled_ms >= KNOWN_MS);
        let gpu = &mut self.gpu;
        let less = usual.is_some_and(|low| load.gpu_memory as f64 <= GRAPHICS_LESS * low as f64);
        let same = gpu.foreign_ms == 0 || load.gpu_memory.abs_diff(gpu.memory) <= gpu.memory / 50;
        if less && same && busy >= GRAPHICS_BUSY && load.read < 1 << 16 && load.received < 1 << 16 {
            if gpu.foreign_ms == 0 {
                gpu.since_ms = at_ms.saturating_sub(load.span_ms);
                gpu.memory = load.gpu_memory;
            }
            gpu.foreign_ms += load.span_ms;
        } else {
            gpu.foreign_ms = 0;
            // Models and batches take their place at the beginning; after that training keeps what it has.
            if training && busy >= 1.0 && !less {
                gpu.settled_ms += load.span_ms;
                if gpu.settled_ms >= SETTLED_MS {
                    gpu.memory_low = Some(gpu.memory_low.map_or(load.gpu_memory, |low| low.min(load.gpu_memory)));
                }
                gpu.fed.push(f64::from(u8::from(load.read + load.received > 0)));
            }
        }
        // Where data came all the time and comes no more, it is not the same program.
        let fed = gpu.fed.newest(64).is_some_and(|fed| fed > 0.5);
        let patience = if training { GRAPHICS_MS } else { GRAPHICS_MS.max(4 * self.pace.gap_max_ms) };
        if gpu.foreign_ms < patience || !fed {
            return;
        }
        found.push(Sighting {
            kind: Kind::Miner,
            signal: "gpu".to_owned(),
            severity: Some(Severity::Medium),
            basis: Basis::Both,
            expected: format!("{} MB on graphics processors, as in training", usual.unwrap_or(0) / 1_000_000),
            seen: format!("{} MB, {busy:.0} % busy for {} s", load.gpu_memory / 1_000_000, gpu.foreign_ms / 1_000),
            since: found.moment(gpu.since_ms),
            confidence: 0.85,
            message: "the graphics processor is flat out with something smaller than the training, which reads nothing"
                .to_owned(),
        });
    }
}

impl Pace {
    fn push(&mut self, at_ms: u64, progress: &Progress) -> Option<f64> {
        // A larger batch makes a pass of fewer steps, so passes say more.
        let (now, epochs) = match (progress.epoch.filter(|epoch| epoch.is_finite()), progress.step) {
            (Some(epoch), _) => (epoch, true),
            (None, Some(step)) => (step as f64, false),
            (None, None) => return None,
        };
        if epochs != self.epochs {
            self.rates = Recent::default();
            self.last = None;
            self.epochs = epochs;
        }
        let Some((before_ms, before)) = self.last else {
            self.last = Some((at_ms, now));
            return None;
        };
        let span_ms = at_ms.saturating_sub(before_ms);
        if now <= before {
            if now < before {
                self.last = Some((at_ms, now));
            }
            return None;
        }
        if span_ms < PACE_MS {
            return None;
        }
        self.gap_max_ms = self.gap_max_ms.max(span_ms);
        self.reports = self.reports.saturating_add(1);
        if epochs && now.floor() > before.floor() {
            self.turned_ms = Some(at_ms);
        }
        self.last = Some((at_ms, now));
        Some((now - before) / (span_ms as f64 / 1_000.0))
    }

    /// Whether steps come as they use to.
    fn goes_on(&self, at_ms: u64) -> bool {
        let patience = (2 * self.gap_max_ms).clamp(PACE_MS, PACE_MS_MAX);
        self.last.is_some_and(|(last_ms, _)| at_ms.saturating_sub(last_ms) <= patience)
    }
}

impl Highest {
    fn push(&mut self, cores: f64) {
        self.newest.push(cores);
        if let Some(median) = self.newest.newest(3) {
            self.high = self.high.max(median);
        }
    }
}

impl Range {
    /// Takes a value; the highest before and how long it has been beyond, once that is long enough.
    /// It must be while steps come, and not in a pause between them.
    fn push(&mut self, span_ms: u64, value: f64, least: f64, reports: u64) -> Option<(f64, u64)> {
        let beyond = self.learned_ms >= LEARN_MS && value > 2.0 * self.high && value > least;
        if !beyond {
            self.beyond_ms = 0;
            self.high = self.high.max(value);
            self.learned_ms += span_ms;
            return None;
        }
        if self.beyond_ms == 0 {
            self.reports = reports;
        }
        self.beyond_min = if self.beyond_ms == 0 { value } else { self.beyond_min.min(value) };
        self.beyond_ms += span_ms;
        if self.beyond_ms < BEYOND_MS || reports.saturating_sub(self.reports) < BEYOND_REPORTS {
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

/// Shortest span over which pace is taken, in milliseconds.
const PACE_MS: u64 = 3_000;
/// Longest pause that is not another phase, in milliseconds.
const PACE_MS_MAX: u64 = 120_000;
/// Time with steps in which the usual use is learned, in milliseconds.
const KNOWN_MS: u64 = 120_000;
/// Times the highest use of cores that is another's work.
const BESIDE: f64 = 1.6;
/// Cores above it that are.
const BESIDE_CORES: f64 = 1.5;
/// Time of it until it is told, in milliseconds.
const BESIDE_MS: u64 = 18_000;
/// Time around the beginning of a pass in which use may change, in milliseconds.
const TURN_MS: u64 = 10_000;
/// Percent from which on a graphics processor is flat out.
const GRAPHICS_BUSY: f64 = 97.0;
/// Share of the memory that training had on it.
const GRAPHICS_LESS: f64 = 0.7;
/// Time of it until it is told, in milliseconds.
const GRAPHICS_MS: u64 = 15_000;
/// Time after which memory has settled, in milliseconds.
const SETTLED_MS: u64 = 20_000;
/// Time in which a range is learned, in milliseconds.
const LEARN_MS: u64 = 10 * 60 * 1_000;
/// Time beyond it until it is told, in milliseconds.
const BEYOND_MS: u64 = 60 * 1_000;
/// Reports of steps in that time.
const BEYOND_REPORTS: u64 = 6;
/// Time after which what was beyond is the new range, in milliseconds.
const ADOPT_MS: u64 = 10 * 60 * 1_000;
