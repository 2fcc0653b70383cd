//! Lists: which, from where on, how many, and with which attributes (RFC 7644, sections 3.4.2 and 3.9).
//!
//! Of the language of filters (section 3.4.2.2), comparisons by `eq`, `co`, `sw` and `pr` are offered, joined by `and`: what
//! directories use to find whom they know. `or`, `not`, brackets and paths into values are refused.

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
/// Most comparisons of one filter.
const TERMS_MAX: usize = 8;
/// What is said of a filter that is not offered.
const OFFERED: &str = "the filters that are offered compare `userName`, `displayName`, `externalId`, `id` and `active` by `eq`, `co`, `sw` or `pr`, joined by `and`";

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
    filter: Filter,
    start: usize,
    count: usize,
    asked: &'a Asked,
}

impl<'a> List<'a> {
    /// What `asked` asks for.
    pub(super) fn of(asked: &'a Asked, of: Of) -> Result<Self, Fault> {
        let filter = asked.filter.as_deref().map_or(Ok(Filter::ALL), |text| filter(text, of))?;
        // Numbers below the first page mean the first page (section 3.4.2.4).
        let number =
            |given: Option<i64>, usual: usize| given.map_or(usual, |given| usize::try_from(given).unwrap_or(0));
        let start = number(asked.start_index, 1).max(1);
        let count = number(asked.count, COUNT_USUAL).min(COUNT_MAX);
        Ok(Self { filter, start, count, asked })
    }

    /// Whom the engine is asked for.
    pub(super) fn which(&self) -> Named {
        self.filter.which.clone()
    }

    /// The page of `found` that was asked for.
    pub(super) fn answer<T>(&self, found: &[T], draw: impl Fn(&T) -> Value) -> Response {
        let terms = &self.filter.terms;
        let found: Vec<&T> = if terms.is_empty() {
            found.iter().collect()
        } else {
            found.iter().filter(|one| all_hold(terms, &draw(one))).collect()
        };
        let page = found.iter().skip(self.start - 1).take(self.count).map(|one| project(draw(one), self.asked));
        let page: Vec<Value> = page.collect();
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

/// What a filter leaves of a list: whom the engine is asked for, and what then holds of each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    which: Named,
    terms: Vec<Term>,
}

/// One comparison of a filter.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Term {
    /// As the document spells it.
    attribute: &'static str,
    test: Test,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Test {
    Present,
    Is(Value),
    Contains(String),
    Begins(String),
}

impl Filter {
    const ALL: Self = Self { which: Named::All, terms: Vec::new() };
}

impl Term {
    /// Whether it holds of a document. Names compare without regard to case, as their schema says; ids exactly.
    fn holds(&self, resource: &Value) -> bool {
        let Some(held) = resource.get(self.attribute) else { return false };
        let exact = ["id", "externalId"].contains(&self.attribute);
        let folded = |text: &str| if exact { text.to_owned() } else { text.to_lowercase() };
        let text = || held.as_str().map(folded).unwrap_or_default();
        match &self.test {
            Test::Present => !held.is_null() && held != "",
            Test::Is(Value::String(wanted)) => held.is_string() && text() == folded(wanted),
            Test::Is(wanted) => held == wanted,
            Test::Contains(wanted) => text().contains(&folded(wanted)),
            Test::Begins(wanted) => text().starts_with(&folded(wanted)),
        }
    }
}

/// Comparisons joined by `and`: `userName sw "ana" and active eq true`.
///
/// # Errors
/// A [`Fault`] for any other filter.
pub fn filter(text: &str, of: Of) -> Result<Filter, Fault> {
    if text.len() > FILTER_BYTES_MAX {
        return Err(odd("the filter is too long"));
    }
    let (mut rest, mut terms) = (text.trim(), Vec::new());
    loop {
        if terms.len() >= TERMS_MAX {
            return Err(odd("the filter has too many comparisons"));
        }
        let (found, behind) = term(rest, of)?;
        terms.push(found);
        if behind.is_empty() {
            break;
        }
        let (and, next) = behind.split_once(' ').ok_or_else(|| odd(OFFERED))?;
        if !and.eq_ignore_ascii_case("and") {
            return Err(odd(OFFERED));
        }
        rest = next.trim_start();
    }
    // What directories ask to find whom they know is looked up, without drawing everybody.
    if let [Term { attribute, test: Test::Is(Value::String(value)) }] = terms.as_slice() {
        let which = match *attribute {
            "externalId" => Named::External(value.clone()),
            "id" => Named::Id(value.clone()),
            _ if *attribute == name_of(of) => Named::Name(value.clone()),
            _ => return Ok(Filter { which: Named::All, terms }),
        };
        return Ok(Filter { which, terms: Vec::new() });
    }
    Ok(Filter { which: Named::All, terms })
}

/// The comparison at the front of `text`, and what comes behind it.
fn term(text: &str, of: Of) -> Result<(Term, &str), Fault> {
    let (attribute, rest) = text.split_once(' ').ok_or_else(|| odd(OFFERED))?;
    let asked = plain(attribute);
    let known = match of {
        Of::Users => &["userName", "displayName", "externalId", "id", "active"][..],
        Of::Groups => &["displayName", "externalId", "id"],
    };
    let attribute =
        known.iter().copied().find(|known| known.eq_ignore_ascii_case(asked)).ok_or_else(|| odd(OFFERED))?;
    let rest = rest.trim_start();
    let (operator, rest) = rest.split_once(' ').unwrap_or((rest, ""));
    let operator = operator.to_ascii_lowercase();
    if operator == "pr" {
        return Ok((Term { attribute, test: Test::Present }, rest.trim_start()));
    }
    // A value is JSON (section 3.4.2.2), so its end is where JSON ends.
    let mut values = serde_json::Deserializer::from_str(rest).into_iter::<Value>();
    let value = values.next().and_then(Result::ok).ok_or_else(|| odd("a filter compares with one text in quotes"))?;
    let behind = rest.get(values.byte_offset()..).unwrap_or_default();
    if !behind.is_empty() && !behind.starts_with(' ') {
        return Err(odd(OFFERED));
    }
    let test = match (operator.as_str(), value) {
        ("eq", value @ Value::Bool(_)) if attribute == "active" => Test::Is(value),
        (_, _) if attribute == "active" => return Err(odd("`active` is compared with true or false, by `eq`")),
        ("eq", value @ Value::String(_)) => Test::Is(value),
        ("co", Value::String(value)) => Test::Contains(value),
        ("sw", Value::String(value)) => Test::Begins(value),
        ("eq" | "co" | "sw", _) => return Err(odd("a filter compares with one text in quotes")),
        _ => return Err(odd(OFFERED)),
    };
    Ok((Term { attribute, test }, behind.trim_start()))
}

/// Whether all of `terms` hold of a document.
fn all_hold(terms: &[Term], resource: &Value) -> bool {
    terms.iter().all(|term| term.holds(resource))
}

/// By which attribute the engine knows names.
fn name_of(of: Of) -> &'static str {
    match of {
        Of::Users => "userName",
        Of::Groups => "displayName",
    }
}

fn odd(says: &'static str) -> Fault {
    Fault::new(Kind::Malformed, "invalidFilter", says)
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
