//! Kinks of a function that is straight but for a few places, along a line: found by bisection, exactly.

use ringfence_nn::random::Random;

use crate::{
    algebra::dot,
    error::AttackError,
    theft::{natural::Natural, victim::Victim},
};

/// A line through the inputs.
pub(super) struct Line {
    pub(super) from: Vec<f64>,
    pub(super) along: Vec<f64>,
}

impl Line {
    pub(super) fn random(natural: &Natural, random: &mut Random) -> Self {
        let spread = natural.high - natural.low;
        let from = natural.mean.iter().map(|mean| mean + 0.1 * spread * random.normal()).collect();
        Self { from, along: (0..natural.width).map(|_| spread * random.normal()).collect() }
    }

    pub(super) fn at(&self, t: f64) -> Vec<f64> {
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

/// The kinks of a line.
pub(super) struct Kinks {
    /// Where, rising.
    pub(super) places: Vec<f64>,
    /// Where the line was followed, rising: answers elsewhere had too few digits.
    pub(super) covered: Vec<[f64; 2]>,
}

impl Kinks {
    /// Whether a kink at `place` would have been seen, well off the ends.
    pub(super) fn covers(&self, place: f64) -> bool {
        self.covered.iter().any(|[from, to]| place > from + INSIDE * (to - from) && place < to - INSIDE * (to - from))
    }

    /// The middle between two neighbouring kinks and the way to both; beyond the outer ones, as far out as the inner ones lie
    /// apart, or half-way to where the line was followed no further.
    pub(super) fn between(&self, side: usize) -> (f64, f64) {
        let ends = self.places.first().copied().unwrap_or(0.0)..self.places.last().copied().unwrap_or(0.0);
        let room = (ends.end - ends.start).max(1.0);
        let within = |place: f64| self.covered.iter().find(|[from, to]| *from <= place && place <= *to);
        match (side.checked_sub(1).and_then(|before| self.places.get(before)), self.places.get(side)) {
            (Some(before), Some(after)) => (f64::midpoint(*before, *after), (after - before) / 2.0),
            (Some(before), None) => {
                let room = within(*before).map_or(room, |[_, to]| room.min((to - before) / 2.0));
                (before + room, room)
            }
            (None, Some(after)) => {
                let room = within(*after).map_or(room, |[from, _]| room.min((after - from) / 2.0));
                (after - room, room)
            }
            (None, None) => (0.0, room),
        }
    }
}

/// What a part turned out to be.
enum Seen {
    Straight,
    Kink(f64),
    More { middle: f64, value: f64 },
}

impl Part {
    /// The same with other ends: places and values.
    fn cut(self, [left, right]: [(f64, f64); 2]) -> Self {
        Self { left: left.0, right: right.0, value_left: left.1, value_right: right.1, size: self.size }
    }

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

    /// Where a kink at `place` is checked: just before and after, and half-way to both ends.
    fn checks(&self, place: f64) -> [f64; 4] {
        let [before, after] = [place - self.left, self.right - place];
        [
            place - before * BESIDE,
            place + after * BESIDE,
            f64::midpoint(self.left, place),
            f64::midpoint(place, self.right),
        ]
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
pub(super) struct Thief<'t, 'v> {
    pub(super) victim: &'t mut Victim<'v>,
    /// Weights of the outputs in that number; empty before the first answer.
    mixture: Vec<f64>,
    /// See [`Part::size`].
    size: f64,
}

impl<'t, 'v> Thief<'t, 'v> {
    pub(super) fn new(victim: &'t mut Victim<'v>) -> Self {
        Self { victim, mixture: Vec::new(), size: 0.0 }
    }

    fn values(&mut self, line: &Line, places: &[f64], random: &mut Random) -> Result<Vec<f64>, AttackError> {
        let points: Vec<f64> = places.iter().flat_map(|t| line.at(*t)).collect();
        let scores = self.victim.sharp_scores_of(&points)?;
        if self.mixture.is_empty() {
            let outputs = scores.first().map_or(1, Vec::len);
            self.mixture = (0..outputs).map(|_| if outputs == 1 { 1.0 } else { random.normal() }).collect();
        }
        Ok(scores.iter().map(|row| dot(row, &self.mixture)).collect())
    }

    /// All kinks of a line; `None` where there are too many, or some too close to one another.
    pub(super) fn kinks(&mut self, line: &Line, random: &mut Random) -> Result<Option<Kinks>, AttackError> {
        let ends = LADDER;
        let values = self.values(line, &ends, random)?;
        // The smallest of the largest values of two neighbouring ends: what is usual where the kinks lie closest.
        let usual = values.windows(2).map(|pair| pair[0].abs().max(pair[1].abs())).fold(f64::INFINITY, f64::min);
        self.size = if usual.is_finite() { self.size.max(usual) } else { self.size };
        let size = self.size;
        // Probabilities that round to 0 or 1 have no logarithm: the line is followed as far as there is one.
        let mut parts = Vec::new();
        for (ends, values) in ends.windows(2).zip(values.windows(2)) {
            let whole = Part { left: ends[0], right: ends[1], value_left: values[0], value_right: values[1], size };
            parts.extend(self.followed(line, whole, random)?);
        }
        let mut covered: Vec<[f64; 2]> = Vec::new();
        for part in &parts {
            match covered.last_mut().filter(|[_, to]| *to >= part.left) {
                Some([_, to]) => *to = part.right,
                None => covered.push([part.left, part.right]),
            }
        }
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
        Ok(Some(Kinks { places: kinks, covered }))
    }

    /// The parts of `part` that have values at their ends: from an end with one to the last place that has one, or both ways from a
    /// place between where one score is too high at one end and too low at the other. Found by halving.
    fn followed(&mut self, line: &Line, part: Part, random: &mut Random) -> Result<Vec<Part>, AttackError> {
        let mut ends = [(part.left, part.value_left), (part.right, part.value_right)];
        let beyond = |value: f64| value.is_infinite().then_some(value.is_sign_positive());
        let (left, right) = (beyond(part.value_left), beyond(part.value_right));
        if left.is_some() && right.is_some() && left != right {
            for _ in 0..CROSSINGS {
                let middle = f64::midpoint(ends[0].0, ends[1].0);
                let value = self.value(line, middle, random)?;
                if value.is_finite() {
                    let [left, right] = ends;
                    let mut parts = Vec::with_capacity(2);
                    for (left, right) in [(left, (middle, value)), ((middle, value), right)] {
                        parts.extend(self.edge(line, left, right, random)?.map(|ends| part.cut(ends)));
                    }
                    return Ok(parts);
                }
                ends[usize::from(beyond(value) != left)] = (middle, value);
            }
            return Ok(Vec::new());
        }
        Ok(self.edge(line, ends[0], ends[1], random)?.map(|ends| part.cut(ends)).into_iter().collect())
    }

    /// Two ends with values, of which one may lie further inside than the one given; `None` where neither has one.
    fn edge(
        &mut self,
        line: &Line,
        left: (f64, f64),
        right: (f64, f64),
        random: &mut Random,
    ) -> Result<Option<[(f64, f64); 2]>, AttackError> {
        let (mut known, mut lost, turned) = match (left.1.is_finite(), right.1.is_finite()) {
            (true, true) => return Ok(Some([left, right])),
            (false, false) => return Ok(None),
            (true, false) => (left, right.0, false),
            (false, true) => (right, left.0, true),
        };
        for _ in 0..HALVINGS {
            let middle = f64::midpoint(known.0, lost);
            let value = self.value(line, middle, random)?;
            if value.is_finite() {
                known = (middle, value);
            } else {
                lost = middle;
            }
        }
        let ends = if turned { [known, right] } else { [left, known] };
        Ok((ends[1].0 > ends[0].0).then_some(ends))
    }

    fn value(&mut self, line: &Line, place: f64, random: &mut Random) -> Result<f64, AttackError> {
        Ok(self.values(line, &[place], random)?.first().copied().unwrap_or(f64::NAN))
    }

    /// What each part is: straight, bent once, or something to be halved.
    fn look(&mut self, line: &Line, parts: &[Part], random: &mut Random) -> Result<Vec<Seen>, AttackError> {
        let probes: Vec<f64> = parts.iter().flat_map(Part::probes).collect();
        let values = self.values(line, &probes, random)?;
        let values: Vec<[f64; 3]> = values.chunks_exact(3).map(|three| [three[0], three[1], three[2]]).collect();
        // Where two straight lines meet, the values just before and after and half-way to both ends must be theirs. Two kinks of
        // opposite signs have lines that meet outside of both, so the meeting point alone shows nothing.
        let bends: Vec<Option<f64>> = parts
            .iter()
            .zip(&values)
            .map(|(part, values)| if part.straight(*values) { None } else { part.slopes(*values).2 })
            .collect();
        let checks: Vec<f64> = parts
            .iter()
            .zip(&bends)
            .filter_map(|(part, bend)| bend.map(|place| part.checks(place)))
            .flatten()
            .collect();
        let checked = self.values(line, &checks, random)?;
        let mut checked = checked.chunks_exact(4);
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
}

/// A kink's place from longer legs than the ones by which it was found; `None` where the values at [`Part::checks`] do not fit.
fn refined(part: &Part, values: [f64; 3], place: f64, checked: &[f64]) -> Option<f64> {
    let (left, right, _) = part.slopes(values);
    let tolerance = part.tolerance() / STEP;
    let from_left = |t: f64| part.value_left + left * (t - part.left);
    let from_right = |t: f64| part.value_right - right * (part.right - t);
    let [just_before, just_after, before, after] = part.checks(place);
    let wanted = [from_left(just_before), from_right(just_after), from_left(before), from_right(after)];
    let fits = checked.iter().zip(wanted).all(|(checked, wanted)| (checked - wanted).abs() < tolerance);
    // So close to the kink the other line must be another one, or the check says nothing.
    let apart = (right - left).abs() * (just_after - place) > 2.0 * tolerance;
    let (value_before, value_after) = (*checked.get(2)?, *checked.get(3)?);
    let rise = (value_before - part.value_left) / (before - part.left);
    let fall = (part.value_right - value_after) / (part.right - after);
    let meet = (value_after - fall * after - value_before + rise * before) / (rise - fall);
    (fits && apart && meet > part.left && meet < part.right).then_some(meet)
}

/// How far a line is followed, in ranges of the input, and where it is cut first: kinks lie the denser the closer to the
/// natural inputs, and values are the more precise. A unit whose kink lies beyond is missed, with a chance of about 1e-5.
const LADDER: [f64; 8] = [-1e5, -2_000.0, -50.0, -4.0, 4.0, 50.0, 2_000.0, 1e5];
/// Share of a followed stretch at its ends where a kink may have been missed.
const INSIDE: f64 = 0.05;
/// How often a part is halved on the way to its last value.
const HALVINGS: usize = 16;
/// The same on the way to a first value.
const CROSSINGS: usize = 48;
/// Share of a part's length over which slopes at its ends are taken.
const STEP: f64 = 0.01;
/// Share of the way from a kink to the ends of its part at which it is checked.
const BESIDE: f64 = 0.005;
/// Rounding of values as a share of them.
const TOLERANCE: f64 = 1e-11;
/// Shortest part that is halved.
const NARROWEST: f64 = 1e-8;
/// Parts and kinks of a line: more are no small network's.
const PARTS_MAX: usize = 2_048;
