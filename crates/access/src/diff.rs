//! What a change of policy changes, in plain language: who can do what that they could not, and the other way round.
//!
//! [`Policies::diff`] asks both sets about every cell of the [`matrix`](crate::matrix) in every situation, and about the
//! people and artifacts that either set names. Beside it stand the settings and the policies that differ, because a
//! condition on a figure can change between the situations that the matrix knows.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use ringfence_schema::finding::printable;
use serde::Serialize;
use serde_json::Value;

use crate::{
    Action, Custody, NamespaceState, Person, Policies, Request, Resource, Role,
    matrix::{ASKS, IN_ORDER, SITUATIONS, Situation, in_order, person, resources},
    slice::Index,
    table::joined,
};

/// Most people, and most artifacts, named by policies and asked about one by one.
pub const NAMED_MAX: usize = 32;

/// A policy that differs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct PolicyChange {
    /// Its id.
    pub id: String,
    /// Its plain words, those of the new set where it has it.
    pub says: String,
    /// What happened to it.
    pub change: Change,
}

/// What happened to a policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Change {
    /// It is new.
    Added,
    /// It says something else.
    Changed,
    /// It is gone.
    Removed,
}

/// A setting that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SettingChange {
    /// Its name.
    pub name: String,
    /// What it was; `None`: the default.
    pub old: Option<Value>,
    /// What it is; `None`: the default.
    pub new: Option<Value>,
}

/// A right that somebody gains or loses.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct RightChange {
    /// Roles, and people by id.
    pub who: Vec<String>,
    /// Whether they gain it.
    pub gains: bool,
    /// To do what.
    pub action: Action,
    /// With what.
    pub resources: String,
    /// In which situations; empty: when everything is in order.
    pub when: Vec<&'static str>,
    /// Of a loss: what now stops it. Of a gain: what stopped it before.
    pub because: Vec<String>,
}

/// All that differs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct PolicyDiff {
    /// Settings, sorted by name.
    pub settings: Vec<SettingChange>,
    /// Policies, sorted by id.
    pub policies: Vec<PolicyChange>,
    /// Rights: losses, then gains.
    pub rights: Vec<RightChange>,
    /// Policies name more people or artifacts than were asked about.
    pub incomplete: bool,
}

impl PolicyDiff {
    /// Whether nothing differs.
    pub fn is_empty(&self) -> bool {
        self.settings.is_empty() && self.policies.is_empty() && self.rights.is_empty()
    }
}

/// Gain, action, situation, resources, reasons → who.
type Alike = BTreeMap<(bool, Action, usize, String, Vec<String>), Vec<String>>;
/// Gain, action, resources, reasons, who → situations.
type Lines = BTreeMap<(bool, Action, String, Vec<String>, Vec<String>), Vec<usize>>;
/// Action, gain, situation, reasons → who → resources.
type Found = BTreeMap<(Action, bool, usize, Vec<String>), BTreeMap<String, Vec<String>>>;

/// Where the answers of two sets can differ at all.
struct Differing<'p> {
    sets: [&'p Policies; 2],
    /// The policies that are not the same in both, of each; `None`: they could not be filed, so everything is asked.
    policies: Option<[Index; 2]>,
    settings: bool,
}

impl<'p> Differing<'p> {
    fn between(old: &'p Policies, new: &'p Policies, changes: &[PolicyChange]) -> Self {
        let ids: BTreeSet<String> = changes.iter().map(|change| change.id.clone()).collect();
        let policies = old.filed(&ids).and_then(|index| Ok([index, new.filed(&ids)?])).ok();
        Self { sets: [old, new], policies, settings: old.settings() != new.settings() }
    }

    /// Whether the answer to `request` may be another one under the other set.
    fn bears_on(&self, request: &Request) -> bool {
        let changed = |indices: &[Index; 2]| indices.iter().any(|index| index.applicable(request).next().is_some());
        self.policies.as_ref().is_none_or(changed)
            || (self.settings && self.sets.iter().any(|set| set.reads_settings(request)))
    }

    fn compare(
        &self,
        custody: Custody,
        (at, situation): (usize, &Situation),
        (who, person): (&str, &Person),
        cells: &[(String, Resource)],
        found: &mut Found,
    ) {
        let [old, new] = self.sets;
        for (label, resource) in cells {
            for action in Action::ALL {
                let mut request: Request = in_order(person.clone(), action, resource.clone(), custody);
                if !old.applies(&request) {
                    continue;
                }
                situation.apply(&mut request);
                if !self.bears_on(&request) {
                    continue;
                }
                let (was, is) = (old.verdict(&request), new.verdict(&request));
                if was.0 != is.0 {
                    let because = if is.0 { old.words(&was.1) } else { new.words(&is.1) };
                    let who = found.entry((action, is.0, at, because)).or_default().entry(who.to_owned()).or_default();
                    who.push(label.clone());
                }
            }
        }
    }
}

impl Policies {
    /// What becomes of the rights in a vault of `custody` if `new` takes the place of this set. Asks about everything that
    /// a policy or setting that differs can bear on: up to some hundred thousand questions.
    pub fn diff(&self, new: &Self, custody: Custody) -> PolicyDiff {
        if self.digest() == new.digest() {
            return PolicyDiff::default();
        }
        let (people, artifacts) = (self.named_in(new, |set| set.names().0), self.named_in(new, |set| set.names().1));
        let incomplete = is_beyond(people.len(), artifacts.len());
        let changes = self.policy_changes(new);
        let differing = Differing::between(self, new, &changes);
        let mut found = Found::new();
        let mut cells: Vec<(String, Resource)> = resources();
        for role in Role::ALL {
            for (at, situation) in (0..).zip(SITUATIONS) {
                differing.compare(custody, (at, situation), (role.name(), &person(ASKS, role)), &cells, &mut found);
            }
            for id in people.iter().take(NAMED_MAX) {
                let who = format!("`{}` as {}", printable(id, 80), role.name());
                differing.compare(custody, (0, &IN_ORDER), (&who, &person(id, role)), &cells, &mut found);
            }
        }
        cells.clear();
        for name in artifacts.iter().take(NAMED_MAX) {
            let Ok(parsed) = name.parse::<ringfence_schema::ArtifactName>() else { continue };
            let resource = |state| Resource::Artifact { name: parsed.clone(), state };
            cells.extend(NamespaceState::ALL.map(|state| (format!("{} `{name}`", state.name()), resource(state))));
        }
        for role in Role::ALL {
            differing.compare(custody, (0, &IN_ORDER), (role.name(), &person(ASKS, role)), &cells, &mut found);
        }
        let settings = setting_changes(self, new);
        PolicyDiff { settings, policies: changes, rights: rights(found), incomplete }
    }

    fn named_in<'a, I: Iterator<Item = &'a str>>(
        &'a self,
        new: &'a Self,
        names: impl Fn(&'a Self) -> I,
    ) -> Vec<String> {
        let all: BTreeSet<String> = names(self).chain(names(new)).map(str::to_owned).collect();
        all.into_iter().collect()
    }

    fn words(&self, ids: &[String]) -> Vec<String> {
        let known: BTreeMap<&str, &str> = self.explanations().collect();
        let mut words: Vec<String> =
            ids.iter().map(|id| known.get(id.as_str()).map_or_else(|| id.clone(), |says| (*says).to_owned())).collect();
        words.sort();
        words
    }

    fn policy_changes(&self, new: &Self) -> Vec<PolicyChange> {
        let (old_forms, new_forms) = (self.forms(), new.forms());
        let (old_says, new_says): (BTreeMap<_, _>, BTreeMap<_, _>) =
            (self.explanations().collect(), new.explanations().collect());
        let ids: BTreeSet<&String> = old_forms.keys().chain(new_forms.keys()).collect();
        let change = |id: &&String| match (old_forms.get(*id), new_forms.get(*id)) {
            (None, Some(_)) => Some(Change::Added),
            (Some(_), None) => Some(Change::Removed),
            (old, new) if old != new => Some(Change::Changed),
            _ => None,
        };
        let says = |id: &str| new_says.get(id).or_else(|| old_says.get(id)).copied().unwrap_or_default().to_owned();
        let changes = ids.into_iter().filter_map(|id| Some((id, change(&id)?)));
        changes.map(|(id, change)| PolicyChange { id: id.clone(), says: says(id), change }).collect()
    }
}

/// Whether policies name more than is asked about one by one.
fn is_beyond(people: usize, artifacts: usize) -> bool {
    people > NAMED_MAX || artifacts > NAMED_MAX
}

fn setting_changes(old: &Policies, new: &Policies) -> Vec<SettingChange> {
    let fields = |policies: &Policies| match serde_json::to_value(policies.settings()) {
        Ok(Value::Object(fields)) => fields,
        _ => serde_json::Map::new(),
    };
    let (old, new) = (fields(old), fields(new));
    let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let differ = names.into_iter().filter(|name| old.get(*name) != new.get(*name));
    differ
        .map(|name| SettingChange { name: name.clone(), old: old.get(name).cloned(), new: new.get(name).cloned() })
        .collect()
}

/// One line for all who change alike, in all situations in which they do; what changes when everything is in order is not
/// repeated for the situations.
fn rights(found: Found) -> Vec<RightChange> {
    let mut in_order: BTreeSet<(Action, bool, String, String)> = BTreeSet::new();
    for ((action, gains, at, _), who) in &found {
        if *at == 0 {
            let all = who.iter().flat_map(|(who, labels)| labels.iter().map(move |label| (who, label)));
            in_order.extend(all.map(|(who, label)| (*action, *gains, who.clone(), label.clone())));
        }
    }
    let mut alike = Alike::new();
    for ((action, gains, at, because), who) in found {
        for (who, mut labels) in who {
            let known = |label: &String| in_order.contains(&(action, gains, who.clone(), label.clone()));
            labels.retain(|label| at == 0 || !known(label));
            if !labels.is_empty() {
                alike.entry((gains, action, at, joined(&labels), because.clone())).or_default().push(who);
            }
        }
    }
    let mut lines = Lines::new();
    for ((gains, action, at, resources, because), who) in alike {
        lines.entry((gains, action, resources, because, who)).or_default().push(at);
    }
    let says = |at: &usize| SITUATIONS.get(*at).filter(|_| *at > 0).map(|situation| situation.says);
    lines
        .into_iter()
        .map(|((gains, action, resources, because, who), at)| {
            let when = at.iter().filter_map(says).collect();
            RightChange { who, gains, action, resources, when, because }
        })
        .collect()
}

impl fmt::Display for RightChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verb = if self.gains { "can now" } else { "can no longer" };
        write!(f, "{} {verb} {} {}", self.who.join(", "), self.action, self.resources)?;
        if !self.when.is_empty() {
            write!(f, " when {}", self.when.join(", or "))?;
        }
        let because = self.because.join("; ");
        if self.gains { write!(f, " (until now: {because})") } else { write!(f, " ({because})") }
    }
}

impl fmt::Display for PolicyDiff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |value: &Option<Value>| value.as_ref().map_or_else(|| "the default".to_owned(), Value::to_string);
        for SettingChange { name, old, new } in &self.settings {
            writeln!(f, "setting `{name}`: {} becomes {}", shown(old), shown(new))?;
        }
        for PolicyChange { id, says, change } in &self.policies {
            let word = match change {
                Change::Added => "new",
                Change::Changed => "changed",
                Change::Removed => "gone",
            };
            writeln!(f, "policy `{id}` is {word}: {says}")?;
        }
        self.rights.iter().try_for_each(|right| writeln!(f, "{right}"))?;
        if self.incomplete {
            writeln!(f, "policies name more than {NAMED_MAX} people or artifacts: not all of them were asked about")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::VaultPolicy;

    #[test]
    fn only_what_a_difference_can_bear_on_is_asked_about() {
        let text = "@id(\"reads\") @says(\"all may read\") permit (principal, action == Action::\"read\", resource);
            @id(\"confined\") @says(\"runs are confined\") forbid (principal, action == Action::\"train\", resource)
            when { context.settings.demand_full };";
        let old = Policies::of(text).unwrap();
        let forbidding = "forbid (principal, action == Action::\"read\", resource);";
        let document = "schema = \"ringfence.policy/1\"\n[settings]\ndemand_level = \"full\"";
        let under = VaultPolicy::parse(document).unwrap();
        for (new, read, train) in [
            (old.clone(), false, false),
            (old.clone().with_project(forbidding).unwrap(), true, false),
            (old.clone().with_vault(&under).unwrap(), false, true),
        ] {
            let changes = old.policy_changes(&new);
            let differing = Differing::between(&old, &new, &changes);
            for (action, expected) in [(Action::Read, read), (Action::Train, train)] {
                let request = in_order(person(ASKS, Role::Owner), action, Resource::Vault, Custody::Shared);
                assert_eq!(differing.bears_on(&request), expected, "{action}, {changes:?}");
            }
        }
    }

    #[test]
    fn a_policy_that_says_something_else_is_changed_and_its_neighbour_is_not() {
        let of = |action: &str| {
            let forbid = |id, action| {
                format!(
                    "@id(\"{id}\") @says(\"no {action}\") forbid (principal, action == Action::\"{action}\", resource);"
                )
            };
            let text = forbid("a", action) + &forbid("b", "export");
            Policies::builtin().unwrap().with_project(&text).unwrap()
        };
        let policies = of("train").policy_changes(&of("attack"));
        let changed =
            PolicyChange { id: "project:a".to_owned(), says: "no attack".to_owned(), change: Change::Changed };
        assert_eq!(policies, [changed]);
        let diff = PolicyDiff { policies, ..PolicyDiff::default() };
        assert_eq!(diff.to_string(), "policy `project:a` is changed: no attack\n");
    }

    #[test]
    fn more_names_than_are_asked_about_leave_a_difference_incomplete() {
        for (people, artifacts, expected) in [(32, 32, false), (33, 32, true), (32, 33, true), (0, 0, false)] {
            assert_eq!(is_beyond(people, artifacts), expected, "{people} {artifacts}");
        }
    }
}
