//! Small dense linear algebra in f64: least squares by QR, singular values by one-sided Jacobi, Cholesky's factor.
//!
//! Matrices are lists of columns of equal length; [`Cholesky`] takes rows. Sizes are bounded by the callers.

use rayon::prelude::*;

/// The columns `x` that minimise ‖A·x − b‖ for each column `b` of `right`, by Householder's QR (Golub and Van Loan,
/// "Matrix Computations", algorithm 5.2.1). `None` where A has fewer rows than columns, or its columns depend on one another.
pub(crate) fn least_squares(mut columns: Vec<Vec<f64>>, mut right: Vec<Vec<f64>>) -> Option<Vec<Vec<f64>>> {
    let (rows, count) = (columns.first()?.len(), columns.len());
    let even = columns.iter().chain(&right).all(|column| column.len() == rows && column.iter().all(|x| x.is_finite()));
    if rows < count || !even {
        return None;
    }
    let scale = columns.iter().map(|column| norm(column)).fold(0.0, f64::max);
    let mut diagonal = Vec::with_capacity(count);
    for place in 0..count {
        let (done, rest) = columns.split_at_mut(place + 1);
        let mut mirror = done[place][place..].to_vec();
        let length = norm(&mirror);
        if length <= scale * SINGULAR * rows as f64 {
            return None;
        }
        let pivot = if mirror[0] > 0.0 { -length } else { length };
        mirror[0] -= pivot;
        let weight = 2.0 / dot(&mirror, &mirror);
        rest.par_iter_mut()
            .with_min_len(COLUMNS_PER_TASK)
            .for_each(|column| reflect(&mut column[place..], &mirror, weight));
        for column in &mut right {
            reflect(&mut column[place..], &mirror, weight);
        }
        diagonal.push(pivot);
    }
    for solution in &mut right {
        for place in (0..count).rev() {
            let known: f64 = (place + 1..count).map(|next| columns[next][place] * solution[next]).sum();
            solution[place] = (solution[place] - known) / diagonal[place];
        }
        solution.truncate(count);
    }
    Some(right)
}

/// Singular values, falling, by Hestenes' one-sided Jacobi rotations (Golub and Van Loan, section 8.6.3), and the columns
/// U·Σ in the same order.
pub(crate) fn singular(mut columns: Vec<Vec<f64>>) -> (Vec<f64>, Vec<Vec<f64>>) {
    let floor = columns.iter().map(|column| dot(column, column)).sum::<f64>() * NEGLIGIBLE;
    for _ in 0..SWEEPS_MAX {
        let mut turned = false;
        for first in 0..columns.len() {
            let (head, tail) = columns.split_at_mut(first + 1);
            let Some(p) = head.last_mut() else { continue };
            for q in tail {
                turned |= rotate(p, q, floor);
            }
        }
        if !turned {
            break;
        }
    }
    let mut ranked: Vec<(f64, Vec<f64>)> = columns.into_iter().map(|column| (norm(&column), column)).collect();
    ranked.sort_by(|a, b| b.0.total_cmp(&a.0));
    ranked.into_iter().unzip()
}

/// Makes two columns orthogonal; whether they were not.
fn rotate(p: &mut [f64], q: &mut [f64], floor: f64) -> bool {
    let (a, b, mixed) = (dot(p, p), dot(q, q), dot(p, q));
    if mixed.abs() <= ORTHOGONAL * (a * b).sqrt() || mixed.abs() <= floor {
        return false;
    }
    let zeta = (b - a) / (2.0 * mixed);
    let tangent = zeta.signum() / (zeta.abs() + (1.0 + zeta * zeta).sqrt());
    let cosine = 1.0 / (1.0 + tangent * tangent).sqrt();
    let sine = cosine * tangent;
    for (x, y) in p.iter_mut().zip(q) {
        (*x, *y) = (cosine * *x - sine * *y, sine * *x + cosine * *y);
    }
    true
}

/// The lower factor L of a symmetric positive definite matrix L·Lᵀ, by rows (Golub and Van Loan, algorithm 4.2.1).
pub(crate) struct Cholesky(Vec<Vec<f64>>);

impl Cholesky {
    /// Factors a matrix whose lower half is given: row `i` holds the columns `0..=i`. Pivots that rounding made too small, as
    /// those of a matrix that is not positive definite, count as [`PIVOT_MIN`].
    pub(crate) fn new(mut rows: Vec<Vec<f64>>) -> Self {
        for place in 0..rows.len() {
            let (done, rest) = rows.split_at_mut(place + 1);
            let row = &mut done[place];
            let pivot = (row[place] - dot(&row[..place], &row[..place])).max(PIVOT_MIN).sqrt();
            row[place] = pivot;
            let row = &done[place][..place];
            rest.par_iter_mut().with_min_len(COLUMNS_PER_TASK).for_each(|below| {
                let (known, open) = below.split_at_mut(place);
                open[0] = (open[0] - dot(known, row)) / pivot;
            });
        }
        Self(rows)
    }

    /// L⁻¹·`right`, whose first `zeros` values are 0.
    pub(crate) fn forward(&self, right: &mut [f64], zeros: usize) {
        for (place, row) in self.0.iter().enumerate().skip(zeros) {
            right[place] = (right[place] - dot(&row[zeros..place], &right[zeros..place])) / row[place];
        }
    }

    /// The solution of L·Lᵀ·x = `right`.
    pub(crate) fn solve(&self, right: &mut [f64]) {
        self.forward(right, 0);
        for (place, row) in self.0.iter().enumerate().rev() {
            right[place] /= row[place];
            let (open, known) = right.split_at_mut(place);
            for (value, factor) in open.iter_mut().zip(row) {
                *value -= known[0] * factor;
            }
        }
    }

    /// The diagonal of the matrix's inverse.
    pub(crate) fn inverse_diagonal(&self) -> Vec<f64> {
        let count = self.0.len();
        let column = |place: usize| {
            let mut column = vec![0.0; count];
            column[place] = 1.0;
            self.forward(&mut column, place);
            dot(&column, &column)
        };
        (0..count).into_par_iter().map(column).collect()
    }
}

fn reflect(column: &mut [f64], mirror: &[f64], weight: f64) {
    let share = weight * dot(column, mirror);
    for (value, part) in column.iter_mut().zip(mirror) {
        *value -= share * part;
    }
}

/// The sum of the products.
pub(crate) fn dot(a: &[f64], b: &[f64]) -> f64 {
    // Four sums, so that additions need not wait for one another.
    let mut sums = [0.0; 4];
    let (mut left, mut right) = (a.chunks_exact(4), b.chunks_exact(4));
    for (x, y) in left.by_ref().zip(right.by_ref()) {
        for lane in 0..4 {
            sums[lane] += x[lane] * y[lane];
        }
    }
    let rest: f64 = left.remainder().iter().zip(right.remainder()).map(|(x, y)| x * y).sum();
    sums.iter().sum::<f64>() + rest
}

/// The Euclidean length.
pub(crate) fn norm(a: &[f64]) -> f64 {
    dot(a, a).sqrt()
}

/// A pivot below this share of the longest column, times the rows, is a dependence.
const SINGULAR: f64 = 1e-15;
/// Cosine of two columns that count as orthogonal.
const ORTHOGONAL: f64 = 1e-15;
/// Products of columns below this share of the squared Frobenius norm are rounding.
const NEGLIGIBLE: f64 = 1e-32;
/// Least square of a pivot of Cholesky's factor.
const PIVOT_MIN: f64 = 1e-12;
const SWEEPS_MAX: usize = 40;
const COLUMNS_PER_TASK: usize = 32;

#[cfg(test)]
mod tests {
    use ringfence_nn::random::Random;

    use super::{Cholesky, dot, least_squares, singular};

    fn random(seed: u64, rows: usize, count: usize) -> Vec<Vec<f64>> {
        let mut random = Random::new(seed);
        (0..count).map(|_| (0..rows).map(|_| random.normal()).collect()).collect()
    }

    #[test]
    fn what_was_mixed_is_found_again() {
        for (rows, count) in [(5, 5), (40, 12), (90, 90)] {
            let columns = random(rows as u64, rows, count);
            let wanted = random(7, count, 2);
            let mixed = wanted
                .iter()
                .map(|x| (0..rows).map(|row| (0..count).map(|place| columns[place][row] * x[place]).sum()).collect());
            let found = least_squares(columns.clone(), mixed.collect()).unwrap();
            for (found, wanted) in found.iter().flatten().zip(wanted.iter().flatten()) {
                assert!((found - wanted).abs() < 1e-9, "{found} is not {wanted}");
            }
        }
    }

    #[test]
    fn columns_that_depend_on_one_another_have_no_solution() {
        let mut columns = random(1, 20, 3);
        columns[2] = columns[0].iter().zip(&columns[1]).map(|(a, b)| 2.0 * a - b).collect();
        assert!(least_squares(columns, random(2, 20, 1)).is_none());
        assert!(least_squares(random(1, 3, 4), random(2, 3, 1)).is_none());
        assert!(least_squares(vec![vec![f64::NAN]], vec![vec![1.0]]).is_none());
    }

    #[test]
    fn a_factored_matrix_is_inverted() {
        let columns = random(4, 30, 12);
        let entry = |i: usize, j: usize| dot(&columns[i], &columns[j]) + if i == j { 0.1 } else { 0.0 };
        let factor = Cholesky::new((0..12).map(|i| (0..=i).map(|j| entry(i, j)).collect()).collect());
        let diagonal = factor.inverse_diagonal();
        for place in 0..12 {
            let mut x = vec![0.0; 12];
            x[place] = 1.0;
            factor.solve(&mut x);
            assert!((x[place] - diagonal[place]).abs() < 1e-12);
            for row in 0..12 {
                let product: f64 = (0..12).map(|column| entry(row, column) * x[column]).sum();
                let wanted = if row == place { 1.0 } else { 0.0 };
                assert!((product - wanted).abs() < 1e-10, "{product}");
            }
        }
    }

    #[test]
    fn singular_values_of_known_matrices() {
        // [[3, 0], [4, 5]] has the singular values 3·√5 and √5.
        let (values, _) = singular(vec![vec![3.0, 4.0], vec![0.0, 5.0]]);
        assert!((values[0] - 3.0 * 5_f64.sqrt()).abs() < 1e-12 && (values[1] - 5_f64.sqrt()).abs() < 1e-12);
        // A product of 30×4 and 4×20 has rank 4, and the columns that come out are orthogonal.
        let (left, right) = (random(3, 30, 4), random(4, 4, 20));
        let product: Vec<Vec<f64>> =
            right.iter().map(|x| (0..30).map(|row| (0..4).map(|k| left[k][row] * x[k]).sum()).collect()).collect();
        let (values, columns) = singular(product);
        assert!(values[3] > 0.1 && values[4] < 1e-12 * values[0], "{values:?}");
        assert!(dot(&columns[0], &columns[3]).abs() < 1e-10);
    }
}
