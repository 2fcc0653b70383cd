//! Labelled inputs, checked once.

use ringfence_nn::Tensor;

use crate::{ball::Range, error::AttackError, random::stream};

/// At least one example; as many labels as rows; every value finite.
#[derive(Debug, Clone)]
pub struct Examples {
    x: Tensor<f32>,
    y: Vec<usize>,
}

impl Examples {
    /// Takes inputs of shape `[examples, …]` and one label each. Whether the labels and the shape suit a model is checked
    /// where they meet one.
    pub fn new(x: Tensor<f32>, y: Vec<usize>) -> Result<Self, AttackError> {
        let rows = x.shape.first().copied().unwrap_or(0);
        if rows != y.len() {
            return Err(AttackError::Count { rows, labels: y.len() });
        }
        if rows == 0 || x.data.is_empty() {
            return Err(AttackError::Empty { what: "data" });
        }
        if x.shape.iter().product::<usize>() != x.data.len() {
            return Err(AttackError::Output { rows, found: x.shape });
        }
        let width = x.data.len() / rows;
        if let Some(place) = x.data.iter().position(|value| !value.is_finite()) {
            return Err(AttackError::NotFinite { example: place / width });
        }
        Ok(Self { x, y })
    }

    /// How many; never 0.
    pub fn count(&self) -> usize {
        self.y.len()
    }

    /// Inputs, shape `[examples, …]`.
    pub fn inputs(&self) -> &Tensor<f32> {
        &self.x
    }

    /// One label each.
    pub fn labels(&self) -> &[usize] {
        &self.y
    }

    /// Values of one example.
    pub fn width(&self) -> usize {
        self.x.data.len() / self.y.len()
    }

    /// The values of example `index`, which must be below [`Self::count`].
    pub fn row(&self, index: usize) -> &[f32] {
        let width = self.width();
        &self.x.data[index * width..(index + 1) * width]
    }

    /// At most `count` examples, chosen at random by `seed`, in their old order; all of them where `count` is 0 or too large.
    #[must_use]
    pub fn sample(self, count: usize, seed: u64) -> Self {
        if count == 0 || count >= self.count() {
            return self;
        }
        let mut order: Vec<usize> = (0..self.count()).collect();
        stream(seed, &[SAMPLE_STREAM]).shuffle(&mut order);
        order.truncate(count);
        order.sort_unstable();
        self.pick(&order)
    }

    /// The examples at `places` (each below [`Self::count`]), in that order.
    pub(crate) fn pick(&self, places: &[usize]) -> Self {
        let data = places.iter().flat_map(|place| self.row(*place)).copied().collect();
        let y = places.iter().map(|place| self.y[*place]).collect();
        Self { x: Tensor { shape: self.shape_of(places.len()), data }, y }
    }

    /// The same labels with other inputs of the same shape.
    pub(crate) fn with_inputs(&self, data: Vec<f32>) -> Result<Self, AttackError> {
        Self::new(Tensor { shape: self.x.shape.clone(), data }, self.y.clone())
    }

    /// The shape of `rows` such examples.
    pub(crate) fn shape_of(&self, rows: usize) -> Vec<usize> {
        std::iter::once(rows).chain(self.x.shape.iter().skip(1).copied()).collect()
    }

    /// Refuses values outside `range`: no ball around them would be made of valid inputs.
    pub(crate) fn within(&self, range: Range) -> Result<(), AttackError> {
        match self.x.data.iter().position(|value| !(range.low()..=range.high()).contains(value)) {
            None => Ok(()),
            Some(place) => Err(AttackError::OutOfRange {
                example: place / self.width(),
                value: self.x.data[place],
                low: range.low(),
                high: range.high(),
            }),
        }
    }
}

const SAMPLE_STREAM: u64 = 1;
