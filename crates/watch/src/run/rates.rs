//! The claimed learning rate where nobody signed a plan for it.
//!
//! Schedules have shapes: a rate that warms up rises report after report, one that decays falls, a restart goes back to a
//! rate that was had before, a search for the best rate rises by a steady factor from the start. A rate that had settled
//! and then, from one report to the next, is several times the highest that this training had, is none of these. A sweep
//! that counts its steps on shows that a new training began by its loss, which is then where trainings begin; a rate that
//! jumps by design has jumped before.

use ringfence_schema::{Severity, alert::Basis, event::Progress};

use super::Sightings;
use crate::{book::Sighting, rules::Kind, stats::Recent};

/// Follows the claimed rate.
#[derive(Debug, Clone, Default)]
pub(super) struct Rates {
    began_ms: u64,
    reports: u32,
    /// The first rate above nothing and the latest one.
    first: Option<f64>,
    last: f64,
    last_ms: u64,
    highest: f64,
    /// Reports in a row in which it did not rise.
    settled: u32,
    newest: Recent<SEARCH>,
    searching: bool,
    jumped: Option<Jump>,
    /// Rates that jump by design: never told again.
    jumps: bool,
    /// The highest rate of the training before, and whether it is another from one to the next.
    before: Option<f64>,
    various: bool,
    /// Passes so far.
    epoch: Option<f64>,
    /// Highest loss of the beginning, and the latest losses.
    began_at: Option<f64>,
    losses: Recent<8>,
}

/// A jump that is weighed.
#[derive(Debug, Clone, Copy)]
struct Jump {
    at_ms: u64,
    highest: f64,
    reports: u32,
    told: bool,
}

/// What else is known of a report.
struct Moment {
    at_ms: u64,
    /// The loss is back at where training began.
    anew: bool,
    /// A pass ended since the report before.
    turned: bool,
}

impl Rates {
    /// Takes a report; `anew` where training begins anew with it, `planned` where the rate is held against a plan.
    pub(super) fn progress(
        &mut self,
        at_ms: u64,
        progress: &Progress,
        anew: bool,
        planned: bool,
        found: &mut Sightings,
    ) {
        if anew {
            let other = self.before.is_some_and(|before| (before / self.highest).ln().abs() > OTHER);
            let before = Some(self.highest).filter(|highest| *highest > 0.0).or(self.before);
            *self = Self { jumps: self.jumps, before, various: self.various || other, ..Self::default() };
        }
        if let Some(loss) = progress.loss.filter(|loss| loss.is_finite()) {
            if self.losses.len() < 8 || self.began_at.is_none() {
                self.began_at = Some(self.began_at.map_or(loss, |began| began.max(loss)));
            }
            self.losses.push(loss);
        }
        let Some(rate) = progress.learning_rate.filter(|rate| rate.is_finite() && *rate >= 0.0) else { return };
        if self.reports == 0 {
            self.began_ms = at_ms;
        }
        let epoch = progress.epoch.filter(|epoch| epoch.is_finite());
        let turned = epoch.zip(self.epoch).is_some_and(|(now, before)| (now.floor() - before.floor()).abs() >= 1.0);
        self.epoch = epoch.or(self.epoch);
        self.reports = self.reports.saturating_add(1);
        self.search(rate);
        if !planned {
            let anew = progress.loss.is_some_and(|loss| self.begins(loss));
            let moment = Moment { at_ms, anew, turned };
            self.jump(&moment, rate, found);
        }
        self.last_ms = at_ms;
        self.settled = if rate > self.last * (1.0 + 1e-6) { 0 } else { self.settled.saturating_add(1) };
        self.last = rate;
        if self.jumped.is_none() {
            self.highest = self.highest.max(rate);
        }
    }

    /// Whether the rate has been rising by a steady factor since training began, over orders of magnitude.
    pub(super) fn searching(&self) -> bool {
        self.searching
    }

    /// Whether trainings are tried one after the other: several, of which it is not known that their rate is the same.
    pub(super) fn sweep(&self, trials: u32) -> bool {
        let same = self
            .before
            .is_some_and(|before| !self.various && (self.reports < SETTLED || (before / self.highest).ln() < OTHER));
        trials >= 2 && !same
    }

    /// Whether the rate is still the first one.
    fn is_constant(&self) -> bool {
        self.first.is_none_or(|first| (self.last - first).abs() <= 1e-6 * first)
    }

    fn search(&mut self, rate: f64) {
        if rate <= 0.0 {
            return;
        }
        let first = *self.first.get_or_insert(rate);
        self.newest.push(rate.ln());
        let rose = rate > self.last && self.highest <= rate;
        let all = (rate / first).ln();
        let lately = self.newest.last().zip(self.newest.first()).map_or(0.0, |(last, first)| last - first);
        let (per_report, per_report_lately) =
            (all / f64::from(self.reports.max(1)), lately / (self.newest.len().max(2) - 1) as f64);
        // A warm-up in a straight line has risen most at its beginning.
        self.searching = rose && all > SEARCH_RISE.ln() && per_report_lately > 0.5 * per_report;
    }

    /// Whether a loss that had fallen is back at where training began: another training, whose steps count on.
    fn begins(&self, loss: f64) -> bool {
        let Some((usual, began)) = self.losses.newest(8).zip(self.began_at) else { return false };
        usual < began - 0.4 * began.abs() && loss > began - 0.2 * began.abs()
    }

    fn jump(&mut self, moment: &Moment, rate: f64, found: &mut Sightings) {
        let at_ms = moment.at_ms;
        let running = self.reports > REPORTS_MIN && at_ms.saturating_sub(self.began_ms) >= RUNNING_MS;
        let mut jump = match self.jumped {
            Some(jump) if rate > JUMP * jump.highest => jump,
            Some(_) => {
                self.jumped = None;
                return;
            }
            // Some schedules change between passes only, and rise that way; one that never moved may be such.
            None if moment.turned || (self.epoch.is_none() && self.is_constant()) => return,
            None if running && self.settled >= SETTLED && self.highest > 0.0 && rate > JUMP * self.highest => {
                // Right when the rate jumps: a bad rate takes a while to undo what was learned.
                self.jumps |= moment.anew;
                Jump { at_ms, highest: self.highest, reports: 0, told: false }
            }
            None => return,
        };
        jump.reports = jump.reports.saturating_add(1);
        let lasted_ms = at_ms.saturating_sub(jump.at_ms);
        // Who reports seldom shows no single bad value.
        let seldom = at_ms.saturating_sub(self.last_ms) >= SELDOM_MS && rate > JUMP * JUMP * jump.highest;
        jump.told |= !self.jumps && (jump.reports >= 2 || seldom);
        if jump.told {
            found.push(Sighting {
                kind: Kind::LearningRate,
                signal: "learning-rate".to_owned(),
                severity: Some(Severity::Medium),
                basis: Basis::Claimed,
                expected: format!("at most about {:.3e}, the highest of this training", jump.highest),
                seen: format!("{rate:.3e}"),
                since: found.moment(jump.at_ms),
                confidence: 0.9,
                message: "the learning rate jumped beyond all that this training had, as no schedule does".to_owned(),
            });
        }
        // What lasts is the rate now.
        if lasted_ms >= ADOPT_MS {
            self.highest = rate;
            self.jumped = None;
        } else {
            self.jumped = Some(jump);
        }
    }
}

/// Newest reports whose rise is held against that of all.
const SEARCH: usize = 16;
/// Times the first rate from which on a steady rise is a search.
const SEARCH_RISE: f64 = 300.0;
/// Times the highest rate that no schedule reaches from one report to the next.
const JUMP: f64 = 3.0;
/// Natural logarithm by which the rate of another training is another.
const OTHER: f64 = 0.2;
/// Pause between reports from which on they are seldom, in milliseconds.
const SELDOM_MS: u64 = 7_000;
/// Reports of a rate before a jump can be told.
const REPORTS_MIN: u32 = 12;
/// Time of training before a jump can be told, in milliseconds.
const RUNNING_MS: u64 = 60 * 1_000;
/// Reports in a row without a rise after which a rate has settled.
const SETTLED: u32 = 8;
/// Time after which what jumped is the rate, in milliseconds.
const ADOPT_MS: u64 = 10 * 60 * 1_000;
