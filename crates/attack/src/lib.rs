//! Attacks on models, hardening, and the robustness card.
//!
//! * [`attack()`] runs the battery over a [`Plan`] and answers with a card ([`ringfence_schema::report::AttackReport`]) that
//!   is `unsound` when any sanity check fails; [`self_check`] checks a model without data.
//! * [`harden()`] trains against an attacker, watched for catastrophic overfitting.
//! * [`loss_threshold`] tests for membership; [`backdoor_success`] for a stamp that switches the answer.
//! * [`gradient()`] is the slope itself, for outside checks.
//!
//! Inputs arrive as [`Examples`], which are checked once. Everything random is seeded and independent of threads and
//! batches. Absent on purpose: files, clocks, black-box attacks, and any judgement of what accuracy is enough (that is a
//! gate's).

#![forbid(unsafe_code)]

mod augment;
mod backdoor;
mod ball;
mod battery;
mod card;
mod checks;
mod error;
mod evasion;
mod examples;
mod gradient;
mod harden;
mod membership;
mod oracle;
mod plan;
mod random;
mod schedule;
mod stats;

pub use backdoor::{BackdoorSuccess, Patch, backdoor_success};
pub use ball::{Norm, Range};
pub use card::{attack, self_check};
pub use error::AttackError;
pub use examples::Examples;
pub use gradient::{InputGradient, accuracy, gradient, predict};
pub use harden::{
    ATTACK_STEPS_MAX, BATCH_MAX, EPOCHS_MAX, HardenPlan, Optimiser, SHIFT_MAX, Start, WATCH_STEPS_MAX, harden,
};
pub use membership::loss_threshold;
pub use plan::{NOISE_TRIES_MAX, Plan, Progress, RADII_MAX, RESTARTS_MAX, STEPS_MAX};
pub use stats::{Roc, wilson95};
