//! HopSkipJump: along the decision boundary with nothing but labels (Chen et al. 2020, algorithm 2).

use ringfence_nn::random::Random;

use crate::{
    ball::{Norm, narrow, sign},
    error::AttackError,
    evasion::{Attack, Field, Outcome},
    source::Capability,
};

/// HopSkipJump with so many hops; the n-th asks about 100 √n labels, at most [`SAMPLES_MAX`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct HopSkipJump {
    pub(crate) hops: usize,
}

impl Attack for HopSkipJump {
    fn name(&self) -> String {
        "hopskipjump".into()
    }

    fn needs(&self) -> Capability {
        Capability::Labels
    }

    fn norms(&self) -> &'static [Norm] {
        &[Norm::Linf, Norm::L2]
    }

    fn strike(&self, field: &Field<'_>, standing: &[usize]) -> Result<Outcome, AttackError> {
        let mut outcome = Outcome::default();
        for place in standing {
            let random = field.random(HOP_STREAM, 0, *place);
            let mut hop = Hop { field, place: *place, clean: field.clean(*place), random, queries: 0 };
            let found = hop.run(self.hops)?;
            outcome.queries += hop.queries;
            let confirmed = match found {
                Some(point) => field.confirm(vec![(*place, point)], &mut outcome.queries)?.pop().flatten(),
                None => None,
            };
            match confirmed {
                Some(point) => outcome.fooled.push((*place, point)),
                None => outcome.standing.push(*place),
            }
        }
        Ok(outcome)
    }
}

/// The search for one example.
struct Hop<'f> {
    field: &'f Field<'f>,
    place: usize,
    clean: &'f [f32],
    random: Random,
    queries: u64,
}

impl Hop<'_> {
    /// A point inside the ball that fools, if one is found.
    fn run(&mut self, hops: usize) -> Result<Option<Vec<f32>>, AttackError> {
        let Some(start) = self.start()? else { return Ok(None) };
        let mut x = self.boundary(start)?;
        for hop in 1..=hops {
            let length = self.field.ball.length(self.clean, &x);
            if length <= f64::from(self.field.ball.eps) {
                return Ok(Some(x));
            }
            let gradient = self.slope(&x, length, hop)?;
            x = self.jump(&x, &gradient, length, hop)?;
            x = self.boundary(x)?;
        }
        Ok((self.field.ball.length(self.clean, &x) <= f64::from(self.field.ball.eps)).then_some(x))
    }

    fn fools(&mut self, points: &[f32]) -> Result<Vec<bool>, AttackError> {
        let predicted = self.field.oracle.predict(points)?;
        self.queries += predicted.len() as u64;
        Ok(predicted.into_iter().map(|class| self.field.won(self.place, class)).collect())
    }

    /// A wrongly classified point, however far away: random inputs first, then other examples.
    fn start(&mut self) -> Result<Option<Vec<f32>>, AttackError> {
        let width = self.clean.len();
        let mut points = Vec::with_capacity(2 * STARTS * width);
        for _ in 0..STARTS {
            points.extend(self.clean.iter().enumerate().map(|(index, clean)| {
                let (low, high) = self.field.ball.bounds(index, *clean);
                self.random.uniform_in(low, high)
            }));
        }
        for _ in 0..STARTS {
            let mut other = self.field.clean(self.random.below(self.field.examples.count())).to_vec();
            self.field.ball.clip(self.clean, &mut other);
            points.extend(other);
        }
        let fools = self.fools(&points)?;
        Ok(points.chunks_exact(width).zip(fools).find(|(_, fools)| *fools).map(|(point, _)| point.to_vec()))
    }

    /// The point nearest to the clean one on the way from it to `far`, on the wrong side (section 3.2; a straight line for L2, a
    /// shrinking cube for Linf).
    fn boundary(&mut self, far: Vec<f32>) -> Result<Vec<f32>, AttackError> {
        let length = narrow(self.field.ball.length(self.clean, &far));
        let at = |share: f32| -> Vec<f32> {
            let toward = |(clean, far): (&f32, &f32)| match self.field.ball.norm {
                Norm::Linf => far.clamp(clean - share * length, clean + share * length),
                _ => clean + share * (far - clean),
            };
            self.clean.iter().zip(&far).map(toward).collect()
        };
        // All candidates of a round go out together: as precise as halving, in fewer questions one after another.
        let (mut low, mut high) = (0.0_f32, 1.0_f32);
        let mut rounds = Vec::new();
        rounds.push(far.clone());
        for _ in 0..BOUNDARY_ROUNDS {
            let shares: Vec<f32> =
                (1..=BOUNDARY_PARTS).map(|part| low + (high - low) * part as f32 / BOUNDARY_PARTS as f32).collect();
            let points: Vec<Vec<f32>> = shares.iter().map(|share| at(*share)).collect();
            let predicted = self.field.oracle.predict(&points.concat())?;
            self.queries += predicted.len() as u64;
            let first = predicted.into_iter().position(|class| self.field.won(self.place, class));
            let Some(first) = first else { break };
            high = shares[first];
            low = if first == 0 { low } else { shares[first - 1] };
            rounds.push(points.into_iter().nth(first).unwrap_or_else(|| far.clone()));
        }
        Ok(rounds.pop().unwrap_or(far))
    }

    /// The direction in which most random steps lead to the wrong side, with their mean as a baseline (eq. 9 and 16).
    fn slope(&mut self, x: &[f32], length: f64, hop: usize) -> Result<Vec<f32>, AttackError> {
        let width = x.len();
        let samples = narrow(FIRST_SAMPLES * (hop as f64).sqrt());
        let samples = crate::ball::count(samples).min(SAMPLES_MAX);
        let radius = if hop == 1 {
            0.1 * f64::from(self.field.ball.range.width())
        } else {
            let dims = width as f64;
            length * if self.field.ball.norm == Norm::Linf { 1.0 / dims.sqrt() } else { 1.0 / dims }
        };
        let mut ways = Vec::with_capacity(samples * width);
        let mut points = Vec::with_capacity(samples * width);
        for _ in 0..samples {
            let mut way: Vec<f32> = match self.field.ball.norm {
                Norm::Linf => (0..width).map(|_| self.random.uniform_in(-1.0, 1.0)).collect(),
                _ => (0..width).map(|_| narrow(self.random.normal())).collect(),
            };
            let size = way.iter().map(|part| f64::from(*part).powi(2)).sum::<f64>().sqrt().max(1e-12);
            for part in &mut way {
                *part = narrow(f64::from(*part) / size);
            }
            let mut point: Vec<f32> = x.iter().zip(&way).map(|(x, way)| x + narrow(radius) * way).collect();
            self.field.ball.clip(self.clean, &mut point);
            ways.extend(point.iter().zip(x).map(|(point, x)| (point - x) / narrow(radius)));
            points.extend(point);
        }
        let signs: Vec<f32> = self.fools(&points)?.into_iter().map(|fools| if fools { 1.0 } else { -1.0 }).collect();
        let mean = signs.iter().sum::<f32>() / samples as f32;
        let base = if mean.abs() >= 1.0 { 0.0 } else { mean };
        let mut gradient = vec![0.0_f32; width];
        for (way, sign) in ways.chunks_exact(width).zip(signs) {
            gradient.iter_mut().zip(way).for_each(|(sum, way)| *sum += (sign - base) * way);
        }
        Ok(gradient)
    }

    /// Away from the boundary, as far as it stays wrong: halving from `length / √hop` (section 3.3).
    fn jump(&mut self, x: &[f32], gradient: &[f32], length: f64, hop: usize) -> Result<Vec<f32>, AttackError> {
        let size = gradient.iter().map(|part| f64::from(*part).powi(2)).sum::<f64>().sqrt().max(1e-12);
        let mut step = length / (hop as f64).sqrt();
        for _ in 0..JUMPS_MAX {
            let moved = |(x, slope): (&f32, &f32)| match self.field.ball.norm {
                Norm::Linf => x + narrow(step) * sign(*slope),
                _ => x + narrow(step * f64::from(*slope) / size),
            };
            let mut point: Vec<f32> = x.iter().zip(gradient).map(moved).collect();
            self.field.ball.clip(self.clean, &mut point);
            if self.fools(&point)?.first() == Some(&true) {
                return Ok(point);
            }
            step /= 2.0;
        }
        Ok(x.to_vec())
    }
}

/// Labels asked for in the first hop.
const FIRST_SAMPLES: f64 = 100.0;
/// Labels asked for in one hop at most.
const SAMPLES_MAX: usize = 1_000;
/// Random inputs, and other examples, among which a start is sought.
const STARTS: usize = 50;
/// Rounds and candidates of the search for the boundary: together as precise as 16 halvings.
const BOUNDARY_ROUNDS: usize = 4;
const BOUNDARY_PARTS: usize = 16;
/// Halvings of a jump.
const JUMPS_MAX: usize = 16;
const HOP_STREAM: u64 = 12;
