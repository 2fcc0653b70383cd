//! Erasing what the vault knows of a person, while every proof stays valid.
//!
//! Entries hold personal fields as salted commitments; the salts and values lie sealed beside them. [`Vault::erase_person`]
//! takes out the fields that tell of the person and seals what is left anew: the leaf stays, the commitment says nothing
//! without its salt, and a deciding row lists the entry, so that `trail verify` tells erasing from tampering. The row of
//! the person keeps the opaque id, by which the trail goes on to tell who did what.
//!
//! What goes: from where the person's own entries came ([`FROM`]); fields of any entry in which a text is the person's name
//! to log in with, the name that people call them, or another provider's name for them; in entries by or about the person
//! also texts in which one of these stands as a word, and requests about them, with the reasons that others gave. What stays:
//! ids, moments, actions, decisions, artifacts. Backups and exports that were made before keep what they hold.

use std::collections::{BTreeMap, BTreeSet};

use ringfence_access::Action;
use ringfence_catalog::StoredEntry;
use ringfence_schema::trail::{Opening, Salted};
use serde::Serialize;
use serde_json::{Value, json};

use super::{PersonId, PersonView, Status, rows::PersonRow};
use crate::{
    act::{Effect, FROM},
    error::EngineError,
    vault::{Vault, catalog_error},
};

/// Fields in which people are named.
const NAMING: [&str; 4] = ["subject", "request", "result", "error"];
/// Most entries that are read for one act of erasing.
const PAGE: u64 = 4_096;
/// What stands before the name of somebody whom others looked up.
const LOOKED_AT: &str = "person ";
/// What people call somebody who was erased.
const ERASED: &str = "erased";

/// What was erased.
#[derive(Debug, Clone, Serialize)]
pub struct Erased {
    /// What is left of the person.
    pub person: PersonView,
    /// Of how many entries fields were erased.
    pub entries: u64,
    /// How many fields.
    pub fields: u64,
}

impl Vault<'_> {
    /// Shuts a person out, erases the personal fields of all entries that tell of them, and their names and factors. It
    /// cannot be undone. Interrupted, it goes on where it was when it is called again.
    ///
    /// # Errors
    /// [`EngineError::Refused`] for whoever may not appoint people; [`EngineError::Usage`] for the last owner, and for a
    /// reason that names the person.
    pub fn erase_person(&self, who: &PersonId, reason: &str) -> Result<Erased, EngineError> {
        let row = self.appointee(who)?;
        let names = Names::of(&row);
        if names.named_in(reason, true) {
            return Err(EngineError::Usage { what: "the reason stays: say it without the person's name".to_owned() });
        }
        if row.status != Status::Disabled {
            // First, so that nothing of theirs comes after what is erased; what this records of them is erased below.
            self.disable(who, reason)?;
        }
        let size = self.catalog.size().map_err(|error| catalog_error(&error))?;
        let (mut entries, mut fields, mut from) = (0, 0, 0);
        while from < size {
            let to = size.min(from + PAGE);
            let Without { left, fields: gone } = self.without(&names, from, to)?;
            if !left.is_empty() {
                (entries, fields) = (entries + left.len() as u64, fields + gone);
                let detail = json!({"reason": reason, "first": from, "last": to - 1, "entries": left.len()});
                let mut act = Self::appointment("erase fields", &row, detail);
                who.as_str().clone_into(&mut act.subject);
                self.act(act, || {
                    let mut effect = Effect::of(());
                    effect.erased = left;
                    Ok(effect)
                })?;
            }
            from = to;
        }
        let row = nameless(row);
        let detail = json!({"reason": reason, "entries": entries, "fields": fields});
        let mut act = Self::appointment("erase", &row, detail);
        who.as_str().clone_into(&mut act.subject);
        self.act(act, || {
            let mut effect = Effect::of(());
            effect.rows.push(self.person_row(&row)?);
            effect.openings.insert("result".to_owned(), json!({"person": row.id, "fields": fields}));
            Ok(effect)
        })?;
        Ok(Erased { person: row.view(), entries, fields })
    }

    /// What is to be left beside those entries from `from` to `to` that tell of the person, and how many fields go.
    fn without(&self, names: &Names, from: u64, to: u64) -> Result<Without, EngineError> {
        let mut without = Without::default();
        for stored in self.catalog.entries(from..to).map_err(|error| catalog_error(&error))? {
            let openings = self.opened(&stored)?;
            let telling = names.told_by(&stored, &openings);
            if telling.is_empty() {
                continue;
            }
            without.fields += telling.len() as u64;
            let mut salted = Salted::default();
            for (name, opening) in openings.iter().filter(|(name, _)| !telling.contains(name.as_str())) {
                salted.keep(name, opening).map_err(|error| EngineError::incomplete("trail entry", error))?;
            }
            let opened = salted.openings().map_err(|error| EngineError::incomplete("trail entry", error))?;
            without.left.push((stored.index, self.seal_openings(&opened)?));
        }
        Ok(without)
    }
}

/// What is left of a person: the id, since when, and who invited or reset them.
fn nameless(row: PersonRow) -> PersonRow {
    PersonRow {
        name: row.id.as_str().to_owned(),
        display: ERASED.to_owned(),
        status: Status::Disabled,
        roles: BTreeSet::new(),
        invitation: None,
        passkeys: Vec::new(),
        keys: Vec::new(),
        password: None,
        totp: None,
        recovery: None,
        federated: Vec::new(),
        ..row
    }
}

/// What entries are without the fields that tell of somebody.
#[derive(Default)]
struct Without {
    /// The sealed openings that are left, by entry.
    left: Vec<(u64, Vec<u8>)>,
    /// How many fields go.
    fields: u64,
}

/// By what a person is known.
struct Names {
    id: String,
    /// In lower case; none that is empty.
    names: BTreeSet<String>,
}

impl Names {
    fn of(row: &PersonRow) -> Self {
        let known = [&row.name, &row.display].into_iter().chain(row.federated.iter().map(|known| &known.subject));
        // Of somebody who was erased before, only entries that came since can tell where they came from.
        let told = known.filter(|name| !name.is_empty() && *name != row.id.as_str() && *name != ERASED);
        Self { id: row.id.as_str().to_owned(), names: told.map(|name| name.to_lowercase()).collect() }
    }

    /// The fields of an entry that tell of the person.
    fn told_by<'o>(&self, stored: &StoredEntry, openings: &'o BTreeMap<String, Opening>) -> BTreeSet<&'o str> {
        let by = stored.entry.actor == self.id;
        let request = openings.get("request").map(|opening| &opening.value);
        let about = request.is_some_and(|request| holds(request, &|text| text == self.id));
        let appointing = stored.entry.action == Action::Appoint.name();
        let tells = |(name, opening): (&'o String, &'o Opening)| {
            let told = match name.as_str() {
                FROM => by,
                // Names of people, and reasons that others wrote.
                "request" if about && appointing => true,
                name if NAMING.contains(&name) => holds(&opening.value, &|text| self.named_in(text, by || about)),
                _ => false,
            };
            told.then_some(name.as_str())
        };
        openings.iter().filter_map(tells).collect()
    }

    /// Whether a text is one of the names, or has one of them as a word.
    fn named_in(&self, text: &str, as_word: bool) -> bool {
        let text = text.to_lowercase();
        let looked_at = text.strip_prefix(LOOKED_AT).unwrap_or(&text);
        self.names.iter().any(|name| looked_at == name || (as_word && has_word(&text, name)))
    }
}

fn has_word(text: &str, word: &str) -> bool {
    let edge = |next: Option<char>| next.is_none_or(|next| !next.is_alphanumeric());
    text.match_indices(word).any(|(at, found)| {
        let (before, behind) = (text.get(..at).unwrap_or(""), text.get(at + found.len()..).unwrap_or(""));
        edge(before.chars().next_back()) && edge(behind.chars().next())
    })
}

/// Whether some text within a value is meant; values of openings were read with a bounded depth.
fn holds(value: &Value, meant: &dyn Fn(&str) -> bool) -> bool {
    match value {
        Value::String(text) => meant(text),
        Value::Array(items) => items.iter().any(|item| holds(item, meant)),
        Value::Object(fields) => fields.iter().any(|(name, value)| meant(name) || holds(value, meant)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::has_word;

    #[test]
    fn words_are_not_parts_of_words() {
        for (text, word, expected) in [
            ("ana", "ana", true),
            ("invite ana, please", "ana", true),
            ("banana", "ana", false),
            ("analysis of ana", "ana", true),
            ("élan ana-maria", "ana", true),
            ("", "ana", false),
        ] {
            assert_eq!(has_word(text, word), expected, "{text}");
        }
    }
}
