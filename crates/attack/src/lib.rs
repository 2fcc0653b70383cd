//! Attacks on models, hardening, and the robustness card.
//!
//! * [`attack()`] runs a [`Battery`] over a [`Plan`] and answers with a card ([`ringfence_schema::report::AttackReport`]) that
//!   is `unsound` when any sanity check fails, and whose [`ringfence_schema::report::WorstCase`] is the figure that counts;
//!   [`self_check`] checks a model without data.
//!   [`since()`] compares two cards of the same attacks, example by example.
//! * [`Predict`] and [`Gradient`] are what can be attacked: an ONNX [`ringfence_nn::Model`], perhaps [`Accelerated`], a [`Callback`], an [`Endpoint`]; a [`Method`]
//!   names the [`Capability`] that it needs. [`attack_within_budget`] states what was finished when questions are used up.
//! * [`train_private`] trains with differential privacy; [`rdp`] and [`prv`] say what that spends.
//! * [`privacy()`] tests what a model gives away of its training data: LiRA, RMIA, labels alone, attributes, inversion;
//!   [`privacy_of_language`] does so for language models.
//! * [`harden()`] trains against an attacker, watched for catastrophic overfitting; [`Hardening`] is a training that can be interrupted.
//! * [`loss_threshold`] is the quick test for membership; [`backdoors`] searches for stamps that switch the answer, [`backdoor_success`]
//!   measures one that is known; [`suspects`] finds records that were changed against a model.
//! * [`fooling`] hands out the inputs that fool a model; [`gradient()`] is the slope itself, for outside checks.
//! * [`steal`] tells what a thief gets for how many questions.
//! * [`attack_text`] edits letters and words until a classifier of texts reads something else; a [`Tokenizer`] says what a model sees of them.
//! * [`embed()`] marks a model before its release; [`verify()`] looks for the mark in a suspect.
//!
//! Inputs arrive as [`Examples`], which are checked once. Everything random is seeded and independent of threads and
//! batches. Absent on purpose: files, clocks, the network (an [`Endpoint`] is given a function that asks), and any judgement of
//! what accuracy is enough (that is a gate's).

#![forbid(unsafe_code)]

mod accelerated;
mod algebra;
mod augment;
mod backdoor;
mod ball;
mod battery;
mod card;
mod checks;
mod corruption;
mod craft;
mod dp;
mod endpoint;
mod error;
mod evasion;
mod examples;
mod gradient;
mod harden;
mod loss;
mod membership;
mod oracle;
mod ownership;
mod plan;
mod png;
mod privacy;
mod random;
mod scene;
mod schedule;
mod since;
mod source;
mod stats;
mod surrogate;
mod suspect;
mod text;
mod theft;

pub use accelerated::Accelerated;
pub use backdoor::{
    BackdoorPlan, BackdoorSuccess, CLASSES_MAX, Patch, SEARCH_STEPS_MAX, Trigger, TriggerKind, VICTIMS_MIN,
    backdoor_success, backdoors,
};
pub use ball::{Column, Norm, Range};
pub use battery::Method;
pub use card::{attack, attack_within_budget, self_check};
pub use craft::fooling;
pub use dp::{
    Accountant, DpPlan, Guarantee, NOISE_MIN, PrivacyLoss, Renyi, Sampling, Spending, prv, rdp, train_private,
};
pub use endpoint::{Answers, Endpoint, Question, Unanswered};
pub use error::AttackError;
pub use examples::Examples;
pub use gradient::{InputGradient, accuracy, gradient, predict};
pub use harden::{
    ATTACK_STEPS_MAX, BATCH_MAX, EPOCHS_MAX, HardenPlan, Hardening, Mode, Optimiser, REPLAYS_MAX, SHIFT_MAX, Start,
    WATCH_STEPS_MAX, Watch, harden,
};
pub use membership::loss_threshold;
pub use ownership::{
    BITS_ELEMENTS_MAX, BITS_MAX, MARK_EPOCHS_MAX, MarkPlan, THRESHOLD, TRIGGERS_MAX, TRIGGERS_MIN, WALK_STEPS_MAX,
    WALKS, binomial_tail, commitment, dataset_inference, embed, new_secret, verify, verify_data,
};
pub use plan::{Battery, NOISE_TRIES_MAX, Plan, Progress, RADII_MAX, RESTARTS_MAX, STEPS_MAX};
pub use privacy::{
    ATTRIBUTE_VALUES_MAX, ATTRIBUTES_MAX, CANDIDATES_MAX, Canary, INVERSION_STEPS_MAX, LanguagePlan, PREFIX_DEFAULT,
    Picture, PrivacyPlan, REFERENCES_MAX, Reference, ReferencePlan, ReferenceSignals, SEQUENCES_MAX, Side, Signals,
    Spread, TOKENS_MAX, canary_exposure, extract, lira, membership, privacy, privacy_of_language, rmia,
};
pub use since::{DROP_THRESHOLD, TOOL, asked_the_same, since};
pub use source::{Callback, Capability, Gradient, Predict, Scores, Slopes, VectorJacobian};
pub use stats::{Roc, paired95, wilson95};
pub use suspect::{Labels, RECORDS_MIN, Statistic, SuspectPlan, statistics, suspects};
pub use text::{
    EXAMPLES_MAX, EditLimit, Encoding, Kind, LENGTH_DEFAULT, LENGTH_MAX, ReadText, Synonyms, TEXT_BYTES_MAX,
    TEXT_QUERIES_MAX, TEXT_QUERIES_MIN, TEXTS_MAX, TOKENIZER_BYTES_MAX, TextCallback, TextExamples, TextMethod,
    TextModel, TextPlan, Tokenizer, TokenizerError, attack_text,
};
pub use theft::{
    BUDGET_MAX, BUDGET_MIN, DECIMALS_MAX, Extraction, LEVELS_MAX, Linear, OutputLevel, QUADRIC_RANK_MAX, Single,
    TheftPlan, TwoLayer, Width, extract_network, hidden_width, solve_equations, steal,
};
