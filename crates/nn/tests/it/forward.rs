//! Forward passes against what onnxruntime answered.

use ringfence_nn::{Model, Tensor};

use crate::cases::cases;

/// max|Δ| / max|reference| that two good `f32` implementations may differ by.
const TOLERANCE: f64 = 3e-6;

#[test]
fn every_operator_answers_what_onnxruntime_answers() {
    let mut failures = Vec::new();
    for case in cases() {
        let answer = Model::parse(&case.model).and_then(|model| model.forward(&case.input));
        match answer {
            Ok(found) if found.shape != case.output.shape => {
                failures.push(format!("{}: shape {:?}, not {:?}", case.name, found.shape, case.output.shape));
            }
            Ok(found) => {
                let error = relative(&found, &case.output);
                if error > TOLERANCE {
                    failures.push(format!("{}: error {error:e}", case.name));
                }
            }
            Err(error) => failures.push(format!("{}: {error}", case.name)),
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

fn relative(found: &Tensor<f32>, reference: &Tensor<f32>) -> f64 {
    let size = reference.data.iter().fold(0f64, |size, number| size.max(f64::from(number.abs())));
    let gaps = found.data.iter().zip(&reference.data).map(|(a, b)| f64::from((a - b).abs()));
    gaps.fold(0f64, |worst, gap| if gap.is_nan() { f64::INFINITY } else { worst.max(gap) })
        / size.max(f64::MIN_POSITIVE)
}
