//! What an entry of the trail is to commit to: values by name, each encoded once, in its canonical form (RFC 8785).
//!
//! What every intent, look and denial says is written without detours, for that is done at a request's speed: the names
//! stand in alphabetical order here, and serde_json escapes text as the canonical form does.

use std::collections::BTreeMap;

use ringfence_access::Decision;
use ringfence_schema::{
    Digest,
    canon::{CanonError, value_to_canonical},
};
use serde::Serialize;
use serde_json::Value;

use crate::{
    act::{Act, Reach},
    error::EngineError,
};

/// Values by name, canonical.
pub(crate) struct Fields<'a>(Vec<(&'a str, Vec<u8>)>);

impl<'a> Fields<'a> {
    /// Any values.
    pub(crate) fn of(values: &'a BTreeMap<String, Value>) -> Result<Self, EngineError> {
        let field = |(name, value): (&'a String, &Value)| Ok((name.as_str(), value_to_canonical(value)?));
        values.iter().map(field).collect::<Result<_, _>>().map(Self).map_err(unwritten)
    }

    /// What an intent, a look or a denial commits to.
    pub(crate) fn of_act(act: &Act, decisions: &[Decision]) -> Result<Self, EngineError> {
        Self::try_of_act(act, decisions).map_err(unwritten)
    }

    fn try_of_act(act: &Act, decisions: &[Decision]) -> Result<Self, CanonError> {
        #[derive(Serialize)]
        struct Policy<'a> {
            digest: Option<Digest>,
            reasons: Vec<Reason<'a>>,
        }
        #[derive(Serialize)]
        struct Reason<'a> {
            #[serde(skip_serializing_if = "<[_]>::is_empty")]
            detail: &'a [String],
            policy: &'a str,
            says: &'a str,
        }
        let digests = |of: fn(&Decision) -> Digest| plain(&decisions.iter().map(of).collect::<Vec<_>>());
        let reasons = decisions.iter().flat_map(|decision| &decision.reasons);
        let reasons = reasons.map(|r| Reason { detail: &r.detail, policy: &r.policy, says: &r.says }).collect();
        let digest = decisions.first().map(|decision| decision.policy_digest);
        let entities = [b"{\"digests\":", &digests(|decision| decision.entities_digest)?[..], b"}"].concat();
        let (requests, what) = (digests(|decision| decision.request_digest)?, value_to_canonical(&act.request)?);
        let request = [b"{\"digests\":", &requests[..], b",\"what\":", &what[..], b"}"].concat();
        Ok(Self(vec![
            ("entities", entities),
            ("evidence", act.facts.to_canonical()?),
            ("policy", plain(&Policy { digest, reasons })?),
            ("reach", plain(if act.reach == Reach::Outside { "outside" } else { "inside" })?),
            ("request", request),
            ("subject", plain(&act.subject)?),
        ]))
    }

    /// The same, and one more.
    pub(crate) fn and(mut self, name: &'a str, value: &impl Serialize) -> Result<Self, EngineError> {
        self.0.push((name, plain(value).map_err(unwritten)?));
        Ok(self)
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn pairs(self) -> impl Iterator<Item = (&'a str, Vec<u8>)> {
        self.0.into_iter()
    }
}

/// The plain encoding, of what stands in canonical order by itself.
fn plain<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, CanonError> {
    Ok(serde_json::to_vec(value)?)
}

pub(crate) fn unwritten(error: CanonError) -> EngineError {
    EngineError::incomplete("trail entry", error)
}

#[cfg(test)]
mod tests {
    use ringfence_access::{Action, Facts, Resource};
    use serde_json::json;

    use super::*;

    fn decision(detail: &[&str]) -> Decision {
        let reason = json!({"policy": "p", "says": "it \u{e9}\u{2028}\"\\ says", "detail": detail});
        let digest = Digest::of(b"x");
        let value = json!({
            "allow": true, "reasons": [reason], "request_digest": digest, "entities_digest": digest,
            "policy_digest": digest,
        });
        serde_json::from_value(value).unwrap_or_else(|error| unreachable!("{error}"))
    }

    #[test]
    fn what_is_written_without_detours_is_canonical() {
        let hostile = ["", "model/a\u{0}\u{7f}\u{1f600}\u{fb33}\"\\/\u{8}\u{c}\n", "\u{e9}\u{2029}"];
        for (number, subject) in hostile.into_iter().enumerate() {
            let act = Act {
                action: Action::Read,
                resources: vec![Resource::Vault],
                facts: Facts {
                    about: Some(subject.to_owned()),
                    waived: [0, 1 << 53, u64::MAX][number],
                    mfa_age_ms: Some(number as u64),
                    ..Facts::default()
                },
                request: json!({"what": subject, "a": {"z": 1.5, "b": [null, true, "\u{fb33}"], "\u{1f600}": -7}}),
                subject: subject.to_owned(),
                reach: if number == 0 { Reach::Outside } else { Reach::Inside },
            };
            for decisions in [vec![], vec![decision(&[]), decision(&["more", subject])]] {
                let fields = Fields::of_act(&act, &decisions).and_then(|fields| fields.and("from", &json!({"a": 1})));
                let fields = fields.unwrap_or_else(|error| unreachable!("{error}"));
                assert_eq!(fields.len(), 7);
                for (name, bytes) in fields.pairs() {
                    let value: Value = serde_json::from_slice(&bytes).unwrap_or_default();
                    let canonical = ringfence_schema::canon::to_canonical(&value).unwrap_or_default();
                    assert_eq!(String::from_utf8_lossy(&bytes), String::from_utf8_lossy(&canonical), "{name}");
                }
            }
        }
    }
}
