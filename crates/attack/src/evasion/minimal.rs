//! Attacks that look for the smallest change, whatever the radius, and are held against it at the end.

use rayon::prelude::*;

use crate::{
    ball::{Norm, narrow, sign},
    error::AttackError,
    evasion::{Attack, Field, Outcome, joined},
    loss::{Goal, Loss},
    source::Capability,
};

/// DeepFool: again and again to the nearest of the classes' linearised boundaries (Moosavi-Dezfooli et al. 2016, algorithm 2).
#[derive(Debug, Clone, Copy)]
pub(crate) struct DeepFool {
    /// Classes whose boundaries are looked at.
    pub(crate) rivals: usize,
    pub(crate) steps: usize,
}

impl Attack for DeepFool {
    fn name(&self) -> String {
        "deepfool".into()
    }

    fn needs(&self) -> Capability {
        Capability::Gradient
    }

    fn norms(&self) -> &'static [Norm] {
        &[Norm::Linf, Norm::L2]
    }

    fn strike(&self, field: &Field<'_>, standing: &[usize]) -> Result<Outcome, AttackError> {
        let mut outcome = Outcome::before(standing);
        outcome.queries += standing.len() as u64;
        let targets = field.targets(standing, self.rivals)?;
        let mut walkers: Vec<Walker> = standing
            .iter()
            .zip(targets)
            .map(|(place, targets)| Walker {
                place: *place,
                targets,
                x: field.clean(*place).to_vec(),
                change: vec![0.0; field.examples.width()],
                arrived: false,
            })
            .collect();
        for _ in 0..self.steps {
            walkers.retain(|walker| !walker.targets.is_empty());
            if walkers.is_empty() {
                break;
            }
            outcome.queries += step_all(field, &mut walkers)?;
            let points = joined(walkers.iter().map(|walker| walker.x.as_slice()));
            let predicted = field.oracle.predict(&points)?;
            outcome.queries += walkers.len() as u64;
            let across: Vec<bool> =
                walkers.iter().zip(predicted).map(|(walker, class)| field.won(walker.place, class)).collect();
            for (walker, across) in walkers.iter_mut().zip(&across) {
                // What crossed and is not confirmed is longer than the radius: this one has found what it looked for.
                walker.arrived = *across;
            }
            walkers = outcome.settle(field, walkers, &across, |walker| (walker.place, &walker.x))?;
            walkers.retain(|walker| !walker.arrived);
        }
        Ok(outcome)
    }
}

/// One step of every walker to its nearest boundary; answers what it cost.
fn step_all(field: &Field<'_>, walkers: &mut [Walker]) -> Result<u64, AttackError> {
    let width = field.examples.width();
    let points = joined(walkers.iter().map(|walker| walker.x.as_slice()));
    let rounds = walkers.iter().map(|walker| walker.targets.len()).max().unwrap_or(0);
    let mut nearest: Vec<(f64, Vec<f32>)> = walkers.iter().map(|_| (f64::MAX, Vec::new())).collect();
    let mut queries = 0;
    for round in 0..rounds {
        let goals: Vec<Goal> = walkers
            .iter()
            .map(|walker| Goal {
                label: field.label(walker.place),
                target: walker.targets.get(round).or(walker.targets.first()).copied(),
            })
            .collect();
        let slope = field.oracle.slope_to(&points, &goals, Loss::Margin)?;
        queries += slope.queries;
        for (row, best) in nearest.iter_mut().enumerate() {
            let gradient = &slope.gradient[row * width..(row + 1) * width];
            let gap = f64::from(slope.loss[row].abs()) + 1e-4;
            let size = match field.ball.norm {
                Norm::Linf => gradient.iter().map(|g| f64::from(g.abs())).sum::<f64>(),
                _ => gradient.iter().map(|g| f64::from(*g).powi(2)).sum::<f64>().sqrt(),
            };
            let away = gap / size.max(1e-12);
            if away < best.0 {
                let way = |slope: &f32| match field.ball.norm {
                    Norm::Linf => narrow(away) * sign(*slope),
                    _ => narrow(away * f64::from(*slope) / size.max(1e-12)),
                };
                *best = (away, gradient.iter().map(way).collect());
            }
        }
    }
    walkers.par_iter_mut().zip(nearest).for_each(|(walker, (_, step))| {
        let clean = field.clean(walker.place);
        walker.change.iter_mut().zip(step).for_each(|(change, step)| *change += step);
        for (x, (change, clean)) in walker.x.iter_mut().zip(walker.change.iter().zip(clean)) {
            *x = clean + change * OVERSHOOT;
        }
        field.ball.clip(clean, &mut walker.x);
    });
    Ok(queries)
}

struct Walker {
    place: usize,
    targets: Vec<usize>,
    x: Vec<f32>,
    change: Vec<f32>,
    arrived: bool,
}

/// The attack of Carlini and Wagner for L2 (2017, section 6.A): Adam on the squared length plus a weight times the margin, in
/// a space where every point is valid, with a binary search for the weight.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CarliniWagner {
    /// Weights tried.
    pub(crate) searches: usize,
    /// Adam's steps for each.
    pub(crate) steps: usize,
}

impl Attack for CarliniWagner {
    fn name(&self) -> String {
        "carlini-wagner".into()
    }

    fn needs(&self) -> Capability {
        Capability::Gradient
    }

    fn norms(&self) -> &'static [Norm] {
        &[Norm::L2]
    }

    fn strike(&self, field: &Field<'_>, standing: &[usize]) -> Result<Outcome, AttackError> {
        let mut outcome = Outcome::before(standing);
        let mut searches: Vec<Search> = standing.iter().map(|place| Search::new(*place)).collect();
        for _ in 0..self.searches {
            searches.par_iter_mut().for_each(|search| search.begin(field));
            for step in 1..=self.steps {
                if searches.is_empty() {
                    return Ok(outcome);
                }
                searches = step_searches(field, searches, step, &mut outcome)?;
            }
            searches.iter_mut().for_each(Search::weigh);
        }
        Ok(outcome)
    }
}

fn step_searches(
    field: &Field<'_>,
    mut searches: Vec<Search>,
    step: usize,
    outcome: &mut Outcome,
) -> Result<Vec<Search>, AttackError> {
    let width = field.examples.width();
    let goals: Vec<Goal> = searches.iter().map(|search| field.goal(search.place)).collect();
    let points = joined(searches.iter().map(|search| search.x.as_slice()));
    let slope = field.oracle.slope_to(&points, &goals, Loss::Margin)?;
    outcome.queries += slope.queries;
    let seen: Vec<bool> =
        searches.iter().zip(&slope.predicted).map(|(search, class)| field.won(search.place, *class)).collect();
    let rows = slope.gradient.par_chunks_exact(width).zip(&slope.loss).zip(&seen);
    searches.par_iter_mut().zip(rows).for_each(|(search, ((gradient, margin), seen))| {
        search.across |= *seen;
        search.kept.clone_from(&search.x);
        search.descend(field, gradient, *margin, step);
    });
    outcome.settle(field, searches, &seen, |search| (search.place, &search.kept))
}

/// The search for one example.
struct Search {
    place: usize,
    /// Where it is in the space without bounds, and Adam's two moments.
    w: Vec<f32>,
    first: Vec<f32>,
    second: Vec<f32>,
    x: Vec<f32>,
    /// The point that was last asked about.
    kept: Vec<f32>,
    weight: f64,
    least: f64,
    most: f64,
    /// Whether the boundary was crossed with this weight.
    across: bool,
}

impl Search {
    fn new(place: usize) -> Self {
        Self {
            place,
            w: Vec::new(),
            first: Vec::new(),
            second: Vec::new(),
            x: Vec::new(),
            kept: Vec::new(),
            weight: FIRST_WEIGHT,
            least: 0.0,
            most: f64::INFINITY,
            across: false,
        }
    }

    fn begin(&mut self, field: &Field<'_>) {
        let clean = field.clean(self.place);
        self.w = clean
            .iter()
            .enumerate()
            .map(|(index, value)| {
                let (low, high) = field.ball.bounds(index, *value);
                let share = if high > low { (value - low) / (high - low) * 2.0 - 1.0 } else { 0.0 };
                (share * INSIDE).atanh()
            })
            .collect();
        self.first = vec![0.0; clean.len()];
        self.second = vec![0.0; clean.len()];
        self.across = false;
        self.place_x(field);
    }

    fn place_x(&mut self, field: &Field<'_>) {
        let clean = field.clean(self.place);
        self.x = self
            .w
            .iter()
            .zip(clean)
            .enumerate()
            .map(|(index, (w, clean))| {
                let (low, high) = field.ball.bounds(index, *clean);
                (low + f32::midpoint(w.tanh(), 1.0) * (high - low)).clamp(low, high)
            })
            .collect();
    }

    fn descend(&mut self, field: &Field<'_>, gradient: &[f32], margin: f32, step: usize) {
        let clean = field.clean(self.place);
        let pull = if margin < 0.0 { narrow(self.weight) } else { 0.0 };
        let passed = narrow(step as f64);
        for (index, w) in self.w.iter_mut().enumerate() {
            let (low, high) = field.ball.bounds(index, clean[index]);
            let slope = 2.0 * (self.x[index] - clean[index]) - pull * gradient[index];
            let g = slope * (1.0 - w.tanh().powi(2)) * (high - low) / 2.0;
            self.first[index] = 0.9 * self.first[index] + 0.1 * g;
            self.second[index] = 0.999 * self.second[index] + 0.001 * g * g;
            let mean = self.first[index] / (1.0 - 0.9_f32.powf(passed));
            let spread = self.second[index] / (1.0 - 0.999_f32.powf(passed));
            *w -= RATE * mean / (spread.sqrt() + 1e-8);
        }
        self.place_x(field);
    }

    /// The next weight: less where the boundary was crossed (too far away, or the search would be over), more where not.
    fn weigh(&mut self) {
        if self.across {
            self.most = self.weight;
        } else {
            self.least = self.weight;
        }
        self.weight = if self.most.is_finite() { f64::midpoint(self.least, self.most) } else { self.weight * 10.0 };
    }
}

/// DeepFool goes this much further than the boundary.
const OVERSHOOT: f32 = 1.02;
/// Keeps the inverse of tanh finite.
const INSIDE: f32 = 0.999_999;
const FIRST_WEIGHT: f64 = 1.0;
/// Adam's rate.
const RATE: f32 = 0.05;
