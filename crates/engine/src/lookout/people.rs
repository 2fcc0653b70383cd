//! Who reaches for what: accesses as the trail tells them, and the vigil that a server keeps over them.
//!
//! A [`Vigil`] reads the trail as it grows. It learns from what is there when it begins, files what is unusual among the
//! new, and does what the rules ask for: `revoke` ends a person's sessions and tokens in the same transaction as the alert.

use std::{collections::BTreeMap, ops::Range};

use ringfence_access::Action;
use ringfence_schema::{
    alert::{Access, Alert, SubjectKind},
    trail::{EntryKind, Opening, Outcome},
};
use ringfence_watch::{
    people::PeopleWatch,
    route::{Router, State},
    rules::{Action as Response, Rules},
};
use serde_json::Value;

use crate::{
    error::EngineError,
    run::guard,
    team::{Caller, PersonId},
    trail::ShownEntry,
    vault::{Vault, catalog_error},
};

/// Entries that a vigil learns from when it begins.
const HISTORY_ENTRIES: u64 = 100_000;
/// Entries of one look, so that nothing else waits long.
const LOOK_ENTRIES: u64 = 5_000;
/// What was unusual before this is not filed any more, in milliseconds: a day.
const LATE_MS_MAX: u64 = 24 * 60 * 60 * 1_000;
/// Most inputs of one run that count as accesses.
const INPUTS_MAX: usize = 256;

/// What is known of people so far, and up to where.
#[derive(Debug)]
pub struct Vigil {
    watch: PeopleWatch,
    router: Router,
    next: u64,
}

impl Vault<'_> {
    /// A vigil that has read nothing yet.
    ///
    /// # Errors
    /// [`EngineError::Plan`] where the user's rules cannot be read: nobody is watched by half of the rules.
    pub fn begin_vigil(&self) -> Result<Vigil, EngineError> {
        let size = self.catalog.size().map_err(|error| catalog_error(&error))?;
        let mut router = Router::new(guard::rules(&self.settings.config)?);
        guard::acknowledged(self)?.into_iter().for_each(|known| {
            router.acknowledge(known);
        });
        Ok(Vigil { watch: PeopleWatch::new(), router, next: size.saturating_sub(HISTORY_ENTRIES) })
    }

    /// Reads what the trail has gained since the last look, at most [`LOOK_ENTRIES`] of it, and answers whether there is
    /// more. What is filed already is neither filed nor acted upon again.
    pub fn keep_vigil(&self, vigil: &mut Vigil) -> Result<bool, EngineError> {
        let size = self.catalog.size().map_err(|error| catalog_error(&error))?;
        let end = size.min(vigil.next + LOOK_ENTRIES);
        let house = self.acting(if self.is_shared() { Caller::server() } else { Caller::owner() });
        let since = (self.settings.now)().millis().saturating_sub(LATE_MS_MAX);
        for (index, access) in self.accesses_in(vigil.next..end)? {
            for alert in vigil.watch.push(&access) {
                for routed in vigil.router.push(alert) {
                    if matches!(routed.state, State::New | State::Escalated) && routed.alert.at.millis() >= since {
                        house.respond(&routed.alert, &routed.actions, None)?;
                    }
                }
            }
            vigil.next = index + 1;
        }
        vigil.next = end;
        Ok(end < size)
    }

    /// Files `alert`, with `revoke` among `actions` together with the end of the sessions and tokens of whom it is about:
    /// the person that it names, or `behind`, who is behind what it names.
    pub(crate) fn respond(&self, alert: &Alert, actions: &[Response], behind: Option<&str>) -> Result<(), EngineError> {
        let named = (alert.subject.kind == SubjectKind::Person).then_some(alert.subject.name.as_str());
        let who = named.or(behind).filter(|_| actions.contains(&Response::Revoke));
        let who = who.map(PersonId::from).filter(|who| self.members().is_ok_and(|all| all.people.contains_key(who)));
        match who {
            Some(person) => self.raise_revoking(alert, &person),
            None => self.raise(std::slice::from_ref(alert)).map(drop),
        }
    }

    /// Every access that the trail tells of, oldest first, among its last `count` entries.
    pub fn accesses(&self, count: u64) -> Result<Vec<Access>, EngineError> {
        let size = self.catalog.size().map_err(|error| catalog_error(&error))?;
        Ok(self.accesses_in(size.saturating_sub(count)..size)?.into_iter().map(|(_, access)| access).collect())
    }

    /// The accesses in these entries of the trail, each with the entry's index.
    fn accesses_in(&self, range: Range<u64>) -> Result<Vec<(u64, Access)>, EngineError> {
        let mut bytes: Option<BTreeMap<String, u64>> = None;
        let (mut found, mut from) = (Vec::new(), range.start);
        while from < range.end {
            let entries = self.catalog.entries(from..range.end).map_err(|error| catalog_error(&error))?;
            let Some(last) = entries.last() else { break };
            from = last.index + 1;
            for stored in entries {
                if !tells(&stored.entry.action, stored.entry.kind, stored.entry.outcome) {
                    continue;
                }
                let shown = self.shown(stored)?;
                let mut reached = self.reached(&shown)?;
                if reached.iter().any(|(_, moves)| *moves) && bytes.is_none() {
                    let versions = self.versions()?;
                    bytes = Some(versions.iter().map(|one| (one.reference().to_string(), one.bytes)).collect());
                }
                let roles = self.roles_of(&shown.entry.actor)?;
                for (artifact, moves) in reached.drain(..) {
                    let known = bytes.as_ref().and_then(|bytes| bytes.get(&artifact)).filter(|_| moves);
                    let access = Access {
                        at: shown.entry.time,
                        // Never their name: an alert stays when somebody is erased.
                        person: shown.entry.actor.clone(),
                        roles: roles.clone(),
                        action: shown.entry.action.clone(),
                        bytes: known.copied().unwrap_or_default(),
                        artifact,
                        place: place(&shown.openings),
                        allowed: shown.entry.kind != EntryKind::Denial,
                    };
                    found.push((shown.index, access));
                }
            }
        }
        Ok(found)
    }

    /// What an entry's act reached for, and whether its bytes were moved.
    fn reached(&self, shown: &ShownEntry) -> Result<Vec<(String, bool)>, EngineError> {
        let done = shown.entry.kind != EntryKind::Denial;
        if done
            && shown.entry.action == Action::Train.name()
            && let Some(intent) = shown.entry.of
        {
            let inputs = inputs(&self.openings(intent)?);
            if !inputs.is_empty() {
                return Ok(inputs.into_iter().map(|artifact| (artifact, true)).collect());
            }
        }
        Ok(vec![(shown.subject().to_owned(), done && shown.entry.action == Action::Export.name())])
    }

    /// The roles of whoever an entry calls by this id.
    fn roles_of(&self, id: &str) -> Result<Vec<String>, EngineError> {
        let members = self.members()?;
        let row = members.people.get(&PersonId::from(id));
        Ok(row.into_iter().flat_map(|row| &row.roles).map(|role| role.name().to_owned()).collect())
    }
}

/// Whether an entry tells of somebody's access: what was done, looked at or denied, other than by the watch itself.
fn tells(action: &str, kind: EntryKind, outcome: Option<Outcome>) -> bool {
    let is_own = [Action::Raise.name(), Action::Deliver.name()].contains(&action);
    !is_own && (matches!(kind, EntryKind::Denial | EntryKind::Access) || outcome == Some(Outcome::Done))
}

/// From where an act came.
fn place(openings: &BTreeMap<String, Opening>) -> String {
    let from = openings.get("from").and_then(|from| from.value.get("address"));
    from.and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// The inputs that a run's request names.
fn inputs(openings: &BTreeMap<String, Opening>) -> Vec<String> {
    let named = openings.get("request").and_then(|request| request.value.pointer("/what/inputs"));
    let named = named.and_then(Value::as_array).into_iter().flatten().take(INPUTS_MAX);
    named.filter_map(|input| input.get("artifact")?.as_str().map(str::to_owned)).collect()
}

/// What the models of people make of `accesses`, which come by time, under `rules`.
pub fn judge_accesses(accesses: impl IntoIterator<Item = Access>, rules: Rules) -> Vec<ringfence_watch::route::Routed> {
    let (mut watch, mut router) = (PeopleWatch::new(), Router::new(rules));
    let alerts = accesses.into_iter().flat_map(|access| watch.push(&access)).collect::<Vec<Alert>>();
    alerts.into_iter().flat_map(|alert| router.push(alert)).collect()
}
