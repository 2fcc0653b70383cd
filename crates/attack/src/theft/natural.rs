//! Inputs such as the victim usually sees, from which a thief makes more.

use ringfence_nn::random::Random;

use crate::examples::Examples;

/// Natural inputs and their range.
pub(crate) struct Natural {
    /// All rows after one another.
    pub(crate) rows: Vec<f64>,
    /// Values of one row.
    pub(crate) width: usize,
    /// Mean of each value.
    pub(crate) mean: Vec<f64>,
    /// Least and greatest of all values.
    pub(crate) low: f64,
    pub(crate) high: f64,
}

impl Natural {
    pub(crate) fn of(examples: &Examples) -> Self {
        let (width, count) = (examples.width(), examples.count());
        let rows: Vec<f64> = examples.inputs().data.iter().copied().map(f64::from).collect();
        let mean = (0..width).map(|place| rows.iter().skip(place).step_by(width).sum::<f64>() / count as f64).collect();
        let low = rows.iter().copied().fold(f64::INFINITY, f64::min);
        let high = rows.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        // Where all values are equal, any range is a guess.
        let high = if high > low { high } else { low + 1.0 };
        Self { rows, width, mean, low, high }
    }

    pub(crate) fn count(&self) -> usize {
        self.rows.len() / self.width.max(1)
    }

    pub(crate) fn row(&self, place: usize) -> &[f64] {
        &self.rows[place * self.width..(place + 1) * self.width]
    }

    /// A row of which each value is taken from another natural row: valid wherever natural values are, tokens too.
    pub(crate) fn mixed(&self, random: &mut Random) -> Vec<f64> {
        (0..self.width).map(|place| self.rows[random.below(self.count()) * self.width + place]).collect()
    }

    /// A row of values anywhere in the range.
    pub(crate) fn uniform(&self, random: &mut Random) -> Vec<f64> {
        (0..self.width).map(|_| self.low + (self.high - self.low) * random.uniform()).collect()
    }

    /// A point between two natural rows.
    pub(crate) fn blend(&self, random: &mut Random) -> Vec<f64> {
        let (a, b) = (random.below(self.count()), random.below(self.count()));
        let share = 0.2 + 0.6 * random.uniform();
        self.row(a).iter().zip(self.row(b)).map(|(a, b)| a * share + b * (1.0 - share)).collect()
    }
}
