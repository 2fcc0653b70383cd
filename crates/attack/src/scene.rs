//! The measurements behind a card's sanity checks.
//!
//! Each method measures one thing afresh, on a bounded number of examples, and leaves the judgement to [`checks`].

use ringfence_nn::Model;
use ringfence_schema::report::{AttackResult, Check};

use crate::{
    ball::Ball,
    battery::{Radius, Struck, result},
    checks::{self, Retried},
    error::AttackError,
    evasion::{
        Attack as _, Field, Outcome,
        apgd::{Aim, Apgd},
        estimate::{Draw, Estimated},
        pgd::Pgd,
        single::Noise,
        square::Square,
        transfer::Transfer,
    },
    loss::Loss,
    plan::Plan,
    source::Capability,
};

/// What the checks look at, and what they have found so far.
pub(crate) struct Scene<'a> {
    /// The ball is the one of the costly checks.
    pub(crate) field: Field<'a>,
    /// Rightly classified examples.
    pub(crate) right: &'a [usize],
    pub(crate) plan: &'a Plan,
    /// What was predicted before anything was attacked.
    pub(crate) predicted: &'a [Option<usize>],
    /// A network that imitates what is attacked.
    pub(crate) surrogate: &'a Model,
    pub(crate) checks: Vec<Check>,
}

impl Scene<'_> {
    /// Makes every check that applies. `rows` are the figures of all radii, `struck` what the attacks left at the radius of the
    /// costly checks; `foreign` says that the arithmetic is not our own.
    pub(crate) fn look(
        &mut self,
        rows: &[Radius],
        struck: Option<&Struck>,
        foreign: bool,
    ) -> Result<Option<AttackResult>, AttackError> {
        if foreign {
            self.neighbours()?;
        }
        self.repetitions()?;
        let count = self.field.examples.count();
        if self.field.oracle.has_gradient() {
            self.checks.push(checks::enough_steps(self.plan.steps));
            self.slopes()?;
            self.saturation()?;
            self.checks.push(checks::iterative_beats_single_step(rows, count));
            self.checks.push(checks::noise_is_weaker(rows, count));
        }
        self.whole_range()?;
        self.checks.push(checks::larger_eps_is_worse(rows, count));
        let Some(struck) = struck else { return Ok(None) };
        if self.field.oracle.has_gradient() {
            self.less_is_weaker(struck)?;
            self.convergence(struck)?;
            self.strength(struck)?;
            if let Some(after) = struck.after_apgd {
                self.checks.push(checks::apgd_beats_pgd(after, struck.radius.pgd, count));
            }
        }
        self.returned(struck)
    }

    /// The first rightly classified examples that can be won at all: none whose label is the target.
    fn some(&self, most: usize) -> Vec<usize> {
        self.open(self.right, most)
    }

    fn retried(&self, fell: usize, tried: usize, standing: &[usize]) -> Retried {
        Retried { fell, tried, standing: standing.len(), examples: self.field.examples.count() }
    }

    fn open(&self, places: &[usize], most: usize) -> Vec<usize> {
        let open = places.iter().filter(|place| Some(self.field.label(**place)) != self.plan.target);
        open.take(most).copied().collect()
    }

    fn inputs(&self, places: &[usize]) -> Vec<f32> {
        places.iter().flat_map(|place| self.field.clean(*place)).copied().collect()
    }

    /// Do the same inputs get the same answers, now and after all that was asked in between?
    fn repetitions(&mut self) -> Result<(), AttackError> {
        let places: Vec<usize> = (0..self.field.examples.count().min(REPEATED_EXAMPLES)).collect();
        let inputs = self.inputs(&places);
        let first = self.field.oracle.scores(&inputs)?;
        let mut spread = 0.0_f64;
        for _ in 1..REPETITIONS {
            spread = larger(spread, difference(&first, &self.field.oracle.scores(&inputs)?));
        }
        let classes = self.field.oracle.classes();
        let now = first.chunks_exact(classes).map(crate::loss::winner);
        let changed = now.zip(self.predicted).filter(|(now, before)| now != *before).count();
        self.checks.push(checks::repeatable(spread, REPETITIONS, changed));
        Ok(())
    }

    /// Does an answer depend on the examples beside it?
    fn neighbours(&mut self) -> Result<(), AttackError> {
        let places: Vec<usize> = (0..self.field.examples.count().min(NEIGHBOURS)).collect();
        let together = self.field.oracle.scores(&self.inputs(&places))?;
        let mut alone = Vec::with_capacity(together.len());
        for place in &places {
            alone.extend(self.field.oracle.scores(self.field.clean(*place))?);
        }
        self.checks.push(checks::independent_answers(difference(&together, &alone)));
        Ok(())
    }

    /// Is there a slope to follow at clean inputs, and does the loss follow it?
    fn slopes(&mut self) -> Result<(), AttackError> {
        let tried = self.some(CHECKED_EXAMPLES_MAX);
        let inputs = self.inputs(&tried);
        let labels: Vec<usize> = tried.iter().map(|place| self.field.label(*place)).collect();
        let width = self.field.examples.width();
        let slope = self.field.oracle.slope(&inputs, &labels, Loss::CrossEntropy)?;
        let zero = slope.gradient.chunks_exact(width).filter(|row| row.iter().all(|value| *value == 0.0)).count();
        self.checks.push(checks::zero_gradients(zero, tried.len()));

        let here = self.field.oracle.slope(&inputs, &labels, Loss::LogOdds)?;
        let step = self.plan.range.width() * SMALL_STEP;
        let mut moved = inputs.clone();
        for (point, gradient) in moved.chunks_exact_mut(width).zip(here.gradient.chunks_exact(width)) {
            for (value, slope) in point.iter_mut().zip(gradient) {
                let way = step * crate::ball::sign(*slope);
                *value = (*value + way).clamp(self.plan.range.low(), self.plan.range.high());
            }
        }
        let there = self.field.oracle.slope(&moved, &labels, Loss::LogOdds)?;
        let rows = inputs.chunks_exact(width).zip(moved.chunks_exact(width)).zip(here.gradient.chunks_exact(width));
        let off = rows
            .zip(here.loss.iter().zip(&there.loss))
            .filter(|(((from, to), gradient), (before, after))| {
                let steps = from.iter().zip(*to).zip(*gradient);
                let said: f64 = steps.map(|((from, to), slope)| f64::from(to - from) * f64::from(*slope)).sum();
                let ratio = (f64::from(**after) - f64::from(**before)) / said;
                !PREDICTED.contains(&ratio)
            })
            .count();
        self.checks.push(checks::gradient_predicts_loss(off, tried.len()));
        Ok(())
    }

    /// Does the cross-entropy hide what its exact form shows?
    fn saturation(&mut self) -> Result<(), AttackError> {
        let tried = self.some(CHECKED_EXAMPLES_MAX);
        let plain = pgd(Loss::CrossEntropy, self.plan.steps, 1).run(&self.field, &tried)?.standing.len();
        let exact = pgd(Loss::LogOdds, self.plan.steps, 1).run(&self.field, &tried)?.standing.len();
        let check = checks::scale_hides_nothing(plain, exact, tried.len());
        self.checks.push(check);
        Ok(())
    }

    /// An attack in a ball that holds every valid input; what columns forbid is allowed here, since the question is whether the
    /// attack works at all.
    fn whole_range(&mut self) -> Result<(), AttackError> {
        let eps = self.plan.norm.whole(self.field.examples.width(), self.plan.range.width());
        let field = self.field.within(Ball::new(self.plan.norm, eps, self.plan.range));
        let tried = self.some(CHECKED_EXAMPLES_MAX);
        let outcome = if field.oracle.has_gradient() {
            pgd(Loss::CrossEntropy, self.plan.steps, self.plan.restarts).run(&field, &tried)?
        } else if field.oracle.capability() >= Capability::Predict {
            Square { queries: BLACK_QUERIES }.run(&field, &tried)?
        } else {
            // Labels tell nothing of the way, and none is needed: any point is allowed.
            Noise { tries: WHOLE_TRIES }.run(&field, &tried)?
        };
        // Towards a target nobody gets by chance.
        let classes = if self.plan.target.is_some() { usize::MAX } else { field.oracle.classes() };
        let check = checks::large_eps(outcome.standing.len(), tried.len(), classes);
        self.checks.push(check);
        Ok(())
    }

    /// Attacks that see scores alone, or only an imitation of the model, on examples that withstand the gradient.
    fn less_is_weaker(&mut self, struck: &Struck) -> Result<(), AttackError> {
        let tried = self.open(&struck.white, BLACK_EXAMPLES);
        let square = Square { queries: BLACK_QUERIES }.run(&self.field, &tried)?;
        let estimated = Estimated { draw: Draw::Normal, steps: NES_STEPS, directions: NES_DIRECTIONS };
        let black = square.clone().joined(estimated.run(&self.field, &square.standing)?).fooled.len();
        let transfer = Transfer { surrogate: self.surrogate, steps: TRANSFER_STEPS };
        let transferred = transfer.run(&self.field, &tried)?.fooled.len();
        let found = |fell: usize| self.retried(fell, tried.len(), &struck.white);
        let (black, transferred) = (found(black), found(transferred));
        self.checks.push(checks::weaker("black-box-is-weaker", "random search and NES", black));
        self.checks.push(checks::weaker("transfer-is-weaker", "a surrogate's inputs", transferred));
        let beyond = struck.white.iter().filter(|place| struck.worst.standing.binary_search(place).is_err()).count();
        self.checks.push(checks::little_beyond_gradients(beyond, self.field.examples.count()));
        Ok(())
    }

    /// Where the standard battery did not run: would its gradient parts have fooled many more?
    fn strength(&mut self, struck: &Struck) -> Result<(), AttackError> {
        let apgd = |loss, aim| Apgd { loss, aim, steps: APGD_STEPS, restarts: 1 };
        let plain = apgd(Loss::LogOdds, Aim::Away);
        if struck.after_apgd.is_some() || !plain.norms().contains(&self.field.ball.norm) {
            return Ok(());
        }
        let tried = self.open(&struck.worst.standing, BLACK_EXAMPLES);
        let left = plain.run(&self.field, &tried)?.standing;
        let left = apgd(Loss::Dlr, Aim::Ranked(APGD_TARGETS)).run(&self.field, &left)?.standing.len();
        let found = self.retried(tried.len() - left, tried.len(), &struck.worst.standing);
        self.checks.push(checks::strong_enough(found));
        Ok(())
    }

    /// Would more steps have fooled more?
    fn convergence(&mut self, struck: &Struck) -> Result<(), AttackError> {
        let longer = Pgd { shift: usize::MAX / 2, ..pgd(Loss::CrossEntropy, self.plan.steps.saturating_mul(2), 1) };
        let outcome = longer.run(&self.field, &struck.worst.standing)?;
        self.checks.push(checks::converged(outcome.fooled.len(), self.field.examples.count()));
        Ok(())
    }

    /// Measures the returned inputs afresh, also as they would be stored.
    fn returned(&mut self, struck: &Struck) -> Result<Option<AttackResult>, AttackError> {
        let (fooled, ball) = (&struck.worst.fooled, self.field.ball);
        let inside = |(place, point): &&(usize, Vec<f32>)| ball.contains(self.field.clean(*place), point);
        let outside = fooled.len() - fooled.iter().filter(inside).count();
        let again = self.still_fooled(fooled.clone())?;
        self.checks.push(checks::returned_inputs(outside, fooled.len() - again.fooled.len(), fooled.len()));
        let standing = self.right.len() - again.fooled.len();
        if self.field.oracle.has_gradient() {
            self.checks.push(checks::restarts_help_attacker(struck.after_first_restart, standing));
        }
        let Some(levels) = self.plan.levels else { return Ok(None) };
        let mut outcome = self.stored(fooled, levels)?;
        outcome.standing.extend(&struck.worst.standing);
        let count = self.field.examples.count();
        self.checks.push(checks::stored_inputs(standing, outcome.standing.len(), count));
        let name = format!("worst-case-in-{levels}-levels");
        Ok(Some(result(&name, &outcome, ball.norm, struck.radius.eps, count)))
    }

    /// What still fools when it is stored in so many levels. Attacks stop at the first success, hardly over the boundary, and
    /// rounding puts such inputs right; so those are carried on from where they are before they count as put right.
    fn stored(&self, fooled: &[(usize, Vec<f32>)], levels: u32) -> Result<Outcome, AttackError> {
        let ball = self.field.ball;
        let grid = |points: &[(usize, Vec<f32>)]| -> Vec<(usize, Vec<f32>)> {
            let stored =
                |(place, point): &(usize, Vec<f32>)| (*place, ball.quantise(self.field.clean(*place), point, levels));
            points.iter().map(stored).collect()
        };
        let mut outcome = self.still_fooled(grid(fooled))?;
        if !self.field.oracle.has_gradient() {
            return Ok(outcome);
        }
        let put_right = |place: &usize| outcome.standing.binary_search(place).is_ok();
        let mut going: Vec<(usize, Vec<f32>)> = fooled.iter().filter(|(place, _)| put_right(place)).cloned().collect();
        let width = self.field.examples.width();
        for _ in 0..STORED_STEPS {
            if going.is_empty() {
                break;
            }
            let points: Vec<f32> = going.iter().flat_map(|(_, point)| point).copied().collect();
            let goals: Vec<_> = going.iter().map(|(place, _)| self.field.goal(*place)).collect();
            let slope = self.field.oracle.slope_to(&points, &goals, Loss::Margin)?;
            outcome.queries += slope.queries;
            for ((place, point), gradient) in going.iter_mut().zip(slope.gradient.chunks_exact(width)) {
                ball.ascend(self.field.clean(*place), point, gradient, ball.eps * STORED_STEP);
            }
            let tried = self.still_fooled(grid(&going))?;
            outcome.queries += tried.queries;
            outcome.fooled.extend(tried.fooled);
            going.retain(|(place, _)| tried.standing.binary_search(place).is_ok());
        }
        outcome.standing = going.into_iter().map(|(place, _)| place).collect();
        Ok(outcome)
    }

    /// Predicts `points` afresh: which still fool, which do not.
    fn still_fooled(&self, points: Vec<(usize, Vec<f32>)>) -> Result<Outcome, AttackError> {
        let data: Vec<f32> = points.iter().flat_map(|(_, point)| point).copied().collect();
        let predicted = if points.is_empty() { Vec::new() } else { self.field.oracle.predict(&data)? };
        let predicted = self.field.oracle.judge(&data)?.unwrap_or(predicted);
        let mut outcome = Outcome { queries: points.len() as u64, ..Outcome::default() };
        for ((place, point), class) in points.into_iter().zip(predicted) {
            if self.field.won(place, class) {
                outcome.fooled.push((place, point));
            } else {
                outcome.standing.push(place);
            }
        }
        Ok(outcome)
    }
}

fn pgd(loss: Loss, steps: usize, restarts: usize) -> Pgd {
    Pgd { loss, steps, restarts, shift: 0 }
}

/// The largest difference of two answers as a share of the largest score; not a number where either holds one.
fn difference(one: &[f32], other: &[f32]) -> f64 {
    let size = one.iter().fold(f32::MIN_POSITIVE, |size, score| size.max(score.abs()));
    one.iter().zip(other).map(|(a, b)| f64::from((a - b).abs()) / f64::from(size)).fold(0.0, larger)
}

/// The larger of two; not a number where either is none.
fn larger(a: f64, b: f64) -> f64 {
    if a.is_nan() || b.is_nan() { f64::NAN } else { a.max(b) }
}

/// Examples on which the checks that need no precision are made.
const CHECKED_EXAMPLES_MAX: usize = 256;
/// Examples on which attacks that see less are tried, and what they may ask for each.
const BLACK_EXAMPLES: usize = 100;
const BLACK_QUERIES: usize = 1_000;
/// Random inputs of the whole range that are tried where only labels are seen.
const WHOLE_TRIES: u64 = 100;
const APGD_STEPS: usize = 50;
const APGD_TARGETS: usize = 3;
const NES_STEPS: usize = 20;
const NES_DIRECTIONS: usize = 10;
const TRANSFER_STEPS: usize = 20;
/// Examples whose answers are repeated, and how often they are asked for.
const REPEATED_EXAMPLES: usize = 64;
const REPETITIONS: usize = 4;
/// Examples that are asked for alone.
const NEIGHBOURS: usize = 8;
/// Steps, each of this share of the radius, that stored inputs are carried on.
const STORED_STEPS: usize = 20;
const STORED_STEP: f32 = 0.05;
/// The step along the gradient, as a share of the range, and how the loss may answer as a share of what the gradient says.
const SMALL_STEP: f32 = 0.01;
const PREDICTED: std::ops::Range<f64> = 0.25..4.0;
