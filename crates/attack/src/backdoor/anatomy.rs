//! What weights alone tell: rows of the last layer that stand out, how much of a matrix lies in one direction, and what changed
//! against a base.

use ringfence_nn::{Model, random::Random};
use ringfence_schema::backdoor::{LayerChange, LayerWeights, RowOutlier};

use super::robust;

/// Rows of the last dense layer whose mean, length or bias stands out among the classes (the last-layer
/// statistics of trojan detection contests); `None` where no parameter has a row for each class.
pub(super) fn last_layer(model: &Model, classes: usize) -> Option<(String, Vec<RowOutlier>)> {
    let parameters: Vec<_> = model.parameters().collect();
    let last =
        parameters.iter().rev().find(|parameter| parameter.shape.len() == 2 && parameter.shape.contains(&classes))?;
    let rows = rows_of(last.shape, last.data, classes);
    let means: Vec<f64> = rows.iter().map(|row| row.iter().sum::<f64>() / row.len().max(1) as f64).collect();
    let lengths: Vec<f64> = rows.iter().map(|row| row.iter().map(|value| value * value).sum::<f64>().sqrt()).collect();
    let (means, lengths) = (robust(&means), robust(&lengths));
    let outliers = (0..classes)
        .map(|class| RowOutlier { class: class as u64, mean: means[class], length: lengths[class] })
        .collect();
    Some((last.name.to_owned(), outliers))
}

/// Each matrix of the model: its leading direction's share, and what changed against `base`, where that has the same one.
pub(super) fn layers(model: &Model, base: Option<&Model>) -> Vec<LayerWeights> {
    let before: Vec<(String, Vec<f32>)> = base
        .map(|base| base.parameters().map(|kept| (kept.name.to_owned(), kept.data.to_vec())).collect())
        .unwrap_or_default();
    model
        .parameters()
        .filter(|parameter| parameter.shape.len() >= 2)
        .map(|parameter| {
            let rows = parameter.shape.first().copied().unwrap_or(1).max(1);
            let old = before.iter().find(|(name, data)| name == parameter.name && data.len() == parameter.data.len());
            let change = old.map(|(_, old)| {
                let difference: Vec<f64> =
                    parameter.data.iter().zip(old).map(|(new, old)| f64::from(new - old)).collect();
                let length = old.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>().sqrt();
                LayerChange {
                    relative: difference.iter().map(|value| value * value).sum::<f64>().sqrt() / length.max(1e-12),
                    leading_share: leading_share(&difference, rows),
                }
            });
            let numbers: Vec<f64> = parameter.data.iter().map(|value| f64::from(*value)).collect();
            LayerWeights { name: parameter.name.to_owned(), leading_share: leading_share(&numbers, rows), change }
        })
        .collect()
}

/// The numbers of each class, whichever way the matrix lies.
fn rows_of(shape: &[usize], data: &[f32], classes: usize) -> Vec<Vec<f64>> {
    let columns = shape.get(1).copied().unwrap_or(1).max(1);
    let by_row = shape.first() == Some(&classes);
    (0..classes)
        .map(|class| {
            let of_class = |place: usize| if by_row { place / columns == class } else { place % columns == class };
            data.iter().enumerate().filter(|(place, _)| of_class(*place)).map(|(_, value)| f64::from(*value)).collect()
        })
        .collect()
}

/// The square of the largest singular value over the sum of all squares, by power iteration; 0 for a matrix of zeros.
fn leading_share(data: &[f64], rows: usize) -> f64 {
    let columns = data.len() / rows;
    let total: f64 = data.iter().map(|value| value * value).sum();
    if total <= 0.0 || columns == 0 {
        return 0.0;
    }
    let mut random = Random::new(1);
    let mut right: Vec<f64> = (0..columns).map(|_| random.normal()).collect();
    let mut square = 0.0;
    for _ in 0..POWER_STEPS {
        let left: Vec<f64> =
            data.chunks_exact(columns).map(|row| row.iter().zip(&right).map(|(a, b)| a * b).sum()).collect();
        let mut next = vec![0.0; columns];
        for (row, weight) in data.chunks_exact(columns).zip(&left) {
            for (next, value) in next.iter_mut().zip(row) {
                *next += weight * value;
            }
        }
        let length = next.iter().map(|value| value * value).sum::<f64>().sqrt();
        let before = right.iter().map(|value| value * value).sum::<f64>().sqrt();
        square = length / before.max(f64::MIN_POSITIVE);
        right = next.into_iter().map(|value| value / length.max(f64::MIN_POSITIVE)).collect();
    }
    (square / total).min(1.0)
}

const POWER_STEPS: usize = 50;
