//! Theft: what a model gives away to somebody who may only ask it.
//!
//! [`steal`] measures, for each [`OutputLevel`] that a service might choose, how faithful a copy a thief gets for how many
//! questions: by solving equations (a logistic regression falls to d + 1 answers) and by distillation with random, natural
//! and active questions. From full answers it also tries to compute the network itself ([`Extraction`]) and the width of
//! the layer before the last ([`Width`]). [`solve_equations`], [`extract_network`] and [`hidden_width`] are the single parts.
//!
//! Fidelity counts on natural inputs that no thief saw: on a thief's own questions it says nothing (a solver that was right
//! on all of its own was right on half of the natural ones, see docs/attack.md). Needs [`Predict`] only.

use ringfence_nn::Tensor;
use ringfence_schema::theft::{
    ExtractedNetwork, HiddenSize, LevelTheft, ResidualFidelity, TheftPrice, TheftReport, TheftRun, TheftSchema,
};

use crate::{
    error::AttackError,
    examples::Examples,
    plan::bounded,
    source::{Capability, Predict},
    stats::wilson95,
};

mod distil;
mod equation;
mod hidden;
mod kinks;
mod natural;
mod relu;
mod unit;
mod victim;

pub use equation::Linear;
pub use hidden::{QUADRIC_RANK_MAX, Width};
pub use relu::{Extraction, TwoLayer};
pub use victim::{DECIMALS_MAX, OutputLevel, Single};

use distil::{Distiller, Questions};
use natural::Natural;
use victim::{Victim, best, log_softmax};

/// Settings of [`steal`].
#[derive(Debug, Clone, PartialEq)]
pub struct TheftPlan {
    /// Output levels, at least one.
    pub levels: Vec<OutputLevel>,
    /// Most questions of one theft, at least [`BUDGET_MIN`]; 16 times (d + 1) unless given, where d is the number of values of an
    /// input: what a logistic regression costs counts as once.
    pub budget: Option<usize>,
    /// Fidelities of which the price is told, each above 0 and at most 1.
    pub fidelities: Vec<f64>,
    /// What the output of a model with one output is; guessed from its answers unless given.
    pub single: Option<Single>,
    /// Seed of all random choices.
    pub seed: u64,
}

impl Default for TheftPlan {
    fn default() -> Self {
        Self {
            levels: vec![
                OutputLevel::Full,
                OutputLevel::Rounded(5),
                OutputLevel::Rounded(2),
                OutputLevel::Top(2),
                OutputLevel::Label,
            ],
            budget: None,
            fidelities: vec![0.9, 0.95, 0.99],
            single: None,
            seed: 0,
        }
    }
}

impl TheftPlan {
    fn check(&self) -> Result<(), AttackError> {
        bounded("levels", self.levels.len() as u64, 1, LEVELS_MAX as u64)?;
        if let Some(budget) = self.budget {
            bounded("budget", budget as u64, BUDGET_MIN as u64, BUDGET_MAX as u64)?;
        }
        for fidelity in &self.fidelities {
            if !(*fidelity > 0.0 && *fidelity <= 1.0) {
                return Err(AttackError::plan("fidelity", fidelity.to_string(), "above 0, at most 1"));
            }
        }
        Ok(())
    }
}

/// Steals `model` in every way that the plan's levels leave open, and tells what came of it.
///
/// A thief asks about `queries` and what it makes of them; fidelity is measured on `held_out`. The labels of both are not
/// looked at. `progress` is called with the number of levels done and their total. Refuses inputs that do not suit the
/// model, plans outside their limits, and answers that are not numbers.
pub fn steal(
    model: &dyn Predict,
    queries: &Examples,
    held_out: &Examples,
    plan: &TheftPlan,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<TheftReport, AttackError> {
    plan.check()?;
    if model.capability() == Capability::Labels && plan.levels.iter().any(|level| *level != OutputLevel::Label) {
        return Err(AttackError::Capability {
            attack: "a theft by more than labels".into(),
            needs: Capability::Predict,
            model: model.name().to_owned(),
            has: Capability::Labels,
        });
    }
    let shape = queries.shape_of(1).split_off(1);
    if held_out.shape_of(1).split_off(1) != shape {
        return Err(AttackError::Shape {
            input: model.name().to_owned(),
            expected: queries.shape_of(1).into_iter().map(Some).collect(),
            found: held_out.inputs().shape.clone(),
        });
    }
    let mut victim = Victim::new(model, &shape, u64::MAX)?;
    let natural = Natural::of(queries);
    let judge = Judge::new(&mut victim, held_out, plan.single)?;
    let budget = plan.budget.unwrap_or(TIMES_MAX * (natural.width + 1)).min(BUDGET_MAX);
    let unit = budget / TIMES_MAX;
    let mut levels = Vec::with_capacity(plan.levels.len());
    for (done, level) in plan.levels.iter().enumerate() {
        progress(done, plan.levels.len() + 1);
        let work = Work { natural: &natural, judge: &judge, level: *level, unit, shape: &shape, seed: plan.seed };
        let runs = work.runs(&mut victim)?;
        levels.push(LevelTheft {
            level: level.to_string(),
            residual: residual(&runs, unit),
            price: plan.fidelities.iter().map(|fidelity| price(&runs, *fidelity, budget)).collect(),
            runs,
        });
    }
    progress(plan.levels.len(), plan.levels.len() + 1);
    let full = plan.levels.contains(&OutputLevel::Full);
    let (extraction, hidden_size) = if full {
        structure(&mut victim, &natural, &judge, budget, plan.seed)?
    } else {
        (untold_network(), untold_width())
    };
    Ok(TheftReport {
        schema: TheftSchema::One,
        model: model.digest()?,
        inputs: natural.width as u64,
        classes: judge.classes as u64,
        held_out: held_out.count() as u64,
        natural: natural.count() as u64,
        unit: unit as u64,
        seed: plan.seed,
        levels,
        extraction,
        hidden_size,
        asked: victim.asked(),
        note: NOTE.into(),
        ledger: None,
    })
}

/// Solves for the weights of a logistic regression (see [`Linear`]) with exactly `queries` questions: d + 1 where all
/// answers come in full. Two classes where the model has one output. `None` where too few answers can be used, or `level`
/// does not tell all classes; what comes back of a model that is no logistic regression is meaningless.
pub fn solve_equations(
    model: &dyn Predict,
    natural: &Examples,
    level: OutputLevel,
    single: Single,
    queries: usize,
    seed: u64,
) -> Result<Option<Linear>, AttackError> {
    let mut victim = Victim::new(model, &natural.shape_of(1).split_off(1), queries as u64)?;
    victim.reads(single);
    equation::solve(&mut victim, &Natural::of(natural), level, queries, seed)
}

/// Computes the weights of a network with one hidden layer of ReLUs from its answers, with at most `budget` questions, and
/// tells how many it asked. A single output counts as a probability where all answers to natural inputs lie in 0..=1.
pub fn extract_network(
    model: &dyn Predict,
    natural: &Examples,
    budget: u64,
    seed: u64,
) -> Result<(Extraction, u64), AttackError> {
    let mut victim = Victim::new(model, &natural.shape_of(1).split_off(1), budget)?;
    let natural = Natural::of(natural);
    victim.guess(natural.rows.get(..GUESSED * natural.width).unwrap_or(&natural.rows))?;
    let found = relu::extract(&mut victim, &natural, seed)?;
    Ok((found, victim.asked()))
}

/// Finds the width of the layer before the last from the rank of at most `queries` answers.
pub fn hidden_width(model: &dyn Predict, natural: &Examples, queries: usize, seed: u64) -> Result<Width, AttackError> {
    let mut victim = Victim::new(model, &natural.shape_of(1).split_off(1), u64::MAX)?;
    hidden::width(&mut victim, &Natural::of(natural), queries, seed)
}

/// The victim's answers to held-out natural inputs, against which copies are measured.
struct Judge {
    x: Tensor<f32>,
    wide: Vec<f64>,
    logs: Vec<Vec<f64>>,
    classes: usize,
}

impl Judge {
    fn new(victim: &mut Victim<'_>, held_out: &Examples, single: Option<Single>) -> Result<Self, AttackError> {
        let x = held_out.inputs().clone();
        let wide: Vec<f64> = x.data.iter().copied().map(f64::from).collect();
        match single {
            Some(single) => victim.reads(single),
            None => victim.guess(wide.get(..GUESSED * held_out.width()).unwrap_or(&wide))?,
        }
        let logs = victim.logarithms_of(&wide)?;
        let classes = logs.first().map_or(0, Vec::len);
        Ok(Self { x, wide, logs, classes })
    }

    /// What a copy that answers these log-probabilities is worth.
    fn run(&self, method: &str, queries: usize, logs: &[Vec<f64>]) -> TheftRun {
        let pairs = || self.logs.iter().zip(logs);
        let same = pairs().filter(|(a, b)| best(a) == best(b)).count();
        let distance =
            |(a, b): (&Vec<f64>, &Vec<f64>)| a.iter().zip(b).map(|(a, b)| (a.exp() - b.exp()).abs()).sum::<f64>() / 2.0;
        TheftRun {
            method: method.to_owned(),
            queries: queries as u64,
            fidelity: same as f64 / self.logs.len() as f64,
            ci95: wilson95(same, self.logs.len()),
            distance: pairs().map(distance).sum::<f64>() / self.logs.len() as f64,
        }
    }

    fn rows(&self) -> impl Iterator<Item = &[f64]> {
        self.wide.chunks_exact(self.wide.len() / self.logs.len())
    }
}

/// The thefts through one level.
struct Work<'w> {
    natural: &'w Natural,
    judge: &'w Judge,
    level: OutputLevel,
    unit: usize,
    shape: &'w [usize],
    seed: u64,
}

impl Work<'_> {
    fn runs(&self, victim: &mut Victim<'_>) -> Result<Vec<TheftRun>, AttackError> {
        let mut runs = Vec::new();
        let all = TIMES.map(|times| times * self.unit);
        // Equations are worth solving at the least number that has a solution, too.
        let mut sizes = vec![self.natural.width + 1];
        sizes.extend(all.iter().filter(|size| **size > self.natural.width + 1));
        for queries in sizes.into_iter().filter(|size| *size <= TIMES_MAX * self.unit) {
            if let Some(linear) = equation::solve(victim, self.natural, self.level, queries, self.seed)? {
                let logs: Vec<Vec<f64>> = self.judge.rows().map(|row| linear.logarithms(row)).collect();
                runs.push(self.judge.run("equation-solving", queries, &logs));
            }
        }
        for questions in Questions::ALL {
            let mut thief = Distiller::new(self.natural, self.shape, questions, self.level, self.seed);
            for queries in all {
                let Some(student) = thief.grow(victim, queries)? else { break };
                let scores = student.forward(&self.judge.x)?;
                let logs: Vec<Vec<f64>> = scores
                    .rows()
                    .map(|row| log_softmax(&row.iter().copied().map(f64::from).collect::<Vec<_>>()))
                    .collect();
                runs.push(self.judge.run(questions.name(), queries, &logs));
            }
        }
        Ok(runs)
    }
}

fn better<'r>(a: &'r TheftRun, b: &'r TheftRun) -> &'r TheftRun {
    if (b.fidelity, -b.distance) > (a.fidelity, -a.distance) { b } else { a }
}

fn residual(runs: &[TheftRun], unit: usize) -> Vec<ResidualFidelity> {
    let at = |times: usize| {
        let queries = (times * unit) as u64;
        let best = runs.iter().filter(|run| run.queries <= queries).reduce(better).cloned();
        ResidualFidelity { times: times as u64, queries, best }
    };
    RESIDUAL_TIMES.map(at).to_vec()
}

fn price(runs: &[TheftRun], fidelity: f64, budget: usize) -> TheftPrice {
    let enough = runs.iter().filter(|run| run.fidelity >= fidelity);
    match enough.min_by_key(|run| run.queries) {
        Some(run) => TheftPrice { fidelity, queries: Some(run.queries), method: Some(run.method.clone()), note: None },
        None => TheftPrice {
            fidelity,
            queries: None,
            method: None,
            note: Some(format!("no theft tried reached it with at most {budget} questions; others may")),
        },
    }
}

/// What full answers give away of the network itself.
fn structure(
    victim: &mut Victim<'_>,
    natural: &Natural,
    judge: &Judge,
    budget: usize,
    seed: u64,
) -> Result<(ExtractedNetwork, HiddenSize), AttackError> {
    let before = victim.asked();
    let found = if natural.width > EXTRACTION_WIDTH_MAX {
        Extraction::Not("its inputs are too wide to try")
    } else {
        relu::extract(victim, natural, seed)?
    };
    let mut extraction = ExtractedNetwork { queries: victim.asked() - before, ..ExtractedNetwork::default() };
    match found {
        Extraction::Not(why) => extraction.note = Some(why.into()),
        Extraction::Found(network, difference) => {
            let logs: Vec<Vec<f64>> = judge.rows().map(|row| scores_as_logarithms(&network.answer(row))).collect();
            extraction.hidden_units = Some(network.hidden.len() as u64);
            extraction.difference = Some(difference);
            extraction.fidelity = Some(judge.run("", 0, &logs).fidelity);
        }
    }
    let width = hidden::width(victim, natural, budget, seed)?;
    let hidden_size =
        HiddenSize { width: width.hidden.map(|width| width as u64), queries: width.queries, note: width.note };
    Ok((extraction, hidden_size))
}

/// Scores of a copy as log-probabilities: of two classes where there is one.
fn scores_as_logarithms(scores: &[f64]) -> Vec<f64> {
    match scores {
        [score] => log_softmax(&[0.0, *score]),
        _ => log_softmax(scores),
    }
}

fn untold_network() -> ExtractedNetwork {
    ExtractedNetwork { note: Some("needs the level `full`".into()), ..ExtractedNetwork::default() }
}

fn untold_width() -> HiddenSize {
    HiddenSize { note: Some("needs the level `full`".into()), ..HiddenSize::default() }
}

/// Questions of each theft, in units.
const TIMES: [usize; 5] = [1, 2, 4, 8, 16];
const TIMES_MAX: usize = 16;
const RESIDUAL_TIMES: [usize; 3] = [1, 4, 16];
/// Fewest questions of the largest theft: one a unit teaches nobody anything.
pub const BUDGET_MIN: usize = 160;
/// Most questions of one theft.
pub const BUDGET_MAX: usize = 1 << 20;
/// Output levels of one report.
pub const LEVELS_MAX: usize = 16;
/// Natural inputs that show whether a single output is a probability.
const GUESSED: usize = 64;
/// Widest input for which a network is extracted: each hidden unit takes one question for each value.
const EXTRACTION_WIDTH_MAX: usize = 4_096;
const NOTE: &str = "a price is an upper bound: the fewest questions among the thefts tried, on a grid of factors of two, with \
                    a small network as the copy; a thief who knows more, or tries longer, pays less";
