//! A tensor of a base, read in step with the tensor that it is compared with.

use ringfence_schema::report::TensorDifference;

use super::{contents::Tensor, numbers::Reader, rank::Sketch};
use crate::source::Source;

/// Both sides so far.
pub(super) struct Beside<'s> {
    reader: Reader<'s>,
    rest: Vec<f64>,
    sketch: Option<Sketch>,
    base_energy: f64,
    energy: f64,
    elements: u64,
    changed: u64,
}

impl<'s> Beside<'s> {
    pub(super) fn new(source: &'s mut dyn Source, tensor: &Tensor) -> Self {
        let sketch = Sketch::new(&tensor.shape);
        let reader = Reader::new(source, tensor);
        Self { reader, rest: Vec::new(), sketch, base_energy: 0.0, energy: 0.0, elements: 0, changed: 0 }
    }

    /// Takes the next elements of the other tensor; `None` where the base ends early.
    pub(super) fn add(mut self, chunk: &[f64]) -> Option<Self> {
        while self.rest.len() < chunk.len() {
            let more = self.reader.next().ok().filter(|more| !more.is_empty())?;
            self.rest.extend_from_slice(more);
        }
        for (value, base) in chunk.iter().zip(self.rest.drain(..chunk.len())) {
            let difference = value - base;
            self.elements += 1;
            // Two elements that are no number count as the same.
            let same = difference == 0.0 || value.to_bits() == base.to_bits() || (value.is_nan() && base.is_nan());
            self.changed += u64::from(!same);
            if difference.is_finite() {
                self.base_energy += base * base;
                self.energy += difference * difference;
            }
            if let Some(sketch) = &mut self.sketch {
                sketch.add(difference);
            }
        }
        Some(self)
    }

    pub(super) fn finish(self) -> TensorDifference {
        let relative = if self.energy > 0.0 {
            (self.energy / self.base_energy.max(f64::MIN_POSITIVE)).sqrt().min(f64::MAX)
        } else {
            0.0
        };
        let rank = self.sketch.filter(|_| self.energy > 0.0).and_then(Sketch::rank);
        TensorDifference {
            relative,
            rank,
            changed: self.changed as f64 / (self.elements as f64).max(1.0),
            base_norm: self.base_energy.sqrt().min(f64::MAX),
        }
    }
}
