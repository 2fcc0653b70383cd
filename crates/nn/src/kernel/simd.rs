//! Single-precision products for AVX-512 and AVX2, chosen at run time; other machines use `matrixmultiply`.
//!
//! The products of a network are many and small (a 16 × 16 by 16 × 196 for each image), so nothing is packed:
//!
//! * where the rows of B lie contiguously, a tile of C stays in registers while k runs: one vector load of B serves all
//!   rows of the tile, A is read as single numbers at any strides;
//! * where B is transposed and A is not, both lie contiguously along k: a tile of dot products, summed across at the end.
//!
//! Two operands that are both transposed do not occur often enough and are left to `matrixmultiply`.
//!
//! Large products of trained weights go by [`Panel`]s: B is copied, a few columns at a time, so that a tile's rows of it
//! follow one another; layers keep the copy of their weights. Where an operand lies at scattered places, as a convolution's
//! patches do, it is read there: [`direct`] and [`stripes`]; [`moves`] brings the numbers to and from them.

#![expect(unsafe_code, reason = "vector registers over raw strided matrices; see the contracts of `Operands`")]

pub(crate) mod direct;
pub(crate) mod moves;
pub(crate) mod stripes;

/// Raw strided matrices: A is `m × k`, B `k × n`, C `m × n` with contiguous rows.
#[derive(Clone, Copy)]
pub(crate) struct Operands {
    pub(crate) m: usize,
    pub(crate) k: usize,
    pub(crate) n: usize,
    pub(crate) a: *const f32,
    pub(crate) a_row: usize,
    pub(crate) a_column: usize,
    pub(crate) b: *const f32,
    pub(crate) b_row: usize,
    pub(crate) b_column: usize,
    pub(crate) c: *mut f32,
    pub(crate) c_row: usize,
    /// Add to C instead of overwriting it.
    pub(crate) add: bool,
}

/// Computes C where this machine and these strides have a kernel; says whether it did.
///
/// # Safety
/// For all `i < m, p < k, j < n`: `a + i·a_row + p·a_column` and `b + p·b_row + j·b_column` are readable,
/// `c + i·c_row + j` is readable, writable, and reachable through nothing else.
pub(crate) unsafe fn product(operands: &Operands) -> bool {
    let by_dots = operands.b_row == 1 && operands.a_column == 1;
    // A single column fills one lane of a vector, but whole vectors of a dot product.
    let by_rows = if operands.n == 1 { !by_dots } else { operands.b_column == 1 };
    if !by_rows && !by_dots {
        return false;
    }
    #[cfg(target_arch = "x86_64")]
    {
        if std::arch::is_x86_feature_detected!("avx512f") {
            // SAFETY: the feature is there, the matrices are as promised, and their strides were looked at above.
            unsafe { if by_rows { avx512::rows(operands) } else { avx512::dots(operands) } }
            return true;
        }
        if std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma") {
            // SAFETY: as above.
            unsafe { if by_rows { avx2::rows(operands) } else { avx2::dots(operands) } }
            return true;
        }
    }
    false
}

/// Raw matrices for one panel: C (`m × n`) from A (`m × k`, contiguous rows) and `k` rows of [`panel_width`] numbers.
#[derive(Clone, Copy)]
pub(crate) struct Panel {
    pub(crate) m: usize,
    pub(crate) k: usize,
    pub(crate) n: usize,
    pub(crate) a: *const f32,
    pub(crate) a_row: usize,
    pub(crate) b: *const f32,
    pub(crate) c: *mut f32,
    pub(crate) c_row: usize,
    pub(crate) start: Start,
    /// What is below 0 becomes 0, and so does what is no number.
    pub(crate) rectify: bool,
}

/// What the product is added to.
#[derive(Clone, Copy)]
pub(crate) enum Start {
    /// Nothing: C is overwritten.
    Zero,
    /// What C holds.
    Result,
    /// One number for each row of C.
    Rows(*const f32),
}

impl Start {
    /// The start of the rows from `first` on.
    fn skip(self, first: usize) -> Self {
        match self {
            Self::Rows(rows) => Self::Rows(rows.wrapping_add(first)),
            other => other,
        }
    }
}

/// Columns of a panel on this machine, and numbers in a vector; `None` where there is no kernel.
pub(crate) fn panel_width() -> Option<(usize, usize)> {
    #[cfg(target_arch = "x86_64")]
    {
        if std::arch::is_x86_feature_detected!("avx512f") {
            return Some((avx512::WIDTH, avx512::WIDTH / 2));
        }
        if std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma") {
            return Some((avx2::WIDTH, avx2::WIDTH / 2));
        }
    }
    None
}

/// Computes C from a panel; nothing where there is no kernel.
///
/// # Safety
/// For all `i < m, p < k, j < n`: `a + i·a_row + p` is readable, `c + i·c_row + j` readable, writable and reachable through
/// nothing else; `b` has `k` rows of [`panel_width`] numbers, `n` is at most that, a start has `m` numbers.
pub(crate) unsafe fn panel(o: &Panel) {
    #[cfg(target_arch = "x86_64")]
    {
        if std::arch::is_x86_feature_detected!("avx512f") {
            // SAFETY: the feature is there; the rest is the caller's promise.
            unsafe { avx512::panel(o) }
        } else if std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma") {
            // SAFETY: as above.
            unsafe { avx2::panel(o) }
        }
    }
}

/// How much of k one pass over the tiles takes: B's part of a tile then fits the first-level cache.
#[cfg(target_arch = "x86_64")]
const K_BLOCK: usize = 192;

/// The kernels of one instruction set. `$first` are those that zero, spread, multiply-add, load, store and sum vectors;
/// `mask` makes the mask for a number of lanes.
#[cfg(target_arch = "x86_64")]
macro_rules! kernels {
    (
        $module:ident, $features:literal, $vector:ident, lanes $lanes:literal, mask $mask:ty,
        rows $most_rows:literal [$($rows:literal)+], vectors $most_vectors:literal [$($vectors:literal)+],
        dots [$($dots:literal)+],
        $zero:ident, $spread:ident, $multiply_add:ident, $load:ident, $store:ident,
        $($helpers:item)+
    ) => {
        mod $module {
            use std::arch::x86_64::*;

            use super::{K_BLOCK, Operands, Panel, Start};

            /// Columns of a panel: two vectors.
            pub(super) const WIDTH: usize = 2 * $lanes;

            $($helpers)+

            /// A tile whose rows of B are contiguous: see [`Operands`], with `n` at most a few vectors.
            #[target_feature(enable = $features)]
            unsafe fn tile<const ROWS: usize, const VECTORS: usize>(o: &Operands) {
                let tail = o.n - (VECTORS - 1) * $lanes;
                let (whole, mask) = (tail == $lanes, mask(tail));
                let mut sums = [[$zero(); VECTORS]; ROWS];
                let mut b = [$zero(); VECTORS];
                // Pointers that walk along k. Their last step leads out of the matrices, which only `wrapping_add` may
                // do; it also spares the overflow checks that the workspace has everywhere else.
                let mut a_at: [*const f32; ROWS] = std::array::from_fn(|row| o.a.wrapping_add(row * o.a_row));
                let mut b_at = o.b;
                for _ in 0..o.k {
                    for (v, b) in b.iter_mut().enumerate() {
                        let at = b_at.wrapping_add(v * $lanes);
                        // SAFETY: this row of B has n numbers; the last vector takes those that are left.
                        *b = unsafe { if v + 1 < VECTORS || whole { $load(at) } else { masked_load(at, mask) } };
                    }
                    for (at, sums) in a_at.iter_mut().zip(&mut sums) {
                        // SAFETY: one of the m rows of A, at a place below k.
                        let a = unsafe { $spread(**at) };
                        *at = at.wrapping_add(o.a_column);
                        for (sum, b) in sums.iter_mut().zip(&b) {
                            *sum = $multiply_add(a, *b, *sum);
                        }
                    }
                    b_at = b_at.wrapping_add(o.b_row);
                }
                for (row, sums) in sums.iter().enumerate() {
                    for (v, sum) in sums.iter().enumerate() {
                        // SAFETY: row of C, which has n numbers; the last vector takes those that are left.
                        unsafe {
                            let at = o.c.add(row * o.c_row + v * $lanes);
                            if v + 1 < VECTORS || whole {
                                $store(at, if o.add { add(*sum, $load(at)) } else { *sum });
                            } else {
                                masked_store(at, mask, if o.add { add(*sum, masked_load(at, mask)) } else { *sum });
                            }
                        }
                    }
                }
            }

            #[target_feature(enable = $features)]
            unsafe fn tile_of<const ROWS: usize>(o: &Operands) {
                match o.n.div_ceil($lanes) {
                    // SAFETY: the caller's promise.
                    $($vectors => unsafe { tile::<ROWS, $vectors>(o) },)+
                    _ => {}
                }
            }

            /// C by tiles; B's rows are contiguous.
            ///
            /// # Safety
            /// As [`super::product`]; the CPU has the features.
            #[target_feature(enable = $features)]
            pub(super) unsafe fn rows(o: &Operands) {
                for p in (0..o.k).step_by(K_BLOCK) {
                    for j in (0..o.n).step_by($most_vectors * $lanes) {
                        for i in (0..o.m).step_by($most_rows) {
                            // SAFETY: i < m, p < k, j < n, so all three places lie in their matrices.
                            let part = unsafe {
                                Operands {
                                    m: $most_rows.min(o.m - i),
                                    k: K_BLOCK.min(o.k - p),
                                    n: ($most_vectors * $lanes).min(o.n - j),
                                    a: o.a.add(i * o.a_row + p * o.a_column),
                                    b: o.b.add(p * o.b_row + j),
                                    c: o.c.add(i * o.c_row + j),
                                    add: o.add || p > 0,
                                    ..*o
                                }
                            };
                            match part.m {
                                // SAFETY: the part lies inside the whole.
                                $($rows => unsafe { tile_of::<$rows>(&part) },)+
                                _ => {}
                            }
                        }
                    }
                }
            }

            /// A tile against a panel: see [`Panel`], with `m` of `ROWS`.
            #[target_feature(enable = $features)]
            unsafe fn panel_tile<const ROWS: usize, const VECTORS: usize>(o: &Panel) {
                let mut sums = [[$zero(); VECTORS]; ROWS];
                let a: [*const f32; ROWS] = std::array::from_fn(|row| o.a.wrapping_add(row * o.a_row));
                let mut b_at = o.b;
                for p in 0..o.k {
                    let mut b = [$zero(); VECTORS];
                    for (v, b) in b.iter_mut().enumerate() {
                        // SAFETY: a row of the panel has two vectors.
                        *b = unsafe { $load(b_at.wrapping_add(v * $lanes)) };
                    }
                    b_at = b_at.wrapping_add(WIDTH);
                    for (a, sums) in a.iter().zip(&mut sums) {
                        // SAFETY: one of the m rows of A, at a place below k.
                        let a = unsafe { $spread(*a.wrapping_add(p)) };
                        for (sum, b) in sums.iter_mut().zip(&b) {
                            *sum = $multiply_add(a, *b, *sum);
                        }
                    }
                }
                let tail = o.n - (VECTORS - 1) * $lanes;
                let (whole, mask) = (tail == $lanes, mask(tail));
                for (row, sums) in sums.iter().enumerate() {
                    for (v, sum) in sums.iter().enumerate() {
                        let full = v + 1 < VECTORS || whole;
                        let at = o.c.wrapping_add(row * o.c_row + v * $lanes);
                        // SAFETY: a row of C, which has n numbers; the last vector takes those that are left. A start has
                        // one number for each row.
                        unsafe {
                            let sum = match o.start {
                                Start::Zero => *sum,
                                Start::Result => add(*sum, if full { $load(at) } else { masked_load(at, mask) }),
                                Start::Rows(rows) => add(*sum, $spread(*rows.wrapping_add(row))),
                            };
                            let sum = if o.rectify { rectified(sum) } else { sum };
                            if full { $store(at, sum) } else { masked_store(at, mask, sum) }
                        }
                    }
                }
            }

            #[target_feature(enable = $features)]
            unsafe fn panel_tile_of<const ROWS: usize>(o: &Panel) {
                match o.n.div_ceil($lanes) {
                    // SAFETY: the caller's promise.
                    1 => unsafe { panel_tile::<ROWS, 1>(o) },
                    // SAFETY: the caller's promise.
                    2 => unsafe { panel_tile::<ROWS, 2>(o) },
                    _ => {}
                }
            }

            /// All rows of A against a panel.
            ///
            /// # Safety
            /// As [`super::panel`]; the CPU has the features.
            #[target_feature(enable = $features)]
            pub(super) unsafe fn panel(o: &Panel) {
                let part = |first: usize, most: usize| Panel {
                    m: most.min(o.m - first),
                    a: o.a.wrapping_add(first * o.a_row),
                    c: o.c.wrapping_add(first * o.c_row),
                    start: o.start.skip(first),
                    ..*o
                };
                // One vector leaves registers for twice as many rows, and each read of the panel then serves them all.
                let tall = if o.n <= $lanes { o.m / (2 * $most_rows) * (2 * $most_rows) } else { 0 };
                for i in (0..tall).step_by(2 * $most_rows) {
                    // SAFETY: the part lies inside the whole.
                    unsafe { panel_tile::<{ 2 * $most_rows }, 1>(&part(i, 2 * $most_rows)) };
                }
                for i in (tall..o.m).step_by($most_rows) {
                    let part = part(i, $most_rows);
                    match part.m {
                        // SAFETY: the part lies inside the whole.
                        $($rows => unsafe { panel_tile_of::<$rows>(&part) },)+
                        _ => {}
                    }
                }
            }

            /// A tile of dot products: A and transposed B are contiguous along k.
            #[target_feature(enable = $features)]
            unsafe fn dot_tile<const ROWS: usize, const COLUMNS: usize>(o: &Operands) {
                let mut sums = [[$zero(); COLUMNS]; ROWS];
                let mut b = [$zero(); COLUMNS];
                let mut a_at: [*const f32; ROWS] = std::array::from_fn(|row| o.a.wrapping_add(row * o.a_row));
                let mut b_at: [*const f32; COLUMNS] = std::array::from_fn(|column| o.b.wrapping_add(column * o.b_column));
                let mut left = o.k;
                while left > 0 {
                    let taken = left.min($lanes);
                    let mask = mask(taken);
                    // SAFETY: every pointer below has `left` numbers of its row of A or column of B before it.
                    let fetch =
                        |at: *const f32| unsafe { if taken == $lanes { $load(at) } else { masked_load(at, mask) } };
                    for (at, b) in b_at.iter_mut().zip(&mut b) {
                        *b = fetch(*at);
                        *at = at.wrapping_add($lanes);
                    }
                    for (at, sums) in a_at.iter_mut().zip(&mut sums) {
                        let a = fetch(*at);
                        *at = at.wrapping_add($lanes);
                        for (sum, b) in sums.iter_mut().zip(&b) {
                            *sum = $multiply_add(a, *b, *sum);
                        }
                    }
                    left -= taken;
                }
                for (row, sums) in sums.iter().enumerate() {
                    for (column, sum) in sums.iter().enumerate() {
                        // SAFETY: row < m and column < n.
                        let c = unsafe { &mut *o.c.add(row * o.c_row + column) };
                        *c = if o.add { *c + across(*sum) } else { across(*sum) };
                    }
                }
            }

            #[target_feature(enable = $features)]
            unsafe fn dot_tile_of<const ROWS: usize>(o: &Operands) {
                match o.n {
                    // SAFETY: the caller's promise.
                    $($dots => unsafe { dot_tile::<ROWS, $dots>(o) },)+
                    _ => {}
                }
            }

            /// C by tiles of dot products; A's rows and B's columns are contiguous.
            ///
            /// # Safety
            /// As [`super::product`]; the CPU has the features.
            #[target_feature(enable = $features)]
            pub(super) unsafe fn dots(o: &Operands) {
                for j in (0..o.n).step_by(DOTS) {
                    for i in (0..o.m).step_by(DOTS) {
                        // SAFETY: i < m and j < n, so all three places lie in their matrices.
                        let part = unsafe {
                            Operands {
                                m: DOTS.min(o.m - i),
                                n: DOTS.min(o.n - j),
                                a: o.a.add(i * o.a_row),
                                b: o.b.add(j * o.b_column),
                                c: o.c.add(i * o.c_row + j),
                                ..*o
                            }
                        };
                        match part.m {
                            // SAFETY: the part lies inside the whole.
                            $($dots => unsafe { dot_tile_of::<$dots>(&part) },)+
                            _ => {}
                        }
                    }
                }
            }
        }
    };
}

#[cfg(target_arch = "x86_64")]
kernels! {
    avx512, "avx512f", __m512, lanes 16, mask __mmask16,
    rows 8 [1 2 3 4 5 6 7 8], vectors 3 [1 2 3], dots [1 2 3 4],
    _mm512_setzero_ps, _mm512_set1_ps, _mm512_fmadd_ps, _mm512_loadu_ps, _mm512_storeu_ps,

    /// Numbers in a vector.
    pub(super) const LANES: usize = 16;

    /// The side of a tile of dot products.
    const DOTS: usize = 4;

    /// A mask for the first `lanes` of a vector.
    pub(super) fn mask(lanes: usize) -> __mmask16 {
        if lanes >= 16 { u16::MAX } else { (1 << lanes) - 1 }
    }

    /// # Safety
    /// The lanes of the mask are readable.
    #[target_feature(enable = "avx512f")]
    pub(super) unsafe fn masked_load(at: *const f32, mask: __mmask16) -> __m512 {
        // SAFETY: the caller's promise.
        unsafe { _mm512_maskz_loadu_ps(mask, at) }
    }

    /// # Safety
    /// The lanes of the mask are writable.
    #[target_feature(enable = "avx512f")]
    pub(super) unsafe fn masked_store(at: *mut f32, mask: __mmask16, value: __m512) {
        // SAFETY: the caller's promise.
        unsafe { _mm512_mask_storeu_ps(at, mask, value) }
    }

    #[target_feature(enable = "avx512f")]
    pub(super) fn add(a: __m512, b: __m512) -> __m512 {
        _mm512_add_ps(a, b)
    }

    /// 0 where a number is not above it.
    #[target_feature(enable = "avx512f")]
    pub(super) fn rectified(vector: __m512) -> __m512 {
        _mm512_max_ps(vector, _mm512_setzero_ps())
    }

    /// The sum of all lanes.
    #[target_feature(enable = "avx512f")]
    fn across(vector: __m512) -> f32 {
        _mm512_reduce_add_ps(vector)
    }
}

#[cfg(target_arch = "x86_64")]
kernels! {
    avx2, "avx2,fma", __m256, lanes 8, mask __m256i,
    rows 6 [1 2 3 4 5 6], vectors 2 [1 2], dots [1 2 3],
    _mm256_setzero_ps, _mm256_set1_ps, _mm256_fmadd_ps, _mm256_loadu_ps, _mm256_storeu_ps,

    /// Numbers in a vector.
    pub(super) const LANES: usize = 8;

    /// The side of a tile of dot products.
    const DOTS: usize = 3;

    /// A mask for the first `lanes` of a vector: the sign bits count.
    #[target_feature(enable = "avx2")]
    pub(super) fn mask(lanes: usize) -> __m256i {
        let lane = |index: usize| if index < lanes { -1 } else { 0 };
        _mm256_setr_epi32(lane(0), lane(1), lane(2), lane(3), lane(4), lane(5), lane(6), lane(7))
    }

    /// # Safety
    /// The lanes of the mask are readable.
    #[target_feature(enable = "avx2")]
    pub(super) unsafe fn masked_load(at: *const f32, mask: __m256i) -> __m256 {
        // SAFETY: the caller's promise.
        unsafe { _mm256_maskload_ps(at, mask) }
    }

    /// # Safety
    /// The lanes of the mask are writable.
    #[target_feature(enable = "avx2")]
    pub(super) unsafe fn masked_store(at: *mut f32, mask: __m256i, value: __m256) {
        // SAFETY: the caller's promise.
        unsafe { _mm256_maskstore_ps(at, mask, value) }
    }

    #[target_feature(enable = "avx2")]
    pub(super) fn add(a: __m256, b: __m256) -> __m256 {
        _mm256_add_ps(a, b)
    }

    /// 0 where a number is not above it.
    #[target_feature(enable = "avx2")]
    pub(super) fn rectified(vector: __m256) -> __m256 {
        _mm256_max_ps(vector, _mm256_setzero_ps())
    }

    /// The sum of all lanes.
    #[target_feature(enable = "avx2")]
    fn across(vector: __m256) -> f32 {
        let half = _mm_add_ps(_mm256_castps256_ps128(vector), _mm256_extractf128_ps::<1>(vector));
        let pair = _mm_add_ps(half, _mm_movehl_ps(half, half));
        _mm_cvtss_f32(_mm_add_ss(pair, _mm_shuffle_ps::<1>(pair, pair)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    /// Shapes around the tiles' edges, and the layouts that the kernels tell apart.
    #[test]
    #[expect(clippy::many_single_char_names, reason = "the names of BLAS")]
    fn every_edge_agrees_with_the_definition() {
        let kernels = kernels();
        let mut random = Random::new(3);
        let mut numbers = |count: usize| (0..count).map(|_| random.uniform_in(-1.0, 1.0)).collect::<Vec<f32>>();
        for (m, k, n) in
            [(1, 1, 1), (3, 5, 2), (8, 16, 48), (9, 17, 49), (7, 200, 31), (13, 193, 97), (4, 400, 4), (6, 33, 16)]
        {
            let (a, b, old) = (numbers(m * k), numbers(k * n), numbers(m * n));
            for (a_row, a_column, b_row, b_column) in [(k, 1, n, 1), (1, m, n, 1), (k, 1, 1, k)] {
                for (name, by_rows, kernel) in &kernels {
                    if *by_rows != (b_column == 1) {
                        continue;
                    }
                    for add in [false, true] {
                        let mut c = old.clone();
                        let (ap, bp, cp) = (a.as_ptr(), b.as_ptr(), c.as_mut_ptr());
                        let o =
                            Operands { m, k, n, a: ap, a_row, a_column, b: bp, b_row, b_column, c: cp, c_row: n, add };
                        kernel(&o);
                        for at in 0..m * n {
                            let (i, j) = (at / n, at % n);
                            let term = |p: usize| {
                                f64::from(a[i * a_row + p * a_column]) * f64::from(b[p * b_row + j * b_column])
                            };
                            let start = if add { f64::from(old[at]) } else { 0.0 };
                            let expected = start + (0..k).map(term).sum::<f64>();
                            let gap = (f64::from(c[at]) - expected).abs();
                            assert!(gap < 1e-5 * (1.0 + k as f64).sqrt(), "{name} {m}×{k}×{n} at {i},{j}: {gap:e}");
                        }
                    }
                }
            }
        }
    }

    type Kernel = Box<dyn Fn(&Operands)>;

    /// The kernels that this machine can run: name, whether B's rows must be contiguous, and the kernel.
    fn kernels() -> Vec<(&'static str, bool, Kernel)> {
        let mut found: Vec<(&'static str, bool, Kernel)> = Vec::new();
        #[cfg(target_arch = "x86_64")]
        {
            // SAFETY, for all four: the test's matrices are as big as their shapes and strides say, and the features are
            // asked for before the kernel is listed.
            if std::arch::is_x86_feature_detected!("avx512f") {
                found.push(("avx512 rows", true, Box::new(|o| unsafe { avx512::rows(o) })));
                found.push(("avx512 dots", false, Box::new(|o| unsafe { avx512::dots(o) })));
            }
            if std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma") {
                found.push(("avx2 rows", true, Box::new(|o| unsafe { avx2::rows(o) })));
                found.push(("avx2 dots", false, Box::new(|o| unsafe { avx2::dots(o) })));
            }
        }
        found
    }
}
