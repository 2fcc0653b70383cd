//! The real trainings in the honest jobs: softmax regression or a network with one hidden layer on the digits of
//! `examples/digits`.

use std::{fs, path::PathBuf};

use super::Optimiser;
use crate::chance::Chance;

/// The digits of the example: 64 pixels each.
pub(super) struct Data {
    pixels: Vec<[f32; 64]>,
    pub(super) labels: Vec<u8>,
}

pub(super) fn data() -> &'static Data {
    static DATA: std::sync::OnceLock<Data> = std::sync::OnceLock::new();
    DATA.get_or_init(|| {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../examples/digits/train.csv");
        let text = fs::read_to_string(path).unwrap();
        let mut data = Data { pixels: Vec::new(), labels: Vec::new() };
        let mut lines = text.lines();
        let header: Vec<&str> = lines.next().unwrap().split(',').collect();
        let label_at = header.iter().position(|name| name.contains("label")).unwrap();
        for line in lines {
            let mut fields: Vec<f32> = line.split(',').map(|field| field.parse().unwrap()).collect();
            data.labels.push(fields.remove(label_at) as u8);
            data.pixels.push(std::array::from_fn(|at| fields[at] / 16.0));
        }
        data
    })
}

/// Softmax regression, or a network with one hidden layer of rectified units.
pub(super) struct Model {
    hidden: usize,
    weights: Vec<f32>,
    first: Vec<f32>,
    second: Vec<f32>,
    taken: i32,
}

impl Model {
    pub(super) fn new(hidden: usize, chance: &mut Chance) -> Self {
        let size = if hidden == 0 { 65 * 10 } else { 65 * hidden + (hidden + 1) * 10 };
        let scale = if hidden == 0 { 0.01 } else { 0.15 };
        let weights: Vec<f32> = (0..size).map(|_| (chance.normal() * scale) as f32).collect();
        Self { hidden, first: vec![0.0; size], second: vec![0.0; size], weights, taken: 0 }
    }

    /// One step of descent; mean cross-entropy and gradient norm before it.
    pub(super) fn step(
        &mut self,
        data: &Data,
        rows: &[usize],
        labels: &[u8],
        rate: f64,
        optimiser: Optimiser,
    ) -> (f64, f64) {
        let mut gradient = vec![0.0_f32; self.weights.len()];
        let mut loss = 0.0;
        for (row, label) in rows.iter().zip(labels) {
            loss += self.backward(&data.pixels[*row], usize::from(*label), &mut gradient);
        }
        let count = rows.len() as f32;
        let norm = gradient.iter().map(|g| f64::from(g / count).powi(2)).sum::<f64>().sqrt();
        self.taken = (self.taken + 1).min(10_000);
        let rate = rate as f32;
        let (unbias_first, unbias_second) = (1.0 - 0.9_f32.powi(self.taken), 1.0 - 0.999_f32.powi(self.taken));
        for (at, weight) in self.weights.iter_mut().enumerate() {
            let g = gradient[at] / count;
            match optimiser {
                Optimiser::Sgd => *weight -= rate * g,
                Optimiser::Momentum => {
                    self.first[at] = 0.9 * self.first[at] + g;
                    *weight -= rate * self.first[at];
                }
                Optimiser::Adam => {
                    self.first[at] = 0.9 * self.first[at] + 0.1 * g;
                    self.second[at] = 0.999 * self.second[at] + 0.001 * g * g;
                    let (first, second) = (self.first[at] / unbias_first, self.second[at] / unbias_second);
                    *weight -= rate * first / (second.sqrt() + 1e-8);
                }
            }
        }
        (loss / f64::from(count), norm)
    }

    fn backward(&self, x: &[f32; 64], label: usize, gradient: &mut [f32]) -> f64 {
        let split = 65 * self.hidden;
        let mut units = vec![0.0_f32; self.hidden];
        for (unit, value) in units.iter_mut().enumerate() {
            let w = &self.weights[unit * 65..unit * 65 + 65];
            *value = (w[64] + x.iter().zip(w).map(|(x, w)| x * w).sum::<f32>()).max(0.0);
        }
        let inputs: &[f32] = if self.hidden == 0 { x } else { &units };
        let width = inputs.len() + 1;
        let mut logits = [0.0_f32; 10];
        for (class, logit) in logits.iter_mut().enumerate() {
            let w = &self.weights[split + class * width..split + (class + 1) * width];
            *logit = w[width - 1] + inputs.iter().zip(w).map(|(x, w)| x * w).sum::<f32>();
        }
        let top = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let total: f32 = logits.iter().map(|logit| (logit - top).exp()).sum();
        let loss = f64::from(total.ln() + top - logits[label]);
        let mut back = vec![0.0_f32; self.hidden];
        for (class, logit) in logits.iter().enumerate() {
            let p = (logit - top).exp() / total - f32::from(u8::from(class == label));
            let start = split + class * width;
            for (at, x) in inputs.iter().enumerate() {
                gradient[start + at] += p * x;
            }
            gradient[start + width - 1] += p;
            for (unit, back) in back.iter_mut().enumerate() {
                *back += p * self.weights[start + unit];
            }
        }
        for (unit, back) in back.iter().enumerate().filter(|(unit, _)| units[*unit] > 0.0) {
            for (at, x) in x.iter().enumerate() {
                gradient[unit * 65 + at] += back * x;
            }
            gradient[unit * 65 + 64] += back;
        }
        loss
    }
}
