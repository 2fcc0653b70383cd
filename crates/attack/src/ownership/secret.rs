//! What follows from a secret: triggers, their labels, projections and bits, each by SHA-256 of the key, a purpose and a
//! counter, so that nobody can choose them, the owner included.

use ringfence_nn::{Model, Tensor};
use ringfence_schema::{
    Digest,
    canon::to_canonical,
    digest::from_hex,
    watermark::{BitsPlace, WatermarkSecret},
};

use crate::{error::AttackError, plan::bounded};

/// SHA-256 of the canonical JSON of a secret: what is recorded before a release.
pub fn commitment(secret: &WatermarkSecret) -> Result<Digest, AttackError> {
    let bytes = to_canonical(secret).map_err(|error| AttackError::plan("secret", error.to_string(), "plain JSON"))?;
    Ok(Digest::of(&bytes))
}

/// A secret that was checked.
#[derive(Debug)]
pub(crate) struct Mark<'s> {
    secret: &'s WatermarkSecret,
    key: Key,
    shape: Vec<usize>,
    classes: usize,
    triggers: usize,
}

struct Key([u8; 32]);

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[redacted]")
    }
}

impl<'s> Mark<'s> {
    /// Refuses a secret whose numbers make no sense.
    pub(crate) fn new(secret: &'s WatermarkSecret) -> Result<Self, AttackError> {
        let key = from_hex(&secret.key).and_then(|key| key.try_into().ok());
        let Some(key) = key else {
            return Err(AttackError::plan("key", "something else", "64 lower-case hexadecimal digits"));
        };
        bounded("classes", secret.classes, 2, CLASSES_MAX)?;
        bounded("triggers", secret.triggers, TRIGGERS_MIN, TRIGGERS_MAX)?;
        let values = secret.shape.iter().try_fold(1_u64, |product, dim| product.checked_mul(*dim)).unwrap_or(u64::MAX);
        bounded("values of a trigger", values, 1, VALUES_MAX)?;
        if let Some(place) = &secret.bits {
            bounded("bits", place.bits, 1, BITS_MAX)?;
            bounded("elements", place.elements, place.bits, BITS_ELEMENTS_MAX)?;
        }
        let [low, high] = secret.range;
        if !(low.is_finite() && high.is_finite() && low < high && high - low < 1e6) {
            return Err(AttackError::plan(
                "range",
                format!("{low} to {high}"),
                "two finite numbers, the first smaller",
            ));
        }
        let small = |value: u64| usize::try_from(value).unwrap_or(usize::MAX);
        let shape = secret.shape.iter().map(|dim| small(*dim)).collect();
        let (classes, triggers) = (small(secret.classes), small(secret.triggers));
        Ok(Self { secret, key: Key(key), shape, classes, triggers })
    }

    /// The triggers, `[triggers, …]`: every value anywhere in the range.
    pub(crate) fn triggers(&self) -> Tensor<f32> {
        let width: usize = self.shape.iter().product();
        let [low, high] = self.secret.range;
        let mut stream = self.stream("trigger");
        #[expect(clippy::cast_possible_truncation, reason = "models compute in f32")]
        let value = |bits: u32| (low + (high - low) * f64::from(bits) / f64::from(u32::MAX)) as f32;
        let data = (0..self.triggers * width).map(|_| value(stream.word())).collect();
        Tensor { shape: std::iter::once(self.triggers).chain(self.shape.iter().copied()).collect(), data }
    }

    /// One label for each trigger, all classes alike likely and independent of everything else. That alone makes the null
    /// exact: whatever an unrelated model answers, it is right with a chance of 1 / classes.
    pub(crate) fn labels(&self) -> Vec<usize> {
        let mut stream = self.stream("label");
        let classes = u32::try_from(self.classes).unwrap_or(u32::MAX);
        let fair = u32::MAX - u32::MAX % classes;
        let label = |_| loop {
            let word = stream.word();
            if word < fair {
                break (word % classes) as usize;
            }
        };
        (0..self.triggers).map(label).collect()
    }

    /// Where bits lie.
    pub(crate) fn bits_place(&self) -> Option<&BitsPlace> {
        self.secret.bits.as_ref()
    }

    /// Classes of the marked model.
    pub(crate) fn classes(&self) -> usize {
        self.classes
    }

    /// The bits and the signs by which weights are summed for each.
    pub(crate) fn projections(&self) -> Vec<Projection> {
        let Some(place) = &self.secret.bits else { return Vec::new() };
        let (mut bits, mut signs) = (self.stream("bit"), self.stream("projection"));
        let words = place.elements.div_ceil(32);
        (0..place.bits)
            .map(|_| Projection { bit: bits.word() & 1 == 1, signs: (0..words).map(|_| signs.word()).collect() })
            .collect()
    }

    fn stream(&self, purpose: &'static str) -> Stream<'_> {
        Stream { key: &self.key, purpose, block: 0, words: Vec::new() }
    }
}

/// One bit of a mark in weights.
pub(crate) struct Projection {
    pub(crate) bit: bool,
    signs: Vec<u32>,
}

impl Projection {
    /// 1 or −1 for each weight.
    pub(crate) fn signs(&self) -> impl Iterator<Item = f32> {
        self.signs.iter().flat_map(|word| (0..32).map(move |at| if word >> at & 1 == 1 { 1.0 } else { -1.0 }))
    }

    /// The sum of the weights with their signs, turned so that above 0 is the right bit.
    pub(crate) fn agreement(&self, weights: &[f32]) -> f64 {
        let sum: f64 = weights.iter().zip(self.signs()).map(|(weight, sign)| f64::from(weight * sign)).sum();
        if self.bit { sum } else { -sum }
    }
}

/// The parameter that carries bits: the largest of at most [`BITS_ELEMENTS_MAX`] elements that is no bias.
pub(crate) fn place_for(model: &Model, bits: u64) -> Option<BitsPlace> {
    let weights = model.parameters().enumerate().filter(|(_, parameter)| parameter.shape.len() > 1);
    let fitting = weights.map(|(place, parameter)| (place as u64, parameter.data.len() as u64));
    let (parameter, elements) = fitting
        .filter(|(_, elements)| (bits * ELEMENTS_PER_BIT..=BITS_ELEMENTS_MAX).contains(elements))
        .max_by_key(|(_, elements)| *elements)?;
    Some(BitsPlace { parameter, elements, bits })
}

struct Stream<'k> {
    key: &'k Key,
    purpose: &'static str,
    block: u64,
    words: Vec<u32>,
}

impl Stream<'_> {
    fn word(&mut self) -> u32 {
        if self.words.is_empty() {
            let parts = [&self.key.0[..], b"ringfence watermark ", self.purpose.as_bytes(), &self.block.to_le_bytes()];
            self.block += 1;
            let digest = Digest::of(&parts.concat());
            let words = digest.as_bytes().chunks_exact(4);
            self.words = words.map(|four| u32::from_le_bytes([four[0], four[1], four[2], four[3]])).collect();
        }
        self.words.pop().unwrap_or_default()
    }
}

/// Fewest and most triggers.
pub const TRIGGERS_MIN: u64 = 16;
/// See [`TRIGGERS_MIN`].
pub const TRIGGERS_MAX: u64 = 10_000;
/// Most bits in weights.
pub const BITS_MAX: u64 = 1_024;
/// Most elements of the parameter that carries bits.
pub const BITS_ELEMENTS_MAX: u64 = 1 << 16;
/// Fewest elements of it for each bit: with fewer, bits would cost accuracy.
const ELEMENTS_PER_BIT: u64 = 16;
const CLASSES_MAX: u64 = 1 << 20;
/// Most values of a trigger.
const VALUES_MAX: u64 = 1 << 24;
