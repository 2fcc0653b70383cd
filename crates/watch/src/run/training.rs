//! Loss, gradient norm and steps, by the job's own account.

use std::collections::BTreeMap;

use ringfence_schema::{
    Severity,
    alert::Basis,
    event::{Progress, Told, Usage},
};

use super::{Sightings, level::Level, line};
use crate::{
    Signal,
    book::Sighting,
    rules::Kind,
    stats::{Recent, confidence, signed_log},
};

/// Follows what a job says about its training.
#[derive(Debug, Clone)]
pub(super) struct Training {
    loss: Level,
    evaluation: Level,
    gradient: Level,
    last_loss: Option<f64>,
    last_gradient: Option<f64>,
    course: Course,
    small_gradients: u32,
    steps: BTreeMap<Told, Steps>,
    cpu_ms: u64,
    /// Whether a processor was seen at all, or a graphics processor does the work.
    gpu: bool,
}

/// The way of the loss since the start.
#[derive(Debug, Clone, Default)]
struct Course {
    first: Recent<32>,
    start: Option<f64>,
    recent: Recent<64>,
    best: Option<f64>,
    rising: u32,
    reports: u64,
    began_ms: u64,
    improved: bool,
}

/// The steps that one source claims.
#[derive(Debug, Clone, Default)]
struct Steps {
    last: u64,
    epoch: f64,
    gaps: Recent<16>,
    window: Option<(u64, u64, u64)>,
    rates: Recent<32>,
}

impl Default for Training {
    fn default() -> Self {
        Self {
            loss: Level::new(LOSS_FACTOR),
            evaluation: Level::new(LOSS_FACTOR),
            gradient: Level::new(GRADIENT_FACTOR),
            last_loss: None,
            last_gradient: None,
            course: Course::default(),
            small_gradients: 0,
            steps: BTreeMap::new(),
            cpu_ms: 0,
            gpu: false,
        }
    }
}

impl Training {
    pub(super) fn sample(&mut self, usage: &Usage) {
        self.cpu_ms = self.cpu_ms.max(usage.cpu_ms);
        self.gpu |= usage.gpus.iter().any(|gpu| gpu.busy_percent > 0);
    }

    pub(super) fn progress(&mut self, at_ms: u64, progress: &Progress, found: &mut Sightings) {
        if progress.diverged {
            found.push(Sighting {
                kind: Kind::Divergence,
                signal: "loss".to_owned(),
                severity: None,
                basis: Basis::Claimed,
                expected: "finite loss and gradient".to_owned(),
                seen: "not a number, or infinite".to_owned(),
                since: found.moment(at_ms),
                confidence: 0.999,
                message: "loss or gradient is not finite".to_owned(),
            });
        }
        if let Some(step) = progress.step {
            self.step(at_ms, step, progress, found);
        }
        if let Some(loss) = progress.loss.filter(|loss| loss.is_finite()) {
            self.last_loss = Some(loss);
            jump(&mut self.loss, Kind::LossSpike, "loss", at_ms, loss, found);
            self.follow(at_ms, loss, found);
        }
        if let Some(loss) = progress.evaluation_loss.filter(|loss| loss.is_finite()) {
            jump(&mut self.evaluation, Kind::LossSpike, "evaluation-loss", at_ms, loss, found);
        }
        if let Some(norm) = progress.gradient_norm.filter(|norm| norm.is_finite()) {
            self.last_gradient = Some(norm);
            let usual = self.gradient.usual();
            jump(&mut self.gradient, Kind::GradientExplosion, "gradient-norm", at_ms, norm, found);
            self.vanishing(at_ms, norm, usual, found);
        }
    }

    pub(super) fn signals(&self, signals: &mut Vec<Signal>) {
        let around = |usual: Option<f64>| usual.map(|usual| format!("about {usual:.4} or less"));
        signals.push(line("loss", "", self.last_loss, around(self.loss.usual()), Basis::Claimed));
        let norm = around(self.gradient.usual());
        signals.push(line("gradient-norm", "", self.last_gradient, norm, Basis::Claimed));
        let step = self.steps.values().map(|steps| steps.last).max();
        let expected = step.map(|_| "rising".to_owned());
        signals.push(line("step", "", step.map(|step| step as f64), expected, Basis::Claimed));
    }

    /// Slow divergence, and no learning at all.
    fn follow(&mut self, at_ms: u64, loss: f64, found: &mut Sightings) {
        let course = &mut self.course;
        if course.reports == 0 {
            course.began_ms = at_ms;
        }
        course.reports += 1;
        let y = signed_log(loss, 1e-3);
        course.recent.push(y);
        if course.start.is_none() {
            course.first.push(y);
            if course.first.len() == 32 {
                course.start = course.first.newest(32);
            }
        }
        if !course.reports.is_multiple_of(8) || course.recent.len() < 64 {
            return;
        }
        let Some((now, deviation)) = course.recent.centre(0) else { return };
        let best = course.best.map_or(now, |best| best.min(now));
        course.best = Some(best);
        let start = course.start.unwrap_or(now);
        // Four errors of a median of 64; a quarter less is learning however noisy it is.
        course.improved |= start - now > PLATEAU_GAIN.max((0.6 * deviation).min(0.25));
        let margin = DIVERGENCE_FACTOR.ln().max(4.0 * deviation);
        course.rising = if now - best > margin { course.rising.saturating_add(1) } else { 0 };
        // Eight looks of eight reports: the whole window has turned over.
        if course.rising >= 8 {
            let severity = if now > start { Severity::High } else { Severity::Medium };
            found.push(Sighting {
                kind: Kind::Divergence,
                signal: "loss".to_owned(),
                severity: Some(severity),
                basis: Basis::Claimed,
                expected: format!("near its best median, {:.4}", best.exp_m1() * 1e-3),
                seen: format!("a median of {:.4} over 64 reports", now.exp_m1() * 1e-3),
                since: found.moment(at_ms),
                confidence: 0.97,
                message: "the loss has left its best level for good".to_owned(),
            });
        }
        let lasted_ms = at_ms.saturating_sub(course.began_ms);
        let flat = !course.improved && course.reports >= PLATEAU_REPORTS && lasted_ms >= PLATEAU_MS;
        if flat && start.exp_m1() * 1e-3 > 0.01 {
            found.push(Sighting {
                kind: Kind::Plateau,
                signal: "loss".to_owned(),
                severity: None,
                basis: Basis::Claimed,
                expected: format!("below {:.4}, where it began", start.exp_m1() * 1e-3),
                seen: format!("{:.4} after {} reports", now.exp_m1() * 1e-3, course.reports),
                since: found.moment(course.began_ms),
                confidence: 0.9,
                message: "the loss has not moved since the start".to_owned(),
            });
        }
    }

    fn vanishing(&mut self, at_ms: u64, norm: f64, usual: Option<f64>, found: &mut Sightings) {
        let high = match (self.course.start, self.last_loss) {
            (Some(start), Some(loss)) => signed_log(loss, 1e-3) > start - 2.0_f64.ln(),
            _ => false,
        };
        let vanished = norm < VANISHED && usual.is_some() && high;
        self.small_gradients = if vanished { self.small_gradients.saturating_add(1) } else { 0 };
        if self.small_gradients >= 12 {
            found.push(Sighting {
                kind: Kind::GradientVanishing,
                signal: "gradient-norm".to_owned(),
                severity: None,
                basis: Basis::Claimed,
                expected: format!("above {VANISHED:e} while the loss is near its start"),
                seen: format!("{norm:.3e}"),
                since: found.moment(at_ms),
                confidence: 0.95,
                message: "the gradient is gone and the loss is still high".to_owned(),
            });
        }
    }

    fn step(&mut self, at_ms: u64, step: u64, progress: &Progress, found: &mut Sightings) {
        let (cpu_ms, gpu) = (self.cpu_ms, self.gpu);
        let steps = self.steps.entry(progress.told).or_default();
        let epoch = progress.epoch.unwrap_or(steps.epoch);
        let gap = steps.gaps.newest(16).unwrap_or(1.0).max(1.0);
        let back = steps.last.saturating_sub(step) as f64;
        // A count that begins anew is another phase or another epoch; a few steps back are lines out of order.
        let begun_anew = back > 10.0 * gap && (step as f64) <= 2.0 * gap;
        let anew = begun_anew || epoch > steps.epoch;
        if back > 10.0 * gap && !anew {
            found.push(Sighting {
                kind: Kind::StepBackwards,
                signal: "step".to_owned(),
                severity: None,
                basis: Basis::Claimed,
                expected: format!("after step {}", steps.last),
                seen: format!("step {step}"),
                since: found.moment(at_ms),
                confidence: 0.9,
                message: format!("the job went back from step {} to {step}", steps.last),
            });
        }
        if step > steps.last {
            steps.gaps.push((step - steps.last) as f64);
        } else if back > 0.0 {
            steps.window = None;
        }
        steps.last = step;
        steps.epoch = epoch;
        if begun_anew {
            // The next fold, or another model: its loss begins where losses begin.
            self.loss.begin_anew();
            self.evaluation.begin_anew();
            self.gradient.begin_anew();
            self.course = Course::default();
        }
        if gpu {
            return;
        }
        let Some((from_ms, from_step, from_cpu)) = steps.window else {
            steps.window = Some((at_ms, step, cpu_ms));
            return;
        };
        // Output comes in bursts, so speed is taken over spans, and against processor time.
        let (span_ms, worked_ms) = (at_ms.saturating_sub(from_ms), cpu_ms.saturating_sub(from_cpu));
        if span_ms < SPEED_SPAN_MS {
            return;
        }
        steps.window = Some((at_ms, step, cpu_ms));
        let rate = step.saturating_sub(from_step) as f64 / (worked_ms.max(100) as f64 / 1_000.0);
        let usual = steps.rates.newest(32).filter(|_| steps.rates.len() >= 6);
        if rate > 0.0 {
            steps.rates.push(rate);
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

fn jump(level: &mut Level, kind: Kind, signal: &str, at_ms: u64, value: f64, found: &mut Sightings) {
    let Some(jump) = level.push(at_ms, value) else { return };
    found.push(Sighting {
        kind,
        signal: signal.to_owned(),
        severity: Some(if jump.beyond_start { Severity::High } else { Severity::Medium }),
        basis: Basis::Claimed,
        expected: format!("about {:.4}, as before", jump.expected),
        seen: format!("{value:.4}"),
        since: found.moment(jump.since_ms),
        confidence: confidence(jump.evidence - 6.0),
        message: format!("`{signal}` jumped and stayed there"),
    });
}

/// A loss that rises by less is a schedule's restart or a new phase.
const LOSS_FACTOR: f64 = 3.0;
/// Gradients vary more than losses.
const GRADIENT_FACTOR: f64 = 10.0;
/// A median this far above the best one is divergence.
const DIVERGENCE_FACTOR: f64 = 4.0;
/// Fall of the logarithm of the loss that counts as learning.
const PLATEAU_GAIN: f64 = 0.005;
/// Reports before it can be said that nothing is learned.
const PLATEAU_REPORTS: u64 = 500;
/// Time before it can be said, in milliseconds.
const PLATEAU_MS: u64 = 30 * 60 * 1_000;
/// A gradient norm below this does not move 32-bit weights.
const VANISHED: f64 = 1e-8;
/// Span over which speed is taken, in milliseconds.
const SPEED_SPAN_MS: u64 = 30_000;
/// Times the usual speed that cannot be a shorter batch.
const SPEED_FACTOR: f64 = 100.0;
/// Steps per second of processor time that nothing reaches.
const SPEED_MAX: f64 = 1e6;
