//! Attacks that change inputs.
//!
//! An [`Attack`] takes the examples that still stand in a [`Field`] and says which of them it fooled, with the inputs that did it.
//! It names the capability and the norms that it needs. An example is left alone as soon as it is fooled (first success
//! wins, over steps, targets and restarts), which is the fastest way to the same worst case.
//!
//! | capability | attacks |
//! |---|---|
//! | input gradients | [`single::Fgsm`], [`pgd::Pgd`], [`apgd::Apgd`], [`fab::Fab`], [`minimal::CarliniWagner`], [`minimal::DeepFool`], [`patch::Patched`] |
//! | scores | [`square::Square`], [`estimate::Estimated`] (NES, SPSA) |
//! | labels alone | [`single::Noise`], [`hop::HopSkipJump`], [`transfer::Transfer`] |
//!
//! Random numbers are named by seed, attack, restart and example, so that an example's fate does not depend on those beside it.

pub(crate) mod apgd;
pub(crate) mod estimate;
pub(crate) mod fab;
pub(crate) mod hop;
pub(crate) mod minimal;
pub(crate) mod patch;
pub(crate) mod pgd;
pub(crate) mod single;
pub(crate) mod square;
pub(crate) mod transfer;

use ringfence_nn::random::Random;

use crate::{
    ball::{Ball, Norm},
    error::AttackError,
    examples::Examples,
    loss::{Goal, ranked},
    oracle::Oracle,
    random::stream,
    source::Capability,
};

/// A way to change inputs.
pub(crate) trait Attack {
    /// As written in reports, such as `apgd-ce`.
    fn name(&self) -> String;

    /// What it needs of the model.
    fn needs(&self) -> Capability;

    /// The norms that it knows.
    fn norms(&self) -> &'static [Norm] {
        &[Norm::Linf, Norm::L2, Norm::L1, Norm::L0]
    }

    /// Attacks the `standing` examples.
    fn strike(&self, field: &Field<'_>, standing: &[usize]) -> Result<Outcome, AttackError>;

    /// Attacks, or says why it cannot: a capability or a norm that is missing.
    fn run(&self, field: &Field<'_>, standing: &[usize]) -> Result<Outcome, AttackError> {
        self.allowed(field.oracle, field.ball.norm)?;
        let mut outcome = self.strike(field, standing)?;
        outcome.sift(field)?;
        outcome.fooled.sort_by_key(|(place, _)| *place);
        outcome.standing.sort_unstable();
        Ok(outcome)
    }

    /// Refuses a pairing that cannot work.
    fn allowed(&self, oracle: &Oracle<'_>, norm: Norm) -> Result<(), AttackError> {
        oracle.allow(&self.name(), self.needs())?;
        if self.norms().contains(&norm) {
            return Ok(());
        }
        let known: Vec<&str> = self.norms().iter().map(|norm| norm.name()).collect();
        Err(AttackError::Norm { attack: self.name(), norm: norm.name(), known: known.join(", ") })
    }
}

/// What attacks work on.
#[derive(Clone, Copy)]
pub(crate) struct Field<'a> {
    pub(crate) oracle: &'a Oracle<'a>,
    pub(crate) examples: &'a Examples,
    pub(crate) ball: Ball<'a>,
    pub(crate) seed: u64,
    /// The class that inputs shall be taken for; `None` is any wrong one.
    pub(crate) target: Option<usize>,
}

impl<'a> Field<'a> {
    /// The same examples in another ball.
    pub(crate) const fn within(self, ball: Ball<'a>) -> Self {
        Self { ball, ..self }
    }

    pub(crate) fn clean(&self, place: usize) -> &'a [f32] {
        self.examples.row(place)
    }

    pub(crate) fn label(&self, place: usize) -> usize {
        self.examples.labels()[place]
    }

    pub(crate) fn goal(&self, place: usize) -> Goal {
        Goal { label: self.label(place), target: self.target }
    }

    /// Whether this answer is what the attacker wants.
    pub(crate) fn won(&self, place: usize, predicted: Option<usize>) -> bool {
        match self.target {
            None => predicted != Some(self.label(place)),
            Some(target) => target != self.label(place) && predicted == Some(target),
        }
    }

    /// The numbers for one purpose, restart and example.
    pub(crate) fn random(&self, purpose: u64, restart: usize, place: usize) -> Random {
        stream(self.seed, &[purpose, restart as u64, place as u64])
    }

    /// For each example the classes to try in turn: the attacker's own, or those with the best scores at the clean input.
    pub(crate) fn targets(&self, standing: &[usize], most: usize) -> Result<Vec<Vec<usize>>, AttackError> {
        if let Some(target) = self.target {
            return Ok(standing.iter().map(|_| vec![target]).collect());
        }
        let clean: Vec<f32> = standing.iter().flat_map(|place| self.clean(*place)).copied().collect();
        let scores = self.oracle.scores(&clean)?;
        let rows = scores.chunks_exact(self.oracle.classes()).zip(standing);
        Ok(rows
            .map(|(scores, place)| {
                ranked(scores).into_iter().filter(|class| *class != self.label(*place)).take(most).collect()
            })
            .collect())
    }

    /// Of points that were seen to fool, those that still do as they would be returned: inside the ball, whole numbers whole.
    /// Asks again only where sealing changed something. The others come back as `None`.
    pub(crate) fn confirm(
        &self,
        points: Vec<(usize, Vec<f32>)>,
        queries: &mut u64,
    ) -> Result<Vec<Option<Vec<f32>>>, AttackError> {
        let mut sealed = points;
        if self.ball.needs_seal() && !sealed.is_empty() {
            for (place, point) in &mut sealed {
                self.ball.seal(self.clean(*place), point);
            }
            let data: Vec<f32> = sealed.iter().flat_map(|(_, point)| point).copied().collect();
            *queries += sealed.len() as u64;
            let predicted = self.oracle.predict(&data)?;
            return Ok(sealed
                .into_iter()
                .zip(predicted)
                .map(|((place, point), class)| {
                    (self.won(place, class) && self.ball.contains(self.clean(place), &point)).then_some(point)
                })
                .collect());
        }
        let inside = |(place, point): (usize, Vec<f32>)| self.ball.contains(self.clean(place), &point).then_some(point);
        Ok(sealed.into_iter().map(inside).collect())
    }
}

/// What an attack did to the examples that it was given.
#[derive(Debug, Clone, Default)]
pub(crate) struct Outcome {
    /// Fooled examples with the inputs that the model gets wrong, by rising example.
    pub(crate) fooled: Vec<(usize, Vec<f32>)>,
    /// Examples that still stand, rising.
    pub(crate) standing: Vec<usize>,
    /// Predictions and gradients asked for, over all examples.
    pub(crate) queries: u64,
}

impl Outcome {
    /// Nothing done yet.
    pub(crate) fn before(standing: &[usize]) -> Self {
        Self { standing: standing.to_vec(), ..Self::default() }
    }

    /// Both attacks together: an example stands if it stands against both, and one input that fooled is kept.
    pub(crate) fn joined(mut self, other: Self) -> Self {
        for (place, point) in other.fooled {
            if let Ok(found) = self.standing.binary_search(&place) {
                self.standing.remove(found);
                self.fooled.push((place, point));
            }
        }
        self.fooled.sort_by_key(|(place, _)| *place);
        self.queries += other.queries;
        self
    }

    /// Gives back what the model itself is not fooled by, where another engine computed its scores.
    fn sift(&mut self, field: &Field<'_>) -> Result<(), AttackError> {
        let points = joined(self.fooled.iter().map(|(_, point)| point.as_slice()));
        let Some(judged) = field.oracle.judge(&points)? else { return Ok(()) };
        let mut judged = judged.into_iter();
        let standing = &mut self.standing;
        self.fooled.retain(|(place, _)| {
            let fools = judged.next().is_some_and(|class| field.won(*place, class));
            if !fools {
                standing.push(*place);
            }
            fools
        });
        Ok(())
    }

    /// Predicts one point for each standing example as it would be returned, and moves the fooled ones over.
    pub(crate) fn judge(&mut self, field: &Field<'_>, points: &[f32]) -> Result<(), AttackError> {
        if self.standing.is_empty() {
            return Ok(());
        }
        let width = field.examples.width();
        let mut points = points.to_vec();
        for (place, point) in self.standing.iter().zip(points.chunks_exact_mut(width)) {
            field.ball.seal(field.clean(*place), point);
        }
        let predicted = field.oracle.predict(&points)?;
        self.queries += self.standing.len() as u64;
        let mut still = Vec::with_capacity(self.standing.len());
        for ((place, point), predicted) in self.standing.iter().zip(points.chunks_exact(width)).zip(predicted) {
            if field.won(*place, predicted) && field.ball.contains(field.clean(*place), point) {
                self.fooled.push((*place, point.to_vec()));
            } else {
                still.push(*place);
            }
        }
        self.standing = still;
        Ok(())
    }

    /// Whatever moves (a climber and where it is now) and was seen to fool is confirmed and taken out; those that go on are
    /// given back.
    pub(crate) fn settle<T>(
        &mut self,
        field: &Field<'_>,
        moving: Vec<T>,
        seen: &[bool],
        at: impl Fn(&T) -> (usize, &[f32]),
    ) -> Result<Vec<T>, AttackError> {
        let owned = |mover: &T| {
            let (place, point) = at(mover);
            (place, point.to_vec())
        };
        let candidates = moving.iter().zip(seen).filter(|(_, seen)| **seen).map(|(mover, _)| owned(mover)).collect();
        let mut confirmed = field.confirm(candidates, &mut self.queries)?.into_iter();
        let mut still = Vec::with_capacity(moving.len());
        for (mover, seen) in moving.into_iter().zip(seen) {
            match (*seen).then(|| confirmed.next().flatten()).flatten() {
                Some(point) => {
                    let place = at(&mover).0;
                    if let Ok(found) = self.standing.binary_search(&place) {
                        self.standing.remove(found);
                    }
                    self.fooled.push((place, point));
                }
                None => still.push(mover),
            }
        }
        Ok(still)
    }
}

/// Points of all movers after one another.
pub(crate) fn joined<'p>(points: impl Iterator<Item = &'p [f32]>) -> Vec<f32> {
    let mut all = Vec::new();
    join(points, &mut all);
    all
}

/// The same in place of what `all` holds.
pub(crate) fn join<'p>(points: impl Iterator<Item = &'p [f32]>, all: &mut Vec<f32>) {
    all.clear();
    let mut points = points.peekable();
    let width = points.peek().map_or(0, |point| point.len());
    all.reserve(points.size_hint().0.saturating_mul(width));
    points.for_each(|point| all.extend_from_slice(point));
}
