//! Digests of requests and entities without detours, and what was decided on the same facts before.
//!
//! A request is its own canonical JSON (RFC 8785) as long as its fields stand in alphabetical order and its numbers are
//! exact in a double: then the plain encoding is the canonical one. `tests/it/slices.rs` compares both.
//!
//! What is remembered is what one group of policies says (`slice`), under everything that its policies can read: the
//! entities, the action and the parts of the context. So a fact that changes asks again the groups that read it, and no
//! other; and an age that policies only hold against limits (`steps`) counts as another one once it has passed a limit.
//!
//! What must stay true: a key covers every fact that a policy of the group can read. It is made of the very values that
//! Cedar would be given.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use cedar_policy::Entities;
use ringfence_schema::{Digest, canon::digest_of};
use serde::Serialize;

use crate::{
    ask::{Node, Parts, Said, entities},
    request::Request,
    steps::Steps,
};

/// Answers that are remembered, at most: as many again may wait to be forgotten. A decision takes about ten.
const REMEMBERED_MAX: usize = 16_384;

/// What a key is made of, about, in bytes.
const KEY_BYTES: usize = 512;

/// Ids of the policies that decided, and of the permits that a forbid outweighed.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) allow: bool,
    pub(crate) deciding: Vec<String>,
    pub(crate) outweighed: Vec<String>,
}

/// What one group of policies says: the ids of those that are satisfied.
pub(crate) type Satisfied = Arc<[String]>;

/// What was asked for lately.
#[derive(Debug)]
struct Generations<T> {
    young: HashMap<Digest, T>,
    old: HashMap<Digest, T>,
}

impl<T> Default for Generations<T> {
    fn default() -> Self {
        Self { young: HashMap::new(), old: HashMap::new() }
    }
}

impl<T: Clone> Generations<T> {
    fn recall(&mut self, key: &Digest) -> Option<T> {
        if let Some(found) = self.young.get(key) {
            return Some(found.clone());
        }
        let found = self.old.remove(key)?;
        self.put(*key, found.clone());
        Some(found)
    }

    /// What was not asked for while a whole generation came in is forgotten with the next one.
    fn put(&mut self, key: Digest, value: T) {
        if self.young.len() >= REMEMBERED_MAX {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key, value);
    }
}

/// What the policies of one set, under one set of settings, said lately, and the entities that they were told of.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    answers: Mutex<Generations<Satisfied>>,
    entities: Mutex<Generations<Arc<Entities>>>,
}

impl Memory {
    /// What is remembered under each of `keys`.
    pub(crate) fn recall(&self, keys: &[Digest]) -> Vec<Option<Satisfied>> {
        let mut held = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        keys.iter().map(|key| held.recall(key)).collect()
    }

    pub(crate) fn keep(&self, key: Digest, satisfied: Satisfied) {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner).put(key, satisfied);
    }

    /// The entities with this digest and the action, which is one too; made where they are not remembered.
    pub(crate) fn entities(
        &self,
        digest: Digest,
        action: &str,
        make: impl FnOnce() -> Result<Entities, String>,
    ) -> Result<Arc<Entities>, String> {
        let key = Digest::of(&[digest.as_bytes(), action.as_bytes()].concat());
        let mut held = self.entities.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = held.recall(&key) {
            return Ok(found);
        }
        let made = Arc::new(make()?);
        held.put(key, Arc::clone(&made));
        Ok(made)
    }
}

/// The key of what the group with `number` says of a request: of its entities, its action, and of those of `said` that
/// `parts` has.
pub(crate) fn key(number: usize, entities: Digest, action: &str, said: &[Said], parts: Parts, steps: &Steps) -> Digest {
    let mut bytes = Vec::with_capacity(KEY_BYTES);
    bytes.extend(number.to_le_bytes());
    bytes.extend(entities.as_bytes());
    text(action, &mut bytes);
    for said in said.iter().filter(|said| parts.meets(said.part)) {
        field(said.name, &said.node, steps, &mut bytes);
    }
    Digest::of(&bytes)
}

/// One value of another kind or content, one other text: lengths stand before what they count.
fn field(name: &str, node: &Node, steps: &Steps, to: &mut Vec<u8>) {
    text(name, to);
    match node {
        Node::Bool(value) => to.extend([0, u8::from(*value)]),
        Node::Long(value) => {
            to.push(1);
            to.extend(steps.class(name, *value).to_le_bytes());
        }
        Node::Entity(uid) => {
            to.push(2);
            text(uid.type_name().basename(), to);
            text(uid.id().unescaped(), to);
        }
        Node::Set(nodes) => {
            to.push(3);
            to.extend(nodes.len().to_le_bytes());
            for node in nodes {
                field("", node, steps, to);
            }
        }
        Node::Record(fields) => {
            to.push(4);
            to.extend(fields.len().to_le_bytes());
            for (name, node) in fields {
                field(name, node, steps, to);
            }
        }
    }
}

fn text(text: &str, to: &mut Vec<u8>) {
    to.extend(text.len().to_le_bytes());
    to.extend(text.as_bytes());
}

/// SHA-256 of the canonical request.
pub(crate) fn request_digest(request: &Request) -> Option<Digest> {
    if request.facts.is_exact() { plain(request) } else { digest_of(request).ok() }
}

/// SHA-256 of the canonical entities.
pub(crate) fn entities_digest(request: &Request) -> Option<Digest> {
    plain(&entities(request))
}

fn plain<T: Serialize>(value: &T) -> Option<Digest> {
    Some(Digest::of(&serde_json::to_vec(value).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbered(number: usize) -> Digest {
        Digest::of(&number.to_le_bytes())
    }

    #[test]
    fn what_is_asked_for_stays_and_the_rest_is_forgotten_in_time() {
        let mut held = Generations::default();
        let count = 3 * REMEMBERED_MAX;
        for number in 0..count {
            held.put(numbered(number), number);
            assert_eq!(held.recall(&numbered(0)), Some(0), "asked for all the time, at {number}");
        }
        assert!(held.young.len() + held.old.len() <= 2 * REMEMBERED_MAX);
        assert_eq!(held.recall(&numbered(1)), None, "nobody asked for it");
        for number in count - REMEMBERED_MAX..count {
            assert_eq!(held.recall(&numbered(number)), Some(number), "among the last");
        }
    }

    #[test]
    fn an_answer_is_recalled_under_its_own_key() {
        let memory = Memory::default();
        let satisfied: Satisfied = Arc::from(["owner-may".to_owned()]);
        memory.keep(numbered(1), Arc::clone(&satisfied));
        assert_eq!(memory.recall(&[numbered(0), numbered(1)]), [None, Some(satisfied)]);
    }

    #[test]
    fn entities_are_made_once_for_each_action() {
        let memory = Memory::default();
        let mut made = 0;
        for action in ["read", "read", "train", "read"] {
            let make = || {
                made += 1;
                Ok(Entities::empty())
            };
            assert!(memory.entities(numbered(0), action, make).is_ok());
        }
        assert_eq!(made, 2);
    }
}
