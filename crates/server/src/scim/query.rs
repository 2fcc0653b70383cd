//! Lists: which, from where on, how many, and with which attributes (RFC 7644, sections 3.4.2 and 3.9).
//!
//! Of the language of filters, one comparison with `eq` is offered: it is what directories use to find whom they know.

#![deny(clippy::indexing_slicing)]

use axum::{http::StatusCode, response::Response};
use ringfence_engine::team::directory::Named;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Fault, show};
use crate::problem::Kind;

/// Most resources of one answer.
pub(super) const COUNT_MAX: usize = 500;
/// Resources of an answer that asks for no number.
const COUNT_USUAL: usize = 100;
/// Longest filter, in bytes.
const FILTER_BYTES_MAX: usize = 1_024;

/// What can stand behind the question mark; what does not matter here is not refused.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Asked {
    filter: Option<String>,
    start_index: Option<i64>,
    count: Option<i64>,
    attributes: Option<String>,
    excluded_attributes: Option<String>,
}

/// What a list is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Of {
    /// People.
    Users,
    /// Groups.
    Groups,
}

/// One list.
#[derive(Debug)]
pub(super) struct List<'a> {
    pub(super) which: Named,
    start: usize,
    count: usize,
    asked: &'a Asked,
}

impl<'a> List<'a> {
    /// What `asked` asks for.
    pub(super) fn of(asked: &'a Asked, of: Of) -> Result<Self, Fault> {
        let which = asked.filter.as_deref().map_or(Ok(Named::All), |text| filter(text, of))?;
        // Numbers below the first page mean the first page (section 3.4.2.4).
        let number =
            |given: Option<i64>, usual: usize| given.map_or(usual, |given| usize::try_from(given).unwrap_or(0));
        let start = number(asked.start_index, 1).max(1);
        let count = number(asked.count, COUNT_USUAL).min(COUNT_MAX);
        Ok(Self { which, start, count, asked })
    }

    /// The page of `found` that was asked for.
    pub(super) fn answer<T>(&self, found: &[T], draw: impl Fn(&T) -> Value) -> Response {
        let page: Vec<Value> =
            found.iter().skip(self.start - 1).take(self.count).map(|one| project(draw(one), self.asked)).collect();
        let list = json!({
            "schemas": ["urn:ietf:params:scim:api:messages:2.0:ListResponse"],
            "totalResults": found.len(),
            "startIndex": self.start,
            "itemsPerPage": page.len(),
            "Resources": page,
        });
        show::document(StatusCode::OK, &list)
    }
}

/// One comparison: `userName eq "ana@example.org"`.
///
/// # Errors
/// A [`Fault`] for any other filter.
pub fn filter(text: &str, of: Of) -> Result<Named, Fault> {
    let odd = |says: &'static str| Fault::new(Kind::Malformed, "invalidFilter", says);
    if text.len() > FILTER_BYTES_MAX {
        return Err(odd("the filter is too long"));
    }
    let offered =
        "the filters that are offered compare one of `userName`, `displayName`, `externalId` and `id` by `eq`";
    let mut words = text.trim().splitn(3, ' ');
    let (Some(attribute), Some(operator), Some(value)) = (words.next(), words.next(), words.next()) else {
        return Err(odd(offered));
    };
    if !operator.eq_ignore_ascii_case("eq") {
        return Err(odd(offered));
    }
    let value: String =
        serde_json::from_str(value.trim()).map_err(|_| odd("a filter compares with one text in quotes"))?;
    let attribute = plain(attribute).to_ascii_lowercase();
    match (attribute.as_str(), of) {
        ("username", Of::Users) | ("displayname", Of::Groups) => Ok(Named::Name(value)),
        ("externalid", _) => Ok(Named::External(value)),
        ("id", _) => Ok(Named::Id(value)),
        _ => Err(odd(offered)),
    }
}

/// An attribute's name without its schema.
pub(super) fn plain(attribute: &str) -> &str {
    const SCHEMAS: [&str; 2] =
        ["urn:ietf:params:scim:schemas:core:2.0:user:", "urn:ietf:params:scim:schemas:core:2.0:group:"];
    let bare = SCHEMAS.into_iter().find_map(|schema| {
        let head = attribute.get(..schema.len())?;
        head.eq_ignore_ascii_case(schema).then(|| attribute.get(schema.len()..)).flatten()
    });
    bare.unwrap_or(attribute)
}

/// The resource with the attributes that were asked for: whole ones, by the name before a dot; `id` and `schemas` always.
pub(super) fn project(mut resource: Value, asked: &Asked) -> Value {
    let names = |text: &Option<String>| -> Vec<String> {
        let text = text.as_deref().unwrap_or_default();
        let top = |name: &str| plain(name.trim()).split('.').next().unwrap_or_default().to_ascii_lowercase();
        text.split(',').map(top).filter(|name| !name.is_empty()).collect()
    };
    let (wanted, unwanted) = (names(&asked.attributes), names(&asked.excluded_attributes));
    if let Some(fields) = resource.as_object_mut() {
        fields.retain(|name, _| {
            let name = name.to_ascii_lowercase();
            let always = name == "id" || name == "schemas";
            always || ((wanted.is_empty() || wanted.contains(&name)) && !unwanted.contains(&name))
        });
    }
    resource
}
