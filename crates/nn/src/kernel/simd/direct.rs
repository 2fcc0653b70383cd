//! Products whose left operand is read where it lies: one number at a time, spread over the lanes, each of which belongs to
//! a column of the result. Sums for a few rows and two vectors of columns, the rows' numbers at any places of a source.

/// Raw operands: for all `i < n`, `p < k` and columns `j`, `sums[i][j]` is the sum over `p` of
/// `source[places[i] + offsets[p]] · weights[p][j]`. Rows of weights and sums are [`super::panel_width`] numbers.
#[derive(Clone, Copy)]
pub(crate) struct Direct {
    pub(crate) n: usize,
    pub(crate) places: *const usize,
    pub(crate) source: *const f32,
    pub(crate) k: usize,
    pub(crate) offsets: *const u32,
    pub(crate) weights: *const f32,
    pub(crate) sums: *mut f32,
    /// Whether one vector of columns is enough.
    pub(crate) narrow: bool,
    /// Add to what the sums are.
    pub(crate) add: bool,
}

/// Computes the sums; nothing where there is no kernel.
///
/// # Safety
/// `n` places and `k` offsets are readable, and so is `source` at the sum of any two of them; `weights` has `k` rows; `sums`
/// has `n` rows, readable, writable and reachable through nothing else.
pub(crate) unsafe fn product(o: &Direct) {
    #[cfg(target_arch = "x86_64")]
    {
        if std::arch::is_x86_feature_detected!("avx512f") {
            // SAFETY: the feature is there; the rest is the caller's promise.
            unsafe { avx512::product(o) }
        } else if std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma") {
            // SAFETY: as above.
            unsafe { avx2::product(o) }
        }
    }
}

/// The kernel of one instruction set: `$first` are those that zero, spread, multiply-add, load, store and add vectors.
#[cfg(target_arch = "x86_64")]
macro_rules! kernel {
    (
        $module:ident, $features:literal, lanes $lanes:literal, rows $most_rows:literal [$($rows:literal)+],
        $zero:ident, $spread:ident, $multiply_add:ident, $load:ident, $store:ident, $add:ident
    ) => {
        mod $module {
            use std::arch::x86_64::*;

            use super::Direct;

            const WIDTH: usize = 2 * $lanes;

            /// `ROWS` rows of sums, the first `VECTORS` vectors of each.
            #[target_feature(enable = $features)]
            unsafe fn tile<const ROWS: usize, const VECTORS: usize>(o: &Direct) {
                let mut sums = [[$zero(); VECTORS]; ROWS];
                // SAFETY: the caller's promise: a place for each row.
                let rows: [*const f32; ROWS] =
                    std::array::from_fn(|row| unsafe { o.source.wrapping_add(*o.places.wrapping_add(row)) });
                // The last steps lead out of the operands, which only `wrapping_add` may do.
                let (mut offset, mut weights) = (o.offsets, o.weights);
                for _ in 0..o.k {
                    // SAFETY: fewer than k offsets were read.
                    let at = unsafe { *offset } as usize;
                    offset = offset.wrapping_add(1);
                    let mut b = [$zero(); VECTORS];
                    for (v, b) in b.iter_mut().enumerate() {
                        // SAFETY: a row of the weights has two vectors.
                        *b = unsafe { $load(weights.wrapping_add(v * $lanes)) };
                    }
                    weights = weights.wrapping_add(WIDTH);
                    for (row, sums) in rows.iter().zip(&mut sums) {
                        // SAFETY: the caller's promise: the source is readable at any place with any offset.
                        let a = unsafe { $spread(*row.wrapping_add(at)) };
                        for (sum, b) in sums.iter_mut().zip(&b) {
                            *sum = $multiply_add(a, *b, *sum);
                        }
                    }
                }
                for (row, sums) in sums.iter().enumerate() {
                    for (v, sum) in sums.iter().enumerate() {
                        let to = o.sums.wrapping_add(row * WIDTH + v * $lanes);
                        // SAFETY: a row of the sums has two vectors.
                        unsafe { $store(to, if o.add { $add(*sum, $load(to)) } else { *sum }) }
                    }
                }
            }

            /// The part from row `first` on.
            fn part(o: &Direct, first: usize, most: usize) -> Direct {
                let (places, sums) = (o.places.wrapping_add(first), o.sums.wrapping_add(first.wrapping_mul(WIDTH)));
                Direct { n: most.min(o.n - first), places, sums, ..*o }
            }

            #[target_feature(enable = $features)]
            unsafe fn tile_of<const ROWS: usize>(o: &Direct) {
                // SAFETY: the caller's promise.
                unsafe { if o.narrow { tile::<ROWS, 1>(o) } else { tile::<ROWS, 2>(o) } }
            }

            /// # Safety
            /// As [`super::product`]; the CPU has the features.
            #[target_feature(enable = $features)]
            pub(super) unsafe fn product(o: &Direct) {
                // One vector leaves registers for twice as many rows, and each read of the weights then serves them all.
                let tall = if o.narrow { o.n / (2 * $most_rows) * (2 * $most_rows) } else { 0 };
                for i in (0..tall).step_by(2 * $most_rows) {
                    // SAFETY: the part lies inside the whole.
                    unsafe { tile::<{ 2 * $most_rows }, 1>(&part(o, i, 2 * $most_rows)) };
                }
                for i in (tall..o.n).step_by($most_rows) {
                    let part = part(o, i, $most_rows);
                    match part.n {
                        // SAFETY: the part lies inside the whole.
                        $($rows => unsafe { tile_of::<$rows>(&part) },)+
                        _ => {}
                    }
                }
            }
        }
    };
}

#[cfg(target_arch = "x86_64")]
kernel! {
    avx512, "avx512f", lanes 16, rows 8 [1 2 3 4 5 6 7 8],
    _mm512_setzero_ps, _mm512_set1_ps, _mm512_fmadd_ps, _mm512_loadu_ps, _mm512_storeu_ps, _mm512_add_ps
}

#[cfg(target_arch = "x86_64")]
kernel! {
    avx2, "avx2,fma", lanes 8, rows 6 [1 2 3 4 5 6],
    _mm256_setzero_ps, _mm256_set1_ps, _mm256_fmadd_ps, _mm256_loadu_ps, _mm256_storeu_ps, _mm256_add_ps
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    type Kernel = Box<dyn Fn(&Direct)>;

    /// The kernels that this machine can run: name, numbers in a row of sums, and the kernel.
    fn kernels() -> Vec<(&'static str, usize, Kernel)> {
        let mut found: Vec<(&'static str, usize, Kernel)> = Vec::new();
        #[cfg(target_arch = "x86_64")]
        {
            // SAFETY, for both: the test's operands are as big as their shapes say, and the features are asked for before the
            // kernel is listed.
            if std::arch::is_x86_feature_detected!("avx512f") {
                found.push(("avx512", 32, Box::new(|o| unsafe { avx512::product(o) })));
            }
            if std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma") {
                found.push(("avx2", 16, Box::new(|o| unsafe { avx2::product(o) })));
            }
        }
        found
    }

    #[test]
    fn sums_are_what_their_definition_says() {
        let mut random = Random::new(5);
        for (name, width, kernel) in kernels() {
            for (n, k) in [(1, 1), (5, 3), (6, 16), (8, 7), (9, 40), (13, 2), (24, 100)] {
                for (narrow, add) in [(false, false), (true, false), (false, true), (true, true)] {
                    let mut numbers =
                        |count: usize| (0..count).map(|_| random.uniform_in(-1.0, 1.0)).collect::<Vec<f32>>();
                    let (source, weights, old) = (numbers(200), numbers(k * width), numbers(n * width));
                    let places: Vec<usize> = (0..n).map(|_| random.below(100)).collect();
                    let offsets: Vec<u32> = (0..k).map(|_| u32::try_from(random.below(101)).unwrap_or(0)).collect();
                    let mut sums = old.clone();
                    kernel(&Direct {
                        n,
                        places: places.as_ptr(),
                        source: source.as_ptr(),
                        k,
                        offsets: offsets.as_ptr(),
                        weights: weights.as_ptr(),
                        sums: sums.as_mut_ptr(),
                        narrow,
                        add,
                    });
                    for at in 0..n * width {
                        let (i, j) = (at / width, at % width);
                        let term = |p: usize| {
                            let a = source[places[i] + offsets[p] as usize];
                            f64::from(a) * f64::from(weights[p * width + j])
                        };
                        let untouched = narrow && j >= width / 2;
                        let start = if add || untouched { f64::from(old[at]) } else { 0.0 };
                        let expected = start + if untouched { 0.0 } else { (0..k).map(term).sum::<f64>() };
                        let gap = (f64::from(sums[at]) - expected).abs();
                        assert!(gap < 1e-5, "{name} {n} by {k}, narrow {narrow}, add {add}, at {i},{j}: {gap:e}");
                    }
                }
            }
        }
    }
}
