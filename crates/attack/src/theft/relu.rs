//! Functional extraction of networks with one hidden layer of ReLUs (Jagielski et al. 2020, "High accuracy and high fidelity
//! extraction", section 6; Carlini, Jagielski and Mironov 2020, "Cryptanalytic extraction of neural network models").
//!
//! Along a line such a network is a chain of straight pieces with one kink for each hidden unit. The kinks are found by
//! bisection; across a kink the gradient jumps by a multiple of the unit's weights, which gives them up to their sign; the
//! gradient on one side of all kinks tells which units are at work there, which gives the signs, by least squares; the size
//! of the jumps is the last layer. The result is checked on fresh points: where it does not fit, nothing is claimed.
//!
//! A unit's weights are only defined up to a positive factor and the units up to their order, so weights come with length
//! 1. Units that are never at work, or that the last layer ignores, are not seen. More units than inputs are not solved.

use ringfence_nn::random::Random;

use crate::{
    algebra::{dot, least_squares, norm},
    error::AttackError,
    random::stream,
    theft::{natural::Natural, victim::Victim},
};

/// A network with one hidden layer of ReLUs.
#[derive(Debug, Clone, PartialEq)]
pub struct TwoLayer {
    /// Weights of each hidden unit, of length 1.
    pub hidden: Vec<Vec<f64>>,
    /// Bias of each hidden unit.
    pub hidden_bias: Vec<f64>,
    /// For each output the weight of each hidden unit.
    pub output: Vec<Vec<f64>>,
    /// Bias of each output.
    pub output_bias: Vec<f64>,
}

impl TwoLayer {
    /// The outputs for one input.
    pub fn answer(&self, x: &[f64]) -> Vec<f64> {
        let units: Vec<f64> =
            self.hidden.iter().zip(&self.hidden_bias).map(|(row, bias)| (dot(row, x) + bias).max(0.0)).collect();
        self.output.iter().zip(&self.output_bias).map(|(row, bias)| dot(row, &units) + bias).collect()
    }
}

/// What an extraction came to.
#[derive(Debug, Clone, PartialEq)]
pub enum Extraction {
    /// The network, and its largest difference on fresh points as a share of the largest answer.
    Found(TwoLayer, f64),
    /// Why there is none.
    Not(&'static str),
}

/// Extracts the victim as a network with one hidden layer of ReLUs.
pub(crate) fn extract(victim: &mut Victim<'_>, natural: &Natural, seed: u64) -> Result<Extraction, AttackError> {
    if !victim.is_wide() {
        return Ok(Extraction::Not("answers of f32 are too coarse to find kinks in"));
    }
    let mut random = stream(seed, &[RELU_STREAM]);
    let mut thief = Thief { victim, mixture: Vec::new(), size: 0.0 };
    let (mut best, mut failed) = (None::<(Line, Vec<f64>)>, 0);
    for _ in 0..LINES {
        let line = Line::random(natural, &mut random);
        let Some(kinks) = thief.kinks(&line, &LADDER, &mut random)? else {
            failed += 1;
            if failed == FAILURES_MAX {
                break;
            }
            continue;
        };
        let rank = |kinks: &[f64]| (kinks.len(), narrowest(kinks));
        if best.as_ref().is_none_or(|(_, kept)| rank(&kinks) > rank(kept)) {
            best = Some((line, kinks));
        }
    }
    let Some((line, kinks)) = best else {
        return Ok(Extraction::Not("it is not made of a few straight pieces"));
    };
    if kinks.is_empty() || kinks.len() > natural.width {
        return Ok(Extraction::Not("no kinks were found, or more than there are inputs"));
    }
    let Some(network) = thief.solve(&line, &kinks, &mut random)? else {
        return Ok(Extraction::Not("its kinks are not those of one hidden layer"));
    };
    let error = thief.difference(&network, natural, &mut random)?;
    Ok(if error < DIFFERENCE_MAX {
        Extraction::Found(network, error)
    } else {
        Extraction::Not("what was found does not answer as it does: it is not one hidden layer of ReLUs")
    })
}

/// A line through the inputs.
struct Line {
    from: Vec<f64>,
    along: Vec<f64>,
}

impl Line {
    fn random(natural: &Natural, random: &mut Random) -> Self {
        let spread = natural.high - natural.low;
        let from = natural.mean.iter().map(|mean| mean + 0.1 * spread * random.normal()).collect();
        Self { from, along: (0..natural.width).map(|_| spread * random.normal()).collect() }
    }

    fn at(&self, t: f64) -> Vec<f64> {
        self.from.iter().zip(&self.along).map(|(from, along)| from + t * along).collect()
    }
}

/// A part of a line with what is known at its ends.
#[derive(Clone, Copy)]
struct Part {
    left: f64,
    right: f64,
    value_left: f64,
    value_right: f64,
    /// Size of usual values: what cancels to little is no more precise for it.
    size: f64,
}

/// What a part turned out to be.
enum Seen {
    Straight,
    Kink(f64),
    More { middle: f64, value: f64 },
}

impl Part {
    /// Places just inside both ends, and the middle.
    fn probes(&self) -> [f64; 3] {
        let step = (self.right - self.left) * STEP;
        [self.left + step, self.right - step, f64::midpoint(self.left, self.right)]
    }

    /// Slopes at both ends by the values at the first two probes, and where the two straight lines meet.
    fn slopes(&self, values: [f64; 3]) -> (f64, f64, Option<f64>) {
        let step = (self.right - self.left) * STEP;
        let (left, right) = ((values[0] - self.value_left) / step, (self.value_right - values[1]) / step);
        let meet = (self.value_right - self.value_left - right * (self.right - self.left)) / (left - right);
        let place = self.left + meet;
        (left, right, (place > self.left && place < self.right).then_some(place))
    }

    fn straight(&self, values: [f64; 3]) -> bool {
        let (left, right, _) = self.slopes(values);
        let length = self.right - self.left;
        let chord = self.value_right - self.value_left;
        let middle = f64::midpoint(self.value_left, self.value_right);
        let tolerance = self.tolerance();
        (values[2] - middle).abs() < tolerance
            && [left, right].iter().all(|slope| (slope * length - chord).abs() < tolerance / STEP)
    }

    fn tolerance(&self) -> f64 {
        TOLERANCE * (self.value_left.abs() + self.value_right.abs() + self.size).max(f64::MIN_POSITIVE)
    }
}

/// The victim, reduced to one number for each point.
struct Thief<'t, 'v> {
    victim: &'t mut Victim<'v>,
    /// Weights of the outputs in that number; empty before the first answer.
    mixture: Vec<f64>,
    /// See [`Part::size`].
    size: f64,
}

impl Thief<'_, '_> {
    fn values(&mut self, line: &Line, places: &[f64], random: &mut Random) -> Result<Vec<f64>, AttackError> {
        let points: Vec<f64> = places.iter().flat_map(|t| line.at(*t)).collect();
        let scores = self.victim.scores_of(&points)?;
        if self.mixture.is_empty() {
            let outputs = scores.first().map_or(1, Vec::len);
            self.mixture = (0..outputs).map(|_| if outputs == 1 { 1.0 } else { random.normal() }).collect();
        }
        Ok(scores.iter().map(|row| dot(row, &self.mixture)).collect())
    }

    /// All kinks of a line between the first and the last of `ends`, rising; `None` where there are too many, or some too
    /// close to one another.
    fn kinks(&mut self, line: &Line, ends: &[f64], random: &mut Random) -> Result<Option<Vec<f64>>, AttackError> {
        let values = self.values(line, ends, random)?;
        // The smallest of the largest values of two neighbouring ends: what is usual where the kinks lie closest.
        let usual = values.windows(2).map(|pair| pair[0].abs().max(pair[1].abs())).fold(f64::INFINITY, f64::min);
        self.size = if usual.is_finite() { self.size.max(usual) } else { self.size };
        let size = self.size;
        // Probabilities that round to 0 have no logarithm: the line is followed as far as there is one.
        let mut parts: Vec<Part> = ends
            .windows(2)
            .zip(values.windows(2))
            .map(|(ends, values)| Part {
                left: ends[0],
                right: ends[1],
                value_left: values[0],
                value_right: values[1],
                size,
            })
            .filter(|part| part.value_left.is_finite() && part.value_right.is_finite())
            .collect();
        let mut kinks = Vec::new();
        while !parts.is_empty() {
            let mut next = Vec::new();
            for (part, seen) in parts.iter().zip(self.look(line, &parts, random)?) {
                match seen {
                    Seen::Straight => {}
                    Seen::Kink(place) => kinks.push(place),
                    Seen::More { .. } if part.right - part.left < NARROWEST => return Ok(None),
                    Seen::More { middle, value } => {
                        next.push(Part { right: middle, value_right: value, ..*part });
                        next.push(Part { left: middle, value_left: value, ..*part });
                    }
                }
            }
            if kinks.len() + next.len() > PARTS_MAX {
                return Ok(None);
            }
            parts = next;
        }
        kinks.sort_by(f64::total_cmp);
        Ok(Some(kinks))
    }

    /// What each part is: straight, bent once, or something to be halved.
    fn look(&mut self, line: &Line, parts: &[Part], random: &mut Random) -> Result<Vec<Seen>, AttackError> {
        let probes: Vec<f64> = parts.iter().flat_map(Part::probes).collect();
        let values = self.values(line, &probes, random)?;
        let values: Vec<[f64; 3]> = values.chunks_exact(3).map(|three| [three[0], three[1], three[2]]).collect();
        // Where two straight lines meet, the value there and half-way to both ends must be theirs.
        let bends: Vec<Option<f64>> = parts
            .iter()
            .zip(&values)
            .map(|(part, values)| if part.straight(*values) { None } else { part.slopes(*values).2 })
            .collect();
        let checks: Vec<f64> = parts
            .iter()
            .zip(&bends)
            .filter_map(|(part, bend)| bend.map(|t| [t, f64::midpoint(part.left, t), f64::midpoint(t, part.right)]))
            .flatten()
            .collect();
        let checked = self.values(line, &checks, random)?;
        let mut checked = checked.chunks_exact(3);
        let mut seen = Vec::with_capacity(parts.len());
        for ((part, values), bend) in parts.iter().zip(values).zip(bends) {
            let found = bend.and_then(|place| checked.next().and_then(|checks| refined(part, values, place, checks)));
            seen.push(match found {
                Some(place) => Seen::Kink(place),
                None if part.straight(values) => Seen::Straight,
                None => Seen::More { middle: f64::midpoint(part.left, part.right), value: values[2] },
            });
        }
        Ok(seen)
    }

    /// For each output the gradient at a point, by steps of `step` along each value. `None` where a step in a random
    /// direction does not agree: a kink is too close.
    fn gradients(&mut self, at: &[f64], step: f64, random: &mut Random) -> Result<Option<Vec<Vec<f64>>>, AttackError> {
        let width = at.len();
        let mut points = at.repeat(width + 2);
        for (place, point) in points.chunks_exact_mut(width).skip(1).take(width).enumerate() {
            point[place] += step;
        }
        let aside: Vec<f64> = (0..width).map(|_| step * random.normal() / (width as f64).sqrt()).collect();
        for (value, aside) in points[(width + 1) * width..].iter_mut().zip(&aside) {
            *value -= aside;
        }
        let scores = self.victim.scores_of(&points)?;
        let gradients: Vec<Vec<f64>> = (0..scores[0].len())
            .map(|output| (0..width).map(|place| (scores[place + 1][output] - scores[0][output]) / step).collect())
            .collect();
        let agree = gradients.iter().enumerate().all(|(output, gradient)| {
            let told = scores[0][output] - dot(gradient, &aside);
            let size = scores[0][output].abs() + norm(gradient) * step;
            (told - scores[width + 1][output]).abs() < size * AGREEMENT
        });
        Ok(agree.then_some(gradients))
    }

    /// The network whose kinks these are.
    fn solve(&mut self, line: &Line, kinks: &[f64], random: &mut Random) -> Result<Option<TwoLayer>, AttackError> {
        let mut sides = Vec::with_capacity(kinks.len() + 1);
        for place in 0..=kinks.len() {
            let (middle, room) = between(kinks, place);
            let room = room * norm(&line.along) / (line.along.len() as f64).sqrt();
            let mut found = None;
            for share in ROOM_USED {
                found = self.gradients(&line.at(middle), room * share, random)?;
                if found.is_some() {
                    break;
                }
            }
            let Some(gradients) = found else { return Ok(None) };
            sides.push(gradients);
        }
        let (mut units, mut output) = (Vec::new(), vec![Vec::new(); sides[0].len()]);
        for pair in sides.windows(2) {
            let jump = |output: usize| -> Vec<f64> {
                pair[1][output].iter().zip(&pair[0][output]).map(|(after, before)| after - before).collect()
            };
            // The jump in the output where it is largest gives the direction; turned so that it points along the line.
            let jumps: Vec<Vec<f64>> = (0..output.len()).map(jump).collect();
            let Some(largest) = jumps.iter().max_by(|a, b| norm(a).total_cmp(&norm(b))) else { return Ok(None) };
            let scale = norm(largest) * dot(largest, &line.along).signum();
            let unit: Vec<f64> = largest.iter().map(|value| value / scale).collect();
            for (weights, jump) in output.iter_mut().zip(&jumps) {
                weights.push(dot(jump, &unit));
            }
            units.push(unit);
        }
        let mut bias = Vec::with_capacity(units.len());
        for (unit, kink) in units.iter().zip(kinks) {
            let Some(offset) = self.offset(unit, -dot(unit, &line.at(*kink)), &line.from, random)? else {
                return Ok(None);
            };
            bias.push(offset);
        }
        let Some(turned) = turned(&units, &output, &sides[0]) else { return Ok(None) };
        for ((unit, bias), turned) in units.iter_mut().zip(&mut bias).zip(turned) {
            if turned {
                for value in unit.iter_mut() {
                    *value = -*value;
                }
                *bias = -*bias;
            }
        }
        let mut network = TwoLayer { hidden: units, hidden_bias: bias, output_bias: vec![0.0; output.len()], output };
        let scores = self.victim.scores_of(&line.from)?;
        let rest = network.answer(&line.from);
        network.output_bias = scores[0].iter().zip(rest).map(|(score, rest)| score - rest).collect();
        Ok(Some(network))
    }

    /// The bias of a unit of which about `guess` is known, from a kink as close to `from` as there is one of it: far out, a
    /// small error of the weights is a large one of the bias.
    fn offset(
        &mut self,
        unit: &[f64],
        guess: f64,
        from: &[f64],
        random: &mut Random,
    ) -> Result<Option<f64>, AttackError> {
        let line = Line { from: from.to_vec(), along: unit.to_vec() };
        let start = dot(unit, from);
        let expected = -guess - start;
        let mut reach = (expected.abs() * 1e-3).max(1e-3);
        for _ in 0..WINDOWS {
            let found = self.kinks(&line, &[expected - reach, expected + reach], random)?.unwrap_or_default();
            let nearest = found.iter().copied().min_by(|a, b| (a - expected).abs().total_cmp(&(b - expected).abs()));
            if let Some(place) = nearest {
                return Ok(Some(-(start + place)));
            }
            reach *= 0.37; // another window: in this one kinks were missed or lay too close
        }
        Ok(None)
    }

    /// The largest difference on fresh points, as a share of the largest answer.
    fn difference(&mut self, network: &TwoLayer, natural: &Natural, random: &mut Random) -> Result<f64, AttackError> {
        let mut points: Vec<f64> = (0..CHECKS).flat_map(|_| natural.uniform(random)).collect();
        for _ in 0..CHECKS {
            points.extend(Line::random(natural, random).at(random.normal()));
        }
        let scores = self.victim.scores_of(&points)?;
        let (mut largest, mut off) = (f64::MIN_POSITIVE, 0.0_f64);
        for (point, score) in points.chunks_exact(natural.width).zip(scores) {
            for (score, told) in score.iter().zip(network.answer(point)) {
                largest = largest.max(score.abs());
                off = off.max((score - told).abs());
            }
        }
        Ok(off / largest)
    }
}

/// A kink's place from longer legs than the ones by which it was found; `None` where the checks do not fit.
fn refined(part: &Part, values: [f64; 3], place: f64, checks: &[f64]) -> Option<f64> {
    let (left, right, _) = part.slopes(values);
    let tolerance = part.tolerance() / STEP;
    let from_left = |t: f64| part.value_left + left * (t - part.left);
    let from_right = |t: f64| part.value_right - right * (part.right - t);
    let (before, after) = (f64::midpoint(part.left, place), f64::midpoint(place, part.right));
    let fits = (checks[0] - from_left(place)).abs() < tolerance
        && (checks[1] - from_left(before)).abs() < tolerance
        && (checks[2] - from_right(after)).abs() < tolerance;
    let rise = (checks[1] - part.value_left) / (before - part.left);
    let fall = (part.value_right - checks[2]) / (part.right - after);
    let meet = (checks[2] - fall * after - checks[1] + rise * before) / (rise - fall);
    (fits && meet > part.left && meet < part.right).then_some(meet)
}

/// Which units must be turned round, by the gradients of all outputs before the first kink: there, units that point along
/// the line rest, and those that point against it are at work.
fn turned(units: &[Vec<f64>], output: &[Vec<f64>], first: &[Vec<f64>]) -> Option<Vec<bool>> {
    let (strongest, gradient) = output.iter().zip(first).max_by(|a, b| weakest(a.0).total_cmp(&weakest(b.0)))?;
    let columns =
        units.iter().zip(strongest).map(|(unit, weight)| unit.iter().map(|value| -value * weight).collect()).collect();
    let found = least_squares(columns, vec![gradient.clone()])?;
    found
        .first()?
        .iter()
        .map(|share| [0.0, 1.0].iter().position(|side| (share - side).abs() < 0.1))
        .map(|side| side.map(|side| side == 1))
        .collect()
}

fn weakest(weights: &[f64]) -> f64 {
    weights.iter().map(|weight| weight.abs()).fold(f64::INFINITY, f64::min)
}

/// The middle between two neighbouring kinks and the way to both; beyond the outer ones, as far out as the inner ones lie
/// apart.
fn between(kinks: &[f64], place: usize) -> (f64, f64) {
    let ends = kinks.first().copied().unwrap_or(0.0)..kinks.last().copied().unwrap_or(0.0);
    let room = (ends.end - ends.start).max(1.0);
    match (place.checked_sub(1).and_then(|before| kinks.get(before)), kinks.get(place)) {
        (Some(before), Some(after)) => (f64::midpoint(*before, *after), (after - before) / 2.0),
        (Some(before), None) => (before + room, room),
        (None, Some(after)) => (after - room, room),
        (None, None) => (0.0, room),
    }
}

fn narrowest(kinks: &[f64]) -> f64 {
    kinks.windows(2).map(|pair| pair[1] - pair[0]).fold(f64::INFINITY, f64::min)
}

/// Lines of which the one with the most kinks is taken, the farthest apart.
const LINES: usize = 3;
/// Lines on which no few straight pieces are found before it is given up.
const FAILURES_MAX: usize = 2;
/// How far a line is followed, in ranges of the input, and where it is cut first: kinks lie the denser the closer to the
/// natural inputs, and values are the more precise. A unit whose kink lies beyond is missed, with a chance of about 1e-5.
const LADDER: [f64; 8] = [-1e5, -2_000.0, -50.0, -4.0, 4.0, 50.0, 2_000.0, 1e5];
/// Share of a part's length over which slopes at its ends are taken.
const STEP: f64 = 0.01;
/// Rounding of values as a share of them.
const TOLERANCE: f64 = 1e-11;
/// Shortest part that is halved.
const NARROWEST: f64 = 1e-8;
/// Parts and kinks of a line: more are no small network's.
const PARTS_MAX: usize = 2_048;
/// Shares of the way to the next kink that gradients use: a kink that hardly crosses the line may be closer aside.
const ROOM_USED: [f64; 3] = [0.02, 0.002, 0.0002];
/// Disagreement of a gradient with a step aside, as a share of values.
const AGREEMENT: f64 = 1e-9;
const WINDOWS: usize = 8;
/// Fresh points of each kind by which the result is checked.
const CHECKS: usize = 64;
/// Difference above which nothing is claimed.
const DIFFERENCE_MAX: f64 = 1e-6;
const RELU_STREAM: u64 = 34;
