//! Distillation: a network of one's own, trained on nothing but questions and answers (Tramèr et al. 2016, section 6;
//! Orekondy et al. 2019, "Knockoff Nets"; uncertainty sampling after Pal et al. 2020, "ActiveThief").

use ringfence_nn::{Model, Tensor, Want, optim::Adam, random::Random};

use crate::{
    error::AttackError,
    random::stream,
    surrogate,
    theft::{
        natural::Natural,
        victim::{OutputLevel, Victim},
    },
};

/// Where a thief's questions come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Questions {
    /// Anywhere in the range of inputs.
    Random,
    /// Inputs such as the victim usually sees, as far as there are some.
    Natural,
    /// Those of many natural inputs and blends of them of which the thief's network is least sure so far.
    Active,
}

impl Questions {
    pub(crate) const ALL: [Self; 3] = [Self::Random, Self::Natural, Self::Active];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Random => "distillation-random",
            Self::Natural => "distillation-natural",
            Self::Active => "distillation-active",
        }
    }
}

/// A thief at work: questions, what was answered, and the network so far.
pub(crate) struct Distiller<'n> {
    natural: &'n Natural,
    questions: Questions,
    level: OutputLevel,
    /// Shape of one input.
    shape: Vec<usize>,
    random: Random,
    seed: u64,
    /// Natural rows in the order in which they are used, the next one last.
    order: Vec<usize>,
    x: Vec<f32>,
    targets: Vec<f32>,
    classes: usize,
    student: Option<Model>,
}

impl<'n> Distiller<'n> {
    pub(crate) fn new(
        natural: &'n Natural,
        shape: &[usize],
        questions: Questions,
        level: OutputLevel,
        seed: u64,
    ) -> Self {
        let mut random = stream(seed, &[DISTIL_STREAM, questions as u64]);
        let order = random.permutation(natural.count());
        let (x, targets) = (Vec::new(), Vec::new());
        let shape = shape.to_vec();
        Self { natural, questions, level, shape, random, seed, order, x, targets, classes: 0, student: None }
    }

    /// Asks until `queries` answers are there and trains anew; `None` where there are not so many questions to ask.
    pub(crate) fn grow(&mut self, victim: &mut Victim<'_>, queries: usize) -> Result<Option<&Model>, AttackError> {
        let missing = queries.saturating_sub(self.x.len() / self.natural.width);
        let Some(points) = self.choose(missing)? else { return Ok(None) };
        for logs in victim.logarithms_of(&points)? {
            self.classes = logs.len();
            self.targets.extend(self.level.target(&logs).into_iter().map(single));
        }
        self.x.extend(points.into_iter().map(single));
        self.student = Some(self.train()?);
        Ok(self.student.as_ref())
    }

    fn choose(&mut self, count: usize) -> Result<Option<Vec<f64>>, AttackError> {
        match (self.questions, &self.student) {
            (Questions::Random, _) => {
                Ok(Some((0..count).flat_map(|_| self.natural.uniform(&mut self.random)).collect()))
            }
            (Questions::Natural, _) if count > self.order.len() => Ok(None),
            (Questions::Natural, _) => {
                let places = self.order.split_off(self.order.len() - count);
                Ok(Some(places.iter().flat_map(|place| self.natural.row(*place)).copied().collect()))
            }
            (Questions::Active, None) => {
                Ok(Some((0..count).flat_map(|_| self.natural.blend(&mut self.random)).collect()))
            }
            (Questions::Active, Some(student)) => self.least_sure(student, count).map(Some),
        }
    }

    /// Of several times as many candidates those at which the two best classes lie closest together.
    fn least_sure(&self, student: &Model, count: usize) -> Result<Vec<f64>, AttackError> {
        let mut random = stream(self.seed, &[DISTIL_STREAM, ACTIVE, self.x.len() as u64]);
        let wanted = count.saturating_mul(CANDIDATES).min(CANDIDATES_MAX.max(count));
        let candidates: Vec<Vec<f64>> = (0..wanted)
            .map(|place| match place % 2 {
                0 => self.natural.row(random.below(self.natural.count())).to_vec(),
                _ => self.natural.blend(&mut random),
            })
            .collect();
        let mut margins = Vec::with_capacity(wanted);
        for part in candidates.chunks(ROWS_AT_ONCE) {
            let data = part.iter().flatten().copied().map(single).collect();
            let scores = student.forward(&Tensor { shape: self.shape_of(part.len()), data })?;
            margins.extend(scores.rows().map(margin));
        }
        let mut order: Vec<usize> = (0..wanted).collect();
        order.sort_by(|a, b| margins[*a].total_cmp(&margins[*b]));
        Ok(order.into_iter().take(count).flat_map(|place| candidates[place].iter().copied()).collect())
    }

    fn train(&self) -> Result<Model, AttackError> {
        let (rows, width, classes) = (self.x.len() / self.natural.width, self.natural.width, self.classes);
        let mut model = Model::parse(&surrogate::network(&self.shape, classes, self.seed)?)?;
        let mut adam = Adam::new(RATE);
        let mut random = stream(self.seed, &[DISTIL_STREAM, ORDER]);
        let epochs = (STEPS / rows.div_ceil(BATCH).max(1)).clamp(EPOCHS_MIN, EPOCHS_MAX);
        for epoch in 0..epochs {
            adam.rate = RATE * (1.0 - epoch as f32 / epochs as f32).max(0.05);
            for places in random.permutation(rows).chunks(BATCH) {
                let data =
                    places.iter().flat_map(|place| &self.x[place * width..(place + 1) * width]).copied().collect();
                let x = Tensor { shape: self.shape_of(places.len()), data };
                let target = |row: usize| &self.targets[places[row] * classes..(places[row] + 1) * classes];
                step(&mut model, &mut adam, &x, &target)?;
            }
        }
        Ok(model)
    }

    fn shape_of(&self, rows: usize) -> Vec<usize> {
        std::iter::once(rows).chain(self.shape.iter().copied()).collect()
    }
}

/// One step of training towards given probabilities.
fn step<'t>(
    model: &mut Model,
    adam: &mut Adam,
    x: &Tensor<f32>,
    target: &(dyn Fn(usize) -> &'t [f32] + Sync),
) -> Result<(), AttackError> {
    let rows = x.shape.first().copied().unwrap_or(1).max(1) as f32;
    let seed = |row: usize, scores: &[f32], slope: &mut [f32]| soft_cross_entropy(scores, target(row), slope);
    let mut found = model.pullback(x, Want::Parameters, &seed)?.parameters.unwrap_or_default();
    for value in found.iter_mut().flat_map(|tensor| &mut tensor.data) {
        *value /= rows;
    }
    Ok(adam.step(model, &found)?)
}

/// Cross-entropy of scores against probabilities that add up to 1.
fn soft_cross_entropy(scores: &[f32], target: &[f32], slope: &mut [f32]) -> f32 {
    let largest = scores.iter().copied().fold(f32::MIN, f32::max);
    let sum: f32 = scores.iter().map(|score| (score - largest).exp()).sum();
    let mut loss = 0.0;
    for ((slope, score), share) in slope.iter_mut().zip(scores).zip(target) {
        *slope = (score - largest).exp() / sum - share;
        loss += share * (sum.ln() - (score - largest));
    }
    loss
}

/// Score of the best class less that of the second best.
fn margin(scores: &[f32]) -> f32 {
    let (mut best, mut second) = (f32::NEG_INFINITY, f32::NEG_INFINITY);
    for score in scores {
        if *score > best {
            (best, second) = (*score, best);
        } else if *score > second {
            second = *score;
        }
    }
    best - second
}

#[expect(clippy::cast_possible_truncation, reason = "networks train in f32")]
fn single(value: f64) -> f32 {
    value as f32
}

const BATCH: usize = 32;
const RATE: f32 = 0.004;
/// Steps of a training, about; few answers are not repeated for ever, many are each seen a few times.
const STEPS: usize = 1_000;
const EPOCHS_MIN: usize = 4;
const EPOCHS_MAX: usize = 60;
/// Candidates for each active question, and at most.
const CANDIDATES: usize = 8;
const CANDIDATES_MAX: usize = 16_384;
const ROWS_AT_ONCE: usize = 512;
const DISTIL_STREAM: u64 = 35;
const ACTIVE: u64 = 100;
const ORDER: u64 = 101;
