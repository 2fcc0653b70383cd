//! How few directions a difference needs.
//!
//! A matrix of any size is folded into at most 512 × 512 by random signs on both sides (a CountSketch: Charikar, Chen and
//! Farach-Colton 2002; Clarkson and Woodruff 2013), one addition an element. The fold cannot raise a rank and keeps the
//! spectrum of a low-rank matrix up to a small factor. Of the fold, a randomised range finder with power iterations
//! (Halko, Martinsson and Tropp 2011, algorithm 4.4) yields the largest singular values.
//!
//! Limit: an edit that is larger than 32 directions, or drowned in noise of the same energy, is not told from training.

/// Most rows and columns of the fold.
const SIDE_MAX: usize = 512;
/// Directions that are looked for.
const DIRECTIONS: usize = 40;
/// Directions of which the last few only steady the others.
const RANK_MAX: usize = 32;
/// Power iterations.
const ITERATIONS: usize = 2;
/// Share of the energy that the directions must hold.
const SHARE: f64 = 0.95;
/// Sweeps of Jacobi's method; ten are plenty for forty rows.
const SWEEPS: usize = 12;

/// Longest row for which places are kept.
const COLUMNS_MAX: u64 = 1 << 22;

/// A folded matrix, filled element by element in row-major order.
pub(super) struct Sketch {
    rows: u64,
    columns: u64,
    row: u64,
    column: u64,
    height: usize,
    width: usize,
    /// Where the current row goes, and its sign.
    target: (usize, f64),
    /// For each column where it goes, and its sign.
    places: Vec<(u32, f32)>,
    cells: Vec<f64>,
}

impl Sketch {
    /// A sketch for a tensor of this shape, flattened behind its first dimension; `None` for vectors and what is too wide.
    pub(super) fn new(shape: &[u64]) -> Option<Self> {
        let (rows, rest) = shape.split_first()?;
        let columns = rest.iter().try_fold(1_u64, |product, side| product.checked_mul(*side))?;
        if *rows < 2 || !(2..=COLUMNS_MAX).contains(&columns) {
            return None;
        }
        let side = |length: u64| usize::try_from(length).unwrap_or(usize::MAX).min(SIDE_MAX);
        let (height, width) = (side(*rows), side(columns));
        let places = (0..columns).map(|column| {
            let (place, sign) = fold(column, columns, width, 1);
            #[expect(clippy::cast_possible_truncation, reason = "at most 512 and one of two signs")]
            let place = (place as u32, sign as f32);
            place
        });
        let places = places.collect();
        let cells = vec![0.0; height * width];
        let target = fold(0, *rows, height, 2);
        Some(Self { rows: *rows, columns, row: 0, column: 0, height, width, target, places, cells })
    }

    pub(super) fn add(&mut self, value: f64) {
        let column = usize::try_from(self.column).unwrap_or(usize::MAX);
        if let Some((place, sign)) = self.places.get(column).filter(|_| value.is_finite()) {
            let (row, row_sign) = self.target;
            if let Some(cell) = self.cells.get_mut(row * self.width + *place as usize) {
                *cell += value * row_sign * f64::from(*sign);
            }
        }
        self.column += 1;
        if self.column == self.columns {
            self.column = 0;
            self.row += 1;
            self.target = fold(self.row, self.rows, self.height, 2);
        }
    }

    /// Fewest directions that hold 95 % of the energy; `None` where more than 32 are needed or there is no energy.
    pub(super) fn rank(self) -> Option<u64> {
        let total: f64 = self.cells.iter().map(|cell| cell * cell).sum();
        if total <= 0.0 || !total.is_finite() {
            return None;
        }
        let count = DIRECTIONS.min(self.height).min(self.width);
        // Columns of the range, each as long as the matrix is high.
        let mut range: Vec<Vec<f64>> = (0..count).map(|index| self.times(&start(index, self.width))).collect();
        orthonormal(&mut range);
        for _ in 0..ITERATIONS {
            let mut back: Vec<Vec<f64>> = range.iter().map(|vector| self.transposed_times(vector)).collect();
            orthonormal(&mut back);
            range = back.iter().map(|vector| self.times(vector)).collect();
            orthonormal(&mut range);
        }
        let small: Vec<Vec<f64>> = range.iter().map(|vector| self.transposed_times(vector)).collect();
        let gram = small.iter().map(|a| small.iter().map(|b| dot(a, b)).collect()).collect();
        let mut energies = eigenvalues(gram);
        energies.sort_unstable_by(|a, b| b.total_cmp(a));
        let mut held = 0.0;
        for (index, energy) in energies.iter().take(RANK_MAX).enumerate() {
            held += energy;
            if held >= SHARE * total {
                return Some(index as u64 + 1);
            }
        }
        None
    }

    fn times(&self, vector: &[f64]) -> Vec<f64> {
        self.cells.chunks_exact(self.width).map(|row| dot(row, vector)).collect()
    }

    fn transposed_times(&self, vector: &[f64]) -> Vec<f64> {
        let mut out = vec![0.0; self.width];
        for (row, factor) in self.cells.chunks_exact(self.width).zip(vector) {
            for (sum, cell) in out.iter_mut().zip(row) {
                *sum += factor * cell;
            }
        }
        out
    }
}

/// Where a row or column goes, and its sign; what fits stays where it is.
fn fold(index: u64, length: u64, side: usize, salt: u64) -> (usize, f64) {
    if length <= side as u64 {
        return (usize::try_from(index).unwrap_or(0).min(side.saturating_sub(1)), 1.0);
    }
    let mixed = mix(index ^ salt << 60);
    let place = usize::try_from(mixed >> 32).unwrap_or(0) % side.max(1);
    (place, if mixed & 1 == 0 { 1.0 } else { -1.0 })
}

/// A random vector of signs.
fn start(index: usize, length: usize) -> Vec<f64> {
    let sign = |at: usize| if mix((index as u64) << 32 | at as u64) & 1 == 0 { 1.0 } else { -1.0 };
    (0..length).map(sign).collect()
}

/// splitmix64 (Steele, Lea and Flood 2014) of one number.
fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ value >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ value >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ value >> 31
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// Gram and Schmidt, twice over, which is enough (Giraud, Langou and Rozložník 2005); vectors that vanish become zero.
fn orthonormal(vectors: &mut [Vec<f64>]) {
    for index in 0..vectors.len() {
        let (done, rest) = vectors.split_at_mut(index);
        let Some(vector) = rest.first_mut() else { return };
        let before = dot(vector, vector).sqrt();
        for _ in 0..2 {
            for other in done.iter() {
                let along = dot(vector, other);
                vector.iter_mut().zip(other).for_each(|(value, other)| *value -= along * other);
            }
        }
        let length = dot(vector, vector).sqrt();
        let scale = if length > before * 1e-12 && length > 0.0 { 1.0 / length } else { 0.0 };
        for value in vector.iter_mut() {
            *value *= scale;
        }
    }
}

/// Eigenvalues of a small symmetric matrix by Jacobi's rotations.
fn eigenvalues(mut matrix: Vec<Vec<f64>>) -> Vec<f64> {
    let size = matrix.len();
    let at = |matrix: &[Vec<f64>], row: usize, column: usize| {
        matrix.get(row).and_then(|row| row.get(column)).copied().unwrap_or(0.0)
    };
    for _ in 0..SWEEPS {
        for p in 0..size {
            for q in p + 1..size {
                let (app, aqq, apq) = (at(&matrix, p, p), at(&matrix, q, q), at(&matrix, p, q));
                if apq.abs() <= 1e-14 * (app.abs() + aqq.abs()) {
                    continue;
                }
                let slope = (aqq - app) / (2.0 * apq);
                let tangent = slope.signum() / (slope.abs() + (slope * slope + 1.0).sqrt());
                let cosine = 1.0 / (tangent * tangent + 1.0).sqrt();
                let sine = tangent * cosine;
                for row in &mut matrix {
                    if let (Some(a), Some(b)) = (row.get(p).copied(), row.get(q).copied()) {
                        if let Some(cell) = row.get_mut(p) {
                            *cell = cosine * a - sine * b;
                        }
                        if let Some(cell) = row.get_mut(q) {
                            *cell = sine * a + cosine * b;
                        }
                    }
                }
                for column in 0..size {
                    let (a, b) = (at(&matrix, p, column), at(&matrix, q, column));
                    for (row, value) in [(p, cosine * a - sine * b), (q, sine * a + cosine * b)] {
                        if let Some(cell) = matrix.get_mut(row).and_then(|row| row.get_mut(column)) {
                            *cell = value;
                        }
                    }
                }
            }
        }
    }
    (0..size).map(|index| at(&matrix, index, index)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(index: u64) -> f64 {
        (mix(index) >> 11) as f64 / 2_f64.powi(52) - 1.0
    }

    fn rank_of(rows: u64, columns: u64, value: impl Fn(u64, u64) -> f64) -> Option<u64> {
        let mut sketch = Sketch::new(&[rows, columns]).unwrap();
        (0..rows).for_each(|row| (0..columns).for_each(|column| sketch.add(value(row, column))));
        sketch.rank()
    }

    #[test]
    fn low_ranks_are_found_small_and_folded() {
        for (rows, columns) in [(100, 80), (900, 1_300)] {
            for rank in [1, 4, 8] {
                let low = |row: u64, column: u64| {
                    (0..rank).map(|k| noise(row * 64 + k) * noise(1 << 40 | (column * 64 + k))).sum()
                };
                let found = rank_of(rows, columns, low).unwrap();
                assert!(found <= rank && found + 1 >= rank.min(4), "{rows}x{columns} rank {rank}: {found}");
            }
        }
    }

    #[test]
    fn noise_has_no_low_rank() {
        assert_eq!(rank_of(300, 300, |row, column| noise(row << 20 | column)), None);
        assert_eq!(rank_of(800, 700, |row, column| noise(row << 20 | column)), None);
        assert_eq!(rank_of(10, 10, |_, _| 0.0), None);
    }
}
