//! Square attack: random search over windows, scores only (Andriushchenko et al. 2020, algorithms 1 to 3), and its sparse
//! relative for L0 (Croce et al. 2022, "Sparse-RS").

use rayon::prelude::*;
use ringfence_nn::random::Random;

use crate::{
    ball::{Ball, Norm, count, narrow},
    error::AttackError,
    evasion::{Attack, Field, Outcome, joined},
    loss::{Goal, Loss},
    source::Capability,
};

/// Random search with at most so many queries for each example.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Square {
    pub(crate) queries: usize,
}

impl Attack for Square {
    fn name(&self) -> String {
        format!("square-{}", self.queries)
    }

    fn needs(&self) -> Capability {
        Capability::Predict
    }

    fn strike(&self, field: &Field<'_>, standing: &[usize]) -> Result<Outcome, AttackError> {
        let mut outcome = Outcome::before(standing);
        let plane = Plane::of(field.oracle.shape());
        let mut seekers: Vec<Seeker> = standing
            .par_iter()
            .map(|place| {
                let mut random = field.random(SQUARE_STREAM, 0, *place);
                let x = plane.start(field.ball, field.clean(*place), &mut random);
                Seeker { place: *place, best: field.clean(*place).to_vec(), x, loss: f32::MIN, random }
            })
            .collect();
        for query in 0..self.queries {
            if seekers.is_empty() {
                break;
            }
            if query > 0 {
                let share = share(query, self.queries);
                seekers.par_iter_mut().for_each(|seeker| {
                    seeker.x =
                        plane.next(field.ball, field.clean(seeker.place), &seeker.best, share, &mut seeker.random);
                });
            }
            seekers = ask(field, seekers, &mut outcome)?;
        }
        Ok(outcome)
    }
}

/// Asks for the scores of the candidates and keeps those that are better than what was best.
fn ask(field: &Field<'_>, mut seekers: Vec<Seeker>, outcome: &mut Outcome) -> Result<Vec<Seeker>, AttackError> {
    let points = joined(seekers.iter().map(|seeker| seeker.x.as_slice()));
    let scores = field.oracle.scores(&points)?;
    outcome.queries += seekers.len() as u64;
    let rows = scores.chunks_exact(field.oracle.classes());
    let mut seen = Vec::with_capacity(seekers.len());
    for (seeker, row) in seekers.iter_mut().zip(rows) {
        let goal: Goal = field.goal(seeker.place);
        let loss = Loss::Margin.of(goal, row, &mut vec![0.0; row.len()]);
        seen.push(field.won(seeker.place, crate::loss::winner(row)));
        if loss > seeker.loss {
            seeker.loss = loss;
            std::mem::swap(&mut seeker.best, &mut seeker.x);
            if seen.last() == Some(&true) {
                seeker.x.clone_from(&seeker.best);
            }
        }
    }
    outcome.settle(field, seekers, &seen, |seeker| (seeker.place, &seeker.x))
}

/// An example whose change is sought.
struct Seeker {
    place: usize,
    /// The point with the highest loss so far.
    best: Vec<f32>,
    /// The point asked about.
    x: Vec<f32>,
    loss: f32,
    random: Random,
}

/// How the values of an example lie: planes of rows. What is no picture is one row.
struct Plane {
    channels: usize,
    height: usize,
    width: usize,
}

/// A square window: its corner and side; in a single row its length.
#[derive(Clone, Copy)]
struct Window {
    top: usize,
    left: usize,
    height: usize,
    width: usize,
}

impl Plane {
    fn of(shape: &[usize]) -> Self {
        match shape {
            [channels, height, width] => Self { channels: *channels, height: *height, width: *width },
            _ => Self { channels: 1, height: 1, width: shape.iter().product() },
        }
    }

    /// Where the search begins: vertical stripes of the radius for Linf, tiles of two-sided bumps for the norms that add up.
    fn start(&self, ball: Ball<'_>, clean: &[f32], random: &mut Random) -> Vec<f32> {
        let mut x = clean.to_vec();
        match ball.norm {
            Norm::Linf => {
                for channel in 0..self.channels {
                    for column in 0..self.width {
                        let change = ball.eps * coin(random);
                        for row in 0..self.height {
                            x[self.at(channel, row, column)] += change;
                        }
                    }
                }
            }
            Norm::L2 | Norm::L1 => {
                let side = (self.width / TILES).max(1);
                let rows = if self.height == 1 { 1 } else { (self.height / TILES).max(1) };
                let mut change = vec![0.0; x.len()];
                for top in (0..=self.height - rows).step_by(rows) {
                    for left in (0..=self.width - side).step_by(side) {
                        let window = Window { top, left, height: rows, width: side };
                        let bump = bump(window, random);
                        for channel in 0..self.channels {
                            let way = coin(random);
                            self.each(channel, window, |at, inside| change[at] += way * bump[inside]);
                        }
                    }
                }
                return scaled(ball, clean, &change);
            }
            Norm::L0 => return ball.random_rim(clean, random),
        }
        ball.project(clean, &mut x);
        x
    }

    /// The next candidate: `best` with a window that is a `share` of the picture changed.
    fn next(&self, ball: Ball<'_>, clean: &[f32], best: &[f32], share: f64, random: &mut Random) -> Vec<f32> {
        match ball.norm {
            Norm::Linf => {
                let mut x = best.to_vec();
                let window = self.window(share, 1, random);
                for channel in 0..self.channels {
                    let change = 2.0 * ball.eps * coin(random);
                    self.each(channel, window, |at, _| x[at] += change);
                }
                ball.project(clean, &mut x);
                x
            }
            Norm::L2 | Norm::L1 => self.next_bump(ball, clean, best, share, random),
            Norm::L0 => next_sparse(ball, clean, best, share, random),
        }
    }

    /// Moves what one window has to another, as a fresh two-sided bump on top of what is there (algorithm 3).
    fn next_bump(&self, ball: Ball<'_>, clean: &[f32], best: &[f32], share: f64, random: &mut Random) -> Vec<f32> {
        let mut change: Vec<f32> = best.iter().zip(clean).map(|(x, clean)| x - clean).collect();
        // Two-sided bumps need room; in a single row a lone value will do.
        let to = self.window(share, if self.height == 1 { 1 } else { 3 }, random);
        let from = self.place(to, random);
        let square = |values: &[f32]| values.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>();
        let unused = (f64::from(ball.eps).powi(2) - square(&change)).max(0.0) / self.channels as f64;
        let mut both = vec![0.0; change.len()];
        for channel in 0..self.channels {
            for window in [to, from] {
                self.each(channel, window, |at, _| both[at] = change[at]);
            }
        }
        let held = square(&both);
        for channel in 0..self.channels {
            let bump = bump(to, random);
            let way = coin(random);
            let mut old = vec![0.0; bump.len()];
            self.each(channel, to, |at, inside| old[inside] = change[at]);
            let length = narrow(square(&old).sqrt()) + f32::MIN_POSITIVE;
            let mut new: Vec<f32> = bump.iter().zip(&old).map(|(bump, old)| bump * way + old / length).collect();
            let size = narrow((unused + held / self.channels as f64).sqrt() / (square(&new).sqrt() + 1e-12));
            for value in &mut new {
                *value *= size;
            }
            self.each(channel, from, |at, _| change[at] = 0.0);
            self.each(channel, to, |at, inside| change[at] = new[inside]);
        }
        scaled(ball, clean, &change)
    }

    /// A window at a random place whose area is a `share` of the picture, its side at least `least`.
    fn window(&self, share: f64, least: usize, random: &mut Random) -> Window {
        let (height, width) = if self.height == 1 {
            (1, nearest(share * self.width as f64).max(least))
        } else {
            let side = nearest((share * (self.height * self.width) as f64).sqrt()).max(least);
            (side, side)
        };
        let window = Window { top: 0, left: 0, height: height.min(self.height), width: width.min(self.width) };
        self.place(window, random)
    }

    fn place(&self, window: Window, random: &mut Random) -> Window {
        let top = random.below(self.height - window.height + 1);
        Window { top, left: random.below(self.width - window.width + 1), ..window }
    }

    /// Calls with each place of a window in a channel, and its number inside the window.
    fn each(&self, channel: usize, window: Window, mut call: impl FnMut(usize, usize)) {
        for row in 0..window.height {
            for column in 0..window.width {
                call(self.at(channel, window.top + row, window.left + column), row * window.width + column);
            }
        }
    }

    const fn at(&self, channel: usize, row: usize, column: usize) -> usize {
        (channel * self.height + row) * self.width + column
    }
}

/// Puts back a share of the changed values and sets as many others to an extreme (Sparse-RS, algorithm 2).
fn next_sparse(ball: Ball<'_>, clean: &[f32], best: &[f32], share: f64, random: &mut Random) -> Vec<f32> {
    let mut x = best.to_vec();
    let mut changed: Vec<usize> = (0..x.len()).filter(|at| best[*at].to_bits() != clean[*at].to_bits()).collect();
    random.shuffle(&mut changed);
    let swapped = count(narrow(share * f64::from(ball.eps))).max(1);
    for at in changed.iter().take(swapped) {
        x[*at] = clean[*at];
    }
    let room = count(ball.eps).saturating_sub(changed.len().saturating_sub(swapped));
    for _ in 0..room.min(swapped) {
        let at = random.below(x.len());
        let (low, high) = ball.bounds(at, clean[at]);
        x[at] = if random.below(2) == 0 { low } else { high };
    }
    ball.project(clean, &mut x);
    x
}

/// The change stretched to the radius and put into the ball.
fn scaled(ball: Ball<'_>, clean: &[f32], change: &[f32]) -> Vec<f32> {
    let length = ball.length(&vec![0.0; change.len()], change).max(1e-12);
    let factor = narrow(f64::from(ball.eps) / length);
    let mut x: Vec<f32> = clean.iter().zip(change).map(|(clean, change)| clean + change * factor).collect();
    ball.project(clean, &mut x);
    x
}

/// Two peaks of opposite sign, side by side or one over the other, of length 1 (section 3.4, eq. 2).
fn bump(window: Window, random: &mut Random) -> Vec<f32> {
    let (height, width) = (window.height, window.width);
    let upright = height > 1 && random.below(2) == 0;
    let way = coin(random);
    let mut values = vec![0.0_f32; height * width];
    for row in 0..height {
        for column in 0..width {
            let (along, length, across, breadth) =
                if upright { (row, height, column, width) } else { (column, width, row, height) };
            let half = length / 2;
            let (place, size, sign) = if along < half || length == 1 {
                (along, half.max(1), way)
            } else {
                (along - half, length - half, -way)
            };
            values[row * width + column] = sign * peak(place, size, across, breadth);
        }
    }
    let length = values.iter().map(|value| value * value).sum::<f32>().sqrt().max(f32::MIN_POSITIVE);
    for value in &mut values {
        *value /= length;
    }
    values
}

/// Height of a peak over a rectangle: the sum of 1 / k² over the nested rectangles around its middle that hold this place.
fn peak(row: usize, rows: usize, column: usize, columns: usize) -> f32 {
    let away = |place: usize, size: usize| place.abs_diff(size / 2);
    let nearest = away(row, rows).max(away(column, columns));
    let most = (rows / 2).max(columns / 2) + 1;
    (nearest..most.max(nearest + 1)).map(|ring| 1.0 / ((ring + 1) as f32).powi(2)).sum()
}

/// The share of the picture that a window covers as the search goes on (section 4.1 of the paper, on the scale of 10,000 queries).
fn share(query: usize, queries: usize) -> f64 {
    let at = query * 10_000 / queries.max(1);
    let halvings = SHARES.iter().filter(|from| at > **from).count();
    FIRST_SHARE / f64::from(1_u32 << halvings.min(9))
}

fn coin(random: &mut Random) -> f32 {
    if random.below(2) == 0 { 1.0 } else { -1.0 }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a side of a window, rounded")]
fn nearest(side: f64) -> usize {
    side.max(0.0).round() as usize
}

/// Share of the picture that the first windows cover (AutoAttack's setting).
const FIRST_SHARE: f64 = 0.8;
/// Queries of 10,000 after which windows halve.
const SHARES: [usize; 9] = [10, 50, 200, 500, 1_000, 2_000, 4_000, 6_000, 8_000];
/// Tiles along a side at the start.
const TILES: usize = 5;
const SQUARE_STREAM: u64 = 11;
