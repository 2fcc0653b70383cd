//! Functional extraction of networks with one hidden layer of ReLUs (Jagielski et al. 2020, "High accuracy and high fidelity
//! extraction", section 6; Carlini, Jagielski and Mironov 2020, "Cryptanalytic extraction of neural network models").
//!
//! Along a line such a network is a chain of straight pieces with one kink for each hidden unit ([`super::kinks`]). Across a kink the
//! gradient jumps by a multiple of the unit's weights ([`super::unit`]). Units are gathered from line after line: where two kinks lie
//! too close on one they lie apart on the next, and a unit without a kink where it should have one was none. When all kinks of
//! a line are explained, each unit is measured again where all others are far, and the gradient at one point tells which units
//! are at work there, by least squares. The result is checked on fresh points: where it does not fit, nothing is claimed.
//!
//! A unit's weights are only defined up to a positive factor and the units up to their order, so weights come with length
//! one. Units that are never at work, or that the last layer ignores, are not seen. More units than inputs times outputs are
//! not solved.

use ringfence_nn::random::Random;

use crate::{
    algebra::{dot, least_squares, norm},
    error::AttackError,
    random::stream,
    theft::{
        kinks::{Kinks, Line, Thief},
        natural::Natural,
        unit::{Slope, Unit, settle, slope},
        victim::Victim,
    },
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
    let mut thief = Thief::new(victim);
    let mut loot = Loot { units: Vec::new(), sharpest: None, dropped: 0 };
    let (mut failed, mut reason) = (0, OTHER_KINKS);
    // Where answers lose their digits, many lines show little or nothing, and each of those is cheap.
    let (lines, failures_max) =
        if thief.victim.is_blunt() { (BLUNT_LINES, BLUNT_LINES) } else { (LINES, FAILURES_MAX) };
    for _ in 0..lines {
        let line = Line::random(natural, &mut random);
        let kinks = thief.kinks(&line, &mut random)?.filter(|kinks| !kinks.places.is_empty());
        let Some(kinks) = kinks else {
            failed += 1;
            if failed >= failures_max && loot.units.is_empty() {
                return Ok(Extraction::Not("it is not made of a few straight pieces, or no kinks were found"));
            }
            continue;
        };
        loot.forget(&line, &kinks);
        let complete = loot.gather(thief.victim, &line, &kinks, &mut random)?;
        if loot.dropped > DROPPED_MAX {
            return Ok(Extraction::Not(OTHER_KINKS));
        }
        if !complete {
            continue;
        }
        let Some(network) = loot.network(thief.victim, natural, &mut random)? else { continue };
        let error = difference(thief.victim, &network, natural, &mut random)?;
        if error < DIFFERENCE_MAX {
            return Ok(Extraction::Found(network, error));
        }
        reason = "what was found does not answer as it does: it is not one hidden layer of ReLUs";
    }
    Ok(Extraction::Not(reason))
}

/// What is known of the network so far.
struct Loot {
    units: Vec<Unit>,
    /// The gradient of the least error.
    sharpest: Option<Slope>,
    /// Units that turned out to be none.
    dropped: usize,
}

impl Loot {
    /// Drops units that have no kink on a line where they should have one.
    fn forget(&mut self, line: &Line, kinks: &Kinks) {
        let bends: Vec<Vec<f64>> = kinks.places.iter().map(|place| line.at(*place)).collect();
        let before = self.units.len();
        self.units.retain(|unit| {
            let place = -unit.above(&line.from) / dot(&unit.row, &line.along);
            !kinks.covers(place) || bends.iter().any(|bend| unit.bends_at(bend))
        });
        self.dropped += before - self.units.len();
    }

    /// Measures the units of kinks that no known one explains; whether all kinks of this line are explained then.
    fn gather(
        &mut self,
        victim: &mut Victim<'_>,
        line: &Line,
        kinks: &Kinks,
        random: &mut Random,
    ) -> Result<bool, AttackError> {
        let mut sides: Vec<Option<Option<Slope>>> = vec![None; kinks.places.len() + 1];
        let mut complete = true;
        for (which, place) in kinks.places.iter().enumerate() {
            let bend = line.at(*place);
            if self.units.iter().any(|unit| unit.bends_at(&bend)) {
                continue;
            }
            for side in [which, which + 1] {
                if sides[side].is_none() {
                    sides[side] = Some(beside(victim, line, kinks, side, random)?);
                }
            }
            let (Some(Some(before)), Some(Some(after))) = (&sides[which], &sides[which + 1]) else {
                complete = false;
                continue;
            };
            match Unit::between(before, after, &bend, &line.along).filter(|unit| unit.error < ROUGH) {
                Some(unit) if !self.units.iter().any(|known| known.same(&unit)) => self.units.push(unit),
                Some(_) => {}
                None => complete = false,
            }
        }
        for slope in sides.into_iter().flatten().flatten() {
            if self.sharpest.as_ref().is_none_or(|kept| slope.error < kept.error) {
                self.sharpest = Some(slope);
            }
        }
        Ok(complete)
    }

    /// The network of these units; `None` where they do not make one.
    fn network(
        &mut self,
        victim: &mut Victim<'_>,
        natural: &Natural,
        random: &mut Random,
    ) -> Result<Option<TwoLayer>, AttackError> {
        for which in 0..self.units.len() {
            if !settle(victim, &mut self.units, which, natural, random)? {
                return Ok(None);
            }
        }
        let Some(turned) = self.sharpest.as_ref().and_then(|slope| turned(&self.units, slope)) else {
            return Ok(None);
        };
        let outputs = self.units.first().map_or(0, |unit| unit.jump.len());
        let output = (0..outputs).map(|output| self.units.iter().map(|unit| unit.jump[output]).collect()).collect();
        let mut network =
            TwoLayer { hidden: Vec::new(), hidden_bias: Vec::new(), output, output_bias: vec![0.0; outputs] };
        for (unit, turned) in self.units.iter().zip(turned) {
            let sign = if turned { -1.0 } else { 1.0 };
            network.hidden.push(unit.row.iter().map(|value| sign * value).collect());
            network.hidden_bias.push(sign * unit.bias);
        }
        // Close to natural inputs, where values are the most precise, if there is an answer.
        for at in std::iter::once(&natural.mean).chain(self.sharpest.as_ref().map(|slope| &slope.at)) {
            let scores = victim.sharp_scores_of(at)?.into_iter().flatten().collect::<Vec<_>>();
            if scores.iter().all(|score| score.is_finite()) {
                network.output_bias = scores.iter().zip(network.answer(at)).map(|(score, rest)| score - rest).collect();
                return Ok(Some(network));
            }
        }
        Ok(None)
    }
}

/// The gradients between two neighbouring kinks of a line, by the longest steps that agree.
fn beside(
    victim: &mut Victim<'_>,
    line: &Line,
    kinks: &Kinks,
    side: usize,
    random: &mut Random,
) -> Result<Option<Slope>, AttackError> {
    let (middle, room) = kinks.between(side);
    let room = room * norm(&line.along) / (line.along.len() as f64).sqrt();
    for share in ROOM_USED {
        let found = slope(victim, &line.at(middle), room * share, random)?;
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}

/// Which units must be turned round, by the gradients of all outputs at one point. A unit with its resting side below adds its jump to
/// the gradients above; one that must be turned takes it away below. So the gradients less the jumps of all units below
/// this point are the jumps of those that must be turned, negative.
fn turned(units: &[Unit], slope: &Slope) -> Option<Vec<bool>> {
    let jumps = |unit: &Unit| -> Vec<f64> {
        unit.jump.iter().flat_map(|jump| unit.row.iter().map(move |value| jump * value)).collect()
    };
    let mut rest: Vec<f64> = slope.gradients.concat();
    let (mut columns, mut sizes) = (Vec::with_capacity(units.len()), Vec::with_capacity(units.len()));
    for unit in units {
        let jumps = jumps(unit);
        if unit.above(&slope.at) > 0.0 {
            rest.iter_mut().zip(&jumps).for_each(|(rest, jump)| *rest -= jump);
        }
        let size = norm(&jumps);
        columns.push(jumps.iter().map(|jump| -jump / size).collect());
        sizes.push(size);
    }
    let found = least_squares(columns, vec![rest])?;
    let shares = found.first()?.iter().zip(&sizes).map(|(share, size)| share / size);
    shares.map(|share| [0.0, 1.0].iter().position(|side| (share - side).abs() < 0.2).map(|side| side == 1)).collect()
}

/// The largest difference on fresh points, as a share of the largest answer; infinite where hardly any has an answer.
fn difference(
    victim: &mut Victim<'_>,
    network: &TwoLayer,
    natural: &Natural,
    random: &mut Random,
) -> Result<f64, AttackError> {
    let mut points: Vec<f64> = (0..CHECKS).flat_map(|_| natural.uniform(random)).collect();
    for _ in 0..CHECKS {
        points.extend(Line::random(natural, random).at(random.normal()));
    }
    let scores = victim.sharp_scores_of(&points)?;
    let (mut largest, mut off, mut compared) = (f64::MIN_POSITIVE, 0.0_f64, 0);
    let answered = |score: &[f64]| score.iter().all(|score| score.is_finite());
    for (point, score) in points.chunks_exact(natural.width).zip(scores).filter(|(_, score)| answered(score)) {
        compared += 1;
        for (score, told) in score.iter().zip(network.answer(point)) {
            largest = largest.max(score.abs());
            off = off.max((score - told).abs());
        }
    }
    Ok(if compared < COMPARED_MIN { f64::INFINITY } else { off / largest })
}

/// Lines that are followed before it is given up.
const LINES: usize = 24;
const BLUNT_LINES: usize = 128;
/// Lines on which no few straight pieces are found before it is given up.
const FAILURES_MAX: usize = 3;
/// Units that turn out to be none before it is given up: those of a second hidden layer bend elsewhere on each line.
const DROPPED_MAX: usize = 24;
/// Likely error of a row that is good enough to know its unit again.
const ROUGH: f64 = 1e-5;
/// Shares of the way to the next kink that gradients use: a kink that hardly crosses the line may be closer aside.
const ROOM_USED: [f64; 4] = [0.02, 0.002, 0.0002, 0.00002];
/// Fresh points of each kind by which the result is checked.
const CHECKS: usize = 64;
/// Of both kinds together, those that must have an answer.
const COMPARED_MIN: usize = 32;
/// Difference above which nothing is claimed.
const DIFFERENCE_MAX: f64 = 1e-6;
const OTHER_KINKS: &str = "its kinks are not those of one hidden layer";
const RELU_STREAM: u64 = 34;
