//! Loss and gradient norm, by the job's own account.
//!
//! A gradient that is not finite is how mixed precision finds its scale, and a search for a learning rate ends where the loss
//! explodes: neither is told. A loss that is not finite, report after report, is; so is one that stays beyond everything
//! that trainings of this run began with ([`course`](super::course)).

use ringfence_schema::{Severity, alert::Basis, event::Progress};

use super::{
    Sightings,
    course::{Course, Turn, UNIT},
    level::Level,
    line,
};
use crate::{
    Signal,
    book::Sighting,
    rules::Kind,
    stats::{confidence, signed_log_inverse},
};

/// Follows what a job says about its training.
#[derive(Debug, Clone)]
pub(super) struct Training {
    loss: Course,
    evaluation: Course,
    gradient: Level,
    last_loss: Option<f64>,
    last_gradient: Option<f64>,
    lost: Lost,
    small_gradients: u32,
    small_since_ms: u64,
}

/// Reports in a row in which nothing was finite.
#[derive(Debug, Clone, Copy, Default)]
struct Lost {
    reports: u32,
    since_ms: u64,
    /// The same where the loss was finite and the gradient was not.
    gradients: u32,
}

/// What else is known of the moment of a report.
#[derive(Debug, Clone, Copy)]
pub(super) struct Circumstances {
    /// Training begins anew with it.
    pub(super) anew: bool,
    /// Trainings are tried one after the other, and some do not work.
    pub(super) sweep: bool,
    /// The claimed rate has been rising as in a search for the best one.
    pub(super) searching: bool,
}

impl Default for Training {
    fn default() -> Self {
        Self {
            loss: Course::default(),
            evaluation: Course::default(),
            gradient: Level::new(GRADIENT_FACTOR),
            last_loss: None,
            last_gradient: None,
            lost: Lost::default(),
            small_gradients: 0,
            small_since_ms: 0,
        }
    }
}

impl Training {
    pub(super) fn progress(&mut self, at_ms: u64, progress: &Progress, now: Circumstances, found: &mut Sightings) {
        if now.anew {
            self.loss.begin_anew();
            self.evaluation.begin_anew();
            self.gradient.begin_anew();
        }
        self.lost(at_ms, progress, now, found);
        if let Some(loss) = progress.loss.filter(|loss| loss.is_finite()) {
            self.last_loss = Some(loss);
            weigh(&mut self.loss, "loss", at_ms, loss, now, found);
            self.turn(at_ms, now, found);
        }
        if let Some(loss) = progress.evaluation_loss.filter(|loss| loss.is_finite()) {
            weigh(&mut self.evaluation, "evaluation-loss", at_ms, loss, now, found);
        }
        if let Some(norm) = progress.gradient_norm.filter(|norm| norm.is_finite()) {
            self.last_gradient = Some(norm);
            let usual = self.gradient.usual();
            self.explosion(at_ms, norm, now, found);
            self.vanishing(at_ms, norm, usual, found);
        }
    }

    pub(super) fn signals(&self, signals: &mut Vec<Signal>) {
        let around = |usual: Option<f64>| usual.map(|usual| format!("about {usual:.4} or less"));
        signals.push(line("loss", "", self.last_loss, around(self.loss.usual()), Basis::Claimed));
        let norm = around(self.gradient.usual());
        signals.push(line("gradient-norm", "", self.last_gradient, norm, Basis::Claimed));
    }

    /// Values that are not finite, and stay so.
    fn lost(&mut self, at_ms: u64, progress: &Progress, now: Circumstances, found: &mut Sightings) {
        let lost = &mut self.lost;
        if progress.loss.or(progress.evaluation_loss).is_some() {
            lost.reports = 0;
            lost.gradients = if progress.diverged { lost.gradients.saturating_add(1) } else { 0 };
        } else if progress.diverged {
            if lost.reports == 0 {
                lost.since_ms = at_ms;
            }
            lost.reports = lost.reports.saturating_add(1);
        } else {
            return;
        }
        let lasted_ms = at_ms.saturating_sub(lost.since_ms);
        // In a sweep some trainings fail and are ended.
        let gone = if now.sweep || now.searching {
            lost.reports >= LOST_REPORTS_TRIED && lasted_ms >= LOST_TRIED_MS
        } else {
            (lost.reports >= LOST_REPORTS && lasted_ms >= LOST_MS) || (lost.reports >= 2 && lasted_ms >= 4 * LOST_MS)
        };
        let unscaled = lost.gradients >= LOST_GRADIENTS;
        if !gone && !unscaled {
            return;
        }
        let (what, in_a_row) = if gone { ("loss", lost.reports) } else { ("gradient", lost.gradients) };
        found.push(Sighting {
            kind: Kind::Divergence,
            signal: "loss".to_owned(),
            severity: (!gone).then_some(Severity::Medium),
            basis: Basis::Claimed,
            expected: format!("a finite {what}"),
            seen: format!("not a number, or infinite, in {in_a_row} reports in a row"),
            since: found.moment(if gone { lost.since_ms } else { at_ms }),
            confidence: 0.99,
            message: format!("the {what} is not finite and stays so"),
        });
    }

    /// Slow divergence, and no learning at all.
    fn turn(&mut self, at_ms: u64, now: Circumstances, found: &mut Sightings) {
        let value = |y: f64| signed_log_inverse(y, UNIT);
        let sighting = match self.loss.turn(at_ms) {
            Some(Turn::Left { best, now: median }) if !now.searching => Sighting {
                kind: Kind::Divergence,
                signal: "loss".to_owned(),
                severity: Some(Severity::Medium),
                basis: Basis::Claimed,
                expected: format!("near its best median, {:.4}", value(best)),
                seen: format!("a median of {:.4} over 64 reports", value(median)),
                since: found.moment(at_ms),
                confidence: 0.97,
                message: "the loss has left its best level for good".to_owned(),
            },
            Some(Turn::Flat { start, now: median, reports, began_ms }) => Sighting {
                kind: Kind::Plateau,
                signal: "loss".to_owned(),
                severity: None,
                basis: Basis::Claimed,
                expected: format!("below {:.4}, where it began", value(start)),
                seen: format!("{:.4} after {reports} reports", value(median)),
                since: found.moment(began_ms),
                confidence: 0.9,
                message: "the loss has not moved since this training began, as it did before".to_owned(),
            },
            _ => return,
        };
        found.push(sighting);
    }

    fn explosion(&mut self, at_ms: u64, norm: f64, now: Circumstances, found: &mut Sightings) {
        let Some(jump) = self.gradient.push(at_ms, norm) else { return };
        // Only what no training of this run had: new layers and new stages have larger gradients than old ones.
        let matters = self.loss.falls() && self.last_loss.is_none_or(|loss| self.loss.is_near_start(loss));
        if now.searching || !jump.beyond_start || !matters {
            return;
        }
        found.push(Sighting {
            kind: Kind::GradientExplosion,
            signal: "gradient-norm".to_owned(),
            severity: Some(Severity::High),
            basis: Basis::Claimed,
            expected: format!("about {:.4}, as before", jump.expected),
            seen: format!("{norm:.4}"),
            since: found.moment(jump.since_ms),
            confidence: confidence(jump.evidence - 6.0),
            message: "`gradient-norm` jumped and stayed there".to_owned(),
        });
    }

    /// A gradient that is gone while there is much to learn. Exactly nothing is what a short print makes of little.
    fn vanishing(&mut self, at_ms: u64, norm: f64, usual: Option<f64>, found: &mut Sightings) {
        let high = !self.loss.fell() && self.last_loss.is_some_and(|loss| self.loss.is_near_start(loss));
        let had = usual.is_some_and(|usual| usual > 1e3 * VANISHED);
        let vanished = norm > 0.0 && norm < VANISHED && high && (had || self.small_gradients > 0);
        if !vanished {
            self.small_gradients = 0;
            return;
        }
        if self.small_gradients == 0 {
            self.small_since_ms = at_ms;
        }
        self.small_gradients = self.small_gradients.saturating_add(1);
        if self.small_gradients < VANISHED_REPORTS || at_ms.saturating_sub(self.small_since_ms) < VANISHED_MS {
            return;
        }
        found.push(Sighting {
            kind: Kind::GradientVanishing,
            signal: "gradient-norm".to_owned(),
            severity: None,
            basis: Basis::Claimed,
            expected: format!("above {VANISHED:e} while the loss is near its start"),
            seen: format!("{norm:.3e}"),
            since: found.moment(self.small_since_ms),
            confidence: 0.95,
            message: "the gradient is gone and the loss is still high".to_owned(),
        });
    }
}

fn weigh(course: &mut Course, signal: &str, at_ms: u64, value: f64, now: Circumstances, found: &mut Sightings) {
    let Some(beyond) = course.push(at_ms, value, now.sweep).filter(|_| !now.searching) else { return };
    found.push(Sighting {
        kind: Kind::LossSpike,
        signal: signal.to_owned(),
        severity: Some(Severity::High),
        basis: Basis::Claimed,
        expected: format!("below {:.4}, far above where training began", beyond.bound),
        seen: format!("{value:.4}, in {} reports in a row", beyond.reports),
        since: found.moment(beyond.since_ms),
        confidence: 0.97,
        message: format!("`{signal}` went beyond everything that it was and stayed there"),
    });
}

/// Gradients vary more than losses.
const GRADIENT_FACTOR: f64 = 20.0;
/// Reports in a row without a finite loss that no overflow explains.
const LOST_REPORTS: u32 = 3;
/// Time in which they come, in milliseconds.
const LOST_MS: u64 = 5_000;
/// Reports in a row without a finite loss that no trial goes on for.
const LOST_REPORTS_TRIED: u32 = 64;
/// Time in which they come, in milliseconds.
const LOST_TRIED_MS: u64 = 10 * 60 * 1_000;
/// Reports in a row without a finite gradient: more than halvings of any scale that training begins with.
const LOST_GRADIENTS: u32 = 64;
/// A gradient norm below this does not move 32-bit weights.
const VANISHED: f64 = 1e-8;
/// Reports in a row of such gradients.
const VANISHED_REPORTS: u32 = 32;
/// Time for which they come, in milliseconds.
const VANISHED_MS: u64 = 5 * 60 * 1_000;
