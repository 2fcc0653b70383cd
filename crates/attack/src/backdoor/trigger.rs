//! Triggers, and how they are found: the smallest change, the same for every input, that makes a model answer one class.
//!
//! A backdoored class needs a much smaller change than the others (Wang et al. 2019, "Neural Cleanse", section IV). A patch is a
//! mask and a pattern, the mask's sum kept small; a blend is added to the whole input, its length kept small, and stands for
//! triggers without a place of their own.

use crate::{
    ball::Range,
    error::AttackError,
    examples::Examples,
    loss::{Goal, Loss},
    oracle::Oracle,
    random::stream,
};

/// How a trigger changes an input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TriggerKind {
    /// Some values are replaced.
    Patch,
    /// Something is added to all values.
    Blend,
}

impl TriggerKind {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Patch, Self::Blend];

    /// As written in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Patch => "patch",
            Self::Blend => "blend",
        }
    }
}

/// A change that is the same for every input.
#[derive(Debug, Clone, PartialEq)]
pub struct Trigger {
    /// The class that it leads to.
    pub target: usize,
    /// How it changes an input.
    pub kind: TriggerKind,
    /// Share of each value that is replaced, 0..=1; 1 everywhere for a blend.
    pub mask: Vec<f32>,
    /// What replaces it, or is added.
    pub pattern: Vec<f32>,
}

impl Trigger {
    /// One input with the trigger, within `range`. Values past the trigger's end stay.
    pub fn apply(&self, input: &mut [f32], range: Range) {
        for (value, (mask, pattern)) in input.iter_mut().zip(self.mask.iter().zip(&self.pattern)) {
            let changed = match self.kind {
                TriggerKind::Patch => *value + mask * (pattern - *value),
                TriggerKind::Blend => *value + pattern,
            };
            *value = changed.clamp(range.low(), range.high());
        }
    }

    /// Its size: replaced values for a patch (a mask's sum), the Euclidean length for a blend.
    pub fn size(&self) -> f64 {
        match self.kind {
            TriggerKind::Patch => self.mask.iter().map(|share| f64::from(*share)).sum(),
            TriggerKind::Blend => self.pattern.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>().sqrt(),
        }
    }

    /// All examples with the trigger, their labels as they were.
    pub fn stamp(&self, examples: &Examples, range: Range) -> Result<Examples, AttackError> {
        let mut data = examples.inputs().data.clone();
        data.chunks_exact_mut(examples.width()).for_each(|row| self.apply(row, range));
        examples.with_inputs(data)
    }
}

/// A trigger that was found, and how well it works.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    pub(crate) trigger: Trigger,
    /// Share of the victims that it turns.
    pub(crate) success: f64,
}

/// Searches for the smallest trigger of one kind towards one class.
pub(crate) struct Search<'s> {
    pub(crate) oracle: &'s Oracle<'s>,
    /// Inputs of other classes than the target.
    pub(crate) victims: Examples,
    pub(crate) kind: TriggerKind,
    pub(crate) target: usize,
    pub(crate) range: Range,
    pub(crate) steps: usize,
    pub(crate) seed: u64,
}

impl Search<'_> {
    /// The smallest trigger seen that turned nearly every input of its batch; the last one where none did.
    pub(crate) fn run(&self) -> Result<Found, AttackError> {
        let mut state = State::new(self);
        let mut best: Option<Trigger> = None;
        let mut order: Vec<usize> = (0..self.victims.count()).collect();
        stream(self.seed, &[TRIGGER_STREAM, self.target as u64]).shuffle(&mut order);
        for step in 0..self.steps {
            let places: Vec<usize> =
                (0..BATCH.min(order.len())).map(|row| order[(step * BATCH + row) % order.len()]).collect();
            let batch = self.victims.pick(&places);
            let trigger = state.trigger(self);
            let turned = state.step(self, &batch, &trigger)?;
            let smaller = best.as_ref().is_none_or(|best| trigger.size() < best.size());
            if turned >= TURNED && smaller {
                best = Some(trigger);
            }
        }
        let trigger = best.unwrap_or_else(|| state.trigger(self));
        let stamped = trigger.stamp(&self.victims, self.range)?;
        let predicted = self.oracle.predict(&stamped.inputs().data)?;
        let turned = predicted.iter().filter(|class| **class == Some(self.target)).count();
        Ok(Found { trigger, success: turned as f64 / stamped.count() as f64 })
    }

    /// Places that share one entry of the mask: a picture's channels.
    fn places(&self) -> usize {
        match self.oracle.shape() {
            [_, height, width] => height * width,
            _ => self.victims.width(),
        }
    }
}

/// What is optimised: unbounded numbers behind mask and pattern.
struct State {
    mask: Descent,
    pattern: Descent,
    /// Weight of the size against the answer.
    weight: f32,
}

impl State {
    fn new(search: &Search<'_>) -> Self {
        let mut random = stream(search.seed, &[TRIGGER_STREAM, search.target as u64, search.kind as u64]);
        let (masks, values) = (search.places(), search.victims.width());
        let mut start = |count: usize, middle: f32, width: f32| -> Vec<f32> {
            (0..count).map(|_| middle + random.uniform_in(-width, width)).collect()
        };
        match search.kind {
            TriggerKind::Patch => Self {
                mask: Descent::new(start(masks, MASK_START, 0.5), RATE),
                pattern: Descent::new(start(values, 0.0, 1.0), RATE),
                weight: WEIGHT_START,
            },
            TriggerKind::Blend => Self {
                mask: Descent::new(Vec::new(), RATE),
                pattern: Descent::new(start(values, 0.0, 0.01), BLEND_RATE * search.range.width()),
                weight: WEIGHT_START,
            },
        }
    }

    fn trigger(&self, search: &Search<'_>) -> Trigger {
        let (target, kind, width) = (search.target, search.kind, search.victims.width());
        let (low, span) = (search.range.low(), search.range.width());
        match kind {
            TriggerKind::Patch => Trigger {
                target,
                kind,
                mask: (0..width).map(|place| squash(self.mask.at[place % self.mask.at.len()])).collect(),
                pattern: self.pattern.at.iter().map(|value| low + span * squash(*value)).collect(),
            },
            TriggerKind::Blend => Trigger { target, kind, mask: vec![1.0; width], pattern: self.pattern.at.clone() },
        }
    }

    /// One step of Adam; the share of the batch that the trigger turned.
    fn step(&mut self, search: &Search<'_>, batch: &Examples, trigger: &Trigger) -> Result<f64, AttackError> {
        let stamped = trigger.stamp(batch, search.range)?;
        let goals: Vec<Goal> =
            batch.labels().iter().map(|label| Goal { label: *label, target: Some(search.target) }).collect();
        let slope = search.oracle.slope_to(&stamped.inputs().data, &goals, Loss::CrossEntropy)?;
        let turned = slope.predicted.iter().filter(|class| **class == Some(search.target)).count();
        let turned = turned as f64 / batch.count() as f64;
        let share = 1.0 / batch.count() as f32;
        match search.kind {
            TriggerKind::Patch => self.patch_step(search, batch, trigger, &slope.gradient, share),
            TriggerKind::Blend => self.blend_step(trigger, &slope.gradient, share),
        }
        // The size counts as much as the answer allows (Neural Cleanse, section V-A).
        self.weight = if turned >= TURNED { self.weight * FASTER } else { self.weight / FASTER }.clamp(1e-6, 10.0);
        Ok(turned)
    }

    /// `uphill` is the slope of the target's log-probability.
    fn patch_step(&mut self, search: &Search<'_>, batch: &Examples, trigger: &Trigger, uphill: &[f32], share: f32) {
        let (masks, width) = (self.mask.at.len(), batch.width());
        let (mut mask, mut pattern) = (vec![self.weight; masks], vec![0.0; width]);
        for (row, slope) in uphill.chunks_exact(width).enumerate() {
            for (place, (slope, clean)) in slope.iter().zip(batch.row(row)).enumerate() {
                mask[place % masks] -= share * slope * (trigger.pattern[place] - clean);
                pattern[place] -= share * slope * trigger.mask[place];
            }
        }
        for (slope, at) in mask.iter_mut().zip(&self.mask.at) {
            *slope *= squash(*at) * (1.0 - squash(*at));
        }
        for (slope, at) in pattern.iter_mut().zip(&self.pattern.at) {
            *slope *= search.range.width() * squash(*at) * (1.0 - squash(*at));
        }
        self.mask.step(&mask);
        self.pattern.step(&pattern);
    }

    fn blend_step(&mut self, trigger: &Trigger, uphill: &[f32], share: f32) {
        let width = trigger.pattern.len();
        let length = crate::ball::narrow(trigger.size()).max(f32::MIN_POSITIVE);
        let mut pattern: Vec<f32> = trigger.pattern.iter().map(|value| self.weight * value / length).collect();
        for slope in uphill.chunks_exact(width) {
            for (pattern, slope) in pattern.iter_mut().zip(slope) {
                *pattern -= share * slope;
            }
        }
        self.pattern.step(&pattern);
    }
}

/// Adam (Kingma and Ba 2015, algorithm 1) on plain numbers, with Neural Cleanse's decays.
struct Descent {
    at: Vec<f32>,
    rate: f32,
    first: Vec<f32>,
    second: Vec<f32>,
    steps: i32,
}

impl Descent {
    fn new(at: Vec<f32>, rate: f32) -> Self {
        let zeros = vec![0.0; at.len()];
        Self { at, rate, first: zeros.clone(), second: zeros, steps: 0 }
    }

    fn step(&mut self, slope: &[f32]) {
        self.steps = self.steps.saturating_add(1);
        let (one, two) = (1.0 - DECAYS[0].powi(self.steps), 1.0 - DECAYS[1].powi(self.steps));
        let moments = self.first.iter_mut().zip(&mut self.second);
        for ((at, slope), (first, second)) in self.at.iter_mut().zip(slope).zip(moments) {
            *first = DECAYS[0] * *first + (1.0 - DECAYS[0]) * slope;
            *second = DECAYS[1] * *second + (1.0 - DECAYS[1]) * slope * slope;
            *at -= self.rate * (*first / one) / ((*second / two).sqrt() + 1e-8);
        }
    }
}

fn squash(value: f32) -> f32 {
    1.0 / (1.0 + (-value).exp())
}

/// Inputs of one step.
const BATCH: usize = 32;
/// Share of a batch that counts as nearly every input.
const TURNED: f64 = 0.97;
/// Where masks start, before squashing: a sixth.
const MASK_START: f32 = -1.5;
const WEIGHT_START: f32 = 0.01;
const FASTER: f32 = 1.2;
const RATE: f32 = 0.15;
const BLEND_RATE: f32 = 0.02;
const DECAYS: [f32; 2] = [0.5, 0.9];
const TRIGGER_STREAM: u64 = 50;
