//! What people tell a run through the vault: decided, recorded, then said to its socket.
//!
//! Absent on purpose: starting one. Nothing of ours reaches the socket's orders without this; another program under the
//! vault's own account does.

use ringfence_access::{Action, Facts, Resource};
use ringfence_schema::finding::printable;
use serde_json::json;

use super::live::{Order, order};
use crate::{
    act::{Act, Effect, Reach},
    error::EngineError,
    team::request::reason,
    vault::Vault,
};

/// Longest name of a run that is recorded, in characters.
const RUN_CHARS_MAX: usize = 80;

impl Vault<'_> {
    /// Tells the live run `run` to do something, with a reason that stays in the trail.
    ///
    /// # Errors
    /// [`EngineError::Refused`] for whoever may not stop runs; [`EngineError::Usage`] without a reason;
    /// [`EngineError::NotFound`] where no such run goes on.
    pub fn order_run(&self, run: &str, what: Order, why: &str) -> Result<(), EngineError> {
        let subject = format!("run {}", printable(run, RUN_CHARS_MAX));
        self.may(Action::Stop, None, &subject)?;
        let why = reason(why)?;
        let act = Act {
            action: Action::Stop,
            resources: vec![Resource::Vault],
            facts: Facts::default(),
            request: json!({"what": what.name(), "run": printable(run, RUN_CHARS_MAX), "reason": why}),
            subject,
            reach: Reach::Outside,
        };
        self.act(act, || order(&self.settings.vault, run, what).map(Effect::of)).map(|((), _)| ())
    }
}
