//! Digests of requests and entities without detours, and what was decided on the same facts before.
//!
//! A request is its own canonical JSON (RFC 8785) as long as its fields stand in alphabetical order and its numbers are
//! exact in a double: then the plain encoding is the canonical one. `tests/it/slices.rs` compares both.
//!
//! What must stay true: a key covers every fact that a policy in question can read. Facts that none of them reads are
//! blanked one by one ([`relevant_digest`]), so that a fact that is forgotten here costs time and nothing else.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use ringfence_schema::{Digest, canon::digest_of};
use serde::Serialize;

use crate::{
    ask::{Parts, entities},
    facts::{EvidenceFacts, Facts},
    request::Request,
};

/// Decisions that are remembered, at most: as many again may wait to be forgotten.
const REMEMBERED_MAX: usize = 4_096;
/// The greatest whole number up to which a double has them all (RFC 8785 §3.2.2.3).
const EXACT_MAX: u64 = 1 << 53;

/// Ids of the policies that decided, and of the permits that a forbid outweighed.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) allow: bool,
    pub(crate) deciding: Vec<String>,
    pub(crate) outweighed: Vec<String>,
}

#[derive(Debug, Default)]
struct Generations {
    young: HashMap<Digest, Arc<Found>>,
    old: HashMap<Digest, Arc<Found>>,
}

/// What one set of policies under one set of settings decided lately.
#[derive(Debug, Default)]
pub(crate) struct Memory(Mutex<Generations>);

impl Memory {
    pub(crate) fn recall(&self, key: Digest) -> Option<Arc<Found>> {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = held.young.get(&key) {
            return Some(Arc::clone(found));
        }
        let found = held.old.remove(&key)?;
        held.put(key, Arc::clone(&found));
        Some(found)
    }

    pub(crate) fn keep(&self, key: Digest, found: Arc<Found>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).put(key, found);
    }
}

impl Generations {
    /// What was not asked for while a whole generation came in is forgotten with the next one.
    fn put(&mut self, key: Digest, found: Arc<Found>) {
        if self.young.len() >= REMEMBERED_MAX {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key, found);
    }
}

/// SHA-256 of the canonical request.
pub(crate) fn request_digest(request: &Request) -> Option<Digest> {
    if exact(&request.facts) { plain(request) } else { digest_of(request).ok() }
}

/// SHA-256 of the canonical entities.
pub(crate) fn entities_digest(request: &Request) -> Option<Digest> {
    plain(&entities(request))
}

/// The digest of `request` without the facts that change from one request to the next and that nobody reads here.
pub(crate) fn relevant_digest(request: &Request, parts: Parts) -> Option<Digest> {
    let mut relevant = request.clone();
    let facts = &mut relevant.facts;
    if !parts.has("mfa_age_ms") {
        facts.mfa_age_ms = None;
    }
    for (part, evidence) in [
        ("evidence.scan", &mut facts.scan),
        ("evidence.screen", &mut facts.screen),
        ("evidence.provenance", &mut facts.provenance),
        ("evidence.robustness", &mut facts.robustness),
        ("evidence.review", &mut facts.review),
    ] {
        if !parts.has(part) {
            *evidence = EvidenceFacts::default();
        }
    }
    request_digest(&relevant)
}

fn plain<T: Serialize>(value: &T) -> Option<Digest> {
    Some(Digest::of(&serde_json::to_vec(value).ok()?))
}

fn exact(facts: &Facts) -> bool {
    let ages = [&facts.scan, &facts.screen, &facts.provenance, &facts.robustness, &facts.review].map(|e| e.age_ms);
    ages.into_iter().chain([facts.waived, facts.mfa_age_ms.unwrap_or(0)]).all(|number| number <= EXACT_MAX)
}
