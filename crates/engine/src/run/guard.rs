//! What the watch makes of a run, and what follows at once: a line for people, an entry in the trail, freeze or stop.
//!
//! The models see every event before it is forgotten. An alert that is passed on is filed in the trail, where it is on its
//! way to the sinks, before the action that it asks for is told to the supervisor; where it cannot be filed the action is
//! taken all the same, and the run's own telemetry keeps it.

use std::{fs, path::Path};

use ringfence_sandbox::Stop;
use ringfence_schema::{
    alert::{Alert, TelemetryLine},
    event::{Claimed, Observed, Progress as Told, RunEvent, Source},
};
use ringfence_watch::{
    Signal, SignalState,
    route::{Acknowledgement, Routed, Router, State},
    rules::{Action, Rules},
    run::{Expectations, RunWatch},
};

use super::live::Live;
use crate::{
    alerts::{AlertFilter, AlertState},
    error::EngineError,
    vault::Vault,
};

/// Name of the user's file of rules, in the configuration folder.
pub const RULES_FILE: &str = "rules.toml";

/// Watches one run.
pub(super) struct Guard<'a> {
    vault: &'a Vault<'a>,
    live: &'a Live,
    stop: Stop,
    watch: RunWatch,
    router: Router,
    claimed: Option<Told>,
    alerts: u64,
    ended_by: Option<String>,
}

impl<'a> Guard<'a> {
    /// A guard of the run `run`, of which `expected` is known.
    ///
    /// # Errors
    /// [`EngineError::Plan`] where the user's rules cannot be read: a run is not watched by half of the rules.
    pub(super) fn new(
        vault: &'a Vault<'a>,
        live: &'a Live,
        stop: Stop,
        run: &str,
        expected: Expectations,
    ) -> Result<Self, EngineError> {
        let mut router = Router::new(rules(&vault.settings.config)?);
        acknowledged(vault)?.into_iter().for_each(|known| {
            router.acknowledge(known);
        });
        let watch = RunWatch::new(run, (vault.settings.now)(), expected);
        Ok(Self { vault, live, stop, watch, router, claimed: None, alerts: 0, ended_by: None })
    }

    /// Takes an event that was just recorded.
    pub(super) fn take(&mut self, event: &RunEvent) {
        let alerts = self.watch.push(event);
        self.pass_on(alerts);
        match &event.source {
            Source::Claimed(Claimed::Progress(progress)) => self.claimed = Some(progress.clone()),
            Source::Observed(Observed::Sample(usage)) => {
                self.vault.run_figures(&self.watch.subject().name, usage, self.claimed.as_ref());
                let signals = self.watch.signals();
                let crossed = self.router.measure(self.watch.subject(), (self.vault.settings.now)(), &signals);
                for routed in crossed {
                    self.follow(routed);
                }
                let lines: Vec<String> = signals.iter().map(line).collect();
                self.vault.settings.progress.show(&lines);
            }
            _ => {}
        }
    }

    /// The run is over.
    pub(super) fn end(&mut self) {
        let alerts = self.watch.end();
        self.pass_on(alerts);
        self.vault.run_ended(&self.watch.subject().name);
    }

    /// How many alerts were passed on.
    pub(super) const fn alerts(&self) -> u64 {
        self.alerts
    }

    /// The alert that ended the run, if one did.
    pub(super) fn ended_by(&self) -> Option<&str> {
        self.ended_by.as_deref()
    }

    fn pass_on(&mut self, alerts: Vec<Alert>) {
        for alert in alerts {
            let routed = self.router.push(alert);
            for routed in routed {
                self.follow(routed);
            }
        }
    }

    fn follow(&mut self, routed: Routed) {
        let Routed { alert, actions, state, .. } = routed;
        self.live.add(&TelemetryLine::Alert { alert: Box::new(alert.clone()) });
        if !matches!(state, State::New | State::Escalated) {
            return;
        }
        self.alerts += 1;
        let progress = self.vault.settings.progress;
        progress.note(&format!("alert      {} {}: {}", alert.rule, alert.severity, alert.message));
        // Whoever started the run is behind it.
        if let Err(error) = self.vault.respond(&alert, &actions, Some(&self.vault.caller().person.id)) {
            progress.note(&format!("alert      could not be filed: {error}"));
        }
        match actions.iter().filter(|action| **action != Action::Revoke).max() {
            Some(Action::Stop) => {
                self.ended_by.get_or_insert_with(|| format!("{} ({})", alert.rule, alert.kind));
                self.stop.stop();
            }
            Some(Action::Freeze) => {
                progress.note(&format!(
                    "frozen     until `ringfence stop --thaw {}` or `ringfence stop {0}`",
                    self.watch.subject().name
                ));
                self.stop.freeze();
            }
            _ => {}
        }
    }
}

/// A signal as one line for people.
fn line(signal: &Signal) -> String {
    let value = signal.value.map_or_else(|| "–".to_owned(), crate::chart::number);
    let state = match signal.state {
        SignalState::Quiet | SignalState::Learning => "…",
        SignalState::Normal => "ok",
        SignalState::Unusual => "UNUSUAL",
    };
    let whose = crate::history::whose(signal.basis);
    format!("{:<18} {value:>10} {:<8} {state:<8} {} ({whose})", signal.name, signal.unit, signal.expected)
}

/// The built-in rules with the user's changes from `config`.
///
/// # Errors
/// [`EngineError::Plan`] where the file cannot be understood, [`EngineError::Io`] where it cannot be read.
pub fn rules(config: &Path) -> Result<Rules, EngineError> {
    let file = config.join(RULES_FILE);
    let text = match fs::read_to_string(&file) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Rules::builtin()),
        Err(error) => return Err(EngineError::io(file)(error)),
    };
    Rules::builtin().with(&text).map_err(|error| EngineError::Plan { file, what: error.to_string() })
}

/// What people said about alerts, as the router takes it.
pub(crate) fn acknowledged(vault: &Vault<'_>) -> Result<Vec<Acknowledgement>, EngineError> {
    let filter = AlertFilter { state: Some(AlertState::Acknowledged), ..AlertFilter::default() };
    let known = vault.alerts(&filter)?.into_iter().filter_map(|shown| {
        let said = shown.acknowledged?;
        Some(Acknowledgement {
            rule: shown.alert.rule,
            subject: shown.alert.subject,
            alert: None,
            by: said.by,
            reason: said.reason,
            at: said.at,
            until: said.until.unwrap_or(ringfence_schema::Timestamp::MAX),
            up_to: shown.alert.severity,
        })
    });
    Ok(known.collect())
}
