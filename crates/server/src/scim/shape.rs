//! Documents of a directory, read into what the engine is asked for: whole people and groups, and patches of them.
//!
//! Directories differ in how they write the same thing: `Replace` or `replace`, `"False"` or `false`, a path or an object
//! without one, members by value or by a filter in the path. All of that is read (RFC 7644, section 3.5.2, and what Okta and
//! Entra ID send); what means nothing here is read past, and what cannot be done is refused in SCIM's words.

#![deny(clippy::indexing_slicing)]

use std::collections::BTreeSet;

use ringfence_engine::team::directory::{GroupChange, UserChange};
use serde_json::{Map, Value};

use super::{Fault, query::plain};
use crate::problem::Kind;

/// Most operations of one patch.
pub const OPERATIONS_MAX: usize = 1_000;
/// Most members that one document names.
pub const MEMBERS_MAX: usize = 5_000;
/// Longest value that is looked at, in bytes; names have limits of their own in the engine.
const TEXT_BYTES_MAX: usize = 2_048;

/// Attributes of RFC 7643 that mean nothing here, in lower case. Among them are `password` and `roles`: neither lets anybody
/// in, or do more.
const READ_PAST: [&str; 22] = [
    "name",
    "nickname",
    "profileurl",
    "title",
    "usertype",
    "preferredlanguage",
    "locale",
    "timezone",
    "password",
    "emails",
    "phonenumbers",
    "ims",
    "photos",
    "addresses",
    "groups",
    "entitlements",
    "roles",
    "x509certificates",
    "id",
    "meta",
    "schemas",
    "department",
];
/// Extensions of the schema, in lower case.
const EXTENSIONS: &str = "urn:ietf:params:scim:schemas:extension:";

fn value_fault(says: &'static str) -> Fault {
    Fault::new(Kind::Malformed, "invalidValue", says)
}

fn syntax_fault(says: &'static str) -> Fault {
    Fault::new(Kind::Malformed, "invalidSyntax", says)
}

fn path_fault() -> Fault {
    Fault::new(Kind::Malformed, "invalidPath", "the patch names an attribute that is not known here")
}

fn object(document: &Value) -> Result<&Map<String, Value>, Fault> {
    document.as_object().ok_or_else(|| syntax_fault("the document is not an object"))
}

/// An attribute by its name, whatever its case (RFC 7643, section 2.1).
fn attribute<'v>(fields: &'v Map<String, Value>, name: &str) -> Option<&'v Value> {
    let found = fields.iter().find(|(known, _)| plain(known).eq_ignore_ascii_case(name));
    found.map(|(_, value)| value).filter(|value| !value.is_null())
}

fn text(value: &Value) -> Result<String, Fault> {
    let text = value.as_str().ok_or_else(|| value_fault("a text was expected"))?;
    if text.len() > TEXT_BYTES_MAX { Err(value_fault("a text is too long")) } else { Ok(text.to_owned()) }
}

fn truth(value: &Value) -> Result<bool, Fault> {
    match value {
        Value::Bool(said) => Ok(*said),
        // Entra ID writes truth values as text.
        Value::String(said) if said.eq_ignore_ascii_case("true") => Ok(true),
        Value::String(said) if said.eq_ignore_ascii_case("false") => Ok(false),
        _ => Err(value_fault("`active` is true or false")),
    }
}

/// A whole person.
///
/// # Errors
/// A [`Fault`] where `userName` is missing or a value is not of its kind.
pub fn user(document: &Value) -> Result<UserChange, Fault> {
    let fields = object(document)?;
    let mut change = UserChange::default();
    let name = attribute(fields, "userName").ok_or_else(|| value_fault("`userName` is missing"))?;
    change.name = Some(text(name)?);
    change.display = match attribute(fields, "displayName") {
        Some(display) => Some(text(display)?),
        None => attribute(fields, "name").and_then(Value::as_object).map(full_name).transpose()?.flatten(),
    };
    change.external_id = attribute(fields, "externalId").map(text).transpose()?.map(Some);
    change.active = attribute(fields, "active").map(truth).transpose()?;
    Ok(change)
}

/// `name.formatted`, or the given name before the family's.
fn full_name(name: &Map<String, Value>) -> Result<Option<String>, Fault> {
    if let Some(whole) = attribute(name, "formatted") {
        return text(whole).map(|whole| Some(whole).filter(|whole| !whole.trim().is_empty()));
    }
    let part = |key: &str| attribute(name, key).map(text).transpose();
    let parts: Vec<String> = [part("givenName")?, part("familyName")?].into_iter().flatten().collect();
    Ok(Some(parts.join(" ")).filter(|whole| !whole.trim().is_empty()))
}

/// A whole group.
///
/// # Errors
/// A [`Fault`] where `displayName` is missing or a value is not of its kind.
pub fn group(document: &Value) -> Result<GroupChange, Fault> {
    let fields = object(document)?;
    let name = attribute(fields, "displayName").ok_or_else(|| value_fault("`displayName` is missing"))?;
    Ok(GroupChange {
        name: Some(text(name)?),
        external_id: attribute(fields, "externalId").map(text).transpose()?.map(Some),
        only: attribute(fields, "members").map(members).transpose()?,
        ..GroupChange::default()
    })
}

/// Ids of members: an array of `{"value": id}`, or one of them.
fn members(value: &Value) -> Result<BTreeSet<String>, Fault> {
    let one = |member: &Value| -> Result<String, Fault> {
        let id = member.as_object().and_then(|member| attribute(member, "value")).unwrap_or(member);
        text(id)
    };
    match value {
        Value::Array(list) if list.len() > MEMBERS_MAX => Err(value_fault("too many members at once")),
        Value::Array(list) => list.iter().map(one).collect(),
        single => Ok(BTreeSet::from([one(single)?])),
    }
}

/// What an operation does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verb {
    Add,
    Replace,
    Remove,
}

/// One operation: what, where in lower case, with what.
struct Operation<'v> {
    verb: Verb,
    path: Option<&'v str>,
    value: Option<&'v Value>,
}

fn operations(document: &Value) -> Result<Vec<Operation<'_>>, Fault> {
    let list = attribute(object(document)?, "Operations").and_then(Value::as_array);
    let list = list.ok_or_else(|| syntax_fault("`Operations` is missing"))?;
    if list.len() > OPERATIONS_MAX {
        return Err(value_fault("too many operations at once"));
    }
    list.iter()
        .map(|operation| {
            let fields = object(operation)?;
            let verb = attribute(fields, "op").and_then(Value::as_str).unwrap_or_default().to_ascii_lowercase();
            let verb = match verb.as_str() {
                "add" => Verb::Add,
                "replace" => Verb::Replace,
                "remove" => Verb::Remove,
                _ => return Err(syntax_fault("an operation is `add`, `replace` or `remove`")),
            };
            let path = match attribute(fields, "path") {
                Some(path) => Some(path.as_str().ok_or_else(path_fault)?.trim()),
                None => None,
            };
            if path.is_some_and(|path| path.len() > TEXT_BYTES_MAX) {
                return Err(path_fault());
            }
            Ok(Operation { verb, path, value: attribute(fields, "value") })
        })
        .collect()
}

/// Whether an attribute is one that means nothing here.
fn is_read_past(path: &str) -> bool {
    let path = path.to_ascii_lowercase();
    let top = path.split(['.', '[']).next().unwrap_or_default();
    path.starts_with(EXTENSIONS) || READ_PAST.contains(&top)
}

/// What a patch changes about a person.
///
/// # Errors
/// A [`Fault`] where it is no patch, names an attribute that is not known, or takes away what must be there.
pub fn patched_user(document: &Value) -> Result<UserChange, Fault> {
    let mut change = UserChange::default();
    for Operation { verb, path, value } in operations(document)? {
        match (path, value) {
            (Some(path), value) => patch_user(&mut change, verb, path, value)?,
            (None, Some(Value::Object(fields))) if verb != Verb::Remove => {
                for (path, value) in fields {
                    patch_user(&mut change, verb, path, Some(value))?;
                }
            }
            _ => {
                return Err(Fault::new(
                    Kind::Malformed,
                    "noTarget",
                    "an operation without a path has an object as its value",
                ));
            }
        }
    }
    Ok(change)
}

fn patch_user(change: &mut UserChange, verb: Verb, path: &str, value: Option<&Value>) -> Result<(), Fault> {
    let name = plain(path).to_ascii_lowercase();
    let needed = || value.ok_or_else(|| value_fault("an operation has no value"));
    let stays = || Fault::new(Kind::Malformed, "mutability", "this attribute cannot be taken away");
    match (name.as_str(), verb) {
        ("username" | "displayname" | "active", Verb::Remove) => Err(stays()),
        ("username", _) => text(needed()?).map(|name| change.name = Some(name)),
        ("displayname", _) => text(needed()?).map(|display| change.display = Some(display)),
        ("active", _) => truth(needed()?).map(|active| change.active = Some(active)),
        ("externalid", Verb::Remove) => {
            change.external_id = Some(None);
            Ok(())
        }
        ("externalid", _) => text(needed()?).map(|id| change.external_id = Some(Some(id))),
        _ if is_read_past(&name) => Ok(()),
        _ => Err(path_fault()),
    }
}

/// What a patch changes about a group, operation after operation.
///
/// # Errors
/// As for [`patched_user`].
pub fn patched_group(document: &Value) -> Result<GroupChange, Fault> {
    let mut change = GroupChange::default();
    for Operation { verb, path, value } in operations(document)? {
        match (path, value) {
            (Some(path), value) => patch_group(&mut change, verb, path, value)?,
            (None, Some(Value::Object(fields))) if verb != Verb::Remove => {
                for (path, value) in fields {
                    patch_group(&mut change, verb, path, Some(value))?;
                }
            }
            _ => {
                return Err(Fault::new(
                    Kind::Malformed,
                    "noTarget",
                    "an operation without a path has an object as its value",
                ));
            }
        }
    }
    if change.add.len().max(change.remove.len()) > MEMBERS_MAX {
        return Err(value_fault("too many members at once"));
    }
    Ok(change)
}

fn patch_group(change: &mut GroupChange, verb: Verb, path: &str, value: Option<&Value>) -> Result<(), Fault> {
    let bare = plain(path);
    let needed = || value.ok_or_else(|| value_fault("an operation has no value"));
    if let Some(id) = member_of(bare)? {
        if verb != Verb::Remove {
            return Err(path_fault());
        }
        leave(change, BTreeSet::from([id]));
        return Ok(());
    }
    match (bare.to_ascii_lowercase().as_str(), verb) {
        ("displayname", Verb::Remove) => {
            Err(Fault::new(Kind::Malformed, "mutability", "this attribute cannot be taken away"))
        }
        ("displayname", _) => text(needed()?).map(|name| change.name = Some(name)),
        ("externalid", Verb::Remove) => {
            change.external_id = Some(None);
            Ok(())
        }
        ("externalid", _) => text(needed()?).map(|id| change.external_id = Some(Some(id))),
        ("members", Verb::Add) => {
            let ids = members(needed()?)?;
            change.remove.retain(|id| !ids.contains(id));
            change.add.extend(ids);
            Ok(())
        }
        ("members", Verb::Remove) => {
            match value {
                Some(value) => leave(change, members(value)?),
                None => only(change, BTreeSet::new()),
            }
            Ok(())
        }
        ("members", Verb::Replace) => {
            only(change, members(needed()?)?);
            Ok(())
        }
        (name, _) if is_read_past(name) => Ok(()),
        _ => Err(path_fault()),
    }
}

fn leave(change: &mut GroupChange, ids: BTreeSet<String>) {
    change.add.retain(|id| !ids.contains(id));
    change.remove.extend(ids);
}

fn only(change: &mut GroupChange, ids: BTreeSet<String>) {
    (change.only, change.add, change.remove) = (Some(ids), BTreeSet::new(), BTreeSet::new());
}

/// The id in `members[value eq "…"]`, where the path is of that form.
fn member_of(path: &str) -> Result<Option<String>, Fault> {
    let Some((head, rest)) = path.split_once('[') else { return Ok(None) };
    if !head.trim().eq_ignore_ascii_case("members") {
        return Ok(None);
    }
    let inside = rest.strip_suffix(']').ok_or_else(path_fault)?.trim();
    let mut words = inside.splitn(3, ' ');
    let (Some(attribute), Some(operator), Some(value)) = (words.next(), words.next(), words.next()) else {
        return Err(path_fault());
    };
    if !attribute.eq_ignore_ascii_case("value") || !operator.eq_ignore_ascii_case("eq") {
        return Err(path_fault());
    }
    serde_json::from_str(value.trim()).map(Some).map_err(|_| path_fault())
}
