//! Foreign JSON, read strictly: every key once, one document, bounded in bytes and depth.
//!
//! Readers disagree about a key that stands twice (the first or the last counts), so a document that two programs must
//! understand alike is refused if it has one. Depth is limited by `serde_json` to 128.

use std::{collections::BTreeSet, fmt};

use serde::{
    Deserialize,
    de::{self, DeserializeOwned, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Number, Value};

/// Why foreign JSON was not read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StrictError {
    /// Over the limit that the caller set.
    #[error("{bytes} bytes of JSON, limit is {bytes_max}")]
    TooLarge {
        /// Its length in bytes.
        bytes: usize,
        /// The limit.
        bytes_max: usize,
    },
    /// Not JSON, a key twice, or not of the expected shape.
    #[error("not the expected JSON: {0}")]
    Shape(#[from] serde_json::Error),
}

/// Reads one document of at most `bytes_max` bytes in which no object has a key twice.
pub fn value(bytes: &[u8], bytes_max: usize) -> Result<Value, StrictError> {
    if bytes.len() > bytes_max {
        return Err(StrictError::TooLarge { bytes: bytes.len(), bytes_max });
    }
    Ok(serde_json::from_slice::<Unique>(bytes)?.0)
}

/// Like [`value`], into a type.
pub fn from_json<T: DeserializeOwned>(bytes: &[u8], bytes_max: usize) -> Result<T, StrictError> {
    Ok(serde_json::from_value(value(bytes, bytes_max)?)?)
}

/// A JSON value without duplicate keys.
struct Unique(Value);

impl<'de> Deserialize<'de> for Unique {
    fn deserialize<D: de::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(UniqueVisitor)
    }
}

struct UniqueVisitor;

impl<'de> Visitor<'de> for UniqueVisitor {
    type Value = Unique;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Unique, E> {
        Ok(Unique(Value::Bool(value)))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Unique, E> {
        Ok(Unique(Value::Number(value.into())))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Unique, E> {
        Ok(Unique(Value::Number(value.into())))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Unique, E> {
        Ok(Unique(Number::from_f64(value).map_or(Value::Null, Value::Number)))
    }

    fn visit_str<E>(self, value: &str) -> Result<Unique, E> {
        Ok(Unique(Value::String(value.to_owned())))
    }

    fn visit_string<E>(self, value: String) -> Result<Unique, E> {
        Ok(Unique(Value::String(value)))
    }

    fn visit_unit<E>(self) -> Result<Unique, E> {
        Ok(Unique(Value::Null))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Unique, A::Error> {
        let mut list = Vec::new();
        while let Some(Unique(item)) = items.next_element()? {
            list.push(item);
        }
        Ok(Unique(Value::Array(list)))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Unique, A::Error> {
        let (mut map, mut seen) = (Map::new(), BTreeSet::new());
        while let Some(key) = entries.next_key::<String>()? {
            if !seen.insert(key.clone()) {
                let key = crate::finding::printable(&key, 80);
                return Err(de::Error::custom(format_args!("key `{key}` stands twice in one object")));
            }
            let Unique(value) = entries.next_value()?;
            map.insert(key, value);
        }
        Ok(Unique(Value::Object(map)))
    }
}
