//! The state of a training as bytes, from which the same training goes on.
//!
//! Little-endian: [`MAGIC`]; SHA-256 of what the state belongs to (base model, plan, examples); the attacker; the curve; the
//! weights now and of the best epoch; what the optimiser remembers; SHA-256 of all before. The bytes are read as foreign: they
//! prove nothing about who wrote them, and nothing is taken that does not fit the model.

use ringfence_nn::Model;
use ringfence_schema::{Digest, digest::Hasher, report::Epoch};

use super::{ATTACK_STEPS_MAX, Best, HardenPlan, Hardening, REPLAYS_MAX, restore, watch::Seen, weights};
use crate::{error::AttackError, examples::Examples};

impl<'a> Hardening<'a> {
    /// Everything that the training needs to go on, between two epochs.
    pub fn state(&self) -> Vec<u8> {
        let mut to = MAGIC.to_vec();
        to.extend(self.bound.get_or_init(|| bound(self.base, self.plan, self.examples)).as_bytes());
        for number in [self.trainer.attack_steps, self.trainer.replays, self.epochs.len()] {
            to.extend((number as u64).to_le_bytes());
        }
        for epoch in &self.epochs {
            for number in [epoch.loss, epoch.clean_accuracy, epoch.robust_accuracy] {
                to.extend(number.to_le_bytes());
            }
            to.push(u8::from(epoch.rolled_back));
        }
        write_lists(&mut to, &weights(&self.model));
        to.extend(self.best.as_ref().map_or(0, |best| best.epoch).to_le_bytes());
        if let Some(best) = &self.best {
            for number in [best.seen.clean, best.seen.single, best.seen.robust] {
                to.extend(number.to_le_bytes());
            }
            write_lists(&mut to, &best.weights);
        }
        let (steps, lists) = self.stepper.memory();
        to.extend(i64::from(steps).to_le_bytes());
        for list in lists {
            write_lists(&mut to, list);
        }
        write_lists(&mut to, std::slice::from_ref(&self.trainer.carried));
        let digest = Digest::of(&to);
        to.extend(digest.as_bytes());
        to
    }

    /// Goes on from [`Hardening::state`] with the same model, examples and plan. Refuses what [`Hardening::new`] refuses, and
    /// a state that is damaged or belongs to another training ([`AttackError::State`]).
    pub fn resume(
        model: Model,
        examples: &'a Examples,
        plan: &'a HardenPlan,
        state: &[u8],
    ) -> Result<Self, AttackError> {
        let mut hardening = Self::new(model, examples, plan)?;
        let Some((body, digest)) = state.split_last_chunk::<{ Digest::BYTES }>() else { return Err(SHORT) };
        let mut from = Reader(body);
        if from.take(MAGIC.len())? != MAGIC {
            return Err(AttackError::State { problem: "it is not the state of a training" });
        }
        if Digest::of(body).as_bytes() != digest {
            return Err(AttackError::State { problem: "it was cut short or changed" });
        }
        let bound = *hardening.bound.get_or_init(|| bound(hardening.base, plan, examples));
        if from.take(Digest::BYTES)? != bound.as_bytes() {
            return Err(AttackError::State { problem: "it belongs to another model, plan or data" });
        }
        hardening.read(&mut from)?;
        if !from.0.is_empty() {
            return Err(AttackError::State { problem: "it is longer than it says" });
        }
        Ok(hardening)
    }

    fn read(&mut self, from: &mut Reader<'_>) -> Result<(), AttackError> {
        self.trainer.attack_steps = from.count(ATTACK_STEPS_MAX)?;
        self.trainer.replays = from.count(REPLAYS_MAX)?;
        let epochs = from.count(usize::try_from(self.plan.epochs).unwrap_or(usize::MAX))?;
        for number in 1..=epochs as u64 {
            let [loss, clean_accuracy, robust_accuracy] = [from.float()?, from.float()?, from.float()?];
            let rolled_back = from.take(1)? == [1];
            self.epochs.push(Epoch { epoch: number, loss, clean_accuracy, robust_accuracy, rolled_back });
        }
        let shapes: Vec<usize> = self.model.parameters().map(|parameter| parameter.data.len()).collect();
        restore(&mut self.model, &from.lists(&shapes)?.ok_or(OTHER)?);
        let best = from.count(epochs)?;
        if best > 0 {
            let seen = Seen { clean: from.float()?, single: from.float()?, robust: from.float()?, broken: false };
            let weights = from.lists(&shapes)?.ok_or(OTHER)?;
            self.best = Some(Best { epoch: best as u64, seen, weights });
        }
        let steps = i32::try_from(i64::from_le_bytes(from.eight()?)).map_err(|_| OTHER)?;
        let kinds = self.stepper.memory().1.len();
        let lists = (0..kinds).map(|_| Ok(from.lists(&shapes)?.unwrap_or_default()));
        let lists = lists.collect::<Result<Vec<_>, AttackError>>()?;
        self.stepper.remember(steps, lists);
        self.trainer.carried = from.carried(self.plan.batch.saturating_mul(self.examples.width()))?;
        Ok(())
    }
}

/// What a state belongs to.
fn bound(base: Digest, plan: &HardenPlan, examples: &Examples) -> Digest {
    let mut hasher = Hasher::new();
    hasher.update(base.as_bytes());
    hasher.update(format!("{plan:?}{:?}", examples.inputs().shape).as_bytes());
    for part in examples.inputs().data.chunks(HASHED_AT_ONCE) {
        let bytes: Vec<u8> = part.iter().flat_map(|value| value.to_le_bytes()).collect();
        hasher.update(&bytes);
    }
    for label in examples.labels() {
        hasher.update(&(*label as u64).to_le_bytes());
    }
    hasher.finish()
}

/// How many lists, and each with its length.
fn write_lists(to: &mut Vec<u8>, lists: &[Vec<f32>]) {
    to.extend((lists.len() as u64).to_le_bytes());
    for list in lists {
        to.extend((list.len() as u64).to_le_bytes());
        to.extend(list.iter().flat_map(|value| value.to_le_bytes()));
    }
}

/// What is left to read.
struct Reader<'b>(&'b [u8]);

impl<'b> Reader<'b> {
    fn take(&mut self, count: usize) -> Result<&'b [u8], AttackError> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(SHORT)?;
        self.0 = rest;
        Ok(taken)
    }

    fn eight(&mut self) -> Result<[u8; 8], AttackError> {
        self.take(8)?.try_into().map_err(|_| SHORT)
    }

    fn count(&mut self, most: usize) -> Result<usize, AttackError> {
        let number = u64::from_le_bytes(self.eight()?);
        usize::try_from(number).ok().filter(|number| *number <= most).ok_or(OTHER)
    }

    fn float(&mut self) -> Result<f64, AttackError> {
        let number = f64::from_le_bytes(self.eight()?);
        if number.is_finite() { Ok(number) } else { Err(OTHER) }
    }

    fn floats(&mut self, count: usize) -> Result<Vec<f32>, AttackError> {
        let bytes = self.take(count.checked_mul(4).ok_or(OTHER)?)?;
        let numbers = bytes.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes));
        Ok(numbers.collect())
    }

    /// Lists of these lengths, or none at all.
    fn lists(&mut self, lengths: &[usize]) -> Result<Option<Vec<Vec<f32>>>, AttackError> {
        if self.count(lengths.len())? != lengths.len() {
            return Ok(None);
        }
        let mut lists = Vec::with_capacity(lengths.len());
        for length in lengths {
            if self.count(*length)? != *length {
                return Err(OTHER);
            }
            lists.push(self.floats(*length)?);
        }
        Ok(Some(lists))
    }

    /// One list of at most so many numbers.
    fn carried(&mut self, most: usize) -> Result<Vec<f32>, AttackError> {
        if self.count(1)? != 1 {
            return Err(OTHER);
        }
        let length = self.count(most)?;
        self.floats(length)
    }
}

/// What every state begins with.
const MAGIC: &[u8] = b"ringfence.training/1\n";
/// Values hashed at a time.
const HASHED_AT_ONCE: usize = 1 << 16;
const SHORT: AttackError = AttackError::State { problem: "it ends too soon" };
const OTHER: AttackError = AttackError::State { problem: "it does not fit this model or plan" };
