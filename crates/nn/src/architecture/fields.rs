//! The entries of a JSON object, read by name and kind.

use std::cell::RefCell;
use std::collections::BTreeSet;

use ringfence_format::json::{Json, Object};

use super::error::ArchitectureError;
use crate::limits::ELEMENTS_MAX;

/// An object and its place in the document. Every read notes the key, so that [`Fields::finish`] can refuse the others.
pub(super) struct Fields<'d> {
    object: &'d Object,
    place: String,
    seen: RefCell<BTreeSet<&'static str>>,
}

/// A number for each spatial axis, or one for all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Sides {
    All(usize),
    Each(Vec<usize>),
}

impl Sides {
    /// One number for each of `rank` axes.
    pub(super) fn of(&self, rank: usize) -> Option<Vec<usize>> {
        match self {
            Self::All(side) => Some(vec![*side; rank]),
            Self::Each(sides) => (sides.len() == rank).then(|| sides.clone()),
        }
    }
}

impl<'d> Fields<'d> {
    /// The entries of `json`, which must be an object without repeated keys.
    pub(super) fn of(json: &'d Json, place: &str) -> Result<Self, ArchitectureError> {
        let wrong = |problem: &str| part(place, problem);
        let object = json.object().ok_or_else(|| wrong("is not an object"))?;
        match object.repeated() {
            Some(key) => Err(wrong(&format!("has `{key}` twice"))),
            None => Ok(Self { object, place: place.to_owned(), seen: RefCell::default() }),
        }
    }

    /// Where the object is.
    pub(super) fn place(&self) -> &str {
        &self.place
    }

    /// Where an entry of it is.
    pub(super) fn at(&self, key: &str) -> String {
        if self.place.is_empty() { key.to_owned() } else { format!("{}.{key}", self.place) }
    }

    /// The refusal of an entry.
    pub(super) fn wrong(&self, key: &str, problem: &str) -> ArchitectureError {
        part(&self.at(key), problem)
    }

    /// The entry as it is; `null` is none.
    pub(super) fn json(&self, key: &'static str) -> Option<&'d Json> {
        self.seen.borrow_mut().insert(key);
        self.object.last(key).filter(|json| **json != Json::Null)
    }

    pub(super) fn text(&self, key: &'static str) -> Result<Option<&'d str>, ArchitectureError> {
        let json = self.json(key);
        json.map(|json| json.text().ok_or_else(|| self.wrong(key, "is not a text"))).transpose()
    }

    /// A text that must be there and name something.
    pub(super) fn name(&self, key: &'static str) -> Result<&'d str, ArchitectureError> {
        let text = self.text(key)?.ok_or_else(|| self.wrong(key, "is missing"))?;
        if text.is_empty() { Err(self.wrong(key, "is empty")) } else { Ok(text) }
    }

    pub(super) fn flag(&self, key: &'static str, default: bool) -> Result<bool, ArchitectureError> {
        match self.json(key) {
            None => Ok(default),
            Some(Json::Bool(flag)) => Ok(*flag),
            Some(_) => Err(self.wrong(key, "is neither true nor false")),
        }
    }

    /// A whole number from 0 to what a tensor can hold.
    pub(super) fn count(&self, key: &'static str) -> Result<Option<usize>, ArchitectureError> {
        self.json(key).map(|json| self.whole(key, json)).transpose()
    }

    /// The same, at least 1, with a default.
    pub(super) fn positive(&self, key: &'static str, default: usize) -> Result<usize, ArchitectureError> {
        match self.count(key)? {
            Some(0) => Err(self.wrong(key, "is 0")),
            found => Ok(found.unwrap_or(default)),
        }
    }

    fn whole(&self, key: &str, json: &Json) -> Result<usize, ArchitectureError> {
        let number = if let Json::Integer(number) = json { usize::try_from(*number).ok() } else { None };
        let number = number.filter(|number| *number <= ELEMENTS_MAX);
        number.ok_or_else(|| self.wrong(key, &format!("is not a whole number from 0 to {ELEMENTS_MAX}")))
    }

    pub(super) fn number(&self, key: &'static str, default: f64) -> Result<f64, ArchitectureError> {
        self.json(key).map_or(Ok(default), |json| self.real(key, json))
    }

    fn real(&self, key: &str, json: &Json) -> Result<f64, ArchitectureError> {
        match json {
            #[expect(clippy::cast_precision_loss, reason = "a setting, not a count")]
            Json::Integer(number) => Ok(*number as f64),
            Json::Float(number) if number.is_finite() => Ok(*number),
            _ => Err(self.wrong(key, "is not a finite number")),
        }
    }

    /// A finite number above 0: what keeps a division from being one by 0.
    pub(super) fn epsilon(&self, key: &'static str, default: f64) -> Result<f64, ArchitectureError> {
        let number = self.number(key, default)?;
        if number > 0.0 { Ok(number) } else { Err(self.wrong(key, "is not above 0")) }
    }

    /// A list, if it is there.
    pub(super) fn list(&self, key: &'static str) -> Result<Option<&'d [Json]>, ArchitectureError> {
        match self.json(key) {
            None => Ok(None),
            Some(Json::Array(items)) => Ok(Some(items)),
            Some(_) => Err(self.wrong(key, "is not a list")),
        }
    }

    pub(super) fn numbers(&self, key: &'static str) -> Result<Vec<f64>, ArchitectureError> {
        let items = self.list(key)?.ok_or_else(|| self.wrong(key, "is missing"))?;
        items.iter().map(|item| self.real(key, item)).collect()
    }

    pub(super) fn texts(&self, key: &'static str) -> Result<Vec<String>, ArchitectureError> {
        let text = |item: &Json| item.text().map(str::to_owned).ok_or_else(|| self.wrong(key, "holds more than texts"));
        self.list(key)?.unwrap_or_default().iter().map(text).collect()
    }

    /// A whole number, or a list of them.
    pub(super) fn sides(&self, key: &'static str) -> Result<Option<Sides>, ArchitectureError> {
        Ok(match self.json(key) {
            None => None,
            Some(Json::Array(items)) => {
                Some(Sides::Each(items.iter().map(|item| self.whole(key, item)).collect::<Result<_, _>>()?))
            }
            Some(json) => Some(Sides::All(self.whole(key, json)?)),
        })
    }

    /// Dimensions; `null` is a free one.
    pub(super) fn dims(&self, key: &'static str) -> Result<Option<Vec<Option<usize>>>, ArchitectureError> {
        let dim = |item: &Json| match item {
            Json::Null => Ok(None),
            item => match self.whole(key, item)? {
                0 => Err(self.wrong(key, "has a dimension of 0")),
                dim => Ok(Some(dim)),
            },
        };
        self.list(key)?.map(|items| items.iter().map(dim).collect()).transpose()
    }

    /// Refuses entries that nothing read.
    pub(super) fn finish(self) -> Result<(), ArchitectureError> {
        let seen = self.seen.borrow();
        let other = self.object.entries.iter().find(|(key, _)| !seen.contains(key.as_str()));
        other.map_or(Ok(()), |(key, _)| Err(self.wrong(key, "is not known here")))
    }
}

/// The refusal of a part of the document.
pub(super) fn part(place: &str, problem: &str) -> ArchitectureError {
    let place = if place.is_empty() { "the document" } else { place };
    ArchitectureError::Part { place: place.to_owned(), problem: problem.to_owned() }
}
