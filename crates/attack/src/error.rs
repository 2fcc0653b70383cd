//! What can be wrong with an attack's or a training's inputs.

use ringfence_nn::NnError;

use crate::source::Capability;

/// Why an attack, a test or a training could not be carried out.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AttackError {
    /// There is nothing to work on.
    #[error("{what}: no examples")]
    Empty {
        /// Which set of examples.
        what: &'static str,
    },
    /// Rows and labels differ in number.
    #[error("{rows} rows of inputs but {labels} labels")]
    Count {
        /// Rows of `x`.
        rows: usize,
        /// Entries of `y`.
        labels: usize,
    },
    /// The inputs do not have the shape that the model declares.
    #[error("inputs have shape {}, the model `{input}` expects {}", dims(found), pattern(expected))]
    Shape {
        /// Name of the model's input.
        input: String,
        /// The model's dimensions; `None` is any.
        expected: Vec<Option<usize>>,
        /// Dimensions of the examples.
        found: Vec<usize>,
    },
    /// The model's output is not one row of class scores per example.
    #[error("the model's output has shape {}, expected [{rows}, classes]", dims(found))]
    Output {
        /// Examples put in.
        rows: usize,
        /// What came out.
        found: Vec<usize>,
    },
    /// A label names a class that the model does not have.
    #[error("example {example} has label {label}, the model has {classes} classes")]
    Label {
        /// Example, counted from 0.
        example: usize,
        /// Its label.
        label: usize,
        /// Classes of the model.
        classes: usize,
    },
    /// A value that is infinite or not a number.
    #[error("example {example} holds a value that is not finite")]
    NotFinite {
        /// Example, counted from 0.
        example: usize,
    },
    /// A value outside the range in which inputs are declared to lie.
    #[error("example {example} holds {value}, outside the declared range {low}..{high}")]
    OutOfRange {
        /// Example, counted from 0.
        example: usize,
        /// The value.
        value: f32,
        /// Least value allowed.
        low: f32,
        /// Greatest value allowed.
        high: f32,
    },
    /// A number of the plan that makes no sense.
    #[error("`{name}` is {value}, it must be {allowed}")]
    Plan {
        /// Name of the setting.
        name: &'static str,
        /// What was given.
        value: String,
        /// What is possible.
        allowed: String,
    },
    /// Training never reached weights that are better than none.
    #[error("training diverged: no epoch of {epochs} could be kept; lower `rate`")]
    Diverged {
        /// Epochs tried.
        epochs: u64,
    },
    /// A combination in which a privacy guarantee would be untrue.
    #[error("{what} cannot be part of private training: {why}")]
    NotPrivate {
        /// What was asked for.
        what: &'static str,
        /// Why not, and what to do.
        why: &'static str,
    },
    /// An accountant cannot state epsilon.
    #[error("the {accountant} accountant states nothing: {problem}")]
    Unaccountable {
        /// Which one.
        accountant: &'static str,
        /// Why not.
        problem: &'static str,
    },
    /// There is nothing to unlearn.
    #[error(
        "no class of the model has a trigger that is much smaller than those of the others: there is nothing to unlearn"
    )]
    NoTrigger,
    /// The bytes of a training's state cannot be used.
    #[error("the state of a training cannot be used: {problem}")]
    State {
        /// What is wrong with it.
        problem: &'static str,
    },
    /// An attack needs more than the source has.
    #[error("`{attack}` needs {needs}, `{model}` gives no more than {has}")]
    Capability {
        /// The attack.
        attack: String,
        /// What it needs.
        needs: Capability,
        /// What was to be attacked.
        model: String,
        /// The most that it has.
        has: Capability,
    },
    /// An attack does not know the norm.
    #[error("`{attack}` does not work in the norm {norm}; it knows {known}")]
    Norm {
        /// The attack.
        attack: String,
        /// The norm asked for.
        norm: &'static str,
        /// What it knows.
        known: String,
    },
    /// What is attacked could not answer.
    #[error("`{model}` gave no answer: {problem}")]
    Source {
        /// What was asked.
        model: String,
        /// What it said.
        problem: String,
    },
    /// The queries that were granted are used up: nothing can be stated.
    #[error("the budget of {budget} queries is used up before the attack was finished")]
    Budget {
        /// Queries granted.
        budget: u64,
    },
    /// A model, a tokenizer or a list that texts cannot be attacked with.
    #[error("{problem}")]
    Text {
        /// What is wrong.
        problem: String,
    },
    /// A tokenizer that is not read.
    #[error(transparent)]
    Tokenizer(#[from] crate::text::TokenizerError),
    /// The network could not be run.
    #[error(transparent)]
    Network(#[from] NnError),
}

impl AttackError {
    pub(crate) fn plan(name: &'static str, value: impl Into<String>, allowed: impl Into<String>) -> Self {
        Self::Plan { name, value: value.into(), allowed: allowed.into() }
    }
}

fn dims(found: &[usize]) -> String {
    let parts: Vec<String> = found.iter().map(ToString::to_string).collect();
    format!("[{}]", parts.join(", "))
}

fn pattern(expected: &[Option<usize>]) -> String {
    let parts: Vec<String> = expected.iter().map(|dim| dim.map_or_else(|| "any".into(), |n| n.to_string())).collect();
    format!("[{}]", parts.join(", "))
}
