//! Membership from labels alone: members keep their label under more noise (Choquette-Choo et al. 2021, sections 3.2 and 3.3).

use crate::{ball::Range, error::AttackError, examples::Examples, oracle::Oracle, random::stream, source::Predict};

/// For each example the share of noisy copies that keep the right label; what is wrong without noise counts less than all others.
/// Answers the scores and the rows that were asked for.
pub(crate) fn noise_distance(
    model: &dyn Predict,
    examples: &Examples,
    range: Range,
    seed: u64,
) -> Result<(Vec<f64>, u64), AttackError> {
    let oracle = Oracle::new(model, examples)?;
    let deviation = spread(examples);
    let right: Vec<bool> = is_right(&oracle, examples)?;
    let mut kept = vec![0_u32; examples.count()];
    let mut queries = examples.count() as u64;
    for (rung, share) in RUNGS.into_iter().enumerate() {
        for copy in 0..COPIES {
            let mut data = Vec::with_capacity(examples.inputs().data.len());
            for example in 0..examples.count() {
                let mut random = stream(seed, &[NOISE_STREAM, rung as u64, copy, example as u64]);
                data.extend(examples.row(example).iter().map(|value| {
                    let noisy = f64::from(*value) + share * deviation * random.normal();
                    crate::ball::narrow(noisy).clamp(range.low(), range.high())
                }));
            }
            let noisy = examples.with_inputs(data)?;
            queries += examples.count() as u64;
            for (kept, right) in kept.iter_mut().zip(is_right(&oracle, &noisy)?) {
                *kept += u32::from(right);
            }
        }
    }
    let tried = RUNGS.len() as f64 * COPIES as f64;
    let scores = kept.iter().zip(right).map(|(kept, right)| f64::from(*kept) / tried + f64::from(u8::from(right)));
    Ok((scores.collect(), queries))
}

fn is_right(oracle: &Oracle<'_>, examples: &Examples) -> Result<Vec<bool>, AttackError> {
    let predicted = oracle.predict(&examples.inputs().data)?;
    Ok(predicted.into_iter().zip(examples.labels()).map(|(found, label)| found == Some(*label)).collect())
}

/// The standard deviation of all values.
fn spread(examples: &Examples) -> f64 {
    let data = &examples.inputs().data;
    let count = data.len() as f64;
    let mean = data.iter().map(|value| f64::from(*value)).sum::<f64>() / count;
    let squares: f64 = data.iter().map(|value| (f64::from(*value) - mean).powi(2)).sum();
    (squares / count).sqrt()
}

/// Noise of each rung, in standard deviations of the inputs.
const RUNGS: [f64; 4] = [0.25, 0.5, 1.0, 2.0];
/// Copies of each example on a rung.
const COPIES: u64 = 12;
const NOISE_STREAM: u64 = 44;
