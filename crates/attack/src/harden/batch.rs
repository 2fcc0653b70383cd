//! One epoch of training: which inputs, and which loss of them.

use std::collections::BTreeSet;

use ringfence_nn::{Gradients, Model, Tensor, Want, random::Random};

use ringfence_schema::report::UnlearnedTrigger;

use super::{ATTACK_STEPS_MAX, HardenPlan, Mode, REPLAYS_MAX, stepper::Stepper, watch::Seen};
use crate::{
    augment::Shift,
    backdoor::{BackdoorPlan, Caught, Stamper, Trigger, TriggerKind, hunt, mean_success, prune, smallest},
    ball::{Ball, Norm, narrow},
    error::AttackError,
    examples::Examples,
    loss::Loss,
    oracle::Oracle,
    random::stream,
    schedule::Schedule,
};

/// The examples, split, and the attacker that trains with them.
pub(super) struct Trainer<'a> {
    plan: &'a HardenPlan,
    examples: &'a Examples,
    /// Examples to train on.
    training: Vec<usize>,
    /// Examples that only watch.
    held: Vec<usize>,
    schedule: Schedule,
    pub(super) attack_steps: usize,
    pub(super) replays: usize,
    /// Changes that [`Mode::Free`] carries from batch to batch, by row.
    pub(super) carried: Vec<f32>,
    shift: Option<Shift>,
    unlearning: Unlearning,
}

/// What [`Mode::Unlearn`] takes out.
#[derive(Default)]
struct Unlearning {
    triggers: Vec<Trigger>,
    /// Share of the held-out examples that each turned before, and units pruned.
    before: Vec<f64>,
    pruned: u64,
    /// Classes that triggers lead to, kinds of triggers, and the usual size of those.
    sought: Vec<(usize, TriggerKind, f64)>,
    /// What the network still answers at the beginning of this epoch.
    fresh: Vec<Trigger>,
}

/// Where in the training a batch stands.
#[derive(Clone, Copy)]
struct At {
    epoch: u64,
    eps: f32,
    rate: f32,
}

impl<'a> Trainer<'a> {
    pub(super) fn new(plan: &'a HardenPlan, examples: &'a Examples) -> Result<Self, AttackError> {
        if examples.count() < 2 {
            return Err(AttackError::Empty { what: "examples to train on besides those that watch" });
        }
        let mut training: Vec<usize> = (0..examples.count()).collect();
        stream(plan.seed, &[SPLIT_STREAM]).shuffle(&mut training);
        let held = training.split_off(training.len() - held_out(training.len(), plan.held_out));
        let schedule = Schedule { rate: plan.rate, eps: plan.eps, warm_up: plan.warm_up };
        let shift = if plan.shift == 0 { None } else { Some(Shift::new(examples, plan.shift)?) };
        let (attack_steps, replays) = (plan.attack_steps, plan.replays);
        Ok(Self {
            plan,
            examples,
            training,
            held,
            schedule,
            attack_steps,
            replays,
            carried: Vec::new(),
            shift,
            unlearning: Unlearning::default(),
        })
    }

    /// Finds the triggers that are to be unlearned and prunes what answers them. Refuses a model in which none is suspicious.
    pub(super) fn find(&mut self, model: &mut Model) -> Result<(), AttackError> {
        let plan = BackdoorPlan { range: self.plan.range, seed: self.plan.seed, ..BackdoorPlan::default() };
        let training = self.examples.pick(&self.training).sample(SOUGHT_ON, self.plan.seed);
        let caught = hunt(model, &training, &plan)?;
        let bad: Vec<usize> =
            caught.iter().filter(|one| one.suspicious()).map(|one| one.found.trigger.target).collect();
        let sought = caught.iter().filter(|one| bad.contains(&one.found.trigger.target));
        let sought = sought.map(|one| (one.found.trigger.target, one.found.trigger.kind, one.usual())).collect();
        let triggers: Vec<Trigger> =
            caught.into_iter().filter(Caught::suspicious).map(|caught| caught.found.trigger).collect();
        if triggers.is_empty() {
            return Err(AttackError::NoTrigger);
        }
        let (held, range) = (self.held_out(), self.plan.range);
        let before = triggers.iter().map(|trigger| mean_success(model, &held, std::slice::from_ref(trigger), range));
        let before = before.collect::<Result<Vec<f64>, _>>()?;
        let pruned = prune(model, &training, &triggers, range)?;
        self.unlearning = Unlearning { triggers, before, pruned, sought, fresh: Vec::new() };
        Ok(())
    }

    /// Finds what the network still answers: unlearning one trigger leaves others that lead to the same class (Zeng et al. 2022,
    /// "Adversarial unlearning of backdoors via implicit hypergradient", with searched triggers instead of their gradients). A trigger
    /// of the usual size is no backdoor's.
    fn refresh(&mut self, model: &Model, number: u64) -> Result<(), AttackError> {
        let seed = stream(self.plan.seed, &[AGAIN_STREAM, number]).bits();
        let plan = BackdoorPlan { range: self.plan.range, seed, steps: AGAIN_STEPS, ..BackdoorPlan::default() };
        let training = self.examples.pick(&self.training).sample(SOUGHT_ON, seed);
        self.unlearning.fresh.clear();
        for (target, kind, usual) in &self.unlearning.sought {
            let found = smallest(model, &training, (*target, *kind), &plan)?;
            if found.success > 0.5 && found.trigger.size() < UNUSUAL * usual {
                self.unlearning.fresh.push(found.trigger);
            }
        }
        Ok(())
    }

    /// How the network does on the examples that only watch.
    pub(super) fn watch(&self, model: &Model) -> Result<Seen, AttackError> {
        let held = self.held_out();
        if self.plan.mode != Mode::Unlearn {
            return Seen::of(self.plan, &held, model);
        }
        let seen = Seen::of(&HardenPlan { eps: 0.0, ..self.plan.clone() }, &held, model)?;
        let turned = mean_success(model, &held, &self.unlearning.triggers, self.plan.range)?;
        Ok(Seen { single: 1.0 - turned, robust: 1.0 - turned, ..seen })
    }

    /// What became of each trigger.
    pub(super) fn taken_out(&self, model: &Model) -> Result<Vec<UnlearnedTrigger>, AttackError> {
        let (held, range) = (self.held_out(), self.plan.range);
        let pairs = self.unlearning.triggers.iter().zip(&self.unlearning.before);
        pairs
            .map(|(trigger, before)| {
                Ok(UnlearnedTrigger {
                    target: trigger.target as u64,
                    kind: trigger.kind.name().into(),
                    size: trigger.size(),
                    before: *before,
                    after: mean_success(model, &held, std::slice::from_ref(trigger), range)?,
                    pruned: self.unlearning.pruned,
                })
            })
            .collect()
    }

    /// The examples that only watch.
    fn held_out(&self) -> Examples {
        self.examples.pick(&self.held)
    }

    /// A harder attacker from now on: a network that has learned to defeat this one cannot go on doing so.
    pub(super) fn harder(&mut self) {
        self.attack_steps = (self.attack_steps + 1).min(ATTACK_STEPS_MAX);
        self.replays = (self.replays + 1).min(REPLAYS_MAX);
        self.carried.clear();
    }

    /// Whether so few right answers show that nothing is learned.
    pub(super) fn is_chance(&self, accuracy: f64) -> bool {
        let classes: BTreeSet<usize> =
            self.held.iter().filter_map(|row| self.examples.labels().get(*row)).copied().collect();
        let enough = self.held.len() >= classes.len() * CHANCE_EXAMPLES;
        enough && classes.len() > 1 && accuracy < CHANCE / classes.len() as f64
    }

    /// Whether the radius is smaller than it will be, so many epochs after it began to grow.
    pub(super) fn is_growing(&self, epochs: u64) -> bool {
        self.schedule.eps_at(epochs as f32 / self.plan.epochs as f32) < self.plan.eps
    }

    /// The seed of other weights to begin with, where those before the epoch led nowhere.
    pub(super) fn other_weights(&self, epoch: u64) -> u64 {
        stream(self.plan.seed, &[WEIGHTS_STREAM, epoch]).bits()
    }

    /// Trains once on every training example, in the epoch of that number, with a radius that grows since another one; the mean
    /// loss.
    pub(super) fn epoch(
        &mut self,
        model: &mut Model,
        stepper: &mut Stepper,
        (number, grown_since): (u64, u64),
    ) -> Result<f64, AttackError> {
        let mut order = self.training.clone();
        stream(self.plan.seed, &[ORDER_STREAM, number]).shuffle(&mut order);
        let batches = order.len().div_ceil(self.plan.batch);
        if self.plan.mode == Mode::Unlearn {
            self.refresh(model, number)?;
        }
        let mut total = 0.0;
        for (index, places) in order.chunks(self.plan.batch).enumerate() {
            let passed = (number - 1) as f32 + index as f32 / batches as f32;
            let share = |passed: f32| passed / self.plan.epochs as f32;
            let (eps, rate) = (share(passed - grown_since as f32), share(passed));
            let at = At { epoch: number, eps: self.schedule.eps_at(eps), rate: self.schedule.rate_at(rate) };
            let mut clean = self.examples.pick(places);
            if let Some(shift) = &self.shift {
                clean = shift.apply(&clean, |row| self.random(SHIFT_STREAM, number, places[row]))?;
            }
            total += match self.plan.mode {
                Mode::Free if at.eps > 0.0 => self.replayed(model, stepper, &clean, places, at)?,
                Mode::Trades if at.eps > 0.0 => self.agreeing(model, stepper, &clean, places, at)?,
                Mode::Unlearn => {
                    let batch = self.stamped(&clean, places, at)?;
                    let found = self.slopes(model, batch.inputs(), batch.labels(), Want::Parameters)?;
                    step(model, stepper, &found, at)?
                }
                Mode::Adversarial | Mode::Free | Mode::Trades => {
                    let batch = self.attacked(model, clean, places, at)?;
                    let found = self.slopes(model, batch.inputs(), batch.labels(), Want::Parameters)?;
                    step(model, stepper, &found, at)?
                }
            };
        }
        Ok(total / order.len() as f64)
    }

    /// FGSM from a random start (Wong et al. 2020, algorithm 3), or several steps of it, for all but the clean share.
    fn attacked(&self, model: &Model, clean: Examples, places: &[usize], at: At) -> Result<Examples, AttackError> {
        let attacked: Vec<usize> = (0..places.len()).filter(|row| self.struck(at, places[*row])).collect();
        if at.eps <= 0.0 || attacked.is_empty() {
            return Ok(clean);
        }
        let ball = Ball::new(Norm::Linf, at.eps, self.plan.range);
        let oracle = Oracle::new(model, &clean)?;
        let width = clean.width();
        let labels: Vec<usize> = attacked.iter().map(|row| clean.labels()[*row]).collect();
        let mut points: Vec<f32> = attacked
            .iter()
            .flat_map(|row| ball.random_point(clean.row(*row), &mut self.random(START_STREAM, at.epoch, places[*row])))
            .collect();
        for _ in 0..self.attack_steps {
            let slope = oracle.slope(&points, &labels, Loss::CrossEntropy)?;
            let rows = points.chunks_exact_mut(width).zip(slope.gradient.chunks_exact(width));
            for ((point, gradient), row) in rows.zip(&attacked) {
                ball.ascend(clean.row(*row), point, gradient, self.stride(at));
            }
        }
        let mut data = clean.inputs().data.clone();
        for (point, row) in points.chunks_exact(width).zip(&attacked) {
            data[row * width..(row + 1) * width].copy_from_slice(point);
        }
        clean.with_inputs(data)
    }

    /// All but the clean share changed: by a trigger that was found, by one that still works, or at random.
    fn stamped(&self, clean: &Examples, places: &[usize], at: At) -> Result<Examples, AttackError> {
        let Unlearning { triggers, fresh, .. } = &self.unlearning;
        let shape = clean.shape_of(1);
        let stamper = Stamper { shape: shape.get(1..).unwrap_or_default(), range: self.plan.range };
        let mut data = clean.inputs().data.clone();
        for (row, input) in data.chunks_exact_mut(clean.width()).enumerate() {
            let place = places[row];
            if !self.struck(at, place) {
                continue;
            }
            let mut random = self.random(START_STREAM, at.epoch, place);
            let share = random.uniform();
            let (known, again) = (random.below(triggers.len()), random.below(fresh.len()));
            match (triggers.get(known), fresh.get(again)) {
                (Some(trigger), _) if share < FOUND => stamper.trigger(input, trigger, &mut random),
                (_, Some(trigger)) if share < FOUND + STILL => trigger.apply(input, self.plan.range),
                _ => stamper.any(input, &mut random),
            }
        }
        clean.with_inputs(data)
    }

    /// Trains on a batch again and again; each backward pass moves the weights down and the inputs up.
    fn replayed(
        &mut self,
        model: &mut Model,
        stepper: &mut Stepper,
        clean: &Examples,
        places: &[usize],
        at: At,
    ) -> Result<f64, AttackError> {
        let (ball, width) = (Ball::new(Norm::Linf, at.eps, self.plan.range), clean.width());
        let mut carried = std::mem::take(&mut self.carried);
        carried.resize(carried.len().max(places.len() * width), 0.0);
        let mut total = 0.0;
        for _ in 0..self.replays {
            let mut points = clean.inputs().clone();
            for (row, point) in points.data.chunks_exact_mut(width).enumerate() {
                if self.struck(at, places[row]) {
                    let change = carried[row * width..(row + 1) * width].iter();
                    point.iter_mut().zip(change).for_each(|(value, change)| *value += change);
                    ball.project(clean.row(row), point);
                }
            }
            let found = self.slopes(model, &points, clean.labels(), Want::Both)?;
            total += step(model, stepper, &found, at)? / self.replays as f64;
            let uphill = found.input.unwrap_or_default();
            for (change, slope) in carried.iter_mut().zip(&uphill.data) {
                let sign = if *slope == 0.0 { 0.0 } else { slope.signum() };
                *change = (*change + at.eps * sign).clamp(-at.eps, at.eps);
            }
        }
        self.carried = carried;
        Ok(total)
    }

    /// TRADES: cross-entropy of the clean inputs, and `beta` times the divergence of the answers nearby from theirs
    /// (Zhang et al. 2019, eq. 5). Both answers get their gradient.
    fn agreeing(
        &self,
        model: &mut Model,
        stepper: &mut Stepper,
        clean: &Examples,
        places: &[usize],
        at: At,
    ) -> Result<f64, AttackError> {
        let ball = Ball::new(Norm::Linf, at.eps, self.plan.range);
        let (rows, width, x) = (clean.count(), clean.width(), clean.inputs());
        let beta = self.plan.beta;
        let here = distributions(model, x)?;
        let mut near = x.clone();
        for (row, point) in near.data.chunks_exact_mut(width).enumerate() {
            let mut random = self.random(START_STREAM, at.epoch, places[row]);
            for value in point.iter_mut() {
                *value += NUDGE * narrow(random.normal());
            }
            ball.project(clean.row(row), point);
        }
        for _ in 0..self.attack_steps {
            let found = model.pullback(&near, Want::Input, &|row, scores, seed| {
                let there = distribution(scores);
                seed.iter_mut().zip(there.iter().zip(&here[row])).for_each(|(seed, (q, p))| *seed = q - p);
                divergence(&here[row], &there)
            })?;
            let uphill = found.input.unwrap_or_default();
            for (row, point) in near.data.chunks_exact_mut(width).enumerate() {
                if let Some(slope) = uphill.data.get(row * width..(row + 1) * width) {
                    ball.ascend(clean.row(row), point, slope, self.stride(at));
                }
            }
        }
        for (row, place) in places.iter().enumerate().filter(|(_, place)| !self.struck(at, **place)) {
            debug_assert!(*place < self.examples.count());
            near.data[row * width..(row + 1) * width].copy_from_slice(clean.row(row));
        }
        let there = distributions(model, &near)?;
        let share = 1.0 / rows as f32;
        let mut found = model.pullback(x, Want::Parameters, &|row, scores, seed| {
            let loss = self.labelled(scores, clean.labels()[row], seed);
            let (p, q) = (&here[row], &there[row]);
            let apart = divergence(p, q);
            for ((seed, p), q) in seed.iter_mut().zip(p).zip(q) {
                *seed = (*seed + beta * p * (ratio(*p, *q) - apart)) * share;
            }
            loss + beta * apart
        })?;
        let nearby = model.pullback(&near, Want::Parameters, &|row, scores, seed| {
            let there = distribution(scores);
            for (seed, (q, p)) in seed.iter_mut().zip(there.iter().zip(&here[row])) {
                *seed = beta * (q - p) * share;
            }
            0.0
        })?;
        for (all, more) in found.parameters.iter_mut().flatten().zip(nearby.parameters.iter().flatten()) {
            all.data.iter_mut().zip(&more.data).for_each(|(all, more)| *all += more);
        }
        step(model, stepper, &found, at)
    }

    /// Losses of a batch against its labels, and the gradient of their mean.
    fn slopes(
        &self,
        model: &Model,
        x: &Tensor<f32>,
        labels: &[usize],
        want: Want,
    ) -> Result<Gradients<f32>, AttackError> {
        if self.plan.smoothing == 0.0 {
            return Ok(model.gradients(x, labels, want)?);
        }
        let share = 1.0 / labels.len() as f32;
        Ok(model.pullback(x, want, &|row, scores, seed| {
            let loss = self.labelled(scores, labels.get(row).copied().unwrap_or_default(), seed);
            for slope in seed {
                *slope *= share;
            }
            loss
        })?)
    }

    /// Cross-entropy against the label, of whose weight `smoothing` is spread over all classes.
    fn labelled(&self, scores: &[f32], label: usize, seed: &mut [f32]) -> f32 {
        let spread = self.plan.smoothing / scores.len().max(1) as f32;
        let p = distribution(scores);
        let mut loss = 0.0;
        for (class, (slope, p)) in seed.iter_mut().zip(p.iter()).enumerate() {
            let wanted = spread + if class == label { 1.0 - self.plan.smoothing } else { 0.0 };
            *slope = p - wanted;
            loss -= wanted * p.max(f32::MIN_POSITIVE).ln();
        }
        loss
    }

    /// Whether this example is attacked in this epoch.
    fn struck(&self, at: At, place: usize) -> bool {
        self.random(MIX_STREAM, at.epoch, place).uniform() >= f64::from(self.plan.clean_share)
    }

    /// Length of one step of the attacker.
    fn stride(&self, at: At) -> f32 {
        at.eps * self.plan.attack_span / self.attack_steps as f32
    }

    fn random(&self, purpose: u64, epoch: u64, place: usize) -> Random {
        stream(self.plan.seed, &[purpose, epoch, place as u64])
    }
}

/// Moves the weights; the sum of the losses.
fn step(model: &mut Model, stepper: &mut Stepper, found: &Gradients<f32>, at: At) -> Result<f64, AttackError> {
    stepper.step(model, found.parameters.as_deref().unwrap_or_default(), at.rate)?;
    Ok(found.loss_per_example.iter().map(|loss| f64::from(*loss)).sum())
}

/// The softmax of the unbounded scores of each row of `x`.
fn distributions(model: &Model, x: &Tensor<f32>) -> Result<Vec<Vec<f32>>, AttackError> {
    let scores = model.forward(x)?;
    let kind = model.output_kind();
    Ok(scores
        .rows()
        .map(|row| match kind {
            ringfence_nn::OutputKind::Probabilities => row.to_vec(),
            ringfence_nn::OutputKind::Logits | ringfence_nn::OutputKind::LogProbabilities => distribution(row),
        })
        .collect())
}

fn distribution(scores: &[f32]) -> Vec<f32> {
    let largest = scores.iter().copied().fold(f32::MIN, f32::max);
    let mut p: Vec<f32> = scores.iter().map(|score| (score - largest).exp()).collect();
    let sum: f32 = p.iter().sum();
    for p in &mut p {
        *p /= sum;
    }
    p
}

/// Kullback-Leibler divergence of `q` from `p`, in nats.
fn divergence(p: &[f32], q: &[f32]) -> f32 {
    p.iter().zip(q).map(|(p, q)| p * ratio(*p, *q)).sum()
}

/// ln(p / q), with what rounded to nothing held at the least number.
fn ratio(p: f32, q: f32) -> f32 {
    p.max(f32::MIN_POSITIVE).ln() - q.max(f32::MIN_POSITIVE).ln()
}

/// How many of `count` examples only watch: the share, at least one, at most [`HELD_OUT_MAX`], never all.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a share in 0..=0.5 of a length is a smaller length"
)]
fn held_out(count: usize, share: f32) -> usize {
    let wanted = (count as f64 * f64::from(share)) as usize;
    wanted.clamp(1, HELD_OUT_MAX).min(count.saturating_sub(1))
}

/// Standard deviation of the start of the TRADES attacker: at the clean input itself the divergence has no slope
/// (Zhang et al. 2019, section 5).
const NUDGE: f32 = 0.001;
/// Examples that only watch; more would cost time without telling more.
const HELD_OUT_MAX: usize = 512;
/// Training examples on which triggers are sought.
const SOUGHT_ON: usize = 512;
/// Steps of a search for what still works.
const AGAIN_STEPS: usize = 100;
/// Share of the usual size below which a trigger is trained against.
const UNUSUAL: f64 = 0.8;
/// Shares of changed inputs with a trigger that was found, and with one that still works.
const FOUND: f64 = 0.35;
const STILL: f64 = 0.3;
/// Times what guessing gets right, below which nothing is learned, and the held-out examples of each class that can tell.
const CHANCE: f64 = 1.5;
const CHANCE_EXAMPLES: usize = 10;
const SPLIT_STREAM: u64 = 4;
const ORDER_STREAM: u64 = 5;
const SHIFT_STREAM: u64 = 6;
const MIX_STREAM: u64 = 7;
const START_STREAM: u64 = 8;
const AGAIN_STREAM: u64 = 9;
const WEIGHTS_STREAM: u64 = 10;
