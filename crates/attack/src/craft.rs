//! The inputs themselves that fool a model, for those who want to look at them, train or test with them.

use crate::{
    ball::Ball, battery::Method, error::AttackError, evasion::Field, examples::Examples, oracle::Oracle, plan::Plan,
};

/// Inputs within `plan.eps`'s one radius (or [`Plan::at`]) that `method` found `model` to be wrong about, by the example they
/// were made from. Examples that the model gets wrong as they are, are left out. Refuses what [`crate::attack()`] refuses, and a
/// method that imitates the model first (`transfer`).
pub fn fooling(
    model: &dyn crate::source::Predict,
    examples: &Examples,
    method: Method,
    plan: &Plan,
) -> Result<Vec<(usize, Vec<f32>)>, AttackError> {
    plan.suits(examples)?;
    let (_, at) = plan.radii()?;
    let oracle = Oracle::with_budget(model, examples, plan.query_budget)?;
    plan.allowed(&oracle)?;
    let predicted = oracle.predict(&examples.inputs().data)?;
    let right: Vec<usize> =
        (0..examples.count()).filter(|row| predicted[*row] == Some(examples.labels()[*row])).collect();
    let ball = Ball::new(plan.norm, crate::ball::narrow(at), plan.range).with_columns(&plan.columns);
    let field = Field { oracle: &oracle, examples, ball, seed: plan.seed, target: plan.target };
    match method.attack(plan, None) {
        Some(attack) => Ok(attack.run(&field, &right)?.fooled),
        None => Err(AttackError::plan("method", "transfer", "one that works on the model itself")),
    }
}
