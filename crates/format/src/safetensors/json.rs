//! JSON that keeps repeated keys, which ordinary readers drop in silence.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

/// A JSON value; numbers that are not whole and non-negative are only known to be there.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Json {
    Text(String),
    Unsigned(u64),
    Array(Vec<Json>),
    Object(Vec<(String, Json)>),
    Other,
}

/// Parses the first value of `bytes`; also returns how many bytes it takes.
pub(super) fn parse(bytes: &[u8]) -> serde_json::Result<(Json, usize)> {
    let mut stream = serde_json::Deserializer::from_slice(bytes).into_iter::<Json>();
    let value = stream.next().unwrap_or(Ok(Json::Other))?;
    Ok((value, stream.byte_offset()))
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyValue)
    }
}

struct AnyValue;

impl<'de> Visitor<'de> for AnyValue {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_str<E>(self, text: &str) -> Result<Json, E> {
        Ok(Json::Text(text.to_owned()))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Json, E> {
        Ok(if i64::try_from(number).is_ok() { Json::Unsigned(number) } else { Json::Other })
    }

    fn visit_i64<E>(self, number: i64) -> Result<Json, E> {
        Ok(u64::try_from(number).map_or(Json::Other, Json::Unsigned))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Json, E> {
        Ok(Json::Other)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Json, E> {
        Ok(Json::Other)
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Other)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Json, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = items.next_element()? {
            values.push(value);
        }
        Ok(Json::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Json, A::Error> {
        let mut values = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            values.push(entry);
        }
        Ok(Json::Object(values))
    }
}
