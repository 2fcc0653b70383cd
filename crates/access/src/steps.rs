//! Ages, as coarse as policies look at them.
//!
//! Ages change from one request to the next and are only ever held against limits. [`Steps::of`] reads from the policies
//! which limits these are; two ages between the same limits are one age to all of them ([`Steps::class`]). Where a policy
//! does anything else with an age, or reads a record that holds one as a whole, ages are taken as they are.

use cedar_policy::PolicySet;
use serde_json::Value;

use crate::ask::{EVIDENCE_AGE, MFA_AGE};

/// How Cedar's JSON names comparisons.
const COMPARISONS: [&str; 6] = ["<", "<=", ">", ">=", "==", "!="];
/// Attributes of the context that hold records with ages.
const HOLDERS: [&str; 6] = ["evidence", "scan", "screen", "provenance", "robustness", "review"];

/// The limits that the policies of a set hold ages against.
#[derive(Debug, Clone, Default)]
pub(crate) struct Steps {
    /// Sorted, for [`MFA_AGE`] and [`EVIDENCE_AGE`]; `None`: some policy reads such ages exactly.
    limits: [Option<Vec<i64>>; 2],
}

impl Steps {
    /// # Errors
    /// What Cedar says where it cannot show a policy.
    pub(crate) fn of(set: &PolicySet) -> Result<Self, String> {
        let mut steps = Self { limits: [Some(Vec::new()), Some(Vec::new())] };
        for policy in set.policies() {
            let body = policy.to_json().map_err(|error| error.to_string())?;
            steps.read(&body);
        }
        for limits in steps.limits.iter_mut().flatten() {
            limits.sort_unstable();
            limits.dedup();
        }
        Ok(steps)
    }

    /// A number that is the same for values of the attribute `name` that no policy can tell apart.
    pub(crate) fn class(&self, name: &str, value: i64) -> i64 {
        let limits = age(name).and_then(|at| self.limits.get(at)).and_then(Option::as_ref);
        let Some(limits) = limits else { return value };
        let below = limits.partition_point(|limit| *limit < value);
        let on = i64::from(limits.get(below) == Some(&value));
        // Fewer limits than policies: the sum is small.
        i64::try_from(below).unwrap_or(i64::MAX / 2) * 2 + on
    }

    fn read(&mut self, body: &Value) {
        // Each with whether an attribute of it is taken; the stack is on the heap.
        let mut rest = vec![(body, false)];
        while let Some((node, accessed)) = rest.pop() {
            match node {
                Value::Array(nodes) => rest.extend(nodes.iter().map(|node| (node, false))),
                Value::Object(fields) => {
                    if fields.get("Var").and_then(Value::as_str) == Some("context") && !accessed {
                        self.limits = [None, None];
                    }
                    for (operator, operands) in fields {
                        match operator.as_str() {
                            "." => rest.extend(self.attribute(operands, accessed)),
                            "has" => rest.extend(operands.get("left").map(|left| (left, true))),
                            _ => match self.comparison(operator, operands) {
                                Some(left) => rest.push((left, true)),
                                None => rest.push((operands, false)),
                            },
                        }
                    }
                }
                _ => {}
            }
        }
    }

    /// An attribute that is taken and not compared at once; what it is taken of.
    fn attribute<'v>(&mut self, operands: &'v Value, accessed: bool) -> Option<(&'v Value, bool)> {
        let name = operands.get("attr").and_then(Value::as_str).unwrap_or_default();
        if let Some(limits) = age(name).and_then(|at| self.limits.get_mut(at)) {
            *limits = None;
        }
        if HOLDERS.contains(&name) && !accessed {
            self.limits = [None, None];
        }
        operands.get("left").map(|left| (left, true))
    }

    /// What the age is of that is held against a number here, if one is.
    fn comparison<'v>(&mut self, operator: &str, operands: &'v Value) -> Option<&'v Value> {
        if !COMPARISONS.contains(&operator) {
            return None;
        }
        let (left, right) = (operands.get("left")?, operands.get("right")?);
        [(left, right), (right, left)].into_iter().find_map(|(side, other)| {
            let access = side.get(".")?;
            let at = age(access.get("attr")?.as_str()?)?;
            let limit = other.get("Value")?.as_i64()?;
            if let Some(limits) = self.limits.get_mut(at)? {
                limits.push(limit);
            }
            access.get("left")
        })
    }
}

/// Which age an attribute is.
fn age(name: &str) -> Option<usize> {
    [MFA_AGE, EVIDENCE_AGE].iter().position(|age| *age == name)
}

#[cfg(test)]
mod tests {
    use std::str::FromStr as _;

    use super::*;

    fn of(condition: &str) -> Steps {
        let text = format!("forbid (principal, action, resource) when {{ {condition} }};");
        Steps::of(&PolicySet::from_str(&text).unwrap()).unwrap()
    }

    #[test]
    fn ages_that_are_held_against_limits_change_at_the_limits() {
        let steps = of("context.mfa_age_ms < 600 && 5 <= context.evidence.scan.age_ms && context has mfa_age_ms");
        let classes =
            |name: &str, values: &[i64]| values.iter().map(|value| steps.class(name, *value)).collect::<Vec<_>>();
        assert_eq!(classes(MFA_AGE, &[0, 1, 599, 600, 601, i64::MAX]), [0, 0, 0, 1, 2, 2]);
        assert_eq!(classes(EVIDENCE_AGE, &[4, 5, 6, 700]), [0, 1, 2, 2]);
        assert_eq!(classes("waived", &[4, 5, 6, 700]), [4, 5, 6, 700]);
    }

    #[test]
    fn ages_that_are_read_otherwise_are_exact() {
        for condition in [
            "context.mfa_age_ms == context.evidence.scan.age_ms",
            "context.mfa_age_ms + 1 < 600",
            "context.evidence.scan == context.evidence.screen",
            "[context.evidence].contains(context.evidence)",
            "context == context",
            "(if true then context else context).mfa_age_ms < 5",
            "[1, 2].contains(context.mfa_age_ms)",
        ] {
            let steps = of(condition);
            assert!(steps.class(MFA_AGE, 7) == 7 || steps.class(EVIDENCE_AGE, 7) == 7, "{condition}");
        }
    }
}
