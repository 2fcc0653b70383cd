//! Steps by the job's own account: a count that hops back and forth, and steps faster than any processor takes them.

use std::collections::BTreeMap;

use ringfence_schema::{
    alert::Basis,
    event::{Progress, Told, Usage},
};

use super::{Sightings, line};
use crate::{Signal, book::Sighting, rules::Kind, stats::Recent};

/// Follows claimed steps.
#[derive(Debug, Clone, Default)]
pub(super) struct Steps {
    sources: BTreeMap<Told, Count>,
    cpu_ms: u64,
    /// Whether a graphics processor does the work.
    gpu: bool,
}

/// The steps that one source claims.
#[derive(Debug, Clone, Default)]
struct Count {
    last: u64,
    epoch: f64,
    gaps: Recent<16>,
    window: Option<(u64, u64, u64)>,
    rates: Recent<32>,
    returns: u32,
    returned_ms: u64,
}

impl Steps {
    pub(super) fn sample(&mut self, usage: &Usage) {
        self.cpu_ms = self.cpu_ms.max(usage.cpu_ms);
        self.gpu |= usage.gpus.iter().any(|gpu| gpu.busy_percent > 0);
    }

    /// Takes a report; `anew` where training begins anew with it, as it did `trials` times.
    pub(super) fn progress(&mut self, at_ms: u64, progress: &Progress, anew: bool, trials: u32, found: &mut Sightings) {
        let Some(step) = progress.step else { return };
        let (cpu_ms, gpu) = (self.cpu_ms, self.gpu);
        let count = self.sources.entry(progress.told).or_default();
        if anew {
            // The next training may be of a smaller model.
            count.rates = Recent::default();
        }
        // Of trainings that run side by side every one has its own count.
        count.returned(at_ms, step, progress.epoch, anew || trials >= TRIALS, found);
        if !gpu {
            count.speed(at_ms, step, cpu_ms, found);
        }
    }

    pub(super) fn signals(&self, signals: &mut Vec<Signal>) {
        let step = self.sources.values().map(|count| count.last).max();
        let expected = step.map(|_| "rising".to_owned());
        signals.push(line("step", "", step.map(|step| step as f64), expected, Basis::Claimed));
    }
}

impl Count {
    /// One return is a checkpoint that was gone back to; many within a short time are no training.
    fn returned(&mut self, at_ms: u64, step: u64, epoch: Option<f64>, anew: bool, found: &mut Sightings) {
        let epoch = epoch.unwrap_or(self.epoch);
        let gap = self.gaps.newest(16).unwrap_or(1.0).max(1.0);
        let back = self.last.saturating_sub(step) as f64;
        if back > 10.0 * gap && !anew && epoch <= self.epoch {
            if at_ms.saturating_sub(self.returned_ms) > RETURNS_MS {
                self.returns = 0;
            }
            self.returns = self.returns.saturating_add(1);
            self.returned_ms = at_ms;
            if self.returns >= RETURNS {
                found.push(Sighting {
                    kind: Kind::StepBackwards,
                    signal: "step".to_owned(),
                    severity: None,
                    basis: Basis::Claimed,
                    expected: format!("after step {}", self.last),
                    seen: format!("step {step}, the return {} of late", self.returns),
                    since: found.moment(at_ms),
                    confidence: 0.9,
                    message: format!("the job goes back again and again, now from step {} to {step}", self.last),
                });
            }
        }
        if step > self.last {
            self.gaps.push((step - self.last) as f64);
        } else if back > 0.0 {
            self.window = None;
        }
        self.last = step;
        self.epoch = epoch;
    }

    fn speed(&mut self, at_ms: u64, step: u64, cpu_ms: u64, found: &mut Sightings) {
        let Some((from_ms, from_step, from_cpu)) = self.window else {
            self.window = Some((at_ms, step, cpu_ms));
            return;
        };
        // Output comes in bursts, so speed is taken over spans, and against processor time.
        let (span_ms, worked_ms) = (at_ms.saturating_sub(from_ms), cpu_ms.saturating_sub(from_cpu));
        if span_ms < SPEED_SPAN_MS {
            return;
        }
        self.window = Some((at_ms, step, cpu_ms));
        let rate = step.saturating_sub(from_step) as f64 / (worked_ms.max(100) as f64 / 1_000.0);
        let usual = self.rates.newest(32).filter(|_| self.rates.len() >= 6);
        if rate > 0.0 {
            self.rates.push(rate);
        }
        let beyond = usual.is_some_and(|usual| rate > SPEED_FACTOR * usual) || rate > SPEED_MAX;
        if beyond {
            found.push(Sighting {
                kind: Kind::StepSpeed,
                signal: "step".to_owned(),
                severity: None,
                basis: Basis::Both,
                expected: usual.map_or_else(
                    || format!("below {SPEED_MAX:e} steps per second of processor time"),
                    |usual| format!("about {usual:.1} steps per second of processor time"),
                ),
                seen: format!("{rate:.1}"),
                since: found.moment(from_ms),
                confidence: 0.95,
                message: "steps are claimed faster than the processor could take them".to_owned(),
            });
        }
    }
}

/// Trainings from which on their counts may alternate.
const TRIALS: u32 = 2;
/// Returns to an earlier step that no training makes within [`RETURNS_MS`].
const RETURNS: u32 = 8;
/// Time in which returns add up, in milliseconds.
const RETURNS_MS: u64 = 10 * 60 * 1_000;
/// Span over which speed is taken, in milliseconds.
const SPEED_SPAN_MS: u64 = 30_000;
/// Times the usual speed that cannot be a shorter batch.
const SPEED_FACTOR: f64 = 100.0;
/// Steps per second of processor time that nothing reaches.
const SPEED_MAX: f64 = 1e6;
