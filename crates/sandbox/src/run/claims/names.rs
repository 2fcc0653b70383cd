//! What trainers call their measurements: one table for lines, event files, trainer states and the socket.
//!
//! A name is cut into words (`train/loss`, `trainLoss`, `train-loss` and `train loss` are the same two), and it has a
//! [`Meaning`] only if every word of it is known: `loss` and `avg_train_loss` are the training loss, `loss_scale` and
//! `best_loss` are not. The table is data; a new trainer's name is a word in it.
#![deny(clippy::indexing_slicing)]

/// What a name stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meaning {
    /// Optimiser steps so far.
    Step,
    /// Batches so far in this pass over the data.
    Batch,
    /// Passes over the data.
    Epoch,
    /// Training loss; of two in one place, the lower rank counts.
    Loss(Rank),
    /// Loss on held-out data.
    EvaluationLoss(Rank),
    /// Learning rate.
    LearningRate,
    /// Norm of the gradient.
    GradientNorm(Rank),
}

/// How plainly a name says what it stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rank {
    /// `loss`.
    Plain,
    /// `train-rmse`: a measure that boosters minimise.
    Metric,
}

/// What `name` stands for, if that is known.
pub(super) fn meaning(name: &str) -> Option<Meaning> {
    of_words(&words(name)?)
}

/// What these words, all lower case, stand for together.
pub(super) fn of_words(words: &[String]) -> Option<Meaning> {
    QUANTITIES.iter().find_map(|quantity| quantity.read(words))
}

/// Whether these words say that what follows is about held-out data (`true`) or training (`false`), and nothing else.
pub(super) fn section(words: &[String]) -> Option<bool> {
    let known = |word: &String| is_in(EVALUATION, word) || is_in(TRAINING, word) || is_in(SECTION, word);
    if words.is_empty() || !words.iter().all(known) {
        return None;
    }
    of_data(words)
}

/// Whether these words name held-out data (`true`) or training data (`false`) among others.
pub(super) fn of_data(words: &[String]) -> Option<bool> {
    let evaluation = words.iter().any(|word| is_in(EVALUATION, word));
    (evaluation || words.iter().any(|word| is_in(TRAINING, word))).then_some(evaluation)
}

/// Whether a progress bar with this label counts training: it has no label, or one of known words.
pub(super) fn labels_training(words: &[String]) -> bool {
    words.iter().all(|word| is_in(TRAINING, word) || is_in(BAR, word))
}

/// Whether `word` may be part of a name in the table: a quick look, so that most words are not cut.
pub(super) fn hints(word: &str) -> bool {
    HINTS.iter().any(|hint| word.as_bytes().windows(hint.len()).any(|window| window.eq_ignore_ascii_case(hint)))
}

/// Whether a heading may begin with `word`.
pub(super) fn hints_section(word: &str) -> bool {
    word.as_bytes().first().is_some_and(|first| b"tvedhfl".contains(&first.to_ascii_lowercase()))
}

/// Whether `word` before a name makes it another thing: `best loss`, `max steps`.
pub(super) fn changes_meaning(word: &str) -> bool {
    is_in(OTHERWISE, word)
}

/// The words of `name`, lower case: cut at everything that is neither letter nor digit and where lower case turns to upper.
/// Numbers (`group 0`, `valid_0`) are left out. `None` if there are too many.
pub(super) fn words(name: &str) -> Option<Vec<String>> {
    let mut words: Vec<String> = Vec::new();
    let mut word = String::new();
    let mut lower = false;
    let mut take = |word: &mut String| {
        // `valid_0's`, `group0`: neither number nor letter says anything; `l2` is a word.
        let kept = match word.trim_end_matches(|character: char| character.is_ascii_digit()) {
            _ if is_in(NUMBERED, word) => word.as_str(),
            "" | "s" => "",
            kept => kept,
        };
        if !kept.is_empty() {
            words.push(kept.to_owned());
        }
        word.clear();
        words.len() <= WORDS_MAX
    };
    for character in name.chars().take(NAME_CHARS_MAX) {
        let turns = lower && character.is_ascii_uppercase();
        if (turns || !character.is_ascii_alphanumeric()) && !take(&mut word) {
            return None;
        }
        if character.is_ascii_alphanumeric() {
            word.push(character.to_ascii_lowercase());
        }
        lower = character.is_ascii_lowercase();
    }
    (take(&mut word) && !words.is_empty()).then_some(words)
}

fn is_in(list: &[&str], word: &str) -> bool {
    list.contains(&word)
}

/// One row of the table: `core` words in order, with any of the `beside` words around them.
struct Quantity {
    meaning: Meaning,
    cores: &'static [&'static [&'static str]],
    beside: &'static [&'static str],
    qualified: Qualified,
}

/// Whether a row needs a word that says of what data it is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Qualified {
    Must,
    May,
}

impl Quantity {
    fn read(&self, words: &[String]) -> Option<Meaning> {
        if words.len() > WORDS_MAX {
            return None;
        }
        let core = self.cores.iter().find(|core| {
            words.windows(core.len()).any(|window| window.iter().zip(core.iter()).all(|(word, core)| word == core))
        })?;
        let mut evaluation = false;
        let mut training = false;
        for word in words {
            if is_in(EVALUATION, word) {
                evaluation = true;
            } else if is_in(TRAINING, word) {
                training = true;
            } else if !is_in(core, word) && !is_in(self.beside, word) {
                return None;
            }
        }
        if self.qualified == Qualified::Must && !evaluation && !training {
            return None;
        }
        match self.meaning {
            Meaning::Loss(rank) if evaluation => Some(Meaning::EvaluationLoss(rank)),
            // Nobody steers by the learning rate or the gradient of an evaluation.
            Meaning::LearningRate | Meaning::GradientNorm(_) if evaluation => None,
            meaning => Some(meaning),
        }
    }
}

/// The table, first match first.
const QUANTITIES: &[Quantity] = &[
    Quantity {
        meaning: Meaning::LearningRate,
        cores: &[&["lr"], &["learning", "rate"], &["learningrate"]],
        beside: &[
            "current",
            "optimizer",
            "optim",
            "group",
            "pg",
            "param",
            "params",
            "epoch",
            "step",
            "global",
            "rate",
            "abs",
            // Names of optimisers, which some trainers put beside it.
            "adam",
            "w",
            "adamw",
            "sgd",
            "lion",
            "adafactor",
            "rmsprop",
            "adagrad",
            "lamb",
            "muon",
            "decoupled",
            "fused",
            "paged",
            "bit",
            "torch",
            "kfac",
            "shampoo",
            "sophia",
            "radam",
            "nadam",
        ],
        qualified: Qualified::May,
    },
    Quantity {
        meaning: Meaning::GradientNorm(Rank::Plain),
        cores: &[
            &["grad", "norm"],
            &["gradient", "norm"],
            &["gradients", "norm"],
            &["grads", "norm"],
            &["norm", "grad"],
            &["norm", "gradient"],
            &["grad", "l2", "norm"],
            &["gnorm"],
            &["gradnorm"],
        ],
        beside: &[
            "global",
            "total",
            "avg",
            "average",
            "mean",
            "l2",
            "model",
            "step",
            "epoch",
            "the",
            "of",
            "optimizer",
        ],
        qualified: Qualified::May,
    },
    Quantity {
        meaning: Meaning::Loss(Rank::Plain),
        cores: &[&["loss"], &["losses"], &["learn"]],
        beside: &[
            "loss",
            "losses",
            "avg",
            "average",
            "averaged",
            "mean",
            "total",
            "batch",
            "minibatch",
            "mini",
            "running",
            "current",
            "step",
            "epoch",
            "iter",
            "iteration",
            "iterations",
            "vs",
            "lm",
            "mlm",
            "clm",
            "ce",
            "cross",
            "entropy",
            "nll",
            "xent",
            "smoothed",
            "ema",
            "global",
            "info",
            "debug",
            "the",
            "final",
            "set",
            "objective",
            "model",
            "metrics",
            "log",
            "logs",
            "metric",
        ],
        qualified: Qualified::May,
    },
    Quantity {
        meaning: Meaning::Loss(Rank::Metric),
        cores: &[
            &["rmse"],
            &["rmsle"],
            &["mae"],
            &["mse"],
            &["mape"],
            &["l1"],
            &["l2"],
            &["logloss"],
            &["mlogloss"],
            &["error"],
            &["merror"],
            &["crossentropy"],
            &["cross", "entropy"],
            &["huber"],
            &["quantile"],
            &["poisson"],
            &["deviance"],
        ],
        beside: &["binary", "multi", "language", "mean", "dataset", "metrics", "metric"],
        qualified: Qualified::Must,
    },
    Quantity {
        meaning: Meaning::Step,
        cores: &[
            &["num", "updates"],
            &["step"],
            &["steps"],
            &["iter"],
            &["iters"],
            &["iteration"],
            &["iterations"],
            &["update"],
            &["updates"],
            &["steplog"],
        ],
        beside: &[
            "global",
            "optimizer",
            "optim",
            "optimisation",
            "current",
            "completed",
            "training",
            "at",
            "step",
            "n",
        ],
        qualified: Qualified::May,
    },
    Quantity {
        meaning: Meaning::Epoch,
        cores: &[&["epoch"], &["ep"]],
        beside: &["current", "at", "epoch"],
        qualified: Qualified::May,
    },
    Quantity {
        meaning: Meaning::Batch,
        cores: &[&["batch"], &["minibatch"]],
        beside: &["current", "idx", "index"],
        qualified: Qualified::May,
    },
    Quantity {
        meaning: Meaning::GradientNorm(Rank::Metric),
        cores: &[&["norm"]],
        beside: &["global"],
        qualified: Qualified::May,
    },
];

/// Words for data that is not trained on.
const EVALUATION: &[&str] = &[
    "eval",
    "evaluation",
    "evaluating",
    "val",
    "valid",
    "validation",
    "validating",
    "validate",
    "test",
    "testing",
    "dev",
    "heldout",
    "holdout",
    "va",
];
/// Words for data that is.
const TRAINING: &[&str] = &["train", "training", "trainer", "finetune", "finetuning", "learn", "tr", "trn"];
/// Words beside those in headings.
const SECTION: &[&str] = &["set", "results", "result", "metrics", "phase", "step", "split", "stats"];
/// Further words in the labels of bars that count training.
const BAR: &[&str] = &[
    "epoch",
    "epochs",
    "step",
    "steps",
    "iteration",
    "iterations",
    "iter",
    "batch",
    "batches",
    "rank",
    "fit",
    "fitting",
    "progress",
    "total",
    "loss",
    "updates",
    "fine",
    "tuning",
];
/// Words before a name that make it another thing.
const OTHERWISE: &[&str] = &[
    "best",
    "min",
    "max",
    "minimum",
    "maximum",
    "lowest",
    "highest",
    "no",
    "of",
    "per",
    "nan",
    "skipped",
    "number",
    "num",
    "time",
    "elapsed",
    "every",
    "remaining",
    "warmup",
    "target",
    "previous",
    "prev",
    "packet",
    "data",
    "stop",
    "early",
    "initial",
    "final",
    "accumulation",
    "save",
    "logging",
    "log",
    "weight",
    "weights",
    "expected",
    "ideal",
    "policy",
    "value",
    "aux",
    "auxiliary",
    "kl",
    "regularization",
    "discriminator",
    "adversarial",
];
/// Words that end in a digit.
const NUMBERED: &[&str] = &["l1", "l2"];
/// Every core of the table contains one of these.
const HINTS: &[&[u8]] = &[
    b"loss",
    b"lr",
    b"rate",
    b"norm",
    b"step",
    b"iter",
    b"ep",
    b"batch",
    b"learn",
    b"update",
    b"rms",
    b"mae",
    b"mse",
    b"mape",
    b"l1",
    b"l2",
    b"error",
    b"entropy",
    b"huber",
    b"quantile",
    b"poisson",
    b"deviance",
];
/// Most words in a name.
const WORDS_MAX: usize = 8;
/// Longest name in characters; the rest is not looked at.
const NAME_CHARS_MAX: usize = 120;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_many_trainers_mean_the_same() {
        for name in ["loss", "train/loss", "Loss/train", "train_loss_step", "trainLoss", "loss/train/total", "lm loss"]
        {
            assert_eq!(meaning(name), Some(Meaning::Loss(Rank::Plain)), "{name}");
        }
        for name in ["eval_loss", "eval/loss", "Loss/val", "valid_loss", "evaluation_loss_vs_iterations", "test loss"] {
            assert_eq!(meaning(name), Some(Meaning::EvaluationLoss(Rank::Plain)), "{name}");
        }
        for name in ["lr", "learning_rate", "train/learning_rate", "lr-AdamW/pg1", "lr-DecoupledAdamW/group0"] {
            assert_eq!(meaning(name), Some(Meaning::LearningRate), "{name}");
        }
        for name in ["grad_norm", "train/grad_norm", "gnorm", "l2_norm/grad/global", "global_grad_norm"] {
            assert_eq!(meaning(name), Some(Meaning::GradientNorm(Rank::Plain)), "{name}");
        }
        for name in ["step", "global_step", "train/global_step", "iteration", "valid_num_updates"] {
            assert_eq!(meaning(name), Some(Meaning::Step), "{name}");
        }
        assert_eq!(meaning("valid_0's l2"), Some(Meaning::EvaluationLoss(Rank::Metric)));
        assert_eq!(meaning("train-rmse"), Some(Meaning::Loss(Rank::Metric)));
    }

    #[test]
    fn every_core_is_hinted_at() {
        for core in QUANTITIES.iter().flat_map(|quantity| quantity.cores) {
            assert!(core.iter().any(|word| hints(word)), "{core:?}");
        }
        for word in EVALUATION.iter().chain(TRAINING) {
            assert!(hints_section(word), "{word}");
        }
    }

    #[test]
    fn other_things_have_no_meaning_here() {
        for name in [
            "loss_scale",
            "best_loss",
            "valid_best_loss",
            "d_loss",
            "policy_loss",
            "total_steps",
            "max_steps",
            "lr_decay",
            "warmup_steps",
            "steps_per_second",
            "accuracy",
            "rmse",
            "error",
            "stepwise",
            "lossless",
            "max_grad_norm",
            "",
            "a b c d e f g h i j k loss",
        ] {
            assert_eq!(meaning(name), None, "{name}");
        }
    }
}
