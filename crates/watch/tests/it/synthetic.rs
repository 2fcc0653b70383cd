//! Streams such as hosts and services give, with seeded anomalies in them: a second set to choose by, whose labels are exact.

use crate::nab::Recorded;

/// A small generator of pseudo-random numbers (SplitMix64), so that a seed always gives the same stream.
pub struct Random(pub u64);

impl Random {
    pub fn unit(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((bits ^ (bits >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }

    pub fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.unit()
    }

    pub fn normal(&mut self) -> f64 {
        (-2.0 * self.unit().max(1e-300).ln()).sqrt() * (std::f64::consts::TAU * self.unit()).cos()
    }

    pub fn below(&mut self, count: usize) -> usize {
        (self.unit() * count as f64) as usize
    }

    fn exponential(&mut self) -> f64 {
        -self.unit().max(1e-300).ln()
    }

    fn poisson(&mut self, mean: f64) -> f64 {
        (mean + mean.sqrt() * self.normal()).max(0.0).round()
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Anomaly {
    Spike,
    Dip,
    Up,
    Down,
    Noise,
    /// The period vanishes.
    NoPeriod,
    /// The period doubles its pace.
    OtherPeriod,
    /// Bursts come eight times as often.
    Bursts,
    Frozen,
    Quiet,
}

use Anomaly::{Bursts, Dip, Down, Frozen, NoPeriod, Noise, OtherPeriod, Quiet, Spike, Up};

/// Kinds of streams with the anomalies that each can have.
const KINDS: [(&str, &[Anomaly]); 9] = [
    ("cpu", &[Spike, Dip, Up, Down, Noise, Frozen]),
    ("bursts", &[Spike, Up, Bursts, Frozen]),
    ("disk", &[Spike, Up, Frozen]),
    ("network", &[Spike, Dip, Up, Down, NoPeriod]),
    ("requests", &[Spike, Up, Down, NoPeriod, Frozen, Quiet]),
    ("batch", &[Spike, Dip, Up, NoPeriod, OtherPeriod]),
    ("temperature", &[Spike, Dip, Up, Down, Noise]),
    ("passengers", &[Spike, Down, NoPeriod, Quiet]),
    ("latency", &[Spike, Dip, Up, Noise, Bursts]),
];

/// The stream of a seed: one or two anomalies in windows of together a tenth of its length.
pub fn stream(seed: u64) -> Recorded {
    let mut random = Random(seed.wrapping_mul(7919) + 17);
    let (kind, possible) = KINDS[seed as usize % KINDS.len()];
    let (count, step_s) = match kind {
        "passengers" => (8000, 1800.0),
        "temperature" => (5000, 3600.0),
        _ => (4032, 300.0),
    };
    let day = 86_400.0 / step_s;
    let anomalies = 1 + random.below(2);
    let width = count / 10 / anomalies;
    let mut chosen: Vec<(usize, Anomaly, usize)> = Vec::new();
    while chosen.len() < anomalies {
        let first = count / 5 + width + random.below(count * 7 / 10 - width);
        if chosen.iter().all(|(other, ..)| first.abs_diff(*other) > width + 50) {
            let anomaly = possible[random.below(possible.len())];
            let length = match anomaly {
                Spike | Dip => 1 + random.below(4),
                Up | Down => count,
                _ => (day * random.between(0.4, 1.3)) as usize,
            };
            chosen.push((first, anomaly, length));
        }
    }
    chosen.sort_by_key(|(first, ..)| *first);
    let mut values = normal(kind, count, day, &chosen, &mut random);
    disturb(&mut values, &chosen, &mut random);
    Recorded {
        category: kind.into(),
        name: format!("{seed} {:?}", chosen.iter().map(|(_, anomaly, _)| *anomaly).collect::<Vec<_>>()),
        points: values.iter().enumerate().map(|(place, value)| (1.4e9 + step_s * place as f64, *value)).collect(),
        windows: chosen.iter().map(|(first, ..)| (first - width / 2, (first + width / 2).min(count - 1))).collect(),
    }
}

fn normal(kind: &str, count: usize, day: f64, chosen: &[(usize, Anomaly, usize)], random: &mut Random) -> Vec<f64> {
    let level = random.between(5.0, 60.0);
    let noise = random.between(0.01, 0.1) * level;
    let rate = random.between(0.002, 0.03);
    let period = [6.0, 12.0, 72.0, 144.0][random.below(4)];
    let (swing, phase, memory) = (random.between(0.2, 0.8), random.unit(), random.between(0.3, 0.95));
    let (mut drift, mut burst) = (0.0_f64, 0.0);
    let mut values = Vec::with_capacity(count);
    for place in 0..count {
        let active = chosen.iter().rfind(|(first, _, length)| (*first..first + length).contains(&place));
        let active = active.map(|(_, anomaly, _)| *anomaly);
        let days = place as f64 / day;
        let weekend = days as usize % 7 >= 5;
        let season = if active == Some(NoPeriod) {
            1.0
        } else {
            1.0 + swing * ((days + phase).fract() * std::f64::consts::TAU).sin()
        };
        drift = memory * drift + (1.0 - memory * memory).sqrt() * random.normal();
        let rate = if active == Some(Bursts) { 8.0 * rate } else { rate };
        burst = if random.unit() < rate {
            level * random.between(0.5, 1.5) * (0.5 + random.exponential())
        } else {
            0.3 * burst
        };
        values.push(match kind {
            "cpu" => level + noise * random.normal() + 0.3 * burst,
            "bursts" => 0.1 * level + 0.2 * noise * random.normal().abs() + burst,
            "disk" if random.unit() < 0.15 => (0.8 * random.normal() + (level * 1e4).ln()).exp(),
            "disk" => 0.0,
            "network" => 1e3 * level * season * (0.15 * drift).exp() + 300.0 * burst,
            "requests" => random.poisson(2.0 * level * season * if weekend { 0.6 } else { 1.0 }),
            "batch" => {
                let period = if active == Some(OtherPeriod) { period / 2.0 } else { period };
                let busy = place as f64 % period < 1.5 && active != Some(NoPeriod);
                0.3 * level + noise * random.normal() + if busy { level } else { 0.0 }
            }
            "temperature" => level + 3.0 * noise * drift + 0.1 * level * (season - 1.0),
            "passengers" => 300.0 * level * (0.3 + season * if weekend { 0.8 } else { 1.0 }) * (1.0 + 0.05 * drift),
            _ => ((level + noise * random.normal() + 0.2 * burst) * 50.0).round() / 50.0,
        });
    }
    values
}

/// Adds what is measured by the stream's own width.
fn disturb(values: &mut [f64], chosen: &[(usize, Anomaly, usize)], random: &mut Random) {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = |share: f64| sorted[(share * (sorted.len() - 1) as f64) as usize];
    let (low, middle, high) = (at(0.005), at(0.5), at(0.995));
    let width = (high - low).max(1e-6);
    let has_room_below = middle - low > 0.2 * width;
    for (first, anomaly, length) in chosen {
        let size = random.between(0.6, 1.6) * width;
        let last = (first + length).min(values.len());
        let frozen = values[*first];
        for value in &mut values[*first..last] {
            match anomaly {
                Spike => *value = high + size * random.between(0.5, 1.0),
                Dip if has_room_below => *value = low - 0.5 * size * random.between(0.5, 1.0),
                Dip => *value = high + size,
                Down if has_room_below => *value -= 0.5 * size,
                Up | Down => *value += 0.6 * size,
                Noise => *value += 0.25 * size * random.normal(),
                Frozen => *value = frozen,
                Quiet => *value *= 0.4,
                NoPeriod | OtherPeriod | Bursts => {}
            }
        }
    }
}
