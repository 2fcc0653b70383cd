//! People and groups as a directory tells of them: what SCIM (RFC 7643) brings, without its words.
//!
//! A program of the vault acts, with a token whose scope holds [`Action::Provision`]. It sees the people of the vault, brings
//! more of them in, renames them and shuts them out; whoever is shut out has no session and no token from the same moment.
//! Its groups are rows; which roles a group stands for is said by `login.toml` in the configuration:
//!
//! ```toml
//! schema = "ringfence.login/1"
//! [directory.roles]
//! ml-research = ["researcher"]
//! ```
//!
//! What must stay true: a directory gives nobody the owner's role, takes it from nobody, and changes nothing about whoever
//! has it; it takes away only the roles that it gave; it gives nobody a way in, because factors come by an invitation that a
//! person hands over, or from a login provider.

use std::collections::{BTreeMap, BTreeSet};

use ringfence_access::{Action, Facts, PersonKind, Resource, Role, factors::Standing};
use ringfence_catalog::{RowChange, Table};
use ringfence_schema::{Timestamp, finding::printable};
use ringfence_trust::entropy::{self, SystemEntropy};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    PersonId, Status,
    people::{NOBODY, SETUP_NAME, display_name, new_id},
    rows::{Members, PersonRow},
};
use crate::{
    act::{Act, Effect, Reach},
    bundle::canonical,
    error::EngineError,
    vault::Vault,
};

/// Most groups of a directory.
pub const GROUPS_MAX: usize = 1_000;
/// Most groups that one person is in.
pub const GROUPS_EACH_MAX: usize = 256;
/// Longest name of a group, and longest id that a directory has for something, in characters.
const NAME_CHARS_MAX: usize = 256;
/// People that change with one entry of the trail.
const PEOPLE_PER_ENTRY: usize = 100;

/// What a directory told of a person.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct DirectoryRow {
    /// Its own id for them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) external_id: Option<String>,
    /// Ids of the groups that it put them into.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub(crate) groups: BTreeSet<String>,
    /// Roles that these groups gave, and that the person had not before.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub(crate) granted: BTreeSet<Role>,
    /// It was the directory that shut them out; whom people shut out, it does not let in again.
    #[serde(default, skip_serializing_if = "is_not")]
    pub(crate) shut_out: bool,
    /// The directory has deleted them: it sees them no more, and may bring in the same name anew.
    #[serde(default, skip_serializing_if = "is_not")]
    pub(crate) deleted: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn is_not(flag: &bool) -> bool {
    !*flag
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct GroupRow {
    id: String,
    name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    external_id: Option<String>,
    since: Timestamp,
}

/// A person, as a directory sees them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirectoryUser {
    /// Our id.
    pub id: PersonId,
    /// The name to log in with.
    pub name: String,
    /// What people call them.
    pub display: String,
    /// The directory's id.
    pub external_id: Option<String>,
    /// Not shut out.
    pub active: bool,
    /// The groups that the directory put them into: id and name.
    pub groups: Vec<(String, String)>,
    /// Since when they are known.
    pub since: Timestamp,
}

/// A group, as a directory sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirectoryGroup {
    /// Our id.
    pub id: String,
    /// Its name, by which roles are given.
    pub name: String,
    /// The directory's id.
    pub external_id: Option<String>,
    /// Who is in it: id and what people call them.
    pub members: Vec<(PersonId, String)>,
    /// Since when it is known.
    pub since: Timestamp,
}

/// Which people, or which groups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Named {
    /// All of them.
    All,
    /// With this id of ours.
    Id(String),
    /// With this name: to log in with, or of the group.
    Name(String),
    /// With this id of the directory's.
    External(String),
}

/// What is to be different about a person. Absent: as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UserChange {
    /// The name to log in with.
    pub name: Option<String>,
    /// What people call them.
    pub display: Option<String>,
    /// The directory's id; the inner absence takes it away.
    pub external_id: Option<Option<String>>,
    /// Whether they are let in.
    pub active: Option<bool>,
}

/// What is to be different about a group. Absent: as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GroupChange {
    /// Its name.
    pub name: Option<String>,
    /// The directory's id; the inner absence takes it away.
    pub external_id: Option<Option<String>>,
    /// Exactly these are in it, before `add` and `remove` are looked at.
    pub only: Option<BTreeSet<String>>,
    /// These come in.
    pub add: BTreeSet<String>,
    /// These leave.
    pub remove: BTreeSet<String>,
}

impl Vault<'_> {
    /// The people whom `which` names, by name; programs are nobody's to provision.
    pub fn directory_users(&self, which: &Named) -> Result<Vec<DirectoryUser>, EngineError> {
        self.directory_looks("people")?;
        let (members, groups) = (self.members_now()?, self.groups()?);
        let fits = |row: &&PersonRow| match which {
            Named::All => true,
            Named::Id(id) => row.id.as_str() == id,
            Named::Name(name) => row.name == name.trim().to_lowercase(),
            Named::External(id) => external_id(row).as_ref() == Some(id),
        };
        let mut users: Vec<DirectoryUser> =
            members.people.values().filter(|row| is_person(row)).filter(fits).map(|row| user(row, &groups)).collect();
        users.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(users)
    }

    /// Brings somebody in. They have no factor and no way to one until a person invites them, or a login provider that is
    /// configured vouches for them.
    ///
    /// # Errors
    /// [`EngineError::Usage`] for a name that is none; [`EngineError::Taken`] for one that somebody has.
    pub fn directory_brings(&self, new: &UserChange) -> Result<DirectoryUser, EngineError> {
        self.may(Action::Provision, Some(NOBODY), "somebody new")?;
        let _turn = self.team.factor_turn();
        let typed = new.name.as_deref().unwrap_or_default();
        let deleted = self.members_now()?.named(&typed.trim().to_lowercase()).filter(|row| is_deleted(row)).cloned();
        if let Some(mut row) = deleted {
            row.directory.get_or_insert_default().deleted = false;
            return self.change_person("bring in again", row, new);
        }
        let name = self.free_name(typed)?.as_str().to_owned();
        let display = new.display.as_deref().unwrap_or(typed);
        let program = PersonId(self.caller.person.id.clone());
        let directory = DirectoryRow {
            external_id: bounded(new.external_id.clone().flatten())?,
            shut_out: new.active == Some(false),
            ..DirectoryRow::default()
        };
        let row = PersonRow {
            id: new_id(),
            display: display_name(display)?,
            name,
            kind: PersonKind::Human,
            status: if new.active == Some(false) { Status::Disabled } else { Status::Invited },
            roles: BTreeSet::new(),
            since: (self.settings.now)(),
            by: Some(program),
            owes: BTreeSet::new(),
            invitation: None,
            passkeys: Vec::new(),
            keys: Vec::new(),
            password: None,
            totp: None,
            recovery: None,
            federated: Vec::new(),
            directory: Some(directory),
        };
        let asked = json!({"what": "bring in", "person": row.id, "name": row.name});
        self.provision(&row.id.0, &row.name, asked, std::slice::from_ref(&row), Vec::new())?;
        Ok(user(&row, &self.groups()?))
    }

    /// Changes what the directory says of somebody.
    ///
    /// # Errors
    /// [`EngineError::NotFound`]; [`EngineError::Refused`] about an owner; [`EngineError::Usage`].
    pub fn directory_changes(&self, id: &str, change: &UserChange) -> Result<DirectoryUser, EngineError> {
        let _turn = self.team.factor_turn();
        let row = self.provisioned(id)?;
        self.change_person("change", row, change)
    }

    fn change_person(&self, what: &str, mut row: PersonRow, change: &UserChange) -> Result<DirectoryUser, EngineError> {
        let before = self.someone(&row.id)?;
        if let Some(name) = change.name.as_deref().filter(|name| name.trim().to_lowercase() != row.name) {
            self.free_name(name)?.as_str().clone_into(&mut row.name);
        }
        if let Some(display) = &change.display {
            row.display = display_name(display)?;
        }
        if let Some(external) = &change.external_id {
            row.directory.get_or_insert_default().external_id = bounded(external.clone())?;
        }
        let shut_out = row.directory.as_ref().is_some_and(|told| told.shut_out);
        match change.active {
            Some(false) if row.status != Status::Disabled => shut(&mut row),
            Some(true) if row.status == Status::Disabled && shut_out => {
                let complete = row.factors().standing() == Standing::Full;
                row.status = if complete { Status::Active } else { Status::Invited };
                row.directory.get_or_insert_default().shut_out = false;
            }
            _ => {}
        }
        // What changes nothing is an entry too: whoever asks is told of somebody.
        let changed = canonical(&row)? != canonical(&before)?;
        let rows = if changed { std::slice::from_ref(&row) } else { &[] };
        let asked =
            json!({"what": what, "person": row.id, "name": row.name, "display": row.display, "status": row.status});
        self.provision(&row.id.0, &row.name, asked, rows, Vec::new())?;
        Ok(user(&row, &self.groups()?))
    }

    /// Shuts somebody out whom the directory has deleted, and takes the roles that its groups gave. Who they were stays
    /// known: the trail names them.
    ///
    /// # Errors
    /// As for [`Vault::directory_changes`].
    pub fn directory_removes(&self, id: &str) -> Result<(), EngineError> {
        let _turn = self.team.factor_turn();
        let mut row = self.provisioned(id)?;
        if row.status != Status::Disabled {
            shut(&mut row);
        }
        let told = row.directory.get_or_insert_default();
        let granted = std::mem::take(&mut told.granted);
        told.groups.clear();
        told.deleted = true;
        row.roles.retain(|role| !granted.contains(role));
        let asked = json!({"what": "remove", "person": row.id, "name": row.name});
        self.provision(&row.id.0, &row.name, asked, std::slice::from_ref(&row), Vec::new())
    }

    /// The groups that `which` names, by name.
    pub fn directory_groups(&self, which: &Named) -> Result<Vec<DirectoryGroup>, EngineError> {
        self.directory_looks("groups")?;
        let members = self.members_now()?;
        let groups = self.groups()?;
        let fits = |row: &&GroupRow| match which {
            Named::All => true,
            Named::Id(id) => row.id == *id,
            Named::Name(name) => row.name == *name,
            Named::External(id) => row.external_id.as_ref() == Some(id),
        };
        let mut found: Vec<DirectoryGroup> = groups.values().filter(fits).map(|row| group(row, &members)).collect();
        found.sort_by(|a, b| (&a.name, &a.id).cmp(&(&b.name, &b.id)));
        Ok(found)
    }

    /// Makes a group.
    ///
    /// # Errors
    /// [`EngineError::Taken`] where one has this name; [`EngineError::NotFound`] for members that are nobody.
    pub fn directory_groups_people(&self, new: &GroupChange) -> Result<DirectoryGroup, EngineError> {
        self.may(Action::Provision, Some(NOBODY), "a new group")?;
        let _turn = self.team.factor_turn();
        let groups = self.groups()?;
        if groups.len() >= GROUPS_MAX {
            return Err(EngineError::Usage { what: format!("there are {GROUPS_MAX} groups already") });
        }
        let bytes: [u8; 8] = entropy::bytes(&mut SystemEntropy::new());
        let row = GroupRow {
            id: format!("d-{}", ringfence_schema::digest::hex(&bytes)),
            name: String::new(),
            external_id: None,
            since: (self.settings.now)(),
        };
        self.keep_group("make group", None, row, new, &groups)
    }

    /// Changes a group, or who is in it.
    ///
    /// # Errors
    /// As for [`Vault::directory_groups_people`].
    pub fn directory_regroups(&self, id: &str, change: &GroupChange) -> Result<DirectoryGroup, EngineError> {
        self.may(Action::Provision, Some(NOBODY), "a group")?;
        let _turn = self.team.factor_turn();
        let groups = self.groups()?;
        let row = groups.get(id).cloned().ok_or_else(|| no_group(id))?;
        self.keep_group("change group", Some(row.clone()), row, change, &groups)
    }

    /// Takes a group away; whoever is in it loses the roles that it gave.
    ///
    /// # Errors
    /// [`EngineError::NotFound`].
    pub fn directory_ungroups(&self, id: &str) -> Result<(), EngineError> {
        self.may(Action::Provision, Some(NOBODY), "a group")?;
        let _turn = self.team.factor_turn();
        let groups = self.groups()?;
        let row = groups.get(id).cloned().ok_or_else(|| no_group(id))?;
        let members = self.members_now()?;
        let leave: BTreeSet<String> = in_group(&members, id).map(|row| row.id.0.clone()).collect();
        // First nobody has a role by it any more, then it is gone.
        let rows = self.moved(&members, &groups, &row, &BTreeSet::new(), &leave)?;
        self.provision_all("empty group", &row, &rows)?;
        let gone = RowChange { table: Table::Group, key: self.row_key(&group_name(id)), value: None };
        self.provision(NOBODY, &row.name, json!({"what": "remove group", "group": row.id}), &[], vec![gone])
    }

    /// Keeps a group and moves people in and out.
    fn keep_group(
        &self,
        what: &str,
        before: Option<GroupRow>,
        mut row: GroupRow,
        change: &GroupChange,
        groups: &BTreeMap<String, GroupRow>,
    ) -> Result<DirectoryGroup, EngineError> {
        if let Some(name) = &change.name {
            row.name = group_text(name)?;
        }
        if let Some(external) = &change.external_id {
            row.external_id = bounded(external.clone())?;
        }
        group_text(&row.name)?;
        if groups.values().any(|other| other.id != row.id && other.name == row.name) {
            return Err(EngineError::Taken { what: "group", name: row.name });
        }
        let members = self.members_now()?;
        let inside: BTreeSet<String> = in_group(&members, &row.id).map(|row| row.id.0.clone()).collect();
        let wanted = change.only.clone().unwrap_or_else(|| inside.clone());
        let wanted: BTreeSet<String> =
            wanted.union(&change.add).filter(|id| !change.remove.contains(*id)).cloned().collect();
        let known = |id: &String| members.people.get(&PersonId(id.clone())).is_some_and(is_person);
        if let Some(nobody) = wanted.iter().find(|id| !known(id)) {
            return Err(EngineError::NotFound { what: "person", name: printable(nobody, 40) });
        }
        let mut after = groups.clone();
        after.insert(row.id.clone(), row.clone());
        let enter: BTreeSet<String> = wanted.difference(&inside).cloned().collect();
        let leave: BTreeSet<String> = inside.difference(&wanted).cloned().collect();
        let people = self.moved(&members, &after, &row, &enter, &leave)?;
        let changed = before.as_ref() != Some(&row);
        let kept = changed.then(|| self.seal_row(Table::Group, &group_name(&row.id), &canonical(&row)?)).transpose()?;
        let asked = json!({"what": what, "group": row.id, "name": row.name});
        self.provision(NOBODY, &row.name, asked, &[], kept.into_iter().collect())?;
        self.provision_all("move people", &row, &people)?;
        Ok(group(&row, &*self.members_now()?))
    }

    /// The rows of those who change with `group`: they enter, they leave, or what it gives them is another.
    fn moved(
        &self,
        members: &Members,
        groups: &BTreeMap<String, GroupRow>,
        group: &GroupRow,
        enter: &BTreeSet<String>,
        leave: &BTreeSet<String>,
    ) -> Result<Vec<PersonRow>, EngineError> {
        let mapping = self.directory_roles()?;
        let mut changed = Vec::new();
        for before in members.people.values().filter(|row| is_person(row)) {
            let inside = before.directory.as_ref().is_some_and(|told| told.groups.contains(&group.id));
            if !inside && !enter.contains(before.id.as_str()) {
                continue;
            }
            let mut row = before.clone();
            let told = row.directory.get_or_insert_default();
            if leave.contains(before.id.as_str()) {
                told.groups.remove(&group.id);
            } else {
                told.groups.insert(group.id.clone());
            }
            if told.groups.len() > GROUPS_EACH_MAX {
                return Err(EngineError::Usage { what: format!("nobody is in more than {GROUPS_EACH_MAX} groups") });
            }
            let names = told.groups.iter().filter_map(|id| groups.get(id));
            let given: BTreeSet<Role> = names.filter_map(|group| mapping.get(&group.name)).flatten().copied().collect();
            // An owner is a member like others, and is given and denied nothing by it.
            let given = if before.roles.contains(&Role::Owner) { BTreeSet::new() } else { given };
            let own: BTreeSet<Role> = before.roles.difference(&told.granted).copied().collect();
            told.granted = given.difference(&own).copied().collect();
            row.roles = own.union(&told.granted).copied().collect();
            if canonical(&row)? != canonical(before)? {
                changed.push(row);
            }
        }
        Ok(changed)
    }

    /// That a directory looks is recorded like any look at people.
    fn directory_looks(&self, what: &str) -> Result<(), EngineError> {
        self.provision(NOBODY, what, json!({"what": "look", "at": what}), &[], Vec::new())
    }

    /// The row of somebody whom a directory may change.
    fn provisioned(&self, id: &str) -> Result<PersonRow, EngineError> {
        self.may(Action::Provision, Some(NOBODY), "somebody")?;
        let row = self.someone(&PersonId::from(id)).ok().filter(is_person);
        let row = row.ok_or_else(|| EngineError::NotFound { what: "person", name: printable(id, 40) })?;
        if row.roles.contains(&Role::Owner) {
            let says = "a directory changes nothing about an owner: people do".to_owned();
            self.deny(Action::Provision, &row.name, &says)?;
            return Err(EngineError::Refused {
                gate: Action::Provision.name(),
                subject: row.name,
                reasons: vec![says],
            });
        }
        Ok(row)
    }

    fn provision_all(&self, what: &str, group: &GroupRow, rows: &[PersonRow]) -> Result<(), EngineError> {
        for some in rows.chunks(PEOPLE_PER_ENTRY) {
            let people: Vec<Value> = some.iter().map(|row| json!({"person": row.id, "roles": row.roles})).collect();
            let asked = json!({"what": what, "group": group.id, "people": people});
            self.provision(NOBODY, &group.name, asked, some, Vec::new())?;
        }
        Ok(())
    }

    /// The one act of this module: rows change, and whoever is shut out has nothing left to act with.
    fn provision(
        &self,
        about: &str,
        subject: &str,
        request: Value,
        people: &[PersonRow],
        others: Vec<RowChange>,
    ) -> Result<(), EngineError> {
        let act = Act {
            action: Action::Provision,
            resources: vec![Resource::Vault],
            facts: Facts { about: Some(about.to_owned()), ..Facts::default() },
            request,
            subject: subject.to_owned(),
            reach: Reach::Inside,
        };
        let members = self.members()?;
        self.act(act, || {
            let mut effect = Effect::of(());
            effect.rows = others;
            for row in people {
                effect.rows.push(self.person_row(row)?);
                if row.status == Status::Disabled {
                    self.end_all(&members, &row.id, &mut effect);
                }
            }
            Ok(effect)
        })?;
        Ok(())
    }

    fn groups(&self) -> Result<BTreeMap<String, GroupRow>, EngineError> {
        let rows = self.read_table::<GroupRow>(Table::Group, |row| group_name(&row.id))?;
        Ok(rows.into_iter().map(|row| (row.id.clone(), row)).collect())
    }
}

fn is_person(row: &PersonRow) -> bool {
    row.kind == PersonKind::Human && row.name != SETUP_NAME && !is_deleted(row)
}

fn is_deleted(row: &PersonRow) -> bool {
    row.directory.as_ref().is_some_and(|told| told.deleted)
}

fn shut(row: &mut PersonRow) {
    (row.status, row.invitation) = (Status::Disabled, None);
    row.directory.get_or_insert_default().shut_out = true;
}

fn in_group<'m>(members: &'m Members, id: &str) -> impl Iterator<Item = &'m PersonRow> {
    members.people.values().filter(move |row| row.directory.as_ref().is_some_and(|told| told.groups.contains(id)))
}

fn external_id(row: &PersonRow) -> Option<String> {
    row.directory.as_ref().and_then(|told| told.external_id.clone())
}

fn user(row: &PersonRow, groups: &BTreeMap<String, GroupRow>) -> DirectoryUser {
    let told = row.directory.iter().flat_map(|told| &told.groups);
    DirectoryUser {
        id: row.id.clone(),
        name: row.name.clone(),
        display: row.display.clone(),
        external_id: external_id(row),
        active: row.status != Status::Disabled,
        groups: told.filter_map(|id| Some((id.clone(), groups.get(id)?.name.clone()))).collect(),
        since: row.since,
    }
}

fn group(row: &GroupRow, members: &Members) -> DirectoryGroup {
    let inside = in_group(members, &row.id).map(|row| (row.id.clone(), row.display.clone()));
    DirectoryGroup {
        id: row.id.clone(),
        name: row.name.clone(),
        external_id: row.external_id.clone(),
        members: inside.collect(),
        since: row.since,
    }
}

fn no_group(id: &str) -> EngineError {
    EngineError::NotFound { what: "group", name: printable(id, 40) }
}

fn group_name(id: &str) -> String {
    format!("group/{id}")
}

/// The name of a group: one line of visible characters.
fn group_text(typed: &str) -> Result<String, EngineError> {
    let name = bounded(Some(typed.trim().to_owned()).filter(|name| !name.is_empty()))?;
    name.ok_or_else(|| EngineError::Usage { what: "a group has a name".to_owned() })
}

/// A text of the directory's, within its limits.
fn bounded(text: Option<String>) -> Result<Option<String>, EngineError> {
    let fits = |text: &String| text.chars().count() <= NAME_CHARS_MAX && !text.chars().any(char::is_control);
    match text {
        Some(text) if !fits(&text) => Err(EngineError::Usage {
            what: format!(
                "names and ids of a directory have at most {NAME_CHARS_MAX} characters, none of them for control"
            ),
        }),
        text => Ok(text),
    }
}
