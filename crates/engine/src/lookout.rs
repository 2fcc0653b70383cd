//! What the watch makes of a vault beyond its runs: new versions of datasets, who reaches for what, and recordings.
//!
//! Alerts about versions and people are filed like those about runs ([`people`] reads accesses from the trail). Recordings (JSON lines of a run's telemetry, or of accesses) are
//! judged as if they came in live, without a vault.

pub mod people;

use std::{
    collections::BTreeMap,
    io::{BufRead, Read as _},
};

use ringfence_schema::{
    ArtifactKind, Timestamp,
    alert::{Access, TelemetryLine},
    evidence::EvidenceKind,
    finding::printable,
    report::DatasetSketch,
};
use ringfence_watch::{
    data::{DataWatch, VersionChange, sketch},
    people::PeopleWatch,
    route::{Routed, Router, State},
    rules::Rules,
    run::{Expectations, RunWatch},
};
use serde::Deserialize;

use crate::{error::EngineError, record::Version, run::guard, vault::Vault};

impl Vault<'_> {
    /// Holds a new version of a dataset against the earlier ones, and files what is unusual about it.
    pub(crate) fn watch_version(&self, newest: &Version) -> Result<(), EngineError> {
        if newest.artifact.kind() != ArtifactKind::Dataset {
            return Ok(());
        }
        let mut history: Vec<Version> =
            self.versions()?.into_iter().filter(|version| version.artifact == newest.artifact).collect();
        history.sort_by_key(|version| version.version);
        history.drain(..history.len().saturating_sub(VERSIONS_MAX));
        let (mut watch, mut router) = (DataWatch::new(), Router::new(guard::rules(&self.settings.config)?));
        let (mut before, mut alerts) = (Profile::default(), Vec::new());
        for version in &history {
            let profile = self.profile(version)?;
            // Those about earlier versions were filed when these came.
            alerts = watch.push(&change(version, &before, &profile));
            before = profile;
        }
        for routed in alerts.into_iter().flat_map(|alert| router.push(alert)) {
            if matches!(routed.state, State::New | State::Escalated) {
                let alert = &routed.alert;
                let said = format!("alert      {} {}: {}", alert.rule, alert.severity, alert.message);
                self.settings.progress.note(&said);
                self.respond(alert, &routed.actions, Some(&self.caller.person.id))?;
            }
        }
        Ok(())
    }

    /// What is known of a version's records, as far as its screening tells.
    fn profile(&self, version: &Version) -> Result<Profile, EngineError> {
        let report = match version.newest(EvidenceKind::Screen) {
            Some(_) => self.screen_report(version)?,
            None => None,
        };
        Ok(match report {
            Some(report) => {
                Profile { records: report.records, classes: report.dataset.classes, sketch: report.dataset.sketch }
            }
            None => Profile { records: version.files, ..Profile::default() },
        })
    }
}

/// What is known of a version's records.
#[derive(Default)]
struct Profile {
    records: u64,
    classes: BTreeMap<String, u64>,
    sketch: Option<Box<DatasetSketch>>,
}

/// What a version changed against the one before. Without sketches, records that were rewritten in place are not told
/// apart from those that stayed.
fn change(version: &Version, before: &Profile, profile: &Profile) -> VersionChange {
    let moved = match (&before.sketch, &profile.sketch) {
        (Some(before), Some(after)) => sketch::compare(before, after),
        _ => None,
    };
    let whole = profile.classes.values().sum::<u64>().max(1) as f64;
    VersionChange {
        at: version.written,
        artifact: version.artifact.to_string(),
        version: version.version,
        records: profile.records,
        added: moved.map_or(profile.records.saturating_sub(before.records), |moved| moved.added),
        removed: moved.map_or(before.records.saturating_sub(profile.records), |moved| moved.removed),
        changed: moved.map_or(0, |moved| moved.changed),
        bytes: version.bytes,
        label_shares: profile.classes.iter().map(|(label, count)| (label.clone(), *count as f64 / whole)).collect(),
        drift: moved.map(|moved| moved.drift),
    }
}

/// One line of a recording.
#[derive(Deserialize)]
#[serde(untagged)]
enum Recorded {
    Line(TelemetryLine),
    Access(Access),
}

/// Judges a recording, line by line, and hands what is raised to `tell`: telemetry of one run, as `watch RUN --format
/// json` prints it, or accesses with the fields of [`Access`].
///
/// # Errors
/// [`EngineError::Incomplete`] with the line that could not be read; what came before was told.
pub fn judge_recording(
    name: &str,
    mut input: impl BufRead,
    rules: Rules,
    tell: &mut dyn FnMut(Routed),
) -> Result<(), EngineError> {
    let started = Timestamp::from_millis(0);
    let mut run = RunWatch::new(&printable(name, NAME_CHARS_MAX), started, Expectations::default());
    let (mut people, mut router) = (PeopleWatch::new(), Router::new(rules));
    let mut line = Vec::new();
    for number in 1_u64.. {
        line.clear();
        let failed = |why: &str| EngineError::incomplete(name, format!("line {number}: {why}"));
        let read = input.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut line);
        if read.map_err(|error| failed(&error.to_string()))? == 0 {
            break;
        }
        if line.len() as u64 >= LINE_BYTES_MAX {
            return Err(failed("longer than the limit"));
        }
        if line.trim_ascii().is_empty() {
            continue;
        }
        let recorded = serde_json::from_slice(&line).map_err(|_| failed("neither telemetry of a run nor an access"))?;
        let alerts = match recorded {
            Recorded::Line(TelemetryLine::Event(event)) => run.push(&event),
            // What was made of it then is not asked.
            Recorded::Line(TelemetryLine::Alert { .. }) => Vec::new(),
            Recorded::Access(access) => people.push(&access),
        };
        alerts.into_iter().flat_map(|alert| router.push(alert)).for_each(&mut *tell);
    }
    run.end().into_iter().flat_map(|alert| router.push(alert)).for_each(tell);
    Ok(())
}

/// Versions of a dataset that its newest one is held against.
const VERSIONS_MAX: usize = 100;
/// Longest line of a recording in bytes.
const LINE_BYTES_MAX: u64 = 1 << 20;
/// Longest name of a recording that is shown, in characters.
const NAME_CHARS_MAX: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(text: &str) -> Result<Vec<Routed>, EngineError> {
        let mut told = Vec::new();
        judge_recording("r.jsonl", text.as_bytes(), Rules::builtin(), &mut |routed| told.push(routed)).map(|()| told)
    }

    #[test]
    fn recordings_are_judged_and_bad_lines_are_named() {
        let egress = r#"{"at_ms": 5, "observed": {"what": "egress", "via": "tcp", "address": "203.0.113.9", "port": 443, "refused": "an address without a name", "sent_bytes": 0, "received_bytes": 0, "lasted_ms": 0}}"#;
        let told = judge(egress).expect("a recording");
        assert_eq!(told.iter().map(|routed| routed.alert.kind.as_str()).collect::<Vec<_>>(), ["direct-address"]);
        let access = r#"{"at": 1, "person": "ana", "action": "read", "artifact": "dataset/x", "allowed": true}"#;
        assert!(judge(&format!("{access}\n\n{access}\n")).expect("a recording").is_empty());
        let error = judge(&format!("{access}\nnonsense\n")).expect_err("no recording").to_string();
        assert!(error.contains("line 2"), "{error}");
    }
}
