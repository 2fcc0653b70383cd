//! APGD: gradient ascent that chooses its own step lengths (Croce and Hein 2020, "Reliable evaluation of adversarial
//! robustness with an ensemble of diverse parameter-free attacks", algorithm 1 and section 3), and its form for L1
//! (Croce and Hein 2021, "Mind the box", section 4).

use rayon::prelude::*;

use crate::{
    ball::{Ball, Norm, differ, narrow, sign},
    error::AttackError,
    evasion::{Attack, Field, Outcome, join},
    loss::{Goal, Loss},
    oracle::Slope,
    source::Capability,
};

/// Which class is climbed towards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Aim {
    /// Away from the label.
    Away,
    /// Each of so many classes with the best scores, in turn.
    Ranked(usize),
}

/// APGD with a loss, so many steps and restarts.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Apgd {
    pub(crate) loss: Loss,
    pub(crate) aim: Aim,
    pub(crate) steps: usize,
    pub(crate) restarts: usize,
}

impl Attack for Apgd {
    fn name(&self) -> String {
        let loss = match (self.aim, self.loss) {
            (Aim::Ranked(_), _) => "t",
            (Aim::Away, Loss::CrossEntropy | Loss::LogOdds) => "ce",
            (Aim::Away, Loss::Margin) => "margin",
            (Aim::Away, Loss::Dlr) => "dlr",
        };
        format!("apgd-{loss}")
    }

    fn needs(&self) -> Capability {
        Capability::Gradient
    }

    fn norms(&self) -> &'static [Norm] {
        &[Norm::Linf, Norm::L2, Norm::L1]
    }

    fn strike(&self, field: &Field<'_>, standing: &[usize]) -> Result<Outcome, AttackError> {
        let mut outcome = Outcome::before(standing);
        let targets = match self.aim {
            Aim::Away => standing.iter().map(|_| Vec::new()).collect(),
            Aim::Ranked(most) => {
                outcome.queries += standing.len() as u64;
                field.targets(standing, most)?
            }
        };
        let rounds = targets.iter().map(Vec::len).max().unwrap_or(0).max(1);
        for round in 0..rounds {
            for restart in 0..self.restarts {
                let aimed: Vec<(usize, Goal)> = standing
                    .iter()
                    .zip(&targets)
                    .filter(|(place, _)| outcome.standing.binary_search(place).is_ok())
                    .filter_map(|(place, targets)| match self.aim {
                        Aim::Away => Some((*place, field.goal(*place))),
                        Aim::Ranked(_) => {
                            let target = Some(*targets.get(round)?);
                            Some((*place, Goal { label: field.label(*place), target }))
                        }
                    })
                    .collect();
                self.climb(field, &aimed, round * self.restarts + restart, &mut outcome)?;
            }
        }
        Ok(outcome)
    }
}

impl Apgd {
    /// One random start for each of these examples. L1 first climbs in larger balls, since its own has few ways out of a bad
    /// start (section 4.3 of the second paper).
    fn climb(
        self,
        field: &Field<'_>,
        aimed: &[(usize, Goal)],
        restart: usize,
        outcome: &mut Outcome,
    ) -> Result<(), AttackError> {
        let mut climbers: Vec<Climber> = aimed
            .par_iter()
            .map(|(place, goal)| {
                let mut random = field.random(APGD_STREAM, restart, *place);
                Climber::new(*place, *goal, field.ball.random_rim_start(field.clean(*place), &mut random))
            })
            .collect();
        let stages: &[(f32, f64)] = if field.ball.norm == Norm::L1 { &L1_STAGES } else { &[(1.0, 1.0)] };
        for (index, (radii, share)) in stages.iter().enumerate() {
            let ball = field.ball.with_eps(field.ball.eps * radii);
            let steps = whole(self.steps as f64 * share).max(1);
            let stage = Stage { ball, steps, first: index == 0, counts: index + 1 == stages.len() };
            climbers = self.stage(field, stage, climbers, outcome)?;
        }
        Ok(())
    }

    fn stage(
        self,
        field: &Field<'_>,
        stage: Stage<'_>,
        mut climbers: Vec<Climber>,
        outcome: &mut Outcome,
    ) -> Result<Vec<Climber>, AttackError> {
        climbers.par_iter_mut().for_each(|climber| climber.enter(stage, field.clean(climber.place)));
        let mut view = View::default();
        climbers = self.look(field, stage, climbers, &mut view, outcome)?;
        climbers.par_iter_mut().for_each(Climber::begin);
        let adaptive = stage.ball.norm == Norm::L1;
        // Checkpoints as in section 3.1: the first after 22 % of the steps, each next one 3 % sooner, at least 6 % apart; L1
        // looks every 4 %.
        let part = |share: f64| whole(share * stage.steps as f64).max(1);
        let (mut window, least, less) =
            if adaptive { (part(0.04), part(0.04), 0) } else { (part(0.22), part(0.06), part(0.03)) };
        let mut since = 0;
        for step in 0..stage.steps {
            if climbers.is_empty() {
                break;
            }
            let share = if step == 0 { 1.0 } else { MOMENTUM };
            climbers.par_iter_mut().for_each(|climber| climber.step(stage.ball, field.clean(climber.place), share));
            climbers = self.look(field, stage, climbers, &mut view, outcome)?;
            climbers.par_iter_mut().for_each(Climber::learn);
            since += 1;
            if since == window {
                climbers.par_iter_mut().for_each(|climber| {
                    if adaptive {
                        climber.check_l1(stage.ball, field.clean(climber.place));
                    } else {
                        climber.check(window);
                    }
                });
                since = 0;
                window = window.saturating_sub(less).max(least);
            }
        }
        Ok(climbers)
    }

    /// Loss and gradient where the climbers are; those that fool are taken out.
    fn look(
        self,
        field: &Field<'_>,
        stage: Stage<'_>,
        mut climbers: Vec<Climber>,
        View { points, slope }: &mut View,
        outcome: &mut Outcome,
    ) -> Result<Vec<Climber>, AttackError> {
        if climbers.is_empty() {
            return Ok(climbers);
        }
        let goals: Vec<Goal> = climbers.iter().map(|climber| climber.goal).collect();
        join(climbers.iter().map(|climber| climber.x.as_slice()), points);
        field.oracle.slope_into(points, &goals, self.loss, slope)?;
        outcome.queries += slope.queries;
        let width = field.examples.width();
        let found = slope.gradient.chunks_exact(width).zip(&slope.loss);
        for (climber, (gradient, loss)) in climbers.iter_mut().zip(found) {
            climber.gradient.clear();
            climber.gradient.extend_from_slice(gradient);
            (climber.before, climber.loss) = (climber.loss, *loss);
        }
        if !stage.counts {
            return Ok(climbers);
        }
        let seen: Vec<bool> = climbers
            .iter()
            .zip(&slope.predicted)
            .map(|(climber, predicted)| field.won(climber.place, *predicted))
            .collect();
        outcome.settle(field, climbers, &seen, |climber| (climber.place, &climber.x))
    }
}

/// What is seen from where the climbers are, step after step.
#[derive(Default)]
struct View {
    points: Vec<f32>,
    slope: Slope,
}

/// A part of a climb, in one ball.
#[derive(Clone, Copy)]
struct Stage<'c> {
    ball: Ball<'c>,
    steps: usize,
    first: bool,
    /// Whether this is the ball that counts.
    counts: bool,
}

/// An example on its way.
struct Climber {
    place: usize,
    goal: Goal,
    x: Vec<f32>,
    old: Vec<f32>,
    gradient: Vec<f32>,
    loss: f32,
    /// The loss at the point before.
    before: f32,
    best: Vec<f32>,
    best_gradient: Vec<f32>,
    best_loss: f32,
    /// The best loss at the last checkpoint.
    checked: f32,
    /// Whether the step was halved at the last checkpoint.
    halved: bool,
    /// Steps since the last checkpoint that raised the loss.
    rises: usize,
    step: f32,
    /// L1: share of the values that a step moves, and how many had moved at the last checkpoint.
    share: f64,
    moved: f64,
}

impl Climber {
    fn new(place: usize, goal: Goal, x: Vec<f32>) -> Self {
        Self {
            place,
            goal,
            old: x.clone(),
            best: x.clone(),
            x,
            gradient: Vec::new(),
            loss: f32::MIN,
            before: f32::MIN,
            best_gradient: Vec::new(),
            best_loss: f32::MIN,
            checked: f32::MIN,
            halved: true,
            rises: 0,
            step: 0.0,
            share: 0.0,
            moved: 0.0,
        }
    }

    /// Begins a stage at the best point so far.
    fn enter(&mut self, stage: Stage<'_>, clean: &[f32]) {
        self.x.clone_from(&self.best);
        stage.ball.project(clean, &mut self.x);
        self.old.clone_from(&self.x);
        self.step = stage.ball.eps * if stage.ball.norm == Norm::L1 { 1.0 } else { FIRST_STEP };
        self.halved = true;
        self.rises = 0;
        let moved = self.x.iter().zip(clean).filter(|(x, clean)| differ(**x, **clean)).count() as f64;
        let values = clean.len() as f64;
        (self.share, self.moved) = if stage.first { (FIRST_SHARE, values) } else { (moved / values / SPARSER, moved) };
    }

    /// Takes the first loss of a stage as the best.
    fn begin(&mut self) {
        self.best.clone_from(&self.x);
        self.best_gradient.clone_from(&self.gradient);
        self.best_loss = self.loss;
        self.checked = self.loss;
    }

    /// A gradient step and a part of the way that was last taken (section 3.1, eq. 1 and 2).
    fn step(&mut self, ball: Ball<'_>, clean: &[f32], share: f32) {
        let here = self.x.clone();
        let mut ahead = self.x.clone();
        if ball.norm == Norm::L1 {
            self.step_l1(&mut ahead);
            ball.project(clean, &mut ahead);
            self.x = ahead;
        } else {
            ball.ascend(clean, &mut ahead, &self.gradient, self.step);
            let ways = ahead.iter().zip(&here).zip(&self.old);
            for (x, ((ahead, here), old)) in self.x.iter_mut().zip(ways) {
                *x = here + (ahead - here) * share + (here - old) * (1.0 - share);
            }
            ball.project(clean, &mut self.x);
        }
        self.old = here;
    }

    /// The signs of the steepest values share the step.
    fn step_l1(&self, x: &mut [f32]) {
        let values = x.len();
        let kept = whole(self.share * values as f64).clamp(1, values);
        let mut sizes: Vec<f32> = self.gradient.iter().map(|slope| slope.abs()).collect();
        let (_, least, _) = sizes.select_nth_unstable_by(kept - 1, |a, b| b.total_cmp(a));
        let least = *least;
        let steep = |slope: f32| if slope.abs() >= least { sign(slope) } else { 0.0 };
        let count = self.gradient.iter().filter(|slope| steep(**slope) != 0.0).count().max(1);
        let step = self.step / count as f32;
        for (value, slope) in x.iter_mut().zip(&self.gradient) {
            *value += step * steep(*slope);
        }
    }

    fn learn(&mut self) {
        self.rises += usize::from(self.loss > self.before);
        if self.loss > self.best_loss {
            self.best_loss = self.loss;
            self.best.clone_from(&self.x);
            self.best_gradient.clone_from(&self.gradient);
        }
    }

    /// Halves the step and goes back to the best point where the loss rose too seldom since the last checkpoint, or where
    /// neither the step was halved nor the best loss rose (section 3.1, conditions 1 and 2).
    fn check(&mut self, window: usize) {
        let seldom = self.rises as f64 <= RISES * window as f64;
        let stuck = !self.halved && self.checked >= self.best_loss;
        self.halved = seldom || stuck;
        if self.halved {
            self.step /= 2.0;
            self.x.clone_from(&self.best);
            self.gradient.clone_from(&self.best_gradient);
            self.loss = self.best_loss;
        }
        self.checked = self.best_loss;
        self.rises = 0;
    }

    /// Steps become as sparse as the best change is; while that still becomes sparser, steps stay long and begin again at the
    /// best point.
    fn check_l1(&mut self, ball: Ball<'_>, clean: &[f32]) {
        let moved = self.best.iter().zip(clean).filter(|(x, clean)| differ(**x, **clean)).count() as f64;
        self.share = moved / clean.len() as f64 / SPARSER;
        if moved / self.moved.max(1.0) < SPARSER_STILL {
            self.step = ball.eps;
            self.x.clone_from(&self.best);
            self.gradient.clone_from(&self.best_gradient);
        } else {
            self.step = (self.step / narrow(SPARSER)).max(ball.eps / L1_STEP_LEAST);
        }
        self.moved = moved;
        self.rises = 0;
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a share of a count, cut to a whole number"
)]
fn whole(share: f64) -> usize {
    share.max(0.0) as usize
}

/// The share of the gradient step; the rest goes on as before.
const MOMENTUM: f32 = 0.75;
/// The first step in radii.
const FIRST_STEP: f32 = 2.0;
/// The share of steps that must raise the loss.
const RISES: f64 = 0.75;
/// L1: radii and shares of the steps of each stage.
const L1_STAGES: [(f32, f64); 3] = [(3.0, 0.3), (2.0, 0.3), (1.0, 0.4)];
/// L1: share of the values that the first steps move.
const FIRST_SHARE: f64 = 0.2;
/// L1: steps move fewer values than the best change has, by this factor; also how fast they shorten.
const SPARSER: f64 = 1.5;
/// L1: the best change still becomes sparser when it has less than this share of what it had.
const SPARSER_STILL: f64 = 0.95;
/// L1: the shortest step is the radius over this.
const L1_STEP_LEAST: f32 = 10.0;
const APGD_STREAM: u64 = 10;
