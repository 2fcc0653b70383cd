//! Model inversion: an input that the model takes for a class with all its confidence, which may look like what it was trained on.
//!
//! MIFace (Fredrikson, Jha and Ristenpart 2015, algorithm 1) with the priors of later work: steps by Adam, a penalty on total variation for
//! pictures and on distance from the middle of the range for everything, all kept within the range.

use std::fmt;

use ringfence_schema::privacy::Inversion;

use crate::{
    ball::{Range, narrow},
    error::AttackError,
    examples::Examples,
    loss::Loss,
    oracle::Oracle,
    png::png,
    source::{Capability, Predict},
};

/// A picture of what was recovered.
#[derive(Clone, PartialEq, Eq)]
pub struct Picture {
    /// File name, such as `class-3.png`.
    pub name: String,
    /// The file: a PNG of grey or of red, green and blue.
    pub bytes: Vec<u8>,
}

impl fmt::Debug for Picture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Picture").field("name", &self.name).field("bytes", &self.bytes.len()).finish()
    }
}

/// Inverts `model` for each of `classes`; what is recovered is held against the means of `members`' classes.
pub(crate) fn invert(
    model: &dyn Predict,
    members: &Examples,
    classes: &[usize],
    steps: usize,
    range: Range,
) -> Result<(Vec<Inversion>, Vec<Picture>), AttackError> {
    let oracle = Oracle::new(model, members)?;
    oracle.allow("model inversion", Capability::Gradient)?;
    if let Some(class) = classes.iter().find(|class| **class >= oracle.classes()) {
        return Err(AttackError::plan("invert", class.to_string(), format!("below {}", oracle.classes())));
    }
    let (width, shape) = (members.width(), oracle.shape().to_vec());
    let grey = f32::midpoint(range.low(), range.high());
    let mut points = vec![grey; classes.len() * width];
    let mut adam = Adam::new(points.len(), RATE * range.width());
    for _ in 0..steps {
        let slope = oracle.slope(&points, classes, Loss::CrossEntropy)?;
        let mut gradient = slope.gradient;
        for (gradient, point) in gradient.chunks_exact_mut(width).zip(points.chunks_exact(width)) {
            for (gradient, value) in gradient.iter_mut().zip(point) {
                *gradient = if gradient.is_finite() { *gradient } else { 0.0 };
                *gradient += DISTANCE_WEIGHT * (value - grey) / range.width().powi(2);
            }
            total_variation(&shape, point, gradient, VARIATION_WEIGHT / range.width());
        }
        adam.step(&mut points, &gradient);
        for value in &mut points {
            *value = value.clamp(range.low(), range.high());
        }
    }
    let scores = oracle.scores(&points)?;
    let means = class_means(members, oracle.classes());
    let (mut found, mut pictures) = (Vec::new(), Vec::new());
    for ((class, point), row) in
        classes.iter().zip(points.chunks_exact(width)).zip(scores.chunks_exact(oracle.classes()))
    {
        let confidence = super::signals::ln_probability(super::signals::confidence(row, *class)).exp();
        let likeness: Vec<Option<f64>> =
            means.iter().map(|mean| mean.as_ref().and_then(|mean| correlation(point, mean))).collect();
        let own = likeness.get(*class).copied().flatten();
        let picture = png(&shape, point, range).map(|bytes| Picture { name: format!("class-{class}.png"), bytes });
        found.push(Inversion {
            class: *class as u64,
            confidence,
            steps: steps as u64,
            correlation: own,
            rank: own.map(|own| likeness.iter().flatten().filter(|other| **other > own).count() as u64),
            picture: picture.as_ref().map(|picture| picture.name.clone()),
        });
        pictures.extend(picture);
    }
    Ok((found, pictures))
}

/// Adds the gradient of the total variation of pictures `[channels, height, width]` (smoothed; Mahendran and Vedaldi 2015, section 3).
fn total_variation(shape: &[usize], point: &[f32], gradient: &mut [f32], weight: f32) {
    let [_, height, width] = *shape else { return };
    for (point, gradient) in point.chunks_exact(height * width).zip(gradient.chunks_exact_mut(height * width)) {
        for y in 0..height {
            for x in 0..width {
                let at = y * width + x;
                let right = if x + 1 < width { point[at + 1] - point[at] } else { 0.0 };
                let down = if y + 1 < height { point[at + width] - point[at] } else { 0.0 };
                let length = (right * right + down * down + VARIATION_SMOOTH).sqrt();
                gradient[at] -= weight * (right + down) / length;
                if x + 1 < width {
                    gradient[at + 1] += weight * right / length;
                }
                if y + 1 < height {
                    gradient[at + width] += weight * down / length;
                }
            }
        }
    }
}

/// The mean of each class's examples; `None` for a class without any.
fn class_means(examples: &Examples, classes: usize) -> Vec<Option<Vec<f64>>> {
    let mut sums = vec![(0_usize, vec![0.0; examples.width()]); classes];
    for (row, label) in examples.labels().iter().enumerate() {
        if let Some((count, sum)) = sums.get_mut(*label) {
            *count += 1;
            sum.iter_mut().zip(examples.row(row)).for_each(|(sum, value)| *sum += f64::from(*value));
        }
    }
    let mean = |(count, sum): (usize, Vec<f64>)| {
        (count > 0).then(|| sum.into_iter().map(|value| value / count as f64).collect())
    };
    sums.into_iter().map(mean).collect()
}

/// Pearson's correlation; `None` where either is constant.
fn correlation(a: &[f32], b: &[f64]) -> Option<f64> {
    let count = a.len() as f64;
    let mean_a = a.iter().map(|value| f64::from(*value)).sum::<f64>() / count;
    let mean_b = b.iter().sum::<f64>() / count;
    let (mut ab, mut aa, mut bb) = (0.0, 0.0, 0.0);
    for (a, b) in a.iter().zip(b) {
        let (a, b) = (f64::from(*a) - mean_a, b - mean_b);
        ab += a * b;
        aa += a * a;
        bb += b * b;
    }
    (aa > 0.0 && bb > 0.0).then(|| ab / (aa * bb).sqrt())
}

/// Adam over the points themselves (Kingma and Ba 2015, algorithm 1).
struct Adam {
    rate: f32,
    steps: i32,
    moments: Vec<[f32; 2]>,
}

impl Adam {
    fn new(count: usize, rate: f32) -> Self {
        Self { rate, steps: 0, moments: vec![[0.0; 2]; count] }
    }

    fn step(&mut self, points: &mut [f32], gradient: &[f32]) {
        self.steps += 1;
        let unbias = |decay: f64| narrow(1.0 - decay.powi(self.steps));
        let (first, second) = (unbias(0.9), unbias(0.999));
        for ((point, gradient), [mean, square]) in points.iter_mut().zip(gradient).zip(&mut self.moments) {
            *mean = 0.9 * *mean + 0.1 * gradient;
            *square = 0.999 * *square + 0.001 * gradient * gradient;
            *point -= self.rate * (*mean / first) / ((*square / second).sqrt() + 1e-8);
        }
    }
}

/// Step length in widths of the range.
const RATE: f32 = 0.02;
/// Weight of the total variation, for a range of width 1.
const VARIATION_WEIGHT: f32 = 3e-3;
const VARIATION_SMOOTH: f32 = 1e-4;
/// Weight of the squared distance from the middle of the range.
const DISTANCE_WEIGHT: f32 = 2e-3;
