//! JSON Schema, draft 7, as far as published schemas of our documents need it. An unknown keyword is an error, so nothing is
//! passed over in silence; `pattern` and `format` alone are left to `cargo test -p xtask`.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// Keywords that say something to people only, or where schemas lie.
const NOTES: &[&str] = &[
    "$schema",
    "$id",
    "$comment",
    "title",
    "description",
    "default",
    "examples",
    "deprecated",
    "definitions",
    "format",
    "pattern",
    "contentMediaType",
    "meta:enum",
    "readOnly",
    "writeOnly",
];

/// Schemas by file name, and the one that documents are held to.
pub(crate) struct Draft7 {
    pub(crate) schemas: BTreeMap<String, Value>,
    pub(crate) home: String,
}

impl Draft7 {
    /// Every violation, with its place; those inside of alternatives only as `no alternative fits`.
    pub(crate) fn errors(&self, document: &Value) -> Vec<String> {
        let mut errors = Vec::new();
        self.check(&self.home, &self.schemas[&self.home], document, "", &mut errors);
        errors
    }

    fn fits(&self, home: &str, schema: &Value, value: &Value) -> bool {
        let mut errors = Vec::new();
        self.check(home, schema, value, "", &mut errors);
        errors.is_empty()
    }

    fn check(&self, home: &str, schema: &Value, value: &Value, place: &str, errors: &mut Vec<String>) {
        let Value::Object(keywords) = schema else {
            if schema == &Value::Bool(false) {
                errors.push(format!("{place}: nothing is allowed here"));
            }
            return;
        };
        // Beside a reference nothing else counts in draft 7.
        if let Some(Value::String(reference)) = keywords.get("$ref") {
            let (file, pointer) = reference.split_once('#').unwrap_or((reference, ""));
            let home = if file.is_empty() { home } else { file };
            let Some(target) = self.schemas.get(home).and_then(|schema| schema.pointer(pointer)) else {
                errors.push(format!("{place}: schema `{reference}` is missing"));
                return;
            };
            return self.check(home, target, value, place, errors);
        }
        for (keyword, rule) in keywords {
            let fits = |schema: &Value| self.fits(home, schema, value);
            let list = rule.as_array().map(Vec::as_slice).unwrap_or_default();
            let limit = rule.as_f64().unwrap_or_default();
            let (number, text, items) = (value.as_f64(), value.as_str(), value.as_array());
            let ok = match keyword.as_str() {
                "type" => {
                    rule.as_str().into_iter().chain(list.iter().filter_map(Value::as_str)).any(|kind| is(kind, value))
                }
                "enum" => list.contains(value),
                "const" => rule == value,
                "allOf" => list.iter().all(fits),
                "anyOf" => list.iter().any(fits),
                "oneOf" => list.iter().filter(|schema| fits(schema)).count() == 1,
                "not" => !fits(rule),
                "if" => keywords.get(if fits(rule) { "then" } else { "else" }).is_none_or(fits),
                "then" | "else" | "additionalItems" | "properties" | "additionalProperties" => true,
                "required" => value
                    .as_object()
                    .is_none_or(|map| list.iter().all(|name| name.as_str().is_some_and(|name| map.contains_key(name)))),
                "minimum" => number.is_none_or(|number| number >= limit),
                "maximum" => number.is_none_or(|number| number <= limit),
                "minLength" => text.is_none_or(|text| text.chars().count() as f64 >= limit),
                "maxLength" => text.is_none_or(|text| text.chars().count() as f64 <= limit),
                "minItems" => items.is_none_or(|items| items.len() as f64 >= limit),
                "maxItems" => items.is_none_or(|items| items.len() as f64 <= limit),
                "uniqueItems" => {
                    rule == &Value::Bool(false)
                        || items
                            .is_none_or(|items| items.iter().enumerate().all(|(at, item)| !items[..at].contains(item)))
                }
                "items" => {
                    for (at, item) in items.into_iter().flatten().enumerate() {
                        let schema = if rule.is_array() { list.get(at) } else { Some(rule) };
                        let schema = schema.or(keywords.get("additionalItems")).unwrap_or(&Value::Bool(true));
                        self.check(home, schema, item, &format!("{place}/{at}"), errors);
                    }
                    true
                }
                note => NOTES.contains(&note),
            };
            if !ok {
                errors.push(format!("{place}: `{keyword}` {rule:.200}"));
            }
        }
        if let Value::Object(map) = value {
            self.properties(home, keywords, map, place, errors);
        }
    }

    fn properties(
        &self,
        home: &str,
        keywords: &Map<String, Value>,
        map: &Map<String, Value>,
        place: &str,
        errors: &mut Vec<String>,
    ) {
        for (name, inner) in map {
            let known = keywords.get("properties").and_then(|properties| properties.get(name));
            let schema = known.or(keywords.get("additionalProperties")).unwrap_or(&Value::Bool(true));
            self.check(home, schema, inner, &format!("{place}/{name}"), errors);
        }
    }
}

fn is(kind: &str, value: &Value) -> bool {
    match kind {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "number" => value.is_number(),
        "integer" => value.as_f64().is_some_and(|number| number.fract() == 0.0),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        _ => false,
    }
}
