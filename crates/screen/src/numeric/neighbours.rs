//! Each record's nearest records, class by class.
//!
//! Squared distances of all pairs by blocked matrix products, exact up to [`EXACT_DIMS_MAX`] dimensions; beyond, candidates
//! come from the leading principal components and are ranked in full by [`super::votes`]. Asking class by class keeps a
//! relabelled record's true class in sight even when records with the same trigger are all nearer.

use rayon::prelude::*;

use super::{Labelled, space::Space};
use crate::options::Meter;

/// Nearest records of every record, by group.
pub(crate) struct Neighbours {
    /// Classes, or 1 where there are too many for lists of their own.
    pub(crate) groups: usize,
    pub(crate) per_group: usize,
    ids: Vec<u32>,
}

impl Neighbours {
    /// Candidates of `record`, nearest first within each group.
    pub(crate) fn of(&self, record: usize) -> impl Iterator<Item = u32> + '_ {
        let width = self.groups * self.per_group;
        self.ids[record * width..(record + 1) * width].iter().copied().filter(|id| *id != NOBODY)
    }
}

/// Finds candidates for every record. `twins` gives records of equal content the same number; they are not each other's
/// neighbours in images, where copies would vote for themselves.
pub(crate) fn search(space: &Space, labelled: &Labelled, twins: &[u32], meter: &mut Meter<'_>) -> Neighbours {
    let coarse;
    let (points, dims, slack) = if space.dims <= EXACT_DIMS_MAX {
        (space.points.as_slice(), space.dims, 0)
    } else {
        meter.at("projection", 0, 1);
        coarse = project(space);
        (coarse.as_slice(), COARSE_DIMS, 2)
    };
    let groups = if labelled.classes <= GROUPED_CLASSES_MAX { labelled.classes } else { 1 };
    let per_group = (CANDIDATES / groups).clamp(PER_GROUP_MIN, if groups == 1 { CANDIDATES / 2 } else { 30 }) + slack;
    let exclude_twins = space.image.is_some();
    let panels = Panels::pack(points, dims, labelled, groups);
    let width = groups * per_group;
    let mut ids = vec![NOBODY; space.rows * width];
    let blocks = space.rows.div_ceil(BLOCK_ROWS);
    let wave = WAVE_BLOCKS;
    for (step, slice) in ids.chunks_mut(wave * BLOCK_ROWS * width).enumerate() {
        meter.at("neighbours", (step * wave).min(blocks), blocks);
        slice.par_chunks_mut(BLOCK_ROWS * width).enumerate().for_each(|(block, out)| {
            let first = (step * wave + block) * BLOCK_ROWS;
            panels.nearest(points, first, per_group, |a, b| a == b || (exclude_twins && twins[a] == twins[b]), out);
        });
    }
    meter.at("neighbours", blocks, blocks);
    Neighbours { groups, per_group, ids }
}

/// The points of all records that have a label, ordered by group and packed in panels of [`LANES`] for the product.
struct Panels {
    dims: usize,
    groups: usize,
    /// Record behind each packed place, and its group.
    order: Vec<u32>,
    group_of: Vec<u32>,
    data: Vec<f32>,
    norms: Vec<f32>,
}

impl Panels {
    fn pack(points: &[f32], dims: usize, labelled: &Labelled, groups: usize) -> Self {
        let mut order: Vec<u32> =
            (0_u32..).take(labelled.y.len()).filter(|r| labelled.class(*r as usize).is_some()).collect();
        let group = |record: u32| if groups == 1 { 0 } else { labelled.y[record as usize] };
        order.sort_by_key(|record| (group(*record), *record));
        let group_of = order.iter().map(|record| group(*record)).collect();
        let panels = order.len().div_ceil(LANES);
        let mut data = vec![0.0; panels * LANES * dims];
        let mut norms = vec![f32::INFINITY; panels * LANES];
        for (place, record) in order.iter().enumerate() {
            let point = &points[*record as usize * dims..(*record as usize + 1) * dims];
            let panel = &mut data[place / LANES * LANES * dims..];
            point.iter().enumerate().for_each(|(dim, value)| panel[dim * LANES + place % LANES] = *value);
            norms[place] = point.iter().map(|value| value * value).sum();
        }
        Self { dims, groups, order, group_of, data, norms }
    }

    /// Fills `out` with the nearest of the records from `first` on.
    fn nearest(
        &self,
        points: &[f32],
        first: usize,
        per_group: usize,
        skip: impl Fn(usize, usize) -> bool,
        out: &mut [u32],
    ) {
        let width = self.groups * per_group;
        let rows = out.len() / width;
        let dims = self.dims;
        let mut best = vec![f32::INFINITY; rows * width];
        // Queries packed four abreast, so that the kernel reads both operands in order.
        let quads = rows.div_ceil(QUAD);
        let mut queries = vec![0.0; quads * QUAD * dims];
        for row in 0..rows {
            let point = &points[(first + row) * dims..(first + row + 1) * dims];
            let quad = &mut queries[row / QUAD * QUAD * dims..];
            point.iter().enumerate().for_each(|(dim, value)| quad[dim * QUAD + row % QUAD] = *value);
        }
        for (panel, norms) in self.norms.chunks_exact(LANES).enumerate() {
            let columns = &self.data[panel * LANES * dims..(panel + 1) * LANES * dims];
            let (from, to) = (panel * LANES, ((panel + 1) * LANES).min(self.order.len()));
            let (low, high) = (self.group_of[from] as usize, self.group_of[to - 1] as usize);
            for quad in 0..quads {
                let products = kernel(&queries[quad * QUAD * dims..(quad + 1) * QUAD * dims], columns);
                for (lane_row, products) in products.iter().enumerate().take(rows - quad * QUAD) {
                    let row = quad * QUAD + lane_row;
                    let mut distances = [0.0_f32; LANES];
                    for lane in 0..LANES {
                        distances[lane] = norms[lane] - 2.0 * products[lane];
                    }
                    let worst = (low..=high).fold(f32::NEG_INFINITY, |worst, group| {
                        worst.max(best[row * width + (group + 1) * per_group - 1])
                    });
                    if distances.iter().fold(0_u32, |hits, distance| hits | u32::from(*distance < worst)) == 0 {
                        continue;
                    }
                    for (lane, distance) in distances.iter().enumerate() {
                        let Some(record) = self.order.get(from + lane) else { break };
                        let start = row * width + self.group_of[from + lane] as usize * per_group;
                        if *distance < best[start + per_group - 1] && !skip(first + row, *record as usize) {
                            insert(
                                &mut best[start..start + per_group],
                                &mut out[start..start + per_group],
                                *distance,
                                *record,
                            );
                        }
                    }
                }
            }
        }
    }
}

/// Puts a record into a sorted list, behind those of the same distance.
fn insert(distances: &mut [f32], ids: &mut [u32], distance: f32, id: u32) {
    let at = distances.partition_point(|known| *known <= distance);
    distances[at..].rotate_right(1);
    ids[at..].rotate_right(1);
    (distances[at], ids[at]) = (distance, id);
}

/// Products of four queries with eight columns. Plain loops over arrays of fixed size, which compilers turn into vector
/// instructions without `unsafe`.
fn kernel(queries: &[f32], columns: &[f32]) -> [[f32; LANES]; QUAD] {
    let mut sums = [[0.0_f32; LANES]; QUAD];
    for (query, column) in queries.as_chunks::<QUAD>().0.iter().zip(columns.as_chunks::<LANES>().0) {
        for row in 0..QUAD {
            for lane in 0..LANES {
                sums[row][lane] += query[row] * column[lane];
            }
        }
    }
    sums
}

/// The leading principal components of the points (of their averages over short runs of dimensions, where there are very
/// many), by subspace iteration from a fixed start on a sample's covariance.
fn project(space: &Space) -> Vec<f32> {
    let run = space.dims.div_ceil(PROJECTED_DIMS_MAX);
    let dims = space.dims.div_ceil(run);
    let shrink =
        |record: usize| -> Vec<f32> { space.point(record).chunks(run).map(|part| part.iter().sum()).collect() };
    let stride = space.rows.div_ceil(SAMPLE_RECORDS);
    let sample: Vec<Vec<f32>> = (0..space.rows).step_by(stride).map(shrink).collect();
    let mut mean = vec![0.0_f32; dims];
    for point in &sample {
        mean.iter_mut().zip(point).for_each(|(mean, value)| *mean += value);
    }
    for value in &mut mean {
        *value /= sample.len() as f32;
    }
    let mut covariance = vec![0.0_f32; dims * dims];
    covariance.par_chunks_mut(dims).enumerate().for_each(|(dim, row)| {
        for point in &sample {
            let factor = point[dim] - mean[dim];
            if factor != 0.0 {
                row.iter_mut()
                    .zip(point.iter().zip(&mean))
                    .for_each(|(sum, (value, mean))| *sum += factor * (value - mean));
            }
        }
    });
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut basis: Vec<Vec<f32>> =
        (0..COARSE_DIMS).map(|_| (0..dims).map(|_| crate::calibrate::uniform(&mut state) - 0.5).collect()).collect();
    for _ in 0..SUBSPACE_ROUNDS {
        basis =
            basis.par_iter().map(|axis| covariance.chunks_exact(dims).map(|row| dot(row, axis)).collect()).collect();
        orthonormalise(&mut basis);
    }
    let mut out = vec![0.0; space.rows * COARSE_DIMS];
    out.par_chunks_mut(COARSE_DIMS).enumerate().for_each(|(record, point)| {
        let centred: Vec<f32> = shrink(record).iter().zip(&mean).map(|(value, mean)| value - mean).collect();
        point.iter_mut().zip(&basis).for_each(|(value, axis)| *value = dot(&centred, axis));
    });
    out
}

fn orthonormalise(basis: &mut [Vec<f32>]) {
    for index in 0..basis.len() {
        let (before, rest) = basis.split_at_mut(index);
        let axis = &mut rest[0];
        for other in before.iter() {
            let overlap = dot(axis, other);
            axis.iter_mut().zip(other).for_each(|(value, other)| *value -= overlap * other);
        }
        let norm = dot(axis, axis).sqrt();
        for value in axis.iter_mut() {
            *value = if norm > 1e-12 { *value / norm } else { 0.0 };
        }
    }
}

/// Inner product in eight partial sums, which is exact in the same way on every machine.
pub(crate) fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0_f32; LANES];
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
    for (a, b) in a.iter().zip(b) {
        for lane in 0..LANES {
            sums[lane] += a[lane] * b[lane];
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    sums.iter().sum::<f32>() + rest
}

/// Up to so many dimensions the search is exact.
const EXACT_DIMS_MAX: usize = 64;
const COARSE_DIMS: usize = 32;
const PROJECTED_DIMS_MAX: usize = 1024;
const SAMPLE_RECORDS: usize = 6000;
const SUBSPACE_ROUNDS: usize = 8;
/// Up to so many classes each has a list of its own.
const GROUPED_CLASSES_MAX: usize = 32;
const CANDIDATES: usize = 100;
const PER_GROUP_MIN: usize = 4;
const LANES: usize = 8;
const QUAD: usize = 4;
const BLOCK_ROWS: usize = 64;
const WAVE_BLOCKS: usize = 64;
const NOBODY: u32 = u32::MAX;
