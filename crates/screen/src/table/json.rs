//! One JSON object a line (JSONL), read strictly: duplicate keys are told, depth is bounded by `serde_json`'s 128 levels.

#![deny(clippy::indexing_slicing)]

use std::fmt::{self, Write as _};

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

use super::{COLUMNS_MAX, Cell, Flaw};

/// A JSON value that keeps the order of its keys.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    Null,
    Boolean(bool),
    Number(serde_json::Number),
    Text(String),
    List(Vec<Value>),
    Object(Vec<(String, Value)>),
}

/// One line.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) value: Value,
    /// The first key that occurs twice in its object.
    pub(crate) duplicate: Option<String>,
}

/// Reads one line, which must be an object.
pub(crate) fn parse(raw: &[u8]) -> Result<Line, Flaw> {
    let mut duplicate = None;
    let mut reader = serde_json::Deserializer::from_slice(raw);
    let value = Seed { duplicate: &mut duplicate }
        .deserialize(&mut reader)
        .and_then(|value| reader.end().map(|()| value))
        .map_err(|error| Flaw::Unreadable(format!("not JSON at column {}", error.column())))?;
    if !matches!(value, Value::Object(_)) {
        return Err(Flaw::Unreadable("not a JSON object".to_owned()));
    }
    Ok(Line { value, duplicate })
}

/// Hands every leaf of `value` to `take` with its path: `a.b` for objects in objects, `a[0]` for lists.
pub(crate) fn flatten(value: &Value, take: &mut dyn FnMut(&str, Cell<'_>)) {
    let mut path = String::new();
    let mut left = COLUMNS_MAX + 1;
    walk(value, &mut path, &mut left, take);
}

fn walk(value: &Value, path: &mut String, left: &mut usize, take: &mut dyn FnMut(&str, Cell<'_>)) {
    let length = path.len();
    match value {
        Value::Object(entries) => {
            for (key, value) in entries {
                if !path.is_empty() {
                    path.push('.');
                }
                path.push_str(key);
                walk(value, path, left, take);
                path.truncate(length);
            }
        }
        Value::List(values) => {
            for (index, value) in values.iter().enumerate() {
                if *left == 0 {
                    return;
                }
                let _ = write!(path, "[{index}]");
                walk(value, path, left, take);
                path.truncate(length);
            }
        }
        leaf => {
            *left = left.saturating_sub(1);
            if *left > 0 {
                take(path, cell(leaf));
            }
        }
    }
}

fn cell(leaf: &Value) -> Cell<'_> {
    match leaf {
        Value::Boolean(value) => Cell::Boolean(*value),
        Value::Number(value) => value.as_f64().filter(|value| value.is_finite()).map_or(Cell::Missing, Cell::Number),
        Value::Text(text) if text.is_empty() => Cell::Missing,
        Value::Text(text) => Cell::Text(text.as_str().into()),
        Value::Null | Value::List(_) | Value::Object(_) => Cell::Missing,
    }
}

struct Seed<'a> {
    duplicate: &'a mut Option<String>,
}

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Boolean(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(serde_json::Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::Text(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::Text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = list.next_element_seed(Seed { duplicate: self.duplicate })? {
            values.push(value);
        }
        Ok(Value::List(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut entries = Vec::new();
        let mut seen = std::collections::HashSet::new();
        while let Some(key) = map.next_key::<String>()? {
            let value = map.next_value_seed(Seed { duplicate: self.duplicate })?;
            if !seen.insert(key.clone()) && self.duplicate.is_none() {
                *self.duplicate = Some(key.clone());
            }
            entries.push((key, value));
        }
        Ok(Value::Object(entries))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flattens_and_tells_duplicates() {
        let line = parse(br#"{"a":{"b":1,"b":2},"c":[true,"x",null]}"#).unwrap();
        assert_eq!(line.duplicate.as_deref(), Some("b"));
        let mut paths = Vec::new();
        flatten(&line.value, &mut |path, _| paths.push(path.to_owned()));
        assert_eq!(paths, ["a.b", "a.b", "c[0]", "c[1]", "c[2]"]);
    }

    #[test]
    fn refuses_what_is_not_one_object() {
        let deep = format!("{{\"a\":{}1{}}}", "[".repeat(200), "]".repeat(200));
        for line in ["[1]", "{} {}", "{\"a\":01}", "{\"a\":\"\\ud800\"}", "{'a':1}", "", &deep] {
            assert!(matches!(parse(line.as_bytes()), Err(Flaw::Unreadable(_))), "{line:.20}");
        }
    }
}
