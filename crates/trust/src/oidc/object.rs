//! JSON objects in which every member stands once, because two readers of the same token must not see different ones.

#![deny(clippy::indexing_slicing)]

use std::{collections::BTreeMap, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{self, MapAccess, Visitor},
};
use serde_json::Value;

use super::OidcError;

/// Most members of one object.
const MEMBERS_MAX: usize = 256;
/// Largest number of seconds that is a time: the year 9999.
const SECONDS_MAX: u64 = 253_402_300_799;

/// An object, by its members' names.
#[derive(Debug)]
pub(super) struct Object(BTreeMap<String, Value>);

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = BTreeMap<String, Value>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = BTreeMap::new();
                while let Some((name, value)) = map.next_entry::<String, Value>()? {
                    if members.len() >= MEMBERS_MAX || members.insert(name, value).is_some() {
                        return Err(de::Error::custom("a member twice, or too many"));
                    }
                }
                Ok(members)
            }
        }
        deserializer.deserialize_map(Members).map(Self)
    }
}

impl Object {
    /// Reads the object that fills `bytes`; `what` names it in errors.
    pub(super) fn parse(bytes: &[u8], what: &'static str) -> Result<Self, OidcError> {
        serde_json::from_slice(bytes).map_err(|_| OidcError::Json { what })
    }

    /// A member; `null` is as good as none.
    pub(super) fn member(&self, name: &str) -> Option<&Value> {
        self.0.get(name).filter(|value| !value.is_null())
    }

    /// A text of 1 to `most` bytes without control characters.
    pub(super) fn text(&self, claim: &'static str, most: usize) -> Result<Option<&str>, OidcError> {
        match self.member(claim) {
            None => Ok(None),
            Some(Value::String(text)) if is_plain(text, most) => Ok(Some(text)),
            Some(_) => Err(OidcError::Claim { claim }),
        }
    }

    /// A `NumericDate` (RFC 7519 §2) in whole seconds since 1970.
    pub(super) fn seconds(&self, claim: &'static str) -> Result<Option<u64>, OidcError> {
        let Some(value) = self.member(claim) else { return Ok(None) };
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the range is checked before")]
        let seconds = value.as_u64().or_else(|| {
            value.as_f64().filter(|seconds| (0.0..=SECONDS_MAX as f64).contains(seconds)).map(|seconds| seconds as u64)
        });
        seconds.filter(|seconds| *seconds <= SECONDS_MAX).map(Some).ok_or(OidcError::Claim { claim })
    }

    /// One text or a list of at most `count`, each of 1 to `most` bytes; absent is empty.
    pub(super) fn texts(&self, claim: &'static str, count: usize, most: usize) -> Result<Vec<String>, OidcError> {
        texts(self.member(claim), claim, count, most)
    }
}

/// One text or a list of at most `count`, each of 1 to `most` bytes; absent is empty.
pub(super) fn texts(
    value: Option<&Value>,
    claim: &'static str,
    count: usize,
    most: usize,
) -> Result<Vec<String>, OidcError> {
    let list = match value {
        None => return Ok(Vec::new()),
        Some(Value::Array(list)) => list.as_slice(),
        Some(one) => std::slice::from_ref(one),
    };
    if list.len() > count {
        return Err(OidcError::TooMany { what: claim, limit: count });
    }
    let text = |value: &Value| value.as_str().filter(|text| is_plain(text, most)).map(str::to_owned);
    list.iter().map(|value| text(value).ok_or(OidcError::Claim { claim })).collect()
}

/// Whether `text` has 1 to `most` bytes and no control characters.
pub(super) fn is_plain(text: &str, most: usize) -> bool {
    (1..=most).contains(&text.len()) && !text.chars().any(char::is_control)
}
