//! Finding entries: by who, what, when, decision and artifact, in memory that does not grow with the trail.

use std::collections::BTreeMap;

use ringfence_access::Action;
use ringfence_catalog::{CatalogError, StoredEntry};
use ringfence_schema::{
    Digest, Timestamp,
    trail::{Entry, EntryKind, Opening, Outcome},
};
use ringfence_watch::replay::parse_time;
use serde_json::Value;

use super::ShownEntry;
use crate::{
    error::EngineError,
    vault::{Vault, catalog_error},
};

/// Entries that are in memory at once.
const BATCH: u64 = 64;
/// Milliseconds of the units in which ages are written.
const UNITS: [(char, u64); 5] = [('s', 1_000), ('m', 60_000), ('h', 3_600_000), ('d', 86_400_000), ('w', 604_800_000)];

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decided {
    /// It was allowed: intents, what was done or looked at, and the beginning of the vault.
    Allowed,
    /// It was denied.
    Denied,
    /// It was allowed and did not come about, or nobody knows whether it did.
    Failed,
}

impl Decided {
    /// What became of the request that `entry` is about.
    pub fn of(entry: &Entry) -> Self {
        match (entry.kind, entry.outcome) {
            (EntryKind::Denial, _) => Self::Denied,
            (EntryKind::Outcome, Some(Outcome::Failed | Outcome::Abandoned | Outcome::Unknown) | None) => Self::Failed,
            (EntryKind::Genesis | EntryKind::Intent | EntryKind::Access, _)
            | (EntryKind::Outcome, Some(Outcome::Done)) => Self::Allowed,
        }
    }

    /// In one word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Denied => "denied",
            Self::Failed => "failed",
        }
    }
}

/// Which entries are wanted: those that are all of this.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// By this person, exactly.
    pub who: Option<String>,
    /// This action, exactly.
    pub what: Option<String>,
    /// About this artifact: `kind/name` for all versions, `kind/name@3` for one; as subject or in the request.
    pub artifact: Option<String>,
    /// With this decision.
    pub decision: Option<Decided>,
    /// From this moment on.
    pub since: Option<Timestamp>,
    /// Before this moment.
    pub until: Option<Timestamp>,
}

impl Filter {
    /// Refuses what cannot match anything.
    ///
    /// # Errors
    /// [`EngineError::Usage`] for an action that does not exist, and for an end that is not after the beginning.
    pub fn check(&self) -> Result<(), EngineError> {
        if let Some(what) = &self.what
            && !Action::ALL.iter().any(|action| action.name() == what)
        {
            let known: Vec<&str> = Action::ALL.iter().map(|action| action.name()).collect();
            return Err(EngineError::Usage {
                what: format!("there is no action `{what}`; known are {}", known.join(", ")),
            });
        }
        match (self.since, self.until) {
            (Some(since), Some(until)) if until <= since => {
                Err(EngineError::Usage { what: format!("nothing is since {since} and before {until}") })
            }
            _ => Ok(()),
        }
    }

    /// Whether what is in clear fits; the artifact is not.
    fn admits(&self, entry: &Entry) -> bool {
        self.who.as_ref().is_none_or(|who| *who == entry.actor)
            && self.what.as_ref().is_none_or(|what| *what == entry.action)
            && self.decision.is_none_or(|decision| decision == Decided::of(entry))
            && self.since.is_none_or(|since| entry.time >= since)
            && self.until.is_none_or(|until| entry.time < until)
    }
}

/// A moment as people type it: RFC 3339, or an age such as `90m`, `36h`, `2d`, `1w` before `now`.
///
/// # Errors
/// [`EngineError::Usage`].
pub fn moment(text: &str, now: Timestamp) -> Result<Timestamp, EngineError> {
    let age = || {
        let (unit, factor) = UNITS.into_iter().find(|(unit, _)| text.ends_with(*unit))?;
        let number = text.strip_suffix(unit)?;
        let digits = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
        let millis = if digits { number.parse::<u64>().ok()?.checked_mul(factor)? } else { return None };
        Some(Timestamp::from_millis(now.millis().saturating_sub(millis)))
    };
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to the year 9999")]
    let point = || {
        let seconds = if text.contains(':') { parse_time(text) } else { parse_time(&format!("{text}T00:00:00Z")) };
        seconds
            .filter(|seconds| *seconds >= 0.0)
            .map(|seconds| Timestamp::from_millis((seconds * 1_000.0).round() as u64))
    };
    age().or_else(point).ok_or_else(|| EngineError::Usage {
        what: format!(
            "`{text}` is no moment: write it as 2026-01-31T09:30:00Z, 2026-01-31, or an age such as 2d or 90m"
        ),
    })
}

impl Vault<'_> {
    /// Hands the entries that `filter` admits to `each`, oldest first: the `last` ones of them, or all. Returns how many.
    ///
    /// # Errors
    /// [`Filter::check`]'s, what `each` returns, and [`EngineError::Tampered`] where an entry is not what it was.
    pub fn search(
        &self,
        filter: &Filter,
        last: Option<u64>,
        each: &mut dyn FnMut(&ShownEntry) -> Result<(), EngineError>,
    ) -> Result<u64, EngineError> {
        filter.check()?;
        let size = self.catalog.size().map_err(|error| catalog_error(&error))?;
        let Some(last) = last else { return self.forward(filter, size, each) };
        // Backwards, so that the newest are found without reading all; then once more, in order.
        let (mut found, mut end) = (Vec::new(), size);
        'back: while end > 0 {
            let start = end.saturating_sub(BATCH);
            for stored in self.batch(start, end)?.into_iter().rev() {
                if found.len() as u64 >= last {
                    break 'back;
                }
                let index = stored.index;
                if self.wanted(filter, stored)?.is_some() {
                    found.push(index);
                }
            }
            end = start;
        }
        for index in found.iter().rev() {
            each(&self.trail_entry(*index)?)?;
        }
        Ok(found.len() as u64)
    }

    fn forward(
        &self,
        filter: &Filter,
        size: u64,
        each: &mut dyn FnMut(&ShownEntry) -> Result<(), EngineError>,
    ) -> Result<u64, EngineError> {
        let (mut count, mut start) = (0, 0);
        while start < size {
            let end = size.min(start + BATCH);
            for stored in self.batch(start, end)? {
                if let Some(shown) = self.wanted(filter, stored)? {
                    each(&shown.map_or_else(|stored| self.shown(stored), Ok)?)?;
                    count += 1;
                }
            }
            start = end;
        }
        Ok(count)
    }

    fn batch(&self, start: u64, end: u64) -> Result<Vec<StoredEntry>, EngineError> {
        let read = self.catalog.entries(start..end);
        read.map_err(|error: CatalogError| catalog_error(&error))
    }

    /// The entry if it is wanted; opened already where that took more than what is in clear.
    fn wanted(
        &self,
        filter: &Filter,
        stored: StoredEntry,
    ) -> Result<Option<Result<ShownEntry, StoredEntry>>, EngineError> {
        if !filter.admits(&stored.entry) {
            return Ok(None);
        }
        let Some(artifact) = &filter.artifact else { return Ok(Some(Err(stored))) };
        let shown = self.shown(stored)?;
        let request = shown.openings.get("request").and_then(|opening| opening.value.get("what"));
        let about = is_about(shown.subject(), artifact) || request.is_some_and(|request| mentions(request, artifact));
        Ok(about.then_some(Ok(shown)))
    }

    /// A stored entry as people see it.
    pub(crate) fn shown(&self, stored: StoredEntry) -> Result<ShownEntry, EngineError> {
        let openings = self.opened(&stored)?;
        let about = match stored.entry.of.filter(|_| !openings.contains_key("subject")) {
            // What failed says why, not of what; its intent does.
            Some(intent) => subject_of(&self.openings(intent)?),
            None => String::new(),
        };
        Ok(ShownEntry { index: stored.index, leaf: Digest::of(&stored.leaf), entry: stored.entry, openings, about })
    }
}

fn subject_of(openings: &BTreeMap<String, Opening>) -> String {
    openings.get("subject").and_then(|opening| opening.value.as_str()).unwrap_or_default().to_owned()
}

/// Whether `text` names the artifact: itself, or a version of it.
fn is_about(text: &str, artifact: &str) -> bool {
    text.strip_prefix(artifact)
        .is_some_and(|rest| rest.is_empty() || (rest.starts_with('@') && !artifact.contains('@')))
}

/// Whether any text in `value` names the artifact.
fn mentions(value: &Value, artifact: &str) -> bool {
    match value {
        Value::String(text) => is_about(text, artifact),
        Value::Array(values) => values.iter().any(|value| mentions(value, artifact)),
        Value::Object(fields) => fields.values().any(|value| mentions(value, artifact)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use ringfence_schema::Timestamp;

    use super::{is_about, moment};

    #[test]
    fn moments_as_people_type_them() {
        let now = Timestamp::from_millis(1_800_000_000_000);
        let read = |text| moment(text, now).ok().map(|moment| moment.to_string());
        for (text, expected) in [
            ("0s", "2027-01-15T08:00:00.000Z"),
            ("90m", "2027-01-15T06:30:00.000Z"),
            ("36h", "2027-01-13T20:00:00.000Z"),
            ("2d", "2027-01-13T08:00:00.000Z"),
            ("1w", "2027-01-08T08:00:00.000Z"),
            ("99999999d", "1970-01-01T00:00:00.000Z"),
            ("2026-01-31T09:30:00Z", "2026-01-31T09:30:00.000Z"),
            ("2026-01-31T09:30:00.250+02:00", "2026-01-31T07:30:00.250Z"),
            ("2026-01-31", "2026-01-31T00:00:00.000Z"),
        ] {
            assert_eq!(read(text).as_deref(), Some(expected), "{text}");
        }
        for text in
            ["", "d", "-1d", "+1d", "1.5d", "2y", "yesterday", "2026-02-30", "2026-01-31T25:00:00Z", "1799999999"]
        {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn versions_are_about_their_artifact() {
        for (text, artifact, about) in [
            ("dataset/a", "dataset/a", true),
            ("dataset/a@3", "dataset/a", true),
            ("dataset/a@3", "dataset/a@3", true),
            ("dataset/a@30", "dataset/a@3", false),
            ("dataset/ab@3", "dataset/a", false),
            ("dataset/a", "dataset/a@3", false),
            ("", "dataset/a", false),
        ] {
            assert_eq!(is_about(text, artifact), about, "{text} {artifact}");
        }
    }
}
