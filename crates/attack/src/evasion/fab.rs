//! FAB: the fast adaptive boundary attack in its targeted form (Croce and Hein 2020, "Minimally distorted adversarial examples
//! with a fast adaptive boundary attack", algorithm 1; targets as in "Reliable evaluation", section 4.2).
//!
//! It looks for the nearest point of the decision boundary by going to the hyperplane that the gradient says is the boundary,
//! both from where it is and from the clean input, and does not know the radius until it asks whether it came near enough.

use rayon::prelude::*;

use crate::{
    ball::{Ball, Norm, narrow},
    error::AttackError,
    evasion::{Attack, Field, Outcome, joined},
    loss::{Goal, Loss},
    source::Capability,
};

/// FAB towards each of the classes with the best scores.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fab {
    /// Classes tried in turn.
    pub(crate) targets: usize,
    pub(crate) steps: usize,
}

impl Attack for Fab {
    fn name(&self) -> String {
        "fab-t".into()
    }

    fn needs(&self) -> Capability {
        Capability::Gradient
    }

    fn norms(&self) -> &'static [Norm] {
        &[Norm::Linf, Norm::L2, Norm::L1]
    }

    fn strike(&self, field: &Field<'_>, standing: &[usize]) -> Result<Outcome, AttackError> {
        let mut outcome = Outcome::before(standing);
        outcome.queries += standing.len() as u64;
        let targets = field.targets(standing, self.targets)?;
        let rounds = targets.iter().map(Vec::len).max().unwrap_or(0);
        for round in 0..rounds {
            let walkers = standing
                .iter()
                .zip(&targets)
                .filter(|(place, _)| outcome.standing.binary_search(place).is_ok())
                .filter_map(|(place, targets)| {
                    let goal = Goal { label: field.label(*place), target: Some(*targets.get(round)?) };
                    Some(Walker { place: *place, goal, x: field.clean(*place).to_vec(), across: false })
                })
                .collect();
            self.walk(field, walkers, &mut outcome)?;
        }
        Ok(outcome)
    }
}

impl Fab {
    fn walk(self, field: &Field<'_>, mut walkers: Vec<Walker>, outcome: &mut Outcome) -> Result<(), AttackError> {
        let width = field.examples.width();
        for _ in 0..self.steps {
            if walkers.is_empty() {
                break;
            }
            let goals: Vec<Goal> = walkers.iter().map(|walker| walker.goal).collect();
            let points = joined(walkers.iter().map(|walker| walker.x.as_slice()));
            let slope = field.oracle.slope_to(&points, &goals, Loss::Margin)?;
            let gradients = slope.gradient.par_chunks_exact(width).zip(&slope.loss);
            walkers.par_iter_mut().zip(gradients).for_each(|(walker, (gradient, margin))| {
                walker.step(field.ball, field.clean(walker.place), gradient, *margin);
            });
            let points = joined(walkers.iter().map(|walker| walker.x.as_slice()));
            let predicted = field.oracle.predict(&points)?;
            outcome.queries += slope.queries + predicted.len() as u64;
            let across: Vec<bool> =
                walkers.iter().zip(predicted).map(|(walker, class)| field.won(walker.place, class)).collect();
            // Confirmation asks whether the point is inside the ball; those that are too far away go back half over.
            for (walker, across) in walkers.iter_mut().zip(&across) {
                walker.across = *across;
            }
            walkers = outcome.settle(field, walkers, &across, |walker| (walker.place, &walker.x))?;
            walkers.iter_mut().filter(|walker| walker.across).for_each(|walker| {
                let clean = field.clean(walker.place);
                walker.x.iter_mut().zip(clean).for_each(|(x, clean)| *x = clean + (*x - clean) * BACK);
            });
        }
        Ok(())
    }
}

/// An example on its way.
struct Walker {
    place: usize,
    goal: Goal,
    x: Vec<f32>,
    /// Whether the last step crossed the boundary.
    across: bool,
}

impl Walker {
    /// Goes a little beyond the plane on which the margin, as the gradient sees it, is zero: from where it is and from the
    /// clean input, weighed so that the clean one pulls more the further away it is (eq. 9 and 10).
    fn step(&mut self, ball: Ball<'_>, clean: &[f32], gradient: &[f32], margin: f32) {
        let here = -f64::from(margin);
        let between: f64 =
            gradient.iter().zip(&self.x).zip(clean).map(|((g, x), c)| f64::from(*g) * f64::from(x - c)).sum();
        let from_here = to_plane(ball, clean, &self.x, gradient, here);
        let from_clean = to_plane(ball, clean, clean, gradient, here + between);
        let length = |change: &[f32]| ball.length(&vec![0.0; change.len()], change).max(LEAST);
        let (near, far) = (length(&from_here), length(&from_clean));
        let pull = narrow((near / (near + far)).min(PULL));
        for (index, x) in self.x.iter_mut().enumerate() {
            let ahead = *x + BEYOND * from_here[index];
            let direct = clean[index] + BEYOND * from_clean[index];
            *x = ahead * (1.0 - pull) + direct * pull;
        }
        ball.clip(clean, &mut self.x);
    }
}

/// The shortest change of `from` within the bounds that raises `gradient · x` by `rise` (lowers it where negative); as far as
/// the bounds allow where that is not enough (section 2.2 of the first paper, propositions 2.1 and 2.2).
///
/// Every value goes the way that helps, by `min(t, room)` for Linf and `min(t · |slope|, room)` for L2, where `t` is found
/// exactly from the sorted ends of these straight pieces; L1 uses up the steepest values first.
pub(crate) fn to_plane(ball: Ball<'_>, clean: &[f32], from: &[f32], gradient: &[f32], rise: f64) -> Vec<f32> {
    let up = if rise < 0.0 { -1.0 } else { 1.0 };
    let parts: Vec<Part> = gradient
        .iter()
        .enumerate()
        .map(|(index, slope)| {
            let (low, high) = ball.bounds(index, clean[index]);
            let way = up * f64::from(*slope).signum();
            let room = if way > 0.0 { high - from[index] } else { from[index] - low };
            let steep = f64::from(slope.abs());
            let pace = if ball.norm == Norm::L2 { steep } else { 1.0 };
            Part { way, steep, pace, room: f64::from(room).max(0.0) }
        })
        .collect();
    let mut order: Vec<usize> = (0..parts.len()).filter(|at| parts[*at].steep > 0.0).collect();
    if ball.norm == Norm::L1 {
        return steepest_first(&parts, order, rise.abs());
    }
    let end = |at: &usize| parts[*at].room / parts[*at].pace;
    order.sort_by(|a, b| end(a).total_cmp(&end(b)));
    let mut gain: f64 = order.iter().map(|at| parts[*at].steep * parts[*at].pace).sum();
    let (mut left, mut time) = (rise.abs(), 0.0);
    for at in &order {
        let part = &parts[*at];
        let next = end(at);
        if gain <= 0.0 || left <= gain * (next - time) {
            break;
        }
        left -= gain * (next - time);
        time = next;
        gain -= part.steep * part.pace;
    }
    if gain > 0.0 {
        time += left / gain;
    }
    let moved = |part: &Part| {
        let far = if part.steep > 0.0 { (time * part.pace).min(part.room) } else { 0.0 };
        narrow(part.way * far)
    };
    parts.iter().map(moved).collect()
}

/// One value's part in a change.
struct Part {
    /// +1 or -1: the way that helps.
    way: f64,
    /// Size of its slope.
    steep: f64,
    /// How fast it moves beside the others.
    pace: f64,
    /// How far it may go.
    room: f64,
}

fn steepest_first(parts: &[Part], mut order: Vec<usize>, mut left: f64) -> Vec<f32> {
    order.sort_by(|a, b| parts[*b].steep.total_cmp(&parts[*a].steep));
    let mut change = vec![0.0; parts.len()];
    for at in order {
        let part = &parts[at];
        let far = (left / part.steep).min(part.room);
        change[at] = narrow(part.way * far);
        left -= far * part.steep;
        if left <= 0.0 {
            break;
        }
    }
    change
}

/// Steps go this much beyond the plane (η of the paper).
const BEYOND: f32 = 1.05;
/// The clean input's weight at most (α_max).
const PULL: f64 = 0.1;
/// What is across goes back to this share of its change (β).
const BACK: f32 = 0.9;
/// No change counts as shorter.
const LEAST: f64 = 1e-8;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ball::Range;

    #[test]
    fn planes_are_reached_by_the_shortest_way_within_the_range() {
        let gradient = [3.0_f32, -1.0, 0.0, 0.5];
        let x = [0.5_f32, 0.5, 0.5, 0.9];
        for (norm, expected) in [
            // 3t + t + min(t, .1)/2 = 1.
            (Norm::Linf, vec![0.2375_f32, -0.2375, 0.0, 0.1]),
            // 9t + t + min(.5t, .1)/2 = 1.
            (Norm::L2, vec![3.0 / 10.25, -1.0 / 10.25, 0.0, 0.5 / 10.25]),
            (Norm::L1, vec![1.0 / 3.0, 0.0, 0.0, 0.0]),
        ] {
            let ball = Ball::new(norm, 1.0, Range::default());
            let found = to_plane(ball, &x, &x, &gradient, 1.0);
            for (found, expected) in found.iter().zip(&expected) {
                assert!((found - expected).abs() < 1e-6, "{norm:?}: {found} is not {expected}");
            }
            // Out of reach: as far as the range allows.
            let most = to_plane(ball, &x, &x, &gradient, -100.0);
            assert_eq!(most, [-0.5, 0.5, 0.0, -0.9]);
        }
    }
}
